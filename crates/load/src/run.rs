//! A run from its first connect to its last close, taken in steps.
//!
//! | phase | until |
//! |---|---|
//! | connecting | every connection is open or refused |
//! | sending | every message is back or lost; with a duration, those sent before its end |
//! | holding | the hold time is over |
//! | closing | every connection is closed, from both ends where the server keeps up |
//!
//! Within a step the run turns the port, hands each completion to its connection, and then looks
//! once at each connection that has something to send. Deadlines are looked for in a sweep over all
//! connections some ten times in the shortest of them: far cheaper than a timer a message, and
//! exact enough for a failure.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use vespiary_port::Port;
use vespiary_port::driver::{self, Preference};

use crate::clock::{Nanoseconds, nanoseconds, seconds, thread_cpu};
use crate::connection::{Connection, Stage};
use crate::descriptors;
use crate::error::Error;
use crate::pace::Pace;
use crate::plan::{Driver, Plan};
use crate::random;
use crate::record::Counts;
use crate::report::{Latency, Report};
use crate::schedule::{Schedule, count_unsent};
use crate::shared::Shared;
use crate::tls;

/// What the run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// See the module's table for all phases.
    Connecting,
    /// Messages go and come.
    Sending,
    /// The connections are open and idle.
    Holding,
    /// The connections are being closed.
    Closing,
    /// Over; the report is ready.
    Done,
}

impl Phase {
    /// The phase's name, as progress prints it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Sending => "sending",
            Self::Holding => "holding",
            Self::Closing => "closing",
            Self::Done => "done",
        }
    }
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// Seconds since it began.
    pub seconds: f64,
    /// Seconds since the first message.
    pub sending_seconds: f64,
    /// What has happened.
    pub counts: Counts,
    /// Of the series' last interval.
    pub latency: Latency,
}

/// A run in progress.
pub struct Run {
    shared: Shared,
    connections: Vec<Connection>,
    phase: Phase,
    /// The next connection to open.
    next: usize,
    next_sweep: Nanoseconds,
    sweep_interval: Nanoseconds,
    times: Times,
}

/// Once the run was stopped, a server that has been silent for this long is not waited for.
const STOPPED_WAIT: Nanoseconds = 200_000_000;
/// How often this is looked for.
const STOPPED_SWEEP: Nanoseconds = 20_000_000;

/// When the phases began, and the processor time of sending.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    pub(crate) connected: Nanoseconds,
    pub(crate) sending: Nanoseconds,
    /// When no more messages were to leave.
    stopped: Nanoseconds,
    pub(crate) sent: Nanoseconds,
    pub(crate) cpu_start: Nanoseconds,
    pub(crate) cpu: Nanoseconds,
    hold_end: Nanoseconds,
}

impl Run {
    /// Check the plan, make room for its connections, and open the port. The port belongs to the
    /// calling thread.
    pub fn new(plan: Plan) -> Result<Self, Error> {
        plan.check()?;
        descriptors::secure(plan.connections)?;
        let tls = tls::configure(&plan)?;
        let port = open_port(&plan)?;
        Ok(Self::on(port, plan, tls))
    }

    /// The same on a port that is there, for a plan that was checked.
    fn on(port: Box<dyn Port>, plan: Plan, tls: Option<Arc<ClientConfig>>) -> Self {
        let seed = plan.seed.unwrap_or_else(random::seed);
        let connections = (0..plan.connections)
            .map(|number| Connection::new(number, seed))
            .collect();
        let shortest = plan
            .connect_timeout
            .min(plan.reply_timeout)
            .min(plan.close_timeout);
        let sweep_interval = nanoseconds(shortest / 10).clamp(1_000_000, 250_000_000);
        Self {
            shared: Shared::new(port, plan, seed, tls),
            connections,
            phase: Phase::Connecting,
            next: 0,
            next_sweep: sweep_interval,
            sweep_interval,
            times: Times::default(),
        }
    }

    /// Continue for `max_wait` or until the run is done.
    pub fn step(&mut self, max_wait: Duration) -> Result<Progress, Error> {
        let until = self
            .shared
            .clock
            .now()
            .saturating_add(nanoseconds(max_wait));
        loop {
            self.pass_phases();
            if self.phase == Phase::Done {
                break;
            }
            let now = self.shared.clock.now();
            if now >= until {
                break;
            }
            let wait = self.next_event(now).min(until).saturating_sub(now);
            let turned = self.shared.port.turn(Some(Duration::from_nanos(wait)));
            turned.map_err(Error::system("waiting for completions"))?;
            while let Some(completion) = self.shared.port.next() {
                let connection = &mut self.connections[completion.token.0 as usize];
                connection.handle(&mut self.shared, completion.outcome);
            }
            self.look_at_the_clock();
            self.flush();
        }
        Ok(self.progress())
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        let now = self.shared.clock.now();
        let end = if self.times.sent > 0 {
            self.times.sent
        } else {
            now
        };
        let sending = if self.times.sending > 0 {
            end - self.times.sending
        } else {
            0
        };
        Progress {
            phase: self.phase,
            seconds: seconds(now),
            sending_seconds: seconds(sending),
            counts: self.shared.record.counts,
            latency: self.shared.record.series.latest(),
        }
    }

