//! The engine: turns of the port, rounds within a turn, and what is settled at a round's end.
//!
//! A turn waits in [`Engine::wait`], which runs no callback, so that a host can release its locks
//! around it; then [`Engine::run`] takes the batch in rounds:
//!
//! ```text
//! round:  every completion the port has   ->  callbacks
//!         timers that are due (once)      ->  callbacks
//!         every unsettled connection      ->  one send each, reading on or off, closing; callbacks
//! ```
//!
//! A send that the port completes at once shows up as a completion of the next round, without
//! another trip through the kernel; no callback ever runs from inside another one, because requests
//! made in a callback only mark their connection as unsettled. Rounds are bounded by the inline
//! budget: otherwise, a turn would not end if a handler sends more each time its send completes. A
//! connection whose receives exceed the same budget within one batch has the rest of its bytes put
//! aside, and continues in the next turn, behind the others.

use super::{Due, Engine, NOBODY, Purpose};
use crate::close::{Cause, CloseReason, file_failed};
use crate::connection::{Connection, Event, State};
use crate::endpoint::add;
use crate::host::Host;
use crate::table::{self, Owner};
use std::io;
use std::rc::Rc;
use std::time::Duration;
use vespiary_port::timer::Fired;
use vespiary_port::{Completion, Errno, Outcome, Outgoing};
use vespiary_trace::requires;

/// How many frames (or lines, or packets) of one connection are taken in a turn: one receive may
/// bring tens of thousands of tiny ones, and calling a handler takes its time for each.
pub const FRAMES_BUDGET: u16 = 1024;

impl<H: Host> Engine<H> {
    /// Whether the next turn must not wait.
    fn is_busy(&self) -> bool {
        self.unfinished.get()
            || !self.unsettled.borrow().is_empty()
            || !self.resting.borrow().is_empty()
            || !self.reached.borrow().is_empty()
            || !self.changes.borrow().is_empty()
            || !self.departing.borrow().is_empty()
    }

    /// Leave the engine to another loop, which takes the next turn when the descriptor is readable
    /// or after this time, whichever comes first: see [`Port::rest`]. `now` is the present moment
    /// on the port's clock, in nanoseconds.
    pub fn rest(&self, now: u64) -> Option<Duration> {
        if self.is_busy() {
            return Some(Duration::ZERO);
        }
        let port = self.port.borrow_mut().rest();
        let due = self.wheel.borrow().next_due();
        let timer = due.map(|due| Duration::from_nanos(due.saturating_sub(now)));
        port.into_iter().chain(timer).min()
    }

