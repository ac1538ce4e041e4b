//! Length prefixes: each message is preceded by its length as a fixed number of bytes.
//!
//! The payload is not copied here: a message comes out in the chunks in which it came in, and the
//! first of them says how long the whole will be, so that the receiver can allocate once and fill.

use std::fmt;

/// How a length is written.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Format {
    /// Bytes that the length takes: 1, 2, 4 or 8. Anything else panics at its first use.
    pub width: u8,
    /// Most significant byte first (network order).
    pub big_endian: bool,
    /// The length counts its own bytes besides the payload's.
    pub includes_itself: bool,
}

impl Format {
    /// A format, if the width is one of 1, 2, 4 and 8.
    pub fn new(width: u8, big_endian: bool, includes_itself: bool) -> Option<Self> {
        matches!(width, 1 | 2 | 4 | 8).then_some(Self {
            width,
            big_endian,
            includes_itself,
        })
    }

    /// The longest payload that this format can announce.
    pub fn payload_bytes_max(self) -> u64 {
        let all = u64::MAX >> (64 - 8 * u32::from(self.checked_width()));
        all - self.own_bytes()
    }

    fn own_bytes(self) -> u64 {
        if self.includes_itself {
            u64::from(self.width)
        } else {
            0
        }
    }

    fn checked_width(self) -> u8 {
        assert!(
            matches!(self.width, 1 | 2 | 4 | 8),
            "a length prefix has 1, 2, 4 or 8 bytes"
        );
        self.width
    }

    fn decode(self, prefix: &[u8]) -> u64 {
        let mut bytes = [0; 8];
        if self.big_endian {
            bytes[8 - prefix.len()..].copy_from_slice(prefix);
            u64::from_be_bytes(bytes)
        } else {
            bytes[..prefix.len()].copy_from_slice(prefix);
            u64::from_le_bytes(bytes)
        }
    }
}

/// The peer announced a length that cannot be taken. The stream cannot continue.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum FramingError {
    /// The message is longer than the limit.
    TooLong {
        /// The announced bytes of payload.
        announced: u64,
        /// The limit.
        message_bytes_max: u64,
    },
    /// The length counts itself, and is shorter than itself.
    TooShort {
        /// The announced length.
        announced: u64,
        /// The bytes of the prefix.
        width: u8,
    },
}

impl fmt::Display for FramingError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong {
                announced,
                message_bytes_max,
            } => write!(
                formatter,
                "the peer announced a message of {announced} bytes, and message_bytes_max is \
                 {message_bytes_max}"
            ),
            Self::TooShort { announced, width } => write!(
                formatter,
                "a length that counts its own {width} bytes announces {announced} in all"
            ),
        }
    }
}

impl std::error::Error for FramingError {}

/// A run of bytes of one message: as much of it as the input holds.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Chunk<'a> {
    /// This is the first run; the whole message has `payload.len() + remaining` bytes.
    pub start: bool,
    /// The bytes.
    pub payload: &'a [u8],
    /// Bytes of the message still to come after this run.
    pub remaining: u64,
    /// This is the last run.
    pub end: bool,
}

/// Cuts a stream into messages. One for each connection.
#[derive(Default, Debug)]
pub struct LengthDecoder {
    remaining: u64,
    prefix: [u8; 8],
    prefix_length: u8,
    /// The prefix is read and no byte of the payload is out yet.
    start: bool,
}

impl LengthDecoder {
    /// A decoder at the start of a prefix.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next chunk off the front of `input`. `None`: all is taken and more is needed.
    ///
    /// An empty message gives one chunk without bytes. A length over `message_bytes_max` is refused
    /// when its prefix is complete. The format must stay the same over a decoder's life.
    #[inline]
    pub fn next<'a>(
        &mut self,
        input: &mut &'a [u8],
        format: &Format,
        message_bytes_max: u64,
    ) -> Result<Option<Chunk<'a>>, FramingError> {
        if self.remaining == 0 {
            let width = usize::from(format.checked_width());
            let held = usize::from(self.prefix_length);
            let taken = (width - held).min(input.len());
            self.prefix[held..held + taken].copy_from_slice(&input[..taken]);
            if held + taken < width {
                self.prefix_length = (held + taken) as u8;
                *input = &[];
                return Ok(None);
            }
            self.remaining = announced(*format, &self.prefix[..width], message_bytes_max)?;
            *input = &input[taken..];
            self.prefix_length = 0;
            self.start = true;
        }
        if input.is_empty() && self.remaining > 0 {
            return Ok(None);
        }
        let length = self.remaining.min(input.len() as u64) as usize;
        let (payload, rest) = input.split_at(length);
        *input = rest;
        self.remaining -= length as u64;
        let start = std::mem::take(&mut self.start);
        Ok(Some(Chunk {
            start,
            payload,
            remaining: self.remaining,
            end: self.remaining == 0,
        }))
    }

    /// Whether the input ended within a message, its prefix included.
    pub fn mid_message(&self) -> bool {
        self.remaining > 0 || self.prefix_length > 0
    }
}

fn announced(format: Format, prefix: &[u8], limit: u64) -> Result<u64, FramingError> {
    let announced = format.decode(prefix);
    let Some(payload) = announced.checked_sub(format.own_bytes()) else {
        return Err(FramingError::TooShort {
            announced,
            width: format.width,
        });
    };
    if payload > limit {
        return Err(FramingError::TooLong {
            announced: payload,
            message_bytes_max: limit,
        });
    }
    Ok(payload)
}

/// The payload is longer than the format's width can say. A caller's mistake, not a peer's.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct TooLong {
    /// The bytes of the payload.
    pub payload_bytes: u64,
    /// The most that the format can announce.
    pub payload_bytes_max: u64,
}

impl fmt::Display for TooLong {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "a message of {} bytes cannot be announced by a prefix that reaches to {}",
            self.payload_bytes, self.payload_bytes_max
        )
    }
}

impl std::error::Error for TooLong {}

/// Writes the prefix of a payload of `length` bytes to the start of `out`; returns its width.
pub fn write_head(out: &mut [u8; 8], format: &Format, length: u64) -> Result<usize, TooLong> {
    let payload_bytes_max = format.payload_bytes_max();
    if length > payload_bytes_max {
        return Err(TooLong {
            payload_bytes: length,
            payload_bytes_max,
        });
    }
    let width = usize::from(format.width);
    let announced = length + format.own_bytes();
    if format.big_endian {
        out[..width].copy_from_slice(&announced.to_be_bytes()[8 - width..]);
    } else {
        out[..width].copy_from_slice(&announced.to_le_bytes()[..width]);
    }
    Ok(width)
}
