//! A port that sends in pieces of a few bytes, one system call each: what it would cost if the
//! engine did not gather the messages of a batch.

use std::collections::HashMap;
use std::time::Duration;

use vespiary_engine::port::{Completion, Descriptor, Outcome, Outgoing, Port, Token};

/// What a masked echo of 32 bytes comes back as on WebSocket: two bytes of head, and the payload.
const MESSAGE_BYTES: usize = 34;

/// Delegates everything and cuts what is sent.
pub(crate) struct Pieces {
    inner: Box<dyn Port>,
    piece_bytes: usize,
    whole: HashMap<Token, Outgoing>,
}

impl Pieces {
    /// Pieces of `piece_bytes`, or of one small message when that is zero.
    pub(crate) fn new(inner: Box<dyn Port>, piece_bytes: usize) -> Self {
        let piece_bytes = if piece_bytes == 0 {
            MESSAGE_BYTES
        } else {
            piece_bytes
        };
        Self {
            inner,
            piece_bytes,
            whole: HashMap::new(),
        }
    }
}

/// The operations that a wrapper of a port leaves alone.
macro_rules! delegate {
    () => {
        vespiary_engine::port::forward_to_port! {
            inner:
                name now accept cancel_accept receive cancel_receive cancel_send
                connect cancel_connect open listen adopt bind adopt_datagrams
                watch_datagrams unwatch_datagrams receive_datagrams
                send_datagrams keep_alive shutdown close local_address
                peer_address delivery unread descriptor rest counters poll
                unpoll waker
        }
    };
}
pub(crate) use delegate;

impl Port for Pieces {
    delegate!();

    fn send(&mut self, socket: Descriptor, token: Token, outgoing: Outgoing) {
        if outgoing.remaining() <= self.piece_bytes {
            self.inner.send(socket, token, outgoing);
            return;
        }
        let first = outgoing.first();
        let piece = first[..first.len().min(self.piece_bytes)].to_vec();
        self.whole.insert(token, outgoing);
        self.inner.send(socket, token, Outgoing::one(piece));
    }

    fn turn(&mut self, timeout: Option<Duration>) -> std::io::Result<()> {
        self.inner.turn(timeout)
    }

    /// A piece that went is reported as a short send of the whole, which the engine continues.
    fn next(&mut self) -> Option<Completion> {
        let Completion { token, outcome } = self.inner.next()?;
        let outcome = match outcome {
            Outcome::Sent(result, piece) => {
                Outcome::Sent(result, self.whole.remove(&token).unwrap_or(piece))
            }
            other => other,
        };
        Some(Completion { token, outcome })
    }
}
