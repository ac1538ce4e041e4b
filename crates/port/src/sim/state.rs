//! What a simulation is made of, and how it goes on.
//!
//! An operation is carried out as soon as it can be, in [`State::progress`]; its completion is posted, and
//! comes out at the time that chance gives it. Completions of one operation keep their order, as
//! the kernel keeps it; those of different operations do not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use super::faults::Faults;
use super::network::{End, Network, Owner};
use super::random::Random;
use crate::buffers::{CHUNKS_A_SEND_MAX, Pool};
use crate::{Address, Completion, Descriptor, Errno, Interest, Outcome, Outgoing, Token};

/// The kind of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Accept,
    Receive,
    Send,
    Connect,
}

/// An operation that has not happened wholly.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) token: Token,
    /// When a cancel takes effect.
    pub(super) cancel_at: Option<u64>,
}

impl Operation {
    fn is_cancelled(&self, now: u64) -> bool {
        self.cancel_at.is_some_and(|time| time <= now)
    }
}

#[derive(Debug)]
pub(super) struct Sending {
    pub(super) operation: Operation,
    pub(super) outgoing: Outgoing,
    /// Bytes that this send takes, and how many have gone.
    pub(super) offered: usize,
    pub(super) sent: usize,
}

/// What a socket is.
#[derive(Debug)]
pub(super) enum Role {
    /// Made, not connected; bound to an address or not.
    Fresh(Option<Address>),
    /// Listening; connections that wait to be accepted.
    Listening {
        address: Address,
        backlog: usize,
        queue: VecDeque<End>,
    },
    Connected(End),
}

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) role: Role,
    pub(super) accept: Option<Operation>,
    pub(super) receive: Option<Operation>,
    pub(super) connect: Option<(Operation, Address)>,
    pub(super) send: Option<Sending>,
    pub(super) shut: bool,
}

impl Socket {
    pub(super) fn new(role: Role) -> Self {
        Self {
            role,
            accept: None,
            receive: None,
            connect: None,
            send: None,
            shut: false,
        }
    }
}

/// An operation whose final completion the caller has not taken.
#[derive(Debug)]
pub(super) struct Outstanding {
    pub(super) descriptor: Descriptor,
    /// When, and in which order at that time, its latest completion comes out.
    latest: (u64, u64),
}

pub(super) struct Posted {
    pub(super) kind: Kind,
    pub(super) is_final: bool,
    pub(super) completion: Completion,
}

/// The test's side of an address.
pub(super) enum Place {
    /// Connections wait for the test to take them.
    Listening(VecDeque<End>),
    /// Connects are neither accepted nor refused.
    Silent,
}

pub(super) struct State {
    pub(super) now: u64,
    pub(super) faults: Faults,
    pub(super) random: Random,
    pub(super) network: Network,
    pub(super) sockets: BTreeMap<Descriptor, Socket>,
    pub(super) next_descriptor: Descriptor,
    pub(super) free_descriptors: BTreeSet<Descriptor>,
    pub(super) next_port: u16,
    pub(super) places: BTreeMap<String, Place>,
    pub(super) outstanding: BTreeMap<(Token, Kind), Outstanding>,
    /// The same by socket.
    pub(super) busy: BTreeMap<(Descriptor, Kind), Token>,
    pub(super) posted: BTreeMap<(u64, u64), Posted>,
    pub(super) runnable: BTreeSet<Descriptor>,
    /// When which socket must be looked at.
    pub(super) scheduled: BTreeSet<(u64, Descriptor)>,
    pub(super) foreign: BTreeMap<Descriptor, Interest>,
    pub(super) polls: BTreeMap<Descriptor, (Token, Interest)>,
    pub(super) pool: Rc<Pool>,
    pub(super) buffers_exhausted: u64,
}

const MICROSECOND: u64 = 1_000;

impl State {
    /// The open socket; panics on any other number (rule 5).
    pub(super) fn socket(&mut self, descriptor: Descriptor) -> &mut Socket {
        let socket = self.sockets.get_mut(&descriptor);
        socket.unwrap_or_else(|| panic!("descriptor {descriptor} is not open"))
    }

    pub(super) fn open(&mut self, role: Role) -> Descriptor {
        let descriptor = self.descriptor();
        self.sockets.insert(descriptor, Socket::new(role));
        descriptor
    }

