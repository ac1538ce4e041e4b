//! Absolute deadlines, met by those who trickle, those who are silent, and those who do not read.

use crate::kit::defaults;
use crate::kit::{Bench, Ending, Peer, Script, websocket};
use vespiary_engine::wire::framing::length::Format;
use vespiary_engine::wire::websocket::frame::Opcode;
use vespiary_engine::{Answer, Cause, Framing, Kind, Limit, NotOpened, Options};

on_every_driver!(
    a_client_that_trickles_its_request_is_answered_408,
    a_client_that_says_nothing_is_answered_408,
    a_host_that_does_not_answer_in_time_is_answered_for,
    a_stream_without_a_first_byte_is_reset,
    a_message_that_trickles_in_misses_its_deadline,
    a_message_handed_over_in_parts_misses_its_deadline_too,
    messages_that_come_whole_meet_the_deadline_forever,
    a_silent_connection_is_closed,
    a_silent_websocket_is_pinged_and_abandoned,
    a_websocket_that_answers_pings_stays,
    a_websocket_that_answers_pings_and_sends_no_message_misses_the_deadline_of_data,
    a_silent_websocket_is_pinged_each_interval_until_the_timeout_of_the_first_ping,
    an_answered_ping_is_followed_by_the_next_after_the_interval,
    a_peer_is_not_blamed_for_the_time_in_which_what_it_sent_is_not_read,
    a_pause_does_not_hide_a_silent_peer_forever,
    a_full_queue_now_and_then_does_not_extend_the_deadline_of_a_silent_peer,
    a_peer_that_is_not_read_and_sends_nothing_is_idle,
);

/// How long deadlines are here, in milliseconds.
const LENGTH: u64 = 60;

fn lines() -> Options {
    defaults(Framing::Line { ending: b"\n" })
}

/// A deadline is met within a tick in the simulation; machines that are busy may take longer.
fn is_in_time(bench: &Bench, took: u64) {
    let latest = if bench.is_simulated() {
        LENGTH + 2
    } else {
        LENGTH + 400
    };
    assert!((LENGTH - 1..=latest).contains(&took), "{took} ms");
}

/// How long it takes until the peer's connection ends, with a byte of `bytes` each millisecond.
fn trickle(bench: &Bench, peer: &mut Peer, bytes: &[u8]) -> u64 {
    let start = bench.engine.now_ms();
    let mut left = bytes.iter();
    while peer.input.is_empty() && peer.ending.is_none() {
        peer.write(std::slice::from_ref(
            left.next().expect("the deadline comes first"),
        ));
        bench.pass(1);
        peer.look();
    }
    bench.engine.now_ms() - start
}

fn a_client_that_trickles_its_request_is_answered_408(bench: &Bench) {
    let mut options = defaults(Framing::WebSocket);
    options.deadlines.handshake = Some(LENGTH);
    let place = bench.listen(options, Script::echo());
    let mut peer = bench.connect(&place);
    let request = websocket::request("/", &format!("X: {}", "x".repeat(5000)));
    is_in_time(bench, trickle(bench, &mut peer, request.as_bytes()));
    assert!(peer.head(bench).starts_with("HTTP/1.1 408 "));
    peer.finish();
    bench.until("the end", || bench.engine.connection_count() == 0);
    assert_eq!(bench.host().limits_reached(Limit::HandshakeSeconds), 1);
    assert_eq!(
        place.counters().refused.borrow()[&NotOpened::Status(408)],
        1
    );
}

fn a_client_that_says_nothing_is_answered_408(bench: &Bench) {
    let mut options = defaults(Framing::Http);
    options.deadlines.handshake = Some(LENGTH);
    let place = bench.listen(options, Script::echo());
    let mut peer = bench.connect(&place);
    let start = bench.engine.now_ms();
    assert!(peer.head(bench).starts_with("HTTP/1.1 408 "));
    is_in_time(bench, bench.engine.now_ms() - start);
}

