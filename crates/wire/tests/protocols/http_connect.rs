//! RFC 9110 section 9.3.6: the request for a tunnel, and what a proxy answers.

use vespiary_wire::http::{Limits, append_connect, parse_response, tunnel_refusal};

fn refusal(head: &str) -> Option<String> {
    let limits = Limits {
        header_bytes_max: 4096,
        headers_max: 16,
    };
    let (response, _) = parse_response(head.as_bytes(), &limits).unwrap().unwrap();
    tunnel_refusal(&response)
}

#[test]
fn a_tunnel_is_asked_for_with_the_authority_as_target_and_host() {
    let mut out = Vec::new();
    let extra = [("Proxy-Authorization".to_owned(), "Basic YTpi".to_owned())];
    append_connect(&mut out, "[::1]:9001", &extra).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "CONNECT [::1]:9001 HTTP/1.1\r\nHost: [::1]:9001\r\nProxy-Authorization: Basic YTpi\r\n\r\n"
    );
}

#[test]
fn a_tunnel_request_that_would_break_out_of_its_line_is_an_error_and_nothing_is_written() {
    let mut out = b"before".to_vec();
    for authority in ["a", "", "a:1 b", "a:1\r\nX: y", "\u{e9}:1"] {
        assert!(append_connect(&mut out, authority, &[]).is_err());
    }
    let extra = [("X".to_owned(), "y\nz".to_owned())];
    assert!(append_connect(&mut out, "a:1", &extra).is_err());
    assert_eq!(out, b"before");
}

#[test]
fn any_2xx_opens_the_tunnel_and_anything_else_says_why_not() {
    assert_eq!(refusal("HTTP/1.1 200 Connection established\r\n\r\n"), None);
    assert_eq!(refusal("HTTP/1.0 204 \r\nContent-Length: 5\r\n\r\n"), None);
    let text = refusal("HTTP/1.1 502 Bad Gateway\r\n\r\n").unwrap();
    assert_eq!(text, "the proxy answered CONNECT with 502 Bad Gateway");
    let asks = "Proxy-Authenticate: Basic realm=\"x\"\r\n";
    let text = refusal(&format!("HTTP/1.1 407 Authenticate\r\n{asks}\r\n")).unwrap();
    assert!(text.contains("authentication (Basic)"), "{text}");
    let text = refusal("HTTP/1.1 407 \r\n\r\n").unwrap();
    let start = "the proxy answered CONNECT with 407: it wants authentication; Basic";
    assert!(text.starts_with(start), "{text}");
}
