//! Futures (`concurrent.futures.Future`): waiting for a future means waiting for the thread that
//! computes its result.
//!
//! A future has a condition with an `RLock`. The thread that computes the result takes this lock in
//! `set_running_or_notify_cancel` when it begins, and in `set_result` when it is done. A thread
//! that waits for the future releases the lock and waits for a notification. What the computing
//! thread holds in between is recorded as a lock of its own, at the address of the `RLock` plus one
//! byte.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use crate::layout::Kind;
use crate::locks;
use crate::region::Region;
use crate::threads::{self, Inside};

thread_local! {
    /// The lock that this thread has given away, to wait on its condition.
    static GIVEN: Cell<u64> = const { Cell::new(0) };
}

fn key(lock: u64) -> u64 {
    lock + 1
}

/// The thread begins to work out the future with this lock.
#[cold]
pub(super) fn run(inside: &Inside, lock: u64) {
    let Inside { region, thread } = inside;
    if let Some(number) = locks::find(region, key(lock), Kind::Future, 0) {
        let me = threads::number(region, thread) + 1;
        locks::lock(region, number)
            .owner
            .store(me, Ordering::Relaxed);
    }
}

/// The future with this lock is set, or collected.
#[cold]
pub(super) fn set(region: &Region, lock: u64) {
    locks::end(region, key(lock));
}

/// The thread gives a lock away, to wait for a signal; 0: it has it again.
#[inline]
pub(super) fn give_away(lock: u64) {
    GIVEN.set(lock);
}

/// The future that this thread waits for, as a lock's number, if it is being worked out.
pub(super) fn awaited(region: &Region) -> Option<u32> {
    let lock = GIVEN.get();
    (lock != 0).then(|| locks::known(region, key(lock)))?
}
