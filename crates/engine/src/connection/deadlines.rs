//! Deadlines: one timer per connection, set to the earliest of those that apply.
//!
//! On the hot path, only the moments are stored from which deadlines count. The timer is moved only
//! when an earlier deadline appears. When it fires, the deadlines that are due are handled; if none
//! is due, the timer is set again. So a busy connection uses the timer wheel a few times per
//! minute, no matter how many messages it has.
//!
//! **Before a peer counts as late, the bytes that the kernel holds are read.** If the peer's
//! deadline is due and the socket holds bytes, the deadline is postponed until some of these bytes
//! were received. It is postponed only once, so a peer cannot avoid it by sending all the time. How
//! long this takes depends on this end alone (for example, on when a receive buffer is free), so it
//! has no limit; the socket is checked again each millisecond. Delays of this process do not count
//! either: see [`crate::clock`].
//!
//! **Progress means that the peer's kernel has acknowledged bytes.** A peer that reads slowly, but
//! keeps reading, meets the write deadline. It also meets the deadline of a ping as long as the
//! bytes before this ping are not acknowledged. It must read [`PROGRESS_BYTES_MIN`] bytes per
//! deadline, so that a peer cannot keep a connection by reading single bytes. Asking the kernel
//! costs a system call. So it is asked only halfway to the deadline and at the deadline, and not at
//! all if the kernel takes the bytes at once.
//!
//! **A silent WebSocket peer** gets a ping at each interval, even if earlier pings were not
//! answered, so that routers and proxies keep the connection. The timeout counts from the first
//! unanswered ping. Any byte from the peer counts as the answer to all pings. While bytes wait for
//! a peer that does not read, the write deadline applies, and not that of the ping after these
//! bytes. But the peer's kernel must acknowledge something within the timeout of the ping: it does
//! so even if it has no room for more bytes.
//!
//! Deadlines are absolute: single bytes extend neither that of the handshake nor that of a message.
//!
//! The deadlines of a closing connection are in [`super::closing`]. What this end does while it
//! does not read is in [`super::held`].

use super::closing;
use super::held::consider_look;
use crate::close::{Cause, CloseReason, Manner, Side};
use crate::connection::{CloseFrames, Connection, State};
use crate::engine::{Due, Engine};
use crate::host::Host;
use crate::limit::Limit;
use crate::options::{Framing, Options};
use std::rc::Rc;
use std::time::Duration;
use vespiary_port::{Delivery, Unread};
use vespiary_trace::requires;
use vespiary_wire::websocket::close::Code;
use vespiary_wire::websocket::frame::Opcode;

/// How often a socket is checked that is not read, or whose peer has not acknowledged the last
/// bytes before a close.
pub(super) const LOOK_MILLISECONDS: u64 = 1_000;
/// How many bytes a peer must read to meet a write deadline: less than a TCP segment, but more than
/// a peer that reads single bytes to keep the connection.
const PROGRESS_BYTES_MIN: u64 = 512;

/// A deadline that is not judged before the bytes that the socket holds have been read.
#[derive(Clone, Copy)]
pub(crate) struct Postponed {
    /// How many bytes had been received when it was last postponed.
    received: u64,
    /// When it was first postponed, in milliseconds.
    since: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Handshake,
    KeepAlive,
    FirstByte,
    Message,
    Idle,
    DatagramIdle,
    Data,
    Write,
    Acknowledged,
    Close,
    Ping,
    Pong,
    Look,
}

impl Which {
    /// Whether it is for bytes that the peer owes.
    fn is_for_input(self) -> bool {
        !matches!(
            self,
            Self::Write | Self::Acknowledged | Self::Ping | Self::Look
        )
    }
}

fn earliest<H: Host>(connection: &Connection<H>, options: &Options) -> Option<(u64, Which)> {
    let deadlines = &options.deadlines;
    let began = connection.moments.phase_began.get();
    let mut found: Option<(u64, Which)> = None;
    let mut consider = |from: u64, length: Option<u64>, which: Which| {
        if let Some(length) = length {
            let due = from.saturating_add(length);
            if found.is_none_or(|(earliest, _)| due < earliest) {
                found = Some((due, which));
            }
        }
    };
    match connection.state() {
        State::BetweenRequests => consider(began, deadlines.keep_alive, Which::KeepAlive),
        State::Connecting | State::Securing | State::Handshaking => {
            let length = deadlines.handshake;
            let length = length.filter(|_| !connection.awaits_application());
            consider(began, length, Which::Handshake);
            consider_look(connection, options, &mut consider);
        }
        State::Responding => {
            // The rest of the request's body.
            let began = connection.moments.message_began.get();
            let length = deadlines.handshake.filter(|_| began != 0);
            consider(began, length, Which::Handshake);
            consider_look(connection, options, &mut consider);
        }
        State::Open => consider_open(connection, options, &mut consider),
        State::Closing => closing::consider(connection, options, &mut consider),
        State::Closed => return None,
    }
    // What waits for a handshake, the peer cannot read.
    let is_ahead = connection.is_upgrading() && !connection.carrier.is_sending();
    if connection.moments.write_began.get() != 0 && !is_ahead {
        let is_first_look = connection.moments.write_mark.get() == 0;
        let (length, _) = write_deadline(connection, options);
        let length = length.map(|length| if is_first_look { length / 2 } else { length });
        consider(connection.moments.write_began.get(), length, Which::Write);
    }
    found
}

