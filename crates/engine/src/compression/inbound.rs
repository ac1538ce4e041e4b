//! Compressed messages in.
//!
//! A run of bytes is unmasked aside and inflated into one room of 64 KiB, which stays in the cache:
//! most messages fit into it, and go from there to the host in one copy of the right length, or as
//! text in none. A larger one is assembled piece by piece, with its text checked and its size
//! bounded as it grows.
//!
//! Sixteen kilobytes received may become sixteen megabytes. What is inflated is therefore charged
//! to the connection's budget of frames, and so is each stop of the inflater on its way; when the
//! connection is blocked, by that or by a handler that pauses in the midst of a message's parts,
//! the rest of the run waits, and [`resume`] goes on with it before anything else is read.

use super::pool::Inflating;
use super::{Deflate, FRAME_BYTES, count};
use crate::assembly::{Assembly, not_utf8};
use crate::close::{Cause, CloseReason};
use crate::connection::Connection;
use crate::host::{Host, Kind};
use crate::limit::Limit;
use crate::options::Options;
use crate::receive::{Inbound, copied, count_message, may_deliver};
use std::rc::Rc;
use vespiary_trace::requires;
use vespiary_wire::mask;
use vespiary_wire::websocket::ProtocolError;
use vespiary_wire::websocket::close::Code;
use vespiary_wire::websocket::decoder::Data;
use vespiary_wire::websocket::deflate::{Corrupt, History, Inflater};

/// Frames that count for a stop of the inflater: it has copied its window so many times.
const STOP_FRAMES: u16 = Inflater::RESTARTS_MAX as u16;

/// A run of bytes of a message, beside the bytes.
struct Run<'a, H: Host> {
    connection: &'a Rc<Connection<H>>,
    deflate: &'a Deflate,
    options: &'a Options,
    kind: Kind,
    /// It is the last of its message.
    ends: bool,
}

type Assembling<H> = Option<Box<Assembly<<H as Host>::Payload>>>;

/// A run of bytes of a compressed message has come.
pub(crate) fn on_data<H: Host>(
    connection: &Rc<Connection<H>>,
    assembly: &mut Assembling<H>,
    options: &Options,
    data: &Data<'_>,
) -> Result<(), CloseReason> {
    let deflate = connection.deflate.get().expect("RSV1 is refused without");
    count(connection, deflate, |traffic| {
        let length = data.payload.len() as u64;
        traffic.compressed_in = traffic.compressed_in.wrapping_add(length);
        traffic.messages_in = traffic.messages_in.wrapping_add(data.message_start.into());
    });
    if data.message_start {
        begin(connection, deflate);
    }
    let run = Run {
        connection,
        deflate,
        options,
        kind: data.kind,
        ends: data.message_end,
    };
    let mut packed = connection.engine.compression.borrow_mut().take_buffer();
    packed.resize(data.payload.len(), 0);
    mask::copy(&mut packed, data.payload, data.key);
    let outcome = inflate(&run, assembly, &packed);
    let mut pool = connection.engine.compression.borrow_mut();
    pool.put_buffer(packed);
    outcome
}

/// Whether what has come of a compressed message waits to be inflated.
pub(crate) fn is_waiting<H: Host>(connection: &Connection<H>) -> bool {
    connection.deflate.get().is_some_and(|deflate| {
        let message = deflate.message.borrow();
        message.as_ref().is_some_and(|it| it.waiting.is_some())
    })
}

/// Go on with what waits, unless the connection is still blocked.
pub(crate) fn resume<H: Host>(
    connection: &Rc<Connection<H>>,
    inbound: &mut Inbound<H>,
) -> Result<(), CloseReason> {
    let Some(deflate) = connection.deflate.get() else {
        return Ok(());
    };
    if connection.is_blocked() || !may_deliver(connection) {
        return Ok(());
    }
    let waiting = deflate.message.borrow_mut().as_mut().and_then(|message| {
        let waiting = message.waiting.take()?;
        Some((message.kind, waiting))
    });
    let Some((kind, (packed, ends))) = waiting else {
        return Ok(());
    };
    let options = connection.endpoint.options();
    let run = Run {
        connection,
        deflate,
        options: &options,
        kind,
        ends,
    };
    inflate(&run, &mut inbound.assembly, &packed)
}

fn begin<H: Host>(connection: &Connection<H>, deflate: &Deflate) {
    let mut message = connection.engine.compression.borrow_mut().take_message();
    let history = deflate.history.take();
    let history = history.unwrap_or_else(|| History::new(deflate.incoming.window_bits));
    message.inflater.begin(history);
    message.inflated = 0;
    message.waiting = None;
    deflate.message.replace(Some(message));
}

/// The message is over, or given up: what it borrowed goes back.
fn end<H: Host>(connection: &Connection<H>, deflate: &Deflate, mut message: Box<Inflating>) {
    let history = message.inflater.take_history();
    let is_kept = requires!(
        "rfc7692/7.2.2/2", "rfc7692/7.2.2/4", "rfc7692/7.2.2/5"
        => deflate.incoming.context_takeover
    );
    if is_kept {
        deflate.history.replace(Some(history));
    }
    connection
        .engine
        .compression
        .borrow_mut()
        .put_message(message);
    deflate.account(connection);
}

