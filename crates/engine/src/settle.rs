//! What is settled at a round's end: one send each, reading on or off, closing, and the end itself.
//!
//! Callbacks and completions only change the state of a connection. Here the port is asked for the
//! operations that follow from it. Settling may call the host (bytes that waited, `drained`,
//! `ended`, `closed`). What the host requests then marks connections as unsettled again; these are
//! settled in the next round.

use crate::close::{Cause, CloseReason, Manner, NotOpened, Side};
use crate::connection::{Admission, Connection, Event, Fullness, State};
use crate::endpoint::add;
use crate::engine::Engine;
use crate::host::{AfterEnd, Denial, Host};
use crate::options::Framing;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use vespiary_trace::requires;

/// How a connection ends whose peer does not wait for the end of the handshake.
pub(crate) const LEFT_EARLY: &str = "the peer closed the connection during the handshake";

/// The connections of a round that are being settled. Those that a panic leaves are put back.
struct Round<'a, H: Host> {
    engine: &'a Engine<H>,
    list: Vec<Rc<Connection<H>>>,
    settled: usize,
}

impl<H: Host> Drop for Round<'_, H> {
    fn drop(&mut self) {
        self.list.drain(..self.settled);
        let mut unsettled = self.engine.unsettled.borrow_mut();
        if unsettled.is_empty() {
            // Keep the allocation.
            *unsettled = std::mem::take(&mut self.list);
        } else {
            unsettled.append(&mut self.list);
        }
    }
}

impl<H: Host> Engine<H> {
    /// Settle every connection on the list, and those that settling adds are left for the next
    /// round.
    pub fn settle(self: &Rc<Self>) -> bool {
        if self.unsettled.borrow().is_empty() {
            return false;
        }
        for (connection, answer) in self.answers.take() {
            self.current.set(connection.token);
            connection.request_answered(answer);
        }
        let mut round = Round {
            engine: self,
            list: self.unsettled.take(),
            settled: 0,
        };
        while let Some(connection) = round.list.get(round.settled) {
            round.settled += 1;
            connection.unsettled.set(false);
            self.current.set(connection.token);
            self.settle_one(connection);
        }
        true
    }

    fn settle_one(self: &Rc<Self>, connection: &Rc<Connection<H>>) {
        let state = connection.state();
        if state == State::Closed {
            return self.release_when_quiet(connection);
        }
        if connection.is_over() {
            return self.finish(connection);
        }
        if state == State::Connecting {
            return;
        }
        if !connection.carrier.is_sending() {
            self.depart(connection);
        }
        self.settle_reading(connection);
        if connection.is_over() {
            return self.finish(connection);
        }
        if connection.is_above_high() {
            self.settle_high_water(connection);
        }
        match connection.state() {
            State::Closing => self.settle_closing(connection),
            State::Open if connection.is_sending_last() => self.settle_end_of_sending(connection),
            _ => {}
        }
    }

    fn settle_end_of_sending(self: &Rc<Self>, connection: &Rc<Connection<H>>) {
        if is_writing(connection) {
            return;
        }
        if connection.layered.get() && connection.end_layers() {
            return;
        }
        if !connection.is_fin_sent() {
            connection.enter(Event::SendFin);
            connection.carrier.finish(&mut **self.port.borrow_mut());
        }
        if connection.life.get().has_peer_ended() {
            connection.end_with(CloseReason::new(Cause::PeerClosed, ""));
            connection.begin_closing(None);
        }
    }

