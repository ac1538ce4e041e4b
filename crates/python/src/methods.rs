//! The methods and properties of `vespiary.Connection`, as Python sees them.

use crate::addresses::address_object;
use crate::arguments;
use crate::attachment::{self, HasRare as _};
use crate::calls::Invoke as _;
use crate::connection::{Connection, PAUSED_BY_FILTER, PAUSED_BY_POOL, peer_text};
use crate::core::Conn;
use crate::endpoint::Lasting;
use crate::host::filtered_bytes;
use crate::imports;
use crate::owned::Owned;
use crate::ping::{self, Ping};
use crate::thread_calls::ThreadCall;
use crate::timer::Timer;
use crate::timers::Target;
use crate::waiting::{self, Waiting, What};
use crate::{
    awaitables, context, dropped, exchange_events, parts, report, response, statistics, task, tls,
};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};
use std::rc::Rc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use vespiary_engine::wire::websocket::profile::Version;
use vespiary_engine::{Framing, SendError, State};

#[pymethods]
impl Connection {
    /// Queue the next part of a message, for messages that are produced piece by piece.
    ///
    /// Args:
    ///     data: The next bytes of the message. Text is sent as UTF-8.
    ///     last: Whether the message ends with this part.
    ///     compress: As for `send`. The value for the first part applies to the whole message.
    ///
    /// Raises:
    ///     ConnectionClosed: the connection is closing or has ended.
    ///     WriteQueueFull: `write_bytes_max` would be exceeded, and the policy is `wait`.
    ///     SendRefused: the framing does not support parts (lines, length prefixes), or another
    ///         task or callback is sending a message in parts.
    ///     TypeError: the data is neither text nor bytes, or `last` or `compress` is not a bool.
    #[pyo3(signature = (data, *, last = false, compress = None))]
    fn send_part(
        slf: &Bound<'_, Self>,
        data: Py<PyAny>,
        #[pyo3(from_py_with = arguments::last)] last: bool,
        #[pyo3(from_py_with = arguments::compress)] compress: Option<bool>,
    ) -> PyResult<()> {
        parts::send(slf, data, last, compress)
    }

    /// Queue a message for the loop without waiting for room: the write queue takes it even if it
    /// is full, so the caller limits this; internal.
    fn _send_soon(slf: &Bound<'_, Self>, message: Py<PyAny>) -> PyResult<()> {
        if !slf.get().may_send_elsewhere() {
            return Err(slf.get().closed_elsewhere_error(slf.py()));
        }
        let call = ThreadCall::Send(slf.clone().unbind(), message, None);
        slf.get().handle().add(slf.py(), call)
    }

    /// Finish sending on a stream (half-close). You can still receive.
    ///
    /// The queued messages are sent first, and then the peer sees the end of the stream. When both
    /// ends have finished, the connection closes.
    ///
    /// Raises:
    ///     ConnectionClosed: the connection is closing or has ended.
    ///     SendRefused: the connection is not a stream, so it cannot be half-closed: use `close()`.
    fn send_end(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::ask_living(slf, |py, this, connection| {
            connection.send_end().map_err(|error| match error {
                SendError::OutOfTurn => imports::error(imports::send_refused_class(py), |class| {
                    let text = match connection.endpoint().options().framing {
                        Framing::Datagram => "datagrams have no end to send: use close()",
                        _ => "a WebSocket ends in both directions at once: use close()",
                    };
                    Ok(PyErr::from_value(class.invoke((text,))?))
                }),
                error => this.send_error(py, connection, error, None),
            })
        })
    }

