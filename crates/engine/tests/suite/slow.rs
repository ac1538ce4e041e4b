//! Peers that do not read: back-pressure, and the four policies.

use crate::kit::defaults;
use crate::kit::{Bench, Conn, Ending, Peer, Place, Script, Told, websocket};
use std::cell::Cell;
use std::rc::Rc;
use vespiary_engine::wire::websocket::frame::Opcode;
use vespiary_engine::{Framing, Kind, Limit, Limits, Options, Publish, SendError, SlowConsumer};

on_every_driver!(
    a_peer_that_does_not_read_is_not_read_from,
    reading_continues_when_the_queue_has_drained,
    the_sender_is_reported_when_the_queue_is_full_under_wait,
    the_oldest_messages_make_room_under_drop_oldest,
    new_messages_are_dropped_under_drop_newest,
    a_peer_that_does_not_read_is_reset_under_disconnect,
    the_queue_never_exceeds_its_bound,
    parts_of_a_message_are_never_dropped,
    the_bound_counts_what_small_messages_take_in_memory,
    a_flood_of_pings_to_a_peer_that_does_not_read_is_ended,
    a_host_that_pauses_gets_everything_in_order_when_it_resumes,
    a_paused_connection_holds_a_bounded_number_of_bytes,
    a_slow_peer_slows_no_other,
);

const HIGH: usize = 64 << 10;
const LOW: usize = 16 << 10;
const MOST: usize = 256 << 10;

fn options(framing: Framing, policy: SlowConsumer) -> Options {
    let mut options = defaults(framing);
    options.slow_consumer = policy;
    options.limits = Limits {
        write_high_bytes: HIGH,
        write_low_bytes: LOW,
        write_bytes_max: MOST,
        ..options.limits
    };
    options
}

fn lines() -> Framing {
    Framing::Line { ending: b"\n" }
}

/// A peer that reads nothing, and the engine's connection for it.
fn stalled(bench: &Bench, place: &Place) -> (Peer, Conn) {
    let peer = bench.connect_open(place);
    peer.stall(true);
    let connection = bench.latest();
    (peer, connection)
}

/// Numbered lines of 1000 bytes.
fn numbered(number: usize) -> Vec<u8> {
    format!("{number:0999}").into_bytes()
}

/// Let `connection` send numbered lines until what `send` says is over; the last number.
fn pump(bench: &Bench, connection: &Conn, over: impl Fn(Result<bool, SendError>) -> bool) -> usize {
    for number in 0.. {
        if over(connection.send(Kind::Binary, &numbered(number), None)) {
            return number;
        }
        assert!(connection.queued_bytes() <= MOST);
        if number % 50 == 0 {
            bench.turn();
        }
    }
    unreachable!()
}

/// All numbers that come until `last`.
fn numbers_until(bench: &Bench, peer: &mut Peer, last: usize) -> Vec<usize> {
    peer.stall(false);
    let mut numbers = Vec::new();
    while numbers.last() != Some(&last) {
        let line = peer.take(bench, 1000);
        let text = std::str::from_utf8(&line).expect("digits").trim_end();
        numbers.push(text.parse().expect("a number"));
    }
    numbers
}

fn a_peer_that_does_not_read_is_not_read_from(bench: &Bench) {
    let place = bench.listen(options(lines(), SlowConsumer::Wait), Script::echo());
    let mut peer = bench.connect_open(&place);
    peer.stall(true);
    let line = [&[b'x'; 999][..], b"\n"].concat().repeat(64);
    let (mut written, mut quiet) = (0, 0);
    while quiet < 100 {
        let count = peer.write(&line).expect("a connection");
        written += count;
        quiet = if count == 0 { quiet + 1 } else { 0 };
        bench.turn();
        assert!(written < 100 << 20, "the peer was never held back");
    }
    assert_eq!(bench.engine.all_connections()[0].queued_bytes() / HIGH, 1);
    let counters = place.counters();
    assert!(counters.bytes_in.get() < written as u64);
    assert!(counters.write_pauses.get() >= 1);
    assert_eq!(
        bench.host().count(|told| matches!(told, Told::Closed(..))),
        0
    );
}

