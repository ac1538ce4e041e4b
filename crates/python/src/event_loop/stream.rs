//! The native part of a transport, and where the fields of the other part are.

use super::WithGil;
use super::base::LoopBase;
use super::calls::Calls;
use super::slots::Slot;
use super::streams;
use super::write;
use crate::core::Core;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyInt, PyType};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use vespiary_engine::port::Errno;

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
    lost: Slot,
    pub(super) empty_waiter: Slot,
    pub(super) buffer: Slot,
    /// The class of what is in `stream`.
    stream_class: Py<PyType>,
    /// The number 0, of which there is one.
    zero: Py<PyAny>,
}

impl Layout {
    /// Whether the connection of a transport is not lost.
    ///
    /// # Safety
    /// Attached; the object is of the layout's class.
    #[inline]
    pub(super) unsafe fn is_connected(&self, object: *mut ffi::PyObject) -> bool {
        // SAFETY: by contract; the slot holds an int.
        unsafe {
            let number = self.lost.get(object);
            number == self.zero.as_ptr() || !number.is_null() && ffi::PyObject_IsTrue(number) == 0
        }
    }
}

static LAYOUT: PyOnceLock<Layout> = PyOnceLock::new();

/// The slots of transports, once their class is there.
#[inline]
pub(super) fn layout(py: Python<'_>) -> Option<&Layout> {
    LAYOUT.get(py)
}

/// What was written and not sent, and whether the socket is read.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools)] // Five facts that do not depend on each other.
pub(super) struct State {
    pub(super) pending: VecDeque<Py<PyBytes>>,
    pub(super) pending_bytes: usize,
    /// Whether the transport is among those with something unsent.
    pub(super) is_listed: bool,
    /// Whether the socket is watched, though the transport may be paused.
    pub(super) is_watched: bool,
    /// Whether a receive is outstanding on a ring; and whether it is being cancelled.
    pub(super) is_receiving: bool,
    pub(super) is_cancelling: bool,
    /// Whether the socket had no room for what was sent last: what is pending goes to asyncio.
    pub(super) is_full: bool,
    /// Among the transports on a ring.
    pub(super) number: Option<u64>,
    /// In which turn the receive has begun.
    pub(super) begun_in_turn: u64,
    /// What goes with the next turn.
    pub(super) sending: Option<Py<PyBytes>>,
    /// Why nothing more can be sent.
    pub(super) broken: Option<Errno>,
    /// What arrived while the transport was paused, and how the stream has ended meanwhile.
    pub(super) aside: Vec<u8>,
    pub(super) end: Option<Ending>,
}

/// How a stream has ended: an error, or the peer's end.
pub(super) type Ending = Option<Errno>;

impl State {
    /// Whether something is to be handed over when the transport is resumed.
    pub(super) fn has_put_aside(&self) -> bool {
        !self.aside.is_empty() || self.end.is_some()
    }
}

/// The native part of a transport.
#[pyclass(frozen, module = "vespiary._core")]
pub(super) struct Stream {
    pub(super) calls: Arc<Calls>,
    pub(super) core: Py<Core>,
    /// Whether the driver receives and sends.
    pub(super) is_on_ring: bool,
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
        let native = event_loop.get().native();
        let native = native.ok_or_else(|| PyRuntimeError::new_err("the loop is not native"))?;
        let core = native.core.get();
        Ok(Self {
            calls: native.calls.clone(),
            core: native.core.clone_ref(event_loop.py()),
            is_on_ring: core.serves_streams() && is_tcp(descriptor),
            descriptor: AtomicI32::new(descriptor),
            state: WithGil::new(State::default()),
        })
    }

    /// The socket is closed: nothing is sent any more.
    fn close(&self, py: Python<'_>) {
        let descriptor = self.descriptor();
        if self.is_on_ring && descriptor >= 0 {
            streams::close(py, self, descriptor);
        }
        self.descriptor.store(-1, Ordering::Relaxed);
        let mut state = self.state.borrow(py);
        let pending = std::mem::take(&mut state.pending);
        state.pending_bytes = 0;
        let sending = state.sending.take();
        state.aside = Vec::new();
        drop(state);
        drop((pending, sending));
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
    // SAFETY: by contract. The class of the native part is final, so its objects are of no other.
    unsafe {
        let stream = layout.stream.get(transport.as_ptr());
        if stream.is_null() || ffi::Py_TYPE(stream) != layout.stream_class.as_ptr().cast() {
            return None;
        }
        Some(Bound::from_borrowed_ptr(transport.py(), stream).cast_into_unchecked())
    }
}

/// The native part of an object, if it is a transport.
pub(super) fn of<'py>(transport: &Bound<'py, PyAny>) -> Option<Bound<'py, Stream>> {
    let py = transport.py();
    let layout = layout(py)?;
    let is_one = transport.is_instance(layout.class.bind(py)).ok()?;
    // SAFETY: the class was checked.
    is_one.then(|| unsafe { stream_of(layout, transport) })?
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
        stream_class: py.get_type::<Stream>().unbind(),
        zero: PyInt::new(py, 0).into_any().unbind(),
    };
    let _ = LAYOUT.set(py, layout);
    write::add_to(class)
}

/// Whether a descriptor is a connection of TCP.
fn is_tcp(descriptor: i32) -> bool {
    let option = |name: i32| -> Option<i32> {
        let mut value = 0;
        let mut size = size_of::<i32>() as libc::socklen_t;
        // SAFETY: the pointers are to a number of ours, and to its size.
        let result = unsafe {
            let value = (&raw mut value).cast();
            libc::getsockopt(descriptor, libc::SOL_SOCKET, name, value, &raw mut size)
        };
        (result == 0).then_some(value)
    };
    option(libc::SO_PROTOCOL) == Some(libc::IPPROTO_TCP)
        && matches!(
            option(libc::SO_DOMAIN),
            Some(libc::AF_INET | libc::AF_INET6)
        )
}

/// Add the class to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Stream>()?;
    module.add_function(wrap_pyfunction!(set_transport_class, module)?)
}
