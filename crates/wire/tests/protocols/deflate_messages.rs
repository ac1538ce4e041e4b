//! RFC 7692 sections 6 and 7.2: messages compressed and inflated.

use proptest::collection::vec;
use proptest::prelude::*;
use vespiary_trace::claims;
use vespiary_wire::websocket::close::Code;
use vespiary_wire::websocket::deflate::{Compressor, Corrupt, History, Inflater, Shape};
use vespiary_wire::websocket::{ProtocolError, frame};

use super::deflate_reader::farthest_reference;

pub const SHAPE: Shape = Shape {
    window_bits: 15,
    level: 6,
    memory_level: 8,
};

/// Inflates one message that comes in these pieces, into pieces of so many bytes.
pub fn inflate_pieces(
    inflater: &mut Inflater,
    pieces: &[&[u8]],
    step: usize,
) -> Result<Vec<u8>, Corrupt> {
    let mut inflated = Vec::new();
    let mut room = vec![0; step];
    for piece in pieces {
        let mut input = *piece;
        loop {
            let filled = inflater.inflate(&mut input, &mut room)?;
            inflated.extend_from_slice(&room[..filled]);
            if filled < room.len() {
                assert!(input.is_empty(), "input was left while there was room");
                break;
            }
        }
    }
    inflater.finish()?;
    Ok(inflated)
}

/// A receiver whose peer takes its context over.
struct Receiver {
    inflater: Inflater,
    history: Option<History>,
    bits: u8,
}

impl Receiver {
    fn new(bits: u8) -> Self {
        Self {
            inflater: Inflater::default(),
            history: None,
            bits,
        }
    }

    fn take(&mut self, pieces: &[&[u8]], step: usize) -> Result<Vec<u8>, Corrupt> {
        let history = self.history.take();
        self.inflater
            .begin(history.unwrap_or_else(|| History::new(self.bits)));
        let inflated = inflate_pieces(&mut self.inflater, pieces, step)?;
        let history = self.inflater.take_history();
        assert!(history.memory_bytes() <= 1 << self.bits);
        self.history = Some(history);
        Ok(inflated)
    }
}

fn inflate(message: &[u8]) -> Result<Vec<u8>, Corrupt> {
    Receiver::new(15).take(&[message], 64)
}

fn compress(compressor: &mut Compressor, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    compressor.compress(message, true, &mut out);
    out
}

const HELLO: &[u8] = &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

#[test]
fn section_7_2_3_1_hello_is_compressed_as_in_the_example() {
    claims!("rfc7692/7.2.1/h1", "rfc7692/7.2.1/h3");
    let mut compressor = Compressor::new(SHAPE);
    assert_eq!(compress(&mut compressor, b"Hello"), HELLO);
    assert_eq!(inflate(HELLO).unwrap(), b"Hello");
    let mut bytes = Vec::new();
    frame::append(&mut bytes, true, true, frame::Opcode::Text, HELLO, None);
    assert_eq!(bytes[..2], [0xc1, 0x07]);
}

#[test]
fn section_7_2_3_2_a_window_taken_over_makes_the_second_hello_shorter() {
    let mut compressor = Compressor::new(SHAPE);
    let mut receiver = Receiver::new(15);
    let first = compress(&mut compressor, b"Hello");
    let second = compress(&mut compressor, b"Hello");
    assert!(second.len() < first.len(), "{second:02x?}");
    assert_eq!(receiver.take(&[&first], 9).unwrap(), b"Hello");
    assert_eq!(receiver.take(&[&second], 9).unwrap(), b"Hello");
    assert_eq!(
        receiver
            .take(&[&[0xf2, 0x00, 0x11, 0x00, 0x00]], 9)
            .unwrap(),
        b"Hello"
    );
    assert_eq!(
        inflate(&second),
        Err(Corrupt),
        "it refers to what is not there"
    );
    compressor.reset();
    assert_eq!(compress(&mut compressor, b"Hello"), HELLO);
}

#[test]
fn section_7_2_3_3_a_block_without_compression_is_inflated() {
    let message = [
        0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00,
    ];
    assert_eq!(inflate(&message).unwrap(), b"Hello");
}

#[test]
fn section_7_2_3_4_a_block_that_calls_itself_the_last_ends_no_message_and_no_window() {
    let message = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    let mut receiver = Receiver::new(15);
    assert_eq!(receiver.take(&[&message], 9).unwrap(), b"Hello");
    // What follows may refer to what stood in front of the last block, in the same message too.
    assert_eq!(
        receiver
            .take(&[&[0xf2, 0x00, 0x11, 0x00, 0x00]], 9)
            .unwrap(),
        b"Hello"
    );
    let both = [&message[..7], &[0xf2, 0x00, 0x11, 0x00, 0x00]].concat();
    assert_eq!(inflate(&both).unwrap(), b"HelloHello");
    // Some senders leave the empty block behind it away; nothing is missing.
    assert_eq!(inflate(&message[..7]).unwrap(), b"Hello");
}

