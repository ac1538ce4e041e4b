//! Sending: a message becomes bytes in the write queue, unless the queue is full and its policy
//! says otherwise.

use crate::close::{Cause, CloseReason};
use crate::connection::{Connection, State};
use crate::endpoint::add;
use crate::host::{Event, Host, Kind};
use crate::limit::Limit;
use crate::options::{Framing, Options, SlowConsumer};
use std::rc::Rc;
use std::sync::Arc;
use vespiary_port::KeptBytes;
use vespiary_trace::requires;
use vespiary_wire::framing::length;
use vespiary_wire::websocket::close::Code;
use vespiary_wire::websocket::frame::{self, CONTROL_BYTES_MAX, Opcode};

/// Why a send was not taken. Nothing of the message was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The connection is not open yet.
    NotOpen,
    /// The connection is closing or closed.
    Closed,
    /// More than `write_bytes_max` would wait.
    QueueFull,
    /// The length does not fit the prefix.
    TooLong,
    /// A message in parts is under way, or a part was sent where the framing has none.
    OutOfTurn,
    /// This end has said that it sends nothing more.
    Ended,
}

impl<H: Host> Connection<H> {
    /// Queue a message; it leaves with everything else that this round sends.
    #[inline]
    pub fn send(self: &Rc<Self>, kind: Kind, payload: &[u8]) -> Result<(), SendError> {
        if self.may_not_send() {
            return Err(self.send_refusal());
        }
        if self.deflate.get().is_some() {
            return self.send_choosing(kind, payload, None);
        }
        let options = self.endpoint.options.borrow();
        self.queue(&options, (kind.into(), false), true, payload, true)?;
        add(&self.endpoint.counters.messages_out, 1);
        add(&self.messages_out, 1);
        Ok(())
    }

