//! What other threads may touch: a queue of thread_calls for the loop's thread, and what wakes it.
//!
//! Connections belong to the thread that runs their loop. Elsewhere, `send`, `close` and `abort`
//! become thread_calls: they are put in the queue, the loop is woken, and it carries them out in their
//! order.

use crate::confined::{Confined, this_thread};
use crate::thread_calls::ThreadCall;
use pyo3::prelude::*;
use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vespiary_engine::port::Wake;

/// LoopHandle by an engine and everything that belongs to it.
pub(crate) struct LoopHandle {
    thread: usize,
    thread_calls: Mutex<Vec<ThreadCall>>,
    waker: Arc<dyn Wake>,
    event_loop: Confined<RefCell<Option<Py<PyAny>>>>,
}

impl LoopHandle {
    pub(crate) fn new(waker: Arc<dyn Wake>) -> Arc<Self> {
        Arc::new(Self {
            thread: this_thread(),
            thread_calls: Mutex::default(),
            waker,
            event_loop: Confined::new(RefCell::new(None)),
        })
    }

    /// Whether this is the loop's thread.
    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        self.thread == this_thread()
    }

    pub(crate) fn add(&self, call: ThreadCall) {
        self.thread_calls().push(call);
        self.waker.wake();
    }

    pub(crate) fn take(&self) -> Vec<ThreadCall> {
        std::mem::take(&mut *self.thread_calls())
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

    fn thread_calls(&self) -> MutexGuard<'_, Vec<ThreadCall>> {
        self.thread_calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
