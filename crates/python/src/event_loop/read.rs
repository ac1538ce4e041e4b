//! From a readable socket to its protocol: one receive into a buffer that all transports share, or
//! into the protocol's own, and one call.
//!
//! `pause_reading` only sets a flag, because many protocols pause and resume for each message. The
//! socket is watched on, and the watch ends when data arrive meanwhile; `resume_reading` watches it
//! again. So a protocol that resumes in time costs no system call.

use super::base::Native;
use super::calls::RECEIVE_BYTES_MAX;
use super::feed;
use super::iteration::failed;
use super::stream::{self, Layout};
use crate::calls::Invoke as _;
use crate::context::Entered;
use crate::imports;
use crate::owned::release_result;
use crate::process::{self, Way};
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::io;
use std::ptr;

/// What one receive has brought.
enum Received<T> {
    Bytes(T),
    /// The peer has finished sending.
    End,
    /// Nothing, for now.
    Nothing,
    Broken(io::Error),
}

impl<T> Received<T> {
    fn then<U>(self, act: impl FnOnce(T) -> U) -> Received<U> {
        match self {
            Self::Bytes(bytes) => Received::Bytes(act(bytes)),
            Self::End => Received::End,
            Self::Nothing => Received::Nothing,
            Self::Broken(error) => Received::Broken(error),
        }
    }
}

/// The socket of a transport is readable, or broken.
pub(super) fn ready(transport: &Bound<'_, PyAny>, native: &Native) -> PyResult<()> {
    let py = transport.py();
    let Some(layout) = stream::layout(py) else {
        return Ok(());
    };
    let object = transport.as_ptr();
    // SAFETY: only transports of the layout's class are readers.
    let stream = unsafe {
        if !layout.is_connected(object) {
            return Ok(());
        }
        stream::stream_of(layout, transport)
    };
    let Some(stream) = stream else { return Ok(()) };
    let descriptor = stream.get().descriptor();
    // SAFETY: as above.
    if unsafe { layout.paused.is_true(object) } {
        stream.get().state.borrow(py).is_watched = false;
        drop(native.calls.take_reader(py, descriptor));
        return native.core.get().read(descriptor, false);
    }
    in_context(transport, layout, || {
        // SAFETY: as above.
        if unsafe { layout.is_buffered.is_true(object) } {
            // SAFETY: the view may be written to.
            read_into_buffer(transport, layout, |view| unsafe {
                receive(descriptor, view.as_mut_ptr(), view.len())
            })
        } else {
            read(transport, layout, native, Source::Descriptor(descriptor))
        }
    })
}

/// Hand over what the driver has received. How much the protocol took: not all where it paused, or
/// closed the transport, between two parts.
pub(super) fn hand_over(
    transport: &Bound<'_, PyAny>,
    layout: &Layout,
    native: &Native,
    bytes: &[u8],
) -> PyResult<usize> {
    let object = transport.as_ptr();
    let mut taken = 0;
    loop {
        // SAFETY: as above.
        let (is_buffered, is_at_rest) = unsafe {
            let is_at_rest = layout.paused.is_true(object)
                || layout.closing.is_true(object)
                || !layout.is_connected(object);
            (layout.is_buffered.is_true(object), is_at_rest)
        };
        if taken == bytes.len() || taken > 0 && is_at_rest {
            return Ok(taken);
        }
        let rest = &bytes[taken..];
        let outcome = if is_buffered {
            let mut count = 0;
            let outcome = read_into_buffer(transport, layout, |view| {
                count = view.len().min(rest.len());
                view[..count].copy_from_slice(&rest[..count]);
                Received::Bytes(count)
            });
            // The transport has failed where none were taken.
            taken += if count == 0 { rest.len() } else { count };
            outcome
        } else {
            taken = bytes.len();
            read(transport, layout, native, Source::Bytes(rest))
        };
        outcome?;
    }
}

/// Call the protocol in the context of its connection.
pub(super) fn in_context<T>(
    transport: &Bound<'_, PyAny>,
    layout: &Layout,
    act: impl FnOnce() -> PyResult<T>,
) -> PyResult<T> {
    let py = transport.py();
    // SAFETY: a transport of the layout's class.
    let context = unsafe { layout.context.reference(py, transport.as_ptr()) };
    let context = context.filter(|it| !it.is_none()).map(Bound::unbind);
    let entered = match &context {
        Some(context) => Some(Entered::enter(py, context)?),
        None => None,
    };
    let outcome = act();
    drop(entered);
    outcome
}

/// Where bytes come from.
enum Source<'a> {
    /// A descriptor, which is readable.
    Descriptor(i32),
    /// The driver has received them.
    Bytes(&'a [u8]),
}

/// Receive into the buffer of the loop, and hand out what came.
fn receive_with<T>(
    py: Python<'_>,
    native: &Native,
    source: &Source<'_>,
    take: impl FnOnce(&[u8]) -> T,
) -> Received<T> {
    let descriptor = match source {
        Source::Descriptor(descriptor) => *descriptor,
        Source::Bytes(bytes) => return Received::Bytes(take(bytes)),
    };
    let mut buffer = std::mem::take(&mut *native.calls.buffer.borrow(py));
    if buffer.is_empty() {
        buffer.resize(RECEIVE_BYTES_MAX, 0);
    }
    // SAFETY: the buffer is ours, and has so much room.
    let received = unsafe { receive(descriptor, buffer.as_mut_ptr(), buffer.len()) };
    let received = received.then(|count| take(&buffer[..count]));
    *native.calls.buffer.borrow(py) = buffer;
    received
}

