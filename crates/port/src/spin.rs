//! Polling for completions for a while before sleeping.
//!
//! Going to sleep and being woken costs a processor switch or an interrupt, 30 to 100 us on a
//! virtual machine. A port that spins avoids this, but uses processor time. If it finds something,
//! it spins twice as long the next time; if it finds nothing, half as long. So an idle server
//! hardly spins.

use std::time::{Duration, Instant};

/// How long to look before sleeping.
pub(crate) struct Spin {
    longest: Duration,
    current: Duration,
}

/// A port that finds nothing still spins for this part of the longest time, to notice when there is
/// something to find again.
const LEAST_PART: u32 = 16;
/// Looks between two readings of the clock.
const LOOKS_A_READING: u32 = 16;

impl Spin {
    pub(crate) fn new(microseconds: u32) -> Self {
        let longest = Duration::from_micros(microseconds.into());
        Self {
            longest,
            current: longest,
        }
    }

    pub(crate) fn is_off(&self) -> bool {
        self.longest.is_zero()
    }

    /// Call `look` until it says true, which is returned, or the time is over, at most `timeout`.
    pub(crate) fn run(
        &mut self,
        timeout: Option<Duration>,
        mut look: impl FnMut() -> bool,
    ) -> bool {
        let limit = timeout.map_or(self.current, |timeout| timeout.min(self.current));
        let start = Instant::now();
        loop {
            for _ in 0..LOOKS_A_READING {
                if look() {
                    self.current = (self.current * 2).min(self.longest);
                    return true;
                }
                std::hint::spin_loop();
            }
            if start.elapsed() >= limit {
                self.current = (self.current / 2).max(self.longest / LEAST_PART);
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spinning_follows_its_luck_within_its_limits() {
        let mut spin = Spin::new(1_600);
        for _ in 0..10 {
            assert!(!spin.run(None, || false));
        }
        assert_eq!(spin.current, Duration::from_micros(100));
        for _ in 0..10 {
            assert!(spin.run(None, || true));
        }
        assert_eq!(spin.current, Duration::from_micros(1_600));
    }
}
