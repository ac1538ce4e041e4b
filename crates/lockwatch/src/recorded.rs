//! What is recorded already, as hashes in a table of fixed size. A hash for which there is no room
//! is not stored, and the caller is informed.

use std::sync::atomic::{AtomicU64, Ordering};

#[inline]
pub(crate) fn mix(hash: u64, value: u64) -> u64 {
    (hash ^ value)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .rotate_left(31)
}

/// A set of `SLOTS` hashes at most, a power of two; filled by compare-and-swap.
pub(crate) struct Recorded<const SLOTS: usize>([AtomicU64; SLOTS]);

impl<const SLOTS: usize> Recorded<SLOTS> {
    pub(crate) const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; SLOTS])
    }

    /// Puts a hash in; whether it was not there, `None` when there is no room.
    pub(crate) fn put(&self, hash: u64) -> Option<bool> {
        // Zero is an empty slot.
        let hash = hash | 1;
        let mut slot = (hash >> (64 - SLOTS.trailing_zeros())) as usize;
        for _ in 0..SLOTS {
            if self.0[slot].load(Ordering::Acquire) == hash {
                return Some(false);
            }
            match self.0[slot].compare_exchange(0, hash, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(true),
                Err(there) if there == hash => return Some(false),
                Err(_) => slot = (slot + 1) % SLOTS,
            }
        }
        None
    }

    /// Empties it; for a new child.
    pub(crate) fn forget(&self) {
        // SAFETY: atomics that are zero are empty slots.
        unsafe { wipe(&raw const self.0) };
    }
}

/// Zeroes a static that is zeroed at first, in a child: by giving its pages back, since looking at
/// megabytes would cost each fork more than all else.
///
/// # Safety
///
/// `T` is made of atomics, of which zero is a value, and the static is one (of the object's own
/// zeroed pages).
pub(crate) unsafe fn wipe<T>(table: *const T) {
    const PAGE: usize = 4096;
    let start = table.addr();
    let end = start + size_of::<T>();
    let (first, last) = (start.next_multiple_of(PAGE), end / PAGE * PAGE);
    let zero = |from: usize, to: usize| {
        // SAFETY: bytes of the table, which nobody else uses in a new child.
        unsafe {
            table
                .cast_mut()
                .with_addr(from)
                .cast::<u8>()
                .write_bytes(0, to - from);
        };
    };
    if first >= last {
        return zero(start, end);
    }
    zero(start, first);
    zero(last, end);
    // SAFETY: whole pages of the table, private and of no file: they read as zeroes afterwards.
    unsafe {
        let pages = table.cast_mut().with_addr(first).cast();
        if libc::madvise(pages, last - first, libc::MADV_DONTNEED) != 0 {
            zero(first, last);
        }
    }
}
