//! permessage-deflate, RFC 7692: what is agreed on, what is refused, and how much may come out.

use crate::kit::defaults;
use crate::kit::packed::{COMPRESSION, Packed, compressing, cut, records, without_takeover};
use crate::kit::{Bench, Driver, Script, websocket};
use vespiary_engine::port::sim::Faults;
use vespiary_engine::wire::websocket::deflate::{Compressor, Shape};
use vespiary_engine::wire::websocket::frame::Opcode;
use vespiary_engine::{ClientHandshake, Event, Framing, Kind, Limit};
use vespiary_trace::claims;

on_every_driver!(
    an_offer_is_answered_and_a_bad_one_declined,
    without_an_agreement_rsv1_is_refused,
    rsv1_stands_on_the_first_frame_of_a_message_and_nowhere_else,
    what_cannot_be_inflated_is_refused_with_1007,
    inflated_text_is_checked,
    what_inflates_to_more_than_the_limit_is_refused_while_it_inflates,
    a_message_at_the_limit_may_be_larger_on_the_wire,
    a_client_refuses_an_answer_that_it_did_not_ask_for,
);

/// What a request is answered with here: four of them are a turn's budget, and next to nothing on
/// the wire.
static LONG_ANSWER: [u8; 256 << 10] = [b'y'; 256 << 10];

#[test]
fn a_client_that_asks_for_long_answers_to_compress_waits_behind_its_neighbour() {
    for in_parts in [false, true] {
        Driver::Simulated(1, Faults::none()).run(if in_parts {
            |bench| long_answers_are_taken_in_turns(bench, true)
        } else {
            |bench| long_answers_are_taken_in_turns(bench, false)
        });
    }
}

fn long_answers_are_taken_in_turns(bench: &Bench, in_parts: bool) {
    let script = Script::sink().on_message(move |connection, kind, request| {
        if request == b"short" {
            connection.send(kind, b"here", None).expect("room");
        } else if in_parts {
            let halves = LONG_ANSWER.split_at(LONG_ANSWER.len() / 2);
            connection
                .send_part(kind, halves.0, false, None)
                .expect("room");
            connection
                .send_part(kind, halves.1, true, None)
                .expect("room");
        } else {
            connection.send(kind, &LONG_ANSWER, None).expect("room");
        }
    });
    let place = bench.listen(compressing(COMPRESSION), script);
    let mut greedy = Packed::open(bench, &place, "");
    let mut modest = Packed::open(bench, &place, "");
    let requests = websocket::text("long").repeat(32);
    assert_eq!(greedy.peer.write(&requests), Some(requests.len()));
    let request = websocket::text("short");
    assert_eq!(modest.peer.write(&request), Some(request.len()));
    bench.turn();
    let first = bench.host().messages();
    let is_long = |request: &&Vec<u8>| *request == b"long";
    assert_eq!(first.iter().filter(is_long).count(), 4);
    assert_eq!(first.len(), 5, "the neighbour's is among them");
    for turn in 2..=8 {
        bench.turn();
        assert_eq!(bench.host().messages().len(), 4 * turn + 1);
    }
    assert_eq!(place.counters().budget_exhausted.get(), 8);
    for _ in 0..32 {
        assert!(greedy.take(bench).0 == LONG_ANSWER, "an answer is whole");
    }
    assert_eq!(modest.take(bench).0, b"here");
}

fn an_offer_is_answered_and_a_bad_one_declined(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc7692/5/5", "rfc7692/5/6", "rfc7692/5/11", "rfc7692/7/1");
    }
    let mut small = without_takeover();
    small.settings.server.window_bits = 10;
    small.settings.client.window_bits = 11;
    let place = bench.listen(compressing(small), Script::sink());
    for (offer, answer) in [
        (
            "",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
             server_max_window_bits=10",
        ),
        (
            "; client_max_window_bits; server_max_window_bits=12",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
             server_max_window_bits=10; client_max_window_bits=11",
        ),
        ("; server_max_window_bits=7", ""),
        ("; mystery", ""),
        ("; client_no_context_takeover=1", ""),
        (
            "; mystery, permessage-deflate; server_max_window_bits=9",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
             server_max_window_bits=9",
        ),
    ] {
        assert_eq!(Packed::open(bench, &place, offer).answer, answer, "{offer}");
    }
    let deaf = bench.listen(defaults(Framing::WebSocket), Script::sink());
    assert_eq!(Packed::open(bench, &deaf, "").answer, "");
    // An offer of something else alone gets no answer either.
    let mut peer = bench.connect(&place);
    let line = "Sec-WebSocket-Extensions: permessage-bzip2\r\n";
    peer.send(bench, websocket::request("/", line).as_bytes());
    assert!(!peer.head(bench).contains("Extensions"));
}

