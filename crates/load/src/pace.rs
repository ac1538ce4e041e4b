//! A fixed rate over all connections: message `k` of the run is due `k / rate` seconds after the
//! start, and goes to connection `k % connections`. A message that cannot leave when it is due
//! keeps its due time, so that waiting counts as latency and a stalled server cannot slow the clock
//! it is measured by.

use crate::clock::Nanoseconds;

/// The schedule of a run with a rate.
#[derive(Debug)]
pub struct Pace {
    interval: f64,
    start: Nanoseconds,
    connections: u32,
    released: u64,
}

impl Pace {
    /// `rate` messages per second over `connections` connections, the first at `start`.
    pub fn new(rate: f64, connections: u32, start: Nanoseconds) -> Self {
        Self {
            interval: 1e9 / rate,
            start,
            connections,
            released: 0,
        }
    }

    /// When message `number` of `connection` is due.
    pub fn due(&self, connection: u32, number: u64) -> Nanoseconds {
        self.time(
            number
                .saturating_mul(u64::from(self.connections))
                .saturating_add(connection.into()),
        )
    }

    /// When the next message that was not released yet is due.
    pub fn next(&self) -> Nanoseconds {
        self.time(self.released)
    }

    /// Release what is due at `now`: how many more messages every connection gets, and the range of
    /// connections (which may pass the last and go round) that get one more.
    pub fn release(&mut self, now: Nanoseconds) -> (u64, std::ops::Range<u64>) {
        let fresh = self.due_by(now).saturating_sub(self.released);
        let connections = u64::from(self.connections);
        let first = self.released % connections;
        self.released += fresh;
        (fresh / connections, first..first + fresh % connections)
    }

    /// How many messages of all connections are due at `time`.
    pub fn due_by(&self, time: Nanoseconds) -> u64 {
        let Some(passed) = time.checked_sub(self.start) else {
            return 0;
        };
        #[allow(clippy::cast_precision_loss)]
        let due = (passed as f64 / self.interval) as u64;
        due.saturating_add(1)
    }

    /// How many messages of `connection` are due when `due` are of all.
    pub fn share(&self, connection: u32, due: u64) -> u64 {
        let connections = u64::from(self.connections);
        (due + connections - 1 - u64::from(connection)) / connections
    }

    /// When message `number` of the run is due.
    pub fn time(&self, number: u64) -> Nanoseconds {
        #[allow(clippy::cast_precision_loss)]
        let offset = number as f64 * self.interval;
        self.start.saturating_add(offset as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_released_when_due_and_in_turn() {
        let mut pace = Pace::new(1000.0, 3, 5_000_000);
        assert_eq!(pace.release(5_000_000), (0, 0..1));
        assert_eq!(pace.release(5_500_000), (0, 1..1));
        assert_eq!(pace.next(), 6_000_000);
        assert_eq!(pace.release(6_100_000), (0, 1..2));
        assert_eq!(pace.release(10_000_000), (1, 2..3));
        assert_eq!(pace.release(11_000_000), (0, 0..1));
    }

    #[test]
    fn what_is_due_is_shared_among_the_connections() {
        let pace = Pace::new(1000.0, 3, 5_000_000);
        assert_eq!(pace.due_by(4_000_000), 0);
        assert_eq!(pace.due_by(5_000_000), 1);
        assert_eq!(pace.due_by(8_900_000), 4);
        let shares: Vec<u64> = (0..3).map(|connection| pace.share(connection, 4)).collect();
        assert_eq!(shares, [2, 1, 1]);
    }

    #[test]
    fn a_message_kept_waiting_keeps_its_due_time() {
        let pace = Pace::new(1000.0, 3, 0);
        assert_eq!(pace.due(0, 0), 0);
        assert_eq!(pace.due(2, 0), 2_000_000);
        assert_eq!(pace.due(1, 4), 13_000_000);
    }
}
