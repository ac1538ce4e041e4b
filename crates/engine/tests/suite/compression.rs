//! permessage-deflate, RFC 7692: messages in and out, whole and in parts, to one and to many.

use crate::kit::packed::{COMPRESSION, Packed, compressing, cut, records, without_takeover};
use crate::kit::{Bench, Script, Told, pattern, websocket};
use std::rc::Rc;
use vespiary_engine::wire::websocket::frame::Opcode;
use vespiary_engine::{ClientHandshake, Compression, Kind, Publish, SlowConsumer};
use vespiary_trace::claims;

on_every_driver_and_with_faults!(
    messages_are_echoed_under_every_agreement,
    a_message_is_inflated_from_any_fragments,
    a_compressed_message_of_no_bytes_is_an_empty_one,
    an_uncompressed_message_in_fragments_is_taken_as_it_is,
    what_an_engine_sends_its_client_inflates_under_every_agreement,
    a_message_in_parts_is_compressed_part_by_part,
);

on_every_driver!(
    the_choice_and_the_threshold_decide_what_is_compressed,
    what_does_not_get_smaller_goes_as_it_is,
    parts_are_handed_over_as_they_are_inflated,
    a_pause_holds_back_what_one_receive_inflates_to,
    a_published_message_is_compressed_once_for_all_who_share_its_shape,
    memory_is_held_only_where_a_context_is_and_is_reported,
    messages_that_are_dropped_leave_no_hole_in_the_context,
    a_client_compresses_within_the_window_that_the_server_answered,
);

const AGREEMENTS: [&str; 7] = [
    "",
    "; server_no_context_takeover",
    "; client_no_context_takeover",
    "; server_no_context_takeover; client_no_context_takeover",
    "; server_max_window_bits=9; client_max_window_bits",
    "; server_max_window_bits=8; client_max_window_bits=15",
    "; server_max_window_bits=12; server_no_context_takeover; client_max_window_bits",
];

fn messages_are_echoed_under_every_agreement(bench: &Bench) {
    if bench.is_simulated() {
        claims!(
            "rfc7692/5/5",
            "rfc7692/5/13",
            "rfc7692/6.1/1",
            "rfc7692/6.2/1",
            "rfc7692/7.2.1/10",
            "rfc7692/7.2.2/4",
            "rfc7692/7.2.2/5",
            "rfc7692/7.2.2/h2"
        );
    }
    let place = bench.listen(compressing(COMPRESSION), Script::echo().forgetful());
    for parameters in AGREEMENTS {
        let mut client = Packed::open(bench, &place, parameters);
        assert!(
            client.answer.starts_with("permessage-deflate"),
            "{parameters}"
        );
        for length in [0, 1, 500, 500, 4000, 0, 70_000] {
            let message = records(length);
            client.send(bench, Opcode::Text, &message);
            let (echo, frames) = client.take(bench);
            assert_eq!(echo, message, "{parameters}");
            let is_alone = client.answer.contains("server_no_context_takeover");
            let rsv1 = if length >= 500 || !is_alone { 0x40 } else { 0 };
            assert_eq!(frames[0].first, 0x81 | rsv1, "{parameters}");
            client.send(bench, Opcode::Binary, &message);
            let (echo, frames) = client.take(bench);
            assert_eq!(
                (echo, frames[0].first),
                (message, 0x82 | rsv1),
                "{parameters}"
            );
        }
    }
}

fn a_message_is_inflated_from_any_fragments(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc7692/6.2/1");
    }
    let place = bench.listen(compressing(COMPRESSION), Script::echo().forgetful());
    let mut client = Packed::open(bench, &place, "");
    let message = records(3000);
    for fragments in [1, 2, 3, 10, 100] {
        let frames = client.frames(Opcode::Text, &message, fragments);
        // A ping may stand between any two.
        client.peer.send(bench, &frames);
        assert_eq!(client.take(bench).0, message, "{fragments}");
    }
}

fn a_compressed_message_of_no_bytes_is_an_empty_one(bench: &Bench) {
    let place = bench.listen(compressing(COMPRESSION), Script::echo().forgetful());
    let mut client = Packed::open(bench, &place, "");
    for fragments in [1, 3] {
        for opcode in [Opcode::Text, Opcode::Binary] {
            client.send(bench, opcode, b"something to refer to");
            assert_eq!(client.take(bench).0, b"something to refer to");
            client.peer.send(bench, &cut(opcode, b"", fragments));
            assert_eq!(client.take(bench).0, b"");
            // What came before can still be referred to.
            client.send(bench, opcode, b"something to refer to");
            assert_eq!(client.take(bench).0, b"something to refer to");
        }
    }
    // Bytes that end within a block are corrupt as usual.
    client.peer.send(bench, &cut(Opcode::Text, b"\x04", 1));
    assert_eq!(client.peer.frame(bench).code(), Some(1007));
}

