//! Filters beneath the framing: bytes changed, swallowed and added in both directions.

use crate::kit::defaults;
use crate::kit::{Bench, Conn, Ending, Peer, Place, Script, pattern, websocket};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use vespiary_engine::wire::websocket::close::Code;
use vespiary_engine::{Filtered, Framing, Kind, Manner, Publish, Side};

on_every_driver_and_with_faults!(
    every_framing_works_above_a_filter,
    a_filter_sees_each_byte_once_while_its_connection_is_held_back,
    a_filter_may_add_bytes_to_what_it_passes_on,
    what_a_filter_swallows_waits_for_nobody,
    a_filter_that_fails_resets_its_connection,
    a_filter_may_close_and_abort_its_connection,
    traffic_is_counted_as_it_is_on_the_wire,
    what_may_not_be_sent_yet_waits_in_the_write_queue,
    a_filter_may_take_its_time_in_both_directions,
    a_filter_that_fails_later_resets_its_connection,
    a_peer_is_held_back_while_a_filter_takes_its_time,
);

const KEY: u8 = 0x5A;

fn disguised(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| byte ^ KEY).collect()
}

fn filtered(bench: &Bench, framing: Framing, script: Script) -> Place {
    let mut options = defaults(framing);
    options.filtered = true;
    bench.listen(options, script)
}

/// Everything on the wire is disguised.
fn disguising(script: Script) -> Script {
    script
        .filtering_received(|_, bytes| Some(disguised(bytes)))
        .filtering_sent(|_, bytes| Some(disguised(bytes)))
}

fn lines() -> Framing {
    Framing::Line { ending: b"\n" }
}

fn ask(bench: &Bench, peer: &mut Peer, question: &[u8], length: usize) -> Vec<u8> {
    peer.send(bench, &disguised(question));
    disguised(&peer.take(bench, length))
}

fn every_framing_works_above_a_filter(bench: &Bench) {
    let place = filtered(bench, lines(), disguising(Script::echo()));
    let mut peer = bench.connect(&place);
    assert_eq!(ask(bench, &mut peer, b"one\ntwo\n", 8), b"one\ntwo\n");
    peer.finish();
    assert_eq!(peer.take_rest(bench), (vec![], Ending::Finished));
    let place = filtered(bench, Framing::WebSocket, disguising(Script::echo()));
    let mut peer = bench.connect(&place);
    peer.send(bench, &disguised(websocket::request("/", "").as_bytes()));
    let head = disguised(&peer.take_until(bench, &disguised(b"\r\n\r\n")));
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    let payload = pattern(70_000);
    peer.send(bench, &disguised(&websocket::binary(&payload)));
    let mut frame = disguised(&peer.take(bench, payload.len() + 10));
    assert!(websocket::parse(&mut frame).expect("a frame").payload == payload);
}

fn a_filter_sees_each_byte_once_while_its_connection_is_held_back(bench: &Bench) {
    let seen = Rc::new(Cell::new(0));
    let counted = seen.clone();
    let script = Script::sink()
        .on_message(|connection, _, _| connection.pause(1))
        .filtering_received(move |_, bytes| {
            counted.set(counted.get() + bytes.len());
            Some(bytes.to_vec())
        });
    let place = filtered(bench, lines(), script);
    let mut peer = bench.connect_open(&place);
    let connection = bench.latest();
    peer.send(bench, b"one\ntwo\nthree\n");
    for count in 1..=3 {
        bench.until("a line", || bench.host().messages().len() == count);
        bench.settle();
        assert_eq!(bench.host().messages().len(), count);
        connection.resume(1);
    }
    assert_eq!(seen.get(), 14);
}

fn a_filter_may_add_bytes_to_what_it_passes_on(bench: &Bench) {
    let script = Script::echo()
        .filtering_received(|_, bytes| {
            let added = if bytes.ends_with(b"\n") {
                &b"and more\n"[..]
            } else {
                b""
            };
            Some([bytes, added].concat())
        })
        .filtering_sent(|_, bytes| Some([b"[", bytes, b"]"].concat()));
    let place = filtered(bench, lines(), script);
    let mut peer = bench.connect_open(&place);
    peer.send(bench, b"x\n");
    let answer = peer.take_until(bench, b"]");
    assert_eq!(answer[0], b'[');
    bench.until("what was added", || bench.host().messages().len() >= 2);
    assert_eq!(bench.host().messages()[..2], [&b"x"[..], b"and more"]);
}

