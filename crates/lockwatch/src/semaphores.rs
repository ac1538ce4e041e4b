//! Semaphores, which count as locks if they are used like locks.
//!
//! A semaphore has no owner. If its initial value is 1, and each thread posts it after it has
//! waited for it, it counts as a lock. As soon as a thread posts it without having waited for it,
//! or waits for it twice, it counts as a notification. With another initial value it always does.
//! Orders with a notification are ignored, but a thread that waits for one while it holds a lock is
//! reported.
//!
//! CPython builds its own locks from semaphores (until 3.13). These are recorded by their methods
//! (`python`), so calls from the interpreter are passed on without being recorded.

use std::ffi::{c_char, c_int, c_uint};

use libc::{clockid_t, sem_t, timespec};

use crate::calls::{self, Wanted, Ways, export};
use crate::layout::Kind;
use crate::real;
use crate::threads::{self, Inside};
use crate::{clocks, held, locks, memory, python};

export!(sem_init => init, 3);
export!(sem_destroy => destroy, 1);
export!(sem_open => open, 4);
export!(sem_close => close, 1);
export!(sem_wait => wait, 1);
export!(sem_trywait => trywait, 1);
export!(sem_timedwait => timedwait, 2);
export!(sem_clockwait => clockwait, 3);
export!(sem_post => post, 1);

type Init = unsafe extern "C" fn(*mut sem_t, c_int, c_uint) -> c_int;
/// The last two are there only with `O_CREAT`; passing them on without is harmless.
type Open = unsafe extern "C" fn(*const c_char, c_int, c_uint, c_uint) -> *mut sem_t;
type OnSemaphore = unsafe extern "C" fn(*mut sem_t) -> c_int;
type Timed = unsafe extern "C" fn(*mut sem_t, *const timespec) -> c_int;
type Clock = unsafe extern "C" fn(*mut sem_t, clockid_t, *const timespec) -> c_int;

fn errno() -> &'static mut c_int {
    // SAFETY: this thread's own, which lives as long as it.
    unsafe { &mut *libc::__errno_location() }
}

/// A semaphore's calls tell by -1 and `errno`; a lock's by the number of the error.
fn as_error(result: c_int) -> c_int {
    match (result, *errno()) {
        (0, _) => 0,
        (_, libc::EAGAIN) => libc::EBUSY,
        (_, error) => error,
    }
}

/// And back. After a success `errno` is as it was, even if attempts before it failed.
fn as_result(error: c_int, before: c_int) -> c_int {
    *errno() = if error == 0 { before } else { error };
    if error == 0 { 0 } else { -1 }
}

struct Semaphore(*mut sem_t);

impl Ways for Semaphore {
    #[inline]
    fn at_once(&self) -> c_int {
        // SAFETY: the caller's semaphore, as the caller gave it.
        as_error(unsafe { real::SEMAPHORE_TRYWAIT.get::<OnSemaphore>()(self.0) })
    }

    fn until(&self, moment: &timespec) -> c_int {
        let clock = libc::CLOCK_MONOTONIC;
        // SAFETY: the same, and a moment that lives through the call.
        as_error(unsafe { real::SEMAPHORE_CLOCKWAIT.get::<Clock>()(self.0, clock, moment) })
    }

    #[inline]
    fn at_last(&self) -> c_int {
        // SAFETY: the same.
        as_error(unsafe { real::SEMAPHORE_WAIT.get::<OnSemaphore>()(self.0) })
    }
}

fn wanted(semaphore: *mut sem_t, site: u64) -> Wanted {
    Wanted {
        address: semaphore as u64,
        kind: Kind::Semaphore,
        is_shared: false,
        site,
    }
}

unsafe extern "C" fn init(semaphore: *mut sem_t, shared: c_int, value: c_uint, site: u64) -> c_int {
    python::look();
    // SAFETY: what the caller gave is passed on.
    let result = unsafe { real::SEMAPHORE_INIT.get::<Init>()(semaphore, shared, value) };
    if result == 0 && !python::keeps(site) {
        begin(semaphore, value, Kind::Semaphore, site);
    }
    result
}

fn begin(semaphore: *mut sem_t, value: c_uint, kind: Kind, site: u64) {
    let Some(inside) = threads::enter() else {
        return;
    };
    let address = semaphore as u64;
    locks::begin(inside.region, address, kind, site);
    if value != 1
        && let Some(lock) = locks::known(inside.region, address)
    {
        locks::become_signal(inside.region, lock);
    }
}

