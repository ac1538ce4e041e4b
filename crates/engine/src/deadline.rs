//! Deadlines: one timer a connection, set to the earliest of those that apply.
//!
//! The moments that deadlines count from are plain stores on the hot path; the timer is only moved
//! when an earlier deadline appears. When it fires, what is due is acted upon, and otherwise it is
//! set anew. So a busy connection touches the timer wheel a few times a minute, whatever its
//! message rate.
//!
//! A silent WebSocket peer is pinged, and again after each further interval, as often as
//! [`Limits::pings_unanswered_max`] allows; the last of these pings is the one whose answer is
//! waited for. Any byte of the peer answers them all: it shows what a pong would.
//!
//! Deadlines are absolute: bytes that trickle in extend neither the handshake's nor a message's,
//! and a reader that takes a byte at a time does not extend the write deadline, which asks that all
//! bytes waiting at one moment have gone by the deadline counted from that moment.

use crate::close::{Cause, CloseReason, Side};
use crate::connection::{Connection, State};
use crate::engine::{Due, Engine};
use crate::host::Host;
use crate::limit::Limit;
use crate::options::{Framing, Options};
use crate::requests;
use std::rc::Rc;
use std::time::Duration;
use vespiary_trace::requires;
use vespiary_wire::websocket::close::Code;
use vespiary_wire::websocket::frame::Opcode;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Handshake,
    KeepAlive,
    FirstByte,
    Message,
    Idle,
    Write,
    Close,
    Ping,
    Pong,
}

fn earliest<H: Host>(connection: &Connection<H>, options: &Options) -> Option<(u64, Which)> {
    let deadlines = &options.deadlines;
    let websocket = options.framing == Framing::WebSocket;
    let began = connection.phase_began.get();
    let mut found: Option<(u64, Which)> = None;
    let mut consider = |from: u64, length: Option<u64>, which: Which| {
        if let Some(length) = length {
            let due = from.saturating_add(length);
            if found.is_none_or(|(earliest, _)| due < earliest) {
                found = Some((due, which));
            }
        }
    };
    match connection.state.get() {
        State::Handshaking if connection.message_began.get() != 0 => {
            consider(began, deadlines.keep_alive, Which::KeepAlive);
        }
        State::Connecting | State::Handshaking => {
            consider(began, deadlines.handshake, Which::Handshake);
        }
        State::Open => {
            if connection.bytes_in.get() == 0 && !websocket {
                consider(began, deadlines.first_byte, Which::FirstByte);
            }
            if connection.message_began.get() != 0 {
                consider(
                    connection.message_began.get(),
                    deadlines.message,
                    Which::Message,
                );
            }
            consider(connection.heard.get(), deadlines.idle, Which::Idle);
            let pinged = connection.pinged.get();
            match connection.pings_unanswered.get() {
                _ if !websocket => {}
                0 => consider(connection.heard.get(), deadlines.ping_interval, Which::Ping),
                count if count < options.limits.pings_unanswered_max => {
                    consider(pinged, deadlines.ping_interval, Which::Ping);
                }
                _ => consider(pinged, deadlines.ping_timeout, Which::Pong),
            }
        }
        State::Closing => consider(began, deadlines.close, Which::Close),
        State::Closed => return None,
    }
    if connection.write_began.get() != 0 {
        consider(connection.write_began.get(), deadlines.write, Which::Write);
    }
    found
}

impl<H: Host> Connection<H> {
    /// This end stops reading, or goes on.
    pub(crate) fn note_held(&self, is_held: bool) {
        self.discount_held();
        self.held_since.set(if is_held {
            self.engine.now_ms().max(1)
        } else {
            0
        });
    }

    /// The time in which this end did not read counts for none of the deadlines of what the peer
    /// owes us.
    fn discount_held(&self) {
        let now = self.engine.now_ms();
        let since = self.held_since.replace(now.max(1));
        for moment in [&self.heard, &self.pinged, &self.message_began] {
            if since != 0 && moment.get() != 0 {
                moment.set((moment.get() + (now - since)).min(now));
            }
        }
    }
}

impl<H: Host> Engine<H> {
    /// The port's clock at the latest turn, in nanoseconds.
    pub fn now(&self) -> u64 {
        self.port.borrow().now()
    }

    /// Set the connection's timer, unless it fires early enough already.
    pub(crate) fn arm(&self, connection: &Connection<H>) {
        let options = connection.endpoint.options.borrow();
        let Some((due, _)) = earliest(connection, &options) else {
            return;
        };
        if connection.timer.get().is_some() && connection.timer_due.get() <= due {
            return;
        }
        let mut wheel = self.wheel.borrow_mut();
        if let Some(key) = connection.timer.take() {
            wheel.cancel(key);
        }
        connection.timer_due.set(due);
        let key = wheel.insert(
            due.saturating_mul(1_000_000),
            Due::Connection(connection.token),
        );
        connection.timer.set(Some(key));
    }

