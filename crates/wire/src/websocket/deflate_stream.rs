//! `deflate-stream`, the extension that HyBi-09 section 9.2.1 defines: all bytes behind the
//! handshake, heads of frames included, are one DEFLATE stream (RFC 1951) in each direction.
//!
//! The stream has no wrapper: no header of zlib's (RFC 1950), no checksum. Whatever is written at
//! once is followed by a sync flush, so that no byte of a frame waits for the next one. The stream
//! ends with the connection; a block that calls itself the last ends it too, and bytes behind that
//! block are an error.
//!
//! Draft 11 dropped the extension. Compressing heads costs more than it gains, a frame cannot be
//! skipped without inflating it, an intermediary cannot fragment or coalesce, and the bytes of
//! masked frames, which are random, do not shrink at all: a client's stream grows. It is here for
//! peers that ask for it, and off unless it was switched on.
//!
//! What inflates says nothing about its size. [`Reader::inflate`] fills what room it is given and
//! stops; the frames that come out obey the limits on frames as usual.

use super::ProtocolError;
use super::close::Code;
use super::deflate::{Compressor, Shape};
use super::extension::{self, Extension};
use super::profile::Version;
use std::fmt;
use vespiary_trace::requires;
use zlib_rs::{Inflate, InflateFlush, Status};

/// The registered name. It has no parameters.
pub const NAME: &str = "deflate-stream";

/// Whether one of a client's offers is this, in the values of its header lines.
pub fn is_offered(values: &[String]) -> bool {
    let profile = Version::Hybi09.profile();
    let offers = values
        .iter()
        .filter_map(|value| extension::parse(profile, value).ok());
    offers.flatten().any(|offer| is_this(&offer))
}

/// Whether a server's answer is this and nothing besides.
pub fn is_granted(answers: &[Extension]) -> bool {
    matches!(answers, [only] if is_this(only))
}

fn is_this(extension: &Extension) -> bool {
    extension.name == NAME && extension.parameters.is_empty()
}

/// The stream is not what DEFLATE gives, or continues behind its end.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Corrupt;

impl From<Corrupt> for ProtocolError {
    fn from(_: Corrupt) -> Self {
        Self {
            code: Code::PROTOCOL_ERROR,
            text: "the compressed stream cannot be decompressed",
            section: "HyBi-09 9.2.1",
            limit: None,
        }
    }
}

impl fmt::Display for Corrupt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        ProtocolError::from(*self).fmt(formatter)
    }
}

impl std::error::Error for Corrupt {}

/// Inflates what arrives.
pub struct Reader {
    inflate: Inflate,
    is_ended: bool,
}

impl fmt::Debug for Reader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut structure = formatter.debug_struct("Reader");
        structure.field("is_ended", &self.is_ended);
        structure.finish_non_exhaustive()
    }
}

impl Default for Reader {
    fn default() -> Self {
        requires!("hybi09/9.2.1/5");
        Self {
            inflate: Inflate::new(false, 15),
            is_ended: false,
        }
    }
}

impl Reader {
    /// What it holds of memory, in bytes: the window and the tables.
    pub const MEMORY_BYTES: usize = 41 << 10;

    /// Inflates from the front of `input` into `output` until one of them is used up; how many
    /// bytes were written. As long as `output` is filled, there may be more bytes, even if `input`
    /// is empty.
    pub fn inflate(&mut self, input: &mut &[u8], output: &mut [u8]) -> Result<usize, Corrupt> {
        let mut filled = 0;
        while filled < output.len() && !self.is_ended {
            let before = (self.inflate.total_in(), self.inflate.total_out());
            let status = self
                .inflate
                .decompress(input, &mut output[filled..], InflateFlush::SyncFlush)
                .map_err(|_| Corrupt)?;
            *input = &input[(self.inflate.total_in() - before.0) as usize..];
            filled += (self.inflate.total_out() - before.1) as usize;
            match status {
                Status::StreamEnd => self.is_ended = true,
                Status::Ok if !input.is_empty() => {}
                Status::Ok | Status::BufError => break,
            }
        }
        if self.is_ended && !input.is_empty() {
            return Err(Corrupt);
        }
        Ok(filled)
    }
}

/// A window of 4 KiB holds what is alike in small messages. A larger one costs each connection
/// memory for as long as it lives, since the stream never begins again.
const SHAPE: Shape = Shape {
    window_bits: 12,
    level: 4,
    memory_level: 5,
};

/// Deflates what leaves.
#[derive(Debug)]
pub struct Writer {
    compressor: Compressor,
}

impl Default for Writer {
    fn default() -> Self {
        Self {
            compressor: Compressor::new(SHAPE),
        }
    }
}

impl Writer {
    /// What it holds of memory, in bytes.
    pub fn memory_bytes() -> usize {
        SHAPE.memory_bytes()
    }

    /// Appends to `out` what `bytes` become on the wire, up to a sync flush.
    pub fn deflate(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        requires!("hybi09/9.2.1/3");
        self.compressor.compress(bytes, false, out);
    }

    /// The most that so many bytes may become.
    pub fn bytes_max(length: usize) -> usize {
        length + length / 64 + 64
    }
}
