//! The host: what the engine tells goes to the handler's methods, or into its coroutine's inbox.
//!
//! All of this runs on the loop's thread, attached to the interpreter, from the engine's loop:
//! `Core::select` is its only caller. An exception of a handler closes that handler's connection,
//! is logged once and counted, and concerns nobody else; KeyboardInterrupt and SystemExit end the
//! loop's `select` once the batch is done.

use crate::attachment::{Attachment, HasRare as _};
use crate::callback::Callback;
use crate::connection::Connection;
use crate::core::Conn;
use crate::endpoint::PyEndpoint;
use crate::imports;
use crate::inbox::Inbox;
use crate::listener::Listener;
use crate::loop_handle::LoopHandle;
use crate::payload::BytesPayload;
use crate::report::{self, log_response_fault, log_rule_broken, report_event};
use crate::response;
use crate::send::with_payload;
use crate::timer::{Target, Timers};
use crate::waiting;
use pyo3::exceptions::PyException;
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
    shared: OnceCell<Arc<LoopHandle>>,
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
    pub(crate) fn set_shared(&self, shared: Arc<LoopHandle>) {
        let _ = self.shared.set(shared);
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
        if let Some(user) = connection.user.borrow().as_ref() {
            return Ok(user.object.clone_ref(py));
        }
        let shared = self
            .shared
            .get()
            .expect("the core sets it at its start")
            .clone();
        let object = Py::new(py, Connection::new(shared, connection.clone()))?;
        let user = Attachment {
            object: object.clone_ref(py),
            rare: RefCell::default(),
        };
        *connection.user.borrow_mut() = Some(user);
        Ok(object)
    }

    /// A handler raised: log, count, close, and keep what must end the loop.
    #[cold]
    fn failed(&self, connection: &Rc<Conn>, error: PyErr) {
        let py = self.py();
        self.note(py, Some(connection), error);
        connection.fail_in_handler();
    }

    #[cold]
    pub(crate) fn note(&self, py: Python<'_>, connection: Option<&Rc<Conn>>, error: PyErr) {
        if error.is_instance_of::<PyException>(py) {
            // With its traceback, which the value by itself has not.
            report::handler_failed(py, connection, error.into_value(py).bind(py));
        } else {
            self.fatal.borrow_mut().get_or_insert(error);
        }
    }

    /// Call a hook with the connection and one more object.
    #[inline]
    fn tell(&self, connection: &Rc<Conn>, hook: &Callback, what: *mut ffi::PyObject) {
        let user = connection.user.borrow();
        let Some(user) = user.as_ref() else { return };
        // SAFETY: the user keeps the connection's object alive, the caller keeps `what` alive.
        if let Err(error) = unsafe { hook.call(self.py(), &[user.object.as_ptr(), what]) } {
            self.failed(connection, error);
        }
    }

    fn tell_alone(&self, connection: &Rc<Conn>, hook: &Callback) {
        let user = connection.user.borrow();
        let Some(user) = user.as_ref() else { return };
        // SAFETY: the user keeps the connection's object alive.
        if let Err(error) = unsafe { hook.call(self.py(), &[user.object.as_ptr()]) } {
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
            self.tell(connection, hook, message.as_ptr());
        } else if endpoint.has_inbox() {
            let user = connection.user.borrow();
            let Some(user) = user.as_ref() else { return };
            let Ok(local) = user.object.get().local() else {
                return;
            };
            let Some(inbox) = local.inbox.get() else {
                return;
            };
            if inbox.push(connection, message.unbind()) {
                self.wakes
                    .borrow_mut()
                    .push(user.object.clone_ref(self.py()));
            }
        }
    }

    fn with_inbox(&self, connection: &Rc<Conn>, act: impl FnOnce(&Inbox) -> bool) {
        let user = connection.user.borrow();
        let Some(user) = user.as_ref() else { return };
        let Ok(local) = user.object.get().local() else {
            return;
        };
        if let Some(inbox) = local.inbox.get()
            && act(inbox)
        {
            self.wakes
                .borrow_mut()
                .push(user.object.clone_ref(self.py()));
        }
    }

    fn open_inbox(&self, connection: &Rc<Conn>, object: &Py<Connection>) -> PyResult<()> {
        let endpoint = &connection.endpoint.host;
        let inbox = Inbox::new(endpoint.inbox);
        let _ = object.get().local()?.inbox.set(inbox);
        if let Some(spawn) = &endpoint.spawn {
            // SAFETY: the object is alive.
            let task = unsafe { spawn.call(self.py(), &[object.as_ptr()]) }?;
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
            // SAFETY: both are alive.
            let result = unsafe { hook.call(py, &[object.as_ptr(), bytes.as_ptr()]) }?;
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
            Some(user) => user.object.clone_ref(py),
            None => return,
        };
        let Ok(inbox) = object.get().inbox() else {
            return;
        };
        if inbox.marked.get() {
            self.wakes.borrow_mut().retain(|other| !other.is(&object));
            if let Err(error) = inbox.wake(py) {
                self.note(py, None, error);
            }
        }
    }

    fn wake(&self) {
        if self.wakes.borrow().is_empty() {
            return;
        }
        let py = self.py();
        for connection in self.wakes.take() {
            let outcome = connection.get().inbox().and_then(|inbox| inbox.wake(py));
            if let Err(error) = outcome {
                self.note(py, None, error);
            }
        }
    }
}

