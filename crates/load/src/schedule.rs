//! Has a rate been kept? What was due, what of it was sent in time, and how long the rest has
//! waited.
//!
//! With a duration, messages that are due before its end may still leave within [`Schedule::grace`]
//! after it; what is then left is counted as unsent. Either way the rate has been reached if
//! everything that was due by the end of the schedule had left when the grace was over.

use std::time::Duration;

use crate::clock::{Nanoseconds, nanoseconds, seconds};
use crate::connection::Connection;
use crate::pace::Pace;
use crate::plan::Plan;
use crate::record::Record;

/// The least and the most of [`Schedule::grace`].
const GRACE_MIN: Nanoseconds = 100_000_000;
const GRACE_MAX: Nanoseconds = 1_000_000_000;
/// Latencies of unsent messages are entered in at most this many portions per connection.
const PORTIONS_MAX: u64 = 10_000;

/// What a rate demands, and what of it was kept.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    start: Nanoseconds,
    /// When all that is due has become so.
    pub end: Nanoseconds,
    /// The last moment at which a message may become due.
    pub last: Nanoseconds,
    /// How many are due in all.
    pub due: u64,
    /// How many of them had left when the grace was over.
    pub on_time: Option<u64>,
}

impl Schedule {
    /// The schedule of `plan`, whose `pace` begins at `start`.
    pub fn new(plan: &Plan, pace: &Pace, start: Nanoseconds) -> Self {
        let planned = plan
            .messages
            .map(|messages| messages.saturating_mul(u64::from(plan.connections)));
        let duration = plan.sending_time().unwrap_or(Duration::MAX);
        let mut end = start.saturating_add(nanoseconds(duration));
        let mut last = end.saturating_sub(1);
        let mut due = pace.due_by(last);
        if let Some(planned) = planned
            && planned <= due
        {
            due = planned;
            // The number of messages is the limit.
            last = Nanoseconds::MAX;
            end = pace.time(planned.saturating_sub(1)).max(start);
        }
        Self {
            start,
            end,
            last,
            due,
            on_time: None,
        }
    }

    /// How late the last message may leave: 1 % of the time, at least 100 ms, at most 1 s.
    fn grace(&self) -> Nanoseconds {
        ((self.end - self.start) / 100).clamp(GRACE_MIN, GRACE_MAX)
    }

    /// When the next check of what has been sent is due.
    pub fn deadline(&self) -> Nanoseconds {
        self.end.saturating_add(self.grace())
    }

    /// How much of what was due left in time: 1 if all did.
    #[allow(clippy::cast_precision_loss)] // 2^53 messages take years.
    pub fn share(&self) -> f64 {
        let on_time = self.on_time.unwrap_or(0).min(self.due);
        on_time as f64 / self.due.max(1) as f64
    }

    /// Messages due per second, on average.
    #[allow(clippy::cast_precision_loss)] // 2^53 messages take years.
    pub fn per_second(&self) -> f64 {
        // Of messages, the last is due when the time of the others is over.
        let count = self.due - u64::from(self.last == Nanoseconds::MAX && self.due > 1);
        count as f64 / seconds((self.end - self.start).max(1))
    }

    /// Whether everything left in time.
    pub fn is_reached(&self) -> bool {
        self.on_time.is_some_and(|sent| sent >= self.due)
    }
}

/// Sending is over: count what `connection` should have sent, with the time that it waited until
/// `stopped`.
pub fn count_unsent(
    connection: &Connection,
    plan: &Plan,
    pace: &Pace,
    schedule: &Schedule,
    stopped: Nanoseconds,
    record: &mut Record,
) {
    let number = connection.number;
    let due = pace.share(number, schedule.due);
    let planned = plan.messages.map_or(due, |messages| messages.min(due));
    record.counts.unsent += planned.saturating_sub(connection.sent);
    let waiting = pace.share(number, pace.due_by(stopped)).min(planned);
    let mut first = connection.sent;
    let portion = (waiting.saturating_sub(first) / PORTIONS_MAX).max(1);
    while first < waiting {
        let count = portion.min(waiting - first);
        let middle = pace.due(number, first + count / 2);
        record.latency(stopped.saturating_sub(middle), count);
        first += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Target;

    fn plan(messages: Option<u64>, seconds: Option<u64>) -> Plan {
        let mut plan = Plan::new(Target::parse("tcp://127.0.0.1:1").expect("an address"));
        plan.connections = 2;
        plan.rate = Some(100.0);
        plan.messages = messages;
        plan.duration = seconds.map(Duration::from_secs);
        plan
    }

    fn schedule(messages: Option<u64>, seconds: Option<u64>) -> Schedule {
        let plan = plan(messages, seconds);
        let pace = Pace::of(&plan, 1_000).expect("there is a rate");
        Schedule::new(&plan, &pace, 1_000)
    }

    #[test]
    fn a_duration_makes_due_what_falls_into_it() {
        let schedule = schedule(None, Some(2));
        assert_eq!((schedule.due, schedule.end), (200, 2_000_001_000));
        assert_eq!(schedule.deadline() - schedule.end, GRACE_MIN);
    }

    #[test]
    fn messages_end_a_schedule_with_the_last_of_them() {
        let by_messages = schedule(Some(50), None);
        assert_eq!((by_messages.due, by_messages.end), (100, 990_001_000));
        assert_eq!(schedule(Some(50), Some(2)).due, 100);
        assert_eq!(schedule(Some(500), Some(2)).due, 200);
    }

    #[test]
    fn what_has_not_left_in_time_shows() {
        let mut schedule = schedule(None, Some(2));
        assert!(!schedule.is_reached());
        schedule.on_time = Some(199);
        assert!(!schedule.is_reached());
        schedule.on_time = Some(200);
        assert!(schedule.is_reached());
    }

    #[test]
    fn the_latency_of_unsent_messages_is_the_time_that_they_waited() {
        let plan = plan(None, Some(2));
        let pace = Pace::of(&plan, 0).expect("there is a rate");
        let schedule = Schedule::new(&plan, &pace, 0);
        let mut connection = Connection::new(1, 1);
        connection.sent = 60;
        let mut record = Record::new();
        count_unsent(
            &connection,
            &plan,
            &pace,
            &schedule,
            2_000_000_000,
            &mut record,
        );
        assert_eq!(record.counts.unsent, 40);
        assert_eq!(record.replies.len(), 40);
        // Its message 60 is the run's message 121.
        let longest = record.replies.max();
        assert!(longest.abs_diff(790_000_000) < 1_000_000, "{longest}");
    }
}