#[test]
fn section_7_2_3_5_two_blocks_in_one_message_are_inflated() {
    let message = [
        0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
    ];
    assert_eq!(inflate(&message).unwrap(), b"Hello");
}

#[test]
fn section_7_2_3_6_an_empty_message_is_one_byte_wherever_it_stands() {
    claims!("rfc7692/7.2.1/h2", "rfc7692/7.2.3.6/h1");
    let mut compressor = Compressor::new(SHAPE);
    let mut receiver = Receiver::new(15);
    assert_eq!(compress(&mut compressor, b""), [0x00]);
    assert_eq!(receiver.take(&[&[0x00]], 9).unwrap(), b"");
    for _ in 0..3 {
        let hello = compress(&mut compressor, b"Hello");
        assert_eq!(receiver.take(&[&hello], 9).unwrap(), b"Hello");
        assert_eq!(compress(&mut compressor, b""), [0x00]);
        assert_eq!(receiver.take(&[&[0x00]], 9).unwrap(), b"");
    }
}

#[test]
fn section_7_2_1_every_fragment_but_the_last_keeps_its_tail() {
    claims!("rfc7692/7.2.1/5", "rfc7692/7.2.3.6/h1");
    let mut compressor = Compressor::new(SHAPE);
    let mut fragments = vec![Vec::new(); 4];
    compressor.compress(b"Hel", false, &mut fragments[0]);
    compressor.compress(b"", false, &mut fragments[1]);
    compressor.compress(b"lo", false, &mut fragments[2]);
    compressor.compress(b"", true, &mut fragments[3]);
    assert!(fragments[0].ends_with(&[0x00, 0x00, 0xff, 0xff]));
    assert!(fragments[1].is_empty());
    assert!(fragments[2].ends_with(&[0x00, 0x00, 0xff, 0xff]));
    assert_eq!(fragments[3], [0x00]);
    let pieces: Vec<&[u8]> = fragments.iter().map(Vec::as_slice).collect();
    assert_eq!(Receiver::new(15).take(&pieces, 2).unwrap(), b"Hello");
}

#[test]
fn what_does_not_end_with_a_block_is_corrupt_and_so_is_what_is_not_a_deflate() {
    claims!("rfc7692/7.2.2/h1");
    let whole = compress(&mut Compressor::new(SHAPE), &text(2000));
    assert_eq!(inflate(&whole).unwrap(), text(2000));
    for end in 0..whole.len() {
        assert_eq!(inflate(&whole[..end]), Err(Corrupt), "cut at {end}");
    }
    for junk in [
        &b"\x06"[..],
        b"Hello",
        b"\xff\xff\xff\xff",
        b"\x00\x05\x00\x00\x00",
    ] {
        assert_eq!(inflate(junk), Err(Corrupt), "{junk:02x?}");
    }
    let error = ProtocolError::from(Corrupt);
    assert_eq!(error.code, Code::INVALID_PAYLOAD);
    assert_eq!(error.limit, None);
}

#[test]
fn an_inflater_continues_with_the_next_message_after_a_corrupt_one() {
    let mut inflater = Inflater::default();
    for message in [&b"\xff\xff"[..], &HELLO[..4], b"\x06"] {
        inflater.begin(History::new(15));
        assert!(inflate_pieces(&mut inflater, &[message], 10).is_err());
        inflater.begin(History::new(15));
        assert_eq!(
            inflate_pieces(&mut inflater, &[HELLO], 10).unwrap(),
            b"Hello"
        );
    }
}

#[test]
fn what_inflates_a_thousandfold_comes_in_pieces_of_the_room_that_is_given() {
    let bomb = compress(&mut Compressor::new(SHAPE), &vec![0; 4 << 20]);
    assert!(bomb.len() < 5000, "{}", bomb.len());
    let mut inflater = Inflater::default();
    inflater.begin(History::new(15));
    let mut input = &bomb[..];
    let mut room = [1; 4096];
    for _ in 0..1024 {
        assert_eq!(inflater.inflate(&mut input, &mut room), Ok(4096));
        assert_eq!(room, [0; 4096]);
    }
    assert_eq!(inflater.inflate(&mut input, &mut room), Ok(0));
    assert_eq!(inflater.finish(), Ok(()));
    assert!(inflater.history_bytes() <= 32 << 10);
}

#[test]
fn a_call_stops_after_so_many_blocks_that_call_themselves_the_last() {
    let blocks = Inflater::RESTARTS_MAX * 3;
    let message = [&[0x03, 0x00].repeat(blocks)[..], &[0xf2, 0x48, 0x05, 0x00]].concat();
    let mut inflater = Inflater::default();
    inflater.begin(History::new(15));
    let (mut input, mut room, mut filled, mut calls) = (&message[..], [0; 64], 0, 0);
    while !input.is_empty() {
        filled += inflater.inflate(&mut input, &mut room[filled..]).unwrap();
        calls += 1;
    }
    inflater.finish().unwrap();
    assert_eq!(&room[..filled], b"He");
    assert_eq!(calls, 3);
}

