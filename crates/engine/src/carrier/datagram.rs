//! A socket for datagrams: it receives in batches, and sends at the end of each round what was
//! gathered in it.
//!
//! Nothing that the network reports stops it. An error of an earlier datagram is counted. A
//! datagram that the kernel refuses is dropped and counted. Where the kernel has no room, what
//! waits is tried again a little later, up to `write_bytes_max` of it; what comes on top is dropped
//! and counted. On a Unix socket it is mostly the peer that has no room: see
//! [`super::full_peers`].
//!
//! **Fairness**: one batch per turn, however much waits; the port reports in the next turn that
//! there is more.

pub use super::dropped::Dropped;
use super::full_peers::FullPeers;
use super::peer::{PeerKey, SharedSocket};
use crate::endpoint::{Endpoint, add};
use crate::engine::{Due, Engine};
use crate::host::Host;
use crate::limit::Limit;
use crate::options::Framing;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use vespiary_port::timer::Key;
use vespiary_port::{Address, Arrivals, Departed, Departures, Descriptor, Errno, Token};

/// How long sending pauses when the kernel has no room.
const ROOM_MILLISECONDS: u64 = 2;
/// How often the oldest datagram is tried before it is dropped.
const TRIES_MAX: u32 = 50;
/// How many peers that do not read lose their datagrams in one flush.
const BLOCKED_A_FLUSH: u32 = 16;
/// How long receiving pauses when the kernel cannot receive at all: for want of memory.
const PAUSE_MILLISECONDS: u64 = 100;
/// No kernel has datagrams as long as this.
const DATAGRAM_BYTES_MAX: usize = 1 << 20;

/// Why a datagram was not taken for sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatagramError {
    /// The socket is closed.
    Closed,
    /// The peer is of another family than the socket.
    WrongFamily,
}

/// A socket for datagrams of an engine.
pub struct DatagramSocket<H: Host> {
    engine: Rc<Engine<H>>,
    /// The endpoint that it serves.
    pub endpoint: Rc<Endpoint<H>>,
    socket: Descriptor,
    token: Token,
    address: Address,
    wants_more: Cell<bool>,
    is_watched: Cell<bool>,
    is_closed: Cell<bool>,
    is_departing: Cell<bool>,
    departures: RefCell<Departures>,
    tries: Cell<u32>,
    full_peers: RefCell<FullPeers>,
    /// The timer that ends a pause.
    pause: Cell<Option<Key>>,
    /// What the kernel had dropped when it reported last.
    kernel_drops: Cell<u32>,
    /// The connections of its peers, where these have connections.
    pub(crate) peers: RefCell<HashMap<PeerKey, Token>>,
    ending: Cell<Ending>,
}

/// Whether a socket continues.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    No,
    /// It takes no new peers.
    Stopping,
    /// It is closed when the last of its peers is gone.
    Closing,
}

impl<H: Host> DatagramSocket<H> {
    pub(crate) fn start(
        engine: &Rc<Engine<H>>,
        socket: Descriptor,
        endpoint: Rc<Endpoint<H>>,
    ) -> io::Result<Rc<Self>> {
        let address = engine.port.borrow().local_address(socket);
        let address = match address {
            Ok(address) => address,
            Err(error) => {
                engine.port.borrow_mut().close(socket, false);
                return Err(error);
            }
        };
        let mut made = None;
        engine.datagram_sockets.borrow_mut().insert_with(|token| {
            let socket = Rc::new(Self {
                engine: engine.clone(),
                endpoint,
                socket,
                token,
                address,
                wants_more: Cell::new(false),
                is_watched: Cell::new(false),
                is_closed: Cell::new(false),
                is_departing: Cell::new(false),
                departures: RefCell::default(),
                tries: Cell::new(0),
                full_peers: RefCell::default(),
                pause: Cell::new(None),
                kernel_drops: Cell::new(0),
                peers: RefCell::default(),
                ending: Cell::new(Ending::No),
            });
            made = Some(socket.clone());
            socket
        });
        Ok(made.expect("the table calls the closure"))
    }

