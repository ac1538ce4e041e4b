//! From a transport's `write` to its socket.
//!
//! What a callback writes is collected, and sent when the callback returns, with one system call;
//! or on io_uring with the next turn ([`super::ring`]), in the system call that waits. Outside of
//! callbacks it is sent at once. What the socket does not take goes into asyncio's own buffer, and
//! asyncio's code sends the rest.

use super::calls::Calls;
use super::iteration::failed;
use super::method::{Given, Method, entered};
use super::stream::{self, Layout, Stream};
use super::streams;
use crate::calls::Invoke as _;
use crate::imports;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyByteArray, PyBytes, PyList, PyType};
use std::io;
use std::sync::atomic::Ordering;

/// With so many bytes collected, they are sent at once.
const COLLECTED_BYTES_MAX: usize = 64 << 10;
/// Up to so many bytes of a `bytearray` are copied to be collected.
const COPIED_BYTES_MAX: usize = 16 << 10;
/// Pieces in one system call.
const PIECES_MAX: usize = 64;

/// Send what callbacks have written.
#[inline]
pub(super) fn send_all(py: Python<'_>, calls: &Calls) -> PyResult<()> {
    if calls.unsent.borrow(py).is_empty() {
        return Ok(());
    }
    send_listed(py, calls)
}

fn send_listed(py: Python<'_>, calls: &Calls) -> PyResult<()> {
    let mut outcome = Ok(());
    loop {
        let Some(transport) = calls.unsent.borrow(py).pop() else {
            return outcome;
        };
        let sent = send(transport.bind(py));
        outcome = outcome.and(sent);
        crate::owned::release_attached(py, transport);
    }
}

/// Send what was collected of one transport.
pub(super) fn send(transport: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = transport.py();
    let Some(layout) = stream::layout(py) else {
        return Ok(());
    };
    // SAFETY: only transports of the layout's class collect anything.
    let Some(stream) = (unsafe { stream::stream_of(layout, transport) }) else {
        return Ok(());
    };
    let stream = stream.get();
    let mut state = stream.state.borrow(py);
    if state.sending.is_some() {
        // Another thread writes while the loop waits.
        return Ok(());
    }
    state.is_listed = false;
    if state.is_full || state.broken.is_some() {
        drop(state);
        return after_send_in_part(transport, stream);
    }
    if stream.core.get().shared.is_forked() {
        // It is the parent's to send.
        let pending = std::mem::take(&mut state.pending);
        state.pending_bytes = 0;
        drop(state);
        drop(pending);
        return Ok(());
    }
    if state.pending.is_empty() {
        return Ok(());
    }
    state.pending_bytes = 0;
    if state.pending.len() == 1 {
        let only = state.pending.pop_front();
        drop(state);
        return match only {
            Some(only) => send_one(transport, stream, only.bind(py)),
            None => Ok(()),
        };
    }
    let pieces: Vec<_> = state.pending.drain(..).collect();
    drop(state);
    send_pieces(transport, stream, &pieces)
}

/// The driver could not send all: asyncio has the rest, or the error.
#[cold]
fn after_send_in_part(transport: &Bound<'_, PyAny>, stream: &Stream) -> PyResult<()> {
    let mut state = stream.state.borrow(transport.py());
    state.is_full = false;
    state.pending_bytes = 0;
    let broken = state.broken.take();
    let pieces: Vec<_> = state.pending.drain(..).collect();
    drop(state);
    match broken {
        Some(errno) => send_failed(transport, &io::Error::from_raw_os_error(errno.0)),
        None => keep_unsent(transport, 0, &pieces),
    }
}

#[inline]
fn send_one(
    transport: &Bound<'_, PyAny>,
    stream: &Stream,
    bytes: &Bound<'_, PyBytes>,
) -> PyResult<()> {
    let data = bytes.as_bytes();
    // SAFETY: the bytes are alive.
    let sent = unsafe {
        libc::send(
            stream.descriptor(),
            data.as_ptr().cast(),
            data.len(),
            libc::MSG_NOSIGNAL,
        )
    };
    if sent == data.len() as isize {
        return Ok(());
    }
    let pieces = [bytes.clone().unbind()];
    not_all(transport, sent, &pieces)
}