fn a_host_that_does_not_answer_in_time_is_answered_for(bench: &Bench) {
    let mut options = defaults(Framing::WebSocket);
    options.deadlines.handshake = Some(LENGTH);
    let place = bench.listen(options, Script::echo().on_request(|_, _| Answer::Later));
    let mut peer = bench.connect(&place);
    peer.send(bench, websocket::request("/", "").as_bytes());
    let head = peer.head(bench);
    assert!(
        head.starts_with("HTTP/1.1 5") || head.starts_with("HTTP/1.1 408 "),
        "{head}"
    );
    let connection = bench.latest();
    connection.answer(crate::kit::host::accept());
    peer.finish();
    drop(connection);
    bench.until("the end", || bench.engine.connection_count() == 0);
    assert_eq!(place.counters().opened.get(), 0);
}

fn a_stream_without_a_first_byte_is_reset(bench: &Bench) {
    let mut options = lines();
    options.deadlines.first_byte = Some(LENGTH);
    let place = bench.listen(options, Script::echo());
    let mut talker = bench.connect_open(&place);
    talker.send(bench, b"hello\n");
    talker.take(bench, 6);
    let mut silent = bench.connect_open(&place);
    let start = bench.engine.now_ms();
    assert_eq!(silent.take_rest(bench), (vec![], Ending::Reset));
    is_in_time(bench, bench.engine.now_ms() - start);
    bench.pass(2 * LENGTH);
    assert!(talker.is_quiet(), "who has spoken stays");
    assert_eq!(bench.host().limits_reached(Limit::FirstByteSeconds), 1);
}

fn a_message_that_trickles_in_misses_its_deadline(bench: &Bench) {
    let format = Format::new(4, true, false).expect("a format");
    let text = websocket::masked(true, Opcode::Text, &[b'x'; 1000]);
    let cases = [
        (Framing::Line { ending: b"\n" }, vec![b'x'; 1000]),
        (
            Framing::Length(format),
            [&b"\0\0\x10\0"[..], &[0; 4000]].concat(),
        ),
        (Framing::WebSocket, text),
    ];
    for (framing, bytes) in cases {
        let mut options = defaults(framing.clone());
        options.deadlines.message = Some(LENGTH);
        let place = bench.listen(options, Script::echo());
        let mut peer = match framing {
            Framing::WebSocket => websocket::open(bench, &place),
            _ => bench.connect_open(&place),
        };
        bench.pass(2 * LENGTH);
        assert!(peer.is_quiet(), "no message, no deadline");
        is_in_time(bench, trickle(bench, &mut peer, &bytes));
        if framing == Framing::WebSocket {
            let close = peer.frame(bench);
            assert_eq!(
                (close.code(), close.reason()),
                (
                    Some(1008),
                    "a message took too long to come (message_seconds)"
                )
            );
            peer.send(bench, &websocket::close(1008, ""));
            continue;
        }
        // A FIN would look like an end that was meant.
        assert_eq!(peer.take_rest(bench).1, Ending::Reset);
        let reasons = bench.host().reasons();
        let reason = reasons.last().expect("an end");
        assert_eq!(
            (reason.cause, reason.code),
            (Cause::Limit(Limit::MessageSeconds), None)
        );
    }
    assert_eq!(bench.host().limits_reached(Limit::MessageSeconds), 3);
}

fn a_message_handed_over_in_parts_misses_its_deadline_too(bench: &Bench) {
    let mut options = defaults(Framing::WebSocket);
    options.parts = true;
    options.deadlines.message = Some(LENGTH);
    let place = bench.listen(options, Script::sink());
    let mut peer = websocket::open(bench, &place);
    let bytes = websocket::masked(true, Opcode::Binary, &[b'x'; 1000]);
    is_in_time(bench, trickle(bench, &mut peer, &bytes));
    assert_eq!(peer.frame(bench).code(), Some(1008));
}

fn messages_that_come_whole_meet_the_deadline_forever(bench: &Bench) {
    let mut options = lines();
    options.deadlines.message = Some(LENGTH);
    let place = bench.listen(options, Script::echo());
    let mut peer = bench.connect_open(&place);
    // Each piece ends a message and begins the next, so that one is always in progress.
    for _ in 0..20 {
        peer.send(bench, b"x\nx");
        bench.pass(LENGTH / 5);
    }
    assert_eq!(peer.take(bench, 4 + 3 * 18).len(), 58);
    assert_eq!(peer.ending, None);
    assert_eq!(bench.host().reasons(), []);
}

