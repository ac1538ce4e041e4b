//! Control frames: pings are answered, and a close frame ends the messages (RFC 6455 section 5.5).

use super::super::sink::{Outcome, Sink};
use super::role;
use crate::close::{Cause, CloseReason};
use crate::limit::Limit;
use vespiary_trace::requires;
use vespiary_wire::websocket::close::{self, Code};
use vespiary_wire::websocket::decoder::Control;
use vespiary_wire::websocket::frame::{HEAD_BYTES_MAX, Opcode};

pub(super) fn on_control<S: Sink>(sink: &S, control: &Control) -> Outcome {
    match control.opcode {
        Opcode::Close => on_close(sink, control.payload()),
        Opcode::Pong => {
            requires!("rfc6455/5.5.3/2", "rfc6455/5.5.3/h2");
            sink.pong(control.payload());
            Ok(())
        }
        // Also behind our own close frame; behind the peer's nothing is read (section 5.5.2).
        _ => {
            requires!("rfc6455/5.5.2/2", "rfc6455/5.5.2/3", "rfc6455/5.5.3/h1");
            answer_ping(sink, control.payload())
        }
    }
}

/// A peer that sends pings and does not read would let pongs pile up; they obey the write queue's
/// bound.
fn answer_ping<S: Sink>(sink: &S, payload: &[u8]) -> Outcome {
    let options = sink.options();
    // Behind our close frame reading continues, even if much waits to be written, until the peer's
    // has come. A peer that does not read gets no further pong then (RFC 6455 5.5.3 asks for the
    // answer to the latest ping only).
    if !sink.may_deliver() && sink.queued_bytes() > options.limits.write_high_bytes {
        return Ok(());
    }
    let most = options.limits.write_bytes_max;
    if sink.queued_bytes() + payload.len() + HEAD_BYTES_MAX > most {
        sink.limit_reached(Limit::WriteBytes);
        let text = "the peer sends pings and does not read their pongs";
        let reason = CloseReason::new(Cause::Limit(Limit::WriteBytes), text);
        return Err(reason.with_code(Code::POLICY));
    }
    sink.send_control(Opcode::Pong, payload);
    Ok(())
}

fn on_close<S: Sink>(sink: &S, payload: &[u8]) -> Outcome {
    let profile = sink.negotiated().profile();
    let parsed = close::parse(profile, role(sink.is_client()), payload);
    let (code, text) = parsed.map_err(|error| {
        CloseReason::new(Cause::ProtocolError, error.to_string()).with_code(error.code)
    })?;
    sink.close_frame(code, &text);
    Ok(())
}
