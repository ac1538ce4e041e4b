//! `deflate-stream` (HyBi-09 section 9.2.1): inflated as it arrives, in steps, and deflated as it
//! departs, a batch at once.
//!
//! A little input may inflate to very much. A step's worth is inflated only when what came before
//! it has been taken, so that no more than that is ever held; each step is charged to the
//! connection's budget of frames, so that a peer that sends compressed zeros does not delay others.

use super::{Flow, Layer, Progress, Received};
use crate::close::{Cause, CloseReason, out_of_memory};
use crate::memory;
use vespiary_wire::websocket::ProtocolError;
use vespiary_wire::websocket::deflate_stream::{Reader, Writer};

/// Bytes inflated at a time.
const STEP: usize = 16 << 10;
/// Frames of a turn's budget that a step counts for: a turn inflates 1 MiB.
const STEP_FRAMES: u16 = 16;

/// Both directions.
#[derive(Default)]
pub(crate) struct DeflateStream {
    reader: Reader,
    writer: Writer,
}

impl Layer for DeflateStream {
    fn receive(&mut self, input: &mut [u8], flow: &mut Flow<'_>) -> Result<Received, CloseReason> {
        let before = flow.plain.len();
        memory::resize(flow.plain, before + STEP)?;
        let mut rest = &*input;
        let inflated = self.reader.inflate(&mut rest, &mut flow.plain[before..]);
        let used = input.len() - rest.len();
        flow.plain
            .truncate(before + *inflated.as_ref().unwrap_or(&0));
        let count = inflated.map_err(|corrupt| {
            let error = ProtocolError::from(corrupt);
            CloseReason::new(Cause::ProtocolError, error.to_string()).with_code(error.code)
        })?;
        // A step that filled its room may have left something in the inflater.
        let progress = if count == STEP {
            Progress::Again
        } else {
            Progress::MoreNeeded
        };
        Ok(Received {
            used,
            progress,
            work: STEP_FRAMES,
        })
    }

    fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), CloseReason> {
        wire.try_reserve(Writer::bytes_max(plain.len()))
            .map_err(|_| out_of_memory())?;
        self.writer.deflate(plain, wire);
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        size_of::<Self>() + Reader::MEMORY_BYTES + Writer::memory_bytes()
    }
}
