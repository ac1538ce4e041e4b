//! Locks by their address.
//!
//! A hash table of numbers, next to the region's array of locks, filled by compare-and-swap. If a
//! lock is destroyed, or created again at the same address, its entry in the array is kept if a
//! record refers to it, and the table then refers to the new lock. Otherwise the new lock uses the
//! entry. So a program may create any number of locks.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::layout::{ALIVE, ENDED, GUARDS, IS_MADE, Kind, LOCKS_MAX, Lock, Lost, UNCOVERED};
pub(crate) use crate::layout::{HANDS_OVER, IS_RELEASED, LIFE, OWNED, SIGNAL};
use crate::mapped::Mapped;
use crate::region::Region;
use crate::{births, clocks, held, interpreter, memory, shared, stacks};

const SLOTS: usize = LOCKS_MAX * 2;

// SAFETY: they are atomics.
static TABLE: Mapped<AtomicU32, SLOTS> = unsafe { Mapped::new() };

/// Makes an empty table, at the start and in each child.
pub(crate) fn open() {
    TABLE.open();
}

/// Locks that lie side by side, as in an array, have their slots side by side: they are taken one
/// after the other, and each cache line and page of the table is then good for several.
#[inline]
fn first_slot(address: u64) -> usize {
    const WORDS: u64 = 64;
    const BLOCKS: usize = SLOTS / WORDS as usize;
    let word = address >> 3;
    let block = (word / WORDS).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (block >> (64 - BLOCKS.trailing_zeros())) as usize * WORDS as usize + (word % WORDS) as usize
}

/// The number of the lock at an address; a lock not seen before is entered.
#[inline]
pub(crate) fn find(region: &Region, address: u64, kind: Kind, site: u64) -> Option<u32> {
    // Nearly always it is in its first slot, and not on a stack.
    let number = TABLE.items()?[first_slot(address)]
        .load(Ordering::Acquire)
        .wrapping_sub(1);
    if let Some(lock) = region.locks.get(number as usize)
        && lock.address.load(Ordering::Relaxed) == address
        && lock.state.load(Ordering::Relaxed) == ALIVE
        && lock.frame.load(Ordering::Relaxed) == 0
    {
        return Some(number);
    }
    look_for(region, address, kind, site)
}

#[cold]
#[inline(never)]
fn look_for(region: &Region, address: u64, kind: Kind, site: u64) -> Option<u32> {
    let slots = TABLE.items()?;
    let mut slot = first_slot(address);
    for _ in 0..SLOTS {
        let entry = slots[slot].load(Ordering::Acquire);
        if entry == 0 {
            return enter(region, &slots[slot], 0, address, kind, site)
                .or_else(|| look_for(region, address, kind, site));
        }
        let lock = &region.locks[entry as usize - 1];
        if lock.address.load(Ordering::Relaxed) == address {
            if lock.state.load(Ordering::Relaxed) == ALIVE && memory::is_same(lock) {
                return Some(entry - 1);
            }
            lock.state.store(ENDED, Ordering::Relaxed);
            return enter(region, &slots[slot], entry, address, kind, site)
                .or_else(|| look_for(region, address, kind, site));
        }
        slot = (slot + 1) % SLOTS;
    }
    None
}

/// The number of the living lock at an address, if it has been seen.
pub(crate) fn known(region: &Region, address: u64) -> Option<u32> {
    let slots = TABLE.items()?;
    let mut slot = first_slot(address);
    for _ in 0..SLOTS {
        let entry = slots[slot].load(Ordering::Acquire);
        if entry == 0 {
            return None;
        }
        let lock = &region.locks[entry as usize - 1];
        if lock.address.load(Ordering::Relaxed) == address {
            return (lock.state.load(Ordering::Relaxed) == ALIVE).then_some(entry - 1);
        }
        slot = (slot + 1) % SLOTS;
    }
    None
}

/// Enters a lock in a slot that held `before`; `None` when another thread was faster.
#[cold]
fn enter(
    region: &Region,
    slot: &AtomicU32,
    before: u32,
    address: u64,
    kind: Kind,
    site: u64,
) -> Option<u32> {
    let number = match before.checked_sub(1) {
        Some(ended) if is_reusable(region, ended) => ended as usize,
        _ => region.claim(&region.header.locks, LOCKS_MAX, Lost::Locks)?,
    };
    let lock = &region.locks[number];
    lock.owner.store(0, Ordering::Relaxed);
    lock.stack.store(0, Ordering::Relaxed);
    lock.frame.store(0, Ordering::Relaxed);
    lock.is_made.store(0, Ordering::Relaxed);
    lock.address.store(address, Ordering::Relaxed);
    lock.kind.store(kind as u32, Ordering::Relaxed);
    lock.first_site.store(site, Ordering::Relaxed);
    births::note(region, number as u32, false);
    let flavour = if kind == Kind::PythonLock {
        interpreter::get().map_or(0, |interpreter| interpreter.flavour(region))
    } else {
        0
    };
    lock.flavour.store(flavour, Ordering::Relaxed);
    if flavour == 0 {
        let stack = stacks::capture(region, site);
        lock.stack.store(stack, Ordering::Relaxed);
        memory::seen(lock, address);
        shared::know(region, number as u32, kind, address);
    }
    lock.state.store(ALIVE, Ordering::Release);
    let entry = number as u32 + 1;
    if slot
        .compare_exchange(before, entry, Ordering::AcqRel, Ordering::Acquire)
        .is_ok()
    {
        if is_python(region, number as u32)
            && let Some(interpreter) = interpreter::get()
        {
            interpreter.met_lock();
        }
        return Some(number as u32);
    }
    lock.state.store(0, Ordering::Release);
    None
}

