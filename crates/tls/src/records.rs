//! The protection of records (RFC 8446 section 5; RFC 5246 section 6.2.3.3 with RFC 5288 and
//! RFC 7905), with the keys that a handshake of rustls has agreed on.
//!
//! Records are encrypted where they leave from, and decrypted where they arrived. One direction of
//! a connection needs a cipher and two numbers, about 700 bytes.

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey,
};
use rustls::{ConnectionTrafficSecrets, ContentType, Error, PeerMisbehaved};

pub(crate) const HEADER_BYTES: usize = 5;
/// Plain bytes of a record, at most (RFC 8446 section 5.1).
pub(crate) const PLAIN_BYTES_MAX: usize = 1 << 14;
const TAG_BYTES: usize = 16;
/// The part of the nonce that TLS 1.2 sends with each record (RFC 5288 section 3).
const EXPLICIT_BYTES: usize = 8;
/// What a record adds to its plain bytes, at most.
pub(crate) const OVERHEAD_BYTES: usize = HEADER_BYTES + EXPLICIT_BYTES + TAG_BYTES;

/// How the parts of a record are arranged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Tls13,
    /// TLS 1.2 with AES-GCM.
    Explicit,
    /// TLS 1.2 with ChaCha20-Poly1305.
    Implicit,
}

/// The protection of one direction.
pub(crate) struct Keys {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    /// How many records it has protected.
    sequence: u64,
    form: Form,
}

