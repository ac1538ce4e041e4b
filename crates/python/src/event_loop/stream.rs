//! The native part of a transport, and where the fields of the other part are.

use super::WithGil;
use super::base::LoopBase;
use super::calls::Calls;
use super::slots::Slot;
use super::write;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyType};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

/// The slots of `vespiary.loop._transport.SocketTransport`.
pub(super) struct Layout {
    pub(super) class: Py<PyType>,
    pub(super) stream: Slot,
    pub(super) protocol: Slot,
    pub(super) context: Slot,
    pub(super) is_buffered: Slot,
    pub(super) feeds_reader: Slot,
    pub(super) closing: Slot,
    pub(super) paused: Slot,
    pub(super) eof: Slot,
    pub(super) lost: Slot,
    pub(super) empty_waiter: Slot,
    pub(super) buffer: Slot,
}

static LAYOUT: PyOnceLock<Layout> = PyOnceLock::new();

/// The slots of transports, once their class is there.
#[inline]
pub(super) fn layout(py: Python<'_>) -> Option<&Layout> {
    LAYOUT.get(py)
}

/// What was written and not sent, and whether the socket is read.
#[derive(Default)]
pub(super) struct State {
    pub(super) pending: VecDeque<Py<PyBytes>>,
    pub(super) pending_bytes: usize,
    /// Whether the transport is among those with something unsent.
    pub(super) is_listed: bool,
    /// Whether the socket is watched, though the transport may be paused.
    pub(super) is_watched: bool,
}

/// The native part of a transport.
#[pyclass(frozen, module = "vespiary._core")]
pub(super) struct Stream {
    pub(super) calls: Arc<Calls>,
    /// -1 once the socket is closed: then its number may be another's.
    descriptor: AtomicI32,
    pub(super) state: WithGil<State>,
}

impl Stream {
    #[inline]
    pub(super) fn descriptor(&self) -> i32 {
        self.descriptor.load(Ordering::Relaxed)
    }
}

#[pymethods]
impl Stream {
    #[new]
    fn new(event_loop: &Bound<'_, LoopBase>, descriptor: i32) -> PyResult<Self> {
        let calls = event_loop.get().calls();
        let calls = calls.ok_or_else(|| PyRuntimeError::new_err("the loop is not native"))?;
        Ok(Self {
            calls: calls.clone(),
            descriptor: AtomicI32::new(descriptor),
            state: WithGil::new(State::default()),
        })
    }

    /// The socket is closed: nothing is sent any more.
    fn close(&self, py: Python<'_>) {
        self.descriptor.store(-1, Ordering::Relaxed);
        let mut state = self.state.borrow(py);
        let pending = std::mem::take(&mut state.pending);
        state.pending_bytes = 0;
        drop(state);
        drop(pending);
    }

    /// How many bytes were written, and not given to the socket or to asyncio's buffer.
    #[getter]
    fn pending_bytes(&self, py: Python<'_>) -> usize {
        self.state.borrow(py).pending_bytes
    }
}

/// The native part of a transport, if it has one.
///
/// # Safety
/// The object is of the class of the layout.
#[inline]
pub(super) unsafe fn stream_of<'py>(
    layout: &Layout,
    transport: &Bound<'py, PyAny>,
) -> Option<Bound<'py, Stream>> {
    // SAFETY: by contract; nobody else sets the slot.
    unsafe {
        let stream = layout
            .stream
            .reference(transport.py(), transport.as_ptr())?;
        stream.cast_into::<Stream>().ok()
    }
}

/// The socket of a transport is watched, or not any more.
pub(super) fn set_watched(transport: &Bound<'_, PyAny>, on: bool) {
    let py = transport.py();
    if let Some(layout) = layout(py)
        && transport
            .is_instance(layout.class.bind(py))
            .unwrap_or(false)
    {
        // SAFETY: the class was checked.
        if let Some(stream) = unsafe { stream_of(layout, transport) } {
            stream.get().state.borrow(py).is_watched = on;
        }
    }
}

/// The class of transports whose fields are slots. Its hot methods become native.
#[pyfunction]
fn set_transport_class(class: &Bound<'_, PyType>) -> PyResult<()> {
    let py = class.py();
    let slot = |name: &str| {
        Slot::of(class, name)
            .ok_or_else(|| PyTypeError::new_err(format!("{name} is not a slot of {class}")))
    };
    let layout = Layout {
        class: class.clone().unbind(),
        stream: slot("_stream")?,
        protocol: slot("_protocol")?,
        context: slot("_read_context")?,
        is_buffered: slot("_is_buffered")?,
        feeds_reader: slot("_feeds_reader")?,
        closing: slot("_closing")?,
        paused: slot("_paused")?,
        eof: slot("_eof")?,
        lost: slot("_conn_lost")?,
        empty_waiter: slot("_empty_waiter")?,
        buffer: slot("_buffer")?,
    };
    let _ = LAYOUT.set(py, layout);
    write::add_to(class)
}

/// Whether a slot holds the number 0.
///
/// # Safety
/// As for `Slot::get`; the slot holds an int.
#[inline]
pub(super) unsafe fn is_zero(slot: Slot, object: *mut ffi::PyObject) -> bool {
    // SAFETY: by contract.
    unsafe {
        let number = slot.get(object);
        !number.is_null() && ffi::PyObject_IsTrue(number) == 0
    }
}

/// Add the class to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Stream>()?;
    module.add_function(wrap_pyfunction!(set_transport_class, module)?)
}
