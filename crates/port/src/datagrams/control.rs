//! Control messages next to a datagram: cmsg(3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Every control message begins at a multiple of this.
const ALIGNMENT: usize = size_of::<usize>();
/// What stands before the data of a control message: its length, itself included, then its level
/// and its type.
const HEAD_BYTES: usize = size_of::<usize>() + 2 * size_of::<i32>();
/// Room for all that the kernel may put next to a datagram.
const CONTROL_BYTES: usize = 192;

/// Memory for control messages, aligned as cmsg(3) asks for.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control([u8; CONTROL_BYTES]);

impl Control {
    pub(super) const BYTES: usize = CONTROL_BYTES;

    pub(super) const fn empty() -> Self {
        Self([0; CONTROL_BYTES])
    }

    pub(super) fn pointer(&mut self) -> *mut libc::c_void {
        self.0.as_mut_ptr().cast()
    }

    /// Read what the kernel has written: so many bytes.
    pub(super) fn read(&self, length: usize) -> Beside {
        read_control(&self.0[..length.min(CONTROL_BYTES)])
    }
}

/// What stands next to a datagram that came.
#[derive(Default)]
pub struct Beside {
    /// The address in its header.
    pub local: Option<IpAddr>,
    /// From which address an answer is sent.
    pub answer_from: Option<IpAddr>,
    /// Its time to live, or hop limit.
    pub ttl: Option<u8>,
    /// Its two bits of explicit congestion notification.
    pub ecn: Option<u8>,
    /// How many datagrams the socket has dropped so far.
    pub dropped: Option<u32>,
    /// The length of each datagram of a coalesced message, but perhaps the last.
    pub segment: Option<usize>,
    /// The errno of an entry of the error queue.
    pub error: Option<i32>,
}

const ECN_BITS: u8 = 3;

/// Read control messages. One that ends behind `bytes` is the last, and not read.
pub fn read_control(bytes: &[u8]) -> Beside {
    let mut beside = Beside::default();
    let mut rest = bytes;
    while let Some((length, level, kind)) = head(rest) {
        let Some(data) = rest.get(HEAD_BYTES..length) else {
            break;
        };
        note(&mut beside, level, kind, data);
        rest = rest
            .get(length.next_multiple_of(ALIGNMENT)..)
            .unwrap_or_default();
    }
    beside
}