fn a_silent_connection_is_closed(bench: &Bench) {
    let mut options = lines();
    options.deadlines.idle = Some(LENGTH);
    let place = bench.listen(options, Script::echo());
    let mut peer = bench.connect_open(&place);
    for _ in 0..10 {
        bench.pass(LENGTH / 4);
        peer.send(bench, b"x");
    }
    bench.until("the last byte", || place.counters().bytes_in.get() == 10);
    let start = bench.engine.now_ms();
    let (_, ending) = peer.take_rest(bench);
    is_in_time(bench, bench.engine.now_ms() - start);
    assert_eq!(ending, Ending::Reset);
    assert_eq!(bench.host().limits_reached(Limit::IdleSeconds), 1);
    assert_eq!(bench.host().reasons()[0].code, None);
}

fn pinging() -> Options {
    let mut options = defaults(Framing::WebSocket);
    options.deadlines.ping_interval = Some(LENGTH);
    options.deadlines.ping_timeout = Some(LENGTH);
    options
}

fn a_silent_websocket_is_pinged_and_abandoned(bench: &Bench) {
    let place = bench.listen(pinging(), Script::echo());
    let mut peer = websocket::open(bench, &place);
    let start = bench.engine.now_ms();
    assert_eq!(peer.frame(bench).first, 0x89);
    is_in_time(bench, bench.engine.now_ms() - start);
    let (took, reason) = bench.time_until_closed(|| ());
    is_in_time(bench, took);
    assert_eq!(reason.code, Some(1006));
    assert_eq!(bench.host().limits_reached(Limit::PingTimeoutSeconds), 1);
    assert_eq!(peer.take_rest(bench).1, Ending::Reset);
}

fn a_websocket_that_answers_pings_and_sends_no_message_misses_the_deadline_of_data(bench: &Bench) {
    let mut options = pinging();
    options.deadlines.data = Some(6 * LENGTH);
    let place = bench.listen(options, Script::sink());
    let mut peer = websocket::open(bench, &place);
    let mut pings = 0;
    loop {
        let frame = peer.frame(bench);
        if frame.first != 0x89 {
            let reason = "no message came for too long (data_seconds)";
            assert_eq!((frame.code(), frame.reason()), (Some(1008), reason));
            break;
        }
        pings += 1;
        peer.send(
            bench,
            &websocket::masked(true, Opcode::Pong, &frame.payload),
        );
        if pings == 4 {
            // A message begins the time again.
            peer.send(bench, &websocket::masked(true, Opcode::Binary, b"data"));
        }
    }
    // At least the intervals before the message, and those of the deadline behind it.
    assert!(pings >= 7, "{pings}");
    assert_eq!(bench.host().limits_reached(Limit::DataSeconds), 1);
}

fn a_websocket_that_answers_pings_stays(bench: &Bench) {
    let place = bench.listen(pinging(), Script::echo());
    let mut peer = websocket::open(bench, &place);
    for _ in 0..5 {
        let ping = peer.frame(bench);
        assert_eq!(ping.first, 0x89);
        peer.send(bench, &websocket::masked(true, Opcode::Pong, &ping.payload));
    }
    assert_eq!(bench.host().reasons(), []);
}

/// Pings come each interval; the timeout lets two of them go unanswered.
fn pinging_often() -> Options {
    let mut options = pinging();
    options.deadlines.ping_timeout = Some(5 * LENGTH / 2);
    options
}

fn a_silent_websocket_is_pinged_each_interval_until_the_timeout_of_the_first_ping(bench: &Bench) {
    let place = bench.listen(pinging_often(), Script::sink());
    let mut peer = websocket::open(bench, &place);
    let pong = websocket::masked(true, Opcode::Pong, b"");
    for sign in [&pong[..], &websocket::text("here"), &pong[..3]] {
        for _ in 0..2 {
            assert_eq!(peer.frame(bench).first, 0x89);
        }
        peer.send(bench, sign);
    }
    let start = bench.engine.now_ms();
    for number in 1..=3 {
        assert_eq!(peer.frame(bench).first, 0x89);
        assert_eq!(bench.host().reasons(), []);
        let took = bench.engine.now_ms() - start;
        is_in_time(bench, took.saturating_sub((number - 1) * LENGTH));
    }
    let (_, reason) = bench.time_until_closed(|| ());
    let took = bench.engine.now_ms() - start;
    is_in_time(bench, took.saturating_sub(5 * LENGTH / 2));
    assert_eq!(reason.code, Some(1006));
    assert_eq!(reason.cause, Cause::Limit(Limit::PingTimeoutSeconds));
    assert_eq!(
        peer.take_rest(bench),
        (vec![], Ending::Reset),
        "no fourth ping"
    );
}

