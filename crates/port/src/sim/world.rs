//! The test's side of a simulation.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use super::faults::Faults;
use super::network::{End, Owner};
use super::state::{Place, Role, State};
use crate::{Address, Descriptor, Errno, Interest};

/// The world around a simulated port: the network and the peers in it. Clones are the same world.
#[derive(Clone)]
pub struct World {
    pub(super) state: Rc<RefCell<State>>,
}

/// How a connection ended for a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// FIN: the port closed or shut its sending side down, and every byte was read.
    Finished,
    /// RST: bytes may be lost.
    Reset,
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl World {
    /// The simulation's time in nanoseconds, as [`crate::Port::now`] tells it.
    pub fn now(&self) -> u64 {
        self.state.borrow().now
    }

    /// Let time pass while the caller of the port is busy.
    pub fn pass(&self, duration: Duration) {
        let mut state = self.state.borrow_mut();
        state.now = state.now.saturating_add(nanoseconds(duration));
    }

    /// Stop the process in its next turn for this time.
    pub fn stop(&self, duration: Duration) {
        let mut state = self.state.borrow_mut();
        state.stop = state.stop.saturating_add(nanoseconds(duration));
    }

    /// Change what goes wrong from now on. Buffers and their size stay as they were.
    pub fn set_faults(&self, faults: Faults) {
        self.state.borrow_mut().faults = faults;
    }

    /// Connect to a listening socket of the port. `ECONNREFUSED` when there is none, or its backlog
    /// is full.
    pub fn connect(&self, listener: &Address) -> Result<Peer, Errno> {
        let source = self.state.borrow_mut().client_address(listener);
        self.connect_from(listener, source)
    }

    /// Connect from an address of the test's choice.
    pub fn connect_from(&self, listener: &Address, source: Address) -> Result<Peer, Errno> {
        let answer = self
            .state
            .borrow_mut()
            .dial((Owner::Peer, source), listener);
        let end = answer.unwrap_or(Err(Errno(libc::ETIMEDOUT)))?;
        Ok(self.peer(end))
    }

    fn peer(&self, end: End) -> Peer {
        Peer {
            world: self.clone(),
            end,
        }
    }

    /// Let the port connect to `address`; take its connections with [`World::accept`].
    pub fn listen(&self, address: &Address) {
        let place = Place::Listening(VecDeque::new());
        self.state
            .borrow_mut()
            .places
            .insert(address.to_string(), place);
    }

    /// Let connects to `address` go unanswered.
    pub fn silence(&self, address: &Address) {
        self.state
            .borrow_mut()
            .places
            .insert(address.to_string(), Place::Silent);
    }

    /// The next connection that the port made to `address`.
    pub fn accept(&self, address: &Address) -> Option<Peer> {
        match self.state.borrow_mut().places.get_mut(&address.to_string()) {
            Some(Place::Listening(queue)) => queue.pop_front().map(|end| self.peer(end)),
            _ => None,
        }
    }

    /// A foreign descriptor for [`crate::Port::poll`], not ready.
    pub fn foreign(&self) -> Descriptor {
        let mut state = self.state.borrow_mut();
        let descriptor = state.descriptor();
        state.foreign.insert(descriptor, Interest::default());
        descriptor
    }

    /// Make a foreign descriptor ready, or no longer ready.
    pub fn set_ready(&self, foreign: Descriptor, ready: Interest) {
        let before = self.state.borrow_mut().foreign.insert(foreign, ready);
        assert!(before.is_some(), "descriptor {foreign} is not foreign");
    }

    /// Whether nothing more happens by itself: no completion is on its way and nothing is
    /// scheduled.
    pub fn is_quiet(&self) -> bool {
        let state = self.state.borrow();
        state.posted.is_empty()
            && state.runnable.is_empty()
            && state.scheduled.is_empty()
            && state.post.next_event().is_none()
    }

    /// How many sockets the port has open.
    pub fn open_sockets(&self) -> usize {
        self.state.borrow().sockets.len()
    }

    /// Panic, naming the rest, unless every operation had its final completion, every lease was
    /// given back, and no socket is open or watched.
    pub fn assert_no_leaks(&self) {
        let state = self.state.borrow();
        let mut left: Vec<String> = Vec::new();
        for ((token, kind), outstanding) in &state.outstanding {
            let descriptor = outstanding.descriptor;
            left.push(format!(
                "{kind:?} of {token:?} on descriptor {descriptor} is outstanding"
            ));
        }
        let lent = usize::from(state.pool.count()) - state.pool.free();
        if lent > 0 {
            left.push(format!("{lent} leases are not given back"));
        }
        for (descriptor, socket) in &state.sockets {
            let role = match &socket.role {
                Role::Fresh(_) => "not connected".to_owned(),
                Role::Listening { address, .. } => format!("listening at {address}"),
                Role::Datagrams(mailbox) => format!("for datagrams at {}", mailbox.address),
                Role::Connected(end) => {
                    format!("connected to {}", state.network.peek(end.other()).address)
                }
            };
            left.push(format!("descriptor {descriptor}, {role}, is open"));
        }
        for (descriptor, (token, _)) in &state.polls {
            left.push(format!("descriptor {descriptor} is watched for {token:?}"));
        }
        assert!(
            left.is_empty(),
            "left in the simulation: {}",
            left.join("; ")
        );
    }
}

