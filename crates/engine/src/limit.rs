//! The limits and deadlines of an endpoint, each under the name of its option.

use crate::options::{Deadlines, Limits};
use std::fmt;
use vespiary_wire::Limit as WireLimit;

macro_rules! limits {
    ($($(#[$text:meta])* $variant:ident = $name:literal,)*) => {
        /// A limit or deadline that can be reached.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Limit { $($(#[$text])* $variant,)* }

        impl Limit {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name of its option.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

limits! {
    /// Open connections of an endpoint.
    Connections = "connections_max",
    /// Open connections from one address.
    ConnectionsPerAddress = "connections_per_address_max",
    /// New connections per second.
    AcceptsPerSecond = "accepts_per_second_max",
    /// Handshakes in progress.
    HandshakesPending = "handshakes_pending_max",
    /// Bytes of one message.
    MessageBytes = "message_bytes_max",
    /// Bytes of one WebSocket frame.
    FrameBytes = "frame_bytes_max",
    /// Frames of one WebSocket message.
    Fragments = "fragments_max",
    /// Bytes of one HTTP head.
    HeaderBytes = "header_bytes_max",
    /// Fields of one HTTP head.
    Headers = "headers_max",
    /// Bytes of the body of one HTTP request.
    BodyBytes = "body_bytes_max",
    /// Bytes that wait to be sent to one peer.
    WriteBytes = "write_bytes_max",
    /// Bytes of one datagram.
    DatagramBytes = "datagram_bytes_max",
    /// Datagrams whose handling is in progress.
    DatagramsPending = "datagrams_pending_max",
    /// Topics that one connection is subscribed to.
    TopicsPerConnection = "topics_per_connection_max",
    /// Subscriptions of all connections of an endpoint.
    Subscriptions = "subscriptions_max",
    /// Bytes of a topic's name.
    TopicBytes = "topic_bytes_max",
    /// The handshake's deadline.
    HandshakeSeconds = "handshake_seconds",
    /// The deadline of the first byte.
    FirstByteSeconds = "first_byte_seconds",
    /// The deadline of one message.
    MessageSeconds = "message_seconds",
    /// The longest silence of a peer.
    IdleSeconds = "idle_seconds",
    /// The longest time without a message of a peer.
    DataSeconds = "data_seconds",
    /// The longest silence of a peer with a pseudo-connection.
    DatagramIdleSeconds = "datagram_idle_seconds",
    /// The longest time without progress of a peer that is sent bytes.
    WriteSeconds = "write_seconds",
    /// The deadline of the answer to a close.
    CloseSeconds = "close_seconds",
    /// The deadline of the answer to a ping.
    PingTimeoutSeconds = "ping_timeout_seconds",
}

impl Limit {
    /// Whether it is a deadline.
    pub const fn is_deadline(self) -> bool {
        self as u8 >= Self::HandshakeSeconds as u8
    }

    /// The text of the close frame for a peer that missed the deadline.
    pub const fn close_text(self) -> &'static str {
        match self {
            Self::FirstByteSeconds => "nothing came in time (first_byte_seconds)",
            Self::MessageSeconds => "a message took too long to come (message_seconds)",
            Self::IdleSeconds => "nothing came for too long (idle_seconds)",
            Self::DataSeconds => "no message came for too long (data_seconds)",
            _ => self.name(),
        }
    }

    /// Its value: a count, bytes, or milliseconds. 0 where there is no limit.
    pub fn value(self, limits: &Limits, deadlines: &Deadlines) -> u64 {
        let count = |value: Option<u32>| value.map_or(0, u64::from);
        match self {
            Self::Connections => count(limits.connections_max),
            Self::ConnectionsPerAddress => count(limits.connections_per_address_max),
            Self::AcceptsPerSecond => count(limits.accepts_per_second_max),
            Self::HandshakesPending => count(limits.handshakes_pending_max),
            Self::MessageBytes => limits.message_bytes_max,
            Self::FrameBytes => limits.frame_bytes_max,
            Self::Fragments => limits.fragments_max.into(),
            Self::HeaderBytes => limits.header_bytes_max as u64,
            Self::Headers => limits.headers_max as u64,
            Self::BodyBytes => limits.body_bytes_max as u64,
            Self::WriteBytes => limits.write_bytes_max as u64,
            Self::DatagramBytes => limits.datagram_bytes_max as u64,
            Self::DatagramsPending => limits.datagrams_pending_max as u64,
            Self::TopicsPerConnection => count(limits.topics_per_connection_max),
            Self::Subscriptions => count(limits.subscriptions_max),
            Self::TopicBytes => limits.topic_bytes_max as u64,
            Self::HandshakeSeconds => deadlines.handshake.unwrap_or(0),
            Self::FirstByteSeconds => deadlines.first_byte.unwrap_or(0),
            Self::MessageSeconds => deadlines.message.unwrap_or(0),
            Self::IdleSeconds => deadlines.idle.unwrap_or(0),
            Self::DataSeconds => deadlines.data.unwrap_or(0),
            Self::DatagramIdleSeconds => deadlines.datagram_idle.unwrap_or(0),
            Self::WriteSeconds => deadlines.write.unwrap_or(0),
            Self::CloseSeconds => deadlines.close.unwrap_or(0),
            Self::PingTimeoutSeconds => deadlines.ping_timeout.unwrap_or(0),
        }
    }
}

impl From<WireLimit> for Limit {
    fn from(limit: WireLimit) -> Self {
        match limit {
            WireLimit::MessageBytes => Self::MessageBytes,
            WireLimit::FrameBytes => Self::FrameBytes,
            WireLimit::Fragments => Self::Fragments,
            WireLimit::HeaderBytes => Self::HeaderBytes,
            WireLimit::Headers => Self::Headers,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
