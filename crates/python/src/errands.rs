//! The verbs of a connection, asked for here or from another thread.

use crate::connection::{Connection, PAUSED_BY_USER};
use crate::shared::Errand;
use pyo3::prelude::*;
use vespiary_engine::wire::websocket::close::Code;

impl Connection {
    /// Carry out what another thread asked for.
    pub(crate) fn run_errand(py: Python<'_>, errand: Errand) {
        let outcome = match &errand {
            Errand::Send(connection, message, compress) => {
                let message = message.bind(py);
                connection.get().send_for_another(py, message, *compress)
            }
            Errand::Close(connection, code, reason) => connection.get().close_now(*code, reason),
            Errand::Abort(connection) => connection.get().abort_now(),
            Errand::Pause(connection) => connection.get().set_reading(false),
            Errand::Resume(connection) => connection.get().set_reading(true),
            Errand::Fail(connection, error) => connection.get().fail_now(py, Some(error.bind(py))),
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
            crate::endpoint::report(py, living.as_ref(), error);
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
