//! Parts of files, which the kernel copies to a socket by itself (sendfile(2)).
//!
//! The bytes never come into this process. The kernel keeps the pages that it sends by reference,
//! so a file that is changed in place meanwhile may arrive partly changed; one that becomes shorter
//! ends the send with [`Errno::FILE_ENDED`]. io_uring has no such operation, and its splice always
//! takes one of the kernel's worker threads. So both drivers call sendfile, and wait for room in
//! the socket as for any other readiness.
//!
//! A file that is not in the page cache is read from its disk within that call, which takes as long
//! as the disk needs: the caller has it read before where that matters.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::rc::Rc;
use std::{fs, io, mem, ptr};

use crate::socket::last_errno;
use crate::{Descriptor, Errno};

/// What one call copies at the most: as much as a call of sendfile(2) takes.
const BYTES_A_CALL_MAX: usize = 0x7fff_f000;

/// A part of a file. One pointer, so that queues of messages do not take more memory for it.
#[derive(Clone, Debug)]
pub struct FilePart(Rc<Part>);

#[derive(Debug)]
struct Part {
    file: fs::File,
    offset: u64,
    length: usize,
}

impl FilePart {
    /// `length` bytes of `file` from `offset` on.
    pub fn new(file: OwnedFd, offset: u64, length: usize) -> Self {
        Self(Rc::new(Part {
            file: file.into(),
            offset,
            length,
        }))
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.0.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.length == 0
    }

    /// Let the kernel copy what follows the first `skipped` bytes to a non-blocking socket, as much
    /// as it takes now. [`Errno::FILE_ENDED`] where the file has become too short.
    pub(crate) fn send(&self, skipped: usize, socket: Descriptor) -> Result<usize, Errno> {
        let mut place = (self.0.offset + skipped as u64).cast_signed();
        let count = (self.0.length - skipped).min(BYTES_A_CALL_MAX);
        let file = self.0.file.as_raw_fd();
        let signal = BrokenPipe::block();
        let sent = loop {
            // SAFETY: the pointer is to a local variable.
            let sent = unsafe { libc::sendfile(socket, file, &raw mut place, count) };
            if sent >= 0 || last_errno().0 != libc::EINTR {
                break usize::try_from(sent).map_err(|_| last_errno());
            }
        };
        signal.restore(sent == Err(Errno(libc::EPIPE)));
        match sent {
            Ok(0) => Err(Errno::FILE_ENDED),
            result => result,
        }
    }

    /// Append `count` bytes behind the first `skipped` ones to `bytes`.
    ///
    /// # Errors
    /// They cannot be read, or the file has become too short ([`Errno::FILE_ENDED`]).
    pub fn read(&self, skipped: usize, count: usize, bytes: &mut Vec<u8>) -> Result<(), Errno> {
        bytes
            .try_reserve_exact(count)
            .map_err(|_| Errno::OUT_OF_MEMORY)?;
        let start = bytes.len();
        bytes.resize(start + count, 0);
        let place = self.0.offset + skipped as u64;
        self.0
            .file
            .read_exact_at(&mut bytes[start..], place)
            .map_err(|error| {
                bytes.truncate(start);
                if error.kind() == io::ErrorKind::UnexpectedEof {
                    Errno::FILE_ENDED
                } else {
                    crate::socket::errno_of(&error)
                }
            })
    }
}

/// The signal SIGPIPE, kept from a program that does not ignore it: sendfile(2) has no
/// `MSG_NOSIGNAL`, and the signal would end the process.
struct BrokenPipe {
    before: libc::sigset_t,
    was_pending: bool,
}

impl BrokenPipe {
    fn block() -> Self {
        // SAFETY: all zero bytes are a valid sigset_t, and the pointers are to local variables.
        unsafe {
            let mut pending: libc::sigset_t = mem::zeroed();
            let mut before: libc::sigset_t = mem::zeroed();
            libc::sigpending(&raw mut pending);
            let set = Self::set();
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, &raw mut before);
            Self {
                before,
                was_pending: libc::sigismember(&raw const pending, libc::SIGPIPE) == 1,
            }
        }
    }

    fn set() -> libc::sigset_t {
        // SAFETY: as above.
        unsafe {
            let mut set: libc::sigset_t = mem::zeroed();
            libc::sigaddset(&raw mut set, libc::SIGPIPE);
            set
        }
    }

    fn restore(self, was_raised: bool) {
        // SAFETY: as above; a null pointer says that what was taken is not wanted.
        unsafe {
            if was_raised && !self.was_pending {
                let set = Self::set();
                let now = libc::timespec {
                    tv_sec: 0,
                    tv_nsec: 0,
                };
                libc::sigtimedwait(&raw const set, ptr::null_mut(), &raw const now);
            }
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, ptr::null_mut());
        }
    }
}
