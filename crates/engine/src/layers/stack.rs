//! The layers of a connection, one above the other, and the bytes between them.
//!
//! ```text
//! session      plain         what the top layer made of received bytes, not taken yet
//! layer 1      input, wait   received bytes that it has not used; bytes to be sent that wait for
//! it layer 0      input, wait
//! socket       wire          bytes to be sent next: own bytes of layers, in order
//! ```
//!
//! Received bytes are pulled, not pushed: [`Stack::advance`] lets one layer make one step, the
//! topmost that has something to do, and is called again only when the session has taken what
//! resulted from it. So a layer whose output can be much larger than its input (an inflater) holds
//! at most the output of one step.

use super::{Flow, Layer, Progress, Received};
use crate::close::CloseReason;
use crate::memory;
use vespiary_port::Address;

/// What the layers found out about the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// All layers are ready.
    Ready,
    /// A layer was removed, having learnt for which peer a proxy has connected, or not; and whether
    /// all that are left are ready.
    Removed(Option<Address>, bool),
    /// The peer has finished sending, as a layer says it.
    Ended,
}

struct Slot {
    layer: Box<dyn Layer>,
    /// Received bytes that it has not used.
    input: Vec<u8>,
    /// It can make a step: it has new input, or asked to be called again.
    can_go: bool,
    /// Bytes from above that are older than the layer, and pass it by.
    older: usize,
    /// Own bytes that wait until the older ones have passed, and bytes from above that wait until
    /// it is ready.
    own: Vec<u8>,
    waiting: Vec<u8>,
    ended: bool,
}

/// The layers of a connection.
#[derive(Default)]
pub(crate) struct Stack {
    /// The first is nearest to the socket.
    slots: Vec<Slot>,
    plain: Vec<u8>,
    taken: usize,
    wire: Vec<u8>,
    /// The session begins only when all layers are ready; or a layer was started later, and its
    /// handshake is in progress.
    awaits_ready: bool,
    /// When that handshake began, in milliseconds.
    handshake_began: Option<u64>,
    end_sent: bool,
}

impl Stack {
    /// Put a layer on top. So many `older` bytes, queued before, pass it by.
    pub(crate) fn push(
        &mut self,
        mut layer: Box<dyn Layer>,
        older: usize,
    ) -> Result<(), CloseReason> {
        let mut own = Vec::new();
        layer.begin(&mut own)?;
        let input = self.plain.split_off(self.taken);
        self.plain.clear();
        self.taken = 0;
        // Most stacks have one layer, and a vector makes room for four by itself.
        self.slots.reserve_exact(1);
        self.slots.push(Slot {
            layer,
            can_go: !input.is_empty(),
            input,
            older,
            own: Vec::new(),
            waiting: Vec::new(),
            ended: false,
        });
        self.send_own(self.slots.len() - 1, &own)
    }

    /// Put the layers of another stack, which has received nothing yet, on top. What is awaited of
    /// them is awaited of this one.
    pub(crate) fn push_all(&mut self, other: Self) -> Result<(), CloseReason> {
        let rest = self.plain.split_off(self.taken);
        self.plain.clear();
        self.taken = 0;
        self.awaits_ready |= other.awaits_ready;
        self.handshake_began = other.handshake_began.or(self.handshake_began);
        let first = self.slots.len();
        self.slots.extend(other.slots);
        if let Some(slot) = self.slots.get_mut(first) {
            slot.input.splice(..0, rest);
            slot.can_go = !slot.input.is_empty();
        }
        match first.checked_sub(1) {
            Some(below) => self.send_through(below, &other.wire),
            None => memory::extend(&mut self.wire, &other.wire),
        }
    }

    /// Whether bytes can be sent through all layers.
    pub(crate) fn is_ready(&self) -> bool {
        self.slots.iter().all(|slot| slot.layer.is_ready())
    }

    /// Begin the session when the layers are ready; whether they are not yet.
    pub(crate) fn await_ready(&mut self) -> bool {
        self.awaits_ready = !self.is_ready();
        self.awaits_ready
    }

    /// Report when the layer that was just pushed is ready; whether it is not yet.
    pub(crate) fn await_handshake(&mut self, now: u64) -> bool {
        if self.await_ready() {
            self.handshake_began = Some(now);
        }
        self.awaits_ready
    }

    /// When the handshake that is awaited began.
    pub(crate) fn handshake_began(&self) -> Option<u64> {
        self.handshake_began.filter(|_| self.awaits_ready)
    }

    /// How many bytes from the session are older than the topmost layer, and pass it by.
    pub(crate) fn older(&self) -> usize {
        self.slots.last().map_or(0, |slot| slot.older)
    }

    /// Received bytes, and what layers made of them, that nobody has taken.
    pub(crate) fn held_bytes(&self) -> usize {
        let inputs: usize = self.slots.iter().map(|slot| slot.input.len()).sum();
        inputs + self.plain.len() - self.taken
    }

