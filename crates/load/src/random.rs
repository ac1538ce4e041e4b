//! A small seeded generator: payloads, cuts, delays and masking keys of one run come from its seed
//! alone, so that a run which found something can be repeated.
//!
//! Masking keys are therefore predictable to anyone who knows the seed. RFC 6455 section 5.3
//! forbids that for a client which carries strangers' data past intermediaries; a load client
//! carries only its own noise to a server under test, and reproducibility is worth more there. Do
//! not take this generator for anything else.

/// Xorshift64*, after Vigna, "An experimental exploration of Marsaglia's xorshift generators,
/// scrambled" (2016).
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A generator whose sequence depends on `seed` and `stream` only; streams of one seed are
    /// unrelated.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mixed = mix(seed ^ mix(stream.wrapping_add(0x9e37_79b9_7f4a_7c15)));
        Self { state: mixed | 1 }
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        let mut x = self.state;
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.state = x;
        x.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number from `0` to `bound - 1`; zero when `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A fresh masking key.
    pub fn mask_key(&mut self) -> [u8; 4] {
        ((self.next() >> 32) as u32).to_le_bytes()
    }
}

/// A seed from the kernel's generator, for runs that name none.
pub fn seed() -> u64 {
    let mut bytes = [0_u8; 8];
    // Eight bytes are never cut short (getrandom(2)); without them a fixed seed serves a load
    // client too.
    let _ = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty());
    // Numbers below 2^53 survive every JSON reader.
    u64::from_le_bytes(bytes) >> 11
}

/// The finalizer of `SplitMix64`: every bit of the input moves every bit of the output.
fn mix(mut x: u64) -> u64 {
    x ^= x >> 30;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 27;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence() {
        let draw = |seed, stream| {
            let mut random = Random::new(seed, stream);
            (0..8).map(|_| random.next()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7, 1), draw(7, 1));
        assert_ne!(draw(7, 1), draw(7, 2));
        assert_ne!(draw(7, 1), draw(8, 1));
    }

    #[test]
    fn below_stays_below_and_reaches_both_ends() {
        let mut random = Random::new(1, 1);
        let drawn: Vec<u64> = (0..1000).map(|_| random.below(5)).collect();
        assert_eq!(drawn.iter().min(), Some(&0));
        assert_eq!(drawn.iter().max(), Some(&4));
        assert_eq!(random.below(0), 0);
    }
}
