//! What moves bytes: a connection's socket, a peer's share of a socket for datagrams, or such a
//! socket itself.

mod addresses;
pub(crate) mod datagram;
mod dropped;
mod full_peers;
pub(crate) mod peer;
mod socket;

pub(crate) use peer::Peer;
pub(crate) use socket::Socket;

use std::net::IpAddr;
use vespiary_port::{Address, Delivery, Outgoing, Port, Token, Unread};

/// The IP address in it, if it has one; an IPv4 address also where it is in an IPv6 one.
pub(crate) fn ip_address(address: &Address) -> Option<IpAddr> {
    match address {
        Address::Inet(address) => Some(address.ip().to_canonical()),
        _ => None,
    }
}

/// What moves the bytes of a connection.
///
/// To the port a [`Peer`] is always receiving and never sending, because its socket does both.
pub(crate) enum Carrier {
    /// A stream.
    Socket(Socket),
    /// The datagrams of one peer.
    Peer(Box<Peer>),
}

impl Carrier {
    /// Whether it is a peer of datagrams, which is not notified of the end, and sends none.
    #[inline]
    pub(crate) fn is_peer(&self) -> bool {
        matches!(self, Self::Peer(_))
    }

    /// Send a datagram at the end of the round; false where it is dropped.
    pub(crate) fn send_datagram(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Socket(_) => false,
            Self::Peer(peer) => peer.send(bytes),
        }
    }

    /// The connection is over, and a peer of datagrams is forgotten.
    pub(crate) fn leave(&self, token: Token) {
        if let Self::Peer(peer) = self {
            peer.leave(token);
        }
    }

    pub(crate) fn is_busy(&self) -> bool {
        match self {
            Self::Socket(socket) => socket.is_busy(),
            Self::Peer(_) => false,
        }
    }

    #[inline]
    pub(crate) fn is_sending(&self) -> bool {
        match self {
            Self::Socket(socket) => socket.is_sending(),
            Self::Peer(_) => false,
        }
    }

    pub(crate) fn connect(&self, port: &mut dyn Port, token: Token, address: &Address) {
        if let Self::Socket(socket) = self {
            socket.connect(port, token, address);
        }
    }

    #[inline]
    pub(crate) fn sent(&self) {
        if let Self::Socket(socket) = self {
            socket.sent();
        }
    }

    #[inline]
    pub(crate) fn send(&self, port: &mut dyn Port, token: Token, outgoing: Outgoing) {
        if let Self::Socket(socket) = self {
            socket.send(port, token, outgoing);
        }
    }

    #[inline]
    pub(crate) fn receive(&self, port: &mut dyn Port, token: Token) {
        if let Self::Socket(socket) = self {
            socket.receive(port, token);
        }
    }

    #[inline]
    pub(crate) fn is_receiving(&self) -> bool {
        match self {
            Self::Socket(socket) => socket.is_receiving(),
            Self::Peer(_) => true,
        }
    }

    pub(crate) fn receive_ended(&self) {
        if let Self::Socket(socket) = self {
            socket.receive_ended();
        }
    }

    pub(crate) fn cancel_receive(&self, port: &mut dyn Port, token: Token) {
        if let Self::Socket(socket) = self {
            socket.cancel_receive(port, token);
        }
    }

    pub(crate) fn cancel(&self, port: &mut dyn Port, token: Token) {
        if let Self::Socket(socket) = self {
            socket.cancel(port, token);
        }
    }

    pub(crate) fn finish(&self, port: &mut dyn Port) {
        if let Self::Socket(socket) = self {
            socket.finish(port);
        }
    }

    pub(crate) fn reset(&self) {
        if let Self::Socket(socket) = self {
            socket.reset();
        }
    }

    pub(crate) fn close(&self, port: &mut dyn Port) {
        if let Self::Socket(socket) = self {
            socket.close(port);
        }
    }

    pub(crate) fn unread(&self, port: &dyn Port) -> Unread {
        match self {
            Self::Socket(socket) => socket.unread(port),
            Self::Peer(_) => Unread::default(),
        }
    }

    pub(crate) fn delivery(&self, port: &dyn Port) -> Delivery {
        match self {
            Self::Socket(socket) => socket.delivery(port),
            Self::Peer(_) => Delivery::default(),
        }
    }

    pub(crate) fn set_peer(&self, address: Address) {
        if let Self::Socket(socket) = self {
            socket.set_peer(address);
        }
    }

    pub(crate) fn set_client(&self, address: Address) {
        if let Self::Socket(socket) = self {
            socket.set_client(address);
        }
    }

    pub(crate) fn proxy(&self) -> Option<Address> {
        match self {
            Self::Socket(socket) => socket.proxy(),
            Self::Peer(peer) => Some(peer.peer()),
        }
    }

    pub(crate) fn store_local(&self, port: &dyn Port) {
        if let Self::Socket(socket) = self {
            socket.store_local(port);
        }
    }

    pub(crate) fn peer(&self) -> Option<Address> {
        match self {
            Self::Socket(socket) => socket.peer(),
            Self::Peer(peer) => Some(peer.peer()),
        }
    }

    pub(crate) fn local(&self) -> Option<Address> {
        match self {
            Self::Socket(socket) => socket.local(),
            Self::Peer(peer) => Some(peer.local()),
        }
    }
}
