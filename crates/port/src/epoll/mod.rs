//! The completion port on epoll(7), for where io_uring is absent or forbidden.
//!
//! epoll tells when an operation may go on, not that it has; the driver goes on with it and makes the
//! completion. What it does when:
//!
//! * **Sending** is tried at once, in [`Port::send`]; the completion waits in a queue for [`Port::next`].
//!   Only when the socket is full does the driver ask epoll for room. After a short send the next one is
//!   not tried before epoll says that there is room: it could only fail.
//! * **Receiving** is done in [`Port::next`], when the caller is ready for the bytes. All connections
//!   receive into the same few buffers, so the bytes are in the cache when they are looked at, and one
//!   receive a connection and turn lets no connection starve another.
//! * **Interest is dropped late.** Events are level-triggered, and epoll is asked once for a
//!   connection's life in the usual case. A paused receive stays registered until the first unwanted event
//!   comes; a pause that ends before costs no system call. `EPOLLERR` and `EPOLLHUP` cannot be masked, so
//!   a descriptor with nothing outstanding that shows them is taken out of epoll altogether.
//! * **A stale event** is one for a descriptor's earlier life, gathered before the close. It is known by the
//!   generation that epoll carries for us. A descriptor that a forked child still holds lives on in
//!   epoll after our close and cannot be removed any more (epoll(7), question 6): when stale events keep
//!   coming, the driver makes a new epoll instance.
//!
//! A descriptor that epoll refuses (`EPERM`: a regular file) is always ready, as poll(2) has it.

mod table;

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::address::KernelAddress;
use crate::buffers::{CHUNKS_A_SEND_MAX, Pool};
use crate::select::Options;
use crate::sends::Sends;
use crate::socket::{self, SocketFiles, check, last_errno, monotonic};
use crate::spin::Spin;
use crate::wake::Waker;
use crate::{
    Address, Completion, Counters, Descriptor, Errno, Interest, Outcome, Outgoing, Port, Token,
    Wake,
};
use table::{ACCEPTING, CONNECTING, FULL, NO_SEND, OWNED, POLLING, RECEIVING, REGISTERED, Table};

const IN: u8 = libc::EPOLLIN as u8;
const OUT: u8 = libc::EPOLLOUT as u8;
/// Cannot be masked, and make every waiting operation go on to find out.
const BROKEN: u32 = (libc::EPOLLERR | libc::EPOLLHUP) as u32;

/// What epoll carries for the waker's descriptor; no other descriptor has it.
const WAKER: u64 = u64::MAX;

/// Connections taken from one listener in one turn: with more, those already open would wait for long.
const ACCEPTS_A_TURN_MAX: usize = 64;
/// Queued completions handed out in one turn. A caller who sends for every completed send would
/// otherwise never come to the end of the batch.
const QUEUED_A_TURN_MAX: usize = 4096;
/// Turns in a row with a stale event after which epoll is made anew.
const STALE_TURNS_MAX: u32 = 8;

/// The driver on epoll. See the module's documentation.
pub struct Epoll {
    instance: Instance,
    table: Table,
    sends: Sends<Descriptor>,
    events: Vec<libc::epoll_event>,
    /// How many of `events` the latest turn filled, and how many have been handled.
    filled: usize,
    handled: usize,
    queued: VecDeque<Completion>,
    queued_left: usize,
    /// Watched descriptors that epoll refuses, and how many of them were told of in this turn.
    always: Vec<(Descriptor, Token, Interest)>,
    always_told: usize,
    pool: Rc<Pool>,
    files: SocketFiles,
    waker: Arc<Waker>,
    spin: Spin,
    stale_in_turn: bool,
    stale_turns: u32,
    now: u64,
    counters: Counters,
}

/// The epoll descriptor.
struct Instance {
    descriptor: Descriptor,
    /// Whether `epoll_pwait2(2)` is there (Linux 5.11), which takes nanoseconds.
    fine: bool,
}

impl Instance {
    fn new() -> io::Result<Self> {
        // SAFETY: no pointers.
        let descriptor = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        Ok(Self {
            descriptor,
            fine: true,
        })
    }

