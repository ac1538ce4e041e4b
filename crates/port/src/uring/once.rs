//! Bytes that are sent with the next turn, once, and without waiting for room.
//!
//! Such a send never waits in the kernel (`MSG_DONTWAIT`), so it is over when it is submitted. One
//! that sends all makes no completion (`SKIP_SUCCESS`): so it costs an entry of the queue and
//! nothing else, and does not end the wait of the call that submits it. With `MSG_WAITALL` a short
//! send counts as a failure, which makes a completion.
//!
//! The bytes lie in one block, whose address does not change, and which is empty again when the
//! kernel has taken all submissions.

use io_uring::types::Fd;
use io_uring::{opcode, squeue};

use super::{Active, SEND_ONCE, user_data};
use crate::{Descriptor, Token};

/// Bytes of a turn. More is the caller's to send.
const BYTES_MAX: usize = 256 << 10;

/// The block.
#[derive(Default)]
pub(super) struct Once {
    block: Vec<u8>,
}

impl Once {
    /// Whether something was asked for that the kernel has not taken.
    pub(super) fn is_waiting(&self) -> bool {
        !self.block.is_empty()
    }

    /// The kernel has taken all submissions.
    pub(super) fn clear(&mut self) {
        self.block.clear();
    }
}

impl Active {
    /// See [`crate::Port::send_once`].
    pub(super) fn send_once(&mut self, socket: Descriptor, token: Token, bytes: &[u8]) -> bool {
        let block = &mut self.once.block;
        if block.capacity() == 0 {
            block.reserve_exact(BYTES_MAX);
        }
        let start = block.len();
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        if bytes.len() > block.capacity() - start {
            return false;
        }
        block.extend_from_slice(bytes);
        let send = opcode::Send::new(Fd(socket), block[start..].as_ptr(), length)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL | libc::MSG_DONTWAIT)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(user_data(SEND_ONCE, token));
        // SAFETY: the block stays where it is, and is written to behind these bytes only, until the
        // kernel has taken the submission, which is when it has sent them.
        unsafe { self.ring.push(send) };
        true
    }
}
