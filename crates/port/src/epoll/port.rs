//! The contract, on epoll.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::table::{self, ACCEPTING, CONNECTING, FULL, NO_SEND, OWNED, POLLING, RECEIVING};
use super::{Epoll, IN, OUT, QUEUED_A_TURN_MAX, STALE_TURNS_MAX};
use crate::address::KernelAddress;
use crate::socket::{self, check, last_errno, monotonic};
use crate::{
    Address, Arrivals, Completion, Counters, DatagramOptions, Delivery, Departed, Departures,
    Descriptor, Errno, Interest, Outcome, Outgoing, Port, Token, Unread, Wake, datagrams,
};

impl Port for Epoll {
    fn name(&self) -> &'static str {
        "epoll"
    }

    fn now(&self) -> u64 {
        self.now
    }

    fn accept(&mut self, listener: Descriptor, token: Token) {
        self.files.hold(listener);
        // A listener that was handed to us may block, and then accepting would.
        // SAFETY: no pointers.
        let result = unsafe {
            let flags = libc::fcntl(listener, libc::F_GETFL);
            libc::fcntl(listener, libc::F_SETFL, flags | libc::O_NONBLOCK)
        };
        let mask = self.table.slot(listener).mask | IN;
        let result = if result < 0 {
            Err(last_errno())
        } else {
            self.watch(listener, mask)
        };
        match result {
            Ok(()) => self.table.own(listener, token, ACCEPTING),
            Err(errno) => self.queue(token, Outcome::AcceptEnded(errno)),
        }
    }

    fn cancel_accept(&mut self, token: Token) {
        self.cancel(
            token,
            ACCEPTING,
            Outcome::AcceptEnded(Errno(libc::ECANCELED)),
        );
    }

    fn receive(&mut self, socket: Descriptor, token: Token) {
        let slot = self.table.slot(socket);
        let mask = if slot.send == NO_SEND { IN } else { IN | OUT };
        match self.watch(socket, mask) {
            Ok(()) => self.table.own(socket, token, RECEIVING),
            Err(errno) => self.queue(token, Outcome::ReceiveEnded(Some(errno))),
        }
    }

    fn cancel_receive(&mut self, token: Token) {
        self.cancel(
            token,
            RECEIVING,
            Outcome::ReceiveEnded(Some(Errno(libc::ECANCELED))),
        );
    }

    fn send(&mut self, socket: Descriptor, token: Token, outgoing: Outgoing) {
        let slot = *self.table.slot(socket);
        assert!(
            slot.send == NO_SEND,
            "descriptor {socket} already has a send in flight"
        );
        if outgoing.is_done() {
            self.queue(token, Outcome::Sent(Ok(0), outgoing));
            return;
        }
        let result = if slot.has(FULL) {
            Err(Errno(libc::EAGAIN))
        } else {
            self.try_send(socket, &outgoing)
        };
        if result == Err(Errno(libc::EAGAIN)) {
            self.wait_for_room(socket, token, outgoing);
        } else {
            self.queue(token, Outcome::Sent(result, outgoing));
        }
    }

    fn cancel_send(&mut self, token: Token) {
        if let Some(number) = self.sends.find(token) {
            let descriptor = *self.sends.get(number).1;
            self.table.slot(descriptor).send = NO_SEND;
            let (token, outgoing) = self.sends.remove(number);
            self.queue(token, Outcome::Sent(Err(Errno(libc::ECANCELED)), outgoing));
        }
    }

    fn connect(&mut self, socket: Descriptor, token: Token, address: &Address) {
        let result = KernelAddress::new(address).and_then(|kernel| {
            self.counters.system_calls += 1;
            // SAFETY: the pointer and length are those of an address that lives through the call.
            check(unsafe { libc::connect(socket, kernel.pointer(), kernel.length()) })
        });
        let result = match result.map_err(|error| socket::errno_of(&error)) {
            // A signal interrupts the wait for the connection, not the connection (connect(2)).
            Err(Errno(libc::EINPROGRESS | libc::EINTR)) => match self.watch(socket, OUT) {
                Ok(()) => return self.table.own(socket, token, CONNECTING),
                Err(errno) => Err(errno),
            },
            other => other.map(drop),
        };
        self.queue(token, Outcome::Connected(result));
    }

    fn cancel_connect(&mut self, token: Token) {
        self.cancel(
            token,
            CONNECTING,
            Outcome::Connected(Err(Errno(libc::ECANCELED))),
        );
    }

    fn poll(&mut self, descriptor: Descriptor, token: Token, interest: Interest) -> io::Result<()> {
        let mut mask = 0;
        if interest.read {
            mask |= IN;
        }
        if interest.write {
            mask |= OUT;
        }
        if mask == 0 {
            self.unpoll(descriptor, token);
            return Ok(());
        }
        let slot = self.table.slot(descriptor);
        assert!(
            !slot.has(OWNED),
            "descriptor {descriptor} has an operation of another kind"
        );
        slot.token = token;
        slot.state |= POLLING;
        // Ask epoll even for what it was asked for before: the descriptor may have been closed, and
        // its number given to another descriptor, without our knowledge.
        slot.mask = 0;
        self.watch(descriptor, mask).map_err(|errno| {
            self.table.slot(descriptor).state &= !POLLING;
            io::Error::from_raw_os_error(errno.0)
        })
    }

    fn unpoll(&mut self, descriptor: Descriptor, token: Token) {
        let slot = self.table.slot(descriptor);
        if slot.has(POLLING) && slot.token == token {
            self.unwatch(descriptor);
            self.table.renew(descriptor);
        }
    }

    fn open(&mut self, address: &Address, source: Option<&Address>) -> io::Result<Descriptor> {
        let socket = socket::open(address, source)?;
        self.table.renew(socket);
        Ok(socket)
    }

    fn listen(
        &mut self,
        address: &Address,
        backlog: u32,
        reuse_port: bool,
    ) -> io::Result<Descriptor> {
        let socket = self.files.listen(address, backlog, reuse_port)?;
        self.table.renew(socket);
        Ok(socket)
    }

    fn adopt(&mut self, listener: Descriptor) -> io::Result<()> {
        self.shared.adopt(listener)?;
        self.table.renew(listener);
        Ok(())
    }

    fn bind(&mut self, address: &Address, options: &DatagramOptions) -> io::Result<Descriptor> {
        let socket = self.files.bind(address, options)?;
        self.table.renew(socket);
        Ok(socket)
    }

    fn adopt_datagrams(&mut self, socket: Descriptor, options: &DatagramOptions) -> io::Result<()> {
        datagrams::adopt(socket, options)?;
        self.table.renew(socket);
        self.files.hold(socket);
        Ok(())
    }

    fn receive_datagrams(
        &mut self,
        socket: Descriptor,
        arrivals: &mut Arrivals,
        datagram_bytes_max: usize,
    ) -> Result<(), Errno> {
        let calls = &mut self.counters.system_calls;
        datagrams::receive(socket, arrivals, datagram_bytes_max, calls)
    }

    fn send_datagrams(&mut self, socket: Descriptor, departures: &mut Departures) -> Departed {
        datagrams::send(socket, departures, &mut self.counters.system_calls)
    }

    fn keep_alive(&mut self, socket: Descriptor, silence: Duration) {
        socket::keep_alive(socket, silence);
    }

    fn shutdown(&mut self, socket: Descriptor) {
        self.counters.system_calls += 1;
        socket::shutdown(socket);
    }

    fn close(&mut self, socket: Descriptor, reset: bool) {
        let busy = self.table.get(socket).is_some_and(table::Slot::is_busy);
        assert!(
            !busy,
            "descriptor {socket} closed with an operation outstanding"
        );
        self.shared.forget(socket);
        self.table.renew(socket);
        self.files.forget(socket);
        self.counters.system_calls += 1;
        socket::close(socket, reset);
    }

    fn local_address(&self, socket: Descriptor) -> io::Result<Address> {
        socket::local_address(socket)
    }

    fn peer_address(&self, socket: Descriptor) -> io::Result<Address> {
        socket::peer_address(socket)
    }

    fn delivery(&self, socket: Descriptor) -> Delivery {
        socket::delivery(socket)
    }

    fn unread(&self, socket: Descriptor) -> Unread {
        socket::unread(socket)
    }

    fn turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.counters.turns += 1;
        self.stale_turns = if self.stale_in_turn {
            self.stale_turns + 1
        } else {
            0
        };
        self.stale_in_turn = false;
        if self.stale_turns > STALE_TURNS_MAX {
            self.renew_instance()?;
        }
        // Events that the caller left are reported again: they are level-triggered.
        (self.filled, self.handled) = (0, 0);
        self.queued_left = QUEUED_A_TURN_MAX;
        let none = Some(Duration::ZERO);
        let mut timeout = if self.queued.is_empty() {
            timeout
        } else {
            none
        };
        let Self {
            instance,
            events,
            counters,
            filled,
            spin,
            ..
        } = self;
        if !spin.is_off() && timeout != none {
            let found = spin.run(timeout, || {
                counters.system_calls += 1;
                *filled = instance.wait(events, none).unwrap_or(0);
                *filled > 0
            });
            timeout = if found { none } else { timeout };
        }
        let mut result = Ok(());
        if *filled == 0 {
            counters.system_calls += 1;
            match instance.wait(events, timeout) {
                Ok(count) => *filled = count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => result = Err(error),
            }
        }
        self.now = self.now.max(monotonic());
        self.waker.clear();
        result
    }

    fn descriptor(&self) -> io::Result<Descriptor> {
        Ok(self.instance.descriptor())
    }

    fn rest(&mut self) -> Option<Duration> {
        (!self.queued.is_empty()).then_some(Duration::ZERO)
    }

    fn next(&mut self) -> Option<Completion> {
        loop {
            if self.queued_left > 0
                && let Some(completion) = self.queued.pop_front()
            {
                self.queued_left -= 1;
                self.counters.completions += 1;
                return Some(completion);
            }
            if self.handled < self.filled {
                self.handled += 1;
                let completion = self.handle(self.events[self.handled - 1]);
                if completion.is_some() {
                    self.counters.completions += 1;
                    return completion;
                }
            } else if self.queued_left == 0 || self.queued.is_empty() {
                return None;
            }
        }
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.waker) as Arc<dyn Wake>
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}
