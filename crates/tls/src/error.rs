//! What can be wrong with certificates, keys and settings, and with a peer's TLS.

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};
use std::fmt;
use vespiary_engine::{Cause, CloseReason, Side};

/// What is wrong with a setting, as a sentence without its full stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError(pub(crate) String);

impl TlsError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

/// Why a connection ends because of its TLS.
pub(crate) fn reason(error: &Error, is_client: bool, is_handshaking: bool) -> CloseReason {
    let side = match error {
        Error::AlertReceived(_) => Side::Remote,
        _ => Side::Local,
    };
    let text = match error {
        Error::AlertReceived(AlertDescription::HandshakeFailure) if !is_handshaking => {
            let peer = peer_name(is_client);
            format!(
                "the {peer} ended TLS behind the handshake: it may have asked for another one, and \
                 this end does not renegotiate (alert HandshakeFailure)"
            )
        }
        error => text(error, is_client),
    };
    CloseReason::new(Cause::TlsFailed, text).by(side)
}

fn peer_name(is_client: bool) -> &'static str {
    if is_client { "server" } else { "client" }
}

fn text(error: &Error, is_client: bool) -> String {
    let peer = peer_name(is_client);
    match error {
        Error::AlertReceived(alert) => alert_text(*alert, peer),
        Error::InvalidCertificate(wrong) => {
            format!(
                "the {peer}'s certificate was refused: {}",
                wrong_text(wrong, is_client)
            )
        }
        Error::NoCertificatesPresented => {
            format!("the {peer} showed no certificate, and one is required")
        }
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            format!("the {peer} does not speak TLS: what it sent is not a TLS record")
        }
        Error::PeerIncompatible(
            PeerIncompatible::NoCipherSuitesInCommon
            | PeerIncompatible::NoKxGroupsInCommon
            | PeerIncompatible::NoSignatureSchemesInCommon,
        ) => format!("the {peer} has no cryptography in common with this end ({error})"),
        Error::NoApplicationProtocol => {
            format!("the {peer} has no application protocol (ALPN) in common with this end")
        }
        other => format!("TLS failed: {other}"),
    }
}

fn alert_text(alert: AlertDescription, peer: &str) -> String {
    let meaning = match alert {
        AlertDescription::UnknownCA => "it does not trust the authority of this end's certificate",
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            "it refused this end's certificate"
        }
        AlertDescription::CertificateExpired => "this end's certificate has expired",
        AlertDescription::CertificateRequired => "it requires a certificate of this end",
        AlertDescription::UnrecognisedName => "it does not know the host name it was asked for",
        AlertDescription::NoApplicationProtocol => {
            "it supports none of the application protocols (ALPN) of this end"
        }
        AlertDescription::ProtocolVersion => "it supports no TLS version of this end",
        AlertDescription::HandshakeFailure => "it has no cryptography in common with this end",
        _ => return format!("the {peer} ended TLS with the alert {alert:?}"),
    };
    format!("the {peer} ended TLS: {meaning} (alert {alert:?})")
}

fn wrong_text(wrong: &CertificateError, is_client: bool) -> String {
    let meaning = match wrong {
        CertificateError::UnknownIssuer if is_client => {
            "its authority is not trusted; to trust one of your own, name it (ClientTLS(ca=...))"
        }
        CertificateError::BadSignature => "its authority has not signed it",
        CertificateError::UnknownIssuer => "its authority is not among the trusted ones",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet"
        }
        CertificateError::Revoked => "it was revoked",
        other => return other.to_string(),
    };
    meaning.to_owned()
}
