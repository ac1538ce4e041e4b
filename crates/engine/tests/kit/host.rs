//! A host that does what a script says, remembers its calls, and watches how it is called.

pub use super::script::{Act, Filter, Layers, Script, accept};
pub use super::told::Told;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use vespiary_engine::port::timer::Fired;
use vespiary_engine::port::{Arrival, Interest, Token};
use vespiary_engine::wire::http::Request;
use vespiary_engine::{
    AfterEnd, Answer, CloseReason, Connection, DatagramSocket, Endpoint, Engine, Event, Filtered,
    Host, Kind, Layer, Limit, Options,
};

/// A connection of a test's engine.
pub type Conn = Rc<Connection<TestHost>>;

/// How far a connection has come, as the host knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Requested,
    Open,
    Over,
}

/// Something to be done later.
type Later = Box<dyn FnOnce()>;

/// The host of a test.
#[derive(Default)]
pub struct TestHost {
    log: RefCell<Vec<Told>>,
    lives: RefCell<BTreeMap<Token, Life>>,
    inside: Cell<Option<&'static str>>,
    /// The lowest and the highest place of the stack that callbacks ran at.
    stack: Cell<Option<(usize, usize)>>,
    /// Callbacks since the start, `round_over` and filters aside.
    calls: Cell<u64>,
    rounds: Cell<u64>,
    timers: RefCell<BTreeMap<u64, Later>>,
    next_timer: Cell<u64>,
    ready: RefCell<Vec<(i32, Interest)>>,
}

/// While it lives a callback runs.
struct Inside<'a>(&'a TestHost);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.inside.set(None);
    }
}

impl TestHost {
    #[inline(never)]
    fn enter(&self, name: &'static str) -> Inside<'_> {
        let local = 0u8;
        let here = (&raw const local).addr();
        let (low, high) = self.stack.get().unwrap_or((here, here));
        self.stack.set(Some((low.min(here), high.max(here))));
        let is_quiet = name == "round_over" || name.starts_with("filter");
        self.calls.set(self.calls.get() + u64::from(!is_quiet));
        let before = self.inside.replace(Some(name));
        assert_eq!(
            before, None,
            "{name} was called from inside another callback"
        );
        Inside(self)
    }

    fn tell(&self, told: Told) {
        self.log.borrow_mut().push(told);
    }

    fn live(&self, token: Token, allowed: &[Option<Life>], next: Life) {
        let before = self.lives.borrow_mut().insert(token, next);
        assert!(
            allowed.contains(&before),
            "{token:?} went from {before:?} to {next:?}"
        );
    }

    fn must_be_open(&self, token: Token) {
        assert_eq!(
            self.lives.borrow().get(&token),
            Some(&Life::Open),
            "{token:?}"
        );
    }

    /// Every call of the host, in order.
    pub fn log(&self) -> Vec<Told> {
        self.log.borrow().clone()
    }

    /// The calls of the host after the first `known`.
    pub fn log_from(&self, known: usize) -> Vec<Told> {
        self.log.borrow()[known..].to_vec()
    }

    /// Forget the calls of the host.
    pub fn clear_log(&self) {
        self.log.borrow_mut().clear();
    }

    /// How many calls of the host `which` picks.
    pub fn count(&self, which: impl Fn(&Told) -> bool) -> usize {
        self.log.borrow().iter().filter(|told| which(told)).count()
    }

    /// Bodies of the requests that have one, in order.
    pub fn bodies(&self) -> Vec<Vec<u8>> {
        let log = self.log.borrow();
        let bodies = log.iter().filter_map(|told| match told {
            Told::Body(_, body) => Some(body.clone()),
            _ => None,
        });
        bodies.collect()
    }

    /// What has come of bodies that are handed over as they come, all together.
    pub fn pieces(&self) -> Vec<u8> {
        let log = self.log.borrow();
        let pieces = log.iter().filter_map(|told| match told {
            Told::BodyPiece(_, piece) => Some(&piece[..]),
            _ => None,
        });
        pieces.collect::<Vec<_>>().concat()
    }

    /// Payloads of the messages, in order.
    pub fn messages(&self) -> Vec<Vec<u8>> {
        let log = self.log.borrow();
        let payloads = log.iter().filter_map(|told| match told {
            Told::Message(_, _, payload) => Some(payload.clone()),
            _ => None,
        });
        payloads.collect()
    }

    /// Why connections closed or were refused, in order.
    pub fn reasons(&self) -> Vec<CloseReason> {
        let log = self.log.borrow();
        let reasons = log.iter().filter_map(|told| match told {
            Told::Closed(_, reason) | Told::Refused(_, reason) => Some(reason.clone()),
            _ => None,
        });
        reasons.collect()
    }

    /// The events, in order.
    pub fn events(&self) -> Vec<Event> {
        let log = self.log.borrow();
        let events = log.iter().filter_map(|told| match told {
            Told::Event(event) => Some(event.clone()),
            _ => None,
        });
        events.collect()
    }

    /// How often this limit was reached.
    pub fn limits_reached(&self, limit: Limit) -> usize {
        self.count(
            |told| matches!(told, Told::Event(Event::Limit { limit: it, .. }) if *it == limit),
        )
    }

    /// How many connections are open, as the host knows.
    pub fn open(&self) -> usize {
        self.lives
            .borrow()
            .values()
            .filter(|life| **life == Life::Open)
            .count()
    }

    /// Callbacks since the start.
    pub fn calls(&self) -> u64 {
        self.calls.get()
    }

    /// Rounds since the start.
    pub fn rounds(&self) -> u64 {
        self.rounds.get()
    }

    /// Bytes of the stack between the deepest callback and the least deep.
    pub fn stack_span(&self) -> usize {
        self.stack.get().map_or(0, |(low, high)| high - low)
    }

    /// Keep something to be done when the timer with the returned number fires.
    pub fn keep(&self, later: Later) -> u64 {
        let id = self.next_timer.get();
        self.next_timer.set(id + 1);
        self.timers.borrow_mut().insert(id, later);
        id
    }

    /// What foreign descriptors were ready for.
    pub fn take_ready(&self) -> Vec<(i32, Interest)> {
        self.ready.take()
    }
}

/// A reason for not reading that does not count once the peer has finished sending.
pub const QUEUE_IS_FULL: u8 = 16;

impl Host for TestHost {
    type Payload = Vec<u8>;
    type Endpoint = Script;
    type User = Token;
    const YIELDING: u8 = QUEUE_IS_FULL;

