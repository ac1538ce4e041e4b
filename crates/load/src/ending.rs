//! How a connection ends: refused, lost, abandoned, or cleanly.

use vespiary_wire::websocket::close::Code;

use crate::clock::{Nanoseconds, nanoseconds, seconds};
use crate::connection::{Connection, Stage};
use crate::plan::Reply;
use crate::record::{Fault, Problem};
use crate::shared::Shared;
use crate::websocket;

impl Connection {
    /// The connection was not opened.
    pub fn refuse(&mut self, shared: &mut Shared, text: impl FnOnce() -> String) {
        shared.opening -= 1;
        shared.record.counts.refused += 1;
        if self.was_opened {
            self.count_unsent(shared);
            self.count_finished(shared);
        }
        let connection = self.number;
        shared
            .record
            .problem(|| Problem::new(Fault::Refused, connection, None, text()));
        self.leave(shared, true);
    }

    /// The open connection is of no more use: what is in flight is lost.
    pub fn lose(&mut self, shared: &mut Shared, fault: Fault, text: impl FnOnce() -> String) {
        let in_flight = self.in_flight();
        let offset = self.expectation.offset(&shared.shape);
        self.count_unanswered(shared);
        self.count_unsent(shared);
        let counts = &mut shared.record.counts;
        match fault {
            Fault::Reset => counts.reset += 1,
            Fault::Closed => counts.closed += 1,
            Fault::Violation => counts.violations += 1,
            _ => {}
        }
        let (connection, number) = (self.number, self.expectation.messages());
        shared.record.problem(|| Problem {
            offset: (in_flight > 0).then_some(offset),
            ..Problem::new(fault, connection, (in_flight > 0).then_some(number), text())
        });
        self.count_finished(shared);
        self.leave(shared, true);
    }

    /// It will not send what it has not sent. With a rate, what was due is counted when sending is
    /// over.
    fn count_unsent(&self, shared: &mut Shared) {
        if let (Some(messages), false, None) =
            (shared.plan.messages, shared.is_stopping, &shared.pace)
        {
            shared.record.counts.unsent += messages - self.sent;
        }
    }

    /// The run does not wait for it any more.
    fn count_finished(&mut self, shared: &mut Shared) {
        if !std::mem::replace(&mut self.is_finished, true) {
            shared.unfinished -= 1;
        }
    }

    /// What is in flight is lost: it counts, with the time that it has waited.
    fn count_unanswered(&mut self, shared: &mut Shared) {
        let now = shared.clock.now();
        let record = &mut shared.record;
        self.stamps.drain(|left, count| {
            record.counts.lost += u64::from(count);
            record.latency(now.saturating_sub(left), u64::from(count));
        });
        let connection = self.number;
        self.expectation
            .give_up(|_| true, |missing| record.lost(connection, missing, now));
    }

    /// Missing messages whose time is over are lost.
    fn expire_missing(&mut self, shared: &mut Shared, now: Nanoseconds) {
        let (record, connection) = (&mut shared.record, self.number);
        let timeout = nanoseconds(shared.plan.reply_timeout);
        let mut some = false;
        self.expectation.give_up(
            |missing| now.saturating_sub(missing.left) > timeout,
            |missing| {
                some = true;
                record.lost(connection, missing, now);
            },
        );
        if some {
            self.check_finished(shared);
        }
    }

    /// The server's end did not end cleanly after ours.
    pub fn blame_unclosed(&mut self, shared: &mut Shared, text: impl FnOnce() -> String) {
        if !shared.is_interrupted {
            shared.record.counts.unclosed += 1;
            self.note(shared, Fault::Unclosed, text());
        }
    }

    /// The run was stopped: do not wait for a server that has been silent for longer than this.
    pub fn expire_stopped(&mut self, shared: &mut Shared, now: Nanoseconds, longest: Nanoseconds) {
        let since = match self.stage {
            Stage::Open => self.stamps.oldest().unwrap_or(0).max(self.progress),
            Stage::Closing => self.progress,
            _ => return,
        };
        let is_waiting =
            self.stage == Stage::Closing || self.outstanding() > 0 || self.is_writing();
        if is_waiting && now.saturating_sub(since) > longest {
            self.abandon(shared);
        }
    }

