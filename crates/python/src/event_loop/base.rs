//! `LoopBase`: the native methods of `vespiary.loop.Loop`, which stand before asyncio's own.
//!
//! In debug mode, in a closed loop, and in a loop on another selector, the calls are passed on to
//! asyncio's methods, which check and report.

use super::calls::Calls;
use super::handle::{self, moment};
use super::iteration;
use super::method::{Given, Method, entered};
use super::{frequent, stream, streams};
use crate::core::Core;
use crate::imports;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFloat, PyInt, PyTuple};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// What a loop on a port has.
pub(super) struct Native {
    pub(super) calls: Arc<Calls>,
    pub(super) core: Py<Core>,
    /// Whether the loop's time is that of CLOCK_MONOTONIC: no subclass has another.
    has_clock: bool,
}

/// The native part of a loop.
#[pyclass(frozen, subclass, module = "vespiary._core")]
pub(crate) struct LoopBase {
    native: OnceLock<Native>,
    /// asyncio's `_stopping`, which it sets, and which is looked at several times an iteration.
    is_stopping: Arc<AtomicBool>,
    is_debug: AtomicBool,
}

impl LoopBase {
    #[inline]
    pub(super) fn native(&self) -> Option<&Native> {
        self.native.get()
    }

    /// What the loop has to do; None for a loop that is not native.
    pub(crate) fn calls(&self) -> Option<&Arc<Calls>> {
        Some(&self.native.get()?.calls)
    }

    pub(super) fn is_debug(&self) -> bool {
        self.is_debug.load(Ordering::Relaxed)
    }

    fn ready(&self) -> PyResult<&Native> {
        let native = self.native.get();
        native.ok_or_else(|| PyRuntimeError::new_err("the loop is not on a port"))
    }
}

impl Native {
    /// The loop's time in seconds.
    pub(super) fn now(&self, event_loop: &Bound<'_, PyAny>) -> PyResult<f64> {
        use crate::calls::Invoke as _;
        if self.has_clock {
            return Ok(monotonic());
        }
        let name = pyo3::intern!(event_loop.py(), "time");
        event_loop.invoke_method(name, ())?.extract()
    }
}

/// CLOCK_MONOTONIC in seconds, as `time.monotonic` has it.
pub(super) fn monotonic() -> f64 {
    Duration::from_nanos(crate::turns::monotonic()).as_secs_f64()
}

