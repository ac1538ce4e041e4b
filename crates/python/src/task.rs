//! The task of a connection whose handler is a coroutine: how it is told to finish, and what its end
//! means for the connection.

use crate::connection::{Connection, PAUSED_BY_END, PAUSED_BY_INBOX};
use crate::core::Conn;
use crate::imports;
use pyo3::prelude::*;
use std::rc::Rc;
use vespiary_engine::wire::websocket::close::Code;

/// Give a coroutine the end once it has taken what waits; false where the handler is none.
pub(crate) fn finish(connection: &Rc<Conn>, code: u16, reason: &str) -> bool {
    let user = connection.user.borrow();
    let Some(user) = user.as_ref() else {
        return false;
    };
    let Ok(Some(inbox)) = user.object.get().local().map(|local| local.inbox.get()) else {
        return false;
    };
    if inbox.task.borrow().is_none() {
        return false;
    }
    *inbox.close_with.borrow_mut() = Some(Box::new((code, reason.to_owned())));
    connection.pause(PAUSED_BY_INBOX | PAUSED_BY_END);
    if inbox.finish() {
        connection.engine().host.add_wake(&user.object);
    }
    true
}

/// The handler's task has ended: close the connection, or tell of the error.
pub(crate) fn done(connection: &Connection, task: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = task.py();
    let inbox = connection.inbox()?;
    drop(inbox.task.take());
    let living = connection.living()?;
    let failed = if task.call_method0("cancelled")?.is_truthy()? {
        false
    } else {
        let error = task.call_method0("exception")?;
        !error.is_none() && !is_own_end(py, connection, &error)? && {
            crate::report::handler_failed(py, living.as_ref(), &error);
            true
        }
    };
    if let Some(living) = living {
        if failed {
            living.fail_in_handler();
        } else {
            let close_with = inbox.close_with.take();
            let (code, reason) = close_with.map_or((1000, String::new()), |it| *it);
            living.close(Code(code), &reason);
        }
    }
    Ok(())
}

/// A handler that lets the end of its own connection pass through is no failure.
fn is_own_end(py: Python<'_>, connection: &Connection, error: &Bound<'_, PyAny>) -> PyResult<bool> {
    let ended = match connection.living()? {
        Some(living) => !living.is_open(),
        None => true,
    };
    Ok(ended && error.is_instance(imports::connection_closed_class(py)?)?)
}
