//! `Listener`: an endpoint that listens, and the operator's verbs for it.

use crate::addresses::address_object;
use crate::confined::{Confine, Confined};
use crate::core::Conn;
use crate::host::PyHost;
use crate::loop_handle::forked_error;
use crate::thread_calls::{on_loop, wrong_thread};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use vespiary_engine::wire::websocket::close::Code;
use vespiary_engine::{Endpoint, Engine, State};

/// A listening endpoint. Only the thread that made it may use it; it may be dropped on any.
#[pyclass(frozen, module = "vespiary._core")]
pub(crate) struct Listener {
    local: Confined<Local>,
}

struct Local {
    endpoint: Rc<Endpoint<PyHost>>,
    /// Until the loop is closed.
    living: RefCell<Option<Living>>,
}

// SAFETY: never independent.
unsafe impl Confine for Local {}

#[derive(Clone)]
struct Living {
    listener: Rc<vespiary_engine::Listener<PyHost>>,
    engine: Rc<Engine<PyHost>>,
}

impl Living {
    fn connections(&self) -> Vec<Rc<Conn>> {
        let mut connections = self.engine.all_connections();
        connections.retain(|it| Rc::ptr_eq(&it.endpoint, &self.listener.endpoint));
        connections.retain(|it| it.state() != State::Closed);
        connections
    }
}

impl Listener {
    pub(crate) fn new(
        listener: Rc<vespiary_engine::Listener<PyHost>>,
        engine: Rc<Engine<PyHost>>,
    ) -> Self {
        let handle = engine.host.handle().clone();
        let local = Local {
            endpoint: listener.endpoint.clone(),
            living: RefCell::new(Some(Living { listener, engine })),
        };
        Self {
            local: Confined::new(handle, local),
        }
    }

    /// The loop is closed: nothing of the engine is left.
    pub(crate) fn let_go(&self) {
        if let Some(local) = self.local.get() {
            drop(local.living.take());
        }
    }

    fn local(&self) -> PyResult<&Local> {
        let handle = self.local.handle();
        self.local.get().ok_or_else(|| {
            if handle.is_forked() {
                forked_error()
            } else {
                wrong_thread("a listener")
            }
        })
    }

    fn living(&self) -> PyResult<Option<Living>> {
        if self.local.handle().is_forked() {
            // A child has none of its parent's connections.
            return Ok(None);
        }
        Ok(self.local()?.living.borrow().clone())
    }

    fn connections(&self) -> PyResult<Vec<Rc<Conn>>> {
        Ok(self.living()?.map_or_else(Vec::new, |it| it.connections()))
    }
}

#[pymethods]
impl Listener {
    /// The address it is bound to: (host, port), or a path; None once the loop is closed.
    #[getter]
    fn address(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let address = self.living()?.map(|it| it.listener.address()).transpose()?;
        address_object(py, address.as_ref())
    }

    /// Name the endpoint anew, now that its port is known.
    fn set_url(&self, url: String) -> PyResult<()> {
        *self.local()?.endpoint.host.url.borrow_mut() = url.into();
        Ok(())
    }

    /// Accept nobody until `resume`; who connects waits in the kernel's backlog.
    fn suspend(&self) -> PyResult<()> {
        if let Some(living) = self.living()? {
            living.listener.suspend();
        }
        Ok(())
    }

    /// Accept again.
    fn resume(&self) -> PyResult<()> {
        if let Some(living) = self.living()? {
            living.listener.unsuspend();
        }
        Ok(())
    }

    /// Stop listening; connections stay.
    fn close(&self) -> PyResult<()> {
        if let Some(living) = self.living()? {
            living.listener.close();
        }
        Ok(())
    }

    /// Forget the engine: of a listener that has closed only the counters are needed any more.
    fn release(slf: &Bound<'_, Self>) -> PyResult<()> {
        if let Some(living) = slf.get().living()? {
            let mut listeners = living.engine.host.listeners.borrow_mut();
            listeners.retain(|other| !other.is(slf));
        }
        slf.get().let_go();
        Ok(())
    }

    /// Whether it has let go of its socket after `close`, which takes a turn.
    #[getter]
    fn is_closed(&self) -> PyResult<bool> {
        Ok(self
            .living()?
            .is_none_or(|living| living.listener.is_closed()))
    }

    /// How many connections it has now, handshakes included.
    #[getter]
    fn connection_count(&self) -> PyResult<usize> {
        Ok(self.connections()?.len())
    }

