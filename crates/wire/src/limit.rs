//! The limits that a protocol's reader may reach.

/// A limit of a reader; which value it has, the reader's caller says.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Limit {
    /// Bytes of one message.
    MessageBytes,
    /// Bytes of one WebSocket frame.
    FrameBytes,
    /// Frames of one WebSocket message.
    Fragments,
    /// Bytes of one HTTP head.
    HeaderBytes,
    /// Fields of one HTTP head.
    Headers,
}
