//! How connections end: cleanly from either side, cut, aborted, and from inside every
//! callback.

use crate::kit::defaults;
use crate::kit::{Bench, Conn, Ending, Script, Told, websocket};
use std::rc::Rc;
use vespiary_engine::port::Address;
use vespiary_engine::port::Errno;
use vespiary_engine::wire::websocket::close::Code;
use vespiary_engine::wire::websocket::frame::Opcode;
use vespiary_engine::{
    AfterEnd, Cause, ClientHandshake, Framing, Kind, Limit, Manner, Options, SendError, Side, State,
};
use vespiary_trace::claims;

on_every_driver_and_with_faults!(
    a_peers_close_is_answered_with_its_code_and_the_server_ends_the_connection,
    a_close_frame_without_a_code_is_answered_without_one,
    a_servers_close_carries_its_code_and_reason_and_awaits_the_answer,
    closes_that_cross_end_cleanly,
    messages_behind_a_close_frame_are_ignored,
    messages_that_arrive_after_our_close_are_not_delivered,
    what_was_sent_before_close_arrives_before_the_end,
    a_connection_cut_without_a_close_frame_is_broken_with_1006,
    a_peer_that_finishes_a_stream_gets_everything_and_then_the_end,
    a_kept_half_open_stream_can_still_be_written_to,
    a_stream_that_ends_within_a_message_is_broken,
    an_abort_drops_what_waits_and_resets,
    a_reset_by_the_peer_closes_the_connection_once,
    closing_from_inside_any_callback_is_safe,
    aborting_from_inside_any_callback_is_safe,
    failing_from_inside_any_callback_is_safe,
    a_failing_handler_closes_with_1011,
    frames_behind_a_failure_are_not_answered,
    what_is_asked_of_a_closed_connection_is_refused,
);

on_every_driver!(a_peer_that_does_not_answer_a_close_is_left_after_the_close_deadline,);

fn websockets() -> Options {
    defaults(Framing::WebSocket)
}

fn lines() -> Options {
    defaults(Framing::Line { ending: b"\n" })
}

fn a_peers_close_is_answered_with_its_code_and_the_server_ends_the_connection(bench: &Bench) {
    if bench.is_simulated() {
        claims!(
            "rfc6455/5.5.1/1",
            "rfc6455/5.5.1/6",
            "rfc6455/5.5.1/7",
            "rfc6455/5.5.1/9",
            "rfc6455/5.5.1/10",
            "rfc6455/5.5.1/h2",
            "rfc6455/7.1.2/2",
            "rfc6455/7.1.4/h1",
            "rfc6455/7.1.5/h1",
            "rfc6455/7.1.6/h1"
        );
    }
    let mut options = websockets();
    // The server's end is due at once, without a deadline that asks for it.
    options.deadlines.close = None;
    let place = bench.listen(options, Script::echo());
    let mut peer = websocket::open(bench, &place);
    peer.send(bench, &websocket::close(1001, "enough"));
    let answer = peer.frame(bench);
    assert_eq!((answer.code(), answer.reason()), (Some(1001), ""));
    assert_eq!(peer.take_rest(bench), (vec![], Ending::Finished));
    peer.finish();
    bench.until_closed(1);
    let reason = &bench.host().reasons()[0];
    assert_eq!((reason.side, reason.manner), (Side::Remote, Manner::Closed));
    assert_eq!((reason.code, &reason.text[..]), (Some(1001), "enough"));
    assert_eq!(place.counters().closed.get(), 1);
    assert_eq!(place.counters().broken.get(), 0);
    assert_eq!(bench.host().limits_reached(Limit::CloseSeconds), 0);
}

