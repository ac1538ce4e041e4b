//! Requests: cutting a scanned head into its parts, and the rules that take the whole of it.

use super::authority::is_authority;
use super::headers::{Headers, latin_1};
use super::scan::{Fault, Scanner};
use super::{Limits, Refusal};
use std::borrow::Cow;
use std::fmt;
use vespiary_trace::requires;

const HIGHEST_MINOR_VERSION: u8 = 1;

/// The head of a request: all its texts, one behind the other, and where each ends. A server reads
/// many heads, and a string for each name and each value costs more than all the rest.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// The method, the target, and the name and the value of each header line.
    text: String,
    method_end: usize,
    target_end: usize,
    lines: Vec<Ends>,
    /// The version is HTTP/1 point this: 0, or 1 also for higher ones.
    pub minor_version: u8,
}

/// Where the name and the value of a header line end in the text.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ends {
    name: usize,
    value: usize,
}

impl Headers for Request {
    fn lines(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = self.target_end;
        self.lines.iter().map(move |ends| {
            let name = &self.text[start..ends.name];
            start = ends.value;
            (name, &self.text[ends.name..ends.value])
        })
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (method, target, minor) = (self.method(), self.target(), self.minor_version);
        write!(formatter, "{method} {target} HTTP/1.{minor} ")?;
        formatter.debug_list().entries(self.lines()).finish()
    }
}

impl Request {
    /// A request of these parts. Its header lines are added by [`Request::add`].
    pub fn new(method: &str, target: &str, minor_version: u8) -> Self {
        let mut request = Self::with_capacity(method.len() + target.len(), 0);
        request.begin(method, target, minor_version);
        request
    }

    /// Add a header line.
    pub fn add(&mut self, name: &str, value: &str) {
        self.text.push_str(name);
        let name = self.text.len();
        self.text.push_str(value);
        let value = self.text.len();
        self.lines.push(Ends { name, value });
    }

    fn with_capacity(bytes: usize, lines: usize) -> Self {
        Self {
            text: String::with_capacity(bytes),
            method_end: 0,
            target_end: 0,
            lines: Vec::with_capacity(lines),
            minor_version: 1,
        }
    }

    fn begin(&mut self, method: &str, target: &str, minor_version: u8) {
        self.text.push_str(method);
        self.method_end = self.text.len();
        self.text.push_str(target);
        self.target_end = self.text.len();
        self.minor_version = minor_version;
    }

    /// The method as sent; methods are case-sensitive.
    pub fn method(&self) -> &str {
        &self.text[..self.method_end]
    }

    /// The request target as sent: ASCII, in one of the four forms of RFC 9112 section 3.2.
    pub fn target(&self) -> &str {
        &self.text[self.method_end..self.target_end]
    }

    /// How many header lines there are.
    pub fn line_count(&self) -> usize {
        self.lines.len()
    }

    /// Its header lines in order: names as sent, values decoded as Latin-1 and trimmed.
    pub fn lines(&self) -> impl Iterator<Item = (&str, &str)> {
        Headers::lines(self)
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

    /// The path and query of the target: what an origin server looks at. An absolute target's
    /// missing path is `/`; `*` and the authority of a CONNECT are as they are.
    pub fn path_and_query(&self) -> Cow<'_, str> {
        let Some(rest) = absolute_rest(self.target()) else {
            return Cow::Borrowed(self.target());
        };
        match rest.find(['/', '?']).map(|start| &rest[start..]) {
            None => Cow::Borrowed("/"),
            Some(query) if query.starts_with('?') => Cow::Owned(format!("/{query}")),
            Some(path) => Cow::Borrowed(path),
        }
    }

    /// The authority that the request is for: of an absolute target if it is one, else of `Host`
    /// (RFC 9112 section 3.2.2). `None` only in a request of HTTP/1.0.
    pub fn authority(&self) -> Option<&str> {
        let Some(rest) = absolute_rest(self.target()) else {
            return self.header("host");
        };
        requires!("rfc9112/3.2.2/5");
        rest.split(['/', '?']).next()
    }
}

/// Reads one request from a buffer that grows, looking at each byte once.
#[derive(Clone, Debug)]
pub struct RequestReader {
    scanner: Scanner,
}

impl Default for RequestReader {
    fn default() -> Self {
        Self::new()
    }
}

