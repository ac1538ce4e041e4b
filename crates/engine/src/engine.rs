//! The engine: turns of the port, rounds within a turn, and what is settled at a round's end.
//!
//! A turn waits in [`Engine::wait`], which runs no callback, so that a host can release its locks around it;
//! then [`Engine::run`] takes the batch in rounds:
//!
//! ```text
//! round:  every completion the port has   ->  callbacks
//!         timers that are due (once)      ->  callbacks
//!         every unsettled connection      ->  one send each, reading on or off, closing; callbacks
//! ```
//!
//! A send that the port completes at once shows up as a completion of the next round, without another trip
//! through the kernel; no callback ever runs from inside another one, because requests made in a callback only
//! mark their connection as unsettled. Rounds are bounded by the inline budget: a handler that sends more each
//! time its send completes would otherwise keep the turn for itself. A connection whose receives exceed the same
//! budget within one batch has the rest of its bytes put aside, and goes on in the next turn, behind the others.

use crate::close::{CloseReason, Manner, Side};
use crate::connection::{Connection, State};
use crate::endpoint::{Endpoint, add};
use crate::handshake::ClientHandshake;
use crate::host::{AfterEnd, Host};
use crate::listener::Listener;
use crate::options::Framing;
use crate::outbound::Pool;
use crate::receive::{self, Inbound};
use crate::table::{self, Owner, Table};
use crate::topics::Topics;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;
use vespiary_port::timer::{Key, Wheel};
use vespiary_port::{
    Address, Completion, Counters, Descriptor, Errno, Interest, Outcome, Outgoing, Port, Token, Wake,
};

/// How many completions of one connection, and how many rounds of a turn, are taken in a row.
pub const INLINE_BUDGET: u8 = 10;

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
    pub(crate) pool: RefCell<Pool>,
    pub(crate) wheel: RefCell<Wheel<Due>>,
    pub(crate) scratch: RefCell<Vec<u8>>,
    pub(crate) topics: RefCell<Topics<H>>,
    pub(crate) refusals: Cell<u32>,
    random: RefCell<Box<dyn FnMut(&mut [u8])>>,
    batch: Cell<u32>,
    now_ms: Cell<u64>,
    unfinished: Cell<bool>,
    inline_budget: u8,
}

impl<H: Host> Engine<H> {
    /// An engine on `port`. `random` fills a slice with unpredictable bytes: mask keys and nonces of clients.
    pub fn new(host: H, port: Box<dyn Port>, random: Box<dyn FnMut(&mut [u8])>) -> Rc<Self> {
        let now = port.now();
        Rc::new(Self {
            host,
            port: RefCell::new(port),
            connections: RefCell::new(Table::new(Owner::Connection)),
            listeners: RefCell::new(Table::new(Owner::Listener)),
            unsettled: RefCell::default(),
            resting: RefCell::default(),
            pool: RefCell::default(),
            wheel: RefCell::new(Wheel::new(now)),
            scratch: RefCell::default(),
            topics: RefCell::default(),
            refusals: Cell::new(0),
            random: RefCell::new(random),
            batch: Cell::new(0),
            now_ms: Cell::new(now / 1_000_000),
            unfinished: Cell::new(false),
            inline_budget: INLINE_BUDGET,
        })
    }