fn send_pieces(
    transport: &Bound<'_, PyAny>,
    stream: &Stream,
    pieces: &[Py<PyBytes>],
) -> PyResult<()> {
    let py = transport.py();
    let mut rest = pieces;
    while !rest.is_empty() {
        let count = rest.len().min(PIECES_MAX);
        let mut vectors = [libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        }; PIECES_MAX];
        let mut total = 0;
        for (vector, piece) in vectors.iter_mut().zip(&rest[..count]) {
            let bytes = piece.as_bytes(py);
            vector.iov_base = bytes.as_ptr().cast_mut().cast();
            vector.iov_len = bytes.len();
            total += bytes.len();
        }
        // SAFETY: a message of zeros is an empty one; the vectors and the bytes are alive.
        let sent = unsafe {
            let mut message: libc::msghdr = std::mem::zeroed();
            message.msg_iov = vectors.as_mut_ptr();
            message.msg_iovlen = count;
            libc::sendmsg(stream.descriptor(), &raw const message, libc::MSG_NOSIGNAL)
        };
        if sent != total as isize {
            return not_all(transport, sent, rest);
        }
        rest = &rest[count..];
    }
    Ok(())
}

/// The socket did not take all: the rest is asyncio's to send, and errors to report.
#[cold]
fn not_all(transport: &Bound<'_, PyAny>, sent: isize, pieces: &[Py<PyBytes>]) -> PyResult<()> {
    let sent = if let Ok(sent) = usize::try_from(sent) {
        sent
    } else {
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => 0,
            _ => return send_failed(transport, &error),
        }
    };
    keep_unsent(transport, sent, pieces)
}

fn send_failed(transport: &Bound<'_, PyAny>, error: &io::Error) -> PyResult<()> {
    let text = "Fatal write error on socket transport";
    failed(transport, imports::os_error(error), text)
}

/// Give asyncio what is left behind so many bytes.
fn keep_unsent(
    transport: &Bound<'_, PyAny>,
    mut sent: usize,
    pieces: &[Py<PyBytes>],
) -> PyResult<()> {
    let py = transport.py();
    let rest = PyList::empty(py);
    for piece in pieces {
        let bytes = piece.as_bytes(py);
        if sent >= bytes.len() {
            sent -= bytes.len();
        } else {
            rest.append(PyBytes::new(py, &bytes[sent..]))?;
            sent = 0;
        }
    }
    if rest.is_empty() {
        return Ok(());
    }
    let name = pyo3::intern!(py, "_buffer_unsent");
    transport.invoke_method(name, (rest,)).map(drop)
}

/// Send what was collected of a transport, now.
fn flush(transport: &Bound<'_, PyAny>, stream: &Stream) -> PyResult<()> {
    let py = transport.py();
    let state = stream.state.borrow(py);
    let is_empty = state.pending.is_empty() && !state.is_full && state.broken.is_none();
    drop(state);
    if is_empty { Ok(()) } else { send(transport) }
}

/// What is written, where it can be collected.
#[inline]
fn collectable<'py>(data: &Bound<'py, PyAny>) -> Option<Bound<'py, PyBytes>> {
    if let Ok(bytes) = data.cast_exact::<PyBytes>() {
        return Some(bytes.clone());
    }
    copied(data)
}

fn copied<'py>(data: &Bound<'py, PyAny>) -> Option<Bound<'py, PyBytes>> {
    let array = data.cast_exact::<PyByteArray>().ok()?;
    if array.len() > COPIED_BYTES_MAX {
        return None;
    }
    // SAFETY: nothing changes the array while it is copied: the GIL is ours.
    Some(PyBytes::new(data.py(), unsafe { array.as_bytes() }))
}

