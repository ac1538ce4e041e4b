//! Bodies of responses, written as they are made: of a length that was said, in chunks, or to the
//! end of the connection (RFC 9112 sections 6 and 7.1).
//!
//! The head says how the body ends, so a [`BodyWriter`] is made of it. A body that does not become
//! what its head says is an error, and the connection must end with it: the peer would take what
//! follows for a part of the body, or wait for its rest.

use super::fields::Facts;
use super::write::{InvalidHeader, append_headers, append_status_line};
use std::fmt;
use vespiary_trace::requires;

/// Digits of the largest chunk's size, and the line's end.
const CHUNK_HEAD_BYTES_MAX: usize = 18;

/// Fields that say how a message is framed or routed, which must not come behind it (RFC 9110
/// section 6.5.1).
const NEVER_TRAILERS: [&str; 5] = [
    "content-length",
    "transfer-encoding",
    "trailer",
    "host",
    "connection",
];

/// What the form of a response depends on.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The request was HEAD.
    pub is_head: bool,
    /// The version of the request is HTTP/1 point this.
    pub minor_version: u8,
}

/// Writes a body in the form that its head has announced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyWriter {
    /// The response has no body, whatever is given for it.
    Absent,
    /// So many bytes are still to come.
    Bytes(u64),
    /// Chunks.
    Chunked,
    /// The connection's end is the body's.
    UntilClose,
}

/// A body is not what its head says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WrongLength {
    /// It has more bytes than `Content-Length`.
    TooLong,
    /// It has so many bytes less.
    TooShort(u64),
}

impl fmt::Display for WrongLength {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => formatter.write_str("the body is longer than its Content-Length says"),
            Self::TooShort(missing) => write!(
                formatter,
                "the body is {missing} bytes shorter than its Content-Length says"
            ),
        }
    }
}

impl std::error::Error for WrongLength {}

/// What stands before and behind a piece of data.
#[derive(Clone, Copy, Debug)]
pub struct PieceForm {
    head: [u8; CHUNK_HEAD_BYTES_MAX],
    head_length: usize,
    tail: &'static [u8],
    /// Whether the data is sent at all.
    pub is_sent: bool,
}

impl PieceForm {
    const BARE: Self = Self {
        head: [0; CHUNK_HEAD_BYTES_MAX],
        head_length: 0,
        tail: b"",
        is_sent: true,
    };

    /// What stands before the data.
    pub fn head(&self) -> &[u8] {
        &self.head[..self.head_length]
    }

    /// What comes after it.
    pub fn tail(&self) -> &'static [u8] {
        self.tail
    }

    fn chunk(length: usize) -> Self {
        let mut head = [0; CHUNK_HEAD_BYTES_MAX];
        let digits = (usize::BITS - length.leading_zeros()).div_ceil(4) as usize;
        for (place, byte) in head.iter_mut().enumerate().take(digits) {
            let digit = length >> (4 * (digits - 1 - place)) & 0xf;
            *byte = b"0123456789abcdef"[digit];
        }
        head[digits..digits + 2].copy_from_slice(b"\r\n");
        Self {
            head,
            head_length: digits + 2,
            tail: b"\r\n",
            is_sent: true,
        }
    }
}

impl BodyWriter {
    /// How the body of a response ends (RFC 9112 section 6.3). Without a `Content-Length` among the
    /// headers it is chunked; for a client of HTTP/1.0 it ends with the connection, which the
    /// caller must then close.
    ///
    /// # Errors
    /// A header contradicts the body.
    pub fn of(asked: Asked, status: u16, facts: &Facts) -> Result<Self, InvalidHeader> {
        let length = facts.length()?;
        let is_bare = matches!(status, 100..=199 | 204);
        if requires!("rfc9110/8.6/5" => is_bare && length.is_some()) {
            return Err(InvalidHeader::new(
                "Content-Length",
                "cannot be in a response that has no body",
            ));
        }
        let is_reset = requires!("rfc9110/15.3.6/1" => status == 205);
        if is_reset && length != Some(0) {
            return Err(InvalidHeader::new(
                "Content-Length",
                "must be 0 in a response of status 205",
            ));
        }
        let has_none = requires!("rfc9112/6.1/7" => is_bare) || status == 304;
        if requires!("rfc9110/9.3.2/1" => asked.is_head) || has_none {
            return Ok(Self::Absent);
        }
        Ok(match length {
            Some(length) => Self::Bytes(length),
            None if requires!("rfc9112/6.1/11" => asked.minor_version == 0) => Self::UntilClose,
            None => Self::Chunked,
        })
    }

