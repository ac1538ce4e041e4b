//! The messages of a call: what the application sends, and what it receives.
//!
//! The response's head is held until its first piece, as ASGI asks for, and leaves with it: a
//! response of one piece is one write, with its length in the head.

use super::call::{HttpCall, Stage};
use crate::calls::Invoke as _;
use crate::imports;
use pyo3::exceptions::{PyIndexError, PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyList, PyMemoryView, PyString, PyTuple};

/// The status of a response that has no body, of which frameworks give the length nevertheless.
const NO_CONTENT: u16 = 204;

/// A piece of a body, and the one behind it, if that is there.
type Pieces<'py> = (Bound<'py, PyBytes>, Option<Bound<'py, PyBytes>>);

/// Whether an error is about the types of header fields.
fn is_of_headers(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyTypeError>(py) || error.is_instance_of::<PyIndexError>(py)
}

/// Whether a header field may say how the body is framed, which `unframed` then finds out.
fn may_frame(status: u16, headers: &Bound<'_, PyAny>) -> bool {
    let is_framing = |field: Bound<'_, PyAny>| {
        let Ok(field) = field.cast_exact::<PyTuple>() else {
            return true;
        };
        let name = field.get_borrowed_item(0);
        let name = name
            .as_ref()
            .ok()
            .and_then(|name| name.cast::<PyBytes>().ok());
        name.is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"transfer-encoding"))
    };
    if status == NO_CONTENT {
        return true;
    }
    match (headers.cast::<PyList>(), headers.cast::<PyTuple>()) {
        (Ok(list), _) => list.iter().any(is_framing),
        (_, Ok(tuple)) => tuple.iter().any(is_framing),
        _ => true,
    }
}

/// A field of a message, if it has it.
fn field<'py>(
    message: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    if let Ok(message) = message.cast_exact::<PyDict>() {
        return message.get_item(name);
    }
    let py = message.py();
    let missing = py.NotImplemented();
    let found = message.invoke_method(pyo3::intern!(py, "get"), (name, &missing))?;
    Ok((!found.is(&missing)).then_some(found))
}

/// Whether a flag of a message is set.
fn is_set<'py>(message: &Bound<'py, PyAny>, name: &Bound<'py, PyString>) -> PyResult<bool> {
    field(message, name)?.map_or(Ok(false), |value| value.is_truthy())
}

/// A message's type.
fn type_of<'py>(message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
    let py = message.py();
    let name = pyo3::intern!(py, "type");
    let kind = match message.cast_exact::<PyDict>() {
        Ok(message) => message.get_item(name)?,
        Err(_) => None,
    };
    if let Some(Ok(kind)) = kind.map(Bound::cast_into_exact::<PyString>) {
        return Ok(kind);
    }
    // Another mapping, a subclass of str, or something that is not a message.
    let kind = imports::asgi_message_type(py)?.invoke((message,))?;
    Ok(kind.cast_into::<PyString>()?)
}

/// The types of messages that an application sends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Start,
    Body,
    Hint,
    File,
    Trailers,
    Other,
}

fn kind_of(text: &Bound<'_, PyString>) -> PyResult<Kind> {
    let py = text.py();
    // Literals of a program are interned.
    if text.is(pyo3::intern!(py, "http.response.start")) {
        return Ok(Kind::Start);
    }
    if text.is(pyo3::intern!(py, "http.response.body")) {
        return Ok(Kind::Body);
    }
    Ok(match &*text.to_cow()? {
        "http.response.start" => Kind::Start,
        "http.response.body" => Kind::Body,
        "http.response.early_hint" => Kind::Hint,
        "http.response.pathsend" => Kind::File,
        "http.response.trailers" => Kind::Trailers,
        _ => Kind::Other,
    })
}