fn an_uncompressed_message_in_fragments_is_taken_as_it_is(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc7692/6.2/2");
    }
    let place = bench.listen(compressing(COMPRESSION), Script::echo().forgetful());
    let mut client = Packed::open(bench, &place, "");
    for _ in 0..3 {
        client.send(bench, Opcode::Text, b"Hello");
        assert_eq!(client.take(bench).0, b"Hello");
        let plain = [
            websocket::masked(false, Opcode::Text, b"as it "),
            websocket::masked(true, Opcode::Continuation, b"is"),
            websocket::text("whole"),
        ];
        client.peer.send(bench, &plain.concat());
        assert_eq!(client.take(bench).0, b"as it is");
        assert_eq!(client.take(bench).0, b"whole");
    }
}

fn handshake() -> ClientHandshake {
    ClientHandshake {
        host: "test".to_owned(),
        target: "/".to_owned(),
        protocols: Vec::new(),
        headers: Vec::new(),
    }
}

fn varieties() -> Vec<Compression> {
    let mut small = without_takeover();
    small.settings.server.window_bits = 8;
    small.settings.client.window_bits = 9;
    let mut one_sided = COMPRESSION;
    one_sided.settings.server.context_takeover = false;
    one_sided.settings.client.window_bits = 10;
    one_sided.level = 1;
    vec![COMPRESSION, without_takeover(), small, one_sided]
}

fn what_an_engine_sends_its_client_inflates_under_every_agreement(bench: &Bench) {
    if bench.is_simulated() {
        claims!(
            "rfc7692/5/1",
            "rfc7692/5/13",
            "rfc7692/7.2.1/7",
            "rfc7692/7.2.1/10",
            "rfc7692/7.2.2/2",
            "rfc7692/7.2.2/4"
        );
    }
    let mut expected = Vec::new();
    for server in varieties() {
        for client in varieties() {
            let place = bench.listen(compressing(server), Script::echo().forgetful());
            let script = Script::sink().on_opened(|connection| {
                for length in [0, 10, 3000, 3000, 900] {
                    connection
                        .send(Kind::Text, &records(length), None)
                        .expect("room");
                }
            });
            let endpoint = script.endpoint(compressing(client));
            let engine = &bench.engine;
            let connected = engine.connect(&place.address, None, endpoint, Some(handshake()));
            let connection = connected.expect("a socket");
            expected.extend([0, 10, 3000, 3000, 900].map(records));
            bench.until("the echoes", || {
                bench.host().messages().len() == expected.len()
            });
            let agreed = connection.compression().expect("an agreement");
            let takeover = |it: Compression| it.settings.server.context_takeover;
            assert_eq!(
                agreed.server().context_takeover,
                takeover(server) && takeover(client)
            );
            let (traffic, _) = connection.compression_statistics();
            // The shortest go as they are where there is no context.
            assert!(
                traffic.messages_in >= 3 && traffic.messages_out >= 3,
                "{traffic:?}"
            );
            assert!(
                traffic.plain_out >= 6900 && traffic.inflated_in >= 6900,
                "{traffic:?}"
            );
            assert!(traffic.compressed_out < 2000, "{traffic:?}");
            connection.abort();
        }
    }
    assert_eq!(bench.host().messages(), expected);
}

fn a_message_in_parts_is_compressed_part_by_part(bench: &Bench) {
    if bench.is_simulated() {
        claims!(
            "rfc7692/6.1/3",
            "rfc7692/7.2.1/5",
            "rfc7692/7.2.3.6/h1",
            "rfc7692/7.2.1/10"
        );
    }
    let script = || {
        Script::sink().on_message(|connection, kind, message| {
            for part in message.chunks(100) {
                connection.send_part(kind, part, false, None).expect("room");
            }
            connection.send_part(kind, b"", true, None).expect("room");
        })
    };
    for compression in [COMPRESSION, without_takeover()] {
        let place = bench.listen(compressing(compression), script().forgetful());
        let mut client = Packed::open(bench, &place, "");
        for length in [1000, 0, 1000] {
            let message = records(length);
            client.send(bench, Opcode::Text, &message);
            let (whole, frames) = client.take(bench);
            assert_eq!(whole, message);
            assert_eq!(frames.len(), length / 100 + 1);
            for (index, frame) in frames.iter().enumerate() {
                assert_eq!(frame.first & 0x40 != 0, index == 0, "RSV1 of frame {index}");
            }
            let last = &frames[frames.len() - 1];
            assert_eq!(last.payload, [0]);
        }
    }
}

