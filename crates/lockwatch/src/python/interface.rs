//! The functions of a Python interpreter in this process, if there is one, found by their names.
//!
//! This library is not linked with Python: it also watches programs without an interpreter, and
//! with any version of it. Only functions of the stable interface are called. Two structures are
//! read, the method descriptor and its definition, which have not changed since Python 3.8.

use std::ffi::{CStr, c_char, c_int, c_long, c_ulong, c_void};
use std::mem::transmute_copy;

use crate::symbols;

/// Any object.
pub(crate) type Object = *mut c_void;

macro_rules! interface {
    ($($name:ident: $type:ty = $symbol:literal,)*) => {
        /// What is called, and four objects.
        pub(crate) struct Interface {
            $(pub(crate) $name: $type,)*
            pub(crate) method_descriptor: Object,
            pub(crate) code_type: Object,
            pub(crate) yes: Object,
            pub(crate) none: Object,
            pub(crate) no: Object,
        }

        impl Interface {
            /// The interface of the interpreter in this process, if there is a whole one.
            pub(crate) fn find() -> Option<Self> {
                Some(Self {
                    // SAFETY: the symbols have these types in every supported version.
                    $($name: unsafe { function($symbol)? },)*
                    method_descriptor: symbol(c"PyMethodDescr_Type")?,
                    code_type: symbol(c"PyCode_Type")?,
                    yes: symbol(c"_Py_TrueStruct")?,
                    none: symbol(c"_Py_NoneStruct")?,
                    no: symbol(c"_Py_FalseStruct")?,
                })
            }
        }
    };
}

interface! {
    is_initialized: unsafe extern "C" fn() -> c_int = c"Py_IsInitialized",
    has_gil: unsafe extern "C" fn() -> c_int = c"PyGILState_Check",
    version: unsafe extern "C" fn() -> *const c_char = c"Py_GetVersion",
    import: unsafe extern "C" fn(*const c_char) -> Object = c"PyImport_ImportModule",
    attribute: unsafe extern "C" fn(Object, *const c_char) -> Object = c"PyObject_GetAttrString",
    clear_error: unsafe extern "C" fn() = c"PyErr_Clear",
    release: unsafe extern "C" fn(Object) = c"Py_DecRef",
    tuple_size: unsafe extern "C" fn(Object) -> isize = c"PyTuple_Size",
    tuple_item: unsafe extern "C" fn(Object, isize) -> Object = c"PyTuple_GetItem",
    new_tuple: unsafe extern "C" fn(isize) -> Object = c"PyTuple_New",
    set_item: unsafe extern "C" fn(Object, isize, Object) -> c_int = c"PyTuple_SetItem",
    new_bool: unsafe extern "C" fn(c_long) -> Object = c"PyBool_FromLong",
    new_float: unsafe extern "C" fn(f64) -> Object = c"PyFloat_FromDouble",
    dict_item: unsafe extern "C" fn(Object, *const c_char) -> Object = c"PyDict_GetItemString",
    dict_size: unsafe extern "C" fn(Object) -> isize = c"PyDict_Size",
    error: unsafe extern "C" fn() -> Object = c"PyErr_Occurred",
    dict_get: unsafe extern "C" fn(Object, Object) -> Object = c"PyDict_GetItem",
    from_unsigned: unsafe extern "C" fn(c_ulong) -> Object = c"PyLong_FromUnsignedLong",
    is_true: unsafe extern "C" fn(Object) -> c_int = c"PyObject_IsTrue",
    as_double: unsafe extern "C" fn(Object) -> f64 = c"PyFloat_AsDouble",
    as_long: unsafe extern "C" fn(Object) -> c_long = c"PyLong_AsLong",
    save_thread: unsafe extern "C" fn() -> Object = c"PyEval_SaveThread",
    restore_thread: unsafe extern "C" fn(Object) = c"PyEval_RestoreThread",
    frame: unsafe extern "C" fn() -> Object = c"PyEval_GetFrame",
    frame_code: unsafe extern "C" fn(Object) -> Object = c"PyFrame_GetCode",
    frame_line: unsafe extern "C" fn(Object) -> c_int = c"PyFrame_GetLineNumber",
    modules: unsafe extern "C" fn() -> Object = c"PyImport_GetModuleDict",
    newest_interpreter: unsafe extern "C" fn() -> Object = c"PyInterpreterState_Head",
    next_interpreter: unsafe extern "C" fn(Object) -> Object = c"PyInterpreterState_Next",
    current: unsafe extern "C" fn() -> Object = c"PyThreadState_Get",
    own_state: unsafe extern "C" fn() -> Object = c"PyGILState_GetThisThreadState",
    new_code: unsafe extern "C" fn(*const c_char, *const c_char, c_int) -> Object
        = c"PyCode_NewEmpty",
    new_text: unsafe extern "C" fn(*const c_char) -> Object = c"PyUnicode_FromString",
    plain_attribute: unsafe extern "C" fn(Object, Object) -> Object = c"PyObject_GenericGetAttr",
    utf8: unsafe extern "C" fn(Object, *mut isize) -> *const c_char = c"PyUnicode_AsUTF8AndSize",
}

pub(super) fn symbol(name: &CStr) -> Option<*mut c_void> {
    symbols::find(name).map(|symbol| symbol.address)
}

/// # Safety
///
/// `F` is the function's type.
pub(super) unsafe fn function<F: Copy>(name: &CStr) -> Option<F> {
    let found = symbol(name)?;
    // SAFETY: a function pointer has the size of a pointer, and the caller knows its type.
    Some(unsafe { transmute_copy(&found) })
}
