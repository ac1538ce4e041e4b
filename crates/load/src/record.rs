//! What has happened so far: counts, latencies, and the first problems in words.

use hdrhistogram::Histogram;

use crate::clock::{Nanoseconds, seconds};
use crate::plan::PROBLEMS_MAX;
use crate::series::Series;
use crate::stamps::Stamps;
use crate::verify::{Difference, Missing};

/// An hour: what took longer is counted as that long.
const LATENCY_MAX: Nanoseconds = 3_600_000_000_000;
/// Latencies keep three decimal digits.
const DIGITS: u8 = 3;

/// How often each thing happened. What a healthy server leaves at zero is marked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections opened, the WebSocket handshake included.
    pub connected: u64,
    /// Connections that were not opened: refused, timed out, or the handshake failed. (Zero.)
    pub refused: u64,
    /// Open connections that the server reset. (Zero.)
    pub reset: u64,
    /// Open connections that the server closed before the run was over. (Zero.)
    pub closed: u64,
    /// Connections whose server's end stayed open for the close timeout after ours, or whose close
    /// frame was not answered. (Zero.)
    pub unclosed: u64,
    /// Messages sent.
    pub sent: u64,
    /// Messages that came back whole, altered or not.
    pub received: u64,
    /// Messages that came back other than they were sent. (Zero.)
    pub altered: u64,
    /// Messages sent that never came back whole. (Zero.)
    pub lost: u64,
    /// Messages that came back after later ones. (Zero.)
    pub reordered: u64,
    /// Messages that came back more than once. (Zero.)
    pub duplicated: u64,
    /// Messages planned, or with a rate due, and not sent: their connection was lost, or too many
    /// were in flight. (Zero.)
    pub unsent: u64,
    /// Messages in flight when the run was stopped.
    pub abandoned: u64,
    /// Bytes that came back and answer nothing. (Zero.)
    pub extra_bytes: u64,
    /// Connections on which the server broke the protocol: RFC 6455, HTTP or TLS. (Zero.)
    pub violations: u64,
    /// Requests that were answered with a status of 400 or above. (Zero.)
    pub failed: u64,
    /// Bytes handed to the kernel, handshakes included.
    pub bytes_sent: u64,
    /// Bytes that came, handshakes included.
    pub bytes_received: u64,
    /// Pings sent between fragments.
    pub pings_sent: u64,
    /// Pongs that came.
    pub pongs_received: u64,
}

impl Counts {
    /// Faults of messages, each once.
    pub fn message_faults(&self) -> u64 {
        self.altered + self.lost + self.reordered + self.duplicated + self.unsent
    }

    /// Whether every connection was opened and every message came back as it was sent.
    pub fn is_clean(&self) -> bool {
        let faults = [
            self.refused,
            self.reset,
            self.closed,
            self.unclosed,
            self.altered,
            self.lost,
            self.reordered,
            self.duplicated,
            self.unsent,
            self.extra_bytes,
            self.violations,
            self.failed,
        ];
        faults.iter().all(|count| *count == 0)
    }
}

/// What kind of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A connection was not opened.
    Refused,
    /// The server reset a connection.
    Reset,
    /// The server closed a connection early.
    Closed,
    /// The server's end did not end cleanly after ours.
    Unclosed,
    /// A message came back altered.
    Altered,
    /// An echo did not come in time.
    Lost,
    /// A message came after a later one.
    Reordered,
    /// A message came more than once.
    Duplicated,
    /// Bytes came that answer nothing.
    Extra,
    /// The server broke the protocol.
    Violation,
    /// A request was answered with an error.
    Failed,
}

impl Fault {
    /// The kind's name, as reports print it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Unclosed => "unclosed",
            Self::Altered => "altered",
            Self::Lost => "lost",
            Self::Reordered => "reordered",
            Self::Duplicated => "duplicated",
            Self::Extra => "extra",
            Self::Violation => "violation",
            Self::Failed => "failed",
        }
    }
}

/// One problem: what and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind.
    pub fault: Fault,
    /// On which connection, from zero.
    pub connection: u32,
    /// At which of its messages, from zero: the first whose echo was not whole.
    pub message: Option<u64>,
    /// At which byte of that message.
    pub offset: Option<usize>,
    /// What should have come from there on, its beginning.
    pub expected: Vec<u8>,
    /// What came, its beginning.
    pub got: Vec<u8>,
    /// What happened, in words.
    pub text: String,
}

impl Problem {
    /// A problem that is not about bytes.
    pub fn new(fault: Fault, connection: u32, message: Option<u64>, text: String) -> Self {
        Self {
            fault,
            connection,
            message,
            offset: None,
            expected: Vec::new(),
            got: Vec::new(),
            text,
        }
    }
}