/// The length, the level and the type of the control message at the start of `bytes`.
fn head(bytes: &[u8]) -> Option<(usize, i32, i32)> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (level, rest) = rest.split_first_chunk()?;
    let kind = rest.first_chunk()?;
    Some((
        usize::from_ne_bytes(*length),
        i32::from_ne_bytes(*level),
        i32::from_ne_bytes(*kind),
    ))
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
    let length = HEAD_BYTES + data.len();
    let room = &mut control.0[used..][..length.next_multiple_of(ALIGNMENT)];
    let (head, rest) = room.split_at_mut(HEAD_BYTES);
    let (first, others) = head.split_at_mut(size_of::<usize>());
    first.copy_from_slice(&length.to_ne_bytes());
    others[..4].copy_from_slice(&level.to_ne_bytes());
    others[4..].copy_from_slice(&kind.to_ne_bytes());
    rest[..data.len()].copy_from_slice(data);
    room.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::mem;

    const KNOWN: [(i32, i32); 9] = [
        (libc::IPPROTO_IP, libc::IP_PKTINFO),
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO),
        (libc::IPPROTO_IP, libc::IP_TTL),
        (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT),
        (libc::IPPROTO_IP, libc::IP_TOS),
        (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
        (libc::SOL_UDP, libc::UDP_GRO),
        (libc::SOL_SOCKET, libc::SO_RXQ_OVFL),
        (libc::IPPROTO_IP, libc::IP_RECVERR),
    ];

    /// The head of a control message: a kind that is read, or any; a length that is right, or any.
    fn heads() -> impl Strategy<Value = (Option<usize>, i32, i32)> {
        let kinds = prop_oneof![
            proptest::sample::select(&KNOWN[..]),
            (any::<i32>(), any::<i32>()),
        ];
        let lengths = prop_oneof![
            4 => Just(None),
            1 => (0..200_usize).prop_map(Some),
            1 => (usize::MAX - 40..=usize::MAX).prop_map(Some),
        ];
        (lengths, kinds).prop_map(|(length, (level, kind))| (length, level, kind))
    }

    fn message((length, level, kind): (Option<usize>, i32, i32), data: &[u8]) -> Vec<u8> {
        let length = length.unwrap_or(HEAD_BYTES + data.len());
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        bytes
    }

    /// Whether something was read of each kind that is known.
    fn found(beside: &Beside) -> [bool; 7] {
        [
            beside.local.is_some(),
            beside.answer_from.is_some(),
            beside.ttl.is_some(),
            beside.ecn.is_some(),
            beside.dropped.is_some(),
            beside.segment.is_some(),
            beside.error.is_some(),
        ]
    }

    #[test]
    fn sizes_and_places_are_those_of_the_c_library() {
        // SAFETY: no pointers.
        let (head, space) = unsafe { (libc::CMSG_LEN(0), libc::CMSG_SPACE(5)) };
        assert_eq!(head as usize, HEAD_BYTES);
        assert_eq!(space as usize, (HEAD_BYTES + 5).next_multiple_of(ALIGNMENT));
        assert_eq!(mem::offset_of!(libc::cmsghdr, cmsg_len), 0);
        assert_eq!(
            mem::offset_of!(libc::cmsghdr, cmsg_level),
            size_of::<usize>()
        );
        assert_eq!(
            mem::offset_of!(libc::cmsghdr, cmsg_type),
            size_of::<usize>() + 4
        );
        assert!(align_of::<Control>() >= align_of::<libc::cmsghdr>());
    }

    #[test]
    fn what_is_asked_for_is_in_the_form_in_which_it_is_reported() {
        let (v4, v6) = (
            Ipv4Addr::new(192, 0, 2, 1),
            "2001:db8::1".parse::<Ipv6Addr>(),
        );
        for source in [IpAddr::V4(v4), IpAddr::V6(v6.expect("an address"))] {
            let mut control = Control::empty();
            let used = ask(&mut control, Some(source), Some(1200));
            assert!(used <= CONTROL_BYTES && used.is_multiple_of(ALIGNMENT));
            assert_eq!(control.read(used).answer_from, Some(source));
            let used = ask(&mut control, None, Some(1200));
            let (length, level, kind) = head(&control.0[..used]).expect("a message");
            assert_eq!(
                (length, level, kind),
                (HEAD_BYTES + 2, libc::SOL_UDP, libc::UDP_SEGMENT)
            );
            assert_eq!(control.0[HEAD_BYTES..length], 1200_u16.to_ne_bytes());
            assert_eq!(ask(&mut control, None, None), 0);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_bytes_are_read_without_a_fault(bytes in vec(any::<u8>(), 0..250)) {
            let _ = read_control(&bytes);
            let mut control = Control::empty();
            let length = bytes.len().min(CONTROL_BYTES);
            control.0[..length].copy_from_slice(&bytes[..length]);
            // The kernel's length may be anything too.
            let whole = read_control(&control.0[..length]);
            prop_assert_eq!(found(&control.read(bytes.len())), found(&whole));
        }

        #[test]
        fn messages_with_lengths_of_all_kinds_are_read_without_a_fault(
            messages in vec((heads(), vec(any::<u8>(), 0..40)), 0..8),
            cut in 0..300_usize,
        ) {
            let mut bytes: Vec<u8> = messages
                .iter()
                .flat_map(|(head, data)| message(*head, data))
                .collect();
            bytes.truncate(cut);
            let _ = read_control(&bytes);
        }

        #[test]
        fn whole_messages_are_read_whatever_stands_between_them(
            strangers in vec(vec(any::<u8>(), 0..40), 8),
            ttl in any::<u8>(), dropped in any::<u32>(), segment in any::<u16>(),
            address in any::<[u8; 4]>(),
        ) {
            let mut info = [0; 12];
            info[4..8].copy_from_slice(&address);
            info[8..].copy_from_slice(&address);
            let known = [
                message((None, libc::IPPROTO_IP, libc::IP_TTL), &i32::from(ttl).to_ne_bytes()),
                message((None, libc::IPPROTO_IP, libc::IP_PKTINFO), &info),
                message((None, libc::SOL_SOCKET, libc::SO_RXQ_OVFL), &dropped.to_ne_bytes()),
                message((None, libc::SOL_UDP, libc::UDP_GRO), &i32::from(segment).to_ne_bytes()),
            ];
            let mut bytes = Vec::new();
            for (data, one) in strangers.iter().zip(known) {
                bytes.extend(message((None, libc::SOL_SOCKET, 12_345), data));
                bytes.extend(one);
            }
            let beside = read_control(&bytes);
            let address = IpAddr::V4(Ipv4Addr::from(address));
            prop_assert_eq!(beside.ttl, Some(ttl));
            prop_assert_eq!(beside.dropped, Some(dropped));
            prop_assert_eq!(beside.segment, Some(usize::from(segment)));
            prop_assert_eq!((beside.local, beside.answer_from), (Some(address), Some(address)));
            prop_assert_eq!((beside.ecn, beside.error), (None, None));
        }
    }
}