    fn request(&self, connection: &Conn, request: Request, body: Vec<u8>) -> Answer {
        let _inside = self.enter("request");
        // A connection may carry several requests, one after another.
        let allowed = [None, Some(Life::Requested)];
        self.live(connection.token(), &allowed, Life::Requested);
        self.tell(Told::Request(
            connection.token(),
            request.target().to_owned(),
        ));
        let is_streamed = connection.asked_endpoint().options().streams_requests;
        if request.has_body() && !is_streamed {
            self.tell(Told::Body(connection.token(), body));
        }
        (connection.endpoint().host.request)(connection, &request)
    }

    fn body_piece(&self, connection: &Conn, data: &[u8]) {
        let _inside = self.enter("body_piece");
        self.tell(Told::BodyPiece(connection.token(), data.to_vec()));
        (connection.endpoint().host.body_piece)(connection, data);
    }

    fn body_ended(&self, connection: &Conn) {
        let _inside = self.enter("body_ended");
        self.tell(Told::BodyEnded(connection.token()));
        (connection.endpoint().host.body_ended)(connection);
    }

    fn body_failed(&self, connection: &Conn, reason: &CloseReason) {
        let _inside = self.enter("body_failed");
        self.tell(Told::BodyFailed(connection.token(), reason.clone()));
    }

    fn requester_finished(&self, connection: &Conn) {
        let _inside = self.enter("requester_finished");
        self.tell(Told::RequesterFinished(connection.token()));
    }

    fn has_room(&self, connection: &Conn) {
        let _inside = self.enter("has_room");
        self.tell(Told::Room(connection.token()));
        (connection.endpoint().host.room)(connection);
    }

    fn opened(&self, connection: &Conn) {
        let _inside = self.enter("opened");
        self.live(
            connection.token(),
            &[None, Some(Life::Requested)],
            Life::Open,
        );
        *connection.user.borrow_mut() = Some(connection.token());
        self.tell(Told::Opened(connection.token()));
        (connection.endpoint().host.opened)(connection);
    }

    fn binary(&self, connection: &Conn, payload: Vec<u8>) {
        let _inside = self.enter("binary");
        self.must_be_open(connection.token());
        let script = &connection.endpoint().host;
        (script.message)(connection, Kind::Binary, &payload);
        if script.remembers {
            self.tell(Told::Message(connection.token(), Kind::Binary, payload));
        }
    }

