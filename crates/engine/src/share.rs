//! How connections are spread over the processes that accept on the same sockets.
//!
//! The kernel gives a new connection to the process that asks first, which is the one with the
//! least to do at that moment, or, on a socket with a queue for each process (`SO_REUSEPORT`), to
//! one by chance. Connections live long, so what was decided in a moment stays. Therefore each
//! process says in shared memory how many connections it has, and one that has clearly more than
//! the one with the fewest **stands back**: it accepts nothing for a moment, and then looks again.
//! The process with the fewest connections never stands back, so at least one process always
//! accepts. If this process is too busy to accept, another one takes a waiting connection: after
//! two checks at which the connection waited and no process accepted anything.

use vespiary_port::Descriptor;

/// How long a listener stands back before it looks again, in milliseconds: much shorter than a
/// handshake over a network, and long enough that looking costs nothing.
pub(crate) const LOOK_MILLISECONDS: u64 = 10;

/// Where this process stands among those that accept on the same sockets.
pub trait Share {
    /// It has one connection more.
    fn entered(&self);
    /// It has one connection less.
    fn left(&self);
    /// Whether it has clearly more connections than another process that accepts.
    fn is_ahead(&self) -> bool;
    /// How many connections all processes have accepted.
    fn accepted(&self) -> u64;
    /// Whether a connection waits on this socket to be accepted.
    fn is_awaited(&self, listener: Descriptor) -> bool;
}

/// What a listener that stands back has seen.
#[derive(Clone, Copy, Default)]
pub(crate) struct Look {
    accepted: u64,
    is_awaited: bool,
}

impl Look {
    /// What is there now, for the next look.
    pub(crate) fn at(share: &dyn Share, listener: Descriptor) -> Self {
        Self {
            accepted: share.accepted(),
            is_awaited: share.is_awaited(listener),
        }
    }

    /// Whether a connection has waited since the look before, and nobody has accepted any.
    pub(crate) fn is_in_vain(self, before: Self) -> bool {
        self.is_awaited && before.is_awaited && self.accepted == before.accepted
    }
}
