//! The engine: turns of the port, rounds within a turn, and what is settled at a round's end.
//!
//! A turn waits in [`Engine::wait`], which runs no callback, so that a host can release its locks
//! around it; then [`Engine::run`] takes the batch in rounds:
//!
//! ```text
//! round:  every completion the port has   ->  callbacks
//!         timers that are due (once)      ->  callbacks
//!         every unsettled connection      ->  one send each, reading on or off, closing; callbacks
//! ```
//!
//! A send that the port completes at once shows up as a completion of the next round, without
//! another trip through the kernel; no callback ever runs from inside another one, because requests
//! made in a callback only mark their connection as unsettled. Rounds are bounded by the inline
//! budget: a handler that sends more each time its send completes would otherwise keep the turn for
//! itself. A connection whose receives exceed the same budget within one batch has the rest of its
//! bytes put aside, and goes on in the next turn, behind the others.

use crate::clock::Clock;
use crate::close::{Cause, CloseReason};
use crate::connection::{Connection, Event, State};
use crate::endpoint::{Endpoint, add};
use crate::host::Host;
use crate::inbound::Inbound;
use crate::listener::Listener;
use crate::outbound::Pool;
use crate::session::http::{Answer, Opening};
use crate::session::websocket::compression;
use crate::table::{self, Owner, Table};
use crate::topics::Topics;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::time::{Duration, SystemTime};
use vespiary_port::timer::{Key, Wheel};
use vespiary_port::{
    Address, Completion, Counters, Descriptor, Errno, Interest, Outcome, Outgoing, Port, Token,
    Wake,
};
use vespiary_trace::requires;

/// How many completions of one connection, and how many rounds of a turn, are taken in a row.
pub const INLINE_BUDGET: u8 = 10;
/// How many frames (or lines, or packets) of one connection are taken in a turn: one receive may
/// bring tens of thousands of tiny ones, and calling a handler takes its time for each.
pub const FRAMES_BUDGET: u16 = 1024;

/// Fills a slice with unpredictable bytes.
pub type Random = Box<dyn FnMut(&mut [u8])>;

/// What a timer is for.
pub(crate) enum Due {
    Connection(Token),
    Accept(Token),
    Host(u64),
}

/// The engine of one worker thread.
pub struct Engine<H: Host> {
    /// The developer's world.
    pub host: H,
    pub(crate) port: RefCell<Box<dyn Port>>,
    pub(crate) connections: RefCell<Table<Rc<Connection<H>>>>,
    pub(crate) listeners: RefCell<Table<Rc<Listener<H>>>>,
    pub(crate) unsettled: RefCell<Vec<Rc<Connection<H>>>>,
    /// Connections that used up their budget in this turn and go on in the next.
    pub(crate) resting: RefCell<Vec<Rc<Connection<H>>>>,
    /// Answers to requests, to be given when the round is settled.
    pub(crate) answers: RefCell<Vec<(Rc<Connection<H>>, Answer)>>,
    pub(crate) pool: RefCell<Pool>,
    pub(crate) wheel: RefCell<Wheel<Due>>,
    pub(crate) scratch: RefCell<Vec<u8>>,
    pub(crate) topics: RefCell<Topics<H>>,
    pub(crate) compression: RefCell<compression::Pool>,
    pub(crate) refusals: Cell<u32>,
    random: RefCell<Random>,
    /// Where the date of HTTP answers comes from.
    pub(crate) wall_clock: Cell<fn() -> SystemTime>,
    /// Whom the callbacks that run now are for; named when one of them panics.
    pub(crate) current: Cell<Token>,
    /// Timers that are due and have not been handled.
    due: RefCell<VecDeque<Due>>,
    batch: Cell<u32>,
    pub(crate) clock: Clock,
    /// What connections had received when the judgement of a deadline was put off.
    pub(crate) postponed: RefCell<HashMap<Token, u64>>,
    unfinished: Cell<bool>,
    inline_budget: u8,
}

/// A token that no connection has.
const NOBODY: Token = Token(u64::MAX);

