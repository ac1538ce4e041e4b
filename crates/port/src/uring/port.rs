//! The contract, on io_uring.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use io_uring::opcode;
use io_uring::types::Fd;

use super::submit::{RECV_MULTISHOT, RECVSEND_POLL_FIRST};
use super::vectored::Vectored;
use super::{ACCEPT, Accept, CONNECT, RECEIVE, RECEIVE_SINGLE, SEND, Single, Uring, user_data};
use crate::address::KernelAddress;
use crate::socket::{self, monotonic};
use crate::{
    Address, Completion, Counters, Descriptor, Interest, Outcome, Outgoing, Port, Token, Wake,
};

impl Port for Uring {
    fn name(&self) -> &'static str {
        "uring"
    }

    fn now(&self) -> u64 {
        self.now
    }

    fn accept(&mut self, listener: Descriptor, token: Token) {
        self.arm_accept(listener, token);
        self.accepts.push(Accept {
            token,
            listener,
            is_unix: socket::is_unix(listener),
            cancelled: false,
        });
    }

    fn cancel_accept(&mut self, token: Token) {
        if let Some(accept) = self.accepts.iter_mut().find(|accept| accept.token == token) {
            accept.cancelled = true;
            self.cancel(user_data(ACCEPT, token));
        }
    }

    fn receive(&mut self, socket: Descriptor, token: Token) {
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

    fn cancel_receive(&mut self, token: Token) {
        if let Some(single) = self.singles.get_mut(&token) {
            single.cancelled = true;
            self.cancel(user_data(RECEIVE_SINGLE, token));
        } else {
            self.nudged.remove(&token);
            self.cancel(user_data(RECEIVE, token));
        }
    }

    fn send(&mut self, socket: Descriptor, token: Token, outgoing: Outgoing) {
        if outgoing.is_done() {
            self.queue(token, Outcome::Sent(Ok(0), outgoing));
            return;
        }
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let number = self.sends.insert(token, outgoing);
        let (outgoing, vectored) = self.sends.get(number);
        let entry = if outgoing.is_single() {
            let bytes = outgoing.first();
            let length = u32::try_from(bytes.len()).unwrap_or(i32::MAX as u32);
            opcode::Send::new(Fd(socket), bytes.as_ptr(), length)
                .flags(flags)
                .build()
        } else {
            let message = vectored
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

    fn cancel_send(&mut self, token: Token) {
        if let Some(number) = self.sends.find(token) {
            self.cancel(SEND | u64::from(number));
        }
    }

    fn connect(&mut self, socket: Descriptor, token: Token, address: &Address) {
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

    fn cancel_connect(&mut self, token: Token) {
        self.cancel(user_data(CONNECT, token));
    }

    fn poll(&mut self, descriptor: Descriptor, token: Token, interest: Interest) {
        let removed = if interest == Interest::default() {
            self.polls.remove(descriptor, Some(token))
        } else {
            self.polls.set(descriptor, token, interest)
        };
        self.remove_poll(removed);
    }

    fn unpoll(&mut self, descriptor: Descriptor, token: Token) {
        let removed = self.polls.remove(descriptor, Some(token));
        self.remove_poll(removed);
    }

    fn open(&mut self, address: &Address, source: Option<&Address>) -> io::Result<Descriptor> {
        let socket = socket::open(address, source)?;
        if !address.is_inet() {
            self.unix.insert(socket);
        }
        Ok(socket)
    }

    fn listen(
        &mut self,
        address: &Address,
        backlog: u32,
        reuse_port: bool,
    ) -> io::Result<Descriptor> {
        self.files.listen(address, backlog, reuse_port)
    }

    fn shutdown(&mut self, socket: Descriptor) {
        self.counters.system_calls += 1;
        socket::shutdown(socket);
    }

    fn close(&mut self, socket: Descriptor, reset: bool) {
        self.files.forget(socket);
        self.unix.remove(&socket);
        self.sweep.forget(socket);
        self.counters.system_calls += 1;
        socket::close(socket, reset);
    }

    fn local_address(&self, socket: Descriptor) -> io::Result<Address> {
        socket::local_address(socket)
    }

    fn peer_address(&self, socket: Descriptor) -> io::Result<Address> {
        socket::peer_address(socket)
    }

    fn turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.counters.turns += 1;
        self.arm_polls();
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
        self.gathered = self.ring.completions();
        self.taken = 0;
        self.waker.clear();
        result
    }

    fn next(&mut self) -> Option<Completion> {
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

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.waker) as Arc<dyn Wake>
    }

    fn counters(&self) -> Counters {
        let system_calls = self.counters.system_calls + self.ring.system_calls;
        Counters {
            system_calls,
            ..self.counters
        }
    }
}

impl Uring {
    /// Enter the ring, and look for untold resets when that is due. Those found end the wait by the
    /// completions of their receives.
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
