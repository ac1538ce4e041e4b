//! Sending: a message becomes bytes in the write queue, if there is room ([`crate::room`]).

use crate::close::out_of_memory;
use crate::connection::{Connection, State};
use crate::endpoint::add;
use crate::host::{Host, Kind};
use crate::options::{Framing, Options, SlowConsumer};
use crate::send_error::SendError;
use crate::session::websocket::compression::{Deflate, worst};
use crate::session::wire_form::{Label, WireForm};
use std::rc::Rc;
use vespiary_port::KeptBytes;
use vespiary_trace::requires;
use vespiary_wire::websocket::frame::{self, CONTROL_BYTES_MAX, Opcode};

impl<H: Host> Connection<H> {
    /// Queue a message; it leaves with everything else that this round sends. False where the queue
    /// is full and its policy drops the message.
    ///
    /// Where the peer agreed on compression, `compress` says whether the message is compressed, and
    /// `None` leaves that to the endpoint's options. Elsewhere no message is.
    #[inline]
    pub fn send(
        self: &Rc<Self>,
        kind: Kind,
        payload: &[u8],
        compress: Option<bool>,
    ) -> Result<bool, SendError> {
        if self.may_not_send() {
            return Err(self.send_refusal());
        }
        if let Some(deflate) = self.negotiated.deflate.get()
            && !deflate.lets_be(payload.len(), compress)
        {
            return self.send_deflated(deflate, kind, payload, compress.is_some());
        }
        let endpoint = self.endpoint();
        let options = endpoint.options.borrow();
        let is_taken = self.queue(&options, Label::whole(kind), payload, true)?;
        add(&endpoint.counters.messages_out, is_taken.into());
        add(&self.traffic.messages_out, is_taken.into());
        Ok(is_taken)
    }

    fn send_deflated(
        self: &Rc<Self>,
        deflate: &Deflate,
        kind: Kind,
        payload: &[u8],
        insists: bool,
    ) -> Result<bool, SendError> {
        let options = &*self.endpoint().options();
        let takeover = deflate.outgoing.context_takeover;
        // What is compressed with a context has to go out.
        if takeover && !self.make_room(options, worst(payload.len()), true)? {
            return Ok(false);
        }
        let mut deflated = self.engine.compression.borrow_mut().take_buffer();
        if !deflate.compress(self, payload, true, &mut deflated) {
            return Err(SendError::OutOfMemory);
        }
        let is_compressed = takeover || insists || deflated.len() < payload.len();
        let body = if is_compressed {
            &deflated[..]
        } else {
            payload
        };
        let label = Label {
            compressed: requires!("rfc7692/6.1/1" => is_compressed),
            ..Label::whole(kind)
        };
        let queued = self.queue(options, label, body, !takeover);
        if queued == Ok(true) {
            self.count_sent(1);
            if is_compressed {
                deflate.count_sent(self, payload.len(), deflated.len(), true);
            }
        }
        self.engine.compression.borrow_mut().put_buffer(deflated);
        deflate.account(self);
        queued
    }

    /// Queue a message of many bytes without copying them, where the framing lets them go as they
    /// are: `kept` holds them until the kernel has them.
    pub fn send_kept(
        self: &Rc<Self>,
        kind: Kind,
        kept: Rc<dyn KeptBytes>,
    ) -> Result<bool, SendError> {
        let options = self.endpoint().options.borrow();
        let length = kept.bytes().len();
        let is_copied = requires!("rfc6455/10.3/h1" => self.client)
            || self.negotiated.deflate.get().is_some()
            || options.slow_consumer == SlowConsumer::DropOldest
            || matches!(options.framing, Framing::Line { .. } | Framing::Datagram);
        if is_copied || self.may_not_send() {
            drop(options);
            return self.send(kind, kept.bytes(), None);
        }
        let form = WireForm::new(&options.framing, Label::whole(kind), kept.bytes(), || None)?;
        if !self.make_room(&options, form.size(length), true)? {
            return Ok(false);
        }
        let mut outbound = self.outbound.borrow_mut();
        if !form.head().is_empty() {
            let pool = &mut self.engine.pool.borrow_mut();
            let is_appended = outbound.append(form.head().len(), pool, |buffer| {
                buffer.extend_from_slice(form.head());
            });
            if !is_appended {
                return Err(SendError::OutOfMemory);
            }
        }
        outbound.append_kept(kept);
        self.queued(&options, outbound.queued());
        self.count_sent(1);
        Ok(true)
    }

    /// Whether a message cannot begin now: the connection is not open, or is within another.
    #[inline]
    pub(crate) fn may_not_send(&self) -> bool {
        self.is_not_open() || requires!("rfc6455/5.4/4" => self.sending_parts.get())
    }

