//! The engine of one thread: what it holds, and what a host may ask of it.
//!
//! Its turns are in [`turns`].

mod due;
mod foreign;
mod turns;

use crate::carrier::datagram::DatagramSocket;
use crate::clock::Clock;
use crate::connection::{Connection, Postponed};
use crate::endpoint::{Endpoint, add};
use crate::host::Host;
use crate::inbound::Inbound;
use crate::limit::Limit;
use crate::listener::Listener;
use crate::outbound::Pool;
use crate::session::http::{Given, Opening};
use crate::session::websocket::compression;
use crate::subscriptions::{Change, Subscriptions};
use crate::table::{Owner, Table};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

pub(crate) use due::{Due, Purpose};
pub use turns::FRAMES_BUDGET;
pub(crate) use turns::broken_by_kernel;
use vespiary_port::timer::{Fired, Key, Wheel};
use vespiary_port::{Address, Arrivals, Counters, DatagramOptions, Descriptor, Port, Token, Wake};
use vespiary_trace::requires;

/// How many completions of one connection, and how many rounds of a turn, are taken in a row.
pub const INLINE_BUDGET: u8 = 10;

/// Fills a slice with unpredictable bytes.
pub type Random = Box<dyn FnMut(&mut [u8])>;

/// The engine of one worker thread.
pub struct Engine<H: Host> {
    /// The program that uses the engine.
    pub host: H,
    pub(crate) port: RefCell<Box<dyn Port>>,
    pub(crate) connections: RefCell<Table<Rc<Connection<H>>>>,
    pub(crate) listeners: RefCell<Table<Rc<Listener<H>>>>,
    pub(crate) datagram_sockets: RefCell<Table<Rc<DatagramSocket<H>>>>,
    /// Sockets with datagrams to be sent at the round's end.
    pub(crate) departing: RefCell<Vec<Rc<DatagramSocket<H>>>>,
    /// The memory in which datagrams are received; there while sockets for them are.
    pub(crate) arrivals: RefCell<Option<Box<Arrivals>>>,
    pub(crate) unsettled: RefCell<Vec<Rc<Connection<H>>>>,
    /// Connections that used up their budget in this turn and continue in the next.
    pub(crate) resting: RefCell<Vec<Rc<Connection<H>>>>,
    /// Answers to requests, to be given when the round is settled.
    pub(crate) answers: RefCell<Vec<(Rc<Connection<H>>, Given)>>,
    /// Limits that were reached within a callback, to be reported when it is over.
    pub(crate) reached: RefCell<Vec<(Rc<Endpoint<H>>, Limit)>>,
    /// Changes of subscriptions that the host wants to know, to be reported likewise.
    pub(crate) changes: RefCell<Vec<Change<Rc<Connection<H>>>>>,
    pub(crate) pool: RefCell<Pool>,
    pub(crate) wheel: RefCell<Wheel<Due>>,
    pub(crate) scratch: RefCell<Vec<u8>>,
    pub(crate) topics: RefCell<Subscriptions<Rc<Connection<H>>>>,
    pub(crate) compression: RefCell<compression::Pool>,
    pub(crate) refusals: Cell<u32>,
    /// Whether a full write queue takes what is sent now: see [`Connection::promised`].
    pub(crate) is_promised: Cell<bool>,
    random: RefCell<Random>,
    /// Where the date of HTTP answers comes from.
    pub(crate) wall_clock: Cell<fn() -> SystemTime>,
    /// The latest date, and the second that it is of.
    pub(crate) date: RefCell<Option<(u64, Rc<str>)>>,
    /// The connection whose callback runs now; named when the callback panics.
    pub(crate) current: Cell<Token>,
    /// Timers that are due and have not been handled.
    due: RefCell<VecDeque<Fired<Due>>>,
    batch: Cell<u32>,
    pub(crate) clock: Clock,
    /// Connections with a deadline whose judgement is postponed.
    pub(crate) postponed: RefCell<HashMap<Token, Postponed>>,
    /// How many bytes may go into the layers of each connection for which that is limited.
    pub(crate) send_rooms: RefCell<HashMap<Token, usize>>,
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
            datagram_sockets: RefCell::new(Table::new(Owner::Datagrams)),
            departing: RefCell::default(),
            arrivals: RefCell::default(),
            unsettled: RefCell::default(),
            resting: RefCell::default(),
            answers: RefCell::default(),
            reached: RefCell::default(),
            changes: RefCell::default(),
            pool: RefCell::default(),
            wheel: RefCell::new(Wheel::new(now)),
            scratch: RefCell::default(),
            topics: RefCell::default(),
            compression: RefCell::default(),
            refusals: Cell::new(0),
            is_promised: Cell::new(false),
            random: RefCell::new(random),
            wall_clock: Cell::new(SystemTime::now),
            date: RefCell::default(),
            current: Cell::new(NOBODY),
            due: RefCell::default(),
            batch: Cell::new(0),
            clock: Clock::new(now),
            postponed: RefCell::default(),
            send_rooms: RefCell::default(),
            unfinished: Cell::new(false),
            inline_budget: INLINE_BUDGET,
        })
    }

    /// The port's clock at the latest turn, in nanoseconds.
    pub fn now(&self) -> u64 {
        self.port.borrow().now()
    }

    /// Milliseconds of the engine's clock at the latest turn, which omits the time in which this
    /// process was held up.
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
        self.connections_at_rest()
            .expect("no connection is being added or removed")
    }

    /// All connections, unless one is being added or removed at this moment.
    pub fn connections_at_rest(&self) -> Option<Vec<Rc<Connection<H>>>> {
        let connections = self.connections.try_borrow().ok()?;
        Some(connections.iter().cloned().collect())
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
        self.keep_alive(socket, &endpoint);
        Ok(Listener::start(self, socket, endpoint))
    }

    /// The same on a socket that was made elsewhere and listens already; it is closed in the end.
    pub fn adopt(
        self: &Rc<Self>,
        socket: Descriptor,
        endpoint: Rc<Endpoint<H>>,
    ) -> io::Result<Rc<Listener<H>>> {
        self.port.borrow_mut().adopt(socket)?;
        self.keep_alive(socket, &endpoint);
        Ok(Listener::start(self, socket, endpoint))
    }

    /// Bind a socket for datagrams to `address`; nothing is received before
    /// [`DatagramSocket::resume`].
    pub fn bind(
        self: &Rc<Self>,
        address: &Address,
        endpoint: Rc<Endpoint<H>>,
        options: &DatagramOptions,
    ) -> io::Result<Rc<DatagramSocket<H>>> {
        let socket = self.port.borrow_mut().bind(address, options)?;
        DatagramSocket::start(self, socket, endpoint)
    }

    /// The same on a socket that was made and bound elsewhere; it is closed in the end.
    pub fn adopt_datagrams(
        self: &Rc<Self>,
        socket: Descriptor,
        endpoint: Rc<Endpoint<H>>,
        options: &DatagramOptions,
    ) -> io::Result<Rc<DatagramSocket<H>>> {
        self.port.borrow_mut().adopt_datagrams(socket, options)?;
        DatagramSocket::start(self, socket, endpoint)
    }

    /// Let the kernel see to it that dead peers of this socket, or of those accepted on it, are
    /// noticed.
    fn keep_alive(&self, socket: Descriptor, endpoint: &Endpoint<H>) {
        if let Some(silence) = endpoint.options.borrow().deadlines.tcp_keepalive {
            let silence = Duration::from_millis(silence);
            self.port.borrow_mut().keep_alive(socket, silence);
        }
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
        self.keep_alive(socket, &endpoint);
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

    /// Count a limit that was reached, perhaps within a callback, and report it to the host when no
    /// callback runs. There is one report, however often the endpoint reaches the limit until then.
    pub(crate) fn report_soon(&self, endpoint: &Rc<Endpoint<H>>, limit: Limit) {
        endpoint.count_limit(limit);
        let mut reached = self.reached.borrow_mut();
        let is_known =
            |(it, known): &(Rc<Endpoint<H>>, Limit)| Rc::ptr_eq(it, endpoint) && *known == limit;
        if !reached.iter().any(is_known) {
            reached.push((endpoint.clone(), limit));
            drop(reached);
            self.host.turn_wanted();
        }
    }

    /// Report the limits that [`Engine::report_soon`] has stored.
    #[inline]
    pub(crate) fn report_limits(&self) {
        if !self.reached.borrow().is_empty() {
            self.report_reached();
        }
    }

    #[cold]
    fn report_reached(&self) {
        for (endpoint, limit) in self.reached.take() {
            endpoint.report_limit(&self.host, limit);
        }
    }

    /// Call [`Host::timer`] with `id` in `milliseconds`.
    pub fn set_timer(&self, milliseconds: u64, id: u64) -> Key {
        // Counted from the latest turn: early by as long as the present batch has taken.
        let now = self.port.borrow().now();
        self.set_timer_at(
            now.saturating_add(milliseconds.saturating_mul(1_000_000)),
            id,
        )
    }

    /// Call [`Host::timer`] with `id`, below 2^62, at a moment of the port's clock, in nanoseconds.
    pub fn set_timer_at(&self, due: u64, id: u64) -> Key {
        let key = self.wheel.borrow_mut().insert(due, Due::host(id));
        self.host.turn_wanted();
        key
    }

    /// Move a timer to another moment; its key stays. False when it has fired or was cancelled.
    pub fn update_timer(&self, key: Key, due: u64) -> bool {
        let is_moved = self.wheel.borrow_mut().update(key, due);
        self.host.turn_wanted();
        is_moved
    }

    /// Forget a timer; whether it was still to fire.
    pub fn cancel_timer(&self, key: Key) -> bool {
        self.wheel.borrow_mut().cancel(key).is_some()
    }

    /// The descriptor that another loop watches to take turns: see [`Port::descriptor`].
    pub fn descriptor(&self) -> io::Result<Descriptor> {
        self.port.borrow().descriptor()
    }

    /// Whether a listener or a connection is there, closed ones whose last completion is awaited
    /// included.
    pub fn is_in_use(&self) -> bool {
        self.connections.borrow().len()
            + self.listeners.borrow().len()
            + self.datagram_sockets.borrow().len()
            > 0
    }

    /// The connection whose callback or settling was the latest: after a panic, the one that caused
    /// it.
    pub fn current_connection(&self) -> Option<Rc<Connection<H>>> {
        self.connections.borrow().get(self.current.get()).cloned()
    }
}
