//! How a connection begins to end: closed, aborted or failed, and for which reason.

use super::{CloseFrames, Connection, Event, State, Upgrade};
use crate::close::{Cause, CloseReason, Manner, Side};
use crate::host::Host;
use crate::options::Framing;
use crate::settle::LEFT_EARLY;
use std::rc::Rc;
use vespiary_trace::requires;
use vespiary_wire::websocket::close::{self, Code};
use vespiary_wire::websocket::frame::Opcode;

impl<H: Host> Connection<H> {
    /// Whether a message that is sent in parts is in progress.
    pub fn is_within_message(&self) -> bool {
        // Where there are no such messages, the flag says that nothing more is sent.
        let websocket = self.endpoint().options.borrow().framing == Framing::WebSocket;
        websocket && self.state() == State::Open && self.sending_parts.get()
    }

    /// Whether `code` would report a normal end, although the last part of a message was not sent.
    pub fn would_cut_message(&self, code: Code) -> bool {
        code.is_clean() && self.is_within_message()
    }

    /// End cleanly: what waits is written, the peer is notified, and its end is awaited for
    /// `close` at the most.
    ///
    /// Within a message the end is not clean: instead of a code for a clean end, the peer gets
    /// 1011.
    pub fn close(self: &Rc<Self>, code: Code, text: &str) {
        match self.state() {
            State::Closing | State::Closed => return,
            State::Connecting | State::Securing => return self.abort(),
            State::BetweenRequests => {
                return self.end_between_requests(Side::Local);
            }
            State::Responding if self.is_dropping_body() => {
                return self.end_between_requests(Side::Local);
            }
            State::Handshaking | State::Responding => {
                self.end_with(CloseReason::new(Cause::Closed, text));
                return self.abort_now();
            }
            State::Open => {}
        }
        if self.would_cut_message(code) {
            let text = "a message was left unfinished";
            let reason = CloseReason::new(Cause::HandlerFailed, text);
            return self.fail(reason.with_code(Code::INTERNAL_ERROR));
        }
        self.end_with(CloseReason::new(Cause::Closed, text).with_code(code));
        self.begin_closing(Some((code, text)));
    }

    /// End cleanly because the peer has finished sending; false if it has not finished.
    pub fn close_after_peer(self: &Rc<Self>) -> bool {
        if !self.life.get().has_peer_ended() {
            return false;
        }
        if self.state() == State::Open {
            self.end_with(CloseReason::new(Cause::PeerClosed, ""));
            self.begin_closing(None);
        }
        true
    }

    /// End because the peer has finished sending, although what it has sent last was not read, as
    /// nobody reads it.
    pub(crate) fn close_unread(self: &Rc<Self>) {
        if self.state() != State::Open {
            return;
        }
        let text = "it has finished sending, and its last bytes were not read";
        if self.endpoint().options.borrow().framing == Framing::WebSocket {
            self.end_with(CloseReason::new(Cause::PeerVanished, text));
            self.enter(Event::Break);
            return self.unsettle();
        }
        let mut reason = CloseReason::new(Cause::PeerClosed, text);
        reason.manner = Manner::Broken;
        self.end_with(reason);
        self.begin_closing(None);
    }

    /// End at once: what waits is dropped, and the peer sees a reset.
    pub fn abort(self: &Rc<Self>) {
        self.end_with(CloseReason::new(Cause::Aborted, "abort() was called"));
        self.abort_now();
    }

    /// End because of a fault of ours or the peer's; the reason says which.
    pub(crate) fn fail(self: &Rc<Self>, reason: CloseReason) {
        let is_ending = self.state() >= State::Closing;
        if reason.cause == Cause::TlsFailed && (!is_ending || self.is_upgrading()) {
            return self.end_behind_alert(reason);
        }
        if is_ending {
            return;
        }
        let websocket = self.endpoint().options.borrow().framing == Framing::WebSocket;
        let code = Code(reason.code.unwrap_or(Code::INTERNAL_ERROR.0));
        let text = reason.text.clone();
        let is_established = websocket && self.state() == State::Open;
        self.end_with(if is_established {
            reason.with_code(code)
        } else {
            reason
        });
        if requires!("rfc6455/7.1.7/3", "rfc6455/10.7/3" => is_established) {
            self.begin_closing(Some((code, &text)));
            // RFC 6455 7.1.7: the peer's close frame is not awaited.
            requires!("rfc6455/7.1.7/5");
            self.close_frames.set(CloseFrames::NotAwaited);
        } else {
            self.abort_now();
        }
    }

    /// TLS has failed: only its alert is sent, which reports the reason to the peer.
    fn end_behind_alert(self: &Rc<Self>, reason: CloseReason) {
        self.end_undelivered(reason);
        self.upgrade.set(Upgrade::Over);
        let pool = &mut self.engine.pool.borrow_mut();
        self.outbound.borrow_mut().clear(pool);
        self.begin_closing(None);
    }

