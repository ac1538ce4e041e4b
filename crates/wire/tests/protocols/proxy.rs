//! The header of the PROXY protocol, versions 1 and 2 (`proxy-protocol.txt`).

use proptest::prelude::*;
use vespiary_wire::proxy::{HEADER_BYTES_MAX, Header, ProxyError, Source, parse};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const PROXY: u8 = 0x21;
const LOCAL: u8 = 0x20;
const INET: u8 = 0x11;
const INET6: u8 = 0x21;
const UNIX: u8 = 0x31;

fn inet(text: &str) -> Source {
    Source::Inet(text.parse().expect("an address"))
}

fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).expect("a length").to_be_bytes();
    [SIGNATURE, &[command, family], &length, block].concat()
}

fn v4_block() -> Vec<u8> {
    let ports = [8080u16.to_be_bytes(), 443u16.to_be_bytes()].concat();
    [&[192, 0, 2, 7, 198, 51, 100, 1][..], &ports].concat()
}

/// A value of type, length, bytes.
fn value(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a length").to_be_bytes();
    [&[kind][..], &length, bytes].concat()
}

fn whole(input: &[u8], source: Source) {
    let header = Header {
        source,
        bytes: input.len(),
    };
    let followed = [input, b"GET / HTTP/1.1\r\n"].concat();
    assert_eq!(
        parse(&followed),
        Ok(Some(header)),
        "{:?}",
        input.escape_ascii().to_string()
    );
    for cut in 0..input.len() {
        assert_eq!(parse(&input[..cut]), Ok(None), "cut at {cut}");
    }
}

fn refused(input: &[u8], error: ProxyError) {
    assert_eq!(
        parse(input),
        Err(error),
        "{:?}",
        input.escape_ascii().to_string()
    );
}

#[test]
fn a_line_names_the_client() {
    whole(
        b"PROXY TCP4 192.0.2.7 198.51.100.1 8080 443\r\n",
        inet("192.0.2.7:8080"),
    );
    whole(
        b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n",
        inet("0.0.0.0:0"),
    );
    whole(
        b"PROXY TCP6 2001:DB8::7 ::1 65535 1\r\n",
        inet("[2001:db8::7]:65535"),
    );
    let longest = b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
        ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
    whole(
        longest,
        inet("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
    );
}

#[test]
fn an_unknown_client_leaves_the_address_as_it_is() {
    whole(b"PROXY UNKNOWN\r\n", Source::Unnamed);
    whole(b"PROXY UNKNOWN anything  at all\r\n", Source::Unnamed);
}

#[test]
fn a_line_that_is_not_exact_is_refused() {
    for line in [
        "PROXY TCP4 192.0.2.7 198.51.100.1 8080 443\n",
        "PROXY  TCP4 192.0.2.7 198.51.100.1 8080 443\r\n",
        "PROXY TCP4 192.0.2.7  198.51.100.1 8080 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 8080 443 \r\n",
        "PROXY TCP4 192.0.2.07 198.51.100.1 8080 443\r\n",
        "PROXY TCP4 192.0.2 198.51.100.1 8080 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 08080 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 +8080 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 8080\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 8080 x\r\n",
        "PROXY TCP4 ::1 ::1 8080 443\r\n",
        "PROXY TCP6 192.0.2.7 198.51.100.1 8080 443\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 8080 443\r\n",
        "PROXY UDP4 192.0.2.7 198.51.100.1 8080 443\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY \r\n",
    ] {
        refused(line.as_bytes(), ProxyError::Line);
    }
    refused(b"PROXY \xff\r\n", ProxyError::Line);
}

#[test]
fn a_line_ends_within_its_bound() {
    let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 91], b"\r\n"].concat();
    assert_eq!(long.len(), 107);
    whole(&long, Source::Unnamed);
    let longer = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 92], b"\r\n"].concat();
    refused(&longer, ProxyError::LineTooLong);
}

#[test]
fn what_cannot_become_a_header_is_refused_at_its_first_byte() {
    for input in [
        &b"G"[..],
        b"GET / HTTP/1.1\r\n",
        b"PROXI",
        b"proxy TCP4",
        b"\r\n\r\nG",
        b"\x16\x03",
    ] {
        refused(input, ProxyError::Missing);
    }
    assert_eq!(parse(b""), Ok(None));
}

