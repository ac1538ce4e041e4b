use super::*;
use crate::framing::Framing;
use crate::plan::Plan;
use crate::target::Target;
use proptest::prelude::*;

fn shape(framing: &str, size: usize) -> Shape {
    let mut plan = Plan::new(Target::parse("tcp://127.0.0.1:1").expect("an address"));
    plan.framing = Framing::parse(framing).expect("known");
    plan.size = size;
    Shape::new(&plan, 1)
}

fn stream(shape: &Shape, connection: u32, messages: usize) -> Vec<u8> {
    let mut cursor = Cursor::first(connection);
    let mut bytes = Vec::new();
    for _ in 0..messages {
        shape.append(cursor, &mut bytes);
        cursor.advance();
    }
    bytes
}

#[derive(Debug, Default, PartialEq)]
struct Found {
    back: u32,
    differences: Vec<Difference>,
    skipped: u64,
    late: Vec<u64>,
    lost: Vec<u64>,
    again: Vec<u64>,
    extra: u64,
}

impl Books for Found {
    fn back(&mut self, count: u32) {
        self.back += count;
    }
    fn altered(&mut self, difference: Difference) {
        self.back += 1;
        self.differences.push(difference);
    }
    fn skipped(&mut self) -> Nanoseconds {
        self.skipped += 1;
        self.skipped
    }
    fn late(&mut self, missing: &Missing, _: u64) {
        self.late.push(missing.number);
    }
    fn lost(&mut self, missing: &Missing) {
        self.lost.push(missing.number);
    }
    fn again(&mut self, number: u64) {
        self.again.push(number);
    }
    fn extra(&mut self, bytes: u64, _: u64) {
        self.extra += bytes;
    }
}

/// What is found in an echo that comes in pieces; missing messages are lost at its end.
fn check(shape: &Shape, echo: &[u8], pieces: usize, sent: u64) -> Found {
    let mut expectation = Expectation::new(4);
    let mut found = Found::default();
    for piece in echo.chunks(pieces.max(1)) {
        let completed = expectation.stream(shape, piece, sent, &mut found);
        found.back(completed);
    }
    expectation.give_up(|_| true, |missing| found.lost.push(missing.number));
    found
}

