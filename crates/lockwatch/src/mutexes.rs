//! Mutexes, and the waits on conditions that release them for a while.

use std::ffi::c_int;
use std::sync::atomic::Ordering;

use libc::{clockid_t, pthread_cond_t, pthread_mutex_t, pthread_mutexattr_t, timespec};

use crate::calls::{self, Wanted, Ways, export};
use crate::layout::Kind;
use crate::log::Request;
use crate::python::gil;
use crate::real::{self, ClockMutex, ClockWait, OnCondition, OnMutex, TimedMutex, TimedWait, Wait};
use crate::threads::{self, Inside};
use crate::{clocks, edges, handovers, held, locks, log};

export!(pthread_mutex_init => init, 2);
export!(pthread_mutex_destroy => destroy, 1);
export!(pthread_mutex_lock => lock, 1);
export!(pthread_mutex_trylock => trylock, 1);
export!(pthread_mutex_timedlock => timedlock, 2);
export!(pthread_mutex_clocklock => clocklock, 3);
export!(pthread_mutex_unlock => unlock, 1);
export!(pthread_cond_wait => wait, 2);
export!(pthread_cond_timedwait => timedwait, 3);
export!(pthread_cond_clockwait => clockwait, 4);
export!(pthread_cond_signal => signal, 1);
export!(pthread_cond_broadcast => broadcast, 1);

pub(crate) struct Mutex(pub(crate) *mut pthread_mutex_t);

impl Ways for Mutex {
    #[inline]
    fn at_once(&self) -> c_int {
        // SAFETY: the caller's mutex, as the caller gave it.
        unsafe { real::MUTEX_TRYLOCK.get::<OnMutex>()(self.0) }
    }

    fn until(&self, moment: &timespec) -> c_int {
        // SAFETY: the same, and a moment that lives through the call.
        unsafe { real::MUTEX_CLOCKLOCK.get::<ClockMutex>()(self.0, libc::CLOCK_MONOTONIC, moment) }
    }

    #[inline]
    fn at_last(&self) -> c_int {
        // SAFETY: the same.
        unsafe { real::MUTEX_LOCK.get::<OnMutex>()(self.0) }
    }

    fn is_recursive(&self) -> bool {
        // glibc keeps the type in the fourth word: 1 recursive; 2 tells EDEADLK, which is the
        // program's own check.
        // SAFETY: the mutex is as large as the C library says, and it was just tried.
        let kind = unsafe { self.0.cast::<c_int>().add(4).read() };
        matches!(kind & 3, 1 | 2)
    }
}

fn wanted(mutex: *mut pthread_mutex_t, site: u64) -> Wanted {
    Wanted {
        address: mutex as u64,
        kind: Kind::Mutex,
        is_shared: false,
        site,
    }
}

unsafe extern "C" fn init(
    mutex: *mut pthread_mutex_t,
    attributes: *const pthread_mutexattr_t,
    site: u64,
) -> c_int {
    type Init = unsafe extern "C" fn(*mut pthread_mutex_t, *const pthread_mutexattr_t) -> c_int;
    // SAFETY: what the caller gave is passed on.
    let result = unsafe { real::MUTEX_INIT.get::<Init>()(mutex, attributes) };
    if result == 0
        && !gil::is_made_anew(mutex as u64)
        && let Some(inside) = threads::enter()
    {
        calls::begin(&inside, mutex as u64, Kind::Mutex, site);
        if gil::is_another(site) {
            locks::become_uncovered(inside.region, mutex as u64);
        }
    }
    result
}

pub(crate) unsafe extern "C" fn destroy(mutex: *mut pthread_mutex_t, site: u64) -> c_int {
    if !gil::is_made_anew(mutex as u64) {
        calls::destroy(mutex as u64, site);
    }
    // SAFETY: what the caller gave is passed on.
    unsafe { real::MUTEX_DESTROY.get::<OnMutex>()(mutex) }
}

pub(crate) unsafe extern "C" fn lock(mutex: *mut pthread_mutex_t, site: u64) -> c_int {
    if gil::is_inner(mutex as u64)
        && let Some(result) = gil::lock(mutex, site)
    {
        return result;
    }
    calls::take(wanted(mutex, site), &Mutex(mutex))
}

pub(crate) unsafe extern "C" fn trylock(mutex: *mut pthread_mutex_t, site: u64) -> c_int {
    calls::try_take(wanted(mutex, site), || Mutex(mutex).at_once())
}

pub(crate) unsafe extern "C" fn timedlock(
    mutex: *mut pthread_mutex_t,
    moment: *const timespec,
    site: u64,
) -> c_int {
    calls::try_take(wanted(mutex, site), || {
        // SAFETY: what the caller gave is passed on.
        unsafe { real::MUTEX_TIMEDLOCK.get::<TimedMutex>()(mutex, moment) }
    })
}

