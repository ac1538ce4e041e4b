//! Does what came back equal what was sent, byte for byte, and in order?
//!
//! Raw, line and length-prefixed echoes are one stream each: the bytes that come back must be the
//! bytes that went, frames included, so nothing is parsed and a message is checked by comparing
//! slices. WebSocket echoes are compared message by message, since a server may frame them as it
//! likes.
//!
//! After a difference the bytes are held from the start of their message on, and
//! [`crate::matching`] finds out by content what they are: a later message (so those before it are
//! missing), one that was missing, one that came before, an altered one, or none of these. Then
//! comparing continues in place.

use crate::clock::Nanoseconds;
use crate::matching::{Known, Verdict};
use crate::payload::Cursor;
use crate::shape::Shape;

/// Bytes of an excerpt.
pub const EXCERPT_BYTES: usize = 24;
/// Missing messages that are waited for on one connection, at most; older ones are lost.
const MISSING_MAX: usize = 4096;

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

/// A message that has not come back while a later one has.
#[derive(Clone, Copy, Debug)]
pub struct Missing {
    /// Its number on its connection.
    pub number: u64,
    /// Its content.
    pub cursor: Cursor,
    /// When it left, or was due.
    pub left: Nanoseconds,
}

/// Where everything but an intact message in its order is entered, in the order in which it came.
pub trait Books {
    /// The `count` oldest messages in flight came back.
    fn back(&mut self, count: u32);
    /// The oldest message in flight came back, altered.
    fn altered(&mut self, difference: Difference);
    /// The oldest message in flight did not come while a later one did; when it left.
    fn skipped(&mut self) -> Nanoseconds;
    /// A message that had been skipped came, after `before`.
    fn late(&mut self, missing: &Missing, before: u64);
    /// A message that had been skipped is not waited for any longer.
    fn lost(&mut self, missing: &Missing);
    /// A message came that had come before.
    fn again(&mut self, number: u64);
    /// Bytes came that answer nothing; they follow message `before`.
    fn extra(&mut self, bytes: u64, before: u64);
}

/// How far one connection's echo has come.
#[derive(Clone, Debug)]
pub struct Expectation {
    message: u64,
    cursor: Cursor,
    offset: usize,
    doubt: Option<Box<Doubt>>,
}

/// What is known of an echo that has differed.
#[derive(Clone, Debug, Default)]
struct Doubt {
    /// What has come of a message that is not known yet, from its start on.
    held: Vec<u8>,
    missing: Vec<Missing>,
}

impl Expectation {
    /// Nothing has come back on `connection` yet.
    pub fn new(connection: u32) -> Self {
        Self {
            message: 0,
            cursor: Cursor::first(connection),
            offset: 0,
            doubt: None,
        }
    }

    /// Messages that have come back, or that later ones have overtaken.
    pub fn messages(&self) -> u64 {
        self.message
    }

    /// Bytes of the message in progress that have come back as they were sent.
    pub fn offset(&self, shape: &Shape) -> usize {
        match &self.doubt {
            Some(doubt) if !doubt.held.is_empty() => {
                agreement(&shape.frame(self.cursor), &doubt.held)
            }
            _ => self.offset,
        }
    }

    /// Do not wait for the next `count` messages: no echo is expected.
    pub fn pass(&mut self, count: u32) {
        self.message += u64::from(count);
        self.cursor = self.cursor.moved(count.into());
    }

    /// Messages that later ones have overtaken.
    pub fn missing(&self) -> &[Missing] {
        self.doubt.as_ref().map_or(&[], |doubt| &doubt.missing)
    }

    /// Forget the missing messages for which `is_over` says so; `each` gets them.
    pub fn give_up(&mut self, is_over: impl Fn(&Missing) -> bool, mut each: impl FnMut(&Missing)) {
        if let Some(doubt) = &mut self.doubt {
            doubt.missing.retain(|missing| {
                let is_over = is_over(missing);
                if is_over {
                    each(missing);
                }
                !is_over
            });
        }
    }

