//! Why a datagram was dropped.

use crate::limit::Limit;
use std::fmt;
use vespiary_port::Errno;

/// Why a datagram was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dropped {
    /// It came, and was longer than `datagram_bytes_max`.
    TooLong,
    /// It came when the kernel's receive buffer was full.
    ReceiveBuffer,
    /// It came when `datagrams_pending_max` others were being handled.
    Busy,
    /// Its peer has no address: a Unix socket that is not bound to a name. So nothing can be sent
    /// to it, and there is no connection with it.
    NoAddress,
    /// The host does not handle it, for this reason of its own.
    ByHost(&'static str),
    /// It came from a new peer, and this limit allows no connection with one more.
    NotAdmitted(Limit),
    /// It came while its connection was not read.
    Paused,
    /// It was to be sent when `write_bytes_max` waited.
    QueueFull,
    /// It waited to be sent when the socket was closed, or came from a new peer during the stop.
    Closed,
    /// The kernel refused to send it.
    Refused(Errno),
}

impl fmt::Display for Dropped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => formatter.write_str(Limit::DatagramBytes.name()),
            Self::ReceiveBuffer => formatter.write_str("receive_buffer"),
            Self::Busy => formatter.write_str(Limit::DatagramsPending.name()),
            Self::ByHost(reason) => formatter.write_str(reason),
            Self::NoAddress => formatter.write_str("no_address"),
            Self::NotAdmitted(limit) => formatter.write_str(limit.name()),
            Self::Paused => formatter.write_str("paused"),
            Self::QueueFull => formatter.write_str(Limit::WriteBytes.name()),
            Self::Closed => formatter.write_str("closed"),
            Self::Refused(errno) => write!(formatter, "{}", errno.0),
        }
    }
}
