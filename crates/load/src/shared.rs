//! What all connections of a run share: the port, the plan, and where they write down what
//! happened.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls::ClientConfig;
use vespiary_port::{Address, Port};
use vespiary_wire::http;
use vespiary_wire::websocket::decoder::Limits;

use crate::clock::{Clock, Nanoseconds};
use crate::cutter::Cutter;
use crate::datagrams::Batches;
use crate::pace::Pace;
use crate::plan::{Plan, Reply};
use crate::record::Record;
use crate::schedule::Schedule;
use crate::shape::Shape;
use crate::target::Target;

/// Send buffers kept for use again.
const BUFFERS_MAX: usize = 1024;
/// Larger buffers are given back to the allocator.
const BUFFER_BYTES_KEPT_MAX: usize = 512 << 10;
/// Connections that may come from one source address without being asked to spread: above about
/// half of the port range, which by default has 28,232, connect(2) becomes a hundred times slower.
const CONNECTIONS_PER_SOURCE: u32 = 10_000;

/// See the module.
pub struct Shared {
    /// The port.
    pub port: Box<dyn Port>,
    /// The plan, checked.
    pub plan: Plan,
    /// What decides all that is random.
    pub seed: u64,
    /// What TLS connections share, where one of the targets speaks TLS.
    pub tls: Option<Arc<ClientConfig>>,
    /// What messages look like.
    pub shape: Shape,
    /// Messages in flight on a connection, at most.
    pub in_flight_max: u64,
    /// What a server may send at most.
    pub frame_limits: Limits,
    /// How large a response to the handshake may be.
    pub head_limits: http::Limits,
    /// The time.
    pub clock: Clock,
    /// What has happened.
    pub record: Record,
    /// Cuts the sent bytes into pieces, with `--fragment`.
    pub cutter: Option<Cutter>,
    /// Who releases messages, where there is a rate and sending has begun.
    pub pace: Option<Pace>,
    /// What the rate demands, from then on.
    pub schedule: Option<Schedule>,
    /// Messages may leave.
    pub is_sending: bool,
    /// No more messages are sent: the time is over, or the run was stopped.
    pub is_stopping: bool,
    /// Somebody said stop.
    pub is_interrupted: bool,
    /// Connections being opened.
    pub opening: u32,
    /// Open connections that still have messages to send or to get back.
    pub unfinished: u32,
    /// Connections whose socket is not closed yet.
    pub alive: u32,
    /// Connections to look at after the batch.
    pub dirty: Vec<u32>,
    /// Connections to look at later.
    pub timers: BinaryHeap<Reverse<(Nanoseconds, u32)>>,
    /// What is received and sent in the present batch, of datagrams.
    pub batches: Batches,
    request_heads: Vec<Vec<u8>>,
    sources: u32,
    buffers: Vec<Vec<u8>>,
}

impl Shared {
    /// For a plan that was checked.
    pub fn new(port: Box<dyn Port>, plan: Plan, seed: u64, tls: Option<Arc<ClientConfig>>) -> Self {
        let shape = Shape::new(&plan, seed);
        let cutter = plan
            .fragment
            .map(|fragment| Cutter::new(&fragment, shape.frame_bytes_max()));
        // An altered message may have grown; what is far too long is not read to its end.
        let message_bytes_max = match plan.reply {
            Reply::Echo => plan.size_max() * 2 + 65_536,
            Reply::None => u64::MAX >> 1,
        };
        Self {
            port,
            seed,
            tls,
            in_flight_max: plan.in_flight_max(),
            frame_limits: Limits {
                frame_bytes_max: message_bytes_max,
                message_bytes_max,
                fragments_max: u32::MAX,
            },
            head_limits: http::Limits {
                header_bytes_max: 64 << 10,
                headers_max: 200,
            },
            clock: Clock::new(),
            record: Record::new(),
            cutter,
            pace: None,
            schedule: None,
            is_sending: false,
            is_stopping: false,
            is_interrupted: false,
            opening: 0,
            unfinished: 0,
            alive: 0,
            dirty: Vec::new(),
            timers: BinaryHeap::new(),
            batches: Batches::default(),
            request_heads: plan
                .targets
                .iter()
                .map(|target| plan.request_head(target).unwrap_or_default())
                .collect(),
            sources: sources(&plan),
            buffers: Vec::new(),
            shape,
            plan,
        }
    }

    /// The address that `connection` comes from, where it is not the kernel's choice.
    pub fn source(&self, connection: u32) -> Option<Address> {
        if self.sources == 0 {
            return None;
        }
        let offset = connection % self.sources;
        let ip = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + offset);
        Some(Address::Inet(SocketAddr::new(IpAddr::V4(ip), 0)))
    }

    /// Where `connection` goes.
    pub fn target(&self, connection: u32) -> &Target {
        let targets = &self.plan.targets;
        &targets[connection as usize % targets.len()]
    }

    /// What is the same in all requests of `connection`.
    pub fn request_head(&self, connection: u32) -> &[u8] {
        &self.request_heads[connection as usize % self.request_heads.len()]
    }

    /// An empty buffer.
    pub fn buffer(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_default()
    }

    /// Give a buffer back.
    pub fn recycle(&mut self, mut buffer: Vec<u8>) {
        if self.buffers.len() < BUFFERS_MAX && buffer.capacity() <= BUFFER_BYTES_KEPT_MAX {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }
}

/// From how many loopback addresses to connect; zero leaves the source to the kernel.
fn sources(plan: &Plan) -> u32 {
    match plan.sources {
        Some(sources) => sources,
        None if plan.is_loopback_v4() && plan.connections > CONNECTIONS_PER_SOURCE => {
            plan.connections.div_ceil(CONNECTIONS_PER_SOURCE)
        }
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(connections: u32) -> Plan {
        let mut plan = Plan::new(Target::parse("tcp://127.0.0.1:1").expect("an address"));
        plan.connections = connections;
        plan
    }

    #[test]
    fn many_connections_spread_over_sources_by_themselves() {
        assert_eq!(sources(&plan(10_000)), 0);
        assert_eq!(sources(&plan(10_001)), 2);
        assert_eq!(sources(&plan(50_000)), 5);
        let mut asked = plan(10);
        asked.sources = Some(3);
        assert_eq!(sources(&asked), 3);
        let mut elsewhere = plan(50_000);
        elsewhere.targets = vec![Target::parse("tcp://192.0.2.1:1").expect("an address")];
        assert_eq!(sources(&elsewhere), 0);
    }
}
