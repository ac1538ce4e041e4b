//! What every driver promises, tried on each: `uring`, `epoll` and `sim`. Sending is in
//! `sending.rs`, foreign descriptors and wake-ups are in `watching.rs`.

use std::time::{Duration, Instant};

use crate::rig::{CANCELED, Driver, Rig, pattern};
use vespiary_port::{Address, Errno, Outcome, Outgoing, Token};

const LISTENER: Token = Token(1);
const FIRST: Token = Token(2);
const SECOND: Token = Token(3);

contract!(
    connections_are_accepted_until_a_cancel_which_is_reported_once,
    bytes_arrive_in_order_and_the_end_comes_last,
    a_kept_lease_is_not_overwritten_and_without_buffers_receiving_ends_with_enobufs,
    a_cancelled_receive_ends_once_and_can_begin_again,
    bytes_that_come_while_receiving_is_paused_are_not_lost,
    a_cancel_of_what_has_ended_changes_nothing,
    a_connect_that_is_refused_says_so,
    a_connect_completes_and_bytes_flow_both_ways,
    a_peers_reset_ends_the_receive_and_fails_the_next_send,
    a_turn_without_work_waits_for_its_timeout,
    a_turn_of_no_time_does_not_wait,
    a_wake_before_a_turn_ends_it_at_once,
    a_wake_within_a_batch_ends_the_next_turn,
    an_address_in_use_is_refused,
    addresses_of_both_ends_are_reported,
    a_thousand_connections_are_served_together,
    a_listener_at_a_unix_path_serves,
);

fn connections_are_accepted_until_a_cancel_which_is_reported_once(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (listener, address) = rig.listen();
    rig.port.accept(listener, LISTENER);
    let (_first, one) = rig.pair(&address, LISTENER);
    let (_second, two) = rig.pair(&address, LISTENER);
    assert_ne!(one, two);
    rig.port.close(one, false);
    rig.port.close(two, false);
    rig.port.cancel_accept(LISTENER);
    let ended = rig.until("the end", |_, completion| match completion.outcome {
        Outcome::AcceptEnded(errno) => Some((completion.token, errno)),
        _ => None,
    });
    assert_eq!(ended, (LISTENER, CANCELED));
    let _third = rig.connect(&address);
    rig.expect_nothing();
    rig.port.accept(listener, LISTENER);
    let socket = rig.until("the waiting connection", |_, completion| {
        match completion.outcome {
            Outcome::Accepted(socket) => Some(socket),
            _ => None,
        }
    });
    rig.port.close(socket, false);
    rig.end(listener, LISTENER);
}

fn bytes_arrive_in_order_and_the_end_comes_last(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (listener, address) = rig.listen();
    rig.port.accept(listener, LISTENER);
    let (mut client, socket) = rig.pair(&address, LISTENER);
    rig.port.receive(socket, FIRST);
    let bytes = pattern(1_000_000);
    let (mut written, mut received, mut ended) = (0, Vec::new(), false);
    rig.pump("the end", |rig, completions| {
        for completion in completions {
            assert!(!ended, "nothing comes after the end");
            match &completion.outcome {
                Outcome::Received(lease) => received.extend_from_slice(lease),
                Outcome::ReceiveEnded(None) => ended = true,
                Outcome::ReceiveEnded(Some(Errno(libc::ENOBUFS))) => {
                    rig.port.receive(socket, FIRST);
                }
                other => panic!("{other:?}"),
            }
        }
        if written < bytes.len() {
            written += client.write(&bytes[written..]);
            if written == bytes.len() {
                client.finish();
            }
        }
        ended
    });
    assert!(received == bytes);
    rig.port.close(socket, false);
    rig.end(listener, LISTENER);
}

fn a_kept_lease_is_not_overwritten_and_without_buffers_receiving_ends_with_enobufs(
    driver: &Driver,
) {
    let mut rig = Rig::new(&driver.clone().with_buffers(2));
    let (listener, address) = rig.listen();
    rig.port.accept(listener, LISTENER);
    let (mut client, socket) = rig.pair(&address, LISTENER);
    rig.port.receive(socket, FIRST);
    let mut kept = Vec::new();
    for letter in [b"a", b"b"] {
        assert_eq!(client.write(letter), 1);
        kept.push(
            rig.until("a byte", |_, completion| match completion.outcome {
                Outcome::Received(lease) => Some(lease),
                other => panic!("{other:?}"),
            }),
        );
    }
    assert_eq!(client.write(b"c"), 1);
    let ended = rig.until("the lack", |_, completion| match completion.outcome {
        Outcome::ReceiveEnded(ended) => Some(ended),
        other => panic!("{other:?}"),
    });
    assert_eq!(ended, Some(Errno(libc::ENOBUFS)));
    assert_eq!(rig.port.counters().buffers_exhausted, 1);
    assert_eq!((&kept[0][..], &kept[1][..]), (&b"a"[..], &b"b"[..]));
    kept.clear();
    rig.port.receive(socket, FIRST);
    rig.until("the third byte", |_, completion| match completion.outcome {
        Outcome::Received(lease) => (lease[..] == *b"c").then_some(()),
        other => panic!("{other:?}"),
    });
    rig.port.cancel_receive(FIRST);
    rig.until("the cancel", |_, completion| {
        matches!(completion.outcome, Outcome::ReceiveEnded(Some(CANCELED))).then_some(())
    });
    rig.port.close(socket, false);
    rig.end(listener, LISTENER);
}

