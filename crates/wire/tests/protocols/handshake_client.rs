//! RFC 6455 section 4.1: the client's half of the opening handshake.

use proptest::prelude::*;
use vespiary_trace::claims;
use vespiary_wire::http::{self, InvalidHeader, Limits, Response};
use vespiary_wire::websocket::handshake::{
    self, Acceptance, Ask, HandshakeError, Offered, accept_value, append_request, check_response,
    encode_key,
};
use vespiary_wire::websocket::profile::Version;

const LIMITS: Limits = Limits {
    header_bytes_max: 8192,
    headers_max: 64,
};
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const RESPONSE: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
    Sec-WebSocket-Protocol: chat\r\n\r\n";

fn parse(head: &str) -> Response {
    http::parse_response(head.as_bytes(), &LIMITS)
        .unwrap()
        .unwrap()
        .0
}

fn offered() -> Vec<String> {
    vec!["superchat".to_owned(), "chat".to_owned()]
}

fn append(
    out: &mut Vec<u8>,
    host: &str,
    target: &str,
    key: &str,
    protocols: &[String],
    extra: &[(String, String)],
) -> Result<(), InvalidHeader> {
    let ask = Ask {
        host,
        target,
        key,
        protocols,
        extra,
        ..Ask::default()
    };
    append_request(out, &ask)
}

/// The subprotocol that the server chose.
fn check(
    head: &Response,
    key: &str,
    protocols: &[String],
) -> Result<Option<String>, HandshakeError> {
    let offered = Offered {
        protocols,
        ..Offered::default()
    };
    check_response(head, Version::Rfc6455, key, &offered).map(|agreed| agreed.protocol)
}

/// Checks the example response with one of its lines replaced.
fn check_changed(line: &str, by: &str) -> Result<Option<String>, HandshakeError> {
    assert!(RESPONSE.contains(line), "{line:?} is not in the example");
    check(&parse(&RESPONSE.replacen(line, by, 1)), KEY, &offered())
}

#[test]
fn section_4_1_item_7_the_example_bytes_give_the_corrected_example_key() {
    let nonce = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
    assert_eq!(encode_key(nonce), "AQIDBAUGBwgJCgsMDQ4PEA==");
}

#[test]
fn section_4_1_a_request_is_written_with_all_that_it_must_have() {
    claims!(
        "rfc6455/4.1/18",
        "rfc6455/4.1/19",
        "rfc6455/4.1/20",
        "rfc6455/4.1/21",
        "rfc6455/4.1/22",
        "rfc6455/4.1/23",
        "rfc6455/4.1/24",
        "rfc6455/4.1/28",
        "rfc6455/4.1/29",
        "rfc6455/4.1/30",
        "rfc6455/4.1/31",
        "rfc6455/4.1/34"
    );
    let mut out = Vec::new();
    let extra = [("Origin".to_owned(), "http://a".to_owned())];
    append(&mut out, "a:81", "/chat?x", KEY, &offered(), &extra).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "GET /chat?x HTTP/1.1\r\nHost: a:81\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: superchat, chat\r\nOrigin: http://a\r\n\r\n"
    );
}

#[test]
fn a_request_that_would_break_out_of_its_lines_is_an_error_and_nothing_is_written() {
    claims!(
        "rfc6455/3/2",
        "rfc6455/3/3",
        "rfc6455/4.1/18",
        "rfc6455/4.1/32"
    );
    let mut out = Vec::new();
    let mut ask = |host: &str, target: &str, protocol: &str, name: &str, value: &str| {
        let protocols = [protocol.to_owned()];
        let extra = [(name.to_owned(), value.to_owned())];
        append(&mut out, host, target, KEY, &protocols, &extra)
    };
    assert!(ask("a\r\nX: y", "/", "p", "X", "y").is_err());
    for target in ["", "a", "/a b", "/a\r\nX: y", "/a#b", "/é", "http://a/"] {
        assert!(ask("a", target, "p", "X", "y").is_err(), "{target:?}");
    }
    assert!(ask("a", "/", "p q", "X", "y").is_err());
    for name in [
        "Host",
        "upgrade",
        "Connection",
        "sec-websocket-key",
        "Content-Length",
    ] {
        assert!(ask("a", "/", "p", name, "y").is_err(), "{name}");
    }
    assert!(ask("a", "/", "p", "X", "y\nz").is_err());
    assert!(out.is_empty());
}

#[test]
fn section_4_1_item_10_a_subprotocol_is_offered_once() {
    claims!("rfc6455/4.1/32");
    let twice = ["a", "b", "a"].map(str::to_owned);
    let mut out = Vec::new();
    assert!(append(&mut out, "a", "/", KEY, &twice, &[]).is_err());
    assert!(out.is_empty());
}

