//! Layers between a socket and a session, by one that has everything that a layer can have: a
//! handshake of its own, an end of its own, and bytes that are not what they were.

use crate::kit::defaults;
use crate::kit::{Bench, Conn, Ending, Peer, Script, pattern, websocket};
use std::cell::Cell;
use std::rc::Rc;
use vespiary_engine::wire::websocket::close::Code;
use vespiary_engine::{
    Cause, CloseReason, Flow, Framing, Kind, Layer, Limit, Manner, Options, Progress, Received,
    Side,
};

on_every_driver_and_with_faults!(
    a_session_begins_when_its_layers_are_ready,
    every_framing_works_above_layers,
    a_layer_ends_in_its_own_way_before_the_socket_does,
    the_end_of_a_layer_is_the_end_of_the_stream,
    a_stream_that_is_cut_beneath_a_layer_is_broken,
    a_layer_is_pushed_while_the_connection_lives,
    a_layer_is_started_while_the_connection_lives,
    the_handshake_of_a_layer_that_was_started_has_a_deadline,
    what_a_layer_makes_waits_while_the_connection_is_held_back,
    a_layer_that_fails_ends_its_connection,
    what_a_failed_handshake_has_to_say_is_sent_first,
    own_bytes_for_a_peer_that_does_not_read_are_bounded,
);

// With faults, bytes may come so late that they are the layer's.
on_every_driver!(
    plain_bytes_behind_the_message_that_starts_a_layer_end_the_connection,
    unhandled_messages_when_a_layer_is_started_end_the_connection,
);

/// Records of a length and so many bytes, each combined with a key by exclusive or. A record of one
/// byte is not data: it is `HELLO`, `END` or `POKE`, which asks for a record in return.
pub(super) struct Records {
    key: u8,
    is_ready: bool,
    is_ended: bool,
    begins: bool,
}

pub(super) const HELLO: &[u8] = &[1, b'H'];
pub(super) const END: &[u8] = &[1, b'E'];
const POKE: &[u8] = &[1, b'?'];
const ANSWER: &[u8] = &[1, b'!'];
pub(super) const KEY: u8 = 0x33;
/// The longest data of a record.
const RECORD: usize = 250;

impl Records {
    pub(super) fn boxed(key: u8) -> Box<dyn Layer> {
        Box::new(Self {
            key,
            is_ready: false,
            is_ended: false,
            begins: false,
        })
    }
}

pub(super) fn sealed(key: u8, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in plain.chunks(RECORD) {
        out.push(piece.len() as u8 + 1);
        out.push(b'D' ^ key);
        out.extend(piece.iter().map(|byte| byte ^ key));
    }
    out
}

impl Layer for Records {
    fn begin(&mut self, own: &mut Vec<u8>) -> Result<(), CloseReason> {
        if self.begins {
            own.extend_from_slice(HELLO);
        }
        Ok(())
    }

    fn receive(&mut self, input: &mut [u8], flow: &mut Flow<'_>) -> Result<Received, CloseReason> {
        let length = input.first().map_or(0, |length| usize::from(*length) + 1);
        let done = |used, progress| {
            Ok(Received {
                used,
                progress,
                work: 1,
            })
        };
        if length == 0 || input.len() < length {
            return done(0, Progress::MoreNeeded);
        }
        let record = &mut input[..length];
        match &*record {
            HELLO => {
                self.is_ready = true;
                flow.own.extend_from_slice(HELLO);
                done(length, Progress::Ready)
            }
            END => {
                self.is_ended = true;
                done(length, Progress::Ended)
            }
            POKE => {
                flow.own.extend_from_slice(ANSWER);
                done(length, Progress::Again)
            }
            [_, kind, ..] if *kind == b'D' ^ self.key && self.is_ready => {
                // In place, as a cipher does it.
                for byte in &mut record[2..] {
                    *byte ^= self.key;
                }
                flow.plain.extend_from_slice(&record[2..]);
                done(length, Progress::Again)
            }
            _ => Err(CloseReason::new(
                Cause::ProtocolError,
                "not a record of this layer",
            )),
        }
    }

    fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), CloseReason> {
        assert!(self.is_ready, "nothing is sent before the handshake");
        wire.extend(sealed(self.key, plain));
        Ok(())
    }

    fn is_ready(&self) -> bool {
        self.is_ready
    }

    fn end(&mut self, wire: &mut Vec<u8>) -> Result<(), CloseReason> {
        wire.extend_from_slice(END);
        Ok(())
    }

    fn input_ended(&mut self) -> Progress {
        if self.is_ended {
            Progress::Ended
        } else {
            Progress::Truncated
        }
    }

    fn memory_bytes(&self) -> usize {
        size_of::<Self>()
    }
}

