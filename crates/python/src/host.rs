//! The host: the engine's events become calls of the handler's methods, or wait in its coroutine's
//! inbox.
//!
//! All of this runs on the loop's thread, attached to the interpreter, from the engine's loop:
//! `Core::select` is its only caller. An exception of a handler, of whatever class, closes that
//! handler's connection, is logged once and counted, and concerns nobody else. Only
//! KeyboardInterrupt and SystemExit go further: they end the loop's `select` once the batch is
//! done.

use crate::attachment::{Attachment, HasRare as _};
use crate::callback::Callback;
use crate::connection::Connection;
use crate::context::Entered;
use crate::core::Conn;
use crate::endpoint::PyEndpoint;
use crate::imports;
use crate::inbox::Inbox;
use crate::listener::Listener;
use crate::loop_handle::LoopHandle;
use crate::payload::BytesPayload;
use crate::ping;
use crate::process;
use crate::report::{self, log_response_fault, log_rule_broken, report_event};
use crate::response;
use crate::send::with_payload;
use crate::timer::{Target, Timers};
use crate::waiting;
use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString};
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use vespiary_engine::port::Interest;
use vespiary_engine::wire::http;
use vespiary_engine::{AfterEnd, Answer, Cause, CloseReason, Endpoint, Event, Host, Kind};

/// The host of an engine.
#[derive(Default)]
pub(crate) struct PyHost {
    handle: OnceCell<Arc<LoopHandle>>,
    wakes: RefCell<Vec<Py<Connection>>>,
    /// Schedules a turn, for a guest of another loop.
    schedule: RefCell<Option<Py<PyAny>>>,
    in_turn: Cell<bool>,
    ready: RefCell<Vec<(i32, u8)>>,
    /// What must end the loop once the batch is done.
    fatal: RefCell<Option<PyErr>>,
    pub(crate) timers: Timers,
    /// Those that hold the engine, to be let go at its end.
    pub(crate) listeners: RefCell<Vec<Py<Listener>>>,
}

impl PyHost {
    pub(crate) fn set_handle(&self, handle: Arc<LoopHandle>) {
        let _ = self.handle.set(handle);
    }

    pub(crate) fn handle(&self) -> &Arc<LoopHandle> {
        self.handle.get().expect("the core sets it at its start")
    }

    pub(crate) fn take_ready(&self) -> Vec<(i32, u8)> {
        self.ready.take()
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.borrow().is_empty()
    }

    /// The engine is a guest: call this when a turn is wanted.
    pub(crate) fn set_schedule(&self, schedule: Py<PyAny>) {
        *self.schedule.borrow_mut() = Some(schedule);
    }

    pub(crate) fn is_in_turn(&self) -> bool {
        self.in_turn.get()
    }

    /// A turn begins or ends. Returns whether one was under way.
    pub(crate) fn set_in_turn(&self, on: bool) -> bool {
        self.in_turn.replace(on)
    }

    /// Hold nothing any more that may hold the loop.
    pub(crate) fn let_go(&self) {
        self.timers.clear();
        let schedule = self.schedule.take();
        drop(schedule);
    }

    pub(crate) fn has_wakes(&self) -> bool {
        !self.wakes.borrow().is_empty()
    }

    pub(crate) fn take_fatal(&self) -> Option<PyErr> {
        self.fatal.take()
    }

