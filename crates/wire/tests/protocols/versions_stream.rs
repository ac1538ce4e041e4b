//! HyBi-09 section 9.2.1: the extension `deflate-stream`.

use proptest::collection::vec;
use proptest::prelude::*;
use vespiary_trace::claims;
use vespiary_wire::websocket::deflate_stream::{self, Corrupt, Reader, Writer};

/// Inflates `bytes` with so much room at a time.
fn inflate(reader: &mut Reader, mut bytes: &[u8], room: usize) -> Result<Vec<u8>, Corrupt> {
    let mut plain = Vec::new();
    loop {
        let mut step = vec![0; room];
        let count = reader.inflate(&mut bytes, &mut step)?;
        plain.extend_from_slice(&step[..count]);
        if count < room {
            assert!(bytes.is_empty());
            return Ok(plain);
        }
    }
}

proptest! {
    #[test]
    fn what_is_deflated_is_inflated_however_it_is_cut(
        batches in vec(vec(any::<u8>(), 0..600), 0..6),
        piece in 1_usize..50,
        room in 1_usize..300,
    ) {
        let mut writer = Writer::default();
        let mut stream = Vec::new();
        for batch in &batches {
            let before = stream.len();
            writer.deflate(batch, &mut stream);
            prop_assert!(stream.len() - before <= Writer::bytes_max(batch.len()));
        }
        let mut reader = Reader::default();
        let mut inflated = Vec::new();
        for piece in stream.chunks(piece) {
            inflated.extend(inflate(&mut reader, piece, room).expect("a valid stream"));
        }
        prop_assert_eq!(inflated, batches.concat());
    }

    #[test]
    fn any_bytes_at_all_are_inflated_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        let _ = inflate(&mut Reader::default(), &bytes, 64);
    }
}

#[test]
fn no_byte_of_a_batch_waits_for_the_next() {
    claims!("hybi09/9.2.1/3");
    let (mut writer, mut reader) = (Writer::default(), Reader::default());
    for batch in [&b"a"[..], b"", b"bc", b"a"] {
        let mut sent = Vec::new();
        writer.deflate(batch, &mut sent);
        assert_eq!(inflate(&mut reader, &sent, 64), Ok(batch.to_vec()));
    }
}

#[test]
fn rfc_1951_stored_fixed_and_dynamic_blocks_are_read_without_a_wrapper() {
    claims!("hybi09/9.2.1/5");
    // Stored: three bits of header, then the length, its complement, and the bytes.
    let stored = [0x00, 0x02, 0x00, 0xFD, 0xFF, b'h', b'i'];
    // Fixed codes: "Hello", as RFC 7692 section 7.2.3.1 has it, behind the tail of a flush.
    let fixed = [
        0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00, 0x00, 0xff, 0xff,
    ];
    let mut reader = Reader::default();
    assert_eq!(inflate(&mut reader, &stored, 64), Ok(b"hi".to_vec()));
    assert_eq!(inflate(&mut reader, &fixed, 64), Ok(b"Hello".to_vec()));
    let long = b"what is long and has much in it, much in it, has codes of its own ".repeat(40);
    let mut dynamic = Vec::new();
    Writer::default().deflate(&long, &mut dynamic);
    assert_eq!(inflate(&mut reader, &dynamic, 64), Ok(long));
    let in_zlibs_format = [0x78, 0x9C, 0xCB, 0xC8, 0x04, 0x00, 0x01, 0x3B, 0x00, 0xD2];
    let refused = inflate(&mut Reader::default(), &in_zlibs_format, 64);
    assert_eq!(refused, Err(Corrupt));
}

#[test]
fn bytes_behind_a_last_block_are_corrupt() {
    let mut reader = Reader::default();
    let last = [0x01, 0x01, 0x00, 0xFE, 0xFF, b'x'];
    assert_eq!(inflate(&mut reader, &last, 64), Ok(b"x".to_vec()));
    assert_eq!(inflate(&mut reader, &[], 64), Ok(vec![]));
    assert_eq!(inflate(&mut reader, b"y", 64), Err(Corrupt));
}

#[test]
fn the_extension_is_offered_by_its_bare_name_among_any_others() {
    let offered = |values: &[&str]| {
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        deflate_stream::is_offered(&values)
    };
    assert!(offered(&["deflate-stream"]));
    assert!(offered(&["x-a; b=1", "c, deflate-stream"]));
    assert!(!offered(&["deflate-stream; b=1", "deflate-streams"]));
    assert!(!offered(&[]));
}