impl HttpCall {
    /// Take a message of the application's. A coroutine where the application has to wait.
    pub(super) fn sent<'py>(
        slf: &Bound<'py, Self>,
        message: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Py<PyAny>>> {
        let py = slf.py();
        let this = slf.get();
        let text = type_of(message)?;
        let kind = kind_of(&text)?;
        let stage = this.local()?.stage.get();
        if stage == Stage::Start {
            match kind {
                Kind::Start => this.begin_response(message)?,
                Kind::Hint => drop(imports::asgi_hint(py)?.invoke((slf, message))?),
                _ => return Err(unexpected(slf, &text)),
            }
            return Ok(None);
        }
        if stage == Stage::Done || (stage == Stage::Trailers) != (kind == Kind::Trailers) {
            return Err(unexpected(slf, &text));
        }
        if this.is_disconnected()? {
            return Err(client_gone(py));
        }
        match kind {
            Kind::Body if this.send_body(message)? => Ok(None),
            Kind::Body => {
                let waiting = imports::asgi_wait_for_room(py)?.invoke((slf,))?;
                Ok(Some(waiting.unbind()))
            }
            Kind::File if stage == Stage::FirstBody => {
                let sending = imports::asgi_send_file(py)?.invoke((slf, message))?;
                Ok(Some(sending.unbind()))
            }
            Kind::Trailers => {
                imports::asgi_send_trailers(py)?.invoke((slf, message))?;
                Ok(None)
            }
            _ => Err(unexpected(slf, &text)),
        }
    }

    fn begin_response(&self, message: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = message.py();
        let local = self.local()?;
        if self.is_disconnected()? {
            return Err(client_gone(py));
        }
        let status = field(message, pyo3::intern!(py, "status"))?;
        let number = status.and_then(|status| status.extract::<u16>().ok());
        let status = match number {
            Some(number) if (200..=599).contains(&number) => number,
            _ => imports::asgi_status_of(py)?.invoke((message,))?.extract()?,
        };
        let headers = match field(message, pyo3::intern!(py, "headers"))? {
            None => PyTuple::empty(py).into_any(),
            // Checked when they are sent; a generator could not be read twice.
            Some(headers) if headers.is_instance_of::<PyList>() => headers,
            Some(headers) if headers.is_instance_of::<PyTuple>() => headers,
            Some(_) => imports::asgi_listed(py)?.invoke((message,))?,
        };
        let has_trailers = is_set(message, pyo3::intern!(py, "trailers"))?;
        local.status.set(status);
        drop(local.headers.replace(Some(headers.unbind())));
        local.has_trailers.set(has_trailers);
        local.stage.set(Stage::FirstBody);
        Ok(())
    }

    /// Send a piece; whether there is room for another.
    fn send_body(&self, message: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = message.py();
        let local = self.local()?;
        let body = match field(message, pyo3::intern!(py, "body"))? {
            Some(body) => body,
            None => PyBytes::new(py, b"").into_any(),
        };
        let is_exact = body.is_exact_instance_of::<PyBytes>();
        let is_bytes = is_exact
            || body.is_instance_of::<PyBytes>()
            || body.is_instance_of::<PyByteArray>()
            || body.is_instance_of::<PyMemoryView>();
        if !is_bytes {
            let wrong = imports::asgi_wrong_field(py)?.invoke((message, "body", "bytes"))?;
            return Err(PyErr::from_value(wrong));
        }
        let has_more = is_set(message, pyo3::intern!(py, "more_body"))?;
        let exchange = self.exchange.get();
        if local.stage.get() == Stage::FirstBody {
            if !has_more && !local.has_trailers.get() {
                let body = if is_exact {
                    body
                } else {
                    py.get_type::<PyBytes>().into_any().invoke((body,))?
                };
                self.with_headers(py, |headers| {
                    exchange.respond(py, local.status.get(), headers, &body)
                })?;
                return self.complete(py).map(|()| true);
            }
            self.send_head(py)?;
        }
        let has_room = if body.is_truthy()? {
            exchange.write(py, &body)?
        } else {
            exchange.is_writable()?
        };
        if has_more {
            return Ok(has_room);
        }
        if local.has_trailers.get() {
            local.stage.set(Stage::Trailers);
        } else {
            exchange.end(py, None)?;
            self.complete(py)?;
        }
        Ok(true)
    }

    /// Send the head; whether a body may follow it.
    pub(super) fn send_head(&self, py: Python<'_>) -> PyResult<bool> {
        let local = self.local()?;
        let exchange = self.exchange.get();
        let has_body = self.with_headers(py, |headers| {
            exchange.start(py, local.status.get(), headers)
        })?;
        local.stage.set(Stage::Body);
        Ok(has_body)
    }

