//! What breaks the protocol's rules is answered with the code for it, and nobody else notices.

use crate::kit::defaults;
use crate::kit::{Bench, Ending, Place, Script, websocket};
use vespiary_engine::wire::framing::length::Format;
use vespiary_engine::wire::websocket::frame::Opcode;
use vespiary_engine::{Framing, Limit, Manner, Options, Side};
use vespiary_trace::claims;

on_every_driver_and_with_faults!(
    a_broken_frame_is_answered_with_1002,
    a_text_that_is_not_utf8_is_answered_with_1007,
    a_text_that_can_no_longer_be_utf8_is_answered_before_its_end,
    a_message_over_the_limit_is_answered_with_1009,
    a_frame_that_announces_too_much_is_answered_before_it_comes,
    a_flood_of_fragments_is_answered,
    a_close_frame_that_breaks_the_rules_is_answered_with_1002,
    a_line_that_is_too_long_is_reset,
    a_packet_that_is_too_long_is_reset,
    a_broken_connection_disturbs_no_other,
    garbage_after_a_failure_is_thrown_away,
);

fn websockets(bench: &Bench, change: impl Fn(&mut Options)) -> Place {
    let mut options = defaults(Framing::WebSocket);
    change(&mut options);
    bench.listen(options, Script::echo())
}

/// Send `bytes` on a fresh connection: it is answered with a close frame of `code`, and ends.
fn fails_with(bench: &Bench, place: &Place, bytes: &[u8], code: u16) {
    let before = place.counters().protocol_errors.get();
    let closed = bench.host().reasons().len();
    let mut peer = websocket::open(bench, place);
    peer.send(bench, bytes);
    let close = peer.frame(bench);
    assert_eq!(close.code(), Some(code), "{bytes:?}: {}", close.reason());
    assert_eq!(peer.take_rest(bench), (vec![], Ending::Finished));
    peer.finish();
    bench.until_closed(closed + 1);
    let reason = &bench.host().reasons()[closed];
    assert_eq!((reason.side, reason.manner), (Side::Local, Manner::Broken));
    assert_eq!(reason.code, Some(code));
    assert!(!reason.text.is_empty());
    let counted = place.counters().protocol_errors.get() - before;
    let is_limit = code == 1009;
    assert_eq!(
        counted,
        u64::from(!is_limit),
        "a limit has a count of its own"
    );
    assert_eq!(
        bench.host().limits_reached(Limit::CloseSeconds),
        0,
        "the end does not wait for the peer's close frame"
    );
}

fn a_broken_frame_is_answered_with_1002(bench: &Bench) {
    if bench.is_simulated() {
        claims!(
            "rfc6455/5.1/3",
            "rfc6455/7.1.7/2",
            "rfc6455/7.1.7/3",
            "rfc6455/7.4.1/h2",
            "rfc6455/10.7/3",
            "rfc6455/7.1.7/5"
        );
    }
    let place = websockets(bench, |_| ());
    let fragment = websocket::masked(false, Opcode::Text, b"a");
    let cases = [
        (
            "unmasked",
            websocket::unmasked(true, Opcode::Text, b"hello"),
        ),
        ("a reserved bit", vec![0xC1, 0x80, 0, 0, 0, 0]),
        ("a reserved opcode", vec![0x83, 0x80, 0, 0, 0, 0]),
        ("a reserved control opcode", vec![0x8B, 0x80, 0, 0, 0, 0]),
        ("a fragmented ping", vec![0x09, 0x80, 0, 0, 0, 0]),
        (
            "a ping of 126 bytes",
            websocket::masked(true, Opcode::Ping, &[0; 126]),
        ),
        (
            "a continuation of nothing",
            websocket::masked(true, Opcode::Continuation, b"a"),
        ),
        (
            "a message within a message",
            [fragment.clone(), fragment].concat(),
        ),
    ];
    for (what, bytes) in cases {
        eprintln!("{what}");
        fails_with(bench, &place, &bytes, 1002);
    }
    assert_eq!(bench.host().messages().len(), 0);
}

fn a_text_that_is_not_utf8_is_answered_with_1007(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc6455/5.6/1", "rfc6455/8.1/1", "rfc6455/7.4.1/h3");
    }
    let place = websockets(bench, |_| ());
    fails_with(
        bench,
        &place,
        &websocket::masked(true, Opcode::Text, b"\xff"),
        1007,
    );
    fails_with(
        bench,
        &place,
        &websocket::masked(true, Opcode::Text, b"cut \xe2\x9c"),
        1007,
    );
    let mut fragments = websocket::masked(false, Opcode::Text, b"ab");
    fragments.extend(websocket::masked(
        true,
        Opcode::Continuation,
        b"cut \xe2\x9c",
    ));
    fails_with(bench, &place, &fragments, 1007);
    let mut close = 1000u16.to_be_bytes().to_vec();
    close.push(0xff);
    fails_with(
        bench,
        &place,
        &websocket::masked(true, Opcode::Close, &close),
        1007,
    );
}

