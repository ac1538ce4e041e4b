//! The handler's response to an HTTP request, read into the engine's form.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use vespiary_engine::Answer;

/// An answer as Python's side writes it: `None` or `("accept", protocol, headers)`,
/// `("respond", status, headers, body)`, or the task that will give it.
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
            status: parts.get_item(1)?.extract()?,
            headers: parts.get_item(2)?.extract()?,
            body: parts.get_item(3)?.extract::<Vec<u8>>()?,
        }),
        other => Err(PyTypeError::new_err(format!(
            "no answer is called {other:?}"
        ))),
    }
}
