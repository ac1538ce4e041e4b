//! The operations of the contract, on a ring.

use std::io;
use std::mem;
use std::time::Duration;

use io_uring::opcode;
use io_uring::types::Fd;

use super::submit::{RECV_MULTISHOT, RECVSEND_POLL_FIRST};
use super::vectored::Vectored;
use super::{
    ACCEPT, Accept, Active, CONNECT, RECEIVE, RECEIVE_SINGLE, ROOM, SEND, Single, user_data,
};
use crate::address::KernelAddress;
use crate::socket::{self, monotonic};
use crate::{Address, Completion, Counters, Descriptor, Errno, Outcome, Outgoing, Token};

impl Active {
    pub(super) fn accept(&mut self, listener: Descriptor, token: Token, is_shared: bool) {
        self.files.hold(listener);
        self.arm_accept(listener, token, is_shared);
        self.accepts.push(Accept {
            token,
            listener,
            is_unix: socket::is_unix(listener),
            is_shared,
            cancelled: false,
        });
    }

    pub(super) fn cancel_accept(&mut self, token: Token) {
        if let Some(accept) = self.accepts.iter_mut().find(|accept| accept.token == token) {
            accept.cancelled = true;
            self.cancel(user_data(ACCEPT, token));
        }
    }

    pub(super) fn receive(&mut self, socket: Descriptor, token: Token) {
        if self.unix.contains(&socket) {
            self.singles.insert(
                token,
                Single {
                    socket,
                    cancelled: false,
                },
            );
            self.arm_single(socket, token);
            return;
        }
        self.receives += 1;
        self.nudged.remove(&token);
        self.sweep.watch(socket, token);
        self.arm_receive(
            socket,
            RECV_MULTISHOT | RECVSEND_POLL_FIRST,
            user_data(RECEIVE, token),
        );
    }

    pub(super) fn cancel_receive(&mut self, token: Token) {
        if let Some(single) = self.singles.get_mut(&token) {
            single.cancelled = true;
            self.cancel(user_data(RECEIVE_SINGLE, token));
        } else {
            self.nudged.remove(&token);
            self.cancel(user_data(RECEIVE, token));
        }
    }

    pub(super) fn send(&mut self, socket: Descriptor, token: Token, outgoing: Outgoing) {
        if outgoing.is_done() {
            self.queue(token, Outcome::Sent(Ok(0), outgoing));
            return;
        }
        if outgoing.as_file().is_some() {
            if let Some(completion) = self.send_file(socket, token, outgoing) {
                self.queued.push_back(completion);
            }
            return;
        }
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let number = self.sends.insert(token, outgoing);
        let (outgoing, sending) = self.sends.get(number);
        let entry = if outgoing.is_single() {
            let bytes = outgoing.first();
            let length = u32::try_from(bytes.len()).unwrap_or(i32::MAX as u32);
            opcode::Send::new(Fd(socket), bytes.as_ptr(), length)
                .flags(flags)
                .build()
        } else {
            let message = sending
                .vectored
                .get_or_insert_with(Vectored::new)
                .point_to(outgoing);
            opcode::SendMsg::new(Fd(socket), message)
                .flags(flags as u32)
                .build()
        };
        // SAFETY: the bytes, and the boxed header and vectors, stay in their slot until the
        // completion.
        unsafe { self.ring.push(entry.user_data(SEND | u64::from(number))) };
    }

    /// See [`crate::Port::submit`].
    pub(super) fn submit(&mut self) {
        self.ring.submit();
        if self.once.is_waiting() && self.ring.is_submitted() {
            self.once.clear();
        }
    }

    /// Whether sends of the latest turn still wait.
    pub(super) fn has_unsent(&self) -> bool {
        self.once.is_waiting()
    }

    /// See [`crate::Port::forget`].
    pub(super) fn forget(&mut self, socket: Descriptor) {
        self.sweep.forget(socket);
    }

    pub(super) fn cancel_send(&mut self, token: Token) {
        if let Some(number) = self.sends.find(token) {
            let is_file = self.sends.get(number).0.as_file().is_some();
            let kind = if is_file { ROOM } else { SEND };
            self.cancel(kind | u64::from(number));
        }
    }

    /// Send what the socket takes now of a part of a file; `None` where it waits for room.
    pub(super) fn send_file(
        &mut self,
        socket: Descriptor,
        token: Token,
        outgoing: Outgoing,
    ) -> Option<Completion> {
        let (part, skipped) = outgoing.as_file()?;
        self.counters.system_calls += 1;
        let result = part.send(skipped, socket);
        if result != Err(Errno(libc::EAGAIN)) {
            let outcome = Outcome::Sent(result, outgoing);
            return Some(Completion { token, outcome });
        }
        let number = self.sends.insert(token, outgoing);
        self.sends.get(number).1.socket = socket;
        let poll = opcode::PollAdd::new(Fd(socket), libc::POLLOUT as u32).build();
        // SAFETY: points to nothing.
        unsafe { self.ring.push(poll.user_data(ROOM | u64::from(number))) };
        None
    }

