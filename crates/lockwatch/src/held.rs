//! The locks that a thread holds, in the order in which it took them.

use std::sync::atomic::Ordering;

use crate::layout::{HELD_MAX, Held, IS_EXCESS, Kind, Lock, Lost, Thread};
use crate::log::Request;
use crate::region::Region;
use crate::{births, clocks, locks, log, threads};

/// The thread's entries, holes included.
#[inline]
pub(crate) fn entries(thread: &Thread) -> &[Held] {
    &thread.held[..thread.held_count.load(Ordering::Relaxed) as usize]
}

/// The entry of the lock at an address.
#[inline]
pub(crate) fn find(thread: &Thread, address: u64) -> Option<usize> {
    entries(thread).iter().rposition(|held| {
        held.address.load(Ordering::Relaxed) == address && held.depth.load(Ordering::Relaxed) > 0
    })
}

/// Whether a thread holds the lock with a number. If it holds many locks, they are searched only if
/// this thread may be the lock's owner. (A reader of a read-write lock is not its owner.)
#[inline]
pub(crate) fn has(region: &Region, thread: &Thread, lock: u32, address: u64) -> bool {
    has_lock(region, thread, locks::lock(region, lock), address)
}

/// The same of the lock itself.
#[inline]
pub(crate) fn has_lock(region: &Region, thread: &Thread, lock: &Lock, address: u64) -> bool {
    let is_known_by_owner = lock.kind.load(Ordering::Relaxed) != Kind::ReadWrite as u32;
    let me = threads::number(region, thread) + 1;
    if is_known_by_owner && lock.owner.load(Ordering::Relaxed) != me {
        return false;
    }
    find(thread, address).is_some()
}

/// The thread has taken a lock.
#[inline]
pub(crate) fn push(
    region: &Region,
    thread: &Thread,
    lock: u32,
    address: u64,
    is_shared: bool,
    site: u64,
    request: &Request,
) {
    let made = locks::lock(region, lock).is_made.load(Ordering::Relaxed);
    begin(region, thread, made, address);
    if let Some((held, is_again)) = hold(region, thread, lock, address, is_shared, site)
        && log::is_on()
    {
        log::taken(region, thread, held, request, is_again);
    }
}

/// The thread has taken a lock that it did not hold, at once: what nearly all operations are.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "it is a part of nearly every operation"
)]
pub(crate) fn push_new(
    region: &Region,
    thread: &Thread,
    lock: u32,
    address: u64,
    is_shared: bool,
    site: u64,
    request: &Request,
) {
    let me = threads::number(region, thread) + 1;
    let entry = locks::lock(region, lock);
    let made = entry.is_made.load(Ordering::Relaxed);
    begin(region, thread, made, address);
    if !is_shared {
        entry.owner.store(me, Ordering::Relaxed);
    }
    if let Some(held) = add(
        region,
        thread,
        (lock, entry, made),
        address,
        is_shared,
        site,
    ) && log::is_on()
    {
        log::taken(region, thread, held, request, false);
    }
}

#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "it is a part of nearly every operation"
)]
fn begin(region: &Region, thread: &Thread, made: u32, address: u64) {
    let operations = thread.operations.load(Ordering::Relaxed);
    thread
        .operations
        .store(operations.wrapping_add(1), Ordering::Relaxed);
    // A condition was notified while the lock was held: its next owner gets the clock.
    if made & locks::HANDS_OVER != 0 {
        clocks::receive(region, thread, address);
    }
}

/// The same for something that is not an operation of the program, and is neither counted nor
/// logged. Returns the entry, and whether the thread had the lock already.
#[inline]
pub(crate) fn hold<'a>(
    region: &Region,
    thread: &'a Thread,
    lock: u32,
    address: u64,
    is_shared: bool,
    site: u64,
) -> Option<(&'a Held, bool)> {
    if has(region, thread, lock, address)
        && let Some(position) = find(thread, address)
    {
        // The owner of a read-write lock may be unknown so far.
        become_owner(region, thread, lock, is_shared);
        let held = &thread.held[position];
        let depth = held.depth.load(Ordering::Relaxed);
        held.depth.store(depth + 1, Ordering::Relaxed);
        return Some((held, true));
    }
    become_owner(region, thread, lock, is_shared);
    let entry = locks::lock(region, lock);
    let made = entry.is_made.load(Ordering::Relaxed);
    let held = add(
        region,
        thread,
        (lock, entry, made),
        address,
        is_shared,
        site,
    )?;
    Some((held, false))
}

