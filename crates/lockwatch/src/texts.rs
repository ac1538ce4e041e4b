//! Texts in the region, each stored once: names of functions and files that only this process
//! knows.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::layout::{Lost, TEXT_MAX};
use crate::recorded::wipe;
use crate::region::Region;

const SLOTS: usize = 1 << 14;

/// A hash in the upper half, the text's place plus one in the lower.
static KEPT: [AtomicU64; SLOTS] = [const { AtomicU64::new(0) }; SLOTS];

/// Keeps a function's name and its file, each ended by a zero; gives their place.
pub(crate) fn keep(region: &Region, function: &[u8], file: &[u8]) -> Option<u32> {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in function.iter().chain(b"\0").chain(file) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    }
    let mut slot = (hash >> 16) as usize % SLOTS;
    loop {
        let entry = KEPT[slot].load(Ordering::Acquire);
        if entry == 0 {
            break;
        }
        if entry >> 32 == hash >> 32 {
            return Some(entry as u32 - 1);
        }
        slot = (slot + 1) % SLOTS;
    }
    let needed = function.len() + file.len() + 2;
    let place = region
        .header
        .text
        .fetch_add(needed as u32, Ordering::Relaxed) as usize;
    if place + needed > TEXT_MAX {
        region.header.text.store(TEXT_MAX as u32, Ordering::Relaxed);
        region.lose(Lost::Text);
        return None;
    }
    let bytes = function.iter().chain(b"\0").chain(file).chain(b"\0");
    for (cell, byte) in region.text[place..].iter().zip(bytes) {
        cell.store(*byte, Ordering::Relaxed);
    }
    KEPT[slot].store(hash >> 32 << 32 | (place as u64 + 1), Ordering::Release);
    Some(place as u32)
}

/// In a new child the texts are gone with the parent's file.
pub(crate) fn forget() {
    // SAFETY: a static of atomics that is zeroed at first.
    unsafe { wipe(&raw const KEPT) };
}
