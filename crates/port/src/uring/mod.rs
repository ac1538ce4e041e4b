//! The completion port on `io_uring(7)`: Linux 6.1 or newer.
//!
//! One system call a turn submits what was asked for since the last turn, waits, and gathers what has
//! completed. What was chosen, and why:
//!
//! * `SINGLE_ISSUER`, `DEFER_TASKRUN`, `COOP_TASKRUN`: the kernel finishes operations only while this thread
//!   is in that call, never by interrupting it; so completions come in batches, and between two
//!   calls nothing changes under our hands. `SUBMIT_ALL`: one bad submission does not hold back the rest.
//! * The ring is made disabled and belongs to **the thread that takes the first turn**. From then on the port
//!   must be used on that thread alone.
//! * Accept and receive are multishot: submitted once, they complete many times. Receive takes a buffer from
//!   one ring of provided buffers at the moment bytes arrive, so an idle connection holds none; and it polls
//!   first (`POLL_FIRST`), since usually nothing has arrived when receiving begins.
//! * A send carries `MSG_WAITALL`: the kernel goes on by itself after a short write, so a send completes
//!   short only when it was cancelled or failed on the way, or had more chunks than one send takes.
//! * A submission queue that is full is submitted and used on. A completion queue that is full makes the kernel keep
//!   completions in a list, which the next turn fetches; multishot operations end then, and are begun again
//!   by the driver (accept) or the owner (receive, told as `ENOBUFS`).
//!
//! An idle connection costs the driver nothing: the kernel's completion carries the owner's token, in the
//! lower 56 bits of its user data; the upper 8 name the operation's kind.

mod polls;
mod provided;
mod ring;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use io_uring::types::{CancelBuilder, Fd, Timespec};
use io_uring::{cqueue, opcode, squeue};

use crate::address::KernelAddress;
use crate::buffers::{CHUNKS_A_SEND_MAX, Lease, Pool};
use crate::select::Options;
use crate::sends::Sends;
use crate::socket::{self, SocketFiles, monotonic};
use crate::spin::Spin;
use crate::wake::Waker;
use crate::{
    Address, Completion, Counters, Descriptor, Errno, Interest, Outcome, Outgoing, Port, Token,
    Wake,
};
use polls::Polls;
use provided::Provided;
use ring::{Entry, Ring};

const RECEIVE: u64 = 1 << 56;
const SEND: u64 = 2 << 56;
const ACCEPT: u64 = 3 << 56;
const CONNECT: u64 = 4 << 56;
const POLL: u64 = 5 << 56;
const WAKE: u64 = 6 << 56;
/// A completion that nobody waits for: a cancel's or a poll removal's own.
const NOBODY: u64 = 7 << 56;
const KIND: u64 = 0xff << 56;

// Of linux/io_uring.h; the crate has no builder that sets both.
const RECVSEND_POLL_FIRST: u16 = 1;
const RECV_MULTISHOT: u16 = 2;

/// How long a port that is dropped waits for operations that it has cancelled.
const DROP_SECONDS_MAX: u64 = 2;

/// The message header and vectors of one vectored send. Boxed: the kernel has its address.
struct Vectored {
    message: libc::msghdr,
    vectors: [libc::iovec; CHUNKS_A_SEND_MAX],
}

struct Accept {
    token: Token,
    listener: Descriptor,
    cancelled: bool,
}

/// The driver on io_uring. See the module's documentation.
pub struct Uring {
    ring: Ring,
    provided: Provided,
    sends: Sends<Option<Box<Vectored>>>,
    accepts: Vec<Accept>,
    /// Receives outstanding; how many, not which.
    receives: usize,
    connects: HashMap<Token, Box<KernelAddress>>,
    polls: Polls,
    /// Completions that did not come from the kernel, or not alone.
    queued: VecDeque<Completion>,
    /// Completions taken in this batch, and how many of the kernel's were there when the turn ended.
    taken: usize,
    gathered: usize,
    /// The kernel's wake-up was taken after the turn that it should have ended: the next must not wait.
    woken_late: bool,
    files: SocketFiles,
    waker: Arc<Waker>,
    spin: Spin,
    now: u64,
    counters: Counters,
}

fn user_data(kind: u64, token: Token) -> u64 {
    assert!(
        token.0 & KIND == 0,
        "a token's top 8 bits belong to the driver"
    );
    kind | token.0
}

