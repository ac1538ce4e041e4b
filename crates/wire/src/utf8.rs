//! UTF-8 (RFC 3629), validated as it arrives.
//!
//! A text message may be cut anywhere, also within a character: between frames, and between two
//! reads of the socket. The validator therefore remembers the bytes of a character that has begun
//! and not ended, at most three of them. It fails at the first byte after which no continuation
//! could make the text valid, which RFC 6455 section 8.1 allows and impatient peers expect: a
//! surrogate (`ED A0`), an overlong form (`C0`, `E0 80`, `F0 80`) or a code point above U+10FFFF
//! (`F4 90`, `F5`) is refused at the byte that makes it so and not at the end of the message.

use std::fmt;
use std::str;

/// The text is not UTF-8, and no byte that could follow would make it so.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Invalid;

impl fmt::Display for Invalid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the text is not valid UTF-8 (RFC 3629)")
    }
}

impl std::error::Error for Invalid {}

/// Validates one text after another, each fed in pieces. Four bytes of state.
#[derive(Clone, Default, Debug)]
pub struct Validator {
    begun: [u8; 3],
    begun_length: u8,
}

/// Below this the standard library is faster: the vectors need a block to begin.
const VECTOR_BYTES_MIN: usize = 64;

impl Validator {
    /// Takes the next piece of the text; an empty piece changes nothing.
    ///
    /// After an error the validator is as new.
    #[inline]
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Invalid> {
        if self.begun_length == 0 {
            self.feed_from_boundary(bytes)
        } else {
            self.feed_within_character(bytes)
        }
    }

    /// Ends the text: an error if it ends within a character. The validator is as new afterwards.
    #[inline]
    pub fn finish(&mut self) -> Result<(), Invalid> {
        let complete = self.begun_length == 0;
        *self = Self::default();
        if complete { Ok(()) } else { Err(Invalid) }
    }

    #[inline]
    fn feed_from_boundary(&mut self, bytes: &[u8]) -> Result<(), Invalid> {
        let valid = if bytes.len() < VECTOR_BYTES_MIN {
            str::from_utf8(bytes).is_ok()
        } else {
            simdutf8::basic::from_utf8(bytes).is_ok()
        };
        if valid {
            Ok(())
        } else {
            self.keep_begun_character(bytes)
        }
    }

    #[cold]
    fn keep_begun_character(&mut self, bytes: &[u8]) -> Result<(), Invalid> {
        let (valid_up_to, incomplete) = match simdutf8::compat::from_utf8(bytes) {
            Ok(_) => return Ok(()),
            Err(error) => (error.valid_up_to(), error.error_len().is_none()),
        };
        if !incomplete {
            return Err(Invalid);
        }
        let rest = &bytes[valid_up_to..];
        self.begun[..rest.len()].copy_from_slice(rest);
        self.begun_length = rest.len() as u8;
        Ok(())
    }

    #[cold]
    fn feed_within_character(&mut self, bytes: &[u8]) -> Result<(), Invalid> {
        let mut character = [0; 4];
        let mut length = usize::from(self.begun_length);
        character[..length].copy_from_slice(&self.begun[..length]);
        for (position, byte) in bytes.iter().enumerate() {
            character[length] = *byte;
            length += 1;
            match str::from_utf8(&character[..length]) {
                Ok(_) => {
                    self.begun_length = 0;
                    return self.feed_from_boundary(&bytes[position + 1..]);
                }
                Err(error) if error.error_len().is_some() => {
                    *self = Self::default();
                    return Err(Invalid);
                }
                Err(_) => {
                    self.begun[length - 1] = *byte;
                    self.begun_length = length as u8;
                }
            }
        }
        Ok(())
    }
}

/// Replaces in one text after another what is not UTF-8 by U+FFFD, each text fed in pieces.
///
/// Each maximal run of bytes that begins a character and cannot continue becomes one, as the
/// Unicode standard recommends (section 3.9, "U+FFFD substitution of maximal subparts") and
/// [`String::from_utf8_lossy`] does. HyBi-09 section 8.1 asks a client for it.
#[derive(Clone, Default, Debug)]
pub struct Replacer {
    begun: Vec<u8>,
}

impl Replacer {
    /// Takes the next piece of the text and appends what is decided of it to `out`: valid UTF-8, up
    /// to three bytes short of the piece's end.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.begun.extend_from_slice(bytes);
        let pending = std::mem::take(&mut self.begun);
        let mut left = pending.len();
        for chunk in pending.utf8_chunks() {
            out.extend_from_slice(chunk.valid().as_bytes());
            left -= chunk.valid().len() + chunk.invalid().len();
            if chunk.invalid().is_empty() {
                continue;
            }
            let may_go_on = left == 0
                && str::from_utf8(chunk.invalid()).is_err_and(|it| it.error_len().is_none());
            if may_go_on {
                self.begun.extend_from_slice(chunk.invalid());
            } else {
                push_replacement(out);
            }
        }
    }

    /// Ends the text: a character that has begun becomes U+FFFD. The replacer is as new afterwards.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if !self.begun.is_empty() {
            push_replacement(out);
            self.begun = Vec::new();
        }
    }
}

fn push_replacement(out: &mut Vec<u8>) {
    let mut bytes = [0; 4];
    let replacement = char::REPLACEMENT_CHARACTER.encode_utf8(&mut bytes);
    out.extend_from_slice(replacement.as_bytes());
}
