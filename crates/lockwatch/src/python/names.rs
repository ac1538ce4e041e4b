//! The names of Python's threads. The kernel knows them only since Python 3.14, and only their
//! first fifteen bytes.
//!
//! A thread has its name as soon as `threading` knows it, which is soon after the thread's first
//! operations on locks. So these operations look for it, a few times.

use std::sync::atomic::Ordering;

use super::interface::Interface;
use crate::layout::Thread;
use crate::region::Region;
use crate::texts;

/// Operations of a thread at which its name is looked for.
const TRIES_MAX: u32 = 16;

/// Looks for the thread's name, unless that was done. The thread is attached.
#[inline]
pub(super) fn look(python: &Interface, region: &Region, thread: &Thread) {
    if thread.title_tries.load(Ordering::Relaxed) < TRIES_MAX {
        look_now(python, region, thread);
    }
}

#[cold]
fn look_now(python: &Interface, region: &Region, thread: &Thread) {
    thread.title_tries.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the thread is attached; borrowed objects are used at once, new ones released. Nothing
    // that is called runs code of the program's: the attributes are the plain ones.
    unsafe {
        let module = (python.dict_item)((python.modules)(), c"threading".as_ptr());
        if module.is_null() {
            return;
        }
        let known = (python.attribute)(module, c"_active".as_ptr());
        let key = (python.from_unsigned)(libc::pthread_self());
        let name = (python.new_text)(c"_name".as_ptr());
        if !known.is_null() && !key.is_null() && !name.is_null() {
            let found = (python.dict_get)(known, key);
            if !found.is_null() {
                let title = (python.plain_attribute)(found, name);
                keep(python, region, thread, title);
            }
        }
        for object in [known, key, name] {
            if !object.is_null() {
                (python.release)(object);
            }
        }
        (python.clear_error)();
    }
}

/// # Safety
///
/// The thread is attached; `title` is null or a new reference.
unsafe fn keep(
    python: &Interface,
    region: &Region,
    thread: &Thread,
    title: super::interface::Object,
) {
    if title.is_null() {
        return;
    }
    let mut length = 0;
    // SAFETY: the caller's promise; the letters live as long as the text.
    unsafe {
        let bytes = (python.utf8)(title, &raw mut length);
        if !bytes.is_null() {
            let bytes = std::slice::from_raw_parts(bytes.cast(), length as usize);
            if let Some(place) = texts::keep(region, bytes, b"") {
                thread.title.store(place + 1, Ordering::Relaxed);
                thread.title_tries.store(TRIES_MAX, Ordering::Relaxed);
            }
        }
        (python.release)(title);
    }
}
