//! What both kernel drivers do with sockets by plain system calls: make, bind, name, shut and close
//! them.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::mem;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::address::{Address, KernelAddress};
use crate::datagrams::{self, DatagramOptions};
use crate::{Delivery, Descriptor, Errno, Unread, fork};

/// `result` of a system call that says -1 for an error.
pub(crate) fn check(result: i32) -> io::Result<i32> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// The errno of the system call that failed last on this thread.
pub(crate) fn last_errno() -> Errno {
    errno_of(&io::Error::last_os_error())
}

/// The errno within `error`.
pub(crate) fn errno_of(error: &io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(libc::EIO))
}

/// The time of `CLOCK_MONOTONIC` in nanoseconds. No system call where the kernel offers a vDSO.
pub(crate) fn monotonic() -> u64 {
    // SAFETY: all zero bytes are a valid timespec.
    let mut time: libc::timespec = unsafe { mem::zeroed() };
    // SAFETY: the pointer is to a timespec of ours; CLOCK_MONOTONIC always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Whether an error of accept(2) says that accepting must pause: the process, the system or the
/// memory is at its limit, or the descriptor does not accept at all.
pub(crate) fn ends_accept(errno: Errno) -> bool {
    // Every other error concerns one connection that ended in the queue: accept(2), "Error
    // handling".
    matches!(
        errno.0,
        libc::EMFILE
            | libc::ENFILE
            | libc::ENOBUFS
            | libc::ENOMEM
            | libc::EBADF
            | libc::EINVAL
            | libc::ENOTSOCK
            | libc::EOPNOTSUPP
            | libc::EFAULT
            | libc::ECANCELED
    )
}

pub(crate) fn set_option(socket: Descriptor, level: i32, name: i32, value: i32) -> io::Result<()> {
    check(set_option_to(socket, level, name, &value)).map(drop)
}

/// setsockopt(2) with the structure that the option takes.
pub(crate) fn set_option_to<T: Copy>(socket: Descriptor, level: i32, name: i32, value: &T) -> i32 {
    let length = mem::size_of::<T>() as libc::socklen_t;
    // SAFETY: the pointer is to a value that lives through the call, and the length is its size.
    unsafe {
        libc::setsockopt(
            socket,
            level,
            name,
            std::ptr::from_ref(value).cast(),
            length,
        )
    }
}

/// The address family and the type of the socket (`SOCK_STREAM`, `SOCK_DGRAM`).
pub(crate) fn family_and_type(socket: Descriptor) -> io::Result<(i32, i32)> {
    let get = |name| get_option(socket, name).map_err(|it| io::Error::from_raw_os_error(it.0));
    Ok((get(libc::SO_DOMAIN)?, get(libc::SO_TYPE)?))
}

/// Let no call on the socket wait, and no program that is executed inherit it.
pub(crate) fn set_nonblocking(socket: Descriptor) -> io::Result<()> {
    // SAFETY: no pointers.
    let flags = check(unsafe { libc::fcntl(socket, libc::F_GETFL) })?;
    // SAFETY: no pointers.
    check(unsafe { libc::fcntl(socket, libc::F_SETFL, flags | libc::O_NONBLOCK) })?;
    // SAFETY: no pointers.
    check(unsafe { libc::fcntl(socket, libc::F_SETFD, libc::FD_CLOEXEC) }).map(drop)
}

/// Whether the socket is of the Unix family.
pub(crate) fn is_unix(socket: Descriptor) -> bool {
    get_option(socket, libc::SO_DOMAIN) == Ok(libc::AF_UNIX)
}

/// The error that a finished connect left on the socket (`SO_ERROR`); 0 for none.
pub(crate) fn take_error(socket: Descriptor) -> i32 {
    get_option(socket, libc::SO_ERROR).unwrap_or_else(|errno| errno.0)
}

fn get_option(socket: Descriptor, name: i32) -> Result<i32, Errno> {
    let mut value: i32 = 0;
    let mut length = mem::size_of::<i32>() as libc::socklen_t;
    let (place, level) = ((&raw mut value).cast(), libc::SOL_SOCKET);
    // SAFETY: both pointers are to values of ours, and the length is the value's size.
    let result = unsafe { libc::getsockopt(socket, level, name, place, &raw mut length) };
    if result < 0 {
        Err(last_errno())
    } else {
        Ok(value)
    }
}

/// A socket that closes itself unless it is released.
pub(crate) struct Fresh(Descriptor);

impl Fresh {
    pub(crate) fn new(address: &Address, kind: i32) -> io::Result<Self> {
        let kind = kind | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: no pointers.
        let socket = check(unsafe { libc::socket(address.family(), kind, 0) })?;
        Ok(Self(socket))
    }

    pub(crate) fn descriptor(&self) -> Descriptor {
        self.0
    }

    pub(crate) fn bind(&self, address: &Address) -> io::Result<()> {
        let kernel = KernelAddress::new(address)?;
        // SAFETY: the pointer and length are those of an address that lives through the call.
        check(unsafe { libc::bind(self.0, kernel.pointer(), kernel.length()) }).map(drop)
    }

    fn release(self) -> Descriptor {
        let socket = self.0;
        mem::forget(self);
        socket
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // SAFETY: the descriptor is ours and nobody else has it.
        unsafe { libc::close(self.0) };
    }
}

/// See [`crate::Port::open`].
pub(crate) fn open(address: &Address, source: Option<&Address>) -> io::Result<Descriptor> {
    let socket = Fresh::new(address, libc::SOCK_STREAM)?;
    if address.is_inet() {
        set_option(socket.0, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    }
    if let Some(source) = source {
        if source.port() == Some(0) {
            // Choose the port at connect, where all four parts of the connection are known:
            // otherwise one source address is used up after some 28,000 connections in all.
            set_option(socket.0, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
        } else if source.is_inet() {
            set_option(socket.0, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
        }
        socket.bind(source)?;
    }
    Ok(socket.release())
}

/// See [`crate::Port::adopt`].
pub(crate) fn adopt(listener: Descriptor) -> io::Result<()> {
    if get_option(listener, libc::SO_ACCEPTCONN)
        .map_err(|errno| io::Error::from_raw_os_error(errno.0))?
        == 0
    {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    set_nonblocking(listener)?;
    if !is_unix(listener) {
        // Accepted sockets inherit this, which saves a system call for each.
        set_option(listener, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    }
    Ok(())
}

fn address_of(
    socket: Descriptor,
    call: unsafe extern "C" fn(i32, *mut libc::sockaddr, *mut libc::socklen_t) -> i32,
) -> io::Result<Address> {
    let mut kernel = KernelAddress::empty();
    let (address, length) = kernel.pointers();
    // SAFETY: `call` is getsockname or getpeername, and the pointers are to room of the length
    // told.
    check(unsafe { call(socket, address, length) })?;
    kernel.address()
}

/// See [`crate::Port::local_address`].
pub(crate) fn local_address(socket: Descriptor) -> io::Result<Address> {
    address_of(socket, libc::getsockname)
}

/// See [`crate::Port::peer_address`].
pub(crate) fn peer_address(socket: Descriptor) -> io::Result<Address> {
    address_of(socket, libc::getpeername)
}

/// See [`crate::Port::delivery`].
pub(crate) fn delivery(socket: Descriptor) -> Delivery {
    let Some(info) = tcp_info(socket) else {
        return Delivery::default();
    };
    let outstanding = count_of(socket, libc::TIOCOUTQ);
    let acknowledged = info[TCPI_BYTES_ACKED..].first_chunk();
    Delivery {
        acknowledged: acknowledged.copied().map(u64::from_ne_bytes),
        outstanding,
        unanswered_milliseconds: if outstanding > 0 {
            unanswered_milliseconds(&info)
        } else {
            0
        },
    }
}

/// See [`Delivery::unanswered_milliseconds`]. A kernel without room for bytes that it is sent again
/// answers, and acknowledges none: what counts is whether it has answered since the latest was
/// sent, where that is longer ago than a round trip.
fn unanswered_milliseconds(info: &[u8]) -> u32 {
    let number = |offset: usize| {
        let bytes = info[offset..].first_chunk().copied();
        bytes.map_or(0, u32::from_ne_bytes)
    };
    let (answered, sent) = (number(TCPI_LAST_ACK_RECV), number(TCPI_LAST_DATA_SENT));
    let round_trip = number(TCPI_RTT) / 1_000;
    let is_answered = answered <= sent || sent <= ROUND_TRIPS * round_trip;
    let is_repeated = info[TCPI_RETRANSMITS] >= REPEATS_MIN && !is_answered;
    if is_repeated || info[TCPI_PROBES] >= REPEATS_MIN {
        answered
    } else {
        0
    }
}

/// One attempt without an answer may be on its way.
const REPEATS_MIN: u8 = 2;
/// What an answer may take at the most, in smoothed round trips.
const ROUND_TRIPS: u32 = 2;
/// How often the oldest byte was repeated since any was acknowledged: one byte of `TCP_INFO`.
const TCPI_RETRANSMITS: usize = 2;
/// How many questions for room are unanswered: one byte.
const TCPI_PROBES: usize = 3;
/// The milliseconds since bytes were last sent, for the first time or again: four bytes.
const TCPI_LAST_DATA_SENT: usize = 44;
/// The smoothed round trip in microseconds: four bytes.
const TCPI_RTT: usize = 68;
/// The milliseconds since the latest acknowledgement, also one of no new bytes: four bytes.
const TCPI_LAST_ACK_RECV: usize = 56;
/// The bytes that were acknowledged (Linux 4.1 or newer): eight bytes.
const TCPI_BYTES_ACKED: usize = 120;

/// The beginning of `TCP_INFO`; `None` where the socket is not TCP.
fn tcp_info(socket: Descriptor) -> Option<[u8; TCPI_BYTES_ACKED + 8]> {
    let mut info = [0_u8; TCPI_BYTES_ACKED + 8];
    let mut length = info.len() as libc::socklen_t;
    let (level, place) = (libc::IPPROTO_TCP, info.as_mut_ptr().cast());
    // SAFETY: the pointers are to room of the length that is given, and to that length.
    let result = unsafe { libc::getsockopt(socket, level, libc::TCP_INFO, place, &raw mut length) };
    (result == 0 && length as usize == info.len()).then_some(info)
}

/// See [`crate::Port::unread`].
pub(crate) fn unread(socket: Descriptor) -> Unread {
    let mut poll = libc::pollfd {
        fd: socket,
        events: libc::POLLRDHUP,
        revents: 0,
    };
    // SAFETY: the pointer is to one structure of ours, and the call does not wait.
    unsafe { libc::poll(&raw mut poll, 1, 0) };
    let is_broken = poll.revents & libc::POLLERR != 0;
    Unread {
        bytes: count_of(socket, libc::FIONREAD),
        is_ended: poll.revents & (libc::POLLRDHUP | libc::POLLHUP) != 0,
        is_gone: poll.revents & libc::POLLHUP != 0,
        broken: is_broken
            .then(|| take_error(socket))
            .filter(|errno| *errno != 0)
            .map(Errno),
    }
}

/// What an ioctl that counts bytes says; 0 where the socket has none.
fn count_of(socket: Descriptor, request: libc::Ioctl) -> usize {
    let mut count: i32 = 0;
    // SAFETY: both requests write one i32, to one of ours.
    unsafe { libc::ioctl(socket, request, &raw mut count) };
    usize::try_from(count).unwrap_or(0)
}

/// See [`crate::Port::keep_alive`]. A socket that has lost its connection needs none.
pub(crate) fn keep_alive(socket: Descriptor, silence: Duration) {
    const PROBES: i32 = 3;
    const SECONDS_MAX: u64 = 32_767;
    if is_unix(socket) {
        return;
    }
    let seconds = silence.as_secs_f64().ceil() as u64;
    let seconds = seconds.clamp(1, SECONDS_MAX) as i32;
    let options = [
        (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, seconds),
        (
            libc::IPPROTO_TCP,
            libc::TCP_KEEPINTVL,
            (seconds / PROBES).max(1),
        ),
        (libc::IPPROTO_TCP, libc::TCP_KEEPCNT, PROBES),
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1),
    ];
    for (level, name, value) in options {
        let _ = set_option(socket, level, name, value);
    }
}

/// See [`crate::Port::shutdown`].
pub(crate) fn shutdown(socket: Descriptor) {
    // SAFETY: no pointers. A socket that is no longer connected needs no shutting down.
    unsafe { libc::shutdown(socket, libc::SHUT_WR) };
}

/// Close, with RST instead of FIN when `reset`.
pub(crate) fn close(socket: Descriptor, reset: bool) {
    if reset {
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        // SAFETY: the pointer is to a linger of ours, and the length is its size.
        unsafe {
            libc::setsockopt(
                socket,
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                mem::size_of::<libc::linger>() as libc::socklen_t,
            );
        }
    }
    // SAFETY: the caller hands the descriptor over. On Linux it is closed even when close(2) fails.
    unsafe { libc::close(socket) };
}

/// Listening sockets, and the files of those that are Unix sockets, which must go when their socket
/// is closed.
#[derive(Default)]
pub(crate) struct SocketFiles {
    /// Sockets that a forked child closes.
    listeners: Vec<Descriptor>,
    /// The path, and the device and inode that were made there: a file that another process has put
    /// in its place since is not ours to remove.
    files: HashMap<Descriptor, (PathBuf, u64, u64)>,
}

impl SocketFiles {
    /// See [`crate::Port::listen`].
    pub(crate) fn listen(
        &mut self,
        address: &Address,
        backlog: u32,
        reuse_port: bool,
    ) -> io::Result<Descriptor> {
        let socket = Fresh::new(address, libc::SOCK_STREAM)?;
        if address.is_inet() {
            set_option(socket.0, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
            // Accepted sockets inherit this, which saves a system call for each.
            set_option(socket.0, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
        }
        if address.family() == libc::AF_INET6 {
            set_option(socket.0, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
        }
        if reuse_port && address.is_inet() {
            set_option(socket.0, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
        }
        if let Some(path) = address.path() {
            remove_stale(path, libc::SOCK_STREAM)?;
        }
        socket.bind(address)?;
        self.remember_file(socket.0, address)?;
        let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
        // SAFETY: no pointers.
        if let Err(error) = check(unsafe { libc::listen(socket.0, backlog) }) {
            self.forget(socket.0);
            return Err(error);
        }
        Ok(socket.release())
    }

    /// See [`crate::Port::bind`].
    pub(crate) fn bind(
        &mut self,
        address: &Address,
        options: &DatagramOptions,
    ) -> io::Result<Descriptor> {
        if let Some(path) = address.path() {
            remove_stale(path, libc::SOCK_DGRAM)?;
        }
        let socket = datagrams::bind(address, options)?;
        self.remember_file(socket.0, address)?;
        self.hold(socket.0);
        Ok(socket.release())
    }

    /// Remember the file that binding has made.
    fn remember_file(&mut self, socket: Descriptor, address: &Address) -> io::Result<()> {
        if let Some(path) = address.path() {
            let file = fs::symlink_metadata(path)?;
            self.files
                .insert(socket, (path.to_owned(), file.dev(), file.ino()));
        }
        Ok(())
    }

    /// Remember a listening socket, so that a forked child closes it.
    pub(crate) fn hold(&mut self, listener: Descriptor) {
        if !self.listeners.contains(&listener) {
            self.listeners.push(listener);
            fork::close_in_children(listener);
        }
    }

    /// Remove the file of a listening socket that is being closed, if it has one.
    pub(crate) fn forget(&mut self, socket: Descriptor) {
        if let Some(position) = self.listeners.iter().position(|other| *other == socket) {
            self.listeners.swap_remove(position);
            fork::forget(socket);
        }
        if self.files.is_empty() {
            return;
        }
        if let Some((path, device, inode)) = self.files.remove(&socket)
            && let Ok(file) = fs::symlink_metadata(&path)
            && (file.dev(), file.ino()) == (device, inode)
        {
            // A file that somebody else removed in this moment needs no removing.
            let _ = fs::remove_file(&path);
        }
    }
}

/// Remove the socket file of a server that was killed: only if it is a socket, and only if
/// connecting to it is refused, because then nobody listens.
fn remove_stale(path: &Path, kind: i32) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(file) if file.file_type().is_socket() => (),
        // A file that is not a socket is kept; bind then reports EADDRINUSE.
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let address = Address::Unix(path.to_owned());
    let probe = Fresh::new(&address, kind)?;
    let kernel = KernelAddress::new(&address)?;
    // SAFETY: the pointer and length are those of an address that lives through the call.
    match check(unsafe { libc::connect(probe.0, kernel.pointer(), kernel.length()) }) {
        Err(error) if error.raw_os_error() == Some(libc::ECONNREFUSED) => fs::remove_file(path),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepting_ends_at_limits_and_continues_after_a_connection_that_died_in_the_queue() {
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM] {
            assert!(ends_accept(Errno(errno)), "{errno}");
        }
        for errno in [libc::EBADF, libc::EINVAL, libc::ENOTSOCK, libc::ECANCELED] {
            assert!(ends_accept(Errno(errno)), "{errno}");
        }
        for errno in [
            libc::ECONNABORTED,
            libc::EPROTO,
            libc::EPERM,
            libc::ENETDOWN,
        ] {
            assert!(!ends_accept(Errno(errno)), "{errno}");
        }
    }
}
