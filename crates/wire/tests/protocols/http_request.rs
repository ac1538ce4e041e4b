//! RFC 9112, requests: what is taken, what is refused, and how early.

use proptest::prelude::*;
use vespiary_wire::http::{Limits, Refusal, Request, RequestReader, head_end, parse_request};

pub const LIMITS: Limits = Limits {
    header_bytes_max: 8192,
    headers_max: 64,
};

fn read(head: &str) -> Result<Option<(Request, usize)>, Refusal> {
    parse_request(head.as_bytes(), &LIMITS)
}

fn accepted(head: &str) -> Request {
    match read(head) {
        Ok(Some((request, consumed))) => {
            assert_eq!(consumed, head.len());
            request
        }
        other => panic!("{head:?} gave {other:?}"),
    }
}

fn refused(head: &str) -> u16 {
    match read(head) {
        Err(refusal) => refusal.status,
        other => panic!("{head:?} gave {other:?}"),
    }
}

/// A request whose header lines are `lines`.
fn with(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

#[test]
fn a_request_is_cut_into_its_parts() {
    let head = "GET /chat?x=1 HTTP/1.1\r\nHost: example.com:8080\r\nX-Odd:\t a b \t\r\nEmpty:\r\n\
                Cookie: a\r\ncookie: b\r\n\r\n";
    let request = accepted(head);
    assert_eq!(
        (request.method(), request.target(), request.minor_version),
        ("GET", "/chat?x=1", 1)
    );
    let names: Vec<&str> = request.lines().map(|(name, _)| name).collect();
    assert_eq!(names, ["Host", "X-Odd", "Empty", "Cookie", "cookie"]);
    assert_eq!(request.header("x-odd"), Some("a b"));
    assert_eq!(request.header("EMPTY"), Some(""));
    assert_eq!(request.header("absent"), None);
    assert_eq!(request.header_all("Cookie").collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn what_follows_the_head_is_left_alone() {
    let head = with("");
    let bytes = [head.as_bytes(), b"\x81\x85more"].concat();
    let (_, consumed) = parse_request(&bytes, &LIMITS).unwrap().unwrap();
    assert_eq!(consumed, head.len());
}

#[test]
fn rfc_9110_5_6_1_tokens_of_several_lines_are_one_list_without_its_empty_elements() {
    let request = accepted(&with(
        "Connection: keep-alive, ,\r\nconnection:\tUpgrade ,x\r\n",
    ));
    let tokens: Vec<&str> = request.header_tokens("Connection").collect();
    assert_eq!(tokens, ["keep-alive", "Upgrade", "x"]);
}

#[test]
fn rfc_9110_5_5_bytes_above_ascii_in_a_value_are_decoded_as_latin_1() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\nX: caf\xE9 \xFF\r\n\r\n";
    let (request, _) = parse_request(head, &LIMITS).unwrap().unwrap();
    assert_eq!(request.header("x"), Some("café ÿ"));
}

#[test]
fn section_2_2_one_empty_line_before_the_request_is_skipped_and_two_are_refused() {
    assert_eq!(accepted(&format!("\r\n{}", with(""))).method(), "GET");
    assert_eq!(refused("\r\n\r\n"), 400);
    assert_eq!(refused("\n"), 400);
}

#[test]
fn section_2_2_a_bare_line_feed_is_refused_wherever_it_stands() {
    for head in [
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET\n/ HTTP/1.1\r\n",
        "GET /\nHost: a\r\n",
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\r\nHo\nst: a\r\n\r\n",
    ] {
        assert_eq!(refused(head), 400, "{head:?}");
    }
}

#[test]
fn section_2_2_a_bare_carriage_return_is_refused_wherever_it_stands() {
    for head in [
        "\rGET / HTTP/1.1\r\n",
        "G\rET / HTTP/1.1\r\n",
        "GET /\rx HTTP/1.1\r\n",
        "GET / HTTP/1.1\rHost: a\r\n",
        "GET / HTTP/1.1\r\nHost: a\rb\r\n",
        "GET / HTTP/1.1\r\nHo\rst: a\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\rx",
        "GET / HTTP/1.1\r\nHost: a\r\r\n",
    ] {
        assert_eq!(refused(head), 400, "{head:?}");
    }
}

#[test]
fn section_2_3_only_version_1_is_spoken() {
    for version in ["HTTP/2.0", "HTTP/0.9", "HTTP/9.1"] {
        assert_eq!(refused(&format!("GET / {version}\r\n")), 505, "{version}");
    }
    assert_eq!(refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505);
    for version in [
        "http/1.1",
        "HTTP/1",
        "HTTP/1.",
        "HTTP/11",
        "HTTP/1.10",
        "HTTPS/1.1",
        "",
        "X",
    ] {
        assert_eq!(
            refused(&format!("GET / {version}\r\nHost: a\r\n\r\n")),
            400,
            "{version}"
        );
    }
    assert_eq!(refused("GET /\r\n"), 400, "HTTP/0.9");
}

#[test]
fn section_3_single_spaces_stand_between_the_parts_and_nowhere_else() {
    for line in [
        " GET / HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET\t/ HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET / HTTP/1.1 x",
    ] {
        assert_eq!(
            refused(&format!("{line}\r\nHost: a\r\n\r\n")),
            400,
            "{line:?}"
        );
    }
}

#[test]
fn section_3_1_a_method_is_a_token_and_not_absurdly_long() {
    assert_eq!(
        accepted("M-SEARCH! / HTTP/1.1\r\nHost: a\r\n\r\n").method(),
        "M-SEARCH!"
    );
    for method in ["G(T", "G,T", "GÉT", "\"GET\"", "G\0T", "G:T", "{}"] {
        assert_eq!(
            refused(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n")),
            400,
            "{method:?}"
        );
    }
    let method = "M".repeat(32);
    assert_eq!(
        accepted(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n")).method(),
        method
    );
    assert_eq!(refused(&"M".repeat(33)), 501);
}

#[test]
fn section_3_2_each_form_of_target_is_taken_where_it_belongs() {
    for (method, target, path) in [
        ("GET", "/", "/"),
        ("GET", "/a/b?c=/d|{e}\"%zz", "/a/b?c=/d|{e}\"%zz"),
        ("GET", "//a", "//a"),
        ("GET", "/%2500?c=%00", "/%2500?c=%00"),
        ("GET", "http://example.com", "/"),
        ("GET", "http://example.com?q", "/?q"),
        ("GET", "WS://example.com:80/chat?q=1", "/chat?q=1"),
        ("OPTIONS", "*", "*"),
        ("CONNECT", "example.com:443", "example.com:443"),
        ("CONNECT", "[::1]:443", "[::1]:443"),
    ] {
        let request = accepted(&format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(
            (request.target(), &*request.path_and_query()),
            (target, path)
        );
    }
}

#[test]
fn section_3_2_targets_of_no_form_are_refused() {
    for (method, target) in [
        ("GET", "*"),
        ("GET", "a"),
        ("GET", "example.com:443"),
        ("GET", "/a#b"),
        ("GET", "/é"),
        ("GET", "/\x01"),
        ("GET", "/\x7F"),
        ("GET", "ftp://a/"),
        ("GET", "http:///x"),
        ("GET", "http://user@a/x"),
        ("GET", "://a/"),
        ("GET", "/%00"),
        ("GET", "/a%00.txt?b"),
        ("GET", "http://a/%00"),
        ("CONNECT", "/"),
        ("CONNECT", "example.com"),
        ("CONNECT", ":443"),
        ("CONNECT", "a:"),
        ("CONNECT", "a:99999"),
        ("OPTIONS", "**"),
    ] {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(refused(&head), 400, "{method} {target}");
    }
}

#[test]
fn section_3_2_2_the_authority_of_an_absolute_target_goes_before_host() {
    let request = accepted("GET http://b:81/x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(request.authority(), Some("b:81"));
    assert_eq!(accepted(&with("")).authority(), Some("a"));
    assert_eq!(accepted("GET / HTTP/1.0\r\n\r\n").authority(), None);
}

#[test]
fn section_3_2_host_is_there_once_and_names_a_host() {
    assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), 400);
    assert_eq!(refused("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"), 400);
    for version in ["1.0", "1.1"] {
        let twice = format!("GET / HTTP/{version}\r\nHost: a\r\nhost: a\r\n\r\n");
        assert!(
            read(&twice)
                .unwrap_err()
                .text
                .contains("more than one Host")
        );
    }
    for host in [
        "a",
        "a:80",
        "a:",
        "127.0.0.1:1",
        "[::1]",
        "[::1]:8080",
        "a_b.c-d",
        "%41",
        "[v1.x:y]",
        "[::ffff:1.2.3.4]:1",
    ] {
        accepted(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    }
    for host in [
        "",
        ":",
        "%4",
        "%zz",
        "a%",
        "[1]",
        "[::1%25lo]",
        "[v.x]",
        "a b",
        "a/b",
        "u@a",
        "a:b",
        "a:1:2",
        ":80",
        "[::1",
        "[]",
        "[::1]x",
        "a:70000",
        "é",
    ] {
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(refused(&head), 400, "{host}");
    }
}

#[test]
fn section_5_1_no_space_stands_before_the_colon_and_names_are_tokens() {
    for line in [
        "X : y", "X\t: y", ": y", "X y: z", "X(: y", "X", "Xé: y", "X\0: y",
    ] {
        assert_eq!(refused(&with(&format!("{line}\r\n"))), 400, "{line:?}");
    }
}

#[test]
fn section_5_2_folded_lines_are_refused() {
    assert_eq!(refused(&with("X: a\r\n b\r\n")), 400);
    assert_eq!(refused(&with("X: a\r\n\tb\r\n")), 400);
    assert_eq!(refused("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), 400);
}

#[test]
fn rfc_9110_5_5_control_characters_in_a_value_are_refused_and_tabs_are_not() {
    for byte in (0..0x20).chain([0x7F]) {
        let mut head = b"GET / HTTP/1.1\r\nHost: a\r\nX: a".to_vec();
        head.push(byte);
        head.extend_from_slice(b"b\r\n\r\n");
        let outcome = parse_request(&head, &LIMITS);
        assert_eq!(outcome.is_ok(), byte == b'\t', "{byte:#x} gave {outcome:?}");
    }
}

#[test]
fn section_6_3_what_could_be_read_as_two_lengths_is_refused() {
    for lines in [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length:\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding:\r\n",
    ] {
        assert_eq!(refused(&with(lines)), 400, "{lines:?}");
    }
    let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(refused(old), 400, "HTTP/1.0 knows no transfer coding");
    assert_eq!(refused(&with("Transfer-Encoding: gzip, chunked\r\n")), 501);
}

#[test]
fn section_6_3_one_length_or_chunked_alone_is_taken() {
    accepted(&with("Content-Length: 0\r\n"));
    accepted(&with("Content-Length: 18446744073709551615\r\n"));
    accepted(&with("Transfer-Encoding: Chunked\r\n"));
}

#[test]
fn a_head_of_exactly_the_limit_is_taken_and_one_byte_more_is_refused_before_it_comes() {
    let head = with("X: y\r\n");
    let limits = Limits {
        header_bytes_max: head.len(),
        headers_max: 2,
    };
    assert!(parse_request(head.as_bytes(), &limits).is_ok_and(|request| request.is_some()));
    let limits = Limits {
        header_bytes_max: head.len() - 1,
        headers_max: 2,
    };
    let cut = &head.as_bytes()[..head.len() - 1];
    assert_eq!(parse_request(cut, &limits).unwrap_err().status, 431);
    assert_eq!(
        parse_request(head.as_bytes(), &limits).unwrap_err().status,
        431
    );
}

#[test]
fn garbage_is_refused_at_the_first_byte_that_no_request_has() {
    for (bytes, needed) in [
        (&b"\x16\x03\x01\x02\x00"[..], 1),
        (b"\x00\x00", 1),
        (b"{\"json\": 1}", 1),
        (b"SSH-2.0-OpenSSH\r\n", 16),
        (b"EHLO a\r\n", 7),
        (b"\x81\x05Hello", 1),
        (b"GET / HTTQ", 10),
        (b"GET / HTTP/3", 12),
    ] {
        let first = (0..=bytes.len()).find(|end| parse_request(&bytes[..*end], &LIMITS).is_err());
        assert_eq!(first, Some(needed), "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn a_refusal_is_an_answer_that_says_why_and_closes() {
    let refusal = read("GET / HTTP/1.1\r\n\r\n").unwrap_err();
    let mut out = Vec::new();
    refusal.append_to(&mut out).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Length: 50\r\n\r\n\
         the request has no Host header (RFC 9112 3.2)\n"
            .replace(
                "50",
                &format!(
                    "{}",
                    "the request has no Host header (RFC 9112 3.2)\n".len()
                )
            )
    );
}

#[test]
fn the_end_of_a_head_is_found_where_the_search_left_off() {
    let head = with("X: y\r\n");
    let mut searched = 0;
    for end in 0..head.len() {
        assert_eq!(head_end(&head.as_bytes()[..end], searched), None);
        searched = end;
    }
    assert_eq!(head_end(head.as_bytes(), searched), Some(head.len()));
    assert_eq!(head_end(b"", 9), None);
}

#[test]
fn a_head_that_trickles_in_is_read_in_time_that_grows_with_its_length() {
    let limits = Limits {
        header_bytes_max: 1 << 21,
        headers_max: 64,
    };
    let head = with(&format!("X: {}\r\n", "y".repeat(1 << 20)));
    let mut reader = RequestReader::new();
    for end in 0..head.len() {
        assert_eq!(reader.parse(&head.as_bytes()[..end], &limits), Ok(None));
    }
    let (request, consumed) = reader.parse(head.as_bytes(), &limits).unwrap().unwrap();
    assert_eq!((request.line_count(), consumed), (2, head.len()));
}

/// Heads that are nearly right: lines of a valid one, with a few bytes changed.
fn any_head() -> impl Strategy<Value = Vec<u8>> {
    let line = prop::sample::select(vec![
        "Host: a\r\n",
        "Upgrade: websocket\r\n",
        "Content-Length: 3\r\n",
        "X:y\r\n",
        "Transfer-Encoding: chunked\r\n",
        "X : y\r\n",
    ]);
    let first = prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "GET /a HTTP/1.0\r\n",
        "OPTIONS * HTTP/1.1\r\n",
        "\r\nPOST http://a/ HTTP/1.1\r\n",
    ]);
    let changes = proptest::collection::vec(
        (
            any::<prop::sample::Index>(),
            prop::sample::select(b"\r\n\0 :a\x80".to_vec()),
        ),
        0..3,
    );
    (first, proptest::collection::vec(line, 0..4), changes).prop_map(|(first, lines, changes)| {
        let mut head = format!("{first}Host: h\r\n{}\r\n", lines.concat()).into_bytes();
        for (place, byte) in changes {
            let place = place.index(head.len());
            head[place] = byte;
        }
        head
    })
}

proptest! {
    #[test]
    fn any_head_gives_the_same_outcome_byte_by_byte_as_in_one_piece(head in any_head()) {
        let whole = parse_request(&head, &LIMITS);
        let mut reader = RequestReader::new();
        let mut pieces = Ok(None);
        for end in 0..=head.len() {
            pieces = reader.parse(&head[..end], &LIMITS);
            if pieces != Ok(None) {
                break;
            }
        }
        prop_assert_eq!(pieces, whole);
    }

    #[test]
    fn any_bytes_are_taken_or_refused_without_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        if let Ok(Some((_, consumed))) = parse_request(&bytes, &LIMITS) {
            prop_assert!(consumed <= bytes.len());
        }
    }
}
