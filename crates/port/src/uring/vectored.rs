//! The kernel's description of a send in several pieces.

use std::mem;

use crate::Outgoing;
use crate::buffers::CHUNKS_A_SEND_MAX;

/// The message header and vectors of one vectored send. Boxed: the kernel has its address.
pub(super) struct Vectored {
    message: libc::msghdr,
    vectors: [libc::iovec; CHUNKS_A_SEND_MAX],
}

impl Vectored {
    pub(super) fn new() -> Box<Self> {
        let empty = libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        };
        // SAFETY: all zero bytes are a valid msghdr.
        let message = unsafe { mem::zeroed() };
        Box::new(Self {
            message,
            vectors: [empty; CHUNKS_A_SEND_MAX],
        })
    }

    /// Describe the rest of `outgoing`.
    pub(super) fn point_to(&mut self, outgoing: &Outgoing) -> *const libc::msghdr {
        let mut count = 0;
        for (vector, piece) in self.vectors.iter_mut().zip(outgoing.pieces()) {
            vector.iov_base = piece.as_ptr().cast_mut().cast();
            vector.iov_len = piece.len();
            count += 1;
        }
        self.message.msg_iov = self.vectors.as_mut_ptr();
        self.message.msg_iovlen = count;
        &raw const self.message
    }
}
