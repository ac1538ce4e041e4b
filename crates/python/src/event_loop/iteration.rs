//! One iteration of the loop.
//!
//! ```text
//! wait        for sockets, completions, timers; turns of the engine run in it
//! hand over   what the driver has received for transports  -> the protocol's callbacks
//! read        each readable socket's transport             -> the protocol's callbacks
//! watch       other descriptors that are ready             -> their handles are ready
//! timers      that are due                                 -> their handles are ready
//! callbacks   every handle that was ready                  -> callbacks
//!             again, for those that they have added, up to `ROUNDS_MAX` times
//! ```
//!
//! asyncio looks at its selector between two rounds of callbacks. Here a few rounds follow each
//! other without that, since a message often takes two or three of them: the protocol wakes a task,
//! whose future wakes another. Whatever a callback writes is sent when it returns, or on io_uring
//! with the next turn: so two writes in a row need one system call, and no other code can see that
//! the first was not sent at once.

use super::base::Native;
use super::calls::Calls;
use super::handle::{self, Layout};
use super::{ends_loop, read, ring, write};
use crate::calls::Invoke as _;
use crate::owned::release_attached;
use pyo3::prelude::*;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Rounds of callbacks between two looks at the sockets.
const ROUNDS_MAX: usize = 4;
/// asyncio's `MAXIMUM_SELECT_TIMEOUT`.
const WAIT_SECONDS_MAX: f64 = 24.0 * 3600.0;
/// asyncio's `_clock_resolution`: by how much a timer may be early.
const RESOLUTION_SECONDS: f64 = 1e-9;

/// Run one iteration.
pub(super) fn run(event_loop: &Bound<'_, PyAny>, native: &Native) -> PyResult<()> {
    let py = event_loop.py();
    let Some(layout) = handle::layout(py) else {
        return Ok(());
    };
    let calls = &*native.calls;
    sweep_timers(py, layout, calls)?;
    ring::begin_turn(py, native)?;
    let timeout = timeout(event_loop, native)?;
    let ready = native.core.get().turns(py, timeout, event_loop);
    let callbacks = InCallbacks::begin(calls);
    let outcome = ready.and_then(|ready| run_callbacks(event_loop, layout, native, &ready));
    drop(callbacks);
    if outcome.is_err() || calls.is_stopping() {
        let flushed = ring::flush(py, native);
        return outcome.and(flushed);
    }
    outcome
}

/// Call what is to be called after a turn.
fn run_callbacks(
    event_loop: &Bound<'_, PyAny>,
    layout: &Layout,
    native: &Native,
    ready: &[(i32, u8)],
) -> PyResult<()> {
    let py = event_loop.py();
    let calls = &*native.calls;
    ring::end_sends(py, native);
    ring::hand_over(py, native)?;
    if !ready.is_empty() {
        descriptors_ready(event_loop, native, ready)?;
    }
    queue_due_timers(event_loop, layout, native)?;
    for _ in 0..ROUNDS_MAX {
        let count = calls.ready.borrow(py).len();
        if count == 0 {
            break;
        }
        run_ready(event_loop, layout, calls, count)?;
        if calls.is_stopping() {
            break;
        }
    }
    Ok(())
}

/// While it lives, writes are sent when a callback returns.
struct InCallbacks<'a>(&'a Calls);

impl<'a> InCallbacks<'a> {
    fn begin(calls: &'a Calls) -> Self {
        calls.is_in_callback.store(true, Ordering::Relaxed);
        Self(calls)
    }
}

impl Drop for InCallbacks<'_> {
    fn drop(&mut self) {
        self.0.is_in_callback.store(false, Ordering::Relaxed);
    }
}

/// Remove cancelled timers: from the head, and all when they are the majority.
fn sweep_timers(py: Python<'_>, layout: &Layout, calls: &Calls) -> PyResult<()> {
    if calls.timers.borrow(py).is_sweep_due() {
        let taken = calls.timers.borrow(py).take();
        for entry in taken {
            if layout.is_cancelled(entry.2.bind(py))? {
                layout.unschedule(entry.2.bind(py));
                release_attached(py, entry.2);
            } else {
                calls.timers.borrow(py).put_back(entry);
            }
        }
        return Ok(());
    }
    loop {
        let Some((_, first)) = calls.timers.borrow(py).first(py) else {
            return Ok(());
        };
        if !layout.is_cancelled(&first)? {
            return Ok(());
        }
        let mut timers = calls.timers.borrow(py);
        timers.cancelled = timers.cancelled.saturating_sub(1);
        let popped = timers.pop(py);
        drop(timers);
        layout.unschedule(&first);
        drop(first);
        if let Some(popped) = popped {
            release_attached(py, popped.unbind());
        }
    }
}

