//! Where a Python lock is created. This is seen in the `tp_alloc` of its type, which every way to
//! create a lock uses (`threading.Lock`, `_thread.allocate_lock`, a call of the type). A lock of a
//! class that the program derives from the type is allocated elsewhere, and is known from its first
//! use on.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::interface::Object;
use crate::layout::Kind;
use crate::{locks, threads};

type Allocate = unsafe extern "C" fn(Object, isize) -> Object;

/// `tp_alloc`, in words behind an object's head (`PyTypeObject`, unchanged since Python 3.8).
const ALLOCATE_WORDS: usize = 36;

static REAL: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];

/// Puts ours in the place of the type's own.
///
/// # Safety
///
/// `class` is the type of locks with this number, whose head has as many bytes as told.
pub(super) unsafe fn watch(class: Object, number: usize, header_bytes: usize) {
    // SAFETY: a type object, which the interpreter keeps writable.
    unsafe {
        let place = class
            .cast::<usize>()
            .add(header_bytes / size_of::<usize>() + ALLOCATE_WORDS);
        REAL[number].store(place.read(), Ordering::Release);
        let ours: Allocate = if number == 0 {
            allocate::<0>
        } else {
            allocate::<1>
        };
        place.write(ours as usize);
    }
}

unsafe extern "C" fn allocate<const T: usize>(class: Object, count: isize) -> Object {
    // SAFETY: the type's own function, with what the interpreter gave.
    let lock = unsafe {
        let real: Allocate = std::mem::transmute(REAL[T].load(Ordering::Relaxed));
        real(class, count)
    };
    if !lock.is_null()
        && let Some(inside) = threads::enter()
    {
        let kind = if T == 0 {
            Kind::PythonLock
        } else {
            Kind::PythonRecursive
        };
        locks::begin(inside.region, lock as u64, kind, 0);
    }
    lock
}
