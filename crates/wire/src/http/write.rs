//! Heads as they are written. A header that would break out of its line is an error, not output.

use std::borrow::Cow;
use std::fmt;

use super::headers::{is_token, is_value_byte};
use vespiary_trace::requires;

/// A header line cannot be written. Nothing was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InvalidHeader {
    /// The header's name as given.
    pub name: String,
    /// What is wrong with it, as the rest of a sentence that begins with the name.
    pub text: &'static str,
}

impl InvalidHeader {
    pub(crate) fn new(name: &str, text: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            text,
        }
    }
}

impl fmt::Display for InvalidHeader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the header {:?} {}", self.name, self.text)
    }
}

impl std::error::Error for InvalidHeader {}

/// Appends a response: status line, `headers`, `Content-Length`, empty line, `body`.
///
/// Status 204, 304 and 1xx get neither length nor body (RFC 9110 section 8.6), and 205 no body
/// (section 15.3.6). A `Content-Length` among the headers must be the body's. An error leaves `out`
/// as it was.
pub fn append_response(
    out: &mut Vec<u8>,
    status: u16,
    headers: &[(String, String)],
    body: &[u8],
) -> Result<(), InvalidHeader> {
    let is_bare = requires!("rfc9110/8.6/5" => matches!(status, 100..=199 | 204 | 304));
    let is_reset = requires!("rfc9110/15.3.6/1" => status == 205);
    let body = if is_reset { b"" } else { body };
    let length = body.len().to_string();
    for (name, value) in headers {
        let is_coding = name.eq_ignore_ascii_case("transfer-encoding");
        if requires!("rfc9112/6.1/7", "rfc9112/6.1/11", "rfc9112/6.2/1" => is_coding) {
            return Err(InvalidHeader::new(
                name,
                "cannot be combined with a body of known length",
            ));
        }
        if name.eq_ignore_ascii_case("content-length") && (is_bare || *value != length) {
            return Err(InvalidHeader::new(
                name,
                "differs from the length of the body",
            ));
        }
    }
    let start = out.len();
    append_status_line(out, status);
    if let Err(error) = append_headers(out, headers) {
        out.truncate(start);
        return Err(error);
    }
    if is_bare {
        out.extend_from_slice(b"\r\n");
        return Ok(());
    }
    let has_length = |(name, _): &(String, String)| name.eq_ignore_ascii_case("content-length");
    if requires!("rfc9112/6.3/9", "rfc9110/8.6/7" => !headers.iter().any(has_length)) {
        append_line(out, "Content-Length", &length);
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    Ok(())
}

pub(crate) fn append_status_line(out: &mut Vec<u8>, status: u16) {
    out.extend_from_slice(&status_line(status));
}

/// The first line of a response.
pub fn status_line(status: u16) -> Cow<'static, [u8]> {
    assert!((100..=999).contains(&status), "a status has three digits");
    match status {
        200 => Cow::Borrowed(b"HTTP/1.1 200 OK\r\n"),
        _ => Cow::Owned(format!("HTTP/1.1 {status} {}\r\n", reason_phrase(status)).into_bytes()),
    }
}

/// Appends header lines, without the empty line that ends a head.
///
/// Refused are a name that is not a token and a value with a control character (CR, LF and NUL
/// above all) or with a character that Latin-1 lacks. An error leaves `out` as it was.
pub fn append_headers(
    out: &mut Vec<u8>,
    headers: &[(String, String)],
) -> Result<(), InvalidHeader> {
    for (name, value) in headers {
        if !is_token(name) {
            return Err(InvalidHeader::new(name, "has a name that is not a token"));
        }
        for character in value.chars() {
            let Ok(byte) = u8::try_from(character) else {
                return Err(InvalidHeader::new(name, "has a character outside Latin-1"));
            };
            if !is_value_byte(byte) {
                return Err(InvalidHeader::new(
                    name,
                    "has a control character in its value",
                ));
            }
        }
    }
    for (name, value) in headers {
        append_line(out, name, value);
    }
    Ok(())
}

/// One header line, known to be clean.
pub(crate) fn append_line(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend(value.chars().map(|character| character as u8));
    out.extend_from_slice(b"\r\n");
}

/// The reason phrase of a status, as IANA's registry has it; empty for a status it lacks.
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        _ => error_phrase(status),
    }
}

fn error_phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        511 => "Network Authentication Required",
        _ => "",
    }
}
