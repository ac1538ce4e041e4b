//! Frames as they are read, and the rules of RFC 6455 section 5.
//!
//! The decoder is fed with the bytes that the socket gave, and cuts them into events that borrow
//! from that input. It copies no payload of a message: a chunk comes out still masked, with the key
//! turned so that `payload[0]` pairs with `key[0]`, because anyone who stores the message has to
//! copy it once anyway and can unmask on the way. Control frames are at most 125 bytes, so they
//! come out whole, unmasked and by value.
//!
//! Between two calls the decoder is in one of three states:
//!
//! | state | holds | leaves when |
//! |---|---|---|
//! | at a head | up to 13 bytes of a head that was cut | the head is whole |
//! | in a data frame | how much is to come, the turned key | no byte is to come |
//! | in a control frame | a boxed, partly filled `Control` | it is filled |
//!
//! A head is checked byte by byte: the first byte is refused as soon as it is there, however long
//! the rest keeps us waiting, and a length over the limit is refused before one byte of its
//! payload. The boxed control frame exists only when a ping was cut by the end of the input, so
//! that an idle connection pays 56 bytes and no more.
//!
//! Nearly every message of nearly every connection is one frame of less than 64 KiB that arrived
//! whole. [`Decoder::next`] recognizes that case by its first bytes and answers it from the input
//! alone, without touching its own state; everything else takes the general path,
//! which also words the errors.
//!
//! HyBi-09 wants frames with reserved opcodes ignored (see [`super::profile`]): their payload is
//! skipped, even within a message, together with the fragments of a message that such a frame
//! began. They obey the limit on frames and the rules for control frames nevertheless.
//!
//! An error leaves the decoder where it was: asked again, it gives the same error again.

use super::ProtocolError;
use super::close::Code;
use super::control::PartialControl;
use super::frame::{HEAD_BYTES_MAX, Kind, Opcode};
use super::head::{Head, UnderWay, read_head};
use super::profile::Version;
use crate::Limit;
use crate::mask;
use vespiary_trace::requires;

pub use super::control::Control;

/// What a receiver takes at most. Zero means zero; for no limit give the type's maximum.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of payload in one data frame.
    pub frame_bytes_max: u64,
    /// Bytes of payload in one message, all its fragments together.
    pub message_bytes_max: u64,
    /// Fragments of one message that comes in several frames. Zero refuses fragmented messages.
    pub fragments_max: u32,
}

/// Which side of the connection receives.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Role {
    /// Receives from a client: frames must be masked.
    Server,
    /// Receives from a server: frames must not be masked.
    Client,
}

/// What was found in the input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// A part of a message, or the whole of it.
    Data(Data<'a>),
    /// A whole control frame.
    Control(Control),
}

/// A run of payload bytes of one data frame: as much of the frame as the input holds.
///
/// A frame that lies wholly in the input gives one. An empty frame gives one with no bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(clippy::struct_excessive_bools)] // Four independent facts, each read by its name.
pub struct Data<'a> {
    /// The kind of the message.
    pub kind: Kind,
    /// This is the first run of the message.
    pub message_start: bool,
    /// This is the first run of its frame.
    pub frame_start: bool,
    /// This is the last run of the message.
    pub message_end: bool,
    /// The message is compressed: its first frame has RSV1 set.
    pub compressed: bool,
    /// The bytes as they came: still masked, where the frame was masked.
    pub payload: &'a [u8],
    /// The masking key, turned so that `key[0]` belongs to `payload[0]`; zeros for an unmasked
    /// frame.
    pub key: [u8; 4],
    /// Bytes of this frame that are still to come after this run.
    pub frame_remaining: u64,
    /// The frame is the last of its message.
    pub fin: bool,
}

