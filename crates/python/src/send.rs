//! `Connection.send`: the hottest call from Python, and what a message may be.

use crate::arguments;
use crate::calls::Invoke as _;
use crate::connection::{Connection, Local, peer_text};
use crate::core::Conn;
use crate::from_thread;
use crate::imports;
use crate::payload::KeptMessage;
use crate::wanted::Asker;
use pyo3::exceptions::{PyMemoryError, PyRuntimeError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use std::ffi::CStr;
use std::rc::Rc;
use vespiary_engine::{Kind, SendError};

const TOO_LONG: &str =
    "the message is too long for the framing's length prefix, or for a datagram (65,507 bytes)";
const LINE_BREAK: &str = "the message contains a line break: with framing='line' or 'crlf', a \
    message is one line without its line ending; send each line separately, or use \
    framing='length'";

const TOO_MANY_RETAINED: &str = "as many topics retain a message as the server's \
    retained_messages_max allows: discard some with discard_retained(), or raise the limit";
const RETAINED_TOO_LARGE: &str = "the retained messages would have more bytes than the server's \
    retained_bytes_max allows: discard some with discard_retained(), or raise the limit";

#[cold]
pub(crate) fn refused(py: Python<'_>, text: &str) -> PyErr {
    imports::error(imports::send_refused_class(py), |class| {
        Ok(PyErr::from_value(class.invoke((text,))?))
    })
}

/// The error for a message that does not fit into memory.
#[cold]
fn no_memory() -> PyErr {
    PyMemoryError::new_err("there is no memory for the message")
}

/// Why a message was not published: the framing of a subscriber cannot carry it, or there is no
/// memory for it.
#[cold]
pub(crate) fn publish_error(py: Python<'_>, error: SendError) -> PyErr {
    let text = match error {
        SendError::OutOfMemory => return no_memory(),
        SendError::TooManyRetained => return refused(py, TOO_MANY_RETAINED),
        SendError::RetainedTooLarge => return refused(py, RETAINED_TOO_LARGE),
        SendError::LineBreak => LINE_BREAK,
        _ => TOO_LONG,
    };
    refused(
        py,
        &format!("the message cannot be sent to a subscriber: {text}"),
    )
}

impl Connection {
    #[inline]
    pub(crate) fn send_object(
        &self,
        py: Python<'_>,
        message: &Bound<'_, PyAny>,
        compress: Option<bool>,
    ) -> PyResult<()> {
        self.send_here(self.local()?, py, message, compress)
    }

    #[inline]
    fn send_here(
        &self,
        local: &Local,
        py: Python<'_>,
        message: &Bound<'_, PyAny>,
        compress: Option<bool>,
    ) -> PyResult<()> {
        let borrowed = local.connection.borrow();
        let Some(connection) = borrowed.as_ref() else {
            drop(borrowed);
            return Err(self.closed_error(py));
        };
        let asker = Asker::new(&connection.engine().host);
        let sent = match KeptMessage::of(message) {
            Some(kept) if compress.is_none() => connection.send_kept(Kind::Binary, kept),
            _ => with_payload(message, |kind, payload| {
                connection.send(kind, payload, compress)
            })?,
        };
        let is_turn_wanted = asker.end();
        if sent.is_ok() && !is_turn_wanted {
            return Ok(());
        }
        let connection = connection.clone();
        drop(borrowed);
        if is_turn_wanted {
            connection.engine().host.schedule_turn(py)?;
        }
        sent.map(drop)
            .map_err(|error| self.send_error(py, &connection, error, Some(message)))
    }

    /// Send what another thread was promised to send. What cannot be sent is logged. That a
    /// connection has ended needs no report.
    pub(crate) fn send_for_another(
        &self,
        py: Python<'_>,
        message: &Bound<'_, PyAny>,
        compress: Option<bool>,
    ) -> PyResult<()> {
        let Some(connection) = self.living()? else {
            return Ok(());
        };
        let sent = connection.promised(|| self.send_object(py, message, compress));
        self.note_sender(&connection);
        let Err(error) = sent else {
            return Ok(());
        };
        if !error.is_instance(py, imports::connection_closed_class(py)?) {
            let url = connection.endpoint().host.url.borrow();
            imports::send_failed(py)?.invoke((&**url, peer_text(&connection), error.value(py)))?;
        }
        Ok(())
    }

    #[cold]
    pub(crate) fn send_error(
        &self,
        py: Python<'_>,
        connection: &Rc<Conn>,
        error: SendError,
        message: Option<&Bound<'_, PyAny>>,
    ) -> PyErr {
        let refused = |text: &str| refused(py, text);
        match error {
            SendError::Closed => match connection.reason() {
                Some(reason) => imports::closed_error(py, &reason, &peer_text(connection)),
                // Aborted by this end, whose reason is not settled yet.
                None => self.closed_error(py),
            },
            SendError::QueueFull => imports::error(imports::write_queue_full_class(py), |class| {
                let most = connection.endpoint().options().limits.write_bytes_max;
                let bytes = message.map(|message| with_payload(message, |_, bytes| bytes.len()));
                let bytes = bytes.transpose()?.unwrap_or(0);
                let arguments = (
                    connection.queued_bytes(),
                    most,
                    peer_text(connection),
                    bytes,
                );
                Ok(PyErr::from_value(class.invoke(arguments)?))
            }),
            SendError::NotOpen => {
                refused("the connection is not open yet: send in on_open or later")
            }
            SendError::TooLong => refused(TOO_LONG),
            SendError::LineBreak => refused(LINE_BREAK),
            SendError::OutOfMemory => no_memory(),
            SendError::NoTopics => {
                refused("topics belong to a server: the connection of a client cannot subscribe")
            }
            SendError::TooManyTopics => refused(
                "the connection is subscribed to as many topics as topics_per_connection_max \
                 allows: unsubscribe from some, or raise the limit",
            ),
            SendError::TooManySubscriptions => refused(
                "the connections of the endpoint have as many subscriptions as subscriptions_max \
                 allows",
            ),
            SendError::NotAPattern => refused(
                "not a pattern of topics: '+' and '#' stand alone in their level, '#' is the last \
                 level, and there are at most 32 levels",
            ),
            SendError::TooManyRetained => refused(TOO_MANY_RETAINED),
            SendError::RetainedTooLarge => refused(RETAINED_TOO_LARGE),
            SendError::TopicTooLong => refused("the topic's name is longer than topic_bytes_max"),
            SendError::Ended => refused("send_end() was called: this end sends nothing more"),
            SendError::OutOfTurn if connection.is_within_message() => refused(
                "a message in parts is incomplete: finish it with send_part(..., last=True) first",
            ),
            SendError::OutOfTurn => refused(
                "messages of this framing cannot be sent in parts: send() each as a whole; parts \
                 are for WebSocket and for framing='raw'",
            ),
        }
    }
}

/// Use a message's bytes: `bytes` and `str` as they are, anything else by the buffer protocol.
#[inline]
pub(crate) fn with_payload<T>(
    message: &Bound<'_, PyAny>,
    use_it: impl FnOnce(Kind, &[u8]) -> T,
) -> PyResult<T> {
    let object = message.as_ptr();
    // SAFETY: the object is alive for the whole of this function, `use_it` runs no Python code, and
    // the views into it are not kept.
    unsafe {
        if ffi::PyBytes_Check(object) != 0 {
            let length = ffi::Py_SIZE(object) as usize;
            let start = ffi::PyBytes_AS_STRING(object).cast::<u8>();
            return Ok(use_it(
                Kind::Binary,
                std::slice::from_raw_parts(start, length),
            ));
        }
        if ffi::PyUnicode_Check(object) != 0 {
            let mut length = 0;
            let start = ffi::PyUnicode_AsUTF8AndSize(object, &raw mut length).cast::<u8>();
            if start.is_null() {
                return Err(PyErr::fetch(message.py()));
            }
            return Ok(use_it(
                Kind::Text,
                std::slice::from_raw_parts(start, length as usize),
            ));
        }
        let mut view = std::mem::MaybeUninit::<ffi::Py_buffer>::uninit();
        if ffi::PyObject_GetBuffer(object, view.as_mut_ptr(), ffi::PyBUF_SIMPLE) != 0 {
            ffi::PyErr_Clear();
            let text = format!(
                "a message is bytes, str, or an object with a contiguous buffer; got {}",
                message.get_type().name()?
            );
            return Err(PyTypeError::new_err(text));
        }
        let mut view = view.assume_init();
        let slice = if view.len == 0 {
            &[][..]
        } else {
            std::slice::from_raw_parts(view.buf.cast::<u8>(), view.len as usize)
        };
        let result = use_it(Kind::Binary, slice);
        ffi::PyBuffer_Release(&raw mut view);
        Ok(result)
    }
}

/// `Connection.send`, as a plain C method: the hottest call from Python.
pub(crate) static SEND: SendMethod = SendMethod(std::cell::UnsafeCell::new(ffi::PyMethodDef {
    ml_name: c"send".as_ptr(),
    ml_meth: ffi::PyMethodDefPointer {
        PyCFunctionFastWithKeywords: send,
    },
    ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
    ml_doc: SEND_DOC.as_ptr(),
}));

const SEND_DOC: &CStr = c"send($self, message, /, *, compress=None)
--

Queue a message. It is sent with the other queued messages when the handler returns.

A `str` is sent as a text message, a bytes-like object as a binary message. On a stream,
both are sent as bytes, a `str` in UTF-8.

On the loop's thread, `send` never blocks. To wait until the queue has room, await the
result, or `drain()`. In another thread, `send` blocks until there is room, unless that
thread runs its own Vespiary loop.

Args:
    message: The whole message.
    compress: Whether to compress this message, if compression was negotiated. Default: as
        the `Compression` of the endpoint says.

Raises:
    ConnectionClosed: the connection is closing or has ended.
    WriteQueueFull: `write_bytes_max` would be exceeded, and the policy is `wait`.
    ThreadCallsFull: too many calls of other threads are queued (only in other threads).
    SendRefused: another message is being sent in parts; or the message is too long for its
        length prefix, or contains a line break although each message is a line.
    TypeError: the message is neither text nor bytes, or `compress` is not a bool.";

/// A method definition that the interpreter reads for as long as it lives.
pub(crate) struct SendMethod(std::cell::UnsafeCell<ffi::PyMethodDef>);

// SAFETY: never written after its making.
unsafe impl Sync for SendMethod {}

impl SendMethod {
    pub(crate) fn get(&self) -> *mut ffi::PyMethodDef {
        self.0.get()
    }
}

unsafe extern "C" fn send(
    slf: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: isize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter calls this attached, with a Connection: the descriptor checks its
    // type.
    let (py, object) = unsafe {
        let py = Python::assume_attached();
        (py, Borrowed::from_ptr(py, slf))
    };
    // SAFETY: as above.
    let connection = unsafe { object.cast_unchecked::<Connection>() };
    let sent = std::panic::AssertUnwindSafe(|| {
        // SAFETY: as the calling convention has it.
        let (message, compress) = unsafe { read_arguments(py, arguments, count, names) }?;
        send_from(&connection, &message, compress)
    });
    let outcome = std::panic::catch_unwind(sent)
        .unwrap_or_else(|_| Err(PyRuntimeError::new_err("the engine failed; see stderr")));
    match outcome {
        Ok(()) => {
            // SAFETY: attached, and the object is alive. It can be awaited, as drain() can.
            unsafe { ffi::Py_INCREF(slf) };
            slf
        }
        Err(error) => {
            error.restore(py);
            std::ptr::null_mut()
        }
    }
}

fn send_from(
    connection: &Bound<'_, Connection>,
    message: &Bound<'_, PyAny>,
    compress: Option<bool>,
) -> PyResult<()> {
    let this = connection.get();
    let Some(local) = this.local.get() else {
        return send_elsewhere(connection, message, compress);
    };
    this.send_here(local, message.py(), message, compress)
}

/// Send from another thread than the loop's: see [`crate::senders`].
#[cold]
fn send_elsewhere(
    connection: &Bound<'_, Connection>,
    message: &Bound<'_, PyAny>,
    compress: Option<bool>,
) -> PyResult<()> {
    let (kept, size) = unchanging(message)?;
    from_thread::send(
        connection,
        Some(size),
        compress,
        kept,
        move |py, message, it| {
            let message = message.bind(py);
            with_payload(message, |kind, payload| {
                it.send(kind, payload, compress).map(drop)
            })
        },
    )
}

/// A message as it is now, in an object that nobody can change, and its size in bytes. An object
/// that cannot be a message is an error in the call that sends it.
fn unchanging(message: &Bound<'_, PyAny>) -> PyResult<(Py<PyAny>, usize)> {
    let py = message.py();
    if message.is_exact_instance_of::<PyBytes>() || message.is_exact_instance_of::<PyString>() {
        let size = with_payload(message, |_, bytes| bytes.len())?;
        return Ok((message.clone().unbind(), size));
    }
    let (kind, bytes) = with_payload(message, |kind, bytes| (kind, bytes.to_vec()))?;
    let fixed = match kind {
        Kind::Text => PyString::new(py, &String::from_utf8_lossy(&bytes)).into_any(),
        Kind::Binary => PyBytes::new(py, &bytes).into_any(),
    };
    Ok((fixed.unbind(), bytes.len()))
}

/// The message, and `compress` where it is named.
///
/// # Safety
///
/// The arguments are those of a call under `METH_FASTCALL | METH_KEYWORDS`.
#[inline]
unsafe fn read_arguments(
    py: Python<'_>,
    given: *const *mut ffi::PyObject,
    count: isize,
    names: *mut ffi::PyObject,
) -> PyResult<(Borrowed<'_, '_, PyAny>, Option<bool>)> {
    if count != 1 {
        let text = format!("send() takes one message ({count} given)");
        return Err(PyTypeError::new_err(text));
    }
    // SAFETY: one positional argument is there, and it lives as long as the call.
    let message = unsafe { Borrowed::from_ptr(py, *given) };
    if names.is_null() {
        return Ok((message, None));
    }
    // SAFETY: a tuple of names, and behind the positional arguments a value for each.
    let compress = unsafe {
        let names = Borrowed::from_ptr(py, names);
        if names.len()? != 1 || names.get_item(0)?.extract::<&str>()? != "compress" {
            let text = "send() takes no other keyword than compress";
            return Err(PyTypeError::new_err(text));
        }
        arguments::compress(&Borrowed::from_ptr(py, *given.add(1)))?
    };
    Ok((message, compress))
}
