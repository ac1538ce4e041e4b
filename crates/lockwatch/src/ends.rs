//! The end of a thread: waiting for it counts as waiting for a lock that the thread holds until
//! then.

use std::sync::atomic::Ordering;

use libc::pthread_t;

use crate::layout::{Kind, Thread};
use crate::threads::{self, Inside};
use crate::{calls, clocks, locks};

/// Waits for the end of a thread, and records the wait.
pub(crate) fn while_it_lives<T>(handle: u64, site: u64, wait: impl FnOnce() -> T) -> T {
    let Some((lock, address)) = end_of(handle, site) else {
        return wait();
    };
    let result = calls::while_waiting(lock, site, wait);
    if let Some(inside) = threads::enter() {
        locks::end(inside.region, address);
    }
    result
}

/// The end of a living thread as something that this thread holds.
fn end_of(handle: u64, site: u64) -> Option<(u32, u64)> {
    let Inside { region, .. } = threads::enter_present()?;
    let thread = region.threads_seen().iter().find(|thread| {
        thread.handle.load(Ordering::Relaxed) == handle
            && thread.state.load(Ordering::Relaxed) == threads::ALIVE
    })?;
    let address = std::ptr::from_ref(thread) as u64;
    let lock = locks::find(region, address, Kind::End, site)?;
    let owner = threads::number(region, thread) + 1;
    locks::lock(region, lock)
        .owner
        .store(owner, Ordering::Relaxed);
    Some((lock, address))
}

/// From here on the caller's orders come after all orders of the joined thread.
pub(crate) fn joined(inside: &Inside, handle: pthread_t) {
    let Inside { region, .. } = inside;
    let ended = region
        .threads_seen()
        .iter()
        .filter(|other| {
            other.handle.load(Ordering::Relaxed) == handle
                && other.joiner.load(Ordering::Relaxed) == 0
                && other.state.load(Ordering::Relaxed) == threads::ENDED
        })
        .max_by_key(|other| other.segment.load(Ordering::Relaxed));
    if let Some(ended) = ended {
        join_thread(inside, ended);
    }
}

/// The caller has joined a thread.
pub(crate) fn join_thread(inside: &Inside, ended: &Thread) {
    let Inside { region, thread } = inside;
    if ended.joiner.load(Ordering::Relaxed) != 0 {
        return;
    }
    ended.joined.store(region.moment(), Ordering::Relaxed);
    let me = threads::keep(region, thread) + 1;
    ended.joiner.store(me, Ordering::Release);
    clocks::learn(region, ended, thread);
    thread.segment.store(region.moment(), Ordering::Relaxed);
}
