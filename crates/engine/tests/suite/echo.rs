//! What was sent comes back, in every framing and however it was cut.

use crate::kit::defaults;
use crate::kit::{Bench, Ending, Place, Script, pattern, websocket};
use vespiary_engine::Framing;
use vespiary_engine::port::Address;
use vespiary_engine::wire::framing::length::Format;
use vespiary_engine::wire::websocket::frame::Opcode;
use vespiary_trace::claims;

on_every_driver_and_with_faults!(
    raw_bytes_come_back_in_order,
    lines_come_back_with_the_endpoints_ending,
    packets_come_back_whole,
    packets_of_every_format_come_back,
    text_and_binary_messages_come_back_as_what_they_were,
    messages_come_back_however_they_are_cut,
    many_messages_in_one_piece_come_back_in_order,
    a_large_message_comes_back_whole,
    fragments_become_one_message_with_control_frames_between_them,
    connections_over_a_unix_socket_are_served,
    frames_behind_the_request_are_served,
);

fn echo(bench: &Bench, framing: Framing) -> Place {
    bench.listen(defaults(framing), Script::echo())
}

fn lines() -> Framing {
    Framing::Line { ending: b"\r\n" }
}

fn packets() -> Framing {
    Framing::Length(Format::new(4, true, false).expect("a format"))
}

fn raw_bytes_come_back_in_order(bench: &Bench) {
    let place = echo(bench, Framing::Raw);
    let mut peer = bench.connect(&place);
    let bytes = pattern(100_000);
    peer.send(bench, &bytes);
    assert!(peer.take(bench, bytes.len()) == bytes);
    peer.finish();
    assert_eq!(peer.take_rest(bench), (vec![], Ending::Finished));
    bench.until_closed(1);
}

fn lines_come_back_with_the_endpoints_ending(bench: &Bench) {
    let place = echo(bench, lines());
    let mut peer = bench.connect(&place);
    peer.send(bench, b"one\r\ntwo\n\nfour and not the end");
    assert_eq!(peer.take(bench, 12), b"one\r\ntwo\r\n\r\n");
    assert_eq!(bench.host().messages(), [&b"one"[..], b"two", b""]);
}

fn packets_come_back_whole(bench: &Bench) {
    let place = echo(bench, packets());
    let mut peer = bench.connect(&place);
    let sent = b"\0\0\0\x03abc\0\0\0\0\0\0\0\x01d";
    peer.send(bench, sent);
    assert_eq!(peer.take(bench, sent.len()), sent);
    assert_eq!(bench.host().messages(), [&b"abc"[..], b"", b"d"]);
}

fn packets_of_every_format_come_back(bench: &Bench) {
    for width in [1, 2, 4, 8] {
        for (big_endian, includes_itself) in [(true, false), (false, true)] {
            let format = Format::new(width, big_endian, includes_itself).expect("a format");
            let place = echo(bench, Framing::Length(format));
            let mut peer = bench.connect(&place);
            let length = 5 + u64::from(if includes_itself { width } else { 0 });
            let mut sent = if big_endian {
                length.to_be_bytes()[8 - usize::from(width)..].to_vec()
            } else {
                length.to_le_bytes()[..usize::from(width)].to_vec()
            };
            sent.extend_from_slice(b"hello");
            peer.send(bench, &sent);
            assert_eq!(peer.take(bench, sent.len()), sent, "{format:?}");
        }
    }
}

fn text_and_binary_messages_come_back_as_what_they_were(bench: &Bench) {
    if bench.is_simulated() {
        claims!(
            "rfc6455/5.1/4",
            "rfc6455/5.1/7",
            "rfc6455/5.6/h1",
            "rfc6455/6.1/4",
            "rfc6455/6.1/6",
            "rfc6455/6.1/9",
            "rfc6455/6.2/1",
            "rfc6455/4.2.2/h8"
        );
    }
    let place = echo(bench, Framing::WebSocket);
    let mut peer = websocket::open(bench, &place);
    for length in [0, 1, 125, 126, 127, 65_535, 65_536] {
        let payload = pattern(length);
        peer.send(bench, &websocket::binary(&payload));
        let frame = peer.frame(bench);
        assert_eq!((frame.first, frame.masked), (0x82, false), "{length}");
        assert!(frame.payload == payload, "{length}");
    }
    peer.send(bench, &websocket::text("grüße ✓"));
    let frame = peer.frame(bench);
    assert_eq!((frame.first, frame.payload), (0x81, "grüße ✓".into()));
}

