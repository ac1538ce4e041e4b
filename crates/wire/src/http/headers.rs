//! Looking things up among header lines, RFC 9110 section 5.

use vespiary_trace::requires;

/// What [`super::Request`] and [`super::Response`] share: header lines in the order they came.
///
/// Names are compared without regard to case. Several lines of one name are several values.
pub trait Headers {
    /// The header lines, names as sent, values decoded as Latin-1 and trimmed.
    fn lines(&self) -> impl Iterator<Item = (&str, &str)>;

    /// The value of the first line with this name.
    fn header(&self, name: &str) -> Option<&str> {
        self.lines()
            .find(|(present, _)| present.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The values of all lines with this name.
    fn header_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.lines()
            .filter(move |(present, _)| present.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The comma-separated elements of all lines with this name, trimmed; empty ones are omitted
    /// (RFC 9110 section 5.6.1). For headers whose elements hold no quoted commas.
    fn header_tokens<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.header_all(name)
            .flat_map(|value| value.split(','))
            .map(|token| token.trim_matches([' ', '\t']))
            .filter(
                |token| requires!("rfc9110/5.6.1.2/1", "rfc9110/5.6.1.2/2" => !token.is_empty()),
            )
    }

    /// Whether one of the elements of the lines with this name is `token`, without regard to case.
    fn has_token(&self, name: &str, token: &str) -> bool {
        self.header_tokens(name)
            .any(|present| present.eq_ignore_ascii_case(token))
    }
}

/// Whether `text` is a token (RFC 9110 section 5.6.2): what methods and header names are made of.
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

pub(super) const fn is_token_byte(byte: u8) -> bool {
    matches!(byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_'
        | b'`' | b'|' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z')
}

/// Whether a field value may hold this byte (RFC 9110 section 5.5): visible ASCII, space, tab, and
/// the bytes above ASCII.
pub(super) const fn is_value_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// Every byte is the character of its number (ISO 8859-1), so nothing is lost.
pub(super) fn latin_1(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => text.to_owned(),
        _ => bytes.iter().copied().map(char::from).collect(),
    }
}