/// Cuts a stream of bytes into events. One for each connection and direction.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // Independent facts, a byte each.
pub struct Decoder {
    /// Bytes of the current data frame still to come; zero when none is open.
    remaining: u64,
    /// Announced bytes of the current message, the current frame included.
    message_bytes: u64,
    /// The control frame that the end of the input cut.
    control: Option<Box<PartialControl>>,
    fragments: u32,
    /// The key of the current data frame, turned by what is already out.
    key: [u8; 4],
    head: [u8; HEAD_BYTES_MAX],
    head_length: u8,
    role: Role,
    version: Version,
    /// What has begun and not ended.
    under_way: UnderWay,
    /// The current frame is skipped.
    skipping: bool,
    /// permessage-deflate was agreed on.
    compression: bool,
    /// The current message is compressed.
    compressed: bool,
    /// The current data frame is the last of its message.
    fin: bool,
    /// No byte of the current data frame is out yet, or of its message.
    frame_start: bool,
    message_start: bool,
}

impl Decoder {
    /// A decoder at the start of the stream of frames, right behind the handshake.
    pub fn new(role: Role, version: Version) -> Self {
        Self {
            remaining: 0,
            message_bytes: 0,
            control: None,
            fragments: 0,
            key: [0; 4],
            head: [0; HEAD_BYTES_MAX],
            head_length: 0,
            role,
            version,
            under_way: UnderWay::Nothing,
            skipping: false,
            compression: false,
            compressed: false,
            fin: false,
            frame_start: false,
            message_start: false,
        }
    }

    /// The same with permessage-deflate agreed on: the first frame of a message may have RSV1 set.
    #[must_use]
    pub fn with_compression(self) -> Self {
        Self {
            compression: true,
            ..self
        }
    }

    /// Whether a message has begun and its last byte is not out yet.
    #[inline]
    pub fn in_message(&self) -> bool {
        self.under_way != UnderWay::Nothing
    }

    /// Whether the input ended within a frame, its head included.
    #[inline]
    pub fn mid_frame(&self) -> bool {
        self.remaining > 0 || self.head_length > 0 || self.control.is_some()
    }

