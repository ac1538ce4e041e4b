//! An endpoint's handler as the native side calls it: its methods taken apart, its errors told, its
//! answers read.

use crate::callback::Callback;
use crate::connection::peer_text;
use crate::core::Conn;
use crate::names;
use crate::options::InboxLimits;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use vespiary_engine::{Answer, CloseReason, Event};

/// A handler's methods, as far as it has them, and what an endpoint counts beside the engine.
pub(crate) struct PyEndpoint {
    pub(crate) url: RefCell<String>,
    pub(crate) open: Option<Callback>,
    pub(crate) message: Option<Callback>,
    pub(crate) part: Option<Callback>,
    pub(crate) drain: Option<Callback>,
    pub(crate) close: Option<Callback>,
    pub(crate) end: Option<Callback>,
    pub(crate) request: Option<Callback>,
    pub(crate) limit: Option<Callback>,
    /// Starts the handler's task, where it is an async function.
    pub(crate) spawn: Option<Callback>,
    /// Told that a client's connect has succeeded, before the handshake.
    pub(crate) connected: Option<Callback>,
    /// Told the outcome of a client's connect and handshake: (connection, None, None, None) or
    /// (None, reason, headers, body).
    pub(crate) outcome: Option<Callback>,
    /// The filters, as two functions of bytes.
    pub(crate) filter_received: Option<Callback>,
    pub(crate) filter_sent: Option<Callback>,
    /// A client without a handler stays open for sending when the peer has finished.
    pub(crate) half_close: bool,
    /// A client without a handler: its messages wait to be received.
    is_client_stream: bool,
    pub(crate) inbox: InboxLimits,
    pub(crate) handler_errors: Cell<u64>,
}

impl PyEndpoint {
    pub(crate) fn new(
        url: String,
        hooks: &Bound<'_, PyDict>,
        inbox: InboxLimits,
    ) -> PyResult<Self> {
        let hook = |name: &str| -> PyResult<Option<Callback>> {
            let found = hooks.get_item(name)?.filter(|it| !it.is_none());
            found.map(|callable| Callback::new(&callable)).transpose()
        };
        Ok(Self {
            url: RefCell::new(url),
            open: hook("open")?,
            message: hook("message")?,
            part: hook("part")?,
            drain: hook("drain")?,
            close: hook("close")?,
            end: hook("end")?,
            request: hook("request")?,
            limit: hook("limit")?,
            spawn: hook("spawn")?,
            connected: hook("connected")?,
            outcome: hook("outcome")?,
            filter_received: hook("filter_received")?,
            filter_sent: hook("filter_sent")?,
            half_close: hooks.contains("half_close")?,
            is_client_stream: hooks.contains("stream")?,
            inbox,
            handler_errors: Cell::new(0),
        })
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.spawn.is_some() || self.is_client_stream
    }
}

/// Log an exception of a handler, and count it.
pub(crate) fn report(py: Python<'_>, connection: Option<&Rc<Conn>>, error: &Bound<'_, PyAny>) {
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
    let told = names::handler_failed(py).and_then(|log| log.call1((url, peer, error)));
    if let Err(error) = told {
        error.write_unraisable(py, None);
    }
}

/// Log that a peer broke a rule of the protocol (RFC 6455 7.1.7).
pub(crate) fn tell_broken(
    py: Python<'_>,
    connection: &Rc<Conn>,
    reason: &CloseReason,
) -> PyResult<()> {
    let url = &connection.endpoint.host.url;
    let told = (&*url.borrow(), peer_text(connection), &*reason.text);
    names::rule_broken(py)?.call1(told).map(drop)
}

/// Count and log an answer of the handler's that cannot be sent.
pub(crate) fn tell_fault(py: Python<'_>, host: &PyEndpoint, text: &str) -> PyResult<()> {
    host.handler_errors.set(host.handler_errors.get() + 1);
    let told = (&*host.url.borrow(), text);
    names::answer_failed(py)?.call1(told).map(drop)
}

/// Tell of a limit that was reached, or of a failure to accept: to the hook, or to the log.
pub(crate) fn tell_event(py: Python<'_>, host: &PyEndpoint, event: Event) -> PyResult<()> {
    let told = match event {
        Event::Limit { limit, value } => match &host.limit {
            None => names::limit_reached(py)?.call1((&*host.url.borrow(), limit.name(), value)),
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
        } => names::accept_failed(py)?.call1((&*host.url.borrow(), errno, pause_milliseconds)),
    };
    told.map(drop)
}

/// An answer as Python's side writes it: `None` or `("accept", protocol, headers)`,
/// `("respond", status, headers, body)`, or the task that will give it.
pub(crate) fn answer_of(answer: &Bound<'_, PyAny>) -> PyResult<Answer> {
    if answer.is_none() {
        return Ok(Answer::Accept {
            protocol: None,
            headers: Vec::new(),
        });
    }
    let Ok(parts) = answer.cast::<PyTuple>() else {
        return Ok(Answer::Later);
    };
    match parts.get_item(0)?.extract::<String>()?.as_str() {
        "accept" => Ok(Answer::Accept {
            protocol: parts.get_item(1)?.extract()?,
            headers: parts.get_item(2)?.extract()?,
        }),
        "respond" => Ok(Answer::Respond {
            status: parts.get_item(1)?.extract()?,
            headers: parts.get_item(2)?.extract()?,
            body: parts.get_item(3)?.extract::<Vec<u8>>()?,
        }),
        other => Err(PyTypeError::new_err(format!(
            "no answer is called {other:?}"
        ))),
    }
}
