//! Heads of frames as they are read: the rules of RFC 6455 section 5 that a head alone decides,
//! and what HyBi-09 section 4 has in their place.

use super::ProtocolError;
use super::close::Code;
use super::decoder::Role;
use super::frame::{CONTROL_BYTES_MAX, Kind, Opcode};
use super::profile::{Profile, Version};
use vespiary_trace::requires;

/// What has begun and not ended.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum UnderWay {
    Nothing,
    /// A message.
    Message(Kind),
    /// A frame with a reserved opcode, or the message that it began.
    Ignored,
}

/// A head that is whole and obeys every rule that its own bytes decide.
pub(super) struct Head {
    /// None where the frame is to be skipped.
    pub opcode: Option<Opcode>,
    /// Whether the frame is a fragment of the message that is in progress, of the kind skipped or
    /// not.
    pub continues: bool,
    pub fin: bool,
    /// RSV1, which only the first frame of a message may have.
    pub compressed: bool,
    pub length: u64,
    pub key: [u8; 4],
    pub size: usize,
}

/// Reads a head off the front of `bytes`; `None` when it is cut. The part that is there is checked.
#[inline]
pub(super) fn read_head(
    bytes: &[u8],
    role: Role,
    version: Version,
    under_way: UnderWay,
    compression: bool,
) -> Result<Option<Head>, ProtocolError> {
    let [first, rest @ ..] = bytes else {
        return Ok(None);
    };
    let profile = version.profile();
    let opcode = check_first(*first, under_way, compression, profile)?;
    let [second, rest @ ..] = rest else {
        return Ok(None);
    };
    let short = check_second(*first, *second, role, profile)?;
    let (length, rest, mut size) = match short {
        126 => {
            requires!("rfc6455/5.2/h2");
            let Some((length, rest)) = rest.split_first_chunk::<2>() else {
                return Ok(None);
            };
            (check_16(u16::from_be_bytes(*length), profile)?, rest, 4)
        }
        127 => {
            requires!("rfc6455/5.2/h2");
            let Some((length, rest)) = rest.split_first_chunk::<8>() else {
                return Ok(None);
            };
            (check_64(u64::from_be_bytes(*length), profile)?, rest, 10)
        }
        _ => (u64::from(short), rest, 2),
    };
    let mut key = [0; 4];
    if requires!("rfc6455/5.2/h3" => second & 0x80 != 0) {
        let Some(sent) = rest.first_chunk::<4>() else {
            return Ok(None);
        };
        requires!("rfc6455/6.2/7", "rfc6455/5.3/h1");
        key = *sent;
        requires!("rfc6455/5.2/h4");
        size += 4;
    }
    Ok(Some(Head {
        opcode,
        continues: first & 0x0F == Opcode::Continuation as u8,
        fin: first & 0x80 != 0,
        compressed: is_compressed(*first),
        length,
        key,
        size,
    }))
}

#[inline]
fn is_compressed(first: u8) -> bool {
    let is_plain = requires!("rfc7692/6.2/2" => first & RSV1 == 0);
    !is_plain
}

/// RFC 7692 section 6: "per-message compressed".
const RSV1: u8 = 0x40;