#[pymethods]
impl LoopBase {
    #[new]
    #[pyo3(signature = (*_arguments, **_options))]
    fn new(_arguments: &Bound<'_, PyTuple>, _options: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            native: OnceLock::new(),
            is_stopping: Arc::default(),
            is_debug: AtomicBool::new(false),
        }
    }

    /// The loop runs on this engine from now on. `has_clock`: its `time` is asyncio's.
    fn _begin(&self, core: Py<Core>, has_clock: bool) {
        let calls = Arc::new(Calls::new(self.is_stopping.clone()));
        let _ = self.native.set(Native {
            calls,
            core,
            has_clock,
        });
    }

    /// Whether the loop is in debug mode, where asyncio's methods check each call.
    fn _debug_natively(&self, is_debug: bool) {
        self.is_debug.store(is_debug, Ordering::Relaxed);
        if let Some(native) = self.native() {
            native.calls.is_debug.store(is_debug, Ordering::Relaxed);
        }
    }

    /// The loop is closed, and forgets what it has to do.
    fn _close_natively(&self, py: Python<'_>) {
        if let Some(native) = self.native() {
            native.calls.is_closed.store(true, Ordering::Relaxed);
            native.calls.clear(py);
        }
    }

    /// Add a handle to the callbacks that are called soon.
    fn _push(&self, handle: &Bound<'_, PyAny>) -> PyResult<()> {
        self.ready()?.calls.push(handle);
        Ok(())
    }

    /// Add a timer's handle, whose moment is `when`.
    fn _push_timer(&self, when: f64, handle: &Bound<'_, PyAny>) -> PyResult<()> {
        self.ready()?.calls.push_timer(when, handle);
        Ok(())
    }

    /// Count a timer that was cancelled.
    fn _count_cancelled(&self, timer: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = timer.py();
        let native = self.ready()?;
        if handle::layout(py).is_some_and(|it| it.is_scheduled(timer).unwrap_or(false)) {
            native.calls.timers.borrow(py).cancelled += 1;
        }
        Ok(())
    }

    /// Read a descriptor for a transport from now on.
    fn _read_natively(&self, descriptor: i32, transport: &Bound<'_, PyAny>) -> PyResult<()> {
        let native = self.ready()?;
        let core = native.core.get();
        match stream::of(transport) {
            Some(stream) if stream.get().is_on_ring => {
                if core.shared.is_forked() {
                    return Ok(());
                }
                streams::begin(transport, stream.get(), core)?;
            }
            Some(stream) => {
                core.read(descriptor, true)?;
                stream.get().state.borrow(transport.py()).is_watched = true;
            }
            None => return Err(PyTypeError::new_err("it is not a transport of this loop")),
        }
        native.calls.set_reader(descriptor, transport);
        Ok(())
    }

    /// Stop reading a descriptor; false where no transport reads it.
    fn _unread(&self, py: Python<'_>, descriptor: i32) -> PyResult<bool> {
        let Some(native) = self.native() else {
            return Ok(false);
        };
        let Some(reader) = native.calls.take_reader(py, descriptor) else {
            return Ok(false);
        };
        if let Some(stream) = stream::of(reader.bind(py)) {
            let stream = stream.get();
            if stream.is_on_ring {
                streams::end(py, stream);
                return Ok(true);
            }
            stream.state.borrow(py).is_watched = false;
        }
        native.core.get().read(descriptor, false)?;
        Ok(true)
    }

    /// Whether a transport reads this descriptor.
    fn _is_read(&self, py: Python<'_>, descriptor: i32) -> bool {
        let native = self.native();
        native.is_some_and(|native| native.calls.reader(py, descriptor).is_some())
    }

    /// One iteration: see `iteration`. `until_stopped`: and all that follow, until the loop is to
    /// stop.
    fn _run_natively(slf: &Bound<'_, Self>, until_stopped: bool) -> PyResult<()> {
        let native = slf.get().ready()?;
        loop {
            iteration::run(slf.as_any(), native)?;
            if !until_stopped || native.calls.is_stopping() {
                return Ok(());
            }
        }
    }

    /// Whether the loop stops after this iteration.
    #[getter]
    fn _stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    #[setter(_stopping)]
    fn set_stopping(&self, is_stopping: &Bound<'_, PyAny>) -> PyResult<()> {
        self.is_stopping
            .store(is_stopping.is_truthy()?, Ordering::Relaxed);
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(native) = self.native.get() {
            visit.call(&native.core)?;
            native.calls.traverse(&visit)?;
        }
        Ok(())
    }

    fn __clear__(&self, py: Python<'_>) {
        if let Some(native) = self.native() {
            native.calls.clear(py);
        }
    }
}

/// asyncio's method of this name, for a call that is not on the native path.
pub(super) fn pass_on<'py>(
    event_loop: &Bound<'py, PyAny>,
    name: &str,
    given: &Given<'_, 'py>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = event_loop.py();
    // SAFETY: the object is a loop, as the descriptor of its method has checked.
    if name == "call_at" && unsafe { loop_of(event_loop) }.native().is_some() {
        return given.pass_on(imports::checked_call_at(py)?, event_loop);
    }
    let function = imports::base_event_loop(py)?.getattr(name)?;
    given.pass_on(&function, event_loop)
}

/// The loop that a method is called for.
///
/// # Safety
/// The object is a `LoopBase`, as its descriptor has checked.
#[inline]
pub(super) unsafe fn loop_of<'a>(object: &'a Bound<'_, PyAny>) -> &'a LoopBase {
    // SAFETY: by contract.
    unsafe { object.cast_unchecked::<LoopBase>() }.get()
}

/// The arguments of a callback, from those of a call.
fn rest<'py>(py: Python<'py>, given: &[Borrowed<'_, 'py, PyAny>]) -> PyResult<Bound<'py, PyTuple>> {
    // SAFETY: attached; a new tuple, whose items are set before anyone sees it.
    unsafe {
        let tuple = ffi::PyTuple_New(given.len() as isize);
        let made = Bound::from_owned_ptr_or_err(py, tuple)?;
        for (index, argument) in given.iter().enumerate() {
            ffi::PyTuple_SET_ITEM(tuple, index as isize, (**argument).clone().into_ptr());
        }
        Ok(made.cast_into_unchecked())
    }
}

