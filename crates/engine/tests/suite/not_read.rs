//! This end does not read: the peer's end is noticed all the same, and so is its death.

use crate::kit::host::QUEUE_IS_FULL;
use crate::kit::{Bench, Conn, Peer, Script, Told, defaults, websocket};
use vespiary_engine::port::Errno;
use vespiary_engine::port::sim::Faults;
use vespiary_engine::wire::websocket::frame::Opcode;
use vespiary_engine::{AfterEnd, Cause, Framing, Kind, Limit, Manner, Options};
use vespiary_trace::claims;

on_every_driver!(
    the_end_of_a_peer_that_is_not_read_is_noticed,
    the_reset_of_a_peer_that_is_not_read_is_noticed,
    the_end_of_a_stream_that_is_not_read_is_noticed,
    messages_before_the_end_of_a_peer_that_is_not_read_are_delivered,
    a_peer_that_lives_and_is_not_read_stays,
    the_reset_of_a_peer_that_has_finished_is_noticed,
    a_peer_that_has_finished_and_lives_stays,
    a_full_queue_takes_the_last_messages_and_the_end_of_a_peer_that_has_finished,
    an_end_that_does_not_read_what_waits_sends_heartbeats,
    an_end_that_reads_a_little_now_and_then_sends_heartbeats,
);

/// A stream whose peer has finished sending, and whose host has more to say.
fn half_closed(bench: &Bench) -> (Peer, Conn) {
    let script = Script::sink().on_ended(|_| AfterEnd::Keep);
    let place = bench.listen(defaults(Framing::Raw), script);
    let mut peer = bench.connect_open(&place);
    let connection = bench.latest();
    peer.finish();
    bench.until("the end", || {
        bench.host().count(|told| matches!(told, Told::Ended(_))) == 1
    });
    (peer, connection)
}

fn the_reset_of_a_peer_that_has_finished_is_noticed(bench: &Bench) {
    let (peer, connection) = half_closed(bench);
    drop(connection);
    peer.reset();
    bench.until_closed(1);
    let reason = &bench.host().reasons()[0];
    assert_eq!(reason.manner, Manner::Broken, "{reason}");
    bench.until("its descriptor", || bench.engine.connection_count() == 0);
}

fn a_peer_that_has_finished_and_lives_stays(bench: &Bench) {
    let (mut peer, connection) = half_closed(bench);
    let turns = bench.engine.port_counters().turns;
    bench.pass(2_500);
    let turns = bench.engine.port_counters().turns - turns;
    assert!(turns < 5_000, "{turns} turns");
    assert!(connection.is_open(), "{:?}", connection.reason());
    connection
        .send(Kind::Binary, b"an answer", None)
        .expect("room");
    assert_eq!(peer.take(bench, 9), b"an answer");
}

/// The end is behind messages that nobody takes: a FIN alone, or a close frame before it.
fn a_full_queue_takes_the_last_messages_and_the_end_of_a_peer_that_has_finished(bench: &Bench) {
    let close = websocket::masked(true, Opcode::Close, &[3, 232]);
    let text = websocket::text("the last");
    let cases = [
        (Framing::WebSocket, [&text[..], &close].concat(), Some(1000)),
        (Framing::WebSocket, text, Some(1006)),
        (
            Framing::Line { ending: b"\n" },
            b"the last\n".to_vec(),
            None,
        ),
    ];
    for (number, (framing, bytes, code)) in cases.into_iter().enumerate() {
        let script = Script::sink().on_opened(|connection| connection.pause(QUEUE_IS_FULL));
        let place = bench.listen(defaults(framing.clone()), script);
        let mut peer = match framing {
            Framing::WebSocket => websocket::open(bench, &place),
            _ => bench.connect_open(&place),
        };
        bench.turn();
        peer.send(bench, &bytes);
        bench.pass(20);
        assert_eq!(bench.host().messages().len(), number, "the queue is full");
        peer.finish();
        bench.until_closed(number + 1);
        assert_eq!(bench.host().messages()[number], b"the last");
        assert_eq!(bench.host().reasons()[number].code, code);
    }
}

fn pinging() -> Options {
    let mut options = defaults(Framing::WebSocket);
    options.deadlines.ping_interval = Some(100);
    options.deadlines.ping_timeout = Some(100);
    options
}

/// A WebSocket that its host does not read.
fn unread(bench: &Bench, options: Options) -> (Peer, Conn) {
    let place = bench.listen(options, Script::sink());
    let peer = websocket::open(bench, &place);
    let connection = bench.latest();
    connection.pause(1);
    bench.turn();
    (peer, connection)
}

