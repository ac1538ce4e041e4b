//! Messages of data frames: whole, put together, or part by part.

use super::super::assembly::{Assembly, TextCheck, not_utf8};
use super::super::sink::{Outcome, Sink};
use super::{Assembling, compression, replaces_text, with_room};
use crate::close::{Cause, CloseReason};
use crate::memory;
use crate::options::Options;
use crate::payload::Payload;
use vespiary_trace::requires;
use vespiary_wire::mask;
use vespiary_wire::websocket::close::Code;
use vespiary_wire::websocket::decoder::Data;
use vespiary_wire::websocket::frame::Kind;

/// The largest buffer for whole text messages that is kept.
const SCRATCH_KEPT: usize = 1 << 20;

#[inline]
pub(super) fn on_data<S: Sink>(
    assembly: &mut Assembling<S::Payload>,
    sink: &S,
    options: &Options,
    data: &Data<'_>,
) -> Outcome {
    if options.websocket.messages.refused() == Some(data.kind) {
        return Err(refused(data.kind));
    }
    if requires!("rfc7692/6.2/1", "rfc7692/7.2.2/h2" => data.compressed) {
        return compression::on_data(assembly, sink, options, data);
    }
    if options.parts {
        return on_part(assembly, sink, data);
    }
    if data.message_start && data.message_end {
        match data.kind {
            Kind::Binary => {
                requires!("rfc6455/5.6/h1");
                let mut payload: S::Payload = with_room(data.payload.len())?;
                mask::copy(payload.bytes_mut(), data.payload, data.key);
                sink.binary(payload);
            }
            Kind::Text => on_whole_text(sink, data)?,
        }
        return Ok(());
    }
    let under_way = assembly.get_or_insert_with(|| Box::new(begun(sink, data)));
    under_way.add(data.payload, data.key, data.frame_remaining, data.fin)?;
    if data.message_end {
        let whole = assembly.take().expect("it was just filled");
        match whole.kind {
            Kind::Binary => sink.binary(whole.into_binary()?),
            Kind::Text => sink.text(&whole.into_text()?),
        }
    }
    Ok(())
}

#[cold]
fn refused(kind: Kind) -> CloseReason {
    let text = match kind {
        Kind::Text => "this endpoint accepts only binary messages (RFC 6455 7.4.1)",
        Kind::Binary => "this endpoint accepts only text messages (RFC 6455 7.4.1)",
    };
    CloseReason::new(Cause::MessageRefused, text).with_code(Code::UNSUPPORTED)
}

fn on_whole_text<S: Sink>(sink: &S, data: &Data<'_>) -> Outcome {
    let mut scratch = sink.scratch().take();
    memory::resize(&mut scratch, data.payload.len())?;
    mask::copy(&mut scratch, data.payload, data.key);
    let text = simdutf8::basic::from_utf8(&scratch);
    let outcome = if text.is_err() && replaces_text(sink) {
        sink.text(&String::from_utf8_lossy(&scratch));
        Ok(())
    } else if requires!("rfc6455/5.6/1", "rfc6455/8.1/1" => text.is_err()) {
        Err(not_utf8())
    } else {
        sink.text(text.unwrap_or_default());
        Ok(())
    };
    if scratch.capacity() <= SCRATCH_KEPT {
        *sink.scratch().borrow_mut() = scratch;
    }
    outcome
}

fn begun<S: Sink>(sink: &S, data: &Data<'_>) -> Assembly<S::Payload> {
    Assembly::new(data.kind, TextCheck::new(replaces_text(sink)))
}

/// Deliver a part as it arrived. An assembly that holds nothing but the validator spans a text
/// message.
fn on_part<S: Sink>(assembly: &mut Assembling<S::Payload>, sink: &S, data: &Data<'_>) -> Outcome {
    let mut payload: S::Payload = with_room(data.payload.len())?;
    mask::copy(payload.bytes_mut(), data.payload, data.key);
    let is_whole = data.message_start && data.message_end;
    if is_whole && data.kind == Kind::Text {
        payload = TextCheck::new(replaces_text(sink)).part(payload, true)?;
    } else if !is_whole {
        let spanning = assembly.get_or_insert_with(|| Box::new(begun(sink, data)));
        payload = spanning.part(payload, data.message_end)?;
        if data.message_end {
            *assembly = None;
        }
    }
    sink.part(data.kind, payload, data.message_end);
    Ok(())
}