fn without_an_agreement_rsv1_is_refused(bench: &Bench) {
    let places = [
        bench.listen(compressing(COMPRESSION), Script::echo()),
        bench.listen(defaults(Framing::WebSocket), Script::echo()),
    ];
    for place in &places {
        let mut peer = websocket::open(bench, place);
        peer.send(bench, &cut(Opcode::Text, &[0], 1));
        assert_eq!(peer.frame(bench).code(), Some(1002));
    }
}

fn rsv1_stands_on_the_first_frame_of_a_message_and_nowhere_else(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc7692/6.1/4");
    }
    let place = bench.listen(compressing(COMPRESSION), Script::sink());
    for (open, first) in [
        (false, 0xC9_u8),
        (false, 0xCA),
        (false, 0xC8),
        (true, 0xC0),
        (true, 0x40),
    ] {
        let mut client = Packed::open(bench, &place, "");
        if open {
            let begun = websocket::masked(false, Opcode::Text, b"a");
            client.peer.send(bench, &begun);
        }
        client.peer.send(bench, &[first, 0x80, 0, 0, 0, 0]);
        let frame = client.peer.frame(bench);
        assert_eq!(frame.code(), Some(1002), "{first:02x}");
        assert!(frame.reason().contains("7692"), "{}", frame.reason());
    }
    for reserved in [0xA1, 0x91, 0xE1] {
        let mut client = Packed::open(bench, &place, "");
        client.peer.send(bench, &[reserved, 0x80, 0, 0, 0, 0]);
        assert_eq!(
            client.peer.frame(bench).code(),
            Some(1002),
            "{reserved:02x}"
        );
    }
}

fn what_cannot_be_inflated_is_refused_with_1007(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc7692/7.2.2/h1");
    }
    let place = bench.listen(compressing(COMPRESSION), Script::sink());
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let bad: [&[u8]; 4] = [
        &hello[..4],
        b"\x06",
        b"\xff\xff\xff",
        &[0xf2, 0, 0x11, 0, 0],
    ];
    for packed in bad {
        for fragments in [1, 2] {
            let mut client = Packed::open(bench, &place, "");
            let frames = cut(Opcode::Text, packed, fragments);
            client.peer.send(bench, &frames);
            let frame = client.peer.frame(bench);
            assert_eq!(frame.code(), Some(1007), "{packed:02x?}");
        }
    }
    assert!(bench.host().messages().is_empty());
    assert_eq!(place.counters().protocol_errors.get(), 8);
}

fn inflated_text_is_checked(bench: &Bench) {
    for parts in [false, true] {
        let mut options = compressing(COMPRESSION);
        options.parts = parts;
        let place = bench.listen(options, Script::sink());
        let long = [vec![b'a'; 100_000], vec![0xff]].concat();
        let bad: [&[u8]; 3] = [b"\xff", b"ab\xe2\x9c", &long];
        for text in bad {
            let mut client = Packed::open(bench, &place, "");
            client.send(bench, Opcode::Text, text);
            assert_eq!(client.peer.frame(bench).code(), Some(1007));
        }
        let mut client = Packed::open(bench, &place, "");
        client.send(bench, Opcode::Text, "grüße ✓".repeat(20_000).as_bytes());
        client.send(bench, Opcode::Binary, b"\xff");
        bench.settle();
        assert!(client.peer.is_quiet());
    }
}

