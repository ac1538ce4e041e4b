//! Waiting for a task: what a task did comes before all that another task does after it has waited
//! for it.
//!
//! When a task ends, the callbacks that it is going to call show which tasks continue. A task may
//! also be awaited after it has ended.

use std::mem::transmute;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::slots::{AWAIT, Slot, slot};
use super::table::Known;
use super::{life, python, steps, table};
use crate::layout::Thread;
use crate::python::embedding::Interface;
use crate::python::interface::Object;
use crate::region::Region;
use crate::threads::{self, Inside};

/// `woken` of `watch.py`.
static WOKEN: AtomicUsize = AtomicUsize::new(0);
static REAL: AtomicUsize = AtomicUsize::new(0);

type Await = unsafe extern "C" fn(Object) -> Object;

/// Learns the function of `watch.py`, and swaps the slot by which a task is awaited.
///
/// # Safety
///
/// The thread holds the GIL; `class` is the type of tasks, whose head has `header` bytes.
pub(super) unsafe fn swap(python: &Interface, names: Object, class: Object, header: usize) {
    // SAFETY: the caller's promise; a borrowed reference, of a dictionary that is kept.
    unsafe {
        let woken = (python.dict_named)(names, c"woken".as_ptr());
        WOKEN.store(woken as usize, Ordering::Release);
        let functions = slot(class, header, Slot::AsAsync).read() as *mut usize;
        if !functions.is_null() {
            REAL.store(functions.add(AWAIT).read(), Ordering::Release);
            functions.add(AWAIT).write(wait_for as *const () as usize);
        }
    }
}

/// A task that is named in a record has ended: the tasks that wait for it have joined it.
///
/// # Safety
///
/// The thread holds the GIL and has no error set; the task is alive.
pub(super) unsafe fn end(inside: &Inside, known: &Known, task: Object, place: u32) {
    let python = python();
    known.ended.store(place, Ordering::Relaxed);
    let function = WOKEN.load(Ordering::Acquire) as Object;
    if function.is_null() {
        return;
    }
    // SAFETY: the caller's promise; the list is ours, what is in it borrowed from it.
    unsafe {
        let woken = (python.call_with)(function, task);
        if woken.is_null() {
            return (python.clear_error)();
        }
        if (python.list_size)(woken) > 0 {
            join(inside, known, (python.list_item)(woken, 0));
        }
        (python.release)(woken);
    }
}

/// From here on a task's orders are later than all of the ended one's.
fn join(inside: &Inside, known: &Known, joiner: Object) {
    let Inside { region, .. } = inside;
    let place = known.ended.swap(0, Ordering::Relaxed);
    if place != 0
        && let Some(joiner) = life::place(inside, joiner)
    {
        join_thread(region, &region.threads[place as usize - 1], joiner);
    }
}

fn join_thread(region: &Region, ended: &Thread, joiner: &Thread) {
    let moment = region.header.segments.fetch_add(2, Ordering::Relaxed) + 1;
    ended.joined.store(moment, Ordering::Relaxed);
    let number = threads::keep(region, joiner) + 1;
    ended.joiner.store(number, Ordering::Release);
    joiner.segment.store(moment + 1, Ordering::Relaxed);
}

unsafe extern "C" fn wait_for(task: Object) -> Object {
    if life::is_used()
        && let Some(known) = table::find(task as u64)
        && known.ended.load(Ordering::Relaxed) != 0
        && let Some(inside) = threads::enter()
    {
        join(&inside, known, steps::running());
    }
    // SAFETY: the type's own function, with what the interpreter gave.
    unsafe {
        let real: Await = transmute(REAL.load(Ordering::Relaxed));
        real(task)
    }
}
