//! The receiving half of a connection: its session, and the bytes that wait for it.

use crate::options::Framing;
use crate::payload::Payload;
use crate::session::http::{Head, Opening};
use crate::session::{Session, Stage};

/// The receiving half of a connection.
pub struct Inbound<P> {
    pub(crate) session: Session<P>,
    /// Bytes that wait to be parsed. Boxed, because most connections have none; never empty.
    #[allow(clippy::box_collection)]
    pub(crate) held: Option<Box<Vec<u8>>>,
}

impl<P: Payload> Inbound<P> {
    fn new(stage: Stage) -> Self {
        Self {
            session: Session::new(stage),
            held: None,
        }
    }

    pub(crate) fn for_server(framing: &Framing) -> Self {
        Self::new(match framing {
            Framing::WebSocket | Framing::Http => Stage::Head(Box::default()),
            framing => Stage::of_stream(framing),
        })
    }

    pub(crate) fn for_client(opening: Opening) -> Self {
        Self::new(match opening {
            Opening {
                tunnel: None,
                handshake: None,
            } => Stage::Discard,
            opening => Stage::Head(Box::new(Head::client(opening))),
        })
    }

    /// Whether an HTTP response is awaited before anything else.
    pub(crate) fn awaits_head(&self) -> bool {
        matches!(self.session.stage, Stage::Head(_))
    }

    pub(crate) fn discarding() -> Self {
        Self::new(Stage::Discard)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::discarding();
    }

    pub(crate) fn buffer_bytes(&self) -> usize {
        let held = self.held.as_ref().map_or(0, |held| held.capacity());
        held + self.session.buffer_bytes()
    }

    /// What was put aside; nothing is left.
    pub(crate) fn take_held(&mut self) -> Vec<u8> {
        self.held.take().map_or_else(Vec::new, |held| *held)
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.len())
    }
}
