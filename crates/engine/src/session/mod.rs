//! Sessions: bytes to messages and back, for each framing.
//!
//! A [`Session`] is the receiving half of a connection's protocol. [`Session::feed`] takes input
//! and reports what it finds to a [`Sink`](sink::Sink); the other direction is [`wire_form`], which
//! gives a message its form on the wire. Neither knows sockets, timers or write queues.
//!
//! The form is not a method of the session. A handler replies while `feed` borrows the session, and
//! a message is encoded once for many subscribers, each of which has its own session; the form
//! depends on the endpoint's framing and not on what was received.
//!
//! Bytes are parsed where they lie. A message's payload is written once, into what the host hands
//! to its handler, and unmasked on the way.

pub(crate) mod assembly;
pub(crate) mod http;
pub(crate) mod length;
pub(crate) mod line;
pub(crate) mod raw;
pub(crate) mod sink;
pub(crate) mod websocket;
pub(crate) mod wire_form;

#[cfg(test)]
mod tests;

use crate::close::{Cause, CloseReason, out_of_memory};
use crate::limit::Limit;
use crate::options::Framing;
use crate::payload::Payload;
use assembly::Assembly;
use http::Head;
use http::body::Body;
use sink::{HttpSink, Outcome, Sink};
use vespiary_trace::requires;
use vespiary_wire::framing::length::LengthDecoder;
use vespiary_wire::framing::line::LineDecoder;
use vespiary_wire::websocket::decoder::Decoder;

/// How the next bytes are to be read.
pub(crate) enum Stage {
    /// An HTTP head.
    Head(Box<Head>),
    /// The body of an HTTP request.
    Body(Box<Body>),
    /// The host's answer to a request is awaited; bytes wait.
    Waiting(Box<Head>),
    Raw,
    Line(LineDecoder),
    Length(LengthDecoder),
    WebSocket(Decoder),
    /// Read and thrown away.
    Discard,
}

/// The receiving half of a connection's protocol.
pub(crate) struct Session<P> {
    pub(crate) stage: Stage,
    /// The message in progress, where it did not come whole.
    pub(crate) assembly: Option<Box<Assembly<P>>>,
}

impl<P: Payload> Session<P> {
    pub(crate) fn new(stage: Stage) -> Self {
        Self {
            stage,
            assembly: None,
        }
    }

    /// Take `rest`, and report what is in it, until it is used up, must wait, or the connection
    /// ends. An error is final.
    #[inline]
    pub(crate) fn feed<S>(&mut self, sink: &S, rest: &mut &[u8]) -> Outcome
    where
        S: HttpSink<Payload = P>,
    {
        while !rest.is_empty() {
            if sink.is_aborted() {
                *rest = &[];
                return Ok(());
            }
            match &mut self.stage {
                Stage::WebSocket(_) => {
                    requires!("rfc6455/6.2/1");
                    return websocket::feed(self, sink, rest);
                }
                Stage::Waiting(_) => return Ok(()),
                Stage::Head(_) | Stage::Body(_) if sink.is_blocked() => return Ok(()),
                Stage::Head(_) | Stage::Body(_) => {
                    http::feed(self, sink, rest)?;
                    if http::takes_turns(self) {
                        return Ok(());
                    }
                }
                Stage::Raw => return raw::feed(sink, rest),
                Stage::Line(decoder) => return line::feed(decoder, sink, rest),
                Stage::Length(_) => return length::feed(self, sink, rest),
                Stage::Discard => *rest = &[],
            }
        }
        Ok(())
    }

    /// Bytes of memory that it holds besides itself.
    pub(crate) fn buffer_bytes(&self) -> usize {
        let stage = match &self.stage {
            Stage::Head(head) | Stage::Waiting(head) => head.buffer_bytes(),
            Stage::Body(body) => body.buffer_bytes(),
            _ => 0,
        };
        stage + self.assembly.as_ref().map_or(0, |it| it.buffer_bytes())
    }

    /// Whether a message has begun and not ended.
    #[inline]
    pub(crate) fn is_mid_message(&self) -> bool {
        self.assembly.is_some()
            || match &self.stage {
                Stage::Line(decoder) => decoder.mid_line(),
                Stage::Length(decoder) => decoder.mid_message(),
                Stage::WebSocket(decoder) => decoder.mid_frame() || decoder.in_message(),
                _ => false,
            }
    }
}

impl Stage {
    /// The first stage of a framing that begins with messages.
    pub(crate) fn of_stream(framing: &Framing) -> Self {
        match framing {
            Framing::Line { .. } => Self::Line(LineDecoder::new()),
            Framing::Length(_) => Self::Length(LengthDecoder::new()),
            Framing::Raw | Framing::WebSocket | Framing::Http | Framing::Datagram => Self::Raw,
        }
    }
}

/// A payload with a copy of `bytes`.
pub(crate) fn copied<P: Payload>(bytes: &[u8]) -> Result<P, CloseReason> {
    let mut payload = P::with_length(bytes.len()).ok_or_else(out_of_memory)?;
    payload.bytes_mut().copy_from_slice(bytes);
    Ok(payload)
}

/// A message of a stream is longer than the endpoint takes.
#[cold]
fn too_big<S: Sink>(sink: &S, text: String) -> CloseReason {
    sink.limit_reached(Limit::MessageBytes);
    CloseReason::new(Cause::Limit(Limit::MessageBytes), text)
}
