//! One peer's datagrams, on a socket that it shares with other peers: the carrier of a
//! pseudo-connection.
//!
//! The socket receives for all of them and queues what they send, so nothing is outstanding here,
//! no descriptor is closed, and no buffer is held. A peer of datagrams does not say when it comes
//! or goes: it comes with its first datagram, and goes when this end forgets it.

use std::net::IpAddr;
use std::rc::Rc;
use vespiary_port::{Address, Arrival, Token};

/// What tells one pseudo-connection from another: both ends, as TCP has them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PeerKey {
    /// Who sends.
    pub(crate) peer: Address,
    /// The address of this machine that it sends to, where the socket is bound to several.
    pub(crate) source: Option<IpAddr>,
}

impl From<&Arrival> for PeerKey {
    fn from(arrival: &Arrival) -> Self {
        Self {
            peer: arrival.peer.clone(),
            source: arrival.answer_from,
        }
    }
}

/// The socket, as its pseudo-connections see it.
pub(crate) trait SharedSocket {
    /// Queue a datagram; false where it is dropped, which the socket counts.
    fn send_to_peer(self: Rc<Self>, bytes: &[u8], key: &PeerKey) -> bool;

    /// The connection of this name is over: the next datagram of its peer begins another one.
    fn forget(self: Rc<Self>, key: &PeerKey, token: Token);
}

/// See the module's documentation.
pub(crate) struct Peer {
    socket: Rc<dyn SharedSocket>,
    key: PeerKey,
    local: Address,
}

impl Peer {
    /// `bound` is the address of the socket.
    pub(crate) fn new(socket: Rc<dyn SharedSocket>, key: PeerKey, bound: &Address) -> Self {
        let local = match (key.source, bound.port()) {
            (Some(ip), Some(port)) => Address::Inet((ip, port).into()),
            _ => bound.clone(),
        };
        Self { socket, key, local }
    }

    pub(super) fn peer(&self) -> Address {
        self.key.peer.clone()
    }

    pub(super) fn local(&self) -> Address {
        self.local.clone()
    }

    pub(super) fn send(&self, bytes: &[u8]) -> bool {
        self.socket.clone().send_to_peer(bytes, &self.key)
    }

    pub(super) fn leave(&self, token: Token) {
        self.socket.clone().forget(&self.key, token);
    }
}
