//! The same heads to this parser and to httparse: what is taken here is read alike there.
//!
//! The other way round does not hold and is not meant to: httparse also takes bare line feeds, any
//! number of empty lines before a request, a missing `Host`, and whatever else the rules over a
//! whole head refuse. And two things are taken here that httparse refuses: a target with a double
//! quote or an angle bracket, which it holds to be no URI, and a minor version above 1, which RFC
//! 9110 section 2.5 has a recipient take for 1.1.

use proptest::collection::vec;
use proptest::prelude::*;
use vespiary_wire::http::{Limits, parse_request, parse_response};

const LIMITS: Limits = Limits {
    header_bytes_max: 4096,
    headers_max: 32,
};

fn latin_1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn owned(headers: &[httparse::Header<'_>]) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|header| (header.name.to_owned(), latin_1(header.value)))
        .collect()
}

fn assert_request_alike(bytes: &[u8]) {
    let Ok(Some((request, consumed))) = parse_request(bytes, &LIMITS) else {
        return;
    };
    if request.target().contains(['"', '<', '>']) {
        return;
    }
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut theirs = httparse::Request::new(&mut headers);
    let status = theirs.parse(bytes);
    let shown = String::from_utf8_lossy(bytes);
    // RFC 9110 2.5: a later minor version is read like 1.1. The other parser refuses it.
    if status == Err(httparse::Error::Version) {
        assert!(shown.contains(" HTTP/1."), "{shown:?}");
        return;
    }
    assert_eq!(
        status,
        Ok(httparse::Status::Complete(consumed)),
        "{shown:?}"
    );
    assert_eq!(theirs.method, Some(request.method()), "{shown:?}");
    assert_eq!(theirs.path, Some(request.target()), "{shown:?}");
    assert_eq!(theirs.version, Some(request.minor_version), "{shown:?}");
    let lines = request.lines();
    let lines: Vec<_> = lines
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert_eq!(owned(theirs.headers), lines, "{shown:?}");
}

fn assert_response_alike(bytes: &[u8]) {
    let Ok(Some((response, consumed))) = parse_response(bytes, &LIMITS) else {
        return;
    };
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut theirs = httparse::Response::new(&mut headers);
    let status = theirs.parse(bytes);
    let shown = String::from_utf8_lossy(bytes);
    if status == Err(httparse::Error::Version) {
        assert!(shown.starts_with("HTTP/1."), "{shown:?}");
        return;
    }
    assert_eq!(
        status,
        Ok(httparse::Status::Complete(consumed)),
        "{shown:?}"
    );
    assert_eq!(theirs.code, Some(response.status), "{shown:?}");
    assert_eq!(theirs.version, Some(response.minor_version), "{shown:?}");
    if response.reason.is_ascii() {
        assert_eq!(theirs.reason, Some(&*response.reason), "{shown:?}");
    }
    assert_eq!(owned(theirs.headers), response.headers, "{shown:?}");
}

fn mutated(base: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        any::<u8>(),
        prop::sample::select(b"\r\n\t :/.,;()\"[]\x00\x7F\x80\xFF".to_vec()),
    ];
    vec((any::<prop::sample::Index>(), byte, 0_u8..3), 0..4).prop_map(move |changes| {
        let mut head = base.to_vec();
        for (place, byte, how) in changes {
            let place = place.index(head.len());
            match how {
                0 => head[place] = byte,
                1 => head.insert(place, byte),
                _ => drop(head.remove(place)),
            }
        }
        head
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn a_request_that_is_taken_is_read_alike(
        head in mutated(
            b"GET /a?b HTTP/1.1\r\nHost: a:80\r\nX:\t y \r\nUpgrade: websocket\r\n\r\nrest",
        ),
    ) {
        assert_request_alike(&head);
    }

    #[test]
    fn a_response_that_is_taken_is_read_alike(
        head in mutated(b"HTTP/1.1 101 Switching Protocols\r\nA: b\r\nC:d \r\n\r\nrest"),
    ) {
        assert_response_alike(&head);
    }
}
