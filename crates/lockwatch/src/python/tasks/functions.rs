//! The functions that `watch.py` calls: each takes one object, returns one, and raises nothing.

use std::sync::atomic::Ordering;

use super::{life, python, steps, table};
use crate::layout::{HAS_ORDER, Kind, Thread};
use crate::log::Request;
use crate::python::embedding::{self, Definition, define};
use crate::python::interface::Object;
use crate::python::stack;
use crate::region::Region;
use crate::threads::{self, Inside};
use crate::unseen::{self, Use};
use crate::{calls, edges, held, locks, stacks, texts};

pub(super) static DEFINITIONS: [Definition; 11] = [
    define(c"MADE_LOCK", made::<LOCK>),
    define(c"MADE_SEMAPHORE", made::<SEMAPHORE>),
    define(c"WANT_LOCK", want::<LOCK>),
    define(c"WANT_SEMAPHORE", want::<SEMAPHORE>),
    define(c"WAITED", waited),
    define(c"TAKEN_LOCK", taken::<LOCK>),
    define(c"TAKEN_SEMAPHORE", taken::<SEMAPHORE>),
    define(c"RELEASED_LOCK", released::<LOCK>),
    define(c"RELEASED_SEMAPHORE", released::<SEMAPHORE>),
    define(c"LIMITED", limited),
    define(c"UNLIMITED", unlimited),
];

/// What a function is for: whether it is a semaphore that is used as a lock.
const LOCK: bool = false;
const SEMAPHORE: bool = true;

const fn kind(is_semaphore: bool) -> Kind {
    if is_semaphore {
        Kind::TaskSemaphore
    } else {
        Kind::TaskLock
    }
}

fn nothing() -> Object {
    embedding::nothing(python())
}

/// The task that runs, and its place; none where no task does, or there is no place.
fn actor(inside: &Inside) -> Option<(Object, &'static Thread)> {
    let task = steps::running();
    Some((task, life::place(inside, task)?))
}

/// A lock is made, here; of semaphores, one that begins with 1.
unsafe extern "C" fn made<const IS_SEMAPHORE: bool>(_: Object, lock: Object) -> Object {
    life::begin_use();
    life::gone(lock as u64);
    if let Some(inside) = threads::enter() {
        locks::begin(inside.region, lock as u64, kind(IS_SEMAPHORE), 0);
    }
    nothing()
}

/// The number of a lock, unless it is a signal; a semaphore is one if it was seen to be made.
fn number_of(region: &Region, lock: Object, kind: Kind) -> Option<u32> {
    let address = lock as u64;
    let number = match kind {
        Kind::TaskLock => locks::find(region, address, kind, 0),
        _ => locks::known(region, address),
    };
    let number = number.filter(|number| !locks::is_signal(region, *number));
    if number.is_none() && kind == Kind::TaskSemaphore {
        unseen::note(Use::TaskSemaphore);
    }
    number
}

/// The running task wants a lock that is somebody's: it begins to wait. Gives the task's number,
/// for the wait's end.
unsafe extern "C" fn want<const IS_SEMAPHORE: bool>(_: Object, lock: Object) -> Object {
    begin_wait(lock, kind(IS_SEMAPHORE)).map_or_else(nothing, |number| {
        // SAFETY: called from Python, with the GIL held.
        unsafe { (python().new_integer)(i64::from(number)) }
    })
}

fn begin_wait(lock: Object, kind: Kind) -> Option<u32> {
    life::begin_use();
    let inside = threads::enter()?;
    let (object, task) = actor(&inside)?;
    let Inside { region, .. } = &inside;
    let address = lock as u64;
    let number = number_of(region, lock, kind)?;
    let has_it = held::find(task, address).is_some();
    if has_it && kind == Kind::TaskSemaphore {
        // A task that waits for it twice needs another one to release it.
        unseen::note(Use::TaskSemaphore);
        locks::become_signal(region, number);
        return None;
    }
    tell_name(&inside, object, task);
    // Of a lock that it holds itself nothing is written down: it may be an error in time, or end by
    // being cancelled; one that lasts is reported as a deadlock.
    if !has_it {
        edges::record_of_task(region, task, inside.thread, number, limit_of(object));
    }
    life::mark_limit(object, task);
    let stack = stacks::capture(region, 0);
    calls::begin_wait(task, number, 0);
    task.waiting_stack.store(stack, Ordering::Release);
    Some(threads::number(region, task))
}

