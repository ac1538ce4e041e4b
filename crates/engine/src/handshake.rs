//! The HTTP head at a connection's start: read, answered by the host, upgraded or closed.
//!
//! A server reads a request, asks the host, and answers 101 or whatever the host says; anything
//! malformed is answered with its status before the host hears of it. A client sends its request
//! and checks the answer.

use crate::close::{CloseReason, Manner, Side};
use crate::compression;
use crate::connection::{Connection, State};
use crate::declined::Declined;
use crate::endpoint::add;
use crate::host::{Answer, Host};
use crate::options::{Framing, WebSocketOptions};
use crate::receive::{Decode, Inbound};
use crate::websocket;
use std::rc::Rc;
use vespiary_trace::requires;
use vespiary_wire::http::{self, Refusal, Request, RequestReader, ResponseReader};
use vespiary_wire::websocket::deflate::Offer;
use vespiary_wire::websocket::deflate_stream;
use vespiary_wire::websocket::handshake::{self as wire, Agreed, Upgrade};
use vespiary_wire::websocket::profile::Version;

/// What a client asks for.
#[derive(Clone, Debug)]
pub struct ClientHandshake {
    /// The `Host` header's value.
    pub host: String,
    /// Path and query.
    pub target: String,
    /// Subprotocols offered, the best first.
    pub protocols: Vec<String>,
    /// Further headers.
    pub headers: Vec<(String, String)>,
}

struct ClientHead {
    declined: Option<Declined>,
    handshake: ClientHandshake,
    key: String,
    offer: Option<Offer>,
    reader: ResponseReader,
}

/// A head under way, and what must be remembered until it is answered.
#[derive(Default)]
pub(crate) struct Head {
    buffer: Vec<u8>,
    reader: RequestReader,
    client: Option<Box<ClientHead>>,
    upgrade: Option<Upgrade>,
    is_head_method: bool,
}

impl Head {
    pub(crate) fn buffer_bytes(&self) -> usize {
        size_of::<Self>() + self.buffer.capacity()
    }

    pub(crate) fn client(handshake: ClientHandshake) -> Self {
        let client = ClientHead {
            declined: None,
            handshake,
            key: String::new(),
            offer: None,
            reader: ResponseReader::new(),
        };
        Self {
            client: Some(Box::new(client)),
            ..Self::default()
        }
    }
}

/// Read on in a head; what follows it stays in `rest`.
pub(crate) fn feed<H: Host>(
    connection: &Rc<Connection<H>>,
    inbound: &mut Inbound<H>,
    rest: &mut &[u8],
) -> Result<(), CloseReason> {
    let Decode::Head(head) = &mut inbound.decode else {
        unreachable!("the caller matched")
    };
    if head.client.is_some() {
        read_response(connection, inbound, rest)
    } else {
        read_request(connection, inbound, rest);
        Ok(())
    }
}

fn read_request<H: Host>(
    connection: &Rc<Connection<H>>,
    inbound: &mut Inbound<H>,
    rest: &mut &[u8],
) {
    let Decode::Head(head) = &mut inbound.decode else {
        unreachable!("the caller matched")
    };
    let limits = connection.endpoint.options.borrow().limits.head();
    let buffered = head.buffer.len();
    // The usual head comes whole and is parsed where it lies.
    let parsed = if buffered == 0 {
        head.reader.parse(rest, &limits)
    } else {
        head.buffer.extend_from_slice(rest);
        head.reader.parse(&head.buffer, &limits)
    };
    match parsed {
        Ok(None) => {
            if buffered == 0 {
                head.buffer.extend_from_slice(rest);
            }
            *rest = &[];
        }
        Ok(Some((request, end))) => {
            *rest = &rest[end - buffered..];
            head.buffer = Vec::new();
            on_request(connection, inbound, request);
        }
        Err(refusal) => {
            *rest = &[];
            let endpoint = &connection.endpoint;
            if let Some(name) = refusal.limit {
                let options = endpoint.options();
                let value = options.limits.value_of(name);
                endpoint.limit_reached(&connection.engine.host, name, value);
            } else {
                add(&endpoint.counters.protocol_errors, 1);
            }
            refuse(connection, inbound, &refusal);
        }
    }
}

fn on_request<H: Host>(connection: &Rc<Connection<H>>, inbound: &mut Inbound<H>, request: Request) {
    let mut waiting = Head {
        is_head_method: request.method == "HEAD",
        ..Head::default()
    };
    let is_websocket = connection.endpoint.options.borrow().framing == Framing::WebSocket;
    let options = connection.endpoint.options();
    if is_websocket && wire::is_upgrade(&request, &options.websocket.versions) {
        match check_upgrade(&request, &options.websocket) {
            Ok(upgrade) => {
                connection.version.set(Some(upgrade.version));
                waiting.upgrade = Some(upgrade);
            }
            Err(refusal) => {
                add(&connection.endpoint.counters.protocol_errors, 1);
                if requires!("rfc6455/4.2.1/1", "rfc6455/10.7/4") {
                    return refuse(connection, inbound, &refusal);
                }
            }
        }
    }
    inbound.decode = Decode::Waiting(Box::new(waiting));
    let answer = connection.engine.host.request(connection, request);
    give(connection, inbound, answer);
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
    Err(Refusal::new(403, text))
}

