//! The server's half: sections 4.2.1 and 4.2.2.

use std::collections::HashSet;

use super::{check_extra, is_key};
use crate::http::{self, Headers as _, InvalidHeader, Refusal, Request};
use crate::websocket::extension;
use crate::websocket::profile::{Profile, Version};
use vespiary_trace::requires;

/// What a valid opening handshake asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upgrade {
    /// The value of `Sec-WebSocket-Key`; give it to [`super::accept_value`].
    pub key: String,
    /// The subprotocols that the client speaks, the one it likes best first.
    pub protocols: Vec<String>,
    /// The origin of the page whose script connects. Only browsers send it, and all of them do.
    pub origin: Option<String>,
    /// The values of `Sec-WebSocket-Extensions`, one for each header line: checked against the
    /// grammar, and as [`extension::parse`] takes them.
    pub extensions: Vec<String>,
    /// The version of the protocol, one of those spoken.
    pub version: Version,
}

/// Whether the request asks for a WebSocket at all, well or badly: `Upgrade` lists `websocket`, or
/// it has one of the supported `versions` in which servers do not check that. HTTP/1.0 has no
/// upgrades, so nothing is checked in such a request (RFC 9110 section 7.8).
pub fn is_upgrade(head: &Request, versions: &[Version]) -> bool {
    if requires!("rfc6455/4.2.1/h1", "rfc9110/7.8/11" => head.minor_version == 0) {
        return false;
    }
    head.has_token("upgrade", "websocket") || !upgrade_is_checked(head, versions)
}

/// HyBi-09 5.2.1 lists neither `Upgrade` nor `Connection` among what makes a handshake.
fn upgrade_is_checked(head: &Request, versions: &[Version]) -> bool {
    let asked = read_version(head, versions);
    let checks = asked.map_or(true, |version| version.profile().upgrade_is_checked);
    let is_free = requires!("hybi09/5.2.1/h1" => !checks);
    !is_free
}

/// How a request is refused that asks for no WebSocket, where nothing else is served: 426, or 405
/// and 501 for methods that no WebSocket begins with.
pub fn refuse_plain(head: &Request) -> Refusal {
    let refusal = http::refuse_unserved(head, "GET, HEAD");
    if refusal.status != 404 {
        return refusal;
    }
    let text = if head.minor_version == 0 {
        "only WebSockets are served here, and they need HTTP/1.1 (RFC 6455 4.1)"
    } else {
        "only WebSockets are served here: the Upgrade header must list websocket (RFC 6455 4.2.1)"
    };
    Refusal::new(426, text)
        .with_header("Connection", "Upgrade, close")
        .with_header("Upgrade", "websocket")
        .with_advice("a proxy in front must pass the headers Upgrade and Connection on")
}

/// Checks a request against section 4.2.1.
///
/// `versions` are those that are used, the best first; the rules are those of the one that the
/// request names. Refused are: no wish to upgrade and a version that is not spoken (426, with what
/// would have been right), a method other than GET (405, 501), and anything malformed (400).
pub fn check(head: &Request, versions: &[Version]) -> Result<Upgrade, Refusal> {
    if requires!("rfc6455/4.2.1/h3" => !is_upgrade(head, versions)) {
        return Err(refuse_plain(head));
    }
    if !head.has_known_method() {
        return Err(http::refuse_unserved(head, "GET"));
    }
    if requires!("rfc6455/4.2.1/h1" => head.method() != "GET") {
        let text = "a WebSocket begins with the method GET (RFC 6455 4.1)";
        return Err(Refusal::new(405, text).with_header("Allow", "GET"));
    }
    let is_connected = head.has_token("connection", "upgrade");
    let is_checked = upgrade_is_checked(head, versions);
    if requires!("rfc6455/4.2.1/h4" => is_checked && !is_connected) {
        return bad("the Connection header must list Upgrade (RFC 6455 4.2.1)");
    }
    if head.has_body() {
        return bad("the request that opens a WebSocket has no body (RFC 6455 4.1)");
    }
    let version = read_version(head, versions)?;
    let profile = version.profile();
    check_target(head, profile)?;
    Ok(Upgrade {
        key: read_key(head)?,
        protocols: read_protocols(head)?,
        origin: read_origin(head, profile)?,
        extensions: read_extensions(head, profile)?,
        version,
    })
}

