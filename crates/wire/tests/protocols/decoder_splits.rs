//! However the network cuts the input, the same is received.

use proptest::collection::vec;
use proptest::prelude::*;
use vespiary_wire::websocket::decoder::{Decoder, Event, Limits, Role};
use vespiary_wire::websocket::frame::{self, Opcode};
use vespiary_wire::websocket::profile::Version;

use crate::support::{
    KEY, UNLIMITED, any_role, any_stream, any_version, cut, decode_pieces, decode_pieces_as,
};

const LIMITS: Limits = Limits {
    frame_bytes_max: 150,
    message_bytes_max: 250,
    fragments_max: 4,
};

proptest! {
    #[test]
    fn any_stream_gives_the_same_contents_at_every_single_cut(
        (role, stream) in any_role().prop_flat_map(|role| (Just(role), any_stream(role))),
        limited in any::<bool>(),
        version in any_version(),
    ) {
        let limits = if limited { LIMITS } else { UNLIMITED };
        let (items, end) = decode_pieces_as(version, role, &limits, [&stream[..]]);
        for place in 0..=stream.len() {
            let pieces = cut(&stream, &[place]);
            let (cut_items, cut_end) = decode_pieces_as(version, role, &limits, pieces);
            prop_assert_eq!(&items, &cut_items, "cut at {}", place);
            prop_assert_eq!(end.as_ref().err(), cut_end.as_ref().err(), "cut at {}", place);
        }
    }

    #[test]
    fn any_stream_gives_the_same_contents_byte_by_byte_and_at_any_cuts(
        (role, stream) in any_role().prop_flat_map(|role| (Just(role), any_stream(role))),
        places in vec(any::<usize>(), 0..12),
        version in any_version(),
    ) {
        let (items, end) = decode_pieces_as(version, role, &UNLIMITED, [&stream[..]]);
        let (byte_items, byte_end) = decode_pieces_as(version, role, &UNLIMITED, stream.chunks(1));
        prop_assert_eq!(&items, &byte_items);
        prop_assert_eq!(end.as_ref().err(), byte_end.as_ref().err());
        let pieces = cut(&stream, &places);
        let (cut_items, cut_end) = decode_pieces_as(version, role, &UNLIMITED, pieces);
        prop_assert_eq!(&items, &cut_items);
        prop_assert_eq!(end.as_ref().err(), cut_end.as_ref().err());
        if let (Ok(whole), Ok(cut)) = (end, cut_end) {
            prop_assert_eq!(whole.in_message(), cut.in_message());
            prop_assert_eq!(whole.mid_frame(), cut.mid_frame());
        }
    }

    #[test]
    fn what_is_appended_is_decoded(
        key in any::<Option<[u8; 4]>>(),
        payloads in vec(vec(any::<u8>(), 0..300), 1..6),
        binary in any::<bool>(),
    ) {
        let mut stream = Vec::new();
        let last = payloads.len() - 1;
        for (at, payload) in payloads.iter().enumerate() {
            let opcode = match (at, binary) {
                (0, true) => Opcode::Binary,
                (0, false) => Opcode::Text,
                _ => Opcode::Continuation,
            };
            frame::append(&mut stream, at == last, false, opcode, payload, key);
        }
        let role = if key.is_some() { Role::Server } else { Role::Client };
        let (items, end) = decode_pieces(role, &UNLIMITED, [&stream[..]]);
        prop_assert!(end.is_ok_and(|decoder| !decoder.in_message() && !decoder.mid_frame()));
        let received: Vec<Vec<u8>> = items
            .into_iter()
            .map(|item| match item {
                crate::support::Item::Frame { payload, .. } => payload,
                crate::support::Item::Control { .. } => panic!("no control frame was sent"),
            })
            .collect();
        prop_assert_eq!(received, payloads);
    }

    #[test]
    fn any_bytes_at_all_are_taken_or_refused_without_a_panic(
        role in any_role(),
        bytes in vec(any::<u8>(), 0..200),
    ) {
        let (_, whole) = decode_pieces(role, &LIMITS, [&bytes[..]]);
        let (_, single) = decode_pieces(role, &LIMITS, bytes.chunks(1));
        prop_assert_eq!(whole.err(), single.err());
    }
}

#[test]
fn a_frame_wholly_in_the_input_gives_one_event_that_borrows_its_bytes() {
    let mut bytes = Vec::new();
    frame::append(&mut bytes, true, false, Opcode::Text, b"hello", Some(KEY));
    frame::append(&mut bytes, true, false, Opcode::Text, b"again", Some(KEY));
    let mut decoder = Decoder::new(Role::Server, Version::default());
    let mut input = &bytes[..];
    for place in [6, 17] {
        let Ok(Some(Event::Data(data))) = decoder.next(&mut input, &UNLIMITED) else {
            panic!("a whole frame gives its event");
        };
        assert!(data.message_start && data.frame_start && data.message_end && data.fin);
        assert_eq!((data.frame_remaining, data.key), (0, KEY));
        assert!(std::ptr::eq(
            data.payload,
            &raw const bytes[place..place + 5]
        ));
    }
    assert_eq!(decoder.next(&mut input, &UNLIMITED), Ok(None));
}

#[test]
fn a_head_alone_gives_no_event_and_its_first_payload_byte_gives_the_start() {
    let mut bytes = Vec::new();
    frame::append(&mut bytes, true, false, Opcode::Binary, b"abc", Some(KEY));
    let mut decoder = Decoder::new(Role::Server, Version::default());
    assert_eq!(decoder.next(&mut &bytes[..6], &UNLIMITED), Ok(None));
    assert!(decoder.in_message() && decoder.mid_frame());
    let mut input = &bytes[6..7];
    let Ok(Some(Event::Data(data))) = decoder.next(&mut input, &UNLIMITED) else {
        panic!("the first byte of the payload gives an event");
    };
    assert!(data.message_start && data.frame_start && !data.message_end);
    assert_eq!(
        (data.frame_remaining, data.key[0] ^ data.payload[0]),
        (2, b'a')
    );
}