unsafe extern "C" fn clocklock(
    mutex: *mut pthread_mutex_t,
    clock: clockid_t,
    moment: *const timespec,
    site: u64,
) -> c_int {
    calls::try_take(wanted(mutex, site), || {
        // SAFETY: what the caller gave is passed on.
        unsafe { real::MUTEX_CLOCKLOCK.get::<ClockMutex>()(mutex, clock, moment) }
    })
}

pub(crate) unsafe extern "C" fn unlock(mutex: *mut pthread_mutex_t, site: u64) -> c_int {
    let mutex_address = mutex as u64;
    if !(gil::is_inner(mutex_address) && gil::unlock(mutex_address, site)) {
        calls::release(mutex_address, site);
    }
    // SAFETY: what the caller gave is passed on.
    unsafe { real::MUTEX_UNLOCK.get::<OnMutex>()(mutex) }
}

/// The thread notifies a condition, and passes on its clock: to the threads that wait, and to a
/// thread that takes the condition's mutex later and need not wait any more.
fn notify(condition: u64) {
    if gil::is_near(condition) {
        return;
    }
    handovers::with(|Inside { region, thread }| {
        clocks::hand_over(region, thread, condition);
        let Some(mutex) = clocks::mutex_of(condition) else {
            return held::notify(thread);
        };
        if let Some(position) = held::find(thread, mutex) {
            held::notify_with(&thread.held[position]);
        } else if let Some(lock) = locks::known(region, mutex) {
            held::hand_over(region, thread, lock, mutex);
        }
    });
}

pub(crate) unsafe extern "C" fn signal(condition: *mut pthread_cond_t, _site: u64) -> c_int {
    notify(condition as u64);
    // SAFETY: what the caller gave is passed on.
    unsafe { real::CONDITION_SIGNAL.get::<OnCondition>()(condition) }
}

pub(crate) unsafe extern "C" fn broadcast(condition: *mut pthread_cond_t, _site: u64) -> c_int {
    notify(condition as u64);
    // SAFETY: the same.
    unsafe { real::CONDITION_BROADCAST.get::<OnCondition>()(condition) }
}

/// A wait on a condition releases the mutex, and takes it again before the call returns. So all
/// other locks that the thread holds come before it again.
fn around(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    site: u64,
    call: impl FnOnce() -> c_int,
) -> c_int {
    let address = mutex as u64;
    if gil::is_inner(address) && gil::wait(address, site) {
        return call();
    }
    let mut depth = 0;
    let mut request = Request::outside(site, log::AFTER_WAIT);
    if let Some(inside) = threads::enter() {
        let Inside { region, thread } = &inside;
        clocks::wait(region, condition as u64, address);
        depth = held::pop(region, thread, address, true);
        if let (1.., Some(lock)) = (depth, locks::known(region, address)) {
            calls::tell_held(&inside, lock, site);
            edges::record(region, thread, lock, false, site);
            thread.retaking.store(lock + 1, Ordering::Release);
        }
    }
    let result = call();
    if depth > 0
        && let Some((_, thread)) = threads::present()
    {
        thread.retaking.store(0, Ordering::Release);
    }
    if depth > 0
        && !gil::is_inner(address)
        && let Some(inside) = threads::enter()
        && let Some(lock) = locks::find(inside.region, address, Kind::Mutex, site)
    {
        let Inside { region, thread } = &inside;
        request.begins_now();
        if result == 0 {
            clocks::receive(region, thread, condition as u64);
        }
        for _ in 0..depth {
            held::push(region, thread, lock, address, false, site, &request);
        }
    }
    result
}

pub(crate) unsafe extern "C" fn wait(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    site: u64,
) -> c_int {
    around(condition, mutex, site, || {
        // SAFETY: what the caller gave is passed on.
        unsafe { real::CONDITION_WAIT.get::<Wait>()(condition, mutex) }
    })
}

pub(crate) unsafe extern "C" fn timedwait(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    moment: *const timespec,
    site: u64,
) -> c_int {
    around(condition, mutex, site, || {
        // SAFETY: what the caller gave is passed on.
        unsafe { real::CONDITION_TIMEDWAIT.get::<TimedWait>()(condition, mutex, moment) }
    })
}

unsafe extern "C" fn clockwait(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    clock: clockid_t,
    moment: *const timespec,
    site: u64,
) -> c_int {
    around(condition, mutex, site, || {
        // SAFETY: what the caller gave is passed on.
        unsafe { real::CONDITION_CLOCKWAIT.get::<ClockWait>()(condition, mutex, clock, moment) }
    })
}
