//! Filters: the host may change, swallow or add bytes beneath the framing, in both directions.
//! What `deflate-stream` does to bytes that leave comes before them ([`crate::deflate_stream`]).
//!
//! What arrives is filtered once, as it arrives; what leaves is filtered when it departs, gathered
//! into one piece, so that a filter sees each batch once. Limits on messages count filtered bytes,
//! statistics of traffic the bytes on the wire. A filter that fails resets its connection: behind
//! it nothing is known of the stream any more.

use crate::close::{Cause, CloseReason};
use crate::connection::Connection;
use crate::host::Host;
use std::rc::Rc;
use vespiary_port::{Chunk, Outgoing};

/// What the framing shall see in place of what arrived; nothing when the connection ends instead.
pub(crate) fn received<H: Host>(connection: &Rc<Connection<H>>, bytes: &[u8]) -> Option<Vec<u8>> {
    if connection.abort.get() {
        return None;
    }
    let filtered = connection.engine.host.filter_received(connection, bytes);
    if filtered.is_none() {
        fail(connection);
    }
    filtered
}

/// What shall leave in place of what was queued; nothing when all of that was swallowed, or the
/// filter failed.
pub(crate) fn departing<H: Host>(connection: &Rc<Connection<H>>) -> Option<Outgoing> {
    loop {
        let outgoing = connection.outbound.borrow_mut().depart()?;
        match filtered(connection, outgoing) {
            Some(filtered) if filtered.is_empty() => {}
            Some(filtered) => return Some(Outgoing::one(filtered)),
            None => {
                fail(connection);
                return None;
            }
        }
    }
}

fn filtered<H: Host>(connection: &Rc<Connection<H>>, outgoing: Outgoing) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(outgoing.remaining());
    for chunk in outgoing.into_chunks() {
        bytes.extend_from_slice(chunk.as_slice());
        if let Chunk::Owned(buffer) = chunk {
            connection.engine.pool.borrow_mut().put(buffer);
        }
    }
    let before = bytes.len();
    if let Some(writer) = connection.inbound.borrow_mut().stream_writer() {
        bytes = writer.deflate(&bytes);
    }
    let filtered = if connection.is_filtered {
        connection.engine.host.filter_sent(connection, &bytes)
    } else {
        Some(bytes)
    };
    let mut outbound = connection.outbound.borrow_mut();
    outbound.landed(before);
    outbound.departs(filtered.as_ref().map_or(0, Vec::len));
    filtered
}

fn fail<H: Host>(connection: &Rc<Connection<H>>) {
    let text = "a filter failed";
    connection.end_with(CloseReason::new(Cause::FilterFailed, text));
    connection.abort_now();
}
