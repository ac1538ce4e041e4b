//! The TLS of a server's endpoint.
//!
//! Everything that connections share is one [`ServerConfig`] of rustls. [`ServerTls::replace`] puts
//! another in its place: connections of before keep the old one.

use crate::error::TlsError;
use crate::handshake::Handshake;
use crate::layer::TlsLayer;
use crate::pem::{self, Identity};
use crate::tickets::{TicketSecret, Tickets};
use crate::trust;
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::server::{
    ClientHello, ParsedCertificate, ProducesTickets, ResolvesServerCert,
    UnbufferedServerConnection, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{KeyLogFile, ServerConfig, SupportedProtocolVersion, version};
use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// Whether clients must show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clients {
    /// They are not asked.
    #[default]
    Anonymous,
    /// They are asked; those without one are admitted.
    Asked,
    /// Those without one are refused.
    Required,
}

/// What a person chooses for a server's endpoint.
#[derive(Clone, Debug, Default)]
pub struct ServerSettings {
    /// The certificates. The first is shown to clients that ask for no name, or for one that no
    /// certificate is valid for.
    pub identities: Vec<Identity>,
    /// The authorities of clients' certificates, as PEM.
    pub client_authorities: Option<Vec<u8>>,
    /// Whether clients must show one.
    pub clients: Clients,
    /// The application protocols (ALPN), the best first.
    pub alpn: Vec<Vec<u8>>,
    /// Whether TLS 1.2 is used besides 1.3.
    pub allows_tls12: bool,
}

/// Which setting is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// The certificate with this number.
    Certificate(usize),
    /// The key with this number.
    Key(usize),
    /// The authorities of clients.
    ClientAuthorities,
    /// The authorities of servers.
    ServerAuthorities,
}

/// The TLS of a server's endpoint, checked.
#[derive(Clone)]
pub struct ServerTls {
    shared: Arc<Shared>,
}

struct Shared {
    configs: RwLock<Arc<Configs>>,
    secret: Arc<TicketSecret>,
}

/// The same settings, with either end's order of cipher suites.
///
/// AES with keys of 128 bits goes before that with 256: it needs SHA-256 instead of SHA-384, for
/// which processors have no instructions, and so a third less time for a handshake. A client that
/// prefers ChaCha20-Poly1305 has its own reason, and its own order counts.
pub(crate) struct Configs {
    own_order: Arc<ServerConfig>,
    clients_order: Arc<ServerConfig>,
}

impl Configs {
    fn new(mut config: ServerConfig) -> Self {
        config.ignore_client_order = false;
        let clients_order = Arc::new(config.clone());
        config.ignore_client_order = true;
        Self {
            own_order: Arc::new(config),
            clients_order,
        }
    }

    /// rustls' part of a new connection.
    pub(crate) fn session(
        &self,
        prefers_chacha: bool,
    ) -> Result<UnbufferedServerConnection, rustls::Error> {
        UnbufferedServerConnection::new(if prefers_chacha {
            self.clients_order.clone()
        } else {
            self.own_order.clone()
        })
    }
}

impl ServerTls {
    /// Check the settings.
    pub fn new(settings: &ServerSettings) -> Result<Self, (Option<Setting>, TlsError)> {
        let secret = TicketSecret::new()
            .ok_or_else(|| (None, TlsError::new("this system has no random numbers")))?;
        let config = config(settings, tickets(settings, &secret))?;
        Ok(Self {
            shared: Arc::new(Shared {
                configs: RwLock::new(Arc::new(Configs::new(config))),
                secret,
            }),
        })
    }

    /// Use other settings for connections that begin from now on. If they are not valid, nothing
    /// changes.
    pub fn replace(&self, settings: &ServerSettings) -> Result<(), (Option<Setting>, TlsError)> {
        let tickets = tickets(settings, &self.shared.secret);
        let configs = Arc::new(Configs::new(config(settings, tickets)?));
        let mut current = self
            .shared
            .configs
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *current = configs;
        Ok(())
    }

    /// Replace the secret of the session tickets if its time is over: for a process that serves no
    /// connections, but is forked to do so.
    pub fn rotate_tickets(&self) {
        self.shared.secret.rotate();
    }

    /// The layer of a connection that was accepted.
    pub fn layer(&self) -> TlsLayer {
        let current = self
            .shared
            .configs
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        TlsLayer::new(Handshake::of_server(current.clone()))
    }
}

