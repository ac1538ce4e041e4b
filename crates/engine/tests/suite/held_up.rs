//! The process itself is stopped, or busy: no peer is late because of that.

use crate::kit::{Bench, Peer, Place, Script, defaults, websocket};
use std::time::Duration;
use vespiary_engine::wire::websocket::frame::Opcode;
use vespiary_engine::{Framing, Kind, Limit, Options};

on_every_driver!(
    handshakes_that_came_while_the_process_was_held_up_are_answered_101,
    pongs_that_came_while_the_process_was_held_up_count,
    peers_that_spoke_while_the_process_was_held_up_are_not_idle,
    messages_that_came_while_the_process_was_held_up_are_in_time,
    peers_that_said_nothing_get_the_time_that_they_were_promised,
    a_peer_that_always_has_bytes_on_their_way_still_misses_its_deadline,
);

/// How long deadlines are here, and how long the process is held up, in milliseconds.
const LENGTH: u64 = 400;
const HELD_UP: Duration = Duration::from_millis(1_500);
const PEERS: usize = 50;

/// Time passes, and the engine takes no turn.
fn hold_up(bench: &Bench) {
    match &bench.world {
        // As after SIGSTOP: the first turn returns late and without events.
        Some(world) => world.stop(HELD_UP),
        None => bench.skip(HELD_UP),
    }
}

fn assert_nobody_was_late(bench: &Bench, place: &Place) {
    assert!(place.counters().limits.borrow().is_empty());
    assert_eq!(bench.host().reasons(), []);
}

fn handshakes_that_came_while_the_process_was_held_up_are_answered_101(bench: &Bench) {
    let mut options = defaults(Framing::WebSocket);
    options.deadlines.handshake = Some(LENGTH);
    let place = bench.listen(options, Script::echo());
    let mut peers: Vec<Peer> = (0..PEERS).map(|_| bench.connect(&place)).collect();
    bench.until("all to be accepted", || {
        place.counters().accepted.get() == PEERS as u64
    });
    for peer in &mut peers {
        peer.write(websocket::request("/", "").as_bytes());
    }
    hold_up(bench);
    for peer in &mut peers {
        let head = peer.head(bench);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    }
    assert_nobody_was_late(bench, &place);
}

fn open(bench: &Bench, options: Options) -> (Place, Vec<Peer>) {
    let place = bench.listen(options, Script::echo());
    let peers = (0..PEERS).map(|_| websocket::open(bench, &place)).collect();
    (place, peers)
}

fn pongs_that_came_while_the_process_was_held_up_count(bench: &Bench) {
    let mut options = defaults(Framing::WebSocket);
    options.deadlines.ping_interval = Some(LENGTH);
    options.deadlines.ping_timeout = Some(LENGTH);
    let (place, mut peers) = open(bench, options);
    for peer in &mut peers {
        assert_eq!(peer.frame(bench).first, 0x89);
        peer.write(&websocket::masked(true, Opcode::Pong, b""));
    }
    hold_up(bench);
    bench.settle();
    bench.turn();
    assert_nobody_was_late(bench, &place);
}

fn peers_that_spoke_while_the_process_was_held_up_are_not_idle(bench: &Bench) {
    let mut options = defaults(Framing::WebSocket);
    options.deadlines.idle = Some(LENGTH);
    let (place, mut peers) = open(bench, options);
    for peer in &mut peers {
        peer.write(&websocket::text("here"));
    }
    hold_up(bench);
    for peer in &mut peers {
        assert_eq!(peer.frame(bench).payload, b"here");
    }
    assert_nobody_was_late(bench, &place);
}

fn messages_that_came_while_the_process_was_held_up_are_in_time(bench: &Bench) {
    let mut options = defaults(Framing::Line { ending: b"\n" });
    options.deadlines.message = Some(LENGTH);
    let place = bench.listen(options, Script::echo());
    let mut peer = bench.connect_open(&place);
    peer.send(bench, b"begun");
    bench.until("its beginning", || place.counters().bytes_in.get() == 5);
    peer.write(b" and ended\n");
    hold_up(bench);
    assert_eq!(peer.take(bench, 16), b"begun and ended\n");
    assert_nobody_was_late(bench, &place);
}

fn peers_that_said_nothing_get_the_time_that_they_were_promised(bench: &Bench) {
    let mut options = defaults(Framing::Line { ending: b"\n" });
    options.deadlines.idle = Some(LENGTH);
    let place = bench.listen(options, Script::echo());
    let mut peer = bench.connect_open(&place);
    hold_up(bench);
    bench.turn();
    bench.turn();
    peer.send(bench, b"just in time\n");
    assert_eq!(peer.take(bench, 13), b"just in time\n");
    assert_nobody_was_late(bench, &place);
    // And when it continues to say nothing, it is idle.
    bench.until_closed(1);
    assert_eq!(bench.host().limits_reached(Limit::IdleSeconds), 1);
}

fn a_peer_that_always_has_bytes_on_their_way_still_misses_its_deadline(bench: &Bench) {
    let mut options = defaults(Framing::WebSocket);
    options.limits.header_bytes_max = 1 << 20;
    options.deadlines.handshake = Some(100);
    let place = bench.listen(options, Script::echo());
    let mut peer = bench.connect(&place);
    peer.write(b"GET / HTTP/1.1\r\nX: ");
    let start = bench.engine.now_ms();
    while peer.input.is_empty() {
        peer.write(b"x");
        bench.turn();
        if bench.is_simulated() {
            bench.pass(1);
        }
        peer.look();
        assert!(bench.engine.now_ms() < start + 2_000, "it escapes");
    }
    assert!(peer.head(bench).starts_with("HTTP/1.1 408 "));
    let _ = Kind::Text;
}
