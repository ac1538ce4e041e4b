//! The handshake of one connection, which rustls makes.

use crate::facts::Agreed;
use crate::hello;
use crate::records::{HEADER_BYTES, PLAIN_BYTES_MAX};
use crate::server::{Configs, take_asked_name};
use crate::traffic::{Kept, Traffic};
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, InsufficientSizeError, UnbufferedStatus,
};
use rustls::{CommonState, ContentType, Error, PeerMisbehaved};
use std::sync::Arc;

/// A record's length, which rustls takes from a peer whose version is not known yet.
const RECORD_BYTES_MAX: usize = PLAIN_BYTES_MAX + 2048;

/// Either end.
enum Session {
    /// A server, before the first record.
    Expected(Arc<Configs>),
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

/// A handshake in progress.
pub(crate) struct Handshake {
    session: Session,
    /// On a server, the name that its client has asked for; on a client, the server's name.
    name: Option<Box<str>>,
    /// Bytes of whole records that rustls has been given and wants again.
    given: usize,
}

/// How far a handshake has come.
pub(crate) enum Moved {
    /// More bytes are needed.
    Blocked,
    /// It is over: see [`Handshake::complete`].
    Completed,
    /// The peer sends nothing more.
    Ended,
}

/// What a step came to.
enum Step {
    Again,
    Blocked,
    Ended,
}

impl Handshake {
    pub(crate) fn of_server(configs: Arc<Configs>) -> Self {
        Self {
            session: Session::Expected(configs),
            name: None,
            given: 0,
        }
    }

    pub(crate) fn of_client(session: UnbufferedClientConnection, name: &str) -> Self {
        Self {
            session: Session::Client(Box::new(session)),
            name: Some(name.into()),
            given: 0,
        }
    }

    pub(crate) fn is_client(&self) -> bool {
        matches!(self.session, Session::Client(_))
    }

    fn state(&self) -> Option<&CommonState> {
        match &self.session {
            Session::Expected(_) => None,
            Session::Server(session) => Some(session),
            Session::Client(session) => Some(session),
        }
    }

    /// Take every step that `input` allows; how many of its bytes are done with. When this fails,
    /// the alert is in `own`.
    pub(crate) fn advance(
        &mut self,
        input: &mut [u8],
        own: &mut Vec<u8>,
    ) -> Result<(usize, Moved), Error> {
        let mut used = 0;
        loop {
            let whole = used + self.given;
            let end = whole + first_record(&input[whole..]);
            if let Session::Expected(configs) = &self.session {
                if end == whole {
                    return Ok((used, Moved::Blocked));
                }
                let session = configs.session(hello::prefers_chacha(&input[..end]))?;
                self.session = Session::Server(Box::new(session));
            }
            let (discarded, step) = self.steps(&mut input[used..end], own)?;
            used += discarded;
            self.given = end - used;
            if matches!(step, Step::Ended) {
                return Ok((used, Moved::Ended));
            }
            if self.state().is_some_and(|state| !state.is_handshaking()) {
                // The keys change with the last message: nothing may be behind it in its record.
                return if self.given == 0 {
                    Ok((used, Moved::Completed))
                } else {
                    Err(PeerMisbehaved::KeyEpochWithPendingFragment.into())
                };
            }
            if end == whole {
                return Ok((used, Moved::Blocked));
            }
        }
    }

    /// Take steps until more bytes are needed.
    fn steps(&mut self, input: &mut [u8], own: &mut Vec<u8>) -> Result<(usize, Step), Error> {
        let mut used = 0;
        loop {
            let (discarded, outcome) = self.step(&mut input[used..], own);
            used += discarded;
            match outcome {
                Ok(Step::Again) => {}
                Ok(step) => return Ok((used, step)),
                Err(failure) => {
                    // The alert, which rustls has ready. What failed is not checked again.
                    while self.state().is_some_and(CommonState::wants_write) {
                        self.step(&mut [], own).1.ok();
                    }
                    return Err(failure);
                }
            }
        }
    }

    fn step(&mut self, input: &mut [u8], own: &mut Vec<u8>) -> (usize, Result<Step, Error>) {
        match &mut self.session {
            Session::Expected(_) => (0, Ok(Step::Blocked)),
            Session::Server(session) => {
                let outcome = handle(session.process_tls_records(input), own);
                if let Some(asked) = take_asked_name() {
                    self.name = Some(asked.into());
                }
                outcome
            }
            Session::Client(session) => handle(session.process_tls_records(input), own),
        }
    }

    /// What was agreed on, and the connection that follows.
    pub(crate) fn complete(self) -> Result<(Agreed, Traffic), Error> {
        let name = self.name;
        let incomplete = || Error::HandshakeNotComplete;
        match self.session {
            Session::Expected(_) => Err(incomplete()),
            Session::Server(session) => {
                let agreed = Agreed::of(&session, name).ok_or_else(incomplete)?;
                let (secrets, kept) = session.dangerous_into_kernel_connection()?;
                Ok((agreed, Traffic::new(secrets, Kept::Server(kept))?))
            }
            Session::Client(session) => {
                let agreed = Agreed::of(&session, name).ok_or_else(incomplete)?;
                let (secrets, kept) = session.dangerous_into_kernel_connection()?;
                Ok((agreed, Traffic::new(secrets, Kept::Client(kept))?))
            }
        }
    }
}

/// The length of the first record, if it is whole. Of what cannot be a record, everything: rustls
/// says what is wrong with it.
fn first_record(bytes: &[u8]) -> usize {
    let Some((header, _)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return 0;
    };
    let [kind, major, _, high, low] = *header;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let is_unknown = matches!(ContentType::from(kind), ContentType::Unknown(_));
    if is_unknown || major != 3 || length > RECORD_BYTES_MAX {
        return bytes.len();
    }
    let length = HEADER_BYTES + length;
    if length <= bytes.len() { length } else { 0 }
}

fn handle<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    own: &mut Vec<u8>,
) -> (usize, Result<Step, Error>) {
    let UnbufferedStatus { discard, state } = status;
    let step = state.and_then(|state| match state {
        ConnectionState::EncodeTlsData(data) => encode(data, own).map(|()| Step::Again),
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Ok(Step::Again)
        }
        ConnectionState::PeerClosed | ConnectionState::Closed => Ok(Step::Ended),
        ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) => Ok(Step::Blocked),
        // Early data is off, and other data comes only behind the handshake.
        _ => Err(Error::General("an unexpected state of TLS".into())),
    });
    (discard, step)
}

/// Append what rustls wants to send.
fn encode<Data>(mut data: EncodeTlsData<'_, Data>, own: &mut Vec<u8>) -> Result<(), Error> {
    let before = own.len();
    let mut encoded = data.encode(&mut []);
    if let Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) = encoded {
        own.resize(before + required_size, 0);
        encoded = data.encode(&mut own[before..]);
    }
    own.truncate(before + *encoded.as_ref().unwrap_or(&0));
    encoded
        .map(drop)
        .map_err(|error| Error::General(error.to_string()))
}