fn a_cancelled_receive_ends_once_and_can_begin_again(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (listener, address) = rig.listen();
    rig.port.accept(listener, LISTENER);
    let (mut client, socket) = rig.pair(&address, LISTENER);
    for round in 0..20_u8 {
        rig.port.receive(socket, FIRST);
        assert_eq!(client.write(&[round]), 1);
        rig.until("the byte", |_, completion| match completion.outcome {
            Outcome::Received(lease) => (lease[..] == [round]).then_some(()),
            other => panic!("{other:?}"),
        });
        rig.port.cancel_receive(FIRST);
        rig.port.cancel_receive(FIRST);
        let ended = rig.until("the end", |_, completion| match completion.outcome {
            Outcome::ReceiveEnded(ended) => Some((completion.token, ended)),
            other => panic!("{other:?}"),
        });
        assert_eq!(ended, (FIRST, Some(CANCELED)));
    }
    rig.expect_nothing();
    rig.port.close(socket, false);
    rig.end(listener, LISTENER);
}

fn bytes_that_come_while_receiving_is_paused_are_not_lost(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (listener, address) = rig.listen();
    rig.port.accept(listener, LISTENER);
    let (mut client, socket) = rig.pair(&address, LISTENER);
    rig.port.receive(socket, FIRST);
    rig.expect_nothing();
    rig.port.cancel_receive(FIRST);
    // A cancel is a request: bytes may still come before the end.
    assert_eq!(client.write(b"while paused"), 12);
    let mut received = Vec::new();
    let first_end = rig.receive_to_the_end(&mut received);
    assert_eq!(first_end, Some(CANCELED));
    client.finish();
    rig.expect_nothing();
    rig.port.receive(socket, FIRST);
    assert_eq!(rig.receive_to_the_end(&mut received), None);
    assert_eq!(received, b"while paused");
    rig.port.close(socket, false);
    rig.end(listener, LISTENER);
}

fn a_cancel_of_what_has_ended_changes_nothing(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (listener, address) = rig.listen();
    for token in [LISTENER, FIRST, SECOND] {
        rig.port.cancel_accept(token);
        rig.port.cancel_receive(token);
        rig.port.cancel_send(token);
        rig.port.cancel_connect(token);
    }
    rig.expect_nothing();
    rig.port.accept(listener, LISTENER);
    let (mut client, socket) = rig.pair(&address, LISTENER);
    rig.port.receive(socket, FIRST);
    client.finish();
    assert_eq!(rig.receive_to_the_end(&mut Vec::new()), None);
    rig.port.cancel_receive(FIRST);
    let (read, _) = rig.exchange(socket, FIRST, &mut client, Outgoing::one(b"sent".to_vec()));
    rig.port.cancel_send(FIRST);
    rig.expect_nothing();
    assert_eq!(read, b"sent");
    rig.port.close(socket, false);
    rig.end(listener, LISTENER);
}

fn a_connect_that_is_refused_says_so(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (listener, address) = rig.listen();
    rig.port.close(listener, false);
    let socket = rig.port.open(&address, None).expect("a socket");
    rig.port.connect(socket, FIRST, &address);
    let result = rig.until("the refusal", |_, completion| match completion.outcome {
        Outcome::Connected(result) => Some((completion.token, result)),
        other => panic!("{other:?}"),
    });
    assert_eq!(result, (FIRST, Err(Errno(libc::ECONNREFUSED))));
    rig.port.close(socket, false);
    rig.expect_nothing();
}