pub(super) fn lines() -> Options {
    defaults(Framing::Line { ending: b"\n" })
}

fn recorded(script: Script) -> Script {
    script.layered(|_| vec![Records::boxed(KEY)])
}

/// Plain bytes from the peer's records, until `count` are there.
pub(super) fn take(bench: &Bench, peer: &mut Peer, count: usize) -> Vec<u8> {
    let mut plain = Vec::new();
    while plain.len() < count {
        let length = usize::from(peer.take(bench, 1)[0]);
        let record = peer.take(bench, length);
        assert_eq!(record[0], b'D' ^ KEY, "{record:?}");
        plain.extend(record[1..].iter().map(|byte| byte ^ KEY));
    }
    plain
}

fn greet(bench: &Bench, peer: &mut Peer) {
    peer.send(bench, HELLO);
    assert_eq!(peer.take(bench, 2), HELLO);
}

fn a_session_begins_when_its_layers_are_ready(bench: &Bench) {
    let script = recorded(Script::echo()).on_opened(|connection| {
        connection
            .send(Kind::Binary, b"welcome", None)
            .expect("room");
    });
    let place = bench.listen(lines(), script);
    let mut peer = bench.connect(&place);
    bench.until("accepted", || bench.engine.connection_count() == 1);
    bench.settle();
    assert_eq!(bench.host().open(), 0, "no handler runs before");
    // What follows in the same bytes belongs to the session.
    let hello = [HELLO, &sealed(KEY, b"one\ntwo\n")].concat();
    peer.send(bench, &hello);
    assert_eq!(peer.take(bench, 2), HELLO);
    assert_eq!(take(bench, &mut peer, 16), b"welcome\none\ntwo\n");
    let connection = bench.latest();
    assert!(connection.buffer_bytes() < 1000, "idle");
}

fn every_framing_works_above_layers(bench: &Bench) {
    let layers = |_: &Conn| vec![Records::boxed(KEY), Records::boxed(0x55)];
    let place = bench.listen(
        defaults(Framing::WebSocket),
        Script::echo().layered(layers).forgetful(),
    );
    let mut peer = bench.connect(&place);
    greet(bench, &mut peer);
    // The second layer's greeting goes through the first, in both directions.
    peer.send(bench, &sealed(KEY, HELLO));
    assert_eq!(take(bench, &mut peer, 2), HELLO);
    let both = |bytes: &[u8]| sealed(KEY, &sealed(0x55, bytes));
    peer.send(bench, &both(websocket::request("/", "").as_bytes()));
    let mut inner = take(bench, &mut peer, 2 + 100);
    let payload = pattern(70_000);
    peer.send(bench, &both(&websocket::binary(&payload)));
    let mut plain = Vec::new();
    bench.until("an echo", || {
        peer.look();
        let mut rest = &peer.input[..];
        while let Some((length, more)) = rest.split_first() {
            let length = usize::from(*length);
            if more.len() < length {
                break;
            }
            inner.extend(more[1..length].iter().map(|byte| byte ^ KEY));
            rest = &more[length..];
        }
        let used = peer.input.len() - rest.len();
        peer.input.drain(..used);
        let mut rest = &inner[..];
        while let Some((length, more)) = rest.split_first() {
            let length = usize::from(*length);
            if more.len() < length {
                break;
            }
            plain.extend(more[1..length].iter().map(|byte| byte ^ 0x55));
            rest = &more[length..];
        }
        let used = inner.len() - rest.len();
        inner.drain(..used);
        plain.len() > 70_000
    });
    let end = plain.windows(4).position(|it| it == b"\r\n\r\n");
    assert!(plain[end.expect("a head") + 4 + 10..].starts_with(&payload[..1000]));
}

fn a_layer_ends_in_its_own_way_before_the_socket_does(bench: &Bench) {
    let script = recorded(Script::sink()).on_message(|connection, kind, _| {
        connection.send(kind, b"goodbye", None).expect("room");
        connection.close(Code::NORMAL, "");
    });
    let place = bench.listen(lines(), script);
    let mut peer = bench.connect(&place);
    greet(bench, &mut peer);
    peer.send(bench, &sealed(KEY, b"hello\n"));
    assert_eq!(take(bench, &mut peer, 8), b"goodbye\n");
    assert_eq!(peer.take_rest(bench), (END.to_vec(), Ending::Finished));
}

