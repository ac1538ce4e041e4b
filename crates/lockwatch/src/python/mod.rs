//! Python's own locks: `_thread.lock` and `_thread.RLock`, and everything that is built from them
//! (`Condition`, `Semaphore`, `Event`, `Queue`).
//!
//! The methods of the two types are replaced in their descriptors. So the types stay the same,
//! locks that exist already are covered, and all code that calls the methods, even through `with`.
//! This happens when the interpreter is ready and first creates a lock or a thread.
//!
//! A Python lock differs from a mutex in one way: **another thread may release it**. A lock for
//! which this has happened, or which waits for it, is a notification (`Condition.wait` uses one):
//! it has no owner, and orders with it are ignored.

mod acquire;
mod acts;
mod birth;
mod blind;
mod codes;
mod counted;
mod embedding;
mod futures;
pub(crate) mod gil;
mod handles;
mod imports;
mod interface;
mod kept_stacks;
mod layout;
mod lines;
mod names;
mod semaphores;
mod stack;
mod tasks;
mod ways;

use std::ffi::{CStr, c_char, c_int};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};

use crate::interpreter::{self, Frames, Interpreter};
use crate::layout::{Kind, Thread};
use crate::log::{self, Request};
use crate::region::Region;
use crate::{held, locks, threads};
use acquire::{acquire, waits_forever};
use acts::{asked, failed, let_go, released_by_another, renew, taken, want, while_anothers};
use interface::{Interface, Object};
use ways::{Arguments, FAST, KEYWORDS, NOARGS, ONE, VARARGS, trampoline};

pub(crate) use semaphores::{keeps, makes_semaphores};

static INTERFACE: AtomicPtr<Interface> = AtomicPtr::new(ptr::null_mut());
/// 0: not looked for; 1: being looked for or installed; 2: done with, one way or the other.
static STATE: AtomicU32 = AtomicU32::new(0);

fn python() -> &'static Interface {
    // SAFETY: hooks run only once the leaked box is there.
    unsafe { &*INTERFACE.load(Ordering::Acquire) }
}

/// What a method does to its lock.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Acquire,
    /// By a `with` statement.
    Enter,
    Release,
    ReleaseAll,
    Restore,
    /// In a new child: the lock is free again, no matter who held it.
    Renew,
    /// Asks whether this thread holds it.
    Ask,
}

/// A method that was swapped.
struct Hook {
    act: Act,
    kind: Kind,
    real: AtomicUsize,
    /// The type's plain `acquire`, to try with.
    acquire: AtomicUsize,
    /// That takes its arguments as an array.
    acquire_is_fast: AtomicBool,
}

impl Hook {
    /// What is known as the lock: the object, or the semaphore behind it, which several objects
    /// and processes may have.
    #[inline]
    fn lock(&self, object: Object) -> Taken {
        let address = match self.kind {
            Kind::PythonSemaphore => semaphores::handle(object),
            _ => object as u64,
        };
        Taken {
            kind: self.kind,
            address,
            object,
        }
    }
}

/// A lock that a method is called of.
#[derive(Clone, Copy)]
struct Taken {
    kind: Kind,
    address: u64,
    object: Object,
}

/// The methods of all three types; each has some of them.
const METHODS: [(&CStr, Act); METHOD_COUNT] = [
    (c"acquire", Act::Acquire),
    (c"acquire_lock", Act::Acquire),
    (c"__enter__", Act::Enter),
    (c"release", Act::Release),
    (c"release_lock", Act::Release),
    (c"__exit__", Act::Release),
    (c"_release_save", Act::ReleaseAll),
    (c"_acquire_restore", Act::Restore),
    (c"_at_fork_reinit", Act::Renew),
    (c"_is_owned", Act::Ask),
];
const METHOD_COUNT: usize = 10;

/// The types, in the order of [`HOOKS`].
const LOCK: usize = 0;
const RECURSIVE: usize = 1;
const SEMAPHORE: usize = 2;

const fn hooks_of(kind: Kind) -> [Hook; METHOD_COUNT] {
    let mut hooks = [const {
        Hook {
            act: Act::Acquire,
            kind: Kind::PythonLock,
            real: AtomicUsize::new(0),
            acquire: AtomicUsize::new(0),
            acquire_is_fast: AtomicBool::new(false),
        }
    }; METHOD_COUNT];
    let mut number = 0;
    while number < METHOD_COUNT {
        hooks[number].act = METHODS[number].1;
        hooks[number].kind = kind;
        number += 1;
    }
    hooks
}

static HOOKS: [[Hook; METHOD_COUNT]; 3] = [
    hooks_of(Kind::PythonLock),
    hooks_of(Kind::PythonRecursive),
    hooks_of(Kind::PythonSemaphore),
];
static FREES: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];

