//! What moves bytes: a connection's socket, or one for datagrams.

mod addresses;
pub(crate) mod datagram;
mod socket;

pub(crate) use socket::Socket;

use std::net::IpAddr;
use vespiary_port::Address;

/// The IP address in it, if it has one; an IPv4 address also where it stands in an IPv6 one.
pub(crate) fn ip_address(address: &Address) -> Option<IpAddr> {
    match address {
        Address::Inet(address) => Some(address.ip().to_canonical()),
        _ => None,
    }
}