/// An answer that was awaited has come.
pub(crate) fn answered<H: Host>(connection: &Rc<Connection<H>>, answer: Answer) {
    let mut inbound = connection.inbound.borrow_mut();
    give(connection, &mut inbound, answer);
    // Frames may have come behind the request.
    drop(inbound);
    connection.unsettle();
}

fn give<H: Host>(connection: &Rc<Connection<H>>, inbound: &mut Inbound<H>, answer: Answer) {
    if connection.state.get() != State::Handshaking || connection.abort.get() {
        return;
    }
    let Decode::Waiting(head) = &mut inbound.decode else {
        return;
    };
    match answer {
        Answer::Later => {}
        Answer::Accept { protocol, headers } => {
            let Some(upgrade) = head.upgrade.take() else {
                let refusal = Refusal::new(426, "this endpoint speaks WebSocket only")
                    .with_header("Upgrade", "websocket")
                    .with_header("Connection", "Upgrade, close");
                return refuse(connection, inbound, &refusal);
            };
            accept(connection, inbound, &upgrade, protocol, &headers);
        }
        Answer::Respond {
            status,
            headers,
            body,
        } => {
            let cut_body = head.is_head_method;
            respond(connection, inbound, status, headers, &body, cut_body);
        }
    }
}

fn accept<H: Host>(
    connection: &Rc<Connection<H>>,
    inbound: &mut Inbound<H>,
    upgrade: &Upgrade,
    protocol: Option<String>,
    headers: &[(String, String)],
) {
    let all = connection.endpoint.options();
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
        return fault(connection, inbound, &text);
    }
    let mut response = Vec::with_capacity(256);
    let accept = wire::accept_value(&upgrade.key);
    let mut headers = [&options.headers[..], headers].concat();
    let profile = upgrade.version.profile();
    if profile.origin_is_confirmed
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
    let chosen = (protocol.as_deref(), extensions.as_deref());
    let written = wire::append_response_with(&mut response, &accept, chosen.0, chosen.1, &headers);
    if let Err(error) = written {
        return fault(connection, inbound, &error.to_string());
    }
    if requires!("rfc6455/4.2.2/1") {
        connection.append(response.len(), |buffer| buffer.extend_from_slice(&response));
    }
    let agreed = Agreed {
        protocol,
        deflate,
        deflate_stream,
    };
    websocket::begin(connection, inbound, agreed);
}

/// The host's answer cannot be sent: tell the host, and the client 500.
fn fault<H: Host>(connection: &Rc<Connection<H>>, inbound: &mut Inbound<H>, text: &str) {
    connection.engine.host.fault(connection, text);
    let refusal = Refusal::new(500, "the server's answer could not be sent");
    refuse(connection, inbound, &refusal);
}

fn respond<H: Host>(
    connection: &Rc<Connection<H>>,
    inbound: &mut Inbound<H>,
    status: u16,
    mut headers: Vec<(String, String)>,
    body: &[u8],
    cut_body: bool,
) {
    if status < 200 {
        let text = format!("an HTTP answer of status {status} ends nothing: use 200 to 599");
        return fault(connection, inbound, &text);
    }
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("connection"))
    {
        headers.push(("Connection".to_owned(), "close".to_owned()));
    }
    let mut response = Vec::with_capacity(256 + body.len());
    if let Err(error) = http::append_response(&mut response, status, &headers, body) {
        return fault(connection, inbound, &error.to_string());
    }
    if cut_body {
        let end = http::head_end(&response, 0).unwrap_or(response.len());
        response.truncate(end);
    }
    if requires!(
        "rfc6455/4.2.2/3",
        "rfc6455/4.2.2/5",
        "rfc6455/4.2.2/7",
        "rfc6455/4.2.2/h9"
    ) {
        connection.append(response.len(), |buffer| buffer.extend_from_slice(&response));
    }
    let text = format!("answered {status}");
    let reason = CloseReason::new(Side::Local, Manner::Closed, text);
    connection.end_with(reason.with_status(Some(status)));
    connection.begin_closing(None);
    inbound.decode = Decode::Discard;
}

fn refuse<H: Host>(connection: &Rc<Connection<H>>, inbound: &mut Inbound<H>, refusal: &Refusal) {
    let mut response = Vec::with_capacity(256);
    refusal
        .append_to(&mut response)
        .expect("our own refusals have clean headers");
    connection.append(response.len(), |buffer| buffer.extend_from_slice(&response));
    let reason = CloseReason::new(Side::Local, Manner::Broken, refusal.text.clone());
    connection.end_with(reason.with_status(Some(refusal.status)));
    if requires!("rfc6455/7.2.2/1") {
        connection.begin_closing(None);
    }
    inbound.decode = Decode::Discard;
}

