//! The coroutine form: messages wait in an inbox until the handler's task takes them.
//!
//! `await connection.receive()` and `async for` give an object that is awaitable, iterator and
//! future in one. A message that waits is returned without suspending the task. Otherwise the task
//! suspends on the object as on any future of asyncio's, and registers its wake-up; the first
//! message of a batch marks the connection. When all completions of the batch are handed over, the
//! wake-up is called from the loop itself, in the task's context. So a whole batch of messages does
//! not need the loop's queue of callbacks, and a task still never runs inside another callback.
//!
//! The inbox is bounded: at `inbox_messages_max` or `inbox_bytes_max` reading pauses, and continues
//! when the inbox is empty.

use crate::awaitables;
use crate::calls::{Ask as _, Invoke as _};
use crate::connection::{Connection, Local, PAUSED_BY_INBOX, peer_text};
use crate::core::Conn;
use crate::dropped;
use crate::imports;
use crate::options::InboxLimits;
use crate::process;
use pyo3::exceptions::PyStopAsyncIteration;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyFloat};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;
use vespiary_engine::{Cause, CloseReason, Manner};

/// A task that waits for a message: its wake-up, its context.
struct Waiter {
    callback: Py<PyAny>,
    context: Py<PyAny>,
    wait: Py<PyAny>,
}

/// The inbox of a connection whose handler is a coroutine.
#[derive(Default)]
pub(crate) struct Inbox {
    messages: RefCell<VecDeque<Py<PyAny>>>,
    waiter: RefCell<Option<Waiter>>,
    receiving: RefCell<Option<Py<PyAny>>>,
    wait: RefCell<Option<Py<PyAny>>>,
    pub(crate) task: RefCell<Option<Py<PyAny>>>,
    ended: Cell<bool>,
    /// The peer has finished sending; the handler may still send.
    finished: Cell<bool>,
    /// The handler waits for the connection's end, and has received nothing since.
    pub(crate) waits_for_end: Cell<bool>,
    /// It does so in the task of its own, which receives nothing meanwhile.
    pub(crate) waits_by_itself: Cell<bool>,
    /// The connection is a client's that the program alone uses (see `dropped`).
    pub(crate) is_lendable: Cell<bool>,
    /// The engine's reference to the connection's object is not counted.
    pub(crate) is_lent: Cell<bool>,
    /// The wait was cancelled: the message of the cancellation, or None.
    cancelled: Cell<Option<Py<PyAny>>>,
    /// What to close with when the task returns, or waits for nothing but the end.
    pub(crate) close_with: Cell<Option<Box<(u16, String)>>>,
    pub(crate) marked: Cell<bool>,
    /// The steps of its task are timed.
    pub(crate) is_timed: Cell<bool>,
    bytes: Cell<usize>,
    limits: InboxLimits,
    /// Futures of `drain()`; boxed, as most connections never have any.
    pub(crate) drains: RefCell<Option<Box<Vec<Py<PyAny>>>>>,
}

impl Inbox {
    pub(crate) fn new(limits: InboxLimits) -> Box<Self> {
        Box::new(Self {
            limits,
            ..Self::default()
        })
    }

    pub(crate) fn set_task(&self, task: Py<PyAny>) {
        *self.task.borrow_mut() = Some(task);
    }

    /// A message arrived; true when a task is to be woken at the round's end.
    #[inline]
    pub(crate) fn push(&self, connection: &Rc<Conn>, message: Py<PyAny>) -> bool {
        let mut messages = self.messages.borrow_mut();
        let bytes = self.bytes.get() + payload_bytes(&message);
        self.bytes.set(bytes);
        messages.push_back(message);
        if messages.len() >= self.limits.messages_max || bytes >= self.limits.bytes_max {
            connection.pause(PAUSED_BY_INBOX);
        }
        self.mark()
    }

    /// No message will come any more.
    pub(crate) fn finish(&self) -> bool {
        self.finished.set(true);
        self.mark()
    }

    /// Whether nothing has ever been received.
    pub(crate) fn is_untouched(&self) -> bool {
        self.receiving.borrow().is_none()
    }

