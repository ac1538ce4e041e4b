//! A layer that is started while the connection lives (STARTTLS): what is read, sent, dropped and
//! ended while its handshake is in progress.

use super::layers::{END, HELLO, KEY, Records, Refusing, lines, sealed, take};
use crate::kit::{Bench, Conn, Ending, Peer, Script};
use std::net::Ipv4Addr;
use vespiary_engine::wire::websocket::close::Code;
use vespiary_engine::{
    Cause, Kind, Layer, Limit, Manner, Options, Proxies, SendError, SlowConsumer,
};

on_every_driver_and_with_faults!(
    a_handshake_is_read_although_the_write_queue_is_full,
    a_handshake_is_read_although_the_host_has_paused_reading,
    what_waits_for_a_handshake_is_bounded_as_usual,
    what_was_queued_before_stays_plain_when_the_oldest_are_dropped,
    an_end_behind_the_start_of_a_layer_comes_behind_its_handshake,
    a_close_behind_the_start_of_a_layer_comes_behind_its_handshake,
    a_handshake_that_fails_before_the_end_ends_the_connection,
    a_peer_that_leaves_during_the_handshake_is_not_waited_for,
    a_layer_can_be_started_by_what_comes_with_a_proxys_header,
);

// These wait in the engine's own time.
on_every_driver!(
    an_end_waits_for_the_handshake_until_its_deadline,
    a_peer_that_cannot_read_yet_is_not_late_in_reading,
);

/// What is done once a layer was started.
type Then = fn(&Conn);

/// Answers STARTTLS in plain, starts a layer, and does `then`.
fn starting(layer: fn() -> Box<dyn Layer>, then: impl Fn(&Conn) + 'static) -> Script {
    Script::sink().on_message(move |connection, kind, message| {
        if message == b"STARTTLS" {
            connection.send(kind, b"OK", None).expect("room");
            connection.start_layer(layer(), false);
            then(connection);
        }
    })
}

fn records() -> Box<dyn Layer> {
    Records::boxed(KEY)
}

fn start(bench: &Bench, options: Options, script: Script) -> Peer {
    let place = bench.listen(options, script);
    let mut peer = bench.connect(&place);
    peer.send(bench, b"STARTTLS\n");
    assert_eq!(peer.take(bench, 3), b"OK\n");
    bench.settle();
    assert!(peer.is_quiet(), "everything else waits for the handshake");
    peer
}

fn greet(bench: &Bench, peer: &mut Peer) {
    peer.send(bench, HELLO);
    assert_eq!(peer.take(bench, 2), HELLO);
}

/// Numbered lines of 100 bytes.
fn line(number: usize) -> Vec<u8> {
    format!("{number:099}").into_bytes()
}

fn send_lines(connection: &Conn, count: usize) {
    for number in 0..count {
        connection
            .send(Kind::Binary, &line(number), None)
            .expect("room");
    }
}

fn all_lines(numbers: impl Iterator<Item = usize>) -> Vec<u8> {
    numbers
        .flat_map(|number| [line(number), b"\n".to_vec()].concat())
        .collect()
}

fn small_queue() -> Options {
    let mut options = lines();
    options.limits.write_high_bytes = 2_000;
    options.limits.write_low_bytes = 500;
    options.limits.write_bytes_max = 20_000;
    options
}

fn a_handshake_is_read_although_the_write_queue_is_full(bench: &Bench) {
    let script = starting(records, |connection| send_lines(connection, 100));
    let mut peer = start(bench, small_queue(), script);
    assert!(bench.latest().is_above_high());
    greet(bench, &mut peer);
    assert_eq!(take(bench, &mut peer, 10_000), all_lines(0..100));
    peer.send(bench, &sealed(KEY, b"more\n"));
    bench.until("a message", || bench.host().messages().len() == 2);
}

fn a_handshake_is_read_although_the_host_has_paused_reading(bench: &Bench) {
    let script = starting(records, |connection| connection.pause(1));
    let mut peer = start(bench, lines(), script);
    // What comes with the end of the handshake is a message, and waits.
    peer.send(bench, &[HELLO, &sealed(KEY, b"more\n")].concat());
    assert_eq!(peer.take(bench, 2), HELLO);
    bench.settle();
    assert_eq!(bench.host().messages().len(), 1);
    bench.latest().resume(1);
    bench.until("a message", || bench.host().messages().len() == 2);
}

