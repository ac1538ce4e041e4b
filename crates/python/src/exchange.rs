//! `Exchange`: one HTTP request and its response, each received or sent piece by piece.
//!
//! A host of applications (`Hooks.exchange`) gets one at each request's head and drives it by
//! itself. Elsewhere it is behind `request.chunks()` and behind responses whose body is an
//! iterator. Pieces of the request's body wait here until they are taken; while more than
//! [`WAITING_BYTES_MAX`] wait, the connection is not read.
//!
//! It ends in one of two ways. Either the response is complete, and the connection continues with
//! its next request; or the client is gone, or the engine has answered in its place. Then what is
//! sent is dropped, and what is read raises.

use crate::attachment::HasRare as _;
use crate::calls::InvokeOwned as _;
use crate::confined::{Confine, Confined};
use crate::connection::{Connection, PAUSED_BY_BODY};
use crate::core::Conn;
use crate::exchange_methods;
use crate::owned::Owned;
use crate::payload::KeptMessage;
use crate::send::with_payload;
use crate::thread_calls::wrong_thread;
use crate::waiting;
use crate::wanted::Asker;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use vespiary_engine::wire::http::{self, Fields};
use vespiary_engine::{CloseReason, Content, Kind};

/// With more bytes of a body than this waiting to be taken, the connection is not read. A pause
/// cancels the receive, which costs more than the bytes that come in one turn.
const WAITING_BYTES_MAX: usize = 256 << 10;
/// With no more than this waiting, it is read again.
const WAITING_BYTES_LOW: usize = 64 << 10;

/// One HTTP request and its response. Only the loop's thread may use it.
#[pyclass(frozen, module = "vespiary._core")]
pub(crate) struct Exchange {
    pub(crate) connection: Py<Connection>,
    pub(crate) local: Confined<Local>,
}

#[derive(Default)]
pub(crate) struct Local {
    /// The head, where a host of applications asked for it.
    pub(crate) request: Option<http::Request>,
    pub(crate) has_body: bool,
    pub(crate) pieces: RefCell<VecDeque<Py<PyBytes>>>,
    pub(crate) waiting_bytes: Cell<usize>,
    pub(crate) is_complete: Cell<bool>,
    pub(crate) is_paused: Cell<bool>,
    pub(crate) waker: RefCell<Option<Owned>>,
    pub(crate) futures: RefCell<Vec<Py<PyAny>>>,
    pub(crate) is_started: Cell<bool>,
    pub(crate) is_over: Cell<bool>,
    pub(crate) is_peer_finished: Cell<bool>,
    /// Why nothing more is received or sent.
    pub(crate) ended: RefCell<Option<Box<CloseReason>>>,
}

// SAFETY: there are only plain values and references to Python objects.
unsafe impl Confine for Local {
    fn is_independent(&self) -> bool {
        true
    }
}

impl Exchange {
    /// Make the exchange of the current request, and let the connection keep it.
    fn begin(
        py: Python<'_>,
        object: &Py<Connection>,
        connection: &Rc<Conn>,
        local: Local,
    ) -> PyResult<Py<Self>> {
        let handle = object.get().handle().clone();
        let exchange = Self {
            connection: object.clone_ref(py),
            local: Confined::new(handle, local),
        };
        let exchange = Py::new(py, exchange)?;
        let kept = exchange.clone_ref(py);
        drop(connection.replace_exchange(Some(kept)));
        Ok(exchange)
    }

    /// The exchange of a request whose body is read by `request.chunks()`.
    pub(crate) fn of_body(
        py: Python<'_>,
        object: &Py<Connection>,
        connection: &Rc<Conn>,
        has_body: bool,
    ) -> PyResult<Py<Self>> {
        let local = Local {
            has_body,
            is_complete: Cell::new(!has_body),
            ..Local::default()
        };
        Self::begin(py, object, connection, local)
    }

    pub(crate) fn local(&self) -> PyResult<&Local> {
        self.local.get().ok_or_else(|| wrong_thread("an exchange"))
    }

