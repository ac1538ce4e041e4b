//! What holds for the kernel's drivers alone: small queues, files of Unix sockets, ends in a hurry.

mod rig;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::os::fd::IntoRawFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use rig::{CANCELED, Directory, Driver, Rig, pattern};
use vespiary_port::driver::{Options, Preference};
use vespiary_port::{Address, Errno, Interest, Outcome, Outgoing, Token};

const LISTENER: Token = Token(1);
const FIRST: Token = Token(2);
const SECOND: Token = Token(3);

fn rigs(options: &Options) -> impl Iterator<Item = Rig> {
    let drivers = [Preference::Uring, Preference::Epoll];
    drivers
        .into_iter()
        .map(|driver| Rig::new(&Driver::Kernel(driver, options.clone())))
}

#[test]
fn queues_far_smaller_than_the_load_lose_nothing() {
    let options = Options {
        buffers: 4,
        submission_entries: 4,
        completion_entries: 8,
        epoll_buffers: 1,
        events_a_turn: 3,
        ..Options::default()
    };
    for mut rig in rigs(&options) {
        let (listener, address) = rig.listen();
        rig.port.accept(listener, LISTENER);
        let mut clients: Vec<_> = (0..300).map(|_| rig.connect(&address)).collect();
        for client in &mut clients {
            assert_eq!(client.write(b"ping"), 4);
            client.finish();
        }
        let (mut bytes, mut ended, mut sent) = (0, 0, 0);
        rig.pump_owned("three hundred ends", |rig, completions| {
            for completion in completions {
                let socket = completion.token.0 as i32;
                match completion.outcome {
                    Outcome::Accepted(socket) => {
                        rig.port.receive(socket, Token(socket as u64 | 1 << 40));
                        let pong = Outgoing::one(b"pong".to_vec());
                        rig.port.send(socket, Token(socket as u64 | 1 << 40), pong);
                    }
                    Outcome::Received(lease) => bytes += lease.len(),
                    Outcome::ReceiveEnded(Some(Errno(libc::ENOBUFS))) => {
                        rig.port.receive(socket, completion.token);
                    }
                    Outcome::ReceiveEnded(None) => ended += 1,
                    Outcome::Sent(Ok(4), _) => sent += 1,
                    other => panic!("{other:?}"),
                }
            }
            (bytes, ended, sent) == (1200, 300, 300)
        });
        for client in &mut clients {
            let mut read = Vec::new();
            assert_eq!((client.read(&mut read), &read[..]), (None, &b"pong"[..]));
        }
        rig.port.cancel_accept(LISTENER);
        rig.until("the end", |_, completion| {
            matches!(completion.outcome, Outcome::AcceptEnded(_)).then_some(())
        });
    }
}

#[test]
fn a_listener_that_was_handed_over_serves_whether_it_blocks_or_not() {
    for nonblocking in [false, true] {
        for mut rig in rigs(&Options::default()) {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
            listener.set_nonblocking(nonblocking).expect("a socket");
            let address = Address::Inet(listener.local_addr().expect("an address"));
            let listener = listener.into_raw_fd();
            rig.port.accept(listener, LISTENER);
            rig.expect_nothing();
            let (mut client, socket) = rig.pair(&address, LISTENER);
            rig.port.receive(socket, FIRST);
            assert_eq!(client.write(b"hello"), 5);
            rig.until("the bytes", |_, completion| {
                matches!(completion.outcome, Outcome::Received(_)).then_some(())
            });
            rig.port.cancel_receive(FIRST);
            rig.until("the cancel", |_, completion| {
                matches!(completion.outcome, Outcome::ReceiveEnded(Some(CANCELED))).then_some(())
            });
            rig.port.close(socket, false);
            rig.end(listener, LISTENER);
        }
    }
}

