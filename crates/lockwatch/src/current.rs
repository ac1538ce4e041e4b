//! The thread's place in the region, found with one load.
//!
//! A shared library accesses a thread-local variable with a call of the dynamic loader. Each
//! operation on a lock would need two such calls. A library that is preloaded has its variables at
//! a fixed distance from the thread pointer (the model "initial exec" of the ELF handling for
//! thread-local storage), but the compiler has no option to use this. So it is done here with a
//! few instructions. On other processors than x86-64 the ordinary access is used, which costs less
//! there.

use crate::layout::Thread;

#[cfg(target_arch = "x86_64")]
mod at_hand {
    use super::Thread;

    std::arch::global_asm!(
        ".pushsection .tbss.vespiary_current, \"awT\", @nobits",
        ".p2align 3",
        ".hidden vespiary_current",
        ".globl vespiary_current",
        ".type vespiary_current, @object",
        ".size vespiary_current, 8",
        "vespiary_current:",
        ".zero 8",
        ".popsection",
    );

    #[inline]
    pub(crate) fn get() -> *const Thread {
        let place: *const Thread;
        // SAFETY: reads the eight bytes above, this thread's own.
        unsafe {
            std::arch::asm!(
                "mov {place}, qword ptr [rip + vespiary_current@GOTTPOFF]",
                "mov {place}, qword ptr fs:[{place}]",
                place = out(reg) place,
                options(nostack, readonly, preserves_flags),
            );
        }
        place
    }

    pub(crate) fn set(place: *const Thread) {
        // SAFETY: writes the eight bytes above, this thread's own.
        unsafe {
            std::arch::asm!(
                "mov {way}, qword ptr [rip + vespiary_current@GOTTPOFF]",
                "mov qword ptr fs:[{way}], {place}",
                way = out(reg) _,
                place = in(reg) place,
                options(nostack, preserves_flags),
            );
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod at_hand {
    use std::cell::Cell;

    use super::Thread;

    thread_local! {
        static CURRENT: Cell<*const Thread> = const { Cell::new(std::ptr::null()) };
    }

    #[inline]
    pub(crate) fn get() -> *const Thread {
        CURRENT.get()
    }

    pub(crate) fn set(place: *const Thread) {
        CURRENT.set(place);
    }
}

pub(crate) use at_hand::{get, set};
