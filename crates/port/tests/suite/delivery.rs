//! What every driver reports of bytes that are on their way: how far what was sent has come, and
//! what a socket holds that nothing has received.

use crate::rig::{CANCELED, Driver, Rig};
use vespiary_port::{Address, Errno, Outcome, Outgoing, Token, Unread};

const LISTENER: Token = Token(1);
const FIRST: Token = Token(2);

contract!(
    what_a_peer_has_taken_is_acknowledged,
    what_a_peer_does_not_take_is_not_acknowledged,
    bytes_that_nothing_has_received_are_counted,
    an_end_behind_unread_bytes_is_reported_with_them,
    a_reset_is_reported_without_a_receive,
    a_socket_that_was_read_holds_nothing,
    keeping_a_connection_alive_changes_nothing_that_is_seen,
);

fn what_a_peer_has_taken_is_acknowledged(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (listener, address) = rig.listen();
    rig.port.accept(listener, LISTENER);
    let (mut client, socket) = rig.pair(&address, LISTENER);
    let before = rig.port.delivery(socket).acknowledged.expect("TCP");
    let (read, _) = rig.exchange(socket, FIRST, &mut client, Outgoing::one(vec![7; 100_000]));
    assert_eq!(read.len(), 100_000);
    rig.pump("the acknowledgement", |rig, _| {
        rig.port.delivery(socket).outstanding == 0
    });
    let after = rig.port.delivery(socket).acknowledged.expect("TCP");
    assert_eq!(after - before, 100_000);
    rig.port.close(socket, false);
    rig.end(listener, LISTENER);
}

fn what_a_peer_does_not_take_is_not_acknowledged(driver: &Driver) {
    const SIZE: usize = 64 << 20;
    let mut rig = Rig::new(driver);
    let (listener, address) = rig.listen();
    rig.port.accept(listener, LISTENER);
    let (client, socket) = rig.pair(&address, LISTENER);
    client.stall(true);
    let before = rig.port.delivery(socket).acknowledged.expect("TCP");
    rig.port.send(socket, FIRST, Outgoing::one(vec![7; SIZE]));
    for _ in 0..10 {
        for completion in rig.step() {
            // The kernel has taken a part.
            let Outcome::Sent(Ok(count), mut outgoing) = completion.outcome else {
                panic!("{completion:?}");
            };
            outgoing.advance(count);
            rig.port.send(socket, FIRST, outgoing);
        }
    }
    let delivery = rig.port.delivery(socket);
    let taken = delivery.acknowledged.expect("TCP") - before;
    assert!(taken < SIZE as u64, "{taken} bytes are acknowledged");
    assert!(delivery.outstanding > 0, "{delivery:?}");
    // A kernel without room answers; only one that is gone does not.
    assert_eq!(delivery.unanswered_milliseconds, 0, "{delivery:?}");
    rig.port.cancel_send(FIRST);
    rig.until("the send's end", |_, completion| {
        matches!(completion.outcome, Outcome::Sent(..)).then_some(())
    });
    rig.port.close(socket, true);
    rig.end(listener, LISTENER);
}

fn bytes_that_nothing_has_received_are_counted(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (listener, address) = rig.listen();
    rig.port.accept(listener, LISTENER);
    let (mut client, socket) = rig.pair(&address, LISTENER);
    assert_eq!(rig.port.unread(socket), Unread::default());
    assert_eq!(client.write(b"unread"), 6);
    rig.pump("the bytes", |rig, _| rig.port.unread(socket).bytes == 6);
    let unread = rig.port.unread(socket);
    assert!(!unread.is_ended && unread.broken.is_none(), "{unread:?}");
    rig.port.close(socket, true);
    rig.end(listener, LISTENER);
}

fn an_end_behind_unread_bytes_is_reported_with_them(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (listener, address) = rig.listen();
    rig.port.accept(listener, LISTENER);
    let (mut client, socket) = rig.pair(&address, LISTENER);
    assert_eq!(client.write(b"the last"), 8);
    client.finish();
    rig.pump("the end", |rig, _| rig.port.unread(socket).is_ended);
    assert_eq!(rig.port.unread(socket).bytes, 8);
    assert_eq!(rig.port.unread(socket).broken, None);
    rig.port.close(socket, true);
    rig.end(listener, LISTENER);
}

fn a_reset_is_reported_without_a_receive(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (listener, address) = rig.listen();
    rig.port.accept(listener, LISTENER);
    let (client, socket) = rig.pair(&address, LISTENER);
    client.reset();
    let mut broken = None;
    rig.pump("the reset", |rig, _| {
        broken = rig.port.unread(socket).broken;
        broken.is_some()
    });
    assert_eq!(broken, Some(Errno(libc::ECONNRESET)));
    rig.port.close(socket, false);
    rig.end(listener, LISTENER);
}

fn a_socket_that_was_read_holds_nothing(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (listener, address) = rig.listen();
    rig.port.accept(listener, LISTENER);
    let (mut client, socket) = rig.pair(&address, LISTENER);
    rig.port.receive(socket, FIRST);
    assert_eq!(client.write(b"read"), 4);
    let mut received = Vec::new();
    rig.until("the bytes", |_, completion| match completion.outcome {
        Outcome::Received(lease) => {
            received.extend_from_slice(&lease);
            (received == b"read").then_some(())
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(rig.port.unread(socket), Unread::default());
    rig.port.cancel_receive(FIRST);
    assert_eq!(rig.receive_to_the_end(&mut received), Some(CANCELED));
    rig.port.close(socket, false);
    rig.end(listener, LISTENER);
}

fn keeping_a_connection_alive_changes_nothing_that_is_seen(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (listener, address) = rig.listen();
    let silence = std::time::Duration::from_secs(1);
    rig.port.keep_alive(listener, silence);
    rig.port.accept(listener, LISTENER);
    let (mut client, socket) = rig.pair(&address, LISTENER);
    let (read, _) = rig.exchange(socket, FIRST, &mut client, Outgoing::one(vec![7; 10]));
    assert_eq!(read, [7; 10]);
    assert_eq!(rig.port.unread(socket), Unread::default());
    rig.port.close(socket, false);
    rig.end(listener, LISTENER);
}

/// A Unix socket has no acknowledgements, and cannot be probed.
#[test]
fn a_unix_socket_reports_what_it_can() {
    for name in ["uring", "epoll"] {
        let mut rig = Rig::new(&Driver::named(name));
        let directory = crate::rig::Directory::new();
        let address = Address::Unix(directory.path().join("socket"));
        let listener = rig.port.listen(&address, 16, false).expect("a listener");
        rig.port
            .keep_alive(listener, std::time::Duration::from_secs(1));
        rig.port.accept(listener, LISTENER);
        let (mut client, socket) = rig.pair(&address, LISTENER);
        assert_eq!(client.write(b"unread"), 6);
        rig.pump("the bytes", |rig, _| rig.port.unread(socket).bytes == 6);
        assert_eq!(rig.port.delivery(socket).acknowledged, None);
        client.finish();
        rig.pump("the end", |rig, _| rig.port.unread(socket).is_ended);
        rig.port.close(socket, true);
        rig.end(listener, LISTENER);
    }
}
