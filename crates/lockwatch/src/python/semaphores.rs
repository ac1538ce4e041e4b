//! The locks of multiprocessing: `_multiprocessing.SemLock`, from which `Lock`, `RLock`,
//! `Semaphore`, `Condition`, `Event` and `Queue` are built; and which semaphores belong to the
//! interpreter itself.
//!
//! The type is found when the module first creates a semaphore (`sem_open`). Its methods are then
//! replaced like those of `_thread.lock`. The semaphore is recorded as the lock; several objects
//! and several processes may share it.

use std::ffi::c_int;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::interface::{Interface, Object};
use super::{SEMAPHORE, STATE, header_bytes, python, swap_methods};
use crate::{loaded, objects};

/// Where the interpreter's code lies, and the module's: their own semaphores are known by their
/// methods, and calls from there go straight through.
static INTERPRETER: Range = Range::new();
static MODULE: Range = Range::new();

/// 1: the methods of `SemLock` are swapped; 2: they could not be.
static INSTALLED: AtomicU32 = AtomicU32::new(0);
/// Bytes of an object's head.
static HEADER: AtomicUsize = AtomicUsize::new(0);

struct Range {
    start: AtomicU64,
    length: AtomicU64,
}

impl Range {
    const fn new() -> Self {
        Self {
            start: AtomicU64::new(0),
            length: AtomicU64::new(0),
        }
    }

    #[inline]
    fn has(&self, address: u64) -> bool {
        let start = self.start.load(Ordering::Relaxed);
        address.wrapping_sub(start) < self.length.load(Ordering::Relaxed)
    }
}

/// Whether a call that returns to `site` is the interpreter's, of a semaphore that is the inside of
/// one of its locks.
#[inline]
pub(crate) fn keeps(site: u64) -> bool {
    INTERPRETER.has(site) || MODULE.has(site)
}

/// Notes where the interpreter's code lies.
pub(super) fn know_interpreter(python: &Interface) {
    know(&INTERPRETER, python.is_initialized as usize as u64);
}

/// Notes the executable part of the loaded object that an address lies in.
fn know(range: &Range, address: u64) {
    if let Some((start, end)) = loaded::find(|info| loaded::span_of(info, address)) {
        range.start.store(start, Ordering::Relaxed);
        range.length.store(end - start, Ordering::Release);
    }
}

/// Whether the call that returns to `site` makes a semaphore for a `SemLock`; the first such call
/// is the moment at which its methods are swapped.
pub(crate) fn makes_semaphores(site: u64) -> bool {
    if STATE.load(Ordering::Acquire) != 2 {
        return false;
    }
    if !MODULE.has(site) && !INTERPRETER.has(site) {
        if !is_module(site) {
            return false;
        }
        know(&MODULE, site);
    }
    if INSTALLED.load(Ordering::Acquire) == 0 {
        let state = if install(python()) { 1 } else { 2 };
        INSTALLED.store(state, Ordering::Release);
        if state == 2 {
            // Its semaphores are watched as any others.
            MODULE.length.store(0, Ordering::Relaxed);
        }
    }
    INSTALLED.load(Ordering::Relaxed) == 1
}

fn is_module(site: u64) -> bool {
    objects::find(site).is_some_and(|object| object.is_named(b"/_multiprocessing."))
}

fn install(python: &Interface) -> bool {
    // SAFETY: anyone who makes a semaphore for a `SemLock` holds the GIL; new references are
    // released or kept permanently.
    unsafe {
        if (python.has_gil)() == 0 {
            return false;
        }
        let header = header_bytes(python);
        let module = (python.import)(c"_multiprocessing".as_ptr());
        if module.is_null() {
            (python.clear_error)();
            return false;
        }
        let class = (python.attribute)(module, c"SemLock".as_ptr());
        (python.release)(module);
        if class.is_null() {
            (python.clear_error)();
            return false;
        }
        HEADER.store(header, Ordering::Relaxed);
        swap_methods(python, class, SEMAPHORE, header);
        true
    }
}

/// A word of the `SemLockObject` behind its head: the semaphore, the last thread, then the count,
/// the most, and the kind as half words; the same in every supported version.
fn field<T: Copy>(object: Object, offset: usize) -> T {
    let place = HEADER.load(Ordering::Relaxed) + offset;
    // SAFETY: a method of this type was called with this object.
    unsafe { object.cast::<u8>().add(place).cast::<T>().read() }
}

/// The semaphore behind an object.
#[inline]
pub(super) fn handle(object: Object) -> u64 {
    field(object, 0)
}

/// Whether it was made to be held by one at a time (`Lock`, `RLock`).
pub(super) fn is_lock(object: Object) -> bool {
    field::<c_int>(object, 20) == 1
}