    /// Milliseconds of the port's clock at the latest turn.
    #[inline]
    pub fn now_ms(&self) -> u64 {
        self.now_ms.get()
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

    /// All connections now.
    pub fn all_connections(&self) -> Vec<Rc<Connection<H>>> {
        self.connections.borrow().iter().cloned().collect()
    }

    pub(crate) fn mask_key(&self) -> [u8; 4] {
        let mut key = [0; 4];
        (self.random.borrow_mut())(&mut key);
        key
    }

    pub(crate) fn random(&self, bytes: &mut [u8]) {
        (self.random.borrow_mut())(bytes);
    }

    /// Listen on `address` for `endpoint`.
    pub fn listen(
        self: &Rc<Self>,
        address: &Address,
        endpoint: Rc<Endpoint<H>>,
        backlog: u32,
        reuse_port: bool,
    ) -> io::Result<Rc<Listener<H>>> {
        let socket = self.port.borrow_mut().listen(address, backlog, reuse_port)?;
        Ok(Listener::start(self, socket, endpoint))
    }

    /// Connect to `address`; the host is told `opened` or `refused`.
    pub fn connect(
        self: &Rc<Self>,
        address: &Address,
        source: Option<&Address>,
        endpoint: Rc<Endpoint<H>>,
        handshake: Option<ClientHandshake>,
    ) -> io::Result<Rc<Connection<H>>> {
        let socket = self.port.borrow_mut().open(address, source)?;
        add(&endpoint.counters.accepted, 1);
        let inbound = Inbound::for_client(handshake);
        let connection = self.add_connection(socket, endpoint, None, true, inbound);
        connection.sending.set(true);
        self.port.borrow_mut().connect(socket, connection.token, address);
        self.arm(&connection);
        Ok(connection)
    }

    /// Watch a foreign descriptor; [`Host::ready`] is told.
    pub fn poll(&self, descriptor: Descriptor, interest: Interest) {
        self.port.borrow_mut().poll(descriptor, table::foreign(descriptor), interest);
    }

    /// Stop watching a foreign descriptor.
    pub fn unpoll(&self, descriptor: Descriptor) {
        self.port.borrow_mut().unpoll(descriptor, table::foreign(descriptor));
    }

    /// Call [`Host::timer`] with `id` in `milliseconds`.
    pub fn set_timer(&self, milliseconds: u64, id: u64) -> Key {
        // Counted from the latest turn: early by as long as the present batch has taken.
        let due = self.port.borrow().now() + milliseconds * 1_000_000;
        self.wheel.borrow_mut().insert(due, Due::Host(id))
    }

    /// Forget a timer; whether it was still to fire.
    pub fn cancel_timer(&self, key: Key) -> bool {
        self.wheel.borrow_mut().cancel(key).is_some()
    }

    /// Wait for completions, a wake-up, the next timer or `timeout`. Runs no callback.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<()> {
        let busy = self.unfinished.get()
            || !self.unsettled.borrow().is_empty()
            || !self.resting.borrow().is_empty();
        let timeout = if busy { Some(Duration::ZERO) } else { self.shortest(timeout) };
        self.port.borrow_mut().turn(timeout)
    }

    fn shortest(&self, timeout: Option<Duration>) -> Option<Duration> {
        let Some(due) = self.wheel.borrow().next_due() else { return timeout };
        let now = self.port.borrow().now();
        let timer = Duration::from_nanos(due.saturating_sub(now));
        Some(timeout.map_or(timer, |timeout| timeout.min(timer)))
    }

    /// Take the batch that [`Engine::wait`] gathered. Returns how many completions and timers were handled.
    pub fn run(self: &Rc<Self>) -> usize {
        let now = self.port.borrow().now();
        self.now_ms.set(now / 1_000_000);
        self.batch.set(self.batch.get().wrapping_add(1));
        for connection in self.resting.take() {
            connection.over_budget.set(false);
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
                let Some(connection) = self.connections.borrow().get(token).cloned() else { return };
                self.dispatch_connection(&connection, outcome);
            }
            Owner::Listener => {
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
            Outcome::Received(lease) => {
                if self.spend(connection) {
                    receive::received(connection, &lease);
                } else {
                    receive::put_aside(connection, &lease);
                }
            }
            Outcome::Sent(result, outgoing) => self.sent(connection, result, outgoing),
            Outcome::ReceiveEnded(ending) => self.receive_ended(connection, ending),
            Outcome::Connected(result) => self.connected(connection, result),
            Outcome::Accepted(_) | Outcome::AcceptEnded(_) | Outcome::Ready(_) => {}
        }
    }

