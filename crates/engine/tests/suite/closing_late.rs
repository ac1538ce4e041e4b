//! Ends that come too late: what becomes of bytes that were sent before a close and not taken.

use crate::kit::defaults;
use crate::kit::{Bench, Ending, Script};
use vespiary_engine::wire::websocket::close::Code;
use vespiary_engine::{Framing, Limit, Manner, Options, Side};

on_every_driver!(
    what_the_kernel_has_taken_survives_the_close_deadline,
    bytes_lost_by_the_close_deadline_are_told,
    bytes_lost_by_the_write_deadline_while_closing_are_told,
);

fn lines() -> Options {
    defaults(Framing::Line { ending: b"\n" })
}

/// Sends `count` lines of 1000 bytes at the first message, and closes.
fn farewell(count: usize) -> Script {
    Script::sink().on_message(move |connection, kind, _| {
        for _ in 0..count {
            connection.send(kind, &[b'x'; 999]).expect("room");
        }
        connection.close(Code::NORMAL, "");
    })
}

fn what_the_kernel_has_taken_survives_the_close_deadline(bench: &Bench) {
    let mut options = lines();
    options.deadlines.close = Some(30);
    let place = bench.listen(options, farewell(40));
    let mut peer = bench.connect_open(&place);
    peer.stall(true);
    peer.send(bench, b"hello\n");
    bench.until_closed(1);
    let reason = &bench.host().reasons()[0];
    assert_eq!((reason.side, reason.manner), (Side::Local, Manner::Closed));
    assert_eq!(bench.host().limits_reached(Limit::CloseSeconds), 1);
    peer.stall(false);
    let (bytes, ending) = peer.take_rest(bench);
    assert_eq!((bytes.len(), ending), (40_000, Ending::Finished));
}

fn bytes_lost_by_the_close_deadline_are_told(bench: &Bench) {
    let mut options = lines();
    options.deadlines.close = Some(30);
    loses_bytes(bench, options);
    assert_eq!(bench.host().limits_reached(Limit::CloseSeconds), 1);
}

fn bytes_lost_by_the_write_deadline_while_closing_are_told(bench: &Bench) {
    let mut options = lines();
    options.deadlines.write = Some(30);
    loses_bytes(bench, options);
    assert_eq!(bench.host().limits_reached(Limit::WriteSeconds), 1);
}

/// More is sent before a close than the peer ever reads.
fn loses_bytes(bench: &Bench, mut options: Options) {
    options.limits.write_bytes_max = 64 << 20;
    let place = bench.listen(options, farewell(30_000));
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
}
