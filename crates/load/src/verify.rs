//! Does what came back equal what was sent, byte for byte, and in order?
//!
//! Raw, line and length-prefixed echoes are one stream each: the bytes that come back must be the
//! bytes that went, frames included, so nothing is parsed and a message is checked by comparing
//! slices. After a difference the stream may be out of step. The check then looks for what came
//! among what was still to come (bytes are missing) and the other way round (bytes were added); if
//! it finds either it goes on in step, so one dropped byte counts as one altered message and not as
//! thousands. Otherwise it goes on in place, which is right for bytes changed.
//!
//! WebSocket echoes are compared message by message, since a server may frame them as it likes.

use crate::payload::Cursor;
use crate::shape::Shape;

/// Bytes that must agree for a stream to count as in step again.
const SYNC_BYTES: usize = 12;
/// How far ahead to look for the step, in bytes.
const SYNC_WINDOW_BYTES: usize = 8 << 10;
/// Bytes of an excerpt.
pub const EXCERPT_BYTES: usize = 24;

/// The first byte at which a message differs from what was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The message's number on its connection, from zero.
    pub message: u64,
    /// The byte's place in the message as sent, framing included on a stream.
    pub offset: usize,
    /// What should have come from there on.
    pub expected: Vec<u8>,
    /// What came.
    pub got: Vec<u8>,
    /// What seems to have happened, where it can be known.
    pub note: String,
}

/// What a piece of the stream brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages whose last byte came.
    pub completed: u32,
    /// Of these, messages that differ from what was sent.
    pub altered: u32,
    /// Bytes that answer nothing sent.
    pub extra_bytes: u64,
}

/// How far one connection's echo has come.
#[derive(Clone, Debug)]
pub struct Expectation {
    message: u64,
    cursor: Cursor,
    offset: usize,
    damaged: bool,
}

impl Expectation {
    /// Nothing has come back on `connection` yet.
    pub fn new(connection: u32) -> Self {
        Self {
            message: 0,
            cursor: Cursor::first(connection),
            offset: 0,
            damaged: false,
        }
    }

    /// Messages that have come back.
    pub fn messages(&self) -> u64 {
        self.message
    }

    /// Bytes of the message under way that have come back.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Compare a piece of a stream; `sent` is how many messages have been sent so far. `found` is
    /// called with the first difference of each message.
    pub fn stream(
        &mut self,
        shape: &Shape,
        mut bytes: &[u8],
        sent: u64,
        found: &mut dyn FnMut(Difference),
    ) -> Tally {
        let mut tally = Tally::default();
        while !bytes.is_empty() {
            if self.message == sent {
                tally.extra_bytes = bytes.len() as u64;
                break;
            }
            let part = shape.part(self.cursor, self.offset);
            let length = part.len().min(bytes.len());
            if part[..length] == bytes[..length] {
                bytes = &bytes[length..];
                self.step(shape, length, &mut tally);
                continue;
            }
            bytes = self.differ(shape, bytes, sent, &mut tally, found);
        }
        tally
    }

