//! Threads, forked children and the interpreter's exit, as far as native code must know of them.
//!
//! A thread is known by a number of its own. A forked child has one thread, and gives it a new
//! number: everything that belongs to the parent's loop then belongs to another thread, and is
//! left alone.
//!
//! At the interpreter's exit CPython (up to 3.13) ends every thread that asks for the GIL, with
//! `pthread_exit`, which unwinds the thread's stack; a Rust frame on it aborts the whole process.
//! So native code that has released the GIL does not ask for it after the exit has begun: such a
//! thread waits for the process to end, as threads of CPython 3.14 do. But a handler that runs at
//! that moment, and any Python code that we call, asks for the GIL in the interpreter's own code,
//! where we cannot prevent it. Such a thread is stopped when the unwinding reaches our call, and
//! waits there. `calls` makes every call of a Python object in this way.

use crate::calls::Invoke as _;
use crate::imports;
use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

static NEXT_THREAD: AtomicUsize = AtomicUsize::new(1);
static IS_EXITING: AtomicBool = AtomicBool::new(false);
static HAS_GIL: AtomicBool = AtomicBool::new(true);
/// Threads between the check of `IS_EXITING` and having the GIL.
static ATTACHING: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static THREAD: Cell<usize> = const { Cell::new(0) };
}

/// The number of the current thread; no other thread has or had it.
#[inline]
pub(crate) fn this_thread() -> usize {
    let number = THREAD.get();
    if number == 0 { new_number() } else { number }
}

#[cold]
fn new_number() -> usize {
    let number = NEXT_THREAD.fetch_add(1, Ordering::Relaxed);
    THREAD.set(number);
    number
}

/// Whether this interpreter has a GIL: a build without one can be run with it, and counts as
/// without.
#[inline]
pub(crate) fn has_gil() -> bool {
    HAS_GIL.load(Ordering::Relaxed)
}

extern "C" fn forked() {
    new_number();
}

/// Run `wait` without the GIL. It must not touch any Python object.
pub(crate) fn detached<T>(_py: Python<'_>, wait: impl FnOnce() -> T) -> T {
    // SAFETY: attached, as the token says; the thread state is given back below.
    let state = Detached(unsafe { ffi::PyEval_SaveThread() });
    let result = wait();
    drop(state);
    result
}

/// A thread's state while it does not have the GIL, which it asks for at the end: a panic too
/// becomes an exception, and that takes having it.
struct Detached(*mut ffi::PyThreadState);

impl Drop for Detached {
    #[inline]
    fn drop(&mut self) {
        ATTACHING.fetch_add(1, Ordering::SeqCst);
        if IS_EXITING.load(Ordering::SeqCst) {
            ATTACHING.fetch_sub(1, Ordering::SeqCst);
            loop {
                std::thread::park();
            }
        }
        // SAFETY: the state of this thread, from `PyEval_SaveThread`.
        unsafe { ffi::PyEval_RestoreThread(self.0) };
        ATTACHING.fetch_sub(1, Ordering::SeqCst);
    }
}

type Vectorcall = unsafe extern "C-unwind" fn(
    callable: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    flags: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject;

/// A function that may unwind. `ffi` declares that it does not, and where both declarations are
/// linked into one program the optimiser believes that of all calls by name: so it is called by its
/// address.
struct MayUnwind(Vectorcall);

macro_rules! may_unwind {
    ($function:ident) => {
        // SAFETY: `ffi` declares the same function, with the same arguments.
        MayUnwind(unsafe {
            std::mem::transmute::<*const (), Vectorcall>(ffi::$function as *const ())
        })
    };
}

static VECTORCALL: MayUnwind = may_unwind!(PyObject_Vectorcall);
static VECTORCALL_DICT: MayUnwind = may_unwind!(PyObject_VectorcallDict);
static VECTORCALL_METHOD: MayUnwind = may_unwind!(PyObject_VectorcallMethod);

/// What is called.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    /// An object.
    Object,
    /// An object, with a dict of keyword arguments.
    Dict,
    /// The method of that name of the first argument.
    Method,
}

/// Dropped only when the interpreter's exit unwinds this thread's stack.
struct WaitForEnd;

impl Drop for WaitForEnd {
    fn drop(&mut self) {
        // A panic of ours is another matter.
        while !std::thread::panicking() {
            std::thread::park();
        }
    }
}

/// Call a function of a program's, by the vectorcall protocol (PEP 590).
///
/// # Safety
/// As for `PyObject_Vectorcall`: attached, with valid objects.
#[inline]
pub(crate) unsafe fn vectorcall(
    callable: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    flags: usize,
) -> *mut ffi::PyObject {
    // SAFETY: by contract.
    unsafe {
        call(
            Way::Object,
            callable,
            arguments,
            flags,
            std::ptr::null_mut(),
        )
    }
}

/// Call what `way` says, by the vectorcall protocol; every call of Python code is made here.
///
/// # Safety
/// As for `PyObject_Vectorcall`, `PyObject_VectorcallDict` and `PyObject_VectorcallMethod`.
#[inline]
pub(crate) unsafe fn call(
    way: Way,
    called: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    flags: usize,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let function = match way {
        Way::Object => &VECTORCALL,
        Way::Dict => &VECTORCALL_DICT,
        Way::Method => &VECTORCALL_METHOD,
    };
    let unwound = WaitForEnd;
    // SAFETY: by contract; a volatile read hides from the optimiser which function it is.
    let result = unsafe {
        let function = std::ptr::addr_of!(function.0).read_volatile();
        function(called, arguments, flags, keywords)
    };
    std::mem::forget(unwound);
    result
}