fn what_a_filter_swallows_waits_for_nobody(bench: &Bench) {
    let script = Script::sink()
        .on_message(|connection, _, _| {
            let message: std::sync::Arc<[u8]> = vec![b'x'; 5_000].into();
            connection.subscribe("news").expect("it is open");
            for _ in 0..300 {
                let _ = connection
                    .engine()
                    .publish("news", Kind::Binary, &message, Publish::default())
                    .expect("memory");
            }
            connection.close(Code::NORMAL, "");
        })
        .filtering_sent(|_, _| Some(Vec::new()));
    let place = filtered(bench, lines(), script);
    let mut peer = bench.connect(&place);
    peer.send(bench, b"go\n");
    let start = bench.engine.now_ms();
    assert_eq!(peer.take_rest(bench), (vec![], Ending::Finished));
    peer.finish();
    bench.until_closed(1);
    assert!(
        bench.engine.now_ms() - start < 2_000,
        "it waited for the close deadline"
    );
    assert_eq!(bench.host().reasons()[0].manner, Manner::Closed);
}

fn a_filter_that_fails_resets_its_connection(bench: &Bench) {
    let failing = [
        Script::echo().filtering_received(|_, _| None),
        Script::echo().filtering_sent(|_, _| None),
    ];
    for (number, script) in failing.into_iter().enumerate() {
        let place = filtered(bench, lines(), script);
        let mut peer = bench.connect(&place);
        peer.send(bench, b"hello\n");
        assert_eq!(peer.take_rest(bench), (vec![], Ending::Reset));
        bench.until_closed(number + 1);
        let reason = &bench.host().reasons()[number];
        assert_eq!((reason.side, reason.manner), (Side::Local, Manner::Broken));
    }
}

fn a_filter_may_close_and_abort_its_connection(bench: &Bench) {
    for is_abort in [true, false] {
        for is_sent in [true, false] {
            let filter = move |connection: &crate::kit::Conn, bytes: &[u8]| {
                if is_abort {
                    connection.abort();
                } else {
                    connection.close(Code::NORMAL, "");
                }
                Some(bytes.to_vec())
            };
            let script = if is_sent {
                Script::echo().filtering_sent(filter)
            } else {
                Script::echo().filtering_received(filter)
            };
            let place = filtered(bench, lines(), script);
            let mut peer = bench.connect(&place);
            peer.send(bench, b"hello\n");
            let ending = peer.take_rest(bench).1;
            assert_eq!(ending == Ending::Reset, is_abort);
            peer.finish();
            bench.until("the end", || bench.engine.connection_count() == 0);
        }
    }
}

fn traffic_is_counted_as_it_is_on_the_wire(bench: &Bench) {
    let script = Script::echo()
        .filtering_received(|_, bytes| {
            Some(bytes.iter().copied().filter(|it| *it != b'-').collect())
        })
        .filtering_sent(|_, bytes| Some(bytes.repeat(2)));
    let place = filtered(bench, lines(), script);
    let mut peer = bench.connect_open(&place);
    peer.send(bench, b"-h-e-l-l-o\n");
    assert_eq!(peer.take(bench, 12), b"hello\nhello\n");
    bench.until("the completion", || bench.latest().queued_bytes() == 0);
    assert_eq!(place.counters().bytes_in.get(), 11);
    assert_eq!(place.counters().bytes_out.get(), 12);
}

fn what_may_not_be_sent_yet_waits_in_the_write_queue(bench: &Bench) {
    let place = filtered(bench, Framing::Raw, disguising(Script::sink()));
    let mut peer = bench.connect_open(&place);
    let connection = bench.latest();
    connection.limit_sending(Some(5));
    for piece in [&b"one two"[..], b" three"] {
        assert_eq!(connection.send(Kind::Binary, piece, None), Ok(true));
    }
    assert_eq!(disguised(&peer.take(bench, 5)), b"one t");
    bench.settle();
    assert!(peer.is_quiet());
    assert_eq!(connection.queued_bytes(), 8);
    connection.limit_sending(Some(3));
    assert_eq!(disguised(&peer.take(bench, 3)), b"wo ");
    connection.close(Code::NORMAL, "");
    bench.settle();
    assert!(peer.is_quiet());
    connection.limit_sending(None);
    assert_eq!(disguised(&peer.take(bench, 5)), b"three");
    peer.finish();
    assert_eq!(peer.take_rest(bench), (vec![], Ending::Finished));
}

