//! The stack of Python code.

use std::ffi::CStr;

use super::interface::{Interface, Object};
use super::tasks;
use crate::region::Region;
use crate::texts;

/// A word of a stack that is a Python frame: this bit, the place of its text, its line.
const PYTHON: u64 = 1 << 63;
const LINE_BITS: u32 = 24;
/// `CO_*` of `code.h`: generators and coroutines of all kinds.
const COROUTINE: u32 = 0x20 | 0x80 | 0x100 | 0x200;

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

/// What becomes of a frame in a stack.
enum Met {
    Told(u64),
    LeftOut,
    /// A task's stack ends with its outermost coroutine: this frame is of what runs tasks.
    End,
}

/// What becomes of a frame; `in_task` once the stack is known to be a task's.
///
/// # Safety
///
/// The thread holds the GIL; `code` is the frame's.
unsafe fn meet(
    python: &Interface,
    region: &Region,
    code: Object,
    line: u64,
    in_task: &mut bool,
) -> Met {
    // SAFETY: the caller's promise; each new reference is released.
    unsafe {
        let (function, function_owner) = text(python, code, c"co_qualname");
        let (file, file_owner) = text(python, code, c"co_filename");
        let is_ours = file == tasks::FILE.to_bytes();
        let is_coroutine = (is_ours || *in_task) && code_flags(python, code) & COROUTINE != 0;
        let met = if is_ours {
            *in_task |= is_coroutine;
            Met::LeftOut
        } else if *in_task && !is_coroutine {
            Met::End
        } else if *in_task && function == b"_ContextManagerMixin.__aenter__" {
            Met::LeftOut
        } else {
            let place = texts::keep(region, function, file);
            place.map_or(Met::LeftOut, |place| {
                Met::Told(PYTHON | u64::from(place) << LINE_BITS | line)
            })
        };
        for object in [function_owner, file_owner] {
            if !object.is_null() {
                (python.release)(object);
            }
        }
        met
    }
}

/// Writes this thread's frames as words; gives their number.
pub(super) fn frames(python: &Interface, region: &Region, words: &mut [u64]) -> usize {
    let mut count = 0;
    // SAFETY: asked only where the thread holds the GIL; each new reference is released.
    unsafe {
        if (python.has_gil)() == 0 {
            return 0;
        }
        let mut frame = (python.frame)();
        let mut owned = false;
        let mut in_task = false;
        while !frame.is_null() && count < words.len() {
            let code = (python.frame_code)(frame);
            let line = (python.frame_line)(frame).max(0) as u64;
            let met = meet(python, region, code, line, &mut in_task);
            (python.release)(code);
            match met {
                Met::Told(word) => {
                    words[count] = word;
                    count += 1;
                }
                Met::LeftOut => {}
                Met::End => break,
            }
            let back = (python.frame_back)(frame);
            if owned {
                (python.release)(frame);
            }
            (frame, owned) = (back, true);
        }
        if owned && !frame.is_null() {
            (python.release)(frame);
        }
    }
    count
}

/// What `judge` says of the name of the innermost frame's function; 0 where there is no frame.
pub(super) fn with_function(python: &Interface, judge: impl FnOnce(&[u8]) -> u32) -> u32 {
    // SAFETY: called from a method of a lock, so the thread holds the GIL.
    unsafe {
        let frame = (python.frame)();
        if frame.is_null() {
            return 0;
        }
        let code = (python.frame_code)(frame);
        let (function, owner) = text(python, code, c"co_qualname");
        let found = judge(function);
        for object in [owner, code] {
            if !object.is_null() {
                (python.release)(object);
            }
        }
        found
    }
}
