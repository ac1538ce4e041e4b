//! Compressing: sections 6.1 and 7.2.1.

use super::TAIL;
use std::fmt;
use vespiary_trace::requires;
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush};

/// What a compressor is made for.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct Shape {
    /// The bits of the window that was agreed on, 8 to 15.
    pub window_bits: u8,
    /// 1 (fast) to 9 (small); 0 stores.
    pub level: u8,
    /// 1 (little memory) to 9 (fast).
    pub memory_level: u8,
}

/// The table of hashes has one size, no matter what else is chosen.
const HASH_BYTES: usize = 128 << 10;
/// The rest: the trees and the counters.
const STATE_BYTES: usize = 6 << 10;

impl Shape {
    /// What a compressor of this shape holds of memory, in bytes.
    ///
    /// Twice the window, its chains, the table of hashes, and seven bytes for each symbol that a
    /// block may gather.
    pub fn memory_bytes(self) -> usize {
        let window = 1 << self.library_bits();
        let symbols = 1 << (self.memory_level + 6);
        4 * window + HASH_BYTES + 7 * symbols + STATE_BYTES
    }

    /// The library has no window of 8 bits; see the head of [`super`].
    fn library_bits(self) -> u8 {
        if requires!("rfc7692/7.2.1/12", "rfc7692/7.2.1/14" => self.window_bits < 15) {
            self.window_bits.max(9)
        } else {
            15
        }
    }
}

/// Compresses messages, one after the other.
pub struct Compressor {
    deflate: Deflate,
    shape: Shape,
}

impl fmt::Debug for Compressor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut structure = formatter.debug_struct("Compressor");
        structure.field("shape", &self.shape);
        structure.finish_non_exhaustive()
    }
}

impl Compressor {
    /// A compressor with an empty window. Panics when the shape is out of range.
    pub fn new(shape: Shape) -> Self {
        let config = DeflateConfig {
            window_bits: -i32::from(shape.library_bits()),
            level: i32::from(shape.level),
            mem_level: i32::from(shape.memory_level),
            ..DeflateConfig::default()
        };
        Self {
            deflate: Deflate::new_with_config(config),
            shape,
        }
    }

    /// What it was made for.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Forget what was compressed before: the next message begins with an empty window.
    pub fn reset(&mut self) {
        self.deflate.reset();
    }

    /// Append to `out` what `piece` becomes on the wire: the whole payload of a message, or of one
    /// of its frames. Only the `last` piece of a message goes without its tail.
    ///
    /// A piece that is not the last may become nothing; a last one becomes a byte at least.
    pub fn compress(&mut self, piece: &[u8], last: bool, out: &mut Vec<u8>) {
        let start = out.len();
        // A flush behind a flush writes nothing, so an empty piece is not even tried.
        if requires!("rfc7692/7.2.1/h1" => !piece.is_empty()) {
            self.flush(piece, out);
        }
        if requires!("rfc7692/7.2.1/5" => !last) {
            return;
        }
        if requires!("rfc7692/7.2.1/h3" => out[start..].ends_with(&TAIL)) {
            out.truncate(out.len() - TAIL.len());
        } else {
            requires!("rfc7692/7.2.1/h2", "rfc7692/7.2.3.6/h1");
            // The header of an empty block without compression (section 7.2.3.6).
            out.push(0x00);
        }
    }

    fn flush(&mut self, mut piece: &[u8], out: &mut Vec<u8>) {
        // Enough for what cannot be compressed: five bytes for each block that is stored.
        let mut room = piece.len() + piece.len() / 64 + 64;
        loop {
            let start = out.len();
            out.resize(start + room, 0);
            let before = (self.deflate.total_in(), self.deflate.total_out());
            let status = self
                .deflate
                .compress(piece, &mut out[start..], DeflateFlush::SyncFlush);
            let taken = (self.deflate.total_in() - before.0) as usize;
            let written = (self.deflate.total_out() - before.1) as usize;
            out.truncate(start + written);
            assert!(status.is_ok(), "a compressor within its range cannot fail");
            piece = &piece[taken..];
            if written < room {
                return;
            }
            room = 1024;
        }
    }
}
