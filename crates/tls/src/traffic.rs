//! A connection after its handshake: application data, alerts, and the few messages that are still
//! allowed (RFC 8446 sections 4.6, 5 and 6; RFC 5246 sections 6, 7.2 and 7.4.1).
//!
//! rustls makes the handshake, and gives its keys away. From then on it only computes the next keys
//! and keeps the tickets of clients. Why the records are not left to it: its interface copies each
//! message twice more and allocates for each record, and a connection of its needs twice the
//! memory.
//!
//! What a peer may send without any use is counted, as in rustls: a peer that sends nothing but
//! empty records, warnings or new keys is not served forever.

#[cfg(test)]
mod tests;

use crate::records::{HEADER_BYTES, Keys, PLAIN_BYTES_MAX};
use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{
    AlertDescription, ContentType, Error, ExtractedSecrets, HandshakeType, InvalidMessage,
    PeerMisbehaved, ProtocolVersion, SupportedCipherSuite,
};

/// What a record has besides plain bytes, at most (RFC 8446 section 5.2, RFC 5246 section 6.2.3).
const TLS13_EXPANSION: usize = 256;
const TLS12_EXPANSION: usize = 2048;
/// Type and length.
const MESSAGE_HEADER_BYTES: usize = 4;
/// Bytes of a message behind the handshake: a ticket has up to 65,535 and some.
const MESSAGE_BYTES_MAX: usize = (64 << 10) + 1024;

const EMPTY_RECORDS_MAX: u8 = 10;
const WARNINGS_MAX: u8 = 4;
const KEY_UPDATES_MAX: u8 = 32;
const RENEGOTIATIONS_MAX: u8 = 1;

const WARNING: u8 = 1;
const FATAL: u8 = 2;

/// What rustls keeps: the secrets of the next keys, and on a client what a ticket needs.
pub(crate) enum Kept {
    Server(KernelConnection<ServerConnectionData>),
    Client(KernelConnection<ClientConnectionData>),
}

impl Kept {
    fn is_client(&self) -> bool {
        matches!(self, Self::Client(_))
    }

    fn suite(&self) -> SupportedCipherSuite {
        match self {
            Self::Server(kept) => kept.negotiated_cipher_suite(),
            Self::Client(kept) => kept.negotiated_cipher_suite(),
        }
    }

    fn is_tls13(&self) -> bool {
        let version = match self {
            Self::Server(kept) => kept.protocol_version(),
            Self::Client(kept) => kept.protocol_version(),
        };
        version == ProtocolVersion::TLSv1_3
    }

    fn next_sealing(&mut self) -> Result<Keys, Error> {
        let secrets = match self {
            Self::Server(kept) => kept.update_tx_secret(),
            Self::Client(kept) => kept.update_tx_secret(),
        };
        Keys::new(secrets?, true)
    }

    fn next_opening(&mut self) -> Result<Keys, Error> {
        let secrets = match self {
            Self::Server(kept) => kept.update_rx_secret(),
            Self::Client(kept) => kept.update_rx_secret(),
        };
        Keys::new(secrets?, true)
    }
}

/// How much more of what is of no use the peer may send.
struct Patience {
    empty_records: u8,
    warnings: u8,
    key_updates: u8,
    renegotiations: u8,
}

impl Patience {
    const NEW: Self = Self {
        empty_records: EMPTY_RECORDS_MAX,
        warnings: WARNINGS_MAX,
        key_updates: KEY_UPDATES_MAX,
        renegotiations: RENEGOTIATIONS_MAX,
    };
}

fn spend(left: &mut u8, error: PeerMisbehaved) -> Result<(), Failure> {
    *left = left.checked_sub(1).ok_or(Failure(
        Some(AlertDescription::UnexpectedMessage),
        error.into(),
    ))?;
    Ok(())
}

/// Why a connection ends, and the alert that says so to the peer.
struct Failure(Option<AlertDescription>, Error);

fn unexpected(error: impl Into<Error>) -> Failure {
    Failure(Some(AlertDescription::UnexpectedMessage), error.into())
}

