//! What the driver did for the transports of an asyncio loop, until the loop takes it.

use crate::event_loop::keep_room;
use std::cell::{Cell, RefCell};
use vespiary_engine::port::{Errno, Outcome};

/// The outcomes, in their order, each with the number of its stream.
#[derive(Default)]
pub(crate) struct Streams {
    arrived: RefCell<Vec<(u64, Outcome)>>,
    /// Sends that the sockets had no room for, or that failed.
    in_part: RefCell<Vec<(u64, Result<usize, Errno>)>>,
    /// Whether what was to be sent with the latest turn is sent, or reported as not sent.
    is_sent: Cell<bool>,
}

impl Streams {
    #[inline]
    pub(crate) fn push(&self, number: u64, outcome: Outcome) {
        if let Outcome::SentInPart(result) = outcome {
            self.in_part.borrow_mut().push((number, result));
        } else {
            self.arrived.borrow_mut().push((number, outcome));
        }
    }

    #[inline]
    pub(crate) fn has_arrived(&self) -> bool {
        !self.arrived.borrow().is_empty() || !self.in_part.borrow().is_empty()
    }

    pub(crate) fn take_in_part(&self) -> Vec<(u64, Result<usize, Errno>)> {
        self.in_part.take()
    }

    pub(crate) fn take(&self) -> Vec<(u64, Outcome)> {
        self.arrived.take()
    }

    /// What was taken, and is empty now, is filled again.
    pub(crate) fn keep_room(&self, empty: Vec<(u64, Outcome)>) {
        keep_room(&mut self.arrived.borrow_mut(), empty);
    }

    /// What the loop did not come to goes before what arrives.
    pub(crate) fn put_back(&self, mut rest: Vec<(u64, Outcome)>) {
        let mut arrived = self.arrived.borrow_mut();
        rest.append(&mut arrived);
        *arrived = rest;
    }

    /// A turn is over, and its batch is here.
    #[inline]
    pub(crate) fn turn_is_over(&self, has_unsent: bool) {
        self.is_sent.set(!has_unsent);
    }

    /// Whether the sends are over that were asked for before the latest turn. Asked once for each.
    #[inline]
    pub(crate) fn take_sent(&self) -> bool {
        self.is_sent.take()
    }
}
