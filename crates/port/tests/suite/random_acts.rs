//! Acts drawn from a seed, on every driver: no byte is lost, added or moved, and every operation
//! has exactly one final completion.

use std::collections::BTreeMap;

use crate::rig::{Client, Driver, Rig};
use vespiary_port::driver::{Options, Preference};
use vespiary_port::sim::{Closed, Faults, Random};
use vespiary_port::{Completion, Descriptor, Errno, Outcome, Outgoing, Token};

const LISTENER: Token = Token(0);
const CONNECTIONS: u64 = 5;
const ACTS: usize = 400;

/// One connection, seen from both ends.
#[allow(clippy::struct_excessive_bools)] // Each is a fact of its own.
struct Line {
    client: Client,
    socket: Descriptor,
    is_receiving: bool,
    is_sending: bool,
    /// The port told that no more comes: the peer's end, or an error.
    has_ended: bool,
    /// The port told an error other than a cancel: bytes may be lost from here on.
    is_broken: bool,
    is_client_done: bool,
    written: Vec<u8>,
    received: Vec<u8>,
    sent: Vec<u8>,
    read: Vec<u8>,
    closed: Option<Closed>,
}

struct Game {
    rig: Rig,
    random: Random,
    lines: BTreeMap<Token, Line>,
    is_accepting: bool,
    accepted: Vec<Descriptor>,
    listener: Descriptor,
}

impl Game {
    fn new(driver: &Driver, seed: u64) -> Self {
        let mut rig = Rig::new(driver);
        let (listener, address) = rig.listen();
        let mut game = Self {
            rig,
            random: Random::new(seed),
            lines: BTreeMap::new(),
            is_accepting: false,
            accepted: Vec::new(),
            listener,
        };
        for number in 1..=CONNECTIONS {
            // One at a time, so that each socket's far end is known.
            let client = game.rig.connect(&address);
            while game.accepted.is_empty() {
                game.keep_accepting();
                game.step();
            }
            let socket = game.accepted.pop().expect("a socket");
            let line = Line {
                client,
                socket,
                is_receiving: false,
                is_sending: false,
                has_ended: false,
                is_broken: false,
                is_client_done: false,
                written: Vec::new(),
                received: Vec::new(),
                sent: Vec::new(),
                read: Vec::new(),
                closed: None,
            };
            game.lines.insert(Token(number), line);
        }
        game
    }

    fn keep_accepting(&mut self) {
        if !self.is_accepting {
            self.rig.port.accept(self.listener, LISTENER);
            self.is_accepting = true;
        }
    }

    fn step(&mut self) {
        self.rig
            .port
            .turn(Some(std::time::Duration::from_millis(1)))
            .expect("a turn");
        while let Some(completion) = self.rig.port.next() {
            self.take(completion);
        }
    }

