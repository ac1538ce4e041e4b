//! RFC 6455 sections 4.2.1 and 4.2.2: the server's half of the opening handshake.

use vespiary_trace::claims;
use vespiary_wire::http::{self, InvalidHeader, Limits, Refusal, Request};
use vespiary_wire::websocket::handshake::{self, Acceptance, Upgrade, accept_value};
use vespiary_wire::websocket::profile::Version;

const SPOKEN: &[Version] = &[Version::Rfc6455];

const LIMITS: Limits = Limits {
    header_bytes_max: 8192,
    headers_max: 64,
};

/// The example of section 1.2.
const EXAMPLE: &str = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Origin: http://example.com\r\nSec-WebSocket-Protocol: chat, superchat\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

fn parse(head: &str) -> Request {
    http::parse_request(head.as_bytes(), &LIMITS)
        .unwrap()
        .unwrap()
        .0
}

fn check(head: &str) -> Result<Upgrade, Refusal> {
    handshake::check(&parse(head), SPOKEN)
}

/// The example with one of its lines replaced.
fn changed(line: &str, by: &str) -> String {
    assert!(EXAMPLE.contains(line), "{line:?} is not in the example");
    EXAMPLE.replacen(line, by, 1)
}

fn append_response(
    out: &mut Vec<u8>,
    accept: &str,
    protocol: Option<&str>,
    extra: &[(String, String)],
) -> Result<(), InvalidHeader> {
    let acceptance = Acceptance {
        accept,
        protocol,
        extra,
        ..Acceptance::default()
    };
    handshake::append_response(out, &acceptance)
}

fn assert_refused(status: u16, head: &str) -> Refusal {
    match check(head) {
        Err(refusal) if refusal.status == status => refusal,
        other => panic!("{head:?} gave {other:?} where {status} was due"),
    }
}

#[test]
fn section_1_3_the_example_key_gives_the_example_accept() {
    assert_eq!(
        accept_value("dGhlIHNhbXBsZSBub25jZQ=="),
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
}

#[test]
fn section_1_2_the_example_is_accepted() {
    claims!("rfc6455/4.2.1/h7");
    let upgrade = check(EXAMPLE).unwrap();
    let expected = Upgrade {
        key: "dGhlIHNhbXBsZSBub25jZQ==".to_owned(),
        protocols: vec!["chat".to_owned(), "superchat".to_owned()],
        origin: Some("http://example.com".to_owned()),
        extensions: vec![],
        version: Version::Rfc6455,
    };
    assert_eq!(upgrade, expected);
}

#[test]
fn section_1_2_the_example_response_is_written() {
    claims!(
        "rfc6455/4.2.2/12",
        "rfc6455/4.2.2/h1",
        "rfc6455/4.2.2/h2",
        "rfc6455/4.2.2/h3",
        "rfc6455/4.2.2/h4",
        "rfc6455/4.2.2/h5"
    );
    let mut out = Vec::new();
    let accept = accept_value("dGhlIHNhbXBsZSBub25jZQ==");
    append_response(&mut out, &accept, Some("chat"), &[]).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\
         \r\n"
    );
}

#[test]
fn section_4_2_2_a_response_without_a_subprotocol_has_no_such_header() {
    claims!("rfc6455/4.2.2/9");
    let mut out = Vec::new();
    append_response(&mut out, "x", None, &[]).unwrap();
    assert!(out.ends_with(b"\r\nSec-WebSocket-Accept: x\r\n\r\n"));
}

#[test]
fn section_4_2_1_names_and_tokens_are_compared_without_regard_to_case() {
    let head = EXAMPLE
        .replace("Upgrade: websocket", "UPGRADE: h2c, WebSocket")
        .replace("Connection: Upgrade", "connection: keep-alive, UPGRADE");
    assert!(check(&head).is_ok());
}

#[test]
fn section_4_2_1_an_absolute_target_is_accepted() {
    assert!(check(&changed("GET /chat", "GET http://server.example.com/chat")).is_ok());
}

#[test]
fn section_4_2_1_item_1_another_method_is_405_and_the_answer_names_get() {
    claims!("rfc6455/4.2.1/h1");
    for method in ["POST", "HEAD"] {
        let refusal = assert_refused(405, &changed("GET ", &format!("{method} ")));
        assert!(
            refusal
                .headers
                .contains(&("Allow".to_owned(), "GET".to_owned()))
        );
    }
}

