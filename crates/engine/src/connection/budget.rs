//! What one connection may do in one turn, so that it does not starve the others.

use std::cell::Cell;

/// What a connection has spent in the batch that it last took part in.
#[derive(Default)]
pub(crate) struct Budget {
    pub(crate) batch: Cell<u32>,
    pub(crate) frames: Cell<u16>,
    pub(crate) completions: Cell<u8>,
    /// All is spent: what else comes in this turn waits for the next.
    pub(crate) is_spent: Cell<bool>,
}
