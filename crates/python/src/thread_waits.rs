//! How a thread waits for the loop of another thread.
//!
//! A thread that has a loop itself must not only wait: if the other loop calls this one at the same
//! moment, both would wait forever. So while it waits, the thread executes the calls that other
//! threads make to its own loop (send, close, return a value), in their order, as if its handler
//! had made them. Functions for `call_soon_threadsafe` are code of the program: they stay queued
//! until the handler has returned.
//!
//! Waiting for room in a write queue is different. There is room when the peer reads, and this peer
//! may be a connection of the waiting thread's own loop. So a thread whose loop runs does not wait
//! for
//! room: it gets `WriteQueueFull`, as on the connection's own loop.

use crate::loop_handle::LoopHandle;
use crate::process::detached;
use crate::waiting::running_loop;
use pyo3::prelude::*;
use std::cell::RefCell;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

thread_local! {
    /// The loops that this thread runs or has run, without those that another thread took over.
    static OWN: RefCell<Vec<Weak<LoopHandle>>> = const { RefCell::new(Vec::new()) };
}

/// The current thread runs a loop from now on.
pub(crate) fn adopt(handle: &Arc<LoopHandle>) {
    OWN.with_borrow_mut(|own| {
        own.retain(|it| it.strong_count() > 0 && !it.ptr_eq(&Arc::downgrade(handle)));
        own.push(Arc::downgrade(handle));
    });
}

/// Wakes a waiting thread when another one rings it.
#[derive(Default)]
pub(crate) struct Bell {
    is_rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    pub(crate) fn ring(&self) {
        *self.is_rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Wait until the bell has been rung since the last wait, or until `deadline`.
    fn wait(&self, deadline: Instant) {
        let mut is_rung = self.is_rung.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_rung {
            let left = deadline.saturating_duration_since(Instant::now());
            let woken = self.changed.wait_timeout(is_rung, left);
            is_rung = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        *is_rung = false;
    }
}

/// The loops of the current thread that are not closed.
pub(crate) struct OwnLoops(Vec<Arc<LoopHandle>>);

impl OwnLoops {
    pub(crate) fn new() -> Self {
        let own = OWN.with_borrow(|own| own.iter().filter_map(Weak::upgrade).collect::<Vec<_>>());
        let is_served = |it: &Arc<LoopHandle>| it.is_here() && !it.is_forked() && !it.is_closed();
        Self(own.into_iter().filter(is_served).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them runs: then what the thread waits for may need the loop's next turn.
    pub(crate) fn is_running(&self, py: Python<'_>) -> bool {
        !self.is_empty() && running_loop(py).is_ok()
    }

    /// Execute the calls of other threads, except callables.
    pub(crate) fn answer(&self, py: Python<'_>) {
        for handle in &self.0 {
            for call in handle.take_answerable() {
                if let Err(error) = call.run(py) {
                    handle.report_later(error);
                }
            }
        }
    }
}

/// The place for an answer. The thread that asked wakes up also when it is dropped without one.
pub(crate) struct Reply<T> {
    sender: Option<SyncSender<T>>,
    bell: Option<Arc<Bell>>,
}

impl<T> Reply<T> {
    pub(crate) fn send(self, value: T) {
        if let Some(sender) = &self.sender {
            let _ = sender.send(value);
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(bell) = &self.bell {
            bell.ring();
        }
    }
}

/// A wait for one answer.
pub(crate) struct Wait<T> {
    own: OwnLoops,
    bell: Option<Arc<Bell>>,
    /// The bells of outer waits of this thread.
    outer: Vec<Option<Arc<Bell>>>,
    result: Receiver<T>,
}

impl<T: Send> Wait<T> {
    /// A wait, and the place for its answer.
    pub(crate) fn new() -> (Self, Reply<T>) {
        let (sender, result) = sync_channel(1);
        let own = OwnLoops::new();
        let bell = (!own.is_empty()).then(Arc::<Bell>::default);
        let outer = own.0.iter().map(|it| it.set_bell(bell.clone())).collect();
        let reply = Reply {
            sender: Some(sender),
            bell: bell.clone(),
        };
        let wait = Self {
            own,
            bell,
            outer,
            result,
        };
        (wait, reply)
    }

    /// The answer.
    pub(crate) fn within(&self, py: Python<'_>, most: Duration) -> Result<T, RecvTimeoutError> {
        let Some(bell) = &self.bell else {
            let result = &self.result;
            return detached(py, || result.recv_timeout(most));
        };
        let deadline = Instant::now() + most;
        loop {
            self.own.answer(py);
            match self.result.try_recv() {
                Ok(value) => return Ok(value),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) if Instant::now() >= deadline => {
                    return Err(RecvTimeoutError::Timeout);
                }
                Err(TryRecvError::Empty) => detached(py, || bell.wait(deadline)),
            }
        }
    }
}

impl<T> Drop for Wait<T> {
    fn drop(&mut self) {
        for (handle, outer) in self.own.0.iter().zip(self.outer.drain(..)) {
            handle.set_bell(outer);
        }
    }
}