    fn control(
        &self,
        operation: i32,
        descriptor: Descriptor,
        mask: u8,
        data: u64,
    ) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: mask.into(),
            u64: data,
        };
        // SAFETY: the event is ours and lives through the call.
        let result =
            unsafe { libc::epoll_ctl(self.descriptor, operation, descriptor, &raw mut event) };
        check(result).map(drop)
    }

    fn wait(
        &mut self,
        events: &mut [libc::epoll_event],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        let count = events.len() as i32;
        let events = events.as_mut_ptr();
        if let Some(timeout) = timeout.filter(|timeout| self.fine && !timeout.is_zero()) {
            let time = libc::timespec {
                tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: timeout.subsec_nanos().into(),
            };
            let no_mask: *const libc::sigset_t = std::ptr::null();
            // SAFETY: `events` has room for `count`, and the time lives through the call.
            let result = unsafe {
                let number = libc::SYS_epoll_pwait2;
                libc::syscall(
                    number,
                    self.descriptor,
                    events,
                    count,
                    &raw const time,
                    no_mask,
                    8,
                )
            };
            match check(result as i32) {
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                    self.fine = false;
                }
                result => return result.map(|count| count as usize),
            }
        }
        // Rounded up: a timer that comes due within a millisecond is not spun for.
        let milliseconds = timeout.map_or(-1, |timeout| {
            i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
        });
        // SAFETY: `events` has room for `count`.
        let result = unsafe { libc::epoll_wait(self.descriptor, events, count, milliseconds) };
        check(result).map(|count| count as usize)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // SAFETY: the descriptor is ours alone.
        unsafe { libc::close(self.descriptor) };
    }
}

fn carried(descriptor: Descriptor, generation: u16) -> u64 {
    u64::from(descriptor as u32) | u64::from(generation) << 32
}

impl Epoll {
    /// A driver with `options`. Errors are those of `epoll_create1(2)`, `eventfd(2)` and `mmap(2)`.
    pub fn new(options: &Options) -> io::Result<Self> {
        let instance = Instance::new()?;
        let waker = Waker::new()?;
        instance.control(libc::EPOLL_CTL_ADD, waker.descriptor(), IN, WAKER)?;
        Ok(Self {
            instance,
            table: Table::default(),
            sends: Sends::new(),
            events: vec![libc::epoll_event { events: 0, u64: 0 }; options.events_a_turn.into()],
            filled: 0,
            handled: 0,
            queued: VecDeque::new(),
            queued_left: QUEUED_A_TURN_MAX,
            always: Vec::new(),
            always_told: 0,
            pool: Pool::new(options.epoll_buffers, options.epoll_buffer_bytes)?,
            files: SocketFiles::default(),
            waker,
            spin: Spin::new(options.spin_microseconds),
            stale_in_turn: false,
            stale_turns: 0,
            now: monotonic(),
            counters: Counters::default(),
        })
    }

    fn queue(&mut self, token: Token, outcome: Outcome) {
        self.queued.push_back(Completion { token, outcome });
    }

