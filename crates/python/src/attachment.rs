//! What the host attaches to a connection: its object, its context, and the few things that end
//! with it.
//!
//! A connection may end before it was opened, with futures, timers and a request's task waiting for
//! it; so they are released when the attachment is dropped, regardless of the end.

use crate::calls::{Invoke as _, InvokeOwned as _};
use crate::connection::{Connection, peer_text};
use crate::context;
use crate::core::Conn;
use crate::endpoint::PyEndpoint;
use crate::exchange::Exchange;
use crate::imports;
use crate::inbox::Inbox;
use crate::owned::Owned;
use crate::parts;
use crate::ping::Pings;
use crate::timer;
use crate::timers::TimerId;
use crate::waiting;
use pyo3::ffi;
use pyo3::prelude::*;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use vespiary_engine::{Cause, CloseReason};
use vespiary_tls::{Facts, TlsHandle};

/// What the host keeps for a connection.
pub(crate) struct Attachment {
    /// The connection's object. Its reference is not counted while it is lent (see `dropped`).
    pub(crate) object: Py<Connection>,
    /// The `contextvars.Context` of its handler, from the first call on.
    context: OnceCell<Owned>,
    /// The current request and its response, where they come piece by piece.
    pub(crate) exchange: Cell<Option<Py<Exchange>>>,
    /// What most connections never need; it takes one word in these.
    pub(crate) rare: OnceCell<Box<RefCell<Rare>>>,
}

/// What waits for a connection, and ends with it.
#[derive(Default)]
pub(crate) struct Rare {
    /// Futures of `wait_closed()`.
    pub(crate) closers: Vec<Py<PyAny>>,
    /// Pings without a pong.
    pub(crate) pings: Pings,
    /// Timers that have not fired.
    pub(crate) timers: HashSet<TimerId>,
    /// The task that will answer the request.
    pub(crate) answering: Option<Py<PyAny>>,
    /// The sender of a message in parts.
    pub(crate) part_sender: Option<Box<parts::Sender>>,
    /// A thread waits for its end, and nothing has ever been received.
    pub(crate) ends_with_peer: bool,
    /// Its filters, which may refer to it.
    pub(crate) filters: Option<Py<PyAny>>,
    /// The tasks of asynchronous filters: of received bytes, and of those to be sent.
    pub(crate) filtering: [Option<Py<PyAny>>; 2],
    /// Answers what its TLS has agreed on.
    pub(crate) tls: Option<TlsHandle>,
    /// Futures of `start_tls()`.
    pub(crate) securers: Vec<Py<PyAny>>,
}

impl Attachment {
    pub(crate) fn new(object: Py<Connection>) -> Self {
        Self {
            object,
            context: OnceCell::new(),
            exchange: Cell::default(),
            rare: OnceCell::new(),
        }
    }

    fn inbox(&self) -> Option<&Inbox> {
        // SAFETY: an attachment belongs to the loop's thread, and is dropped where that is.
        let local = unsafe { self.object.get().local.get_anywhere() };
        local.inbox.get().map(|inbox| &**inbox)
    }

    /// Whether the reference to the object is not counted.
    pub(crate) fn is_lent(&self) -> bool {
        self.inbox().is_some_and(|inbox| inbox.is_lent.get())
    }

    /// Do not count the reference to the object any more: its finalizer counts it again.
    pub(crate) fn lend(&self) {
        if self
            .inbox()
            .is_some_and(|inbox| !inbox.is_lent.replace(true))
        {
            // SAFETY: attached, on the loop's thread. The object stays valid until the finalizer
            // has counted this reference again.
            unsafe { ffi::Py_DECREF(self.object.as_ptr()) };
        }
    }

    /// Count it again. Returns whether it was lent.
    pub(crate) fn take_back(&self) -> bool {
        let was_lent = self
            .inbox()
            .is_some_and(|inbox| inbox.is_lent.replace(false));
        if was_lent {
            // SAFETY: as above.
            unsafe { ffi::Py_INCREF(self.object.as_ptr()) };
        }
        was_lent
    }

    /// The context that its handler runs in.
    #[inline]
    pub(crate) fn context(&self, py: Python<'_>, endpoint: &PyEndpoint) -> PyResult<&Py<PyAny>> {
        match self.context.get() {
            Some(context) => Ok(context),
            None => self.make_context(py, endpoint),
        }
    }

    /// What TLS has agreed on; nothing before the end of its handshake.
    pub(crate) fn tls_facts(&self) -> Option<Box<Facts>> {
        let rare = self.rare.get()?.try_borrow().ok()?;
        rare.tls.as_ref()?.facts().map(Box::new)
    }

    /// That context, if there is one yet.
    pub(crate) fn made_context(&self) -> Option<&Py<PyAny>> {
        self.context.get().map(|context| &**context)
    }