type Free = unsafe extern "C" fn(Object);

/// `PyMethodDef`.
#[repr(C)]
struct Definition {
    name: *const c_char,
    function: usize,
    flags: c_int,
    doc: *const c_char,
}

/// The interpreter makes a lock, or the process a thread: a moment to look whether it is ready.
#[inline]
pub(crate) fn look() {
    if STATE.load(Ordering::Relaxed) == 0 {
        look_once();
    }
}

#[cold]
fn look_once() {
    let Some(inside) = threads::enter() else {
        return;
    };
    let found = INTERFACE.load(Ordering::Acquire);
    let interface = if found.is_null() {
        let Some(interface) = Interface::find() else {
            // No interpreter so far, or none that can be watched; one may be loaded later.
            return blind::tell_unfit();
        };
        semaphores::know_interpreter(&interface);
        let interface = Box::into_raw(Box::new(interface));
        INTERFACE.store(interface, Ordering::Release);
        interface
    } else {
        found
    };
    // SAFETY: a leaked box.
    let interface = unsafe { &*interface };
    // SAFETY: both may be asked at any time.
    if unsafe { (interface.is_initialized)() == 0 || (interface.has_gil)() == 0 } {
        return;
    }
    if STATE
        .compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed)
        .is_err()
    {
        return;
    }
    interpreter::found(&CPython);
    install(interface);
    blind::tell(interface);
    // SAFETY: the interpreter is ready, and this thread has its GIL.
    unsafe {
        gil::learn(interface, &inside);
        layout::find(interface);
    }
    drop(inside);
    STATE.store(2, Ordering::Release);
}

fn install(python: &Interface) {
    // SAFETY: the interpreter is ready and this thread holds the GIL; what is called is documented
    // to be called so, and every new reference is released or kept permanently.
    unsafe {
        let header = header_bytes(python);
        acquire::prepare(python);
        let module = (python.import)(c"_thread".as_ptr());
        if module.is_null() {
            return (python.clear_error)();
        }
        for (number, name) in [(LOCK, c"LockType"), (RECURSIVE, c"RLock")] {
            let class = (python.attribute)(module, name.as_ptr());
            if class.is_null() {
                (python.clear_error)();
                continue;
            }
            swap_methods(python, class, number, header);
            // `tp_dealloc` is behind the sizes and the name.
            let free = class.cast::<usize>().add(header / 8 + 4);
            FREES[number].store(free.read(), Ordering::Release);
            let ours: Free = if number == LOCK {
                free_lock::<0>
            } else {
                free_lock::<1>
            };
            free.write(ours as usize);
            birth::watch(class, number, header);
        }
        handles::watch(python, module, header);
        (python.release)(module);
        if embedding::prepare() {
            tasks::prepare(header);
        }
        codes::prepare(python, header);
    }
}

/// The interpreter, for the parts that know of none.
struct CPython;

impl Interpreter for CPython {
    fn frames(&self, region: &Region) -> Frames {
        if STATE.load(Ordering::Acquire) != 2 {
            return Frames::none();
        }
        stack::frames(python(), region)
    }

    fn stack(&self, region: &Region) -> u32 {
        if STATE.load(Ordering::Acquire) != 2 {
            return 0;
        }
        stack::keep(python(), region)
    }

    /// One of a condition's waiters, or the lock that reports a thread's life
    /// (`Thread._tstate_lock`, until Python 3.12).
    fn flavour(&self, region: &Region) -> u32 {
        blind::look(python());
        // SAFETY: a method of a lock runs with the interpreter ready and the thread attached.
        unsafe { layout::find(python()) };
        stack::flavour(python(), region)
    }

    fn is_locked_task(&self, region: &Region) -> bool {
        tasks::mixed::is_locked(region)
    }

    /// As one is by each import of a module.
    fn met_lock(&self) {
        if STATE.load(Ordering::Relaxed) == 2 {
            counted::look();
            tasks::look();
        }
    }

    fn is_ending(&self) -> bool {
        // SAFETY: it may be asked at any time.
        STATE.load(Ordering::Acquire) == 2 && unsafe { (python().is_initialized)() == 0 }
    }

    fn after_fork(&self, region: &Region, thread: &Thread) {
        gil::after_fork(region, thread);
    }
}

/// In a new child what was learnt about the parent is forgotten: its tasks, where its texts are.
pub(crate) fn forget() {
    codes::forget();
    kept_stacks::forget();
    tasks::forget();
}