fn what_waits_for_a_handshake_is_bounded_as_usual(bench: &Bench) {
    for policy in [
        SlowConsumer::Wait,
        SlowConsumer::DropNewest,
        SlowConsumer::DropOldest,
    ] {
        let mut options = small_queue();
        options.slow_consumer = policy;
        let mut peer = start(bench, options, starting(records, |_| ()));
        let connection = bench.latest();
        let mut refused = 0;
        for number in 0..300 {
            match connection.send(Kind::Binary, &line(number), None) {
                Ok(_) => {}
                Err(SendError::QueueFull) => refused += 1,
                Err(error) => panic!("{error:?}"),
            }
        }
        assert_eq!(refused > 0, policy == SlowConsumer::Wait);
        assert!(connection.queued_bytes() <= 20_000);
        let kept = connection.queued_bytes() / 100;
        greet(bench, &mut peer);
        let plain = take(bench, &mut peer, kept * 100);
        match policy {
            // Those below the high mark cannot be dropped.
            SlowConsumer::DropOldest => assert!(plain.ends_with(&all_lines(299..300))),
            _ => assert_eq!(plain, all_lines(0..kept)),
        }
        assert_eq!(connection.dropped() > 0, policy != SlowConsumer::Wait);
    }
}

fn what_was_queued_before_stays_plain_when_the_oldest_are_dropped(bench: &Bench) {
    let mut options = small_queue();
    options.slow_consumer = SlowConsumer::DropOldest;
    let script = Script::sink().on_message(|connection, _, _| {
        send_lines(connection, 100);
        connection.start_layer(records(), false);
        send_lines(connection, 200);
    });
    let place = bench.listen(options, script);
    let mut peer = bench.connect(&place);
    peer.send(bench, b"STARTTLS\n");
    assert_eq!(peer.take(bench, 10_000), all_lines(0..100));
    bench.settle();
    assert!(peer.is_quiet());
    let connection = bench.latest();
    assert!(connection.dropped() > 0);
    let kept = connection.queued_bytes() / 100;
    greet(bench, &mut peer);
    assert!(take(bench, &mut peer, kept * 100).ends_with(&all_lines(199..200)));
}

fn an_end_behind_the_start_of_a_layer_comes_behind_its_handshake(bench: &Bench) {
    let script = starting(records, |connection| connection.send_end().expect("open"));
    let mut peer = start(bench, lines(), script);
    greet(bench, &mut peer);
    assert_eq!(peer.take_rest(bench), (END.to_vec(), Ending::Finished));
    peer.send(bench, &sealed(KEY, b"still\n"));
    bench.until("a message", || bench.host().messages().len() == 2);
    peer.send(bench, END);
    bench.until_closed(1);
    assert_eq!(bench.host().reasons()[0].manner, Manner::Closed);
}

fn a_close_behind_the_start_of_a_layer_comes_behind_its_handshake(bench: &Bench) {
    let script = starting(records, |connection| connection.close(Code::NORMAL, ""));
    let mut peer = start(bench, lines(), script);
    greet(bench, &mut peer);
    assert_eq!(peer.take_rest(bench), (END.to_vec(), Ending::Finished));
    peer.send(bench, END);
    peer.finish();
    bench.until_closed(1);
    let reason = &bench.host().reasons()[0];
    assert_eq!(
        (&reason.cause, reason.manner),
        (&Cause::Closed, Manner::Closed)
    );
}

