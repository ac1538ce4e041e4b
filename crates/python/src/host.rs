//! The host: the engine's events become calls of the handler's methods, or wait in its coroutine's
//! inbox.
//!
//! All of this runs on the loop's thread, attached to the interpreter, from the engine's loop:
//! `Core::select` is its only caller. An exception of a handler, of any class, closes that
//! handler's connection, is logged once and counted, and does not affect other connections. Only
//! KeyboardInterrupt and SystemExit are passed on: they end the loop's `select` after the batch.

use crate::asgi;
use crate::attachment::{Attachment, HasRare as _};
use crate::board::Copied;
use crate::callback::{Callback, call_in_copy, left_another};
use crate::calls::Invoke as _;
use crate::connection::Connection;
use crate::context::Entered;
use crate::core::Conn;
use crate::datagram_socket::DatagramSocket;
use crate::exchange::Exchange;
use crate::exchange_events;
use crate::foreign_streams::Streams;
use crate::imports;
use crate::inbox::Inbox;
use crate::listener::Listener;
use crate::loop_handle::LoopHandle;
use crate::owned::{release, release_result};
use crate::payload::release_delivered;
use crate::process;
use crate::report::{self};
use crate::response;
use crate::send::with_payload;
use crate::site::{self, Site};
use crate::timers::Timers;
use crate::waiting;
use crate::wanted::Wanted;
use crate::watched::Watching;
use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyString};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use vespiary_engine::port::Token;
use vespiary_engine::wire::http::{self, Headers as _};
use vespiary_engine::{Answer, Endpoint, Filtered};

/// The host of an engine.
#[derive(Default)]
pub(crate) struct PyHost {
    handle: OnceCell<Arc<LoopHandle>>,
    /// Whose tasks are woken at the round's end.
    pub(crate) wakes: RefCell<Vec<Py<Connection>>>,
    pub(crate) wanted: Wanted,
    pub(crate) in_turn: Cell<bool>,
    /// Whether the engine is being closed, and with it, or before it, the loop.
    pub(crate) is_closing: Cell<bool>,
    pub(crate) ready: RefCell<Vec<(i32, u8)>>,
    pub(crate) watched: Watching,
    /// What the driver did for the transports of the loop.
    pub(crate) streams: Streams,
    /// What must end the loop once the batch is done.
    fatal: RefCell<Option<PyErr>>,
    pub(crate) timers: Timers,
    /// Those that hold the engine, to be released at its end.
    pub(crate) listeners: RefCell<Vec<Py<Listener>>>,
    /// The handlers' views of the sockets for datagrams, by token.
    pub(crate) datagram_sockets: RefCell<HashMap<Token, Py<DatagramSocket>>>,
    /// Those that hold handlers, to be released at the engine's end.
    sites: RefCell<Vec<Weak<site::Local>>>,
    /// What is copied into shared memory, in a worker process.
    pub(crate) copied: RefCell<Vec<Copied>>,
    /// What ASGI's scopes share.
    pub(crate) asgi: asgi::Kept,
}

impl PyHost {
    pub(crate) fn set_handle(&self, handle: Arc<LoopHandle>) {
        let _ = self.handle.set(handle);
    }

    pub(crate) fn handle(&self) -> &Arc<LoopHandle> {
        self.handle.get().expect("the core sets it at its start")
    }

    pub(crate) fn add_site(&self, site: Weak<site::Local>) {
        let mut sites = self.sites.borrow_mut();
        sites.retain(|it| it.strong_count() > 0);
        sites.push(site);
    }

    /// Copy what the endpoints have counted into shared memory, in a worker process.
    #[inline]
    pub(crate) fn copy_counters(&self) {
        for one in &mut *self.copied.borrow_mut() {
            one.copy();
        }
    }

    pub(crate) fn take_ready(&self) -> Vec<(i32, u8)> {
        self.ready.take()
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.borrow().is_empty() || self.streams.has_arrived()
    }

    pub(crate) fn is_in_turn(&self) -> bool {
        self.in_turn.get()
    }

    /// A turn begins or ends. Returns whether one was in progress.
    pub(crate) fn set_in_turn(&self, on: bool) -> bool {
        self.in_turn.replace(on)
    }

    /// Hold nothing any more that may hold the loop or a handler.
    pub(crate) fn let_go(&self, py: Python<'_>) -> PyResult<()> {
        self.copy_counters();
        self.copied.take();
        self.asgi.clear();
        self.streams.take();
        self.timers.clear();
        self.wanted.let_go();
        for listener in self.listeners.take() {
            listener.get().let_go();
        }
        for socket in self.datagram_sockets.take().into_values() {
            socket.get().let_go();
        }
        for site in self.sites.take().iter().filter_map(Weak::upgrade) {
            site.let_go(py)?;
        }
        Ok(())
    }

