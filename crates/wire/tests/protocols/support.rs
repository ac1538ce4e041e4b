//! What the tests of frames share: bytes of any frame, valid or not, and decoding to contents.

use proptest::collection::vec;
use proptest::prelude::*;
use vespiary_wire::mask;
use vespiary_wire::websocket::ProtocolError;
use vespiary_wire::websocket::decoder::{Decoder, Event, Limits, Role};
use vespiary_wire::websocket::frame::{Kind, Opcode};
use vespiary_wire::websocket::profile::Version;

pub const UNLIMITED: Limits = Limits {
    frame_bytes_max: u64::MAX,
    message_bytes_max: u64::MAX,
    fragments_max: u32::MAX,
};

pub const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What was received, independent of how the input was cut.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    Frame {
        kind: Kind,
        message_start: bool,
        fin: bool,
        payload: Vec<u8>,
        remaining: u64,
    },
    Control {
        opcode: Opcode,
        payload: Vec<u8>,
    },
}

/// Feeds the pieces one after another and checks what must hold at every step.
pub fn decode_pieces<'a>(
    role: Role,
    limits: &Limits,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Item>, Result<Decoder, ProtocolError>) {
    decode_pieces_as(Version::Rfc6455, role, limits, pieces)
}

/// The same by the rules of a version.
pub fn decode_pieces_as<'a>(
    version: Version,
    role: Role,
    limits: &Limits,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Item>, Result<Decoder, ProtocolError>) {
    let mut decoder = Decoder::new(role, version);
    let mut items = Vec::new();
    for piece in pieces {
        let mut input = piece;
        loop {
            let before = input;
            match decoder.next(&mut input, limits) {
                Ok(Some(event)) => {
                    assert!(
                        before.ends_with(input),
                        "the input lost bytes in its middle"
                    );
                    take(&mut items, &decoder, event);
                }
                Ok(None) => {
                    assert!(input.is_empty(), "more was wanted while bytes were left");
                    break;
                }
                Err(error) => {
                    let again = decoder.next(&mut input, limits);
                    assert_eq!(again, Err(error), "an error is final");
                    return (items, Err(error));
                }
            }
        }
    }
    (items, Ok(decoder))
}

fn take(items: &mut Vec<Item>, decoder: &Decoder, event: Event<'_>) {
    let data = match event {
        Event::Control(control) => {
            let payload = control.payload().to_vec();
            items.push(Item::Control {
                opcode: control.opcode,
                payload,
            });
            return;
        }
        Event::Data(data) => data,
    };
    let mut bytes = vec![0; data.payload.len()];
    mask::copy(&mut bytes, data.payload, data.key);
    assert_eq!(data.message_end, data.fin && data.frame_remaining == 0);
    assert_eq!(decoder.in_message(), !data.message_end);
    assert_eq!(decoder.mid_frame(), data.frame_remaining > 0);
    if data.frame_start {
        items.push(Item::Frame {
            kind: data.kind,
            message_start: data.message_start,
            fin: data.fin,
            payload: bytes,
            remaining: data.frame_remaining,
        });
        return;
    }
    assert!(!data.message_start && !data.payload.is_empty());
    let Some(Item::Frame {
        kind,
        fin,
        payload,
        remaining,
        ..
    }) = items.last_mut()
    else {
        panic!("a chunk that begins no frame follows no chunk of its frame");
    };
    assert_eq!((*kind, *fin), (data.kind, data.fin));
    assert_eq!(*remaining, data.payload.len() as u64 + data.frame_remaining);
    payload.extend_from_slice(&bytes);
    *remaining = data.frame_remaining;
}

/// Decodes an input that comes in one piece.
pub fn decode(role: Role, bytes: &[u8]) -> (Vec<Item>, Option<ProtocolError>) {
    let (items, end) = decode_pieces(role, &UNLIMITED, [bytes]);
    (items, end.err())
}

/// The same by the rules of a version.
pub fn decode_as(version: Version, role: Role, bytes: &[u8]) -> (Vec<Item>, Option<ProtocolError>) {
    let (items, end) = decode_pieces_as(version, role, &UNLIMITED, [bytes]);
    (items, end.err())
}

