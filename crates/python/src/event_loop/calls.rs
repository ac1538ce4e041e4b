//! What a loop has to do: callbacks, timers, and the transports whose sockets it reads.

use super::WithGil;
use super::streams::Streams;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering as Atomic};

/// With more timers than this, cancelled ones are removed when they are the majority (asyncio's
/// numbers).
const SWEPT_TIMERS_MIN: usize = 100;
/// What one receive takes at most, as in asyncio.
pub(super) const RECEIVE_BYTES_MAX: usize = 256 << 10;

/// One timer. Those that are due at the same moment fire in the order in which they were set.
struct Entry {
    when: f64,
    number: u64,
    handle: Py<PyAny>,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_time = self.when.total_cmp(&other.when);
        by_time.then(self.number.cmp(&other.number))
    }
}

/// The timers of a loop.
#[derive(Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<Entry>>,
    /// How many of them are cancelled.
    pub(super) cancelled: usize,
}

impl Timers {
    pub(super) fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// When the first is due, and its handle.
    pub(super) fn first<'py>(&self, py: Python<'py>) -> Option<(f64, Bound<'py, PyAny>)> {
        let Reverse(entry) = self.heap.peek()?;
        Some((entry.when, entry.handle.bind(py).clone()))
    }

    pub(super) fn pop<'py>(&mut self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let Reverse(entry) = self.heap.pop()?;
        Some(entry.handle.into_bound(py))
    }

    /// Whether so many are cancelled that they are to be removed.
    pub(super) fn is_sweep_due(&self) -> bool {
        self.heap.len() > SWEPT_TIMERS_MIN && self.cancelled * 2 > self.heap.len()
    }

    /// Take all out, to be sorted by the caller.
    pub(super) fn take(&mut self) -> Vec<(f64, u64, Py<PyAny>)> {
        self.cancelled = 0;
        let taken = std::mem::take(&mut self.heap).into_iter();
        taken
            .map(|Reverse(it)| (it.when, it.number, it.handle))
            .collect()
    }

    pub(super) fn put_back(&mut self, (when, number, handle): (f64, u64, Py<PyAny>)) {
        self.heap.push(Reverse(Entry {
            when,
            number,
            handle,
        }));
    }
}

/// What a loop has to do.
pub(crate) struct Calls {
    pub(super) ready: WithGil<VecDeque<Py<PyAny>>>,
    pub(super) timers: WithGil<Timers>,
    /// How many timers were ever set.
    timers_set: AtomicU64,
    /// Transports of which something was written that is not sent, to be sent when the callback
    /// returns.
    pub(super) unsent: WithGil<Vec<Py<PyAny>>>,
    /// The same for those on a ring, to be sent with the next turn.
    pub(super) unsent_on_ring: WithGil<Vec<Py<PyAny>>>,
    /// The transports on a ring.
    pub(super) streams: WithGil<Streams>,
    /// The transports that are read, by descriptor.
    pub(super) readers: WithGil<Vec<Option<Py<PyAny>>>>,
    /// Where receives put bytes.
    pub(super) buffer: WithGil<Vec<u8>>,
    pub(super) is_debug: AtomicBool,
    pub(super) is_closed: AtomicBool,
    /// Whether a callback runs, after which is sent what was written.
    pub(super) is_in_callback: AtomicBool,
    /// Whether the loop is to stop.
    is_stopping: Arc<AtomicBool>,
}

impl Calls {
    pub(super) fn new(is_stopping: Arc<AtomicBool>) -> Self {
        Self {
            ready: WithGil::new(VecDeque::new()),
            timers: WithGil::new(Timers::default()),
            timers_set: AtomicU64::new(0),
            unsent: WithGil::new(Vec::new()),
            unsent_on_ring: WithGil::new(Vec::new()),
            streams: WithGil::new(Streams::default()),
            readers: WithGil::new(Vec::new()),
            buffer: WithGil::new(Vec::new()),
            is_debug: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            is_in_callback: AtomicBool::new(false),
            is_stopping,
        }
    }