    pub(crate) fn head(&self) -> PyResult<&http::Request> {
        let request = self.local()?.request.as_ref();
        request.ok_or_else(|| PyRuntimeError::new_err("the head is in connection.request"))
    }

    /// The engine's connection, while the response can be sent on it.
    pub(crate) fn living(&self) -> PyResult<Option<Rc<Conn>>> {
        let local = self.local()?;
        if local.is_over.get() {
            return Err(PyRuntimeError::new_err("the response is complete already"));
        }
        if local.ended.borrow().is_some() {
            return Ok(None);
        }
        self.connection.get().living()
    }

    /// The same for what follows the head of the response.
    pub(crate) fn responding(&self) -> PyResult<Option<Rc<Conn>>> {
        let living = self.living()?;
        if !self.local()?.is_started.get() {
            return Err(PyRuntimeError::new_err(
                "the response was not begun: call start() first",
            ));
        }
        Ok(living)
    }

    /// The exchange of a request that a host of applications answers.
    pub(crate) fn of_request(
        py: Python<'_>,
        object: &Py<Connection>,
        connection: &Rc<Conn>,
        request: http::Request,
    ) -> PyResult<Py<Self>> {
        let has_body = request.has_body();
        let local = Local {
            request: Some(request),
            has_body,
            is_complete: Cell::new(!has_body),
            ..Local::default()
        };
        Self::begin(py, object, connection, local)
    }

    /// Whether the head of the response was sent.
    pub(crate) fn has_started(&self) -> bool {
        (self.local.get()).is_some_and(|local| local.is_started.get())
    }

    /// Whether a part of the request's body is to come.
    pub(crate) fn awaits_body(&self) -> bool {
        let local = self.local.get();
        local.is_some_and(|local| !local.is_complete.get() && !local.is_over.get())
    }

    pub(crate) fn push(&self, py: Python<'_>, connection: &Rc<Conn>, data: &[u8]) {
        let Some(local) = self.local.get() else {
            return;
        };
        let waiting = local.waiting_bytes.get() + data.len();
        local.waiting_bytes.set(waiting);
        let piece = PyBytes::new(py, data).unbind();
        local.pieces.borrow_mut().push_back(piece);
        if waiting > WAITING_BYTES_MAX {
            local.is_paused.set(true);
            connection.pause(PAUSED_BY_BODY);
        }
        self.wake(py, connection);
    }

    /// A piece was taken: the peer is read again once there is room.
    pub(crate) fn note_taken(
        &self,
        py: Python<'_>,
        connection: &Rc<Conn>,
        waiting: usize,
    ) -> PyResult<()> {
        connection.body_taken();
        let local = self.local()?;
        if waiting > WAITING_BYTES_LOW || !local.is_paused.take() {
            return Ok(());
        }
        let asker = Asker::new(&connection.engine().host);
        connection.resume(PAUSED_BY_BODY);
        asker.finish(py)
    }

    /// The request's body is complete.
    pub(crate) fn complete(&self, py: Python<'_>, connection: &Rc<Conn>) {
        if let Some(local) = self.local.get() {
            local.is_complete.set(true);
            self.wake(py, connection);
        }
    }

    /// The client has finished sending.
    pub(crate) fn note_peer_finished(&self, py: Python<'_>, connection: &Rc<Conn>) {
        if let Some(local) = self.local.get() {
            local.is_peer_finished.set(true);
            self.wake(py, connection);
        }
    }

    /// Call what waits for a change.
    pub(crate) fn wake(&self, py: Python<'_>, connection: &Rc<Conn>) {
        let Some(local) = self.local.get() else {
            return;
        };
        let futures = local.futures.take();
        let mut outcome = Ok(());
        for future in futures {
            outcome = outcome.and(waiting::settle(py, &future, "set_result", py.None()));
        }
        let waker = {
            let kept = local.waker.borrow();
            kept.as_ref().map(|waker| waker.clone_ref(py))
        };
        if let Some(waker) = waker {
            outcome = outcome.and(waker.invoke(py, ()).map(drop));
        }
        if let Err(error) = outcome {
            connection.engine().host.note(py, Some(connection), error);
        }
    }

