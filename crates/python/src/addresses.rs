//! Addresses in the form that Python code uses.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use std::net::{IpAddr, SocketAddr};
use vespiary_engine::port::Address;

/// (host, port) for an IP address, a path for a Unix socket.
pub(crate) fn address_object(py: Python<'_>, address: Option<&Address>) -> PyResult<Py<PyAny>> {
    match address {
        Some(Address::Inet(address)) => {
            let host = match address {
                // A link-local address is ambiguous without its zone (RFC 4007 section 11).
                SocketAddr::V6(v6) if v6.scope_id() != 0 => {
                    format!("{}%{}", v6.ip(), v6.scope_id())
                }
                other => other.ip().to_string(),
            };
            let address = (host, address.port()).into_pyobject(py)?;
            Ok(address.into_any().unbind())
        }
        Some(Address::Unix(path)) if path.as_os_str().is_empty() => Ok(py.None()),
        Some(Address::Unix(path)) => {
            let path = path.as_os_str();
            Ok(path.into_pyobject(py)?.into_any().unbind())
        }
        Some(other) => Ok(other.to_string().into_pyobject(py)?.into_any().unbind()),
        None => Ok(py.None()),
    }
}

/// An address in a line of the log, as `vespiary._logging.address_text` writes it; empty where it
/// is unknown, or a Unix socket without a name.
pub(crate) fn address_text(address: Option<&Address>) -> String {
    match address {
        Some(Address::Unix(path)) if path.as_os_str().is_empty() => String::new(),
        Some(address) => address.to_string(),
        None => String::new(),
    }
}

/// An address as the Python side writes it: (ip, port), or a path.
pub(crate) fn address_of(address: &Bound<'_, PyAny>) -> PyResult<Address> {
    if let Ok(path) = address.cast::<PyString>() {
        return Ok(Address::Unix(path.to_str()?.into()));
    }
    let (host, port): (String, u16) = address.cast::<PyTuple>()?.extract()?;
    // With a scope behind it (RFC 4007 section 11), only an address in brackets is understood.
    let scoped = || format!("[{host}]:{port}").parse().map(SocketAddr::V6);
    let found = host
        .parse::<IpAddr>()
        .map(|ip| SocketAddr::new(ip, port))
        .or_else(|_| scoped());
    let wrong = |_| PyValueError::new_err(format!("{host:?} is not an IP address"));
    found.map(Address::Inet).map_err(wrong)
}
