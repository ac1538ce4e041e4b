//! What a program uses of which not everything is watched, noted when it is used for the first
//! time.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::region::Region;
use crate::{clock, interpreter, notes};

#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Use {
    /// A stream is locked by the program: functions that write to it lock it unseen.
    Stream = 1,
    /// A stream has functions of the program's, which run while it is locked unseen.
    Cookie = 2,
    /// A Python lock is released by another thread than took it.
    Signal = 4,
    /// A semaphore of asyncio's counts as a notification.
    TaskSemaphore = 8,
    /// A lock lies in shared memory, and does not say that processes share it.
    Private = 16,
    /// A native lock is taken by a task that holds a lock of asyncio's.
    NativeInTask = 32,
    /// The process filters its system calls (`restrictions`).
    Filter = 64,
}

impl Use {
    fn text(self) -> &'static [u8] {
        match self {
            Self::Stream => b"Stream",
            Self::Cookie => b"Cookie",
            Self::Signal => b"Signal",
            Self::TaskSemaphore => b"TaskSemaphore",
            Self::Private => b"Private",
            Self::NativeInTask => b"NativeInTask",
            Self::Filter => b"Filter",
        }
    }
}

static NOTED: AtomicU32 = AtomicU32::new(0);

/// Whether tasks take locks of asyncio's, and none is known to take a native lock within.
static TASKS_LOCK: AtomicBool = AtomicBool::new(false);

/// A task takes a lock of asyncio's.
pub(crate) fn tasks_lock() {
    let is_noted = NOTED.load(Ordering::Relaxed) & Use::NativeInTask as u32 != 0;
    if !is_noted && !TASKS_LOCK.load(Ordering::Relaxed) {
        TASKS_LOCK.store(true, Ordering::Relaxed);
    }
}

/// A native lock is wanted.
#[inline]
pub(crate) fn native(region: &Region) {
    if TASKS_LOCK.load(Ordering::Relaxed) {
        native_in_task(region);
    }
}

#[cold]
fn native_in_task(region: &Region) {
    if interpreter::get().is_some_and(|interpreter| interpreter.is_locked_task(region)) {
        note(Use::NativeInTask);
        TASKS_LOCK.store(false, Ordering::Relaxed);
    }
}

/// Notes a use; once is enough.
#[inline]
pub(crate) fn note(what: Use) {
    let bit = what as u32;
    if NOTED.load(Ordering::Relaxed) & bit == 0 && NOTED.fetch_or(bit, Ordering::Relaxed) & bit == 0
    {
        notes::note(notes::Kind::Used, clock::now(), "-", what.text());
    }
}