    /// Its engine.
    pub fn engine(&self) -> &Rc<Engine<H>> {
        &self.engine
    }

    /// The address that it is bound to.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What names it among the sockets of its engine.
    pub fn token(&self) -> Token {
        self.token
    }

    /// Whether it has been closed.
    pub fn is_closed(&self) -> bool {
        self.is_closed.get()
    }

    /// The bytes that wait to be sent.
    pub fn waiting_bytes(&self) -> usize {
        self.departures.borrow().waiting_bytes()
    }

    /// Receive from now on.
    pub fn resume(&self) {
        self.wants_more.set(true);
        self.watch();
    }

    /// Receive nothing until [`DatagramSocket::resume`]: what comes waits in the kernel's buffer.
    pub fn suspend(&self) {
        self.wants_more.set(false);
        self.unwatch();
    }

    /// Take no new peers any more, and nothing at all once the connections of its peers are gone;
    /// at once where there are none. What is sent still leaves.
    pub fn stop(&self) {
        self.ending.set(self.ending.get().max(Ending::Stopping));
        if self.peers.borrow().is_empty() {
            self.suspend();
        }
    }

    /// Whether its peers have connections, so that no datagram goes to [`Host::datagrams`].
    pub fn has_connections(&self) -> bool {
        self.endpoint.options.borrow().framing == Framing::Datagram
    }

    fn watch(&self) {
        if self.is_closed() || !self.wants_more.get() || self.is_watched.replace(true) {
            return;
        }
        let mut port = self.engine.port.borrow_mut();
        if port.watch_datagrams(self.socket, self.token).is_err() {
            drop(port);
            self.is_watched.set(false);
            return self.pause(PAUSE_MILLISECONDS);
        }
        drop(port);
        self.engine.host.turn_wanted();
    }

    fn unwatch(&self) {
        if self.is_watched.replace(false) {
            let mut port = self.engine.port.borrow_mut();
            port.unwatch_datagrams(self.socket, self.token);
        }
    }

    /// Take a batch, and hand it to the host.
    pub(crate) fn receive(self: &Rc<Self>) {
        if !self.is_watched.get() {
            return;
        }
        let mut arrivals = self.engine.arrivals.take().unwrap_or_default();
        let limit = self.datagram_bytes_max();
        let mut port = self.engine.port.borrow_mut();
        let result = port.receive_datagrams(self.socket, &mut arrivals, limit);
        drop(port);
        self.count(&arrivals);
        let batch = arrivals.iter().filter(|(arrival, bytes)| {
            let is_taken = !self.is_closed() && !arrival.is_truncated;
            if is_taken {
                add(&self.endpoint.counters.datagrams_in, 1);
                add(&self.endpoint.counters.bytes_in, bytes.len() as u64);
            }
            is_taken
        });
        if self.has_connections() {
            self.hand_to_peers(batch);
        } else {
            self.engine.host.datagrams(self, batch);
        }
        if result.is_err() && !self.is_closed() {
            self.unwatch();
            self.pause(PAUSE_MILLISECONDS);
        }
        if self.engine.datagram_sockets.borrow().len() > 0 {
            self.engine.arrivals.replace(Some(arrivals));
        }
    }

    fn datagram_bytes_max(&self) -> usize {
        let limit = self.endpoint.options.borrow().limits.datagram_bytes_max;
        limit.clamp(1, DATAGRAM_BYTES_MAX)
    }

    /// Count what is wrong in a batch.
    fn count(&self, arrivals: &Arrivals) {
        for errno in arrivals.errors() {
            let mut errors = self.endpoint.counters.datagram_errors.borrow_mut();
            *errors.entry(errno.0).or_default() += 1;
        }
        if let Some(drops) = arrivals.dropped_by_kernel() {
            let new = drops.wrapping_sub(self.kernel_drops.replace(drops));
            self.dropped(Dropped::ReceiveBuffer, new.into());
        }
        let too_long = arrivals.iter().filter(|(it, _)| it.is_truncated).count();
        if too_long > 0 {
            self.dropped(Dropped::TooLong, too_long as u64);
            self.engine
                .report_soon(&self.endpoint, Limit::DatagramBytes);
        }
    }

