//! Spin locks.

use std::ffi::c_int;

use libc::timespec;

use crate::calls::{self, Wanted, Ways, export};
use crate::clock;
use crate::layout::Kind;
use crate::real::{self, OnSpin};
use crate::threads;

export!(pthread_spin_init => spin_init, 2);
export!(pthread_spin_destroy => spin_destroy, 1);
export!(pthread_spin_lock => spin_lock, 1);
export!(pthread_spin_trylock => spin_trylock, 1);
export!(pthread_spin_unlock => spin_unlock, 1);

struct Spin(*mut c_int);

impl Ways for Spin {
    #[inline]
    fn at_once(&self) -> c_int {
        // SAFETY: the caller's lock, as the caller gave it.
        unsafe { real::SPIN_TRYLOCK.get::<OnSpin>()(self.0) }
    }

    fn until(&self, moment: &timespec) -> c_int {
        let end = clock::nanoseconds(moment);
        loop {
            for _ in 0..1_000 {
                if self.at_once() == 0 {
                    return 0;
                }
                std::hint::spin_loop();
            }
            if clock::now() >= end {
                return libc::ETIMEDOUT;
            }
        }
    }

    #[inline]
    fn at_last(&self) -> c_int {
        // SAFETY: the same.
        unsafe { real::SPIN_LOCK.get::<OnSpin>()(self.0) }
    }
}

fn spin_wanted(lock: *mut c_int, site: u64) -> Wanted {
    Wanted {
        address: lock as u64,
        kind: Kind::Spin,
        is_shared: false,
        site,
    }
}

unsafe extern "C" fn spin_init(lock: *mut c_int, shared: c_int, site: u64) -> c_int {
    type Init = unsafe extern "C" fn(*mut c_int, c_int) -> c_int;
    // SAFETY: what the caller gave is passed on.
    let result = unsafe { real::SPIN_INIT.get::<Init>()(lock, shared) };
    if result == 0
        && let Some(inside) = threads::enter()
    {
        calls::begin(&inside, lock as u64, Kind::Spin, site);
    }
    result
}

unsafe extern "C" fn spin_destroy(lock: *mut c_int, site: u64) -> c_int {
    calls::destroy(lock as u64, site);
    // SAFETY: what the caller gave is passed on.
    unsafe { real::SPIN_DESTROY.get::<OnSpin>()(lock) }
}

unsafe extern "C" fn spin_lock(lock: *mut c_int, site: u64) -> c_int {
    calls::take(spin_wanted(lock, site), &Spin(lock))
}

unsafe extern "C" fn spin_trylock(lock: *mut c_int, site: u64) -> c_int {
    calls::try_take(spin_wanted(lock, site), || Spin(lock).at_once())
}

unsafe extern "C" fn spin_unlock(lock: *mut c_int, site: u64) -> c_int {
    calls::release(lock as u64, site);
    // SAFETY: what the caller gave is passed on.
    unsafe { real::SPIN_UNLOCK.get::<OnSpin>()(lock) }
}
