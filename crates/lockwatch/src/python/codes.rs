//! What is known of places in Python code, so that a stack costs little.
//!
//! A program that makes a lock for each request has a stack captured for each. The names of a
//! function and its file, and the line, cost hundreds of nanoseconds to ask for; they are the same
//! whenever the same instruction of the same code object is met again, and so kept by these two. A
//! code object that is freed may have a successor at its address: the type's `tp_dealloc` is
//! swapped, and counts a number up that is part of what is compared.

use std::ffi::CStr;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::Free;
use super::interface::{Interface, Object};
use super::tasks;
use crate::locks;
use crate::recorded::{mix, wipe};
use crate::region::Region;
use crate::texts;

/// A word of a stack that is a Python frame: this bit, the place of its text, its line.
const PYTHON: u64 = 1 << 63;
const LINE_BITS: u32 = 24;
/// `CO_*` of `code.h`: generators and coroutines of all kinds.
const COROUTINE: u32 = 0x20 | 0x80 | 0x100 | 0x200;

const SLOTS: usize = 1 << 12;

/// Of this library's own Python code.
const OURS: u32 = 1;
const IS_COROUTINE: u32 = 2;
/// What `async with` a lock calls.
const ENTERS: u32 = 4;
/// Where a flavour of locks begins.
const FLAVOUR_SHIFT: u32 = 8;

/// A place in Python code: an instruction of a code object.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// The word of a stack; 0 where there is no room for its names.
    pub(super) word: u64,
    traits: u32,
}

impl Place {
    pub(super) fn is_ours(self) -> bool {
        self.traits & OURS != 0
    }

    pub(super) fn is_coroutine(self) -> bool {
        self.traits & IS_COROUTINE != 0
    }

    pub(super) fn enters(self) -> bool {
        self.traits & ENTERS != 0
    }

    /// What a lock is for that is first taken here.
    pub(super) fn flavour(self) -> u32 {
        self.traits >> FLAVOUR_SHIFT
    }
}

/// A place that is kept.
struct Kept {
    /// The code object's address; 0 while it is written.
    code: AtomicU64,
    /// The code's number in the upper half, the instruction in the lower.
    at: AtomicU64,
    word: AtomicU64,
    traits: AtomicU32,
}

static KEPT: [Kept; SLOTS] = [const {
    Kept {
        code: AtomicU64::new(0),
        at: AtomicU64::new(0),
        word: AtomicU64::new(0),
        traits: AtomicU32::new(0),
    }
}; SLOTS];
/// How many code objects have been freed, by the hash of their address.
static FREED: [AtomicU32; SLOTS] = [const { AtomicU32::new(0) }; SLOTS];
static FREE: AtomicUsize = AtomicUsize::new(0);

fn slot(hash: u64) -> usize {
    (hash >> (64 - SLOTS.trailing_zeros())) as usize
}

fn freed(code: u64) -> &'static AtomicU32 {
    &FREED[slot(mix(0, code))]
}

/// From now on it is known when a code object is freed.
///
/// # Safety
///
/// The thread holds the GIL; objects have heads of `header` bytes.
pub(super) unsafe fn prepare(python: &Interface, header: usize) {
    // SAFETY: the interpreter's own type; `tp_dealloc` stands behind the sizes and the name.
    unsafe {
        let free = python.code_type.cast::<usize>().add(header / 8 + 4);
        FREE.store(free.read(), Ordering::Release);
        free.write(free_code as *const () as usize);
    }
}

unsafe extern "C" fn free_code(code: Object) {
    freed(code as u64).fetch_add(1, Ordering::Relaxed);
    // SAFETY: the type's own function, with what the interpreter gave.
    unsafe {
        let real: Free = std::mem::transmute(FREE.load(Ordering::Relaxed));
        real(code);
    }
}

/// In a new child the names are gone with the parent's record.
pub(super) fn forget() {
    // SAFETY: a static of atomics that are zeroed at first.
    unsafe { wipe(&raw const KEPT) };
}

