//! `Site`: an endpoint of a server, with its handler, its options and its connections; listeners
//! accept for it.

use crate::callback::Callback;
use crate::confined::{Confine, Confined};
use crate::connection::Connection;
use crate::core::Conn;
use crate::host::PyHost;
use crate::loop_handle::forked_error;
use crate::options;
use crate::thread_calls::{on_loop, wrong_thread};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::rc::{Rc, Weak};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use vespiary_engine::{Endpoint, Engine, Options, State};

/// An endpoint of a server. Only the thread that made it may use it; it may be dropped on any.
#[pyclass(frozen, module = "vespiary._core")]
pub(crate) struct Site {
    local: Confined<Rc<Local>>,
    ended: Ended,
}

/// The part of a site that belongs to the loop's thread.
pub(crate) struct Local {
    endpoint: RefCell<Option<Rc<Endpoint<PyHost>>>>,
    engine: Weak<Engine<PyHost>>,
    ended: Ended,
}

/// Its counters when the loop was closed, for any thread.
type Ended = Arc<OnceLock<Py<PyDict>>>;

// SAFETY: never independent.
unsafe impl Confine for Rc<Local> {}

impl Local {
    pub(crate) fn living(&self) -> Option<Rc<Endpoint<PyHost>>> {
        self.endpoint.borrow().clone()
    }

    /// The loop is closed: keep what was counted, and not the handler, which may hold the server
    /// and so the site.
    pub(crate) fn let_go(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(endpoint) = self.living() {
            let _ = self.ended.set(counters(py, &endpoint)?.unbind());
            let before = self.endpoint.take();
            drop(before);
        }
        Ok(())
    }
}

impl Site {
    pub(crate) fn new(endpoint: Rc<Endpoint<PyHost>>, engine: &Rc<Engine<PyHost>>) -> Self {
        let ended = Ended::default();
        let local = Rc::new(Local {
            endpoint: RefCell::new(Some(endpoint)),
            engine: Rc::downgrade(engine),
            ended: ended.clone(),
        });
        engine.host.add_site(Rc::downgrade(&local));
        Self {
            local: Confined::new(engine.host.handle().clone(), local),
            ended,
        }
    }

    /// Raises `RuntimeError` once the loop is closed.
    pub(crate) fn endpoint(&self) -> PyResult<Rc<Endpoint<PyHost>>> {
        let living = self.local()?.living();
        living.ok_or_else(|| PyRuntimeError::new_err("the loop is closed"))
    }

    fn local(&self) -> PyResult<&Rc<Local>> {
        let handle = self.local.handle();
        self.local.get().ok_or_else(|| {
            if handle.is_forked() {
                forked_error()
            } else {
                wrong_thread("an endpoint")
            }
        })
    }

    fn note_shutdown(&self, is_shutting_down: bool) -> PyResult<()> {
        if let Some(endpoint) = self.local()?.living() {
            let lasting = &endpoint.host.lasting;
            (lasting.is_shutting_down).store(is_shutting_down, Ordering::Relaxed);
        }
        Ok(())
    }

    fn connections(&self) -> PyResult<Vec<Rc<Conn>>> {
        if self.local.handle().is_forked() {
            // A child has none of its parent's connections.
            return Ok(Vec::new());
        }
        let local = self.local()?;
        let (Some(engine), Some(endpoint)) = (local.engine.upgrade(), local.living()) else {
            return Ok(Vec::new());
        };
        let mut connections = engine.all_connections();
        connections.retain(|it| Rc::ptr_eq(it.endpoint(), &endpoint));
        connections.retain(|it| it.state() != State::Closed);
        Ok(connections)
    }
}

#[pymethods]
impl Site {
    /// Name the endpoint again, now that its port is known.
    fn set_url(&self, url: String) -> PyResult<()> {
        *self.endpoint()?.host.url.borrow_mut() = url.into();
        Ok(())
    }

    /// Have `route(target, authority, is_upgrade)` choose the site, of those that share the address
    /// with this one, for each request; None is answered 404.
    fn set_route(&self, route: &Bound<'_, PyAny>) -> PyResult<()> {
        let route = Callback::new(route)?;
        *self.endpoint()?.host.route.borrow_mut() = Some(route);
        Ok(())
    }

    /// The server is stopping: connections say so from now on.
    fn begin_shutdown(&self) -> PyResult<()> {
        self.note_shutdown(true)
    }

    /// The endpoint has stopped, and serves again.
    fn end_shutdown(&self) -> PyResult<()> {
        self.note_shutdown(false)
    }

    /// How many connections it has now, handshakes included.
    #[getter]
    fn connection_count(&self) -> PyResult<usize> {
        Ok(self.connections()?.len())
    }

    /// Its connections that the handler has seen: those that are open, and those whose request is
    /// being answered.
    fn connections_of_handler(&self, py: Python<'_>) -> PyResult<Vec<Py<Connection>>> {
        let object = |it: &Rc<Conn>| Some(it.user.borrow().as_ref()?.object.clone_ref(py));
        Ok(self.connections()?.iter().filter_map(object).collect())
    }

