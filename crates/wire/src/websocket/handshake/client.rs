//! The client's half: section 4.1.

use std::collections::HashSet;
use std::fmt;

use super::{accept_value, check_extra};
use crate::http::{self, Headers as _, InvalidHeader, Response};
use crate::websocket::profile::Version;
use crate::websocket::{deflate, deflate_stream, extension};
use vespiary_trace::requires;

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

/// What a client asks for.
#[derive(Copy, Clone, Default, Debug)]
pub struct Ask<'a> {
    /// The version, whose rules the request is written by.
    pub version: Version,
    /// The value of `Host`: with the port, unless it is the scheme's own.
    pub host: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// As [`super::encode_key`] writes it.
    pub key: &'a str,
    /// The subprotocols that are offered, the best first.
    pub protocols: &'a [String],
    /// The extensions that are offered, as [`deflate::Offer`] writes them.
    pub extensions: Option<&'a str>,
    /// Further header lines, not those that the handshake writes itself. An `Origin` is written
    /// under the name that the version has for it.
    pub extra: &'a [(String, String)],
}

/// Appends the request that opens a WebSocket (section 4.1), by the rules of the version that is
/// asked for. An error leaves `out` as it was.
pub fn append_request(out: &mut Vec<u8>, ask: &Ask<'_>) -> Result<(), InvalidHeader> {
    check_extra(
        ask.extra,
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
    let target = ask.target;
    let target_is_clean = target.starts_with('/')
        && target
            .bytes()
            .all(|byte| matches!(byte, b'!'..=b'~') && byte != b'#');
    if requires!("rfc6455/3/2", "rfc6455/3/3", "rfc6455/4.1/18" => !target_is_clean) {
        return Err(InvalidHeader::new(
            "the request target",
            "is not a path in ASCII",
        ));
    }
    check_protocols(ask.protocols)?;
    let start = out.len();
    requires!("rfc6455/4.1/19");
    out.extend_from_slice(b"GET ");
    requires!("rfc6455/4.1/20", "hybi09/5.1/21");
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if let Err(error) = http::append_headers(out, &header_lines(ask)) {
        out.truncate(start);
        return Err(error);
    }
    requires!("rfc6455/4.1/18");
    out.extend_from_slice(b"\r\n");
    Ok(())
}

fn header_lines(ask: &Ask<'_>) -> Vec<(String, String)> {
    let mut headers = Vec::with_capacity(8 + ask.extra.len());
    let mut add = |name: &str, value: &str| headers.push((name.to_owned(), value.to_owned()));
    requires!("rfc6455/4.1/21");
    add("Host", ask.host);
    requires!("rfc6455/4.1/22");
    add("Upgrade", "websocket");
    requires!("rfc6455/4.1/23");
    add("Connection", "Upgrade");
    requires!("rfc6455/4.1/24");
    add("Sec-WebSocket-Key", ask.key);
    requires!("rfc6455/4.1/29", "rfc6455/4.1/30");
    let is_old = requires!("hybi09/5.1/33" => ask.version == Version::Hybi09);
    add("Sec-WebSocket-Version", if is_old { "8" } else { "13" });
    if requires!("rfc6455/4.1/31" => !ask.protocols.is_empty()) {
        add("Sec-WebSocket-Protocol", &ask.protocols.join(", "));
    }
    if let Some(offer) = ask.extensions {
        requires!("rfc6455/4.1/33", "rfc6455/9/1", "rfc6455/9.2/1");
        add("Sec-WebSocket-Extensions", offer);
    }
    for (name, value) in ask.extra {
        let origin_header = ask.version.profile().origin_header;
        let is_origin = name.eq_ignore_ascii_case("origin") && origin_header != "Origin";
        let is_renamed = requires!("hybi09/5.1/29" => is_origin);
        requires!("rfc6455/4.1/28", "rfc6455/4.1/34");
        add(if is_renamed { origin_header } else { name }, value);
    }
    headers
}

/// Refuses subprotocols to offer that are not tokens, or not distinct.
fn check_protocols(protocols: &[String]) -> Result<(), InvalidHeader> {
    const NAME: &str = "Sec-WebSocket-Protocol";
    let all_tokens = protocols.iter().all(|protocol| http::is_token(protocol));
    if requires!("rfc6455/4.1/32" => !all_tokens) {
        return Err(InvalidHeader::new(NAME, "has a value that is not a token"));
    }
    let mut seen = HashSet::with_capacity(protocols.len());
    let is_repeated = protocols.iter().any(|protocol| !seen.insert(protocol));
    if requires!("rfc6455/4.1/32" => is_repeated) {
        return Err(InvalidHeader::new(NAME, "names a subprotocol twice"));
    }
    Ok(())
}

/// What a client has offered.
#[derive(Copy, Clone, Default, Debug)]
pub struct Offered<'a> {
    /// The subprotocols.
    pub protocols: &'a [String],
    /// permessage-deflate.
    pub deflate: Option<&'a deflate::Offer>,
    /// The extension `deflate-stream` of HyBi-09.
    pub deflate_stream: bool,
}

