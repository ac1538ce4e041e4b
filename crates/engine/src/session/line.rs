//! Lines: a message ends with LF or CR LF.

use super::sink::{Outcome, Sink};
use super::{copied, too_big};
use crate::close::out_of_memory;
use vespiary_wire::framing::line::{LineDecoder, LineError};

/// Deliver the lines of `rest` until it is used up or must wait.
pub(crate) fn feed<S: Sink>(decoder: &mut LineDecoder, sink: &S, rest: &mut &[u8]) -> Outcome {
    let most = sink.options().limits.message_bytes_max;
    while !rest.is_empty() && !sink.is_blocked() {
        if !sink.may_deliver() {
            *rest = &[];
            break;
        }
        match decoder.next(rest, most) {
            Ok(Some(line)) => {
                sink.binary(copied(&line)?);
                sink.charge(1);
            }
            Ok(None) => {}
            Err(LineError::OutOfMemory) => return Err(out_of_memory()),
            Err(error) => return Err(too_big(sink, error.to_string())),
        }
    }
    Ok(())
}
