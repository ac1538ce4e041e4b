//! The header of the PROXY protocol, versions 1 and 2: what a proxy sends in front of a connection
//! to say for whom it connects.
//!
//! Source: *The PROXY protocol, versions 1 and 2* (`proxy-protocol.txt`, of HA-Proxy, 2020/03/05).
//! Section 2.1 has the line of version 1, section 2.2 the binary header of version 2.
//!
//! A header is read strictly, since a guess here is a forged address: one space between the words,
//! addresses in their canonical form, CR LF at the end. Anything else is an error as soon as the
//! bytes can no longer become a header, so that a client that speaks to the server directly is
//! answered at once and not at a deadline.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest line of version 1, with its CR LF (section 2.1).
pub const LINE_BYTES_MAX: usize = 107;
/// The longest header of version 2 that is taken. Addresses have up to 216 bytes, and the rest is
/// for what a proxy adds about TLS and its own network; senders stay below a segment (section 2.2).
pub const HEADER_BYTES_MAX: usize = 4096;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const FIXED_BYTES: usize = 16;
const UNIX_BYTES: usize = 108;
/// The type of the value that has the header's checksum (section 2.2.3).
const CHECKSUM: u8 = 0x03;

/// Who connects to the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The proxy itself (a health check), or one that it cannot name: the connection's own address
    /// stands.
    Unnamed,
    /// An internet address.
    Inet(SocketAddr),
    /// The path of a Unix socket; empty for one without a name. A leading zero byte stands before
    /// an abstract name.
    Unix(Vec<u8>),
}

/// A header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Who connects.
    pub source: Source,
    /// How many bytes it has; what follows is the client's.
    pub bytes: usize,
}

/// Why bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyError {
    /// They begin like neither version.
    Missing,
    /// The line of version 1 is not well-formed.
    Line,
    /// The line of version 1 has no end within [`LINE_BYTES_MAX`] bytes.
    LineTooLong,
    /// The binary header has a version other than 2.
    Version,
    /// Its command is neither LOCAL nor PROXY.
    Command,
    /// Its address family or transport is not one of section 2.2.
    Family,
    /// It is too short for its addresses, or for the values behind them.
    Short,
    /// It has more than [`HEADER_BYTES_MAX`] bytes.
    TooLong,
    /// Its checksum is wrong.
    Checksum,
}

impl fmt::Display for ProxyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Missing => "the connection does not begin with a PROXY protocol header",
            Self::Line => "the PROXY line is not well-formed",
            Self::LineTooLong => "the PROXY line does not end within 107 bytes",
            Self::Version => "the PROXY header has a version other than 2",
            Self::Command => "the PROXY header has an unknown command",
            Self::Family => "the PROXY header has an unknown address family or transport",
            Self::Short => "the PROXY header is too short for what it holds",
            Self::TooLong => "the PROXY header has more than 4096 bytes",
            Self::Checksum => "the PROXY header's checksum is wrong",
        })
    }
}

impl std::error::Error for ProxyError {}

/// Read the header at the start of a connection; `None` when more bytes are needed.
///
/// Returns an error as soon as no further bytes could make a header of these.
pub fn parse(input: &[u8]) -> Result<Option<Header>, ProxyError> {
    if begins(input, SIGNATURE) {
        binary(input)
    } else if begins(input, b"PROXY ") {
        line(input)
    } else {
        Err(ProxyError::Missing)
    }
}

/// Whether the input and the start have the same first bytes, as far as both go.
fn begins(input: &[u8], start: &[u8]) -> bool {
    input.iter().zip(start).all(|(one, other)| one == other)
}

/// Version 1. The addresses are checked when the line is complete.
fn line(input: &[u8]) -> Result<Option<Header>, ProxyError> {
    let seen = &input[..input.len().min(LINE_BYTES_MAX)];
    let Some(end) = memchr::memchr(b'\n', seen) else {
        return if seen.len() == LINE_BYTES_MAX {
            Err(ProxyError::LineTooLong)
        } else {
            Ok(None)
        };
    };
    let line = seen[..end].strip_suffix(b"\r").ok_or(ProxyError::Line)?;
    let text = std::str::from_utf8(line).map_err(|_| ProxyError::Line)?;
    let source = line_source(text).ok_or(ProxyError::Line)?;
    Ok(Some(Header {
        source,
        bytes: end + 1,
    }))
}

fn line_source(text: &str) -> Option<Source> {
    let rest = text.strip_prefix("PROXY ")?;
    if rest == "UNKNOWN" || rest.starts_with("UNKNOWN ") {
        // What is behind it must be ignored.
        return Some(Source::Unnamed);
    }
    let mut words = rest.split(' ');
    let family = words.next()?;
    let (source, destination) = (words.next()?, words.next()?);
    let (source_port, destination_port) = (words.next()?, words.next()?);
    if words.next().is_some() {
        return None;
    }
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    address(destination)?;
    port(destination_port)?;
    let source = SocketAddr::new(address(source)?, port(source_port)?);
    Some(Source::Inet(source))
}

/// A decimal number without leading zeros.
fn port(text: &str) -> Option<u16> {
    let is_canonical = text == "0" || !text.starts_with('0');
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_canonical && is_number).then(|| text.parse().ok())?
}

