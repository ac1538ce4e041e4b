//! The request that opened a connection, kept for `connection.request`.
//!
//! Most connections need only a part of their request, and that early. So its head is kept as one
//! piece of text, and becomes a `vespiary.request.Request` when it is asked for. An endpoint whose
//! handler does not ask (`Hooks.keeps_request`) lets go of it once `on_open` has returned.
//!
//! The object refers to its connection. So at the connection's end it becomes a head again, and no
//! circle is left for the collector.

use crate::calls::{Ask as _, Invoke as _};
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
    Head(Head),
    /// What it was made into, and the pattern of the path that it matched.
    Object(Py<PyAny>, Option<Py<PyAny>>),
    /// A client has no request, and keeps the header lines of the server's response, packed as
    /// those of a head are.
    Response(Box<str>),
    /// It was let go, as nobody had asked for it.
    Dropped,
}

/// The head of a request.
struct Head {
    /// Its parts, each behind a line feed, which none of them contains.
    packed: Box<str>,
    /// The pattern of the path that it matched, a `vespiary.routing.PathPattern`.
    pattern: Option<Py<PyAny>>,
}

/// A connection's request, as far as it is kept: a pointer, which is null on streams.
#[derive(Default)]
pub(crate) struct KeptRequest(Cell<Option<Arc<Kept>>>);

/// Shared by all connections whose request was let go, so that it takes no memory of theirs.
static DROPPED: LazyLock<Arc<Kept>> = LazyLock::new(|| Arc::new(Kept::Dropped));

impl KeptRequest {
    /// Keep a request's head, and the pattern of the path that it matched.
    pub(crate) fn keep(&self, request: &http::Request, pattern: Option<Py<PyAny>>) {
        let packed = pack(request);
        self.set(Kept::Head(Head { packed, pattern }));
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
            .invoke((lines,))
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
            Some(Kept::Object(object, _)) => unsafe { ffi::Py_REFCNT(object.as_ptr()) == 1 },
            _ => false,
        };
        if self.look(is_unshared) {
            if is_kept {
                let pattern = self.take_pattern();
                self.keep(request, pattern);
            } else {
                self.set(Kept::Dropped);
            }
        }
    }

    /// The connection has ended: an object becomes a head again.
    pub(crate) fn let_go_of_object(&self, py: Python<'_>) -> PyResult<()> {
        let object = self.look(|kept| match kept {
            Some(Kept::Object(object, _)) => Some(object.clone_ref(py)),
            _ => None,
        });
        let Some(object) = object else {
            return Ok(());
        };
        let pattern = self.take_pattern();
        let packed = pack_object(object.bind(py))?;
        self.set(Kept::Head(Head { packed, pattern }));
        Ok(())
    }

    /// The pattern of an object that is let go; nothing else is kept then.
    fn take_pattern(&self) -> Option<Py<PyAny>> {
        match self.0.take().and_then(Arc::into_inner) {
            Some(Kept::Object(_, pattern)) => pattern,
            _ => None,
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
            Some(Kept::Object(object, _)) => Ok(Err(object.clone_ref(py))),
            Some(Kept::Head(head)) => Ok(Ok(Head {
                packed: head.packed.clone(),
                pattern: head.pattern.as_ref().map(|it| it.clone_ref(py)),
            })),
            Some(Kept::Dropped) => Err(PyRuntimeError::new_err(
                "the request was not kept: read connection.request in on_open, or set \
                 keep_request = True on the Handler's class",
            )),
        })?;
        let head = match head {
            Ok(head) => head,
            Err(object) => return Ok(object),
        };
        let object = unpack(connection, &head)?;
        if connection.get().ended().is_none() {
            self.set(Kept::Object(object.clone_ref(py), head.pattern));
        }
        Ok(object)
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.look(|kept| match kept {
            Some(Kept::Object(object, pattern)) => {
                visit.call(pattern)?;
                visit.call(object)
            }
            Some(Kept::Head(head)) => visit.call(&head.pattern),
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

/// The same from the object that a head was made into.
fn pack_object(object: &Bound<'_, PyAny>) -> PyResult<Box<str>> {
    let mut packed = String::with_capacity(256);
    let mut add = |part: &str| {
        packed.push_str(part);
        packed.push('\n');
    };
    add(&object.attribute("method")?.extract::<String>()?);
    add(&object.attribute("target")?.extract::<String>()?);
    add(&object.attribute("minor_version")?.text()?);
    let authority = object.attribute("authority")?.extract::<Option<String>>()?;
    add(&authority.unwrap_or_default());
    let lines = object.attribute("headers")?.attribute("lines")?;
    for (name, value) in lines.extract::<Vec<(String, String)>>()? {
        add(&name);
        add(&value);
    }
    Ok(packed.into_boxed_str())
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

fn unpack(connection: &Bound<'_, Connection>, kept: &Head) -> PyResult<Py<PyAny>> {
    let py = connection.py();
    let mut parts = kept.packed.split_terminator('\n');
    let mut next = || parts.next().unwrap_or_default();
    let (method, target) = (next(), next());
    let minor_version = next().parse::<u8>().unwrap_or(1);
    let authority = Some(next()).filter(|authority| !authority.is_empty());
    let head = (method, target, minor_version, authority);
    let headers = unpack_headers(py, parts)?;
    imports::request_from_native(py)?
        .invoke((connection, head, headers, &kept.pattern))
        .map(Bound::unbind)
}