    /// Queue a message of many bytes without copying them, where the framing lets them go as they
    /// are: `kept` holds them until the kernel has them.
    pub fn send_kept(
        self: &Rc<Self>,
        kind: Kind,
        kept: Rc<dyn KeptBytes>,
    ) -> Result<(), SendError> {
        let options = self.endpoint.options.borrow();
        let length = kept.bytes().len();
        let is_copied = requires!("rfc6455/10.3/h1" => self.client)
            || self.deflate.get().is_some()
            || options.slow_consumer == SlowConsumer::DropOldest
            || matches!(options.framing, Framing::Line { .. });
        if is_copied || self.may_not_send() {
            drop(options);
            return self.send(kind, kept.bytes());
        }
        let mut head = [0; frame::HEAD_BYTES_MAX];
        let head_length = match &options.framing {
            Framing::WebSocket => {
                frame::write_head(&mut head, true, false, kind.into(), length as u64, None)
            }
            Framing::Length(format) => {
                let mut prefix = [0; 8];
                let width = length::write_head(&mut prefix, format, length as u64)
                    .map_err(|_| SendError::TooLong)?;
                head[..width].copy_from_slice(&prefix[..width]);
                width
            }
            Framing::Raw | Framing::Http | Framing::Line { .. } => 0,
        };
        if !self.make_room(&options, head_length + length, true)? {
            return Ok(());
        }
        let mut outbound = self.outbound.borrow_mut();
        if head_length > 0 {
            let pool = &mut self.engine.pool.borrow_mut();
            outbound.append(head_length, pool, |buffer| {
                buffer.extend_from_slice(&head[..head_length]);
            });
        }
        outbound.append_kept(kept);
        self.queued(&options, outbound.queued());
        add(&self.endpoint.counters.messages_out, 1);
        add(&self.messages_out, 1);
        Ok(())
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
            self.state.get() != State::Open)
    }

    #[cold]
    pub(crate) fn send_refusal(&self) -> SendError {
        match self.state.get() {
            State::Connecting | State::Handshaking => SendError::NotOpen,
            State::Open if self.sending_ended.get() => SendError::Ended,
            State::Open => SendError::OutOfTurn,
            State::Closing | State::Closed => SendError::Closed,
        }
    }

    /// Queue a part of a message. On WebSocket each part is a frame; elsewhere parts are only
    /// pieces of the stream.
    pub fn send_part(
        self: &Rc<Self>,
        kind: Kind,
        payload: &[u8],
        last: bool,
    ) -> Result<(), SendError> {
        self.send_part_choosing(kind, payload, last, None)
    }

    pub(crate) fn send_plain_part(
        self: &Rc<Self>,
        kind: Kind,
        payload: &[u8],
        last: bool,
    ) -> Result<(), SendError> {
        if self.is_not_open() || self.sending_ended.get() {
            return Err(self.send_refusal());
        }
        let options = self.endpoint.options.borrow();
        let opcode = match (&options.framing, self.sending_parts.get(), kind) {
            (Framing::WebSocket, true, _) if requires!("rfc6455/5.4/6", "rfc6455/6.1/5") => {
                Opcode::Continuation
            }
            (Framing::WebSocket, false, kind) => kind.into(),
            (Framing::Raw, ..) => Opcode::Binary,
            _ => return Err(SendError::OutOfTurn),
        };
        // Without one of its parts a message would be broken, so no policy drops any.
        self.queue(&options, (opcode, false), last, payload, false)?;
        if options.framing == Framing::WebSocket {
            self.part_sent(last);
        } else {
            add(&self.endpoint.counters.messages_out, u64::from(last));
            add(&self.messages_out, u64::from(last));
        }
        Ok(())
    }

    pub(crate) fn part_sent(&self, last: bool) {
        self.sending_parts.set(!last);
        add(&self.endpoint.counters.messages_out, u64::from(last));
        add(&self.messages_out, u64::from(last));
    }

    /// Queue a message that `shared` already holds in its form on the wire.
    pub(crate) fn send_encoded(self: &Rc<Self>, shared: &Arc<[u8]>) -> Result<(), SendError> {
        const COPIED_AT_MOST: usize = 2048;
        if self.may_not_send() {
            return Err(self.send_refusal());
        }
        let options = self.endpoint.options.borrow();
        let size = shared.len();
        if !self.make_room(&options, size, true)? {
            return Ok(());
        }
        let mut outbound = self.outbound.borrow_mut();
        if size <= COPIED_AT_MOST && !self.above_high.get() {
            let pool = &mut self.engine.pool.borrow_mut();
            outbound.append(size, pool, |buffer| buffer.extend_from_slice(shared));
        } else {
            outbound.append_shared(shared.clone());
        }
        self.queued(&options, outbound.queued());
        add(&self.endpoint.counters.messages_out, 1);
        add(&self.messages_out, 1);
        Ok(())
    }

    /// Queue bytes in the form that the framing gives them: on WebSocket a frame with this opcode,
    /// and RSV1 where the second says so.
    #[inline]
    pub(crate) fn queue(
        self: &Rc<Self>,
        options: &Options,
        (opcode, rsv1): (Opcode, bool),
        fin: bool,
        payload: &[u8],
        droppable: bool,
    ) -> Result<(), SendError> {
        let size = payload.len()
            + match &options.framing {
                Framing::Raw | Framing::Http => 0,
                Framing::Line { ending } => ending.len(),
                Framing::Length(format) => usize::from(format.width),
                Framing::WebSocket => frame::head_length(payload.len() as u64, self.client),
            };
        if let Framing::Length(format) = &options.framing
            && payload.len() as u64 > format.payload_bytes_max()
        {
            return Err(SendError::TooLong);
        }
        if !self.make_room(options, size, droppable)? {
            return Ok(());
        }
        let mut outbound = self.outbound.borrow_mut();
        let write = |buffer: &mut Vec<u8>| match &options.framing {
            Framing::WebSocket if requires!("rfc6455/6.1/4") => {
                frame::append(buffer, fin, rsv1, opcode, payload, self.mask());
            }
            Framing::Raw | Framing::Http | Framing::WebSocket => buffer.extend_from_slice(payload),
            Framing::Line { ending } => {
                buffer.extend_from_slice(payload);
                buffer.extend_from_slice(ending);
            }
            Framing::Length(format) => {
                length::append(buffer, format, payload).expect("the length was seen to fit");
            }
        };
        let may_go = droppable && self.above_high.get();
        if may_go && options.slow_consumer == SlowConsumer::DropOldest {
            let mut bytes = Vec::with_capacity(size);
            write(&mut bytes);
            outbound.append_droppable(bytes);
        } else {
            outbound.append(size, &mut self.engine.pool.borrow_mut(), write);
        }
        self.queued(options, outbound.queued());
        Ok(())
    }

    /// Book-keeping after bytes were queued.
    #[inline]
    pub(crate) fn queued(self: &Rc<Self>, options: &Options, queued: usize) {
        if queued > options.limits.write_high_bytes && !self.above_high.get() {
            self.above_high.set(true);
            add(&self.endpoint.counters.write_pauses, 1);
        }
        if !self.unsettled.get() {
            self.unsettle();
        }
    }

    /// Whether `size` more bytes may be queued; `Ok(false)` when the policy drops the new message.
    #[inline]
    pub(crate) fn make_room(
        self: &Rc<Self>,
        options: &Options,
        size: usize,
        droppable: bool,
    ) -> Result<bool, SendError> {
        let limits = &options.limits;
        // Below the high mark no more than that waits, and the queue need not be looked at.
        let sure = limits
            .write_bytes_max
            .saturating_sub(limits.write_high_bytes);
        if !self.above_high.get() && size <= sure {
            return Ok(true);
        }
        self.make_room_when_crowded(options, size, droppable)
    }

    #[cold]
    fn make_room_when_crowded(
        self: &Rc<Self>,
        options: &Options,
        size: usize,
        droppable: bool,
    ) -> Result<bool, SendError> {
        let most = options.limits.write_bytes_max;
        if self.outbound.borrow().queued().saturating_add(size) <= most {
            return Ok(true);
        }
        self.endpoint.count_limit(Limit::WriteBytes);
        match options.slow_consumer {
            SlowConsumer::DropNewest if droppable => {
                self.count_dropped(1);
                Ok(false)
            }
            SlowConsumer::Wait | SlowConsumer::DropNewest => Err(SendError::QueueFull),
            SlowConsumer::DropOldest => {
                let (dropped, room) = self.outbound.borrow_mut().drop_oldest(size, most);
                self.count_dropped(dropped + u64::from(!room && droppable));
                if room || droppable {
                    Ok(room)
                } else {
                    Err(SendError::QueueFull)
                }
            }
            SlowConsumer::Disconnect => {
                let text = format!(
                    "the peer does not read: more than {most} bytes (write_bytes_max) wait for it"
                );
                let cause = Cause::Limit(Limit::WriteBytes);
                self.end_with(CloseReason::new(cause, text).with_code(Code::POLICY));
                self.abort_now();
                Err(SendError::Closed)
            }
        }
    }

    /// A host could not hand a full queue on to whoever sent: count the message as dropped, and
    /// tell of the limit.
    pub fn message_lost(self: &Rc<Self>) {
        self.count_dropped(1);
        let limit = Limit::WriteBytes;
        let value = self.endpoint.options.borrow().value_of(limit);
        let event = Event::Limit { limit, value };
        self.engine.host.event(&self.endpoint, event);
    }

    fn count_dropped(&self, messages: u64) {
        add(&self.endpoint.counters.dropped, messages);
        self.dropped
            .set(self.dropped.get().saturating_add(messages as u32));
    }

    /// Queue a ping (WebSocket).
    pub fn ping(self: &Rc<Self>, payload: &[u8]) -> Result<(), SendError> {
        let options = self.endpoint.options.borrow();
        if self.state.get() != State::Open {
            return Err(self.send_refusal());
        }
        let is_too_long = requires!("rfc6455/5.5/1" => payload.len() > CONTROL_BYTES_MAX);
        if is_too_long || options.framing != Framing::WebSocket {
            return Err(SendError::TooLong);
        }
        let payload = if requires!("rfc6455/5.5.2/1") {
            payload
        } else {
            &[]
        };
        self.queue(&options, (Opcode::Ping, false), true, payload, true)
    }

    /// Queue a control frame, whatever state the connection is in.
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
        )
        .then(|| self.engine.mask_key())
    }

    /// Queue bytes as they are.
    pub(crate) fn append(self: &Rc<Self>, size: usize, write: impl FnOnce(&mut Vec<u8>)) {
        self.outbound
            .borrow_mut()
            .append(size, &mut self.engine.pool.borrow_mut(), write);
        self.unsettle();
    }
}
