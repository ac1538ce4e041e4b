//! What a simulation is made of, and how it continues.
//!
//! An operation is carried out as soon as it can be, in [`State::progress`]; its completion is
//! posted, and comes out at the time that chance gives it. Completions of one operation keep their
//! order, as the kernel keeps it; those of different operations do not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::rc::Rc;

use super::datagrams::{Mailbox, Post};
use super::faults::Faults;
use super::network::{End, Network, Owner};
use super::random::Random;
use crate::buffers::Pool;
use crate::{Address, Completion, Descriptor, Interest, Outcome, Outgoing, Token};

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
    pub(super) fn is_cancelled(&self, now: u64) -> bool {
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
    /// For datagrams.
    Datagrams(Mailbox),
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
    pub(super) post: Post,
    pub(super) pool: Rc<Pool>,
    pub(super) buffers_exhausted: u64,
    /// What a kernel would have been asked about sockets outside their operations.
    pub(super) system_calls: u64,
    /// For how long the process stops in its next turn.
    pub(super) stop: u64,
}

pub(super) const MICROSECOND: u64 = 1_000;

impl State {
    /// For how long the process stops in this turn: as the test asked, or by chance.
    pub(super) fn take_stop(&mut self) -> u64 {
        let asked = std::mem::take(&mut self.stop);
        let permille = self.faults.stop_permille;
        if asked == 0 && permille > 0 && self.random.chance(permille) {
            let most = u64::from(self.faults.stop_microseconds_max) * MICROSECOND;
            return self.random.below(most);
        }
        asked
    }

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

    /// See [`crate::Port::listen`].
    pub(super) fn listen(
        &mut self,
        address: &Address,
        backlog: u32,
        reuse_port: bool,
    ) -> io::Result<Descriptor> {
        let mut address = address.clone();
        if let Address::Inet(inet) = &mut address
            && inet.port() == 0
        {
            self.next_port = self.next_port.checked_add(1).unwrap_or(1024);
            inet.set_port(self.next_port);
        }
        let is_taken = self.sockets.values().any(|socket| {
            matches!(&socket.role, Role::Listening { address: other, .. } if *other == address)
        });
        if is_taken && !reuse_port {
            return Err(io::Error::from_raw_os_error(libc::EADDRINUSE));
        }
        let backlog = backlog as usize;
        Ok(self.open(Role::Listening {
            address,
            backlog,
            queue: VecDeque::new(),
        }))
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

    /// When a cancel that is asked for now takes effect, if it finds the operation; on which
    /// socket.
    pub(super) fn cancel(&mut self, token: Token, kind: Kind) -> Option<Descriptor> {
        let outstanding = self.outstanding.get(&(token, kind))?;
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
        Some(descriptor)
    }

    /// When the next completion comes out or the next socket must be looked at.
    pub(super) fn next_event(&self) -> Option<u64> {
        let posted = self.posted.first_key_value().map(|((time, _), _)| *time);
        let scheduled = self.scheduled.first().map(|(time, _)| *time);
        let datagram = self.post.next_event();
        posted.into_iter().chain(scheduled).chain(datagram).min()
    }

    /// What has come out by now, in its order.
    pub(super) fn take_posted(&mut self) -> impl Iterator<Item = Posted> + use<> {
        let later = self.posted.split_off(&(self.now, u64::MAX));
        std::mem::replace(&mut self.posted, later).into_values()
    }

    pub(super) fn post(&mut self, token: Token, kind: Kind, is_final: bool, outcome: Outcome) {
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

    /// Look again at the holder of `end`, since something changed for it.
    pub(super) fn stir(&mut self, end: End) {
        if let Owner::Socket(descriptor) = self.network.peek(end).owner {
            self.runnable.insert(descriptor);
        }
    }
}