fn what_inflates_to_more_than_the_limit_is_refused_while_it_inflates(bench: &Bench) {
    let mut packed = Vec::new();
    let shape = Shape {
        window_bits: 15,
        level: 9,
        memory_level: 8,
    };
    Compressor::new(shape).compress(&vec![0; 64 << 20], true, &mut packed);
    assert!(packed.len() < 70_000, "a thousandfold");
    for parts in [false, true] {
        let mut options = compressing(COMPRESSION);
        options.parts = parts;
        options.limits.message_bytes_max = 1_000_000;
        let place = bench.listen(options, Script::sink().forgetful());
        for (opcode, fragments) in [
            (Opcode::Binary, 1),
            (Opcode::Text, 1),
            (Opcode::Binary, 500),
        ] {
            let mut client = Packed::open(bench, &place, "");
            let frames = cut(opcode, &packed, fragments);
            let (first, rest) = frames.split_at(frames.len() / 10);
            client.peer.send(bench, first);
            let frame = client.peer.frame(bench);
            assert_eq!(frame.code(), Some(1009), "a tenth of it is enough");
            let _ = client.peer.write(rest);
        }
        assert_eq!(place.counters().limits.borrow()[&Limit::MessageBytes], 3);
        let inflated = place.counters().compression.get().inflated_in;
        assert!(inflated <= 3 * (1_000_000 + (64 << 10)), "{inflated}");
        assert_eq!(place.counters().protocol_errors.get(), 0);
    }
    let event = Event::Limit {
        limit: Limit::MessageBytes,
        value: 1_000_000,
    };
    assert!(bench.host().events().contains(&event));
}

fn a_message_at_the_limit_may_be_larger_on_the_wire(bench: &Bench) {
    let mut options = compressing(COMPRESSION);
    options.limits.message_bytes_max = 1000;
    let place = bench.listen(options, Script::echo());
    let mut client = Packed::open(bench, &place, "");
    // Stored byte by byte it takes six times as much; twice the limit is what is let through.
    let mut packed = Vec::new();
    for byte in &records(1000)[..300] {
        packed.extend([0x00, 1, 0, 0xfe, 0xff, *byte]);
    }
    packed.push(0x00);
    client.peer.send(bench, &cut(Opcode::Binary, &packed, 1));
    assert_eq!(client.take(bench).0, records(1000)[..300]);
    client
        .peer
        .send(bench, &cut(Opcode::Binary, &vec![0; 3100], 1));
    assert_eq!(client.peer.frame(bench).code(), Some(1009));
}

fn a_client_refuses_an_answer_that_it_did_not_ask_for(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc7692/5/8", "rfc7692/5/10", "rfc7692/5/12", "rfc7692/7/2");
    }
    for (options, answer) in [
        (defaults(Framing::WebSocket), "permessage-deflate"),
        (
            compressing(COMPRESSION),
            "permessage-deflate, permessage-bzip2",
        ),
        (
            compressing(COMPRESSION),
            "permessage-deflate, permessage-deflate",
        ),
        (compressing(COMPRESSION), "permessage-deflate; mystery"),
        (
            compressing(COMPRESSION),
            "permessage-deflate; server_max_window_bits=16",
        ),
    ] {
        // A server by hand, for which the engine's own would not do.
        let script = Script::sink().on_message(move |connection, _, request| {
            let key = "Sec-WebSocket-Key: ";
            let request = String::from_utf8_lossy(request).into_owned();
            let key = request.lines().find_map(|line| line.strip_prefix(key));
            let Some(key) = key else { return };
            let accept = vespiary_engine::wire::websocket::handshake::accept_value(key);
            let head = format!(
                "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Extensions: {answer}\r\n\r\n"
            );
            connection
                .send(Kind::Binary, head.as_bytes(), None)
                .expect("room");
        });
        let place = bench.listen(defaults(Framing::Raw), script.forgetful());
        let handshake = ClientHandshake {
            host: "test".to_owned(),
            target: "/".to_owned(),
            protocols: Vec::new(),
            headers: Vec::new(),
        };
        let refused = || {
            let reasons = bench.host().reasons();
            reasons
                .iter()
                .filter(|it| it.text.contains("permessage-"))
                .count()
        };
        let before = refused();
        let endpoint = Script::sink().endpoint(options);
        let engine = &bench.engine;
        let connected = engine.connect(&place.address, None, endpoint, Some(handshake));
        drop(connected.expect("a socket"));
        bench.until("the refusal", || refused() > before);
    }
}
