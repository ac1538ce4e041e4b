//! What the engine reports of a request's body and of a response in progress, and the exchange that
//! it is for.

use crate::asgi::application::Application;
use crate::attachment::HasRare as _;
use crate::callback::Callback;
use crate::connection::Connection;
use crate::core::Conn;
use crate::exchange::Exchange;
use crate::host::PyHost;
use crate::response;
use pyo3::prelude::*;
use std::rc::Rc;
use vespiary_engine::wire::http;
use vespiary_engine::{Answer, Cause, CloseReason};

/// The exchange of a connection's request, if there is one.
pub(crate) fn find(connection: &Conn) -> Option<Py<Exchange>> {
    let attachment = connection.user.borrow();
    let py = connection.engine().host.py();
    attachment.as_ref()?.exchange(py)
}

/// The request is answered in another way: the exchange, if there is one, is over.
pub(crate) fn end(connection: &Rc<Conn>) {
    if let Some(exchange) = find(connection) {
        drop(connection.replace_exchange(None));
        let reason = CloseReason::new(Cause::Answered, "the request was answered");
        let py = connection.engine().host.py();
        exchange.get().end_early(py, connection, reason);
    }
}

/// The exchange by which the current request is answered piece by piece; internal.
#[pyfunction]
fn exchange_of(py: Python<'_>, connection: &Bound<'_, Connection>) -> PyResult<Py<Exchange>> {
    let Some(living) = connection.get().living()? else {
        return Err(connection.get().closed_error(py));
    };
    if let Some(exchange) = find(&living) {
        return Ok(exchange);
    }
    Exchange::of_body(py, &connection.clone().unbind(), &living, false)
}

impl PyHost {
    /// Hand a request to a host of applications.
    pub(crate) fn hand_over_exchange(
        &self,
        connection: &Rc<Conn>,
        hook: &Callback,
        request: http::Request,
    ) -> Answer {
        let called = self.object(connection).and_then(|object| {
            let endpoint = connection.asked_endpoint();
            if let Some(application) = &endpoint.host.application {
                let application = application.bind(self.py());
                return Application::call(application, self, &object, connection, request);
            }
            let exchange = Exchange::of_request(self.py(), &object, connection, request)?;
            let attachment = connection.user.borrow();
            let attachment = attachment.as_ref().expect("the object was just attached");
            // SAFETY: the exchange is alive.
            unsafe { self.call_only(connection, attachment, hook, &[exchange.as_ptr()]) }
        });
        let Err(error) = called else {
            return Answer::Later;
        };
        self.note(self.py(), Some(connection), error);
        let has_started = find(connection).is_some_and(|it| it.get().has_started());
        end(connection);
        if has_started || connection.has_answer() {
            connection.break_response("the handler failed");
            return Answer::Later;
        }
        response::failed()
    }

    /// Tell the exchange of a connection, if there is one, what has happened.
    pub(crate) fn tell(&self, connection: &Rc<Conn>, act: impl FnOnce(&Exchange, Python<'_>)) {
        if let Some(exchange) = find(connection) {
            act(exchange.get(), self.py());
        }
    }
}

/// Add it to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Exchange>()?;
    module.add_function(wrap_pyfunction!(exchange_of, module)?)
}
