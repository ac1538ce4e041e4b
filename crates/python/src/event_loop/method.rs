//! Methods that are called without PyO3's wrapper, because each of their nanoseconds counts.

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyType};
use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The arguments of a call under `METH_FASTCALL | METH_KEYWORDS`.
pub(super) struct Given<'a, 'py> {
    pub(super) positional: &'a [Borrowed<'a, 'py, PyAny>],
    /// The names of keyword arguments: a tuple, or nothing.
    names: *mut ffi::PyObject,
    /// Positional arguments, and behind them those that have names.
    first: *const *mut ffi::PyObject,
}

impl<'py> Given<'_, 'py> {
    /// # Safety
    /// The arguments are those of a call under this convention, and live as long as this.
    unsafe fn new(
        first: *const *mut ffi::PyObject,
        count: isize,
        names: *mut ffi::PyObject,
    ) -> Self {
        let positional = if count == 0 {
            &[]
        } else {
            // SAFETY: so many objects are there; a `Borrowed` is a pointer to one.
            unsafe { std::slice::from_raw_parts(first.cast(), count as usize) }
        };
        Self {
            positional,
            names,
            first,
        }
    }

    /// Whether there are none.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.positional.is_empty() && !self.has_keywords()
    }

    /// An error where there are any.
    pub(super) fn expect_none(&self, method: &str) -> PyResult<()> {
        if self.is_empty() {
            return Ok(());
        }
        Err(PyTypeError::new_err(format!(
            "{method}() takes no arguments"
        )))
    }

    /// Whether arguments are given by name.
    #[inline]
    pub(super) fn has_keywords(&self) -> bool {
        !self.names.is_null()
    }

    /// The one keyword argument that a method has, where it is given. Err where another one is.
    #[inline]
    pub(super) fn keyword(&self, py: Python<'py>, name: &Bound<'py, PyAny>) -> Keyword<'py> {
        if self.names.is_null() {
            return Ok(None);
        }
        // SAFETY: attached; a tuple of names, with a value for each behind the positional
        // arguments.
        unsafe {
            let given = ffi::PyTuple_GET_ITEM(self.names, 0);
            let is_it = given == name.as_ptr() || ffi::PyUnicode_Compare(given, name.as_ptr()) == 0;
            if ffi::PyTuple_GET_SIZE(self.names) != 1 || !is_it {
                return Err(OtherKeyword);
            }
            let value = *self.first.add(self.positional.len());
            Ok(Some(Bound::from_borrowed_ptr(py, value)))
        }
    }

    /// Call a function of Python's with an object and these arguments.
    #[cold]
    pub(super) fn pass_on(
        &self,
        function: &Bound<'py, PyAny>,
        object: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = object.py();
        let mut all = vec![object.as_ptr()];
        all.extend(self.positional.iter().map(|it| it.as_ptr()));
        let count = all.len();
        // SAFETY: attached; all are alive for the time of the call.
        unsafe {
            if !self.names.is_null() {
                let named = ffi::PyTuple_GET_SIZE(self.names) as usize;
                let values = self.first.add(self.positional.len());
                all.extend((0..named).map(|index| *values.add(index)));
            }
            let way = crate::process::Way::Object;
            let result =
                crate::process::call(way, function.as_ptr(), all.as_ptr(), count, self.names);
            Bound::from_owned_ptr_or_err(py, result)
        }
    }
}

/// A keyword that the method does not have.
pub(super) struct OtherKeyword;

type Keyword<'py> = Result<Option<Bound<'py, PyAny>>, OtherKeyword>;

/// A method's definition, which the interpreter reads for as long as it lives.
pub(super) struct Method(std::cell::UnsafeCell<ffi::PyMethodDef>);

// SAFETY: never written after its making.
unsafe impl Sync for Method {}

impl Method {
    pub(super) const fn new(
        name: &'static CStr,
        function: ffi::PyCFunctionFastWithKeywords,
        text: &'static CStr,
    ) -> Self {
        Self(std::cell::UnsafeCell::new(ffi::PyMethodDef {
            ml_name: name.as_ptr(),
            ml_meth: ffi::PyMethodDefPointer {
                PyCFunctionFastWithKeywords: function,
            },
            ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
            ml_doc: text.as_ptr(),
        }))
    }

    /// Give the method to a class.
    pub(super) fn add_to(&'static self, class: &Bound<'_, PyType>) -> PyResult<()> {
        let py = class.py();
        // SAFETY: attached; the definition lives as long as the process.
        let descriptor = unsafe {
            let descriptor = ffi::PyDescr_NewMethod(class.as_type_ptr(), self.0.get());
            Bound::from_owned_ptr_or_err(py, descriptor)?
        };
        let name: Bound<'_, PyString> = descriptor.getattr("__name__")?.cast_into()?;
        class.setattr(name, descriptor)
    }
}

/// Run a method's body with its object and its arguments; its result as the interpreter takes it.
///
/// # Safety
/// The interpreter calls the method, attached, with an object and arguments by the convention.
#[inline]
pub(super) unsafe fn entered<'py>(
    slf: *mut ffi::PyObject,
    first: *const *mut ffi::PyObject,
    count: isize,
    names: *mut ffi::PyObject,
    body: impl FnOnce(&Bound<'py, PyAny>, &Given<'_, 'py>) -> PyResult<Bound<'py, PyAny>>,
) -> *mut ffi::PyObject {
    // SAFETY: by contract.
    let (py, object, given) = unsafe {
        let py = Python::assume_attached();
        let object = Bound::from_borrowed_ptr(py, slf);
        (py, object, Given::new(first, count, names))
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| body(&object, &given)))
        .unwrap_or_else(|_| Err(PyRuntimeError::new_err("the loop failed; see stderr")));
    match outcome {
        Ok(result) => result.into_ptr(),
        Err(error) => {
            error.restore(py);
            std::ptr::null_mut()
        }
    }
}
