//! WebSocket version 8 (HyBi-09) beside 13: negotiation, mended text, and `deflate-stream`.

use crate::kit::defaults;
use crate::kit::websocket::{self, close, masked, parse, text, unmasked};
use crate::kit::{Bench, Conn, Place, Script, Told, pattern};
use vespiary_engine::wire::websocket::close::Code;
use vespiary_engine::wire::websocket::deflate_stream::{Reader, Writer};
use vespiary_engine::wire::websocket::frame::Opcode;
use vespiary_engine::wire::websocket::profile::Version;
use vespiary_engine::{ClientHandshake, Framing, Kind, Limit, Manner, Options, WebSocketOptions};
use vespiary_trace::claims;

on_every_driver_and_with_faults!(
    each_client_is_answered_in_the_version_that_it_names,
    the_origin_of_a_client_of_version_8_is_confirmed,
    a_close_code_of_ours_is_reported_as_version_8_knows_it,
    a_client_of_version_8_mends_text_that_is_not_utf8,
    a_client_of_version_8_mends_the_parts_of_a_text,
    a_compressed_stream_is_echoed_compressed_however_it_is_cut,
    client_and_server_of_this_engine_compress_both_streams,
    frames_that_follow_a_compressing_servers_answer_at_once_are_read,
    a_stream_that_cannot_be_inflated_fails_with_1002,
    a_paused_connection_continues_with_what_was_inflated,
);

on_every_driver!(
    a_bomb_is_cut_off_by_the_limit_on_messages,
    megabytes_of_zeros_that_are_skipped_are_taken_in_turns,
);

fn options(version: Version, deflate_stream: bool) -> Options {
    Options {
        websocket: WebSocketOptions {
            versions: vec![version],
            deflate_stream,
            ..WebSocketOptions::default()
        },
        ..defaults(Framing::WebSocket)
    }
}

fn both() -> Options {
    let mut options = options(Version::Rfc6455, false);
    options.websocket.versions.push(Version::Hybi09);
    options
}

const OFFER: &str = "Sec-WebSocket-Extensions: x-other, deflate-stream\r\n";

fn request(lines: &str) -> String {
    websocket::request("/", lines).replace("Version: 13", "Version: 8")
}

/// Connect to `place` as a client with these options.
fn connect(bench: &Bench, place: &Place, script: Script, options: Options) -> Conn {
    let handshake = ClientHandshake {
        host: "test".to_owned(),
        target: "/".to_owned(),
        protocols: Vec::new(),
        headers: Vec::new(),
    };
    let endpoint = script.endpoint(options);
    let connected = bench
        .engine
        .connect(&place.address, None, endpoint, Some(handshake));
    connected.expect("a socket")
}

/// Inflate all of `bytes`.
fn inflate(reader: &mut Reader, mut bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    loop {
        let mut step = [0; 100];
        let count = reader
            .inflate(&mut bytes, &mut step)
            .expect("a whole stream");
        plain.extend_from_slice(&step[..count]);
        if count < step.len() {
            return plain;
        }
    }
}

fn each_client_is_answered_in_the_version_that_it_names(bench: &Bench) {
    claims!("hybi09/5.2.2/5");
    let place = bench.listen(both(), Script::echo());
    for (version, asked) in [(Version::Rfc6455, "13"), (Version::Hybi09, "8")] {
        let mut peer = bench.connect(&place);
        let head = websocket::request("/", "").replace("Version: 13", &format!("Version: {asked}"));
        peer.send(bench, head.as_bytes());
        assert!(peer.head(bench).starts_with("HTTP/1.1 101 "));
        assert_eq!(bench.latest().version(), Some(version));
        peer.send(bench, &text("hello"));
        assert_eq!(peer.frame(bench).payload, b"hello");
    }
    let mut peer = bench.connect(&place);
    let wrong = websocket::request("/", "").replace("Version: 13", "Version: 7");
    peer.send(bench, wrong.as_bytes());
    let head = peer.head(bench);
    assert!(head.starts_with("HTTP/1.1 426 "), "{head}");
    assert!(
        head.contains("\r\nSec-WebSocket-Version: 13, 8\r\n"),
        "{head}"
    );
}