    /// Whether no message waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.borrow().is_empty()
    }

    /// Whether no message will come any more.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished.get()
    }

    /// What its server's stop has asked to close with.
    pub(crate) fn told(&self) -> Option<Box<(u16, String)>> {
        let told = self.close_with.take();
        self.close_with.set(told.clone());
        told
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
            let arguments = [std::ptr::null_mut(), wait];
            let result = process::vectorcall(
                waiter.callback.as_ptr(),
                arguments.as_ptr().add(1),
                1 | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET,
            );
            let outcome = Bound::from_owned_ptr_or_err(py, result).map(drop);
            if ffi::PyContext_Exit(context) != 0 {
                return Err(PyErr::fetch(py));
            }
            outcome
        }
    }

    /// The same, and a report of how long its step took.
    #[cold]
    pub(crate) fn wake_timed(&self, py: Python<'_>, connection: &Connection) -> PyResult<()> {
        let endpoint = connection.living()?.map(|living| living.endpoint().clone());
        let waiter = self.waiter.borrow();
        let callback = waiter.as_ref().map(|waiter| waiter.callback.clone_ref(py));
        drop(waiter);
        let began = Instant::now();
        self.wake(py)?;
        let took = PyFloat::new(py, began.elapsed().as_secs_f64());
        if let (Some(callback), Some(endpoint)) = (callback, endpoint)
            && let Some(hook) = &endpoint.host.step
        {
            // SAFETY: both are alive.
            unsafe { hook.call(py, &[callback.as_ptr(), took.as_ptr()]) }?;
        }
        Ok(())
    }

    /// The awaitable for one message.
    #[inline]
    pub(crate) fn receive(
        &self,
        object: &Bound<'_, Connection>,
        iterating: bool,
    ) -> PyResult<Py<PyAny>> {
        let py = object.py();
        self.waits_for_end.set(false);
        // One is kept, in a cycle of references that the connection's end breaks.
        if let Some(kept) = self.receiving.borrow().as_ref()
            && awaitables::is_free(kept, iterating)
        {
            return Ok(kept.clone_ref(py));
        }
        // Nothing is borrowed: making it may run the collector, and finalizers that receive.
        let made = awaitables::make(object, iterating)?;
        if !self.ended.get() {
            drop(self.receiving.replace(Some(made.clone_ref(py))));
        }
        Ok(made)
    }

    /// What the task suspends on; kept, like the awaitable.
    pub(crate) fn wait_object(&self, object: &Bound<'_, Connection>) -> PyResult<Py<PyAny>> {
        let py = object.py();
        if self.ended.get() {
            return awaitables::make_wait(object);
        }
        if let Some(kept) = self.wait.borrow().as_ref() {
            return Ok(kept.clone_ref(py));
        }
        // Nothing is borrowed: making it may run the collector, and finalizers that receive.
        let made = awaitables::make_wait(object)?;
        drop(self.wait.replace(Some(made.clone_ref(py))));
        Ok(made)
    }

    /// The next message if one waits; an error when none will come; nothing when the task has to
    /// wait.
    #[inline]
    pub(crate) fn poll(
        &self,
        py: Python<'_>,
        connection: &Connection,
        local: &Local,
        iterating: bool,
    ) -> PyResult<Option<Py<PyAny>>> {
        if let Some(message) = self.take(local) {
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
            return Err(imports::error(
                imports::receive_conflict_class(py),
                |class| Ok(PyErr::from_value(class.invoke(())?)),
            ));
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
        if self.is_lent.get() {
            dropped::take_back(object);
        }
        if !self.messages.borrow().is_empty() || self.finished.get() {
            crate::wakes::wake_later(object.get(), object.clone().unbind())?;
        }
        Ok(())
    }

    /// Nobody waits any more; whether somebody did.
    pub(crate) fn stop_waiting(&self) -> bool {
        self.waiter.take().is_some()
    }

    /// The waiting task is cancelled: it is woken, and asks for the outcome. The message is that of
    /// `task.cancel(message)`, or None.
    pub(crate) fn cancel(
        &self,
        object: &Bound<'_, Connection>,
        message: Py<PyAny>,
    ) -> PyResult<bool> {
        if self.waiter.borrow().is_none() {
            return Ok(false);
        }
        if let Some(first) = self.cancelled.replace(Some(message)) {
            drop(self.cancelled.replace(Some(first)));
            return Ok(false);
        }
        crate::wakes::wake_later(object.get(), object.clone().unbind())?;
        Ok(true)
    }

    /// The same in a forked child, where no engine wakes the task, so `event_loop` does.
    pub(crate) fn cancel_in_child(
        &self,
        event_loop: &Bound<'_, PyAny>,
        message: Py<PyAny>,
    ) -> PyResult<bool> {
        let Some(waiter) = self.waiter.take() else {
            return Ok(false);
        };
        drop(self.cancelled.replace(Some(message)));
        let options = [("context", waiter.context)].into_py_dict(event_loop.py())?;
        let arguments = (waiter.callback, waiter.wait);
        event_loop
            .attribute("call_soon")?
            .invoke_with(arguments, &options)?;
        Ok(true)
    }

    /// The message of the wait's cancellation, if it was cancelled; asked once.
    #[inline]
    pub(crate) fn take_cancelled(&self) -> Option<Py<PyAny>> {
        self.cancelled.take()
    }

    /// Take a message that waits.
    #[inline]
    fn take(&self, local: &Local) -> Option<Py<PyAny>> {
        let mut messages = self.messages.borrow_mut();
        let message = messages.pop_front()?;
        let bytes = self.bytes.get();
        self.bytes.set(bytes - payload_bytes(&message));
        if messages.is_empty() {
            if messages.capacity() > 8 {
                *messages = VecDeque::new();
            }
            if self.limits.messages_max > 0
                && let Some(connection) = &*local.connection.borrow()
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
        for kept in [&self.receiving, &self.wait] {
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
        if let Ok(messages) = self.messages.try_borrow() {
            for message in &*messages {
                visit.call(message)?;
            }
        }
        if let Ok(drains) = self.drains.try_borrow() {
            for future in drains.iter().flat_map(|it| it.iter()) {
                visit.call(future)?;
            }
        }
        Ok(())
    }

    pub(crate) fn clear(&self) {
        drop(self.task.take());
        drop(self.receiving.take());
        drop(self.wait.take());
        drop(self.waiter.take());
        drop(self.messages.take());
        drop(self.drains.take());
        self.bytes.set(0);
    }

    /// The connection is gone: break the cycle of references through the awaitable that is kept.
    pub(crate) fn let_go(&self) {
        drop(self.receiving.take());
        drop(self.wait.take());
    }

    /// Whether a task waits for a message, or for room in the write queue.
    #[inline]
    pub(crate) fn is_awaited(&self) -> bool {
        self.waiter.borrow().is_some() || self.drains.borrow().is_some()
    }

    pub(crate) fn take_drains(&self) -> Vec<Py<PyAny>> {
        self.drains.take().map(|drains| *drains).unwrap_or_default()
    }
}

/// Whether it did not end cleanly, so that messages may be missing.
fn is_broken(connection: &Connection) -> bool {
    let Ok(local) = connection.local() else {
        return false;
    };
    let is_broken = |reason: &CloseReason| reason.manner == Manner::Broken;
    match (connection.ended(), &*local.connection.borrow()) {
        (Some(ended), _) => is_broken(&ended.reason),
        (None, Some(living)) => living.reason().as_ref().is_some_and(is_broken),
        (None, None) => false,
    }
}

fn closed(py: Python<'_>, connection: &Connection) -> PyErr {
    let Ok(Some(living)) = connection.living() else {
        return connection.closed_error(py);
    };
    let reason = living
        .reason()
        .unwrap_or_else(|| CloseReason::new(Cause::PeerClosed, "the peer has finished sending"));
    imports::closed_error(py, &reason, &peer_text(&living))
}

/// The bytes that a message keeps, its object's head aside.
#[inline]
fn payload_bytes(message: &Py<PyAny>) -> usize {
    let object = message.as_ptr();
    // SAFETY: the object is ours, and is asked for what its exact type has.
    unsafe {
        if ffi::PyBytes_CheckExact(object) != 0 {
            ffi::Py_SIZE(object) as usize
        } else if ffi::PyUnicode_CheckExact(object) != 0 {
            ffi::PyUnicode_GET_LENGTH(object) as usize * ffi::PyUnicode_KIND(object) as usize
        } else {
            0
        }
    }
}
