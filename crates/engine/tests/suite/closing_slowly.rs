//! Closes behind bytes that a slow peer still reads: what is queued goes out for as long as the
//! peer continues, and the close deadline begins after that.

use crate::kit::{Bench, Driver, Ending, Peer, Script, defaults, websocket};
use vespiary_engine::port::sim::Faults;
use vespiary_engine::wire::websocket::close::Code;
use vespiary_engine::wire::websocket::frame::Opcode;
use vespiary_engine::{Cause, Framing, Limit, Manner, Options, Side};

on_every_driver!(
    a_stream_reader_that_continues_gets_all_that_was_sent_before_the_close,
    a_websocket_reader_that_continues_gets_all_and_the_close_frame,
    a_reader_that_continues_gets_all_without_a_write_deadline_too,
    a_reader_of_single_bytes_does_not_hold_a_closing_connection,
    a_peer_that_reads_nothing_holds_a_closing_connection_for_the_write_deadline,
    a_peer_that_reads_nothing_holds_it_for_the_close_deadline_where_there_is_no_other,
    the_close_deadline_counts_from_the_last_byte_that_was_acknowledged,
);

/// The close deadline, and that of writing.
const CLOSE: u64 = 60;
const WRITE: u64 = 400;
/// More than the kernel's buffers hold, so that it takes many times the close deadline to read.
const LENGTH: usize = 16 << 20;
const SIP: usize = 256 << 10;

fn options(framing: Framing) -> Options {
    let mut options = defaults(framing);
    options.deadlines.close = Some(CLOSE);
    options.deadlines.write = Some(WRITE);
    options.limits.write_bytes_max = 64 << 20;
    options
}

fn lines() -> Options {
    options(Framing::Line { ending: b"\n" })
}

/// Sends one long message and closes.
fn reply() -> Script {
    Script::sink().on_message(|connection, kind, _| {
        let line = vec![b'x'; LENGTH - 1];
        connection.send(kind, &line, None).expect("room");
        connection.close(Code::NORMAL, "");
    })
}

/// Take a little at a time until the end, or until so many bytes came; how many did, and how long
/// that took.
fn sip_until(bench: &Bench, peer: &mut Peer, most: usize) -> (usize, u64) {
    let start = bench.engine.now_ms();
    let mut taken = 0;
    while peer.ending.is_none() && taken < most {
        peer.sip(SIP);
        taken += std::mem::take(&mut peer.input).len();
        bench.pass(5);
    }
    (taken, bench.engine.now_ms() - start)
}

fn a_stream_reader_that_continues_gets_all_that_was_sent_before_the_close(bench: &Bench) {
    reads_a_stream_slowly(bench, lines());
}

fn a_reader_that_continues_gets_all_without_a_write_deadline_too(bench: &Bench) {
    let mut options = lines();
    options.deadlines.write = None;
    reads_a_stream_slowly(bench, options);
}

fn reads_a_stream_slowly(bench: &Bench, options: Options) {
    let place = bench.listen(options, reply());
    let mut peer = bench.connect_open(&place);
    peer.stall(true);
    peer.send(bench, b"go\n");
    let (taken, took) = sip_until(bench, &mut peer, LENGTH);
    assert_eq!((taken, peer.ending), (LENGTH, None));
    assert!(took > 3 * CLOSE, "it took {took} ms only");
    peer.stall(false);
    assert_eq!(peer.take_rest(bench), (vec![], Ending::Finished));
    peer.finish();
    ends_cleanly(bench);
}

/// Where the peer's kernel takes no more than the peer does, which has therefore been in time.
fn ends_cleanly(bench: &Bench) {
    bench.until_closed(1);
    if bench.is_simulated() {
        let reason = &bench.host().reasons()[0];
        assert_eq!((reason.side, reason.manner), (Side::Local, Manner::Closed));
        assert_eq!(bench.host().events(), []);
    }
}

fn a_websocket_reader_that_continues_gets_all_and_the_close_frame(bench: &Bench) {
    let place = bench.listen(options(Framing::WebSocket), reply());
    let mut peer = websocket::open(bench, &place);
    peer.stall(true);
    peer.send(bench, &websocket::text("go"));
    // The message's head has ten bytes.
    let (taken, took) = sip_until(bench, &mut peer, LENGTH - SIP);
    assert!(took > 3 * CLOSE, "it took {took} ms only");
    peer.stall(false);
    peer.take(bench, LENGTH + 9 - taken);
    let close = peer.frame(bench);
    assert_eq!(
        (close.first, close.code()),
        (0x80 | Opcode::Close as u8, Some(1000))
    );
    if bench.is_simulated() {
        peer.send(bench, &websocket::close(1000, ""));
    }
    assert_eq!(peer.take_rest(bench), (vec![], Ending::Finished));
    peer.finish();
    ends_cleanly(bench);
}

