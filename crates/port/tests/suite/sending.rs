//! What every driver promises of sends, tried on each.

use std::io::Write as _;
use std::rc::Rc;

use crate::rig::{CANCELED, Driver, Rig, pattern};
use vespiary_port::sim::Closed;
use vespiary_port::{Chunk, Descriptor, Errno, FilePart, Outcome, Outgoing, Token};

const LISTENER: Token = Token(1);
const FIRST: Token = Token(2);
const SECOND: Token = Token(3);

contract!(
    a_send_larger_than_the_window_arrives_whole,
    a_vectored_send_of_many_chunks_arrives_in_order,
    a_send_gives_its_buffer_back_unmoved,
    a_cancelled_send_says_what_went_and_gives_the_rest_back,
    an_empty_send_completes,
    a_part_of_a_file_arrives_whole,
    a_file_that_has_become_shorter_ends_its_send,
    a_cancelled_send_of_a_file_says_what_went,
    shutdown_sends_the_end_after_the_bytes_and_receiving_continues,
    close_with_reset_is_seen_as_a_reset,
    a_batch_that_feeds_itself_ends_and_continues_in_the_next_turn,
);

fn a_send_larger_than_the_window_arrives_whole(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (listener, address) = rig.listen();
    rig.port.accept(listener, LISTENER);
    let (mut client, socket) = rig.pair(&address, LISTENER);
    client.stall(true);
    let bytes = pattern(20_000_000);
    let (read, back) = rig.exchange(socket, FIRST, &mut client, Outgoing::one(bytes.clone()));
    assert!(read == bytes && back.is_done());
    rig.port.close(socket, false);
    rig.end(listener, LISTENER);
}

fn a_vectored_send_of_many_chunks_arrives_in_order(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (listener, address) = rig.listen();
    rig.port.accept(listener, LISTENER);
    let (mut client, socket) = rig.pair(&address, LISTENER);
    let bytes = pattern(3_000_000);
    let shared = Rc::new(bytes[..1000].to_vec());
    let mut expected = Vec::new();
    let mut chunks = Vec::new();
    for (number, piece) in bytes.chunks(20_011).enumerate() {
        chunks.push(Chunk::Owned(piece.to_vec()));
        chunks.push(Chunk::Owned(Vec::new()));
        expected.extend_from_slice(piece);
        if number % 3 == 0 {
            chunks.push(Chunk::Shared(Rc::clone(&shared)));
            expected.extend_from_slice(&shared);
        }
    }
    let count = chunks.len();
    let (read, back) = rig.exchange(socket, FIRST, &mut client, Outgoing::many(chunks));
    assert!(read == expected);
    assert_eq!(back.into_chunks().len(), count);
    assert_eq!(Rc::strong_count(&shared), 1);
    rig.port.close(socket, false);
    rig.end(listener, LISTENER);
}

fn a_send_gives_its_buffer_back_unmoved(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (listener, address) = rig.listen();
    rig.port.accept(listener, LISTENER);
    let (mut client, socket) = rig.pair(&address, LISTENER);
    let bytes = b"hello".to_vec();
    let place = bytes.as_ptr();
    let (read, back) = rig.exchange(socket, FIRST, &mut client, Outgoing::one(bytes));
    let back = back.into_single().expect("one buffer");
    assert_eq!(
        (back.as_ptr(), &back[..], &read[..]),
        (place, &b"hello"[..], &b"hello"[..])
    );
    rig.port.close(socket, false);
    rig.end(listener, LISTENER);
}

/// Send, and send again what short sends leave, until the window is full and nothing moves. Return
/// how much has gone.
fn send_until_full(rig: &mut Rig, socket: Descriptor, outgoing: Outgoing) -> usize {
    let mut sent = 0;
    rig.port.send(socket, FIRST, outgoing);
    let mut idle_turns = 0;
    while idle_turns < 5 {
        idle_turns += 1;
        for completion in rig.step() {
            let Outcome::Sent(Ok(count), mut outgoing) = completion.outcome else {
                panic!()
            };
            sent += count;
            outgoing.advance(count);
            rig.port.send(socket, FIRST, outgoing);
            idle_turns = 0;
        }
    }
    sent
}

