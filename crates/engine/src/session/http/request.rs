//! A server's side: a request is read, checked, given to the host, and answered.

use super::super::sink::{HttpSink, Outcome};
use super::super::websocket::{self, compression};
use super::super::{Session, Stage};
use super::Answer;
use super::{body, exchange, streaming};
use crate::memory;
use crate::options::{Framing, WebSocketOptions};
use vespiary_trace::requires;
use vespiary_wire::http::{self, Refusal, Request};
use vespiary_wire::websocket::deflate_stream;
use vespiary_wire::websocket::handshake::{self as wire, Acceptance, Agreed, Upgrade};
use vespiary_wire::websocket::profile::Version;

/// How a TLS record with a `ClientHello` begins (RFC 8446 section 5.1).
const TLS_HANDSHAKE: &[u8] = &[22, 3];

/// Read on in a request's head.
pub(super) fn read<S: HttpSink>(
    session: &mut Session<S::Payload>,
    sink: &S,
    rest: &mut &[u8],
) -> Outcome {
    let Stage::Head(head) = &mut session.stage else {
        unreachable!("the caller matched")
    };
    sink.request_begun();
    let limits = sink.options().limits.head();
    let buffered = head.buffer.len();
    // The usual head comes whole and is parsed where it lies.
    let parsed = if buffered == 0 {
        head.reader.parse(rest, &limits)
    } else {
        memory::extend(&mut head.buffer, rest)?;
        head.reader.parse(&head.buffer, &limits)
    };
    match parsed {
        Ok(None) => {
            if buffered == 0 {
                memory::extend(&mut head.buffer, rest)?;
            }
            *rest = &[];
        }
        Ok(Some((request, end))) => {
            *rest = &rest[end - buffered..];
            head.buffer = Vec::new();
            on_request(session, sink, request);
        }
        Err(mut refusal) => {
            let begun = if buffered == 0 { *rest } else { &head.buffer };
            if begun.starts_with(TLS_HANDSHAKE) {
                let text = "a TLS handshake came to an endpoint without TLS";
                refusal = Refusal::new(400, text).with_advice(
                    "the client must use ws:// or http://, or a proxy in front that speaks TLS",
                );
            }
            head.exchange.is_head = begun.trim_ascii_start().starts_with(b"HEAD ");
            *rest = &[];
            if let Some(limit) = refusal.limit {
                sink.limit_reached(limit.into());
            } else {
                sink.count_protocol_error();
            }
            exchange::refuse(session, sink, &refusal);
        }
    }
    Ok(())
}

fn on_request<S: HttpSink>(session: &mut Session<S::Payload>, sink: &S, request: Request) {
    let Stage::Head(head) = &session.stage else {
        unreachable!("the caller matched")
    };
    let admitted = sink.client_named(&request);
    let route = sink.route(&request);
    let is_served = route.is_some();
    let options = route.unwrap_or_else(|| sink.options());
    let is_websocket = is_served && options.framing == Framing::WebSocket;
    let is_upgrade = is_websocket && wire::is_upgrade(&request, &options.websocket.versions);
    let exchange = head.exchange.next(&request, is_upgrade);
    let Stage::Head(mut waiting) = std::mem::replace(&mut session.stage, Stage::Discard) else {
        unreachable!("the caller matched")
    };
    waiting.follow(exchange);
    let checked = http::check_service(&request, options.secure).and_then(|()| {
        if is_upgrade {
            let upgrade = check_upgrade(&request, &options.websocket)?;
            sink.negotiated().version.set(Some(upgrade.version));
            waiting.upgrade = Some(Box::new(upgrade));
            return Ok(());
        }
        if is_websocket {
            waiting.unserved = Some(Box::new(wire::refuse_plain(&request)));
        }
        Ok(())
    });
    session.stage = Stage::Waiting(waiting);
    if let Err(limit) = admitted {
        sink.limit_reached(limit);
        return exchange::refuse(session, sink, &exchange::over_limit(limit));
    }
    if let Err(refusal) = checked {
        sink.count_protocol_error();
        requires!("rfc6455/4.2.1/1", "rfc6455/10.7/4");
        return exchange::refuse(session, sink, &refusal);
    }
    if !is_served {
        let text = format!("nothing is served at {}", request.target());
        sink.denied(404, &text, "");
        return give(session, sink, nothing_served());
    }
    if requires!("rfc9112/9.3/5" => !is_upgrade && request.has_body()) {
        return body::begin(session, sink, request);
    }
    ask(session, sink, request, Vec::new());
}

/// Ask the host for its answer, now that the request and its body are there.
pub(super) fn ask<S: HttpSink>(
    session: &mut Session<S::Payload>,
    sink: &S,
    request: Request,
    body: Vec<u8>,
) {
    let answer = sink.request(request, body);
    give(session, sink, answer);
    // Most applications have answered by now.
    if let Some(step) = sink.take_only_step() {
        streaming::take(session, sink, step);
        if let Stage::Head(head) = &mut session.stage {
            head.was_called = true;
        }
    }
}

/// The host accepts a request that cannot become a WebSocket.
const NO_RESPONSE: &str = "on_request returned None or request.accept(), and an http:// request \
    needs a response: return request.respond(status, body), with status 404 where there is nothing";

fn nothing_served() -> Answer {
    Answer::Respond {
        status: 404,
        headers: vec![(
            "Content-Type".to_owned(),
            "text/plain; charset=utf-8".to_owned(),
        )],
        body: b"nothing is served at this path\n".to_vec(),
    }
}

