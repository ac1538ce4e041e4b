//! The task of a connection whose handler is a coroutine: how it is asked to finish, and what its
//! end means for the connection.

use crate::attachment::HasRare as _;
use crate::calls::{Ask as _, Invoke as _};
use crate::connection::{Connection, PAUSED_BY_END, PAUSED_BY_INBOX, close};
use crate::core::Conn;
use crate::imports;
use crate::inbox::Inbox;
use crate::report;
use crate::waiting;
use pyo3::exceptions::{
    PyBaseExceptionGroup, PyException, PyKeyboardInterrupt, PySystemExit, asyncio::CancelledError,
};
use pyo3::prelude::*;
use std::rc::Rc;
use vespiary_engine::State;
use vespiary_engine::wire::websocket::close::Code;

/// Let a connection end because its server is stopping. Returns what it does now:
///
/// * `ended`: nothing, it has ended already;
/// * `answering`: its request is being answered, ask again later;
/// * `cue`: the handler's `on_shutdown` has to be called;
/// * `finishing`: its coroutine gets the messages that wait and then the end of its iteration, and
///   the connection is closed when it returns;
/// * `sending`: a message in parts is under way, ask again later;
/// * `closing`: it is closed once what is queued is written.
#[pyfunction]
fn cue_stop(connection: &Connection, code: u16, reason: &str) -> PyResult<&'static str> {
    let Some(living) = connection.living()? else {
        return Ok("ended");
    };
    match living.state() {
        State::Closed => return Ok("ended"),
        State::Handshaking if is_answering(&living)? => return Ok("answering"),
        State::Open if living.endpoint().host.shutdown.is_some() => return Ok("cue"),
        State::Open if finish(&living, code, reason) => return Ok("finishing"),
        State::Open if living.is_within_message() => return Ok("sending"),
        _ => living.close(Code(code), reason),
    }
    Ok("closing")
}

/// Whether a task of the host's is about to answer its request, or has just done so: an answer is
/// written when the round is settled.
fn is_answering(connection: &Rc<Conn>) -> PyResult<bool> {
    if connection.has_answer() {
        return Ok(true);
    }
    let user = connection.user.borrow();
    let Some(user) = user.as_ref() else {
        return Ok(false);
    };
    let Some(rare) = user.rare.get() else {
        return Ok(false);
    };
    let rare = rare.borrow();
    let Some(task) = rare.answering.as_ref() else {
        return Ok(false);
    };
    let py = connection.engine().host.py();
    Ok(!waiting::is_done(py, task)?)
}

/// Put an object into the inbox of a connection whose handler is a coroutine, behind the messages
/// that wait there; false when it has ended.
#[pyfunction]
fn push(connection: &Bound<'_, Connection>, message: Py<PyAny>) -> PyResult<bool> {
    let Some(living) = connection.get().living()? else {
        return Ok(false);
    };
    if connection.get().inbox()?.push(&living, message) {
        let object = connection.clone().unbind();
        living.engine().host.add_wake(&object);
    }
    Ok(true)
}

/// Close a connection in the way that its server's stop asked for, else because the peer has
/// finished, else normally.
#[pyfunction]
fn close_as_told(connection: &Connection) -> PyResult<()> {
    if let Some(living) = connection.living()? {
        let told = connection.local()?.inbox.get().and_then(|inbox| {
            let told = inbox.close_with.take();
            inbox.close_with.set(told.clone());
            told
        });
        close_with(&living, told);
    }
    Ok(())
}

/// Whether the peer's FIN ends a stream although it stands behind messages, which nobody receives.
#[pyfunction]
fn end_with_peer(connection: &Connection, on: bool) -> PyResult<()> {
    if let Some(living) = connection.living()? {
        living.rare(|rare| rare.ends_with_peer = on);
    }
    Ok(())
}

fn close_with(connection: &Rc<Conn>, told: Option<Box<(u16, String)>>) {
    if told.is_none() && connection.close_after_peer() {
        return;
    }
    let (code, reason) = told.map_or((1000, String::new()), |it| *it);
    close(connection, code, &reason);
}

/// Add the functions of tasks to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(cue_stop, module)?)?;
    module.add_function(wrap_pyfunction!(push, module)?)?;
    module.add_function(wrap_pyfunction!(close_as_told, module)?)?;
    module.add_function(wrap_pyfunction!(end_with_peer, module)?)
}

