//! TLS of the client's connections (RFC 8446, RFC 5246).
//!
//! It uses rustls with the buffers of rustls, and nothing of `crates/tls`: what tests a server
//! shares no code with it. Each connection makes a full handshake, as the clients of different
//! machines do: no session is resumed.

use std::io::{self, Read as _, Write as _};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, CipherSuite, ClientConfig, ClientConnection, DigitallySignedStruct,
    Error as Failure, InvalidMessage, KeyLogFile, RootCertStore, SignatureScheme,
};

use crate::error::Error;
use crate::framing::Framing;
use crate::plan::Plan;

/// What TLS connections need to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// The trusted authorities, as PEM. `None`: those of this machine.
    pub authorities: Option<Vec<u8>>,
    /// A certificate with its chain, and its key, as PEM, for servers that ask for one.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// Take every certificate.
    pub is_insecure: bool,
}

/// What all TLS connections of `plan` share; `None` where no target speaks TLS.
pub fn configure(plan: &Plan) -> Result<Option<Arc<ClientConfig>>, Error> {
    if !plan.is_secure() {
        return Ok(None);
    }
    let mut provider = aws_lc_rs::default_provider();
    // Browsers offer AES with the shorter keys first, so most servers use it.
    provider
        .cipher_suites
        .sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    let provider = Arc::new(provider);
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::plan(error.to_string()))?;
    let builder = if plan.tls.is_insecure {
        let anybody = Arc::new(Anybody(provider));
        builder
            .dangerous()
            .with_custom_certificate_verifier(anybody)
    } else {
        builder.with_root_certificates(roots(plan.tls.authorities.as_deref())?)
    };
    let mut config = match &plan.tls.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate, "--cert")?;
            let key = PrivateKeyDer::from_pem_slice(key)
                .map_err(|error| Error::plan(format!("--key: it has no private key: {error}")))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| Error::plan(format!("--cert and --key: {error}")))?
        }
    };
    if matches!(plan.framing, Framing::WebSocket | Framing::Http) {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
    }
    config.resumption = Resumption::disabled();
    config.key_log = Arc::new(KeyLogFile::new());
    Ok(Some(Arc::new(config)))
}

fn certificates(pem: &[u8], option: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(Error::plan(format!("{option}: it has no certificate"))),
        Err(error) => Err(Error::plan(format!("{option}: it is not PEM: {error}"))),
    }
}

fn roots(authorities: Option<&[u8]>) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    if let Some(pem) = authorities {
        for certificate in certificates(pem, "--ca")? {
            roots
                .add(certificate)
                .map_err(|error| Error::plan(format!("--ca: {error}")))?;
        }
        return Ok(roots);
    }
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(Error::plan(
            "this machine has no trusted authorities: name some with --ca, or accept every \
             certificate with --insecure",
        ));
    }
    Ok(roots)
}

/// Takes every certificate. That the server has the certificate's key is checked nevertheless.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Failure> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Failure> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Failure> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The TLS of one connection.
#[derive(Debug)]
pub struct Tls {
    session: ClientConnection,
    /// The server has said that it sends nothing more (`close_notify`).
    pub is_ended_by_server: bool,
    /// This end has said so.
    pub is_ended: bool,
}

impl Tls {
    /// Before the first byte; it has one to send.
    pub fn new(config: &Arc<ClientConfig>, name: &ServerName<'static>) -> Result<Self, String> {
        let mut session = ClientConnection::new(config.clone(), name.clone())
            .map_err(|error| describe(&error))?;
        session.set_buffer_limit(None);
        Ok(Self {
            session,
            is_ended_by_server: false,
            is_ended: false,
        })
    }

    /// Whether no message can be sent yet.
    pub fn is_handshaking(&self) -> bool {
        self.session.is_handshaking()
    }

    /// Whether it has something to send that is not a message.
    pub fn wants_write(&self) -> bool {
        self.session.wants_write()
    }

    /// Take bytes that came, and append what they mean to `plain`: also if an error follows it.
    pub fn take(&mut self, mut bytes: &[u8], plain: &mut Vec<u8>) -> Result<(), String> {
        while !bytes.is_empty() {
            self.session
                .read_tls(&mut bytes)
                .map_err(|error| error.to_string())?;
            let state = self
                .session
                .process_new_packets()
                .map_err(|error| describe(&error))?;
            let start = plain.len();
            plain.resize(start + state.plaintext_bytes_to_read(), 0);
            let read = self.session.reader().read_exact(&mut plain[start..]);
            read.map_err(|error| error.to_string())?;
            if state.peer_has_closed() {
                self.is_ended_by_server = true;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Append to `wire` what TLS itself has to send, and the records of `plain`.
    pub fn seal(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> io::Result<()> {
        self.session.writer().write_all(plain)?;
        while self.session.wants_write() {
            self.session.write_tls(wire)?;
        }
        Ok(())
    }

    /// Say that this end sends nothing more.
    pub fn end(&mut self) {
        if !std::mem::replace(&mut self.is_ended, true) {
            self.session.send_close_notify();
        }
    }
}

fn describe(error: &Failure) -> String {
    let advice = match error {
        Failure::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "; name its authority with --ca, or accept every certificate with --insecure"
        }
        Failure::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "; the server does not speak TLS"
        }
        _ => "",
    };
    format!("TLS: {error}{advice}")
}