    /// A number for a descriptor: one that was closed, as the kernel has it, or one never seen.
    pub(super) fn descriptor(&mut self) -> Descriptor {
        if !self.free_descriptors.is_empty() && self.random.chance(500) {
            return self.free_descriptors.pop_first().expect("a number");
        }
        self.next_descriptor += 1;
        self.next_descriptor - 1
    }

    /// An operation that is outstanding on the socket.
    pub(super) fn operation_on(&self, descriptor: Descriptor) -> Option<(Kind, Token)> {
        let range = (descriptor, Kind::Accept)..=(descriptor, Kind::Connect);
        self.busy
            .range(range)
            .next()
            .map(|((_, kind), token)| (*kind, *token))
    }

    /// The caller has taken an operation's final completion.
    pub(super) fn finish(&mut self, token: Token, kind: Kind) {
        let outstanding = self
            .outstanding
            .remove(&(token, kind))
            .expect("an operation");
        self.busy.remove(&(outstanding.descriptor, kind));
    }

    /// The holder of `end` closes it.
    pub(super) fn hang_up(&mut self, end: End, reset: bool) {
        self.network.close(end, reset, self.now);
        self.stir(end.other());
    }

    /// An operation begins; panics when one of its kind is outstanding on the token or socket.
    pub(super) fn begin(&mut self, descriptor: Descriptor, token: Token, kind: Kind) -> Operation {
        assert!(
            token.0 >> 56 == 0,
            "a token's top 8 bits belong to the driver"
        );
        self.socket(descriptor);
        let before = self.busy.insert((descriptor, kind), token);
        assert!(
            before.is_none(),
            "two operations {kind:?} outstanding on descriptor {descriptor}"
        );
        let outstanding = Outstanding {
            descriptor,
            latest: (0, 0),
        };
        let before = self.outstanding.insert((token, kind), outstanding);
        assert!(
            before.is_none(),
            "two operations {kind:?} outstanding on {token:?}"
        );
        self.runnable.insert(descriptor);
        Operation {
            token,
            cancel_at: None,
        }
    }

    /// When a cancel that is asked for now takes effect, if it finds the operation.
    pub(super) fn cancel(&mut self, token: Token, kind: Kind) {
        let Some(outstanding) = self.outstanding.get(&(token, kind)) else {
            return;
        };
        let descriptor = outstanding.descriptor;
        let mut time = self.now;
        if self.random.chance(self.faults.late_cancel_permille) {
            let most = self.faults.delay_microseconds_max.max(1);
            time += self.random.below(u64::from(most) * MICROSECOND);
            self.scheduled.insert((time, descriptor));
        }
        self.runnable.insert(descriptor);
        let socket = self.socket(descriptor);
        let operation = match kind {
            Kind::Accept => socket.accept.as_mut(),
            Kind::Receive => socket.receive.as_mut(),
            Kind::Send => socket.send.as_mut().map(|sending| &mut sending.operation),
            Kind::Connect => socket.connect.as_mut().map(|(operation, _)| operation),
        };
        // Without one it has happened already, and its completion is on its way.
        if let Some(operation) = operation {
            operation.cancel_at.get_or_insert(time);
        }
    }

    fn post(&mut self, token: Token, kind: Kind, is_final: bool, outcome: Outcome) {
        let mut time = self.now;
        if self.random.chance(self.faults.delay_permille) {
            let most = u64::from(self.faults.delay_microseconds_max) * MICROSECOND;
            time += self.random.below(most);
        }
        let order = self.random.draw() >> 1;
        let outstanding = self
            .outstanding
            .get_mut(&(token, kind))
            .expect("an operation");
        let (latest, after) = outstanding.latest;
        let key = if time > latest {
            (time, order)
        } else {
            (latest, after + 1)
        };
        outstanding.latest = key;
        let completion = Completion { token, outcome };
        self.posted.insert(
            key,
            Posted {
                kind,
                is_final,
                completion,
            },
        );
    }

    /// Look again at whoever holds `end`, since something changed for it.
    pub(super) fn stir(&mut self, end: End) {
        if let Owner::Socket(descriptor) = self.network.peek(end).owner {
            self.runnable.insert(descriptor);
        }
    }

    /// Carry out what can be carried out now.
    pub(super) fn progress(&mut self) {
        while let Some(&(time, descriptor)) = self.scheduled.first()
            && time <= self.now
        {
            self.scheduled.pop_first();
            self.runnable.insert(descriptor);
        }
        while let Some(descriptor) = self.runnable.pop_first() {
            if self.sockets.contains_key(&descriptor) {
                self.progress_connect(descriptor);
                self.progress_accept(descriptor);
                self.progress_receive(descriptor);
                self.progress_send(descriptor);
            }
        }
    }

