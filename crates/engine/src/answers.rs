//! HTTP answers other than 101, and the connection behind them: kept for the next request, or
//! closed.
//!
//! A connection is kept (RFC 9112 section 9.3) when the request was understood and well-formed, had
//! no body, asked for no upgrade and not for the end, and neither the host's answer nor a limit
//! ends it. Requests that were sent ahead are answered in their order, one after another: the next
//! head is not looked at before the answer to the last one is queued. Between requests the
//! connection holds no place among the pending handshakes, and has the `keep_alive` deadline; from
//! a request's first byte on it has the `handshake` deadline again. `message_began`, which belongs
//! to open connections, tells the two apart here: it is the moment of the latest answer, and 0
//! while a request is under way.
//!
//! Whatever was refused for its form ends the connection: where the next request begins is then
//! anybody's guess.

use crate::close::{Cause, CloseReason, Side};
use crate::connection::{Connection, State};
use crate::engine::Engine;
use crate::handshake::Head;
use crate::host::Host;
use crate::limit::Limit;
use crate::options::Framing;
use crate::receive::Inbound;
use crate::session::Stage;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};
use vespiary_trace::requires;
use vespiary_wire::http::{self, Refusal, Request};

/// What the answer to a request depends on.
#[derive(Clone, Copy, Default)]
pub(crate) struct Exchange {
    /// The request was HEAD: the answer has no body.
    pub(crate) is_head: bool,
    /// The client awaits 100 before anything else.
    pub(crate) awaits_continue: bool,
    is_kept: bool,
    /// Requests answered before this one on the connection, and the latest answer's status.
    served: u32,
    status: u16,
}

impl Exchange {
    /// The next one on the same connection.
    pub(crate) fn next(self, request: &Request, is_upgrade: bool) -> Self {
        Self {
            is_head: request.method == "HEAD",
            awaits_continue: request.expects_continue(),
            is_kept: request.may_persist() && !is_upgrade,
            ..self
        }
    }
}

impl<H: Host> Engine<H> {
    /// Take the date of HTTP answers from this clock.
    pub fn set_wall_clock(&self, clock: fn() -> SystemTime) {
        self.wall_clock.set(clock);
    }

    /// The date, in seconds since 1970.
    fn unix_seconds(&self) -> u64 {
        let since = self.wall_clock.get()().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_secs())
    }
}

fn exchange<H: Host>(inbound: &Inbound<H>) -> Exchange {
    match &inbound.session.stage {
        Stage::Head(head) | Stage::Waiting(head) => head.exchange(),
        _ => Exchange::default(),
    }
}

/// A request's first byte has come.
pub(crate) fn begun<H: Host>(connection: &Rc<Connection<H>>) {
    if connection.message_began.replace(0) != 0 {
        connection.phase_began.set(connection.engine.now_ms());
        connection.engine.arm(connection);
    }
}

/// Answer as the host wants it.
pub(crate) fn respond<H: Host>(
    connection: &Rc<Connection<H>>,
    inbound: &mut Inbound<H>,
    status: u16,
    mut headers: Vec<(String, String)>,
    body: &[u8],
) {
    if status < 200 {
        let text = format!("an HTTP answer of status {status} ends nothing: use 200 to 599");
        return fault(connection, inbound, &text);
    }
    let exchange = exchange(inbound);
    let is_kept = may_keep(connection, exchange, &headers);
    let now = connection.engine.unix_seconds();
    let is_websocket = connection.endpoint.options.borrow().framing == Framing::WebSocket;
    complete(&mut headers, status, now, is_kept, is_websocket);

    let mut response = Vec::with_capacity(256 + body.len());
    if let Err(error) = http::append_response(&mut response, status, &headers, body) {
        return fault(connection, inbound, &error.to_string());
    }
    if requires!(
        "rfc6455/4.2.2/3",
        "rfc6455/4.2.2/5",
        "rfc6455/4.2.2/7",
        "rfc6455/4.2.2/h9"
    ) {
        write(connection, response, exchange.is_head);
    }
    connection.endpoint.count_answer(status);
    if is_kept {
        keep(connection, inbound, exchange, status);
    } else {
        let text = format!("answered {status}");
        let reason = CloseReason::new(Cause::Answered, text);
        close(connection, inbound, reason, status);
    }
}

/// Answer with a refusal of our own, and close.
pub(crate) fn refuse<H: Host>(
    connection: &Rc<Connection<H>>,
    inbound: &mut Inbound<H>,
    refusal: &Refusal,
) {
    let is_head = exchange(inbound).is_head;
    let mut response = Vec::with_capacity(256);
    refusal
        .clone()
        .with_header("Date", &http::date(connection.engine.unix_seconds()))
        .append_to(&mut response)
        .expect("our own refusals have clean headers");
    write(connection, response, is_head);
    connection.endpoint.count_answer(refusal.status);
    let reason = CloseReason::new(Cause::RequestRefused, refusal.text.clone());
    close(connection, inbound, reason, refusal.status);
}

