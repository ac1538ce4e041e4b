//! A host that fills its write queue again as soon as there is room: what its peer says is read
//! all the same, a little between two pauses, and what answers it does not make the queue longer.

use crate::kit::{Bench, Conn, Peer, Script, defaults, websocket};
use vespiary_engine::wire::websocket::frame::Opcode;
use vespiary_engine::{Framing, Kind, Options};

on_every_driver!(
    a_host_that_fills_its_queue_at_once_reads_messages_and_answers_pings,
    a_host_that_fills_its_queue_at_once_sees_the_close_frame,
    a_host_that_fills_its_queue_at_once_reads_a_stream,
    answers_between_two_pauses_stop_reading,
);

const PIECE: usize = 4000;
const ANSWER: usize = 8000;

fn fill(connection: &Conn) {
    while !connection.is_above_high() && connection.is_open() {
        connection
            .send(Kind::Binary, &[b'x'; PIECE], None)
            .expect("room");
    }
}

fn pump() -> Script {
    Script::sink().on_opened(fill).on_drained(fill)
}

/// The peer reads all the time, until something has happened.
fn read_until(bench: &Bench, peer: &mut Peer, what: &str, done: impl Fn(&Peer) -> bool) {
    for _ in 0..20_000 {
        peer.look();
        if done(peer) {
            return;
        }
        peer.input.clear();
        bench.turn();
    }
    panic!("not within 20,000 turns: {what}");
}

fn a_host_that_fills_its_queue_at_once_reads_messages_and_answers_pings(bench: &Bench) {
    let place = bench.listen(defaults(Framing::WebSocket), pump());
    let mut peer = websocket::open(bench, &place);
    for number in 0..3 {
        let word = format!("stop {number}");
        peer.send(bench, &websocket::text(&word));
        let host = bench.host();
        read_until(bench, &mut peer, &word, |_| {
            host.messages().iter().any(|it| it == word.as_bytes())
        });
    }
    let token = b"are you there";
    peer.send(bench, &websocket::masked(true, Opcode::Ping, token));
    read_until(bench, &mut peer, "a pong", |peer| {
        peer.input.windows(token.len()).any(|it| it == token)
    });
}

fn a_host_that_fills_its_queue_at_once_sees_the_close_frame(bench: &Bench) {
    let place = bench.listen(defaults(Framing::WebSocket), pump());
    let mut peer = websocket::open(bench, &place);
    peer.send(bench, &websocket::close(1000, ""));
    let host = bench.host();
    read_until(bench, &mut peer, "the end", |_| !host.reasons().is_empty());
    assert_eq!(bench.host().reasons()[0].code, Some(1000));
}

fn a_host_that_fills_its_queue_at_once_reads_a_stream(bench: &Bench) {
    let place = bench.listen(defaults(Framing::Line { ending: b"\n" }), pump());
    let mut peer = bench.connect_open(&place);
    peer.send(bench, b"stop\n");
    let host = bench.host();
    read_until(bench, &mut peer, "the line", |_| {
        host.messages().iter().any(|it| it == b"stop")
    });
}

/// Many small messages, each with a long answer, from a peer that reads a little at a time.
fn answers_between_two_pauses_stop_reading(bench: &Bench) {
    let mut options: Options = defaults(Framing::Line { ending: b"\n" });
    options.limits.write_bytes_max = 64 << 20;
    let most = options.limits.write_high_bytes + PIECE + 2 * ANSWER;
    let script = pump().on_message(|connection, _, _| {
        connection
            .send(Kind::Binary, &[b'y'; ANSWER], None)
            .expect("room");
    });
    let place = bench.listen(options, script);
    let mut peer = bench.connect_open(&place);
    peer.stall(true);
    let connection = bench.latest();
    let questions = b"?\n".repeat(30_000);
    let mut asked = 0;
    for _ in 0..3_000 {
        asked += peer.write(&questions[asked..]).unwrap_or(0);
        peer.sip(16 << 10);
        peer.input.clear();
        bench.turn();
        let queued = connection.queued_bytes();
        assert!(queued <= most, "{queued} bytes are queued");
    }
    assert!(!bench.host().messages().is_empty(), "nothing was read");
}
