//! The versions of the protocol as one table of switches.
//!
//! One engine speaks every version. What differs from one to the next is a field of [`Profile`],
//! and each version is one value of it, so that the whole of a difference can be read in one line
//! and no rule of one version can leak into another: code asks the profile of its connection and
//! never the version's number.
//!
//! Version 13 is RFC 6455. Version 8 is what the drafts 08 to 12 of the working group put into
//! `Sec-WebSocket-Version`; the rules here are those of draft-ietf-hybi-thewebsocketprotocol-09,
//! which browsers and devices of 2011 and 2012 speak. It is less strict than the standard:
//! most of what the standard tells a receiver to refuse, the draft leaves open or wants ignored. A
//! server therefore speaks it only where it is asked to.
//!
//! | switch | RFC 6455 | HyBi-09 |
//! |---|---|---|
//! | `origin_header` | 4.1 item 8 | 5.1 item 8 |
//! | `origin_is_confirmed` | 4.2.2 | 10, 11.8 |
//! | `upgrade_is_checked` | 4.2.1 items 3 and 4 | 5.2.1 |
//! | `connection_is_whole` | 4.1, response item 3 | 5.1, response item 3 |
//! | `subprotocol_is_checked` | 4.1, response item 6 | 5.1 |
//! | `target_schemes` | 4.1 item 3 | 5.1 item 3 |
//! | `extension_values_are_quoted` | 9.1 | 9.1 |
//! | `unknown_opcodes_are_ignored` | 5.2 | 4.2 |
//! | `lengths_are_minimal` | 5.2 | 4.2 |
//! | `masked_server_frames_are_refused` | 5.1 | 4.3 |
//! | `invalid_text_at_client` | 8.1 | 8.1 |
//! | `invalid_text_at_server` | 8.1 | 8.2 |
//! | `codes` | 7.4 | 7.4 |

use super::ProtocolError;
use super::close::Code;
use super::decoder::Role;
use vespiary_trace::requires;

/// A version of the protocol that is used here.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Default, Debug)]
#[repr(u8)]
pub enum Version {
    /// RFC 6455.
    #[default]
    Rfc6455 = 13,
    /// draft-ietf-hybi-thewebsocketprotocol-09.
    Hybi09 = 8,
}

impl Version {
    /// Every version, the newest first.
    pub const ALL: [Self; 2] = [Self::Rfc6455, Self::Hybi09];

    /// The version with this number in `Sec-WebSocket-Version`, if it is used here.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|version| version.number() == number)
    }

    /// What is in `Sec-WebSocket-Version`.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The same as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rfc6455 => "13",
            Self::Hybi09 => "8",
        }
    }

    /// Its rules.
    #[inline]
    pub fn profile(self) -> &'static Profile {
        match self {
            Self::Rfc6455 => &RFC6455,
            Self::Hybi09 => &HYBI09,
        }
    }
}

/// What happens to text that is not UTF-8.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum InvalidText {
    /// The connection fails with this code.
    Refused(Code),
    /// Each maximal run of bytes that begins no character becomes U+FFFD.
    Replaced,
}

/// Which close codes exist, and what stands for one that does not.
#[derive(Copy, Clone, Debug)]
pub struct Codes {
    /// Whether a close frame that arrives may carry this code.
    pub may_arrive: fn(Code) -> bool,
    /// The code that is sent for this one: itself where the version defines it, the nearest
    /// otherwise, and nothing where it must not be sent at all.
    pub sent_for: fn(Code) -> Option<Code>,
}

/// The rules of a version, as far as versions differ.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // Independent switches, each read by its name.
pub struct Profile {
    /// The version whose rules these are.
    pub version: Version,
    /// Where these rules stand.
    pub document: &'static str,
    /// The header of a request that tells the origin of the page whose script connects.
    pub origin_header: &'static str,
    /// Whether the response repeats that header.
    pub origin_is_confirmed: bool,
    /// Whether a server looks at the request's `Upgrade` and `Connection`.
    pub upgrade_is_checked: bool,
    /// Whether a client wants the response's `Connection` to be `Upgrade` and nothing besides.
    pub connection_is_whole: bool,
    /// Whether a client refuses a subprotocol that it has not offered.
    pub subprotocol_is_checked: bool,
    /// The schemes of an absolute request target that asks for a WebSocket.
    pub target_schemes: [&'static str; 2],
    /// Whether the value of an extension's parameter may be a quoted string.
    pub extension_values_are_quoted: bool,
    /// Whether a frame with a reserved opcode is skipped; it fails the connection otherwise.
    pub unknown_opcodes_are_ignored: bool,
    /// Whether a length must be in its shortest form.
    pub lengths_are_minimal: bool,
    /// Whether a client fails the connection on a masked frame; it unmasks the frame otherwise.
    pub masked_server_frames_are_refused: bool,
    /// What a client does with text that is not UTF-8.
    pub invalid_text_at_client: InvalidText,
    /// What a server does with it.
    pub invalid_text_at_server: InvalidText,
    /// The close codes.
    pub codes: Codes,
}

impl Profile {
    /// What the receiver of this role does with text that is not UTF-8.
    #[inline]
    pub fn invalid_text(&self, role: Role) -> InvalidText {
        match role {
            Role::Client => self.invalid_text_at_client,
            Role::Server => self.invalid_text_at_server,
        }
    }