    pub(crate) fn dropped(&self, cause: Dropped, count: u64) {
        if count > 0 {
            let mut dropped = self.endpoint.counters.datagrams_dropped.borrow_mut();
            *dropped.entry(cause).or_default() += count;
        }
    }

    /// Count a datagram that the host does not handle, because it handles too many already.
    pub fn refuse(&self) {
        self.dropped(Dropped::Busy, 1);
        self.engine
            .report_soon(&self.endpoint, Limit::DatagramsPending);
    }

    /// Count a datagram that the host does not handle, for a reason of its own.
    pub fn drop_for_host(&self, reason: &'static str) {
        self.dropped(Dropped::ByHost(reason), 1);
    }

    /// Whether datagrams are handed over, of new peers too.
    pub fn is_receiving(&self) -> bool {
        self.wants_more.get() && !self.is_closed() && !self.is_stopping()
    }

    /// Whether new peers are refused, because it is to be closed.
    pub(crate) fn is_stopping(&self) -> bool {
        self.ending.get() != Ending::No
    }

    /// Send a datagram at the end of the round. One for which the queue has no room, or whose peer
    /// has no address, is dropped and counted: `false`.
    ///
    /// `source` is the address that the peer sees, where the socket is bound to a wildcard
    /// address.
    pub fn send(
        self: &Rc<Self>,
        bytes: &[u8],
        peer: &Address,
        source: Option<IpAddr>,
    ) -> Result<bool, DatagramError> {
        if self.is_closed() {
            return Err(DatagramError::Closed);
        }
        if matches!(peer, Address::Unix(path) if path.as_os_str().is_empty()) {
            self.dropped(Dropped::NoAddress, 1);
            return Ok(false);
        }
        if peer.family() != self.address.family() {
            return Err(DatagramError::WrongFamily);
        }
        let most = self.endpoint.options.borrow().limits.write_bytes_max;
        let mut departures = self.departures.borrow_mut();
        // An empty datagram takes room too: that of its address.
        let waiting = departures.waiting_bytes() + departures.len() * size_of::<Address>();
        if !departures.is_empty() && waiting.saturating_add(bytes.len()) > most {
            drop(departures);
            self.dropped(Dropped::QueueFull, 1);
            self.engine.report_soon(&self.endpoint, Limit::WriteBytes);
            return Ok(false);
        }
        departures.push(bytes, peer.clone(), source);
        drop(departures);
        self.depart();
        Ok(true)
    }

    /// Let what waits be sent at the round's end, unless it waits for room.
    fn depart(self: &Rc<Self>) {
        if self.tries.get() == 0 && !self.is_departing.replace(true) {
            self.engine.departing.borrow_mut().push(self.clone());
            self.engine.host.turn_wanted();
        }
    }

    /// Send what waits, as far as there is room.
    fn flush(self: &Rc<Self>) {
        self.is_departing.set(false);
        let mut departures = self.departures.borrow_mut();
        if departures.is_empty() || self.is_closed() {
            return;
        }
        let mut tries = self.tries.take();
        let mut is_blocked = true;
        for _ in 0..BLOCKED_A_FLUSH {
            let departed = self.send_waiting(&mut departures);
            if departed.datagrams > 0 {
                tries = 0;
            }
            is_blocked = departed.is_blocked;
            if !is_blocked || !self.drop_for_full_peer(&mut departures, tries >= TRIES_MAX) {
                break;
            }
        }
        if is_blocked && tries >= TRIES_MAX && !departures.is_empty() {
            departures.drop_first();
            self.dropped(Dropped::Refused(Errno::NO_ROOM), 1);
        }
        let is_left = !departures.is_empty();
        drop(departures);
        if is_blocked && is_left {
            self.tries
                .set(if tries >= TRIES_MAX { 1 } else { tries + 1 });
            self.pause(ROOM_MILLISECONDS);
        } else if is_left {
            self.depart();
        }
    }

