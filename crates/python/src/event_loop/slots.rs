//! Where the fields of Python objects are: `__slots__` of a class are at fixed offsets, which the
//! class's member descriptors know.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;
use std::ffi::CStr;

/// The place of a slot in every object of a class, and of its subclasses.
#[derive(Clone, Copy)]
pub(super) struct Slot(isize);

impl Slot {
    /// The slot of this name; None where the class has none.
    pub(super) fn of(class: &Bound<'_, PyType>, name: &str) -> Option<Self> {
        let found = class.getattr(name).ok()?;
        let kind = found.get_type();
        if kind.name().ok()?.to_str().ok()? != "member_descriptor" {
            return None;
        }
        // SAFETY: attached; the object is a member descriptor, whose definition lives as long as
        // its class.
        unsafe {
            let member = (*found.as_ptr().cast::<ffi::PyMemberDescrObject>()).d_member;
            let is_object = matches!((*member).type_code, ffi::Py_T_OBJECT_EX);
            let has_name = CStr::from_ptr((*member).name).to_str() == Ok(name);
            (is_object && has_name).then_some(Self((*member).offset))
        }
    }

    /// What is in the slot: borrowed, and null where nothing is.
    ///
    /// # Safety
    /// Attached; the object is of the slot's class, or of a subclass.
    #[inline]
    pub(super) unsafe fn get(self, object: *mut ffi::PyObject) -> *mut ffi::PyObject {
        // SAFETY: by contract.
        unsafe { *self.place(object) }
    }

    /// A reference to what is in the slot.
    ///
    /// # Safety
    /// As for `get`.
    #[inline]
    pub(super) unsafe fn reference(
        self,
        py: Python<'_>,
        object: *mut ffi::PyObject,
    ) -> Option<Bound<'_, PyAny>> {
        // SAFETY: by contract; what a slot holds is alive.
        unsafe { Bound::from_borrowed_ptr_or_opt(py, self.get(object)) }
    }

    /// Fill the slot of an object that nobody else knows yet, with a reference that becomes its.
    ///
    /// # Safety
    /// As for `get`; the slot is empty.
    #[inline]
    pub(super) unsafe fn fill(self, object: *mut ffi::PyObject, value: *mut ffi::PyObject) {
        // SAFETY: by contract.
        unsafe { *self.place(object) = value };
    }

    /// Set the slot to an object that lives as long as the interpreter (True, False).
    ///
    /// # Safety
    /// As for `get`; the slot holds such an object, or nothing.
    #[inline]
    pub(super) unsafe fn set_bool(self, object: *mut ffi::PyObject, value: bool) {
        // SAFETY: by contract. Before CPython 3.12 both objects are counted.
        unsafe {
            let new = if value {
                ffi::Py_True()
            } else {
                ffi::Py_False()
            };
            ffi::Py_INCREF(new);
            let old = std::mem::replace(&mut *self.place(object), new);
            ffi::Py_XDECREF(old);
        }
    }

    /// Whether the slot holds True.
    ///
    /// # Safety
    /// As for `get`.
    #[inline]
    pub(super) unsafe fn is_true(self, object: *mut ffi::PyObject) -> bool {
        // SAFETY: by contract.
        unsafe { self.get(object) == ffi::Py_True() }
    }

    #[inline]
    unsafe fn place(self, object: *mut ffi::PyObject) -> *mut *mut ffi::PyObject {
        // SAFETY: the offset is within the object, and aligned for a pointer.
        unsafe { object.cast::<u8>().offset(self.0).cast() }
    }
}
