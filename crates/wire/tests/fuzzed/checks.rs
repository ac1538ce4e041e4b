//! What must hold of any bytes at all. Shared by the fuzzing targets (`fuzz/`), which look for
//! bytes of which it does not, and by `main.rs`, which tries those that were found or are known to
//! be hard, on every run of the tests.

use vespiary_wire::framing::length::{Format, LengthDecoder};
use vespiary_wire::framing::line::LineDecoder;
use vespiary_wire::http::{self, RequestReader};
use vespiary_wire::mask;
use vespiary_wire::proxy;
use vespiary_wire::utf8::{Replacer, Validator};
use vespiary_wire::websocket::close;
use vespiary_wire::websocket::decoder::{Decoder, Event, Limits, Role};
use vespiary_wire::websocket::deflate::{History, Inflater};
use vespiary_wire::websocket::extension;
use vespiary_wire::websocket::handshake;
use vespiary_wire::websocket::profile::Version;

/// Checks some bytes; panics if what must hold does not.
pub type Check = fn(&[u8]);

/// Every check, by the name of its target and of its folder of inputs.
pub const CHECKS: [(&str, Check); 10] = [
    ("head", head),
    ("frames", frames),
    ("handshake", upgrade),
    ("extensions", extensions),
    ("close", close_payload),
    ("inflate", inflate),
    ("utf8", utf8),
    ("line", line),
    ("length", length),
    ("proxy", proxy_header),
];

const HEAD_LIMITS: http::Limits = http::Limits {
    header_bytes_max: 2048,
    headers_max: 20,
};

/// The bytes after the first, and the first, which chooses a variant.
fn choose(bytes: &[u8]) -> (u8, &[u8]) {
    bytes
        .split_first()
        .map_or((0, bytes), |(first, rest)| (*first, rest))
}

/// A request that is taken is read alike by another parser, and alike when it comes in two pieces.
pub fn head(bytes: &[u8]) {
    let whole = http::parse_request(bytes, &HEAD_LIMITS);
    for place in (0..bytes.len()).step_by(1 + bytes.len() / 40) {
        let mut reader = RequestReader::new();
        let begun = reader.parse(&bytes[..place], &HEAD_LIMITS);
        if let Ok(None) = begun {
            assert_eq!(reader.parse(bytes, &HEAD_LIMITS), whole, "cut at {place}");
        } else {
            assert_eq!(begun.is_ok(), whole.is_ok(), "cut at {place}");
        }
    }
    let Ok(Some((request, end))) = whole else {
        return;
    };
    let mut lines = [httparse::EMPTY_HEADER; 20];
    let mut theirs = httparse::Request::new(&mut lines);
    let status = theirs.parse(bytes);
    // RFC 9110 2.5: a later minor version is read like 1.1. The other parser refuses it.
    if status == Err(httparse::Error::Version) {
        assert!(bytes.windows(8).any(|part| part == b" HTTP/1."));
        return;
    }
    assert_eq!(status, Ok(httparse::Status::Complete(end)));
    assert_eq!(theirs.method, Some(request.method()));
    assert_eq!(theirs.path, Some(request.target()));
    assert_eq!(theirs.headers.len(), request.line_count());
}

/// What came out of a decoder, however the input was cut.
#[derive(PartialEq, Debug)]
enum Seen {
    Message(bool, Vec<u8>),
    Control(u8, Vec<u8>),
    Refused(u16),
}

fn decode<'a>(
    mut decoder: Decoder,
    limits: &Limits,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<Seen> {
    let mut seen = Vec::new();
    for mut input in pieces {
        loop {
            match decoder.next(&mut input, limits) {
                Ok(None) => break,
                Ok(Some(Event::Control(it))) => {
                    seen.push(Seen::Control(it.opcode as u8, it.payload().to_vec()));
                }
                Ok(Some(Event::Data(data))) => {
                    let mut payload = vec![0; data.payload.len()];
                    mask::copy(&mut payload, data.payload, data.key);
                    match seen.last_mut() {
                        Some(Seen::Message(false, before)) if !data.message_start => {
                            before.extend(payload);
                        }
                        _ => seen.push(Seen::Message(false, payload)),
                    }
                    if let Some(Seen::Message(ended, _)) = seen.last_mut() {
                        *ended = data.message_end;
                    }
                }
                Err(error) => {
                    seen.push(Seen::Refused(error.code.0));
                    return seen;
                }
            }
        }
        assert!(input.is_empty(), "more was wanted while bytes were left");
    }
    seen
}

