//! The stack of Python code, read from the thread's own frames ([`super::layout`]).

use super::codes::{self, Place};
use super::interface::{Interface, Object};
use super::layout::{self, Layout};
use super::{gil, kept_stacks, python};
use crate::interpreter::Frames;
use crate::region::Region;
use crate::{stacks, threads};

/// Frames are not followed further than this: what is read is nobody's promise.
const FRAMES_MAX: usize = 4096;

/// So many frames of the standard library's `threading` are skipped for a lock's place.
const INNER_MAX: usize = 6;

/// Whether this thread may call the interpreter.
fn is_attached(python: &Interface) -> bool {
    match threads::present() {
        Some((_, thread)) if gil::is_known() => gil::is_held(thread),
        // SAFETY: it may be asked at any time.
        _ => unsafe { (python.has_gil)() != 0 },
    }
}

/// What happens to a frame in a stack.
enum Met {
    Told(u64),
    LeftOut,
    /// A task's stack ends with its outermost coroutine: this frame is of what runs tasks.
    End,
}

/// What happens to a frame; `in_task` once the stack is known to be a task's.
fn meet(place: Place, in_task: &mut bool) -> Met {
    if place.is_ours() {
        *in_task |= place.is_coroutine();
        Met::LeftOut
    } else if *in_task && !place.is_coroutine() {
        Met::End
    } else if *in_task && place.enters() || place.word == 0 {
        Met::LeftOut
    } else {
        Met::Told(place.word)
    }
}

/// What is needed to read this thread's frames: where they are kept, and its state.
fn readable(python: &Interface) -> Option<(&'static Layout, Object)> {
    let layout = layout::get()?;
    // SAFETY: both may be asked at any time.
    let (state, is_initialized) = unsafe { ((python.own_state)(), (python.is_initialized)()) };
    (!state.is_null() && is_initialized != 0).then_some((layout, state))
}

/// This thread's frames.
pub(super) fn frames(python: &Interface, region: &Region) -> Frames {
    let Some((layout, state)) = readable(python) else {
        return Frames::none();
    };
    let attached = is_attached(python);
    // SAFETY: an interpreter that ends takes the threads' states away; else the state is this
    // thread's, and its frames stay as they are meanwhile.
    unsafe {
        let call = layout.innermost_call(state);
        let first = layout.innermost(state);
        walk(python, layout, region, first, call, attached).0
    }
}

/// Keeps the stack of this thread's frames; gives its place plus one, 0 when there is none.
pub(super) fn keep(python: &Interface, region: &Region) -> u32 {
    let Some((layout, state)) = readable(python) else {
        return 0;
    };
    let attached = is_attached(python);
    // SAFETY: as for `frames`.
    unsafe {
        let first = layout.innermost(state);
        if attached && let Some(stack) = kept_stacks::find(layout, first) {
            return stack;
        }
        let call = layout.innermost_call(state);
        let (frames, visited) = walk(python, layout, region, first, call, attached);
        let stack = stacks::keep(region, frames.words());
        if attached {
            // What a thread without the GIL cannot read may be missing.
            kept_stacks::keep(layout, first, visited, stack);
        }
        stack
    }
}

/// A frame and those behind it, and how many of them were looked at.
///
/// # Safety
///
/// They are alive, and stay as they are meanwhile; with `attached` the interpreter may be called.
unsafe fn walk(
    python: &Interface,
    layout: &Layout,
    region: &Region,
    first: usize,
    mut call: Option<usize>,
    attached: bool,
) -> (Frames, usize) {
    let mut frames = Frames::none();
    let mut frame = first;
    let mut in_task = false;
    let mut visited = 0;
    while visited < FRAMES_MAX && frame != 0 && !frames.is_full() {
        visited += 1;
        // SAFETY: the caller's promise.
        unsafe {
            let is_entry = layout.is_entry(frame);
            let read = layout
                .read(frame)
                .filter(|read| layout.is_code(python, read.code))
                .filter(|_| !(is_entry && layout.frame.entry_is_own));
            let met = read.as_ref().map_or(Met::LeftOut, |read| {
                meet(
                    codes::place(python, layout, region, read, attached),
                    &mut in_task,
                )
            });
            match met {
                Met::Told(word) => frames.push(word),
                Met::LeftOut => {}
                Met::End => break,
            }
            if is_entry || read.is_none() {
                // A frame that only marks the call lies on the native stack itself.
                frames.end_call(call.unwrap_or(frame));
                call = call.map(|call| layout.outer_call(call));
            }
            frame = layout.previous(frame);
        }
    }
    frames.end_call(0);
    (frames, visited)
}

/// A frame, or the next one where it only marks a call of C into Python; and what it says.
///
/// # Safety
///
/// The frames are this thread's, and stay as they are meanwhile.
#[inline]
unsafe fn own_frame(
    python: &Interface,
    layout: &Layout,
    mut frame: usize,
) -> Option<(usize, layout::Frame)> {
    // SAFETY: the caller's promise.
    unsafe {
        if frame != 0 && layout.frame.entry_is_own && layout.is_entry(frame) {
            frame = layout.previous(frame);
        }
        let read = if frame == 0 { None } else { layout.read(frame) };
        let read = read.filter(|read| layout.is_code(python, read.code))?;
        Some((frame, read))
    }
}

/// Where this thread is now, for little.
///
/// The thread is attached: it runs a method of a lock.
#[inline]
pub(super) fn here(region: &Region) -> Place {
    let Some(layout) = layout::get() else {
        return Place::UNKNOWN;
    };
    let python = python();
    let mut found = Place::UNKNOWN;
    // SAFETY: the state is this thread's, and its frames stay as they are meanwhile.
    unsafe {
        let mut frame = layout.innermost((python.current)());
        for _ in 0..INNER_MAX {
            let Some((at, read)) = own_frame(python, layout, frame) else {
                break;
            };
            frame = at;
            let place = codes::place(python, layout, region, &read, true);
            found = place.within(found);
            if !place.is_inner() && !place.is_ours() && !place.enters() {
                break;
            }
            frame = layout.previous(frame);
        }
    }
    found
}

/// Whether the thread is within `Condition.notify`.
///
/// The thread is attached: it runs a method of a lock.
pub(super) fn notifies(region: &Region) -> bool {
    let Some(layout) = layout::get() else {
        return false;
    };
    let python = python();
    // SAFETY: the state is this thread's, and its frames stay as they are meanwhile.
    unsafe {
        let mut frame = layout.innermost((python.current)());
        for _ in 0..INNER_MAX {
            let Some((at, read)) = own_frame(python, layout, frame) else {
                return false;
            };
            frame = at;
            let place = codes::place(python, layout, region, &read, true);
            if place.notifies() {
                return true;
            }
            if !place.is_inner() {
                return false;
            }
            frame = layout.previous(frame);
        }
    }
    false
}

/// What a lock is for that this thread meets now for the first time, by the function that takes it.
pub(super) fn flavour(python: &Interface, region: &Region) -> u32 {
    let Some(layout) = layout::get() else {
        return 0;
    };
    // SAFETY: called from a method of a lock, so the thread is attached.
    unsafe {
        let frame = layout.innermost((python.current)());
        let read = if frame == 0 { None } else { layout.read(frame) };
        read.filter(|read| layout.is_code(python, read.code))
            .map_or(0, |read| {
                codes::place(python, layout, region, &read, true).flavour()
            })
    }
}