/// The opcode of a frame that may stand here; none where the frame is to be skipped.
#[inline]
fn check_first(
    first: u8,
    under_way: UnderWay,
    compression: bool,
    profile: &Profile,
) -> Result<Option<Opcode>, ProtocolError> {
    let reserved = if compression { 0x70 & !RSV1 } else { 0x70 };
    if requires!("rfc6455/5.2/3", "rfc6455/5.2/8", "rfc6455/5.2/9", "rfc6455/5.2/10" =>
        first & reserved != 0)
    {
        return Err(broken(
            "a reserved bit is set and no extension gives it a meaning",
            "RFC 6455 5.2",
        ));
    }
    let opcode = Opcode::from_bits(first & 0x0F);
    let ignores = requires!("hybi09/4.2/4" => profile.unknown_opcodes_are_ignored);
    let is_unknown = opcode.is_none() && !ignores;
    if requires!("rfc6455/5.2/4", "rfc6455/5.2/h1" => is_unknown) {
        return Err(broken("a frame has a reserved opcode", "RFC 6455 5.2"));
    }
    // Reserved or not, opcodes with the highest bit are those of control frames.
    if requires!("rfc6455/5.4/2", "rfc6455/5.4/12", "rfc6455/5.5/1" => first & 0x88 == 0x08) {
        return Err(broken("a control frame is fragmented", "RFC 6455 5.5"));
    }
    let Some(opcode) = opcode else {
        return Ok(None);
    };
    let may_be_compressed = matches!(opcode, Opcode::Text | Opcode::Binary);
    if requires!("rfc7692/6.1/4" => first & RSV1 != 0 && !may_be_compressed) {
        return Err(broken(
            "a control frame or a further fragment says that it is compressed",
            "RFC 7692 6.1",
        ));
    }
    match (opcode, under_way) {
        (Opcode::Continuation, UnderWay::Nothing) => {
            requires!("rfc6455/5.4/h1");
            Err(broken(
                "a continuation frame continues no message",
                "RFC 6455 5.4",
            ))
        }
        (Opcode::Continuation, UnderWay::Ignored) => Ok(None),
        (Opcode::Text | Opcode::Binary, UnderWay::Message(_) | UnderWay::Ignored) => {
            requires!("rfc6455/5.4/4");
            Err(broken(
                "a message begins before the one before it has ended",
                "RFC 6455 5.4",
            ))
        }
        _ => Ok(Some(opcode)),
    }
}

#[inline]
fn check_second(first: u8, second: u8, role: Role, profile: &Profile) -> Result<u8, ProtocolError> {
    let masked = second & 0x80 != 0;
    if requires!("rfc6455/5.1/2" => role == Role::Server && !masked) {
        return Err(broken("a client's frame is unmasked", "RFC 6455 5.1"));
    }
    let is_allowed = requires!("hybi09/4.2/h1" => !profile.masked_server_frames_are_refused);
    if requires!("rfc6455/5.1/5" => role == Role::Client && masked && !is_allowed) {
        return Err(broken("a server's frame is masked", "RFC 6455 5.1"));
    }
    let short = second & 0x7F;
    let is_too_long = first & 0x08 != 0 && short > CONTROL_BYTES_MAX as u8;
    if requires!("rfc6455/5.5/1" => is_too_long) {
        return Err(broken(
            "a control frame is longer than 125 bytes",
            "RFC 6455 5.5",
        ));
    }
    Ok(short)
}

#[inline]
fn check_16(length: u16, profile: &Profile) -> Result<u64, ProtocolError> {
    let is_free = requires!("hybi09/4.2/h2" => !profile.lengths_are_minimal);
    if requires!("rfc6455/5.2/6" => !is_free && length < 126) {
        Err(not_minimal())
    } else {
        Ok(u64::from(length))
    }
}

#[inline]
fn check_64(length: u64, profile: &Profile) -> Result<u64, ProtocolError> {
    if requires!("rfc6455/5.2/5" => length >> 63 != 0) {
        return Err(broken(
            "a frame's length has its highest bit set",
            "RFC 6455 5.2",
        ));
    }
    let is_free = requires!("hybi09/4.2/h2" => !profile.lengths_are_minimal);
    if requires!("rfc6455/5.2/6" => !is_free && length <= 0xFFFF) {
        Err(not_minimal())
    } else {
        Ok(length)
    }
}

#[cold]
fn not_minimal() -> ProtocolError {
    broken(
        "a frame's length is not in its shortest form",
        "RFC 6455 5.2",
    )
}

#[cold]
fn broken(text: &'static str, section: &'static str) -> ProtocolError {
    ProtocolError {
        code: Code::PROTOCOL_ERROR,
        text,
        section,
        limit: None,
    }
}