impl<H: Host> Engine<H> {
    /// An engine on `port`. `random` fills a slice with unpredictable bytes: mask keys and nonces
    /// of clients.
    pub fn new(host: H, port: Box<dyn Port>, random: Random) -> Rc<Self> {
        let now = port.now();
        Rc::new(Self {
            host,
            port: RefCell::new(port),
            connections: RefCell::new(Table::new(Owner::Connection)),
            listeners: RefCell::new(Table::new(Owner::Listener)),
            unsettled: RefCell::default(),
            resting: RefCell::default(),
            answers: RefCell::default(),
            pool: RefCell::default(),
            wheel: RefCell::new(Wheel::new(now)),
            scratch: RefCell::default(),
            topics: RefCell::default(),
            compression: RefCell::default(),
            refusals: Cell::new(0),
            random: RefCell::new(random),
            wall_clock: Cell::new(SystemTime::now),
            current: Cell::new(NOBODY),
            due: RefCell::default(),
            batch: Cell::new(0),
            clock: Clock::new(now),
            postponed: RefCell::default(),
            unfinished: Cell::new(false),
            inline_budget: INLINE_BUDGET,
        })
    }

    /// The port's clock at the latest turn, in nanoseconds.
    pub fn now(&self) -> u64 {
        self.port.borrow().now()
    }

    /// Milliseconds of the engine's clock at the latest turn, which leaves out the time in which
    /// this process was held up.
    #[inline]
    pub fn now_ms(&self) -> u64 {
        self.clock.milliseconds()
    }

