//! What tasks wait for besides messages: room in the write queue (`drain`) and the end
//! (`wait_closed`).

use crate::attachment::{Attachment, HasRare as _, resolve_closers};
use crate::calls::{Ask as _, Invoke as _, InvokeOwned as _};
use crate::connection::{Connection, peer_text};
use crate::core::Conn;
use crate::dropped;
use crate::imports;
use crate::inbox::Inbox;
use crate::once::once;
use crate::options::InboxLimits;
use crate::steps::{self, Steps};
use crate::tls;
use pyo3::exceptions::{PyRuntimeError, PyRuntimeWarning, PyStopIteration};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use vespiary_engine::CloseReason;
use vespiary_engine::wire::websocket::close::Code;

pub(crate) fn running_loop(py: Python<'_>) -> PyResult<Py<PyAny>> {
    static GET: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let get = once(py, &GET, || {
        py.import("asyncio")?
            .getattr("get_running_loop")
            .map(Bound::unbind)
    })?;
    get.invoke(py, ())
}

/// A coroutine that is done already.
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

    fn send(&self, _value: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(PyStopIteration::new_err(()))
    }

    #[pyo3(signature = (*error))]
    fn throw(&self, error: &Bound<'_, PyTuple>) -> PyResult<()> {
        Err(steps::thrown(error))
    }

    fn close(&self) {}
}

fn done(py: Python<'_>) -> PyResult<Py<PyAny>> {
    static DONE: PyOnceLock<Py<Done>> = PyOnceLock::new();
    let done = once(py, &DONE, || Py::new(py, Done))?;
    Ok(done.clone_ref(py).into_any())
}

/// What a coroutine waits for.
#[derive(Clone, Copy)]
pub(crate) enum What {
    /// Room in the write queue.
    Room,
    /// The connection's end.
    End,
    /// The same, behind the `close()` that it comes from.
    Closing,
    /// The TLS that `start_tls()` has begun.
    Secured,
}

/// What `drain()`, `wait_closed()` and `close()` return: a coroutine that may be awaited more than
/// once. asyncio logs a future that failed and was never awaited, so the future is made when
/// somebody awaits.
///
/// The result of `close()` may be ignored. The others only wait, so it is a mistake not to await
/// them: this causes a RuntimeWarning, as with Python's own coroutines.
#[pyclass(frozen, module = "vespiary._core")]
pub(crate) struct Waiting {
    connection: Py<Connection>,
    what: What,
    steps: Steps,
    is_awaited: AtomicBool,
}

impl Waiting {
    pub(crate) fn new(connection: &Bound<'_, Connection>, what: What) -> Self {
        Self {
            connection: connection.clone().unbind(),
            what,
            steps: Steps::default(),
            is_awaited: AtomicBool::new(matches!(what, What::Closing | What::Secured)),
        }
    }

    fn note_awaited(&self) {
        self.is_awaited.store(true, Ordering::Relaxed);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if *self.is_awaited.get_mut() {
            return;
        }
        let text = match self.what {
            What::Room => c"connection.drain() was never awaited",
            _ => c"connection.wait_closed() was never awaited",
        };
        Python::attach(|py| {
            // What drops it may be on its way with an exception.
            let raised = PyErr::take(py);
            let category = py.get_type::<PyRuntimeWarning>();
            if let Err(error) = PyErr::warn(py, &category, text, 1) {
                error.write_unraisable(py, None);
            }
            if let Some(raised) = raised {
                raised.restore(py);
            }
        });
    }
}

#[pymethods]
impl Waiting {
    fn __await__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.note_awaited();
        let connection = self.connection.bind(py);
        match self.what {
            What::Room => drain(connection, "await connection.drain()"),
            What::End | What::Closing => wait_closed(connection),
            What::Secured => wait_secured(connection),
        }
    }

    fn send(&self, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        self.steps.send(value, |py| self.__await__(py))
    }

    #[pyo3(signature = (*error))]
    fn throw(&self, error: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
        self.note_awaited();
        self.steps.throw(error)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.note_awaited();
        self.steps.close(py)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.connection)?;
        self.steps.traverse(&visit)
    }

    fn __clear__(&self) {
        self.steps.clear();
    }
}

