//! A cap on what one multishot receive brings.
//!
//! Within one call the kernel continues receiving for as long as a socket has bytes and the ring
//! has buffers; a peer that sends as fast as it can keeps it there, and everything that comes must
//! be stored, even if the owner wants only a little of it. Linux 6.17 and newer end a multishot
//! receive after a number of bytes that is given at its start. Older ones refuse it with `EINVAL`;
//! there the buffers in the ring are the only bound.

use std::sync::OnceLock;

use io_uring::types::Fd;
use io_uring::{IoUring, opcode, squeue};

use super::submit::RECV_MULTISHOT;

/// As much as the engine stores for one connection. Beginning a receive again costs little compared
/// with receiving this many bytes.
const BYTES: u32 = 256 << 10;

/// Where `optlen` is in `struct io_uring_sqe` of `linux/io_uring.h`.
const OPTLEN: std::ops::Range<usize> = 44..48;

/// Put the cap on a multishot receive, if this kernel takes one.
pub(super) fn put_on(receive: squeue::Entry) -> squeue::Entry {
    static IS_KNOWN: OnceLock<bool> = OnceLock::new();
    if *IS_KNOWN.get_or_init(|| probe().unwrap_or(false)) {
        capped(receive)
    } else {
        receive
    }
}

fn capped(receive: squeue::Entry) -> squeue::Entry {
    // SAFETY: an entry is the kernel's structure of 64 bytes, of which all values are valid.
    let mut bytes: [u8; 64] = unsafe { std::mem::transmute(receive) };
    bytes[OPTLEN].copy_from_slice(&BYTES.to_ne_bytes());
    // SAFETY: as above; and a number points to nothing.
    unsafe { std::mem::transmute(bytes) }
}

/// Whether the kernel takes a cap: it looks at that before it looks for the descriptor.
fn probe() -> std::io::Result<bool> {
    let mut ring = IoUring::new(1)?;
    let receive = opcode::Recv::new(Fd(-1), std::ptr::null_mut(), 0)
        .ioprio(RECV_MULTISHOT)
        .build()
        .flags(squeue::Flags::BUFFER_SELECT);
    // SAFETY: points to nothing, and there is no socket to receive from.
    if unsafe { ring.submission().push(&capped(receive)) }.is_err() {
        return Ok(false);
    }
    ring.submit_and_wait(1)?;
    let result = ring.completion().next().map(|entry| entry.result());
    Ok(result == Some(-libc::EBADF))
}
