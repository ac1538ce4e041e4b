//! Messages in parts, both ways: as they arrive, and as they are made.

use crate::kit::defaults;
use crate::kit::{Bench, Ending, Place, Script, Told, pattern, websocket};
use vespiary_engine::wire::framing::length::Format;
use vespiary_engine::wire::websocket::close::Code;
use vespiary_engine::wire::websocket::frame::Opcode;
use vespiary_engine::{Cause, Framing, Kind, Publish, SendError};
use vespiary_trace::claims;

on_every_driver_and_with_faults!(
    a_message_is_handed_over_in_parts_as_it_arrives,
    parts_of_text_are_checked_over_all_of_it,
    a_packet_is_handed_over_in_parts,
    a_message_is_sent_in_parts,
    nothing_goes_between_the_parts_of_a_message_but_control_frames,
    parts_are_refused_where_the_framing_has_none,
    a_large_message_passes_through_in_parts_without_being_held,
    the_limit_holds_over_all_parts,
    closing_within_a_message_says_that_it_was_not_finished,
);

fn closing_within_a_message_says_that_it_was_not_finished(bench: &Bench) {
    let cut = (Code::INTERNAL_ERROR, Cause::HandlerFailed);
    let cases = [
        (false, Code::NORMAL, cut),
        (false, Code::GOING_AWAY, cut),
        (false, Code(4000), (Code(4000), Cause::Closed)),
        (true, Code::NORMAL, (Code::NORMAL, Cause::Closed)),
    ];
    for (number, (last, given, (sent, cause))) in cases.into_iter().enumerate() {
        let place = bench.listen(defaults(Framing::WebSocket), Script::sink());
        let mut peer = websocket::open(bench, &place);
        let connection = bench.latest();
        for last in [false, last] {
            let part = connection.send_part(Kind::Text, b"a part", last, None);
            part.expect("room for it");
        }
        connection.close(given, "");
        drop(connection);
        assert_eq!(peer.frame(bench).first, 0x01, "the first part");
        peer.frame(bench);
        let close = peer.frame(bench);
        assert_eq!(close.first, 0x88, "a close frame");
        assert_eq!(close.payload[..2], sent.0.to_be_bytes());
        peer.write(&websocket::masked(true, Opcode::Close, &close.payload[..2]));
        peer.finish();
        bench.until_closed(number + 1);
        assert_eq!(bench.host().reasons()[number].cause, cause);
    }
}

fn in_parts(bench: &Bench, framing: Framing, script: Script) -> Place {
    let mut options = defaults(framing);
    options.parts = true;
    options.limits.message_bytes_max = 8 << 20;
    bench.listen(options, script)
}

/// The parts so far, put together for each message; the last may not be whole.
fn messages(bench: &Bench) -> Vec<(Kind, Vec<u8>, bool)> {
    let mut messages: Vec<(Kind, Vec<u8>, bool)> = Vec::new();
    for told in bench.host().log() {
        let Told::Part(_, kind, payload, last) = told else {
            continue;
        };
        match messages.last_mut() {
            Some((before, whole, is_over)) if !*is_over => {
                assert_eq!(*before, kind);
                whole.extend(payload);
                *is_over = last;
            }
            _ => messages.push((kind, payload, last)),
        }
    }
    messages
}

fn a_message_is_handed_over_in_parts_as_it_arrives(bench: &Bench) {
    let place = in_parts(bench, Framing::WebSocket, Script::sink());
    let mut peer = websocket::open(bench, &place);
    let payload = pattern(5000);
    let mut sent = websocket::masked(false, Opcode::Binary, &payload[..3000]);
    sent.extend(websocket::masked(
        true,
        Opcode::Continuation,
        &payload[3000..],
    ));
    peer.send(bench, &sent[..2000]);
    bench.until("a part", || !messages(bench).is_empty());
    assert!(!messages(bench)[0].2, "the message is not over");
    peer.send(bench, &sent[2000..]);
    peer.send(bench, &websocket::text("whole"));
    bench.until("the end of the message", || messages(bench).len() == 2);
    bench.until("the text", || messages(bench)[1].2);
    let expected = [
        (Kind::Binary, payload, true),
        (Kind::Text, b"whole".to_vec(), true),
    ];
    assert_eq!(messages(bench), expected);
}

