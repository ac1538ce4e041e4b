//! The handler's response to an HTTP request, read into the engine's form.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use vespiary_engine::Answer;

/// A response as Python's side writes it: `None` or `("accept", protocol, headers)`,
/// `("respond", status, headers, body)`, `("failed",)`, or an awaitable that gives one.
pub(crate) fn read(answer: &Bound<'_, PyAny>) -> PyResult<Answer> {
    if answer.is_none() {
        return Ok(Answer::Accept {
            protocol: None,
            headers: Vec::new(),
        });
    }
    let Ok(parts) = answer.cast::<PyTuple>() else {
        return Ok(Answer::Later);
    };
    match parts.get_item(0)?.extract::<String>()?.as_str() {
        "accept" => Ok(Answer::Accept {
            protocol: parts.get_item(1)?.extract()?,
            headers: parts.get_item(2)?.extract()?,
        }),
        "respond" => Ok(Answer::Respond {
            status: status(&parts.get_item(1)?)?,
            headers: parts.get_item(2)?.extract()?,
            body: parts.get_item(3)?.extract::<Vec<u8>>()?,
        }),
        "failed" => Ok(failed()),
        other => Err(PyTypeError::new_err(format!(
            "{other:?} is not a kind of answer"
        ))),
    }
}

fn status(status: &Bound<'_, PyAny>) -> PyResult<u16> {
    let number: i64 = status.extract()?;
    match u16::try_from(number) {
        Ok(number) if (200..=599).contains(&number) => Ok(number),
        _ => Err(PyValueError::new_err(format!(
            "a response has a status from 200 to 599 (RFC 9110 15); got {number}"
        ))),
    }
}

/// What the client gets when the handler has failed to respond; the connection ends with it, as it
/// is not known what state the handler is in.
pub(crate) fn failed() -> Answer {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Answer::Respond {
        status: 500,
        headers: vec![
            header("Content-Type", "text/plain; charset=utf-8"),
            header("Connection", "close"),
        ],
        body: b"the server failed to answer\n".to_vec(),
    }
}
