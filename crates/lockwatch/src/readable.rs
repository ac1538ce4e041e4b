//! The part of a stack that may be read: from the stack pointer up to the first page that is not
//! memory.
//!
//! Only the program knows which stack a thread uses: its own, a signal's or a coroutine's. But the
//! stack in use begins at the stack pointer. Before any other memory there is a page that may not
//! be read, or the base of the coroutine, at which the unwinder stops (`unwind`). So each page is
//! tested, in order, before it is read.

use std::cell::Cell;
use std::ffi::c_long;

const PAGE: u64 = 4096;
/// A frame is not larger than this.
const REACH: u64 = 8 << 20;

/// The words from a stack pointer up.
pub(crate) struct Stack {
    low: u64,
    /// The first page that was not tried yet.
    end: u64,
    is_over: bool,
}

impl Stack {
    /// The stack that a stack pointer is on.
    pub(crate) fn at(pointer: u64) -> Self {
        Self {
            low: pointer,
            end: pointer / PAGE * PAGE,
            is_over: false,
        }
    }

    /// A word of it; none where it is not a part of this stack.
    #[inline]
    pub(crate) fn read(&mut self, address: u64) -> Option<u64> {
        let behind = address.checked_add(8)?;
        if address < self.low || behind > self.end && !self.reaches(behind) {
            return None;
        }
        // SAFETY: the pages of the word were tried, and belong to the stack that this thread is on.
        Some(unsafe { (address as *const u64).read_unaligned() })
    }

    /// Whether the stack continues until an address.
    #[cold]
    fn reaches(&mut self, behind: u64) -> bool {
        if behind > self.end + REACH {
            return false;
        }
        while self.end < behind && !self.is_over {
            if is_readable(self.end) {
                self.end += PAGE;
            } else {
                self.is_over = true;
            }
        }
        self.end >= behind
    }
}

thread_local! {
    /// The lowest and the highest byte of this thread's stack that were tried: mostly enough for
    /// the next question.
    static TRIED: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// Whether so many bytes below the stack pointer are left of the stack that this thread is on, as
/// far as can be seen: of a signal's stack exactly, of another down to the first page that may not
/// be read.
#[inline(never)]
pub(crate) fn has_room(bytes: u64) -> bool {
    let mark = 0_u8;
    let here = &raw const mark as u64;
    let end = here.saturating_sub(bytes);
    let (lowest, highest) = TRIED.get();
    if (lowest..highest).contains(&end) {
        return true;
    }
    let mut signals = libc::stack_t {
        ss_sp: std::ptr::null_mut(),
        ss_flags: 0,
        ss_size: 0,
    };
    // SAFETY: only asked; the structure is ours.
    unsafe { libc::sigaltstack(std::ptr::null(), &raw mut signals) };
    if signals.ss_flags & libc::SS_ONSTACK != 0 {
        return end >= signals.ss_sp as u64;
    }
    let first = end / PAGE * PAGE;
    let has_room = (first..here).step_by(PAGE as usize).all(is_readable);
    if has_room {
        TRIED.set((first, here));
    }
    has_room
}

/// Whether a word can be read. The kernel reads a set of signals there, and then refuses what it
/// was asked to do with them: a question without an effect (sigprocmask(2)).
pub(crate) fn is_readable(address: u64) -> bool {
    const NO_WAY: c_long = 99;
    const SET_BYTES: usize = 8;
    // SAFETY: this thread's own `errno`; the call changes nothing, since there is no such way.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        let none = std::ptr::null::<u64>();
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            NO_WAY,
            address as *const u64,
            none,
            SET_BYTES,
        );
        let is_readable = *errno != libc::EFAULT;
        *errno = before;
        is_readable
    }
}
