//! Answers to HTTP requests: those that come later, whole or piece by piece.
//!
//! The head of an answer that comes piece by piece, its pieces and its end are **steps**. A step is
//! taken at once where the connection's session is free, so that its bytes count for the write
//! queue when the host looks. Inside a callback about received bytes the session is in use: the
//! step, and every one behind it, waits until the round is settled.

use crate::close::{Cause, CloseReason};
use crate::connection::{Connection, State};
use crate::host::Host;
use crate::session::Session;
use crate::session::http::request::give;
use crate::session::http::streaming::{self, Fault};
use crate::session::http::{Answer, Content, Given, Step, body};
use std::rc::Rc;
use vespiary_port::{FilePart, KeptBytes};
use vespiary_wire::http::{self, Fields};

impl<H: Host> Connection<H> {
    /// Give the answer to a request that was answered with [`Answer::Later`]. Like everything that
    /// a host asks for, it takes effect when the round is settled. The first answer stands.
    pub fn answer(self: &Rc<Self>, answer: Answer) {
        if self.state() == State::Handshaking {
            self.put_off(Given::Answer(answer));
        }
    }

    /// Whether an answer, or a step of one, was given that is sent when the round is settled.
    pub fn has_answer(self: &Rc<Self>) -> bool {
        let answers = self.engine.answers.borrow();
        answers.iter().any(|(it, _)| Rc::ptr_eq(it, self))
    }

    /// Whether the head of the current response was made, although perhaps nothing of it was sent.
    pub fn has_begun_response(&self) -> bool {
        let inbound = self.inbound.try_borrow();
        inbound.is_ok_and(|inbound| streaming::has_begun(&inbound.session))
    }

    /// Whether a request is in progress that the host has been asked to answer.
    pub fn is_answered_later(&self) -> bool {
        matches!(self.state(), State::Handshaking | State::Responding)
    }

    /// Send the head of a response whose body follows by [`Connection::send_body`] and ends with
    /// [`Connection::end_response`]. Without a `Content-Length` among the headers the body is
    /// chunked.
    ///
    /// # Errors
    /// The head cannot be sent; nothing was.
    ///
    /// # Returns
    /// Whether a body may follow, as far as is known.
    pub fn begin_response(self: &Rc<Self>, status: u16, fields: Fields) -> Result<bool, Fault> {
        if self.takes_steps_at_once() {
            return self.take_step(|session, sink| streaming::begin(session, sink, status, fields));
        }
        self.put_step_off(Step::Begin { status, fields });
        Ok(true)
    }

    /// Send a whole response: what [`Connection::begin_response`], [`Connection::send_body`] and
    /// [`Connection::end_response`] do, in one step.
    ///
    /// # Errors
    /// As for these. Nothing was sent; where the body is not what its head says, the connection
    /// must end.
    pub fn send_response(
        self: &Rc<Self>,
        status: u16,
        fields: Fields,
        body: Content<'_>,
    ) -> Result<(), Fault> {
        if self.takes_steps_at_once() {
            return self
                .take_step(|session, sink| streaming::whole(session, sink, status, fields, body));
        }
        self.put_step_off(Step::Whole {
            status,
            fields,
            body: body.into_owned(),
        });
        Ok(())
    }

    /// Send a piece of the body. The write queue takes it, whatever it holds: see
    /// [`Connection::has_room`].
    ///
    /// # Errors
    /// The response was not begun, or the body is longer than was said: the connection must end.
    pub fn send_body(self: &Rc<Self>, data: &[u8]) -> Result<(), Fault> {
        if self.takes_steps_at_once() {
            return self.take_step(|session, sink| streaming::piece(session, sink, data));
        }
        self.put_step_off(Step::Piece(data.to_vec()));
        Ok(())
    }

    /// The same without a copy: `kept` holds the bytes until the kernel has them.
    ///
    /// # Errors
    /// As for [`Connection::send_body`].
    pub fn send_kept_body(self: &Rc<Self>, kept: Rc<dyn KeptBytes>) -> Result<(), Fault> {
        if self.takes_steps_at_once() {
            return self.take_step(|session, sink| streaming::kept_piece(session, sink, kept));
        }
        self.put_step_off(Step::KeptPiece(kept));
        Ok(())
    }

    /// The same from a file, which the kernel copies to the socket. Where layers change the bytes,
    /// as TLS does, they are read into memory first.
    ///
    /// # Errors
    /// As for [`Connection::send_body`].
    pub fn send_file_body(self: &Rc<Self>, part: FilePart) -> Result<(), Fault> {
        if self.takes_steps_at_once() {
            return self.take_step(|session, sink| streaming::file_piece(session, sink, part));
        }
        self.put_step_off(Step::FilePiece(part));
        Ok(())
    }