/// The time within which a peer must read more, and the limit that sets it.
fn write_deadline<H: Host>(connection: &Connection<H>, options: &Options) -> (Option<u64>, Limit) {
    if connection.state() == State::Closing {
        return closing::write_deadline(connection, options);
    }
    (options.deadlines.write, Limit::WriteSeconds)
}

fn consider_open<H: Host>(
    connection: &Connection<H>,
    options: &Options,
    consider: &mut impl FnMut(u64, Option<u64>, Which),
) {
    let deadlines = &options.deadlines;
    let websocket = options.framing == Framing::WebSocket;
    if connection.traffic.bytes_in.get() == 0 && !websocket {
        let began = connection.moments.phase_began.get();
        consider(began, deadlines.first_byte, Which::FirstByte);
    }
    if let Some(began) = connection.upgrading_since() {
        consider(began, deadlines.handshake, Which::Handshake);
    }
    let message_began = connection.moments.message_began.get();
    if message_began != 0 {
        consider(message_began, deadlines.message, Which::Message);
    }
    let heard = connection.moments.heard.get();
    consider(heard, deadlines.idle, Which::Idle);
    if connection.carrier.is_peer() {
        consider(heard, deadlines.datagram_idle, Which::DatagramIdle);
    }
    let data_heard = connection.moments.data_heard.get().max(message_began);
    consider(data_heard, deadlines.data, Which::Data);
    if websocket {
        let pinged = connection.moments.pinged.get();
        let is_held = connection.moments.held_since.get() != 0;
        // What is heard of a peer that is not read says nothing about it.
        let latest = if is_held { pinged } else { heard.max(pinged) };
        consider(latest, deadlines.ping_interval, Which::Ping);
        let unanswered = connection.moments.ping_unanswered.get();
        if unanswered != 0 {
            consider(unanswered, deadlines.ping_timeout, Which::Pong);
        }
    }
    consider_look(connection, options, consider);
}

impl<H: Host> Connection<H> {
    /// Whether the close frames of both ends have passed.
    pub(crate) fn have_both_closed(&self) -> bool {
        self.close_frames.get() == CloseFrames::Both
    }

    /// What the socket holds that nothing has received.
    pub fn unread(&self) -> Unread {
        self.carrier.unread(&**self.engine.port.borrow())
    }

    /// How far what was sent has come.
    pub fn delivery(&self) -> Delivery {
        self.carrier.delivery(&**self.engine.port.borrow())
    }

    /// Bytes that the peer has taken, as far as can be seen.
    pub(super) fn acknowledged(&self, delivery: Delivery) -> u64 {
        delivery
            .acknowledged
            .unwrap_or_else(|| self.traffic.bytes_out.get())
    }
}

impl<H: Host> Engine<H> {
    /// Set the connection's timer, unless it fires early enough already.
    pub(crate) fn arm(&self, connection: &Connection<H>) {
        let options = connection.endpoint().options.borrow();
        let Some((due, _)) = earliest(connection, &options) else {
            return;
        };
        // A postponed deadline is overdue, and is checked again after a while: a turn
        // that cannot change it must not be followed by another at once.
        let due = due.max(self.now_ms() + 1);
        if connection.moments.timer.get().is_some() && connection.moments.timer_due.get() <= due {
            return;
        }
        let mut wheel = self.wheel.borrow_mut();
        if let Some(key) = connection.moments.timer.take() {
            wheel.cancel(key);
        }
        connection.moments.timer_due.set(due);
        let key = wheel.insert(self.clock.port_time(due), Due::token(connection.token));
        connection.moments.timer.set(Some(key));
    }