#[test]
fn a_binary_header_names_the_client() {
    whole(&binary(PROXY, INET, &v4_block()), inet("192.0.2.7:8080"));
    let mut block = vec![0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    block.extend([0; 16]);
    block.extend([0x1f, 0x90, 0, 80]);
    whole(&binary(PROXY, INET6, &block), inet("[2001:db8::7]:8080"));
}

#[test]
fn a_binary_header_names_a_unix_socket() {
    let named = |name: &[u8]| {
        let mut block = vec![0; 216];
        block[..name.len()].copy_from_slice(name);
        binary(PROXY, UNIX, &block)
    };
    whole(
        &named(b"/run/client"),
        Source::Unix(b"/run/client".to_vec()),
    );
    whole(&named(b"\0abstract"), Source::Unix(b"\0abstract".to_vec()));
    whole(&named(b""), Source::Unix(Vec::new()));
    whole(&named(&[b'x'; 108]), Source::Unix(vec![b'x'; 108]));
}

#[test]
fn a_health_check_leaves_the_address_as_it_is() {
    whole(&binary(LOCAL, 0, b""), Source::Unnamed);
    // The family is ignored, and so is what is behind.
    whole(&binary(LOCAL, 0xff, b"anything"), Source::Unnamed);
    whole(&binary(LOCAL, INET, &v4_block()), Source::Unnamed);
    whole(&binary(PROXY, 0, b""), Source::Unnamed);
    whole(&binary(PROXY, 0, b"anything"), Source::Unnamed);
    // A client of UDP behind a stream.
    whole(&binary(PROXY, 0x12, &v4_block()), Source::Unnamed);
}

#[test]
fn values_behind_the_addresses_are_skipped() {
    let values = [
        value(0x01, b"h2"),
        value(0x02, b"example.com"),
        value(0x04, &[0; 900]),
    ];
    let block = [v4_block(), values.concat()].concat();
    whole(&binary(PROXY, INET, &block), inet("192.0.2.7:8080"));
}

#[test]
fn a_checksum_must_be_right() {
    // Computed with the package crc32c of PyPI, over the header with zeros in the sum's place.
    let with = |sum: [u8; 4]| {
        let block = [v4_block(), value(0x02, b"example.com"), value(0x03, &sum)].concat();
        binary(PROXY, INET, &block)
    };
    whole(&with(0x8276_f512_u32.to_be_bytes()), inet("192.0.2.7:8080"));
    refused(&with([0; 4]), ProxyError::Checksum);
    let short = [v4_block(), value(0x03, &[0; 3])].concat();
    refused(&binary(PROXY, INET, &short), ProxyError::Checksum);
}

#[test]
fn a_binary_header_that_is_not_valid_is_refused() {
    refused(&binary(0x11, INET, &v4_block()), ProxyError::Version);
    refused(&binary(0x22, INET, &v4_block()), ProxyError::Command);
    for family in [0x13, 0x03, 0x41, 0xff] {
        refused(&binary(PROXY, family, &v4_block()), ProxyError::Family);
    }
    refused(&binary(PROXY, INET, &v4_block()[..11]), ProxyError::Short);
    refused(&binary(PROXY, INET6, &[0; 35]), ProxyError::Short);
    refused(&binary(PROXY, UNIX, &[0; 215]), ProxyError::Short);
    let cut = [v4_block(), vec![0x02, 0]].concat();
    refused(&binary(PROXY, INET, &cut), ProxyError::Short);
    let cut = [v4_block(), vec![0x02, 0, 5, 1]].concat();
    refused(&binary(PROXY, INET, &cut), ProxyError::Short);
}

#[test]
fn a_binary_header_has_a_bound() {
    let values = value(0x04, &vec![0; HEADER_BYTES_MAX - 16 - 12 - 3]);
    let block = [v4_block(), values].concat();
    let longest = binary(PROXY, INET, &block);
    assert_eq!(longest.len(), HEADER_BYTES_MAX);
    assert!(parse(&longest).is_ok_and(|it| it.is_some()));
    // Refused by its length alone.
    let length = u16::try_from(HEADER_BYTES_MAX - 15)
        .expect("a length")
        .to_be_bytes();
    refused(
        &[SIGNATURE, &[PROXY, INET], &length].concat(),
        ProxyError::TooLong,
    );
}

proptest! {
    #[test]
    fn more_bytes_never_change_what_was_found(
        input in proptest::collection::vec(any::<u8>(), 0..300),
        start in prop::sample::select(vec![&b""[..], SIGNATURE, b"PROXY ", b"PROXY TCP4 "]),
        cut in 0usize..300,
    ) {
        let input = [start, &input].concat();
        let cut = cut.min(input.len());
        let whole = parse(&input);
        match parse(&input[..cut]) {
            Ok(None) => {}
            found => prop_assert_eq!(found, whole),
        }
    }
}
