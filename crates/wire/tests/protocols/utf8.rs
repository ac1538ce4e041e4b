//! RFC 3629, fed in pieces, against the standard library's validator.

use proptest::collection::vec;
use proptest::prelude::*;
use vespiary_wire::utf8::{Invalid, Validator};

fn feed_all<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<(), Invalid> {
    let mut validator = Validator::default();
    for piece in pieces {
        validator.feed(piece)?;
    }
    validator.finish()
}

/// The first place at which no continuation could make the bytes valid.
fn first_impossible(bytes: &[u8]) -> Option<usize> {
    (1..=bytes.len()).find(|end| {
        std::str::from_utf8(&bytes[..*end]).is_err_and(|error| error.error_len().is_some())
    })
}

fn assert_like_the_standard_library(bytes: &[u8]) {
    let expected = std::str::from_utf8(bytes).map(|_| ()).map_err(|_| Invalid);
    for place in 0..=bytes.len() {
        let (head, tail) = bytes.split_at(place);
        assert_eq!(
            feed_all([head, tail]),
            expected,
            "{bytes:02x?} cut at {place}"
        );
    }
    assert_eq!(
        feed_all(bytes.chunks(1)),
        expected,
        "{bytes:02x?} byte by byte"
    );
    let mut validator = Validator::default();
    let failed_after = bytes
        .iter()
        .position(|byte| validator.feed(&[*byte]).is_err());
    assert_eq!(
        failed_after.map(|at| at + 1),
        first_impossible(bytes),
        "{bytes:02x?}"
    );
}

#[test]
fn a_validator_takes_at_most_8_bytes() {
    assert!(size_of::<Validator>() <= 8);
}

#[test]
fn rfc_3629_every_code_point_is_valid_at_every_cut() {
    for code in (0..=0x10FFFF_u32)
        .step_by(61)
        .chain([0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000])
    {
        if let Some(character) = char::from_u32(code) {
            assert_like_the_standard_library(character.to_string().as_bytes());
        }
    }
}

#[test]
fn rfc_3629_surrogates_overlong_forms_and_code_points_above_10ffff_are_refused() {
    for bytes in [
        &[0xED, 0xA0, 0x80][..],
        &[0xED, 0xBF, 0xBF],
        &[0xC0, 0x80],
        &[0xC1, 0xBF],
        &[0xE0, 0x80, 0x80],
        &[0xE0, 0x9F, 0xBF],
        &[0xF0, 0x80, 0x80, 0x80],
        &[0xF0, 0x8F, 0xBF, 0xBF],
        &[0xF4, 0x90, 0x80, 0x80],
        &[0xF5, 0x80, 0x80, 0x80],
        &[0xFE],
        &[0xFF],
        &[0x80],
    ] {
        assert_eq!(feed_all([bytes]), Err(Invalid), "{bytes:02x?}");
        assert_like_the_standard_library(bytes);
    }
}

#[test]
fn section_8_1_the_first_impossible_byte_is_refused_before_the_text_ends() {
    for (bytes, impossible) in [
        (&[0xED, 0xA0][..], 2),
        (&[0xE0, 0x80], 2),
        (&[0xF0, 0x80], 2),
        (&[0xF4, 0x90], 2),
        (&[0xF5], 1),
        (&[0xC0], 1),
        (&[0xE2, 0x82, 0x41], 3),
    ] {
        let mut validator = Validator::default();
        assert_eq!(validator.feed(&bytes[..impossible - 1]), Ok(()));
        assert_eq!(
            validator.feed(&bytes[impossible - 1..]),
            Err(Invalid),
            "{bytes:02x?}"
        );
    }
}

#[test]
fn a_text_that_ends_within_a_character_is_refused_at_its_end_and_the_next_begins_anew() {
    let mut validator = Validator::default();
    assert_eq!(validator.feed("€".as_bytes().split_at(2).0), Ok(()));
    assert_eq!(validator.finish(), Err(Invalid));
    assert_eq!(validator.feed("€".as_bytes()), Ok(()));
    assert_eq!(validator.finish(), Ok(()));
    assert_eq!(validator.feed(&[0xE2, 0x41]), Err(Invalid));
    assert_eq!(validator.finish(), Ok(()));
}

#[test]
fn empty_pieces_change_nothing() {
    assert_eq!(feed_all([&[][..], &[0xC3], &[], &[], &[0xA9], &[]]), Ok(()));
}

#[test]
fn every_pair_of_bytes_is_judged_like_the_standard_library_does() {
    for first in 0x70..=0xFF_u8 {
        for second in 0..=0xFF_u8 {
            assert_like_the_standard_library(&[first, second]);
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_valid_however_it_is_cut(
        text in ".{0,120}",
        size in 1_usize..9,
    ) {
        prop_assert_eq!(feed_all(text.as_bytes().chunks(size)), Ok(()));
    }

    #[test]
    fn any_bytes_are_judged_like_the_standard_library_does(
        text in "[ -~é€𝄞\u{10FFFF}]{0,60}",
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cut_off in 0_usize..4,
    ) {
        let mut bytes = text.into_bytes();
        bytes.push(b'.');
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes.truncate(bytes.len().saturating_sub(cut_off));
        assert_like_the_standard_library(&bytes);
    }
}
