//! Tasks by the address of their object: who created each, and its place among the region's
//! threads.
//!
//! A program may create and drop millions of tasks, so a task that took no lock must leave nothing
//! behind. The table has buckets of a few entries each, found by a hash, and an entry is cleared
//! when its task is collected. If a bucket is full, a new task in it is not watched.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::mapped::Mapped;

const BUCKETS: usize = 1 << 14;
const WAYS: usize = 8;

/// Time limits of which it is known when they were set.
const LIMITS: usize = 4;

/// What is known of a task.
#[repr(C)]
pub(super) struct Known {
    /// The object's address; 0 where there is none.
    pub(super) address: AtomicU64,
    /// The address of the task that made it.
    pub(super) creator: AtomicU64,
    /// Among the region's threads, plus one; 0 before it first takes a lock.
    pub(super) number: AtomicU32,
    /// The nearest of those it comes from that anything recorded names, plus one.
    pub(super) parent: AtomicU32,
    /// The moment of that one at which it came from it.
    pub(super) born: AtomicU32,
    /// Its place, plus one, if it has ended and what was recorded names it.
    pub(super) ended: AtomicU32,
    /// Time limits that it is under, and how many locks it held when the last ones were set.
    pub(super) limits: AtomicU32,
    pub(super) limits_at: [AtomicU32; LIMITS],
}

type Bucket = [Known; WAYS];

// SAFETY: they are made of atomics.
static TABLE: Mapped<Bucket, BUCKETS> = unsafe { Mapped::new() };

/// Makes an empty table, at the start and in each child.
pub(super) fn open() {
    TABLE.open();
}

#[inline]
fn bucket(address: u64) -> Option<&'static Bucket> {
    let hash = address.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - BUCKETS.trailing_zeros());
    TABLE.items()?.get(hash as usize)
}

/// The entry of a task.
#[inline]
pub(super) fn find(address: u64) -> Option<&'static Known> {
    bucket(address)?
        .iter()
        .find(|known| known.address.load(Ordering::Relaxed) == address)
}

/// A fresh entry for a task.
pub(super) fn enter(address: u64) -> Option<&'static Known> {
    let known = bucket(address)?.iter().find(|known| {
        known
            .address
            .compare_exchange(0, address, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    })?;
    known.creator.store(0, Ordering::Relaxed);
    for field in [
        &known.number,
        &known.parent,
        &known.born,
        &known.ended,
        &known.limits,
    ] {
        field.store(0, Ordering::Relaxed);
    }
    Some(known)
}

impl Known {
    /// Another time limit is set, while the task holds some locks.
    pub(super) fn limit(&self, held: usize) {
        let count = self.limits.fetch_add(1, Ordering::Relaxed) as usize;
        if let Some(at) = self.limits_at.get(count) {
            at.store(held as u32, Ordering::Relaxed);
        }
    }

    /// The last time limit is over.
    pub(super) fn unlimit(&self) {
        let count = self.limits.load(Ordering::Relaxed);
        self.limits
            .store(count.saturating_sub(1), Ordering::Relaxed);
    }

    /// How many locks the task held when its last time limit was set.
    pub(super) fn limited_at(&self) -> Option<usize> {
        let count = self.limits.load(Ordering::Relaxed) as usize;
        let last = count.min(LIMITS).checked_sub(1)?;
        Some(self.limits_at[last].load(Ordering::Relaxed) as usize)
    }
}

/// The task is no more.
pub(super) fn leave(known: &Known) {
    known.address.store(0, Ordering::Release);
}
