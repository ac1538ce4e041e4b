//! A cache for whole stacks of Python code.
//!
//! A program that creates locks for each request has the same stacks captured again and again. A
//! frame is known by its code object and its instruction, and a stack by those of all frames that
//! were visited for it. Comparing them takes a tenth of the instructions of finding each frame's
//! place ([`super::codes`]) and the stack among all that are kept. When any code object is freed,
//! another one may be created at its address, so the number of freed ones is compared too.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use super::layout::Layout;
use crate::recorded::{mix, wipe};

const SLOTS: usize = 1 << 9;
/// A stack of which more frames were visited is not kept here.
const DEPTH_MAX: usize = 48;
/// So many frames choose the slot.
const CHOOSING: usize = 4;

struct Kept {
    /// Odd while it is written.
    version: AtomicU32,
    /// Visited frames; 0 where nothing is kept.
    count: AtomicU32,
    /// 1: they are all that there were.
    is_whole: AtomicU32,
    /// Its place plus one.
    stack: AtomicU32,
    /// How many code objects had been freed by then.
    freed: AtomicU64,
    frames: [[AtomicU64; 2]; DEPTH_MAX],
}

static KEPT: [Kept; SLOTS] = [const {
    Kept {
        version: AtomicU32::new(0),
        count: AtomicU32::new(0),
        is_whole: AtomicU32::new(0),
        stack: AtomicU32::new(0),
        freed: AtomicU64::new(0),
        frames: [const { [const { AtomicU64::new(0) }; 2] }; DEPTH_MAX],
    }
}; SLOTS];

/// Code objects that were freed.
static FREED: AtomicU64 = AtomicU64::new(0);

/// A code object is freed.
pub(super) fn code_freed() {
    FREED.fetch_add(1, Ordering::Relaxed);
}

/// In a new child the stacks are gone with the parent's record.
pub(super) fn forget() {
    // SAFETY: a static of atomics that are zeroed at first.
    unsafe { wipe(&raw const KEPT) };
}

/// # Safety
///
/// The frame and those behind it are alive, and stay as they are meanwhile.
#[inline]
unsafe fn slot(layout: &Layout, first: usize) -> &'static Kept {
    let mut hash = 0;
    let mut frame = first;
    for _ in 0..CHOOSING {
        if frame == 0 {
            break;
        }
        // SAFETY: the caller's promise.
        unsafe {
            hash = mix(hash, layout.words(frame)[1]);
            frame = layout.previous(frame);
        }
    }
    &KEPT[(mix(0, hash) >> (64 - SLOTS.trailing_zeros())) as usize]
}

/// The stack of a frame and those behind it, as its place plus one, if it was kept.
///
/// # Safety
///
/// As for `slot`.
pub(super) unsafe fn find(layout: &Layout, first: usize) -> Option<u32> {
    // SAFETY: the caller's promise.
    let kept = unsafe { slot(layout, first) };
    let version = kept.version.load(Ordering::Acquire);
    let count = kept.count.load(Ordering::Relaxed) as usize;
    if version & 1 != 0
        || count == 0
        || kept.freed.load(Ordering::Relaxed) != FREED.load(Ordering::Relaxed)
    {
        return None;
    }
    let mut frame = first;
    for each in kept.frames.get(..count)? {
        if frame == 0 {
            return None;
        }
        // SAFETY: the caller's promise.
        let [code, instruction] = unsafe { layout.words(frame) };
        if each[0].load(Ordering::Relaxed) != code || each[1].load(Ordering::Relaxed) != instruction
        {
            return None;
        }
        // SAFETY: the same.
        frame = unsafe { layout.previous(frame) };
    }
    if frame != 0 && kept.is_whole.load(Ordering::Relaxed) != 0 {
        return None;
    }
    let stack = kept.stack.load(Ordering::Relaxed);
    fence(Ordering::Acquire);
    // Without a GIL another thread may be writing.
    (kept.version.load(Ordering::Relaxed) == version).then_some(stack)
}

/// Keeps the stack for which `count` frames were visited, from `first` on.
///
/// # Safety
///
/// As for `slot`; there are so many.
#[cold]
pub(super) unsafe fn keep(layout: &Layout, first: usize, count: usize, stack: u32) {
    if stack == 0 || count == 0 || count > DEPTH_MAX {
        return;
    }
    // SAFETY: the caller's promise.
    let kept = unsafe { slot(layout, first) };
    let version = kept.version.load(Ordering::Relaxed);
    let is_mine = version & 1 == 0
        && kept
            .version
            .compare_exchange(version, version + 1, Ordering::Acquire, Ordering::Relaxed)
            .is_ok();
    if !is_mine {
        return;
    }
    fence(Ordering::Release);
    let mut frame = first;
    for each in &kept.frames[..count] {
        // SAFETY: the same.
        unsafe {
            for (slot, word) in each.iter().zip(layout.words(frame)) {
                slot.store(word, Ordering::Relaxed);
            }
            frame = layout.previous(frame);
        }
    }
    kept.is_whole
        .store(u32::from(frame == 0), Ordering::Relaxed);
    kept.stack.store(stack, Ordering::Relaxed);
    kept.freed
        .store(FREED.load(Ordering::Relaxed), Ordering::Relaxed);
    kept.count.store(count as u32, Ordering::Relaxed);
    kept.version
        .store(version.wrapping_add(2), Ordering::Release);
}
