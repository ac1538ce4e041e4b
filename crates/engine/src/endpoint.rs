//! An endpoint: what its connections have in common, and its counters.

use crate::carrier::datagram::Dropped;
use crate::close::NotOpened;
use crate::host::{Event, Host};
use crate::limit::Limit;
use crate::options::Options;
use crate::places::Places;
use crate::session::websocket::compression::CompressionTraffic;
use crate::share::Share;
use crate::subscriptions::TopicSpace;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::time::Duration;

/// What happened at an endpoint since its start. All counts only grow, except those called
/// `open_*`.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections accepted (or connected, for a client's endpoint).
    pub accepted: Cell<u64>,
    /// Connections that became ready for messages.
    pub opened: Cell<u64>,
    /// Connections that were opened and are gone.
    pub closed: Cell<u64>,
    /// Those among the closed that did not end cleanly.
    pub broken: Cell<u64>,
    /// Those among the closed that had a close code, by the code.
    pub close_codes: RefCell<BTreeMap<u16, u64>>,
    /// Connections that were never opened, by what stopped them: a limit, an HTTP status, the peer.
    pub refused: RefCell<BTreeMap<NotOpened, u64>>,
    /// HTTP requests answered without an upgrade, by status.
    pub answered: RefCell<BTreeMap<u16, u64>>,
    /// Bytes received.
    pub bytes_in: Cell<u64>,
    /// Bytes the kernel took.
    pub bytes_out: Cell<u64>,
    /// Messages (or parts) handed to the host.
    pub messages_in: Cell<u64>,
    /// Messages (or parts) taken from the host.
    pub messages_out: Cell<u64>,
    /// Messages dropped for slow consumers.
    pub dropped: Cell<u64>,
    /// Connections ended for a broken rule of the protocol.
    pub protocol_errors: Cell<u64>,
    /// Times reading was paused because too much waited to be written.
    pub write_pauses: Cell<u64>,
    /// How often a connection used up its inline budget and went to the back of the queue.
    pub budget_exhausted: Cell<u64>,
    /// What compression did.
    pub compression: Cell<CompressionTraffic>,
    /// Bytes of memory that connections hold for compression now.
    pub compression_memory: Cell<u64>,
    /// How often each limit and deadline was reached.
    pub limits: RefCell<BTreeMap<Limit, u64>>,
    /// Datagrams handed to the host.
    pub datagrams_in: Cell<u64>,
    /// Datagrams that the kernel took.
    pub datagrams_out: Cell<u64>,
    /// Datagrams of either direction that were dropped here, or by the kernel for this socket.
    pub datagrams_dropped: RefCell<BTreeMap<Dropped, u64>>,
    /// Errors that the network reported of datagrams sent before, by errno.
    pub datagram_errors: RefCell<BTreeMap<i32, u64>>,
    /// Errors of `accept(2)` that were survived, by errno.
    pub accept_errors: RefCell<BTreeMap<i32, u64>>,
}

/// Add to a counter.
#[inline]
pub(crate) fn add(counter: &Cell<u64>, amount: u64) {
    counter.set(counter.get().wrapping_add(amount));
}

/// What the connections of one address count for.
#[derive(Default)]
struct Counted {
    open: u32,
    places: Places,
}

/// An endpoint: a listener, or one client connection, with its options and counters.
pub struct Endpoint<H: Host> {
    /// Its options at its start; limits can be replaced while it runs.
    pub options: RefCell<Rc<Options>>,
    /// What the host keeps for it.
    pub host: H::Endpoint,
    /// What happened.
    pub counters: Counters,
    /// Where its connections subscribe, if they can; set before there are any.
    pub topics: Cell<Option<TopicSpace>>,
    /// Subscriptions of its connections now.
    pub(crate) subscriptions: Cell<u32>,
    /// Connections that have ended, and whose handler still works.
    pub(crate) finishing: Cell<u32>,
    /// The places that these hold among those that it accepted.
    pub(crate) places: Places,
    open: Cell<u32>,
    handshaking: Cell<u32>,
    addresses: RefCell<HashMap<IpAddr, Counted>>,
    accept_tokens: Cell<f64>,
    accept_filled: Cell<u64>,
    /// There with worker processes.
    pub(crate) share: RefCell<Option<Rc<dyn Share>>>,
}

