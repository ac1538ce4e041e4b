//! Bodies of requests (RFC 9112 sections 6.3 and 7.1).

use crate::http_service::request;
use proptest::prelude::*;
use vespiary_trace::claims;
use vespiary_wire::http::{BodyLength, BodyReader};

fn length(lines: &str) -> BodyLength {
    request("POST / HTTP/1.1", lines).body_length()
}

/// Read `bytes` in pieces of `size`: the body and what follows it, or the status of the refusal.
fn read(length: BodyLength, bytes: &[u8], size: usize) -> Result<(Vec<u8>, Vec<u8>, bool), u16> {
    let mut reader = BodyReader::new(length);
    let (mut body, mut behind) = (Vec::new(), Vec::new());
    for mut piece in bytes.chunks(size.max(1)) {
        while let Some(data) = reader.next(&mut piece).map_err(|it| it.status)? {
            assert!(!data.is_empty(), "it says None where there is no data");
            body.extend_from_slice(data);
        }
        behind.extend_from_slice(piece);
        assert!(piece.is_empty() || reader.is_done());
    }
    Ok((body, behind, reader.is_done()))
}

fn chunked(bytes: &[u8]) -> Result<(Vec<u8>, Vec<u8>, bool), u16> {
    let whole = read(BodyLength::Chunked, bytes, bytes.len());
    for size in 1..bytes.len().min(20) {
        assert_eq!(
            read(BodyLength::Chunked, bytes, size),
            whole,
            "pieces of {size}"
        );
    }
    whole
}

fn body_of(bytes: &[u8]) -> Vec<u8> {
    let (body, behind, is_done) = chunked(bytes).expect("well-formed");
    assert!(is_done && behind.is_empty());
    body
}

#[test]
fn rfc_9112_6_3_a_request_has_a_body_of_known_length_or_in_chunks_or_none() {
    claims!("rfc9112/6.1/1");
    assert_eq!(length(""), BodyLength::None);
    assert_eq!(length("Content-Length: 000\r\n"), BodyLength::None);
    assert_eq!(length("Content-Length: 0012\r\n"), BodyLength::Bytes(12));
    let largest = format!("Content-Length: {}\r\n", u64::MAX);
    assert_eq!(length(&largest), BodyLength::Bytes(u64::MAX));
    let lines = "Transfer-Encoding: Chunked\r\n";
    assert_eq!(length(lines), BodyLength::Chunked);
}

#[test]
fn a_body_of_known_length_ends_at_its_last_byte() {
    for size in 1..8 {
        let read = read(BodyLength::Bytes(5), b"honeyGET", size);
        assert_eq!(read, Ok((b"honey".to_vec(), b"GET".to_vec(), true)));
    }
    let part = read(BodyLength::Bytes(u64::MAX), b"honey", 5);
    assert_eq!(part, Ok((b"honey".to_vec(), Vec::new(), false)));
    assert!(BodyReader::new(BodyLength::None).is_done());
}

#[test]
fn rfc_9112_7_1_chunks_are_put_together() {
    claims!("rfc9112/7.1/2");
    assert_eq!(
        length("Transfer-Encoding: chunked\r\n"),
        BodyLength::Chunked
    );
    assert_eq!(body_of(b"0\r\n\r\n"), b"");
    assert_eq!(
        body_of(b"5\r\nhoney\r\n00a\r\n0123456789\r\n0\r\n\r\n"),
        b"honey0123456789"
    );
    assert_eq!(
        body_of(b"A\r\n\r\n\r\n\r\n\r\n\r\n\r\n000\r\n\r\n"),
        b"\r\n\r\n\r\n\r\n\r\n"
    );
    let read = chunked(b"1\r\nx\r\n0\r\n\r\nGET / HTTP/1.1\r\n");
    assert_eq!(
        read,
        Ok((b"x".to_vec(), b"GET / HTTP/1.1\r\n".to_vec(), true))
    );
    assert_eq!(
        chunked(b"5\r\nhon"),
        Ok((b"hon".to_vec(), Vec::new(), false))
    );
}

