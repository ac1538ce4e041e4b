//! permessage-deflate (RFC 7692) of one connection, where the server has agreed to it.

use vespiary_wire::websocket::ProtocolError;
use vespiary_wire::websocket::close::Code;
use vespiary_wire::websocket::deflate::{
    Compressor, Direction, History, Inflater, Offer, Parameters, Settings, Shape,
};

/// What is inflated at a time.
const ROOM_BYTES: usize = 16 << 10;
/// A compressor's memory level and level: the library's defaults.
const MEMORY_LEVEL: u8 = 8;
const LEVEL: u8 = 6;

/// What is offered: everything as large as it goes.
pub fn offer() -> Offer {
    let direction = Direction {
        context_takeover: true,
        window_bits: 15,
    };
    Offer::new(&Settings {
        server: direction,
        client: direction,
    })
}

/// Both directions.
#[derive(Debug)]
pub struct Compression {
    parameters: Parameters,
    compressor: Compressor,
    inflater: Inflater,
    /// What has come of a compressed message.
    waiting: Vec<u8>,
}

impl Compression {
    /// As it was agreed.
    pub fn new(parameters: Parameters) -> Self {
        let shape = Shape {
            window_bits: parameters.client().window_bits,
            level: LEVEL,
            memory_level: MEMORY_LEVEL,
        };
        let mut inflater = Inflater::default();
        inflater.begin(History::new(parameters.server().window_bits));
        Self {
            parameters,
            compressor: Compressor::new(shape),
            inflater,
            waiting: Vec::new(),
        }
    }

    /// Append a frame's share of a message's payload; `is_last` ends the message.
    pub fn compress(&mut self, piece: &[u8], is_last: bool, output: &mut Vec<u8>) {
        self.compressor.compress(piece, is_last, output);
        if is_last && self.parameters.client_no_context_takeover {
            self.compressor.reset();
        }
    }

    /// Keep a piece of a compressed message.
    pub fn keep(&mut self, piece: &[u8]) {
        self.waiting.extend_from_slice(piece);
    }

    /// The compressed message has ended: what it says, of at most `most` bytes.
    pub fn inflate(&mut self, most: usize) -> Result<Vec<u8>, ProtocolError> {
        let waiting = std::mem::take(&mut self.waiting);
        let mut input = &waiting[..];
        let mut inflated = Vec::new();
        let mut room = [0; ROOM_BYTES];
        loop {
            let count = self.inflater.inflate(&mut input, &mut room)?;
            inflated.extend_from_slice(&room[..count]);
            if inflated.len() > most {
                return Err(too_big());
            }
            if input.is_empty() && count < room.len() {
                break;
            }
        }
        self.inflater.finish()?;
        let mut history = self.inflater.take_history();
        if self.parameters.server_no_context_takeover {
            history.clear();
        }
        self.inflater.begin(history);
        Ok(inflated)
    }
}

fn too_big() -> ProtocolError {
    ProtocolError {
        code: Code::TOO_BIG,
        text: "an echo is inflated to far more than was sent",
        section: "",
        limit: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_pass_with_and_without_what_came_before() {
        for forgets in [false, true] {
            let parameters = Parameters {
                server_no_context_takeover: forgets,
                client_no_context_takeover: forgets,
                ..Parameters::default()
            };
            let mut ends = Compression::new(parameters);
            for round in 0..3_usize {
                let message = b"hello ".repeat(round * 10_000);
                let mut compressed = Vec::new();
                ends.compress(&message[..message.len() / 2], false, &mut compressed);
                ends.compress(&message[message.len() / 2..], true, &mut compressed);
                ends.keep(&compressed);
                assert_eq!(ends.inflate(1 << 20).expect("it is whole"), message);
            }
        }
    }

    #[test]
    fn what_inflates_too_far_is_refused() {
        let mut ends = Compression::new(Parameters::default());
        let mut compressed = Vec::new();
        ends.compress(&b"0".repeat(100_000), true, &mut compressed);
        ends.keep(&compressed);
        assert_eq!(
            ends.inflate(50_000).expect_err("too much").code,
            Code::TOO_BIG
        );
    }
}
