//! `deflate-stream` on a connection (HyBi-09 section 9.2.1): inflated as it arrives, in steps, and
//! deflated as it departs, a batch at once.
//!
//! A little input may inflate to very much. A step's worth is inflated only when what came before
//! it has been taken, so that no more than that is ever held; each step is charged to the
//! connection's budget of frames, so that a peer whose megabytes are noughts starves nobody.

use crate::close::{Cause, CloseReason};
use crate::connection::Connection;
use crate::host::Host;
use crate::receive::Inbound;
use crate::session::Stage;
use crate::session::websocket;
use std::rc::Rc;
use vespiary_wire::websocket::ProtocolError;
use vespiary_wire::websocket::decoder::Decoder;
use vespiary_wire::websocket::deflate_stream::{Reader, Writer};
use vespiary_wire::websocket::profile::Version;

/// Bytes inflated at a time; a pooled buffer's size.
const STEP: usize = 16 << 10;
/// Frames of a turn's budget that a step counts for: a turn inflates 1 MiB.
const STEP_FRAMES: u16 = 16;

/// Both directions: what was inflated and not taken yet, the decoder of its frames, and what
/// deflates all that departs.
pub(crate) struct DeflateStream {
    pub(crate) writer: Writer,
    reader: Reader,
    pub(crate) decoder: Decoder,
    plain: Vec<u8>,
    taken: usize,
    /// The last step filled its room, so the reader may hold more.
    may_hold: bool,
}

impl DeflateStream {
    /// Begins behind so many `plain` bytes that wait to depart.
    pub(crate) fn new(decoder: Decoder, plain: usize) -> Self {
        Self {
            writer: Writer::new(plain),
            reader: Reader::default(),
            decoder,
            plain: Vec::new(),
            taken: 0,
            may_hold: false,
        }
    }

    pub(crate) fn buffer_bytes(&self) -> usize {
        size_of::<Self>() + Reader::MEMORY_BYTES + Writer::memory_bytes() + self.plain.capacity()
    }

    /// Whether something is to be parsed although no input is left.
    pub(crate) fn has_waiting(&self) -> bool {
        self.taken < self.plain.len() || self.may_hold
    }

    /// Inflate the next step; whether there was anything.
    fn step<H: Host>(
        &mut self,
        connection: &Rc<Connection<H>>,
        rest: &mut &[u8],
    ) -> Result<bool, CloseReason> {
        if self.plain.capacity() < STEP {
            self.plain = connection.engine.pool.borrow_mut().take(STEP);
        }
        self.plain.resize(STEP, 0);
        self.taken = 0;
        let inflated = self.reader.inflate(rest, &mut self.plain);
        self.plain.truncate(*inflated.as_ref().unwrap_or(&0));
        let count = inflated.map_err(|corrupt| {
            let error = ProtocolError::from(corrupt);
            CloseReason::new(Cause::ProtocolError, error.to_string()).with_code(error.code)
        })?;
        self.may_hold = count == STEP;
        connection.engine.spend_frames(connection, STEP_FRAMES);
        Ok(count > 0)
    }

    fn rest<H: Host>(&mut self, connection: &Rc<Connection<H>>) {
        if self.taken == self.plain.len() {
            let plain = std::mem::take(&mut self.plain);
            connection.engine.pool.borrow_mut().put(plain);
            self.taken = 0;
        }
    }
}

/// Parse the frames of a compressed stream until its input is used up, the connection is blocked,
/// or it ends.
pub(crate) fn feed<H: Host>(
    connection: &Rc<Connection<H>>,
    inbound: &mut Inbound<H>,
    rest: &mut &[u8],
) -> Result<(), CloseReason> {
    let Stage::Deflated(mut stream) = std::mem::replace(&mut inbound.session.stage, Stage::Discard)
    else {
        unreachable!("the caller matched")
    };
    // The frames are parsed as those of any connection, by the decoder in its usual place.
    let unused = Decoder::new(connection.role(), Version::Hybi09);
    let decoder = std::mem::replace(&mut stream.decoder, unused);
    inbound.session.stage = Stage::WebSocket(decoder);
    let outcome = feed_frames(connection, inbound, &mut stream, rest);
    if let Stage::WebSocket(decoder) = std::mem::replace(&mut inbound.session.stage, Stage::Discard)
    {
        stream.decoder = decoder;
    }
    stream.rest(connection);
    if stream.has_waiting() {
        connection.unsettle();
    }
    inbound.session.stage = Stage::Deflated(stream);
    outcome
}

fn feed_frames<H: Host>(
    connection: &Rc<Connection<H>>,
    inbound: &mut Inbound<H>,
    stream: &mut DeflateStream,
    rest: &mut &[u8],
) -> Result<(), CloseReason> {
    while !connection.is_blocked() {
        if connection.abort.get() || connection.close_frame_received.get() {
            *rest = &[];
            stream.plain.clear();
            stream.taken = 0;
            stream.may_hold = false;
            break;
        }
        if stream.taken == stream.plain.len() && !stream.step(connection, rest)? {
            break;
        }
        let mut frames = &stream.plain[stream.taken..];
        let parsed = websocket::feed(&mut inbound.session, connection, &mut frames);
        stream.taken = stream.plain.len() - frames.len();
        parsed?;
    }
    Ok(())
}