/// Bytes of a connection that wait, and whether they are to be sent.
type PutOff = (bool, Conn, Vec<u8>);

/// What filters have put off.
#[derive(Clone, Default)]
struct Later(Rc<RefCell<VecDeque<PutOff>>>);

impl Later {
    fn filtering(&self, script: Script) -> Script {
        let put_off = |is_sent| {
            let later = self.0.clone();
            move |connection: &Conn, bytes: &[u8]| {
                let kept = (is_sent, connection.clone(), bytes.to_vec());
                later.borrow_mut().push_back(kept);
                Filtered::Later
            }
        };
        script
            .filtering_received(put_off(false))
            .filtering_sent(put_off(true))
    }

    fn count(&self) -> usize {
        self.0.borrow().len()
    }

    /// Finish with the oldest, if there is one.
    fn finish_one(&self, with: impl Fn(&[u8]) -> Option<Vec<u8>>) {
        let Some((is_sent, connection, bytes)) = self.0.borrow_mut().pop_front() else {
            return;
        };
        if is_sent {
            connection.filtered_sent(with(&bytes));
        } else {
            connection.filtered_received(with(&bytes));
        }
    }
}

fn a_filter_may_take_its_time_in_both_directions(bench: &Bench) {
    let later = Later::default();
    let place = filtered(bench, lines(), later.filtering(Script::echo()));
    let mut peer = bench.connect(&place);
    peer.send(bench, &disguised(b"one\n"));
    bench.until("the filter", || later.count() == 1);
    // What comes behind waits, and so does the end.
    peer.send(bench, &disguised(b"two\nthree\n"));
    peer.finish();
    bench.settle();
    assert_eq!(later.count(), 1);
    assert!(bench.host().messages().is_empty());
    bench.until("the end", || {
        later.finish_one(|bytes| Some(disguised(bytes)));
        later.count() == 0 && bench.host().reasons().len() == 1
    });
    let echoed = disguised(b"one\ntwo\nthree\n");
    assert_eq!(peer.take_rest(bench), (echoed, Ending::Finished));
    assert_eq!(bench.host().messages(), [&b"one"[..], b"two", b"three"]);
    assert_eq!(bench.host().reasons()[0].manner, Manner::Closed);
}

fn a_filter_that_fails_later_resets_its_connection(bench: &Bench) {
    for fails_at in 1..=2 {
        let later = Later::default();
        let place = filtered(bench, lines(), later.filtering(Script::echo()));
        let mut peer = bench.connect(&place);
        peer.send(bench, b"one\n");
        for number in 1..=fails_at {
            bench.until("the filter", || later.count() == 1);
            later.finish_one(|bytes| (number < fails_at).then(|| bytes.to_vec()));
        }
        assert_eq!(peer.take_rest(bench).1, Ending::Reset);
        bench.until_closed(fails_at);
        let reason = &bench.host().reasons()[fails_at - 1];
        assert_eq!((reason.side, reason.manner), (Side::Local, Manner::Broken));
    }
}

fn a_peer_is_held_back_while_a_filter_takes_its_time(bench: &Bench) {
    let later = Later::default();
    let received = Rc::new(RefCell::new(Vec::new()));
    let sink = received.clone();
    let script = Script::sink()
        .forgetful()
        .on_message(move |_, _, bytes| sink.borrow_mut().extend_from_slice(bytes));
    let place = filtered(bench, Framing::Raw, later.filtering(script));
    let mut peer = bench.connect(&place);
    let sent = pattern(16 << 20);
    let mut rest = &sent[..];
    while let Some(written) = peer.write(rest)
        && written > 0
    {
        rest = &rest[written..];
        bench.settle();
    }
    assert!(!rest.is_empty(), "nothing held the peer back");
    let taken = place.counters().bytes_in.get();
    assert!(taken < 1 << 20, "{taken} bytes were taken");
    let written = sent.len() - rest.len();
    bench.until("everything", || {
        later.finish_one(|bytes| Some(bytes.to_vec()));
        received.borrow().len() == written
    });
    assert!(received.borrow()[..] == sent[..written]);
}