    /// Spend one of the connection's inline budget; false when it is used up.
    #[inline]
    fn spend(&self, connection: &Rc<Connection<H>>) -> bool {
        let batch = self.batch.get();
        if connection.burst_batch.get() != batch {
            connection.burst_batch.set(batch);
            connection.burst.set(0);
        }
        let burst = connection.burst.get();
        if burst < self.inline_budget {
            connection.burst.set(burst + 1);
            return true;
        }
        if !connection.over_budget.replace(true) {
            add(&connection.endpoint.counters.budget_exhausted, 1);
            self.resting.borrow_mut().push(connection.clone());
        }
        false
    }

    #[inline]
    fn sent(self: &Rc<Self>, connection: &Rc<Connection<H>>, result: Result<usize, Errno>, mut outgoing: Outgoing) {
        connection.sending.set(false);
        match result {
            Ok(bytes) => {
                add(&connection.endpoint.counters.bytes_out, bytes as u64);
                add(&connection.bytes_out, bytes as u64);
                let mut outbound = connection.outbound.borrow_mut();
                outbound.landed(bytes);
                outgoing.advance(bytes);
                if !outgoing.is_done() && connection.state.get() != State::Closed {
                    drop(outbound);
                    connection.sending.set(true);
                    self.port.borrow_mut().send(connection.socket.get(), connection.token, outgoing);
                    if connection.above_high.get() {
                        connection.unsettle();
                    }
                    return;
                }
                self.pool.borrow_mut().put_all(outgoing);
                if outbound.queued() == 0 {
                    connection.write_began.set(0);
                    if connection.state.get() == State::Open && !connection.above_high.get() {
                        return;
                    }
                }
            }
            Err(errno) => {
                let unsent = outgoing.remaining();
                connection.outbound.borrow_mut().landed(unsent);
                self.pool.borrow_mut().put_all(outgoing);
                connection.end_with(broken_by_kernel("sending", errno));
                connection.abort.set(true);
            }
        }
        connection.unsettle();
    }

    fn receive_ended(self: &Rc<Self>, connection: &Rc<Connection<H>>, ending: Option<Errno>) {
        connection.receiving.set(false);
        connection.receive_cancelled.set(false);
        match ending {
            None => connection.end_pending.set(true),
            Some(Errno(libc_errno::ECANCELED | libc_errno::ENOBUFS)) => {}
            Some(errno) => {
                connection.end_with(broken_by_kernel("receiving", errno));
                connection.abort.set(true);
            }
        }
        connection.unsettle();
    }

    fn connected(self: &Rc<Self>, connection: &Rc<Connection<H>>, result: Result<(), Errno>) {
        connection.sending.set(false);
        connection.unsettle();
        if connection.state.get() == State::Closed {
            return;
        }
        match result {
            Ok(()) => receive::connection_made(connection),
            Err(errno) => {
                connection.end_with(broken_by_kernel("connecting", errno));
                connection.abort.set(true);
            }
        }
    }

