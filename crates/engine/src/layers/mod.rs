//! Layers: bytes to bytes, between a socket and a session.
//!
//! A [`Layer`] changes the bytes of both directions, and may have bytes of its own: the records of
//! a TLS handshake, an alert, a header that names the peer. It does no I/O. It is given received
//! bytes and appends the bytes for the layer above, and its own bytes for the peer; it is given
//! plain bytes and appends their form on the wire. What it finds out about the connection it
//! reports as data ([`Progress`]).
//!
//! Layers stand on each other in a [`Stack`](stack::Stack). The first is nearest to the socket, and
//! one more can be pushed on top while the connection lives (STARTTLS): bytes that were queued
//! before pass it by, and bytes that were received and not yet taken go through it.

mod deflate_stream;
mod filters;
mod proxy;
pub(crate) mod stack;

pub(crate) use deflate_stream::DeflateStream;
pub use filters::Filtered;
pub(crate) use filters::{Filter, Filters, failed as filter_failed};
pub(crate) use proxy::ProxyHeader;

use crate::close::CloseReason;
use vespiary_port::Address;

/// Where a layer puts what it makes of received bytes.
pub struct Flow<'a> {
    /// What the layer above, or the session, receives.
    pub plain: &'a mut Vec<u8>,
    /// What the layer itself sends to the peer.
    pub own: &'a mut Vec<u8>,
}

/// How far a layer has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It has used what it can; more input is needed.
    MoreNeeded,
    /// It stopped early, so as not to produce too much at once. Call it again, with or without more
    /// input.
    Again,
    /// It became ready: bytes can be sent through it from now on. Call it again. This comes before
    /// the end, where the same input has both.
    Ready,
    /// It has nothing more to do, and is removed; what it has not used is for the layer above. It
    /// may have learnt for which peer a proxy has connected.
    Finished(Option<Address>),
    /// The peer ended its stream as this layer wants it. Nothing more is received.
    Ended,
    /// The peer's stream was cut: the socket's end came before the layer's.
    Truncated,
}

/// What a layer did with its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes from the front of the input that it is done with. The others are given again, with
    /// more behind them.
    pub used: usize,
    /// How far it has come.
    pub progress: Progress,
    /// What it did, in frames: an ordinary message is one. Work is limited per connection and turn.
    pub work: u16,
}

/// A transformation of a connection's bytes.
///
/// A method that fails ends the connection with the reason that it gives.
pub trait Layer {
    /// The first bytes of its own, before anything is received: a client's greeting.
    fn begin(&mut self, own: &mut Vec<u8>) -> Result<(), CloseReason> {
        let _ = own;
        Ok(())
    }

    /// Take received bytes, which it may change in place.
    fn receive(&mut self, input: &mut [u8], flow: &mut Flow<'_>) -> Result<Received, CloseReason>;

    /// Append to `wire` what `plain` becomes. Called only while it is ready.
    fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), CloseReason>;

    /// Whether bytes can be sent through it. A handshake, for example, comes first.
    fn is_ready(&self) -> bool {
        true
    }

    /// Append to `wire` how this end says that it sends nothing more. Called once.
    fn end(&mut self, wire: &mut Vec<u8>) -> Result<(), CloseReason> {
        let _ = wire;
        Ok(())
    }

    /// The socket's stream has ended: [`Progress::Truncated`] where the layer has an end of its own
    /// and that has not come.
    fn input_ended(&mut self) -> Progress {
        Progress::Ended
    }

    /// Whether it works on received bytes that it has not used, until [`Layer::resume_received`].
    fn is_receiving(&self) -> bool {
        false
    }

    /// Whether it works on bytes to be sent, until [`Layer::resume_sent`]. Then it is not ready.
    fn is_sending(&self) -> bool {
        false
    }

    /// Take what was made of the received bytes that it works on; whether it works on any.
    fn resume_received(&mut self, bytes: &mut Vec<u8>) -> bool {
        let _ = bytes;
        false
    }

    /// What was made of the bytes to be sent that it works on is sent now; whether there are any.
    fn resume_sent(&mut self) -> bool {
        false
    }

    /// Bytes of memory that it holds.
    fn memory_bytes(&self) -> usize;
}
