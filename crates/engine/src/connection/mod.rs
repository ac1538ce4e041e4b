//! A connection: its state, and what a host may ask of it.
//!
//! A host's requests change state and put the connection on the engine's list of those to be
//! settled; nothing happens to the socket, and no callback runs, before the round's end. That is
//! what lets every method here be called from inside any callback.
//!
//! Its life is the table in [`life`]; what it moves bytes with is its [`Carrier`]; its deadlines
//! are in [`deadlines`].

mod admission;
mod budget;
mod close_frames;
mod closing;
mod deadlines;
mod ending;
mod fullness;
mod heartbeat;
mod held;
mod life;
mod moments;
mod traffic;
mod upgrade;

use crate::carrier::Carrier;
use crate::close::CloseReason;
use crate::endpoint::Endpoint;
use crate::engine::Engine;
use crate::host::Host;
use crate::inbound::Inbound;
use crate::layers::stack::Stack;
use crate::options::Framing;
use crate::outbound::Outbound;
use crate::send_error::SendError;
use crate::session::websocket::{Negotiated, compression::CompressionTraffic};
pub(crate) use admission::Admission;
use budget::Budget;
pub(crate) use close_frames::CloseFrames;
pub(crate) use deadlines::Postponed;
pub(crate) use fullness::Fullness;
pub(crate) use life::Event;
pub use life::State;
use life::{Life, Receiving, Sending};
use moments::Moments;
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use traffic::Traffic;
pub(crate) use upgrade::Upgrade;
use vespiary_port::{Address, Token};
use vespiary_wire::websocket::deflate::Parameters;
use vespiary_wire::websocket::profile::{Profile, Version};

/// The host takes no more messages. This bit is set next to the host's reasons for not reading.
/// Most of these do not count any more then.
const DROPPING: u8 = 0x80;

/// A connection of an engine. Always behind an `Rc`.
pub struct Connection<H: Host> {
    pub(crate) engine: Rc<Engine<H>>,
    /// The endpoint of its listener, or the client's own: whose limits it counts for.
    pub(crate) front: Rc<Endpoint<H>>,
    /// The endpoint that the host has chosen for the request in progress, if it is another one.
    pub(crate) asked: Cell<Option<Rc<Endpoint<H>>>>,
    /// The same once the request is accepted.
    pub(crate) routed: OnceCell<Rc<Endpoint<H>>>,
    /// What the host keeps for it, from `opened` to `closed`.
    pub user: RefCell<Option<H::User>>,
    pub(crate) token: Token,
    /// What moves its bytes.
    pub(crate) carrier: Carrier,
    pub(crate) life: Cell<Life>,
    pub(crate) moments: Moments,
    pub(crate) traffic: Traffic,
    pub(crate) budget: Budget,
    pub(crate) admission: Cell<Admission>,
    pub(crate) close_frames: Cell<CloseFrames>,
    /// The host's reasons for not reading, and [`DROPPING`].
    pub(crate) paused: Cell<u8>,
    /// Its address counts for its endpoint's limit per address.
    pub(crate) counted: Cell<bool>,
    pub(crate) client: bool,
    /// Its bytes go through layers, in both directions.
    pub(crate) layered: Cell<bool>,
    /// Whether a layer was started while the connection lives.
    pub(crate) upgrade: Cell<Upgrade>,
    /// It is on the engine's list of connections to be settled.
    pub(crate) unsettled: Cell<bool>,
    pub(crate) fullness: Cell<Fullness>,
    /// The host's `opened` was called.
    pub(crate) opened: Cell<bool>,
    /// A message in parts is in progress, or nothing more is sent at all.
    pub(crate) sending_parts: Cell<bool>,
    /// Those layers, except while they work.
    pub(crate) layers: Cell<Option<Box<Stack>>>,
    pub(crate) inbound: RefCell<Inbound<H::Payload>>,
    pub(crate) outbound: RefCell<Outbound>,
    pub(crate) reason: Cell<Option<Box<CloseReason>>>,
    /// What the opening handshake agreed on.
    pub(crate) negotiated: Negotiated,
}

impl<H: Host> Connection<H> {
    /// The endpoint it belongs to: its options, counters and handler.
    #[inline]
    pub fn endpoint(&self) -> &Rc<Endpoint<H>> {
        self.routed.get().unwrap_or(&self.front)
    }

    /// The endpoint that serves the request in progress.
    pub fn asked_endpoint(&self) -> Rc<Endpoint<H>> {
        let asked = self.asked.take();
        let endpoint = asked.as_ref().unwrap_or_else(|| self.endpoint());
        let endpoint = endpoint.clone();
        self.asked.set(asked);
        endpoint
    }

