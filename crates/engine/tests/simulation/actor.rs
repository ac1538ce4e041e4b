//! Peers of a random world: they say what they planned, cut anyhow, and check every byte that comes
//! back.

mod check;
mod plan;

use crate::kit::{Ending, Peer, websocket};
use crate::site::{Chance, below, disguised, permille, pick};
use std::collections::VecDeque;
use vespiary_engine::wire::framing::length::Format;
use vespiary_engine::wire::websocket::frame::Opcode;
use vespiary_engine::{Framing, Kind, Options};

/// A message.
pub type Message = (Kind, Vec<u8>);

/// How a peer behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manners {
    /// Keeps the rules, and leaves when it has everything.
    Good,
    /// The same, and ends its sending as soon as it has said everything.
    Finishing,
    /// Sends something that breaks the rules.
    Lying,
    /// Resets the connection at some time.
    Resetting,
    /// Ends its sending within a message.
    Cut,
    /// Says nothing.
    Silent,
    /// Is gone at some time, as when its machine loses power: nothing of it comes any more, neither
    /// FIN nor RST, and nothing is acknowledged.
    Vanishing,
}

/// A peer.
pub struct Actor {
    /// The site it talks to.
    pub site: usize,
    /// How it behaves.
    pub manners: Manners,
    /// Its address, as the engine sees it.
    pub address: String,
    framing: Framing,
    is_filtered: bool,
    peer: Option<Peer>,
    /// The same once it has vanished.
    vanished: Option<Peer>,
    /// What came and was not read.
    input: Vec<u8>,
    /// What is still to be sent: frames, lines, packets. The first may have gone in part.
    units: VecDeque<Vec<u8>>,
    gone: usize,
    /// What it says, and what it heard.
    said: Vec<Message>,
    heard: Vec<Message>,
    under_way: Option<Message>,
    /// The status of the answer to its request, where there is one.
    status: Option<u16>,
    /// Plain requests, and the answers that have begun.
    asked: usize,
    answered: usize,
    /// Bytes of a plain answer's body to come.
    body: usize,
    is_stalled: bool,
    has_closed: bool,
    was_closed: Option<u16>,
    ending: Option<Ending>,
}

impl Actor {
    /// A peer that has connected.
    pub fn new(number: usize, site: usize, peer: Peer, options: &Options, chance: &Chance) -> Self {
        use Manners::{Cut, Finishing, Good, Lying, Resetting, Silent, Vanishing};
        let manners = pick(
            chance,
            &[
                Good, Good, Good, Good, Finishing, Finishing, Lying, Resetting, Cut, Silent,
                Vanishing, Vanishing,
            ],
        );
        let address = peer.address().expect("a simulated peer").to_string();
        let mut actor = Self {
            site,
            manners,
            address,
            framing: options.framing.clone(),
            is_filtered: options.filtered,
            peer: Some(peer),
            vanished: None,
            input: Vec::new(),
            units: VecDeque::new(),
            gone: 0,
            said: Vec::new(),
            heard: Vec::new(),
            under_way: None,
            status: None,
            asked: 0,
            answered: 0,
            body: 0,
            is_stalled: false,
            has_closed: false,
            was_closed: None,
            ending: None,
        };
        actor.plan(number, options, chance);
        actor
    }

    /// Do something, or nothing. Once the world is `healed` it does all it can.
    pub fn act(&mut self, chance: &Chance, healed: bool) {
        let Some(mut peer) = self.peer.take() else {
            return;
        };
        if self.manners == Manners::Vanishing && (healed || permille(chance, 30)) {
            peer.stall(true);
            self.vanished = Some(peer);
            return;
        }
        if healed && self.is_stalled || permille(chance, 50) {
            self.is_stalled = !self.is_stalled && !healed;
            peer.stall(self.is_stalled);
        }
        if self.is_stalled && permille(chance, 300) {
            peer.sip(below(chance, 500) as usize);
        }
        if self.manners != Manners::Silent && (healed || permille(chance, 600)) {
            let most = pick(chance, &[1, 7, 100, 2_000, 100_000]);
            self.write(&mut peer, most);
        }
        if healed || permille(chance, 700) {
            peer.look();
        }
        let came = std::mem::take(&mut peer.input);
        self.input.extend(if self.is_filtered {
            disguised(&came)
        } else {
            came
        });
        self.read();
        self.ending = peer.ending;
        if self.may_leave(chance, healed) {
            if self.manners == Manners::Resetting {
                peer.reset();
            }
            return;
        }
        self.peer = Some(peer);
    }