type OfIterator = unsafe extern "C-unwind" fn(
    iterator: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult;

/// The same for coroutines.
// SAFETY: `ffi` declares the same function, with the same arguments.
static ITERATE: OfIterator =
    unsafe { std::mem::transmute::<*const (), OfIterator>(ffi::PyIter_Send as *const ()) };

/// What a step of a coroutine has come to.
pub(crate) enum Iterated {
    /// It waits for this.
    Next(Py<PyAny>),
    Returned(Py<PyAny>),
    Raised(PyErr),
}

/// Let a coroutine take a step.
///
/// # Safety
/// Attached, with valid objects.
pub(crate) unsafe fn iterate(
    py: Python<'_>,
    iterator: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
) -> Iterated {
    let mut result = std::ptr::null_mut();
    let unwound = WaitForEnd;
    // SAFETY: by contract; for the volatile read see `call`.
    let sent = unsafe {
        let function = std::ptr::addr_of!(ITERATE).read_volatile();
        function(iterator, value, &raw mut result)
    };
    std::mem::forget(unwound);
    // SAFETY: an owned reference, unless it has raised.
    let result = unsafe { Bound::from_owned_ptr_or_opt(py, result) };
    match (sent, result) {
        (ffi::PySendResult::PYGEN_NEXT, Some(awaited)) => Iterated::Next(awaited.unbind()),
        (ffi::PySendResult::PYGEN_RETURN, Some(value)) => Iterated::Returned(value.unbind()),
        _ => Iterated::Raised(PyErr::fetch(py)),
    }
}

type OfObject = unsafe extern "C-unwind" fn(*mut ffi::PyObject) -> *mut ffi::PyObject;
type OfName =
    unsafe extern "C-unwind" fn(*mut ffi::PyObject, *mut ffi::PyObject) -> *mut ffi::PyObject;
type Release = unsafe extern "C-unwind" fn(*mut ffi::PyObject);

/// Other functions that may unwind, as for `MayUnwind`.
struct Others {
    repr: OfObject,
    text: OfObject,
    attribute: OfName,
    release: Release,
}

// SAFETY: `ffi` declares the same functions, with the same arguments.
static OTHERS: Others = unsafe {
    Others {
        repr: std::mem::transmute::<*const (), OfObject>(ffi::PyObject_Repr as *const ()),
        text: std::mem::transmute::<*const (), OfObject>(ffi::PyObject_Str as *const ()),
        attribute: std::mem::transmute::<*const (), OfName>(ffi::PyObject_GetAttr as *const ()),
        release: std::mem::transmute::<*const (), Release>(ffi::Py_DecRef as *const ()),
    }
};

/// What of an object's is asked for.
#[derive(Clone, Copy)]
pub(crate) enum Asked {
    Repr,
    Text,
    /// The attribute of this name.
    Attribute(*mut ffi::PyObject),
}

/// Ask an object, whose class may answer with Python code.
///
/// # Safety
/// Attached, with valid objects.
pub(crate) unsafe fn ask(object: *mut ffi::PyObject, asked: Asked) -> *mut ffi::PyObject {
    let unwound = WaitForEnd;
    // SAFETY: by contract; for the volatile reads see `call`.
    let result = unsafe {
        let others = std::ptr::addr_of!(OTHERS).read_volatile();
        match asked {
            Asked::Repr => (others.repr)(object),
            Asked::Text => (others.text)(object),
            Asked::Attribute(name) => (others.attribute)(object, name),
        }
    };
    std::mem::forget(unwound);
    result
}

/// Drop a reference, which may run a finalizer.
///
/// # Safety
/// Attached, with a valid object and a reference that is the caller's.
pub(crate) unsafe fn decref(object: *mut ffi::PyObject) {
    let unwound = WaitForEnd;
    // SAFETY: by contract.
    unsafe { (std::ptr::addr_of!(OTHERS).read_volatile().release)(object) };
    std::mem::forget(unwound);
}

/// A callback comes back in a forked child: the engine is the parent's and does not run on here, so
/// the child ends.
#[cold]
pub(crate) fn end_child(py: Python<'_>, error: Option<PyErr>) -> ! {
    let error = error.map(|error| error.into_value(py));
    let ended = imports::end_child(py).and_then(|end| end.invoke((error,)));
    if let Err(error) = ended {
        error.print(py);
    }
    // SAFETY: ends the process, and nothing else.
    unsafe { libc::_exit(1) }
}

/// The interpreter is about to end: no thread of ours asks for the GIL any more.
#[pyfunction]
fn interpreter_exits(py: Python<'_>) {
    IS_EXITING.store(true, Ordering::SeqCst);
    // The main thread may still ask for the GIL, because it is not ended.
    py.detach(|| {
        while ATTACHING.load(Ordering::SeqCst) > 0 {
            std::thread::sleep(Duration::from_micros(100));
        }
    });
}

/// Have forks and the interpreter's exit noticed.
///
/// # Errors
/// `ImportError` in a sub-interpreter: engines, threads and the exit are those of a process.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // SAFETY: attached; the current interpreter is alive.
    if unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) } != 0 {
        return Err(PyImportError::new_err(
            "vespiary cannot be imported in a sub-interpreter: import it in the main interpreter \
             or in a separate process (multiprocessing, subprocess)",
        ));
    }
    let flags: String = module.py().import("sys")?.getattr("abiflags")?.extract()?;
    HAS_GIL.store(!flags.contains('t'), Ordering::Relaxed);
    // SAFETY: the handler only touches atomics and a thread-local of a plain number.
    unsafe { libc::pthread_atfork(None, None, Some(forked)) };
    let exits = wrap_pyfunction!(interpreter_exits, module)?;
    let atexit = module.py().import("atexit")?;
    atexit.invoke_method("register", (exits,)).map(drop)
}
