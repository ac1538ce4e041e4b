//! Whatever a peer sends, the work grows in proportion to its bytes: an input of thirty times the
//! size costs about thirty times as much, and not nine hundred times.
//!
//! Every kind of input that repeats something is read at two sizes. The cost is the processor time
//! of the thread, the least of several runs, so that other processes do not count; a pair that
//! looks too expensive is measured again. Quadratic work exceeds the bound in every measurement:
//! 9,000 names of subprotocols that are compared with one another cost nine hundred times what 300
//! cost.

use std::hint::black_box;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use vespiary_wire::framing::length::{Format, LengthDecoder};
use vespiary_wire::framing::line::LineDecoder;
use vespiary_wire::http::{self, Headers as _, RequestReader, ResponseReader};
use vespiary_wire::utf8::{Replacer, Validator};
use vespiary_wire::websocket::decoder::{Decoder, Limits, Role};
use vespiary_wire::websocket::deflate::{self, Direction, Settings};
use vespiary_wire::websocket::extension;
use vespiary_wire::websocket::handshake::{self, Acceptance, Offered};
use vespiary_wire::websocket::profile::Version;

const SMALL: usize = 300;
const FACTOR: usize = 30;
/// How much more than in proportion an input may cost: room for caches and allocators.
const EXCESS_MAX: u32 = 5;
const TRIES: usize = 8;

const UNLIMITED: http::Limits = http::Limits {
    header_bytes_max: usize::MAX,
    headers_max: usize::MAX,
};
const FRAMES: Limits = Limits {
    frame_bytes_max: u64::MAX,
    message_bytes_max: u64::MAX,
    fragments_max: u32::MAX,
};
const DIRECTION: Direction = Direction {
    context_takeover: true,
    window_bits: 15,
};
const SETTINGS: Settings = Settings {
    server: DIRECTION,
    client: DIRECTION,
};
const UPGRADE: &str = "Host: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

/// An input of `count` repetitions, and what reads it.
struct Kind {
    name: &'static str,
    input: fn(usize) -> Vec<u8>,
    read: fn(&[u8]),
}

fn cost(kind: &Kind, input: &[u8]) -> Duration {
    let time = || {
        let began = processor_time();
        (kind.read)(black_box(input));
        processor_time().saturating_sub(began)
    };
    (0..5).map(|_| time()).min().unwrap_or_default()
}

/// What this thread has spent of a processor so far.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn check(kinds: &[Kind]) {
    for kind in kinds {
        let (small, large) = ((kind.input)(SMALL), (kind.input)(SMALL * FACTOR));
        let growth = (large.len() / small.len()) as u32;
        assert!(growth > 5, "{}: the input hardly grows", kind.name);
        let (mut cheap, mut dear) = (cost(kind, &small), cost(kind, &large));
        for _ in 0..TRIES {
            if dear <= cheap * growth * EXCESS_MAX {
                break;
            }
            cheap = cheap.max(cost(kind, &small));
            dear = dear.min(cost(kind, &large));
        }
        assert!(
            dear <= cheap * growth * EXCESS_MAX,
            "{}: {growth} times the bytes cost {dear:?} instead of {cheap:?}",
            kind.name
        );
    }
}

fn many(count: usize, text: impl Fn(usize) -> String) -> String {
    (0..count).map(text).collect()
}

fn list(count: usize, text: impl Fn(usize) -> String) -> String {
    (0..count).map(text).collect::<Vec<_>>().join(", ")
}

fn request(lines: &str) -> Vec<u8> {
    format!("GET /chat HTTP/1.1\r\n{UPGRADE}{lines}\r\n").into_bytes()
}

fn response(lines: &str) -> Vec<u8> {
    let first = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    format!("{first}{lines}\r\n").into_bytes()
}

