//! Topics: who subscribed gets what is published, encoded once.

use crate::kit::defaults;
use crate::kit::{Bench, Conn, Peer, Place, Script, websocket};
use std::cell::RefCell;
use std::rc::Rc;
use vespiary_engine::wire::framing::length::Format;
use vespiary_engine::{
    ClientHandshake, Framing, Kind, Limit, Publish, RetainLimits, SendError, SlowConsumer,
    TopicSpace,
};

on_every_driver_and_with_faults!(
    what_is_published_reaches_everybody_who_subscribed,
    the_publisher_may_be_left_out,
    who_unsubscribed_or_left_gets_nothing,
    each_framing_gets_the_message_in_its_own_form,
    clients_mask_each_frame_with_a_key_of_its_own,
    a_topic_of_another_space_is_another_topic,
    a_message_that_a_subscriber_cannot_get_is_refused_and_nobody_gets_it,
    a_small_and_a_large_message_arrive_in_the_order_published,
    a_pattern_gets_what_it_matches_and_each_message_once,
    who_subscribes_later_gets_the_retained_message,
    each_change_of_a_subscription_is_reported_outside_of_callbacks,
);

on_every_driver!(
    a_large_message_is_encoded_once_for_all,
    a_subscriber_that_does_not_read_is_met_by_its_policy,
    subscriptions_of_all_connections_are_limited_together,
    what_is_retained_is_limited_in_number_and_bytes,
);

/// Publishes every message to `news`, to which everybody is subscribed, and leaves its sender out.
fn chat() -> Script {
    subscribed().on_message(|connection, kind, payload| {
        let engine = connection.engine();
        engine
            .publish(
                "news",
                kind,
                payload,
                Publish {
                    but: Some(connection.token()),
                    ..Publish::default()
                },
            )
            .expect("memory");
    })
}

fn subscribed() -> Script {
    Script::sink().on_opened(|connection| {
        assert_eq!(connection.subscribe("news"), Ok(true));
        assert_eq!(connection.subscribe("news"), Ok(false));
    })
}

fn websockets(bench: &Bench, count: usize, script: Script) -> (Place, Vec<Peer>) {
    let place = bench.listen(defaults(Framing::WebSocket), script);
    let peers = (0..count).map(|_| websocket::open(bench, &place)).collect();
    (place, peers)
}

fn what_is_published_reaches_everybody_who_subscribed(bench: &Bench) {
    let (place, mut peers) = websockets(bench, 20, subscribed());
    assert_eq!(bench.engine.subscribers(TopicSpace::default(), "news"), 20);
    assert_eq!(
        bench
            .engine
            .publish("news", Kind::Text, b"hello", Publish::default()),
        Ok(20)
    );
    assert_eq!(
        bench
            .engine
            .publish("nobody listens", Kind::Text, b"hello", Publish::default()),
        Ok(0)
    );
    for peer in &mut peers {
        let frame = peer.frame(bench);
        assert_eq!((frame.first, &frame.payload[..]), (0x81, &b"hello"[..]));
    }
    assert_eq!(place.counters().messages_out.get(), 20);
    assert!(peers.iter_mut().all(Peer::is_quiet));
}

fn the_publisher_may_be_left_out(bench: &Bench) {
    let (_place, mut peers) = websockets(bench, 5, chat());
    peers[2].send(bench, &websocket::text("from two"));
    for (number, peer) in peers
        .iter_mut()
        .enumerate()
        .filter(|(number, _)| *number != 2)
    {
        assert_eq!(peer.frame(bench).payload, b"from two", "{number}");
    }
    bench.settle();
    assert!(peers[2].is_quiet());
}

