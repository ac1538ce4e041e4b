//! `Application`: an ASGI application at an endpoint, and what its calls share.

use super::call::HttpCall;
use super::scope::Template;
use super::start;
use crate::callback::left_another;
use crate::connection::Connection;
use crate::context::{self, Entered};
use crate::core::Conn;
use crate::exchange::Exchange;
use crate::host::PyHost;
use crate::process;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use std::rc::Rc;
use vespiary_engine::wire::http;

/// What an endpoint calls for each request of an ASGI application: the hook `exchange`.
#[pyclass(frozen, module = "vespiary._core")]
pub(crate) struct Application {
    pub(crate) app: Py<PyAny>,
    /// The calls that have a task.
    pub(crate) calls: Py<PyAny>,
    /// A `vespiary.http._eager.Starter`.
    pub(crate) starter: Py<PyAny>,
    pub(crate) task_name: Py<PyString>,
    pub(crate) has_access_log: bool,
    pub(crate) template: Template,
    /// A task of its own for each call costs little: CPython 3.12 and later (`eager_start`).
    pub(crate) has_eager_tasks: bool,
}

#[pymethods]
impl Application {
    /// An application, the set of its calls with a task, and what begins those; a scope that has
    /// everything that is the same for all requests, the state of the lifespan, the path that a
    /// proxy has removed, and the address of the endpoint where that is a Unix socket's.
    #[new]
    #[pyo3(signature = (
        app, calls, starter, task_name, *, scope, extensions, state, removed_path, server,
        is_behind_proxy, has_access_log
    ))]
    #[allow(clippy::too_many_arguments)] // Named, on the Python side.
    fn new(
        py: Python<'_>,
        app: Py<PyAny>,
        calls: Py<PyAny>,
        starter: Py<PyAny>,
        task_name: Py<PyString>,
        scope: Py<PyDict>,
        extensions: Py<PyDict>,
        state: Py<PyDict>,
        removed_path: String,
        server: Option<Py<PyTuple>>,
        is_behind_proxy: bool,
        has_access_log: bool,
    ) -> Self {
        Self {
            app,
            calls,
            starter,
            task_name,
            has_access_log,
            template: Template {
                scope,
                extensions,
                state,
                removed_path,
                server,
                is_behind_proxy,
            },
            has_eager_tasks: py.version_info() >= (3, 12),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.app)?;
        visit.call(&self.calls)?;
        visit.call(&self.starter)?;
        visit.call(&self.template.scope)?;
        visit.call(&self.template.state)
    }
}

impl Application {
    /// Call it for a request.
    pub(crate) fn call(
        slf: &Bound<'_, Self>,
        host: &PyHost,
        object: &Py<Connection>,
        connection: &Rc<Conn>,
        request: http::Request,
    ) -> PyResult<()> {
        let py = slf.py();
        let scope = (slf.get().template).make(py, host, connection, &request)?;
        let exchange = Exchange::of_request(py, object, connection, request)?;
        let call = Bound::new(py, HttpCall::new(slf, exchange, scope))?;
        // Each request has a context of its own.
        let context = context::copy(py, &connection.asked_endpoint().host.context)?;
        let entered = Entered::enter(py, &context)?;
        let begun = start::begin(slf, host, &call, &context);
        if host.handle().is_forked() {
            process::end_child(py, begun.err());
        }
        if !entered.leave() {
            return Err(left_another(py, begun.map(|()| py.None().into_bound(py))));
        }
        begun
    }
}
