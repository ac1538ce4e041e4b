//! Datagrams: a batch that was received, and what waits to be sent.
//!
//! A socket for datagrams is used in another way than a stream. The port reports in each turn that
//! the socket is readable ([`crate::Outcome::Ready`]); its owner then takes what waits, at most
//! [`DATAGRAMS_A_BATCH`] at a time, with one recvmmsg(2), and sends what it has gathered with one
//! sendmmsg(2). Both kernel drivers do this in the same way. The reasons:
//!
//! * A batch costs one system call. A multishot recvmsg of io_uring completes once per datagram,
//!   and each completion has to be taken, parsed, and its buffer given back.
//! * The outcome of a send is known at once: the kernel copies a datagram or refuses it, and does
//!   not wait. So no memory has to outlive the call.
//! * Datagrams that are not taken stay in the socket's own buffer, which has a limit. The kernel
//!   counts the datagrams that it drops there.
//!
//! **Coalescing** (UDP GRO and GSO, udp(7)): where a sender, or the network device, has put several
//! datagrams of one peer together, the kernel hands them over in one piece, which is cut here. What
//! waits to be sent is put together in the same way: datagrams in a row that have one peer and one
//! length, of which the last may be shorter. Where a device cannot send them so, the socket
//! continues without it.
//!
//! If an earlier datagram caused an error (an ICMP message), the next call on the socket reports
//! this error, and neither sends nor receives its own datagram. So both directions then try again.
//!
//! Sources: udp(7), ip(7), ipv6(7), unix(7), recvmmsg(2), sendmmsg(2).

mod control;
mod headers;
mod receive;
mod send;
mod socket;

pub use control::{Beside, read_control};

pub(crate) use receive::receive;
pub(crate) use send::send;
pub(crate) use socket::{adopt, bind};

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::{Address, Errno};
use headers::Headers;
use send::Described;

/// How many datagrams one call receives or sends; where several were coalesced, more.
pub const DATAGRAMS_A_BATCH: usize = 64;

/// How many coalesced messages, of up to 64 datagrams each, one call receives.
const COALESCED_A_BATCH: usize = 16;
/// The bytes of a coalesced message at most.
const COALESCED_BYTES_MAX: usize = 1 << 16;

/// How many batches one flush sends: with more, other sockets would wait for long.
pub(crate) const BATCHES_A_FLUSH: usize = 16;

/// What is asked of a socket for datagrams.
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches that have nothing to do with each other"
)]
pub struct DatagramOptions {
    /// Share the address with other sockets (`SO_REUSEPORT`); the kernel divides the peers.
    pub reuse_port: bool,
    /// Send to broadcast addresses too (`SO_BROADCAST`).
    pub broadcast: bool,
    /// Report to which address each datagram was sent: of use where the socket is bound to a
    /// wildcard address.
    pub local_address: bool,
    /// Report the time to live, or hop limit, and the congestion mark (ECN) of each datagram.
    pub packet_info: bool,
    /// The size of the kernel's receive buffer (`SO_RCVBUF`); `None`: the system's default.
    pub receive_buffer_bytes: Option<u32>,
    /// Multicast groups to join. What is sent to groups leaves by the first interface that is named
    /// here.
    pub groups: Vec<Group>,
}

/// A multicast group, and the interface on which it is joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// The group's address.
    pub address: IpAddr,
    /// The number of the interface (`if_nametoindex(3)`); 0: the one that the routes choose.
    pub interface: u32,
}

/// A datagram that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Who sent it.
    pub peer: Address,
    /// To which address it was sent, where that was asked for.
    pub local: Option<IpAddr>,
    /// From which address of this machine to answer it, where that was asked for: `local`, unless
    /// that is a group's or a broadcast address.
    pub answer_from: Option<IpAddr>,
    /// Its time to live or hop limit when it came, where that was asked for.
    pub ttl: Option<u8>,
    /// Its two ECN bits (RFC 3168 section 5), where they were asked for.
    pub ecn: Option<u8>,
    /// It was longer than a slot, and its end is lost.
    pub is_truncated: bool,
    /// How many bytes of it there are.
    pub length: usize,
    /// Where they begin in the memory of the batch.
    pub(crate) start: usize,
}

/// A batch of datagrams, and the memory to receive them in. It is used again for each batch.
#[derive(Default)]
pub struct Arrivals {
    bytes: Vec<u8>,
    slot_bytes: usize,
    /// The latest batch had coalesced messages.
    is_coalesced: bool,
    came: Vec<Arrival>,
    errors: Vec<Errno>,
    dropped: Option<u32>,
    headers: Option<Box<Headers>>,
}

impl Arrivals {
    /// Make room for datagrams of at most so many bytes. The kernel gives memory to what is used.
    pub fn reserve(&mut self, datagram_bytes_max: usize) {
        if datagram_bytes_max > self.slot_bytes {
            self.slot_bytes = datagram_bytes_max;
            self.bytes = vec![0; DATAGRAMS_A_BATCH * datagram_bytes_max];
        }
    }