    /// Bytes begin to wait for the kernel.
    #[inline]
    pub(crate) fn begin_write(&self, connection: &Connection<H>) {
        let now = self.now_ms();
        connection.moments.write_began.set(now);
        connection.moments.write_mark.set(0);
        let options = connection.endpoint().options.borrow();
        let (Some(length), _) = write_deadline(connection, &options) else {
            return;
        };
        drop(options);
        if connection.moments.timer.get().is_none()
            || connection.moments.timer_due.get() > now + length / 2
        {
            self.arm(connection);
        }
    }

    /// The connection's timer fired.
    pub(crate) fn deadline_due(self: &Rc<Self>, connection: &Rc<Connection<H>>) {
        if let Some(key) = connection.moments.timer.take() {
            // One that was set again in this batch, after the wheel gave this one out.
            self.wheel.borrow_mut().cancel(key);
        }
        let options = connection.endpoint().options();
        let now = self.now_ms();
        // Each action moves or ends what was due, so this ends; the bound is against a mistake.
        for _ in 0..8 {
            match earliest(connection, &options) {
                Some((due, which)) if due <= now => {
                    if which.is_for_input() && self.must_read_first(connection, due) {
                        break;
                    }
                    self.act(connection, which, &options);
                }
                _ => break,
            }
            if connection.is_over() {
                return;
            }
        }
        self.arm(connection);
    }

    /// Whether the socket holds bytes that must be read before the peer is judged by the deadline
    /// that was `due`.
    fn must_read_first(&self, connection: &Rc<Connection<H>>, due: u64) -> bool {
        let is_read = !connection.is_held_back()
            && !connection.life.get().has_peer_ended()
            && !connection.is_end_pending()
            && !connection.holds_enough();
        let token = connection.token;
        let received = connection.traffic.bytes_in.get();
        let mut postponed = self.postponed.borrow_mut();
        // What was postponed for an earlier deadline says nothing about this one.
        let before = postponed
            .remove(&token)
            .filter(|before| due <= before.since);
        let is_over = before.is_some_and(|before| before.received != received);
        if !is_read || is_over || connection.unread().bytes == 0 {
            return false;
        }
        let since = before.map_or_else(|| self.now_ms(), |before| before.since);
        postponed.insert(token, Postponed { received, since });
        true
    }

    fn act(self: &Rc<Self>, connection: &Rc<Connection<H>>, which: Which, options: &Options) {
        let now = self.now_ms();
        match which {
            Which::Look => self.look(connection),
            Which::Message | Which::Idle | Which::Data | Which::FirstByte
                if (1..now).contains(&connection.moments.held_since.get()) =>
            {
                self.look(connection);
            }
            Which::Ping => self.ping(connection),
            Which::Pong => self.judge_pong(connection, options),
            Which::Write => self.judge_write(connection, options),
            Which::Handshake if connection.state() == State::Closing => {
                closing::end_unsecured(connection, options);
            }
            Which::Handshake => {
                self.missed(connection, Limit::HandshakeSeconds);
                connection.handshake_too_late();
            }
            // The peer still reads an HTTP answer: the write deadline applies.
            Which::KeepAlive
                if connection.queued_bytes() > 0 && options.deadlines.write.is_some() =>
            {
                connection.moments.phase_began.set(now);
            }
            Which::KeepAlive => {
                connection.end_between_requests(Side::Local);
            }
            Which::FirstByte => self.expire(connection, Limit::FirstByteSeconds, options),
            Which::Message => self.expire(connection, Limit::MessageSeconds, options),
            Which::Idle => self.expire(connection, Limit::IdleSeconds, options),
            Which::Data => self.expire(connection, Limit::DataSeconds, options),
            Which::DatagramIdle => forget(connection, options),
            Which::Acknowledged => drop(self.look_for_acknowledgement(connection)),
            Which::Close => closing::end_unanswered(connection, options),
        }
    }

    fn ping(&self, connection: &Rc<Connection<H>>) {
        let now = self.now_ms();
        connection.moments.pinged.set(now);
        if connection.moments.ping_unanswered.get() != 0 {
            if connection.queued_bytes() > 0 {
                // That one still waits to be sent, or bytes behind it: another asks for nothing
                // more, and pings to a peer that reads nothing would pile up.
                return;
            }
        } else {
            connection.moments.ping_unanswered.set(now);
            let delivery = connection.delivery();
            connection
                .moments
                .ping_mark
                .set(connection.acknowledged(delivery));
        }
        requires!("rfc6455/5.5.2/4");
        connection.send_control(Opcode::Ping, b"");
    }

