//! Which message is this? The slow way, after an echo has differed from what was to come next.
//!
//! Payloads differ between messages in their first bytes (see [`crate::payload`]), so what came is
//! compared with every message that it could be: those in flight, those that later ones have
//! overtaken, and the last ones that came back. If it begins none of them, it is the altered echo
//! of the next one. Where that ends is decided by the first known message behind its start
//! ([`Known::anchor`]); without one, by the framing; on a raw stream, by its length as sent.
//!
//! Payloads shorter than [`KEY_BYTES`] are too much alike for this. They are recognized by
//! the messages that follow them, and only if they are in flight.

use std::collections::HashMap;

use crate::payload::Cursor;
use crate::shape::Shape;
use crate::verify::Missing;

/// Bytes of payload that identify a message.
const KEY_BYTES: usize = 8;
/// A key with the head before the payload.
const KEY_BYTES_MAX: usize = 16;
/// How far ahead to look, in messages: within this distance no two payloads are alike.
const AHEAD_MAX: u64 = 16_000;
/// How far back to look for messages that came twice.
const AGAIN_MAX: u64 = 64;
/// An altered message may have grown to twice its size and this.
const GROWN_BYTES: usize = 64 << 10;

/// What bytes turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The message after the next `skipped` ones.
    Ahead {
        /// How many have not come.
        skipped: u64,
    },
    /// A missing one.
    Late {
        /// Which of these.
        index: usize,
    },
    /// One that came before.
    Again {
        /// Its number.
        number: u64,
    },
    /// The next one, altered.
    Altered,
    /// Nothing that was sent.
    Extra,
}

/// The messages that can come.
pub struct Known<'a> {
    /// Their form.
    pub shape: &'a Shape,
    /// The number of the next one.
    pub next: u64,
    /// Its content.
    pub cursor: Cursor,
    /// How many have been sent.
    pub sent: u64,
    /// Those that later ones have overtaken.
    pub missing: &'a [Missing],
}

enum Fit {
    /// Other bytes.
    None,
    /// Its beginning.
    Partial,
    /// The whole message.
    Whole,
}

