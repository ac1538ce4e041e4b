//! Bodies of responses, written piece by piece (RFC 9112 sections 6.3 and 7.1).

use proptest::prelude::*;
use vespiary_trace::claims;
use vespiary_wire::http::{
    Asked, BodyLength, BodyReader, BodyWriter, Facts, Fields, WrongLength, append_interim,
    check_trailers,
};

const GET: Asked = Asked {
    is_head: false,
    minor_version: 1,
};
const HEAD: Asked = Asked {
    is_head: true,
    minor_version: 1,
};
const OLD: Asked = Asked {
    is_head: false,
    minor_version: 0,
};

fn headers(lines: &[(&str, &str)]) -> Vec<(String, String)> {
    let lines = lines.iter();
    lines
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn writer(asked: Asked, status: u16, lines: &[(&str, &str)]) -> BodyWriter {
    BodyWriter::of(asked, status, &Facts::of(&headers(lines))).expect("a body")
}

fn written(mut writer: BodyWriter, pieces: &[Vec<u8>]) -> Result<Vec<u8>, WrongLength> {
    let mut out = Vec::new();
    for piece in pieces {
        writer.append(&mut out, piece)?;
    }
    writer.end(&mut out, &[])?;
    Ok(out)
}

#[test]
fn rfc_9112_6_3_the_head_says_how_the_body_ends() {
    claims!("rfc9112/6.1/7", "rfc9112/6.1/11", "rfc9110/9.3.2/1");
    assert_eq!(writer(GET, 200, &[]), BodyWriter::Chunked);
    assert_eq!(writer(OLD, 200, &[]), BodyWriter::UntilClose);
    for asked in [GET, OLD] {
        let lines = [("content-LENGTH", "12")];
        assert_eq!(writer(asked, 200, &lines), BodyWriter::Bytes(12));
        assert_eq!(writer(asked, 204, &[]), BodyWriter::Absent);
        assert_eq!(writer(asked, 304, &lines), BodyWriter::Absent);
    }
    for lines in [&[][..], &[("Content-Length", "12")]] {
        assert_eq!(writer(HEAD, 200, lines), BodyWriter::Absent);
    }
    let none = [("Content-Length", "0")];
    assert_eq!(writer(GET, 205, &none), BodyWriter::Bytes(0));
}

#[test]
fn a_head_that_contradicts_the_body_is_an_error() {
    claims!(
        "rfc9112/6.1/2",
        "rfc9112/6.2/1",
        "rfc9110/8.6/5",
        "rfc9110/15.3.6/1"
    );
    for (status, lines) in [
        (200, &[("Content-Length", "x")][..]),
        (200, &[("Content-Length", "")]),
        (200, &[("Content-Length", "+1")]),
        (200, &[("Content-Length", "99999999999999999999")]),
        (200, &[("Content-Length", "1"), ("content-length", "1")]),
        (200, &[("Transfer-Encoding", "chunked")]),
        (204, &[("Content-Length", "1")]),
        (205, &[("Content-Length", "1")]),
        (205, &[]),
    ] {
        let made = BodyWriter::of(GET, status, &Facts::of(&headers(lines)));
        made.expect_err("a contradiction");
    }
}

#[test]
fn the_head_is_written_with_the_coding_that_it_needs() {
    assert_eq!(
        BodyWriter::Chunked.head_end(),
        b"Transfer-Encoding: chunked\r\n\r\n"
    );
    assert_eq!(BodyWriter::UntilClose.head_end(), b"\r\n");
}

#[test]
fn header_lines_are_clean_or_are_not_taken() {
    let lines = headers(&[("A", "b"), ("B", "caf\u{e9}")]);
    let mut fields = Fields::of(&lines).expect("clean lines");
    assert_eq!(fields.lines(), b"A: b\r\nB: caf\xe9\r\n");
    for (name, value) in [
        ("A", "b\r\nc"),
        ("A", "\0"),
        ("", "b"),
        ("A b", "c"),
        ("A:", "c"),
        ("A", "\u{20ac}"),
        ("\u{e9}", "\u{e9}"),
    ] {
        fields.add_text(name, value).expect_err(name);
        if value.is_ascii() {
            fields
                .add(name.as_bytes(), value.as_bytes())
                .expect_err(name);
        }
    }
    assert_eq!(fields.lines(), b"A: b\r\nB: caf\xe9\r\n");
}

#[test]
fn what_header_lines_say_is_noted() {
    let facts = |name: &str, value: &str| Facts::of(&headers(&[(name, value)]));
    assert!(facts("dAte", "x").is_dated);
    assert!(facts("Connection", "keep-alive, Close").lists_close);
    assert!(facts("connection", "upgrade ,x").lists_upgrade);
    assert!(facts("upgrade", "h2c, WebSocket").offers_websocket);
    assert!(facts("upgrade", "h2c").has_upgrade);
    for name in ["mate", "connections", "downgrade", "content-lengths"] {
        assert_eq!(facts(name, "close, upgrade, websocket"), Facts::default());
    }
    assert_eq!(facts("content-length", "7").length(), Ok(Some(7)));
    assert!(facts("content-length", "x").has_length());
}

#[test]
fn a_body_that_is_not_what_was_said_is_an_error() {
    let honey = [b"honey".to_vec()];
    assert_eq!(
        written(BodyWriter::Bytes(4), &honey),
        Err(WrongLength::TooLong)
    );
    assert_eq!(
        written(BodyWriter::Bytes(7), &honey),
        Err(WrongLength::TooShort(2))
    );
    assert_eq!(written(BodyWriter::Bytes(5), &honey), Ok(b"honey".to_vec()));
    assert_eq!(written(BodyWriter::Absent, &honey), Ok(Vec::new()));
    assert_eq!(
        written(BodyWriter::UntilClose, &honey),
        Ok(b"honey".to_vec())
    );
}

#[test]
fn rfc_9110_6_5_1_trailer_fields_do_not_frame_the_message() {
    let trailers = headers(&[("Digest", "abc")]);
    check_trailers(&trailers).expect("a trailer");
    let mut out = Vec::new();
    BodyWriter::Chunked
        .end(&mut out, &trailers)
        .expect("the end");
    assert_eq!(out, b"0\r\nDigest: abc\r\n\r\n");
    let mut out = Vec::new();
    BodyWriter::UntilClose
        .end(&mut out, &trailers)
        .expect("the end");
    assert_eq!(out, b"", "there is no place for them");
    for (name, value) in [
        ("Content-Length", "1"),
        ("transfer-encoding", "chunked"),
        ("Host", "a"),
        ("Trailer", "a"),
        ("Connection", "close"),
        ("A b", "c"),
        ("A", "b\nc"),
    ] {
        check_trailers(&headers(&[(name, value)])).expect_err(name);
    }
}

#[test]
fn an_interim_response_has_no_body() {
    let mut out = Vec::new();
    append_interim(&mut out, 103, &headers(&[("Link", "</a>")])).expect("a hint");
    assert_eq!(out, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    for name in ["Content-Length", "transfer-encoding"] {
        append_interim(&mut out, 103, &headers(&[(name, "1")])).expect_err(name);
    }
}

proptest! {
    /// What is written in chunks is read as what it was, wherever the stream is cut, and the next
    /// message begins where it ends.
    #[test]
    fn chunks_are_read_as_they_were_written(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 0..20),
        cut in 1_usize..600,
    ) {
        let whole = pieces.concat();
        let mut wire = written(BodyWriter::Chunked, &pieces).expect("no length was said");
        wire.extend_from_slice(b"HTTP/1.1 200 OK");
        let mut reader = BodyReader::new(BodyLength::Chunked);
        let (mut body, mut behind) = (Vec::new(), Vec::new());
        for mut part in wire.chunks(cut) {
            while let Some(data) = reader.next(&mut part).expect("well-formed") {
                body.extend_from_slice(data);
            }
            behind.extend_from_slice(part);
        }
        prop_assert!(reader.is_done());
        prop_assert_eq!(reader.left(), Some(0));
        prop_assert_eq!(body, whole);
        prop_assert_eq!(behind, b"HTTP/1.1 200 OK");
    }

    /// The form of a piece is the same as when it is appended, for any length.
    #[test]
    fn the_size_of_a_chunk_is_its_length(length in any::<usize>()) {
        let mut writer = BodyWriter::Chunked;
        let form = writer.piece(length).expect("no length was said");
        let head = String::from_utf8(form.head().to_vec()).expect("digits");
        if length == 0 {
            prop_assert_eq!(head, "");
        } else {
            prop_assert_eq!(head, format!("{length:x}\r\n"));
            prop_assert_eq!(form.tail(), b"\r\n");
        }
    }

    /// A body of known length is complete exactly when so many bytes were written.
    #[test]
    fn a_length_is_kept(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..10),
        length in 0_u64..300,
    ) {
        let whole = pieces.concat();
        let result = written(BodyWriter::Bytes(length), &pieces);
        prop_assert_eq!(result.is_ok(), whole.len() as u64 == length);
        if let Ok(wire) = result {
            prop_assert_eq!(wire, whole);
        }
    }
}