/// What the protocol and the endpoint's options ask of an upgrade.
fn check_upgrade(request: &Request, options: &WebSocketOptions) -> Result<Upgrade, Refusal> {
    let upgrade = wire::check(request, &options.versions)?;
    let is_unwelcome = !options.allows_origin(upgrade.origin.as_deref());
    let is_refused =
        requires!("rfc6455/10.2/1", "rfc6455/10.2/2", "rfc6455/4.2.2/4" => is_unwelcome);
    if !is_refused {
        return Ok(upgrade);
    }
    let text = match &upgrade.origin {
        Some(origin) => format!("pages of {origin} may not connect here (RFC 6455 10.2)"),
        None => "a request without Origin may not connect here (RFC 6455 10.2)".to_owned(),
    };
    Err(Refusal::new(403, text)
        .with_advice("see origins and origin_required of vespiary.WebSocket to allow it"))
}

/// Answer as the host says.
pub(crate) fn give<S: HttpSink>(session: &mut Session<S::Payload>, sink: &S, answer: Answer) {
    if !sink.awaits_answer() {
        return;
    }
    let head = match &mut session.stage {
        Stage::Waiting(head) => head,
        Stage::Body(body) if body.is_handed_over() => &mut body.head,
        _ => return,
    };
    if head.exchange.writer.is_some() {
        return;
    }
    match answer {
        Answer::Later => {}
        Answer::Accept { protocol, headers } => {
            let Some(upgrade) = head.upgrade.take() else {
                return match head.unserved.take() {
                    Some(refusal) => exchange::refuse(session, sink, &refusal),
                    None => exchange::fault(session, sink, NO_RESPONSE),
                };
            };
            accept(session, sink, &upgrade, protocol, &headers);
        }
        Answer::Respond {
            status,
            headers,
            body,
        } => {
            if head.upgrade.is_some() {
                sink.denied(status, "on_request refused the handshake", "");
            }
            exchange::respond(session, sink, status, headers, &body);
        }
    }
}

fn accept<S: HttpSink>(
    session: &mut Session<S::Payload>,
    sink: &S,
    upgrade: &Upgrade,
    protocol: Option<String>,
    headers: &[(String, String)],
) {
    let awaits_continue = match &session.stage {
        Stage::Waiting(head) => head.exchange.awaits_continue,
        _ => false,
    };
    let all = sink.request_options();
    let options = &all.websocket;
    let protocol = match protocol {
        None => options
            .choose_subprotocol(&upgrade.protocols)
            .map(str::to_owned),
        Some(none) if none.is_empty() => None,
        chosen => chosen,
    };
    if let Some(protocol) = &protocol
        && requires!("rfc6455/4.2.2/8" => !upgrade.protocols.contains(protocol))
    {
        let text = format!(
            "on_request chose the subprotocol {protocol:?}, which the client did not offer"
        );
        return exchange::fault(session, sink, &text);
    }
    let mut response = Vec::with_capacity(256);
    if requires!("rfc9110/7.8/12" => awaits_continue) {
        response.extend_from_slice(exchange::CONTINUE);
    }
    let mut headers = [&options.headers[..], headers].concat();
    let profile = upgrade.version.profile();
    if requires!("hybi09/11.8/h1" => profile.origin_is_confirmed)
        && let Some(origin) = upgrade.origin.as_ref().filter(|it| it.is_ascii())
    {
        headers.push((profile.origin_header.to_owned(), origin.clone()));
    }
    let deflate = compression::answer(&all, upgrade.version, &upgrade.extensions);
    let deflate_stream = options.deflate_stream
        && upgrade.version == Version::Hybi09
        && deflate_stream::is_offered(&upgrade.extensions);
    let stream = deflate_stream.then(|| deflate_stream::NAME.to_owned());
    let extensions = deflate.map(|agreed| agreed.to_string()).or(stream);
    let acceptance = Acceptance {
        accept: &wire::accept_value(&upgrade.key),
        protocol: protocol.as_deref(),
        extensions: extensions.as_deref(),
        extra: &headers,
    };
    if let Err(error) = wire::append_response(&mut response, &acceptance) {
        return exchange::fault(session, sink, &error.to_string());
    }
    requires!("rfc6455/4.2.2/1");
    sink.write(&response);
    sink.settle_route();
    let agreed = Agreed {
        protocol,
        deflate,
        deflate_stream,
    };
    websocket::begin(session, sink, agreed);
}

/// The server stops: refuse a request that has not come whole. Whether there was one.
pub(crate) fn refuse_unfinished<S: HttpSink>(session: &mut Session<S::Payload>, sink: &S) -> bool {
    let has_begun = match &session.stage {
        Stage::Head(head) => !head.buffer.is_empty(),
        Stage::Body(_) => true,
        _ => false,
    };
    if has_begun {
        let refusal = Refusal::new(503, "the server is stopping").with_header("Retry-After", "1");
        exchange::refuse(session, sink, &refusal);
    }
    has_begun
}

/// Refuse what is in progress because the handshake's deadline has passed.
pub(crate) fn refuse_late<S: HttpSink>(session: &mut Session<S::Payload>, sink: &S, text: &str) {
    let refusal = match &mut session.stage {
        Stage::Head(head) => {
            head.exchange.is_head = head.buffer.trim_ascii_start().starts_with(b"HEAD ");
            Refusal::new(408, text)
        }
        // The host does not read it.
        Stage::Body(body) if body.is_handed_over() && sink.is_blocked() => not_in_time(),
        Stage::Body(_) => {
            requires!("rfc9112/6.3/8");
            Refusal::new(408, text)
        }
        // The request was in time; the host's answer is not.
        _ => not_in_time(),
    };
    exchange::refuse(session, sink, &refusal);
}

fn not_in_time() -> Refusal {
    Refusal::new(503, "the server did not answer in time")
}