    /// Whether it is time to be gone; before that a WebSocket says goodbye.
    fn may_leave(&mut self, chance: &Chance, healed: bool) -> bool {
        if self.ending.is_some() {
            return healed || permille(chance, 300);
        }
        match self.manners {
            Manners::Good if self.is_complete() && permille(chance, 100) => {
                if self.framing == Framing::WebSocket && !self.has_closed && self.is_open() {
                    self.has_closed = true;
                    self.units.push_back(websocket::close(4000, "done"));
                }
                false
            }
            Manners::Resetting => permille(chance, 20),
            Manners::Lying | Manners::Cut | Manners::Silent => healed && permille(chance, 100),
            _ => false,
        }
    }

    fn write(&mut self, peer: &mut Peer, most: usize) {
        let mut left = most;
        while left > 0
            && let Some(unit) = self.units.front()
        {
            let piece = &unit[self.gone..];
            let piece = &piece[..piece.len().min(left)];
            let written = if self.is_filtered {
                peer.write(&disguised(piece))
            } else {
                peer.write(piece)
            };
            let Some(written) = written else {
                return;
            };
            left -= written;
            self.gone += written;
            let is_stuck = written < piece.len();
            if self.gone == unit.len() {
                self.units.pop_front();
                self.gone = 0;
            }
            if is_stuck {
                return;
            }
        }
        if self.units.is_empty() && matches!(self.manners, Manners::Finishing | Manners::Cut) {
            let waits_for_pongs =
                self.framing == Framing::WebSocket && self.manners == Manners::Finishing;
            if !waits_for_pongs {
                peer.finish();
            }
        }
    }

    /// An answer to a control frame goes behind the unit that is being sent.
    fn reply(&mut self, frame: Vec<u8>) {
        let place = usize::from(self.gone > 0).min(self.units.len());
        if self.manners == Manners::Cut && place == self.units.len() {
            // What is cut is the last that it sends: more bytes would complete it.
            return;
        }
        self.units.insert(place, frame);
    }

    fn read(&mut self) {
        let mut input = std::mem::take(&mut self.input);
        match self.framing.clone() {
            Framing::WebSocket => self.read_websocket(&mut input),
            Framing::Http => self.read_answers(&mut input),
            // The actors are peers of streams.
            Framing::Raw | Framing::Datagram => {
                let (_, heard) = self.under_way.get_or_insert((Kind::Binary, Vec::new()));
                heard.append(&mut input);
            }
            Framing::Line { ending } => self.read_lines(&mut input, ending),
            Framing::Length(format) => self.read_packets(&mut input, format),
        }
        self.input = input;
    }

    fn read_lines(&mut self, input: &mut Vec<u8>, ending: &[u8]) {
        while let Some(end) = input.windows(ending.len()).position(|it| it == ending) {
            let line = input.drain(..end + ending.len()).take(end).collect();
            self.heard.push((Kind::Binary, line));
        }
    }

    fn read_packets(&mut self, input: &mut Vec<u8>, format: Format) {
        let width = usize::from(format.width);
        while let Some(prefix) = input.get(..width) {
            let fold = |length: usize, byte: &u8| length << 8 | usize::from(*byte);
            let announced = if format.big_endian {
                prefix.iter().fold(0, fold)
            } else {
                prefix.iter().rev().fold(0, fold)
            };
            let own = if format.includes_itself { width } else { 0 };
            assert!(
                announced >= own && announced < 1 << 20,
                "a packet of {announced} bytes"
            );
            let end = width + announced - own;
            if input.len() < end {
                return;
            }
            let packet = input.drain(..end).skip(width).collect();
            self.heard.push((Kind::Binary, packet));
        }
    }

    /// Read the head of an answer; whether it is there.
    fn read_head(&mut self, input: &mut Vec<u8>) -> bool {
        let Some(end) = input.windows(4).position(|it| it == b"\r\n\r\n") else {
            return false;
        };
        let head: Vec<u8> = input.drain(..end + 4).collect();
        let head = String::from_utf8(head).expect("a head of ASCII");
        let status = head.strip_prefix("HTTP/1.1 ").expect("an answer")[..3].parse();
        self.status = Some(status.expect("a status"));
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "));
        self.body = length.map_or(0, |length| length.parse().expect("a length"));
        true
    }

