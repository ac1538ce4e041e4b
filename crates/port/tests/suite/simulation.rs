//! What the simulation promises beyond the contract: it is the same for the same seed, and strict.

use std::fmt::Write;
use std::time::Duration;

use crate::rig::CANCELED;
use vespiary_port::sim::{Closed, Faults, Sim, World};
use vespiary_port::{Address, Descriptor, Errno, Outcome, Outgoing, Port, Token};

const LISTENER: Token = Token(1);
const FIRST: Token = Token(2);

fn listen(sim: &mut Sim) -> (Descriptor, Address) {
    let address = Address::Inet(([127, 0, 0, 1], 80).into());
    let listener = sim.listen(&address, 128, false).expect("a listener");
    (listener, address)
}

/// A simulation with one accepted connection.
fn connected(seed: u64, faults: Faults) -> (Sim, World, vespiary_port::sim::Peer, Descriptor) {
    let mut sim = Sim::new(seed, faults);
    let world = sim.world();
    let (listener, address) = listen(&mut sim);
    let peer = world.connect(&address).expect("a connection");
    let socket = loop {
        sim.accept(listener, LISTENER);
        sim.turn(None).expect("a turn");
        match sim.next().expect("a completion").outcome {
            Outcome::Accepted(socket) => break socket,
            Outcome::AcceptEnded(_) => (),
            other => panic!("{other:?}"),
        }
    };
    (sim, world, peer, socket)
}

/// Everything that happens to an echo for a while, as text.
fn story(seed: u64) -> String {
    let (mut sim, _world, peer, socket) = connected(seed, Faults::harsh());
    let mut story = String::new();
    let (mut is_sending, mut read) = (false, 0);
    sim.receive(socket, FIRST);
    for turn in 0..300_u32 {
        let _ = peer.write(&[turn as u8; 700]);
        sim.turn(Some(Duration::from_micros(100))).expect("a turn");
        while let Some(completion) = sim.next() {
            writeln!(story, "{} {completion:?}", sim.now()).expect("room");
            match completion.outcome {
                Outcome::Received(lease) if !is_sending => {
                    is_sending = true;
                    sim.send(socket, FIRST, Outgoing::one(lease.to_vec()));
                }
                Outcome::Sent(..) => is_sending = false,
                Outcome::ReceiveEnded(Some(Errno(libc::ENOBUFS))) => sim.receive(socket, FIRST),
                _ => (),
            }
        }
        read += peer.read().len();
    }
    writeln!(story, "{read}").expect("room");
    story
}

#[test]
fn the_same_seed_tells_the_same_story_and_another_seed_another() {
    let stories: Vec<String> = (0..20).map(story).collect();
    for (seed, told) in stories.iter().enumerate() {
        assert!(*told == story(seed as u64));
        assert!(stories.iter().filter(|other| *other == told).count() == 1);
    }
}

#[test]
fn every_fault_happens() {
    let all: String = (0..200).map(story).collect();
    let has = |what: &str| assert!(all.contains(what), "{what} never came");
    has("ReceiveEnded(Some(Errno(105)))"); // ENOBUFS
    has("ReceiveEnded(Some(Errno(104)))"); // ECONNRESET
    has("Sent(Err(Errno(104))");
    has("Lease(1 bytes)");
}

#[test]
fn time_moves_to_what_happens_next_and_never_waits_for_nothing() {
    let faults = Faults {
        delay_permille: 1000,
        delay_microseconds_max: 1_000_000_000,
        ..Faults::none()
    };
    let mut sim = Sim::new(3, faults);
    let start = sim.now();
    sim.turn(None).expect("a turn without anything to happen");
    assert!(sim.now() - start < 1_000_000);
    sim.turn(Some(Duration::from_secs(3600))).expect("a turn");
    assert!(sim.now() - start >= 3_600_000_000_000);
    let socket = sim
        .open(&Address::Unix("/x".into()), None)
        .expect("a socket");
    sim.connect(socket, FIRST, &Address::Unix("/x".into()));
    let before = sim.now();
    sim.turn(None).expect("a turn");
    assert!(matches!(
        sim.next().expect("late").outcome,
        Outcome::Connected(Err(_))
    ));
    assert!(sim.now() - before > 1_000_000_000, "it came minutes late");
}

#[test]
fn a_silent_address_answers_a_connect_with_nothing_until_it_is_cancelled() {
    let mut sim = Sim::new(1, Faults::none());
    let address = Address::Inet(([10, 0, 0, 1], 80).into());
    sim.world().silence(&address);
    let socket = sim.open(&address, None).expect("a socket");
    sim.connect(socket, FIRST, &address);
    sim.turn(Some(Duration::from_secs(100))).expect("a turn");
    assert!(sim.next().is_none());
    sim.cancel_connect(FIRST);
    sim.turn(None).expect("a turn");
    let outcome = sim.next().expect("the cancel").outcome;
    assert!(matches!(outcome, Outcome::Connected(Err(CANCELED))));
    sim.close(socket, false);
    sim.world().assert_no_leaks();
}

