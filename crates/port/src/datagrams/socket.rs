//! Sockets for datagrams: made and bound, or taken over, and what they report.

use std::io;
use std::net::IpAddr;

use super::{DatagramOptions, Group};
use crate::socket::{self, Fresh, check, set_option, set_option_to};
use crate::{Address, Descriptor};

/// The send buffer of a Unix socket: several peers that do not read leave room for the others.
const UNIX_SEND_BUFFER_BYTES: i32 = 4 << 20;

/// See [`crate::Port::bind`].
pub(crate) fn bind(address: &Address, options: &DatagramOptions) -> io::Result<Fresh> {
    let fresh = Fresh::new(address, libc::SOCK_DGRAM)?;
    let socket = fresh.descriptor();
    if address.family() == libc::AF_INET6 {
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
    }
    if options.reuse_port && address.is_inet() {
        set_option(socket, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    }
    if !options.groups.is_empty() {
        // Several programs of a machine may listen to one group; without a group this would let
        // another socket take the datagrams of this one.
        set_option(socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    }
    prepare(socket, address.family(), options)?;
    fresh.bind(address)?;
    Ok(fresh)
}

/// See [`crate::Port::adopt_datagrams`].
pub(crate) fn adopt(given: Descriptor, options: &DatagramOptions) -> io::Result<()> {
    let (family, kind) = socket::family_and_type(given)?;
    if kind != libc::SOCK_DGRAM {
        return Err(io::Error::from_raw_os_error(libc::ESOCKTNOSUPPORT));
    }
    socket::set_nonblocking(given)?;
    prepare(given, family, options)
}

fn prepare(socket: Descriptor, family: i32, options: &DatagramOptions) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
    if family == libc::AF_UNIX {
        // What a peer has not read stays in the sender's buffer. The kernel allows what
        // `net.core.wmem_max` says.
        set_option(
            socket,
            libc::SOL_SOCKET,
            libc::SO_SNDBUF,
            UNIX_SEND_BUFFER_BYTES,
        )?;
    }
    if options.broadcast {
        set_option(socket, libc::SOL_SOCKET, libc::SO_BROADCAST, 1)?;
    }
    if let Some(bytes) = options.receive_buffer_bytes {
        let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
        set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, bytes)?;
    }
    let (level, errors, local, ttl, ecn) = match family {
        libc::AF_INET => (
            libc::IPPROTO_IP,
            libc::IP_RECVERR,
            libc::IP_PKTINFO,
            libc::IP_RECVTTL,
            libc::IP_RECVTOS,
        ),
        libc::AF_INET6 => (
            libc::IPPROTO_IPV6,
            libc::IPV6_RECVERR,
            libc::IPV6_RECVPKTINFO,
            libc::IPV6_RECVHOPLIMIT,
            libc::IPV6_RECVTCLASS,
        ),
        _ => return Ok(()),
    };
    set_option(socket, level, errors, 1)?;
    // Without it the kernel hands datagrams over one by one.
    let _ = set_option(socket, libc::SOL_UDP, libc::UDP_GRO, 1);
    if options.local_address {
        set_option(socket, level, local, 1)?;
    }
    if options.packet_info {
        set_option(socket, level, ttl, 1)?;
        set_option(socket, level, ecn, 1)?;
    }
    if family == libc::AF_INET && !options.groups.is_empty() {
        // Otherwise a socket gets the datagrams of every group that any program has joined.
        set_option(socket, level, libc::IP_MULTICAST_ALL, 0)?;
    }
    options.groups.iter().try_for_each(|it| join(socket, it))?;
    let mut interfaces = options.groups.iter().map(|it| it.interface);
    match interfaces.find(|it| *it != 0) {
        Some(interface) => send_to_groups_by(socket, family, interface),
        None => Ok(()),
    }
}

/// Let what is sent to groups leave by this interface, and not by the one that the routes choose.
fn send_to_groups_by(socket: Descriptor, family: i32, interface: u32) -> io::Result<()> {
    let interface = interface.cast_signed();
    if family == libc::AF_INET6 {
        let name = libc::IPV6_MULTICAST_IF;
        return set_option(socket, libc::IPPROTO_IPV6, name, interface);
    }
    let request = libc::ip_mreqn {
        imr_multiaddr: libc::in_addr { s_addr: 0 },
        imr_address: libc::in_addr { s_addr: 0 },
        imr_ifindex: interface,
    };
    let name = libc::IP_MULTICAST_IF;
    check(set_option_to(socket, libc::IPPROTO_IP, name, &request)).map(drop)
}

fn join(socket: Descriptor, group: &Group) -> io::Result<()> {
    let result = match group.address {
        IpAddr::V4(address) => {
            let request = libc::ip_mreqn {
                imr_multiaddr: libc::in_addr {
                    s_addr: u32::from_ne_bytes(address.octets()),
                },
                imr_address: libc::in_addr { s_addr: 0 },
                imr_ifindex: group.interface.cast_signed(),
            };
            let (level, name) = (libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP);
            set_option_to(socket, level, name, &request)
        }
        IpAddr::V6(address) => {
            let request = libc::ipv6_mreq {
                ipv6mr_multiaddr: libc::in6_addr {
                    s6_addr: address.octets(),
                },
                ipv6mr_interface: group.interface,
            };
            let (level, name) = (libc::IPPROTO_IPV6, libc::IPV6_ADD_MEMBERSHIP);
            set_option_to(socket, level, name, &request)
        }
    };
    check(result).map(drop)
}
