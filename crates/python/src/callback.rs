//! Calling a handler's method: one vectorcall, without the bound method in between.

use crate::calls::{Ask as _, Invoke as _};
use crate::context::{self, Entered};
use crate::imports;
use crate::owned::Owned;
use crate::process;
use pyo3::ffi;
use pyo3::prelude::*;
use std::ptr;

/// A callable, taken apart when it is a bound method.
pub(crate) struct Callback {
    pub(crate) function: Owned,
    pub(crate) bound: Option<Owned>,
}

impl Callback {
    pub(crate) fn new(callable: &Bound<'_, PyAny>) -> PyResult<Self> {
        let method = callable.py().import("types")?.getattr("MethodType")?;
        if !callable.get_type().is(&method) {
            return Ok(Self {
                function: Owned::new(callable.clone().unbind()),
                bound: None,
            });
        }
        Ok(Self {
            function: Owned::new(callable.attribute("__func__")?.unbind()),
            bound: Some(Owned::new(callable.attribute("__self__")?.unbind())),
        })
    }

    /// A callable as it is.
    pub(crate) fn owned(callable: Owned) -> Self {
        Self {
            function: callable,
            bound: None,
        }
    }

    /// Call it with borrowed arguments, up to four.
    ///
    /// # Safety
    /// The pointers must be valid objects for the time of the call.
    #[inline]
    pub(crate) unsafe fn call<'py>(
        &self,
        py: Python<'py>,
        arguments: &[*mut ffi::PyObject],
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut stack = [ptr::null_mut(); 7];
        let mut count = 0;
        if let Some(bound) = &self.bound {
            stack[1] = bound.as_ptr();
            count = 1;
        }
        for argument in arguments {
            count += 1;
            stack[count] = *argument;
        }
        let flags = count | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
        // SAFETY: the arguments are valid by contract; the slot before them is ours for the callee
        // to use.
        unsafe {
            let arguments = stack.as_ptr().add(1);
            let result = process::vectorcall(self.function.as_ptr(), arguments, flags);
            Bound::from_owned_ptr_or_err(py, result)
        }
    }

    /// Take what a call has returned, which nobody awaits: a coroutine would never run.
    #[inline]
    pub(crate) fn check_result(&self, result: &Bound<'_, PyAny>) -> PyResult<()> {
        // SAFETY: the result is alive, and is asked for its type only.
        if result.is_none() || unsafe { ffi::PyCoro_CheckExact(result.as_ptr()) } == 0 {
            return Ok(());
        }
        self.refuse_coroutine(result)
    }

    #[cold]
    fn refuse_coroutine(&self, result: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = result.py();
        imports::refuse_coroutine(py)?
            .invoke((&*self.function, result))
            .map(drop)
    }
}

/// The error of a hook that has left another context entered: its own first.
#[cold]
pub(crate) fn left_another(py: Python<'_>, result: PyResult<Bound<'_, PyAny>>) -> PyErr {
    let error = PyErr::fetch(py);
    result.err().unwrap_or(error)
}

/// Call a hook in a copy of its connection's context, which an earlier call has left entered:
/// nobody can enter it any more.
///
/// # Safety
/// The pointers must be valid objects for the time of the call.
#[cold]
pub(crate) unsafe fn call_in_copy<'py>(
    py: Python<'py>,
    context: &Py<PyAny>,
    hook: &Callback,
    arguments: &[*mut ffi::PyObject],
) -> PyResult<Bound<'py, PyAny>> {
    let copy = context::copy(py, context)?;
    let _entered = Entered::enter(py, &copy)?;
    // SAFETY: by contract.
    unsafe { hook.call(py, arguments) }
}
