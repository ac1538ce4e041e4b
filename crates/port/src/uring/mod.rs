//! The completion port on `io_uring(7)`: Linux 6.1 or newer.
//!
//! One system call a turn submits what was asked for since the last turn, waits, and gathers what
//! has completed. What was chosen, and why:
//!
//! * `SINGLE_ISSUER`, `DEFER_TASKRUN`, `COOP_TASKRUN`: the kernel finishes operations only while
//!   this thread is in that call, and never interrupts it for that. So completions come in batches,
//!   and nothing changes between two calls. `SUBMIT_ALL`: after an invalid submission, the others
//!   are still submitted.
//! * The ring is made disabled and belongs to **the thread that takes the first turn**. From then
//!   on the port must be used on that thread alone.
//! * Accept and receive are multishot: submitted once, they complete many times. Receive takes a
//!   buffer from one ring of provided buffers at the moment bytes arrive, so an idle connection
//!   holds none; and it polls first (`POLL_FIRST`), since usually nothing has arrived when
//!   receiving begins.
//! * On a listening socket that was made elsewhere, which other processes may share, accept is not
//!   multishot. The kernel wakes one waiter per connection, the first of its list, and a multishot
//!   accept stays at the front: one process would take every connection. A single accept goes to
//!   the end of the list when it is submitted again.
//! * A multishot receive does not report every reset, so the driver checks for them (`sweep`).
//! * On a Unix socket receive is not multishot: since Linux 6.17 the kernel would take a Unix
//!   socket that is empty for one that gets a wake-up when there is more, and never look at an end
//!   that had come already.
//! * A send carries `MSG_WAITALL`: the kernel continues by itself after a short write, so a send
//!   completes short only when it was cancelled or failed on the way, or had more chunks than one
//!   send takes.
//! * A part of a file goes with sendfile(2), outside of the ring (`crate::file_part` has the
//!   reason). Where the socket is full, the ring polls it.
//! * A submission queue that is full is submitted and used on. A completion queue that is full
//!   makes the kernel keep completions in a list, which the next turn fetches. Multishot operations
//!   then end, and are begun again by the driver (accept) or the owner (receive, reported as
//!   `ENOBUFS`). A multishot receive that has received as much as it may (`cap`) ends in the same
//!   way.
//!
//! * **Foreign descriptors** are watched by an epoll instance, which the ring polls when something
//!   is watched (`crate::watches` has the reason).
//! * **The ring is opened late**, when the first socket is: it takes 330 KB and most of a
//!   millisecond, and an asyncio program without connections of ours needs none of it. Until then a
//!   turn waits in that epoll instance.
//!
//! An idle connection costs the driver eight bytes (`sweep`): the kernel's completion carries the
//! owner's token, in the lower 56 bits of its user data; the upper 8 name the operation's kind.

mod active;
mod cap;
mod complete;
mod once;
mod port;
mod provided;
mod ring;
mod submit;
mod sweep;
mod vectored;

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::mem;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use io_uring::types::{CancelBuilder, Timespec};

use crate::address::KernelAddress;
use crate::buffers::Pool;
use crate::driver::Options;
use crate::sends::Sends;
use crate::shared_listeners::SharedListeners;
use crate::socket::{self, SocketFiles, monotonic};
use crate::spin::Spin;
use crate::wake::Waker;
use crate::watches::Watches;
use crate::{Completion, Counters, Descriptor, Outcome, Token};
use once::Once;
use provided::Provided;
use ring::Ring;
use sweep::Sweep;
use vectored::Vectored;

const RECEIVE: u64 = 1 << 56;
const SEND: u64 = 2 << 56;
const ACCEPT: u64 = 3 << 56;
const CONNECT: u64 = 4 << 56;
const POLL: u64 = 5 << 56;
const WAKE: u64 = 6 << 56;
/// A completion that nobody waits for: a cancel's or a poll removal's own.
const NOBODY: u64 = 7 << 56;
const RECEIVE_SINGLE: u64 = 8 << 56;
/// There may be room for a part of a file.
const ROOM: u64 = 9 << 56;
const SEND_ONCE: u64 = 10 << 56;
const KIND: u64 = 0xff << 56;

/// How long a port that is dropped waits for operations that it has cancelled.
const DROP_SECONDS_MAX: u64 = 2;

struct Accept {
    token: Token,
    listener: Descriptor,
    is_unix: bool,
    /// Other processes may accept on it too.
    is_shared: bool,
    cancelled: bool,
}

/// A receive that is submitted again for each completion.
struct Single {
    socket: Descriptor,
    cancelled: bool,
}

/// What a send needs besides its bytes.
#[derive(Default)]
struct Sending {
    vectored: Option<Box<Vectored>>,
    /// Where a part of a file goes.
    socket: Descriptor,
}

/// The driver on io_uring. See the module's documentation.
pub struct Uring {
    options: Options,
    watches: Watches,
    waker: Arc<Waker>,
    now: u64,
    /// Turns and system calls without a ring.
    counters: Counters,
    active: Option<Box<Active>>,
    shared: SharedListeners,
    /// Accepts and receives for which no ring could be opened.
    failed: VecDeque<Completion>,
}