    /// The tasks of the handlers that are async functions.
    fn tasks(&self, py: Python<'_>) -> PyResult<Vec<Py<PyAny>>> {
        let connections = self.connections()?;
        let task = |it: &Rc<Conn>| {
            let user = it.user.borrow();
            user.as_ref()?.object.get().inbox().ok()?.task(py)
        };
        Ok(connections.iter().filter_map(task).collect())
    }

    /// Let every connection finish: a coroutine gets what has been received and then the end, and
    /// its connection is closed when it returns; the others are closed at once, in good order.
    fn finish_connections(&self, code: u16, reason: &str) -> PyResult<()> {
        for connection in self.connections()? {
            if !crate::task::finish(&connection, code, reason) {
                connection.close(Code(code), reason);
            }
        }
        Ok(())
    }

    /// The server is stopping: connections say so from now on, and the handler's `on_shutdown` is
    /// called for each that is open. How many were called.
    fn begin_shutdown(&self) -> PyResult<usize> {
        self.local()?.endpoint.host.is_shutting_down.set(true);
        let Some(living) = self.living()? else {
            return Ok(0);
        };
        let mut called = 0;
        for connection in living.connections() {
            if let Some(hook) = &connection.endpoint.host.shutdown
                && connection.is_open()
            {
                living.engine.host.call_alone(&connection, hook);
                called += 1;
            }
        }
        Ok(called)
    }

    /// Reset every connection.
    fn abort_connections(&self) -> PyResult<()> {
        for connection in self.connections()? {
            connection.abort();
        }
        Ok(())
    }

    /// The endpoint's counters, as the fields of EndpointStatistics.
    fn statistics(slf: &Bound<'_, Self>) -> PyResult<Py<PyDict>> {
        let object = slf.clone().unbind();
        on_loop(slf.py(), slf.get().local.handle(), move |py| {
            object.get().counters(py).map(Bound::unbind)
        })
    }
}

impl Listener {
    fn counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let endpoint = &self.local()?.endpoint;
        let counters = &endpoint.counters;
        let statistics = PyDict::new(py);
        statistics.set_item("url", &**endpoint.host.url.borrow())?;
        statistics.set_item("connections_accepted", counters.accepted.get())?;
        let open = counters.opened.get() - counters.closed.get();
        statistics.set_item("connections_open", open)?;
        statistics.set_item("connections_closed", counters.closed.get())?;
        statistics.set_item("connections_broken", counters.broken.get())?;
        statistics.set_item("handshakes_pending", endpoint.handshaking())?;
        statistics.set_item(
            "connections_refused",
            named(py, &counters.refused.borrow())?,
        )?;
        let answered = counters.answered.borrow();
        let answered = answered
            .iter()
            .map(|(status, count)| (status.to_string(), *count));
        statistics.set_item("requests_answered", answered.collect::<BTreeMap<_, _>>())?;
        statistics.set_item("messages_received", counters.messages_in.get())?;
        statistics.set_item("messages_sent", counters.messages_out.get())?;
        statistics.set_item("bytes_received", counters.bytes_in.get())?;
        statistics.set_item("bytes_sent", counters.bytes_out.get())?;
        statistics.set_item("messages_dropped", counters.dropped.get())?;
        statistics.set_item("protocol_errors", counters.protocol_errors.get())?;
        statistics.set_item("write_pauses", counters.write_pauses.get())?;
        statistics.set_item("budget_exhausted", counters.budget_exhausted.get())?;
        statistics.set_item(
            "handler_errors",
            endpoint.host.handler_errors.load(Ordering::Relaxed),
        )?;
        let compression = (
            counters.compression.get(),
            counters.compression_memory.get(),
        );
        statistics.set_item(
            "compression",
            crate::imports::compression_statistics(py, compression)?,
        )?;
        statistics.set_item("limits_reached", named(py, &counters.limits.borrow())?)?;
        statistics.set_item("accept_errors", counters.accept_errors.borrow().clone())?;
        Ok(statistics)
    }
}

/// Counts by the names of what they count.
fn named<'py>(
    py: Python<'py>,
    counts: &BTreeMap<impl Display, u64>,
) -> PyResult<Bound<'py, PyDict>> {
    let named = PyDict::new(py);
    for (what, count) in counts {
        named.set_item(what.to_string(), count)?;
    }
    Ok(named)
}
