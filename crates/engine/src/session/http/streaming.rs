//! Responses whose bodies follow their heads piece by piece (RFC 9112 sections 6 and 7.1).
//!
//! The head says how the body ends ([`BodyWriter`]); from then on the exchange has a writer, and
//! the connection is `Responding`: the handshake's deadline is met, and the write deadline holds
//! for a peer that does not read. A body that does not become what its head says ends the
//! connection with a reset, as the client must not take it for a whole one.

use super::super::sink::HttpSink;
use super::super::{Session, Stage};
use super::{Content, Head, Step, body, exchange};
use crate::close::{Cause, CloseReason};
use std::rc::Rc;
use vespiary_port::{FilePart, KeptBytes};
use vespiary_wire::http::{self, Asked, BodyWriter, Fields};

/// What keeps a step from being taken, as a sentence.
pub(crate) type Fault = String;

/// The exchange that the host is to answer, if it still is.
fn under_way<P>(session: &mut Session<P>) -> Option<&mut Head> {
    match &mut session.stage {
        Stage::Waiting(head) if head.upgrade.is_none() => Some(head),
        Stage::Body(body) if body.is_handed_over() => Some(&mut body.head),
        _ => None,
    }
}

/// Whether the head of the current response was made.
pub(crate) fn has_begun<P>(session: &Session<P>) -> bool {
    match &session.stage {
        Stage::Waiting(head) => head.exchange.writer.is_some(),
        Stage::Body(body) => body.head.exchange.writer.is_some(),
        _ => false,
    }
}

/// Take a step that was put off. What cannot be sent ends the connection.
pub(crate) fn take<S: HttpSink>(session: &mut Session<S::Payload>, sink: &S, step: Step) {
    let taken = match step {
        Step::Begin { status, fields } => begin(session, sink, status, fields).map(drop),
        Step::Whole {
            status,
            fields,
            body,
        } => whole(session, sink, status, fields, body),
        Step::Piece(data) => piece(session, sink, &data),
        Step::KeptPiece(kept) => kept_piece(session, sink, kept),
        Step::FilePiece(part) => file_piece(session, sink, part),
        Step::End { trailers } => end(session, sink, &trailers),
        Step::Interim { status, headers } => interim(session, sink, status, &headers),
        Step::Continue => {
            body::go_on(session, sink);
            Ok(())
        }
    };
    if let Err(text) = taken {
        fail(session, sink, &text);
    }
}

/// A step cannot be taken: the client gets 500, or a reset where it has got a head.
fn fail<S: HttpSink>(session: &mut Session<S::Payload>, sink: &S, text: &str) {
    let Some(head) = under_way(session) else {
        return;
    };
    if head.exchange.writer.is_none() {
        return exchange::fault(session, sink, text);
    }
    sink.fault(text);
    sink.abort(CloseReason::new(Cause::HandlerFailed, text));
}

/// Send the head of a response; whether a body may follow it.
pub(crate) fn begin<S: HttpSink>(
    session: &mut Session<S::Payload>,
    sink: &S,
    status: u16,
    mut fields: Fields,
) -> Result<bool, Fault> {
    let Some((writer, is_kept)) = prepare(session, sink, status, &mut fields)? else {
        return Ok(false);
    };
    let has_unread_body = matches!(session.stage, Stage::Body(_));
    let Some(head) = under_way(session) else {
        return Ok(false);
    };
    head.exchange.status = status;
    head.exchange.is_kept = is_kept;
    head.exchange.writer = Some(writer);
    sink.write_parts(&[
        &http::status_line(status),
        fields.lines(),
        writer.head_end(),
    ]);
    sink.count_answer(status);
    sink.response_begun(has_unread_body);
    Ok(writer != BodyWriter::Absent)
}

/// Send a whole response in one piece, with the length of its body. A body that is not what its
/// head says ends the connection.
pub(crate) fn whole<S: HttpSink>(
    session: &mut Session<S::Payload>,
    sink: &S,
    status: u16,
    mut fields: Fields,
    body: Content<'_>,
) -> Result<(), Fault> {
    if !matches!(status, 204 | 304) && !fields.facts().has_length() {
        fields.push(b"Content-Length", body.bytes().len().to_string().as_bytes());
    }
    let Some((mut writer, is_kept)) = prepare(session, sink, status, &mut fields)? else {
        return Ok(());
    };
    let is_kept = is_kept && exchange::may_drop_rest(session);
    let Some(head) = under_way(session) else {
        return Ok(());
    };
    let before = writer;
    let form = writer.piece(body.bytes().len());
    let written = form.and_then(|form| writer.end(&mut Vec::new(), &[]).map(|()| form));
    let form = match written {
        Ok(form) => form,
        Err(wrong) => {
            // As far as anybody can tell, it has begun.
            head.exchange.writer = Some(before);
            return Err(wrong.to_string());
        }
    };
    let exchange = head.exchange;
    let line = http::status_line(status);
    let is_sent = form.is_sent && !body.bytes().is_empty();
    match body {
        Content::Kept(kept) if is_sent => {
            sink.write_parts(&[&line, fields.lines(), before.head_end()]);
            sink.write_kept(kept);
        }
        body => {
            let sent = if is_sent { body.bytes() } else { b"" };
            sink.write_parts(&[&line, fields.lines(), before.head_end(), sent]);
        }
    }
    sink.count_answer(status);
    exchange::go_on(session, sink, exchange, status, is_kept);
    Ok(())
}

