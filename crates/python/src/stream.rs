//! The coroutine form: messages wait in an inbox until the handler's task takes them.
//!
//! `await connection.receive()` and `async for` give an object that is awaitable, iterator and
//! future in one. A message that waits is returned without suspending the task. Otherwise the task
//! suspends on the object as on any future of asyncio's, and registers its wake-up; the first
//! message of a batch marks the connection, and when the batch's completions are all handed over
//! the wake-up is called, in the task's context, from the loop itself. That spares the trip through
//! the loop's queue of callbacks, once for a whole batch of messages, and still never runs a task
//! inside another callback.
//!
//! The inbox is bounded: at `inbox_messages_max` or `inbox_bytes_max` reading pauses, and goes on
//! when the inbox is empty.

use crate::connection::{Connection, PAUSED_BY_END, PAUSED_BY_INBOX};
use crate::core::Conn;
use crate::names;
use crate::options::InboxLimits;
use crate::receive;
use crate::user::{HasRare as _, User, resolve_closers};
use pyo3::exceptions::{PyRuntimeError, PyStopAsyncIteration};
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use vespiary_engine::wire::websocket::close::Code;
use vespiary_engine::{Cause, CloseReason, Manner};

/// A task that waits for a message: its wake-up, its context.
struct Waiter {
    callback: Py<PyAny>,
    context: Py<PyAny>,
    wait: Py<PyAny>,
}

/// The inbox of a connection whose handler is a coroutine.
#[derive(Default)]
pub(crate) struct Stream {
    inbox: RefCell<VecDeque<Py<PyAny>>>,
    waiter: RefCell<Option<Waiter>>,
    iterating: RefCell<Option<Py<PyAny>>>,
    wait: RefCell<Option<Py<PyAny>>>,
    task: RefCell<Option<Py<PyAny>>>,
    ended: Cell<bool>,
    /// The peer has finished sending; the handler may still send.
    finished: Cell<bool>,
    cancelled: Cell<bool>,
    /// What to close with when the task returns.
    farewell: RefCell<Option<Box<(u16, String)>>>,
    pub(crate) marked: Cell<bool>,
    inbox_bytes: Cell<usize>,
    limits: InboxLimits,
    /// Futures of `drain()`; boxed, as most connections never have any.
    drains: RefCell<Option<Box<Vec<Py<PyAny>>>>>,
}

impl Stream {
    pub(crate) fn new(limits: InboxLimits) -> Box<Self> {
        Box::new(Self {
            limits,
            ..Self::default()
        })
    }

    pub(crate) fn set_task(&self, task: Py<PyAny>) {
        *self.task.borrow_mut() = Some(task);
    }

    pub(crate) fn task(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.task.borrow().as_ref().map(|task| task.clone_ref(py))
    }

    /// A message arrived; true when a task is to be woken at the round's end.
    #[inline]
    pub(crate) fn push(&self, connection: &Rc<Conn>, message: Py<PyAny>) -> bool {
        let mut inbox = self.inbox.borrow_mut();
        let bytes = self.inbox_bytes.get() + payload_bytes(&message);
        self.inbox_bytes.set(bytes);
        inbox.push_back(message);
        if inbox.len() >= self.limits.messages_max || bytes >= self.limits.bytes_max {
            connection.pause(PAUSED_BY_INBOX);
        }
        self.mark()
    }

    /// No message will come any more.
    pub(crate) fn finish(&self) -> bool {
        self.finished.set(true);
        self.mark()
    }

    pub(crate) fn end(&self) -> bool {
        self.ended.set(true);
        self.finish()
    }

    #[inline]
    fn mark(&self) -> bool {
        !self.marked.get() && self.waiter.borrow().is_some() && !self.marked.replace(true)
    }