#[test]
fn the_port_connects_to_a_place_of_the_test() {
    let mut sim = Sim::new(1, Faults::none());
    let world = sim.world();
    let address = Address::Inet(([10, 0, 0, 1], 80).into());
    world.listen(&address);
    let socket = sim.open(&address, None).expect("a socket");
    sim.connect(socket, FIRST, &address);
    sim.turn(None).expect("a turn");
    assert!(matches!(
        sim.next().expect("done").outcome,
        Outcome::Connected(Ok(()))
    ));
    let peer = world.accept(&address).expect("the connection");
    assert_eq!(peer.address(), address);
    sim.send(socket, FIRST, Outgoing::one(b"hello".to_vec()));
    sim.turn(None).expect("a turn");
    assert_eq!(peer.read(), b"hello");
}

#[test]
fn a_stalled_peer_lets_the_port_wait_with_the_window_full() {
    let (mut sim, _world, peer, socket) = connected(1, Faults::none());
    peer.stall(true);
    sim.send(socket, FIRST, Outgoing::one(vec![1; 100_000]));
    sim.turn(Some(Duration::from_secs(1))).expect("a turn");
    assert!(sim.next().is_none());
    assert_eq!(peer.read(), []);
    peer.stall(false);
    sim.turn(None).expect("a turn");
    assert!(matches!(
        sim.next().expect("done").outcome,
        Outcome::Sent(Ok(100_000), _)
    ));
    assert_eq!(peer.read().len(), 100_000);
}

#[test]
fn closing_with_bytes_unread_resets_as_tcp_does() {
    let (mut sim, _world, peer, socket) = connected(1, Faults::none());
    peer.write(b"never read").expect("open");
    sim.close(socket, false);
    assert_eq!(peer.closed(), Some(Closed::Reset));
    assert_eq!(peer.write(b"more"), Err(Errno(libc::ECONNRESET)));
}

#[test]
fn writing_to_a_port_that_has_closed_resets_the_peer() {
    let (mut sim, _world, peer, socket) = connected(1, Faults::none());
    sim.close(socket, false);
    assert_eq!(peer.closed(), Some(Closed::Finished));
    assert_eq!(peer.write(b"into the void"), Ok(13));
    assert_eq!(peer.closed(), Some(Closed::Reset));
}

#[test]
fn a_late_cancel_lets_bytes_come_after_it() {
    let faults = Faults {
        late_cancel_permille: 1000,
        delay_microseconds_max: 1_000,
        ..Faults::none()
    };
    let (mut sim, _world, peer, socket) = connected(1, faults);
    sim.receive(socket, FIRST);
    sim.cancel_receive(FIRST);
    peer.write(b"late").expect("open");
    sim.turn(None).expect("a turn");
    assert!(matches!(
        sim.next().expect("bytes").outcome,
        Outcome::Received(_)
    ));
    sim.turn(None).expect("a turn");
    let outcome = sim.next().expect("the end").outcome;
    assert!(matches!(outcome, Outcome::ReceiveEnded(Some(CANCELED))));
}

#[test]
fn a_full_backlog_refuses() {
    let mut sim = Sim::new(1, Faults::none());
    let address = Address::Inet(([127, 0, 0, 1], 80).into());
    sim.listen(&address, 2, false).expect("a listener");
    let world = sim.world();
    let _first = world.connect(&address).expect("room");
    let _second = world.connect(&address).expect("room");
    assert_eq!(
        world.connect(&address).err(),
        Some(Errno(libc::ECONNREFUSED))
    );
}

#[test]
#[should_panic(expected = "two operations Receive outstanding on descriptor")]
fn a_second_receive_panics() {
    let (mut sim, _world, _peer, socket) = connected(1, Faults::none());
    sim.receive(socket, FIRST);
    sim.receive(socket, FIRST);
}

#[test]
#[should_panic(expected = "two operations Receive outstanding on descriptor")]
fn a_second_receive_panics_while_the_end_of_the_first_is_not_taken() {
    let (mut sim, _world, peer, socket) = connected(1, Faults::none());
    sim.receive(socket, FIRST);
    peer.finish();
    sim.turn(None).expect("a turn");
    sim.receive(socket, FIRST);
}

#[test]
#[should_panic(expected = "closed with Send of Token(2) outstanding")]
fn closing_with_a_send_outstanding_panics() {
    let (mut sim, _world, _peer, socket) = connected(1, Faults::none());
    sim.send(socket, FIRST, Outgoing::one(b"x".to_vec()));
    sim.close(socket, false);
}

#[test]
#[should_panic(expected = "is not open")]
fn using_a_closed_descriptor_panics() {
    let (mut sim, _world, _peer, socket) = connected(1, Faults::none());
    sim.close(socket, false);
    sim.shutdown(socket);
}

#[test]
#[should_panic(expected = "leases are not given back; descriptor 3, listening at 127.0.0.1:80")]
fn what_is_left_is_named() {
    let (mut sim, world, peer, socket) = connected(1, Faults::none());
    peer.write(b"kept").expect("open");
    sim.receive(socket, FIRST);
    sim.turn(None).expect("a turn");
    let _kept = sim.next().expect("bytes");
    world.assert_no_leaks();
}