    /// Bytes begin to wait for the kernel.
    #[inline]
    pub(crate) fn begin_write(&self, connection: &Connection<H>) {
        let now = self.now_ms();
        connection.write_began.set(now.max(1));
        let queued = connection.outbound.borrow().queued() as u64;
        connection
            .write_mark
            .set(connection.bytes_out.get() + queued);
        let Some(length) = connection.endpoint.options.borrow().deadlines.write else {
            return;
        };
        if connection.timer.get().is_none() || connection.timer_due.get() > now + length {
            self.arm(connection);
        }
    }

    /// The connection's timer fired.
    pub(crate) fn deadline_due(self: &Rc<Self>, connection: &Rc<Connection<H>>) {
        if let Some(key) = connection.timer.take() {
            // One that was set anew in this batch, after the wheel gave this one out.
            self.wheel.borrow_mut().cancel(key);
        }
        let options = connection.endpoint.options();
        let now = self.now_ms();
        // Each action moves or ends what was due, so this ends; the bound is against a mistake.
        for _ in 0..8 {
            match earliest(connection, &options) {
                Some((due, which)) if due <= now => self.act(connection, which, &options),
                _ => break,
            }
            if connection.abort.get() {
                return;
            }
        }
        self.arm(connection);
    }

    fn act(self: &Rc<Self>, connection: &Rc<Connection<H>>, which: Which, options: &Options) {
        let deadlines = &options.deadlines;
        let now = self.now_ms();
        match which {
            Which::Message | Which::Idle | Which::Ping | Which::Pong
                if (1..now).contains(&connection.held_since.get()) =>
            {
                connection.discount_held();
            }
            Which::Ping => {
                let unanswered = &connection.pings_unanswered;
                unanswered.set(unanswered.get().saturating_add(1));
                connection.pinged.set(now);
                if requires!("rfc6455/5.5.2/4") {
                    connection.send_control(Opcode::Ping, b"");
                }
            }
            Which::Write if connection.bytes_out.get() >= connection.write_mark.get() => {
                if connection.queued_bytes() == 0 {
                    connection.write_began.set(0);
                } else {
                    self.begin_write(connection);
                }
            }
            Which::Handshake => {
                self.missed(connection, Limit::HandshakeSeconds);
                requests::too_late(connection);
            }
            // The peer still reads an HTTP answer, which is the write deadline's business.
            Which::KeepAlive | Which::Close
                if connection.queued_bytes() > 0
                    && !connection.opened.get()
                    && deadlines.write.is_some() =>
            {
                connection.phase_began.set(now);
            }
            Which::KeepAlive => {
                if let Some(status) = requests::is_between_requests(connection) {
                    requests::end_between_requests(connection, Side::Local, status);
                }
            }
            Which::FirstByte => self.expire(connection, Limit::FirstByteSeconds, options),
            Which::Message => self.expire(connection, Limit::MessageSeconds, options),
            Which::Idle => self.expire(connection, Limit::IdleSeconds, options),
            Which::Pong if options.limits.pings_unanswered_max > 1 => {
                self.unread(connection, Limit::PingsUnanswered, options);
            }
            // Where one ping is all, its own deadline was reached.
            Which::Pong => self.unread(connection, Limit::PingTimeoutSeconds, options),
            Which::Write => self.unread(connection, Limit::WriteSeconds, options),
            Which::Close => {
                self.missed(connection, Limit::CloseSeconds);
                // What the kernel has taken is not destroyed with a reset: a slow peer may still
                // read it.
                if connection.queued_bytes() > 0 {
                    connection.reset.set(true);
                }
                connection
                    .abort
                    .set(requires!("rfc6455/7.1.1/4", "rfc6455/5.5.1/10"));
                connection.unsettle();
            }
        }
    }

    fn missed(&self, connection: &Rc<Connection<H>>, limit: Limit) {
        connection.endpoint.limit_reached(&self.host, limit);
    }

    /// End a connection whose peer still reads: it gets a close frame.
    fn expire(&self, connection: &Rc<Connection<H>>, limit: Limit, options: &Options) {
        self.missed(connection, limit);
        let text = format!("the peer was too slow: {}", reached(limit, options));
        let reason = CloseReason::new(Cause::Limit(limit), text).with_code(Code::POLICY);
        if requires!("rfc6455/7.4.1/h4") {
            connection.end_with(reason);
            connection.begin_closing(Some((Code::POLICY, limit.name())));
        }
    }

    /// End a connection whose peer does not read or is gone.
    fn unread(&self, connection: &Rc<Connection<H>>, limit: Limit, options: &Options) {
        self.missed(connection, limit);
        let what = reached(limit, options);
        let text = format!("the peer did not answer or read: {what}");
        let reason = CloseReason::new(Cause::Limit(limit), text).with_code(Code::ABNORMAL);
        connection.end_with(reason);
        if requires!("rfc6455/7.1.1/2", "rfc6455/7.1.7/4") {
            connection.abort_now();
        }
    }
}

/// A limit and its value, in seconds where it is a deadline.
fn reached(limit: Limit, options: &Options) -> String {
    let value = options.value_of(limit);
    if limit.is_deadline() {
        let seconds = Duration::from_millis(value).as_secs_f64();
        format!("{limit} is {seconds}")
    } else {
        format!("{limit} is {value}")
    }
}