/// `data_received`.
fn read(
    transport: &Bound<'_, PyAny>,
    layout: &Layout,
    native: &Native,
    source: Source<'_>,
) -> PyResult<()> {
    let py = transport.py();
    // SAFETY: a transport of the layout's class.
    let (protocol, feeds_reader) = unsafe {
        let object = transport.as_ptr();
        let protocol = layout.protocol.reference(py, object);
        (protocol, layout.feeds_reader.is_true(object))
    };
    let Some(protocol) = protocol else {
        return Ok(());
    };
    let reader = if feeds_reader {
        feed::reader_of(&protocol)?
    } else {
        None
    };
    let outcome = if let Some(reader) = reader {
        receive_with(py, native, &source, |bytes| feed::feed(&reader, bytes))
    } else {
        let received = receive_with(py, native, &source, |bytes| PyBytes::new(py, bytes));
        received.then(|data| {
            let name = pyo3::intern!(py, "data_received").as_any();
            call_method(&protocol, name, data.as_any()).map(release_result)
        })
    };
    match outcome {
        Received::Bytes(Ok(())) | Received::Nothing => Ok(()),
        Received::Bytes(Err(error)) => {
            let text = "Fatal error: protocol.data_received() call failed.";
            failed(transport, error, text)
        }
        Received::End => ended(transport),
        Received::Broken(error) => broken(transport, &error),
    }
}

/// `get_buffer` and `buffer_updated`.
fn read_into_buffer(
    transport: &Bound<'_, PyAny>,
    layout: &Layout,
    fill: impl FnOnce(&mut [u8]) -> Received<usize>,
) -> PyResult<()> {
    let py = transport.py();
    // SAFETY: a transport of the layout's class.
    let Some(protocol) = (unsafe { layout.protocol.reference(py, transport.as_ptr()) }) else {
        return Ok(());
    };
    let any = pyo3::types::PyInt::new(py, -1);
    let name = pyo3::intern!(py, "get_buffer").as_any();
    let given = call_method(&protocol, name, any.as_any());
    let given = given.and_then(|given| match given.len()? {
        0 => Err(PyRuntimeError::new_err(
            "get_buffer() returned an empty buffer",
        )),
        _ => Ok(given),
    });
    let given = match given {
        Ok(given) => given,
        Err(error) => {
            let text = "Fatal error: protocol.get_buffer() call failed.";
            return failed(transport, error, text);
        }
    };
    let received = match fill_buffer(&given, fill) {
        Ok(received) => received,
        Err(error) => return failed(transport, error, "Fatal read error on socket transport"),
    };
    drop(given);
    let count = match received {
        Received::Bytes(count) => pyo3::types::PyInt::new(py, count),
        Received::Nothing => return Ok(()),
        Received::End => return ended(transport),
        Received::Broken(error) => return broken(transport, &error),
    };
    let name = pyo3::intern!(py, "buffer_updated").as_any();
    match call_method(&protocol, name, count.as_any()) {
        Ok(result) => {
            release_result(result);
            Ok(())
        }
        Err(error) => {
            let text = "Fatal error: protocol.buffer_updated() call failed.";
            failed(transport, error, text)
        }
    }
}

/// Fill an object of the program's.
fn fill_buffer(
    given: &Bound<'_, PyAny>,
    fill: impl FnOnce(&mut [u8]) -> Received<usize>,
) -> PyResult<Received<usize>> {
    let py = given.py();
    let mut view = ffi::Py_buffer::new();
    // SAFETY: attached; the view is ours, and released below. While it lives, the object keeps its
    // memory where it is, and nothing else runs that could use it.
    unsafe {
        if ffi::PyObject_GetBuffer(given.as_ptr(), &raw mut view, ffi::PyBUF_WRITABLE) != 0 {
            return Err(PyErr::fetch(py));
        }
        let bytes = std::slice::from_raw_parts_mut(view.buf.cast(), view.len as usize);
        let received = fill(bytes);
        ffi::PyBuffer_Release(&raw mut view);
        Ok(received)
    }
}

/// # Safety
/// The pointer is to so many bytes that may be written.
unsafe fn receive(descriptor: i32, pointer: *mut u8, room: usize) -> Received<usize> {
    // SAFETY: by contract.
    let count = unsafe { libc::recv(descriptor, pointer.cast(), room, 0) };
    match usize::try_from(count) {
        Ok(0) => Received::End,
        Ok(count) => Received::Bytes(count),
        Err(_) => {
            let error = io::Error::last_os_error();
            match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Received::Nothing,
                _ => Received::Broken(error),
            }
        }
    }
}

/// Call a method that has one argument.
#[inline]
fn call_method<'py>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyAny>,
    argument: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let given = [ptr::null_mut(), object.as_ptr(), argument.as_ptr()];
    let flags = 2 | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
    // SAFETY: attached; all are alive, and the slot before them is the callee's to use.
    unsafe {
        let first = given.as_ptr().add(1);
        let result = process::call(Way::Method, name.as_ptr(), first, flags, ptr::null_mut());
        Bound::from_owned_ptr_or_err(object.py(), result)
    }
}

#[cold]
pub(super) fn ended(transport: &Bound<'_, PyAny>) -> PyResult<()> {
    let name = pyo3::intern!(transport.py(), "_read_ready__on_eof");
    transport.invoke_method(name, ()).map(drop)
}

#[cold]
fn broken(transport: &Bound<'_, PyAny>, error: &io::Error) -> PyResult<()> {
    let error = imports::os_error(error);
    failed(transport, error, "Fatal read error on socket transport")
}