impl Uring {
    /// A driver with `options`. `ENOSYS`, `EPERM`, `EINVAL` or `ENOMEM` when it cannot be had here.
    pub fn new(options: &Options) -> io::Result<Self> {
        let spin = Spin::new(options.spin_microseconds);
        let ring = Ring::new(
            options.submission_entries.into(),
            options.completion_entries,
            !spin.is_off(),
        )?;
        let provided = Provided::new(&ring, Pool::new(options.buffers, options.buffer_bytes)?)?;
        let mut port = Self {
            ring,
            provided,
            sends: Sends::new(),
            accepts: Vec::new(),
            receives: 0,
            connects: HashMap::new(),
            polls: Polls::default(),
            queued: VecDeque::new(),
            taken: 0,
            gathered: 0,
            woken_late: false,
            files: SocketFiles::default(),
            waker: Waker::new()?,
            spin,
            now: monotonic(),
            counters: Counters::default(),
        };
        port.arm_waker();
        Ok(port)
    }

    fn queue(&mut self, token: Token, outcome: Outcome) {
        self.queued.push_back(Completion { token, outcome });
    }

    fn arm_waker(&mut self) {
        let descriptor = Fd(self.waker.descriptor());
        let poll = opcode::PollAdd::new(descriptor, libc::POLLIN as u32).multi(true);
        // SAFETY: points to nothing.
        unsafe { self.ring.push(poll.build().user_data(WAKE)) };
    }

    fn arm_accept(&mut self, listener: Descriptor, token: Token) {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        let accept = opcode::AcceptMulti::new(Fd(listener)).flags(flags);
        let accept = accept.build().user_data(user_data(ACCEPT, token));
        // SAFETY: points to nothing; a multishot accept tells no addresses.
        unsafe { self.ring.push(accept) };
    }

    fn arm_polls(&mut self) {
        while let Some(arm) = self.polls.arm() {
            let poll = opcode::PollAdd::new(Fd(arm.descriptor), arm.events).build();
            // SAFETY: points to nothing.
            unsafe { self.ring.push(poll.user_data(POLL | arm.payload)) };
        }
    }

    fn remove_poll(&mut self, payload: Option<u64>) {
        if let Some(payload) = payload {
            let remove = opcode::PollRemove::new(POLL | payload).build();
            let remove = remove.flags(squeue::Flags::SKIP_SUCCESS).user_data(NOBODY);
            // SAFETY: points to nothing.
            unsafe { self.ring.push(remove) };
        }
    }

    fn cancel(&mut self, user_data: u64) {
        let cancel = opcode::AsyncCancel::new(user_data).build();
        let cancel = cancel.flags(squeue::Flags::SKIP_SUCCESS).user_data(NOBODY);
        // SAFETY: points to nothing.
        unsafe { self.ring.push(cancel) };
    }

    /// What a kernel's completion means; `None` for one that is the driver's own affair.
    fn complete(&mut self, entry: Entry) -> Option<Completion> {
        let payload = entry.user_data & !KIND;
        match entry.user_data & KIND {
            RECEIVE => Some(self.complete_receive(Token(payload), entry)),
            SEND => {
                let (token, outgoing) = self.sends.remove(payload as u32);
                let result = errno_or(entry.result).map(|sent| sent as usize);
                Some(Completion {
                    token,
                    outcome: Outcome::Sent(result, outgoing),
                })
            }
            ACCEPT => self.complete_accept(Token(payload), entry),
            CONNECT => {
                self.connects.remove(&Token(payload));
                let outcome = Outcome::Connected(errno_or(entry.result).map(drop));
                Some(Completion {
                    token: Token(payload),
                    outcome,
                })
            }
            POLL => {
                let (token, interest) = self.polls.complete(payload, entry.result)?;
                Some(Completion {
                    token,
                    outcome: Outcome::Ready(interest),
                })
            }
            WAKE => {
                self.woken_late |= self.taken > self.gathered;
                if !cqueue::more(entry.flags) {
                    self.arm_waker();
                }
                None
            }
            _ => None,
        }
    }