    /// The driver's name.
    pub fn driver(&self) -> &'static str {
        self.port.borrow().name()
    }

    /// The driver's counters.
    pub fn port_counters(&self) -> Counters {
        self.port.borrow().counters()
    }

    /// What wakes a waiting engine from any thread.
    pub fn waker(&self) -> std::sync::Arc<dyn Wake> {
        self.port.borrow().waker()
    }

    /// Connections in the table, closed ones whose last completion is awaited included.
    pub fn connection_count(&self) -> usize {
        self.connections.borrow().len()
    }

    /// Timers that wait, the host's and the engine's own.
    pub fn timer_count(&self) -> usize {
        self.wheel.borrow().len()
    }

    /// All connections now.
    pub fn all_connections(&self) -> Vec<Rc<Connection<H>>> {
        self.connections.borrow().iter().cloned().collect()
    }

    pub(crate) fn mask_key(&self) -> [u8; 4] {
        let mut key = [0; 4];
        requires!("rfc6455/5.3/2", "rfc6455/5.3/3", "rfc6455/10.3/1");
        (self.random.borrow_mut())(&mut key);
        key
    }

    pub(crate) fn random(&self, bytes: &mut [u8]) {
        (self.random.borrow_mut())(bytes);
    }

    /// Listen on `address` for `endpoint`; nothing is accepted before [`Listener::unsuspend`].
    pub fn listen(
        self: &Rc<Self>,
        address: &Address,
        endpoint: Rc<Endpoint<H>>,
        backlog: u32,
        reuse_port: bool,
    ) -> io::Result<Rc<Listener<H>>> {
        let socket = self
            .port
            .borrow_mut()
            .listen(address, backlog, reuse_port)?;
        Ok(Listener::start(self, socket, endpoint))
    }

    /// The same on a socket that was made elsewhere and listens already; it is closed in the end.
    pub fn adopt(
        self: &Rc<Self>,
        socket: Descriptor,
        endpoint: Rc<Endpoint<H>>,
    ) -> io::Result<Rc<Listener<H>>> {
        self.port.borrow_mut().adopt(socket)?;
        Ok(Listener::start(self, socket, endpoint))
    }

    /// Connect to `address`; the host is called with `opened` or `refused`.
    pub fn connect(
        self: &Rc<Self>,
        address: &Address,
        source: Option<&Address>,
        endpoint: Rc<Endpoint<H>>,
        opening: impl Into<Opening>,
    ) -> io::Result<Rc<Connection<H>>> {
        let socket = self.port.borrow_mut().open(address, source)?;
        add(&endpoint.counters.accepted, 1);
        let inbound = Inbound::for_client(opening.into());
        let connection = self.add_connection(socket, endpoint, true, inbound);
        connection.carrier.set_peer(address.clone());
        requires!("rfc6455/4.1/2", "rfc6455/4.1/10");
        connection
            .carrier
            .connect(&mut **self.port.borrow_mut(), connection.token, address);
        self.arm(&connection);
        self.host.turn_wanted();
        Ok(connection)
    }

    /// Watch a foreign descriptor; [`Host::ready`] is called. The errors are those of
    /// [`vespiary_port::Port::poll`].
    pub fn poll(&self, descriptor: Descriptor, interest: Interest) -> io::Result<()> {
        self.port
            .borrow_mut()
            .poll(descriptor, table::foreign(descriptor), interest)
    }

    /// Stop watching a foreign descriptor.
    pub fn unpoll(&self, descriptor: Descriptor) {
        self.port
            .borrow_mut()
            .unpoll(descriptor, table::foreign(descriptor));
    }

    #[inline]
    pub(crate) fn add_unsettled(&self, connection: &Rc<Connection<H>>) {
        let mut unsettled = self.unsettled.borrow_mut();
        let is_first = unsettled.is_empty();
        unsettled.push(connection.clone());
        drop(unsettled);
        if is_first {
            self.host.turn_wanted();
        }
    }

    /// Call [`Host::timer`] with `id` in `milliseconds`.
    pub fn set_timer(&self, milliseconds: u64, id: u64) -> Key {
        // Counted from the latest turn: early by as long as the present batch has taken.
        let now = self.port.borrow().now();
        let due = now.saturating_add(milliseconds.saturating_mul(1_000_000));
        let key = self.wheel.borrow_mut().insert(due, Due::Host(id));
        self.host.turn_wanted();
        key
    }

    /// Forget a timer; whether it was still to fire.
    pub fn cancel_timer(&self, key: Key) -> bool {
        self.wheel.borrow_mut().cancel(key).is_some()
    }

    /// Whether the next turn must not wait.
    fn is_busy(&self) -> bool {
        self.unfinished.get()
            || !self.unsettled.borrow().is_empty()
            || !self.resting.borrow().is_empty()
    }

    /// The descriptor that another loop watches to take turns: see [`Port::descriptor`].
    pub fn descriptor(&self) -> io::Result<Descriptor> {
        self.port.borrow().descriptor()
    }

    /// Leave the engine to another loop, which takes the next turn when the descriptor is readable
    /// or after this time, whichever comes first: see [`Port::rest`]. `now` is the present moment
    /// on the port's clock, in nanoseconds.
    pub fn rest(&self, now: u64) -> Option<Duration> {
        if self.is_busy() {
            return Some(Duration::ZERO);
        }
        let port = self.port.borrow_mut().rest();
        let due = self.wheel.borrow().next_due();
        let timer = due.map(|due| Duration::from_nanos(due.saturating_sub(now)));
        port.into_iter().chain(timer).min()
    }

    /// Whether a listener or a connection is there, closed ones whose last completion is awaited
    /// included.
    pub fn is_in_use(&self) -> bool {
        self.connections.borrow().len() + self.listeners.borrow().len() > 0
    }

    /// Wait for completions, a wake-up, the next timer or `timeout`. Runs no callback.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = if self.is_busy() {
            Some(Duration::ZERO)
        } else {
            self.shortest(timeout)
        };
        self.port.borrow_mut().turn(timeout)
    }

    fn shortest(&self, timeout: Option<Duration>) -> Option<Duration> {
        let Some(due) = self.wheel.borrow().next_due() else {
            return timeout;
        };
        let now = self.port.borrow().now();
        let timer = Duration::from_nanos(due.saturating_sub(now));
        Some(timeout.map_or(timer, |timeout| timeout.min(timer)))
    }

    /// The connection whose callback or settling was the latest: after a panic, the one to blame.
    pub fn current_connection(&self) -> Option<Rc<Connection<H>>> {
        self.connections.borrow().get(self.current.get()).cloned()
    }

    fn next_due(&self) -> Option<Due> {
        self.due.borrow_mut().pop_front()
    }

    /// Take the batch that [`Engine::wait`] gathered. Returns how many completions and timers were
    /// handled.
    pub fn run(self: &Rc<Self>) -> usize {
        let now = self.port.borrow().now();
        self.clock.advance(now, self.wheel.borrow().next_due());
        self.batch.set(self.batch.get().wrapping_add(1));
        for connection in self.resting.take() {
            connection.budget.is_spent.set(false);
            connection.unsettle();
        }
        let mut handled = 0;
        let mut rounds = 0;
        loop {
            let before = handled;
            while let Some(completion) = self.next_completion() {
                handled += 1;
                self.dispatch(completion);
            }
            if rounds == 0 {
                handled += self.run_timers(now);
            }
            self.host.round_over();
            let settled = self.settle();
            rounds += 1;
            if handled == before && !settled {
                self.unfinished.set(false);
                break;
            }
            if rounds > self.inline_budget {
                self.unfinished.set(true);
                break;
            }
        }
        handled
    }

    #[inline]
    fn next_completion(&self) -> Option<Completion> {
        self.port.borrow_mut().next()
    }

    fn dispatch(self: &Rc<Self>, completion: Completion) {
        let Completion { token, outcome } = completion;
        match table::owner(token) {
            Owner::Connection => {
                let Some(connection) = self.connections.borrow().get(token).cloned() else {
                    return;
                };
                self.current.set(token);
                self.dispatch_connection(&connection, outcome);
            }
            Owner::Listener => {
                self.current.set(NOBODY);
                let listener = self.listeners.borrow().get(token).cloned();
                match (listener, outcome) {
                    (Some(listener), Outcome::Accepted(socket)) => listener.accepted(socket),
                    (Some(listener), Outcome::AcceptEnded(errno)) => listener.ended(errno),
                    (None, Outcome::Accepted(socket)) => self.port.borrow_mut().close(socket, true),
                    _ => {}
                }
            }
            Owner::Foreign => {
                if let Outcome::Ready(interest) = outcome {
                    self.host.ready(table::descriptor(token), interest);
                }
            }
        }
    }

    #[inline]
    fn dispatch_connection(self: &Rc<Self>, connection: &Rc<Connection<H>>, outcome: Outcome) {
        match outcome {
            Outcome::Received(mut lease) if connection.layered.get() => {
                connection.take_layered_input(&mut lease);
            }
            Outcome::Received(lease) => {
                if self.spend(connection) {
                    connection.take_input(&lease);
                } else {
                    connection.put_input_aside(&lease);
                }
            }
            Outcome::Sent(result, outgoing) => self.sent(connection, result, outgoing),
            Outcome::ReceiveEnded(ending) => receive_ended(connection, ending),
            Outcome::Connected(result) => connected(connection, result),
            Outcome::Accepted(_) | Outcome::AcceptEnded(_) | Outcome::Ready(_) => {}
        }
    }

    /// Spend one of the connection's inline budget; false when it is used up.
    #[inline]
    pub(crate) fn spend(&self, connection: &Rc<Connection<H>>) -> bool {
        self.renew_budget(connection);
        let burst = connection.budget.completions.get();
        if burst < self.inline_budget {
            connection.budget.completions.set(burst + 1);
            return true;
        }
        self.exhaust_budget(connection);
        false
    }

    /// Spend one of the connection's frames of this turn; with the last of them it is blocked until
    /// the next.
    #[inline]
    pub(crate) fn spend_frames(&self, connection: &Rc<Connection<H>>, count: u16) {
        self.renew_budget(connection);
        let frames = connection.budget.frames.get().saturating_add(count);
        connection.budget.frames.set(frames);
        if frames >= FRAMES_BUDGET {
            self.exhaust_budget(connection);
        }
    }

    #[inline]
    fn renew_budget(&self, connection: &Rc<Connection<H>>) {
        let batch = self.batch.get();
        if connection.budget.batch.get() != batch {
            connection.budget.batch.set(batch);
            connection.budget.completions.set(0);
            connection.budget.frames.set(0);
        }
    }

    #[cold]
    fn exhaust_budget(&self, connection: &Rc<Connection<H>>) {
        if self.set_resting(connection) {
            add(&connection.endpoint().counters.budget_exhausted, 1);
        }
    }

    /// Let the connection take nothing more in this turn; whether it would have.
    #[cold]
    pub(crate) fn set_resting(&self, connection: &Rc<Connection<H>>) -> bool {
        let is_new = !connection.budget.is_spent.replace(true);
        if is_new {
            self.resting.borrow_mut().push(connection.clone());
        }
        is_new
    }

    #[inline]
    fn sent(
        self: &Rc<Self>,
        connection: &Rc<Connection<H>>,
        result: Result<usize, Errno>,
        mut outgoing: Outgoing,
    ) {
        connection.carrier.sent();
        match result {
            Ok(bytes) => {
                add(&connection.endpoint().counters.bytes_out, bytes as u64);
                add(&connection.traffic.bytes_out, bytes as u64);
                let mut outbound = connection.outbound.borrow_mut();
                outbound.left(bytes);
                outgoing.advance(bytes);
                if !outgoing.is_done() && connection.state() != State::Closed {
                    drop(outbound);
                    connection.carrier.send(
                        &mut **self.port.borrow_mut(),
                        connection.token,
                        outgoing,
                    );
                    if connection.above_high.get() {
                        connection.unsettle();
                    }
                    return;
                }
                self.pool.borrow_mut().put_all(outgoing);
                if outbound.queued() == 0 {
                    connection.moments.write_began.set(0);
                    let is_awaited = connection.above_high.get() || connection.is_sending_last();
                    if connection.state() == State::Open && !is_awaited {
                        return;
                    }
                }
            }
            Err(errno) => {
                let unsent = outgoing.remaining();
                connection.outbound.borrow_mut().left(unsent);
                self.pool.borrow_mut().put_all(outgoing);
                connection.end_with(broken_by_kernel("sending", errno));
                connection.enter(Event::Break);
            }
        }
        connection.unsettle();
    }

    fn run_timers(self: &Rc<Self>, now: u64) -> usize {
        self.wheel
            .borrow_mut()
            .advance(now, &mut |what| self.due.borrow_mut().push_back(what));
        let mut count = 0;
        while let Some(what) = self.next_due() {
            count += 1;
            self.current.set(NOBODY);
            match what {
                Due::Connection(token) => {
                    self.current.set(token);
                    let connection = self.connections.borrow().get(token).cloned();
                    if let Some(connection) = connection {
                        self.deadline_due(&connection);
                    }
                }
                Due::Accept(token) => {
                    let listener = self.listeners.borrow().get(token).cloned();
                    if let Some(listener) = listener {
                        listener.accept_again();
                    }
                }
                Due::Host(id) => self.host.timer(id),
            }
        }
        count
    }
}

