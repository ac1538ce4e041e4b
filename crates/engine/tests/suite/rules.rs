//! The port's rules as the engine keeps them (design, "The port"): the stack does not grow, no
//! callback nests, nobody is starved, sends are gathered, and an idle connection holds nothing.

use crate::kit::defaults;
use crate::kit::{Bench, Conn, Driver, Peer, Place, Script, Told, pattern, websocket};
use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use vespiary_engine::port::Address;
use vespiary_engine::port::sim::Faults;
use vespiary_engine::wire::websocket::frame::Opcode;
use vespiary_engine::{Connection, FRAMES_BUDGET, Framing, INLINE_BUDGET, Kind, Options};
use vespiary_trace::claims;

on_every_driver!(
    a_client_that_only_pumps_data_does_not_deepen_the_stack,
    a_client_that_only_pumps_data_does_not_starve_another,
    a_handler_that_sends_more_each_time_it_drains_does_not_keep_the_turn,
    what_exceeds_the_inline_budget_is_counted_and_arrives_in_order,
    a_turn_takes_a_bounded_number_of_messages_from_each_connection,
    an_idle_connection_holds_no_buffer,
    a_connection_that_was_busy_holds_no_buffer_when_it_is_idle_again,
);

on_every_driver_and_with_faults!(
    what_a_batch_sends_leaves_in_one_send,
    a_callback_sees_its_requests_take_effect_only_after_it,
    a_buffer_lives_until_the_last_completion_of_an_aborted_connection,
    a_token_is_not_taken_for_another_connection,
);

#[test]
fn a_connection_is_served_a_bounded_number_of_times_in_a_turn_on_sim() {
    let faults = Faults {
        buffers: 512,
        buffer_bytes: 64,
        window_bytes: 1 << 20,
        ..Faults::none()
    };
    Driver::Simulated(1, faults).run(|bench| {
        let place = bench.listen(raw(), Script::sink());
        let mut pump = bench.connect_open(&place);
        let mut other = bench.connect_open(&place);
        let bytes = pattern(64 * 200);
        assert_eq!(pump.write(&bytes), Some(bytes.len()));
        assert_eq!(other.write(b"a word"), Some(6));
        bench.turn();
        let messages = bench.host().messages();
        // What exceeds the budget is put aside, and nobody waits behind it.
        assert_eq!(messages.len(), usize::from(INLINE_BUDGET) + 1);
        assert!(messages.contains(&b"a word".to_vec()));
        assert_eq!(place.counters().budget_exhausted.get(), 1);
        bench.until("the rest", || {
            place.counters().bytes_in.get() == bytes.len() as u64 + 6
        });
        bench.settle();
        let mut messages = bench.host().messages();
        messages.retain(|message| message != b"a word");
        assert!(messages.concat() == bytes);
    });
}

/// What the deepest callback's stack may differ from the least deep by.
const STACK_SPAN_MAX: usize = 8 << 10;

fn raw() -> Options {
    defaults(Framing::Raw)
}

fn lines() -> Options {
    defaults(Framing::Line { ending: b"\n" })
}

/// A client that sends without a pause and reads what comes back, on a thread of its own over the
/// kernel's sockets; in the simulation it acts between the turns.
enum Pump {
    Thread {
        stop: Arc<AtomicBool>,
        threads: Vec<std::thread::JoinHandle<()>>,
    },
    Simulated {
        peer: RefCell<Peer>,
        piece: Vec<u8>,
    },
}

impl Pump {
    fn start(bench: &Bench, place: &Place, piece: Vec<u8>) -> Self {
        let Address::Inet(address) = &place.address else {
            panic!("an address on the loopback")
        };
        if bench.is_simulated() {
            return Self::Simulated {
                peer: RefCell::new(bench.connect_open(place)),
                piece,
            };
        }
        let stop = Arc::new(AtomicBool::new(false));
        let stream = TcpStream::connect(address).expect("a connection");
        stream
            .set_read_timeout(Some(Duration::from_millis(20)))
            .expect("a socket");
        stream
            .set_write_timeout(Some(Duration::from_millis(20)))
            .expect("a socket");
        let mut reader = stream.try_clone().expect("a descriptor");
        let mut writer = stream;
        let (stop_reading, stop_writing) = (stop.clone(), stop.clone());
        let reading = std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while !stop_reading.load(Ordering::Relaxed) {
                let _ = reader.read(&mut buffer);
            }
        });
        let writing = std::thread::spawn(move || {
            while !stop_writing.load(Ordering::Relaxed) {
                let _ = writer.write(&piece);
            }
        });
        Self::Thread {
            stop,
            threads: vec![reading, writing],
        }
    }

    fn act(&self) {
        if let Self::Simulated { peer, piece } = self {
            let mut peer = peer.borrow_mut();
            while peer
                .write(piece)
                .is_some_and(|written| written == piece.len())
            {}
            peer.look();
            peer.input.clear();
        }
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        if let Self::Thread { stop, threads } = self {
            stop.store(true, Ordering::Relaxed);
            for thread in threads.drain(..) {
                thread.join().expect("the pump does not panic");
            }
        }
    }
}