    /// Send a WebSocket ping. Await the result to get the latency in seconds, or ignore it.
    ///
    /// Args:
    ///     payload: At most 125 bytes. Default: a payload that no other ping has.
    ///
    /// Raises:
    ///     ConnectionClosed: the connection is closing or has ended, or ends before the pong.
    ///     SendRefused: too many pings are unanswered.
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
            let ping = Ping::new(py, this.handle())?;
            connection.ping(&payload).map_err(|error| match error {
                SendError::TooLong => {
                    PyValueError::new_err("a ping is for WebSocket and carries at most 125 bytes")
                }
                error => this.send_error(py, connection, error, None),
            })?;
            connection
                .rare(|rare| rare.pings.add(&payload, ping.clone_ref(py)))
                .ok_or_else(|| PyRuntimeError::new_err("the connection has no owner"))?;
            Ok(ping)
        })
    }

    /// Send the queued messages, and then close the connection cleanly.
    ///
    /// Await the result to wait for the end and get its `CloseReason`, or ignore it. A second call
    /// has no effect.
    ///
    /// Args:
    ///     code: The WebSocket close code (RFC 6455 section 7.4). Ignored on streams.
    ///     reason: A text for the peer, of at most 123 bytes in UTF-8.
    ///
    /// Raises:
    ///     ValueError: the code is not allowed in a close frame, or the reason is too long (RFC
    ///         6455 section 5.5).
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

    /// Reset the connection at once. Queued messages are dropped.
    fn abort(slf: &Bound<'_, Self>) -> PyResult<()> {
        if slf.get().local.get().is_some() {
            return slf.get().abort_now();
        }
        Self::end(slf, ThreadCall::Abort(slf.clone().unbind()))
    }

    /// Stop reading from the peer until `resume_reading()`. TCP then slows the peer down.
    fn pause_reading(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        if this.local.get().is_some() {
            return this.set_reading(false);
        }
        let call = ThreadCall::Pause(slf.clone().unbind());
        this.handle().add(slf.py(), call)
    }

    /// Continue to read from the peer, after `pause_reading()`.
    fn resume_reading(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        if this.local.get().is_some() {
            return this.set_reading(true);
        }
        let call = ThreadCall::Resume(slf.clone().unbind());
        this.handle().add(slf.py(), call)
    }

    /// Subscribe to a topic: send the peer what the server publishes to the topic from now on.
    ///
    /// A message that the topic retains is sent at once. Returns False if the connection was
    /// already subscribed.
    ///
    /// Raises:
    ///     ConnectionClosed: the connection is closing or has ended.
    ///     SendRefused: `topics_per_connection_max` topics of this connection, or
    ///         `subscriptions_max` of the endpoint, are reached; the topic is longer than
    ///         `topic_bytes_max`; or this is a client's connection.
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

    /// Subscribe to all topics that match a pattern.
    ///
    /// Levels of topics are separated by `/`. In a pattern, `+` matches one level, and `#`, as the
    /// last level, matches any number of levels, including none (as in MQTT). The messages that the
    /// matching topics retain are sent at once. Returns False if the connection was already
    /// subscribed to this pattern.
    ///
    /// Raises:
    ///     ConnectionClosed: the connection is closing or has ended.
    ///     SendRefused: the pattern is not valid, or as for `subscribe`.
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

    /// End the subscription to a topic. Returns False if the connection was not subscribed.
    fn unsubscribe(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = arguments::topic)] topic: String,
    ) -> PyResult<bool> {
        Self::look(slf, move |it| it.unsubscribe(&topic), |_| false)
    }

    /// End the subscription to a pattern. Returns False if there was none.
    fn unsubscribe_pattern(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = arguments::topic)] pattern: String,
    ) -> PyResult<bool> {
        Self::look(slf, move |it| it.unsubscribe_pattern(&pattern), |_| false)
    }

    /// Call `callback(connection)` once after `seconds`, unless the connection ends before.
    ///
    /// With `repeat=True` it is called every `seconds`, in step with the first call: one that is
    /// late does not delay the next, and calls that are missed because the loop was busy are
    /// skipped. With `executor="threads"` one is skipped too while the call before it still waits.
    ///
    /// Raises:
    ///     ConnectionClosed: the connection has ended.
    ///     TypeError: `callback` is not callable, or is an async function.
    ///     ValueError: `seconds` is not from 0 to 1e9, or not from 0.001 with `repeat`.
    #[pyo3(signature = (seconds, callback, *, repeat = false))]
    fn set_timer(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = arguments::seconds)] seconds: f64,
        #[pyo3(from_py_with = arguments::callback)] callback: Py<PyAny>,
        repeat: bool,
    ) -> PyResult<Timer> {
        let object = slf.clone().unbind();
        Self::ask_living(slf, move |_, _, connection| {
            let target = Target::Connection(object, callback);
            Timer::set(connection.engine(), seconds, target, repeat)
        })
    }

    /// Continue with TLS on a `tcp://` or `unix://` connection (STARTTLS).
    ///
    /// Messages that were sent before this call are sent without TLS. Messages that are sent after
    /// it wait for the TLS handshake. Await the result to get the parameters of TLS (as in
    /// `connection.tls`), or ignore it. On a server, call this when the client has asked for TLS,
    /// right after you have sent the answer; on a client, when the server has agreed.
    ///
    /// If the peer has sent more bytes after the message that is being handled, without waiting for
    /// the handshake, the connection ends: these bytes were not encrypted, and must not be taken
    /// for encrypted ones (RFC 3207 section 6). With `framing="raw"`, check this yourself.
    ///
    /// Args:
    ///     tls: A `ServerTLS` on a server; on a client a `ClientTLS`, or None for the authorities
    ///         that this machine trusts.
    ///
    /// Raises:
    ///     ConnectionClosed: the connection is closing or has ended, or ends before the end of the
    ///         handshake, for example because that fails or takes longer than `handshake_seconds`.
    ///     ConfigurationError: `tls` is not a valid value here, or the connection is not a stream.
    ///     SendRefused: the connection uses TLS already, or `send_end()` was called; or the
    ///         endpoint has filters, or `executor="threads"`.
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

    /// Wait until the write queue has room.
    ///
    /// If the queue has exceeded `write_high_bytes`, wait until it has drained to
    /// `write_low_bytes`. Otherwise return at once.
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

    /// Wait for the next message and return it. For coroutine handlers and clients.
    ///
    /// Args:
    ///     timeout: The longest time to wait, in seconds. Default: no limit.
    ///
    /// Raises:
    ///     ConnectionClosed: the connection has ended, and all its messages have been received.
    ///     ReceiveConflict: another task is already waiting for a message.
    ///     TimeoutError: no message has arrived in time. No message is lost: call `receive` again.
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

    /// Wait until the connection has ended, and return its `CloseReason`.
    ///
    /// Raises:
    ///     RuntimeError: it is called in a thread other than the loop's.
    fn wait_closed(slf: &Bound<'_, Self>) -> PyResult<Waiting> {
        slf.get().check_thread("wait_closed()")?;
        Ok(Waiting::new(slf, What::End))
    }

    /// For the handler's own data. Vespiary does not use it. It is None by default.
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

    /// The header fields of the server's response to a client's handshake.
    ///
    /// Empty on a server, and on streams.
    #[getter]
    fn response_headers(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::ask(slf, |py, slf| {
            slf.get().local()?.request.response_headers(py)
        })
    }

    /// The HTTP request that opened the connection; None on streams and on clients.
    ///
    /// After `on_open` it raises RuntimeError, unless the code of a method of the handler contains
    /// `.request`, or `Handler.keep_request` is True.
    #[getter]
    fn request(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::ask(slf, |_, slf| slf.get().local()?.request.get(slf))
    }

    /// The address of the peer, which is host and port, or the path of a Unix socket.
    ///
    /// None if the peer has no address, such as the client of a Unix socket. You can also read it
    /// after the connection has ended.
    #[getter]
    fn peer(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let address = Self::look(slf, |it| it.peer_address(), |ended| ended?.peer.clone())?;
        address_object(slf.py(), address.as_ref())
    }

    /// The address of this end, which is host and port, or the path of a Unix socket.
    ///
    /// None if this end has no address. You can also read it after the connection has ended.
    #[getter]
    fn local_address(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let address = Self::look(
            slf,
            |it| it.local_address(),
            |ended| ended?.local_address.clone(),
        )?;
        address_object(slf.py(), address.as_ref())
    }

    /// The parameters of TLS, even after the end of the connection; None without TLS.
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

    /// Whether the server is stopping, even after the end. Handlers should then finish soon.
    #[getter]
    fn is_shutting_down(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let is_on = |lasting: &Lasting| lasting.is_shutting_down.load(Ordering::Relaxed);
        Self::look(
            slf,
            move |it| is_on(&it.endpoint().host.lasting),
            move |it| it.is_some_and(|ended| is_on(&ended.lasting)),
        )
    }

    /// Bytes in the write queue, which the kernel has not accepted yet.
    #[getter]
    fn queued_bytes(slf: &Bound<'_, Self>) -> PyResult<usize> {
        Self::look(slf, |it| it.queued_bytes(), |_| 0)
    }

    /// The WebSocket subprotocol that was chosen in the handshake; None if there is none.
    #[getter]
    fn subprotocol(slf: &Bound<'_, Self>) -> PyResult<Option<String>> {
        Self::look(slf, |it| it.protocol().map(Into::into), |_| None)
    }

    /// The version of WebSocket, 13 or for an old peer 8; None on other connections.
    #[getter]
    fn version(slf: &Bound<'_, Self>) -> PyResult<Option<u8>> {
        Self::look(slf, |it| it.version().map(Version::number), |_| None)
    }

    /// The negotiated WebSocket extensions, as in the header field Sec-WebSocket-Extensions.
    #[getter]
    fn extensions(slf: &Bound<'_, Self>) -> PyResult<Vec<String>> {
        let agreed = |it: &Rc<Conn>| it.compression().iter().map(ToString::to_string).collect();
        Self::look(slf, agreed, |_| Vec::new())
    }

    /// Why the connection has ended; None before that.
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

    /// Return the statistics of this connection so far.
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

    /// Hold the peer back for a filter that limits the rate; internal.
    fn _throttle_reading(&self, is_held: bool) -> PyResult<()> {
        match self.living()? {
            Some(connection) if is_held => connection.pause(PAUSED_BY_FILTER),
            Some(connection) => connection.resume(PAUSED_BY_FILTER),
            None => {}
        }
        Ok(())
    }

    /// Let so many bytes be sent, and no more until the next call; internal.
    fn _limit_sending(&self, count: usize) -> PyResult<()> {
        if let Some(connection) = self.living()? {
            connection.limit_sending(Some(count));
        }
        Ok(())
    }

    /// Hand over no more messages, as the server stops; internal. Pings and the peer's close are
    /// still answered.
    fn _drop_messages(&self) -> PyResult<()> {
        if let Some(connection) = self.living()? {
            connection.drop_messages();
        }
        Ok(())
    }

    /// Take what an asynchronous filter has made of bytes; internal. None: it has failed.
    fn _filtered(
        &self,
        py: Python<'_>,
        is_sent: bool,
        made: Option<&Bound<'_, PyAny>>,
        error: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let Some(connection) = self.living()? else {
            return Ok(());
        };
        let place = usize::from(is_sent);
        drop(connection.rare(|rare| rare.filtering[place].take()));
        let host = &connection.engine().host;
        let mut bytes = None;
        match (error, made) {
            (Some(error), _) => host.note_error(py, &connection, error),
            (None, None) => bytes = Some(Vec::new()),
            (None, Some(made)) => match filtered_bytes(made) {
                Ok(made) => bytes = Some(made),
                Err(error) => host.note(py, Some(&connection), error),
            },
        }
        if is_sent {
            connection.filtered_sent(bytes);
        } else {
            connection.filtered_received(bytes);
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
        // What goes with the task may run code of its own: not while `rare` is borrowed.
        drop(connection.made_rare(|rare| rare.answering.take()));
        self.local()?.request.release_body();
        exchange_events::end(&connection);
        // Once its head was sent, no other answer can be.
        connection.break_response_begun("the response was not completed");
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

    /// Log and count what the handler raised for a request; internal.
    fn _report(&self, error: &Bound<'_, PyAny>) -> PyResult<()> {
        if task::is_end_of_request(self, error) {
            return Ok(());
        }
        match self.living()? {
            Some(living) => living.engine().host.note_error(error.py(), &living, error),
            None => report::handler_failed_late(error.py(), self, error),
        }
        Ok(())
    }

    /// Whether it comes from a proxy that is trusted to name its clients; internal.
    #[getter]
    fn _is_forwarded(&self) -> PyResult<bool> {
        Ok(self.living()?.is_some_and(|living| living.is_forwarded()))
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
            State::Responding => "responding",
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
