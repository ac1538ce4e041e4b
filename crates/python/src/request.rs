//! The request that opened a connection, kept for `connection.request`.
//!
//! Most connections need only a part of their request, and that early. So its head is kept as one
//! piece of text, and becomes a `vespiary.request.Request` when it is asked for. An endpoint whose
//! handler does not ask (`Hooks.keeps_request`) lets go of it once `on_open` has returned.

use crate::connection::Connection;
use crate::imports;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyList;
use std::cell::Cell;
use std::sync::{Arc, LazyLock};
use vespiary_engine::wire::http;

/// What is kept of a request.
enum Kept {
    /// The head's parts, each behind a line feed, which none of them contains.
    Head(Box<str>),
    Object(Py<PyAny>),
    /// A client has no request, and keeps the header lines of the server's response, packed as
    /// those of a head are.
    Response(Box<str>),
    /// It was let go, as nobody had asked for it.
    Dropped,
}

/// A connection's request, as far as it is kept: a pointer, which is null on streams.
#[derive(Default)]
pub(crate) struct KeptRequest(Cell<Option<Arc<Kept>>>);

/// Shared by all connections whose request was let go, so that it takes no memory of theirs.
static DROPPED: LazyLock<Arc<Kept>> = LazyLock::new(|| Arc::new(Kept::Dropped));

impl KeptRequest {
    /// Keep a request's head.
    pub(crate) fn keep(&self, request: &http::Request) {
        self.set(Kept::Head(pack(request)));
    }

    /// Keep the header lines of the response to a client's request.
    pub(crate) fn keep_response(&self, headers: &[(String, String)]) {
        let mut packed = String::with_capacity(128);
        for part in headers.iter().flat_map(|(name, value)| [name, value]) {
            packed.push_str(part);
            packed.push('\n');
        }
        self.set(Kept::Response(packed.into_boxed_str()));
    }

    /// The header fields of the response, as `vespiary.request.Headers`.
    pub(crate) fn response_headers(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let packed = self.look(|kept| match kept {
            Some(Kept::Response(packed)) => packed.clone(),
            _ => Box::default(),
        });
        let lines = unpack_headers(py, packed.split_terminator('\n'))?;
        imports::headers_class(py)?
            .call1((lines,))
            .map(Bound::unbind)
    }

    /// Nobody asked for it while it was there.
    pub(crate) fn drop_unused(&self) {
        if self.look(|kept| matches!(kept, Some(Kept::Head(_)))) {
            self.set(Kept::Dropped);
        }
    }

    /// The request was answered: an object that nobody else holds becomes a head again, or is let
    /// go.
    pub(crate) fn settle(&self, request: &http::Request, is_kept: bool) {
        let is_unshared = |kept: Option<&Kept>| match kept {
            // SAFETY: attached, and the object is alive.
            Some(Kept::Object(object)) => unsafe { ffi::Py_REFCNT(object.as_ptr()) == 1 },
            _ => false,
        };
        if self.look(is_unshared) {
            self.set(if is_kept {
                Kept::Head(pack(request))
            } else {
                Kept::Dropped
            });
        }
    }

    fn set(&self, kept: Kept) {
        let kept = match kept {
            Kept::Dropped => DROPPED.clone(),
            kept => Arc::new(kept),
        };
        let old = self.0.replace(Some(kept));
        drop(old);
    }

    fn look<T>(&self, look: impl FnOnce(Option<&Kept>) -> T) -> T {
        let kept = self.0.take();
        let found = look(kept.as_deref());
        self.0.set(kept);
        found
    }

    /// The request as an object, made when it is first asked for; None on streams.
    pub(crate) fn get(&self, connection: &Bound<'_, Connection>) -> PyResult<Py<PyAny>> {
        let py = connection.py();
        let head = self.look(|kept| match kept {
            None | Some(Kept::Response(_)) => Ok(Err(py.None())),
            Some(Kept::Object(object)) => Ok(Err(object.clone_ref(py))),
            Some(Kept::Head(head)) => Ok(Ok(head.clone())),
            Some(Kept::Dropped) => Err(PyRuntimeError::new_err(
                "the request was not kept: read connection.request in on_open, or set \
                 keep_request = True on the Handler's class",
            )),
        })?;
        let object = match head {
            Ok(head) => unpack(connection, &head)?,
            Err(object) => return Ok(object),
        };
        self.set(Kept::Object(object.clone_ref(py)));
        Ok(object)
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.look(|kept| match kept {
            Some(Kept::Object(object)) => visit.call(object),
            _ => Ok(()),
        })
    }

    pub(crate) fn clear(&self) {
        drop(self.0.take());
    }
}

fn pack(request: &http::Request) -> Box<str> {
    let mut packed = String::with_capacity(256);
    let mut add = |part: &str| {
        packed.push_str(part);
        packed.push('\n');
    };
    add(&request.method);
    add(&request.path_and_query());
    add(&request.minor_version.to_string());
    add(request.authority().unwrap_or_default());
    for (name, value) in &request.headers {
        add(name);
        add(value);
    }
    packed.into_boxed_str()
}

fn unpack_headers<'py, 'a>(
    py: Python<'py>,
    mut parts: impl Iterator<Item = &'a str>,
) -> PyResult<Bound<'py, PyList>> {
    let headers = PyList::empty(py);
    while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
        headers.append((name, value))?;
    }
    Ok(headers)
}

fn unpack(connection: &Bound<'_, Connection>, packed: &str) -> PyResult<Py<PyAny>> {
    let py = connection.py();
    let mut parts = packed.split_terminator('\n');
    let mut next = || parts.next().unwrap_or_default();
    let (method, target) = (next(), next());
    let minor_version = next().parse::<u8>().unwrap_or(1);
    let authority = Some(next()).filter(|authority| !authority.is_empty());
    let head = (method, target, minor_version, authority);
    let headers = unpack_headers(py, parts)?;
    let living = connection.get().living()?;
    let endpoint = living.map(|living| living.asked_endpoint());
    let pattern = endpoint
        .as_ref()
        .and_then(|it| it.host.path_pattern.as_ref());
    imports::request_from_native(py)?
        .call1((connection, head, headers, pattern))
        .map(Bound::unbind)
}