    fn progress_accept(&mut self, listener: Descriptor) {
        while let Some(operation) = self.socket(listener).accept.take() {
            let token = operation.token;
            let ended = if operation.is_cancelled(self.now) {
                Some(libc::ECANCELED)
            } else {
                let Role::Listening { queue, .. } = &self.socket(listener).role else {
                    panic!("descriptor {listener} does not listen");
                };
                if queue.is_empty() {
                    self.socket(listener).accept = Some(operation);
                    return;
                }
                let errors = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
                let is_failing = self.random.chance(self.faults.accept_error_permille);
                is_failing.then(|| errors[self.random.below(4) as usize])
            };
            if let Some(errno) = ended {
                self.post(
                    token,
                    Kind::Accept,
                    true,
                    Outcome::AcceptEnded(Errno(errno)),
                );
                return;
            }
            self.socket(listener).accept = Some(operation);
            let Role::Listening { queue, .. } = &mut self.socket(listener).role else {
                return;
            };
            let Some(end) = queue.pop_front() else { return };
            let descriptor = self.open(Role::Connected(end));
            self.network.side(end).owner = Owner::Socket(descriptor);
            self.post(token, Kind::Accept, false, Outcome::Accepted(descriptor));
        }
    }

    fn progress_connect(&mut self, descriptor: Descriptor) {
        let Some((operation, address)) = self.socket(descriptor).connect.take() else {
            return;
        };
        let token = operation.token;
        let result = if operation.is_cancelled(self.now) {
            Err(Errno(libc::ECANCELED))
        } else {
            let Some(result) = self.reach(descriptor, &address) else {
                self.socket(descriptor).connect = Some((operation, address));
                return;
            };
            result
        };
        self.post(token, Kind::Connect, true, Outcome::Connected(result));
    }

    /// Connect to whoever listens at `address`. `None`: there is no answer.
    fn reach(&mut self, descriptor: Descriptor, address: &Address) -> Option<Result<(), Errno>> {
        let source = match &self.socket(descriptor).role {
            Role::Fresh(source) => source.clone(),
            _ => return Some(Err(Errno(libc::EISCONN))),
        };
        let source = source.unwrap_or_else(|| self.client_address(address));
        let result = self.dial((Owner::Socket(descriptor), source), address)?;
        Some(result.map(|end| self.socket(descriptor).role = Role::Connected(end)))
    }

    /// A client's address that no other has.
    pub(super) fn client_address(&mut self, listener: &Address) -> Address {
        if !listener.is_inet() {
            return Address::Unix(std::path::PathBuf::new());
        }
        self.next_port = self.next_port.checked_add(1).unwrap_or(1024);
        Address::Inet(([127, 0, 0, 1], self.next_port).into())
    }

    /// Connect `from` to whoever listens at `to`. `None`: there is no answer.
    pub(super) fn dial(
        &mut self,
        from: (Owner, Address),
        to: &Address,
    ) -> Option<Result<End, Errno>> {
        let listening = self
            .sockets
            .iter_mut()
            .find_map(|(descriptor, socket)| match &mut socket.role {
                Role::Listening {
                    address,
                    backlog,
                    queue,
                } if address == to => Some((*descriptor, *backlog, queue)),
                _ => None,
            });
        if let Some((descriptor, backlog, queue)) = listening {
            if queue.len() >= backlog {
                return Some(Err(Errno(libc::ECONNREFUSED)));
            }
            let end = self.network.connect(from, (Owner::Queue, to.clone()));
            queue.push_back(end.other());
            self.runnable.insert(descriptor);
            return Some(Ok(end));
        }
        match self.places.get_mut(&to.to_string()) {
            None => Some(Err(Errno(libc::ECONNREFUSED))),
            Some(Place::Silent) => None,
            Some(Place::Listening(queue)) => {
                let end = self.network.connect(from, (Owner::Peer, to.clone()));
                queue.push_back(end.other());
                Some(Ok(end))
            }
        }
    }

    fn progress_receive(&mut self, descriptor: Descriptor) {
        while let Some(operation) = self.socket(descriptor).receive.take() {
            let token = operation.token;
            let Some(outcome) = self.receive_once(descriptor, operation.is_cancelled(self.now))
            else {
                self.socket(descriptor).receive = Some(operation);
                return;
            };
            let is_final = matches!(outcome, Outcome::ReceiveEnded(_));
            if !is_final {
                self.socket(descriptor).receive = Some(operation);
            }
            self.post(token, Kind::Receive, is_final, outcome);
        }
    }