#[test]
fn rfc_9110_9_1_a_method_that_is_not_known_is_501() {
    claims!("rfc9110/9.1/3");
    for method in ["get", "BREW", "WEBSOCKET"] {
        assert_refused(501, &changed("GET ", &format!("{method} ")));
    }
}

#[test]
fn rfc_9110_7_8_an_upgrade_of_http_1_0_is_not_looked_at() {
    claims!("rfc6455/4.2.1/h1", "rfc9110/7.8/11");
    let head = changed("HTTP/1.1", "HTTP/1.0");
    assert!(!handshake::is_upgrade(&parse(&head), &[Version::Rfc6455]));
    let refusal = assert_refused(426, &head);
    assert!(refusal.text.contains("HTTP/1.1"), "{refusal}");
}

#[test]
fn a_request_that_asks_for_no_websocket_is_refused_by_its_method() {
    let plain = |method: &str| {
        let head = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
        handshake::refuse_plain(&parse(&head))
    };
    for (method, status) in [("GET", 426), ("HEAD", 426), ("POST", 405), ("BREW", 501)] {
        assert_eq!(plain(method).status, status, "{method}");
    }
    let allowed = ("Allow".to_owned(), "GET, HEAD".to_owned());
    assert!(plain("POST").headers.contains(&allowed));
}

#[test]
fn section_4_2_1_item_3_a_request_that_asks_for_no_websocket_is_426() {
    claims!("rfc6455/4.2.1/h3");
    for upgrade in ["", "Upgrade: h2c\r\n", "Upgrade: websockets\r\n"] {
        let head = changed("Upgrade: websocket\r\n", upgrade);
        assert!(!handshake::is_upgrade(&parse(&head), SPOKEN));
        let refusal = assert_refused(426, &head);
        assert!(
            refusal
                .headers
                .contains(&("Upgrade".to_owned(), "websocket".to_owned()))
        );
    }
    assert!(handshake::is_upgrade(&parse(EXAMPLE), SPOKEN));
}

#[test]
fn section_4_2_1_item_4_a_connection_header_without_upgrade_is_400() {
    claims!("rfc6455/4.2.1/h4");
    for connection in ["", "Connection: keep-alive\r\n", "Connection: Upgraded\r\n"] {
        assert_refused(400, &changed("Connection: Upgrade\r\n", connection));
    }
}

#[test]
fn section_4_2_1_item_5_a_key_that_is_not_16_bytes_in_base64_once_is_400() {
    claims!("rfc6455/4.2.1/h5", "rfc6455/11.3.1/1");
    let line = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    assert_refused(400, &changed(line, ""));
    let refusal = assert_refused(400, &changed(line, &line.repeat(2)));
    assert!(refusal.text.contains("more than one"));
    for key in [
        "",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub25j",
        "dGhlIHNhbXBsZSBub25jZWE=",
        "dGhlIHNhbXBsZSBub25jZWFi",
        "dGhlIHNhbXBsZSBub25-ZQ==",
        "dGhlIHNhbXBs SBub25jZQ==",
        "caféIHNhbXBsZSBub25jZQ==",
    ] {
        assert_refused(
            400,
            &changed(line, &format!("Sec-WebSocket-Key: {key}\r\n")),
        );
    }
}

#[test]
fn section_4_2_1_item_5_bits_that_belong_to_no_byte_of_the_key_are_not_looked_at() {
    let head = EXAMPLE.replace("dGhlIHNhbXBsZSBub25jZQ==", "AQIDBAUGBwgJCgsMDQ4PEC==");
    assert_eq!(check(&head).unwrap().key, "AQIDBAUGBwgJCgsMDQ4PEC==");
}

#[test]
fn section_4_2_2_another_version_is_426_and_the_answer_names_13() {
    claims!("rfc6455/4.2.1/h6", "rfc6455/4.2.2/6", "rfc6455/4.4/1");
    for version in ["0", "8", "12", "14", "255"] {
        let head = changed("Version: 13", &format!("Version: {version}"));
        let refusal = assert_refused(426, &head);
        let line = ("Sec-WebSocket-Version".to_owned(), "13".to_owned());
        assert!(refusal.headers.contains(&line));
    }
}

