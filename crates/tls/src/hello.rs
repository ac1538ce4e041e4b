//! What a server reads in a `ClientHello` before rustls does (RFC 8446 section 4.1.2).

/// Header of the record, header of the message, version and random bytes.
const BEFORE_SESSION: usize = 5 + 4 + 2 + 32;
const HANDSHAKE_RECORD: u8 = 22;
const CLIENT_HELLO: u8 = 1;

/// Whether a client wants ChaCha20-Poly1305 rather than AES, because its processor has no
/// instructions for AES. `record` is its first one.
pub(crate) fn prefers_chacha(record: &[u8]) -> bool {
    suites(record).is_some_and(|mut suites| {
        let is_chacha = |suite: &[u8]| {
            // TLS 1.3's, and those of TLS 1.2 with ECDHE.
            matches!(suite, [0x13, 0x03] | [0xcc, 0xa8 | 0xa9])
        };
        let is_aes = |suite: &[u8]| {
            matches!(
                suite,
                [0x13, 0x01 | 0x02] | [0xc0, 0x2b | 0x2c | 0x2f | 0x30]
            )
        };
        suites
            .find(|it| is_chacha(it) || is_aes(it))
            .is_some_and(is_chacha)
    })
}

/// The cipher suites, as far as the record has them.
fn suites(record: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    if record.first() != Some(&HANDSHAKE_RECORD) || record.get(5) != Some(&CLIENT_HELLO) {
        return None;
    }
    let rest = record.get(BEFORE_SESSION..)?;
    let (session_bytes, rest) = rest.split_first()?;
    let rest = rest.get(usize::from(*session_bytes)..)?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length));
    Some(rest[..length.min(rest.len())].chunks_exact(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(suites: &[u8]) -> Vec<u8> {
        let mut record = vec![22, 3, 1, 1, 0, 1, 0, 0, 200, 3, 3];
        record.extend_from_slice(&[7; 32]);
        record.extend_from_slice(&[4, 1, 2, 3, 4]);
        record.extend_from_slice(&(suites.len() as u16).to_be_bytes());
        record.extend_from_slice(suites);
        record
    }

    #[test]
    fn the_first_suite_of_either_kind_decides() {
        const GREASE: [u8; 2] = [0x5a, 0x5a];
        let chacha = [GREASE, [0x13, 0x03], [0x13, 0x01]].concat();
        assert!(prefers_chacha(&hello(&chacha)));
        assert!(prefers_chacha(&hello(&[0xcc, 0xa9, 0xc0, 0x2b])));
        let aes = [GREASE, [0x13, 0x02], [0x13, 0x03]].concat();
        assert!(!prefers_chacha(&hello(&aes)));
        assert!(!prefers_chacha(&hello(&[0xc0, 0x2f, 0xcc, 0xa8])));
        assert!(!prefers_chacha(&hello(&[])));
    }

    #[test]
    fn a_hello_that_is_cut_or_something_else_prefers_nothing() {
        let whole = hello(&[0x13, 0x03]);
        for length in 0..whole.len() {
            assert!(!prefers_chacha(&whole[..length]), "{length} bytes");
        }
        assert!(!prefers_chacha(
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
        ));
        let mut other = whole;
        other[5] = 2;
        assert!(!prefers_chacha(&other));
    }
}
