//! RFC 6455 section 10.4: a receiver's own limits, which it tells with close code 1009.

use vespiary_wire::Limit;
use vespiary_wire::websocket::ProtocolError;
use vespiary_wire::websocket::close::Code;
use vespiary_wire::websocket::decoder::{Limits, Role};
use vespiary_wire::websocket::frame::{self, Opcode};

use crate::support::{KEY, UNLIMITED, decode_pieces};
use vespiary_trace::claims;

fn frames(frames: &[(bool, Opcode, usize)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (fin, opcode, length) in frames {
        frame::append(&mut out, *fin, false, *opcode, &vec![0; *length], Some(KEY));
    }
    out
}

fn outcome(limits: &Limits, bytes: &[u8]) -> Result<(), ProtocolError> {
    decode_pieces(Role::Server, limits, [bytes]).1.map(|_| ())
}

fn assert_too_big(outcome: Result<(), ProtocolError>) {
    assert_eq!(outcome.map_err(|error| error.code), Err(Code::TOO_BIG));
}

#[test]
fn the_limit_that_was_reached_is_named() {
    let limits = Limits {
        frame_bytes_max: 20,
        message_bytes_max: 30,
        fragments_max: 3,
    };
    let named = |sent: &[_]| outcome(&limits, &frames(sent)).unwrap_err().limit;
    let (start, next) = (Opcode::Binary, Opcode::Continuation);
    assert_eq!(named(&[(true, start, 21)]), Some(Limit::FrameBytes));
    assert_eq!(
        named(&[(false, start, 16), (true, next, 16)]),
        Some(Limit::MessageBytes)
    );
    let four = [
        (false, start, 1),
        (false, next, 1),
        (false, next, 1),
        (true, next, 1),
    ];
    assert_eq!(named(&four), Some(Limit::Fragments));
    assert_eq!(named(&[(true, next, 1)]), None);
}

#[test]
fn a_frame_of_the_limit_is_taken_and_one_byte_more_is_refused() {
    claims!("rfc6455/10.4/1", "rfc6455/10.4/2");
    let limits = Limits {
        frame_bytes_max: 200,
        ..UNLIMITED
    };
    assert_eq!(
        outcome(&limits, &frames(&[(true, Opcode::Binary, 200)])),
        Ok(())
    );
    assert_too_big(outcome(&limits, &frames(&[(true, Opcode::Binary, 201)])));
}

#[test]
fn a_frame_over_the_limit_is_refused_at_its_head_before_any_payload() {
    let limits = Limits {
        frame_bytes_max: 200,
        ..UNLIMITED
    };
    let bytes = frames(&[(true, Opcode::Binary, 201)]);
    assert_too_big(outcome(&limits, &bytes[..8]));
    let limits = Limits {
        message_bytes_max: 200,
        ..UNLIMITED
    };
    assert_too_big(outcome(&limits, &bytes[..8]));
}

#[test]
fn a_message_of_the_limit_is_taken_and_one_byte_more_is_refused() {
    claims!("rfc6455/10.4/1", "rfc6455/10.4/2");
    let limits = Limits {
        message_bytes_max: 10,
        ..UNLIMITED
    };
    let message = |last| {
        frames(&[
            (false, Opcode::Text, 4),
            (false, Opcode::Continuation, 4),
            (true, Opcode::Continuation, last),
        ])
    };
    assert_eq!(outcome(&limits, &message(2)), Ok(()));
    assert_too_big(outcome(&limits, &message(3)));
}

#[test]
fn the_bytes_of_one_message_do_not_count_for_the_next() {
    let limits = Limits {
        message_bytes_max: 10,
        fragments_max: 2,
        ..UNLIMITED
    };
    let message = [(false, Opcode::Text, 5), (true, Opcode::Continuation, 5)];
    let single = [(true, Opcode::Binary, 10)];
    let bytes = [
        frames(&message),
        frames(&single),
        frames(&message),
        frames(&single),
    ]
    .concat();
    assert_eq!(outcome(&limits, &bytes), Ok(()));
}

#[test]
fn control_frames_count_for_no_limit() {
    let limits = Limits {
        frame_bytes_max: 4,
        message_bytes_max: 4,
        fragments_max: 2,
    };
    let bytes = frames(&[
        (false, Opcode::Text, 2),
        (true, Opcode::Ping, 125),
        (true, Opcode::Pong, 125),
        (true, Opcode::Continuation, 2),
    ]);
    assert_eq!(outcome(&limits, &bytes), Ok(()));
}

#[test]
fn a_fragment_flood_is_refused_at_the_first_fragment_over_the_limit() {
    claims!("rfc6455/10.4/1");
    let limits = Limits {
        fragments_max: 3,
        ..UNLIMITED
    };
    let three = [
        (false, Opcode::Text, 0),
        (false, Opcode::Continuation, 0),
        (true, Opcode::Continuation, 0),
    ];
    assert_eq!(outcome(&limits, &frames(&three)), Ok(()));
    let mut four = three.to_vec();
    four.insert(1, (false, Opcode::Continuation, 0));
    assert_too_big(outcome(&limits, &frames(&four)));
}

#[test]
fn zero_fragments_refuse_fragmented_messages_and_no_others() {
    let limits = Limits {
        fragments_max: 0,
        ..UNLIMITED
    };
    assert_eq!(
        outcome(&limits, &frames(&[(true, Opcode::Text, 9)])),
        Ok(())
    );
    assert_too_big(outcome(&limits, &frames(&[(false, Opcode::Text, 9)])));
}

#[test]
fn zero_bytes_refuse_all_but_empty_messages() {
    for limits in [
        Limits {
            frame_bytes_max: 0,
            ..UNLIMITED
        },
        Limits {
            message_bytes_max: 0,
            ..UNLIMITED
        },
    ] {
        assert_eq!(
            outcome(&limits, &frames(&[(true, Opcode::Text, 0)])),
            Ok(())
        );
        assert_too_big(outcome(&limits, &frames(&[(true, Opcode::Text, 1)])));
    }
}

#[test]
fn announced_lengths_whose_sum_exceeds_64_bits_are_refused_and_do_not_overflow() {
    let largest = [
        0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0,
    ];
    let mut bytes = frames(&[(false, Opcode::Binary, 9)]);
    bytes.push(0x80);
    bytes.extend_from_slice(&largest);
    assert_eq!(outcome(&UNLIMITED, &bytes), Ok(()));
    let limits = Limits {
        message_bytes_max: 1 << 63,
        ..UNLIMITED
    };
    assert_too_big(outcome(&limits, &bytes));
}
