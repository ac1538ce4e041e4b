//! The parts of an interpreter that are not seen, noted when they are used: its version, whether
//! the methods of its locks were found, `queue.SimpleQueue`, and interpreters other than the first.

use std::ffi::{CStr, c_char};
use std::sync::atomic::{AtomicIsize, AtomicU32, AtomicUsize, Ordering};

use super::interface::{Interface, Object, function};
use super::{HOOKS, LOCK, RECURSIVE, definition, header_bytes};
use crate::notes::{self, Kind};
use crate::threads::{self, Inside};
use crate::{clock, clocks};

/// Bits: `SimpleQueue` is watched for; noted were its use, several interpreters, an interpreter
/// that cannot be watched, a semaphore of `threading`, and each of [`SCHEDULERS`].
static STATE: AtomicU32 = AtomicU32::new(0);
const QUEUE: u32 = 1;
const USED: u32 = 2;
const SEVERAL: u32 = 4;
const UNFIT: u32 = 8;
const SEMAPHORE: u32 = 16;
const FIRST_SCHEDULER: u32 = 32;

/// Modules that schedule by themselves, with locks of Python code.
const SCHEDULERS: [&CStr; 4] = [c"trio", c"anyio", c"gevent", c"eventlet"];

/// How many modules there were at the last look.
static MODULES: AtomicIsize = AtomicIsize::new(0);

/// The methods by which something goes through a queue, and their functions. The first two take.
const METHODS: [&CStr; 4] = [c"get", c"get_nowait", c"put", c"put_nowait"];
const TAKING: usize = 2;
static REAL: [AtomicUsize; 4] = [const { AtomicUsize::new(0) }; 4];

/// Notes the interpreter's version, and whether both types' ways of taking and releasing were
/// found.
pub(super) fn tell(python: &Interface) {
    let is_whole = [LOCK, RECURSIVE].into_iter().all(|class| {
        let [acquire, _, _, release, ..] = &HOOKS[class];
        acquire.real.load(Ordering::Relaxed) != 0 && release.real.load(Ordering::Relaxed) != 0
    });
    // SAFETY: the version is a constant text.
    let version = unsafe { CStr::from_ptr((python.version)()) };
    let flags = if is_whole { "-" } else { "i" };
    notes::note(Kind::Python, clock::now(), flags, version.to_bytes());
}

/// There is no interpreter with all that is needed; notes one that lacks something.
pub(super) fn tell_unfit() {
    type Version = unsafe extern "C" fn() -> *const c_char;
    // SAFETY: the name ends with a zero; the function has this type in every version.
    let version = unsafe { function::<Version>(c"Py_GetVersion") };
    if let Some(version) = version
        && STATE.fetch_or(UNFIT, Ordering::Relaxed) & UNFIT == 0
    {
        // SAFETY: it may be asked at any time; the version is a constant text.
        let version = unsafe { CStr::from_ptr(version()) };
        notes::note(Kind::Python, clock::now(), "i", version.to_bytes());
    }
}

/// A Python lock is seen for the first time: check for modules. The thread holds the GIL.
#[cold]
pub(super) fn look(python: &Interface) {
    let state = STATE.load(Ordering::Relaxed);
    // SAFETY: the table of modules is borrowed, and the thread holds the GIL.
    let modules = unsafe { (python.dict_size)((python.modules)()) };
    if MODULES.swap(modules, Ordering::Relaxed) != modules {
        if state & QUEUE == 0 {
            look_for_queue(python);
        }
        look_for_schedulers(python);
    }
    // SAFETY: the list of interpreters changes under the GIL that this thread holds.
    let several = state & SEVERAL == 0
        && unsafe { !(python.next_interpreter)((python.newest_interpreter)()).is_null() };
    if several && STATE.fetch_or(SEVERAL, Ordering::Relaxed) & SEVERAL == 0 {
        notes::note(Kind::Used, clock::now(), "-", b"interpreters");
    }
}

/// A semaphore of `threading` is taken; once is enough.
#[inline]
pub(super) fn note_semaphore() {
    if STATE.load(Ordering::Relaxed) & SEMAPHORE == 0
        && STATE.fetch_or(SEMAPHORE, Ordering::Relaxed) & SEMAPHORE == 0
    {
        notes::note(Kind::Used, clock::now(), "-", b"Semaphore");
    }
}

/// Notes modules that have their own kinds of locks or threads.
fn look_for_schedulers(python: &Interface) {
    for (number, name) in SCHEDULERS.into_iter().enumerate() {
        let bit = FIRST_SCHEDULER << number;
        if STATE.load(Ordering::Relaxed) & bit != 0 {
            continue;
        }
        // SAFETY: the table and the item that is found are borrowed; the thread holds the GIL.
        let is_there = unsafe { !(python.dict_item)((python.modules)(), name.as_ptr()).is_null() };
        if is_there && STATE.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            notes::note(Kind::Used, clock::now(), "-", name.to_bytes());
        }
    }
}

/// Stands before the methods of `SimpleQueue`. The module is not
/// imported here: it may be there or not.
fn look_for_queue(python: &Interface) {
    // SAFETY: the thread holds the GIL; the module is borrowed from the table of modules; new
    // references are released.
    unsafe {
        let module = (python.dict_item)((python.modules)(), c"_queue".as_ptr());
        if module.is_null() {
            return;
        }
        let class = (python.attribute)(module, c"SimpleQueue".as_ptr());
        if class.is_null() {
            // The module is being imported: later.
            return (python.clear_error)();
        }
        if STATE.fetch_or(QUEUE, Ordering::AcqRel) & QUEUE != 0 {
            return (python.release)(class);
        }
        let header = header_bytes(python);
        for (number, name) in METHODS.into_iter().enumerate() {
            if let Some(definition) = definition(python, class, name, header) {
                REAL[number].store((*definition).function, Ordering::Release);
                let ours = [used::<0>, used::<1>, used::<2>, used::<3>][number] as Any;
                (*definition).function = ours as usize;
            }
        }
        (python.release)(class);
    }
}

type Any = unsafe extern "C" fn(usize, usize, usize, usize, usize, usize) -> Object;

/// In a method's place; passes on as many words as any way of calling has. A thread that puts
/// something into a queue notifies the thread that gets it.
unsafe extern "C" fn used<const M: usize>(
    one: usize,
    two: usize,
    three: usize,
    four: usize,
    five: usize,
    six: usize,
) -> Object {
    if STATE.fetch_or(USED, Ordering::Relaxed) & USED == 0 {
        notes::note(Kind::Used, clock::now(), "-", b"SimpleQueue");
    }
    let queue = one as u64;
    if M >= TAKING
        && let Some(Inside { region, thread }) = threads::enter().as_ref()
    {
        clocks::hand_over(region, thread, queue);
    }
    // SAFETY: the method's own function, with what the interpreter gave.
    let result = unsafe {
        let real: Any = std::mem::transmute(REAL[M].load(Ordering::Acquire));
        real(one, two, three, four, five, six)
    };
    if M < TAKING
        && !result.is_null()
        && let Some(Inside { region, thread }) = threads::enter().as_ref()
    {
        clocks::receive(region, thread, queue);
    }
    result
}
