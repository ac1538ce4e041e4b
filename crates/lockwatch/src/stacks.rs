//! Stacks: captured by the unwinder ([`unwind`]), and each stored once.
//!
//! A stack is a word with its length, and then the return addresses, the innermost first. The
//! watcher finds out what the addresses mean, from the process's map of files. A frame of Python
//! code is a word with the highest bit set (`python::stack`).
//!
//! All this happens on the stack of the thread that takes a lock, which may have only 16 KiB, or
//! may be that of a signal handler. If less than [`ROOM`] is left, only the current place is
//! stored.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::interpreter::{self, Frames};
use crate::layout::{Lost, WORDS_MAX};
use crate::recorded::wipe;
use crate::region::Region;
use crate::{held, locks, modules, readable, threads, unwind};

const DEPTH_MAX: usize = 48;
/// Bytes of stack that a capture takes at most, measured, with a reserve.
const ROOM: u64 = 7 << 10;
const KNOWN: usize = 1 << 15;
/// Neighbours that are checked; where all are taken the first is replaced, and a stack may be kept
/// twice.
const KNOWN_STEPS: usize = 8;

/// A hash in the upper half, the stack's place in the lower: stacks that are kept already.
static KNOWN_STACKS: [AtomicU64; KNOWN] = [const { AtomicU64::new(0) }; KNOWN];

struct Capture {
    addresses: [u64; DEPTH_MAX],
    /// Where on the stack the frame before each ends.
    ends: [u64; DEPTH_MAX],
    count: usize,
}

/// Keeps the stack of the caller of ours that returns to `site`; gives its place plus one, 0 when
/// it could not be kept. Frames of Python code follow the native frame that runs them.
#[cold]
#[inline(never)]
pub(crate) fn capture(region: &Region, site: u64) -> u32 {
    if !readable::has_room(ROOM) {
        return if site == 0 { 0 } else { keep(region, &[site]) };
    }
    if site == 0 && !is_mixed() {
        // A Python lock's operation: no native place is worth telling.
        return interpreter::stack(region);
    }
    let python = interpreter::frames(region);
    let mut capture = Capture {
        addresses: [0; DEPTH_MAX],
        ends: [0; DEPTH_MAX],
        count: 0,
    };
    // Frames of ours come first; the stack begins at the caller's.
    let mut has_begun = site == 0;
    unwind::walk(|frame| {
        has_begun |= frame.address == site;
        if has_begun {
            capture.addresses[capture.count] = frame.address;
            capture.ends[capture.count] = frame.stack_pointer;
            capture.count += 1;
        }
        capture.count < DEPTH_MAX
    });
    if capture.count == 0 && site != 0 {
        // The unwinder did not get there: the place itself is still worth telling.
        capture.addresses[0] = site;
        capture.count = 1;
    }
    let addresses = &capture.addresses[..capture.count];
    modules::know(region, addresses);
    if python.words().is_empty() {
        return keep(region, addresses);
    }
    capture.keep_mixed(region, &python)
}

impl Capture {
    #[inline(never)]
    fn keep_mixed(&self, region: &Region, python: &Frames) -> u32 {
        let mut words = [0; DEPTH_MAX + interpreter::WORDS_MAX];
        let count = self.mix(python, &mut words);
        keep(region, &words[..count])
    }

    /// Native frames and those of Python code in one order; gives their number.
    fn mix(&self, python: &Frames, words: &mut [u64]) -> usize {
        let mut count = 0;
        let mut put = |some: &[u64]| {
            words[count..count + some.len()].copy_from_slice(some);
            count += some.len();
        };
        let mut calls = python.calls().peekable();
        for (position, address) in self.addresses[..self.count].iter().enumerate() {
            put(&[*address]);
            // Where the next frame begins, this one ends.
            let end = self.ends[..self.count].get(position + 1).copied();
            let is_within = |at: usize| at != 0 && end.is_none_or(|end| (at as u64) < end);
            while let Some((some, _)) = calls.next_if(|(_, at)| is_within(*at)) {
                put(some);
            }
        }
        for (some, _) in calls {
            put(some);
        }
        count
    }
}

/// Whether this thread holds a native lock: then the native frames between those of Python code are
/// worth telling too.
fn is_mixed() -> bool {
    threads::present().is_some_and(|(region, thread)| {
        held::entries(thread).iter().any(|entry| {
            let lock = entry.lock.load(Ordering::Relaxed);
            entry.depth.load(Ordering::Relaxed) > 0
                && !locks::is_python(region, lock)
                && !interpreter::is_gil(lock)
        })
    })
}

/// The call of this thread in whose frame an address lies: where the return address above the
/// frame is kept, and that address.
pub(crate) fn frame_of(address: u64) -> Option<(u64, u64)> {
    if !cfg!(target_arch = "x86_64") {
        return None;
    }
    let mut end = None;
    unwind::walk(|frame| {
        end = Some(frame.stack_pointer).filter(|end| *end > address);
        end.is_none()
    });
    // A caller's stack pointer is where its callee's frame ends; there, on this processor, the
    // return address is the frame's last word.
    let place = end? - 8;
    // SAFETY: the word lies in a live frame of this thread's stack.
    Some((place, unsafe { (place as *const u64).read_volatile() }))
}

/// Keeps a stack; gives its place plus one, 0 when it is empty or there is no room.
pub(crate) fn keep(region: &Region, words: &[u64]) -> u32 {
    if words.is_empty() {
        return 0;
    }
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for word in words {
        hash = (hash ^ word)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(29);
    }
    let first = (hash >> 49) as usize;
    let mut free = &KNOWN_STACKS[first];
    for step in 0..KNOWN_STEPS {
        let known = &KNOWN_STACKS[(first + step) % KNOWN];
        let entry = known.load(Ordering::Acquire);
        if entry == 0 {
            free = known;
            break;
        }
        if entry >> 32 == hash >> 32 && is_at(region, entry as u32, words) {
            return entry as u32 + 1;
        }
    }
    let needed = words.len() + 1;
    let place = region
        .header
        .words
        .fetch_add(needed as u32, Ordering::Relaxed) as usize;
    if place + needed > WORDS_MAX {
        region
            .header
            .words
            .store(WORDS_MAX as u32, Ordering::Relaxed);
        region.lose(Lost::Words);
        return 0;
    }
    for (slot, word) in region.words[place + 1..].iter().zip(words) {
        slot.store(*word, Ordering::Relaxed);
    }
    region.words[place].store(words.len() as u64, Ordering::Release);
    free.store(hash >> 32 << 32 | place as u64, Ordering::Release);
    place as u32 + 1
}

fn is_at(region: &Region, place: u32, words: &[u64]) -> bool {
    let place = place as usize;
    region.words[place].load(Ordering::Acquire) == words.len() as u64
        && region.words[place + 1..]
            .iter()
            .zip(words)
            .all(|(slot, word)| slot.load(Ordering::Relaxed) == *word)
}

/// In a new child nothing is known yet.
pub(crate) fn forget() {
    // SAFETY: a static of atomics that is zeroed at first.
    unsafe { wipe(&raw const KNOWN_STACKS) };
}
