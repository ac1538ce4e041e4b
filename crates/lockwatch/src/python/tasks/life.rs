//! When tasks and their locks are created and when they end.

use std::ffi::{CStr, c_int};
use std::mem::transmute;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::slots::{Slot, slot};
use super::table::{self, Known};
use super::{joins, python, steps};
use crate::layout::{HAS_ORDER, LIMITED, TASK, Thread, What};
use crate::log::Request;
use crate::python::embedding::{FILE, Interface};
use crate::python::interface::Object;
use crate::region::Region;
use crate::threads::{self, Inside};
use crate::{events, held, locks};

/// Whether any task has used a lock: before that, what tasks do matters to nobody.
static IS_USED: AtomicBool = AtomicBool::new(false);

static INITIALIZE: AtomicUsize = AtomicUsize::new(0);
static DEALLOCATE: AtomicUsize = AtomicUsize::new(0);
static FREE: AtomicUsize = AtomicUsize::new(0);
/// `is_limited` of `watch.py`.
pub(super) static IS_LIMITED: AtomicUsize = AtomicUsize::new(0);

type Initialize = unsafe extern "C" fn(Object, Object, Object) -> c_int;
type Release = unsafe extern "C" fn(Object);

#[inline]
pub(super) fn is_used() -> bool {
    IS_USED.load(Ordering::Relaxed)
}

#[inline]
pub(super) fn begin_use() {
    if !is_used() {
        IS_USED.store(true, Ordering::Relaxed);
    }
}

/// Swaps the slots of the task's type and of the lock's class; gives the task's.
///
/// # Safety
///
/// The thread holds the GIL; the modules are `_asyncio` and `asyncio.locks`.
pub(super) unsafe fn swap(
    python: &Interface,
    tasks: Object,
    locks: Object,
    header: usize,
) -> Option<Object> {
    // SAFETY: the caller's promise; both are types, of which nobody else writes these slots. The
    // references are kept.
    unsafe {
        let task = (python.attribute)(tasks, c"Task".as_ptr());
        let lock = (python.attribute)(locks, c"Lock".as_ptr());
        if task.is_null() || lock.is_null() {
            (python.clear_error)();
            return None;
        }
        let put = |class, which, real: &AtomicUsize, ours| {
            let place = slot(class, header, which);
            real.store(place.read(), Ordering::Release);
            place.write(ours);
        };
        put(
            task,
            Slot::Initialize,
            &INITIALIZE,
            initialize as *const () as usize,
        );
        put(
            task,
            Slot::Deallocate,
            &DEALLOCATE,
            deallocate as *const () as usize,
        );
        put(lock, Slot::Free, &FREE, free as *const () as usize);
        for name in [c"Semaphore", c"BoundedSemaphore"] {
            swap_free(python, locks, name, header);
        }
        Some(task)
    }
}

/// Swaps the slot of another class of the same module, if it has the lock's function.
///
/// # Safety
///
/// The same.
unsafe fn swap_free(python: &Interface, locks: Object, name: &CStr, header: usize) {
    // SAFETY: the caller's promise; the reference is kept.
    unsafe {
        let class = (python.attribute)(locks, name.as_ptr());
        if class.is_null() {
            return (python.clear_error)();
        }
        let place = slot(class, header, Slot::Free);
        if place.read() == FREE.load(Ordering::Relaxed) {
            place.write(free as *const () as usize);
        }
    }
}

unsafe extern "C" fn initialize(task: Object, arguments: Object, named: Object) -> c_int {
    // Before: a task may make its first step while it is made.
    if is_used() {
        born(task);
    }
    // SAFETY: the type's own function, with what the interpreter gave.
    unsafe {
        let real: Initialize = transmute(INITIALIZE.load(Ordering::Relaxed));
        real(task, arguments, named)
    }
}

fn born(task: Object) {
    let Some(inside) = threads::enter() else {
        return;
    };
    let Inside { region, thread } = &inside;
    let address = task as u64;
    let Some(known) = table::find(address).or_else(|| table::enter(address)) else {
        return;
    };
    let creator = steps::running() as u64;
    known.creator.store(creator, Ordering::Relaxed);
    let (parent, born) = if creator == 0 {
        (threads::keep(region, thread) + 1, renew(region, thread))
    } else {
        origin(region, creator)
    };
    known.parent.store(parent, Ordering::Relaxed);
    known.born.store(born, Ordering::Relaxed);
}

/// From whom, and when, comes what a task makes now: from itself if anything recorded names it,
/// else from where it comes itself, since it has done nothing that could be before.
fn origin(region: &Region, creator: u64) -> (u32, u32) {
    let Some(known) = table::find(creator) else {
        return (0, 0);
    };
    let number = known.number.load(Ordering::Relaxed);
    if number != 0 && threads::is_named(number - 1) {
        return (number, renew(region, &region.threads[number as usize - 1]));
    }
    let parent = known.parent.load(Ordering::Relaxed);
    (parent, known.born.load(Ordering::Relaxed))
}

