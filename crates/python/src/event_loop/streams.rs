//! The transports that the driver receives from, by number: those of TCP in a loop on io_uring.
//!
//! A receive stays outstanding for as long as its transport is read, so bytes come without a system
//! call of their own, in the batch of the turn. What arrives for a transport that is paused is put
//! aside until it is resumed: at most what had arrived when it was paused, because a receive is
//! cancelled with the next turn after that.
//!
//! A number is used again, with another generation, when the receive under it has ended.

use super::calls::Calls;
use super::stream::{self, Stream};
use crate::core::Core;
use crate::host::PyHost;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use vespiary_engine::Engine;

const INDEX_BITS: u32 = 32;
const GENERATION_MASK: u32 = (1 << 21) - 1;

#[derive(Default)]
struct Row {
    generation: u32,
    transport: Option<Py<PyAny>>,
}

/// The table of them.
#[derive(Default)]
pub(super) struct Streams {
    rows: Vec<Row>,
    free: Vec<u32>,
    /// Those that were paused in a callback, and are watched still.
    pub(super) paused: Vec<Py<PyAny>>,
    /// Those for which something was put aside that is to be handed over.
    pub(super) resumed: Vec<u64>,
    /// Those whose bytes go with the next turn.
    pub(super) sending: Vec<Py<PyAny>>,
    /// How many turns were begun, to know what has not been submitted.
    pub(super) turns: u64,
}

impl Streams {
    /// Whether there ever was a transport.
    pub(super) fn was_used(&self) -> bool {
        !self.rows.is_empty()
    }

    pub(super) fn has_resumed(&self) -> bool {
        !self.resumed.is_empty()
    }

    fn insert(&mut self, transport: Py<PyAny>) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.rows.push(Row::default());
            (self.rows.len() - 1) as u32
        });
        let row = &mut self.rows[index as usize];
        row.transport = Some(transport);
        u64::from(row.generation) << INDEX_BITS | u64::from(index)
    }

    fn remove(&mut self, number: u64) -> Option<Py<PyAny>> {
        let index = number as u32;
        let row = self.rows.get_mut(index as usize)?;
        if u64::from(row.generation) != number >> INDEX_BITS {
            return None;
        }
        let transport = row.transport.take()?;
        row.generation = (row.generation + 1) & GENERATION_MASK;
        self.free.push(index);
        Some(transport)
    }

    /// The transport of this number.
    #[inline]
    pub(super) fn get<'py>(&self, py: Python<'py>, number: u64) -> Option<Bound<'py, PyAny>> {
        let row = self.rows.get(number as u32 as usize)?;
        if u64::from(row.generation) != number >> INDEX_BITS {
            return None;
        }
        Some(row.transport.as_ref()?.bind(py).clone())
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let rows = self.rows.iter().filter_map(|row| row.transport.as_ref());
        for transport in rows.chain(&self.paused).chain(&self.sending) {
            visit.call(transport)?;
        }
        Ok(())
    }
}

impl Calls {
    /// See `Streams::get`.
    #[inline]
    pub(super) fn stream<'py>(&self, py: Python<'py>, number: u64) -> Option<Bound<'py, PyAny>> {
        self.streams.borrow(py).get(py, number)
    }

    /// Begin every receive again, on another thread's ring.
    pub(crate) fn begin_receives_again(&self, py: Python<'_>, engine: &Engine<PyHost>) {
        let Some(layout) = stream::layout(py) else {
            return;
        };
        let rows = self.streams.borrow(py);
        let all = rows.rows.iter().filter_map(|row| row.transport.as_ref());
        let all: Vec<_> = all.map(|it| it.clone_ref(py)).collect();
        drop(rows);
        for transport in all {
            // SAFETY: only transports of the layout's class are in the table.
            if let Some(stream) = unsafe { stream::stream_of(layout, transport.bind(py)) } {
                let mut state = stream.get().state.borrow(py);
                (state.is_receiving, state.is_cancelling) = (false, false);
                drop(state);
                arrange(py, stream.get(), engine);
            }
        }
    }
}

/// Read a socket for its transport from now on.
pub(super) fn begin(transport: &Bound<'_, PyAny>, stream: &Stream, core: &Core) -> PyResult<()> {
    let py = transport.py();
    let engine = core.engine()?;
    let mut state = stream.state.borrow(py);
    state.is_watched = true;
    if state.number.is_none() {
        let row = transport.clone().unbind();
        state.number = Some(stream.calls.streams.borrow(py).insert(row));
    }
    drop(state);
    arrange(py, stream, &engine);
    Ok(())
}

/// The transport is no longer paused, and its socket was watched meanwhile.
pub(super) fn resumed(py: Python<'_>, stream: &Stream) {
    if stream.is_on_ring
        && let Ok(engine) = stream.core.get().engine()
    {
        arrange(py, stream, &engine);
    }
}

/// Do not read the socket any more.
pub(super) fn end(py: Python<'_>, stream: &Stream) {
    let mut state = stream.state.borrow(py);
    state.is_watched = false;
    drop(state);
    if let Ok(engine) = stream.core.get().engine() {
        arrange(py, stream, &engine);
    }
}

/// Begin or cancel a receive, as the transport wants it; or forget the transport.
pub(super) fn arrange(py: Python<'_>, stream: &Stream, engine: &Engine<PyHost>) {
    let mut state = stream.state.borrow(py);
    let Some(number) = state.number else {
        return;
    };
    if state.is_watched {
        if state.has_put_aside() {
            stream.calls.streams.borrow(py).resumed.push(number);
        }
        if !state.is_receiving && state.end.is_none() {
            state.is_receiving = true;
            state.begun_in_turn = stream.calls.streams.borrow(py).turns;
            engine.receive_foreign(stream.descriptor(), number);
        }
    } else if state.is_receiving {
        if !state.is_cancelling {
            state.is_cancelling = true;
            engine.cancel_foreign(number);
        }
    } else {
        state.number = None;
        drop(state);
        let removed = stream.calls.streams.borrow(py).remove(number);
        // Its finalizer may run Python code, so nothing is borrowed meanwhile.
        drop(removed);
    }
}

/// The socket is about to be closed, and its number to be used again.
pub(super) fn close(py: Python<'_>, stream: &Stream, descriptor: i32) {
    end(py, stream);
    if let Ok(engine) = stream.core.get().engine() {
        let state = stream.state.borrow(py);
        let streams = stream.calls.streams.borrow(py);
        // The kernel must not look for the socket after that.
        if state.is_receiving && state.begun_in_turn == streams.turns {
            engine.submit();
        }
        engine.forget_foreign(descriptor);
    }
}

/// Cancel the receives of those that callbacks have paused, and not resumed.
pub(super) fn end_paused(py: Python<'_>, calls: &Calls) {
    if calls.streams.borrow(py).paused.is_empty() {
        return;
    }
    let Some(layout) = stream::layout(py) else {
        return;
    };
    let paused = std::mem::take(&mut calls.streams.borrow(py).paused);
    for transport in paused {
        let object = transport.as_ptr();
        // SAFETY: only transports of the layout's class are among them.
        let stream = unsafe {
            let is_paused = layout.paused.is_true(object);
            is_paused.then(|| stream::stream_of(layout, transport.bind(py)))
        };
        if let Some(Some(stream)) = stream {
            let stream = stream.get();
            let reader = calls.take_reader(py, stream.descriptor());
            end(py, stream);
            drop(reader);
        }
    }
}
