//! Arguments of public methods, each checked with an error that says what it must be.

use crate::calls::{Ask as _, Invoke as _};
use crate::connection::Connection;
use crate::imports;
use crate::ping;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt, PyString};
use vespiary_engine::wire::websocket::close::Code;

/// The flag of an async function's code (CO_COROUTINE).
const COROUTINE: u32 = 0x80;

fn wrong(given: &Bound<'_, PyAny>, wanted: &str) -> PyErr {
    match given.shown() {
        Ok(shown) => PyTypeError::new_err(format!("{wanted}; got {shown}")),
        Err(error) => error,
    }
}

/// A close code that an endpoint may send.
pub(crate) fn close_code(given: &Bound<'_, PyAny>) -> PyResult<u16> {
    if !given.is_instance_of::<PyInt>() {
        let wanted = "a close code is an int, and a reason is a str, as in close(1000, \"bye\")";
        return Err(wrong(given, wanted));
    }
    match given.extract::<u16>() {
        Ok(code) if Code(code).is_valid_on_the_wire() => Ok(code),
        _ => Err(PyValueError::new_err(format!(
            "{} is not a close code that may be sent: use 1000 to 1014 except 1004 to 1006, or \
             3000 to 4999 (RFC 6455 7.4)",
            given.text()?
        ))),
    }
}

/// The text of a close frame.
pub(crate) fn close_reason(given: &Bound<'_, PyAny>) -> PyResult<String> {
    let reason = text(given, "a close reason is a text (str)")?;
    if reason.len() > 123 {
        return Err(PyValueError::new_err(
            "a close reason has at most 123 bytes in UTF-8 (RFC 6455 5.5)",
        ));
    }
    Ok(reason)
}

/// Whether a message is compressed; None leaves it to the endpoint.
pub(crate) fn compress(given: &Bound<'_, PyAny>) -> PyResult<Option<bool>> {
    if given.is_none() {
        return Ok(None);
    }
    match given.cast::<PyBool>() {
        Ok(choice) => Ok(Some(choice.is_true())),
        Err(_) => Err(wrong(given, "compress is True, False or None")),
    }
}

/// Whether a part ends its message.
pub(crate) fn last(given: &Bound<'_, PyAny>) -> PyResult<bool> {
    match given.cast::<PyBool>() {
        Ok(last) => Ok(last.is_true()),
        Err(_) => Err(wrong(
            given,
            "last is True for the last part of a message, else False",
        )),
    }
}

/// Whether a message is kept for those who subscribe later.
pub(crate) fn retain(given: &Bound<'_, PyAny>) -> PyResult<bool> {
    match given.cast::<PyBool>() {
        Ok(retain) => Ok(retain.is_true()),
        Err(_) => Err(wrong(given, "retain is True or False")),
    }
}

/// A connection that does not get what is published.
pub(crate) fn exclude(given: &Bound<'_, PyAny>) -> PyResult<Option<Py<Connection>>> {
    if given.is_none() {
        return Ok(None);
    }
    match given.cast::<Connection>() {
        Ok(connection) => Ok(Some(connection.clone().unbind())),
        Err(_) => Err(wrong(given, "exclude is a Connection or None")),
    }
}

/// The name of a topic.
pub(crate) fn topic(given: &Bound<'_, PyAny>) -> PyResult<String> {
    text(given, "a topic is a text (str)")
}

fn text(given: &Bound<'_, PyAny>, wanted: &str) -> PyResult<String> {
    match given.cast::<PyString>() {
        Ok(text) => text.extract(),
        Err(_) => Err(wrong(given, wanted)),
    }
}

/// A number of seconds; its range is checked where it is used.
pub(crate) fn seconds(given: &Bound<'_, PyAny>) -> PyResult<f64> {
    given
        .extract()
        .map_err(|_| wrong(given, "a timer needs a number of seconds"))
}

/// The payload of a ping; an empty one is replaced by a payload that no other ping has.
pub(crate) fn ping_payload(given: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    let payload: Vec<u8> = match given.extract::<&[u8]>() {
        Ok(payload) => payload.to_vec(),
        Err(_) => return Err(wrong(given, "a ping carries bytes, at most 125 of them")),
    };
    Ok(if payload.is_empty() {
        ping::payload().to_vec()
    } else {
        payload
    })
}

/// A function that is called and not awaited. Most are functions or methods, whose code says
/// whether they are async.
pub(crate) fn callback(given: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    let py = given.py();
    let flags = given
        .attribute(pyo3::intern!(py, "__code__"))
        .ok()
        .and_then(|code| code.attribute(pyo3::intern!(py, "co_flags")).ok())
        .and_then(|flags| flags.extract::<u32>().ok());
    if flags.is_none_or(|flags| flags & COROUTINE != 0) {
        imports::check_callback(py)?.invoke(("set_timer", given))?;
    }
    Ok(given.clone().unbind())
}
