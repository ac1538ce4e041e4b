//! The scope of an HTTP request: what the application learns of it.
//!
//! See the HTTP message format of ASGI, version 2.5. A scope is a copy of one that has everything
//! that is the same for all requests of an endpoint. Header fields repeat from request to request,
//! so their objects are kept for a while: tuples of bytes, which nobody can change.

use super::start::Lent;
use crate::addresses::address_object;
use crate::calls::Invoke as _;
use crate::core::Conn;
use crate::host::PyHost;
use crate::imports;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use vespiary_engine::port::Address;
use vespiary_engine::wire::http;

/// How many header fields are kept at most: a place for each hash of a field.
const FIELDS_MAX: usize = 512;
/// A longer field is not kept: it is unlikely to come again, and its memory is better used.
const FIELD_BYTES_MAX: usize = 160;

/// What is the same for all requests of an endpoint.
pub(crate) struct Template {
    pub(crate) scope: Py<PyDict>,
    pub(crate) extensions: Py<PyDict>,
    /// The state of the lifespan, of which each request has a copy.
    pub(crate) state: Py<PyDict>,
    /// A proxy has removed this from the paths.
    pub(crate) removed_path: String,
    /// The server's address, where it is a Unix socket's.
    pub(crate) server: Option<Py<PyTuple>>,
    pub(crate) is_behind_proxy: bool,
}

impl Template {
    /// The scope of a request.
    pub(crate) fn make<'py>(
        &self,
        py: Python<'py>,
        host: &PyHost,
        connection: &Rc<Conn>,
        request: &http::Request,
    ) -> PyResult<Bound<'py, PyDict>> {
        let scope = self.scope.bind(py).copy()?;
        // An application may change them, for itself.
        let set =
            |name: &Bound<'py, PyString>, value: Bound<'py, PyAny>| scope.set_item(name, value);
        let extensions = self.extensions.bind(py).copy()?;
        set(pyo3::intern!(py, "extensions"), extensions.into_any())?;
        let state = self.state.bind(py).copy()?;
        set(pyo3::intern!(py, "state"), state.into_any())?;
        let method = method_object(py, request.method());
        set(pyo3::intern!(py, "method"), method)?;
        if request.minor_version == 0 {
            let version = pyo3::intern!(py, "1.0").clone();
            set(pyo3::intern!(py, "http_version"), version.into_any())?;
        }
        let headers = host.asgi.headers(py, request)?;
        set(pyo3::intern!(py, "headers"), headers.into_any())?;
        self.set_path(&scope, &request.path_and_query())?;
        let peer = connection.peer_address();
        let client = match &peer {
            Some(Address::Inet(_)) => host.asgi.client(py, peer.as_ref())?,
            _ => py.None().into_bound(py),
        };
        set(pyo3::intern!(py, "client"), client)?;
        let server = match &self.server {
            Some(server) => server.bind(py).clone().into_any(),
            None => host.asgi.server(py, connection.local_address())?,
        };
        set(pyo3::intern!(py, "server"), server)?;
        if self.is_behind_proxy && connection.is_forwarded() {
            set_scheme(&scope, request)?;
        }
        Ok(scope)
    }

    fn set_path(&self, scope: &Bound<'_, PyDict>, target: &str) -> PyResult<()> {
        let py = scope.py();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let decoded = PyString::new(py, path);
        let decoded = if path.contains('%') {
            imports::unquote(py)?.invoke((decoded,))?
        } else {
            decoded.into_any()
        };
        let (raw_path, path) = if self.removed_path.is_empty() {
            (PyBytes::new(py, path.as_bytes()), decoded)
        } else {
            let removed = &self.removed_path;
            let mut raw: Vec<u8> = removed.chars().map(latin_1_or_question_mark).collect();
            raw.extend_from_slice(path.as_bytes());
            let decoded = decoded.cast::<PyString>()?.to_cow()?;
            let path = PyString::new(py, &format!("{removed}{decoded}"));
            (PyBytes::new(py, &raw), path.into_any())
        };
        scope.set_item(pyo3::intern!(py, "path"), path)?;
        scope.set_item(pyo3::intern!(py, "raw_path"), raw_path)?;
        if !query.is_empty() {
            let query = PyBytes::new(py, query.as_bytes());
            scope.set_item(pyo3::intern!(py, "query_string"), query)?;
        }
        Ok(())
    }
}

fn latin_1_or_question_mark(character: char) -> u8 {
    u8::try_from(character).unwrap_or(b'?')
}

fn method_object<'py>(py: Python<'py>, method: &str) -> Bound<'py, PyAny> {
    let known = match method {
        "GET" => pyo3::intern!(py, "GET"),
        "POST" => pyo3::intern!(py, "POST"),
        "PUT" => pyo3::intern!(py, "PUT"),
        "HEAD" => pyo3::intern!(py, "HEAD"),
        "DELETE" => pyo3::intern!(py, "DELETE"),
        _ => return PyString::new(py, method).into_any(),
    };
    known.clone().into_any()
}

/// Take the scheme from what the proxy has sent, the last where it has sent several.
fn set_scheme(scope: &Bound<'_, PyDict>, request: &http::Request) -> PyResult<()> {
    let py = scope.py();
    let Some(value) = request.header_all("x-forwarded-proto").last() else {
        return Ok(());
    };
    let last = value.rsplit(',').next().unwrap_or_default().trim_ascii();
    let scheme = match &*last.to_ascii_lowercase() {
        "http" | "ws" => pyo3::intern!(py, "http"),
        "https" | "wss" => pyo3::intern!(py, "https"),
        _ => return Ok(()),
    };
    scope.set_item(pyo3::intern!(py, "scheme"), scheme)
}

