//! The methods and properties of `vespiary.Connection`, as Python sees them.

use crate::addresses::address_object;
use crate::arguments;
use crate::attachment::{self, HasRare as _};
use crate::calls::Invoke as _;
use crate::connection::{Connection, PAUSED_BY_POOL, peer_text};
use crate::core::Conn;
use crate::imports;
use crate::owned::Owned;
use crate::ping::{self, Ping};
use crate::thread_calls::ThreadCall;
use crate::timer::{Target, Timer};
use crate::waiting::{self, Waiting, What};
use crate::{awaitables, context, dropped, parts, report, response, statistics, task, tls};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};
use std::rc::Rc;
use std::sync::PoisonError;
use vespiary_engine::wire::websocket::profile::Version;
use vespiary_engine::{Framing, SendError, State};

#[pymethods]
impl Connection {
    /// Queue a part of a message that is sent as its bytes become known.
    ///
    /// Args:
    ///     data: The next bytes of the message; text is sent as UTF-8.
    ///     last: Whether the message ends with this part.
    ///     compress: As for `send`; the first part decides for all of them.
    ///
    /// Raises:
    ///     ConnectionClosed: the connection is closing or has ended.
    ///     WriteQueueFull: `write_bytes_max` would be exceeded, under the policy `wait`.
    ///     SendRefused: the framing has no parts to send, as with lines and length prefixes, or
    ///         another task or callback is sending a message in parts.
    ///     TypeError: the data is neither text nor bytes, or another argument is not what it must
    ///         be.
    #[pyo3(signature = (data, *, last = false, compress = None))]
    fn send_part(
        slf: &Bound<'_, Self>,
        data: Py<PyAny>,
        #[pyo3(from_py_with = arguments::last)] last: bool,
        #[pyo3(from_py_with = arguments::compress)] compress: Option<bool>,
    ) -> PyResult<()> {
        parts::send(slf, data, last, compress)
    }

    /// Queue a message for the loop without waiting for room: the write queue takes it whatever
    /// waits, so the caller bounds that; internal.
    fn _send_soon(slf: &Bound<'_, Self>, message: Py<PyAny>) -> PyResult<()> {
        if !slf.get().may_send_elsewhere() {
            return Err(slf.get().closed_elsewhere_error(slf.py()));
        }
        let call = ThreadCall::Send(slf.clone().unbind(), message, None);
        slf.get().handle().add(slf.py(), call)
    }

    /// Send nothing more on a stream; receiving goes on.
    ///
    /// What waits is written first, and then the peer sees the end of the stream. Once both ends
    /// have finished, the connection closes.
    ///
    /// Raises:
    ///     ConnectionClosed: the connection is closing or has ended.
    ///     SendRefused: the connection is not a stream, and ends in both directions at once: use
    ///         `close()`.
    fn send_end(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::ask_living(slf, |py, this, connection| {
            connection.send_end().map_err(|error| match error {
                SendError::OutOfTurn => imports::error(imports::send_refused_class(py), |class| {
                    let text = match connection.endpoint().options().framing {
                        Framing::Datagram => "datagrams have no end to send: close() it",
                        _ => "a WebSocket ends in both directions at once: close() it",
                    };
                    Ok(PyErr::from_value(class.invoke((text,))?))
                }),
                error => this.send_error(py, connection, error, None),
            })
        })
    }