/// Frames are the same by the rules of either version however they are cut.
pub fn frames(bytes: &[u8]) {
    let (choice, bytes) = choose(bytes);
    let role = if choice & 1 == 0 {
        Role::Server
    } else {
        Role::Client
    };
    let limits = Limits {
        frame_bytes_max: if choice & 2 == 0 { u64::MAX } else { 200 },
        message_bytes_max: if choice & 4 == 0 { u64::MAX } else { 300 },
        fragments_max: if choice & 8 == 0 { u32::MAX } else { 3 },
    };
    for version in Version::ALL {
        let new = || {
            let decoder = Decoder::new(role, version);
            if choice & 16 == 0 {
                decoder
            } else {
                decoder.with_compression()
            }
        };
        let whole = decode(new(), &limits, [bytes]);
        // A control frame between two pieces of a message parts what a cut would put together.
        if whole.iter().any(|it| matches!(it, Seen::Control(..))) {
            decode(new(), &limits, bytes.chunks(1));
            continue;
        }
        assert_eq!(decode(new(), &limits, bytes.chunks(1)), whole);
        let (one, two) = bytes.split_at(usize::from(choice) % (bytes.len() + 1));
        assert_eq!(decode(new(), &limits, [one, two]), whole);
    }
}

/// A handshake that is accepted has a key and a version, and is answered by one that our client
/// accepts.
pub fn upgrade(bytes: &[u8]) {
    let Ok(Some((request, _))) = http::parse_request(bytes, &HEAD_LIMITS) else {
        return;
    };
    let Ok(upgrade) = handshake::check(&request, &Version::ALL) else {
        return;
    };
    assert_eq!(upgrade.key.len(), 24);
    let mut response = Vec::new();
    let chosen = upgrade.protocols.first().map(String::as_str);
    let acceptance = handshake::Acceptance {
        accept: &handshake::accept_value(&upgrade.key),
        protocol: chosen,
        ..handshake::Acceptance::default()
    };
    handshake::append_response(&mut response, &acceptance).expect("clean lines");
    let parsed = http::parse_response(&response, &HEAD_LIMITS);
    if let Ok(Some((head, _))) = parsed {
        let offered = handshake::Offered {
            protocols: &upgrade.protocols,
            ..handshake::Offered::default()
        };
        let agreed = handshake::check_response(&head, upgrade.version, &upgrade.key, &offered);
        assert_eq!(agreed.expect("our own answer").protocol.as_deref(), chosen);
    }
}

/// A list of extensions that is read is read the same once it is written out.
pub fn extensions(bytes: &[u8]) {
    let Ok(value) = std::str::from_utf8(bytes) else {
        return;
    };
    let (new, old) = (Version::Rfc6455.profile(), Version::Hybi09.profile());
    let Ok(list) = extension::parse(new, value) else {
        assert!(extension::parse(old, value).is_err());
        return;
    };
    let write = |(name, value): &(String, Option<String>)| match value {
        None => format!("; {name}"),
        Some(value) => format!("; {name}={value}"),
    };
    let written: Vec<String> = list
        .iter()
        .map(|it| it.name.clone() + &it.parameters.iter().map(write).collect::<String>())
        .collect();
    let written = written.join(", ");
    assert_eq!(extension::parse(new, &written).as_ref(), Ok(&list));
    assert_eq!(extension::parse(old, &written), Ok(list));
}

/// A close payload that is read by a version's rules is answered with its code.
pub fn close_payload(bytes: &[u8]) {
    for version in Version::ALL {
        for role in [Role::Server, Role::Client] {
            let profile = version.profile();
            let Ok((code, reason)) = close::parse(profile, role, bytes) else {
                continue;
            };
            let echo = close::echo(profile, code);
            assert_eq!(echo.as_slice(), bytes.get(..2).unwrap_or_default());
            let written = close::encode(profile, code, &reason);
            assert!(written.len() <= 125);
            if version == Version::Rfc6455 && (1..=125).contains(&bytes.len()) {
                assert_eq!(written.as_slice(), bytes);
            }
        }
    }
}