    pub(super) fn connect(&mut self, socket: Descriptor, token: Token, address: &Address) {
        let kernel = match KernelAddress::new(address) {
            Ok(kernel) => Box::new(kernel),
            Err(error) => {
                let errno = socket::errno_of(&error);
                return self.queue(token, Outcome::Connected(Err(errno)));
            }
        };
        let connect = opcode::Connect::new(Fd(socket), kernel.pointer(), kernel.length());
        let connect = connect.build().user_data(user_data(CONNECT, token));
        let before = self.connects.insert(token, kernel);
        assert!(before.is_none(), "two connects outstanding on one token");
        // SAFETY: the boxed address stays in the map until the completion.
        unsafe { self.ring.push(connect) };
    }

    pub(super) fn cancel_connect(&mut self, token: Token) {
        self.cancel(user_data(CONNECT, token));
    }

    pub(super) fn open(
        &mut self,
        address: &Address,
        source: Option<&Address>,
    ) -> io::Result<Descriptor> {
        let socket = socket::open(address, source)?;
        if !address.is_inet() {
            self.unix.insert(socket);
        }
        Ok(socket)
    }

    pub(super) fn listen(
        &mut self,
        address: &Address,
        backlog: u32,
        reuse_port: bool,
    ) -> io::Result<Descriptor> {
        self.files.listen(address, backlog, reuse_port)
    }

    pub(super) fn shutdown(&mut self, socket: Descriptor) {
        self.counters.system_calls += 1;
        socket::shutdown(socket);
    }

    pub(super) fn close(&mut self, socket: Descriptor, reset: bool) {
        self.files.forget(socket);
        self.unix.remove(&socket);
        self.sweep.forget(socket);
        self.counters.system_calls += 1;
        socket::close(socket, reset);
    }

    pub(super) fn turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.counters.turns += 1;
        let was_resting = mem::take(&mut self.is_resting);
        if was_resting {
            self.ring.set_notifying(false);
        }
        self.arm_watches();
        self.provided.publish();
        let mut least = u32::from(
            self.queued.is_empty()
                && !self.woken_late
                && timeout != Some(Duration::ZERO)
                && self.ring.completions() == 0,
        );
        self.woken_late = false;
        let mut result = Ok(());
        if least > 0 && !self.spin.is_off() {
            let Self { ring, spin, .. } = self;
            result = ring.enter(0, None);
            if spin.run(timeout, || ring.has_completion()) {
                least = 0;
            }
        }
        if result.is_ok() {
            result = self.enter(least, timeout);
        }
        if self.once.is_waiting() && self.ring.is_submitted() {
            self.once.clear();
        }
        self.gathered = self.ring.completions();
        self.has_overflow = self.ring.has_overflow();
        self.taken = 0;
        if was_resting {
            self.waker.reset();
        } else {
            self.waker.clear();
        }
        result
    }

    /// See [`crate::Port::rest`].
    pub(super) fn rest(&mut self) -> Option<Duration> {
        self.is_resting = true;
        // No turn comes by itself that would do it.
        self.arm_watches();
        self.ring.set_notifying(true);
        // Completions before this moment made nothing readable.
        if !self.queued.is_empty() || self.woken_late || self.ring.has_work() {
            return Some(Duration::ZERO);
        }
        self.sweep.shorten(None, monotonic())
    }

    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "each completion passes, and none is copied here"
    )]
    pub(super) fn next(&mut self) -> Option<Completion> {
        if !self.queued.is_empty() {
            return self.next_queued();
        }
        while let Some(entry) = self.ring.next() {
            self.taken += 1;
            if let Some(completion) = self.complete(entry) {
                self.counters.completions += 1;
                return Some(completion);
            }
        }
        self.next_queued()
    }

    pub(super) fn counters(&self) -> Counters {
        let system_calls = self.counters.system_calls + self.ring.system_calls;
        Counters {
            system_calls,
            ..self.counters
        }
    }
}

impl Active {
    /// Enter the ring, and check for unreported resets when that is due. If there are any, the
    /// completions of their receives end the wait.
    fn enter(&mut self, least: u32, timeout: Option<Duration>) -> io::Result<()> {
        let is_bounded = least > 0 && timeout.is_some() && !self.sweep.is_idle();
        let start = if is_bounded { monotonic() } else { self.now };
        let mut remaining = timeout;
        loop {
            let wait = self.sweep.shorten(remaining, self.now);
            let result = self.ring.enter(least, wait);
            self.now = self.now.max(monotonic());
            if result.is_err() || !self.sweep.is_due(self.now) {
                return result;
            }
            for token in self.sweep.look(self.now) {
                self.nudged.insert(token);
                self.cancel(user_data(RECEIVE, token));
            }
            let waited = Duration::from_nanos(self.now.saturating_sub(start));
            remaining = timeout.map(|timeout| timeout.saturating_sub(waited));
            if least == 0 || self.ring.completions() > 0 || remaining == Some(Duration::ZERO) {
                return Ok(());
            }
        }
    }
}
