//! The life of one connection, from connect to close. What it receives is in [`crate::reception`],
//! its messages are in [`crate::traffic`], the ways it ends in [`crate::ending`].
//!
//! | stage | what it waits for | then |
//! |---|---|---|
//! | `Waiting` | its turn to connect, or the next attempt | `Connecting` |
//! | `Connecting` | the kernel | `Securing`, `Shaking` or `Open`; refused: `Leaving` |
//! | `Securing` | the TLS handshake | `Shaking` or `Open`; refused: `Leaving` |
//! | `Shaking` | the response to the WebSocket handshake | `Open`; refused: `Leaving` |
//! | `Open` | echoes, and the end of the run | `Closing`; lost: `Leaving`; renewed: `Renewing` |
//! | `Renewing` | the final completions of its operations | `Connecting` |
//! | `Closing` | the server's end after ours | `Leaving` |
//! | `Leaving` | the final completions of its operations | `Ended` |
//! | `Ended` | nothing: the socket is closed | |
//!
//! A socket is closed only when no operation is outstanding on it (rule 1 of the port), so every
//! way out leads through `Leaving`.

use std::io;

use vespiary_port::{Descriptor, Errno, Outcome, Outgoing, Token};
use vespiary_wire::websocket::decoder::Decoder;

use crate::arrivals::Arrivals;
use crate::clock::Nanoseconds;
use crate::compression::Compression;
use crate::datagrams::Waiting;
use crate::http::Answers;
use crate::payload::Cursor;
use crate::plan::Reply;
use crate::random::Random;
use crate::record::Fault;
use crate::shared::Shared;
use crate::stamps::Stamps;
use crate::target::Protocol;
use crate::tls::Tls;
use crate::verify::Expectation;
use crate::websocket::{self, Handshake, Shaken};

/// Before a Unix socket with a full backlog is tried again.
const RETRY: Nanoseconds = 2_000_000;

/// Where in its life a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// See the module's table for all stages.
    Waiting,
    /// A connect is outstanding.
    Connecting,
    /// TLS is being agreed on.
    Securing,
    /// The handshake's request is on its way.
    Shaking,
    /// Messages go and come.
    Open,
    /// The server ends the connection, and there are requests left for another.
    Renewing,
    /// We have said that we are done.
    Closing,
    /// To be closed as soon as no operation is outstanding.
    Leaving,
    /// Closed.
    Ended,
}

/// One connection.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools)] // Independent facts; the states are the stages.
pub struct Connection {
    /// From zero.
    pub number: u32,
    /// Where in its life.
    pub stage: Stage,
    /// Messages written so far.
    pub sent: u64,
    /// Messages that the pace has released.
    pub released: u64,
    /// The next message to write.
    pub cursor: Cursor,
    /// What is to come back.
    pub expectation: Expectation,
    /// When what is in flight left.
    pub stamps: Stamps,
    /// Bytes that wait to be sent: pongs and closes, or, where sending is cut into pieces, all.
    pub pending: Vec<u8>,
    /// Of these, how many have been sent.
    pub pending_start: usize,
    /// A piece waits for its time.
    pub is_paused: bool,
    /// It is in the list of those to look at after the batch.
    pub is_dirty: bool,
    /// A send is outstanding.
    pub is_sending: bool,
    /// Its own source of keys, cuts and delays.
    pub random: Random,
    /// Cuts the stream into frames, once the handshake is done.
    pub decoder: Option<Box<Decoder>>,
    /// Compresses and inflates messages, where that was agreed.
    pub compression: Option<Box<Compression>>,
    /// TLS, where it is used.
    pub tls: Option<Box<Tls>>,
    /// The responses, where HTTP is used.
    pub answers: Option<Box<Answers>>,
    /// Counts what comes, where no echo is expected and there are no frames.
    pub arrivals: Option<Box<Arrivals>>,
    /// Where its messages are datagrams.
    pub waiting: Option<Box<Waiting>>,
    /// When a message last came back, or the stage began.
    pub progress: Nanoseconds,
    /// The handshake in progress.
    pub handshake: Option<Box<Handshake>>,
    /// Negative while there is none.
    pub socket: Descriptor,
    /// A connect is outstanding.
    pub is_connecting: bool,
    /// A receive is outstanding.
    pub is_receiving: bool,
    /// It has told the run that it has nothing more to send or to get back.
    pub is_finished: bool,
    /// To be closed with a reset.
    pub is_reset: bool,
    /// It was open.
    pub was_opened: bool,
    /// The server has sent its close frame.
    pub is_answered: bool,
}