/// The moment of now, in a thread's time: all orders that it has made so far are before it.
fn renew(region: &Region, thread: &Thread) -> u32 {
    if thread.marks.load(Ordering::Relaxed) & HAS_ORDER != 0 {
        thread.marks.fetch_and(!HAS_ORDER, Ordering::Relaxed);
        let moment = region.header.segments.fetch_add(1, Ordering::Relaxed) + 1;
        thread.segment.store(moment, Ordering::Relaxed);
    }
    thread.segment.load(Ordering::Relaxed)
}

/// The place of a task among the threads.
#[inline]
pub(super) fn place(inside: &Inside, task: Object) -> Option<&'static Thread> {
    if task.is_null() {
        return None;
    }
    let address = task as u64;
    let known = table::find(address).or_else(|| table::enter(address))?;
    match known.number.load(Ordering::Relaxed) {
        0 => claim(inside, known),
        number => Some(&inside.region.threads[number as usize - 1]),
    }
}

fn claim(inside: &Inside, known: &Known) -> Option<&'static Thread> {
    let Inside { region, thread } = inside;
    let number = threads::claim(region)?;
    let task = &region.threads[number as usize];
    for (field, value) in [
        (&task.tid, thread.tid.load(Ordering::Relaxed)),
        (&task.carrier, threads::keep(region, thread) + 1),
        (&task.parent, known.parent.load(Ordering::Relaxed)),
        (&task.born, known.born.load(Ordering::Relaxed)),
        (&task.joiner, 0),
        (
            &task.segment,
            region.header.segments.load(Ordering::Relaxed),
        ),
        (&task.waiting, 0),
        (&task.waiting_stack, 0),
        (&task.held_count, 0),
        (&task.inside, 0),
        (&task.coroutine, 0),
        (&task.marks, TASK),
    ] {
        field.store(value, Ordering::Relaxed);
    }
    for field in [&task.handle, &task.operations, &task.contended] {
        field.store(0, Ordering::Relaxed);
    }
    for field in &task.recent {
        field.store(0, Ordering::Relaxed);
    }
    task.name[0].store(0, Ordering::Relaxed);
    task.task_name[0].store(0, Ordering::Relaxed);
    task.state.store(threads::ALIVE, Ordering::Release);
    known.number.store(number + 1, Ordering::Relaxed);
    Some(task)
}

/// Marks whether a time limit ends the wait that a task begins: one that the task has set, or
/// `wait_for`, which until Python 3.11 made a task of its own for what it waited for.
pub(super) fn mark_limit(object: Object, task: &Thread) {
    let is_limited = table::find(object as u64).is_some_and(|known| known.limited_at().is_some())
        || !super::has_eager_tasks() && is_waited_for_a_while(object);
    if is_limited {
        task.marks.fetch_or(LIMITED, Ordering::Relaxed);
    } else {
        task.marks.fetch_and(!LIMITED, Ordering::Relaxed);
    }
}

fn is_waited_for_a_while(task: Object) -> bool {
    let python = python();
    // SAFETY: the task runs, with the GIL held and no error set; the new reference is released.
    unsafe {
        let told = (python.call_with)(IS_LIMITED.load(Ordering::Acquire) as Object, task);
        if told.is_null() {
            (python.clear_error)();
            return false;
        }
        let is_true = (python.is_true)(told) == 1;
        (python.release)(told);
        is_true
    }
}

/// A coroutine has ended within the step of a task.
pub(super) fn end(inside: &Inside, task: Object, coroutine: Object) {
    let Some(known) = table::find(task as u64) else {
        return;
    };
    let number = known.number.load(Ordering::Relaxed);
    if number == 0 {
        return;
    }
    let python = python();
    // SAFETY: the thread holds the GIL, no error is set, and the task lives while it runs.
    unsafe {
        let own = method(python, task, c"get_coro");
        let is_own = own == coroutine;
        if !own.is_null() {
            (python.release)(own);
        }
        if is_own {
            let is_acquire = is_ours(python, coroutine);
            finish(inside, known, number, is_acquire);
            if threads::is_named(number - 1) {
                joins::end(inside, known, task, number);
            }
        }
    }
}

/// What a method without arguments gives, a new reference; null when it fails.
unsafe fn method(python: &Interface, object: Object, name: &CStr) -> Object {
    // SAFETY: the caller's promise.
    unsafe {
        let function = (python.attribute)(object, name.as_ptr());
        if function.is_null() {
            (python.clear_error)();
            return function;
        }
        let result = (python.call)(function);
        (python.release)(function);
        if result.is_null() {
            (python.clear_error)();
        }
        result
    }
}