/// What `drain()` returns: done already where there is room.
pub(crate) fn drain_later(object: &Bound<'_, Connection>) -> PyResult<Py<PyAny>> {
    let (py, this) = (object.py(), object.get());
    this.check_thread("drain()")?;
    match this.living()? {
        None => Err(this.closed_error(py)),
        Some(connection) if !connection.is_above_high() => done(py),
        Some(_) => Ok(Py::new(py, Waiting::new(object, What::Room))?.into_any()),
    }
}

/// What a task that drains iterates over: nothing where there is room.
pub(crate) fn drain(object: &Bound<'_, Connection>, method: &str) -> PyResult<Py<PyAny>> {
    let py = object.py();
    let this = object.get();
    this.check_thread(method)?;
    let Some(connection) = this.living()? else {
        return Err(this.closed_error(py));
    };
    if !connection.is_above_high() {
        return done(py);
    }
    let future = running_loop(py)?.invoke_method(py, "create_future", ())?;
    let inbox = this
        .local()?
        .inbox
        .get_or_init(|| Inbox::new(InboxLimits::default()));
    let mut drains = inbox.drains.borrow_mut();
    drains.get_or_insert_default().push(future.clone_ref(py));
    drop(drains);
    if inbox.is_lent.get() {
        dropped::take_back(object);
    }
    future.invoke_method(py, "__await__", ())
}

/// What a task that waits for the end iterates over.
fn wait_closed(object: &Bound<'_, Connection>) -> PyResult<Py<PyAny>> {
    let py = object.py();
    let this = object.get();
    this.check_thread("await connection.wait_closed()")?;
    let future = running_loop(py)?.invoke_method(py, "create_future", ())?;
    if let Some(ended) = this.ended() {
        future.invoke_method(
            py,
            "set_result",
            (imports::close_reason(py, &ended.reason)?,),
        )?;
        return future.invoke_method(py, "__await__", ());
    }
    let Some(connection) = this.living()? else {
        return Err(this.closed_error(py));
    };
    connection
        .rare(|rare| rare.closers.push(future.clone_ref(py)))
        .ok_or_else(|| PyRuntimeError::new_err("the connection has no owner"))?;
    note_wait_for_end(py, this, &connection)?;
    // Somebody waits for the end, perhaps with nothing but this future.
    dropped::keep(object);
    future.invoke_method(py, "__await__", ())
}

/// What a task that waits for TLS iterates over.
fn wait_secured(object: &Bound<'_, Connection>) -> PyResult<Py<PyAny>> {
    let py = object.py();
    let this = object.get();
    this.check_thread("await connection.start_tls()")?;
    let Some(connection) = this.living()? else {
        return Err(this.closed_error(py));
    };
    let future = running_loop(py)?.invoke_method(py, "create_future", ())?;
    if tls::facts(&connection).is_some() {
        secured(py, &connection, vec![future.clone_ref(py)])?;
    } else {
        connection
            .rare(|rare| rare.securers.push(future.clone_ref(py)))
            .ok_or_else(|| PyRuntimeError::new_err("the connection has no owner"))?;
    }
    future.invoke_method(py, "__await__", ())
}

/// The handshake of TLS has succeeded: resolve the futures of `start_tls()`.
pub(crate) fn secured(
    py: Python<'_>,
    connection: &Rc<Conn>,
    futures: Vec<Py<PyAny>>,
) -> PyResult<()> {
    let Some(facts) = tls::facts(connection) else {
        return Ok(());
    };
    for future in futures {
        let info = imports::tls_info(py, &tls::fields(py, &facts)?)?;
        settle(py, &future, "set_result", info)?;
    }
    Ok(())
}

/// The connection has ended before that.
pub(crate) fn not_secured(
    py: Python<'_>,
    futures: Vec<Py<PyAny>>,
    reason: &CloseReason,
    peer: &str,
) -> PyResult<()> {
    for future in futures {
        let error = imports::closed_error(py, reason, peer).into_value(py);
        settle(py, &future, "set_exception", error)?;
    }
    Ok(())
}

