//! A timer of a handler's, on the engine's timer wheel: set, moved, cancelled, and called.

use crate::attachment::HasRare as _;
use crate::callback::Callback;
use crate::calls::InvokeOwned as _;
use crate::confined::{Confine, Confined};
use crate::context::Entered;
use crate::core::Conn;
use crate::host::PyHost;
use crate::owned::Owned;
use crate::process;
use crate::thread_calls::on_loop;
use crate::timers::{Called, Target, TimerId};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBool;
use std::rc::{Rc, Weak};
use std::time::Duration;
use vespiary_engine::port::timer::{Fired, TICK_NANOSECONDS};
use vespiary_engine::{Engine, SendError, State};

/// A timer that was set; it can be moved and cancelled until it fires.
#[pyclass(frozen, module = "vespiary._core")]
pub(crate) struct Timer {
    engine: Confined<EngineOf>,
    id: TimerId,
}

struct EngineOf(Weak<Engine<PyHost>>);

// SAFETY: never independent.
unsafe impl Confine for EngineOf {}

impl Timer {
    pub(crate) fn set(
        engine: &Rc<Engine<PyHost>>,
        seconds: f64,
        target: Target,
        is_repeated: bool,
    ) -> PyResult<Self> {
        let period = nanoseconds(seconds, is_repeated)?;
        let connection = match &target {
            Target::Connection(object, _) => object.get().living()?,
            Target::Server(..) => None,
        };
        if let (Some(connection), Target::Connection(object, _)) = (&connection, &target)
            && connection.state() == State::Closed
        {
            // In on_close: it would never be called.
            let py = engine.host.py();
            return Err(object
                .get()
                .send_error(py, connection, SendError::Closed, None));
        }
        let timers = &engine.host.timers;
        let id = timers.add(target, is_repeated.then_some(period));
        let key = engine.set_timer_at(from_now(engine, period), id.number());
        timers.set_key(id, key);
        if let Some(connection) = connection {
            connection.rare(|rare| rare.timers.insert(id));
        }
        Ok(Self {
            engine: Confined::new(
                engine.host.handle().clone(),
                EngineOf(Rc::downgrade(engine)),
            ),
            id,
        })
    }

    /// Do something with the engine, on the loop's thread; nothing once the loop is closed.
    fn on_engine<T: Default + Send + 'static>(
        slf: &Bound<'_, Self>,
        act: impl FnOnce(&Rc<Engine<PyHost>>, TimerId) -> PyResult<T> + Send + 'static,
    ) -> PyResult<T> {
        let object = slf.clone().unbind();
        let handle = slf.get().engine.handle();
        let done = on_loop(slf.py(), handle, move |_| {
            let this = object.get();
            let engine = this.engine.get().and_then(|engine| engine.0.upgrade());
            engine.map_or_else(|| Ok(T::default()), |engine| act(&engine, this.id))
        });
        match done {
            // Another thread cannot ask a closed loop.
            Err(error)
                if !handle.is_forked()
                    && handle.is_closed()
                    && error.is_instance_of::<PyRuntimeError>(slf.py()) =>
            {
                Ok(T::default())
            }
            done => done,
        }
    }
}

#[pymethods]
impl Timer {
    /// Let the timer fire `seconds` from now, and not when it was set to.
    ///
    /// One that repeats does so every `seconds` from now on. This costs less than to cancel the
    /// timer and to set another. Returns False, and does nothing, when the timer has fired or was
    /// cancelled, or its connection has ended.
    ///
    /// Raises:
    ///     ValueError: `seconds` is not from 0 to 1e9, or not from 0.001 if the timer repeats.
    fn update(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = crate::arguments::seconds)] seconds: f64,
    ) -> PyResult<bool> {
        Self::on_engine(slf, move |engine, id| update(engine, id, seconds))
    }

    /// Forget the timer; False when it has fired or was cancelled before.
    fn cancel(slf: &Bound<'_, Self>) -> PyResult<bool> {
        Self::on_engine(slf, |engine, id| Ok(forget(engine, id)))
    }
}

/// Move a timer; whether it waits.
fn update(engine: &Rc<Engine<PyHost>>, id: TimerId, seconds: f64) -> PyResult<bool> {
    let timers = &engine.host.timers;
    let is_repeated = timers.period(id).is_some();
    let wanted = nanoseconds(seconds, is_repeated)?;
    let Some(key) = timers.key(id) else {
        return Ok(false);
    };
    if is_repeated {
        timers.set_period(id, wanted);
    }
    let due = from_now(engine, wanted);
    if !engine.update_timer(key, due) {
        // It is due in this very turn, and has not been called yet.
        timers.set_key(id, engine.set_timer_at(due, id.number()));
    }
    timers.count(|counters| counters.moved += 1);
    Ok(true)
}