/// The tickets of sessions. One of a client that was admitted under other authorities is not
/// resumed.
fn tickets(settings: &ServerSettings, secret: &Arc<TicketSecret>) -> Arc<Tickets> {
    let clients = format!("{:?}", settings.clients);
    let authorities = settings.client_authorities.as_deref().unwrap_or_default();
    Tickets::new(secret.clone(), &[clients.as_bytes(), authorities])
}

pub(crate) fn versions(allows_tls12: bool) -> &'static [&'static SupportedProtocolVersion] {
    const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
    const NEWEST: &[&SupportedProtocolVersion] = &[&version::TLS13];
    if allows_tls12 { BOTH } else { NEWEST }
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The same with a server's order of cipher suites: see [`Configs`].
fn servers_provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| {
        let algorithm = format!("{:?}", suite.suite());
        (suite.tls13().is_none(), !algorithm.contains("AES_128"))
    });
    Arc::new(provider)
}

/// A certificate and its key, as rustls uses them.
pub(crate) fn certified(
    identity: &Identity,
    number: usize,
) -> Result<CertifiedKey, (Option<Setting>, TlsError)> {
    let in_certificate = |error| (Some(Setting::Certificate(number)), error);
    let in_key = |error| (Some(Setting::Key(number)), error);
    let chain = pem::certificates(&identity.certificates).map_err(in_certificate)?;
    let key = pem::key(&identity.key).map_err(in_key)?;
    let key = provider()
        .key_provider
        .load_private_key(key)
        .map_err(|error| {
            in_key(TlsError::new(format!(
                "the private key is not usable: {error}"
            )))
        })?;
    let certified = CertifiedKey::new(chain, key);
    ParsedCertificate::try_from(&certified.cert[0])
        .map_err(|error| in_certificate(TlsError::new(format!("it is not valid: {error}"))))?;
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
            Ok(certified)
        }
        Err(_) => Err(in_key(TlsError::new(
            "it is not the key of that certificate",
        ))),
    }
}

fn config(
    settings: &ServerSettings,
    ticketer: Arc<dyn ProducesTickets>,
) -> Result<ServerConfig, (Option<Setting>, TlsError)> {
    let mut certificates = Vec::new();
    for (number, identity) in settings.identities.iter().enumerate() {
        certificates.push(Arc::new(certified(identity, number)?));
    }
    if certificates.is_empty() {
        return Err((
            None,
            TlsError::new("a server needs a certificate and its key"),
        ));
    }
    let in_authorities = |error| (Some(Setting::ClientAuthorities), error);
    let builder = ServerConfig::builder_with_provider(servers_provider())
        .with_protocol_versions(versions(settings.allows_tls12))
        .map_err(|error| (None, TlsError::new(error.to_string())))?;
    let builder = match &settings.client_authorities {
        Some(pem) if settings.clients != Clients::Anonymous => {
            let roots = trust::of_pem(pem).map_err(in_authorities)?;
            let mut verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
            if settings.clients == Clients::Asked {
                verifier = verifier.allow_unauthenticated();
            }
            let verifier = verifier
                .build()
                .map_err(|error| in_authorities(TlsError::new(error.to_string())))?;
            builder.with_client_cert_verifier(verifier)
        }
        _ => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(ByName { certificates }));
    config.alpn_protocols.clone_from(&settings.alpn);
    config.ticketer = ticketer;
    // What SSLKEYLOGFILE names, so that a debugger of networks can read along.
    config.key_log = Arc::new(KeyLogFile::new());
    config.enable_secret_extraction = true;
    Ok(config)
}

thread_local! {
    /// The name in the latest ClientHello. rustls shows it to its resolver of certificates alone,
    /// which does not know the connection; the layer takes it as soon as the call is over.
    static ASKED_NAME: RefCell<Option<String>> = const { RefCell::new(None) };
}

pub(crate) fn take_asked_name() -> Option<String> {
    ASKED_NAME.take()
}

/// Chooses the certificate that is valid for the name that a client asks for.
struct ByName {
    certificates: Vec<Arc<CertifiedKey>>,
}

impl fmt::Debug for ByName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} certificates", self.certificates.len())
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        ASKED_NAME.set(hello.server_name().map(ToOwned::to_owned));
        let first = self.certificates.first();
        let Some(name) = hello.server_name().filter(|_| self.certificates.len() > 1) else {
            return first.cloned();
        };
        let name = ServerName::try_from(name).ok()?;
        let is_for_name = |it: &&Arc<CertifiedKey>| {
            let parsed = ParsedCertificate::try_from(&it.cert[0]);
            parsed.is_ok_and(|parsed| verify_server_name(&parsed, &name).is_ok())
        };
        self.certificates
            .iter()
            .find(is_for_name)
            .or(first)
            .cloned()
    }
}
