//! The completion port as a simulation from a seed.
//!
//! The same seed, faults and acts give the same completions at the same times, on every machine. A
//! test drives the engine with [`Sim`] as its port and acts as all its peers through [`World`].
//!
//! **Time** is virtual: a turn that has nothing to hand out moves the clock to the next thing that
//! happens, or to its timeout. Every turn takes a microsecond. When nothing can happen any more a
//! turn without a timeout returns at once, with nothing: the test must act next.
//!
//! **Pauses** of the process itself are simulated too: [`World::pass`] lets time pass while the
//! caller is busy, and [`World::stop`] stops the process in its next turn, as SIGSTOP, a frozen
//! container or a suspended machine do. What peers do meanwhile waits in the sockets.
//!
//! **The rules of [`crate::Port`]** are checked: the simulation panics on a second operation of a
//! kind on one token or socket before the final completion of the first was taken, on a close with
//! an operation outstanding, and on a descriptor that is not open. [`World::assert_no_leaks`] at a
//! test's end finds what was forgotten.
//!
//! **Faults** are chosen with [`Faults`]. What is simulated is what the kernels' drivers may do: a
//! send may complete short, or while it is asked for, bytes may be received after a cancel, a
//! completion may be for something long past, descriptors arrive in any order. Sockets behave as
//! TCP does: a window a direction, FIN after what was sent, RST when a socket is closed with bytes
//! unread or written to after the peer is gone.

mod datagrams;
mod faults;
mod hosted;
mod network;
mod progress;
mod random;
mod state;
mod world;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::buffers::Pool;
use crate::{
    Address, Arrivals, Completion, Counters, DatagramOptions, Delivery, Departed, Departures,
    Descriptor, Errno, Interest, Outcome, Outgoing, Port, Token, Unread, Wake,
};
use datagrams::Post;
pub use faults::Faults;
pub use hosted::{Hold, Hosted};
use network::Network;
pub use random::Random;
use state::{Kind, Posted, Role, Sending, State};
pub use world::{Closed, Peer, World};

/// When a simulation starts, in its own nanoseconds.
const START: u64 = 1_000_000_000;
/// What a turn takes, in nanoseconds.
const TURN: u64 = 1_000;

/// A simulated port. See the module's documentation.
pub struct Sim {
    state: Rc<RefCell<State>>,
    batch: VecDeque<Posted>,
    ready: VecDeque<(Descriptor, Token, Interest)>,
    waker: Arc<Waker>,
    now: u64,
    counters: Counters,
}

struct Waker {
    pending: AtomicBool,
}

impl Wake for Waker {
    fn wake(&self) {
        self.pending.store(true, Ordering::Release);
    }
}