    /// Where the rule of this section of RFC 6455 is in this version's document.
    #[cold]
    pub fn cite(&self, section: &'static str) -> &'static str {
        match (self.version, section) {
            (Version::Rfc6455, section) => section,
            (_, "RFC 6455 5.1") => "HyBi-09 4.3",
            (_, "RFC 6455 5.2") => "HyBi-09 4.2",
            (_, "RFC 6455 5.4") => "HyBi-09 4.4",
            (_, "RFC 6455 5.5") => "HyBi-09 4.5",
            (_, "RFC 6455 5.5.1") => "HyBi-09 4.5.1",
            (_, "RFC 6455 7.4") => "HyBi-09 7.4",
            (_, "RFC 6455 8.1") => "HyBi-09 8.2",
            (_, "RFC 6455 9.1") => "HyBi-09 9.1",
            (_, "RFC 6455 10.4") => "HyBi-09 2",
            (_, section) => section,
        }
    }

    /// The same error in the words of this version: its section, and a code that it defines.
    #[cold]
    pub fn reword(&self, error: ProtocolError) -> ProtocolError {
        ProtocolError {
            code: (self.codes.sent_for)(error.code).unwrap_or(Code::PROTOCOL_ERROR),
            section: self.cite(error.section),
            ..error
        }
    }
}

static RFC6455: Profile = Profile {
    version: Version::Rfc6455,
    document: "RFC 6455",
    origin_header: "Origin",
    origin_is_confirmed: false,
    upgrade_is_checked: true,
    connection_is_whole: false,
    subprotocol_is_checked: true,
    target_schemes: ["http", "https"],
    extension_values_are_quoted: true,
    unknown_opcodes_are_ignored: false,
    lengths_are_minimal: true,
    masked_server_frames_are_refused: true,
    invalid_text_at_client: InvalidText::Refused(Code::INVALID_PAYLOAD),
    invalid_text_at_server: InvalidText::Refused(Code::INVALID_PAYLOAD),
    codes: Codes {
        may_arrive: Code::is_valid_on_the_wire,
        sent_for: |code| code.is_valid_on_the_wire().then_some(code),
    },
};

/// Section 8.2 leaves the server free. It refuses, as in version 13, because what hands broken text
/// on hands the trouble on; 1007 is not defined yet, so that 1002 tells it.
static HYBI09: Profile = Profile {
    version: Version::Hybi09,
    document: "HyBi-09",
    origin_header: "Sec-WebSocket-Origin",
    origin_is_confirmed: true,
    upgrade_is_checked: false,
    connection_is_whole: true,
    subprotocol_is_checked: false,
    target_schemes: ["ws", "wss"],
    extension_values_are_quoted: false,
    unknown_opcodes_are_ignored: true,
    lengths_are_minimal: false,
    masked_server_frames_are_refused: false,
    invalid_text_at_client: InvalidText::Replaced,
    invalid_text_at_server: InvalidText::Refused(Code::PROTOCOL_ERROR),
    codes: Codes {
        may_arrive: hybi09_may_arrive,
        sent_for: hybi09_sent_for,
    },
};

/// HyBi-09 section 7.4: below 1000 nothing is used, above 4999 nothing is defined, and 1005 and
/// 1006 never are in a frame. The rest of 1000 to 1999 was left to later drafts, whose peers do
/// send them under this version.
fn hybi09_may_arrive(code: Code) -> bool {
    match code {
        Code::NO_STATUS | Code::ABNORMAL => false,
        Code(2000..=2999) => {
            requires!("hybi09/7.4.2/h1");
            true
        }
        code => matches!(code.0, 1000..=4999),
    }
}

/// HyBi-09 section 7.4.1 ends with 1006. What came later is sent as the nearest code that existed.
fn hybi09_sent_for(code: Code) -> Option<Code> {
    let later = match code {
        Code::TOO_BIG => Some(Code::FRAME_TOO_LARGE),
        Code::INVALID_PAYLOAD | Code::POLICY | Code::MANDATORY_EXTENSION => {
            Some(Code::PROTOCOL_ERROR)
        }
        Code::INTERNAL_ERROR
        | Code::SERVICE_RESTART
        | Code::TRY_AGAIN_LATER
        | Code::BAD_GATEWAY => Some(Code::GOING_AWAY),
        _ => None,
    };
    if requires!("hybi09/7.4.1/h1" => later.is_some()) {
        return later;
    }
    matches!(code.0, 1000..=1004 | 2000..=4999).then_some(code)
}