/// Whether nothing refers to the entry of a lock that has ended: no record, and no thread that held
/// the lock when its memory was freed. (Such a thread would seem to hold the next lock there.)
fn is_reusable(region: &Region, number: u32) -> bool {
    let ended = lock(region, number);
    ended.is_named.load(Ordering::Relaxed) == 0
        && (ended.owner.load(Ordering::Relaxed) == 0
            || is_python(region, number)
            || is_of_tasks(region, number))
}

/// A lock that was held at a fork is entered in the child's new region.
pub(crate) fn inherit(region: &Region, address: u64, kind: u32, site: u64) -> Option<u32> {
    if let Some(number) = known(region, address) {
        return Some(number);
    }
    let slots = TABLE.items()?;
    let mut slot = first_slot(address);
    while slots[slot].load(Ordering::Relaxed) != 0 {
        slot = (slot + 1) % SLOTS;
    }
    let number = region.claim(&region.header.locks, LOCKS_MAX, Lost::Locks)?;
    let lock = &region.locks[number];
    lock.address.store(address, Ordering::Relaxed);
    lock.kind.store(kind, Ordering::Relaxed);
    lock.first_site.store(site, Ordering::Relaxed);
    lock.state.store(ALIVE, Ordering::Relaxed);
    slots[slot].store(number as u32 + 1, Ordering::Release);
    Some(number as u32)
}

/// The lock at an address is a new one: what was there before has ended.
pub(crate) fn begin(region: &Region, address: u64, kind: Kind, site: u64) {
    end(region, address);
    if let Some(number) = find(region, address, kind, site) {
        lock(region, number)
            .is_made
            .store(IS_MADE, Ordering::Relaxed);
        births::note(region, number, true);
        clocks::begin(region, address);
        shared::made(region, lock(region, number));
    }
}

/// The lock at an address ends, if one was seen there; gives it back.
pub(crate) fn end(region: &Region, address: u64) -> Option<u32> {
    let number = known(region, address)?;
    region.locks[number as usize]
        .state
        .store(ENDED, Ordering::Release);
    Some(number)
}

/// A lock was made where its guard was, and ends with it.
pub(crate) fn share_origin(region: &Region, guard: u32, number: u32) {
    let (guard, lock) = (lock(region, guard), lock(region, number));
    let stack = guard.stack.load(Ordering::Relaxed);
    lock.stack.store(stack, Ordering::Relaxed);
    let is_made = guard.is_made.fetch_or(GUARDS, Ordering::Relaxed) & IS_MADE;
    lock.is_made.store(is_made, Ordering::Relaxed);
}

/// Whether another lock ends with it.
pub(crate) fn is_guard(region: &Region, number: u32) -> bool {
    lock(region, number).is_made.load(Ordering::Relaxed) & GUARDS != 0
}

/// The lock with a number.
#[inline]
pub(crate) fn lock(region: &Region, number: u32) -> &Lock {
    &region.locks[number as usize]
}

/// A record refers to the lock: its entry is kept when the lock ends.
pub(crate) fn keep(region: &Region, number: u32) {
    let is_named = &lock(region, number).is_named;
    is_named.store(1, Ordering::Relaxed);
}

/// The lock at an address is one that is not covered: no order with it is reported.
pub(crate) fn become_uncovered(region: &Region, address: u64) {
    if let Some(number) = known(region, address) {
        lock(region, number)
            .flavour
            .store(UNCOVERED, Ordering::Relaxed);
        keep(region, number);
    }
}

/// The lock is a notification: one thread takes it, and another one releases it.
pub(crate) fn become_signal(region: &Region, number: u32) {
    let lock = lock(region, number);
    lock.flavour.store(SIGNAL, Ordering::Relaxed);
    let owner = lock.owner.swap(0, Ordering::Relaxed);
    if owner == 0 {
        return;
    }
    let holder = &region.threads[owner as usize - 1];
    let address = lock.address.load(Ordering::Relaxed);
    held::lose(holder, address);
}

/// Whether it is a notification, or anything else without an owner.
#[inline]
pub(crate) fn is_signal(region: &Region, number: u32) -> bool {
    is_unowned(lock(region, number))
}

/// The same of the lock itself.
#[inline]
pub(crate) fn is_unowned(lock: &Lock) -> bool {
    !matches!(lock.flavour.load(Ordering::Relaxed), 0 | OWNED)
}

/// The thread that takes the lock also releases it.
#[inline]
pub(crate) fn become_owned(region: &Region, number: u32) {
    let lock = lock(region, number);
    if lock.flavour.load(Ordering::Relaxed) == 0 {
        lock.flavour.store(OWNED, Ordering::Relaxed);
    }
}

/// Whether the thread that takes it also releases it.
pub(crate) fn is_owned(region: &Region, number: u32) -> bool {
    lock(region, number).flavour.load(Ordering::Relaxed) == OWNED
}

/// Whether it is one of Python's own.
pub(crate) fn is_python(region: &Region, number: u32) -> bool {
    let kind = lock(region, number).kind.load(Ordering::Relaxed);
    [
        Kind::PythonLock,
        Kind::PythonRecursive,
        Kind::PythonSemaphore,
        Kind::ThreadingSemaphore,
    ]
    .iter()
    .any(|each| *each as u32 == kind)
}

/// Whether it is one of asyncio's, which tasks wait for while their thread continues.
pub(crate) fn is_of_tasks(region: &Region, number: u32) -> bool {
    let kind = lock(region, number).kind.load(Ordering::Relaxed);
    kind == Kind::TaskLock as u32 || kind == Kind::TaskSemaphore as u32
}

/// Whether it is held by a thread as long as that lives.
#[inline]
pub(crate) fn tells_life(region: &Region, number: u32) -> bool {
    lock(region, number).flavour.load(Ordering::Relaxed) == LIFE
}
