//! The client's half: section 4.1.

use std::fmt;

use super::{VERSION, accept_value, check_extra};
use crate::http::{self, Headers as _, InvalidHeader, Response, ResponseError};
use crate::websocket::{deflate, extension};

/// The server did not open a WebSocket. Close the connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HandshakeError {
    /// The status of the response, if there was one.
    pub status: Option<u16>,
    /// What was wrong, as a sentence without its full stop.
    pub text: String,
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl std::error::Error for HandshakeError {}

impl From<ResponseError> for HandshakeError {
    fn from(error: ResponseError) -> Self {
        Self {
            status: None,
            text: error.text,
        }
    }
}

/// Appends the request that opens a WebSocket (section 4.1).
///
/// `host` is the value of `Host`: with the port, unless it is the scheme's own. `target` is the
/// path and query. `key` is of [`super::encode_key`]. `extra` are further header lines, not those
/// that this function writes. An error leaves `out` as it was.
pub fn append_request(
    out: &mut Vec<u8>,
    host: &str,
    target: &str,
    key: &str,
    protocols: &[String],
    extra: &[(String, String)],
) -> Result<(), InvalidHeader> {
    append_request_with(out, host, target, key, protocols, None, extra)
}

/// The same with an offer of extensions, as [`deflate::Offer`] writes it.
pub fn append_request_with(
    out: &mut Vec<u8>,
    host: &str,
    target: &str,
    key: &str,
    protocols: &[String],
    extensions: Option<&str>,
    extra: &[(String, String)],
) -> Result<(), InvalidHeader> {
    check_extra(
        extra,
        &[
            "host",
            "upgrade",
            "connection",
            "sec-websocket-key",
            "sec-websocket-version",
            "sec-websocket-protocol",
            "sec-websocket-extensions",
            "content-length",
            "transfer-encoding",
        ],
    )?;
    let target_is_clean = target.starts_with('/')
        && target
            .bytes()
            .all(|byte| matches!(byte, b'!'..=b'~') && byte != b'#');
    if !target_is_clean {
        return Err(InvalidHeader::new(
            "the request target",
            "is no path in ASCII",
        ));
    }
    if !protocols.iter().all(|protocol| http::is_token(protocol)) {
        let text = "has a value that is not a token";
        return Err(InvalidHeader::new("Sec-WebSocket-Protocol", text));
    }
    let mut headers = vec![
        ("Host".to_owned(), host.to_owned()),
        ("Upgrade".to_owned(), "websocket".to_owned()),
        ("Connection".to_owned(), "Upgrade".to_owned()),
        ("Sec-WebSocket-Key".to_owned(), key.to_owned()),
        ("Sec-WebSocket-Version".to_owned(), VERSION.to_owned()),
    ];
    if !protocols.is_empty() {
        headers.push(("Sec-WebSocket-Protocol".to_owned(), protocols.join(", ")));
    }
    if let Some(offer) = extensions {
        headers.push(("Sec-WebSocket-Extensions".to_owned(), offer.to_owned()));
    }
    headers.extend_from_slice(extra);
    let start = out.len();
    out.extend_from_slice(format!("GET {target} HTTP/1.1\r\n").as_bytes());
    if let Err(error) = http::append_headers(out, &headers) {
        out.truncate(start);
        return Err(error);
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Checks the response to a request with `key` and `offered_protocols` (section 4.1, the list
/// behind "The client MUST validate"): gives the subprotocol that the server chose, if any.
pub fn check_response(
    head: &Response,
    key: &str,
    offered_protocols: &[String],
) -> Result<Option<String>, HandshakeError> {
    check_response_with(head, key, offered_protocols, None).map(|agreed| agreed.protocol)
}

/// What a server agreed to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Agreed {
    /// The subprotocol that it chose, if any.
    pub protocol: Option<String>,
    /// How messages are compressed, if they are.
    pub deflate: Option<deflate::Parameters>,
}

/// The same where compression was offered.
pub fn check_response_with(
    head: &Response,
    key: &str,
    offered_protocols: &[String],
    offer: Option<&deflate::Offer>,
) -> Result<Agreed, HandshakeError> {
    let fail = |text: String| {
        Err(HandshakeError {
            status: Some(head.status),
            text,
        })
    };
    if head.status != 101 {
        return fail(format!(
            "the server answered {} {} where 101 opens a WebSocket",
            head.status, head.reason
        ));
    }
    if head.minor_version == 0 {
        return fail("the response is one of HTTP/1.0 (RFC 6455 4.1)".to_owned());
    }
    let mut upgrades = head.header_all("upgrade");
    let upgrade = (upgrades.next(), upgrades.next());
    if !matches!(upgrade, (Some(value), None) if value.eq_ignore_ascii_case("websocket")) {
        return fail("the response's Upgrade header is not websocket (RFC 6455 4.1)".to_owned());
    }
    if !head.has_token("connection", "upgrade") {
        return fail("the response's Connection header lacks Upgrade (RFC 6455 4.1)".to_owned());
    }
    let mut accepts = head.header_all("sec-websocket-accept");
    if (accepts.next(), accepts.next()) != (Some(accept_value(key).as_str()), None) {
        return fail("the Sec-WebSocket-Accept does not answer the key (RFC 6455 4.1)".to_owned());
    }
    let deflate = match read_extensions(head, offer) {
        Ok(deflate) => deflate,
        Err(text) => return fail(text),
    };
    let agreed = |protocol| Ok(Agreed { protocol, deflate });
    let mut protocols = head.header_all("sec-websocket-protocol");
    match (protocols.next(), protocols.next()) {
        (None, _) => agreed(None),
        (_, Some(_)) => {
            fail("the server chose more than one subprotocol (RFC 6455 11.3.4)".to_owned())
        }
        (Some(chosen), None) if offered_protocols.iter().any(|offered| offered == chosen) => {
            agreed(Some(chosen.to_owned()))
        }
        (Some(chosen), None) => fail(format!(
            "the server chose {chosen:?}, which was not offered (RFC 6455 4.1)"
        )),
    }
}

/// What the server makes of an offer: the lists of several lines are one list.
fn read_extensions(
    head: &Response,
    offer: Option<&deflate::Offer>,
) -> Result<Option<deflate::Parameters>, String> {
    let mut answers = Vec::new();
    for value in head.header_all("sec-websocket-extensions") {
        answers.extend(extension::parse(value).map_err(|malformed| malformed.to_string())?);
    }
    deflate::check(offer, &answers).map_err(|fault| format!("{fault} (RFC 6455 4.1)"))
}