    /// Send nothing more, wait for what is in flight unless the server is silent, and close. Said
    /// again: close at once.
    pub fn stop(&mut self) {
        let is_repeated = std::mem::replace(&mut self.shared.is_interrupted, true);
        let is_closing = self.phase == Phase::Closing;
        for connection in &mut self.connections {
            if is_repeated || is_closing || connection.is_opening() {
                connection.abandon(&mut self.shared);
            }
        }
        self.stop_sending();
        self.times.hold_end = 0;
        self.sweep_interval = STOPPED_SWEEP;
        self.next_sweep = 0;
    }

    /// `CLOCK_MONOTONIC` when the run began, in nanoseconds: what the times of its report count
    /// from, for those who compare them with other clocks.
    pub fn began_monotonic(&self) -> u64 {
        self.shared.clock.start_monotonic()
    }

    /// The result of what was done so far, while the run continues.
    pub fn so_far(&mut self) -> Report {
        let mut times = self.times;
        if times.sending > 0 && times.sent == 0 {
            times.sent = self.shared.clock.now();
            times.cpu = thread_cpu() - times.cpu_start;
        }
        Report::new(&mut self.shared, &times, false)
    }

    /// The result; complete when the phase is [`Phase::Done`].
    pub fn finish(mut self) -> Report {
        let is_complete = self.phase == Phase::Done && !self.shared.is_interrupted;
        Report::new(&mut self.shared, &self.times, is_complete)
    }

    fn pass_phases(&mut self) {
        if self.phase == Phase::Connecting {
            self.open_more();
            let all = self.next == self.connections.len() || self.shared.is_interrupted;
            if all && self.shared.opening == 0 {
                self.begin_sending();
            }
        }
        if self.phase == Phase::Sending && self.shared.unfinished == 0 {
            self.times.sent = self.shared.clock.now();
            self.times.cpu = thread_cpu() - self.times.cpu_start;
            self.stop_sending();
            self.count_unsent();
            let hold = if self.shared.is_interrupted {
                Duration::ZERO
            } else {
                self.shared.plan.hold
            };
            self.times.hold_end = self.times.sent.saturating_add(nanoseconds(hold));
            self.phase = Phase::Holding;
        }
        let now = self.shared.clock.now();
        if self.phase == Phase::Holding && (now >= self.times.hold_end || self.shared.alive == 0) {
            self.phase = Phase::Closing;
            for connection in &mut self.connections {
                connection.finish(&mut self.shared);
            }
            self.flush();
        }
        if self.phase == Phase::Closing && self.shared.alive == 0 {
            self.phase = Phase::Done;
        }
    }

    fn open_more(&mut self) {
        while self.shared.opening < self.shared.plan.connect_concurrency
            && self.next < self.connections.len()
            && !self.shared.is_interrupted
        {
            self.connections[self.next].begin(&mut self.shared);
            self.next += 1;
        }
    }

    fn begin_sending(&mut self) {
        let now = self.shared.clock.now();
        self.phase = Phase::Sending;
        self.times.connected = now;
        self.times.sending = now;
        self.times.cpu_start = thread_cpu();
        self.shared.record.series.begin(now);
        if self.shared.is_stopping {
            return;
        }
        self.shared.is_sending = true;
        if let Some(pace) = Pace::of(&self.shared.plan, now) {
            self.shared.schedule = Some(Schedule::new(&self.shared.plan, &pace, now));
            self.shared.pace = Some(pace);
            self.release(now);
        } else {
            self.ramp_up(now);
        }
        self.flush();
    }

    /// Let all connections begin to send: at once, or one after the other.
    fn ramp_up(&mut self, now: Nanoseconds) {
        let whole = nanoseconds(self.shared.plan.ramp_up);
        let count = self.connections.len() as u64;
        for connection in &mut self.connections {
            let number = connection.number;
            let delay = (u128::from(whole) * u128::from(number) / u128::from(count)) as u64;
            if delay == 0 {
                connection.mark_dirty(&mut self.shared);
            } else {
                connection.is_paused = true;
                self.shared.timers.push(Reverse((now + delay, number)));
            }
        }
    }

    fn stop_sending(&mut self) {
        if !self.shared.is_stopping {
            self.times.stopped = self.shared.clock.now();
        }
        self.shared.is_sending = false;
        self.shared.is_stopping = true;
        for connection in &mut self.connections {
            connection.check_finished(&mut self.shared);
        }
    }

    /// Sending is over: count what was due and has not left. Nothing was missed by a run that was
    /// stopped.
    fn count_unsent(&mut self) {
        self.look_at_the_schedule(Nanoseconds::MAX);
        let shared = &mut self.shared;
        let (Some(pace), Some(schedule), false) =
            (&shared.pace, &shared.schedule, shared.is_interrupted)
        else {
            return;
        };
        let opened = self.connections.iter().filter(|it| it.was_opened);
        for connection in opened {
            let (plan, stopped) = (&shared.plan, self.times.stopped);
            count_unsent(
                connection,
                plan,
                pace,
                schedule,
                stopped,
                &mut shared.record,
            );
        }
    }