    fn run_timers(self: &Rc<Self>, now: u64) -> usize {
        let mut due = Vec::new();
        self.wheel.borrow_mut().advance(now, &mut |what| due.push(what));
        let count = due.len();
        for what in due {
            match what {
                Due::Connection(token) => {
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

    /// Settle every connection on the list, and those that settling adds are left for the next round.
    pub fn settle(self: &Rc<Self>) -> bool {
        if self.unsettled.borrow().is_empty() {
            return false;
        }
        let mut list = self.unsettled.take();
        for connection in list.drain(..) {
            connection.unsettled.set(false);
            self.settle_one(&connection);
        }
        let mut unsettled = self.unsettled.borrow_mut();
        if unsettled.is_empty() {
            // Keep the allocation.
            *unsettled = list;
        }
        true
    }

    fn settle_one(self: &Rc<Self>, connection: &Rc<Connection<H>>) {
        let state = connection.state.get();
        if state == State::Closed {
            return self.release_when_quiet(connection);
        }
        if connection.abort.get() {
            return self.finish(connection);
        }
        if state == State::Connecting {
            return;
        }
        if !connection.sending.get() {
            self.depart(connection);
        }
        self.settle_reading(connection);
        if connection.abort.get() {
            return self.finish(connection);
        }
        if connection.above_high.get() {
            self.settle_high_water(connection);
        }
        if connection.state.get() == State::Closing {
            self.settle_closing(connection);
        }
    }

    #[inline]
    fn depart(self: &Rc<Self>, connection: &Rc<Connection<H>>) {
        let Some(outgoing) = connection.outbound.borrow_mut().depart() else { return };
        connection.sending.set(true);
        if connection.write_began.get() == 0 {
            self.begin_write(connection);
        }
        self.port.borrow_mut().send(connection.socket.get(), connection.token, outgoing);
    }

    fn settle_reading(self: &Rc<Self>, connection: &Rc<Connection<H>>) {
        receive::take_held(connection);
        let wanted = !connection.is_blocked() && !connection.abort.get();
        if connection.end_pending.get() {
            if wanted && !receive::has_held(connection) {
                connection.end_pending.set(false);
                self.peer_ended(connection);
            }
        } else if connection.peer_ended.get() {
            // Nothing more will come.
        } else if wanted {
            if !connection.receiving.get() {
                connection.receiving.set(true);
                self.port.borrow_mut().receive(connection.socket.get(), connection.token);
            }
        } else if connection.receiving.get()
            && !connection.receive_cancelled.get()
            && receive::may_cancel(connection)
        {
            connection.receive_cancelled.set(true);
            self.port.borrow_mut().cancel_receive(connection.token);
        }
    }

    /// The peer has sent its FIN, and everything before it was handed over.
    fn peer_ended(self: &Rc<Self>, connection: &Rc<Connection<H>>) {
        connection.peer_ended.set(true);
        match connection.state.get() {
            State::Connecting | State::Handshaking => {
                let text = "the peer closed the connection during the handshake";
                connection.end_with(CloseReason::new(Side::Remote, Manner::Broken, text));
                connection.abort.set(true);
            }
            State::Open => self.peer_ended_while_open(connection),
            State::Closing | State::Closed => {}
        }
        connection.unsettle();
    }

    fn peer_ended_while_open(self: &Rc<Self>, connection: &Rc<Connection<H>>) {
        use vespiary_wire::websocket::close::Code;
        let framing = connection.endpoint.options.borrow().framing.clone();
        if framing == Framing::WebSocket {
            let text = "the connection was cut without a close frame";
            let reason = CloseReason::new(Side::Remote, Manner::Broken, text);
            connection.end_with(reason.with_code(Code::ABNORMAL));
            connection.abort.set(true);
            return;
        }
        if let Some(text) = receive::cut_message(connection) {
            connection.end_with(CloseReason::new(Side::Remote, Manner::Broken, text));
        }
        if self.host.ended(connection) == AfterEnd::Close {
            connection.end_with(CloseReason::new(Side::Remote, Manner::Closed, ""));
            if connection.state.get() == State::Open {
                connection.begin_closing(None);
            }
        }
    }

    fn settle_high_water(self: &Rc<Self>, connection: &Rc<Connection<H>>) {
        let low = connection.endpoint.options.borrow().limits.write_low_bytes;
        if connection.queued_bytes() > low {
            return;
        }
        connection.above_high.set(false);
        connection.unsettle();
        if connection.opened.get() && connection.state.get() == State::Open {
            self.host.drained(connection);
        }
    }

    fn settle_closing(self: &Rc<Self>, connection: &Rc<Connection<H>>) {
        if connection.sending.get() || connection.queued_bytes() > 0 {
            return;
        }
        if !connection.fin_sent.get() && self.may_send_fin(connection) {
            connection.fin_sent.set(true);
            self.port.borrow_mut().shutdown(connection.socket.get());
        }
        if connection.fin_sent.get() && connection.peer_ended.get() {
            self.finish(connection);
        }
    }

    /// RFC 6455 7.1.1: on WebSocket the server closes the TCP connection first, after both close frames.
    fn may_send_fin(&self, connection: &Rc<Connection<H>>) -> bool {
        if !connection.close_frame_sent.get() || connection.peer_ended.get() {
            return true;
        }
        connection.close_frame_received.get() && !connection.client
    }

    /// The connection is over: tell the host, and give back what it holds.
    fn finish(self: &Rc<Self>, connection: &Rc<Connection<H>>) {
        connection.state.set(State::Closed);
        connection.end_with(CloseReason::new(Side::Remote, Manner::Closed, ""));
        if let Some(key) = connection.timer.take() {
            self.wheel.borrow_mut().cancel(key);
        }
        self.handshake_over(connection);
        if connection.counted() {
            connection.endpoint.left(connection.counted);
        } else {
            self.refusals.set(self.refusals.get() - 1);
        }
        if connection.receiving.get() && !connection.receive_cancelled.replace(true) {
            self.port.borrow_mut().cancel_receive(connection.token);
        }
        if connection.sending.get() {
            let mut port = self.port.borrow_mut();
            if connection.opened.get() || !connection.client || connection.bytes_out.get() > 0 {
                port.cancel_send(connection.token);
            } else {
                port.cancel_connect(connection.token);
                port.cancel_send(connection.token);
            }
        }
        connection.outbound.borrow_mut().clear(&mut self.pool.borrow_mut());
        connection.inbound.borrow_mut().clear();
        self.topics.borrow_mut().forget(connection.token);
        self.tell_closed(connection);
        connection.user.take();
        self.release_when_quiet(connection);
    }

    fn tell_closed(self: &Rc<Self>, connection: &Rc<Connection<H>>) {
        let reason = connection.reason.borrow().as_deref().cloned();
        let reason = reason.expect("finish gives a reason");
        if connection.opened.get() {
            add(&connection.endpoint.counters.closed, 1);
            add(&connection.endpoint.counters.broken, u64::from(reason.manner == Manner::Broken));
            self.host.closed(connection, &reason);
        } else {
            if connection.counted() {
                connection.endpoint.count_refusal(&cause(&reason));
            }
            if connection.client {
                self.host.refused(connection, &reason);
            }
        }
    }

    fn release_when_quiet(&self, connection: &Rc<Connection<H>>) {
        if connection.receiving.get() || connection.sending.get() {
            return;
        }
        if self.connections.borrow_mut().remove(connection.token).is_some() {
            self.port.borrow_mut().close(connection.socket.get(), connection.reset.get());
        }
    }

    /// The handshake's place in the endpoint's count is given up, once.
    pub(crate) fn handshake_over(&self, connection: &Rc<Connection<H>>) {
        if !connection.shaken.replace(true) {
            connection.endpoint.handshake_over();
        }
    }

    /// End every connection and listener at once, and wait for the last completions (at most `turns` turns).
    pub fn shut_down(self: &Rc<Self>, turns: usize) -> io::Result<()> {
        let listeners: Vec<_> = self.listeners.borrow().iter().cloned().collect();
        for listener in listeners {
            listener.close();
        }
        for connection in self.all_connections() {
            connection.abort();
        }
        for _ in 0..turns {
            self.settle();
            if self.connections.borrow().len() + self.listeners.borrow().len() == 0 {
                break;
            }
            self.wait(Some(Duration::from_millis(1)))?;
            self.run();
        }
        Ok(())
    }
}

/// What stopped a connection before it was opened, as a counter's name.
fn cause(reason: &CloseReason) -> String {
    match (reason.status, reason.errno, reason.side) {
        (Some(status), ..) => format!("status_{status}"),
        (None, Some(errno), _) => format!("errno_{errno}"),
        (None, None, Side::Remote) => "peer".to_owned(),
        (None, None, Side::Local) => "local".to_owned(),
    }
}

/// The errno values that the engine tells apart, as Linux numbers them (errno(3)).
mod libc_errno {
    pub(super) const ECANCELED: i32 = 125;
    pub(super) const ENOBUFS: i32 = 105;
}

fn broken_by_kernel(doing: &str, errno: Errno) -> CloseReason {
    let error = io::Error::from_raw_os_error(errno.0);
    CloseReason::new(Side::Remote, Manner::Broken, format!("{doing} failed: {error}"))
        .with_errno(errno.0)
}
