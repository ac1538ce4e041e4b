//! HTTP/1.1 as a client speaks it (RFC 9112): requests, and how far the responses have come. A
//! request counts as a message, its whole response as the echo.

use std::collections::VecDeque;

use vespiary_wire::http::{self, Response, ResponseReader};

use crate::target::Resource;

/// Bytes of the line before a chunk, at most.
const CHUNK_LINE_BYTES_MAX: usize = 4 << 10;
/// Methods whose requests say nothing of a body that they do not have (RFC 9110 section 8.6).
const BODILESS: [&str; 5] = ["GET", "HEAD", "DELETE", "OPTIONS", "TRACE"];

/// The part of a request that is the same for all: its line and its header lines.
pub fn head(
    method: &str,
    resource: &Resource,
    further: &[(String, String)],
) -> Result<Vec<u8>, String> {
    if !http::is_token(method) {
        return Err(format!("{method:?} is not a method of HTTP"));
    }
    let mut lines = [&resource.headers[..], further].concat();
    for (name, _) in &lines {
        if ["content-length", "transfer-encoding"].contains(&name.to_ascii_lowercase().as_str()) {
            return Err(format!(
                "the header {name:?} is written by the client itself"
            ));
        }
    }
    if !lines
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("host"))
    {
        lines.insert(0, ("Host".to_owned(), resource.host.clone()));
    }
    let mut head = format!("{method} {} HTTP/1.1\r\n", resource.target).into_bytes();
    http::append_headers(&mut head, &lines).map_err(|error| error.to_string())?;
    Ok(head)
}

/// Append the request with this head and body.
pub fn append_request(output: &mut Vec<u8>, method: &str, head: &[u8], body: &[u8]) {
    output.extend_from_slice(head);
    if !body.is_empty() || !BODILESS.contains(&method) {
        output.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    output.extend_from_slice(b"\r\n");
    output.extend_from_slice(body);
}

/// A response that has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Three digits.
    pub status: u16,
}

/// The responses of one connection.
#[derive(Debug)]
pub struct Answers {
    /// Responses to `HEAD` have no body, even if their header fields say so.
    is_head: bool,
    reader: ResponseReader,
    /// What has come of a head, or of the line before a chunk.
    held: Vec<u8>,
    status: u16,
    body: Body,
    /// The server has said that it closes the connection behind this response.
    is_last: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    /// The head is not complete.
    Head,
    /// So many bytes are to come.
    Length(u64),
    /// The line before a chunk is to come.
    ChunkLine,
    /// So many bytes of a chunk, with the end of its line.
    Chunk(u64),
    /// The lines behind the last chunk.
    Trailer,
    /// Until the connection ends.
    UntilEnd,
}

impl Answers {
    /// Before the first one.
    pub fn new(method: &str) -> Self {
        Self {
            is_head: method == "HEAD",
            reader: ResponseReader::new(),
            held: Vec::new(),
            status: 0,
            body: Body::Head,
            is_last: false,
        }
    }

    /// Take bytes that came; responses that they complete are added to `done`.
    pub fn take(
        &mut self,
        mut bytes: &[u8],
        limits: &http::Limits,
        done: &mut VecDeque<Answer>,
    ) -> Result<(), String> {
        while !bytes.is_empty() {
            if self.is_at_last() {
                return Err("bytes came after the last response of the connection".to_owned());
            }
            match self.body {
                Body::Head => bytes = self.take_head(bytes, limits, done)?,
                Body::Length(left) => {
                    let (count, rest) = split(left, bytes);
                    bytes = rest;
                    self.body = Body::Length(left - count);
                    if left == count {
                        self.end(done);
                    }
                }
                Body::Chunk(left) => {
                    let (count, rest) = split(left, bytes);
                    bytes = rest;
                    self.body = if left == count {
                        Body::ChunkLine
                    } else {
                        Body::Chunk(left - count)
                    };
                }
                Body::ChunkLine | Body::Trailer => bytes = self.take_line(bytes, done)?,
                Body::UntilEnd => bytes = &[],
            }
        }
        Ok(())
    }

    /// Whether another request would not be answered.
    pub fn is_closing(&self) -> bool {
        self.is_last
    }

    /// Whether nothing follows any more.
    pub fn is_at_last(&self) -> bool {
        self.is_last && self.body == Body::Head
    }

    /// The connection has ended; an error if that was in the middle of a response.
    pub fn input_ended(&mut self, done: &mut VecDeque<Answer>) -> Result<(), String> {
        match self.body {
            Body::UntilEnd => {
                self.end(done);
                Ok(())
            }
            Body::Head if self.held.is_empty() => Ok(()),
            _ => Err("the connection ended in the middle of a response".to_owned()),
        }
    }

    fn end(&mut self, done: &mut VecDeque<Answer>) {
        self.body = Body::Head;
        done.push_back(Answer {
            status: self.status,
        });
    }