    /// Look whether a deadline has passed.
    pub fn expire(&mut self, shared: &mut Shared, now: Nanoseconds) {
        let waited = now.saturating_sub(self.progress);
        let timeout = nanoseconds(shared.plan.reply_timeout);
        match self.stage {
            Stage::Connecting | Stage::Securing | Stage::Shaking
                if waited > nanoseconds(shared.plan.connect_timeout) =>
            {
                self.refuse(shared, || {
                    format!("not open after {:.1} s", seconds(waited))
                });
            }
            Stage::Waiting
                if self.progress > 0 && waited > nanoseconds(shared.plan.connect_timeout) =>
            {
                self.refuse(shared, || {
                    format!("the backlog stayed full for {:.1} s", seconds(waited))
                });
            }
            Stage::Open if Self::has_datagrams(shared) => self.expire_datagrams(shared, now),
            Stage::Open => {
                self.expire_missing(shared, now);
                let is_one_way = shared.plan.reply == Reply::None;
                if is_one_way && self.is_writing() && waited > timeout {
                    shared.record.counts.lost += 1;
                    return self.lose(shared, Fault::Lost, || {
                        format!("the server takes nothing for {:.1} s", seconds(waited))
                    });
                }
                let Some(oldest) = self.stamps.oldest() else {
                    return;
                };
                let waited = now.saturating_sub(oldest.max(self.progress));
                if waited > timeout {
                    self.lose(shared, Fault::Lost, || {
                        format!("no echo for {:.1} s", seconds(waited))
                    });
                }
            }
            Stage::Closing if waited > nanoseconds(shared.plan.close_timeout) => {
                let (is_answered, is_websocket) = (self.is_answered, self.decoder.is_some());
                self.blame_unclosed(shared, || {
                    let what = match (is_answered, is_websocket) {
                        (true, _) => "answered the close frame, but did not end the connection",
                        (false, true) => "did not answer the close frame",
                        (false, false) => "did not end the connection",
                    };
                    format!(
                        "the server {what} within {:.1} s after our end",
                        seconds(waited)
                    )
                });
                self.leave(shared, false);
            }
            _ => {}
        }
        if self.stage == Stage::Leaving {
            self.close_when_idle(shared);
        }
    }

    /// The run is over: say so to the server and wait for its end. What still waits to be sent or
    /// to come back is abandoned without blame: somebody stopped the run.
    pub fn finish(&mut self, shared: &mut Shared) {
        match self.stage {
            Stage::Open if Self::has_datagrams(shared) => self.end_datagrams(shared),
            Stage::Open if self.outstanding() == 0 => {
                self.stage = Stage::Closing;
                self.progress = shared.clock.now();
                if self.decoder.is_some() {
                    websocket::append_close(&mut self.pending, Code::NORMAL, &mut self.random);
                    self.mark_dirty(shared);
                } else if let Some(tls) = &mut self.tls {
                    tls.end();
                    self.mark_dirty(shared);
                } else {
                    shared.port.shutdown(self.socket);
                }
            }
            Stage::Leaving | Stage::Ended => {}
            Stage::Waiting if self.progress == 0 => self.stage = Stage::Ended,
            _ => self.abandon(shared),
        }
    }

    /// Give the connection up without counting anything as lost.
    pub fn abandon(&mut self, shared: &mut Shared) {
        match self.stage {
            Stage::Leaving | Stage::Ended => return,
            Stage::Waiting if self.progress == 0 => {
                self.stage = Stage::Ended;
                return;
            }
            _ if self.is_opening() => shared.opening -= 1,
            _ => {}
        }
        if self.was_opened {
            self.count_finished(shared);
        }
        shared.record.counts.abandoned += self.outstanding();
        self.is_finished = true;
        self.leave(shared, true);
        self.close_when_idle(shared);
    }

    /// Close as soon as no operation is outstanding.
    pub fn leave(&mut self, shared: &mut Shared, reset: bool) {
        let token = self.token();
        self.stage = Stage::Leaving;
        self.is_reset = reset;
        self.stamps.drain(|_, _| {});
        let held = self.expectation.take_held() as u64;
        if held > 0 && self.in_flight() == 0 {
            shared.record.counts.extra_bytes += held;
            let text = format!("at its end came {held} bytes that answer nothing");
            self.note(shared, Fault::Extra, text);
        }
        self.pending = Vec::new();
        self.pending_start = 0;
        self.handshake = None;
        if self.is_connecting {
            shared.port.cancel_connect(token);
        }
        if self.is_receiving {
            shared.port.cancel_receive(token);
        }
        if self.is_sending {
            shared.port.cancel_send(token);
        }
    }

    /// Close, if nothing is outstanding.
    pub fn close_when_idle(&mut self, shared: &mut Shared) {
        if self.is_connecting || self.is_receiving || self.is_sending {
            return;
        }
        if self.socket >= 0 {
            if self.waiting.take().is_some() {
                let token = self.token();
                shared.port.unwatch_datagrams(self.socket, token);
            }
            shared.port.close(self.socket, self.is_reset);
            self.socket = -1;
        }
        self.decoder = None;
        self.compression = None;
        self.tls = None;
        self.answers = None;
        self.arrivals = None;
        self.stage = Stage::Ended;
        shared.alive -= 1;
    }
}
