//! Counts what comes from a server that does not echo, by its framing.

use vespiary_wire::framing::length::{Format, LengthDecoder};

use crate::framing::Framing;

/// How far one connection's messages have come; nothing is kept of them.
#[derive(Debug)]
pub enum Arrivals {
    /// A stream without messages.
    Bytes,
    /// Each ends with a line feed.
    Lines,
    /// A length before each.
    Lengths(LengthDecoder, Format),
}

impl Arrivals {
    /// At the start of a stream.
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::Line | Framing::CrLf => Self::Lines,
            Framing::Length(format) => Self::Lengths(LengthDecoder::new(), format),
            Framing::Raw | Framing::WebSocket | Framing::Http | Framing::Datagram => Self::Bytes,
        }
    }

    /// How many messages end in `bytes`. An error says what is wrong with their framing.
    pub fn take(&mut self, bytes: &[u8]) -> Result<u64, String> {
        match self {
            Self::Bytes => Ok(0),
            Self::Lines => Ok(bytes.split(|byte| *byte == b'\n').skip(1).count() as u64),
            Self::Lengths(decoder, format) => {
                let (mut input, mut ended) = (bytes, 0);
                while let Some(chunk) = decoder
                    .next(&mut input, format, u64::MAX >> 1)
                    .map_err(|error| error.to_string())?
                {
                    ended += u64::from(chunk.end);
                }
                Ok(ended)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(framing: &str, bytes: &[u8], cut: usize) -> u64 {
        let mut arrivals = Arrivals::new(Framing::parse(framing).expect("known"));
        let pieces = bytes.chunks(cut);
        pieces
            .map(|piece| arrivals.take(piece).expect("it is framed"))
            .sum()
    }

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        for cut in 1..12 {
            assert_eq!(count("line", b"a\n\nbc\nd", cut), 3);
            assert_eq!(count("length:1", b"\x02ab\x00\x03cde\x01", cut), 3);
            assert_eq!(count("raw", b"abc", cut), 0);
        }
    }

    #[test]
    fn a_length_that_makes_no_sense_is_an_error() {
        let mut arrivals = Arrivals::new(Framing::parse("length:2+self").expect("known"));
        assert!(arrivals.take(b"\x00\x01").is_err());
    }
}
