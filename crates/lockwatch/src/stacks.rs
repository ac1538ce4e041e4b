//! Stacks: captured by the unwinder, each kept once.
//!
//! A stack is a word that tells its length, then the return addresses from the inside out. What the
//! addresses mean is found outside, from the process's map of files. A frame of Python code is a
//! word with the highest bit set (`python::stack`).

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::python::Frames;
use crate::recorded::wipe;
use crate::region::{Lost, Region, WORDS_MAX};
use crate::{held, locks, modules, python, threads};

const DEPTH_MAX: usize = 48;
const KNOWN: usize = 1 << 15;
/// Neighbours that are looked at; where all are taken the first is replaced, and a stack may be
/// kept twice.
const KNOWN_STEPS: usize = 8;

/// A hash in the upper half, the stack's place in the lower: stacks that are kept already.
static KNOWN_STACKS: [AtomicU64; KNOWN] = [const { AtomicU64::new(0) }; KNOWN];

#[link(name = "gcc_s")]
unsafe extern "C" {
    fn _Unwind_Backtrace(
        visit: extern "C" fn(*mut c_void, *mut c_void) -> c_int,
        data: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIP(context: *mut c_void) -> usize;
    fn _Unwind_GetCFA(context: *mut c_void) -> usize;
}

struct Capture {
    addresses: [u64; DEPTH_MAX],
    /// Where on the stack the frame before each ends.
    ends: [u64; DEPTH_MAX],
    count: usize,
    /// Frames of ours come first; the stack begins at the caller's.
    from: u64,
    begun: bool,
}

extern "C" fn visit(context: *mut c_void, data: *mut c_void) -> c_int {
    const NO_REASON: c_int = 0;
    const END_OF_STACK: c_int = 5;
    // SAFETY: the unwinder hands back the pointer that was given to it.
    let capture = unsafe { &mut *data.cast::<Capture>() };
    // SAFETY: the context is the unwinder's, and live.
    let address = unsafe { _Unwind_GetIP(context) } as u64;
    capture.begun |= address == capture.from;
    if capture.begun {
        capture.addresses[capture.count] = address;
        // SAFETY: as above.
        capture.ends[capture.count] = unsafe { _Unwind_GetCFA(context) } as u64;
        capture.count += 1;
    }
    if capture.count == DEPTH_MAX {
        END_OF_STACK
    } else {
        NO_REASON
    }
}

/// Keeps the stack of the caller of ours that returns to `site`; gives its place plus one, 0 when
/// it could not be kept. Frames of Python code follow the native frame that runs them.
#[cold]
pub(crate) fn capture(region: &Region, site: u64) -> u32 {
    let python = python::frames(region);
    if site == 0 && !is_mixed() {
        // A Python lock's operation: no native place is worth telling.
        return keep(region, python.words());
    }
    let mut capture = Capture {
        addresses: [0; DEPTH_MAX],
        ends: [0; DEPTH_MAX],
        count: 0,
        from: site,
        begun: site == 0,
    };
    // SAFETY: `visit` takes the very structure that is given here, which lives through the call.
    unsafe { _Unwind_Backtrace(visit, (&raw mut capture).cast()) };
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
    let mut words = [0; DEPTH_MAX + python::WORDS_MAX];
    let count = capture.mix(&python, &mut words);
    keep(region, &words[..count])
}

impl Capture {
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
                && !python::gil::is_gil(lock)
        })
    })
}

struct Search {
    address: u64,
    found: Option<u64>,
}

extern "C" fn visit_frame(context: *mut c_void, data: *mut c_void) -> c_int {
    // SAFETY: the unwinder hands back the pointer that was given to it.
    let search = unsafe { &mut *data.cast::<Search>() };
    // SAFETY: the context is the unwinder's, and live.
    let frame = unsafe { _Unwind_GetCFA(context) } as u64;
    if frame > search.address {
        search.found = Some(frame);
        return 5;
    }
    0
}

/// The call of this thread in whose frame an address lies: where the return address above the
/// frame is kept, and that address.
pub(crate) fn frame_of(address: u64) -> Option<(u64, u64)> {
    let mut search = Search {
        address,
        found: None,
    };
    // SAFETY: `visit_frame` takes the very structure that is given here.
    unsafe { _Unwind_Backtrace(visit_frame, (&raw mut search).cast()) };
    if !cfg!(target_arch = "x86_64") {
        return None;
    }
    // The unwinder comes to a caller with the address at which its callee's frame ends; there, on
    // this processor, the return address is the frame's last word.
    let place = search.found? - 8;
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
