//! How a connection ends: refused, lost, abandoned, or cleanly.

use vespiary_wire::websocket::close::Code;

use crate::clock::{Nanoseconds, nanoseconds, seconds};
use crate::connection::{Connection, Stage};
use crate::record::{Fault, Problem};
use crate::shared::Shared;
use crate::websocket;

impl Connection {
    /// The connection was not opened.
    pub fn refuse(&mut self, shared: &mut Shared, text: impl FnOnce() -> String) {
        shared.opening -= 1;
        shared.record.counts.refused += 1;
        let connection = self.number;
        shared.record.problem(|| Problem {
            fault: Fault::Refused,
            connection,
            message: None,
            offset: None,
            expected: Vec::new(),
            got: Vec::new(),
            text: text(),
        });
        self.leave(shared, true);
    }

    /// The open connection is of no more use: what is in flight is lost.
    pub fn lose(&mut self, shared: &mut Shared, fault: Fault, text: impl FnOnce() -> String) {
        let counts = &mut shared.record.counts;
        let in_flight = self.sent - self.expectation.messages();
        counts.lost += in_flight;
        if let (Some(messages), false) = (shared.plan.messages, shared.is_stopping) {
            counts.unsent += messages - self.sent;
        }
        match fault {
            Fault::Reset => counts.reset += 1,
            Fault::Closed => counts.closed += 1,
            Fault::Violation => counts.violations += 1,
            _ => {}
        }
        let (connection, expectation) = (self.number, &self.expectation);
        shared.record.problem(|| Problem {
            fault,
            connection,
            message: (in_flight > 0).then(|| expectation.messages()),
            offset: (in_flight > 0).then(|| expectation.offset()),
            expected: Vec::new(),
            got: Vec::new(),
            text: text(),
        });
        if !self.is_finished {
            self.is_finished = true;
            shared.unfinished -= 1;
        }
        self.leave(shared, true);
    }

    /// Look whether a deadline has passed.
    pub fn expire(&mut self, shared: &mut Shared, now: Nanoseconds) {
        let waited = now.saturating_sub(self.progress);
        match self.stage {
            Stage::Connecting | Stage::Shaking
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
            Stage::Open => {
                let Some(oldest) = self.stamps.oldest() else {
                    return;
                };
                let waited = now.saturating_sub(oldest.max(self.progress));
                if waited > nanoseconds(shared.plan.reply_timeout) {
                    self.lose(shared, Fault::Lost, || {
                        format!("no echo for {:.1} s", seconds(waited))
                    });
                }
            }
            Stage::Closing if waited > nanoseconds(shared.plan.close_timeout) => {
                shared.record.counts.unclosed += 1;
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
            Stage::Open if self.expectation.messages() == self.sent => {
                self.stage = Stage::Closing;
                self.progress = shared.clock.now();
                self.stamps.clear();
                if self.decoder.is_some() {
                    websocket::append_close(&mut self.pending, Code::NORMAL, &mut self.random);
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
            Stage::Waiting | Stage::Connecting | Stage::Shaking => shared.opening -= 1,
            Stage::Open if !self.is_finished => shared.unfinished -= 1,
            _ => {}
        }
        self.is_finished = true;
        self.leave(shared, true);
        self.close_when_idle(shared);
    }

    /// Close as soon as no operation is outstanding.
    pub fn leave(&mut self, shared: &mut Shared, reset: bool) {
        let token = self.token();
        self.stage = Stage::Leaving;
        self.is_reset = reset;
        self.stamps.clear();
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
            shared.port.close(self.socket, self.is_reset);
            self.socket = -1;
        }
        self.decoder = None;
        self.stage = Stage::Ended;
        shared.alive -= 1;
    }
}
