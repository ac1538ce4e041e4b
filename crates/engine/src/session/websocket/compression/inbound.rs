//! Compressed messages in.
//!
//! A run of bytes is unmasked into a separate buffer and inflated into one buffer of 64 KiB, which
//! stays in the cache. Most messages fit into it, and are copied from there once, into an object of
//! the right length for the host; text is not copied at all. A larger one is assembled piece by
//! piece, with its text checked and its size bounded as it grows.
//!
//! Sixteen kilobytes received may become sixteen megabytes. What is inflated is therefore charged
//! to the connection's budget of frames, as is each stop of the inflater on its way. When the
//! connection is blocked, by that or by a handler that pauses between the parts of a message,
//! the rest of the run waits, and [`resume`] continues with it before anything else is read.

use super::pool::Inflating;
use super::{Deflate, FRAME_BYTES};
use crate::close::{Cause, CloseReason};
use crate::limit::Limit;
use crate::memory;
use crate::options::Options;
use crate::session::assembly::{Assembly, not_utf8};
use crate::session::copied;
use crate::session::sink::{Outcome, Sink};
use crate::session::websocket::Assembling;
use vespiary_trace::requires;
use vespiary_wire::mask;
use vespiary_wire::websocket::ProtocolError;
use vespiary_wire::websocket::close::Code;
use vespiary_wire::websocket::decoder::Data;
use vespiary_wire::websocket::deflate::{Corrupt, History, Inflater};
use vespiary_wire::websocket::frame::Kind;

/// Frames that count for a stop of the inflater: it has copied its window so many times.
const STOP_FRAMES: u16 = Inflater::RESTARTS_MAX as u16;

/// A run of bytes of a message, besides the bytes.
struct Run<'a, S: Sink> {
    sink: &'a S,
    deflate: &'a Deflate,
    options: &'a Options,
    kind: Kind,
    /// It is the last of its message.
    ends: bool,
}

/// A run of bytes of a compressed message has come.
pub(crate) fn on_data<S: Sink>(
    assembly: &mut Assembling<S::Payload>,
    sink: &S,
    options: &Options,
    data: &Data<'_>,
) -> Outcome {
    let negotiated = sink.negotiated().deflate.get();
    let deflate = negotiated.expect("RSV1 is refused without");
    deflate.count(sink, |traffic| {
        let length = data.payload.len() as u64;
        traffic.compressed_in = traffic.compressed_in.wrapping_add(length);
        traffic.messages_in = traffic.messages_in.wrapping_add(data.message_start.into());
    });
    if data.message_start {
        begin(sink, deflate);
    }
    let run = Run {
        sink,
        deflate,
        options,
        kind: data.kind,
        ends: data.message_end,
    };
    let mut packed = sink.compression_pool().borrow_mut().take_buffer();
    memory::resize(&mut packed, data.payload.len())?;
    mask::copy(&mut packed, data.payload, data.key);
    let outcome = inflate(&run, assembly, &packed);
    sink.compression_pool().borrow_mut().put_buffer(packed);
    outcome
}

/// Whether what has come of a compressed message waits to be inflated.
#[inline]
pub(crate) fn is_waiting<S: Sink>(sink: &S) -> bool {
    sink.negotiated().deflate.get().is_some_and(|deflate| {
        let message = deflate.message.borrow();
        message.as_ref().is_some_and(|it| it.waiting.is_some())
    })
}

/// Continue with what waits, unless the connection is still blocked.
pub(crate) fn resume<S: Sink>(assembly: &mut Assembling<S::Payload>, sink: &S) -> Outcome {
    let Some(deflate) = sink.negotiated().deflate.get() else {
        return Ok(());
    };
    if sink.is_blocked() {
        return Ok(());
    }
    if !sink.may_deliver() {
        abandon(sink);
        return Ok(());
    }
    let waiting = deflate.message.borrow_mut().as_mut().and_then(|message| {
        let waiting = message.waiting.take()?;
        Some((message.kind, waiting))
    });
    let Some((kind, (packed, ends))) = waiting else {
        return Ok(());
    };
    let options = sink.options();
    let run = Run {
        sink,
        deflate,
        options: &options,
        kind,
        ends,
    };
    inflate(&run, assembly, &packed)
}

/// The message in progress is not delivered.
pub(crate) fn abandon<S: Sink>(sink: &S) {
    let Some(deflate) = sink.negotiated().deflate.get() else {
        return;
    };
    if let Some(mut message) = deflate.message.take() {
        message.waiting = None;
        end(sink, deflate, message);
    }
}

fn begin<S: Sink>(sink: &S, deflate: &Deflate) {
    let mut message = sink.compression_pool().borrow_mut().take_message();
    let history = deflate.history.take();
    let history = history.unwrap_or_else(|| History::new(deflate.incoming.window_bits));
    message.inflater.begin(history);
    message.inflated = 0;
    message.has_input = false;
    message.waiting = None;
    deflate.message.replace(Some(message));
}

/// The message is over or abandoned: what it borrowed goes back.
fn end<S: Sink>(sink: &S, deflate: &Deflate, mut message: Box<Inflating>) {
    let history = message.inflater.take_history();
    let is_kept = requires!(
        "rfc7692/7.2.2/2", "rfc7692/7.2.2/4", "rfc7692/7.2.2/5"
        => deflate.incoming.context_takeover
    );
    if is_kept {
        deflate.history.replace(Some(history));
    }
    sink.compression_pool().borrow_mut().put_message(message);
    deflate.account(sink);
}

