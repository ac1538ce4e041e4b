//! Frames as they are written, RFC 6455 section 5.2.

use crate::mask;
use vespiary_trace::requires;

/// What a frame is, by the low four bits of its first byte.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of the message that has begun.
    Continuation = 0x0,
    /// A text message, or its first fragment.
    Text = 0x1,
    /// A binary message, or its first fragment.
    Binary = 0x2,
    /// The closing handshake.
    Close = 0x8,
    /// Asks for a pong.
    Ping = 0x9,
    /// Answers a ping, or is a heartbeat in one direction.
    Pong = 0xA,
}

impl Opcode {
    /// The opcode with this number, unless the number is reserved.
    #[inline]
    pub fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }

    /// Whether frames of this kind may stand between the fragments of a message (section 5.5).
    #[inline]
    pub fn is_control(self) -> bool {
        self as u8 >= 0x8
    }
}

/// What a message is. All fragments share the kind of the first.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// UTF-8; whether it is valid is for the receiver to check over the whole message.
    Text,
    /// Any bytes.
    Binary,
}

impl From<Kind> for Opcode {
    #[inline]
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Text => {
                requires!("rfc6455/6.1/6");
                Self::Text
            }
            Kind::Binary => Self::Binary,
        }
    }
}

/// The longest head in bytes: two, eight of length, four of key.
pub const HEAD_BYTES_MAX: usize = 14;

/// The longest payload of a control frame in bytes (section 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// In the place of a length up to 125: two bytes of length follow, or eight.
const LENGTH_16: u8 = 0x7E;
const LENGTH_64: u8 = 0x7F;

/// The bytes that the head of a frame with `length` bytes of payload takes.
#[inline]
pub fn head_length(length: u64, masked: bool) -> usize {
    let extended = match length {
        0..=125 => 0,
        126..=0xFFFF => 2,
        _ => 8,
    };
    2 + extended + if masked { 4 } else { 0 }
}

/// Writes the head of a frame with `length` bytes of payload to the start of `out`, and returns how
/// many bytes it takes. The length is written in its shortest form.
///
/// A client gives a `mask`, fresh and unpredictable for each frame (section 5.3), a server none.
/// `rsv1` marks a message that an extension has changed; it is false where none was agreed on.
///
/// Panics when `length` is 2^63 or more, which no payload in memory can be.
#[inline]
pub fn write_head(
    out: &mut [u8; HEAD_BYTES_MAX],
    fin: bool,
    rsv1: bool,
    opcode: Opcode,
    length: u64,
    mask: Option<[u8; 4]>,
) -> usize {
    assert!(length < 1 << 63, "a frame's length has 63 bits");
    let last = u8::from(requires!("rfc6455/6.1/7" => fin)) << 7;
    out[0] = last | (u8::from(rsv1) << 6) | opcode as u8;
    let masked = u8::from(requires!("rfc6455/5.3/1", "rfc6455/5.2/h3" => mask.is_some())) << 7;
    let mut size = match length {
        0..=125 => {
            requires!("rfc6455/5.2/6");
            out[1] = masked | length as u8;
            2
        }
        126..=0xFFFF => {
            requires!("rfc6455/5.2/6");
            out[1] = masked | LENGTH_16;
            out[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            4
        }
        _ => {
            out[1] = masked | LENGTH_64;
            out[2..10].copy_from_slice(&length.to_be_bytes());
            10
        }
    };
    if let Some(key) = mask {
        out[size..size + 4].copy_from_slice(&key);
        size += 4;
    }
    size
}

/// Masking follows copying while the piece is still in the first-level cache.
const MASK_PIECE: usize = 4096;

/// Appends a whole frame to `out`. With a `mask` the payload is masked on its way.
#[inline]
pub fn append(
    out: &mut Vec<u8>,
    fin: bool,
    rsv1: bool,
    opcode: Opcode,
    payload: &[u8],
    mask: Option<[u8; 4]>,
) {
    let mut head = [0; HEAD_BYTES_MAX];
    let size = write_head(&mut head, fin, rsv1, opcode, payload.len() as u64, mask);
    out.reserve(size + payload.len());
    out.extend_from_slice(&head[..size]);
    append_payload(out, payload, mask);
}

/// Appends a payload to `out`, masked on its way where there is a `mask`.
#[inline]
pub fn append_payload(out: &mut Vec<u8>, payload: &[u8], mask: Option<[u8; 4]>) {
    match mask {
        None => out.extend_from_slice(payload),
        Some(key) => append_masked(out, payload, key),
    }
}

fn append_masked(out: &mut Vec<u8>, payload: &[u8], key: [u8; 4]) {
    for piece in payload.chunks(MASK_PIECE) {
        let start = out.len();
        out.extend_from_slice(piece);
        mask::in_place(&mut out[start..], key);
    }
}