fn a_cancelled_send_says_what_went_and_gives_the_rest_back(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (listener, address) = rig.listen();
    rig.port.accept(listener, LISTENER);
    let (mut client, socket) = rig.pair(&address, LISTENER);
    client.stall(true);
    let bytes = pattern(50_000_000);
    let mut sent = send_until_full(&mut rig, socket, Outgoing::one(bytes.clone()));
    rig.port.cancel_send(FIRST);
    let (result, outgoing) = rig.until("the cancel", |_, completion| match completion.outcome {
        Outcome::Sent(result, outgoing) => Some((result, outgoing)),
        other => panic!("{other:?}"),
    });
    assert_eq!(sent + outgoing.remaining(), bytes.len());
    sent += result.unwrap_or_else(|errno| {
        assert_eq!(errno, CANCELED);
        0
    });
    assert!(sent > 0 && sent < bytes.len());
    rig.expect_nothing();
    rig.port.close(socket, false);
    client.stall(false);
    let mut read = Vec::new();
    rig.pump("the client's end", |_, _| {
        client.read(&mut read) == Some(Closed::Finished)
    });
    assert!(read == bytes[..sent]);
    rig.end(listener, LISTENER);
}

fn an_empty_send_completes(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (listener, address) = rig.listen();
    rig.port.accept(listener, LISTENER);
    let (_client, socket) = rig.pair(&address, LISTENER);
    rig.port.send(socket, FIRST, Outgoing::one(Vec::new()));
    rig.until("the completion", |_, completion| {
        matches!(completion.outcome, Outcome::Sent(Ok(0), _)).then_some(())
    });
    rig.port.close(socket, false);
    rig.end(listener, LISTENER);
}

fn shutdown_sends_the_end_after_the_bytes_and_receiving_continues(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (listener, address) = rig.listen();
    rig.port.accept(listener, LISTENER);
    let (mut client, socket) = rig.pair(&address, LISTENER);
    rig.port.receive(socket, SECOND);
    let (read, _) = rig.exchange(socket, FIRST, &mut client, Outgoing::one(b"last".to_vec()));
    assert_eq!(read, b"last");
    rig.port.shutdown(socket);
    let mut more = Vec::new();
    rig.pump("the end", |_, _| {
        client.read(&mut more) == Some(Closed::Finished)
    });
    assert_eq!(client.write(b"still here"), 10);
    client.finish();
    let mut received = Vec::new();
    assert_eq!(rig.receive_to_the_end(&mut received), None);
    assert_eq!((&more[..], &received[..]), (&b""[..], &b"still here"[..]));
    rig.port.close(socket, false);
    rig.end(listener, LISTENER);
}

fn close_with_reset_is_seen_as_a_reset(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (listener, address) = rig.listen();
    rig.port.accept(listener, LISTENER);
    let (mut client, socket) = rig.pair(&address, LISTENER);
    rig.port.close(socket, true);
    let mut read = Vec::new();
    rig.pump("the reset", |_, _| match client.read(&mut read) {
        None => false,
        Some(closed) => closed == Closed::Reset || panic!("{closed:?}"),
    });
    rig.end(listener, LISTENER);
}

fn a_batch_that_feeds_itself_ends_and_continues_in_the_next_turn(driver: &Driver) {
    const SENDS: usize = 20_000;
    const A_TURN_MAX: usize = 5_000;
    let mut rig = Rig::new(driver);
    let (listener, address) = rig.listen();
    rig.port.accept(listener, LISTENER);
    let (mut client, socket) = rig.pair(&address, LISTENER);
    rig.port.send(socket, FIRST, Outgoing::one(vec![1]));
    let (mut sent, mut read, mut turns) = (0, Vec::new(), 0);
    while read.len() < SENDS {
        rig.port
            .turn(Some(std::time::Duration::from_millis(10)))
            .expect("a turn");
        let before = sent;
        while let Some(completion) = rig.port.next() {
            let Outcome::Sent(Ok(1), outgoing) = completion.outcome else {
                panic!("{completion:?}");
            };
            sent += 1;
            assert!(sent - before <= A_TURN_MAX, "the batch does not end");
            let bytes = outgoing.into_single().expect("one buffer");
            if sent < SENDS {
                rig.port.send(socket, FIRST, Outgoing::one(bytes));
            }
        }
        assert_eq!(client.read(&mut read), None);
        turns += 1;
        assert!(turns < 10 * SENDS, "the sends do not go on");
    }
    rig.port.close(socket, false);
    rig.end(listener, LISTENER);
}

