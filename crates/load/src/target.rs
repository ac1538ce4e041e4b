//! Whom to connect to, from a URL.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use rustls::pki_types::ServerName;
use vespiary_port::Address;

use crate::error::Error;

/// What HTTP asks for: a request, or the opening handshake of a WebSocket (RFC 6455 section 4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The `Host` field's value: the host and, unless it is the scheme's own, the port.
    pub host: String,
    /// The request target: path and query.
    pub target: String,
    /// Lines for this target only, besides those of the plan.
    pub headers: Vec<(String, String)>,
}

/// What a server speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A stream of bytes.
    Stream,
    /// WebSocket, behind this handshake.
    WebSocket(Resource),
    /// HTTP/1.1, with requests for this.
    Http(Resource),
    /// Datagrams.
    Datagram,
}

/// A server under test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where it listens.
    pub address: Address,
    /// The name that its certificate must be valid for, when it speaks TLS.
    pub server_name: Option<ServerName<'static>>,
    /// What it speaks.
    pub protocol: Protocol,
}

const KNOWN: &str = "tcp://HOST:PORT, tls://HOST:PORT, udp://HOST:PORT, unix:///PATH, \
                     ws://HOST:PORT/TARGET, wss://, http:// or https://";

impl Target {
    /// Parse `tcp://HOST:PORT`, `tls://HOST:PORT`, `udp://HOST:PORT`, `unix:///PATH`, or
    /// `ws://HOST[:PORT][/TARGET]` and the same with `wss`, `http` or `https`. A host's name is
    /// looked up once, here, and its first address taken.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(unknown(url));
        };
        match scheme {
            "unix" => unix(rest),
            "tcp" => stream(rest, false),
            "tls" => stream(rest, true),
            "udp" => Ok(Self {
                protocol: Protocol::Datagram,
                ..stream(rest, false)?
            }),
            "ws" | "wss" => {
                let (resource, address, name) = resource(scheme, rest, scheme == "wss")?;
                Ok(Self {
                    address,
                    server_name: name,
                    protocol: Protocol::WebSocket(resource),
                })
            }
            "http" | "https" => {
                let (resource, address, name) = resource(scheme, rest, scheme == "https")?;
                Ok(Self {
                    address,
                    server_name: name,
                    protocol: Protocol::Http(resource),
                })
            }
            _ => Err(unknown(url)),
        }
    }

    /// Whether the target lies in 127.0.0.0/8, so that connections can come from many addresses
    /// there.
    pub fn is_loopback_v4(&self) -> bool {
        matches!(self.address, Address::Inet(SocketAddr::V4(address)) if address.ip().is_loopback())
    }

    /// Add header lines to what is asked for, if it is HTTP.
    pub fn add_headers(&mut self, headers: Vec<(String, String)>) {
        if let Protocol::WebSocket(resource) | Protocol::Http(resource) = &mut self.protocol {
            resource.headers.extend(headers);
        }
    }
}

fn unknown(url: &str) -> Error {
    Error::plan(format!(
        "{url:?} is not an address that can be loaded; use {KNOWN}"
    ))
}

fn unix(path: &str) -> Result<Target, Error> {
    if !path.starts_with('/') || path.len() > 107 {
        let text = format!("unix://{path} must name an absolute path of at most 107 bytes");
        return Err(Error::plan(text));
    }
    Ok(Target {
        address: Address::Unix(PathBuf::from(path)),
        server_name: None,
        protocol: Protocol::Stream,
    })
}

fn stream(authority: &str, is_secure: bool) -> Result<Target, Error> {
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    Ok(Target {
        address: Address::Inet(resolve(authority, None)?),
        server_name: is_secure.then(|| server_name(authority)).transpose()?,
        protocol: Protocol::Stream,
    })
}

