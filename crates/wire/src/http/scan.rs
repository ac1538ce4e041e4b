//! The state machine that every head passes through, each byte once.
//!
//! It decides what single bytes decide: which bytes may stand where. It keeps its place between
//! calls, so a head that trickles in is never looked at twice, and it fails at the first byte that
//! no head can have: a TLS hello or a line of SMTP is refused by its first or second byte, not when
//! a limit or a deadline is reached.
//!
//! ```text
//! request:   Start -> Method -SP-> TargetStart -> Target -SP-> Version(0..8) -> LineReturn
//! response:  Version(0..8) -SP-> Status(0..3) -SP-> Reason -> LineReturn
//! both:      LineReturn -LF-> LineStart -> Name -':'-> Value -CR-> LineReturn
//!            LineStart -CR-> HeadReturn -LF-> Done
//! ```
//!
//! One empty line before a request is skipped (RFC 9112 section 2.2).

use super::Limits;
use super::headers::{is_token_byte, is_value_byte};
use crate::Limit;
use vespiary_trace::requires;

/// Why a head cannot be one. [`Fault::text`] says it in words.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The method holds a byte that is not a token's, or is empty.
    Method,
    /// The method is longer than any that is known.
    MethodTooLong,
    /// The target is empty or holds a space, a control character or a byte above ASCII.
    Target,
    /// What is in the version's place is not `HTTP/` digit `.` digit.
    Version,
    /// The version is not 1.x.
    VersionUnsupported,
    /// The status is not three digits with a space behind them.
    Status,
    /// The reason phrase holds a control character.
    Reason,
    /// A line feed without a carriage return before it.
    BareLineFeed,
    /// A carriage return without a line feed behind it.
    BareReturn,
    /// A header line begins with space: a folded line, deprecated since 2014.
    Folded,
    /// Space between a header's name and its colon.
    SpaceBeforeColon,
    /// A header's name is empty or holds a byte that is not a token's.
    Name,
    /// A header's value holds a control character.
    Value,
    /// The first line alone is longer than the limit.
    FirstLineTooLong,
    /// The head is longer than the limit.
    HeadTooLong,
    /// There are more header lines than the limit.
    TooManyHeaders,
}

impl Fault {
    /// The status to refuse a request with.
    pub fn status(self) -> u16 {
        let is_too_large = matches!(self, Self::HeadTooLong | Self::TooManyHeaders);
        if requires!("rfc9112/3/2" => self == Self::MethodTooLong) {
            501
        } else if requires!("rfc9112/3/3" => self == Self::FirstLineTooLong) {
            414
        } else if requires!("rfc9110/5.4/1" => is_too_large) {
            431
        } else if requires!("rfc9110/15.6.6/1" => self == Self::VersionUnsupported) {
            505
        } else {
            400
        }
    }

    /// The limit that was reached, if this is about one.
    pub fn limit(self) -> Option<Limit> {
        match self {
            Self::FirstLineTooLong | Self::HeadTooLong => Some(Limit::HeaderBytes),
            Self::TooManyHeaders => Some(Limit::Headers),
            _ => None,
        }
    }

    /// What is wrong, as a sentence without its full stop, with the section that says so.
    pub fn text(self) -> &'static str {
        match self {
            Self::Method => "the method is not a token (RFC 9112 3.1)",
            Self::MethodTooLong => "the method is longer than any known one (RFC 9112 3)",
            Self::Target => "the request target holds a byte that no target has (RFC 9112 3.2)",
            Self::Version => "the first line has no HTTP version in its place (RFC 9112 2.3)",
            Self::VersionUnsupported => "only HTTP/1.1 is supported here (RFC 9110 15.6.6)",
            Self::Status => "the status is not three digits and a space (RFC 9112 4)",
            Self::Reason => "the reason phrase holds a control character (RFC 9112 4)",
            Self::BareLineFeed => "a line ends with a line feed alone (RFC 9112 2.2)",
            Self::BareReturn => "a carriage return has no line feed after it (RFC 9112 2.2)",
            Self::Folded => "a header line begins with space (RFC 9112 5.2)",
            Self::SpaceBeforeColon => {
                "there is space between a header's name and its colon (RFC 9112 5.1)"
            }
            Self::Name => "a header's name is not a token (RFC 9110 5.1)",
            Self::Value => "a header's value holds a control character (RFC 9110 5.5)",
            Self::FirstLineTooLong => "the request line is too long (RFC 9112 3)",
            Self::HeadTooLong => "the head is too long (RFC 9110 5.4)",
            Self::TooManyHeaders => "there are too many header lines (RFC 9110 5.4)",
        }
    }
}

