//! The verbs of a connection, asked for here or from another thread.

use crate::connection::{Connection, PAUSED_BY_USER};
use pyo3::prelude::*;
use vespiary_engine::wire::websocket::close::Code;

/// Something to be done on the loop's thread.
pub(crate) enum ThreadCall {
    Send(Py<Connection>, Py<PyAny>, Option<bool>),
    Close(Py<Connection>, u16, String),
    Abort(Py<Connection>),
    Pause(Py<Connection>),
    Resume(Py<Connection>),
    /// The handler raised this.
    Fail(Py<Connection>, Py<PyAny>),
}

impl Connection {
    /// Carry out what another thread asked for.
    pub(crate) fn run_thread_call(py: Python<'_>, call: ThreadCall) {
        let outcome = match &call {
            ThreadCall::Send(connection, message, compress) => {
                let message = message.bind(py);
                connection.get().send_for_another(py, message, *compress)
            }
            ThreadCall::Close(connection, code, reason) => {
                connection.get().close_now(*code, reason)
            }
            ThreadCall::Abort(connection) => connection.get().abort_now(),
            ThreadCall::Pause(connection) => connection.get().set_reading(false),
            ThreadCall::Resume(connection) => connection.get().set_reading(true),
            ThreadCall::Fail(connection, error) => {
                connection.get().fail_now(py, Some(error.bind(py)))
            }
        };
        if let Err(error) = outcome {
            error.write_unraisable(py, None);
        }
    }

    pub(crate) fn close_now(&self, code: u16, reason: &str) -> PyResult<()> {
        if let Some(connection) = self.living()? {
            connection.close(Code(code), reason);
        }
        Ok(())
    }

    pub(crate) fn fail_now(
        &self,
        py: Python<'_>,
        error: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let living = self.living()?;
        if let Some(error) = error {
            crate::report::handler_failed(py, living.as_ref(), error);
        }
        if let Some(connection) = living {
            connection.fail_in_handler();
        }
        Ok(())
    }

    pub(crate) fn abort_now(&self) -> PyResult<()> {
        if let Some(connection) = self.living()? {
            connection.abort();
        }
        Ok(())
    }

    pub(crate) fn set_reading(&self, on: bool) -> PyResult<()> {
        if let Some(connection) = self.living()? {
            if on {
                connection.resume(PAUSED_BY_USER);
            } else {
                connection.pause(PAUSED_BY_USER);
            }
        }
        Ok(())
    }
}
