//! Context variables: each connection has a context of its own, a copy of the one in which its
//! server was started or its connect was called. Handlers run in it.
//!
//! The copy is made for the first call (PEP 567: copying takes constant time), and is entered and
//! left natively around each.

use pyo3::ffi;
use pyo3::prelude::*;
use std::ffi::{CStr, c_int, c_void};
use std::ptr;

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

/// A new context variable.
pub(crate) fn variable(py: Python<'_>, name: &CStr) -> PyResult<Py<PyAny>> {
    // SAFETY: attached; the name is copied.
    let made = unsafe {
        Bound::from_owned_ptr_or_err(py, ffi::PyContextVar_New(name.as_ptr(), ptr::null_mut()))
    };
    made.map(Bound::unbind)
}

/// A variable's value in the current context.
pub(crate) fn current_value<'py>(
    py: Python<'py>,
    variable: &Py<PyAny>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let mut value = ptr::null_mut();
    // SAFETY: attached; the object is a context variable.
    unsafe {
        if ffi::PyContextVar_Get(variable.as_ptr(), ptr::null_mut(), &raw mut value) < 0 {
            return Err(PyErr::fetch(py));
        }
        Ok(Bound::from_owned_ptr_or_opt(py, value))
    }
}

/// A variable's value in a context that is not entered.
pub(crate) fn value<'py>(
    py: Python<'py>,
    context: &Py<PyAny>,
    variable: &Py<PyAny>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let _entered = Entered::enter(py, context)?;
    current_value(py, variable)
}

/// Set a variable in the current context; returns the token that resets it.
pub(crate) fn set(py: Python<'_>, variable: &Py<PyAny>, value: &Py<PyAny>) -> PyResult<Py<PyAny>> {
    // SAFETY: attached; the object is a context variable.
    let token = unsafe {
        let token = ffi::PyContextVar_Set(variable.as_ptr(), value.as_ptr());
        Bound::from_owned_ptr_or_err(py, token)
    };
    token.map(Bound::unbind)
}

/// Reset a variable, unless it was set in another context.
pub(crate) fn reset(_py: Python<'_>, variable: &Py<PyAny>, token: &Py<PyAny>) {
    // SAFETY: attached; the objects are a context variable and a token of its own.
    unsafe {
        if ffi::PyContextVar_Reset(variable.as_ptr(), token.as_ptr()) < 0 {
            ffi::PyErr_Clear();
        }
    }
}

/// Where the variables of a fresh copy are. A context never changes its variables in place, so
/// copies with the same place have the same variables. None where this cannot be known.
///
/// A context shows the collector its variables, which are an immutable mapping, and the context
/// that was entered before it. A copy has no such context.
pub(crate) fn variables(copy: &Py<PyAny>) -> Option<usize> {
    unsafe extern "C" fn visit(object: *mut ffi::PyObject, found: *mut c_void) -> c_int {
        // SAFETY: `found` is `shown`, below, and the object is alive.
        unsafe {
            let is_mapping = CStr::from_ptr((*ffi::Py_TYPE(object)).tp_name) == c"hamt";
            (*found.cast::<Shown>()).add(object as usize, is_mapping);
        }
        0
    }

    let mut shown = Shown::default();
    // SAFETY: the object is alive, and a context takes part in the collector's work; `visit` and
    // `shown` are as it wants them.
    unsafe {
        let traverse = (*ffi::Py_TYPE(copy.as_ptr())).tp_traverse?;
        traverse(copy.as_ptr(), visit, (&raw mut shown).cast());
    }
    (shown.objects == 1 && shown.mappings == 1).then_some(shown.latest)
}

/// What an object shows the collector.
#[derive(Default)]
struct Shown {
    objects: usize,
    mappings: usize,
    latest: usize,
}

impl Shown {
    fn add(&mut self, object: usize, is_mapping: bool) {
        self.objects += 1;
        self.mappings += usize::from(is_mapping);
        self.latest = object;
    }
}
