//! Which pages may connect: patterns of origins, RFC 6454 and RFC 6455 section 10.2.
//!
//! A browser sends cookies to every server that a page names, and says in `Origin` whose page it
//! is. It writes an origin in one way only (RFC 6454 section 6.2): scheme and host in lower case,
//! no port where it is the scheme's own. So a pattern is brought to that form once, and then
//! compared byte by byte; a value that was written in another way is of no browser, and matches
//! nothing.

use std::fmt;

/// One line of an allow-list.
///
/// ```text
/// null                      what a browser sends for a page without an origin of its own
/// https://example.com       this origin; the port is the scheme's own
/// https://example.com:8443  this origin
/// http://localhost:*        this host on any port
/// https://*.example.com     any host below example.com, however deep, but not example.com itself
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OriginPattern {
    scheme: Box<str>,
    host: Box<str>,
    port: Port,
    below: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Port {
    /// Not written in an origin: the scheme's own, or a scheme that has none.
    Own,
    Any,
    Exactly(u16),
}

/// A text is not a pattern of origins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InvalidOrigin {
    /// What is wrong with it, as the rest of a sentence that begins with the text.
    pub text: &'static str,
}

impl fmt::Display for InvalidOrigin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.text)
    }
}

impl std::error::Error for InvalidOrigin {}

impl OriginPattern {
    /// Reads a pattern; letters of any case.
    pub fn parse(text: &str) -> Result<Self, InvalidOrigin> {
        let wrong = |text| Err(InvalidOrigin { text });
        let text = text.to_ascii_lowercase();
        if text == "null" {
            return Ok(Self {
                scheme: "".into(),
                host: "null".into(),
                port: Port::Own,
                below: false,
            });
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return wrong("names no scheme: an origin is written https://example.com, or null");
        };
        if !is_scheme(scheme) {
            return wrong("has a scheme that cannot be one");
        }
        if rest.contains(['/', '?', '#']) {
            return wrong("has a path: an origin ends with its host or port, without a slash");
        }
        if rest.contains('@') {
            return wrong("has a user name, which no origin has");
        }
        let (host, port) = split_port(rest);
        let port = match port {
            None => Port::Own,
            Some("*") => Port::Any,
            Some(digits) => match parse_port(digits) {
                Some(number) if Some(number) == default_port(scheme) => Port::Own,
                Some(number) => Port::Exactly(number),
                None => return wrong("has a port that is neither a number to 65535 nor *"),
            },
        };
        let (below, host) = match host.strip_prefix("*.") {
            Some(host) => (true, host),
            None => (false, host),
        };
        if host.contains('*') {
            return wrong("has a * elsewhere than in front, as in https://*.example.com");
        }
        if !is_host(host) || below && host.starts_with('[') {
            return wrong("has a host that cannot be one");
        }
        Ok(Self {
            scheme: scheme.into(),
            host: host.into(),
            port,
            below,
        })
    }

    /// Whether the value of an `Origin` header is meant.
    pub fn matches(&self, origin: &str) -> bool {
        let Some((scheme, rest)) = origin.split_once("://") else {
            return self.scheme.is_empty() && origin == &*self.host;
        };
        let (host, port) = split_port(rest);
        let port_matches = match (&self.port, port) {
            (Port::Exactly(wanted), Some(port)) => port == wanted.to_string(),
            (Port::Own | Port::Any, None) => true,
            (Port::Any, Some(port)) => parse_port(port).is_some_and(|it| it.to_string() == port),
            _ => false,
        };
        let host_matches = if self.below {
            host.strip_suffix(&*self.host)
                .and_then(|below| below.strip_suffix('.'))
                .is_some_and(|below| !below.starts_with('[') && is_lower_host(below))
        } else {
            host == &*self.host
        };
        !self.scheme.is_empty() && scheme == &*self.scheme && host_matches && port_matches
    }
}

/// Host and what is behind its colon; an IPv6 address has colons of its own.
fn split_port(rest: &str) -> (&str, Option<&str>) {
    match rest.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (rest, None),
    }
}

fn parse_port(digits: &str) -> Option<u16> {
    let all = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| all)
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// RFC 3986 section 3.1.
fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// A name in ASCII (one outside it is sent in its IDNA form), an IPv4 address, or an IPv6 address
/// in brackets.
fn is_host(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|address| {
            address
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))
                && !address.is_empty()
        }),
        None => is_lower_host(host),
    }
}

fn is_lower_host(host: &str) -> bool {
    !host.is_empty()
        && host
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'))
}
