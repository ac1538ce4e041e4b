//! Ends that come too late: what happens to bytes that were sent before a close and not taken.

use crate::kit::defaults;
use crate::kit::{Bench, Ending, Script, websocket};
use vespiary_engine::wire::websocket::close::Code;
use vespiary_engine::wire::websocket::frame::Opcode;
use vespiary_engine::{Framing, Limit, Manner, Options, Side, State};

on_every_driver!(
    what_the_kernel_has_taken_survives_the_deadlines,
    bytes_lost_by_the_write_deadline_while_closing_are_reported,
    a_peer_that_has_yet_to_read_what_the_kernel_has_taken_has_the_whole_write_deadline,
    a_flood_of_pings_behind_our_close_frame_queues_little_and_is_understood,
);

fn lines() -> Options {
    defaults(Framing::Line { ending: b"\n" })
}

/// Sends `count` lines of 1000 bytes at the first message, and closes.
fn send_and_close(count: usize) -> Script {
    Script::sink().on_message(move |connection, kind, _| {
        for _ in 0..count {
            connection.send(kind, &[b'x'; 999], None).expect("room");
        }
        connection.close(Code::NORMAL, "");
    })
}

fn what_the_kernel_has_taken_survives_the_deadlines(bench: &Bench) {
    let mut options = lines();
    options.deadlines.close = Some(30);
    options.deadlines.write = Some(30);
    let place = bench.listen(options, send_and_close(40));
    let mut peer = bench.connect_open(&place);
    peer.stall(true);
    peer.send(bench, b"hello\n");
    bench.until_closed(1);
    let reason = &bench.host().reasons()[0];
    // The kernel of a real peer has acknowledged it all.
    let manner = if bench.is_simulated() {
        Manner::Broken
    } else {
        Manner::Closed
    };
    assert_eq!((reason.side, reason.manner), (Side::Local, manner));
    peer.stall(false);
    let (bytes, ending) = peer.take_rest(bench);
    assert_eq!((bytes.len(), ending), (40_000, Ending::Finished));
}

fn bytes_lost_by_the_write_deadline_while_closing_are_reported(bench: &Bench) {
    let mut options = lines();
    options.deadlines.write = Some(30);
    options.limits.write_bytes_max = 64 << 20;
    // More is sent before the close than the peer ever reads.
    let place = bench.listen(options, send_and_close(30_000));
    let mut peer = bench.connect_open(&place);
    peer.stall(true);
    peer.send(bench, b"hello\n");
    bench.until_closed(1);
    let reason = &bench.host().reasons()[0];
    assert_eq!((reason.side, reason.manner), (Side::Local, Manner::Broken));
    assert!(
        reason.text.contains("bytes sent to the peer were lost"),
        "{reason}"
    );
    peer.stall(false);
    assert_eq!(peer.take_rest(bench).1, Ending::Reset);
    assert_eq!(bench.host().limits_reached(Limit::WriteSeconds), 1);
}

fn a_flood_of_pings_behind_our_close_frame_queues_little_and_is_understood(bench: &Bench) {
    let mut options = defaults(Framing::WebSocket);
    options.limits.write_bytes_max = 1 << 20;
    let script = Script::sink().on_message(|connection, kind, _| {
        connection
            .send(kind, &vec![b'x'; 100_000], None)
            .expect("room");
        connection.close(Code::GOING_AWAY, "");
    });
    let place = bench.listen(options, script);
    let mut peer = websocket::open(bench, &place);
    peer.stall(true);
    peer.send(bench, &websocket::text("hello"));
    let connection = bench.latest();
    bench.until("closing", || connection.state() == State::Closing);
    let pings = websocket::masked(true, Opcode::Ping, &[b'p'; 125]).repeat(1000);
    let mut sent = 0;
    for _ in 0..200 {
        // The flood continues where it was cut.
        sent += peer.write(&pings[sent % pings.len()..]).unwrap_or(0);
        bench.turn();
        assert!(connection.queued_bytes() < 200_000, "pongs pile up");
    }
    assert!(sent > 1 << 20, "the flood was read: {sent}");
    let rest = &pings[sent % pings.len()..];
    peer.stall(false);
    peer.send(bench, rest);
    // The frames that follow are understood: the close frame is found among them.
    peer.send(bench, &websocket::close(1001, ""));
    bench.until_closed(1);
    let reason = &bench.host().reasons()[0];
    assert_eq!(reason.code, Some(1001), "{reason}");
    assert_eq!((reason.side, reason.manner), (Side::Local, Manner::Closed));
    assert_eq!(place.counters().protocol_errors.get(), 0);
}

fn a_peer_that_has_yet_to_read_what_the_kernel_has_taken_has_the_whole_write_deadline(
    bench: &Bench,
) {
    const WRITE: u64 = 400;
    let mut options = lines();
    // The first look at what is acknowledged is that of the write deadline.
    options.deadlines.close = None;
    options.deadlines.write = Some(WRITE);
    let place = bench.listen(options, send_and_close(40));
    let mut peer = bench.connect_open(&place);
    let connection = bench.latest();
    peer.stall(true);
    peer.send(bench, b"hello\n");
    bench.until("the close", || !connection.is_open());
    bench.pass(3 * WRITE / 4);
    assert_eq!(connection.state(), State::Closing);
    peer.stall(false);
    let (bytes, ending) = peer.take_rest(bench);
    assert_eq!((bytes.len(), ending), (40_000, Ending::Finished));
    assert_eq!(bench.host().limits_reached(Limit::WriteSeconds), 0);
}