fn bad<T>(text: &str) -> Result<T, Refusal> {
    Err(Refusal::new(400, text))
}

fn upgrade_required(text: &str, versions: &[Version]) -> Refusal {
    Refusal::new(426, text)
        .with_header("Connection", "Upgrade, close")
        .with_header("Upgrade", "websocket")
        .with_header("Sec-WebSocket-Version", &listed(versions))
}

fn listed(versions: &[Version]) -> String {
    let texts: Vec<&str> = versions.iter().map(|version| version.as_str()).collect();
    texts.join(", ")
}

/// The path alone, or an absolute URI of a scheme that the version has for it.
fn check_target(head: &Request, profile: &Profile) -> Result<(), Refusal> {
    let Some((scheme, _)) = head.target().split_once("://") else {
        return Ok(());
    };
    let fits = |it: &&str| scheme.eq_ignore_ascii_case(it);
    if head.target().starts_with('/') || profile.target_schemes.iter().any(fits) {
        return Ok(());
    }
    let is_new = requires!("rfc6455/4.2.1/h11" => profile.version == Version::Rfc6455);
    let is_old = requires!("hybi09/5.2.1/h2" => profile.version == Version::Hybi09);
    if !is_new && !is_old {
        return Ok(());
    }
    let [plain, secure] = profile.target_schemes;
    bad(&format!(
        "an absolute request target begins with {plain} or {secure} ({} {})",
        profile.document,
        match profile.version {
            Version::Rfc6455 => "4.2.1",
            Version::Hybi09 => "5.1",
        }
    ))
}

fn read_version(head: &Request, spoken: &[Version]) -> Result<Version, Refusal> {
    let mut versions = head.header_all("sec-websocket-version");
    let Some(version) = versions.next() else {
        return bad("there is no Sec-WebSocket-Version header (RFC 6455 4.2.1)");
    };
    if requires!("rfc6455/11.3.5/2" => versions.next().is_some()) {
        return bad("there is more than one Sec-WebSocket-Version header (RFC 6455 11.3.5)");
    }
    let Some(number) = parse_version(version) else {
        return bad("the Sec-WebSocket-Version is not a version (RFC 6455 4.3)");
    };
    let asked = Version::from_number(number).filter(|asked| spoken.contains(asked));
    if requires!("rfc6455/4.2.2/6", "rfc6455/4.4/1", "rfc6455/4.2.1/h6", "hybi09/5.2.2/5" =>
        asked.is_none())
    {
        let text = format!(
            "the supported versions of WebSocket: {} (RFC 6455 4.2.2)",
            listed(spoken)
        );
        return Err(upgrade_required(&text, spoken));
    }
    Ok(asked.unwrap_or_default())
}

/// `version` of the grammar in section 4.3: 0 to 255 without leading zeros.
fn parse_version(text: &str) -> Option<u8> {
    let number: u8 = text.parse().ok()?;
    if requires!("rfc6455/4.3/h1" => number.to_string() != text) {
        return None;
    }
    Some(number)
}

fn read_key(head: &Request) -> Result<String, Refusal> {
    let mut keys = head.header_all("sec-websocket-key");
    let Some(key) = keys.next() else {
        return bad("there is no Sec-WebSocket-Key header (RFC 6455 4.2.1)");
    };
    if requires!("rfc6455/11.3.1/1" => keys.next().is_some()) {
        return bad("there is more than one Sec-WebSocket-Key header (RFC 6455 11.3.1)");
    }
    if requires!("rfc6455/4.2.1/h5" => !is_key(key)) {
        return bad("the Sec-WebSocket-Key is not 16 bytes in Base64 (RFC 6455 4.2.1)");
    }
    Ok(key.to_owned())
}

