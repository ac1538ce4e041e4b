//! The task of a connection whose handler is a coroutine: how it is asked to finish, and what its
//! end means for the connection.

use crate::attachment::HasRare as _;
use crate::calls::{Ask as _, Invoke as _};
use crate::connection::{Connection, close};
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
///   the connection is closed when it returns; what comes meanwhile is dropped;
/// * `sending`: a message in parts is in progress, ask again later;
/// * `closing`: it is closed once what is queued is written.
#[pyfunction]
fn cue_stop(connection: &Connection, code: u16, reason: &str) -> PyResult<&'static str> {
    let Some(living) = connection.living()? else {
        return Ok("ended");
    };
    match living.state() {
        State::Closed => return Ok("ended"),
        State::Handshaking | State::Responding if is_answering(&living)? => {
            return Ok("answering");
        }
        State::Open => return cue_open(&living, code, reason),
        _ => living.close(Code(code), reason),
    }
    Ok("closing")
}

/// The same for one that is open. A task that waits for nothing but the end has no work that a
/// close could cut off, and is closed like a connection without a task.
fn cue_open(connection: &Rc<Conn>, code: u16, reason: &str) -> PyResult<&'static str> {
    let has_cue = connection.endpoint().host.shutdown.is_some();
    let py = connection.engine().host.py();
    let user = connection.user.borrow();
    let object = user.as_ref().map(|user| user.object.clone_ref(py));
    drop(user);
    let inbox = match &object {
        Some(object) => object.get().local()?.inbox.get(),
        None => None,
    };
    let task = inbox.and_then(|inbox| Some(inbox.task.borrow().as_ref()?.clone_ref(py)));
    if let (Some(object), Some(inbox), Some(task)) = (&object, inbox, task) {
        if !waiting::is_task_at_end(py, connection, &task)? {
            let told = Box::new((code, reason.to_owned()));
            inbox.close_with.set(Some(told));
            if has_cue {
                return Ok("cue");
            }
            connection.drop_messages();
            if inbox.finish() {
                connection.engine().host.add_wake(object);
            }
            return Ok("finishing");
        }
    } else if has_cue {
        return Ok("cue");
    }
    if connection.is_within_message() {
        return Ok("sending");
    }
    connection.close(Code(code), reason);
    Ok("closing")
}

/// `on_shutdown` begins in the connection's task: from now on it chooses how the connection ends.
#[pyfunction]
fn shutdown_begins(connection: &Connection) -> PyResult<()> {
    drop(connection.inbox()?.close_with.take());
    Ok(())
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
    if user.exchange(connection.engine().host.py()).is_some() {
        return Ok(true);
    }
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
        let inbox = connection.local()?.inbox.get();
        close_with(&living, inbox.and_then(|inbox| inbox.told()));
    }
    Ok(())
}

/// Whether the peer's FIN ends a stream although unread messages come before it, which nobody
/// receives.
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
    module.add_function(wrap_pyfunction!(shutdown_begins, module)?)?;
    module.add_function(wrap_pyfunction!(close_as_told, module)?)?;
    module.add_function(wrap_pyfunction!(end_with_peer, module)?)
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

/// If a handler does not catch the end of its own connection, this is not a failure: the peer may
/// disconnect at any time. The handler may get the end before it is reported elsewhere.
pub(crate) fn is_own_end(connection: &Connection, error: &Bound<'_, PyAny>) -> bool {
    let py = error.py();
    let is_given = || connection.inbox().is_ok_and(Inbox::is_finished);
    let has_ended = match connection.living() {
        Ok(Some(living)) => !living.is_open() || living.reason().is_some() || is_given(),
        _ => true,
    };
    has_ended && error.is_instance_of::<PyException>() && is_end(py, error).unwrap_or(false)
}

/// Whether an error says that the connection has ended, or that its request was refused, within a
/// request that its handler reads.
pub(crate) fn is_end_of_request(connection: &Connection, error: &Bound<'_, PyAny>) -> bool {
    let has_ended = match connection.living() {
        Ok(Some(living)) => living.reason().is_some(),
        _ => true,
    };
    has_ended && is_end(error.py(), error).unwrap_or(false)
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