fn the_choice_and_the_threshold_decide_what_is_compressed(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc7692/6.1/1", "rfc7692/6.1/2");
    }
    let mut compression = COMPRESSION;
    compression.threshold_bytes = 100;
    let script = Script::sink().on_message(|connection, kind, message| {
        let choice = [None, Some(true), Some(false)][usize::from(message[0] - b'0')];
        connection.send(kind, message, choice).expect("room");
    });
    let place = bench.listen(compressing(compression), script);
    let mut client = Packed::open(bench, &place, "");
    for (choice, length, is_compressed) in [
        ("0", 99, false),
        ("0", 100, true),
        ("1", 5, true),
        ("2", 1000, false),
        ("1", 1000, true),
    ] {
        let message = choice.repeat(length);
        client.peer.send(bench, &websocket::text(&message));
        let (echo, frames) = client.take(bench);
        assert_eq!(echo, message.as_bytes());
        assert_eq!(
            frames[0].first & 0x40 != 0,
            is_compressed,
            "{choice} {length}"
        );
    }
    let mut plain = websocket::open(bench, &place);
    plain.send(bench, &websocket::text("1 nobody agreed"));
    assert_eq!(plain.frame(bench).first, 0x81);
}

fn what_does_not_get_smaller_goes_as_it_is(bench: &Bench) {
    let place = bench.listen(compressing(without_takeover()), Script::echo());
    let mut client = Packed::open(bench, &place, "");
    let noise: Vec<u8> = pattern(2000)
        .iter()
        .scan(1_u32, |state, byte| {
            *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Some((*state >> 24) as u8 ^ byte)
        })
        .collect();
    client.send(bench, Opcode::Binary, &noise);
    let (echo, frames) = client.take(bench);
    assert_eq!((echo, frames[0].first), (noise, 0x82));
    client.send(bench, Opcode::Binary, &records(2000));
    assert_eq!(client.take(bench).1[0].first, 0xC2);
}

fn parts_are_handed_over_as_they_are_inflated(bench: &Bench) {
    let mut options = compressing(COMPRESSION);
    options.parts = true;
    options.limits.message_bytes_max = 8 << 20;
    let place = bench.listen(options, Script::sink());
    let mut client = Packed::open(bench, &place, "");
    let message = records(3 << 20);
    let frames = client.frames(Opcode::Text, &message, 3);
    client.peer.send(bench, &frames);
    let parts = || {
        let log = bench.host().log();
        let parts = log.into_iter().filter_map(|told| match told {
            Told::Part(_, Kind::Text, part, last) => Some((part, last)),
            _ => None,
        });
        parts.collect::<Vec<_>>()
    };
    bench.until("the end", || parts().iter().any(|it| it.1));
    let parts = parts();
    assert!(parts.len() >= 48);
    assert!(parts.iter().all(|(part, _)| part.len() <= 64 << 10));
    let whole: Vec<u8> = parts.into_iter().flat_map(|it| it.0).collect();
    assert_eq!(whole, message);
}

fn a_pause_holds_back_what_one_receive_inflates_to(bench: &Bench) {
    let mut options = compressing(COMPRESSION);
    options.parts = true;
    options.limits.message_bytes_max = 8 << 20;
    let script = Script::sink().on_part(|connection, _, _, _| connection.pause(1));
    let place = bench.listen(options, script);
    let mut client = Packed::open(bench, &place, "");
    // A few kilobytes on the wire, which come at once.
    client.send(bench, Opcode::Binary, &vec![7; 4 << 20]);
    client.send(bench, Opcode::Binary, b"behind it");
    let bytes = || {
        let log = bench.host().log();
        let parts = log.iter().map(|told| match told {
            Told::Part(_, _, part, _) => part.len(),
            _ => 0,
        });
        parts.sum::<usize>()
    };
    for turn in 1..=64 {
        bench.until("a part", || bytes() >= turn << 16);
        bench.settle();
        assert_eq!(bytes(), turn << 16, "nothing more comes before the resume");
        bench.latest().resume(1);
    }
    bench.until("the end of it", || bench.latest().is_paused(1));
    bench.latest().resume(1);
    bench.until("what is behind it", || bytes() == (4 << 20) + 9);
}

