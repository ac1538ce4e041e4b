//! What RFC 6455 asks of a client, against a server that is played by hand.

use super::requirements::{simulated, websockets};
use crate::kit::bench::RANDOM_SEED;
use crate::kit::defaults;
use crate::kit::{Bench, Conn, Place, Script, TestHost, Told, websocket};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use vespiary_engine::port::Errno;
use vespiary_engine::port::sim::Random;
use vespiary_engine::wire::websocket::close::Code;
use vespiary_engine::wire::websocket::deflate::{Direction, Settings};
use vespiary_engine::wire::websocket::frame::Opcode;
use vespiary_engine::wire::websocket::handshake::{accept_value, encode_key};
use vespiary_engine::{
    ClientHandshake, Compression, Engine, Framing, Kind, Limit, Manner, Options, SendError, Side,
    State,
};
use vespiary_trace::claims;

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
                    let sent = connection.send(Kind::Binary, response.as_bytes(), None);
                    sent.expect("room");
                }
            });
        let place = bench.listen(defaults(Framing::Raw), script);
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
        connection.send(Kind::Binary, bytes, None).expect("room");
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
        let refused = connection.send(Kind::Text, b"early", None);
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
        connection.send(Kind::Text, b"one", None).expect("room");
        connection
            .send_part(Kind::Text, b"two", false, None)
            .expect("room");
        connection
            .send_part(Kind::Text, b"", true, None)
            .expect("room");
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

#[test]
fn a_client_answers_a_masked_frame_with_1002() {
    claims!(
        "rfc6455/5.1/5",
        "rfc6455/5.1/6",
        "rfc6455/7.1.7/1",
        "rfc6455/10.7/2"
    );
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
        assert_eq!(bench.host().limits_reached(Limit::CloseSeconds), 0);
        assert!(!bench.host().messages().contains(&b"masked".to_vec()));
    });
}

#[test]
fn a_client_waits_for_the_server_to_close_the_tcp_connection() {
    claims!("rfc6455/7.1.1/3", "rfc6455/7.1.1/5");
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

/// The end is not left to the close deadline.
#[test]
fn a_client_whose_server_has_ended_writes_what_waits_and_then_ends() {
    claims!("rfc6455/7.1.1/1");
    simulated(|bench| {
        let (server, place) = Server::accepting(bench);
        let options = websockets(|deadlines| deadlines.close = None);
        let connection = connect(bench, &place, options, Script::sink());
        bench.until("the handshake", || connection.is_open());
        let far = server.connection.borrow_mut().take().expect("it is open");
        far.pause(1);
        connection
            .send(Kind::Binary, &vec![0; 200_000], None)
            .expect("room");
        connection.close(Code::NORMAL, "");
        let close = websocket::unmasked(true, Opcode::Close, b"\x03\xe8");
        far.send(Kind::Binary, &close, None).expect("room");
        far.send_end().expect("it is open");
        bench.pass(50);
        assert_eq!(connection.state(), State::Closing);
        assert!(connection.queued_bytes() > 0, "the server reads nothing");
        far.resume(1);
        drop(far);
        bench.pass(100);
        assert_eq!(connection.state(), State::Closed);
        let reason = connection.reason().expect("it ended");
        assert_eq!((reason.manner, reason.code), (Manner::Closed, Some(1000)));
        let sent = 200_000 + 14 + 8; // A message, and a close frame.
        assert_eq!(server.input.borrow().len(), sent);
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
        assert_eq!(
            connection.state(),
            State::Closing,
            "the server's FIN is awaited"
        );
        bench.pass(50);
        assert_eq!(connection.state(), State::Closed);
        let reason = connection.reason().expect("it ended");
        assert_eq!((reason.manner, reason.code), (Manner::Closed, Some(1000)));
        server.leave();
    });
}

fn is_end(told: &Told) -> bool {
    matches!(told, Told::Ended(_))
}

#[test]
fn a_client_that_loses_its_server_is_reported() {
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
            assert_eq!(reason.code, Some(1006));
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
        assert_eq!(
            connection.reason().and_then(|it| it.errno()),
            Some(Errno(111))
        );
    });
}

fn compressing() -> Options {
    let mut options = websockets(|_| ());
    let direction = Direction {
        context_takeover: true,
        window_bits: 15,
    };
    options.websocket.compression = Some(Compression {
        settings: Settings {
            server: direction,
            client: direction,
        },
        level: 6,
        memory_level: 8,
        threshold_bytes: 100,
    });
    options
}

#[test]
fn an_extension_that_both_sides_want_is_agreed_on() {
    claims!(
        "rfc6455/4.1/33",
        "rfc6455/4.2.2/h6",
        "rfc6455/9/1",
        "rfc6455/9.2/1"
    );
    simulated(|bench| {
        let place = bench.listen(compressing(), Script::echo());
        let connection = connect(bench, &place, compressing(), Script::sink());
        bench.until("the handshake", || connection.is_open());
        assert!(connection.compression().is_some());
        assert!(bench.latest().compression().is_some());
        connection.abort();
    });
}

#[test]
fn an_extension_that_was_only_offered_is_not_used() {
    claims!("rfc6455/5.2/2", "rfc6455/5.8/1", "rfc6455/9.1/6");
    simulated(|bench| {
        let (server, place) = Server::accepting(bench);
        let connection = connect(bench, &place, compressing(), Script::sink());
        bench.until("the handshake", || connection.is_open());
        let request = server.request.borrow().clone();
        assert!(!header(&request, "Sec-WebSocket-Extensions").is_empty());
        connection
            .send(Kind::Text, &[b'x'; 5000], None)
            .expect("room");
        let (_, frame) = server.frame(bench);
        assert_eq!((frame.first, frame.payload.len()), (0x81, 5000));
        connection.abort();
        server.leave();
    });
}

#[test]
fn a_server_that_refuses_and_does_not_close_refuses_at_once() {
    claims!("rfc6455/7.2.1/1");
    simulated(|bench| {
        let (server, place) = Server::listen(bench, |_| {
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno".to_owned()
        });
        let connection = connect(bench, &place, websockets(|_| ()), Script::sink());
        bench.pass(50);
        let reason = connection.reason().expect("it is refused");
        assert_eq!((reason.status, &reason.text[..]), (Some(403), "no"));
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
            connection
                .send(Kind::Text, b"the same", None)
                .expect("room");
            let (bytes, _) = server.frame(bench);
            assert_eq!(bytes[2..6], drawn(4));
        }
        drop(connection);
        server.leave();
    });
}
