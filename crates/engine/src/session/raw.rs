//! Raw: each piece of the stream is a message, as it arrives.

use super::copied;
use super::sink::{Outcome, Sink};
use vespiary_wire::websocket::frame::Kind;

/// Deliver all of `rest`.
pub(crate) fn feed<S: Sink>(sink: &S, rest: &mut &[u8]) -> Outcome {
    if sink.may_deliver() {
        let payload = copied(rest)?;
        if sink.options().parts {
            sink.part(Kind::Binary, payload, false);
        } else {
            sink.binary(payload);
        }
    }
    *rest = &[];
    Ok(())
}
