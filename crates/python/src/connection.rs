//! `vespiary.Connection`: the handler's view of a connection.
//!
//! The object outlives the engine's connection: when that ends, its reference is taken away and
//! what is worth knowing afterwards is kept. From other threads the verbs become thread_calls for the
//! loop's thread (see `shared`).

use crate::attachment::HasRare as _;
use crate::confined::Confined;
use crate::core::Conn;
use crate::imports;
use crate::inbox::Inbox;
use crate::loop_handle::LoopHandle;
use crate::send::with_payload;
use crate::thread_calls::ThreadCall;
use crate::timer::{Target, Timer};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};
use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use vespiary_engine::wire::websocket::close::Code;
use vespiary_engine::wire::websocket::profile::Version;
use vespiary_engine::{CloseReason, CompressionTraffic, SendError, State};

/// The reasons for which a host may pause reading.
pub(crate) const PAUSED_BY_USER: u8 = 1;
pub(crate) const PAUSED_BY_INBOX: u8 = 2;
pub(crate) const PAUSED_BY_END: u8 = 4;

/// What is known of a connection that has ended.
pub(crate) struct Ended {
    pub(crate) reason: CloseReason,
    traffic: [u64; 4],
    compression: (CompressionTraffic, u64),
}

/// What only the loop's thread touches.
#[derive(Default)]
pub(crate) struct Local {
    pub(crate) connection: RefCell<Option<Rc<Conn>>>,
    pub(crate) inbox: OnceCell<Box<Inbox>>,
    pub(crate) ended: OnceCell<Box<Ended>>,
}

/// A connection, as its handler sees it.
#[pyclass(frozen, weakref, module = "vespiary._core")]
pub(crate) struct Connection {
    pub(crate) shared: Arc<LoopHandle>,
    pub(crate) local: Confined<Local>,
    data: Mutex<Option<Py<PyAny>>>,
}

impl Connection {
    pub(crate) fn new(shared: Arc<LoopHandle>, connection: Rc<Conn>) -> Self {
        let local = Local {
            connection: RefCell::new(Some(connection)),
            ..Local::default()
        };
        Self {
            shared,
            local: Confined::new(local),
            data: Mutex::new(None),
        }
    }

    /// What only the loop's thread touches; an error elsewhere.
    #[inline]
    pub(crate) fn local(&self) -> PyResult<&Local> {
        self.local.get().ok_or_else(|| {
            PyRuntimeError::new_err(
                "this belongs to the thread of the connection's loop; from other threads only \
                 send, close, abort, pause_reading and resume_reading may be called",
            )
        })
    }

    /// The engine's connection, while there is one.
    pub(crate) fn living(&self) -> PyResult<Option<Rc<Conn>>> {
        Ok(self.local()?.connection.borrow().clone())
    }

    /// The engine's connection has ended: let go of it, and keep what is worth knowing.
    pub(crate) fn detach(&self) {
        let Some(local) = self.local.get() else {
            return;
        };
        let Some(connection) = local.connection.take() else {
            return;
        };
        let reason = connection
            .reason()
            .unwrap_or_else(|| CloseReason::new(vespiary_engine::Cause::Aborted, ""));
        let _ = local.ended.set(Box::new(Ended {
            reason,
            traffic: connection.traffic(),
            compression: connection.compression_statistics(),
        }));
    }

    pub(crate) fn closed_error(&self, py: Python<'_>) -> PyErr {
        match self.local().ok().and_then(|local| local.ended.get()) {
            Some(ended) => imports::closed_error(py, &ended.reason, ""),
            None => PyRuntimeError::new_err("the connection has ended"),
        }
    }

    /// The coroutine form's half, where the endpoint has that form.
    pub(crate) fn inbox(&self) -> PyResult<&Inbox> {
        self.local()?
            .inbox
            .get()
            .map(|inbox| &**inbox)
            .ok_or_else(|| {
                PyRuntimeError::new_err(
                    "this connection hands its messages to a Handler's on_message; \
                 only a handler that is an async function receives them",
                )
            })
    }
}