impl Connection {
    /// A connection that waits for its turn.
    pub fn new(number: u32, seed: u64) -> Self {
        Self {
            number,
            stage: Stage::Waiting,
            sent: 0,
            released: 0,
            cursor: Cursor::first(number),
            expectation: Expectation::new(number),
            stamps: Stamps::default(),
            pending: Vec::new(),
            pending_start: 0,
            is_paused: false,
            is_dirty: false,
            is_sending: false,
            random: Random::new(seed, u64::from(number) + 1),
            decoder: None,
            compression: None,
            tls: None,
            answers: None,
            arrivals: None,
            waiting: None,
            progress: 0,
            handshake: None,
            socket: -1,
            is_connecting: false,
            is_receiving: false,
            is_finished: false,
            is_reset: false,
            was_opened: false,
            is_answered: false,
        }
    }

    /// What its operations are known by.
    pub fn token(&self) -> Token {
        Token(u64::from(self.number))
    }

    /// Take its turn to connect.
    pub fn begin(&mut self, shared: &mut Shared) {
        shared.opening += 1;
        shared.alive += 1;
        self.progress = shared.clock.now().max(1);
        self.connect(shared);
    }

    /// Try to connect, for the first time or again.
    pub fn connect(&mut self, shared: &mut Shared) {
        if Self::has_datagrams(shared) {
            return self.bind(shared);
        }
        let source = shared.source(self.number);
        let address = &shared.target(self.number).address.clone();
        match shared.port.open(address, source.as_ref()) {
            Ok(socket) => {
                self.socket = socket;
                self.stage = Stage::Connecting;
                self.is_connecting = true;
                shared.port.connect(socket, self.token(), address);
            }
            Err(error) => {
                self.refuse(shared, || format!("no socket: {error}"));
                self.close_when_idle(shared);
            }
        }
    }

    /// Whether it is on its way to be opened.
    pub fn is_opening(&self) -> bool {
        matches!(
            self.stage,
            Stage::Waiting | Stage::Connecting | Stage::Securing | Stage::Shaking
        )
    }

    /// Take a completion of one of its operations.
    pub fn handle(&mut self, shared: &mut Shared, outcome: Outcome) {
        match outcome {
            Outcome::Connected(result) => {
                self.is_connecting = false;
                if self.stage == Stage::Connecting {
                    self.connected(shared, result);
                }
            }
            Outcome::Received(lease) => self.received(shared, &lease),
            Outcome::ReceiveEnded(reason) => {
                self.is_receiving = false;
                self.receive_ended(shared, reason);
            }
            Outcome::Sent(result, outgoing) => {
                self.is_sending = false;
                self.send_ended(shared, result, outgoing);
            }
            Outcome::Ready(_) => self.receive_datagrams(shared),
            Outcome::Accepted(_) | Outcome::AcceptEnded(_) | Outcome::SentInPart(_) => {
                unreachable!("a client asks for none of them")
            }
        }
        match self.stage {
            Stage::Leaving => self.close_when_idle(shared),
            Stage::Renewing => self.renew_when_idle(shared),
            _ => {}
        }
    }