/// Ditto, where each message is of `size` bytes; `change` gets the frames that come back.
fn changed(framing: &str, pieces: usize, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Found {
    let shape = shape(framing, 20);
    let whole = stream(&shape, 4, 20);
    let mut frames: Vec<Vec<u8>> = whole
        .chunks(shape.frame_bytes_max())
        .map(<[u8]>::to_vec)
        .collect();
    change(&mut frames);
    check(&shape, &frames.concat(), pieces, 20)
}

const FRAMINGS: [&str; 5] = ["raw", "line", "crlf", "length", "length:2le+self"];

proptest! {
    #[test]
    fn a_true_echo_passes_however_it_is_cut(size in 1_usize..80, pieces in 1_usize..200) {
        for framing in FRAMINGS {
            let shape = shape(framing, size);
            let found = check(&shape, &stream(&shape, 4, 20), pieces, 20);
            prop_assert_eq!(found, Found { back: 20, ..Found::default() });
        }
    }

    #[test]
    fn one_changed_byte_alters_one_message(
        at in 0_usize..400,
        flip in 1_u8..=255,
        pieces in 1_usize..200,
    ) {
        let shape = shape("raw", 20);
        let mut echo = stream(&shape, 4, 20);
        echo[at] ^= flip;
        let found = check(&shape, &echo, pieces, 20);
        prop_assert_eq!((found.back, found.extra), (20, 0));
        prop_assert_eq!(found.differences.len(), 1);
        prop_assert_eq!(found.differences[0].message, (at / 20) as u64);
        prop_assert_eq!(found.differences[0].offset, at % 20);
    }

    #[test]
    fn each_fault_counts_once_on_every_framing_however_the_echo_is_cut(
        at in 1_usize..18,
        pieces in 1_usize..100,
    ) {
        let number = at as u64;
        for framing in FRAMINGS {
            let dropped = changed(framing, pieces, |frames| drop(frames.remove(at)));
            let wanted = Found { back: 19, skipped: 1, lost: vec![number], ..Found::default() };
            prop_assert_eq!(dropped, wanted, "dropped, {}", framing);

            let doubled = changed(framing, pieces, |frames| frames.insert(at, frames[at].clone()));
            let wanted = Found { back: 20, again: vec![number], ..Found::default() };
            prop_assert_eq!(doubled, wanted, "doubled, {}", framing);

            let swapped = changed(framing, pieces, |frames| frames.swap(at, at + 1));
            let wanted = Found { back: 19, skipped: 1, late: vec![number], ..Found::default() };
            prop_assert_eq!(swapped, wanted, "swapped, {}", framing);

            let shortened = changed(framing, pieces, |frames| drop(frames[at].drain(8..12)));
            prop_assert_eq!(shortened.differences.len(), 1, "shortened, {}", framing);
            prop_assert_eq!((shortened.back, shortened.extra), (20, 0), "shortened, {}", framing);
        }
    }

    #[test]
    fn one_changed_bit_of_a_websocket_message_is_found(
        at in 0_usize..50,
        bit in 0_u32..8,
        cut in 1_usize..60,
    ) {
        let shape = shape("raw", 50);
        let mut echo = stream(&shape, 4, 1);
        echo[at] ^= 1 << bit;
        let mut expectation = Expectation::new(4);
        let mut found = Found::default();
        for piece in echo.chunks(cut) {
            expectation.piece(&shape, piece, 1);
        }
        expectation.end(&shape, 1, true, &mut found);
        prop_assert_eq!((found.back, found.differences.len()), (1, 1));
        prop_assert_eq!(found.differences[0].offset, at);
    }
}

#[test]
fn a_dropped_byte_alters_one_message_and_the_rest_stays_in_step() {
    let shape = shape("raw", 20);
    let mut echo = stream(&shape, 4, 20);
    echo.remove(105);
    let found = check(&shape, &echo, 64, 20);
    assert_eq!((found.back, found.differences.len()), (20, 1));
    let difference = &found.differences[0];
    assert_eq!((difference.message, difference.offset), (5, 5));
    assert_eq!(difference.note, "1 byte is missing");
}

#[test]
fn an_added_byte_alters_one_message_and_the_rest_stays_in_step() {
    let shape = shape("raw", 20);
    let mut echo = stream(&shape, 4, 20);
    echo.insert(105, echo[105].wrapping_add(1));
    let found = check(&shape, &echo, 1000, 20);
    assert_eq!((found.back, found.extra), (20, 0));
    assert_eq!(found.differences[0].note, "1 byte was added");
}

#[test]
fn several_dropped_messages_are_each_counted() {
    let found = changed("line", 4096, |frames| drop(frames.drain(3..8)));
    assert_eq!(found.lost, [3, 4, 5, 6, 7]);
    assert_eq!((found.back, found.differences.len()), (15, 0));
}

#[test]
fn an_altered_message_among_dropped_ones_is_one_altered_message() {
    let found = changed("raw", 4096, |frames| {
        frames[5][3] ^= 1;
        drop(frames.drain(6..8));
    });
    assert_eq!((found.differences.len(), found.lost.len()), (1, 2));
    assert_eq!(found.back, 18);
}

#[test]
fn messages_too_short_to_be_recognized_alone_are_recognized_by_those_that_follow() {
    let shape = shape("raw", 3);
    let mut echo = stream(&shape, 4, 20);
    echo.drain(15..18);
    let found = check(&shape, &echo, 4096, 20);
    assert_eq!((found.back, found.lost), (19, vec![5]));
}

#[test]
fn another_connections_echo_differs() {
    let shape = shape("raw", 16);
    let mut found = Found::default();
    let mut expectation = Expectation::new(4);
    // One message in flight at a time.
    for (number, piece) in stream(&shape, 5, 3).chunks(16).enumerate() {
        expectation.stream(&shape, piece, number as u64 + 1, &mut found);
    }
    assert_eq!((found.back, found.differences.len()), (3, 3));
}

#[test]
fn bytes_beyond_what_was_sent_are_extra() {
    let shape = shape("raw", 16);
    let found = check(&shape, &stream(&shape, 4, 3), 4096, 2);
    let wanted = Found {
        back: 2,
        extra: 16,
        ..Found::default()
    };
    assert_eq!(found, wanted);
}

#[test]
fn a_wrong_length_before_the_payload_is_an_alteration() {
    let shape = shape("length", 16);
    let mut echo = stream(&shape, 4, 1);
    echo[3] ^= 1;
    let found = check(&shape, &[&echo[..], b"x"].concat(), 4096, 1);
    assert_eq!(
        (found.differences.len(), found.differences[0].offset),
        (1, 3)
    );
}

#[test]
fn what_may_still_become_a_message_is_held_until_it_ends() {
    let shape = shape("raw", 16);
    let echo = stream(&shape, 4, 1);
    let mut expectation = Expectation::new(4);
    let mut found = Found::default();
    assert_eq!(expectation.stream(&shape, &echo, 1, &mut found), 1);
    expectation.stream(&shape, &echo[..5], 1, &mut found);
    assert_eq!((found.again.len(), found.extra), (0, 0));
    assert_eq!(expectation.take_held(), 5);
}

fn websocket(shape: &Shape, messages: &[&[u8]], sent: u64, kind_kept: bool) -> Found {
    let mut expectation = Expectation::new(4);
    let mut found = Found::default();
    for message in messages {
        expectation.piece(shape, message, sent);
        expectation.end(shape, sent, kind_kept, &mut found);
    }
    expectation.give_up(|_| true, |missing| found.lost.push(missing.number));
    found
}

#[test]
fn websocket_messages_are_recognized_by_content() {
    let shape = shape("raw", 10);
    let whole = stream(&shape, 4, 4);
    let message: Vec<&[u8]> = whole.chunks(10).collect();
    let dropped = websocket(&shape, &[message[0], message[2], message[3]], 4, true);
    assert_eq!((dropped.back, dropped.lost), (3, vec![1]));
    let swapped = [message[1], message[0], message[2], message[3]];
    let swapped = websocket(&shape, &swapped, 4, true);
    assert_eq!((swapped.back, swapped.late), (3, vec![0]));
    let doubled = websocket(&shape, &[message[0], message[0], message[1]], 2, true);
    assert_eq!((doubled.back, doubled.again), (2, vec![0]));
    let extra = websocket(&shape, &[message[0], b"hello"], 1, true);
    assert_eq!((extra.back, extra.extra), (1, 7));
}

#[test]
fn short_long_and_retyped_websocket_messages_are_distinguished() {
    let shape = shape("raw", 10);
    let whole = stream(&shape, 4, 1);
    let note = |payload: &[u8], kind_kept| {
        let found = websocket(&shape, &[payload], 1, kind_kept);
        assert_eq!(found.back, 1);
        found
            .differences
            .into_iter()
            .map(|it| it.note)
            .collect::<String>()
    };
    assert_eq!(note(&whole, true), "");
    assert_eq!(note(&whole[..9], true), "the message ended early");
    assert_eq!(
        note(&[&whole[..], b"x"].concat(), true),
        "more came than was sent"
    );
    assert!(note(&whole, false).contains("text came back as binary"));
}
