//! HTTP answers other than 101, and the connection behind them: kept for the next request, or
//! closed.
//!
//! A connection is kept (RFC 9112 section 9.3) when the request was understood and well-formed, its
//! body was read, it asked for no upgrade and not for the end, and neither the host's answer, a
//! limit nor a client that has finished sending ends it. Requests that were sent ahead are answered
//! in their order, one after another: the next head is not checked before the answer to the last
//! one is queued. Between requests the connection holds no place among the pending handshakes, and
//! has the `keep_alive` deadline; from a request's first byte on it has the `handshake` deadline
//! again.
//!
//! A malformed request ends the connection, because nobody knows where the next request begins.

use super::super::sink::HttpSink;
use super::super::{Session, Stage};
use super::Head;
use crate::close::{Cause, CloseReason};
use crate::limit::Limit;
use crate::options::Framing;
use vespiary_trace::requires;
use vespiary_wire::http::{self, BodyWriter, Facts, Refusal, Request};

/// What tells a client to send the body of its request.
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What the answer to a request depends on.
#[derive(Clone, Copy, Default)]
pub(super) struct Exchange {
    /// The request was HEAD: the answer has no body.
    pub(super) is_head: bool,
    /// The client awaits 100 before anything else.
    pub(super) awaits_continue: bool,
    /// The request is of HTTP/1 point this.
    pub(super) minor_version: u8,
    /// How the body of the response goes out whose head was sent.
    pub(super) writer: Option<BodyWriter>,
    pub(super) is_kept: bool,
    /// Requests answered before this one on the connection, and the latest answer's status.
    served: u32,
    pub(super) status: u16,
}

impl Exchange {
    /// The next one on the same connection.
    pub(super) fn next(self, request: &Request, is_upgrade: bool) -> Self {
        let is_unread = request.has_body();
        // Without a body nothing is awaited, but an upgrade begins with 100 if it was expected.
        let may_await = is_unread || is_upgrade;
        Self {
            is_head: request.method() == "HEAD",
            awaits_continue: may_await && request.expects_continue(),
            minor_version: request.minor_version,
            writer: None,
            is_kept: request.may_persist() && !is_upgrade && !is_unread,
            ..self
        }
    }

    /// The body of `request` was read, or will be: what follows it is the next request.
    pub(super) fn body_was_read(&mut self, request: &Request) {
        self.is_kept = request.may_persist();
    }
}

fn exchange<P>(session: &Session<P>) -> Exchange {
    match &session.stage {
        Stage::Head(head) | Stage::Waiting(head) => head.exchange,
        Stage::Body(body) => body.head.exchange,
        _ => Exchange::default(),
    }
}

/// Answer as the host wants it.
pub(super) fn respond<S: HttpSink>(
    session: &mut Session<S::Payload>,
    sink: &S,
    status: u16,
    mut headers: Vec<(String, String)>,
    body: &[u8],
) {
    if status < 200 {
        let text = format!("an HTTP answer of status {status} ends nothing: use 200 to 599");
        return fault(session, sink, &text);
    }
    let exchange = exchange(session);
    let facts = Facts::of(&headers);
    let is_kept = may_keep(sink, exchange, &facts) && may_drop_rest(session);
    let is_websocket = sink.request_options().framing == Framing::WebSocket;
    let offered = (status == 426 && is_websocket).then_some("websocket");
    complete(&facts, offered, &sink.date(), is_kept, |name, value| {
        headers.push((name.to_owned(), value.to_owned()));
    });

    let mut response = Vec::with_capacity(256 + body.len());
    if let Err(error) = http::append_response(&mut response, status, &headers, body) {
        return fault(session, sink, &error.to_string());
    }
    requires!(
        "rfc6455/4.2.2/3",
        "rfc6455/4.2.2/5",
        "rfc6455/4.2.2/7",
        "rfc6455/4.2.2/h9"
    );
    write(sink, response, exchange.is_head);
    sink.count_answer(status);
    go_on(session, sink, exchange, status, is_kept);
}

/// The last byte of a response that was begun before is queued.
pub(super) fn complete_answer<S: HttpSink>(session: &mut Session<S::Payload>, sink: &S) {
    let exchange = exchange(session);
    let is_kept = exchange.is_kept && !sink.has_peer_ended() && may_drop_rest(session);
    go_on(session, sink, exchange, exchange.status, is_kept);
}

/// The answer is complete: the rest of the request's body is dropped, and the next request follows,
/// or the connection ends.
pub(super) fn go_on<S: HttpSink>(
    session: &mut Session<S::Payload>,
    sink: &S,
    exchange: Exchange,
    status: u16,
    is_kept: bool,
) {
    if !is_kept {
        let text = format!("answered {status}");
        let reason = CloseReason::new(Cause::Answered, text);
        return close(session, sink, reason, status);
    }
    match &mut session.stage {
        Stage::Body(body) => {
            body.head.exchange.status = status;
            body.drop_rest(status);
            sink.response_begun(true);
        }
        _ => keep(session, sink, exchange, status),
    }
}