    /// Whether no data may go out: before the handshake's end, and behind our close frame.
    #[inline]
    fn is_not_open(&self) -> bool {
        requires!("rfc6455/4.1/35", "rfc6455/5.5.1/5", "rfc6455/6.1/2", "rfc6455/6.1/3" =>
            self.state() != State::Open)
    }

    #[cold]
    pub(crate) fn send_refusal(&self) -> SendError {
        match self.state() {
            State::Connecting
            | State::Securing
            | State::Handshaking
            | State::Responding
            | State::BetweenRequests => SendError::NotOpen,
            State::Open if self.is_sending_last() => SendError::Ended,
            State::Open => SendError::OutOfTurn,
            State::Closing | State::Closed => SendError::Closed,
        }
    }

    /// Queue a part of a message. On WebSocket each part is a frame; elsewhere parts are only
    /// pieces of the stream.
    ///
    /// The first part's `compress` decides for all of them. `None` compresses what the endpoint's
    /// options compress, and every message of more than one part.
    pub fn send_part(
        self: &Rc<Self>,
        kind: Kind,
        payload: &[u8],
        last: bool,
        compress: Option<bool>,
    ) -> Result<(), SendError> {
        if self.is_not_open() || self.is_sending_last() {
            return Err(self.send_refusal());
        }
        let options = self.endpoint().options();
        let is_first = !self.sending_parts.get();
        let label = Label {
            opcode: part_opcode(&options.framing, is_first, kind)?,
            compressed: false,
            fin: last,
        };
        if let Some(deflate) = self.negotiated.deflate.get() {
            if is_first {
                let choice = compress.or((!last).then_some(true));
                let compresses = deflate.compresses(payload.len(), choice);
                deflate.part_is_compressed.set(compresses);
            }
            if deflate.part_is_compressed.get() {
                return self.send_deflated_part(&options, deflate, label, payload);
            }
        }
        // Without one of its parts a message would be broken, so no policy drops any.
        self.queue(&options, label, payload, false)?;
        self.sending_parts
            .set(options.framing == Framing::WebSocket && !last);
        self.count_sent(last.into());
        Ok(())
    }

    fn send_deflated_part(
        self: &Rc<Self>,
        options: &Options,
        deflate: &Deflate,
        label: Label,
        payload: &[u8],
    ) -> Result<(), SendError> {
        if !self.make_room(options, worst(payload.len()), false)? {
            return Ok(());
        }
        let is_first = !self.sending_parts.get();
        let mut deflated = self.engine.compression.borrow_mut().take_buffer();
        if !deflate.compress(self, payload, label.fin, &mut deflated) {
            return Err(SendError::OutOfMemory);
        }
        let is_bare = requires!("rfc7692/6.1/3" => !is_first);
        let compressed = Label {
            compressed: !is_bare,
            ..label
        };
        let queued = self.queue(options, compressed, &deflated, false);
        deflate.count_sent(self, payload.len(), deflated.len(), is_first);
        self.engine.compression.borrow_mut().put_buffer(deflated);
        deflate.account(self);
        queued?;
        self.sending_parts.set(!label.fin);
        self.count_sent(label.fin.into());
        Ok(())
    }

    #[inline]
    fn count_sent(&self, messages: u64) {
        add(&self.endpoint().counters.messages_out, messages);
        add(&self.traffic.messages_out, messages);
    }

    /// Queue a message that `shared` already holds in its form on the wire.
    pub(crate) fn send_encoded(self: &Rc<Self>, shared: &Rc<Vec<u8>>) -> Result<bool, SendError> {
        const COPIED_AT_MOST: usize = 2048;
        if self.may_not_send() {
            return Err(self.send_refusal());
        }
        let options = self.endpoint().options.borrow();
        let size = shared.len();
        if options.framing == Framing::Datagram {
            drop(options);
            return self.send(Kind::Binary, shared, None);
        }
        if !self.make_room(&options, size, true)? {
            return Ok(false);
        }
        let mut outbound = self.outbound.borrow_mut();
        if size <= COPIED_AT_MOST && !self.is_above_high() {
            let pool = &mut self.engine.pool.borrow_mut();
            if !outbound.append(size, pool, |buffer| buffer.extend_from_slice(shared)) {
                return Err(SendError::OutOfMemory);
            }
        } else {
            outbound.append_shared(shared.clone());
        }
        self.queued(&options, outbound.queued());
        self.count_sent(1);
        Ok(true)
    }

