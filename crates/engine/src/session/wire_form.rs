//! The wire form of a message: what stands before its payload, what is behind it, and whether the
//! payload is masked.
//!
//! Every message that leaves gets its form here: copied into a write queue, referred to where its
//! owner keeps it, encoded once for many subscribers, or as a part of a message.

use crate::memory::with_capacity;
use crate::options::Framing;
use crate::send_error::SendError;
use vespiary_trace::requires;
use vespiary_wire::framing::{length, line};
use vespiary_wire::websocket::frame::{self, Kind, Opcode};

/// What a UDP datagram holds at most, over IPv4: 65,535 less the heads of IP and UDP (RFC 768).
pub(crate) const DATAGRAM_BYTES_MAX: usize = 65_507;

/// What a message, or a part of one, says about itself. Only WebSocket writes it down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) opcode: Opcode,
    /// The payload is compressed.
    pub(crate) compressed: bool,
    /// The message ends with this payload.
    pub(crate) fin: bool,
}

impl Label {
    /// A whole message as it is.
    #[inline]
    pub(crate) fn whole(kind: Kind) -> Self {
        Self {
            opcode: kind.into(),
            compressed: false,
            fin: true,
        }
    }
}

/// What surrounds a certain payload.
pub(crate) struct WireForm {
    head: [u8; frame::HEAD_BYTES_MAX],
    head_length: usize,
    tail: &'static [u8],
    mask: Option<[u8; 4]>,
}

impl WireForm {
    /// The form of a payload. A client gives a fresh `mask` for each frame.
    pub(crate) fn new(
        framing: &Framing,
        label: Label,
        payload: &[u8],
        mask: impl FnOnce() -> Option<[u8; 4]>,
    ) -> Result<Self, SendError> {
        let mut form = Self::empty();
        form.fit(framing, label, payload, mask)?;
        Ok(form)
    }

    /// Nothing surrounds the payload.
    #[inline]
    pub(crate) fn empty() -> Self {
        Self {
            head: [0; frame::HEAD_BYTES_MAX],
            head_length: 0,
            tail: &[],
            mask: None,
        }
    }

    /// Become the form of a payload, in place: each message has a form, and returning it would copy
    /// it.
    #[inline]
    pub(crate) fn fit(
        &mut self,
        framing: &Framing,
        label: Label,
        payload: &[u8],
        mask: impl FnOnce() -> Option<[u8; 4]>,
    ) -> Result<(), SendError> {
        let length = payload.len() as u64;
        match framing {
            Framing::WebSocket => {
                requires!("rfc6455/6.1/4");
                self.mask = mask();
                let Label {
                    opcode,
                    compressed,
                    fin,
                } = label;
                let head = &mut self.head;
                self.head_length =
                    frame::write_head(head, fin, compressed, opcode, length, self.mask);
            }
            Framing::Raw | Framing::Http => {}
            Framing::Datagram => {
                if payload.len() > DATAGRAM_BYTES_MAX {
                    return Err(SendError::TooLong);
                }
            }
            Framing::Line { ending } => {
                if !line::is_line(payload, ending) {
                    return Err(SendError::LineBreak);
                }
                self.tail = ending;
            }
            Framing::Length(format) => {
                let mut prefix = [0; 8];
                self.head_length = length::write_head(&mut prefix, format, length)
                    .map_err(|_| SendError::TooLong)?;
                self.head[..8].copy_from_slice(&prefix);
            }
        }
        Ok(())
    }

    /// The bytes before the payload.
    #[inline]
    pub(crate) fn head(&self) -> &[u8] {
        &self.head[..self.head_length]
    }

    /// The bytes that the whole takes with a payload of `length` bytes.
    #[inline]
    pub(crate) fn size(&self, length: usize) -> usize {
        self.head_length + length + self.tail.len()
    }

    /// The whole in a buffer of its own, if there is memory for it.
    pub(crate) fn encode(&self, payload: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = with_capacity(self.size(payload.len()))?;
        self.append(&mut bytes, payload);
        Some(bytes)
    }

    /// Append the whole to `out`.
    #[inline]
    pub(crate) fn append(&self, out: &mut Vec<u8>, payload: &[u8]) {
        // Nearly all heads have one of these lengths, and a copy of a known length is not a call.
        match *self.head() {
            [] => {}
            [a, b] => out.extend_from_slice(&[a, b]),
            [a, b, c, d] => out.extend_from_slice(&[a, b, c, d]),
            ref head => out.extend_from_slice(head),
        }
        frame::append_payload(out, payload, self.mask);
        if !self.tail.is_empty() {
            out.extend_from_slice(self.tail);
        }
    }
}
