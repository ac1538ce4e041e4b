//! Submissions that the driver makes by itself, or again.

use io_uring::types::Fd;
use io_uring::{opcode, squeue};

use super::{ACCEPT, Active, NOBODY, POLL, RECEIVE_SINGLE, WAKE, cap, provided, user_data};
use crate::{Descriptor, Token};

// Of linux/io_uring.h; the crate has no builder that sets both.
pub(super) const RECVSEND_POLL_FIRST: u16 = 1;
pub(super) const RECV_MULTISHOT: u16 = 2;

impl Active {
    pub(super) fn arm_receive(&mut self, socket: Descriptor, priority: u16, user_data: u64) {
        let receive = opcode::Recv::new(Fd(socket), std::ptr::null_mut(), 0)
            .ioprio(priority)
            .buf_group(provided::GROUP)
            .build()
            .flags(squeue::Flags::BUFFER_SELECT)
            .user_data(user_data);
        let receive = if priority & RECV_MULTISHOT == 0 {
            receive
        } else {
            cap::put_on(receive)
        };
        // SAFETY: the kernel writes to provided buffers only; those live as long as the ring.
        unsafe { self.ring.push(receive) };
    }

    pub(super) fn arm_single(&mut self, socket: Descriptor, token: Token) {
        self.arm_receive(socket, 0, user_data(RECEIVE_SINGLE, token));
    }

    pub(super) fn arm_waker(&mut self) {
        let descriptor = Fd(self.waker.descriptor());
        let poll = opcode::PollAdd::new(descriptor, libc::POLLIN as u32).multi(true);
        // SAFETY: points to nothing.
        unsafe { self.ring.push(poll.build().user_data(WAKE)) };
    }

    pub(super) fn arm_accept(&mut self, listener: Descriptor, token: Token, is_shared: bool) {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        let accept = if is_shared {
            let none = std::ptr::null_mut();
            let accept = opcode::Accept::new(Fd(listener), none, none.cast());
            accept.flags(flags).build()
        } else {
            let accept = opcode::AcceptMulti::new(Fd(listener));
            accept.flags(flags).build()
        };
        let accept = accept.user_data(user_data(ACCEPT, token));
        // SAFETY: points to nothing; the peer's address is not asked for.
        unsafe { self.ring.push(accept) };
    }

    /// Have the foreign descriptors polled, if there are any.
    pub(super) fn arm_watches(&mut self) {
        let Some(descriptor) = self.watches else {
            return;
        };
        if !self.is_watching {
            let poll = opcode::PollAdd::new(Fd(descriptor), libc::POLLIN as u32).build();
            // SAFETY: points to nothing.
            unsafe { self.ring.push(poll.user_data(POLL)) };
            self.is_watching = true;
        }
    }

    pub(super) fn cancel(&mut self, user_data: u64) {
        let cancel = opcode::AsyncCancel::new(user_data).build();
        let cancel = cancel.flags(squeue::Flags::SKIP_SUCCESS).user_data(NOBODY);
        // SAFETY: points to nothing.
        unsafe { self.ring.push(cancel) };
    }
}
