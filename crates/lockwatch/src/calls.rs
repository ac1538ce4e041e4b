//! What all kinds of locks have in common: taking, releasing, and finding the caller's address.

use std::ffi::c_int;
use std::sync::atomic::Ordering;

use crate::interpreter;
pub(crate) use crate::layout::WAITS_FOR_SIGNAL as SIGNAL;
use crate::layout::{Kind, Lock, Thread, WAITS_SHARED, What};
use crate::log::Request;
use crate::threads::Inside;
use crate::{
    clock, clocks, edges, events, forks, held, locks, log, perturb, stacks, threads, unseen,
};

/// A wait that is longer than this leaves its stack.
pub(crate) const LONG_NANOSECONDS: u64 = 50_000_000;

/// Exports a function under a C name, which passes its arguments on to `$inner` and, behind them,
/// the address that it will return to: Rust has no other way to learn that.
macro_rules! export {
    ($name:ident => $inner:path, 0) => {
        export!(@ $name, $inner, "mov rdi, [rsp]", "mov x0, x30");
    };
    ($name:ident => $inner:path, 1) => {
        export!(@ $name, $inner, "mov rsi, [rsp]", "mov x1, x30");
    };
    ($name:ident => $inner:path, 2) => {
        export!(@ $name, $inner, "mov rdx, [rsp]", "mov x2, x30");
    };
    ($name:ident => $inner:path, 3) => {
        export!(@ $name, $inner, "mov rcx, [rsp]", "mov x3, x30");
    };
    ($name:ident => $inner:path, 4) => {
        export!(@ $name, $inner, "mov r8, [rsp]", "mov x4, x30");
    };
    (@ $name:ident, $inner:path, $x86:literal, $arm:literal) => {
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name() {
            #[cfg(target_arch = "x86_64")]
            core::arch::naked_asm!($x86, "jmp {inner}", inner = sym $inner);
            #[cfg(target_arch = "aarch64")]
            core::arch::naked_asm!($arm, "b {inner}", inner = sym $inner);
        }
    };
}
pub(crate) use export;

/// A lock that a thread is about to take.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) address: u64,
    pub(crate) kind: Kind,
    pub(crate) is_shared: bool,
    /// The address to which the call returns.
    pub(crate) site: u64,
}

/// How a lock can be taken: at once or not at all, until a moment of the monotonic clock, and
/// however long it takes.
pub(crate) trait Ways {
    fn at_once(&self) -> c_int;
    fn until(&self, moment: &libc::timespec) -> c_int;
    fn at_last(&self) -> c_int;
    /// Whether the thread that holds it may take it again.
    fn is_recursive(&self) -> bool {
        false
    }
}

/// Whether a call has given the lock to the caller. A robust mutex whose owner died is held too.
#[inline]
pub(crate) fn is_taken(result: c_int) -> bool {
    result == 0 || result == libc::EOWNERDEAD
}

/// Takes a lock, and waits as long as necessary.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "it is nearly every operation, and its arguments need no memory then"
)]
pub(crate) fn take(wanted: Wanted, ways: &impl Ways) -> c_int {
    let Some(inside) = threads::enter() else {
        return ways.at_last();
    };
    let Inside { region, thread } = inside;
    let Some(lock) = locks::find(region, wanted.address, wanted.kind, wanted.site) else {
        drop(inside);
        return ways.at_last();
    };
    perturb::now_and_then();
    let entry = locks::lock(region, lock);
    if locks::is_unowned(entry) {
        return take_signal(inside, lock, wanted, ways);
    }
    let again = held::has_lock(region, thread, entry, wanted.address);
    if !again {
        unseen::native(region);
        edges::record(region, thread, lock, wanted.is_shared, wanted.site);
    }
    let mut request = Request::begin(region, wanted.site, 0);
    let mut result = ways.at_once();
    if result == libc::EBUSY {
        if again && wanted.kind == Kind::Semaphore {
            // A thread that waits twice needs the post of another thread.
            locks::become_signal(region, lock);
            return take_signal(inside, lock, wanted, ways);
        }
        request.meets_another();
        if again && !wanted.is_shared && !ways.is_recursive() {
            events::record(region, thread, What::Relock, lock, 0, wanted.site, true);
        }
        drop(inside);
        result = wait(
            lock,
            u32::from(wanted.is_shared) * WAITS_SHARED,
            wanted.site,
            ways,
        );
        let Some(inside) = threads::enter() else {
            return result;
        };
        taken(&inside, lock, wanted, result, &request);
        return result;
    }
    if again {
        taken(&inside, lock, wanted, result, &request);
    } else if is_taken(result) {
        let Wanted {
            address,
            is_shared,
            site,
            ..
        } = wanted;
        held::push_new(region, thread, lock, address, is_shared, site, &request);
    }
    result
}