/// The place where a frame is.
///
/// # Safety
///
/// The thread holds the GIL; `code` is the frame's, and alive.
pub(super) unsafe fn place(
    python: &Interface,
    region: &Region,
    frame: Object,
    code: Object,
) -> Place {
    // SAFETY: the caller's promise.
    let instruction = unsafe { (python.frame_instruction)(frame) };
    let address = code as u64;
    let number = freed(address).load(Ordering::Relaxed);
    let at = u64::from(number) << 32 | u64::from(instruction.cast_unsigned());
    let kept = &KEPT[slot(mix(mix(0, address), at))];
    if kept.code.load(Ordering::Acquire) == address && kept.at.load(Ordering::Acquire) == at {
        let place = Place {
            word: kept.word.load(Ordering::Acquire),
            traits: kept.traits.load(Ordering::Acquire),
        };
        // Without a GIL another thread may be writing.
        if kept.code.load(Ordering::Relaxed) == address && kept.at.load(Ordering::Relaxed) == at {
            return place;
        }
    }
    // SAFETY: the caller's promise.
    let place = unsafe { ask(python, region, frame, code) };
    kept.code.store(0, Ordering::Release);
    kept.at.store(at, Ordering::Release);
    kept.word.store(place.word, Ordering::Release);
    kept.traits.store(place.traits, Ordering::Release);
    kept.code.store(address, Ordering::Release);
    place
}

/// Asks the interpreter.
#[cold]
unsafe fn ask(python: &Interface, region: &Region, frame: Object, code: Object) -> Place {
    // SAFETY: as for `place`; each new reference is released.
    unsafe {
        let line = (python.frame_line)(frame).max(0) as u64;
        let (function, function_owner) = text(python, code, c"co_qualname");
        let (file, file_owner) = text(python, code, c"co_filename");
        let mut traits = match function {
            b"Condition.wait" => locks::SIGNAL << FLAVOUR_SHIFT,
            b"Thread._set_tstate_lock" | b"Thread._reset_internal_locks" => {
                locks::LIFE << FLAVOUR_SHIFT
            }
            b"_ContextManagerMixin.__aenter__" => ENTERS,
            _ => 0,
        };
        if file == tasks::FILE.to_bytes() {
            traits |= OURS;
        }
        if code_flags(python, code) & COROUTINE != 0 {
            traits |= IS_COROUTINE;
        }
        let word = texts::keep(region, function, file)
            .map_or(0, |place| PYTHON | u64::from(place) << LINE_BITS | line);
        for object in [function_owner, file_owner] {
            if !object.is_null() {
                (python.release)(object);
            }
        }
        Place { word, traits }
    }
}

/// A text of the interpreter's as bytes, empty where there is none.
///
/// # Safety
///
/// The thread holds the GIL; `owner` is alive. The bytes live as long as the attribute's value.
unsafe fn text<'a>(python: &Interface, owner: Object, name: &CStr) -> (&'a [u8], Object) {
    // SAFETY: the caller's promise; a text's bytes live as long as the text.
    unsafe {
        let value = (python.attribute)(owner, name.as_ptr());
        if value.is_null() {
            (python.clear_error)();
            return (b"", value);
        }
        let mut length = 0;
        let bytes = (python.utf8)(value, &raw mut length);
        if bytes.is_null() {
            (python.clear_error)();
            return (b"", value);
        }
        (
            std::slice::from_raw_parts(bytes.cast(), length as usize),
            value,
        )
    }
}

/// `co_flags` of a code object.
unsafe fn code_flags(python: &Interface, code: Object) -> u32 {
    // SAFETY: the caller holds the GIL.
    unsafe {
        let flags = (python.attribute)(code, c"co_flags".as_ptr());
        if flags.is_null() {
            (python.clear_error)();
            return 0;
        }
        let value = (python.as_long)(flags);
        (python.release)(flags);
        value as u32
    }
}
