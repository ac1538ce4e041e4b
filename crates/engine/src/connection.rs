//! A connection: its state, and what a host may ask of it.
//!
//! A host's requests change state and put the connection on the engine's list of those to be
//! settled; nothing happens to the socket, and no callback runs, before the round's end. That is
//! what lets every method here be called from inside any callback.
//!
//! ```text
//! Connecting -> Handshaking -> Open -> Closing -> Closed
//! ```
//!
//! A connection is `Closing` from the first wish to end it in good order (either side's) until its
//! bytes are written, our FIN is sent and the peer's has come, or the close deadline; bytes that
//! arrive meanwhile are read and thrown away, because closing a socket with unread bytes would
//! reset it and destroy what the peer has not read yet. It is `Closed` once the host was told; its
//! row lives on until the last completion.

use crate::close::{Cause, CloseReason, Manner, Side};
use crate::endpoint::Endpoint;
use crate::engine::Engine;
use crate::host::Host;
use crate::layers::stack::Stack;
use crate::options::Framing;
use crate::outbound::Outbound;
use crate::receive::Inbound;
use crate::requests;
use crate::send::SendError;
use crate::session::http::Answer;
use crate::session::websocket::{Negotiated, compression::CompressionTraffic};
use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;
use vespiary_port::timer::Key;
use vespiary_port::{Address, Descriptor, Token};
use vespiary_trace::requires;
use vespiary_wire::websocket::close::{self, Code};
use vespiary_wire::websocket::deflate::Parameters;
use vespiary_wire::websocket::frame::Opcode;
use vespiary_wire::websocket::profile::{Profile, Version};

/// Where a connection stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// A client's connect is under way.
    Connecting,
    /// The HTTP handshake is under way.
    Handshaking,
    /// Messages flow.
    Open,
    /// It ends in good order.
    Closing,
    /// It has ended.
    Closed,
}

/// Which close frames have passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseFrames {
    /// None.
    None,
    /// Ours.
    Sent,
    /// The peer's.
    Received,
    /// Both.
    Both,
    /// Ours, and the peer's is not awaited, since the peer broke a rule.
    NotAwaited,
}

impl CloseFrames {
    pub(crate) fn is_sent(self) -> bool {
        matches!(self, Self::Sent | Self::Both | Self::NotAwaited)
    }

    /// Whether input no longer matters.
    #[inline]
    pub(crate) fn is_received(self) -> bool {
        self as u8 >= Self::Received as u8
    }

    pub(crate) fn after_sent(self) -> Self {
        match self {
            Self::None => Self::Sent,
            Self::Received => Self::Both,
            other => other,
        }
    }

    pub(crate) fn after_received(self) -> Self {
        match self {
            Self::None => Self::Received,
            Self::Sent => Self::Both,
            other => other,
        }
    }
}