    /// Wake the waiting task, in its context.
    pub(crate) fn wake(&self, py: Python<'_>) -> PyResult<()> {
        self.marked.set(false);
        let Some(waiter) = self.waiter.take() else {
            return Ok(());
        };
        let context = waiter.context.as_ptr();
        // SAFETY: attached, and all three are valid objects that we own.
        unsafe {
            if ffi::PyContext_Enter(context) != 0 {
                return Err(PyErr::fetch(py));
            }
            let wait = waiter.wait.as_ptr();
            let result = ffi::PyObject_CallOneArg(waiter.callback.as_ptr(), wait);
            let outcome = Bound::from_owned_ptr_or_err(py, result).map(drop);
            if ffi::PyContext_Exit(context) != 0 {
                return Err(PyErr::fetch(py));
            }
            outcome
        }
    }

    /// The awaitable for one message.
    pub(crate) fn receive(
        &self,
        object: &Bound<'_, Connection>,
        iterating: bool,
    ) -> PyResult<Py<PyAny>> {
        let py = object.py();
        // One is kept for iterating, in a circle that the connection's end breaks.
        if !iterating || self.ended.get() {
            return receive::make(object, iterating);
        }
        let mut kept = self.iterating.borrow_mut();
        if kept.is_none() {
            *kept = Some(receive::make(object, true)?);
        }
        Ok(kept.as_ref().expect("it was just made").clone_ref(py))
    }

    /// What the task suspends on; kept, like the awaitable for iterating.
    pub(crate) fn wait_object(&self, object: &Bound<'_, Connection>) -> PyResult<Py<PyAny>> {
        let py = object.py();
        if self.ended.get() {
            return receive::make_wait(object);
        }
        let mut kept = self.wait.borrow_mut();
        if kept.is_none() {
            *kept = Some(receive::make_wait(object)?);
        }
        Ok(kept.as_ref().expect("it was just made").clone_ref(py))
    }

    /// The next message if one waits; an error when none will come; nothing when the task has to
    /// wait.
    #[inline]
    pub(crate) fn poll(
        &self,
        py: Python<'_>,
        connection: &Connection,
        iterating: bool,
    ) -> PyResult<Option<Py<PyAny>>> {
        if let Some(message) = self.take(connection) {
            return Ok(Some(message));
        }
        if self.finished.get() {
            return Err(if iterating && !is_broken(connection) {
                PyStopAsyncIteration::new_err(())
            } else {
                closed(py, connection)
            });
        }
        if self.waiter.borrow().is_some() {
            return Err(names::error(names::receive_conflict_class(py), |class| {
                Ok(PyErr::from_value(class.call0()?))
            }));
        }
        Ok(None)
    }

    /// A task waits: its wake-up, and the context to call it in.
    pub(crate) fn wait(
        &self,
        object: &Bound<'_, Connection>,
        wait: Py<PyAny>,
        callback: Py<PyAny>,
        context: Py<PyAny>,
    ) -> PyResult<()> {
        *self.waiter.borrow_mut() = Some(Waiter {
            callback,
            context,
            wait,
        });
        if !self.inbox.borrow().is_empty() || self.finished.get() {
            crate::host::wake_later(object.get(), object.clone().unbind())?;
        }
        Ok(())
    }

    /// Nobody waits any more; whether somebody did.
    pub(crate) fn stop_waiting(&self) -> bool {
        self.waiter.take().is_some()
    }

    /// The waiting task is cancelled: it is woken, and asks for the outcome.
    pub(crate) fn cancel(&self, object: &Bound<'_, Connection>) -> PyResult<bool> {
        if self.waiter.borrow().is_none() || self.cancelled.replace(true) {
            return Ok(false);
        }
        crate::host::wake_later(object.get(), object.clone().unbind())?;
        Ok(true)
    }

    /// Whether the wait was cancelled; asked once.
    #[inline]
    pub(crate) fn take_cancelled(&self) -> bool {
        self.cancelled.replace(false)
    }

