//! The import lock of a module (`importlib._bootstrap._ModuleLock`), which a thread holds while it
//! imports the module.
//!
//! It is written in Python: a lock that guards its state, which `acquire` and `release` take, and a
//! second one for waiting. The function that takes the first lock shows who has the import lock.
//! The import lock is recorded as a lock of its own, at the address of the first one plus one byte.
//! Its orders are not recorded: modules may import each other in cycles, which the interpreter
//! detects and resolves.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use super::codes::Place;
use super::stack;
use crate::layout::Kind;
use crate::locks;
use crate::region::Region;
use crate::threads::{self, Inside};

thread_local! {
    /// The import lock that another thread has, and this one wants.
    static WANTED: Cell<u64> = const { Cell::new(0) };
}

/// How often its thread has it besides once, in a lock's `is_made` above the other bits.
const AGAIN: u32 = 1 << 16;

fn key(lock: u64) -> u64 {
    lock + 1
}

/// The thread has taken the lock that guards an import lock's state.
#[cold]
pub(super) fn guarded(inside: &Inside, lock: u64, place: Place) {
    if place.begins_import() {
        begin(inside, lock);
    } else {
        end(inside.region, lock);
    }
}

fn begin(inside: &Inside, lock: u64) {
    let Inside { region, thread } = inside;
    let Some(number) = locks::find(region, key(lock), Kind::Import, 0) else {
        return;
    };
    let me = threads::number(region, thread) + 1;
    let lock = locks::lock(region, number);
    match lock.owner.load(Ordering::Relaxed) {
        0 => lock.owner.store(me, Ordering::Relaxed),
        owner if owner == me => {
            lock.is_made.fetch_add(AGAIN, Ordering::Relaxed);
        }
        _ => WANTED.set(lock.address.load(Ordering::Relaxed)),
    }
}

fn end(region: &Region, lock: u64) {
    let Some(number) = locks::known(region, key(lock)) else {
        return;
    };
    let count = &locks::lock(region, number).is_made;
    if count.load(Ordering::Relaxed) >= AGAIN {
        count.fetch_sub(AGAIN, Ordering::Relaxed);
    } else {
        locks::lock(region, number)
            .owner
            .store(0, Ordering::Relaxed);
        locks::end(region, key(lock));
    }
}

/// The import lock that this thread is about to wait for, as a lock's number.
pub(super) fn awaited(region: &Region) -> Option<u32> {
    let wanted = WANTED.get();
    if wanted == 0 {
        return None;
    }
    WANTED.set(0);
    stack::here(region)
        .begins_import()
        .then(|| locks::known(region, wanted))?
}
