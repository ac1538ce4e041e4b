//! What must hold after every turn: queues and numbers within their limits, deadlines met.

use crate::kit::{Bench, Conn};
use crate::site::Site;
use std::collections::BTreeMap;
use vespiary_engine::port::Token;
use vespiary_engine::port::sim::Faults;
use vespiary_engine::{Framing, Options, State};

/// What of a delay of the process may count for deadlines, in milliseconds.
const HELD_UP_COUNTED: u64 = 250;
/// A deadline is met within a tick, and a turn may be late by as much again.
const LATE_MILLISECONDS: u64 = 3;
/// What may be queued beyond the limit: an answer to a request, a close frame.
const QUEUED_BEYOND: usize = 4_096;
/// What may be put aside: what is held before a receive is cancelled.
const HELD: usize = 256 << 10;

/// Since when something has not changed.
#[derive(Clone, Copy)]
struct Since {
    count: u64,
    milliseconds: u64,
    may: bool,
}

impl Since {
    fn new(milliseconds: u64) -> Self {
        Self {
            count: 0,
            milliseconds,
            may: true,
        }
    }

    /// For how long it has been `count` by now, except for when it `may` stay as it is.
    fn observe(&mut self, count: u64, now: u64, may: bool) -> u64 {
        if self.count != count || may || self.may {
            *self = Self {
                count,
                milliseconds: now,
                may,
            };
        }
        now - self.milliseconds
    }
}

/// Judgement waits for what the socket holds, until some of it was received. That takes as long as
/// this end takes, where two buffers may serve twenty peers.
#[derive(Clone, Copy, Default)]
struct Postponed {
    received: u64,
    /// How much of the time counts for nothing.
    until: u64,
}

impl Postponed {
    /// A deadline that counts from `began`, and has passed or not, with what was received by now.
    fn observe(&mut self, is_past: bool, holds_bytes: bool, received: u64, now: u64) -> u64 {
        if !is_past {
            *self = Self { received, until: 0 };
        } else if holds_bytes && self.received == received {
            self.until = now;
        }
        self.until
    }
}

/// What was seen of one connection.
struct Seen {
    heard: Since,
    written: Since,
    phase: Postponed,
    silence: Postponed,
}

impl Seen {
    fn new(now: u64) -> Self {
        Self {
            heard: Since::new(now),
            written: Since::new(now),
            phase: Postponed::default(),
            silence: Postponed::default(),
        }
    }
}

/// What was seen of the connections so far.
#[derive(Default)]
pub struct Bounds {
    seen: BTreeMap<Token, Seen>,
    /// The most bytes that were queued on one connection, and held by one.
    pub most: (usize, usize),
}

impl Bounds {
    /// Check every connection and site.
    pub fn check(&mut self, bench: &Bench, sites: &[Site], faults: &Faults) {
        let now = bench.engine.now_ms();
        for connection in bench.engine.all_connections() {
            self.check_connection(&connection, now, faults);
        }
        for site in sites {
            let (endpoint, limits) = (site.place.endpoint(), &site.options.limits);
            let (open, shaking) = (endpoint.open(), endpoint.handshaking());
            assert!(
                limits.connections_max.is_none_or(|most| open <= most),
                "{open} are open"
            );
            let is_bound = limits
                .handshakes_pending_max
                .is_none_or(|most| shaking <= most.max(1));
            assert!(is_bound, "{shaking} handshakes are pending");
            assert!(
                shaking <= open,
                "{shaking} handshakes of {open} connections"
            );
        }
    }

