//! RFC 9112 section 4: responses, as a client reads them.

use proptest::prelude::*;
use vespiary_trace::claims;
use vespiary_wire::Limit;
use vespiary_wire::http::{Limits, Response, ResponseReader, parse_response};

const LIMITS: Limits = Limits {
    header_bytes_max: 4096,
    headers_max: 16,
};

fn accepted(head: &str) -> Response {
    let (response, consumed) = parse_response(head.as_bytes(), &LIMITS).unwrap().unwrap();
    assert_eq!(consumed, head.len());
    response
}

#[test]
fn a_response_is_cut_into_its_parts() {
    let response =
        accepted("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nA:b,c\r\n\r\n");
    assert_eq!((response.minor_version, response.status), (1, 101));
    assert_eq!(response.reason, "Switching Protocols");
    assert_eq!(response.header("upgrade"), Some("websocket"));
    assert_eq!(response.header_tokens("a").collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!(response.header_all("none").count(), 0);
}

#[test]
fn a_value_of_a_response_has_no_space_around_it() {
    claims!("rfc9110/5.5/1");
    let response = accepted("HTTP/1.1 200 OK\r\nA: \t b c \t\r\n\r\n");
    assert_eq!(response.header("a"), Some("b c"));
}

#[test]
fn section_4_the_reason_may_be_empty_but_not_its_space() {
    assert_eq!(accepted("HTTP/1.0 200 \r\n\r\n").reason, "");
    assert!(parse_response(b"HTTP/1.1 200\r\n\r\n", &LIMITS).is_err());
}

#[test]
fn section_4_a_malformed_status_line_is_refused() {
    for head in [
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "http/1.1 200 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 020 OK\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1 200 O\0K\r\n\r\n",
        "HTTP/1.1 200 OK\n\r\n",
        "HTTP/1.1 200 OK\r\r\n",
        "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n",
    ] {
        assert!(
            parse_response(head.as_bytes(), &LIMITS).is_err(),
            "{head:?}"
        );
    }
}

#[test]
fn a_response_over_the_limits_is_refused() {
    let many = format!("HTTP/1.1 200 OK\r\n{}", "A: b\r\n".repeat(17));
    let limit = |head: &str| parse_response(head.as_bytes(), &LIMITS).unwrap_err().limit;
    assert_eq!(limit(&many), Some(Limit::Headers));
    let long = format!("HTTP/1.1 200 {}", "x".repeat(4096));
    assert_eq!(limit(&long), Some(Limit::HeaderBytes));
    assert_eq!(limit("HTTP/1.1 2x0 \r\n\r\n"), None);
}

#[test]
fn rfc_9110_15_2_interim_responses_are_1xx_but_101() {
    for (status, is_interim) in [
        (100, true),
        (101, false),
        (103, true),
        (199, true),
        (200, false),
    ] {
        let head = format!("HTTP/1.1 {status} X\r\n\r\n");
        let (response, _) = parse_response(head.as_bytes(), &LIMITS).unwrap().unwrap();
        assert_eq!(response.is_interim(), is_interim, "{status}");
    }
}

proptest! {
    #[test]
    fn any_head_gives_the_same_outcome_byte_by_byte_as_in_one_piece(
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut head = b"HTTP/1.1 101 Switching Protocols\r\nA: b\r\nC:d\r\n\r\n".to_vec();
        let place = place.index(head.len());
        head[place] = byte;
        let whole = parse_response(&head, &LIMITS);
        let mut reader = ResponseReader::new();
        let mut pieces = Ok(None);
        for end in 0..=head.len() {
            pieces = reader.parse(&head[..end], &LIMITS);
            if pieces != Ok(None) {
                break;
            }
        }
        prop_assert_eq!(pieces, whole);
    }
}
