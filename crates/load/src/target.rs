//! Whom to connect to, from a URL.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use vespiary_port::Address;

use crate::error::Error;

/// What the opening handshake of a WebSocket asks for (RFC 6455 section 4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// The `Host` field's value: the host and, unless it is 80, the port.
    pub host: String,
    /// The request target: path and query.
    pub target: String,
    /// Lines for this target only, beside those of the plan.
    pub headers: Vec<(String, String)>,
}

/// A server under test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where it listens.
    pub address: Address,
    /// What to ask of it first, when it speaks WebSocket.
    pub upgrade: Option<Upgrade>,
}

impl Target {
    /// Parse `tcp://HOST:PORT`, `unix:///PATH` or `ws://HOST[:PORT][/TARGET]`. A host's name is
    /// looked up once, here, and its first address taken.
    pub fn parse(url: &str) -> Result<Self, Error> {
        if let Some(path) = url.strip_prefix("unix://") {
            return unix(path);
        }
        if let Some(authority) = url.strip_prefix("tcp://") {
            let authority = authority.strip_suffix('/').unwrap_or(authority);
            let address = Address::Inet(resolve(authority, None)?);
            return Ok(Self {
                address,
                upgrade: None,
            });
        }
        if let Some(rest) = url.strip_prefix("ws://") {
            return websocket(rest);
        }
        let known = "tcp://HOST:PORT, unix:///PATH or ws://HOST:PORT/TARGET";
        Err(Error::plan(format!(
            "{url:?} is not an address that can be loaded; use {known}"
        )))
    }

    /// Whether the target lies in 127.0.0.0/8, so that connections can come from many addresses
    /// there.
    pub fn is_loopback_v4(&self) -> bool {
        matches!(self.address, Address::Inet(SocketAddr::V4(address)) if address.ip().is_loopback())
    }
}

fn unix(path: &str) -> Result<Target, Error> {
    if !path.starts_with('/') || path.len() > 107 {
        let text = format!("unix://{path} must name an absolute path of at most 107 bytes");
        return Err(Error::plan(text));
    }
    Ok(Target {
        address: Address::Unix(PathBuf::from(path)),
        upgrade: None,
    })
}

fn websocket(rest: &str) -> Result<Target, Error> {
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
            "ws://{rest} holds {bad:?}, which no request may"
        )));
    }
    let address = resolve(authority, Some(80))?;
    let host = authority
        .strip_suffix(":80")
        .unwrap_or(authority)
        .to_owned();
    Ok(Target {
        address: Address::Inet(address),
        upgrade: Some(Upgrade {
            host,
            target,
            headers: Vec::new(),
        }),
    })
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
            "{authority:?} names no address to connect to"
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

    #[test]
    fn tcp_names_a_host_and_a_port() {
        let target = parse("tcp://127.0.0.1:5050");
        assert_eq!(
            target.address,
            Address::Inet("127.0.0.1:5050".parse().expect("an address"))
        );
        assert_eq!(target.upgrade, None);
        assert_eq!(
            parse("tcp://[::1]:7").address,
            Address::Inet("[::1]:7".parse().expect("an address"))
        );
    }

    #[test]
    fn websocket_keeps_the_path_and_the_query() {
        let upgrade = |url| parse(url).upgrade.expect("a WebSocket");
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
        assert_eq!(target.upgrade.expect("a WebSocket").host, "127.0.0.1");
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
            "http://127.0.0.1/",
            "tcp://127.0.0.1",
            "tcp://127.0.0.1:0",
        ] {
            Target::parse(url).expect_err(url);
        }
        Target::parse("ws://127.0.0.1:80/a b").expect_err("a space splits the request line");
        Target::parse("ws://127.0.0.1:80/a\r\nX: y").expect_err("a line end adds a header");
    }
}
