//! What connections borrow: compressors without a context, inflaters, buffers.

use vespiary_wire::websocket::deflate::{Compressor, Inflater, Shape};
use vespiary_wire::websocket::frame::Kind;

/// How many idle compressors are kept: one for each shape that is in use is needed, and an engine
/// has a handful of endpoints. At most 4.4 MiB.
const COMPRESSORS_KEPT: usize = 12;
/// How many idle inflaters are kept: one is needed, and one more for each connection within a
/// message. At most 656 KiB.
const MESSAGES_KEPT: usize = 16;
/// The most of a message that is inflated in one step.
pub(super) const ROOM: usize = 64 << 10;
/// The largest buffer that is kept.
const BUFFER_KEPT: usize = 1 << 20;

/// A compressed message that has not come whole, or is not inflated yet.
pub(super) struct Inflating {
    pub(super) inflater: Inflater,
    /// Bytes that came out.
    pub(super) inflated: u64,
    /// A byte of it has come.
    pub(super) has_input: bool,
    /// What has come and waits, unmasked, because the connection was blocked in its midst; and
    /// whether it ends the message.
    pub(super) waiting: Option<(Vec<u8>, bool)>,
    /// The kind of the message, while something waits.
    pub(super) kind: Kind,
}

/// An engine's idle compressors and buffers.
#[derive(Default)]
pub(crate) struct Pool {
    compressors: Vec<Compressor>,
    // They go to a connection and come back as they are.
    #[allow(clippy::vec_box)]
    messages: Vec<Box<Inflating>>,
    buffers: Vec<Vec<u8>>,
    room: Vec<u8>,
}

impl Pool {
    /// A compressor with an empty window.
    pub(crate) fn take_compressor(&mut self, shape: Shape) -> Compressor {
        let found = self.compressors.iter().rposition(|it| it.shape() == shape);
        let Some(index) = found else {
            return Compressor::new(shape);
        };
        let mut compressor = self.compressors.swap_remove(index);
        compressor.reset();
        compressor
    }

    pub(crate) fn put_compressor(&mut self, compressor: Compressor) {
        if self.compressors.len() == COMPRESSORS_KEPT {
            // The one that has waited longest, or nearly so.
            self.compressors.swap_remove(0);
        }
        self.compressors.push(compressor);
    }

    pub(super) fn take_message(&mut self) -> Box<Inflating> {
        self.messages.pop().unwrap_or_else(|| {
            Box::new(Inflating {
                inflater: Inflater::default(),
                inflated: 0,
                has_input: false,
                waiting: None,
                kind: Kind::Binary,
            })
        })
    }

    pub(super) fn put_message(&mut self, message: Box<Inflating>) {
        if self.messages.len() < MESSAGES_KEPT {
            self.messages.push(message);
        }
    }

    /// An empty buffer.
    pub(crate) fn take_buffer(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_default()
    }

    pub(crate) fn put_buffer(&mut self, mut buffer: Vec<u8>) {
        if self.buffers.len() < 2 && buffer.capacity() <= BUFFER_KEPT {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }

    /// [`ROOM`] bytes to inflate into.
    pub(super) fn take_room(&mut self) -> Vec<u8> {
        let mut room = std::mem::take(&mut self.room);
        room.resize(ROOM, 0);
        room
    }

    pub(super) fn put_room(&mut self, room: Vec<u8>) {
        self.room = room;
    }
}
