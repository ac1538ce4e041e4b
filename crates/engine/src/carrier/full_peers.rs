//! Peers of a Unix datagram socket that do not read.
//!
//! The kernel refuses a datagram for such a peer as it does where the socket's own buffer is full,
//! and what waits behind it is for others. So a peer gets some time to make room, once. After that
//! it is known, and what it has no room for is dropped at once.

use vespiary_port::Address;

/// How long a peer is known. Then it gets time again.
const KNOWN_MILLISECONDS: u64 = 10_000;
/// How many are known at most; further ones replace the oldest.
const PEERS_MAX: usize = 64;

/// The peers that are known, the oldest first, each with the moment until which it is.
#[derive(Default)]
pub(super) struct FullPeers(Vec<(Address, u64)>);

impl FullPeers {
    /// Remember one; `now` is in nanoseconds.
    pub(super) fn add(&mut self, peer: Address, now: u64) {
        self.0.retain(|(known, _)| *known != peer);
        if self.0.len() == PEERS_MAX {
            self.0.remove(0);
        }
        self.0.push((peer, now + KNOWN_MILLISECONDS * 1_000_000));
    }

    /// Whether one is known.
    pub(super) fn has(&mut self, peer: &Address, now: u64) -> bool {
        self.0.retain(|(_, until)| now < *until);
        self.0.iter().any(|(known, _)| known == peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: usize) -> Address {
        Address::Unix(format!("/peer/{number}").into())
    }

    #[test]
    fn a_peer_is_known_for_some_time() {
        let mut full = FullPeers::default();
        full.add(peer(1), 5);
        assert!(full.has(&peer(1), KNOWN_MILLISECONDS * 1_000_000));
        assert!(!full.has(&peer(2), 5));
        assert!(!full.has(&peer(1), KNOWN_MILLISECONDS * 1_000_000 + 5));
        assert!(full.0.is_empty());
    }

    #[test]
    fn only_so_many_peers_are_known() {
        let mut full = FullPeers::default();
        for number in 0..=PEERS_MAX {
            full.add(peer(number), 0);
        }
        assert_eq!(full.0.len(), PEERS_MAX);
        assert!(!full.has(&peer(0), 0));
        assert!(full.has(&peer(PEERS_MAX), 0));
    }
}
