//! The coroutine protocol of what may also be awaited: `send`, `throw` and `close` (PEP 342).
//!
//! `asyncio.create_task` takes coroutines only, and runs one by these methods. They pass each step
//! on to the iterator of a future, which is made at the first.

use crate::calls::{Invoke as _, InvokeOwned as _};
use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};
use std::sync::{Mutex, PoisonError};

/// The steps of a task that runs an awaitable as its coroutine.
#[derive(Default)]
pub(crate) struct Steps(Mutex<Option<Py<PyAny>>>);

impl Steps {
    fn iterator(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let iterator = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        iterator.as_ref().map(|iterator| iterator.clone_ref(py))
    }

    /// Take the next step; `begin` makes the iterator for the first.
    pub(crate) fn send<'py>(
        &self,
        value: &Bound<'py, PyAny>,
        begin: impl FnOnce(Python<'py>) -> PyResult<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let py = value.py();
        let iterator = if let Some(iterator) = self.iterator(py) {
            iterator
        } else {
            let iterator = begin(py)?;
            let kept = iterator.clone_ref(py);
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
            iterator
        };
        iterator.invoke_method(py, pyo3::intern!(py, "send"), (value,))
    }

    /// Raise an exception where the task waits.
    pub(crate) fn throw(&self, error: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
        match self.iterator(error.py()) {
            Some(iterator) => iterator.invoke_method(error.py(), "throw", error.clone()),
            None => Err(thrown(error)),
        }
    }

    /// Show the collector the iterator.
    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.0.try_lock() {
            Ok(iterator) => visit.call(&*iterator),
            Err(_) => Ok(()),
        }
    }

    /// Release it.
    pub(crate) fn clear(&self) {
        let iterator = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(iterator);
    }

    /// Take no further step.
    pub(crate) fn close(&self, py: Python<'_>) -> PyResult<()> {
        match self.iterator(py) {
            Some(iterator) => iterator.invoke_method(py, "close", ()).map(drop),
            None => Ok(()),
        }
    }
}

/// The exception that the arguments of `throw` stand for: an exception, or its class and value.
pub(crate) fn thrown(arguments: &Bound<'_, PyTuple>) -> PyErr {
    let raised = || -> PyResult<PyErr> {
        let Ok(first) = arguments.get_item(0) else {
            return Err(PyTypeError::new_err("throw takes an exception"));
        };
        let value = arguments.get_item(1).ok().filter(|value| !value.is_none());
        Ok(PyErr::from_value(match value {
            Some(value) if first.is_instance_of::<PyType>() && !value.is_instance(&first)? => {
                first.invoke((value,))?
            }
            Some(value) => value,
            None if first.is_instance_of::<PyType>() => first.invoke(())?,
            None => first,
        }))
    };
    raised().unwrap_or_else(|error| error)
}
