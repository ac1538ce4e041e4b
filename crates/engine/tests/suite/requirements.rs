//! What RFC 6455 asks of a client, and of both sides behind a close frame: against a peer that plays
//! the server by hand.
//!
//! In the simulation alone, where time is virtual and nothing is cut: what differs between drivers
//! is tested elsewhere.

use crate::kit::bench::RANDOM_SEED;
use crate::kit::{Bench, Conn, Driver, Ending, Peer, Place, Script, TestHost, websocket};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use vespiary_engine::port::sim::{Faults, Random};
use vespiary_engine::wire::websocket::close::Code;
use vespiary_engine::wire::websocket::frame::Opcode;
use vespiary_engine::wire::websocket::handshake::{OriginPattern, accept_value, encode_key};
use vespiary_engine::{
    ClientHandshake, Deadlines, Engine, Framing, Kind, Manner, Options, SendError, Side,
};
use vespiary_trace::claims;

fn simulated(scenario: fn(&Bench)) {
    Driver::Simulated(1, Faults::none()).run(scenario);
}

fn websockets(change: impl Fn(&mut Deadlines)) -> Options {
    let mut options = Options::new(Framing::WebSocket);
    change(&mut options.deadlines);
    options
}

/// What a server by hand has received and not looked at, and its connection.
#[derive(Clone, Default)]
struct Server {
    input: Rc<RefCell<Vec<u8>>>,
    connection: Rc<RefCell<Option<Conn>>>,
    request: Rc<RefCell<String>>,
}

impl Server {
    /// Listen; the answer to a request is made of the value that accepts it.
    fn listen(bench: &Bench, answer: impl Fn(&str) -> String + 'static) -> (Self, Place) {
        let server = Self::default();
        let (opened, receiving) = (server.clone(), server.clone());
        let script = Script::sink()
            .on_opened(move |connection| {
                opened.connection.borrow_mut().replace(connection.clone());
            })
            .on_message(move |connection, _, bytes| {
                receiving.input.borrow_mut().extend_from_slice(bytes);
                if receiving.request.borrow().is_empty() {
                    let request = receiving.take_head();
                    let key = header(&request, "Sec-WebSocket-Key");
                    let response = answer(&accept_value(&key));
                    *receiving.request.borrow_mut() = request;
                    let sent = connection.send(Kind::Binary, response.as_bytes());
                    sent.expect("room");
                }
            });
        let place = bench.listen(Options::new(Framing::Raw), script);
        (server, place)
    }

    /// One that accepts.
    fn accepting(bench: &Bench) -> (Self, Place) {
        Self::listen(bench, |accept| {
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            )
        })
    }

    fn take_head(&self) -> String {
        let mut input = self.input.borrow_mut();
        let end = input.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        let end = end.expect("a head in one piece") + 4;
        String::from_utf8(input.drain(..end).collect()).expect("an ASCII head")
    }

    fn send(&self, bytes: &[u8]) {
        let connection = self.connection.borrow();
        let connection = connection.as_ref().expect("it was opened");
        connection.send(Kind::Binary, bytes).expect("room");
    }

    /// The next frame of the client's, as it was on the wire and parsed.
    fn frame(&self, bench: &Bench) -> (Vec<u8>, websocket::Frame) {
        let mut found = None;
        bench.until("a frame of the client's", || {
            let mut input = self.input.borrow_mut();
            let before = input.clone();
            found = websocket::parse(&mut input)
                .map(|frame| (before[..before.len() - input.len()].to_vec(), frame));
            found.is_some()
        });
        found.expect("until it is there")
    }

    /// Forget the connection, so that the bench can end.
    fn leave(&self) {
        if let Some(connection) = self.connection.borrow_mut().take() {
            connection.close(Code::NORMAL, "");
        }
    }
}

fn header(head: &str, name: &str) -> String {
    let line = head.split("\r\n").find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split_once(": "));
    value.expect("the header is there").1.to_owned()
}

fn ask() -> ClientHandshake {
    ClientHandshake {
        host: "test".to_owned(),
        target: "/".to_owned(),
        protocols: vec![],
        headers: vec![],
    }
}

