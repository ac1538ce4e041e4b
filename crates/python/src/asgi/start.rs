//! How a call begins: at once, and without a task where it does not have to wait.
//!
//! `vespiary.http._eager` explains the spare task of CPython 3.11, which a coroutine's first step
//! has for its own. Here this step is taken natively; the rest is the same.

use super::application::Application;
use super::call::{HttpCall, Step};
use crate::calls::Invoke as _;
use crate::host::PyHost;
use crate::imports;
use crate::process;
use crate::waiting;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyString;

/// The spare task of a `Starter`, which calls have for their first step.
pub(super) struct Lent {
    starter: Py<PyAny>,
    spare: Py<PyAny>,
    task: Py<PyAny>,
}

impl Lent {
    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.starter)?;
        visit.call(&self.spare)?;
        visit.call(&self.task)
    }
}

/// Begin a call, in its own context, which is entered.
pub(super) fn begin(
    application: &Bound<'_, Application>,
    host: &PyHost,
    call: &Bound<'_, HttpCall>,
    context: &Py<PyAny>,
) -> PyResult<()> {
    let py = call.py();
    let this = application.get();
    let starter = this.starter.bind(py);
    if !this.has_eager_tasks
        && let Some((lent, event_loop)) = find(host, starter)?
        && let Some(step) = lend(&lent, event_loop.bind(py), call)
    {
        if let Step::Waits(awaited) = step? {
            // It is this call's task from now on.
            let arguments = (&lent.spare, call, context, awaited, &this.task_name);
            let task = starter.invoke_method(pyo3::intern!(py, "hand_over"), arguments)?;
            return HttpCall::keep_task(call, task);
        }
        drop(host.asgi.lent.replace(Some(lent)));
        return Ok(());
    }
    let task = starter.invoke_method(pyo3::intern!(py, "begin"), (call, &this.task_name))?;
    if task.is_none() {
        return Ok(());
    }
    HttpCall::keep_task(call, task)
}

/// The spare task in the running loop; None where a coroutine gets a task of its own at once.
fn find(host: &PyHost, starter: &Bound<'_, PyAny>) -> PyResult<Option<(Lent, Py<PyAny>)>> {
    let py = starter.py();
    let event_loop = waiting::running_loop(py)?;
    let name = pyo3::intern!(py, "get_task_factory");
    if !call_method(event_loop.bind(py), name)?.is_none() {
        return Ok(None);
    }
    if let Some(lent) = host.asgi.lent.take()
        && lent.starter.is(starter)
        && lent.spare.is(&starter.getattr(pyo3::intern!(py, "_spare"))?)
        // Nobody has cancelled it in a step for which it was lent.
        && !call_method(lent.task.bind(py), pyo3::intern!(py, "cancelling"))?.is_truthy()?
    {
        return Ok(Some((lent, event_loop)));
    }
    let spare = starter.invoke_method(pyo3::intern!(py, "spare"), (&event_loop,))?;
    let task = spare.getattr(pyo3::intern!(py, "task"))?;
    let lent = Lent {
        starter: starter.clone().unbind(),
        spare: spare.unbind(),
        task: task.unbind(),
    };
    Ok(Some((lent, event_loop)))
}

/// Take a call's first step while the spare task counts as the current one. None where another task
/// is: no step was taken then.
fn lend(
    lent: &Lent,
    event_loop: &Bound<'_, PyAny>,
    call: &Bound<'_, HttpCall>,
) -> Option<PyResult<Step>> {
    let py = call.py();
    let arguments = [event_loop.as_ptr(), lent.task.as_ptr()];
    let change = |function: PyResult<&Bound<'_, PyAny>>| -> PyResult<()> {
        // SAFETY: attached; the function and its arguments are alive.
        unsafe { invoke(py, function?.as_ptr(), &arguments) }.map(drop)
    };
    match change(imports::enter_task(py)) {
        Ok(()) => {}
        Err(error) if error.is_instance_of::<PyRuntimeError>(py) => return None,
        Err(error) => return Some(Err(error)),
    }
    let step = HttpCall::step(call, py.None().bind(py));
    Some(change(imports::leave_task(py)).and(step))
}

/// Call a method that takes nothing.
fn call_method<'py>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
) -> PyResult<Bound<'py, PyAny>> {
    let way = process::Way::Method;
    let arguments = [object.as_ptr()];
    // SAFETY: attached; both are alive.
    unsafe {
        let first = arguments.as_ptr();
        let result = process::call(way, name.as_ptr(), first, 1, std::ptr::null_mut());
        Bound::from_owned_ptr_or_err(object.py(), result)
    }
}

/// Call a function.
///
/// # Safety
/// All are valid objects.
unsafe fn invoke<'py>(
    py: Python<'py>,
    function: *mut ffi::PyObject,
    arguments: &[*mut ffi::PyObject],
) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: by contract.
    unsafe {
        let result = process::vectorcall(function, arguments.as_ptr(), arguments.len());
        Bound::from_owned_ptr_or_err(py, result)
    }
}
