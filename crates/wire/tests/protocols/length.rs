//! Length prefixes on a raw stream.

use proptest::collection::vec;
use proptest::prelude::*;
use vespiary_wire::framing::length::{self, Format, FramingError, LengthDecoder, TooLong};

use crate::support::cut;

const SHORT: Format = Format {
    width: 2,
    big_endian: true,
    includes_itself: false,
};

/// The messages, and what the last one still lacks.
type Outcome = (Vec<Vec<u8>>, Result<u64, FramingError>);

fn decode(pieces: &[&[u8]], format: Format, limit: u64) -> Outcome {
    let mut decoder = LengthDecoder::new();
    let mut messages: Vec<Vec<u8>> = Vec::new();
    let mut missing = 0;
    for piece in pieces {
        let mut input = *piece;
        loop {
            match decoder.next(&mut input, &format, limit) {
                Ok(Some(chunk)) => {
                    assert_eq!(chunk.start, missing == 0);
                    assert_eq!(chunk.end, chunk.remaining == 0);
                    if chunk.start {
                        messages.push(Vec::new());
                    } else {
                        assert_eq!(missing, chunk.payload.len() as u64 + chunk.remaining);
                    }
                    messages
                        .last_mut()
                        .unwrap()
                        .extend_from_slice(chunk.payload);
                    missing = chunk.remaining;
                }
                Ok(None) => break assert!(input.is_empty()),
                Err(error) => {
                    let again = decoder.next(&mut input, &format, limit);
                    assert_eq!(again, Err(error), "an error is final");
                    return (messages, Err(error));
                }
            }
        }
    }
    (messages, Ok(missing))
}

fn any_format() -> impl Strategy<Value = Format> {
    (
        prop::sample::select(vec![1_u8, 2, 4, 8]),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(width, big_endian, includes_itself)| Format {
            width,
            big_endian,
            includes_itself,
        })
}

/// A message behind its prefix.
fn append(out: &mut Vec<u8>, format: Format, payload: &[u8]) -> Result<(), TooLong> {
    let mut head = [0; 8];
    let width = length::write_head(&mut head, &format, payload.len() as u64)?;
    out.extend_from_slice(&head[..width]);
    out.extend_from_slice(payload);
    Ok(())
}

#[test]
fn the_same_message_in_each_format() {
    for (width, big_endian, includes_itself, prefix) in [
        (1, true, false, &[3][..]),
        (1, false, true, &[4]),
        (2, true, false, &[0, 3]),
        (2, false, false, &[3, 0]),
        (4, true, true, &[0, 0, 0, 7]),
        (4, false, true, &[7, 0, 0, 0]),
        (8, true, false, &[0, 0, 0, 0, 0, 0, 0, 3]),
        (8, false, true, &[11, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        let format = Format::new(width, big_endian, includes_itself).unwrap();
        let mut out = Vec::new();
        append(&mut out, format, b"abc").unwrap();
        assert_eq!(out, [prefix, b"abc"].concat());
        assert_eq!(decode(&[&out], format, 3), (vec![b"abc".to_vec()], Ok(0)));
    }
}

#[test]
fn a_width_of_other_than_1_2_4_or_8_bytes_makes_no_format() {
    for width in 0..=u8::MAX {
        assert_eq!(
            Format::new(width, true, true).is_some(),
            matches!(width, 1 | 2 | 4 | 8)
        );
    }
}

#[test]
fn the_first_chunk_tells_the_length_of_the_whole() {
    let mut decoder = LengthDecoder::new();
    let mut input: &[u8] = &[0, 5, b'a', b'b'];
    let chunk = decoder.next(&mut input, &SHORT, 9).unwrap().unwrap();
    assert!(chunk.start && !chunk.end);
    assert_eq!((chunk.payload, chunk.remaining), (&b"ab"[..], 3));
    assert!(decoder.mid_message());
    let chunk = decoder.next(&mut &b"cde"[..], &SHORT, 9).unwrap().unwrap();
    assert!(!chunk.start && chunk.end && chunk.payload == b"cde");
    assert!(!decoder.mid_message());
}

#[test]
fn a_prefix_alone_gives_no_chunk_unless_its_message_is_empty() {
    let mut decoder = LengthDecoder::new();
    assert_eq!(decoder.next(&mut &[0, 1][..], &SHORT, 9), Ok(None));
    assert!(decoder.mid_message());
    let chunk = decoder.next(&mut &b"x"[..], &SHORT, 9).unwrap().unwrap();
    assert!(chunk.start && chunk.end);
    let chunk = decoder.next(&mut &[0, 0][..], &SHORT, 9).unwrap().unwrap();
    assert!(chunk.start && chunk.end && chunk.payload.is_empty());
}

#[test]
fn a_message_over_the_limit_is_refused_at_its_prefix() {
    let error = FramingError::TooLong {
        announced: 6,
        message_bytes_max: 5,
    };
    assert_eq!(decode(&[&[0, 6]], SHORT, 5), (vec![], Err(error)));
    let format = Format {
        includes_itself: true,
        ..SHORT
    };
    assert_eq!(decode(&[&[0, 7]], format, 5), (vec![], Ok(0)));
    assert_eq!(decode(&[&[0, 8]], format, 5), (vec![], Err(error)));
}

#[test]
fn a_length_that_counts_itself_and_is_shorter_than_itself_is_refused() {
    let format = Format {
        width: 4,
        big_endian: true,
        includes_itself: true,
    };
    assert_eq!(decode(&[&[0, 0, 0, 4]], format, 5), (vec![vec![]], Ok(0)));
    let error = FramingError::TooShort {
        announced: 3,
        width: 4,
    };
    assert_eq!(decode(&[&[0, 0, 0, 3]], format, 5), (vec![], Err(error)));
}

#[test]
fn a_payload_that_the_width_cannot_announce_is_not_written() {
    let narrow = Format {
        width: 1,
        big_endian: true,
        includes_itself: true,
    };
    let mut out = vec![7];
    assert_eq!(append(&mut out, narrow, &[0; 254]), Ok(()));
    assert_eq!((out.len(), out[1]), (256, 255));
    let error = TooLong {
        payload_bytes: 255,
        payload_bytes_max: 254,
    };
    assert_eq!(append(&mut out, narrow, &[0; 255]), Err(error));
    assert_eq!(out.len(), 256);
    let widest = Format {
        width: 8,
        big_endian: true,
        includes_itself: false,
    };
    assert_eq!(widest.payload_bytes_max(), u64::MAX);
}

proptest! {
    #[test]
    fn what_is_appended_is_decoded_at_any_cuts(
        format in any_format(),
        messages in vec(vec(any::<u8>(), 0..100), 0..5),
        places in vec(any::<usize>(), 0..8),
    ) {
        let mut bytes = Vec::new();
        for message in &messages {
            append(&mut bytes, format, message).unwrap();
        }
        let decoded = decode(&cut(&bytes, &places), format, 100);
        prop_assert_eq!(&decoded, &(messages, Ok(0)));
        prop_assert_eq!(decode(&bytes.chunks(1).collect::<Vec<_>>(), format, 100), decoded);
    }

    #[test]
    fn any_bytes_are_judged_the_same_at_any_cuts(
        format in any_format(),
        bytes in vec(0_u8..12, 0..60),
        places in vec(any::<usize>(), 0..8),
    ) {
        let whole = decode(&[&bytes], format, 10);
        prop_assert_eq!(decode(&cut(&bytes, &places), format, 10), whole);
    }
}
