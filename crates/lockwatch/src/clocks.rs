//! Which orders had ended before a thread began its own.
//!
//! Two orders cannot deadlock if one had always ended before the other began, because the thread of
//! the later one waited for a notification from the thread of the earlier one. Conditions,
//! semaphores, barriers, queues, events and futures are such notifications: one thread **hands
//! over**, and another one receives. (Unlocking a mutex is not a notification: which thread locks
//! it next is random.)
//!
//! Each thread has a vector clock (Fidge 1988, Mattern 1989). A thread that records its first order
//! gets an index, and counts at this index in how many epochs it has recorded orders. An epoch ends
//! when the thread hands over. The object that is used for it (at an address) has a clock too. An
//! order keeps the clock of its thread: it comes after another order if its clock includes the
//! epoch of the other one. There are [`CLOCK_MAX`] indices; the orders of further threads come
//! after no other order.
//!
//! Until a thread has recorded an order, nothing is done.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::births;
use crate::layout::{CLOCK_MAX, Edge, HAS_HANDED_OVER, HAS_ORDER, TASK, Thread};
use crate::recorded::wipe;
use crate::region::Region;

const OBJECTS: usize = 1 << 12;
/// Places in which an object may be.
const WAYS: usize = 4;

type Clock = [AtomicU32; CLOCK_MAX];

/// An object that threads use to notify others.
struct Object {
    /// Its address; 0 where there is none.
    address: AtomicU64,
    /// For a condition the mutex with which it was last waited for.
    mutex: AtomicU64,
    clock: Clock,
}

/// The objects by their address. If all places are taken, one object is forgotten, with its clock.
static TABLE: [Object; OBJECTS] = [const {
    Object {
        address: AtomicU64::new(0),
        mutex: AtomicU64::new(0),
        clock: [const { AtomicU32::new(0) }; CLOCK_MAX],
    }
}; OBJECTS];

fn ways(address: u64) -> &'static [Object] {
    let hash = address.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let first = hash as usize % (OBJECTS / WAYS) * WAYS;
    &TABLE[first..first + WAYS]
}

fn known(address: u64) -> Option<&'static Object> {
    ways(address)
        .iter()
        .find(|object| object.address.load(Ordering::Acquire) == address)
}

fn find(address: u64) -> &'static Object {
    if let Some(object) = known(address) {
        return object;
    }
    let ways = ways(address);
    let free = ways.iter().find(|object| {
        let free = &object.address;
        free.compare_exchange(0, address, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    });
    free.unwrap_or_else(|| {
        let object = &ways[(address >> 4) as usize % WAYS];
        clear(&object.clock);
        object.mutex.store(0, Ordering::Relaxed);
        object.address.store(address, Ordering::Release);
        object
    })
}

pub(crate) fn clear(clock: &Clock) {
    for each in clock {
        each.store(0, Ordering::Relaxed);
    }
}

/// From now on `to` includes everything that `from` includes. Only indices that were given out are
/// compared: most programs use a few of them.
#[inline]
fn join(region: &Region, from: &Clock, to: &Clock) {
    let given_out = region.header.clocks.load(Ordering::Relaxed) as usize;
    for (from, to) in from.iter().zip(to).take(given_out) {
        let epoch = from.load(Ordering::Relaxed);
        if epoch > to.load(Ordering::Relaxed) {
            to.store(epoch, Ordering::Relaxed);
        }
    }
}

/// Whether any order has been recorded.
#[inline]
pub(crate) fn are_used(region: &Region) -> bool {
    region.header.clocks.load(Ordering::Relaxed) != 0
}

/// The thread notifies others by the object at an address, and passes on its clock.
#[inline]
pub(crate) fn hand_over(region: &Region, thread: &Thread, address: u64) {
    births::publish(thread);
    if are_used(region) {
        join(region, &thread.clock, &find(address).clock);
        end_epoch(region, thread);
    }
}

/// The thread was notified by the object at an address, and gets the clock that was passed on.
#[inline]
pub(crate) fn receive(region: &Region, thread: &Thread, address: u64) {
    if are_used(region)
        && let Some(object) = known(address)
    {
        join(region, &object.clock, &thread.clock);
    }
}

/// From now on there is another object at an address.
pub(crate) fn begin(region: &Region, address: u64) {
    if are_used(region)
        && let Some(object) = known(address)
    {
        clear(&object.clock);
        object.mutex.store(0, Ordering::Relaxed);
    }
}

/// A condition is waited for with a mutex.
pub(crate) fn wait(region: &Region, condition: u64, mutex: u64) {
    if are_used(region) {
        find(condition).mutex.store(mutex, Ordering::Relaxed);
    }
}

/// The mutex with which a condition was last waited for.
pub(crate) fn mutex_of(condition: u64) -> Option<u64> {
    known(condition)
        .map(|object| object.mutex.load(Ordering::Relaxed))
        .filter(|mutex| *mutex != 0)
}

/// A new thread begins: its clock is that of the thread that created it.
pub(crate) fn inherit(region: &Region, parent: &Thread, child: &Thread) {
    births::publish(parent);
    if are_used(region) {
        join(region, &parent.clock, &child.clock);
        end_epoch(region, parent);
    }
}

/// A thread has waited for the end of another one.
pub(crate) fn learn(region: &Region, ended: &Thread, joiner: &Thread) {
    if are_used(region) {
        join(region, &ended.clock, &joiner.clock);
    }
}

/// What the thread does from here on is not part of the notification.
fn end_epoch(region: &Region, thread: &Thread) {
    let marks = thread.marks.load(Ordering::Relaxed);
    if marks & HAS_ORDER != 0 {
        thread.segment.store(region.moment(), Ordering::Relaxed);
    }
    let marks = marks & !HAS_ORDER | HAS_HANDED_OVER;
    thread.marks.store(marks, Ordering::Relaxed);
}

/// The thread records an order.
pub(crate) fn stamp(region: &Region, thread: &Thread, edge: &Edge) {
    let marks = thread.marks.load(Ordering::Relaxed);
    if marks & TASK != 0 {
        // The thread continues with other tasks, so its clock says nothing about this task.
        edge.clock_index.store(0, Ordering::Relaxed);
        return;
    }
    let mut index = thread.clock_index.load(Ordering::Relaxed) as usize;
    if index == 0 {
        let taken = region.header.clocks.fetch_add(1, Ordering::Relaxed) as usize;
        if taken < CLOCK_MAX {
            index = taken + 1;
            thread.clock_index.store(index as u32, Ordering::Relaxed);
            thread.clock[taken].store(1, Ordering::Relaxed);
        } else {
            region
                .header
                .clocks
                .store(CLOCK_MAX as u32, Ordering::Relaxed);
        }
    } else if marks & HAS_HANDED_OVER != 0 {
        let epoch = &thread.clock[index - 1];
        epoch.store(epoch.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
    thread
        .marks
        .store(marks & !HAS_HANDED_OVER, Ordering::Relaxed);
    edge.clock_index.store(index as u32, Ordering::Relaxed);
    join(region, &thread.clock, &edge.clock);
}

/// A new child begins without notifications.
pub(crate) fn forget() {
    // SAFETY: a static of atomics that are zeroed at first.
    unsafe { wipe(&raw const TABLE) };
}