    fn complete_receive(&mut self, token: Token, entry: Entry) -> Completion {
        let length = usize::try_from(entry.result).unwrap_or(0);
        // A buffer may come with the end of the stream too; dropping the lease gives it back.
        let lease: Option<Lease> =
            cqueue::buffer_select(entry.flags).map(|index| self.provided.lease(index, length));
        let goes_on = cqueue::more(entry.flags);
        if !goes_on {
            self.receives -= 1;
        }
        let outcome = match entry.result {
            1.. => {
                if !goes_on {
                    // The kernel ended a multishot that did not fail: its completion queue was full.
                    let again = Outcome::ReceiveEnded(Some(Errno(libc::ENOBUFS)));
                    self.queue(token, again);
                }
                Outcome::Received(lease.expect("received bytes come in a buffer"))
            }
            0 => Outcome::ReceiveEnded(None),
            error => {
                if error == -libc::ENOBUFS {
                    self.counters.buffers_exhausted += 1;
                }
                Outcome::ReceiveEnded(Some(Errno(-error)))
            }
        };
        Completion { token, outcome }
    }

    fn complete_accept(&mut self, token: Token, entry: Entry) -> Option<Completion> {
        let goes_on = cqueue::more(entry.flags);
        let position = self
            .accepts
            .iter()
            .position(|accept| accept.token == token)?;
        let result = errno_or(entry.result);
        if !goes_on {
            let accept = &self.accepts[position];
            let ended = match result {
                _ if accept.cancelled => Some(Errno(libc::ECANCELED)),
                Err(errno) if socket::ends_accept(errno) => Some(errno),
                _ => None,
            };
            match ended {
                Some(errno) => {
                    self.accepts.swap_remove(position);
                    self.queue(token, Outcome::AcceptEnded(errno));
                }
                None => self.arm_accept(accept.listener, token),
            }
        }
        let outcome = Outcome::Accepted(result.ok()?);
        Some(Completion { token, outcome })
    }

    fn next_queued(&mut self) -> Option<Completion> {
        let completion = self.queued.pop_front();
        self.counters.completions += u64::from(completion.is_some());
        completion
    }

    /// Whether the kernel still has an operation that may touch memory of ours.
    fn is_busy(&self) -> bool {
        self.receives > 0 || self.sends.len() > 0 || !self.connects.is_empty()
    }
}

fn errno_or(result: i32) -> Result<i32, Errno> {
    if result < 0 {
        Err(Errno(-result))
    } else {
        Ok(result)
    }
}

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
        let receive = opcode::Recv::new(Fd(socket), std::ptr::null_mut(), 0)
            .ioprio(RECV_MULTISHOT | RECVSEND_POLL_FIRST)
            .buf_group(provided::GROUP)
            .build()
            .flags(squeue::Flags::BUFFER_SELECT)
            .user_data(user_data(RECEIVE, token));
        self.receives += 1;
        // SAFETY: the kernel writes to provided buffers only; those live as long as the ring.
        unsafe { self.ring.push(receive) };
    }

    fn cancel_receive(&mut self, token: Token) {
        self.cancel(user_data(RECEIVE, token));
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
        // SAFETY: the bytes, and the boxed header and vectors, stay in their slot until the completion.
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
        socket::open(address, source)
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
            result = self.ring.enter(least, timeout);
        }
        self.now = self.now.max(monotonic());
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

impl Vectored {
    fn new() -> Box<Self> {
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

    /// Describe what is left of `outgoing`.
    fn point_to(&mut self, outgoing: &Outgoing) -> *const libc::msghdr {
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

impl Drop for Uring {
    /// Cancel everything and wait for the last completion, so that the kernel writes to nothing that is
    /// freed. Should an operation not end in time, its memory is left to the kernel for good.
    fn drop(&mut self) {
        let start = monotonic();
        let _ = self.ring.enter(0, None);
        let timeout = Timespec::new().sec(DROP_SECONDS_MAX);
        let _ = self
            .ring
            .submitter()
            .register_sync_cancel(Some(timeout), CancelBuilder::any());
        while self.is_busy() && monotonic() - start < DROP_SECONDS_MAX * 1_000_000_000 {
            while let Some(completion) = self.next() {
                if let Outcome::Accepted(socket) = completion.outcome {
                    socket::close(socket, false);
                }
            }
            if self.is_busy() && self.ring.enter(1, Some(Duration::from_millis(10))).is_err() {
                break;
            }
        }
        if self.is_busy() {
            mem::forget(mem::replace(&mut self.sends, Sends::new()));
            mem::forget(mem::take(&mut self.connects));
            self.provided.leak();
        }
    }
}