#[inline]
fn become_owner(region: &Region, thread: &Thread, lock: u32, is_shared: bool) {
    if !is_shared {
        let owner = threads::number(region, thread) + 1;
        locks::lock(region, lock)
            .owner
            .store(owner, Ordering::Relaxed);
    }
}

/// The thread has taken a lock that it did not hold, and is its owner: its number, its entry, and
/// how it was made. Returns the thread's entry.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "it is a part of nearly every operation"
)]
fn add<'a>(
    region: &Region,
    thread: &'a Thread,
    (lock, entry, made): (u32, &Lock, u32),
    address: u64,
    is_shared: bool,
    site: u64,
) -> Option<&'a Held> {
    let mut count = thread.held_count.load(Ordering::Relaxed) as usize;
    if count > 0 && thread.held[count - 1].depth.load(Ordering::Relaxed) == 0 {
        close_gaps(thread, 0);
        count = thread.held_count.load(Ordering::Relaxed) as usize;
    }
    let Some(held) = thread.held.get(count) else {
        region.lose(Lost::Held);
        entry.is_made.fetch_or(IS_EXCESS, Ordering::Relaxed);
        return None;
    };
    if made & IS_EXCESS != 0 {
        entry.is_made.fetch_and(!IS_EXCESS, Ordering::Relaxed);
    }
    held.lock.store(lock, Ordering::Relaxed);
    held.address.store(address, Ordering::Relaxed);
    held.mode.store(u32::from(is_shared), Ordering::Relaxed);
    held.site.store(site, Ordering::Relaxed);
    held.task.store(0, Ordering::Relaxed);
    held.has_notified.store(0, Ordering::Relaxed);
    held.depth.store(1, Ordering::Relaxed);
    thread.held_count.store(count as u32 + 1, Ordering::Release);
    Some(held)
}

/// The thread releases the lock that it took last, and took once: what nearly all releases are.
/// Whether it was that; nothing was done otherwise.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "it is a part of nearly every operation"
)]
pub(crate) fn pop_last(region: &Region, thread: &Thread, address: u64) -> bool {
    let last = (thread.held_count.load(Ordering::Relaxed) as usize).wrapping_sub(1);
    // Where there are as many as are remembered, the lock may be one of those beyond.
    if last >= HELD_MAX - 1 {
        return false;
    }
    let held = &thread.held[last];
    let is_plain = held.address.load(Ordering::Relaxed) == address
        && held.depth.load(Ordering::Relaxed) == 1
        && held.mode.load(Ordering::Relaxed) | held.has_notified.load(Ordering::Relaxed) == 0
        && !log::is_on();
    if !is_plain {
        return false;
    }
    let lock = locks::lock(region, held.lock.load(Ordering::Relaxed));
    lock.owner.store(0, Ordering::Relaxed);
    if lock.is_made.load(Ordering::Relaxed) & locks::IS_RELEASED == 0 {
        lock.is_made.fetch_or(locks::IS_RELEASED, Ordering::Relaxed);
    }
    births::publish(thread);
    held.depth.store(0, Ordering::Relaxed);
    thread.held_count.store(last as u32, Ordering::Release);
    true
}

