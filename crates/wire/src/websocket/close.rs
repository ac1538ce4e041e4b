//! What a close frame carries: a code and a reason, RFC 6455 sections 5.5.1 and 7.4.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::str;

use super::ProtocolError;
use super::decoder::Role;
use super::profile::{InvalidText, Profile};
use vespiary_trace::requires;

/// A close code. Any number can be held; [`Code::is_valid_on_the_wire`] says which may be sent.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Code(pub u16);

impl Code {
    /// The purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The server goes down, or the browser leaves the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke a rule of the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// The peer sent a kind of data that this endpoint does not take, such as binary.
    pub const UNSUPPORTED: Self = Self(1003);
    /// HyBi-09's word for what is 1009 now; reserved since.
    pub const FRAME_TOO_LARGE: Self = Self(1004);
    /// Never sent: stands for a close frame that carried no code.
    pub const NO_STATUS: Self = Self(1005);
    /// Never sent: stands for a connection that ended without a close frame.
    pub const ABNORMAL: Self = Self(1006);
    /// A message's content contradicts its type, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// The peer broke a rule of the endpoint.
    pub const POLICY: Self = Self(1008);
    /// A message is larger than this endpoint accepts.
    pub const TOO_BIG: Self = Self(1009);
    /// Sent by a client: an extension that it needs was not granted.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// The server met a condition that it did not expect.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// The service restarts (IANA registry).
    pub const SERVICE_RESTART: Self = Self(1012);
    /// The service is overloaded (IANA registry).
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// A gateway got an invalid answer from behind it (IANA registry).
    pub const BAD_GATEWAY: Self = Self(1014);
    /// Never sent: stands for a TLS handshake that failed.
    pub const TLS_HANDSHAKE: Self = Self(1015);

    /// Whether a peer that sends this code ends the connection cleanly: it has nothing more to say
    /// (1000, or no code at all), it goes away (1001), or it restarts (1012). Every other code
    /// reports a failure.
    pub fn is_clean(self) -> bool {
        matches!(
            self,
            Self::NORMAL | Self::GOING_AWAY | Self::SERVICE_RESTART | Self::NO_STATUS
        )
    }

    /// Whether a close frame may carry this code (sections 7.4.1 and 7.4.2, and IANA's registry):
    /// 1000 to 1003, 1007 to 1014, 3000 to 3999 for libraries, 4000 to 4999 for applications.
    pub fn is_valid_on_the_wire(self) -> bool {
        let code = self.0;
        let is_reserved = requires!("rfc6455/7.4.2/h1" => code < 1000)
            || requires!("rfc6455/7.4.1/h1" => code == 1004)
            || requires!("rfc6455/7.4.1/3" => code == 1005)
            || requires!("rfc6455/7.4.1/4" => code == 1006)
            || requires!("rfc6455/7.4.1/6" => code == 1015)
            || requires!("rfc6455/7.4.2/h2" => matches!(code, 1016..=2999))
            || requires!("rfc6455/7.4.2/h4" => code >= 5000);
        requires!("rfc6455/7.4.1/1", "rfc6455/7.4.2/h3" => !is_reserved)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The longest reason in bytes: a control frame's 125 less the code's two.
pub const REASON_BYTES_MAX: usize = 123;

/// Reads the payload of a close frame, unmasked, that this role has received.
///
/// An empty payload is `NO_STATUS` with an empty reason. Refused are a payload of one byte and a
/// code that may not be sent (1002), and a reason that is not UTF-8 (1007). HyBi-09 has other
/// codes, and its clients replace what is not UTF-8.
pub fn parse<'a>(
    profile: &Profile,
    role: Role,
    payload: &'a [u8],
) -> Result<(Code, Cow<'a, str>), ProtocolError> {
    let (code, reason) = split(profile, payload)?;
    match (str::from_utf8(reason), profile.invalid_text(role)) {
        (Ok(reason), _) => Ok((code, Cow::Borrowed(reason))),
        (Err(_), InvalidText::Refused(refused)) => {
            requires!("rfc6455/8.1/1");
            Err(not_utf8(profile, refused))
        }
        (Err(_), InvalidText::Replaced) => {
            requires!("hybi09/8.1/1");
            Ok((code, String::from_utf8_lossy(reason)))
        }
    }
}

/// The code and the bytes behind it.
fn split<'a>(profile: &Profile, payload: &'a [u8]) -> Result<(Code, &'a [u8]), ProtocolError> {
    let [high, low, reason @ ..] = payload else {
        if requires!("rfc6455/5.5.1/2" => !payload.is_empty()) {
            return Err(ProtocolError {
                code: Code::PROTOCOL_ERROR,
                text: "a close frame has an incomplete code",
                section: profile.cite("RFC 6455 5.5.1"),
                limit: None,
            });
        }
        return Ok((Code::NO_STATUS, &[]));
    };
    let code = Code(u16::from_be_bytes([*high, *low]));
    if !(profile.codes.may_arrive)(code) {
        return Err(ProtocolError {
            code: Code::PROTOCOL_ERROR,
            text: "a close frame has a code that may not be sent",
            section: profile.cite("RFC 6455 7.4"),
            limit: None,
        });
    }
    Ok((code, reason))
}

fn not_utf8(profile: &Profile, code: Code) -> ProtocolError {
    ProtocolError {
        code,
        text: "a close frame's reason is not UTF-8",
        section: profile.cite("RFC 6455 5.5.1"),
        limit: None,
    }
}

/// The payload of a close frame, unmasked. Dereferences to its bytes.
#[derive(Copy, Clone)]
pub struct Payload {
    bytes: [u8; 125],
    length: u8,
}

impl Payload {
    /// The bytes, 0 to 125.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Payload")
            .field(&self.as_slice())
            .finish()
    }
}

/// The payload that says `code` and `reason`. The reason is cut at the end of a character to
/// [`REASON_BYTES_MAX`] bytes.
///
/// A code that may not be sent, such as `NO_STATUS`, gives the empty payload: the reason cannot
/// stand without a code. A code that the version does not have is sent as the nearest that it has.
pub fn encode(profile: &Profile, code: Code, reason: &str) -> Payload {
    let mut payload = Payload {
        bytes: [0; 125],
        length: 0,
    };
    let Some(code) = (profile.codes.sent_for)(code) else {
        return payload;
    };
    let is_too_long = reason.len() > REASON_BYTES_MAX;
    let reason = if requires!("rfc6455/5.5/1" => is_too_long) {
        cut(reason, REASON_BYTES_MAX)
    } else {
        reason
    };
    let reason = reason.as_bytes();
    payload.bytes[..2].copy_from_slice(&code.0.to_be_bytes());
    payload.bytes[2..2 + reason.len()].copy_from_slice(reason);
    payload.length = 2 + reason.len() as u8;
    payload
}

/// The payload that answers a close frame with this code by repeating it, known to the version or
/// not: the peer knows what it sent. `NO_STATUS` gives the empty payload.
pub fn echo(profile: &Profile, code: Code) -> Payload {
    let mut payload = Payload {
        bytes: [0; 125],
        length: 0,
    };
    if (profile.codes.may_arrive)(code) {
        payload.bytes[..2].copy_from_slice(&code.0.to_be_bytes());
        payload.length = 2;
    }
    payload
}

fn cut(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}