#[test]
fn section_4_2_1_item_6_a_version_that_is_missing_repeated_or_no_number_is_400() {
    claims!("rfc6455/4.3/h1", "rfc6455/11.3.5/2");
    let line = "Sec-WebSocket-Version: 13\r\n";
    assert_refused(400, &changed(line, ""));
    assert_refused(400, &changed(line, &line.repeat(2)));
    for version in ["", "256", "013", "13, 8", "x", "+13", "-1"] {
        assert_refused(
            400,
            &changed(line, &format!("Sec-WebSocket-Version: {version}\r\n")),
        );
    }
}

#[test]
fn section_4_2_1_item_7_the_origin_may_be_absent_but_not_repeated() {
    let line = "Origin: http://example.com\r\n";
    assert_eq!(check(&changed(line, "")).unwrap().origin, None);
    assert_refused(400, &changed(line, &line.repeat(2)));
}

#[test]
fn section_4_2_1_item_8_subprotocols_are_one_list_of_distinct_tokens() {
    claims!("rfc6455/4.1/32", "rfc6455/4.2.1/h8", "rfc6455/11.3.4/1");
    let line = "Sec-WebSocket-Protocol: chat, superchat\r\n";
    assert!(check(&changed(line, "")).unwrap().protocols.is_empty());
    let two = "Sec-WebSocket-Protocol: b\r\nSec-WebSocket-Protocol: a,,c\r\n";
    assert_eq!(
        check(&changed(line, two)).unwrap().protocols,
        ["b", "a", "c"]
    );
    for value in ["", ",", "a b", "a/b", "a, a", "é", "\"a\""] {
        assert_refused(
            400,
            &changed(line, &format!("Sec-WebSocket-Protocol: {value}\r\n")),
        );
    }
}

#[test]
fn section_4_2_1_item_9_extensions_are_handed_on_as_they_came() {
    claims!("rfc6455/4.2.1/h9", "rfc6455/9.1/3", "rfc6455/11.3.2/1");
    let lines = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: a; b=1, c\r\n\
                 Sec-WebSocket-Extensions: d\r\n";
    let head = changed("Sec-WebSocket-Version: 13\r\n", lines);
    assert_eq!(check(&head).unwrap().extensions, ["a; b=1, c", "d"]);
}

#[test]
fn section_9_1_extensions_that_do_not_follow_the_grammar_are_400() {
    claims!("rfc6455/9.1/1", "rfc6455/9.1/h1");
    let line = "Origin: http://example.com\r\n";
    for value in ["", "a b", "a; b=", "a; b=\"c d\""] {
        assert_refused(
            400,
            &changed(line, &format!("Sec-WebSocket-Extensions: {value}\r\n")),
        );
    }
}

#[test]
fn a_handshake_with_a_body_is_400() {
    let line = "Origin: http://example.com\r\n";
    assert_refused(400, &changed(line, "Content-Length: 3\r\n"));
    assert_refused(400, &changed(line, "Transfer-Encoding: chunked\r\n"));
    assert!(check(&changed(line, "Content-Length: 0\r\n")).is_ok());
}

#[test]
fn a_response_takes_further_headers_but_none_that_it_writes_itself_or_that_break_out() {
    claims!("rfc6455/4.2.2/h7");
    let pair = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let mut out = Vec::new();
    append_response(&mut out, "x", None, &pair("Set-Cookie", "a=b")).unwrap();
    assert!(out.ends_with(b"Sec-WebSocket-Accept: x\r\nSet-Cookie: a=b\r\n\r\n"));
    out.clear();
    for extra in [
        pair("upgrade", "h2c"),
        pair("Connection", "close"),
        pair("Sec-WebSocket-Accept", "x"),
        pair("Sec-WebSocket-Protocol", "x"),
        pair("Content-Length", "0"),
        pair("X", "a\r\nY: b"),
        pair("X Y", "a"),
    ] {
        assert!(
            append_response(&mut out, "x", None, &extra).is_err(),
            "{extra:?}"
        );
    }
    for protocol in ["", "a b", "a\r\nb"] {
        assert!(append_response(&mut out, "x", Some(protocol), &[]).is_err());
    }
    assert!(out.is_empty());
}