fn a_connect_completes_and_bytes_flow_both_ways(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (listener, address) = rig.listen();
    rig.port.accept(listener, LISTENER);
    let any = Address::Inet(([127, 0, 0, 1], 0).into());
    let ours = rig.port.open(&address, Some(&any)).expect("a socket");
    rig.port.connect(ours, FIRST, &address);
    let (mut theirs, mut is_connected) = (None, false);
    rig.pump("both ends", |_, completions| {
        for completion in completions {
            match completion.outcome {
                Outcome::Accepted(socket) => theirs = Some(socket),
                Outcome::Connected(Ok(())) => is_connected = completion.token == FIRST,
                ref other => panic!("{other:?}"),
            }
        }
        theirs.is_some() && is_connected
    });
    let theirs = theirs.expect("accepted");
    let here = rig.port.local_address(ours).expect("an address");
    assert_eq!(rig.port.peer_address(theirs).expect("an address"), here);
    for (from, sender, to, receiver) in
        [(ours, FIRST, theirs, SECOND), (theirs, SECOND, ours, FIRST)]
    {
        rig.port.receive(to, receiver);
        rig.port
            .send(from, sender, Outgoing::one(b"across".to_vec()));
        let (mut is_sent, mut received) = (false, Vec::new());
        rig.pump("the bytes", |_, completions| {
            for completion in completions {
                match &completion.outcome {
                    Outcome::Sent(Ok(6), _) => is_sent = true,
                    Outcome::Received(lease) => received.extend_from_slice(lease),
                    other => panic!("{other:?}"),
                }
            }
            is_sent && received == b"across"
        });
    }
    for (token, socket) in [(FIRST, ours), (SECOND, theirs)] {
        rig.port.cancel_receive(token);
        assert_eq!(rig.receive_to_the_end(&mut Vec::new()), Some(CANCELED));
        rig.port.close(socket, false);
    }
    rig.end(listener, LISTENER);
}

fn a_peers_reset_ends_the_receive_and_fails_the_next_send(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (listener, address) = rig.listen();
    rig.port.accept(listener, LISTENER);
    let (client, socket) = rig.pair(&address, LISTENER);
    rig.port.receive(socket, FIRST);
    rig.expect_nothing();
    client.reset();
    let ended = rig.receive_to_the_end(&mut Vec::new());
    assert_eq!(ended, Some(Errno(libc::ECONNRESET)));
    rig.port
        .send(socket, FIRST, Outgoing::one(b"too late".to_vec()));
    let errno = rig.until("the failure", |_, completion| match completion.outcome {
        Outcome::Sent(Err(errno), outgoing) => Some((errno, outgoing.remaining())),
        other => panic!("{other:?}"),
    });
    assert!(
        matches!(errno, (Errno(libc::EPIPE | libc::ECONNRESET), 8)),
        "{errno:?}"
    );
    // Nothing is outstanding on a broken socket: it must not keep the port busy.
    rig.expect_nothing();
    let before = rig.port.now();
    rig.port
        .turn(Some(Duration::from_millis(30)))
        .expect("a turn");
    assert!(rig.port.next().is_none());
    assert!(
        rig.port.now() - before >= 30_000_000,
        "the turn was cut short"
    );
    rig.port.close(socket, false);
    rig.end(listener, LISTENER);
}

fn a_turn_without_work_waits_for_its_timeout(driver: &Driver) {
    let mut rig = Rig::new(driver);
    rig.step();
    for milliseconds in [1, 20] {
        let before = rig.port.now();
        rig.port
            .turn(Some(Duration::from_millis(milliseconds)))
            .expect("a turn");
        let waited = rig.port.now() - before;
        assert!(rig.port.next().is_none());
        let waited = Duration::from_nanos(waited);
        let milliseconds = Duration::from_millis(milliseconds);
        assert!(waited >= milliseconds && waited < milliseconds + Duration::from_secs(1));
    }
}

fn a_turn_of_no_time_does_not_wait(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let mut turn = || {
        let start = Instant::now();
        rig.port.turn(Some(Duration::ZERO)).expect("a turn");
        assert!(rig.port.next().is_none());
        start.elapsed()
    };
    let mut times: Vec<_> = (0..100).map(|_| turn()).collect();
    times.sort();
    // The median: a busy machine interrupts some of them.
    assert!(times[50] < Duration::from_millis(5), "{times:?}");
    assert_eq!(rig.port.counters().turns, 100);
}

/// Between a turn's end and the batch that it gathered, another thread may wake again: what it
/// wants to be seen is not in this batch.
fn a_wake_within_a_batch_ends_the_next_turn(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let waker = rig.port.waker();
    for _ in 0..3 {
        waker.wake();
        rig.port.turn(Some(Duration::from_secs(2))).expect("a turn");
        waker.wake();
        assert!(rig.port.next().is_none());
        let before = rig.port.now();
        rig.port.turn(Some(Duration::from_secs(2))).expect("a turn");
        let lost = rig.port.now() - before >= 1_000_000_000;
        assert!(!lost, "the wake-up was lost");
        assert!(rig.port.next().is_none());
    }
}