impl Known<'_> {
    /// What a stream's `bytes` begin with, and how many of them that is. `None`: more of them are
    /// needed to decide.
    pub fn judge(&self, bytes: &[u8]) -> Option<(Verdict, usize)> {
        let frame = self.shape.frame_bytes(self.cursor);
        match self.identify(bytes) {
            Some(Ok(found)) => return Some(found),
            Some(Err(Incomplete)) => return None,
            None => {}
        }
        if self.next == self.sent {
            return Some((Verdict::Extra, bytes.len()));
        }
        let end = self.end(bytes);
        if let Some((place, skipped)) = self.anchor(bytes) {
            if skipped == 0 {
                return Some((Verdict::Extra, place));
            }
            let is_one = skipped == 1 && place < 2 * frame.max(1);
            let length = if is_one {
                place
            } else {
                place.min(end.unwrap_or(frame))
            };
            return Some((Verdict::Altered, length));
        }
        let end = end?;
        self.is_certain(bytes, end)
            .then_some((Verdict::Altered, end))
    }

    /// Whether an altered message, in which no known one begins, goes to `end`: unless the bytes
    /// behind its start may turn out to be the following message.
    fn is_certain(&self, bytes: &[u8], end: usize) -> bool {
        let following = self.cursor.moved(1);
        let frame = self.shape.frame_bytes(following);
        let enough = end + frame + 2 * self.key_bytes();
        if bytes.len() >= enough || self.is_all(bytes, enough) {
            return true;
        }
        let begins = |place: usize| !matches!(self.fit(following, &bytes[place..]), Fit::None);
        let is_at_end = end < bytes.len() && begins(end);
        is_at_end || !(1..bytes.len()).any(|place| place != end && begins(place))
    }

    /// Whether `bytes`, of which there are fewer than `enough`, are as many as are in flight.
    fn is_all(&self, bytes: &[u8], enough: usize) -> bool {
        let mut rest = self.sent - self.next;
        let (mut cursor, mut total) = (self.cursor, 0);
        while rest > 0 && total < enough {
            total += self.shape.frame_bytes(cursor);
            cursor.advance();
            rest -= 1;
        }
        rest == 0 && bytes.len() >= total && self.missing.is_empty()
    }

    /// What a WebSocket message is.
    pub fn judge_message(&self, payload: &[u8], kind_kept: bool) -> Verdict {
        let is_distinct = payload.len() >= KEY_BYTES && kind_kept;
        let is = |cursor: Cursor| self.shape.payload(cursor) == payload;
        if is_distinct {
            if let Some(index) = self.missing.iter().position(|it| is(it.cursor)) {
                return Verdict::Late { index };
            }
            if let Some((number, _)) = self.before().find(|(_, cursor)| is(*cursor)) {
                return Verdict::Again { number };
            }
            if let Some((skipped, _)) = self.ahead().find(|(_, cursor)| is(*cursor)) {
                return Verdict::Ahead { skipped };
            }
        }
        if self.next == self.sent {
            Verdict::Extra
        } else {
            Verdict::Altered
        }
    }

    /// The message that `bytes` begin with, and its length.
    fn identify(&self, bytes: &[u8]) -> Option<Result<(Verdict, usize), Incomplete>> {
        let mut is_partial = false;
        let mut fits = |cursor| match self.fit(cursor, bytes) {
            Fit::None => false,
            Fit::Partial => {
                is_partial = true;
                false
            }
            Fit::Whole => true,
        };
        let is_short = |cursor| self.shape.frame_bytes(cursor) < self.key_bytes();
        let mut is = |cursor| !is_short(cursor) && fits(cursor);
        let known = |verdict, cursor| Some(Ok((verdict, self.shape.frame_bytes(cursor))));
        if let Some(index) = self.missing.iter().position(|it| is(it.cursor)) {
            return known(Verdict::Late { index }, self.missing[index].cursor);
        }
        if let Some((number, cursor)) = self.before().find(|(_, cursor)| is(*cursor)) {
            return known(Verdict::Again { number }, cursor);
        }
        let found = self.ahead().find(|(skipped, cursor)| {
            let follows = || {
                let key = self.key(*skipped, *cursor);
                key.is_some_and(|key| bytes.starts_with(&key))
            };
            (!is_short(*cursor) || follows()) && fits(*cursor)
        });
        if let Some((skipped, cursor)) = found {
            return known(Verdict::Ahead { skipped }, cursor);
        }
        is_partial.then_some(Err(Incomplete))
    }

    fn fit(&self, cursor: Cursor, bytes: &[u8]) -> Fit {
        let frame = self.shape.frame_bytes(cursor);
        let mut offset = 0;
        while offset < frame && offset < bytes.len() {
            let part = self.shape.part(cursor, offset);
            let length = part.len().min(bytes.len() - offset);
            if part[..length] != bytes[offset..offset + length] {
                return Fit::None;
            }
            offset += length;
        }
        if offset == frame {
            Fit::Whole
        } else {
            Fit::Partial
        }
    }

    /// The messages in flight behind the next one: how many lie before each, and its content.
    fn ahead(&self) -> impl Iterator<Item = (u64, Cursor)> {
        let count = (self.sent - self.next).min(AHEAD_MAX);
        (1..count).map(|skipped| (skipped, self.cursor.moved(skipped as i64)))
    }

    /// The last messages that came back, the latest first.
    fn before(&self) -> impl Iterator<Item = (u64, Cursor)> {
        let count = self.next.min(AGAIN_MAX);
        let all = (1..=count).map(|back| (self.next - back, self.cursor.moved(-(back as i64))));
        all.filter(|(number, _)| self.missing.iter().all(|it| it.number != *number))
    }

    /// The first place behind the start where a known message begins: how many messages in flight
    /// lie before that one, or 1 if it is a missing one.
    fn anchor(&self, bytes: &[u8]) -> Option<(usize, u64)> {
        let length = self.key_bytes();
        if bytes.len() <= length {
            return None;
        }
        let mut keys = HashMap::new();
        for (skipped, cursor) in std::iter::once((0, self.cursor)).chain(self.ahead()) {
            if let Some(key) = self.key(skipped, cursor) {
                keys.entry(key).or_insert((skipped, cursor));
            }
        }
        for it in self.missing {
            if let Some(key) = self.shape.frame(it.cursor).get(..length) {
                keys.insert(key.to_vec(), (1, it.cursor));
            }
        }
        // Payloads are windows of one block: one may begin like the rest of another.
        let mut windows = bytes.windows(length).enumerate().skip(1);
        windows.find_map(|(place, window)| {
            let (skipped, cursor) = keys.get(window)?;
            let is_whole = matches!(self.fit(*cursor, &bytes[place..]), Fit::Whole);
            is_whole.then_some((place, *skipped))
        })
    }

    /// The first bytes of the stream from the message on that lies behind `skipped` others; `None`
    /// if too few were sent.
    fn key(&self, skipped: u64, cursor: Cursor) -> Option<Vec<u8>> {
        let length = self.key_bytes();
        let mut key = Vec::with_capacity(length);
        let (mut cursor, mut number) = (cursor, self.next + skipped);
        while key.len() < length && number < self.sent {
            let mut offset = 0;
            while offset < self.shape.frame_bytes(cursor) && key.len() < length {
                let part = self.shape.part(cursor, offset);
                key.extend_from_slice(&part[..part.len().min(length - key.len())]);
                offset += part.len();
            }
            cursor.advance();
            number += 1;
        }
        (key.len() == length).then_some(key)
    }

    fn key_bytes(&self) -> usize {
        (self.shape.head_bytes() + KEY_BYTES).min(KEY_BYTES_MAX)
    }

    /// Where the message that `bytes` begin with ends, as far as its framing says.
    fn end(&self, bytes: &[u8]) -> Option<usize> {
        let frame = self.shape.frame_bytes(self.cursor);
        let most = 2 * frame + GROWN_BYTES;
        let end = self.shape.frame_end(bytes, most, frame);
        end.or_else(|| (bytes.len() > most).then_some(bytes.len()))
    }
}

/// More bytes have to come.
struct Incomplete;
