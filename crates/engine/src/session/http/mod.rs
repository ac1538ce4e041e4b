//! HTTP/1.1 at a connection's start: a head is read, answered, and upgraded or followed by the
//! next.
//!
//! A server ([`request`]) reads a request and its [`body`], asks the host, and answers 101 or what
//! the host says, whole ([`exchange`]) or piece by piece ([`streaming`]); anything malformed is
//! answered with its status before the host sees it. A client
//! ([`client`]) sends its request and checks the response.

pub(crate) mod body;
pub(crate) mod client;
pub(crate) mod exchange;
mod refused;
pub(crate) mod request;
pub(crate) mod streaming;
mod tunnel;

use super::sink::{HttpSink, Outcome};
use super::{Session, Stage};
use client::ClientHead;
use exchange::Exchange;
use std::borrow::Cow;
use std::rc::Rc;
use vespiary_port::{FilePart, KeptBytes};
use vespiary_wire::http::{Fields, Refusal, RequestReader};
use vespiary_wire::websocket::handshake::Upgrade;

pub use client::{ClientHandshake, Opening};
pub use tunnel::Tunnel;

/// A host's answer to an HTTP request.
#[derive(Debug)]
pub enum Answer {
    /// Upgrade to WebSocket (`WebSocket` framing, an upgrade request), with a subprotocol and
    /// further headers.
    Accept {
        /// The subprotocol chosen from those offered. `None` leaves the choice to the endpoint's
        /// options; an empty one chooses none.
        protocol: Option<String>,
        /// Headers added to the 101 response.
        headers: Vec<(String, String)>,
    },
    /// A response. The connection is kept for the next request where HTTP allows it.
    Respond {
        /// The status code.
        status: u16,
        /// Headers; `Content-Length`, `Date` and `Connection` are added.
        headers: Vec<(String, String)>,
        /// The body.
        body: Vec<u8>,
    },
    /// The answer follows by `answer`, or is begun by `begin_response`, within the handshake's
    /// deadline.
    Later,
}

/// The body of a response that is there as a whole.
pub enum Content<'a> {
    /// Bytes, which are copied.
    Bytes(Cow<'a, [u8]>),
    /// Bytes whose owner keeps them until the kernel has them.
    Kept(Rc<dyn KeptBytes>),
}

impl Content<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Kept(kept) => kept.bytes(),
        }
    }

    pub(crate) fn into_owned(self) -> Content<'static> {
        match self {
            Self::Bytes(bytes) => Content::Bytes(Cow::Owned(bytes.into_owned())),
            Self::Kept(kept) => Content::Kept(kept),
        }
    }
}

/// A step of an answer that comes piece by piece, put off until the round is settled.
pub(crate) enum Step {
    Begin {
        status: u16,
        fields: Fields,
    },
    Whole {
        status: u16,
        fields: Fields,
        body: Content<'static>,
    },
    Piece(Vec<u8>),
    KeptPiece(Rc<dyn KeptBytes>),
    FilePiece(FilePart),
    End {
        trailers: Vec<(String, String)>,
    },
    Interim {
        status: u16,
        headers: Vec<(String, String)>,
    },
    Continue,
}

/// What the host gave for a connection, until the round is settled.
pub(crate) enum Given {
    Answer(Answer),
    Step(Step),
}

impl Given {
    /// Bytes of a body that wait.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Step(Step::Piece(data)) => data.len(),
            Self::Step(Step::Whole { body, .. }) => body.bytes().len(),
            Self::Step(Step::KeptPiece(kept)) => kept.bytes().len(),
            Self::Step(Step::FilePiece(part)) => part.len(),
            _ => 0,
        }
    }
}

/// A head that is being received, and what must be remembered until it is answered.
#[derive(Default)]
pub(crate) struct Head {
    buffer: Vec<u8>,
    reader: RequestReader,
    client: Option<Box<ClientHead>>,
    exchange: Exchange,
    /// An application was called, and has answered, for the request before this one.
    was_called: bool,
    // Boxed, because most heads have none, and a connection that waits for its next request has a
    // head.
    upgrade: Option<Box<Upgrade>>,
    unserved: Option<Box<Refusal>>,
}

impl Head {
    pub(crate) fn buffer_bytes(&self) -> usize {
        size_of::<Self>() + self.buffer.capacity()
    }

    /// Whether a proxy is to open a tunnel first.
    pub(crate) fn awaits_tunnel(&self) -> bool {
        self.client.as_ref().is_some_and(|it| it.tunnel.is_some())
    }

    /// Become the head of another exchange, in place: there is one for each request, and one for
    /// each answer.
    fn follow(&mut self, exchange: Exchange) {
        *self = Self {
            exchange,
            ..Self::default()
        };
    }

    pub(crate) fn client(opening: Opening) -> Self {
        Self {
            client: Some(Box::new(ClientHead::new(opening))),
            ..Self::default()
        }
    }
}

/// Whether the next request has to wait for its turn: an application's call may take long, and
/// other connections are served between two of them.
pub(crate) fn takes_turns<P>(session: &mut Session<P>) -> bool {
    match &mut session.stage {
        Stage::Head(head) => std::mem::take(&mut head.was_called),
        _ => false,
    }
}

/// Read on in a head, or in the body behind it; what follows stays in `rest`.
pub(crate) fn feed<S: HttpSink>(
    session: &mut Session<S::Payload>,
    sink: &S,
    rest: &mut &[u8],
) -> Outcome {
    match &session.stage {
        Stage::Head(head) if head.client.is_some() => client::read_response(session, sink, rest),
        Stage::Head(_) => request::read(session, sink, rest),
        _ => body::read(session, sink, rest),
    }
}
