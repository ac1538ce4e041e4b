//! What compression costs and saves on JSON-like messages: the figures of docs/how-to/compress.md.
//!
//! ```text
//! cargo run --release -p vespiary-wire --example deflate_cost
//! ```

#![allow(clippy::cast_precision_loss)] // Figures for a table, of numbers far below 2^52.

use std::time::Instant;
use vespiary_wire::websocket::deflate::{Compressor, History, Inflater, Shape};

const MESSAGES: u64 = 200;
const ROUNDS: usize = 25;

/// A message of records like those of a market's feed.
fn message(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut text = String::from("[");
    while text.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let (id, symbol, price) = (state % 1_000_000, state % 97, state % 500);
        let (cents, volume, bit) = (state % 100, state % 10_000, state & 1);
        let side = ["buy", "sell"][bit as usize];
        let record = format!(
            "{{\"id\":{id},\"symbol\":\"SYM{symbol}\",\"price\":{price}.{cents:02},\
             \"volume\":{volume},\"side\":\"{side}\"}},"
        );
        text.push_str(&record);
    }
    text.truncate(length);
    text.into_bytes()
}

/// Compress every message: microseconds for each, and what they became.
fn compress(shape: Shape, takeover: bool, messages: &[Vec<u8>]) -> (f64, Vec<Vec<u8>>) {
    let mut compressor = Compressor::new(shape);
    let mut packed = vec![Vec::with_capacity(8192); messages.len()];
    let start = Instant::now();
    for (message, packed) in messages.iter().zip(&mut packed) {
        if !takeover {
            compressor.reset();
        }
        compressor.compress(message, true, packed);
    }
    (
        start.elapsed().as_secs_f64() * 1e6 / MESSAGES as f64,
        packed,
    )
}

/// Inflate them again: microseconds for each, and the bytes of history that are kept.
fn inflate(bits: u8, takeover: bool, packed: &[Vec<u8>]) -> (f64, usize) {
    let mut inflater = Inflater::default();
    let mut history = History::new(bits);
    let mut room = vec![0; 64 << 10];
    let start = Instant::now();
    for message in packed {
        inflater.begin(history);
        let mut input = &message[..];
        inflater
            .inflate(&mut input, &mut room)
            .expect("it is sound");
        inflater.finish().expect("it is whole");
        history = inflater.take_history();
        if !takeover {
            history.clear();
        }
    }
    let microseconds = start.elapsed().as_secs_f64() * 1e6 / MESSAGES as f64;
    (microseconds, history.memory_bytes())
}

fn main() {
    println!(
        "| bytes | level | window, memory level | context | ratio | compress | inflate | kept |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for length in [128, 256, 1024, 4096] {
        let messages: Vec<Vec<u8>> = (1..=MESSAGES).map(|seed| message(length, seed)).collect();
        for (level, window_bits, memory_level) in [(1, 15, 8), (3, 15, 8), (6, 15, 8), (3, 12, 5)] {
            for takeover in [false, true] {
                let shape = Shape {
                    window_bits,
                    level,
                    memory_level,
                };
                let mut best = (f64::MAX, f64::MAX);
                let (mut packed, mut kept) = (Vec::new(), 0);
                for _ in 0..ROUNDS {
                    let compressed = compress(shape, takeover, &messages);
                    let inflated = inflate(window_bits, takeover, &compressed.1);
                    best = (best.0.min(compressed.0), best.1.min(inflated.0));
                    (packed, kept) = (compressed.1, inflated.1);
                }
                let wire: usize = packed.iter().map(Vec::len).sum();
                let ratio = (length as u64 * MESSAGES) as f64 / wire as f64;
                let (context, kept) = if takeover {
                    ("taken over", (shape.memory_bytes() >> 10, kept >> 10))
                } else {
                    ("none", (0, 0))
                };
                println!(
                    "| {length} | {level} | {window_bits}, {memory_level} | {context} | {ratio:.1} \
                     | {:.1} us | {:.1} us | {} + {} KiB |",
                    best.0, best.1, kept.0, kept.1
                );
            }
        }
    }
}