#[test]
fn section_7_2_1_no_reference_reaches_farther_back_than_the_window_that_was_agreed_on() {
    claims!("rfc7692/7.2.1/12", "rfc7692/7.2.1/14");
    for window_bits in 8..=15 {
        for level in 0..=9 {
            let mut compressor = Compressor::new(Shape {
                window_bits,
                level,
                memory_level: 8,
            });
            let mut stream = Vec::new();
            for _ in 0..3 {
                stream.extend(compress(&mut compressor, &text(40_000)));
                stream.extend([0x00, 0x00, 0xff, 0xff]);
            }
            let farthest = farthest_reference(&stream);
            assert!(
                farthest <= 1 << window_bits,
                "{window_bits} {level}: {farthest}"
            );
            assert_eq!(farthest == 0, level == 0, "{window_bits} {level}");
        }
    }
}

#[test]
fn section_7_2_2_a_message_that_refers_to_beyond_the_agreed_window_is_corrupt() {
    let mut wide = Compressor::new(SHAPE);
    let mut receiver = Receiver::new(9);
    // Nothing in it repeats, so only the second copy can refer, and only to beyond 512 bytes.
    let message = noise(600, 7);
    let first = compress(&mut wide, &message);
    let second = compress(&mut wide, &message);
    assert!(second.len() < 100);
    assert_eq!(receiver.take(&[&first], 1000).unwrap(), message);
    assert_eq!(receiver.take(&[&second], 1000), Err(Corrupt));
    let mut receiver = Receiver::new(10);
    assert_eq!(receiver.take(&[&first], 1000).unwrap(), message);
    assert_eq!(receiver.take(&[&second], 1000).unwrap(), message);
}

#[test]
fn a_compressor_holds_what_its_shape_says() {
    assert!((360 << 10..380 << 10).contains(&SHAPE.memory_bytes()));
    let small = Shape {
        window_bits: 9,
        level: 1,
        memory_level: 1,
    };
    assert!((130 << 10..140 << 10).contains(&small.memory_bytes()));
}

/// Text with repetitions at every distance.
fn text(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut text = Vec::new();
    while text.len() < length {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.extend(format!("{{\"id\": {}, \"name\": \"bee\"}}\n", state >> 20).bytes());
    }
    text.truncate(length);
    text
}

fn noise(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn any_message() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        1 => Just(Vec::new()),
        4 => "[a-f \"{}:]{0,300}".prop_map(String::into_bytes),
        2 => vec(any::<u8>(), 0..300),
        1 => (0_usize..70_000).prop_map(text),
        1 => (0_usize..70_000, any::<u32>()).prop_map(|(length, seed)| noise(length, seed)),
        1 => (0_usize..200_000, any::<u8>()).prop_map(|(length, byte)| vec![byte; length]),
    ]
}

fn any_shape() -> impl Strategy<Value = Shape> {
    (8_u8..=15, 0_u8..=9, 1_u8..=9).prop_map(|(window_bits, level, memory_level)| Shape {
        window_bits,
        level,
        memory_level,
    })
}

/// Cuts bytes at places that may coincide.
fn cut<'a>(bytes: &'a [u8], places: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let places: Vec<usize> = places
        .iter()
        .map(|place| place.index(bytes.len() + 1))
        .collect();
    super::support::cut(bytes, &places)
}

proptest! {
    #[test]
    fn what_is_compressed_in_any_pieces_is_inflated_from_any_pieces(
        shape in any_shape(),
        takeover in any::<bool>(),
        messages in vec((any_message(), vec(any::<prop::sample::Index>(), 0..4)), 1..6),
        wire_cuts in vec(any::<prop::sample::Index>(), 0..6),
        step in prop::sample::select(vec![1_usize, 7, 4096, 65_536]),
    ) {
        let mut compressor = Compressor::new(shape);
        let mut receiver = Receiver::new(shape.window_bits);
        for (message, places) in &messages {
            if !takeover {
                compressor.reset();
                receiver.history = None;
            }
            let pieces = cut(message, places);
            let mut wire = Vec::new();
            for (index, piece) in pieces.iter().enumerate() {
                compressor.compress(piece, index + 1 == pieces.len(), &mut wire);
            }
            // One byte at a time is tried on small messages only.
            let step = if message.len() > 1000 { step.max(512) } else { step };
            prop_assert_eq!(&receiver.take(&cut(&wire, &wire_cuts), step).unwrap(), message);
        }
    }

    #[test]
    fn any_bytes_are_inflated_or_refused_without_a_panic(
        bytes in vec(any::<u8>(), 0..200),
        bits in 8_u8..=15,
        step in 1_usize..300,
    ) {
        let _ = Receiver::new(bits).take(&[&bytes], step);
    }

    #[test]
    fn a_message_with_a_changed_byte_is_inflated_or_refused_without_a_panic(
        message in any_message(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut wire = compress(&mut Compressor::new(SHAPE), &message);
        let place = place.index(wire.len());
        wire[place] = byte;
        let mut receiver = Receiver::new(15);
        if receiver.take(&[&wire], 4096).is_ok() {
            receiver.take(&[HELLO], 10).unwrap();
        }
    }
}
