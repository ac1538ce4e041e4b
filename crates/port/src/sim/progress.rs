//! Carrying out operations in the simulation.

use super::network::{End, Owner};
use super::state::{Kind, MICROSECOND, Place, Role, Sending, State};
use crate::{Address, Descriptor, Errno, Outcome};

impl State {
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
                self.progress_one(descriptor);
            }
        }
        self.progress_datagrams();
    }

    /// Carry out what can be carried out on an open socket now.
    pub(super) fn progress_one(&mut self, descriptor: Descriptor) {
        self.progress_connect(descriptor);
        self.progress_accept(descriptor);
        self.progress_receive(descriptor);
        self.progress_send(descriptor);
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

    /// Connect to the listener at `address`. `None`: there is no answer.
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

    /// Who listens at the address; else who listens at every address with its port.
    fn listener_at(&self, address: &Address) -> Option<Descriptor> {
        let listening = |wanted: &dyn Fn(&Address) -> bool| {
            let mut sockets = self.sockets.iter();
            let found = sockets.find(|(_, socket)| match &socket.role {
                Role::Listening { address, .. } => wanted(address),
                _ => false,
            });
            found.map(|(descriptor, _)| *descriptor)
        };
        listening(&|other| other == address).or_else(|| listening(&|other| covers(other, address)))
    }

    /// Connect `from` to the listener at `to`. `None`: there is no answer.
    pub(super) fn dial(
        &mut self,
        from: (Owner, Address),
        to: &Address,
    ) -> Option<Result<End, Errno>> {
        if let Some(descriptor) = self.listener_at(to)
            && let Some(socket) = self.sockets.get_mut(&descriptor)
            && let Role::Listening { backlog, queue, .. } = &mut socket.role
        {
            if queue.len() >= *backlog {
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
        let now = self.now;
        let side = self.network.side(end);
        if side.is_stalled(now) {
            return None;
        }
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
                // Bytes that went are reported before the error, which the next send meets.
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
        if sending.offered == 0 {
            return Some(Ok(0));
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
        if let Some((part, skipped)) = sending.outgoing.as_file() {
            let mut bytes = Vec::new();
            if let Err(errno) = part.read(skipped + sending.sent, length, &mut bytes) {
                return Some(Err(errno));
            }
            self.network.deliver(end.other(), &bytes);
        }
        let (mut skip, mut left) = (sending.sent, length);
        for piece in sending.outgoing.pieces() {
            let skipped = skip.min(piece.len());
            let taken = left.min(piece.len() - skipped);
            self.network
                .deliver(end.other(), &piece[skipped..skipped + taken]);
            (skip, left) = (skip - skipped, left - taken);
        }
        sending.sent += length;
        self.stir(end.other());
        (is_short || sending.sent == sending.offered).then_some(Ok(sending.sent))
    }

    /// Chance may stop the peer at `end` from reading for a while.
    fn perhaps_stall(&mut self, end: End, sender: Descriptor) {
        let owner = self.network.peek(end).owner;
        let chance = match owner {
            Owner::Peer => self.faults.stall_permille,
            Owner::Socket(_) => self.faults.own_stall_permille,
            Owner::Queue | Owner::Nobody => 0,
        };
        if self.random.chance(chance) {
            let most = u64::from(self.faults.stall_microseconds_max) * MICROSECOND;
            let until = self.now.saturating_add(self.random.below(most));
            let now = self.now;
            let side = self.network.side(end);
            if owner == Owner::Peer && !side.is_stalled(now) {
                side.read_before_stall = side.unread.len();
            }
            side.stalled_until = side.stalled_until.max(until);
            let until = side.stalled_until;
            self.scheduled.insert((until, sender));
            if let Owner::Socket(receiver) = owner {
                self.scheduled.insert((until, receiver));
            }
        }
    }
}

/// Whether a socket that listens at all addresses, `0.0.0.0` or `[::]`, is reached under this one;
/// `[::]` takes IPv4 too (ipv6(7), `IPV6_V6ONLY`).
pub(super) fn covers(listening: &Address, address: &Address) -> bool {
    let (Address::Inet(listening), Address::Inet(address)) = (listening, address) else {
        return false;
    };
    listening.ip().is_unspecified()
        && listening.port() == address.port()
        && (listening.is_ipv6() || address.is_ipv4())
}
