//! What any thread may hold of a loop: whose it is, and the queue of calls from other threads.
//!
//! Connections belong to the thread that runs their loop. What other threads ask for goes through
//! the queue: the loop is woken, and runs the calls in their order. The queue is bounded. At
//! `THREAD_CALLS_MAX` calls or `THREAD_CALL_BYTES_MAX` bytes of messages the calling thread waits
//! for room, so that a thread that produces faster than the loop sends is slowed down, as a task
//! is by `drain()`; a loop that makes no room for `WAIT_SECONDS_MAX` is blocked or waits for that
//! very thread, and the call is refused.

use crate::calls::Invoke as _;
use crate::confined::Droppable;
use crate::imports;
use crate::process::{detached, this_thread};
use crate::senders::Senders;
use crate::thread_calls::ThreadCall;
use crate::thread_waits::{self, Bell, OwnLoops};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyWeakrefReference;
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use vespiary_engine::port::{Wake, fork};

/// Calls that may wait: what a loop does in some milliseconds.
const THREAD_CALLS_MAX: usize = 4096;
/// Bytes of messages that may wait with them: as many as one connection may have waiting by
/// default (`write_bytes_max`).
const THREAD_CALL_BYTES_MAX: usize = 16 << 20;
/// How long a thread with a loop of its own waits for room before it looks after that loop.
const SLICE: Duration = Duration::from_millis(5);
/// How long a call waits for room, or for its result: longer than any pause that is not a fault.
pub(crate) const WAIT_SECONDS_MAX: u64 = 10;

#[derive(Default)]
struct Queue {
    calls: Vec<ThreadCall>,
    bytes: usize,
    /// Values to be dropped on the loop's thread.
    returned: Vec<Box<dyn Droppable>>,
    /// None once the loop is closed: it has a descriptor.
    waker: Option<Arc<dyn Wake>>,
    /// The loop's thread waits for another loop, and answers calls meanwhile.
    bell: Option<Arc<Bell>>,
    is_closed: bool,
}

impl Queue {
    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake();
        }
    }

    /// Add a call, and wake the thread that runs it.
    fn push(&mut self, call: ThreadCall, bytes: usize) {
        let is_first = self.calls.is_empty();
        self.calls.push(call);
        self.bytes += bytes;
        if is_first {
            self.wake();
        }
        if let Some(bell) = &self.bell {
            bell.ring();
        }
    }

    fn is_full(&self) -> bool {
        self.calls.len() >= THREAD_CALLS_MAX || self.bytes >= THREAD_CALL_BYTES_MAX
    }
}

/// Shared by an engine and everything that belongs to it.
pub(crate) struct LoopHandle {
    /// The thread that the loop runs in, and runs in until another one runs it.
    thread: AtomicUsize,
    forks: usize,
    queue: Mutex<Queue>,
    has_room: Condvar,
    senders: Senders,
    /// The asyncio loop that the engine serves, from its first `select` to its end: weakly, since
    /// it holds the engine. Only the loop's thread touches it.
    event_loop: UnsafeCell<Option<Py<PyWeakrefReference>>>,
}

// SAFETY: `event_loop` is only touched on the loop's thread; the rest is synchronised.
unsafe impl Sync for LoopHandle {}
// SAFETY: as above; a reference to a Python object may be dropped anywhere.
unsafe impl Send for LoopHandle {}

impl LoopHandle {
    pub(crate) fn new(waker: Arc<dyn Wake>) -> Arc<Self> {
        let handle = Arc::new(Self {
            thread: AtomicUsize::new(this_thread()),
            forks: fork::count(),
            queue: Mutex::new(Queue {
                waker: Some(waker),
                ..Queue::default()
            }),
            has_room: Condvar::new(),
            senders: Senders::default(),
            event_loop: UnsafeCell::new(None),
        });
        thread_waits::adopt(&handle);
        handle
    }

    /// The connections that other threads send on.
    pub(crate) fn senders(&self) -> &Senders {
        &self.senders
    }

