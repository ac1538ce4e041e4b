//! Events that are reported by themselves, each once per lock and place.

use std::sync::atomic::Ordering;

use crate::layout::{EVENTS_MAX, Lost, Thread, What};
use crate::recorded::{Recorded, mix};
use crate::region::Region;
use crate::{locks, stacks, threads};

static RECORDED: Recorded<{ EVENTS_MAX * 4 }> = Recorded::new();

/// Records an event of `lock`; `other` is the number of a lock or a thread, plus one. With
/// `is_here` the stack is captured; otherwise only `site` is known.
#[cold]
pub(crate) fn record(
    region: &Region,
    thread: &Thread,
    what: What,
    lock: u32,
    other: u32,
    site: u64,
    is_here: bool,
) {
    let about = mix(u64::from(lock) << 32 | u64::from(other), what as u64);
    if RECORDED.put(mix(about, site)) != Some(true) {
        return;
    }
    let Some(number) = region.claim(&region.header.events, EVENTS_MAX, Lost::Events) else {
        return;
    };
    let stack = if is_here {
        stacks::capture(region, site)
    } else {
        0
    };
    locks::keep(region, lock);
    let event = &region.events[number];
    event.what.store(what as u32, Ordering::Relaxed);
    event
        .thread
        .store(threads::keep(region, thread), Ordering::Relaxed);
    event.lock.store(lock, Ordering::Relaxed);
    event.other.store(other, Ordering::Relaxed);
    event.site.store(site, Ordering::Relaxed);
    event.stack.store(stack, Ordering::Relaxed);
    event.ready.store(1, Ordering::Release);
}

/// In a new child nothing is recorded yet.
pub(crate) fn forget() {
    RECORDED.forget();
}
