//! Locks of `threading` that tasks hold.
//!
//! A task takes such a lock for its thread. The entry in the list of the thread's locks contains
//! the task, because the lock is held until this task releases it, even while the task waits.
//! Orders from the task's own locks belong to the task. Orders among locks of `threading` belong to
//! the thread, because it is the thread that waits for them.

use std::sync::atomic::Ordering;

use super::{functions, life, steps, table};
use crate::layout::HAS_ORDER;
use crate::region::Region;
use crate::threads::{self, Inside};
use crate::{edges, held};

/// Whether tasks matter to what this thread does now.
#[inline]
pub(in crate::python) fn is_of_task() -> bool {
    life::is_used() && steps::is_within()
}

/// Whether this thread makes a step of a task that holds a lock of asyncio's, or may: which task it
/// is cannot be asked for without the GIL.
pub(in crate::python) fn is_locked(region: &Region) -> bool {
    is_of_task()
        && steps::known().is_none_or(|task| {
            table::find(task as u64)
                .map(|known| known.number.load(Ordering::Relaxed))
                .filter(|place| *place != 0)
                .is_some_and(|place| !held::entries(&region.threads[place as usize - 1]).is_empty())
        })
}

/// The thread wants a lock of threads with a number.
#[cold]
pub(in crate::python) fn want(inside: &Inside, number: u32) {
    let Inside { region, thread } = inside;
    let object = steps::running();
    let Some(known) = table::find(object as u64) else {
        return;
    };
    let place = known.number.load(Ordering::Relaxed);
    if place != 0 {
        let task = &region.threads[place as usize - 1];
        if !held::entries(task).is_empty() {
            edges::record_of_task(region, task, thread, number, None);
            if task.marks.load(Ordering::Relaxed) & HAS_ORDER != 0 {
                functions::tell_name(inside, object, task);
            }
        }
    }
}

/// The thread has taken a lock of threads.
#[cold]
pub(in crate::python) fn taken(inside: &Inside, address: u64) {
    let Inside { region, thread } = inside;
    let object = steps::running();
    if let Some(position) = held::find(thread, address)
        && let held = &thread.held[position]
        && held.depth.load(Ordering::Relaxed) == 1
        && let Some(task) = life::place(inside, object)
    {
        let number = threads::number(region, task) + 1;
        held.task.store(number, Ordering::Relaxed);
    }
}

/// The thread is about to wait for a lock of `threading`: observers need its task's name.
#[cold]
pub(in crate::python) fn wait(inside: &Inside) {
    let object = steps::running();
    if let Some(task) = life::place(inside, object) {
        functions::tell_name(inside, object, task);
    }
}
