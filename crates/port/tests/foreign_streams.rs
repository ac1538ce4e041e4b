//! What the driver on io_uring does for sockets that belong to its caller.

mod rig;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use rig::{Driver, Rig, pattern};
use vespiary_port::{Errno, Outcome, Token};

const TOKEN: Token = Token(7);

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a listener");
    let ours = TcpStream::connect(listener.local_addr().expect("its address")).expect("connecting");
    let (theirs, _) = listener.accept().expect("accepting");
    ours.set_nonblocking(true).expect("not blocking");
    theirs
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a timeout");
    (ours, theirs)
}

fn rig() -> Rig {
    let mut rig = Rig::new(&Driver::named("uring"));
    assert!(rig.port.serves_foreign_streams());
    // The first turn takes the ring for this thread.
    rig.port.turn(Some(Duration::ZERO)).expect("a turn");
    rig
}

#[test]
fn epoll_leaves_such_sockets_to_its_caller() {
    let mut rig = Rig::new(&Driver::named("epoll"));
    assert!(!rig.port.serves_foreign_streams());
    let (ours, _theirs) = pair();
    assert!(!rig.port.send_once(ours.as_raw_fd(), TOKEN, b"bytes"));
    assert!(!rig.port.has_unsent());
}

#[test]
fn one_system_call_sends_to_many_sockets_and_receives_from_them() {
    let mut rig = rig();
    let mut pairs: Vec<_> = (0..50).map(|_| pair()).collect();
    for (number, (ours, _)) in pairs.iter().enumerate() {
        rig.port.receive(ours.as_raw_fd(), Token(number as u64));
    }
    rig.port.turn(Some(Duration::ZERO)).expect("a turn");
    let before = rig.port.counters().system_calls;
    for (number, (ours, theirs)) in pairs.iter_mut().enumerate() {
        theirs.write_all(b"question").expect("writing");
        let token = Token(number as u64);
        assert!(rig.port.send_once(ours.as_raw_fd(), token, b"answer"));
    }
    assert!(rig.port.has_unsent());
    rig.port
        .turn(Some(Duration::from_secs(10)))
        .expect("a turn");
    assert!(!rig.port.has_unsent());
    assert_eq!(rig.port.counters().system_calls, before + 1);
    let mut received = 0;
    while let Some(completion) = rig.port.next() {
        match completion.outcome {
            Outcome::Received(lease) => {
                assert_eq!(&*lease, b"question");
                received += 1;
            }
            // There are fewer buffers than sockets at first.
            Outcome::ReceiveEnded(Some(Errno::NO_BUFFER)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(received > 1);
    for (_, theirs) in &mut pairs {
        let mut answer = [0; 6];
        theirs.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"answer");
    }
}

#[test]
fn a_send_that_finds_too_little_room_says_how_much_went_and_is_over() {
    let mut rig = rig();
    let (ours, mut theirs) = pair();
    let bytes = pattern(16 << 10);
    let mut sent = Vec::new();
    let rest = loop {
        assert!(rig.port.send_once(ours.as_raw_fd(), TOKEN, &bytes));
        rig.port.turn(Some(Duration::ZERO)).expect("a turn");
        match rig.port.next().map(|it| it.outcome) {
            None => sent.extend_from_slice(&bytes),
            Some(Outcome::SentInPart(Ok(count))) => break count,
            Some(Outcome::SentInPart(Err(Errno(libc::EAGAIN)))) => break 0,
            other => panic!("{other:?}"),
        }
    };
    assert!(rest < bytes.len());
    sent.extend_from_slice(&bytes[..rest]);
    let mut received = vec![0; sent.len()];
    theirs.read_exact(&mut received).expect("what was sent");
    assert!(received == sent);
    // The room that is there now is not used by what was reported as not sent.
    rig.port.turn(Some(Duration::ZERO)).expect("a turn");
    theirs.set_nonblocking(true).expect("not blocking");
    let more = theirs.read(&mut [0; 8]).map_err(|error| error.kind());
    assert_eq!(more, Err(std::io::ErrorKind::WouldBlock));
}

#[test]
fn a_send_on_a_broken_socket_is_an_error() {
    let mut rig = rig();
    let (ours, theirs) = pair();
    ours.shutdown(std::net::Shutdown::Write)
        .expect("shutting down");
    assert!(rig.port.send_once(ours.as_raw_fd(), TOKEN, b"bytes"));
    rig.port.turn(Some(Duration::ZERO)).expect("a turn");
    let completion = rig.port.next().expect("a completion");
    assert_eq!(completion.token, TOKEN);
    let is_broken = matches!(
        completion.outcome,
        Outcome::SentInPart(Err(Errno(libc::EPIPE)))
    );
    assert!(is_broken, "{:?}", completion.outcome);
    drop(theirs);
}

#[test]
fn there_is_a_limit_to_the_bytes_of_a_turn() {
    let mut rig = rig();
    let (ours, theirs) = pair();
    let bytes = pattern(64 << 10);
    let mut taken = 0;
    while rig.port.send_once(ours.as_raw_fd(), TOKEN, &bytes) {
        taken += 1;
        assert!(taken < 100);
    }
    assert_eq!(taken, 4);
    rig.port.submit();
    assert!(!rig.port.has_unsent());
    assert!(rig.port.send_once(ours.as_raw_fd(), TOKEN, &bytes));
    drop(theirs);
}
