//! What the driver does for transports, in each iteration of the loop.
//!
//! ```text
//! callbacks    write, pause and resume
//! begin_turn   what was written is copied for the driver; receives of paused transports end
//! turn         one system call: sends, waits, receives
//! end_sends    what the sockets had no room for goes to asyncio's buffers
//! hand_over    what has arrived goes to the protocols
//! ```
//!
//! So one system call serves many transports, and a message needs none of its own. Between
//! `begin_turn` and `end_sends` no Python code of the loop's thread runs, so nothing can see
//! whether bytes were sent. A send that the socket has no room for is not waited for in the kernel:
//! asyncio sends the rest, as it does on epoll.

use super::base::Native;
use super::calls::Calls;
use super::iteration::failed;
use super::read;
use super::stream::{self, Ending, Layout, Stream};
use super::{streams, write};
use crate::host::PyHost;
use crate::imports;
use crate::owned::release_attached;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use vespiary_engine::Engine;
use vespiary_engine::port::{Errno, Outcome};

/// More bytes than these are sent with a system call of their own, which does not copy them twice.
const BYTES_MAX: usize = 16 << 10;

/// The native part of a transport from the table.
fn stream_of<'py>(transport: &Bound<'py, PyAny>) -> Option<(Bound<'py, Stream>, &'py Layout)> {
    let layout = stream::layout(transport.py())?;
    // SAFETY: only transports of the layout's class are in the table and in its lists.
    let stream = unsafe { stream::stream_of(layout, transport) }?;
    Some((stream, layout))
}

/// The callbacks are over: let the driver do with the next turn what they have asked for.
pub(super) fn begin_turn(py: Python<'_>, native: &Native) -> PyResult<()> {
    let calls = &*native.calls;
    streams::end_paused(py, calls);
    let outcome = match native.core.get().engine() {
        Ok(engine) => each_unsent(py, calls, |transport, stream| {
            submit(transport, stream, &engine)
        }),
        Err(_) => send_all_now(py, calls),
    };
    calls.streams.borrow(py).turns += 1;
    outcome
}

/// Have what was collected of one transport sent with the next turn, or send it.
fn submit(transport: &Bound<'_, PyAny>, stream: &Stream, engine: &Engine<PyHost>) -> PyResult<()> {
    let py = transport.py();
    let mut state = stream.state.borrow(py);
    let is_usual = !state.is_full && state.broken.is_none() && state.pending_bytes <= BYTES_MAX;
    let (true, Some(number)) = (is_usual && !state.pending.is_empty(), state.number) else {
        drop(state);
        return write::send(transport);
    };
    if state.pending.len() > 1 {
        let mut joined = Vec::with_capacity(state.pending_bytes);
        for piece in state.pending.drain(..) {
            joined.extend_from_slice(piece.as_bytes(py));
        }
        state.pending.push_back(PyBytes::new(py, &joined).unbind());
    }
    let is_taken = state
        .pending
        .front()
        .is_some_and(|bytes| engine.send_foreign(stream.descriptor(), number, bytes.as_bytes(py)));
    if !is_taken {
        drop(state);
        return write::send(transport);
    }
    state.is_listed = false;
    state.pending_bytes = 0;
    state.sending = state.pending.pop_front();
    drop(state);
    let sending = transport.clone().unbind();
    stream.calls.streams.borrow(py).sending.push(sending);
    Ok(())
}

/// Send what callbacks have written, at once: the loop stops.
fn send_all_now(py: Python<'_>, calls: &Calls) -> PyResult<()> {
    each_unsent(py, calls, |transport, _| write::send(transport))
}

