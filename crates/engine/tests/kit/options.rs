//! The options of the tests' endpoints: what they mean to change, they change.

use vespiary_engine::{Deadlines, Framing, Limits, Options};

/// Limits and deadlines as a server would have them.
pub fn defaults(framing: Framing) -> Options {
    Options {
        limits: Limits {
            connections_max: None,
            connections_per_address_max: None,
            accepts_per_second_max: None,
            handshakes_pending_max: None,
            message_bytes_max: 1 << 20,
            frame_bytes_max: u64::MAX,
            fragments_max: 1 << 14,
            header_bytes_max: 16 << 10,
            headers_max: 100,
            body_bytes_max: 1 << 20,
            requests_per_connection_max: Some(1000),
            topics_per_connection_max: Some(1000),
            subscriptions_max: None,
            topic_bytes_max: 256,
            write_high_bytes: 64 << 10,
            write_low_bytes: 16 << 10,
            write_bytes_max: 16 << 20,
            datagram_bytes_max: 1 << 16,
            datagrams_pending_max: 1000,
        },
        deadlines: Deadlines {
            handshake: Some(10_000),
            keep_alive: Some(75_000),
            first_byte: None,
            message: None,
            idle: None,
            data: None,
            datagram_idle: None,
            tcp_keepalive: None,
            write: Some(60_000),
            close: Some(5_000),
            ping_interval: Some(20_000),
            ping_timeout: Some(20_000),
        },
        ..Options::unlimited(framing)
    }
}
