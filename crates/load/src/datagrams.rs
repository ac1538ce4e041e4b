//! Connections of datagrams: a socket for each, whose messages are datagrams.
//!
//! There is nothing to open and nothing to close: a socket that is bound is open. Its echoes are
//! compared message by message, as those of WebSocket are. What does not come back within the
//! reply timeout is lost. Its latency is the time that it waited, and the next message is sent. So
//! a lost datagram does not end the connection. Only an ICMP message that says that nobody listens
//! ends a connection, as a reset does elsewhere.

use std::cmp::Reverse;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use vespiary_port::{Address, Arrivals, DatagramOptions, Departures};

use crate::clock::{Nanoseconds, nanoseconds, seconds};
use crate::connection::{Connection, Stage};
use crate::framing::Framing;
use crate::ledger::Ledger;
use crate::plan::Reply;
use crate::record::Fault;
use crate::shape::Shape;
use crate::shared::Shared;
use crate::verify::Expectation;

/// Bytes of a datagram, at most: 65,535 less the heads of IPv4 and UDP.
pub const DATAGRAM_BYTES_MAX: usize = 65_507;
/// With fewer bytes than this a datagram behind a lost one would look like an altered one.
pub const DATAGRAM_BYTES_MIN: usize = 8;
/// The kernel's buffer for echoes, as far as `net.core.rmem_max` allows it.
const RECEIVE_BUFFER_BYTES: u32 = 4 << 20;
/// Before a full send buffer is tried again.
const RETRY: Nanoseconds = 1_000_000;

/// What a connection of datagrams has besides the others.
#[derive(Default)]
pub struct Waiting {
    /// What the kernel had no room for.
    departures: Departures,
    /// What the kernel has dropped when this client did not receive it in time.
    dropped: u32,
}

impl fmt::Debug for Waiting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} datagrams wait", self.departures.len())
    }
}

/// What all connections of datagrams use in turn.
#[derive(Default)]
pub struct Batches {
    arrivals: Arrivals,
    departures: Departures,
}