    /// Send what waits now, where nothing is in flight, instead of at the round's end.
    pub(crate) fn depart_at_once(self: &Rc<Self>, connection: &Rc<Connection<H>>) {
        if !connection.carrier.is_sending() && connection.state() == State::Open {
            self.depart(connection);
        }
    }

    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "each message goes through one of its two calls"
    )]
    fn depart(self: &Rc<Self>, connection: &Rc<Connection<H>>) {
        let outgoing = if connection.layered.get() {
            connection.depart_through_layers()
        } else {
            connection.outbound.borrow_mut().depart()
        };
        let Some(outgoing) = outgoing else { return };
        if connection.moments.write_began.get() == 0 {
            self.begin_write(connection);
        }
        requires!("rfc6455/2.1/1", "rfc6455/6.1/9");
        connection
            .carrier
            .send(&mut **self.port.borrow_mut(), connection.token, outgoing);
    }

    fn settle_reading(self: &Rc<Self>, connection: &Rc<Connection<H>>) {
        connection.take_held_input();
        let is_held = connection.is_not_read();
        if is_held != (connection.moments.held_since.get() != 0) {
            connection.note_held(is_held);
        }
        let is_stopped = connection.is_blocked() || connection.is_over();
        let wanted = !is_stopped && !connection.holds_enough();
        if connection.is_end_pending() {
            if wanted && !connection.has_held_input() {
                self.peer_ended(connection);
            }
        } else if connection.life.get().has_peer_ended() {
            // Nothing more will come.
        } else if wanted {
            if !connection.carrier.is_receiving() {
                connection
                    .carrier
                    .receive(&mut **self.port.borrow_mut(), connection.token);
            }
        } else if connection.carrier.is_receiving() && connection.may_cancel_receive() {
            connection
                .carrier
                .cancel_receive(&mut **self.port.borrow_mut(), connection.token);
        }
    }

    /// The peer has sent its FIN, and everything before it was handed over.
    pub(crate) fn peer_ended(self: &Rc<Self>, connection: &Rc<Connection<H>>) {
        if !connection.enter(Event::PeerEnded) {
            return;
        }
        if connection.is_upgrading() {
            return connection.end_unsecured();
        }
        let is_cut = connection.layered.get() && connection.is_cut_beneath_layers();
        if is_cut {
            let text =
                "the peer's stream was cut: it ended without the end of its TLS (close_notify)";
            connection.end_with(CloseReason::new(Cause::PeerVanished, text));
        }
        match connection.state() {
            State::BetweenRequests => {
                return connection.end_between_requests(Side::Remote);
            }
            // A client may finish sending behind its request: the answer ends the connection.
            State::Handshaking | State::Responding if !is_cut && connection.may_still_answer() => {
                self.host.requester_finished(connection);
            }
            State::Responding if connection.is_dropping_body() => {
                return connection.end_between_requests(Side::Remote);
            }
            State::Connecting | State::Securing | State::Handshaking | State::Responding => {
                let reason = if connection.inbound.borrow().awaits_tunnel() {
                    let text = "the proxy closed the connection and gave no answer";
                    CloseReason::new(Cause::ProxyRefused, text)
                } else {
                    CloseReason::new(Cause::PeerVanished, LEFT_EARLY)
                };
                connection.end_unless_refused(reason);
                connection.enter(Event::Break);
            }
            State::Open => self.peer_ended_while_open(connection),
            State::Closing => {
                let text = "the peer ended the connection without a close frame";
                connection.end_with(CloseReason::new(Cause::PeerVanished, text));
            }
            State::Closed => {}
        }
        connection.unsettle();
    }

    fn peer_ended_while_open(self: &Rc<Self>, connection: &Rc<Connection<H>>) {
        let framing = connection.endpoint().options.borrow().framing.clone();
        if framing == Framing::WebSocket {
            let text = "the connection was cut without a close frame";
            requires!("rfc6455/7.2.1/2");
            connection.end_with(CloseReason::new(Cause::PeerVanished, text));
            connection.enter(Event::Break);
            return;
        }
        if let Some(text) = connection.cut_message() {
            connection.end_with(CloseReason::new(Cause::PeerVanished, text));
        }
        if self.host.ended(connection) == AfterEnd::Close {
            connection.end_with(CloseReason::new(Cause::PeerClosed, ""));
            if connection.state() == State::Open {
                connection.begin_closing(None);
            }
        }
    }

    fn settle_high_water(self: &Rc<Self>, connection: &Rc<Connection<H>>) {
        let low = connection
            .endpoint()
            .options
            .borrow()
            .limits
            .write_low_bytes;
        if connection.queued_bytes() > low {
            return;
        }
        connection.fullness.set(Fullness::Fallen);
        connection.unsettle();
        match connection.state() {
            State::Open if connection.opened.get() => self.host.drained(connection),
            State::Responding => self.host.has_room(connection),
            _ => {}
        }
    }

    fn settle_closing(self: &Rc<Self>, connection: &Rc<Connection<H>>) {
        if is_writing(connection) {
            return;
        }
        if !connection.is_fin_sent() && may_send_fin(connection) {
            if connection.layered.get() && connection.end_layers() {
                return;
            }
            connection.enter(Event::SendFin);
            connection.carrier.finish(&mut **self.port.borrow_mut());
        }
        if connection.is_fin_sent() && Self::may_finish(connection) {
            self.finish(connection);
        }
    }

    /// Whether nothing is awaited any more: the peer has ended its side, or has sent its close
    /// frame to a server, which then closes first (RFC 6455 7.1.1). The kernel does the rest.
    /// Closing a socket that holds bytes would reset it and destroy our close frame, so those are
    /// read first.
    fn may_finish(connection: &Rc<Connection<H>>) -> bool {
        connection.is_over()
            || !connection.client && connection.have_both_closed() && connection.unread().bytes == 0
    }

    /// The connection is over: call the host, and release everything that it holds.
    fn finish(self: &Rc<Self>, connection: &Rc<Connection<H>>) {
        connection.enter(Event::Finish);
        connection.end_with(CloseReason::new(Cause::PeerClosed, ""));
        note_loss(connection);
        if let Some(key) = connection.moments.timer.take() {
            self.wheel.borrow_mut().cancel(key);
        }
        let place = self.leave(connection);
        connection.carrier.leave(connection.token);
        connection
            .carrier
            .cancel(&mut **self.port.borrow_mut(), connection.token);
        connection
            .outbound
            .borrow_mut()
            .clear(&mut self.pool.borrow_mut());
        let answered = connection.latest_status();
        connection.inbound.borrow_mut().clear();
        connection.layers.set(None);
        if let Some(deflate) = connection.negotiated.deflate.get() {
            deflate.release(connection);
        }
        self.end_subscriptions(connection);
        self.postponed.borrow_mut().remove(&connection.token);
        if connection.layered.get() {
            self.send_rooms.borrow_mut().remove(&connection.token);
        }
        self.report_end(connection, answered);
        if let Some(place) = place {
            self.host.left(connection, place);
        }
        connection.user.take();
        self.release_when_quiet(connection);
    }

    /// `answered` is the status of the latest answer on a connection that was kept, or 0.
    fn report_end(self: &Rc<Self>, connection: &Rc<Connection<H>>, answered: u16) {
        let reason = connection.reason().expect("finish gives a reason");
        if connection.opened.get() {
            add(&connection.endpoint().counters.closed, 1);
            add(
                &connection.endpoint().counters.broken,
                u64::from(reason.manner == Manner::Broken),
            );
            if let Some(code) = reason.code {
                connection.endpoint().count_close_code(code);
            }
            self.host.closed(connection, &reason);
        } else {
            if connection.admission.get() != Admission::Refused {
                // Once there was an answer, its status counts, even if the peer has reset since.
                let cause = match reason.status {
                    None if answered != 0 => NotOpened::Status(answered),
                    _ => NotOpened::of(&reason),
                };
                connection.asked_endpoint().count_refusal(cause);
                if !connection.client && !matches!(cause, NotOpened::Status(_)) {
                    self.report_denial(connection, &reason);
                }
            }
            if connection.client {
                self.host.refused(connection, &reason);
            }
        }
    }

    /// Report a connection that ended before it was open, and before any answer.
    fn report_denial(&self, connection: &Connection<H>, reason: &CloseReason) {
        // This end stopped, or its handler failed, which has been reported.
        if matches!(
            reason.cause,
            Cause::Closed | Cause::Aborted | Cause::HandlerFailed
        ) {
            return;
        }
        let denial = Denial {
            status: None,
            text: &reason.text,
            advice: "",
            is_ours: reason.side == Side::Local,
        };
        let endpoint = connection.asked_endpoint();
        self.host
            .denied(&endpoint, connection.peer_address(), denial);
    }

    fn release_when_quiet(&self, connection: &Rc<Connection<H>>) {
        if connection.carrier.is_busy() {
            return;
        }
        if self
            .connections
            .borrow_mut()
            .remove(connection.token)
            .is_some()
        {
            connection.carrier.close(&mut **self.port.borrow_mut());
        }
    }

    /// End every connection and listener at once, and wait for the last completions (at most
    /// `turns` turns).
    pub fn shut_down(self: &Rc<Self>, turns: usize) -> io::Result<()> {
        let listeners: Vec<_> = self.listeners.borrow().iter().cloned().collect();
        for listener in listeners {
            listener.close();
        }
        self.close_datagram_sockets();
        for connection in self.all_connections() {
            connection.abort();
        }
        for _ in 0..turns {
            self.settle();
            if self.connections.borrow().len() + self.listeners.borrow().len() == 0 {
                break;
            }
            if let Err(error) = self.wait(Some(Duration::from_millis(1))) {
                self.close_sockets();
                return Err(error);
            }
            self.run();
        }
        if self.connections.borrow().len() == 0 {
            // There is no next turn for those that are on a list; they hold the engine.
            self.unsettled.take();
            self.resting.take();
            self.answers.take();
        }
        Ok(())
    }

    /// Close what a port that takes no turn any more leaves open: no completion will come.
    fn close_sockets(&self) {
        for connection in self.all_connections() {
            self.connections.borrow_mut().remove(connection.token);
            connection.carrier.reset();
            connection.carrier.close(&mut **self.port.borrow_mut());
        }
        let listeners: Vec<_> = self.listeners.borrow().iter().cloned().collect();
        for listener in listeners {
            listener.release();
        }
        self.close_datagram_sockets();
    }
}