#[test]
fn a_connect_in_flight_is_cancelled() {
    for mut rig in rigs(&Options::default()) {
        // A listener whose queue is full answers no more, and the kernel tries again for minutes.
        let any = Address::Inet(([127, 0, 0, 1], 0).into());
        let listener = rig.port.listen(&any, 0, false).expect("a listener");
        let address = rig.port.local_address(listener).expect("an address");
        let sockets: Vec<_> = (0..4)
            .map(|_| rig.port.open(&address, None).expect("a socket"))
            .collect();
        for socket in &sockets {
            rig.port.connect(*socket, Token(*socket as u64), &address);
        }
        let mut left = sockets.clone();
        for _ in 0..20 {
            for completion in rig.step() {
                assert!(matches!(completion.outcome, Outcome::Connected(Ok(()))));
                left.retain(|socket| Token(*socket as u64) != completion.token);
            }
        }
        assert!(
            !left.is_empty() && left.len() < sockets.len(),
            "{} wait",
            left.len()
        );
        for socket in left {
            rig.port.cancel_connect(Token(socket as u64));
            let outcome = rig.until("the cancel", |_, completion| Some(completion.outcome));
            assert!(
                matches!(outcome, Outcome::Connected(Err(CANCELED))),
                "{outcome:?}"
            );
        }
        rig.expect_nothing();
        for socket in sockets {
            rig.port.close(socket, false);
        }
        rig.port.close(listener, false);
    }
}

#[test]
fn a_lease_may_outlive_its_port() {
    for mut rig in rigs(&Options::default()) {
        let (listener, address) = rig.listen();
        rig.port.accept(listener, LISTENER);
        let (mut client, socket) = rig.pair(&address, LISTENER);
        rig.port.receive(socket, FIRST);
        assert_eq!(client.write(b"kept"), 4);
        let lease = rig.until("the bytes", |_, completion| match completion.outcome {
            Outcome::Received(lease) => Some(lease),
            _ => None,
        });
        drop(rig);
        assert_eq!(&lease[..], b"kept");
    }
}

#[test]
fn a_port_may_be_dropped_with_everything_in_flight() {
    for mut rig in rigs(&Options::default()) {
        let (listener, address) = rig.listen();
        rig.port.accept(listener, LISTENER);
        let (mut client, socket) = rig.pair(&address, LISTENER);
        rig.port.receive(socket, FIRST);
        rig.port
            .send(socket, FIRST, Outgoing::one(pattern(50_000_000)));
        let other = rig.port.open(&address, None).expect("a socket");
        rig.port.connect(other, SECOND, &address);
        let (watched, _) = UnixStream::pair().expect("a pair");
        let read = Interest {
            read: true,
            write: false,
        };
        let polled = rig.port.poll(watched.as_raw_fd(), Token(9), read);
        polled.expect("a socket");
        rig.step();
        client.write(b"unread");
        drop(rig);
    }
    for rig in rigs(&Options::default()) {
        drop(rig); // Never turned.
    }
}

#[test]
fn a_forked_child_that_keeps_a_closed_connection_does_not_keep_epoll_busy() {
    let mut rig = Rig::new(&Driver::named("epoll"));
    let (listener, address) = rig.listen();
    rig.port.accept(listener, LISTENER);
    let (mut client, socket) = rig.pair(&address, LISTENER);
    rig.port.receive(socket, FIRST);
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
    rig.port.cancel_receive(FIRST);
    rig.until("the cancel", |_, completion| {
        matches!(completion.outcome, Outcome::ReceiveEnded(_)).then_some(())
    });
    rig.port.close(socket, false);
    assert_eq!(client.write(b"to the child"), 12);
    for _ in 0..50 {
        rig.step();
    }
    let before = rig.port.now();
    rig.port
        .turn(Some(Duration::from_millis(50)))
        .expect("a turn");
    assert!(
        rig.port.now() - before >= 50_000_000,
        "a turn is not cut short"
    );
    let (_again, other) = rig.pair(&address, LISTENER);
    // SAFETY: the child is ours, and is waited for.
    unsafe {
        libc::kill(child, libc::SIGKILL);
        libc::waitpid(child, std::ptr::null_mut(), 0);
    }
    rig.port.close(other, false);
    rig.end(listener, LISTENER);
}

#[test]
fn the_file_of_a_unix_listener_goes_with_it_and_a_stale_one_is_replaced() {
    for mut rig in rigs(&Options::default()) {
        let directory = Directory::new();
        let path = directory.path().join("nest.sock");
        let address = Address::Unix(path.clone());
        drop(UnixListener::bind(&path).expect("a server that leaves its file"));
        assert!(path.exists());
        let listener = rig
            .port
            .listen(&address, 16, false)
            .expect("the stale file is replaced");
        let second = rig
            .port
            .listen(&address, 16, false)
            .expect_err("a live one is not");
        assert_eq!(second.raw_os_error(), Some(libc::EADDRINUSE));
        drop(std::os::unix::net::UnixStream::connect(&path).expect("still served"));
        rig.port.close(listener, false);
        assert!(!path.exists());
    }
}