    fn text(&self, connection: &Conn, text: &str) {
        let _inside = self.enter("text");
        self.must_be_open(connection.token());
        let script = &connection.endpoint().host;
        (script.message)(connection, Kind::Text, text.as_bytes());
        if script.remembers {
            self.tell(Told::Message(connection.token(), Kind::Text, text.into()));
        }
    }

    fn part(&self, connection: &Conn, kind: Kind, payload: Vec<u8>, last: bool) {
        let _inside = self.enter("part");
        self.must_be_open(connection.token());
        let script = &connection.endpoint().host;
        (script.part)(connection, kind, &payload, last);
        if script.remembers {
            self.tell(Told::Part(connection.token(), kind, payload, last));
        }
    }

    fn secured(&self, connection: &Conn) {
        let _inside = self.enter("secured");
        self.must_be_open(connection.token());
        (connection.endpoint().host.secured)(connection);
    }

    fn watches_subscriptions(&self, connection: &Conn) -> bool {
        connection.endpoint().host.subscription.is_some()
    }

    fn subscription(&self, connection: &Conn, name: &str, is_subscribed: bool) {
        let _inside = self.enter("subscription");
        self.must_be_open(connection.token());
        if let Some(act) = &connection.endpoint().host.subscription {
            act(connection, name, is_subscribed);
        }
    }

    fn drained(&self, connection: &Conn) {
        let _inside = self.enter("drained");
        self.must_be_open(connection.token());
        self.tell(Told::Drained(connection.token()));
        (connection.endpoint().host.drained)(connection);
    }

    fn ended(&self, connection: &Conn) -> AfterEnd {
        let _inside = self.enter("ended");
        self.must_be_open(connection.token());
        self.tell(Told::Ended(connection.token()));
        (connection.endpoint().host.ended)(connection)
    }

    fn closed(&self, connection: &Conn, reason: &CloseReason) {
        let _inside = self.enter("closed");
        self.live(connection.token(), &[Some(Life::Open)], Life::Over);
        assert_eq!(*connection.user.borrow(), Some(connection.token()));
        self.tell(Told::Closed(connection.token(), reason.clone()));
        (connection.endpoint().host.closed)(connection);
    }

    fn refused(&self, connection: &Conn, reason: &CloseReason) {
        let _inside = self.enter("refused");
        self.live(connection.token(), &[None], Life::Over);
        assert!(connection.is_client());
        self.tell(Told::Refused(connection.token(), reason.clone()));
        (connection.endpoint().host.refused)(connection);
    }

    fn rule_broken(&self, connection: &Conn, reason: &CloseReason) {
        let _inside = self.enter("rule_broken");
        self.tell(Told::RuleBroken(connection.token(), reason.text.clone()));
    }

    fn fault(&self, connection: &Conn, text: &str) {
        let _inside = self.enter("fault");
        self.tell(Told::Fault(connection.token(), text.to_owned()));
    }

    fn event(&self, _endpoint: &Rc<Endpoint<Self>>, event: Event) {
        let _inside = self.enter("event");
        self.tell(Told::Event(event));
    }

    fn datagrams<'a>(
        &self,
        socket: &Rc<DatagramSocket<Self>>,
        batch: impl Iterator<Item = (&'a Arrival, &'a [u8])>,
    ) {
        for (arrival, bytes) in batch {
            let _inside = self.enter("datagram");
            (socket.endpoint.host.datagram)(socket, arrival, bytes);
        }
    }

    fn layers(&self, connection: &Conn) -> Vec<Box<dyn Layer>> {
        (connection.endpoint().host.layers)(connection)
    }

    fn filter_received(&self, connection: &Conn, bytes: &[u8]) -> Filtered {
        let _inside = self.enter("filter_received");
        (connection.endpoint().host.filter_received)(connection, bytes)
    }

    fn filter_sent(&self, connection: &Conn, bytes: &[u8]) -> Filtered {
        let _inside = self.enter("filter_sent");
        (connection.endpoint().host.filter_sent)(connection, bytes)
    }

    fn round_over(&self) {
        self.rounds.set(self.rounds.get() + 1);
        drop(self.enter("round_over"));
    }

    fn timer(&self, _engine: &Rc<Engine<Self>>, timer: &Fired<u64>) {
        let _inside = self.enter("timer");
        let later = self
            .timers
            .borrow_mut()
            .remove(&timer.value)
            .expect("a timer fires once");
        later();
    }

    fn ready(&self, descriptor: i32, interest: Interest) {
        let _inside = self.enter("ready");
        self.ready.borrow_mut().push((descriptor, interest));
    }
}