/// The thread releases a lock (completely with `all`). Returns how often it held it, 0 if it did
/// not.
#[inline]
pub(crate) fn pop(region: &Region, thread: &Thread, address: u64, all: bool) -> u32 {
    if thread.held_count.load(Ordering::Relaxed) as usize == HELD_MAX
        && release_excess(region, thread, address)
    {
        return 1;
    }
    let Some(position) = find(thread, address) else {
        return 0;
    };
    let held = &thread.held[position];
    let depth = held.depth.load(Ordering::Relaxed);
    if depth > 1 && !all {
        held.depth.store(depth - 1, Ordering::Relaxed);
        return depth;
    }
    if held.mode.load(Ordering::Relaxed) == 0 {
        let lock = locks::lock(region, held.lock.load(Ordering::Relaxed));
        lock.owner.store(0, Ordering::Relaxed);
        if lock.is_made.load(Ordering::Relaxed) & locks::IS_RELEASED == 0 {
            lock.is_made.fetch_or(locks::IS_RELEASED, Ordering::Relaxed);
        }
    }
    log::let_go(held);
    births::publish(thread);
    if held.has_notified.load(Ordering::Relaxed) != 0 {
        hand_over(region, thread, held.lock.load(Ordering::Relaxed), address);
    }
    remove(thread, position);
    depth
}

/// The thread releases a lock for which there was no entry; whether it was such a lock.
fn release_excess(region: &Region, thread: &Thread, address: u64) -> bool {
    let Some(number) = locks::known(region, address) else {
        return false;
    };
    let lock = locks::lock(region, number);
    let me = threads::number(region, thread) + 1;
    let is_excess = lock.is_made.load(Ordering::Relaxed) & IS_EXCESS != 0;
    if !is_excess || lock.owner.load(Ordering::Relaxed) != me {
        return false;
    }
    lock.is_made.fetch_and(!IS_EXCESS, Ordering::Relaxed);
    lock.owner.store(0, Ordering::Relaxed);
    births::publish(thread);
    true
}

/// The thread has notified a condition: the next thread that takes the lock gets its clock.
#[cold]
pub(crate) fn hand_over(region: &Region, thread: &Thread, lock: u32, address: u64) {
    locks::lock(region, lock)
        .is_made
        .fetch_or(locks::HANDS_OVER, Ordering::Relaxed);
    clocks::hand_over(region, thread, address);
}

/// The thread notifies, and holds a lock meanwhile.
pub(crate) fn notify_with(held: &Held) {
    held.has_notified.store(1, Ordering::Relaxed);
}

/// The thread notifies, with one of the locks that it holds.
pub(crate) fn notify(thread: &Thread) {
    entries(thread).iter().for_each(notify_with);
}

/// Another thread releases a lock that is held: the entry becomes a gap.
#[cold]
pub(crate) fn lose(holder: &Thread, address: u64) {
    if let Some(position) = find(holder, address) {
        let held = &holder.held[position];
        log::let_go(held);
        held.depth.store(0, Ordering::Relaxed);
    }
}

/// Takes an entry out; mostly the last one.
#[inline]
fn remove(thread: &Thread, position: usize) {
    thread.held[position].depth.store(0, Ordering::Relaxed);
    if thread.held_count.load(Ordering::Relaxed) as usize == position + 1 {
        thread.held_count.store(position as u32, Ordering::Release);
    } else {
        close_gaps(thread, position);
    }
}

/// Closes the gaps from an entry on: its own, and those that others have left.
fn close_gaps(thread: &Thread, first: usize) {
    let count = thread.held_count.load(Ordering::Relaxed) as usize;
    let mut kept = first;
    for next in first..count {
        if thread.held[next].depth.load(Ordering::Relaxed) > 0 {
            if next != kept {
                copy(&thread.held[next], &thread.held[kept]);
            }
            kept += 1;
        }
    }
    thread.held_count.store(kept as u32, Ordering::Release);
}

fn copy(from: &Held, to: &Held) {
    to.address
        .store(from.address.load(Ordering::Relaxed), Ordering::Relaxed);
    to.site
        .store(from.site.load(Ordering::Relaxed), Ordering::Relaxed);
    to.lock
        .store(from.lock.load(Ordering::Relaxed), Ordering::Relaxed);
    to.mode
        .store(from.mode.load(Ordering::Relaxed), Ordering::Relaxed);
    to.depth
        .store(from.depth.load(Ordering::Relaxed), Ordering::Relaxed);
    to.task
        .store(from.task.load(Ordering::Relaxed), Ordering::Relaxed);
    to.has_notified
        .store(from.has_notified.load(Ordering::Relaxed), Ordering::Relaxed);
    to.log
        .store(from.log.load(Ordering::Relaxed), Ordering::Relaxed);
}
