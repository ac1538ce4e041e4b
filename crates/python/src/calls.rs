//! Calls of Python objects from native code.
//!
//! What is called may be Python code, in which the interpreter's exit can end the thread: so every
//! call goes through `process`, and none through PyO3's own `call` methods.

use crate::process::{self, Asked, Way};
use pyo3::BoundObject as _;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use std::borrow::Borrow;
use std::ptr;

/// Arguments that are called without an allocation, with the free slot and the object before them.
const FEW: usize = 8;

/// Call an object that is attached to the interpreter.
pub(crate) trait Invoke<'py>: Borrow<Bound<'py, PyAny>> {
    /// Call it with positional arguments.
    fn invoke<A>(&self, arguments: A) -> PyResult<Bound<'py, PyAny>>
    where
        A: IntoPyObject<'py, Target = PyTuple>,
    {
        let called: &Bound<'py, PyAny> = self.borrow();
        let arguments = tuple(called.py(), arguments)?;
        call(Way::Object, called, None, &arguments, ptr::null_mut())
    }

    /// Call it with positional and keyword arguments.
    fn invoke_with<A>(
        &self,
        arguments: A,
        keywords: &Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, PyAny>>
    where
        A: IntoPyObject<'py, Target = PyTuple>,
    {
        let called: &Bound<'py, PyAny> = self.borrow();
        let arguments = tuple(called.py(), arguments)?;
        call(Way::Dict, called, None, &arguments, keywords.as_ptr())
    }

    /// Call its method of that name.
    fn invoke_method<N, A>(&self, name: N, arguments: A) -> PyResult<Bound<'py, PyAny>>
    where
        N: IntoPyObject<'py, Target = PyString>,
        A: IntoPyObject<'py, Target = PyTuple>,
    {
        let object: &Bound<'py, PyAny> = self.borrow();
        let name = name.into_pyobject(object.py()).map_err(Into::into)?;
        let name = name.into_any().into_bound();
        let arguments = tuple(object.py(), arguments)?;
        call(
            Way::Method,
            &name,
            Some(object),
            &arguments,
            ptr::null_mut(),
        )
    }
}

impl<'py> Invoke<'py> for Bound<'py, PyAny> {}

/// Ask an object for what its class may answer with Python code.
pub(crate) trait Ask<'py>: Borrow<Bound<'py, PyAny>> {
    /// Its attribute of that name.
    fn attribute<N>(&self, name: N) -> PyResult<Bound<'py, PyAny>>
    where
        N: IntoPyObject<'py, Target = PyString>,
    {
        let object: &Bound<'py, PyAny> = self.borrow();
        let name = name.into_pyobject(object.py()).map_err(Into::into)?;
        let name = name.into_any().into_bound();
        ask(object, Asked::Attribute(name.as_ptr()))
    }

    /// What `repr` gives.
    fn shown(&self) -> PyResult<String> {
        ask(self.borrow(), Asked::Repr)?.extract()
    }

    /// What `str` gives.
    fn text(&self) -> PyResult<String> {
        ask(self.borrow(), Asked::Text)?.extract()
    }
}

impl<'py> Ask<'py> for Bound<'py, PyAny> {}

fn ask<'py>(object: &Bound<'py, PyAny>, asked: Asked) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: attached; the object and what is asked for are alive.
    unsafe { Bound::from_owned_ptr_or_err(object.py(), process::ask(object.as_ptr(), asked)) }
}

/// Call an object by a reference of its own.
pub(crate) trait InvokeOwned: Borrow<Py<PyAny>> {
    /// Call it with positional arguments.
    fn invoke<'py, A>(&self, py: Python<'py>, arguments: A) -> PyResult<Py<PyAny>>
    where
        A: IntoPyObject<'py, Target = PyTuple>,
    {
        let called: &Py<PyAny> = self.borrow();
        called.bind(py).invoke(arguments).map(Bound::unbind)
    }

    /// Call its method of that name.
    fn invoke_method<'py, N, A>(
        &self,
        py: Python<'py>,
        name: N,
        arguments: A,
    ) -> PyResult<Py<PyAny>>
    where
        N: IntoPyObject<'py, Target = PyString>,
        A: IntoPyObject<'py, Target = PyTuple>,
    {
        let object: &Py<PyAny> = self.borrow();
        let result = object.bind(py).invoke_method(name, arguments);
        result.map(Bound::unbind)
    }
}

impl InvokeOwned for Py<PyAny> {}

fn tuple<'py, A>(py: Python<'py>, arguments: A) -> PyResult<Bound<'py, PyTuple>>
where
    A: IntoPyObject<'py, Target = PyTuple>,
{
    let arguments = arguments.into_pyobject(py).map_err(Into::into)?;
    Ok(arguments.into_bound())
}

/// Call `called`, with the object whose method it names before the arguments.
fn call<'py>(
    way: Way,
    called: &Bound<'py, PyAny>,
    object: Option<&Bound<'py, PyAny>>,
    arguments: &Bound<'py, PyTuple>,
    keywords: *mut ffi::PyObject,
) -> PyResult<Bound<'py, PyAny>> {
    let (mut few, mut many) = ([ptr::null_mut(); FEW], Vec::new());
    let slots = arguments.len() + 2;
    let stack = if slots <= FEW {
        &mut few[..slots]
    } else {
        many.resize(slots, ptr::null_mut());
        &mut many[..]
    };
    // The first slot is the callee's to use.
    let mut count = 0;
    for argument in object.into_iter().chain(arguments.as_slice()) {
        count += 1;
        stack[count] = argument.as_ptr();
    }
    let flags = count | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
    // SAFETY: attached; all objects are alive for the time of the call.
    unsafe {
        let first = stack.as_ptr().add(1);
        let result = process::call(way, called.as_ptr(), first, flags, keywords);
        Bound::from_owned_ptr_or_err(called.py(), result)
    }
}
