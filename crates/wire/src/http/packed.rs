//! Heads in few bytes, for those that are kept for as long as their connection lives.
//!
//! A head is a sequence of texts: method, target, version, then names and values of its header
//! lines. A text that heads often have, as it is, takes one byte; any other is there in UTF-8 and
//! ends with a line feed, which none of them contains (RFC 9110 section 5.5, RFC 9112 section 3).
//! The bytes of the frequent ones begin no UTF-8 (RFC 3629 section 4).

use super::Request;

/// Texts that take one byte: what browsers, proxies and libraries send. Their place is their
/// number.
const FREQUENT: [&str; 62] = [
    // Values, and the parts of a request line.
    "GET",
    "HEAD",
    "POST",
    "/",
    "1",
    "0",
    "Upgrade",
    "upgrade",
    "keep-alive, Upgrade",
    "keep-alive",
    "close",
    "websocket",
    "WebSocket",
    "13",
    "permessage-deflate",
    "permessage-deflate; client_max_window_bits",
    "no-cache",
    "*/*",
    "gzip, deflate",
    "gzip, deflate, br",
    "gzip, deflate, br, zstd",
    "empty",
    "same-origin",
    "same-site",
    "cross-site",
    "http",
    "https",
    // Names.
    "Host",
    "host",
    "Connection",
    "connection",
    "Origin",
    "origin",
    "User-Agent",
    "user-agent",
    "Sec-WebSocket-Key",
    "sec-websocket-key",
    "Sec-WebSocket-Version",
    "sec-websocket-version",
    "Sec-WebSocket-Extensions",
    "sec-websocket-extensions",
    "Sec-WebSocket-Protocol",
    "sec-websocket-protocol",
    "Sec-WebSocket-Accept",
    "Pragma",
    "Cache-Control",
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Authorization",
    "Cookie",
    "Sec-Fetch-Dest",
    "Sec-Fetch-Mode",
    "Sec-Fetch-Site",
    "DNT",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Real-IP",
    "Date",
    "Server",
    "Content-Length",
];

/// The first byte of a frequent text is this and its number.
const NUMBERED: u8 = 0x80;

/// The head of a request, or the header lines of a response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packed(Box<[u8]>);

impl Packed {
    /// Pack a request's head.
    pub fn request(request: &Request) -> Self {
        let version = request.minor_version.to_string();
        let first = [request.method(), request.target(), &*version];
        let lines = request.lines().flat_map(|(name, value)| [name, value]);
        Self::of(first.into_iter().chain(lines))
    }

    /// Pack header lines.
    pub fn lines(lines: &[(String, String)]) -> Self {
        Self::of(texts(lines))
    }

    /// The request that [`Packed::request`] was given.
    pub fn to_request(&self) -> Request {
        let mut texts = self.texts();
        let mut next = || texts.next().unwrap_or_default();
        let (method, target) = (next(), next());
        let minor_version = next().parse().unwrap_or(1);
        let mut request = Request::new(method, target, minor_version);
        while let (Some(name), Some(value)) = (texts.next(), texts.next()) {
            request.add(name, value);
        }
        request
    }

    /// The lines that [`Packed::lines`] was given.
    pub fn to_lines(&self) -> Vec<(String, String)> {
        pairs(self.texts().map(str::to_owned)).collect()
    }

    fn of<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let mut bytes = Vec::with_capacity(256);
        for text in texts {
            if let Some(number) = FREQUENT.iter().position(|it| *it == text) {
                bytes.push(NUMBERED + number as u8);
            } else {
                debug_assert!(!text.contains('\n'), "{text:?} is not a part of a head");
                bytes.extend_from_slice(text.as_bytes());
                bytes.push(b'\n');
            }
        }
        Self(bytes.into_boxed_slice())
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let number = usize::from(*rest.first()?);
            let frequent = number.checked_sub(usize::from(NUMBERED));
            if let Some(text) = frequent.and_then(|number| FREQUENT.get(number)) {
                rest = &rest[1..];
                return Some(*text);
            }
            let end = rest.iter().position(|byte| *byte == b'\n')?;
            let text = str::from_utf8(&rest[..end]).unwrap_or_default();
            rest = &rest[end + 1..];
            Some(text)
        })
    }
}

fn texts(lines: &[(String, String)]) -> impl Iterator<Item = &str> {
    lines.iter().flat_map(|(name, value)| [&**name, &**value])
}

fn pairs(mut texts: impl Iterator<Item = String>) -> impl Iterator<Item = (String, String)> {
    std::iter::from_fn(move || Some((texts.next()?, texts.next()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Limits, parse_request};
    use proptest::prelude::*;

    const LIMITS: Limits = Limits {
        header_bytes_max: 1 << 16,
        headers_max: 100,
    };

    fn parsed(head: &str) -> Request {
        parse_request(head.as_bytes(), &LIMITS)
            .expect("valid")
            .expect("complete")
            .0
    }

    #[test]
    fn a_plain_handshake_takes_little_more_than_its_host_and_its_key() {
        let request = parsed(
            "GET / HTTP/1.1\r\nHost: 127.0.0.1:65535\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Version: 13\r\n\r\n",
        );
        let packed = Packed::request(&request);
        assert_eq!(packed.to_request(), request);
        let own = "127.0.0.1:65535".len() + "dGhlIHNhbXBsZSBub25jZQ==".len();
        assert!(
            packed.0.len() <= own + 16,
            "{} bytes, of which {own} are the request's own",
            packed.0.len()
        );
    }

    #[test]
    fn frequent_texts_have_numbers_that_begin_no_utf8() {
        assert!(NUMBERED as usize + FREQUENT.len() <= 0xC0);
        for (number, text) in FREQUENT.iter().enumerate() {
            assert_eq!(FREQUENT.iter().position(|it| it == text), Some(number));
        }
    }

    proptest! {
        #[test]
        fn heads_come_back_as_they_were(
            method in "GET|[A-Z]{1,9}",
            target in "/|/[!-~]{0,20}|http://[a-z.]{1,9}/",
            minor_version in 0..2_u8,
            headers in prop::collection::vec(
                ("Host|[a-zA-Z-]{1,12}", "13|[\t -~\u{80}-\u{ff}]{0,20}"),
                0..9,
            ),
        ) {
            let mut request = Request::new(&method, &target, minor_version);
            for (name, value) in &headers {
                request.add(name, value);
            }
            prop_assert_eq!(&Packed::request(&request).to_request(), &request);
            prop_assert_eq!(Packed::lines(&headers).to_lines(), headers);
        }
    }
}
