//! Initialisation that happens once: `pthread_once`, `std::call_once` (which uses it), and the
//! guards of C++'s static variables (the Itanium C++ ABI, section 3.3.3).
//!
//! The first thread does it, and the others wait for this thread. So it counts as a lock until it
//! is done. Afterwards it costs only the check of a word.

use std::cell::Cell;
use std::ffi::c_int;
use std::sync::atomic::Ordering;

use crate::calls::{self, export};
use crate::handovers::receive;
use crate::layout::Kind;
use crate::threads::{self, Inside};
use crate::{clocks, edges, held, locks, real};

export!(pthread_once => once, 2);
export!(__cxa_guard_acquire => begin, 1);
export!(__cxa_guard_release => end, 1);
export!(__cxa_guard_abort => abort, 1);

pub(crate) type Routine = unsafe extern "C-unwind" fn();
type Once = unsafe extern "C-unwind" fn(*mut c_int, Routine) -> c_int;
type Begin = unsafe extern "C-unwind" fn(*mut u64) -> c_int;
type End = unsafe extern "C" fn(*mut u64);

/// What glibc has in the word once it is done.
const DONE: c_int = 2;

thread_local! {
    /// The routine that this thread may be the one to call, and of what.
    static ROUTINE: Cell<Option<(Routine, u64)>> = const { Cell::new(None) };
}

/// The thread may have to wait for another one that runs the routine; returns that thread's number.
fn want(address: u64, site: u64) -> Option<u32> {
    // Though it may be the first operation: the thread may come to wait for itself.
    let Inside { region, thread } = &threads::enter()?;
    let lock = locks::find(region, address, Kind::Once, site)?;
    if held::find(thread, address).is_none() {
        edges::record(region, thread, lock, false, site);
    }
    let owner = locks::lock(region, lock).owner.load(Ordering::Relaxed);
    (owner != 0).then_some(lock)
}

fn wait_for<T>(busy: Option<u32>, site: u64, call: impl FnOnce() -> T) -> T {
    match busy {
        Some(lock) => calls::while_waiting(lock, site, call),
        None => call(),
    }
}

fn take(address: u64, site: u64) {
    if let Some(Inside { region, thread }) = threads::enter().as_ref()
        && let Some(lock) = locks::find(region, address, Kind::Once, site)
    {
        held::hold(region, thread, lock, address, false, site);
    }
}

fn let_go(address: u64) {
    if let Some(Inside { region, thread }) = threads::enter_present().as_ref() {
        clocks::hand_over(region, thread, address);
        held::pop(region, thread, address, true);
    }
}

/// Releases it when the routine is over, also by an exception.
struct Doing(u64);

impl Drop for Doing {
    fn drop(&mut self) {
        let_go(self.0);
    }
}

unsafe extern "C-unwind" fn routine() {
    if let Some((real, address)) = ROUTINE.take() {
        take(address, 0);
        let _doing = Doing(address);
        // SAFETY: the caller's own routine, which may throw.
        unsafe { real() };
    }
}

pub(crate) unsafe extern "C-unwind" fn once(
    control: *mut c_int,
    real: Routine,
    site: u64,
) -> c_int {
    let address = control as u64;
    // SAFETY: the caller's word, which other threads change only to say that it is done.
    let is_done = unsafe { control.read_volatile() } == DONE;
    if is_done {
        receive(address);
        // SAFETY: what the caller gave is passed on.
        return unsafe { real::ONCE.get::<Once>()(control, real) };
    }
    let busy = want(address, site);
    let outer = ROUTINE.replace(Some((real, address)));
    // SAFETY: the caller's word, and a routine that calls the caller's.
    let result = wait_for(busy, site, || unsafe {
        real::ONCE.get::<Once>()(control, routine)
    });
    ROUTINE.set(outer);
    receive(address);
    result
}

unsafe extern "C-unwind" fn begin(guard: *mut u64, site: u64) -> c_int {
    let address = guard as u64;
    let busy = want(address, site);
    // SAFETY: what the caller gave is passed on.
    let is_ours = wait_for(busy, site, || unsafe {
        real::GUARD_ACQUIRE.get::<Begin>()(guard)
    });
    if is_ours == 1 {
        take(address, site);
    } else {
        receive(address);
    }
    is_ours
}

unsafe extern "C" fn end(guard: *mut u64, _site: u64) {
    let_go(guard as u64);
    // SAFETY: what the caller gave is passed on.
    unsafe { real::GUARD_RELEASE.get::<End>()(guard) };
}

unsafe extern "C" fn abort(guard: *mut u64, _site: u64) {
    let_go(guard as u64);
    // SAFETY: the same.
    unsafe { real::GUARD_ABORT.get::<End>()(guard) };
}
