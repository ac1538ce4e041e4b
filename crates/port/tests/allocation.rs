//! Once warm, receiving and sending allocate nothing; and an idle connection costs a driver little.

mod rig;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant};

use rig::{Client, Driver, Rig};
use vespiary_port::{Chunk, Errno, Outcome, Outgoing, Token};

const LISTENER: Token = Token(1);
const FIRST: Token = Token(2);

/// Counts what the current thread allocates.
struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<i64> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        BYTES.set(BYTES.get() + layout.size() as i64);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.set(BYTES.get() - layout.size() as i64);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Send a message to the port and have it echoed, out of `spare` buffers; no allocation of our own.
fn echo_once(rig: &mut Rig, client: &mut Client, socket: i32, spare: &mut Vec<Vec<u8>>) {
    let message = [7; 500];
    assert_eq!(client.write(&message), message.len());
    let (mut is_sent, mut read) = (false, 0);
    while !is_sent || read < message.len() {
        rig.port
            .turn(Some(Duration::from_millis(1)))
            .expect("a turn");
        while let Some(completion) = rig.port.next() {
            match completion.outcome {
                Outcome::Received(lease) => {
                    let mut buffer = spare.pop().expect("a spare buffer");
                    buffer.extend_from_slice(&lease);
                    rig.port.send(socket, FIRST, Outgoing::one(buffer));
                }
                Outcome::Sent(Ok(500), outgoing) => {
                    let mut buffer = outgoing.into_single().expect("one buffer");
                    buffer.clear();
                    spare.push(buffer);
                    is_sent = true;
                }
                // The kernel ends a receive after so many bytes.
                Outcome::ReceiveEnded(Some(Errno(libc::ENOBUFS))) => {
                    rig.port.receive(socket, FIRST);
                }
                other => panic!("{other:?}"),
            }
        }
        let Client::Tcp(stream) = client else {
            panic!("a kernel's socket")
        };
        let mut buffer = [0; 500];
        read += std::io::Read::read(stream, &mut buffer).unwrap_or(0);
    }
}

#[test]
fn a_warm_echo_allocates_nothing() {
    for driver in ["uring", "epoll"] {
        let mut rig = Rig::new(&Driver::named(driver));
        let (listener, address) = rig.listen();
        rig.port.accept(listener, LISTENER);
        let (mut client, socket) = rig.pair(&address, LISTENER);
        rig.port.receive(socket, FIRST);
        let mut spare = vec![Vec::with_capacity(500)];
        for _ in 0..20 {
            echo_once(&mut rig, &mut client, socket, &mut spare);
        }
        let before = COUNT.get();
        let began = Instant::now();
        // Long enough for what a driver does now and then: uring's looks for resets, each 250 ms.
        while began.elapsed() < Duration::from_secs(1) {
            echo_once(&mut rig, &mut client, socket, &mut spare);
        }
        assert_eq!(COUNT.get() - before, 0, "{driver}");
    }
}

#[test]
fn a_warm_vectored_send_allocates_nothing_in_the_driver() {
    for driver in ["uring", "epoll"] {
        let mut rig = Rig::new(&Driver::named(driver));
        let (listener, address) = rig.listen();
        rig.port.accept(listener, LISTENER);
        let (client, socket) = rig.pair(&address, LISTENER);
        let mut chunks: Vec<_> = (0..10).map(|byte| Chunk::Owned(vec![byte; 10])).collect();
        let mut before = 0;
        for round in 0..200 {
            if round == 100 {
                before = COUNT.get();
            }
            rig.port.send(socket, FIRST, Outgoing::many(chunks));
            chunks = rig.until("the send", |_, completion| match completion.outcome {
                Outcome::Sent(Ok(100), outgoing) => Some(outgoing.into_chunks()),
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(COUNT.get() - before, 0, "{driver}");
        drop(client);
    }
}

#[test]
fn an_idle_connection_costs_a_driver_at_most_thirty_two_bytes() {
    const CONNECTIONS: usize = 2000;
    for driver in ["uring", "epoll"] {
        let mut rig = Rig::new(&Driver::named(driver));
        let (listener, address) = rig.listen();
        rig.port.accept(listener, LISTENER);
        let mut clients = Vec::with_capacity(CONNECTIONS);
        let mut sockets = Vec::with_capacity(CONNECTIONS);
        let mut warm = 0;
        for number in 0..CONNECTIONS {
            clients.push(rig.connect(&address));
            let socket = rig.until("a connection", |_, completion| match completion.outcome {
                Outcome::Accepted(socket) => Some(socket),
                _ => None,
            });
            sockets.push(socket);
            rig.port.receive(socket, Token(socket as u64 | 1 << 40));
            rig.port.turn(Some(Duration::ZERO)).expect("a turn");
            if number == 0 {
                warm = BYTES.get();
            }
        }
        let each = (BYTES.get() - warm) / CONNECTIONS as i64;
        // Each connection takes two descriptors here, ours and the client's; the drivers' tables
        // have a slot for each number, of eight bytes in uring's.
        println!("{driver}: {each} bytes per connection");
        assert!(each <= 2 * 32, "{driver}: {each} bytes per connection");
        if driver == "uring" {
            assert!(each <= 2 * 16, "{driver}: {each} bytes per connection");
        }
    }
}