fn not_decoded(error: InvalidMessage) -> Failure {
    Failure(
        Some(AlertDescription::DecodeError),
        Error::InvalidMessage(error),
    )
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let alert = match &error {
            Error::DecryptError => AlertDescription::BadRecordMac,
            Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
            Error::PeerMisbehaved(_) => AlertDescription::UnexpectedMessage,
            Error::InvalidMessage(_) => AlertDescription::DecodeError,
            _ => AlertDescription::InternalError,
        };
        Self(Some(alert), error)
    }
}

/// A record at the front of received bytes.
enum Found {
    /// It takes so many bytes, with its header.
    Whole(usize),
    /// So many are needed to know, or to have all of it.
    Needs(usize),
}

/// A connection after its handshake.
pub(crate) struct Traffic {
    sealing: Keys,
    opening: Keys,
    kept: Kept,
    is_tls13: bool,
    has_ended: bool,
    /// How many records one key may protect (RFC 8446 section 5.5).
    records_max: u64,
    /// A message of which a part is missing.
    message: Vec<u8>,
    patience: Patience,
}

impl Traffic {
    pub(crate) fn new(secrets: ExtractedSecrets, kept: Kept) -> Result<Self, Error> {
        let is_tls13 = kept.is_tls13();
        let records_max = match kept.suite() {
            SupportedCipherSuite::Tls12(suite) => suite.common.confidentiality_limit,
            SupportedCipherSuite::Tls13(suite) => suite.common.confidentiality_limit,
        };
        Ok(Self {
            sealing: Keys::new(secrets.tx, is_tls13)?,
            opening: Keys::new(secrets.rx, is_tls13)?,
            kept,
            is_tls13,
            has_ended: false,
            records_max,
            message: Vec::new(),
            patience: Patience::NEW,
        })
    }

    pub(crate) fn is_client(&self) -> bool {
        self.kept.is_client()
    }

    /// Whether the peer has said that it sends nothing more.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// How many bytes must be there until the first record is whole; zero if it is.
    pub(crate) fn missing(&self, input: &[u8]) -> usize {
        match self.find(input) {
            Ok(Found::Needs(bytes)) => bytes - input.len(),
            // What is wrong with it is found out by `receive`.
            Ok(Found::Whole(_)) | Err(_) => 0,
        }
    }

    /// Take all whole records of `input`: how many of its bytes are done with. When this fails, the
    /// alert is in `own`.
    pub(crate) fn receive(
        &mut self,
        input: &mut [u8],
        plain: &mut Vec<u8>,
        own: &mut Vec<u8>,
    ) -> Result<usize, Error> {
        self.take(input, plain, own)
            .map_err(|Failure(alert, error)| {
                if let Some(alert) = alert {
                    let alert = [FATAL, u8::from(alert)];
                    // Keys that are used up cannot protect it.
                    self.sealing.seal(ContentType::Alert, &alert, own).ok();
                }
                error
            })
    }

