//! Why a connection ended: the cause, who ended it, whether cleanly, and what happened in a
//! sentence.

use crate::limit::Limit;
use std::fmt;
use vespiary_port::Errno;
use vespiary_wire::websocket::close::Code;

/// Who ended the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This end.
    Local,
    /// The peer.
    Remote,
}

/// In what manner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Cleanly.
    Closed,
    /// By an error, a deadline or a broken rule.
    Broken,
}

/// What ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// This end closed it.
    Closed,
    /// The peer closed it.
    PeerClosed,
    /// The peer closed it with a code that reports a failure.
    PeerFailed,
    /// An HTTP request was answered, and the connection closed behind the answer.
    Answered,
    /// The host aborted it.
    Aborted,
    /// The host's handler failed.
    HandlerFailed,
    /// One of the host's filters failed.
    FilterFailed,
    /// A limit or a deadline was reached.
    Limit(Limit),
    /// The peer broke a rule of the protocol.
    ProtocolError,
    /// The peer sent a kind of message that this endpoint does not take.
    MessageRefused,
    /// TLS failed: the handshake, a certificate, a record.
    TlsFailed,
    /// Memory for a message could not be allocated.
    OutOfMemory,
    /// This end refused the peer's HTTP request.
    RequestRefused,
    /// This end's own HTTP request cannot be written.
    RequestInvalid,
    /// The server answered this end's handshake with something other than 101.
    HandshakeRefused,
    /// A client's proxy refused the way to the server.
    ProxyRefused,
    /// The peer ended the stream where it may not: within the handshake or a message, or without
    /// a close frame.
    PeerVanished,
    /// The connection ended before the peer had taken all that was sent to it.
    BytesLost,
    /// The kernel reported an error.
    Kernel(Errno),
}

impl Cause {
    /// Its name, as programs see it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::PeerClosed => "peer_closed",
            Self::PeerFailed => "peer_failed",
            Self::Answered => "answered",
            Self::Aborted => "aborted",
            Self::HandlerFailed => "handler_failed",
            Self::FilterFailed => "filter_failed",
            Self::Limit(_) => "limit",
            Self::ProtocolError => "protocol_error",
            Self::MessageRefused => "message_refused",
            Self::TlsFailed => "tls_failed",
            Self::OutOfMemory => "out_of_memory",
            Self::RequestRefused => "request_refused",
            Self::RequestInvalid => "request_invalid",
            Self::HandshakeRefused => "handshake_refused",
            Self::ProxyRefused => "proxy_refused",
            Self::PeerVanished => "peer_vanished",
            Self::BytesLost => "bytes_lost",
            Self::Kernel(_) => "kernel",
        }
    }

    fn side(self) -> Side {
        match self {
            Self::PeerClosed
            | Self::PeerFailed
            | Self::HandshakeRefused
            | Self::ProxyRefused
            | Self::PeerVanished
            | Self::BytesLost
            | Self::Kernel(_) => Side::Remote,
            _ => Side::Local,
        }
    }

    fn manner(self) -> Manner {
        match self {
            Self::Closed | Self::PeerClosed | Self::Answered => Manner::Closed,
            _ => Manner::Broken,
        }
    }
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseReason {
    /// What ended it.
    pub cause: Cause,
    /// Who ended it.
    pub side: Side,
    /// In what manner.
    pub manner: Manner,
    /// The WebSocket close code, where there is one.
    pub code: Option<u16>,
    /// What happened, in a sentence; the peer's own words for its close frame.
    pub text: String,
    /// The HTTP status, where a handshake was refused with one.
    pub status: Option<u16>,
    /// The header fields of that refusal.
    pub headers: Vec<(String, String)>,
    /// The start of that refusal's body.
    pub body: Vec<u8>,
}