/// The error that a server answers these bytes with; panics if it takes them.
pub fn refusal(bytes: &[u8]) -> ProtocolError {
    decode(Role::Server, bytes)
        .1
        .unwrap_or_else(|| panic!("{bytes:02x?} was not refused"))
}

/// How a drawn frame writes its length.
#[derive(Copy, Clone, Debug)]
pub enum Width {
    Shortest,
    Two,
    Eight,
}

/// A frame that may break any rule.
#[derive(Clone, Debug)]
pub struct AnyFrame {
    pub first: u8,
    pub width: Width,
    pub key: Option<[u8; 4]>,
    pub payload: Vec<u8>,
}

impl AnyFrame {
    pub fn append_to(&self, out: &mut Vec<u8>) {
        let length = self.payload.len();
        let masked = u8::from(self.key.is_some()) << 7;
        out.push(self.first);
        match (self.width, length) {
            (Width::Shortest, 0..=125) => out.push(masked | length as u8),
            (Width::Shortest | Width::Two, 0..=0xFFFF) => {
                out.push(masked | 0x7E);
                out.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                out.push(masked | 0x7F);
                out.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        let key = self.key.unwrap_or_default();
        if self.key.is_some() {
            out.extend_from_slice(&key);
        }
        out.extend(
            self.payload
                .iter()
                .enumerate()
                .map(|(at, byte)| byte ^ key[at % 4]),
        );
    }
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => Just(Vec::new()),
        8 => "[a-zé€𝄞]{0,30}".prop_map(String::into_bytes),
        2 => vec(any::<u8>(), 0..40),
        1 => vec(any::<u8>(), 120..130),
        1 => vec(any::<u8>(), 200..300),
    ]
}

fn first_byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        12 => prop::sample::select(vec![0x00, 0x80, 0x80, 0x01, 0x81, 0x02, 0x82, 0x89, 0x8A]),
        1 => Just(0x88),
        1 => any::<u8>(),
    ]
}

fn any_frame(role: Role) -> impl Strategy<Value = AnyFrame> {
    let right = role == Role::Server;
    let width = prop_oneof![
        30 => Just(Width::Shortest),
        1 => Just(Width::Two),
        1 => Just(Width::Eight),
    ];
    let masked = prop_oneof![30 => Just(right), 1 => Just(!right)];
    (first_byte(), width, masked, any::<[u8; 4]>(), payload()).prop_map(
        |(first, width, masked, key, payload)| AnyFrame {
            first,
            width,
            key: masked.then_some(key),
            payload,
        },
    )
}

/// A stream of frames most of which obey the rules, a few bytes of which may be changed, and whose
/// end may be missing.
pub fn any_stream(role: Role) -> impl Strategy<Value = Vec<u8>> {
    let frames = vec(any_frame(role), 1..8);
    let changes = prop_oneof![
        3 => Just(Vec::new()),
        1 => vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ];
    let missing = prop_oneof![3 => Just(0), 1 => 0_usize..20];
    (frames, changes, missing).prop_map(|(frames, changes, missing)| {
        let mut stream = Vec::new();
        for frame in &frames {
            frame.append_to(&mut stream);
        }
        for (place, byte) in changes {
            let place = place.index(stream.len());
            stream[place] = byte;
        }
        stream.truncate(stream.len().saturating_sub(missing).max(1));
        stream
    })
}

pub fn any_version() -> impl Strategy<Value = Version> {
    prop::sample::select(Version::ALL.to_vec())
}

pub fn any_role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Server), Just(Role::Client)]
}

/// Cuts `bytes` at each of `places`.
pub fn cut<'a>(bytes: &'a [u8], places: &[usize]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = places
        .iter()
        .map(|place| place % (bytes.len() + 1))
        .collect();
    places.sort_unstable();
    places.push(bytes.len());
    let mut start = 0;
    let mut pieces = Vec::new();
    for place in places {
        pieces.push(&bytes[start..place]);
        start = place;
    }
    pieces
}