fn refused(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

impl Sim {
    /// A port in a world of its own, where chance follows `seed`.
    pub fn new(seed: u64, faults: Faults) -> Self {
        let pool = Pool::new(faults.buffers, faults.buffer_bytes).expect("memory for buffers");
        let state = State {
            now: START,
            faults,
            random: Random::new(seed),
            network: Network::default(),
            sockets: BTreeMap::new(),
            next_descriptor: 3,
            free_descriptors: BTreeSet::new(),
            next_port: 40_000,
            places: BTreeMap::new(),
            outstanding: BTreeMap::new(),
            busy: BTreeMap::new(),
            posted: BTreeMap::new(),
            runnable: BTreeSet::new(),
            scheduled: BTreeSet::new(),
            foreign: BTreeMap::new(),
            polls: BTreeMap::new(),
            post: Post::default(),
            pool,
            buffers_exhausted: 0,
            system_calls: 0,
            stop: 0,
        };
        Self {
            state: Rc::new(RefCell::new(state)),
            batch: VecDeque::new(),
            ready: VecDeque::new(),
            waker: Arc::new(Waker {
                pending: AtomicBool::new(false),
            }),
            now: START,
            counters: Counters::default(),
        }
    }

    /// The world around the port.
    pub fn world(&self) -> World {
        World {
            state: Rc::clone(&self.state),
        }
    }

    /// Whether completions wait to be taken.
    fn has_batch(&self) -> bool {
        !self.batch.is_empty() || !self.ready.is_empty()
    }

    /// Let time pass in which nothing is handed out.
    fn pass(&mut self, time: Duration) {
        let mut state = self.state.borrow_mut();
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        state.now = state.now.saturating_add(time);
        self.now = state.now;
    }

    /// Perhaps continue with the socket's operations now, and let what completes come in this
    /// batch.
    fn perhaps_at_once(&mut self, descriptor: Option<Descriptor>) {
        let mut state = self.state.borrow_mut();
        let chance = state.faults.at_once_permille;
        if let Some(descriptor) = descriptor
            && state.random.chance(chance)
        {
            state.progress_one(descriptor);
            self.batch.extend(state.take_posted());
        }
    }

    /// Take what has come out by now. Whether there is anything.
    fn gather(&mut self) -> bool {
        let mut state = self.state.borrow_mut();
        self.batch.extend(state.take_posted());
        self.ready.clear();
        for (descriptor, (token, interest)) in &state.polls {
            let ready = state.foreign.get(descriptor).copied().unwrap_or_default();
            let read = ready.read && interest.read;
            let write = ready.write && interest.write;
            if read || write {
                self.ready
                    .push_back((*descriptor, *token, Interest { read, write }));
            }
        }
        self.ready.extend(state.readable_datagrams());
        self.has_batch()
    }
}

impl Port for Sim {
    fn name(&self) -> &'static str {
        "sim"
    }

    fn now(&self) -> u64 {
        self.now
    }

    fn accept(&mut self, listener: Descriptor, token: Token) {
        let mut state = self.state.borrow_mut();
        let operation = state.begin(listener, token, Kind::Accept);
        state.socket(listener).accept = Some(operation);
        drop(state);
        self.perhaps_at_once(Some(listener));
    }

    fn cancel_accept(&mut self, token: Token) {
        let descriptor = self.state.borrow_mut().cancel(token, Kind::Accept);
        self.perhaps_at_once(descriptor);
    }

    fn receive(&mut self, socket: Descriptor, token: Token) {
        let mut state = self.state.borrow_mut();
        let operation = state.begin(socket, token, Kind::Receive);
        state.socket(socket).receive = Some(operation);
        drop(state);
        self.perhaps_at_once(Some(socket));
    }

    fn cancel_receive(&mut self, token: Token) {
        let descriptor = self.state.borrow_mut().cancel(token, Kind::Receive);
        self.perhaps_at_once(descriptor);
    }

    fn send(&mut self, socket: Descriptor, token: Token, outgoing: Outgoing) {
        let mut state = self.state.borrow_mut();
        let operation = state.begin(socket, token, Kind::Send);
        let offered = match outgoing.as_file() {
            Some(_) => outgoing.remaining(),
            None => outgoing.pieces().map(<[u8]>::len).sum(),
        };
        let sending = Sending {
            operation,
            outgoing,
            offered,
            sent: 0,
        };
        state.socket(socket).send = Some(sending);
        drop(state);
        self.perhaps_at_once(Some(socket));
    }

    fn cancel_send(&mut self, token: Token) {
        let descriptor = self.state.borrow_mut().cancel(token, Kind::Send);
        self.perhaps_at_once(descriptor);
    }

    fn connect(&mut self, socket: Descriptor, token: Token, address: &Address) {
        let mut state = self.state.borrow_mut();
        let operation = state.begin(socket, token, Kind::Connect);
        state.socket(socket).connect = Some((operation, address.clone()));
        drop(state);
        self.perhaps_at_once(Some(socket));
    }

    fn cancel_connect(&mut self, token: Token) {
        let descriptor = self.state.borrow_mut().cancel(token, Kind::Connect);
        self.perhaps_at_once(descriptor);
    }

    fn poll(&mut self, descriptor: Descriptor, token: Token, interest: Interest) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        assert!(
            state.foreign.contains_key(&descriptor),
            "descriptor {descriptor} is not foreign"
        );
        if interest == Interest::default() {
            state.polls.remove(&descriptor);
        } else {
            state.polls.insert(descriptor, (token, interest));
        }
        Ok(())
    }

    fn unpoll(&mut self, descriptor: Descriptor, token: Token) {
        let mut state = self.state.borrow_mut();
        if state
            .polls
            .get(&descriptor)
            .is_some_and(|(owner, _)| *owner == token)
        {
            state.polls.remove(&descriptor);
        }
        self.ready
            .retain(|(watched, owner, _)| (*watched, *owner) != (descriptor, token));
    }

    fn open(&mut self, _address: &Address, source: Option<&Address>) -> io::Result<Descriptor> {
        let mut state = self.state.borrow_mut();
        let mut source = source.cloned();
        if let Some(Address::Inet(address)) = &mut source
            && address.port() == 0
        {
            state.next_port = state.next_port.checked_add(1).unwrap_or(1024);
            address.set_port(state.next_port);
        }
        Ok(state.open(Role::Fresh(source)))
    }

    fn listen(
        &mut self,
        address: &Address,
        backlog: u32,
        reuse_port: bool,
    ) -> io::Result<Descriptor> {
        self.state.borrow_mut().listen(address, backlog, reuse_port)
    }

    fn adopt(&mut self, _listener: Descriptor) -> io::Result<()> {
        Err(refused(libc::EOPNOTSUPP))
    }

    fn bind(&mut self, address: &Address, options: &DatagramOptions) -> io::Result<Descriptor> {
        self.bind_datagrams(address, options)
    }

    fn adopt_datagrams(
        &mut self,
        _socket: Descriptor,
        _options: &DatagramOptions,
    ) -> io::Result<()> {
        Err(refused(libc::EOPNOTSUPP))
    }

    fn watch_datagrams(&mut self, socket: Descriptor, token: Token) -> io::Result<()> {
        self.state.borrow_mut().mailbox(socket).watched = Some(token);
        Ok(())
    }

    fn unwatch_datagrams(&mut self, socket: Descriptor, token: Token) {
        self.state.borrow_mut().mailbox(socket).watched = None;
        self.ready
            .retain(|(watched, owner, _)| (*watched, *owner) != (socket, token));
    }

    fn receive_datagrams(
        &mut self,
        socket: Descriptor,
        arrivals: &mut Arrivals,
        datagram_bytes_max: usize,
    ) -> Result<(), Errno> {
        self.take_datagrams(socket, arrivals, datagram_bytes_max);
        Ok(())
    }

    fn send_datagrams(&mut self, socket: Descriptor, departures: &mut Departures) -> Departed {
        self.post_datagrams(socket, departures)
    }

    fn keep_alive(&mut self, _socket: Descriptor, _silence: Duration) {}

    fn shutdown(&mut self, socket: Descriptor) {
        let mut state = self.state.borrow_mut();
        state.socket(socket).shut = true;
        state.runnable.insert(socket);
        if let Role::Connected(end) = state.socket(socket).role {
            state.network.side(end.other()).finished = true;
            state.stir(end.other());
        }
    }

    fn close(&mut self, socket: Descriptor, reset: bool) {
        let mut state = self.state.borrow_mut();
        state.socket(socket);
        if let Some((kind, token)) = state.operation_on(socket) {
            panic!("descriptor {socket} closed with {kind:?} of {token:?} outstanding");
        }
        if let Role::Datagrams(mailbox) = &state.socket(socket).role
            && let Some(token) = mailbox.watched
        {
            panic!("descriptor {socket} closed while it is watched for {token:?}");
        }
        state.free_descriptors.insert(socket);
        match state.sockets.remove(&socket).map(|socket| socket.role) {
            Some(Role::Connected(end)) => state.hang_up(end, reset),
            Some(Role::Listening { queue, .. }) => {
                for end in queue {
                    state.hang_up(end, true);
                }
            }
            _ => (),
        }
    }

    fn local_address(&self, socket: Descriptor) -> io::Result<Address> {
        let mut state = self.state.borrow_mut();
        match &state.socket(socket).role {
            Role::Listening { address, .. } | Role::Fresh(Some(address)) => Ok(address.clone()),
            Role::Datagrams(mailbox) => Ok(mailbox.address.clone()),
            Role::Fresh(None) => Err(refused(libc::ENOTCONN)),
            Role::Connected(end) => {
                let end = *end;
                Ok(state.network.peek(end).address.clone())
            }
        }
    }

    fn peer_address(&self, socket: Descriptor) -> io::Result<Address> {
        let mut state = self.state.borrow_mut();
        let Role::Connected(end) = state.socket(socket).role else {
            return Err(refused(libc::ENOTCONN));
        };
        if state.network.peek(end).reset {
            // After RST the kernel does not know the peer any more.
            return Err(refused(libc::ENOTCONN));
        }
        Ok(state.network.peek(end.other()).address.clone())
    }

    fn delivery(&self, socket: Descriptor) -> Delivery {
        let mut state = self.state.borrow_mut();
        match state.socket(socket).role {
            Role::Connected(end) => state.network.delivery(end.other(), state.now),
            _ => Delivery::default(),
        }
    }

    fn unread(&self, socket: Descriptor) -> Unread {
        let mut state = self.state.borrow_mut();
        state.system_calls += 2;
        let Role::Connected(end) = state.socket(socket).role else {
            return Unread::default();
        };
        let side = state.network.peek(end);
        Unread {
            bytes: side.unread.len(),
            is_ended: side.finished,
            is_gone: side.reset,
            broken: side.reset.then_some(Errno(libc::ECONNRESET)),
        }
    }

    fn turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.counters.turns += 1;
        let mut deadline = None;
        {
            let mut state = self.state.borrow_mut();
            state.now = match state.now.checked_add(TURN) {
                Some(now) => now,
                // What must not wait continues, so that tasks can be cancelled and the loop closed.
                None if timeout == Some(Duration::ZERO) => state.now,
                None => {
                    let text = "the simulation's clock ends 584 years after its start";
                    return Err(io::Error::other(text));
                }
            };
            let stop = state.take_stop();
            if stop > 0 {
                // A process that continues after SIGSTOP finds its wait interrupted, without
                // events.
                state.now = state.now.saturating_add(stop);
                self.now = state.now;
                return Ok(());
            }
            if let Some(timeout) = timeout {
                let timeout = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
                deadline = Some(state.now.saturating_add(timeout));
            }
        }
        let woken = self.waker.pending.swap(false, Ordering::AcqRel);
        loop {
            self.state.borrow_mut().progress();
            let has_work = self.gather();
            let mut state = self.state.borrow_mut();
            self.now = state.now;
            if has_work || woken || deadline.is_some_and(|deadline| deadline <= state.now) {
                return Ok(());
            }
            match state.next_event().into_iter().chain(deadline).min() {
                Some(time) => state.now = state.now.max(time),
                None => return Ok(()),
            }
        }
    }

    fn descriptor(&self) -> io::Result<Descriptor> {
        Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP))
    }

    fn rest(&mut self) -> Option<Duration> {
        Some(Duration::ZERO)
    }

    fn next(&mut self) -> Option<Completion> {
        if let Some(posted) = self.batch.pop_front() {
            if posted.is_final {
                self.state
                    .borrow_mut()
                    .finish(posted.completion.token, posted.kind);
            }
            self.counters.completions += 1;
            return Some(posted.completion);
        }
        let (_, token, interest) = self.ready.pop_front()?;
        self.counters.completions += 1;
        Some(Completion {
            token,
            outcome: Outcome::Ready(interest),
        })
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.waker) as Arc<dyn Wake>
    }

    fn counters(&self) -> Counters {
        let state = self.state.borrow();
        Counters {
            buffers_exhausted: state.buffers_exhausted,
            system_calls: state.system_calls,
            ..self.counters
        }
    }
}