    fn take(
        &mut self,
        input: &mut [u8],
        plain: &mut Vec<u8>,
        own: &mut Vec<u8>,
    ) -> Result<usize, Failure> {
        let mut used = 0;
        while !self.has_ended {
            let rest = &mut input[used..];
            let Found::Whole(length) = self.find(rest)? else {
                return Ok(used);
            };
            let (header, body) = rest[..length]
                .split_first_chunk_mut::<HEADER_BYTES>()
                .ok_or(Error::DecryptError)?;
            let (kind, bytes) = self.opening.open(*header, body)?;
            used += length;
            match kind {
                ContentType::ApplicationData if self.message.is_empty() => {
                    if bytes.is_empty() {
                        let left = &mut self.patience.empty_records;
                        spend(left, PeerMisbehaved::TooManyEmptyFragments)?;
                    } else {
                        self.patience.empty_records = EMPTY_RECORDS_MAX;
                        self.patience.key_updates = KEY_UPDATES_MAX;
                        plain.extend_from_slice(bytes);
                    }
                }
                ContentType::Handshake | ContentType::Alert if bytes.is_empty() => {
                    return Err(unexpected(Error::InvalidMessage(
                        InvalidMessage::InvalidEmptyPayload,
                    )));
                }
                ContentType::Handshake => {
                    self.message.extend_from_slice(bytes);
                    self.take_messages(own)?;
                }
                ContentType::Alert if self.message.is_empty() => {
                    let alert = [bytes.first().copied(), bytes.get(1).copied()];
                    let [Some(level), Some(description)] = alert else {
                        return Err(not_decoded(InvalidMessage::MessageTooShort));
                    };
                    if bytes.len() > 2 {
                        return Err(not_decoded(InvalidMessage::TrailingData("Alert")));
                    }
                    self.take_alert(level, AlertDescription::from(description))?;
                }
                ContentType::ApplicationData | ContentType::Alert => {
                    return Err(unexpected(
                        PeerMisbehaved::MessageInterleavedWithHandshakeMessage,
                    ));
                }
                other => return Err(unexpected(inappropriate(other))),
            }
        }
        Ok(input.len())
    }

    /// The record at the front.
    fn find(&self, input: &[u8]) -> Result<Found, Failure> {
        let Some((header, _)) = input.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(Found::Needs(HEADER_BYTES));
        };
        let [kind, major, _, high, low] = *header;
        let expansion = if self.is_tls13 {
            TLS13_EXPANSION
        } else {
            TLS12_EXPANSION
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        match ContentType::from(kind) {
            ContentType::Unknown(_) => {
                return Err(unexpected(Error::InvalidMessage(
                    InvalidMessage::InvalidContentType,
                )));
            }
            // Behind the handshake, every record of TLS 1.3 is encrypted and says that it is data.
            ContentType::ApplicationData => {}
            other if self.is_tls13 => return Err(unexpected(inappropriate(other))),
            _ => {}
        }
        if major != 3 {
            let error = Error::InvalidMessage(InvalidMessage::UnknownProtocolVersion);
            return Err(Failure(Some(AlertDescription::ProtocolVersion), error));
        }
        if length > PLAIN_BYTES_MAX + expansion {
            return Err(Error::PeerSentOversizedRecord.into());
        }
        let length = HEADER_BYTES + length;
        Ok(if input.len() < length {
            Found::Needs(length)
        } else {
            Found::Whole(length)
        })
    }

    fn take_alert(&mut self, level: u8, alert: AlertDescription) -> Result<(), Failure> {
        let received = Error::AlertReceived(alert);
        match level {
            WARNING | FATAL if alert == AlertDescription::CloseNotify => {
                self.has_ended = true;
                Ok(())
            }
            WARNING if self.is_tls13 && alert != AlertDescription::UserCanceled => {
                Err(Failure(Some(AlertDescription::DecodeError), received))
            }
            WARNING => spend(
                &mut self.patience.warnings,
                PeerMisbehaved::TooManyWarningAlertsReceived,
            ),
            FATAL => Err(Failure(None, received)),
            _ => Err(Failure(Some(AlertDescription::IllegalParameter), received)),
        }
    }

    /// Take the messages that are whole.
    fn take_messages(&mut self, own: &mut Vec<u8>) -> Result<(), Failure> {
        let bytes = std::mem::take(&mut self.message);
        let mut rest = &bytes[..];
        while let Some((header, after)) = rest.split_first_chunk::<MESSAGE_HEADER_BYTES>() {
            let [kind, high, middle, low] = *header;
            let length = u32::from_be_bytes([0, high, middle, low]) as usize;
            if MESSAGE_HEADER_BYTES + length > MESSAGE_BYTES_MAX {
                return Err(not_decoded(InvalidMessage::HandshakePayloadTooLarge));
            }
            let Some((payload, after)) = after.split_at_checked(length) else {
                break;
            };
            rest = after;
            self.take_message(HandshakeType::from(kind), payload, rest.is_empty(), own)?;
        }
        self.message = rest.to_vec();
        Ok(())
    }

