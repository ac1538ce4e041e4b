//! A server's answer other than 101: its body, as far as it is worth waiting for.
//!
//! Anyone who asked wants the server's own words, and the words often come behind the head. A body
//! whose end is known (`Content-Length`, or the last chunk, RFC 9112 section 6) is awaited up to
//! [`BODY_BYTES_MAX`]; of one that only ends with the connection (section 6.3) what came with the
//! head is in the error.

use crate::close::{Cause, CloseReason};
use vespiary_trace::requires;
use vespiary_wire::http::{self, BodyLength, BodyReader};

/// The most bytes of a refusal's body that are waited for and told.
const BODY_BYTES_MAX: usize = 4096;

/// How long the body is.
enum Length {
    Bytes(usize),
    Chunked,
    /// To the connection's end.
    Unknown,
}

/// A refusal whose body may still be on its way.
pub(super) struct Refused {
    reason: CloseReason,
    body_start: usize,
    length: Length,
}

impl Refused {
    /// `body_start` is where the body begins in the buffer that is given to [`Refused::check`].
    pub(super) fn new(reason: CloseReason, response: &http::Response, body_start: usize) -> Self {
        let last_coding = response.header_tokens("transfer-encoding").last();
        let told = response.header_all("content-length").next();
        let length = match (last_coding, told.and_then(|length| length.parse().ok())) {
            // RFC 9110 section 6.4.1.
            _ if matches!(response.status, 100..=199 | 204 | 304) => Length::Bytes(0),
            (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => Length::Chunked,
            (None, Some(length)) => Length::Bytes(length),
            _ => Length::Unknown,
        };
        Self {
            reason: reason.with_headers(response.headers.clone()),
            body_start,
            length,
        }
    }

    /// The reason in the server's own words, once they are here.
    pub(super) fn check(&self, buffer: &[u8]) -> Result<(), CloseReason> {
        let bytes = &buffer[self.body_start..];
        let is_whole = match self.length {
            Length::Bytes(length) => bytes.len() >= length,
            Length::Chunked => unchunked(bytes).1,
            Length::Unknown => true,
        };
        if requires!("rfc6455/7.2.1/1" => is_whole || bytes.len() >= BODY_BYTES_MAX) {
            return Err(self.so_far(buffer));
        }
        Ok(())
    }

    /// The reason, in as many of the server's words as are here.
    pub(super) fn so_far(&self, buffer: &[u8]) -> CloseReason {
        let bytes = &buffer[self.body_start..];
        let mut body = match self.length {
            Length::Bytes(length) => bytes[..length.min(bytes.len())].to_vec(),
            Length::Chunked => unchunked(bytes).0,
            Length::Unknown => bytes.to_vec(),
        };
        body.truncate(BODY_BYTES_MAX);
        let mut reason = self.reason.clone();
        let words = String::from_utf8_lossy(&body);
        if !words.trim().is_empty() && reason.cause != Cause::ProxyRefused {
            words.trim().clone_into(&mut reason.text);
        }
        reason.body = body;
        reason
    }
}

/// The data of the chunks that are here, and whether the last one is among them (RFC 9112 section
/// 7.1). What is malformed ends it.
fn unchunked(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut reader = BodyReader::new(BodyLength::Chunked);
    let mut data = Vec::new();
    loop {
        match reader.next(&mut bytes) {
            Ok(Some(piece)) => data.extend_from_slice(piece),
            Ok(None) => return (data, reader.is_done()),
            Err(_) => return (data, true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::unchunked;

    #[test]
    fn chunks_are_put_together_and_their_end_is_seen() {
        assert_eq!(
            unchunked(b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"),
            (b"abcde".to_vec(), true)
        );
        assert_eq!(
            unchunked(b"3\r\nabc\r\n5\r\nde"),
            (b"abcde".to_vec(), false)
        );
        assert_eq!(unchunked(b"3\r\nabc"), (b"abc".to_vec(), false));
        assert_eq!(unchunked(b""), (Vec::new(), false));
        assert_eq!(unchunked(b"nonsense\r\n"), (Vec::new(), true));
        assert_eq!(unchunked(b"ffffffffffffffffff\r\nx"), (Vec::new(), true));
    }
}