fn any_address_for(target: &Address) -> Address {
    let ip = match target {
        Address::Inet(SocketAddr::V6(_)) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    Address::Inet((ip, 0).into())
}

impl Connection {
    /// Whether its messages are datagrams.
    pub fn has_datagrams(shared: &Shared) -> bool {
        shared.plan.framing == Framing::Datagram
    }

    /// Bind its socket, which is then open.
    pub fn bind(&mut self, shared: &mut Shared) {
        let target = &shared.target(self.number).address;
        let source = shared.source(self.number);
        let source = source.unwrap_or_else(|| any_address_for(target));
        let options = DatagramOptions {
            receive_buffer_bytes: Some(RECEIVE_BUFFER_BYTES),
            ..DatagramOptions::default()
        };
        let bound = shared.port.bind(&source, &options).and_then(|socket| {
            self.socket = socket;
            shared.port.watch_datagrams(socket, self.token())
        });
        match bound {
            Ok(()) => {
                self.waiting = Some(Box::default());
                self.opened(shared);
            }
            Err(error) => {
                self.refuse(shared, || format!("no socket: {error}"));
                self.close_when_idle(shared);
            }
        }
    }

    /// Whether datagrams wait for the kernel to have room.
    pub fn has_waiting(&self) -> bool {
        let waiting = self.waiting.as_ref();
        waiting.is_some_and(|it| !it.departures.is_empty())
    }

    /// Send what there is room for, and what has waited.
    pub fn flush_datagrams(&mut self, shared: &mut Shared) {
        if self.stage != Stage::Open || self.is_paused {
            return;
        }
        if let Some(waiting) = &mut self.waiting
            && !waiting.departures.is_empty()
        {
            std::mem::swap(&mut waiting.departures, &mut shared.batches.departures);
        }
        let count = self.room(shared);
        let target = shared.target(self.number).address.clone();
        for _ in 0..count {
            let payload = shared.shape.payload(self.cursor);
            let departures = &mut shared.batches.departures;
            departures.push(payload, target.clone(), None);
            self.cursor.advance();
        }
        if count > 0 {
            self.note_sent(shared, count as u32);
        }
        if shared.batches.departures.is_empty() {
            return;
        }
        let departures = &mut shared.batches.departures;
        let departed = shared.port.send_datagrams(self.socket, departures);
        shared.record.counts.bytes_sent += departed.bytes;
        for errno in departed.refused {
            let error = std::io::Error::from_raw_os_error(errno.0);
            self.note(shared, Fault::Lost, format!("it was not sent: {error}"));
        }
        if shared.plan.reply == Reply::None {
            self.progress = shared.clock.now();
        }
        let is_left = !shared.batches.departures.is_empty();
        if let Some(waiting) = &mut self.waiting
            && is_left
        {
            std::mem::swap(&mut waiting.departures, &mut shared.batches.departures);
        }
        // Without echoes, nothing but time makes room.
        if is_left || self.room(shared) > 0 {
            self.is_paused = true;
            let delay = if is_left { RETRY } else { 0 };
            let again = shared.clock.now() + delay;
            shared.timers.push(Reverse((again, self.number)));
        }
        self.check_finished(shared);
    }

    /// Take the datagrams that have come.
    pub fn receive_datagrams(&mut self, shared: &mut Shared) {
        let mut arrivals = std::mem::take(&mut shared.batches.arrivals);
        let port = &mut shared.port;
        let received = port.receive_datagrams(self.socket, &mut arrivals, DATAGRAM_BYTES_MAX + 1);
        let target = shared.target(self.number).address.clone();
        for (arrival, bytes) in arrivals.iter() {
            // Anybody can send to a socket for datagrams.
            if self.stage == Stage::Open && arrival.peer == target {
                shared.record.counts.bytes_received += bytes.len() as u64;
                self.take_datagram(shared, bytes);
            }
        }
        self.note_dropped(shared, arrivals.dropped_by_kernel());
        let error = arrivals.errors().first().copied().or(received.err());
        shared.batches.arrivals = arrivals;
        if let (Some(errno), Stage::Open) = (error, self.stage) {
            let error = std::io::Error::from_raw_os_error(errno.0);
            self.lose(shared, Fault::Reset, || format!("ICMP: {error}"));
        }
    }

    /// Say so if this client itself was too slow, which no count of the server's may hide.
    fn note_dropped(&mut self, shared: &mut Shared, dropped: Option<u32>) {
        let Some((waiting, count)) = self.waiting.as_mut().zip(dropped) else {
            return;
        };
        let new = count.wrapping_sub(std::mem::replace(&mut waiting.dropped, count));
        if new > 0 {
            let text = format!("this client received too slowly, and its kernel dropped {new}");
            self.note(shared, Fault::Lost, text);
        }
    }

    fn take_datagram(&mut self, shared: &mut Shared, bytes: &[u8]) {
        if shared.plan.reply == Reply::None {
            shared.record.counts.received += 1;
            return;
        }
        let is_outstanding = self.expectation.messages() != self.sent;
        if is_outstanding && self.expectation.whole(&shared.shape, bytes) {
            return self.account(shared, 1, false);
        }
        let sent = self.sent;
        let (expectation, mut ledger, shape) = self.books(shared);
        expectation.piece(shape, bytes, sent);
        expectation.end(shape, sent, true, &mut ledger);
        let has_entries = ledger.has_entries;
        self.account(shared, 0, has_entries);
    }

    /// Datagrams without an echo for too long are lost, and make room for others.
    pub fn expire_datagrams(&mut self, shared: &mut Shared, now: Nanoseconds) {
        let timeout = nanoseconds(shared.plan.reply_timeout);
        while self
            .stamps
            .oldest()
            .is_some_and(|left| now.saturating_sub(left) > timeout)
        {
            let (expectation, mut ledger, _) = self.books(shared);
            expectation.skip(&mut ledger);
        }
        let (record, connection) = (&mut shared.record, self.number);
        let mut is_changed = false;
        self.expectation.give_up(
            |missing| now.saturating_sub(missing.left) > timeout,
            |missing| {
                is_changed = true;
                let waited = seconds(now.saturating_sub(missing.left));
                record.lost_after(connection, missing, now, || {
                    format!("no echo for {waited:.1} s")
                });
            },
        );
        if is_changed {
            self.check_finished(shared);
            self.mark_dirty(shared);
        }
    }

    /// The run is over: a socket has no end to send or to wait for.
    pub fn end_datagrams(&mut self, shared: &mut Shared) {
        if self.outstanding() > 0 {
            return self.abandon(shared);
        }
        self.leave(shared, false);
        self.close_when_idle(shared);
    }

    fn books<'a>(
        &'a mut self,
        shared: &'a mut Shared,
    ) -> (&'a mut Expectation, Ledger<'a>, &'a Shape) {
        let ledger = Ledger {
            record: &mut shared.record,
            stamps: &mut self.stamps,
            clock: &shared.clock,
            connection: self.number,
            has_entries: false,
        };
        (&mut self.expectation, ledger, &shared.shape)
    }
}
