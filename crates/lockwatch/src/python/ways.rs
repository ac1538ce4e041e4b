//! The calling conventions with which the interpreter calls a method, and our function for each.

use std::ffi::{CStr, c_int};
use std::ptr;
use std::sync::atomic::Ordering;

use super::interface::{Interface, Object};
use super::{HOOKS, METHOD_COUNT, around};

type NoKeywords = unsafe extern "C" fn(Object, Object) -> Object;
pub(super) type Keywords = unsafe extern "C" fn(Object, Object, Object) -> Object;
type Fast = unsafe extern "C" fn(Object, *const Object, isize) -> Object;

pub(super) type FastKeywords = unsafe extern "C" fn(Object, *const Object, isize, Object) -> Object;

/// What a method was called with.
pub(super) enum Arguments {
    Nothing,
    /// A tuple, and a dictionary or null.
    Tuple(Object, Object),
    /// An array, how many of it have no name, and the names of the rest or null.
    Array(*const Object, isize, Object),
}

impl Arguments {
    /// How many have no name, and how many have one.
    ///
    /// # Safety
    ///
    /// For all three: the interpreter called a method with these.
    pub(super) unsafe fn counts(&self, python: &Interface) -> (isize, isize) {
        // SAFETY: the caller's promise.
        unsafe {
            match *self {
                Self::Nothing => (0, 0),
                Self::Tuple(given, named) if named.is_null() => ((python.tuple_size)(given), 0),
                Self::Tuple(given, named) => {
                    ((python.tuple_size)(given), (python.dict_size)(named))
                }
                Self::Array(_, count, names) if names.is_null() => (count, 0),
                Self::Array(_, count, names) => (count, (python.tuple_size)(names)),
            }
        }
    }

    /// One without a name, of those that there are.
    pub(super) unsafe fn at(&self, python: &Interface, position: isize) -> Object {
        // SAFETY: the caller's promise.
        unsafe {
            match *self {
                Self::Nothing => ptr::null_mut(),
                Self::Tuple(given, _) => (python.tuple_item)(given, position),
                Self::Array(first, ..) => first.offset(position).read(),
            }
        }
    }

    /// One by its name, null if there is none.
    pub(super) unsafe fn named(&self, python: &Interface, name: &CStr) -> Object {
        // SAFETY: the caller's promise; a name is a text, and its bytes live as long as it.
        unsafe {
            match *self {
                Self::Tuple(_, named) => (python.dict_item)(named, name.as_ptr()),
                Self::Array(first, count, names) => (0..(python.tuple_size)(names))
                    .find(|position| {
                        let mut length = 0;
                        let each = (python.tuple_item)(names, *position);
                        let bytes = (python.utf8)(each, &raw mut length);
                        !bytes.is_null() && CStr::from_ptr(bytes) == name
                    })
                    .map_or(ptr::null_mut(), |position| {
                        first.offset(count + position).read()
                    }),
                Self::Nothing => ptr::null_mut(),
            }
        }
    }
}

/// `METH_*` of `methodobject.h`.
pub(super) const VARARGS: c_int = 1;
pub(super) const KEYWORDS: c_int = 2;
pub(super) const NOARGS: c_int = 4;
pub(super) const ONE: c_int = 8;
pub(super) const FAST: c_int = 128;

/// Our function for a method that is called in one of the interpreter's ways.
pub(super) fn trampoline(number: usize, position: usize, flags: c_int) -> Option<usize> {
    macro_rules! of_type {
        ($function:ident, $type:literal) => {
            [
                $function::<$type, 0>,
                $function::<$type, 1>,
                $function::<$type, 2>,
                $function::<$type, 3>,
                $function::<$type, 4>,
                $function::<$type, 5>,
                $function::<$type, 6>,
                $function::<$type, 7>,
                $function::<$type, 8>,
                $function::<$type, 9>,
            ]
        };
    }
    macro_rules! choose {
        ($function:ident: $type:ty) => {{
            const TABLE: [[$type; METHOD_COUNT]; 3] = [
                of_type!($function, 0),
                of_type!($function, 1),
                of_type!($function, 2),
            ];
            Some(TABLE[number][position] as usize)
        }};
    }
    match flags {
        VARARGS | NOARGS | ONE => choose!(plain: NoKeywords),
        _ if flags == VARARGS | KEYWORDS => choose!(keywords: Keywords),
        FAST => choose!(fast: Fast),
        _ if flags == FAST | KEYWORDS => choose!(fast_keywords: FastKeywords),
        _ => None,
    }
}

unsafe extern "C" fn plain<const T: usize, const M: usize>(
    lock: Object,
    arguments: Object,
) -> Object {
    let hook = &HOOKS[T][M];
    // SAFETY: the method that was found there, of this type.
    let real: NoKeywords = unsafe { std::mem::transmute(hook.real.load(Ordering::Relaxed)) };
    // SAFETY: what the interpreter gave is passed on.
    around(hook, lock, &Arguments::Nothing, || unsafe {
        real(lock, arguments)
    })
}

unsafe extern "C" fn keywords<const T: usize, const M: usize>(
    lock: Object,
    arguments: Object,
    named: Object,
) -> Object {
    let hook = &HOOKS[T][M];
    // SAFETY: the method that was found there, of this type.
    let real: Keywords = unsafe { std::mem::transmute(hook.real.load(Ordering::Relaxed)) };
    // SAFETY: what the interpreter gave is passed on.
    around(hook, lock, &Arguments::Tuple(arguments, named), || unsafe {
        real(lock, arguments, named)
    })
}

unsafe extern "C" fn fast<const T: usize, const M: usize>(
    lock: Object,
    arguments: *const Object,
    count: isize,
) -> Object {
    let hook = &HOOKS[T][M];
    // SAFETY: the method that was found there, of this type.
    let real: Fast = unsafe { std::mem::transmute(hook.real.load(Ordering::Relaxed)) };
    // SAFETY: what the interpreter gave is passed on.
    around(hook, lock, &Arguments::Nothing, || unsafe {
        real(lock, arguments, count)
    })
}

unsafe extern "C" fn fast_keywords<const T: usize, const M: usize>(
    lock: Object,
    arguments: *const Object,
    count: isize,
    names: Object,
) -> Object {
    let hook = &HOOKS[T][M];
    // SAFETY: the method that was found there, of this type.
    let real: FastKeywords = unsafe { std::mem::transmute(hook.real.load(Ordering::Relaxed)) };
    let given = Arguments::Array(arguments, count, names);
    // SAFETY: what the interpreter gave is passed on.
    around(hook, lock, &given, || unsafe {
        real(lock, arguments, count, names)
    })
}
