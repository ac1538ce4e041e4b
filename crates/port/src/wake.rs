//! Waking a kernel driver's turn from any thread, through an eventfd(2).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::socket::check;
use crate::{Descriptor, Wake};

/// The descriptor that a turn watches, and whether it has been written to since the latest turn.
///
/// The flag saves the system call of a second wake-up. It is cleared at the end of a turn, before
/// the caller handles the work that it was woken for. So if a thread finds the flag set, the caller
/// has not yet looked at the work, and will see what this thread has added. If the count were read
/// after the flag was cleared, the read would also consume the wake-up of the next turn. So drivers
/// only watch whether the count grows. Where the descriptor's level is watched, the count is read
/// back to zero before the flag is cleared.
pub(crate) struct Waker {
    descriptor: Descriptor,
    pending: AtomicBool,
}

impl Waker {
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        // SAFETY: no pointers.
        let descriptor =
            check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        Ok(Arc::new(Self {
            descriptor,
            pending: AtomicBool::new(false),
        }))
    }

    pub(crate) fn descriptor(&self) -> Descriptor {
        self.descriptor
    }

    /// Take the count back to zero, where the descriptor's level is watched.
    ///
    /// Read before the flag is cleared: a wake-up in between writes nothing, and what it was for is
    /// seen by the caller, which checks after this.
    pub(crate) fn reset(&self) {
        let mut count = 0_u64;
        // SAFETY: eight bytes of ours, which is what an eventfd gives.
        unsafe { libc::read(self.descriptor, (&raw mut count).cast(), 8) };
        self.clear();
    }

    /// A turn is ending: the next wake-up writes again.
    pub(crate) fn clear(&self) {
        if self.pending.load(Ordering::Relaxed) {
            self.pending.swap(false, Ordering::AcqRel);
        }
    }
}

impl Wake for Waker {
    fn wake(&self) {
        if !self.pending.swap(true, Ordering::AcqRel) {
            let one = 1_u64;
            // SAFETY: eight bytes of ours, which is what an eventfd takes. It cannot fail for want
            // of room before 2^64 wake-ups.
            unsafe { libc::write(self.descriptor, (&raw const one).cast(), 8) };
        }
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        // SAFETY: the descriptor is ours; the last handle is gone.
        unsafe { libc::close(self.descriptor) };
    }
}