/// Drop a timer before it is due; whether there was one.
pub(crate) fn forget(engine: &Engine<PyHost>, id: TimerId) -> bool {
    let Some(ended) = engine.host.timers.remove(id) else {
        return false;
    };
    engine.cancel_timer(ended.key);
    if let Some(object) = &ended.connection
        && let Ok(Some(connection)) = object.get().living()
    {
        connection.rare(|rare| rare.timers.remove(&id));
    }
    true
}

/// A timer is due: call it, unless it was cancelled or moved within this turn.
pub(crate) fn fire(engine: &Rc<Engine<PyHost>>, timer: &Fired<u64>) {
    let timers = &engine.host.timers;
    let id = TimerId::from_number(timer.value);
    if timers.key(id) != Some(timer.key) {
        return;
    }
    let late = moment(engine).saturating_sub(timer.due);
    let period = timers.period(id);
    let skipped = period.map_or(0, |period| late / period);
    timers.count(|counters| {
        counters.fired += 1;
        counters.skipped += skipped;
        counters.late_nanoseconds += late;
        counters.late_nanoseconds_max = counters.late_nanoseconds_max.max(late);
    });
    if let Some(period) = period {
        // In step with the first call, however late this one is.
        let due = timer.due.saturating_add(period.saturating_mul(skipped + 1));
        timers.set_key(id, engine.set_timer_at(due, timer.value));
    }
    let host = &engine.host;
    match timers.fire(host.py(), id) {
        Ok(None) => {}
        Ok(Some(Called::Server(callback, context))) => call_of_server(host, &callback, &context),
        Ok(Some(Called::Connection(object, callback))) => {
            let Ok(Some(connection)) = object.get().living() else {
                return;
            };
            if period.is_none() {
                connection.rare(|rare| rare.timers.remove(&id));
            }
            call_of_connection(host, &connection, callback, period.is_some());
        }
        Err(error) => host.note(host.py(), None, error),
    }
}

fn call_of_server(host: &PyHost, callback: &Owned, context: &Py<PyAny>) {
    let py = host.py();
    let called = Entered::enter(py, context).and_then(|_entered| callback.invoke(py, ()));
    if host.handle().is_forked() {
        process::end_child(py, called.err());
    }
    if let Err(error) = called {
        host.note(py, None, error);
    }
}

fn call_of_connection(host: &PyHost, connection: &Rc<Conn>, callback: Owned, is_repeated: bool) {
    let Some(hook) = &connection.endpoint().host.timer else {
        return host.call_alone(connection, &Callback::owned(callback));
    };
    let attachment = connection.user.borrow();
    let Some(attachment) = attachment.as_ref() else {
        return;
    };
    let is_repeated = PyBool::new(host.py(), is_repeated);
    let arguments = [
        attachment.object.as_ptr(),
        callback.as_ptr(),
        is_repeated.as_ptr(),
    ];
    // SAFETY: the attachment keeps the connection's object alive, and this function the others.
    if let Err(error) = unsafe { host.call_only(connection, attachment, hook, &arguments) } {
        host.failed(connection, error);
    }
}

/// A time in nanoseconds.
fn nanoseconds(seconds: f64, is_repeated: bool) -> PyResult<u64> {
    let tick = Duration::from_nanos(TICK_NANOSECONDS).as_secs_f64();
    if is_repeated && !(tick..=1e9).contains(&seconds) {
        let text = format!("a timer repeats every {tick} to 1e9 seconds; got {seconds:?}");
        return Err(PyValueError::new_err(text));
    }
    if !(0.0..=1e9).contains(&seconds) {
        let text = format!("a timer is set to 0 to 1e9 seconds; got {seconds:?}");
        return Err(PyValueError::new_err(text));
    }
    Ok((seconds * 1e9).ceil() as u64)
}

/// The moment that comes so many nanoseconds from now. The port's clock stands at its latest turn,
/// and a timer is never early.
fn from_now(engine: &Engine<PyHost>, nanoseconds: u64) -> u64 {
    let now = if nanoseconds == 0 {
        engine.now()
    } else {
        moment(engine)
    };
    now.saturating_add(nanoseconds)
}

/// The present moment on the port's clock, in nanoseconds.
fn moment(engine: &Engine<PyHost>) -> u64 {
    if engine.driver() == "sim" {
        return engine.now();
    }
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a timespec of ours; CLOCK_MONOTONIC always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
