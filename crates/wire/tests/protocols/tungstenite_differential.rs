//! The same bytes to this decoder and to tungstenite's: what one takes the other takes.
//!
//! Known differences, each allowed below by its own condition and no wider:
//!
//! 1. A length that is not in its shortest form is refused here (section 5.2 says MUST) and taken
//!    there, in control frames too.
//! 2. A frame is refused here at its head, and a text at its first impossible byte; there when the
//!    frame is complete. On input that ends within the offending frame, tungstenite still waits.
//! 3. A close frame with a code that may not be sent is refused here; there it is delivered as
//!    1002 "Protocol violation".
//! 4. Code 1014 (bad gateway, IANA's registry) may be sent here; there it is one of those that may
//!    not.

use std::io::{self, Read, Write};

use proptest::prelude::*;
use tungstenite::error::ProtocolError as TheirError;
use tungstenite::protocol::{Role as TheirRole, WebSocket, WebSocketConfig};
use tungstenite::{Error, Message};
use vespiary_wire::mask;
use vespiary_wire::utf8::Validator;
use vespiary_wire::websocket::close;
use vespiary_wire::websocket::decoder::{Control, Data, Decoder, Event, Limits, Role};
use vespiary_wire::websocket::frame::{Kind, Opcode};
use vespiary_wire::websocket::profile::Version;

use crate::support::{any_role, any_stream};

const BYTES_MAX: usize = 400;
const LIMITS: Limits = Limits {
    frame_bytes_max: BYTES_MAX as u64,
    message_bytes_max: BYTES_MAX as u64,
    fragments_max: u32::MAX,
};

#[derive(Clone, PartialEq, Eq, Debug)]
enum Received {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum End {
    /// The input ended first.
    Waiting,
    Closed,
    Refused,
    /// Refused here, for a reason of the list above.
    RefusedForLength,
    RefusedWithinFrame,
    RefusedForCode,
}

struct Scripted<'a>(&'a [u8]);

impl Read for Scripted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Scripted<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn theirs(role: Role, bytes: &[u8]) -> (Vec<Received>, End) {
    let role = match role {
        Role::Server => TheirRole::Server,
        Role::Client => TheirRole::Client,
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(BYTES_MAX))
        .max_frame_size(Some(BYTES_MAX));
    let mut socket = WebSocket::from_raw_socket(Scripted(bytes), role, Some(config));
    let mut received = Vec::new();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => received.push(Received::Text(text.as_bytes().to_vec())),
            Ok(Message::Binary(bytes)) => received.push(Received::Binary(bytes.to_vec())),
            Ok(Message::Ping(bytes)) => received.push(Received::Ping(bytes.to_vec())),
            Ok(Message::Pong(bytes)) => received.push(Received::Pong(bytes.to_vec())),
            Ok(Message::Close(frame)) => {
                let close = frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
                received.push(Received::Close(close));
                return (received, End::Closed);
            }
            Ok(Message::Frame(frame)) => panic!("a raw frame was read: {frame:?}"),
            Err(Error::Protocol(TheirError::ResetWithoutClosingHandshake)) => {
                return (received, End::Waiting);
            }
            Err(_) => return (received, End::Refused),
        }
    }
}

#[derive(Default)]
struct Receiver {
    received: Vec<Received>,
    message: Vec<u8>,
    validator: Validator,
}

impl Receiver {
    fn data(&mut self, data: &Data<'_>) -> Result<(), End> {
        let start = self.message.len();
        self.message.extend_from_slice(data.payload);
        mask::in_place(&mut self.message[start..], data.key);
        if data.kind == Kind::Text {
            let mut valid = self.validator.feed(&self.message[start..]);
            if valid.is_ok() && data.message_end {
                valid = self.validator.finish();
            }
            if valid.is_err() {
                let whole = data.frame_remaining == 0;
                return Err(if whole {
                    End::Refused
                } else {
                    End::RefusedWithinFrame
                });
            }
        }
        if data.message_end {
            let message = std::mem::take(&mut self.message);
            self.received.push(match data.kind {
                Kind::Text => Received::Text(message),
                Kind::Binary => Received::Binary(message),
            });
        }
        Ok(())
    }

    fn control(&mut self, control: &Control) -> Result<(), End> {
        let payload = control.payload();
        match control.opcode {
            Opcode::Ping => self.received.push(Received::Ping(payload.to_vec())),
            Opcode::Pong => self.received.push(Received::Pong(payload.to_vec())),
            _ => {
                let profile = Version::default().profile();
                let parsed = close::parse(profile, Role::Server, payload);
                let close = parsed.map_err(|error| match error.section {
                    "RFC 6455 7.4" => End::RefusedForCode,
                    _ => End::Refused,
                })?;
                let told = (!payload.is_empty()).then(|| (close.0.0, close.1.into_owned()));
                self.received.push(Received::Close(told));
                return Err(End::Closed);
            }
        }
        Ok(())
    }
}

