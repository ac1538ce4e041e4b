//! Turns of the engine, taken for an asyncio loop.
//!
//! **Our own loop** waits in `turns`, as other loops wait in select(2). Completions are handled
//! there, turn after turn. asyncio gets control only when it has something to do: a foreign
//! descriptor is ready, a callback or a timer was scheduled, the loop must stop, or the time is
//! over. If the handlers of a server use nothing of asyncio, `turns` does not return.
//!
//! **A loop that is not ours** watches the engine's descriptor and its next deadline, and calls
//! `turns_of_guest`, which does not wait. What is asked for outside a turn, by a task that sends,
//! has a callback scheduled, or makes the descriptor readable ([`crate::wanted`]). A callback takes
//! at most [`GUEST_TURNS`]: the second submits to io_uring what the handlers of the first have
//! sent, which would otherwise take another trip through the loop. The rest waits until the loop's
//! other callbacks had their turn.

use crate::core::Core;
use crate::engine_run;
use crate::event_loop::base::LoopBase;
use crate::event_loop::calls::Calls;
use crate::host::PyHost;
use crate::process::detached;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use vespiary_engine::Engine;

const GUEST_TURNS: usize = 2;

impl Core {
    fn run_thread_calls(&self, py: Python<'_>, engine: &Rc<Engine<PyHost>>) {
        for call in self.shared.take() {
            if let Err(error) = call.run(py) {
                engine.host.note(py, None, error);
            }
        }
    }

    fn turn_once(
        &self,
        py: Python<'_>,
        engine: &Rc<Engine<PyHost>>,
        timeout: Option<Duration>,
    ) -> PyResult<()> {
        detached(py, || engine.wait(timeout))?;
        py.check_signals()?;
        self.run_thread_calls(py, engine);
        let outcome = engine_run::run(py, engine);
        engine.host.streams.turn_is_over(engine.has_unsent());
        outcome
    }

    /// Our own loop's wait: see the module.
    pub(crate) fn turns(
        &self,
        py: Python<'_>,
        timeout: Option<Duration>,
        event_loop: &Bound<'_, PyAny>,
    ) -> PyResult<Vec<(i32, u8)>> {
        if self.shared.is_forked() {
            return engine_run::rest_in_child(py, timeout);
        }
        self.enter_thread(false)?;
        let engine = self.engine()?;
        let state = LoopState::of(event_loop)?;
        let _turn = InTurn::enter(&engine)?;
        if self.shared.event_loop(py).is_none() {
            self.shared.attach(event_loop)?;
        }
        let mut left = timeout;
        let deadline = left
            .filter(|left| !left.is_zero())
            .and_then(|left| self.now(&engine).checked_add(left));
        loop {
            engine_run::settle(py, &engine)?;
            if engine.host.has_wakes() || state.has_work()? {
                left = Some(Duration::ZERO);
            }
            self.turn_once(py, &engine, left)?;
            if left == Some(Duration::ZERO) || engine.host.has_ready() || state.has_work()? {
                break;
            }
            if let Some(deadline) = deadline {
                let rest = deadline.saturating_sub(self.now(&engine));
                if rest.is_zero() {
                    break;
                }
                left = Some(rest);
            }
        }
        Ok(engine.host.take_ready())
    }

    /// A guest's callback: see the module.
    pub(crate) fn turns_of_guest(&self, py: Python<'_>) -> PyResult<Option<Duration>> {
        self.enter_thread(false)?;
        let engine = self.engine()?;
        engine.host.wanted.begin_turn();
        if engine.host.is_in_turn() {
            // A loop within a handler's call; the turn continues when the handler returns.
            return Ok(None);
        }
        let _turn = InTurn::enter(&engine)?;
        let mut rest = None;
        for _ in 0..GUEST_TURNS {
            engine_run::settle(py, &engine)?;
            self.turn_once(py, &engine, Some(Duration::ZERO))?;
            rest = if engine.host.has_wakes() {
                Some(Duration::ZERO)
            } else {
                engine.rest(monotonic())
            };
            if rest != Some(Duration::ZERO) {
                break;
            }
        }
        Ok(rest)
    }
}

/// The present moment on the clock of the kernel's drivers, in nanoseconds.
pub(crate) fn monotonic() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a timespec of ours; CLOCK_MONOTONIC always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// While it lives, the engine is in a turn.
struct InTurn<'a>(&'a PyHost);

impl<'a> InTurn<'a> {
    fn enter(engine: &'a Engine<PyHost>) -> PyResult<Self> {
        if engine.host.set_in_turn(true) {
            return Err(PyRuntimeError::new_err(
                "the loop is running: a method of a handler cannot run it again",
            ));
        }
        Ok(Self(&engine.host))
    }
}

impl Drop for InTurn<'_> {
    fn drop(&mut self) {
        self.0.set_in_turn(false);
    }
}

/// A timeout as selectors take it: negative is zero, infinite or beyond a century is none.
pub(crate) fn seconds(timeout: Option<f64>) -> PyResult<Option<Duration>> {
    const SECONDS_MAX: f64 = 3.2e9;
    match timeout {
        Some(seconds) if seconds.is_nan() => {
            Err(PyValueError::new_err("the timeout is not a number"))
        }
        Some(seconds) if seconds < SECONDS_MAX => {
            Ok(Some(Duration::from_secs_f64(seconds.max(0.0))))
        }
        _ => Ok(None),
    }
}

/// What the loop has to do, as far as `select` must know.
struct LoopState<'py> {
    event_loop: Bound<'py, PyAny>,
    tasks: Tasks<'py>,
}

/// Where a loop keeps its callbacks and timers.
enum Tasks<'py> {
    /// Ours, and how many timers it had set before.
    Native(Arc<Calls>, u64),
    /// asyncio's own, and how many timers it had before.
    Python {
        ready: Bound<'py, PyAny>,
        scheduled: Bound<'py, PyAny>,
        scheduled_count: usize,
    },
}

impl<'py> LoopState<'py> {
    fn of(event_loop: &Bound<'py, PyAny>) -> PyResult<Self> {
        let py = event_loop.py();
        let native = event_loop.cast::<LoopBase>().ok();
        let tasks = if let Some(calls) = native.and_then(|it| it.get().calls()) {
            Tasks::Native(calls.clone(), calls.timers_set())
        } else {
            let scheduled = event_loop.getattr(pyo3::intern!(py, "_scheduled"))?;
            Tasks::Python {
                ready: event_loop.getattr(pyo3::intern!(py, "_ready"))?,
                scheduled_count: scheduled.len()?,
                scheduled,
            }
        };
        Ok(Self {
            event_loop: event_loop.clone(),
            tasks,
        })
    }

    fn has_work(&self) -> PyResult<bool> {
        let py = self.event_loop.py();
        match &self.tasks {
            Tasks::Native(calls, timers) => {
                Ok(calls.has_ready(py) || calls.timers_set() != *timers || calls.is_stopping())
            }
            Tasks::Python {
                ready,
                scheduled,
                scheduled_count,
            } => {
                let stopping = pyo3::intern!(py, "_stopping");
                Ok(ready.len()? > 0
                    || scheduled.len()? != *scheduled_count
                    || self.event_loop.getattr(stopping)?.is_truthy()?)
            }
        }
    }
}
