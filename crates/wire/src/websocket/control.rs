//! Control frames as they are read: whole, by value, and put together when the input cuts them.

use super::frame::{CONTROL_BYTES_MAX, Opcode};
use super::head::Head;
use crate::mask;

/// A close, ping or pong frame, whole and unmasked.
#[derive(Clone)]
pub struct Control {
    /// Which of the three.
    pub opcode: Opcode,
    length: u8,
    bytes: [u8; CONTROL_BYTES_MAX],
}

impl Control {
    /// The payload, 0 to 125 bytes.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl PartialEq for Control {
    fn eq(&self, other: &Self) -> bool {
        self.opcode == other.opcode && self.payload() == other.payload()
    }
}

impl Eq for Control {}

impl std::fmt::Debug for Control {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Control")
            .field("opcode", &self.opcode)
            .field("payload", &self.payload())
            .finish_non_exhaustive()
    }
}

/// A control frame whose payload may be still to come.
#[derive(Debug)]
pub(super) struct PartialControl {
    pub control: Control,
    filled: u8,
    key: [u8; 4],
}

impl PartialControl {
    pub fn new(opcode: Opcode, head: &Head) -> Self {
        Self {
            control: Control {
                opcode,
                length: head.length as u8,
                bytes: [0; CONTROL_BYTES_MAX],
            },
            filled: 0,
            key: head.key,
        }
    }

    /// Takes what is missing off the front of `input`; whether nothing is missing now.
    pub fn fill(&mut self, input: &mut &[u8]) -> bool {
        let filled = usize::from(self.filled);
        let wanted = usize::from(self.control.length) - filled;
        let (payload, rest) = input.split_at(wanted.min(input.len()));
        *input = rest;
        let space = &mut self.control.bytes[filled..filled + payload.len()];
        mask::copy(space, payload, mask::rotate(self.key, filled));
        self.filled += payload.len() as u8;
        self.filled == self.control.length
    }
}
