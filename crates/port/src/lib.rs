//! The completion port: operations in, completions out, in batches.
//!
//! There are three drivers with one trait, [`Port`]: [`uring`], [`epoll`] and [`sim`]. The engine
//! uses only the trait. So what a test in the simulation shows about the engine also holds with the
//! two drivers of the kernel.
//!
//! The rules that every driver keeps:
//!
//! 1. A buffer, its operation and its owner live until the last completion for them.
//!    [`Port::cancel_receive`] and the other cancels are only requests: the operation's final
//!    completion still comes, exactly once.
//! 2. Completions are taken in a batch with [`Port::next`], never from inside an operation: an
//!    operation that completes at once puts its completion in the queue and returns.
//! 3. Every queue has a limit.
//! 4. An idle connection holds no buffer: received bytes come in a [`Lease`] on a buffer shared by
//!    all.
//! 5. A driver panics if the caller breaks a rule (two sends in flight on one token), but not
//!    because of what the kernel or the peer does.

mod address;
mod buffers;
mod datagrams;
pub mod driver;
pub mod epoll;
mod epoll_instance;
mod file_part;
pub mod fork;
mod forward;
mod sends;
mod shared_listeners;
pub mod sim;
mod socket;
mod spin;
pub mod timer;
pub mod uring;
mod wake;
mod watches;

pub use address::{Address, UNIX_PATH_BYTES_MAX};
pub use buffers::{CHUNKS_A_SEND_MAX, Chunk, KeptBytes, Lease, Outgoing};
pub use datagrams::{
    Arrival, Arrivals, Beside, DATAGRAMS_A_BATCH, DatagramOptions, Departed, Departures, Group,
    read_control,
};
pub use file_part::FilePart;

use std::io;
use std::time::Duration;

/// A socket or other descriptor as the driver knows it: a kernel descriptor, or the simulation's
/// own number.
pub type Descriptor = i32;

/// Names the owner of an operation; every completion brings it back. The top 8 bits belong to the
/// driver and must be zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u64);

/// An errno value, as the kernel names it (`libc::ECONNRESET`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Errno(pub i32);

impl Errno {
    /// `ECANCELED`: the operation was cancelled.
    pub const CANCELLED: Self = Self(libc::ECANCELED);
    /// `ENOBUFS`: no buffer was free.
    pub const NO_BUFFER: Self = Self(libc::ENOBUFS);
    /// `EAGAIN`: there was no room.
    pub const NO_ROOM: Self = Self(libc::EAGAIN);
    /// `ENODATA`: a file has become shorter while it was sent.
    pub const FILE_ENDED: Self = Self(libc::ENODATA);
    /// `ENOMEM`: memory was short.
    pub const OUT_OF_MEMORY: Self = Self(libc::ENOMEM);
}

impl std::fmt::Display for Errno {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        io::Error::from_raw_os_error(self.0).fmt(formatter)
    }
}

/// Which readiness of a foreign descriptor is of interest, or has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Bytes, a connection, or the end can be read. An error or hang-up also counts.
    pub read: bool,
    /// Bytes can be written. An error or hang-up also counts.
    pub write: bool,
}

/// How far the bytes that were sent on a socket have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Bytes that the peer's kernel has acknowledged since the connection began, those of a send in
    /// flight included. Only its growth means something. `None` on a Unix socket, which has no
    /// acknowledgements.
    pub acknowledged: Option<u64>,
    /// Bytes that the kernel has taken and the peer's kernel has not acknowledged. 0 on a Unix
    /// socket, where no network can lose them.
    pub outstanding: usize,
    /// For how many milliseconds the peer's kernel has acknowledged nothing, although this one
    /// repeats such bytes, or asks for room for them. 0 where it has answered the latest attempt:
    /// a kernel without room answers, and one whose machine or path is gone does not.
    pub unanswered_milliseconds: u32,
}

