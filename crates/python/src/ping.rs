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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vespiary_engine::CloseReason;

/// Pings that may wait for their pongs: more than any use of them has in flight.
const PINGS_MAX: usize = 1000;
/// Why one more is refused.
pub(crate) const TOO_MANY: &str = "1000 pings are unanswered: await them";

enum State {
    /// No pong has come; the futures of those that await it.
    Waiting(Vec<Py<PyAny>>),
    Settled(Outcome),
}

/// The latency in seconds, or why the connection ended without a pong, and its peer's address.
type Outcome = Result<f64, Arc<(CloseReason, String)>>;

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
        let outcome = match &mut *self.state() {
            State::Waiting(futures) => {
                futures.push(future.clone_ref(py));
                None
            }
            State::Settled(outcome) => Some(outcome.clone()),
        };
        if let Some(outcome) = outcome {
            resolve(py, &future, &outcome)?;
        }
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
        let futures = match &mut *self.state() {
            State::Waiting(futures) => std::mem::take(futures),
            State::Settled(_) => Vec::new(),
        };
        // What they hold may run code of its own when it goes: not under the lock.
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
    /// A ping that is sent now. Runs Python code: the loop's clock.
    pub(crate) fn new(py: Python<'_>, handle: &Arc<LoopHandle>) -> PyResult<Py<Self>> {
        let ping = Self {
            handle: handle.clone(),
            sent: now(py)?,
            state: Mutex::new(State::Waiting(Vec::new())),
            steps: Steps::default(),
        };
        Py::new(py, ping)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, py: Python<'_>, outcome: Outcome) -> PyResult<()> {
        let mut state = self.state();
        let State::Waiting(futures) = &mut *state else {
            return Ok(());
        };
        let futures = std::mem::take(futures);
        *state = State::Settled(outcome.clone());
        // Futures run code of others: not under the lock.
        drop(state);
        for future in futures {
            resolve(py, &future, &outcome)?;
        }
        Ok(())
    }
}

/// Give a future what happened to the ping.
fn resolve(py: Python<'_>, future: &Py<PyAny>, outcome: &Outcome) -> PyResult<()> {
    match outcome {
        Ok(latency) => waiting::settle(py, future, "set_result", *latency),
        Err(end) => {
            let error = imports::closed_error(py, &end.0, &end.1).into_value(py);
            waiting::settle(py, future, "set_exception", error)
        }
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
    pub(crate) fn add(&mut self, payload: &[u8], ping: Py<Ping>) {
        self.0.push_back((payload.into(), ping));
    }

    pub(crate) fn objects(&self) -> impl Iterator<Item = &Py<Ping>> {
        self.0.iter().map(|(_, ping)| ping)
    }

    /// Take those that a pong answers: the latest with its payload, and all before it, whose pongs
    /// the peer may omit (RFC 6455 section 5.5.3).
    pub(crate) fn take_answered(&mut self, payload: &[u8]) -> Vec<Py<Ping>> {
        let place = self.0.iter().rposition(|(sent, _)| **sent == *payload);
        let count = place.map_or(0, |place| place + 1);
        self.0.drain(..count).map(|(_, ping)| ping).collect()
    }

    /// The connection with this peer has ended.
    pub(crate) fn end(self, py: Python<'_>, reason: &CloseReason, peer: &str) -> PyResult<()> {
        let end = Arc::new((reason.clone(), peer.to_owned()));
        for (_, ping) in self.0 {
            ping.get().settle(py, Err(end.clone()))?;
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
        ping.settle(py, Ok(latency))?;
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