/// The peer of a connection that closes behind more than the kernel takes; it reads nothing.
fn unread_close(bench: &Bench, options: Options) -> Peer {
    let place = bench.listen(options, reply());
    let mut peer = bench.connect_open(&place);
    peer.stall(true);
    let connection = bench.latest();
    peer.send(bench, b"go\n");
    bench.until("the close", || !connection.is_open());
    assert!(connection.queued_bytes() > 0, "the kernel holds it all");
    peer
}

fn is_ended_by(bench: &Bench, limit: Limit, length: u64, mut meanwhile: impl FnMut()) {
    let start = bench.engine.now_ms();
    bench.until("the end", || {
        meanwhile();
        bench.host().open() == 0
    });
    let took = bench.engine.now_ms() - start;
    assert!((length / 2..2 * length + 800).contains(&took), "{took} ms");
    assert_eq!(bench.host().limits_reached(limit), 1);
    let reason = &bench.host().reasons()[0];
    assert_eq!(reason.cause, Cause::Limit(limit), "{reason}");
    assert_eq!(reason.manner, Manner::Broken, "{reason}");
}

fn a_reader_of_single_bytes_does_not_hold_a_closing_connection(bench: &Bench) {
    let mut peer = unread_close(bench, lines());
    is_ended_by(bench, Limit::WriteSeconds, WRITE, || {
        peer.sip(1);
        // In the simulation turns take next to no time.
        bench.pass(u64::from(bench.is_simulated()));
    });
}

fn a_peer_that_reads_nothing_holds_a_closing_connection_for_the_write_deadline(bench: &Bench) {
    let mut peer = unread_close(bench, lines());
    is_ended_by(bench, Limit::WriteSeconds, WRITE, || {});
    peer.stall(false);
    assert_eq!(peer.take_rest(bench).1, Ending::Reset);
}

fn a_peer_that_reads_nothing_holds_it_for_the_close_deadline_where_there_is_no_other(
    bench: &Bench,
) {
    let mut options = lines();
    options.deadlines.write = None;
    let _peer = unread_close(bench, options);
    is_ended_by(bench, Limit::CloseSeconds, CLOSE, || {});
}

fn the_close_deadline_counts_from_the_last_byte_that_was_acknowledged(bench: &Bench) {
    let mut options = options(Framing::WebSocket);
    options.deadlines.close = Some(WRITE / 2);
    options.deadlines.write = Some(20 * WRITE);
    let place = bench.listen(options, reply());
    let mut peer = websocket::open(bench, &place);
    peer.stall(true);
    peer.send(bench, &websocket::text("go"));
    // Nothing is read for longer than the close may take.
    bench.pass(WRITE);
    peer.stall(false);
    peer.take(bench, LENGTH + 9);
    assert_eq!(peer.frame(bench).code(), Some(1000));
    // Neither does the answer come at once.
    bench.pass(WRITE / 8);
    if !bench.is_simulated() {
        return;
    }
    peer.send(bench, &websocket::close(1000, ""));
    peer.take_rest(bench);
    peer.finish();
    ends_cleanly(bench);
}

/// The kernel has taken all that was queued, and the peer acknowledges nothing of it.
#[test]
fn a_close_whose_last_bytes_are_not_acknowledged_in_time_is_not_clean() {
    Driver::Simulated(1, Faults::none()).run(|bench| {
        for framing in [Framing::Raw, Framing::Line { ending: b"\n" }] {
            let script = Script::sink().on_message(|connection, kind, _| {
                connection.send(kind, b"an answer", None).expect("room");
                connection.close(Code::NORMAL, "");
            });
            let place = bench.listen(options(framing), script);
            let mut peer = bench.connect_open(&place);
            peer.send(bench, b"go\n");
            peer.stall(true);
            bench.until("the end", || bench.host().open() == 0);
            let reason = bench.host().reasons().pop().expect("a reason");
            assert_eq!(reason.cause, Cause::Limit(Limit::WriteSeconds), "{reason}");
            assert_eq!(reason.manner, Manner::Broken, "{reason}");
            assert_eq!(place.counters().broken.get(), 1);
        }
    });
}