/// Whether a transport takes bytes as they come: nothing waits before them, and nothing is wrong.
///
/// # Safety
/// The object is of the layout's class.
#[inline]
unsafe fn takes_more(py: Python<'_>, layout: &Layout, object: *mut ffi::PyObject) -> bool {
    // SAFETY: by contract; the buffer is a bytearray or a deque.
    unsafe {
        let buffer = layout.buffer.get(object);
        let has_waiter = layout.empty_waiter.get(object) != py.None().as_ptr();
        !layout.eof.is_true(object)
            && !has_waiter
            && layout.is_connected(object)
            && !buffer.is_null()
            && ffi::PyObject_Size(buffer) == 0
    }
}

unsafe extern "C" fn write(
    slf: *mut ffi::PyObject,
    first: *const *mut ffi::PyObject,
    count: isize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter calls this attached, with a transport of the class that the method
    // was given to, and arguments by the convention.
    unsafe { entered(slf, first, count, names, write_or_pass_on) }
}

fn write_or_pass_on<'py>(
    transport: &Bound<'py, PyAny>,
    given: &Given<'_, 'py>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = transport.py();
    if let ([data], false) = (given.positional, given.has_keywords())
        && write_natively(transport, data)?
    {
        return Ok(py.None().into_bound(py));
    }
    given.pass_on(imports::asyncios_write(py)?, transport)
}

/// Collect or send what is written; false where it is asyncio's to do.
#[inline]
fn write_natively(transport: &Bound<'_, PyAny>, data: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = transport.py();
    let object = transport.as_ptr();
    let Some(layout) = stream::layout(py) else {
        return Ok(false);
    };
    // SAFETY: the method is of the layout's class.
    let Some(stream) = (unsafe { stream::stream_of(layout, transport) }) else {
        return Ok(false);
    };
    let stream = stream.get();
    let Some(bytes) = collectable(data) else {
        flush(transport, stream)?;
        return Ok(false);
    };
    let size = bytes.as_bytes().len();
    // SAFETY: as above.
    if size == 0 || stream.descriptor() < 0 || !unsafe { takes_more(py, layout, object) } {
        flush(transport, stream)?;
        return Ok(false);
    }
    if stream.core.get().shared.is_forked() {
        send(transport)?;
        return send_one(transport, stream, &bytes).map(|()| true);
    }
    let is_in_callback = stream.calls.is_in_callback.load(Ordering::Relaxed);
    let mut state = stream.state.borrow(py);
    let is_at_rest = state.pending.is_empty() && state.sending.is_none();
    if !is_in_callback && is_at_rest && !state.is_full && state.broken.is_none() {
        drop(state);
        return send_one(transport, stream, &bytes).map(|()| true);
    }
    state.pending.push_back(bytes.unbind());
    state.pending_bytes += size;
    let is_much = state.pending_bytes >= COLLECTED_BYTES_MAX || !is_in_callback;
    let is_listed = std::mem::replace(&mut state.is_listed, true);
    let is_behind = !is_in_callback && state.sending.is_some();
    drop(state);
    if is_behind {
        // Another thread writes while the loop waits.
        stream.core.get().shared.wake();
    }
    if !is_listed {
        let listed = transport.clone().unbind();
        if stream.is_on_ring {
            stream.calls.unsent_on_ring.borrow(py).push(listed);
        } else {
            stream.calls.unsent.borrow(py).push(listed);
        }
    }
    if is_much {
        flush(transport, stream)?;
    }
    Ok(true)
}

/// The methods of reading that are called for each message by some protocols.
///
/// # Safety
/// As for methods without arguments of the layout's class.
unsafe extern "C" fn pause_reading(
    slf: *mut ffi::PyObject,
    first: *const *mut ffi::PyObject,
    count: isize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `write`.
    unsafe { entered(slf, first, count, names, pause) }
}