/// The host's answer cannot be sent: tell the host, and the client 500.
pub(crate) fn fault<H: Host>(connection: &Rc<Connection<H>>, inbound: &mut Inbound<H>, text: &str) {
    connection.engine.host.fault(connection, text);
    let refusal = Refusal::new(500, "the server's answer could not be sent");
    refuse(connection, inbound, &refusal);
}

/// Tell a connection that is over a limit why it is refused, and close it.
pub(crate) fn refuse_crowd<H: Host>(connection: &Rc<Connection<H>>, limit: Limit) {
    connection.state.set(State::Handshaking);
    let text = format!("the server has reached {limit}; try again later");
    let refusal = Refusal::new(503, text).with_header("Retry-After", "1");
    let mut inbound = connection.inbound.borrow_mut();
    refuse(connection, &mut inbound, &refusal);
    drop(inbound);
    connection.engine.arm(connection);
}

/// The status of the latest answer, on a connection that waits for its next request.
pub(crate) fn is_between_requests<H: Host>(connection: &Connection<H>) -> Option<u16> {
    let waits = connection.state.get() == State::Handshaking && connection.message_began.get() != 0;
    waits.then(|| exchange(&connection.inbound.borrow()).status)
}

/// End a connection between two requests, in good order: at once where nothing waits to be sent. A
/// client often notices only when it wants to send its next request, and need not be waited for.
pub(crate) fn end_between_requests<H: Host>(
    connection: &Rc<Connection<H>>,
    side: Side,
    status: u16,
) {
    let reason = CloseReason::new(Cause::Answered, format!("answered {status}")).by(side);
    if connection.queued_bytes() == 0 {
        connection.end_with(reason.with_status(Some(status)));
        connection.abort.set(true);
        return connection.unsettle();
    }
    let mut inbound = connection.inbound.borrow_mut();
    close(connection, &mut inbound, reason, status);
}

fn may_keep<H: Host>(
    connection: &Rc<Connection<H>>,
    exchange: Exchange,
    headers: &[(String, String)],
) -> bool {
    let options = connection.endpoint.options.borrow();
    let most = options.limits.requests_per_connection_max;
    exchange.is_kept
        && most.is_none_or(|most| exchange.served.saturating_add(1) < most)
        && !requires!("rfc9112/9.6/6", "rfc9112/9.6/7" => lists(headers, "connection", "close"))
}

fn lists(headers: &[(String, String)], name: &str, token: &str) -> bool {
    headers
        .iter()
        .filter(|(present, _)| present.eq_ignore_ascii_case(name))
        .flat_map(|(_, value)| value.split(','))
        .any(|present| present.trim().eq_ignore_ascii_case(token))
}

/// Adds what HTTP asks for beside what the host wrote.
fn complete(
    headers: &mut Vec<(String, String)>,
    status: u16,
    now: u64,
    is_kept: bool,
    is_websocket: bool,
) {
    let is_dated = headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("date"));
    if requires!("rfc9110/6.6.1/2" => !is_dated) {
        headers.push(("Date".to_owned(), http::date(now)));
    }
    let lacks_upgrade = status == 426 && is_websocket && !lists(headers, "upgrade", "websocket");
    if requires!("rfc9110/7.8/7", "rfc9110/15.5.22/1" => lacks_upgrade) {
        headers.push(("Upgrade".to_owned(), "websocket".to_owned()));
    }
    let has_upgrade = headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("upgrade"));
    let lacks_option = has_upgrade && !lists(headers, "connection", "upgrade");
    if requires!("rfc9110/7.8/10" => lacks_option) {
        headers.push(("Connection".to_owned(), "Upgrade".to_owned()));
    }
    let lacks_close = !is_kept && !lists(headers, "connection", "close");
    if requires!("rfc9112/9.6/1", "rfc9112/9.6/4" => lacks_close) {
        headers.push(("Connection".to_owned(), "close".to_owned()));
    }
}

fn write<H: Host>(connection: &Rc<Connection<H>>, mut response: Vec<u8>, cut_body: bool) {
    if requires!("rfc9110/9.3.2/1" => cut_body) {
        let end = http::head_end(&response, 0).unwrap_or(response.len());
        response.truncate(end);
    }
    connection.append(response.len(), |buffer| buffer.extend_from_slice(&response));
    let options = connection.endpoint.options.borrow();
    connection.queued(&options, connection.queued_bytes());
}

fn keep<H: Host>(
    connection: &Rc<Connection<H>>,
    inbound: &mut Inbound<H>,
    exchange: Exchange,
    status: u16,
) {
    let next = Exchange {
        served: exchange.served.saturating_add(1),
        status,
        ..Exchange::default()
    };
    inbound.session.stage = Stage::Head(Box::new(Head::following(next)));
    connection.handshake_over();
    let now = connection.engine.now_ms();
    connection.phase_began.set(now);
    connection.message_began.set(now.max(1));
    connection.engine.spend_frames(connection, 1);
    connection.engine.arm(connection);
}

fn close<H: Host>(
    connection: &Rc<Connection<H>>,
    inbound: &mut Inbound<H>,
    reason: CloseReason,
    status: u16,
) {
    connection.end_with(reason.with_status(Some(status)));
    if requires!("rfc6455/7.2.2/1") {
        connection.begin_closing(None);
    }
    inbound.session.stage = Stage::Discard;
}
