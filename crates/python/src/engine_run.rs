//! One run of the engine, and what may come out of it besides its end: an exception that stops the
//! loop, or a panic.

use crate::host::PyHost;
use crate::loop_handle::forked_error;
use crate::process::detached;
use crate::report;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;
use vespiary_engine::Engine;

/// Panics in one run: a further one means that the engine itself cannot continue.
const PANICS_MAX: usize = 8;

/// Run the engine on the batch that it has waited for.
pub(crate) fn run(py: Python<'_>, engine: &Rc<Engine<PyHost>>) -> PyResult<()> {
    guarded(py, engine, || {
        engine.run();
    })
}

/// Settle what was asked for between two batches.
pub(crate) fn settle(py: Python<'_>, engine: &Rc<Engine<PyHost>>) -> PyResult<()> {
    guarded(py, engine, || {
        engine.settle();
    })
}

/// `select` in a forked child, which has no engine: asyncio may finish its tasks there.
pub(crate) fn rest_in_child(py: Python<'_>, timeout: Option<Duration>) -> PyResult<Vec<(i32, u8)>> {
    let Some(timeout) = timeout else {
        return Err(forked_error());
    };
    detached(py, || std::thread::sleep(timeout));
    py.check_signals()?;
    Ok(Vec::new())
}

/// A panic fails the connection that it happened for, and the rest of the batch runs on.
fn guarded(py: Python<'_>, engine: &Rc<Engine<PyHost>>, mut act: impl FnMut()) -> PyResult<()> {
    for _ in 0..PANICS_MAX {
        let Err(payload) = catch_unwind(AssertUnwindSafe(&mut act)) else {
            return match engine.host.take_fatal() {
                Some(error) => Err(error),
                None => Ok(()),
            };
        };
        panicked(py, engine, &*payload);
    }
    Err(PyRuntimeError::new_err(
        "the engine failed repeatedly; see stderr",
    ))
}

#[cold]
fn panicked(py: Python<'_>, engine: &Rc<Engine<PyHost>>, payload: &(dyn std::any::Any + Send)) {
    let text = payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    let error = PyRuntimeError::new_err(format!("an internal error of Vespiary: {text}"));
    let error = error.into_value(py).into_bound(py).into_any();
    match engine.current_connection() {
        Some(connection) => {
            report::handler_failed(py, &connection, &error);
            connection.abort();
        }
        None => report::callback_failed(py, "engine", &error),
    }
}
