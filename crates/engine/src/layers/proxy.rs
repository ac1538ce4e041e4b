//! The header of the PROXY protocol in front of a connection that a proxy opened for somebody else.
//!
//! It comes once, before everything else, TLS included. The layer learns whose connection it is,
//! and is removed: what follows costs nothing.

use super::{Flow, Layer, Progress, Received};
use crate::close::{Cause, CloseReason};
use crate::memory;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use vespiary_port::Address;
use vespiary_wire::proxy::{self, Source};

/// The layer that awaits a header.
pub(crate) struct ProxyHeader;

impl Layer for ProxyHeader {
    fn receive(&mut self, input: &mut [u8], _: &mut Flow<'_>) -> Result<Received, CloseReason> {
        let parsed = proxy::parse(input).map_err(|error| {
            let text =
                format!("{error}; proxy_protocol_from expects a valid header from this address");
            CloseReason::new(Cause::ProtocolError, text)
        })?;
        let (used, progress) = match parsed {
            None => (0, Progress::MoreNeeded),
            Some(header) => (header.bytes, Progress::Finished(address(header.source))),
        };
        Ok(Received {
            used,
            progress,
            work: 0,
        })
    }

    fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), CloseReason> {
        memory::extend(wire, plain)
    }

    fn is_ready(&self) -> bool {
        false
    }

    fn memory_bytes(&self) -> usize {
        size_of::<Self>()
    }
}

fn address(source: Source) -> Option<Address> {
    match source {
        Source::Unnamed => None,
        Source::Inet(address) => Some(Address::Inet(address)),
        Source::Unix(name) => Some(match name.split_first() {
            Some((0, name)) => Address::Abstract(name.to_vec()),
            _ => Address::Unix(PathBuf::from(OsStr::from_bytes(&name))),
        }),
    }
}
