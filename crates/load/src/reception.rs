//! What a connection receives: through TLS, if it is used, to the code that handles the bytes.

use std::collections::VecDeque;

use crate::connection::{Connection, Stage};
use crate::http::Answer;
use crate::record::{Fault, Problem};
use crate::shared::Shared;
use crate::target::Protocol;

/// From this status on, a response says that the request failed (RFC 9110 section 15).
const STATUS_OF_FAILURES: u16 = 400;

impl Connection {
    /// Take bytes from the socket.
    pub fn received(&mut self, shared: &mut Shared, bytes: &[u8]) {
        if !matches!(
            self.stage,
            Stage::Securing | Stage::Shaking | Stage::Open | Stage::Closing
        ) {
            return;
        }
        shared.record.counts.bytes_received += bytes.len() as u64;
        let Some(tls) = &mut self.tls else {
            return self.arrived(shared, bytes);
        };
        let mut plain = shared.buffer();
        let result = tls.take(bytes, &mut plain);
        let (is_handshaking, is_ended) = (tls.is_handshaking(), tls.is_ended_by_server);
        if tls.wants_write() {
            self.mark_dirty(shared);
        }
        if self.stage == Stage::Securing && !is_handshaking {
            self.begin_protocol(shared);
        }
        if !plain.is_empty() {
            self.arrived(shared, &plain);
        }
        shared.recycle(plain);
        if let Err(text) = result {
            self.fail(shared, text);
        } else if is_ended {
            self.input_ended(shared);
        }
    }

    /// Take bytes that need no further decoding.
    fn arrived(&mut self, shared: &mut Shared, bytes: &[u8]) {
        match self.stage {
            Stage::Shaking => self.shake(shared, bytes),
            Stage::Open | Stage::Closing => self.take(shared, bytes),
            _ => {}
        }
    }

    /// TLS has failed.
    pub fn fail(&mut self, shared: &mut Shared, text: String) {
        match self.stage {
            Stage::Securing | Stage::Shaking => self.refuse(shared, || text),
            Stage::Open => self.lose(shared, Fault::Violation, || text),
            Stage::Closing => {
                shared.record.counts.violations += 1;
                self.note(shared, Fault::Violation, format!("while closing: {text}"));
                self.leave(shared, true);
            }
            _ => {}
        }
    }

    /// The server sends nothing more.
    pub fn input_ended(&mut self, shared: &mut Shared) {
        let is_cut_off = self
            .tls
            .as_deref()
            .is_some_and(|tls| !tls.is_ended_by_server);
        match self.stage {
            Stage::Securing => self.refuse(shared, || {
                "the server closed the connection in the TLS handshake".into()
            }),
            Stage::Shaking => self.refuse(shared, || {
                "the server closed the connection in the handshake".into()
            }),
            Stage::Open if self.answers.is_some() => self.answers_ended(shared),
            Stage::Open => self.lose(shared, Fault::Closed, || {
                "the server closed the connection".into()
            }),
            Stage::Closing => {
                let is_stream = shared.target(self.number).protocol == Protocol::Stream;
                if self.decoder.is_some() && !self.is_answered {
                    self.blame_unclosed(shared, || {
                        "the server ended the connection without answering the close frame".into()
                    });
                } else if is_stream && is_cut_off {
                    self.blame_unclosed(shared, || {
                        "the server ended the connection without the end of TLS (close_notify)"
                            .into()
                    });
                }
                self.leave(shared, false);
            }
            _ => {}
        }
    }

    /// Take bytes of HTTP responses.
    pub fn take_answers(&mut self, shared: &mut Shared, bytes: &[u8]) {
        let Some(answers) = &mut self.answers else {
            return;
        };
        let mut done = VecDeque::new();
        let result = answers.take(bytes, &shared.head_limits, &mut done);
        let is_last = answers.is_at_last();
        self.enter(shared, &done);
        match result {
            Err(text) => self.fail(shared, text),
            Ok(()) if is_last && self.stage == Stage::Open => self.renew(shared),
            Ok(()) => {}
        }
    }

    fn answers_ended(&mut self, shared: &mut Shared) {
        let Some(answers) = &mut self.answers else {
            return;
        };
        let mut done = VecDeque::new();
        let result = answers.input_ended(&mut done);
        self.enter(shared, &done);
        match result {
            Err(text) => self.lose(shared, Fault::Closed, || text),
            // A server may close a connection that has no request (RFC 9112 section 9.5).
            Ok(()) if self.stage == Stage::Open => self.renew(shared),
            Ok(()) => {}
        }
    }

    /// Enter responses: each answers the oldest request.
    fn enter(&mut self, shared: &mut Shared, done: &VecDeque<Answer>) {
        for answer in done {
            if self.in_flight() == 0 {
                return self.fail(shared, "a response came that answers no request".into());
            }
            if answer.status >= STATUS_OF_FAILURES {
                shared.record.counts.failed += 1;
                let (connection, message) = (self.number, self.expectation.messages());
                shared.record.problem(|| {
                    let text = format!("it was answered with the status {}", answer.status);
                    Problem::new(Fault::Failed, connection, Some(message), text)
                });
            }
            self.expectation.pass(1);
            self.account(shared, 1, false);
        }
    }

    /// The server ends the connection: use another for the requests that are left.
    fn renew(&mut self, shared: &mut Shared) {
        if self.in_flight() > 0 {
            return self.lose(shared, Fault::Closed, || {
                "the server closed the connection".into()
            });
        }
        if self.is_finished {
            return self.leave(shared, false);
        }
        self.stage = Stage::Renewing;
        self.pending = Vec::new();
        self.pending_start = 0;
        if self.is_receiving {
            shared.port.cancel_receive(self.token());
        }
        if self.is_sending {
            shared.port.cancel_send(self.token());
        }
    }

    /// Close and connect again, if nothing is outstanding.
    pub fn renew_when_idle(&mut self, shared: &mut Shared) {
        if self.is_receiving || self.is_sending {
            return;
        }
        shared.port.close(self.socket, false);
        self.socket = -1;
        self.tls = None;
        self.answers = None;
        shared.opening += 1;
        self.progress = shared.clock.now();
        self.connect(shared);
    }
}