fn inflated(bytes: &[u8], piece: usize, room: usize) -> Result<Vec<u8>, ()> {
    const MOST: usize = 1 << 20;
    let mut inflater = Inflater::default();
    inflater.begin(History::new(15));
    let mut plain = Vec::new();
    for mut input in bytes.chunks(piece) {
        loop {
            let mut step = vec![0; room];
            let count = inflater.inflate(&mut input, &mut step).map_err(drop)?;
            plain.extend_from_slice(&step[..count]);
            if plain.len() > MOST {
                return Err(());
            }
            if count < room {
                break;
            }
        }
    }
    inflater.finish().map_err(drop)?;
    Ok(plain)
}

/// A compressed message inflates to the same in any pieces and any room, or is refused.
pub fn inflate(bytes: &[u8]) {
    let (choice, bytes) = choose(bytes);
    let whole = inflated(bytes, usize::MAX, 4096);
    let piece = usize::from(choice >> 4) + 1;
    let room = usize::from(choice & 0x0F) * 17 + 64;
    if let Ok(plain) = &whole {
        assert_eq!(inflated(bytes, piece, room).as_ref(), Ok(plain));
    }
}

/// Text is judged and mended as the standard library does it, however it is cut.
pub fn utf8(bytes: &[u8]) {
    let (choice, bytes) = choose(bytes);
    let pieces = || bytes.chunks(usize::from(choice % 7) + 1);
    let mut validator = Validator::default();
    let fed = pieces().try_for_each(|piece| validator.feed(piece));
    let judged = fed.and_then(|()| validator.finish());
    assert_eq!(judged.is_ok(), std::str::from_utf8(bytes).is_ok());
    let (mut replacer, mut mended) = (Replacer::default(), Vec::new());
    pieces().for_each(|piece| replacer.feed(piece, &mut mended));
    replacer.finish(&mut mended);
    assert_eq!(mended, String::from_utf8_lossy(bytes).as_bytes());
}

/// Lines are the same however they are cut.
pub fn line(bytes: &[u8]) {
    let read = |piece: usize| {
        let (mut decoder, mut lines) = (LineDecoder::new(), Vec::new());
        for mut input in bytes.chunks(piece) {
            while !input.is_empty() {
                match decoder.next(&mut input, 50) {
                    Ok(Some(line)) => lines.push(line.to_vec()),
                    Ok(None) => {}
                    Err(_) => return (lines, false),
                }
            }
        }
        (lines, true)
    };
    let whole = read(usize::MAX);
    assert_eq!(read(1), whole);
    assert_eq!(read(3), whole);
}

/// Packets are the same however they are cut.
pub fn length(bytes: &[u8]) {
    let (choice, bytes) = choose(bytes);
    let width = 1 << (choice & 3);
    let format = Format::new(width, choice & 4 == 0, choice & 8 == 0).expect("1, 2, 4 or 8");
    let read = |piece: usize| {
        let (mut decoder, mut packets) = (LengthDecoder::new(), vec![(Vec::new(), false)]);
        for mut input in bytes.chunks(piece) {
            loop {
                match decoder.next(&mut input, &format, 1000) {
                    Ok(None) => break,
                    Ok(Some(chunk)) => {
                        let packet = packets.last_mut().expect("one is always open");
                        packet.0.extend_from_slice(chunk.payload);
                        packet.1 = chunk.end;
                        if chunk.end {
                            packets.push((Vec::new(), false));
                        }
                    }
                    Err(_) => return (packets, false),
                }
            }
        }
        (packets, true)
    };
    let whole = read(usize::MAX);
    assert_eq!(read(1), whole);
    assert_eq!(read(5), whole);
}

/// A header is within its bounds, and the same when it comes in two pieces.
pub fn proxy_header(bytes: &[u8]) {
    let whole = proxy::parse(bytes);
    for place in (0..bytes.len()).step_by(1 + bytes.len() / 40) {
        let found = proxy::parse(&bytes[..place]);
        assert!(found == Ok(None) || found == whole, "cut at {place}");
    }
    if let Ok(Some(header)) = whole {
        assert!((15..=proxy::HEADER_BYTES_MAX).contains(&header.bytes));
        assert!(header.bytes <= bytes.len());
    }
}