/// What the kernel holds for the owner of a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// Bytes that wait to be received.
    pub bytes: usize,
    /// Whether the peer has finished sending.
    pub is_ended: bool,
    /// Whether the connection is gone in both directions, although this end has not finished
    /// sending: the peer has reset it, or has closed its Unix socket.
    pub is_gone: bool,
    /// The error that broke the connection, which is taken from the socket.
    pub broken: Option<Errno>,
}

/// What happened to one operation.
#[derive(Debug)]
pub enum Outcome {
    /// A connection was accepted on a listening socket; the owner now owns the descriptor.
    Accepted(Descriptor),
    /// Accepting stopped: cancelled (`ECANCELED`) or failed (`EMFILE`, ...). Final for the accept.
    AcceptEnded(Errno),
    /// Bytes arrived. The receive continues.
    Received(Lease),
    /// The receive ended: `None` for the peer's orderly end of stream, an errno otherwise
    /// (`ECANCELED` after a cancel; `ENOBUFS` when no buffer was free: receive again). Final for
    /// the receive.
    ReceiveEnded(Option<Errno>),
    /// A send finished; how many bytes went, and what was to be sent, given back as it was: the
    /// caller advances it ([`Outgoing::advance`]). Bytes may be fewer than asked (send the rest)
    /// and zero only on an error or when there was nothing to send. Final for the send.
    Sent(Result<usize, Errno>, Outgoing),
    /// A [`Port::send_once`] did not send all: how many bytes went, or why none did (`EAGAIN`: the
    /// socket was full). One that sent all has no completion.
    SentInPart(Result<usize, Errno>),
    /// A connect finished. Final.
    Connected(Result<(), Errno>),
    /// A foreign descriptor is ready, or a socket for datagrams is readable; reported at most once
    /// per turn while it stays so.
    Ready(Interest),
}

/// One completion: whose, and what.
#[derive(Debug)]
pub struct Completion {
    /// The owner that was named when the operation began.
    pub token: Token,
    /// What happened.
    pub outcome: Outcome,
}

/// Wakes a [`Port::turn`] from any thread. Cheap to clone; waking twice before a turn wakes once.
pub trait Wake: Send + Sync {
    /// Make the current or the next turn return without waiting.
    fn wake(&self);
}

/// The completion port. Each worker thread has one, and uses it only on this thread.
///
/// At most one accept or receive, one send, one connect may be outstanding on a token at a time (a
/// receive and a send together are usual). A token may be used again for a new owner once every
/// operation under it has had its final completion.
pub trait Port {
    /// The driver's name: `uring`, `epoll` or `sim`.
    fn name(&self) -> &'static str;

    /// The time of the latest turn, in nanoseconds from an arbitrary start; never goes back. No
    /// system call.
    fn now(&self) -> u64;

    /// Accept connections on `listener` until cancelled or failed. New sockets are non-blocking and
    /// close-on-exec.
    fn accept(&mut self, listener: Descriptor, token: Token);

    /// Ask that accepting stop; the final [`Outcome::AcceptEnded`] follows, perhaps after further
    /// accepts.
    fn cancel_accept(&mut self, token: Token);

    /// Receive from `socket` until its end, an error, or a cancel.
    fn receive(&mut self, socket: Descriptor, token: Token);

    /// Ask that receiving stop; the final [`Outcome::ReceiveEnded`] follows, perhaps after further
    /// bytes.
    fn cancel_receive(&mut self, token: Token);

    /// Send `outgoing`, vectored when it has several chunks. The driver owns it until the
    /// completion. A part of a file ([`Outgoing::file`]) is copied by the kernel; the socket must
    /// be non-blocking for it.
    fn send(&mut self, socket: Descriptor, token: Token, outgoing: Outgoing);

    /// Ask that the send in flight stop; its completion follows with what went, or `ECANCELED`.
    fn cancel_send(&mut self, token: Token);