    /// Queue a message, or a part of one, in the form that the framing gives it. False where it is
    /// dropped.
    #[inline]
    fn queue(
        self: &Rc<Self>,
        options: &Options,
        label: Label,
        payload: &[u8],
        droppable: bool,
    ) -> Result<bool, SendError> {
        if options.framing == Framing::Raw {
            return self.queue_piece(options, payload);
        }
        let mut form = WireForm::empty();
        form.fit(&options.framing, label, payload, || self.mask())?;
        if self.carrier.is_peer() {
            return Ok(self.send_datagram(payload));
        }
        let size = form.size(payload.len());
        if !self.make_room(options, size, droppable)? {
            return Ok(false);
        }
        let may_go = droppable && self.is_above_high();
        if may_go && options.slow_consumer == SlowConsumer::DropOldest {
            return self.queue_droppable(options, &form, payload);
        }
        self.queue_bytes(options, size, |buffer| form.append(buffer, payload))
    }

    /// Put a datagram into the queue that the peers of its socket share; false where it is dropped,
    /// which the socket counts.
    fn send_datagram(&self, payload: &[u8]) -> bool {
        let is_taken = self.carrier.send_datagram(payload);
        if is_taken {
            add(&self.traffic.bytes_out, payload.len() as u64);
        }
        is_taken
    }

    #[cold]
    fn queue_droppable(
        self: &Rc<Self>,
        options: &Options,
        form: &WireForm,
        payload: &[u8],
    ) -> Result<bool, SendError> {
        let mut outbound = self.outbound.borrow_mut();
        let size = form.size(payload.len());
        if !outbound.append_droppable(size, |buffer| form.append(buffer, payload)) {
            return Err(SendError::OutOfMemory);
        }
        self.queued(options, outbound.queued());
        Ok(true)
    }

    /// Queue a piece of a byte stream: it has no form, and is never dropped.
    #[inline]
    fn queue_piece(self: &Rc<Self>, options: &Options, piece: &[u8]) -> Result<bool, SendError> {
        if !self.make_room(options, piece.len(), false)? {
            return Ok(false);
        }
        self.queue_bytes(options, piece.len(), |buffer| {
            buffer.extend_from_slice(piece);
        })
    }

    /// Queue `size` bytes, for which there is room, and that `write` appends.
    #[inline]
    fn queue_bytes(
        self: &Rc<Self>,
        options: &Options,
        size: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<bool, SendError> {
        let mut outbound = self.outbound.borrow_mut();
        if !outbound.append(size, &mut self.engine.pool.borrow_mut(), write) {
            return Err(SendError::OutOfMemory);
        }
        self.queued(options, outbound.queued());
        Ok(true)
    }

    /// Queue a ping (WebSocket).
    pub fn ping(self: &Rc<Self>, payload: &[u8]) -> Result<(), SendError> {
        let options = self.endpoint().options.borrow();
        if self.state() != State::Open {
            return Err(self.send_refusal());
        }
        let is_too_long = requires!("rfc6455/5.5/1" => payload.len() > CONTROL_BYTES_MAX);
        if is_too_long || options.framing != Framing::WebSocket {
            return Err(SendError::TooLong);
        }
        requires!("rfc6455/5.5.2/1");
        let label = Label {
            opcode: Opcode::Ping,
            compressed: false,
            fin: true,
        };
        self.queue(&options, label, payload, true).map(drop)
    }

    /// Queue a control frame, in any state of the connection.
    pub(crate) fn send_control(self: &Rc<Self>, opcode: Opcode, payload: &[u8]) {
        let size = frame::head_length(payload.len() as u64, self.client) + payload.len();
        self.append(size, |buffer| {
            frame::append(buffer, true, false, opcode, payload, self.mask());
        });
    }

    /// The key of the next frame: fresh for each of a client's, none for a server's.
    #[inline]
    fn mask(&self) -> Option<[u8; 4]> {
        if requires!("rfc6455/5.1/4" => !self.client) {
            return None;
        }
        requires!(
            "rfc6455/5.1/1",
            "rfc6455/6.1/8",
            "rfc6455/5.5.1/h1",
            "rfc6455/10.3/h2"
        );
        Some(self.engine.mask_key())
    }

    /// Queue bytes as they are. Without memory for them the connection ends.
    pub(crate) fn append(self: &Rc<Self>, size: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let mut outbound = self.outbound.borrow_mut();
        let is_appended = outbound.append(size, &mut self.engine.pool.borrow_mut(), write);
        drop(outbound);
        if !is_appended {
            self.end_with(out_of_memory());
            self.abort_now();
        }
        self.unsettle();
    }
}

/// The opcode of a part, or an error where the framing has no parts.
fn part_opcode(framing: &Framing, is_first: bool, kind: Kind) -> Result<Opcode, SendError> {
    match (framing, is_first) {
        (Framing::WebSocket, false) => {
            requires!("rfc6455/5.4/6", "rfc6455/6.1/5");
            Ok(Opcode::Continuation)
        }
        (Framing::WebSocket, true) => Ok(kind.into()),
        (Framing::Raw, _) => Ok(Opcode::Binary),
        _ => Err(SendError::OutOfTurn),
    }
}
