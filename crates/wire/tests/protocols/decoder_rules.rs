//! RFC 6455 section 5, a test for each rule that a receiver enforces.

use vespiary_wire::websocket::close::Code;
use vespiary_wire::websocket::decoder::{Decoder, Role};
use vespiary_wire::websocket::frame::{self, Kind, Opcode};

use crate::support::{Item, KEY, UNLIMITED, decode, decode_pieces, refusal};
use vespiary_trace::claims;

fn whole(kind: Kind, payload: &[u8]) -> Item {
    Item::Frame {
        kind,
        message_start: true,
        fin: true,
        payload: payload.to_vec(),
        remaining: 0,
    }
}

fn part(kind: Kind, message_start: bool, fin: bool, payload: &[u8]) -> Item {
    Item::Frame {
        kind,
        message_start,
        fin,
        payload: payload.to_vec(),
        remaining: 0,
    }
}

fn masked(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::append(&mut out, fin, false, opcode, payload, Some(KEY));
    out
}

#[test]
fn an_idle_decoder_costs_at_most_56_bytes() {
    assert!(size_of::<Decoder>() <= 56, "{} bytes", size_of::<Decoder>());
}

#[test]
fn section_5_7_a_single_frame_unmasked_text_message_is_read() {
    let (items, error) = decode(Role::Client, &[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    assert_eq!((items, error), (vec![whole(Kind::Text, b"Hello")], None));
}

#[test]
fn section_5_7_a_single_frame_masked_text_message_is_read() {
    claims!("rfc6455/5.2/1", "rfc6455/5.4/7", "rfc6455/6.2/7");
    let bytes = [
        0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
    ];
    assert_eq!(
        decode(Role::Server, &bytes),
        (vec![whole(Kind::Text, b"Hello")], None)
    );
}

#[test]
fn section_5_3_a_masked_message_of_126_bytes_is_read_when_its_end_comes_later() {
    claims!("rfc6455/5.2/h2", "rfc6455/5.3/h1", "rfc6455/6.2/7");
    let payload: Vec<u8> = (0..126).collect();
    let bytes = masked(true, Opcode::Binary, &payload);
    let (first, second) = bytes.split_at(bytes.len() - 1);
    let (items, end) = decode_pieces(Role::Server, &UNLIMITED, [first, second]);
    assert!(end.is_ok());
    assert_eq!(items, [whole(Kind::Binary, &payload)]);
}

#[test]
fn section_5_7_a_fragmented_unmasked_text_message_is_read() {
    claims!("rfc6455/5.4/7", "rfc6455/6.2/3", "rfc6455/6.2/h1");
    let bytes = [0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f];
    let parts = vec![
        part(Kind::Text, true, false, b"Hel"),
        part(Kind::Text, false, true, b"lo"),
    ];
    assert_eq!(decode(Role::Client, &bytes), (parts, None));
}

#[test]
fn section_5_7_an_unmasked_ping_and_a_masked_pong_are_read() {
    claims!(
        "rfc6455/5.2/h3",
        "rfc6455/5.3/h1",
        "rfc6455/5.5/h1",
        "rfc6455/6.2/2",
        "rfc6455/5.2/h4"
    );
    let ping = [0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    let item = Item::Control {
        opcode: Opcode::Ping,
        payload: b"Hello".to_vec(),
    };
    assert_eq!(decode(Role::Client, &ping), (vec![item], None));
    let pong = [
        0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
    ];
    let item = Item::Control {
        opcode: Opcode::Pong,
        payload: b"Hello".to_vec(),
    };
    assert_eq!(decode(Role::Server, &pong), (vec![item], None));
}

#[test]
fn section_5_7_binary_messages_of_256_bytes_and_of_64_kibibytes_are_read() {
    claims!("rfc6455/5.2/h2");
    for (head, length) in [
        (vec![0x82, 0x7E, 0x01, 0x00], 256),
        (vec![0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0], 65536),
    ] {
        let payload: Vec<u8> = (0..length).map(|at| at as u8).collect();
        let bytes = [head, payload.clone()].concat();
        assert_eq!(
            decode(Role::Client, &bytes),
            (vec![whole(Kind::Binary, &payload)], None)
        );
    }
}

#[test]
fn section_5_1_a_server_refuses_an_unmasked_frame() {
    claims!("rfc6455/5.1/2");
    let error = refusal(&[0x81, 0x05]);
    assert_eq!(
        (error.code, error.section),
        (Code::PROTOCOL_ERROR, "RFC 6455 5.1")
    );
}

#[test]
fn section_5_1_a_client_refuses_a_masked_frame() {
    claims!("rfc6455/5.1/5");
    let (items, error) = decode(Role::Client, &[0x81, 0x85]);
    assert!(items.is_empty());
    assert_eq!(error.map(|error| error.section), Some("RFC 6455 5.1"));
}

#[test]
fn section_5_2_each_reserved_bit_is_refused_at_the_first_byte() {
    claims!(
        "rfc6455/5.2/3",
        "rfc6455/5.2/8",
        "rfc6455/5.2/9",
        "rfc6455/5.2/10"
    );
    for bit in [0x40, 0x20, 0x10] {
        for opcode in [0x81, 0x82, 0x88, 0x89, 0x8A] {
            let error = refusal(&[opcode | bit]);
            assert_eq!(
                (error.code, error.section),
                (Code::PROTOCOL_ERROR, "RFC 6455 5.2")
            );
        }
    }
}

#[test]
fn section_5_2_each_reserved_opcode_is_refused_at_the_first_byte() {
    claims!("rfc6455/5.2/4", "rfc6455/5.2/h1");
    for opcode in [0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF] {
        for fin in [0x00, 0x80] {
            let error = refusal(&[fin | opcode]);
            assert_eq!(
                (error.code, error.section),
                (Code::PROTOCOL_ERROR, "RFC 6455 5.2")
            );
        }
    }
}

#[test]
fn section_5_2_a_length_that_is_not_in_its_shortest_form_is_refused() {
    claims!("rfc6455/5.2/6");
    for bytes in [
        vec![0x82, 0xFE, 0, 0],
        vec![0x82, 0xFE, 0, 125],
        vec![0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0, 5],
        vec![0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF],
    ] {
        let error = refusal(&bytes);
        assert_eq!(
            (error.code, error.section),
            (Code::PROTOCOL_ERROR, "RFC 6455 5.2")
        );
    }
}

#[test]
fn section_5_2_the_shortest_lengths_of_each_form_are_taken() {
    for length in [0, 1, 125, 126, 127, 0xFFFF, 0x1_0000] {
        let payload = vec![7; length];
        let bytes = masked(true, Opcode::Binary, &payload);
        assert_eq!(
            decode(Role::Server, &bytes),
            (vec![whole(Kind::Binary, &payload)], None)
        );
    }
}

#[test]
fn section_5_2_a_length_with_its_highest_bit_set_is_refused() {
    claims!("rfc6455/5.2/5");
    for highest in [0x80, 0xFF] {
        let error = refusal(&[0x82, 0xFF, highest, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            (error.code, error.section),
            (Code::PROTOCOL_ERROR, "RFC 6455 5.2")
        );
    }
}

#[test]
fn section_5_2_a_frame_of_nearly_2_to_the_63_bytes_is_valid_where_no_limit_is_set() {
    let head = [
        0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 1,
    ];
    let remaining = (1 << 63) - 2;
    let frame = Item::Frame {
        kind: Kind::Binary,
        message_start: true,
        fin: true,
        payload: vec![1],
        remaining,
    };
    assert_eq!(decode(Role::Server, &head), (vec![frame], None));
}

#[test]
fn section_5_4_a_continuation_without_a_message_is_refused() {
    claims!("rfc6455/5.4/h1");
    for first in [0x00, 0x80] {
        let error = refusal(&[first]);
        assert_eq!(
            (error.code, error.section),
            (Code::PROTOCOL_ERROR, "RFC 6455 5.4")
        );
    }
    let after_a_whole_message = [masked(true, Opcode::Text, b"a"), vec![0x80]].concat();
    assert_eq!(refusal(&after_a_whole_message).section, "RFC 6455 5.4");
}

#[test]
fn section_5_4_a_message_may_not_begin_within_another() {
    claims!("rfc6455/5.4/4");
    for opcode in [Opcode::Text, Opcode::Binary] {
        let begun = masked(false, opcode, b"a");
        for first in [0x01, 0x81, 0x02, 0x82] {
            let error = refusal(&[begun.clone(), vec![first]].concat());
            assert_eq!(
                (error.code, error.section),
                (Code::PROTOCOL_ERROR, "RFC 6455 5.4")
            );
        }
    }
}

#[test]
fn section_5_4_control_frames_may_stand_between_fragments() {
    claims!(
        "rfc6455/5.4/1",
        "rfc6455/5.4/5",
        "rfc6455/5.5/h1",
        "rfc6455/6.2/2"
    );
    let bytes = [
        masked(false, Opcode::Text, b"a"),
        masked(true, Opcode::Ping, b"p"),
        masked(false, Opcode::Continuation, b"b"),
        masked(true, Opcode::Pong, b"q"),
        masked(true, Opcode::Close, &[0x03, 0xE8]),
        masked(true, Opcode::Continuation, b"c"),
    ]
    .concat();
    let expected = vec![
        part(Kind::Text, true, false, b"a"),
        Item::Control {
            opcode: Opcode::Ping,
            payload: b"p".to_vec(),
        },
        part(Kind::Text, false, false, b"b"),
        Item::Control {
            opcode: Opcode::Pong,
            payload: b"q".to_vec(),
        },
        Item::Control {
            opcode: Opcode::Close,
            payload: vec![0x03, 0xE8],
        },
        part(Kind::Text, false, true, b"c"),
    ];
    assert_eq!(decode(Role::Server, &bytes), (expected, None));
}

#[test]
fn section_5_4_fragments_and_messages_may_be_empty() {
    claims!("rfc6455/6.2/4");
    let bytes = [
        masked(false, Opcode::Text, b""),
        masked(false, Opcode::Continuation, b""),
        masked(true, Opcode::Continuation, b""),
        masked(true, Opcode::Binary, b""),
    ]
    .concat();
    let expected = vec![
        part(Kind::Text, true, false, b""),
        part(Kind::Text, false, false, b""),
        part(Kind::Text, false, true, b""),
        whole(Kind::Binary, b""),
    ];
    assert_eq!(decode(Role::Server, &bytes), (expected, None));
}

#[test]
fn section_5_5_a_fragmented_control_frame_is_refused_at_the_first_byte() {
    claims!("rfc6455/5.4/2", "rfc6455/5.4/12", "rfc6455/5.5/1");
    for first in [0x08, 0x09, 0x0A] {
        let error = refusal(&[first]);
        assert_eq!(
            (error.code, error.section),
            (Code::PROTOCOL_ERROR, "RFC 6455 5.5")
        );
    }
}

#[test]
fn section_5_5_a_control_frame_longer_than_125_bytes_is_refused_at_the_second_byte() {
    claims!("rfc6455/5.5/1");
    for first in [0x88, 0x89, 0x8A] {
        for second in [0xFE, 0xFF] {
            let error = refusal(&[first, second]);
            assert_eq!(
                (error.code, error.section),
                (Code::PROTOCOL_ERROR, "RFC 6455 5.5")
            );
        }
    }
}

#[test]
fn section_5_5_control_frames_of_0_and_of_125_bytes_are_taken() {
    for length in [0, 125] {
        let payload = vec![9; length];
        let bytes = masked(true, Opcode::Ping, &payload);
        let item = Item::Control {
            opcode: Opcode::Ping,
            payload,
        };
        assert_eq!(decode(Role::Server, &bytes), (vec![item], None));
    }
}

#[test]
fn an_error_says_what_was_wrong_where_it_stands_and_which_close_code_tells_the_peer() {
    let text = refusal(&[0x83]).to_string();
    assert_eq!(
        text,
        "a frame has a reserved opcode (RFC 6455 5.2, close code 1002)"
    );
}
