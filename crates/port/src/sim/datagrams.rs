//! Datagrams in the simulation: they may be lost, doubled, late, and so out of order.
//!
//! A socket's buffer takes `window_bytes` of [`super::Faults`]; what comes on top is dropped and
//! counted, as the kernel does it. A datagram for an address at which nobody is comes back to its
//! sender as an error, as an ICMP message does.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use super::progress::covers;
use super::state::{MICROSECOND, Role, State};
use super::{Sim, World, refused};
use crate::datagrams::{BATCHES_A_FLUSH, DATAGRAMS_A_BATCH};
use crate::{
    Address, Arrival, Arrivals, DatagramOptions, Departed, Departures, Descriptor, Errno, Interest,
    Token,
};

/// What an IP datagram's length field leaves for the data of UDP over IPv4.
const UDP_BYTES_MAX: usize = 65_507;
/// The time to live of a datagram that has not left the machine.
const TTL: u8 = 64;

const READABLE: Interest = Interest {
    read: true,
    write: false,
};

/// A datagram on its way, or waiting to be received.
#[derive(Debug)]
pub(super) struct Packet {
    from: Address,
    to: Address,
    bytes: Vec<u8>,
}

/// A socket's part.
#[derive(Debug)]
pub(super) struct Mailbox {
    pub(super) address: Address,
    waiting: VecDeque<Packet>,
    waiting_bytes: usize,
    errors: VecDeque<Errno>,
    dropped: u32,
    options: DatagramOptions,
    pub(super) watched: Option<Token>,
}

impl Mailbox {
    /// Whether the socket is readable.
    fn is_ready(&self) -> bool {
        !self.waiting.is_empty() || !self.errors.is_empty()
    }
}

/// All datagrams in flight, and the tests' own addresses.
#[derive(Default)]
pub(super) struct Post {
    /// By the time at which each arrives, and then by chance.
    under_way: BTreeMap<(u64, u64), Packet>,
    places: BTreeMap<String, Vec<(Address, Vec<u8>)>>,
}

impl Post {
    /// When the next datagram arrives.
    pub(super) fn next_event(&self) -> Option<u64> {
        self.under_way.first_key_value().map(|((time, _), _)| *time)
    }
}

impl State {
    pub(super) fn mailbox(&mut self, socket: Descriptor) -> &mut Mailbox {
        match &mut self.socket(socket).role {
            Role::Datagrams(mailbox) => mailbox,
            other => panic!("descriptor {socket} is not for datagrams: {other:?}"),
        }
    }

    /// The sockets that are watched and readable.
    pub(super) fn readable_datagrams(
        &self,
    ) -> impl Iterator<Item = (Descriptor, Token, Interest)> + '_ {
        self.sockets
            .iter()
            .filter_map(|(descriptor, socket)| match &socket.role {
                Role::Datagrams(mailbox) if mailbox.is_ready() => {
                    Some((*descriptor, mailbox.watched?, READABLE))
                }
                _ => None,
            })
    }

    /// Put a datagram on its way, once or twice, or lose it.
    fn post_packet(&mut self, from: &Address, to: &Address, bytes: &[u8]) {
        if self.random.chance(self.faults.datagram_loss_permille) {
            return;
        }
        let is_doubled = self.random.chance(self.faults.datagram_double_permille);
        for _ in 0..=u8::from(is_doubled) {
            let mut time = self.now;
            let mut order = self.random.draw() >> 1;
            if self.random.chance(self.faults.delay_permille) {
                let most = u64::from(self.faults.delay_microseconds_max) * MICROSECOND;
                time += self.random.below(most.max(1));
            } else {
                // Those that are not late keep their order.
                order = self.post.under_way.len() as u64;
            }
            while self.post.under_way.contains_key(&(time, order)) {
                order += 1;
            }
            let packet = Packet {
                from: from.clone(),
                to: to.clone(),
                bytes: bytes.to_vec(),
            };
            self.post.under_way.insert((time, order), packet);
        }
    }

    /// Deliver the datagrams that have arrived by now.
    pub(super) fn progress_datagrams(&mut self) {
        while let Some(entry) = self.post.under_way.first_entry()
            && entry.key().0 <= self.now
        {
            let packet = entry.remove();
            self.deliver(packet);
        }
    }

    fn deliver(&mut self, packet: Packet) {
        let window = self.faults.window_bytes;
        if let Some(mailbox) = self.mailbox_at(|it| *it == packet.to || covers(it, &packet.to)) {
            let full = mailbox.waiting_bytes + packet.bytes.len() > window;
            if full && !mailbox.waiting.is_empty() {
                mailbox.dropped = mailbox.dropped.wrapping_add(1);
            } else {
                mailbox.waiting_bytes += packet.bytes.len();
                mailbox.waiting.push_back(packet);
            }
        } else if let Some(place) = self.post.places.get_mut(&packet.to.to_string()) {
            place.push((packet.from, packet.bytes));
        } else if let Some(sender) = self.mailbox_at(|it| *it == packet.from) {
            sender.errors.push_back(Errno(libc::ECONNREFUSED));
        }
    }

    fn mailbox_at(&mut self, is_its: impl Fn(&Address) -> bool) -> Option<&mut Mailbox> {
        let mut sockets = self.sockets.values_mut();
        sockets.find_map(|socket| match &mut socket.role {
            Role::Datagrams(mailbox) if is_its(&mailbox.address) => Some(mailbox),
            _ => None,
        })
    }

    fn bind(&mut self, address: &Address, options: &DatagramOptions) -> Result<Descriptor, Errno> {
        let mut address = address.clone();
        if let Address::Inet(inet) = &mut address
            && inet.port() == 0
        {
            self.next_port = self.next_port.checked_add(1).unwrap_or(1024);
            inet.set_port(self.next_port);
        }
        if !options.reuse_port && self.mailbox_at(|it| *it == address).is_some() {
            return Err(Errno(libc::EADDRINUSE));
        }
        Ok(self.open(Role::Datagrams(Mailbox {
            address,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            errors: VecDeque::new(),
            dropped: 0,
            options: options.clone(),
            watched: None,
        })))
    }
}