    /// Report a difference in `bytes`, and give back what is to be compared next.
    fn differ<'b>(
        &mut self,
        shape: &Shape,
        bytes: &'b [u8],
        sent: u64,
        tally: &mut Tally,
        found: &mut dyn FnMut(Difference),
    ) -> &'b [u8] {
        let part = shape.part(self.cursor, self.offset);
        let length = part.len().min(bytes.len());
        let agree = agreement(part, bytes);
        self.step(shape, agree, tally);
        let got = &bytes[agree..];
        let ahead = self.ahead(shape, sent);
        let missing = resume(&ahead, got);
        let added = if missing.is_none() {
            resume(got, &ahead)
        } else {
            None
        };
        if !self.damaged {
            self.damaged = true;
            let note = match (missing, added) {
                (Some(count), _) => format!("{count} bytes are missing here"),
                (_, Some(count)) => format!("{count} bytes were added here"),
                _ => String::new(),
            };
            found(Difference {
                message: self.message,
                offset: self.offset,
                expected: excerpt(&ahead),
                got: excerpt(got),
                note,
            });
        }
        match (missing, added) {
            (Some(count), _) => {
                self.skip(shape, count, tally);
                got
            }
            (_, Some(count)) => &got[count..],
            _ => {
                self.step(shape, length - agree, tally);
                &bytes[length..]
            }
        }
    }

    /// Pass over `count` bytes of the expected stream; every message they touch is damaged.
    fn skip(&mut self, shape: &Shape, mut count: usize, tally: &mut Tally) {
        while count > 0 {
            self.damaged = true;
            let length = count.min(shape.frame_bytes() - self.offset);
            self.step(shape, length, tally);
            count -= length;
        }
    }

    fn step(&mut self, shape: &Shape, length: usize, tally: &mut Tally) {
        self.offset += length;
        if self.offset == shape.frame_bytes() {
            tally.completed += 1;
            tally.altered += u32::from(self.damaged);
            self.next();
        }
    }

    fn next(&mut self) {
        self.message += 1;
        self.cursor.advance();
        self.offset = 0;
        self.damaged = false;
    }

    /// What is still to come, as far as it has been sent and as far as it helps.
    fn ahead(&self, shape: &Shape, sent: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let (mut message, mut cursor, mut offset) = (self.message, self.cursor, self.offset);
        while message < sent && bytes.len() < SYNC_WINDOW_BYTES {
            let part = shape.part(cursor, offset);
            bytes.extend_from_slice(part);
            offset += part.len();
            if offset == shape.frame_bytes() {
                message += 1;
                cursor.advance();
                offset = 0;
            }
        }
        bytes.truncate(SYNC_WINDOW_BYTES);
        bytes
    }

    /// A WebSocket message came in one piece: if it is what was sent, take it and say so. Otherwise
    /// nothing happens.
    pub fn whole(&mut self, shape: &Shape, payload: &[u8]) -> bool {
        let is_right =
            self.offset == 0 && !self.damaged && shape.pattern().payload(self.cursor) == payload;
        if is_right {
            self.next();
        }
        is_right
    }

    /// Compare a piece of a WebSocket message's payload.
    pub fn piece(&mut self, shape: &Shape, bytes: &[u8], found: &mut dyn FnMut(Difference)) {
        let whole = shape.pattern().payload(self.cursor);
        let expected = whole.get(self.offset..).unwrap_or_default();
        if expected.get(..bytes.len()) != Some(bytes) && !self.damaged {
            let agree = agreement(expected, bytes);
            self.offset += agree;
            let note = if agree == expected.len() {
                "more came than was sent"
            } else {
                ""
            };
            self.damage(&expected[agree..], &bytes[agree..], note, found);
            self.offset += bytes.len() - agree;
            return;
        }
        self.offset += bytes.len();
    }

    /// The WebSocket message under way has ended. Whether it is what was sent.
    pub fn end(
        &mut self,
        shape: &Shape,
        kind_kept: bool,
        found: &mut dyn FnMut(Difference),
    ) -> bool {
        let whole = shape.pattern().payload(self.cursor);
        if !self.damaged && self.offset < whole.len() {
            let rest = &whole[self.offset..];
            self.damage(rest, &[], "the message ended early", found);
        }
        if !self.damaged && !kind_kept {
            self.damage(
                &[],
                &[],
                "text came back as binary, or the other way round",
                found,
            );
        }
        let intact = !self.damaged;
        self.next();
        intact
    }

    fn damage(
        &mut self,
        expected: &[u8],
        got: &[u8],
        note: &str,
        found: &mut dyn FnMut(Difference),
    ) {
        self.damaged = true;
        found(Difference {
            message: self.message,
            offset: self.offset,
            expected: excerpt(expected),
            got: excerpt(got),
            note: note.to_owned(),
        });
    }
}

/// How many bytes at the start are the same.
fn agreement(left: &[u8], right: &[u8]) -> usize {
    left.iter()
        .zip(right)
        .take_while(|(left, right)| left == right)
        .count()
}

/// How many bytes of `stream` to pass over until it goes on as `wanted` begins; `None` when it
/// never does, or when too little of either is there to tell.
fn resume(stream: &[u8], wanted: &[u8]) -> Option<usize> {
    let start = wanted.get(..SYNC_BYTES)?;
    let window = &stream[..stream.len().min(SYNC_WINDOW_BYTES)];
    window
        .windows(SYNC_BYTES)
        .position(|bytes| bytes == start)
        .filter(|count| *count > 0)
}

fn excerpt(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len().min(EXCERPT_BYTES)].to_vec()
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