/// Send `bytes` cut in two at every place; each time `expected` comes back.
fn cut_everywhere(bench: &Bench, framing: &Framing, bytes: &[u8], expected: &[u8]) {
    let place = echo(bench, framing.clone());
    let websocket = *framing == Framing::WebSocket;
    let mut peer = if websocket {
        websocket::open(bench, &place)
    } else {
        bench.connect_open(&place)
    };
    for cut in 1..bytes.len() {
        let before = place.counters().bytes_in.get();
        peer.send(bench, &bytes[..cut]);
        let reached = before + cut as u64;
        bench.until("the first piece", || {
            place.counters().bytes_in.get() == reached
        });
        peer.send(bench, &bytes[cut..]);
        assert_eq!(peer.take(bench, expected.len()), expected, "cut at {cut}");
    }
    assert!(peer.is_quiet());
}

fn messages_come_back_however_they_are_cut(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc6455/6.2/7");
    }
    cut_everywhere(
        bench,
        &lines(),
        b"first\r\nsecond\r\n",
        b"first\r\nsecond\r\n",
    );
    let packet = b"\0\0\0\x05first\0\0\0\x06second";
    cut_everywhere(bench, &packets(), packet, packet);
    let text = "grüße ✓";
    let mut sent = websocket::masked(false, Opcode::Text, &text.as_bytes()[..3]);
    sent.extend(websocket::masked(
        true,
        Opcode::Continuation,
        &text.as_bytes()[3..],
    ));
    sent.extend(websocket::binary(&[9; 130]));
    let mut expected = websocket::unmasked(true, Opcode::Text, text.as_bytes());
    expected.extend(websocket::unmasked(true, Opcode::Binary, &[9; 130]));
    cut_everywhere(bench, &Framing::WebSocket, &sent, &expected);
}

fn many_messages_in_one_piece_come_back_in_order(bench: &Bench) {
    let place = echo(bench, Framing::WebSocket);
    let mut peer = websocket::open(bench, &place);
    let mut sent = Vec::new();
    for number in 0..2_000u32 {
        sent.extend(websocket::text(&number.to_string()));
    }
    peer.send(bench, &sent);
    for number in 0..2_000u32 {
        assert_eq!(peer.frame(bench).payload, number.to_string().as_bytes());
    }
}

fn a_large_message_comes_back_whole(bench: &Bench) {
    let place = echo(bench, Framing::WebSocket);
    let mut peer = websocket::open(bench, &place);
    let payload = pattern(1 << 20);
    let sent = websocket::binary(&payload);
    let mut rest = &sent[..];
    bench.until("all to be sent", || {
        let written = peer.write(rest).expect("a connection");
        rest = &rest[written..];
        peer.look();
        rest.is_empty()
    });
    let frame = peer.frame(bench);
    assert_eq!(frame.first, 0x82);
    assert!(frame.payload == payload);
}

fn fragments_become_one_message_with_control_frames_between_them(bench: &Bench) {
    if bench.is_simulated() {
        claims!(
            "rfc6455/5.4/1",
            "rfc6455/5.4/3",
            "rfc6455/5.4/5",
            "rfc6455/5.4/7",
            "rfc6455/5.4/h2",
            "rfc6455/5.5.2/2",
            "rfc6455/5.5.2/3",
            "rfc6455/5.5.3/h1",
            "rfc6455/6.2/2",
            "rfc6455/6.2/h1"
        );
    }
    let place = echo(bench, Framing::WebSocket);
    let mut peer = websocket::open(bench, &place);
    let mut sent = websocket::masked(false, Opcode::Binary, b"");
    sent.extend(websocket::masked(true, Opcode::Ping, b"are you there"));
    sent.extend(websocket::masked(false, Opcode::Continuation, b"one "));
    sent.extend(websocket::masked(true, Opcode::Pong, b"nobody asked"));
    sent.extend(websocket::masked(true, Opcode::Continuation, b"message"));
    peer.send(bench, &sent);
    let pong = peer.frame(bench);
    assert_eq!(
        (pong.first, &pong.payload[..]),
        (0x8A, &b"are you there"[..])
    );
    let message = peer.frame(bench);
    assert_eq!(
        (message.first, &message.payload[..]),
        (0x82, &b"one message"[..])
    );
    assert_eq!(place.counters().messages_in.get(), 1);
}

fn connections_over_a_unix_socket_are_served(bench: &Bench) {
    let name = format!("vespiary-engine-{}-{:p}.socket", std::process::id(), bench);
    let path = std::env::temp_dir().join(name);
    let address = Address::Unix(path);
    let place = bench.listen_at(&address, defaults(lines()), Script::echo());
    let mut peer = bench.connect(&place);
    peer.send(bench, b"hello\n");
    assert_eq!(peer.take(bench, 7), b"hello\r\n");
}

fn frames_behind_the_request_are_served(bench: &Bench) {
    let place = echo(bench, Framing::WebSocket);
    let mut peer = bench.connect(&place);
    let mut sent = websocket::request("/", "").into_bytes();
    sent.extend(websocket::text("at once"));
    peer.send(bench, &sent);
    assert!(peer.head(bench).starts_with("HTTP/1.1 101 "));
    assert_eq!(peer.frame(bench).payload, b"at once");
}
