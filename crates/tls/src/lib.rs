//! TLS 1.2 and 1.3 (RFC 5246, RFC 8446) as a layer of a connection.
//!
//! rustls makes the handshake. The records behind it are protected here, with its keys and the
//! ciphers of AWS-LC: received bytes are decrypted where they are, and what must be sent is
//! encrypted where it leaves from. An idle connection holds its keys and no buffer.
//!
//! * [`ServerSettings`], [`ClientSettings`]: what a person chooses: certificates, keys, authorities
//! * [`ServerTls`], [`ClientTls`]: the same, checked, shared by connections
//! * [`TlsLayer`]: one connection; [`TlsHandle`] answers what was negotiated
//! * [`development`]: certificates for tests and development, from an authority of one's own
#![forbid(unsafe_code)]

mod client;
mod error;
mod facts;
mod handle;
mod handshake;
mod hello;
mod layer;
mod pem;
mod records;
mod server;
mod tickets;
mod traffic;
mod trust;

pub mod development;

pub use client::{ClientSettings, ClientTls};
pub use error::TlsError;
pub use facts::Facts;
pub use handle::TlsHandle;
pub use layer::TlsLayer;
pub use pem::Identity;
pub use server::{Clients, ServerSettings, ServerTls, Setting};
