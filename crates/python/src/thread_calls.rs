//! Calls from other threads: what waits in the loop's queue, and how it is run.
//!
//! `send`, `close` and the like return at once. What has a result is run by the loop while the
//! calling thread waits for it (see `thread_waits`).

use crate::calls::Invoke as _;
use crate::connection::{self, Connection, PAUSED_BY_USER};
use crate::context::Entered;
use crate::datagram_socket::DatagramSocket;
use crate::dropped;
use crate::loop_handle::{LoopHandle, WAIT_SECONDS_MAX, forked_error};
use crate::report;
use crate::task;
use crate::thread_waits::Wait;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;
use vespiary_engine::port::Address;

/// Something to be done on the loop's thread.
pub(crate) enum ThreadCall {
    Send(Py<Connection>, Py<PyAny>, Option<bool>),
    /// A datagram, its peer, and the address that the peer sees.
    Datagram(Py<DatagramSocket>, Vec<u8>, Address, Option<IpAddr>),
    Close(Py<Connection>, u16, String),
    Abort(Py<Connection>),
    Pause(Py<Connection>),
    Resume(Py<Connection>),
    /// The program has dropped it without closing it.
    Dropped(Py<Connection>),
    /// The handler raised this.
    Fail(Py<Connection>, Py<PyAny>),
    /// A callable, its arguments, and the context to call it in.
    Callable(Py<PyAny>, Py<PyAny>, Py<PyAny>),
    /// An earlier call raised this.
    Raise(PyErr),
    /// Something whose result another thread waits for.
    Run(Box<dyn FnOnce(Python<'_>) + Send>),
}

impl ThreadCall {
    /// The bytes of the message that waits with it.
    pub(crate) fn bytes(&self, py: Python<'_>) -> usize {
        match self {
            Self::Send(_, message, _) => message.bind(py).len().unwrap_or(0),
            Self::Datagram(_, bytes, _, _) => bytes.len(),
            _ => 0,
        }
    }

    /// Whether it is a function of the program's.
    pub(crate) fn is_callable(&self) -> bool {
        matches!(self, Self::Callable(..))
    }

    /// Do it.
    pub(crate) fn run(self, py: Python<'_>) -> PyResult<()> {
        match self {
            Self::Send(connection, message, compress) => {
                let message = message.bind(py);
                connection.get().send_for_another(py, message, compress)
            }
            Self::Datagram(socket, bytes, peer, source) => {
                socket.get().send_for_another(&bytes, &peer, source);
                Ok(())
            }
            Self::Close(connection, code, reason) => connection.get().close_now(code, &reason),
            Self::Abort(connection) => connection.get().abort_now(),
            Self::Pause(connection) => connection.get().set_reading(false),
            Self::Resume(connection) => connection.get().set_reading(true),
            Self::Dropped(connection) => {
                dropped::dropped(connection.bind(py));
                Ok(())
            }
            Self::Fail(connection, error) => connection.get().fail_now(py, Some(error.bind(py))),
            Self::Callable(callable, arguments, context) => {
                call_in_context(py, &callable, &arguments, &context)
            }
            Self::Raise(error) => Err(error),
            Self::Run(run) => {
                run(py);
                Ok(())
            }
        }
    }
}

fn call_in_context(
    py: Python<'_>,
    callable: &Py<PyAny>,
    arguments: &Py<PyAny>,
    context: &Py<PyAny>,
) -> PyResult<()> {
    let _entered = Entered::enter(py, context)?;
    let arguments = arguments.bind(py).cast::<PyTuple>()?;
    callable.bind(py).invoke(arguments).map(drop)
}

/// Run something on the loop's thread: at once there, and from another thread by the loop, while
/// the thread waits for the result.
///
/// Raises: `RuntimeError` when the loop is closed, belongs to the parent process, or does not
/// answer. In the last case nothing is done.
pub(crate) fn on_loop<T: Send + 'static>(
    py: Python<'_>,
    handle: &Arc<LoopHandle>,
    act: impl FnOnce(Python<'_>) -> PyResult<T> + Send + 'static,
) -> PyResult<T> {
    if handle.is_here() {
        return act(py);
    }
    if handle.is_forked() {
        return Err(forked_error());
    }
    let (wait, reply) = Wait::new();
    let is_taken = Arc::new(AtomicBool::new(false));
    let taken = is_taken.clone();
    let run = move |py: Python<'_>| {
        if !taken.swap(true, Ordering::Relaxed) {
            reply.send(act(py));
        }
    };
    handle.add(py, ThreadCall::Run(Box::new(run)))?;
    loop {
        match wait.within(py, Duration::from_secs(WAIT_SECONDS_MAX)) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(PyRuntimeError::new_err("the loop is closed"));
            }
            // What has begun is awaited: it would be done although an error was raised.
            Err(RecvTimeoutError::Timeout) if is_taken.swap(true, Ordering::Relaxed) => {}
            Err(RecvTimeoutError::Timeout) => return Err(not_answered()),
        }
    }
}

fn not_answered() -> PyErr {
    PyRuntimeError::new_err(format!(
        "the loop has not answered within {WAIT_SECONDS_MAX} s, so this call is cancelled: the \
         loop does not run, or something blocks it, for example because it waits for this thread; \
         call_soon_threadsafe() of the loop (or of a server) does not wait for a result"
    ))
}

/// What only the loop's thread may do was asked for elsewhere.
#[cold]
pub(crate) fn wrong_thread(what: &str) -> PyErr {
    PyRuntimeError::new_err(format!(
        "{what} works only on the thread of the connection's loop; in another thread, pass a plain \
         function to call_soon_threadsafe() of the loop (or of a server), which may start a task \
         with asyncio.create_task(), or pass your own coroutine to \
         asyncio.run_coroutine_threadsafe()"
    ))
}

impl Connection {
    pub(crate) fn close_now(&self, code: u16, reason: &str) -> PyResult<()> {
        if let Some(connection) = self.living()? {
            connection::close(&connection, code, reason);
        }
        Ok(())
    }

    pub(crate) fn fail_now(
        &self,
        py: Python<'_>,
        error: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let living = self.living()?;
        if let Some(error) = error {
            if task::is_own_end(self, error) {
                return Ok(());
            }
            match &living {
                Some(living) => living.engine().host.note_error(py, living, error),
                None => report::handler_failed_late(py, self, error),
            }
        }
        if let Some(connection) = living {
            connection.fail_in_handler();
        }
        Ok(())
    }

    pub(crate) fn abort_now(&self) -> PyResult<()> {
        if let Some(connection) = self.living()? {
            connection.abort();
        }
        Ok(())
    }

    pub(crate) fn set_reading(&self, on: bool) -> PyResult<()> {
        if let Some(connection) = self.living()? {
            if on {
                connection.resume(PAUSED_BY_USER);
            } else {
                connection.pause(PAUSED_BY_USER);
            }
        }
        Ok(())
    }
}
