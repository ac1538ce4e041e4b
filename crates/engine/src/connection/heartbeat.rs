//! The heartbeat of a WebSocket end that does not read what waits.
//!
//! The peer's pings come after its unread bytes, so they are answered only when these bytes have
//! been read. That the kernel acknowledges a ping does not show that this program still works: the
//! kernel of a process that hangs acknowledges it too, and a proxy does so even if its client is
//! gone. So while unread bytes wait, this end sends an unsolicited pong each half second (RFC 6455
//! 5.5.3). Our own ends accept any byte as the answer to a ping. An end that reads a little from
//! time to time, but is always late, sends these pongs too. While bytes wait to be sent, no pongs
//! are sent, because the peer does not read either.

use super::{Connection, State};
use crate::host::Host;
use crate::options::Framing;
use std::rc::Rc;
use vespiary_port::Unread;
use vespiary_wire::websocket::frame::Opcode;

/// How often a WebSocket end that does not read what waits shows that it lives: in time for a peer
/// whose pings must be answered within a second.
pub(super) const HEARTBEAT_MILLISECONDS: u64 = 500;

/// When the kernel is asked again after it held no bytes.
const AGAIN_MILLISECONDS: u64 = 100;

impl<H: Host> Connection<H> {
    /// Reading stops: send the heartbeat that is due if it has stopped before, shortly ago.
    pub(super) fn note_behind(self: &Rc<Self>) {
        let age = self.heartbeat_age();
        if age >= 2 * HEARTBEAT_MILLISECONDS {
            self.set_heartbeat(0);
        } else if age >= HEARTBEAT_MILLISECONDS && self.may_send_heartbeat() {
            // The kernel is asked, which costs two system calls, and reading may stop for each
            // message.
            self.send_heartbeat_when_due(self.unread());
        }
    }

    /// Send a heartbeat if the latest is long ago, and bytes wait that nothing has received. A peer
    /// that has finished sending needs none.
    pub(super) fn send_heartbeat_when_due(self: &Rc<Self>, unread: Unread) {
        let is_due = self.heartbeat_age() >= HEARTBEAT_MILLISECONDS;
        if !is_due || unread.is_ended {
            return;
        }
        if !self.is_behind(unread) {
            self.set_heartbeat(HEARTBEAT_MILLISECONDS - AGAIN_MILLISECONDS);
            return;
        }
        self.set_heartbeat(0);
        if self.may_send_heartbeat() {
            self.send_control(Opcode::Pong, b"");
        }
    }

    fn may_send_heartbeat(&self) -> bool {
        let websocket = self.endpoint().options.borrow().framing == Framing::WebSocket;
        websocket && self.state() == State::Open && self.queued_bytes() == 0
    }

    /// The milliseconds since the latest heartbeat, or since reading first stopped.
    fn heartbeat_age(&self) -> u64 {
        let latest = self.traffic.heartbeat.get();
        if latest == 0 {
            return u64::MAX;
        }
        low_bits(self.engine.now_ms()).wrapping_sub(latest).into()
    }

    /// The latest heartbeat counts as so many milliseconds old.
    fn set_heartbeat(&self, age: u64) {
        let latest = self.engine.now_ms().saturating_sub(age);
        self.traffic.heartbeat.set(low_bits(latest));
    }
}

/// A moment in half the room; the difference of two is right for 49 days.
fn low_bits(milliseconds: u64) -> u32 {
    (milliseconds & u64::from(u32::MAX)) as u32
}