    /// Whether this is the loop's thread.
    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        self.thread.load(Ordering::Relaxed) == this_thread()
    }

    /// The current thread runs the loop from now on.
    pub(crate) fn enter_thread(self: &Arc<Self>) {
        if self.forks == fork::count() {
            self.thread.store(this_thread(), Ordering::Relaxed);
            thread_waits::adopt(self);
        }
    }

    /// Whether this is a child of the process that the loop belongs to.
    #[inline]
    pub(crate) fn is_forked(&self) -> bool {
        self.forks != fork::count()
    }

    /// Queue a call of another thread, and wait for room where the queue is full.
    ///
    /// Raises: `RuntimeError` when the loop is closed, or belongs to the parent process;
    /// `ThreadCallsFull` when it makes no room.
    pub(crate) fn add(&self, py: Python<'_>, call: ThreadCall) -> PyResult<()> {
        let bytes = call.bytes(py);
        let deadline = Instant::now() + Duration::from_secs(WAIT_SECONDS_MAX);
        loop {
            let mut queue = self.open_queue()?;
            if !queue.is_full() {
                queue.push(call, bytes);
                return Ok(());
            }
            let waiting = (queue.calls.len(), queue.bytes);
            drop(queue);
            let own = OwnLoops::new();
            own.answer(py);
            if self.is_here() || Instant::now() >= deadline {
                return Err(imports::error(
                    imports::thread_calls_full_class(py),
                    |class| Ok(PyErr::from_value(class.invoke(waiting)?)),
                ));
            }
            let slice = Instant::now() + SLICE;
            self.wait_for_room(py, if own.is_empty() { deadline } else { slice });
        }
    }

    /// Queue a call that must not be lost, even when the queue is full. Each connection has at most
    /// one of its kind at a time.
    ///
    /// Raises: `RuntimeError` when the loop is closed, or belongs to the parent process.
    pub(crate) fn add_beyond(&self, call: ThreadCall) -> PyResult<()> {
        self.open_queue()?.push(call, 0);
        Ok(())
    }

    fn wait_for_room(&self, py: Python<'_>, deadline: Instant) {
        detached(py, || {
            let queue = self.queue();
            if queue.is_full() && !queue.is_closed {
                let left = deadline.saturating_duration_since(Instant::now());
                drop(self.has_room.wait_timeout(queue, left));
            }
        });
    }

    /// Have the loop's thread take a turn.
    pub(crate) fn wake(&self) {
        self.queue().wake();
    }

    /// The calls that wait, for the loop's thread to run.
    pub(crate) fn take(&self) -> Vec<ThreadCall> {
        let mut queue = self.queue();
        if queue.calls.is_empty() && queue.returned.is_empty() {
            return Vec::new();
        }
        let calls = self.take_calls(&mut queue);
        let returned = std::mem::take(&mut queue.returned);
        // Dropping an object may run Python code, so the lock is not held meanwhile.
        drop(queue);
        drop(returned);
        calls
    }

    /// The calls that wait, in their order, except callables: they may be executed at any point at
    /// which the loop's thread is.
    pub(crate) fn take_answerable(&self) -> Vec<ThreadCall> {
        let mut queue = self.queue();
        if queue.calls.is_empty() {
            return Vec::new();
        }
        let calls = self.take_calls(&mut queue).into_iter();
        let (callables, calls) = calls.partition(ThreadCall::is_callable);
        queue.calls = callables;
        calls
    }

    /// Empty the queue of calls: there is room, and threads have their whole credit again.
    fn take_calls(&self, queue: &mut Queue) -> Vec<ThreadCall> {
        if queue.is_full() {
            self.has_room.notify_all();
        }
        queue.bytes = 0;
        self.senders.next_batch();
        std::mem::take(&mut queue.calls)
    }

    /// Have the loop report what a call raised.
    pub(crate) fn report_later(&self, error: PyErr) {
        self.queue().push(ThreadCall::Raise(error), 0);
    }

    /// Set the [`Bell`] that each call rings, or none; returns the previous one.
    pub(crate) fn set_bell(&self, bell: Option<Arc<Bell>>) -> Option<Arc<Bell>> {
        std::mem::replace(&mut self.queue().bell, bell)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.queue().is_closed
    }

    /// Drop a value on the loop's thread. Where the loop is closed, it is dropped with this handle;
    /// where the loop belongs to the parent process, never.
    pub(crate) fn give_back(&self, value: Box<dyn Droppable>) {
        if self.is_forked() {
            return std::mem::forget(value);
        }
        let mut queue = self.queue();
        queue.returned.push(value);
        queue.wake();
    }

    /// The loop is closed: nothing is queued any more, and threads that wait for room or for a
    /// result get an error.
    pub(crate) fn close(&self) {
        let mut queue = self.queue();
        queue.is_closed = true;
        let rest = std::mem::take(&mut *queue);
        queue.is_closed = true;
        self.has_room.notify_all();
        drop(queue);
        drop(rest);
        self.senders.close();
        self.set_event_loop(None);
    }

    /// The engine serves this asyncio loop from now on.
    pub(crate) fn attach(&self, event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
        let reference = PyWeakrefReference::new(event_loop)?;
        self.set_event_loop(Some(reference.unbind()));
        Ok(())
    }

    /// The asyncio loop that the engine serves; in a forked child too, which has a copy of it.
    #[inline]
    pub(crate) fn event_loop(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        if !self.is_here() && !self.is_forked() {
            return None;
        }
        // SAFETY: on the loop's thread, or in a child, where nobody changes it; no reference
        // outlives this statement.
        let event_loop = unsafe { &*self.event_loop.get() }.as_ref()?;
        let event_loop = event_loop.bind(py).upgrade()?;
        Some(event_loop.unbind())
    }

    fn set_event_loop(&self, event_loop: Option<Py<PyWeakrefReference>>) {
        if self.is_here() {
            // SAFETY: on the loop's thread, and nobody has a reference.
            let old = unsafe { std::mem::replace(&mut *self.event_loop.get(), event_loop) };
            drop(old);
        }
    }

    /// The queue, where it takes calls.
    fn open_queue(&self) -> PyResult<MutexGuard<'_, Queue>> {
        if self.is_forked() {
            return Err(forked_error());
        }
        let queue = self.queue();
        if queue.is_closed {
            return Err(PyRuntimeError::new_err("the loop is closed"));
        }
        Ok(queue)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A forked child uses what belongs to its parent.
#[cold]
pub(crate) fn forked_error() -> PyErr {
    PyRuntimeError::new_err(
        "this object belongs to the parent process: create a new loop in this forked child, or \
         end the child with os._exit()",
    )
}
