//! Listeners, connections, write queues, limits, deadlines, counters, topics, drain.
//!
//! [`Engine`] is between a completion port and a [`Host`], the program that uses it. It is written
//! against the port's trait, so that the same code runs on io_uring, on epoll, and in a simulation
//! from a seed.
#![forbid(unsafe_code)]

mod admission;
mod carrier;
mod clock;
mod close;
mod connection;
mod endpoint;
mod engine;
mod host;
mod inbound;
mod layering;
mod layers;
mod limit;
mod listener;
mod memory;
mod options;
mod outbound;
mod patterns;
mod payload;
mod peers;
mod places;
mod proxies;
mod receive;
mod reports;
mod requests;
mod responses;
mod retained;
mod room;
mod send;
mod send_error;
mod session;
mod settle;
mod share;
mod subscriptions;
mod table;
mod topics;

pub use carrier::datagram::{DatagramError, DatagramSocket, Dropped};
pub use close::{Cause, CloseReason, Manner, NotOpened, Side};
pub use connection::{Connection, State};
pub use endpoint::{Counters, Endpoint, Place};
pub use engine::{Engine, FRAMES_BUDGET, INLINE_BUDGET, Random};
pub use host::{AfterEnd, Denial, Event, Host, Kind};
pub use layers::{Filtered, Flow, Layer, Progress, Received};
pub use limit::Limit;
pub use listener::Listener;
pub use options::{
    Compression, Deadlines, Framing, Limits, Messages, Options, SlowConsumer, WebSocketOptions,
};
pub use payload::Payload;
pub use proxies::Proxies;
pub use retained::{Kept, RetainLimits};
pub use send_error::SendError;
pub use session::http::{Answer, ClientHandshake, Content, Opening, Tunnel};
pub use session::websocket::compression::CompressionTraffic;
pub use share::Share;
pub use subscriptions::{TopicSpace, TopicTraffic};
pub use topics::Publish;
pub use vespiary_port as port;
pub use vespiary_wire as wire;