fn receive_ended<H: Host>(connection: &Rc<Connection<H>>, ending: Option<Errno>) {
    connection.carrier.receive_ended();
    match ending {
        None => drop(connection.enter(Event::PeerEnd)),
        Some(Errno::CANCELLED | Errno::NO_BUFFER) => {}
        Some(errno) => {
            requires!("rfc6455/7.2.1/2");
            connection.end_with(broken_by_kernel("receiving", errno));
            connection.enter(Event::Break);
        }
    }
    connection.unsettle();
}

fn connected<H: Host>(connection: &Rc<Connection<H>>, result: Result<(), Errno>) {
    connection.carrier.sent();
    connection.unsettle();
    if connection.state() == State::Closed || connection.is_over() {
        return;
    }
    match result {
        Ok(()) => connection.begin_receiving(),
        Err(errno) => {
            requires!("rfc6455/4.1/12", "rfc6455/7.2.1/1");
            connection.end_with(broken_by_kernel("connecting", errno));
            connection.enter(Event::Break);
        }
    }
}

pub(crate) fn broken_by_kernel(doing: &str, errno: Errno) -> CloseReason {
    let error = io::Error::from_raw_os_error(errno.0);
    CloseReason::new(Cause::Kernel(errno), format!("{doing} failed: {error}"))
}
