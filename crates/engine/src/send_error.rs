//! Why a send was not taken.

/// Why a send was not taken. Nothing of the message was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The connection is not open yet.
    NotOpen,
    /// The connection is closing or closed.
    Closed,
    /// More than `write_bytes_max` would wait.
    QueueFull,
    /// The framing is lines, and the message has a line break.
    LineBreak,
    /// The length does not fit the prefix, or a datagram.
    TooLong,
    /// A message in parts is in progress, or a part was sent where the framing has none.
    OutOfTurn,
    /// This end has said that it sends nothing more.
    Ended,
    /// Its endpoint has no topics: it is a client's.
    NoTopics,
    /// It is subscribed to as many topics as `topics_per_connection_max` allows.
    TooManyTopics,
    /// The connections of its endpoint have as many subscriptions as `subscriptions_max` allows.
    TooManySubscriptions,
    /// The topic's name is longer than `topic_bytes_max`.
    TopicTooLong,
    /// A text is not a pattern of topics.
    NotAPattern,
    /// As many topics as `retained_messages_max` allows retain a message.
    TooManyRetained,
    /// The retained messages would have more than `retained_bytes_max` bytes.
    RetainedTooLarge,
    /// There is no memory for the message.
    OutOfMemory,
}