    /// Whether the caller may have sockets of its own received from and sent to, with
    /// [`Port::receive`] and [`Port::send_once`], in the system call that waits; otherwise it does
    /// that itself, with a system call for each. Such a socket is a stream of TCP. The caller
    /// closes it itself, and calls [`Port::forget`] first.
    fn serves_foreign_streams(&mut self) -> bool {
        false
    }

    /// Send bytes with the next turn, once, without waiting for room; false where the driver takes
    /// no more of them before that turn. The bytes are copied. What is not sent is reported as
    /// [`Outcome::SentInPart`] in that turn's batch.
    ///
    /// [`Port::has_unsent`] says whether the turn has done so. Until then nothing else may be sent
    /// on the socket.
    fn send_once(&mut self, socket: Descriptor, token: Token, bytes: &[u8]) -> bool {
        let _ = (socket, token, bytes);
        false
    }

    /// Whether the latest turn could not do all that [`Port::send_once`] asked for: the next does.
    fn has_unsent(&self) -> bool {
        false
    }

    /// Give the kernel what was asked for since the last turn, without waiting, and without looking
    /// at what completes.
    fn submit(&mut self) {}

    /// The caller is about to close a socket of its own, whose receive it has cancelled.
    fn forget(&mut self, socket: Descriptor) {
        let _ = socket;
    }

    /// The caller takes no turns for a while, and perhaps another thread takes the next
    /// ([`Port::change_thread`]).
    fn stop(&mut self) {}

    /// Another thread takes the turns from now on. The caller has taken the batch. Receives on
    /// sockets of its own are over without a completion, and are to be begun again; nothing else is
    /// outstanding.
    fn change_thread(&mut self) {}

    /// Connect `socket` to `address`.
    fn connect(&mut self, socket: Descriptor, token: Token, address: &Address);

    /// Ask that the connect in flight stop.
    fn cancel_connect(&mut self, token: Token);

    /// Watch a foreign descriptor, level-triggered, until [`Port::unpoll`] or until it is closed.
    /// Polling again replaces the interest.
    ///
    /// `EBADF` for a descriptor that is not open, `EPERM` for one that cannot be polled, such as a
    /// regular file (`epoll_ctl(2)`); it is not watched then.
    fn poll(&mut self, descriptor: Descriptor, token: Token, interest: Interest) -> io::Result<()>;

    /// Stop watching. No [`Outcome::Ready`] with this token comes after this call returns.
    fn unpoll(&mut self, descriptor: Descriptor, token: Token);

    /// A stream socket for `address`'s family, non-blocking, close-on-exec, `TCP_NODELAY` where it
    /// applies; bound to `source` first if that is given (port 0 lets the kernel choose at connect
    /// time).
    fn open(&mut self, address: &Address, source: Option<&Address>) -> io::Result<Descriptor>;

    /// A socket bound to `address` and listening.
    fn listen(
        &mut self,
        address: &Address,
        backlog: u32,
        reuse_port: bool,
    ) -> io::Result<Descriptor>;

    /// Take over a socket that listens already; it is made non-blocking, and closed by
    /// [`Port::close`].
    fn adopt(&mut self, listener: Descriptor) -> io::Result<()>;

    /// A socket for datagrams, bound to `address`.
    fn bind(&mut self, address: &Address, options: &DatagramOptions) -> io::Result<Descriptor>;

    /// Take over a bound socket for datagrams; it is made non-blocking, and closed by
    /// [`Port::close`]. `ESOCKTNOSUPPORT` for one of another type.
    fn adopt_datagrams(&mut self, socket: Descriptor, options: &DatagramOptions) -> io::Result<()>;

    /// Report [`Outcome::Ready`] once per turn for as long as datagrams or errors wait in the
    /// socket, until [`Port::unwatch_datagrams`].
    fn watch_datagrams(&mut self, socket: Descriptor, token: Token) -> io::Result<()> {
        let interest = Interest {
            read: true,
            write: false,
        };
        self.poll(socket, token, interest)
    }