fn a_client_that_only_pumps_data_does_not_deepen_the_stack(bench: &Bench) {
    let script = || Script::echo().forgetful();
    for (options, piece) in [
        (raw(), vec![b'x'; 100_000]),
        (lines(), b"a line\n".repeat(10_000)),
    ] {
        let place = bench.listen(options, script());
        let pump = Pump::start(bench, &place, piece);
        bench.until("ten megabytes", || {
            pump.act();
            place.counters().bytes_in.get() > 10 << 20
        });
        assert!(place.counters().messages_in.get() > 30);
    }
    let span = bench.host().stack_span();
    assert!(
        span < STACK_SPAN_MAX,
        "callbacks ran {span} bytes of stack apart"
    );
}

fn a_client_that_only_pumps_data_does_not_starve_another(bench: &Bench) {
    const QUESTIONS: usize = 200;
    let place = bench.listen(lines(), Script::echo().forgetful());
    let pumps: Vec<_> = (0..3)
        .map(|_| Pump::start(bench, &place, b"a short line\n".repeat(5_000)))
        .collect();
    bench.until("three megabytes", || {
        pumps.iter().for_each(Pump::act);
        place.counters().bytes_in.get() > 3 << 20
    });
    let mut other = bench.connect_open(&place);
    let mut most = 0;
    for _ in 0..QUESTIONS {
        assert_eq!(other.write(b"question\n"), Some(9));
        let mut turns = 0;
        while other.input.len() < 9 {
            pumps.iter().for_each(Pump::act);
            bench.turn();
            other.look();
            turns += 1;
            assert!(turns < 100, "the other connection is starved");
        }
        other.input.clear();
        most = turns.max(most);
    }
    // One turn for the question to be received, one for its answer; and on a kernel one to arrive
    // late.
    let bound = if bench.is_simulated() { 4 } else { 20 };
    assert!(most <= bound, "an answer took {most} turns");
}

/// Sends more each time it has drained.
fn fill(connection: &Conn) {
    while connection.is_open() && !connection.is_above_high() {
        connection
            .send(Kind::Binary, &[b'x'; 4095], None)
            .expect("room");
    }
}

fn a_handler_that_sends_more_each_time_it_drains_does_not_keep_the_turn(bench: &Bench) {
    let greedy = bench.listen(lines(), Script::sink().on_opened(fill).on_drained(fill));
    let modest = bench.listen(lines(), Script::echo());
    let pump = Pump::start(bench, &greedy, b"x\n".to_vec());
    let mut other = bench.connect_open(&modest);
    let drained = || bench.host().count(|told| matches!(told, Told::Drained(_)));
    bench.until("the pump", || drained() > 0);
    for _ in 0..200 {
        assert_eq!(other.write(b"question\n"), Some(9));
        let mut turns = 0;
        while other.input.len() < 9 {
            pump.act();
            bench.host().clear_log();
            let rounds = bench.host().rounds();
            bench.turn();
            let rounds = bench.host().rounds() - rounds;
            assert!(
                rounds <= u64::from(INLINE_BUDGET) + 1,
                "{rounds} rounds in a turn"
            );
            assert!(
                drained() <= usize::from(INLINE_BUDGET) + 1,
                "{} times",
                drained()
            );
            other.look();
            turns += 1;
            assert!(turns < 100, "the other connection is starved");
        }
        other.input.clear();
    }
    let span = bench.host().stack_span();
    assert!(
        span < STACK_SPAN_MAX,
        "callbacks ran {span} bytes of stack apart"
    );
}

fn what_exceeds_the_inline_budget_is_counted_and_arrives_in_order(bench: &Bench) {
    // The receive buffers of a batch are the port's business; a megabyte fills many of the
    // simulation's.
    let place = bench.listen(raw(), Script::sink());
    let mut peer = bench.connect_open(&place);
    let bytes = pattern(4 << 20);
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let written = peer.write(rest).expect("a connection");
        rest = &rest[written..];
        if written == 0 {
            bench.turn();
        }
    }
    bench.until("all bytes", || {
        place.counters().bytes_in.get() == bytes.len() as u64
    });
    bench.until("all messages", || {
        bench.host().messages().iter().map(Vec::len).sum::<usize>() == bytes.len()
    });
    assert!(bench.host().messages().concat() == bytes);
    let connection = bench.latest();
    bench.until("nothing to be held", || connection.buffer_bytes() == 0);
}

fn a_turn_takes_a_bounded_number_of_messages_from_each_connection(bench: &Bench) {
    const MESSAGES: u64 = 10_000;
    let place = bench.listen(lines(), Script::sink());
    let mut peer = bench.connect_open(&place);
    let bytes = b"x\n".repeat(MESSAGES as usize);
    let mut rest = &bytes[..];
    let mut before = 0;
    while before < MESSAGES {
        let written = peer.write(rest).expect("a connection");
        rest = &rest[written..];
        bench.turn();
        let received = place.counters().messages_in.get();
        assert!(received - before <= FRAMES_BUDGET.into());
        before = received;
    }
    assert_eq!(before, MESSAGES);
    assert!(place.counters().budget_exhausted.get() > 0 || bench.is_simulated());
}

