//! Timers of handlers, on the engine's timer wheel.

use crate::attachment::HasRare as _;
use crate::confined::{Confine, Confined};
use crate::connection::Connection;
use crate::host::PyHost;
use crate::owned::Owned;
use crate::thread_calls::on_loop;
use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use vespiary_engine::port::timer::Key;
use vespiary_engine::{Engine, SendError, State};

/// Whom a timer calls.
pub(crate) enum Target {
    /// A callback without arguments, and the context to call it in.
    Server(Owned, Owned),
    Connection(Py<Connection>, Owned),
}

impl Target {
    pub(crate) fn server(callback: Py<PyAny>, context: Py<PyAny>) -> Self {
        Self::Server(Owned::new(callback), Owned::new(context))
    }

    pub(crate) fn connection(object: Py<Connection>, callback: Py<PyAny>) -> Self {
        Self::Connection(object, Owned::new(callback))
    }
}

/// Timers that have not fired.
#[derive(Default)]
pub(crate) struct Timers {
    pending: RefCell<HashMap<u64, (Target, Key)>>,
    next: Cell<u64>,
}

impl Timers {
    pub(crate) fn take(&self, id: u64) -> Option<Target> {
        self.pending
            .borrow_mut()
            .remove(&id)
            .map(|(target, _)| target)
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Ok(pending) = self.pending.try_borrow() else {
            return Ok(());
        };
        for (target, _) in pending.values() {
            match target {
                Target::Server(callback, context) => {
                    callback.visit(visit)?;
                    context.visit(visit)?;
                }
                Target::Connection(object, callback) => {
                    visit.call(object)?;
                    callback.visit(visit)?;
                }
            }
        }
        Ok(())
    }

    /// Drop a timer before it is due; whether there was one.
    pub(crate) fn forget(&self, engine: &Engine<PyHost>, id: u64) -> bool {
        let Some((target, key)) = self.pending.borrow_mut().remove(&id) else {
            return false;
        };
        engine.cancel_timer(key);
        if let Target::Connection(object, _) = &target
            && let Ok(Some(connection)) = object.get().living()
        {
            connection.rare(|rare| rare.timers.remove(&id));
        }
        true
    }

    pub(crate) fn clear(&self) {
        // What they hold may run code of its own when it goes.
        let pending = self.pending.take();
        drop(pending);
    }
}

/// A timer that was set; it can be cancelled until it fires.
#[pyclass(frozen, module = "vespiary._core")]
pub(crate) struct Timer {
    engine: Confined<EngineOf>,
    id: u64,
}

struct EngineOf(Weak<Engine<PyHost>>);

// SAFETY: never independent.
unsafe impl Confine for EngineOf {}

impl Timer {
    pub(crate) fn set(engine: &Rc<Engine<PyHost>>, seconds: f64, target: Target) -> PyResult<Self> {
        if !(0.0..=1e9).contains(&seconds) {
            let text = format!("a timer is set to 0 to 1e9 seconds; got {seconds}");
            return Err(PyValueError::new_err(text));
        }
        if let Target::Connection(object, _) = &target
            && let Some(connection) = object.get().living()?
            && connection.state() == State::Closed
        {
            // In on_close: it would never be called.
            let py = engine.host.py();
            return Err(object
                .get()
                .send_error(py, &connection, SendError::Closed, None));
        }
        let timers = &engine.host.timers;
        let id = timers.next.get();
        timers.next.set(id + 1);
        // The port's clock stands at its latest turn, and a timer is never early.
        let is_simulated = engine.driver() == "sim";
        let now = if seconds == 0.0 || is_simulated {
            engine.now()
        } else {
            now()
        };
        let due = now.saturating_add((seconds * 1e9).ceil() as u64);
        let key = engine.set_timer_at(due, id);
        if let Target::Connection(object, _) = &target
            && let Some(connection) = object.get().living()?
        {
            connection.rare(|rare| rare.timers.insert(id));
        }
        timers.pending.borrow_mut().insert(id, (target, key));
        Ok(Self {
            engine: Confined::new(
                engine.host.handle().clone(),
                EngineOf(Rc::downgrade(engine)),
            ),
            id,
        })
    }
}

/// The present moment on the port's clock, in nanoseconds.
fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a timespec of ours; CLOCK_MONOTONIC always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[pymethods]
impl Timer {
    /// Forget the timer; False when it has fired or was cancelled before.
    fn cancel(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let object = slf.clone().unbind();
        on_loop(slf.py(), slf.get().engine.handle(), move |_| {
            let this = object.get();
            let engine = this.engine.get().and_then(|engine| engine.0.upgrade());
            Ok(engine.is_some_and(|engine| engine.host.timers.forget(&engine, this.id)))
        })
    }
}
