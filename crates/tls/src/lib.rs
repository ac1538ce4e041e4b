//! TLS 1.2 and 1.3 (RFC 5246, RFC 8446) as a layer of a connection.
//!
//! rustls does the work. Its interface without buffers suits a layer: received bytes are decrypted
//! where they are, and what must be sent is written where it leaves from, so that an idle
//! connection holds no buffer.
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
mod layer;
mod pem;
mod server;
mod tickets;
mod trust;

pub mod development;

pub use client::{ClientSettings, ClientTls};
pub use error::TlsError;
pub use facts::Facts;
pub use handle::TlsHandle;
pub use layer::TlsLayer;
pub use pem::Identity;
pub use server::{Clients, ServerSettings, ServerTls, Setting};