impl Keys {
    pub(crate) fn new(
        (sequence, secrets): (u64, ConnectionTrafficSecrets),
        is_tls13: bool,
    ) -> Result<Self, Error> {
        let (algorithm, key, iv, form) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => {
                (&AES_128_GCM, key, iv, Form::Explicit)
            }
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => {
                (&AES_256_GCM, key, iv, Form::Explicit)
            }
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
                (&CHACHA20_POLY1305, key, iv, Form::Implicit)
            }
            _ => return Err(Error::General("a cipher that is not known".into())),
        };
        let unusable = || Error::General("keys that do not fit their cipher".into());
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| unusable())?;
        Ok(Self {
            key: LessSafeKey::new(key),
            iv: iv.as_ref().try_into().map_err(|_| unusable())?,
            sequence,
            form: if is_tls13 { Form::Tls13 } else { form },
        })
    }

    /// How many records it has protected.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    #[cfg(test)]
    pub(crate) fn skip_to(&mut self, sequence: u64) {
        self.sequence = sequence;
    }

    /// The number of the next record, which is used for no other one.
    fn advance(&mut self) -> Result<u64, Error> {
        let sequence = self.sequence;
        self.sequence = sequence.checked_add(1).ok_or(Error::EncryptError)?;
        Ok(sequence)
    }

    fn nonce(&self, sequence: u64) -> [u8; NONCE_LEN] {
        let mut nonce = self.iv;
        let place = &mut nonce[NONCE_LEN - EXPLICIT_BYTES..];
        for (byte, number) in place.iter_mut().zip(sequence.to_be_bytes()) {
            *byte ^= number;
        }
        nonce
    }

    /// Append a record with at most [`PLAIN_BYTES_MAX`] bytes of this type.
    pub(crate) fn seal(
        &mut self,
        kind: ContentType,
        plain: &[u8],
        wire: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let sequence = self.advance()?;
        let nonce = self.nonce(sequence);
        let kind = u8::from(kind);
        let before = wire.len();
        let start;
        let sealed = if self.form == Form::Tls13 {
            // The true type is behind the bytes, and encrypted with them.
            let outer = u8::from(ContentType::ApplicationData);
            let header = header(outer, plain.len() + 1 + TAG_BYTES);
            wire.extend_from_slice(&header);
            start = wire.len();
            wire.extend_from_slice(plain);
            wire.push(kind);
            self.seal_from(nonce, &header, &mut wire[start..])
        } else {
            let explicit: &[u8] = match self.form {
                Form::Explicit => &nonce[NONCE_LEN - EXPLICIT_BYTES..],
                _ => &[],
            };
            wire.extend_from_slice(&header(kind, explicit.len() + plain.len() + TAG_BYTES));
            wire.extend_from_slice(explicit);
            start = wire.len();
            wire.extend_from_slice(plain);
            let context = context(sequence, header(kind, plain.len()));
            self.seal_from(nonce, &context, &mut wire[start..])
        };
        match sealed {
            Ok(tag) => {
                wire.extend_from_slice(&tag);
                Ok(())
            }
            Err(error) => {
                wire.truncate(before);
                Err(error)
            }
        }
    }

    fn seal_from(
        &self,
        nonce: [u8; NONCE_LEN],
        context: &[u8],
        plain: &mut [u8],
    ) -> Result<[u8; TAG_BYTES], Error> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key
            .seal_in_place_separate_tag(nonce, Aad::from(context), plain)
            .ok()
            .and_then(|tag| tag.as_ref().try_into().ok())
            .ok_or(Error::EncryptError)
    }

    /// Decrypt a record where it is: its type, and its plain bytes.
    pub(crate) fn open<'a>(
        &mut self,
        outer: [u8; HEADER_BYTES],
        body: &'a mut [u8],
    ) -> Result<(ContentType, &'a [u8]), Error> {
        let sequence = self.advance().map_err(|_| Error::DecryptError)?;
        let mut nonce = self.nonce(sequence);
        let body = match self.form {
            Form::Explicit => {
                let (explicit, body) = body
                    .split_first_chunk_mut::<EXPLICIT_BYTES>()
                    .ok_or(Error::DecryptError)?;
                nonce[..NONCE_LEN - EXPLICIT_BYTES]
                    .copy_from_slice(&self.iv[..NONCE_LEN - EXPLICIT_BYTES]);
                nonce[NONCE_LEN - EXPLICIT_BYTES..].copy_from_slice(explicit);
                body
            }
            Form::Tls13 | Form::Implicit => body,
        };
        let (plain, tag) = body
            .split_last_chunk_mut::<TAG_BYTES>()
            .ok_or(Error::DecryptError)?;
        let (length, kind) = (plain.len(), outer[0]);
        let with_tls12;
        let context: &[u8] = if self.form == Form::Tls13 {
            &outer
        } else {
            // The version is the record's own, so that another one is noticed.
            let [high, low] = (length as u16).to_be_bytes();
            with_tls12 = context(sequence, [kind, outer[1], outer[2], high, low]);
            &with_tls12
        };
        let nonce = Nonce::assume_unique_for_key(nonce);
        let plain = self
            .key
            .open_in_place_separate_tag(nonce, Aad::from(context), &tag[..], plain)
            .map_err(|_| Error::DecryptError)?;
        let type_bytes = usize::from(self.form == Form::Tls13);
        if length > PLAIN_BYTES_MAX + type_bytes {
            return Err(Error::PeerSentOversizedRecord);
        }
        if type_bytes == 0 {
            return Ok((ContentType::from(kind), plain));
        }
        // Zeros behind the type are padding.
        let end = plain.iter().rposition(|byte| *byte != 0);
        let end = end.ok_or(PeerMisbehaved::IllegalTlsInnerPlaintext)?;
        Ok((ContentType::from(plain[end]), &plain[..end]))
    }
}

fn header(kind: u8, length: usize) -> [u8; HEADER_BYTES] {
    let [high, low] = (length as u16).to_be_bytes();
    [kind, 3, 3, high, low]
}

/// What TLS 1.2 authenticates with a record (RFC 5246 section 6.2.3.3).
fn context(sequence: u64, header: [u8; HEADER_BYTES]) -> [u8; 8 + HEADER_BYTES] {
    let mut context = [0; 8 + HEADER_BYTES];
    context[..8].copy_from_slice(&sequence.to_be_bytes());
    context[8..].copy_from_slice(&header);
    context
}
