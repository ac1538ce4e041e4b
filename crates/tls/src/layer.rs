//! The layer: records in, plain bytes out, and the other way.
//!
//! rustls reports what it found in the received bytes, or wants to send, one step at a time; the
//! loop in [`advance`] takes these steps until more bytes are needed. It numbers received bytes
//! from the first that it has not discarded, so those are given again with each call: a record that
//! is not complete waits in `tail`, for sends as well.
//!
//! When TLS fails, rustls has an alert that says why. It is sent first: the layer reports the
//! failure when it is called again.

use crate::error;
use crate::handle::{Session, TlsHandle};
use crate::server::take_asked_name;
use rustls::Error;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError,
    UnbufferedStatus, WriteTraffic,
};
use std::cell::RefCell;
use std::rc::Rc;
use vespiary_engine::{Cause, CloseReason, Flow, Layer, Progress, Received};

/// Frames of a turn's budget that a step of the handshake counts for: a signature costs as much as
/// some hundred small messages.
const HANDSHAKE_FRAMES: u16 = 64;

/// Plain bytes of a record (RFC 8446 section 5.1), and about what a record adds to them.
const RECORD_BYTES_MAX: usize = 16 << 10;
const RECORD_OVERHEAD: usize = 32;

/// TLS between a socket and what is above it.
pub struct TlsLayer {
    session: Rc<RefCell<Session>>,
    /// Received bytes that are not a whole record yet.
    tail: Vec<u8>,
    /// Why TLS has failed, once its alert is on the way.
    failure: Option<CloseReason>,
    has_failed: bool,
    has_ended: bool,
}

impl TlsLayer {
    pub(crate) fn new(session: Session) -> Self {
        Self {
            session: Rc::new(RefCell::new(session)),
            tail: Vec::new(),
            failure: None,
            has_failed: false,
            has_ended: false,
        }
    }

    /// What answers questions about this connection's TLS.
    pub fn handle(&self) -> TlsHandle {
        TlsHandle(self.session.clone())
    }

    /// Take every step that `input` allows; how many of its bytes are done with.
    fn advance(&mut self, input: &mut [u8], flow: &mut Flow<'_>) -> usize {
        let mut session = self.session.borrow_mut();
        let mut used = 0;
        loop {
            let (discarded, outcome) = step(&mut session, &mut input[used..], flow);
            used += discarded;
            match outcome {
                Ok(Step::Again) => {}
                Ok(Step::Blocked) => return used,
                Ok(Step::Ended) => {
                    self.has_ended = true;
                    return input.len();
                }
                Err(failure) => {
                    // The alert, which rustls has ready. What failed is not checked again.
                    while session.wants_write() {
                        step(&mut session, &mut [], flow).1.ok();
                    }
                    self.failure = Some(error::reason(&failure, &session));
                    self.has_failed = true;
                    return input.len();
                }
            }
        }
    }

    fn outcome(&self, used: usize, was_handshaking: bool) -> Received {
        let progress = if self.failure.is_some() {
            Progress::Again
        } else if was_handshaking && self.is_ready() {
            // The peer's end may have come with the handshake's: the session begins first.
            Progress::Ready
        } else if self.has_ended {
            Progress::Ended
        } else {
            Progress::MoreNeeded
        };
        let work = if was_handshaking { HANDSHAKE_FRAMES } else { 0 };
        Received {
            used,
            progress,
            work,
        }
    }

    /// Do something that needs the state in which bytes can be sent. Whatever rustls itself wants
    /// to send goes first.
    fn write(
        &mut self,
        wire: &mut Vec<u8>,
        guess: usize,
        work: impl FnMut(&mut dyn Writer, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), CloseReason> {
        let mut session = self.session.borrow_mut();
        let written = match &mut *session {
            Session::Server(session, _) => write_with(session, &mut self.tail, wire, guess, work),
            Session::Client(session, _) => write_with(session, &mut self.tail, wire, guess, work),
        };
        written.map_err(|error| error::reason(&error, &session))
    }
}

impl Layer for TlsLayer {
    fn begin(&mut self, own: &mut Vec<u8>) -> Result<(), CloseReason> {
        let mut plain = Vec::new();
        let mut flow = Flow {
            plain: &mut plain,
            own,
        };
        self.advance(&mut [], &mut flow);
        self.failure.take().map_or(Ok(()), Err)
    }

    fn receive(&mut self, input: &mut [u8], flow: &mut Flow<'_>) -> Result<Received, CloseReason> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let was_handshaking = self.session.borrow().is_handshaking();
        let length = input.len();
        if self.has_ended || self.has_failed {
            return Ok(self.outcome(length, false));
        }
        if self.tail.is_empty() {
            let used = self.advance(input, flow);
            keep(&mut self.tail, &input[used..])?;
        } else {
            let mut tail = std::mem::take(&mut self.tail);
            keep(&mut tail, input)?;
            let used = self.advance(&mut tail, flow);
            if used < tail.len() {
                tail.drain(..used);
                self.tail = tail;
            }
        }
        Ok(self.outcome(length, was_handshaking))
    }

    fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), CloseReason> {
        let records = plain.len() / RECORD_BYTES_MAX + 1;
        let guess = plain.len() + records * RECORD_OVERHEAD;
        self.write(wire, guess, |writer, room| writer.encrypt(plain, room))
    }

    fn is_ready(&self) -> bool {
        !self.has_failed && !self.session.borrow().is_handshaking()
    }

