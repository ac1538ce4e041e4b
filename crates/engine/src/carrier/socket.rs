//! A stream socket: the operations that a connection has outstanding on it, and its addresses.
//!
//! The port allows one receive and one send at a time, and a descriptor may be closed only when the
//! last completion of both has come. The addresses are stored when they become known, so that they
//! can be named after the peer is gone.

use super::addresses::Addresses;
use std::cell::Cell;
use vespiary_port::{Address, Delivery, Descriptor, Outgoing, Port, Token, Unread};

/// The receive on a socket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Receive {
    None,
    Outstanding,
    /// Its cancel was asked for; the final completion is still to come.
    Cancelled,
}

/// What holds the place of the send on a socket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Send {
    None,
    /// A connect, behind which the first send waits.
    Connect,
    Outstanding,
}

/// How a socket is closed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// What the kernel has taken is still sent.
    Finish,
    /// What was not sent is lost.
    Reset,
}

/// See the module's documentation.
pub(crate) struct Socket {
    descriptor: Descriptor,
    receive: Cell<Receive>,
    send: Cell<Send>,
    ending: Cell<Ending>,
    addresses: Addresses,
}

impl Socket {
    pub(crate) fn new(descriptor: Descriptor) -> Self {
        Self {
            descriptor,
            receive: Cell::new(Receive::None),
            send: Cell::new(Send::None),
            ending: Cell::new(Ending::Finish),
            addresses: Addresses::default(),
        }
    }

    /// Whether the final completion of an operation is still to come.
    pub(crate) fn is_busy(&self) -> bool {
        self.receive.get() != Receive::None || self.is_sending()
    }

    #[inline]
    pub(crate) fn is_sending(&self) -> bool {
        self.send.get() != Send::None
    }

    pub(crate) fn connect(&self, port: &mut dyn Port, token: Token, address: &Address) {
        self.send.set(Send::Connect);
        port.connect(self.descriptor, token, address);
    }

    /// The connect, or the send, has had its completion.
    #[inline]
    pub(crate) fn sent(&self) {
        self.send.set(Send::None);
    }

    #[inline]
    pub(crate) fn send(&self, port: &mut dyn Port, token: Token, outgoing: Outgoing) {
        self.send.set(Send::Outstanding);
        port.send(self.descriptor, token, outgoing);
    }

    /// Receive, unless a receive is outstanding.
    #[inline]
    pub(crate) fn receive(&self, port: &mut dyn Port, token: Token) {
        self.receive.set(Receive::Outstanding);
        port.receive(self.descriptor, token);
    }

    #[inline]
    pub(crate) fn is_receiving(&self) -> bool {
        self.receive.get() != Receive::None
    }

    /// The receive has had its final completion.
    pub(crate) fn receive_ended(&self) {
        self.receive.set(Receive::None);
    }

    /// Ask that the receive stop, if it continues.
    pub(crate) fn cancel_receive(&self, port: &mut dyn Port, token: Token) {
        if self.receive.get() == Receive::Outstanding {
            self.receive.set(Receive::Cancelled);
            port.cancel_receive(token);
        }
    }

    /// Ask that every operation stop.
    pub(crate) fn cancel(&self, port: &mut dyn Port, token: Token) {
        self.cancel_receive(port, token);
        match self.send.get() {
            Send::None => {}
            Send::Connect => port.cancel_connect(token),
            Send::Outstanding => port.cancel_send(token),
        }
    }

    /// Send FIN.
    pub(crate) fn finish(&self, port: &mut dyn Port) {
        port.shutdown(self.descriptor);
    }

    /// Let the close be a reset.
    pub(crate) fn reset(&self) {
        self.ending.set(Ending::Reset);
    }

    pub(crate) fn close(&self, port: &mut dyn Port) {
        port.close(self.descriptor, self.ending.get() == Ending::Reset);
    }

    pub(crate) fn unread(&self, port: &dyn Port) -> Unread {
        port.unread(self.descriptor)
    }

    pub(crate) fn delivery(&self, port: &dyn Port) -> Delivery {
        port.delivery(self.descriptor)
    }

    /// Store the other end's address.
    pub(crate) fn set_peer(&self, address: Address) {
        self.addresses.set_peer(address);
    }

    /// Use the client of the proxy at the other end as the peer.
    pub(crate) fn set_client(&self, address: Address) {
        self.addresses.set_client(address);
    }

    /// The address of the other end, even if that is a proxy and the peer is its client.
    pub(crate) fn proxy(&self) -> Option<Address> {
        self.addresses.proxy()
    }

    /// Store this end's address, now that the socket is connected.
    pub(crate) fn store_local(&self, port: &dyn Port) {
        if let Ok(address) = port.local_address(self.descriptor) {
            self.addresses.set_local(address);
        }
    }

    /// The address of the other end, once it is known.
    pub(crate) fn peer(&self) -> Option<Address> {
        self.addresses.peer()
    }

    /// The address of this end, once it is connected.
    pub(crate) fn local(&self) -> Option<Address> {
        self.addresses.local()
    }
}