impl PyHost {
    pub(crate) fn add_wake(&self, object: &Py<Connection>) {
        self.wakes.borrow_mut().push(object.clone_ref(self.py()));
        self.turn_wanted();
    }
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
        let py = self.py();
        let Some(hook) = &connection.endpoint.host.request else {
            return Answer::Accept {
                protocol: None,
                headers: Vec::new(),
            };
        };
        let ask = || -> PyResult<Answer> {
            let object = self.object(connection)?;
            let target = request.path_and_query().into_owned();
            let authority = request.authority().map(str::to_owned);
            let head = (request.method, target, request.minor_version, authority);
            let head = head.into_pyobject(py)?;
            let headers = PyList::new(py, request.headers)?;
            // SAFETY: all three are alive.
            let answer =
                unsafe { hook.call(py, &[object.as_ptr(), head.as_ptr(), headers.as_ptr()]) }?;
            let read = response::read(&answer)?;
            if matches!(read, Answer::Later) {
                connection.rare(|rare| rare.answering = Some(answer.unbind()));
            }
            Ok(read)
        };
        ask().unwrap_or_else(|error| {
            self.note(py, Some(connection), error);
            let body = b"the server failed to answer\n".to_vec();
            Answer::Respond {
                status: 500,
                headers: Vec::new(),
                body,
            }
        })
    }

    fn connected(&self, connection: &Rc<Conn>) {
        let Some(hook) = &connection.endpoint.host.connected else {
            return;
        };
        let told = self.object(connection).and_then(|object| {
            // SAFETY: the object is alive.
            unsafe { hook.call(self.py(), &[object.as_ptr()]) }
        });
        if let Err(error) = told {
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
        match opened {
            Ok(object) => {
                if let Some(hook) = &endpoint.open {
                    self.tell_alone(connection, hook);
                }
                if let Some(hook) = &endpoint.outcome {
                    let none = self.py().None();
                    let none = none.as_ptr();
                    // SAFETY: both are alive.
                    let told =
                        unsafe { hook.call(self.py(), &[object.as_ptr(), none, none, none, none]) };
                    if let Err(error) = told {
                        self.failed(connection, error);
                    }
                }
            }
            Err(error) => self.failed(connection, error),
        }
    }

    #[inline]
    fn binary(&self, connection: &Rc<Conn>, payload: BytesPayload) {
        self.deliver(connection, payload.into_ptr());
    }

    #[inline]
    fn text(&self, connection: &Rc<Conn>, text: &str) {
        self.deliver(connection, PyString::new(self.py(), text).into_ptr());
    }

    fn part(&self, connection: &Rc<Conn>, kind: Kind, payload: BytesPayload, last: bool) {
        let Some(hook) = &connection.endpoint.host.part else {
            return;
        };
        let py = self.py();
        let user = connection.user.borrow();
        let Some(user) = user.as_ref() else { return };
        let payload = payload.into_object(py);
        let last = last.into_pyobject(py).expect("a bool converts");
        let text = (kind == Kind::Text)
            .into_pyobject(py)
            .expect("a bool converts");
        // SAFETY: all are alive.
        let told = unsafe {
            hook.call(
                py,
                &[
                    user.object.as_ptr(),
                    payload.as_ptr(),
                    last.as_ptr(),
                    text.as_ptr(),
                ],
            )
        };
        if let Err(error) = told {
            self.failed(connection, error);
        }
    }

    fn ending(&self, connection: &Rc<Conn>) {
        if connection.endpoint.host.has_inbox() {
            self.wake_now(connection);
        }
    }

    fn drained(&self, connection: &Rc<Conn>) {
        if let Some(hook) = &connection.endpoint.host.drain {
            self.tell_alone(connection, hook);
        }
        let user = connection.user.borrow();
        if let Some(user) = user.as_ref()
            && let Err(error) = waiting::drained(self.py(), user)
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
        self.tell_alone(connection, hook);
        AfterEnd::Keep
    }

    fn closed(&self, connection: &Rc<Conn>, reason: &CloseReason) {
        let py = self.py();
        self.with_inbox(connection, Inbox::end);
        let user = connection.user.borrow();
        let Some(user) = user.as_ref() else { return };
        if let Err(error) = waiting::resolve_at_end(py, user, reason) {
            self.note(py, Some(connection), error);
        }
        if let Some(hook) = &connection.endpoint.host.close {
            let told = imports::close_reason(py, reason).and_then(|reason| {
                // SAFETY: both are alive.
                unsafe { hook.call(py, &[user.object.as_ptr(), reason.as_ptr()]) }
            });
            if let Err(error) = told {
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
        let told = imports::close_reason(py, reason).and_then(|closed| {
            let headers = PyList::new(py, &reason.headers)?;
            let body = PyBytes::new(py, &reason.body);
            let none = none.as_ptr();
            let cause = match reason.cause {
                Cause::Limit(limit) => limit.name(),
                cause => cause.name(),
            };
            let cause = PyString::new(py, cause);
            let told = [
                none,
                closed.as_ptr(),
                headers.as_ptr(),
                body.as_ptr(),
                cause.as_ptr(),
            ];
            // SAFETY: all are alive.
            unsafe { hook.call(py, &told) }
        });
        if let Err(error) = told {
            self.note(py, Some(connection), error);
        }
    }

    fn rule_broken(&self, connection: &Rc<Conn>, reason: &CloseReason) {
        if let Err(error) = log_rule_broken(self.py(), connection, reason) {
            self.note(self.py(), None, error);
        }
    }

    fn fault(&self, connection: &Rc<Conn>, text: &str) {
        if let Err(error) = log_response_fault(self.py(), &connection.endpoint.host, text) {
            self.note(self.py(), None, error);
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
        self.wake();
    }

    fn timer(&self, id: u64) {
        let py = self.py();
        let (connection, outcome) = match self.timers.take(id) {
            None => return,
            Some(Target::Server(callback)) => (None, callback.call0(py)),
            Some(Target::Connection(object, callback)) => match object.get().living() {
                Ok(Some(living)) => {
                    living.rare(|rare| rare.timers.remove(&id));
                    (Some(living), callback.call1(py, (object,)))
                }
                _ => return,
            },
        };
        match (connection, outcome) {
            (_, Ok(_)) => {}
            (Some(connection), Err(error)) => self.failed(&connection, error),
            (None, Err(error)) => self.note(py, None, error),
        }
    }

    fn ready(&self, descriptor: i32, interest: Interest) {
        let events = u8::from(interest.read) | u8::from(interest.write) << 1;
        self.ready.borrow_mut().push((descriptor, events));
    }
}