fn who_unsubscribed_or_left_gets_nothing(bench: &Bench) {
    let (_place, mut peers) = websockets(bench, 3, subscribed());
    let connections: Vec<Conn> = bench.engine.all_connections();
    assert!(connections[0].unsubscribe("news"));
    assert!(!connections[0].unsubscribe("news"));
    assert!(!connections[0].unsubscribe("never seen"));
    drop(connections);
    peers.remove(1).reset();
    bench.until_closed(1);
    assert_eq!(bench.engine.subscribers(TopicSpace::default(), "news"), 1);
    assert_eq!(
        bench
            .engine
            .publish("news", Kind::Binary, b"x", Publish::default()),
        Ok(1)
    );
    assert_eq!(peers[1].frame(bench).payload, b"x");
    assert!(peers[0].is_quiet());
    peers.remove(1).reset();
    bench.until_closed(2);
    assert_eq!(bench.engine.subscribers(TopicSpace::default(), "news"), 0);
    assert_eq!(
        bench
            .engine
            .publish("news", Kind::Binary, b"x", Publish::default()),
        Ok(0)
    );
}

fn a_topic_of_another_space_is_another_topic(bench: &Bench) {
    let (place, mut peers) = websockets(bench, 1, Script::sink());
    let space = bench.engine.topic_space();
    place.endpoint().topics.set(Some(space));
    let connection = bench.engine.all_connections().remove(0);
    assert_eq!(connection.subscribe("news"), Ok(true));
    assert_eq!(
        bench
            .engine
            .publish("news", Kind::Text, b"no", Publish::default()),
        Ok(0)
    );
    let publish = |space| {
        let engine = &bench.engine;
        engine.publish(
            "news",
            Kind::Text,
            b"yes",
            Publish {
                space,
                ..Publish::default()
            },
        )
    };
    assert_eq!(publish(bench.engine.topic_space()), Ok(0));
    assert_eq!(publish(space), Ok(1));
    assert_eq!(peers[0].frame(bench).payload, b"yes");
    assert_eq!(bench.engine.subscribers(space, "news"), 1);
    assert!(connection.unsubscribe("news"));
    assert_eq!(bench.engine.subscribers(space, "news"), 0);
    place.endpoint().topics.set(None);
    assert_eq!(connection.subscribe("news"), Err(SendError::NoTopics));
    assert!(!connection.unsubscribe("news"));
}

fn a_message_that_a_subscriber_cannot_get_is_refused_and_nobody_gets_it(bench: &Bench) {
    let format = Format::new(1, true, false).expect("a format");
    let (_place, mut websocket) = websockets(bench, 1, subscribed());
    let lines = bench.listen(defaults(Framing::Line { ending: b"\n" }), subscribed());
    let line = bench.connect_open(&lines);
    let publish = |message: &[u8]| {
        bench
            .engine
            .publish("news", Kind::Binary, message, Publish::default())
    };
    for message in [&b"a\nb"[..], b"a\n", b"a\r\n", b"a\r"] {
        assert_eq!(publish(message), Err(SendError::LineBreak));
    }
    line.reset();
    bench.until_closed(1);
    let short = bench.listen(defaults(Framing::Length(format)), subscribed());
    let _short = bench.connect_open(&short);
    assert_eq!(publish(&[0; 256]), Err(SendError::TooLong));
    assert_eq!(publish(b"a\nb"), Ok(2));
    assert_eq!(websocket[0].frame(bench).payload, b"a\nb");
}

fn each_framing_gets_the_message_in_its_own_form(bench: &Bench) {
    let format = Format::new(2, true, false).expect("a format");
    let cases = [
        (Framing::Raw, &b"hello"[..]),
        (Framing::Line { ending: b"\r\n" }, b"hello\r\n"),
        (Framing::Length(format), b"\0\x05hello"),
    ];
    let mut peers = Vec::new();
    for (framing, expected) in cases {
        let place = bench.listen(defaults(framing), subscribed());
        peers.push((bench.connect_open(&place), expected));
    }
    let (_place, mut websocket) = websockets(bench, 1, subscribed());
    assert_eq!(
        bench
            .engine
            .publish("news", Kind::Binary, b"hello", Publish::default()),
        Ok(4)
    );
    for (mut peer, expected) in peers {
        assert_eq!(peer.take(bench, expected.len()), expected);
    }
    assert_eq!(websocket[0].frame(bench).payload, b"hello");
}

