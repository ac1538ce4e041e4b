//! A close that the peer did not answer is not a clean one; one that it did ends at once.

use crate::kit::{Bench, Ending, Peer, Script, defaults, websocket};
use vespiary_engine::wire::websocket::close::Code;
use vespiary_engine::{Cause, CloseReason, Framing, Manner, Options};

on_every_driver!(
    a_close_that_is_answered_with_a_reset_is_broken,
    a_close_that_is_answered_with_an_end_without_a_close_frame_is_broken,
    a_close_that_the_host_cuts_short_is_broken,
    a_server_does_not_wait_for_the_end_of_a_peer_that_has_sent_its_close_frame,
    a_server_reads_what_follows_a_close_frame_before_it_closes,
);

fn options() -> Options {
    let mut options = defaults(Framing::WebSocket);
    options.deadlines.close = Some(10_000);
    options
}

/// A connection that this end has closed with 1000 and "bye".
fn closed(bench: &Bench) -> Peer {
    let place = bench.listen(options(), Script::sink());
    let mut peer = websocket::open(bench, &place);
    bench.latest().close(Code::NORMAL, "bye");
    assert_eq!(peer.frame(bench).code(), Some(1000));
    peer
}

fn reason(bench: &Bench) -> CloseReason {
    let start = bench.engine.now_ms();
    bench.until_closed(1);
    let took = bench.engine.now_ms() - start;
    assert!(took < 5_000, "{took} ms: it waited for the deadline");
    bench.host().reasons().pop().expect("a reason")
}

fn assert_unacknowledged(reason: &CloseReason) {
    assert_eq!((reason.manner, reason.code), (Manner::Broken, Some(1006)));
    assert!(reason.text.contains("1000 (bye)"), "{reason}");
}

fn a_close_that_is_answered_with_a_reset_is_broken(bench: &Bench) {
    closed(bench).reset();
    let reason = reason(bench);
    assert_unacknowledged(&reason);
    assert!(matches!(reason.cause, Cause::Kernel(_)), "{reason:?}");
}

fn a_close_that_is_answered_with_an_end_without_a_close_frame_is_broken(bench: &Bench) {
    closed(bench).finish();
    let reason = reason(bench);
    assert_unacknowledged(&reason);
    assert_eq!(reason.cause, Cause::PeerVanished);
}

fn a_close_that_the_host_cuts_short_is_broken(bench: &Bench) {
    let _peer = closed(bench);
    bench.latest().abort();
    let reason = reason(bench);
    assert_unacknowledged(&reason);
    assert_eq!(reason.cause, Cause::Aborted);
}

fn a_server_does_not_wait_for_the_end_of_a_peer_that_has_sent_its_close_frame(bench: &Bench) {
    let mut peer = closed(bench);
    peer.send(bench, &websocket::close(1000, ""));
    let reason = reason(bench);
    assert_eq!((reason.manner, reason.code), (Manner::Closed, Some(1000)));
    assert_eq!(reason.text, "bye");
    assert_eq!(peer.take_rest(bench), (vec![], Ending::Finished));
    bench.until("the descriptor", || bench.engine.connection_count() == 0);
}

fn a_server_reads_what_follows_a_close_frame_before_it_closes(bench: &Bench) {
    let place = bench.listen(options(), Script::sink());
    let mut peer = websocket::open(bench, &place);
    let mut sent = websocket::close(1000, "");
    sent.resize(sent.len() + 100_000, 0);
    peer.send(bench, &sent);
    assert_eq!(peer.frame(bench).code(), Some(1000));
}
