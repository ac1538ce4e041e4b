//! Logging: the native code passes what happened to `vespiary._logging`.

use crate::addresses::address_text;
use crate::calls::Invoke as _;
use crate::connection::{Connection, peer_text};
use crate::context::{self, Entered};
use crate::core::Conn;
use crate::endpoint::PyEndpoint;
use crate::imports;
use crate::owned::release;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyInt, PyString};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use vespiary_engine::port::Address;
use vespiary_engine::{CloseReason, Denial, Event, Limit};

/// Log an exception of a connection's handler, and count it.
pub(crate) fn handler_failed(py: Python<'_>, connection: &Rc<Conn>, error: &Bound<'_, PyAny>) {
    let host = &connection.endpoint().host;
    host.lasting.handler_errors.fetch_add(1, Ordering::Relaxed);
    log_handler_error(py, &host.url.borrow(), &peer_text(connection), error);
}

/// The same for a connection that has ended.
pub(crate) fn handler_failed_late(
    py: Python<'_>,
    connection: &Connection,
    error: &Bound<'_, PyAny>,
) {
    match connection.ended() {
        Some(ended) => {
            ended.lasting.handler_errors.fetch_add(1, Ordering::Relaxed);
            log_handler_error(py, &ended.url, &ended.peer_text(), error);
        }
        None => callback_failed(py, "handler", error),
    }
}

fn log_handler_error(py: Python<'_>, url: &str, peer: &str, error: &Bound<'_, PyAny>) {
    let logged = imports::handler_failed(py).and_then(|log| log.invoke((url, peer, error)));
    if let Err(error) = logged {
        error.write_unraisable(py, None);
    }
}

/// Log an exception of a handler for a datagram, with those that came before it unlogged.
pub(crate) fn datagram_failed(py: Python<'_>, url: &str, peer: &Bound<'_, PyAny>, error: PyErr) {
    let error = error.into_value(py).into_bound(py).into_any();
    let logged = imports::datagram_failed(py).and_then(|log| log.invoke((url, peer, &error)));
    release(error.unbind());
    if let Err(error) = logged {
        error.write_unraisable(py, None);
    }
}

/// Log an exception of a callback that belongs to no connection: of a timer, say.
pub(crate) fn callback_failed(py: Python<'_>, what: &str, error: &Bound<'_, PyAny>) {
    let logged = imports::callback_failed(py).and_then(|log| log.invoke((what, error)));
    if let Err(error) = logged {
        error.write_unraisable(py, None);
    }
}

/// Log that a connection or a request was refused.
pub(crate) fn log_denial(
    py: Python<'_>,
    host: &PyEndpoint,
    peer: Option<Address>,
    denial: Denial<'_>,
) -> PyResult<()> {
    let peer = address_text(peer.as_ref());
    let Denial {
        status,
        text,
        advice,
        is_ours,
    } = denial;
    let facts = (&**host.url.borrow(), peer, status, text, advice, is_ours);
    imports::denied(py)?.invoke(facts).map(drop)
}

/// Log that a peer broke a rule of the protocol (RFC 6455 7.1.7).
pub(crate) fn log_rule_broken(
    py: Python<'_>,
    connection: &Rc<Conn>,
    reason: &CloseReason,
) -> PyResult<()> {
    let url = &connection.endpoint().host.url;
    let facts = (&**url.borrow(), peer_text(connection), &*reason.text);
    imports::rule_broken(py)?.invoke(facts).map(drop)
}

/// Count and log that a connection is closed within a message that is sent in parts.
#[cold]
pub(crate) fn message_cut(py: Python<'_>, connection: &Rc<Conn>) {
    let host = &connection.endpoint().host;
    host.lasting.handler_errors.fetch_add(1, Ordering::Relaxed);
    let facts = (&**host.url.borrow(), peer_text(connection));
    let logged = imports::message_cut(py).and_then(|log| log.invoke(facts));
    if let Err(error) = logged {
        error.write_unraisable(py, None);
    }
}

/// Count and log a response of the handler's that cannot be sent.
pub(crate) fn log_response_fault(
    py: Python<'_>,
    connection: &Rc<Conn>,
    text: &str,
) -> PyResult<()> {
    let endpoint = connection.asked_endpoint();
    let host = &endpoint.host;
    host.lasting.handler_errors.fetch_add(1, Ordering::Relaxed);
    let hook = host.request.as_ref().map(|hook| &*hook.function);
    let facts = (&**host.url.borrow(), peer_text(connection), text, hook);
    imports::response_failed(py)?.invoke(facts).map(drop)
}

/// A limit's value in the unit of its name: seconds where it is a deadline.
fn in_unit(py: Python<'_>, limit: Limit, value: u64) -> Bound<'_, PyAny> {
    if limit.is_deadline() {
        let seconds = Duration::from_millis(value).as_secs_f64();
        PyFloat::new(py, seconds).into_any()
    } else {
        PyInt::new(py, value).into_any()
    }
}

/// Report a limit that was reached, or a failure to accept: to the hook, or to the log.
pub(crate) fn report_event(py: Python<'_>, host: &PyEndpoint, event: Event) -> PyResult<()> {
    let reported = match event {
        Event::Limit { limit, value } => match (&host.limit, in_unit(py, limit, value)) {
            (None, value) => {
                imports::limit_reached(py)?.invoke((&**host.url.borrow(), limit.name(), value))
            }
            (Some(hook), value) => {
                let name = PyString::new(py, limit.name());
                let context = context::copy(py, &host.context)?;
                let _entered = Entered::enter(py, &context)?;
                // SAFETY: both are alive.
                let result = unsafe { hook.call(py, &[name.as_ptr(), value.as_ptr()]) }?;
                hook.check_result(&result)?;
                Ok(result)
            }
        },
        Event::AcceptFailed {
            errno,
            pause_milliseconds,
        } => imports::accept_failed(py)?.invoke((&**host.url.borrow(), errno, pause_milliseconds)),
    };
    reported.map(drop)
}