fn a_published_message_is_compressed_once_for_all_who_share_its_shape(bench: &Bench) {
    let script = Script::sink().on_opened(|connection| {
        connection.subscribe("news").expect("open");
    });
    let script = Rc::new(script);
    let shared = |script: &Rc<Script>| {
        let script = script.clone();
        Script::sink().on_opened(move |connection| (script.opened)(connection))
    };
    let with = bench.listen(compressing(COMPRESSION), shared(&script));
    let without = bench.listen(compressing(without_takeover()), shared(&script));
    let mut clients: Vec<Packed> = Vec::new();
    for index in 0..6 {
        let place = [&with, &without][index % 2];
        clients.push(Packed::open(bench, place, ""));
    }
    let mut plain = websocket::open(bench, &without);
    let opened = || with.counters().opened.get() + without.counters().opened.get();
    bench.until("all", || opened() == 7);
    let mut sizes = Vec::new();
    for round in 0..3 {
        let message = records(2000);
        assert_eq!(
            bench
                .engine
                .publish("news", Kind::Text, &message, Publish::default()),
            Ok(7)
        );
        for (index, client) in clients.iter_mut().enumerate() {
            let (got, frames) = client.take(bench);
            assert_eq!((got, frames[0].first), (message.clone(), 0xC1));
            sizes.push((round, index % 2, frames[0].payload.len()));
        }
        assert_eq!(plain.frame(bench).payload, message);
    }
    for (round, shares, size) in sizes {
        // With the context taken over a message that was sent before is nearly nothing.
        assert_eq!(
            size < 100,
            round > 0 && shares == 0,
            "{round} {shares} {size}"
        );
    }
    let traffic = without.counters().compression.get();
    assert_eq!((traffic.messages_out, traffic.plain_out), (9, 18_000));
}

fn memory_is_held_only_where_a_context_is_and_is_reported(bench: &Bench) {
    let held = |place: &crate::kit::Place| place.counters().compression_memory.get();
    let with = bench.listen(compressing(COMPRESSION), Script::echo());
    let without = bench.listen(compressing(without_takeover()), Script::echo());
    for (place, keeps) in [(&with, true), (&without, false)] {
        let mut client = Packed::open(bench, place, "");
        assert_eq!(held(place), 0, "who is silent holds nothing");
        client.send(bench, Opcode::Binary, &records(3000));
        client.take(bench);
        assert_eq!(held(place) > 300 << 10, keeps);
        let frames = client.frames(Opcode::Binary, &records(3000), 2);
        client.peer.send(bench, &frames[..frames.len() - 5]);
        bench.until("the first fragment", || held(place) % (1 << 20) > 40 << 10);
        client.peer.send(bench, &frames[frames.len() - 5..]);
        client.take(bench);
        assert_eq!(held(place) > 0, keeps);
        assert_eq!(bench.latest().compression_statistics().1, held(place));
        drop(client);
        bench.until("the end", || place.counters().closed.get() == 1);
        assert_eq!(held(place), 0);
    }
}

fn messages_that_are_dropped_leave_no_hole_in_the_context(bench: &Bench) {
    for policy in [
        SlowConsumer::DropNewest,
        SlowConsumer::DropOldest,
        SlowConsumer::Wait,
    ] {
        let mut options = compressing(COMPRESSION);
        options.slow_consumer = policy;
        options.limits.write_high_bytes = 2000;
        options.limits.write_low_bytes = 1000;
        options.limits.write_bytes_max = 20_000;
        let script = Script::sink().on_message(|connection, kind, _| {
            for number in 0..60 {
                let message = [records(1000 + number * 40), vec![b'!'; number]].concat();
                let _ = connection.send(kind, &message, None);
            }
        });
        let place = bench.listen(options, script);
        let mut client = Packed::open(bench, &place, "");
        let takes_over = !client.answer.contains("server_no_context_takeover");
        assert_eq!(takes_over, policy != SlowConsumer::DropOldest);
        client.peer.stall(true);
        client.send(bench, Opcode::Text, b"go");
        bench.settle();
        client.peer.stall(false);
        // Those that waited, and made room for others, were taken before.
        let mut sent = bench.latest().traffic()[3];
        if policy == SlowConsumer::DropOldest {
            sent -= bench.latest().dropped();
        }
        for _ in 0..sent {
            let (message, _) = client.take(bench);
            let tail = message
                .iter()
                .rev()
                .take_while(|byte| **byte == b'!')
                .count();
            assert_eq!(message[..message.len() - tail], records(1000 + tail * 40));
        }
        bench.settle();
        assert!(client.peer.is_quiet());
    }
}

fn a_client_compresses_within_the_window_that_the_server_answered(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc7692/7.2.2/10", "rfc7692/7.2.1/12");
    }
    let mut server = COMPRESSION;
    server.settings.client.window_bits = 9;
    let place = bench.listen(compressing(server), Script::echo().forgetful());
    // Nothing repeats but the message itself, farther away than the server remembers.
    let message = records(700);
    let script = Script::sink().on_opened(|connection| {
        for _ in 0..3 {
            connection
                .send(Kind::Text, &records(700), None)
                .expect("room");
        }
    });
    let endpoint = script.endpoint(compressing(COMPRESSION));
    let engine = &bench.engine;
    let connected = engine.connect(&place.address, None, endpoint, Some(handshake()));
    drop(connected.expect("a socket"));
    bench.until("the echoes", || bench.host().messages().len() == 3);
    assert_eq!(
        bench.host().messages(),
        [message.clone(), message.clone(), message]
    );
    assert_eq!(place.counters().protocol_errors.get(), 0);
}
