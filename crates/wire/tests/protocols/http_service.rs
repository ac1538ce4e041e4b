//! What a well-formed request asks of an origin server: RFC 9110 and RFC 9112 section 9.

use vespiary_trace::claims;
use vespiary_wire::http::{Limits, Request, check_service, parse_request, refuse_unserved};

const LIMITS: Limits = Limits {
    header_bytes_max: 8192,
    headers_max: 64,
};

pub fn request(first: &str, lines: &str) -> Request {
    let head = format!("{first}\r\nHost: a\r\n{lines}\r\n");
    let (request, _) = parse_request(head.as_bytes(), &LIMITS).unwrap().unwrap();
    request
}

fn status(first: &str, lines: &str) -> u16 {
    check_service(&request(first, lines), false).map_or_else(|refusal| refusal.status, |()| 200)
}

#[test]
fn rfc_9110_9_3_6_connect_is_a_proxys() {
    assert_eq!(status("CONNECT a:80 HTTP/1.1", ""), 501);
}

#[test]
fn rfc_9110_7_4_a_target_under_tls_is_refused_on_a_connection_without() {
    claims!("rfc9110/7.4/1", "rfc9110/7.4/2");
    for scheme in ["https", "wss", "HTTPS"] {
        let first = format!("GET {scheme}://a/ HTTP/1.1");
        assert_eq!(status(&first, ""), 421, "{scheme}");
        assert!(check_service(&request(&first, ""), true).is_ok());
    }
    assert_eq!(status("GET http://a/ HTTP/1.1", ""), 200);
    assert_eq!(status("GET /?next=https://a/ HTTP/1.1", ""), 200);
}

#[test]
fn rfc_9110_10_1_1_only_one_expectation_is_known() {
    claims!("rfc9110/10.1.1/1", "rfc9110/10.1.1/7");
    let get = "GET / HTTP/1.1";
    assert_eq!(status(get, "Expect: 100-Continue\r\n"), 200);
    assert_eq!(status(get, "Expect: 200-ok\r\n"), 417);
    assert_eq!(status(get, "Expect: 100-continue, more\r\n"), 417);
    assert!(request(get, "Expect: 100-continue\r\n").expects_continue());
    assert!(!request(get, "").expects_continue());
    // HTTP/1.0 does not know the header.
    assert_eq!(status("GET / HTTP/1.0", "Expect: 200-ok\r\n"), 200);
    assert!(!request("GET / HTTP/1.0", "Expect: 100-continue\r\n").expects_continue());
}

#[test]
fn rfc_9110_2_5_a_higher_minor_version_counts_as_the_highest_known() {
    for digit in 1..=9 {
        let request = request(&format!("GET / HTTP/1.{digit}"), "");
        assert_eq!(request.minor_version, 1, "1.{digit}");
        assert!(request.may_persist(), "1.{digit}");
    }
    assert_eq!(request("GET / HTTP/1.0", "").minor_version, 0);
}

#[test]
fn rfc_9112_9_3_a_connection_persists_unless_either_end_forbids_it() {
    claims!("rfc9112/9.3/1", "rfc9112/9.6/3", "rfc9112/9.6/5");
    let persists = |first, lines| request(first, lines).may_persist();
    assert!(persists("GET / HTTP/1.1", ""));
    assert!(persists("GET / HTTP/1.1", "Content-Length: 0\r\n"));
    assert!(persists("GET / HTTP/1.1", "Connection: keep-alive\r\n"));
    assert!(!persists(
        "GET / HTTP/1.1",
        "Connection: keep-alive, Close\r\n"
    ));
    assert!(persists("POST / HTTP/1.1", "Content-Length: 1\r\n"));
    assert!(!persists("GET / HTTP/1.0", "Connection: keep-alive\r\n"));
}

#[test]
fn what_nobody_serves_is_refused_by_its_method() {
    claims!(
        "rfc9110/9.1/3",
        "rfc9110/9.1/4",
        "rfc9110/10.2.1/1",
        "rfc9110/15.5.6/1"
    );
    let refused = |method: &str| {
        let refusal = refuse_unserved(&request(&format!("{method} / HTTP/1.1"), ""), "GET");
        let allow = refusal.headers.iter().find(|(name, _)| name == "Allow");
        (refusal.status, allow.map(|(_, value)| value.clone()))
    };
    assert_eq!(refused("GET"), (404, None));
    for method in ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"] {
        assert_eq!(refused(method), (405, Some("GET".to_owned())), "{method}");
    }
    assert_eq!(refused("PROPFIND"), (501, None));
}

#[test]
fn the_target_of_any_form_has_a_path_and_an_authority() {
    claims!("rfc9112/3.2.2/5", "rfc9112/3.2.2/6");
    for (target, path, authority) in [
        ("/a?b", "/a?b", "a"),
        ("http://b:1/c?d", "/c?d", "b:1"),
        ("ws://b", "/", "b"),
        ("http://b?d", "/?d", "b"),
    ] {
        let request = request(&format!("GET {target} HTTP/1.1"), "");
        assert_eq!(request.path_and_query(), path);
        assert_eq!(request.authority(), Some(authority));
    }
}
