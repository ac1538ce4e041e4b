//! Which authorities are trusted.

use crate::error::TlsError;
use crate::pem;
use rustls::RootCertStore;
use std::sync::Arc;

/// The authorities of a PEM file.
pub(crate) fn of_pem(pem: &[u8]) -> Result<Arc<RootCertStore>, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in pem::certificates(pem)? {
        store
            .add(certificate)
            .map_err(|error| TlsError::new(format!("a certificate in it is not valid: {error}")))?;
    }
    Ok(Arc::new(store))
}

/// The authorities that this machine trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` name others.
pub(crate) fn of_system() -> Result<Arc<RootCertStore>, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        return Err(TlsError::new(
            "this machine has no trusted authorities: install its package of them \
             (ca-certificates), or name some (ClientTLS(ca=...))",
        ));
    }
    Ok(Arc::new(store))
}
