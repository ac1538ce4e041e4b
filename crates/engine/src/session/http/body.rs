//! A request's body: read whole before the host is asked, or handed over as it comes.
//!
//! **Whole**, within `body_bytes_max`: the handshake's deadline continues while it comes, so a
//! client that sends it slowly holds its memory for no longer than one that sends its head slowly.
//!
//! **As it comes**, where the endpoint streams requests: the host is asked at the head, and gets
//! each piece. It holds the peer back by pausing the connection. The peer must send
//! [`PROGRESS_BYTES_MIN`] bytes per handshake's deadline while it is read, and the host must take
//! something, or begin its answer, within that time. A client that waits for 100 gets it when the
//! host first reads.
//!
//! Where the answer is complete before the body, the rest is read and **dropped**, so that the
//! connection can be kept. If that is more than [`DROPPED_BYTES_MAX`], a new connection costs less,
//! and this one ends.

use super::super::sink::{HttpSink, Outcome};
use super::super::{Session, Stage};
use super::Head;
use super::{exchange, request};
use crate::close::{Cause, CloseReason, Side};
use crate::limit::Limit;
use crate::memory;
use vespiary_trace::requires;
use vespiary_wire::http::{BodyLength, BodyReader, Refusal, Request};

/// What a peer must send of a streamed body within the handshake's deadline: less than the slowest
/// network does, and more than a client that only wants to stay.
pub(crate) const PROGRESS_BYTES_MIN: usize = 4 << 10;
/// What is read of a body that nobody wants: as much as the peer may have sent ahead.
pub(super) const DROPPED_BYTES_MAX: usize = 64 << 10;

/// A request whose body is being received.
pub(crate) struct Body {
    /// What is remembered until the request is answered.
    pub(super) head: Head,
    reader: BodyReader,
    /// Bytes of data that have come.
    received: usize,
    bytes_max: usize,
    aim: Aim,
}

/// What happens to the body.
enum Aim {
    /// It is gathered until the host is asked.
    Gather(Request, Vec<u8>),
    /// It is handed over. This many bytes have come since its progress was last noted.
    HandOver(usize),
    /// It is dropped, so many bytes at the most: the answer, which is complete, had this status.
    Drop(usize, u16),
}

impl Body {
    pub(crate) fn buffer_bytes(&self) -> usize {
        let gathered = match &self.aim {
            Aim::Gather(_, bytes) => bytes.capacity(),
            _ => 0,
        };
        size_of::<Self>() + self.head.buffer_bytes() + gathered
    }

    /// Whether the host was asked, and its answer is not complete.
    pub(crate) fn is_handed_over(&self) -> bool {
        matches!(self.aim, Aim::HandOver(_))
    }

    /// Whether nobody wants the rest.
    pub(super) fn is_dropped(&self) -> bool {
        matches!(self.aim, Aim::Drop(..))
    }

    /// Whether the rest can be read although nobody wants it. A client that awaits 100 may send it
    /// or not.
    pub(super) fn may_be_dropped(&self) -> bool {
        let is_small = |left| left <= DROPPED_BYTES_MAX as u64;
        !self.head.exchange.awaits_continue && self.reader.left().is_none_or(is_small)
    }

    /// The answer is complete.
    pub(super) fn drop_rest(&mut self, status: u16) {
        self.aim = Aim::Drop(DROPPED_BYTES_MAX, status);
    }
}

/// The head of `request` was checked, and its body comes next. A client that waits for 100 before
/// it sends the body gets it, unless the body would be too long.
pub(super) fn begin<S: HttpSink>(session: &mut Session<S::Payload>, sink: &S, request: Request) {
    let options = sink.request_options();
    let bytes_max = options.limits.body_bytes_max;
    let length = request.body_length();
    let least = match length {
        BodyLength::Bytes(bytes) => bytes,
        BodyLength::None | BodyLength::Chunked => 1,
    };
    if least > bytes_max as u64 {
        return refuse_too_long(session, sink, bytes_max);
    }
    let Stage::Waiting(mut head) = std::mem::replace(&mut session.stage, Stage::Discard) else {
        unreachable!("the head was read")
    };
    if options.streams_requests {
        head.exchange.body_was_read(&request);
        session.stage = stage(*head, length, bytes_max, Aim::HandOver(0));
        return request::ask(session, sink, request, Vec::new());
    }
    let awaits_continue = std::mem::take(&mut head.exchange.awaits_continue);
    if requires!("rfc9110/10.1.1/11", "rfc9110/10.1.1/12" => awaits_continue) {
        sink.write(exchange::CONTINUE);
    }
    session.stage = stage(*head, length, bytes_max, Aim::Gather(request, Vec::new()));
}

fn stage(head: Head, length: BodyLength, bytes_max: usize, aim: Aim) -> Stage {
    Stage::Body(Box::new(Body {
        head,
        reader: BodyReader::new(length),
        received: 0,
        bytes_max,
        aim,
    }))
}

/// The host reads the body: a client that waits for 100 gets it.
pub(crate) fn go_on<S: HttpSink>(session: &mut Session<S::Payload>, sink: &S) {
    let Stage::Body(body) = &mut session.stage else {
        return;
    };
    let is_read = body.is_handed_over();
    let exchange = &mut body.head.exchange;
    let is_awaited = is_read && exchange.writer.is_none() && exchange.awaits_continue;
    if requires!("rfc9110/10.1.1/11", "rfc9110/10.1.1/12" => is_awaited) {
        exchange.awaits_continue = false;
        sink.write(exchange::CONTINUE);
    }
}