    /// Note what had left when the rate's time was over.
    fn look_at_the_schedule(&mut self, now: Nanoseconds) {
        if let Some(schedule) = &mut self.shared.schedule
            && schedule.on_time.is_none()
            && now >= schedule.deadline()
        {
            schedule.on_time = Some(self.shared.record.counts.sent);
        }
    }

    /// Until when nothing happens unless the kernel says so.
    fn next_event(&self, now: Nanoseconds) -> Nanoseconds {
        // What a flush left undone, such as a second send of a large window, completes through the
        // port.
        let mut next = self.next_sweep;
        if let Some(Reverse((time, _))) = self.shared.timers.peek() {
            next = next.min(*time);
        }
        if let (Some(pace), Some(schedule), true) = (
            &self.shared.pace,
            &self.shared.schedule,
            self.shared.is_sending,
        ) {
            let due = pace.next();
            next = next.min(if due <= schedule.last {
                due
            } else {
                schedule.deadline()
            });
        }
        if let Some(end) = self.sending_end() {
            next = next.min(end);
        }
        match self.phase {
            Phase::Sending => next = next.min(self.shared.record.series.next()),
            Phase::Holding => next = next.min(self.times.hold_end),
            _ => {}
        }
        next.max(now)
    }

    /// When the duration is over, while it is not; with a rate and something left to send,
    /// when its grace is over as well.
    fn sending_end(&self) -> Option<Nanoseconds> {
        if let Some(schedule) = &self.shared.schedule {
            let is_timed = self.shared.plan.sending_time().is_some();
            let is_all_sent = self.shared.record.counts.sent >= schedule.due;
            let end = if is_all_sent {
                schedule.end
            } else {
                schedule.deadline()
            };
            return (self.shared.is_sending && is_timed).then_some(end);
        }
        let duration = self
            .shared
            .plan
            .duration
            .filter(|_| self.shared.is_sending)?;
        Some(self.times.sending.saturating_add(nanoseconds(duration)))
    }

    fn look_at_the_clock(&mut self) {
        let now = self.shared.clock.now();
        while let Some(Reverse((time, number))) = self.shared.timers.peek().copied() {
            if time > now {
                break;
            }
            self.shared.timers.pop();
            let connection = &mut self.connections[number as usize];
            connection.is_paused = false;
            match connection.stage {
                Stage::Waiting => connection.connect(&mut self.shared),
                _ => connection.mark_dirty(&mut self.shared),
            }
        }
        self.look_at_the_schedule(now);
        if self.phase == Phase::Sending && now >= self.shared.record.series.next() {
            self.shared.record.end_interval(now);
        }
        if self.sending_end().is_some_and(|end| now >= end) {
            self.stop_sending();
        }
        if self.shared.is_sending {
            self.release(now);
        }
        if now >= self.next_sweep {
            self.next_sweep = now + self.sweep_interval;
            self.sweep(now);
        }
    }

    fn sweep(&mut self, now: Nanoseconds) {
        for connection in &mut self.connections {
            if self.shared.is_interrupted {
                connection.expire_stopped(&mut self.shared, now, STOPPED_WAIT);
            }
            connection.expire(&mut self.shared, now);
        }
    }

    fn release(&mut self, now: Nanoseconds) {
        let Some(pace) = &mut self.shared.pace else {
            return;
        };
        // Nothing becomes due after the end; what is still due may leave.
        let last = self.shared.schedule.map_or(now, |schedule| schedule.last);
        let (all, some) = pace.release(now.min(last));
        if all > 0 {
            for connection in &mut self.connections {
                connection.released += all;
                connection.mark_dirty(&mut self.shared);
            }
        }
        let count = self.connections.len() as u64;
        for number in some {
            let connection = &mut self.connections[(number % count) as usize];
            connection.released += 1;
            connection.mark_dirty(&mut self.shared);
        }
    }

    fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.shared.dirty);
        for number in dirty.drain(..) {
            let connection = &mut self.connections[number as usize];
            connection.is_dirty = false;
            connection.flush(&mut self.shared);
        }
        // A flush marks nothing dirty, so the list is as empty as it was and keeps its room.
        self.shared.dirty = dirty;
    }
}

fn open_port(plan: &Plan) -> Result<Box<dyn Port>, Error> {
    let preference = match plan.driver {
        Driver::Automatic => None,
        Driver::Uring => Some(Preference::Uring),
        Driver::Epoll => Some(Preference::Epoll),
    };
    let options = driver::Options {
        spin_microseconds: plan.spin.as_micros() as u32,
        ..driver::Options::default()
    };
    let opened = driver::open(preference, &options);
    opened
        .map(|(port, _)| port)
        .map_err(Error::system("opening the port"))
}