    /// Take a message that waits.
    #[inline]
    fn take(&self, connection: &Connection) -> Option<Py<PyAny>> {
        let mut inbox = self.inbox.borrow_mut();
        let message = inbox.pop_front()?;
        let bytes = self.inbox_bytes.get();
        self.inbox_bytes.set(bytes - payload_bytes(&message));
        if inbox.is_empty() {
            if inbox.capacity() > 8 {
                *inbox = VecDeque::new();
            }
            if self.limits.messages_max > 0
                && let Ok(Some(connection)) = connection.living()
                && connection.is_paused(PAUSED_BY_INBOX)
            {
                connection.resume(PAUSED_BY_INBOX);
            }
        }
        Some(message)
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Ok(task) = self.task.try_borrow() {
            visit.call(&*task)?;
        }
        for kept in [&self.iterating, &self.wait] {
            if let Ok(kept) = kept.try_borrow() {
                visit.call(&*kept)?;
            }
        }
        if let Ok(waiter) = self.waiter.try_borrow()
            && let Some(waiter) = &*waiter
        {
            visit.call(&waiter.callback)?;
            visit.call(&waiter.context)?;
            visit.call(&waiter.wait)?;
        }
        if let Ok(inbox) = self.inbox.try_borrow() {
            for message in &*inbox {
                visit.call(message)?;
            }
        }
        Ok(())
    }

    pub(crate) fn clear(&self) {
        drop(self.task.take());
        drop(self.iterating.take());
        drop(self.wait.take());
        drop(self.waiter.take());
        drop(self.inbox.take());
        self.inbox_bytes.set(0);
    }

    /// The connection is gone: break the circle through the awaitable that is kept.
    pub(crate) fn let_go(&self) {
        drop(self.iterating.take());
        drop(self.wait.take());
    }

    fn take_drains(&self) -> Vec<Py<PyAny>> {
        self.drains.take().map(|drains| *drains).unwrap_or_default()
    }
}

/// Whether it did not end in good order, so that messages may be missing.
fn is_broken(connection: &Connection) -> bool {
    let Ok(local) = connection.local() else {
        return false;
    };
    let is_broken = |reason: &CloseReason| reason.manner == Manner::Broken;
    match (local.ended.get(), &*local.connection.borrow()) {
        (Some(ended), _) => is_broken(&ended.reason),
        (None, Some(living)) => living.reason().as_ref().is_some_and(is_broken),
        (None, None) => false,
    }
}

fn closed(py: Python<'_>, connection: &Connection) -> PyErr {
    if let Ok(Some(living)) = connection.living()
        && let Some(reason) = living.reason()
    {
        return names::closed_error(py, &reason, "");
    }
    if let Ok(Some(_)) = connection.living() {
        let reason = CloseReason::new(Cause::PeerClosed, "the peer has finished sending");
        return names::closed_error(py, &reason, "");
    }
    connection.closed_error(py)
}

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

pub(crate) fn drain(object: &Bound<'_, Connection>) -> PyResult<Py<PyAny>> {
    static DONE: PyOnceLock<Py<Done>> = PyOnceLock::new();
    let py = object.py();
    let this = object.get();
    let Some(connection) = this.living()? else {
        return Err(this.closed_error(py));
    };
    if !connection.is_above_high() {
        let done = DONE.get_or_try_init(py, || Py::new(py, Done))?;
        return Ok(done.clone_ref(py).into_any());
    }
    let future = running_loop(py)?.call_method0(py, "create_future")?;
    let stream = this
        .local()?
        .stream
        .get_or_init(|| Stream::new(InboxLimits::default()));
    let mut drains = stream.drains.borrow_mut();
    drains.get_or_insert_default().push(future.clone_ref(py));
    drop(drains);
    Ok(future)
}