    /// The peer has ended its side during the handshake of a layer that was started. What waits for
    /// that handshake is lost; bytes before it are still sent.
    pub(crate) fn end_unsecured(self: &Rc<Self>) {
        self.end_with(CloseReason::new(Cause::PeerVanished, LEFT_EARLY));
        if self.awaits_ready_layers() {
            self.enter(Event::Break);
        } else {
            self.upgrade.set(Upgrade::Over);
            self.begin_closing(None);
        }
        self.unsettle();
    }

    /// The host's handler failed: 1011 on WebSocket. Elsewhere a reset, since the peer would take a
    /// FIN for the end of a complete answer; what is queued is dropped.
    pub fn fail_in_handler(self: &Rc<Self>) {
        let reason = CloseReason::new(Cause::HandlerFailed, "the handler failed");
        requires!("rfc6455/7.4.1/h6");
        self.fail(reason.with_code(Code::INTERNAL_ERROR));
    }

    /// Keep the first reason that is given. A code of ours is kept as it is sent to the peer; a
    /// framing without close codes has none.
    pub(crate) fn end_with(&self, mut reason: CloseReason) {
        let is_websocket = self.endpoint().options.borrow().framing == Framing::WebSocket;
        if !is_websocket {
            reason.code = None;
        }
        if let Some(mut kept) = self.reason.take() {
            if self.is_unacknowledged(&kept, &reason) {
                kept.close_failed(reason);
            }
            return self.reason.set(Some(kept));
        }
        if reason.side == Side::Local
            && let Some(code) = reason.code
        {
            let sent = (self.profile().codes.sent_for)(Code(code));
            reason.code = Some(sent.map_or(code, |sent| sent.0));
        }
        // RFC 6455 7.1.5: an end without a close frame, in whatever way.
        if is_websocket && self.opened.get() && reason.code.is_none() {
            requires!("rfc6455/7.1.5/h3");
            reason.code = Some(Code::ABNORMAL.0);
        }
        self.reason.set(Some(Box::new(reason)));
    }

    /// The peer has not taken what was sent before a deadline: a close that was clean so far is
    /// not. A peer that has sent a close frame does not want it any more.
    pub(super) fn end_undelivered(&self, reason: CloseReason) {
        if !self.opened.get() || self.close_frames.get().is_received() {
            return self.end_with(reason);
        }
        match self.reason.take() {
            Some(mut kept) if kept.manner == Manner::Closed => {
                kept.close_failed(reason);
                kept.note_lost(self.queued_bytes());
                self.reason.set(Some(kept));
            }
            kept => {
                self.reason.set(kept);
                self.end_with(reason);
            }
        }
    }

    /// Whether another reason replaces this end's close, which was `kept` as the reason: the peer
    /// did not answer the close.
    fn is_unacknowledged(&self, kept: &CloseReason, other: &CloseReason) -> bool {
        let is_ours = kept.cause == Cause::Closed && other.manner == Manner::Broken;
        let frames = self.close_frames.get();
        let is_lost = match other.cause {
            Cause::Kernel(_) => !frames.is_received(),
            _ => frames == CloseFrames::Sent,
        };
        self.opened.get() && is_ours && is_lost
    }

    pub(crate) fn abort_now(self: &Rc<Self>) {
        if self.state() == State::Closed {
            return;
        }
        self.enter(Event::Break);
        self.carrier.reset();
        self.unsettle();
    }

    /// Enter `Closing`, with a close frame where the framing has one.
    pub(crate) fn begin_closing(self: &Rc<Self>, close_frame: Option<(Code, &str)>) {
        if self.carrier.is_peer() {
            // The peer is not notified, and nothing is awaited from it.
            self.enter(Event::Break);
            return self.unsettle();
        }
        requires!("rfc6455/7.1.3/h1");
        self.enter(Event::Close);
        let now = self.engine.now_ms();
        self.moments.phase_began.set(now);
        // The deadline of the bytes that are queued or in flight counts from now on.
        self.moments.write_began.set(now);
        self.moments.write_mark.set(0);
        if let Some((code, text)) = close_frame
            && self.endpoint().options.borrow().framing == Framing::WebSocket
            && !self.close_frames.get().is_sent()
        {
            let is_answer = self.close_frames.get().is_received();
            self.close_frames.set(self.close_frames.get().after_sent());
            let payload = if is_answer {
                close::echo(self.profile(), code)
            } else {
                close::encode(self.profile(), code, text)
            };
            requires!(
                "rfc6455/7.1.2/1",
                "rfc6455/5.5.1/1",
                "rfc6455/5.5.1/3",
                "rfc6455/7.3/1",
                "rfc6455/7.4/1"
            );
            self.send_control(Opcode::Close, payload.as_slice());
        }
        self.unsettle();
        self.engine.arm(self);
    }
}