/// Waits for a notification, which has no owner, also afterwards.
#[cold]
fn take_signal(inside: Inside, lock: u32, wanted: Wanted, ways: &impl Ways) -> c_int {
    let operations = &inside.thread.operations;
    operations.store(operations.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    let mut result = ways.at_once();
    if result == libc::EBUSY {
        tell_held(&inside, lock, wanted.site);
        drop(inside);
        result = wait(lock, SIGNAL, wanted.site, ways);
    } else {
        drop(inside);
    }
    if result == 0
        && let Some(Inside { region, thread }) = threads::enter().as_ref()
    {
        clocks::receive(region, thread, wanted.address);
    }
    result
}

#[inline]
fn taken(inside: &Inside, lock: u32, wanted: Wanted, result: c_int, request: &Request) {
    if is_taken(result) {
        let Inside { region, thread } = inside;
        let Wanted {
            address,
            is_shared,
            site,
            ..
        } = wanted;
        held::push(region, thread, lock, address, is_shared, site, request);
    }
}

/// Another thread holds the lock: record the wait, and the stack if the wait is long.
#[cold]
fn wait(lock: u32, mode: u32, site: u64, ways: &impl Ways) -> c_int {
    let outer = threads::enter().map(|inside| {
        forks::look_for_owner(inside.region, lock);
        begin_wait(inside.thread, lock, mode)
    });
    let mut result = ways.until(&clock::after(LONG_NANOSECONDS));
    // A signal that interrupts a wait ends it, where the call is one that tells so.
    if !is_taken(result) && result != libc::EINTR {
        if let Some(Inside { region, thread }) = threads::enter().as_ref() {
            let stack = stacks::capture(region, site);
            thread.waiting_stack.store(stack, Ordering::Release);
        }
        result = ways.at_last();
    }
    if let (Some(outer), Some(inside)) = (outer, threads::enter()) {
        end_wait(inside.thread, &outer);
    }
    result
}

/// Calls a function that waits for something that another thread has, and records the wait.
#[cold]
pub(crate) fn while_waiting<T>(lock: u32, site: u64, call: impl FnOnce() -> T) -> T {
    let outer = threads::enter().map(|Inside { region, thread }| {
        let outer = begin_wait(thread, lock, 0);
        let stack = stacks::capture(region, site);
        thread.waiting_stack.store(stack, Ordering::Release);
        outer
    });
    let result = call();
    if let (Some(outer), Some(inside)) = (outer, threads::enter()) {
        end_wait(inside.thread, &outer);
    }
    result
}

/// The thread is about to wait for a notification: locks that it holds meanwhile are reported.
#[cold]
pub(crate) fn tell_held(inside: &Inside, lock: u32, site: u64) {
    let Inside { region, thread } = inside;
    let has_given_gil = locks::is_python(region, lock);
    for entry in held::entries(thread) {
        let other = entry.lock.load(Ordering::Relaxed);
        let is_held = entry.depth.load(Ordering::Relaxed) > 0;
        if is_held && !(has_given_gil && interpreter::is_gil(other)) {
            events::record(
                region,
                thread,
                What::WaitHolding,
                lock,
                other + 1,
                site,
                true,
            );
        }
    }
}

/// A wait during another wait: for the GIL, during the wait for a Python lock.
#[derive(Clone, Copy)]
pub(crate) struct Outer {
    lock: u32,
    mode: u32,
    stack: u32,
    since: u64,
}

impl Outer {
    pub(crate) const NOTHING: Self = Self {
        lock: 0,
        mode: 0,
        stack: 0,
        since: 0,
    };
}

pub(crate) fn begin_wait(thread: &Thread, lock: u32, mode: u32) -> Outer {
    thread.contended.fetch_add(1, Ordering::Relaxed);
    show_wait(thread, lock, mode)
}

/// Records a wait; returns the wait during which it happens.
pub(crate) fn show_wait(thread: &Thread, lock: u32, mode: u32) -> Outer {
    let outer = Outer {
        lock: thread.waiting.swap(0, Ordering::Relaxed),
        mode: thread.waiting_mode.load(Ordering::Relaxed),
        stack: thread.waiting_stack.swap(0, Ordering::Relaxed),
        since: thread.waiting_since.load(Ordering::Relaxed),
    };
    thread.waiting_since.store(clock::now(), Ordering::Relaxed);
    thread.waiting_mode.store(mode, Ordering::Relaxed);
    thread.waiting.store(lock + 1, Ordering::Release);
    outer
}

/// The wait is over; the outer one continues.
pub(crate) fn end_wait(thread: &Thread, outer: &Outer) {
    thread.waiting.store(0, Ordering::Release);
    thread.waiting_stack.store(outer.stack, Ordering::Relaxed);
    thread.waiting_mode.store(outer.mode, Ordering::Relaxed);
    thread.waiting_since.store(outer.since, Ordering::Relaxed);
    thread.waiting.store(outer.lock, Ordering::Release);
}

/// Takes a lock without waiting, or with a timeout: this cannot complete a cycle.
#[inline]
pub(crate) fn try_take(wanted: Wanted, call: impl FnOnce() -> c_int) -> c_int {
    let request = Request::outside(wanted.site, log::TRIED);
    let result = call();
    if (is_taken(result) || log::is_on())
        && let Some(inside) = threads::enter()
        && let Some(lock) = locks::find(inside.region, wanted.address, wanted.kind, wanted.site)
    {
        if locks::is_signal(inside.region, lock) {
            if is_taken(result) {
                clocks::receive(inside.region, inside.thread, wanted.address);
            }
            return result;
        }
        taken(&inside, lock, wanted, result, &request);
        if !is_taken(result) {
            log::failed(inside.region, inside.thread, lock, &request);
        }
    }
    result
}

/// Releases a lock. Recorded before it happens: afterwards another thread may have it, or it is
/// gone.
#[inline]
pub(crate) fn release(address: u64, site: u64) {
    let Some(inside) = threads::enter() else {
        return;
    };
    let Inside { region, thread } = &inside;
    if held::pop_last(region, thread, address) {
        return;
    }
    release_any(&inside, address, site);
}

/// Releases a lock that is not simply the one that the thread took last.
#[inline(never)]
fn release_any(inside: &Inside, address: u64, site: u64) {
    let Inside { region, thread } = inside;
    if held::pop(region, thread, address, false) == 0
        && let Some(number) = locks::known(region, address)
    {
        release_of_another(inside, number, site);
    }
}

/// A lock is released by a thread that did not take it.
#[cold]
fn release_of_another(inside: &Inside, number: u32, site: u64) {
    let Inside { region, thread } = inside;
    let lock: &Lock = locks::lock(region, number);
    let owner = lock.owner.swap(0, Ordering::Relaxed);
    if owner == 0 {
        return;
    }
    let me = threads::number(region, thread) + 1;
    let holder = &region.threads[owner as usize - 1];
    let address = lock.address.load(Ordering::Relaxed);
    if owner != me && held::find(holder, address).is_some() {
        held::lose(holder, address);
        events::record(
            region,
            thread,
            What::ForeignUnlock,
            number,
            owner,
            site,
            true,
        );
    }
}

/// A lock is created. A thread that held the previous one at this address (as after a fork) no
/// longer does.
pub(crate) fn begin(inside: &Inside, address: u64, kind: Kind, site: u64) {
    let Inside { region, thread } = inside;
    held::pop(region, thread, address, true);
    locks::begin(region, address, kind, site);
}

/// A lock is destroyed.
pub(crate) fn destroy(address: u64, site: u64) {
    let Some(inside) = threads::enter() else {
        return;
    };
    let Inside { region, thread } = &inside;
    let Some(number) = locks::known(region, address) else {
        return;
    };
    let owner = locks::lock(region, number).owner.load(Ordering::Relaxed);
    if owner != 0 {
        events::record(
            region,
            thread,
            What::DestroyedHeld,
            number,
            owner,
            site,
            true,
        );
        held::pop(region, thread, address, true);
    }
    locks::end(region, address);
}
