//! What is recorded when a Python lock is wanted, taken and released.

use std::sync::atomic::Ordering;

use super::tasks::mixed;
use super::{Taken, blind, counted, futures, gil, imports, names, python, semaphores, stack};
use crate::calls::Outer;
use crate::layout::{Kind, What};
use crate::log::Request;
use crate::threads::{self, Inside};
use crate::unseen::{self, Use};
use crate::{calls, clocks, edges, ends, events, held, locks, log, stacks};

/// The thread wants a lock while it holds others.
#[inline]
pub(super) fn want(lock: Taken) {
    let Some(inside) = threads::enter() else {
        return;
    };
    if gil::is_all(inside.thread) && !mixed::is_of_task() {
        return;
    }
    if let Some(number) = locks::find(inside.region, lock.address, lock.kind, 0) {
        want_as(&inside, number, lock);
    }
}

/// The same, where the lock's number is known.
#[inline]
pub(super) fn want_as(inside: &Inside, number: u32, lock: Taken) {
    let Inside { region, thread } = inside;
    let is_of_task = mixed::is_of_task();
    if (is_of_task || !gil::is_all(thread))
        && !held::has(region, thread, number, lock.address)
        && !locks::is_signal(region, number)
    {
        edges::record(region, thread, number, false, 0);
        if is_of_task {
            mixed::want(inside, number);
        }
    }
}

#[inline]
pub(super) fn taken(lock: Taken, request: &Request) {
    let Some(inside) = threads::enter() else {
        return;
    };
    if let Some(number) = locks::find(inside.region, lock.address, lock.kind, 0) {
        taken_as(&inside, number, lock, request);
    }
}

/// The same, where the lock's number is known.
#[inline]
pub(super) fn taken_as(inside: &Inside, number: u32, lock: Taken, request: &Request) {
    let Inside { region, thread } = inside;
    if locks::is_signal(region, number) {
        clocks::receive(region, thread, lock.address);
        if locks::tells_life(region, number) {
            take_life(inside, number);
        }
        return;
    }
    names::look(python(), region, thread);
    let place = stack::here(region);
    let site = place.word;
    held::push(region, thread, number, lock.address, false, site, request);
    if place.runs_future() {
        futures::run(inside, lock.address);
    } else if place.sets_future() {
        futures::set(region, lock.address);
    } else if place.imports() {
        imports::guarded(inside, lock.address, place);
    } else if place.takes_semaphore()
        && lock.kind != Kind::ThreadingSemaphore
        && !counted::is_lock(region, lock.address)
    {
        blind::note_semaphore();
    }
    if mixed::is_of_task() {
        mixed::taken(inside, lock.address);
    }
}

/// The thread asks whether it holds a lock, or tries to take one that it does: `Condition.notify`
/// does so with its lock.
#[inline]
pub(super) fn asked(lock: Taken) {
    if let Some(inside) = threads::enter()
        && clocks::are_used(inside.region)
        && !counted::is_released()
        && let Some(position) = held::find(inside.thread, lock.address)
        && stack::notifies(inside.region)
    {
        held::notify_with(&inside.thread.held[position]);
    }
}

/// The thread tried to take a lock, and did not get it.
#[inline]
pub(super) fn failed(lock: Taken, request: &Request) {
    asked(lock);
    if log::is_on() {
        failed_full(lock, request);
    }
}

#[cold]
fn failed_full(lock: Taken, request: &Request) {
    if let Some(inside) = threads::enter()
        && let Some(number) = locks::find(inside.region, lock.address, lock.kind, 0)
        && !locks::is_signal(inside.region, number)
    {
        log::failed(inside.region, inside.thread, number, request);
    }
}

/// The lock that a thread holds until its end: a thread that takes it afterwards has joined that
/// thread.
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
            ends::join_thread(inside, ended);
        }
    }
}

/// The thread releases a lock; whether it was known to hold it.
#[inline]
pub(super) fn let_go(lock: Taken, all: bool) -> bool {
    let Some(inside) = threads::enter() else {
        return false;
    };
    let Inside { region, thread } = &inside;
    let was_held = held::pop(region, thread, lock.address, all) > 0;
    if !was_held && !counted::is_released() {
        clocks::hand_over(region, thread, lock.address);
    }
    was_held
}

/// Another thread than its holder has released a lock: it is a notification from now on.
#[cold]
pub(super) fn released_by_another(lock: Taken) {
    let Some(inside) = threads::enter() else {
        return;
    };
    let region = inside.region;
    let number = if lock.kind == Kind::PythonSemaphore {
        // Another process may have taken it, and this one sees it for the first time.
        locks::find(region, lock.address, lock.kind, 0)
    } else {
        locks::known(region, lock.address)
    };
    if let Some(number) = number {
        if lock.kind == Kind::PythonLock && !locks::is_signal(region, number) {
            unseen::note(Use::Signal);
        }
        locks::become_signal(region, number);
    }
}

/// A lock that was reinitialised is free, and another one from now on.
pub(super) fn renew(lock: Taken) {
    if let Some(inside) = threads::enter() {
        let Inside { region, thread } = &inside;
        held::pop(region, thread, lock.address, true);
        locks::end(region, lock.address);
    }
}

/// The thread begins to wait, unless for a signal that is a Python lock.
pub(super) fn show_wait(wanted: Taken) -> Option<Outer> {
    let inside = threads::enter()?;
    let Inside { region, thread } = &inside;
    if let Some(import) = imports::awaited(region) {
        return Some(calls::begin_wait(thread, import, 0));
    }
    let number = locks::known(region, wanted.address)?;
    let holds = held::find(thread, wanted.address).is_some();
    if holds && wanted.kind == Kind::PythonSemaphore && !semaphores::is_lock(wanted.object) {
        // A thread that waits twice needs another thread to release it.
        locks::become_signal(region, number);
    }
    let mode = if !locks::is_signal(region, number) {
        0
    } else if wanted.kind == Kind::PythonSemaphore {
        calls::tell_held(&inside, number, 0);
        calls::SIGNAL
    } else {
        // It may be known which thread will send a notification.
        let known = locks::tells_life(region, number).then_some(number);
        let awaited = known
            .or_else(|| futures::awaited(region))
            .or_else(|| counted::awaited(&inside))?;
        return Some(calls::begin_wait(thread, awaited, 0));
    };
    // It may have been taken so that others release it, and only then is a signal.
    let again = mode == 0 && holds && wanted.kind != Kind::PythonRecursive;
    if again && (locks::is_owned(region, number) || threads::is_alone(region)) {
        events::record(region, thread, What::Relock, number, 0, 0, true);
    }
    if mixed::is_of_task() {
        mixed::wait(&inside);
    }
    Some(calls::begin_wait(thread, number, mode))
}

/// Calls a function that takes a lock again, which another thread may have now.
pub(super) fn while_anothers<T>(lock: Taken, call: impl FnOnce() -> T) -> T {
    let busy = threads::enter().and_then(|Inside { region, .. }| {
        let number = locks::known(region, lock.address)?;
        let owner = locks::lock(region, number).owner.load(Ordering::Relaxed);
        (owner != 0).then_some(number)
    });
    match busy {
        Some(number) => calls::while_waiting(number, 0, call),
        None => call(),
    }
}

/// The wait has become long: the thread records its stack, while it has the GIL.
pub(super) fn leave_stack() {
    if let Some(Inside { region, thread }) = threads::enter().as_ref() {
        let stack = stacks::capture(region, 0);
        thread.waiting_stack.store(stack, Ordering::Release);
    }
}
