//! Connections on which other threads send: how much they may send without an answer.
//!
//! A thread's message is queued for the loop, and the thread continues without knowing whether the
//! connection had room. So that nothing is lost, what was accepted in this way is promised: the
//! write queue takes it even when it is full. That is bounded. The first message of a connection is
//! sent while its thread waits for the loop, which then says how many bytes may be ahead: an eighth
//! of `write_bytes_max`. Larger messages, and those that would exceed the credit, wait for the loop
//! too, and may be refused. Once more than `write_high_bytes` wait for the peer, threads wait until
//! the queue has drained or the connection has ended.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The most bytes that may be ahead for one connection: what a loop sends in a millisecond.
const CREDIT_MAX: usize = 1 << 20;

struct Sender {
    credit: usize,
    ahead: usize,
    /// The batch of calls that `ahead` belongs to.
    batch: usize,
    is_above_high: bool,
}

/// What a thread may do with a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Queue it for the loop: it is promised.
    Promised,
    /// Ask the loop, and wait for the answer.
    Ask,
    /// Too much waits for the peer: wait for room first.
    Wait,
}

/// The connections of a loop on which other threads send, by their key.
#[derive(Default)]
pub(crate) struct Senders {
    known: Mutex<HashMap<usize, Sender>>,
    changed: Condvar,
    /// How many batches of calls the loop has taken.
    batch: AtomicUsize,
    /// How many connections are known: what is in the common case all that the loop looks at.
    count: AtomicUsize,
}

impl Senders {
    /// Whether a message of `size` bytes may be sent now.
    pub(crate) fn admit(&self, key: usize, size: usize) -> Admission {
        let mut known = self.known();
        let Some(sender) = known.get_mut(&key) else {
            return Admission::Ask;
        };
        if sender.is_above_high {
            return Admission::Wait;
        }
        let batch = self.batch.load(Ordering::Relaxed);
        if sender.batch != batch {
            sender.batch = batch;
            sender.ahead = 0;
        }
        if sender.ahead.saturating_add(size) > sender.credit {
            return Admission::Ask;
        }
        sender.ahead += size;
        Admission::Promised
    }

    /// Wait, at most for `slice`, until a connection has room.
    pub(crate) fn wait(&self, key: usize, slice: Duration) {
        let known = self.known();
        if known.get(&key).is_some_and(|sender| sender.is_above_high) {
            drop(self.changed.wait_timeout(known, slice));
        }
    }

    /// Whether too much waits for the peer.
    pub(crate) fn is_above_high(&self, key: usize) -> bool {
        self.known()
            .get(&key)
            .is_some_and(|sender| sender.is_above_high)
    }

    /// A thread has sent on a connection; on the loop's thread.
    pub(crate) fn sent(&self, key: usize, write_bytes_max: usize, is_above_high: bool) {
        let mut known = self.known();
        let credit = (write_bytes_max / 8).min(CREDIT_MAX);
        let batch = self.batch.load(Ordering::Relaxed);
        let sender = known.entry(key).or_insert(Sender {
            credit,
            ahead: 0,
            batch,
            is_above_high,
        });
        sender.is_above_high = is_above_high;
        self.count.store(known.len(), Ordering::Relaxed);
    }

    /// The connection's queue has drained.
    pub(crate) fn drained(&self, key: usize) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        if let Some(sender) = self.known().get_mut(&key) {
            sender.is_above_high = false;
            self.changed.notify_all();
        }
    }

    /// The connection has ended.
    pub(crate) fn forget(&self, key: usize) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut known = self.known();
        if known.remove(&key).is_some() {
            self.count.store(known.len(), Ordering::Relaxed);
            self.changed.notify_all();
        }
    }

    /// The loop has taken the calls that waited.
    pub(crate) fn next_batch(&self) {
        self.batch.fetch_add(1, Ordering::Relaxed);
    }

    /// The loop is closed.
    pub(crate) fn close(&self) {
        self.known().clear();
        self.changed.notify_all();
    }

    fn known(&self) -> MutexGuard<'_, HashMap<usize, Sender>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
