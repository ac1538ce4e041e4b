//! The HTTP head at a connection's start: read, answered by the host, upgraded or closed.
//!
//! A server reads a request, asks the host, and answers 101 or whatever the host says; anything
//! malformed is answered with its status before the host hears of it. A client sends its request
//! and checks the answer.

use crate::answers::{self, Exchange};
use crate::close::{Cause, CloseReason, Side};
use crate::connection::{Connection, State};
use crate::declined::Declined;
use crate::endpoint::add;
use crate::host::{Answer, Host};
use crate::limit::Limit;
use crate::options::{Framing, WebSocketOptions};
use crate::receive::{self, Inbound};
use crate::session::Stage;
use crate::session::websocket::compression;
use crate::tunnel::{self, Opening, Tunnel};
use std::rc::Rc;
use vespiary_trace::requires;
use vespiary_wire::http::{self, Refusal, Request, RequestReader, ResponseError, ResponseReader};
use vespiary_wire::websocket::deflate::Offer;
use vespiary_wire::websocket::deflate_stream;
use vespiary_wire::websocket::handshake::{self as wire, Acceptance, Agreed, Upgrade};
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
    /// The proxy's answer is awaited.
    tunnel: Option<Tunnel>,
    handshake: Option<ClientHandshake>,
    /// How many responses of status 1xx have come.
    interim: u8,
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
    exchange: Exchange,
    unserved: Option<Refusal>,
}

impl Head {
    pub(crate) fn buffer_bytes(&self) -> usize {
        size_of::<Self>() + self.buffer.capacity()
    }

    /// The head behind an answer.
    pub(crate) fn following(exchange: Exchange) -> Self {
        Self {
            exchange,
            ..Self::default()
        }
    }

    pub(crate) fn exchange(&self) -> Exchange {
        self.exchange
    }

    pub(crate) fn client(opening: Opening) -> Self {
        let client = ClientHead {
            declined: None,
            tunnel: opening.tunnel,
            handshake: opening.handshake,
            interim: 0,
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
    let Stage::Head(head) = &mut inbound.session.stage else {
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
    let Stage::Head(head) = &mut inbound.session.stage else {
        unreachable!("the caller matched")
    };
    answers::begun(connection);
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
            let begun = if buffered == 0 { *rest } else { &head.buffer };
            head.exchange.is_head = begun.trim_ascii_start().starts_with(b"HEAD ");
            *rest = &[];
            let endpoint = &connection.endpoint;
            if let Some(limit) = refusal.limit {
                endpoint.limit_reached(&connection.engine.host, limit.into());
            } else {
                add(&endpoint.counters.protocol_errors, 1);
            }
            answers::refuse(connection, inbound, &refusal);
        }
    }
}

fn on_request<H: Host>(connection: &Rc<Connection<H>>, inbound: &mut Inbound<H>, request: Request) {
    let Stage::Head(head) = &inbound.session.stage else {
        unreachable!("the caller matched")
    };
    let options = connection.endpoint.options();
    let is_websocket = options.framing == Framing::WebSocket;
    let is_upgrade = is_websocket && wire::is_upgrade(&request, &options.websocket.versions);
    let mut waiting = Head::following(head.exchange.next(&request, is_upgrade));
    let checked = http::check_service(&request, false).and_then(|()| {
        if is_upgrade {
            let upgrade = check_upgrade(&request, &options.websocket)?;
            connection.negotiated.version.set(Some(upgrade.version));
            waiting.upgrade = Some(upgrade);
            return Ok(());
        }
        http::check_body(&request)?;
        if is_websocket {
            waiting.unserved = Some(wire::refuse_plain(&request));
        }
        Ok(())
    });
    inbound.session.stage = Stage::Waiting(Box::new(waiting));
    if let Err(refusal) = checked {
        add(&connection.endpoint.counters.protocol_errors, 1);
        if !is_upgrade || requires!("rfc6455/4.2.1/1", "rfc6455/10.7/4") {
            return answers::refuse(connection, inbound, &refusal);
        }
    }
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
    let Stage::Waiting(head) = &mut inbound.session.stage else {
        return;
    };
    match answer {
        Answer::Later => {}
        Answer::Accept { protocol, headers } => {
            let Some(upgrade) = head.upgrade.take() else {
                let nothing = || Refusal::new(404, "nothing is served here (RFC 9110 15.5.5)");
                let refusal = head.unserved.take().unwrap_or_else(nothing);
                return answers::refuse(connection, inbound, &refusal);
            };
            accept(connection, inbound, &upgrade, protocol, &headers);
        }
        Answer::Respond {
            status,
            headers,
            body,
        } => answers::respond(connection, inbound, status, headers, &body),
    }
}

fn accept<H: Host>(
    connection: &Rc<Connection<H>>,
    inbound: &mut Inbound<H>,
    upgrade: &Upgrade,
    protocol: Option<String>,
    headers: &[(String, String)],
) {
    let awaits_continue = match &inbound.session.stage {
        Stage::Waiting(head) => head.exchange.awaits_continue,
        _ => false,
    };
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
        return answers::fault(connection, inbound, &text);
    }
    let mut response = Vec::with_capacity(256);
    if requires!("rfc9110/7.8/12" => awaits_continue) {
        response.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
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
        return answers::fault(connection, inbound, &error.to_string());
    }
    if requires!("rfc6455/4.2.2/1") {
        connection.append(response.len(), |buffer| buffer.extend_from_slice(&response));
    }
    let agreed = Agreed {
        protocol,
        deflate,
        deflate_stream,
    };
    receive::begin_websocket(connection, inbound, agreed);
}

