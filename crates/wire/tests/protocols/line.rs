//! Lines on a raw stream.

use std::borrow::Cow;

use proptest::collection::vec;
use proptest::prelude::*;
use vespiary_wire::framing::line::{LineDecoder, LineError};

use crate::support::cut;

/// The lines, and whether another has begun behind them.
fn decode(pieces: &[&[u8]], limit: u64) -> (Vec<Vec<u8>>, Result<bool, LineError>) {
    let mut decoder = LineDecoder::new();
    let mut lines = Vec::new();
    for piece in pieces {
        let mut input = *piece;
        loop {
            match decoder.next(&mut input, limit) {
                Ok(Some(line)) => lines.push(line.into_owned()),
                Ok(None) => break assert!(input.is_empty()),
                Err(error) => {
                    let again = decoder.next(&mut input, limit);
                    assert_eq!(again, Err(error), "an error is final");
                    return (lines, Err(error));
                }
            }
        }
    }
    (lines, Ok(decoder.mid_line()))
}

/// The same by the shortest possible reasoning, for inputs within every limit.
fn expected(bytes: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut parts: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let rest = parts.pop().unwrap_or_default();
    let lines = parts
        .iter()
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec());
    (lines.collect(), !rest.is_empty())
}

#[test]
fn a_line_ends_with_a_line_feed_and_an_optional_return_before_it() {
    let (lines, rest) = decode(&[b"one\ntwo\r\n\n\r\nth\rree\r\r\nrest"], 100);
    let expected: [&[u8]; 5] = [b"one", b"two", b"", b"", b"th\rree\r"];
    assert_eq!(lines, expected);
    assert_eq!(rest, Ok(true));
}

#[test]
fn a_line_wholly_in_the_input_is_borrowed_and_one_that_was_cut_is_owned() {
    let mut decoder = LineDecoder::new();
    let mut input: &[u8] = b"one\ntw";
    assert!(matches!(
        decoder.next(&mut input, 9),
        Ok(Some(Cow::Borrowed(b"one")))
    ));
    assert_eq!(decoder.next(&mut input, 9), Ok(None));
    assert!(decoder.mid_line());
    let mut input: &[u8] = b"o\nthree\n";
    assert!(matches!(decoder.next(&mut input, 9), Ok(Some(Cow::Owned(line))) if line == b"two"));
    assert!(!decoder.mid_line());
    assert!(matches!(
        decoder.next(&mut input, 9),
        Ok(Some(Cow::Borrowed(b"three")))
    ));
}

#[test]
fn a_line_of_the_limit_is_taken_with_either_terminator_and_one_byte_more_is_refused() {
    for place in 0..=6 {
        for bytes in [&b"12345\n"[..], b"12345\r\n"] {
            let (lines, rest) = decode(&cut(bytes, &[place]), 5);
            assert_eq!((lines, rest), (vec![b"12345".to_vec()], Ok(false)));
        }
        for bytes in [&b"123456\n"[..], b"123456\r\n", b"12345\r\r\n"] {
            assert!(decode(&cut(bytes, &[place]), 5).1.is_err());
        }
    }
}

#[test]
fn a_line_over_the_limit_is_refused_before_its_end_has_come() {
    assert_eq!(decode(&[b"12345"], 5).1, Ok(true));
    assert_eq!(decode(&[b"12345\r"], 5).1, Ok(true));
    assert_eq!(
        decode(&[b"123456"], 5).1,
        Err(LineError::TooLong {
            message_bytes_max: 5
        })
    );
    assert_eq!(
        decode(&[b"12345", b"6"], 5).1,
        Err(LineError::TooLong {
            message_bytes_max: 5
        })
    );
    assert_eq!(
        decode(&[b"12345\r", b"x"], 5).1,
        Err(LineError::TooLong {
            message_bytes_max: 5
        })
    );
}

proptest! {
    #[test]
    fn any_stream_gives_the_same_lines_at_any_cuts(
        bytes in vec(prop::sample::select(b"ab\r\n\n".to_vec()), 0..60),
        places in vec(any::<usize>(), 0..8),
    ) {
        let (lines, rest) = expected(&bytes);
        prop_assert_eq!(decode(&cut(&bytes, &places), 99), (lines, Ok(rest)));
    }

    #[test]
    fn a_limit_is_judged_the_same_at_any_cuts(
        bytes in vec(prop::sample::select(b"abcd\r\n".to_vec()), 0..40),
        places in vec(any::<usize>(), 0..8),
        limit in 0_u64..6,
    ) {
        let (whole, whole_end) = decode(&[&bytes], limit);
        let (cut_lines, cut_end) = decode(&cut(&bytes, &places), limit);
        prop_assert_eq!(&whole, &cut_lines);
        prop_assert_eq!(whole_end, cut_end);
        prop_assert!(whole.iter().all(|line| line.len() as u64 <= limit));
    }

    #[test]
    fn lines_are_decoded(lines in vec(vec(32_u8..127, 0..40), 0..6)) {
        let mut bytes = Vec::new();
        for line in &lines {
            bytes.extend_from_slice(line);
            bytes.push(b'\n');
        }
        prop_assert_eq!(decode(&[&bytes], 40), (lines, Ok(false)));
    }
}