/// A file with these bytes, which has no name.
fn file_of(bytes: &[u8]) -> std::fs::File {
    let mut file = tempfile();
    file.write_all(bytes).expect("a file");
    file
}

fn tempfile() -> std::fs::File {
    let folder = std::env::temp_dir();
    let name = format!(
        "vespiary-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    );
    let path = folder.join(name.replace(['(', ')'], ""));
    let mut options = std::fs::OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).open(&path);
    std::fs::remove_file(&path).expect("a file");
    file.expect("a file")
}

fn a_part_of_a_file_arrives_whole(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (listener, address) = rig.listen();
    rig.port.accept(listener, LISTENER);
    let (mut client, socket) = rig.pair(&address, LISTENER);
    client.stall(true);
    let bytes = pattern(20_000_000);
    let part = FilePart::new(file_of(&bytes).into(), 1000, bytes.len() - 2000);
    let (read, back) = rig.exchange(socket, FIRST, &mut client, Outgoing::file(part));
    assert!(read == bytes[1000..bytes.len() - 1000] && back.is_done());
    assert!(matches!(&back.into_chunks()[..], [Chunk::File(_)]));
    rig.port.close(socket, false);
    rig.end(listener, LISTENER);
}

fn a_file_that_has_become_shorter_ends_its_send(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (listener, address) = rig.listen();
    rig.port.accept(listener, LISTENER);
    let (_client, socket) = rig.pair(&address, LISTENER);
    let part = FilePart::new(file_of(b"short").into(), 0, 10);
    rig.port.send(socket, FIRST, Outgoing::file(part));
    let mut sent = 0;
    let errno = rig.until("the error", |rig, completion| match completion.outcome {
        Outcome::Sent(Ok(count), mut outgoing) => {
            sent += count;
            outgoing.advance(count);
            rig.port.send(socket, FIRST, outgoing);
            None
        }
        Outcome::Sent(Err(errno), _) => Some(errno),
        other => panic!("{other:?}"),
    });
    // The simulation sends a piece wholly or not at all.
    assert!(
        errno == Errno::FILE_ENDED && sent <= 5,
        "{errno} after {sent}"
    );
    rig.port.close(socket, true);
    rig.end(listener, LISTENER);
}

fn a_cancelled_send_of_a_file_says_what_went(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (listener, address) = rig.listen();
    rig.port.accept(listener, LISTENER);
    let (mut client, socket) = rig.pair(&address, LISTENER);
    client.stall(true);
    let bytes = pattern(50_000_000);
    let part = FilePart::new(file_of(&bytes).into(), 0, bytes.len());
    let mut sent = send_until_full(&mut rig, socket, Outgoing::file(part));
    rig.port.cancel_send(FIRST);
    let result = rig.until("the cancel", |_, completion| match completion.outcome {
        Outcome::Sent(result, _) => Some(result),
        other => panic!("{other:?}"),
    });
    sent += result.unwrap_or_else(|errno| {
        assert_eq!(errno, CANCELED);
        0
    });
    assert!(sent > 0 && sent < bytes.len());
    rig.expect_nothing();
    rig.port.close(socket, false);
    client.stall(false);
    let mut read = Vec::new();
    rig.pump("the client's end", |_, _| {
        client.read(&mut read) == Some(Closed::Finished)
    });
    assert!(read == bytes[..sent]);
    rig.end(listener, LISTENER);
}