/// The handshake's deadline has passed.
pub(crate) fn too_late<H: Host>(connection: &Rc<Connection<H>>) {
    let text = "the handshake took too long";
    if connection.client || connection.sending.get() && connection.state.get() == State::Connecting
    {
        if let Some(reason) = declined_so_far(connection) {
            connection.end_with(reason);
        }
        let cause = Cause::Limit(Limit::HandshakeSeconds);
        connection.end_with(CloseReason::new(cause, text));
        return connection.abort_now();
    }
    let mut inbound = connection.inbound.borrow_mut();
    let refusal = match &mut inbound.session.stage {
        Stage::Head(head) => {
            head.exchange.is_head = head.buffer.trim_ascii_start().starts_with(b"HEAD ");
            Refusal::new(408, text)
        }
        // The request was in time; the host's answer is not.
        _ => Refusal::new(503, "the server did not answer in time"),
    };
    answers::refuse(connection, &mut inbound, &refusal);
}

/// The server's refusal, where its body has not come to its end and will not.
pub(crate) fn declined_so_far<H: Host>(connection: &Rc<Connection<H>>) -> Option<CloseReason> {
    let inbound = connection.inbound.borrow();
    let Stage::Head(head) = &inbound.session.stage else {
        return None;
    };
    let declined = head.client.as_ref()?.declined.as_ref()?;
    Some(declined.so_far(&head.buffer))
}

/// A client's connect is made: send the first of its requests.
pub(crate) fn begin_client<H: Host>(connection: &Rc<Connection<H>>, inbound: &mut Inbound<H>) {
    let Stage::Head(head) = &mut inbound.session.stage else {
        return;
    };
    let Some(client) = &mut head.client else {
        return;
    };
    let written = match (&client.tunnel, &client.handshake) {
        (Some(tunnel), _) => tunnel.request(),
        (None, Some(_)) => write_request(connection, client),
        (None, None) => return receive::begin_stream(connection, inbound),
    };
    match written {
        Ok(request) => {
            connection.append(request.len(), |buffer| buffer.extend_from_slice(&request))
        }
        Err(error) => {
            let text = error.to_string();
            connection.end_with(CloseReason::new(Cause::RequestInvalid, text));
            connection.abort_now();
        }
    }
}

/// The request that opens a WebSocket.
fn write_request<H: Host>(
    connection: &Rc<Connection<H>>,
    client: &mut ClientHead,
) -> Result<Vec<u8>, http::InvalidHeader> {
    let mut nonce = [0; 16];
    if requires!("rfc6455/4.1/25", "rfc6455/4.1/26") {
        connection.engine.random(&mut nonce);
    }
    client.key = wire::encode_key(nonce);
    let options = connection.endpoint.options();
    let version = options.websocket.asked_version();
    connection.negotiated.version.set(Some(version));
    client.offer = compression::offer(&options, version);
    let stream = options.websocket.offers_deflate_stream();
    let stream = stream.then(|| deflate_stream::NAME.to_owned());
    let offer = client.offer.map(Offer::list).or(stream);
    let ask = client.handshake.as_ref().expect("a WebSocket's");
    let asked = wire::Ask {
        version,
        host: &ask.host,
        target: &ask.target,
        key: &client.key,
        protocols: &ask.protocols,
        extensions: offer.as_deref(),
        extra: &ask.headers,
    };
    let mut request = Vec::with_capacity(256);
    wire::append_request(&mut request, &asked)?;
    Ok(request)
}

