//! The result of a run, as values and as JSON.

use hdrhistogram::Histogram;

use crate::clock::seconds;
use crate::json::{Object, array};
use crate::record::{Counts, Problem};
use crate::run::Times;
use crate::schedule::Schedule;
use crate::series::{self, Point};
use crate::shared::Shared;

/// How long something took, in seconds, over all its cases. All zero when there was none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Latency {
    /// How many cases.
    pub count: u64,
    /// The shortest.
    pub minimum: f64,
    /// The mean.
    pub mean: f64,
    /// Half took no longer.
    pub p50: f64,
    /// 90 % took no longer.
    pub p90: f64,
    /// 99 % took no longer.
    pub p99: f64,
    /// 99.9 % took no longer.
    pub p99_9: f64,
    /// The longest.
    pub maximum: f64,
}

impl Latency {
    /// Of all cases in `histogram`, whose unit is a nanosecond.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile| seconds(histogram.value_at_quantile(quantile));
        Self {
            count: histogram.len(),
            minimum: seconds(histogram.min()),
            mean: histogram.mean() / 1e9,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            maximum: seconds(histogram.max()),
        }
    }

    /// As JSON.
    pub fn json(&self) -> String {
        let mut object = Object::new();
        object
            .count("count", self.count)
            .number("minimum", self.minimum)
            .number("mean", self.mean)
            .number("p50", self.p50)
            .number("p90", self.p90)
            .number("p99", self.p99)
            .number("p99_9", self.p99_9)
            .number("maximum", self.maximum);
        object.finish()
    }
}

/// What a rate demanded, and what of it was kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Paced {
    /// Messages that were due.
    pub due: u64,
    /// Messages per second that were due, on average.
    pub planned: f64,
    /// Messages per second that had left when the time was over.
    pub reached: f64,
    /// Everything that was due had left.
    pub is_reached: bool,
}

/// The result of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// Connections planned.
    pub connections: u32,
    /// Bytes of a payload.
    pub size: usize,
    /// What a rate demanded, if there was one.
    pub paced: Option<Paced>,
    /// What happened.
    pub counts: Counts,
    /// Seconds from the run's beginning until every connection was open or refused.
    pub connect_seconds: f64,
    /// Seconds from the first message to the last echo.
    pub seconds: f64,
    /// When the first message left and when the last echo was back, in seconds of
    /// `CLOCK_MONOTONIC`, for those who compare them with other clocks of the machine.
    pub monotonic: (f64, f64),
    /// Seconds of processor time that this client took from the first message to the last echo.
    /// Close to `seconds`, the client was the bottleneck and the figures tell about it.
    pub client_cpu_seconds: f64,
    /// From a connect's beginning to the open connection.
    pub connect_latency: Latency,
    /// From a message's sending, or with a rate from when it was due, to its whole echo.
    pub latency: Latency,
    /// The same as a histogram: nanoseconds, and how many messages took that long, rounded up to
    /// three digits.
    pub histogram: Vec<(u64, u64)>,
    /// How the run went over time.
    pub series: Vec<Point>,
    /// The first problems.
    pub problems: Vec<Problem>,
    /// How many problems more there were.
    pub problems_omitted: u64,
    /// What decided all that was random: the same seed repeats it.
    pub seed: u64,
    /// The port's driver.
    pub driver: &'static str,
    /// The run went to its end and was not stopped.
    pub is_complete: bool,
}

impl Report {
    pub(crate) fn new(shared: &mut Shared, times: &Times, is_complete: bool) -> Self {
        let end = if times.sent > 0 {
            times.sent
        } else {
            shared.clock.now()
        };
        if times.sending > 0 {
            shared.record.end_interval(end);
        }
        let record = &shared.record;
        let at = |time| seconds(shared.clock.start_monotonic().saturating_add(time));
        Self {
            connections: shared.plan.connections,
            size: shared.plan.size,
            paced: shared.schedule.as_ref().map(paced),
            counts: record.counts,
            connect_seconds: seconds(times.connected),
            seconds: seconds(times.sent.saturating_sub(times.sending)),
            monotonic: (at(times.sending), at(times.sent)),
            client_cpu_seconds: seconds(times.cpu),
            connect_latency: Latency::of(&record.connects),
            latency: Latency::of(&record.earlier_replies),
            histogram: buckets(&record.earlier_replies),
            series: record.series.points().to_vec(),
            problems: record.problems.clone(),
            problems_omitted: record.problems_omitted,
            seed: shared.seed,
            driver: shared.port.name(),
            is_complete,
        }
    }

    /// Whether every connection was opened and closed, every message came back as it was sent and
    /// in time, and the rate was kept, if there was one.
    pub fn is_clean(&self) -> bool {
        let is_paced = self
            .paced
            .is_none_or(|paced| paced.is_reached || !self.is_complete);
        self.counts.is_clean() && is_paced
    }