fn a_close_frame_without_a_code_is_answered_without_one(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc6455/7.1.5/h2");
    }
    let place = bench.listen(websockets(), Script::echo());
    let mut peer = websocket::open(bench, &place);
    peer.send(bench, &websocket::masked(true, Opcode::Close, b""));
    assert_eq!(peer.frame(bench).payload, b"");
    assert_eq!(peer.take_rest(bench), (vec![], Ending::Finished));
    peer.finish();
    bench.until_closed(1);
    assert_eq!(bench.host().reasons()[0].code, Some(1005));
}

/// Says goodbye at the first message.
fn goodbye() -> Script {
    Script::sink().on_message(|connection, _, _| connection.close(Code(4001), "go home"))
}

fn a_servers_close_carries_its_code_and_reason_and_awaits_the_answer(bench: &Bench) {
    if bench.is_simulated() {
        claims!(
            "rfc6455/5.5.1/1",
            "rfc6455/5.5.1/3",
            "rfc6455/7.1.2/1",
            "rfc6455/7.3/1",
            "rfc6455/7.4/1",
            "rfc6455/7.4.2/h3"
        );
    }
    let place = bench.listen(websockets(), goodbye());
    let mut peer = websocket::open(bench, &place);
    peer.send(bench, &websocket::text("hello"));
    let close = peer.frame(bench);
    assert_eq!((close.code(), close.reason()), (Some(4001), "go home"));
    bench.settle();
    assert!(peer.is_quiet(), "the server waits for the answer");
    assert_eq!(bench.host().open(), 1);
    peer.send(bench, &websocket::close(4001, ""));
    assert_eq!(peer.take_rest(bench), (vec![], Ending::Finished));
    peer.finish();
    bench.until_closed(1);
    let reason = &bench.host().reasons()[0];
    assert_eq!((reason.side, reason.manner), (Side::Local, Manner::Closed));
    assert_eq!((reason.code, &reason.text[..]), (Some(4001), "go home"));
}

fn closes_that_cross_end_cleanly(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc6455/5.5.1/h3");
    }
    let place = bench.listen(websockets(), goodbye());
    let mut peer = websocket::open(bench, &place);
    let mut sent = websocket::text("hello");
    sent.extend(websocket::close(1000, "me too"));
    peer.send(bench, &sent);
    assert_eq!(peer.frame(bench).code(), Some(4001));
    assert_eq!(peer.take_rest(bench), (vec![], Ending::Finished));
    peer.finish();
    bench.until_closed(1);
    assert_eq!(bench.host().reasons()[0].manner, Manner::Closed);
    assert_eq!(bench.host().limits_reached(Limit::CloseSeconds), 0);
}

fn messages_behind_a_close_frame_are_ignored(bench: &Bench) {
    let place = bench.listen(websockets(), Script::echo());
    let mut peer = websocket::open(bench, &place);
    let mut sent = websocket::close(1000, "");
    sent.extend(websocket::text("late"));
    sent.extend_from_slice(b"\xff\xff not even a frame");
    peer.send(bench, &sent);
    assert_eq!(peer.frame(bench).code(), Some(1000));
    assert_eq!(peer.take_rest(bench), (vec![], Ending::Finished));
    peer.finish();
    bench.until_closed(1);
    assert_eq!(bench.host().messages().len(), 0);
    assert_eq!(place.counters().protocol_errors.get(), 0);
}

fn messages_that_arrive_after_our_close_are_not_delivered(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc6455/7.1.3/h1");
    }
    let place = bench.listen(websockets(), goodbye());
    let mut peer = websocket::open(bench, &place);
    peer.send(bench, &websocket::text("first"));
    assert_eq!(peer.frame(bench).code(), Some(4001));
    peer.send(bench, &websocket::text("second"));
    peer.send(bench, &websocket::close(4001, ""));
    peer.take_rest(bench);
    peer.finish();
    bench.until_closed(1);
    assert_eq!(bench.host().messages(), [b"first"]);
}