fn the_origin_of_a_client_of_version_8_is_confirmed(bench: &Bench) {
    claims!("hybi09/11.8/h1", "hybi09/5.2.1/2");
    let place = bench.listen(both(), Script::echo());
    let line = "Sec-WebSocket-Origin: http://a.test\r\n";
    let mut peer = bench.connect(&place);
    peer.send(bench, request(line).as_bytes());
    let head = peer.head(bench);
    assert!(head.contains(&format!("\r\n{line}")), "{head}");
    let mut peer = bench.connect(&place);
    peer.send(bench, websocket::request("/", line).as_bytes());
    let head = peer.head(bench);
    assert!(!head.contains("Sec-WebSocket-Origin"), "{head}");
}

fn a_close_code_of_ours_is_reported_as_version_8_knows_it(bench: &Bench) {
    let place = bench.listen(both(), Script::echo());
    let mut peer = bench.connect(&place);
    peer.send(bench, request("").as_bytes());
    peer.head(bench);
    bench.latest().close(Code::INTERNAL_ERROR, "a fault");
    assert_eq!(peer.frame(bench).code(), Some(1001));
    peer.send(bench, &close(1001, ""));
    peer.finish();
    bench.until_closed(1);
    assert_eq!(bench.host().reasons()[0].code, Some(1001));
}

fn a_client_of_version_8_mends_text_that_is_not_utf8(bench: &Bench) {
    claims!("hybi09/8.1/1");
    let server = Script::sink().on_message(|_, _, _| {});
    let place = bench.listen(
        options(Version::Hybi09, false),
        server.on_opened(|connection| {
            connection
                .send(Kind::Text, b"\xffwhole", None)
                .expect("room");
            connection
                .send_part(Kind::Text, b"cut \xe2\x82", false, None)
                .expect("room");
            connection
                .send_part(Kind::Text, b"\xac \xc3", true, None)
                .expect("room");
        }),
    );
    connect(
        bench,
        &place,
        Script::sink(),
        options(Version::Hybi09, false),
    );
    bench.until("two messages", || bench.host().messages().len() == 2);
    let expected = ["\u{FFFD}whole", "cut \u{20AC} \u{FFFD}"];
    assert_eq!(
        bench.host().messages(),
        expected.map(|text| text.as_bytes().to_vec())
    );
}

fn a_client_of_version_8_mends_the_parts_of_a_text(bench: &Bench) {
    claims!("hybi09/8.1/1");
    let place = bench.listen(
        options(Version::Hybi09, false),
        Script::sink().on_opened(|connection| {
            connection
                .send_part(Kind::Text, b"a\xff\xe2", false, None)
                .expect("room");
            connection
                .send_part(Kind::Text, b"\x82", false, None)
                .expect("room");
            connection
                .send_part(Kind::Text, b"\xacb\xe2", true, None)
                .expect("room");
            connection.send(Kind::Text, b"\xff", None).expect("room");
        }),
    );
    let parts = Options {
        parts: true,
        ..options(Version::Hybi09, false)
    };
    let script = Script::sink().on_part(|_, kind, part, _| {
        assert_eq!(kind, Kind::Text);
        assert!(std::str::from_utf8(part).is_ok());
    });
    connect(bench, &place, script, parts);
    let told = || -> Vec<u8> {
        let log = bench.host().log();
        let parts = log.iter().filter_map(|told| match told {
            Told::Part(_, _, part, _) => Some(&part[..]),
            _ => None,
        });
        parts.collect::<Vec<_>>().concat()
    };
    let whole = "a\u{FFFD}\u{20AC}b\u{FFFD}\u{FFFD}";
    bench.until("the parts", || told().len() == whole.len());
    assert_eq!(told(), whole.as_bytes());
}