    fn check_connection(&mut self, connection: &Conn, now: u64, faults: &Faults) {
        let options = connection.endpoint().options();
        let limits = &options.limits;
        let queued = connection.queued_bytes();
        // HTTP answers are taken while less than this waits.
        let answers = match options.framing {
            Framing::Http => limits.write_high_bytes,
            _ => 0,
        };
        assert!(
            queued <= limits.write_bytes_max.max(answers) + QUEUED_BEYOND,
            "{queued} bytes are queued"
        );
        let held = connection.buffer_bytes();
        let buffers = usize::from(faults.buffers) * faults.buffer_bytes as usize;
        let message = limits.message_bytes_max as usize;
        // Vectors may have twice the room that they need.
        let most = 2 * (limits.write_bytes_max + QUEUED_BEYOND + HELD + buffers + message)
            + limits.header_bytes_max
            + (150 << 10);
        assert!(held <= most, "{held} bytes of buffers");
        self.most = (self.most.0.max(queued), self.most.1.max(held));
        // Reading continues when the cancel's completion has come, and that may be late twice.
        let delay = 2 * u64::from(faults.delay_microseconds_max) / 1_000;
        // What the process is held up for counts only in part, and may count more than once.
        let held_up = u64::from(faults.stop_microseconds_max) / 1_000;
        let delay = delay + 4 * held_up.min(HELD_UP_COUNTED);
        self.check_deadlines(connection, now, delay);
    }

    fn check_deadlines(&mut self, connection: &Conn, now: u64, delay: u64) {
        let options = connection.endpoint().options();
        let deadlines = &options.deadlines;
        let phase = (connection.open_seconds() * 1000.0).round() as u64;
        let is_over = |length: Option<u64>, took: u64| {
            length.is_some_and(|length| took > length + LATE_MILLISECONDS + delay)
        };
        let state = connection.state();
        let [received, ..] = connection.traffic();
        let holds_bytes = connection.unread().bytes > 0;
        let seen = self.seen.entry(connection.token());
        let seen = seen.or_insert_with(|| Seen::new(now));
        let is_written = connection.queued_bytes() == 0;
        let longest = longest(state, &options).filter(|_| state != State::Closing || is_written);
        let is_past = longest.is_some_and(|length| phase > length);
        let until = seen.phase.observe(is_past, holds_bytes, received, now);
        let late = late_by(phase, longest, until, now);
        assert!(!is_over(Some(0), late), "{phase} ms in {state:?}");
        let is_held_back = connection.is_paused(u8::MAX) || connection.is_above_high();
        let is_open = state == State::Open;
        let silent = seen.heard.observe(received, now, is_held_back || !is_open);
        let silent = silent.saturating_sub(delay);
        let is_past = deadlines.idle.is_some_and(|length| silent > length);
        let until = seen.silence.observe(is_past, holds_bytes, received, now);
        let late = late_by(silent, deadlines.idle, until, now);
        assert!(!is_over(Some(0), late), "silent for {silent} ms");
        let taken = connection.delivery().acknowledged.unwrap_or(0);
        // A close waits for a reader that continues, without a write deadline too.
        let is_closing = state == State::Closing;
        let deadline = deadlines.write.or(deadlines.close.filter(|_| is_closing));
        let is_exempt = is_written || deadline.is_none() || !is_open && !is_closing;
        let stuck = seen.written.observe(taken, now, is_exempt);
        // The deadline counts from one moment; what waits after it is asked for by the next.
        let twice = deadline.map(|length| 2 * length);
        let stuck = stuck.saturating_sub(delay);
        assert!(!is_over(twice, stuck), "nothing was taken for {stuck} ms");
    }
}

/// How long a connection may be in a state.
fn longest(state: State, options: &Options) -> Option<u64> {
    let deadlines = &options.deadlines;
    match state {
        State::Connecting | State::Securing | State::Handshaking | State::BetweenRequests => {
            // A request in progress, or the pause between two.
            match (deadlines.handshake, deadlines.keep_alive) {
                (Some(handshake), Some(pause)) if options.framing == Framing::Http => {
                    Some(handshake.max(pause))
                }
                (_, None) if options.framing == Framing::Http => None,
                (handshake, _) => handshake,
            }
        }
        // Once everything is written.
        State::Closing => deadlines.close,
        State::Responding | State::Open | State::Closed => None,
    }
}

/// How late a deadline is that has taken so long, except for the time until which nobody could
/// judge it.
fn late_by(took: u64, length: Option<u64>, until: u64, now: u64) -> u64 {
    let late = length.map_or(0, |length| took.saturating_sub(length));
    late.min(now.saturating_sub(until))
}
