//! Pure protocols: bytes in, events out.
//!
//! Nothing here reads a socket, a clock or a source of randomness. A decoder is fed slices of what
//! arrived and gives back events that borrow from those slices; an encoder appends to a vector that
//! the caller owns. Everything that a peer can send is answered by a value that says what was wrong
//! and which section of which specification says so: never by a panic, and never by a guess.
//!
//! | module | bytes of |
//! |---|---|
//! | [`websocket`] | RFC 6455: frames, close payloads, the opening handshake of both sides |
//! | [`http`] | RFC 9112: heads of requests and responses |
//! | [`framing`] | lines and length prefixes on a raw stream |
//! | [`proxy`] | the PROXY protocol, versions 1 and 2
//! | [`mask`] | the exclusive-or of RFC 6455 section 5.3 |
//! | [`utf8`] | RFC 3629, validated as it arrives |
#![forbid(unsafe_code)]

pub mod framing;
pub mod http;
mod limit;
pub mod mask;
pub mod proxy;
pub mod utf8;
pub mod websocket;

pub use limit::Limit;