/// The other end of one of the port's connections, which the test controls.
///
/// It reads what comes by itself, like a peer that keeps up, and keeps it for [`Peer::read`]; only
/// a stalled one lets the port wait.
pub struct Peer {
    world: World,
    end: End,
}

impl Peer {
    /// Send; returns how many bytes the window took. `EPIPE` after [`Peer::finish`], `ECONNRESET`
    /// when the connection is gone.
    pub fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        let mut state = self.world.state.borrow_mut();
        let other = self.end.other();
        if state.network.peek(self.end).reset {
            return Err(Errno(libc::ECONNRESET));
        }
        if state.network.peek(other).finished {
            return Err(Errno(libc::EPIPE));
        }
        let room = state
            .network
            .room(other, state.now, state.faults.window_bytes);
        let taken = bytes.len().min(room);
        state.network.deliver(other, &bytes[..taken]);
        state.stir(other);
        Ok(taken)
    }

    /// What has come since the last call.
    pub fn read(&self) -> Vec<u8> {
        let mut state = self.world.state.borrow_mut();
        let now = state.now;
        let side = state.network.side(self.end);
        let stalled = side.is_stalled(now);
        let count = if stalled {
            side.read_before_stall
        } else {
            side.unread.len()
        };
        let bytes = side.unread.drain(..count).collect();
        side.read_before_stall = 0;
        state.stir(self.end.other());
        bytes
    }

    /// Take at most `count` bytes of what waits, as a slow reader does, although stalled: the
    /// window opens by as much.
    pub fn sip(&self, count: usize) -> Vec<u8> {
        let mut state = self.world.state.borrow_mut();
        let side = state.network.side(self.end);
        let count = count.min(side.unread.len());
        side.read_before_stall = side.read_before_stall.saturating_sub(count);
        let bytes = side.unread.drain(..count).collect();
        state.stir(self.end.other());
        bytes
    }

    /// Send FIN. What was written arrives before it.
    pub fn finish(&self) {
        let mut state = self.world.state.borrow_mut();
        state.network.side(self.end.other()).finished = true;
        state.stir(self.end.other());
    }

    /// Send RST and be gone.
    pub fn reset(&self) {
        self.shut(true);
    }

    /// Close: FIN, or RST when bytes were not read. Further bytes from the port are answered with
    /// RST.
    pub fn close(&self) {
        self.shut(false);
    }

    fn shut(&self, reset: bool) {
        let mut state = self.world.state.borrow_mut();
        if state.network.peek(self.end).owner == Owner::Peer {
            state.hang_up(self.end, reset);
        }
    }

    /// Stop reading, or continue.
    pub fn stall(&self, stalled: bool) {
        let mut state = self.world.state.borrow_mut();
        let now = state.now;
        let side = state.network.side(self.end);
        if stalled && !side.is_stalled(now) {
            side.read_before_stall = side.unread.len();
        }
        side.stalled = stalled;
        state.stir(self.end.other());
    }

    /// Disappear without any packet, like a machine whose cable is pulled: nothing is read or
    /// acknowledged from now on.
    pub fn vanish(&self) {
        let mut state = self.world.state.borrow_mut();
        let now = state.now;
        let side = state.network.side(self.end);
        if !side.is_stalled(now) {
            side.read_before_stall = side.unread.len();
        }
        side.gone_since = Some(now);
    }

    /// Whether and how the port ended the connection, as far as this peer can know: FIN shows only
    /// when every byte before it was read.
    pub fn closed(&self) -> Option<Closed> {
        let state = self.world.state.borrow();
        let side = state.network.peek(self.end);
        match (side.reset, side.finished && side.unread.is_empty()) {
            (true, _) => Some(Closed::Reset),
            (false, true) => Some(Closed::Finished),
            (false, false) => None,
        }
    }

    /// This end's address.
    pub fn address(&self) -> Address {
        self.world
            .state
            .borrow()
            .network
            .peek(self.end)
            .address
            .clone()
    }

    /// Bytes sent to the port that it has not received.
    pub fn unreceived(&self) -> usize {
        self.world
            .state
            .borrow()
            .network
            .peek(self.end.other())
            .unread
            .len()
    }
}
