//! What `receive()` and `async for` await, and what a task suspends on meanwhile.
//!
//! A task asks for a message with each `await`, so both types are made by hand, from plain C
//! functions. `Receive` is the awaitable: it returns a message that waits, or yields the
//! connection's `Wait`. `Wait` has what asyncio's tasks ask of a future that they suspend on
//! (`get_loop`, `add_done_callback`, `result`, the flag `_asyncio_future_blocking`: CPython's
//! Modules/_asynciomodule.c, `task_step`), and nothing else; only a task gets it. There are two
//! types, because asyncio treats every object that has this flag as a complete future.
//!
//! The connection keeps one of each. They also refer to the connection, and the end of the
//! connection breaks this cycle of references. The `Receive` that is kept is used again if nobody
//! else refers to it, so that an `await` allocates nothing.

use crate::awaitable_classes::{receive_class, wait_class};
use crate::calls::Invoke as _;
use crate::connection::Connection;
use crate::dropped;
use crate::imports;
use crate::inbox::Inbox;
use crate::steps;
use crate::waiting::running_loop;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};
use std::ffi::{c_char, c_int, c_void};
use std::ptr;

/// Both types: `flag` is whether a Receive iterates, and whether a Wait blocks.
#[repr(C)]
pub(crate) struct Receive {
    base: ffi::PyObject,
    connection: *mut ffi::PyObject,
    pub(crate) flag: c_char,
}

/// An awaitable for one message, or one for every step of an iteration.
pub(crate) fn make(connection: &Bound<'_, Connection>, iterating: bool) -> PyResult<Py<PyAny>> {
    make_one(connection, receive_class(connection.py())?, iterating)
}

/// Whether nobody but the connection has an awaitable, and it is of this form.
#[inline]
pub(crate) fn is_free(receiving: &Py<PyAny>, iterating: bool) -> bool {
    let object = receiving.as_ptr();
    // SAFETY: a `Receive`, which [`make`] has made; attached.
    unsafe {
        ffi::Py_REFCNT(object) == 1 && (*object.cast::<Receive>()).flag == c_char::from(iterating)
    }
}

/// What the connection's task suspends on.
pub(crate) fn make_wait(connection: &Bound<'_, Connection>) -> PyResult<Py<PyAny>> {
    make_one(connection, wait_class(connection.py())?, false)
}

/// An awaitable for one message that arrives within `seconds`.
pub(crate) fn receive_within(
    connection: &Bound<'_, Connection>,
    seconds: Py<PyAny>,
) -> PyResult<Py<PyAny>> {
    let py = connection.py();
    let receiving = connection.get().inbox_for("receive()")?;
    let receiving = receiving.receive(connection, false)?;
    imports::receive_within(py)?
        .invoke((receiving, seconds))
        .map(Bound::unbind)
}

fn make_one(
    connection: &Bound<'_, Connection>,
    class: &Py<PyType>,
    flag: bool,
) -> PyResult<Py<PyAny>> {
    let py = connection.py();
    let class = class.as_ptr().cast::<ffi::PyTypeObject>();
    // SAFETY: the type's size is that of `Receive`; the fields behind the base are written before
    // anybody sees them.
    unsafe {
        let object = ffi::PyType_GenericAlloc(class, 0);
        let object = Bound::from_owned_ptr_or_err(py, object)?;
        let this = object.as_ptr().cast::<Receive>();
        (*this).connection = connection.clone().into_ptr();
        (*this).flag = flag.into();
        Ok(object.unbind())
    }
}

/// The object's fields and its connection.
///
/// # Safety
/// `object` must be a `Receive`, and the thread attached.
#[inline]
unsafe fn parts<'py>(
    object: *mut ffi::PyObject,
) -> (Python<'py>, *mut Receive, Bound<'py, Connection>) {
    // SAFETY: by contract.
    unsafe {
        let py = Python::assume_attached();
        let this = object.cast::<Receive>();
        let connection = Bound::from_borrowed_ptr(py, (*this).connection);
        (py, this, connection.cast_into_unchecked())
    }
}

fn give(py: Python<'_>, outcome: PyResult<*mut ffi::PyObject>) -> *mut ffi::PyObject {
    outcome.unwrap_or_else(|error| {
        error.restore(py);
        ptr::null_mut()
    })
}

fn none() -> *mut ffi::PyObject {
    // SAFETY: None is immortal or counted, and always valid.
    unsafe {
        ffi::Py_INCREF(ffi::Py_None());
        ffi::Py_None()
    }
}

