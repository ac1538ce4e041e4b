//! A rate over all connections: message `k` of the run has a time at which it is due, and goes to
//! connection `k % connections`. A message that cannot leave when it is due keeps its due time, so
//! that waiting counts as latency and a stalled server cannot slow the clock it is measured by.
//!
//! The rate is a row of segments, in each of which it is constant or grows evenly. The last one
//! lasts forever.

use std::time::Duration;

use crate::clock::Nanoseconds;
use crate::plan::Plan;

/// A span of time whose rate is constant, or changes evenly.
#[derive(Clone, Copy, Debug)]
struct Segment {
    /// When it begins, in nanoseconds after the first message was due.
    start: f64,
    /// Messages that are due before.
    before: f64,
    /// Messages per nanosecond at its beginning.
    rate: f64,
    /// What is added to that per nanosecond.
    growth: f64,
}

impl Segment {
    /// Messages due until `time`, counted from its own beginning.
    fn count(&self, time: f64) -> f64 {
        (self.rate + self.growth / 2.0 * time) * time
    }

    /// When so many messages are due, counted from its own beginning.
    fn time(&self, count: f64) -> f64 {
        if self.growth <= 0.0 {
            return count / self.rate;
        }
        let root = (self.rate * self.rate + 2.0 * self.growth * count).sqrt();
        (root - self.rate) / self.growth
    }
}

/// The schedule of a run with a rate.
#[derive(Debug)]
pub struct Pace {
    segments: Vec<Segment>,
    /// When the last segment ends, in nanoseconds after the first message was due.
    end: f64,
    start: Nanoseconds,
    connections: u32,
    released: u64,
}

impl Pace {
    /// The rates of `plan`, whose first message is due at `start`; `None` if it has none.
    pub fn of(plan: &Plan, start: Nanoseconds) -> Option<Self> {
        let mut pace = Self {
            segments: Vec::new(),
            end: 0.0,
            start,
            connections: plan.connections,
            released: 0,
        };
        if let Some(rate) = plan.rate {
            if !plan.ramp_up.is_zero() {
                pace.push(0.0, rate, plan.ramp_up);
            }
            pace.push(rate, rate, Duration::MAX);
        }
        for (rate, length) in &plan.steps {
            pace.push(*rate, *rate, *length);
        }
        (!pace.segments.is_empty()).then_some(pace)
    }

    /// Continue with a rate that grows from `first` to `last` messages per second within `length`.
    fn push(&mut self, first: f64, last: f64, length: Duration) {
        let length = length.as_secs_f64() * 1e9;
        let (start, before) = self.segments.last().map_or((0.0, 0.0), |last| {
            let passed = self.end - last.start;
            (self.end, last.before + last.count(passed))
        });
        self.segments.push(Segment {
            start,
            before,
            rate: first / 1e9,
            growth: (last - first) / 1e9 / length,
        });
        self.end = start + length;
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
        #[allow(clippy::cast_precision_loss)] // Exact for 104 days.
        let passed = passed as f64;
        let following = self.segments.partition_point(|it| it.start <= passed);
        let segment = &self.segments[following.saturating_sub(1)];
        // A message is due when the ones before it have had their time.
        let due = (segment.before + segment.count(passed - segment.start)) as u64;
        due.saturating_add(1)
    }

    /// How many messages of `connection` are due when `due` are of all.
    pub fn share(&self, connection: u32, due: u64) -> u64 {
        let connections = u64::from(self.connections);
        (due + connections - 1 - u64::from(connection)) / connections
    }

    /// When message `number` of the run is due.
    pub fn time(&self, number: u64) -> Nanoseconds {
        #[allow(clippy::cast_precision_loss)] // 2^53 messages take years.
        let number = number as f64;
        let following = self.segments.partition_point(|it| it.before <= number);
        let segment = &self.segments[following.saturating_sub(1)];
        let offset = segment.start + segment.time(number - segment.before);
        self.start.saturating_add(offset as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Target;

    fn plan(connections: u32) -> Plan {
        let mut plan = Plan::new(Target::parse("tcp://127.0.0.1:1").expect("an address"));
        plan.connections = connections;
        plan
    }

    fn constant(rate: f64, connections: u32, start: Nanoseconds) -> Pace {
        let mut plan = plan(connections);
        plan.rate = Some(rate);
        Pace::of(&plan, start).expect("there is a rate")
    }

    #[test]
    fn a_rate_grows_evenly_and_is_kept_then() {
        let mut plan = plan(1);
        plan.rate = Some(1000.0);
        plan.ramp_up = Duration::from_secs(2);
        let pace = Pace::of(&plan, 0).expect("there is a rate");
        // Half of the rate on average, a quarter in the first half.
        assert_eq!(pace.due_by(1_000_000_000), 251);
        assert_eq!(pace.due_by(2_000_000_000), 1_001);
        assert_eq!(pace.due_by(3_000_000_000), 2_001);
        for number in [0, 1, 250, 999, 1000, 1500] {
            let time = pace.time(number);
            assert!(pace.due_by(time + 10).abs_diff(number + 1) <= 1, "{number}");
        }
        assert_eq!(pace.time(1000), 2_000_000_000);
    }

    #[test]
    fn steps_follow_one_another() {
        let mut plan = plan(1);
        plan.steps = vec![
            (100.0, Duration::from_secs(1)),
            (1000.0, Duration::from_secs(2)),
        ];
        let pace = Pace::of(&plan, 0).expect("there are rates");
        assert_eq!(pace.due_by(999_999_999), 100);
        assert_eq!(pace.due_by(1_500_000_000), 601);
        assert_eq!(pace.time(50), 500_000_000);
        assert_eq!(pace.time(600), 1_500_000_000);
    }

    #[test]
    fn messages_are_released_when_due_and_in_turn() {
        let mut pace = constant(1000.0, 3, 5_000_000);
        assert_eq!(pace.release(5_000_000), (0, 0..1));
        assert_eq!(pace.release(5_500_000), (0, 1..1));
        assert_eq!(pace.next(), 6_000_000);
        assert_eq!(pace.release(6_100_000), (0, 1..2));
        assert_eq!(pace.release(10_000_000), (1, 2..3));
        assert_eq!(pace.release(11_000_000), (0, 0..1));
    }

    #[test]
    fn what_is_due_is_shared_among_the_connections() {
        let pace = constant(1000.0, 3, 5_000_000);
        assert_eq!(pace.due_by(4_000_000), 0);
        assert_eq!(pace.due_by(5_000_000), 1);
        assert_eq!(pace.due_by(8_900_000), 4);
        let shares: Vec<u64> = (0..3).map(|connection| pace.share(connection, 4)).collect();
        assert_eq!(shares, [2, 1, 1]);
    }

    #[test]
    fn a_message_kept_waiting_keeps_its_due_time() {
        let pace = constant(1000.0, 3, 0);
        assert_eq!(pace.due(0, 0), 0);
        assert_eq!(pace.due(2, 0), 2_000_000);
        assert_eq!(pace.due(1, 4), 13_000_000);
    }
}
