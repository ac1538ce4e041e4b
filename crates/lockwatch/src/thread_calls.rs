//! Creating threads, and joining them.

use std::ffi::{c_int, c_void};
use std::sync::atomic::Ordering;

use libc::{clockid_t, pthread_attr_t, pthread_t, timespec};

use crate::calls::{self, export};
use crate::threads::{self, Inside};
use crate::{clock, clocks, ends, python, real, region};

type Body = extern "C" fn(*mut c_void) -> *mut c_void;

/// The function of a new thread, and its place.
pub(crate) struct Start<B> {
    pub(crate) body: B,
    pub(crate) argument: *mut c_void,
    number: u32,
}

type Create =
    unsafe extern "C" fn(*mut pthread_t, *const pthread_attr_t, Body, *mut c_void) -> c_int;

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    handle: *mut pthread_t,
    attributes: *const pthread_attr_t,
    body: Body,
    argument: *mut c_void,
) -> c_int {
    python::look();
    // SAFETY: what the caller gave is passed on.
    unsafe {
        let real = real::CREATE.get::<Create>();
        let made = create(body, argument, |start| real(handle, attributes, run, start));
        made.unwrap_or_else(|| real(handle, attributes, body, argument))
    }
}

/// Makes a thread that begins in this library; none is made where nothing is watched.
///
/// # Safety
///
/// What `make` makes calls [`begin`] once, with what `make` is given, unless `make` says by its
/// result that it has failed.
pub(crate) unsafe fn create<B>(
    body: B,
    argument: *mut c_void,
    make: impl FnOnce(*mut c_void) -> c_int,
) -> Option<c_int> {
    let number = threads::enter().and_then(|inside| expect(&inside))?;
    let start = Box::into_raw(Box::new(Start {
        body,
        argument,
        number,
    }));
    let result = make(start.cast());
    if result != 0 {
        // SAFETY: there is no thread that could take it.
        drop(unsafe { Box::from_raw(start) });
    }
    Some(result)
}

/// A place for a thread that the caller is about to make. From here on the caller's orders are
/// later than the thread's birth.
fn expect(inside: &Inside) -> Option<u32> {
    let Inside { region, thread } = inside;
    let number = threads::claim(region)?;
    let child = &region.threads[number as usize];
    let parent = threads::keep(region, thread) + 1;
    child.parent.store(parent, Ordering::Relaxed);
    child.born.store(region.moment(), Ordering::Relaxed);
    clocks::inherit(region, thread, child);
    thread.segment.store(region.moment(), Ordering::Relaxed);
    Some(number)
}

extern "C" fn run(start: *mut c_void) -> *mut c_void {
    // SAFETY: what `pthread_create` gave.
    let Start { body, argument, .. } = unsafe { begin::<Body>(start) };
    // Not its last act: this frame says in a stack where the program's begin.
    std::hint::black_box(body(argument))
}

/// A thread has begun: return its function.
///
/// # Safety
///
/// `start` is what `create` has given, for this body, and is not used again.
pub(crate) unsafe fn begin<B>(start: *mut c_void) -> Start<B> {
    // SAFETY: the caller's promise.
    let start = unsafe { Box::from_raw(start.cast::<Start<B>>()) };
    if let Some(region) = region::region() {
        threads::adopt(region, start.number);
    }
    *start
}

type Join = unsafe extern "C" fn(pthread_t, *mut *mut c_void) -> c_int;
type ClockJoin =
    unsafe extern "C" fn(pthread_t, *mut *mut c_void, clockid_t, *const timespec) -> c_int;

export!(pthread_join => join, 2);

pub(crate) unsafe extern "C" fn join(
    handle: pthread_t,
    value: *mut *mut c_void,
    site: u64,
) -> c_int {
    // SAFETY: what the caller gave is passed on.
    let mut result = unsafe { join_at_once(handle, value) };
    if result == libc::ETIMEDOUT {
        // SAFETY: the same.
        let wait = || unsafe { real::JOIN.get::<Join>()(handle, value) };
        result = ends::while_it_lives(handle, site, wait);
    }
    if result == 0
        && let Some(inside) = threads::enter()
    {
        ends::joined(&inside, handle);
    }
    result
}

/// Joins a thread if that takes no longer than a short wait does; else `ETIMEDOUT`.
unsafe fn join_at_once(handle: pthread_t, value: *mut *mut c_void) -> c_int {
    // SAFETY: the type of `pthread_clockjoin_np` (glibc 2.31).
    let clock_join = unsafe { real::CLOCK_JOIN.present::<ClockJoin>() };
    match clock_join {
        None => libc::ETIMEDOUT,
        Some(join) => {
            let moment = clock::after(calls::LONG_NANOSECONDS);
            // SAFETY: what the caller gave, and a moment that lives through the call.
            unsafe { join(handle, value, libc::CLOCK_MONOTONIC, &raw const moment) }
        }
    }
}