unsafe extern "C" fn destroy(semaphore: *mut sem_t, site: u64) -> c_int {
    if !python::keeps(site)
        && let Some(inside) = threads::enter()
    {
        locks::end(inside.region, semaphore as u64);
    }
    // SAFETY: what the caller gave is passed on.
    unsafe { real::SEMAPHORE_DESTROY.get::<OnSemaphore>()(semaphore) }
}

unsafe extern "C" fn open(
    name: *const c_char,
    flags: c_int,
    mode: c_uint,
    value: c_uint,
    site: u64,
) -> *mut sem_t {
    // SAFETY: what the caller gave is passed on.
    let semaphore = unsafe { real::SEMAPHORE_OPEN.get::<Open>()(name, flags, mode, value) };
    if semaphore == libc::SEM_FAILED {
        return semaphore;
    }
    let before = *errno();
    let (kind, site) = if python::makes_semaphores(site) {
        (Kind::PythonSemaphore, 0)
    } else {
        (Kind::Semaphore, site)
    };
    if flags & libc::O_CREAT != 0 && flags & libc::O_EXCL != 0 {
        begin(semaphore, value, kind, site);
    } else if let Some(inside) = threads::enter() {
        // Somebody has made it before, perhaps this very process, which is given the same address.
        locks::find(inside.region, semaphore as u64, kind, site);
    }
    *errno() = before;
    semaphore
}

unsafe extern "C" fn close(semaphore: *mut sem_t, site: u64) -> c_int {
    let _ = site;
    // SAFETY: what the caller gave is passed on.
    let result = unsafe { real::SEMAPHORE_CLOSE.get::<OnSemaphore>()(semaphore) };
    if result == 0
        && let Some(inside) = threads::enter()
        && !memory::is_mapped(semaphore as u64)
    {
        // It was the last of this process's openings.
        locks::end(inside.region, semaphore as u64);
    }
    result
}

unsafe extern "C" fn wait(semaphore: *mut sem_t, site: u64) -> c_int {
    if python::keeps(site) {
        // SAFETY: what the caller gave is passed on.
        return unsafe { real::SEMAPHORE_WAIT.get::<OnSemaphore>()(semaphore) };
    }
    let before = *errno();
    let wanted = wanted(semaphore, site);
    as_result(calls::take(wanted, &Semaphore(semaphore)), before)
}

unsafe extern "C" fn trywait(semaphore: *mut sem_t, site: u64) -> c_int {
    // SAFETY: what the caller gave is passed on.
    tried(semaphore, site, || unsafe {
        real::SEMAPHORE_TRYWAIT.get::<OnSemaphore>()(semaphore)
    })
}

unsafe extern "C" fn timedwait(semaphore: *mut sem_t, moment: *const timespec, site: u64) -> c_int {
    // SAFETY: what the caller gave is passed on.
    tried(semaphore, site, || unsafe {
        real::SEMAPHORE_TIMEDWAIT.get::<Timed>()(semaphore, moment)
    })
}

unsafe extern "C" fn clockwait(
    semaphore: *mut sem_t,
    clock: clockid_t,
    moment: *const timespec,
    site: u64,
) -> c_int {
    // SAFETY: what the caller gave is passed on.
    tried(semaphore, site, || unsafe {
        real::SEMAPHORE_CLOCKWAIT.get::<Clock>()(semaphore, clock, moment)
    })
}

#[inline]
fn tried(semaphore: *mut sem_t, site: u64, call: impl Fn() -> c_int) -> c_int {
    if python::keeps(site) {
        return call();
    }
    let before = *errno();
    let error = calls::try_take(wanted(semaphore, site), || match as_error(call()) {
        libc::EBUSY => libc::EAGAIN,
        error => error,
    });
    as_result(error, before)
}

unsafe extern "C" fn post(semaphore: *mut sem_t, site: u64) -> c_int {
    if !python::keeps(site) {
        posted(semaphore as u64, site);
    }
    // SAFETY: what the caller gave is passed on.
    unsafe { real::SEMAPHORE_POST.get::<OnSemaphore>()(semaphore) }
}

/// The thread is about to post a semaphore.
#[inline]
fn posted(address: u64, site: u64) {
    let Some(inside) = threads::enter() else {
        return;
    };
    let Inside { region, thread } = &inside;
    if held::pop(region, thread, address, false) == 0
        && let Some(lock) = locks::find(region, address, Kind::Semaphore, site)
    {
        if !locks::is_signal(region, lock) {
            locks::become_signal(region, lock);
        }
        clocks::hand_over(region, thread, address);
    }
}
