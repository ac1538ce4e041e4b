//! permessage-deflate, RFC 7692: messages compressed with DEFLATE (RFC 1951), one by one.
//!
//! The handshake settles four parameters ([`Offer`], [`Parameters`]); from then on a data message
//! whose first frame has RSV1 set is compressed, and any other is not.
//!
//! What a message is on the wire is what a compressor gives for it at a sync flush, less the four
//! bytes `00 00 ff ff` that every sync flush ends with. Anyone who receives it puts them back.
//!
//! | | who keeps it | bytes |
//! |---|---|---|
//! | [`Compressor`] | a connection, with context takeover; else a pool | [`Shape::memory_bytes`] |
//! | [`Inflater`] | a pool, and a connection only within a message | about 41 KiB |
//! | [`History`] | a connection whose peer takes its context over | what came, at most the window |
//!
//! **Decompressing.** A decompressor's memory is its window, and a library's own decompressor holds
//! 32 KiB of it all the time, no matter what was agreed on. So it is not kept:
//! between messages a connection has a [`History`], which is as long as what has arrived and never
//! longer than the agreed window, and each message begins with a fresh state that is given the
//! history as its dictionary. That costs the copying of the history, a microsecond at 32 KiB. It
//! makes two more things right. A message may end with a block that calls itself the last
//! (BFINAL), after which a decompressor has to be begun again with its window kept. And a reference
//! from the beginning of a message to further back than the agreed window is refused, instead of
//! read from memory that the peer was asked not to rely on.
//!
//! **Sizes.** A megabyte comes out of a kilobyte, and nothing on the wire says how much will come.
//! [`Inflater::inflate`] therefore fills what room it is given and stops; the bound on a message is
//! for anyone who gives the room.
//!
//! **Windows of 256 bytes.** No current DEFLATE library compresses with a window of 8 bits. Eight
//! is answered with a compressor of nine: it looks back by its window less 262 bytes, so by 250 at
//! most, and keeps the promise.
//!
//! **Errors.** RFC 7692 does not say with what code a connection fails whose data cannot be
//! inflated. 1007 is what RFC 6455 section 7.4.1 has for content that contradicts its type, and
//! what others send.

mod compressor;
mod history;
mod inflater;
mod negotiation;

pub use compressor::{Compressor, Shape};
pub use history::History;
pub use inflater::{Corrupt, Inflater};
pub use negotiation::{
    ClientWindow, Direction, Fault, NAME, Offer, Parameters, Settings, accept, check,
};

/// What each sync flush ends with, and no message carries: an empty block without compression,
/// behind its three bits of header (section 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The bits of the largest window: 32 KiB.
pub const WINDOW_BITS_MAX: u8 = 15;
/// The bits of the smallest window that can be agreed on: 256 bytes.
pub const WINDOW_BITS_MIN: u8 = 8;