/// Check the head of a response, and complete its fields. How its body goes out, and whether the
/// connection is kept behind it; `None` where no response is awaited.
fn prepare<S: HttpSink>(
    session: &mut Session<S::Payload>,
    sink: &S,
    status: u16,
    fields: &mut Fields,
) -> Result<Option<(BodyWriter, bool)>, Fault> {
    let Some(head) = under_way(session) else {
        return Ok(None);
    };
    if head.exchange.writer.is_some() {
        return Err("a response was begun before".to_owned());
    }
    if !(200..=599).contains(&status) {
        return Err(format!(
            "a response has a status from 200 to 599; got {status}"
        ));
    }
    let exchange = head.exchange;
    let asked = Asked {
        is_head: exchange.is_head,
        minor_version: exchange.minor_version,
    };
    let writer = BodyWriter::of(asked, status, fields.facts()).map_err(|it| it.to_string())?;
    // Whether the client will still send a body for which it awaits 100 is not known.
    let is_kept = writer != BodyWriter::UntilClose
        && !exchange.awaits_continue
        && exchange::may_keep(sink, exchange, fields.facts());
    let facts = fields.facts().clone();
    exchange::complete(&facts, None, &sink.date(), is_kept, |name, value| {
        fields.push(name.as_bytes(), value.as_bytes());
    });
    Ok(Some((writer, is_kept)))
}

/// Send a piece of the body.
pub(crate) fn piece<S: HttpSink>(
    session: &mut Session<S::Payload>,
    sink: &S,
    data: &[u8],
) -> Result<(), Fault> {
    let Some(writer) = writer(session)? else {
        return Ok(());
    };
    let form = writer.piece(data.len()).map_err(|it| it.to_string())?;
    if form.is_sent && !data.is_empty() {
        sink.write_parts(&[form.head(), data, form.tail()]);
    }
    Ok(())
}

/// The same without a copy: `kept` holds the bytes until the kernel has them.
pub(crate) fn kept_piece<S: HttpSink>(
    session: &mut Session<S::Payload>,
    sink: &S,
    kept: Rc<dyn KeptBytes>,
) -> Result<(), Fault> {
    let Some(writer) = writer(session)? else {
        return Ok(());
    };
    let form = writer
        .piece(kept.bytes().len())
        .map_err(|it| it.to_string())?;
    if form.is_sent && !kept.bytes().is_empty() {
        sink.write(form.head());
        sink.write_kept(kept);
        sink.write(form.tail());
    }
    Ok(())
}

/// The same from a file, which the kernel copies.
pub(crate) fn file_piece<S: HttpSink>(
    session: &mut Session<S::Payload>,
    sink: &S,
    part: FilePart,
) -> Result<(), Fault> {
    let Some(writer) = writer(session)? else {
        return Ok(());
    };
    let form = writer.piece(part.len()).map_err(|it| it.to_string())?;
    if form.is_sent && !part.is_empty() {
        sink.write(form.head());
        sink.write_file(part);
        sink.write(form.tail());
    }
    Ok(())
}

/// Complete the response.
pub(crate) fn end<S: HttpSink>(
    session: &mut Session<S::Payload>,
    sink: &S,
    trailers: &[(String, String)],
) -> Result<(), Fault> {
    let Some(writer) = writer(session)?.copied() else {
        return Ok(());
    };
    http::check_trailers(trailers).map_err(|it| it.to_string())?;
    let mut bytes = Vec::new();
    writer
        .end(&mut bytes, trailers)
        .map_err(|it| it.to_string())?;
    sink.write(&bytes);
    exchange::complete_answer(session, sink);
    Ok(())
}

/// Send a response that announces the final one. A client of HTTP/1.0 knows none.
pub(crate) fn interim<S: HttpSink>(
    session: &mut Session<S::Payload>,
    sink: &S,
    status: u16,
    headers: &[(String, String)],
) -> Result<(), Fault> {
    let Some(head) = under_way(session) else {
        return Ok(());
    };
    if head.exchange.writer.is_some() {
        return Err("the response was begun before".to_owned());
    }
    if !(102..=199).contains(&status) {
        return Err(format!(
            "a response that announces another has a status from 102 to 199; got {status}"
        ));
    }
    let mut bytes = Vec::with_capacity(128);
    http::append_interim(&mut bytes, status, headers).map_err(|it| it.to_string())?;
    if head.exchange.minor_version > 0 {
        sink.write(&bytes);
    }
    Ok(())
}

/// The writer of the current response; an error where it has not begun.
fn writer<P>(session: &mut Session<P>) -> Result<Option<&mut BodyWriter>, Fault> {
    let Some(head) = under_way(session) else {
        return Ok(None);
    };
    match &mut head.exchange.writer {
        Some(writer) => Ok(Some(writer)),
        None => Err("the response was not begun".to_owned()),
    }
}
