//! Locks end with the memory that contains them: a block that is freed, or a frame that has
//! returned.
//!
//! Many programs never destroy a lock, and the next lock at the same address is another one. A
//! freed block is searched for locks only if a lock was ever seen in one of its pages. A lock on
//! the stack of its own thread is in the frame of some call. As long as the return address above
//! this frame is the same, the frame counts as the same.

use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::layout::{ALIVE, Lock};
use crate::readable::Stack;
use crate::{locks, region, restrictions, stacks, threads};

const PAGE_BITS: u32 = 12;
const FILTER: usize = 1 << 16;
/// Larger blocks are compared with every lock instead of looked through word by word.
const BLOCK_BYTES_MAX: u64 = 1 << 14;
/// How far above the stack pointer a frame is looked for, on any stack this thread is.
const STACK_BYTES: u64 = 8 << 20;

/// A bit for each page, by its hash: whether a lock was seen there.
static PAGES: [AtomicU64; FILTER / 64] = [const { AtomicU64::new(0) }; FILTER / 64];

fn bit(page: u64) -> (usize, u64) {
    let hash =
        (page.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - FILTER.trailing_zeros())) as usize;
    (hash / 64, 1 << (hash % 64))
}

/// A lock was seen at an address for the first time.
pub(crate) fn seen(lock: &Lock, address: u64) {
    let (word, mask) = bit(address >> PAGE_BITS);
    PAGES[word].fetch_or(mask, Ordering::Relaxed);
    let here = 0_u8;
    let stack = &raw const here as u64;
    if (stack..stack + STACK_BYTES).contains(&address)
        && let Some((place, value)) = stacks::frame_of(address)
    {
        lock.frame_return.store(value, Ordering::Relaxed);
        lock.frame.store(place, Ordering::Relaxed);
    }
}

/// Whether a lock is still the same: it is not if it was in a frame of this thread's stack that has
/// returned.
#[inline]
pub(crate) fn is_same(lock: &Lock) -> bool {
    let frame = lock.frame.load(Ordering::Relaxed);
    frame == 0 || is_same_frame(lock, frame)
}

#[cold]
fn is_same_frame(lock: &Lock, frame: u64) -> bool {
    let here = 0_u8;
    // Another stack may not exist any more, so it cannot be read.
    Stack::at(&raw const here as u64)
        .read(frame)
        .is_none_or(|value| value == lock.frame_return.load(Ordering::Relaxed))
}

/// Whether a lock was ever seen in one of its pages.
pub(crate) fn has_lock(address: u64, bytes: u64) -> bool {
    let last = (address + bytes.max(1) - 1) >> PAGE_BITS;
    ((address >> PAGE_BITS)..=last).any(|page| {
        let (word, mask) = bit(page);
        PAGES[word].load(Ordering::Relaxed) & mask != 0
    })
}

/// Whether there is memory at an address.
pub(crate) fn is_mapped(address: u64) -> bool {
    if restrictions::has_filter() {
        return true;
    }
    let mut resident = 0_u8;
    let page = address >> PAGE_BITS << PAGE_BITS;
    // SAFETY: one page is asked for, which takes one byte; where none is mapped it is an error.
    unsafe { libc::mincore(page as *mut c_void, 1, &raw mut resident) == 0 }
}

/// The locks in a block end with it.
#[inline]
pub(crate) fn leave(block: *mut c_void) {
    let address = block as u64;
    let (word, mask) = bit(address >> PAGE_BITS);
    let is_near = PAGES[word].load(Ordering::Relaxed) & mask != 0;
    if !is_near && region::present().is_none() {
        return;
    }
    // SAFETY: the caller frees the block, so it is one.
    let bytes = unsafe { libc::malloc_usable_size(block) } as u64;
    if (is_near || bytes >= 1 << PAGE_BITS) && has_lock(address, bytes) {
        end_all(address, bytes);
    }
}

/// Memory is unmapped: the locks in it end. The kernel unmaps whole pages (munmap(2)).
pub(crate) fn unmap(address: u64, bytes: u64) {
    const FILTERED_BYTES_MAX: u64 = 1 << 24;
    let bytes = in_pages(bytes);
    if bytes != 0
        && address.checked_add(bytes).is_some()
        && region::present().is_some()
        && (bytes > FILTERED_BYTES_MAX || has_lock(address, bytes))
    {
        end_all(address, bytes);
    }
}

/// How much memory the pages have that so many bytes need; 0 where there cannot be so many.
pub(crate) fn in_pages(bytes: u64) -> u64 {
    bytes.checked_next_multiple_of(1 << PAGE_BITS).unwrap_or(0)
}

/// A library or a segment of shared memory may be gone: the locks end whose memory is. `errno`
/// stays what it was.
pub(crate) fn end_unmapped() {
    // SAFETY: the thread's own.
    let before = unsafe { *libc::__errno_location() };
    end_without_memory();
    // SAFETY: the same.
    unsafe { *libc::__errno_location() = before };
}

fn end_without_memory() {
    let Some(region) = region::present().filter(|_| !threads::is_aside()) else {
        return;
    };
    let count = region.header.locks.load(Ordering::Relaxed) as usize;
    // Neighbours are mostly on one page.
    let mut page = 0;
    let mut is_there = true;
    for lock in &region.locks[..count.min(region.locks.len())] {
        let address = lock.address.load(Ordering::Relaxed);
        if lock.state.load(Ordering::Relaxed) != ALIVE || address == 0 {
            continue;
        }
        if address >> PAGE_BITS != page {
            page = address >> PAGE_BITS;
            is_there = is_mapped(address);
        }
        if !is_there {
            locks::end(region, address);
        }
    }
}

/// The locks within some memory end.
#[cold]
pub(crate) fn end_all(address: u64, bytes: u64) {
    // From within this library too: the unwinder and the interpreter free what is theirs.
    let Some(region) = region::present().filter(|_| !threads::is_aside()) else {
        return;
    };
    if bytes > BLOCK_BYTES_MAX {
        let count = region.header.locks.load(Ordering::Relaxed) as usize;
        for lock in &region.locks[..count.min(region.locks.len())] {
            let at = lock.address.load(Ordering::Relaxed);
            if (address..address + bytes).contains(&at) {
                locks::end(region, at);
            }
        }
        return;
    }
    for at in (address..address + bytes).step_by(8) {
        locks::end(region, at);
    }
}
