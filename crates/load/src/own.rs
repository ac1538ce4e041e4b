//! Messages of the caller's own, instead of noise.

use crate::datagrams::{DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_MIN};
use crate::error::Error;
use crate::framing::Framing;
use crate::plan::SIZE_MAX;

const DATAGRAM_BYTES: std::ops::RangeInclusive<usize> = DATAGRAM_BYTES_MIN..=DATAGRAM_BYTES_MAX;

/// Messages of one's own, at most: they are kept in memory.
pub const OWN_BYTES_MAX: usize = 256 << 20;

/// Say what is wrong with `messages` under `framing`; text where `is_text`.
pub fn check(messages: &[Vec<u8>], framing: Framing, is_text: bool) -> Result<(), Error> {
    if messages.is_empty() {
        return Err(Error::plan("there is no message to send"));
    }
    let total: usize = messages.iter().map(Vec::len).sum();
    if total > OWN_BYTES_MAX {
        return Err(Error::plan(format!(
            "the messages have {total} bytes; at most {OWN_BYTES_MAX} are kept"
        )));
    }
    for (index, message) in messages.iter().enumerate() {
        if let Some(why) = why_not(message, framing, is_text) {
            return Err(Error::plan(format!("message {}: {why}", index + 1)));
        }
    }
    Ok(())
}

fn why_not(message: &[u8], framing: Framing, is_text: bool) -> Option<String> {
    let length = message.len();
    if length > SIZE_MAX {
        return Some(format!(
            "it has {length} bytes; at most {SIZE_MAX} can be sent"
        ));
    }
    if is_text && std::str::from_utf8(message).is_err() {
        return Some("it is not UTF-8; remove --text".to_owned());
    }
    match framing {
        Framing::Raw if length == 0 => Some("it is empty, which --framing raw cannot send".into()),
        Framing::Line | Framing::CrLf if message.contains(&b'\n') => {
            Some("it contains a line feed, which would end it".to_owned())
        }
        Framing::Datagram if !DATAGRAM_BYTES.contains(&length) => Some(format!(
            "it has {length} bytes, and a datagram may have {} to {}",
            DATAGRAM_BYTES.start(),
            DATAGRAM_BYTES.end()
        )),
        Framing::Length(format) if length as u64 > format.payload_bytes_max() => {
            Some(format!("its {length} bytes do not fit into the length"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(message: &[u8], framing: &str, is_text: bool) -> String {
        let framing = Framing::parse(framing).expect("known");
        let messages = [b"fine".to_vec(), message.to_vec()];
        check(&messages, framing, is_text)
            .expect_err("it cannot be sent")
            .to_string()
    }

    #[test]
    fn messages_that_cannot_be_sent_are_named() {
        assert!(refusal(b"", "raw", false).starts_with("message 2: it is empty"));
        assert!(refusal(b"a\nb", "line", false).contains("line feed"));
        assert!(refusal(&[0; 256], "length:1", false).contains("do not fit"));
        assert!(refusal(b"\xff", "websocket", true).contains("UTF-8"));
        assert!(check(&[], Framing::Raw, false).is_err());
        check(&[vec![]], Framing::WebSocket, true).expect("an empty message is one");
    }
}
