//! Enters what came back on one connection: counts, latencies, and what was wrong in words.

use crate::clock::{Clock, Nanoseconds};
use crate::record::{Fault, Problem, Record};
use crate::stamps::Stamps;
use crate::verify::{Books, Difference, Missing};

/// See the module.
pub struct Ledger<'a> {
    /// Where it is entered.
    pub record: &'a mut Record,
    /// When the messages in flight left.
    pub stamps: &'a mut Stamps,
    /// The time.
    pub clock: &'a Clock,
    /// The connection's number.
    pub connection: u32,
    /// Whether a message has been entered.
    pub has_entries: bool,
}

impl Ledger<'_> {
    fn problem(&mut self, fault: Fault, message: u64, text: impl FnOnce() -> String) {
        let connection = self.connection;
        self.record
            .problem(|| Problem::new(fault, connection, Some(message), text()));
    }
}

impl Books for Ledger<'_> {
    fn back(&mut self, count: u32) {
        if count > 0 {
            self.has_entries = true;
            self.record.back(self.stamps, count, self.clock.now());
        }
    }

    fn altered(&mut self, difference: Difference) {
        self.back(1);
        self.record.counts.altered += 1;
        self.record.difference(self.connection, difference);
    }

    fn skipped(&mut self) -> Nanoseconds {
        self.has_entries = true;
        let mut left = 0;
        self.stamps.pop(1, |time, _| left = time);
        left
    }

    fn late(&mut self, missing: &Missing, before: u64) {
        self.has_entries = true;
        let latency = self.clock.now().saturating_sub(missing.left);
        self.record.latency(latency, 1);
        self.record.counts.received += 1;
        self.record.counts.reordered += 1;
        self.problem(Fault::Reordered, missing.number, || {
            format!("it came after message {before}")
        });
    }

    fn lost(&mut self, missing: &Missing) {
        let now = self.clock.now();
        self.record.lost(self.connection, missing, now);
    }

    fn again(&mut self, number: u64) {
        self.record.counts.duplicated += 1;
        self.problem(Fault::Duplicated, number, || {
            "it came back a second time".to_owned()
        });
    }

    fn extra(&mut self, bytes: u64, before: u64) {
        let is_first = self.record.counts.extra_bytes == 0;
        self.record.counts.extra_bytes += bytes;
        if is_first {
            self.problem(Fault::Extra, before, || {
                format!("behind it came {bytes} bytes that answer nothing")
            });
        }
    }
}
