//! Certificates and keys from PEM (RFC 7468).

use crate::error::TlsError;
use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate with those that lead to its authority, and its key, as PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate, and behind it the intermediate ones.
    pub certificates: Vec<u8>,
    /// The private key: PKCS#8, PKCS#1 or SEC1.
    pub key: Vec<u8>,
}

/// What is wrong with PEM, in words.
fn broken(error: &Error) -> TlsError {
    TlsError::new(match error {
        Error::MissingSectionEnd { .. } => "a block in it has no end (-----END ...)".to_owned(),
        Error::IllegalSectionStart { .. } => {
            "the first line of a block in it is not -----BEGIN ...-----".to_owned()
        }
        other => format!("it is not valid PEM: {other}"),
    })
}

pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, Error> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|error| broken(&error))?;
    if all.is_empty() {
        return Err(TlsError::new(
            "it has no certificate in it (a block that begins with -----BEGIN CERTIFICATE-----)",
        ));
    }
    Ok(all)
}

pub(crate) fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    if pem.windows(9).any(|it| it == b"ENCRYPTED") {
        return Err(TlsError::new(
            "the private key is encrypted with a passphrase, which is not supported: decrypt it \
             (openssl pkey -in key.pem -out plain.pem) and protect the file by its permissions",
        ));
    }
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        Error::NoItemsFound => TlsError::new(
            "it has no private key in it (a block that begins with -----BEGIN PRIVATE KEY-----)",
        ),
        other => broken(&other),
    })
}
