//! Limits that a handler's own call reaches: reported once the handler has returned, and once for
//! all that it does.

use crate::kit::{Bench, Conn, Peer, Place, Script, defaults, websocket};
use vespiary_engine::{
    Event, Framing, Kind, Limit, Options, Publish, SendError, SlowConsumer, State, TopicSpace,
};

on_every_driver!(
    a_full_write_queue_is_reported_once_until_it_has_drained,
    a_message_that_is_larger_than_the_queue_is_reported_each_time,
    a_full_queue_of_a_connection_that_is_disconnected_is_reported,
    limits_of_topics_are_reported,
    a_publication_counts_who_took_it,
);

const MOST: usize = 256 << 10;

fn options(policy: SlowConsumer) -> Options {
    let mut options = defaults(Framing::WebSocket);
    options.slow_consumer = policy;
    options.limits.write_bytes_max = MOST;
    options
}

/// A peer that reads nothing, and its connection.
fn stalled(bench: &Bench, policy: SlowConsumer, script: Script) -> (Place, Peer, Conn) {
    let place = bench.listen(options(policy), script);
    let peer = websocket::open(bench, &place);
    peer.stall(true);
    let connection = bench.latest();
    (place, peer, connection)
}

/// Send until something has not been taken, and then a hundred times more.
fn overfill(bench: &Bench, connection: &Conn) {
    let message = [7; 10_000];
    let mut left = 100;
    while left > 0 {
        let dropped = connection.dropped();
        let sent = connection.send(Kind::Binary, &message, None);
        if sent != Ok(true) || connection.dropped() > dropped {
            left -= 1;
        }
        if sent == Err(SendError::Closed) {
            return;
        }
        bench.turn();
    }
}

fn a_full_write_queue_is_reported_once_until_it_has_drained(bench: &Bench) {
    for policy in [
        SlowConsumer::Wait,
        SlowConsumer::DropOldest,
        SlowConsumer::DropNewest,
    ] {
        let (place, mut peer, connection) = stalled(bench, policy, Script::sink());
        bench.host().clear_log();
        for round in 1..=2 {
            overfill(bench, &connection);
            let events = bench.host().events();
            assert_eq!(events.len(), round, "{policy:?}: {events:?}");
            let value = MOST as u64;
            let limit = Limit::WriteBytes;
            assert_eq!(events[0], Event::Limit { limit, value });
            peer.stall(false);
            bench.until("the queue to drain", || {
                peer.look();
                peer.input.clear();
                connection.queued_bytes() == 0 && !connection.is_above_high()
            });
            peer.stall(true);
        }
        assert_eq!(place.counters().limits.borrow()[&Limit::WriteBytes], 2);
    }
}

fn a_message_that_is_larger_than_the_queue_is_reported_each_time(bench: &Bench) {
    let (_place, _peer, connection) = stalled(bench, SlowConsumer::Wait, Script::sink());
    let message = vec![7; MOST + 1];
    for round in 1..=3 {
        // Twice within a round of the loop is once.
        for _ in 0..2 {
            let sent = connection.send(Kind::Binary, &message, None);
            assert_eq!(sent, Err(SendError::QueueFull));
        }
        bench.turn();
        assert_eq!(bench.host().limits_reached(Limit::WriteBytes), round);
    }
}

fn a_full_queue_of_a_connection_that_is_disconnected_is_reported(bench: &Bench) {
    let (_place, _peer, connection) = stalled(bench, SlowConsumer::Disconnect, Script::sink());
    overfill(bench, &connection);
    bench.until("the end", || connection.state() == State::Closed);
    assert_eq!(bench.host().limits_reached(Limit::WriteBytes), 1);
}

fn limits_of_topics_are_reported(bench: &Bench) {
    let script = Script::sink().on_opened(|connection| {
        assert_eq!(connection.subscribe("news"), Ok(true));
        let long = "x".repeat(300);
        for _ in 0..10 {
            assert_eq!(connection.subscribe(&long), Err(SendError::TopicTooLong));
            assert_eq!(connection.subscribe("more"), Err(SendError::TooManyTopics));
        }
        let reported = connection.engine().host.events();
        assert_eq!(reported, [], "a callback runs within another");
    });
    let mut options = options(SlowConsumer::Wait);
    options.limits.topics_per_connection_max = Some(1);
    let place = bench.listen(options, script);
    let _peer = websocket::open(bench, &place);
    bench.settle();
    for limit in [Limit::TopicBytes, Limit::TopicsPerConnection] {
        assert_eq!(bench.host().limits_reached(limit), 1);
        assert_eq!(place.counters().limits.borrow()[&limit], 10);
    }
}

fn a_publication_counts_who_took_it(bench: &Bench) {
    for policy in [
        SlowConsumer::Wait,
        SlowConsumer::DropNewest,
        SlowConsumer::DropOldest,
    ] {
        let script = Script::sink().on_opened(|connection| {
            assert_eq!(connection.subscribe("news"), Ok(true));
        });
        let (place, peer, connection) = stalled(bench, policy, script);
        let message = vec![7; 10_000];
        let mut taken = 0;
        for _ in 0..1000 {
            let publish = Publish::default();
            let published = bench
                .engine
                .publish("news", Kind::Binary, &message, publish);
            taken += published.expect("memory") as u64;
            bench.turn();
        }
        let counters = place.counters();
        assert_eq!(counters.messages_out.get(), taken, "{policy:?}");
        let dropped = counters.dropped.get();
        assert!(dropped > 100, "{policy:?}: the queue was not full");
        if policy == SlowConsumer::DropOldest {
            assert_eq!(taken, 1000, "older ones made room");
        } else {
            assert_eq!(taken + dropped, 1000, "{policy:?}");
        }
        connection.abort();
        drop(peer);
        bench.until("the end", || bench.engine.connection_count() == 0);
        assert_eq!(bench.engine.subscribers(TopicSpace::default(), "news"), 0);
    }
}
