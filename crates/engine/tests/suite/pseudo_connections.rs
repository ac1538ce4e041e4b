//! Pseudo-connections: the datagrams of each peer of a socket as a connection of its own.

use crate::datagrams::{Peer, bind, counters, dropped, is_limit};
use crate::kit::{Bench, Script, Told, defaults};
use std::cell::RefCell;
use std::rc::Rc;
use vespiary_engine::port::Address;
use vespiary_engine::wire::websocket::close::Code;
use vespiary_engine::{
    Cause, DatagramSocket, Dropped, Framing, Kind, Limit, Manner, NotOpened, Options, Publish,
    SendError, Side, State,
};

on_every_driver_and_with_faults!(
    each_peer_has_a_connection_and_each_datagram_is_a_message,
    a_connection_knows_its_ends_and_counts_its_traffic,
    what_is_closed_is_forgotten_and_the_next_datagram_begins_another,
    what_comes_behind_a_close_in_one_batch_begins_another,
    peers_beyond_a_limit_are_dropped_counted_and_reported,
    a_limit_per_second_holds_against_invented_peers,
    a_paused_connection_loses_what_comes_and_others_do_not,
    a_published_message_is_a_datagram_for_each_subscriber,
    what_no_datagram_can_be_is_refused,
    asocket_that_stops_serves_the_peers_it_has,
    asocket_closes_with_its_last_connection,
);
on_every_driver!(
    a_silent_peer_is_forgotten_cleanly,
    a_peer_that_continues_stays_connected,
    a_shut_down_closes_each_connection_once,
);

/// What sets a limit.
type Set = fn(&mut Options);

/// How long deadlines are here, in milliseconds.
const LENGTH: u64 = 60;

fn options() -> Options {
    defaults(Framing::Datagram)
}

fn opened(bench: &Bench) -> usize {
    let log = bench.host().log();
    log.iter()
        .filter(|it| matches!(it, Told::Opened(_)))
        .count()
}

/// Send datagrams until as many have come back.
fn echoed(bench: &Bench, socket: &DatagramSocket<crate::kit::TestHost>, peer: &Peer, count: u8) {
    let mut back = Vec::new();
    for number in 0..count {
        peer.send(socket.address(), &vec![number; number.into()]);
    }
    bench.until("every echo", || {
        back.extend(peer.receive());
        back.len() == usize::from(count)
    });
    back.sort();
    let sent: Vec<_> = (0..count).map(|it| vec![it; it.into()]).collect();
    assert_eq!(back, sent);
}

fn each_peer_has_a_connection_and_each_datagram_is_a_message(bench: &Bench) {
    let socket = bind(bench, options(), Script::echo());
    let peers = [Peer::at(bench, 900), Peer::at(bench, 901)];
    for peer in &peers {
        // An empty datagram is one too.
        echoed(bench, &socket, peer, 20);
        echoed(bench, &socket, peer, 20);
    }
    assert_eq!((opened(bench), socket.endpoint.open()), (2, 2));
    let counters = counters(&socket);
    assert_eq!(counters.messages_in.get(), 80);
    assert_eq!(counters.messages_out.get(), 80);
    assert_eq!(counters.datagrams_in.get(), 80);
    assert!(counters.datagrams_dropped.borrow().is_empty());
    assert_eq!((counters.accepted.get(), counters.opened.get()), (2, 2));
}

fn a_connection_knows_its_ends_and_counts_its_traffic(bench: &Bench) {
    let socket = bind(bench, options(), Script::echo());
    let peer = Peer::new(bench);
    echoed(bench, &socket, &peer, 5);
    let connection = bench.latest();
    assert_eq!(connection.peer_address().as_ref(), Some(&peer.address));
    assert_eq!(connection.local_address().as_ref(), Some(socket.address()));
    assert_eq!(connection.traffic(), [10, 10, 5, 5]);
    assert_eq!(connection.state(), State::Open);
    assert_eq!(
        (connection.buffer_bytes(), connection.queued_bytes()),
        (0, 0)
    );
    connection.abort();
    bench.until_closed(1);
    assert_eq!(connection.peer_address().as_ref(), Some(&peer.address));
    assert_eq!(connection.local_address().as_ref(), Some(socket.address()));
}

fn what_is_closed_is_forgotten_and_the_next_datagram_begins_another(bench: &Bench) {
    let socket = bind(bench, options(), Script::echo());
    let peer = Peer::new(bench);
    for round in 1..=3 {
        echoed(bench, &socket, &peer, 2);
        let connection = bench.latest();
        connection.close(Code(1000), "enough");
        bench.until_closed(round);
        let reason = connection.reason().expect("it has ended");
        assert_eq!(
            (reason.cause, reason.manner),
            (Cause::Closed, Manner::Closed)
        );
        assert_eq!(reason.code, None);
        assert_eq!(
            connection.send(Kind::Binary, b"late", None),
            Err(SendError::Closed)
        );
        assert_eq!((opened(bench), socket.endpoint.open()), (round, 0));
    }
    assert_eq!(bench.engine.connection_count(), 0);
}

