//! WebSocket on a connection: messages in, control frames answered, the close handshake.

use crate::assembly::{Assembly, TextCheck, not_utf8};
use crate::close::{Cause, CloseReason, out_of_memory};
use crate::compression;
use crate::connection::{Connection, State};
use crate::deflate_stream::DeflateStream;
use crate::endpoint::add;
use crate::host::{Host, Kind, Payload};
use crate::limit::Limit;
use crate::options::Options;
use crate::receive::{Decode, Inbound, count_message, may_deliver, opened};
use std::rc::Rc;
use vespiary_trace::requires;
use vespiary_wire::mask;
use vespiary_wire::websocket::ProtocolError;
use vespiary_wire::websocket::close::{self, Code};
use vespiary_wire::websocket::decoder::{Control, Data, Decoder, Event};
use vespiary_wire::websocket::frame::Opcode;
use vespiary_wire::websocket::handshake::Agreed;

/// Both sides agree: from here on there are frames.
pub(crate) fn begin<H: Host>(
    connection: &Rc<Connection<H>>,
    inbound: &mut Inbound<H>,
    agreed: Agreed,
) {
    if let Some(protocol) = agreed.protocol {
        let _ = connection.protocol.set(protocol.into_boxed_str());
    }
    let version = connection.version.get().unwrap_or_default();
    let mut decoder = Decoder::new(connection.role(), version);
    let deflate = agreed.deflate.filter(|_| requires!("rfc7692/5/13"));
    compression::agree(connection, &connection.endpoint.options(), deflate);
    if connection.deflate.get().is_some() {
        decoder = decoder.with_compression();
    }
    inbound.decode = if requires!("hybi09/9.2.1/1" => agreed.deflate_stream) {
        // What has not departed of the handshake does so as it is.
        let plain = connection.outbound.borrow().waiting();
        connection.changes_output.set(true);
        Decode::Deflated(Box::new(DeflateStream::new(decoder, plain)))
    } else {
        Decode::WebSocket(decoder)
    };
    opened(connection);
    connection.engine.arm(connection);
}

/// Parse frames until the input is used up, the connection is blocked, or it ends.
#[inline]
pub(crate) fn feed<H: Host>(
    connection: &Rc<Connection<H>>,
    inbound: &mut Inbound<H>,
    rest: &mut &[u8],
) -> Result<(), CloseReason> {
    let options = connection.endpoint.options();
    let limits = options.limits.decoder();
    while !rest.is_empty() && !connection.is_blocked() {
        let is_over = requires!("rfc6455/7.1.7/5" => connection.close_frame_received.get());
        if is_over || connection.abort.get() {
            *rest = &[];
            break;
        }
        let Decode::WebSocket(decoder) = &mut inbound.decode else {
            unreachable!("the caller matched")
        };
        match decoder.next(rest, &limits) {
            Ok(Some(Event::Data(data))) => {
                if may_deliver(connection) {
                    on_data(connection, &mut inbound.assembly, &options, &data)?;
                }
            }
            Ok(Some(Event::Control(control))) => on_control(connection, &control)?,
            Ok(None) => break,
            Err(error) => {
                if requires!("rfc6455/10.7/1") {
                    return Err(broken(connection, &error));
                }
            }
        }
        connection.engine.spend_frames(connection, 1);
    }
    Ok(())
}

#[inline]
fn on_data<H: Host>(
    connection: &Rc<Connection<H>>,
    assembly: &mut Option<Box<Assembly<H::Payload>>>,
    options: &Options,
    data: &Data<'_>,
) -> Result<(), CloseReason> {
    if requires!("rfc7692/6.2/1", "rfc7692/7.2.2/h2" => data.compressed) {
        return compression::on_data(connection, assembly, options, data);
    }
    if options.parts {
        return on_part(connection, assembly, data);
    }
    if data.message_start && data.message_end {
        count_message(connection, true);
        match data.kind {
            Kind::Binary if requires!("rfc6455/5.6/h1") => {
                let mut payload =
                    H::Payload::with_length(data.payload.len()).ok_or_else(out_of_memory)?;
                mask::copy(payload.bytes_mut(), data.payload, data.key);
                connection.engine.host.binary(connection, payload);
            }
            Kind::Binary | Kind::Text => on_whole_text(connection, data)?,
        }
        return Ok(());
    }
    let under_way = assembly.get_or_insert_with(|| Box::new(begun(connection, data)));
    under_way.add(data.payload, data.key, data.frame_remaining, data.fin)?;
    if data.message_end {
        let whole = assembly.take().expect("it was just filled");
        count_message(connection, true);
        match whole.kind {
            Kind::Binary => connection
                .engine
                .host
                .binary(connection, whole.into_binary()?),
            Kind::Text => connection.engine.host.text(connection, &whole.into_text()?),
        }
    }
    Ok(())
}

fn on_whole_text<H: Host>(
    connection: &Rc<Connection<H>>,
    data: &Data<'_>,
) -> Result<(), CloseReason> {
    let mut scratch = connection.engine.scratch.take();
    scratch.resize(data.payload.len(), 0);
    mask::copy(&mut scratch, data.payload, data.key);
    let text = simdutf8::basic::from_utf8(&scratch);
    let outcome = if text.is_err() && connection.replaces_text() {
        let text = String::from_utf8_lossy(&scratch);
        connection.engine.host.text(connection, &text);
        Ok(())
    } else if requires!("rfc6455/5.6/1", "rfc6455/8.1/1" => text.is_err()) {
        Err(not_utf8())
    } else {
        connection
            .engine
            .host
            .text(connection, text.unwrap_or_default());
        Ok(())
    };
    if scratch.capacity() <= 1 << 20 {
        *connection.engine.scratch.borrow_mut() = scratch;
    }
    outcome
}