fn a_compressed_stream_is_echoed_compressed_however_it_is_cut(bench: &Bench) {
    claims!("hybi09/9.2.1/1", "hybi09/9.2.1/3", "hybi09/9.2.1/5");
    let place = bench.listen(options(Version::Hybi09, true), Script::echo());
    let mut peer = bench.connect(&place);
    peer.send(bench, request(OFFER).as_bytes());
    let head = peer.head(bench);
    let granted = "\r\nSec-WebSocket-Extensions: deflate-stream\r\n";
    assert!(head.contains(granted), "{head}");
    let mut writer = Writer::default();
    let long = pattern(100_000);
    let mut stream = deflated(&mut writer, &text("hello hello hello hello"));
    stream.extend(deflated(&mut writer, &masked(true, Opcode::Ping, b"ping")));
    stream.extend(deflated(&mut writer, &masked(true, Opcode::Binary, &long)));
    for piece in stream.chunks(7001) {
        peer.send(bench, piece);
        bench.turn();
    }
    let mut reader = Reader::default();
    let mut plain = Vec::new();
    for (first, payload) in [
        (0x81, &b"hello hello hello hello"[..]),
        (0x8A, b"ping"),
        (0x82, &long),
    ] {
        let mut frame = None;
        bench.until("a frame", || {
            peer.look();
            plain.extend(inflate(&mut reader, &std::mem::take(&mut peer.input)));
            frame = parse(&mut plain);
            frame.is_some()
        });
        let frame = frame.expect("until it is there");
        assert_eq!((frame.first, frame.masked), (first, false));
        assert!(frame.payload == payload);
    }
    peer.send(bench, &deflated(&mut writer, &close(1000, "")));
    let (rest, _) = peer.take_rest(bench);
    plain.extend(inflate(&mut reader, &rest));
    assert_eq!(parse(&mut plain).and_then(|frame| frame.code()), Some(1000));
    assert!(plain.is_empty());
}

fn client_and_server_of_this_engine_compress_both_streams(bench: &Bench) {
    claims!("hybi09/9.2.1/1");
    let place = bench.listen(options(Version::Hybi09, true), Script::echo());
    let payload = vec![b'a'; 50_000];
    let sent = payload.clone();
    let client = Script::sink().on_opened(move |connection| {
        connection.send(Kind::Binary, &sent, None).expect("room");
    });
    let connection = connect(bench, &place, client, options(Version::Hybi09, true));
    bench.until("the message and its echo", || {
        bench.host().messages().len() == 2
    });
    assert!(
        bench
            .host()
            .messages()
            .iter()
            .all(|message| *message == payload)
    );
    let [bytes_in, bytes_out, ..] = connection.traffic();
    // A mask repeats itself within a frame, so that even a client's stream shrinks here.
    assert!(
        bytes_in < 5000 && bytes_out < 5000,
        "{bytes_in} {bytes_out}"
    );
    assert!(connection.buffer_bytes() > Writer::memory_bytes());
    connection.close(Code::NORMAL, "");
    bench.until_closed(2);
    let reasons = bench.host().reasons();
    assert!(
        reasons.iter().all(|reason| reason.code == Some(1000)),
        "{reasons:?}"
    );
}

fn frames_that_follow_a_compressing_servers_answer_at_once_are_read(bench: &Bench) {
    let server = Script::sink().on_opened(|connection| {
        for word in ["one", "two", "three"] {
            connection
                .send(Kind::Text, word.as_bytes(), None)
                .expect("room");
        }
    });
    let place = bench.listen(options(Version::Hybi09, true), server);
    connect(
        bench,
        &place,
        Script::sink(),
        options(Version::Hybi09, true),
    );
    bench.until("three messages", || bench.host().messages().len() == 3);
    assert_eq!(bench.host().messages(), [&b"one"[..], b"two", b"three"]);
}

