//! The TLS of clients.

use crate::error::TlsError;
use crate::handshake::Handshake;
use crate::layer::TlsLayer;
use crate::pem::Identity;
use crate::server::{Setting, certified, provider, versions};
use crate::trust;
use rustls::client::UnbufferedClientConnection;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, KeyLogFile};
use std::sync::Arc;

/// What a person chooses for a client.
#[derive(Clone, Debug, Default)]
pub struct ClientSettings {
    /// The trusted authorities, as PEM; default: this machine's.
    pub authorities: Option<Vec<u8>>,
    /// The certificate that a server which asks for one is shown.
    pub identity: Option<Identity>,
    /// The application protocols (ALPN), the best first.
    pub alpn: Vec<Vec<u8>>,
    /// Whether TLS 1.2 is used besides 1.3.
    pub allows_tls12: bool,
}

/// The TLS of clients, checked. Connections with one server resume each other's sessions.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
}

impl ClientTls {
    /// Check the settings.
    pub fn new(settings: &ClientSettings) -> Result<Self, (Option<Setting>, TlsError)> {
        Self::with_provider(settings, provider())
    }

    pub(crate) fn with_provider(
        settings: &ClientSettings,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, (Option<Setting>, TlsError)> {
        let roots = match &settings.authorities {
            Some(pem) => {
                trust::of_pem(pem).map_err(|error| (Some(Setting::ServerAuthorities), error))?
            }
            None => trust::of_system().map_err(|error| (None, error))?,
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions(settings.allows_tls12))
            .map_err(|error| (None, TlsError::new(error.to_string())))?
            .with_root_certificates(roots);
        let mut config = match &settings.identity {
            Some(identity) => {
                let resolver = SingleCertAndKey::from(certified(identity, 0)?);
                builder.with_client_cert_resolver(Arc::new(resolver))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&settings.alpn);
        config.key_log = Arc::new(KeyLogFile::new());
        config.enable_secret_extraction = true;
        Ok(Self {
            config: Arc::new(config),
        })
    }

    /// The layer of a connection with the server of this name or address, which its certificate
    /// must be valid for.
    pub fn layer(&self, server_name: &str) -> Result<TlsLayer, TlsError> {
        let name = ServerName::try_from(server_name.to_owned())
            .map_err(|_| TlsError::new(format!("{server_name:?} cannot be a server's name")))?;
        UnbufferedClientConnection::new(self.config.clone(), name)
            .map(|session| TlsLayer::new(Handshake::of_client(session, server_name)))
            .map_err(|error| TlsError::new(error.to_string()))
    }
}
