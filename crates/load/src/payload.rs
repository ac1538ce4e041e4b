//! What the messages say: cheap to write, cheap to check, and different wherever a server could mix
//! things up.
//!
//! One block of noise is made at the start. A message's payload is a window of it, so writing a
//! message costs one copy and checking one costs one comparison. Where the window starts follows
//! from the connection's and the message's number, in steps modulo a prime: any two messages of one
//! connection less than 16,381 apart, and the messages of one number on any two connections less
//! than 16,381 apart, start at different places. An echo that comes back in the wrong order, twice,
//! or to the wrong connection differs in its first bytes. The block is small enough to stay in the
//! processor's first or second cache.
//!
//! Text is harder, since a window of UTF-8 must not begin or end inside a character. The block is
//! then made of units of four bytes with whole characters of one to four bytes in each, windows
//! start at units, and each unit also has a character's boundary where a window's last, partial
//! unit ends (`size % 4`).

use crate::random::Random;

/// How many places a message can start at: a prime.
const STARTS: u32 = 16_381;
/// From one message to the next of a connection.
const MESSAGE_STEP: u32 = 10_007;
/// From one connection to the next.
const CONNECTION_STEP: u32 = 6_151;
/// Bytes of a text block's unit: the longest character of UTF-8.
const TEXT_UNIT: usize = 4;

/// Which bytes a payload may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alphabet {
    /// All 256.
    Bytes,
    /// All but carriage return and line feed.
    Line,
    /// UTF-8 with characters of one to four bytes and no control characters.
    Text,
}

/// The block, and how messages lie in it.
#[derive(Debug)]
pub struct Pattern {
    block: Vec<u8>,
    size: usize,
    unit: usize,
}

/// Which message it is, and where it starts; advances from message to message without a division.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    start: u32,
    number: u64,
}

impl Cursor {
    /// The first message of `connection`.
    pub fn first(connection: u32) -> Self {
        let start = u64::from(connection) * u64::from(CONNECTION_STEP) % u64::from(STARTS);
        Self {
            start: start as u32,
            number: 0,
        }
    }

    /// Its number on its connection.
    pub fn number(self) -> u64 {
        self.number
    }

    /// The connection's message that lies `count` after this one, or before it.
    pub fn moved(self, count: i64) -> Self {
        let starts = i64::from(STARTS);
        let steps = count % starts * i64::from(MESSAGE_STEP);
        Self {
            start: (i64::from(self.start) + steps).rem_euclid(starts) as u32,
            number: self.number.wrapping_add_signed(count),
        }
    }

    /// On to the connection's next message.
    pub fn advance(&mut self) {
        let next = self.start + MESSAGE_STEP;
        self.start = if next >= STARTS { next - STARTS } else { next };
        self.number += 1;
    }
}

impl Pattern {
    /// The block for messages of `size` bytes.
    pub fn new(alphabet: Alphabet, size: usize, seed: u64) -> Self {
        let mut random = Random::new(seed, 0);
        let unit = if alphabet == Alphabet::Text {
            TEXT_UNIT
        } else {
            1
        };
        let length = STARTS as usize * unit + size;
        let mut block = Vec::with_capacity(length + 8);
        while block.len() < length {
            match alphabet {
                Alphabet::Bytes => block.extend_from_slice(&random.next().to_le_bytes()),
                Alphabet::Line => block.extend(random.next().to_le_bytes().map(not_line_end)),
                Alphabet::Text => {
                    let boundary = size % TEXT_UNIT;
                    push_characters(&mut block, &mut random, boundary);
                    push_characters(&mut block, &mut random, TEXT_UNIT - boundary);
                }
            }
        }
        block.truncate(length);
        Self { block, size, unit }
    }

    /// Bytes of every payload.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The payload of the message at `cursor`.
    pub fn payload(&self, cursor: Cursor) -> &[u8] {
        let start = cursor.start as usize * self.unit;
        &self.block[start..start + self.size]
    }
}

fn not_line_end(byte: u8) -> u8 {
    if byte == b'\n' || byte == b'\r' {
        b'.'
    } else {
        byte
    }
}

/// Push whole characters that fill `room` bytes, none when it is zero.
fn push_characters(block: &mut Vec<u8>, random: &mut Random, mut room: usize) {
    while room > 0 {
        let width = 1 + random.below(room as u64) as usize;
        let (first, count) = match width {
            1 => (0x20, 0x5f),
            2 => (0xc0, 0x740),
            3 => (0x800, 0xd000),
            _ => (0x1f300, 0x350),
        };
        let code = first + random.below(count) as u32;
        let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        let mut encoded = [0_u8; 4];
        block.extend_from_slice(character.encode_utf8(&mut encoded).as_bytes());
        room -= width;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn payloads(pattern: &Pattern, connection: u32, count: usize) -> Vec<Vec<u8>> {
        let mut cursor = Cursor::first(connection);
        (0..count)
            .map(|_| {
                let payload = pattern.payload(cursor).to_vec();
                cursor.advance();
                payload
            })
            .collect()
    }

    #[test]
    fn every_window_of_text_is_valid_utf_8_at_every_size() {
        for size in [0, 1, 2, 3, 4, 5, 6, 7, 31, 1000, 1001, 1002, 1003] {
            let pattern = Pattern::new(Alphabet::Text, size, 9);
            for payload in payloads(&pattern, 3, STARTS as usize) {
                assert_eq!(payload.len(), size);
                assert!(
                    std::str::from_utf8(&payload).is_ok(),
                    "size {size}: {payload:?}"
                );
            }
        }
    }

    #[test]
    fn text_has_characters_of_every_width() {
        let pattern = Pattern::new(Alphabet::Text, 4000, 9);
        let payload = pattern.payload(Cursor::first(0));
        let widths: HashSet<usize> = std::str::from_utf8(payload)
            .expect("text is UTF-8")
            .chars()
            .map(char::len_utf8)
            .collect();
        assert_eq!(widths, HashSet::from([1, 2, 3, 4]));
    }

    #[test]
    fn lines_hold_no_line_end() {
        let pattern = Pattern::new(Alphabet::Line, 100_000, 9);
        assert!(
            !pattern
                .payload(Cursor::first(1))
                .iter()
                .any(|byte| b"\r\n".contains(byte))
        );
    }

    #[test]
    fn messages_of_one_connection_differ_until_the_steps_come_round() {
        let pattern = Pattern::new(Alphabet::Bytes, 16, 9);
        let all = payloads(&pattern, 5, STARTS as usize);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), STARTS as usize);
    }

    #[test]
    fn neighbouring_connections_say_different_things() {
        let pattern = Pattern::new(Alphabet::Bytes, 16, 9);
        let firsts: HashSet<Vec<u8>> = (0..STARTS)
            .map(|c| pattern.payload(Cursor::first(c)).to_vec())
            .collect();
        assert_eq!(firsts.len(), STARTS as usize);
    }

    #[test]
    fn a_cursor_moves_as_far_as_it_advances() {
        let first = Cursor::first(3);
        let mut tenth = first;
        (0..10).for_each(|_| tenth.advance());
        assert_eq!(first.moved(10), tenth);
        assert_eq!(tenth.moved(-10), first);
        assert_eq!(first.moved(1_i64 << 40).moved(-(1_i64 << 40)), first);
    }

    #[test]
    fn the_seed_decides_the_block() {
        let block = |seed| Pattern::new(Alphabet::Bytes, 64, seed).block;
        assert_eq!(block(1), block(1));
        assert_ne!(block(1), block(2));
    }
}