impl RequestReader {
    /// Before the first byte.
    pub fn new() -> Self {
        Self {
            scanner: Scanner::request(),
        }
    }

    /// As [`parse_request`], for the same buffer grown longer at each call.
    pub fn parse(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Option<(Request, usize)>, Refusal> {
        match self.scanner.scan(bytes, limits) {
            Ok(Some((start, end))) => {
                let request = build(&bytes[start..end], self.scanner.headers());
                check(&request)?;
                Ok(Some((request, end)))
            }
            Ok(None) => Ok(None),
            Err(fault) => {
                requires!("rfc9112/2.2/10", "rfc9112/3.2/1");
                Err(fault.into())
            }
        }
    }
}

/// Reads the head of a request off the front of `bytes`: the request, and the bytes it took.
///
/// `None`: what is there may become a request, and is within the limits. A caller whose buffer
/// grows keeps a [`RequestReader`] instead, or asks [`super::head_end`] first.
///
/// Refused are: a malformed head (400), a request line or head over the limits (414, 431), a
/// method of absurd length (501), and a version other than 1.x (505).
pub fn parse_request(bytes: &[u8], limits: &Limits) -> Result<Option<(Request, usize)>, Refusal> {
    RequestReader::new().parse(bytes, limits)
}

/// Cuts a scanned head: every separator is known to be where it is looked for.
fn build(head: &[u8], header_lines: usize) -> Request {
    match str::from_utf8(head) {
        Ok(head) if head.is_ascii() => build_from_text(head, header_lines),
        // Every separator is ASCII, and no other character becomes one.
        _ => build_from_text(&latin_1(head), header_lines),
    }
}

fn build_from_text(head: &str, header_lines: usize) -> Request {
    let mut request = Request::with_capacity(head.len(), header_lines);
    let mut rest = head;
    let mut next_line = || {
        let end = memchr::memchr(b'\r', rest.as_bytes()).filter(|end| *end > 0)?;
        let line = &rest[..end];
        rest = &rest[end + 2..];
        Some(line)
    };
    let mut parts = next_line().unwrap_or_default().split(' ');
    let mut part = || parts.next().unwrap_or_default();
    request.begin(part(), part(), minor_version(part().as_bytes()));
    while let Some(line) = next_line() {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        requires!("rfc9110/5.5/1");
        request.add(name, value.trim_matches([' ', '\t']));
    }
    request
}

/// The lines of a scanned head, without the empty one at its end.
pub(super) fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = head;
    std::iter::from_fn(move || {
        let end = memchr::memchr(b'\r', rest).filter(|end| *end > 0)?;
        let line = &rest[..end];
        rest = &rest[end + 2..];
        Some(line)
    })
}

pub(super) fn collect_headers<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    count: usize,
) -> Vec<(String, String)> {
    let mut headers = Vec::with_capacity(count);
    headers.extend(lines.map(header));
    headers
}

fn header(line: &[u8]) -> (String, String) {
    let colon = memchr::memchr(b':', line).unwrap_or(line.len());
    requires!("rfc9110/5.5/1");
    let value = trim(line.get(colon + 1..).unwrap_or_default());
    (latin_1(&line[..colon]), latin_1(value))
}

/// The minor version of HTTP/1: one that is higher than those known here counts as the highest
/// of them (RFC 9110 section 2.5).
pub(super) fn minor_version(version: &[u8]) -> u8 {
    let digit = version.last().map_or(0, |digit| digit.wrapping_sub(b'0'));
    digit.min(HIGHEST_MINOR_VERSION)
}

fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn check(request: &Request) -> Result<(), Refusal> {
    check_target(request)?;
    requires!("rfc6455/4.2.1/h2");
    check_host(request)?;
    check_body_length(request)
}