/// The pings of a peer that answers keep the interval, however long the timeout is.
fn an_answered_ping_is_followed_by_the_next_after_the_interval(bench: &Bench) {
    let mut options = pinging();
    options.deadlines.ping_timeout = Some(20 * LENGTH);
    let place = bench.listen(options, Script::echo());
    let mut peer = websocket::open(bench, &place);
    for _ in 0..4 {
        let start = bench.engine.now_ms();
        assert_eq!(peer.frame(bench).first, 0x89);
        is_in_time(bench, bench.engine.now_ms() - start);
        peer.send(bench, &websocket::masked(true, Opcode::Pong, b""));
    }
}

fn a_peer_is_not_blamed_for_the_time_in_which_what_it_sent_is_not_read(bench: &Bench) {
    let mut options = pinging();
    options.deadlines.idle = Some(LENGTH);
    options.deadlines.message = Some(LENGTH);
    let script = Script::echo().on_message(|connection, kind, payload| {
        connection.send(kind, payload, None).expect("room");
        connection.pause(1);
    });
    let place = bench.listen(options, script);
    let mut peer = websocket::open(bench, &place);
    let mut sent = websocket::text("think about it");
    let next = websocket::text("and then?");
    sent.extend(&next[..5]);
    peer.send(bench, &sent);
    assert_eq!(peer.frame(bench).payload, b"think about it");
    peer.send(bench, &next[5..7]);
    bench.pass(4 * LENGTH);
    assert_eq!(bench.host().reasons(), []);
    let connection = bench.latest();
    connection.resume(1);
    drop(connection);
    bench.pass(LENGTH / 3);
    peer.send(bench, &next[7..]);
    loop {
        let frame = peer.frame(bench);
        if frame.first != 0x89 {
            assert_eq!(frame.payload, b"and then?");
            break;
        }
    }
    assert_eq!(bench.host().reasons(), []);
}

fn a_pause_does_not_hide_a_silent_peer_forever(bench: &Bench) {
    let place = bench.listen(pinging(), Script::echo());
    let _peer = websocket::open(bench, &place);
    let connection = bench.latest();
    connection.pause(1);
    bench.pass(3 * LENGTH);
    assert!(connection.is_open(), "its kernel acknowledges the pings");
    connection.resume(1);
    drop(connection);
    let (took, reason) = bench.time_until_closed(|| ());
    assert!((1..=2 * LENGTH + 500).contains(&took), "{took} ms");
    assert_eq!(reason.code, Some(1006));
}

fn a_full_queue_now_and_then_does_not_extend_the_deadline_of_a_silent_peer(bench: &Bench) {
    let mut options = lines();
    options.deadlines.idle = Some(LENGTH);
    options.deadlines.close = Some(0);
    options.limits.write_high_bytes = 1;
    options.limits.write_low_bytes = 0;
    let place = bench.listen(options, Script::sink());
    let mut peer = bench.connect_open(&place);
    let connection = bench.latest();
    let (took, reason) = bench.time_until_closed(|| {
        if !connection.is_above_high() {
            let _ = connection.send(Kind::Binary, b"more than a byte", None);
        }
        peer.look();
        // In the simulation turns take next to no time.
        bench.pass(u64::from(bench.is_simulated()));
    });
    is_in_time(bench, took);
    assert!(reason.text.contains("idle_seconds"), "{reason}");
    assert!(place.counters().write_pauses.get() > 5);
}

fn a_peer_that_is_not_read_and_sends_nothing_is_idle(bench: &Bench) {
    let mut options = lines();
    options.deadlines.idle = Some(LENGTH);
    options.deadlines.close = Some(0);
    let place = bench.listen(options, Script::sink());
    let _peer = bench.connect_open(&place);
    bench.latest().pause(1);
    let (took, reason) = bench.time_until_closed(|| ());
    is_in_time(bench, took);
    assert_eq!(reason.cause, Cause::Limit(Limit::IdleSeconds));
}