    /// Forget the bytes that are held, and say how many they are.
    pub fn take_held(&mut self) -> usize {
        let held = self.doubt.as_mut().map(|doubt| &mut doubt.held);
        held.map_or(0, |held| std::mem::take(held).len())
    }

    /// Compare a piece of a stream; `sent` is how many messages have been sent so far. Gives the
    /// number of messages that have come back intact since the last entry in `books`.
    pub fn stream(&mut self, shape: &Shape, bytes: &[u8], sent: u64, books: &mut dyn Books) -> u32 {
        let mut completed = 0;
        let mut held = self
            .doubt
            .as_mut()
            .map_or_else(Vec::new, |doubt| std::mem::take(&mut doubt.held));
        if held.is_empty() {
            let rest = self.agree(shape, bytes, sent, &mut completed);
            if rest.is_empty() {
                return completed;
            }
            held = shape.frame(self.cursor)[..self.offset].to_vec();
            held.extend_from_slice(rest);
        } else {
            held.extend_from_slice(bytes);
        }
        self.settle(shape, &held, sent, &mut completed, books);
        completed
    }

    /// Compare as long as bytes are those that were sent; what follows them.
    fn agree<'b>(
        &mut self,
        shape: &Shape,
        mut bytes: &'b [u8],
        sent: u64,
        completed: &mut u32,
    ) -> &'b [u8] {
        while !bytes.is_empty() && self.message != sent {
            let part = shape.part(self.cursor, self.offset);
            let length = part.len().min(bytes.len());
            if part[..length] != bytes[..length] {
                break;
            }
            bytes = &bytes[length..];
            self.offset += length;
            if self.offset == shape.frame_bytes(self.cursor) {
                *completed += 1;
                self.next();
            }
        }
        bytes
    }

    /// Find out what `held` is, which begins where a message should, and hold what cannot be known
    /// yet.
    fn settle(
        &mut self,
        shape: &Shape,
        held: &[u8],
        sent: u64,
        completed: &mut u32,
        books: &mut dyn Books,
    ) {
        let mut start = 0;
        self.offset = 0;
        while start < held.len() {
            let rest = self.agree(shape, &held[start..], sent, completed);
            start = held.len() - rest.len() - self.offset;
            if rest.is_empty() {
                return;
            }
            self.offset = 0;
            let known = self.known(shape, sent);
            let Some((verdict, length)) = known.judge(&held[start..]) else {
                self.doubt.get_or_insert_default().held = held[start..].to_vec();
                return;
            };
            books.back(std::mem::take(completed));
            self.enter(shape, verdict, &held[start..start + length], books);
            start += length;
        }
    }

    fn known<'a>(&'a self, shape: &'a Shape, sent: u64) -> Known<'a> {
        Known {
            shape,
            next: self.message,
            cursor: self.cursor,
            sent,
            missing: self.missing(),
        }
    }

    /// Enter what `bytes` turned out to be.
    fn enter(&mut self, shape: &Shape, verdict: Verdict, bytes: &[u8], books: &mut dyn Books) {
        match verdict {
            Verdict::Ahead { skipped } => {
                for _ in 0..skipped {
                    self.skip(books);
                }
                books.back(1);
                self.next();
            }
            Verdict::Late { index } => {
                let missing = self.doubt.get_or_insert_default().missing.remove(index);
                books.late(&missing, self.message.saturating_sub(1));
            }
            Verdict::Again { number } => books.again(number),
            Verdict::Altered => {
                let expected = shape.frame(self.cursor);
                books.altered(difference(self.message, &expected, bytes));
                self.next();
            }
            Verdict::Extra => books.extra(bytes.len() as u64, self.message.saturating_sub(1)),
        }
    }

    /// The message that should have come is missing.
    pub fn skip(&mut self, books: &mut dyn Books) {
        let missing = Missing {
            number: self.message,
            cursor: self.cursor,
            left: books.skipped(),
        };
        let list = &mut self.doubt.get_or_insert_default().missing;
        if list.len() == MISSING_MAX {
            books.lost(&list.remove(0));
        }
        list.push(missing);
        self.next();
    }

    fn next(&mut self) {
        self.message += 1;
        self.cursor.advance();
        self.offset = 0;
    }

    /// A WebSocket message came in one piece: if it is what was sent, take it and say so. Otherwise
    /// nothing happens.
    pub fn whole(&mut self, shape: &Shape, payload: &[u8]) -> bool {
        let is_right = self.offset == 0 && shape.payload(self.cursor) == payload;
        if is_right {
            self.next();
        }
        is_right
    }

    /// Take a piece of a WebSocket message's payload.
    pub fn piece(&mut self, shape: &Shape, bytes: &[u8], sent: u64) {
        let expected = shape.payload(self.cursor);
        if let Some(doubt) = &mut self.doubt
            && !doubt.held.is_empty()
        {
            doubt.held.extend_from_slice(bytes);
            return;
        }
        let end = self.offset + bytes.len();
        if self.message != sent && expected.get(self.offset..end) == Some(bytes) {
            self.offset = end;
            return;
        }
        let held = &mut self.doubt.get_or_insert_default().held;
        held.extend_from_slice(&expected[..self.offset]);
        held.extend_from_slice(bytes);
        self.offset = 0;
    }

    /// The WebSocket message in progress has ended. `kind_kept`: it is text as what was sent, or
    /// binary as that.
    pub fn end(&mut self, shape: &Shape, sent: u64, kind_kept: bool, books: &mut dyn Books) {
        let expected = shape.payload(self.cursor);
        let mut held = self
            .doubt
            .as_mut()
            .map_or_else(Vec::new, |doubt| std::mem::take(&mut doubt.held));
        if held.is_empty() {
            if self.message != sent && self.offset == expected.len() && kind_kept {
                books.back(1);
                return self.next();
            }
            held = expected[..self.offset].to_vec();
        }
        self.offset = 0;
        match self.known(shape, sent).judge_message(&held, kind_kept) {
            Verdict::Altered => {
                books.altered(message_difference(self.message, expected, &held));
                self.next();
            }
            // Two bytes stand for the head, so that an empty message counts too.
            Verdict::Extra => {
                books.extra(held.len() as u64 + 2, self.message.saturating_sub(1));
            }
            verdict => self.enter(shape, verdict, &held, books),
        }
    }
}