    /// Takes the next event off the front of `input`, which then begins behind it.
    ///
    /// `None` means that all of the input is taken and more is needed. An error is final.
    #[inline]
    pub fn next<'a>(
        &mut self,
        input: &mut &'a [u8],
        limits: &Limits,
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        let between_messages =
            self.under_way == UnderWay::Nothing && self.head_length == 0 && self.control.is_none();
        if between_messages && let Some((data, rest)) = whole_message(input, self.role, limits) {
            *input = rest;
            return Ok(Some(Event::Data(data)));
        }
        self.next_in_general(input, limits)
    }

    #[inline(never)]
    fn next_in_general<'a>(
        &mut self,
        input: &mut &'a [u8],
        limits: &Limits,
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        loop {
            if self.remaining > 0 && input.is_empty() {
                return Ok(None);
            }
            if self.skipping {
                self.skip(input);
            } else if self.remaining > 0 {
                return Ok(Some(self.take_data(input)));
            } else if self.control.is_some() {
                return Ok(self.fill_control(input));
            } else {
                let head = self.take_head(input, limits);
                let reworded = |error| self.version.profile().reword(error);
                let Some(head) = head.map_err(reworded)? else {
                    return Ok(None);
                };
                if let Some(opcode) = head.opcode {
                    return Ok(self.enter(opcode, &head, input));
                }
                self.enter_ignored(&head);
            }
        }
    }

    /// Takes a whole head off the front of `input`, which may begin within it. A cut one is kept.
    fn take_head(
        &mut self,
        input: &mut &[u8],
        limits: &Limits,
    ) -> Result<Option<Head>, ProtocolError> {
        if self.head_length == 0 {
            if let Some(head) = self.read_head(input)? {
                self.check_limits(&head, limits)?;
                *input = &input[head.size..];
                return Ok(Some(head));
            }
            self.head[..input.len()].copy_from_slice(input);
            self.head_length = input.len() as u8;
            *input = &[];
            return Ok(None);
        }
        loop {
            let held = usize::from(self.head_length);
            if let Some(head) = self.read_head(&self.head[..held])? {
                self.check_limits(&head, limits)?;
                self.head_length = 0;
                return Ok(Some(head));
            }
            let Some((byte, rest)) = input.split_first() else {
                return Ok(None);
            };
            self.head[held] = *byte;
            self.head_length += 1;
            *input = rest;
        }
    }

    #[inline]
    fn read_head(&self, bytes: &[u8]) -> Result<Option<Head>, ProtocolError> {
        let (role, version) = (self.role, self.version);
        read_head(bytes, role, version, self.under_way, self.compression)
    }

    /// Refuses at its head a data frame that is too large, or one too many of its message.
    #[inline]
    fn check_limits(&self, head: &Head, limits: &Limits) -> Result<(), ProtocolError> {
        if head.opcode.is_some_and(Opcode::is_control) {
            return Ok(());
        }
        if requires!("rfc6455/10.4/1", "rfc6455/10.4/2" => head.length > limits.frame_bytes_max) {
            return Err(too_big(
                Limit::FrameBytes,
                "a frame is larger than this endpoint accepts",
            ));
        }
        if head.opcode.is_none() {
            return Ok(());
        }
        let before = if self.in_message() {
            self.message_bytes
        } else {
            0
        };
        // What a message inflates to is for its receiver to bound. On the wire it may take more:
        // what cannot be compressed grows a little, and what was flushed in small pieces a lot.
        let message_bytes_max = if head.compressed || self.in_message() && self.compressed {
            let doubled = limits.message_bytes_max.saturating_mul(2);
            doubled.saturating_add(1024)
        } else {
            limits.message_bytes_max
        };
        let left = message_bytes_max.saturating_sub(before);
        if requires!("rfc6455/10.4/1", "rfc6455/10.4/2" => head.length > left) {
            return Err(too_big(
                Limit::MessageBytes,
                "a message is larger than this endpoint accepts",
            ));
        }
        let fragmented = self.in_message() || !head.fin;
        let fragments = if self.in_message() { self.fragments } else { 0 };
        if requires!("rfc6455/10.4/1" => fragmented && fragments >= limits.fragments_max) {
            return Err(too_big(
                Limit::Fragments,
                "a message has more fragments than this endpoint accepts",
            ));
        }
        Ok(())
    }

    /// Begins the frame whose head was just taken off the input.
    #[inline]
    fn enter<'a>(
        &mut self,
        opcode: Opcode,
        head: &Head,
        input: &mut &'a [u8],
    ) -> Option<Event<'a>> {
        let is_control = opcode.is_control();
        if requires!(
            "rfc6455/5.4/1", "rfc6455/5.4/5", "rfc6455/5.5/h1", "rfc6455/6.2/2" => is_control
        ) {
            return self.enter_control(opcode, head, input);
        }
        match opcode {
            Opcode::Text => {
                requires!("rfc6455/6.2/3");
                self.begin_message(Kind::Text, head.compressed);
            }
            Opcode::Binary => self.begin_message(Kind::Binary, head.compressed),
            _ => {}
        }
        // At most the limit, which was just checked.
        self.message_bytes = self.message_bytes.saturating_add(head.length);
        self.fragments = self.fragments.saturating_add(1);
        self.remaining = head.length;
        self.key = head.key;
        self.fin = head.fin;
        self.frame_start = true;
        if input.is_empty() && head.length > 0 {
            return None;
        }
        Some(self.take_data(input))
    }

    #[inline]
    fn begin_message(&mut self, kind: Kind, compressed: bool) {
        self.under_way = UnderWay::Message(kind);
        self.compressed = compressed;
        self.message_start = true;
        self.message_bytes = 0;
        self.fragments = 0;
    }

    /// Begins a frame that is skipped. Within a message it leaves the message as it was.
    fn enter_ignored(&mut self, head: &Head) {
        self.skipping = true;
        self.remaining = head.length;
        if self.under_way == UnderWay::Nothing {
            self.under_way = UnderWay::Ignored;
            self.fin = head.fin;
        } else if head.continues {
            self.fin = head.fin;
        }
    }

    /// Passes over as much of the current frame as the input holds.
    fn skip(&mut self, input: &mut &[u8]) {
        let length = self.remaining.min(input.len() as u64) as usize;
        *input = &input[length..];
        self.remaining -= length as u64;
        self.skipping = self.remaining > 0;
        if !self.skipping && self.under_way == UnderWay::Ignored && self.fin {
            self.under_way = UnderWay::Nothing;
        }
    }

    /// Takes as much of the current data frame as the input holds.
    #[inline]
    fn take_data<'a>(&mut self, input: &mut &'a [u8]) -> Event<'a> {
        let length = self.remaining.min(input.len() as u64) as usize;
        let (payload, rest) = input.split_at(length);
        *input = rest;
        self.remaining -= length as u64;
        let frame_end = self.remaining == 0;
        let message_end = requires!("rfc6455/5.4/7", "rfc6455/6.2/h1" => self.fin && frame_end);
        let data = Data {
            kind: match self.under_way {
                UnderWay::Message(kind) => kind,
                _ => Kind::Binary,
            },
            message_start: self.message_start,
            frame_start: self.frame_start,
            message_end,
            compressed: self.compressed,
            payload,
            key: self.key,
            frame_remaining: self.remaining,
            fin: self.fin,
        };
        self.key = mask::rotate(self.key, length);
        self.message_start = false;
        self.frame_start = false;
        if requires!("rfc6455/6.2/4" => message_end) {
            self.under_way = UnderWay::Nothing;
        }
        Event::Data(data)
    }

    fn enter_control<'a>(
        &mut self,
        opcode: Opcode,
        head: &Head,
        input: &mut &'a [u8],
    ) -> Option<Event<'a>> {
        let mut begun = PartialControl::new(opcode, head);
        if begun.fill(input) {
            return Some(Event::Control(begun.control));
        }
        self.control = Some(Box::new(begun));
        None
    }

    fn fill_control<'a>(&mut self, input: &mut &'a [u8]) -> Option<Event<'a>> {
        if !self.control.as_mut()?.fill(input) {
            return None;
        }
        self.control
            .take()
            .map(|partial| Event::Control(partial.control))
    }
}