fn a_wake_before_a_turn_ends_it_at_once(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let waker = rig.port.waker();
    rig.step();
    for _ in 0..10 {
        waker.wake();
        waker.wake();
        let before = rig.port.now();
        rig.port.turn(Some(Duration::from_secs(8))).expect("a turn");
        assert!(rig.port.next().is_none());
        assert!(rig.port.now() - before < 1_000_000_000);
    }
    // Waking twice woke once.
    let before = rig.port.now();
    rig.port
        .turn(Some(Duration::from_millis(20)))
        .expect("a turn");
    assert!(rig.port.now() - before >= 20_000_000);
}

fn an_address_in_use_is_refused(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (listener, address) = rig.listen();
    let error = rig.port.listen(&address, 16, false).expect_err("in use");
    assert_eq!(error.raw_os_error(), Some(libc::EADDRINUSE));
    rig.port.close(listener, false);
    let listener = rig.port.listen(&address, 16, false).expect("free again");
    rig.port.close(listener, false);
}

fn addresses_of_both_ends_are_reported(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (listener, address) = rig.listen();
    rig.port.accept(listener, LISTENER);
    let (_client, socket) = rig.pair(&address, LISTENER);
    assert_eq!(rig.port.local_address(socket).expect("ours"), address);
    let peer = rig.port.peer_address(socket).expect("theirs");
    assert!(peer.is_inet() && peer != address);
    assert!(rig.port.peer_address(listener).is_err());
    rig.port.close(socket, false);
    rig.end(listener, LISTENER);
}

fn a_thousand_connections_are_served_together(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (listener, address) = rig.listen();
    rig.port.accept(listener, LISTENER);
    let mut echo = Echo::default();
    let mut clients = Vec::new();
    for number in 0..1000_u32 {
        clients.push((
            rig.connect(&address),
            number.to_le_bytes().to_vec(),
            Vec::new(),
        ));
        if number % 100 == 99 {
            let completions = rig.step();
            echo.act(&mut rig, completions);
        }
    }
    for (client, message, _) in &mut clients {
        assert_eq!(client.write(message), 4);
    }
    let mut left = clients.len();
    rig.pump_owned("every echo", |rig, completions| {
        echo.act(rig, completions);
        for (client, message, read) in &mut clients {
            if read.len() < 4 {
                assert_eq!(client.read(read), None);
                if read.len() == 4 {
                    assert_eq!(read, message);
                    client.finish();
                    left -= 1;
                }
            }
        }
        left == 0 && echo.closed == 1000
    });
    rig.end(listener, LISTENER);
}

/// Answers every connection with what it sends, and closes when it ends.
#[derive(Default)]
struct Echo {
    closed: usize,
}

impl Echo {
    /// A connection's socket is its token.
    fn act(&mut self, rig: &mut Rig, completions: Vec<vespiary_port::Completion>) {
        for completion in completions {
            let socket = completion.token.0 as i32;
            match completion.outcome {
                Outcome::Accepted(socket) => {
                    rig.port.receive(socket, Token(socket as u64 | 1 << 40));
                }
                Outcome::Received(lease) => {
                    rig.port
                        .send(socket, completion.token, Outgoing::one(lease.to_vec()));
                }
                Outcome::Sent(Ok(4), _) => (),
                // Nothing is in flight: the client finishes when it has its echo.
                Outcome::ReceiveEnded(None) => {
                    rig.port.close(socket, false);
                    self.closed += 1;
                }
                Outcome::ReceiveEnded(Some(Errno(libc::ENOBUFS))) => {
                    rig.port.receive(socket, completion.token);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

fn a_listener_at_a_unix_path_serves(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let directory = crate::rig::Directory::new();
    let address = Address::Unix(directory.path().join("nest.sock"));
    let listener = rig.port.listen(&address, 16, false).expect("a listener");
    assert_eq!(
        rig.port.local_address(listener).expect("an address"),
        address
    );
    rig.port.accept(listener, LISTENER);
    let (mut client, socket) = rig.pair(&address, LISTENER);
    rig.port.receive(socket, FIRST);
    assert_eq!(client.write(b"by file"), 7);
    client.finish();
    let mut received = Vec::new();
    assert_eq!(rig.receive_to_the_end(&mut received), None);
    assert_eq!(received, b"by file");
    rig.port.close(socket, false);
    rig.end(listener, LISTENER);
}
