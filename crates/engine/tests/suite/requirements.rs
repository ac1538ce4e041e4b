//! What RFC 6455 asks of a server, and of both sides behind a close frame.
//!
//! In the simulation alone, where time is virtual and nothing is cut: what differs between drivers
//! is tested elsewhere.

use crate::kit::defaults;
use crate::kit::{Bench, Driver, Ending, Peer, Place, Script, Told, websocket};
use vespiary_engine::port::sim::Faults;
use vespiary_engine::wire::websocket::close::Code;
use vespiary_engine::wire::websocket::frame::Opcode;
use vespiary_engine::wire::websocket::handshake::OriginPattern;
use vespiary_engine::{Deadlines, Framing, Options, SendError};
use vespiary_trace::claims;

pub(super) fn simulated(scenario: fn(&Bench)) {
    Driver::Simulated(1, Faults::none()).run(scenario);
}

pub(super) fn websockets(change: impl Fn(&mut Deadlines)) -> Options {
    let mut options = defaults(Framing::WebSocket);
    change(&mut options.deadlines);
    options
}

#[test]
fn a_pong_that_nobody_asked_for_is_not_answered() {
    claims!("rfc6455/5.5.3/2", "rfc6455/5.5.3/h2");
    simulated(|bench| {
        let place = bench.listen(websockets(|_| ()), Script::echo());
        let mut peer = websocket::open(bench, &place);
        peer.send(bench, &websocket::masked(true, Opcode::Pong, b"heartbeat"));
        bench.settle();
        assert!(peer.is_quiet());
        peer.send(bench, &websocket::text("still here"));
        assert_eq!(peer.frame(bench).payload, b"still here");
    });
}

#[test]
fn a_ping_behind_our_own_close_frame_is_answered_and_behind_the_peers_is_not() {
    claims!("rfc6455/5.5.2/2", "rfc6455/5.5.3/h1");
    simulated(|bench| {
        let place = bench.listen(websockets(|_| ()), Script::echo());
        let mut peer = websocket::open(bench, &place);
        let connection = bench.latest();
        connection.close(Code::NORMAL, "");
        drop(connection);
        peer.send(bench, &websocket::masked(true, Opcode::Ping, b"and now?"));
        assert_eq!(peer.frame(bench).code(), Some(1000));
        let pong = peer.frame(bench);
        assert_eq!((pong.first, &pong.payload[..]), (0x8A, &b"and now?"[..]));
        let mut last = websocket::close(1000, "");
        last.extend(websocket::masked(true, Opcode::Ping, b"late"));
        peer.send(bench, &last);
        assert_eq!(peer.take_rest(bench), (vec![], Ending::Finished));
        peer.finish();
    });
}

/// A connection whose peer says nothing, and the deadlines of it.
fn silent(bench: &Bench, change: impl Fn(&mut Deadlines)) -> (Place, Peer) {
    let place = bench.listen(websockets(change), Script::echo());
    let peer = websocket::open(bench, &place);
    bench.pass(200);
    (place, peer)
}

#[test]
fn a_silent_peer_is_pinged_and_then_left_without_a_close_frame() {
    claims!("rfc6455/5.5.2/4", "rfc6455/7.1.1/2", "rfc6455/7.1.7/4");
    simulated(|bench| {
        let (_place, mut peer) = silent(bench, |deadlines| {
            deadlines.ping_interval = Some(60);
            deadlines.ping_timeout = Some(60);
        });
        peer.look();
        assert_eq!(peer.input, [0x89, 0], "one ping");
        assert_eq!(peer.ending, Some(Ending::Reset));
        assert_eq!(bench.host().reasons()[0].code, Some(1006));
    });
}

#[test]
fn a_peer_that_is_idle_for_too_long_is_reported_1008() {
    claims!("rfc6455/7.4.1/h4");
    simulated(|bench| {
        let (_place, mut peer) = silent(bench, |deadlines| deadlines.idle = Some(60));
        peer.look();
        let close = websocket::parse(&mut peer.input).expect("a close frame");
        assert_eq!(close.code(), Some(1008));
        peer.send(bench, &websocket::close(1008, ""));
        peer.finish();
    });
}

#[test]
fn a_ping_of_126_bytes_is_not_sent() {
    claims!("rfc6455/5.5.2/1", "rfc6455/5.5/1");
    simulated(|bench| {
        let place = bench.listen(websockets(|_| ()), Script::echo());
        let mut peer = websocket::open(bench, &place);
        let connection = bench.latest();
        assert_eq!(connection.ping(&[0; 126]), Err(SendError::TooLong));
        assert_eq!(connection.ping(&[0; 125]), Ok(()));
        drop(connection);
        assert_eq!(peer.frame(bench).payload, [0; 125]);
    });
}

#[test]
fn a_client_without_an_origin_is_not_a_page_and_may_connect() {
    claims!("rfc6455/4.2.1/2");
    simulated(|bench| {
        let mut options = websockets(|_| ());
        options.websocket.origins = Some(vec![]);
        let place = bench.listen(options, Script::echo());
        let mut peer = websocket::open(bench, &place);
        peer.send(bench, &websocket::text("hello"));
        assert_eq!(peer.frame(bench).payload, b"hello");
    });
}

#[test]
fn a_broken_rule_is_reported_to_the_host_for_its_log() {
    claims!("rfc6455/7.1.7/2", "rfc6455/10.7/1");
    simulated(|bench| {
        let place = bench.listen(websockets(|_| ()), Script::echo());
        let mut peer = websocket::open(bench, &place);
        peer.send(bench, &websocket::unmasked(true, Opcode::Text, b"hello"));
        bench.pass(20);
        let told = bench.host().log();
        let broken = told.iter().filter_map(|told| match told {
            Told::RuleBroken(_, text) => Some(text),
            _ => None,
        });
        let texts: Vec<_> = broken.collect();
        assert_eq!(texts.len(), 1, "{told:?}");
        assert!(texts[0].contains("RFC 6455 5.1"), "{texts:?}");
    });
}

#[test]
fn a_page_of_an_origin_that_is_not_listed_is_answered_403() {
    claims!("rfc6455/4.2.2/4", "rfc6455/10.2/1", "rfc6455/10.2/2");
    simulated(|bench| {
        let mut options = websockets(|_| ());
        let listed = OriginPattern::parse("https://here.example").expect("an origin");
        options.websocket.origins = Some(vec![listed]);
        let place = bench.listen(options, Script::echo());
        for (origin, status) in [
            ("https://here.example", 101),
            ("https://there.example", 403),
        ] {
            let mut peer = bench.connect(&place);
            let line = format!("Origin: {origin}\r\n");
            peer.send(bench, websocket::request("/", &line).as_bytes());
            let head = peer.head(bench);
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        }
    });
}