pub(crate) fn peer_text(connection: &Rc<Conn>) -> String {
    connection
        .peer_address()
        .map(|address| address.to_string())
        .unwrap_or_default()
}

#[pymethods]
impl Connection {
    /// Queue a part of a message that is sent as its bytes become known; finish with last=True.
    /// The first part's `compress` is for all of them.
    #[pyo3(signature = (data, *, last = false, compress = None))]
    fn send_part(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        last: bool,
        compress: Option<bool>,
    ) -> PyResult<()> {
        let Some(connection) = self.living()? else {
            return Err(self.closed_error(py));
        };
        with_payload(data, |kind, payload| {
            connection.send_part(kind, payload, last, compress)
        })?
        .map_err(|error| self.send_error(py, &connection, error, Some(data)))
    }

    /// Send nothing more on a stream: what waits is written, and then the peer sees the end, while
    /// receiving goes on.
    ///
    /// Once both ends have finished, the connection closes. A WebSocket has no such end: there it
    /// is SendRefused.
    fn send_end(&self, py: Python<'_>) -> PyResult<()> {
        let Some(connection) = self.living()? else {
            return Err(self.closed_error(py));
        };
        connection.send_end().map_err(|error| match error {
            SendError::OutOfTurn => imports::error(imports::send_refused_class(py), |class| {
                let text = "a WebSocket ends in both directions at once: close() it";
                Ok(PyErr::from_value(class.call1((text,))?))
            }),
            error => self.send_error(py, &connection, error, None),
        })
    }

    /// Queue a WebSocket ping of at most 125 bytes.
    #[pyo3(signature = (payload = b"".as_slice()))]
    fn ping(&self, py: Python<'_>, payload: &[u8]) -> PyResult<()> {
        let Some(connection) = self.living()? else {
            return Err(self.closed_error(py));
        };
        connection.ping(payload).map_err(|error| match error {
            SendError::TooLong => {
                PyValueError::new_err("a ping is for WebSocket and carries at most 125 bytes")
            }
            error => self.send_error(py, &connection, error, None),
        })
    }

    /// End the connection in good order; what waits is written first. Does nothing when it is
    /// ending already.
    #[pyo3(signature = (code = 1000, reason = ""))]
    fn close(slf: &Bound<'_, Self>, code: u16, reason: &str) -> PyResult<()> {
        if !Code(code).is_valid_on_the_wire() {
            return Err(PyValueError::new_err(format!(
                "{code} is no close code that may be sent: use 1000 to 1014 but 1004 to 1006, or \
                 3000 to 4999 \
                 (RFC 6455 7.4)"
            )));
        }
        if reason.len() > 123 {
            return Err(PyValueError::new_err(
                "a close reason has at most 123 bytes in UTF-8 (RFC 6455 5.5)",
            ));
        }
        let this = slf.get();
        if this.shared.is_here() {
            return this.close_now(code, reason);
        }
        this.shared.add(ThreadCall::Close(
            slf.clone().unbind(),
            code,
            reason.to_owned(),
        ));
        Ok(())
    }

    /// End the connection at once; what waits is dropped and the peer sees a reset.
    fn abort(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        if this.shared.is_here() {
            return this.abort_now();
        }
        this.shared.add(ThreadCall::Abort(slf.clone().unbind()));
        Ok(())
    }

    /// Read nothing more from the peer until resume_reading(); TCP holds it back.
    fn pause_reading(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        if this.shared.is_here() {
            return this.set_reading(false);
        }
        this.shared.add(ThreadCall::Pause(slf.clone().unbind()));
        Ok(())
    }

    /// Read on after pause_reading().
    fn resume_reading(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        if this.shared.is_here() {
            return this.set_reading(true);
        }
        this.shared.add(ThreadCall::Resume(slf.clone().unbind()));
        Ok(())
    }

    /// Receive what is published to a topic from now on; False when it already did.
    fn subscribe(&self, py: Python<'_>, topic: &str) -> PyResult<bool> {
        let Some(connection) = self.living()? else {
            return Err(self.closed_error(py));
        };
        connection
            .subscribe(topic)
            .map_err(|error| self.send_error(py, &connection, error, None))
    }