fn read_response<H: Host>(
    connection: &Rc<Connection<H>>,
    inbound: &mut Inbound<H>,
    rest: &mut &[u8],
) -> Result<(), CloseReason> {
    let Stage::Head(head) = &mut inbound.session.stage else {
        unreachable!("the caller matched")
    };
    let Some(client) = &mut head.client else {
        unreachable!("the caller matched")
    };
    head.buffer.extend_from_slice(rest);
    if let Some(declined) = &client.declined {
        *rest = &[];
        return declined.check(&head.buffer);
    }
    let Some((response, end)) = next_response(connection, client, &mut head.buffer)? else {
        *rest = &[];
        return Ok(());
    };
    let checked = if client.tunnel.is_some() {
        tunnel::refusal(&response).map_or(Ok(None), Err)
    } else {
        check_response(connection, client, &response).map(Some)
    };
    let agreed = match checked {
        Ok(agreed) => agreed,
        Err(reason) => {
            *rest = &[];
            let declined = Declined::new(reason, &response, end);
            return client.declined.insert(declined).check(&head.buffer);
        }
    };
    // What follows the head came with the latest bytes: without them there was no whole head.
    *rest = &rest[rest.len() - (head.buffer.len() - end)..];
    match agreed {
        Some(agreed) => {
            connection
                .engine
                .host
                .accepted(connection, response.headers);
            receive::begin_websocket(connection, inbound, agreed);
        }
        None => {
            head.buffer.clear();
            client.tunnel = None;
            client.reader = ResponseReader::new();
            begin_client(connection, inbound);
        }
    }
    Ok(())
}

/// More interim responses than any server has a use for.
const INTERIM_RESPONSES_MAX: u8 = 16;

/// The final response, and where it ends in `buffer`, once it is there. Interim ones (RFC 9110
/// section 15.2) are skipped.
fn next_response<H: Host>(
    connection: &Rc<Connection<H>>,
    client: &mut ClientHead,
    buffer: &mut Vec<u8>,
) -> Result<Option<(http::Response, usize)>, CloseReason> {
    let endpoint = &connection.endpoint;
    let limits = endpoint.options.borrow().limits.head();
    loop {
        match client.reader.parse(buffer, &limits) {
            Ok(Some((response, end))) if response.is_interim() => {
                client.interim += 1;
                if client.interim > INTERIM_RESPONSES_MAX {
                    let text = format!("more than {INTERIM_RESPONSES_MAX} interim responses came");
                    return Err(CloseReason::new(Cause::ProtocolError, text).by(Side::Remote));
                }
                buffer.drain(..end);
                client.reader = ResponseReader::new();
            }
            Ok(found) => return Ok(found),
            Err(ResponseError { text, limit: None }) => {
                return Err(CloseReason::new(Cause::ProtocolError, text).by(Side::Remote));
            }
            Err(ResponseError {
                limit: Some(limit), ..
            }) => {
                let limit = Limit::from(limit);
                endpoint.limit_reached(&connection.engine.host, limit);
                let value = endpoint.options.borrow().value_of(limit);
                let text = format!(
                    "the head of the server's response is larger than this end accepts: {limit} is \
                     {value}"
                );
                return Err(CloseReason::new(Cause::Limit(limit), text));
            }
        }
    }
}

fn check_response<H: Host>(
    connection: &Rc<Connection<H>>,
    client: &ClientHead,
    response: &http::Response,
) -> Result<Agreed, CloseReason> {
    let version = connection.negotiated.version.get().unwrap_or_default();
    let protocols = client.handshake.as_ref().map(|ask| &ask.protocols[..]);
    let offered = wire::Offered {
        protocols: protocols.unwrap_or_default(),
        deflate: client.offer.as_ref(),
        deflate_stream: connection
            .endpoint
            .options()
            .websocket
            .offers_deflate_stream(),
    };
    wire::check_response(response, version, &client.key, &offered).map_err(|error| {
        let cause = match error.status {
            Some(status) if status != 101 => Cause::HandshakeRefused,
            _ => Cause::ProtocolError,
        };
        let reason = CloseReason::new(cause, error.text).by(Side::Remote);
        reason.with_status(error.status)
    })
}
