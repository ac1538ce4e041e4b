//! Compressed messages out.
//!
//! A short request may be answered with megabytes to compress. As what is inflated is, what is
//! compressed is therefore charged to the budget of frames of the connection that it goes out on.
//! That refuses or delays no message: a connection without budget is not read from until the next
//! turn, so a peer that asks for long answers waits and the others do not. What is compressed once
//! for many subscribers is charged to none of them.

use super::{Deflate, FRAME_BYTES, Pool};
use crate::options::Framing;
use crate::session::sink::Sink;
use crate::session::wire_form::{Label, WireForm};
use vespiary_trace::requires;
use vespiary_wire::websocket::deflate::Shape;
use vespiary_wire::websocket::frame::Kind;

/// The most that a message of so many bytes takes on the wire: five bytes for each block that is
/// stored, and the head.
pub(crate) fn worst(length: usize) -> usize {
    length + length / 64 + 128
}

impl Deflate {
    pub(crate) fn compresses(&self, length: usize, choice: Option<bool>) -> bool {
        choice.unwrap_or(length >= self.chosen.threshold_bytes)
    }

    pub(crate) fn lets_be(&self, length: usize, choice: Option<bool>) -> bool {
        requires!("rfc7692/6.1/2" => !self.compresses(length, choice))
    }

    /// The shape under which a message is compressed in the same way for every connection, if it is
    /// compressed and depends on nothing that went before.
    pub(crate) fn shared_shape(&self, length: usize, choice: Option<bool>) -> Sharing {
        if !self.compresses(length, choice) {
            Sharing::Plain
        } else if self.outgoing.context_takeover {
            Sharing::Alone
        } else {
            Sharing::Compressed(self.shape(), choice.is_some())
        }
    }

    /// Compress a whole message, or a part of one, with the connection's own compressor. False
    /// where there is no memory for the result.
    pub(crate) fn compress<S: Sink>(
        &self,
        sink: &S,
        payload: &[u8],
        fin: bool,
        out: &mut Vec<u8>,
    ) -> bool {
        if out.try_reserve(worst(payload.len())).is_err() {
            return false;
        }
        let frames = u16::try_from(payload.len() / FRAME_BYTES).unwrap_or(u16::MAX);
        if frames > 0 {
            sink.charge(frames);
        }
        let mut slot = self.compressor.borrow_mut();
        let compressor = slot.get_or_insert_with(|| {
            let pool = sink.compression_pool();
            pool.borrow_mut().take_compressor(self.shape())
        });
        compressor.compress(payload, fin, out);
        let is_over = fin
            && requires!("rfc7692/7.2.1/7", "rfc7692/7.2.1/10" => !self.outgoing.context_takeover);
        if let Some(compressor) = slot.take_if(|_| is_over) {
            sink.compression_pool()
                .borrow_mut()
                .put_compressor(compressor);
        }
        true
    }
}

impl Deflate {
    /// Count a message, or a part of one, that went out compressed; `starts` where it is the first.
    pub(crate) fn count_sent<S: Sink>(
        &self,
        sink: &S,
        plain: usize,
        compressed: usize,
        starts: bool,
    ) {
        self.count(sink, |traffic| {
            traffic.messages_out = traffic.messages_out.wrapping_add(starts.into());
            traffic.plain_out = traffic.plain_out.wrapping_add(plain as u64);
            traffic.compressed_out = traffic.compressed_out.wrapping_add(compressed as u64);
        });
    }
}

/// How a published message reaches a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// As it is.
    Plain,
    /// Compressed as for all others of the shape; whether it was asked for.
    Compressed(Shape, bool),
    /// Compressed with what this connection alone was sent before.
    Alone,
}

/// The frame of a message that is compressed by itself, and how many bytes its payload takes
/// compressed. It goes as it is, and that number is 0, where compression makes it no shorter and
/// nobody insists. `None` where there is no memory for it.
pub(crate) fn encode_alone(
    pool: &mut Pool,
    shape: Shape,
    kind: Kind,
    payload: &[u8],
    insists: bool,
) -> Option<(Vec<u8>, usize)> {
    let mut deflated = pool.take_buffer();
    deflated.try_reserve(worst(payload.len())).ok()?;
    let mut compressor = pool.take_compressor(shape);
    compressor.compress(payload, true, &mut deflated);
    pool.put_compressor(compressor);
    let is_compressed = insists || deflated.len() < payload.len();
    let body = if is_compressed {
        &deflated[..]
    } else {
        payload
    };
    let label = Label {
        compressed: is_compressed,
        ..Label::whole(kind)
    };
    let form = WireForm::new(&Framing::WebSocket, label, body, || None);
    let form = form.expect("a frame takes any length");
    let bytes = form.encode(body)?;
    let compressed = if is_compressed { deflated.len() } else { 0 };
    pool.put_buffer(deflated);
    Some((bytes, compressed))
}
