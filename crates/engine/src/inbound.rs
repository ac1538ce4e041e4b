//! The receiving half of a connection: its session, and the bytes that wait for it.

use crate::close::CloseReason;
use crate::memory;
use crate::options::Framing;
use crate::payload::Payload;
use crate::session::http::{Head, Opening};
use crate::session::{Session, Stage};

/// Bytes that wait. They are taken from the front in pieces of any size, at a cost that is linear
/// in the bytes: the rest moves only when at least as much was taken before it.
#[derive(Default)]
pub(crate) struct Held {
    bytes: Vec<u8>,
    taken: usize,
    #[cfg(test)]
    moved: usize,
}

impl Held {
    pub(crate) fn extend(&mut self, bytes: &[u8]) -> Result<(), CloseReason> {
        memory::extend(&mut self.bytes, bytes)
    }

    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    pub(crate) fn take(&mut self, count: usize) {
        self.taken += count;
        let rest = self.bytes.len() - self.taken;
        if self.taken >= rest {
            #[cfg(test)]
            {
                self.moved += rest;
            }
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
    }

    fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.drain(..self.taken);
        self.bytes
    }
}

/// The receiving half of a connection.
pub struct Inbound<P> {
    pub(crate) session: Session<P>,
    /// Bytes that wait to be parsed. Boxed, because most connections have none; never empty.
    pub(crate) held: Option<Box<Held>>,
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

    /// Whether a proxy is to open a tunnel first.
    pub(crate) fn awaits_tunnel(&self) -> bool {
        matches!(&self.session.stage, Stage::Head(head) if head.awaits_tunnel())
    }

    pub(crate) fn discarding() -> Self {
        Self::new(Stage::Discard)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::discarding();
    }

    pub(crate) fn buffer_bytes(&self) -> usize {
        let held = self.held.as_ref().map_or(0, |held| held.bytes.capacity());
        held + self.session.buffer_bytes()
    }

    /// What was put aside; nothing is left.
    pub(crate) fn take_held(&mut self) -> Vec<u8> {
        self.held
            .take()
            .map_or_else(Vec::new, |held| held.into_bytes())
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.rest().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taking_held_bytes_one_by_one_moves_each_a_bounded_number_of_times() {
        const SIZE: usize = 256 << 10;
        let mut held = Held::default();
        let bytes: Vec<u8> = (0..SIZE).map(|place| place as u8).collect();
        assert!(held.extend(&bytes).is_ok());
        for place in 0..SIZE {
            assert_eq!(held.rest()[0], place as u8);
            held.take(1);
        }
        assert!(held.rest().is_empty());
        assert!(held.moved <= SIZE, "{} bytes were moved", held.moved);
    }

    #[test]
    fn bytes_that_come_while_others_are_taken_stay_in_order() {
        let mut held = Held::default();
        for round in 0..50_u8 {
            assert!(held.extend(&[2 * round, 2 * round + 1]).is_ok());
            assert_eq!(held.rest()[0], round);
            held.take(1);
        }
        assert_eq!(held.into_bytes(), (50..100).collect::<Vec<u8>>());
    }
}
