//! Length prefixes: a length, then so many bytes.

use super::assembly::Assembly;
use super::sink::{Outcome, Sink};
use super::{Session, Stage, copied, too_big};
use crate::close::{Cause, CloseReason};
use crate::options::Framing;
use vespiary_wire::framing::length::{Chunk, FramingError};
use vespiary_wire::websocket::frame::Kind;

/// Deliver the packets of `rest` until it is used up or must wait.
pub(crate) fn feed<S: Sink>(
    session: &mut Session<S::Payload>,
    sink: &S,
    rest: &mut &[u8],
) -> Outcome {
    let options = sink.options();
    let Framing::Length(format) = &options.framing else {
        unreachable!("the framing is fixed")
    };
    let Stage::Length(decoder) = &mut session.stage else {
        unreachable!("the caller matched")
    };
    while !rest.is_empty() && !sink.is_blocked() {
        if !sink.may_deliver() {
            *rest = &[];
            break;
        }
        let chunk = match decoder.next(rest, format, options.limits.message_bytes_max) {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break,
            Err(error @ FramingError::TooLong { .. }) => {
                return Err(too_big(sink, error.to_string()));
            }
            Err(error @ FramingError::TooShort { .. }) => {
                return Err(CloseReason::new(Cause::ProtocolError, error.to_string()));
            }
        };
        sink.charge(1);
        if options.parts {
            sink.part(Kind::Binary, copied(chunk.payload)?, chunk.end);
        } else {
            on_chunk(&mut session.assembly, sink, &chunk)?;
        }
    }
    Ok(())
}

/// Deliver a packet that came whole, or add a piece of one that did not.
#[inline]
fn on_chunk<S: Sink>(
    assembly: &mut Option<Box<Assembly<S::Payload>>>,
    sink: &S,
    chunk: &Chunk<'_>,
) -> Outcome {
    if chunk.start && chunk.end {
        sink.binary(copied(chunk.payload)?);
        return Ok(());
    }
    let under_way = assembly.get_or_insert_with(|| Assembly::boxed(Kind::Binary));
    under_way.add(chunk.payload, [0; 4], chunk.remaining, true)?;
    if chunk.end {
        let whole = assembly.take().expect("it was just filled");
        sink.binary(whole.into_binary()?);
    }
    Ok(())
}
