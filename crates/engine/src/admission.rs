//! Connections that enter an endpoint's counts, and leave them.
//!
//! Admission has two steps. At accept the rate, the number of connections and that of handshakes
//! are checked. The limit per address is checked when the peer's address is known: at once where
//! the peer connects by itself, and when a proxy has named it where one connects or asks for it.

use crate::carrier::{Carrier, Peer, Socket, ip_address};
use crate::close::{Cause, CloseReason};
use crate::connection::{Admission, Connection};
use crate::endpoint::{Endpoint, Place};
use crate::engine::Engine;
use crate::host::Host;
use crate::inbound::Inbound;
use crate::limit::Limit;
use std::net::IpAddr;
use std::rc::Rc;
use vespiary_port::{Address, Descriptor};
use vespiary_wire::http::{self, Request};

/// A proxy has named its client: the client is the peer from now on.
pub(crate) fn peer_learnt<H: Host>(connection: &Rc<Connection<H>>, address: &Address) {
    leave_address(connection);
    connection.carrier.set_peer(address.clone());
    if let Err(limit) = enter_address(connection, address) {
        let host = &connection.engine.host;
        connection.front.limit_reached(host, limit);
        let text = format!("this end has reached {limit}");
        connection.end_with(CloseReason::new(Cause::Limit(limit), text));
        connection.abort_now();
    }
}

/// Use the client that a trusted proxy names in its request as the peer, until the next request. If
/// the request does not name a client, use the proxy's own address.
pub(crate) fn client_named<H: Host>(
    connection: &Rc<Connection<H>>,
    request: &Request,
) -> Result<(), Limit> {
    let options = connection.front.options();
    let Some((proxies, field)) = &options.forwarders else {
        return Ok(());
    };
    let Some(proxy) = trusted_proxy(connection) else {
        return Ok(());
    };
    leave_address(connection);
    let named = http::forwarded_client(request, *field, |ip| proxies.include_ip(ip));
    let Some(client) = named.map(Address::Inet) else {
        connection.carrier.set_client(proxy);
        return Ok(());
    };
    connection.carrier.set_client(client.clone());
    enter_address(connection, &client)
}

/// The proxy that the connection comes from, where it is trusted to name its clients.
fn trusted_proxy<H: Host>(connection: &Connection<H>) -> Option<Address> {
    let options = connection.front.options();
    let (proxies, _) = options.forwarders.as_ref()?;
    let proxy = connection.carrier.proxy()?;
    proxies.include(&proxy).then_some(proxy)
}

impl<H: Host> Connection<H> {
    /// Whether the connection comes from a proxy that is trusted to name its clients.
    pub fn is_forwarded(&self) -> bool {
        trusted_proxy(self).is_some()
    }
}

/// Let the connection count for its peer's address, if that has a limit.
fn enter_address<H: Host>(connection: &Connection<H>, address: &Address) -> Result<(), Limit> {
    if let Some(ip) = ip_address(address) {
        let now_ms = connection.engine.now_ms();
        connection
            .counted
            .set(connection.front.admit_address(ip, now_ms)?);
    }
    Ok(())
}

fn leave_address<H: Host>(connection: &Connection<H>) {
    if let Some(address) = take_counted_address(connection) {
        connection.front.address_left(address);
    }
}

/// The address that the connection counted for.
fn take_counted_address<H: Host>(connection: &Connection<H>) -> Option<IpAddr> {
    if !connection.counted.replace(false) {
        return None;
    }
    connection.carrier.peer().as_ref().and_then(ip_address)
}

impl<H: Host> Engine<H> {
    /// A connection that counts for its endpoint.
    pub(crate) fn add_connection(
        self: &Rc<Self>,
        socket: Descriptor,
        endpoint: Rc<Endpoint<H>>,
        client: bool,
        inbound: Inbound<H::Payload>,
    ) -> Rc<Connection<H>> {
        endpoint.entered();
        let carrier = Carrier::Socket(Socket::new(socket));
        self.make(carrier, endpoint, client, inbound, Admission::Handshaking)
    }

    /// A pseudo-connection, which counts for its endpoint like the others.
    pub(crate) fn add_peer(
        self: &Rc<Self>,
        peer: Peer,
        endpoint: Rc<Endpoint<H>>,
    ) -> Rc<Connection<H>> {
        endpoint.entered();
        let (carrier, inbound) = (Carrier::Peer(Box::new(peer)), Inbound::discarding());
        self.make(carrier, endpoint, false, inbound, Admission::Handshaking)
    }

    /// One that is only being refused, and counts for nothing.
    pub(crate) fn add_refused(
        self: &Rc<Self>,
        socket: Descriptor,
        endpoint: Rc<Endpoint<H>>,
    ) -> Rc<Connection<H>> {
        let (carrier, inbound) = (Carrier::Socket(Socket::new(socket)), Inbound::discarding());
        self.make(carrier, endpoint, false, inbound, Admission::Refused)
    }

    fn make(
        self: &Rc<Self>,
        carrier: Carrier,
        endpoint: Rc<Endpoint<H>>,
        client: bool,
        inbound: Inbound<H::Payload>,
        admission: Admission,
    ) -> Rc<Connection<H>> {
        let mut made = None;
        self.connections.borrow_mut().insert_with(|token| {
            let connection = Connection::new(self, token, carrier, endpoint, client, inbound);
            connection.admission.set(admission);
            made = Some(connection.clone());
            connection
        });
        made.expect("the table calls the closure")
    }

    /// The connection counts no more, except through its place.
    pub(crate) fn leave(&self, connection: &Connection<H>) -> Option<Place<H>> {
        connection.handshake_over();
        if connection.admission.get() == Admission::Refused {
            self.refusals.set(self.refusals.get() - 1);
            return None;
        }
        connection.front.left();
        let address = take_counted_address(connection);
        let (front, endpoint) = (&connection.front, connection.endpoint());
        Some(Place::new(front, endpoint, address, self.now_ms()))
    }
}