fn reading_continues_when_the_queue_has_drained(bench: &Bench) {
    let script = Script::echo().forgetful();
    let place = bench.listen(options(lines(), SlowConsumer::Wait), script);
    let mut peer = bench.connect_open(&place);
    peer.stall(true);
    let line = [&[b'x'; 999][..], b"\n"].concat();
    let many = line.repeat(200);
    let (mut written, mut quiet) = (0, 0);
    while quiet < 50 {
        let count = peer.write(&many[written % 1000..]).expect("a connection");
        written += count;
        quiet = if count == 0 { quiet + 1 } else { 0 };
        bench.turn();
    }
    peer.stall(false);
    let whole = written / 1000 * 1000;
    let mut back = 0;
    bench.until("all lines to come back", || {
        peer.look();
        back += peer.input.len();
        peer.input.clear();
        back >= whole
    });
    assert_eq!(back, whole);
    let drained = bench.host().count(|told| matches!(told, Told::Drained(_)));
    assert!(drained as u64 == place.counters().write_pauses.get() && drained > 0);
}

fn the_sender_is_reported_when_the_queue_is_full_under_wait(bench: &Bench) {
    let place = bench.listen(options(lines(), SlowConsumer::Wait), Script::sink());
    let (mut peer, connection) = stalled(bench, &place);
    let full = pump(bench, &connection, |sent| sent == Err(SendError::QueueFull));
    assert!(connection.is_above_high());
    assert_eq!(place.counters().limits.borrow()[&Limit::WriteBytes], 1);
    assert_eq!(
        connection.send(Kind::Binary, &numbered(0), None),
        Err(SendError::QueueFull)
    );
    assert_eq!(
        numbers_until(bench, &mut peer, full - 1),
        (0..full).collect::<Vec<_>>()
    );
    bench.until("the queue to drain", || !connection.is_above_high());
    assert_eq!(
        bench.host().count(|told| matches!(told, Told::Drained(_))),
        1
    );
    connection
        .send(Kind::Binary, &numbered(full), None)
        .expect("room");
    assert_eq!(numbers_until(bench, &mut peer, full), [full]);
}

fn the_oldest_messages_make_room_under_drop_oldest(bench: &Bench) {
    let place = bench.listen(options(lines(), SlowConsumer::DropOldest), Script::sink());
    let (mut peer, connection) = stalled(bench, &place);
    pump(bench, &connection, |_| connection.dropped() >= 500);
    let dropped = connection.dropped();
    let last = numbered(1_000_000);
    connection
        .send(Kind::Binary, &last, None)
        .expect("the oldest makes room");
    let numbers = numbers_until(bench, &mut peer, 1_000_000);
    assert!(numbers.is_sorted_by(|a, b| a < b), "in order, each once");
    assert_eq!(numbers[0], 0, "what was on its way is not dropped");
    let missing = connection.dropped() as usize;
    assert_eq!(numbers[numbers.len() - 2] + 2, numbers.len() + missing);
    assert_eq!(place.counters().dropped.get(), dropped + 1);
    let kept = numbers.len() - 1;
    assert_eq!(
        numbers[kept - 100..kept].first(),
        Some(&(numbers[kept - 1] - 99)),
        "the newest"
    );
}

fn new_messages_are_dropped_under_drop_newest(bench: &Bench) {
    let place = bench.listen(options(lines(), SlowConsumer::DropNewest), Script::sink());
    let (mut peer, connection) = stalled(bench, &place);
    let first_dropped = pump(bench, &connection, |_| connection.dropped() == 1);
    for _ in 0..10 {
        assert_eq!(connection.send(Kind::Binary, &numbered(0), None), Ok(false));
    }
    assert_eq!(place.counters().dropped.get(), 11);
    let numbers = numbers_until(bench, &mut peer, first_dropped - 1);
    assert_eq!(numbers, (0..first_dropped).collect::<Vec<_>>());
    bench.until("the queue to drain", || connection.queued_bytes() == 0);
    connection
        .send(Kind::Binary, &numbered(7), None)
        .expect("room");
    assert_eq!(numbers_until(bench, &mut peer, 7), [7]);
}

