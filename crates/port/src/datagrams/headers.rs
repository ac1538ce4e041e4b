//! The headers of the messages that one recvmmsg(2) or sendmmsg(2) is given, and what they point
//! to.

use std::mem;

use super::DATAGRAMS_A_BATCH;
use super::control::Control;
use crate::address::KernelAddress;

/// See the module's documentation. Nothing in it points anywhere before it is pointed there.
pub(super) struct Headers {
    pub(super) messages: [libc::mmsghdr; DATAGRAMS_A_BATCH],
    pub(super) vectors: [libc::iovec; DATAGRAMS_A_BATCH],
    pub(super) names: [KernelAddress; DATAGRAMS_A_BATCH],
    pub(super) controls: [Control; DATAGRAMS_A_BATCH],
}

impl Headers {
    pub(super) fn new() -> Self {
        Self {
            // SAFETY: all zero bytes are valid headers.
            messages: unsafe { mem::zeroed() },
            // SAFETY: all zero bytes are valid vectors.
            vectors: unsafe { mem::zeroed() },
            names: [KernelAddress::empty(); DATAGRAMS_A_BATCH],
            controls: [Control::empty(); DATAGRAMS_A_BATCH],
        }
    }
}
