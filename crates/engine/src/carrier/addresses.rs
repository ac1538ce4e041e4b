//! The addresses of both ends of a socket, stored so that they can be named after the peer is gone.
//!
//! Each connection has a pair of them, so two IPv4 addresses, by far the usual case, are stored in
//! sixteen bytes in place. Other addresses are on the heap, as is that of a proxy whose client is
//! the peer.

use std::cell::Cell;
use std::net::{SocketAddr, SocketAddrV4};
use vespiary_port::Address;

/// The addresses, as far as they are known.
#[derive(Clone, Default)]
struct Known {
    peer: Option<Address>,
    local: Option<Address>,
    /// The address of the proxy at the other end, if the peer is a client of this proxy.
    proxy: Option<Address>,
}

enum Stored {
    V4 {
        peer: Option<SocketAddrV4>,
        local: Option<SocketAddrV4>,
    },
    Other(Box<Known>),
}

impl Default for Stored {
    fn default() -> Self {
        Self::V4 {
            peer: None,
            local: None,
        }
    }
}

impl From<Known> for Stored {
    fn from(known: Known) -> Self {
        let is_other = |address: &Option<Address>| {
            !matches!(address, None | Some(Address::Inet(SocketAddr::V4(_))))
        };
        let v4 = |address| match address {
            Some(Address::Inet(SocketAddr::V4(address))) => Some(address),
            _ => None,
        };
        if is_other(&known.peer) || is_other(&known.local) || known.proxy.is_some() {
            return Self::Other(Box::new(known));
        }
        Self::V4 {
            peer: v4(known.peer),
            local: v4(known.local),
        }
    }
}

impl From<&Stored> for Known {
    fn from(stored: &Stored) -> Self {
        let address = |v4: &Option<SocketAddrV4>| v4.map(SocketAddr::V4).map(Address::Inet);
        match stored {
            Stored::V4 { peer, local } => Self {
                peer: address(peer),
                local: address(local),
                proxy: None,
            },
            Stored::Other(known) => Self::clone(known),
        }
    }
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Addresses(Cell<Stored>);

impl Addresses {
    fn known(&self) -> Known {
        let stored = self.0.take();
        let known = Known::from(&stored);
        self.0.set(stored);
        known
    }

    pub(super) fn peer(&self) -> Option<Address> {
        self.known().peer
    }

    pub(super) fn local(&self) -> Option<Address> {
        self.known().local
    }

    pub(super) fn set_peer(&self, address: Address) {
        let peer = Some(address);
        let known = Known {
            peer,
            ..self.known()
        };
        self.0.set(known.into());
    }

    pub(super) fn proxy(&self) -> Option<Address> {
        let known = self.known();
        known.proxy.or(known.peer)
    }

    pub(super) fn set_client(&self, address: Address) {
        let known = self.known();
        let known = Known {
            proxy: known.proxy.or(known.peer),
            peer: Some(address),
            local: known.local,
        };
        self.0.set(known.into());
    }

    pub(super) fn set_local(&self, address: Address) {
        let local = Some(address);
        let known = Known {
            local,
            ..self.known()
        };
        self.0.set(known.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::Inet(text.parse().expect("an address"))
    }

    #[test]
    fn addresses_come_out_as_they_were_stored() {
        let kinds = [
            address("127.0.0.1:80"),
            address("[fe80::1%3]:443"),
            Address::Unix("/run/a.sock".into()),
            Address::Abstract(b"name".to_vec()),
        ];
        for peer in &kinds {
            for local in &kinds {
                let addresses = Addresses::default();
                assert_eq!((addresses.peer(), addresses.local()), (None, None));
                addresses.set_local(kinds[0].clone());
                addresses.set_peer(peer.clone());
                addresses.set_local(local.clone());
                for _ in 0..2 {
                    assert_eq!(addresses.peer().as_ref(), Some(peer));
                    assert_eq!(addresses.local().as_ref(), Some(local));
                }
            }
        }
    }

    #[test]
    fn two_ipv4_addresses_take_sixteen_bytes() {
        assert_eq!(size_of::<Addresses>(), 16);
    }
}
