//! A message that arrives in several chunks, put together where the host will have it.
//!
//! The buffer grows with the bytes that have arrived, and is larger than these by at most one step.
//! So a peer that announces a large message and sends little needs little memory. Text is checked
//! chunk by chunk: what can no longer become UTF-8 is refused at that chunk (RFC 6455 8.1). A
//! client of HyBi-09 replaces it instead ([`TextCheck`]).

use super::copied;
use crate::close::{Cause, CloseReason, out_of_memory};
use crate::memory;
use crate::payload::Payload;
use vespiary_trace::requires;
use vespiary_wire::mask;
use vespiary_wire::utf8::{Replacer, Validator};
use vespiary_wire::websocket::close::Code;
use vespiary_wire::websocket::frame::Kind;

/// By how much the buffer may be larger than what has arrived.
const STEP: usize = 256 << 10;

/// What is done about bytes of a text that are not UTF-8.
pub(crate) enum TextCheck {
    Refusing(Validator),
    Replacing(Replacer),
}

impl TextCheck {
    /// The check of a new text.
    pub(crate) fn new(replaces: bool) -> Self {
        if replaces {
            Self::Replacing(Replacer::default())
        } else {
            Self::Refusing(Validator::default())
        }
    }

    /// Check a part of a text whose parts are handed over as they come, the `last` one or not.
    pub(crate) fn part<P: Payload>(&mut self, part: P, last: bool) -> Result<P, CloseReason> {
        match self {
            Self::Refusing(validator) => {
                check_piece(validator, part.bytes())?;
                if last {
                    check_end(validator)?;
                }
                Ok(part)
            }
            Self::Replacing(replacer) => {
                // What is not UTF-8 becomes three bytes each.
                let mut replaced = Vec::new();
                let most = part.bytes().len().saturating_mul(3).saturating_add(12);
                replaced.try_reserve(most).map_err(|_| out_of_memory())?;
                replacer.feed(part.bytes(), &mut replaced);
                if last {
                    replacer.finish(&mut replaced);
                }
                copied(&replaced)
            }
        }
    }
}

/// A message in progress.
pub(crate) struct Assembly<P> {
    pub(crate) kind: Kind,
    binary: Option<P>,
    text: Vec<u8>,
    filled: usize,
    check: TextCheck,
}

impl<P: Payload> Assembly<P> {
    pub(crate) fn boxed(kind: Kind) -> Box<Self> {
        Box::new(Self::new(kind, TextCheck::new(false)))
    }

    pub(crate) fn new(kind: Kind, check: TextCheck) -> Self {
        Self {
            kind,
            binary: None,
            text: Vec::new(),
            filled: 0,
            check,
        }
    }

    pub(crate) fn buffer_bytes(&self) -> usize {
        let binary = self.binary.as_ref().map_or(0, |it| it.bytes().len());
        size_of::<Self>() + binary + self.text.capacity()
    }

    /// Add a chunk; `remaining` bytes of its frame are to come, and the frame may be the message's
    /// `last`.
    pub(crate) fn add(
        &mut self,
        chunk: &[u8],
        key: [u8; 4],
        remaining: u64,
        last: bool,
    ) -> Result<(), CloseReason> {
        // A fragment may be empty (RFC 6455 5.4), the first one too, when there is no room yet.
        if chunk.is_empty() {
            return Ok(());
        }
        let end = self
            .filled
            .checked_add(chunk.len())
            .ok_or_else(out_of_memory)?;
        match self.kind {
            Kind::Binary => {
                self.make_room(end, remaining, last)?;
                let payload = self.binary.as_mut().expect("room was made");
                mask::copy(&mut payload.bytes_mut()[self.filled..end], chunk, key);
            }
            Kind::Text => {
                memory::resize(&mut self.text, end)?;
                let piece = &mut self.text[self.filled..];
                mask::copy(piece, chunk, key);
                if let TextCheck::Refusing(validator) = &mut self.check {
                    check_piece(validator, piece)?;
                }
            }
        }
        requires!("rfc6455/5.4/3", "rfc6455/5.4/h2");
        self.filled = end;
        Ok(())
    }