    /// No longer receive what is published to a topic; False when it did not.
    fn unsubscribe(&self, topic: &str) -> PyResult<bool> {
        Ok(self
            .living()?
            .is_some_and(|connection| connection.unsubscribe(topic)))
    }

    /// Call callback(connection) in `seconds`, unless the connection ends before; returns the
    /// Timer.
    fn set_timer(slf: &Bound<'_, Self>, seconds: f64, callback: Py<PyAny>) -> PyResult<Timer> {
        let Some(connection) = slf.get().living()? else {
            return Err(slf.get().closed_error(slf.py()));
        };
        let target = Target::Connection(slf.clone().unbind(), callback);
        Timer::set(connection.engine(), seconds, target)
    }

    /// Wait until no more than write_low_bytes wait to be sent; returns at once when there is room.
    fn drain(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        crate::waiting::drain(slf)
    }

    /// Wait for the next message (handlers that are async functions, and clients).
    ///
    /// Raises:
    ///     ConnectionClosed: the connection has ended and every message before that was received.
    ///     ReceiveConflict: another task waits already.
    fn receive(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        slf.get().inbox()?.receive(slf, false)
    }

    fn __aiter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    /// `Connection[str]`, for type checkers.
    #[classmethod]
    fn __class_getitem__<'py>(
        class: &Bound<'py, PyType>,
        messages: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let alias = class.py().import("types")?.getattr("GenericAlias")?;
        alias.call1((class, messages))
    }

    fn __anext__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        slf.get().inbox()?.receive(slf, true)
    }

    /// Wait until the connection has ended; returns the CloseReason.
    fn wait_closed(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        crate::waiting::wait_closed(slf)
    }

    /// Whatever the handler keeps for this connection; None at first.
    #[getter]
    fn get_data(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let data = self.data.lock().unwrap_or_else(PoisonError::into_inner);
        data.as_ref().map(|data| data.clone_ref(py))
    }

    #[setter]
    fn set_data(&self, value: Option<Py<PyAny>>) {
        let old = {
            let mut data = self.data.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *data, value)
        };
        // The old value may run code of its own when it goes: not under the lock.
        drop(old);
    }

    /// The peer's address: (host, port), a path for a Unix socket, None when it has none.
    #[getter]
    fn peer(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let address = self
            .living()?
            .and_then(|connection| connection.peer_address().ok());
        crate::addresses::address_object(py, address.as_ref())
    }

    /// The address at this end: (host, port), or a path.
    #[getter]
    fn local_address(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let address = self
            .living()?
            .and_then(|connection| connection.local_address().ok());
        crate::addresses::address_object(py, address.as_ref())
    }

    /// Whether messages can be sent now.
    #[getter]
    fn is_open(&self) -> PyResult<bool> {
        Ok(self
            .living()?
            .is_some_and(|connection| connection.is_open()))
    }

    /// Bytes that wait to be taken by the kernel.
    #[getter]
    fn queued_bytes(&self) -> PyResult<usize> {
        Ok(self
            .living()?
            .map_or(0, |connection| connection.queued_bytes()))
    }

    /// The WebSocket subprotocol that the handshake chose, if any.
    #[getter]
    fn subprotocol(&self) -> PyResult<Option<String>> {
        Ok(self
            .living()?
            .and_then(|connection| connection.protocol().map(Into::into)))
    }

    /// The version of WebSocket that is spoken, 13 or 8; None elsewhere.
    #[getter]
    fn version(&self) -> PyResult<Option<u8>> {
        Ok(self
            .living()?
            .and_then(|connection| connection.version().map(Version::number)))
    }

    /// The WebSocket extensions that the handshake agreed on, as its header has them.
    #[getter]
    fn extensions(&self) -> PyResult<Vec<String>> {
        let agreed = self
            .living()?
            .and_then(|connection| connection.compression());
        Ok(agreed.iter().map(ToString::to_string).collect())
    }

    /// Why the connection ended: a CloseReason, or None while it has not.
    #[getter]
    fn close_reason(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let local = self.local()?;
        let reason = match local.ended.get() {
            Some(ended) => Some(ended.reason.clone()),
            None => local
                .connection
                .borrow()
                .as_ref()
                .and_then(|it| it.reason()),
        };
        reason
            .map(|reason| imports::close_reason(py, &reason).map(Bound::unbind))
            .transpose()
    }

    /// What has happened on this connection so far.
    fn statistics(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let local = self.local()?;
        let connection = local.connection.borrow();
        let living = connection.as_ref();
        let (traffic, compression) = match (living, local.ended.get()) {
            (Some(it), _) => (it.traffic(), it.compression_statistics()),
            (None, Some(ended)) => (ended.traffic, ended.compression),
            (None, None) => Default::default(),
        };
        let (queued, open_seconds, dropped) = living.map_or((0, 0.0, 0), |it| {
            (it.queued_bytes(), it.open_seconds(), it.dropped())
        });
        let keywords = PyDict::new(py);
        let compression = imports::compression_statistics(py, compression)?;
        keywords.set_item("compression", compression)?;
        keywords.set_item("bytes_received", traffic[0])?;
        keywords.set_item("bytes_sent", traffic[1])?;
        keywords.set_item("messages_received", traffic[2])?;
        keywords.set_item("messages_sent", traffic[3])?;
        keywords.set_item("messages_dropped", dropped)?;
        keywords.set_item("queued_bytes", queued)?;
        keywords.set_item("open_seconds", open_seconds)?;
        Ok(imports::connection_statistics_class(py)?
            .call((), Some(&keywords))?
            .unbind())
    }

    /// Give the answer to a request that was put off; internal.
    fn _answer(&self, answer: &Bound<'_, PyAny>) -> PyResult<()> {
        if let Some(connection) = self.living()? {
            connection.rare(|rare| rare.answering = None);
            connection.answer(crate::response::read(answer)?);
        }
        Ok(())
    }

    /// The handler failed: close with the code for that, and log and count the error where it is
    /// given; internal.
    #[pyo3(signature = (error = None))]
    fn _fail(slf: &Bound<'_, Self>, error: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let this = slf.get();
        match error {
            Some(error) if !this.shared.is_here() => {
                let call = ThreadCall::Fail(slf.clone().unbind(), error.clone().unbind());
                this.shared.add(call);
                Ok(())
            }
            error => this.fail_now(slf.py(), error),
        }
    }

    /// Log and count what the handler raised; internal.
    fn _report(&self, error: &Bound<'_, PyAny>) -> PyResult<()> {
        crate::report::handler_failed(error.py(), self.living()?.as_ref(), error);
        Ok(())
    }

    /// The task of the async handler has ended; internal.
    fn _task_done(&self, task: &Bound<'_, PyAny>) -> PyResult<()> {
        crate::task::done(self, task)
    }

    fn __repr__(&self) -> String {
        let Some(local) = self.local.get() else {
            return "<vespiary.Connection of another thread>".to_owned();
        };
        match (local.connection.borrow().as_ref(), local.ended.get()) {
            (Some(it), _) => {
                let state = match it.state() {
                    State::Connecting => "connecting",
                    State::Handshaking => "in its handshake",
                    State::Open => "open",
                    State::Closing => "closing",
                    State::Closed => "closed",
                };
                format!("<vespiary.Connection {state}, peer {}>", peer_text(it))
            }
            (None, Some(ended)) => format!("<vespiary.Connection {}>", ended.reason),
            (None, None) => "<vespiary.Connection>".to_owned(),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Ok(data) = self.data.try_lock() {
            visit.call(&*data)?;
        }
        if let Some(inbox) = self.local.get().and_then(|local| local.inbox.get()) {
            inbox.traverse(&visit)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        self.data
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(inbox) = self.local.get().and_then(|local| local.inbox.get()) {
            inbox.clear();
        }
    }
}