    /// Wait for completions, a wake-up, the next timer or `timeout`. Runs no callback.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = if self.is_busy() {
            Some(Duration::ZERO)
        } else {
            self.shortest(timeout)
        };
        self.port.borrow_mut().turn(timeout)
    }

    fn shortest(&self, timeout: Option<Duration>) -> Option<Duration> {
        let Some(due) = self.wheel.borrow().next_due() else {
            return timeout;
        };
        let now = self.port.borrow().now();
        let timer = Duration::from_nanos(due.saturating_sub(now));
        Some(timeout.map_or(timer, |timeout| timeout.min(timer)))
    }

    fn next_due(&self) -> Option<Fired<Due>> {
        self.due.borrow_mut().pop_front()
    }

    /// Take the batch that [`Engine::wait`] gathered. Returns how many completions and timers were
    /// handled.
    pub fn run(self: &Rc<Self>) -> usize {
        let now = self.port.borrow().now();
        self.clock.advance(now, self.wheel.borrow().next_due());
        self.batch.set(self.batch.get().wrapping_add(1));
        for connection in self.resting.take() {
            connection.budget.is_spent.set(false);
            connection.unsettle();
        }
        let mut handled = 0;
        let mut rounds = 0;
        loop {
            let before = handled;
            while let Some(completion) = self.next_completion() {
                handled += 1;
                self.dispatch(completion);
            }
            if rounds == 0 {
                handled += self.run_timers(now);
            }
            self.host.round_over();
            self.send_datagrams();
            self.report_limits();
            handled += self.report_subscriptions();
            let settled = self.settle();
            rounds += 1;
            if handled == before && !settled {
                self.unfinished.set(false);
                break;
            }
            if rounds > self.inline_budget {
                self.unfinished.set(true);
                break;
            }
        }
        handled
    }

    #[inline]
    pub(super) fn next_completion(&self) -> Option<Completion> {
        self.port.borrow_mut().next()
    }

    #[inline]
    pub(super) fn dispatch(self: &Rc<Self>, completion: Completion) {
        let Completion { token, outcome } = completion;
        match table::owner(token) {
            Owner::Connection => {
                let Some(connection) = self.connections.borrow().get(token).cloned() else {
                    return;
                };
                self.current.set(token);
                self.dispatch_connection(&connection, outcome);
            }
            Owner::Listener => {
                self.current.set(NOBODY);
                let listener = self.listeners.borrow().get(token).cloned();
                match (listener, outcome) {
                    (Some(listener), Outcome::Accepted(socket)) => listener.accepted(socket),
                    (Some(listener), Outcome::AcceptEnded(errno)) => listener.ended(errno),
                    (None, Outcome::Accepted(socket)) => self.port.borrow_mut().close(socket, true),
                    _ => {}
                }
            }
            Owner::Datagrams => {
                self.current.set(NOBODY);
                let socket = self.datagram_sockets.borrow().get(token).cloned();
                if let Some(socket) = socket {
                    socket.receive();
                }
            }
            Owner::Foreign => {
                if let Outcome::Ready(interest) = outcome {
                    self.host.ready(table::descriptor(token), interest);
                }
            }
            Owner::Stream => self.host.stream(table::number(token), outcome),
        }
    }

    #[inline]
    fn dispatch_connection(self: &Rc<Self>, connection: &Rc<Connection<H>>, outcome: Outcome) {
        match outcome {
            Outcome::Received(mut lease) if connection.layered.get() => {
                connection.take_layered_input(&mut lease);
            }
            Outcome::Received(lease) => {
                if self.spend(connection) {
                    connection.take_input(&lease);
                } else {
                    connection.put_input_aside(&lease);
                }
            }
            Outcome::Sent(result, outgoing) => self.sent(connection, result, outgoing),
            Outcome::ReceiveEnded(ending) => receive_ended(connection, ending),
            Outcome::Connected(result) => connected(connection, result),
            Outcome::Accepted(_)
            | Outcome::AcceptEnded(_)
            | Outcome::SentInPart(_)
            | Outcome::Ready(_) => {}
        }
    }

    /// Spend one of the connection's inline budget; false when it is used up.
    #[inline]
    pub(crate) fn spend(&self, connection: &Rc<Connection<H>>) -> bool {
        self.renew_budget(connection);
        let burst = connection.budget.completions.get();
        if burst < self.inline_budget {
            connection.budget.completions.set(burst + 1);
            return true;
        }
        self.exhaust_budget(connection);
        false
    }

    /// Spend one of the connection's frames of this turn; with the last of them it is blocked until
    /// the next.
    #[inline]
    pub(crate) fn spend_frames(&self, connection: &Rc<Connection<H>>, count: u16) {
        self.renew_budget(connection);
        let frames = connection.budget.frames.get().saturating_add(count);
        connection.budget.frames.set(frames);
        if frames >= FRAMES_BUDGET {
            self.exhaust_budget(connection);
        }
    }

    #[inline]
    fn renew_budget(&self, connection: &Rc<Connection<H>>) {
        let batch = self.batch.get();
        if connection.budget.batch.get() != batch {
            connection.budget.batch.set(batch);
            connection.budget.completions.set(0);
            connection.budget.frames.set(0);
        }
    }

    #[cold]
    fn exhaust_budget(&self, connection: &Rc<Connection<H>>) {
        if self.set_resting(connection) {
            add(&connection.endpoint().counters.budget_exhausted, 1);
        }
    }

    /// Let the connection take nothing more in this turn; whether it would have.
    #[cold]
    pub(crate) fn set_resting(&self, connection: &Rc<Connection<H>>) -> bool {
        let is_new = !connection.budget.is_spent.replace(true);
        if is_new {
            self.resting.borrow_mut().push(connection.clone());
        }
        is_new
    }

    #[inline]
    fn sent(
        self: &Rc<Self>,
        connection: &Rc<Connection<H>>,
        result: Result<usize, Errno>,
        mut outgoing: Outgoing,
    ) {
        connection.carrier.sent();
        match result {
            Ok(bytes) => {
                add(&connection.endpoint().counters.bytes_out, bytes as u64);
                add(&connection.traffic.bytes_out, bytes as u64);
                let mut outbound = connection.outbound.borrow_mut();
                outbound.left(bytes);
                outgoing.advance(bytes);
                if !outgoing.is_done() && connection.state() != State::Closed {
                    drop(outbound);
                    connection.carrier.send(
                        &mut **self.port.borrow_mut(),
                        connection.token,
                        outgoing,
                    );
                    if connection.is_above_high() {
                        connection.unsettle();
                    }
                    return;
                }
                self.pool.borrow_mut().put_all(outgoing);
                if outbound.queued() == 0 && connection.state() == State::Closing {
                    drop(outbound);
                    connection.all_is_written();
                } else if outbound.queued() == 0 {
                    connection.moments.write_began.set(0);
                    // Of what waits in the layers, the queue knows nothing.
                    let is_awaited = connection.is_above_high()
                        || connection.is_sending_last()
                        || connection.layered.get() && connection.has_layered_output();
                    if connection.state() == State::Open && !is_awaited {
                        return;
                    }
                }
            }
            Err(errno) => {
                let unsent = outgoing.remaining();
                let is_file = outgoing.as_file().is_some();
                connection.outbound.borrow_mut().left(unsent);
                self.pool.borrow_mut().put_all(outgoing);
                if is_file {
                    // The socket may be whole. What the peer has got is not, and must not look so.
                    connection.end_unless_refused(file_failed(errno));
                    connection.abort_now();
                } else {
                    broken(connection, "sending", errno);
                }
            }
        }
        connection.unsettle();
    }

    fn run_timers(self: &Rc<Self>, now: u64) -> usize {
        self.wheel
            .borrow_mut()
            .advance(now, &mut |timer| self.due.borrow_mut().push_back(timer));
        let mut count = 0;
        while let Some(timer) = self.next_due() {
            count += 1;
            self.current.set(NOBODY);
            match timer.value.purpose() {
                Purpose::Connection(token) => {
                    self.current.set(token);
                    let connection = self.connections.borrow().get(token).cloned();
                    if let Some(connection) = connection {
                        self.deadline_due(&connection);
                    }
                }
                Purpose::Accept(token) => {
                    let listener = self.listeners.borrow().get(token).cloned();
                    if let Some(listener) = listener {
                        listener.pause_over();
                    }
                }
                Purpose::Datagrams(token) => {
                    let socket = self.datagram_sockets.borrow().get(token).cloned();
                    if let Some(socket) = socket {
                        socket.try_again();
                    }
                }
                Purpose::Host(id) => self.host.timer(self, &timer.with(id)),
            }
        }
        count
    }
}