fn a_peer_that_does_not_read_is_reset_under_disconnect(bench: &Bench) {
    let place = bench.listen(options(lines(), SlowConsumer::Disconnect), Script::sink());
    let (mut peer, connection) = stalled(bench, &place);
    pump(bench, &connection, |sent| sent == Err(SendError::Closed));
    drop(connection);
    bench.until_closed(1);
    let reason = &bench.host().reasons()[0];
    assert_eq!(reason.code, None, "a stream has no close codes");
    assert!(reason.text.contains("write_bytes_max"), "{reason}");
    peer.stall(false);
    assert_eq!(peer.take_rest(bench).1, Ending::Reset);
}

fn the_queue_never_exceeds_its_bound(bench: &Bench) {
    for policy in [
        SlowConsumer::Wait,
        SlowConsumer::DropNewest,
        SlowConsumer::DropOldest,
    ] {
        let place = bench.listen(options(lines(), policy), Script::sink());
        let (_peer, connection) = stalled(bench, &place);
        let sizes = [60_000, 250_000].into_iter();
        for size in sizes.chain((0..200).map(|number| number * 1999 % 260_000)) {
            let _ = connection.send(Kind::Binary, &vec![0; size], None);
            assert!(connection.queued_bytes() <= MOST, "{policy:?} at {size}");
            if size % 5 == 0 {
                bench.turn();
            }
        }
        assert!(connection.queued_bytes() > HIGH);
        connection.abort();
    }
}

fn the_bound_counts_what_small_messages_take_in_memory(bench: &Bench) {
    let publishing: [(SlowConsumer, bool); 4] = [
        (SlowConsumer::DropOldest, false),
        (SlowConsumer::DropOldest, true),
        (SlowConsumer::DropNewest, true),
        (SlowConsumer::Wait, true),
    ];
    for (policy, publishes) in publishing {
        let place = bench.listen(options(Framing::WebSocket, policy), Script::sink());
        let peer = websocket::open(bench, &place);
        peer.stall(true);
        let connection = bench.latest();
        connection.subscribe("small").expect("open");
        for number in 0..MOST {
            if publishes && number % 2 == 0 {
                bench
                    .engine
                    .publish("small", Kind::Binary, b"x", Publish::default())
                    .expect("memory");
            } else {
                let _ = connection.send(Kind::Binary, b"x", None);
            }
            if number % 5000 == 0 {
                bench.turn();
                let held = connection.buffer_bytes();
                assert!(held <= MOST + (64 << 10), "{policy:?} {publishes}: {held}");
            }
        }
        connection.abort();
    }
}

fn parts_of_a_message_are_never_dropped(bench: &Bench) {
    for policy in [SlowConsumer::DropOldest, SlowConsumer::DropNewest] {
        let place = bench.listen(options(Framing::WebSocket, policy), Script::sink());
        let mut peer = websocket::open(bench, &place);
        peer.stall(true);
        let connection = bench.latest();
        let mut parts = 0;
        while connection
            .send_part(Kind::Binary, &[7; 5000], false, None)
            .is_ok()
        {
            parts += 1;
            bench.turn();
            assert!(parts < 20_000, "the queue has no bound");
        }
        let refused = connection.send_part(Kind::Binary, b"", true, None);
        peer.stall(false);
        let mut frames: Vec<_> = (0..parts).map(|_| peer.frame(bench)).collect();
        assert_eq!(frames.remove(0).first, 0x02, "{policy:?}");
        assert!(
            frames
                .iter()
                .all(|frame| frame.first == 0 && frame.payload == [7; 5000])
        );
        bench.until("the queue to drain", || connection.queued_bytes() == 0);
        if refused.is_err() {
            connection
                .send_part(Kind::Binary, b"", true, None)
                .expect("room");
        }
        assert_eq!(peer.frame(bench).first, 0x80);
        assert_eq!(connection.dropped(), 0);
        connection.abort();
    }
}

