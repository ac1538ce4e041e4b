//! What a peer is going to say: messages in the form of its framing, cut anyhow, and what is wrong
//! with them.

use super::{Actor, Manners};
use crate::kit::websocket;
use crate::site::{Chance, below, permille, pick};
use vespiary_engine::wire::framing::length;
use vespiary_engine::wire::websocket::frame::Opcode;
use vespiary_engine::{Framing, Kind, Options};

/// A payload that names its speaker and its place, so that it differs from all others.
fn payload(chance: &Chance, number: usize, place: usize, most: u64) -> Vec<u8> {
    let mut payload = format!("{number}:{place}:").into_bytes();
    let size = pick(chance, &[0, 20, 200, most]).min(most - 20);
    let filler = b'a' + below(chance, 26) as u8;
    payload.resize(payload.len() + below(chance, size + 1) as usize, filler);
    payload
}

fn random_bytes(chance: &Chance) -> Vec<u8> {
    let length = 1 + below(chance, 300) as usize;
    (0..length).map(|_| below(chance, 256) as u8).collect()
}

impl Actor {
    pub(super) fn plan(&mut self, number: usize, options: &Options, chance: &Chance) {
        match self.framing {
            Framing::WebSocket => self.units.push_back(websocket::request("/", "").into()),
            Framing::Http => self.plan_requests(chance),
            _ => {}
        }
        let count = if self.framing == Framing::Http {
            0
        } else {
            below(chance, 30) as usize
        };
        for place in 0..count {
            let message = payload(chance, number, place, options.limits.message_bytes_max);
            let kind = match self.framing {
                Framing::WebSocket => pick(chance, &[Kind::Text, Kind::Binary]),
                _ => Kind::Binary,
            };
            self.put(kind, &message, chance);
            self.said.push((kind, message));
        }
        if self.manners == Manners::Lying {
            let place = below(chance, self.units.len() as u64 + 1) as usize;
            self.units.insert(place, random_bytes(chance));
        }
        if self.manners == Manners::Cut && !self.units.is_empty() {
            let last = below(chance, self.units.len() as u64) as usize;
            self.units.truncate(last + 1);
            let unit = self.units.back_mut().expect("one is kept");
            let kept = below(chance, unit.len() as u64) as usize;
            unit.truncate(kept);
        }
    }

    /// A few requests, sent ahead; the last one may ask for the end.
    fn plan_requests(&mut self, chance: &Chance) {
        self.asked = 1 + below(chance, 4) as usize;
        for left in (0..self.asked).rev() {
            let end = if left == 0 && permille(chance, 500) {
                "Connection: close\r\n"
            } else {
                ""
            };
            let request = format!("GET /{left} HTTP/1.1\r\nHost: test\r\n{end}\r\n");
            self.units.push_back(request.into_bytes());
        }
    }

    fn put(&mut self, kind: Kind, message: &[u8], chance: &Chance) {
        match &self.framing {
            Framing::WebSocket => self.put_frames(kind, message, chance),
            Framing::Line { .. } => {
                let end = pick(chance, &[&b"\n"[..], b"\r\n"]);
                self.units.push_back([message, end].concat());
            }
            Framing::Length(format) => {
                let mut head = [0; 8];
                let width = length::write_head(&mut head, format, message.len() as u64);
                let head = &head[..width.expect("it fits")];
                self.units.push_back([head, message].concat());
            }
            Framing::Raw | Framing::Http | Framing::Datagram => {
                self.units.push_back(message.to_vec());
            }
        }
    }

    /// A message in up to five fragments, with control frames between them.
    fn put_frames(&mut self, kind: Kind, message: &[u8], chance: &Chance) {
        let mut opcode = Opcode::from(kind);
        let mut rest = message;
        for _ in 0..below(chance, 5) {
            let (piece, after) = rest.split_at(below(chance, rest.len() as u64 + 1) as usize);
            self.units
                .push_back(websocket::masked(false, opcode, piece));
            if permille(chance, 200) {
                let control = pick(chance, &[Opcode::Ping, Opcode::Pong]);
                self.units
                    .push_back(websocket::masked(true, control, b"between"));
            }
            (opcode, rest) = (Opcode::Continuation, after);
        }
        self.units.push_back(websocket::masked(true, opcode, rest));
    }
}
