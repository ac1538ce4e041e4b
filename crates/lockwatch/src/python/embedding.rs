//! Python code of this library that runs in the program's interpreter, once per piece.
//!
//! Classes that are written in Python are watched by giving their methods new code (`swap.py`),
//! which calls functions of this library: each takes one object, returns one, and raises nothing.
//! The classes, their methods and references to them stay the same objects.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::interface::{Object, function, symbol};

/// The file that our own Python frames are of.
pub(super) const FILE: &CStr = c"<vespiary locks>";

/// What comes before each piece.
const SWAP: &str = concat!(include_str!("swap.py"), "\0");

static INTERFACE: AtomicPtr<Interface> = AtomicPtr::new(ptr::null_mut());

/// Finds what is called, once; whether it is there.
pub(super) fn prepare() -> bool {
    let Some(python) = Interface::find() else {
        return false;
    };
    INTERFACE.store(Box::into_raw(Box::new(python)), Ordering::Release);
    true
}

/// What is called; none where there is no whole interpreter.
pub(super) fn interface() -> Option<&'static Interface> {
    // SAFETY: null or a leaked box.
    unsafe { INTERFACE.load(Ordering::Acquire).as_ref() }
}

/// `METH_O` of `methodobject.h`.
const ONE: c_int = 8;

type Function = unsafe extern "C" fn(Object, Object) -> Object;

/// `PyMethodDef`.
#[repr(C)]
pub(super) struct Definition {
    name: *const c_char,
    function: Function,
    flags: c_int,
    doc: *const c_char,
}

// SAFETY: the texts are constants, and nobody writes a definition.
unsafe impl Sync for Definition {}

/// A function that a piece of Python calls by a name in capitals.
pub(super) const fn define(name: &'static CStr, function: Function) -> Definition {
    Definition {
        name: name.as_ptr(),
        function,
        flags: ONE,
        doc: ptr::null(),
    }
}

/// `None`, as a new reference.
pub(super) fn nothing(python: &Interface) -> Object {
    // SAFETY: the interpreter's own object.
    unsafe { (python.keep)(python.none) };
    python.none
}

/// Runs a piece of Python, to which `modules` is `sys.modules`; gives its names, which are kept.
///
/// # Safety
///
/// The thread holds the GIL and has no error set; the source ends with a zero.
pub(super) unsafe fn run(
    python: &Interface,
    source: &'static str,
    definitions: &'static [Definition],
) -> Option<Object> {
    // SAFETY: the caller's promise; definitions are static, and the references are never dropped.
    unsafe {
        let names = (python.new_dict)();
        (python.set_named)(names, c"__builtins__".as_ptr(), (python.builtins)());
        (python.set_named)(names, c"modules".as_ptr(), (python.modules)());
        for definition in definitions {
            let none = ptr::null_mut();
            let function = (python.new_function)(ptr::from_ref(definition).cast(), none, none);
            (python.set_named)(names, definition.name, function);
        }
        for text in [SWAP, source] {
            let file_input: c_int = 257;
            let code = (python.compile)(text.as_ptr().cast::<c_char>(), FILE.as_ptr(), file_input);
            if code.is_null() || (python.evaluate)(code, names, names).is_null() {
                return None;
            }
        }
        Some(names)
    }
}

/// A module of the program, once it has been executed to its end; borrowed.
///
/// # Safety
///
/// The thread holds the GIL and has no error set.
pub(super) unsafe fn module(python: &Interface, name: &CStr) -> Option<Object> {
    // SAFETY: the caller's promise; the reference is the table's.
    unsafe {
        let module = (python.dict_named)((python.modules)(), name.as_ptr());
        (!module.is_null() && !is_importing(python, module)).then_some(module)
    }
}

/// Whether a module is still being executed.
unsafe fn is_importing(python: &Interface, module: Object) -> bool {
    // SAFETY: the caller holds the GIL; each new reference is released.
    unsafe {
        let mut object = module;
        for (position, name) in [c"__spec__", c"_initializing"].into_iter().enumerate() {
            let next = (python.attribute)(object, name.as_ptr());
            if position > 0 {
                (python.release)(object);
            }
            if next.is_null() {
                (python.clear_error)();
                return false;
            }
            object = next;
        }
        let is_importing = (python.is_true)(object) != 0;
        (python.release)(object);
        is_importing
    }
}

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