fn the_end_of_a_layer_is_the_end_of_the_stream(bench: &Bench) {
    let place = bench.listen(lines(), recorded(Script::echo()));
    let mut peer = bench.connect(&place);
    greet(bench, &mut peer);
    peer.send(bench, &[&sealed(KEY, b"last\n"), END].concat());
    assert_eq!(take(bench, &mut peer, 5), b"last\n");
    assert_eq!(peer.take_rest(bench), (END.to_vec(), Ending::Finished));
    bench.until_closed(1);
    let reason = &bench.host().reasons()[0];
    assert_eq!((reason.side, reason.manner), (Side::Remote, Manner::Closed));
}

fn a_stream_that_is_cut_beneath_a_layer_is_broken(bench: &Bench) {
    let place = bench.listen(lines(), recorded(Script::echo()));
    let mut peer = bench.connect(&place);
    greet(bench, &mut peer);
    peer.send(bench, &sealed(KEY, b"one\n"));
    assert_eq!(take(bench, &mut peer, 4), b"one\n");
    peer.finish();
    bench.until_closed(1);
    let reason = &bench.host().reasons()[0];
    assert_eq!(reason.cause, Cause::PeerVanished, "{reason}");
}

fn a_layer_is_pushed_while_the_connection_lives(bench: &Bench) {
    let script = Script::echo().on_message(|connection, kind, message| {
        if message == b"STARTTLS" {
            connection.send(kind, b"OK", None).expect("room");
            connection.push_layer(Records::boxed(KEY));
        } else {
            connection.send(kind, message, None).expect("room");
        }
    });
    let place = bench.listen(lines(), script);
    let mut peer = bench.connect(&place);
    peer.send(bench, b"plain\n");
    assert_eq!(peer.take(bench, 6), b"plain\n");
    // What comes right behind the request goes through the new layer, and the answer to the request
    // does not.
    let rest = [b"STARTTLS\n", HELLO, &sealed(KEY, b"secret\n")].concat();
    peer.send(bench, &rest);
    assert_eq!(peer.take(bench, 3), b"OK\n");
    assert_eq!(peer.take(bench, 2), HELLO);
    assert_eq!(take(bench, &mut peer, 7), b"secret\n");
    // Plain bytes are not a record: they cannot be smuggled in.
    peer.send(bench, b"\x06plain\n");
    bench.until_closed(1);
    assert_eq!(bench.host().messages().len(), 3);
}

/// Answers STARTTLS in plain, and starts a layer then.
fn starting() -> Script {
    Script::echo()
        .on_message(|connection, kind, message| {
            if message == b"STARTTLS" {
                connection.send(kind, b"OK", None).expect("room");
                connection.start_layer(Records::boxed(KEY), false);
                connection.send(kind, b"behind", None).expect("room");
            } else {
                connection.send(kind, message, None).expect("room");
            }
        })
        .on_secured(|connection| {
            connection
                .send(Kind::Binary, b"secured", None)
                .expect("room");
        })
}

fn a_layer_is_started_while_the_connection_lives(bench: &Bench) {
    let place = bench.listen(lines(), starting());
    let mut peer = bench.connect(&place);
    peer.send(bench, b"plain\nSTARTTLS\n");
    assert_eq!(peer.take(bench, 9), b"plain\nOK\n");
    bench.settle();
    assert!(peer.is_quiet());
    peer.send(bench, HELLO);
    assert_eq!(peer.take(bench, 2), HELLO);
    assert_eq!(take(bench, &mut peer, 15), b"behind\nsecured\n");
    peer.send(bench, &sealed(KEY, b"secret\nmore\n"));
    assert_eq!(take(bench, &mut peer, 12), b"secret\nmore\n");
    assert_eq!(bench.host().messages().len(), 4);
    // It lasts: the deadline of the handshake is over.
    peer.send(bench, b"\x06plain\n");
    bench.until_closed(1);
    assert_eq!(bench.host().messages().len(), 4);
}

fn plain_bytes_behind_the_message_that_starts_a_layer_end_the_connection(bench: &Bench) {
    // A whole line, a part of one, and what would be a handshake: none of it was protected.
    for rest in [&b"DELETE\n"[..], b"D", HELLO] {
        let place = bench.listen(lines(), starting());
        let mut peer = bench.connect(&place);
        let before = bench.host().reasons().len();
        let messages = bench.host().messages().len();
        peer.send(bench, &[b"STARTTLS\n", rest].concat());
        bench.until_closed(before + 1);
        let reason = &bench.host().reasons()[before];
        assert_eq!(reason.cause, Cause::ProtocolError, "{reason}");
        assert_eq!(bench.host().messages().len(), messages + 1);
    }
}