fn connect(bench: &Bench, place: &Place, options: Options, script: Script) -> Conn {
    let engine: &Rc<Engine<TestHost>> = &bench.engine;
    let connected = engine.connect(&place.address, None, script.endpoint(options), Some(ask()));
    connected.expect("a socket")
}

fn open(bench: &Bench, place: &Place, script: Script) -> Conn {
    let connection = connect(bench, place, websockets(|_| ()), script);
    bench.until("the handshake", || connection.is_open());
    connection
}

#[test]
fn a_client_sends_nothing_but_its_request_before_the_answer() {
    claims!("rfc6455/4.1/35", "rfc6455/6.1/2");
    simulated(|bench| {
        let (server, place) = Server::listen(bench, |_| String::new());
        let connection = connect(bench, &place, websockets(|_| ()), Script::sink());
        bench.until("the request", || !server.request.borrow().is_empty());
        let refused = connection.send(Kind::Text, b"early");
        assert_eq!(refused, Err(SendError::NotOpen));
        bench.settle();
        assert!(server.input.borrow().is_empty());
        server.leave();
    });
}

#[test]
fn each_connection_has_a_key_of_its_own() {
    claims!("rfc6455/4.1/25", "rfc6455/4.1/26");
    simulated(|bench| {
        let mut keys = BTreeSet::new();
        for _ in 0..10 {
            let (server, place) = Server::accepting(bench);
            open(bench, &place, Script::sink()).abort();
            let key = header(&server.request.borrow(), "Sec-WebSocket-Key");
            assert_eq!((key.len(), &key[22..]), (24, "=="), "16 bytes in Base64");
            keys.insert(key);
            server.leave();
        }
        assert_eq!(keys.len(), 10);
    });
}

#[test]
fn each_frame_of_a_client_is_masked_with_a_key_of_its_own() {
    claims!(
        "rfc6455/5.1/1",
        "rfc6455/5.3/2",
        "rfc6455/5.3/3",
        "rfc6455/5.5.1/h1",
        "rfc6455/6.1/8",
        "rfc6455/10.3/1",
        "rfc6455/10.3/h2"
    );
    simulated(|bench| {
        let (server, place) = Server::accepting(bench);
        let connection = open(bench, &place, Script::sink());
        connection.send(Kind::Text, b"one").expect("room");
        connection
            .send_part(Kind::Text, b"two", false)
            .expect("room");
        connection.send_part(Kind::Text, b"", true).expect("room");
        connection.ping(b"three").expect("room");
        connection.close(Code::NORMAL, "");
        drop(connection);
        let mut keys = BTreeSet::new();
        for opcode in [0x1, 0x1, 0x0, 0x9, 0x8] {
            let (bytes, frame) = server.frame(bench);
            assert_eq!((frame.opcode(), frame.masked), (opcode, true));
            let key = bytes[2..6].to_vec();
            assert_ne!(key, [0; 4]);
            keys.insert(key);
        }
        assert_eq!(keys.len(), 5);
        server.leave();
    });
}

/// Nothing but the source that the engine was given decides a key: where that is the kernel's, no
/// key can be predicted.
#[test]
fn the_keys_of_a_client_are_the_bytes_of_its_source_in_their_order() {
    simulated(|bench| {
        let (server, place) = Server::accepting(bench);
        let connection = open(bench, &place, Script::sink());
        let mut source = Random::new(RANDOM_SEED);
        let mut drawn =
            |count: usize| -> Vec<u8> { (0..count).map(|_| source.draw() as u8).collect() };
        let nonce = drawn(16).try_into().expect("16 bytes");
        let key = header(&server.request.borrow(), "Sec-WebSocket-Key");
        assert_eq!(key, encode_key(nonce));
        for _ in 0..100 {
            connection.send(Kind::Text, b"the same").expect("room");
            let (bytes, _) = server.frame(bench);
            assert_eq!(bytes[2..6], drawn(4));
        }
        drop(connection);
        server.leave();
    });
}

