//! Patterns of origins, RFC 6454 and RFC 6455 section 10.2.

use vespiary_wire::websocket::handshake::OriginPattern;

fn matches(pattern: &str, origin: &str) -> bool {
    OriginPattern::parse(pattern)
        .unwrap_or_else(|error| panic!("{pattern:?} {error}"))
        .matches(origin)
}

#[test]
fn an_exact_pattern_means_its_own_origin_alone() {
    let pattern = "https://example.com";
    assert!(matches(pattern, "https://example.com"));
    for other in [
        "http://example.com",
        "https://example.com:8443",
        "https://www.example.com",
        "https://example.com.evil.test",
        "https://example.comevil",
        "https://example.co",
        "https://example.com/",
        "https://example.com@evil.test",
        "https://user@example.com",
        "example.com",
        "//example.com",
        "null",
        "",
    ] {
        assert!(!matches(pattern, other), "{other:?}");
    }
}

#[test]
fn the_schemes_own_port_is_never_written() {
    for pattern in ["https://example.com:443", "https://EXAMPLE.com"] {
        assert!(matches(pattern, "https://example.com"), "{pattern}");
    }
    // No browser writes it so.
    assert!(!matches("https://example.com", "https://example.com:443"));
    assert!(!matches("https://example.com", "https://EXAMPLE.com"));
    assert!(matches("http://example.com:443", "http://example.com:443"));
}

#[test]
fn a_pattern_of_subdomains_means_every_depth_below_and_not_the_domain_itself() {
    let pattern = "https://*.example.com";
    assert!(matches(pattern, "https://a.example.com"));
    assert!(matches(pattern, "https://a.b.example.com"));
    for other in [
        "https://example.com",
        "https://.example.com",
        "https://evilexample.com",
        "https://a.example.com:8443",
        "http://a.example.com",
        "https://evil.test/.example.com",
        "https://evil.test:80.example.com",
        "https://evil.test#.example.com",
        "https://evil.test\\.example.com",
        "https://[::1].example.com",
    ] {
        assert!(!matches(pattern, other), "{other:?}");
    }
    assert!(matches("http://*.localhost:*", "http://app.localhost:3000"));
}

#[test]
fn any_port_of_a_host_can_be_meant() {
    let pattern = "http://localhost:*";
    for origin in ["http://localhost", "http://localhost:3000"] {
        assert!(matches(pattern, origin), "{origin:?}");
    }
    for other in [
        "http://localhost:",
        "http://localhost:03000",
        "http://localhost:70000",
        "http://localhost:3000.evil.test",
        "https://localhost:3000",
    ] {
        assert!(!matches(pattern, other), "{other:?}");
    }
}

#[test]
fn null_is_reported_apart_from_every_other_origin() {
    assert!(matches("null", "null"));
    for other in [
        "",
        "NULL",
        "null://null",
        "://null",
        "http://null",
        "null, null",
    ] {
        assert!(!matches("null", other), "{other:?}");
    }
    assert!(!matches("https://null", "null"));
}

#[test]
fn addresses_and_schemes_of_programs_are_origins_too() {
    assert!(matches("http://[::1]:8080", "http://[::1]:8080"));
    assert!(matches("http://[::1]:*", "http://[::1]:8080"));
    assert!(matches("http://127.0.0.1:80", "http://127.0.0.1"));
    assert!(matches("moz-extension://ab-cd", "moz-extension://ab-cd"));
}

#[test]
fn two_origins_in_one_value_match_nothing() {
    assert!(!matches("http://a.test", "http://a.test http://b.test"));
    assert!(!matches("http://*.a.test", "http://b.test http://x.a.test"));
}

#[test]
fn what_is_not_an_origin_is_refused_with_its_fault() {
    for (text, fault) in [
        ("*", "no scheme"),
        ("example.com", "no scheme"),
        ("https://example.com/", "slash"),
        ("https://example.com/chat", "path"),
        ("https://me@example.com", "user name"),
        ("https://example.com:https", "port"),
        ("https://example.com:+443", "port"),
        ("https://example.com:65536", "port"),
        ("https://a.*.example.com", "in front"),
        ("https://*", "in front"),
        ("https://*.[::1]", "host"),
        ("https://", "host"),
        ("https://exämple.com", "host"),
        ("ht tp://example.com", "scheme"),
        ("://example.com", "scheme"),
    ] {
        let error = OriginPattern::parse(text).expect_err(text);
        assert!(error.text.contains(fault), "{text:?}: {error}");
    }
}