/// The wait of the task with a number is over, one way or the other.
unsafe extern "C" fn waited(_: Object, number: Object) -> Object {
    let python = python();
    if number != python.none
        && let Some((region, _)) = threads::present()
    {
        // SAFETY: the number that `want` made; called from Python, with the GIL held.
        let number = unsafe { (python.integer)(number) };
        let task = &region.threads[number as usize];
        task.waiting.store(0, Ordering::Release);
        task.waiting_stack.store(0, Ordering::Relaxed);
    }
    nothing()
}

/// The running task has taken a lock.
unsafe extern "C" fn taken<const IS_SEMAPHORE: bool>(_: Object, lock: Object) -> Object {
    take(lock, kind(IS_SEMAPHORE));
    nothing()
}

fn take(lock: Object, kind: Kind) -> Option<()> {
    life::begin_use();
    let inside = threads::enter()?;
    let (object, task) = actor(&inside)?;
    let Inside { region, .. } = &inside;
    let number = number_of(region, lock, kind)?;
    unseen::tasks_lock();
    edges::record_of_task(region, task, inside.thread, number, limit_of(object));
    if task.marks.load(Ordering::Relaxed) & HAS_ORDER != 0 {
        tell_name(&inside, object, task);
    }
    let request = Request::begin(region, 0, 0);
    let site = stack::here(region).word;
    held::push(region, task, number, lock as u64, false, site, &request);
    Some(())
}

fn limit_of(task: Object) -> Option<usize> {
    table::find(task as u64)?.limited_at()
}

/// The running task is under a time limit from now on (`asyncio.timeout`).
unsafe extern "C" fn limited(_: Object, _: Object) -> Object {
    if let Some(inside) = threads::enter() {
        let object = steps::running();
        let known = table::find(object as u64).or_else(|| table::enter(object as u64));
        if let Some(known) = known.filter(|_| !object.is_null()) {
            let number = known.number.load(Ordering::Relaxed);
            let task = (number != 0).then(|| &inside.region.threads[number as usize - 1]);
            known.limit(task.map_or(0, |task| held::entries(task).len()));
        }
    }
    nothing()
}

/// And this one is over.
unsafe extern "C" fn unlimited(_: Object, _: Object) -> Object {
    if let Some(_inside) = threads::enter()
        && let Some(known) = table::find(steps::running() as u64)
    {
        known.unlimit();
    }
    nothing()
}

/// A lock is released, by the task that runs or by a callback.
unsafe extern "C" fn released<const IS_SEMAPHORE: bool>(_: Object, lock: Object) -> Object {
    if let Some(inside) = threads::enter() {
        release(&inside, lock, kind(IS_SEMAPHORE));
    }
    nothing()
}

fn release(inside: &Inside, lock: Object, kind: Kind) {
    let Inside { region, .. } = inside;
    let address = lock as u64;
    let known = locks::known(region, address);
    let is_own = actor(inside).is_some_and(|(_, task)| held::pop(region, task, address, true) > 0);
    if let Some(number) = known
        && !is_own
        && (kind == Kind::TaskSemaphore
            || locks::lock(region, number).owner.load(Ordering::Relaxed) != 0)
    {
        if kind == Kind::TaskSemaphore {
            unseen::note(Use::TaskSemaphore);
        }
        locks::become_signal(region, number);
    }
}

/// Writes down a task's name and its coroutine's, once.
pub(super) fn tell_name(inside: &Inside, object: Object, task: &Thread) {
    if task.coroutine.load(Ordering::Relaxed) != 0 {
        return;
    }
    // SAFETY: the task runs, with the GIL held.
    unsafe {
        life::with_text(object, c"get_name", None, |name| {
            let most = task.task_name.len() - 1;
            for (slot, byte) in task.task_name.iter().zip(&name[..name.len().min(most)]) {
                slot.store(*byte, Ordering::Relaxed);
            }
            let end = name.len().min(most);
            task.task_name[end].store(0, Ordering::Relaxed);
        });
        life::with_text(object, c"get_coro", Some(c"__qualname__"), |name| {
            let place = texts::keep(inside.region, name, b"").map_or(0, |place| place + 1);
            task.coroutine.store(place, Ordering::Relaxed);
        });
    }
}
