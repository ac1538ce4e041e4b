//! What is logged: the native side's facts, given to `vespiary._logging`.

use crate::connection::peer_text;
use crate::core::Conn;
use crate::endpoint::PyEndpoint;
use crate::imports;
use pyo3::prelude::*;
use pyo3::types::PyString;
use std::rc::Rc;
use vespiary_engine::{CloseReason, Event};

/// Log an exception of a handler, and count it.
pub(crate) fn handler_failed(
    py: Python<'_>,
    connection: Option<&Rc<Conn>>,
    error: &Bound<'_, PyAny>,
) {
    let mut url = String::new();
    let mut peer = String::new();
    if let Some(connection) = connection {
        let host = &connection.endpoint.host;
        host.handler_errors.set(host.handler_errors.get() + 1);
        url.clone_from(&host.url.borrow());
        peer = connection
            .peer_address()
            .map(|it| it.to_string())
            .unwrap_or_default();
    }
    let told = imports::handler_failed(py).and_then(|log| log.call1((url, peer, error)));
    if let Err(error) = told {
        error.write_unraisable(py, None);
    }
}

/// Log that a peer broke a rule of the protocol (RFC 6455 7.1.7).
pub(crate) fn log_rule_broken(
    py: Python<'_>,
    connection: &Rc<Conn>,
    reason: &CloseReason,
) -> PyResult<()> {
    let url = &connection.endpoint.host.url;
    let told = (&*url.borrow(), peer_text(connection), &*reason.text);
    imports::rule_broken(py)?.call1(told).map(drop)
}

/// Count and log an answer of the handler's that cannot be sent.
pub(crate) fn log_response_fault(py: Python<'_>, host: &PyEndpoint, text: &str) -> PyResult<()> {
    host.handler_errors.set(host.handler_errors.get() + 1);
    let told = (&*host.url.borrow(), text);
    imports::answer_failed(py)?.call1(told).map(drop)
}

/// Tell of a limit that was reached, or of a failure to accept: to the hook, or to the log.
pub(crate) fn report_event(py: Python<'_>, host: &PyEndpoint, event: Event) -> PyResult<()> {
    let told = match event {
        Event::Limit { limit, value } => match &host.limit {
            None => imports::limit_reached(py)?.call1((&*host.url.borrow(), limit.name(), value)),
            Some(hook) => {
                let name = PyString::new(py, limit.name());
                let value = value.into_pyobject(py).expect("a number converts");
                // SAFETY: both are alive.
                unsafe { hook.call(py, &[name.as_ptr(), value.as_ptr()]) }
            }
        },
        Event::AcceptFailed {
            errno,
            pause_milliseconds,
        } => imports::accept_failed(py)?.call1((&*host.url.borrow(), errno, pause_milliseconds)),
    };
    told.map(drop)
}