impl CloseReason {
    /// A reason without a close code, by whom and in the manner that belong to its cause.
    pub fn new(cause: Cause, text: impl Into<String>) -> Self {
        Self {
            cause,
            side: cause.side(),
            manner: cause.manner(),
            code: None,
            text: text.into(),
            status: None,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// The same, ended by this side.
    #[must_use]
    pub fn by(mut self, side: Side) -> Self {
        self.side = side;
        self
    }

    /// The close that this is the reason of came to nothing because of `other`.
    pub(crate) fn close_failed(&mut self, other: Self) {
        let sent = match (self.code, &self.text[..]) {
            (None, "") => "the close".to_owned(),
            (None, text) => format!("the close ({text})"),
            (Some(code), "") => format!("the close with {code}"),
            (Some(code), text) => format!("the close with {code} ({text})"),
        };
        let code = self.code.map(|_| Code::ABNORMAL.0);
        let text = format!("{sent} was not acknowledged: {}", other.text);
        *self = Self {
            code,
            text,
            ..other
        };
    }

    /// Add how many bytes were not sent, if any.
    pub(crate) fn note_lost(&mut self, bytes: usize) {
        if bytes > 0 {
            let separator = if self.text.is_empty() { "" } else { "; " };
            let lost = format!("{separator}{bytes} bytes sent to the peer were lost");
            self.text.push_str(&lost);
        }
    }

    /// The same with a close code.
    #[must_use]
    pub fn with_code(mut self, code: Code) -> Self {
        self.code = Some(code.0);
        self
    }

    /// The same with a refusal's header fields.
    #[must_use]
    pub fn with_headers(mut self, headers: Vec<(String, String)>) -> Self {
        self.headers = headers;
        self
    }

    /// The same with an HTTP status.
    #[must_use]
    pub fn with_status(mut self, status: Option<u16>) -> Self {
        self.status = status;
        self
    }

    /// The errno, where the kernel reported one or memory was short.
    pub fn errno(&self) -> Option<Errno> {
        match self.cause {
            Cause::Kernel(errno) => Some(errno),
            Cause::OutOfMemory => Some(Errno::OUT_OF_MEMORY),
            _ => None,
        }
    }
}

pub(crate) fn out_of_memory() -> CloseReason {
    let text = "there was no memory for the message";
    CloseReason::new(Cause::OutOfMemory, text).with_code(Code::TOO_BIG)
}

/// A part of a file cannot be sent.
pub(crate) fn file_failed(errno: Errno) -> CloseReason {
    if errno == Errno::FILE_ENDED {
        let text = "a file became shorter while it was sent";
        return CloseReason::new(Cause::HandlerFailed, text);
    }
    CloseReason::new(
        Cause::Kernel(errno),
        format!("sending a file failed: {errno}"),
    )
}

/// A peer's text in one line: what is not printable is written as an escape.
fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\'' | '"' | '\\' => line.push(character),
            other => line.extend(other.escape_debug()),
        }
    }
    line
}

impl fmt::Display for CloseReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Local => "this end",
            Side::Remote => "the peer",
        };
        let manner = match self.manner {
            Manner::Closed => "closed",
            Manner::Broken => "broken",
        };
        write!(formatter, "{manner} by {side}")?;
        if let Some(code) = self.code {
            write!(formatter, " with {code}")?;
        }
        if !self.text.is_empty() {
            write!(formatter, ": {}", printable(&self.text))?;
        }
        Ok(())
    }
}

/// What kept a connection from being opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotOpened {
    /// A limit.
    Limit(Limit),
    /// A refusal with this HTTP status, by either end.
    Status(u16),
    /// An error of the kernel's.
    Kernel(i32),
    /// The peer ended it.
    Peer,
    /// This end gave up.
    Local,
}

impl NotOpened {
    pub(crate) fn of(reason: &CloseReason) -> Self {
        match (reason.status, reason.errno(), reason.side) {
            (Some(status), ..) => Self::Status(status),
            (None, Some(errno), _) => Self::Kernel(errno.0),
            (None, None, Side::Remote) => Self::Peer,
            (None, None, Side::Local) => Self::Local,
        }
    }
}

impl fmt::Display for NotOpened {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit(limit) => formatter.write_str(limit.name()),
            Self::Status(status) => write!(formatter, "status_{status}"),
            Self::Kernel(errno) => write!(formatter, "errno_{errno}"),
            Self::Peer => formatter.write_str("peer"),
            Self::Local => formatter.write_str("local"),
        }
    }
}