fn a_flood_of_pings_to_a_peer_that_does_not_read_is_ended(bench: &Bench) {
    let mut options = options(Framing::WebSocket, SlowConsumer::Wait);
    options.limits.write_high_bytes = 2 * MOST;
    let place = bench.listen(options, Script::sink());
    let mut peer = websocket::open(bench, &place);
    peer.stall(true);
    let ping = websocket::masked(true, Opcode::Ping, &[7; 125]);
    let flood = ping.repeat(500);
    let mut offset = 0;
    bench.until("the end", || {
        let Some(count) = peer.write(&flood[offset..]) else {
            return true;
        };
        offset = (offset + count) % flood.len();
        let queued = bench
            .engine
            .all_connections()
            .first()
            .map_or(0, |it| it.queued_bytes());
        assert!(queued <= MOST + 200, "{queued}");
        bench.host().limits_reached(Limit::WriteBytes) > 0
    });
    assert_eq!(bench.host().limits_reached(Limit::WriteBytes), 1);
    assert_eq!(place.counters().protocol_errors.get(), 0);
    assert_eq!(
        bench.engine.all_connections()[0]
            .reason()
            .expect("a reason")
            .code,
        Some(1008)
    );
}

fn a_host_that_pauses_gets_everything_in_order_when_it_resumes(bench: &Bench) {
    let script = Script::sink().on_message(|connection, _, payload| {
        if payload.ends_with(b"0") {
            connection.pause(2);
        }
    });
    let place = bench.listen(options(lines(), SlowConsumer::Wait), script);
    let mut peer = bench.connect_open(&place);
    let connection = bench.latest();
    let sent: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    peer.send(bench, (sent.join("\n") + "\n").as_bytes());
    for reached in [1, 11, 21] {
        bench.settle();
        assert_eq!(
            bench.host().messages().len(),
            reached,
            "nothing comes while paused"
        );
        connection.pause(1);
        connection.resume(2);
        bench.settle();
        assert_eq!(
            bench.host().messages().len(),
            reached,
            "another reason stands"
        );
        connection.resume(1);
    }
    bench.until("all", || {
        connection.resume(2);
        bench.host().messages().len() == 100
    });
    let lines: Vec<_> = sent.iter().map(|line| line.as_bytes().to_vec()).collect();
    assert_eq!(bench.host().messages(), lines);
}

fn a_paused_connection_holds_a_bounded_number_of_bytes(bench: &Bench) {
    let script = Script::sink().on_opened(|connection| connection.pause(1));
    let place = bench.listen(options(Framing::Raw, SlowConsumer::Wait), script);
    let mut peer = bench.connect_open(&place);
    let connection = bench.latest();
    let piece = vec![7; 60_000];
    let (mut sent, mut quiet, mut most) = (0, 0, 0);
    while quiet < 50 {
        let count = peer.write(&piece).expect("a connection");
        sent += count;
        quiet = if count == 0 { quiet + 1 } else { 0 };
        bench.turn();
        most = most.max(connection.buffer_bytes());
        assert!(sent < 100 << 20, "the peer was never held back");
    }
    assert!(most <= 10 << 20, "{most}");
    let received = Rc::new(Cell::new(0));
    connection.resume(1);
    bench.until("all bytes", || {
        received.set(bench.host().messages().iter().map(Vec::len).sum());
        received.get() == sent
    });
    assert_eq!(connection.buffer_bytes(), 0);
}

fn a_slow_peer_slows_no_other(bench: &Bench) {
    let place = bench.listen(options(lines(), SlowConsumer::Wait), Script::echo());
    let (_slow, connection) = stalled(bench, &place);
    pump(bench, &connection, |sent| sent.is_err());
    let mut quick = bench.connect_open(&place);
    for _ in 0..100 {
        quick.send(bench, b"hello\n");
        assert_eq!(quick.take(bench, 6), b"hello\n");
    }
}
