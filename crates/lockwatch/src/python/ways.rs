//! The ways in which the interpreter calls a method, and ours for each.

use std::ffi::c_int;
use std::sync::atomic::Ordering;

use super::interface::Object;
use super::{HOOKS, METHOD_COUNT, around};

type NoKeywords = unsafe extern "C" fn(Object, Object) -> Object;
pub(super) type Keywords = unsafe extern "C" fn(Object, Object, Object) -> Object;
type Fast = unsafe extern "C" fn(Object, *const Object, isize) -> Object;

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
    around(hook, lock, None, || unsafe { real(lock, arguments) })
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
    around(hook, lock, Some((arguments, named)), || unsafe {
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
    around(hook, lock, None, || unsafe { real(lock, arguments, count) })
}
