//! Ports whose turns another loop takes, ports that move to another thread, and forked children.

mod rig;

use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rig::{Driver, Rig, pattern};
use vespiary_port::driver::{Options, Preference};
use vespiary_port::{
    Address, Arrivals, DatagramOptions, Descriptor, Interest, Outcome, Outgoing, Token,
};

const LISTENER: Token = Token(1);
const FIRST: Token = Token(2);
const PATIENCE: Duration = Duration::from_secs(10);

fn rigs(options: &Options) -> impl Iterator<Item = Rig> {
    let drivers = [Preference::Uring, Preference::Epoll];
    drivers
        .into_iter()
        .map(|driver| Rig::new(&Driver::Kernel(driver, options.clone())))
}

fn watched() -> Options {
    Options {
        is_watched: true,
        ..Options::default()
    }
}

fn is_readable(descriptor: Descriptor, timeout: Duration) -> bool {
    let mut poll = libc::pollfd {
        fd: descriptor,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one structure of ours.
    let found = unsafe { libc::poll(&raw mut poll, 1, timeout.as_millis() as i32) };
    found > 0
}

/// Take turns as a guest of another loop does, until `done`.
fn run_as_guest(rig: &mut Rig, mut done: impl FnMut(&mut Rig, Outcome) -> bool) {
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < PATIENCE, "it did not come");
        let rest = rig.port.rest();
        if rest != Some(Duration::ZERO) {
            let descriptor = rig.port.descriptor().expect("it is watched");
            is_readable(descriptor, rest.unwrap_or(PATIENCE).min(PATIENCE));
        }
        rig.port.turn(Some(Duration::ZERO)).expect("a turn");
        while let Some(completion) = rig.port.next() {
            if done(rig, completion.outcome) {
                return;
            }
        }
    }
}

#[test]
fn a_port_is_run_by_a_loop_that_watches_its_descriptor() {
    for mut rig in rigs(&watched()) {
        let (listener, address) = rig.listen();
        rig.port.accept(listener, LISTENER);
        let mut client = rig.connect(&address);
        let mut socket = None;
        run_as_guest(&mut rig, |_, outcome| {
            if let Outcome::Accepted(accepted) = outcome {
                socket = Some(accepted);
            }
            socket.is_some()
        });
        let socket = socket.expect("accepted");
        rig.port.receive(socket, FIRST);
        for round in 0..50 {
            let sent = pattern(round * 100 + 1);
            client.write(&sent);
            let (mut received, mut is_sent) = (Vec::new(), false);
            run_as_guest(&mut rig, |rig, outcome| {
                match outcome {
                    Outcome::Received(lease) => {
                        received.extend_from_slice(&lease);
                        if received.len() == sent.len() {
                            rig.port
                                .send(socket, FIRST, Outgoing::one(received.clone()));
                        }
                    }
                    Outcome::Sent(result, _) => {
                        assert_eq!(result, Ok(sent.len()));
                        is_sent = true;
                    }
                    other => panic!("{other:?}"),
                }
                is_sent
            });
            let mut back = Vec::new();
            while back.len() < sent.len() {
                assert!(client.read(&mut back).is_none());
            }
            assert_eq!(back, sent);
        }
    }
}

#[test]
fn a_descriptor_is_quiet_while_there_is_nothing_to_do() {
    for mut rig in rigs(&watched()) {
        let (listener, address) = rig.listen();
        rig.port.accept(listener, LISTENER);
        let _client = rig.connect(&address);
        run_as_guest(&mut rig, |_, outcome| {
            matches!(outcome, Outcome::Accepted(_))
        });
        while rig.port.rest() == Some(Duration::ZERO) {
            rig.port.turn(Some(Duration::ZERO)).expect("a turn");
            assert!(rig.port.next().is_none());
        }
        let descriptor = rig.port.descriptor().expect("it is watched");
        assert!(!is_readable(descriptor, Duration::from_millis(50)));
        let waker = rig.port.waker();
        std::thread::spawn(move || waker.wake())
            .join()
            .expect("woken");
        assert!(is_readable(descriptor, PATIENCE));
        rig.port.turn(Some(Duration::ZERO)).expect("a turn");
        assert!(rig.port.next().is_none());
        assert_ne!(rig.port.rest(), Some(Duration::ZERO));
        assert!(!is_readable(descriptor, Duration::from_millis(50)));
    }
}

