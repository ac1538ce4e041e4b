//! The steps of tasks.

use std::cell::Cell;
use std::ffi::c_int;
use std::mem::transmute;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::slots::{SEND, Slot, slot};
use super::{COMPLETE, NOT_MET, STATE, WATCHED, current, life, python};
use crate::python::interface::Object;
use crate::python::{FAST, definition};
use crate::threads;

type Throw = unsafe extern "C" fn(Object, *const Object, isize) -> Object;
type Send = unsafe extern "C" fn(Object, Object, *mut Object) -> c_int;

/// `PYGEN_NEXT`: the coroutine waits for something; else it has ended.
const NEXT: c_int = 1;

static REAL: AtomicUsize = AtomicUsize::new(0);
static THROW: AtomicUsize = AtomicUsize::new(0);

/// Which task runs, as far as this thread knows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Runs {
    /// Between steps; or within one that is not a coroutine's own, and so is not seen to end.
    Outside,
    /// Within a step, and not asked for yet.
    Unasked,
    /// This one, until the step ends.
    Task(Object),
}

thread_local! {
    static RUNS: Cell<Runs> = const { Cell::new(Runs::Outside) };
}

/// # Safety
///
/// `class` is the type of coroutines, whose head has `header` bytes.
pub(super) unsafe fn swap(class: Object, header: usize) {
    // SAFETY: the caller's promise; the functions behind the type are written by nobody else.
    unsafe {
        let functions = slot(class, header, Slot::AsAsync).read() as *mut usize;
        if !functions.is_null() {
            REAL.store(functions.add(SEND).read(), Ordering::Release);
            functions.add(SEND).write(step as *const () as usize);
        }
        swap_throw(class, header);
    }
}

/// In a new child: the task that forked runs on, and is asked for again.
pub(super) fn forget() {
    if matches!(RUNS.get(), Runs::Task(_)) {
        RUNS.set(Runs::Unasked);
    }
}

/// Swaps `throw`, by which a task that is cancelled makes a step.
///
/// # Safety
///
/// The same.
unsafe fn swap_throw(class: Object, header: usize) {
    // SAFETY: the caller's promise; the definition is written by nobody else.
    unsafe {
        if let Some(definition) = definition(crate::python::python(), class, c"throw", header)
            && (*definition).flags == FAST
        {
            THROW.store((*definition).function, Ordering::Release);
            (*definition).function = throw as *const () as usize;
        }
    }
}

unsafe extern "C" fn throw(coroutine: Object, arguments: *const Object, count: isize) -> Object {
    // SAFETY: the type's own function, with what the interpreter gave.
    let go_on = || unsafe {
        let real: Throw = transmute(THROW.load(Ordering::Relaxed));
        real(coroutine, arguments, count)
    };
    let outer = RUNS.get();
    let is_inner = outer != Runs::Outside && !super::has_eager_tasks();
    if is_inner || STATE.load(Ordering::Relaxed) != COMPLETE || !life::is_used() {
        return go_on();
    }
    RUNS.set(Runs::Unasked);
    let result = go_on();
    if result.is_null() {
        end(coroutine);
    }
    RUNS.set(outer);
    result
}

unsafe extern "C" fn step(coroutine: Object, value: Object, result: *mut Object) -> c_int {
    if matches!(STATE.load(Ordering::Relaxed), NOT_MET | WATCHED) {
        super::arrive();
    }
    // SAFETY: the type's own function, with what the interpreter gave.
    let go_on = || unsafe {
        let real: Send = transmute(REAL.load(Ordering::Relaxed));
        real(coroutine, value, result)
    };
    let outer = RUNS.get();
    if outer != Runs::Outside && !super::has_eager_tasks() {
        // Until Python 3.11 coroutines that others wait for come by here too.
        return go_on();
    }
    RUNS.set(Runs::Unasked);
    let status = go_on();
    if status != NEXT && STATE.load(Ordering::Relaxed) == COMPLETE && life::is_used() {
        end(coroutine);
    }
    RUNS.set(outer);
    status
}

/// Whether this thread makes a step of a task.
#[inline]
pub(super) fn is_within() -> bool {
    RUNS.get() != Runs::Outside
}

/// The task that runs, if it is known without asking for it.
pub(super) fn known() -> Option<Object> {
    match RUNS.get() {
        Runs::Task(task) => Some(task),
        _ => None,
    }
}

/// The task that runs, asked for once a step; null without one.
pub(super) fn running() -> Object {
    match RUNS.get() {
        Runs::Task(task) => task,
        Runs::Unasked => {
            let task = current();
            RUNS.set(Runs::Task(task));
            task
        }
        Runs::Outside => current(),
    }
}

/// A coroutine has ended; if it is the running task's own, the task has ended too.
#[cold]
fn end(coroutine: Object) {
    let Some(inside) = threads::enter() else {
        return;
    };
    let python = python();
    let mut error = [ptr::null_mut(); 3];
    // SAFETY: a step ends with the GIL held; what it raised is put back.
    unsafe {
        let [kind, value, trace] = &mut error;
        (python.take_error)(kind, value, trace);
        life::end(&inside, running(), coroutine);
        (python.give_error)(error[0], error[1], error[2]);
    }
}
