//! `Listener`: an endpoint that listens, and the operator's verbs for it.

use crate::core::address_object;
use crate::host::PyHost;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::rc::Rc;
use vespiary_engine::wire::websocket::close::Code;
use vespiary_engine::{Engine, State};

/// A listening endpoint. Only the thread that made it may use it.
#[pyclass(unsendable, module = "vespiary._core")]
pub(crate) struct Listener {
    listener: Rc<vespiary_engine::Listener<PyHost>>,
    engine: Rc<Engine<PyHost>>,
}

impl Listener {
    pub(crate) fn new(
        listener: Rc<vespiary_engine::Listener<PyHost>>,
        engine: Rc<Engine<PyHost>>,
    ) -> Self {
        Self { listener, engine }
    }

    fn connections(&self) -> Vec<Rc<crate::core::Conn>> {
        let mut connections = self.engine.all_connections();
        connections.retain(|it| Rc::ptr_eq(&it.endpoint, &self.listener.endpoint));
        connections.retain(|it| it.state() != State::Closed);
        connections
    }
}

#[pymethods]
impl Listener {
    /// The address it is bound to: (host, port), or a path.
    #[getter]
    fn address(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        address_object(py, Some(&self.listener.address()?))
    }

    /// Name the endpoint anew, now that its port is known.
    fn set_url(&self, url: String) {
        *self.listener.endpoint.host.url.borrow_mut() = url;
    }

    /// Accept nobody until `resume`; who connects waits in the kernel's backlog.
    fn suspend(&self) {
        self.listener.suspend();
    }

    /// Accept again.
    fn resume(&self) {
        self.listener.unsuspend();
    }

    /// Stop listening; connections stay.
    fn close(&self) {
        self.listener.close();
    }

    /// How many connections it has now, handshakes included.
    #[getter]
    fn connection_count(&self) -> usize {
        self.connections().len()
    }

    /// The tasks of the handlers that are async functions.
    fn tasks(&self, py: Python<'_>) -> Vec<Py<PyAny>> {
        let connections = self.connections();
        let task = |it: &Rc<crate::core::Conn>| {
            let user = it.user.borrow();
            user.as_ref()?.object.get().stream().ok()?.task(py)
        };
        connections.iter().filter_map(task).collect()
    }

    /// Begin to close every connection in good order.
    fn close_connections(&self, code: u16, reason: &str) {
        for connection in self.connections() {
            connection.close(Code(code), reason);
        }
    }

    /// Let every connection finish: a coroutine gets what has been received and then the end, and
    /// its connection is closed when it returns; the others are closed at once, in good order.
    fn finish_connections(&self, code: u16, reason: &str) {
        for connection in self.connections() {
            if !crate::stream::finish(&connection, code, reason) {
                connection.close(Code(code), reason);
            }
        }
    }

    /// Reset every connection.
    fn abort_connections(&self) {
        for connection in self.connections() {
            connection.abort();
        }
    }

    /// The endpoint's counters, as the fields of EndpointStatistics.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let endpoint = &self.listener.endpoint;
        let counters = &endpoint.counters;
        let statistics = PyDict::new(py);
        statistics.set_item("url", &*endpoint.host.url.borrow())?;
        statistics.set_item("connections_accepted", counters.accepted.get())?;
        let open = counters.opened.get() - counters.closed.get();
        statistics.set_item("connections_open", open)?;
        statistics.set_item("connections_closed", counters.closed.get())?;
        statistics.set_item("connections_broken", counters.broken.get())?;
        statistics.set_item("handshakes_pending", endpoint.handshaking())?;
        statistics.set_item("connections_refused", counters.refused.borrow().clone())?;
        statistics.set_item("messages_received", counters.messages_in.get())?;
        statistics.set_item("messages_sent", counters.messages_out.get())?;
        statistics.set_item("bytes_received", counters.bytes_in.get())?;
        statistics.set_item("bytes_sent", counters.bytes_out.get())?;
        statistics.set_item("messages_dropped", counters.dropped.get())?;
        statistics.set_item("protocol_errors", counters.protocol_errors.get())?;
        statistics.set_item("write_pauses", counters.write_pauses.get())?;
        statistics.set_item("budget_exhausted", counters.budget_exhausted.get())?;
        statistics.set_item("handler_errors", endpoint.host.handler_errors.get())?;
        statistics.set_item("limits_reached", counters.limits.borrow().clone())?;
        statistics.set_item("accept_errors", counters.accept_errors.borrow().clone())?;
        Ok(statistics)
    }
}