#[test]
fn the_file_of_a_server_too_busy_to_answer_is_left_alone() {
    for mut rig in rigs(&Options::default()) {
        let directory = Directory::new();
        let path = directory.path().join("busy.sock");
        let address = Address::Unix(path.clone());
        let listener = rig.port.listen(&address, 0, false).expect("a server");
        let sockets: Vec<_> = (0..4)
            .map(|_| rig.port.open(&address, None).expect("a socket"))
            .collect();
        for socket in &sockets {
            rig.port.connect(*socket, Token(*socket as u64), &address);
        }
        rig.step();
        let error = rig.port.listen(&address, 16, false).expect_err("in use");
        assert_eq!(error.raw_os_error(), Some(libc::EADDRINUSE));
        assert!(path.exists());
        drop(rig);
        // SAFETY: the descriptors are ours, and the port that used them is gone.
        sockets.iter().chain([&listener]).for_each(|socket| unsafe {
            libc::close(*socket);
        });
    }
}

#[test]
fn what_is_asked_for_before_the_first_turn_happens_in_its_order() {
    let options = Options {
        submission_entries: 4,
        ..Options::default()
    };
    for mut rig in rigs(&options) {
        let listeners: Vec<_> = (0..20).map(|_| rig.listen().0).collect();
        for (number, listener) in listeners.iter().enumerate() {
            rig.port.accept(*listener, Token(number as u64));
        }
        for number in 0..listeners.len() {
            rig.port.cancel_accept(Token(number as u64));
        }
        let mut ended = 0;
        rig.pump("every end", |_, completions| {
            for completion in completions {
                assert!(matches!(completion.outcome, Outcome::AcceptEnded(CANCELED)));
                ended += 1;
            }
            ended == listeners.len()
        });
        for listener in listeners {
            rig.port.close(listener, false);
        }
    }
}

#[test]
fn a_file_that_is_not_a_dead_socket_of_ours_is_left_alone() {
    for mut rig in rigs(&Options::default()) {
        let directory = Directory::new();
        let path = directory.path().join("precious");
        let address = Address::Unix(path.clone());
        std::fs::write(&path, "data").expect("a file");
        let error = rig
            .port
            .listen(&address, 16, false)
            .expect_err("not a socket");
        assert_eq!(error.raw_os_error(), Some(libc::EADDRINUSE));
        assert_eq!(std::fs::read(&path).expect("the file"), b"data");
        std::fs::remove_file(&path).expect("removed");
        // Another process has put its socket in the place of ours.
        let listener = rig.port.listen(&address, 16, false).expect("a listener");
        std::fs::remove_file(&path).expect("removed");
        let _theirs = UnixListener::bind(&path).expect("theirs");
        rig.port.close(listener, false);
        assert!(
            std::fs::metadata(&path)
                .expect("theirs")
                .file_type()
                .is_socket()
        );
    }
}

#[test]
fn an_abstract_unix_listener_serves() {
    for mut rig in rigs(&Options::default()) {
        let name = format!("vespiary-{}-{}", std::process::id(), rig.port.name());
        let address = Address::Abstract(name.into_bytes());
        let listener = rig.port.listen(&address, 16, false).expect("a listener");
        assert_eq!(
            rig.port.local_address(listener).expect("an address"),
            address
        );
        rig.port.accept(listener, LISTENER);
        let (mut client, socket) = rig.pair(&address, LISTENER);
        let back = rig.send_while(socket, FIRST, Outgoing::one(b"hello".to_vec()), || true);
        let mut read = Vec::new();
        assert_eq!((client.read(&mut read), back.is_done()), (None, true));
        assert_eq!(read, b"hello");
        rig.port.close(socket, false);
        rig.end(listener, LISTENER);
    }
}

