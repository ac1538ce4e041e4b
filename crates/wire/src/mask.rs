//! Masking and unmasking, RFC 6455 section 5.3.
//!
//! Masking is its own inverse: byte `i` of the payload is combined by exclusive or with byte
//! `i % 4` of the key. It touches every byte a browser ever sends, so it is written for the
//! machine: blocks of 32 bytes that the compiler turns into vector instructions, then words of
//! eight, then one last word that overlaps the one before it. The overlap replaces the loop over
//! single bytes at the end, which for a short message would cost more than all the rest.

const WORD: usize = 8;
const BLOCK: usize = 4 * WORD;

/// Writes `source[i] ^ key[i % 4]` to `destination[i]`, for every `i`.
///
/// Panics when the lengths differ: that is a caller's mistake, never a peer's.
#[inline]
pub fn copy(destination: &mut [u8], source: &[u8], key: [u8; 4]) {
    assert_eq!(
        destination.len(),
        source.len(),
        "a masked copy keeps its length"
    );
    let length = source.len();
    if length < WORD {
        return copy_short(destination, source, key);
    }
    let wide = widen(key);
    let last = word(&source[length - WORD..]) ^ wide.rotate_right(rotation_bits(length));
    let mut to = destination.chunks_exact_mut(BLOCK);
    let mut from = source.chunks_exact(BLOCK);
    for (to, from) in to.by_ref().zip(from.by_ref()) {
        for (to, from) in to.chunks_exact_mut(WORD).zip(from.chunks_exact(WORD)) {
            to.copy_from_slice(&(word(from) ^ wide).to_le_bytes());
        }
    }
    let to = to.into_remainder().chunks_exact_mut(WORD);
    for (to, from) in to.zip(from.remainder().chunks_exact(WORD)) {
        to.copy_from_slice(&(word(from) ^ wide).to_le_bytes());
    }
    destination[length - WORD..].copy_from_slice(&last.to_le_bytes());
}

/// Replaces every `bytes[i]` with `bytes[i] ^ key[i % 4]`.
#[inline]
pub fn in_place(bytes: &mut [u8], key: [u8; 4]) {
    let length = bytes.len();
    if length < WORD {
        return in_place_short(bytes, key);
    }
    let wide = widen(key);
    let last = word(&bytes[length - WORD..]) ^ wide.rotate_right(rotation_bits(length));
    let mut blocks = bytes.chunks_exact_mut(BLOCK);
    for block in blocks.by_ref() {
        for part in block.chunks_exact_mut(WORD) {
            let masked = word(part) ^ wide;
            part.copy_from_slice(&masked.to_le_bytes());
        }
    }
    for part in blocks.into_remainder().chunks_exact_mut(WORD) {
        let masked = word(part) ^ wide;
        part.copy_from_slice(&masked.to_le_bytes());
    }
    bytes[length - WORD..].copy_from_slice(&last.to_le_bytes());
}

/// The key for a payload whose first `by` bytes are already done: `rotate(key, by)[0]` is
/// `key[by % 4]`.
#[inline]
pub fn rotate(key: [u8; 4], by: usize) -> [u8; 4] {
    [
        key[by & 3],
        key[(by + 1) & 3],
        key[(by + 2) & 3],
        key[(by + 3) & 3],
    ]
}

/// Fewer than eight bytes: two halves of a word that overlap, or single bytes.
#[inline]
fn copy_short(destination: &mut [u8], source: &[u8], key: [u8; 4]) {
    if let (Some(first), Some(last)) = (source.first_chunk(), source.last_chunk()) {
        let start = source.len() - 4;
        destination[..4].copy_from_slice(&half(*first, key));
        destination[start..].copy_from_slice(&half(*last, rotate(key, start)));
        return;
    }
    for ((to, from), key) in destination.iter_mut().zip(source).zip(key) {
        *to = from ^ key;
    }
}

#[inline]
fn in_place_short(bytes: &mut [u8], key: [u8; 4]) {
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let start = bytes.len() - 4;
        let (first, last) = (half(*first, key), half(*last, rotate(key, start)));
        bytes[..4].copy_from_slice(&first);
        bytes[start..].copy_from_slice(&last);
        return;
    }
    for (byte, key) in bytes.iter_mut().zip(key) {
        *byte ^= key;
    }
}

#[inline]
fn half(bytes: [u8; 4], key: [u8; 4]) -> [u8; 4] {
    (u32::from_le_bytes(bytes) ^ u32::from_le_bytes(key)).to_le_bytes()
}

#[inline]
fn widen(key: [u8; 4]) -> u64 {
    let key = u64::from(u32::from_le_bytes(key));
    key | (key << 32)
}

/// How far the key has turned at the last word of `length` bytes.
#[inline]
fn rotation_bits(length: usize) -> u32 {
    ((length & 3) * 8) as u32
}

#[inline]
fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; WORD];
    word.copy_from_slice(bytes);
    u64::from_le_bytes(word)
}