fn what_was_sent_before_close_arrives_before_the_end(bench: &Bench) {
    let script = Script::sink().on_message(|connection, kind, payload| {
        for _ in 0..100 {
            connection.send(kind, payload, None).expect("room");
        }
        connection.close(Code::NORMAL, "");
    });
    let place = bench.listen(lines(), script);
    let mut peer = bench.connect(&place);
    peer.send(bench, &[&[b'x'; 10_000][..], b"\n"].concat());
    assert_eq!(peer.take(bench, 1_000_100).len(), 1_000_100);
    assert_eq!(peer.take_rest(bench), (vec![], Ending::Finished));
    peer.finish();
    bench.until_closed(1);
}

fn a_connection_cut_without_a_close_frame_is_broken_with_1006(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc6455/7.1.5/h3", "rfc6455/7.2.1/2");
    }
    let place = bench.listen(websockets(), Script::echo());
    let mut peer = websocket::open(bench, &place);
    peer.finish();
    bench.until_closed(1);
    let reason = &bench.host().reasons()[0];
    assert_eq!((reason.side, reason.manner), (Side::Remote, Manner::Broken));
    assert_eq!(reason.code, Some(1006));
    assert_eq!(place.counters().broken.get(), 1);
}

fn a_peer_that_finishes_a_stream_gets_everything_and_then_the_end(bench: &Bench) {
    let place = bench.listen(lines(), Script::echo());
    let mut peer = bench.connect(&place);
    peer.send(bench, b"one\ntwo\n");
    peer.finish();
    assert_eq!(
        peer.take_rest(bench),
        (b"one\ntwo\n".to_vec(), Ending::Finished)
    );
    bench.until_closed(1);
    let reason = &bench.host().reasons()[0];
    assert_eq!((reason.side, reason.manner), (Side::Remote, Manner::Closed));
}

fn a_kept_half_open_stream_can_still_be_written_to(bench: &Bench) {
    let script = Script::sink().on_ended(|_| AfterEnd::Keep);
    let place = bench.listen(lines(), script);
    let mut peer = bench.connect(&place);
    peer.send(bench, b"question\n");
    peer.finish();
    bench.until("the end of the question", || {
        bench.host().count(|told| matches!(told, Told::Ended(_))) == 1
    });
    let connection = bench.latest();
    connection
        .send(Kind::Binary, b"answer", None)
        .expect("room");
    assert_eq!(peer.take(bench, 7), b"answer\n");
    assert!(peer.is_quiet());
    connection.close(Code::NORMAL, "");
    drop(connection);
    assert_eq!(peer.take_rest(bench), (vec![], Ending::Finished));
    bench.until_closed(1);
    assert_eq!(bench.host().reasons()[0].side, Side::Local);
}

fn a_stream_that_ends_within_a_message_is_broken(bench: &Bench) {
    let place = bench.listen(lines(), Script::echo());
    let mut peer = bench.connect(&place);
    peer.send(bench, b"whole\nhal");
    peer.finish();
    assert_eq!(
        peer.take_rest(bench),
        (b"whole\n".to_vec(), Ending::Finished)
    );
    bench.until_closed(1);
    let reason = &bench.host().reasons()[0];
    assert_eq!((reason.side, reason.manner), (Side::Remote, Manner::Broken));
    assert_eq!(bench.host().messages(), [b"whole"]);
}

fn an_abort_drops_what_waits_and_resets(bench: &Bench) {
    let script = Script::sink().on_message(|connection, kind, payload| {
        connection.send(kind, payload, None).expect("room");
        connection.abort();
    });
    let place = bench.listen(lines(), script);
    let mut peer = bench.connect(&place);
    peer.send(bench, b"hello\nagain\n");
    assert_eq!(peer.take_rest(bench), (vec![], Ending::Reset));
    bench.until_closed(1);
    assert_eq!(bench.host().reasons()[0].side, Side::Local);
    assert_eq!(
        bench.host().messages(),
        [b"hello"],
        "nothing is delivered after an abort"
    );
}