    fn receive_once(&mut self, descriptor: Descriptor, is_cancelled: bool) -> Option<Outcome> {
        let ended = |errno| Some(Outcome::ReceiveEnded(Some(Errno(errno))));
        if is_cancelled {
            return ended(libc::ECANCELED);
        }
        let Role::Connected(end) = self.socket(descriptor).role else {
            return ended(libc::ENOTCONN);
        };
        let side = self.network.side(end);
        if side.unread.is_empty() {
            return match (side.reset, side.finished) {
                (true, _) => ended(libc::ECONNRESET),
                (false, true) => Some(Outcome::ReceiveEnded(None)),
                (false, false) => None,
            };
        }
        if self.random.chance(self.faults.no_buffer_permille) || self.pool.free() == 0 {
            self.buffers_exhausted += 1;
            return ended(libc::ENOBUFS);
        }
        let mut length = side.unread.len().min(self.pool.buffer_bytes() as usize);
        if self.random.chance(self.faults.short_read_permille) {
            length = self.random.part(length);
        }
        let bytes: Vec<u8> = side.unread.drain(..length).collect();
        let lease = self.pool.fill(&bytes).expect("a free buffer");
        self.stir(end.other());
        Some(Outcome::Received(lease))
    }

    fn progress_send(&mut self, descriptor: Descriptor) {
        let Some(mut sending) = self.socket(descriptor).send.take() else {
            return;
        };
        match self.send_some(descriptor, &mut sending) {
            None => self.socket(descriptor).send = Some(sending),
            Some(result) => {
                // Bytes that went are told before the error, which the next send meets.
                let result = if sending.sent > 0 {
                    Ok(sending.sent)
                } else {
                    result
                };
                let outcome = Outcome::Sent(result, sending.outgoing);
                self.post(sending.operation.token, Kind::Send, true, outcome);
            }
        }
    }

    /// Move bytes; `None` when the send waits for room.
    fn send_some(
        &mut self,
        descriptor: Descriptor,
        sending: &mut Sending,
    ) -> Option<Result<usize, Errno>> {
        if sending.operation.is_cancelled(self.now) {
            return Some(Err(Errno(libc::ECANCELED)));
        }
        let Role::Connected(end) = self.socket(descriptor).role else {
            return Some(Err(Errno(libc::ENOTCONN)));
        };
        if self.random.chance(self.faults.reset_permille) {
            self.network.cut(end);
            self.stir(end.other());
            self.runnable.insert(descriptor);
        }
        if self.network.peek(end).reset {
            return Some(Err(Errno(libc::ECONNRESET)));
        }
        if self.socket(descriptor).shut {
            return Some(Err(Errno(libc::EPIPE)));
        }
        self.perhaps_stall(end.other(), descriptor);
        let room = self
            .network
            .room(end.other(), self.now, self.faults.window_bytes);
        let mut length = room.min(sending.offered - sending.sent);
        if length == 0 {
            return None;
        }
        let is_short = self.random.chance(self.faults.short_write_permille);
        if is_short {
            length = self.random.part(length);
        }
        let skipped = sending.sent;
        let pieces = sending.outgoing.pieces().take(CHUNKS_A_SEND_MAX).flatten();
        let bytes: Vec<u8> = pieces.copied().skip(skipped).take(length).collect();
        sending.sent += length;
        self.network.deliver(end.other(), &bytes);
        self.stir(end.other());
        (is_short || sending.sent == sending.offered).then_some(Ok(sending.sent))
    }

    /// Chance may stop the peer at `end` from reading for a while.
    fn perhaps_stall(&mut self, end: End, sender: Descriptor) {
        let is_peer = self.network.peek(end).owner == Owner::Peer;
        if is_peer && self.random.chance(self.faults.stall_permille) {
            let most = u64::from(self.faults.stall_microseconds_max) * MICROSECOND;
            let until = self.now + self.random.below(most);
            let now = self.now;
            let side = self.network.side(end);
            if !side.is_stalled(now) {
                side.read_before_stall = side.unread.len();
            }
            side.stalled_until = side.stalled_until.max(until);
            self.scheduled.insert((side.stalled_until, sender));
        }
    }
}
