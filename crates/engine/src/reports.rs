//! A connection as the sink of its session: what is delivered to the host, counted and answered.

use crate::admission;
use crate::close::{Cause, CloseReason};
use crate::connection::{Connection, Event, State};
use crate::endpoint::add;
use crate::host::{Denial, Host, Kind};
use crate::layers::DeflateStream;
use crate::limit::Limit;
use crate::options::Options;
use crate::receive;
use crate::session::http::{Answer, Step};
use crate::session::sink::{HttpSink, Sink};
use crate::session::websocket::Negotiated;
use crate::session::websocket::compression::{self, CompressionTraffic};
use std::cell::RefCell;
use std::rc::Rc;
use vespiary_port::{FilePart, KeptBytes};
use vespiary_trace::requires;
use vespiary_wire::http::Request;
use vespiary_wire::websocket::close::Code;
use vespiary_wire::websocket::frame::Opcode;

impl<H: Host> Sink for Rc<Connection<H>> {
    type Payload = H::Payload;

    #[inline]
    fn options(&self) -> Rc<Options> {
        self.endpoint().options()
    }

    #[inline]
    fn is_client(&self) -> bool {
        self.client
    }

    #[inline]
    fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }

    #[inline]
    fn is_blocked(&self) -> bool {
        Connection::is_blocked(self)
    }

    #[inline]
    fn is_aborted(&self) -> bool {
        self.is_over()
    }

    #[inline]
    fn may_deliver(&self) -> bool {
        self.state() == State::Open && !self.is_dropping()
    }

    #[inline]
    fn is_close_received(&self) -> bool {
        self.close_frames.get().is_received()
    }

    #[inline]
    fn charge(&self, frames: u16) {
        self.engine.spend_frames(self, frames);
    }

    #[inline]
    fn binary(&self, payload: H::Payload) {
        count_message(self, true);
        self.engine.host.binary(self, payload);
    }

    #[inline]
    fn text(&self, text: &str) {
        count_message(self, true);
        self.engine.host.text(self, text);
    }

    #[inline]
    fn part(&self, kind: Kind, payload: H::Payload, last: bool) {
        count_message(self, last);
        self.engine.host.part(self, kind, payload, last);
    }

    fn close_frame(&self, code: Code, text: &str) {
        if self.state() == State::Open {
            self.engine.host.ending(self);
        }
        requires!("rfc6455/7.1.4/h1", "rfc6455/5.5.1/h3");
        self.close_frames
            .set(self.close_frames.get().after_received());
        // From here on the peer owes its FIN.
        self.moments.phase_began.set(self.engine.now_ms());
        requires!("rfc6455/7.1.5/h1", "rfc6455/7.1.5/h2", "rfc6455/7.1.6/h1");
        let cause = if code.is_clean() {
            Cause::PeerClosed
        } else {
            Cause::PeerFailed
        };
        self.end_with(CloseReason::new(cause, text).with_code(code));
        let is_first = self.state() == State::Open;
        if requires!("rfc6455/5.5.1/6", "rfc6455/5.5.1/7", "rfc6455/5.5.1/h2" => is_first) {
            // RFC 6455 5.5.1: the answer repeats the code; one without a code is answered without
            // one.
            self.begin_closing(Some((code, "")));
        } else {
            self.engine.arm(self);
        }
        self.unsettle();
    }

    fn pong(&self, payload: &[u8]) {
        self.engine.host.pong(self, payload);
    }

    fn send_control(&self, opcode: Opcode, payload: &[u8]) {
        Connection::send_control(self, opcode, payload);
        let options = self.endpoint().options.borrow();
        self.queued(&options, Connection::queued_bytes(self));
    }

    fn queued_bytes(&self) -> usize {
        Connection::queued_bytes(self)
    }

    #[cold]
    fn limit_reached(&self, limit: Limit) {
        self.endpoint().limit_reached(&self.engine.host, limit);
    }

    #[inline]
    fn scratch(&self) -> &RefCell<Vec<u8>> {
        &self.engine.scratch
    }

    #[inline]
    fn compression_pool(&self) -> &RefCell<compression::Pool> {
        &self.engine.compression
    }

    fn count_compression(&self, change: impl Fn(&mut CompressionTraffic)) {
        let counter = &self.endpoint().counters.compression;
        let mut traffic = counter.get();
        change(&mut traffic);
        counter.set(traffic);
    }

    fn account_compression(&self, before: u64, now: u64) {
        let account = &self.endpoint().counters.compression_memory;
        account.set(account.get().wrapping_add(now).wrapping_sub(before));
    }
}

impl<H: Host> HttpSink for Rc<Connection<H>> {
    fn date(&self) -> Rc<str> {
        self.engine.date()
    }

    fn random(&self, bytes: &mut [u8]) {
        self.engine.random(bytes);
    }

    fn write(&self, bytes: &[u8]) {
        self.append(bytes.len(), |buffer| buffer.extend_from_slice(bytes));
        let options = self.endpoint().options.borrow();
        self.queued(&options, Connection::queued_bytes(self));
    }

