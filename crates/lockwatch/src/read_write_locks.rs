//! Read-write locks.

use std::ffi::c_int;

use libc::{clockid_t, pthread_rwlock_t, pthread_rwlockattr_t, timespec};

use crate::calls::{self, Wanted, Ways, export};
use crate::layout::Kind;
use crate::real::{self, ClockReadWrite, OnReadWrite, Real, TimedReadWrite};
use crate::threads;

export!(pthread_rwlock_init => init, 2);
export!(pthread_rwlock_destroy => destroy, 1);
export!(pthread_rwlock_rdlock => read, 1);
export!(pthread_rwlock_tryrdlock => try_read, 1);
export!(pthread_rwlock_timedrdlock => timed_read, 2);
export!(pthread_rwlock_clockrdlock => clock_read, 3);
export!(pthread_rwlock_wrlock => write, 1);
export!(pthread_rwlock_trywrlock => try_write, 1);
export!(pthread_rwlock_timedwrlock => timed_write, 2);
export!(pthread_rwlock_clockwrlock => clock_write, 3);
export!(pthread_rwlock_unlock => unlock, 1);

struct ReadWrite {
    lock: *mut pthread_rwlock_t,
    at_once: &'static Real,
    until: &'static Real,
    at_last: &'static Real,
}

impl ReadWrite {
    fn reader(lock: *mut pthread_rwlock_t) -> Self {
        Self {
            lock,
            at_once: &real::READ_TRYLOCK,
            until: &real::READ_CLOCKLOCK,
            at_last: &real::READ_LOCK,
        }
    }

    fn writer(lock: *mut pthread_rwlock_t) -> Self {
        Self {
            lock,
            at_once: &real::WRITE_TRYLOCK,
            until: &real::WRITE_CLOCKLOCK,
            at_last: &real::WRITE_LOCK,
        }
    }
}

impl Ways for ReadWrite {
    #[inline]
    fn at_once(&self) -> c_int {
        // SAFETY: the caller's lock, as the caller gave it.
        unsafe { self.at_once.get::<OnReadWrite>()(self.lock) }
    }

    fn until(&self, moment: &timespec) -> c_int {
        // SAFETY: the same, and a moment that lives through the call.
        unsafe { self.until.get::<ClockReadWrite>()(self.lock, libc::CLOCK_MONOTONIC, moment) }
    }

    #[inline]
    fn at_last(&self) -> c_int {
        // SAFETY: the same.
        unsafe { self.at_last.get::<OnReadWrite>()(self.lock) }
    }
}

fn wanted(lock: *mut pthread_rwlock_t, is_shared: bool, site: u64) -> Wanted {
    Wanted {
        address: lock as u64,
        kind: Kind::ReadWrite,
        is_shared,
        site,
    }
}

unsafe extern "C" fn init(
    lock: *mut pthread_rwlock_t,
    attributes: *const pthread_rwlockattr_t,
    site: u64,
) -> c_int {
    type Init = unsafe extern "C" fn(*mut pthread_rwlock_t, *const pthread_rwlockattr_t) -> c_int;
    // SAFETY: what the caller gave is passed on.
    let result = unsafe { real::READ_WRITE_INIT.get::<Init>()(lock, attributes) };
    if result == 0
        && let Some(inside) = threads::enter()
    {
        calls::begin(&inside, lock as u64, Kind::ReadWrite, site);
    }
    result
}

unsafe extern "C" fn destroy(lock: *mut pthread_rwlock_t, site: u64) -> c_int {
    calls::destroy(lock as u64, site);
    // SAFETY: what the caller gave is passed on.
    unsafe { real::READ_WRITE_DESTROY.get::<OnReadWrite>()(lock) }
}

unsafe extern "C" fn read(lock: *mut pthread_rwlock_t, site: u64) -> c_int {
    calls::take(wanted(lock, true, site), &ReadWrite::reader(lock))
}

unsafe extern "C" fn write(lock: *mut pthread_rwlock_t, site: u64) -> c_int {
    calls::take(wanted(lock, false, site), &ReadWrite::writer(lock))
}

unsafe extern "C" fn try_read(lock: *mut pthread_rwlock_t, site: u64) -> c_int {
    calls::try_take(wanted(lock, true, site), || {
        ReadWrite::reader(lock).at_once()
    })
}

unsafe extern "C" fn try_write(lock: *mut pthread_rwlock_t, site: u64) -> c_int {
    calls::try_take(wanted(lock, false, site), || {
        ReadWrite::writer(lock).at_once()
    })
}

unsafe extern "C" fn timed_read(
    lock: *mut pthread_rwlock_t,
    moment: *const timespec,
    site: u64,
) -> c_int {
    calls::try_take(wanted(lock, true, site), || {
        // SAFETY: what the caller gave is passed on.
        unsafe { real::READ_TIMEDLOCK.get::<TimedReadWrite>()(lock, moment) }
    })
}

unsafe extern "C" fn timed_write(
    lock: *mut pthread_rwlock_t,
    moment: *const timespec,
    site: u64,
) -> c_int {
    calls::try_take(wanted(lock, false, site), || {
        // SAFETY: what the caller gave is passed on.
        unsafe { real::WRITE_TIMEDLOCK.get::<TimedReadWrite>()(lock, moment) }
    })
}

unsafe extern "C" fn clock_read(
    lock: *mut pthread_rwlock_t,
    clock: clockid_t,
    moment: *const timespec,
    site: u64,
) -> c_int {
    calls::try_take(wanted(lock, true, site), || {
        // SAFETY: what the caller gave is passed on.
        unsafe { real::READ_CLOCKLOCK.get::<ClockReadWrite>()(lock, clock, moment) }
    })
}

unsafe extern "C" fn clock_write(
    lock: *mut pthread_rwlock_t,
    clock: clockid_t,
    moment: *const timespec,
    site: u64,
) -> c_int {
    calls::try_take(wanted(lock, false, site), || {
        // SAFETY: what the caller gave is passed on.
        unsafe { real::WRITE_CLOCKLOCK.get::<ClockReadWrite>()(lock, clock, moment) }
    })
}

unsafe extern "C" fn unlock(lock: *mut pthread_rwlock_t, site: u64) -> c_int {
    calls::release(lock as u64, site);
    // SAFETY: what the caller gave is passed on.
    unsafe { real::READ_WRITE_UNLOCK.get::<OnReadWrite>()(lock) }
}
