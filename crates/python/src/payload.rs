//! A message's bytes as the `bytes` object that the handler gets: allocated at the message's
//! length, filled once.

use crate::process;
use pyo3::ffi;
use pyo3::prelude::*;
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicPtr, Ordering};
use vespiary_engine::Payload;
use vespiary_engine::port::KeptBytes;

unsafe extern "C" {
    /// CPython's C API, "Bytes Objects".
    fn _PyBytes_Resize(bytes: *mut *mut ffi::PyObject, length: isize) -> std::ffi::c_int;
}

/// An owned `bytes` object that nobody else has seen yet.
pub(crate) struct BytesPayload(*mut ffi::PyObject);

impl BytesPayload {
    /// The object; the caller owns it.
    #[inline]
    pub(crate) fn into_ptr(self) -> *mut ffi::PyObject {
        let object = self.0;
        std::mem::forget(self);
        object
    }

    pub(crate) fn into_object(self, py: Python<'_>) -> Py<PyAny> {
        // SAFETY: the pointer is an owned reference to a valid object.
        unsafe { Bound::from_owned_ptr(py, self.into_ptr()) }.unbind()
    }
}

impl Drop for BytesPayload {
    fn drop(&mut self) {
        // SAFETY: an owned reference; payloads live only while the engine runs, attached to the
        // interpreter.
        unsafe { ffi::Py_DECREF(self.0) }
    }
}

impl Payload for BytesPayload {
    #[inline]
    fn with_length(length: usize) -> Option<Self> {
        let length = isize::try_from(length).ok()?;
        if let Some(object) = take_spare(length) {
            return Some(Self(object));
        }
        // SAFETY: the engine runs attached to the interpreter; a null source leaves the content
        // open.
        let object = unsafe { ffi::PyBytes_FromStringAndSize(ptr::null(), length) };
        if object.is_null() {
            // SAFETY: attached; the MemoryError becomes the engine's own refusal.
            unsafe { ffi::PyErr_Clear() };
            return None;
        }
        Some(Self(object))
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        // SAFETY: a valid bytes object, which this payload owns.
        unsafe {
            let length = ffi::Py_SIZE(self.0) as usize;
            std::slice::from_raw_parts(ffi::PyBytes_AS_STRING(self.0).cast::<u8>(), length)
        }
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and nobody else has a reference, so writing is sound. The shared empty
        // object has no byte that could be written.
        unsafe {
            let length = ffi::Py_SIZE(self.0) as usize;
            std::slice::from_raw_parts_mut(
                ffi::PyBytes_AS_STRING(self.0).cast::<u8>().cast_mut(),
                length,
            )
        }
    }

    fn resized(mut self, length: usize) -> Option<Self> {
        let length = isize::try_from(length).ok()?;
        if self.bytes().len() as isize == length {
            return Some(self);
        }
        // SAFETY: an unshared bytes object; on failure it is freed and the pointer set to null.
        let failed = unsafe { _PyBytes_Resize(&raw mut self.0, length) } != 0;
        if failed {
            // SAFETY: attached; see `with_length`.
            unsafe { ffi::PyErr_Clear() };
            std::mem::forget(self);
            return None;
        }
        Some(self)
    }
}

/// A message that its handler has released, to be filled again with the next of the same length:
/// many protocols have messages of one length, and glibc takes 500 instructions to give back and to
/// find a block of 1 KiB (benches, S5). The GIL guards it, and without a GIL there is none.
static SPARE: AtomicPtr<ffi::PyObject> = AtomicPtr::new(ptr::null_mut());

/// The spare, if it has this length. It is the caller's then.
#[inline]
fn take_spare(length: isize) -> Option<*mut ffi::PyObject> {
    let spare = SPARE.load(Ordering::Relaxed);
    // SAFETY: attached; a bytes object that is ours alone.
    unsafe {
        if spare.is_null() || ffi::Py_SIZE(spare) != length {
            return None;
        }
        #[expect(
            deprecated,
            reason = "the object keeps its hash there, which was of other bytes"
        )]
        let hash = &raw mut (*spare.cast::<ffi::PyBytesObject>()).ob_shash;
        *hash = -1;
    }
    SPARE.store(ptr::null_mut(), Ordering::Relaxed);
    Some(spare)
}

/// Drop a message after its delivery; it becomes the spare where nobody has kept it.
#[inline]
pub(crate) fn release_delivered(message: Bound<'_, PyAny>) {
    let object = message.as_ptr();
    // SAFETY: attached, with a valid object, which is asked for its size once it is known to be
    // bytes.
    let is_free = unsafe {
        process::has_gil()
            && ffi::Py_REFCNT(object) == 1
            && ffi::PyBytes_CheckExact(object) != 0
            && (ffi::Py_SIZE(object) as usize) < KEPT_FROM_BYTES
    };
    if !is_free {
        return drop(message);
    }
    let former = SPARE.load(Ordering::Relaxed);
    SPARE.store(message.into_ptr(), Ordering::Relaxed);
    // SAFETY: attached; it was ours, or null.
    unsafe { ffi::Py_XDECREF(former) };
}

/// From how many bytes on a message is kept until it is sent, instead of copied: at 64 KiB that
/// saves a tenth to a seventh of all the work for an echo (benches, S4); below a few pages the
/// longer way through a vectored send costs more than the copy.
const KEPT_FROM_BYTES: usize = 32 << 10;

/// A `bytes` object that is being sent.
pub(crate) struct KeptMessage(Py<PyAny>);

impl KeptMessage {
    /// The message, if it is an exact `bytes` object and large.
    #[inline]
    pub(crate) fn of(message: &Bound<'_, PyAny>) -> Option<Rc<dyn KeptBytes>> {
        // SAFETY: a valid object; its size is read once it is known to be bytes.
        let is_large = unsafe {
            ffi::PyBytes_CheckExact(message.as_ptr()) != 0
                && ffi::Py_SIZE(message.as_ptr()) as usize >= KEPT_FROM_BYTES
        };
        is_large.then(|| -> Rc<dyn KeptBytes> { Rc::new(Self(message.clone().unbind())) })
    }
}

// SAFETY: bytes objects are immutable and do not move, and this one is held by its own reference.
unsafe impl KeptBytes for KeptMessage {
    fn bytes(&self) -> &[u8] {
        // SAFETY: bytes objects are immutable and do not move, and this one is ours for as long as
        // the slice.
        unsafe {
            let length = ffi::Py_SIZE(self.0.as_ptr()) as usize;
            let start = ffi::PyBytes_AS_STRING(self.0.as_ptr()).cast::<u8>();
            std::slice::from_raw_parts(start, length)
        }
    }
}
