//! Methods of asyncio's loop that libraries and its own futures and tasks call for each message.
//! Each is a line or two of Python, and costs less than Python's call of it.

use super::base::{loop_of, monotonic, pass_on};
use super::method::{Given, Method, entered};
use crate::imports;
use crate::once::once;
use crate::process::{self, Way};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyFloat, PyTuple, PyType};

/// `class(*arguments, loop=event_loop)`.
fn make<'py>(
    class: &Bound<'py, PyAny>,
    argument: Option<&Bound<'py, PyAny>>,
    event_loop: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    static NAMES: PyOnceLock<Py<PyTuple>> = PyOnceLock::new();
    let py = event_loop.py();
    let names = once(py, &NAMES, || {
        PyTuple::new(py, [pyo3::intern!(py, "loop")]).map(Bound::unbind)
    })?;
    let argument = argument.map(Bound::as_ptr);
    let given = [argument.unwrap_or(event_loop.as_ptr()), event_loop.as_ptr()];
    let (skipped, count) = if argument.is_some() { (0, 1) } else { (1, 0) };
    // SAFETY: attached; all are alive. Behind the positional arguments is the one with a name.
    unsafe {
        let first = given.as_ptr().add(skipped);
        let result = process::call(Way::Object, class.as_ptr(), first, count, names.as_ptr());
        Bound::from_owned_ptr_or_err(py, result)
    }
}

unsafe extern "C" fn create_future(
    slf: *mut ffi::PyObject,
    first: *const *mut ffi::PyObject,
    count: isize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter calls this attached, with a LoopBase and arguments by the convention.
    unsafe {
        entered(slf, first, count, names, |event_loop, given| {
            given.expect_none("create_future")?;
            make(imports::future(event_loop.py())?, None, event_loop)
        })
    }
}

unsafe extern "C" fn create_task(
    slf: *mut ffi::PyObject,
    first: *const *mut ffi::PyObject,
    count: isize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `create_future`.
    unsafe { entered(slf, first, count, names, make_task) }
}

fn make_task<'py>(
    event_loop: &Bound<'py, PyAny>,
    given: &Given<'_, 'py>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = event_loop.py();
    // SAFETY: a LoopBase's method.
    let native = unsafe { loop_of(event_loop) }.native();
    let is_plain = native.is_some_and(|it| it.calls.is_plain()) && !given.has_keywords();
    if let ([coroutine], true) = (given.positional, is_plain)
        && event_loop
            .getattr(pyo3::intern!(py, "_task_factory"))?
            .is_none()
    {
        return make(imports::task(py)?, Some(coroutine), event_loop);
    }
    pass_on(event_loop, "create_task", given)
}

unsafe extern "C" fn get_debug(
    slf: *mut ffi::PyObject,
    first: *const *mut ffi::PyObject,
    count: isize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `create_future`.
    unsafe {
        entered(slf, first, count, names, |event_loop, given| {
            given.expect_none("get_debug")?;
            let is_debug = loop_of(event_loop).is_debug();
            Ok(PyBool::new(event_loop.py(), is_debug).to_owned().into_any())
        })
    }
}

unsafe extern "C" fn time(
    slf: *mut ffi::PyObject,
    first: *const *mut ffi::PyObject,
    count: isize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `create_future`.
    unsafe {
        entered(slf, first, count, names, |event_loop, given| {
            given.expect_none("time")?;
            Ok(PyFloat::new(event_loop.py(), monotonic()).into_any())
        })
    }
}

static CREATE_FUTURE: Method = Method::new(
    c"create_future",
    create_future,
    c"create_future($self, /)\n--\n\nMake a future of this loop.",
);
static CREATE_TASK: Method = Method::new(
    c"create_task",
    create_task,
    c"create_task($self, coro, **options)\n--\n\nMake a task of this loop, which runs a coroutine.",
);
static GET_DEBUG: Method = Method::new(
    c"get_debug",
    get_debug,
    c"get_debug($self, /)\n--\n\nWhether asyncio's debug mode is on.",
);
static TIME: Method = Method::new(
    c"time",
    time,
    c"time($self, /)\n--\n\nThe loop's time in seconds: that of time.monotonic().",
);

/// Give the methods to the class of loops.
pub(super) fn add_to(class: &Bound<'_, PyType>) -> PyResult<()> {
    for method in [&CREATE_FUTURE, &CREATE_TASK, &GET_DEBUG, &TIME] {
        method.add_to(class)?;
    }
    Ok(())
}
