//! A port whose batches pause after so many received bytes, so that the engine sends what was
//! answered while it still lies in the cache.

use std::time::Duration;

use vespiary_engine::port::{Completion, Descriptor, Outcome, Outgoing, Port, Token};

/// Delegates everything and puts pauses into its batches.
pub(crate) struct ShortRounds {
    inner: Box<dyn Port>,
    bytes_max: usize,
    bytes: usize,
}

impl ShortRounds {
    pub(crate) fn new(inner: Box<dyn Port>, bytes_max: usize) -> Self {
        Self {
            inner,
            bytes_max,
            bytes: 0,
        }
    }
}

impl Port for ShortRounds {
    crate::pieces::delegate!();

    fn send(&mut self, socket: Descriptor, token: Token, outgoing: Outgoing) {
        self.inner.send(socket, token, outgoing);
    }

    fn turn(&mut self, timeout: Option<Duration>) -> std::io::Result<()> {
        self.inner.turn(timeout)
    }

    fn next(&mut self) -> Option<Completion> {
        if self.bytes >= self.bytes_max {
            self.bytes = 0;
            return None;
        }
        let completion = self.inner.next();
        match &completion {
            Some(Completion {
                outcome: Outcome::Received(lease),
                ..
            }) => self.bytes += lease.len(),
            Some(_) => {}
            None => self.bytes = 0,
        }
        completion
    }
}
