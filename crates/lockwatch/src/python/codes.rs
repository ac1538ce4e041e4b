//! A cache for places in Python code, so that a stack costs little.
//!
//! If a program creates a lock for each request, a stack is captured for each. It takes hundreds of
//! nanoseconds to find the names of a function and its file, and the line. They are the same for
//! the same instruction of the same code object, and are stored under these two. When a code object
//! is freed, another one may be created at its address. So the type's `tp_dealloc` is replaced by a
//! function that also increases a number, and this number is part of the key.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::Free;
use super::embedding::FILE;
use super::interface::{Interface, Object};
use super::kept_stacks;
use super::layout::{Frame, Layout};
use crate::locks;
use crate::recorded::{mix, wipe};
use crate::region::Region;
use crate::texts;

/// A word of a stack that is a Python frame: this bit, the place of its text, its line.
const PYTHON: u64 = 1 << 63;
const LINE_BITS: u32 = 24;
const LINE_MAX: u64 = (1 << LINE_BITS) - 1;
/// `CO_*` of `code.h`: generators and coroutines of all kinds.
const COROUTINE: u32 = 0x20 | 0x80 | 0x100 | 0x200;

const SLOTS: usize = 1 << 12;

/// Of this library's own Python code.
const OURS: u32 = 1;
const IS_COROUTINE: u32 = 2;
/// What `async with` a lock calls.
const ENTERS: u32 = 4;
/// Of the standard library's `threading`, whose caller is of more interest.
const INNER: u32 = 8;
/// Wakes the threads that wait for a condition.
const NOTIFIES: u32 = 16;
/// Begins to work out what a future will be set to, and sets it.
const RUNS: u32 = 32;
const SETS: u32 = 64;
/// Of `threading.Semaphore`, and of the executor, which uses one as a signal.
const SEMAPHORE: u32 = 128;
const EXECUTOR: u32 = 256;
/// Of the import lock of a module: takes it, and releases it.
const IMPORTS: u32 = 512;
const IMPORTED: u32 = 1024;
/// Where a flavour of locks begins.
const FLAVOUR_SHIFT: u32 = 16;

/// A place in Python code: an instruction of a code object.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// The word of a stack; 0 where there is no room for its names.
    pub(super) word: u64,
    traits: u32,
}

impl Place {
    /// Where nothing is known.
    pub(super) const UNKNOWN: Self = Self { word: 0, traits: 0 };

    pub(super) fn is_ours(self) -> bool {
        self.traits & OURS != 0
    }

    pub(super) fn is_coroutine(self) -> bool {
        self.traits & IS_COROUTINE != 0
    }

    pub(super) fn enters(self) -> bool {
        self.traits & ENTERS != 0
    }

    pub(super) fn is_inner(self) -> bool {
        self.traits & INNER != 0
    }

    /// Whether a semaphore of `threading` is taken, by something else than an executor.
    pub(super) fn takes_semaphore(self) -> bool {
        self.traits & (SEMAPHORE | EXECUTOR) == SEMAPHORE
    }

    /// The same place, called from within another one of the standard library's.
    pub(super) fn within(self, inner: Self) -> Self {
        let traits = self.traits | inner.traits & SEMAPHORE;
        Self { traits, ..self }
    }

    pub(super) fn begins_import(self) -> bool {
        self.traits & IMPORTS != 0
    }

    /// Whether the import lock of a module is taken or released.
    pub(super) fn imports(self) -> bool {
        self.traits & (IMPORTS | IMPORTED) != 0
    }

    pub(super) fn runs_future(self) -> bool {
        self.traits & RUNS != 0
    }

    pub(super) fn sets_future(self) -> bool {
        self.traits & SETS != 0
    }