    pub(crate) fn py(&self) -> Python<'_> {
        // SAFETY: the engine runs from `Core`'s methods only, which are attached to the
        // interpreter.
        unsafe { Python::assume_attached() }
    }

    /// The handler's view of the connection, made when it is first needed.
    pub(crate) fn object(&self, connection: &Rc<Conn>) -> PyResult<Py<Connection>> {
        let py = self.py();
        if let Some(attachment) = connection.user.borrow().as_ref() {
            return Ok(attachment.object.clone_ref(py));
        }
        let object = Connection::new(self.handle().clone(), connection.clone());
        let object = Py::new(py, object)?;
        *connection.user.borrow_mut() = Some(Attachment::new(object.clone_ref(py)));
        Ok(object)
    }

    /// A handler raised: log, count, close, and keep what must end the loop.
    #[cold]
    fn failed(&self, connection: &Rc<Conn>, error: PyErr) {
        self.note(self.py(), Some(connection), error);
        connection.fail_in_handler();
    }

    /// Log and count what was raised for a connection, or keep it where it must end the loop.
    #[cold]
    pub(crate) fn note(&self, py: Python<'_>, connection: Option<&Rc<Conn>>, error: PyErr) {
        if is_fatal(py, &error) {
            self.fatal.borrow_mut().get_or_insert(error);
            return;
        }
        // With its traceback, which the value by itself has not.
        let error = error.into_value(py).into_bound(py).into_any();
        match connection {
            Some(connection) => report::handler_failed(py, connection, &error),
            None => report::callback_failed(py, "callback", &error),
        }
    }

    /// The same for an exception that Python has caught already.
    pub(crate) fn note_error(
        &self,
        py: Python<'_>,
        connection: &Rc<Conn>,
        error: &Bound<'_, PyAny>,
    ) {
        self.note(py, Some(connection), PyErr::from_value(error.clone()));
    }

    /// Call a hook in the connection's context.
    ///
    /// # Safety
    /// The pointers must be valid objects for the time of the call.
    #[inline]
    unsafe fn call(
        &self,
        connection: &Rc<Conn>,
        attachment: &Attachment,
        hook: &Callback,
        arguments: &[*mut ffi::PyObject],
    ) -> PyResult<Bound<'_, PyAny>> {
        let py = self.py();
        let context = attachment.context(py, &connection.endpoint.host)?;
        let entered = Entered::enter(py, context)?;
        // SAFETY: by contract.
        let result = unsafe { hook.call(py, arguments) };
        drop(entered);
        if self.handle().is_forked() {
            process::end_child(py, result.err());
        }
        result
    }

    /// Call a hook with the connection and one more object.
    #[inline]
    fn call_with(&self, connection: &Rc<Conn>, hook: &Callback, what: *mut ffi::PyObject) {
        let attachment = connection.user.borrow();
        let Some(attachment) = attachment.as_ref() else {
            return;
        };
        let arguments = [attachment.object.as_ptr(), what];
        // SAFETY: the attachment keeps the connection's object alive, the caller keeps `what`.
        if let Err(error) = unsafe { self.call(connection, attachment, hook, &arguments) } {
            self.failed(connection, error);
        }
    }

    /// Call a hook with the connection alone.
    pub(crate) fn call_alone(&self, connection: &Rc<Conn>, hook: &Callback) {
        let attachment = connection.user.borrow();
        let Some(attachment) = attachment.as_ref() else {
            return;
        };
        let arguments = [attachment.object.as_ptr()];
        // SAFETY: the attachment keeps the connection's object alive.
        if let Err(error) = unsafe { self.call(connection, attachment, hook, &arguments) } {
            self.failed(connection, error);
        }
    }

    /// Hand a message over: to the method, or into the inbox.
    #[inline]
    fn deliver(&self, connection: &Rc<Conn>, message: *mut ffi::PyObject) {
        let endpoint = &connection.endpoint.host;
        // SAFETY: the caller hands over an owned, valid object.
        let message = unsafe { Bound::from_owned_ptr(self.py(), message) };
        if let Some(hook) = &endpoint.message {
            self.call_with(connection, hook, message.as_ptr());
        } else if endpoint.has_inbox() {
            self.with_inbox(connection, |inbox| inbox.push(connection, message.unbind()));
        }
    }

    /// Change the inbox; the task is woken at the round's end where `act` says so.
    #[inline]
    fn with_inbox(&self, connection: &Rc<Conn>, act: impl FnOnce(&Inbox) -> bool) {
        let attachment = connection.user.borrow();
        let Some(attachment) = attachment.as_ref() else {
            return;
        };
        let Ok(local) = attachment.object.get().local() else {
            return;
        };
        if let Some(inbox) = local.inbox.get()
            && act(inbox)
        {
            self.add_wake(&attachment.object);
        }
    }

    /// Make the inbox, and start the handler's task. The spawner runs outside the connection's
    /// context, which the task enters by itself.
    fn open_inbox(&self, connection: &Rc<Conn>, object: &Py<Connection>) -> PyResult<()> {
        let endpoint = &connection.endpoint.host;
        let inbox = Inbox::new(endpoint.inbox);
        let _ = object.get().local()?.inbox.set(inbox);
        if let Some(spawn) = &endpoint.spawn {
            // SAFETY: the object is alive.
            let task = unsafe { spawn.call(self.py(), &[object.as_ptr()]) };
            if self.handle().is_forked() {
                process::end_child(self.py(), task.err());
            }
            let task = task?;
            if !task.is_none() {
                object.get().inbox()?.set_task(task.unbind());
            }
        }
        Ok(())
    }

    fn filter(&self, connection: &Rc<Conn>, hook: &Callback, bytes: &[u8]) -> Option<Vec<u8>> {
        let py = self.py();
        let filtered = || -> PyResult<Vec<u8>> {
            let object = self.object(connection)?;
            let bytes = PyBytes::new(py, bytes);
            let attachment = connection.user.borrow();
            let Some(attachment) = attachment.as_ref() else {
                return Ok(Vec::new());
            };
            let arguments = [object.as_ptr(), bytes.as_ptr()];
            // SAFETY: both are alive.
            let result = unsafe { self.call(connection, attachment, hook, &arguments) }?;
            if result.is_none() {
                return Ok(Vec::new());
            }
            with_payload(&result, |_, payload| payload.to_vec())
        };
        filtered()
            .map_err(|error| self.note(py, Some(connection), error))
            .ok()
    }

    /// Wake a connection's task now, if it is to be woken.
    #[cold]
    fn wake_now(&self, connection: &Rc<Conn>) {
        let py = self.py();
        let object = match connection.user.borrow().as_ref() {
            Some(attachment) => attachment.object.clone_ref(py),
            None => return,
        };
        let Ok(inbox) = object.get().inbox() else {
            return;
        };
        if inbox.marked.get() {
            self.wakes.borrow_mut().retain(|other| !other.is(&object));
            self.wake_one(&object);
        }
    }

    fn wake_all(&self) {
        if self.wakes.borrow().is_empty() {
            return;
        }
        for connection in self.wakes.take() {
            self.wake_one(&connection);
        }
    }

    fn wake_one(&self, object: &Py<Connection>) {
        let py = self.py();
        let outcome = object.get().inbox().and_then(|inbox| inbox.wake(py));
        if self.handle().is_forked() {
            process::end_child(py, outcome.err());
        }
        if let Err(error) = outcome {
            let living = object.get().living().ok().flatten();
            self.note(py, living.as_ref(), error);
        }
    }

    pub(crate) fn add_wake(&self, object: &Py<Connection>) {
        self.wakes.borrow_mut().push(object.clone_ref(self.py()));
        self.turn_wanted();
    }

    fn ask(
        &self,
        connection: &Rc<Conn>,
        hook: &Callback,
        request: &http::Request,
    ) -> PyResult<Answer> {
        let py = self.py();
        let object = self.object(connection)?;
        let kept = &object.get().local()?.request;
        kept.keep(request);
        let asked = kept.get(object.bind(py))?;
        let response = {
            let attachment = connection.user.borrow();
            let attachment = attachment.as_ref().expect("the object was just attached");
            let arguments = [object.as_ptr(), asked.as_ptr()];
            // SAFETY: both are alive.
            unsafe { self.call(connection, attachment, hook, &arguments) }?
        };
        drop(asked);
        kept.settle(request, connection.endpoint.host.keeps_request);
        let read = response::read(&response)?;
        if matches!(read, Answer::Later) {
            // Outside the connection's context, which the task enters by itself.
            let task = imports::start_response(py)?.call1((object, response))?;
            connection.rare(|rare| rare.answering = Some(task.unbind()));
        }
        Ok(read)
    }
}

