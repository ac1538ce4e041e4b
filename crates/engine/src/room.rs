//! Room in the write queue: how much may wait, and what the endpoint's policy for slow consumers
//! does with a message for which there is no room.

use crate::close::{Cause, CloseReason};
use crate::connection::{Connection, Fullness};
use crate::endpoint::add;
use crate::host::Host;
use crate::limit::Limit;
use crate::options::{Framing, Options, SlowConsumer};
use crate::send_error::SendError;
use std::rc::Rc;

impl<H: Host> Connection<H> {
    /// Book-keeping after bytes were queued.
    #[inline]
    pub(crate) fn queued(self: &Rc<Self>, options: &Options, queued: usize) {
        if queued > options.limits.write_high_bytes {
            self.rise_above_high();
        }
        self.unsettle();
    }

    #[cold]
    fn rise_above_high(&self) {
        let fullness = self.fullness.get();
        if !fullness.is_above_high() {
            add(&self.endpoint().counters.write_pauses, 1);
            self.fullness.set(fullness.rise());
        } else if fullness.owes_reading() && self.inbound.try_borrow_mut().is_err() {
            // An answer to what is being received.
            self.fullness.set(fullness.received());
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
        if !self.is_above_high() && size <= sure {
            return Ok(true);
        }
        self.make_room_when_full(options, size, droppable)
    }

    #[cold]
    fn make_room_when_full(
        self: &Rc<Self>,
        options: &Options,
        size: usize,
        droppable: bool,
    ) -> Result<bool, SendError> {
        let most = options.limits.write_bytes_max;
        if self.outbound.borrow().held().saturating_add(size) <= most {
            return Ok(true);
        }
        // A byte stream has no messages: without one of its pieces the rest would be wrong.
        let droppable = droppable && options.framing != Framing::Raw;
        self.write_queue_is_full();
        match options.slow_consumer {
            SlowConsumer::DropNewest if droppable => {
                self.count_dropped(1);
                Ok(false)
            }
            SlowConsumer::Wait | SlowConsumer::DropNewest => self.full_queue(),
            SlowConsumer::DropOldest => {
                let (dropped, room) = self.outbound.borrow_mut().drop_oldest(size, most);
                self.count_dropped(dropped + u64::from(!room && droppable));
                if room || droppable {
                    Ok(room)
                } else {
                    self.full_queue()
                }
            }
            SlowConsumer::Disconnect => {
                let text = format!(
                    "the peer does not read: more than {most} bytes (write_bytes_max) wait for it"
                );
                let cause = Cause::Limit(Limit::WriteBytes);
                self.end_with(CloseReason::new(cause, text));
                self.abort_now();
                Err(SendError::Closed)
            }
        }
    }

    /// Report the limit once, and again after the queue has drained: a peer that does not read
    /// would otherwise cause a report per message. A message that is too large for a queue with
    /// room is reported by itself.
    fn write_queue_is_full(self: &Rc<Self>) {
        match self.fullness.get() {
            Fullness::Full => return,
            Fullness::High | Fullness::Risen => self.fullness.set(Fullness::Full),
            Fullness::Low | Fullness::Fallen => {}
        }
        self.engine.report_soon(self.endpoint(), Limit::WriteBytes);
    }

    /// The result of sending to a full queue where nothing may be dropped.
    fn full_queue(&self) -> Result<bool, SendError> {
        if self.engine.is_promised.get() {
            return Ok(true);
        }
        Err(SendError::QueueFull)
    }

    /// Send what the host has already accepted and can no longer refuse: where nothing may be
    /// dropped, a full queue takes it too. The host limits how much that is.
    pub fn promised<T>(&self, send: impl FnOnce() -> T) -> T {
        self.engine.is_promised.set(true);
        let sent = send();
        self.engine.is_promised.set(false);
        sent
    }

    /// A piece of a byte stream could not be sent: end the connection, since the peer would take
    /// what follows for the missing piece.
    pub(crate) fn end_broken_stream(self: &Rc<Self>) {
        let text = "the write queue is full (write_bytes_max), and a byte stream cannot leave out \
                    a piece";
        let cause = Cause::Limit(Limit::WriteBytes);
        self.end_with(CloseReason::new(cause, text));
        self.abort_now();
    }

    pub(crate) fn count_dropped(&self, messages: u64) {
        add(&self.endpoint().counters.dropped, messages);
        self.traffic
            .dropped
            .set(self.traffic.dropped.get().saturating_add(messages as u32));
    }
}