/// All that the run has found out so far.
#[derive(Debug)]
pub struct Record {
    /// The counts.
    pub counts: Counts,
    /// Nanoseconds from the beginning of a connect to the open connection.
    pub connects: Histogram<u64>,
    /// Nanoseconds from a message's sending, or from when it was due, to its whole echo. For a
    /// message without an echo, this is the time that it waited. Of the interval in progress; see
    /// [`crate::series`].
    pub replies: Histogram<u64>,
    /// The same of the intervals before.
    pub earlier_replies: Histogram<u64>,
    /// The intervals.
    pub series: Series,
    /// The first problems, at most [`PROBLEMS_MAX`].
    pub problems: Vec<Problem>,
    /// How many problems more there were.
    pub problems_omitted: u64,
}

impl Record {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            counts: Counts::default(),
            connects: histogram(),
            replies: histogram(),
            earlier_replies: histogram(),
            series: Series::default(),
            problems: Vec::new(),
            problems_omitted: 0,
        }
    }

    /// The series' interval in progress ends now.
    pub fn end_interval(&mut self, now: Nanoseconds) {
        self.series.end_interval(now, &self.counts, &self.replies);
        let added = self.earlier_replies.add(&self.replies);
        added.expect("both have the same bounds");
        self.replies.reset();
    }

    /// Note that the `count` oldest messages in flight, of which `stamps` knows, came back.
    #[inline]
    pub fn back(&mut self, stamps: &mut Stamps, count: u32, now: Nanoseconds) {
        self.counts.received += u64::from(count);
        let replies = &mut self.replies;
        stamps.pop(count, |left, count| {
            replies.saturating_record_n(now.saturating_sub(left), u64::from(count));
        });
    }

    /// Note that `count` messages took this long, or waited this long and did not come.
    pub fn latency(&mut self, latency: Nanoseconds, count: u64) {
        self.replies.saturating_record_n(latency, count);
    }

    /// Note that a message did not come back while later ones did.
    pub fn lost(&mut self, connection: u32, missing: &Missing, now: Nanoseconds) {
        let waited = seconds(now.saturating_sub(missing.left));
        self.lost_after(connection, missing, now, || {
            format!("no echo for {waited:.1} s, while later ones came")
        });
    }

    /// Note that a message did not come back, in these words.
    pub fn lost_after(
        &mut self,
        connection: u32,
        missing: &Missing,
        now: Nanoseconds,
        text: impl FnOnce() -> String,
    ) {
        self.counts.lost += 1;
        self.latency(now.saturating_sub(missing.left), 1);
        self.problem(|| Problem::new(Fault::Lost, connection, Some(missing.number), text()));
    }

    /// Note a problem; its text is made only if it is kept.
    pub fn problem(&mut self, make: impl FnOnce() -> Problem) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(make());
        } else {
            self.problems_omitted += 1;
        }
    }

    /// Note that a message of `connection` came back altered.
    pub fn difference(&mut self, connection: u32, difference: Difference) {
        self.problem(|| Problem {
            fault: Fault::Altered,
            connection,
            message: Some(difference.message),
            offset: Some(difference.offset),
            expected: difference.expected,
            got: difference.got,
            text: difference.note,
        });
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX, DIGITS).expect("the bounds are constants that fit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_alone_spoils_the_verdict() {
        let clean = Counts {
            connected: 3,
            sent: 9,
            received: 9,
            abandoned: 1,
            ..Counts::default()
        };
        assert!(clean.is_clean());
        let faults: [fn(&mut Counts); 12] = [
            |counts| counts.refused = 1,
            |counts| counts.reset = 1,
            |counts| counts.closed = 1,
            |counts| counts.unclosed = 1,
            |counts| counts.reordered = 1,
            |counts| counts.duplicated = 1,
            |counts| counts.altered = 1,
            |counts| counts.lost = 1,
            |counts| counts.unsent = 1,
            |counts| counts.extra_bytes = 1,
            |counts| counts.violations = 1,
            |counts| counts.failed = 1,
        ];
        for fault in faults {
            let mut counts = clean;
            fault(&mut counts);
            assert!(!counts.is_clean(), "{counts:?}");
        }
    }

    #[test]
    fn problems_beyond_the_limit_are_counted_and_not_kept() {
        let mut record = Record::new();
        for connection in 0..PROBLEMS_MAX as u32 + 5 {
            record.difference(
                connection,
                Difference {
                    message: 1,
                    offset: 2,
                    expected: vec![],
                    got: vec![],
                    note: String::new(),
                },
            );
        }
        assert_eq!(record.problems.len(), PROBLEMS_MAX);
        assert_eq!(record.problems_omitted, 5);
    }
}
