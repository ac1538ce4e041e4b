//! The options of an endpoint at its start: framing, limits, deadlines, the policy for slow
//! consumers.
//!
//! Values arrive here checked; the defaults and their reasons are in the Python classes `Limits`
//! and `Deadlines`. [`Options::unlimited`] has none of them.

use crate::limit::Limit;
use crate::proxies::Proxies;
use vespiary_port::Address;
use vespiary_trace::requires;
use vespiary_wire::framing::length::Format;
use vespiary_wire::http::{self, ForwardedField};
use vespiary_wire::websocket::decoder;
use vespiary_wire::websocket::deflate;
use vespiary_wire::websocket::frame::Kind;
use vespiary_wire::websocket::handshake::OriginPattern;
use vespiary_wire::websocket::profile::Version;

/// How bytes become messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Each piece of the stream as it arrives.
    Raw,
    /// Lines; what is sent gets this ending.
    Line {
        /// Appended to each message sent: LF or CR LF. Either is understood.
        ending: &'static [u8],
    },
    /// A length, then so many bytes.
    Length(Format),
    /// HTTP/1.1 upgrade, then WebSocket messages.
    WebSocket,
    /// HTTP/1.1 requests answered by the host; no upgrade.
    Http,
    /// Each datagram of a peer, with which there is a connection although it knows nothing of it.
    Datagram,
}

impl Framing {
    /// Whether a connection begins with an HTTP head.
    pub fn begins_with_http(&self) -> bool {
        matches!(self, Self::WebSocket | Self::Http)
    }
}

/// What happens to a message for a peer whose write queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowConsumer {
    /// The sender is informed that the queue is full; nothing is lost.
    Wait,
    /// The oldest messages that wait make room.
    DropOldest,
    /// The new message is dropped.
    DropNewest,
    /// The connection is reset.
    Disconnect,
}

/// Bounds of an endpoint. `None` means no bound.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections, handshakes included.
    pub connections_max: Option<u32>,
    /// Open connections from one IP address.
    pub connections_per_address_max: Option<u32>,
    /// Connections accepted a second.
    pub accepts_per_second_max: Option<u32>,
    /// Connections whose handshake is in progress.
    pub handshakes_pending_max: Option<u32>,
    /// Bytes of a message.
    pub message_bytes_max: u64,
    /// Bytes of a WebSocket frame.
    pub frame_bytes_max: u64,
    /// Frames of a WebSocket message.
    pub fragments_max: u32,
    /// Bytes of an HTTP head.
    pub header_bytes_max: usize,
    /// Fields of an HTTP head.
    pub headers_max: usize,
    /// Bytes of the body of an HTTP request.
    pub body_bytes_max: usize,
    /// HTTP requests answered on one connection.
    pub requests_per_connection_max: Option<u32>,
    /// Topics that a connection may be subscribed to. `None`: no limit.
    pub topics_per_connection_max: Option<u32>,
    /// Subscriptions of all connections of the endpoint.
    pub subscriptions_max: Option<u32>,
    /// Bytes of a topic's name.
    pub topic_bytes_max: usize,
    /// Reading pauses while more bytes than this wait to be written.
    pub write_high_bytes: usize,
    /// Reading continues when no more bytes than this wait.
    pub write_low_bytes: usize,
    /// The most bytes that may wait; then [`SlowConsumer`] decides.
    pub write_bytes_max: usize,
    /// Bytes of a datagram that is received.
    pub datagram_bytes_max: usize,
    /// Datagrams whose handling, by a task of the host, is in progress. The host counts them.
    pub datagrams_pending_max: usize,
}

impl Limits {
    /// The bounds the frame decoder wants.
    pub fn decoder(&self) -> decoder::Limits {
        decoder::Limits {
            frame_bytes_max: self.frame_bytes_max,
            message_bytes_max: self.message_bytes_max,
            fragments_max: self.fragments_max,
        }
    }

    /// The bounds the head parser wants.
    pub fn head(&self) -> http::Limits {
        http::Limits {
            header_bytes_max: self.header_bytes_max,
            headers_max: self.headers_max,
        }
    }
}