fn what_a_batch_sends_leaves_in_one_send(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc6455/2.1/1");
    }
    let script = Script::sink().on_message(|connection, kind, payload| {
        for _ in 0..100 {
            connection.send(kind, payload, None).expect("room");
        }
    });
    let place = bench.listen(lines(), script);
    let mut peer = bench.connect_open(&place);
    let token = bench.latest().token();
    peer.send(bench, b"hello\n");
    assert_eq!(peer.take(bench, 600), b"hello\n".repeat(100));
    let sends = bench.book.borrow().sends[&token];
    // A send may complete short in the simulation, and its rest goes again.
    assert!(
        sends == 1 || bench.is_simulated() && sends < 20,
        "{sends} sends"
    );
}

fn a_callback_sees_its_requests_take_effect_only_after_it(bench: &Bench) {
    let seen = Rc::new(Cell::new(0));
    let (sent, open) = (seen.clone(), seen.clone());
    let script = Script::sink()
        .on_message(move |connection, kind, payload| {
            let before = connection.engine().port_counters();
            connection.send(kind, payload, None).expect("room");
            connection.close(vespiary_engine::wire::websocket::close::Code::NORMAL, "");
            let after = connection.engine().port_counters();
            assert_eq!(before, after, "the port heard nothing yet");
            sent.set(sent.get() + 1);
        })
        .on_closed(move |_| open.set(open.get() + 10));
    let place = bench.listen(lines(), script);
    let mut peer = bench.connect(&place);
    peer.send(bench, b"one\ntwo\nthree\n");
    assert_eq!(peer.take(bench, 4), b"one\n");
    peer.finish();
    bench.until_closed(1);
    assert_eq!(seen.get(), 11);
}

fn a_buffer_lives_until_the_last_completion_of_an_aborted_connection(bench: &Bench) {
    let place = bench.listen(lines(), Script::sink());
    for _ in 0..20 {
        let mut peer = bench.connect_open(&place);
        peer.stall(true);
        peer.write(b"half a li");
        let connection = bench.latest();
        while !connection.is_above_high() {
            connection
                .send(Kind::Binary, &[b'x'; 8000], None)
                .expect("room");
            bench.engine.settle();
        }
        connection.abort();
        // The book and the simulation see a descriptor closed with an operation outstanding.
        bench.until("the end", || bench.engine.connection_count() == 0);
        assert_eq!(bench.book.borrow().open.len(), 1, "the listener alone");
    }
}

fn a_token_is_not_taken_for_another_connection(bench: &Bench) {
    let place = bench.listen(lines(), Script::echo());
    let mut tokens = Vec::new();
    for number in 0..50u32 {
        let mut peer = bench.connect_open(&place);
        tokens.push(bench.latest().token());
        let line = format!("{number}\n");
        peer.send(bench, line.as_bytes());
        assert_eq!(peer.take(bench, line.len()), line.as_bytes());
        if number % 2 == 0 {
            peer.reset();
        }
    }
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), 50);
}

fn an_idle_connection_holds_no_buffer(bench: &Bench) {
    let place = bench.listen(lines(), Script::echo());
    let websockets = bench.listen(defaults(Framing::WebSocket), Script::echo());
    let peers: Vec<Peer> = (0..10)
        .flat_map(|_| {
            [
                bench.connect_open(&place),
                websocket::open(bench, &websockets),
            ]
        })
        .collect();
    bench.settle();
    let all = bench.engine.all_connections();
    assert_eq!(all.len(), peers.len());
    for connection in &all {
        assert_eq!(connection.buffer_bytes(), 0);
    }
}

fn a_connection_that_was_busy_holds_no_buffer_when_it_is_idle_again(bench: &Bench) {
    let mut options = defaults(Framing::WebSocket);
    options.limits.write_high_bytes = 1 << 20;
    let place = bench.listen(options, Script::echo().forgetful());
    let mut peer = websocket::open(bench, &place);
    let connection: Rc<Connection<_>> = bench.latest();
    for size in [10, 1000, 100_000, 700_000] {
        let payload = pattern(size);
        let mut sent = websocket::masked(false, Opcode::Binary, &payload[..size / 2]);
        sent.extend(websocket::masked(
            true,
            Opcode::Continuation,
            &payload[size / 2..],
        ));
        let (head, rest) = sent.split_at(sent.len() - 3);
        peer.send(bench, head);
        bench.settle();
        assert!(
            connection.buffer_bytes() >= size / 2,
            "a message under way is held"
        );
        peer.send(bench, rest);
        assert!(peer.frame_but_pings(bench).payload == payload);
        connection.pause(1);
        peer.send(bench, &websocket::binary(b"held"));
        bench.settle();
        connection.resume(1);
        assert_eq!(peer.frame_but_pings(bench).payload, b"held");
        bench.settle();
        assert_eq!(connection.buffer_bytes(), 0, "after {size}");
    }
}
