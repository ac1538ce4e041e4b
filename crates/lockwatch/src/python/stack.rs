//! The stack of Python code.

use super::codes::{self, Place};
use super::interface::Interface;
use crate::region::Region;

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
