//! What is written down when a Python lock is wanted, taken and released.

use std::sync::atomic::Ordering;

use super::gil;
use super::interface::Object;
use crate::calls::Outer;
use crate::log::Request;
use crate::region::{Kind, What};
use crate::threads::{self, Inside};
use crate::{calls, edges, events, held, locks, log, stacks, start};

/// The thread wants a lock while it holds others.
#[inline]
pub(super) fn want(kind: Kind, lock: Object) {
    let Some(inside) = threads::enter() else {
        return;
    };
    if gil::is_all(inside.thread) {
        return;
    }
    if let Some(number) = locks::find(inside.region, lock as u64, kind, 0) {
        want_as(&inside, number, lock);
    }
}

/// The same, where the lock's number is known.
#[inline]
pub(super) fn want_as(inside: &Inside, number: u32, lock: Object) {
    let Inside { region, thread } = inside;
    if !gil::is_all(thread)
        && held::find(thread, lock as u64).is_none()
        && !locks::is_signal(region, number)
    {
        edges::record(region, thread, number, false, 0);
    }
}

#[inline]
pub(super) fn taken(kind: Kind, lock: Object, request: &Request) {
    let Some(inside) = threads::enter() else {
        return;
    };
    if let Some(number) = locks::find(inside.region, lock as u64, kind, 0) {
        taken_as(&inside, number, lock, request);
    }
}

/// The same, where the lock's number is known.
#[inline]
pub(super) fn taken_as(inside: &Inside, number: u32, lock: Object, request: &Request) {
    let Inside { region, thread } = inside;
    if !locks::is_signal(region, number) {
        held::push(region, thread, number, lock as u64, false, 0, request);
    } else if locks::tells_life(region, number) {
        take_life(inside, number);
    }
}

/// The thread tried to take a lock, and did not get it.
#[inline]
pub(super) fn failed(kind: Kind, lock: Object, request: &Request) {
    if log::is_on() {
        failed_full(kind, lock, request);
    }
}

#[cold]
fn failed_full(kind: Kind, lock: Object, request: &Request) {
    if let Some(inside) = threads::enter()
        && let Some(number) = locks::find(inside.region, lock as u64, kind, 0)
        && !locks::is_signal(inside.region, number)
    {
        log::failed(inside.region, inside.thread, number, request);
    }
}

/// The lock that a thread's life holds: whoever takes it after its owner has joined that thread.
#[cold]
fn take_life(inside: &Inside, number: u32) {
    let Inside { region, thread } = inside;
    let lock = locks::lock(region, number);
    let me = threads::number(region, thread) + 1;
    let before = lock.owner.load(Ordering::Relaxed);
    if before == 0 {
        lock.owner.store(me, Ordering::Relaxed);
        // Its place may be another thread's by the time that it is joined.
        let tid = u64::from(thread.tid.load(Ordering::Relaxed));
        lock.first_site.store(tid, Ordering::Relaxed);
    } else if before != me {
        let ended = &region.threads[before as usize - 1];
        if u64::from(ended.tid.load(Ordering::Relaxed)) == lock.first_site.load(Ordering::Relaxed) {
            start::join_thread(inside, ended);
        }
    }
}

/// The thread releases a lock; whether it was known to hold it.
#[inline]
pub(super) fn let_go(lock: Object, all: bool) -> bool {
    let Some(inside) = threads::enter() else {
        return false;
    };
    let Inside { region, thread } = &inside;
    held::pop(region, thread, lock as u64, all) > 0
}

/// A lock was released by another thread than took it: a signal from now on.
#[cold]
pub(super) fn let_go_by_another(lock: Object) {
    if let Some(inside) = threads::enter()
        && let Some(number) = locks::known(inside.region, lock as u64)
    {
        locks::become_signal(inside.region, number);
    }
}

/// The thread begins to wait, unless for a signal.
pub(super) fn show_wait(kind: Kind, lock: Object) -> Option<Outer> {
    let inside = threads::enter()?;
    let Inside { region, thread } = &inside;
    let address = lock as u64;
    let lock = locks::known(region, address)?;
    if locks::is_signal(region, lock) {
        return None;
    }
    // It may have been taken so that others release it, and only then is a signal.
    let again = kind == Kind::PythonLock && held::find(thread, address).is_some();
    if again && (locks::is_owned(region, lock) || threads::is_alone(region)) {
        events::record(region, thread, What::Relock, lock, 0, 0, true);
    }
    Some(calls::begin_wait(thread, lock, 0))
}

/// The wait has become long: the thread leaves its stack, while it has the GIL.
pub(super) fn leave_stack() {
    if let Some(Inside { region, thread }) = threads::enter().as_ref() {
        let stack = stacks::capture(region, 0);
        thread.waiting_stack.store(stack, Ordering::Release);
    }
}
