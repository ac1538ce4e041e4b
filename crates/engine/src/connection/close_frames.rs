//! The close frames of a WebSocket (RFC 6455 section 5.5.1).

/// Which close frames have passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseFrames {
    /// None.
    None,
    /// Ours.
    Sent,
    /// The peer's.
    Received,
    /// Both.
    Both,
    /// Ours, and the peer's is not awaited, since the peer broke a rule.
    NotAwaited,
}

impl CloseFrames {
    pub(crate) fn is_sent(self) -> bool {
        matches!(self, Self::Sent | Self::Both | Self::NotAwaited)
    }

    /// Whether input no longer matters.
    #[inline]
    pub(crate) fn is_received(self) -> bool {
        self as u8 >= Self::Received as u8
    }

    pub(crate) fn after_sent(self) -> Self {
        match self {
            Self::None => Self::Sent,
            Self::Received => Self::Both,
            other => other,
        }
    }

    pub(crate) fn after_received(self) -> Self {
        match self {
            Self::None => Self::Received,
            Self::Sent => Self::Both,
            other => other,
        }
    }
}