/// Whether bytes are still to be sent, or a filter works on some. The end of what this end sends is
/// among them, as long as it waits for the handshake of a layer.
fn is_writing<H: Host>(connection: &Rc<Connection<H>>) -> bool {
    connection.carrier.is_sending()
        || connection.queued_bytes() > 0
        || connection.is_filtering_sent()
        || connection.is_upgrading()
}

/// RFC 6455 7.1.1: on WebSocket the server closes the TCP connection first, after both close
/// frames.
fn may_send_fin<H: Host>(connection: &Rc<Connection<H>>) -> bool {
    let frames = connection.close_frames.get();
    if !frames.is_sent() || connection.life.get().has_peer_ended() {
        return true;
    }
    if requires!("rfc6455/7.1.1/3", "rfc6455/7.1.1/5" => connection.client) {
        return false;
    }
    requires!("rfc6455/5.5.1/9", "rfc6455/5.5.1/10", "rfc6455/7.1.2/2" =>
        frames.is_received())
}

/// An end that began cleanly is broken when what was sent did not go before it. A peer that
/// has sent a close frame does not want it any more.
fn note_loss<H: Host>(connection: &Rc<Connection<H>>) {
    let lost = connection.queued_bytes();
    if lost == 0 || connection.close_frames.get().is_received() {
        return;
    }
    let Some(mut reason) = connection.reason.take() else {
        return;
    };
    if reason.manner == Manner::Closed {
        reason.cause = Cause::BytesLost;
        reason.manner = Manner::Broken;
        reason.note_lost(lost);
    }
    connection.reason.set(Some(reason));
}
