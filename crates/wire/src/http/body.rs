//! Bodies, read as they arrive: of a known length, or in chunks (RFC 9112 sections 6 and 7.1).
//!
//! Where a server and a proxy before it disagree about the end of a body, a client can hide a
//! second request in the first. So the chunked coding is read to the letter: sizes of hexadecimal
//! digits and nothing else, lines that end with CR LF and never with LF alone, no control
//! characters. Extensions of chunks and trailer fields are checked, counted and dropped; both are
//! bounded.

use super::Refusal;
use super::headers::{is_token_byte, is_value_byte};
use super::request::Request;
use vespiary_trace::requires;

/// Bytes of chunk extensions, and of trailer fields, of one body: more than any client has a use
/// for, and few enough to read for nothing.
const ASIDE_BYTES_MAX: u32 = 8 << 10;

/// The digits of a size that 64 bits hold.
const SIZE_DIGITS_MAX: u8 = 16;

/// How long a request's body is (RFC 9112 section 6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyLength {
    /// There is none.
    None,
    /// So many bytes, at least one.
    Bytes(u64),
    /// In chunks, of which the last one has no bytes.
    Chunked,
}

impl Request {
    /// How long its body is. The request is well-formed, so there is one answer.
    pub fn body_length(&self) -> BodyLength {
        let is_chunked = self.header("transfer-encoding").is_some();
        if requires!("rfc9112/6.1/1", "rfc9112/7.1/2" => is_chunked) {
            return BodyLength::Chunked;
        }
        let length = self.header("content-length");
        match length.and_then(|digits| digits.parse().ok()) {
            None | Some(0) => BodyLength::None,
            Some(length) => BodyLength::Bytes(length),
        }
    }
}

/// Where the reader stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    /// In a chunk's size, of which this is known, and so many digits.
    Size(u64, u8),
    /// In spaces behind a size, which only an extension may follow.
    Space(u64),
    /// In an extension.
    Extension(u64),
    /// Behind the CR of a chunk's first line.
    SizeEnd(u64),
    /// So many bytes of data are to come, at least one.
    Data(u64),
    /// Behind a chunk's data, and behind the CR there.
    DataEnd,
    DataEndLf,
    /// At the start of a trailer line, in a name, in a value, and behind the CR.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerEnd,
    /// Behind the CR of the empty line.
    Last,
    Done,
}

/// Reads a body of the given length.
#[derive(Clone, Debug)]
pub struct BodyReader {
    at: At,
    is_chunked: bool,
    aside: u32,
}

impl BodyReader {
    /// A reader at a body's first byte.
    pub fn new(length: BodyLength) -> Self {
        let at = match length {
            BodyLength::None => At::Done,
            BodyLength::Bytes(length) => At::Data(length),
            BodyLength::Chunked => At::Size(0, 0),
        };
        Self {
            at,
            is_chunked: length == BodyLength::Chunked,
            aside: 0,
        }
    }

    /// How many bytes of data are still to come; `None` in chunks, where only the last one says.
    pub fn left(&self) -> Option<u64> {
        match self.at {
            At::Done => Some(0),
            At::Data(left) if !self.is_chunked => Some(left),
            _ => None,
        }
    }

    /// How many bytes of data are still to come at least: those of the chunk that is being read, or
    /// all of a known length.
    pub fn left_at_least(&self) -> u64 {
        match self.at {
            At::Data(left) => left,
            _ => 0,
        }
    }

    /// Whether the whole body was read.
    pub fn is_done(&self) -> bool {
        self.at == At::Done
    }

    /// Take the next bytes of data from the front of `input`, with what stands before them. `None`
    /// when the input is used up, or the body has ended; what follows the body stays in `input`.
    ///
    /// # Errors
    /// The body is malformed (400), or has too much besides its data (431).
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Refusal> {
        while let Some((&byte, rest)) = input.split_first() {
            match self.at {
                At::Done => return Ok(None),
                At::Data(left) => {
                    let size = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    let (data, rest) = input.split_at(size);
                    *input = rest;
                    self.at = match left - size as u64 {
                        0 if self.is_chunked => At::DataEnd,
                        0 => At::Done,
                        left => At::Data(left),
                    };
                    return Ok(Some(data));
                }
                _ => {
                    self.at = self.step(byte)?;
                    *input = rest;
                }
            }
        }
        Ok(None)
    }

    /// One byte that is not data.
    fn step(&mut self, byte: u8) -> Result<At, Refusal> {
        let next = match (self.at, byte) {
            (At::Size(size, digits), byte) if byte.is_ascii_hexdigit() => {
                let digit = (byte as char).to_digit(16).map_or(0, u64::from);
                // Zeros before a size are digits too, and must not continue forever.
                if requires!("rfc9112/7.1/3" => digits >= SIZE_DIGITS_MAX) {
                    return Err(malformed("the size of a chunk is too large"));
                }
                At::Size(size << 4 | digit, digits + 1)
            }
            (At::Size(_, 0), _) => return Err(malformed("a chunk has no size")),
            (At::Size(size, _) | At::Space(size) | At::Extension(size), b';') => {
                self.put_aside()?;
                At::Extension(size)
            }
            (At::Size(size, _) | At::Space(size), b' ' | b'\t') => {
                self.put_aside()?;
                At::Space(size)
            }
            (At::Size(size, _) | At::Extension(size), b'\r') => At::SizeEnd(size),
            (At::Extension(size), byte) if requires!("rfc9112/7.1.1/1" => is_value_byte(byte)) => {
                self.put_aside()?;
                At::Extension(size)
            }
            (At::SizeEnd(0) | At::TrailerEnd, b'\n') => At::Trailer,
            (At::SizeEnd(size), b'\n') => At::Data(size),
            (At::DataEnd, b'\r') => At::DataEndLf,
            (At::DataEndLf, b'\n') => At::Size(0, 0),
            (At::Trailer, b'\r') => At::Last,
            (At::Trailer | At::TrailerName, byte) if is_token_byte(byte) => {
                self.put_aside()?;
                At::TrailerName
            }
            (At::TrailerName, b':') => At::TrailerValue,
            (At::TrailerValue, b'\r') => At::TrailerEnd,
            (At::TrailerValue, byte) if is_value_byte(byte) => {
                self.put_aside()?;
                At::TrailerValue
            }
            (At::Last, b'\n') => At::Done,
            (At::Trailer | At::TrailerName | At::TrailerValue | At::TrailerEnd | At::Last, _) => {
                return Err(malformed("a trailer field is malformed"));
            }
            (At::DataEnd | At::DataEndLf, _) => {
                return Err(malformed("a chunk is longer than its size says"));
            }
            _ => return Err(malformed("the size of a chunk is malformed")),
        };
        Ok(next)
    }

    /// Count a byte of an extension or a trailer field.
    fn put_aside(&mut self) -> Result<(), Refusal> {
        self.aside += 1;
        if self.aside > ASIDE_BYTES_MAX {
            let text = "the chunked body has too many bytes besides its data (RFC 9112 7.1.1)";
            return Err(Refusal::new(431, text));
        }
        Ok(())
    }
}

fn malformed(what: &str) -> Refusal {
    Refusal::new(400, format!("{what} (RFC 9112 7.1)"))
}
