//! What moves a connection's bytes: today a socket of the port.

mod socket;

pub(crate) use socket::Socket;