fn inflate<H: Host>(
    run: &Run<'_, H>,
    assembly: &mut Assembling<H>,
    packed: &[u8],
) -> Result<(), CloseReason> {
    let Some(message) = run.deflate.message.take() else {
        return Ok(());
    };
    let mut room = run.connection.engine.compression.borrow_mut().take_room();
    let outcome = inflate_into(run, assembly, packed, message, &mut room);
    run.connection
        .engine
        .compression
        .borrow_mut()
        .put_room(room);
    outcome
}

fn inflate_into<H: Host>(
    run: &Run<'_, H>,
    assembly: &mut Assembling<H>,
    packed: &[u8],
    mut message: Box<Inflating>,
    room: &mut [u8],
) -> Result<(), CloseReason> {
    let Run {
        connection,
        deflate,
        ..
    } = *run;
    let mut input = packed;
    loop {
        let filled = match step(run, &mut message, &mut input, room) {
            Ok(filled) => filled,
            Err(reason) => {
                end(connection, deflate, message);
                return Err(reason);
            }
        };
        let is_stopped = filled < room.len() && !input.is_empty();
        let goes_on = filled == room.len() || is_stopped;
        let frames = (filled / FRAME_BYTES) as u16 + u16::from(is_stopped) * STOP_FRAMES;
        if frames > 0 {
            connection.engine.spend_frames(connection, frames);
        }
        let piece = &room[..filled];
        if run.ends && !goes_on {
            end(connection, deflate, message);
            return hand_over(run, assembly, piece);
        }
        add_piece(run, assembly, piece)?;
        if goes_on && connection.is_blocked() {
            message.kind = run.kind;
            message.waiting = Some((input.to_vec(), run.ends));
        }
        if !goes_on || message.waiting.is_some() {
            deflate.message.replace(Some(message));
            deflate.account(connection);
            return Ok(());
        }
        if !may_deliver(connection) {
            end(connection, deflate, message);
            return Ok(());
        }
    }
}

/// Fill the room once, within the limit on a message; and where the message ends, see that it does.
fn step<H: Host>(
    run: &Run<'_, H>,
    message: &mut Inflating,
    input: &mut &[u8],
    room: &mut [u8],
) -> Result<usize, CloseReason> {
    let filled = message.inflater.inflate(input, room).map_err(corrupt)?;
    message.inflated = message.inflated.saturating_add(filled as u64);
    count(run.connection, run.deflate, |traffic| {
        traffic.inflated_in = traffic.inflated_in.wrapping_add(filled as u64);
    });
    let most = run.options.limits.message_bytes_max;
    if message.inflated > most {
        return Err(too_big(run.connection));
    }
    if run.ends && filled < room.len() && input.is_empty() {
        message.inflater.finish().map_err(corrupt)?;
    }
    Ok(filled)
}

/// A piece of a message that goes on.
fn add_piece<H: Host>(
    run: &Run<'_, H>,
    assembly: &mut Assembling<H>,
    piece: &[u8],
) -> Result<(), CloseReason> {
    if piece.is_empty() {
        return Ok(());
    }
    let under_way = assembly.get_or_insert_with(|| Assembly::boxed(run.kind));
    if !run.options.parts {
        return under_way.add(piece, [0; 4], 0, false);
    }
    let payload = under_way.part(copied(piece)?, false)?;
    count_message(run.connection, false);
    let host = &run.connection.engine.host;
    host.part(run.connection, run.kind, payload, false);
    Ok(())
}

/// The last piece of a message.
fn hand_over<H: Host>(
    run: &Run<'_, H>,
    assembly: &mut Assembling<H>,
    piece: &[u8],
) -> Result<(), CloseReason> {
    let under_way = assembly.take();
    let host = &run.connection.engine.host;
    if run.options.parts {
        let mut spanning = under_way.unwrap_or_else(|| Assembly::boxed(run.kind));
        let payload = spanning.part(copied(piece)?, true)?;
        count_message(run.connection, true);
        host.part(run.connection, run.kind, payload, true);
        return Ok(());
    }
    let Some(mut whole) = under_way else {
        return hand_over_whole(run, piece);
    };
    whole.add(piece, [0; 4], 0, true)?;
    count_message(run.connection, true);
    match run.kind {
        Kind::Binary => host.binary(run.connection, whole.into_binary()?),
        Kind::Text => host.text(run.connection, &whole.into_text()?),
    }
    Ok(())
}

/// A message that fitted into the room.
fn hand_over_whole<H: Host>(run: &Run<'_, H>, message: &[u8]) -> Result<(), CloseReason> {
    let host = &run.connection.engine.host;
    match run.kind {
        Kind::Binary => {
            let payload = copied(message)?;
            count_message(run.connection, true);
            host.binary(run.connection, payload);
        }
        Kind::Text => {
            let text = simdutf8::basic::from_utf8(message).map_err(|_| not_utf8())?;
            count_message(run.connection, true);
            host.text(run.connection, text);
        }
    }
    Ok(())
}

fn corrupt(corrupt: Corrupt) -> CloseReason {
    let error = ProtocolError::from(corrupt);
    CloseReason::new(Cause::ProtocolError, error.to_string()).with_code(error.code)
}

fn too_big<H: Host>(connection: &Rc<Connection<H>>) -> CloseReason {
    let host = &connection.engine.host;
    connection.endpoint.limit_reached(host, Limit::MessageBytes);
    let text = "a compressed message inflates to more than this endpoint takes (RFC 6455 10.4)";
    CloseReason::new(Cause::Limit(Limit::MessageBytes), text).with_code(Code::TOO_BIG)
}
