//! The completion port on epoll(7), for where io_uring is absent or forbidden.
//!
//! epoll does not report that an operation is complete, but that it can continue. The driver then
//! continues the operation and creates the completion:
//!
//! * **Sending** is tried at once, in [`Port::send`]; the completion waits in a queue for
//!   [`Port::next`]. Only when the socket is full does the driver ask epoll for room. After a short
//!   send the next one is not tried before epoll says that there is room: it could only fail.
//! * **Receiving** is done in [`Port::next`], when the caller is ready for the bytes. All
//!   connections receive into the same few buffers, so the bytes are in the cache when they are
//!   parsed. There is one receive per connection and turn, so no connection delays the others for
//!   long.
//! * **Interest is dropped late.** Events are level-triggered, and epoll is asked once for a
//!   connection's life in the usual case. A paused receive stays registered until the first
//!   unwanted event comes; a pause that ends before costs no system call. `EPOLLERR` and `EPOLLHUP`
//!   cannot be masked, so a descriptor with nothing outstanding that shows them is taken out of
//!   epoll altogether.
//! * **A stale event** belongs to a descriptor that was closed after the event was gathered, and
//!   whose number is used again. It is recognised by the generation that epoll stores with each
//!   descriptor. A descriptor that a forked child still holds stays in epoll after our close, and
//!   cannot be removed any more (epoll(7), question 6). If stale events keep coming, the driver
//!   creates a new epoll instance.

mod act;

mod port;
mod table;

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use crate::buffers::Pool;
use crate::driver::Options;
use crate::epoll_instance::Instance;
use crate::sends::Sends;
use crate::shared_listeners::SharedListeners;
use crate::socket::{self, SocketFiles, monotonic};
use crate::spin::Spin;
use crate::wake::Waker;
use crate::{Completion, Counters, Descriptor, Errno, Outcome, Token};
use table::{REGISTERED, Table};

const IN: u8 = libc::EPOLLIN as u8;
const OUT: u8 = libc::EPOLLOUT as u8;
/// Cannot be masked, and make every waiting operation continue to find out.
const BROKEN: u32 = (libc::EPOLLERR | libc::EPOLLHUP) as u32;

/// What epoll carries for the waker's descriptor; no other descriptor has it.
const WAKER: u64 = u64::MAX;

/// Connections taken from one listener in one turn: with more, those already open would wait for
/// long.
const ACCEPTS_A_TURN_MAX: usize = 64;
/// Queued completions handed out in one turn. Otherwise a caller that sends again after each
/// completed send would never reach the end of the batch.
const QUEUED_A_TURN_MAX: usize = 4096;
/// Turns in a row with a stale event after which epoll is made again.
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
    pool: Rc<Pool>,
    files: SocketFiles,
    shared: SharedListeners,
    waker: Arc<Waker>,
    spin: Spin,
    stale_in_turn: bool,
    stale_turns: u32,
    now: u64,
    counters: Counters,
}

fn carried(descriptor: Descriptor, generation: u16) -> u64 {
    u64::from(descriptor as u32) | u64::from(generation) << 32
}

impl Epoll {
    /// A driver with `options`. Errors are those of `epoll_create1(2)`, `eventfd(2)` and `mmap(2)`.
    pub fn new(options: &Options) -> io::Result<Self> {
        let instance = Instance::new()?;
        let waker = Waker::new()?;
        instance.watch_waker(waker.descriptor(), WAKER)?;
        Ok(Self {
            instance,
            table: Table::default(),
            sends: Sends::new(),
            events: vec![libc::epoll_event { events: 0, u64: 0 }; options.events_a_turn.into()],
            filled: 0,
            handled: 0,
            queued: VecDeque::new(),
            queued_left: QUEUED_A_TURN_MAX,
            pool: Pool::new(options.epoll_buffers, options.epoll_buffer_bytes)?,
            files: SocketFiles::default(),
            shared: SharedListeners::default(),
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
        let result = self.instance.watch(descriptor, mask, data, was_known);
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
            // It fails when the foreign descriptor was closed before; then epoll has forgotten it
            // already.
            let _ = self.instance.control(libc::EPOLL_CTL_DEL, descriptor, 0, 0);
        }
    }

    /// A new epoll instance with every registration of the old, but without those that are not ours
    /// any more.
    fn renew_instance(&mut self) -> io::Result<()> {
        let fresh = Instance::new()?;
        fresh.watch_waker(self.waker.descriptor(), WAKER)?;
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