fn what_comes_behind_a_close_in_one_batch_begins_another(bench: &Bench) {
    let script = Script::sink().on_message(|it, _, _| it.close(Code(1000), ""));
    let socket = bind(bench, options(), script);
    let peer = Peer::new(bench);
    for _ in 0..10 {
        peer.send(socket.address(), b"x");
    }
    bench.until_closed(10);
    assert_eq!((opened(bench), socket.endpoint.open()), (10, 0));
    assert_eq!(counters(&socket).messages_in.get(), 10);
}

fn peers_beyond_a_limit_are_dropped_counted_and_reported(bench: &Bench) {
    let limits: [(Limit, Set); 2] = [
        (Limit::Connections, |it| it.limits.connections_max = Some(2)),
        (Limit::ConnectionsPerAddress, |it| {
            it.limits.connections_per_address_max = Some(2);
        }),
    ];
    for (limit, set) in limits {
        let mut options = options();
        set(&mut options);
        let socket = bind(bench, options, Script::echo());
        let peers: Vec<_> = (900..905).map(|port| Peer::at(bench, port)).collect();
        echoed(bench, &socket, &peers[0], 1);
        echoed(bench, &socket, &peers[1], 1);
        for peer in &peers[2..] {
            peer.send(socket.address(), b"me too");
        }
        let cause = Dropped::NotAdmitted(limit);
        bench.until("three dropped", || dropped(&socket, cause) == 3);
        let refused = counters(&socket).refused.borrow().clone();
        assert_eq!(
            refused.into_iter().collect::<Vec<_>>(),
            [(NotOpened::Limit(limit), 3)]
        );
        bench.settle();
        let told = bench.host().events();
        assert!(
            told.iter().any(|it| is_limit(it, limit)) && told.len() <= 6,
            "{told:?}"
        );
        // Those who are there are served, and one who leaves makes room.
        echoed(bench, &socket, &peers[0], 3);
        bench.latest().close(Code(1000), "");
        bench.until("room", || socket.endpoint.open() == 1);
        echoed(bench, &socket, &peers[4], 1);
        for connection in bench.engine.all_connections() {
            connection.abort();
        }
        bench.until("the end", || bench.engine.connection_count() == 0);
        socket.close();
    }
}

fn a_limit_per_second_holds_against_invented_peers(bench: &Bench) {
    let mut options = options();
    options.limits.accepts_per_second_max = Some(3);
    let socket = bind(bench, options, Script::echo());
    let peers: Vec<_> = (900..920).map(|port| Peer::at(bench, port)).collect();
    for peer in &peers {
        peer.send(socket.address(), b"who am I?");
    }
    let cause = Dropped::NotAdmitted(Limit::AcceptsPerSecond);
    bench.until("all", || counters(&socket).datagrams_in.get() == 20);
    let (opened, refused) = (opened(bench) as u64, dropped(&socket, cause));
    assert_eq!(opened + refused, 20);
    assert!(opened >= 3 && refused > 0, "{opened} opened");
}

fn a_paused_connection_loses_what_comes_and_others_do_not(bench: &Bench) {
    let script = Script::sink().on_message(|it, kind, bytes| {
        if bytes == b"pause" {
            it.pause(1);
        }
        let _ = it.send(kind, bytes, None);
    });
    let socket = bind(bench, options(), script);
    let (paused, other) = (Peer::at(bench, 900), Peer::at(bench, 901));
    paused.send(socket.address(), b"pause");
    bench.until("the echo", || !paused.receive().is_empty());
    let connection = bench.latest();
    for _ in 0..4 {
        paused.send(socket.address(), b"lost");
    }
    bench.until("four dropped", || dropped(&socket, Dropped::Paused) == 4);
    echoed(bench, &socket, &other, 3);
    connection.resume(1);
    echoed(bench, &socket, &paused, 3);
    assert_eq!(connection.traffic()[2], 4);
}

fn a_published_message_is_a_datagram_for_each_subscriber(bench: &Bench) {
    let script = Script::sink().on_message(|it, _, _| {
        it.subscribe("news").expect("a topic");
        let _ = it.send(Kind::Binary, b"subscribed", None);
    });
    let socket = bind(bench, options(), script);
    let peers: Vec<_> = (900..903).map(|port| Peer::at(bench, port)).collect();
    for peer in &peers {
        peer.send(socket.address(), b"?");
        bench.until("the answer", || !peer.receive().is_empty());
    }
    let publish = |bytes: &[u8]| {
        let options = Publish::default();
        bench.engine.publish("news", Kind::Binary, bytes, options)
    };
    assert_eq!(publish(&[7; 900]), Ok(3));
    assert_eq!(publish(&vec![7; 65_508]), Err(SendError::TooLong));
    for peer in &peers {
        let mut came = Vec::new();
        bench.until("the news", || {
            came.extend(peer.receive());
            !came.is_empty()
        });
        assert_eq!(came, [[7; 900]]);
    }
    bench.latest().close(Code(1000), "");
    bench.until_closed(1);
    assert_eq!(publish(b"again"), Ok(2));
}