/// Objects that come again from request to request. They belong to a loop.
#[derive(Default)]
pub(crate) struct Kept {
    fields: Cell<Vec<Option<Field>>>,
    /// The latest address of this end, and its object.
    server: Cell<Option<(Address, Py<PyAny>)>>,
    /// The text of the latest client's IP address: a proxy's is always the same.
    client: Cell<Option<(IpAddr, Py<PyString>)>>,
    /// The spare task that was lent to the latest call.
    pub(super) lent: Cell<Option<Lent>>,
}

/// A header field as it was sent, and its object.
struct Field {
    name: Box<str>,
    value: Box<str>,
    object: Py<PyTuple>,
}

impl Kept {
    /// Hold nothing any more.
    pub(crate) fn clear(&self) {
        drop((self.fields.take(), self.server.take()));
        drop((self.client.take(), self.lent.take()));
    }

    /// Show the collector what may refer to a loop.
    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: see `collecting`; what is taken meanwhile is the holder's, who has it.
        match unsafe { &*self.lent.as_ptr() } {
            Some(lent) => lent.traverse(visit),
            None => Ok(()),
        }
    }

    /// The header fields of a request: names in lower case, and values.
    pub(crate) fn headers<'py>(
        &self,
        py: Python<'py>,
        request: &http::Request,
    ) -> PyResult<Bound<'py, PyList>> {
        // Taken meanwhile: the collector may run, and what it finalizes may ask for headers too.
        let mut kept = self.fields.take();
        if kept.is_empty() {
            kept.resize_with(FIELDS_MAX, || None);
        }
        let mut made = Vec::with_capacity(request.line_count());
        for (name, value) in request.lines() {
            if name.len() + value.len() > FIELD_BYTES_MAX || is_secret(name) {
                made.push(field_object(py, name, value)?);
                continue;
            }
            let place = &mut kept[hash(name, value) % FIELDS_MAX];
            if let Some(field) = place
                && *field.name == *name
                && *field.value == *value
            {
                made.push(field.object.bind(py).clone());
                continue;
            }
            let object = field_object(py, name, value)?;
            *place = Some(Field {
                name: name.into(),
                value: value.into(),
                object: object.clone().unbind(),
            });
            made.push(object);
        }
        drop(self.fields.replace(kept));
        PyList::new(py, made)
    }

    fn client<'py>(
        &self,
        py: Python<'py>,
        address: Option<&Address>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let socket = match address {
            Some(Address::Inet(SocketAddr::V4(v4))) => SocketAddr::V4(*v4),
            Some(Address::Inet(SocketAddr::V6(v6))) if v6.scope_id() == 0 => SocketAddr::V6(*v6),
            other => return Ok(address_object(py, other)?.into_bound(py)),
        };
        let (ip, text) = match self.client.take() {
            Some((ip, text)) if ip == socket.ip() => (ip, text),
            _ => {
                let text = PyString::new(py, &socket.ip().to_string());
                (socket.ip(), text.unbind())
            }
        };
        let object = (text.bind(py), socket.port()).into_pyobject(py)?;
        drop(self.client.replace(Some((ip, text))));
        Ok(object.into_any())
    }

    fn server<'py>(
        &self,
        py: Python<'py>,
        address: Option<Address>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let Some(address) = address else {
            return Ok(py.None().into_bound(py));
        };
        let latest = self.server.take();
        let latest = match latest {
            Some((latest, object)) if latest == address => (latest, object),
            _ => {
                let object = address_object(py, Some(&address))?;
                (address, object)
            }
        };
        let object = latest.1.bind(py).clone();
        drop(self.server.replace(Some(latest)));
        Ok(object)
    }
}

/// Whether fields of this name hold what is better not kept.
fn is_secret(name: &str) -> bool {
    let secrets = ["cookie", "authorization", "proxy-authorization"];
    secrets
        .iter()
        .any(|secret| name.eq_ignore_ascii_case(secret))
}

/// A header field as ASGI has it.
pub(crate) fn field_object<'py>(
    py: Python<'py>,
    name: &str,
    value: &str,
) -> PyResult<Bound<'py, PyTuple>> {
    let name = PyBytes::new_with(py, name.len(), |bytes| {
        bytes.copy_from_slice(name.as_bytes());
        bytes.make_ascii_lowercase();
        Ok(())
    })?;
    let value = if value.is_ascii() {
        PyBytes::new(py, value.as_bytes())
    } else {
        let bytes: Vec<u8> = value.chars().map(|it| it as u8).collect();
        PyBytes::new(py, &bytes)
    };
    PyTuple::new(py, [name, value])
}

/// A hash of a field. Nothing depends on its quality: two fields of one hash replace each other.
fn hash(name: &str, value: &str) -> usize {
    let mut hash = (name.len() as u64) << 8 ^ value.len() as u64;
    for part in [name.as_bytes(), value.as_bytes()] {
        let (words, rest) = part.as_chunks::<8>();
        for word in words {
            hash = mixed(hash, u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        hash = mixed(hash, u64::from_le_bytes(last));
    }
    (hash >> 32) as usize
}

fn mixed(hash: u64, word: u64) -> u64 {
    let mixed = (hash ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ mixed >> 32
}
