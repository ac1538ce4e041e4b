//! What the engine's tests are made of: an engine on any driver, a host that follows a script, and
//! peers that talk to it over the kernel's sockets or in the simulation.

#![allow(dead_code, unused_imports)] // Each test file uses its part.

#[macro_use]
pub mod bench;
pub mod host;
pub mod http;
pub mod options;
pub mod packed;
pub mod peer;
pub mod script;
pub mod told;
pub mod watch;
pub mod websocket;

pub use bench::{Bench, Driver, Place};
pub use host::{Conn, Script, TestHost, Told};
pub use options::defaults;
pub use peer::{Ending, Peer};

/// Bytes whose place in the stream can be known from their values.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|place| (place ^ (place >> 8) ^ (place >> 16)) as u8)
        .collect()
}
