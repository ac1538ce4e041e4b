//! For which client a proxy has sent a request: `Forwarded` (RFC 7239) and `X-Forwarded-For`.
//!
//! Each proxy on the way appends the address that it was asked from, so the list is read from its
//! end. The last element is the word of the proxy that this end talks to. Where that names another
//! proxy that is trusted, the element before it is that proxy's word, and so on. What stands before
//! the first address that is not a trusted proxy may be anybody's invention, and is not checked.

use super::Headers;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The header field in which a proxy names its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedField {
    /// `X-Forwarded-For`: addresses, separated by commas.
    XForwardedFor,
    /// `Forwarded`: elements of parameters, of which `for` names the client.
    Forwarded,
}

/// The client's address, with port 0 where no port is named; `None` where the field is missing, or
/// does not name it.
pub fn client(
    request: &impl Headers,
    field: ForwardedField,
    is_proxy: impl Fn(IpAddr) -> bool,
) -> Option<SocketAddr> {
    let elements = match field {
        ForwardedField::XForwardedFor => request
            .header_tokens("x-forwarded-for")
            .map(node)
            .collect::<Vec<_>>(),
        ForwardedField::Forwarded => {
            let mut elements = Vec::new();
            for value in request.header_all("forwarded") {
                let is_whole = split_quoted(value, b',', |element| {
                    if !element.trim_matches([' ', '\t']).is_empty() {
                        elements.push(named_for(element));
                    }
                });
                if !is_whole {
                    // If a client sent a quote that it did not close, what a proxy has appended is
                    // inside it.
                    elements.push(None);
                }
            }
            elements
        }
    };
    let mut found = None;
    for element in elements.into_iter().rev() {
        // An unknown or hidden client, or something malformed: the one before it is not known to
        // be a proxy.
        let Some(address) = element else { break };
        found = Some(address);
        if !is_proxy(address.ip()) {
            break;
        }
    }
    found
}

/// The parts between separators that are not within a quoted string (RFC 9110 section 5.6.4).
/// Whether each of those ends.
fn split_quoted<'a>(text: &'a str, separator: u8, mut part: impl FnMut(&'a str)) -> bool {
    let (mut start, mut is_quoted, mut is_escaped) = (0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            _ if byte == separator && !is_quoted => {
                part(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    part(&text[start..]);
    !is_quoted
}

/// The address in an element's `for` parameter (RFC 7239 section 4). A parameter that stands twice
/// makes the element malformed.
fn named_for(element: &str) -> Option<SocketAddr> {
    let (mut found, mut count) = (None, 0);
    split_quoted(element, b';', |pair| {
        let Some((name, value)) = pair.split_once('=') else {
            return;
        };
        if name.trim_matches([' ', '\t']).eq_ignore_ascii_case("for") {
            let value = value.trim_matches([' ', '\t']);
            let quoted = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
            // No address has a character that is escaped.
            found = node(quoted.unwrap_or(value));
            count += 1;
        }
    });
    found.filter(|_| count == 1)
}

/// A node (RFC 7239 section 6): an address and perhaps a port. IPv6 addresses are in brackets;
/// without a port they are often seen without.
fn node(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, 0));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        // A zone means something on its own machine only.
        return (!text.contains('%')).then_some(address);
    }
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    let address = inner.parse::<Ipv6Addr>().ok()?;
    Some(SocketAddr::new(address.into(), 0))
}
