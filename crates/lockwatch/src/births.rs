//! Locks that only the thread that created them can use yet.
//!
//! A constructor often takes the lock of the object that it creates, in another order than all
//! other code does later. This cannot be a deadlock as long as no other thread knows the object.
//! The object becomes known through some store, which cannot be seen. But usually the thread holds
//! a lock meanwhile, or hands the object over with a notification. So a lock counts as its
//! creator's own until this thread has released any lock, or has notified another thread.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::layout::{LOCKS_MAX, Thread};
use crate::mapped::Mapped;
use crate::region::Region;
use crate::{locks, threads};

/// The thread that created a lock, plus one, and how often it had released any lock by then.
struct Birth {
    maker: AtomicU32,
    releases: AtomicU32,
}

// SAFETY: it is made of atomics.
static TABLE: Mapped<Birth, LOCKS_MAX> = unsafe { Mapped::new() };

/// Makes an empty table, at the start and in each child.
pub(crate) fn open() {
    TABLE.open();
}

fn birth(lock: u32) -> Option<&'static Birth> {
    TABLE.items()?.get(lock as usize)
}

/// A lock is seen for the first time: this thread has created it, or its creator is not known.
pub(crate) fn note(region: &Region, lock: u32, is_made: bool) {
    let Some(birth) = birth(lock) else {
        return;
    };
    let maker = threads::present().filter(|_| is_made).map(|(_, thread)| {
        let releases = thread.releases.load(Ordering::Relaxed);
        birth.releases.store(releases, Ordering::Relaxed);
        threads::number(region, thread) + 1
    });
    birth.maker.store(maker.unwrap_or(0), Ordering::Relaxed);
}

/// From here on other threads may know the locks that the thread has created.
#[inline]
pub(crate) fn publish(thread: &Thread) {
    let releases = thread.releases.load(Ordering::Relaxed);
    thread
        .releases
        .store(releases.wrapping_add(1), Ordering::Relaxed);
}

/// Whether only this thread can know a lock so far.
pub(crate) fn is_private(region: &Region, thread: &Thread, lock: u32) -> bool {
    birth(lock).is_some_and(|birth| {
        birth.maker.load(Ordering::Relaxed) == threads::number(region, thread) + 1
            && birth.releases.load(Ordering::Relaxed) == thread.releases.load(Ordering::Relaxed)
            && locks::lock(region, lock).shared.load(Ordering::Relaxed) == 0
    })
}
