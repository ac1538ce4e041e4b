//! The methods and properties of `Exchange`, as Python sees them.

use crate::asgi::field_object;
use crate::calls::{Invoke as _, InvokeOwned as _};
use crate::connection::{Connection, peer_text};
use crate::ended::Ended;
use crate::exchange::Exchange;
use crate::imports;
use crate::owned::Owned;
use crate::waiting;
use crate::wanted::Asker;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use vespiary_engine::port::FilePart;
use vespiary_engine::wire::http::{Fields, InvalidHeader};

#[pymethods]
impl Exchange {
    /// The connection that the request came on.
    #[getter]
    fn connection(&self, py: Python<'_>) -> Py<Connection> {
        self.connection.clone_ref(py)
    }

    /// The method, as sent.
    #[getter]
    fn method(&self) -> PyResult<&str> {
        Ok(self.head()?.method())
    }

    /// Path and query, as sent.
    #[getter]
    fn target(&self) -> PyResult<String> {
        Ok(self.head()?.path_and_query().into_owned())
    }

    /// The host, and the port if it was named, that the request is for.
    #[getter]
    fn authority(&self) -> PyResult<Option<&str>> {
        Ok(self.head()?.authority())
    }

    /// The minor version of HTTP/1 that the client speaks.
    #[getter]
    fn minor_version(&self) -> PyResult<u8> {
        Ok(self.head()?.minor_version)
    }