    fn take_head<'a>(
        &mut self,
        bytes: &'a [u8],
        limits: &http::Limits,
        done: &mut VecDeque<Answer>,
    ) -> Result<&'a [u8], String> {
        let before = self.held.len();
        self.held.extend_from_slice(bytes);
        let parsed = self.reader.parse(&self.held, limits);
        let Some((response, length)) = parsed.map_err(|error| error.to_string())? else {
            return Ok(&[]);
        };
        self.held.clear();
        self.reader = ResponseReader::new();
        if !response.is_interim() {
            self.status = response.status;
            self.is_last = is_last(&response);
            self.body = body(&response, self.is_head)?;
            if self.body == Body::Length(0) {
                self.end(done);
            }
        }
        Ok(&bytes[length - before..])
    }

    fn take_line<'a>(
        &mut self,
        bytes: &'a [u8],
        done: &mut VecDeque<Answer>,
    ) -> Result<&'a [u8], String> {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let count = end.map_or(bytes.len(), |end| end + 1);
        self.held.extend_from_slice(&bytes[..count]);
        if self.held.len() > CHUNK_LINE_BYTES_MAX {
            return Err("the line before a chunk is too long".to_owned());
        }
        if end.is_some() {
            let line = std::mem::take(&mut self.held);
            let line = line.trim_ascii_end();
            match self.body {
                Body::Trailer if line.is_empty() => self.end(done),
                Body::Trailer => {}
                _ => {
                    self.body = match chunk_bytes(line)? {
                        0 => Body::Trailer,
                        // With the line end behind its data.
                        length => Body::Chunk(length + 2),
                    };
                }
            }
        }
        Ok(&bytes[count..])
    }
}

fn split(left: u64, bytes: &[u8]) -> (u64, &[u8]) {
    let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
    (count as u64, &bytes[count..])
}

fn chunk_bytes(line: &[u8]) -> Result<u64, String> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let text = std::str::from_utf8(digits.trim_ascii()).unwrap_or_default();
    match u64::from_str_radix(text, 16) {
        Ok(length) if length <= u64::MAX >> 1 => Ok(length),
        _ => Err(format!("{text:?} is not the length of a chunk")),
    }
}

/// Whether the server closes the connection behind it (RFC 9112 section 9.3).
fn is_last(response: &Response) -> bool {
    let has = |token: &str| {
        let mut tokens = response.header_tokens("connection");
        tokens.any(|it| it.eq_ignore_ascii_case(token))
    };
    has("close") || (response.minor_version == 0 && !has("keep-alive"))
}

/// How its body ends (RFC 9112 section 6.3).
fn body(response: &Response, is_head: bool) -> Result<Body, String> {
    if is_head || matches!(response.status, 204 | 304) {
        return Ok(Body::Length(0));
    }
    if response.status == 101 {
        return Err("the server switched to another protocol".to_owned());
    }
    if let Some(coding) = response.header_tokens("transfer-encoding").last() {
        return Ok(if coding.eq_ignore_ascii_case("chunked") {
            Body::ChunkLine
        } else {
            Body::UntilEnd
        });
    }
    let mut lengths = response.header_tokens("content-length");
    let Some(first) = lengths.next() else {
        return Ok(Body::UntilEnd);
    };
    match first.parse() {
        Ok(length) if lengths.all(|it| it == first) => Ok(Body::Length(length)),
        _ => Err(format!("the response has the length {first:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: http::Limits = http::Limits {
        header_bytes_max: 1 << 10,
        headers_max: 20,
    };

    fn statuses(method: &str, bytes: &[u8], cut: usize) -> Result<Vec<u16>, String> {
        let mut answers = Answers::new(method);
        let mut done = VecDeque::new();
        for piece in bytes.chunks(cut) {
            answers.take(piece, &LIMITS, &mut done)?;
        }
        answers.input_ended(&mut done)?;
        Ok(done.iter().map(|answer| answer.status).collect())
    }

    #[test]
    fn responses_are_recognized_however_they_are_cut() {
        let stream =
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc\
            HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\na\r\n\
            0123456789\r\n0\r\nX: y\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n\
            HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end";
        for cut in 1..40 {
            assert_eq!(statuses("GET", stream, cut), Ok(vec![200, 404, 204, 200]));
        }
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n";
        assert_eq!(statuses("HEAD", head, 7), Ok(vec![200]));
    }

    #[test]
    fn a_response_that_is_cut_off_is_an_error() {
        for stream in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab"[..],
            b"HTTP/1.1 200 OK\r\nContent-",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 3, 4\r\n\r\nabcd",
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        ] {
            statuses("GET", stream, 9).expect_err("it is not whole");
        }
    }

    #[test]
    fn a_request_says_the_length_of_its_body() {
        let resource = Resource {
            host: "127.0.0.1:8000".to_owned(),
            target: "/a".to_owned(),
            headers: vec![("X".to_owned(), "y".to_owned())],
        };
        let head_of = |method: &str| head(method, &resource, &[]).expect("it can be written");
        let mut request = Vec::new();
        append_request(&mut request, "GET", &head_of("GET"), b"");
        assert_eq!(
            request,
            b"GET /a HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nX: y\r\n\r\n"
        );
        request.clear();
        append_request(&mut request, "POST", &head_of("POST"), b"");
        assert!(request.ends_with(b"Content-Length: 0\r\n\r\n"));
        let wrong = [("Content-Length".to_owned(), "3".to_owned())];
        head("POST", &resource, &wrong).expect_err("the client writes it");
        head("PO ST", &resource, &[]).expect_err("no token");
    }
}
