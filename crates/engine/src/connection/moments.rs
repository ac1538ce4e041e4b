//! The moments that a connection's deadlines count from, in milliseconds of the engine's clock.
//! 0 is not a moment: the clock never shows it.

use std::cell::Cell;
use vespiary_port::timer::Key;

/// See the module's documentation.
pub(crate) struct Moments {
    pub(crate) timer: Cell<Option<Key>>,
    /// When the timer fires.
    pub(crate) timer_due: Cell<u64>,
    /// When the present phase of its life began.
    pub(crate) phase_began: Cell<u64>,
    /// When the latest byte of the peer's came.
    pub(crate) heard: Cell<u64>,
    /// When the latest message was delivered.
    pub(crate) data_heard: Cell<u64>,
    /// Since when this end does not read.
    pub(crate) held_since: Cell<u64>,
    /// When the latest ping was sent.
    pub(crate) pinged: Cell<u64>,
    /// When the first ping was sent that nothing of the peer's has answered.
    pub(crate) ping_unanswered: Cell<u64>,
    /// What the peer had acknowledged then.
    pub(crate) ping_mark: Cell<u64>,
    /// When the message that is in progress began.
    pub(crate) message_began: Cell<u64>,
    /// Since when bytes wait for the kernel.
    pub(crate) write_began: Cell<u64>,
    /// What the peer had acknowledged when progress was last looked at, and one; 0 before that.
    pub(crate) write_mark: Cell<u64>,
}

impl Moments {
    /// Those of a connection that begins now.
    pub(crate) fn new(now: u64) -> Self {
        Self {
            timer: Cell::new(None),
            timer_due: Cell::new(u64::MAX),
            phase_began: Cell::new(now),
            heard: Cell::new(now),
            data_heard: Cell::new(now),
            held_since: Cell::new(0),
            pinged: Cell::new(0),
            ping_unanswered: Cell::new(0),
            ping_mark: Cell::new(0),
            message_began: Cell::new(0),
            write_began: Cell::new(0),
            write_mark: Cell::new(0),
        }
    }
}
