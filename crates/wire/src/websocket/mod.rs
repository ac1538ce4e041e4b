//! The WebSocket protocol, RFC 6455, and what preceded it, by [`profile`].
//!
//! A connection begins with one exchange of HTTP heads ([`handshake`]); from then on both sides
//! send frames ([`frame`]), which [`decoder`] turns into events and checks against section 5. What
//! a close frame carries is in [`close`].

pub mod close;
mod control;
pub mod decoder;
pub mod deflate;
pub mod deflate_stream;
pub mod extension;
pub mod frame;
pub mod handshake;
mod head;
pub mod profile;

use std::fmt;

/// The peer broke a rule. The connection cannot continue: send a close frame with `code`, then
/// close.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct ProtocolError {
    /// The close code that tells the peer what kind of rule it was (section 7.4.1).
    pub code: close::Code,
    /// What was wrong, as a sentence without its full stop; short enough for a close frame's
    /// reason.
    pub text: &'static str,
    /// Where the rule stands, for instance `RFC 6455 5.2`.
    pub section: &'static str,
    /// The limit of this endpoint that was reached; `None` where the rule is the protocol's own.
    pub limit: Option<crate::Limit>,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} ({}, close code {})",
            self.text, self.section, self.code.0
        )
    }
}

impl std::error::Error for ProtocolError {}
