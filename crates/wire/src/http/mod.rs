//! Heads of HTTP/1.1 messages, RFC 9112: read strictly, written safely.
//!
//! What is malformed is refused with a status and a sentence; nothing is repaired or guessed,
//! because two readers that repair differently are how requests are smuggled (section 11.2). Lines
//! end with CRLF and with nothing else, header lines are not folded, `Host` is there once, and a
//! body has one length or none.
//!
//! [`scan`] is the state machine that looks at every byte once; `request` and `response` cut a
//! scanned head into its parts and check what takes more than one line to decide.

mod authority;
mod body;
mod body_writer;
mod connect;
mod date;
mod fields;
mod forwarded;
mod headers;
mod packed;
mod request;
mod response;
pub mod scan;
mod service;
mod write;

use std::fmt;

pub use body::{BodyLength, BodyReader};
pub use body_writer::{Asked, BodyWriter, PieceForm, WrongLength, append_interim, check_trailers};
pub use connect::{append_connect, tunnel_refusal};
pub use date::date;
pub use fields::{Facts, Fields};
pub use forwarded::{ForwardedField, client as forwarded_client};
pub use headers::{Headers, is_token};
pub use packed::Packed;
pub use request::{Request, RequestReader, parse_request};
pub use response::{Response, ResponseError, ResponseReader, parse_response};
pub use service::{check_service, refuse_unserved};
pub use write::{InvalidHeader, append_headers, append_response, reason_phrase, status_line};

/// What a reader of heads takes at most.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of the whole head: first line, header lines, and the empty line that ends it.
    pub header_bytes_max: usize,
    /// Header lines.
    pub headers_max: usize,
}

/// Why a request is not served, ready to be answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The status to answer with.
    pub status: u16,
    /// Header lines that this status demands. `Connection: close` is among them: a request that was
    /// not understood gives no ground to trust what follows it.
    pub headers: Vec<(String, String)>,
    /// What was wrong, as a sentence without its full stop. Fit to be the answer's body.
    pub text: String,
    /// The limit that was reached; `None` where the rule is HTTP's own.
    pub limit: Option<crate::Limit>,
    /// What the server's operator can do about it; may be empty. It is not sent to the client.
    pub advice: &'static str,
}

impl Refusal {
    /// A refusal that closes the connection.
    pub fn new(status: u16, text: impl Into<String>) -> Self {
        Self {
            status,
            headers: vec![("Connection".to_owned(), "close".to_owned())],
            text: text.into(),
            limit: None,
            advice: "",
        }
    }

    /// Adds what the server's operator can do about it.
    #[must_use]
    pub fn with_advice(self, advice: &'static str) -> Self {
        Self { advice, ..self }
    }

    /// Adds a header line; a `Connection` line replaces the one that is there.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        if name.eq_ignore_ascii_case("connection") {
            self.headers
                .retain(|(present, _)| !present.eq_ignore_ascii_case(name));
        }
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Appends the whole answer: head, and the text as a plain body.
    pub fn append_to(&self, out: &mut Vec<u8>) -> Result<(), InvalidHeader> {
        let plain = (
            "Content-Type".to_owned(),
            "text/plain; charset=utf-8".to_owned(),
        );
        let mut headers = self.headers.clone();
        headers.push(plain);
        let body = format!("{}\n", self.text);
        append_response(out, self.status, &headers, body.as_bytes())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} {}: {}",
            self.status,
            reason_phrase(self.status),
            self.text
        )
    }
}

impl std::error::Error for Refusal {}

/// The end of the head that `bytes` begin with: the index behind the first empty line.
///
/// `from` is how many bytes an earlier call has already searched; zero at first. A caller whose
///  buffer grows asks this before it parses, and so looks at each byte once.
pub fn head_end(bytes: &[u8], from: usize) -> Option<usize> {
    let start = from.saturating_sub(3).min(bytes.len());
    memchr::memmem::find(&bytes[start..], b"\r\n\r\n").map(|found| start + found + 4)
}