/// Absolute deadlines in milliseconds. `None` means never.
#[derive(Clone, Debug)]
pub struct Deadlines {
    /// From accept (or connect) to the end of the handshake.
    pub handshake: Option<u64>,
    /// From an HTTP answer to the next request's first byte.
    pub keep_alive: Option<u64>,
    /// From accept to the first byte, where there is no handshake.
    pub first_byte: Option<u64>,
    /// From a message's first byte to its last.
    pub message: Option<u64>,
    /// Without a byte from the peer.
    pub idle: Option<u64>,
    /// Without a message from the peer.
    pub data: Option<u64>,
    /// Without a datagram from the peer of a pseudo-connection, which then is forgotten.
    pub datagram_idle: Option<u64>,
    /// While bytes wait to be sent, without progress of the peer's.
    pub write: Option<u64>,
    /// From our close to the peer's.
    pub close: Option<u64>,
    /// Silence after which a ping is sent (WebSocket).
    pub ping_interval: Option<u64>,
    /// From the first unanswered ping to any byte of the peer's (WebSocket).
    pub ping_timeout: Option<u64>,
    /// Silence on TCP after which the kernel asks the peer's kernel whether it is still there; see
    /// [`vespiary_port::Port::keep_alive`].
    pub tcp_keepalive: Option<u64>,
}

/// How messages are compressed (permessage-deflate, RFC 7692).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// What this endpoint would have at most, in each direction.
    pub settings: deflate::Settings,
    /// 1 (fast) to 9 (small); 0 stores.
    pub level: u8,
    /// 1 (little memory) to 9 (fast).
    pub memory_level: u8,
    /// Messages of fewer bytes are not compressed, unless that is asked for.
    pub threshold_bytes: usize,
}

/// Which kinds of messages an endpoint accepts; the others are refused with 1003.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Messages {
    /// Text and binary.
    #[default]
    Any,
    /// Text only.
    Text,
    /// Binary only.
    Binary,
}

impl Messages {
    /// The kind that is refused, if one is.
    #[inline]
    pub fn refused(self) -> Option<Kind> {
        match self {
            Self::Any => None,
            Self::Text => Some(Kind::Binary),
            Self::Binary => Some(Kind::Text),
        }
    }
}

/// What is WebSocket's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocketOptions {
    /// Which kinds of messages are accepted.
    pub messages: Messages,
    /// The versions of the protocol that are used, the best first.
    pub versions: Vec<Version>,
    /// Whether the extension `deflate-stream` of version 8 is granted, or asked for.
    pub deflate_stream: bool,
    /// The origins whose pages may connect (to a server); `None`: all.
    pub origins: Option<Vec<OriginPattern>>,
    /// Whether a request without `Origin`, which no browser sends, is refused.
    pub origin_required: bool,
    /// The subprotocols that a server supports, the preferred one first. One of them is chosen if
    /// the host's answer does not choose one.
    pub subprotocols: Vec<String>,
    /// Further header lines of each response that opens a WebSocket (a server's).
    pub headers: Vec<(String, String)>,
    /// How messages are compressed; `None` is not at all.
    pub compression: Option<Compression>,
}

impl Default for WebSocketOptions {
    fn default() -> Self {
        Self {
            messages: Messages::Any,
            versions: vec![Version::Rfc6455],
            deflate_stream: false,
            origins: None,
            origin_required: false,
            subprotocols: Vec::new(),
            headers: Vec::new(),
            compression: None,
        }
    }
}

impl WebSocketOptions {
    /// Whether a page of this origin, or a client without one, may connect.
    pub fn allows_origin(&self, origin: Option<&str>) -> bool {
        let Some(origin) = origin else {
            // Browsers always send `Origin` (RFC 6455 4.2.1), so this is not a page.
            return requires!("rfc6455/4.2.1/2" => !self.origin_required);
        };
        let Some(patterns) = &self.origins else {
            return true;
        };
        patterns.iter().any(|it| it.matches(origin))
    }

