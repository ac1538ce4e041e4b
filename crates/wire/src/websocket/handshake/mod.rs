//! The opening handshake, RFC 6455 section 4: one HTTP request, one HTTP response.
//!
//! The server half checks a request and writes the response; the client half writes a request and
//! checks the response. What both share is here: the key and the value that proves it was read.

mod client;
mod origin;
mod server;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use sha1::{Digest, Sha1};

pub use client::{Agreed, Ask, HandshakeError, Offered, append_request, check_response};
pub use origin::{InvalidOrigin, OriginPattern};
pub use server::{Acceptance, Upgrade, append_response, check, is_upgrade, refuse_plain};

use crate::http::InvalidHeader;

/// Section 1.3: chosen because no server that does not know the protocol would use it.
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The last character of a key carries four bits that belong to no byte. A strict decoder wants
/// them to be zero (RFC 4648 section 3.5); here they are not checked, as a server need not decode
/// at all.
const KEY_DECODER: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// The value of `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key` (section 4.2.2 step 5.4).
pub fn accept_value(key: &str) -> String {
    let mut digest = Sha1::new();
    digest.update(key.as_bytes());
    digest.update(ACCEPT_SUFFIX);
    STANDARD.encode(digest.finalize())
}

/// The value of `Sec-WebSocket-Key` for 16 random bytes (section 4.1 step 7).
pub fn encode_key(nonce: [u8; 16]) -> String {
    STANDARD.encode(nonce)
}

fn is_key(key: &str) -> bool {
    KEY_DECODER.decode(key).is_ok_and(|nonce| nonce.len() == 16)
}

/// Refuses header lines that the handshake writes itself.
fn check_extra(extra: &[(String, String)], reserved: &[&str]) -> Result<(), InvalidHeader> {
    for (name, _) in extra {
        if reserved
            .iter()
            .any(|reserved| name.eq_ignore_ascii_case(reserved))
        {
            return Err(InvalidHeader::new(
                name,
                "is written by the handshake itself",
            ));
        }
    }
    Ok(())
}
