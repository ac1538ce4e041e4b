//! From received bytes to messages: one parse loop for each framing, and bytes that must wait.
//!
//! Bytes are parsed where the port put them; a message's payload is written once, into what the
//! host hands to its handler (and unmasked on the way). Bytes are copied aside only when the
//! connection is blocked: paused by the host, above its write limit, or over its inline budget.
//! What is held is bounded: once more than [`HELD_MAX`] waits, the receive is cancelled, and only
//! what the kernel had delivered by then is added.

use crate::close::{Cause, CloseReason};
use crate::connection::{CloseFrames, Connection, Event, State, Upgrade};
use crate::endpoint::add;
use crate::host::Host;
use crate::inbound::Inbound;
use crate::layering;
use crate::session::http::client;
use crate::session::websocket::compression;
use crate::session::{Session, Stage};
use std::rc::Rc;
use vespiary_trace::requires;

/// Bytes put aside before the receive is cancelled, while only the budget holds them back; and the
/// last bytes that are taken although the host's queues are full, so that the end behind them is
/// noticed. A message of one byte takes some fifty in a queue.
pub(crate) const HELD_MAX: usize = 256 << 10;
/// Bytes handed on from what was put aside in one turn.
const HELD_TAKEN_MAX: usize = 256 << 10;

/// TCP (or the Unix socket) is connected: begin the session, once the layers are ready for it.
pub(crate) fn connection_made<H: Host>(connection: &Rc<Connection<H>>) {
    connection
        .moments
        .phase_began
        .set(connection.engine.now_ms());
    connection.moments.heard.set(connection.engine.now_ms());
    connection
        .carrier
        .store_local(&**connection.engine.port.borrow());
    if connection.client {
        connection.engine.host.connected(connection);
        if connection.is_over() {
            return;
        }
    }
    if layering::install(connection) {
        begin(connection, &mut connection.inbound.borrow_mut());
    } else {
        connection.enter(Event::Secure);
        connection.unsettle();
    }
    connection.engine.arm(connection);
}

/// Whether an HTTP head comes before the messages.
fn has_head<H: Host>(connection: &Connection<H>, inbound: &Inbound<H::Payload>) -> bool {
    let options = connection.endpoint().options.borrow();
    options.framing.begins_with_http() || inbound.awaits_head()
}

/// Begin the handshake, or open at once.
pub(crate) fn begin<H: Host>(connection: &Rc<Connection<H>>, inbound: &mut Inbound<H::Payload>) {
    if connection.is_over() || connection.opened.get() {
        return;
    }
    if !has_head(connection, inbound) {
        inbound.session.stage = Stage::of_stream(&connection.endpoint().options.borrow().framing);
        return opened(connection);
    }
    if connection.state() != State::Handshaking {
        connection.enter(Event::Handshake);
    }
    if requires!("rfc6455/4.1/2", "rfc6455/4.1/17" => connection.client) {
        client::begin(&mut inbound.session, connection);
    }
}

/// The connection is ready for messages.
pub(crate) fn opened<H: Host>(connection: &Rc<Connection<H>>) {
    requires!("rfc6455/4.1/h2", "rfc6455/4.2.2/h8", "rfc6455/5.1/7");
    connection.enter(Event::Open);
    connection.opened.set(true);
    connection.handshake_over();
    let now = connection.engine.now_ms();
    connection.moments.phase_began.set(now);
    connection.moments.data_heard.set(now);
    add(&connection.endpoint().counters.opened, 1);
    connection.engine.host.opened(connection);
}

/// Bytes arrived.
#[inline]
pub(crate) fn received<H: Host>(connection: &Rc<Connection<H>>, bytes: &[u8]) {
    count(connection, bytes.len());
    let mut inbound = connection.inbound.borrow_mut();
    if inbound.held.is_some() || connection.is_blocked() {
        return hold(connection, &mut inbound, bytes);
    }
    let taken = feed(connection, &mut inbound, bytes);
    if taken < bytes.len() && !check_plain_end(connection, &mut inbound) {
        hold(connection, &mut inbound, &bytes[taken..]);
    }
}

/// Why a connection ends on which unprotected bytes came where protected ones begin.
pub(crate) fn unprotected() -> CloseReason {
    CloseReason::new(
        Cause::ProtocolError,
        "the peer sent more behind the message that starts TLS, without waiting for the handshake",
    )
}