/// Tell a connection that is over a limit why it is refused, and close it.
pub(crate) fn refuse_crowd<H: Host>(connection: &Rc<Connection<H>>, limit: &str) {
    connection.state.set(State::Handshaking);
    let text = format!("the server has reached {limit}; try again later");
    let refusal = Refusal::new(503, text).with_header("Retry-After", "1");
    let mut inbound = connection.inbound.borrow_mut();
    refuse(connection, &mut inbound, &refusal);
    drop(inbound);
    connection.engine.arm(connection);
}

/// The handshake's deadline has passed.
pub(crate) fn too_late<H: Host>(connection: &Rc<Connection<H>>) {
    let text = "the handshake took too long";
    if connection.client || connection.sending.get() && connection.state.get() == State::Connecting
    {
        if let Some(reason) = declined_so_far(connection) {
            connection.end_with(reason);
        }
        connection.end_with(CloseReason::new(Side::Local, Manner::Broken, text));
        return connection.abort_now();
    }
    let mut inbound = connection.inbound.borrow_mut();
    refuse(connection, &mut inbound, &Refusal::new(408, text));
}

/// The server's refusal, where its body has not come to its end and will not.
pub(crate) fn declined_so_far<H: Host>(connection: &Rc<Connection<H>>) -> Option<CloseReason> {
    let inbound = connection.inbound.borrow();
    let Decode::Head(head) = &inbound.decode else {
        return None;
    };
    let declined = head.client.as_ref()?.declined.as_ref()?;
    Some(declined.so_far(&head.buffer))
}

/// A client's connect is made: send the request.
pub(crate) fn send_request<H: Host>(connection: &Rc<Connection<H>>) {
    let mut nonce = [0; 16];
    if requires!("rfc6455/4.1/25", "rfc6455/4.1/26") {
        connection.engine.random(&mut nonce);
    }
    let mut inbound = connection.inbound.borrow_mut();
    let Decode::Head(head) = &mut inbound.decode else {
        return;
    };
    let Some(client) = &mut head.client else {
        return;
    };
    client.key = wire::encode_key(nonce);
    let options = connection.endpoint.options();
    let version = options.websocket.asked_version();
    connection.version.set(Some(version));
    let ask = &client.handshake;
    let mut request = Vec::with_capacity(256);
    client.offer = compression::offer(&options, version);
    let stream = options.websocket.offers_deflate_stream();
    let stream = stream.then(|| deflate_stream::NAME.to_owned());
    let offer = client.offer.map(|offer| offer.to_string()).or(stream);
    let asked = wire::Ask {
        version,
        host: &ask.host,
        target: &ask.target,
        key: &client.key,
        protocols: &ask.protocols,
        extensions: offer.as_deref(),
        extra: &ask.headers,
    };
    match wire::append_request_as(&mut request, &asked) {
        Ok(()) => connection.append(request.len(), |buffer| buffer.extend_from_slice(&request)),
        Err(error) => {
            connection.end_with(CloseReason::new(
                Side::Local,
                Manner::Broken,
                error.to_string(),
            ));
            connection.abort_now();
        }
    }
}

fn read_response<H: Host>(
    connection: &Rc<Connection<H>>,
    inbound: &mut Inbound<H>,
    rest: &mut &[u8],
) -> Result<(), CloseReason> {
    let Decode::Head(head) = &mut inbound.decode else {
        unreachable!("the caller matched")
    };
    let Some(client) = &mut head.client else {
        unreachable!("the caller matched")
    };
    let limits = connection.endpoint.options.borrow().limits.head();
    let buffered = head.buffer.len();
    head.buffer.extend_from_slice(rest);
    let refused = |text: String, status| {
        CloseReason::new(Side::Remote, Manner::Broken, text).with_status(status)
    };
    if let Some(declined) = &client.declined {
        *rest = &[];
        return declined.check(&head.buffer);
    }
    match client.reader.parse(&head.buffer, &limits) {
        Ok(None) => *rest = &[],
        Ok(Some((response, end))) => {
            let version = connection.version.get().unwrap_or_default();
            let options = connection.endpoint.options();
            let offered = wire::Offered {
                protocols: &client.handshake.protocols,
                deflate: client.offer.as_ref(),
                deflate_stream: options.websocket.offers_deflate_stream(),
            };
            let checked = wire::check_response_as(&response, version, &client.key, &offered);
            let agreed = match checked {
                Ok(agreed) => agreed,
                Err(error) => {
                    *rest = &[];
                    let reason = refused(error.text, error.status);
                    let declined = Declined::new(reason, &response, end);
                    return client.declined.insert(declined).check(&head.buffer);
                }
            };
            *rest = &rest[end - buffered..];
            websocket::begin(connection, inbound, agreed);
        }
        Err(error) => return Err(refused(error.text, None)),
    }
    Ok(())
}
