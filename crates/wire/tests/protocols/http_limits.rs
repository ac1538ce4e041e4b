//! A head's limits: which status each is refused with, and how it is named.

use vespiary_wire::Limit;
use vespiary_wire::http::{Limits, parse_request};

#[test]
fn the_limit_that_a_head_is_over_is_named() {
    let limits = Limits {
        header_bytes_max: 64,
        headers_max: 2,
    };
    let named = |head: &str| parse_request(head.as_bytes(), &limits).unwrap_err().limit;
    assert_eq!(
        named(&format!("GET /{}", "a".repeat(100))),
        Some(Limit::HeaderBytes)
    );
    let long = format!("GET / HTTP/1.1\r\nHost: {}", "a".repeat(100));
    assert_eq!(named(&long), Some(Limit::HeaderBytes));
    let many = "GET / HTTP/1.1\r\nHost: a\r\nB:\r\nC:\r\nD";
    assert_eq!(named(many), Some(Limit::Headers));
    assert_eq!(named("GET / HTTP/1.1\n"), None);
}

#[test]
fn a_request_line_over_the_limit_is_414_and_a_head_over_the_limit_is_431() {
    let limits = Limits {
        header_bytes_max: 60,
        headers_max: 3,
    };
    let status = |head: &str| parse_request(head.as_bytes(), &limits).unwrap_err().status;
    assert_eq!(status(&format!("GET /{}", "a".repeat(100))), 414);
    assert_eq!(
        status(&format!("GET / HTTP/1.1\r\nHost: {}", "a".repeat(100))),
        431
    );
    assert_eq!(status("GET / HTTP/1.1\r\nHost: a\r\nB:\r\nC:\r\nD"), 431);
}
