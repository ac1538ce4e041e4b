//! Context variables: each connection has a context of its own, a copy of the one in which its
//! server was started or its connect was called. Handlers run in it.
//!
//! The copy is made for the first call (PEP 567: copying takes constant time), and is entered and
//! left natively around each.

use pyo3::ffi;
use pyo3::prelude::*;

/// A copy of the current context.
pub(crate) fn copy_current(py: Python<'_>) -> PyResult<Py<PyAny>> {
    // SAFETY: attached.
    let copy = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent()) };
    copy.map(Bound::unbind)
}

/// A copy of a context.
pub(crate) fn copy(py: Python<'_>, context: &Py<PyAny>) -> PyResult<Py<PyAny>> {
    // SAFETY: attached, and the object is a context.
    let copy = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_Copy(context.as_ptr())) };
    copy.map(Bound::unbind)
}

/// A context that is entered, until this is dropped.
pub(crate) struct Entered<'a>(&'a Py<PyAny>);

impl<'a> Entered<'a> {
    #[inline]
    pub(crate) fn enter(py: Python<'_>, context: &'a Py<PyAny>) -> PyResult<Self> {
        // SAFETY: attached, and the object is a context.
        if unsafe { ffi::PyContext_Enter(context.as_ptr()) } != 0 {
            return Err(PyErr::fetch(py));
        }
        Ok(Self(context))
    }

    /// Leave it. False, with Python's error set, where the callee has left another context entered:
    /// this one then stays entered as well.
    #[inline]
    pub(crate) fn leave(self) -> bool {
        // SAFETY: attached, and entered by us; it is not left a second time.
        let failed = unsafe { ffi::PyContext_Exit(self.0.as_ptr()) } != 0;
        std::mem::forget(self);
        !failed
    }
}

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: attached, as when it was entered, and entered by us. It fails only where the
        // callee has left another context entered, which is that callee's fault and stays so.
        unsafe {
            if ffi::PyContext_Exit(self.0.as_ptr()) != 0 {
                ffi::PyErr_Clear();
            }
        }
    }
}