/// Hands over the text that a method gives, or an attribute of what it gives.
///
/// # Safety
///
/// The thread holds the GIL and has no error set; the object lives.
pub(super) unsafe fn with_text(
    object: Object,
    name: &CStr,
    attribute: Option<&CStr>,
    take: impl FnOnce(&[u8]),
) {
    let python = python();
    // SAFETY: the caller's promise; each new reference is released.
    unsafe {
        let mut text = method(python, object, name);
        if let (false, Some(attribute)) = (text.is_null(), attribute) {
            let of = text;
            text = (python.attribute)(of, attribute.as_ptr());
            (python.release)(of);
        }
        if !text.is_null() {
            let mut length = 0;
            let bytes = (python.utf8)(text, &raw mut length);
            if !bytes.is_null() {
                take(std::slice::from_raw_parts(bytes.cast(), length as usize));
            }
            (python.release)(text);
        }
        (python.clear_error)();
    }
}

/// Whether a coroutine is nothing but a lock's `acquire`.
unsafe fn is_ours(python: &Interface, coroutine: Object) -> bool {
    // SAFETY: the caller's promise; each new reference is released.
    unsafe {
        let code = (python.attribute)(coroutine, c"cr_code".as_ptr());
        if code.is_null() {
            (python.clear_error)();
            return false;
        }
        let file = (python.attribute)(code, c"co_filename".as_ptr());
        (python.release)(code);
        if file.is_null() {
            (python.clear_error)();
            return false;
        }
        let mut length = 0;
        let text = (python.utf8)(file, &raw mut length);
        let is_ours = !text.is_null() && CStr::from_ptr(text) == FILE;
        (python.release)(file);
        is_ours
    }
}

/// A task has ended: what it holds yet stays held, or is its maker's if it was made for that only.
fn finish(inside: &Inside, known: &Known, number: u32, is_acquire: bool) {
    let Inside { region, thread } = inside;
    let task = &region.threads[number as usize - 1];
    let heir = if is_acquire {
        let creator = known.creator.load(Ordering::Relaxed);
        table::find(creator).and_then(|_| place(inside, creator as Object))
    } else {
        None
    };
    for entry in held::entries(thread) {
        // What it took as its thread is the thread's, which somebody else may release.
        if entry.task.load(Ordering::Relaxed) == number {
            entry.task.store(0, Ordering::Relaxed);
        }
    }
    for entry in held::entries(task) {
        if entry.depth.load(Ordering::Relaxed) == 0 {
            continue;
        }
        let lock = entry.lock.load(Ordering::Relaxed);
        let address = entry.address.load(Ordering::Relaxed);
        if let Some(heir) = heir {
            let request = Request::begin(region, 0, 0);
            held::push(region, heir, lock, address, false, 0, &request);
        } else if is_acquire {
            locks::lock(region, lock).owner.store(0, Ordering::Relaxed);
        } else {
            events::record(region, task, What::EndedHolding, lock, 0, 0, false);
        }
    }
    let operations = task.operations.load(Ordering::Relaxed);
    thread.operations.fetch_add(operations, Ordering::Relaxed);
    task.operations.store(0, Ordering::Relaxed);
    task.state.store(threads::ENDED, Ordering::Release);
    known.number.store(0, Ordering::Relaxed);
    threads::give_back(region, task);
}

unsafe extern "C" fn deallocate(task: Object) {
    // SAFETY: the type's own function, with what the interpreter gave.
    unsafe {
        let real: Release = transmute(DEALLOCATE.load(Ordering::Relaxed));
        real(task);
    }
    if let Some(known) = table::find(task as u64) {
        let number = known.number.load(Ordering::Relaxed);
        if number != 0
            && let Some(inside) = threads::enter()
        {
            finish(&inside, known, number, false);
        }
        table::leave(known);
    }
}

unsafe extern "C" fn free(lock: Object) {
    if is_used() {
        gone(lock as u64);
    }
    // SAFETY: the class's own function, with what the interpreter gave.
    unsafe {
        let real: Release = transmute(FREE.load(Ordering::Relaxed));
        real(lock);
    }
}

/// The lock at an address, if one was seen there, is no more.
pub(super) fn gone(address: u64) {
    let Some((region, _)) = threads::present() else {
        return;
    };
    if let Some(number) = locks::end(region, address) {
        let owner = locks::lock(region, number).owner.load(Ordering::Relaxed);
        if owner != 0 {
            held::pop(region, &region.threads[owner as usize - 1], address, true);
        }
    }
}
