//! The engine's clock: that of the port, less the time in which this process was held up.
//!
//! If a process was stopped (SIGSTOP, a frozen container, a suspended machine), or a handler
//! blocked, the deadlines of all peers may have passed when it continues, although only this
//! process was late. Two rules prevent peers from being disconnected because of this:
//!
//! 1. **The process's own delay does not count.** A timer that fires more than [`LATE`] after its
//!    time shows that nobody waited for it. The delay is subtracted from this clock, so that all
//!    deadlines move by as much, and the clock stands [`GRACE`] before that timer, so that a peer
//!    which waited for this process can continue. A process that is late in the next turn too gets
//!    no grace: deadlines are met even by one that is always late.
//! 2. **What the kernel holds is read before anything is judged** (see `connection/deadlines.rs`).
//!
//! Timers are in the wheel by the port's clock. One that was set before a delay fires too early by
//! this clock, finds nothing due, and is set again.

use std::cell::Cell;

const NANOSECONDS: u64 = 1_000_000;

/// How late a timer may be before the process counts as held up.
const LATE: u64 = 250 * NANOSECONDS;

/// How much time peers get to continue after the process was held up.
const GRACE: u64 = 1_000 * NANOSECONDS;

/// See the module's documentation.
pub(crate) struct Clock {
    milliseconds: Cell<u64>,
    held_up: Cell<u64>,
    was_late: Cell<bool>,
}

impl Clock {
    /// A clock that begins at `now`, the port's nanoseconds.
    pub(crate) fn new(now: u64) -> Self {
        let clock = Self {
            milliseconds: Cell::new(0),
            held_up: Cell::new(0),
            was_late: Cell::new(false),
        };
        clock.advance(now, None);
        clock
    }

    /// Milliseconds; never 0, so that 0 can stand for no time at all.
    #[inline]
    pub(crate) fn milliseconds(&self) -> u64 {
        self.milliseconds.get()
    }

    /// The port's clock is at `now`, and the first timer in the wheel was due at `due`.
    #[inline]
    pub(crate) fn advance(&self, now: u64, due: Option<u64>) {
        let late = due.map_or(0, |due| now.saturating_sub(due));
        if late > LATE {
            self.leave_out(now, late);
        } else {
            self.was_late.set(false);
        }
        let milliseconds = now.saturating_sub(self.held_up.get()) / NANOSECONDS;
        self.milliseconds.set(milliseconds.max(1));
    }

    #[cold]
    fn leave_out(&self, now: u64, late: u64) {
        let mut held_up = self.held_up.get() + late;
        if self.was_late.replace(true) {
            held_up -= LATE;
        } else {
            held_up += GRACE;
        }
        // This clock does not go back.
        let latest = now.saturating_sub(self.milliseconds.get() * NANOSECONDS);
        self.held_up.set(held_up.min(latest));
    }

    /// When the port's clock shows what this one shows at `milliseconds`.
    pub(crate) fn port_time(&self, milliseconds: u64) -> u64 {
        milliseconds
            .saturating_mul(NANOSECONDS)
            .saturating_add(self.held_up.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000 * NANOSECONDS;

    #[test]
    fn after_a_delay_the_clock_stands_a_second_before_the_timer_that_was_late() {
        let clock = Clock::new(SECOND);
        clock.advance(2 * SECOND, Some(2 * SECOND));
        assert_eq!(clock.milliseconds(), 2_000);
        clock.advance(17 * SECOND, Some(12 * SECOND));
        assert_eq!(clock.milliseconds(), 11_000);
        assert_eq!(clock.port_time(11_000), 17 * SECOND);
    }

    #[test]
    fn the_clock_does_not_go_back() {
        let clock = Clock::new(SECOND);
        clock.advance(7 * SECOND, Some(SECOND + 1));
        assert_eq!(clock.milliseconds(), 1_000);
        clock.advance(8 * SECOND, None);
        assert_eq!(clock.milliseconds(), 2_000);
    }

    #[test]
    fn waiting_that_was_asked_for_counts_whole() {
        let clock = Clock::new(SECOND);
        clock.advance(100 * SECOND, None);
        clock.advance(200 * SECOND, Some(200 * SECOND));
        assert_eq!(clock.milliseconds(), 200_000);
    }

    #[test]
    fn deadlines_are_met_by_a_process_that_is_always_late() {
        let clock = Clock::new(SECOND);
        for turn in 1..=101 {
            let now = SECOND + turn * SECOND;
            clock.advance(now, Some(now - SECOND));
        }
        assert_eq!(clock.milliseconds(), 1_000 + 100 * 250);
    }
}