/// What was wrong with a message of a stream.
fn difference(message: u64, expected: &[u8], got: &[u8]) -> Difference {
    let note = match got.len() as i64 - expected.len() as i64 {
        0 => String::new(),
        1 => "1 byte was added".to_owned(),
        -1 => "1 byte is missing".to_owned(),
        added if added > 0 => format!("{added} bytes were added"),
        missing => format!("{} bytes are missing", -missing),
    };
    described(message, expected, got, note)
}

/// What was wrong with a WebSocket message.
fn message_difference(message: u64, expected: &[u8], got: &[u8]) -> Difference {
    let agree = agreement(expected, got);
    let note = if expected == got {
        "text came back as binary, or the other way round"
    } else if agree == expected.len() {
        "more came than was sent"
    } else if agree == got.len() {
        "the message ended early"
    } else {
        ""
    };
    described(message, expected, got, note.to_owned())
}

fn described(message: u64, expected: &[u8], got: &[u8], note: String) -> Difference {
    let offset = agreement(expected, got);
    Difference {
        message,
        offset,
        expected: excerpt(&expected[offset..]),
        got: excerpt(&got[offset..]),
        note,
    }
}

/// How many bytes at the start are the same.
fn agreement(left: &[u8], right: &[u8]) -> usize {
    let mut pairs = left.iter().zip(right);
    let length = left.len().min(right.len());
    pairs
        .position(|(left, right)| left != right)
        .unwrap_or(length)
}

fn excerpt(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len().min(EXCERPT_BYTES)].to_vec()
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