fn ip_of(address: &Address) -> Option<IpAddr> {
    match address {
        Address::Inet(address) => Some(address.ip()),
        _ => None,
    }
}

impl Sim {
    pub(super) fn bind_datagrams(
        &self,
        address: &Address,
        options: &DatagramOptions,
    ) -> std::io::Result<Descriptor> {
        let bound = self.state.borrow_mut().bind(address, options);
        bound.map_err(|errno| refused(errno.0))
    }

    pub(super) fn take_datagrams(&self, socket: Descriptor, arrivals: &mut Arrivals, limit: usize) {
        let mut state = self.state.borrow_mut();
        arrivals.clear();
        arrivals.reserve(limit);
        let mailbox = state.mailbox(socket);
        mailbox
            .errors
            .drain(..)
            .for_each(|it| arrivals.push_error(it));
        while arrivals.len() < DATAGRAMS_A_BATCH
            && let Some(packet) = mailbox.waiting.pop_front()
        {
            mailbox.waiting_bytes -= packet.bytes.len();
            let told = &mailbox.options;
            let local = ip_of(&packet.to).filter(|_| told.local_address);
            let arrival = Arrival {
                peer: packet.from,
                local,
                answer_from: local.filter(|it| !it.is_multicast()),
                ttl: told.packet_info.then_some(TTL),
                ecn: told.packet_info.then_some(0),
                is_truncated: false,
                length: 0,
                start: 0,
            };
            arrivals.push(&packet.bytes, limit, arrival);
            arrivals.set_dropped(mailbox.dropped);
        }
    }

    pub(super) fn post_datagrams(
        &self,
        socket: Descriptor,
        departures: &mut Departures,
    ) -> Departed {
        let mut state = self.state.borrow_mut();
        let mut departed = Departed::default();
        let bound = state.mailbox(socket).address.clone();
        let blocked_permille = state.faults.short_write_permille;
        for _ in 0..DATAGRAMS_A_BATCH * BATCHES_A_FLUSH {
            let Some((one, bytes)) = departures.first() else {
                break;
            };
            if state.random.chance(blocked_permille) {
                departed.is_blocked = true;
                break;
            }
            if bytes.len() > UDP_BYTES_MAX {
                departed.refused.push(Errno(libc::EMSGSIZE));
            } else {
                let from = match (&bound, one.source) {
                    (Address::Inet(bound), Some(source)) => {
                        Address::Inet((source, bound.port()).into())
                    }
                    _ => bound.clone(),
                };
                state.post_packet(&from, &one.peer, bytes);
                departed.datagrams += 1;
                departed.bytes += bytes.len() as u64;
            }
            departures.drop_first();
        }
        departed
    }
}

impl World {
    /// Send a datagram to the port from an address of the test's choice.
    pub fn send_datagram(&self, from: &Address, to: &Address, bytes: &[u8]) {
        self.state.borrow_mut().post_packet(from, to, bytes);
    }

    /// Be at this address for datagrams: take them with [`World::datagrams`].
    pub fn await_datagrams(&self, address: &Address) {
        let mut state = self.state.borrow_mut();
        state.post.places.entry(address.to_string()).or_default();
    }

    /// The datagrams that came to an address of the test's since the last call, each with its
    /// sender.
    pub fn datagrams(&self, address: &Address) -> Vec<(Address, Vec<u8>)> {
        let mut state = self.state.borrow_mut();
        let place = state.post.places.get_mut(&address.to_string());
        place.map(std::mem::take).unwrap_or_default()
    }
}