    /// Whether calls take the native path.
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        !self.is_debug.load(Atomic::Relaxed) && !self.is_closed.load(Atomic::Relaxed)
    }

    #[inline]
    pub(super) fn push(&self, handle: &Bound<'_, PyAny>) {
        let handle_of_queue = handle.clone().unbind();
        self.ready.borrow(handle.py()).push_back(handle_of_queue);
    }

    pub(super) fn push_timer(&self, when: f64, handle: &Bound<'_, PyAny>) {
        let number = self.timers_set.fetch_add(1, Atomic::Relaxed);
        let entry = (when, number, handle.clone().unbind());
        self.timers.borrow(handle.py()).put_back(entry);
    }

    pub(crate) fn has_ready(&self, py: Python<'_>) -> bool {
        !self.ready.borrow(py).is_empty()
            || !self.unsent_on_ring.borrow(py).is_empty()
            || self.streams.borrow(py).has_resumed()
    }

    #[inline]
    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Atomic::Relaxed)
    }

    pub(crate) fn timers_set(&self) -> u64 {
        self.timers_set.load(Atomic::Relaxed)
    }

    /// The transport that reads this descriptor.
    #[inline]
    pub(super) fn reader<'py>(
        &self,
        py: Python<'py>,
        descriptor: i32,
    ) -> Option<Bound<'py, PyAny>> {
        let readers = self.readers.borrow(py);
        let reader = readers.get(usize::try_from(descriptor).ok()?)?.as_ref()?;
        Some(reader.bind(py).clone())
    }

    pub(super) fn set_reader(&self, descriptor: i32, transport: &Bound<'_, PyAny>) {
        let Ok(index) = usize::try_from(descriptor) else {
            return;
        };
        let mut readers = self.readers.borrow(transport.py());
        if readers.len() <= index {
            readers.resize_with(index + 1, || None);
        }
        let before = readers[index].replace(transport.clone().unbind());
        drop(readers);
        drop(before);
    }

    /// Forget the reader of this descriptor.
    pub(super) fn take_reader(&self, py: Python<'_>, descriptor: i32) -> Option<Py<PyAny>> {
        let index = usize::try_from(descriptor).ok()?;
        self.readers.borrow(py).get_mut(index)?.take()
    }

    /// Show the collector what is held.
    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(ready) = self.ready.try_borrow() {
            for handle in &*ready {
                visit.call(handle)?;
            }
        }
        if let Some(timers) = self.timers.try_borrow() {
            for Reverse(entry) in &timers.heap {
                visit.call(&entry.handle)?;
            }
        }
        if let Some(unsent) = self.unsent.try_borrow() {
            for transport in &*unsent {
                visit.call(transport)?;
            }
        }
        if let Some(unsent) = self.unsent_on_ring.try_borrow() {
            for transport in &*unsent {
                visit.call(transport)?;
            }
        }
        if let Some(streams) = self.streams.try_borrow() {
            streams.traverse(visit)?;
        }
        if let Some(readers) = self.readers.try_borrow() {
            for transport in readers.iter().flatten() {
                visit.call(transport)?;
            }
        }
        Ok(())
    }

    /// Hold nothing any more.
    pub(super) fn clear(&self, py: Python<'_>) {
        let ready = std::mem::take(&mut *self.ready.borrow(py));
        let timers = std::mem::take(&mut *self.timers.borrow(py));
        let unsent = std::mem::take(&mut *self.unsent.borrow(py));
        let unsent_on_ring = std::mem::take(&mut *self.unsent_on_ring.borrow(py));
        let streams = std::mem::take(&mut *self.streams.borrow(py));
        let readers = std::mem::take(&mut *self.readers.borrow(py));
        // Their finalizers may run Python code, so nothing is borrowed meanwhile.
        drop((ready, timers, unsent, unsent_on_ring, streams, readers));
    }
}
