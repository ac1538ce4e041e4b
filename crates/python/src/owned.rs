//! References to objects of the program. Dropping one may run Python code (`__del__`, the callback
//! of a weak reference), so it is guarded like every call (see `process`).

use crate::process;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use std::mem::ManuallyDrop;
use std::ops::Deref;

/// A reference whose drop is guarded.
pub(crate) struct Owned(ManuallyDrop<Py<PyAny>>);

impl Owned {
    pub(crate) fn new(object: Py<PyAny>) -> Self {
        Self(ManuallyDrop::new(object))
    }

    /// Show it to the collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&*self.0)
    }
}

impl Deref for Owned {
    type Target = Py<PyAny>;

    fn deref(&self) -> &Py<PyAny> {
        &self.0
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: it is not used any more.
        release(unsafe { ManuallyDrop::take(&mut self.0) });
    }
}

/// Drop a reference.
pub(crate) fn release(object: Py<PyAny>) {
    // SAFETY: it only asks whether this thread is attached.
    if unsafe { ffi::PyGILState_Check() } == 0 {
        // PyO3 leaves it to the next thread that is.
        return drop(object);
    }
    // SAFETY: attached, and the reference is ours.
    unsafe { process::decref(object.into_ptr()) };
}

/// Drop a reference in a thread that is attached, as the token says.
#[inline]
pub(crate) fn release_attached(_py: Python<'_>, object: Py<PyAny>) {
    // SAFETY: attached, and the reference is ours.
    unsafe { process::decref(object.into_ptr()) };
}

/// Drop what a call has returned, which is None in most cases.
#[inline(always)]
#[expect(clippy::inline_always, reason = "each call of a method ends here")]
pub(crate) fn release_result(result: Bound<'_, PyAny>) {
    if !result.is_none() {
        release_attached(result.py(), result.unbind());
    }
}