/// Version 2.
fn binary(input: &[u8]) -> Result<Option<Header>, ProxyError> {
    let version_and_command = input.get(SIGNATURE.len()).copied();
    if version_and_command.is_some_and(|byte| byte >> 4 != 2) {
        return Err(ProxyError::Version);
    }
    if version_and_command.is_some_and(|byte| byte & 15 > 1) {
        return Err(ProxyError::Command);
    }
    let Some((fixed, rest)) = input.split_at_checked(FIXED_BYTES) else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let bytes = FIXED_BYTES + length;
    if bytes > HEADER_BYTES_MAX {
        return Err(ProxyError::TooLong);
    }
    let is_local = fixed[12] == 0x20;
    let family = Family::of(fixed[13]);
    if !is_local {
        let family = family.ok_or(ProxyError::Family)?;
        if length < family.address_bytes() {
            return Err(ProxyError::Short);
        }
    }
    let Some(block) = rest.get(..length) else {
        return Ok(None);
    };
    let source = match family {
        Some(family) if !is_local => {
            let (addresses, values) = block.split_at(family.address_bytes());
            check_values(&input[..bytes], bytes - values.len())?;
            family.source(addresses)
        }
        _ => Source::Unnamed,
    };
    Ok(Some(Header { source, bytes }))
}

/// The address families and transports of section 2.2.
#[derive(Clone, Copy)]
enum Family {
    Unspecified,
    Inet,
    Inet6,
    Unix,
    /// A valid one whose addresses are not those of a stream.
    Datagram(usize),
}

impl Family {
    fn of(byte: u8) -> Option<Self> {
        match (byte >> 4, byte & 15) {
            (0, 0..=2) | (1..=3, 0) => Some(Self::Unspecified),
            (1, 1) => Some(Self::Inet),
            (2, 1) => Some(Self::Inet6),
            (3, 1) => Some(Self::Unix),
            (1, 2) => Some(Self::Datagram(12)),
            (2, 2) => Some(Self::Datagram(36)),
            (3, 2) => Some(Self::Datagram(2 * UNIX_BYTES)),
            _ => None,
        }
    }

    fn address_bytes(self) -> usize {
        match self {
            Self::Unspecified => 0,
            Self::Inet => 12,
            Self::Inet6 => 36,
            Self::Unix => 2 * UNIX_BYTES,
            Self::Datagram(bytes) => bytes,
        }
    }

    fn source(self, block: &[u8]) -> Source {
        let port = |at: usize| u16::from_be_bytes([block[at], block[at + 1]]);
        match self {
            Self::Unspecified | Self::Datagram(_) => Source::Unnamed,
            Self::Inet => {
                let mut octets = [0; 4];
                octets.copy_from_slice(&block[..4]);
                Source::Inet((octets, port(8)).into())
            }
            Self::Inet6 => {
                let mut octets = [0; 16];
                octets.copy_from_slice(&block[..16]);
                Source::Inet((octets, port(32)).into())
            }
            Self::Unix => {
                let name = &block[..UNIX_BYTES];
                // An abstract name begins with a zero byte, and ends before the next.
                let start = usize::from(name[0] == 0);
                let end = memchr::memchr(0, &name[start..]).map_or(UNIX_BYTES, |at| start + at);
                let is_unnamed = end == start;
                Source::Unix(if is_unnamed {
                    Vec::new()
                } else {
                    name[..end].to_vec()
                })
            }
        }
    }
}

/// Walk the values behind the addresses, from `at` on: each has a type, a length of two bytes, and
/// so many bytes. A checksum among them must be right (section 2.2.3); the others are skipped.
///
/// If the family has no addresses, there may be some nevertheless, so the values are not checked.
fn check_values(header: &[u8], mut at: usize) -> Result<(), ProxyError> {
    if at == FIXED_BYTES {
        return Ok(());
    }
    while at < header.len() {
        let fixed = header.get(at..at + 3).ok_or(ProxyError::Short)?;
        let length = usize::from(u16::from_be_bytes([fixed[1], fixed[2]]));
        let place = at + 3..at + 3 + length;
        let value = header.get(place.clone()).ok_or(ProxyError::Short)?;
        if fixed[0] == CHECKSUM {
            let stated: [u8; 4] = value.try_into().map_err(|_| ProxyError::Checksum)?;
            let zeros = [0; 4];
            let rest = [&header[..place.start], &zeros, &header[place.end..]];
            if crc32c(rest.into_iter().flatten()) != u32::from_be_bytes(stated) {
                return Err(ProxyError::Checksum);
            }
        }
        at = place.end;
    }
    Ok(())
}

/// The checksum of RFC 3720 appendix B.4, a bit at a time: a header is short, and there is one per
/// connection.
fn crc32c<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    const REVERSED_POLYNOMIAL: u32 = 0x82f6_3b78;
    let register = bytes.fold(u32::MAX, |register, byte| {
        (0..8).fold(register ^ u32::from(*byte), |register, _| {
            (register >> 1) ^ (REVERSED_POLYNOMIAL * (register & 1))
        })
    });
    !register
}