/// The four forms of RFC 9112 section 3.2, two of which belong to one method each.
fn check_target(request: &Request) -> Result<(), Refusal> {
    let target = request.target();
    let valid = match request.method() {
        "CONNECT" => target.rsplit_once(':').is_some_and(|(_, port)| {
            is_authority(target) && requires!("rfc9110/9.3.6/2" => !port.is_empty())
        }),
        "OPTIONS" if target == "*" => true,
        _ if target.starts_with('/') => true,
        _ => absolute_rest(target).is_some_and(|rest| {
            let authority = rest.split(['/', '?']).next().unwrap_or_default();
            requires!("rfc9112/3.2.2/6" => is_authority(authority))
        }),
    };
    if !valid {
        let text = "the request target has none of the forms it may have (RFC 9112 3.2)";
        return Err(Refusal::new(400, text));
    }
    // In C a name ends at a zero byte: a host would check one name and open another.
    let path = target.split('?').next().unwrap_or_default();
    if path.contains('%') && path.contains("%00") {
        return Err(Refusal::new(400, "the path has a zero byte (%00)"));
    }
    Ok(())
}

/// What follows the scheme of an absolute target of this family of schemes.
fn absolute_rest(target: &str) -> Option<&str> {
    let scheme = scheme(target)?;
    Some(&target[scheme.len() + "://".len()..])
}

/// The scheme of an absolute target of this family of schemes.
pub(super) fn scheme(target: &str) -> Option<&str> {
    if target.starts_with('/') {
        return None;
    }
    let (scheme, _) = target.split_once("://")?;
    ["http", "https", "ws", "wss"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
        .then_some(scheme)
}

fn check_host(request: &Request) -> Result<(), Refusal> {
    let mut hosts = request.header_all("host");
    let host = hosts.next();
    if requires!("rfc9112/3.2/6" => host.is_none() && request.minor_version != 0) {
        let text = "the request has no Host header (RFC 9112 3.2)";
        return Err(Refusal::new(400, text));
    }
    if requires!("rfc9112/3.2/6" => hosts.next().is_some()) {
        let text = "the request has more than one Host header (RFC 9112 3.2)";
        return Err(Refusal::new(400, text));
    }
    if requires!("rfc9112/3.2/6" => host.is_some_and(|host| !is_authority(host))) {
        let text = "the Host header is not a host (RFC 9112 3.2)";
        return Err(Refusal::new(400, text));
    }
    Ok(())
}

/// A body has one length, or is chunked, or there is none: whatever leaves room for two readings is
/// refused (RFC 9112 sections 6.1 to 6.3).
fn check_body_length(request: &Request) -> Result<(), Refusal> {
    let mut lengths = request.header_all("content-length");
    let length = lengths.next();
    if requires!("rfc9112/6.3/4", "rfc9112/6.3/5" => lengths.next().is_some()) {
        return Err(Refusal::new(
            400,
            "there is more than one Content-Length (RFC 9112 6.3)",
        ));
    }
    if let Some(length) = length {
        let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        let is_no_number = requires!("rfc9112/6.3/4", "rfc9112/6.3/5" => !digits);
        let is_too_large = digits && length.parse::<u64>().is_err();
        if is_no_number || requires!("rfc9110/8.6/8" => is_too_large) {
            return Err(Refusal::new(
                400,
                "the Content-Length is not a number (RFC 9112 6.3)",
            ));
        }
    }
    if request.header("transfer-encoding").is_none() {
        return Ok(());
    }
    if requires!("rfc9112/6.1/12" => length.is_some()) {
        return Err(Refusal::new(
            400,
            "there are both Transfer-Encoding and Content-Length (RFC 9112 6.1)",
        ));
    }
    if requires!("rfc9112/6.1/14" => request.minor_version == 0) {
        return Err(Refusal::new(
            400,
            "HTTP/1.0 has no Transfer-Encoding (RFC 9112 6.1)",
        ));
    }
    let is_chunked = |coding: &str| coding.eq_ignore_ascii_case("chunked");
    let mut codings = request.header_tokens("transfer-encoding");
    let chunked_first = codings.position(is_chunked);
    // A parameter makes it another coding: chunked has none.
    let is_unknown = chunked_first.is_none() || codings.next().is_some();
    if requires!("rfc9112/6.3/3", "rfc9112/7.1/4" => is_unknown) {
        let text = "the last transfer coding is not chunked, once (RFC 9112 6.3)";
        return Err(Refusal::new(400, text));
    }
    if requires!("rfc9112/6.1/9" => chunked_first != Some(0)) {
        let text = "the only transfer coding here is chunked (RFC 9112 6.1)";
        return Err(Refusal::new(501, text));
    }
    Ok(())
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self {
            limit: fault.limit(),
            ..Self::new(fault.status(), fault.text())
        }
    }
}
