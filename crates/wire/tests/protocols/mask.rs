//! RFC 6455 section 5.3: byte `i` is combined with byte `i` modulo 4 of the key.

use proptest::collection::vec;
use proptest::prelude::*;
use vespiary_wire::mask;

/// The section's own formula, byte by byte.
fn octet_by_octet(source: &[u8], key: [u8; 4]) -> Vec<u8> {
    source
        .iter()
        .enumerate()
        .map(|(at, byte)| byte ^ key[at % 4])
        .collect()
}

#[test]
fn section_5_3_every_length_up_to_300_is_masked_like_octet_by_octet() {
    let key = [0x12, 0x9C, 0x55, 0xE7];
    for length in 0..300_usize {
        let source: Vec<u8> = (0..length).map(|at| (at * 7) as u8).collect();
        let mut copied = vec![0xAA; length];
        mask::copy(&mut copied, &source, key);
        assert_eq!(
            copied,
            octet_by_octet(&source, key),
            "copy of {length} bytes"
        );
        let mut changed = source.clone();
        mask::in_place(&mut changed, key);
        assert_eq!(changed, copied, "in place over {length} bytes");
    }
}

#[test]
#[should_panic(expected = "a masked copy keeps its length")]
fn a_copy_between_slices_of_different_lengths_is_a_callers_mistake() {
    mask::copy(&mut [0; 3], &[0; 4], [0; 4]);
}

proptest! {
    #[test]
    fn masking_twice_gives_the_payload_back(
        payload in vec(any::<u8>(), 0..500),
        key in any::<[u8; 4]>(),
    ) {
        let mut bytes = payload.clone();
        mask::in_place(&mut bytes, key);
        mask::in_place(&mut bytes, key);
        prop_assert_eq!(bytes, payload);
    }

    #[test]
    fn a_payload_may_be_masked_in_two_parts_with_the_key_turned(
        payload in vec(any::<u8>(), 0..200),
        key in any::<[u8; 4]>(),
        place in any::<prop::sample::Index>(),
    ) {
        let place = place.index(payload.len() + 1);
        let mut parts = payload.clone();
        mask::in_place(&mut parts[..place], key);
        mask::in_place(&mut parts[place..], mask::rotate(key, place));
        prop_assert_eq!(parts, octet_by_octet(&payload, key));
    }
}