    fn take_message(
        &mut self,
        kind: HandshakeType,
        payload: &[u8],
        is_last: bool,
        own: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        match (kind, &mut self.kept) {
            (HandshakeType::KeyUpdate, _) if self.is_tls13 => {
                self.take_key_update(payload, is_last, own)
            }
            (HandshakeType::NewSessionTicket, Kept::Client(kept)) if self.is_tls13 => {
                Ok(kept.handle_new_session_ticket(payload)?)
            }
            // Nothing is negotiated again (RFC 5246 section 7.2.2).
            (HandshakeType::ClientHello, Kept::Server(_))
            | (HandshakeType::HelloRequest, Kept::Client(_))
                if !self.is_tls13 =>
            {
                let left = &mut self.patience.renegotiations;
                spend(left, PeerMisbehaved::TooManyRenegotiationRequests)?;
                let alert = [WARNING, u8::from(AlertDescription::NoRenegotiation)];
                Ok(self.sealing.seal(ContentType::Alert, &alert, own)?)
            }
            (got_type, _) => Err(unexpected(Error::InappropriateHandshakeMessage {
                expect_types: vec![HandshakeType::KeyUpdate],
                got_type,
            })),
        }
    }

    /// The peer uses its next keys from now on (RFC 8446 section 4.6.3).
    fn take_key_update(
        &mut self,
        payload: &[u8],
        is_last: bool,
        own: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let is_requested = match payload {
            [0] => false,
            [1] => true,
            [_] => {
                let error = Error::InvalidMessage(InvalidMessage::InvalidKeyUpdate);
                return Err(Failure(Some(AlertDescription::IllegalParameter), error));
            }
            [] => return Err(not_decoded(InvalidMessage::MissingData("KeyUpdate"))),
            _ => return Err(not_decoded(InvalidMessage::TrailingData("KeyUpdate"))),
        };
        if !is_last {
            return Err(unexpected(PeerMisbehaved::KeyEpochWithPendingFragment));
        }
        let left = &mut self.patience.key_updates;
        spend(left, PeerMisbehaved::TooManyKeyUpdateRequests)?;
        self.opening = self.kept.next_opening()?;
        if is_requested {
            self.update_sealing(own)?;
        }
        Ok(())
    }

    /// Use the next keys from now on, and say so.
    fn update_sealing(&mut self, wire: &mut Vec<u8>) -> Result<(), Error> {
        let message = [u8::from(HandshakeType::KeyUpdate), 0, 0, 1, 0];
        self.sealing.seal(ContentType::Handshake, &message, wire)?;
        self.sealing = self.kept.next_sealing()?;
        Ok(())
    }

    /// Append application data in records.
    pub(crate) fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), Error> {
        for part in plain.chunks(PLAIN_BYTES_MAX) {
            // The message that says that the keys are replaced is protected by them, too.
            if self.sealing.sequence() >= self.records_max - 1 {
                if !self.is_tls13 {
                    return Err(Error::EncryptError);
                }
                self.update_sealing(wire)?;
            }
            self.sealing
                .seal(ContentType::ApplicationData, part, wire)?;
        }
        Ok(())
    }

    /// Append `close_notify`: this end sends nothing more.
    pub(crate) fn end(&mut self, wire: &mut Vec<u8>) -> Result<(), Error> {
        let alert = [WARNING, u8::from(AlertDescription::CloseNotify)];
        self.sealing.seal(ContentType::Alert, &alert, wire)
    }

    /// About how much memory it takes.
    pub(crate) fn memory_bytes(&self) -> usize {
        /// AES's round keys and the tables of GCM, in the memory of AWS-LC.
        const CIPHER_BYTES: usize = 640;
        size_of::<Self>() + 2 * CIPHER_BYTES + self.message.capacity()
    }
}

fn inappropriate(got_type: ContentType) -> Error {
    Error::InappropriateMessage {
        expect_types: vec![ContentType::ApplicationData],
        got_type,
    }
}
