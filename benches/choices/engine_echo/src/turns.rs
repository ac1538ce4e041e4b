//! A port that hands out only what had completed when its turn was taken, so that a send which
//! completes at once costs its owner another trip through the kernel.

use std::collections::VecDeque;
use std::time::Duration;

use vespiary_engine::port::{Completion, Descriptor, Outgoing, Port, Token};

/// Delegates everything and cuts its batches.
pub(crate) struct OneRoundATurn {
    inner: Box<dyn Port>,
    batch: VecDeque<Completion>,
    late: VecDeque<Completion>,
}

impl OneRoundATurn {
    pub(crate) fn new(inner: Box<dyn Port>) -> Self {
        Self {
            inner,
            batch: VecDeque::new(),
            late: VecDeque::new(),
        }
    }

    fn keep_late(&mut self) {
        while let Some(completion) = self.inner.next() {
            self.late.push_back(completion);
        }
    }
}

impl Port for OneRoundATurn {
    crate::pieces::delegate!();

    fn send(&mut self, socket: Descriptor, token: Token, outgoing: Outgoing) {
        self.inner.send(socket, token, outgoing);
    }

    fn turn(&mut self, timeout: Option<Duration>) -> std::io::Result<()> {
        self.keep_late();
        let timeout = if self.late.is_empty() {
            timeout
        } else {
            Some(Duration::ZERO)
        };
        self.inner.turn(timeout)?;
        std::mem::swap(&mut self.batch, &mut self.late);
        while let Some(completion) = self.inner.next() {
            self.batch.push_back(completion);
        }
        Ok(())
    }

    fn next(&mut self) -> Option<Completion> {
        self.batch.pop_front()
    }
}