impl<H: Host> Endpoint<H> {
    /// An endpoint without connections.
    pub fn new(options: Options, host: H::Endpoint) -> Rc<Self> {
        let burst = options.limits.accepts_per_second_max.unwrap_or(0);
        Rc::new(Self {
            options: RefCell::new(Rc::new(options)),
            host,
            counters: Counters::default(),
            topics: Cell::new(Some(TopicSpace::default())),
            subscriptions: Cell::new(0),
            finishing: Cell::new(0),
            places: Places::default(),
            open: Cell::new(0),
            handshaking: Cell::new(0),
            addresses: RefCell::default(),
            accept_tokens: Cell::new(f64::from(burst)),
            accept_filled: Cell::new(0),
            share: RefCell::default(),
        })
    }

    /// Count its connections for a process among others that accept for the same server.
    pub fn set_share(&self, share: Rc<dyn Share>) {
        *self.share.borrow_mut() = Some(share);
    }

    /// Whether this process leaves the next connection to others.
    pub(crate) fn is_ahead(&self) -> bool {
        self.share.borrow().as_ref().is_some_and(|it| it.is_ahead())
    }

    /// Its options now.
    pub fn options(&self) -> Rc<Options> {
        self.options.borrow().clone()
    }

    /// Connections open now, handshakes included.
    pub fn open(&self) -> u32 {
        self.open.get()
    }

    /// Handshakes in progress now.
    pub fn handshaking(&self) -> u32 {
        self.handshaking.get()
    }

    /// Connections that have ended, and whose handler still works.
    pub fn finishing(&self) -> u32 {
        self.finishing.get()
    }

    pub(crate) fn count_refusal(&self, cause: NotOpened) {
        *self.counters.refused.borrow_mut().entry(cause).or_default() += 1;
    }

    pub(crate) fn count_close_code(&self, code: u16) {
        let mut codes = self.counters.close_codes.borrow_mut();
        *codes.entry(code).or_default() += 1;
    }

    pub(crate) fn count_answer(&self, status: u16) {
        *self
            .counters
            .answered
            .borrow_mut()
            .entry(status)
            .or_default() += 1;
    }

    /// Count a limit that was reached, and report it to the host.
    pub(crate) fn limit_reached(self: &Rc<Self>, host: &H, limit: Limit) {
        self.count_limit(limit);
        self.report_limit(host, limit);
    }

    /// Report a limit that was reached, and counted, to the host.
    pub(crate) fn report_limit(self: &Rc<Self>, host: &H, limit: Limit) {
        let value = self.options.borrow().value_of(limit);
        host.event(self, Event::Limit { limit, value });
    }

    /// Count a limit that was reached.
    pub(crate) fn count_limit(&self, limit: Limit) {
        *self.counters.limits.borrow_mut().entry(limit).or_default() += 1;
    }

    /// The first step of admission, at accept: the limit that forbids one more connection at `now`
    /// (nanoseconds), if one does; `now_ms` is the engine's clock.
    pub(crate) fn admit(&self, now: u64, now_ms: u64) -> Result<(), Limit> {
        let limits = &self.options.borrow().limits;
        if let Some(rate) = limits.accepts_per_second_max {
            let elapsed = now.saturating_sub(self.accept_filled.replace(now));
            let filled = self.accept_tokens.get()
                + Duration::from_nanos(elapsed).as_secs_f64() * f64::from(rate);
            let tokens = filled.min(f64::from(rate));
            self.accept_tokens.set(tokens);
            if tokens < 1.0 {
                return Err(Limit::AcceptsPerSecond);
            }
        }
        if let Some(most) = limits.connections_max
            && self.open.get() + self.places.counted(now_ms) >= most
        {
            return Err(Limit::Connections);
        }
        if let Some(most) = limits.handshakes_pending_max
            && self.handshaking.get() >= most
        {
            return Err(Limit::HandshakesPending);
        }
        if limits.accepts_per_second_max.is_some() {
            self.accept_tokens.set(self.accept_tokens.get() - 1.0);
        }
        Ok(())
    }

