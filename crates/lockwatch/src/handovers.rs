//! Barriers and the futures of the C++ library: further ways to notify another thread, besides
//! conditions and semaphores (`clocks`).
//!
//! A thread that waits for a future waits within the C++ library, and the thread that sets it wakes
//! it there. If the future is ready already, it is read without a call, which cannot be seen. A
//! future of `std::async` is joined like a thread.

use std::ffi::{c_int, c_uint};

use libc::pthread_barrier_t;

use crate::calls::export;
use crate::threads::{self, Inside};
use crate::{clocks, real, region};

export!(pthread_barrier_wait => barrier_wait, 1);

type Wait = unsafe extern "C" fn(*mut pthread_barrier_t) -> c_int;
type WaitForFuture = unsafe extern "C" fn(usize, *mut c_uint, c_uint, bool, i64, i64) -> bool;
type Notify = unsafe extern "C" fn(*mut c_uint);

/// Runs a function inside this library, if any order has been recorded (`clocks`).
pub(crate) fn with(act: impl FnOnce(&Inside)) {
    if region::present().is_some_and(clocks::are_used)
        && let Some(inside) = threads::enter()
    {
        act(&inside);
    }
}

fn hand_over(address: u64) {
    with(|Inside { region, thread }| clocks::hand_over(region, thread, address));
}

pub(crate) fn receive(address: u64) {
    with(|Inside { region, thread }| clocks::receive(region, thread, address));
}

unsafe extern "C" fn barrier_wait(barrier: *mut pthread_barrier_t, _site: u64) -> c_int {
    hand_over(barrier as u64);
    // SAFETY: what the caller gave is passed on.
    let result = unsafe { real::BARRIER_WAIT.get::<Wait>()(barrier) };
    receive(barrier as u64);
    result
}

/// `std::__atomic_futex_unsigned_base::_M_futex_wait_until`, a method: its object is first.
#[unsafe(export_name = "_ZNSt28__atomic_futex_unsigned_base19_M_futex_wait_untilEPjjbNSt6chrono8durationIlSt5ratioILl1ELl1EEEENS2_IlS3_ILl1ELl1000000000EEEE")]
unsafe extern "C" fn wait_for_future(
    object: usize,
    word: *mut c_uint,
    value: c_uint,
    has_limit: bool,
    seconds: i64,
    nanoseconds: i64,
) -> bool {
    // SAFETY: what the caller gave is passed on.
    let is_set = unsafe {
        let wait = real::FUTURE_WAIT.get::<WaitForFuture>();
        wait(object, word, value, has_limit, seconds, nanoseconds)
    };
    receive(word as u64);
    is_set
}

/// `std::__atomic_futex_unsigned_base::_M_futex_notify_all`, a static method.
#[unsafe(export_name = "_ZNSt28__atomic_futex_unsigned_base19_M_futex_notify_allEPj")]
unsafe extern "C" fn notify_future(word: *mut c_uint) {
    hand_over(word as u64);
    // SAFETY: the same.
    unsafe { real::FUTURE_NOTIFY.get::<Notify>()(word) };
}
