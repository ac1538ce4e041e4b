//! How full a write queue is, and whether that stops reading.
//!
//! A peer that does not read what it is sent is not read either, until the queue has fallen. A
//! sender that fills the queue again at once, before anything could be received, must not be deaf
//! for that: between two pauses the connection receives at least once.

/// How full the queue is. It is above the high mark from `write_high_bytes` on, until it has fallen
/// to `write_low_bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fullness {
    /// There is room.
    Low,
    /// There is room again, and nothing was received since.
    Fallen,
    /// It is above the high mark again, and nothing was received in between: reading continues.
    Risen,
    /// It is above the high mark.
    High,
    /// It has been at `write_bytes_max`, and that was reported.
    Full,
}

impl Fullness {
    pub(crate) fn is_above_high(self) -> bool {
        self >= Self::Risen
    }

    /// Whether nothing is read until the queue has fallen.
    pub(crate) fn stops_reading(self) -> bool {
        self >= Self::High
    }

    /// Whether something is to be received before reading may stop.
    pub(crate) fn owes_reading(self) -> bool {
        matches!(self, Self::Fallen | Self::Risen)
    }

    /// More than `write_high_bytes` wait.
    pub(crate) fn rise(self) -> Self {
        match self {
            Self::Low => Self::High,
            Self::Fallen => Self::Risen,
            other => other,
        }
    }

    /// What is received next is being handled: what is sent from now on counts.
    pub(crate) fn receive(self) -> Self {
        match self {
            Self::Fallen => Self::Low,
            other => other,
        }
    }

    /// What was received next has been handled, or was answered so that the queue grew further.
    pub(crate) fn received(self) -> Self {
        match self {
            Self::Risen => Self::High,
            other => other,
        }
    }
}
