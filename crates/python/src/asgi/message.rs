//! What `receive()` and `send()` return: an awaitable that does its work when it is awaited.
//!
//! In most cases this takes no time, and the `await` does not suspend. Where it has to wait, the
//! awaitable passes its steps on to a coroutine of Python's. It is a coroutine by its methods, so
//! that `asyncio.create_task` takes it.

use super::call::HttpCall;
use crate::calls::{Invoke as _, InvokeOwned as _};
use crate::imports;
use crate::process::{self, Iterated};
use crate::steps;
use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::mem::replace;
use std::sync::{Mutex, PoisonError};

/// What it does.
pub(super) enum Way {
    Receive,
    Send(Py<PyAny>),
}

enum State {
    New(Way),
    /// A coroutine waits.
    Waiting(Py<PyAny>),
    Over,
}

/// An awaitable of a call.
#[pyclass(frozen, module = "vespiary._core")]
pub(super) struct Message {
    call: Py<HttpCall>,
    state: Mutex<State>,
}

impl Message {
    pub(super) fn new(call: &Bound<'_, HttpCall>, way: Way) -> Self {
        Self {
            call: call.clone().unbind(),
            state: Mutex::new(State::New(way)),
        }
    }

    fn replace(&self, state: State) -> State {
        let mut place = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        replace(&mut *place, state)
    }

    /// Take a step: what it waits for, or what the `await` gives.
    fn step(&self, value: &Bound<'_, PyAny>) -> PyResult<Result<Py<PyAny>, Option<Py<PyAny>>>> {
        let py = value.py();
        let coroutine = match self.replace(State::Over) {
            State::Waiting(coroutine) => coroutine,
            State::New(Way::Send(message)) => {
                match HttpCall::sent(self.call.bind(py), message.bind(py))? {
                    None => return Ok(Err(None)),
                    Some(coroutine) => coroutine,
                }
            }
            State::New(Way::Receive) => match self.call.get().received(py)? {
                Some(message) => return Ok(Err(Some(message))),
                None => imports::asgi_receive_later(py)?
                    .invoke((&self.call,))?
                    .unbind(),
            },
            State::Over => return Err(reused()),
        };
        // SAFETY: attached; both are alive.
        match unsafe { process::iterate(py, coroutine.as_ptr(), value.as_ptr()) } {
            Iterated::Next(awaited) => {
                self.replace(State::Waiting(coroutine));
                Ok(Ok(awaited))
            }
            Iterated::Returned(result) => Ok(Err((!result.is_none(py)).then_some(result))),
            Iterated::Raised(error) => Err(error),
        }
    }
}

/// Another step is taken of what is over.
#[cold]
pub(super) fn reused() -> PyErr {
    PyRuntimeError::new_err("cannot reuse already awaited coroutine")
}

#[pymethods]
impl Message {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        match self.step(py.None().bind(py))? {
            Ok(awaited) => Ok(Some(awaited)),
            Err(None) => Ok(None),
            Err(Some(result)) => Err(PyStopIteration::new_err(result)),
        }
    }

    fn send(&self, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        match self.step(value)? {
            Ok(awaited) => Ok(awaited),
            Err(result) => Err(PyStopIteration::new_err(result)),
        }
    }

    #[pyo3(signature = (*error))]
    fn throw(&self, error: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
        let py = error.py();
        let State::Waiting(coroutine) = self.replace(State::Over) else {
            return Err(steps::thrown(error));
        };
        let name = pyo3::intern!(py, "throw");
        let awaited = coroutine.invoke_method(py, name, error.clone())?;
        self.replace(State::Waiting(coroutine));
        Ok(awaited)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let State::Waiting(coroutine) = self.replace(State::Over) else {
            return Ok(());
        };
        let name = pyo3::intern!(py, "close");
        coroutine.invoke_method(py, name, ()).map(drop)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.call)?;
        let Ok(state) = self.state.try_lock() else {
            return Ok(());
        };
        match &*state {
            State::New(Way::Send(object)) | State::Waiting(object) => visit.call(object),
            State::New(Way::Receive) | State::Over => Ok(()),
        }
    }

    fn __clear__(&self) {
        drop(self.replace(State::Over));
    }
}
