//! Heads of frames as they are read: the rules of RFC 6455 section 5 that a head alone decides.

use super::ProtocolError;
use super::close::Code;
use super::decoder::Role;
use super::frame::{CONTROL_BYTES_MAX, Kind, Opcode};

/// A head that is whole and obeys every rule that its own bytes decide.
pub(super) struct Head {
    pub opcode: Opcode,
    pub fin: bool,
    pub length: u64,
    pub key: [u8; 4],
    pub size: usize,
}

/// Reads a head off the front of `bytes`; `None` when it is cut. Whatever of it is there is
/// checked.
#[inline]
pub(super) fn read_head(
    bytes: &[u8],
    role: Role,
    message: Option<Kind>,
) -> Result<Option<Head>, ProtocolError> {
    let [first, rest @ ..] = bytes else {
        return Ok(None);
    };
    let opcode = check_first(*first, message)?;
    let [second, rest @ ..] = rest else {
        return Ok(None);
    };
    let short = check_second(*second, opcode, role)?;
    let (length, rest, mut size) = match short {
        126 => {
            let Some((length, rest)) = rest.split_first_chunk::<2>() else {
                return Ok(None);
            };
            (check_16(u16::from_be_bytes(*length))?, rest, 4)
        }
        127 => {
            let Some((length, rest)) = rest.split_first_chunk::<8>() else {
                return Ok(None);
            };
            (check_64(u64::from_be_bytes(*length))?, rest, 10)
        }
        _ => (u64::from(short), rest, 2),
    };
    let mut key = [0; 4];
    if role == Role::Server {
        let Some(sent) = rest.first_chunk::<4>() else {
            return Ok(None);
        };
        key = *sent;
        size += 4;
    }
    Ok(Some(Head {
        opcode,
        fin: first & 0x80 != 0,
        length,
        key,
        size,
    }))
}

#[inline]
fn check_first(first: u8, message: Option<Kind>) -> Result<Opcode, ProtocolError> {
    if first & 0x70 != 0 {
        return Err(broken(
            "a reserved bit is set and no extension gives it a meaning",
            "RFC 6455 5.2",
        ));
    }
    let Some(opcode) = Opcode::from_bits(first & 0x0F) else {
        return Err(broken("a frame has a reserved opcode", "RFC 6455 5.2"));
    };
    match opcode {
        Opcode::Continuation if message.is_none() => Err(broken(
            "a continuation frame continues no message",
            "RFC 6455 5.4",
        )),
        Opcode::Text | Opcode::Binary if message.is_some() => Err(broken(
            "a message begins before the one before it has ended",
            "RFC 6455 5.4",
        )),
        Opcode::Close | Opcode::Ping | Opcode::Pong if first & 0x80 == 0 => {
            Err(broken("a control frame is fragmented", "RFC 6455 5.5"))
        }
        _ => Ok(opcode),
    }
}

#[inline]
fn check_second(second: u8, opcode: Opcode, role: Role) -> Result<u8, ProtocolError> {
    match (role, second & 0x80 != 0) {
        (Role::Server, false) => {
            return Err(broken("a client's frame is unmasked", "RFC 6455 5.1"));
        }
        (Role::Client, true) => return Err(broken("a server's frame is masked", "RFC 6455 5.1")),
        _ => {}
    }
    let short = second & 0x7F;
    if opcode.is_control() && short > CONTROL_BYTES_MAX as u8 {
        return Err(broken(
            "a control frame is longer than 125 bytes",
            "RFC 6455 5.5",
        ));
    }
    Ok(short)
}

#[inline]
fn check_16(length: u16) -> Result<u64, ProtocolError> {
    if length < 126 {
        Err(not_minimal())
    } else {
        Ok(u64::from(length))
    }
}

#[inline]
fn check_64(length: u64) -> Result<u64, ProtocolError> {
    if length >> 63 != 0 {
        return Err(broken(
            "a frame's length has its highest bit set",
            "RFC 6455 5.2",
        ));
    }
    if length <= 0xFFFF {
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
