//! The opening handshake by the rules of both versions.

use vespiary_trace::claims;
use vespiary_wire::http::{self, Limits, Refusal};
use vespiary_wire::websocket::handshake::{
    self, Acceptance, Agreed, Ask, HandshakeError, Offered, Upgrade, append_request,
    check_response, is_upgrade,
};
use vespiary_wire::websocket::profile::Version;

const NEW: Version = Version::Rfc6455;
const OLD: Version = Version::Hybi09;
const LIMITS: Limits = Limits {
    header_bytes_max: 8192,
    headers_max: 64,
};
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A request that names a version, with these lines beside the key and the version.
fn request(target: &str, version: &str, lines: &str) -> http::Request {
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: h\r\n{lines}Sec-WebSocket-Key: {KEY}\r\n\
         Sec-WebSocket-Version: {version}\r\n\r\n"
    );
    let parsed = http::parse_request(head.as_bytes(), &LIMITS);
    parsed.expect("a request").expect("the whole of it").0
}

fn check(target: &str, version: &str, lines: &str) -> Result<Upgrade, Refusal> {
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
    let lines = format!("{upgrade}{lines}");
    handshake::check(&request(target, version, &lines), &Version::ALL)
}

fn status(checked: Result<Upgrade, Refusal>) -> u16 {
    checked.map_or_else(|refusal| refusal.status, |_| 101)
}

#[test]
fn a_version_that_is_not_spoken_is_answered_with_all_that_are() {
    claims!("hybi09/5.2.2/5");
    assert_eq!(check("/", "13", "").map(|it| it.version), Ok(NEW));
    assert_eq!(check("/", "8", "").map(|it| it.version), Ok(OLD));
    for version in ["0", "7", "9", "12", "14", "255"] {
        let refusal = check("/", version, "").expect_err("not spoken");
        assert_eq!(refusal.status, 426);
        let named = ("Sec-WebSocket-Version".to_owned(), "13, 8".to_owned());
        assert!(refusal.headers.contains(&named), "{:?}", refusal.headers);
    }
    for version in ["", "08", "13, 8", "x", "256"] {
        assert_eq!(status(check("/", version, "")), 400, "{version:?}");
    }
    let one = handshake::check(
        &request("/", "8", "Upgrade: websocket\r\nConnection: Upgrade\r\n"),
        &[NEW],
    );
    assert_eq!(status(one), 426);
}

#[test]
fn in_8_a_request_needs_neither_upgrade_nor_connection() {
    claims!("hybi09/5.2.1/h1");
    for lines in ["", "Upgrade: websocket\r\n", "Connection: keep-alive\r\n"] {
        let old = request("/", "8", lines);
        assert!(is_upgrade(&old, &Version::ALL), "{lines}");
        assert_eq!(status(handshake::check(&old, &Version::ALL)), 101);
        let new = request("/", "13", lines);
        assert_ne!(status(handshake::check(&new, &Version::ALL)), 101);
        // Where 8 is not spoken its rules do not hold.
        assert_ne!(status(handshake::check(&old, &[NEW])), 101);
    }
}

#[test]
fn an_absolute_target_has_the_schemes_of_its_version() {
    claims!("hybi09/5.2.1/h2", "rfc6455/4.2.1/h11");
    for (scheme, new, old) in [
        ("http", 101, 400),
        ("HTTPS", 101, 400),
        ("ws", 400, 101),
        ("WSS", 400, 101),
    ] {
        let target = format!("{scheme}://h/chat");
        assert_eq!(status(check(&target, "13", "")), new, "{target}");
        assert_eq!(status(check(&target, "8", "")), old, "{target}");
    }
    let path = "/to?http://elsewhere";
    assert_eq!(status(check(path, "13", "")), 101);
    assert_eq!(status(check(path, "8", "")), 101);
}

#[test]
fn each_version_tells_the_origin_in_a_header_of_its_own() {
    claims!("hybi09/5.2.1/2");
    let lines = "Origin: http://new\r\nSec-WebSocket-Origin: http://old\r\n";
    let origin = |version| check("/", version, lines).map(|it| it.origin);
    assert_eq!(origin("13"), Ok(Some("http://new".to_owned())));
    assert_eq!(origin("8"), Ok(Some("http://old".to_owned())));
    let twice = "Sec-WebSocket-Origin: http://a\r\nSec-WebSocket-Origin: http://b\r\n";
    assert_eq!(status(check("/", "8", twice)), 400);
    assert_eq!(status(check("/", "13", twice)), 101);
}

#[test]
fn in_8_a_quoted_parameter_is_malformed() {
    claims!("hybi09/9.1/h1");
    let lines = "Sec-WebSocket-Extensions: mux; max=\"4\"\r\n";
    assert_eq!(status(check("/", "13", lines)), 101);
    assert_eq!(status(check("/", "8", lines)), 400);
}