fn parts_of_text_are_checked_over_all_of_it(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc6455/5.6/1", "rfc6455/8.1/1");
    }
    let place = in_parts(bench, Framing::WebSocket, Script::sink());
    let text = "grüße ✓".repeat(10).into_bytes();
    let mut peer = websocket::open(bench, &place);
    for cut in 0..text.len() {
        peer.send(bench, &websocket::masked(false, Opcode::Text, &text[..cut]));
        peer.send(
            bench,
            &websocket::masked(true, Opcode::Continuation, &text[cut..]),
        );
    }
    bench.until("all", || {
        messages(bench).iter().filter(|it| it.2).count() == text.len()
    });
    assert!(
        messages(bench)
            .iter()
            .all(|it| it.0 == Kind::Text && it.1 == text)
    );
    let bad = [
        [(false, &b"\xe2"[..]), (true, b"\x28\xa1")],
        [(false, b"ab\xe2"), (true, b"")],
        [(false, b"\xff"), (true, b"")],
    ];
    for parts in bad {
        let mut peer = websocket::open(bench, &place);
        let mut opcode = Opcode::Text;
        for (last, part) in parts {
            peer.send(bench, &websocket::masked(last, opcode, part));
            opcode = Opcode::Continuation;
        }
        assert_eq!(peer.frame(bench).code(), Some(1007), "{parts:?}");
    }
    let mut peer = websocket::open(bench, &place);
    peer.send(bench, &websocket::masked(true, Opcode::Text, b"\xc3"));
    assert_eq!(peer.frame(bench).code(), Some(1007));
}

fn a_packet_is_handed_over_in_parts(bench: &Bench) {
    let format = Format::new(4, true, false).expect("a format");
    let place = in_parts(bench, Framing::Length(format), Script::sink());
    let mut peer = bench.connect(&place);
    let payload = pattern(1 << 20);
    peer.send(bench, &(1u32 << 20).to_be_bytes());
    peer.send(bench, &payload);
    peer.send(bench, b"\0\0\0\0\0\0\0\x01x");
    bench.until("all", || {
        let messages = messages(bench);
        messages.len() == 3 && messages[2].2
    });
    assert!(messages(bench)[0].1 == payload);
    assert_eq!(messages(bench)[1].1, b"");
    assert!(
        place.counters().messages_in.get() > 3,
        "in more than one part"
    );
}

fn a_message_is_sent_in_parts(bench: &Bench) {
    if bench.is_simulated() {
        claims!(
            "rfc6455/5.4/6",
            "rfc6455/6.1/5",
            "rfc6455/6.1/6",
            "rfc6455/6.1/7"
        );
    }
    let script = Script::sink().on_opened(|connection| {
        for (part, last) in [(&b"one "[..], false), (b"", false), (b"message", true)] {
            connection
                .send_part(Kind::Text, part, last, None)
                .expect("room");
        }
        connection.send(Kind::Text, b"another", None).expect("room");
    });
    let place = bench.listen(defaults(Framing::WebSocket), script);
    let mut peer = websocket::open(bench, &place);
    let frames: Vec<_> = (0..4).map(|_| peer.frame(bench)).collect();
    let firsts: Vec<u8> = frames.iter().map(|frame| frame.first).collect();
    assert_eq!(firsts, [0x01, 0x00, 0x80, 0x81]);
    let payload: Vec<u8> = frames[..3]
        .iter()
        .flat_map(|frame| frame.payload.clone())
        .collect();
    assert_eq!(payload, b"one message");
    assert_eq!(place.counters().messages_out.get(), 2);
}