/// What a server agreed to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Agreed {
    /// The subprotocol that it chose, if any.
    pub protocol: Option<String>,
    /// How messages are compressed, if they are.
    pub deflate: Option<deflate::Parameters>,
    /// Whether all that follows the handshake is compressed.
    pub deflate_stream: bool,
}

/// Checks the response to a request with `key` (section 4.1, the list behind "The client MUST
/// validate"), by the rules of the version that was asked for.
///
/// By those of HyBi-09 section 5.1 `Connection` is `Upgrade` and nothing besides, and any
/// subprotocol may be chosen.
pub fn check_response(
    head: &Response,
    version: Version,
    key: &str,
    offered: &Offered<'_>,
) -> Result<Agreed, HandshakeError> {
    let fail = |text: String| {
        Err(HandshakeError {
            status: Some(head.status),
            text,
        })
    };
    if requires!("rfc6455/4.1/36", "rfc6455/4.1/h1" => head.status != 101) {
        return fail(format!(
            "the server answered {} {} where 101 opens a WebSocket",
            head.status, head.reason
        ));
    }
    if requires!("rfc6455/4.1/42" => head.minor_version == 0) {
        return fail(
            "the response uses HTTP/1.0, which has no WebSockets (RFC 6455 4.1)".to_owned(),
        );
    }
    let mut upgrades = head.header_all("upgrade");
    let upgrade = (upgrades.next(), upgrades.next());
    let upgraded =
        matches!(upgrade, (Some(value), None) if value.eq_ignore_ascii_case("websocket"));
    if requires!("rfc6455/4.1/37" => !upgraded) {
        return fail("the response's Upgrade header is not websocket (RFC 6455 4.1)".to_owned());
    }
    if requires!("rfc6455/4.1/38" => !head.has_token("connection", "upgrade")) {
        return fail("the response's Connection header lacks Upgrade (RFC 6455 4.1)".to_owned());
    }
    let profile = version.profile();
    let is_list = head.header_tokens("connection").nth(1).is_some();
    if requires!("hybi09/5.1/41" => profile.connection_is_whole && is_list) {
        let text = "the response's Connection header is not Upgrade alone (HyBi-09 5.1)";
        return fail(text.to_owned());
    }
    let mut accepts = head.header_all("sec-websocket-accept");
    if requires!("rfc6455/4.1/39" => accepts.next() != Some(accept_value(key).as_str())) {
        return fail("the Sec-WebSocket-Accept does not answer the key (RFC 6455 4.1)".to_owned());
    }
    if requires!("rfc6455/11.3.3/1" => accepts.next().is_some()) {
        return fail("there is more than one Sec-WebSocket-Accept (RFC 6455 11.3.3)".to_owned());
    }
    let (deflate, deflate_stream) = match read_extensions(head, version, offered) {
        Ok(agreed) => agreed,
        Err(text) => return fail(text),
    };
    let agreed = |protocol| {
        Ok(Agreed {
            protocol,
            deflate,
            deflate_stream,
        })
    };
    let mut protocols = head.header_all("sec-websocket-protocol");
    let Some(chosen) = protocols.next() else {
        return agreed(None);
    };
    if requires!("rfc6455/11.3.4/2" => protocols.next().is_some()) {
        return fail("the server chose more than one subprotocol (RFC 6455 11.3.4)".to_owned());
    }
    let is_offered = offered.protocols.iter().any(|offered| offered == chosen);
    let is_free = requires!("hybi09/5.1/h1" => !profile.subprotocol_is_checked);
    if requires!("rfc6455/4.1/41" => !is_free && !is_offered) {
        return fail(format!(
            "the server chose {chosen:?}, which was not offered (RFC 6455 4.1)"
        ));
    }
    requires!("rfc6455/4.1/h2");
    agreed(Some(chosen.to_owned()))
}

/// What the server makes of an offer: the lists of several lines are one list.
fn read_extensions(
    head: &Response,
    version: Version,
    offered: &Offered<'_>,
) -> Result<(Option<deflate::Parameters>, bool), String> {
    let mut answers = Vec::new();
    for value in head.header_all("sec-websocket-extensions") {
        match extension::parse(version.profile(), value) {
            Err(malformed) => {
                requires!("rfc6455/9.1/1");
                return Err(malformed.to_string());
            }
            Ok(parsed) => answers.extend(parsed),
        }
    }
    if offered.deflate_stream && deflate_stream::is_granted(&answers) {
        return Ok((None, true));
    }
    match deflate::check(offered.deflate, &answers) {
        Err(fault) => {
            requires!("rfc6455/4.1/40");
            Err(format!("{fault} (RFC 6455 4.1)"))
        }
        Ok(granted) => Ok((granted, false)),
    }
}
