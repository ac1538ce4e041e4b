//! What is native of an asyncio loop: callbacks, timers, and the transports of stream sockets.
//!
//! `vespiary.loop.Loop` is asyncio's own loop, whose hot paths are replaced by code of this module.
//! All other code stays asyncio's, and works on the same objects: a handle is an `asyncio.Handle`,
//! a transport is a subclass of asyncio's own. Their hot fields are slots (`__slots__`), which
//! native code finds at fixed offsets ([`slots`]) and Python code by their names. So there is one
//! state, and what is rare needs no native code: backpressure, errors, the end of a connection,
//! TLS, sendfile, debug mode.
//!
//! | file | task |
//! |---|---|
//! | `base` | the methods of the loop |
//! | `calls` | the queue of callbacks, the timers, the transports that are read |
//! | `feed` | from a receive into asyncio's stream readers |
//! | `frequent` | short methods of asyncio's loop that are called for each message |
//! | `handle` | makes and runs handles |
//! | `iteration` | one iteration of the loop |
//! | `method` | methods without PyO3's wrapper |
//! | `read` | from a readable socket to the protocol |
//! | `ring` | what the driver does for transports, in each iteration |
//! | `streams` | the transports that the driver does it for |
//! | `write` | from `write` to the socket |
//! | `slots` | where the fields of Python objects are |
//! | `stream` | the native part of a transport |
//!
//! Everything here relies on the GIL, as asyncio does. Without one, `vespiary.loop` does not use it
//! ([`is_supported`]).

pub(crate) mod base;
pub(crate) mod calls;
mod feed;
mod frequent;
mod handle;
mod iteration;
mod method;
mod read;
mod ring;
mod slots;
mod stream;
mod streams;
mod write;

pub(crate) use ring::keep_room;

use crate::core::Core;
use crate::host::PyHost;
use crate::process;
use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::prelude::*;
use std::cell::{RefCell, RefMut};
use vespiary_engine::Engine;

/// Whether the interpreter has what the module relies on.
#[pyfunction]
fn has_native_loop(py: Python<'_>) -> bool {
    is_supported(py)
}

pub(crate) fn is_supported(py: Python<'_>) -> bool {
    process::has_gil() && handle::layout(py).is_some()
}

/// A value that threads share by means of the GIL. No Python code runs while it is borrowed.
pub(crate) struct WithGil<T>(RefCell<T>);

// SAFETY: it is only touched by threads that are attached to an interpreter with a GIL
// (`is_supported`), and no borrow lasts while the GIL is released.
unsafe impl<T> Sync for WithGil<T> {}
// SAFETY: as above.
unsafe impl<T> Send for WithGil<T> {}

impl<T> WithGil<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    #[inline]
    pub(crate) fn borrow(&self, _py: Python<'_>) -> RefMut<'_, T> {
        self.0.borrow_mut()
    }

    /// For the garbage collector, which may run at any moment.
    pub(crate) fn try_borrow(&self) -> Option<RefMut<'_, T>> {
        self.0.try_borrow_mut().ok()
    }
}

/// Whether an exception must end the loop, as asyncio has it.
pub(crate) fn ends_loop(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PySystemExit>(py) || error.is_instance_of::<PyKeyboardInterrupt>(py)
}

/// Another thread runs the loop: begin on its ring what was outstanding on another.
pub(crate) fn begin_receives_again(py: Python<'_>, core: &Core, engine: &Engine<PyHost>) {
    let Some(event_loop) = core.shared.event_loop(py) else {
        return;
    };
    if let Ok(event_loop) = event_loop.bind(py).cast::<base::LoopBase>()
        && let Some(calls) = event_loop.get().calls()
    {
        calls.begin_receives_again(py, engine);
    }
}

/// Add what is here to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(has_native_loop, module)?)?;
    base::register(module)?;
    stream::register(module)
}