/// What is asked for, of whom, and under which name if over TLS.
type Asked = (Resource, Address, Option<ServerName<'static>>);

fn resource(scheme: &str, rest: &str, is_secure: bool) -> Result<Asked, Error> {
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    let target = match target.chars().next() {
        None => "/".to_owned(),
        Some('?') => format!("/{target}"),
        Some(_) => target.to_owned(),
    };
    if let Some(bad) = rest
        .chars()
        .find(|character| !('!'..='~').contains(character) || *character == '#')
    {
        return Err(Error::plan(format!(
            "{scheme}://{rest} holds {bad:?}, which no request may"
        )));
    }
    let port = if is_secure { 443 } else { 80 };
    let address = Address::Inet(resolve(authority, Some(port))?);
    let host = authority
        .strip_suffix(&format!(":{port}"))
        .unwrap_or(authority)
        .to_owned();
    let name = is_secure.then(|| server_name(authority)).transpose()?;
    let resource = Resource {
        host,
        target,
        headers: Vec::new(),
    };
    Ok((resource, address, name))
}

fn server_name(authority: &str) -> Result<ServerName<'static>, Error> {
    let host = match authority
        .strip_prefix('[')
        .and_then(|it| it.split_once(']'))
    {
        Some((address, _)) => address,
        None => authority.split(':').next().unwrap_or(authority),
    };
    ServerName::try_from(host.to_owned())
        .map_err(|_| Error::plan(format!("{host:?} cannot be the name of a certificate")))
}

fn resolve(authority: &str, port: Option<u16>) -> Result<SocketAddr, Error> {
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let complete = match port {
        Some(port) if !has_port => format!("{authority}:{port}"),
        _ => authority.to_owned(),
    };
    let found = complete
        .to_socket_addrs()
        .map(|mut addresses| addresses.next());
    match found {
        Ok(Some(address)) if address.port() != 0 => Ok(address),
        Ok(_) => Err(Error::plan(format!(
            "{authority:?} has no address to connect to"
        ))),
        Err(error) => Err(Error::plan(format!(
            "{authority:?} is not a HOST:PORT: {error}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Target {
        Target::parse(url).expect("the address is good")
    }

    fn resource(target: Target) -> Resource {
        match target.protocol {
            Protocol::WebSocket(resource) | Protocol::Http(resource) => resource,
            Protocol::Stream | Protocol::Datagram => panic!("it speaks HTTP"),
        }
    }

    #[test]
    fn tcp_names_a_host_and_a_port() {
        let target = parse("tcp://127.0.0.1:5050");
        assert_eq!(
            target.address,
            Address::Inet("127.0.0.1:5050".parse().expect("an address"))
        );
        assert_eq!(target.protocol, Protocol::Stream);
        assert_eq!(target.server_name, None);
        assert_eq!(
            parse("tcp://[::1]:7").address,
            Address::Inet("[::1]:7".parse().expect("an address"))
        );
    }

    #[test]
    fn websocket_keeps_the_path_and_the_query() {
        let upgrade = |url| resource(parse(url));
        assert_eq!(upgrade("ws://127.0.0.1:9001/a?b=c").target, "/a?b=c");
        assert_eq!(upgrade("ws://127.0.0.1:9001?b=c").target, "/?b=c");
        assert_eq!(upgrade("ws://127.0.0.1:9001").target, "/");
        assert_eq!(upgrade("ws://127.0.0.1:9001").host, "127.0.0.1:9001");
    }

    #[test]
    fn websocket_goes_to_port_80_by_itself() {
        let target = parse("ws://127.0.0.1/");
        assert_eq!(
            target.address,
            Address::Inet("127.0.0.1:80".parse().expect("an address"))
        );
        assert_eq!(resource(target).host, "127.0.0.1");
    }

    #[test]
    fn a_scheme_with_tls_has_the_name_of_the_certificate() {
        let name = |url| parse(url).server_name.expect("TLS").to_str().into_owned();
        assert_eq!(name("tls://localhost:7"), "localhost");
        assert_eq!(name("wss://[::1]:7/"), "::1");
        assert_eq!(name("https://127.0.0.1"), "127.0.0.1");
        assert_eq!(resource(parse("https://127.0.0.1:443/a")).host, "127.0.0.1");
        assert_eq!(resource(parse("wss://127.0.0.1:80")).host, "127.0.0.1:80");
    }

    #[test]
    fn unix_names_an_absolute_path() {
        assert_eq!(
            parse("unix:///run/x").address,
            Address::Unix("/run/x".into())
        );
        Target::parse("unix://run/x").expect_err("relative");
        Target::parse(&format!("unix:///{}", "x".repeat(108))).expect_err("too long");
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        for url in [
            "",
            "localhost:80",
            "ftp://127.0.0.1/",
            "tls://127.0.0.1",
            "tcp://127.0.0.1",
            "tcp://127.0.0.1:0",
        ] {
            Target::parse(url).expect_err(url);
        }
        Target::parse("ws://127.0.0.1:80/a b").expect_err("a space splits the request line");
        Target::parse("ws://127.0.0.1:80/a\r\nX: y").expect_err("a line end adds a header");
    }
}