fn ours(role: Role, bytes: &[u8]) -> (Vec<Received>, End) {
    let mut decoder = Decoder::new(role, Version::default());
    let mut receiver = Receiver::default();
    let mut input = bytes;
    loop {
        let outcome = match decoder.next(&mut input, &LIMITS) {
            Ok(Some(Event::Data(data))) => receiver.data(&data),
            Ok(Some(Event::Control(control))) => receiver.control(&control),
            Ok(None) => Err(End::Waiting),
            Err(error) if is_for_length(error.text, input) => Err(End::RefusedForLength),
            Err(_) if is_whole(input) => Err(End::Refused),
            Err(_) => Err(End::RefusedWithinFrame),
        };
        if let Err(end) = outcome {
            return (receiver.received, end);
        }
    }
}

/// Whether a frame is refused for the form of its length alone. A control frame is refused at its
/// second byte, which says that a longer form follows, and not at the length that it then gives.
fn is_for_length(text: &str, bytes: &[u8]) -> bool {
    let short_control = || match bytes.get(1).map(|second| second & 0x7F) {
        Some(126) => bytes.get(2..4).is_none_or(|length| number(length) <= 125),
        Some(127) => bytes.get(2..10).is_none_or(|length| number(length) <= 125),
        _ => false,
    };
    text.contains("shortest") || (text.contains("control frame is longer") && short_control())
}

/// Whether the frame at the front of `bytes` ends within them, whatever else is wrong with it.
fn is_whole(bytes: &[u8]) -> bool {
    let Some(second) = bytes.get(1) else {
        return false;
    };
    let key = if second & 0x80 == 0 { 0 } else { 4 };
    let (head, length) = match second & 0x7F {
        126 => (4, bytes.get(2..4).map(number)),
        127 => (10, bytes.get(2..10).map(number)),
        short => (2, Some(u64::from(short))),
    };
    length.is_some_and(|length| bytes.len() as u64 >= length.saturating_add(head + key))
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

fn assert_alike(role: Role, bytes: &[u8]) {
    let (received, end) = ours(role, bytes);
    let (their_received, their_end) = theirs(role, bytes);
    let context = format!("{bytes:02x?}: {end:?} here, {their_end:?} there");
    match end {
        End::RefusedForLength => {
            assert!(their_received.starts_with(&received), "{context}");
        }
        End::RefusedWithinFrame => {
            assert!(
                matches!(their_end, End::Waiting | End::Refused),
                "{context}"
            );
            assert_eq!(received, their_received, "{context}");
        }
        End::RefusedForCode => {
            let told = Received::Close(Some((1002, "Protocol violation".to_owned())));
            let delivered = their_end == End::Closed && their_received.last() == Some(&told);
            assert!(delivered || their_end == End::Refused, "{context}");
            assert!(their_received.starts_with(&received), "{context}");
        }
        End::Waiting | End::Closed | End::Refused => {
            assert_eq!(end, their_end, "{context}");
            assert_eq!(received, their_received, "{context}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn frames_right_and_wrong_are_judged_alike(
        (role, stream) in any_role().prop_flat_map(|role| (Just(role), any_stream(role))),
    ) {
        assert_alike(role, &stream);
    }
}

#[test]
fn every_first_byte_and_every_length_form_is_judged_alike() {
    for role in [Role::Server, Role::Client] {
        for first in 0..=u8::MAX {
            for second in [0x00, 0x05, 0x7D, 0x7E, 0x7F, 0x80, 0x85, 0xFD, 0xFE, 0xFF] {
                for length in [
                    [0; 8],
                    [0, 200, 0, 0, 0, 0, 0, 0],
                    [0, 0, 0, 0, 0, 0, 0, 200],
                ] {
                    let mut bytes = vec![first, second];
                    bytes.extend_from_slice(&length);
                    bytes.extend_from_slice(&[b'a'; 300]);
                    assert_alike(role, &bytes);
                }
            }
        }
    }
}

#[test]
fn every_close_code_is_judged_alike() {
    for code in (0..=u16::MAX).filter(|code| *code != close::Code::BAD_GATEWAY.0) {
        let [high, low] = code.to_be_bytes();
        assert_alike(Role::Client, &[0x88, 0x04, high, low, b'o', b'k']);
    }
}