#[test]
fn rfc_9112_7_1_a_size_that_is_too_large_is_refused() {
    claims!("rfc9112/7.1/3");
    assert_eq!(chunked(b"fffffffffffffffff\r\n"), Err(400));
    assert_eq!(chunked(b"10000000000000000\r\n"), Err(400));
    assert_eq!(chunked(b"00000000000000001\r\nx"), Err(400));
    let most = chunked(b"ffffffffffffffff\r\nx");
    assert_eq!(most, Ok((b"x".to_vec(), Vec::new(), false)));
}

#[test]
fn rfc_9112_7_1_1_extensions_are_ignored_up_to_a_limit() {
    claims!("rfc9112/7.1.1/1");
    assert_eq!(body_of(b"1;a\r\nx\r\n0;b=c\r\n\r\n"), b"x");
    assert_eq!(body_of(b"1 \t; a = \"b;c\"\r\nx\r\n0\r\n\r\n"), b"x");
    let long = |size| [b"1;", &vec![b'a'; size][..], b"\r\nx\r\n0\r\n\r\n"].concat();
    assert_eq!(
        read(BodyLength::Chunked, &long(8000), 999).map(|it| it.0),
        Ok(b"x".to_vec())
    );
    assert_eq!(read(BodyLength::Chunked, &long(9000), 999), Err(431));
    let many = [&b"1;aaa\r\nx\r\n".repeat(3000)[..], b"0\r\n\r\n"].concat();
    assert_eq!(read(BodyLength::Chunked, &many, 999), Err(431));
}

#[test]
fn trailer_fields_are_dropped_up_to_a_limit() {
    assert_eq!(body_of(b"1\r\nx\r\n0\r\nX-Sum: 5\r\nB:\r\n\r\n"), b"x");
    let long = |size| [b"0\r\nA: ", &vec![b'a'; size][..], b"\r\n\r\n"].concat();
    assert_eq!(
        read(BodyLength::Chunked, &long(8000), 999).map(|it| it.2),
        Ok(true)
    );
    assert_eq!(read(BodyLength::Chunked, &long(9000), 999), Err(431));
}

/// Each of them is read differently by some server or proxy.
#[test]
fn what_leaves_room_for_two_readings_is_refused() {
    for bytes in [
        &b"\r\n"[..],
        b";a\r\n",
        b" 1\r\nx",
        b"+1\r\nx",
        b"-1\r\nx",
        b"0x1\r\nx",
        b"1 \r\nx",
        b"1\nx",
        b"1;a\nx",
        b"1;a\x00\r\nx",
        b"1\rx",
        b"1\r\r\nx",
        b"1\r\nxy\r\n0\r\n\r\n",
        b"1\r\nx\n0\r\n\r\n",
        b"1\r\nx0\r\n\r\n",
        b"1\r\nx\r0\r\n\r\n",
        b"g\r\n",
        b"0\r\n\n",
        b"0\r\nA\r\n\r\n",
        b"0\r\nA : b\r\n\r\n",
        b"0\r\n: b\r\n\r\n",
        b"0\r\nA: b\n\r\n",
        b"0\r\nA: b\r\n c\r\n\r\n",
        b"0\r\nA: \x00\r\n\r\n",
        b"0\r\nGET / HTTP/1.1\r\n\r\n",
    ] {
        assert_eq!(
            chunked(bytes),
            Err(400),
            "{:?}",
            String::from_utf8_lossy(bytes)
        );
    }
}

/// What chunks are made of, and what does not belong there.
const ODD: &[u8] = b"0123fF;=\r\n :ax\"\t\x00";

proptest! {
    #[test]
    fn any_body_comes_back_at_any_cut(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..20),
        size in 1usize..50,
    ) {
        let mut wire = Vec::new();
        for piece in &pieces {
            wire.extend_from_slice(format!("{:X};n\r\n", piece.len()).as_bytes());
            wire.extend_from_slice(piece);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\nA: b\r\n\r\nnext");
        let read = read(BodyLength::Chunked, &wire, size);
        prop_assert_eq!(read, Ok((pieces.concat(), b"next".to_vec(), true)));
    }

    #[test]
    fn nothing_makes_it_panic_or_depend_on_the_cuts(
        bytes in prop::collection::vec(prop::sample::select(ODD), 0..60),
        size in 1usize..10,
    ) {
        let whole = read(BodyLength::Chunked, &bytes, bytes.len());
        prop_assert_eq!(read(BodyLength::Chunked, &bytes, size), whole);
    }
}