fn the_end_of_a_peer_that_is_not_read_is_noticed(bench: &Bench) {
    let (mut peer, connection) = unread(bench, defaults(Framing::WebSocket));
    peer.finish();
    drop(connection);
    bench.until_closed(1);
    let reason = &bench.host().reasons()[0];
    assert_eq!(
        (reason.cause, reason.code),
        (Cause::PeerVanished, Some(1006))
    );
    bench.until("its descriptor", || bench.engine.connection_count() == 0);
}

fn the_reset_of_a_peer_that_is_not_read_is_noticed(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc6455/7.2.1/2");
    }
    let (peer, connection) = unread(bench, defaults(Framing::WebSocket));
    peer.reset();
    drop(connection);
    bench.until_closed(1);
    let reason = &bench.host().reasons()[0];
    assert_eq!(reason.errno(), Some(Errno(104)), "ECONNRESET");
}

fn the_end_of_a_stream_that_is_not_read_is_noticed(bench: &Bench) {
    let place = bench.listen(defaults(Framing::Raw), Script::sink());
    let mut peer = bench.connect_open(&place);
    bench.latest().pause(1);
    bench.turn();
    peer.finish();
    bench.until_closed(1);
    assert_eq!(bench.host().reasons()[0].manner, Manner::Closed);
}

fn messages_before_the_end_of_a_peer_that_is_not_read_are_delivered(bench: &Bench) {
    let (mut peer, connection) = unread(bench, defaults(Framing::WebSocket));
    peer.send(bench, &websocket::text("the last"));
    peer.finish();
    bench.pass(2_500);
    assert!(
        connection.is_open(),
        "a message waits: {:?}",
        connection.reason()
    );
    connection.resume(1);
    drop(connection);
    bench.until_closed(1);
    assert_eq!(bench.host().messages(), [b"the last"]);
}

fn a_peer_that_lives_and_is_not_read_stays(bench: &Bench) {
    let (mut peer, connection) = unread(bench, pinging());
    for _ in 0..5 {
        assert_eq!(peer.frame(bench).first, 0x89, "a ping");
        bench.pass(50);
    }
    assert!(connection.is_open(), "{:?}", connection.reason());
}

/// Three unsolicited pongs, each in time for a peer that waits a second for the answer to its ping.
fn hears_heartbeats(bench: &Bench, mut peer: Peer, mut step: impl FnMut()) {
    for _ in 0..3 {
        let start = bench.engine.now_ms();
        while peer.input.is_empty() {
            step();
            bench.pass(10);
            peer.look();
            let took = bench.engine.now_ms() - start;
            assert!(!bench.is_simulated() || took < 900, "{took} ms");
        }
        let pong = peer.frame(bench);
        assert_eq!((pong.first, pong.payload), (0x8a, Vec::new()));
    }
}

fn an_end_that_does_not_read_what_waits_sends_heartbeats(bench: &Bench) {
    let (mut peer, connection) = unread(bench, defaults(Framing::WebSocket));
    peer.send(bench, &websocket::text("it waits"));
    hears_heartbeats(bench, peer, || ());
    assert!(connection.is_open());
    assert_eq!(bench.host().messages(), Vec::<&[u8]>::new());
}

/// Its host takes one message, and is busy again before its socket is next looked at.
fn an_end_that_reads_a_little_now_and_then_sends_heartbeats(bench: &Bench) {
    let script = Script::sink().on_message(|connection, _, _| connection.pause(1));
    let place = bench.listen(defaults(Framing::WebSocket), script);
    let mut peer = websocket::open(bench, &place);
    let connection = bench.latest();
    peer.send(bench, &websocket::text("one of many").repeat(1_000));
    bench.until("the first", || connection.is_paused(1));
    let mut resumed = bench.engine.now_ms();
    hears_heartbeats(bench, peer, || {
        if bench.engine.now_ms() - resumed >= 100 {
            resumed = bench.engine.now_ms();
            connection.resume(1);
        }
    });
}

/// Reading may stop for each message, so that must not cost system calls each time.
#[test]
fn an_end_that_stops_for_each_message_asks_the_kernel_seldom() {
    crate::kit::Driver::Simulated(1, Faults::none()).run(|bench| {
        let script = Script::sink().on_message(|connection, _, _| connection.pause(1));
        let place = bench.listen(defaults(Framing::WebSocket), script);
        let mut peer = websocket::open(bench, &place);
        let connection = bench.latest();
        let asked = bench.engine.port_counters().system_calls;
        for number in 1..=1_000 {
            peer.send(bench, &websocket::text("one"));
            bench.until("it", || bench.host().messages().len() == number);
            connection.resume(1);
            bench.pass(2);
        }
        let asked = bench.engine.port_counters().system_calls - asked;
        assert!(asked < 60, "{asked} system calls");
    });
}

