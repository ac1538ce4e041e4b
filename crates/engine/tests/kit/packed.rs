//! A WebSocket peer by hand that compresses.

use super::websocket::{Frame, request};
use super::{Bench, Peer, Place};
use crate::kit::defaults;
use vespiary_engine::wire::websocket::deflate::{Compressor, History, Inflater, Shape};
use vespiary_engine::wire::websocket::frame::{self, Opcode};
use vespiary_engine::{Compression, Framing, Options};

/// What an endpoint compresses by, unless a test says otherwise.
pub const COMPRESSION: Compression = Compression {
    settings: Settings {
        server: Direction {
            context_takeover: true,
            window_bits: 15,
        },
        client: Direction {
            context_takeover: true,
            window_bits: 15,
        },
    },
    level: 6,
    memory_level: 8,
    threshold_bytes: 0,
};

pub use vespiary_engine::wire::websocket::deflate::{Direction, Settings};

/// The options of a WebSocket endpoint that compresses.
pub fn compressing(compression: Compression) -> Options {
    let mut options = defaults(Framing::WebSocket);
    options.websocket.compression = Some(compression);
    options
}

/// The same without context takeover.
pub fn without_takeover() -> Compression {
    let mut compression = COMPRESSION;
    compression.settings.server.context_takeover = false;
    compression.settings.client.context_takeover = false;
    compression
}

/// A client by hand.
pub struct Packed {
    /// The connection.
    pub peer: Peer,
    /// What the server's header says of extensions.
    pub answer: String,
    compressor: Compressor,
    inflater: Inflater,
    history: Option<History>,
}

impl Packed {
    /// Connect and offer compression with these parameters.
    pub fn open(bench: &Bench, place: &Place, parameters: &str) -> Self {
        let mut peer = bench.connect(place);
        let line = format!("Sec-WebSocket-Extensions: permessage-deflate{parameters}\r\n");
        peer.send(bench, request("/", &line).as_bytes());
        let head = peer.head(bench);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let name = "Sec-WebSocket-Extensions: ";
        let answer = head.lines().find_map(|line| line.strip_prefix(name));
        Self {
            peer,
            answer: answer.unwrap_or_default().to_owned(),
            compressor: Compressor::new(Shape {
                window_bits: 15,
                level: 6,
                memory_level: 8,
            }),
            inflater: Inflater::default(),
            history: None,
        }
    }

    /// What a message of so many fragments is on the wire, masked. Each end of a fragment falls
    /// where it may.
    pub fn frames(&mut self, opcode: Opcode, message: &[u8], fragments: usize) -> Vec<u8> {
        if self.answer.contains("client_no_context_takeover") {
            self.compressor.reset();
        }
        let mut packed = Vec::new();
        self.compressor.compress(message, true, &mut packed);
        cut(opcode, &packed, fragments)
    }

    /// Send a message.
    pub fn send(&mut self, bench: &Bench, opcode: Opcode, message: &[u8]) {
        let frames = self.frames(opcode, message, 1);
        self.peer.send(bench, &frames);
    }

    /// The next message, inflated, and the frames that it came in.
    pub fn take(&mut self, bench: &Bench) -> (Vec<u8>, Vec<Frame>) {
        let mut frames = vec![self.peer.frame(bench)];
        while !frames[frames.len() - 1].is_last() {
            frames.push(self.peer.frame(bench));
        }
        let payload: Vec<u8> = frames.iter().flat_map(|it| it.payload.clone()).collect();
        let message = if frames[0].first & 0x40 == 0 {
            payload
        } else {
            self.inflate(&payload)
        };
        (message, frames)
    }

    fn inflate(&mut self, payload: &[u8]) -> Vec<u8> {
        let history = self.history.take();
        let no_takeover = self.answer.contains("server_no_context_takeover");
        let history = history.filter(|_| !no_takeover);
        self.inflater
            .begin(history.unwrap_or_else(|| History::new(15)));
        let mut message = Vec::new();
        let mut input = payload;
        let mut room = [0; 10_000];
        loop {
            let filled = self.inflater.inflate(&mut input, &mut room);
            let filled = filled.expect("what the engine sends is sound");
            message.extend_from_slice(&room[..filled]);
            if filled < room.len() {
                break;
            }
        }
        self.inflater.finish().expect("a message ends with a block");
        self.history = Some(self.inflater.take_history());
        message
    }
}

/// Frames of a client's with RSV1 set on the first, of about the same length.
pub fn cut(opcode: Opcode, packed: &[u8], fragments: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut start = 0;
    for index in 0..fragments {
        let end = packed.len() * (index + 1) / fragments;
        let is_first = index == 0;
        let opcode = if is_first {
            opcode
        } else {
            Opcode::Continuation
        };
        let last = index + 1 == fragments;
        let key = Some([9, 8, 7, index as u8]);
        frame::append(&mut bytes, last, is_first, opcode, &packed[start..end], key);
        start = end;
    }
    bytes
}

/// Records of a feed: alike, and not the same.
pub fn records(length: usize) -> Vec<u8> {
    let mut text = String::new();
    let mut number = 7_u32;
    while text.len() < length {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (id, size) = (number >> 12, number % 97);
        let line = format!("{{\"id\": {id}, \"name\": \"bee\", \"size\": {size}}}\n");
        text.push_str(&line);
    }
    text.truncate(length);
    text.into_bytes()
}