fn pause<'py>(
    transport: &Bound<'py, PyAny>,
    given: &Given<'_, 'py>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = transport.py();
    let (true, Some(layout)) = (given.is_empty(), stream::layout(py)) else {
        return given.pass_on(imports::asyncios_pause_reading(py)?, transport);
    };
    let object = transport.as_ptr();
    // SAFETY: the method is of the layout's class.
    let stream = unsafe { stream::stream_of(layout, transport) };
    let stream = stream.filter(|it| {
        let calls = &it.get().calls;
        let is_in_callback = calls.is_in_callback.load(Ordering::Relaxed);
        calls.is_plain() && (is_in_callback || !it.get().is_on_ring)
    });
    let Some(stream) = stream else {
        return given.pass_on(imports::asyncios_pause_reading(py)?, transport);
    };
    // SAFETY: as above.
    let is_over = unsafe { layout.closing.is_true(object) || layout.paused.is_true(object) };
    if !is_over {
        // SAFETY: as above.
        unsafe { layout.paused.set_bool(object, true) };
        let stream = stream.get();
        if stream.is_on_ring && stream.state.borrow(py).is_watched {
            let paused = transport.clone().unbind();
            stream.calls.streams.borrow(py).paused.push(paused);
        }
    }
    Ok(py.None().into_bound(py))
}

unsafe extern "C" fn resume_reading(
    slf: *mut ffi::PyObject,
    first: *const *mut ffi::PyObject,
    count: isize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `write`.
    unsafe { entered(slf, first, count, names, resume) }
}

fn resume<'py>(
    transport: &Bound<'py, PyAny>,
    given: &Given<'_, 'py>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = transport.py();
    if let (true, Some(layout)) = (given.is_empty(), stream::layout(py)) {
        // SAFETY: the method is of the layout's class.
        let stream = unsafe {
            let is_closing = layout.closing.is_true(transport.as_ptr());
            (!is_closing).then(|| stream::stream_of(layout, transport))
        };
        let stream = stream.flatten().filter(|it| {
            let stream = it.get();
            stream.calls.is_plain() && stream.state.borrow(py).is_watched
        });
        if let Some(stream) = stream {
            // SAFETY: as above.
            unsafe { layout.paused.set_bool(transport.as_ptr(), false) };
            streams::resumed(py, stream.get());
            return Ok(py.None().into_bound(py));
        }
    }
    given.pass_on(imports::asyncios_resume_reading(py)?, transport)
}

unsafe extern "C" fn is_closing(
    slf: *mut ffi::PyObject,
    first: *const *mut ffi::PyObject,
    count: isize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `write`.
    unsafe {
        entered(slf, first, count, names, |transport, given| {
            given.expect_none("is_closing")?;
            let layout = stream::layout(transport.py());
            let is_closing = layout.is_some_and(|it| it.closing.is_true(transport.as_ptr()));
            Ok(PyBool::new(transport.py(), is_closing)
                .to_owned()
                .into_any())
        })
    }
}

unsafe extern "C" fn send_pending(
    slf: *mut ffi::PyObject,
    first: *const *mut ffi::PyObject,
    count: isize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `write`.
    unsafe {
        entered(slf, first, count, names, |transport, given| {
            given.expect_none("_send_pending")?;
            send(transport)?;
            Ok(transport.py().None().into_bound(transport.py()))
        })
    }
}

static WRITE: Method = Method::new(
    c"write",
    write,
    c"write($self, data, /)\n--\n\nSend bytes, in the order of the calls.",
);
static PAUSE_READING: Method = Method::new(
    c"pause_reading",
    pause_reading,
    c"pause_reading($self, /)\n--\n\nPass nothing to the protocol until resume_reading().",
);
static RESUME_READING: Method = Method::new(
    c"resume_reading",
    resume_reading,
    c"resume_reading($self, /)\n--\n\nPass what arrives to the protocol again.",
);
static IS_CLOSING: Method = Method::new(
    c"is_closing",
    is_closing,
    c"is_closing($self, /)\n--\n\nWhether the transport is closed, or closes when all is sent.",
);
static SEND_PENDING: Method = Method::new(
    c"_send_pending",
    send_pending,
    c"_send_pending($self, /)\n--\n\nSend what the running callback has written until now.",
);

/// Give the methods to the class of transports.
pub(super) fn add_to(class: &Bound<'_, PyType>) -> PyResult<()> {
    for method in [
        &WRITE,
        &PAUSE_READING,
        &RESUME_READING,
        &IS_CLOSING,
        &SEND_PENDING,
    ] {
        method.add_to(class)?;
    }
    Ok(())
}