/// All that a server does with a request, whether it is accepted or refused.
fn serve(bytes: &[u8]) {
    let Ok(Some((head, _))) = http::parse_request(bytes, &UNLIMITED) else {
        return;
    };
    let _ = black_box(http::check_service(&head, false));
    black_box(head.body_length());
    black_box((head.may_persist(), head.expects_continue()));
    black_box((head.path_and_query(), head.authority()));
    let mut out = Vec::new();
    let header_lines = head.lines();
    let header_lines: Vec<_> = header_lines
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    match handshake::check(&head, &Version::ALL) {
        Err(refusal) => refusal.append_to(&mut out).expect("clean lines"),
        Ok(upgrade) => {
            let profile = upgrade.version.profile();
            let lines = upgrade.extensions.iter();
            let offers: Vec<_> = lines
                .flat_map(|line| extension::parse(profile, line).unwrap_or_default())
                .collect();
            black_box(deflate::accept(&offers, &SETTINGS));
            let acceptance = Acceptance {
                accept: &handshake::accept_value(&upgrade.key),
                protocol: upgrade.protocols.last().map(String::as_str),
                extensions: None,
                extra: &header_lines[5..],
            };
            let _ = handshake::append_response(&mut out, &acceptance);
        }
    }
    let _ = black_box(http::append_response(&mut out, 200, &header_lines, b""));
}

/// The same of a head that comes byte by byte.
fn serve_in_bytes(bytes: &[u8]) {
    let mut reader = RequestReader::new();
    for end in 1..=bytes.len() {
        let parsed = reader.parse(&bytes[..end], &UNLIMITED);
        assert!(parsed.is_ok_and(|parsed| parsed.is_some() == (end == bytes.len())));
    }
}

/// All that a client does with a response.
fn accept(bytes: &[u8]) {
    let mut reader = ResponseReader::new();
    let Ok(Some((head, _))) = reader.parse(bytes, &UNLIMITED) else {
        return;
    };
    let offer = deflate::Offer::new(&SETTINGS);
    let offered = Offered {
        deflate: Some(&offer),
        ..Offered::default()
    };
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    let _ = black_box(handshake::check_response(
        &head,
        Version::Rfc6455,
        key,
        &offered,
    ));
    black_box(head.has_token("connection", "close"));
}

#[test]
fn an_opening_handshake_of_any_kind_costs_in_proportion_to_its_bytes() {
    check(&[
        Kind {
            name: "subprotocols in one line",
            input: |count| {
                let names = list(count, |number| format!("name-{number}"));
                request(&format!("Sec-WebSocket-Protocol: {names}\r\n"))
            },
            read: serve,
        },
        Kind {
            name: "subprotocols in a line each",
            input: |count| {
                request(&many(count, |number| {
                    format!("Sec-WebSocket-Protocol: n{number}\r\n")
                }))
            },
            read: serve,
        },
        Kind {
            name: "extensions in one line",
            input: |count| {
                let offers = list(count, |number| format!("permessage-deflate; x={number}"));
                request(&format!("Sec-WebSocket-Extensions: {offers}\r\n"))
            },
            read: serve,
        },
        Kind {
            name: "extensions in a line each",
            input: |count| {
                request(&many(count, |number| {
                    format!("Sec-WebSocket-Extensions: x{number}\r\n")
                }))
            },
            read: serve,
        },
        Kind {
            name: "parameters of one extension",
            input: |count| {
                let parameters = many(count, |number| format!("; x-{number}=\"{number}\""));
                let line = format!("permessage-deflate; client_max_window_bits{parameters}");
                request(&format!("Sec-WebSocket-Extensions: {line}\r\n"))
            },
            read: serve,
        },
        Kind {
            name: "headers of different names",
            input: |count| request(&many(count, |number| format!("X-{number}: {number}\r\n"))),
            read: serve,
        },
        Kind {
            name: "headers of one name",
            input: |count| request(&many(count, |number| format!("Cookie: a={number}\r\n"))),
            read: serve,
        },
    ]);
}

#[test]
fn a_head_of_any_kind_costs_in_proportion_to_its_bytes() {
    check(&[
        Kind {
            name: "origins",
            input: |count| {
                request(&many(count, |number| {
                    format!("Origin: http://a{number}\r\n")
                }))
            },
            read: serve,
        },
        Kind {
            name: "options of a connection",
            input: |count| {
                let options = list(count, |number| format!("x{number}"));
                request(&format!("Connection: {options}\r\nExpect: {options}\r\n"))
            },
            read: serve,
        },
        Kind {
            name: "elements of a list that are empty",
            input: |count| request(&format!("Connection: {}\r\n", ", \t".repeat(count))),
            read: serve,
        },
        Kind {
            name: "transfer codings",
            input: |count| {
                let codings = list(count, |_| "chunked".to_owned());
                request(&format!("Transfer-Encoding: {codings}\r\n"))
            },
            read: serve,
        },
        Kind {
            name: "a long target",
            input: |count| {
                let query = many(count, |number| format!("&a{number}=%20"));
                format!("GET http://a/?{query} HTTP/1.1\r\n{UPGRADE}\r\n").into_bytes()
            },
            read: serve,
        },
        Kind {
            name: "a long host",
            input: |count| {
                let host = "%41.".repeat(count);
                format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
            },
            read: serve,
        },
        Kind {
            name: "space around a value",
            input: |count| request(&format!("X: {0}a{0}\r\n", " \t".repeat(count))),
            read: serve,
        },
        Kind {
            name: "a head byte by byte",
            input: |count| request(&many(count, |number| format!("X-{number}: {number}\r\n"))),
            read: serve_in_bytes,
        },
    ]);
}