    /// Do something with the header fields of the response, which are released then, without those
    /// that say how its body is framed. An error about their types names the message that they came
    /// with.
    fn with_headers<'py, T>(
        &self,
        py: Python<'py>,
        act: impl FnOnce(&Bound<'py, PyAny>) -> PyResult<T>,
    ) -> PyResult<T> {
        let local = self.local()?;
        let headers = match local.headers.take() {
            Some(headers) => headers.into_bound(py),
            None => PyTuple::empty(py).into_any(),
        };
        let headers = if may_frame(local.status.get(), &headers) {
            imports::asgi_unframed(py)?.invoke((local.status.get(), &headers))?
        } else {
            headers
        };
        let done = act(&headers);
        let Err(error) = done else {
            return done;
        };
        if !is_of_headers(py, &error) {
            // It may be sent again, without them.
            drop(local.headers.replace(Some(headers.unbind())));
            return Err(error);
        }
        let start = PyDict::new(py);
        start.set_item("type", "http.response.start")?;
        let fault = imports::asgi_header_fault(py)?.invoke((start, &headers))?;
        drop(local.headers.replace(Some(headers.unbind())));
        Err(PyErr::from_value(fault))
    }

    /// The next message for the application, where it is there.
    pub(super) fn received(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let local = self.local()?;
        let exchange = self.exchange.get();
        let is_done = local.stage.get() == Stage::Done;
        if local.is_received.get() {
            if is_done || exchange.is_disconnected()? || exchange.is_peer_finished()? {
                // One that has finished sending may still read; but the application need not
                // answer it.
                local.has_told.set(true);
                return disconnected(py).map(Some);
            }
            return Ok(None);
        }
        if !exchange.has_body()? {
            local.is_received.set(true);
            return request(py, PyBytes::new(py, b""), false).map(Some);
        }
        if is_done {
            return disconnected(py).map(Some);
        }
        match self.take_pieces(py) {
            Ok(None) => Ok(None),
            Ok(Some((piece, following))) => {
                let is_last = matches!(&following, Some(rest) if rest.as_bytes().is_empty());
                local.is_received.set(is_last);
                if !is_last {
                    drop(local.next.replace(following.map(Bound::unbind)));
                }
                request(py, piece, !is_last).map(Some)
            }
            Err(error) if is_end(py, &error)? => {
                // The client went away, or the response became complete meanwhile.
                local.is_received.set(true);
                local.has_told.set(true);
                disconnected(py).map(Some)
            }
            Err(error) => Err(error),
        }
    }

    /// The next piece of the request's body, and the one behind it, as far as they are there: where
    /// that is the end, one message is enough. `b""` is the end.
    fn take_pieces<'py>(&self, py: Python<'py>) -> PyResult<Option<Pieces<'py>>> {
        let exchange = self.exchange.get();
        let piece = match self.local()?.next.take() {
            Some(piece) => piece,
            None => match exchange.receive(py)? {
                Some(piece) => piece,
                None => return Ok(None),
            },
        };
        let piece = piece.into_bound(py);
        let following = if piece.as_bytes().is_empty() {
            Some(piece.clone())
        } else {
            exchange.receive(py)?.map(|it| it.into_bound(py))
        };
        Ok(Some((piece, following)))
    }
}

/// Whether an error says that nothing more comes.
fn is_end(py: Python<'_>, error: &PyErr) -> PyResult<bool> {
    let class = imports::connection_closed_class(py)?;
    Ok(error.is_instance_of::<PyRuntimeError>(py) || error.is_instance(py, class))
}

fn request(py: Python<'_>, body: Bound<'_, PyBytes>, has_more: bool) -> PyResult<Py<PyAny>> {
    let message = PyDict::new(py);
    let kind = pyo3::intern!(py, "http.request");
    message.set_item(pyo3::intern!(py, "type"), kind)?;
    message.set_item(pyo3::intern!(py, "body"), body)?;
    message.set_item(pyo3::intern!(py, "more_body"), has_more)?;
    Ok(message.into_any().unbind())
}

fn disconnected(py: Python<'_>) -> PyResult<Py<PyAny>> {
    let message = PyDict::new(py);
    let kind = pyo3::intern!(py, "http.disconnect");
    message.set_item(pyo3::intern!(py, "type"), kind)?;
    Ok(message.into_any().unbind())
}

#[cold]
fn client_gone(py: Python<'_>) -> PyErr {
    let made = imports::client_gone_class(py).and_then(|class| class.invoke(()));
    made.map_or_else(|error| error, PyErr::from_value)
}

/// The error for a message that cannot be sent now.
#[cold]
fn unexpected(call: &Bound<'_, HttpCall>, kind: &Bound<'_, PyString>) -> PyErr {
    let made = imports::asgi_unexpected(call.py()).and_then(|made| made.invoke((call, kind)));
    made.map_or_else(|error| error, PyErr::from_value)
}
