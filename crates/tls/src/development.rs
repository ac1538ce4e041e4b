//! Certificates for development and tests, from an authority of one's own.

use crate::error::TlsError;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use std::fmt::Write as _;
use time::{Duration, OffsetDateTime};

/// A certificate and its key, as PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The private key (PKCS#8).
    pub key: String,
}

/// Browsers and phones refuse leaf certificates that are valid for longer than 825 days.
const DAYS_MAX: i64 = 825;

fn params(names: &[String], common_name: &str, days: i64) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::new(names.to_vec())
        .map_err(|error| TlsError::new(format!("a name is not valid: {error}")))?;
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    // The clocks of two machines differ.
    params.not_before = OffsetDateTime::now_utc() - Duration::hours(1);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(days);
    Ok(params)
}

fn failed(error: &rcgen::Error) -> TlsError {
    TlsError::new(format!("the certificate could not be made: {error}"))
}

/// An authority's name, which has the start of its public key in it: a client that trusts one of
/// them knows another by its name.
fn authority_params(key: &KeyPair) -> Result<CertificateParams, TlsError> {
    let mut name = String::from("Vespiary development authority ");
    for byte in key.public_key_raw().iter().skip(1).take(4) {
        let _ = write!(name, "{byte:02x}");
    }
    let mut params = params(&[], &name, 3650)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// An authority that signs certificates, valid for ten years.
pub fn authority() -> Result<Pair, TlsError> {
    let key = KeyPair::generate().map_err(|error| failed(&error))?;
    let certificate = authority_params(&key)?
        .self_signed(&key)
        .map_err(|error| failed(&error))?;
    Ok(Pair {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

/// A certificate for host names and addresses, of a server or a client, signed with the key of an
/// [`authority`].
pub fn certificate(authority_key: &str, names: &[String], days: i64) -> Result<Pair, TlsError> {
    let Some(first) = names.first() else {
        return Err(TlsError::new("a certificate is for one name at least"));
    };
    let mut params = params(names, first, days.min(DAYS_MAX))?;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let issuer_key = KeyPair::from_pem(authority_key)
        .map_err(|error| TlsError::new(format!("the authority's key is not valid: {error}")))?;
    let issuer = Issuer::new(authority_params(&issuer_key)?, issuer_key);
    let key = KeyPair::generate().map_err(|error| failed(&error))?;
    let signed = params
        .signed_by(&key, &issuer)
        .map_err(|error| failed(&error))?;
    Ok(Pair {
        certificate: signed.pem(),
        key: key.serialize_pem(),
    })
}