    fn connected(&mut self, shared: &mut Shared, result: Result<(), Errno>) {
        match result {
            Ok(()) => {}
            // A Unix socket's full backlog, which TCP would wait for (connect(2), unix(7)).
            Err(Errno(libc::EAGAIN)) => {
                shared.port.close(self.socket, false);
                self.socket = -1;
                self.stage = Stage::Waiting;
                let again = shared.clock.now() + RETRY;
                shared.timers.push(std::cmp::Reverse((again, self.number)));
                return;
            }
            Err(errno) => return self.refuse(shared, || connect_failed(errno)),
        }
        self.receive(shared);
        let name = &shared.target(self.number).server_name;
        match name.as_ref().zip(shared.tls.as_ref()) {
            None => self.begin_protocol(shared),
            Some((name, config)) => match Tls::new(config, name) {
                Ok(tls) => {
                    self.tls = Some(Box::new(tls));
                    self.stage = Stage::Securing;
                    self.mark_dirty(shared);
                }
                Err(text) => self.refuse(shared, || text),
            },
        }
    }

    /// Bytes can be sent: begin with what the target speaks.
    pub fn begin_protocol(&mut self, shared: &mut Shared) {
        match &shared.target(self.number).protocol {
            // Datagrams have no connect.
            Protocol::Stream | Protocol::Datagram => {
                if shared.plan.reply == Reply::None {
                    self.arrivals = Some(Box::new(Arrivals::new(shared.plan.framing)));
                }
                self.opened(shared);
            }
            Protocol::Http(_) => {
                self.answers = Some(Box::new(Answers::new(&shared.plan.method)));
                self.opened(shared);
            }
            Protocol::WebSocket(resource) => {
                let begun =
                    Handshake::begin(resource, &shared.plan, &mut self.random, &mut self.pending);
                match begun {
                    Ok(handshake) => {
                        self.handshake = Some(Box::new(handshake));
                        self.stage = Stage::Shaking;
                        self.mark_dirty(shared);
                    }
                    Err(text) => self.refuse(shared, || text),
                }
            }
        }
    }

    /// Take a piece of the response to the WebSocket handshake.
    pub fn shake(&mut self, shared: &mut Shared, bytes: &[u8]) {
        let Some(handshake) = &mut self.handshake else {
            return;
        };
        match handshake.take(bytes, &shared.head_limits, &shared.plan) {
            Ok(None) => {}
            Ok(Some(Shaken { rest, deflate })) => {
                self.handshake = None;
                self.decoder = Some(Box::new(websocket::decoder(deflate.is_some())));
                self.compression = deflate.map(|it| Box::new(Compression::new(it)));
                self.opened(shared);
                if !rest.is_empty() {
                    self.take_frames(shared, &rest);
                }
            }
            Err(text) => self.refuse(shared, || format!("the handshake failed: {text}")),
        }
    }

    pub fn opened(&mut self, shared: &mut Shared) {
        let now = shared.clock.now();
        shared.record.counts.connected += 1;
        shared
            .record
            .connects
            .saturating_record(now - self.progress);
        self.progress = now;
        self.stage = Stage::Open;
        shared.opening -= 1;
        if std::mem::replace(&mut self.was_opened, true) {
            self.mark_dirty(shared);
        } else {
            shared.unfinished += 1;
        }
        self.check_finished(shared);
    }

    /// Whether all that was to be sent has been sent and has come back; tell the run once.
    pub fn check_finished(&mut self, shared: &mut Shared) {
        let is_one_way = shared.plan.reply == Reply::None;
        // A server that does not echo is listened to until the time is over.
        let listens = is_one_way && shared.plan.sending_time().is_some();
        let all_sent = shared.is_stopping || (shared.plan.messages == Some(self.sent) && !listens);
        let is_back = self.outstanding() == 0 && !(is_one_way && self.is_writing());
        if self.stage == Stage::Open && !self.is_finished && all_sent && is_back {
            self.is_finished = true;
            shared.unfinished -= 1;
        }
    }

    /// Whether bytes wait for the kernel to take them.
    pub fn is_writing(&self) -> bool {
        self.is_sending || !self.pending.is_empty() || self.has_waiting()
    }

