//! A client's side: a request is sent, and its response checked.

use super::super::sink::{HttpSink, Outcome};
use super::super::websocket::{self, compression};
use super::super::{Session, Stage};
use super::refused::Refused;
use super::tunnel::{self, Tunnel};
use crate::close::{Cause, CloseReason, Side};
use crate::limit::Limit;
use crate::memory;
use vespiary_trace::requires;
use vespiary_wire::http::{self, ResponseError, ResponseReader};
use vespiary_wire::websocket::deflate::Offer;
use vespiary_wire::websocket::deflate_stream;
use vespiary_wire::websocket::handshake::{self as wire, Agreed};

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

/// What a client says before its connection is open.
#[derive(Clone, Default, Debug)]
pub struct Opening {
    /// First, to a proxy.
    pub tunnel: Option<Tunnel>,
    /// Then, to a WebSocket server.
    pub handshake: Option<ClientHandshake>,
}

impl From<Option<ClientHandshake>> for Opening {
    fn from(handshake: Option<ClientHandshake>) -> Self {
        Self {
            tunnel: None,
            handshake,
        }
    }
}

/// What a client remembers until the server has answered.
pub(super) struct ClientHead {
    refused: Option<Refused>,
    /// The proxy's answer is awaited.
    pub(super) tunnel: Option<Tunnel>,
    handshake: Option<ClientHandshake>,
    /// How many responses of status 1xx have come.
    interim: u8,
    key: String,
    offer: Option<Offer>,
    reader: ResponseReader,
}

impl ClientHead {
    pub(super) fn new(opening: Opening) -> Self {
        Self {
            refused: None,
            tunnel: opening.tunnel,
            handshake: opening.handshake,
            interim: 0,
            key: String::new(),
            offer: None,
            reader: ResponseReader::new(),
        }
    }
}

/// The server's refusal, where its body has not come to its end and will not.
pub(crate) fn refused_so_far<P>(session: &Session<P>) -> Option<CloseReason> {
    let Stage::Head(head) = &session.stage else {
        return None;
    };
    let refused = head.client.as_ref()?.refused.as_ref()?;
    Some(refused.so_far(&head.buffer))
}

/// A client's connect is made: send the first of its requests.
pub(crate) fn begin<S: HttpSink>(session: &mut Session<S::Payload>, sink: &S) {
    let Stage::Head(head) = &mut session.stage else {
        return;
    };
    let Some(client) = &mut head.client else {
        return;
    };
    let written = match (&client.tunnel, &client.handshake) {
        (Some(tunnel), _) => tunnel.request(),
        (None, Some(_)) => write_request(sink, client),
        (None, None) => return begin_stream(session, sink),
    };
    match written {
        Ok(request) => sink.write(&request),
        Err(error) => {
            sink.abort(CloseReason::new(Cause::RequestInvalid, error.to_string()));
        }
    }
}

/// The request that opens a WebSocket.
fn write_request<S: HttpSink>(
    sink: &S,
    client: &mut ClientHead,
) -> Result<Vec<u8>, http::InvalidHeader> {
    let mut nonce = [0; 16];
    requires!("rfc6455/4.1/25", "rfc6455/4.1/26");
    sink.random(&mut nonce);
    client.key = wire::encode_key(nonce);
    let options = sink.options();
    let version = options.websocket.asked_version();
    sink.negotiated().version.set(Some(version));
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

pub(super) fn read_response<S: HttpSink>(
    session: &mut Session<S::Payload>,
    sink: &S,
    rest: &mut &[u8],
) -> Outcome {
    let Stage::Head(head) = &mut session.stage else {
        unreachable!("the caller matched")
    };
    let Some(client) = &mut head.client else {
        unreachable!("the caller matched")
    };
    memory::extend(&mut head.buffer, rest)?;
    if let Some(refused) = &client.refused {
        *rest = &[];
        return refused.check(&head.buffer);
    }
    let next = next_response(sink, client, &mut head.buffer);
    let is_proxy = client.tunnel.is_some();
    let next = next.map_err(|reason| {
        let reason = tls_instead(&head.buffer, is_proxy).unwrap_or(reason);
        if is_proxy {
            tunnel::no_answer(reason)
        } else {
            reason
        }
    });
    let Some((response, end)) = next? else {
        *rest = &[];
        return Ok(());
    };
    let checked = if is_proxy {
        tunnel::refusal(&response).map_or(Ok(None), Err)
    } else {
        check_response(sink, client, &response).map(Some)
    };
    let agreed = match checked {
        Ok(agreed) => agreed,
        Err(reason) => {
            *rest = &[];
            let refused = Refused::new(reason, &response, end);
            return client.refused.insert(refused).check(&head.buffer);
        }
    };
    // What follows the head came with the latest bytes: without them there was no whole head.
    *rest = &rest[rest.len() - (head.buffer.len() - end)..];
    if let Some(agreed) = agreed {
        sink.accepted(response.headers);
        websocket::begin(session, sink, agreed);
    } else {
        head.buffer.clear();
        client.tunnel = None;
        client.reader = ResponseReader::new();
        if sink.enter_tunnel() {
            begin(session, sink);
        }
    }
    Ok(())
}

/// What to say of a server or a proxy that answers with a TLS alert (RFC 8446 section 6) instead of
/// HTTP.
fn tls_instead(buffer: &[u8], is_proxy: bool) -> Option<CloseReason> {
    let text = if is_proxy {
        "the proxy speaks TLS on this port, which is not supported: use its port for plain HTTP"
    } else {
        "the server speaks TLS on this port: connect with wss://"
    };
    let is_alert = buffer.starts_with(&[0x15, 0x03]);
    is_alert.then(|| CloseReason::new(Cause::ProtocolError, text))
}

/// More interim responses than any server has a use for.
const INTERIM_RESPONSES_MAX: u8 = 16;

/// The final response, and where it ends in `buffer`, once it is there. Interim ones (RFC 9110
/// section 15.2) are skipped.
fn next_response<S: HttpSink>(
    sink: &S,
    client: &mut ClientHead,
    buffer: &mut Vec<u8>,
) -> Result<Option<(http::Response, usize)>, CloseReason> {
    let limits = sink.options().limits.head();
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
                sink.limit_reached(limit);
                let value = sink.options().value_of(limit);
                let text = format!(
                    "the head of the server's response is larger than this end accepts: {limit} is \
                     {value}"
                );
                return Err(CloseReason::new(Cause::Limit(limit), text));
            }
        }
    }
}

fn check_response<S: HttpSink>(
    sink: &S,
    client: &ClientHead,
    response: &http::Response,
) -> Result<Agreed, CloseReason> {
    let version = sink.negotiated().version.get().unwrap_or_default();
    let protocols = client.handshake.as_ref().map(|ask| &ask.protocols[..]);
    let offered = wire::Offered {
        protocols: protocols.unwrap_or_default(),
        deflate: client.offer.as_ref(),
        deflate_stream: sink.options().websocket.offers_deflate_stream(),
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

/// The tunnel of a stream is open: what follows is its messages.
fn begin_stream<S: HttpSink>(session: &mut Session<S::Payload>, sink: &S) {
    session.stage = Stage::of_stream(&sink.options().framing);
    sink.opened();
}
