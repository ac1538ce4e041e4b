//! One test a requirement of RFC 9112 and RFC 9110 that a request's head alone decides.

use vespiary_trace::claims;
use vespiary_wire::http::{Limits, Request, append_response, parse_request};

const LIMITS: Limits = Limits {
    header_bytes_max: 2048,
    headers_max: 20,
};

/// What a request is refused with: status and reason; 200 if it is taken, 0 if more is awaited.
fn read(head: &str) -> (u16, String) {
    match parse_request(head.as_bytes(), &LIMITS) {
        Ok(Some(_)) => (200, String::new()),
        Ok(None) => (0, String::new()),
        Err(refusal) => (refusal.status, refusal.text),
    }
}

fn with(lines: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

fn taken(head: &str) -> Request {
    parse_request(head.as_bytes(), &LIMITS).unwrap().unwrap().0
}

#[test]
fn a_bare_carriage_return_in_a_value_is_refused() {
    claims!("rfc9112/2.2/4");
    let (status, text) = read(&with("X: a\rb\r\n"));
    assert_eq!(status, 400);
    assert!(text.contains("carriage return"), "{text}");
}

#[test]
fn an_empty_line_before_a_request_is_passed_over() {
    claims!("rfc9112/2.2/7");
    assert_eq!(read(&format!("\r\n{}", with(""))).0, 200);
}

#[test]
fn a_folded_line_is_refused_in_words() {
    claims!("rfc9112/2.2/9", "rfc9112/5.2/2");
    for head in [
        with("X: a\r\n b\r\n"),
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n".to_owned(),
    ] {
        let (status, text) = read(&head);
        assert_eq!(status, 400);
        assert!(text.contains("begins with space"), "{text}");
    }
}

#[test]
fn what_is_not_a_request_is_answered_400() {
    claims!("rfc9112/2.2/10", "rfc9112/3.2/1");
    for head in ["\x16\x03\x01", "GET  / HTTP/1.1\r\n", "EHLO\r\n"] {
        assert_eq!(read(head).0, 400, "{head:?}");
    }
}

#[test]
fn each_limit_has_its_status() {
    claims!(
        "rfc9112/3/2",
        "rfc9112/3/3",
        "rfc9110/5.4/1",
        "rfc9110/15.6.6/1"
    );
    assert_eq!(read(&format!("{} / HTTP/1.1\r\n", "G".repeat(100))).0, 501);
    assert_eq!(
        read(&format!("GET /{} HTTP/1.1\r\n", "a".repeat(3000))).0,
        414
    );
    assert_eq!(read(&with(&format!("X: {}\r\n", "a".repeat(3000)))).0, 431);
    assert_eq!(read(&with(&"X: a\r\n".repeat(30))).0, 431);
    assert_eq!(read("GET / HTTP/2.0\r\n").0, 505);
    assert_eq!(read("GET / HTTP\r\n").0, 400);
}

#[test]
fn a_request_names_one_host() {
    claims!("rfc9112/3.2/6");
    for head in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    ] {
        assert_eq!(read(head).0, 400, "{head:?}");
    }
}

#[test]
fn a_host_is_not_empty() {
    claims!("rfc9110/4.2.1/2");
    assert_eq!(read("GET / HTTP/1.1\r\nHost: a\r\n\r\n").0, 200);
    assert_eq!(read("GET / HTTP/1.1\r\nHost: \r\n\r\n").0, 400);
    assert_eq!(read("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n").0, 400);
}

#[test]
fn no_space_stands_before_a_colon() {
    claims!("rfc9112/5.1/1");
    let (status, text) = read(&with("X : y\r\n"));
    assert_eq!(status, 400);
    assert!(text.contains("space between"), "{text}");
}

#[test]
fn a_value_has_no_space_around_it_and_no_control_character_in_it() {
    claims!("rfc9110/5.5/1", "rfc9110/5.5/4", "rfc9110/5.5/5");
    assert_eq!(taken(&with("X: \t a \r\n")).header("x"), Some("a"));
    for byte in ['\0', '\x1B', '\x7F'] {
        assert_eq!(read(&with(&format!("X: a{byte}b\r\n"))).0, 400);
    }
}

#[test]
fn empty_elements_of_a_list_are_left_out() {
    claims!("rfc9110/5.6.1.2/1", "rfc9110/5.6.1.2/2");
    let request = taken(&with("X: , a ,,b,\r\n"));
    assert_eq!(request.header_tokens("x").collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn a_connect_names_a_port() {
    claims!("rfc9110/9.3.6/2");
    let status = |target| read(&format!("CONNECT {target} HTTP/1.1\r\nHost: a\r\n\r\n")).0;
    assert_eq!(status("a:80"), 200);
    for target in ["a:", "a:x", "a:70000"] {
        assert_eq!(status(target), 400, "{target}");
    }
}

#[test]
fn a_body_has_one_length_that_can_be_known() {
    claims!("rfc9112/6.3/4", "rfc9112/6.3/5", "rfc9110/8.6/8");
    for lines in [
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: 99999999999999999999999\r\n",
    ] {
        assert_eq!(read(&with(lines)).0, 400, "{lines}");
    }
}

#[test]
fn a_transfer_coding_is_chunked_and_stands_alone() {
    claims!(
        "rfc9112/6.1/9",
        "rfc9112/6.1/12",
        "rfc9112/6.1/14",
        "rfc9112/6.3/3",
        "rfc9112/7.1/4"
    );
    let chunked = "Transfer-Encoding: chunked\r\n";
    assert_eq!(read(&with("Transfer-Encoding: chunked;a=b\r\n")).0, 400);
    assert_eq!(read(&with("Transfer-Encoding: gzip, chunked\r\n")).0, 501);
    assert_eq!(
        read(&with(&format!("Content-Length: 1\r\n{chunked}"))).0,
        400
    );
    assert_eq!(read(&format!("POST / HTTP/1.0\r\n{chunked}\r\n")).0, 400);
    assert_eq!(read(&with("Transfer-Encoding: chunked, gzip\r\n")).0, 400);
    assert_eq!(read(&with(chunked)).0, 200);
}

#[test]
fn an_answer_has_its_length_and_no_other() {
    claims!(
        "rfc9112/6.1/7",
        "rfc9112/6.1/11",
        "rfc9112/6.2/1",
        "rfc9112/6.3/9",
        "rfc9110/8.6/5",
        "rfc9110/8.6/7",
        "rfc9110/15.3.6/1"
    );
    let written = |status, headers: &[(&str, &str)]| {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let headers: Vec<_> = headers.iter().map(own).collect();
        let mut out = Vec::new();
        append_response(&mut out, status, &headers, b"body")
            .map(|()| String::from_utf8(out).unwrap())
    };
    let whole = written(200, &[]).unwrap();
    assert!(whole.contains("\r\nContent-Length: 4\r\n") && whole.ends_with("\r\n\r\nbody"));
    assert!(written(200, &[("Transfer-Encoding", "chunked")]).is_err());
    let bare = written(204, &[]).unwrap();
    assert!(!bare.contains("Content-Length") && bare.ends_with("\r\n\r\n"));
    let reset = written(205, &[]).unwrap();
    assert!(
        reset.contains("Content-Length: 0") && reset.ends_with("\r\n\r\n"),
        "{reset}"
    );
}