    /// Complete the response. Trailer fields are sent where the body is chunked.
    ///
    /// # Errors
    /// The response was not begun, the body is shorter than was said, or a trailer field cannot be
    /// sent: the connection must end.
    pub fn end_response(self: &Rc<Self>, trailers: Vec<(String, String)>) -> Result<(), Fault> {
        if self.takes_steps_at_once() {
            return self.take_step(|session, sink| streaming::end(session, sink, &trailers));
        }
        http::check_trailers(&trailers).map_err(|it| it.to_string())?;
        self.put_step_off(Step::End { trailers });
        Ok(())
    }

    /// Send a response that announces the final one, such as 103 (RFC 9110 section 15.2).
    ///
    /// # Errors
    /// It cannot be sent, or the response was begun.
    pub fn send_interim(
        self: &Rc<Self>,
        status: u16,
        headers: Vec<(String, String)>,
    ) -> Result<(), Fault> {
        if self.takes_steps_at_once() {
            return self
                .take_step(|session, sink| streaming::interim(session, sink, status, &headers));
        }
        http::append_interim(&mut Vec::new(), status, &headers).map_err(|it| it.to_string())?;
        self.put_step_off(Step::Interim { status, headers });
        Ok(())
    }

    /// The host reads the body of the request: a client that awaits 100 gets it.
    pub fn wants_body(self: &Rc<Self>) {
        if !self.is_answered_later() {
            return;
        }
        if self.takes_steps_at_once() {
            let taken = self.take_step(|session, sink| {
                body::go_on(session, sink);
                Ok(())
            });
            debug_assert!(taken.is_ok());
        } else {
            self.put_step_off(Step::Continue);
        }
    }

    /// The host has taken a part of the body that waited: its deadline begins again.
    pub fn body_taken(&self) {
        if self.state() == State::Handshaking {
            self.moments.phase_began.set(self.engine.now_ms());
        }
    }

    /// Whether a piece of a body can be sent without more than `write_high_bytes` waiting.
    pub fn has_room(self: &Rc<Self>) -> bool {
        if self.is_above_high() {
            return false;
        }
        let answers = self.engine.answers.borrow();
        if answers.is_empty() {
            return true;
        }
        let waiting = answers.iter().filter(|(it, _)| Rc::ptr_eq(it, self));
        let bytes: usize = waiting.map(|(_, given)| given.bytes()).sum();
        bytes <= self.endpoint().options.borrow().limits.write_high_bytes
    }

    /// The response cannot be completed: the client sees a reset, and not the end of a whole one.
    pub fn break_response(self: &Rc<Self>, text: &str) {
        if self.is_answered_later() {
            self.end_with(CloseReason::new(Cause::HandlerFailed, text));
            self.abort_now();
        }
    }

    /// The same for a response of which at least the head was sent; nothing happens to another.
    pub fn break_response_begun(self: &Rc<Self>, text: &str) {
        if self.state() == State::Responding && !self.is_dropping_body() {
            self.break_response(text);
        }
    }

    /// Whether a step is taken at once. What the host is called with at the moment may be about
    /// received bytes.
    fn takes_steps_at_once(self: &Rc<Self>) -> bool {
        self.inbound.try_borrow_mut().is_ok() && !self.has_answer()
    }

    fn take_step<T: Default>(
        self: &Rc<Self>,
        act: impl FnOnce(&mut Session<H::Payload>, &Rc<Self>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        if !self.is_answered_later() {
            return Ok(T::default());
        }
        let taken = act(&mut self.inbound.borrow_mut().session, self);
        // The next request may have come behind this one.
        self.unsettle();
        taken
    }

    fn put_step_off(self: &Rc<Self>, step: Step) {
        if self.is_answered_later() {
            self.put_off(Given::Step(step));
        }
    }

    /// Take the step that was put off, if it is the only one of this connection.
    pub(crate) fn take_only_step(self: &Rc<Self>) -> Option<Step> {
        let mut answers = self.engine.answers.borrow_mut();
        let (is_ours, is_step) = match answers.last() {
            Some((last, given)) => (Rc::ptr_eq(last, self), matches!(given, Given::Step(_))),
            None => (false, false),
        };
        if !is_ours || !is_step || !self.is_answered_later() {
            return None;
        }
        let others = &answers[..answers.len() - 1];
        if others.iter().any(|(it, _)| Rc::ptr_eq(it, self)) {
            return None;
        }
        match answers.pop() {
            Some((_, Given::Step(step))) => Some(step),
            _ => None,
        }
    }

    fn put_off(self: &Rc<Self>, given: Given) {
        let mut answers = self.engine.answers.borrow_mut();
        answers.push((self.clone(), given));
        drop(answers);
        self.unsettle();
    }

    /// Send what was put off.
    pub(crate) fn request_answered(self: &Rc<Self>, given: Given) {
        let mut inbound = self.inbound.borrow_mut();
        match given {
            Given::Answer(answer) => give(&mut inbound.session, self, answer),
            Given::Step(step) if self.is_answered_later() => {
                streaming::take(&mut inbound.session, self, step);
            }
            Given::Step(_) => {}
        }
        // Frames, or the next request, may have come behind the request.
        drop(inbound);
        self.unsettle();
    }
}
