//! What `ping()` returns: something to await, or to ignore.
//!
//! asyncio logs a future that failed and was never awaited. So futures are made only when somebody
//! awaits, and a result that comes before is kept.

use crate::calls::InvokeOwned as _;
use crate::imports;
use crate::loop_handle::LoopHandle;
use crate::steps::Steps;
use crate::thread_calls::wrong_thread;
use crate::waiting;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use vespiary_engine::CloseReason;

/// Pings that may wait for their pongs: more than any use of them has in flight.
const PINGS_MAX: usize = 1000;
/// Why one more is refused.
pub(crate) const TOO_MANY: &str = "1000 pings have no pong yet: await them";

enum State {
    /// No pong has come; the futures of those that await it.
    Waiting(Vec<Py<PyAny>>),
    /// The latency in seconds.
    Answered(f64),
    Ended(Box<CloseReason>),
}

/// A ping that was sent: await it for the latency.
#[pyclass(frozen, module = "vespiary._core")]
pub(crate) struct Ping {
    handle: Arc<LoopHandle>,
    sent: f64,
    state: Mutex<State>,
    steps: Steps,
}

#[pymethods]
impl Ping {
    fn __await__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        if !self.handle.is_here() {
            return Err(wrong_thread("await connection.ping()"));
        }
        let future = waiting::running_loop(py)?.invoke_method(py, "create_future", ())?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *state {
            State::Waiting(futures) => futures.push(future.clone_ref(py)),
            State::Answered(latency) => {
                future.invoke_method(py, "set_result", (*latency,))?;
            }
            State::Ended(reason) => {
                let error = imports::closed_error(py, reason, "");
                future.invoke_method(py, "set_exception", (error.into_value(py),))?;
            }
        }
        drop(state);
        future.invoke_method(py, "__await__", ())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Ok(state) = self.state.try_lock()
            && let State::Waiting(futures) = &*state
        {
            for future in futures {
                visit.call(future)?;
            }
        }
        self.steps.traverse(&visit)
    }

    fn __clear__(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let futures = match &mut *state {
            State::Waiting(futures) => std::mem::take(futures),
            State::Answered(_) | State::Ended(_) => Vec::new(),
        };
        // What they hold may run code of its own when it goes: not under the lock.
        drop(state);
        drop(futures);
        self.steps.clear();
    }

    fn send(&self, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        self.steps.send(value, |py| self.__await__(py))
    }

    #[pyo3(signature = (*error))]
    fn throw(&self, error: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
        self.steps.throw(error)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.steps.close(py)
    }
}

impl Ping {
    fn settle(&self, py: Python<'_>, outcome: State) -> PyResult<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State::Waiting(futures) = std::mem::replace(&mut *state, outcome) else {
            return Ok(());
        };
        for future in futures {
            match &*state {
                State::Answered(latency) => waiting::settle(py, &future, "set_result", *latency)?,
                State::Ended(reason) => {
                    let error = imports::closed_error(py, reason, "").into_value(py);
                    waiting::settle(py, &future, "set_exception", error)?;
                }
                State::Waiting(_) => unreachable!("a ping is settled with an outcome"),
            }
        }
        Ok(())
    }
}

/// The pings of a connection that wait for their pongs, the oldest first.
#[derive(Default)]
pub(crate) struct Pings(VecDeque<(Box<[u8]>, Py<Ping>)>);

impl Pings {
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= PINGS_MAX
    }

    /// Remember a ping that was sent just now.
    pub(crate) fn add(
        &mut self,
        py: Python<'_>,
        handle: &Arc<LoopHandle>,
        payload: &[u8],
    ) -> PyResult<Py<Ping>> {
        let ping = Ping {
            handle: handle.clone(),
            sent: now(py)?,
            state: Mutex::new(State::Waiting(Vec::new())),
            steps: Steps::default(),
        };
        let ping = Py::new(py, ping)?;
        self.0.push_back((payload.into(), ping.clone_ref(py)));
        Ok(ping)
    }

    pub(crate) fn objects(&self) -> impl Iterator<Item = &Py<Ping>> {
        self.0.iter().map(|(_, ping)| ping)
    }

    /// Take those that a pong answers: the latest with its payload, and all before it, whose pongs
    /// the peer may leave out (RFC 6455 section 5.5.3).
    pub(crate) fn take_answered(&mut self, payload: &[u8]) -> Vec<Py<Ping>> {
        let place = self.0.iter().rposition(|(sent, _)| **sent == *payload);
        let count = place.map_or(0, |place| place + 1);
        self.0.drain(..count).map(|(_, ping)| ping).collect()
    }

    /// The connection has ended.
    pub(crate) fn end(self, py: Python<'_>, reason: &CloseReason) -> PyResult<()> {
        for (_, ping) in self.0 {
            ping.get()
                .settle(py, State::Ended(Box::new(reason.clone())))?;
        }
        Ok(())
    }
}

/// Pongs have come.
pub(crate) fn answered(py: Python<'_>, pings: Vec<Py<Ping>>) -> PyResult<()> {
    let now = now(py)?;
    for ping in pings {
        let ping = ping.get();
        let latency = (now - ping.sent).max(0.0);
        ping.settle(py, State::Answered(latency))?;
    }
    Ok(())
}

/// A payload that no other ping of this process has.
pub(crate) fn payload() -> [u8; 8] {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes()
}

/// The loop's clock, which may be a virtual one.
fn now(py: Python<'_>) -> PyResult<f64> {
    waiting::running_loop(py)?
        .invoke_method(py, "time", ())?
        .extract(py)
}