    fn write_parts(&self, parts: &[&[u8]]) {
        let size = parts.iter().map(|part| part.len()).sum();
        self.append(size, |buffer| {
            for part in parts {
                buffer.extend_from_slice(part);
            }
        });
        let options = self.endpoint().options.borrow();
        self.queued(&options, Connection::queued_bytes(self));
    }

    fn write_file(&self, part: FilePart) {
        let mut outbound = self.outbound.borrow_mut();
        outbound.append_file(part);
        let queued = outbound.queued();
        drop(outbound);
        let options = self.endpoint().options.borrow();
        self.queued(&options, queued);
    }

    fn write_kept(&self, kept: Rc<dyn KeptBytes>) {
        let mut outbound = self.outbound.borrow_mut();
        outbound.append_kept(kept);
        let queued = outbound.queued();
        drop(outbound);
        let options = self.endpoint().options.borrow();
        self.queued(&options, queued);
    }

    fn count_protocol_error(&self) {
        add(&self.asked_endpoint().counters.protocol_errors, 1);
    }

    fn request_begun(&self) {
        if self.state() == State::BetweenRequests {
            self.enter(Event::Request);
            self.moments.phase_began.set(self.engine.now_ms());
            self.engine.arm(self);
        }
    }

    fn client_named(&self, request: &Request) -> Result<(), Limit> {
        admission::client_named(self, request)
    }

    fn route(&self, request: &Request) -> Option<Rc<Options>> {
        let found = self.engine.host.route(self, request)?;
        let options = found.options();
        let is_other = !Rc::ptr_eq(&found, &self.front);
        self.asked.set(is_other.then_some(found));
        Some(options)
    }

    fn request_options(&self) -> Rc<Options> {
        self.asked_endpoint().options()
    }

    fn settle_route(&self) {
        if let Some(endpoint) = self.asked.take() {
            let _ = self.routed.set(endpoint);
        }
    }

    fn request(&self, request: Request, body: Vec<u8>) -> Answer {
        self.engine.host.request(self, request, body)
    }

    fn take_only_step(&self) -> Option<Step> {
        Connection::take_only_step(self)
    }

    fn body_piece(&self, data: &[u8]) {
        self.engine.host.body_piece(self, data);
    }

    fn body_ended(&self) {
        self.moments.message_began.set(0);
        if self.state() == State::Handshaking {
            // What the deadline is for now is the host's answer.
            self.moments.phase_began.set(self.engine.now_ms());
        }
        self.engine.host.body_ended(self);
    }

    fn body_failed(&self, reason: &CloseReason) {
        self.engine.host.body_failed(self, reason);
    }

    fn body_progressed(&self) {
        let now = self.engine.now_ms();
        match self.state() {
            State::Handshaking => self.moments.phase_began.set(now),
            State::Responding => self.moments.message_began.set(now),
            _ => {}
        }
    }

    fn response_begun(&self, has_unread_body: bool) {
        if self.state() == State::Handshaking {
            self.handshake_over();
            self.enter(Event::Respond);
        }
        let began = self.engine.now_ms().max(1);
        let began = if has_unread_body { began } else { 0 };
        self.moments.message_began.set(began);
        self.engine.arm(self);
    }

    fn awaits_answer(&self) -> bool {
        self.state() == State::Handshaking
    }

    fn has_peer_ended(&self) -> bool {
        self.life.get().has_peer_ended()
    }

    fn fault(&self, text: &str) {
        self.engine.host.fault(self, text);
    }

    fn denied(&self, status: u16, text: &str, advice: &str) {
        let denial = Denial {
            status: Some(status),
            text,
            advice,
            is_ours: true,
        };
        let endpoint = self.asked_endpoint();
        let peer = self.peer_address();
        self.engine.host.denied(&endpoint, peer, denial);
    }

    fn count_answer(&self, status: u16) {
        self.asked_endpoint().count_answer(status);
    }

    fn request_over(&self) {
        self.handshake_over();
        let now = self.engine.now_ms();
        self.moments.phase_began.set(now);
        self.moments.message_began.set(0);
        self.enter(Event::Answer);
        self.engine.spend_frames(self, 1);
        self.engine.arm(self);
    }

    fn accepted(&self, headers: Vec<(String, String)>) {
        self.engine.host.accepted(self, headers);
    }

    fn enter_tunnel(&self) -> bool {
        Connection::enter_tunnel(self)
    }

    fn begin_deflate_stream(&self) {
        self.push_layer(Box::new(DeflateStream::default()));
    }

    fn opened(&self) {
        receive::opened(self);
        self.engine.arm(self);
    }

    fn finish(&self, reason: CloseReason) {
        self.end_with(reason);
        requires!("rfc6455/7.2.2/1");
        self.begin_closing(None);
    }

    fn abort(&self, reason: CloseReason) {
        self.end_with(reason);
        self.abort_now();
    }
}

/// Count a message, or a part of one; the `last` ends what the message deadline watches.
#[inline]
fn count_message<H: Host>(connection: &Connection<H>, last: bool) {
    if last {
        connection.moments.message_began.set(0);
    }
    connection
        .moments
        .data_heard
        .set(connection.engine.now_ms());
    add(&connection.traffic.messages_in, 1);
    add(&connection.endpoint().counters.messages_in, 1);
}
