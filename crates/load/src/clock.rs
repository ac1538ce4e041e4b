//! Time for the measurements, in nanoseconds since the run began. A reading costs some 25 ns
//! without entering the kernel; the run takes one per piece received and one per turn, not one per
//! message.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since the run began.
pub type Nanoseconds = u64;

/// When the run began.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    start_monotonic: Nanoseconds,
}

impl Clock {
    /// A clock that begins now.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            start_monotonic: reading(ClockId::Monotonic),
        }
    }

    /// `CLOCK_MONOTONIC` when the run began.
    pub fn start_monotonic(&self) -> Nanoseconds {
        self.start_monotonic
    }

    /// The time now.
    pub fn now(&self) -> Nanoseconds {
        nanoseconds(self.start.elapsed())
    }
}

/// A span as whole nanoseconds, at most 584 years.
pub fn nanoseconds(span: Duration) -> Nanoseconds {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Seconds of a span of nanoseconds.
#[allow(clippy::cast_precision_loss)] // Exact to the nanosecond for runs of up to 104 days.
pub fn seconds(span: Nanoseconds) -> f64 {
    span as f64 / 1e9
}

/// The processor time of the calling thread so far, in nanoseconds (`CLOCK_THREAD_CPUTIME_ID`).
pub fn thread_cpu() -> Nanoseconds {
    reading(ClockId::ThreadCPUTime)
}

fn reading(clock: ClockId) -> Nanoseconds {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let rest = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}