/// Whether an exception stops the server, gracefully.
fn is_fatal(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyKeyboardInterrupt>(py) || error.is_instance_of::<PySystemExit>(py)
}

/// Have a connection's task woken when the engine runs next.
pub(crate) fn wake_later(connection: &Connection, object: Py<Connection>) -> PyResult<()> {
    let Some(living) = connection.living()? else {
        return Ok(());
    };
    let host = &living.engine().host;
    host.wakes.borrow_mut().push(object);
    host.turn_wanted();
    Ok(())
}

impl Host for PyHost {
    type Payload = BytesPayload;
    type Endpoint = PyEndpoint;
    type User = Attachment;

    fn request(&self, connection: &Rc<Conn>, request: http::Request) -> Answer {
        let Some(hook) = &connection.endpoint.host.request else {
            if let Ok(object) = self.object(connection)
                && let Ok(local) = object.get().local()
            {
                local.request.keep(&request);
            }
            return Answer::Accept {
                protocol: None,
                headers: Vec::new(),
            };
        };
        self.ask(connection, hook, &request)
            .unwrap_or_else(|error| {
                self.note(self.py(), Some(connection), error);
                response::failed()
            })
    }

    fn connected(&self, connection: &Rc<Conn>) {
        let Some(hook) = &connection.endpoint.host.connected else {
            return;
        };
        let called = self.object(connection).and_then(|object| {
            // SAFETY: the object is alive.
            unsafe { hook.call(self.py(), &[object.as_ptr()]) }
        });
        if let Err(error) = called {
            self.failed(connection, error);
        }
    }

