//! A WebSocket peer by hand: its parser of frames shares nothing with the one under test.

use super::{Bench, Peer, Place};
use vespiary_engine::wire::websocket::frame::{self, Opcode};

/// The example key of RFC 6455 section 1.3.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// Its answer.
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A frame as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The first byte: FIN, reserved bits and opcode.
    pub first: u8,
    /// The payload, unmasked.
    pub payload: Vec<u8>,
    /// Whether it was masked.
    pub masked: bool,
}

impl Frame {
    /// The opcode's number.
    pub fn opcode(&self) -> u8 {
        self.first & 0xF
    }

    /// Whether it is the last of its message.
    pub fn is_last(&self) -> bool {
        self.first & 0x80 != 0
    }

    /// A close frame's code; `None` when it has none.
    pub fn code(&self) -> Option<u16> {
        assert_eq!(self.opcode(), 8, "{self:?}");
        self.payload
            .first_chunk()
            .map(|bytes| u16::from_be_bytes(*bytes))
    }

    /// A close frame's reason.
    pub fn reason(&self) -> &str {
        let bytes = self.payload.get(2..).unwrap_or(&[]);
        std::str::from_utf8(bytes).expect("a reason in UTF-8")
    }
}

/// An upgrade request with further header lines (each with its CR LF).
pub fn request(target: &str, lines: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{lines}\r\n"
    )
}

/// A frame of a client's.
pub fn masked(last: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::append(&mut bytes, last, false, opcode, payload, Some([1, 2, 3, 4]));
    bytes
}

/// A frame of a server's.
pub fn unmasked(last: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::append(&mut bytes, last, false, opcode, payload, None);
    bytes
}

/// A client's text message.
pub fn text(payload: &str) -> Vec<u8> {
    masked(true, Opcode::Text, payload.as_bytes())
}

/// A client's binary message.
pub fn binary(payload: &[u8]) -> Vec<u8> {
    masked(true, Opcode::Binary, payload)
}

/// The payload of a close frame.
pub fn closing(code: u16, reason: &str) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(reason.as_bytes());
    payload
}

/// A client's close frame.
pub fn close(code: u16, reason: &str) -> Vec<u8> {
    masked(true, Opcode::Close, &closing(code, reason))
}

/// Take a whole frame off the front of `input`, if one is there.
pub fn parse(input: &mut Vec<u8>) -> Option<Frame> {
    let [first, second, ..] = input[..] else {
        return None;
    };
    let (width, short) = match second & 0x7F {
        126 => (2, 0),
        127 => (8, 0),
        length => (0, usize::from(length)),
    };
    let extended = input.get(2..2 + width)?;
    let long = extended
        .iter()
        .fold(0usize, |length, byte| length << 8 | usize::from(*byte));
    let masked = second & 0x80 != 0;
    let mut start = 2 + width;
    let key: Vec<u8> = if masked {
        input.get(start..start + 4)?.to_vec()
    } else {
        vec![0; 4]
    };
    start += if masked { 4 } else { 0 };
    let end = start + short + long;
    let payload = input.get(start..end)?.iter().enumerate();
    let payload = payload.map(|(place, byte)| byte ^ key[place % 4]).collect();
    input.drain(..end);
    Some(Frame {
        first,
        payload,
        masked,
    })
}

impl Peer {
    /// The next frame.
    pub fn frame(&mut self, bench: &Bench) -> Frame {
        let mut frame = None;
        bench.until("a frame", || {
            self.look();
            frame = parse(&mut self.input);
            if frame.is_none() {
                assert_eq!(self.ending, None, "ended after {:?}", self.input);
            }
            frame.is_some()
        });
        frame.expect("until it is there")
    }

    /// The next frame except pings: on a slow machine a connection that does not read sends some.
    pub fn frame_but_pings(&mut self, bench: &Bench) -> Frame {
        loop {
            let frame = self.frame(bench);
            if frame.opcode() != Opcode::Ping as u8 {
                return frame;
            }
        }
    }

    /// The head of an HTTP answer.
    pub fn head(&mut self, bench: &Bench) -> String {
        String::from_utf8(self.take_until(bench, b"\r\n\r\n")).expect("an ASCII head")
    }
}

/// Connect, and complete the handshake.
pub fn open(bench: &Bench, place: &Place) -> Peer {
    let mut peer = bench.connect(place);
    peer.send(bench, request("/", "").as_bytes());
    let head = peer.head(bench);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains(ACCEPT), "{head}");
    peer
}