fn unhandled_messages_when_a_layer_is_started_end_the_connection(bench: &Bench) {
    for line in [&b"whole\n"[..], b"whole\npart"] {
        let place = bench.listen(lines(), Script::sink());
        let mut peer = bench.connect(&place);
        let before = bench.host().reasons().len();
        let messages = bench.host().messages().len();
        peer.send(bench, line);
        bench.until("the line", || bench.host().messages().len() > messages);
        bench.settle();
        let has_unhandled = line == b"whole\n";
        bench
            .latest()
            .start_layer(Records::boxed(KEY), has_unhandled);
        bench.until_closed(before + 1);
        let reason = &bench.host().reasons()[before];
        assert_eq!(reason.cause, Cause::ProtocolError, "{reason}");
        assert_eq!(place.counters().protocol_errors.get(), 1);
    }
}

fn the_handshake_of_a_layer_that_was_started_has_a_deadline(bench: &Bench) {
    let mut options = lines();
    options.deadlines.handshake = Some(100);
    let place = bench.listen(options, starting());
    let mut peer = bench.connect(&place);
    peer.send(bench, b"STARTTLS\n");
    bench.until_closed(1);
    let reason = &bench.host().reasons()[0];
    assert_eq!(
        reason.cause,
        Cause::Limit(Limit::HandshakeSeconds),
        "{reason}"
    );
}

fn what_a_layer_makes_waits_while_the_connection_is_held_back(bench: &Bench) {
    let script = recorded(Script::sink()).on_message(|connection, _, _| connection.pause(1));
    let place = bench.listen(lines(), script);
    let mut peer = bench.connect(&place);
    greet(bench, &mut peer);
    let connection = bench.latest();
    peer.send(bench, &sealed(KEY, b"one\ntwo\nthree\n"));
    for count in 1..=3 {
        bench.until("a line", || bench.host().messages().len() == count);
        bench.settle();
        assert_eq!(bench.host().messages().len(), count);
        connection.resume(1);
    }
}

fn a_layer_that_fails_ends_its_connection(bench: &Bench) {
    let place = bench.listen(lines(), recorded(Script::echo()));
    let mut peer = bench.connect(&place);
    greet(bench, &mut peer);
    peer.send(bench, b"\x05false");
    bench.until_closed(1);
    let reason = &bench.host().reasons()[0];
    assert_eq!(reason.cause, Cause::ProtocolError, "{reason}");
    assert_eq!(reason.text, "not a record of this layer");
}

/// Fails at the first bytes, with an alert, as TLS does.
#[derive(Default)]
pub(super) struct Refusing {
    has_alerted: bool,
}

impl Layer for Refusing {
    fn receive(&mut self, input: &mut [u8], flow: &mut Flow<'_>) -> Result<Received, CloseReason> {
        if self.has_alerted {
            return Err(CloseReason::new(Cause::TlsFailed, "refused"));
        }
        self.has_alerted = !input.is_empty();
        if self.has_alerted {
            flow.own.extend_from_slice(b"alert");
        }
        Ok(Received {
            used: input.len(),
            progress: Progress::Again,
            work: 0,
        })
    }

    fn send(&mut self, _: &[u8], _: &mut Vec<u8>) -> Result<(), CloseReason> {
        Err(CloseReason::new(Cause::TlsFailed, "nothing is sent"))
    }

    fn is_ready(&self) -> bool {
        false
    }

    fn memory_bytes(&self) -> usize {
        size_of::<Self>()
    }
}

fn what_a_failed_handshake_has_to_say_is_sent_first(bench: &Bench) {
    let script = Script::echo().layered(|_| vec![Box::<Refusing>::default()]);
    let place = bench.listen(lines(), script);
    let mut peer = bench.connect(&place);
    peer.send(bench, b"hello\n");
    assert_eq!(peer.take_rest(bench), (b"alert".to_vec(), Ending::Finished));
    assert!(bench.host().messages().is_empty());
}

fn own_bytes_for_a_peer_that_does_not_read_are_bounded(bench: &Bench) {
    let mut options = lines();
    options.limits.write_high_bytes = 4096;
    let place = bench.listen(options, recorded(Script::echo()));
    let mut peer = bench.connect(&place);
    greet(bench, &mut peer);
    let connection = bench.latest();
    peer.stall(true);
    let (pokes, most) = (POKE.repeat(10_000), Rc::new(Cell::new(0)));
    for _ in 0..200 {
        let _ = peer.write(&pokes);
        bench.turn();
        most.set(most.get().max(connection.buffer_bytes()));
    }
    assert!(most.get() < 1 << 20, "{} bytes", most.get());
    connection.abort();
}
