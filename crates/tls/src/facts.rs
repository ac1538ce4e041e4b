//! What the two ends have agreed on.

use rustls::crypto::SupportedKxGroup;
use rustls::pki_types::CertificateDer;
use rustls::{CipherSuite, CommonState, HandshakeKind, NamedGroup, ProtocolVersion};

/// What a finished handshake has agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite by its registered name.
    pub cipher: String,
    /// The group of the key exchange by its registered name; none of a resumed TLS 1.2 session.
    pub group: Option<String>,
    /// The application protocol (ALPN, RFC 7301).
    pub alpn: Option<Vec<u8>>,
    /// The host name that the client asked for (SNI, RFC 6066 section 3); on a client, the name
    /// that the server's certificate was checked for.
    pub server_name: Option<String>,
    /// The peer's certificates in DER, its own first. They have been verified.
    pub peer_certificates: Vec<Vec<u8>>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
}

/// The same as a connection keeps it, which may be idle for long.
pub(crate) struct Agreed {
    version: ProtocolVersion,
    suite: CipherSuite,
    group: Option<NamedGroup>,
    alpn: Option<Box<[u8]>>,
    server_name: Option<Box<str>>,
    peer_certificates: Box<[CertificateDer<'static>]>,
    resumed: bool,
}

impl Agreed {
    pub(crate) fn of(state: &CommonState, server_name: Option<Box<str>>) -> Option<Self> {
        Some(Self {
            version: state.protocol_version()?,
            suite: state.negotiated_cipher_suite()?.suite(),
            group: (state.negotiated_key_exchange_group()).map(SupportedKxGroup::name),
            alpn: state.alpn_protocol().map(Into::into),
            server_name,
            peer_certificates: state.peer_certificates().unwrap_or_default().into(),
            resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
        })
    }

    pub(crate) fn facts(&self) -> Facts {
        Facts {
            version: match self.version {
                ProtocolVersion::TLSv1_2 => "TLSv1.2",
                _ => "TLSv1.3",
            },
            cipher: format!("{:?}", self.suite).replacen("TLS13_", "TLS_", 1),
            group: self.group.map(|group| format!("{group:?}")),
            alpn: self.alpn.as_deref().map(<[u8]>::to_vec),
            server_name: self.server_name.as_deref().map(ToOwned::to_owned),
            peer_certificates: self
                .peer_certificates
                .iter()
                .map(|it| it.to_vec())
                .collect(),
            resumed: self.resumed,
        }
    }
}