fn truth(value: bool) -> *mut ffi::PyObject {
    // SAFETY: attached, as all callers are.
    unsafe { ffi::PyBool_FromLong(value.into()) }
}

pub(crate) unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: called once by the interpreter; an instance of a heap type holds a reference to its
    // type.
    unsafe {
        let class = ffi::Py_TYPE(object);
        ffi::PyObject_GC_UnTrack(object.cast());
        ffi::Py_XDECREF((*object.cast::<Receive>()).connection);
        ffi::PyObject_GC_Del(object.cast());
        ffi::Py_DECREF(class.cast());
    }
}

/// There is nothing to clear: every cycle of references includes the connection, which clears its
/// part.
pub(crate) unsafe extern "C" fn traverse(
    object: *mut ffi::PyObject,
    visit: ffi::visitproc,
    argument: *mut c_void,
) -> c_int {
    // SAFETY: called by the collector with an object of ours, whose connection is null until it is
    // set.
    unsafe {
        let class = ffi::Py_TYPE(object).cast();
        let connection = (*object.cast::<Receive>()).connection;
        for held in [class, connection] {
            if !held.is_null() {
                let result = visit(held, argument);
                if result != 0 {
                    return result;
                }
            }
        }
    }
    0
}

pub(crate) unsafe extern "C" fn itself(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: a valid object.
    unsafe { ffi::Py_INCREF(object) };
    object
}

enum Step {
    Message(Py<PyAny>),
    Wait(Py<PyAny>),
}

/// A message, or what to wait on.
///
/// # Safety
/// As for [`parts`].
#[inline]
unsafe fn step(object: *mut ffi::PyObject) -> PyResult<Step> {
    // SAFETY: by contract.
    unsafe {
        let (py, this, connection) = parts(object);
        let local = connection.get().local()?;
        let inbox = local.inbox()?;
        if let Some(message) = inbox.poll(py, connection.get(), local, (*this).flag != 0)? {
            return Ok(Step::Message(message));
        }
        let wait = inbox.wait_object(&connection)?;
        (*wait.as_ptr().cast::<Receive>()).flag = 1;
        Ok(Step::Wait(wait))
    }
}

pub(crate) unsafe extern "C" fn next(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: called by the interpreter with an object of ours, attached.
    unsafe {
        match step(object) {
            Ok(Step::Message(message)) => {
                ffi::PyErr_SetObject(ffi::PyExc_StopIteration, message.as_ptr());
                drop(message);
                ptr::null_mut()
            }
            Ok(Step::Wait(wait)) => wait.into_ptr(),
            Err(error) => give(Python::assume_attached(), Err(error)),
        }
    }
}

pub(crate) unsafe extern "C" fn send(
    object: *mut ffi::PyObject,
    _value: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult {
    // SAFETY: called by the interpreter with an object of ours and a place for the result,
    // attached.
    unsafe {
        match step(object) {
            Ok(Step::Message(message)) => {
                *result = message.into_ptr();
                ffi::PySendResult::PYGEN_RETURN
            }
            Ok(Step::Wait(wait)) => {
                *result = wait.into_ptr();
                ffi::PySendResult::PYGEN_NEXT
            }
            Err(error) => {
                error.restore(Python::assume_attached());
                *result = ptr::null_mut();
                ffi::PySendResult::PYGEN_ERROR
            }
        }
    }
}

pub(crate) unsafe extern "C" fn send_method(
    object: *mut ffi::PyObject,
    _value: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the same contract.
    unsafe { next(object) }
}

/// Part of a coroutine's protocol: the exception is raised where the task awaits.
pub(crate) unsafe extern "C" fn throw(
    object: *mut ffi::PyObject,
    arguments: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called by the interpreter with an object of ours and a tuple, attached.
    let (py, arguments) = unsafe {
        let (py, ..) = parts(object);
        (py, Bound::from_borrowed_ptr(py, arguments))
    };
    match arguments.cast::<PyTuple>() {
        Ok(arguments) => give(py, Err(steps::thrown(arguments))),
        Err(error) => give(py, Err(error.into())),
    }
}

pub(crate) unsafe extern "C" fn close(
    _object: *mut ffi::PyObject,
    _none: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    none()
}

pub(crate) unsafe extern "C" fn get_loop(
    object: *mut ffi::PyObject,
    _none: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called by the interpreter with an object of ours, attached.
    let (py, _, connection) = unsafe { parts(object) };
    give(py, event_loop_of(&connection).map(Bound::into_ptr))
}

#[inline]
fn event_loop_of<'py>(connection: &Bound<'py, Connection>) -> PyResult<Bound<'py, PyAny>> {
    let py = connection.py();
    let found = match connection.get().handle().event_loop(py) {
        Some(found) => found,
        None => running_loop(py)?,
    };
    Ok(found.into_bound(py))
}

