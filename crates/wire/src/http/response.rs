//! Responses, as a client reads them: only the head, which is all that an upgrade has.

use std::fmt;

use super::Limits;
use super::headers::{Headers, latin_1};
use super::request::{collect_headers, lines, minor_version};
use super::scan::Scanner;
use crate::Limit;

/// The head of a response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// The version is HTTP/1 point this.
    pub minor_version: u8,
    /// Three digits.
    pub status: u16,
    /// The reason phrase as sent, decoded as Latin-1; may be empty.
    pub reason: String,
    /// Header lines in order: names as sent, values decoded as Latin-1 and trimmed.
    pub headers: Vec<(String, String)>,
}

impl Headers for Response {
    fn lines(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl Response {
    /// Whether it is an interim response, behind which the final one follows (RFC 9110 15.2). 101
    /// is final: what follows it is another protocol.
    pub fn is_interim(&self) -> bool {
        matches!(self.status, 100 | 102..=199)
    }

    /// The value of the first header line with this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        Headers::header(self, name)
    }

    /// The values of all header lines with this name.
    pub fn header_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        Headers::header_all(self, name)
    }

    /// The comma-separated elements of all header lines with this name.
    pub fn header_tokens<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        Headers::header_tokens(self, name)
    }
}

/// What came is not a response, or is more of one than is taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResponseError {
    /// What was wrong, as a sentence without its full stop.
    pub text: String,
    /// The limit of this end that was reached, if it was one.
    pub limit: Option<Limit>,
}

impl fmt::Display for ResponseError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl std::error::Error for ResponseError {}

/// Reads one response from a buffer that grows, looking at each byte once.
#[derive(Clone, Debug)]
pub struct ResponseReader {
    scanner: Scanner,
}

impl Default for ResponseReader {
    fn default() -> Self {
        Self::new()
    }
}

impl ResponseReader {
    /// Before the first byte.
    pub fn new() -> Self {
        Self {
            scanner: Scanner::response(),
        }
    }

    /// As [`parse_response`], for the same buffer grown longer at each call.
    pub fn parse(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Option<(Response, usize)>, ResponseError> {
        match self.scanner.scan(bytes, limits) {
            Ok(None) => Ok(None),
            Ok(Some((start, end))) => Ok(Some((
                build(&bytes[start..end], self.scanner.headers()),
                end,
            ))),
            Err(fault) => Err(ResponseError {
                text: fault.text().to_owned(),
                limit: fault.limit(),
            }),
        }
    }
}

/// Reads the head of a response off the front of `bytes`: the response, and the bytes it took.
///
/// `None`: what is there may become a response, and is within the limits.
pub fn parse_response(
    bytes: &[u8],
    limits: &Limits,
) -> Result<Option<(Response, usize)>, ResponseError> {
    ResponseReader::new().parse(bytes, limits)
}

/// Cuts a scanned head: every separator is known to be where it is looked for.
fn build(head: &[u8], header_lines: usize) -> Response {
    let mut lines = lines(head);
    let first = lines.next().unwrap_or_default();
    let mut parts = first.splitn(3, |byte| *byte == b' ');
    let mut part = || parts.next().unwrap_or_default();
    let version = part();
    let status = part()
        .iter()
        .fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
    Response {
        minor_version: minor_version(version),
        status,
        reason: latin_1(part()),
        headers: collect_headers(lines, header_lines),
    }
}
