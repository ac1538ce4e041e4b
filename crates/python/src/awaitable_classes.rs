//! The two classes of `awaitables`, as tables that the interpreter reads.

use crate::awaitables::{
    Receive, add_done_callback, cancel, close, dealloc, get_loop, itself, next,
    remove_done_callback, result, send, send_method, throw, traverse,
};
use crate::once::once;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use std::ffi::{CStr, c_int, c_uint, c_void};
use std::mem::offset_of;
use std::ptr;

/// A table that the interpreter reads for as long as it lives.
struct Table<T>(T);

// SAFETY: never written after its making.
unsafe impl<T> Sync for Table<T> {}

const fn method(
    name: &'static CStr,
    function: ffi::PyMethodDefPointer,
    flags: c_int,
) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: function,
        ml_flags: flags,
        ml_doc: ptr::null(),
    }
}

/// With these a Receive is a `collections.abc.Coroutine`, so that `asyncio.create_task` takes it.
static COROUTINE_METHODS: Table<[ffi::PyMethodDef; 4]> = Table([
    method(
        c"send",
        ffi::PyMethodDefPointer {
            PyCFunction: send_method,
        },
        ffi::METH_O,
    ),
    method(
        c"throw",
        ffi::PyMethodDefPointer { PyCFunction: throw },
        ffi::METH_VARARGS,
    ),
    method(
        c"close",
        ffi::PyMethodDefPointer { PyCFunction: close },
        ffi::METH_NOARGS,
    ),
    ffi::PyMethodDef::zeroed(),
]);

static METHODS: Table<[ffi::PyMethodDef; 6]> = Table([
    method(
        c"get_loop",
        ffi::PyMethodDefPointer {
            PyCFunction: get_loop,
        },
        ffi::METH_NOARGS,
    ),
    method(
        c"add_done_callback",
        ffi::PyMethodDefPointer {
            PyCFunctionFastWithKeywords: add_done_callback,
        },
        ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
    ),
    method(
        c"remove_done_callback",
        ffi::PyMethodDefPointer {
            PyCFunction: remove_done_callback,
        },
        ffi::METH_O,
    ),
    method(
        c"cancel",
        ffi::PyMethodDefPointer {
            PyCFunctionWithKeywords: cancel,
        },
        ffi::METH_VARARGS | ffi::METH_KEYWORDS,
    ),
    method(
        c"result",
        ffi::PyMethodDefPointer {
            PyCFunction: result,
        },
        ffi::METH_NOARGS,
    ),
    ffi::PyMethodDef::zeroed(),
]);

static MEMBERS: Table<[ffi::PyMemberDef; 2]> = Table([
    ffi::PyMemberDef {
        name: c"_asyncio_future_blocking".as_ptr(),
        type_code: ffi::Py_T_BOOL,
        offset: offset_of!(Receive, flag) as ffi::Py_ssize_t,
        flags: 0,
        doc: ptr::null(),
    },
    ffi::PyMemberDef {
        name: ptr::null(),
        type_code: 0,
        offset: 0,
        flags: 0,
        doc: ptr::null(),
    },
]);

pub(crate) fn receive_class(py: Python<'_>) -> PyResult<&Py<PyType>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    once(py, &CLASS, || {
        let own = [
            slot(ffi::Py_tp_iter, itself as *mut c_void),
            slot(ffi::Py_tp_iternext, next as *mut c_void),
            slot(ffi::Py_am_await, itself as *mut c_void),
            slot(ffi::Py_am_send, send as *mut c_void),
            slot(
                ffi::Py_tp_methods,
                COROUTINE_METHODS.0.as_ptr().cast_mut().cast(),
            ),
        ];
        make_class(py, c"vespiary._core.Receive", &own)
    })
}

pub(crate) fn wait_class(py: Python<'_>) -> PyResult<&Py<PyType>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    once(py, &CLASS, || {
        let own = [
            slot(ffi::Py_tp_methods, METHODS.0.as_ptr().cast_mut().cast()),
            slot(ffi::Py_tp_members, MEMBERS.0.as_ptr().cast_mut().cast()),
        ];
        make_class(py, c"vespiary._core.Wait", &own)
    })
}

fn slot(slot: c_int, pfunc: *mut c_void) -> ffi::PyType_Slot {
    ffi::PyType_Slot { slot, pfunc }
}

/// A type whose instances are of [`Receive`]'s shape.
fn make_class(
    py: Python<'_>,
    name: &'static CStr,
    own: &[ffi::PyType_Slot],
) -> PyResult<Py<PyType>> {
    let mut slots = vec![
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_traverse, traverse as *mut c_void),
    ];
    slots.extend_from_slice(own);
    slots.push(slot(0, ptr::null_mut()));
    let mut spec = ffi::PyType_Spec {
        name: name.as_ptr(),
        basicsize: size_of::<Receive>() as c_int,
        itemsize: 0,
        flags: (ffi::Py_TPFLAGS_DEFAULT
            | ffi::Py_TPFLAGS_HAVE_GC
            | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION) as c_uint,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: the specification describes `Receive`; the tables behind it live as long as the
    // process.
    unsafe {
        let class = ffi::PyType_FromSpec(&raw mut spec);
        let class = Bound::from_owned_ptr_or_err(py, class)?;
        Ok(class.cast_into_unchecked::<PyType>().unbind())
    }
}
