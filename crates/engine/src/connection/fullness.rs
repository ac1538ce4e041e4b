//! How full a write queue is.

/// How full the queue is. From every other state it returns to [`Fullness::Low`] when the queue has
/// fallen to `write_low_bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fullness {
    /// There is room.
    Low,
    /// It has been above `write_high_bytes`.
    High,
    /// It has been at `write_bytes_max`, and that was reported.
    Full,
}