/// A layer was started by the message that was handled last, and unprotected bytes are behind it:
/// the connection fails. Whether it does.
#[cold]
fn check_plain_end<H: Host>(
    connection: &Rc<Connection<H>>,
    inbound: &mut Inbound<H::Payload>,
) -> bool {
    let has_ended = connection.upgrade.get() != Upgrade::None;
    if has_ended {
        failed(connection, inbound, unprotected());
    }
    has_ended
}

/// Note that so many bytes came.
#[inline]
pub(crate) fn count<H: Host>(connection: &Connection<H>, length: usize) {
    connection.moments.heard.set(connection.engine.now_ms());
    connection.moments.ping_unanswered.set(0);
    add(&connection.traffic.bytes_in, length as u64);
    add(&connection.endpoint().counters.bytes_in, length as u64);
}

fn hold<H: Host>(connection: &Rc<Connection<H>>, inbound: &mut Inbound<H::Payload>, bytes: &[u8]) {
    if let Err(reason) = inbound.held.get_or_insert_default().extend(bytes) {
        failed(connection, inbound, reason);
    }
    connection.unsettle();
}

/// Bytes arrived for a connection that has used up its inline budget.
#[cold]
pub(crate) fn put_aside<H: Host>(connection: &Rc<Connection<H>>, bytes: &[u8]) {
    count(connection, bytes.len());
    hold(connection, &mut connection.inbound.borrow_mut(), bytes);
}

/// Hand on what was put aside, unless the connection is still blocked; a bounded piece a turn.
pub(crate) fn take_held<H: Host>(connection: &Rc<Connection<H>>) {
    let Ok(mut inbound) = connection.inbound.try_borrow_mut() else {
        return;
    };
    if connection.is_blocked() {
        return;
    }
    if connection.is_dropping() {
        // The message in progress is not delivered.
        inbound.session.assembly = None;
        compression::abandon(connection);
    }
    if connection.layered.get() {
        return layering::take_held(connection, &mut inbound);
    }
    if compression::is_waiting(connection) {
        // It goes before what is held, and may block the connection again.
        feed(connection, &mut inbound, &[]);
    }
    if connection.is_blocked() {
        return;
    }
    let Some(mut held) = inbound.held.take() else {
        return;
    };
    let piece = held.rest().len().min(HELD_TAKEN_MAX);
    let taken = feed(connection, &mut inbound, &held.rest()[..piece]);
    held.take(taken);
    if !held.rest().is_empty() && !check_plain_end(connection, &mut inbound) {
        inbound.held = Some(held);
        if taken == piece {
            connection.engine.set_resting(connection);
        }
    }
}

/// Whether so much waits that no more should be received. A client may continue to send while the
/// host has not answered its request.
pub(crate) fn is_full<H: Host>(connection: &Rc<Connection<H>>) -> bool {
    held_bytes(connection) > HELD_MAX
}

/// Received bytes that wait.
fn held_bytes<H: Host>(connection: &Rc<Connection<H>>) -> usize {
    let held = connection.inbound.borrow().held_bytes();
    if connection.layered.get() {
        return held + layering::waiting(connection).0;
    }
    held
}

pub(crate) fn has_held<H: Host>(connection: &Rc<Connection<H>>) -> bool {
    connection.inbound.borrow().held.is_some()
        || compression::is_waiting(connection)
        || connection.layered.get() && layering::waiting(connection).1
}

/// Whether a blocked connection's receive should be cancelled: at once when the peer must be held
/// back, later when only its budget is used up, which the next turn renews.
pub(crate) fn may_cancel<H: Host>(connection: &Rc<Connection<H>>) -> bool {
    connection.is_held_back() || is_full(connection)
}

/// What to say when the peer ended within a message; nothing when it did not.
pub(crate) fn cut_message<H: Host>(connection: &Rc<Connection<H>>) -> Option<&'static str> {
    // Where messages are dropped, nothing keeps track of them.
    let cut = !connection.is_dropping() && connection.inbound.borrow().session.is_mid_message();
    cut.then_some("the peer ended the stream within a message")
}

