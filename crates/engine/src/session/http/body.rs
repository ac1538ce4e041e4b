//! A request's body: read whole, within `body_bytes_max`, before the host is asked.
//!
//! The handshake's deadline goes on while it comes, so a client that sends it slowly holds its
//! memory for no longer than one that sends its head slowly.

use super::super::sink::{HttpSink, Outcome};
use super::super::{Session, Stage};
use super::Head;
use super::{exchange, request};
use crate::limit::Limit;
use crate::memory;
use vespiary_trace::requires;
use vespiary_wire::http::{BodyLength, BodyReader, Refusal, Request};

/// A request whose body is being received.
pub(crate) struct Body {
    /// What is remembered until the request is answered.
    pub(super) head: Head,
    request: Request,
    reader: BodyReader,
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl Body {
    pub(crate) fn buffer_bytes(&self) -> usize {
        size_of::<Self>() + self.head.buffer_bytes() + self.bytes.capacity()
    }
}

/// The head of `request` was checked, and its body comes next. A client that waits for 100 before
/// it sends the body gets it, unless the body would be too long.
pub(super) fn begin<S: HttpSink>(session: &mut Session<S::Payload>, sink: &S, request: Request) {
    let bytes_max = sink.request_options().limits.body_bytes_max;
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
    let awaits_continue = std::mem::take(&mut head.exchange.awaits_continue);
    if requires!("rfc9110/10.1.1/11", "rfc9110/10.1.1/12" => awaits_continue) {
        sink.write(exchange::CONTINUE);
    }
    session.stage = Stage::Body(Box::new(Body {
        head: *head,
        request,
        reader: BodyReader::new(length),
        bytes: Vec::new(),
        bytes_max,
    }));
}

/// Read on in a body; what follows it stays in `rest`. Behind its last byte the host is asked.
pub(super) fn read<S: HttpSink>(
    session: &mut Session<S::Payload>,
    sink: &S,
    rest: &mut &[u8],
) -> Outcome {
    let Stage::Body(body) = &mut session.stage else {
        unreachable!("the caller matched")
    };
    loop {
        match body.reader.next(rest) {
            Ok(Some(data)) => {
                if body.bytes.len() + data.len() > body.bytes_max {
                    *rest = &[];
                    let bytes_max = body.bytes_max;
                    refuse_too_long(session, sink, bytes_max);
                    return Ok(());
                }
                memory::extend(&mut body.bytes, data)?;
            }
            Ok(None) => break,
            Err(refusal) => {
                *rest = &[];
                sink.count_protocol_error();
                exchange::refuse(session, sink, &refusal);
                return Ok(());
            }
        }
    }
    if !body.reader.is_done() {
        return Ok(());
    }
    let Stage::Body(body) = std::mem::replace(&mut session.stage, Stage::Discard) else {
        unreachable!("it was matched above")
    };
    let Body {
        mut head,
        request,
        bytes,
        ..
    } = *body;
    head.exchange.body_was_read(&request);
    session.stage = Stage::Waiting(Box::new(head));
    request::ask(session, sink, request, bytes);
    Ok(())
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
