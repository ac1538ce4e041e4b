//! Control messages beside a datagram: cmsg(3).

use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Room for all that the kernel may put beside a datagram, aligned as cmsg(3) asks for.
pub(super) type Control = [u64; 24];

/// What stands beside a datagram that came.
#[derive(Default)]
pub(super) struct Beside {
    pub(super) local: Option<IpAddr>,
    pub(super) answer_from: Option<IpAddr>,
    pub(super) ttl: Option<u8>,
    pub(super) ecn: Option<u8>,
    pub(super) dropped: Option<u32>,
    /// The length of each datagram of a coalesced message, but perhaps the last.
    pub(super) segment: Option<usize>,
    /// The errno of an entry of the error queue.
    pub(super) error: Option<i32>,
}

const ECN_BITS: u8 = 3;

/// Read the control messages that the kernel has written for `message`.
///
/// # Safety
/// The message's control pointer and length must describe what a receiving call has written, in
/// memory that is valid and aligned for `cmsghdr`.
pub(super) unsafe fn read(message: &libc::msghdr) -> Beside {
    let mut beside = Beside::default();
    // SAFETY: by contract.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: the macros give pointers to whole headers within the control memory only.
        let (level, kind, length, data) = unsafe {
            let one = &*header;
            let length = one.cmsg_len.saturating_sub(libc::CMSG_LEN(0) as usize);
            (
                one.cmsg_level,
                one.cmsg_type,
                length,
                libc::CMSG_DATA(header),
            )
        };
        // SAFETY: the kernel has written so many bytes behind the header.
        let data = unsafe { std::slice::from_raw_parts(data, length) };
        note(&mut beside, level, kind, data);
        // SAFETY: as above.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    beside
}

fn number(data: &[u8]) -> Option<u32> {
    data.first_chunk().copied().map(u32::from_ne_bytes)
}

fn note(beside: &mut Beside, level: i32, kind: i32, data: &[u8]) {
    match (level, kind) {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            // in_pktinfo: the interface, the local address for answers, the address in the header.
            let address = |it: &[u8]| it.first_chunk().copied().map(Ipv4Addr::from);
            beside.answer_from = data.get(4..).and_then(address).map(IpAddr::V4);
            beside.local = data.get(8..).and_then(address).map(IpAddr::V4);
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            let address = data.first_chunk().copied().map(Ipv6Addr::from);
            beside.local = address.map(IpAddr::V6);
            beside.answer_from = beside.local.filter(|it| !it.is_multicast());
        }
        (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
            beside.ttl = number(data).map(|it| it as u8);
        }
        (libc::IPPROTO_IP, libc::IP_TOS) | (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
            beside.ecn = data.first().map(|it| it & ECN_BITS);
        }
        (libc::SOL_UDP, libc::UDP_GRO) => beside.segment = number(data).map(|it| it as usize),
        (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => beside.dropped = number(data),
        (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) => {
            // sock_extended_err begins with the errno.
            beside.error = number(data).map(|it| it as i32);
        }
        _ => (),
    }
}

/// Ask that datagrams be sent from `source`, and that the kernel cut what is sent into pieces of
/// `segment` bytes; how many bytes of the memory this takes.
pub(super) fn ask(control: &mut Control, source: Option<IpAddr>, segment: Option<u16>) -> usize {
    let mut used = 0;
    match source {
        None => (),
        Some(IpAddr::V4(address)) => {
            let mut info = [0; 12];
            info[4..8].copy_from_slice(&address.octets());
            used += write(control, used, libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
        }
        Some(IpAddr::V6(address)) => {
            let mut info = [0; 20];
            info[..16].copy_from_slice(&address.octets());
            used += write(control, used, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
        }
    }
    if let Some(segment) = segment {
        let data = segment.to_ne_bytes();
        used += write(control, used, libc::SOL_UDP, libc::UDP_SEGMENT, &data);
    }
    used
}

/// Write one control message behind those that take `used` bytes; how many it takes.
fn write(control: &mut Control, used: usize, level: i32, kind: i32, data: &[u8]) -> usize {
    // SAFETY: no pointers.
    let (length, space) = unsafe {
        let length = data.len() as u32;
        (libc::CMSG_LEN(length) as usize, libc::CMSG_SPACE(length))
    };
    assert!(used + space as usize <= mem::size_of::<Control>());
    // SAFETY: all zero bytes are a valid cmsghdr.
    let mut header: libc::cmsghdr = unsafe { mem::zeroed() };
    header.cmsg_len = length as _;
    header.cmsg_level = level;
    header.cmsg_type = kind;
    // SAFETY: it stays within the memory (asserted).
    let start = unsafe { control.as_mut_ptr().byte_add(used) }.cast::<libc::cmsghdr>();
    // SAFETY: the memory is aligned for the header, and has room for it and the data (asserted).
    unsafe {
        start.write(header);
        std::ptr::copy_nonoverlapping(data.as_ptr(), libc::CMSG_DATA(start), data.len());
    }
    space as usize
}