    fn make_room(&mut self, end: usize, remaining: u64, last: bool) -> Result<(), CloseReason> {
        let room = self
            .binary
            .as_ref()
            .map_or(0, |payload| payload.bytes().len());
        if end <= room {
            return Ok(());
        }
        let announced = usize::try_from(remaining)
            .ok()
            .and_then(|remaining| end.checked_add(remaining))
            .ok_or_else(out_of_memory)?;
        let step = end.max(STEP);
        let ahead = end.checked_add(step).ok_or_else(out_of_memory)?;
        // The last frame's end is the message's end; before that, doubling keeps copying linear.
        let wanted = if last || announced > ahead {
            announced.min(ahead)
        } else {
            announced.max(end + end / 2)
        };
        let payload = match self.binary.take() {
            None => P::with_length(wanted),
            Some(payload) => payload.resized(wanted),
        };
        self.binary = Some(payload.ok_or_else(out_of_memory)?);
        Ok(())
    }

    /// Check a part of a message whose parts are handed over as they come.
    pub(crate) fn part(&mut self, part: P, last: bool) -> Result<P, CloseReason> {
        match self.kind {
            Kind::Binary => Ok(part),
            Kind::Text => self.check.part(part, last),
        }
    }

    /// The whole binary message.
    pub(crate) fn into_binary(self) -> Result<P, CloseReason> {
        let payload = match self.binary {
            Some(payload) => payload,
            None => P::with_length(0).ok_or_else(out_of_memory)?,
        };
        if payload.bytes().len() == self.filled {
            return Ok(payload);
        }
        payload.resized(self.filled).ok_or_else(out_of_memory)
    }

    /// The whole text message, as checked UTF-8.
    pub(crate) fn into_text(self) -> Result<String, CloseReason> {
        match (String::from_utf8(self.text), self.check) {
            (Ok(text), _) => Ok(text),
            (Err(broken), TextCheck::Replacing(_)) => {
                Ok(String::from_utf8_lossy(broken.as_bytes()).into_owned())
            }
            (Err(_), TextCheck::Refusing(_)) => {
                requires!("rfc6455/5.6/1");
                Err(not_utf8())
            }
        }
    }
}

/// Check a piece of a text.
fn check_piece(validator: &mut Validator, piece: &[u8]) -> Result<(), CloseReason> {
    let checked = validator.feed(piece);
    if requires!("rfc6455/8.1/1" => checked.is_err()) {
        return Err(not_utf8());
    }
    Ok(())
}

/// Check that a text ends where a character ends.
fn check_end(validator: &mut Validator) -> Result<(), CloseReason> {
    let ended = validator.finish();
    if requires!("rfc6455/5.6/1" => ended.is_err()) {
        return Err(not_utf8());
    }
    Ok(())
}

pub(crate) fn not_utf8() -> CloseReason {
    let text = "the text message is not UTF-8 (RFC 6455 8.1)";
    let reason = CloseReason::new(Cause::ProtocolError, text);
    requires!("rfc6455/7.4.1/h3");
    reason.with_code(Code::INVALID_PAYLOAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_announcement_does_not_make_much_room() {
        let mut assembly = Assembly::<Vec<u8>>::boxed(Kind::Binary);
        assembly.add(b"abc", [0; 4], 1 << 40, true).unwrap();
        assert!(assembly.binary.as_ref().unwrap().len() <= STEP + 8);
    }

    #[test]
    fn empty_fragments_add_nothing_wherever_they_stand() {
        let mut assembly = Assembly::<Vec<u8>>::boxed(Kind::Binary);
        for (chunk, last) in [
            (&b""[..], false),
            (b"ab", false),
            (b"", false),
            (b"c", false),
            (b"", true),
        ] {
            assembly.add(chunk, [0; 4], 0, last).unwrap();
        }
        assert_eq!(assembly.into_binary().unwrap(), b"abc");
    }

    #[test]
    fn chunks_come_out_in_order_whatever_their_sizes() {
        let mut assembly = Assembly::<Vec<u8>>::boxed(Kind::Binary);
        let whole: Vec<u8> = (0..2_000_000u32).map(|number| number as u8).collect();
        let mut done = 0;
        for size in [1, 70_000, 5, 900_000, 300_000].into_iter().cycle() {
            let end = (done + size).min(whole.len());
            assembly
                .add(&whole[done..end], [0; 4], (whole.len() - end) as u64, true)
                .unwrap();
            done = end;
            if done == whole.len() {
                break;
            }
        }
        assert_eq!(assembly.into_binary().unwrap(), whole);
    }

    #[test]
    fn text_that_can_no_longer_become_utf8_is_refused_at_its_chunk() {
        let mut assembly = Assembly::<Vec<u8>>::boxed(Kind::Text);
        assembly.add(b"\xce", [0; 4], 10, false).unwrap();
        let reason = assembly.add(b"\xff", [0; 4], 9, false).unwrap_err();
        assert_eq!(reason.code, Some(1007));
    }
}
