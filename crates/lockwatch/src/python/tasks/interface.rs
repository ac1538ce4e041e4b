//! What else of the interpreter is called where tasks are watched, and the slots of its types.

use std::ffi::{c_char, c_int, c_void};

use super::super::interface::{Object, function, symbol};

macro_rules! interface {
    (
        functions { $($name:ident: $type:ty = $symbol:literal,)* }
        objects { $($object:ident = $object_symbol:literal,)* }
    ) => {
        /// What is called, and some objects.
        pub(super) struct Interface {
            $(pub(super) $name: $type,)*
            $(pub(super) $object: Object,)*
        }

        impl Interface {
            pub(super) fn find() -> Option<Self> {
                Some(Self {
                    // SAFETY: the symbols have these types in every supported version.
                    $($name: unsafe { function($symbol)? },)*
                    $($object: symbol($object_symbol)?,)*
                })
            }
        }
    };
}

interface! {
    functions {
        keep: unsafe extern "C" fn(Object) = c"Py_IncRef",
        release: unsafe extern "C" fn(Object) = c"Py_DecRef",
        call: unsafe extern "C" fn(Object) -> Object = c"PyObject_CallNoArgs",
        call_with: unsafe extern "C" fn(Object, Object) -> Object = c"PyObject_CallOneArg",
        list_size: unsafe extern "C" fn(Object) -> isize = c"PyList_Size",
        list_item: unsafe extern "C" fn(Object, isize) -> Object = c"PyList_GetItem",
        attribute: unsafe extern "C" fn(Object, *const c_char) -> Object
            = c"PyObject_GetAttrString",
        utf8: unsafe extern "C" fn(Object, *mut isize) -> *const c_char
            = c"PyUnicode_AsUTF8AndSize",
        is_true: unsafe extern "C" fn(Object) -> c_int = c"PyObject_IsTrue",
        new_integer: unsafe extern "C" fn(i64) -> Object = c"PyLong_FromLongLong",
        integer: unsafe extern "C" fn(Object) -> i64 = c"PyLong_AsLongLong",
        dict_item: unsafe extern "C" fn(Object, Object) -> Object
            = c"PyDict_GetItemWithError",
        dict_named: unsafe extern "C" fn(Object, *const c_char) -> Object
            = c"PyDict_GetItemString",
        set_named: unsafe extern "C" fn(Object, *const c_char, Object) -> c_int
            = c"PyDict_SetItemString",
        new_dict: unsafe extern "C" fn() -> Object = c"PyDict_New",
        modules: unsafe extern "C" fn() -> Object = c"PyImport_GetModuleDict",
        builtins: unsafe extern "C" fn() -> Object = c"PyEval_GetBuiltins",
        compile: unsafe extern "C" fn(*const c_char, *const c_char, c_int) -> Object
            = c"Py_CompileString",
        evaluate: unsafe extern "C" fn(Object, Object, Object) -> Object = c"PyEval_EvalCode",
        new_function: unsafe extern "C" fn(*const c_void, Object, Object) -> Object
            = c"PyCFunction_NewEx",
        take_error: unsafe extern "C" fn(*mut Object, *mut Object, *mut Object) = c"PyErr_Fetch",
        give_error: unsafe extern "C" fn(Object, Object, Object) = c"PyErr_Restore",
        clear_error: unsafe extern "C" fn() = c"PyErr_Clear",
    }
    objects {
        none = c"_Py_NoneStruct",
        coroutine_type = c"PyCoro_Type",
    }
}

/// Words of a type behind its head (`struct _typeobject`), unchanged since Python 3.8.
#[derive(Clone, Copy)]
pub(super) enum Slot {
    Deallocate = 4,
    AsAsync = 8,
    Initialize = 35,
    Free = 38,
}

/// `am_await` and `am_send`, among the functions that [`Slot::AsAsync`] points to.
pub(super) const AWAIT: usize = 0;
pub(super) const SEND: usize = 3;

/// Where a slot of a type lies.
///
/// # Safety
///
/// `class` is a type, whose head has `header` bytes.
pub(super) unsafe fn slot(class: Object, header: usize, slot: Slot) -> *mut usize {
    // SAFETY: the caller's promise.
    unsafe { class.cast::<usize>().add(header / 8 + slot as usize) }
}
