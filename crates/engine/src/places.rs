//! The places of connections that have ended, while their handlers still work.
//!
//! A peer may send something that needs much work of the handler, and close the connection. If the
//! connection no longer counted then, the limits on connections would not limit how many handlers
//! work. So a host may keep a connection's place ([`crate::Host::left`]), and the connection counts
//! for its endpoint and its address until the place is dropped. A handler that ends soon after its
//! connection does not count: its peer may connect again at once.

use std::cell::Cell;

/// A place does not count in the period in which its connection ended, nor in the next.
const PERIOD_MILLISECONDS: u64 = 128;

/// How many places an endpoint's connections hold, and how many of them are recent.
#[derive(Debug, Default)]
pub(crate) struct Places {
    all: Cell<u32>,
    /// The two latest periods in which a connection ended, the later one first, and their counts.
    recent: Cell<[(u64, u32); 2]>,
}

impl Places {
    /// Add a place; returns its period.
    pub(crate) fn add(&self, now_ms: u64) -> u64 {
        self.all.set(self.all.get() + 1);
        let period = now_ms / PERIOD_MILLISECONDS;
        let [later, earlier] = self.recent.get();
        self.recent.set(if later.0 == period {
            [(period, later.1 + 1), earlier]
        } else {
            [(period, 1), later]
        });
        period
    }

    /// A place of that period is free again.
    pub(crate) fn remove(&self, period: u64) {
        self.all.set(self.all.get() - 1);
        let mut recent = self.recent.get();
        if let Some(found) = recent.iter_mut().find(|it| it.0 == period && it.1 > 0) {
            found.1 -= 1;
        }
        self.recent.set(recent);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.get() == 0
    }

    /// The places that count: those of connections that ended some time ago.
    pub(crate) fn counted(&self, now_ms: u64) -> u32 {
        let period = now_ms / PERIOD_MILLISECONDS;
        let recent = self.recent.get().into_iter();
        let recent = recent.filter(|it| it.0 + 1 >= period).map(|it| it.1);
        self.all.get() - recent.sum::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::{PERIOD_MILLISECONDS, Places};

    #[test]
    fn a_place_counts_from_the_second_period_on_until_it_is_removed() {
        let places = Places::default();
        let period = places.add(PERIOD_MILLISECONDS * 10 + 127);
        assert_eq!(places.counted(PERIOD_MILLISECONDS * 10 + 127), 0);
        assert_eq!(places.counted(PERIOD_MILLISECONDS * 12 - 1), 0);
        assert_eq!(places.counted(PERIOD_MILLISECONDS * 12), 1);
        places.remove(period);
        assert_eq!(places.counted(PERIOD_MILLISECONDS * 12), 0);
    }

    #[test]
    fn places_of_many_periods_count_separately() {
        let places = Places::default();
        let all: Vec<u64> = (0..10)
            .map(|it| places.add(it * PERIOD_MILLISECONDS))
            .collect();
        assert_eq!(places.counted(9 * PERIOD_MILLISECONDS), 8);
        places.remove(all[0]);
        places.remove(all[9]);
        assert_eq!(places.counted(9 * PERIOD_MILLISECONDS), 7);
        assert_eq!(places.counted(20 * PERIOD_MILLISECONDS), 8);
        for period in &all[1..9] {
            places.remove(*period);
        }
        assert_eq!(places.counted(20 * PERIOD_MILLISECONDS), 0);
    }
}
