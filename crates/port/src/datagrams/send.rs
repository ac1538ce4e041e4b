//! Handing datagrams to the kernel.

use std::mem;

use super::control::{self, Control};
use super::{BATCHES_A_FLUSH, DATAGRAMS_A_BATCH, Departed, Departures};
use crate::address::KernelAddress;
use crate::socket::last_errno;
use crate::{Descriptor, Errno};

/// What one sendmmsg(2) is given.
pub(super) struct Headers {
    messages: [libc::mmsghdr; DATAGRAMS_A_BATCH],
    vectors: [libc::iovec; DATAGRAMS_A_BATCH],
    names: [KernelAddress; DATAGRAMS_A_BATCH],
    controls: [Control; DATAGRAMS_A_BATCH],
}

impl Headers {
    fn new() -> Box<Self> {
        Box::new(Self {
            // SAFETY: all zero bytes are valid headers.
            messages: unsafe { mem::zeroed() },
            // SAFETY: all zero bytes are valid vectors.
            vectors: unsafe { mem::zeroed() },
            names: [KernelAddress::empty(); DATAGRAMS_A_BATCH],
            controls: [[0; 24]; DATAGRAMS_A_BATCH],
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
                departed.datagrams += count as u64;
                for _ in 0..count {
                    departed.bytes += departures.pop() as u64;
                }
            }
            Err(Errno(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM)) => {
                departed.is_blocked = true;
                break;
            }
            Err(Errno(libc::EINTR)) => (),
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

/// Point the headers to the oldest datagrams; how many there are. An error is that of the first.
fn describe(departures: &mut Departures) -> Result<u32, Errno> {
    let Departures {
        bytes,
        waiting,
        headers,
        ..
    } = departures;
    let headers = headers.get_or_insert_with(Headers::new);
    let mut count = 0;
    for (index, one) in waiting.iter().take(DATAGRAMS_A_BATCH).enumerate() {
        headers.names[index] = match KernelAddress::new(&one.peer) {
            Ok(name) => name,
            Err(error) if index == 0 => return Err(crate::socket::errno_of(&error)),
            Err(_) => break,
        };
        let slot = &bytes[one.start..one.start + one.length];
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
        if let Some(source) = one.source {
            let control = &mut headers.controls[index];
            header.msg_controllen = control::write_source(control, source) as _;
            header.msg_control = control.as_mut_ptr().cast();
        }
        count += 1;
    }
    Ok(count)
}

fn send_once(socket: Descriptor, departures: &mut Departures, count: u32) -> Result<usize, Errno> {
    let headers = departures.headers.as_mut().expect("they were described");
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    let messages = headers.messages.as_mut_ptr();
    // SAFETY: so many headers were pointed to names, controls and bytes that live through the call.
    let sent = unsafe { libc::sendmmsg(socket, messages, count, flags) };
    usize::try_from(sent).map_err(|_| last_errno())
}