#[test]
fn an_end_that_has_read_everything_sends_no_heartbeats() {
    crate::kit::Driver::Simulated(1, Faults::none()).run(|bench| {
        let (mut peer, connection) = unread(bench, defaults(Framing::WebSocket));
        bench.pass(5_000);
        peer.look();
        assert_eq!((connection.is_open(), peer.input.len()), (true, 0));
    });
}

/// Bytes that wait do not hide it until the write deadline: the peer's kernel answers nothing.
#[test]
fn a_peer_that_vanishes_while_bytes_wait_for_it_is_noticed_by_its_pings() {
    crate::kit::Driver::Simulated(1, Faults::none()).run(|bench| {
        let place = bench.listen(pinging(), Script::sink());
        let peer = websocket::open(bench, &place);
        let connection = bench.latest();
        peer.vanish();
        let start = bench.engine.now_ms();
        connection
            .send(Kind::Binary, &vec![0; 1_000_000], None)
            .expect("room for it");
        bench.turn();
        assert!(connection.queued_bytes() > 0, "all is sent");
        drop(connection);
        bench.until_closed(1);
        let took = bench.engine.now_ms() - start;
        assert!((199..=205).contains(&took), "{took} ms");
        assert_eq!(bench.host().limits_reached(Limit::PingTimeoutSeconds), 1);
    });
}

/// A peer whose machine is gone acknowledges nothing.
#[test]
fn a_dead_peer_that_is_not_read_is_noticed_by_its_pings() {
    crate::kit::Driver::Simulated(1, Faults::none()).run(|bench| {
        let (peer, connection) = unread(bench, pinging());
        peer.stall(true);
        drop(connection);
        let start = bench.engine.now_ms();
        bench.until_closed(1);
        let took = bench.engine.now_ms() - start;
        assert!((199..=205).contains(&took), "{took} ms");
        assert_eq!(bench.host().limits_reached(Limit::PingTimeoutSeconds), 1);
    });
}

/// Bytes of the peer's that wait to be read change nothing about that.
#[test]
fn a_dead_peer_whose_bytes_are_not_read_is_noticed_by_its_pings() {
    crate::kit::Driver::Simulated(1, Faults::none()).run(|bench| {
        let mut options = pinging();
        options.deadlines.ping_interval = Some(5_000);
        options.deadlines.ping_timeout = Some(5_000);
        let (mut peer, connection) = unread(bench, options);
        peer.send(bench, &websocket::text("the last"));
        peer.stall(true);
        drop(connection);
        let start = bench.engine.now_ms();
        bench.until_closed(1);
        let took = bench.engine.now_ms() - start;
        assert!((9_990..=10_010).contains(&took), "{took} ms");
        assert_eq!(bench.host().limits_reached(Limit::PingTimeoutSeconds), 1);
    });
}

/// A judgement that is put off until bytes were received must not keep the engine from waiting.
#[test]
fn a_judgement_that_waits_for_a_buffer_does_not_spin() {
    let faults = Faults {
        delay_permille: 1000,
        delay_microseconds_max: 500_000,
        ..Faults::none()
    };
    crate::kit::Driver::Simulated(3, faults).run(|bench| {
        let mut options = defaults(Framing::WebSocket);
        options.deadlines.handshake = Some(10);
        let place = bench.listen(options, Script::sink());
        let mut peer = bench.connect(&place);
        peer.write(b"GET");
        let start = bench.engine.now_ms();
        let mut turns = 0;
        bench.until("the refusal", || {
            turns += 1;
            place.counters().refused.borrow().values().sum::<u64>() > 0
        });
        let took = bench.engine.now_ms() - start;
        assert!(turns <= 2 * took + 100, "{turns} turns in {took} ms");
    });
}

/// Found by seed 307 of the simulation.
#[test]
fn pings_to_a_peer_that_reads_nothing_do_not_pile_up() {
    crate::kit::Driver::Simulated(1, Faults::none()).run(|bench| {
        let mut options = defaults(Framing::WebSocket);
        options.deadlines.ping_interval = Some(10);
        options.deadlines.write = None;
        let place = bench.listen(options, Script::sink());
        let peer = websocket::open(bench, &place);
        let connection = bench.latest();
        peer.stall(true);
        connection
            .send(Kind::Binary, &vec![0; 100_000], None)
            .expect("room for it");
        bench.turn();
        let queued = connection.queued_bytes();
        bench.pass(10_000);
        let grown = connection.queued_bytes() - queued;
        assert!(grown <= 10, "{grown} bytes of pings");
    });
}
