//! HTTP requests and a connection's life: deadlines, and the end between two requests. The answers
//! to them are in [`crate::responses`].

use crate::close::{Cause, CloseReason, Side};
use crate::connection::{Connection, Event, State};
use crate::engine::Engine;
use crate::host::Host;
use crate::limit::Limit;
use crate::session::http::client;
use crate::session::http::exchange::{
    close, is_dropping_body, latest_status, may_still_answer, over_limit, refuse,
};
use crate::session::http::request::{refuse_late, refuse_unfinished};
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};
use vespiary_wire::http;
use vespiary_wire::websocket::close::Code;

impl<H: Host> Engine<H> {
    /// Take the date of HTTP answers from this clock.
    pub fn set_wall_clock(&self, clock: fn() -> SystemTime) {
        self.wall_clock.set(clock);
    }

    /// The date of a response that is sent now. It is written once per second.
    pub(crate) fn date(&self) -> Rc<str> {
        let since = self.wall_clock.get()().duration_since(UNIX_EPOCH);
        let now = since.map_or(0, |since| since.as_secs());
        let mut latest = self.date.borrow_mut();
        match &*latest {
            Some((second, text)) if *second == now => text.clone(),
            _ => {
                let text: Rc<str> = http::date(now).into();
                *latest = Some((now, text.clone()));
                text
            }
        }
    }
}

/// The handshake's deadline has passed.
pub(crate) fn too_late<H: Host>(connection: &Rc<Connection<H>>) {
    let state = connection.state();
    let text = match state {
        State::Responding => "the body of the request came too slowly",
        _ => "the handshake took too long",
    };
    // An open one has started a layer, whose handshake it is.
    let is_answered = state == State::Responding;
    if is_answered && connection.is_dropping_body() {
        return connection.end_between_requests(Side::Remote);
    }
    if connection.client || state < State::Handshaking || state == State::Open || is_answered {
        let cause = Cause::Limit(Limit::HandshakeSeconds);
        connection.end_unless_refused(CloseReason::new(cause, text));
        return connection.abort_now();
    }
    refuse_late(
        &mut connection.inbound.borrow_mut().session,
        connection,
        text,
    );
}

/// Answer 503 to a connection that is over a limit, and close it.
pub(crate) fn refuse_over_limit<H: Host>(connection: &Rc<Connection<H>>, limit: Limit) {
    connection.enter(Event::Handshake);
    refuse(
        &mut connection.inbound.borrow_mut().session,
        connection,
        &over_limit(limit),
    );
    connection.engine.arm(connection);
}

/// End a connection between two requests, cleanly: at once where nothing waits to be sent. A
/// client often notices only when it wants to send its next request, and need not be waited for.
pub(crate) fn end_between_requests<H: Host>(connection: &Rc<Connection<H>>, side: Side) {
    let status = latest_status(&connection.inbound.borrow().session);
    let reason = CloseReason::new(Cause::Answered, format!("answered {status}")).by(side);
    if connection.queued_bytes() == 0 {
        connection.end_with(reason.with_status(Some(status)));
        connection.enter(Event::Break);
        return connection.unsettle();
    }
    close(
        &mut connection.inbound.borrow_mut().session,
        connection,
        reason,
        status,
    );
}

impl<H: Host> Connection<H> {
    /// Close a connection of a server that stops and that has not asked the host for anything yet:
    /// a request that has not come whole is answered 503, and where none has begun the peer gets a
    /// FIN.
    pub fn close_unasked(self: &Rc<Self>) {
        if self.state() != State::Handshaking {
            return self.close(Code::NORMAL, "");
        }
        let is_refused = refuse_unfinished(&mut self.inbound.borrow_mut().session, self);
        if !is_refused {
            self.end_with(CloseReason::new(Cause::Closed, "the server is stopping"));
            self.enter(Event::Break);
        }
        self.unsettle();
    }
}

/// Methods for the engine, which does not import this file.
impl<H: Host> Connection<H> {
    pub(crate) fn handshake_too_late(self: &Rc<Self>) {
        too_late(self);
    }

    /// End with `reason`, unless a server has refused this client: the refusal is the reason then,
    /// although its body is incomplete.
    pub(crate) fn end_unless_refused(&self, reason: CloseReason) {
        let refusal = client::refused_so_far(&self.inbound.borrow().session);
        if let Some(refusal) = refusal {
            self.end_with(refusal);
        }
        self.end_with(reason);
    }

    /// The status of the latest answer to a request; 0 before there was one.
    pub(crate) fn latest_status(&self) -> u16 {
        latest_status(&self.inbound.borrow().session)
    }

    /// Whether the peer, which has finished sending, still gets the answer to its request.
    pub(crate) fn may_still_answer(&self) -> bool {
        may_still_answer(&self.inbound.borrow().session)
    }

    /// Whether a request, which is there as a whole, waits for an application.
    pub(crate) fn awaits_application(&self) -> bool {
        self.asked_endpoint().options().hosts_application
            && self
                .inbound
                .try_borrow()
                .is_ok_and(|inbound| may_still_answer(&inbound.session))
    }

    /// Whether the answer is complete, and the rest of the request's body is dropped.
    pub(crate) fn is_dropping_body(&self) -> bool {
        let inbound = self.inbound.try_borrow();
        inbound.is_ok_and(|inbound| is_dropping_body(&inbound.session))
    }

    pub(crate) fn refuse_over_limit(self: &Rc<Self>, limit: Limit) {
        refuse_over_limit(self, limit);
    }

    pub(crate) fn end_between_requests(self: &Rc<Self>, side: Side) {
        end_between_requests(self, side);
    }
}
