//! Pseudo-connections: the datagrams of each peer of a socket as a connection of its own.
//!
//! The first datagram of a peer begins one, if the limits of the endpoint admit it, and each
//! datagram is a message. What a sender claims to be its address may be anybody's, so everything
//! here is bounded by what holds for connections too: how many there are, in all and per address,
//! and how many begin per second. Those that are not admitted are dropped and counted, and a limit
//! is reported once in a round, however many datagrams reach it.
//!
//! Nothing is put aside for a connection that is not read: its datagrams are dropped and counted,
//! as the kernel does when the buffer of a socket is full.

use crate::carrier::datagram::{DatagramSocket, Dropped};
use crate::carrier::ip_address;
use crate::carrier::peer::{Peer, PeerKey};
use crate::close::NotOpened;
use crate::connection::{Connection, State};
use crate::endpoint::add;
use crate::host::Host;
use crate::receive;
use crate::session::copied;
use crate::session::sink::Sink;
use std::rc::Rc;
use vespiary_port::{Address, Arrival};

impl<H: Host> DatagramSocket<H> {
    /// Hand each datagram of a batch to the connection of its peer.
    pub(crate) fn hand_to_peers<'a>(
        self: &Rc<Self>,
        batch: impl Iterator<Item = (&'a Arrival, &'a [u8])>,
    ) {
        for (arrival, bytes) in batch {
            let Some(connection) = self.connection_with(arrival) else {
                continue;
            };
            self.engine().current.set(connection.token);
            if !self.deliver(&connection, bytes) {
                self.dropped(Dropped::Paused, 1);
            }
        }
    }

    /// The connection with the sender of a datagram; one that begins where there is none. `None`
    /// where none is admitted.
    fn connection_with(self: &Rc<Self>, arrival: &Arrival) -> Option<Rc<Connection<H>>> {
        let key = PeerKey::from(arrival);
        let token = self.peers.borrow().get(&key).copied();
        let known = token.and_then(|it| self.engine().connections.borrow().get(it).cloned());
        // One that has been closed is forgotten, although it is not settled yet.
        let open = known.filter(|it| it.state() == State::Open);
        open.or_else(|| self.begin(key))
    }

    fn begin(self: &Rc<Self>, key: PeerKey) -> Option<Rc<Connection<H>>> {
        if self.is_stopping() {
            self.dropped(Dropped::Closed, 1);
            return None;
        }
        if matches!(&key.peer, Address::Unix(path) if path.as_os_str().is_empty()) {
            self.dropped(Dropped::NoAddress, 1);
            return None;
        }
        let (engine, endpoint) = (self.engine(), &self.endpoint);
        add(&endpoint.counters.accepted, 1);
        let now_ms = engine.now_ms();
        let admitted = endpoint.admit(engine.now(), now_ms).and_then(|()| {
            let ip = ip_address(&key.peer);
            ip.map_or(Ok(false), |it| endpoint.admit_address(it, now_ms))
        });
        let is_counted = match admitted {
            Ok(is_counted) => is_counted,
            Err(limit) => {
                endpoint.count_refusal(NotOpened::Limit(limit));
                self.dropped(Dropped::NotAdmitted(limit), 1);
                engine.report_soon(endpoint, limit);
                return None;
            }
        };
        let peer = Peer::new(self.clone(), key.clone(), self.address());
        let connection = engine.add_peer(peer, endpoint.clone());
        connection.counted.set(is_counted);
        self.peers.borrow_mut().insert(key, connection.token);
        engine.current.set(connection.token);
        connection.moments.heard.set(now_ms);
        receive::opened(&connection);
        engine.arm(&connection);
        Some(connection)
    }

    /// Deliver a datagram to a connection; false where it is not read.
    fn deliver(&self, connection: &Rc<Connection<H>>, bytes: &[u8]) -> bool {
        connection.moments.heard.set(self.engine().now_ms());
        if connection.state() != State::Open || connection.is_blocked() {
            return false;
        }
        add(&connection.traffic.bytes_in, bytes.len() as u64);
        match copied(bytes) {
            Ok(payload) => connection.binary(payload),
            Err(reason) => connection.fail(reason),
        }
        true
    }
}
