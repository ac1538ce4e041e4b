//! What is reported for what it is, each once a lock and a place.

use std::sync::atomic::Ordering;

use crate::region::{EVENTS_MAX, Lost, Region, Thread, What};
use crate::{stacks, threads};

/// Writes down that something happened to `lock`; `other` is a lock's or a thread's number plus
/// one. With `is_here` the stack is captured, else `site` is all that is known.
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
    let count = region.header.events.load(Ordering::Relaxed) as usize;
    let known = region.events[..count.min(EVENTS_MAX)].iter().any(|event| {
        event.what.load(Ordering::Relaxed) == what as u32
            && event.lock.load(Ordering::Relaxed) == lock
            && event.site.load(Ordering::Relaxed) == site
            && event.other.load(Ordering::Relaxed) == other
    });
    if known {
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
    let event = &region.events[number];
    event.what.store(what as u32, Ordering::Relaxed);
    let number = threads::number(region, thread);
    event.thread.store(number, Ordering::Relaxed);
    event.lock.store(lock, Ordering::Relaxed);
    event.other.store(other, Ordering::Relaxed);
    event.site.store(site, Ordering::Relaxed);
    event.stack.store(stack, Ordering::Relaxed);
    event.ready.store(1, Ordering::Release);
}