/// A connection of an engine. Always behind an `Rc`.
pub struct Connection<H: Host> {
    pub(crate) engine: Rc<Engine<H>>,
    /// The endpoint it belongs to.
    pub endpoint: Rc<Endpoint<H>>,
    /// What the host keeps for it, from `opened` to `closed`.
    pub user: RefCell<Option<H::User>>,
    pub(crate) token: Token,
    pub(crate) socket: Cell<Descriptor>,
    pub(crate) counted: Option<IpAddr>,
    pub(crate) client: bool,
    /// Its bytes go through layers, in both directions.
    pub(crate) layered: Cell<bool>,
    /// Those layers, except while they work.
    pub(crate) layers: Cell<Option<Box<Stack>>>,
    /// It has a place in its endpoint's counts.
    pub(crate) admitted: bool,
    pub(crate) state: Cell<State>,
    /// An operation is outstanding at the port.
    pub(crate) receiving: Cell<bool>,
    pub(crate) sending: Cell<bool>,
    /// Its cancel was asked for.
    pub(crate) receive_cancelled: Cell<bool>,
    /// It stands on the engine's list of connections to be settled.
    pub(crate) unsettled: Cell<bool>,
    /// Reading is paused: by the host, by back-pressure, by the inline budget.
    pub(crate) paused: Cell<u8>,
    pub(crate) above_high: Cell<bool>,
    pub(crate) over_budget: Cell<bool>,
    /// The host was told `opened`.
    pub(crate) opened: Cell<bool>,
    /// The handshake's place in the endpoint's count was given up.
    pub(crate) shaken: Cell<bool>,
    /// The peer has finished sending, and that was dealt with.
    pub(crate) peer_ended: Cell<bool>,
    pub(crate) end_pending: Cell<bool>,
    pub(crate) close_frames: Cell<CloseFrames>,
    pub(crate) fin_sent: Cell<bool>,
    /// End at once: with a reset, or without waiting for what is unsent.
    pub(crate) abort: Cell<bool>,
    pub(crate) reset: Cell<bool>,
    pub(crate) sending_parts: Cell<bool>,
    /// The host sends nothing more; `sending_parts` then is set too, which sends look at.
    pub(crate) sending_ended: Cell<bool>,
    pub(crate) dropped: Cell<u32>,
    pub(crate) burst: Cell<u8>,
    pub(crate) burst_frames: Cell<u16>,
    pub(crate) burst_batch: Cell<u32>,
    pub(crate) inbound: RefCell<Inbound<H>>,
    pub(crate) outbound: RefCell<Outbound>,
    pub(crate) reason: RefCell<Option<Box<CloseReason>>>,
    /// What the opening handshake agreed on.
    pub(crate) negotiated: Negotiated,
    pub(crate) timer: Cell<Option<Key>>,
    /// When the timer fires, and the times that deadlines count from; milliseconds of the port's
    /// clock.
    pub(crate) timer_due: Cell<u64>,
    pub(crate) phase_began: Cell<u64>,
    pub(crate) heard: Cell<u64>,
    /// When the latest message was delivered.
    pub(crate) data_heard: Cell<u64>,
    /// Since when this end does not read; 0 when it does.
    pub(crate) held_since: Cell<u64>,
    pub(crate) pinged: Cell<u64>,
    /// When the first ping was sent that nothing of the peer's has answered.
    pub(crate) ping_unanswered: Cell<u64>,
    /// What the peer had acknowledged then.
    pub(crate) ping_mark: Cell<u64>,
    pub(crate) message_began: Cell<u64>,
    pub(crate) write_began: Cell<u64>,
    pub(crate) bytes_in: Cell<u64>,
    pub(crate) bytes_out: Cell<u64>,
    /// What the peer had acknowledged when progress was last looked at, and one; 0 before that.
    pub(crate) write_mark: Cell<u64>,
    pub(crate) messages_in: Cell<u64>,
    pub(crate) messages_out: Cell<u64>,
}

impl<H: Host> Connection<H> {
    /// Where it stands in its life.
    pub fn state(&self) -> State {
        self.state.get()
    }

