//! What tasks wait for besides messages: room in the write queue (`drain`) and the end
//! (`wait_closed`).

use crate::attachment::{Attachment, HasRare as _, resolve_closers};
use crate::connection::Connection;
use crate::imports;
use crate::inbox::Inbox;
use crate::options::InboxLimits;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use vespiary_engine::CloseReason;

pub(crate) fn running_loop(py: Python<'_>) -> PyResult<Py<PyAny>> {
    static GET: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let get = GET.get_or_try_init(py, || {
        py.import("asyncio")?
            .getattr("get_running_loop")
            .map(Bound::unbind)
    })?;
    get.call0(py)
}

/// An awaitable that is done already.
#[pyclass(frozen, module = "vespiary._core")]
pub(crate) struct Done;

#[pymethods]
impl Done {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self) -> Option<()> {
        None
    }
}

/// What `drain()` gives: done already where there is room.
pub(crate) fn drain(object: &Bound<'_, Connection>, method: &str) -> PyResult<Py<PyAny>> {
    static DONE: PyOnceLock<Py<Done>> = PyOnceLock::new();
    let py = object.py();
    let this = object.get();
    this.check_thread(method)?;
    let Some(connection) = this.living()? else {
        return Err(this.closed_error(py));
    };
    if !connection.is_above_high() {
        let done = DONE.get_or_try_init(py, || Py::new(py, Done))?;
        return Ok(done.clone_ref(py).into_any());
    }
    let future = running_loop(py)?.call_method0(py, "create_future")?;
    let inbox = this
        .local()?
        .inbox
        .get_or_init(|| Inbox::new(InboxLimits::default()));
    let mut drains = inbox.drains.borrow_mut();
    drains.get_or_insert_default().push(future.clone_ref(py));
    drop(drains);
    Ok(future)
}

pub(crate) fn wait_closed(object: &Bound<'_, Connection>) -> PyResult<Py<PyAny>> {
    let py = object.py();
    let this = object.get();
    this.check_thread("wait_closed()")?;
    let future = running_loop(py)?.call_method0(py, "create_future")?;
    if let Some(ended) = this.ended() {
        future.call_method1(
            py,
            "set_result",
            (imports::close_reason(py, &ended.reason)?,),
        )?;
        return Ok(future);
    }
    let Some(connection) = this.living()? else {
        return Err(this.closed_error(py));
    };
    connection
        .rare(|rare| rare.closers.push(future.clone_ref(py)))
        .ok_or_else(|| PyRuntimeError::new_err("the connection has no owner"))?;
    Ok(future)
}

/// Resolve the futures of drain().
pub(crate) fn drained(py: Python<'_>, attachment: &Attachment) -> PyResult<()> {
    let Some(inbox) = attachment.object.get().local()?.inbox.get() else {
        return Ok(());
    };
    for future in inbox.take_drains() {
        if !future.call_method0(py, "done")?.is_truthy(py)? {
            future.call_method1(py, "set_result", (py.None(),))?;
        }
    }
    Ok(())
}

/// Set the outcome of a future. A loop that was closed takes no callbacks of it, and nobody waits.
pub(crate) fn settle(
    py: Python<'_>,
    future: &Py<PyAny>,
    method: &str,
    outcome: Py<PyAny>,
) -> PyResult<()> {
    let Err(error) = future.call_method1(py, method, (outcome,)) else {
        return Ok(());
    };
    let event_loop = future.call_method0(py, "get_loop")?;
    if event_loop.call_method0(py, "is_closed")?.is_truthy(py)? {
        return Ok(());
    }
    Err(error)
}

/// The connection has ended: anyone who waits on it hears of it.
pub(crate) fn resolve_at_end(
    py: Python<'_>,
    attachment: &Attachment,
    reason: &CloseReason,
) -> PyResult<()> {
    if let Some(inbox) = attachment.object.get().local()?.inbox.get() {
        for future in inbox.take_drains() {
            if !future.call_method0(py, "done")?.is_truthy(py)? {
                let error = imports::closed_error(py, reason, "").into_value(py);
                settle(py, &future, "set_exception", error.into_any())?;
            }
        }
    }
    let closers = match attachment.rare.borrow_mut().as_mut() {
        Some(rare) => std::mem::take(&mut rare.closers),
        None => return Ok(()),
    };
    resolve_closers(py, closers, reason)
}