    /// The second step of admission, when the peer's address is known, which may be later than at
    /// accept: whether the connection counts for its address from now on.
    pub(crate) fn admit_address(&self, address: IpAddr, now_ms: u64) -> Result<bool, Limit> {
        let Some(most) = self.options.borrow().limits.connections_per_address_max else {
            return Ok(false);
        };
        let mut addresses = self.addresses.borrow_mut();
        let counted = addresses.entry(address).or_default();
        if counted.open + counted.places.counted(now_ms) >= most {
            return Err(Limit::ConnectionsPerAddress);
        }
        counted.open += 1;
        Ok(true)
    }

    /// A connection that counted for its address counts no more.
    pub(crate) fn address_left(&self, address: IpAddr) {
        self.change_address(address, |counted| counted.open -= 1);
    }

    /// A connection that counted for its address has ended, and holds a place from now on.
    pub(crate) fn address_finishing(&self, address: IpAddr, now_ms: u64) {
        self.change_address(address, |counted| {
            counted.open -= 1;
            counted.places.add(now_ms);
        });
    }

    /// A place of that address is free again.
    pub(crate) fn address_finished(&self, address: IpAddr, period: u64) {
        self.change_address(address, |counted| counted.places.remove(period));
    }

    fn change_address(&self, address: IpAddr, change: impl FnOnce(&mut Counted)) {
        let mut addresses = self.addresses.borrow_mut();
        if let Some(counted) = addresses.get_mut(&address) {
            change(counted);
            if counted.open == 0 && counted.places.is_empty() {
                addresses.remove(&address);
            }
        }
    }

    pub(crate) fn entered(&self) {
        self.open.set(self.open.get() + 1);
        self.handshaking.set(self.handshaking.get() + 1);
        if let Some(share) = &*self.share.borrow() {
            share.entered();
        }
    }

    pub(crate) fn handshake_over(&self) {
        self.handshaking.set(self.handshaking.get() - 1);
    }

    pub(crate) fn left(&self) {
        self.open.set(self.open.get() - 1);
        if let Some(share) = &*self.share.borrow() {
            share.left();
        }
    }
}

/// What a connection that has ended counts for, until this is dropped.
pub struct Place<H: Host> {
    front: Weak<Endpoint<H>>,
    served_by: Weak<Endpoint<H>>,
    address: Option<IpAddr>,
    period: u64,
}

impl<H: Host> Place<H> {
    /// The place of a connection that was accepted by `front`, ended at `now_ms`, and counts for
    /// `address` if that is limited.
    pub(crate) fn new(
        front: &Rc<Endpoint<H>>,
        served_by: &Rc<Endpoint<H>>,
        address: Option<IpAddr>,
        now_ms: u64,
    ) -> Self {
        let served = &served_by.finishing;
        served.set(served.get() + 1);
        if let Some(address) = address {
            front.address_finishing(address, now_ms);
        }
        Self {
            period: front.places.add(now_ms),
            front: Rc::downgrade(front),
            served_by: Rc::downgrade(served_by),
            address,
        }
    }
}

impl<H: Host> Drop for Place<H> {
    fn drop(&mut self) {
        if let Some(front) = self.front.upgrade() {
            front.places.remove(self.period);
            if let Some(address) = self.address {
                front.address_finished(address, self.period);
            }
        }
        if let Some(served_by) = self.served_by.upgrade() {
            served_by.finishing.set(served_by.finishing.get() - 1);
        }
    }
}