fn read_protocols(head: &Request) -> Result<Vec<String>, Refusal> {
    let mut protocols: Vec<String> = Vec::new();
    let mut seen = HashSet::new();
    for protocol in head.header_tokens("sec-websocket-protocol") {
        if requires!("rfc6455/4.1/32" => !http::is_token(protocol)) {
            return bad("a subprotocol's name is not a token (RFC 6455 4.1)");
        }
        if requires!("rfc6455/4.1/32" => !seen.insert(protocol)) {
            return bad("a subprotocol is asked for twice (RFC 6455 4.1)");
        }
        requires!("rfc6455/4.2.1/h8", "rfc6455/11.3.4/1");
        protocols.push(protocol.to_owned());
    }
    if protocols.is_empty() && head.header("sec-websocket-protocol").is_some() {
        return bad("the Sec-WebSocket-Protocol header has no subprotocol (RFC 6455 4.1)");
    }
    Ok(protocols)
}

fn read_extensions(head: &Request, profile: &Profile) -> Result<Vec<String>, Refusal> {
    let mut values = Vec::new();
    for value in head.header_all("sec-websocket-extensions") {
        if let Err(malformed) = extension::parse(profile, value) {
            requires!("rfc6455/9.1/1");
            return bad(&malformed.to_string());
        }
        requires!("rfc6455/4.2.1/h9", "rfc6455/9.1/3", "rfc6455/11.3.2/1");
        values.push(value.to_owned());
    }
    Ok(values)
}

fn read_origin(head: &Request, profile: &Profile) -> Result<Option<String>, Refusal> {
    let is_renamed = requires!("hybi09/5.2.1/2" => profile.origin_header != "Origin");
    let name = if is_renamed {
        profile.origin_header
    } else {
        "Origin"
    };
    let mut origins = head.header_all(name);
    match (origins.next(), origins.next()) {
        (_, Some(_)) => bad(&format!(
            "there is more than one {name} header (RFC 6454 7.3)"
        )),
        (Some(origin), None) => {
            requires!("rfc6455/4.2.1/h7");
            Ok(Some(origin.to_owned()))
        }
        (None, None) => Ok(None),
    }
}

/// What a server grants.
#[derive(Copy, Clone, Default, Debug)]
pub struct Acceptance<'a> {
    /// As [`super::accept_value`] writes it.
    pub accept: &'a str,
    /// One of the subprotocols that the client asked for.
    pub protocol: Option<&'a str>,
    /// The extensions, as [`crate::websocket::deflate::Parameters`] writes them.
    pub extensions: Option<&'a str>,
    /// Further header lines, not those that the handshake writes itself.
    pub extra: &'a [(String, String)],
}

/// Appends the response that accepts (section 4.2.2 step 5). An error leaves `out` as it was.
pub fn append_response(
    out: &mut Vec<u8>,
    acceptance: &Acceptance<'_>,
) -> Result<(), InvalidHeader> {
    let Acceptance {
        accept,
        protocol,
        extensions,
        extra,
    } = *acceptance;
    check_extra(
        extra,
        &[
            "upgrade",
            "connection",
            "sec-websocket-accept",
            "sec-websocket-protocol",
            "sec-websocket-extensions",
            "content-length",
            "transfer-encoding",
        ],
    )?;
    let is_no_token = protocol.is_some_and(|protocol| !http::is_token(protocol));
    if requires!("rfc6455/4.2.2/h7" => is_no_token) {
        let text = "has a value that is not a token";
        return Err(InvalidHeader::new("Sec-WebSocket-Protocol", text));
    }
    let start = out.len();
    requires!("rfc6455/4.2.2/12", "rfc6455/4.2.2/h1");
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
    requires!("rfc6455/4.2.2/h2");
    out.extend_from_slice(b"Upgrade: websocket\r\n");
    requires!("rfc6455/4.2.2/h3");
    out.extend_from_slice(b"Connection: Upgrade\r\n");
    requires!("rfc6455/4.2.2/h4");
    append_line(out, "Sec-WebSocket-Accept", accept);
    let none_is_chosen = requires!("rfc6455/4.2.2/9" => protocol.is_none());
    if !none_is_chosen {
        requires!("rfc6455/4.2.2/h5");
        append_line(out, "Sec-WebSocket-Protocol", protocol.unwrap_or_default());
    }
    if let Some(extensions) = extensions {
        requires!("rfc6455/4.2.2/h6");
        append_line(out, "Sec-WebSocket-Extensions", extensions);
    }
    if let Err(error) = http::append_headers(out, extra) {
        out.truncate(start);
        return Err(error);
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

fn append_line(out: &mut Vec<u8>, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}