    fn opened(&self, connection: &Rc<Conn>) {
        let endpoint = &connection.endpoint.host;
        let opened = self.object(connection).and_then(|object| {
            if endpoint.has_inbox() {
                self.open_inbox(connection, &object)?;
            }
            Ok(object)
        });
        let object = match opened {
            Ok(object) => object,
            Err(error) => return self.failed(connection, error),
        };
        if let Some(hook) = &endpoint.open {
            self.call_alone(connection, hook);
        }
        if !endpoint.keeps_request
            && let Ok(local) = object.get().local()
        {
            local.request.drop_unused();
        }
        if let Some(hook) = &endpoint.outcome {
            let none = self.py().None();
            let none = none.as_ptr();
            // SAFETY: both are alive.
            let called =
                unsafe { hook.call(self.py(), &[object.as_ptr(), none, none, none, none]) };
            if let Err(error) = called {
                self.failed(connection, error);
            }
        }
    }

    #[inline]
    fn binary(&self, connection: &Rc<Conn>, payload: BytesPayload) {
        self.deliver(connection, payload.into_ptr());
    }

    #[inline]
    fn text(&self, connection: &Rc<Conn>, text: &str) {
        let start = text.as_ptr().cast();
        // SAFETY: attached; the pointer and the length are those of valid UTF-8.
        let message = unsafe { ffi::PyUnicode_FromStringAndSize(start, text.len() as isize) };
        if message.is_null() {
            // Short of memory: that fails this connection, and no other.
            return self.failed(connection, PyErr::fetch(self.py()));
        }
        self.deliver(connection, message);
    }

    fn part(&self, connection: &Rc<Conn>, kind: Kind, payload: BytesPayload, last: bool) {
        let Some(hook) = &connection.endpoint.host.part else {
            return;
        };
        let py = self.py();
        let attachment = connection.user.borrow();
        let Some(attachment) = attachment.as_ref() else {
            return;
        };
        let payload = payload.into_object(py);
        let last = last.into_pyobject(py).expect("a bool converts");
        let text = (kind == Kind::Text)
            .into_pyobject(py)
            .expect("a bool converts");
        let arguments = [
            attachment.object.as_ptr(),
            payload.as_ptr(),
            last.as_ptr(),
            text.as_ptr(),
        ];
        // SAFETY: all are alive.
        if let Err(error) = unsafe { self.call(connection, attachment, hook, &arguments) } {
            self.failed(connection, error);
        }
    }

    fn ending(&self, connection: &Rc<Conn>) {
        if connection.endpoint.host.has_inbox() {
            self.wake_now(connection);
        }
    }

    fn pong(&self, connection: &Rc<Conn>, payload: &[u8]) {
        let pings = {
            let attachment = connection.user.borrow();
            let Some(attachment) = attachment.as_ref() else {
                return;
            };
            let mut rare = attachment.rare.borrow_mut();
            rare.as_mut()
                .map(|rare| rare.pings.take_answered(payload))
                .unwrap_or_default()
        };
        if !pings.is_empty()
            && let Err(error) = ping::answered(self.py(), pings)
        {
            self.note(self.py(), Some(connection), error);
        }
    }

    fn accepted(&self, connection: &Rc<Conn>, headers: Vec<(String, String)>) {
        let kept = self.object(connection).and_then(|object| {
            let object = object.bind(self.py());
            object.get().local()?.request.keep_response(&headers);
            Ok(())
        });
        if let Err(error) = kept {
            self.note(self.py(), Some(connection), error);
        }
    }

    fn drained(&self, connection: &Rc<Conn>) {
        if let Some(hook) = &connection.endpoint.host.drain {
            self.call_alone(connection, hook);
        }
        let attachment = connection.user.borrow();
        if let Some(attachment) = attachment.as_ref()
            && let Err(error) = waiting::drained(self.py(), attachment)
        {
            self.note(self.py(), Some(connection), error);
        }
    }

    fn ended(&self, connection: &Rc<Conn>) -> AfterEnd {
        let endpoint = &connection.endpoint.host;
        if endpoint.has_inbox() {
            self.with_inbox(connection, Inbox::finish);
            // A task that still runs may have more to say; it closes when it returns.
            return if endpoint.spawn.is_some() || endpoint.half_close {
                AfterEnd::Keep
            } else {
                AfterEnd::Close
            };
        }
        let Some(hook) = &endpoint.end else {
            return AfterEnd::Close;
        };
        self.call_alone(connection, hook);
        AfterEnd::Keep
    }

