//! Cuts what is sent where a careless server does not expect it: single bytes, a few bytes, pieces
//! longer than a message. Small pieces cut heads and messages, large ones merge messages; some wait
//! before they leave, so that the kernel at the other end does not put the pieces together again.

use crate::clock::{Nanoseconds, nanoseconds};
use crate::plan::Fragment;
use crate::random::Random;

/// Decides over the pieces of one run.
#[derive(Clone, Copy, Debug)]
pub struct Cutter {
    delay_max: Nanoseconds,
    frames_max: u32,
    piece_bytes: u64,
}

impl Cutter {
    /// A cutter for messages that take `frame_bytes` on the wire.
    pub fn new(fragment: &Fragment, frame_bytes: usize) -> Self {
        Self {
            delay_max: nanoseconds(fragment.delay_max),
            frames_max: fragment.frames_max,
            piece_bytes: (frame_bytes as u64).saturating_mul(2).max(32),
        }
    }

    /// Bytes of the next piece, of `available` that wait.
    pub fn piece(&self, random: &mut Random, available: usize) -> usize {
        let length = match random.below(8) {
            0 | 1 => 1,
            2 | 3 => 1 + random.below(16),
            _ => 1 + random.below(self.piece_bytes),
        };
        (length as usize).min(available)
    }

    /// How long to wait before the next piece, every fourth time on average.
    pub fn delay(&self, random: &mut Random) -> Option<Nanoseconds> {
        if self.delay_max == 0 || random.below(4) != 0 {
            return None;
        }
        Some(1 + random.below(self.delay_max))
    }

    /// Where to end the frames of a WebSocket message of `size` bytes; the last end is `size`.
    /// Frames may be empty.
    pub fn frame_ends(&self, random: &mut Random, size: usize) -> Vec<usize> {
        let cuts = random.below(u64::from(self.frames_max));
        let mut ends: Vec<usize> = (0..cuts)
            .map(|_| random.below(size as u64 + 1) as usize)
            .collect();
        ends.sort_unstable();
        ends.push(size);
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn cutter(frames_max: u32) -> Cutter {
        Cutter::new(
            &Fragment {
                delay_max: Duration::from_millis(3),
                frames_max,
            },
            100,
        )
    }

    #[test]
    fn pieces_cut_within_messages_and_merge_them() {
        let mut random = Random::new(1, 1);
        let pieces: Vec<usize> = (0..1000)
            .map(|_| cutter(1).piece(&mut random, 1000))
            .collect();
        assert!(pieces.iter().all(|piece| (1..=200).contains(piece)));
        assert!(pieces.iter().filter(|piece| **piece == 1).count() > 100);
        assert!(pieces.iter().filter(|piece| **piece > 100).count() > 100);
        assert_eq!(cutter(1).piece(&mut random, 1), 1);
    }

    #[test]
    fn delays_stay_within_their_limit_and_can_be_off() {
        let mut random = Random::new(1, 1);
        let delays: Vec<u64> = (0..1000)
            .filter_map(|_| cutter(1).delay(&mut random))
            .collect();
        assert!(delays.len() > 150 && delays.len() < 350);
        assert!(delays.iter().all(|delay| (1..=3_000_000).contains(delay)));
        let prompt = Cutter::new(
            &Fragment {
                delay_max: Duration::ZERO,
                frames_max: 1,
            },
            100,
        );
        assert!((0..100).all(|_| prompt.delay(&mut random).is_none()));
    }

    #[test]
    fn frames_cover_the_message_in_order() {
        let mut random = Random::new(1, 1);
        for _ in 0..200 {
            let ends = cutter(4).frame_ends(&mut random, 10);
            assert!((1..=4).contains(&ends.len()) && ends.is_sorted());
            assert_eq!(ends.last(), Some(&10));
        }
        assert_eq!(cutter(1).frame_ends(&mut random, 0), [0]);
    }
}