    fn send_waiting(&self, departures: &mut Departures) -> Departed {
        let mut port = self.engine.port.borrow_mut();
        let mut departed = port.send_datagrams(self.socket, departures);
        drop(port);
        let counters = &self.endpoint.counters;
        add(&counters.datagrams_out, departed.datagrams);
        add(&counters.bytes_out, departed.bytes);
        for errno in departed.refused.drain(..) {
            self.dropped(Dropped::Refused(errno), 1);
        }
        departed
    }

    /// Drop what waits for the peer of the oldest datagram, where it is known not to read, or has
    /// had its time; whether it was dropped, so that others can be served.
    fn drop_for_full_peer(&self, departures: &mut Departures, had_time: bool) -> bool {
        let Some(peer) = departures.first_peer().filter(|it| !it.is_inet()) else {
            return false;
        };
        let now = self.engine.port.borrow().now();
        let mut full = self.full_peers.borrow_mut();
        if had_time {
            full.add(peer.clone(), now);
        } else if !full.has(peer, now) {
            return false;
        }
        let peer = peer.clone();
        let count = departures.drop_all_for(&peer);
        self.dropped(Dropped::Refused(Errno::NO_ROOM), count as u64);
        !departures.is_empty()
    }

    fn pause(&self, milliseconds: u64) {
        let due = self.engine.port.borrow().now() + milliseconds * 1_000_000;
        let mut wheel = self.engine.wheel.borrow_mut();
        let key = wheel.insert(due, Due::token(self.token));
        if let Some(before) = self.pause.replace(Some(key)) {
            wheel.cancel(before);
        }
    }

    /// A pause is over.
    pub(crate) fn try_again(self: &Rc<Self>) {
        self.pause.set(None);
        self.watch();
        self.flush();
    }

    /// Close it: what waits is tried once more, and what has no room then is dropped and counted.
    /// While peers have connections on it, it only takes no new ones, and closes with the last.
    pub fn close(self: &Rc<Self>) {
        if self.peers.borrow().is_empty() {
            self.close_now();
        } else {
            self.ending.set(Ending::Closing);
        }
    }

    fn close_now(self: &Rc<Self>) {
        if self.is_closed() {
            return;
        }
        self.unwatch();
        self.flush();
        self.is_closed.set(true);
        let waiting = std::mem::take(&mut *self.departures.borrow_mut());
        self.dropped(Dropped::Closed, waiting.len() as u64);
        if let Some(key) = self.pause.take() {
            self.engine.wheel.borrow_mut().cancel(key);
        }
        let mut sockets = self.engine.datagram_sockets.borrow_mut();
        sockets.remove(self.token);
        if sockets.len() == 0 {
            self.engine.arrivals.take();
        }
        drop(sockets);
        self.engine.port.borrow_mut().close(self.socket, false);
    }
}

impl<H: Host> SharedSocket for DatagramSocket<H> {
    fn send_to_peer(self: Rc<Self>, bytes: &[u8], key: &PeerKey) -> bool {
        self.send(bytes, &key.peer, key.source) == Ok(true)
    }

    fn forget(self: Rc<Self>, key: &PeerKey, token: Token) {
        let mut peers = self.peers.borrow_mut();
        if peers.get(key) == Some(&token) {
            peers.remove(key);
        }
        if !peers.is_empty() {
            return;
        }
        // An idle socket keeps no room for many peers.
        *peers = HashMap::new();
        drop(peers);
        match self.ending.get() {
            Ending::No => {}
            Ending::Stopping => self.suspend(),
            Ending::Closing => self.close_now(),
        }
    }
}

impl<H: Host> Engine<H> {
    /// Send the datagrams that the round has gathered.
    #[inline]
    pub(crate) fn send_datagrams(&self) {
        if !self.departing.borrow().is_empty() {
            for socket in self.departing.take() {
                socket.flush();
            }
        }
    }

    pub(crate) fn close_datagram_sockets(&self) {
        let sockets: Vec<_> = self.datagram_sockets.borrow().iter().cloned().collect();
        for socket in sockets {
            socket.close_now();
        }
        self.departing.take();
    }
}
