//! A connection that this end does not read, and how its end is noticed nevertheless.
//!
//! While this end does not read (the host has paused reading, or the peer does not read), the
//! socket is checked each second, or each half second for a WebSocket. This check notices the FIN
//! or the reset. If the socket holds bytes, the time does not count for the peer's deadlines,
//! because this end makes the peer wait. If it holds none, the peer is silent, and the time counts.
//! Pings are sent at each interval, no matter whether bytes wait. Their answers are not read: the
//! acknowledgements by the peer's kernel show that the peer is still there. So no message must be
//! read and stored to find the answers. This end shows that it is still there by its
//! [`super::heartbeat`].
//!
//! If the FIN comes after a few unread bytes, these bytes are the last messages. So they are read,
//! even if the host's queues are full ([`Host::YIELDING`]), and the end is reported at once after
//! them. After more than [`HELD_MAX`] unread bytes, the FIN is noticed only when enough of them
//! have been read, because small messages need much more memory in a queue. If the bytes are not
//! read even then, because the program has paused reading or the peer does not read either, the FIN
//! is not noticed until they are read, unless the host only waits for the end. When the peer is
//! gone altogether, its kernel answers the next ping, or the kernel's own probe on a connection
//! without pings, with a reset. A close frame behind unread bytes cannot be seen.
//!
//! A connection whose peer has finished sending, while this end has more to say (a stream, or an
//! HTTP request that is not answered yet), is checked in the same way: no receive is outstanding
//! that would report a reset.

use super::deadlines::{LOOK_MILLISECONDS, Which};
use super::heartbeat::HEARTBEAT_MILLISECONDS;
use super::{Connection, Event};
use crate::close::{Cause, CloseReason};
use crate::engine::{Engine, broken_by_kernel};
use crate::host::Host;
use crate::options::{Framing, Options};
use crate::receive::HELD_MAX;
use crate::settle::LEFT_EARLY;
use std::rc::Rc;
use vespiary_port::Unread;
use vespiary_trace::requires;

/// When a connection that is not read is checked next.
pub(super) fn consider_look<H: Host>(
    connection: &Connection<H>,
    options: &Options,
    consider: &mut impl FnMut(u64, Option<u64>, Which),
) {
    let held_since = connection.moments.held_since.get();
    if held_since != 0 {
        let length = match options.framing {
            Framing::WebSocket => HEARTBEAT_MILLISECONDS,
            _ => LOOK_MILLISECONDS,
        };
        consider(held_since, Some(length), Which::Look);
    }
}

impl<H: Host> Connection<H> {
    /// This end stops reading, or continues.
    pub(crate) fn note_held(self: &Rc<Self>, is_held: bool) {
        self.account_for_held(true);
        self.moments
            .held_since
            .set(if is_held { self.engine.now_ms() } else { 0 });
        self.enter(if is_held { Event::Pause } else { Event::Resume });
        if is_held {
            let pinged = self.moments.pinged.get().max(self.moments.heard.get());
            self.moments.pinged.set(pinged);
            self.note_behind();
            self.engine.arm(self);
        }
    }

    /// The time since this end was last seen not to read counts for the peer, or, when it is
    /// `excused`, for none of the deadlines of what the peer must send. A ping's answer is not
    /// among them: the peer's kernel gives it.
    fn account_for_held(&self, excused: bool) {
        let now = self.engine.now_ms();
        let since = self.moments.held_since.replace(now);
        let moments = [
            &self.moments.heard,
            &self.moments.data_heard,
            &self.moments.message_began,
        ];
        for moment in moments {
            if excused && since != 0 && moment.get() != 0 {
                moment.set((moment.get() + (now - since)).min(now));
            }
        }
    }

    /// Whether bytes wait that nothing has received.
    pub(super) fn is_behind(self: &Rc<Self>, unread: Unread) -> bool {
        unread.bytes > 0 || self.has_held_input()
    }

    /// Whether the last bytes of a WebSocket that was reset are read: the kernel still has them,
    /// and a close frame among them shows that they are all.
    fn reads_the_last(self: &Rc<Self>, unread: Unread) -> bool {
        let websocket = self.endpoint().options.borrow().framing == Framing::WebSocket;
        websocket
            && self.is_open()
            && self.is_behind(unread)
            && is_little(self, unread)
            && self.enter(Event::PeerFinished)
            && !self.is_held_back()
    }
}

impl<H: Host> Engine<H> {
    /// Look at a socket that is not read: whether it has ended, and whether it holds bytes.
    pub(super) fn look(self: &Rc<Self>, connection: &Rc<Connection<H>>) {
        let unread = connection.unread();
        let has_bytes = connection.is_behind(unread);
        connection.account_for_held(has_bytes);
        connection.send_heartbeat_when_due(unread);
        if unread.broken.is_some() && connection.reads_the_last(unread) {
            connection.unsettle();
        } else if let Some(errno) = unread.broken {
            requires!("rfc6455/7.2.1/2");
            connection.end_with(broken_by_kernel("receiving", errno));
            connection.enter(Event::Break);
            connection.unsettle();
        } else if connection.life.get().has_peer_ended() {
            if unread.is_gone {
                connection.end_with(if connection.is_open() {
                    CloseReason::new(Cause::PeerClosed, "")
                } else {
                    CloseReason::new(Cause::PeerVanished, LEFT_EARLY)
                });
                connection.enter(Event::Break);
                connection.unsettle();
            } else if self.host.awaits_only_end(connection) {
                connection.close_after_peer();
            }
        } else if unread.is_ended && !has_bytes {
            self.peer_ended(connection);
        } else if unread.is_ended {
            if is_little(connection, unread) && connection.enter(Event::PeerFinished) {
                connection.unsettle();
            }
            if connection.is_held_back() && self.host.awaits_only_end(connection) {
                connection.close_unread();
            }
        }
    }
}

/// Whether so little waits that it is taken although the host's queues are full.
fn is_little<H: Host>(connection: &Rc<Connection<H>>, unread: Unread) -> bool {
    unread.bytes + connection.held_input_bytes() <= HELD_MAX
}
