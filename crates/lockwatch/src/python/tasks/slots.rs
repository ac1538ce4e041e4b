//! The slots of types that are replaced.

use crate::python::interface::Object;

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