fn a_handshake_that_fails_before_the_end_ends_the_connection(bench: &Bench) {
    let acts: [Then; 3] = [
        |connection| connection.send_end().expect("open"),
        |connection| connection.close(Code::NORMAL, ""),
        |connection| {
            send_lines(connection, 1);
            connection.close(Code::NORMAL, "");
        },
    ];
    for (index, act) in acts.into_iter().enumerate() {
        let mut options = lines();
        options.deadlines = vespiary_engine::Deadlines {
            write: None,
            close: None,
            ..options.deadlines
        };
        let script = starting(|| Box::<Refusing>::default(), act);
        let mut peer = start(bench, options, script);
        peer.send(bench, b"hello\n");
        assert_eq!(peer.take_rest(bench), (b"alert".to_vec(), Ending::Finished));
        peer.finish();
        bench.until_closed(index + 1);
        let reason = &bench.host().reasons()[index];
        assert_eq!(
            (&reason.cause, reason.manner),
            (&Cause::TlsFailed, Manner::Broken)
        );
        assert!(reason.text.ends_with("refused") || index == 2, "{reason}");
    }
}

fn a_peer_that_leaves_during_the_handshake_is_not_waited_for(bench: &Bench) {
    let cases: [(Then, Cause); 4] = [
        (|_| (), Cause::PeerVanished),
        (
            |connection| connection.send_end().expect("open"),
            Cause::PeerVanished,
        ),
        (
            |connection| connection.close(Code::NORMAL, ""),
            Cause::Closed,
        ),
        (
            |connection| {
                send_lines(connection, 1);
                connection.close(Code::NORMAL, "");
            },
            Cause::BytesLost,
        ),
    ];
    for (index, (act, cause)) in cases.into_iter().enumerate() {
        let mut options = lines();
        options.deadlines.handshake = None;
        options.deadlines.write = None;
        options.deadlines.close = None;
        let mut peer = start(bench, options, starting(records, act));
        peer.finish();
        bench.until_closed(index + 1);
        let reason = &bench.host().reasons()[index];
        assert_eq!(reason.cause, cause, "{reason}");
    }
}

fn a_layer_can_be_started_by_what_comes_with_a_proxys_header(bench: &Bench) {
    let mut options = lines();
    let mut proxies = Proxies::default();
    proxies.add(Ipv4Addr::UNSPECIFIED.into(), 0);
    options.proxies = proxies;
    let script = starting(records, |_| ());
    let script = script.on_secured(vespiary_engine::Connection::abort);
    let place = bench.listen(options, script);
    let mut peer = bench.connect(&place);
    peer.send(
        bench,
        b"PROXY TCP4 192.0.2.7 198.51.100.1 8080 443\r\nSTARTTLS\n",
    );
    assert_eq!(peer.take(bench, 3), b"OK\n");
    peer.send(bench, HELLO);
    bench.until_closed(1);
}

fn an_end_waits_for_the_handshake_until_its_deadline(bench: &Bench) {
    let acts: [Then; 3] = [
        |connection| connection.send_end().expect("open"),
        |connection| connection.close(Code::NORMAL, ""),
        |connection| {
            send_lines(connection, 1);
            connection.close(Code::NORMAL, "");
        },
    ];
    for act in acts {
        let mut options = lines();
        options.deadlines.handshake = Some(400);
        options.deadlines.write = Some(40);
        options.deadlines.close = Some(40);
        let place = bench.listen(options, starting(records, act));
        let mut peer = bench.connect(&place);
        peer.send(bench, b"STARTTLS\n");
        assert_eq!(peer.take(bench, 3), b"OK\n");
        let (milliseconds, reason) = bench.time_until_closed(|| ());
        assert!(milliseconds > 200, "{milliseconds} {reason}");
        assert_eq!(
            reason.cause,
            Cause::Limit(Limit::HandshakeSeconds),
            "{reason}"
        );
        assert_eq!(reason.manner, Manner::Broken);
    }
}

fn a_peer_that_cannot_read_yet_is_not_late_in_reading(bench: &Bench) {
    let mut options = lines();
    options.deadlines.handshake = None;
    options.deadlines.write = Some(40);
    let script = starting(records, |connection| send_lines(connection, 1));
    let mut peer = start(bench, options, script);
    bench.pass(200);
    greet(bench, &mut peer);
    assert_eq!(take(bench, &mut peer, 100), all_lines(0..1));
    peer.send(bench, &sealed(KEY, b"more\n"));
    bench.until("a message", || bench.host().messages().len() == 2);
}