fn a_stream_that_cannot_be_inflated_fails_with_1002(bench: &Bench) {
    let place = bench.listen(options(Version::Hybi09, true), Script::echo());
    for corrupt in [
        &b"\xff\xff\xff\xff"[..],
        &unmasked(true, Opcode::Text, b"plain"),
    ] {
        let mut peer = bench.connect(&place);
        peer.send(bench, request(OFFER).as_bytes());
        peer.head(bench);
        peer.send(bench, corrupt);
        let (rest, _) = peer.take_rest(bench);
        let mut plain = inflate(&mut Reader::default(), &rest);
        let frame = parse(&mut plain).expect("a close frame");
        assert_eq!(frame.code(), Some(1002));
        assert!(
            frame.reason().contains("HyBi-09 9.2.1"),
            "{}",
            frame.reason()
        );
    }
}

fn a_paused_connection_continues_with_what_was_inflated(bench: &Bench) {
    const PAUSE: u8 = 1;
    let script = Script::sink().on_message(|connection, _, _| connection.pause(PAUSE));
    let place = bench.listen(options(Version::Hybi09, true), script);
    let mut peer = bench.connect(&place);
    peer.send(bench, request(OFFER).as_bytes());
    peer.head(bench);
    let mut frames = text("one");
    frames.extend(text("two"));
    frames.extend(text("three"));
    peer.send(bench, &deflated(&mut Writer::default(), &frames));
    for count in 1..=3 {
        bench.until("a message", || bench.host().messages().len() == count);
        bench.settle();
        assert_eq!(bench.host().messages().len(), count);
        bench.latest().resume(PAUSE);
    }
    assert_eq!(bench.host().messages(), [&b"one"[..], b"two", b"three"]);
}

fn a_bomb_is_cut_off_by_the_limit_on_messages(bench: &Bench) {
    let place = bench.listen(options(Version::Hybi09, true), Script::echo());
    let mut peer = bench.connect(&place);
    peer.send(bench, request(OFFER).as_bytes());
    peer.head(bench);
    let bomb = deflated(
        &mut Writer::default(),
        &masked(true, Opcode::Binary, &vec![0; 8 << 20]),
    );
    assert!(bomb.len() < 60_000, "{}", bomb.len());
    let connection = bench.latest();
    peer.send(bench, &bomb);
    bench.until("the refusal", || connection.reason().is_some());
    let reason = connection.reason().expect("it is there");
    assert_eq!((reason.code, reason.manner), (Some(1004), Manner::Broken));
    assert_eq!(bench.host().limits_reached(Limit::MessageBytes), 1);
    let held = connection.buffer_bytes();
    assert!(held < 600 << 10, "{held}");
}

fn megabytes_of_zeros_that_are_skipped_are_taken_in_turns(bench: &Bench) {
    let place = bench.listen(options(Version::Hybi09, true), Script::sink());
    let mut peer = bench.connect(&place);
    peer.send(bench, request(OFFER).as_bytes());
    peer.head(bench);
    // A frame with a reserved opcode is skipped, however long: here 64 MiB of zeros.
    let length: u64 = 64 << 20;
    let mut head = vec![0x83, 0xFF];
    head.extend(length.to_be_bytes());
    head.extend([0; 4]);
    let mut writer = Writer::default();
    let mut stream = deflated(&mut writer, &head);
    let zeros = vec![0; 1 << 20];
    for _ in 0..64 {
        stream.extend(deflated(&mut writer, &zeros));
    }
    stream.extend(deflated(&mut writer, &text("behind")));
    let turns = std::cell::Cell::new(0);
    peer.send(bench, &stream);
    bench.until("the message behind", || {
        turns.set(turns.get() + 1);
        !bench.host().messages().is_empty()
    });
    assert_eq!(bench.host().messages(), [b"behind"]);
    assert!(place.counters().budget_exhausted.get() >= 1);
}

fn deflated(writer: &mut Writer, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    writer.deflate(bytes, &mut out);
    out
}
