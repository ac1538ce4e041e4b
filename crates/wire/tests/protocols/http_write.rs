//! Responses as they are written: nothing that a caller gives can break out of its line.

use vespiary_wire::http::{
    Limits, Refusal, append_headers, append_response, parse_response, reason_phrase,
};

fn header(name: &str, value: &str) -> Vec<(String, String)> {
    vec![(name.to_owned(), value.to_owned())]
}

fn written(status: u16, headers: &[(String, String)], body: &[u8]) -> String {
    let mut out = Vec::new();
    append_response(&mut out, status, headers, body).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_response_has_its_phrase_its_headers_its_length_and_its_body() {
    assert_eq!(
        written(404, &header("X", "y"), b"gone"),
        "HTTP/1.1 404 Not Found\r\nX: y\r\nContent-Length: 4\r\n\r\ngone"
    );
    assert_eq!(
        written(299, &[], b""),
        "HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n"
    );
}

#[test]
fn rfc_9110_8_6_statuses_without_a_body_get_neither_length_nor_body() {
    for status in [100, 101, 204, 304] {
        let head = format!("HTTP/1.1 {status} {}\r\n\r\n", reason_phrase(status));
        assert_eq!(written(status, &[], b"ignored"), head);
    }
}

#[test]
fn a_header_that_would_break_out_of_its_line_is_an_error_and_nothing_is_written() {
    for (name, value) in [
        ("X", "a\r\nSet-Cookie: b"),
        ("X", "a\nb"),
        ("X", "a\rb"),
        ("X", "a\0b"),
        ("X", "a\u{7F}b"),
        ("X", "€"),
        ("X y", "a"),
        ("X:", "a"),
        ("", "a"),
        ("X\r\nY", "a"),
    ] {
        let mut out = b"before".to_vec();
        assert!(
            append_response(&mut out, 200, &header(name, value), b"").is_err(),
            "{value:?}"
        );
        assert!(append_headers(&mut out, &header(name, value)).is_err());
        assert_eq!(out, b"before");
    }
}

#[test]
fn a_length_that_is_not_the_bodys_is_an_error() {
    let mut out = Vec::new();
    assert!(append_response(&mut out, 200, &header("content-length", "3"), b"four").is_err());
    assert!(append_response(&mut out, 204, &header("content-length", "0"), b"").is_err());
    assert!(append_response(&mut out, 200, &header("Transfer-Encoding", "chunked"), b"").is_err());
    assert!(out.is_empty());
    let written = written(200, &header("content-length", "4"), b"four");
    assert_eq!(written, "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfour");
}

#[test]
fn latin_1_values_are_written_as_the_bytes_they_were_read_from() {
    let mut out = Vec::new();
    append_response(&mut out, 200, &header("X", "café"), b"").unwrap();
    assert!(out.windows(4).any(|window| window == b"caf\xE9"));
    let limits = Limits {
        header_bytes_max: 1000,
        headers_max: 9,
    };
    let (response, _) = parse_response(&out, &limits).unwrap().unwrap();
    assert_eq!(response.header("x"), Some("café"));
}

#[test]
fn a_refusals_connection_line_is_replaced_and_not_repeated() {
    let refusal = Refusal::new(426, "x").with_header("connection", "Upgrade, close");
    assert_eq!(refusal.headers, header("connection", "Upgrade, close"));
    assert_eq!(refusal.to_string(), "426 Upgrade Required: x");
}
