//! Locks that only their maker can know yet.
//!
//! A constructor often takes the lock of the object that it makes, in the other order than
//! everybody else does later. That cannot be a deadlock as long as nobody else knows the object. It
//! is published by some store that nobody sees; but mostly with a lock held, or by a hand-over. So
//! a lock counts as its maker's own until that thread has released any lock, or handed over.

use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use crate::layout::{LOCKS_MAX, Thread};
use crate::region::Region;
use crate::{locks, threads};

/// Who has made a lock, plus one, and how often that thread had released any lock by then.
struct Birth {
    maker: AtomicU32,
    releases: AtomicU32,
}

static TABLE: AtomicPtr<Birth> = AtomicPtr::new(std::ptr::null_mut());

/// Makes an empty table, at the start and in each child.
pub(crate) fn open() {
    let bytes = LOCKS_MAX * size_of::<Birth>();
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a fresh anonymous mapping, or the old one that only this process sees.
    unsafe {
        let old = TABLE.swap(std::ptr::null_mut(), Ordering::AcqRel);
        if !old.is_null() {
            libc::munmap(old.cast(), bytes);
        }
        let base = libc::mmap(std::ptr::null_mut(), bytes, access, flags, -1, 0);
        if base != libc::MAP_FAILED {
            TABLE.store(base.cast(), Ordering::Release);
        }
    }
}

fn birth(lock: u32) -> Option<&'static Birth> {
    let base = TABLE.load(Ordering::Acquire);
    // SAFETY: the mapping has one for each lock, and is only replaced in a child before it is used
    // there.
    (!base.is_null()).then(|| unsafe { &*base.add(lock as usize) })
}

/// A lock is first seen: made by this thread, or by nobody who is known.
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

/// Others may know from here on what the thread has made.
#[inline]
pub(crate) fn publish(thread: &Thread) {
    let releases = thread.releases.load(Ordering::Relaxed);
    thread
        .releases
        .store(releases.wrapping_add(1), Ordering::Relaxed);
}

/// Whether nobody but this thread can know a lock yet.
pub(crate) fn is_private(region: &Region, thread: &Thread, lock: u32) -> bool {
    birth(lock).is_some_and(|birth| {
        birth.maker.load(Ordering::Relaxed) == threads::number(region, thread) + 1
            && birth.releases.load(Ordering::Relaxed) == thread.releases.load(Ordering::Relaxed)
            && locks::lock(region, lock).shared.load(Ordering::Relaxed) == 0
    })
}