    /// The version that a client asks for: it may name one only (RFC 6455 4.1).
    pub fn asked_version(&self) -> Version {
        self.versions.first().copied().unwrap_or_default()
    }

    /// Whether a client offers `deflate-stream`, which belongs to version 8 alone.
    pub fn offers_deflate_stream(&self) -> bool {
        self.deflate_stream && self.asked_version() == Version::Hybi09
    }

    /// The first of our subprotocols that the client speaks too.
    pub fn choose_subprotocol(&self, offered: &[String]) -> Option<&str> {
        let ours = self.subprotocols.iter();
        ours.map(String::as_str)
            .find(|ours| offered.iter().any(|theirs| theirs == ours))
    }
}

/// All options of an endpoint.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches that have nothing to do with each other"
)]
pub struct Options {
    /// How bytes become messages.
    pub framing: Framing,
    /// The bounds.
    pub limits: Limits,
    /// The deadlines.
    pub deadlines: Deadlines,
    /// What happens to messages for a peer that does not read.
    pub slow_consumer: SlowConsumer,
    /// What is WebSocket's own.
    pub websocket: WebSocketOptions,
    /// Whether messages are handed over in parts as they arrive.
    pub parts: bool,
    /// Whether the host is asked at a request's head, and gets the body as it comes.
    pub streams_requests: bool,
    /// Whether an application answers requests, which may take any time for it.
    pub hosts_application: bool,
    /// Which proxies name their client with the PROXY protocol.
    pub proxies: Proxies,
    /// Which proxies name their client in each request, and in which header field.
    pub forwarders: Option<(Proxies, ForwardedField)>,
    /// Whether the endpoint's connections are under TLS.
    pub secure: bool,
    /// Whether the host's filters stand between the socket and the framing.
    pub filtered: bool,
    /// Whether reading continues while the write queue is above its mark: for a client that sends
    /// without having received anything. If both ends stopped reading until the other one reads,
    /// neither would read again.
    pub reads_when_crowded: bool,
}

impl Options {
    /// Options of a framing without any limit or deadline.
    pub fn unlimited(framing: Framing) -> Self {
        Self {
            framing,
            limits: Limits {
                connections_max: None,
                connections_per_address_max: None,
                accepts_per_second_max: None,
                handshakes_pending_max: None,
                message_bytes_max: u64::MAX,
                frame_bytes_max: u64::MAX,
                fragments_max: u32::MAX,
                header_bytes_max: usize::MAX,
                headers_max: usize::MAX,
                body_bytes_max: usize::MAX,
                requests_per_connection_max: None,
                topics_per_connection_max: None,
                subscriptions_max: None,
                topic_bytes_max: usize::MAX,
                write_high_bytes: usize::MAX,
                write_low_bytes: usize::MAX,
                write_bytes_max: usize::MAX,
                datagram_bytes_max: 1 << 16,
                datagrams_pending_max: usize::MAX,
            },
            deadlines: Deadlines {
                handshake: None,
                keep_alive: None,
                first_byte: None,
                message: None,
                idle: None,
                data: None,
                datagram_idle: None,
                tcp_keepalive: None,
                write: None,
                close: None,
                ping_interval: None,
                ping_timeout: None,
            },
            slow_consumer: SlowConsumer::Wait,
            websocket: WebSocketOptions::default(),
            parts: false,
            streams_requests: false,
            hosts_application: false,
            proxies: Proxies::default(),
            forwarders: None,
            secure: false,
            filtered: false,
            reads_when_crowded: false,
        }
    }

    /// Whether a connection from this address is a proxy's, for another peer.
    pub(crate) fn may_be_proxy(&self, peer: &Address) -> bool {
        let forwards = |(proxies, _): &(Proxies, _)| proxies.include(peer);
        self.proxies.include(peer) || self.forwarders.as_ref().is_some_and(forwards)
    }

    /// The value of a limit or deadline: a count, bytes, or milliseconds.
    pub(crate) fn value_of(&self, limit: Limit) -> u64 {
        limit.value(&self.limits, &self.deadlines)
    }
}
