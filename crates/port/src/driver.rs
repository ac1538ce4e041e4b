//! Choosing the driver: io_uring where it is available, else epoll; and what it may use.

use std::io;

use crate::Port;
use crate::epoll::Epoll;
use crate::uring::Uring;

/// A driver that the operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preference {
    /// io_uring, or nothing.
    Uring,
    /// epoll.
    Epoll,
}

impl std::str::FromStr for Preference {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "uring" => Ok(Self::Uring),
            "epoll" => Ok(Self::Epoll),
            _ => Err(format!("no driver is called {name:?}: say uring or epoll")),
        }
    }
}

/// What a kernel driver may use.
#[derive(Clone, Debug)]
pub struct Options {
    /// uring: receive buffers, shared by all connections. Default 256. Only as many as are needed
    /// are in use, the warmest first; when more arrives in one turn, receiving continues a turn
    /// later.
    pub buffers: u16,
    /// uring: bytes of one receive buffer. Default 131072: a message of 64 KiB and its header come
    /// in one piece. Memory is taken only where bytes were received.
    pub buffer_bytes: u32,
    /// epoll: receive buffers. Default 16: one is in use at a time unless leases are kept.
    pub epoll_buffers: u16,
    /// epoll: bytes of one receive buffer. Default 131072: one system call takes this much at most.
    pub epoll_buffer_bytes: u32,
    /// uring: places in the submission queue. Default 256; when it is full it is submitted early. A
    /// message to 9,500 connections leaves in batches of this size: with 1024, its first copy
    /// arrives after 630 microseconds and not 450, and it takes up to 15 % more processor time
    /// (benches/results/2026-11-30-broadcast.md).
    pub submission_entries: u16,
    /// uring: places in the completion queue. Default 16384: a completion for every one of ten
    /// thousand connections at once fits.
    pub completion_entries: u32,
    /// epoll: events gathered in one turn. Default 512.
    pub events_a_turn: u16,
    /// Microseconds to look for completions before sleeping. Default 0: not at all. 50 to 200
    /// lowers the latency of few connections and costs processor time.
    pub spin_microseconds: u32,
    /// Another loop waits for the port's turns, by its [`Port::descriptor`]. Default: no.
    pub is_watched: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            buffers: 256,
            buffer_bytes: 131_072,
            epoll_buffers: 16,
            epoll_buffer_bytes: 131_072,
            submission_entries: 256,
            completion_entries: 16_384,
            events_a_turn: 512,
            spin_microseconds: 0,
            is_watched: false,
        }
    }
}

/// Why io_uring is not available, for the operator.
fn refusal(error: &io::Error) -> String {
    let reason = match error.raw_os_error() {
        Some(libc::ENOSYS) => "this kernel has none, or a seccomp filter hides it",
        Some(libc::EPERM | libc::EACCES) => {
            "it is forbidden here, by sysctl kernel.io_uring_disabled or a seccomp profile"
        }
        Some(libc::EINVAL) => "this kernel is too old: Linux 6.1 is needed",
        Some(libc::ENOMEM) => "there is too little locked memory: raise RLIMIT_MEMLOCK",
        Some(libc::EMFILE | libc::ENFILE) => "no descriptor is free: raise RLIMIT_NOFILE",
        _ => "the kernel refused it",
    };
    format!("{reason} ({error})")
}

/// Open a port, and say in one sentence which driver it has and why.
///
/// Without a preference io_uring is tried first and epoll taken when it is refused, regardless of
/// the reason. A driver that was asked for and is not available is an error.
pub fn open(
    preference: Option<Preference>,
    options: &Options,
) -> io::Result<(Box<dyn Port>, String)> {
    if preference == Some(Preference::Epoll) {
        let reason = "Using epoll, as asked for.".to_owned();
        return Ok((Box::new(Epoll::new(options)?), reason));
    }
    match (Uring::new(options), preference) {
        (Ok(port), Some(_)) => Ok((Box::new(port), "Using io_uring, as asked for.".to_owned())),
        (Ok(port), None) => Ok((Box::new(port), "Using io_uring.".to_owned())),
        (Err(error), Some(_)) => {
            let text = format!(
                "io_uring was asked for and is not available: {}",
                refusal(&error)
            );
            Err(io::Error::new(error.kind(), text))
        }
        (Err(error), None) => {
            let sentence = format!(
                "Using epoll, because io_uring is not available: {}.",
                refusal(&error)
            );
            Ok((Box::new(Epoll::new(options)?), sentence))
        }
    }
}
