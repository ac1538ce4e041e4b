use super::*;
use crate::plan::{Framing, Plan};
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

fn check(shape: &Shape, echo: &[u8], pieces: usize, sent: u64) -> (Tally, Vec<Difference>) {
    let mut expectation = Expectation::new(4);
    let mut found = Vec::new();
    let mut tally = Tally::default();
    for piece in echo.chunks(pieces.max(1)) {
        let part = expectation.stream(shape, piece, sent, &mut |difference| found.push(difference));
        tally.completed += part.completed;
        tally.altered += part.altered;
        tally.extra_bytes += part.extra_bytes;
    }
    (tally, found)
}

proptest! {
    #[test]
    fn a_true_echo_passes_however_it_is_cut(size in 1_usize..80, pieces in 1_usize..200) {
        for framing in ["raw", "line", "length"] {
            let shape = shape(framing, size);
            let (tally, found) = check(&shape, &stream(&shape, 4, 20), pieces, 20);
            prop_assert_eq!(tally, Tally { completed: 20, altered: 0, extra_bytes: 0 });
            prop_assert!(found.is_empty());
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
        let (tally, found) = check(&shape, &echo, pieces, 20);
        prop_assert_eq!(tally, Tally { completed: 20, altered: 1, extra_bytes: 0 });
        prop_assert_eq!(found.len(), 1);
        prop_assert_eq!(found[0].message, (at / 20) as u64);
        prop_assert_eq!(found[0].offset, at % 20);
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
        let mut found = Vec::new();
        for piece in echo.chunks(cut) {
            expectation.piece(&shape, piece, &mut |difference| found.push(difference));
        }
        prop_assert!(!expectation.end(&shape, true, &mut |difference| found.push(difference)));
        prop_assert_eq!(found.len(), 1);
        prop_assert_eq!(found[0].offset, at);
    }
}

#[test]
fn a_dropped_byte_alters_one_message_and_the_rest_stays_in_step() {
    let shape = shape("raw", 20);
    let mut echo = stream(&shape, 4, 20);
    echo.remove(105);
    let (tally, found) = check(&shape, &echo, 64, 20);
    assert_eq!(
        tally,
        Tally {
            completed: 20,
            altered: 1,
            extra_bytes: 0
        }
    );
    assert_eq!((found[0].message, found[0].offset), (5, 5));
    assert_eq!(found[0].note, "1 bytes are missing here");
}

#[test]
fn an_added_byte_alters_one_message_and_the_rest_stays_in_step() {
    let shape = shape("raw", 20);
    let mut echo = stream(&shape, 4, 20);
    echo.insert(105, echo[105].wrapping_add(1));
    let (tally, found) = check(&shape, &echo, 1000, 20);
    assert_eq!(
        tally,
        Tally {
            completed: 20,
            altered: 1,
            extra_bytes: 0
        }
    );
    assert_eq!(found[0].note, "1 bytes were added here");
}

#[test]
fn a_lost_message_is_reported_by_its_length() {
    let shape = shape("line", 30);
    let mut echo = stream(&shape, 4, 20);
    echo.drain(31 * 7..31 * 8);
    let (tally, found) = check(&shape, &echo, 4096, 20);
    assert_eq!(tally.completed, 20);
    assert_eq!(tally.altered, 1);
    assert_eq!(
        (found[0].message, found[0].note.as_str()),
        (7, "31 bytes are missing here")
    );
}

#[test]
fn swapped_messages_differ() {
    let shape = shape("length", 16);
    let mut echo = stream(&shape, 4, 3);
    let first = echo[20..40].to_vec();
    echo.copy_within(40..60, 20);
    echo[40..60].copy_from_slice(&first);
    let (tally, found) = check(&shape, &echo, 4096, 3);
    assert!(tally.altered >= 1, "{tally:?}");
    assert_eq!(found[0].message, 1);
}

#[test]
fn another_connections_echo_differs() {
    let shape = shape("raw", 16);
    let (tally, _) = check(&shape, &stream(&shape, 5, 3), 4096, 3);
    assert_eq!(tally.altered, 3);
}

#[test]
fn bytes_beyond_what_was_sent_are_extra() {
    let shape = shape("raw", 16);
    let (tally, found) = check(&shape, &stream(&shape, 4, 3), 4096, 2);
    assert_eq!(
        tally,
        Tally {
            completed: 2,
            altered: 0,
            extra_bytes: 16
        }
    );
    assert!(found.is_empty());
}

#[test]
fn a_wrong_length_before_the_payload_is_an_alteration() {
    let shape = shape("length", 16);
    let mut echo = stream(&shape, 4, 1);
    echo[3] ^= 1;
    let (tally, found) = check(&shape, &echo, 4096, 1);
    assert_eq!((tally.altered, found[0].offset), (1, 3));
}

#[test]
fn short_long_and_retyped_websocket_messages_are_distinguished() {
    let shape = shape("raw", 10);
    let whole = stream(&shape, 4, 1);
    let verdict = |payload: &[u8], kind_kept| {
        let mut expectation = Expectation::new(4);
        let mut notes = Vec::new();
        expectation.piece(&shape, payload, &mut |difference| {
            notes.push(difference.note);
        });
        let intact = expectation.end(&shape, kind_kept, &mut |difference| {
            notes.push(difference.note);
        });
        assert_eq!(expectation.messages(), 1);
        (intact, notes.concat())
    };
    assert_eq!(verdict(&whole, true), (true, String::new()));
    assert_eq!(
        verdict(&whole[..9], true),
        (false, "the message ended early".into())
    );
    assert_eq!(
        verdict(&[&whole[..], b"x"].concat(), true),
        (false, "more came than was sent".into())
    );
    assert!(
        verdict(&whole, false)
            .1
            .contains("text came back as binary")
    );
}
