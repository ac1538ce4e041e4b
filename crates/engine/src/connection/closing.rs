//! The deadlines of a connection that closes, which ends in two phases.
//!
//! **First everything goes out**: what was queued before the close, then our close frame or our
//! FIN. A slow reader may take as long as it likes, provided that it continues reading: the write
//! deadline governs this phase. Where there is no write deadline, the close deadline takes its
//! place, so that a peer that has stopped reading does not hold a closing connection. The same is
//! true of a peer that has sent its own close frame, if the close deadline is shorter. The phase
//! ends when the peer's kernel has acknowledged the last byte. No event reports that, so while
//! `write_began` is set the socket is checked every second, or every quarter of the close deadline
//! if that is shorter. A peer that answers within that time costs no check.
//!
//! **Then the peer owes its end**: its close frame, and its FIN. The close deadline counts from the
//! latest moment at which bytes were known to be in flight.
//!
//! While the handshake of a layer is in progress that was started before the close, the handshake's
//! deadline governs the first phase, because what is queued cannot leave yet.
//!
//! What the kernel has taken is never destroyed with a reset at either deadline. The kernel
//! continues sending it after the descriptor is closed.

use super::deadlines::{LOOK_MILLISECONDS, Which, reached};
use super::{Connection, Event};
use crate::close::{Cause, CloseReason};
use crate::engine::Engine;
use crate::host::Host;
use crate::limit::Limit;
use crate::options::Options;
use std::rc::Rc;
use vespiary_trace::requires;

/// How long a client waits for the server's FIN once both close frames have passed. The server
/// closes first (RFC 6455 7.1.1), and its FIN is a round trip away.
const FIN_MILLISECONDS_MAX: u64 = 1_000;

/// The deadlines of a connection that closes, besides that of writing.
pub(super) fn consider<H: Host>(
    connection: &Connection<H>,
    options: &Options,
    consider: &mut impl FnMut(u64, Option<u64>, Which),
) {
    if let Some(began) = connection.upgrading_since()
        && options.deadlines.handshake.is_some()
    {
        return consider(began, options.deadlines.handshake, Which::Handshake);
    }
    let Some(mut length) = options.deadlines.close else {
        return;
    };
    if connection.queued_bytes() > 0 {
        return;
    }
    if connection.have_both_closed() {
        length = length.min(FIN_MILLISECONDS_MAX);
    }
    let began = connection.moments.phase_began.get();
    consider(began, Some(length), Which::Close);
    if connection.moments.write_began.get() != 0 {
        let pause = (length / 4).clamp(1, LOOK_MILLISECONDS);
        consider(began, Some(pause), Which::Acknowledged);
    }
}

/// The time within which the peer must read more of what was queued before the close, and the limit
/// that sets it. The close deadline applies where there is no write deadline, or where it is the
/// shorter one and the peer has sent its own close frame, since that peer expects nothing more.
pub(super) fn write_deadline<H: Host>(
    connection: &Connection<H>,
    options: &Options,
) -> (Option<u64>, Limit) {
    let (write, close) = (options.deadlines.write, options.deadlines.close);
    let is_done = connection.close_frames.get().is_received();
    match (write, close) {
        (None, close) => (close, Limit::CloseSeconds),
        (Some(write), Some(close)) if is_done && close < write => {
            (Some(close), Limit::CloseSeconds)
        }
        (write, _) => (write, Limit::WriteSeconds),
    }
}

/// Break a connection whose bytes have all been given to the kernel, without a reset: a slow peer
/// may still read them. For a peer that has answered the close no limit is reported.
pub(super) fn end_behind_kernel<H: Host>(
    connection: &Rc<Connection<H>>,
    limit: Limit,
    reason: CloseReason,
) {
    if !connection.have_both_closed() {
        connection.engine.missed(connection, limit);
        connection.end_with(reason);
    }
    requires!("rfc6455/7.1.1/4", "rfc6455/5.5.1/10");
    connection.enter(Event::Break);
    connection.unsettle();
}

/// The peer has not ended its side in time.
pub(super) fn end_unanswered<H: Host>(connection: &Rc<Connection<H>>, options: &Options) {
    let limit = Limit::CloseSeconds;
    let what = reached(limit, options);
    let text = format!("the peer did not answer the close: {what}");
    end_behind_kernel(
        connection,
        limit,
        CloseReason::new(Cause::Limit(limit), text),
    );
}

/// The handshake was not over in time that was to come before the end.
pub(super) fn end_unsecured<H: Host>(connection: &Rc<Connection<H>>, options: &Options) {
    let limit = Limit::HandshakeSeconds;
    connection.engine.missed(connection, limit);
    let text = format!("the handshake took too long: {}", reached(limit, options));
    connection.end_undelivered(CloseReason::new(Cause::Limit(limit), text));
    connection.abort_now();
}

impl<H: Host> Connection<H> {
    /// The kernel has taken the last byte of a connection that closes; the peer's kernel has not
    /// acknowledged it yet.
    pub(crate) fn all_is_written(&self) {
        self.moments.phase_began.set(self.engine.now_ms());
        self.engine.arm(self);
    }
}

impl<H: Host> Engine<H> {
    /// Whether the peer's kernel has acknowledged everything. The close deadline does not begin
    /// before that.
    pub(super) fn look_for_acknowledgement(&self, connection: &Rc<Connection<H>>) -> bool {
        let delivery = connection.delivery();
        let moments = &connection.moments;
        let is_first_look = moments.write_mark.get() == 0;
        if delivery.outstanding == 0 {
            moments.write_began.set(0);
            if !is_first_look {
                moments.phase_began.set(self.now_ms());
            }
            return true;
        }
        if is_first_look {
            moments
                .write_mark
                .set(connection.acknowledged(delivery) + 1);
        }
        moments.phase_began.set(self.now_ms());
        false
    }
}
