//! RFC 6455 section 5.2: frames as they are written.

use proptest::collection::vec;
use proptest::prelude::*;
use vespiary_wire::websocket::frame::{self, Opcode};

use crate::support::KEY;
use vespiary_trace::claims;

fn written(fin: bool, opcode: Opcode, payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
    let mut out = vec![0xEE];
    frame::append(&mut out, fin, false, opcode, payload, key);
    assert_eq!(out.remove(0), 0xEE, "what stood before is kept");
    out
}

#[test]
fn section_5_7_the_examples_are_written_as_printed() {
    claims!("rfc6455/5.2/h3", "rfc6455/5.3/1", "rfc6455/6.1/7");
    assert_eq!(
        written(true, Opcode::Text, b"Hello", None),
        [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]
    );
    assert_eq!(
        written(true, Opcode::Text, b"Hello", Some(KEY)),
        [
            0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58
        ]
    );
    assert_eq!(
        written(false, Opcode::Text, b"Hel", None),
        [0x01, 0x03, 0x48, 0x65, 0x6c]
    );
    assert_eq!(
        written(true, Opcode::Continuation, b"lo", None),
        [0x80, 0x02, 0x6c, 0x6f]
    );
    assert_eq!(
        written(true, Opcode::Ping, b"Hello", None),
        [0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]
    );
    assert_eq!(
        written(true, Opcode::Pong, b"Hello", Some(KEY)),
        [
            0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58
        ]
    );
    assert!(written(true, Opcode::Binary, &[7; 256], None).starts_with(&[0x82, 0x7E, 0x01, 0x00]));
    assert!(
        written(true, Opcode::Binary, &vec![7; 65536], None)
            .starts_with(&[0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0])
    );
}

#[test]
fn section_5_2_lengths_are_written_in_their_shortest_form() {
    claims!("rfc6455/5.2/6");
    for (length, size) in [
        (0, 2),
        (125, 2),
        (126, 4),
        (0xFFFF, 4),
        (0x1_0000, 10),
        (u64::MAX >> 1, 10),
    ] {
        let mut out = [0; frame::HEAD_BYTES_MAX];
        let written = frame::write_head(&mut out, true, false, Opcode::Binary, length, None);
        assert_eq!(
            (written, frame::head_length(length, false)),
            (size, size),
            "{length}"
        );
        let masked = frame::write_head(&mut out, true, false, Opcode::Binary, length, Some(KEY));
        assert_eq!(
            (masked, frame::head_length(length, true)),
            (size + 4, size + 4)
        );
        assert_eq!(out[size..size + 4], KEY);
    }
}

#[test]
#[should_panic(expected = "63 bits")]
fn section_5_2_a_length_of_64_bits_cannot_be_written() {
    frame::write_head(&mut [0; 14], true, false, Opcode::Binary, 1 << 63, None);
}

#[test]
fn section_5_2_the_first_reserved_bit_is_written_where_it_is_asked_for() {
    let mut out = Vec::new();
    frame::append(&mut out, true, true, Opcode::Text, b"", None);
    assert_eq!(out, [0xC1, 0x00]);
}

#[test]
fn section_5_2_each_opcode_has_the_number_it_is_written_with() {
    for bits in 0..=0x0F {
        if let Some(opcode) = Opcode::from_bits(bits) {
            assert_eq!(opcode as u8, bits);
            assert_eq!(opcode.is_control(), bits >= 8);
        } else {
            assert!(matches!(bits, 3..=7 | 0xB..=0xF));
        }
    }
}

proptest! {
    #[test]
    fn a_masked_frame_holds_the_payload_octet_by_octet(
        payload in vec(any::<u8>(), 0..9000),
        key in any::<[u8; 4]>(),
    ) {
        let out = written(true, Opcode::Binary, &payload, Some(key));
        let start = frame::head_length(payload.len() as u64, true);
        let unmasked: Vec<u8> =
            out[start..].iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]).collect();
        prop_assert_eq!(unmasked, payload);
    }
}