pub(crate) unsafe extern "C" fn add_done_callback(
    object: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called by the interpreter with an object of ours and `count` positional arguments,
    // then one for each name.
    unsafe {
        let (py, _, connection) = parts(object);
        let named = if names.is_null() {
            0
        } else {
            ffi::PyTuple_Size(names)
        };
        if count != 1 || named > 1 {
            let text = "add_done_callback takes a callback and a context";
            return give(py, Err(PyTypeError::new_err(text)));
        }
        let callback = Bound::from_borrowed_ptr(py, *arguments).unbind();
        let context = if named == 1 {
            Bound::from_borrowed_ptr(py, *arguments.add(1)).unbind()
        } else {
            match Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent()) {
                Ok(context) => context.unbind(),
                Err(error) => return give(py, Err(error)),
            }
        };
        let wait = Bound::from_borrowed_ptr(py, object).unbind();
        let waiting = connection
            .get()
            .inbox()
            .and_then(|inbox| inbox.wait(&connection, wait, callback, context));
        give(py, waiting.map(|()| none()))
    }
}

pub(crate) unsafe extern "C" fn remove_done_callback(
    object: *mut ffi::PyObject,
    _callback: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called by the interpreter with an object of ours, attached.
    let (py, _, connection) = unsafe { parts(object) };
    let removed = connection.get().inbox().map(Inbox::stop_waiting);
    dropped::lend(&connection);
    // SAFETY: attached.
    give(
        py,
        removed.map(|removed| unsafe { ffi::PyLong_FromLong(removed.into()) }),
    )
}

pub(crate) unsafe extern "C" fn cancel(
    object: *mut ffi::PyObject,
    arguments: *mut ffi::PyObject,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called by the interpreter with an object of ours, attached.
    let (py, _, connection) = unsafe { parts(object) };
    // SAFETY: as the calling convention has it.
    let message = unsafe { cancel_message(py, arguments, keywords) };
    let cancelled = message.and_then(|message| match connection.get().inbox_in_child() {
        Some(inbox) => inbox.cancel_in_child(&event_loop_of(&connection)?, message),
        None => connection.get().inbox()?.cancel(&connection, message),
    });
    give(py, cancelled.map(truth))
}

/// The argument `msg` of `cancel`, by position or by name; None where there is none. The
/// CancelledError carries it, as some libraries know their own cancellations by it.
///
/// # Safety
/// The arguments are those of a call under `METH_VARARGS | METH_KEYWORDS`.
unsafe fn cancel_message(
    py: Python<'_>,
    arguments: *mut ffi::PyObject,
    keywords: *mut ffi::PyObject,
) -> PyResult<Py<PyAny>> {
    // SAFETY: a tuple, and null or a dict, by contract.
    let (arguments, keywords) = unsafe {
        (
            Bound::from_borrowed_ptr_or_opt(py, arguments),
            Bound::from_borrowed_ptr_or_opt(py, keywords),
        )
    };
    if let Some(arguments) = arguments
        && arguments.len()? > 0
    {
        return Ok(arguments.get_item(0)?.unbind());
    }
    match keywords {
        Some(keywords) => Ok(keywords.invoke_method("get", ("msg",))?.unbind()),
        None => Ok(py.None()),
    }
}

/// The inbox in a forked child; an error in another thread than the loop's.
#[cold]
fn elsewhere(connection: &Connection) -> PyResult<&Inbox> {
    match connection.inbox_in_child() {
        Some(inbox) => Ok(inbox),
        None => connection.inbox(),
    }
}

pub(crate) unsafe extern "C" fn result(
    object: *mut ffi::PyObject,
    _none: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called by the interpreter with an object of ours, attached.
    let (py, _, connection) = unsafe { parts(object) };
    let inbox = match connection.get().local.get() {
        Some(local) => local.inbox(),
        None => elsewhere(connection.get()),
    };
    let outcome = inbox.and_then(|inbox| {
        if let Some(message) = inbox.take_cancelled() {
            let class = py.import("asyncio")?.getattr("CancelledError")?;
            let error = if message.is_none(py) {
                class.invoke(())?
            } else {
                class.invoke((message,))?
            };
            return Err(PyErr::from_value(error));
        }
        Ok(none())
    });
    give(py, outcome)
}
