//! A connection that is secured while it lives (STARTTLS).
//!
//! What is queued behind the start of a layer can leave only after the layer's handshake, and the
//! handshake succeeds only if the peer's part of it is read. So until then this end reads even if
//! its write queue is full or the host has paused reading: nothing of a handshake is a message.
//! What this end has asked for meanwhile, [`Connection::send_end`] or [`Connection::close`], waits
//! for the handshake as a message does.

use super::{Connection, State};
use crate::host::Host;

/// How far the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upgrade {
    /// No layer was started.
    None,
    /// The handshake of a layer that was started is in progress. No more plain bytes may come.
    Handshaking,
    /// That handshake has succeeded or failed.
    Over,
}

impl<H: Host> Connection<H> {
    /// Whether the handshake of a layer that was started is in progress.
    #[inline]
    pub(crate) fn is_upgrading(&self) -> bool {
        self.upgrade.get() == Upgrade::Handshaking
    }

    /// That handshake has succeeded: what waited for it may leave, and its deadlines count from now
    /// on.
    pub(crate) fn upgraded(&self) {
        self.upgrade.set(Upgrade::Over);
        let now = self.engine.now_ms();
        if self.moments.write_began.get() != 0 {
            self.moments.write_began.set(now);
            self.moments.write_mark.set(0);
        }
        if self.state() == State::Closing {
            self.moments.phase_began.set(now);
        }
        self.engine.arm(self);
    }
}