/// Longer than every method in IANA's registry.
const METHOD_BYTES_MAX: u8 = 32;

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum State {
    Start,
    EmptyLineReturn,
    /// How many bytes of the method are read.
    Method(u8),
    TargetStart,
    Target,
    /// How many bytes of `HTTP/1.1` are read.
    Version(u8),
    /// How many digits of the status are read.
    Status(u8),
    Reason,
    LineReturn,
    LineStart,
    Name,
    Value,
    HeadReturn,
    Done,
}

/// Where the scan of one head stands.
#[derive(Clone, Debug)]
pub struct Scanner {
    position: usize,
    start: usize,
    headers: usize,
    state: State,
    is_request: bool,
    empty_line_passed: bool,
    first_line_done: bool,
}

impl Scanner {
    /// Before the first byte of a request.
    pub fn request() -> Self {
        Self::at(State::Start, true)
    }

    /// Before the first byte of a response.
    pub fn response() -> Self {
        Self::at(State::Version(0), false)
    }

    fn at(state: State, is_request: bool) -> Self {
        Self {
            position: 0,
            start: 0,
            headers: 0,
            state,
            is_request,
            empty_line_passed: false,
            first_line_done: false,
        }
    }

    /// How many header lines have begun.
    pub fn headers(&self) -> usize {
        self.headers
    }