fn a_text_that_can_no_longer_be_utf8_is_answered_before_its_end(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc6455/8.1/1");
    }
    let place = websockets(bench, |_| ());
    fails_with(
        bench,
        &place,
        &websocket::masked(false, Opcode::Text, b"\xc0\xaf"),
        1007,
    );
}

fn a_message_over_the_limit_is_answered_with_1009(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc6455/7.4.1/h5");
    }
    let place = websockets(bench, |options| options.limits.message_bytes_max = 100);
    let mut peer = websocket::open(bench, &place);
    peer.send(bench, &websocket::binary(&[7; 100]));
    assert_eq!(peer.frame(bench).payload, [7; 100]);
    fails_with(bench, &place, &websocket::binary(&[0; 101]), 1009);
    let mut fragments = websocket::masked(false, Opcode::Binary, &[0; 60]);
    fragments.extend(websocket::masked(false, Opcode::Continuation, &[0; 60]));
    fails_with(bench, &place, &fragments, 1009);
    assert_eq!(bench.host().limits_reached(Limit::MessageBytes), 2);
}

fn a_frame_that_announces_too_much_is_answered_before_it_comes(bench: &Bench) {
    let place = websockets(bench, |_| ());
    let mut head = vec![0x82, 0xFF];
    head.extend((1u64 << 62).to_be_bytes());
    head.extend([0; 4]);
    fails_with(bench, &place, &head, 1009);
    let mut head = vec![0x82, 0xFF];
    head.extend(u64::MAX.to_be_bytes());
    head.extend([0; 4]);
    fails_with(bench, &place, &head, 1002);
}

fn a_flood_of_fragments_is_answered(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc6455/10.4/1");
    }
    let place = websockets(bench, |options| options.limits.fragments_max = 10);
    let mut flood = websocket::masked(false, Opcode::Binary, b"");
    for _ in 0..10 {
        flood.extend(websocket::masked(false, Opcode::Continuation, b""));
    }
    let mut peer = websocket::open(bench, &place);
    peer.send(bench, &flood);
    let code = peer.frame(bench).code();
    assert!(matches!(code, Some(1008 | 1009)), "{code:?}");
    assert_eq!(bench.host().limits_reached(Limit::Fragments), 1);
    assert_eq!(peer.take_rest(bench).1, Ending::Finished);
    peer.finish();
    bench.until_closed(1);
}

fn a_close_frame_that_breaks_the_rules_is_answered_with_1002(bench: &Bench) {
    let place = websockets(bench, |_| ());
    for payload in [
        &b"\x03"[..],
        b"\x03\xed",
        b"\x03\xee",
        b"\x00\x00",
        b"\x27\x10",
    ] {
        fails_with(
            bench,
            &place,
            &websocket::masked(true, Opcode::Close, payload),
            1002,
        );
    }
}

fn a_line_that_is_too_long_is_reset(bench: &Bench) {
    let mut options = defaults(Framing::Line { ending: b"\n" });
    options.limits.message_bytes_max = 10;
    let place = bench.listen(options, Script::echo());
    let mut peer = bench.connect(&place);
    peer.send(bench, b"0123456789\n");
    assert_eq!(peer.take(bench, 11), b"0123456789\n");
    peer.send(bench, b"0123456789a");
    assert_eq!(peer.take_rest(bench).1, Ending::Reset);
    bench.until_closed(1);
    assert_eq!(bench.host().limits_reached(Limit::MessageBytes), 1);
    assert_eq!(bench.host().reasons()[0].manner, Manner::Broken);
}

fn a_packet_that_is_too_long_is_reset(bench: &Bench) {
    let format = Format::new(4, true, true).expect("a format");
    let mut options = defaults(Framing::Length(format));
    options.limits.message_bytes_max = 10;
    let place = bench.listen(options, Script::echo());
    for announced in [&b"\0\0\0\x0f"[..], b"\xff\xff\xff\xff", b"\0\0\0\x03"] {
        let mut peer = bench.connect(&place);
        peer.send(bench, announced);
        assert_eq!(peer.take_rest(bench).1, Ending::Reset, "{announced:?}");
    }
    bench.until_closed(3);
}

fn a_broken_connection_disturbs_no_other(bench: &Bench) {
    let place = websockets(bench, |_| ());
    let mut good = websocket::open(bench, &place);
    for _ in 0..5 {
        fails_with(bench, &place, b"\xff\xff", 1002);
        good.send(bench, &websocket::text("still here"));
        assert_eq!(good.frame(bench).payload, b"still here");
    }
}

fn garbage_after_a_failure_is_thrown_away(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc6455/7.1.7/5");
    }
    let place = websockets(bench, |_| ());
    let mut peer = websocket::open(bench, &place);
    peer.send(bench, &vec![0xff; 40_000]);
    assert_eq!(peer.frame(bench).code(), Some(1002));
    assert_eq!(
        peer.take_rest(bench),
        (vec![], Ending::Finished),
        "no reset destroys the answer"
    );
    peer.finish();
    bench.until_closed(1);
    assert_eq!(place.counters().protocol_errors.get(), 1);
}
