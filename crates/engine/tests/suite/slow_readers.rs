//! Readers that are slow and go on: progress is what they have acknowledged.

use crate::kit::{Bench, Conn, Peer, Script, defaults, websocket};
use vespiary_engine::{Framing, Kind, Limit, Options};

on_every_driver!(
    a_reader_that_is_slow_and_goes_on_meets_the_write_deadline,
    a_reader_that_is_slow_and_goes_on_meets_the_deadline_of_a_ping_behind_its_bytes,
    a_reader_that_stops_misses_the_write_deadline,
);

const LENGTH: u64 = 200;

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
        peer.sip(64 << 10);
        peer.input.clear();
        bench.pass(5);
        assert!(connection.is_open(), "{:?}", connection.reason());
    }
    assert!(connection.queued_bytes() > 0, "all was read");
}

fn a_reader_that_is_slow_and_goes_on_meets_the_write_deadline(bench: &Bench) {
    let mut options = defaults(Framing::WebSocket);
    options.deadlines.write = Some(LENGTH);
    let (mut peer, connection) = sent(bench, options);
    goes_on_for(bench, &mut peer, &connection, 5 * LENGTH);
}

fn a_reader_that_is_slow_and_goes_on_meets_the_deadline_of_a_ping_behind_its_bytes(bench: &Bench) {
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
