//! What the native side keeps for an endpoint: its handler's methods, ready to be called.

use crate::asgi::application::Application;
use crate::callback::Callback;
use crate::hooks::Hooks;
use crate::options::InboxLimits;
use crate::tls::EndpointTls;
use pyo3::prelude::*;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

/// What its connections know of it after their end too, on any thread.
#[derive(Default)]
pub(crate) struct Lasting {
    pub(crate) handler_errors: AtomicU64,
    pub(crate) is_shutting_down: AtomicBool,
}

/// A handler's methods, as far as it has them, and what an endpoint counts besides the engine.
pub(crate) struct PyEndpoint {
    pub(crate) url: RefCell<Arc<str>>,
    pub(crate) open: Option<Callback>,
    pub(crate) message: Option<Callback>,
    pub(crate) part: Option<Callback>,
    pub(crate) datagram: Option<Callback>,
    pub(crate) drain: Option<Callback>,
    pub(crate) subscribe: Option<Callback>,
    pub(crate) unsubscribe: Option<Callback>,
    pub(crate) close: Option<Callback>,
    pub(crate) working: Option<Callback>,
    pub(crate) end: Option<Callback>,
    pub(crate) request: Option<Callback>,
    pub(crate) exchange: Option<Callback>,
    /// The same, where an ASGI application answers.
    pub(crate) application: Option<Py<Application>>,
    pub(crate) limit: Option<Callback>,
    pub(crate) shutdown: Option<Callback>,
    pub(crate) timer: Option<Callback>,
    pub(crate) spawn: Option<Callback>,
    pub(crate) connected: Option<Callback>,
    pub(crate) outcome: Option<Callback>,
    pub(crate) step: Option<Callback>,
    pub(crate) filter_received: Option<Callback>,
    pub(crate) filter_sent: Option<Callback>,
    pub(crate) half_close: bool,
    receives: bool,
    pub(crate) keeps_request: bool,
    pub(crate) inbox: InboxLimits,
    pub(crate) lasting: Arc<Lasting>,
    pub(crate) path_pattern: Option<Py<PyAny>>,
    /// Which endpoint of the address serves a request; None where this one serves all.
    pub(crate) route: RefCell<Option<Callback>>,
    /// The server's context, or a copy of the one in which connect was called: each connection gets
    /// a copy of it.
    pub(crate) context: Py<PyAny>,
    pub(crate) tls: Option<EndpointTls>,
}

impl PyEndpoint {
    pub(crate) fn new(
        url: String,
        hooks: &Bound<'_, Hooks>,
        inbox: InboxLimits,
        context: Py<PyAny>,
        tls: Option<EndpointTls>,
    ) -> PyResult<Self> {
        let py = hooks.py();
        let hooks = hooks.borrow();
        let callback = |hook: &Option<Py<PyAny>>| -> PyResult<Option<Callback>> {
            hook.as_ref()
                .map(|hook| Callback::new(hook.bind(py)))
                .transpose()
        };
        Ok(Self {
            url: RefCell::new(url.into()),
            open: callback(&hooks.open)?,
            message: callback(&hooks.message)?,
            part: callback(&hooks.part)?,
            datagram: callback(&hooks.datagram)?,
            drain: callback(&hooks.drain)?,
            subscribe: callback(&hooks.subscribe)?,
            unsubscribe: callback(&hooks.unsubscribe)?,
            close: callback(&hooks.close)?,
            working: callback(&hooks.working)?,
            end: callback(&hooks.end)?,
            request: callback(&hooks.request)?,
            exchange: callback(&hooks.exchange)?,
            application: (hooks.exchange.as_ref())
                .and_then(|hook| hook.bind(py).cast::<Application>().ok())
                .map(|application| application.clone().unbind()),
            limit: callback(&hooks.limit)?,
            shutdown: callback(&hooks.shutdown)?,
            timer: callback(&hooks.timer)?,
            spawn: callback(&hooks.spawn)?,
            connected: callback(&hooks.connected)?,
            outcome: callback(&hooks.outcome)?,
            step: callback(&hooks.step)?,
            filter_received: callback(&hooks.filter_received)?,
            filter_sent: callback(&hooks.filter_sent)?,
            half_close: hooks.half_close,
            receives: hooks.receives,
            keeps_request: hooks.keeps_request,
            inbox,
            lasting: Arc::default(),
            path_pattern: hooks.path_pattern.as_ref().map(|it| it.clone_ref(py)),
            route: RefCell::new(None),
            context,
            tls,
        })
    }

    /// The pattern of the paths that it serves, where that has parameters.
    pub(crate) fn pattern(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.path_pattern.as_ref().map(|it| it.clone_ref(py))
    }

    /// Whether messages wait in an inbox to be received.
    pub(crate) fn has_inbox(&self) -> bool {
        self.spawn.is_some() || self.receives
    }

    /// Whether the program receives them, and no handler of ours: a client's.
    pub(crate) fn is_received_by_program(&self) -> bool {
        self.spawn.is_none() && self.receives
    }
}