/// Read on in a body; what follows it stays in `rest`. Behind the last byte of one that is gathered
/// the host is asked.
pub(super) fn read<S: HttpSink>(
    session: &mut Session<S::Payload>,
    sink: &S,
    rest: &mut &[u8],
) -> Outcome {
    loop {
        let Stage::Body(body) = &mut session.stage else {
            return Ok(());
        };
        match body.reader.next(rest) {
            Ok(Some(data)) => {
                let goes_on = body.take(sink, data)?;
                if !goes_on || body.will_be_too_long() {
                    *rest = &[];
                    too_long(session, sink);
                    return Ok(());
                }
                if body.is_handed_over() && (sink.is_blocked() || sink.is_aborted()) {
                    break;
                }
            }
            Ok(None) if body.will_be_too_long() => {
                *rest = &[];
                too_long(session, sink);
                return Ok(());
            }
            Ok(None) => break,
            Err(refusal) => {
                *rest = &[];
                malformed(session, sink, &refusal);
                return Ok(());
            }
        }
    }
    let Stage::Body(body) = &session.stage else {
        return Ok(());
    };
    if body.reader.is_done() {
        read_whole(session, sink);
    }
    Ok(())
}

impl Body {
    /// Whether the chunk that is being read is longer than the rest of the body may be.
    fn will_be_too_long(&self) -> bool {
        let rest = self.bytes_max.saturating_sub(self.received);
        self.reader.left_at_least() > rest as u64
    }

    /// Take bytes of data; false where they are too many.
    fn take<S: HttpSink>(&mut self, sink: &S, data: &[u8]) -> Result<bool, CloseReason> {
        self.received = self.received.saturating_add(data.len());
        if self.received > self.bytes_max {
            return Ok(false);
        }
        match &mut self.aim {
            Aim::Gather(_, bytes) => memory::extend(bytes, data)?,
            Aim::HandOver(since) => {
                // A client that sends its body at once has not waited for 100.
                self.head.exchange.awaits_continue = false;
                *since += data.len();
                if *since >= PROGRESS_BYTES_MIN {
                    *since = 0;
                    sink.body_progressed();
                }
                sink.body_piece(data);
            }
            Aim::Drop(left, _) => match left.checked_sub(data.len()) {
                Some(less) => *left = less,
                None => return Ok(false),
            },
        }
        Ok(true)
    }
}

/// The last byte of the body has come.
fn read_whole<S: HttpSink>(session: &mut Session<S::Payload>, sink: &S) {
    let Stage::Body(body) = std::mem::replace(&mut session.stage, Stage::Discard) else {
        unreachable!("the caller matched")
    };
    let Body { mut head, aim, .. } = *body;
    match aim {
        Aim::Gather(request, bytes) => {
            head.exchange.body_was_read(&request);
            session.stage = Stage::Waiting(Box::new(head));
            request::ask(session, sink, request, bytes);
        }
        Aim::HandOver(_) => {
            // The body may have ended without a byte of data.
            head.exchange.awaits_continue = false;
            session.stage = Stage::Waiting(Box::new(head));
            sink.body_ended();
        }
        Aim::Drop(_, status) => exchange::keep(session, sink, head.exchange, status),
    }
}

/// More has come of the body than is read.
fn too_long<S: HttpSink>(session: &mut Session<S::Payload>, sink: &S) {
    let Stage::Body(body) = &session.stage else {
        return;
    };
    let (bytes_max, has_begun) = (body.bytes_max, body.head.exchange.writer.is_some());
    if body.is_dropped() {
        return end_behind_answer(session, sink);
    }
    if !has_begun {
        return refuse_too_long(session, sink, bytes_max);
    }
    sink.limit_reached(Limit::BodyBytes);
    let text = format!("the body is longer than {bytes_max} bytes (RFC 9110 15.5.14)");
    sink.abort(CloseReason::new(Cause::Limit(Limit::BodyBytes), text));
}

fn malformed<S: HttpSink>(session: &mut Session<S::Payload>, sink: &S, refusal: &Refusal) {
    let Stage::Body(body) = &session.stage else {
        return;
    };
    sink.count_protocol_error();
    if body.is_dropped() {
        return end_behind_answer(session, sink);
    }
    if body.head.exchange.writer.is_none() {
        return exchange::refuse(session, sink, refusal);
    }
    let reason = CloseReason::new(Cause::ProtocolError, refusal.text.clone());
    sink.abort(reason.by(Side::Remote));
}

/// End a connection whose latest answer is complete, and whose request's body is not read on.
pub(super) fn end_behind_answer<S: HttpSink>(session: &mut Session<S::Payload>, sink: &S) {
    let status = exchange::latest_status(session);
    let reason = CloseReason::new(Cause::Answered, format!("answered {status}"));
    exchange::close(session, sink, reason, status);
}

fn refuse_too_long<S: HttpSink>(session: &mut Session<S::Payload>, sink: &S, bytes_max: usize) {
    sink.limit_reached(Limit::BodyBytes);
    let text = match bytes_max {
        0 => "requests with a body are not accepted here (RFC 9110 15.5.14)".to_owned(),
        most => format!("the body is longer than {most} bytes (RFC 9110 15.5.14)"),
    };
    let refusal = Refusal::new(413, text).with_advice("see body_bytes_max of vespiary.Limits");
    exchange::refuse(session, sink, &refusal);
}