    /// The header fields in their order: names in lower case, and values.
    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let head = self.head()?;
        if let Some(connection) = self.connection.get().living()? {
            return connection.engine().host.asgi.headers(py, head);
        }
        let fields = head
            .lines()
            .map(|(name, value)| field_object(py, name, value));
        PyList::new(py, fields.collect::<PyResult<Vec<_>>>()?)
    }

    /// Whether the request has a body.
    #[getter]
    pub(crate) fn has_body(&self) -> PyResult<bool> {
        Ok(self.local()?.has_body)
    }

    /// Whether the client is gone, or was answered by the server itself.
    #[getter]
    pub(crate) fn is_disconnected(&self) -> PyResult<bool> {
        let local = self.local()?;
        let has_ended = local.ended.borrow().is_some();
        Ok(has_ended || !local.is_over.get() && self.connection.get().living()?.is_none())
    }

    /// Whether the client has finished sending. It may still read the response.
    #[getter]
    pub(crate) fn is_peer_finished(&self) -> PyResult<bool> {
        Ok(self.local()?.is_peer_finished.get())
    }

    /// Whether the response was begun.
    #[getter]
    fn is_started(&self) -> PyResult<bool> {
        Ok(self.local()?.is_started.get())
    }

    /// Whether the response is complete.
    #[getter]
    fn is_over(&self) -> PyResult<bool> {
        Ok(self.local()?.is_over.get())
    }

    /// Whether a piece can be sent without more than `write_high_bytes` waiting.
    #[getter]
    pub(crate) fn is_writable(&self) -> PyResult<bool> {
        if self.local()?.is_over.get() {
            return Ok(true);
        }
        Ok(self
            .living()?
            .is_none_or(|connection| connection.has_room()))
    }

    /// Take the next piece of the body: `b""` at its end, None if none is here yet.
    ///
    /// Raises:
    ///     ConnectionClosed: the client went away before the end of the body.
    ///     RuntimeError: the response is complete.
    pub(crate) fn receive(&self, py: Python<'_>) -> PyResult<Option<Py<PyBytes>>> {
        let living = self.living()?;
        let local = self.local()?;
        let piece = local.pieces.borrow_mut().pop_front();
        if let Some(piece) = piece {
            let waiting = local.waiting_bytes.get() - piece.as_bytes(py).len();
            local.waiting_bytes.set(waiting);
            if let Some(connection) = living {
                self.note_taken(py, &connection, waiting)?;
            }
            return Ok(Some(piece));
        }
        if local.is_complete.get() {
            return Ok(Some(PyBytes::new(py, b"").unbind()));
        }
        let ended = local.ended.borrow().clone();
        if let Some(reason) = ended {
            let peer = match (&living, self.connection.get().ended()) {
                (Some(connection), _) => peer_text(connection),
                (None, ended) => ended.map_or_else(String::new, Ended::peer_text),
            };
            return Err(imports::closed_error(py, &reason, &peer));
        }
        let Some(connection) = living else {
            return Err(self.connection.get().closed_error(py));
        };
        let asker = Asker::new(&connection.engine().host);
        connection.wants_body();
        asker.finish(py)?;
        Ok(None)
    }

    /// Send a response that announces the final one, such as 103. A client of HTTP/1.0 gets none.
    ///
    /// Raises:
    ///     ValueError: the status is not from 102 to 199, or a header cannot be sent.
    ///     RuntimeError: the response was begun.
    fn inform(&self, py: Python<'_>, status: u16, headers: &Bound<'_, PyAny>) -> PyResult<()> {
        let Some(connection) = self.living()? else {
            return Ok(());
        };
        if self.local()?.is_started.get() {
            return Err(PyRuntimeError::new_err("the response was begun already"));
        }
        let lines = pairs(headers)?;
        let asker = Asker::new(&connection.engine().host);
        let sent = connection.send_interim(status, lines);
        asker.finish(py)?;
        sent.map_err(PyValueError::new_err)
    }

    /// Send a whole response.
    ///
    /// Raises:
    ///     ValueError: the status is not from 200 to 599, or a header cannot be sent.
    ///     RuntimeError: the response was begun.
    pub(crate) fn respond(
        &self,
        py: Python<'_>,
        status: u16,
        headers: &Bound<'_, PyAny>,
        body: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let Some(connection) = self.living()? else {
            return Ok(());
        };
        let fields = Self::fields(&connection, headers)?;
        let local = self.local()?;
        if local.is_started.get() {
            return Err(PyRuntimeError::new_err("the response was begun already"));
        }
        let asker = Asker::new(&connection.engine().host);
        Self::with_content(body, |content| {
            connection.send_response(status, fields, content)
        })?
        .map_err(|text| {
            if connection.has_begun_response() {
                local.is_started.set(true);
                return Self::broken(&connection, text);
            }
            PyValueError::new_err(text)
        })?;
        local.is_started.set(true);
        self.finish(&connection);
        asker.finish(py)
    }

    /// Send the head of a response. Returns whether a body may follow: not to HEAD, for example.
    ///
    /// Raises:
    ///     ValueError: the status is not from 200 to 599, or a header cannot be sent.
    ///     RuntimeError: the response was begun.
    pub(crate) fn start(
        &self,
        py: Python<'_>,
        status: u16,
        headers: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let Some(connection) = self.living()? else {
            self.local()?.is_started.set(true);
            return Ok(true);
        };
        let fields = Self::fields(&connection, headers)?;
        let asker = Asker::new(&connection.engine().host);
        let has_body = self.begin_response(&connection, status, fields)?;
        asker.finish(py)?;
        Ok(has_body)
    }

    /// Send a piece of the body. Returns False where more than `write_high_bytes` wait: send the
    /// next one when there is room.
    ///
    /// Raises:
    ///     RuntimeError: the response was not begun or is complete, or the body is longer than its
    ///         Content-Length says, which ends the connection.
    pub(crate) fn write(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Some(connection) = self.responding()? else {
            return Ok(true);
        };
        let asker = Asker::new(&connection.engine().host);
        Self::send_data(&connection, data)?;
        asker.finish(py)?;
        Ok(connection.has_room())
    }

    /// Send a part of a file, which the kernel copies. Returns as `write` does.
    ///
    /// The descriptor may be closed afterwards. The loop waits for the disk where the part is not
    /// in the page cache. A file that becomes shorter before it is sent ends the connection.
    ///
    /// Raises:
    ///     RuntimeError: as `write`.
    ///     OSError: the descriptor cannot be duplicated.
    fn write_file(
        &self,
        py: Python<'_>,
        descriptor: i32,
        offset: u64,
        length: usize,
    ) -> PyResult<bool> {
        let Some(connection) = self.responding()? else {
            return Ok(true);
        };
        let part = FilePart::new(duplicate(descriptor)?, offset, length);
        let asker = Asker::new(&connection.engine().host);
        let sent = connection.send_file_body(part);
        sent.map_err(|text| Self::broken(&connection, text))?;
        asker.finish(py)?;
        Ok(connection.has_room())
    }

    /// Whether layers such as TLS change the bytes of the connection, so that a file is read into
    /// memory instead of being copied by the kernel.
    #[getter]
    fn is_layered(&self) -> PyResult<bool> {
        Ok((self.living()?).is_some_and(|connection| connection.has_layers()))
    }

    /// Complete the response. Trailer fields are sent where the body is chunked.
    ///
    /// Raises:
    ///     RuntimeError: the response was not begun or is complete, or the body is shorter than its
    ///         Content-Length says, or a trailer field cannot be sent; the connection ends.
    #[pyo3(signature = (trailers = None))]
    pub(crate) fn end(&self, py: Python<'_>, trailers: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let Some(connection) = self.responding()? else {
            return Ok(());
        };
        let trailers = trailers.map(pairs).transpose()?.unwrap_or_default();
        let asker = Asker::new(&connection.engine().host);
        let ended = connection.end_response(trailers);
        ended.map_err(|text| Self::broken(&connection, text))?;
        self.finish(&connection);
        asker.finish(py)
    }

    /// End the connection with a reset, so that the client sees that the response is not whole.
    fn abort(&self, py: Python<'_>) -> PyResult<()> {
        let local = self.local()?;
        if local.is_over.get() {
            return Ok(());
        }
        let Some(connection) = self.living()? else {
            return Ok(());
        };
        let asker = Asker::new(&connection.engine().host);
        Self::break_off(&connection, "the response was not completed");
        asker.finish(py)
    }

    /// Have this called, without arguments, at each change: a piece has come, there is room again,
    /// the client has finished sending or is gone.
    pub(crate) fn set_waker(&self, waker: Option<Py<PyAny>>) -> PyResult<()> {
        let local = self.local()?;
        let is_open = !local.is_over.get() && local.ended.borrow().is_none();
        let waker = waker.filter(|_| is_open).map(Owned::new);
        let old = local.waker.replace(waker);
        drop(old);
        Ok(())
    }

    /// Return a future that is done at the next change, or at once if there will be none.
    fn changed(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let local = self.local()?;
        let future = waiting::running_loop(py)?.invoke_method(py, "create_future", ())?;
        if local.is_over.get() || self.is_disconnected()? {
            future.invoke_method(py, "set_result", (py.None(),))?;
        } else {
            local.futures.borrow_mut().push(future.clone_ref(py));
        }
        Ok(future)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.connection)?;
        // SAFETY: see `collecting`; what is borrowed is skipped.
        let local = unsafe { self.local.get_anywhere() };
        if let Ok(waker) = local.waker.try_borrow()
            && let Some(waker) = waker.as_ref()
        {
            waker.visit(&visit)?;
        }
        if let Ok(futures) = local.futures.try_borrow() {
            for future in &*futures {
                visit.call(future)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        // SAFETY: only garbage is cleared, which no other thread has.
        let local = unsafe { self.local.get_anywhere() };
        drop((local.waker.take(), local.futures.take()));
    }
}

