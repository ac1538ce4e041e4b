//! The locks of asyncio; a task counts as a thread.
//!
//! A task is an entry among the region's threads, with the locks that it holds and the one that it
//! waits for. So everything that is computed for threads is computed for tasks too. This is how
//! tasks are watched:
//!
//! * **Steps.** A task runs in steps, and each step sends something into its coroutine through the
//!   coroutine type's `am_send`. This slot is replaced when the interpreter is ready; a program
//!   without tasks never calls it. The end of a step also shows whether the task has ended.
//! * **asyncio itself** is not imported, but found after the program has imported it: when a new
//!   Python lock is seen, because each import creates one, and at the latest at the first step.
//! * **Locks.** `asyncio.Lock` is written in Python. Some Python code (`watch.py`, part of this
//!   library) gives its methods new code, which calls the functions of [`functions`]. The class,
//!   its methods and references to them stay the same objects.
//! * **Creation and end.** `tp_init` and `tp_dealloc` of `_asyncio.Task` show who created a task
//!   and that it is gone, and `tp_free` of the lock's class shows that a lock is gone.
//!
//! There are these differences from threads. All tasks of a loop share one thread, and asyncio is
//! asked which of them runs. If a task only takes a lock (`create_task(lock.acquire())`, `wait_for`
//! until Python 3.11), the task that created it holds the lock. If another task or a callback
//! releases a lock, this lock is a notification from then on.
//!
//! Not seen: locks of other libraries (`anyio.Lock`, `trio`), and who created a task that is not
//! one of asyncio's own tasks in C.

mod functions;
mod joins;
mod life;
pub(super) mod mixed;
mod slots;
mod steps;
mod table;

use std::ffi::CStr;
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::embedding::{self, Interface};
use super::interface::Object;
use crate::threads;

const SOURCE: &str = concat!(include_str!("watch.py"), "\0");

static HEADER: AtomicUsize = AtomicUsize::new(16);

const NOT_MET: u32 = 0;
const AT_WORK: u32 = 1;
const FAILED: u32 = 2;
/// Its locks are.
const WATCHED: u32 = 3;
/// And its time limits, which it has imported later.
const COMPLETE: u32 = 4;
/// How far asyncio is watched.
static STATE: AtomicU32 = AtomicU32::new(NOT_MET);

/// `watch_limits` of `watch.py`.
static COMPLETES: AtomicUsize = AtomicUsize::new(0);

/// Which task runs: in the dictionary by the running loop, or what the function says where there
/// is no such dictionary (from Python 3.14 on).
static RUNNING_LOOP: AtomicUsize = AtomicUsize::new(0);
static CURRENT_TASKS: AtomicUsize = AtomicUsize::new(0);
static CURRENT_TASK: AtomicUsize = AtomicUsize::new(0);

fn python() -> &'static Interface {
    embedding::interface().expect("hooks are set only once it is there")
}

/// The interpreter is ready: from now on a task's first step is noticed.
///
/// # Safety
///
/// The thread holds the GIL; objects have heads of `header` bytes.
pub(super) unsafe fn prepare(header: usize) {
    let Some(python) = embedding::interface() else {
        return;
    };
    HEADER.store(header, Ordering::Relaxed);
    let class = python.coroutine_type;
    table::open();
    // SAFETY: the caller's promise, and the interpreter's own type.
    unsafe { steps::swap(class, header) };
}

/// In a new child nothing is known of its tasks yet.
pub(super) fn forget() {
    if embedding::interface().is_some() {
        table::open();
        steps::forget();
    }
}

/// A task makes a step, for the first time: all of asyncio is there, or the coroutine is somebody
/// else's.
#[cold]
fn arrive() {
    let Some(_inside) = threads::enter() else {
        return;
    };
    look();
    if STATE.load(Ordering::Relaxed) == WATCHED {
        STATE.store(COMPLETE, Ordering::Relaxed);
        let python = python();
        // SAFETY: a step is made with the GIL held and no error set.
        unsafe {
            let done = (python.call)(COMPLETES.load(Ordering::Acquire) as Object);
            if done.is_null() {
                (python.clear_error)();
            } else {
                (python.release)(done);
            }
        }
    }
}

/// Looks whether asyncio is there, within the library, the GIL held and no error set.
pub(super) fn look() {
    if STATE.load(Ordering::Relaxed) != NOT_MET || embedding::interface().is_none() {
        return;
    }
    let state = STATE.compare_exchange(NOT_MET, AT_WORK, Ordering::AcqRel, Ordering::Relaxed);
    if state.is_err() {
        return;
    }
    // SAFETY: the caller's promise.
    let found = unsafe { watch() };
    if found == FAILED {
        // SAFETY: the same.
        unsafe { (python().clear_error)() };
    }
    STATE.store(found, Ordering::Release);
}

/// Swaps what is to be swapped; gives the state that comes of it.
unsafe fn watch() -> u32 {
    let python = python();
    // SAFETY: the caller holds the GIL. Borrowed references stay the interpreter's, new ones are
    // kept permanently: this happens once.
    unsafe {
        let locks = embedding::module(python, c"asyncio.locks");
        let accelerated = embedding::module(python, c"_asyncio");
        let (Some(locks), Some(accelerated)) = (locks, accelerated) else {
            return NOT_MET;
        };
        if !learn_current(python, accelerated) {
            return FAILED;
        }
        let Some(names) = embedding::run(python, SOURCE, &functions::DEFINITIONS) else {
            return FAILED;
        };
        for (name, place) in [
            (c"is_limited", &life::IS_LIMITED),
            (c"watch_limits", &COMPLETES),
        ] {
            let function = (python.dict_named)(names, name.as_ptr());
            place.store(function as usize, Ordering::Release);
        }
        let header = HEADER.load(Ordering::Relaxed);
        if let Some(class) = life::swap(python, accelerated, locks, header) {
            joins::swap(python, names, class, header);
        }
        WATCHED
    }
}

unsafe fn learn_current(python: &Interface, accelerated: Object) -> bool {
    // SAFETY: the caller's promise; the references are kept.
    unsafe {
        let find = |name: &CStr, place: &AtomicUsize| {
            let found = (python.attribute)(accelerated, name.as_ptr());
            if found.is_null() {
                (python.clear_error)();
            }
            place.store(found as usize, Ordering::Release);
            !found.is_null()
        };
        let has_dict = find(c"_current_tasks", &CURRENT_TASKS);
        let has_function = find(c"current_task", &CURRENT_TASK);
        find(c"_get_running_loop", &RUNNING_LOOP) && (has_dict || has_function)
    }
}

/// Whether a task may make a step within another's (since Python 3.12).
fn has_eager_tasks() -> bool {
    CURRENT_TASK.load(Ordering::Relaxed) != 0
}

/// The task that runs on this thread, which holds the GIL and has no error set; null without one.
/// Borrowed: it lives while it runs.
fn current() -> Object {
    let python = python();
    // SAFETY: the caller's promise; a new reference is released, and the loop and its task live
    // while they run.
    unsafe {
        let tasks = CURRENT_TASKS.load(Ordering::Relaxed) as Object;
        let function = if tasks.is_null() {
            CURRENT_TASK.load(Ordering::Relaxed)
        } else {
            RUNNING_LOOP.load(Ordering::Relaxed)
        };
        let told = (python.call)(function as Object);
        if told.is_null() {
            (python.clear_error)();
            return told;
        }
        (python.release)(told);
        if told == python.none || tasks.is_null() {
            return if told == python.none {
                ptr::null_mut()
            } else {
                told
            };
        }
        (python.dict_item)(tasks, told)
    }
}