    /// Answers to requests that were sent ahead.
    fn read_answers(&mut self, input: &mut Vec<u8>) {
        loop {
            let piece = self.body.min(input.len());
            input.drain(..piece);
            self.body -= piece;
            if self.body > 0 || !self.read_head(input) {
                return;
            }
            self.answered += 1;
            let is_owed = self.answered <= self.asked || self.manners == Manners::Lying;
            assert!(is_owed, "{}", self.describe());
        }
    }

    fn read_answer(&mut self, input: &mut Vec<u8>) {
        if self.status.is_some() || self.read_head(input) {
            assert!(
                input.len() <= self.body,
                "{} bytes behind the answer",
                input.len()
            );
            self.body -= input.len();
            input.clear();
        }
    }

    /// Whether its WebSocket handshake was accepted, and no close frame came.
    fn is_open(&self) -> bool {
        self.status == Some(101) && self.was_closed.is_none()
    }

    fn read_websocket(&mut self, input: &mut Vec<u8>) {
        if self.status.is_none() && !self.read_head(input) {
            return;
        }
        if self.status != Some(101) {
            return self.read_answer(input);
        }
        while let Some(frame) = websocket::parse(input) {
            // A ping that comes before the peer's close frame is owed a pong (RFC 6455 5.5.2).
            let is_pong = frame.opcode() == Opcode::Pong as u8;
            assert!(
                self.was_closed.is_none() || is_pong,
                "{frame:?} behind a close frame"
            );
            assert!(!frame.masked && frame.first & 0x70 == 0, "{frame:?}");
            let is_control = frame.opcode() >= 8;
            assert!(
                !is_control || frame.is_last() && frame.payload.len() <= 125,
                "{frame:?}"
            );
            match frame.opcode() {
                0..=2 => self.read_data(&frame),
                8 => {
                    self.was_closed = Some(frame.code().unwrap_or(1005));
                    if !std::mem::replace(&mut self.has_closed, true) {
                        // What else was planned is not said any more.
                        self.units.truncate(usize::from(self.gone > 0));
                        self.units
                            .push_back(websocket::masked(true, Opcode::Close, b""));
                    }
                }
                9 => self.reply(websocket::masked(true, Opcode::Pong, &frame.payload)),
                10 => {}
                _ => panic!("{frame:?}"),
            }
        }
    }

    fn read_data(&mut self, frame: &websocket::Frame) {
        let kind = match frame.opcode() {
            1 => Some(Kind::Text),
            2 => Some(Kind::Binary),
            _ => None,
        };
        assert_eq!(
            kind.is_none(),
            self.under_way.is_some(),
            "{frame:?} is out of turn"
        );
        let under_way = self
            .under_way
            .get_or_insert_with(|| (kind.expect("a start"), Vec::new()));
        under_way.1.extend_from_slice(&frame.payload);
        if frame.is_last() {
            let message = self.under_way.take().expect("it is over");
            let is_text = message.0 == Kind::Text;
            assert!(
                !is_text || std::str::from_utf8(&message.1).is_ok(),
                "{message:?}"
            );
            self.heard.push(message);
        }
    }

    /// Whether everything that it said came back.
    pub fn is_complete(&self) -> bool {
        match self.framing {
            Framing::Http => self.answered == self.asked && self.body == 0,
            Framing::Raw => self.heard_bytes() == self.said_bytes(),
            Framing::WebSocket if self.status != Some(101) => false,
            _ => self.heard == self.said,
        }
    }

    /// Whether it is still there.
    pub fn is_here(&self) -> bool {
        self.peer.is_some()
    }

    /// Whether it has vanished.
    pub fn has_vanished(&self) -> bool {
        self.vanished.is_some()
    }

    /// Whether its request was refused.
    pub fn was_refused(&self) -> bool {
        match self.framing {
            // What a site answers a plain request with is not a refusal; these are the engine's
            // own.
            Framing::Http => matches!(self.status, Some(408 | 431 | 503)),
            _ => self.status.is_some_and(|status| status != 101),
        }
    }

    /// Be gone.
    pub fn leave(&mut self) {
        self.peer = None;
    }

    /// What there is to say about it when something is wrong.
    pub fn describe(&self) -> String {
        format!(
            "{:?} peer {} of site {} ({:?}): said {}, heard {}, {} units left, status {:?}, \
             close {:?}, ending {:?}",
            self.manners,
            self.address,
            self.site,
            self.framing,
            self.said.len(),
            self.heard.len(),
            self.units.len(),
            self.status,
            self.was_closed,
            self.ending,
        )
    }
}