    /// Messages echoed a second.
    #[allow(clippy::cast_precision_loss)] // 2^53 messages take years.
    pub fn messages_per_second(&self) -> f64 {
        if self.seconds > 0.0 {
            self.counts.received as f64 / self.seconds
        } else {
            0.0
        }
    }

    /// The report as a JSON object in one line. Times are seconds; excerpts of bytes are
    /// hexadecimal.
    pub fn json(&self) -> String {
        let problems: Vec<String> = self.problems.iter().map(problem_json).collect();
        let mut object = Object::new();
        object
            .flag("clean", self.is_clean())
            .flag("complete", self.is_complete)
            .count("connections", self.connections.into())
            .count("size", self.size as u64);
        for (name, count) in named(&self.counts) {
            object.count(name, count);
        }
        let paced = self.paced.map_or_else(|| "null".to_owned(), Paced::json);
        object
            .raw("paced", &paced)
            .number("connect_seconds", self.connect_seconds)
            .number("seconds", self.seconds)
            .number("monotonic_start_seconds", self.monotonic.0)
            .number("monotonic_end_seconds", self.monotonic.1)
            .number("messages_per_second", self.messages_per_second())
            .number("client_cpu_seconds", self.client_cpu_seconds)
            .raw("connect_latency_seconds", &self.connect_latency.json())
            .raw("latency_seconds", &self.latency.json())
            .raw("latency_histogram", &histogram_json(&self.histogram))
            .raw("series", &series::json(&self.series))
            .raw("problems", &array(&problems))
            .count("problems_omitted", self.problems_omitted)
            .count("seed", self.seed)
            .string("driver", self.driver);
        object.finish()
    }
}

fn buckets(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    histogram
        .iter_recorded()
        .map(|bucket| {
            (
                bucket.value_iterated_to(),
                bucket.count_since_last_iteration(),
            )
        })
        .collect()
}

fn histogram_json(buckets: &[(u64, u64)]) -> String {
    let pairs: Vec<String> = buckets
        .iter()
        .map(|(nanoseconds, count)| format!("[{nanoseconds},{count}]"))
        .collect();
    array(&pairs)
}

impl Paced {
    fn json(self) -> String {
        let mut object = Object::new();
        object
            .count("due", self.due)
            .number("planned_per_second", self.planned)
            .number("reached_per_second", self.reached)
            .flag("reached", self.is_reached);
        object.finish()
    }
}

fn paced(schedule: &Schedule) -> Paced {
    let planned = schedule.per_second();
    Paced {
        due: schedule.due,
        planned,
        reached: planned * schedule.share(),
        is_reached: schedule.is_reached(),
    }
}

/// The counts under the names that JSON and progress give them.
pub fn named(counts: &Counts) -> [(&'static str, u64); 20] {
    [
        ("connected", counts.connected),
        ("refused", counts.refused),
        ("reset", counts.reset),
        ("closed", counts.closed),
        ("unclosed", counts.unclosed),
        ("sent", counts.sent),
        ("received", counts.received),
        ("altered", counts.altered),
        ("lost", counts.lost),
        ("reordered", counts.reordered),
        ("duplicated", counts.duplicated),
        ("unsent", counts.unsent),
        ("abandoned", counts.abandoned),
        ("extra_bytes", counts.extra_bytes),
        ("violations", counts.violations),
        ("failed", counts.failed),
        ("bytes_sent", counts.bytes_sent),
        ("bytes_received", counts.bytes_received),
        ("pings_sent", counts.pings_sent),
        ("pongs_received", counts.pongs_received),
    ]
}

fn problem_json(problem: &Problem) -> String {
    let mut object = Object::new();
    object
        .string("fault", problem.fault.name())
        .count("connection", problem.connection.into())
        .maybe("message", problem.message)
        .maybe("offset", problem.offset.map(|offset| offset as u64))
        .string("expected", &hexadecimal(&problem.expected))
        .string("got", &hexadecimal(&problem.got))
        .string("text", &problem.text);
    object.finish()
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_known_latencies_are_found() {
        let mut histogram = Histogram::new_with_bounds(1, 1_000_000_000_000, 3).expect("bounds");
        for milliseconds in 1..=1000 {
            histogram.saturating_record(milliseconds * 1_000_000);
        }
        let latency = Latency::of(&histogram);
        let near = |value: f64, wanted: f64| (value - wanted).abs() <= wanted * 0.002;
        assert_eq!(latency.count, 1000);
        assert!(near(latency.p50, 0.5) && near(latency.p90, 0.9) && near(latency.p99, 0.99));
        assert!(
            near(latency.p99_9, 0.999)
                && near(latency.maximum, 1.0)
                && near(latency.minimum, 0.001)
        );
    }

    #[test]
    fn no_cases_give_zeros_and_not_nonsense() {
        let histogram = Histogram::new_with_bounds(1, 1_000_000, 3).expect("bounds");
        assert_eq!(Latency::of(&histogram), Latency::default());
    }
}
