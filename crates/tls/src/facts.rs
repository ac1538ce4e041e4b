//! What the two ends have agreed on.

use rustls::{CommonState, HandshakeKind, ProtocolVersion};

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

impl Facts {
    pub(crate) fn of(state: &CommonState, server_name: Option<String>) -> Option<Self> {
        let version = match state.protocol_version()? {
            ProtocolVersion::TLSv1_2 => "TLSv1.2",
            _ => "TLSv1.3",
        };
        let suite = state.negotiated_cipher_suite()?.suite();
        let cipher = format!("{suite:?}").replacen("TLS13_", "TLS_", 1);
        let group = state.negotiated_key_exchange_group();
        let certificates = state.peer_certificates().unwrap_or_default();
        Some(Self {
            version,
            cipher,
            group: group.map(|it| format!("{:?}", it.name())),
            alpn: state.alpn_protocol().map(<[u8]>::to_vec),
            server_name,
            peer_certificates: certificates.iter().map(|it| it.to_vec()).collect(),
            resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
        })
    }
}