    fn judge_pong(&self, connection: &Rc<Connection<H>>, options: &Options) {
        let delivery = connection.delivery();
        let acknowledged = connection.acknowledged(delivery);
        let has_progressed = acknowledged > connection.moments.ping_mark.get();
        let is_unreachable = !has_progressed
            && options
                .deadlines
                .ping_timeout
                .is_some_and(|length| u64::from(delivery.unanswered_milliseconds) >= length);
        let is_judged_by_write = connection.moments.write_began.get() != 0
            && options.deadlines.write.is_some()
            && !is_unreachable;
        if connection.moments.held_since.get() != 0 && has_progressed && delivery.outstanding == 0 {
            // The peer's kernel has the ping; its answer waits to be read, or may.
            connection.moments.ping_unanswered.set(0);
        } else if is_judged_by_write || has_progressed && delivery.outstanding > 0 {
            connection.moments.ping_unanswered.set(self.now_ms());
            connection.moments.ping_mark.set(acknowledged);
        } else {
            self.end_unread(connection, Limit::PingTimeoutSeconds, options);
        }
    }

    fn judge_write(&self, connection: &Rc<Connection<H>>, options: &Options) {
        let is_written = connection.state() == State::Closing && connection.queued_bytes() == 0;
        let mark = connection.moments.write_mark.get();
        if is_written && self.look_for_acknowledgement(connection) {
            return;
        }
        let (length, limit) = write_deadline(connection, options);
        // 0 is not a mark.
        let acknowledged = connection.acknowledged(connection.delivery()) + 1;
        connection.moments.write_mark.set(acknowledged);
        if mark == 0 {
            // The second look comes half a deadline later, however late this one is: it does not
            // see what the peer has taken until now.
            let half = length.unwrap_or(0) / 2;
            let began = connection.moments.write_began.get();
            let latest = self.now_ms().saturating_sub(half);
            connection.moments.write_began.set(began.max(latest));
            return;
        }
        if acknowledged.saturating_sub(mark) >= PROGRESS_BYTES_MIN {
            connection.moments.write_began.set(self.now_ms());
        } else if is_written {
            let reason = unread(limit, options);
            connection.end_undelivered(reason.clone());
            closing::end_behind_kernel(connection, limit, reason);
        } else {
            self.end_unread(connection, limit, options);
        }
    }

    pub(super) fn missed(&self, connection: &Rc<Connection<H>>, limit: Limit) {
        connection.endpoint().limit_reached(&self.host, limit);
    }

    /// End a connection whose peer still reads: it gets a close frame, or a reset where the framing
    /// has none, since a FIN would look like a regular end.
    fn expire(&self, connection: &Rc<Connection<H>>, limit: Limit, options: &Options) {
        self.missed(connection, limit);
        let text = format!("the peer was too slow: {}", reached(limit, options));
        let reason = CloseReason::new(Cause::Limit(limit), text).with_code(Code::POLICY);
        requires!("rfc6455/7.4.1/h4");
        connection.end_with(reason);
        if options.framing == Framing::WebSocket {
            connection.begin_closing(Some((Code::POLICY, limit.close_text())));
        } else {
            connection.abort_now();
        }
    }

    /// End a connection whose peer does not read or is gone.
    fn end_unread(&self, connection: &Rc<Connection<H>>, limit: Limit, options: &Options) {
        self.missed(connection, limit);
        connection.end_undelivered(unread(limit, options));
        requires!("rfc6455/7.1.1/2", "rfc6455/7.1.7/4");
        connection.abort_now();
    }
}

/// Forget a peer of datagrams. It cannot say that it leaves, so this is how its connection ends in
/// the usual case: cleanly.
fn forget<H: Host>(connection: &Rc<Connection<H>>, options: &Options) {
    let limit = Limit::DatagramIdleSeconds;
    connection.endpoint().count_limit(limit);
    let text = format!("the peer was silent: {}", reached(limit, options));
    let mut reason = CloseReason::new(Cause::Limit(limit), text);
    reason.manner = Manner::Closed;
    connection.end_with(reason);
    connection.begin_closing(None);
}

fn unread(limit: Limit, options: &Options) -> CloseReason {
    let what = reached(limit, options);
    let text = format!("the peer did not answer or read: {what}");
    CloseReason::new(Cause::Limit(limit), text)
}

/// A limit and its value, in seconds where it is a deadline.
pub(super) fn reached(limit: Limit, options: &Options) -> String {
    let value = options.value_of(limit);
    if limit.is_deadline() {
        let seconds = Duration::from_millis(value).as_secs_f64();
        format!("{limit} is {seconds}")
    } else {
        format!("{limit} is {value}")
    }
}
