//! Why a connection ended: who ended it, in good order or not, and the story in a sentence.

use std::fmt;
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
    /// In good order.
    Closed,
    /// By an error, a deadline or a broken rule.
    Broken,
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseReason {
    /// Who ended it.
    pub side: Side,
    /// In what manner.
    pub manner: Manner,
    /// The WebSocket close code, where there is one.
    pub code: Option<u16>,
    /// What happened, in a sentence; the peer's own words for its close frame.
    pub text: String,
    /// The errno, where the kernel reported one.
    pub errno: Option<i32>,
    /// The HTTP status, where a handshake was refused with one.
    pub status: Option<u16>,
    /// The header fields of that refusal.
    pub headers: Vec<(String, String)>,
    /// The start of that refusal's body.
    pub body: Vec<u8>,
    /// The limit that the peer's input went over, where that was it.
    pub limit: Option<&'static str>,
}

impl CloseReason {
    /// A reason without code or errno.
    pub fn new(side: Side, manner: Manner, text: impl Into<String>) -> Self {
        Self {
            side,
            manner,
            code: None,
            text: text.into(),
            errno: None,
            status: None,
            headers: Vec::new(),
            body: Vec::new(),
            limit: None,
        }
    }

    /// The same with a close code.
    #[must_use]
    pub fn with_code(mut self, code: Code) -> Self {
        self.code = Some(code.0);
        self
    }

    /// The same with an errno.
    #[must_use]
    pub fn with_errno(mut self, errno: i32) -> Self {
        self.errno = Some(errno);
        self
    }

    /// The same with the limit that was gone over.
    #[must_use]
    pub fn with_limit(mut self, limit: Option<&'static str>) -> Self {
        self.limit = limit;
        self
    }

    /// Whether the peer broke a rule of the protocol, and not only a limit of ours.
    pub(crate) fn is_protocol_error(&self) -> bool {
        let is_refusal = self.status.is_some_and(|status| status != 101);
        self.limit.is_none() && self.errno.is_none() && !is_refusal
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
}

pub(crate) fn out_of_memory() -> CloseReason {
    const ENOMEM: i32 = 12;
    let text = "there was no memory for the message";
    CloseReason::new(Side::Local, Manner::Broken, text)
        .with_code(Code::TOO_BIG)
        .with_errno(ENOMEM)
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
            write!(formatter, ": {}", self.text)?;
        }
        Ok(())
    }
}