    /// Report nothing more: no [`Outcome::Ready`] with this token comes after this call returns.
    fn unwatch_datagrams(&mut self, socket: Descriptor, token: Token) {
        self.unpoll(socket, token);
    }

    /// Take what waits in the socket, at most [`DATAGRAMS_A_BATCH`] datagrams, and of each so many
    /// bytes at most. Errors of earlier datagrams are in the batch; an error of this call says that
    /// nothing can be received now.
    fn receive_datagrams(
        &mut self,
        socket: Descriptor,
        arrivals: &mut Arrivals,
        datagram_bytes_max: usize,
    ) -> Result<(), Errno>;

    /// Send what waits, the oldest first, as far as the kernel has room, and some hundred at most.
    /// What it took or refused is taken out of the queue.
    fn send_datagrams(&mut self, socket: Descriptor, departures: &mut Departures) -> Departed;

    /// Let the kernel probe the peer's kernel after this time of silence (`SO_KEEPALIVE`, tcp(7)):
    /// once, and twice more, each after a third of this time. An end without an answer breaks the
    /// connection with `ETIMEDOUT`; a peer that does not know the connection any more breaks it
    /// with a reset.
    ///
    /// Sockets that are accepted inherit it from the listening one. No effect on Unix sockets, and
    /// in the simulation, where the network knows nothing of it.
    fn keep_alive(&mut self, socket: Descriptor, silence: Duration);

    /// Shut the socket's sending side down (FIN after what was sent).
    fn shutdown(&mut self, socket: Descriptor);

    /// Close a descriptor under which no operation is outstanding. `reset` discards what was not
    /// sent and sends RST.
    fn close(&mut self, socket: Descriptor, reset: bool);

    /// The address at this end.
    fn local_address(&self, socket: Descriptor) -> io::Result<Address>;

    /// The address at the other end.
    fn peer_address(&self, socket: Descriptor) -> io::Result<Address>;

    /// How far what was sent has come.
    fn delivery(&self, socket: Descriptor) -> Delivery;

    /// What the kernel holds of a socket that nothing has received. While completions wait for
    /// which the driver's queue had no room, some of them may be bytes of this socket: then it
    /// reports at least one byte.
    fn unread(&self, socket: Descriptor) -> Unread;

    /// Submit what was asked for since the last turn, wait until something has completed, a wake-up
    /// came or `timeout` ran out (`None`: no limit; zero: do not wait), and gather the batch for
    /// [`Port::next`].
    ///
    /// Runs no callback and accesses no data of the caller, so the caller may release its locks
    /// meanwhile.
    fn turn(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// The descriptor that another loop watches to take turns when there is something to do: see
    /// [`Port::rest`]. It may change in a turn. `EOPNOTSUPP` where the port was not opened for this
    /// ([`driver::Options::is_watched`]).
    fn descriptor(&self) -> io::Result<Descriptor>;

    /// Leave the port to another loop. Its next turn is due when [`Port::descriptor`] is readable,
    /// or after this time, whichever comes first. Zero: at once; `None`: no limit.
    fn rest(&mut self) -> Option<Duration>;

    /// The next completion of the current batch, including those of operations that completed at
    /// once since the turn. `None`: the batch has no more completions at the moment. If the caller
    /// then begins operations (sends what it gathered), it must ask again before the next turn:
    /// operations that completed at once keep that turn from waiting. The number of completions per
    /// turn is limited, so a batch ends even if each completion begins a new operation.
    fn next(&mut self) -> Option<Completion>;

    /// What wakes this port's turn from other threads.
    fn waker(&self) -> std::sync::Arc<dyn Wake>;

    /// Counters of the driver since its start, by name.
    fn counters(&self) -> Counters;
}

/// What a driver did since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Turns taken.
    pub turns: u64,
    /// System calls made for operations and waiting.
    pub system_calls: u64,
    /// Completions handed out.
    pub completions: u64,
    /// Receives that ended because no buffer was free.
    pub buffers_exhausted: u64,
}