/// Parse `input` until it is used up, the connection is blocked, or it ends; how many bytes were
/// used.
#[inline]
pub(crate) fn feed<H: Host>(
    connection: &Rc<Connection<H>>,
    inbound: &mut Inbound<H::Payload>,
    input: &[u8],
) -> usize {
    if connection.fullness.get().owes_reading() {
        return feed_between_pauses(connection, inbound, input);
    }
    parse(connection, inbound, input)
}

/// Parse what is received first after a pause that the write queue made: from the next answer that
/// fills the queue again, reading stops.
#[cold]
fn feed_between_pauses<H: Host>(
    connection: &Rc<Connection<H>>,
    inbound: &mut Inbound<H::Payload>,
    input: &[u8],
) -> usize {
    let fullness = &connection.fullness;
    fullness.set(fullness.get().receive());
    let used = parse(connection, inbound, input);
    fullness.set(fullness.get().received());
    used
}

#[inline]
fn parse<H: Host>(
    connection: &Rc<Connection<H>>,
    inbound: &mut Inbound<H::Payload>,
    input: &[u8],
) -> usize {
    let mut rest = input;
    let parsed = if compression::is_waiting(connection) {
        compression::resume(&mut inbound.session.assembly, connection)
            .and_then(|()| inbound.session.feed(connection, &mut rest))
    } else {
        inbound.session.feed(connection, &mut rest)
    };
    if let Err(reason) = parsed {
        failed(connection, inbound, reason);
        rest = &[];
    }
    if connection.state() == State::Open && !connection.is_dropping() {
        watch_message(connection, inbound);
    }
    input.len() - rest.len()
}

/// The input cannot be taken: the connection fails. Nothing more is read from it, because where the
/// next message begins is unknown.
#[cold]
pub(crate) fn failed<H: Host>(
    connection: &Rc<Connection<H>>,
    inbound: &mut Inbound<H::Payload>,
    reason: CloseReason,
) {
    inbound.session = Session::new(Stage::Discard);
    if reason.cause == Cause::ProtocolError {
        add(&connection.endpoint().counters.protocol_errors, 1);
        requires!("rfc6455/7.1.7/2");
        // Before a server's connection is open, this refuses it, which is reported as that.
        if connection.opened.get() || connection.client {
            connection.engine.host.rule_broken(connection, &reason);
        }
    }
    if connection.state() == State::Open {
        connection.engine.host.ending(connection);
    }
    requires!("rfc6455/7.1.7/1", "rfc6455/7.1.7/2", "rfc6455/10.7/2");
    if connection.state() == State::Closing {
        // The peer's close frame, if it comes, cannot be found any more.
        if connection.close_frames.get().is_sent() {
            connection.end_with(reason.clone());
            connection.close_frames.set(CloseFrames::NotAwaited);
        }
        connection.unsettle();
    }
    connection.fail(reason);
}

/// Keep the message deadline: it counts from a message's first byte to the delivery of its last.
#[inline]
fn watch_message<H: Host>(connection: &Rc<Connection<H>>, inbound: &Inbound<H::Payload>) {
    if !inbound.session.is_mid_message() && !compression::is_waiting(connection) {
        connection.moments.message_began.set(0);
    } else if connection.moments.message_began.get() == 0 {
        connection
            .moments
            .message_began
            .set(connection.engine.now_ms().max(1));
        connection.engine.arm(connection);
    }
}

/// Methods for the engine, which does not import this file.
impl<H: Host> Connection<H> {
    pub(crate) fn begin_receiving(self: &Rc<Self>) {
        connection_made(self);
    }

    #[inline]
    pub(crate) fn take_input(self: &Rc<Self>, bytes: &[u8]) {
        received(self, bytes);
    }

    pub(crate) fn put_input_aside(self: &Rc<Self>, bytes: &[u8]) {
        put_aside(self, bytes);
    }

    pub(crate) fn take_held_input(self: &Rc<Self>) {
        take_held(self);
    }

    pub(crate) fn holds_enough(self: &Rc<Self>) -> bool {
        is_full(self)
    }

    pub(crate) fn held_input_bytes(self: &Rc<Self>) -> usize {
        held_bytes(self)
    }

    pub(crate) fn has_held_input(self: &Rc<Self>) -> bool {
        has_held(self)
    }

    pub(crate) fn may_cancel_receive(self: &Rc<Self>) -> bool {
        may_cancel(self)
    }

    pub(crate) fn cut_message(self: &Rc<Self>) -> Option<&'static str> {
        cut_message(self)
    }
}
