//! Handing datagrams to the kernel.

use std::ops::RangeInclusive;

use super::control;
use super::headers::Headers;
use super::{BATCHES_A_FLUSH, DATAGRAMS_A_BATCH, Departed, Departure, Departures};
use crate::address::KernelAddress;
use crate::socket::last_errno;
use crate::{Descriptor, Errno};

/// How long datagrams may be that leave together: longer ones may need fragments of IP, and these
/// exclude each other.
const SEGMENT_BYTES: RangeInclusive<usize> = 1..=1452;
/// How many leave together at most (`UDP_MAX_SEGMENTS` of older kernels).
const SEGMENTS_MAX: usize = 64;
/// How many bytes leave together at most: what an IP packet holds.
const RUN_BYTES_MAX: usize = 65_000;

/// What one sendmmsg(2) is given, and how many datagrams each of its messages holds.
pub(super) struct Described {
    headers: Headers,
    counts: [usize; DATAGRAMS_A_BATCH],
}

impl Described {
    fn new() -> Box<Self> {
        Box::new(Self {
            headers: Headers::new(),
            counts: [0; DATAGRAMS_A_BATCH],
        })
    }
}

/// See [`crate::Port::send_datagrams`]. Adds the system calls it makes to `calls`.
pub(crate) fn send(socket: Descriptor, departures: &mut Departures, calls: &mut u64) -> Departed {
    let mut departed = Departed::default();
    let mut failed: Option<Errno> = None;
    for _ in 0..BATCHES_A_FLUSH {
        if departures.is_empty() {
            break;
        }
        *calls += 1;
        let result = describe(departures).and_then(|count| send_once(socket, departures, count));
        match result {
            Ok(count) => {
                failed = None;
                let described = departures.described.as_ref().expect("they were described");
                let datagrams: usize = described.counts[..count].iter().sum();
                departed.datagrams += datagrams as u64;
                for _ in 0..datagrams {
                    departed.bytes += departures.pop() as u64;
                }
            }
            Err(Errno(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM)) => {
                departed.is_blocked = true;
                break;
            }
            Err(Errno(libc::EINTR)) => (),
            Err(Errno(libc::EINVAL | libc::EIO | libc::EMSGSIZE))
                if departures.is_first_coalesced() =>
            {
                departures.is_plain = true;
            }
            // The first such error may be that of an earlier datagram.
            Err(errno) if failed != Some(errno) => failed = Some(errno),
            Err(errno) => {
                failed = None;
                departures.drop_first();
                departed.refused.push(errno);
            }
        }
    }
    departed
}

impl Departures {
    fn is_first_coalesced(&self) -> bool {
        !self.is_plain && self.described.as_ref().is_some_and(|it| it.counts[0] > 1)
    }
}

/// How many of the oldest datagrams can leave together, and how many bytes they have.
fn run_of<'a>(mut waiting: impl Iterator<Item = &'a Departure>) -> (usize, usize) {
    let Some(first) = waiting.next() else {
        return (0, 0);
    };
    let (mut count, mut bytes) = (1, first.length);
    if !SEGMENT_BYTES.contains(&first.length) || !first.peer.is_inet() {
        return (count, bytes);
    }
    for one in waiting.take(SEGMENTS_MAX - 1) {
        let is_its = one.peer == first.peer && one.source == first.source;
        let is_fitting = (1..=first.length).contains(&one.length);
        if !is_its || !is_fitting || bytes + one.length > RUN_BYTES_MAX {
            break;
        }
        count += 1;
        bytes += one.length;
        if one.length < first.length {
            break;
        }
    }
    (count, bytes)
}

/// Point the headers to the oldest datagrams; how many messages there are. An error is that of the
/// first.
fn describe(departures: &mut Departures) -> Result<u32, Errno> {
    let Departures {
        bytes,
        waiting,
        described,
        is_plain,
        ..
    } = departures;
    let Described { headers, counts } = &mut **described.get_or_insert_with(Described::new);
    let (mut count, mut place) = (0, 0);
    for (index, held) in counts.iter_mut().enumerate() {
        let Some(one) = waiting.get(place) else {
            break;
        };
        let (datagrams, length) = if *is_plain {
            (1, one.length)
        } else {
            run_of(waiting.range(place..))
        };
        headers.names[index] = match KernelAddress::new(&one.peer) {
            Ok(name) => name,
            Err(error) if index == 0 => return Err(crate::socket::errno_of(&error)),
            Err(_) => break,
        };
        // What was pushed in a row is in a row.
        let slot = &bytes[one.start..one.start + length];
        headers.vectors[index] = libc::iovec {
            iov_base: slot.as_ptr().cast_mut().cast(),
            iov_len: slot.len(),
        };
        let header = &mut headers.messages[index].msg_hdr;
        header.msg_name = headers.names[index].pointer().cast_mut().cast();
        header.msg_namelen = headers.names[index].length();
        header.msg_iov = &raw mut headers.vectors[index];
        header.msg_iovlen = 1;
        header.msg_control = std::ptr::null_mut();
        header.msg_controllen = 0;
        let segment = (datagrams > 1).then_some(one.length as u16);
        if one.source.is_some() || segment.is_some() {
            let control = &mut headers.controls[index];
            header.msg_controllen = control::ask(control, one.source, segment) as _;
            header.msg_control = control.pointer();
        }
        *held = datagrams;
        place += datagrams;
        count += 1;
    }
    Ok(count)
}

fn send_once(socket: Descriptor, departures: &mut Departures, count: u32) -> Result<usize, Errno> {
    let described = departures.described.as_mut().expect("they were described");
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    let messages = described.headers.messages.as_mut_ptr();
    // SAFETY: so many headers were pointed to names, controls and bytes that live through the call.
    let sent = unsafe { libc::sendmmsg(socket, messages, count, flags) };
    usize::try_from(sent).map_err(|_| last_errno())
}