    /// Use other limits and deadlines from now on: `options` are those of `Core.site`, of which
    /// nothing else may differ.
    fn set_bounds(&self, options: &Bound<'_, PyDict>) -> PyResult<()> {
        let (new, _, _) = options::read(options)?;
        let endpoint = self.endpoint()?;
        let mut changed = Options::clone(&endpoint.options());
        changed.limits = new.limits;
        changed.deadlines = new.deadlines;
        *endpoint.options.borrow_mut() = changed.into();
        Ok(())
    }

    /// What waits to be sent on its connections: how many have some, and the bytes of all.
    fn queues(&self) -> PyResult<(usize, usize)> {
        let connections = self.connections()?;
        let queued = connections.iter().map(|it| it.queued_bytes());
        let waiting = queued.filter(|bytes| *bytes > 0);
        Ok(waiting.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes)))
    }

    /// Close the connections that the handler has not seen, or not since their latest request.
    /// Those whose handshake or request has only begun may complete it, if `keep_handshakes`.
    /// Return how many are kept.
    fn close_unseen(&self, keep_handshakes: bool) -> PyResult<usize> {
        let mut kept = 0;
        for connection in self.connections()? {
            if connection.user.borrow().is_some() {
                continue;
            }
            if keep_handshakes && matches!(connection.state(), State::Securing | State::Handshaking)
            {
                kept += 1;
            } else {
                connection.close_unasked();
            }
        }
        Ok(kept)
    }

    /// Reset every connection.
    fn abort_connections(&self) -> PyResult<()> {
        for connection in self.connections()? {
            connection.abort();
        }
        Ok(())
    }

    /// The endpoint's counters, as the fields of EndpointStatistics; after the close of the loop
    /// those of then.
    fn statistics(slf: &Bound<'_, Self>) -> PyResult<Py<PyDict>> {
        let object = slf.clone().unbind();
        let asked = on_loop(slf.py(), slf.get().local.handle(), move |py| {
            let endpoint = object.get().endpoint()?;
            counters(py, &endpoint).map(Bound::unbind)
        });
        match slf.get().ended.get() {
            Some(counters) => counters.bind(slf.py()).copy().map(Bound::unbind),
            None => asked,
        }
    }
}

/// What an endpoint has counted.
fn counters<'py>(py: Python<'py>, endpoint: &Endpoint<PyHost>) -> PyResult<Bound<'py, PyDict>> {
    let counters = &endpoint.counters;
    let statistics = PyDict::new(py);
    statistics.set_item("url", &*endpoint.host.url.borrow().clone())?;
    statistics.set_item("connections_accepted", counters.accepted.get())?;
    let open = counters.opened.get() - counters.closed.get();
    statistics.set_item("connections_open", open)?;
    statistics.set_item("connections_finishing", endpoint.finishing())?;
    statistics.set_item("connections_closed", counters.closed.get())?;
    statistics.set_item("connections_broken", counters.broken.get())?;
    statistics.set_item("handshakes_pending", endpoint.handshaking())?;
    // Cloned, because the collector may call a finalizer while dictionaries are made.
    let refused = named(py, counters.refused.borrow().clone())?;
    statistics.set_item("connections_refused", refused)?;
    let answered = counters.answered.borrow().clone();
    let answered = answered
        .iter()
        .map(|(status, count)| (status.to_string(), *count));
    statistics.set_item("requests_answered", answered.collect::<BTreeMap<_, _>>())?;
    let codes = counters.close_codes.borrow().clone();
    statistics.set_item("close_codes", named(py, codes)?)?;
    statistics.set_item("messages_received", counters.messages_in.get())?;
    statistics.set_item("messages_sent", counters.messages_out.get())?;
    statistics.set_item("bytes_received", counters.bytes_in.get())?;
    statistics.set_item("bytes_sent", counters.bytes_out.get())?;
    statistics.set_item("messages_dropped", counters.dropped.get())?;
    statistics.set_item("datagrams_received", counters.datagrams_in.get())?;
    statistics.set_item("datagrams_sent", counters.datagrams_out.get())?;
    let dropped = named(py, counters.datagrams_dropped.borrow().clone())?;
    statistics.set_item("datagrams_dropped", dropped)?;
    let errors = counters.datagram_errors.borrow().clone();
    statistics.set_item("datagram_errors", errors)?;
    statistics.set_item("protocol_errors", counters.protocol_errors.get())?;
    statistics.set_item("write_pauses", counters.write_pauses.get())?;
    statistics.set_item("budget_exhausted", counters.budget_exhausted.get())?;
    statistics.set_item(
        "handler_errors",
        endpoint.host.lasting.handler_errors.load(Ordering::Relaxed),
    )?;
    let compression = (
        counters.compression.get(),
        counters.compression_memory.get(),
    );
    statistics.set_item(
        "compression",
        crate::imports::compression_statistics(py, compression)?,
    )?;
    let limits = named(py, counters.limits.borrow().clone())?;
    statistics.set_item("limits_reached", limits)?;
    let errors = counters.accept_errors.borrow().clone();
    statistics.set_item("accept_errors", errors)?;
    Ok(statistics)
}

/// Counts by the names of what they count.
fn named(py: Python<'_>, counts: BTreeMap<impl Display, u64>) -> PyResult<Bound<'_, PyDict>> {
    let named = PyDict::new(py);
    for (what, count) in counts {
        named.set_item(what.to_string(), count)?;
    }
    Ok(named)
}
