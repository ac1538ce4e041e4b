//! Compressed messages out.
//!
//! A short request may be answered with megabytes to compress. As what is inflated is, what is
//! compressed is therefore charged to the budget of frames of the connection that it goes out on.
//! That refuses or delays no message: a connection without budget is not read from until the next
//! turn, and whoever asks for long answers waits behind its neighbours. What is compressed once for
//! many subscribers is charged to none of them.

use super::{Deflate, FRAME_BYTES, count, count_sent};
use crate::connection::{Connection, State};
use crate::host::{Host, Kind};
use crate::options::{Framing, Options};
use crate::send::SendError;
use std::rc::Rc;
use vespiary_trace::requires;
use vespiary_wire::websocket::deflate::{Compressor, Shape};
use vespiary_wire::websocket::frame::{self, Opcode};

/// The most that a message of so many bytes takes on the wire: five bytes for each block that is
/// stored, and the head.
fn worst(length: usize) -> usize {
    length + length / 64 + 128
}

impl Deflate {
    fn compresses(&self, length: usize, choice: Option<bool>) -> bool {
        choice.unwrap_or(length >= self.chosen.threshold_bytes)
    }

    fn lets_be(&self, length: usize, choice: Option<bool>) -> bool {
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

    /// Compress a whole message, or a part of one, with the connection's own compressor.
    fn compress<H: Host>(
        &self,
        connection: &Rc<Connection<H>>,
        payload: &[u8],
        fin: bool,
        out: &mut Vec<u8>,
    ) {
        let frames = u16::try_from(payload.len() / FRAME_BYTES).unwrap_or(u16::MAX);
        if frames > 0 {
            connection.engine.spend_frames(connection, frames);
        }
        let mut slot = self.compressor.borrow_mut();
        let compressor = slot.get_or_insert_with(|| {
            let pool = &connection.engine.compression;
            pool.borrow_mut().take_compressor(self.shape())
        });
        compressor.compress(payload, fin, out);
        let is_over = fin
            && requires!("rfc7692/7.2.1/7", "rfc7692/7.2.1/10" => !self.outgoing.context_takeover);
        if let Some(compressor) = slot.take_if(|_| is_over) {
            let pool = &connection.engine.compression;
            pool.borrow_mut().put_compressor(compressor);
        }
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

/// The frame of a message that was compressed by itself; as it is, where that is no longer and
/// nobody insists.
pub(crate) fn encode_alone(
    compressor: &mut Compressor,
    kind: Kind,
    payload: &[u8],
    insists: bool,
) -> (Vec<u8>, usize) {
    let mut deflated = Vec::new();
    compressor.compress(payload, true, &mut deflated);
    let is_smaller = insists || deflated.len() < payload.len();
    let body = if is_smaller { &deflated[..] } else { payload };
    let mut bytes = Vec::with_capacity(body.len() + frame::HEAD_BYTES_MAX);
    frame::append(&mut bytes, true, is_smaller, kind.into(), body, None);
    (bytes, if is_smaller { deflated.len() } else { 0 })
}

impl<H: Host> Connection<H> {
    /// Queue a message, compressed or not as `compress` says. `None` leaves that to the endpoint's
    /// options, and where the peer did not agree no message is compressed.
    pub fn send_choosing(
        self: &Rc<Self>,
        kind: Kind,
        payload: &[u8],
        compress: Option<bool>,
    ) -> Result<(), SendError> {
        if self.may_not_send() {
            return Err(self.send_refusal());
        }
        let options = self.endpoint.options();
        if let Some(deflate) = self.deflate.get()
            && !deflate.lets_be(payload.len(), compress)
        {
            let insists = compress.is_some();
            return self.send_deflated(&options, deflate, kind, payload, insists);
        }
        self.queue(&options, (kind.into(), false), true, payload, true)?;
        count_sent(self);
        Ok(())
    }

    fn send_deflated(
        self: &Rc<Self>,
        options: &Options,
        deflate: &Deflate,
        kind: Kind,
        payload: &[u8],
        insists: bool,
    ) -> Result<(), SendError> {
        let takeover = deflate.outgoing.context_takeover;
        // What is compressed with a context has to go out.
        if takeover && !self.make_room(options, worst(payload.len()), true)? {
            count_sent(self);
            return Ok(());
        }
        let mut deflated = self.engine.compression.borrow_mut().take_buffer();
        deflate.compress(self, payload, true, &mut deflated);
        let is_compressed = takeover || insists || deflated.len() < payload.len();
        let body = if is_compressed {
            &deflated[..]
        } else {
            payload
        };
        let rsv1 = requires!("rfc7692/6.1/1" => is_compressed);
        let queued = self.queue(options, (kind.into(), rsv1), true, body, !takeover);
        if queued.is_ok() {
            count_sent(self);
            if is_compressed {
                self.count_compressed(deflate, payload.len(), deflated.len(), true);
            }
        }
        self.engine.compression.borrow_mut().put_buffer(deflated);
        deflate.account(self);
        queued
    }

    /// Queue a part of a message, as [`Connection::send_part`] does; the first part's `compress`
    /// decides for all of them. `None` compresses what the endpoint's options compress, and every
    /// message of more than one part.
    pub fn send_part_choosing(
        self: &Rc<Self>,
        kind: Kind,
        payload: &[u8],
        last: bool,
        compress: Option<bool>,
    ) -> Result<(), SendError> {
        let is_open = self.state.get() == State::Open && !self.sending_ended.get();
        let Some(deflate) = self.deflate.get().filter(|_| is_open) else {
            return self.send_plain_part(kind, payload, last);
        };
        let is_first = !self.sending_parts.get();
        if is_first {
            let choice = compress.or((!last).then_some(true));
            let compresses = deflate.compresses(payload.len(), choice);
            deflate.part_is_compressed.set(compresses);
        }
        if !deflate.part_is_compressed.get() {
            return self.send_plain_part(kind, payload, last);
        }
        let options = self.endpoint.options();
        if !self.make_room(&options, worst(payload.len()), false)? {
            return Ok(());
        }
        let opcode = if is_first {
            kind.into()
        } else {
            Opcode::Continuation
        };
        let mut deflated = self.engine.compression.borrow_mut().take_buffer();
        deflate.compress(self, payload, last, &mut deflated);
        let is_bare = requires!("rfc7692/6.1/3" => !is_first);
        let queued = self.queue(&options, (opcode, !is_bare), last, &deflated, false);
        self.count_compressed(deflate, payload.len(), deflated.len(), is_first);
        self.engine.compression.borrow_mut().put_buffer(deflated);
        deflate.account(self);
        queued?;
        debug_assert_eq!(options.framing, Framing::WebSocket);
        self.part_sent(last);
        Ok(())
    }

    pub(crate) fn count_compressed(
        &self,
        deflate: &Deflate,
        plain: usize,
        compressed: usize,
        starts: bool,
    ) {
        count(self, deflate, |traffic| {
            traffic.messages_out = traffic.messages_out.wrapping_add(starts.into());
            traffic.plain_out = traffic.plain_out.wrapping_add(plain as u64);
            traffic.compressed_out = traffic.compressed_out.wrapping_add(compressed as u64);
        });
    }
}
