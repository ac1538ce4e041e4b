//! What the interpreter in the process provides to code that does not depend on an interpreter.
//!
//! The code that records locks, threads and stacks asks here for the frames of the interpreter's
//! code, and for what the interpreter uses its locks for. The module of the interpreter that was
//! found (`python`) registers itself here once.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::layout::Thread;
use crate::region::Region;

/// Frames that are reported, and calls.
pub(crate) const WORDS_MAX: usize = 40;
const CALLS_MAX: usize = 16;

/// An interpreter that was found.
pub(crate) trait Interpreter: Sync {
    /// The frames of its code of this thread, innermost first, as words of a stack.
    fn frames(&self, region: &Region) -> Frames;
    /// Keeps the same as a stack; gives its place plus one, 0 when there is none or no room.
    fn stack(&self, region: &Region) -> u32;
    /// What one of its own locks is used for, found at its first use from the code that takes it.
    fn flavour(&self, region: &Region) -> u32;
    /// Whether this thread makes a step of a task that holds a lock of tasks, or may.
    fn is_locked_task(&self, region: &Region) -> bool;
    /// One of its own locks is seen for the first time.
    fn met_lock(&self);
    /// Whether it ends or has ended.
    fn is_ending(&self) -> bool;
    /// The first thread of a new child runs.
    fn after_fork(&self, region: &Region, thread: &Thread);
}

static FOUND: OnceLock<&'static dyn Interpreter> = OnceLock::new();

/// The interpreter's lock's number, plus one.
static GIL: AtomicU32 = AtomicU32::new(0);

/// There is one.
pub(crate) fn found(interpreter: &'static dyn Interpreter) {
    FOUND.get_or_init(|| interpreter);
}

/// The one that was found.
#[inline]
pub(crate) fn get() -> Option<&'static dyn Interpreter> {
    FOUND.get().copied()
}

/// The frames of an interpreter's code of this thread.
pub(crate) fn frames(region: &Region) -> Frames {
    get().map_or_else(Frames::none, |interpreter| interpreter.frames(region))
}

/// Keeps them as a stack; gives its place plus one, 0 when there is none or no room.
pub(crate) fn stack(region: &Region) -> u32 {
    get().map_or(0, |interpreter| interpreter.stack(region))
}

/// The number of the interpreter's own lock is known, or not any more.
pub(crate) fn know_gil(number: Option<u32>) {
    GIL.store(number.map_or(0, |number| number + 1), Ordering::Relaxed);
}

/// The number of the interpreter's own lock.
pub(crate) fn gil() -> Option<u32> {
    GIL.load(Ordering::Relaxed).checked_sub(1)
}

/// Whether a lock is the interpreter's own.
#[inline]
pub(crate) fn is_gil(lock: u32) -> bool {
    GIL.load(Ordering::Relaxed) == lock + 1
}

/// This thread's frames as words, innermost first, and which of them belong to one call of C into
/// Python: up to which word, and where on the native stack that call lies (0 if that is not known).
pub(crate) struct Frames {
    words: [u64; WORDS_MAX],
    count: usize,
    calls: [(usize, usize); CALLS_MAX],
    call_count: usize,
}

impl Frames {
    pub(crate) const fn none() -> Self {
        Self {
            words: [0; WORDS_MAX],
            count: 0,
            calls: [(0, 0); CALLS_MAX],
            call_count: 0,
        }
    }

    /// Whether no further frame is reported.
    pub(crate) fn is_full(&self) -> bool {
        self.count == WORDS_MAX
    }

    /// Adds a frame; there is room.
    pub(crate) fn push(&mut self, word: u64) {
        self.words[self.count] = word;
        self.count += 1;
    }

    /// All words.
    pub(crate) fn words(&self) -> &[u64] {
        &self.words[..self.count]
    }

    /// The words of each call, and where it lies.
    pub(crate) fn calls(&self) -> impl Iterator<Item = (&[u64], usize)> {
        let calls = &self.calls[..self.call_count];
        calls.iter().enumerate().map(|(number, (end, at))| {
            let start = number.checked_sub(1).map_or(0, |before| calls[before].0);
            (&self.words[start..*end], *at)
        })
    }

    /// The words since the last call belong to one that lies at an address.
    pub(crate) fn end_call(&mut self, at: usize) {
        let begun = self
            .call_count
            .checked_sub(1)
            .map_or(0, |last| self.calls[last].0);
        if self.count > begun && self.call_count < CALLS_MAX {
            self.calls[self.call_count] = (self.count, at);
            self.call_count += 1;
        }
    }
}