fn nothing_goes_between_the_parts_of_a_message_but_control_frames(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc6455/5.4/4");
    }
    let script = Script::sink().on_opened(|connection| {
        connection.subscribe("news").expect("it is open");
        connection
            .send_part(Kind::Binary, b"begun", false, None)
            .expect("room");
        assert_eq!(
            connection.send(Kind::Text, b"no", None),
            Err(SendError::OutOfTurn)
        );
        assert_eq!(
            connection
                .engine()
                .publish("news", Kind::Text, b"no", Publish::default()),
            Ok(0)
        );
        connection.ping(b"yes").expect("room");
        connection
            .send_part(Kind::Binary, b"over", true, None)
            .expect("room");
        assert_eq!(
            connection
                .engine()
                .publish("news", Kind::Text, b"now", Publish::default()),
            Ok(1)
        );
    });
    let place = bench.listen(defaults(Framing::WebSocket), script);
    let mut peer = websocket::open(bench, &place);
    let firsts: Vec<u8> = (0..4).map(|_| peer.frame(bench).first).collect();
    assert_eq!(firsts, [0x02, 0x89, 0x80, 0x81]);
}

fn parts_are_refused_where_the_framing_has_none(bench: &Bench) {
    let script = Script::sink().on_opened(|connection| {
        let sent = connection.send_part(Kind::Binary, b"x", true, None);
        assert_eq!(sent, Err(SendError::OutOfTurn));
    });
    let place = bench.listen(defaults(Framing::Line { ending: b"\n" }), script);
    let _peer = bench.connect_open(&place);
    let script = Script::sink().on_opened(|connection| {
        connection
            .send_part(Kind::Binary, b"a stream ", false, None)
            .expect("room");
        connection
            .send_part(Kind::Binary, b"has pieces", true, None)
            .expect("room");
    });
    let place = bench.listen(defaults(Framing::Raw), script);
    let mut peer = bench.connect_open(&place);
    assert_eq!(peer.take(bench, 19), b"a stream has pieces");
}

fn a_large_message_passes_through_in_parts_without_being_held(bench: &Bench) {
    let place = in_parts(bench, Framing::WebSocket, Script::echo().forgetful());
    let mut peer = websocket::open(bench, &place);
    let payload = pattern(4 << 20);
    let sent = websocket::binary(&payload);
    let mut rest = &sent[..];
    let connection = bench.latest();
    let (mut back, mut is_over) = (Vec::with_capacity(payload.len()), false);
    bench.until("all to come back", || {
        let written = peer.write(rest).expect("a connection");
        rest = &rest[written..];
        peer.look();
        while let Some(frame) = websocket::parse(&mut peer.input) {
            is_over = frame.is_last();
            back.extend(frame.payload);
        }
        // The write queue's high mark, and what one batch brought.
        assert!(
            connection.buffer_bytes() < 3 << 20,
            "{}",
            connection.buffer_bytes()
        );
        is_over
    });
    assert!(back == payload);
}

fn the_limit_holds_over_all_parts(bench: &Bench) {
    let place = in_parts(bench, Framing::WebSocket, Script::sink().forgetful());
    let mut peer = websocket::open(bench, &place);
    let piece = vec![0; 3 << 20];
    peer.send(bench, &websocket::masked(false, Opcode::Binary, &piece));
    peer.send(
        bench,
        &websocket::masked(false, Opcode::Continuation, &piece),
    );
    bench.settle();
    assert!(peer.is_quiet());
    let _ = peer.write(&websocket::masked(false, Opcode::Continuation, &piece));
    assert_eq!(peer.frame(bench).code(), Some(1009));
    drop(peer);
    bench.until_closed(1);
    let mut raw = bench.connect_open(&in_parts(bench, Framing::Raw, Script::echo()));
    raw.send(bench, b"a stream has no limit");
    assert_eq!(raw.take(bench, 21), b"a stream has no limit");
    raw.finish();
    assert_eq!(raw.take_rest(bench), (vec![], Ending::Finished));
}
