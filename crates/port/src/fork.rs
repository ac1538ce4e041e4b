//! What a forked child must not keep.
//!
//! fork(2) copies descriptors. A child that keeps a listening socket keeps its address taken after
//! the parent has closed it; one that keeps a ring or an epoll instance keeps every socket open
//! that is watched there. So a handler (`pthread_atfork(3)`) closes them in the child. What the
//! child still has of a port is of no use to it: the ring's memory is not even mapped there. A
//! caller compares [`count`] to notice that it is in a child of the process that made its port.
//!
//! subprocess and multiprocessing's `spawn` use vfork(2) and execve(2), which run no handlers and
//! close everything by themselves.

use std::cell::UnsafeCell;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::Descriptor;

static FORKS: AtomicUsize = AtomicUsize::new(0);
static HELD: Held = Held {
    is_locked: AtomicBool::new(false),
    descriptors: UnsafeCell::new(Vec::new()),
};

/// The descriptors to close in a child. The lock is taken in one function of the fork and released
/// in another, which the standard library's locks do not offer.
struct Held {
    is_locked: AtomicBool,
    descriptors: UnsafeCell<Vec<Descriptor>>,
}

// SAFETY: `descriptors` is touched by the holder of the lock only.
unsafe impl Sync for Held {}

impl Held {
    fn lock(&self) {
        while self.is_locked.swap(true, Ordering::Acquire) {
            std::thread::yield_now();
        }
    }

    fn unlock(&self) {
        self.is_locked.store(false, Ordering::Release);
    }

    fn change(&self, act: impl FnOnce(&mut Vec<Descriptor>)) {
        self.lock();
        // SAFETY: the lock is held.
        act(unsafe { &mut *self.descriptors.get() });
        self.unlock();
    }
}

/// How many forks there were from the process that loaded the library to this one. Only those after
/// the first port was opened are counted.
#[inline]
pub fn count() -> usize {
    FORKS.load(Ordering::Relaxed)
}

/// Close `descriptor` in every child that is forked before [`forget`].
pub(crate) fn close_in_children(descriptor: Descriptor) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the three functions live as long as the program, and do only what a forked child
        // of a process with several threads may do: system calls and plain memory. Should there be
        // no memory to register them, children keep the descriptors.
        unsafe { libc::pthread_atfork(Some(before), Some(after_in_parent), Some(after_in_child)) };
    });
    HELD.change(|held| held.push(descriptor));
}

/// The descriptor is being closed.
pub(crate) fn forget(descriptor: Descriptor) {
    HELD.change(|held| held.retain(|other| *other != descriptor));
}

extern "C" fn before() {
    HELD.lock();
}

extern "C" fn after_in_parent() {
    HELD.unlock();
}

extern "C" fn after_in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the parent took the lock before the fork, and a child has only this thread.
    let held = unsafe { &mut *HELD.descriptors.get() };
    for descriptor in held.iter() {
        // SAFETY: the descriptor is a copy of the parent's, which has not closed it.
        unsafe { libc::close(*descriptor) };
    }
    held.clear();
    HELD.unlock();
}
