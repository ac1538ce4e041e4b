//! How messages are distinguished on the wire.

use vespiary_wire::framing::length::Format;

use crate::error::Error;

/// How messages are distinguished on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Not at all: the echo is a stream of bytes; a message has come back when its last byte has.
    Raw,
    /// Each ends with a line feed, which payloads do not hold.
    Line,
    /// Each ends with a carriage return and a line feed, neither of which payloads hold.
    CrLf,
    /// A length before each.
    Length(Format),
    /// RFC 6455. Given by the target's `ws://` or `wss://` and by nothing else.
    WebSocket,
    /// A message is a request of HTTP/1.1, its echo the response. Given by the target's `http://`
    /// or `https://` and by nothing else.
    Http,
    /// A message is a datagram. Given by the target's `udp://` and by nothing else.
    Datagram,
}

impl Framing {
    /// Parse `raw`, `line`, `crlf`, `websocket`, `length` (four bytes, network order),
    /// `length:WIDTH` with a width of 1, 2, 4 or 8 bytes, then `le` for the least significant byte
    /// first, then `+self` for a length that counts its own bytes too.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "raw" => return Ok(Self::Raw),
            "line" => return Ok(Self::Line),
            "crlf" => return Ok(Self::CrLf),
            "websocket" => return Ok(Self::WebSocket),
            _ => {}
        }
        let format = match text.strip_prefix("length") {
            Some("") => parse_format("4"),
            Some(rest) => rest.strip_prefix(':').and_then(parse_format),
            None => None,
        };
        format.map(Self::Length).ok_or_else(|| {
            Error::plan(format!(
                "framing {text:?} is unknown; use raw, line, crlf, length or \
                 length:WIDTH[le][+self] with WIDTH 1, 2, 4 or 8"
            ))
        })
    }
}

fn parse_format(text: &str) -> Option<Format> {
    let (text, includes_itself) = strip(text, "+self");
    let (text, little_endian) = strip(text, "le");
    Format::new(text.parse().ok()?, !little_endian, includes_itself)
}

fn strip<'a>(text: &'a str, suffix: &str) -> (&'a str, bool) {
    text.strip_suffix(suffix)
        .map_or((text, false), |rest| (rest, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_framing_is_refused_with_the_known_ones() {
        for text in ["cobs", "length:3", "length:4be", ""] {
            let error = Framing::parse(text).expect_err("unknown");
            assert!(error.to_string().contains("raw, line"), "{text}");
        }
    }
}