    /// One that begins now.
    pub(crate) fn new(
        engine: &Rc<Engine<H>>,
        token: Token,
        carrier: Carrier,
        endpoint: Rc<Endpoint<H>>,
        client: bool,
        inbound: Inbound<H::Payload>,
    ) -> Rc<Self> {
        Rc::new(Self {
            engine: engine.clone(),
            front: endpoint,
            asked: Cell::new(None),
            routed: OnceCell::new(),
            user: RefCell::new(None),
            token,
            carrier,
            life: Cell::new(Life::START),
            moments: Moments::new(engine.now_ms()),
            traffic: Traffic::default(),
            budget: Budget::default(),
            admission: Cell::new(Admission::Refused),
            close_frames: Cell::new(CloseFrames::None),
            paused: Cell::new(0),
            counted: Cell::new(false),
            client,
            layered: Cell::new(false),
            upgrade: Cell::new(Upgrade::None),
            unsettled: Cell::new(false),
            fullness: Cell::new(Fullness::Low),
            opened: Cell::new(false),
            sending_parts: Cell::new(false),
            layers: Cell::new(None),
            inbound: RefCell::new(inbound),
            outbound: RefCell::default(),
            reason: Cell::default(),
            negotiated: Negotiated::default(),
        })
    }

    /// Where it is in its life.
    #[inline]
    pub fn state(&self) -> State {
        self.life.get().state
    }

