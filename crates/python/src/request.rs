//! The request that opened a connection, kept for `connection.request`.
//!
//! Most connections need only a part of their request, and that early. So its head is kept packed,
//! and becomes a `vespiary.request.Request` when it is asked for. An endpoint whose handler does
//! not ask (`Hooks.keeps_request`) releases it once `on_open` has returned.
//!
//! The object refers to its connection. So the connection releases it at its end, and no circle
//! is left for the collector.

use crate::calls::Invoke as _;
use crate::connection::Connection;
use crate::exchange::Exchange;
use crate::imports;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use std::cell::Cell;
use vespiary_engine::wire::http::{self, Packed};

/// What is kept of a request. Boxed, because there are many connections.
#[derive(Default)]
enum Kept {
    /// There was no request: a stream's connection.
    #[default]
    Nothing,
    Head(Box<Head>),
    /// The same, and what it was made into.
    Object(Box<(Head, Py<PyAny>)>),
    /// A client has no request, and keeps the header lines of the server's response.
    Response(Box<Packed>),
    /// It was released, as nobody had asked for it.
    Dropped,
}

/// The head of a request.
struct Head {
    packed: Packed,
    /// The pattern of the path that it matched, a `vespiary.routing.PathPattern`.
    pattern: Option<Py<PyAny>>,
    /// The object that was made of it has the request's body, or reads it, and is not made again.
    has_body: bool,
}

/// A connection's request, as far as it is kept.
#[derive(Default)]
pub(crate) struct KeptRequest(Cell<Kept>);

impl KeptRequest {
    /// Keep a request's head, and the pattern of the path that it matched.
    pub(crate) fn keep(&self, request: &http::Request, pattern: Option<Py<PyAny>>) {
        let packed = Packed::request(request);
        self.set(Kept::Head(Box::new(Head {
            packed,
            pattern,
            has_body: false,
        })));
    }

    /// Keep the header lines of the response to a client's request.
    pub(crate) fn keep_response(&self, headers: &[(String, String)]) {
        self.set(Kept::Response(Box::new(Packed::lines(headers))));
    }

    /// The header fields of the response, as `vespiary.request.Headers`.
    pub(crate) fn response_headers(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let lines = self.look(|kept| match kept {
            Kept::Response(packed) => packed.to_lines(),
            _ => Vec::new(),
        });
        imports::headers_class(py)?
            .invoke((lines,))
            .map(Bound::unbind)
    }

    /// Nobody asked for it while it was there.
    pub(crate) fn drop_unused(&self) {
        if self.look(|kept| matches!(kept, Kept::Head(_))) {
            self.set(Kept::Dropped);
        }
    }

    /// The request was answered: an object that nobody else holds is released, and where the
    /// endpoint does not keep requests its head as well.
    pub(crate) fn settle(&self, is_kept: bool) {
        let is_unshared = |kept: &Kept| match kept {
            // SAFETY: attached, and the object is alive.
            Kept::Object(both) => unsafe { ffi::Py_REFCNT(both.1.as_ptr()) == 1 },
            _ => false,
        };
        if !self.look(is_unshared) {
            return;
        }
        if is_kept {
            self.release_object();
        } else {
            self.set(Kept::Dropped);
        }
    }

    /// The request was answered: nothing needs its body any more, and a connection that waits for
    /// its next request does not hold it.
    pub(crate) fn release_body(&self) {
        if self.look(|kept| matches!(kept, Kept::Object(both) if both.0.has_body)) {
            self.release_object();
        }
    }

    /// Keep the head alone.
    pub(crate) fn release_object(&self) {
        match self.0.take() {
            Kept::Object(both) => {
                let (head, object) = *both;
                self.0.set(Kept::Head(Box::new(head)));
                drop(object);
            }
            other => self.0.set(other),
        }
    }

    fn set(&self, kept: Kept) {
        let old = self.0.replace(kept);
        drop(old);
    }

    fn look<T>(&self, look: impl FnOnce(&Kept) -> T) -> T {
        let kept = self.0.take();
        let found = look(&kept);
        self.0.set(kept);
        found
    }

    /// The request as an object, made when it is first asked for; None on streams.
    pub(crate) fn get(&self, connection: &Bound<'_, Connection>) -> PyResult<Py<PyAny>> {
        self.get_with(connection, b"", None)
    }

    /// The same; where it is made now, it has this body.
    pub(crate) fn get_with_body(
        &self,
        connection: &Bound<'_, Connection>,
        body: &[u8],
    ) -> PyResult<Py<PyAny>> {
        self.get_with(connection, body, None)
    }

    /// The same; it reads its body from this exchange.
    pub(crate) fn get_with_exchange(
        &self,
        connection: &Bound<'_, Connection>,
        exchange: &Py<Exchange>,
    ) -> PyResult<Py<PyAny>> {
        self.get_with(connection, b"", Some(exchange))
    }

    fn get_with(
        &self,
        connection: &Bound<'_, Connection>,
        body: &[u8],
        exchange: Option<&Py<Exchange>>,
    ) -> PyResult<Py<PyAny>> {
        let py = connection.py();
        let (request, pattern) = match self.look(|kept| found(py, kept))? {
            Found::Object(object) => return Ok(object),
            Found::Head(request, pattern) => (request, pattern),
        };
        let object = make(connection, &request, pattern.as_ref(), body, exchange)?;
        if connection.get().ended().is_none() {
            match self.0.take() {
                Kept::Head(mut head) => {
                    head.has_body = !body.is_empty() || exchange.is_some();
                    self.set(Kept::Object(Box::new((*head, object.clone_ref(py)))));
                }
                other => self.set(other),
            }
        }
        Ok(object)
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.look(|kept| match kept {
            Kept::Object(both) => {
                visit.call(&both.0.pattern)?;
                visit.call(&both.1)
            }
            Kept::Head(head) => visit.call(&head.pattern),
            Kept::Nothing | Kept::Response(_) | Kept::Dropped => Ok(()),
        })
    }

    pub(crate) fn clear(&self) {
        drop(self.0.take());
    }
}

/// What a connection has when its request is asked for.
enum Found {
    Object(Py<PyAny>),
    Head(http::Request, Option<Py<PyAny>>),
}

fn found(py: Python<'_>, kept: &Kept) -> PyResult<Found> {
    match kept {
        Kept::Nothing | Kept::Response(_) => Ok(Found::Object(py.None())),
        Kept::Object(both) => Ok(Found::Object(both.1.clone_ref(py))),
        Kept::Head(head) => {
            let pattern = head.pattern.as_ref().map(|it| it.clone_ref(py));
            Ok(Found::Head(head.packed.to_request(), pattern))
        }
        Kept::Dropped => Err(PyRuntimeError::new_err(
            "the request was not kept: read connection.request in on_open, or set \
             keep_request = True on the Handler's class",
        )),
    }
}

fn make(
    connection: &Bound<'_, Connection>,
    request: &http::Request,
    pattern: Option<&Py<PyAny>>,
    body: &[u8],
    exchange: Option<&Py<Exchange>>,
) -> PyResult<Py<PyAny>> {
    let head = (
        request.method(),
        request.path_and_query(),
        request.minor_version,
        request.authority(),
    );
    let lines: Vec<_> = request.lines().collect();
    imports::request_from_native(connection.py())?
        .invoke((connection, head, lines, pattern, body, exchange))
        .map(Bound::unbind)
}
