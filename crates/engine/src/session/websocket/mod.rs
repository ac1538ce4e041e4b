//! WebSocket: frames to messages, control frames answered, the close handshake.

pub(crate) mod compression;
mod control;
mod messages;

use super::Session;
use super::Stage;
use super::sink::{HttpSink, Outcome, Sink};
use crate::close::{Cause, CloseReason};
use crate::limit::Limit;
use crate::payload::Payload;
use compression::Deflate;
use std::cell::{Cell, OnceCell};
use vespiary_trace::requires;
use vespiary_wire::websocket::ProtocolError;
use vespiary_wire::websocket::decoder::{Decoder, Event, Role};
use vespiary_wire::websocket::handshake::Agreed;
use vespiary_wire::websocket::profile::{InvalidText, Profile, Version};

/// What the opening handshake agreed on.
#[derive(Default)]
pub(crate) struct Negotiated {
    /// The version of the protocol, once the handshake names it.
    pub(crate) version: Cell<Option<Version>>,
    /// The subprotocol that was chosen. Boxed twice: one word in connections without one.
    pub(crate) protocol: OnceCell<Box<Box<str>>>,
    /// Present where compression was agreed on.
    pub(crate) deflate: OnceCell<Box<Deflate>>,
}

impl Negotiated {
    /// The rules of the version.
    pub(crate) fn profile(&self) -> &'static Profile {
        self.version.get().unwrap_or_default().profile()
    }
}

/// Which end of a WebSocket this is.
#[inline]
pub(crate) fn role(is_client: bool) -> Role {
    if is_client {
        Role::Client
    } else {
        Role::Server
    }
}

/// Whether invalid UTF-8 in a text is replaced (U+FFFD) and not refused.
#[cold]
fn replaces_text<S: Sink>(sink: &S) -> bool {
    let role = role(sink.is_client());
    let treatment = sink.negotiated().profile().invalid_text(role);
    requires!("hybi09/8.1/1" => treatment == InvalidText::Replaced)
}

/// Both sides agree: from here on there are frames.
pub(crate) fn begin<S: HttpSink>(session: &mut Session<S::Payload>, sink: &S, agreed: Agreed) {
    let negotiated = sink.negotiated();
    if let Some(protocol) = agreed.protocol {
        let _ = negotiated.protocol.set(Box::new(protocol.into_boxed_str()));
    }
    let version = negotiated.version.get().unwrap_or_default();
    let mut decoder = Decoder::new(role(sink.is_client()), version);
    requires!("rfc7692/5/13");
    compression::agree(sink, agreed.deflate);
    if negotiated.deflate.get().is_some() {
        decoder = decoder.with_compression();
    }
    if requires!("hybi09/9.2.1/1" => agreed.deflate_stream) {
        sink.begin_deflate_stream();
    }
    session.stage = Stage::WebSocket(decoder);
    sink.opened();
}

/// Parse frames until the input is used up, must wait, or the connection ends.
#[inline]
pub(crate) fn feed<S: Sink>(
    session: &mut Session<S::Payload>,
    sink: &S,
    rest: &mut &[u8],
) -> Outcome {
    let options = sink.options();
    let limits = options.limits.decoder();
    let Stage::WebSocket(decoder) = &mut session.stage else {
        unreachable!("the caller matched")
    };
    while !rest.is_empty() && !sink.is_blocked() {
        let is_over = requires!("rfc6455/7.1.7/5" => sink.is_close_received());
        if is_over || sink.is_aborted() {
            *rest = &[];
            break;
        }
        match decoder.next(rest, &limits) {
            Ok(Some(Event::Data(data))) => {
                if sink.may_deliver() {
                    messages::on_data(&mut session.assembly, sink, &options, &data)?;
                }
            }
            Ok(Some(Event::Control(control))) => control::on_control(sink, &control)?,
            Ok(None) => break,
            Err(error) => {
                requires!("rfc6455/10.7/1");
                return Err(broken(sink, &error));
            }
        }
        sink.charge(1);
    }
    Ok(())
}

#[cold]
fn broken<S: Sink>(sink: &S, error: &ProtocolError) -> CloseReason {
    let limit = error.limit.map(Limit::from);
    let mut text = error.to_string();
    if let Some(limit) = limit {
        sink.limit_reached(limit);
        let value = sink.options().value_of(limit);
        text = format!("{text}: {limit} is {value}");
    }
    let cause = limit.map_or(Cause::ProtocolError, Cause::Limit);
    let reason = CloseReason::new(cause, text);
    requires!(
        "rfc6455/5.1/3",
        "rfc6455/5.1/6",
        "rfc6455/7.4.1/h2",
        "rfc6455/7.4.1/h5"
    );
    reason.with_code(error.code)
}

/// The message in progress, where it did not come whole.
type Assembling<P> = Option<Box<super::assembly::Assembly<P>>>;

fn with_room<P: Payload>(length: usize) -> Result<P, CloseReason> {
    P::with_length(length).ok_or_else(crate::close::out_of_memory)
}