fn receive_ended<H: Host>(connection: &Rc<Connection<H>>, ending: Option<Errno>) {
    connection.carrier.receive_ended();
    match ending {
        None => drop(connection.enter(Event::PeerEnd)),
        Some(Errno::CANCELLED | Errno::NO_BUFFER) => {}
        Some(errno) => {
            requires!("rfc6455/7.2.1/2");
            broken(connection, "receiving", errno);
        }
    }
    connection.unsettle();
}

/// The kernel has broken the connection.
fn broken<H: Host>(connection: &Rc<Connection<H>>, doing: &str, errno: Errno) {
    connection.end_unless_refused(broken_by_kernel(doing, errno));
    connection.enter(Event::Break);
}

fn connected<H: Host>(connection: &Rc<Connection<H>>, result: Result<(), Errno>) {
    connection.carrier.sent();
    connection.unsettle();
    if connection.state() == State::Closed || connection.is_over() {
        return;
    }
    match result {
        Ok(()) => connection.begin_receiving(),
        Err(errno) => {
            requires!("rfc6455/4.1/12", "rfc6455/7.2.1/1");
            connection.end_with(broken_by_kernel("connecting", errno));
            connection.enter(Event::Break);
        }
    }
}

pub(crate) fn broken_by_kernel(doing: &str, errno: Errno) -> CloseReason {
    let error = io::Error::from_raw_os_error(errno.0);
    CloseReason::new(Cause::Kernel(errno), format!("{doing} failed: {error}"))
}