/// How long to wait for something to do; None: until there is something.
fn timeout(event_loop: &Bound<'_, PyAny>, native: &Native) -> PyResult<Option<Duration>> {
    let py = event_loop.py();
    if native.calls.has_ready(py) || native.calls.is_stopping() {
        return Ok(Some(Duration::ZERO));
    }
    let first = native.calls.timers.borrow(py).first(py);
    let Some((when, _)) = first else {
        return Ok(None);
    };
    let seconds = (when - native.now(event_loop)?).clamp(0.0, WAIT_SECONDS_MAX);
    Ok(Some(Duration::from_secs_f64(seconds)))
}

fn queue_due_timers(
    event_loop: &Bound<'_, PyAny>,
    layout: &Layout,
    native: &Native,
) -> PyResult<()> {
    let py = event_loop.py();
    let calls = &*native.calls;
    if calls.timers.borrow(py).is_empty() {
        return Ok(());
    }
    let end = native.now(event_loop)? + RESOLUTION_SECONDS;
    loop {
        let mut timers = calls.timers.borrow(py);
        if timers.first(py).is_none_or(|(when, _)| when >= end) {
            return Ok(());
        }
        let due = timers.pop(py);
        drop(timers);
        if let Some(due) = due {
            layout.unschedule(&due);
            if layout.is_cancelled(&due)? {
                let mut timers = calls.timers.borrow(py);
                timers.cancelled = timers.cancelled.saturating_sub(1);
            }
            calls.push(&due);
        }
    }
}

/// Read what is readable, and have the handles of other descriptors called.
fn descriptors_ready(
    event_loop: &Bound<'_, PyAny>,
    native: &Native,
    ready: &[(i32, u8)],
) -> PyResult<()> {
    let py = event_loop.py();
    let mut others = Vec::new();
    for (descriptor, events) in ready {
        let mut events = *events;
        if events & 1 != 0
            && let Some(transport) = native.calls.reader(py, *descriptor)
        {
            events &= !1;
            let outcome = read::ready(&transport, native);
            write::send_all(py, &native.calls)?;
            outcome?;
        }
        if events != 0 {
            others.push((*descriptor, events));
        }
    }
    if !others.is_empty() {
        let name = pyo3::intern!(py, "_descriptors_ready");
        event_loop.invoke_method(name, (others,))?;
    }
    Ok(())
}

/// Run the handles that are ready now.
fn run_ready(
    event_loop: &Bound<'_, PyAny>,
    layout: &Layout,
    calls: &Calls,
    count: usize,
) -> PyResult<()> {
    let py = event_loop.py();
    for _ in 0..count {
        let Some(handle) = calls.ready.borrow(py).pop_front() else {
            break;
        };
        let handle = handle.into_bound(py);
        if layout.is_cancelled(&handle)? {
            release_attached(py, handle.unbind());
            continue;
        }
        let outcome = if calls.is_debug.load(Ordering::Relaxed) {
            let name = pyo3::intern!(py, "_run_in_debug_mode");
            event_loop.invoke_method(name, (&handle,)).map(drop)
        } else {
            layout.run(&handle)
        };
        release_attached(py, handle.unbind());
        let sent = write::send_all(py, calls);
        outcome?;
        sent?;
    }
    Ok(())
}

/// What a protocol's callback raised: reported by the transport, which closes; or it ends the loop.
#[cold]
pub(super) fn failed(transport: &Bound<'_, PyAny>, error: PyErr, text: &str) -> PyResult<()> {
    let py = transport.py();
    if ends_loop(py, &error) {
        return Err(error);
    }
    let name = pyo3::intern!(py, "_fatal_error");
    transport
        .invoke_method(name, (error.into_value(py), text))
        .map(drop)
}
