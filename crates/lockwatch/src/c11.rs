//! The threads and mutexes of C11 (`<threads.h>`).
//!
//! glibc builds them from its POSIX types: an `mtx_t` is a mutex, a `cnd_t` a condition, a
//! `once_flag` is what `pthread_once` takes, and a `thrd_t` is a `pthread_t`. It calls the POSIX
//! functions within the library, where they cannot be intercepted. So our functions call our
//! versions of the POSIX functions, and return their results in the form of C11.

use std::ffi::{c_int, c_void};

use libc::{pthread_cond_t, pthread_mutex_t, pthread_t, timespec};

use crate::calls::{self, export};
use crate::layout::Kind;
use crate::thread_calls::{self, Start};
use crate::threads;
use crate::{mutexes, once, real};

export!(mtx_init => init, 2);
export!(mtx_lock => lock, 1);
export!(mtx_trylock => trylock, 1);
export!(mtx_timedlock => timedlock, 2);
export!(mtx_unlock => unlock, 1);
export!(mtx_destroy => destroy, 1);
export!(cnd_wait => wait, 2);
export!(cnd_timedwait => timedwait, 3);
export!(cnd_signal => signal, 1);
export!(cnd_broadcast => broadcast, 1);
export!(call_once => call, 2);
export!(thrd_create => create, 3);
export!(thrd_join => join, 2);

const BUSY: c_int = 1;
const ERROR: c_int = 2;
const NO_MEMORY: c_int = 3;
const TIMED_OUT: c_int = 4;

/// The result of a POSIX function as C11 has it.
fn result(error: c_int) -> c_int {
    match error {
        0 => 0,
        libc::EBUSY => BUSY,
        libc::ENOMEM => NO_MEMORY,
        libc::ETIMEDOUT => TIMED_OUT,
        _ => ERROR,
    }
}

type Init = unsafe extern "C" fn(*mut pthread_mutex_t, c_int) -> c_int;
type Body = extern "C" fn(*mut c_void) -> c_int;
type Create = unsafe extern "C" fn(*mut pthread_t, Body, *mut c_void) -> c_int;

unsafe extern "C" fn init(mutex: *mut pthread_mutex_t, kind: c_int, site: u64) -> c_int {
    // SAFETY: what the caller gave is passed on.
    let made = unsafe { real::MTX_INIT.get::<Init>()(mutex, kind) };
    if made == 0
        && let Some(inside) = threads::enter()
    {
        calls::begin(&inside, mutex as u64, Kind::Mutex, site);
    }
    made
}

unsafe extern "C" fn lock(mutex: *mut pthread_mutex_t, site: u64) -> c_int {
    // SAFETY: what the caller gave is passed on, here and in all that follow.
    result(unsafe { mutexes::lock(mutex, site) })
}

unsafe extern "C" fn trylock(mutex: *mut pthread_mutex_t, site: u64) -> c_int {
    // SAFETY: see `lock`.
    result(unsafe { mutexes::trylock(mutex, site) })
}

unsafe extern "C" fn timedlock(
    mutex: *mut pthread_mutex_t,
    moment: *const timespec,
    site: u64,
) -> c_int {
    // SAFETY: see `lock`.
    result(unsafe { mutexes::timedlock(mutex, moment, site) })
}

unsafe extern "C" fn unlock(mutex: *mut pthread_mutex_t, site: u64) -> c_int {
    // SAFETY: see `lock`.
    result(unsafe { mutexes::unlock(mutex, site) })
}

unsafe extern "C" fn destroy(mutex: *mut pthread_mutex_t, site: u64) {
    // SAFETY: see `lock`.
    unsafe { mutexes::destroy(mutex, site) };
}

unsafe extern "C" fn wait(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    site: u64,
) -> c_int {
    // SAFETY: see `lock`.
    result(unsafe { mutexes::wait(condition, mutex, site) })
}

unsafe extern "C" fn timedwait(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    moment: *const timespec,
    site: u64,
) -> c_int {
    // SAFETY: see `lock`.
    result(unsafe { mutexes::timedwait(condition, mutex, moment, site) })
}

unsafe extern "C" fn signal(condition: *mut pthread_cond_t, site: u64) -> c_int {
    // SAFETY: see `lock`.
    result(unsafe { mutexes::signal(condition, site) })
}

unsafe extern "C" fn broadcast(condition: *mut pthread_cond_t, site: u64) -> c_int {
    // SAFETY: see `lock`.
    result(unsafe { mutexes::broadcast(condition, site) })
}

unsafe extern "C-unwind" fn call(flag: *mut c_int, routine: once::Routine, site: u64) {
    // SAFETY: see `lock`.
    unsafe { once::once(flag, routine, site) };
}

unsafe extern "C" fn create(
    handle: *mut pthread_t,
    body: Body,
    argument: *mut c_void,
    _site: u64,
) -> c_int {
    // SAFETY: what the caller gave is passed on; see `thread_calls::create`.
    unsafe {
        let create = real::THRD_CREATE.get::<Create>();
        let made = thread_calls::create(body, argument, |start| create(handle, run, start));
        made.unwrap_or_else(|| create(handle, body, argument))
    }
}

extern "C" fn run(start: *mut c_void) -> c_int {
    // SAFETY: what `create` gave.
    let Start { body, argument, .. } = unsafe { thread_calls::begin::<Body>(start) };
    // Not its last act: this frame says in a stack where the program's begin.
    std::hint::black_box(body(argument))
}

unsafe extern "C" fn join(handle: pthread_t, value: *mut c_int, site: u64) -> c_int {
    let mut ended = std::ptr::null_mut();
    // SAFETY: the caller's thread; its value goes where the caller wants it, if anywhere.
    unsafe {
        let error = thread_calls::join(handle, &raw mut ended, site);
        if error == 0 && !value.is_null() {
            *value = ended as usize as c_int;
        }
        result(error)
    }
}
