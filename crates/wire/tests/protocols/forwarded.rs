//! The client that a proxy names: `Forwarded` (RFC 7239) and `X-Forwarded-For`.

use proptest::prelude::*;
use std::net::{IpAddr, SocketAddr};
use vespiary_wire::http::ForwardedField::{Forwarded, XForwardedFor};
use vespiary_wire::http::{self, ForwardedField, Request, forwarded_client};

fn request(name: &str, values: &[&str]) -> Request {
    let lines = values.iter().map(|value| format!("{name}: {value}\r\n"));
    let head = format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
        lines.collect::<String>()
    );
    let limits = http::Limits {
        header_bytes_max: 65536,
        headers_max: 100,
    };
    let parsed = http::parse_request(head.as_bytes(), &limits).expect("well-formed");
    parsed.expect("complete").0
}

/// `10.0.0.0/8` and `2001:db8:10::/48` are ours.
fn is_ours(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.octets()[0] == 10,
        IpAddr::V6(address) => address.segments()[..3] == [0x2001, 0xdb8, 0x10],
    }
}

fn find(field: ForwardedField, values: &[&str]) -> Option<SocketAddr> {
    let name = if field == Forwarded {
        "Forwarded"
    } else {
        "X-Forwarded-For"
    };
    forwarded_client(&request(name, values), field, is_ours)
}

fn address(text: &str) -> Option<SocketAddr> {
    text.parse().ok()
}

#[test]
fn one_address_is_the_client() {
    assert_eq!(find(XForwardedFor, &["192.0.2.7"]), address("192.0.2.7:0"));
    assert_eq!(
        find(XForwardedFor, &["192.0.2.7:8080"]),
        address("192.0.2.7:8080")
    );
    assert_eq!(
        find(XForwardedFor, &["2001:db8::7"]),
        address("[2001:db8::7]:0")
    );
    assert_eq!(
        find(XForwardedFor, &["[2001:db8::7]"]),
        address("[2001:db8::7]:0")
    );
    assert_eq!(
        find(XForwardedFor, &["[2001:db8::7]:80"]),
        address("[2001:db8::7]:80")
    );
}

#[test]
fn what_stands_before_the_last_untrusted_address_is_not_believed() {
    let forged = ["198.51.100.1, 192.0.2.7"];
    assert_eq!(find(XForwardedFor, &forged), address("192.0.2.7:0"));
    let forged = ["for=198.51.100.1, for=192.0.2.7"];
    assert_eq!(find(Forwarded, &forged), address("192.0.2.7:0"));
}

#[test]
fn trusted_proxies_on_the_way_are_skipped() {
    let chain = ["198.51.100.1, 192.0.2.7, 10.0.0.1,10.0.0.2"];
    assert_eq!(find(XForwardedFor, &chain), address("192.0.2.7:0"));
    let lines = ["198.51.100.1", "192.0.2.7 , 10.0.0.1", "\t10.0.0.2"];
    assert_eq!(find(XForwardedFor, &lines), address("192.0.2.7:0"));
    let chain = [
        "for=192.0.2.7, for=\"[2001:db8:10::1]:4711\"",
        "for=10.0.0.1;by=10.0.0.2",
    ];
    assert_eq!(find(Forwarded, &chain), address("192.0.2.7:0"));
    // Where all are proxies, the first of them asked by itself.
    assert_eq!(
        find(XForwardedFor, &["10.0.0.3, 10.0.0.2"]),
        address("10.0.0.3:0")
    );
    // An IPv4 address in an IPv6 one is the same proxy.
    let mapped = ["192.0.2.7, ::ffff:10.0.0.1"];
    assert_eq!(find(XForwardedFor, &mapped), address("192.0.2.7:0"));
}

