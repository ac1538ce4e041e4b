//! The proxies in front of an endpoint, by their addresses.

use std::net::IpAddr;
use vespiary_port::Address;

/// Addresses of proxies that name their client when they connect, or in each request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    networks: Vec<(IpAddr, u8)>,
    includes_unix: bool,
}

impl Proxies {
    /// Include a network: an address, and how many of its bits count. A network of IPv4 addresses
    /// in their IPv6 form (RFC 4291 section 2.5.5.2) is that of the IPv4 addresses.
    pub fn add(&mut self, address: IpAddr, bits: u8) {
        let network = match (address, bits.checked_sub(96)) {
            (IpAddr::V6(mapped), Some(bits)) => mapped
                .to_ipv4_mapped()
                .map_or((address, bits + 96), |it| (it.into(), bits)),
            _ => (address, bits),
        };
        self.networks.push(network);
    }

    /// Include every peer of a Unix socket.
    pub fn add_unix(&mut self) {
        self.includes_unix = true;
    }

    /// Whether a connection from this address is a proxy's. An IPv4 address is the same when it
    /// comes by a socket of IPv6 (RFC 4291 section 2.5.5.2).
    pub fn include(&self, peer: &Address) -> bool {
        match peer {
            Address::Inet(peer) => self.include_ip(peer.ip()),
            Address::Unix(_) | Address::Abstract(_) => self.includes_unix,
        }
    }

    /// Whether this IP address is a proxy's.
    pub fn include_ip(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.networks.iter().any(|it| contains(*it, ip))
    }
}

fn contains((network, bits): (IpAddr, u8), address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let shift = 32u32.saturating_sub(bits.into());
            same_above(shift, network.to_bits().into(), address.to_bits().into())
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let shift = 128u32.saturating_sub(bits.into());
            same_above(shift, network.to_bits(), address.to_bits())
        }
        _ => false,
    }
}

fn same_above(shift: u32, one: u128, other: u128) -> bool {
    (one ^ other).checked_shr(shift).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(networks: &[(&str, u8)]) -> Proxies {
        let mut proxies = Proxies::default();
        for (address, bits) in networks {
            proxies.add(address.parse().expect("an address"), *bits);
        }
        proxies
    }

    fn peer(text: &str) -> Address {
        Address::Inet(text.parse().expect("an address"))
    }

    #[test]
    fn a_network_includes_the_addresses_that_begin_alike() {
        let some = proxies(&[("10.1.0.0", 16), ("192.0.2.7", 32), ("2001:db8::", 33)]);
        for inside in [
            "10.1.0.0:1",
            "10.1.255.255:1",
            "192.0.2.7:9",
            "[::ffff:10.1.2.3]:5",
            "[2001:db8:7fff::1]:1",
        ] {
            assert!(some.include(&peer(inside)), "{inside}");
        }
        for outside in [
            "10.2.0.0:1",
            "10.0.255.255:1",
            "192.0.2.6:9",
            "[::ffff:10.2.2.3]:5",
            "[2001:db8:8000::1]:1",
            "[::a01:203]:1",
        ] {
            assert!(!some.include(&peer(outside)), "{outside}");
        }
    }

    #[test]
    fn ipv4_addresses_are_the_same_in_their_ipv6_form() {
        for networks in [
            ("::ffff:10.0.0.0", 104),
            ("10.0.0.0", 8),
            ("::ffff:0:0", 96),
        ] {
            let some = proxies(&[networks]);
            assert!(some.include(&peer("10.1.2.3:1")), "{networks:?}");
            assert!(some.include(&peer("[::ffff:10.1.2.3]:1")), "{networks:?}");
            assert!(!some.include(&peer("[2001:db8::1]:1")), "{networks:?}");
        }
        assert!(!proxies(&[("::ffff:10.0.0.0", 104)]).include(&peer("11.0.0.1:1")));
    }

    #[test]
    fn no_bits_are_every_address_of_the_family() {
        let some = proxies(&[("0.0.0.0", 0)]);
        assert!(some.include(&peer("203.0.113.9:1")));
        assert!(!some.include(&peer("[2001:db8::1]:1")));
        let some = proxies(&[("::", 0)]);
        assert!(some.include(&peer("[2001:db8::1]:1")));
    }

    #[test]
    fn unix_sockets_are_included_by_their_kind() {
        let unix = [Address::Unix("".into()), Address::Abstract(b"x".to_vec())];
        let mut some = proxies(&[("0.0.0.0", 0), ("::", 0)]);
        assert!(unix.iter().all(|it| !some.include(it)));
        some.add_unix();
        assert!(unix.iter().all(|it| some.include(it)));
        assert!(!Proxies::default().include(&unix[0]));
    }
}
