//! Receiving a batch from the kernel, and what waits in a socket's error queue.

use std::mem;
use std::ops::Range;

use super::control::Control;
use super::headers::Headers;
use super::{Arrival, Arrivals, COALESCED_A_BATCH, COALESCED_BYTES_MAX, DATAGRAMS_A_BATCH};
use crate::address::KernelAddress;
use crate::socket::last_errno;
use crate::{Address, Descriptor, Errno};

/// How often a call that reports an earlier datagram's error is made again.
const ATTEMPTS_MAX: usize = 4;
/// How many entries of an error queue are read in one turn.
const ERRORS_MAX: usize = 64;

impl Headers {
    /// Point every header to its slot of `bytes`.
    fn point_to(&mut self, bytes: &mut [u8], slot_bytes: usize) {
        let slots = bytes.chunks_mut(slot_bytes);
        let parts = self.vectors.iter_mut().zip(&mut self.names);
        let parts = parts.zip(&mut self.controls).zip(&mut self.messages);
        for (slot, (((vector, name), control), message)) in slots.zip(parts) {
            vector.iov_base = slot.as_mut_ptr().cast();
            vector.iov_len = slot_bytes;
            let header = &mut message.msg_hdr;
            header.msg_name = name.pointers().0.cast();
            header.msg_namelen = KernelAddress::ROOM;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_control = control.pointer();
            header.msg_controllen = Control::BYTES as _;
            header.msg_flags = 0;
        }
    }
}

/// See [`crate::Port::receive_datagrams`]. Adds the system calls it makes to `calls`.
pub(crate) fn receive(
    socket: Descriptor,
    arrivals: &mut Arrivals,
    datagram_bytes_max: usize,
    calls: &mut u64,
) -> Result<(), Errno> {
    arrivals.clear();
    // A coalesced message is longer than each of its datagrams.
    arrivals.reserve(datagram_bytes_max.max(COALESCED_BYTES_MAX));
    let mut attempts = 0;
    loop {
        *calls += 1;
        match receive_once(socket, arrivals, datagram_bytes_max) {
            Ok(count) if count > 0 => return Ok(()),
            Ok(_) | Err(Errno(libc::EAGAIN)) => {
                // What made the socket readable may be its error queue alone.
                read_errors(socket, arrivals, calls);
                return Ok(());
            }
            Err(Errno(libc::EINTR)) => (),
            Err(errno) => {
                attempts += 1;
                if attempts == ATTEMPTS_MAX {
                    return Err(errno);
                }
                let known = arrivals.errors.len();
                read_errors(socket, arrivals, calls);
                if arrivals.errors.len() == known {
                    arrivals.push_error(errno);
                }
            }
        }
    }
}

fn receive_once(socket: Descriptor, arrivals: &mut Arrivals, limit: usize) -> Result<usize, Errno> {
    let mut headers = arrivals
        .headers
        .take()
        .unwrap_or_else(|| Box::new(Headers::new()));
    let received = receive_into(&mut headers, socket, arrivals, limit);
    arrivals.headers = Some(headers);
    received
}

fn receive_into(
    headers: &mut Headers,
    socket: Descriptor,
    arrivals: &mut Arrivals,
    limit: usize,
) -> Result<usize, Errno> {
    let slot_bytes = arrivals.slot_bytes;
    headers.point_to(&mut arrivals.bytes, slot_bytes);
    let (messages, none) = (headers.messages.as_mut_ptr(), std::ptr::null_mut());
    let most = if arrivals.is_coalesced {
        COALESCED_A_BATCH
    } else {
        DATAGRAMS_A_BATCH
    };
    let flags = libc::MSG_DONTWAIT;
    // SAFETY: the headers were pointed to names, controls and slots that live through the call.
    let received = unsafe { libc::recvmmsg(socket, messages, most as u32, flags, none) };
    let received = usize::try_from(received).map_err(|_| last_errno())?;
    arrivals.is_coalesced = false;
    let parts = headers.messages.iter().zip(&mut headers.names);
    let parts = parts.zip(&headers.controls).take(received);
    for (index, ((message, name), control)) in parts.enumerate() {
        let header = &message.msg_hdr;
        let beside = control.read(header.msg_controllen);
        name.set_length(header.msg_namelen);
        arrivals.dropped = beside.dropped.or(arrivals.dropped);
        let arrival = Arrival {
            // A datagram without a sender's address comes from a Unix socket without a name.
            peer: name.address().unwrap_or_else(|_| Address::Unix("".into())),
            local: beside.local,
            answer_from: beside.answer_from,
            ttl: beside.ttl,
            ecn: beside.ecn,
            is_truncated: header.msg_flags & libc::MSG_TRUNC != 0,
            length: 0,
            start: 0,
        };
        let length = message.msg_len as usize;
        let segment = beside.segment.filter(|it| (1..length).contains(it));
        arrivals.is_coalesced |= segment.is_some();
        let first = index * slot_bytes;
        arrivals.cut(first..first + length, segment, limit, &arrival);
    }
    Ok(received)
}

impl Arrivals {
    /// Add the datagrams of a message: one, or several of `segment` bytes.
    fn cut(
        &mut self,
        place: Range<usize>,
        segment: Option<usize>,
        limit: usize,
        arrival: &Arrival,
    ) {
        let step = segment.unwrap_or(place.len());
        let mut start = place.start;
        loop {
            let length = step.min(place.end - start);
            self.came.push(Arrival {
                is_truncated: arrival.is_truncated || length > limit,
                length: length.min(limit),
                start,
                ..arrival.clone()
            });
            start += length;
            if start >= place.end {
                return;
            }
        }
    }
}

/// Read the errors that earlier datagrams of ours caused.
fn read_errors(socket: Descriptor, arrivals: &mut Arrivals, calls: &mut u64) {
    let mut control = Control::empty();
    let mut byte = 0_u8;
    for _ in 0..ERRORS_MAX {
        let mut vector = libc::iovec {
            iov_base: (&raw mut byte).cast(),
            iov_len: 1,
        };
        // SAFETY: all zero bytes are a valid msghdr.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        header.msg_control = control.pointer();
        header.msg_controllen = Control::BYTES as _;
        let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
        *calls += 1;
        // SAFETY: the header points to a vector and control memory that live through the call.
        if unsafe { libc::recvmsg(socket, &raw mut header, flags) } < 0 {
            return;
        }
        if let Some(errno) = control.read(header.msg_controllen).error {
            arrivals.push_error(Errno(errno));
        }
    }
}