    /// Whether something can be taken by the session, or by a layer.
    pub(crate) fn has_waiting(&self) -> bool {
        let waits = |slot: &Slot| slot.can_go && !slot.ended || slot.layer.is_receiving();
        self.taken < self.plain.len() || self.slots.iter().any(waits)
    }

    /// Whether a layer works on bytes to be sent.
    pub(crate) fn is_sending(&self) -> bool {
        self.slots.iter().any(|slot| slot.layer.is_sending())
    }

    /// The layer that works on received bytes has made these of them.
    pub(crate) fn resume_received(&mut self, mut bytes: Vec<u8>) {
        for slot in &mut self.slots {
            if slot.layer.resume_received(&mut bytes) {
                slot.can_go = true;
                return;
            }
        }
    }

    /// The layer that works on bytes to be sent has made these of them.
    pub(crate) fn resume_sent(&mut self, bytes: &[u8]) -> Result<(), CloseReason> {
        let resumed = |slot: &mut Slot| slot.layer.resume_sent();
        match self.slots.iter_mut().position(resumed) {
            Some(index) => self.send_below(index, bytes),
            None => Ok(()),
        }
    }

    /// Bytes to be sent next.
    pub(crate) fn wire(&self) -> &[u8] {
        &self.wire
    }

    pub(crate) fn take_wire(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.wire)
    }

    /// Bytes of memory that it holds.
    pub(crate) fn memory_bytes(&self) -> usize {
        let slot = |slot: &Slot| {
            let buffers = slot.input.capacity() + slot.own.capacity() + slot.waiting.capacity();
            size_of::<Slot>() + slot.layer.memory_bytes() + buffers
        };
        let slots: usize = self.slots.iter().map(slot).sum();
        size_of::<Self>() + slots + self.plain.capacity() + self.wire.capacity()
    }

    /// What the session has not taken.
    pub(crate) fn plain(&self) -> &[u8] {
        &self.plain[self.taken..]
    }

    /// The session took so many bytes.
    pub(crate) fn take_plain(&mut self, count: usize) {
        self.taken += count;
        if self.taken == self.plain.len() {
            // An idle connection holds no buffer.
            self.plain = Vec::new();
            self.taken = 0;
        }
    }

    /// Forget what was received: nothing more is wanted.
    pub(crate) fn discard(&mut self) {
        self.plain = Vec::new();
        self.taken = 0;
        for slot in &mut self.slots {
            slot.input = Vec::new();
            slot.can_go = false;
        }
    }

    /// Keep received bytes for later.
    pub(crate) fn hold(&mut self, bytes: &[u8]) -> Result<(), CloseReason> {
        self.give(0, bytes)
    }

    /// Take received bytes, in place where nothing waits before them.
    pub(crate) fn receive(
        &mut self,
        bytes: &mut [u8],
    ) -> Result<(u16, Option<Event>), CloseReason> {
        let is_first = self.plain.is_empty() && self.slots.len() == 1;
        let slot = self.slots.first();
        if !is_first || slot.is_none_or(|slot| slot.can_go || !slot.input.is_empty() || slot.ended)
        {
            self.hold(bytes)?;
            return Ok((0, None));
        }
        let (used, outcome) = self.step(0, bytes)?;
        if used < bytes.len() {
            let slot = &mut self.slots[0];
            memory::extend(&mut slot.input, &bytes[used..])?;
        }
        Ok(outcome)
    }

    /// Let the topmost layer that has something to do make a step. `None` when none has; else the
    /// work that it was, and what was found out.
    pub(crate) fn advance(&mut self) -> Result<Option<(u16, Option<Event>)>, CloseReason> {
        let able = |slot: &Slot| slot.can_go && !slot.ended;
        let Some(index) = self.slots.iter().rposition(able) else {
            return Ok(None);
        };
        let mut input = std::mem::take(&mut self.slots[index].input);
        let (used, outcome) = self.step(index, &mut input)?;
        if used < input.len() {
            input.drain(..used);
            self.slots[index].input = input;
        }
        Ok(Some(outcome))
    }

    /// One layer's step with this input: how much of it was used, the work, and an event.
    fn step(
        &mut self,
        index: usize,
        input: &mut [u8],
    ) -> Result<(usize, (u16, Option<Event>)), CloseReason> {
        let mut plain = Vec::new();
        let is_top = index + 1 == self.slots.len();
        if is_top {
            plain = std::mem::take(&mut self.plain);
        }
        let mut own = Vec::new();
        let slot = &mut self.slots[index];
        let was_ready = slot.layer.is_ready();
        let mut flow = Flow {
            plain: &mut plain,
            own: &mut own,
        };
        // One that fails has nothing more to do.
        slot.can_go = false;
        let received = slot.layer.receive(input, &mut flow)?;
        let Received {
            used,
            progress,
            work,
        } = received;
        slot.can_go = matches!(progress, Progress::Again | Progress::Ready);
        let became_ready = !was_ready && slot.layer.is_ready();
        if is_top {
            self.plain = plain;
        } else {
            self.give(index + 1, &plain)?;
        }
        self.send_own(index, &own)?;
        let event = match progress {
            Progress::Finished(address) => {
                self.remove(index, &input[used..])?;
                let event = Event::Removed(address, self.has_become_ready());
                return Ok((input.len(), (work, Some(event))));
            }
            Progress::Ended | Progress::Truncated => {
                self.slots[index].ended = true;
                Some(Event::Ended)
            }
            Progress::MoreNeeded | Progress::Again | Progress::Ready if became_ready => {
                let waiting = std::mem::take(&mut self.slots[index].waiting);
                self.send_through(index, &waiting)?;
                self.has_become_ready().then_some(Event::Ready)
            }
            Progress::MoreNeeded | Progress::Again | Progress::Ready => None,
        };
        Ok((used, (work, event)))
    }

    /// Whether the session that waited for the layers can begin. True once.
    fn has_become_ready(&mut self) -> bool {
        self.is_ready() && std::mem::take(&mut self.awaits_ready)
    }

    /// Take a layer away. What it has not used, and what waited for it to become ready, continues.
    fn remove(&mut self, index: usize, unused: &[u8]) -> Result<(), CloseReason> {
        let slot = self.slots.remove(index);
        self.give(index, unused)?;
        for bytes in [slot.own, slot.waiting] {
            self.send_below(index, &bytes)?;
        }
        Ok(())
    }

    /// Whether every layer was removed, and nothing is left between them.
    pub(crate) fn is_over(&self) -> bool {
        self.slots.is_empty() && self.plain.is_empty() && self.wire.is_empty()
    }

    fn give(&mut self, index: usize, bytes: &[u8]) -> Result<(), CloseReason> {
        if bytes.is_empty() {
            return Ok(());
        }
        let Some(slot) = self.slots.get_mut(index) else {
            return memory::extend(&mut self.plain, bytes);
        };
        slot.can_go = true;
        memory::extend(&mut slot.input, bytes)
    }

    /// Send bytes of the session.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), CloseReason> {
        match self.slots.len().checked_sub(1) {
            Some(top) => self.send_through(top, bytes),
            None => memory::extend(&mut self.wire, bytes),
        }
    }

    /// Send bytes through a layer and those below it.
    fn send_through(&mut self, index: usize, bytes: &[u8]) -> Result<(), CloseReason> {
        let slot = &mut self.slots[index];
        let (older, bytes) = bytes.split_at(slot.older.min(bytes.len()));
        slot.older -= older.len();
        let is_reached = slot.older == 0;
        if !older.is_empty() {
            self.send_below(index, older)?;
        }
        if is_reached && !self.slots[index].own.is_empty() {
            let own = std::mem::take(&mut self.slots[index].own);
            self.send_below(index, &own)?;
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let slot = &mut self.slots[index];
        if !slot.layer.is_ready() {
            return memory::extend(&mut slot.waiting, bytes);
        }
        if index == 0 {
            return slot.layer.send(bytes, &mut self.wire);
        }
        let mut changed = Vec::new();
        slot.layer.send(bytes, &mut changed)?;
        self.send_below(index, &changed)
    }

    fn send_below(&mut self, index: usize, bytes: &[u8]) -> Result<(), CloseReason> {
        match index.checked_sub(1) {
            Some(below) => self.send_through(below, bytes),
            None => memory::extend(&mut self.wire, bytes),
        }
    }

    /// Send a layer's own bytes, once those have passed that are older than the layer.
    fn send_own(&mut self, index: usize, own: &[u8]) -> Result<(), CloseReason> {
        if own.is_empty() {
            return Ok(());
        }
        let slot = &mut self.slots[index];
        if slot.older > 0 {
            return memory::extend(&mut slot.own, own);
        }
        self.send_below(index, own)
    }

    /// Report to the peer that this end sends nothing more, each layer in its own way, the topmost
    /// first. A second call does nothing.
    pub(crate) fn end(&mut self) -> Result<(), CloseReason> {
        if std::mem::replace(&mut self.end_sent, true) {
            return Ok(());
        }
        for index in (0..self.slots.len()).rev() {
            let mut own = Vec::new();
            self.slots[index].layer.end(&mut own)?;
            self.send_own(index, &own)?;
        }
        Ok(())
    }

    /// The socket's stream has ended; whether a layer finds that it was cut.
    pub(crate) fn is_cut(&mut self) -> bool {
        let mut is_cut = false;
        for slot in self.slots.iter_mut().filter(|slot| !slot.ended) {
            is_cut |= slot.layer.input_ended() == Progress::Truncated;
        }
        is_cut
    }
}
