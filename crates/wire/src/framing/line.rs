//! Lines: a message ends with a line feed. A carriage return before it belongs to the terminator.
//!
//! A line that lies wholly in the input is borrowed from it. Only a line that the end of the input
//! cut is collected, and the collecting vector leaves with the line, so an idle decoder owns
//! nothing.

use std::borrow::Cow;
use std::fmt;

/// A line without its terminator: borrowed when the input held all of it, else owned.
pub type Line<'a> = Cow<'a, [u8]>;

/// A line cannot be taken. The stream cannot continue: where the next line begins is unknown.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum LineError {
    /// The line is longer than the limit.
    TooLong {
        /// The limit, in bytes without the terminator.
        message_bytes_max: u64,
    },
    /// There is no memory for the line.
    OutOfMemory,
}

impl fmt::Display for LineError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { message_bytes_max } => {
                write!(formatter, "a line is longer than {message_bytes_max} bytes")
            }
            Self::OutOfMemory => formatter.write_str("there is no memory for the line"),
        }
    }
}

impl std::error::Error for LineError {}

fn extend(line: &mut Vec<u8>, bytes: &[u8]) -> Result<(), LineError> {
    line.try_reserve(bytes.len())
        .map_err(|_| LineError::OutOfMemory)?;
    line.extend_from_slice(bytes);
    Ok(())
}

/// Whether a message can go as one line with this terminator: nothing in it ends a line, and it
/// arrives as it is.
#[inline]
pub fn is_line(message: &[u8], ending: &[u8]) -> bool {
    let loses_its_end = message.last() == Some(&b'\r') && ending.first() != Some(&b'\r');
    !loses_its_end && memchr::memchr(b'\n', message).is_none()
}

/// Cuts a stream into lines. One for each connection.
#[derive(Default, Debug)]
pub struct LineDecoder {
    begun: Vec<u8>,
}

impl LineDecoder {
    /// A decoder at the start of a line.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next line off the front of `input`. `None`: all is taken and more is needed.
    ///
    /// A line may have `message_bytes_max` bytes without its terminator. One that has more is
    /// refused as soon as that is certain, whether or not its end has come.
    #[inline]
    pub fn next<'a>(
        &mut self,
        input: &mut &'a [u8],
        message_bytes_max: u64,
    ) -> Result<Option<Line<'a>>, LineError> {
        let Some(end) = memchr::memchr(b'\n', input) else {
            return self.keep(input, message_bytes_max);
        };
        let line = &input[..end];
        if !self.begun.is_empty() {
            return self.complete(input, end, message_bytes_max);
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() as u64 > message_bytes_max {
            return Err(LineError::TooLong { message_bytes_max });
        }
        *input = &input[end + 1..];
        Ok(Some(Cow::Borrowed(line)))
    }

    /// Whether a line has begun and not ended.
    pub fn mid_line(&self) -> bool {
        !self.begun.is_empty()
    }

    fn keep<'a>(
        &mut self,
        input: &mut &'a [u8],
        message_bytes_max: u64,
    ) -> Result<Option<Line<'a>>, LineError> {
        let begun = (self.begun.len() + input.len()) as u64;
        // A carriage return at the end may yet turn out to belong to the terminator.
        let last = input.last().or(self.begun.last());
        let certain = if last == Some(&b'\r') {
            begun - 1
        } else {
            begun
        };
        if certain > message_bytes_max {
            return Err(LineError::TooLong { message_bytes_max });
        }
        extend(&mut self.begun, input)?;
        *input = &[];
        Ok(None)
    }

    fn complete<'a>(
        &mut self,
        input: &mut &'a [u8],
        end: usize,
        message_bytes_max: u64,
    ) -> Result<Option<Line<'a>>, LineError> {
        let returned = if end == 0 {
            self.begun.last()
        } else {
            input[..end].last()
        };
        let terminator = usize::from(returned == Some(&b'\r'));
        let length = self.begun.len() + end - terminator;
        if length as u64 > message_bytes_max {
            return Err(LineError::TooLong { message_bytes_max });
        }
        let mut line = std::mem::take(&mut self.begun);
        extend(&mut line, &input[..end])?;
        line.truncate(length);
        *input = &input[end + 1..];
        Ok(Some(Cow::Owned(line)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_line_when_it_arrives_as_it_was() {
        for (message, lf, crlf) in [
            (&b""[..], true, true),
            (b"line", true, true),
            (b"a\rb", true, true),
            (b"line\r", false, true),
            (b"line\n", false, false),
            (b"line\r\n", false, false),
            (b"a\nb", false, false),
        ] {
            for (ending, expected) in [(&b"\n"[..], lf), (b"\r\n", crlf)] {
                assert_eq!(is_line(message, ending), expected, "{message:?} {ending:?}");
                let sent = [message, ending].concat();
                let line = LineDecoder::new().next(&mut &sent[..], 10);
                let arrives = line == Ok(Some(Cow::Borrowed(message)));
                assert_eq!(arrives, expected, "{message:?} {ending:?}");
            }
        }
    }

    #[test]
    fn an_idle_decoder_owns_no_memory() {
        let mut decoder = LineDecoder::new();
        assert_eq!(decoder.next(&mut &b"half"[..], 99), Ok(None));
        let line = decoder.next(&mut &b"\n"[..], 99);
        assert!(line.is_ok_and(|line| line.is_some()));
        assert_eq!(decoder.begun.capacity(), 0);
    }
}