    /// The datagrams, in the order in which they came, and their bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&Arrival, &[u8])> {
        let pair = |arrival: &'_ Arrival| arrival.start..arrival.start + arrival.length;
        self.came
            .iter()
            .map(move |arrival| (arrival, &self.bytes[pair(arrival)]))
    }

    /// How many came.
    pub fn len(&self) -> usize {
        self.came.len()
    }

    /// Whether none came.
    pub fn is_empty(&self) -> bool {
        self.came.is_empty()
    }

    /// What earlier datagrams caused: mostly ICMP messages of peers that are gone.
    pub fn errors(&self) -> &[Errno] {
        &self.errors
    }

    /// How many datagrams the kernel had dropped because the socket's buffer was full, since the
    /// socket was opened, modulo 2^32. `None`: none yet, or nothing came in this batch.
    pub fn dropped_by_kernel(&self) -> Option<u32> {
        self.dropped
    }

    pub(crate) fn clear(&mut self) {
        self.came.clear();
        self.errors.clear();
        self.dropped = None;
    }

    /// Add a datagram, as the simulation does.
    pub(crate) fn push(&mut self, bytes: &[u8], limit: usize, arrival: Arrival) {
        let length = bytes.len().min(limit);
        let start = self.came.len() * self.slot_bytes;
        self.bytes[start..start + length].copy_from_slice(&bytes[..length]);
        self.came.push(Arrival {
            start,
            length,
            is_truncated: length < bytes.len(),
            ..arrival
        });
    }

    pub(crate) fn set_dropped(&mut self, count: u32) {
        self.dropped = (count > 0).then_some(count);
    }

    pub(crate) fn push_error(&mut self, errno: Errno) {
        self.errors.push(errno);
    }
}

/// A datagram that waits to be sent.
pub(crate) struct Departure {
    pub(crate) peer: Address,
    /// The address that the peer sees; `None`: the kernel chooses it.
    pub(crate) source: Option<IpAddr>,
    start: usize,
    length: usize,
}

/// Datagrams that wait to be sent, the oldest first.
#[derive(Default)]
pub struct Departures {
    bytes: Vec<u8>,
    waiting: VecDeque<Departure>,
    waiting_bytes: usize,
    /// A device has refused datagrams that were put together.
    is_plain: bool,
    described: Option<Box<Described>>,
}

/// With no more room than this an empty queue keeps its memory.
const KEPT_BYTES_MAX: usize = 1 << 18;

impl Departures {
    /// Put a datagram behind the others.
    pub fn push(&mut self, bytes: &[u8], peer: Address, source: Option<IpAddr>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.waiting_bytes += bytes.len();
        self.waiting.push_back(Departure {
            peer,
            source,
            start,
            length: bytes.len(),
        });
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The bytes of those that wait.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Drop the oldest.
    pub fn drop_first(&mut self) {
        let _ = self.pop();
    }

    /// Whom the oldest is for.
    pub fn first_peer(&self) -> Option<&Address> {
        self.waiting.front().map(|first| &first.peer)
    }

    /// Drop all that wait for a peer; how many there were. Only for peers whose datagrams do not
    /// leave together: the memory of the others is not in a row any more.
    pub fn drop_all_for(&mut self, peer: &Address) -> usize {
        let before = self.waiting.len();
        self.waiting.retain(|one| one.peer != *peer);
        self.waiting_bytes = self.waiting.iter().map(|one| one.length).sum();
        if self.waiting.is_empty() {
            self.forget_bytes();
        }
        before - self.waiting.len()
    }

    pub(crate) fn first(&self) -> Option<(&Departure, &[u8])> {
        let first = self.waiting.front()?;
        Some((first, &self.bytes[first.start..first.start + first.length]))
    }

    /// Take the oldest away; how many bytes it had.
    pub(crate) fn pop(&mut self) -> usize {
        let Some(first) = self.waiting.pop_front() else {
            return 0;
        };
        self.waiting_bytes -= first.length;
        if self.waiting.is_empty() {
            self.forget_bytes();
        } else if self.waiting_bytes < first.start / 2 {
            self.compact();
        }
        first.length
    }

    fn forget_bytes(&mut self) {
        self.bytes.clear();
        if self.bytes.capacity() > KEPT_BYTES_MAX {
            self.bytes = Vec::new();
        }
    }

    /// Move what waits to the front of the memory: most of it has been sent.
    fn compact(&mut self) {
        let start = self.waiting[0].start;
        self.bytes.drain(..start);
        for one in &mut self.waiting {
            one.start -= start;
        }
    }
}

/// What has happened to datagrams that waited to be sent.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Departed {
    /// How many the kernel took.
    pub datagrams: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Why others were dropped: the kernel refused each of them.
    pub refused: Vec<Errno>,
    /// The kernel has no room now for the oldest of those that wait.
    pub is_blocked: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_keeps_its_bytes_while_others_leave() {
        let peer = Address::Inet(([127, 0, 0, 1], 9).into());
        let mut departures = Departures::default();
        for number in 0..200_u8 {
            departures.push(&vec![number; number.into()], peer.clone(), None);
        }
        for number in 0..200_u8 {
            let (_, bytes) = departures.first().expect("one waits");
            assert_eq!(bytes, vec![number; number.into()]);
            departures.push(&[number], peer.clone(), None);
            assert_eq!(departures.pop(), number.into());
        }
        assert_eq!((departures.len(), departures.waiting_bytes()), (200, 200));
        assert_eq!(departures.first().expect("one waits").1, [0]);
    }

    #[test]
    fn what_waits_for_one_peer_can_be_dropped() {
        let peers = ["/one", "/other"].map(|name| Address::Unix(name.into()));
        let mut departures = Departures::default();
        for number in 0..10_u8 {
            let peer = peers[usize::from(number % 2)].clone();
            departures.push(&[number; 3], peer, None);
        }
        assert_eq!(departures.first_peer(), Some(&peers[0]));
        assert_eq!(departures.drop_all_for(&peers[0]), 5);
        assert_eq!((departures.len(), departures.waiting_bytes()), (5, 15));
        for number in [1, 3, 5, 7, 9] {
            assert_eq!(departures.first().expect("one waits").1, [number; 3]);
            departures.drop_first();
        }
        assert_eq!(departures.drop_all_for(&peers[1]), 0);
        assert_eq!(
            (departures.first_peer(), departures.waiting_bytes()),
            (None, 0)
        );
    }
}