/// Give a coroutine the end once it has taken what waits; false where there is none that runs.
fn finish(connection: &Rc<Conn>, code: u16, reason: &str) -> bool {
    let attachment = connection.user.borrow();
    let Some(attachment) = attachment.as_ref() else {
        return false;
    };
    let object = &attachment.object;
    let Ok(Some(inbox)) = object.get().local().map(|local| local.inbox.get()) else {
        return false;
    };
    if inbox.task.borrow().is_none() {
        return false;
    }
    inbox
        .close_with
        .set(Some(Box::new((code, reason.to_owned()))));
    connection.pause(PAUSED_BY_INBOX | PAUSED_BY_END);
    if inbox.finish() {
        connection.engine().host.add_wake(object);
    }
    true
}

/// Whether the handler of a connection is a coroutine whose task has not ended.
pub(crate) fn is_running(object: &Py<Connection>) -> bool {
    let Ok(local) = object.get().local() else {
        return false;
    };
    let inbox = local.inbox.get();
    inbox.is_some_and(|inbox| inbox.task.borrow().is_some())
}

/// The handler's task has ended: close the connection, and report an error.
pub(crate) fn done(connection: &Connection, task: &Bound<'_, PyAny>) -> PyResult<()> {
    if connection.handle().is_forked() {
        // The connection is the parent's.
        return Ok(());
    }
    let inbox = connection.inbox()?;
    drop(inbox.task.take());
    drop(connection.local()?.place.take());
    let living = connection.living()?;
    let error = failure(task)?.filter(|error| !is_own_end(connection, error));
    // KeyboardInterrupt and SystemExit end the loop, and are reported by the interpreter.
    if let Some(error) = error.as_ref().filter(|error| !ends_loop(error)) {
        match &living {
            Some(living) => report::handler_failed(task.py(), living, error),
            None => report::handler_failed_late(task.py(), connection, error),
        }
    }
    let Some(living) = living else { return Ok(()) };
    if error.is_some() {
        living.fail_in_handler();
    } else {
        close_with(&living, inbox.close_with.take());
    }
    Ok(())
}

/// Whether an exception ends the loop when a task raises it.
fn ends_loop(error: &Bound<'_, PyAny>) -> bool {
    error.is_instance_of::<PyKeyboardInterrupt>() || error.is_instance_of::<PySystemExit>()
}

/// The exception of a task that has ended. A task that somebody cancelled has not failed; one
/// that raised CancelledError without that has: it awaited something that was cancelled.
fn failure<'py>(task: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = task.py();
    if !task.invoke_method("cancelled", ())?.is_truthy()? {
        let error = task.invoke_method("exception", ())?;
        return Ok(Some(error).filter(|error| !error.is_none()));
    }
    if task.invoke_method("cancelling", ())?.is_truthy()? {
        return Ok(None);
    }
    match task.invoke_method("result", ()) {
        Err(error) if error.is_instance_of::<CancelledError>(py) => {
            Ok(Some(error.into_value(py).into_bound(py).into_any()))
        }
        _ => Ok(None),
    }
}

/// A handler that lets the end of its own connection pass through is not a failure: the peer may
/// disconnect at any time. The end may have been given to the handler while it is not yet handed
/// over to everybody else.
pub(crate) fn is_own_end(connection: &Connection, error: &Bound<'_, PyAny>) -> bool {
    let py = error.py();
    let is_given = || connection.inbox().is_ok_and(Inbox::is_finished);
    let has_ended = match connection.living() {
        Ok(Some(living)) => !living.is_open() || living.reason().is_some() || is_given(),
        _ => true,
    };
    has_ended && error.is_instance_of::<PyException>() && is_end(py, error).unwrap_or(false)
}

/// Whether an exception is a `ConnectionClosed`, or a group of nothing else, as `asyncio.TaskGroup`
/// raises it.
fn is_end(py: Python<'_>, error: &Bound<'_, PyAny>) -> PyResult<bool> {
    if !error.is_instance_of::<PyBaseExceptionGroup>() {
        return error.is_instance(imports::connection_closed_class(py)?);
    }
    for inner in error.attribute("exceptions")?.try_iter()? {
        if !is_end(py, &inner?)? {
            return Ok(false);
        }
    }
    Ok(true)
}