    /// Whether it ends with this round: nothing is sent or delivered any more.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.life.get().is_over()
    }

    /// Whether the peer's end has come and waits to be handed over.
    #[inline]
    pub(crate) fn is_end_pending(&self) -> bool {
        self.life.get().receiving == Receiving::Ending
    }

    pub(crate) fn is_fin_sent(&self) -> bool {
        self.life.get().sending == Sending::Ended
    }

    /// Whether the host sends nothing more.
    #[inline]
    pub fn is_sending_last(&self) -> bool {
        self.life.get().sending != Sending::Open
    }

    /// Let `event` happen to its life; whether that changed anything.
    #[inline]
    pub(crate) fn enter(&self, event: Event) -> bool {
        let life = self.life.get();
        let next = life.after(event);
        debug_assert!(next.is_some(), "{event:?} cannot happen to {life:?}");
        let next = next.unwrap_or(life);
        self.life.set(next);
        next != life
    }

    /// Whether messages can be exchanged.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.state() == State::Open
    }

    /// Whether it was opened by this end.
    pub fn is_client(&self) -> bool {
        self.client
    }

    /// Whether layers change its bytes.
    pub fn has_layers(&self) -> bool {
        self.layered.get()
    }

    /// The engine it belongs to.
    pub fn engine(&self) -> &Rc<Engine<H>> {
        &self.engine
    }

    /// The name under which the engine knows it.
    pub fn token(&self) -> Token {
        self.token
    }

    /// Bytes that wait to be taken by the kernel.
    pub fn queued_bytes(&self) -> usize {
        self.outbound.borrow().queued()
    }

    /// Bytes of buffers that it holds at the moment, in both directions. None when it is idle.
    pub fn buffer_bytes(&self) -> usize {
        let inbound = self.inbound.try_borrow().map_or(0, |it| it.buffer_bytes());
        self.outbound.borrow().buffer_bytes() + inbound + self.layer_bytes()
    }

    /// Bytes among them of messages that other connections hold too.
    pub fn shared_bytes(&self) -> usize {
        self.outbound.borrow().shared_bytes()
    }

    /// Whether more waits than `write_high_bytes`, and has not yet fallen to `write_low_bytes`.
    #[inline]
    pub fn is_above_high(&self) -> bool {
        self.fullness.get().is_above_high()
    }

    /// Bytes in, bytes out, messages in, messages out.
    pub fn traffic(&self) -> [u64; 4] {
        [
            self.traffic.bytes_in.get(),
            self.traffic.bytes_out.get(),
            self.traffic.messages_in.get(),
            self.traffic.messages_out.get(),
        ]
    }

    /// The address of the other end; also after the end. `None` while a client's connect is in
    /// progress and it is not known, and where the kernel did not give it.
    pub fn peer_address(&self) -> Option<Address> {
        self.carrier.peer()
    }

    /// The address of this end; also after the end.
    pub fn local_address(&self) -> Option<Address> {
        self.carrier.local()
    }

    /// Whether reading is paused for this reason of the host's.
    pub fn is_paused(&self, reason: u8) -> bool {
        self.paused.get() & reason != 0
    }

    /// How long ago the present phase of its life began, in seconds.
    pub fn open_seconds(&self) -> f64 {
        let milliseconds = self
            .engine
            .now_ms()
            .saturating_sub(self.moments.phase_began.get());
        Duration::from_millis(milliseconds).as_secs_f64()
    }

    /// Messages dropped by the policy for slow consumers.
    pub fn dropped(&self) -> u64 {
        self.traffic.dropped.get().into()
    }

    /// The subprotocol that the handshake chose.
    pub fn protocol(&self) -> Option<Box<str>> {
        self.negotiated.protocol.get().map(|it| (**it).clone())
    }

    /// The version of WebSocket that is used, or was asked for; `None` elsewhere, and before a
    /// valid request.
    pub fn version(&self) -> Option<Version> {
        self.negotiated.version.get()
    }

    /// The rules of that version.
    pub(crate) fn profile(&self) -> &'static Profile {
        self.negotiated.profile()
    }

    /// The agreed parameters of permessage-deflate as the server's header has them, if messages may
    /// be compressed.
    pub fn compression(&self) -> Option<Parameters> {
        self.negotiated
            .deflate
            .get()
            .map(|deflate| deflate.agreed())
    }

    /// What compression did, and the bytes of memory that it holds now.
    pub fn compression_statistics(&self) -> (CompressionTraffic, u64) {
        let deflate = self.negotiated.deflate.get();
        deflate.map_or_else(Default::default, |it| (it.traffic(), it.memory_bytes()))
    }

    /// Why it ended, once that is known.
    pub fn reason(&self) -> Option<CloseReason> {
        let kept = self.reason.take();
        let reason = kept.as_deref().cloned();
        self.reason.set(kept);
        reason
    }

    /// Stop reading for a reason of the host's (a bit of its choice but the highest) until
    /// [`Connection::resume`] takes that reason back. Bytes that have arrived already wait.
    pub fn pause(self: &Rc<Self>, reason: u8) {
        debug_assert!(reason & DROPPING == 0, "the highest bit is not the host's");
        self.paused.set(self.paused.get() | reason);
        self.unsettle();
    }

    /// Take a reason for not reading back; reading continues when none is left.
    pub fn resume(self: &Rc<Self>, reason: u8) {
        self.paused.set(self.paused.get() & !reason);
        self.unsettle();
    }

    /// Hand over no more messages. What the peer sends is read and dropped, although the host has
    /// paused reading (unless for [`Host::THROTTLING`]); its pings are answered. Its close frame,
    /// or its FIN, ends the connection as usual.
    pub fn drop_messages(self: &Rc<Self>) {
        self.paused.set(self.paused.get() | DROPPING);
        self.moments.message_began.set(0);
        self.unsettle();
    }

    /// Whether the host takes no more messages.
    #[inline]
    pub(crate) fn is_dropping(&self) -> bool {
        self.paused.get() & DROPPING != 0
    }

    /// Send nothing more: what waits is written, and the peer of a stream sees the end of it, while
    /// receiving continues. Once both ends have finished, the connection closes.
    pub fn send_end(self: &Rc<Self>) -> Result<(), SendError> {
        let options = self.endpoint().options.borrow();
        if self.state() != State::Open {
            return Err(self.send_refusal());
        }
        if options.framing.begins_with_http() || options.framing == Framing::Datagram {
            return Err(SendError::OutOfTurn);
        }
        self.enter(Event::SendLast);
        self.sending_parts.set(true);
        self.unsettle();
        Ok(())
    }

    /// The handshake counts no more for its endpoint.
    pub(crate) fn handshake_over(&self) {
        if self.admission.get() == Admission::Handshaking {
            self.admission.set(Admission::Settled);
            self.front.handshake_over();
        }
    }

    /// Put it on the list of connections to be settled at the round's end.
    #[inline]
    pub(crate) fn unsettle(self: &Rc<Self>) {
        if !self.unsettled.get() {
            self.unsettled.set(true);
            self.engine.add_unsettled(self);
        }
    }

    /// Whether bytes that arrive must wait.
    #[inline]
    pub(crate) fn is_blocked(&self) -> bool {
        (self.is_held_back() || self.budget.is_spent.get()) && self.state() <= State::Open
    }

    /// Whether the peer is held back: by the host, or because it does not read what it is sent.
    #[inline]
    pub(crate) fn is_held_back(&self) -> bool {
        let is_paused = self.paused.get() != 0 && self.is_pause_kept();
        (is_paused || self.fullness.get().stops_reading() && !self.reads_when_full())
            && !self.is_upgrading()
    }

    #[cold]
    fn reads_when_full(&self) -> bool {
        self.endpoint().options.borrow().reads_when_crowded
    }

    /// Whether a reason for not reading stands although no more than the last bytes can come.
    #[cold]
    fn is_pause_kept(&self) -> bool {
        if self.is_dropping() {
            return self.paused.get() & H::THROTTLING != 0;
        }
        let is_last = self.life.get().is_peer_ending();
        let yielding = if is_last { H::YIELDING } else { 0 };
        self.paused.get() & !yielding != 0
    }

    /// Whether nothing is received on it that would notice its reset: the peer is held back, or has
    /// finished sending.
    #[inline]
    pub(crate) fn is_not_read(&self) -> bool {
        self.is_held_back() || self.state() <= State::Open && self.life.get().has_peer_ended()
    }
}
