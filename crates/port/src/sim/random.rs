//! Chance from a seed.

/// `SplitMix64` (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA
/// 2014).
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Any number.
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `limit` - 1; 0 when `limit` is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(limit)) >> 64) as u64
    }

    /// A count from 1 to `most`; 0 when `most` is 0.
    pub fn part(&mut self, most: usize) -> usize {
        if most == 0 {
            0
        } else {
            self.below(most as u64) as usize + 1
        }
    }

    /// True `permille` times in a thousand. Draws no number for 0, so that a fault which is off
    /// changes nothing.
    pub fn chance(&mut self, permille: u16) -> bool {
        permille > 0 && self.below(1000) < permille.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_published_generator() {
        let mut random = Random::new(1234567);
        assert_eq!(random.draw(), 6457827717110365317);
        assert_eq!(random.draw(), 3203168211198807973);
        assert_eq!(random.draw(), 9817491932198370423);
    }
}
