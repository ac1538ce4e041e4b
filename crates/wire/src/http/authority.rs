//! Host and port, RFC 9110 section 7.2 and RFC 3986 section 3.2: what `Host` and an absolute
//! target name.

use std::net::Ipv6Addr;
use vespiary_trace::requires;

/// `uri-host [ ":" port ]`: a name or an address, which may not be empty (RFC 9110 section 4.2.1),
/// without user information (section 4.2.4).
pub(super) fn is_authority(authority: &str) -> bool {
    if let Some(rest) = authority.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else {
            return false;
        };
        return (address.parse::<Ipv6Addr>().is_ok() || is_future_address(address))
            && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
    requires!("rfc9110/4.2.1/2" => !host.is_empty()) && is_name(host) && is_port(port)
}

/// Digits, or none at all, which stands for the scheme's own.
fn is_port(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit())
        && (port.is_empty() || port.parse::<u16>().is_ok())
}

/// `reg-name`, of which an IPv4 address is one. A percent sign begins two digits.
fn is_name(host: &str) -> bool {
    let mut parts = host.split('%');
    let escaped = |part: &str| {
        let digits = part.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    host.bytes().all(|byte| is_name_byte(byte) || byte == b'%')
        && parts.next().is_some()
        && parts.all(escaped)
}

/// `IPvFuture`: `v`, digits, a full stop, and what only a later specification can read.
fn is_future_address(address: &str) -> bool {
    let parts = address.strip_prefix(['v', 'V']);
    parts
        .and_then(|rest| rest.split_once('.'))
        .is_some_and(|(version, rest)| {
            !version.is_empty()
                && version.bytes().all(|byte| byte.is_ascii_hexdigit())
                && !rest.is_empty()
                && rest.bytes().all(|byte| is_name_byte(byte) || byte == b':')
        })
}

/// `unreserved` and `sub-delims` of RFC 3986.
fn is_name_byte(byte: u8) -> bool {
    matches!(byte,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'!' | b'$'
        | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}