    fn end(&mut self, wire: &mut Vec<u8>) -> Result<(), CloseReason> {
        if !self.is_ready() {
            return Ok(());
        }
        self.write(wire, RECORD_OVERHEAD, |writer, room| {
            writer.close_notify(room)
        })
    }

    fn input_ended(&mut self) -> Progress {
        if self.has_ended || self.has_failed {
            Progress::Ended
        } else {
            Progress::Truncated
        }
    }

    fn memory_bytes(&self) -> usize {
        size_of::<Self>() + size_of::<RefCell<Session>>() + self.tail.capacity()
    }
}

fn keep(tail: &mut Vec<u8>, bytes: &[u8]) -> Result<(), CloseReason> {
    tail.try_reserve(bytes.len()).map_err(|_| {
        CloseReason::new(Cause::OutOfMemory, "there was no memory for a TLS record")
    })?;
    tail.extend_from_slice(bytes);
    Ok(())
}

/// What a step came to.
enum Step {
    Again,
    /// More bytes are needed.
    Blocked,
    /// The peer has said that it sends nothing more.
    Ended,
}

fn step(
    session: &mut Session,
    input: &mut [u8],
    flow: &mut Flow<'_>,
) -> (usize, Result<Step, Error>) {
    match session {
        Session::Server(session, name) => {
            let outcome = handle(session.process(input), flow);
            if let Some(asked) = take_asked_name() {
                *name = Some(asked);
            }
            outcome
        }
        Session::Client(session, _) => handle(session.process(input), flow),
    }
}

/// Either end's records.
trait Records {
    type Data;
    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Records for UnbufferedServerConnection {
    type Data = ServerConnectionData;
    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(input)
    }
}

impl Records for UnbufferedClientConnection {
    type Data = ClientConnectionData;
    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(input)
    }
}

fn handle<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    flow: &mut Flow<'_>,
) -> (usize, Result<Step, Error>) {
    let UnbufferedStatus { mut discard, state } = status;
    let step = state.and_then(|state| match state {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                let record = record?;
                discard += record.discard;
                flow.plain.extend_from_slice(record.payload);
            }
            Ok(Step::Again)
        }
        ConnectionState::EncodeTlsData(data) => encode(data, flow.own).map(|()| Step::Again),
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Ok(Step::Again)
        }
        ConnectionState::PeerClosed | ConnectionState::Closed => Ok(Step::Ended),
        ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) => Ok(Step::Blocked),
        // Early data is off; and what a later rustls may add cannot be handled.
        _ => Err(Error::General("an unexpected state of TLS".into())),
    });
    (discard, step)
}

/// Append what `write` makes of the room that it is given.
fn append<E>(
    out: &mut Vec<u8>,
    guess: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, E>,
    wanted: impl Fn(&E) -> Option<usize>,
) -> Result<(), E> {
    let before = out.len();
    let mut room = guess;
    loop {
        out.resize(before + room, 0);
        match write(&mut out[before..]) {
            Ok(count) => {
                out.truncate(before + count);
                return Ok(());
            }
            Err(error) => match wanted(&error) {
                Some(size) if size > room => room = size,
                _ => {
                    out.truncate(before);
                    return Err(error);
                }
            },
        }
    }
}

fn encode<Data>(mut data: EncodeTlsData<'_, Data>, own: &mut Vec<u8>) -> Result<(), Error> {
    let wanted = |error: &EncodeError| match error {
        EncodeError::InsufficientSize(InsufficientSizeError { required_size }) => {
            Some(*required_size)
        }
        EncodeError::AlreadyEncoded => None,
    };
    append(own, 0, |room| data.encode(room), wanted)
        .map_err(|error| Error::General(error.to_string()))
}

/// rustls' state in which bytes can be sent, of either end.
trait Writer {
    fn encrypt(&mut self, plain: &[u8], room: &mut [u8]) -> Result<usize, EncryptError>;
    fn close_notify(&mut self, room: &mut [u8]) -> Result<usize, EncryptError>;
}

impl<Data> Writer for WriteTraffic<'_, Data> {
    fn encrypt(&mut self, plain: &[u8], room: &mut [u8]) -> Result<usize, EncryptError> {
        WriteTraffic::encrypt(self, plain, room)
    }

    fn close_notify(&mut self, room: &mut [u8]) -> Result<usize, EncryptError> {
        self.queue_close_notify(room)
    }
}

fn write_with(
    records: &mut impl Records,
    tail: &mut Vec<u8>,
    wire: &mut Vec<u8>,
    guess: usize,
    mut work: impl FnMut(&mut dyn Writer, &mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), Error> {
    loop {
        let UnbufferedStatus { discard, state } = records.process(tail);
        match state? {
            ConnectionState::WriteTraffic(mut traffic) => {
                let wanted = |error: &EncryptError| match error {
                    EncryptError::InsufficientSize(InsufficientSizeError { required_size }) => {
                        Some(*required_size)
                    }
                    EncryptError::EncryptExhausted => None,
                };
                return append(wire, guess, |room| work(&mut traffic, room), wanted)
                    .map_err(|error| Error::General(error.to_string()));
            }
            ConnectionState::EncodeTlsData(data) => encode(data, wire)?,
            ConnectionState::TransmitTlsData(data) => data.done(),
            // The peer's close_notify is not the end of what this end sends.
            ConnectionState::PeerClosed => {}
            _ => return Err(Error::General("TLS is not ready to send".into())),
        }
        tail.drain(..discard);
    }
}
