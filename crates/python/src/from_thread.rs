//! Sending from other threads than the loop's: the thread waits for room, and nothing is lost.
//!
//! A message within the connection's credit (see `senders`) is queued for the loop at once. Any
//! other is sent while the thread waits for the outcome; where the write queue is full under the
//! policy `wait`, it waits for room and tries again, until the connection ends. A thread that runs
//! a loop itself does not wait for room (see `thread_waits`).

use crate::connection::Connection;
use crate::core::Conn;
use crate::imports;
use crate::process::detached;
use crate::senders::Admission;
use crate::thread_calls::ThreadCall;
use crate::thread_waits::OwnLoops;
use pyo3::prelude::*;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vespiary_engine::{Cause, CloseReason, SendError, SlowConsumer};

/// How long a thread waits before it looks for signals.
const SLICE: Duration = Duration::from_millis(100);
/// How long it waits before it asks the loop again: that fails if the loop does not run any more.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long it waits for room that is not announced, because less than the high mark waits.
const PAUSE: Duration = Duration::from_millis(5);

/// Send a message, or with no `size` a part of one, by calling `act` on the loop's thread.
pub(crate) fn send(
    connection: &Bound<'_, Connection>,
    size: Option<usize>,
    compress: Option<bool>,
    message: Py<PyAny>,
    act: impl Fn(Python<'_>, &Py<PyAny>, &Rc<Conn>) -> PyResult<Result<(), SendError>>
    + Send
    + Sync
    + 'static,
) -> PyResult<()> {
    let py = connection.py();
    let this = connection.get();
    let act = Arc::new((act, message));
    let waits = !OwnLoops::new().is_running(py);
    loop {
        if !this.may_send_elsewhere() {
            return Err(this.closed_elsewhere_error(py));
        }
        // Parts are never queued without an answer, so that they are in order with one another.
        let senders = this.handle().senders();
        match senders.admit(this.key(), size.unwrap_or(usize::MAX)) {
            Admission::Promised => {
                let object = connection.clone().unbind();
                let call = ThreadCall::Send(object, act.1.clone_ref(py), compress);
                return this.handle().add(py, call);
            }
            Admission::Wait if waits => wait_for_room(py, this)?,
            Admission::Wait | Admission::Ask => {}
        }
        let act = act.clone();
        if Connection::ask(connection, move |py, slf| {
            try_to_send(py, slf.get(), &act.1, waits, &act.0)
        })? {
            return Ok(());
        }
        py.check_signals()?;
        detached(py, || std::thread::sleep(PAUSE));
    }
}

/// Wait until the connection has room or has ended, or until it is time to ask the loop.
fn wait_for_room(py: Python<'_>, this: &Connection) -> PyResult<()> {
    let senders = this.handle().senders();
    let deadline = Instant::now() + PATIENCE;
    while senders.is_above_high(this.key()) && Instant::now() < deadline {
        detached(py, || senders.wait(this.key(), SLICE));
        py.check_signals()?;
    }
    Ok(())
}

/// Send on the loop's thread. False: there is no room yet, and the other thread `waits` for it.
fn try_to_send(
    py: Python<'_>,
    this: &Connection,
    message: &Py<PyAny>,
    waits: bool,
    act: impl Fn(Python<'_>, &Py<PyAny>, &Rc<Conn>) -> PyResult<Result<(), SendError>>,
) -> PyResult<bool> {
    let Some(connection) = this.living()? else {
        return Err(this.closed_error(py));
    };
    let sent = act(py, message, &connection)?;
    this.note_sender(&connection);
    match sent {
        Ok(()) => Ok(true),
        Err(SendError::QueueFull)
            if waits
                && connection.queued_bytes() > 0
                && connection.endpoint().options().slow_consumer == SlowConsumer::Wait =>
        {
            Ok(false)
        }
        Err(error) => Err(this.send_error(py, &connection, error, Some(message.bind(py)))),
    }
}

impl Connection {
    /// Remember how much threads may send on a connection; on the loop's thread.
    pub(crate) fn note_sender(&self, connection: &Rc<Conn>) {
        let most = connection.endpoint().options().limits.write_bytes_max;
        if self.may_send_elsewhere() {
            let senders = self.handle().senders();
            senders.sent(self.key(), most, connection.is_above_high());
        }
    }

    pub(crate) fn closed_elsewhere_error(&self, py: Python<'_>) -> PyErr {
        if self.ended().is_some() {
            return self.closed_error(py);
        }
        let reason = CloseReason::new(Cause::Closed, "closed by another call");
        imports::closed_error(py, &reason, "")
    }
}
