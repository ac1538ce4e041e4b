//! How a guest's turn is asked for ([`Host::turn_wanted`](vespiary_engine::Host::turn_wanted)).
//!
//! The loop's `call_soon` is Python code, so anything may run in it: a signal's handler, a
//! finalizer, a method of a user's own loop. All of them may use connections, and while the engine
//! works its cells are borrowed. So the engine runs no Python code to ask for a turn:
//!
//! * The calls that send ([`Asker`]) note that a turn is wanted, and schedule it when they are over
//!   and nothing is borrowed. That is the cheapest way, and what they raise reaches the caller.
//! * For all other calls the waker makes the descriptor readable that the loop watches. That costs
//!   a system call.
//!
//! If scheduling raises, the waker is used too, so no turn is lost. Whether a turn is scheduled is
//! stored here and not in Python, where a signal handler may raise between any two steps.

use crate::calls::InvokeOwned as _;
use crate::host::PyHost;
use pyo3::exceptions::{PyMemoryError, PyRecursionError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use std::cell::{Cell, RefCell};

/// What is known of the turn that a guest wants.
#[derive(Default)]
pub(crate) struct Wanted {
    /// Schedules a turn.
    schedule: RefCell<Option<Py<PyAny>>>,
    is_guest: Cell<bool>,
    /// A callback of the loop's takes a turn soon.
    is_scheduled: Cell<bool>,
    /// A call is in progress that schedules a turn at its end.
    has_asker: Cell<bool>,
    /// The call in progress does so later.
    is_noted: Cell<bool>,
}

impl Wanted {
    /// The engine is a guest: call this to schedule a turn.
    pub(crate) fn set_schedule(&self, schedule: Py<PyAny>) {
        self.is_guest.set(true);
        drop(self.schedule.replace(Some(schedule)));
    }

    /// The engine ends.
    pub(crate) fn let_go(&self) {
        self.is_guest.set(false);
        drop(self.schedule.take());
    }

    /// A turn begins.
    pub(crate) fn begin_turn(&self) {
        self.is_scheduled.set(false);
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.schedule.try_borrow() {
            Ok(schedule) => visit.call(&*schedule),
            Err(_) => Ok(()),
        }
    }
}

impl PyHost {
    /// A turn is wanted, and none is in progress. Runs no Python code.
    #[inline]
    pub(crate) fn want_turn(&self) {
        if !self.wanted.is_guest.get() {
            return;
        }
        if self.wanted.has_asker.get() {
            self.wanted.is_noted.set(true);
        } else {
            self.wake_guest();
        }
    }

    /// Make the descriptor readable that the loop watches.
    #[cold]
    fn wake_guest(&self) {
        if self.wanted.is_guest.get() && !self.handle().is_forked() {
            self.handle().wake();
        }
    }

    /// Have a guest's turn taken in the loop's next iteration. Nothing of the engine's may be
    /// borrowed.
    ///
    /// Raises: what a signal's handler has raised meanwhile; the turn is taken nevertheless.
    pub(crate) fn schedule_turn(&self, py: Python<'_>) -> PyResult<()> {
        if self.wanted.is_scheduled.replace(true) {
            return Ok(());
        }
        let schedule = self.wanted.schedule.borrow();
        let Some(schedule) = schedule.as_ref().map(|it| it.clone_ref(py)) else {
            return Ok(());
        };
        let Err(error) = schedule.invoke(py, ()) else {
            return Ok(());
        };
        self.wanted.is_scheduled.set(false);
        self.wake_guest();
        // What is too deep or too large for `call_soon` is not for the waker.
        let is_done = error.is_instance_of::<PyRecursionError>(py)
            || error.is_instance_of::<PyMemoryError>(py);
        if is_done { Ok(()) } else { Err(error) }
    }

    /// A turn, or the arranging of the next one, was interrupted: another is taken, by whichever
    /// way is left.
    #[cold]
    pub(crate) fn take_another_turn(&self, py: Python<'_>) {
        self.wanted.is_scheduled.set(false);
        self.wake_guest();
        if let Err(error) = self.schedule_turn(py) {
            error.write_unraisable(py, None);
        }
    }
}

/// A call that schedules a turn at its end where one is wanted; where it fails, the waker does.
pub(crate) struct Asker<'a> {
    host: &'a PyHost,
    is_outermost: bool,
}

impl<'a> Asker<'a> {
    #[inline]
    pub(crate) fn new(host: &'a PyHost) -> Self {
        let is_outermost = !host.wanted.has_asker.replace(true);
        Self { host, is_outermost }
    }

    /// The call is over; whether the caller is to call [`PyHost::schedule_turn`].
    #[inline]
    pub(crate) fn end(self) -> bool {
        self.is_outermost && self.host.wanted.is_noted.replace(false)
    }

    /// The call is over, and nothing is borrowed.
    #[inline]
    pub(crate) fn finish(self, py: Python<'_>) -> PyResult<()> {
        let host = self.host;
        if self.end() {
            host.schedule_turn(py)
        } else {
            Ok(())
        }
    }
}

impl Drop for Asker<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.is_outermost {
            self.host.wanted.has_asker.set(false);
            if self.host.wanted.is_noted.replace(false) {
                self.host.wake_guest();
            }
        }
    }
}