    /// Make epoll watch the descriptor for `mask`.
    fn watch(&mut self, descriptor: Descriptor, mask: u8) -> Result<(), Errno> {
        let slot = self.table.slot(descriptor);
        if slot.has(REGISTERED) && slot.mask == mask {
            return Ok(());
        }
        let (was_known, data) = (slot.has(REGISTERED), carried(descriptor, slot.generation));
        slot.mask = mask;
        slot.state |= REGISTERED;
        self.counters.system_calls += 1;
        let (first, second) = if was_known {
            (libc::EPOLL_CTL_MOD, libc::EPOLL_CTL_ADD)
        } else {
            (libc::EPOLL_CTL_ADD, libc::EPOLL_CTL_MOD)
        };
        let mut result = self.instance.control(first, descriptor, mask, data);
        // A foreign descriptor may have been closed, and its number given to another, behind our back.
        if let Err(error) = &result
            && matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EEXIST))
        {
            result = self.instance.control(second, descriptor, mask, data);
        }
        result.map_err(|error| {
            self.table.slot(descriptor).state &= !REGISTERED;
            socket::errno_of(&error)
        })
    }

    fn unwatch(&mut self, descriptor: Descriptor) {
        let slot = self.table.slot(descriptor);
        if slot.has(REGISTERED) {
            slot.state &= !REGISTERED;
            slot.mask = 0;
            self.counters.system_calls += 1;
            // It fails when the foreign descriptor was closed before; then epoll has forgotten it already.
            let _ = self.instance.control(libc::EPOLL_CTL_DEL, descriptor, 0, 0);
        }
    }

    /// Send what the socket takes now. `EAGAIN` is in the result like any other error.
    fn try_send(&mut self, descriptor: Descriptor, outgoing: &Outgoing) -> Result<usize, Errno> {
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        let (sent, offered) = loop {
            self.counters.system_calls += 1;
            let (sent, offered) = if outgoing.is_single() {
                let bytes = outgoing.first();
                // SAFETY: the bytes are ours through the call.
                let sent =
                    unsafe { libc::send(descriptor, bytes.as_ptr().cast(), bytes.len(), flags) };
                (sent, bytes.len())
            } else {
                send_pieces(descriptor, outgoing, flags)
            };
            if sent >= 0 || last_errno().0 != libc::EINTR {
                break (sent, offered);
            }
        };
        if sent < 0 {
            return Err(last_errno());
        }
        let sent = sent as usize;
        let slot = self.table.slot(descriptor);
        slot.state = if sent < offered {
            slot.state | FULL
        } else {
            slot.state & !FULL
        };
        Ok(sent)
    }

    /// Go on with the send that waits for room.
    fn resume_send(&mut self, descriptor: Descriptor, number: u32) {
        let (token, outgoing) = self.sends.remove(number);
        self.table.slot(descriptor).send = NO_SEND;
        let result = self.try_send(descriptor, &outgoing);
        if result == Err(Errno(libc::EAGAIN)) {
            self.table.slot(descriptor).send = self.sends.insert(token, outgoing);
            *self.sends.get(self.table.slot(descriptor).send).1 = descriptor;
        } else {
            self.queue(token, Outcome::Sent(result, outgoing));
        }
    }

    fn wait_for_room(&mut self, descriptor: Descriptor, token: Token, outgoing: Outgoing) {
        let mask = self.table.slot(descriptor).mask | OUT;
        if let Err(errno) = self.watch(descriptor, mask) {
            self.queue(token, Outcome::Sent(Err(errno), outgoing));
            return;
        }
        let number = self.sends.insert(token, outgoing);
        *self.sends.get(number).1 = descriptor;
        self.table.slot(descriptor).send = number;
    }

    /// Receive once. `None` when there was nothing after all.
    fn receive_now(&mut self, descriptor: Descriptor) -> Option<Outcome> {
        let Some(index) = self.pool.take() else {
            self.counters.buffers_exhausted += 1;
            return Some(Outcome::ReceiveEnded(Some(Errno(libc::ENOBUFS))));
        };
        let start = self.pool.buffer(index).as_ptr().cast();
        let length = self.pool.buffer_bytes() as usize;
        let received = loop {
            self.counters.system_calls += 1;
            // SAFETY: the buffer was taken from the pool, so it is ours alone, and has `length` bytes.
            let received = unsafe { libc::recv(descriptor, start, length, libc::MSG_DONTWAIT) };
            if received >= 0 || last_errno().0 != libc::EINTR {
                break received;
            }
        };
        if received > 0 {
            return Some(Outcome::Received(self.pool.lease(index, received as usize)));
        }
        let errno = (received < 0).then(last_errno);
        self.pool.give_back(index);
        match errno {
            Some(Errno(libc::EAGAIN)) => None,
            ended => Some(Outcome::ReceiveEnded(ended)),
        }
    }

    /// Take the connections that wait, at most [`ACCEPTS_A_TURN_MAX`].
    fn accept_now(&mut self, listener: Descriptor, token: Token) {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        let none = std::ptr::null_mut();
        for _ in 0..ACCEPTS_A_TURN_MAX {
            self.counters.system_calls += 1;
            // SAFETY: null pointers say that the peer's address is not wanted.
            let socket = unsafe { libc::accept4(listener, none, none.cast(), flags) };
            if socket >= 0 {
                self.table.renew(socket);
                self.queue(token, Outcome::Accepted(socket));
                continue;
            }
            match last_errno() {
                Errno(libc::EAGAIN) => return,
                errno if socket::ends_accept(errno) => {
                    self.table.disown(listener);
                    self.queue(token, Outcome::AcceptEnded(errno));
                    return;
                }
                _ => (),
            }
        }
    }

    /// Act on one event; most make one completion, which is returned.
    fn handle(&mut self, event: libc::epoll_event) -> Option<Completion> {
        let (bits, data) = (event.events, event.u64);
        if data == WAKER {
            self.counters.system_calls += 1;
            self.waker.drain();
            return None;
        }
        let descriptor = data as u32 as Descriptor;
        let slot = *self.table.slot(descriptor);
        if carried(descriptor, slot.generation) != data || !slot.has(REGISTERED) {
            self.stale_in_turn = true;
            return None;
        }
        let broken = bits & BROKEN != 0;
        let (readable, writable) = (
            broken || bits & IN as u32 != 0,
            broken || bits & OUT as u32 != 0,
        );
        if slot.has(POLLING) {
            let read = readable && slot.mask & IN != 0;
            let write = writable && slot.mask & OUT != 0;
            let outcome = Outcome::Ready(Interest { read, write });
            return Some(Completion {
                token: slot.token,
                outcome,
            });
        }
        let mut mask = slot.mask;
        if writable {
            self.table.slot(descriptor).state &= !FULL;
            if slot.has(CONNECTING) {
                self.finish_connect(descriptor);
            } else if slot.send != NO_SEND {
                self.resume_send(descriptor, slot.send);
            } else {
                mask &= !OUT;
            }
        }
        let mut completion = None;
        if readable {
            if slot.has(RECEIVING) {
                if let Some(outcome) = self.receive_now(descriptor) {
                    if matches!(outcome, Outcome::ReceiveEnded(_)) {
                        self.table.disown(descriptor);
                    }
                    completion = Some(Completion {
                        token: slot.token,
                        outcome,
                    });
                }
            } else if slot.has(ACCEPTING) {
                self.accept_now(descriptor, slot.token);
            } else {
                mask &= !IN;
            }
        }
        if broken && !slot.is_busy() {
            self.unwatch(descriptor);
        } else if mask != slot.mask {
            // Failure leaves the interest as it was: the event comes again, and so does this attempt.
            let _ = self.watch(descriptor, mask);
        }
        completion
    }

    fn finish_connect(&mut self, descriptor: Descriptor) {
        let token = self.table.disown(descriptor);
        self.counters.system_calls += 1;
        let result = match socket::take_error(descriptor) {
            0 => Ok(()),
            errno => Err(Errno(errno)),
        };
        self.queue(token, Outcome::Connected(result));
    }

    /// A new epoll instance with every registration of the old, but without those that are not ours any more.
    fn renew_instance(&mut self) -> io::Result<()> {
        let fresh = Instance::new()?;
        fresh.control(libc::EPOLL_CTL_ADD, self.waker.descriptor(), IN, WAKER)?;
        for (descriptor, slot) in self.table.registered() {
            let data = carried(descriptor, slot.generation);
            // A foreign descriptor may have been closed; what was ours is open.
            let _ = fresh.control(libc::EPOLL_CTL_ADD, descriptor, slot.mask, data);
        }
        self.instance = fresh;
        Ok(())
    }

    fn cancel(&mut self, token: Token, state: u8, outcome: Outcome) {
        if let Some(descriptor) = self.table.find(token)
            && self.table.slot(descriptor).has(state)
        {
            self.table.disown(descriptor);
            self.queue(token, outcome);
        }
    }
}