    #[cold]
    fn make_context(&self, py: Python<'_>, endpoint: &PyEndpoint) -> PyResult<&Py<PyAny>> {
        let context = context::copy(py, &endpoint.context)?;
        Ok(self.context.get_or_init(|| Owned::new(context)))
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.take_back();
        let living = self.object.get().living().ok().flatten();
        let tls = self.tls_facts();
        self.object.get().detach(tls);
        if let Ok(Some(inbox)) = self.object.get().local().map(|local| local.inbox.get()) {
            inbox.let_go();
        }
        let Some(living) = living else {
            return;
        };
        // A handler that reads the body learns of the end there, and continues.
        let mut is_read = false;
        if let Some(exchange) = self.exchange.take() {
            is_read = exchange.get().awaits_body();
            let reason = living.reason();
            let reason = reason.unwrap_or_else(|| CloseReason::new(Cause::Aborted, ""));
            let py = living.engine().host.py();
            exchange.get().end_early(py, &living, reason);
        }
        if let Some(rare) = self.rare.take() {
            rare.into_inner().let_go(&living, is_read);
        }
    }
}

impl Rare {
    /// The connection is gone: nothing waits for it any more. The task that answers is cancelled,
    /// unless it reads the request's body.
    #[cold]
    fn let_go(self, connection: &Rc<Conn>, is_read: bool) {
        let engine = connection.engine();
        let py = engine.host.py();
        for id in self.timers {
            timer::forget(engine, id);
        }
        let mut outcome = Ok(());
        let answering = self.answering.filter(|_| !is_read);
        for task in self.filtering.into_iter().chain([answering]).flatten() {
            outcome = outcome.and(task.invoke_method(py, "cancel", ()).map(drop));
        }
        if let Some(reason) = connection.reason() {
            outcome = outcome.and(resolve_closers(py, self.closers, &reason));
            let peer = peer_text(connection);
            outcome = outcome.and(self.pings.end(py, &reason, &peer));
            outcome = outcome.and(waiting::not_secured(py, self.securers, &reason, &peer));
        }
        if let Err(error) = outcome {
            engine.host.note(py, Some(connection), error);
        }
    }
}

/// What the host keeps besides the connection's object.
pub(crate) trait HasRare {
    /// Change the rare part, made when it is first needed; nothing once the connection has ended.
    fn rare<T>(&self, act: impl FnOnce(&mut Rare) -> T) -> Option<T>;
    /// Change the rare part, where it was made.
    fn made_rare<T>(&self, act: impl FnOnce(&mut Rare) -> T) -> Option<T>;
    /// Keep another exchange, or none. Returns the one that was kept before.
    fn replace_exchange(&self, exchange: Option<Py<Exchange>>) -> Option<Py<Exchange>>;
}

impl HasRare for Conn {
    fn rare<T>(&self, act: impl FnOnce(&mut Rare) -> T) -> Option<T> {
        let attachment = self.user.borrow();
        let rare = attachment.as_ref()?.rare.get_or_init(Box::default);
        Some(act(&mut rare.borrow_mut()))
    }

    fn made_rare<T>(&self, act: impl FnOnce(&mut Rare) -> T) -> Option<T> {
        let attachment = self.user.borrow();
        let rare = attachment.as_ref()?.rare.get()?;
        Some(act(&mut rare.borrow_mut()))
    }

    fn replace_exchange(&self, exchange: Option<Py<Exchange>>) -> Option<Py<Exchange>> {
        let attachment = self.user.borrow();
        attachment.as_ref()?.exchange.replace(exchange)
    }
}

impl Attachment {
    /// The current exchange, if there is one.
    pub(crate) fn exchange(&self, py: Python<'_>) -> Option<Py<Exchange>> {
        let exchange = self.exchange.take();
        let found = exchange.as_ref().map(|it| it.clone_ref(py));
        self.exchange.set(exchange);
        found
    }
}

/// A connection's filters, made by `make` at the first call.
pub(crate) fn filters(connection: &Conn, make: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    let py = make.py();
    let kept = connection.rare(|rare| rare.filters.as_ref().map(|it| it.clone_ref(py)));
    if let Some(filters) = kept.flatten() {
        return Ok(filters);
    }
    let filters = make.invoke(())?.unbind();
    drop(connection.rare(|rare| rare.filters.replace(filters.clone_ref(py))));
    Ok(filters)
}

/// Resolve the futures of wait_closed().
pub(crate) fn resolve_closers(
    py: Python<'_>,
    closers: Vec<Py<PyAny>>,
    reason: &CloseReason,
) -> PyResult<()> {
    for future in closers {
        waiting::settle(
            py,
            &future,
            "set_result",
            imports::close_reason(py, reason)?,
        )?;
    }
    Ok(())
}