fn a_reset_by_the_peer_closes_the_connection_once(bench: &Bench) {
    let place = bench.listen(lines(), Script::echo());
    let peer = bench.connect_open(&place);
    peer.reset();
    bench.until_closed(1);
    let reason = &bench.host().reasons()[0];
    assert_eq!((reason.side, reason.manner), (Side::Remote, Manner::Broken));
    assert_eq!(reason.errno(), Some(Errno(104)), "ECONNRESET");
    bench.settle();
    assert_eq!(bench.host().reasons().len(), 1);
}

/// Each callback by name, and a script that does `act` in it.
fn scripts(act: fn(&Conn)) -> Vec<(&'static str, Script)> {
    let request = Script::echo().on_request(move |connection, _| {
        act(connection);
        crate::kit::host::accept()
    });
    let message = Script::echo().on_message(move |connection, kind, payload| {
        let _ = connection.send(kind, payload, None);
        act(connection);
    });
    let ended = Script::echo().on_ended(move |connection| {
        act(connection);
        AfterEnd::Keep
    });
    let drained = Script::sink()
        .on_drained(act)
        .on_message(|connection, kind, _| {
            connection
                .send(kind, &vec![b'x'; 100_000], None)
                .expect("room");
        });
    let part = Script::echo().on_part(move |connection, _, _, _| act(connection));
    vec![
        ("request", request),
        ("opened", Script::echo().on_opened(act)),
        ("message", message),
        ("part", part),
        ("drained", drained),
        ("ended", ended),
        ("closed", Script::echo().on_closed(act)),
        ("refused", Script::echo().on_refused(act)),
    ]
}

/// Lead a connection of each framing through every callback, in one of which `act` is done;
/// whatever happens, it ends, and another connection is served.
fn act_inside_any_callback(bench: &Bench, act: fn(&Conn)) {
    for (name, script) in scripts(act) {
        let mut options = if name == "ended" {
            lines()
        } else {
            websockets()
        };
        options.parts = name == "part";
        options.deadlines.close = Some(50);
        let place = bench.listen(options, script);
        let mut peer = bench.connect(&place);
        if name == "ended" {
            peer.write(b"hello\n");
            peer.finish();
        } else {
            peer.write(websocket::request("/", "").as_bytes());
            peer.write(&websocket::text("hello"));
        }
        if name == "refused" {
            refused_client(bench, &place.listener.endpoint);
        }
        for _ in 0..100 {
            peer.look();
            bench.turn();
        }
        peer.finish();
        drop(peer);
        bench.until(name, || bench.engine.connection_count() == 0);
        place.listener.close();
    }
}

fn refused_client(bench: &Bench, endpoint: &Rc<vespiary_engine::Endpoint<crate::kit::TestHost>>) {
    let handshake = ClientHandshake {
        host: "test".to_owned(),
        target: "/".to_owned(),
        protocols: vec![],
        headers: vec![],
    };
    let nobody = Address::Inet(([127, 0, 0, 1], 1).into());
    bench
        .engine
        .connect(&nobody, None, endpoint.clone(), Some(handshake))
        .expect("a socket");
}

fn closing_from_inside_any_callback_is_safe(bench: &Bench) {
    act_inside_any_callback(bench, |connection| connection.close(Code::NORMAL, "inside"));
}

fn aborting_from_inside_any_callback_is_safe(bench: &Bench) {
    act_inside_any_callback(bench, Conn::abort_it);
}

fn failing_from_inside_any_callback_is_safe(bench: &Bench) {
    act_inside_any_callback(bench, Conn::fail_it);
}

/// Methods that take an `Rc`, as functions to be named.
trait EndIt {
    fn abort_it(&self);
    fn fail_it(&self);
}

impl EndIt for Conn {
    fn abort_it(&self) {
        self.abort();
    }

    fn fail_it(&self) {
        self.fail_in_handler();
    }
}