pub(crate) fn wait_closed(object: &Bound<'_, Connection>) -> PyResult<Py<PyAny>> {
    let py = object.py();
    let this = object.get();
    let future = running_loop(py)?.call_method0(py, "create_future")?;
    let local = this.local()?;
    if let Some(ended) = local.ended.get() {
        future.call_method1(py, "set_result", (names::close_reason(py, &ended.reason)?,))?;
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
pub(crate) fn drained(py: Python<'_>, user: &User) -> PyResult<()> {
    let Some(stream) = user.object.get().local()?.stream.get() else {
        return Ok(());
    };
    for future in stream.take_drains() {
        if !future.call_method0(py, "done")?.is_truthy(py)? {
            future.call_method1(py, "set_result", (py.None(),))?;
        }
    }
    Ok(())
}

/// The connection has ended: whoever waits on it hears of it.
pub(crate) fn closed_for(py: Python<'_>, user: &User, reason: &CloseReason) -> PyResult<()> {
    if let Some(stream) = user.object.get().local()?.stream.get() {
        for future in stream.take_drains() {
            if !future.call_method0(py, "done")?.is_truthy(py)? {
                let error = names::closed_error(py, reason, "").into_value(py);
                future.call_method1(py, "set_exception", (error,))?;
            }
        }
    }
    let closers = match user.rare.borrow_mut().as_mut() {
        Some(rare) => std::mem::take(&mut rare.closers),
        None => return Ok(()),
    };
    resolve_closers(py, closers, reason)
}

/// Give a coroutine the end once it has taken what waits; false where the handler is none.
pub(crate) fn finish(connection: &Rc<Conn>, code: u16, reason: &str) -> bool {
    let user = connection.user.borrow();
    let Some(user) = user.as_ref() else {
        return false;
    };
    let Ok(Some(stream)) = user.object.get().local().map(|local| local.stream.get()) else {
        return false;
    };
    if stream.task.borrow().is_none() {
        return false;
    }
    *stream.farewell.borrow_mut() = Some(Box::new((code, reason.to_owned())));
    connection.pause(PAUSED_BY_INBOX | PAUSED_BY_END);
    if stream.finish() {
        connection.engine().host.add_wake(&user.object);
    }
    true
}

/// The handler's task has ended: close the connection, or tell of the error.
pub(crate) fn task_done(connection: &Connection, task: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = task.py();
    let stream = connection.stream()?;
    drop(stream.task.take());
    let living = connection.living()?;
    let failed = if task.call_method0("cancelled")?.is_truthy()? {
        false
    } else {
        let error = task.call_method0("exception")?;
        !error.is_none() && !is_own_end(py, connection, &error)? && {
            crate::endpoint::report(py, living.as_ref(), &error);
            true
        }
    };
    if let Some(living) = living {
        if failed {
            living.fail_in_handler();
        } else {
            let farewell = stream.farewell.take();
            let (code, reason) = farewell.map_or((1000, String::new()), |it| *it);
            living.close(Code(code), &reason);
        }
    }
    Ok(())
}

/// A handler that lets the end of its own connection pass through is no failure.
fn is_own_end(py: Python<'_>, connection: &Connection, error: &Bound<'_, PyAny>) -> PyResult<bool> {
    let ended = match connection.living()? {
        Some(living) => !living.is_open(),
        None => true,
    };
    Ok(ended && error.is_instance(names::connection_closed_class(py)?)?)
}

/// The bytes that a message keeps, its object's head aside.
#[inline]
fn payload_bytes(message: &Py<PyAny>) -> usize {
    let object = message.as_ptr();
    // SAFETY: the object is ours, and is asked for what its exact type has.
    unsafe {
        if ffi::PyBytes_CheckExact(object) != 0 {
            ffi::PyBytes_Size(object) as usize
        } else if ffi::PyUnicode_CheckExact(object) != 0 {
            ffi::PyUnicode_GET_LENGTH(object) as usize * ffi::PyUnicode_KIND(object) as usize
        } else {
            0
        }
    }
}