    fn take(&mut self, completion: Completion) {
        match completion.outcome {
            Outcome::Accepted(socket) => return self.accepted.push(socket),
            Outcome::AcceptEnded(_) => {
                assert!(self.is_accepting, "a second end of accepting");
                self.is_accepting = false;
                return;
            }
            _ => (),
        }
        let line = self
            .lines
            .get_mut(&completion.token)
            .expect("a known token");
        match completion.outcome {
            Outcome::Received(lease) => {
                assert!(line.is_receiving, "bytes after the end of the receive");
                line.received.extend_from_slice(&lease);
            }
            Outcome::ReceiveEnded(ended) => {
                assert!(line.is_receiving, "a second end of the receive");
                line.is_receiving = false;
                match ended {
                    Some(Errno(libc::ECANCELED | libc::ENOBUFS)) => (),
                    ended => {
                        line.has_ended = true;
                        line.is_broken |= ended.is_some();
                    }
                }
            }
            Outcome::Sent(result, outgoing) => {
                assert!(line.is_sending, "a second completion of the send");
                line.is_sending = false;
                match result {
                    Ok(count) => line.sent.extend_from_slice(&outgoing.first()[..count]),
                    Err(Errno(libc::ECANCELED)) => (),
                    Err(_) => line.is_broken = true,
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = match self.random.below(3) {
            0 => 1 + self.random.below(10),
            1 => 1 + self.random.below(5_000),
            _ => 1 + self.random.below(300_000),
        };
        let mut drawn = Random::new(self.random.draw());
        (0..length).map(|_| drawn.draw() as u8).collect()
    }

    fn act(&mut self) {
        let token = Token(1 + self.random.below(CONNECTIONS));
        let act = self.random.below(12);
        let bytes = if act < 4 { self.bytes() } else { Vec::new() };
        let is_finishing = self.random.chance(50);
        let line = self.lines.get_mut(&token).expect("a line");
        let port = &mut self.rig.port;
        match act {
            0 | 1 if !line.is_client_done && !line.is_broken => {
                if let Some(count) = line.client.try_write(&bytes) {
                    line.written.extend_from_slice(&bytes[..count]);
                }
            }
            2 | 3 if !line.is_sending && !line.is_broken => {
                line.is_sending = true;
                port.send(line.socket, token, Outgoing::one(bytes));
            }
            4 | 5 if !line.is_receiving && !line.has_ended => {
                line.is_receiving = true;
                port.receive(line.socket, token);
            }
            6 => port.cancel_receive(token),
            7 => port.cancel_send(token),
            8 if is_finishing && !line.is_client_done && !line.is_broken => {
                line.is_client_done = true;
                line.client.finish();
            }
            9 if is_finishing => port.cancel_accept(LISTENER),
            10 => self.step(),
            _ => line.look(),
        }
    }

    /// Nothing new is begun: everything that was must come to its end.
    fn end(mut self) {
        self.rig.port.cancel_accept(LISTENER);
        for line in self.lines.values_mut() {
            if !line.is_client_done && !line.is_broken {
                line.is_client_done = true;
                line.client.finish();
            }
        }
        let mut turns = 0;
        while self.is_accepting
            || self
                .lines
                .values()
                .any(|line| !line.has_ended || line.is_sending)
        {
            for (token, line) in &mut self.lines {
                line.look();
                if !line.is_receiving && !line.has_ended {
                    line.is_receiving = true;
                    self.rig.port.receive(line.socket, *token);
                }
            }
            self.step();
            turns += 1;
            assert!(turns < 20_000, "an operation does not end");
        }
        for line in self.lines.values() {
            self.rig.port.close(line.socket, false);
        }
        self.rig.port.close(self.listener, false);
        while self.lines.values().any(|line| line.closed.is_none()) {
            self.lines.values_mut().for_each(Line::look);
            self.step();
            turns += 1;
            assert!(turns < 40_000, "a connection does not end");
        }
        for line in self.lines.values() {
            line.check();
        }
        self.rig.expect_nothing();
        if let Some(world) = &self.rig.world {
            world.assert_no_leaks();
        }
    }
}

impl Line {
    /// Let the client read.
    fn look(&mut self) {
        if self.closed.is_none() {
            self.closed = self.client.read(&mut self.read);
        }
    }

    fn check(&self) {
        if self.is_broken || self.closed == Some(Closed::Reset) {
            assert!(self.written.starts_with(&self.received));
            assert!(self.sent.starts_with(&self.read) || self.read.starts_with(&self.sent));
        } else {
            assert!(
                self.received == self.written,
                "what was written was received"
            );
            assert!(
                self.read == self.sent,
                "what was reported to have gone has arrived"
            );
        }
    }
}

fn play(driver: &Driver, seed: u64) {
    let mut game = Game::new(driver, seed);
    for _ in 0..ACTS {
        game.act();
    }
    game.end();
}

/// One more seed: `VESPIARY_SEED=7 cargo test -p vespiary-port --test suite random_acts`.
fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("VESPIARY_SEED") {
        Ok(seed) => vec![seed.parse().expect("VESPIARY_SEED is a number")],
        Err(_) => (0..count).collect(),
    }
}

fn play_seeds(count: u64, driver: impl Fn(u64) -> Driver) {
    for seed in seeds(count) {
        println!("seed {seed}");
        play(&driver(seed), seed);
    }
}

fn kernel(preference: Preference) -> Driver {
    let small = Options {
        buffers: 8,
        buffer_bytes: 4096,
        submission_entries: 8,
        completion_entries: 16,
        epoll_buffers: 2,
        epoll_buffer_bytes: 4096,
        events_a_turn: 2,
        ..Options::default()
    };
    Driver::Kernel(preference, small)
}

#[test]
fn uring_with_little_room_keeps_the_contract() {
    play_seeds(30, |_| kernel(Preference::Uring));
}

#[test]
fn epoll_with_little_room_keeps_the_contract() {
    play_seeds(30, |_| kernel(Preference::Epoll));
}

#[test]
fn uring_with_usual_room_keeps_the_contract() {
    play_seeds(10, |_| Driver::named("uring"));
}

#[test]
fn epoll_with_usual_room_keeps_the_contract() {
    play_seeds(10, |_| Driver::named("epoll"));
}

#[test]
fn sim_without_faults_keeps_the_contract() {
    play_seeds(20, |seed| Driver::Simulated(seed, Faults::none()));
}

#[test]
fn sim_with_lossless_faults_keeps_the_contract() {
    play_seeds(100, |seed| Driver::Simulated(seed, Faults::lossless()));
}

#[test]
fn sim_with_resets_keeps_the_contract() {
    play_seeds(100, |seed| Driver::Simulated(seed, Faults::harsh()));
}