/// A handler that waits for the end, and receives nothing meanwhile, sends no more answers. So the
/// connection ends when the peer has finished sending, or when its server stops. If another task
/// waits, and nothing was ever received, the messages that wait may still get an answer: see
/// [`is_end_awaited`].
fn note_wait_for_end(py: Python<'_>, this: &Connection, connection: &Rc<Conn>) -> PyResult<()> {
    let host = &connection.endpoint().host;
    let Some(inbox) = this.local()?.inbox.get() else {
        return Ok(());
    };
    let current = py.import("asyncio")?.invoke_method("current_task", ())?;
    let is_own = (inbox.task.borrow().as_ref()).is_some_and(|task| current.is(task));
    if is_own
        && !connection.is_within_message()
        && let Some(told) = inbox.told()
    {
        connection.close(Code(told.0), &told.1);
    }
    if host.half_close {
        return Ok(());
    }
    if is_own || inbox.is_untouched() {
        inbox.waits_for_end.set(true);
        inbox.waits_by_itself.set(is_own);
        if host.spawn.is_some() && (is_own || inbox.is_empty()) {
            connection.close_after_peer();
        }
    }
    Ok(())
}

/// Whether a task is suspended in `wait_closed()`, and waits for nothing else.
pub(crate) fn is_task_at_end(
    py: Python<'_>,
    connection: &Conn,
    task: &Py<PyAny>,
) -> PyResult<bool> {
    let user = connection.user.borrow();
    let Some(rare) = user.as_ref().and_then(|user| user.rare.get()) else {
        return Ok(false);
    };
    let rare = rare.borrow();
    if rare.closers.is_empty() {
        return Ok(false);
    }
    // Each of asyncio's tasks has this, in 3.11 to 3.14.
    let Ok(awaited) = task.bind(py).attribute("_fut_waiter") else {
        return Ok(false);
    };
    match rare.closers.iter().find(|future| awaited.is(*future)) {
        Some(future) => Ok(!is_done(py, future)?),
        None => Ok(false),
    }
}

/// Whether the program waits for the connection's end, and receives nothing. `has_waited`: it has
/// been like that for a while, so that the messages that wait are not about to be received.
pub(crate) fn is_end_awaited(
    py: Python<'_>,
    attachment: &Attachment,
    has_waited: bool,
) -> PyResult<bool> {
    let Some(rare) = attachment.rare.get() else {
        return Ok(false);
    };
    let rare = rare.borrow();
    if rare.ends_with_peer {
        return Ok(has_waited);
    }
    let Some(inbox) = attachment.object.get().local()?.inbox.get() else {
        return Ok(false);
    };
    let may_be_received = !has_waited && !inbox.waits_by_itself.get() && !inbox.is_empty();
    if !inbox.waits_for_end.get() || may_be_received {
        return Ok(false);
    }
    for future in &rare.closers {
        if !is_done(py, future)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Resolve the futures of drain().
pub(crate) fn drained(py: Python<'_>, attachment: &Attachment) -> PyResult<()> {
    let Some(inbox) = attachment.object.get().local()?.inbox.get() else {
        return Ok(());
    };
    for future in inbox.take_drains() {
        settle(py, &future, "set_result", py.None())?;
    }
    dropped::lend(attachment.object.bind(py));
    Ok(())
}

/// Whether a future has its outcome, or was cancelled.
pub(crate) fn is_done(py: Python<'_>, future: &Py<PyAny>) -> PyResult<bool> {
    future.invoke_method(py, "done", ())?.is_truthy(py)
}

/// Set the outcome of a future that is not done. A loop that was closed takes no callbacks of it,
/// and nobody waits.
pub(crate) fn settle<'py>(
    py: Python<'py>,
    future: &Py<PyAny>,
    method: &str,
    outcome: impl IntoPyObject<'py>,
) -> PyResult<()> {
    if is_done(py, future)? {
        return Ok(());
    }
    let Err(error) = future.invoke_method(py, method, (outcome,)) else {
        return Ok(());
    };
    let event_loop = future.invoke_method(py, "get_loop", ())?;
    if event_loop
        .invoke_method(py, "is_closed", ())?
        .is_truthy(py)?
    {
        return Ok(());
    }
    Err(error)
}

/// The connection has ended: resolve the futures of those who wait for it.
pub(crate) fn resolve_at_end(
    py: Python<'_>,
    connection: &Rc<Conn>,
    attachment: &Attachment,
    reason: &CloseReason,
) -> PyResult<()> {
    if let Some(inbox) = attachment.object.get().local()?.inbox.get() {
        for future in inbox.take_drains() {
            let error = imports::closed_error(py, reason, &peer_text(connection)).into_value(py);
            settle(py, &future, "set_exception", error)?;
        }
    }
    let Some(rare) = attachment.rare.get() else {
        return Ok(());
    };
    let closers = std::mem::take(&mut rare.borrow_mut().closers);
    resolve_closers(py, closers, reason)
}