/// A port that other threads may use, one at a time.
struct Moved(Rig);

// SAFETY: the tests hand it from one thread to the next.
unsafe impl Send for Moved {}

fn accept_and_close(mut moved: Moved) -> Moved {
    let rig = &mut moved.0;
    let (listener, address) = rig.listen();
    rig.port.accept(listener, LISTENER);
    let (client, socket) = rig.pair(&address, LISTENER);
    drop(client);
    rig.port.close(socket, false);
    rig.port.cancel_accept(LISTENER);
    rig.until("the end of accepting", |_, completion| {
        matches!(completion.outcome, Outcome::AcceptEnded(_)).then_some(())
    });
    rig.port.close(listener, false);
    moved
}

#[test]
fn a_port_on_which_nothing_is_outstanding_may_be_run_by_another_thread() {
    for rig in rigs(&Options::default()) {
        let mut moved = Moved(rig);
        for _ in 0..3 {
            let thread = std::thread::spawn(|| accept_and_close(moved));
            moved = thread.join().expect("it runs in any thread");
        }
    }
}

#[test]
fn watched_descriptors_and_wake_ups_follow_a_port_to_another_thread() {
    for rig in rigs(&Options::default()) {
        let (ours, _theirs) = UnixStream::pair().expect("a pair");
        let write = Interest {
            read: false,
            write: true,
        };
        let mut moved = accept_and_close(Moved(rig));
        let port = &mut moved.0.port;
        port.poll(ours.as_raw_fd(), FIRST, write).expect("a socket");
        port.waker().wake();
        let moved = std::thread::spawn(move || {
            let mut moved = moved;
            let ready = moved.0.until("readiness", |_, completion| {
                matches!(completion.outcome, Outcome::Ready(_)).then_some(completion.token)
            });
            assert_eq!(ready, FIRST);
            moved.0.port.unpoll(ours.as_raw_fd(), FIRST);
            moved.0.port.waker().wake();
            moved.0.port.turn(None).expect("woken");
            moved
        });
        drop(moved.join().expect("it runs"));
    }
}

#[test]
fn a_forked_child_does_not_keep_the_address_of_a_listener() {
    for mut rig in rigs(&Options::default()) {
        let (listener, address) = rig.listen();
        rig.port.accept(listener, LISTENER);
        rig.step();
        // SAFETY: no pointers. The child only waits and leaves.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: both are safe after a fork.
            unsafe {
                libc::sleep(30);
                libc::_exit(0);
            }
        }
        rig.end(listener, LISTENER);
        let vespiary_port::Address::Inet(address) = address else {
            panic!("an address")
        };
        let again = TcpListener::bind(address);
        // SAFETY: the child is ours, and is waited for.
        unsafe {
            libc::kill(child, libc::SIGKILL);
            libc::waitpid(child, std::ptr::null_mut(), 0);
        }
        again.expect("the address is free");
    }
}

#[test]
fn datagrams_wake_a_guest_each_time() {
    for mut rig in rigs(&watched()) {
        let any = Address::Inet(([127, 0, 0, 1], 0).into());
        let socket = rig.port.bind(&any, &DatagramOptions::default());
        let socket = socket.expect("a socket");
        rig.port.watch_datagrams(socket, FIRST).expect("a watch");
        let Address::Inet(address) = rig.port.local_address(socket).expect("an address") else {
            panic!("an internet address")
        };
        let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let mut batch = Arrivals::default();
        for _ in 0..5 {
            client.send_to(b"hello", address).expect("sent");
            run_as_guest(&mut rig, |rig, outcome| {
                assert!(matches!(outcome, Outcome::Ready(it) if it.read));
                let received = rig.port.receive_datagrams(socket, &mut batch, 100);
                received.expect("a batch");
                !batch.is_empty()
            });
        }
        rig.port.unwatch_datagrams(socket, FIRST);
        rig.port.close(socket, false);
    }
}