/// Whether the rest of the request's body, if there is one, can be read for nothing.
pub(super) fn may_drop_rest<P>(session: &Session<P>) -> bool {
    match &session.stage {
        Stage::Body(body) => body.may_be_dropped(),
        _ => true,
    }
}

/// The refusal of a request, or a connection, that is over a limit.
pub(crate) fn over_limit(limit: Limit) -> Refusal {
    let text = format!("the server has reached {limit}; try again later");
    Refusal::new(503, text).with_header("Retry-After", "1")
}

/// Answer with a refusal of our own, report it, and close.
pub(crate) fn refuse<S: HttpSink>(session: &mut Session<S::Payload>, sink: &S, refusal: &Refusal) {
    sink.denied(refusal.status, &refusal.text, refusal.advice);
    give_refusal(session, sink, refusal);
}

fn give_refusal<S: HttpSink>(session: &mut Session<S::Payload>, sink: &S, refusal: &Refusal) {
    let is_head = exchange(session).is_head;
    let mut response = Vec::with_capacity(256);
    refusal
        .clone()
        .with_header("Date", &sink.date())
        .append_to(&mut response)
        .expect("our own refusals have clean headers");
    write(sink, response, is_head);
    sink.count_answer(refusal.status);
    let reason = CloseReason::new(Cause::RequestRefused, refusal.text.clone());
    if matches!(&session.stage, Stage::Body(body) if body.is_handed_over()) {
        sink.body_failed(&reason);
    }
    close(session, sink, reason, refusal.status);
}

/// The host's answer cannot be sent: tell the host, and the client 500.
pub(super) fn fault<S: HttpSink>(session: &mut Session<S::Payload>, sink: &S, text: &str) {
    sink.fault(text);
    let refusal = Refusal::new(500, "the server's answer could not be sent");
    give_refusal(session, sink, &refusal);
}

/// Whether a request is in progress whose answer a peer that has finished sending still reads. A
/// WebSocket needs both directions.
pub(crate) fn may_still_answer<P>(session: &Session<P>) -> bool {
    matches!(&session.stage, Stage::Waiting(head) if head.upgrade.is_none())
}

/// Whether the answer is complete, and the rest of the request's body is dropped.
pub(crate) fn is_dropping_body<P>(session: &Session<P>) -> bool {
    matches!(&session.stage, Stage::Body(body) if body.is_dropped())
}

/// The status of the latest answer.
pub(crate) fn latest_status<P>(session: &Session<P>) -> u16 {
    exchange(session).status
}

pub(super) fn may_keep<S: HttpSink>(sink: &S, exchange: Exchange, facts: &Facts) -> bool {
    let options = sink.options();
    let most = options.limits.requests_per_connection_max;
    let ends = requires!("rfc9112/9.6/6", "rfc9112/9.6/7" => facts.lists_close);
    exchange.is_kept
        && most.is_none_or(|most| exchange.served.saturating_add(1) < most)
        && !ends
        && !sink.has_peer_ended()
}

/// Adds what HTTP asks for besides what the host wrote, of which these are the facts. A protocol
/// that is `offered` must be in `Upgrade`.
pub(super) fn complete(
    facts: &Facts,
    offered: Option<&str>,
    date: &str,
    is_kept: bool,
    mut add: impl FnMut(&str, &str),
) {
    if requires!("rfc9110/6.6.1/2" => !facts.is_dated) {
        add("Date", date);
    }
    let lacking = offered.filter(|_| !facts.offers_websocket);
    let lacks_upgrade = lacking.is_some();
    if requires!("rfc9110/7.8/7", "rfc9110/15.5.22/1" => lacks_upgrade) {
        add("Upgrade", lacking.unwrap_or_default());
    }
    let has_upgrade = facts.has_upgrade || lacks_upgrade;
    let lacks_option = has_upgrade && !facts.lists_upgrade;
    if requires!("rfc9110/7.8/10" => lacks_option) {
        add("Connection", "Upgrade");
    }
    let lacks_close = !is_kept && !facts.lists_close;
    if requires!("rfc9112/9.6/1", "rfc9112/9.6/4" => lacks_close) {
        add("Connection", "close");
    }
}

fn write<S: HttpSink>(sink: &S, mut response: Vec<u8>, cut_body: bool) {
    if requires!("rfc9110/9.3.2/1" => cut_body) {
        let end = http::head_end(&response, 0).unwrap_or(response.len());
        response.truncate(end);
    }
    sink.write(&response);
}

pub(super) fn keep<S: HttpSink>(
    session: &mut Session<S::Payload>,
    sink: &S,
    exchange: Exchange,
    status: u16,
) {
    let next = Exchange {
        served: exchange.served.saturating_add(1),
        status,
        ..Exchange::default()
    };
    let mut head: Box<Head> = match std::mem::replace(&mut session.stage, Stage::Discard) {
        Stage::Waiting(head) => head,
        _ => Box::default(),
    };
    head.follow(next);
    session.stage = Stage::Head(head);
    sink.request_over();
}

pub(crate) fn close<S: HttpSink>(
    session: &mut Session<S::Payload>,
    sink: &S,
    reason: CloseReason,
    status: u16,
) {
    sink.finish(reason.with_status(Some(status)));
    session.stage = Stage::Discard;
}