fn begun<H: Host>(connection: &Rc<Connection<H>>, data: &Data<'_>) -> Assembly<H::Payload> {
    Assembly::new(data.kind, TextCheck::new(connection.replaces_text()))
}

/// Hand a part over as it arrived. An assembly that holds nothing but the validator spans a text
/// message.
fn on_part<H: Host>(
    connection: &Rc<Connection<H>>,
    assembly: &mut Option<Box<Assembly<H::Payload>>>,
    data: &Data<'_>,
) -> Result<(), CloseReason> {
    let mut payload = H::Payload::with_length(data.payload.len()).ok_or_else(out_of_memory)?;
    mask::copy(payload.bytes_mut(), data.payload, data.key);
    let whole = data.message_start && data.message_end;
    if whole && data.kind == Kind::Text {
        payload = TextCheck::new(connection.replaces_text()).part(payload, true)?;
    } else if !whole {
        let spanning = assembly.get_or_insert_with(|| Box::new(begun(connection, data)));
        payload = spanning.part(payload, data.message_end)?;
        if data.message_end {
            *assembly = None;
        }
    }
    count_message(connection, data.message_end);
    connection
        .engine
        .host
        .part(connection, data.kind, payload, data.message_end);
    Ok(())
}

fn on_control<H: Host>(
    connection: &Rc<Connection<H>>,
    control: &Control,
) -> Result<(), CloseReason> {
    match control.opcode {
        Opcode::Close => on_close(connection, control.payload()),
        Opcode::Pong if requires!("rfc6455/5.5.3/2", "rfc6455/5.5.3/h2") => Ok(()),
        // Also behind our own close frame; behind the peer's nothing is read (section 5.5.2).
        _ if requires!("rfc6455/5.5.2/2", "rfc6455/5.5.2/3", "rfc6455/5.5.3/h1") => {
            answer_ping(connection, control.payload())
        }
        _ => Ok(()),
    }
}

/// A peer that sends pings and does not read would let pongs pile up; they obey the write queue's
/// bound.
fn answer_ping<H: Host>(connection: &Rc<Connection<H>>, payload: &[u8]) -> Result<(), CloseReason> {
    let limits = connection.endpoint.options().limits.clone();
    if connection.queued_bytes() + payload.len() + 14 > limits.write_bytes_max {
        let host = &connection.engine.host;
        connection.endpoint.limit_reached(host, Limit::WriteBytes);
        let text = "the peer sends pings and does not read their pongs";
        let reason = CloseReason::new(Cause::Limit(Limit::WriteBytes), text);
        return Err(reason.with_code(Code::POLICY));
    }
    connection.send_control(Opcode::Pong, payload);
    if connection.queued_bytes() > limits.write_high_bytes && !connection.above_high.replace(true) {
        add(&connection.endpoint.counters.write_pauses, 1);
    }
    Ok(())
}

fn on_close<H: Host>(connection: &Rc<Connection<H>>, payload: &[u8]) -> Result<(), CloseReason> {
    let profile = connection.profile();
    let parsed = close::parse(profile, connection.role(), payload);
    let (code, text) = parsed.map_err(|error| {
        CloseReason::new(Cause::ProtocolError, error.to_string()).with_code(error.code)
    })?;
    if connection.state.get() == State::Open {
        connection.engine.host.ending(connection);
    }
    if requires!("rfc6455/7.1.4/h1", "rfc6455/5.5.1/h3") {
        connection.close_frame_received.set(true);
    }
    if requires!("rfc6455/7.1.5/h1", "rfc6455/7.1.5/h2", "rfc6455/7.1.6/h1") {
        let cause = if code.is_clean() {
            Cause::PeerClosed
        } else {
            Cause::PeerFailed
        };
        connection.end_with(CloseReason::new(cause, text).with_code(code));
    }
    let is_first = connection.state.get() == State::Open;
    if requires!("rfc6455/5.5.1/6", "rfc6455/5.5.1/7", "rfc6455/5.5.1/h2" => is_first) {
        // RFC 6455 5.5.1: the answer repeats the code; one without a code is answered without one.
        connection.begin_closing(Some((code, "")));
    }
    connection.unsettle();
    Ok(())
}

fn broken<H: Host>(connection: &Rc<Connection<H>>, error: &ProtocolError) -> CloseReason {
    let limit = error.limit.map(Limit::from);
    if let Some(limit) = limit {
        let host = &connection.engine.host;
        connection.endpoint.limit_reached(host, limit);
    }
    let cause = limit.map_or(Cause::ProtocolError, Cause::Limit);
    let reason = CloseReason::new(cause, error.to_string());
    if requires!(
        "rfc6455/5.1/3",
        "rfc6455/5.1/6",
        "rfc6455/7.4.1/h2",
        "rfc6455/7.4.1/h5"
    ) {
        return reason.with_code(error.code);
    }
    reason
}