/// The bytes of an object's head: larger where the interpreter runs without the GIL.
unsafe fn header_bytes(python: &Interface) -> usize {
    // SAFETY: the version is a constant text.
    let version = unsafe { CStr::from_ptr((python.version)()) };
    let is_free = version
        .to_bytes()
        .windows(14)
        .any(|part| part == b"free-threading");
    if is_free { 32 } else { 16 }
}

/// The definition of a method that is written in C; none where a type does not have it.
///
/// # Safety
///
/// The thread holds the GIL; objects have heads of `header` bytes.
unsafe fn definition(
    python: &Interface,
    class: Object,
    name: &CStr,
    header: usize,
) -> Option<*mut Definition> {
    // SAFETY: a type's attribute is asked for; a method comes back as its descriptor, of which the
    // type is the last word of the head. The definition behind it stays without the descriptor.
    unsafe {
        let descriptor = (python.attribute)(class, name.as_ptr());
        if descriptor.is_null() {
            (python.clear_error)();
            return None;
        }
        let its_type = descriptor.cast::<Object>().add(header / 8 - 1).read();
        let found = (its_type == python.method_descriptor).then(|| {
            let at = descriptor.cast::<*mut Definition>().add(header / 8 + 3);
            at.read()
        });
        (python.release)(descriptor);
        found
    }
}

unsafe fn swap_methods(python: &Interface, class: Object, number: usize, header: usize) {
    // SAFETY: the caller's promise.
    let definitions = METHODS.map(|(name, _)| unsafe { definition(python, class, name, header) });
    let hooks = &HOOKS[number];
    let Some(acquire) = definitions[0] else {
        return;
    };
    for (position, definition) in definitions.into_iter().enumerate() {
        let Some(definition) = definition else {
            continue;
        };
        // SAFETY: definitions are static arrays of the interpreter, which writes them never.
        unsafe {
            let flags = (*definition).flags & (VARARGS | KEYWORDS | NOARGS | ONE | FAST);
            let Some(ours) = trampoline(number, position, flags) else {
                continue;
            };
            let hook = &hooks[position];
            let way = (*acquire).flags & (VARARGS | KEYWORDS | FAST);
            if way == VARARGS | KEYWORDS || way == FAST | KEYWORDS {
                hook.acquire_is_fast
                    .store(way & FAST != 0, Ordering::Relaxed);
                let real = hooks[0].real.load(Ordering::Acquire);
                let acquire = if real == 0 { (*acquire).function } else { real };
                hook.acquire.store(acquire, Ordering::Release);
            }
            hook.real.store((*definition).function, Ordering::Release);
            (*definition).function = ours;
        }
    }
}

unsafe extern "C" fn free_lock<const T: usize>(lock: Object) {
    // Collected at any moment, from within this library too: when it captures a stack, the
    // interpreter may collect garbage.
    if let Some((region, thread)) = threads::present() {
        let address = lock as u64;
        held::pop(region, thread, address, true);
        if let Some(number) = locks::end(region, address)
            && locks::is_guard(region, number)
        {
            counted::end(region, address);
        }
        if T == RECURSIVE {
            futures::set(region, address);
        }
    }
    // SAFETY: the type's own function, with what the interpreter gave.
    unsafe {
        let real: Free = std::mem::transmute(FREES[T].load(Ordering::Relaxed));
        real(lock);
    }
}

#[inline]
fn around(hook: &Hook, lock: Object, arguments: &Arguments, call: impl Fn() -> Object) -> Object {
    let lock = hook.lock(lock);
    match hook.act {
        Act::Acquire | Act::Enter if waits_forever(hook.kind, arguments) => {
            acquire(hook, lock, &call)
        }
        Act::Acquire | Act::Enter => {
            let request = Request::outside(0, log::TRIED);
            let result = call();
            if result == python().yes {
                taken(lock, &request);
            } else if !result.is_null() {
                failed(lock, &request);
            }
            result
        }
        Act::Restore => {
            want(lock);
            futures::give_away(0);
            let request = Request::outside(0, log::AFTER_WAIT);
            let result = while_anothers(lock, call);
            if !result.is_null() {
                taken(lock, &request);
            }
            result
        }
        Act::Ask => {
            asked(lock);
            call()
        }
        Act::Renew => {
            let result = call();
            renew(lock);
            result
        }
        Act::Release | Act::ReleaseAll => {
            let before = let_go(lock, hook.act == Act::ReleaseAll);
            if hook.act == Act::ReleaseAll {
                futures::give_away(lock.address);
            }
            let result = call();
            match (before, result.is_null()) {
                // It was not released: the thread holds it still.
                (true, true) => taken(lock, &Request::default()),
                (false, false) => released_by_another(lock),
                _ => {}
            }
            result
        }
    }
}
