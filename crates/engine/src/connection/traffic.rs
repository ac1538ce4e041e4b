//! Counters of a connection: bytes and messages.

use std::cell::Cell;

/// Counts of a connection.
#[derive(Default)]
pub(crate) struct Traffic {
    pub(crate) bytes_in: Cell<u64>,
    pub(crate) bytes_out: Cell<u64>,
    pub(crate) messages_in: Cell<u64>,
    pub(crate) messages_out: Cell<u64>,
    /// Messages dropped by the policy for slow consumers.
    pub(crate) dropped: Cell<u32>,
    /// When the latest heartbeat went out, or reading first stopped; see [`super::heartbeat`]. The
    /// low bits of the milliseconds of the engine's clock; 0 before that.
    pub(crate) heartbeat: Cell<u32>,
}