    /// Show the collector what is held, sites and connections aside.
    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Ok(wakes) = self.wakes.try_borrow() {
            for connection in &*wakes {
                visit.call(connection)?;
            }
        }
        self.wanted.traverse(visit)?;
        self.asgi.traverse(visit)?;
        if let Ok(listeners) = self.listeners.try_borrow() {
            for listener in &*listeners {
                visit.call(listener)?;
            }
        }
        if let Ok(sockets) = self.datagram_sockets.try_borrow() {
            for socket in sockets.values() {
                visit.call(socket)?;
            }
        }
        self.timers.traverse(visit)
    }

    /// The endpoints of all sites that there are.
    pub(crate) fn site_endpoints(&self) -> Vec<Rc<Endpoint<Self>>> {
        let Ok(sites) = self.sites.try_borrow() else {
            return Vec::new();
        };
        let sites = sites.iter().filter_map(Weak::upgrade);
        sites.filter_map(|site| site.living()).collect()
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
    pub(crate) fn failed(&self, connection: &Rc<Conn>, error: PyErr) {
        self.note(self.py(), Some(connection), error);
        connection.fail_in_handler();
    }

    /// Keep an exception that must end the loop; any other is given back.
    #[cold]
    pub(crate) fn keep_fatal(&self, py: Python<'_>, error: PyErr) -> Option<PyErr> {
        if is_fatal(py, &error) {
            self.fatal.borrow_mut().get_or_insert(error);
            return None;
        }
        Some(error)
    }

    /// Log and count what was raised for a connection, or keep it where it must end the loop.
    #[cold]
    pub(crate) fn note(&self, py: Python<'_>, connection: Option<&Rc<Conn>>, error: PyErr) {
        let Some(error) = self.keep_fatal(py, error) else {
            return;
        };
        // With its traceback, which is not in the value by itself.
        let error = error.into_value(py).into_bound(py).into_any();
        match connection {
            Some(connection) => report::handler_failed(py, connection, &error),
            None => report::callback_failed(py, "callback", &error),
        }
        // Its traceback may hold the last references to what the handler used.
        release(error.unbind());
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

    /// Whether the program only waits for the connection's end.
    pub(crate) fn is_end_awaited(&self, connection: &Rc<Conn>, has_waited: bool) -> bool {
        let attachment = connection.user.borrow();
        let Some(attachment) = attachment.as_ref() else {
            return false;
        };
        match waiting::is_end_awaited(self.py(), attachment, has_waited) {
            Ok(is_awaited) => is_awaited,
            Err(error) => {
                self.note(self.py(), Some(connection), error);
                false
            }
        }
    }

    /// Call a hook in the connection's context.
    ///
    /// # Safety
    /// The pointers must be valid objects for the time of the call.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "a message is one call, and no result is passed through memory"
    )]
    pub(crate) unsafe fn call(
        &self,
        connection: &Rc<Conn>,
        attachment: &Attachment,
        hook: &Callback,
        arguments: &[*mut ffi::PyObject],
    ) -> PyResult<Bound<'_, PyAny>> {
        let py = self.py();
        let context = attachment.context(py, &connection.endpoint().host)?;
        let Ok(entered) = Entered::enter(py, context) else {
            // SAFETY: by contract.
            return unsafe { call_in_copy(py, context, hook, arguments) };
        };
        // SAFETY: by contract.
        let result = unsafe { hook.call(py, arguments) };
        if self.handle().is_forked() {
            process::end_child(py, result.err());
        }
        if !entered.leave() {
            return Err(left_another(py, result));
        }
        result
    }

    /// The same for a hook whose result is not used, and so must not be a coroutine.
    ///
    /// # Safety
    /// As for `call`.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as for `call`")]
    pub(crate) unsafe fn call_only(
        &self,
        connection: &Rc<Conn>,
        attachment: &Attachment,
        hook: &Callback,
        arguments: &[*mut ffi::PyObject],
    ) -> PyResult<()> {
        // SAFETY: by contract.
        let result = unsafe { self.call(connection, attachment, hook, arguments) }?;
        let checked = hook.check_result(&result);
        release_result(result);
        checked
    }

    /// Call a hook with the connection and one more object.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as for `call`")]
    pub(crate) fn call_with(
        &self,
        connection: &Rc<Conn>,
        hook: &Callback,
        what: *mut ffi::PyObject,
    ) {
        let attachment = connection.user.borrow();
        let Some(attachment) = attachment.as_ref() else {
            return;
        };
        let arguments = [attachment.object.as_ptr(), what];
        // SAFETY: the attachment keeps the connection's object alive, the caller keeps `what`.
        if let Err(error) = unsafe { self.call_only(connection, attachment, hook, &arguments) } {
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
        if let Err(error) = unsafe { self.call_only(connection, attachment, hook, &arguments) } {
            self.failed(connection, error);
        }
    }

    /// Hand a message over: to the method, or into the inbox.
    #[inline]
    pub(crate) fn deliver(&self, connection: &Rc<Conn>, message: *mut ffi::PyObject) {
        let endpoint = &connection.endpoint().host;
        // SAFETY: the caller hands over an owned, valid object.
        let message = unsafe { Bound::from_owned_ptr(self.py(), message) };
        if let Some(hook) = &endpoint.message {
            self.call_with(connection, hook, message.as_ptr());
            release_delivered(message);
        } else if endpoint.has_inbox() {
            self.with_inbox(connection, |inbox| inbox.push(connection, message.unbind()));
        }
    }

    /// Change the inbox; the task is woken at the round's end where `act` says so.
    #[inline]
    pub(crate) fn with_inbox(&self, connection: &Rc<Conn>, act: impl FnOnce(&Inbox) -> bool) {
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
    pub(crate) fn open_inbox(
        &self,
        connection: &Rc<Conn>,
        object: &Py<Connection>,
    ) -> PyResult<()> {
        let endpoint = &connection.endpoint().host;
        let inbox = Inbox::new(endpoint.inbox);
        inbox.is_timed.set(endpoint.step.is_some());
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

    /// Let the filters work on bytes; a coroutine continues in a task, which reports later.
    pub(crate) fn filter(
        &self,
        connection: &Rc<Conn>,
        hook: &Callback,
        bytes: &[u8],
        is_sent: bool,
    ) -> Filtered {
        let py = self.py();
        let filtered = || -> PyResult<Filtered> {
            let object = self.object(connection)?;
            let bytes = PyBytes::new(py, bytes);
            let result = {
                let attachment = connection.user.borrow();
                let Some(attachment) = attachment.as_ref() else {
                    return Ok(Filtered::Bytes(Vec::new()));
                };
                let arguments = [object.as_ptr(), bytes.as_ptr()];
                // SAFETY: both are alive.
                unsafe { self.call(connection, attachment, hook, &arguments) }?
            };
            // SAFETY: the result is alive, and is asked for its type only.
            if unsafe { ffi::PyCoro_CheckExact(result.as_ptr()) } != 0 {
                let task = imports::start_filtering(py)?.invoke((object, result, is_sent))?;
                let task = Some(task.unbind());
                let place = usize::from(is_sent);
                drop(connection.rare(|rare| std::mem::replace(&mut rare.filtering[place], task)));
                return Ok(Filtered::Later);
            }
            filtered_bytes(&result).map(Filtered::Bytes)
        };
        filtered().unwrap_or_else(|error| {
            self.note(py, Some(connection), error);
            Filtered::Failed
        })
    }

    pub(crate) fn find_site(
        &self,
        route: &Callback,
        request: &http::Request,
    ) -> PyResult<Option<Rc<Endpoint<Self>>>> {
        let py = self.py();
        let target = PyString::new(py, &request.path_and_query());
        let authority = request.authority().into_pyobject(py)?;
        let is_upgrade = PyBool::new(py, request.has_token("upgrade", "websocket"));
        let arguments = [target.as_ptr(), authority.as_ptr(), is_upgrade.as_ptr()];
        // SAFETY: all are alive.
        let found = unsafe { route.call(py, &arguments) }?;
        if found.is_none() {
            return Ok(None);
        }
        found.cast::<Site>()?.get().endpoint().map(Some)
    }

    pub(crate) fn ask(
        &self,
        connection: &Rc<Conn>,
        hook: &Callback,
        request: &http::Request,
        body: &[u8],
    ) -> PyResult<Answer> {
        let py = self.py();
        let object = self.object(connection)?;
        let kept = &object.get().local()?.request;
        kept.keep(request, connection.asked_endpoint().host.pattern(py));
        let options = connection.asked_endpoint().options();
        let asked = if options.streams_requests && request.has_body() {
            let exchange = Exchange::of_body(py, &object, connection, true)?;
            kept.get_with_exchange(object.bind(py), &exchange)?
        } else {
            kept.get_with_body(object.bind(py), body)?
        };
        let response = {
            let attachment = connection.user.borrow();
            let attachment = attachment.as_ref().expect("the object was just attached");
            let arguments = [object.as_ptr(), asked.as_ptr()];
            // SAFETY: both are alive.
            unsafe { self.call(connection, attachment, hook, &arguments) }?
        };
        drop(asked);
        kept.settle(connection.asked_endpoint().host.keeps_request);
        let read = response::read(&response)?;
        if matches!(read, Answer::Later) {
            // Outside the connection's context, which the task enters by itself.
            let task = imports::start_response(py)?.invoke((object, response))?;
            drop(connection.rare(|rare| rare.answering.replace(task.unbind())));
        } else {
            object.get().local()?.request.release_body();
            exchange_events::end(connection);
        }
        Ok(read)
    }
}

/// What a filter has returned: bytes, or None.
pub(crate) fn filtered_bytes(result: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    if result.is_none() {
        return Ok(Vec::new());
    }
    with_payload(result, |_, payload| payload.to_vec())
}

/// Whether an exception stops the server, gracefully.
fn is_fatal(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyKeyboardInterrupt>(py) || error.is_instance_of::<PySystemExit>(py)
}
