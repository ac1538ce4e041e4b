//! Joining a thread since Python 3.13: `_thread._ThreadHandle.join`, which waits within the
//! interpreter before it joins the thread. (In earlier versions, `join` took a lock that the thread
//! held.)

use std::mem::transmute;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::interface::{Interface, Object};
use super::{VARARGS, definition, python};
use crate::ends;

type Join = unsafe extern "C" fn(Object, Object) -> Object;

static REAL: AtomicUsize = AtomicUsize::new(0);

/// Puts ours in the place of the method.
///
/// # Safety
///
/// The thread holds the GIL; `module` is `_thread`; objects have heads of `header` bytes.
pub(super) unsafe fn watch(python: &Interface, module: Object, header: usize) {
    // SAFETY: the caller's promise; the class is kept permanently.
    unsafe {
        let class = (python.attribute)(module, c"_ThreadHandle".as_ptr());
        if class.is_null() {
            return (python.clear_error)();
        }
        if let Some(definition) = definition(python, class, c"join", header)
            && (*definition).flags & VARARGS != 0
        {
            REAL.store((*definition).function, Ordering::Release);
            (*definition).function = join as *const () as usize;
        }
    }
}

unsafe extern "C" fn join(handle: Object, given: Object) -> Object {
    let python = python();
    // SAFETY: the method's own function, with what the interpreter gave.
    let call = || unsafe {
        let real: Join = transmute(REAL.load(Ordering::Relaxed));
        real(handle, given)
    };
    // SAFETY: the interpreter calls a method with a tuple; a new reference is released.
    let thread = unsafe {
        let has_limit =
            (python.tuple_size)(given) > 0 && (python.tuple_item)(given, 0) != python.none;
        let number = (python.attribute)(handle, c"ident".as_ptr());
        if has_limit || number.is_null() {
            (python.clear_error)();
            return call();
        }
        let thread = (python.as_long)(number);
        (python.release)(number);
        (python.clear_error)();
        thread
    };
    ends::while_it_lives(thread as u64, 0, call)
}