    /// Send a WebSocket ping; await it for the latency in seconds, or ignore what it returns.
    ///
    /// Args:
    ///     payload: At most 125 bytes. An empty payload becomes one that no other ping has.
    ///
    /// Raises:
    ///     ConnectionClosed: the connection is closing or has ended, or ends before the pong.
    ///     SendRefused: too many pings have no pong yet.
    ///     ValueError: the payload is too long, or the connection is not a WebSocket.
    #[pyo3(
        signature = (payload = ping::payload().to_vec()),
        text_signature = "($self, payload=b'')"
    )]
    fn ping(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = arguments::ping_payload)] payload: Vec<u8>,
    ) -> PyResult<Py<Ping>> {
        Self::ask_living(slf, move |py, this, connection| {
            if connection.rare(|rare| rare.pings.is_full()) == Some(true) {
                return Err(imports::error(imports::send_refused_class(py), |class| {
                    Ok(PyErr::from_value(class.invoke((ping::TOO_MANY,))?))
                }));
            }
            connection.ping(&payload).map_err(|error| match error {
                SendError::TooLong => {
                    PyValueError::new_err("a ping is for WebSocket and carries at most 125 bytes")
                }
                error => this.send_error(py, connection, error, None),
            })?;
            connection
                .rare(|rare| rare.pings.add(py, this.handle(), &payload))
                .ok_or_else(|| PyRuntimeError::new_err("the connection has no owner"))?
        })
    }

    /// Begin to close the connection cleanly; what is queued is written first.
    ///
    /// Await what it returns for the reason of the end, or ignore it. A second call does nothing
    /// more.
    ///
    /// Args:
    ///     code: The WebSocket close code (RFC 6455 section 7.4); streams have none.
    ///     reason: A text for the peer, of at most 123 bytes in UTF-8.
    ///
    /// Raises:
    ///     ValueError: no such code may be sent, or the reason is too long (RFC 6455 section 5.5).
    #[pyo3(
        signature = (code = 1000, reason = String::new()),
        text_signature = "($self, code=1000, reason='')"
    )]
    fn close(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = arguments::close_code)] code: u16,
        #[pyo3(from_py_with = arguments::close_reason)] reason: String,
    ) -> PyResult<Waiting> {
        let this = slf.get();
        if this.local.get().is_some() {
            this.close_now(code, &reason)?;
        } else {
            let object = slf.clone().unbind();
            Self::end(slf, ThreadCall::Close(object, code, reason))?;
        }
        Ok(Waiting::new(slf, What::Closing))
    }

    /// End the connection at once; what waits is dropped and the peer sees a reset.
    fn abort(slf: &Bound<'_, Self>) -> PyResult<()> {
        if slf.get().local.get().is_some() {
            return slf.get().abort_now();
        }
        Self::end(slf, ThreadCall::Abort(slf.clone().unbind()))
    }

    /// Read nothing more from the peer until `resume_reading()`; TCP holds it back.
    fn pause_reading(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        if this.local.get().is_some() {
            return this.set_reading(false);
        }
        let call = ThreadCall::Pause(slf.clone().unbind());
        this.handle().add(slf.py(), call)
    }

    /// Read on after `pause_reading()`.
    fn resume_reading(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        if this.local.get().is_some() {
            return this.set_reading(true);
        }
        let call = ThreadCall::Resume(slf.clone().unbind());
        this.handle().add(slf.py(), call)
    }

    /// Receive what the server publishes to a topic from now on.
    ///
    /// A message that the topic retains is sent at once. Returns False if the connection was
    /// already subscribed.
    ///
    /// Raises:
    ///     ConnectionClosed: the connection is closing or has ended.
    ///     SendRefused: it has `topics_per_connection_max` topics already, or the endpoint
    ///         `subscriptions_max`; the topic is longer than `topic_bytes_max`; or the connection
    ///         is a client's, for which nobody publishes.
    fn subscribe(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = arguments::topic)] topic: String,
    ) -> PyResult<bool> {
        Self::ask_living(slf, move |py, this, connection| {
            connection
                .subscribe(&topic)
                .map_err(|error| this.send_error(py, connection, error, None))
        })
    }

    /// Receive what the server publishes to any topic that a pattern matches.
    ///
    /// Levels of topics are separated by `/`. In a pattern `+` stands for one level, and `#`, as
    /// the last level, for any number of levels, including none (as in MQTT). The messages that the
    /// matching topics retain are sent at once. Returns False if the connection was already
    /// subscribed by this pattern.
    ///
    /// Raises:
    ///     ConnectionClosed: the connection is closing or has ended.
    ///     SendRefused: the text is not a pattern, or as for `subscribe`.
    fn subscribe_pattern(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = arguments::topic)] pattern: String,
    ) -> PyResult<bool> {
        Self::ask_living(slf, move |py, this, connection| {
            connection
                .subscribe_pattern(&pattern)
                .map_err(|error| this.send_error(py, connection, error, None))
        })
    }

    /// No longer receive what is published to a topic; False when it was not subscribed.
    fn unsubscribe(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = arguments::topic)] topic: String,
    ) -> PyResult<bool> {
        Self::look(slf, move |it| it.unsubscribe(&topic), |_| false)
    }

    /// No longer receive what a pattern matches; False when it was not subscribed by that.
    fn unsubscribe_pattern(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = arguments::topic)] pattern: String,
    ) -> PyResult<bool> {
        Self::look(slf, move |it| it.unsubscribe_pattern(&pattern), |_| false)
    }

    /// Call `callback(connection)` in `seconds`, unless the connection ends before.
    ///
    /// Raises:
    ///     ConnectionClosed: the connection has ended.
    ///     TypeError: `callback` is not a function, or an async one, which would never run.
    ///     ValueError: `seconds` is not from 0 to 1e9.
    fn set_timer(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = arguments::seconds)] seconds: f64,
        #[pyo3(from_py_with = arguments::callback)] callback: Py<PyAny>,
    ) -> PyResult<Timer> {
        let object = slf.clone().unbind();
        Self::ask_living(slf, move |_, _, connection| {
            let target = Target::connection(object, callback);
            Timer::set(connection.engine(), seconds, target)
        })
    }

    /// Continue with TLS on a `tcp://` or `unix://` connection (STARTTLS).
    ///
    /// What was sent before goes out unencrypted, and what is sent after this call waits for the
    /// handshake. Await the result for what TLS has agreed on, as in `connection.tls`, or ignore
    /// it. Call this on a server when the client has asked for TLS, right behind the message that
    /// says so, and on a client when the server has agreed.
    ///
    /// Bytes that the peer has sent behind the message that is being handled, without waiting for
    /// the handshake, end the connection: they were not encrypted, and must not be taken as if they
    /// were (RFC 3207 section 6). With `framing="raw"`, check that yourself.
    ///
    /// Args:
    ///     tls: A `ServerTLS` on a server; on a client a `ClientTLS`, or None for the authorities
    ///         that this machine trusts.
    ///
    /// Raises:
    ///     ConnectionClosed: the connection is closing or has ended, or ends before the end of the
    ///         handshake, for example because that fails or takes longer than `handshake_seconds`.
    ///     ConfigurationError: `tls` is not what it should be, or the connection is not a stream.
    ///     SendRefused: the connection uses TLS already; or the endpoint has filters, or
    ///         `executor="threads"`.
    ///     RuntimeError: it is called in another thread than the loop's.
    #[pyo3(signature = (tls = None))]
    fn start_tls(slf: &Bound<'_, Self>, tls: Option<Py<PyAny>>) -> PyResult<Waiting> {
        let (py, this) = (slf.py(), slf.get());
        this.check_thread("start_tls()")?;
        let Some(connection) = this.living()? else {
            return Err(this.closed_error(py));
        };
        tls::start(py, this, &connection, tls.into_pyobject(py)?.unbind())?;
        Ok(Waiting::new(slf, What::Secured))
    }

    /// Wait until no more than `write_low_bytes` wait to be sent; with room, return at once.
    ///
    /// Raises:
    ///     ConnectionClosed: the connection has ended.
    fn drain(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        waiting::drain_later(slf)
    }

    /// What `await connection.send(...)` waits for: the same as drain().
    fn __await__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        waiting::drain(slf, "await connection.send()")
    }

    /// Wait for the next message: in a handler that is an async function, and in clients.
    ///
    /// Args:
    ///     timeout: How long to wait at most, in seconds; None waits for as long as it takes.
    ///
    /// Raises:
    ///     ConnectionClosed: the connection has ended, and every message before that was received.
    ///     ReceiveConflict: another task waits already.
    ///     TimeoutError: no message came in time; a later one is not lost.
    #[pyo3(signature = (timeout = None))]
    fn receive(slf: &Bound<'_, Self>, timeout: Option<Py<PyAny>>) -> PyResult<Py<PyAny>> {
        match timeout {
            None => slf.get().inbox_for("receive()")?.receive(slf, false),
            Some(timeout) => awaitables::receive_within(slf, timeout),
        }
    }

    fn __aiter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __anext__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        slf.get().inbox_for("async for")?.receive(slf, true)
    }

    /// Wait until the connection has ended; the result says why it did.
    ///
    /// Raises:
    ///     RuntimeError: it is called in another thread than the loop's.
    fn wait_closed(slf: &Bound<'_, Self>) -> PyResult<Waiting> {
        slf.get().check_thread("wait_closed()")?;
        Ok(Waiting::new(slf, What::End))
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
            std::mem::replace(&mut *data, value.map(Owned::new))
        };
        // The old value may run code of its own when it goes: not under the lock.
        drop(old);
    }

    /// The header fields of the server's answer to this client's handshake.
    ///
    /// Empty at a server, and on streams.
    #[getter]
    fn response_headers(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::ask(slf, |py, slf| {
            slf.get().local()?.request.response_headers(py)
        })
    }

    /// The request that opened the connection; None on streams and at clients.
    ///
    /// After `on_open` it is kept only where the handler uses it: see `Handler.keep_request`.
    #[getter]
    fn request(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::ask(slf, |_, slf| slf.get().local()?.request.get(slf))
    }

    /// The address of the peer, still there after the end; None where it has none.
    ///
    /// A pair of host and port, or the path of a Unix socket.
    #[getter]
    fn peer(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let address = Self::look(slf, |it| it.peer_address(), |ended| ended?.peer.clone())?;
        address_object(slf.py(), address.as_ref())
    }

    /// The address at this end, still there after the end; None where it has none.
    ///
    /// A pair of host and port, or the path of a Unix socket.
    #[getter]
    fn local_address(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let address = Self::look(
            slf,
            |it| it.local_address(),
            |ended| ended?.local_address.clone(),
        )?;
        address_object(slf.py(), address.as_ref())
    }

    /// What TLS has agreed on, after the end of the connection too; None without TLS.
    #[getter]
    fn tls(slf: &Bound<'_, Self>) -> PyResult<Option<Py<PyAny>>> {
        let facts = Self::look(slf, |it| tls::facts(it), |ended| ended?.tls.clone())?;
        let py = slf.py();
        facts
            .map(|facts| imports::tls_info(py, &tls::fields(py, &facts)?))
            .transpose()
    }

    /// Whether messages can be sent now.
    #[getter]
    fn is_open(slf: &Bound<'_, Self>) -> PyResult<bool> {
        if slf.get().is_closed_elsewhere() {
            return Ok(false);
        }
        Self::look(slf, |it| it.is_open(), |_| false)
    }

    /// Whether the server is stopping, so that work under way should be finished.
    #[getter]
    fn is_shutting_down(slf: &Bound<'_, Self>) -> PyResult<bool> {
        Self::look(
            slf,
            |it| it.endpoint().host.is_shutting_down.get(),
            |_| false,
        )
    }

    /// Bytes that wait to be taken by the kernel.
    #[getter]
    fn queued_bytes(slf: &Bound<'_, Self>) -> PyResult<usize> {
        Self::look(slf, |it| it.queued_bytes(), |_| 0)
    }

    /// The WebSocket subprotocol that the handshake chose, if any.
    #[getter]
    fn subprotocol(slf: &Bound<'_, Self>) -> PyResult<Option<String>> {
        Self::look(slf, |it| it.protocol().map(Into::into), |_| None)
    }

    /// The version of WebSocket in use, 13 or 8 (an old peer); None elsewhere.
    #[getter]
    fn version(slf: &Bound<'_, Self>) -> PyResult<Option<u8>> {
        Self::look(slf, |it| it.version().map(Version::number), |_| None)
    }

    /// The WebSocket extensions that the handshake agreed on, as its header has them.
    #[getter]
    fn extensions(slf: &Bound<'_, Self>) -> PyResult<Vec<String>> {
        let agreed = |it: &Rc<Conn>| it.compression().iter().map(ToString::to_string).collect();
        Self::look(slf, agreed, |_| Vec::new())
    }

    /// Why the connection ended; None while it has not.
    #[getter]
    fn close_reason(slf: &Bound<'_, Self>) -> PyResult<Option<Py<PyAny>>> {
        let reason = Self::look(
            slf,
            |it| it.reason().filter(|_| it.state() == State::Closed),
            |ended| ended.map(|ended| ended.reason.clone()),
        )?;
        reason
            .map(|reason| imports::close_reason(slf.py(), &reason).map(Bound::unbind))
            .transpose()
    }

    /// Return what has happened on this connection so far.
    fn statistics(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::ask(slf, |py, slf| {
            let connection = slf.get().living()?;
            statistics::of_connection(py, connection.as_ref(), slf.get().ended())
        })
    }

    /// Call something on the loop's thread, one at a time for each connection; internal.
    #[pyo3(signature = (callback, *arguments))]
    fn _call_soon(
        &self,
        callback: Bound<'_, PyAny>,
        arguments: Bound<'_, PyTuple>,
    ) -> PyResult<()> {
        let py = callback.py();
        let context = context::copy_current(py)?;
        let call = ThreadCall::Callable(callback.unbind(), arguments.into_any().unbind(), context);
        self.handle().add_beyond(call)
    }

    /// Be kept although the program drops it, as something else closes it; internal.
    fn _keep(slf: &Bound<'_, Self>) {
        dropped::keep(slf);
    }

    /// The context that its handler runs in; internal.
    #[getter]
    fn _context(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let Some(connection) = self.living()? else {
            return Err(self.closed_error(py));
        };
        let attachment = connection.user.borrow();
        let attachment = attachment.as_ref();
        let attachment = attachment.ok_or_else(|| self.closed_error(py))?;
        let context = attachment.context(py, &connection.endpoint().host)?;
        Ok(context.clone_ref(py))
    }

    /// Hold the peer back while too much waits for the threads of the handler; internal.
    fn _hold_reading(&self, is_held: bool) -> PyResult<()> {
        match self.living()? {
            Some(connection) if is_held => connection.pause(PAUSED_BY_POOL),
            Some(connection) => connection.resume(PAUSED_BY_POOL),
            None => {}
        }
        Ok(())
    }

    /// Its filters, made by `make` at the first call; internal. They end with the connection, so
    /// that a filter may refer to it.
    fn _filters(&self, make: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        match self.living()? {
            Some(connection) => attachment::filters(&connection, make),
            None => Err(self.closed_error(make.py())),
        }
    }

    /// Give the response to a request that was put off; internal. One that cannot be sent is the
    /// handler's error, and the client gets 500.
    fn _answer(&self, answer: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = answer.py();
        let Some(connection) = self.living()? else {
            return Ok(());
        };
        connection.rare(|rare| rare.answering = None);
        let response = response::read(answer).unwrap_or_else(|error| {
            let engine = connection.engine();
            engine.host.note(py, Some(&connection), error);
            response::failed()
        });
        connection.answer(response);
        Ok(())
    }

    /// The handler failed: close with the code for that, and log and count the error where it is
    /// given; internal.
    #[pyo3(signature = (error = None))]
    fn _fail(slf: &Bound<'_, Self>, error: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let this = slf.get();
        match error {
            Some(error) if this.local.get().is_none() => {
                let call = ThreadCall::Fail(slf.clone().unbind(), error.clone().unbind());
                this.handle().add_beyond(call)
            }
            error => this.fail_now(slf.py(), error),
        }
    }

    /// Log and count what the handler raised; internal.
    fn _report(&self, error: &Bound<'_, PyAny>) -> PyResult<()> {
        match self.living()? {
            Some(living) => living.engine().host.note_error(error.py(), &living, error),
            None => report::handler_failed_late(error.py(), self, error),
        }
        Ok(())
    }

    /// Its handler works no more, and it has ended: it counts for no limit; internal.
    fn _leave(&self) -> PyResult<()> {
        drop(self.local()?.place.take());
        Ok(())
    }

    /// The task of the async handler has ended; internal.
    fn _task_done(&self, task: &Bound<'_, PyAny>) -> PyResult<()> {
        task::done(self, task)
    }

    /// `Connection[str]`, for annotations.
    #[classmethod]
    fn __class_getitem__(
        class: &Bound<'_, PyType>,
        messages: &Bound<'_, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        imports::generic_alias(class.py())?
            .invoke((class, messages))
            .map(Bound::unbind)
    }

    fn __repr__(&self) -> String {
        if let Some(ended) = self.ended() {
            return format!("<vespiary.Connection {}>", ended.reason);
        }
        let Some(local) = self.local.get() else {
            return "<vespiary.Connection of another thread>".to_owned();
        };
        let Some(it) = &*local.connection.borrow() else {
            return "<vespiary.Connection>".to_owned();
        };
        let state = match it.state() {
            State::Connecting => "connecting",
            State::Securing | State::Handshaking | State::BetweenRequests => "in its handshake",
            State::Open => "open",
            State::Closing => "closing",
            State::Closed => "closed",
        };
        format!("<vespiary.Connection {state}, peer {}>", peer_text(it))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Ok(data) = self.data.try_lock() {
            data.as_ref().map_or(Ok(()), |data| data.visit(&visit))?;
        }
        // SAFETY: see `collecting`; what is borrowed is skipped.
        let local = unsafe { self.local.get_anywhere() };
        local.request.traverse(&visit)?;
        if let Some(inbox) = local.inbox.get() {
            inbox.traverse(&visit)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        self.data
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // SAFETY: only garbage is cleared, which no other thread has.
        let local = unsafe { self.local.get_anywhere() };
        local.request.clear();
        if let Some(inbox) = local.inbox.get() {
            inbox.clear();
        }
    }
}
