//! Calls of Python objects from native code.
//!
//! What is called may be Python code, in which the interpreter's exit can end the thread: so every
//! call goes through `process`, and none through PyO3's own `call` methods.

use crate::process::{self, Way};
use pyo3::BoundObject as _;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use std::ptr;

/// Arguments that are called without an allocation, with the free slot and the object before them.
const FEW: usize = 8;

/// Call an object that is attached to the interpreter.
pub(crate) trait Invoke<'py> {
    /// Call it with positional arguments.
    fn invoke<A>(&self, arguments: A) -> PyResult<Bound<'py, PyAny>>
    where
        A: IntoPyObject<'py, Target = PyTuple>;

    /// Call it with positional and keyword arguments.
    fn invoke_with<A>(
        &self,
        arguments: A,
        keywords: &Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, PyAny>>
    where
        A: IntoPyObject<'py, Target = PyTuple>;

    /// Call its method of that name.
    fn invoke_method<N, A>(&self, name: N, arguments: A) -> PyResult<Bound<'py, PyAny>>
    where
        N: IntoPyObject<'py, Target = PyString>,
        A: IntoPyObject<'py, Target = PyTuple>;
}

impl<'py> Invoke<'py> for Bound<'py, PyAny> {
    fn invoke<A>(&self, arguments: A) -> PyResult<Bound<'py, PyAny>>
    where
        A: IntoPyObject<'py, Target = PyTuple>,
    {
        let arguments = tuple(self.py(), arguments)?;
        call(Way::Object, self, None, &arguments, ptr::null_mut())
    }

    fn invoke_with<A>(
        &self,
        arguments: A,
        keywords: &Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, PyAny>>
    where
        A: IntoPyObject<'py, Target = PyTuple>,
    {
        let arguments = tuple(self.py(), arguments)?;
        call(Way::Dict, self, None, &arguments, keywords.as_ptr())
    }

    fn invoke_method<N, A>(&self, name: N, arguments: A) -> PyResult<Bound<'py, PyAny>>
    where
        N: IntoPyObject<'py, Target = PyString>,
        A: IntoPyObject<'py, Target = PyTuple>,
    {
        let name = name.into_pyobject(self.py()).map_err(Into::into)?;
        let name = name.into_any().into_bound();
        let arguments = tuple(self.py(), arguments)?;
        call(Way::Method, &name, Some(self), &arguments, ptr::null_mut())
    }
}

/// Call an object by a reference of its own.
pub(crate) trait InvokeOwned {
    /// Call it with positional arguments.
    fn invoke<'py, A>(&self, py: Python<'py>, arguments: A) -> PyResult<Py<PyAny>>
    where
        A: IntoPyObject<'py, Target = PyTuple>;

    /// Call its method of that name.
    fn invoke_method<'py, N, A>(
        &self,
        py: Python<'py>,
        name: N,
        arguments: A,
    ) -> PyResult<Py<PyAny>>
    where
        N: IntoPyObject<'py, Target = PyString>,
        A: IntoPyObject<'py, Target = PyTuple>;
}

impl InvokeOwned for Py<PyAny> {
    fn invoke<'py, A>(&self, py: Python<'py>, arguments: A) -> PyResult<Py<PyAny>>
    where
        A: IntoPyObject<'py, Target = PyTuple>,
    {
        self.bind(py).invoke(arguments).map(Bound::unbind)
    }

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
        let called = self.bind(py).invoke_method(name, arguments);
        called.map(Bound::unbind)
    }
}

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