    /// Messages that were sent and have not come back.
    pub fn outstanding(&self) -> u64 {
        self.in_flight() + self.expectation.missing().len() as u64
    }

    /// The same, without those that later ones have overtaken.
    pub fn in_flight(&self) -> u64 {
        self.sent - self.expectation.messages()
    }

    /// Put it on the list of those to look at after the batch.
    pub fn mark_dirty(&mut self, shared: &mut Shared) {
        if !self.is_dirty {
            self.is_dirty = true;
            shared.dirty.push(self.number);
        }
    }

    /// Begin to send bytes, over TLS where it is used. No send is outstanding.
    pub fn send(&mut self, shared: &mut Shared, plain: Vec<u8>) {
        let Some(tls) = &mut self.tls else {
            return self.submit(shared, Outgoing::one(plain));
        };
        let mut wire = shared.buffer();
        let sealed = tls.seal(&plain, &mut wire);
        shared.recycle(plain);
        match sealed {
            Ok(()) => self.submit(shared, Outgoing::one(wire)),
            Err(error) => self.fail(shared, error.to_string()),
        }
    }

    fn submit(&mut self, shared: &mut Shared, outgoing: Outgoing) {
        self.is_sending = true;
        shared.port.send(self.socket, self.token(), outgoing);
    }

    fn receive(&mut self, shared: &mut Shared) {
        self.is_receiving = true;
        shared.port.receive(self.socket, self.token());
    }

    fn send_ended(
        &mut self,
        shared: &mut Shared,
        result: Result<usize, Errno>,
        mut outgoing: Outgoing,
    ) {
        match result {
            Ok(count) => {
                shared.record.counts.bytes_sent += count as u64;
                outgoing.advance(count);
                if !outgoing.is_done() && self.stage != Stage::Leaving {
                    return self.submit(shared, outgoing);
                }
                if let Some(buffer) = outgoing.into_single() {
                    shared.recycle(buffer);
                }
                if shared.plan.reply == Reply::None && self.stage == Stage::Open {
                    self.progress = shared.clock.now();
                    self.check_finished(shared);
                }
                let is_ended = |tls: &Tls| tls.is_ended && !tls.wants_write();
                if self.stage == Stage::Closing
                    && self.decoder.is_none()
                    && self.tls.as_deref().is_some_and(is_ended)
                {
                    shared.port.shutdown(self.socket);
                }
                self.mark_dirty(shared);
            }
            Err(errno) => self.broken(shared, errno),
        }
    }

    fn receive_ended(&mut self, shared: &mut Shared, reason: Option<Errno>) {
        match (self.stage, reason) {
            (Stage::Leaving | Stage::Renewing | Stage::Ended, _) => {}
            (_, Some(Errno(libc::ENOBUFS))) => self.receive(shared),
            (_, Some(errno)) => self.broken(shared, errno),
            (_, None) => self.input_ended(shared),
        }
    }

    fn broken(&mut self, shared: &mut Shared, errno: Errno) {
        match self.stage {
            Stage::Securing | Stage::Shaking => self.refuse(shared, || describe(errno)),
            Stage::Open => self.lose(shared, Fault::Reset, || describe(errno)),
            Stage::Closing => {
                // A server may reset what it has closed cleanly (RFC 9293 section 3.10.7.4).
                if !self.is_answered {
                    shared.record.counts.reset += 1;
                    let text = format!("while closing: {}", describe(errno));
                    self.note(shared, Fault::Reset, text);
                }
                self.leave(shared, false);
            }
            _ => {}
        }
    }
}

fn describe(errno: Errno) -> String {
    io::Error::from_raw_os_error(errno.0).to_string()
}

fn connect_failed(errno: Errno) -> String {
    let text = describe(errno);
    match errno.0 {
        libc::EADDRNOTAVAIL => format!("connect: {text}: no source port is left; use more sources"),
        _ => format!("connect: {text}"),
    }
}