/// A descriptor of our own for the same file.
fn duplicate(descriptor: i32) -> PyResult<OwnedFd> {
    if descriptor < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF).into());
    }
    // SAFETY: the caller's descriptor is borrowed for this call only; one that is not open is an
    // error.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    Ok(borrowed.try_clone_to_owned()?)
}

/// The header fields of a response, of pairs of bytes or texts.
pub(crate) fn fields(given: &Bound<'_, PyAny>) -> PyResult<Fields> {
    let mut fields = Fields::default();
    let unfit = |it: InvalidHeader| PyValueError::new_err(it.to_string());
    each_pair(given, |name, value| {
        if let (Ok(name), Ok(value)) = (name.cast::<PyBytes>(), value.cast::<PyBytes>()) {
            return fields.add(name.as_bytes(), value.as_bytes()).map_err(unfit);
        }
        fields.add_text(&text(name)?, &text(value)?).map_err(unfit)
    })?;
    Ok(fields)
}

/// Trailer fields, or those of an interim response, as pairs of bytes or texts.
pub(crate) fn pairs(given: &Bound<'_, PyAny>) -> PyResult<Vec<(String, String)>> {
    let mut lines = Vec::new();
    each_pair(given, |name, value| {
        lines.push((text(name)?, text(value)?));
        Ok(())
    })?;
    Ok(lines)
}

/// Do something with each of these pairs.
fn each_pair<'py>(
    given: &Bound<'py, PyAny>,
    mut act: impl FnMut(&Bound<'py, PyAny>, &Bound<'py, PyAny>) -> PyResult<()>,
) -> PyResult<()> {
    let list = if let Ok(list) = given.cast::<PyList>() {
        list.clone()
    } else {
        let class = given.py().get_type::<PyList>().into_any();
        class.invoke((given,))?.cast_into::<PyList>()?
    };
    for line in &list {
        if let Ok(line) = line.cast::<PyTuple>() {
            act(&line.get_item(0)?, &line.get_item(1)?)?;
        } else {
            let line = line.cast::<PyList>()?;
            act(&line.get_item(0)?, &line.get_item(1)?)?;
        }
    }
    Ok(())
}

/// Bytes as the Latin-1 that they are.
fn text(part: &Bound<'_, PyAny>) -> PyResult<String> {
    if let Ok(part) = part.cast::<PyString>() {
        return part.extract();
    }
    let wrong = |_| PyTypeError::new_err("a header field is a pair of bytes or of str");
    let bytes = part.cast::<PyBytes>().map_err(wrong)?.as_bytes();
    Ok(match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => text.to_owned(),
        _ => bytes.iter().copied().map(char::from).collect(),
    })
}