unsafe extern "C" fn call_soon(
    slf: *mut ffi::PyObject,
    first: *const *mut ffi::PyObject,
    count: isize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter calls this attached, with a LoopBase and arguments by the convention.
    unsafe { entered(slf, first, count, names, push_call) }
}

fn push_call<'py>(
    event_loop: &Bound<'py, PyAny>,
    given: &Given<'_, 'py>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = event_loop.py();
    // SAFETY: a LoopBase's method.
    let native = unsafe { loop_of(event_loop) }.native();
    let context = given.keyword(py, pyo3::intern!(py, "context"));
    let [callback, arguments @ ..] = given.positional else {
        return pass_on(event_loop, "call_soon", given);
    };
    let (Some(native), Ok(context), Some(layout)) = (native, context, handle::layout(py)) else {
        return pass_on(event_loop, "call_soon", given);
    };
    if !native.calls.is_plain() {
        return pass_on(event_loop, "call_soon", given);
    }
    let context = context.filter(|it| !it.is_none());
    let handle = layout.make_handle(event_loop, callback, rest(py, arguments)?, context)?;
    native.calls.push(&handle);
    Ok(handle)
}

/// `call_at` and `call_later`, whose moment is counted from `since`.
fn set_timer<'py>(
    event_loop: &Bound<'py, PyAny>,
    given: &Given<'_, 'py>,
    name: &str,
    is_relative: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let py = event_loop.py();
    // SAFETY: the object is a loop, as the descriptor of its method has checked.
    let native = unsafe { loop_of(event_loop) }.native();
    let context = given.keyword(py, pyo3::intern!(py, "context"));
    let [when, callback, arguments @ ..] = given.positional else {
        return pass_on(event_loop, name, given);
    };
    let (Some(native), Ok(context), Some(layout)) = (native, context, handle::layout(py)) else {
        return pass_on(event_loop, name, given);
    };
    let is_number = when.is_exact_instance_of::<PyFloat>() || when.is_exact_instance_of::<PyInt>();
    if !native.calls.is_plain() || !is_number {
        return pass_on(event_loop, name, given);
    }
    let mut seconds: f64 = when.extract()?;
    let mut moment_of_timer: Bound<'py, PyAny> = (**when).clone();
    if is_relative {
        seconds += native.now(event_loop)?;
        moment_of_timer = moment(py, seconds);
    }
    let context = context.filter(|it| !it.is_none());
    let arguments = rest(py, arguments)?;
    let timer = layout.make_timer(event_loop, moment_of_timer, callback, arguments, context)?;
    native.calls.push_timer(seconds, &timer);
    Ok(timer)
}

unsafe extern "C" fn call_at(
    slf: *mut ffi::PyObject,
    first: *const *mut ffi::PyObject,
    count: isize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `call_soon`.
    unsafe {
        entered(slf, first, count, names, |event_loop, given| {
            set_timer(event_loop, given, "call_at", false)
        })
    }
}

unsafe extern "C" fn call_later(
    slf: *mut ffi::PyObject,
    first: *const *mut ffi::PyObject,
    count: isize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `call_soon`.
    unsafe {
        entered(slf, first, count, names, |event_loop, given| {
            set_timer(event_loop, given, "call_later", true)
        })
    }
}

static CALL_SOON: Method = Method::new(
    c"call_soon",
    call_soon,
    c"call_soon($self, callback, *args, context=None)\n--\n\nCall a function in the next \
      iteration.",
);
static CALL_AT: Method = Method::new(
    c"call_at",
    call_at,
    c"call_at($self, when, callback, *args, context=None)\n--\n\nCall a function at a time \
      of the loop's clock, in seconds.",
);
static CALL_LATER: Method = Method::new(
    c"call_later",
    call_later,
    c"call_later($self, delay, callback, *args, context=None)\n--\n\nCall a function after \
      a number of seconds.",
);

/// Add the class to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<LoopBase>()?;
    let class = module.py().get_type::<LoopBase>();
    for method in [&CALL_SOON, &CALL_AT, &CALL_LATER] {
        method.add_to(&class)?;
    }
    frequent::add_to(&class)
}