#[test]
fn an_element_of_forwarded_has_parameters() {
    for element in [
        "for=192.0.2.7",
        "For=\"192.0.2.7\"",
        "proto=https;for=192.0.2.7;by=203.0.113.43",
        " proto=https ; for=192.0.2.7 ;host=\"a,b;c\"",
        "host=\"a\\\",for=198.51.100.9\";for=192.0.2.7",
    ] {
        assert_eq!(
            find(Forwarded, &[element]),
            address("192.0.2.7:0"),
            "{element}"
        );
    }
    let element = "for=\"[2001:db8:cafe::17]:4711\"";
    assert_eq!(
        find(Forwarded, &[element]),
        address("[2001:db8:cafe::17]:4711")
    );
    assert_eq!(
        find(Forwarded, &["for=\"192.0.2.7:47011\""]),
        address("192.0.2.7:47011")
    );
}

#[test]
fn what_names_no_address_names_no_client() {
    for value in [
        "",
        "unknown",
        "_hidden",
        "192.0.2",
        "a.example",
        "[192.0.2.7]",
        "1.2.3.4:x",
    ] {
        assert_eq!(find(XForwardedFor, &[value]), None, "{value}");
        assert_eq!(find(Forwarded, &[&format!("for={value}")]), None, "{value}");
    }
    assert_eq!(find(XForwardedFor, &[]), None);
    assert_eq!(find(Forwarded, &["proto=https"]), None);
    assert_eq!(find(Forwarded, &["for=192.0.2.7;for=192.0.2.8"]), None);
    // The other field is anybody's.
    let other = request("X-Forwarded-For", &["192.0.2.7"]);
    assert_eq!(forwarded_client(&other, Forwarded, is_ours), None);
}

#[test]
fn a_quote_that_is_left_open_hides_no_proxys_word() {
    for written in [
        "for=198.51.100.1;x=\"",
        "for=198.51.100.1;x=\"\\",
        "for=\"198.51.100.1",
        "for=198.51.100.1, \"",
    ] {
        let appended = format!("{written}, for=192.0.2.7");
        assert_eq!(find(Forwarded, &[&appended]), None, "{appended}");
        assert_eq!(
            find(Forwarded, &[written, "for=192.0.2.7"]),
            address("192.0.2.7:0")
        );
    }
}

#[test]
fn behind_a_hidden_client_nothing_is_believed() {
    // The proxy 10.0.0.1 did not say whom it was asked by: it is the last that is known.
    let hidden = ["198.51.100.1, unknown, 10.0.0.1"];
    assert_eq!(find(XForwardedFor, &hidden), address("10.0.0.1:0"));
    let hidden = ["for=198.51.100.1, for=_secret, for=10.0.0.1"];
    assert_eq!(find(Forwarded, &hidden), address("10.0.0.1:0"));
}

#[test]
fn empty_elements_are_ignored() {
    for value in [
        "192.0.2.7,",
        "192.0.2.7, ,",
        ",192.0.2.7",
        "192.0.2.7,\t,10.0.0.1",
    ] {
        assert_eq!(
            find(XForwardedFor, &[value]),
            address("192.0.2.7:0"),
            "{value}"
        );
    }
    for value in [
        "for=192.0.2.7,",
        "for=192.0.2.7,,for=10.0.0.1",
        " , for=192.0.2.7",
    ] {
        assert_eq!(find(Forwarded, &[value]), address("192.0.2.7:0"), "{value}");
    }
}

proptest! {
    #[test]
    fn whatever_a_client_writes_in_front_changes_nothing(written in "[ -~]{0,60}") {
        let forged = format!("{written}, 192.0.2.7");
        prop_assert_eq!(find(XForwardedFor, &[&forged]), address("192.0.2.7:0"));
        let found = find(Forwarded, &[&written, "for=192.0.2.7"]);
        prop_assert_eq!(found, address("192.0.2.7:0"));
        let appended = format!("{written}, for=192.0.2.7");
        let found = find(Forwarded, &[&appended]);
        prop_assert!(found.is_none() || found == address("192.0.2.7:0"), "{:?}", found);
    }
}