    fn closed(&self, connection: &Rc<Conn>, reason: &CloseReason) {
        let py = self.py();
        self.with_inbox(connection, Inbox::end);
        let attachment = connection.user.borrow();
        let Some(attachment) = attachment.as_ref() else {
            return;
        };
        if let Err(error) = waiting::resolve_at_end(py, attachment, reason) {
            self.note(py, Some(connection), error);
        }
        if let Some(hook) = &connection.endpoint.host.close {
            let called = imports::close_reason(py, reason).and_then(|reason| {
                let arguments = [attachment.object.as_ptr(), reason.as_ptr()];
                // SAFETY: both are alive.
                unsafe { self.call(connection, attachment, hook, &arguments) }
            });
            if let Err(error) = called {
                self.note(py, Some(connection), error);
            }
        }
    }

    fn refused(&self, connection: &Rc<Conn>, reason: &CloseReason) {
        let py = self.py();
        let Some(hook) = &connection.endpoint.host.outcome else {
            return;
        };
        let none = py.None();
        let called = imports::close_reason(py, reason).and_then(|closed| {
            let headers = PyList::new(py, &reason.headers)?;
            let body = PyBytes::new(py, &reason.body);
            let none = none.as_ptr();
            let cause = match reason.cause {
                Cause::Limit(limit) => limit.name(),
                cause => cause.name(),
            };
            let cause = PyString::new(py, cause);
            let arguments = [
                none,
                closed.as_ptr(),
                headers.as_ptr(),
                body.as_ptr(),
                cause.as_ptr(),
            ];
            // SAFETY: all are alive.
            unsafe { hook.call(py, &arguments) }
        });
        if let Err(error) = called {
            self.note(py, Some(connection), error);
        }
    }

    fn rule_broken(&self, connection: &Rc<Conn>, reason: &CloseReason) {
        if let Err(error) = log_rule_broken(self.py(), connection, reason) {
            self.note(self.py(), Some(connection), error);
        }
    }

    fn fault(&self, connection: &Rc<Conn>, text: &str) {
        if let Err(error) = log_response_fault(self.py(), connection, text) {
            self.note(self.py(), Some(connection), error);
        }
    }

    fn event(&self, endpoint: &Rc<Endpoint<Self>>, event: Event) {
        if let Err(error) = report_event(self.py(), &endpoint.host, event) {
            self.note(self.py(), None, error);
        }
    }

    fn filter_received(&self, connection: &Rc<Conn>, bytes: &[u8]) -> Option<Vec<u8>> {
        let hook = connection.endpoint.host.filter_received.as_ref()?;
        self.filter(connection, hook, bytes)
    }

    fn filter_sent(&self, connection: &Rc<Conn>, bytes: &[u8]) -> Option<Vec<u8>> {
        let hook = connection.endpoint.host.filter_sent.as_ref()?;
        self.filter(connection, hook, bytes)
    }

    fn turn_wanted(&self) {
        if self.in_turn.get() {
            return;
        }
        let py = self.py();
        let schedule = self.schedule.borrow().as_ref().map(|it| it.clone_ref(py));
        if let Some(schedule) = schedule
            && let Err(error) = schedule.call0(py)
        {
            error.write_unraisable(py, None);
        }
    }

    #[inline]
    fn round_over(&self) {
        self.wake_all();
    }

    fn timer(&self, id: u64) {
        let py = self.py();
        match self.timers.take(id) {
            None => {}
            Some(Target::Server(callback, context)) => {
                let called = Entered::enter(py, &context).and_then(|_entered| callback.call0(py));
                if self.handle().is_forked() {
                    process::end_child(py, called.err());
                }
                if let Err(error) = called {
                    self.note(py, None, error);
                }
            }
            Some(Target::Connection(object, callback)) => {
                let Ok(Some(connection)) = object.get().living() else {
                    return;
                };
                connection.rare(|rare| rare.timers.remove(&id));
                match &connection.endpoint.host.timer {
                    Some(hook) => self.call_with(&connection, hook, callback.as_ptr()),
                    None => self.call_alone(&connection, &Callback::of(callback)),
                }
            }
        }
    }

    fn ready(&self, descriptor: i32, interest: Interest) {
        let events = u8::from(interest.read) | u8::from(interest.write) << 1;
        self.ready.borrow_mut().push((descriptor, events));
    }
}