    /// Nothing more can be received or sent.
    pub(crate) fn end_early(&self, py: Python<'_>, connection: &Rc<Conn>, reason: CloseReason) {
        let Some(local) = self.local.get() else {
            return;
        };
        if local.is_over.get() || local.ended.borrow().is_some() {
            return;
        }
        local.ended.replace(Some(Box::new(reason)));
        if local.is_paused.take() {
            connection.resume(PAUSED_BY_BODY);
        }
        self.wake(py, connection);
        drop(local.waker.take());
    }

    /// The response is complete: nobody needs it any more.
    pub(crate) fn finish(&self, connection: &Rc<Conn>) {
        let Some(local) = self.local.get() else {
            return;
        };
        local.is_over.set(true);
        let waker = local.waker.take();
        let kept = (
            connection.replace_exchange(None),
            connection.made_rare(|rare| rare.answering.take()),
        );
        if local.is_paused.take() {
            connection.resume(PAUSED_BY_BODY);
        }
        if let Ok(here) = self.connection.get().local() {
            here.request.release_body();
        }
        // What goes may run code of its own: nothing is borrowed.
        drop((waker, kept));
    }

    /// Take what is wrong with a response that was begun, and end the connection.
    pub(crate) fn broken(connection: &Rc<Conn>, text: String) -> PyErr {
        Self::break_off(connection, &text);
        PyRuntimeError::new_err(text)
    }

    /// End the connection for its handler, whose task is not cancelled for that.
    pub(crate) fn break_off(connection: &Rc<Conn>, text: &str) {
        drop(connection.made_rare(|rare| rare.answering.take()));
        connection.break_response(text);
    }

    /// The header lines of the response; at a stop the connection ends with it.
    pub(crate) fn fields(connection: &Rc<Conn>, given: &Bound<'_, PyAny>) -> PyResult<Fields> {
        let mut fields = exchange_methods::fields(given)?;
        let lasting = &connection.asked_endpoint().host.lasting;
        let is_stopping = lasting.is_shutting_down.load(Ordering::Relaxed);
        if is_stopping && !fields.facts().lists_close {
            fields.push(b"Connection", b"close");
        }
        Ok(fields)
    }

    pub(crate) fn begin_response(
        &self,
        connection: &Rc<Conn>,
        status: u16,
        fields: Fields,
    ) -> PyResult<bool> {
        let local = self.local()?;
        if local.is_started.get() {
            return Err(PyRuntimeError::new_err("the response was begun already"));
        }
        let has_body = connection
            .begin_response(status, fields)
            .map_err(PyValueError::new_err)?;
        local.is_started.set(true);
        Ok(has_body)
    }

    /// Do something with the body of a response.
    pub(crate) fn with_content<T>(
        body: &Bound<'_, PyAny>,
        act: impl FnOnce(Content<'_>) -> T,
    ) -> PyResult<T> {
        if let Some(kept) = KeptMessage::of(body) {
            return Ok(act(Content::Kept(kept)));
        }
        with_payload(body, |kind, bytes| match kind {
            Kind::Binary => Ok(act(Content::Bytes(Cow::Borrowed(bytes)))),
            Kind::Text => Err(str_body()),
        })?
    }

    pub(crate) fn send_data(connection: &Rc<Conn>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let sent = match KeptMessage::of(data) {
            Some(kept) => connection.send_kept_body(kept),
            None => with_payload(data, |kind, bytes| match kind {
                Kind::Binary => Ok(connection.send_body(bytes)),
                Kind::Text => Err(str_body()),
            })??,
        };
        sent.map_err(|text| Self::broken(connection, text))
    }
}

#[cold]
fn str_body() -> PyErr {
    PyTypeError::new_err("a piece of a body is bytes; got a str: encode() it")
}