fn written(version: Version) -> String {
    let mut out = Vec::new();
    let ask = Ask {
        version,
        host: "h:81",
        target: "/chat?x",
        key: KEY,
        protocols: &[],
        extensions: None,
        extra: &[("origin".to_owned(), "http://a".to_owned())],
    };
    append_request(&mut out, &ask).expect("clean lines");
    String::from_utf8(out).expect("ASCII")
}

#[test]
fn a_request_of_version_8_is_that_of_13_but_for_the_number_and_the_origin() {
    claims!("hybi09/5.1/21", "hybi09/5.1/29", "hybi09/5.1/33");
    let new = written(NEW);
    assert!(
        new.starts_with("GET /chat?x HTTP/1.1\r\nHost: h:81\r\n"),
        "{new}"
    );
    assert!(new.contains("\r\norigin: http://a\r\n"), "{new}");
    let expected = new
        .replace("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8")
        .replace("\r\norigin:", "\r\nSec-WebSocket-Origin:");
    assert_eq!(written(OLD), expected);
}

#[test]
fn extensions_are_offered_and_granted_in_a_line_of_their_own() {
    claims!("rfc6455/4.1/33", "rfc6455/4.2.2/h6");
    let line = "\r\nSec-WebSocket-Extensions: deflate-stream\r\n";
    let mut offered = Vec::new();
    let ask = Ask {
        version: OLD,
        host: "h",
        target: "/",
        key: KEY,
        protocols: &[],
        extensions: Some("deflate-stream"),
        extra: &[],
    };
    append_request(&mut offered, &ask).expect("clean lines");
    assert!(String::from_utf8_lossy(&offered).contains(line));
    let mut granted = Vec::new();
    let acceptance = Acceptance {
        accept: "x",
        extensions: Some("deflate-stream"),
        ..Acceptance::default()
    };
    handshake::append_response(&mut granted, &acceptance).expect("clean lines");
    assert!(String::from_utf8_lossy(&granted).contains(line));
}

fn check_answer(version: Version, connection: &str, line: &str) -> Result<Agreed, HandshakeError> {
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: {connection}\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n{line}\r\n"
    );
    let parsed = http::parse_response(head.as_bytes(), &LIMITS);
    let response = parsed.expect("a response").expect("the whole of it").0;
    let offered = Offered {
        protocols: &["chat".to_owned()],
        deflate: None,
        deflate_stream: version == OLD,
    };
    check_response(&response, version, KEY, &offered)
}

#[test]
fn in_8_an_answers_connection_is_upgrade_and_nothing_beside() {
    claims!("hybi09/5.1/41");
    for whole in ["Upgrade", "upgrade"] {
        assert!(check_answer(NEW, whole, "").is_ok());
        assert!(check_answer(OLD, whole, "").is_ok());
    }
    assert!(check_answer(NEW, "keep-alive, Upgrade", "").is_ok());
    let refused = check_answer(OLD, "keep-alive, Upgrade", "").expect_err("a list");
    assert!(refused.text.ends_with("(HyBi-09 5.1)"), "{}", refused.text);
    assert!(check_answer(OLD, "keep-alive", "").is_err());
}

#[test]
fn in_8_the_subprotocol_is_whatever_the_answer_names() {
    claims!("hybi09/5.1/h1");
    let protocol = |version, name| {
        let line = format!("Sec-WebSocket-Protocol: {name}\r\n");
        check_answer(version, "Upgrade", &line).map(|agreed| agreed.protocol)
    };
    assert_eq!(protocol(NEW, "chat"), Ok(Some("chat".to_owned())));
    assert!(protocol(NEW, "other").is_err());
    assert_eq!(protocol(OLD, "other"), Ok(Some("other".to_owned())));
}

#[test]
fn a_compressed_stream_is_agreed_on_by_its_bare_name_alone() {
    let stream = |version, value| {
        let line = format!("Sec-WebSocket-Extensions: {value}\r\n");
        check_answer(version, "Upgrade", &line).map(|agreed| agreed.deflate_stream)
    };
    assert_eq!(stream(OLD, "deflate-stream"), Ok(true));
    assert_eq!(
        check_answer(OLD, "Upgrade", "").map(|it| it.deflate_stream),
        Ok(false)
    );
    for wrong in [
        "deflate-stream; a=1",
        "deflate-stream, x-b",
        "x-deflate-stream",
    ] {
        assert!(stream(OLD, wrong).is_err(), "{wrong}");
    }
    assert!(stream(NEW, "deflate-stream").is_err());
}
