//! Decompressing: sections 6.2 and 7.2.2.

use super::{History, TAIL};
use crate::websocket::ProtocolError;
use crate::websocket::close::Code;
use std::fmt;
use vespiary_trace::requires;
use zlib_rs::{Inflate, InflateFlush, Status};

/// The data of a compressed message is not what DEFLATE gives.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Corrupt;

impl From<Corrupt> for ProtocolError {
    fn from(_: Corrupt) -> Self {
        Self {
            code: Code::INVALID_PAYLOAD,
            text: "a compressed message cannot be decompressed",
            section: "RFC 7692 7.2.2",
            limit: None,
        }
    }
}

impl fmt::Display for Corrupt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        ProtocolError::from(*self).fmt(formatter)
    }
}

impl std::error::Error for Corrupt {}

/// Inflates messages, one after the other, of any connection.
pub struct Inflater {
    inflate: Inflate,
    history: History,
    /// A block that calls itself the last has ended, and no byte has come behind it.
    is_ended: bool,
}

impl fmt::Debug for Inflater {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut structure = formatter.debug_struct("Inflater");
        structure.field("history", &self.history);
        structure.finish_non_exhaustive()
    }
}

impl Default for Inflater {
    fn default() -> Self {
        Self {
            inflate: Inflate::new(false, 15),
            history: History::new(15),
            is_ended: false,
        }
    }
}

impl Inflater {
    /// What each holds of memory besides a connection's history: the window that the library has
    /// anyway, and its tables.
    pub const MEMORY_BYTES: usize = 41 << 10;

    /// How often a call begins again. A block of two bytes may call itself the last and be empty,
    /// and each time a window of 32 KiB is copied: half a megabyte of them is half a second.
    pub const RESTARTS_MAX: usize = 16;

    /// Begin a message behind `history`, of which references may reach into the past.
    pub fn begin(&mut self, history: History) {
        self.history = history;
        self.restart();
    }

    /// End a message, or give it up: what the next one may refer to.
    pub fn take_history(&mut self) -> History {
        std::mem::replace(&mut self.history, History::new(15))
    }

    /// What the history holds of memory at the moment, in bytes.
    pub fn history_bytes(&self) -> usize {
        self.history.memory_bytes()
    }

    fn restart(&mut self) {
        self.inflate.reset(false);
        self.is_ended = false;
        for piece in self.history.pieces() {
            if !piece.is_empty() {
                self.inflate
                    .set_dictionary(piece)
                    .expect("a raw stream takes any dictionary");
            }
        }
    }

    /// Inflate from the front of `input` into `output` until one of them is used up, or until
    /// [`Self::RESTARTS_MAX`] blocks that call themselves the last were passed; how many bytes were
    /// written. As long as `output` is filled, there may be more bytes, even if `input` is empty.
    pub fn inflate(&mut self, input: &mut &[u8], output: &mut [u8]) -> Result<usize, Corrupt> {
        let mut filled = 0;
        let mut restarts = 0;
        while filled < output.len() {
            if self.is_ended {
                if input.is_empty() || restarts == Self::RESTARTS_MAX {
                    break;
                }
                restarts += 1;
                self.restart();
            }
            let (status, written) = self.step(input, &mut output[filled..])?;
            self.history.add(&output[filled..filled + written]);
            filled += written;
            match status {
                Status::StreamEnd => self.is_ended = true,
                Status::Ok if !input.is_empty() => {}
                Status::Ok | Status::BufError => break,
            }
        }
        Ok(filled)
    }

    fn step(&mut self, input: &mut &[u8], output: &mut [u8]) -> Result<(Status, usize), Corrupt> {
        let before = (self.inflate.total_in(), self.inflate.total_out());
        let status = self
            .inflate
            .decompress(input, output, InflateFlush::SyncFlush)
            .map_err(|_| Corrupt)?;
        let taken = (self.inflate.total_in() - before.0) as usize;
        *input = &input[taken..];
        Ok((status, (self.inflate.total_out() - before.1) as usize))
    }

    /// End the message: all its bytes were given, and the last call left room in its output.
    ///
    /// Behind the tail that the sender took away an empty last block must be all that there is:
    /// anything else means that the message ended within a block.
    pub fn finish(&mut self) -> Result<(), Corrupt> {
        if self.is_ended {
            return Ok(());
        }
        requires!("rfc7692/7.2.2/h1");
        let mut end = [0; TAIL.len() + 5];
        end[..4].copy_from_slice(&TAIL);
        end[4] = 0x01;
        end[5..].copy_from_slice(&TAIL);
        let mut input = &end[..];
        let outcome = self.step(&mut input, &mut [0; 1])?;
        if outcome == (Status::StreamEnd, 0) && input.is_empty() {
            self.is_ended = true;
            Ok(())
        } else {
            Err(Corrupt)
        }
    }
}