/// Do this with every transport that has something unsent. One whose send is not known to be over
/// waits for another time.
fn each_unsent(
    py: Python<'_>,
    calls: &Calls,
    mut act: impl FnMut(&Bound<'_, PyAny>, &Stream) -> PyResult<()>,
) -> PyResult<()> {
    let mut outcome = Ok(());
    let mut later = Vec::new();
    let mut unsent = std::mem::take(&mut *calls.unsent_on_ring.borrow(py));
    while !unsent.is_empty() {
        for transport in unsent.drain(..) {
            let Some((stream, _)) = stream_of(transport.bind(py)) else {
                continue;
            };
            if stream.get().state.borrow(py).sending.is_some() {
                later.push(transport);
                continue;
            }
            let done = act(transport.bind(py), stream.get());
            outcome = outcome.and(done);
            release_attached(py, transport);
        }
        std::mem::swap(&mut unsent, &mut *calls.unsent_on_ring.borrow(py));
    }
    keep_room(&mut calls.unsent_on_ring.borrow(py), unsent);
    calls.unsent_on_ring.borrow(py).append(&mut later);
    outcome
}

/// The loop stops, and nobody knows when it runs again: leave nothing to the next turn.
pub(super) fn flush(py: Python<'_>, native: &Native) -> PyResult<()> {
    let calls = &*native.calls;
    streams::end_paused(py, calls);
    let outcome = send_all_now(py, calls);
    if calls.streams.borrow(py).was_used()
        && let Ok(engine) = native.core.get().engine()
    {
        // The receive of a closed socket keeps it open until the kernel has cancelled it.
        engine
            .wait(Some(Duration::ZERO))
            .map_err(|error| imports::os_error(&error))?;
        engine.stop_turns();
        calls.streams.borrow(py).turns += 1;
    }
    outcome
}

/// The turn is over: what was to be sent with it is sent, except for what it has reported.
pub(super) fn end_sends(py: Python<'_>, native: &Native) {
    let calls = &*native.calls;
    if calls.streams.borrow(py).sending.is_empty() {
        return;
    }
    let Ok(engine) = native.core.get().engine() else {
        return;
    };
    if !engine.host.streams.take_sent() {
        return;
    }
    for (number, result) in engine.host.streams.take_in_part() {
        if let Some(transport) = calls.stream(py, number)
            && let Some((stream, _)) = stream_of(&transport)
        {
            note_sent_in_part(&transport, stream.get(), result);
        }
    }
    // Nothing of Python's runs before all of them are known to be sent.
    let mut sending = std::mem::take(&mut calls.streams.borrow(py).sending);
    for transport in sending.drain(..) {
        if let Some((stream, _)) = stream_of(transport.bind(py)) {
            let sent = stream.get().state.borrow(py).sending.take();
            drop(sent);
        }
        release_attached(py, transport);
    }
    keep_room(&mut calls.streams.borrow(py).sending, sending);
}

/// How many places of a list are kept: a turn rarely has more, and a burst of connections leaves no
/// memory behind.
const PLACES_MAX: usize = 256;

/// Put what was taken out of a list, and is empty now, back in its place, so that the list need not
/// be allocated again in each turn.
pub(crate) fn keep_room<T>(list: &mut Vec<T>, empty: Vec<T>) {
    if list.capacity() == 0 && empty.capacity() <= PLACES_MAX {
        *list = empty;
    }
}

/// What is left of a send is sent before anything else, by asyncio.
#[cold]
fn note_sent_in_part(transport: &Bound<'_, PyAny>, stream: &Stream, result: Result<usize, Errno>) {
    let py = transport.py();
    let mut state = stream.state.borrow(py);
    let Some(bytes) = state.sending.take() else {
        return;
    };
    let sent = match result {
        Ok(sent) => sent,
        Err(Errno(libc::EAGAIN | libc::EINTR)) => 0,
        Err(errno) => {
            state.broken = Some(errno);
            0
        }
    };
    let rest = PyBytes::new(py, bytes.as_bytes(py).get(sent..).unwrap_or_default());
    state.pending_bytes += rest.as_bytes().len();
    state.pending.push_front(rest.unbind());
    state.is_full = true;
    let is_listed = std::mem::replace(&mut state.is_listed, true);
    drop(state);
    drop(bytes);
    if !is_listed {
        let listed = transport.clone().unbind();
        stream.calls.unsent_on_ring.borrow(py).push(listed);
    }
}

/// Hand over to the protocols what has arrived, and what resumed transports have put aside.
pub(super) fn hand_over(py: Python<'_>, native: &Native) -> PyResult<()> {
    let calls = &*native.calls;
    let resumed = std::mem::take(&mut calls.streams.borrow(py).resumed);
    let mut resumed = resumed.into_iter();
    while let Some(number) = resumed.next() {
        if let Err(error) = hand_over_aside(py, native, number) {
            calls.streams.borrow(py).resumed.extend(resumed);
            return Err(error);
        }
    }
    let Ok(engine) = native.core.get().engine() else {
        return Ok(());
    };
    let mut all = engine.host.streams.take();
    let mut arrived = all.drain(..);
    while let Some((number, outcome)) = arrived.next() {
        let outcome = hand_over_one(py, &engine, native, number, outcome);
        let sent = write::send_all(py, calls);
        if let Err(error) = outcome.and(sent) {
            engine.host.streams.put_back(arrived.collect());
            return Err(error);
        }
    }
    drop(arrived);
    engine.host.streams.keep_room(all);
    Ok(())
}

fn hand_over_one(
    py: Python<'_>,
    engine: &Rc<Engine<PyHost>>,
    native: &Native,
    number: u64,
    outcome: Outcome,
) -> PyResult<()> {
    let Some(transport) = native.calls.stream(py, number) else {
        return Ok(());
    };
    let Some((stream, layout)) = stream_of(&transport) else {
        return Ok(());
    };
    let stream = stream.get();
    match outcome {
        Outcome::Received(lease) => received(&transport, stream, layout, native, &lease),
        Outcome::ReceiveEnded(ending) => {
            let mut state = stream.state.borrow(py);
            (state.is_receiving, state.is_cancelling) = (false, false);
            drop(state);
            let outcome = match ending {
                Some(Errno::CANCELLED | Errno::NO_BUFFER) => Ok(()),
                ending => ended(&transport, stream, layout, ending),
            };
            streams::arrange(py, stream, engine);
            outcome
        }
        _ => Ok(()),
    }
}

/// What a transport does with what comes.
enum Mode {
    Takes,
    PutsAside,
    /// It is closing, or lost.
    Drops,
}

fn mode(transport: &Bound<'_, PyAny>, stream: &Stream, layout: &Layout) -> Mode {
    let object = transport.as_ptr();
    // SAFETY: a transport of the layout's class.
    let (is_over, is_paused) = unsafe {
        let is_over = layout.closing.is_true(object) || !layout.is_connected(object);
        (is_over, layout.paused.is_true(object))
    };
    let state = stream.state.borrow(transport.py());
    if is_over {
        Mode::Drops
    } else if is_paused {
        Mode::PutsAside
    } else if state.is_watched {
        Mode::Takes
    } else {
        Mode::Drops
    }
}

fn received(
    transport: &Bound<'_, PyAny>,
    stream: &Stream,
    layout: &Layout,
    native: &Native,
    bytes: &[u8],
) -> PyResult<()> {
    let py = transport.py();
    let has_put_aside = stream.state.borrow(py).has_put_aside();
    let rest = match mode(transport, stream, layout) {
        Mode::Takes if !has_put_aside => {
            let taken = read::in_context(transport, layout, || {
                read::hand_over(transport, layout, native, bytes)
            })?;
            &bytes[taken..]
        }
        Mode::Takes | Mode::PutsAside => bytes,
        Mode::Drops => return Ok(()),
    };
    stream.state.borrow(py).aside.extend_from_slice(rest);
    Ok(())
}

fn ended(
    transport: &Bound<'_, PyAny>,
    stream: &Stream,
    layout: &Layout,
    ending: Ending,
) -> PyResult<()> {
    let py = transport.py();
    let has_put_aside = stream.state.borrow(py).has_put_aside();
    match mode(transport, stream, layout) {
        Mode::Takes if !has_put_aside => report_end(transport, layout, ending),
        Mode::Takes | Mode::PutsAside => {
            stream.state.borrow(py).end = Some(ending);
            Ok(())
        }
        Mode::Drops => Ok(()),
    }
}

#[cold]
fn report_end(transport: &Bound<'_, PyAny>, layout: &Layout, ending: Ending) -> PyResult<()> {
    read::in_context(transport, layout, || match ending {
        None => read::ended(transport),
        Some(errno) => {
            let error = io::Error::from_raw_os_error(errno.0);
            let text = "Fatal read error on socket transport";
            failed(transport, imports::os_error(&error), text)
        }
    })
}

/// A transport was resumed that had put something aside.
#[cold]
fn hand_over_aside(py: Python<'_>, native: &Native, number: u64) -> PyResult<()> {
    let Some(transport) = native.calls.stream(py, number) else {
        return Ok(());
    };
    let Some((stream, layout)) = stream_of(&transport) else {
        return Ok(());
    };
    let stream = stream.get();
    if matches!(mode(&transport, stream, layout), Mode::Takes) {
        let mut aside = std::mem::take(&mut stream.state.borrow(py).aside);
        let taken = read::in_context(&transport, layout, || {
            read::hand_over(&transport, layout, native, &aside)
        })?;
        aside.drain(..taken);
        stream.state.borrow(py).aside.splice(..0, aside);
    }
    if !matches!(mode(&transport, stream, layout), Mode::Takes) {
        return Ok(());
    }
    let mut state = stream.state.borrow(py);
    let is_empty = state.aside.is_empty();
    let end = state.end.take_if(|_| is_empty);
    drop(state);
    let outcome = end.map_or(Ok(()), |ending| report_end(&transport, layout, ending));
    streams::resumed(py, stream);
    outcome
}