#[test]
fn a_client_answers_a_masked_frame_with_1002() {
    claims!("rfc6455/5.1/5", "rfc6455/5.1/6", "rfc6455/7.1.7/1");
    simulated(|bench| {
        let (server, place) = Server::accepting(bench);
        let connection = open(bench, &place, Script::sink());
        server.send(&websocket::text("masked"));
        assert_eq!(server.frame(bench).1.code(), Some(1002));
        server.leave();
        bench.until("the end", || connection.reason().is_some());
        let reason = connection.reason().expect("it ended");
        assert_eq!((reason.side, reason.code), (Side::Local, Some(1002)));
        bench.until("the end", || bench.engine.connection_count() == 0);
        assert_eq!(bench.host().limits_reached("close_seconds"), 0);
        assert!(!bench.host().messages().contains(&b"masked".to_vec()));
    });
}

#[test]
fn a_client_waits_for_the_server_to_close_the_tcp_connection() {
    claims!("rfc6455/5.5.1/10", "rfc6455/7.1.1/3", "rfc6455/7.1.1/5");
    simulated(|bench| {
        let (server, place) = Server::accepting(bench);
        let connection = open(bench, &place, Script::sink());
        connection.close(Code::NORMAL, "");
        assert_eq!(server.frame(bench).1.code(), Some(1000));
        server.send(&websocket::unmasked(true, Opcode::Close, b"\x03\xe8"));
        bench.pass(50);
        assert_eq!(bench.host().count(is_end), 0, "the client ended TCP first");
        server.leave();
        bench.until("the end", || {
            bench.engine.connection_count() == 0 || connection.reason().is_some()
        });
        let reason = connection.reason().expect("it ended");
        assert_eq!(reason.manner, Manner::Closed);
    });
}

#[test]
fn a_client_whose_server_does_not_close_closes_after_the_close_deadline() {
    claims!("rfc6455/5.5.1/10", "rfc6455/7.1.1/4");
    simulated(|bench| {
        let (server, place) = Server::accepting(bench);
        let options = websockets(|deadlines| deadlines.close = Some(60));
        let connection = connect(bench, &place, options, Script::sink());
        bench.until("the handshake", || connection.is_open());
        connection.close(Code::NORMAL, "");
        server.frame(bench);
        server.send(&websocket::unmasked(true, Opcode::Close, b"\x03\xe8"));
        bench.pass(50);
        assert_eq!(bench.host().limits_reached("close_seconds"), 0);
        bench.pass(50);
        assert_eq!(bench.host().limits_reached("close_seconds"), 1);
        bench.until("the end", || bench.host().count(is_end) > 0);
        server.leave();
    });
}

fn is_end(told: &crate::kit::Told) -> bool {
    matches!(told, crate::kit::Told::Ended(_))
}

#[test]
fn a_client_that_loses_its_server_is_told() {
    claims!("rfc6455/7.2.1/2", "rfc6455/7.1.5/h3");
    simulated(|bench| {
        for is_reset in [true, false] {
            let (server, place) = Server::accepting(bench);
            let connection = open(bench, &place, Script::sink());
            let far = server.connection.borrow_mut().take().expect("it is open");
            if is_reset {
                far.abort();
            } else {
                far.close(Code::NORMAL, "");
            }
            drop(far);
            bench.until("the loss", || connection.reason().is_some());
            let reason = connection.reason().expect("it is over");
            assert_eq!((reason.side, reason.manner), (Side::Remote, Manner::Broken));
            assert_eq!(reason.code, (!is_reset).then_some(1006));
        }
    });
}

#[test]
fn a_websocket_that_cannot_be_connected_is_refused() {
    claims!("rfc6455/4.1/12", "rfc6455/7.2.1/1");
    simulated(|bench| {
        let (_, place) = Server::accepting(bench);
        place.listener.close();
        bench.settle();
        let connection = connect(bench, &place, websockets(|_| ()), Script::sink());
        bench.until_closed(1);
        assert!(!connection.is_open());
        assert_eq!(connection.reason().and_then(|it| it.errno), Some(111));
    });
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
fn a_peer_that_is_idle_for_too_long_is_told_1008() {
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
    claims!("rfc6455/5.5/1");
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