fn a_failing_handler_closes_with_1011(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc6455/7.4.1/h6");
    }
    let script = || Script::sink().on_message(|connection, _, _| connection.fail_in_handler());
    let place = bench.listen(websockets(), script());
    let mut peer = websocket::open(bench, &place);
    peer.send(bench, &websocket::text("hello"));
    assert_eq!(peer.frame(bench).code(), Some(1011));
    assert_eq!(peer.take_rest(bench), (vec![], Ending::Finished));
    peer.finish();
    let place = bench.listen(lines(), script());
    let mut peer = bench.connect(&place);
    peer.send(bench, b"hello\n");
    assert_eq!(peer.take_rest(bench), (vec![], Ending::Reset));
    bench.until_closed(2);
    for reason in bench.host().reasons() {
        assert_eq!((reason.side, reason.manner), (Side::Local, Manner::Broken));
    }
}

fn frames_behind_a_failure_are_not_answered(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc6455/7.1.7/5");
    }
    let script = Script::sink().on_message(|connection, _, _| connection.fail_in_handler());
    let place = bench.listen(websockets(), script);
    let mut peer = websocket::open(bench, &place);
    let mut sent = websocket::text("hello");
    sent.extend(websocket::masked(true, Opcode::Ping, b"late"));
    sent.extend_from_slice(b"\xff\xff not even a frame");
    peer.send(bench, &sent);
    assert_eq!(peer.frame(bench).code(), Some(1011));
    assert_eq!(peer.take_rest(bench), (vec![], Ending::Finished));
    peer.finish();
    bench.until_closed(1);
    assert_eq!(place.counters().protocol_errors.get(), 0);
}

fn what_is_asked_of_a_closed_connection_is_refused(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc6455/5.5.1/5", "rfc6455/6.1/2", "rfc6455/6.1/3");
    }
    let place = bench.listen(websockets(), Script::echo());
    let mut peer = websocket::open(bench, &place);
    let connection = bench.latest();
    connection.close(Code::NORMAL, "");
    assert_eq!(connection.state(), State::Closing);
    assert_eq!(
        connection.send(Kind::Text, b"x", None),
        Err(SendError::Closed)
    );
    assert_eq!(
        connection.send_part(Kind::Text, b"x", true, None),
        Err(SendError::Closed)
    );
    assert_eq!(connection.ping(b""), Err(SendError::Closed));
    assert_eq!(connection.subscribe("topic"), Err(SendError::Closed));
    peer.send(bench, &websocket::close(1000, ""));
    peer.take_rest(bench);
    peer.finish();
    bench.until_closed(1);
    connection.close(Code::NORMAL, "again");
    connection.abort();
    connection.pause(1);
    connection.resume(1);
    connection.fail_in_handler();
    connection.answer(crate::kit::host::accept());
    bench.settle();
    assert_eq!(connection.state(), State::Closed);
    assert_eq!(bench.host().reasons().len(), 1);
}

fn a_peer_that_does_not_answer_a_close_is_left_after_the_close_deadline(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc6455/7.1.1/4");
    }
    let mut options = websockets();
    options.deadlines.close = Some(60);
    let place = bench.listen(options, goodbye());
    let mut peer = websocket::open(bench, &place);
    peer.send(bench, &websocket::text("hello"));
    assert_eq!(peer.frame(bench).code(), Some(4001));
    let start = bench.engine.now_ms();
    assert_eq!(peer.take_rest(bench).1, Ending::Finished);
    let took = bench.engine.now_ms() - start;
    assert!((59..=500).contains(&took), "{took} ms");
    assert_eq!(bench.host().limits_reached(Limit::CloseSeconds), 1);
    let reason = &bench.host().reasons()[0];
    assert_eq!(reason.cause, Cause::Limit(Limit::CloseSeconds));
    assert_eq!((reason.manner, reason.code), (Manner::Broken, Some(1006)));
    assert!(reason.text.contains("4001 (go home)"), "{reason}");
}