#[test]
fn section_4_1_the_example_response_is_accepted() {
    claims!("rfc6455/4.1/h2");
    assert_eq!(
        check(&parse(RESPONSE), KEY, &offered()),
        Ok(Some("chat".to_owned()))
    );
    assert_eq!(
        check_changed("Sec-WebSocket-Protocol: chat\r\n", ""),
        Ok(None)
    );
    assert!(check_changed("Upgrade: websocket", "upgrade: WebSocket").is_ok());
    assert!(check_changed("Connection: Upgrade", "connection: x, upgrade").is_ok());
}

#[test]
fn section_4_1_step_1_another_status_is_an_error_that_tells_it() {
    claims!("rfc6455/4.1/36", "rfc6455/4.1/h1");
    let error = check_changed("101 Switching Protocols", "403 Forbidden").unwrap_err();
    assert_eq!(error.status, Some(403));
    assert_eq!(
        error.text,
        "the server answered 403 Forbidden where 101 opens a WebSocket"
    );
}

#[test]
fn section_4_1_step_2_the_upgrade_is_websocket_and_nothing_else() {
    claims!("rfc6455/4.1/37");
    for line in ["", "Upgrade: h2c\r\n", "Upgrade: h2c, websocket\r\n"] {
        assert!(
            check_changed("Upgrade: websocket\r\n", line).is_err(),
            "{line}"
        );
    }
}

#[test]
fn section_4_1_step_3_the_connection_lists_upgrade() {
    claims!("rfc6455/4.1/38");
    for line in ["", "Connection: keep-alive\r\n"] {
        assert!(
            check_changed("Connection: Upgrade\r\n", line).is_err(),
            "{line}"
        );
    }
}

#[test]
fn section_4_1_step_4_the_accept_answers_the_key() {
    claims!("rfc6455/4.1/39", "rfc6455/11.3.3/1");
    let line = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    assert!(check_changed(line, "").is_err());
    assert!(check_changed(line, &line.repeat(2)).is_err());
    assert!(check_changed("s3pPL", "S3pPL").is_err());
    assert!(check_changed(line, &line.replace(": ", ":  \t").replace("\r\n", " \r\n")).is_ok());
}

#[test]
fn section_4_1_step_5_an_extension_that_was_not_offered_is_refused() {
    claims!("rfc6455/4.1/40", "rfc6455/9.1/1");
    let line = "Sec-WebSocket-Protocol: chat\r\n";
    for value in ["permessage-deflate", "x-unknown", "a b", ""] {
        let by = format!("{line}Sec-WebSocket-Extensions: {value}\r\n");
        assert!(check_changed(line, &by).is_err(), "{value}");
    }
}

#[test]
fn section_4_1_step_6_a_subprotocol_that_was_not_offered_is_refused() {
    claims!("rfc6455/4.1/41", "rfc6455/11.3.4/2");
    let line = "Sec-WebSocket-Protocol: chat\r\n";
    for by in ["other", "Chat", "chat, superchat", ""] {
        let by = format!("Sec-WebSocket-Protocol: {by}\r\n");
        assert!(check_changed(line, &by).is_err(), "{by}");
    }
    assert!(check_changed(line, &line.repeat(2)).is_err());
    assert!(check(&parse(RESPONSE), KEY, &[]).is_err());
}

#[test]
fn http_1_0_opens_no_websocket() {
    claims!("rfc6455/4.1/42");
    assert!(check_changed("HTTP/1.1", "HTTP/1.0").is_err());
}

proptest! {
    #[test]
    fn the_two_halves_understand_each_other(
        nonce in any::<[u8; 16]>(),
        protocols in proptest::collection::btree_set("[a-z.!]{1,8}", 0..4),
    ) {
        let protocols: Vec<String> = protocols.into_iter().collect();
        let key = encode_key(nonce);
        let mut bytes = Vec::new();
        append(&mut bytes, "host", "/", &key, &protocols, &[]).unwrap();
        let (request, consumed) = http::parse_request(&bytes, &LIMITS).unwrap().unwrap();
        prop_assert_eq!(consumed, bytes.len());
        let upgrade = handshake::check(&request, &Version::ALL[..1]).unwrap();
        prop_assert_eq!((&upgrade.key, &upgrade.protocols), (&key, &protocols));
        let chosen = upgrade.protocols.last().map(String::as_str);
        let mut bytes = Vec::new();
        let acceptance = Acceptance {
            accept: &accept_value(&upgrade.key),
            protocol: chosen,
            ..Acceptance::default()
        };
        handshake::append_response(&mut bytes, &acceptance).unwrap();
        let (response, _) = http::parse_response(&bytes, &LIMITS).unwrap().unwrap();
        let agreed = check(&response, &key, &protocols).unwrap();
        prop_assert_eq!(agreed.as_deref(), chosen);
    }
}
