//! `threading.Semaphore` and `BoundedSemaphore` with the initial value 1, which count as locks.
//!
//! They are written in Python: a lock that guards the value, and a condition with this lock.
//! `acquire` and `release` get new code (`semaphores.py`), which reports what they do. The
//! semaphore is recorded as a lock of its own, at the address of the guard plus one byte. It is
//! first seen at an `acquire` that finds the value 1. As with any semaphore, it counts as a
//! notification from the moment at which a thread releases it without having acquired it, or
//! acquires it twice. This is noted. A semaphore with another initial value always counts as a
//! notification.
//!
//! If a library replaces the locks of `threading` (gevent, eventlet), its semaphores are not
//! watched: they are acquired by greenlets, which are not known here.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

use super::acts::{taken_as, want_as};
use super::embedding::{self, Definition, Interface, define};
use super::interface::Object;
use super::{Taken, blind, stack};
use crate::layout::{Kind, What};
use crate::log::Request;
use crate::region::Region;
use crate::threads::{self, Inside};
use crate::{events, held, locks};

const SOURCE: &str = concat!(include_str!("semaphores.py"), "\0");

static DEFINITIONS: [Definition; 6] = [
    define(c"MET", met),
    define(c"WANT", want),
    define(c"TAKEN", taken),
    define(c"LET_GO", let_go),
    define(c"RELEASED", released),
    define(c"SIGNAL", signal),
];

/// Whether `threading` was found, and its methods swapped if they fit.
static IS_DONE: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The semaphore that this thread acquires, by its guard; 0 if it may stop waiting.
    static WANTED: Cell<u64> = const { Cell::new(0) };
    /// Whether this thread releases one that it has: as with any lock, that hands nothing over.
    static RELEASES: Cell<bool> = const { Cell::new(false) };
}

fn python() -> &'static Interface {
    embedding::interface().expect("the functions are offered only once it is there")
}

fn key(guard: u64) -> u64 {
    guard + 1
}

fn taken_of(guard: Object) -> Taken {
    Taken {
        kind: Kind::ThreadingSemaphore,
        address: key(guard as u64),
        object: guard,
    }
}

/// Looks whether `threading` is there, within the library, the GIL held and no error set.
pub(super) fn look() {
    if IS_DONE.load(Ordering::Relaxed) {
        return;
    }
    let Some(python) = embedding::interface() else {
        return;
    };
    // SAFETY: the caller's promise.
    unsafe {
        if embedding::module(python, c"threading").is_none() || IS_DONE.swap(true, Ordering::AcqRel)
        {
            return;
        }
        if embedding::run(python, SOURCE, &DEFINITIONS).is_none() {
            (python.clear_error)();
        }
    }
}

/// The number of the semaphore with a guard, as long as it is a lock.
fn find(region: &Region, guard: u64) -> Option<u32> {
    locks::known(region, key(guard)).filter(|number| !locks::is_signal(region, *number))
}

/// Whether the semaphore with this guard is a lock.
pub(super) fn is_lock(region: &Region, guard: u64) -> bool {
    find(region, guard).is_some()
}

/// Records the semaphore with a guard, which was seen at its creation; returns its number.
fn enter(region: &Region, guard: u64) -> Option<u32> {
    let of_guard = locks::known(region, guard)?;
    let number = locks::find(region, key(guard), Kind::ThreadingSemaphore, 0)?;
    locks::share_origin(region, of_guard, number);
    Some(number)
}

/// A semaphore that no thread holds is about to be acquired.
unsafe extern "C" fn met(_: Object, guard: Object) -> Object {
    if let Some(Inside { region, .. }) = threads::enter().as_ref()
        && locks::known(region, key(guard as u64)).is_none()
    {
        enter(region, guard as u64);
    }
    embedding::nothing(python())
}

/// The thread acquires a semaphore for as long as it takes; None: or gives up.
unsafe extern "C" fn want(_: Object, guard: Object) -> Object {
    let python = python();
    WANTED.set(0);
    if guard != python.none
        && let Some(inside) = threads::enter()
        && let Some(number) = find(inside.region, guard as u64)
    {
        want_as(&inside, number, taken_of(guard));
        WANTED.set(guard as u64);
    }
    embedding::nothing(python)
}

/// The thread has acquired a semaphore.
unsafe extern "C" fn taken(_: Object, guard: Object) -> Object {
    WANTED.set(0);
    if let Some(inside) = threads::enter()
        && let Some(number) = find(inside.region, guard as u64)
    {
        taken_as(&inside, number, taken_of(guard), &Request::default());
    }
    embedding::nothing(python())
}

/// The thread is about to release a semaphore: whether it has it, None if it is not a lock.
unsafe extern "C" fn let_go(_: Object, guard: Object) -> Object {
    let python = python();
    let Some(Inside { region, thread }) = &threads::enter() else {
        return embedding::nothing(python);
    };
    match locks::known(region, key(guard as u64)) {
        None => {
            // It began with another value than 1, or it was acquired when nobody looked.
            if let Some(number) = enter(region, guard as u64) {
                locks::become_signal(region, number);
            }
            return embedding::nothing(python);
        }
        Some(number) if locks::is_signal(region, number) => return embedding::nothing(python),
        Some(_) => {}
    }
    let had_it = held::pop(region, thread, key(guard as u64), false) > 0;
    RELEASES.set(had_it);
    let answer = if had_it {
        super::python().yes
    } else {
        super::python().no
    };
    // SAFETY: the interpreter's own object, of which a new reference is given.
    unsafe { (python.keep)(answer) };
    answer
}

/// The release is over, one way or the other.
unsafe extern "C" fn released(_: Object, _guard: Object) -> Object {
    RELEASES.set(false);
    embedding::nothing(python())
}

/// Whether this thread is within the release of a semaphore that it had.
#[inline]
pub(super) fn is_released() -> bool {
    RELEASES.get()
}

/// A semaphore was released by a thread that did not have it, or more than once at a time.
unsafe extern "C" fn signal(_: Object, guard: Object) -> Object {
    if let Some(Inside { region, .. }) = threads::enter().as_ref()
        && let Some(number) = find(region, guard as u64)
    {
        become_signal(region, number);
    }
    embedding::nothing(python())
}

#[cold]
fn become_signal(region: &Region, number: u32) {
    locks::become_signal(region, number);
    blind::note_semaphore();
}

/// The semaphore that this thread is about to wait for, as a lock's number.
pub(super) fn awaited(inside: &Inside) -> Option<u32> {
    let Inside { region, thread } = inside;
    let guard = WANTED.get();
    if guard == 0 || !stack::here(region).takes_semaphore() {
        return None;
    }
    let number = find(region, guard)?;
    if held::find(thread, key(guard)).is_none() {
        return Some(number);
    }
    if threads::is_alone(region) {
        events::record(region, thread, What::Relock, number, 0, 0, true);
        return Some(number);
    }
    // Anyone who acquires it twice waits for another one's release.
    become_signal(region, number);
    None
}

/// A guard is collected, and the semaphore with it.
#[cold]
pub(super) fn end(region: &Region, guard: u64) {
    if let Some((_, thread)) = threads::present() {
        held::pop(region, thread, key(guard), true);
    }
    locks::end(region, key(guard));
}