impl Uring {
    /// A driver with `options`. `ENOSYS`, `EPERM`, `EINVAL` or `ENOMEM` when io_uring is not
    /// available here.
    pub fn new(options: &Options) -> io::Result<Self> {
        // Whether a ring can be opened does not change within a process; once is enough to ask.
        static IS_AVAILABLE: OnceLock<()> = OnceLock::new();
        let waker = Waker::new()?;
        let mut watches = Watches::new()?;
        watches.set_waker(Some(waker.descriptor()))?;
        if IS_AVAILABLE.get().is_none() {
            Active::new(options, Arc::clone(&waker), Counters::default())?;
            let _ = IS_AVAILABLE.set(());
        }
        Ok(Self {
            options: options.clone(),
            watches,
            waker,
            now: monotonic(),
            counters: Counters::default(),
            active: None,
            shared: SharedListeners::default(),
            failed: VecDeque::new(),
        })
    }
}

/// A ring, and what is outstanding on it.
#[allow(clippy::struct_excessive_bools)] // Four facts that do not depend on each other.
struct Active {
    ring: Ring,
    provided: Provided,
    sends: Sends<Sending>,
    /// Bytes that go with the next turn.
    once: Once,
    accepts: Vec<Accept>,
    /// Multishot receives outstanding; how many, not which.
    receives: usize,
    /// Checks for resets that a multishot receive does not report, and the receives that were
    /// cancelled because of one.
    sweep: Sweep,
    nudged: HashSet<Token>,
    /// Unix sockets, and the receives on them.
    unix: HashSet<Descriptor>,
    singles: HashMap<Token, Single>,
    connects: HashMap<Token, Box<KernelAddress>>,
    /// The descriptor that watches foreign ones, to be polled; and whether the kernel polls it.
    watches: Option<Descriptor>,
    is_watching: bool,
    /// The poll of the watches has completed: they are to be looked at.
    are_watches_ready: bool,
    /// The caller is away until the waker's descriptor is readable, which every completion makes
    /// so.
    is_resting: bool,
    /// Completions that did not come from the kernel, or not alone.
    queued: VecDeque<Completion>,
    /// Completions taken in this batch, and how many of the kernel's were there when the turn
    /// ended.
    taken: usize,
    gathered: usize,
    /// The kernel holds completions of this batch for which the queue had no room.
    has_overflow: bool,
    /// The kernel's wake-up was taken after the turn that it should have ended: the next must not
    /// wait.
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

impl Active {
    fn new(options: &Options, waker: Arc<Waker>, counters: Counters) -> io::Result<Self> {
        let spin = Spin::new(options.spin_microseconds);
        let ring = Ring::new(
            options.submission_entries.into(),
            options.completion_entries,
            !spin.is_off() || options.is_watched,
        )?;
        let provided = Provided::new(&ring, Pool::new(options.buffers, options.buffer_bytes)?)?;
        let mut active = Self {
            ring,
            provided,
            sends: Sends::new(),
            once: Once::default(),
            accepts: Vec::new(),
            receives: 0,
            sweep: Sweep::default(),
            nudged: HashSet::new(),
            unix: HashSet::new(),
            singles: HashMap::new(),
            connects: HashMap::new(),
            watches: None,
            is_watching: false,
            are_watches_ready: false,
            is_resting: false,
            queued: VecDeque::with_capacity(64),
            taken: 0,
            gathered: 0,
            has_overflow: false,
            woken_late: false,
            files: SocketFiles::default(),
            waker,
            spin,
            now: monotonic(),
            counters,
        };
        if options.is_watched {
            // Anyone who watches the waker's descriptor sees its wake-ups too.
            active
                .ring
                .submitter()
                .register_eventfd(active.waker.descriptor())?;
        } else {
            active.arm_waker();
        }
        Ok(active)
    }

    fn queue(&mut self, token: Token, outcome: Outcome) {
        self.queued.push_back(Completion { token, outcome });
    }

    fn next_queued(&mut self) -> Option<Completion> {
        let completion = self.queued.pop_front();
        self.counters.completions += u64::from(completion.is_some());
        completion
    }

    /// Whether the kernel still has an operation that may touch memory of ours.
    fn is_busy(&self) -> bool {
        self.receives > 0
            || !self.singles.is_empty()
            || self.sends.len() > 0
            || !self.connects.is_empty()
    }

    /// Whether nothing but the driver's own polls is outstanding, so that another ring can take
    /// this one's place.
    fn is_idle(&self) -> bool {
        !self.is_busy() && self.accepts.is_empty() && self.queued.is_empty()
    }
}

impl Drop for Active {
    /// Cancel everything and wait for the last completion, so that the kernel writes to nothing
    /// that is freed. Should an operation not end in time, its memory is left to the kernel
    /// permanently.
    fn drop(&mut self) {
        let start = monotonic();
        for single in self.singles.values_mut() {
            single.cancelled = true;
        }
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
            mem::forget(mem::take(&mut self.once));
            self.provided.leak();
        }
    }
}