fn clients_mask_each_frame_with_a_key_of_its_own(bench: &Bench) {
    let place = bench.listen(defaults(Framing::WebSocket), Script::sink());
    let handshake = ClientHandshake {
        host: "test".to_owned(),
        target: "/".to_owned(),
        protocols: vec![],
        headers: vec![],
    };
    let endpoint = subscribed().endpoint(defaults(Framing::WebSocket));
    let connected = bench
        .engine
        .connect(&place.address, None, endpoint, Some(handshake));
    drop(connected.expect("a socket"));
    bench.until("the client", || {
        bench.engine.subscribers(TopicSpace::default(), "news") == 1
    });
    for _ in 0..3 {
        assert_eq!(
            bench
                .engine
                .publish("news", Kind::Binary, b"hello", Publish::default()),
            Ok(1)
        );
    }
    // An unmasked frame would have failed the connection.
    bench.until("the messages", || bench.host().messages().len() == 3);
    assert_eq!(bench.host().messages(), [b"hello"; 3]);
}

fn a_small_and_a_large_message_arrive_in_the_order_published(bench: &Bench) {
    let (_place, mut peers) = websockets(bench, 3, subscribed());
    let sizes = [10, 5000, 20, 100_000, 30, 40, 3000, 50];
    for size in sizes {
        bench
            .engine
            .publish(
                "news",
                Kind::Binary,
                &vec![size as u8; size],
                Publish::default(),
            )
            .expect("memory");
        for connection in bench.engine.all_connections() {
            connection
                .send(Kind::Binary, b"between", None)
                .expect("room");
        }
    }
    for peer in &mut peers {
        for size in sizes {
            let frame = peer.frame(bench);
            assert!(frame.payload == vec![size as u8; size], "{size}");
            assert_eq!(peer.frame(bench).payload, b"between");
        }
    }
}

fn a_large_message_is_encoded_once_for_all(bench: &Bench) {
    let (_place, peers) = websockets(bench, 50, subscribed());
    for peer in &peers {
        peer.stall(true);
    }
    let message = vec![7; 60_000];
    for _ in 0..100 {
        bench
            .engine
            .publish("news", Kind::Binary, &message, Publish::default())
            .expect("memory");
        bench.turn();
    }
    let all = bench.engine.all_connections();
    let queued: usize = all.iter().map(|connection| connection.queued_bytes()).sum();
    let shared: usize = all.iter().map(|connection| connection.shared_bytes()).sum();
    // What waits behind the send in flight is held in common, each message once for all fifty.
    assert!(queued > 50 * 60_000, "{queued}");
    let flying_at_most = all.len() * 64 * 60_010;
    assert!(
        shared > 0 && queued - shared <= flying_at_most,
        "{shared} of {queued}"
    );
    assert!(
        all.iter()
            .all(|it| it.buffer_bytes() - it.shared_bytes() < 40_000)
    );
}

fn a_subscriber_that_does_not_read_is_met_by_its_policy(bench: &Bench) {
    let mut peers = Vec::new();
    for policy in [
        SlowConsumer::Wait,
        SlowConsumer::DropNewest,
        SlowConsumer::Disconnect,
    ] {
        let mut options = defaults(Framing::WebSocket);
        options.slow_consumer = policy;
        options.limits.write_bytes_max = 256 << 10;
        let place = bench.listen(options, subscribed());
        let peer = websocket::open(bench, &place);
        peer.stall(true);
        peers.push((place, peer));
    }
    let (_place, mut quick) = websockets(bench, 1, subscribed());
    let message = vec![7; 10_000];
    let mut published = 0;
    let dropped = |number: usize| {
        let (place, _) = &peers[number];
        place.counters().dropped.get()
    };
    while dropped(0) < 3
        || dropped(1) < 3
        || bench.engine.subscribers(TopicSpace::default(), "news") == 4
    {
        bench
            .engine
            .publish("news", Kind::Binary, &message, Publish::default())
            .expect("memory");
        published += 1;
        assert_eq!(quick[0].frame(bench).payload.len(), 10_000);
        assert!(published < 10_000, "nobody is slow");
    }
    bench.until_closed(1);
    assert_eq!(bench.host().reasons()[0].code, Some(1006));
    assert_eq!(bench.engine.subscribers(TopicSpace::default(), "news"), 3);
}