/// The message at the front of `input`, if it is one valid frame of less than 64 KiB, within the
/// limits and all there; and the input behind it.
#[inline]
fn whole_message<'a>(input: &'a [u8], role: Role, limits: &Limits) -> Option<(Data<'a>, &'a [u8])> {
    let (&[first, second], rest) = input.split_first_chunk::<2>()?;
    let kind = match first {
        0x81 => Kind::Text,
        0x82 => Kind::Binary,
        _ => return None,
    };
    let masked = second & 0x80 != 0;
    if masked != (role == Role::Server) {
        return None;
    }
    let (length, rest) = match second & 0x7F {
        126 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        127 => return None,
        short => (usize::from(short), rest),
    };
    let shortest = second & 0x7F != 126 || length >= 126;
    let bytes_max = limits.frame_bytes_max.min(limits.message_bytes_max);
    if !shortest || length as u64 > bytes_max {
        return None;
    }
    let (key, rest) = if requires!("rfc6455/6.2/7" => masked) {
        rest.split_first_chunk::<4>()?
    } else {
        (&[0; 4], rest)
    };
    let (payload, rest) = rest.split_at_checked(length)?;
    let data = Data {
        kind,
        message_start: true,
        frame_start: true,
        message_end: requires!("rfc6455/5.2/1", "rfc6455/5.4/7" => first & 0x80 != 0),
        compressed: false,
        payload,
        key: *key,
        frame_remaining: 0,
        fin: true,
    };
    Some((data, rest))
}

#[cold]
fn too_big(limit: Limit, text: &'static str) -> ProtocolError {
    ProtocolError {
        code: Code::TOO_BIG,
        text,
        section: "RFC 6455 10.4",
        limit: Some(limit),
    }
}
