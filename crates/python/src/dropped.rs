//! Client connections that a program drops without having closed them.
//!
//! Nobody but the program uses a client's connection that has no handler: when its object is
//! dropped, messages would come that nobody can receive. So for these the engine's reference to the
//! object is not counted ("lent") while the connection is open and no task waits for it. When the
//! last counted reference goes, Python calls the finalizer below, which counts the engine's
//! reference again (PEP 442 lets a finalizer do that, and calls it once), warns, and closes the
//! connection. Until the connection has ended its object therefore stays valid, regardless of the
//! program does.
//!
//! While a task waits for a message or for room, the reference is counted. Otherwise the task would
//! be garbage if nothing else refers to it or to the connection.

use crate::attachment::Attachment;
use crate::connection::{Connection, close};
use crate::inbox::Inbox;
use crate::process;
use crate::thread_calls::ThreadCall;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;
use std::sync::OnceLock;
use vespiary_engine::State;

static DEALLOC: OnceLock<ffi::destructor> = OnceLock::new();

/// Have Python call the finalizer of connections. Without a GIL other threads may drop an object
/// while the engine uses it: there the engine's reference is always counted.
pub(crate) fn register(class: &Bound<'_, PyType>) {
    if !process::has_gil() {
        return;
    }
    let class = class.as_type_ptr();
    // SAFETY: attached; the type is ours, it has been made just now, and has no instances.
    unsafe {
        if let Some(own) = (*class).tp_dealloc {
            DEALLOC.get_or_init(|| own);
            (*class).tp_dealloc = Some(dealloc);
            (*class).tp_finalize = Some(finalize);
        }
    }
}

unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: called by the interpreter with a connection without references, attached.
    unsafe {
        if ffi::PyObject_CallFinalizerFromDealloc(object) == 0
            && let Some(own) = DEALLOC.get()
        {
            own(object);
        }
    }
}

unsafe extern "C" fn finalize(object: *mut ffi::PyObject) {
    // SAFETY: called by the interpreter with a connection, attached.
    unsafe {
        let py = Python::assume_attached();
        let object = Bound::from_borrowed_ptr(py, object).cast_into_unchecked::<Connection>();
        let raised = PyErr::take(py);
        finalized(&object);
        if let Some(raised) = raised {
            raised.restore(py);
        }
    }
}

/// The program has dropped a connection.
fn finalized(object: &Bound<'_, Connection>) {
    let this = object.get();
    if this.local.get().is_some() {
        return dropped(object);
    }
    // SAFETY: with the GIL, and the loop's thread touches none of it without; see `register`.
    let local = unsafe { this.local.get_anywhere() };
    if !local.inbox.get().is_some_and(|inbox| inbox.is_lent.get()) {
        return;
    }
    let call = ThreadCall::Dropped(object.clone().unbind());
    if this.handle().is_forked() || this.handle().add(object.py(), call).is_err() {
        // No loop will run that could close it, or nothing of it is ours; the engine may still
        // refer to it.
        std::mem::forget(object.clone());
    }
}

/// Count the engine's reference again, warn, and close; on the loop's thread.
pub(crate) fn dropped(object: &Bound<'_, Connection>) {
    let Ok(Some(living)) = object.get().living() else {
        return;
    };
    let Some(inbox) = inbox(object) else {
        return;
    };
    let was_lent = take_back(object);
    inbox.is_lendable.set(false);
    if was_lent && living.state() == State::Open {
        warn(object);
        close(&living, 1000, "");
    }
}

fn warn(object: &Bound<'_, Connection>) {
    let text = c"%R was dropped before it was closed: await its close(), or use it in 'async with'";
    // SAFETY: attached; the format takes one object.
    unsafe {
        if ffi::PyErr_ResourceWarning(object.as_ptr(), 1, text.as_ptr(), object.as_ptr()) < 0 {
            ffi::PyErr_WriteUnraisable(object.as_ptr());
        }
    }
}

/// Keep a connection that the program may drop: something else closes it. On the loop's thread.
pub(crate) fn keep(object: &Bound<'_, Connection>) {
    if let Some(inbox) = inbox(object) {
        inbox.is_lendable.set(false);
        take_back(object);
    }
}

fn inbox<'a>(object: &'a Bound<'_, Connection>) -> Option<&'a Inbox> {
    object.get().local.get()?.inbox.get().map(|inbox| &**inbox)
}

/// Count the engine's reference; whether it was lent. On the loop's thread.
#[cold]
pub(crate) fn take_back(object: &Bound<'_, Connection>) -> bool {
    let Ok(Some(living)) = object.get().living() else {
        return false;
    };
    let attachment = living.user.borrow();
    attachment.as_ref().is_some_and(Attachment::take_back)
}

/// A client's connection is open: only the program refers to it from now on.
pub(crate) fn begin(object: &Bound<'_, Connection>) {
    if DEALLOC.get().is_some()
        && let Some(inbox) = inbox(object)
    {
        inbox.is_lendable.set(true);
        lend(object);
    }
}

/// Do not count the engine's reference, unless a task waits. On the loop's thread.
#[inline]
pub(crate) fn lend(object: &Bound<'_, Connection>) {
    let Some(inbox) = inbox(object) else {
        return;
    };
    if inbox.is_lendable.get()
        && !inbox.is_lent.get()
        && !inbox.is_awaited()
        && let Ok(Some(living)) = object.get().living()
        && let Some(attachment) = living.user.borrow().as_ref()
    {
        attachment.lend();
    }
}