    /// Continues over `bytes`, which begin where they began at the first call and may have grown.
    ///
    /// Gives where the head starts (behind an empty line before it) and ends, once it is whole.
    pub fn scan(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<(usize, usize)>, Fault> {
        let visible = &bytes[..bytes.len().min(limits.header_bytes_max)];
        while self.state != State::Done {
            let Some(byte) = visible.get(self.position) else {
                if visible.len() < limits.header_bytes_max {
                    return Ok(None);
                }
                return Err(if self.first_line_done || !self.is_request {
                    Fault::HeadTooLong
                } else {
                    Fault::FirstLineTooLong
                });
            };
            self.state = self.step(*byte, limits)?;
            self.position += 1;
            self.skip_run(visible);
        }
        Ok(Some((self.start, self.position)))
    }

    /// Passes over the bytes that do not change the state: nearly all of a head.
    #[inline]
    fn skip_run(&mut self, bytes: &[u8]) {
        let rest = &bytes[self.position..];
        self.position += match self.state {
            State::Target => run(rest, is_target_byte),
            State::Name => rest
                .iter()
                .take_while(|byte| TOKEN[usize::from(**byte)])
                .count(),
            State::Value | State::Reason => run(rest, is_value_byte),
            _ => 0,
        };
    }

    fn step(&mut self, byte: u8, limits: &Limits) -> Result<State, Fault> {
        match (self.state, byte) {
            (State::Start, b'\r') if requires!("rfc9112/2.2/7" => !self.empty_line_passed) => {
                Ok(State::EmptyLineReturn)
            }
            (State::EmptyLineReturn, b'\n') => {
                self.empty_line_passed = true;
                self.start = self.position + 1;
                Ok(State::Start)
            }
            (State::Start | State::Method(_), _) => self.step_method(byte),
            (State::TargetStart, _) if is_target_byte(byte) => Ok(State::Target),
            (State::Target, b' ') => Ok(State::Version(0)),
            (State::TargetStart | State::Target, b'\n') => Err(Fault::BareLineFeed),
            (State::Target, _) if is_target_byte(byte) => Ok(State::Target),
            // A request line that ends here is one of HTTP/0.9.
            (State::Target, b'\r') => Err(Fault::Version),
            (State::TargetStart | State::Target, _) => Err(Fault::Target),
            (State::Version(read), _) => self.step_version(read, byte),
            (State::Status(read), _) => step_status(read, byte),
            (State::Reason | State::Value, b'\r') => Ok(State::LineReturn),
            (State::Reason | State::Value | State::LineStart | State::Name, b'\n') => {
                Err(Fault::BareLineFeed)
            }
            (State::Reason, _) if is_value_byte(byte) => Ok(State::Reason),
            (State::Value, _) if is_value_byte(byte) => Ok(State::Value),
            (State::Reason, _) => Err(Fault::Reason),
            (State::Value, _) => {
                requires!("rfc9110/5.5/4", "rfc9110/5.5/5");
                Err(Fault::Value)
            }
            (State::LineReturn, b'\n') => {
                self.first_line_done = true;
                Ok(State::LineStart)
            }
            (State::LineStart, b'\r') => Ok(State::HeadReturn),
            (State::LineStart, b' ' | b'\t') => {
                requires!("rfc9112/2.2/9", "rfc9112/5.2/2");
                Err(Fault::Folded)
            }
            (State::LineStart, _) if is_token_byte(byte) => {
                self.headers += 1;
                if self.headers > limits.headers_max {
                    return Err(Fault::TooManyHeaders);
                }
                Ok(State::Name)
            }
            (State::Name, b':') => Ok(State::Value),
            (State::Name, b' ' | b'\t') => {
                requires!("rfc9112/5.1/1");
                Err(Fault::SpaceBeforeColon)
            }
            (State::Name, _) if is_token_byte(byte) => Ok(State::Name),
            (State::LineStart | State::Name, _) => Err(Fault::Name),
            (State::HeadReturn, b'\n') | (State::Done, _) => Ok(State::Done),
            (State::EmptyLineReturn | State::LineReturn | State::HeadReturn, _) => {
                requires!("rfc9112/2.2/4");
                Err(Fault::BareReturn)
            }
        }
    }

    fn step_method(&self, byte: u8) -> Result<State, Fault> {
        let read = if let State::Method(read) = self.state {
            read
        } else {
            0
        };
        match byte {
            b' ' if read > 0 => Ok(State::TargetStart),
            b'\n' => Err(Fault::BareLineFeed),
            _ if !is_token_byte(byte) => Err(Fault::Method),
            _ if read == METHOD_BYTES_MAX => Err(Fault::MethodTooLong),
            _ => Ok(State::Method(read + 1)),
        }
    }

    fn step_version(&self, read: u8, byte: u8) -> Result<State, Fault> {
        match (read, byte) {
            (0..=4, _) if byte == b"HTTP/"[usize::from(read)] => Ok(State::Version(read + 1)),
            (5, b'1') | (6, b'.') | (7, b'0'..=b'9') => Ok(State::Version(read + 1)),
            (5, b'0'..=b'9') => Err(Fault::VersionUnsupported),
            (8, b'\r') if self.is_request => Ok(State::LineReturn),
            (8, b' ') if !self.is_request => Ok(State::Status(0)),
            (8, b'\n') => Err(Fault::BareLineFeed),
            _ => Err(Fault::Version),
        }
    }
}

fn step_status(read: u8, byte: u8) -> Result<State, Fault> {
    match (read, byte) {
        (0, b'1'..=b'9') | (1 | 2, b'0'..=b'9') => Ok(State::Status(read + 1)),
        (3, b' ') => Ok(State::Reason),
        _ => Err(Fault::Status),
    }
}

/// How many bytes at the front of `bytes` are of a class. Sixteen are judged at once, which the
/// compiler turns into vector instructions, then single ones.
#[inline]
fn run(bytes: &[u8], class: impl Fn(u8) -> bool) -> usize {
    let all = |chunk: &&[u8]| chunk.iter().fold(true, |all, byte| all & class(*byte));
    let passed = 16 * bytes.chunks_exact(16).take_while(all).count();
    passed
        + bytes[passed..]
            .iter()
            .take_while(|byte| class(**byte))
            .count()
}

/// [`is_token_byte`] of every byte.
static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = is_token_byte(byte as u8);
        byte += 1;
    }
    table
};

/// Visible ASCII without `#`: a fragment is never sent. Browsers do send bytes that RFC 3986 wants
/// escaped, such as `|` and `{`, and they split no line.
const fn is_target_byte(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && byte != b'#'
}