    pub(super) fn notifies(self) -> bool {
        self.traits & NOTIFIES != 0
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
    // SAFETY: the interpreter's own type; `tp_dealloc` is behind the sizes and the name.
    unsafe {
        let free = python.code_type.cast::<usize>().add(header / 8 + 4);
        FREE.store(free.read(), Ordering::Release);
        free.write(free_code as *const () as usize);
    }
}

unsafe extern "C" fn free_code(code: Object) {
    freed(code as u64).fetch_add(1, Ordering::Relaxed);
    kept_stacks::code_freed();
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
/// The frame's code is alive; with `attached` the interpreter may be called.
#[inline]
pub(super) unsafe fn place(
    python: &Interface,
    layout: &Layout,
    region: &Region,
    frame: &Frame,
    attached: bool,
) -> Place {
    let address = frame.code as u64;
    let instruction = frame.instruction.wrapping_sub(frame.code) as u32;
    let number = freed(address).load(Ordering::Relaxed);
    let at = u64::from(number) << 32 | u64::from(instruction);
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
    let (place, is_whole) = unsafe { read(python, layout, region, frame, attached) };
    if is_whole {
        kept.code.store(0, Ordering::Release);
        kept.at.store(at, Ordering::Release);
        kept.word.store(place.word, Ordering::Release);
        kept.traits.store(place.traits, Ordering::Release);
        kept.code.store(address, Ordering::Release);
    }
    place
}

/// Reads a place's names and line; and whether all of them could be.
#[cold]
unsafe fn read(
    python: &Interface,
    layout: &Layout,
    region: &Region,
    frame: &Frame,
    attached: bool,
) -> (Place, bool) {
    // SAFETY: as for `place`; the code keeps its texts alive.
    unsafe {
        let (file, function) = layout.texts(frame.code);
        let file = letters(python, layout, file, attached);
        let function = letters(python, layout, function, attached);
        let is_whole = file.is_some() && function.is_some();
        let (file, function) = (file.unwrap_or(b"?"), function.unwrap_or(b"?"));
        let mut traits = match function {
            b"Condition.wait" => locks::SIGNAL << FLAVOUR_SHIFT,
            b"Thread._set_tstate_lock" | b"Thread._reset_internal_locks" => {
                locks::LIFE << FLAVOUR_SHIFT
            }
            b"_ContextManagerMixin.__aenter__" => ENTERS,
            b"Condition.notify" => NOTIFIES,
            b"Semaphore.acquire" => SEMAPHORE,
            b"Future.set_running_or_notify_cancel" => RUNS,
            b"_ModuleLock.acquire" => IMPORTS,
            b"_ModuleLock.release" => IMPORTED,
            b"Future.set_result" | b"Future.set_exception" => SETS,
            _ => 0,
        };
        if file == FILE.to_bytes() {
            traits |= OURS;
        }
        if file.ends_with(b"/concurrent/futures/thread.py") {
            traits |= EXECUTOR;
        }
        if file.ends_with(b"/threading.py") {
            traits |= INNER;
        }
        if layout.flags(frame.code) & COROUTINE != 0 {
            traits |= IS_COROUTINE;
        }
        let line = layout.line(frame).min(LINE_MAX);
        // Since Python 3.12 a call of a class goes through a frame of the interpreter's own, whose
        // file and function are both `__init__`: but only once that call has been specialized.
        let word = if file == function {
            0
        } else {
            texts::keep(region, function, file)
                .map_or(0, |place| PYTHON | u64::from(place) << LINE_BITS | line)
        };
        (Place { word, traits }, is_whole)
    }
}

/// A text's letters; none where they cannot be read without the GIL.
///
/// # Safety
///
/// As for `place`; the letters live as long as the text.
unsafe fn letters<'a>(
    python: &Interface,
    layout: &Layout,
    text: Object,
    attached: bool,
) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise; the letters of ASCII texts are there without being made.
    unsafe {
        if text.is_null() || !(attached || layout.is_ascii(text)) {
            return None;
        }
        let mut length = 0;
        let bytes = (python.utf8)(text, &raw mut length);
        if bytes.is_null() {
            (python.clear_error)();
            return None;
        }
        Some(std::slice::from_raw_parts(bytes.cast(), length as usize))
    }
}