    /// Whether messages flow.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.state.get() == State::Open
    }

    /// Whether it was opened by this end.
    pub fn is_client(&self) -> bool {
        self.client
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
        self.above_high.get()
    }

    /// Bytes in, bytes out, messages in, messages out.
    pub fn traffic(&self) -> [u64; 4] {
        [
            self.bytes_in.get(),
            self.bytes_out.get(),
            self.messages_in.get(),
            self.messages_out.get(),
        ]
    }

    /// The address at the other end.
    pub fn peer_address(&self) -> std::io::Result<Address> {
        self.engine.port.borrow().peer_address(self.socket.get())
    }

    /// The address at this end.
    pub fn local_address(&self) -> std::io::Result<Address> {
        self.engine.port.borrow().local_address(self.socket.get())
    }

    /// Whether reading is paused for this reason of the host's.
    pub fn is_paused(&self, reason: u8) -> bool {
        self.paused.get() & reason != 0
    }

    /// How long ago the present phase of its life began, in seconds.
    pub fn open_seconds(&self) -> f64 {
        let milliseconds = self.engine.now_ms().saturating_sub(self.phase_began.get());
        Duration::from_millis(milliseconds).as_secs_f64()
    }

    /// Messages dropped by the policy for slow consumers.
    pub fn dropped(&self) -> u64 {
        self.dropped.get().into()
    }

    /// The subprotocol that the handshake chose.
    pub fn protocol(&self) -> Option<Box<str>> {
        self.negotiated.protocol.get().cloned()
    }

    /// The version of WebSocket that is spoken, or was asked for; `None` elsewhere, and before a
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
        self.reason.borrow().as_deref().cloned()
    }

    /// Stop reading for a reason of the host's (a bit of its choice) until [`Connection::resume`]
    /// takes that reason back. Bytes that have arrived already wait.
    pub fn pause(self: &Rc<Self>, reason: u8) {
        self.paused.set(self.paused.get() | reason);
        self.unsettle();
    }

    /// Take a reason for not reading back; reading goes on when none is left.
    pub fn resume(self: &Rc<Self>, reason: u8) {
        self.paused.set(self.paused.get() & !reason);
        self.unsettle();
    }

    /// Send nothing more: what waits is written, and the peer of a stream sees the end of it, while
    /// receiving goes on. Once both ends have finished, the connection closes.
    pub fn send_end(self: &Rc<Self>) -> Result<(), SendError> {
        let options = self.endpoint.options.borrow();
        if self.state.get() != State::Open {
            return Err(self.send_refusal());
        }
        if options.framing.begins_with_http() {
            return Err(SendError::OutOfTurn);
        }
        self.sending_ended.set(true);
        self.sending_parts.set(true);
        self.unsettle();
        Ok(())
    }

    /// End in good order: what waits is written, the peer is told, and its end is awaited for
    /// `close` at the most.
    pub fn close(self: &Rc<Self>, code: Code, text: &str) {
        match self.state.get() {
            State::Closing | State::Closed => return,
            State::Connecting => return self.abort(),
            State::Handshaking => {
                if let Some(status) = requests::is_between_requests(self) {
                    return requests::end_between_requests(self, Side::Local, status);
                }
                self.end_with(CloseReason::new(Cause::Closed, text));
                return self.abort_now();
            }
            State::Open => {}
        }
        let mut reason = CloseReason::new(Cause::Closed, text);
        if self.endpoint.options.borrow().framing == Framing::WebSocket {
            reason = reason.with_code(code);
        }
        self.end_with(reason);
        self.begin_closing(Some((code, text)));
    }

    /// End at once: what waits is dropped, and the peer sees a reset.
    pub fn abort(self: &Rc<Self>) {
        self.end_with(CloseReason::new(Cause::Aborted, "aborted by this end"));
        self.abort_now();
    }

    /// End because of a fault of ours or the peer's; the reason tells which.
    pub(crate) fn fail(self: &Rc<Self>, reason: CloseReason) {
        if self.state.get() >= State::Closing {
            return;
        }
        let websocket = self.endpoint.options.borrow().framing == Framing::WebSocket;
        let code = Code(reason.code.unwrap_or(Code::INTERNAL_ERROR.0));
        let text = reason.text.clone();
        self.end_with(reason);
        let is_established = websocket && self.state.get() == State::Open;
        if requires!("rfc6455/7.1.7/3", "rfc6455/10.7/3" => is_established) {
            self.begin_closing(Some((code, &text)));
            // RFC 6455 7.1.7: the peer's close frame is not awaited.
            requires!("rfc6455/7.1.7/5");
            self.close_frames.set(CloseFrames::NotAwaited);
        } else {
            self.abort_now();
        }
    }

    /// The host's handler failed: 1011 on WebSocket, a close elsewhere.
    pub fn fail_in_handler(self: &Rc<Self>) {
        let reason = CloseReason::new(Cause::HandlerFailed, "the handler failed");
        match self.state.get() {
            State::Open if self.endpoint.options.borrow().framing != Framing::WebSocket => {
                self.end_with(reason);
                self.begin_closing(None);
            }
            _ => {
                if requires!("rfc6455/7.4.1/h6") {
                    self.fail(reason.with_code(Code::INTERNAL_ERROR));
                }
            }
        }
    }

    /// Keep the first reason that is given. A code of ours is kept as it is sent to the peer.
    pub(crate) fn end_with(&self, mut reason: CloseReason) {
        let mut kept = self.reason.borrow_mut();
        if let Some(kept) = kept.as_deref_mut() {
            if self.is_unacknowledged(kept, &reason) {
                kept.close_failed(reason);
            }
            return;
        }
        if reason.side == Side::Local
            && let Some(code) = reason.code
        {
            let sent = (self.profile().codes.sent_for)(Code(code));
            reason.code = Some(sent.map_or(code, |sent| sent.0));
        }
        *kept = Some(Box::new(reason));
    }

    /// Whether this end's close, which was `kept` as the reason, came to nothing because of another:
    /// the peer did not answer it.
    fn is_unacknowledged(&self, kept: &CloseReason, other: &CloseReason) -> bool {
        let is_ours = kept.cause == Cause::Closed && other.manner == Manner::Broken;
        let frames = self.close_frames.get();
        let is_lost = match other.cause {
            Cause::Kernel(_) => !frames.is_received(),
            _ => frames == CloseFrames::Sent,
        };
        self.opened.get() && is_ours && is_lost
    }

    pub(crate) fn abort_now(self: &Rc<Self>) {
        if self.state.get() == State::Closed {
            return;
        }
        self.abort.set(true);
        self.reset.set(true);
        self.unsettle();
    }

    /// Enter `Closing`, with a close frame where the framing has one.
    pub(crate) fn begin_closing(self: &Rc<Self>, close_frame: Option<(Code, &str)>) {
        if requires!("rfc6455/7.1.3/h1") {
            self.state.set(State::Closing);
        }
        self.phase_began.set(self.engine.now_ms());
        if let Some((code, text)) = close_frame
            && self.endpoint.options.borrow().framing == Framing::WebSocket
            && !self.close_frames.get().is_sent()
        {
            let is_answer = self.close_frames.get().is_received();
            self.close_frames.set(self.close_frames.get().after_sent());
            let payload = if is_answer {
                close::echo(self.profile(), code)
            } else {
                close::encode(self.profile(), code, text)
            };
            if requires!(
                "rfc6455/7.1.2/1",
                "rfc6455/5.5.1/1",
                "rfc6455/5.5.1/3",
                "rfc6455/7.3/1",
                "rfc6455/7.4/1"
            ) {
                self.send_control(Opcode::Close, payload.as_slice());
            }
        }
        self.unsettle();
        self.engine.arm(self);
    }

    /// The handshake's place in the endpoint's count is given up, once.
    pub(crate) fn handshake_over(&self) {
        if !self.shaken.replace(true) {
            self.endpoint.handshake_over();
        }
    }

    /// Put it on the list of connections to be settled at the round's end.
    #[inline]
    pub(crate) fn unsettle(self: &Rc<Self>) {
        if !self.unsettled.replace(true) {
            self.engine.add_unsettled(self);
        }
    }

    /// Whether bytes that arrive must wait.
    #[inline]
    pub(crate) fn is_blocked(&self) -> bool {
        (self.is_held_back() || self.over_budget.get()) && self.state.get() <= State::Open
    }

    /// Whether the peer is held back: by the host, or because it does not read what it is sent.
    #[inline]
    pub(crate) fn is_held_back(&self) -> bool {
        self.paused.get() != 0
            || self.above_high.get() && !self.endpoint.options.borrow().reads_when_crowded
    }

    /// Give the answer to a request that was answered with [`Answer::Later`]. Like everything that
    /// a host asks for, it takes effect when the round is settled. The first answer stands.
    pub fn answer(self: &Rc<Self>, answer: Answer) {
        if self.state.get() == State::Handshaking {
            self.engine
                .answers
                .borrow_mut()
                .push((self.clone(), answer));
            self.unsettle();
        }
    }
}
