//! What other threads may touch: a queue of errands for the loop's thread, and what wakes it.
//!
//! Connections belong to the thread that runs their loop. Elsewhere, `send`, `close` and `abort`
//! become errands: they are put in the queue, the loop is woken, and it carries them out in their
//! order.

use crate::connection::Connection;
use pyo3::prelude::*;
use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vespiary_engine::port::Wake;

thread_local! {
    static MARK: u8 = const { 0 };
}

/// A number that tells the current thread from all others alive: the address of a variable of its
/// own.
#[inline]
pub(crate) fn this_thread() -> usize {
    MARK.with(|mark| std::ptr::from_ref(mark) as usize)
}

/// Something to be done on the loop's thread.
pub(crate) enum Errand {
    Send(Py<Connection>, Py<PyAny>, Option<bool>),
    Close(Py<Connection>, u16, String),
    Abort(Py<Connection>),
    Pause(Py<Connection>),
    Resume(Py<Connection>),
    /// The handler raised this.
    Fail(Py<Connection>, Py<PyAny>),
}

/// Shared by an engine and everything that belongs to it.
pub(crate) struct Shared {
    thread: usize,
    errands: Mutex<Vec<Errand>>,
    waker: Arc<dyn Wake>,
    event_loop: Confined<RefCell<Option<Py<PyAny>>>>,
}

impl Shared {
    pub(crate) fn new(waker: Arc<dyn Wake>) -> Arc<Self> {
        Arc::new(Self {
            thread: this_thread(),
            errands: Mutex::default(),
            waker,
            event_loop: Confined::new(RefCell::new(None)),
        })
    }

    /// Whether this is the loop's thread.
    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        self.thread == this_thread()
    }

    pub(crate) fn add(&self, errand: Errand) {
        self.errands().push(errand);
        self.waker.wake();
    }

    pub(crate) fn take(&self) -> Vec<Errand> {
        std::mem::take(&mut *self.errands())
    }

    /// The asyncio loop that the engine serves, from its first `select` to its end.
    #[inline]
    pub(crate) fn event_loop(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.event_loop
            .get()?
            .borrow()
            .as_ref()
            .map(|it| it.clone_ref(py))
    }

    pub(crate) fn set_event_loop(&self, event_loop: Option<Py<PyAny>>) {
        if let Some(kept) = self.event_loop.get() {
            // The old one is let go outside the borrow.
            let old = kept.replace(event_loop);
            drop(old);
        }
    }

    fn errands(&self) -> MutexGuard<'_, Vec<Errand>> {
        self.errands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A value that only the loop's thread may touch, inside an object that any thread may hold.
pub(crate) struct Confined<T> {
    thread: usize,
    value: std::mem::ManuallyDrop<T>,
}

// SAFETY: `get` gives the value out on its own thread only, and `drop` leaks it elsewhere.
unsafe impl<T> Send for Confined<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Confined<T> {}

impl<T> Confined<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            thread: this_thread(),
            value: std::mem::ManuallyDrop::new(value),
        }
    }

    /// The value, on its own thread.
    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        (self.thread == this_thread()).then_some(&*self.value)
    }
}

impl<T> Drop for Confined<T> {
    fn drop(&mut self) {
        if self.thread == this_thread() {
            // SAFETY: dropped once, here, on its own thread.
            unsafe { std::mem::ManuallyDrop::drop(&mut self.value) }
        }
    }
}
