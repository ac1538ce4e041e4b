//! The simulation beside the kernel's descriptors: when its time jumps, and when it waits.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use vespiary_port::sim::{Faults, Hosted};
use vespiary_port::{Address, Interest, Outcome, Port, Token};

const WATCH: Token = Token(7);
const HOUR: Duration = Duration::from_secs(3600);
const READ: Interest = Interest {
    read: true,
    write: false,
};

fn hosted() -> Hosted {
    Hosted::new(1, Faults::none()).expect("a port")
}

#[test]
fn time_jumps_to_the_timeout_where_nothing_else_can_happen() {
    let mut port = hosted();
    let (began, before) = (Instant::now(), port.now());
    port.turn(Some(HOUR)).expect("a turn");
    assert!(port.now() - before >= 3_600_000_000_000);
    assert!(began.elapsed() < HOUR / 60);
}

#[test]
fn a_ready_descriptor_ends_a_turn_before_time_jumps() {
    let mut port = hosted();
    let (mut theirs, ours) = UnixStream::pair().expect("a pair");
    theirs.write_all(b"x").expect("room");
    port.poll(ours.as_raw_fd(), WATCH, READ).expect("a socket");
    let before = port.now();
    port.turn(Some(HOUR)).expect("a turn");
    let completion = port.next().expect("a completion");
    assert_eq!(completion.token, WATCH);
    assert!(matches!(completion.outcome, Outcome::Ready(ready) if ready == READ));
    assert!(port.now() - before < 1_000_000);
    port.unpoll(ours.as_raw_fd(), WATCH);
    port.turn(Some(Duration::ZERO)).expect("a turn");
    assert!(port.next().is_none());
}

#[test]
fn a_turn_without_timeout_waits_for_another_thread() {
    let mut port = hosted();
    for _ in 0..3 {
        let waker = port.waker();
        let other = thread::spawn(move || waker.wake());
        port.turn(None).expect("a turn");
        other.join().expect("a thread");
    }
}

#[test]
fn time_runs_at_its_real_speed_while_it_is_held() {
    let mut port = hosted();
    let hold = port.hold();
    hold.take();
    let waker = port.waker();
    let before = port.now();
    let other = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        waker.wake();
    });
    port.turn(Some(HOUR)).expect("a turn");
    other.join().expect("a thread");
    assert!(port.now() - before < 60_000_000_000);
    hold.release();
    port.turn(Some(HOUR)).expect("a turn");
    assert!(port.now() - before >= 3_600_000_000_000);
}

#[test]
fn a_listener_on_all_addresses_is_reached_under_each() {
    let mut port = hosted();
    let listening: Address = Address::Inet("[::]:80".parse().expect("an address"));
    let listener = port.listen(&listening, 8, false).expect("a listener");
    port.accept(listener, Token(1));
    for (number, address) in ["127.0.0.1:80", "10.1.2.3:80", "[::1]:80"]
        .iter()
        .enumerate()
    {
        let address = Address::Inet(address.parse().expect("an address"));
        let socket = port.open(&address, None).expect("a socket");
        port.connect(socket, Token(10 + number as u64), &address);
    }
    let (mut accepted, mut connected) = (0, 0);
    for _ in 0..10 {
        port.turn(Some(Duration::ZERO)).expect("a turn");
        while let Some(completion) = port.next() {
            match completion.outcome {
                Outcome::Accepted(_) => accepted += 1,
                Outcome::Connected(result) => {
                    result.expect("a connection");
                    connected += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!((accepted, connected), (3, 3));
}