fn what_no_datagram_can_be_is_refused(bench: &Bench) {
    let results = Rc::new(RefCell::new(Vec::new()));
    let kept = results.clone();
    let script = Script::sink().on_message(move |it, kind, _| {
        let mut results = kept.borrow_mut();
        results.push(it.send(kind, &vec![0; 65_508], None).map(drop));
        results.push(it.send_part(kind, b"part", false, None));
        results.push(it.send_end());
        results.push(it.send(kind, b"", None).map(drop));
    });
    let socket = bind(bench, options(), script);
    let peer = Peer::new(bench);
    peer.send(socket.address(), b"?");
    let mut came = Vec::new();
    bench.until("the empty one", || {
        came.extend(peer.receive());
        !came.is_empty()
    });
    assert_eq!(came, [[]; 1]);
    let refused = [
        Err(SendError::TooLong),
        Err(SendError::OutOfTurn),
        Err(SendError::OutOfTurn),
    ];
    assert_eq!(results.borrow()[..3], refused);
    assert_eq!(results.borrow()[3], Ok(()));
    assert!(bench.latest().is_open());
}

fn asocket_that_stops_serves_the_peers_it_has(bench: &Bench) {
    let socket = bind(bench, options(), Script::echo());
    let (known, new) = (Peer::at(bench, 900), Peer::at(bench, 901));
    echoed(bench, &socket, &known, 2);
    socket.stop();
    new.send(socket.address(), b"too late");
    bench.until("its loss", || dropped(&socket, Dropped::Closed) == 1);
    echoed(bench, &socket, &known, 2);
    assert_eq!(opened(bench), 1);
    assert!(!socket.is_receiving() && !socket.is_closed());
    bench.latest().close(Code(1000), "");
    bench.until_closed(1);
    new.send(socket.address(), b"nobody takes this");
    bench.settle();
    assert_eq!(counters(&socket).datagrams_in.get(), 5);
    socket.close();
    assert!(socket.is_closed());
}

fn asocket_closes_with_its_last_connection(bench: &Bench) {
    let socket = bind(bench, options(), Script::echo());
    let peers = [Peer::at(bench, 900), Peer::at(bench, 901)];
    for peer in &peers {
        echoed(bench, &socket, peer, 1);
    }
    socket.close();
    let last = bench.latest();
    assert_eq!(last.send(Kind::Binary, b"goodbye", None), Ok(true));
    last.close(Code(1000), "");
    bench.until_closed(1);
    bench.until("the goodbye", || !peers[1].receive().is_empty());
    assert!(!socket.is_closed());
    for connection in bench.engine.all_connections() {
        connection.close(Code(1000), "");
    }
    bench.until("the close", || socket.is_closed());
}

fn a_silent_peer_is_forgotten_cleanly(bench: &Bench) {
    let mut options = options();
    options.deadlines.datagram_idle = Some(LENGTH);
    let socket = bind(bench, options, Script::echo());
    let peer = Peer::new(bench);
    let began = bench.engine.now_ms();
    peer.send(socket.address(), b"");
    bench.until_closed(1);
    assert!(bench.engine.now_ms() - began >= LENGTH - 1);
    let reason = &bench.host().reasons()[0];
    assert_eq!(reason.cause, Cause::Limit(Limit::DatagramIdleSeconds));
    assert_eq!((reason.side, reason.manner), (Side::Local, Manner::Closed));
    assert_eq!(
        reason.text,
        "the peer was silent: datagram_idle_seconds is 0.06"
    );
    let counters = counters(&socket);
    assert_eq!((counters.closed.get(), counters.broken.get()), (1, 0));
    assert_eq!(counters.limits.borrow()[&Limit::DatagramIdleSeconds], 1);
    assert!(bench.host().events().is_empty());
}

fn a_peer_that_continues_stays_connected(bench: &Bench) {
    let mut options = options();
    // A machine that is busy may take its time between two datagrams.
    options.deadlines.datagram_idle = Some(if bench.is_simulated() { LENGTH } else { 60_000 });
    let socket = bind(bench, options, Script::echo());
    let peer = Peer::new(bench);
    for _ in 0..10 {
        echoed(bench, &socket, &peer, 1);
        bench.pass(LENGTH / 2);
    }
    assert_eq!((opened(bench), socket.endpoint.open()), (1, 1));
}

fn a_shut_down_closes_each_connection_once(bench: &Bench) {
    let socket = bind(bench, options(), Script::echo());
    for port in 900..905 {
        let peer = Peer::at(bench, port);
        let place: &Address = socket.address();
        peer.send(place, b"hello");
        bench.until("the echo", || !peer.receive().is_empty());
    }
    bench.engine.shut_down(10).expect("shut down");
    assert_eq!(bench.engine.connection_count(), 0);
    assert!(socket.is_closed() && !bench.engine.is_in_use());
    let counters = counters(&socket);
    assert_eq!((counters.opened.get(), counters.closed.get()), (5, 5));
}