fn publish(bench: &Bench, topic: &str, text: &str, retain: bool) -> Result<usize, SendError> {
    let options = Publish {
        retain,
        ..Publish::default()
    };
    bench
        .engine
        .publish(topic, Kind::Text, text.as_bytes(), options)
}

fn a_pattern_gets_what_it_matches_and_each_message_once(bench: &Bench) {
    let (_place, mut peers) = websockets(bench, 2, Script::sink());
    let connections: Vec<Conn> = bench.engine.all_connections();
    let first = &connections[0];
    assert_eq!(first.subscribe_pattern("rooms/+/news"), Ok(true));
    assert_eq!(first.subscribe_pattern("rooms/+/news"), Ok(false));
    assert_eq!(first.subscribe_pattern("rooms/#"), Ok(true));
    assert_eq!(first.subscribe("rooms/red/news"), Ok(true));
    // A name, not a pattern.
    assert_eq!(connections[1].subscribe("rooms/#"), Ok(true));
    let refused = connections[1].subscribe_pattern("rooms/#/news");
    assert_eq!(refused, Err(SendError::NotAPattern));
    assert_eq!(publish(bench, "rooms/red/news", "both", false), Ok(1));
    assert_eq!(publish(bench, "rooms", "above", false), Ok(1));
    assert_eq!(publish(bench, "rooms/#", "the name", false), Ok(2));
    assert_eq!(publish(bench, "room/red", "none", false), Ok(0));
    for text in ["both", "above", "the name"] {
        assert_eq!(peers[0].frame(bench).payload, text.as_bytes());
    }
    assert_eq!(peers[1].frame(bench).payload, b"the name");
    assert!(first.unsubscribe_pattern("rooms/#"));
    assert!(!first.unsubscribe_pattern("rooms/#"));
    assert!(!first.unsubscribe("rooms/+/news"));
    assert_eq!(publish(bench, "rooms", "gone", false), Ok(0));
    assert_eq!(publish(bench, "rooms/blue/news", "one level", false), Ok(1));
    assert_eq!(peers[0].frame(bench).payload, b"one level");
    drop(connections);
    peers.remove(0).reset();
    bench.until_closed(1);
    assert_eq!(publish(bench, "rooms/blue/news", "nobody", false), Ok(0));
    assert!(peers[0].is_quiet());
    let traffic = bench.engine.topic_traffic(TopicSpace::default());
    assert_eq!((traffic.topics, traffic.patterns), (1, 0));
    assert_eq!((traffic.published, traffic.deliveries), (7, 5));
}

fn who_subscribes_later_gets_the_retained_message(bench: &Bench) {
    let (_place, mut peers) = websockets(bench, 2, Script::sink());
    let connections: Vec<Conn> = bench.engine.all_connections();
    let space = TopicSpace::default();
    assert_eq!(publish(bench, "state/one", "old", true), Ok(0));
    assert_eq!(publish(bench, "state/one", "new", true), Ok(0));
    assert_eq!(publish(bench, "state/one", "not kept", false), Ok(0));
    assert_eq!(publish(bench, "state/two", "2", true), Ok(0));
    assert_eq!(publish(bench, "states", "other", true), Ok(0));
    assert_eq!(connections[0].subscribe("state/one"), Ok(true));
    assert_eq!(connections[0].subscribe("state/one"), Ok(false));
    assert_eq!(connections[1].subscribe_pattern("state/#"), Ok(true));
    assert_eq!(peers[0].frame(bench).payload, b"new");
    assert_eq!(peers[1].frame(bench).payload, b"new");
    assert_eq!(peers[1].frame(bench).payload, b"2");
    let kept = bench.engine.retained(space, "state/one");
    assert_eq!(&**kept.expect("it was retained").payload, b"new");
    assert!(bench.engine.discard_retained(space, "state/one"));
    assert!(!bench.engine.discard_retained(space, "state/one"));
    assert!(bench.engine.retained(space, "state/one").is_none());
    assert!(connections[0].unsubscribe("state/one"));
    assert_eq!(connections[0].subscribe("state/one"), Ok(true));
    assert_eq!(publish(bench, "state/one", "last", false), Ok(2));
    assert_eq!(peers[0].frame(bench).payload, b"last");
    let traffic = bench.engine.topic_traffic(space);
    assert_eq!((traffic.retained_messages, traffic.retained_bytes), (2, 21));
    bench.engine.end_topic_space(space);
    assert_eq!(bench.engine.topic_traffic(space).retained_messages, 0);
}

