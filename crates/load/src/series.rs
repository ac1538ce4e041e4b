//! How a run went over time: a point for each interval, with its counts and latencies.
//!
//! Latencies go into the histogram of the interval. At its end that is added to the whole run's, so
//! that a series costs nothing per message. The number of points is limited: each time that
//! [`POINTS_DOUBLE`] more are there, intervals become twice as long.

use hdrhistogram::Histogram;

use crate::clock::{Nanoseconds, seconds};
use crate::json::{Object, array};
use crate::record::Counts;
use crate::report::Latency;

/// The first intervals.
const INTERVAL: Nanoseconds = 100_000_000;
/// After this many points intervals double.
const POINTS_DOUBLE: usize = 600;

/// One interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Its beginning, in seconds after the first message.
    pub start: f64,
    /// Its length in seconds.
    pub seconds: f64,
    /// Messages sent in it.
    pub sent: u64,
    /// Messages that came back in it.
    pub received: u64,
    /// Faults of messages that were found in it.
    pub faults: u64,
    /// Of the messages that came back in it, or were lost.
    pub latency: Latency,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Series {
    points: Vec<Point>,
    start: Nanoseconds,
    begin: Nanoseconds,
    counts: Counts,
}

impl Series {
    /// Sending begins.
    pub fn begin(&mut self, now: Nanoseconds) {
        self.start = now;
        self.begin = now;
    }

    /// When the interval in progress is over.
    pub fn next(&self) -> Nanoseconds {
        let doublings = (self.points.len() / POINTS_DOUBLE).min(20);
        self.begin.saturating_add(INTERVAL << doublings)
    }

    /// The interval in progress ends now.
    pub fn end_interval(&mut self, now: Nanoseconds, counts: &Counts, latencies: &Histogram<u64>) {
        let before = std::mem::replace(&mut self.counts, *counts);
        if now > self.begin {
            self.points.push(Point {
                start: seconds(self.begin - self.start),
                seconds: seconds(now - self.begin),
                sent: counts.sent - before.sent,
                received: counts.received - before.received,
                faults: counts.message_faults() - before.message_faults(),
                latency: Latency::of(latencies),
            });
        }
        self.begin = now;
    }

    /// The latencies of the last interval.
    pub fn latest(&self) -> Latency {
        let last = self.points.last();
        last.map_or_else(Latency::default, |point| point.latency)
    }

    /// The intervals so far.
    pub fn points(&self) -> &[Point] {
        &self.points
    }
}

/// Points as JSON.
pub fn json(points: &[Point]) -> String {
    let points: Vec<String> = points.iter().map(point_json).collect();
    array(&points)
}

fn point_json(point: &Point) -> String {
    let mut object = Object::new();
    object
        .number("start_seconds", point.start)
        .number("seconds", point.seconds)
        .count("sent", point.sent)
        .count("received", point.received)
        .count("faults", point.faults)
        .raw("latency_seconds", &point.latency.json());
    object.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;

    #[test]
    fn points_count_what_happened_in_their_interval() {
        let mut series = Series::default();
        series.begin(1_000);
        let mut record = Record::new();
        for round in 1..=2_u64 {
            record.counts.sent = 5 * round;
            record.counts.received = 3 * round * round;
            record.counts.altered = round;
            record.latency(round * 1_000_000, 1);
            series.end_interval(1_000 + round * INTERVAL, &record.counts, &record.replies);
            record.replies.reset();
        }
        let facts: Vec<_> = series
            .points()
            .iter()
            .map(|it| (it.start, it.sent, it.received, it.faults, it.latency.count))
            .collect();
        assert_eq!(facts, [(0.0, 5, 3, 1, 1), (0.1, 5, 9, 1, 1)]);
    }

    #[test]
    fn long_runs_have_longer_intervals() {
        let mut series = Series::default();
        series.begin(0);
        let record = Record::new();
        let week = 7 * 86_400 * 1_000_000_000;
        while series.next() < week {
            series.end_interval(series.next(), &record.counts, &record.replies);
        }
        assert!(series.points().len() < 10_000, "{}", series.points().len());
        assert!(series.points()[599].seconds < series.points()[600].seconds);
    }
}
