//! The locks of C's streams, if the program takes them itself: `flockfile` (flockfile(3)).
//!
//! The functions that read and write take them too, but within the C library, where they cannot be
//! intercepted. That is noted if it matters: if the program takes other locks with a stream's
//! (`edges`), or has streams whose functions are its own (fopencookie(3)).

use std::ffi::{c_int, c_void};

use libc::timespec;

use crate::calls::{self, Wanted, Ways, export};
use crate::layout::Kind;
use crate::unseen::{self, Use};
use crate::{clock, real};

export!(flockfile => lock, 1);
export!(ftrylockfile => trylock, 1);
export!(funlockfile => unlock, 1);

type OnStream = unsafe extern "C" fn(*mut c_void);
type TryStream = unsafe extern "C" fn(*mut c_void) -> c_int;

const PAUSE_MICROSECONDS: u32 = 500;

struct Stream(*mut c_void);

impl Ways for Stream {
    fn at_once(&self) -> c_int {
        // SAFETY: the caller's stream, as the caller gave it.
        let is_free = unsafe { real::TRYLOCK_FILE.get::<TryStream>()(self.0) } == 0;
        if is_free { 0 } else { libc::EBUSY }
    }

    fn until(&self, moment: &timespec) -> c_int {
        let end = clock::nanoseconds(moment);
        while self.at_once() != 0 {
            if clock::now() >= end {
                return libc::ETIMEDOUT;
            }
            // SAFETY: sleeping has no conditions.
            unsafe { libc::usleep(PAUSE_MICROSECONDS) };
        }
        0
    }

    fn at_last(&self) -> c_int {
        // SAFETY: as above.
        unsafe { real::LOCK_FILE.get::<OnStream>()(self.0) };
        0
    }

    fn is_recursive(&self) -> bool {
        true
    }
}

fn wanted(stream: *mut c_void, site: u64) -> Wanted {
    Wanted {
        address: stream as u64,
        kind: Kind::Stream,
        is_shared: false,
        site,
    }
}

unsafe extern "C" fn lock(stream: *mut c_void, site: u64) {
    calls::take(wanted(stream, site), &Stream(stream));
}

unsafe extern "C" fn trylock(stream: *mut c_void, site: u64) -> c_int {
    calls::try_take(wanted(stream, site), || Stream(stream).at_once())
}

unsafe extern "C" fn unlock(stream: *mut c_void, site: u64) {
    calls::release(stream as u64, site);
    // SAFETY: what the caller gave is passed on.
    unsafe { real::UNLOCK_FILE.get::<OnStream>()(stream) };
}

/// Before the real one, to which it jumps: a structure is among its arguments.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn fopencookie() {
    #[cfg(target_arch = "x86_64")]
    core::arch::naked_asm!(
        "push rdi", "push rsi", "sub rsp, 8",
        "call {way}",
        "add rsp, 8", "pop rsi", "pop rdi",
        "jmp rax",
        way = sym way_of_cookie
    );
    #[cfg(target_arch = "aarch64")]
    core::arch::naked_asm!(
        "stp x29, x30, [sp, #-48]!",
        "stp x0, x1, [sp, #16]", "str x2, [sp, #32]",
        "bl {way}",
        "mov x16, x0",
        "ldp x0, x1, [sp, #16]", "ldr x2, [sp, #32]",
        "ldp x29, x30, [sp], #48",
        "br x16",
        way = sym way_of_cookie
    );
}

unsafe extern "C" fn way_of_cookie() -> usize {
    unseen::note(Use::Cookie);
    real::OPEN_COOKIE.place()
}