#[test]
fn a_response_of_any_kind_costs_in_proportion_to_its_bytes() {
    check(&[
        Kind {
            name: "extensions that were not offered",
            input: |count| {
                let answers = list(count, |number| format!("x{number}"));
                response(&format!("Sec-WebSocket-Extensions: {answers}\r\n"))
            },
            read: accept,
        },
        Kind {
            name: "an extension again and again",
            input: |count| {
                let answers = list(count, |_| "permessage-deflate".to_owned());
                response(&format!("Sec-WebSocket-Extensions: {answers}\r\n"))
            },
            read: accept,
        },
        Kind {
            name: "subprotocols",
            input: |count| {
                response(&many(count, |number| {
                    format!("Sec-WebSocket-Protocol: {number}\r\n")
                }))
            },
            read: accept,
        },
        Kind {
            name: "headers",
            input: |count| response(&many(count, |number| format!("Set-Cookie: a={number}\r\n"))),
            read: accept,
        },
    ]);
}

fn frames(bytes: &[u8], piece: usize) {
    let mut decoder = Decoder::new(Role::Server, Version::Rfc6455);
    for mut input in bytes.chunks(piece) {
        while let Ok(Some(event)) = decoder.next(&mut input, &FRAMES) {
            black_box(event);
        }
    }
}

#[test]
fn a_stream_of_any_kind_costs_in_proportion_to_its_bytes() {
    check(&[
        Kind {
            name: "fragments of one message",
            input: |count| {
                [
                    &[0x01, 0x80, 0, 0, 0, 0][..],
                    &[0, 0x80, 0, 0, 0, 0].repeat(count),
                ]
                .concat()
            },
            read: |bytes| frames(bytes, usize::MAX),
        },
        Kind {
            name: "pings byte by byte",
            input: |count| [0x89, 0x81, 1, 2, 3, 4, 5].repeat(count),
            read: |bytes| frames(bytes, 1),
        },
        Kind {
            name: "a long line byte by byte",
            input: |count| vec![b'a'; 100 * count],
            read: |bytes| {
                let mut decoder = LineDecoder::new();
                for mut input in bytes.chunks(1) {
                    assert_eq!(decoder.next(&mut input, u64::MAX), Ok(None));
                }
            },
        },
        Kind {
            name: "short lines",
            input: |count| b"a\r\n".repeat(100 * count),
            read: |mut bytes| {
                let mut decoder = LineDecoder::new();
                while let Ok(Some(line)) = decoder.next(&mut bytes, u64::MAX) {
                    black_box(line);
                }
            },
        },
        Kind {
            name: "messages of no bytes with a length",
            input: |count| vec![0; 100 * count],
            read: |mut bytes| {
                let format = Format::new(1, true, false).expect("a width");
                let mut decoder = LengthDecoder::new();
                while let Ok(Some(chunk)) = decoder.next(&mut bytes, &format, u64::MAX) {
                    black_box(chunk);
                }
            },
        },
        Kind {
            name: "text byte by byte",
            input: |count| "aé€𝄞".repeat(10 * count).into_bytes(),
            read: |bytes| {
                let mut validator = Validator::default();
                let all = bytes.chunks(1).all(|byte| validator.feed(byte).is_ok());
                assert!(all);
            },
        },
        Kind {
            name: "text that is not UTF-8, byte by byte",
            input: |count| b"\xf0\x9d\xff".repeat(10 * count),
            read: |bytes| {
                let (mut replacer, mut out) = (Replacer::default(), Vec::new());
                for byte in bytes.chunks(1) {
                    replacer.feed(byte, &mut out);
                }
                black_box(out);
            },
        },
    ]);
}