fn inflate<S: Sink>(
    run: &Run<'_, S>,
    assembly: &mut Assembling<S::Payload>,
    packed: &[u8],
) -> Outcome {
    let Some(message) = run.deflate.message.take() else {
        return Ok(());
    };
    let pool = run.sink.compression_pool();
    let mut room = pool.borrow_mut().take_room();
    let outcome = inflate_into(run, assembly, packed, message, &mut room);
    pool.borrow_mut().put_room(room);
    outcome
}

fn inflate_into<S: Sink>(
    run: &Run<'_, S>,
    assembly: &mut Assembling<S::Payload>,
    packed: &[u8],
    mut message: Box<Inflating>,
    room: &mut [u8],
) -> Outcome {
    let Run { sink, deflate, .. } = *run;
    let mut input = packed;
    loop {
        let filled = match step(run, &mut message, &mut input, room) {
            Ok(filled) => filled,
            Err(reason) => {
                end(sink, deflate, message);
                return Err(reason);
            }
        };
        let is_stopped = filled < room.len() && !input.is_empty();
        let goes_on = filled == room.len() || is_stopped;
        let frames = (filled / FRAME_BYTES) as u16 + u16::from(is_stopped) * STOP_FRAMES;
        if frames > 0 {
            sink.charge(frames);
        }
        let piece = &room[..filled];
        if run.ends && !goes_on {
            end(sink, deflate, message);
            return hand_over(run, assembly, piece);
        }
        add_piece(run, assembly, piece)?;
        if goes_on && sink.is_blocked() {
            message.kind = run.kind;
            let mut waiting = Vec::new();
            memory::extend(&mut waiting, input)?;
            message.waiting = Some((waiting, run.ends));
        }
        if !goes_on || message.waiting.is_some() {
            deflate.message.replace(Some(message));
            deflate.account(sink);
            return Ok(());
        }
        if !sink.may_deliver() {
            end(sink, deflate, message);
            return Ok(());
        }
    }
}

/// Fill the room once, within the limit on a message; and where the message ends, see that it does.
fn step<S: Sink>(
    run: &Run<'_, S>,
    message: &mut Inflating,
    input: &mut &[u8],
    room: &mut [u8],
) -> Result<usize, CloseReason> {
    let had_input = !input.is_empty();
    let filled = message.inflater.inflate(input, room).map_err(corrupt)?;
    message.inflated = message.inflated.saturating_add(filled as u64);
    run.deflate.count(run.sink, |traffic| {
        traffic.inflated_in = traffic.inflated_in.wrapping_add(filled as u64);
    });
    let most = run.options.limits.message_bytes_max;
    if message.inflated > most {
        return Err(too_big(run.sink));
    }
    message.has_input |= had_input;
    // A message of no bytes at all is not what RFC 7692 7.2.3.6 gives an empty one, but other
    // peers take it for one, and it cannot be anything else.
    if run.ends && filled < room.len() && input.is_empty() && message.has_input {
        message.inflater.finish().map_err(corrupt)?;
    }
    Ok(filled)
}

/// A piece of a message that continues.
fn add_piece<S: Sink>(
    run: &Run<'_, S>,
    assembly: &mut Assembling<S::Payload>,
    piece: &[u8],
) -> Outcome {
    if piece.is_empty() {
        return Ok(());
    }
    let under_way = assembly.get_or_insert_with(|| Assembly::boxed(run.kind));
    if !run.options.parts {
        return under_way.add(piece, [0; 4], 0, false);
    }
    let payload = under_way.part(copied(piece)?, false)?;
    run.sink.part(run.kind, payload, false);
    Ok(())
}

/// The last piece of a message.
fn hand_over<S: Sink>(
    run: &Run<'_, S>,
    assembly: &mut Assembling<S::Payload>,
    piece: &[u8],
) -> Outcome {
    let under_way = assembly.take();
    if run.options.parts {
        let mut spanning = under_way.unwrap_or_else(|| Assembly::boxed(run.kind));
        let payload = spanning.part(copied(piece)?, true)?;
        run.sink.part(run.kind, payload, true);
        return Ok(());
    }
    let Some(mut whole) = under_way else {
        return hand_over_whole(run, piece);
    };
    whole.add(piece, [0; 4], 0, true)?;
    match run.kind {
        Kind::Binary => run.sink.binary(whole.into_binary()?),
        Kind::Text => run.sink.text(&whole.into_text()?),
    }
    Ok(())
}

/// A message that fitted into the room.
fn hand_over_whole<S: Sink>(run: &Run<'_, S>, message: &[u8]) -> Outcome {
    match run.kind {
        Kind::Binary => run.sink.binary(copied(message)?),
        Kind::Text => {
            let text = simdutf8::basic::from_utf8(message).map_err(|_| not_utf8())?;
            run.sink.text(text);
        }
    }
    Ok(())
}

fn corrupt(corrupt: Corrupt) -> CloseReason {
    let error = ProtocolError::from(corrupt);
    CloseReason::new(Cause::ProtocolError, error.to_string()).with_code(error.code)
}

fn too_big<S: Sink>(sink: &S) -> CloseReason {
    sink.limit_reached(Limit::MessageBytes);
    let text =
        "a compressed message decompresses to more than this endpoint accepts (RFC 6455 10.4)";
    CloseReason::new(Cause::Limit(Limit::MessageBytes), text).with_code(Code::TOO_BIG)
}