#[test]
fn a_port_that_spins_serves_and_wakes() {
    let options = Options {
        spin_microseconds: 200,
        ..Options::default()
    };
    for mut rig in rigs(&options) {
        let (listener, address) = rig.listen();
        rig.port.accept(listener, LISTENER);
        let Address::Inet(to) = address else {
            panic!("an internet address")
        };
        let client = std::thread::spawn(move || {
            let mut stream = TcpStream::connect(to).expect("a connection");
            for round in 0..100_u8 {
                stream.write_all(&[round]).expect("open");
                let mut echo = [0];
                stream.read_exact(&mut echo).expect("an echo");
                assert_eq!(echo, [round]);
            }
        });
        let mut socket = -1;
        rig.until("the client's end", |rig, completion| {
            match completion.outcome {
                Outcome::Accepted(accepted) => {
                    socket = accepted;
                    rig.port.receive(socket, FIRST);
                }
                Outcome::Received(lease) => {
                    rig.port.send(socket, FIRST, Outgoing::one(lease.to_vec()));
                }
                Outcome::Sent(Ok(1), _) => (),
                Outcome::ReceiveEnded(None) => return Some(()),
                other => panic!("{other:?}"),
            }
            None
        });
        client.join().expect("every echo");
        rig.port.waker().wake();
        rig.port.turn(None).expect("a turn");
        rig.port.close(socket, false);
        rig.end(listener, LISTENER);
    }
}

#[test]
fn a_reset_behind_bytes_is_reported() {
    const COUNT: usize = 600;
    for mut rig in rigs(&Options::default()) {
        let (listener, address) = rig.listen();
        rig.port.accept(listener, LISTENER);
        let pairs: Vec<_> = (0..COUNT).map(|_| rig.pair(&address, LISTENER)).collect();
        for (_, socket) in &pairs {
            rig.port.receive(*socket, Token(*socket as u64));
        }
        rig.step();
        // Both arrive before the port's next turn.
        for (mut client, _) in pairs {
            assert_eq!(client.write(b"last words"), 10);
            client.reset();
        }
        let mut told = 0;
        rig.pump_owned("all resets", |rig, completions| {
            for completion in completions {
                let socket = completion.token.0 as i32;
                match completion.outcome {
                    Outcome::Received(lease) => assert_eq!(&lease[..], b"last words"),
                    Outcome::ReceiveEnded(Some(Errno(libc::ENOBUFS))) => {
                        rig.port.receive(socket, completion.token);
                    }
                    Outcome::ReceiveEnded(Some(Errno(libc::ECONNRESET))) => {
                        rig.port.close(socket, false);
                        told += 1;
                    }
                    other => panic!("{other:?}"),
                }
            }
            told == COUNT
        });
        rig.end(listener, LISTENER);
    }
}

/// A kernel that caps no receive has its bound in the buffers.
#[test]
fn a_peer_that_only_pumps_brings_a_bounded_piece_a_turn() {
    let options = Options::default();
    let piece_max = if has_capped_receives() {
        512 << 10
    } else {
        usize::from(options.buffers) * options.buffer_bytes as usize
    };
    for mut rig in rigs(&options) {
        let (listener, address) = rig.listen();
        rig.port.accept(listener, LISTENER);
        let Address::Inet(address) = address else {
            panic!("an internet address")
        };
        let pump = thread::spawn(move || {
            let mut client = TcpStream::connect(address).expect("a connection");
            while client.write_all(&[7; 16 << 10]).is_ok() {}
        });
        let socket = rig.until("the connection", |_, completion| match completion.outcome {
            Outcome::Accepted(socket) => Some(socket),
            _ => None,
        });
        rig.port.receive(socket, FIRST);
        let (mut total, mut most) = (0, 0);
        while total < 64 << 20 {
            let mut piece = 0;
            for completion in rig.step() {
                match completion.outcome {
                    Outcome::Received(lease) => piece += lease.len(),
                    Outcome::ReceiveEnded(Some(Errno(libc::ENOBUFS))) => {
                        rig.port.receive(socket, FIRST);
                    }
                    other => panic!("{other:?}"),
                }
            }
            total += piece;
            most = most.max(piece);
        }
        assert!(most <= piece_max, "{}: {most}", rig.port.name());
        rig.port.cancel_receive(FIRST);
        rig.until("the end of receiving", |_, completion| {
            matches!(completion.outcome, Outcome::ReceiveEnded(_)).then_some(())
        });
        rig.port.close(socket, true);
        pump.join().expect("the pump ends");
        rig.end(listener, LISTENER);
    }
}

fn has_capped_receives() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("Linux");
    let mut numbers = release
        .split(['.', '-'])
        .map(|part| part.parse().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(17))
}
