//! More completions at once than io_uring's completion queue holds.
//!
//! The kernel keeps what has no room (`IORING_FEAT_NODROP`), says so (`IORING_SQ_CQ_OVERFLOW`), and
//! brings it with the next enter. Until then a socket may hold bytes whose completion is there and
//! not seen, which `Port::unread` reports.

mod rig;

use std::collections::BTreeMap;

use rig::{Driver, Rig};
use vespiary_port::driver::{Options, Preference};
use vespiary_port::{Descriptor, Errno, Outcome, Outgoing, Token};

const LISTENER: Token = Token(1);
const IDLE: Token = Token(2);
/// Many times what the queue holds.
const PEERS: usize = 100;

fn small_ring() -> Rig {
    let options = Options {
        submission_entries: 4,
        completion_entries: 8,
        ..Options::default()
    };
    Rig::new(&Driver::Kernel(Preference::Uring, options))
}

fn token(socket: Descriptor) -> Token {
    Token(socket as u64 | 1 << 40)
}

/// Connections on which receives are armed, and an idle one.
struct Connections {
    rig: Rig,
    listener: Descriptor,
    peers: BTreeMap<Token, (rig::Client, Descriptor)>,
    idle: (rig::Client, Descriptor),
}

impl Connections {
    fn new() -> Self {
        let mut rig = small_ring();
        let (listener, address) = rig.listen();
        rig.port.accept(listener, LISTENER);
        let idle = rig.pair(&address, LISTENER);
        rig.port.receive(idle.1, IDLE);
        let mut peers = BTreeMap::new();
        for _ in 0..PEERS {
            let (client, socket) = rig.pair(&address, LISTENER);
            rig.port.receive(socket, token(socket));
            peers.insert(token(socket), (client, socket));
        }
        // The receives begin.
        rig.expect_nothing();
        Self {
            rig,
            listener,
            peers,
            idle,
        }
    }

    fn write_all(&mut self, bytes: &[u8]) {
        for (client, _) in self.peers.values_mut() {
            assert_eq!(client.write(bytes), bytes.len());
        }
    }

    /// Continue after a turn in which more came than there were buffers in use.
    fn receive_again(&mut self, token: Token, outcome: &Outcome) {
        let is_short = matches!(outcome, Outcome::ReceiveEnded(Some(Errno(libc::ENOBUFS))));
        assert!(is_short, "{outcome:?}");
        self.rig.port.receive(self.peers[&token].1, token);
    }

    /// Whether the kernel holds completions that have not come.
    fn has_overflow(&self) -> bool {
        self.rig.port.unread(self.idle.1).bytes > 0
    }

    fn end(mut self) {
        for (token, (_, socket)) in std::mem::take(&mut self.peers) {
            self.rig.port.cancel_receive(token);
            self.rig.until("the end of a receive", |_, completion| {
                let is_its = completion.token == token;
                (is_its && matches!(completion.outcome, Outcome::ReceiveEnded(_))).then_some(())
            });
            self.rig.port.close(socket, true);
        }
        self.rig.port.cancel_receive(IDLE);
        self.rig.until("the end of a receive", |_, completion| {
            matches!(completion.outcome, Outcome::ReceiveEnded(_)).then_some(())
        });
        self.rig.port.close(self.idle.1, true);
        self.rig.end(self.listener, LISTENER);
    }
}

#[test]
fn bytes_beyond_the_completion_queue_come_later_and_in_order() {
    let mut connections = Connections::new();
    assert!(!connections.has_overflow());
    let mut received: BTreeMap<Token, Vec<u8>> = BTreeMap::new();
    let mut overflows = 0;
    for round in [&b"first "[..], b"second"] {
        connections.write_all(round);
        let wanted = received.values().map(Vec::len).sum::<usize>() + PEERS * round.len();
        while received.values().map(Vec::len).sum::<usize>() < wanted {
            let completions = connections.rig.step();
            overflows += usize::from(connections.has_overflow());
            for completion in completions {
                match completion.outcome {
                    Outcome::Received(lease) => {
                        received
                            .entry(completion.token)
                            .or_default()
                            .extend(&lease[..]);
                    }
                    outcome => connections.receive_again(completion.token, &outcome),
                }
            }
        }
    }
    assert!(overflows > 0, "the queue held everything");
    assert_eq!(received.len(), PEERS);
    assert!(received.values().all(|bytes| bytes == b"first second"));
    connections.rig.expect_nothing();
    assert!(!connections.has_overflow());
    connections.end();
}

#[test]
fn sends_and_receives_beyond_the_completion_queue_are_each_answered_once() {
    let mut connections = Connections::new();
    connections.write_all(b"ping");
    for (token, (_, socket)) in &connections.peers {
        let outgoing = Outgoing::one(b"pong".to_vec());
        connections.rig.port.send(*socket, *token, outgoing);
    }
    let mut answers: BTreeMap<Token, (usize, usize)> = BTreeMap::new();
    let mut overflows = 0;
    while answers.values().filter(|it| **it == (1, 4)).count() < PEERS {
        let completions = connections.rig.step();
        overflows += usize::from(connections.has_overflow());
        for completion in completions {
            let answer = answers.entry(completion.token).or_default();
            match completion.outcome {
                Outcome::Sent(Ok(4), _) => answer.0 += 1,
                Outcome::Received(lease) => answer.1 += lease.len(),
                outcome => connections.receive_again(completion.token, &outcome),
            }
        }
    }
    assert!(overflows > 0, "the queue held everything");
    connections.rig.expect_nothing();
    for (client, _) in connections.peers.values_mut() {
        let mut read = Vec::new();
        assert_eq!((client.read(&mut read), &read[..]), (None, &b"pong"[..]));
    }
    connections.end();
}