fn send_pieces(descriptor: Descriptor, outgoing: &Outgoing, flags: i32) -> (isize, usize) {
    let empty = libc::iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: 0,
    };
    let mut vectors = [empty; CHUNKS_A_SEND_MAX];
    let (mut count, mut offered) = (0, 0);
    for (vector, piece) in vectors.iter_mut().zip(outgoing.pieces()) {
        vector.iov_base = piece.as_ptr().cast_mut().cast();
        vector.iov_len = piece.len();
        offered += piece.len();
        count += 1;
    }
    // SAFETY: all zero bytes are a valid msghdr.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = vectors.as_mut_ptr();
    message.msg_iovlen = count;
    // SAFETY: the message points to `count` vectors, and they to bytes of ours; sendmsg writes to none.
    let sent = unsafe { libc::sendmsg(descriptor, &raw const message, flags) };
    (sent, offered)
}

impl Port for Epoll {
    fn name(&self) -> &'static str {
        "epoll"
    }

    fn now(&self) -> u64 {
        self.now
    }

    fn accept(&mut self, listener: Descriptor, token: Token) {
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

    fn poll(&mut self, descriptor: Descriptor, token: Token, interest: Interest) {
        let mut mask = 0;
        if interest.read {
            mask |= IN;
        }
        if interest.write {
            mask |= OUT;
        }
        if mask == 0 {
            return self.unpoll(descriptor, token);
        }
        self.always.retain(|(watched, ..)| *watched != descriptor);
        let slot = self.table.slot(descriptor);
        assert!(
            !slot.has(OWNED),
            "descriptor {descriptor} has an operation of another kind"
        );
        slot.token = token;
        slot.state |= POLLING;
        if self.watch(descriptor, mask).is_err() {
            self.table.slot(descriptor).state &= !POLLING;
            self.always.push((descriptor, token, interest));
        }
    }

    fn unpoll(&mut self, descriptor: Descriptor, token: Token) {
        self.always
            .retain(|(watched, owner, _)| (*watched, *owner) != (descriptor, token));
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
        // Events that the caller left are told again: they are level-triggered.
        (self.filled, self.handled) = (0, 0);
        self.queued_left = QUEUED_A_TURN_MAX;
        self.always_told = 0;
        let none = Some(Duration::ZERO);
        let has_work = !self.queued.is_empty() || !self.always.is_empty();
        let mut timeout = if has_work { none } else { timeout };
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
            } else if let Some((_, token, interest)) = self.always.get(self.always_told) {
                self.always_told += 1;
                self.counters.completions += 1;
                return Some(Completion {
                    token: *token,
                    outcome: Outcome::Ready(*interest),
                });
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