    /// What ends the head of the response: a `Transfer-Encoding` where the body comes in chunks,
    /// and the empty line.
    pub fn head_end(self) -> &'static [u8] {
        match self {
            Self::Chunked => b"Transfer-Encoding: chunked\r\n\r\n",
            _ => b"\r\n",
        }
    }

    /// The form of the next piece, of this length.
    ///
    /// # Errors
    /// The body has become too long.
    pub fn piece(&mut self, length: usize) -> Result<PieceForm, WrongLength> {
        match self {
            Self::Absent => Ok(PieceForm {
                is_sent: false,
                ..PieceForm::BARE
            }),
            Self::Bytes(left) => {
                *left = left
                    .checked_sub(length as u64)
                    .ok_or(WrongLength::TooLong)?;
                Ok(PieceForm::BARE)
            }
            // A chunk of no bytes would be the last one.
            Self::Chunked if length > 0 => Ok(PieceForm::chunk(length)),
            Self::Chunked | Self::UntilClose => Ok(PieceForm::BARE),
        }
    }

    /// Append a piece of the body to `out`.
    ///
    /// # Errors
    /// The body has become too long.
    pub fn append(&mut self, out: &mut Vec<u8>, data: &[u8]) -> Result<(), WrongLength> {
        let form = self.piece(data.len())?;
        out.extend_from_slice(form.head());
        if form.is_sent {
            out.extend_from_slice(data);
        }
        out.extend_from_slice(form.tail());
        Ok(())
    }

    /// Append what ends the body to `out`. Trailer fields, which [`check_trailers`] has looked at,
    /// are left out where the body is not chunked.
    ///
    /// # Errors
    /// The body is too short.
    pub fn end(self, out: &mut Vec<u8>, trailers: &[(String, String)]) -> Result<(), WrongLength> {
        match self {
            Self::Bytes(left @ 1..) => Err(WrongLength::TooShort(left)),
            Self::Chunked => {
                out.extend_from_slice(b"0\r\n");
                if append_headers(out, trailers).is_err() {
                    debug_assert!(false, "trailers are checked before");
                }
                out.extend_from_slice(b"\r\n");
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Check trailer fields before any of them is written (RFC 9110 section 6.5).
///
/// # Errors
/// One cannot be written, or must stand before the body.
pub fn check_trailers(trailers: &[(String, String)]) -> Result<(), InvalidHeader> {
    for (name, _) in trailers {
        let is_framing = |known: &&str| name.eq_ignore_ascii_case(known);
        if NEVER_TRAILERS.iter().any(is_framing) {
            return Err(InvalidHeader::new(name, "cannot come behind the body"));
        }
    }
    append_headers(&mut Vec::new(), trailers)
}

/// Append a response that announces the final one, such as 103, to `out` (RFC 9110 section 15.2).
///
/// # Errors
/// A header cannot be written, or is of a body.
pub fn append_interim(
    out: &mut Vec<u8>,
    status: u16,
    headers: &[(String, String)],
) -> Result<(), InvalidHeader> {
    for (name, _) in headers {
        let is_framing = |known: &str| name.eq_ignore_ascii_case(known);
        if is_framing("content-length") || is_framing("transfer-encoding") {
            return Err(InvalidHeader::new(
                name,
                "cannot be in a response that has no body",
            ));
        }
    }
    let start = out.len();
    append_status_line(out, status);
    if let Err(error) = append_headers(out, headers) {
        out.truncate(start);
        return Err(error);
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}
