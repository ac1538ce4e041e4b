//! The stack of Python code.

use super::codes::{self, Place};
use super::interface::{Interface, Object};
use crate::region::Region;
use crate::stacks;

/// What becomes of a frame in a stack.
enum Met {
    Told(u64),
    LeftOut,
    /// A task's stack ends with its outermost coroutine: this frame is of what runs tasks.
    End,
}

/// What becomes of a frame; `in_task` once the stack is known to be a task's.
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

/// Writes this thread's frames as words; gives their number.
pub(super) fn frames(python: &Interface, region: &Region, words: &mut [u64]) -> usize {
    // SAFETY: asked only where the thread holds the GIL; its own frame is borrowed.
    unsafe {
        if (python.has_gil)() == 0 {
            return 0;
        }
        walk(python, region, (python.frame)(), words)
    }
}

/// Writes a frame, which is borrowed, and those behind it.
///
/// # Safety
///
/// The thread holds the GIL; the frame is alive, or null.
unsafe fn walk(python: &Interface, region: &Region, first: Object, words: &mut [u64]) -> usize {
    let mut count = 0;
    let mut frame = first;
    let mut in_task = false;
    // SAFETY: the caller's promise; each new reference is released.
    unsafe {
        while !frame.is_null() && count < words.len() {
            let code = (python.frame_code)(frame);
            let place = codes::place(python, region, frame, code);
            (python.release)(code);
            match meet(place, &mut in_task) {
                Met::Told(word) => {
                    words[count] = word;
                    count += 1;
                }
                Met::LeftOut => {}
                Met::End => break,
            }
            let back = (python.frame_back)(frame);
            if frame != first {
                (python.release)(frame);
            }
            frame = back;
        }
        if !frame.is_null() && frame != first {
            (python.release)(frame);
        }
    }
    count
}

/// Keeps the frames of another thread, as `sys._current_frames` tells them.
pub(super) fn of_thread(python: &Interface, region: &Region, handle: u64) -> u32 {
    // SAFETY: nothing is called without the GIL; each new reference is released, and the frame
    // lives as long as the dictionary that holds it.
    unsafe {
        if (python.has_gil)() == 0 {
            return 0;
        }
        let function = (python.sys_object)(c"_current_frames".as_ptr());
        let all = if function.is_null() {
            function
        } else {
            (python.call)(function)
        };
        if all.is_null() {
            (python.clear_error)();
            return 0;
        }
        let key = (python.from_unsigned)(handle);
        let frame = (python.dict_get)(all, key);
        let mut words = [0; stacks::DEPTH_MAX];
        let count = walk(python, region, frame, &mut words);
        (python.release)(key);
        (python.release)(all);
        if count == 0 {
            0
        } else {
            stacks::keep(region, &words[..count])
        }
    }
}

/// What a lock is for that this thread meets now for the first time, by the function that takes it.
pub(super) fn flavour(python: &Interface, region: &Region) -> u32 {
    // SAFETY: called from a method of a lock, so the thread holds the GIL.
    unsafe {
        let frame = (python.frame)();
        if frame.is_null() {
            return 0;
        }
        let code = (python.frame_code)(frame);
        let place = codes::place(python, region, frame, code);
        (python.release)(code);
        place.flavour()
    }
}
