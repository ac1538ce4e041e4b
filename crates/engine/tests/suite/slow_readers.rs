//! Readers that are slow and continue: progress is what they have acknowledged.

use crate::kit::{Bench, Conn, Peer, Script, defaults, websocket};
use std::time::Duration;
use vespiary_engine::{Framing, Kind, Limit, Options, Side};

on_every_driver!(
    a_reader_that_is_slow_and_continues_meets_the_write_deadline,
    a_reader_that_is_slow_and_continues_meets_the_deadline_of_a_ping_behind_its_bytes,
    a_reader_that_stops_misses_the_write_deadline,
    a_reader_that_takes_a_little_at_a_time_misses_the_write_deadline,
    a_reader_that_keeps_up_meets_the_write_deadline,
    a_reader_that_is_always_behind_but_continues_meets_the_write_deadline,
    a_late_first_look_leaves_a_reader_half_the_write_deadline,
);

const LENGTH: u64 = 200;
/// What a reader takes at a time: two of the loopback's segments, so that its window opens, and in
/// all the time here less than a message that is [`sent`].
const SIP: usize = 128 << 10;

/// One message that fills the kernel's buffers many times, to a peer that takes a little at a time.
fn sent(bench: &Bench, mut options: Options) -> (Peer, Conn) {
    options.limits.write_bytes_max = 64 << 20;
    let place = bench.listen(options, Script::sink());
    let peer = websocket::open(bench, &place);
    peer.stall(true);
    let connection = bench.latest();
    connection
        .send(Kind::Binary, &vec![0; 40 << 20], None)
        .expect("room");
    (peer, connection)
}

fn goes_on_for(bench: &Bench, peer: &mut Peer, connection: &Conn, milliseconds: u64) {
    let end = bench.engine.now_ms() + milliseconds;
    while bench.engine.now_ms() < end {
        peer.sip(SIP);
        peer.input.clear();
        bench.pass(5);
        assert!(connection.is_open(), "{:?}", connection.reason());
    }
    assert!(connection.queued_bytes() > 0, "all was read");
}

fn a_reader_that_is_slow_and_continues_meets_the_write_deadline(bench: &Bench) {
    let mut options = defaults(Framing::WebSocket);
    options.deadlines.write = Some(LENGTH);
    let (mut peer, connection) = sent(bench, options);
    goes_on_for(bench, &mut peer, &connection, 5 * LENGTH);
}

fn a_reader_that_is_slow_and_continues_meets_the_deadline_of_a_ping_behind_its_bytes(
    bench: &Bench,
) {
    let mut options = defaults(Framing::WebSocket);
    options.deadlines.write = None;
    options.deadlines.ping_interval = Some(LENGTH);
    options.deadlines.ping_timeout = Some(LENGTH);
    let (mut peer, connection) = sent(bench, options);
    goes_on_for(bench, &mut peer, &connection, 5 * LENGTH);
}

fn a_reader_that_stops_misses_the_write_deadline(bench: &Bench) {
    let mut options = defaults(Framing::WebSocket);
    options.deadlines.write = Some(LENGTH);
    let (mut peer, connection) = sent(bench, options);
    goes_on_for(bench, &mut peer, &connection, 2 * LENGTH);
    drop(connection);
    let start = bench.engine.now_ms();
    bench.until_closed(1);
    let took = bench.engine.now_ms() - start;
    assert!(took <= 2 * LENGTH + 500, "{took} ms");
    assert_eq!(bench.host().limits_reached(Limit::WriteSeconds), 1);
}

fn lines() -> Options {
    let mut options = defaults(Framing::Line { ending: b"\n" });
    options.deadlines.write = Some(LENGTH);
    options
}

/// Sends lines for as long as there is room, and again when there is.
fn pump() -> Script {
    fn fill(connection: &Conn) {
        while !connection.is_above_high() && connection.is_open() {
            connection
                .send(Kind::Binary, &[b'x'; 4095], None)
                .expect("room");
        }
    }
    Script::sink().on_opened(fill).on_drained(fill)
}

fn a_reader_that_takes_a_little_at_a_time_misses_the_write_deadline(bench: &Bench) {
    let mut options = lines();
    options.limits.write_high_bytes = 1 << 20;
    let place = bench.listen(options, pump());
    let mut peer = bench.connect(&place);
    peer.stall(true);
    bench.until("the queue to stand", || {
        bench.engine.connection_count() == 1
    });
    let (took, reason) = bench.time_until_closed(|| {
        peer.sip(1);
        // In the simulation turns take next to no time.
        bench.pass(u64::from(bench.is_simulated()));
    });
    // It counts from the moment when the kernel's buffers were full.
    let latest = if bench.is_simulated() {
        2 * LENGTH
    } else {
        2 * LENGTH + 800
    };
    assert!((LENGTH - 2..=latest).contains(&took), "{took} ms");
    assert!(reason.text.contains("write_seconds"), "{reason}");
    assert_eq!(reason.side, Side::Local);
    assert_eq!(bench.host().limits_reached(Limit::WriteSeconds), 1);
}

fn a_reader_that_keeps_up_meets_the_write_deadline(bench: &Bench) {
    let place = bench.listen(lines(), pump());
    let mut peer = bench.connect_open(&place);
    let start = bench.engine.now_ms();
    peer.stall(true);
    while bench.engine.now_ms() < start + 5 * LENGTH {
        peer.sip(SIP);
        peer.input.clear();
        bench.pass(1);
    }
    assert_eq!(bench.host().reasons(), []);
}

/// What is behind the kernel's buffers, however much these grow while their reader takes bytes.
const BEHIND: usize = 32 << 20;

/// A peer that reads nothing yet, and more for it than the kernel's buffers hold.
fn behind(bench: &Bench) -> (Peer, Conn) {
    let mut options = lines();
    options.limits.write_bytes_max = 2 * BEHIND;
    let place = bench.listen(options, Script::sink());
    let peer = bench.connect_open(&place);
    peer.stall(true);
    let connection = bench.latest();
    top_up(&connection);
    (peer, connection)
}

fn top_up(connection: &Conn) {
    while connection.queued_bytes() < BEHIND {
        connection
            .send(Kind::Binary, &[b'x'; 9_999], None)
            .expect("room");
    }
}

fn a_reader_that_is_always_behind_but_continues_meets_the_write_deadline(bench: &Bench) {
    let (mut peer, connection) = behind(bench);
    let start = bench.engine.now_ms();
    while bench.engine.now_ms() < start + 5 * LENGTH {
        peer.sip(SIP);
        peer.input.clear();
        top_up(&connection);
        bench.pass(1);
        assert!(connection.is_open(), "{:?}", connection.reason());
        assert!(connection.queued_bytes() > 0, "it is not behind");
    }
}

/// This end is late, but not by as much as a process that was stopped.
fn a_late_first_look_leaves_a_reader_half_the_write_deadline(bench: &Bench) {
    let (mut peer, connection) = behind(bench);
    bench.turn();
    bench.skip(Duration::from_millis(LENGTH + 10));
    bench.turn();
    let start = bench.engine.now_ms();
    while bench.engine.now_ms() < start + 2 * LENGTH {
        assert!(connection.is_open(), "{:?}", connection.reason());
        peer.sip(SIP);
        peer.input.clear();
        bench.pass(1);
    }
}