fn each_change_of_a_subscription_is_reported_outside_of_callbacks(bench: &Bench) {
    let changes = Rc::new(RefCell::new(Vec::new()));
    let seen = changes.clone();
    let script = Script::sink()
        .on_opened(|connection| {
            assert_eq!(connection.subscribe("a"), Ok(true));
            assert_eq!(connection.subscribe_pattern("b/+"), Ok(true));
            assert!(connection.unsubscribe("a"));
            assert_eq!(connection.subscribe("c"), Ok(true));
        })
        .on_subscription(move |_, name, is_subscribed| {
            let sign = if is_subscribed { '+' } else { '-' };
            seen.borrow_mut().push(format!("{sign}{name}"));
        });
    let (_place, mut peers) = websockets(bench, 1, script);
    bench.settle();
    let expected = ["+a", "+b/+", "-a", "+c"];
    assert_eq!(changes.take(), expected);
    let connection = bench.engine.all_connections().remove(0);
    assert!(connection.unsubscribe("c"));
    assert_eq!(connection.subscribe("d"), Ok(true));
    drop(connection);
    peers.remove(0).reset();
    bench.until_closed(1);
    assert_eq!(changes.take(), ["-c", "+d", "-b/+", "-d"]);
}

fn subscriptions_of_all_connections_are_limited_together(bench: &Bench) {
    let mut options = defaults(Framing::WebSocket);
    options.limits.subscriptions_max = Some(3);
    let place = bench.listen(options, Script::sink());
    let mut peers: Vec<_> = (0..2).map(|_| websocket::open(bench, &place)).collect();
    let connections: Vec<Conn> = bench.engine.all_connections();
    assert_eq!(connections[0].subscribe("a"), Ok(true));
    assert_eq!(connections[0].subscribe_pattern("#"), Ok(true));
    assert_eq!(connections[1].subscribe("a"), Ok(true));
    let refused = Err(SendError::TooManySubscriptions);
    assert_eq!(connections[1].subscribe("b"), refused);
    assert_eq!(connections[1].subscribe("a"), Ok(false));
    assert_eq!(place.counters().limits.borrow()[&Limit::Subscriptions], 1);
    assert!(connections[1].unsubscribe("a"));
    assert_eq!(connections[1].subscribe("b"), Ok(true));
    peers.remove(0).reset();
    bench.until_closed(1);
    assert_eq!(connections[1].subscribe("c"), Ok(true));
    assert_eq!(connections[1].subscribe("d"), Ok(true));
    assert_eq!(connections[1].subscribe("e"), refused);
}

fn what_is_retained_is_limited_in_number_and_bytes(bench: &Bench) {
    let space = TopicSpace::default();
    let limits = RetainLimits {
        messages_max: Some(2),
        bytes_max: Some(10),
    };
    bench.engine.limit_retained(space, limits);
    assert_eq!(publish(bench, "a", "1234", true), Ok(0));
    assert_eq!(publish(bench, "b", "1234", true), Ok(0));
    let too_many = Err(SendError::TooManyRetained);
    assert_eq!(publish(bench, "c", "", true), too_many);
    let too_large = Err(SendError::RetainedTooLarge);
    assert_eq!(publish(bench, "a", "12345", true), too_large);
    assert_eq!(publish(bench, "a", "123", true), Ok(0));
    assert_eq!(publish(bench, "b", "12345", true), Ok(0));
    let traffic = bench.engine.topic_traffic(space);
    assert_eq!((traffic.retained_messages, traffic.retained_bytes), (2, 10));
    assert_eq!((traffic.retained_refused, traffic.published), (2, 4));
}
