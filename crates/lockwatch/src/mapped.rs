//! A table in memory of its own, of items that are zero at first; made again in each child.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::resident;

/// `ITEMS` items, once it is open. What is never used of it costs no memory.
pub(crate) struct Mapped<T, const ITEMS: usize>(AtomicPtr<T>);

impl<T: Sync + 'static, const ITEMS: usize> Mapped<T, ITEMS> {
    const BYTES: usize = ITEMS * size_of::<T>();

    /// # Safety
    ///
    /// `T` is made of atomics, of which zero is a value.
    pub(crate) const unsafe fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// Makes an empty table, at the start and in each child.
    pub(crate) fn open(&self) {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh anonymous mapping, or the old one that only this process sees.
        unsafe {
            let old = self.0.swap(ptr::null_mut(), Ordering::AcqRel);
            if !old.is_null() {
                libc::munmap(old.cast(), Self::BYTES);
            }
            let base = libc::mmap(ptr::null_mut(), Self::BYTES, access, flags, -1, 0);
            if base != libc::MAP_FAILED {
                self.0.store(base.cast(), Ordering::Release);
                resident::replace(old as u64, base as u64, Self::BYTES);
            }
        }
    }

    #[inline]
    pub(crate) fn items(&self) -> Option<&'static [T; ITEMS]> {
        let base = self.0.load(Ordering::Acquire).cast::<[T; ITEMS]>();
        // SAFETY: null, or a mapping of this many items, which is only replaced in a child before
        // it is used there.
        unsafe { base.as_ref() }
    }
}
