//! The same bytes by the rules of both versions: each switch of the profile, once thrown and once
//! not.

use std::borrow::Cow;
use vespiary_trace::claims;
use vespiary_wire::websocket::close::{self, Code};
use vespiary_wire::websocket::decoder::{Limits, Role};
use vespiary_wire::websocket::extension;
use vespiary_wire::websocket::frame::{self, Kind, Opcode};
use vespiary_wire::websocket::profile::{InvalidText, Version};

use crate::support::{Item, KEY, UNLIMITED, decode_as, decode_pieces_as};

const NEW: Version = Version::Rfc6455;
const OLD: Version = Version::Hybi09;

/// A masked frame with any first byte.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::append(&mut out, true, false, Opcode::Text, payload, Some(KEY));
    out[0] = first;
    out
}

fn contents(items: &[Item]) -> Vec<&[u8]> {
    items
        .iter()
        .map(|item| match item {
            Item::Frame { payload, .. } | Item::Control { payload, .. } => &payload[..],
        })
        .collect()
}

fn assert_refused(version: Version, role: Role, bytes: &[u8], code: Code, section: &str) {
    let (_, error) = decode_as(version, role, bytes);
    let error = error.unwrap_or_else(|| panic!("{version:?} took {bytes:02x?}"));
    assert_eq!((error.code, error.section), (code, section), "{bytes:02x?}");
}

#[test]
fn each_version_has_its_number_and_no_other_number_has_one() {
    let spoken: Vec<u8> = (0..=255)
        .filter(|number| Version::from_number(*number).is_some())
        .collect();
    assert_eq!(spoken, [8, 13]);
    for version in Version::ALL {
        assert_eq!(Version::from_number(version.number()), Some(version));
        assert_eq!(version.as_str(), version.number().to_string());
        assert_eq!(version.profile().version, version);
    }
}

#[test]
fn every_reserved_opcode_is_refused_in_13_and_passed_over_in_8() {
    claims!("hybi09/4.2/4");
    for opcode in [0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF] {
        let mut bytes = masked(0x80 | opcode, b"who knows");
        bytes.extend(masked(0x80 | opcode, b""));
        bytes.extend(masked(0x81, b"hello"));
        let (items, error) = decode_as(OLD, Role::Server, &bytes);
        assert_eq!((contents(&items), error), (vec![&b"hello"[..]], None));
        assert_refused(
            NEW,
            Role::Server,
            &bytes,
            Code::PROTOCOL_ERROR,
            "RFC 6455 5.2",
        );
    }
}

#[test]
fn in_8_a_reserved_frame_between_fragments_leaves_the_message_whole() {
    claims!("hybi09/4.2/4");
    let mut bytes = masked(0x01, b"one ");
    bytes.extend(masked(0x8B, b"a control frame of the future"));
    bytes.extend(masked(0x00, b"two "));
    bytes.extend(masked(0x83, &[0xFF; 300]));
    bytes.extend(masked(0x04, b""));
    bytes.extend(masked(0x80, b"three"));
    bytes.extend(masked(0x82, b"next"));
    let (items, error) = decode_as(OLD, Role::Server, &bytes);
    let expected: [&[u8]; 4] = [b"one ", b"two ", b"three", b"next"];
    assert_eq!((contents(&items), error), (expected.to_vec(), None));
}

#[test]
fn in_8_the_fragments_of_a_reserved_message_are_skipped_with_it() {
    let mut bytes = masked(0x03, b"begun");
    bytes.extend(masked(0x89, b"ping"));
    bytes.extend(masked(0x8F, b"reserved, and no fragment"));
    bytes.extend(masked(0x00, b"going on"));
    bytes.extend(masked(0x80, b""));
    bytes.extend(masked(0x81, b"hello"));
    let (items, error) = decode_as(OLD, Role::Server, &bytes);
    assert_eq!(
        (contents(&items), error),
        (vec![&b"ping"[..], b"hello"], None)
    );
    bytes.extend(masked(0x80, b"of nothing"));
    assert_refused(
        OLD,
        Role::Server,
        &bytes,
        Code::PROTOCOL_ERROR,
        "HyBi-09 4.4",
    );
}

#[test]
fn in_8_a_message_may_not_begin_within_a_reserved_one() {
    let mut bytes = masked(0x03, b"begun");
    bytes.extend(masked(0x81, b"hello"));
    assert_refused(
        OLD,
        Role::Server,
        &bytes,
        Code::PROTOCOL_ERROR,
        "HyBi-09 4.4",
    );
}

#[test]
fn in_8_a_reserved_control_frame_obeys_the_rules_for_control_frames() {
    let fragmented = masked(0x0B, b"");
    assert_refused(
        OLD,
        Role::Server,
        &fragmented,
        Code::PROTOCOL_ERROR,
        "HyBi-09 4.5",
    );
    let long = masked(0x8B, &[0; 126]);
    assert_refused(
        OLD,
        Role::Server,
        &long,
        Code::PROTOCOL_ERROR,
        "HyBi-09 4.5",
    );
    let unmasked = [0x8B, 0x00];
    assert_refused(
        OLD,
        Role::Server,
        &unmasked,
        Code::PROTOCOL_ERROR,
        "HyBi-09 4.3",
    );
    let reserved_bit = masked(0xCB, b"");
    assert_refused(
        OLD,
        Role::Server,
        &reserved_bit,
        Code::PROTOCOL_ERROR,
        "HyBi-09 4.2",
    );
}

#[test]
fn what_is_skipped_obeys_the_limit_on_frames_and_not_that_on_messages() {
    let limits = Limits {
        frame_bytes_max: 10,
        message_bytes_max: 5,
        fragments_max: 0,
    };
    let mut bytes = masked(0x03, &[0; 10]);
    bytes.extend(masked(0x80, &[0; 10]));
    let (items, end) = decode_pieces_as(OLD, Role::Server, &limits, [&bytes[..]]);
    assert!(items.is_empty() && end.is_ok_and(|decoder| !decoder.in_message()));
    let (_, end) = decode_pieces_as(OLD, Role::Server, &limits, [&masked(0x83, &[0; 11])[..]]);
    let error = end.expect_err("a frame over its limit");
    assert_eq!(error.limit, Some(vespiary_wire::Limit::FrameBytes));
    assert_eq!(
        (error.code, error.section),
        (Code::FRAME_TOO_LARGE, "HyBi-09 2")
    );
}

#[test]
fn a_peer_that_ends_within_what_is_skipped_ends_within_a_message() {
    let bytes = masked(0x83, b"cut short");
    for end in 1..bytes.len() {
        let (_, decoder) = decode_pieces_as(OLD, Role::Server, &UNLIMITED, [&bytes[..end]]);
        assert!(decoder.is_ok_and(|decoder| decoder.mid_frame()), "{end}");
    }
    let (_, decoder) = decode_pieces_as(OLD, Role::Server, &UNLIMITED, [&bytes[..]]);
    assert!(decoder.is_ok_and(|decoder| !decoder.mid_frame() && !decoder.in_message()));
}

#[test]
fn a_length_longer_than_it_need_be_is_refused_in_13_and_read_in_8() {
    claims!("hybi09/4.2/h2");
    let two = [0x81, 0xFE, 0, 2, 0, 0, 0, 0, b'h', b'i'];
    let eight = [0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, b'h', b'i'];
    for bytes in [&two[..], &eight] {
        let (items, error) = decode_as(OLD, Role::Server, bytes);
        assert_eq!((contents(&items), error), (vec![&b"hi"[..]], None));
        assert_refused(
            NEW,
            Role::Server,
            bytes,
            Code::PROTOCOL_ERROR,
            "RFC 6455 5.2",
        );
    }
}

#[test]
fn a_length_of_64_bits_is_refused_in_both_versions() {
    let bytes = [0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0];
    assert_refused(
        NEW,
        Role::Server,
        &bytes,
        Code::PROTOCOL_ERROR,
        "RFC 6455 5.2",
    );
    assert_refused(
        OLD,
        Role::Server,
        &bytes,
        Code::PROTOCOL_ERROR,
        "HyBi-09 4.2",
    );
}

#[test]
fn an_unmasked_frame_of_a_client_is_refused_in_both_versions() {
    let bytes = [0x81, 0x02, b'h', b'i'];
    assert_refused(
        NEW,
        Role::Server,
        &bytes,
        Code::PROTOCOL_ERROR,
        "RFC 6455 5.1",
    );
    assert_refused(
        OLD,
        Role::Server,
        &bytes,
        Code::PROTOCOL_ERROR,
        "HyBi-09 4.3",
    );
}

#[test]
fn a_masked_frame_of_a_server_is_refused_in_13_and_unmasked_in_8() {
    claims!("hybi09/4.2/h1");
    let mut bytes = masked(0x81, b"hello");
    bytes.extend(masked(0x89, b"ping"));
    bytes.extend([0x82, 0x03, b'r', b'a', b'w']);
    let (items, error) = decode_as(OLD, Role::Client, &bytes);
    let expected: [&[u8]; 3] = [b"hello", b"ping", b"raw"];
    assert_eq!((contents(&items), error), (expected.to_vec(), None));
    assert_refused(
        NEW,
        Role::Client,
        &bytes,
        Code::PROTOCOL_ERROR,
        "RFC 6455 5.1",
    );
}

#[test]
fn valid_frames_are_the_same_in_both_versions() {
    let mut bytes = masked(0x81, "ünï".as_bytes());
    bytes.extend(masked(0x02, &[0; 200]));
    bytes.extend(masked(0x8A, b"pong"));
    bytes.extend(masked(0x80, &vec![1; 70_000]));
    let (items, error) = decode_as(NEW, Role::Server, &bytes);
    assert_eq!(error, None);
    assert!(matches!(
        items[0],
        Item::Frame {
            kind: Kind::Text,
            ..
        }
    ));
    assert_eq!(decode_as(OLD, Role::Server, &bytes), (items, None));
}

#[test]
fn every_close_code_is_judged_by_its_versions_section_7_4() {
    claims!("hybi09/7.4.2/h1");
    for number in 0..=u16::MAX {
        let payload = number.to_be_bytes();
        let arrives = |version: Version| {
            close::parse(version.profile(), Role::Server, &payload)
                .map(|(code, _)| code.0)
                .map_err(|error| error.section)
        };
        let new = matches!(number, 1000..=1003 | 1007..=1014 | 3000..=4999);
        assert_eq!(arrives(NEW), new.then_some(number).ok_or("RFC 6455 7.4"));
        let old = matches!(number, 1000..=1004 | 1007..=4999);
        assert_eq!(arrives(OLD), old.then_some(number).ok_or("HyBi-09 7.4"));
    }
}

#[test]
fn a_code_that_8_does_not_define_is_reported_by_the_nearest_that_it_does() {
    claims!("hybi09/7.4.1/h1");
    let sent = |version: Version, code: Code| {
        let payload = close::encode(version.profile(), code, "why");
        payload
            .get(..2)
            .map(|code| u16::from_be_bytes([code[0], code[1]]))
    };
    let nearest = [
        (1007, 1002),
        (1008, 1002),
        (1009, 1004),
        (1010, 1002),
        (1011, 1001),
        (1012, 1001),
        (1013, 1001),
        (1014, 1001),
    ];
    for (code, told) in nearest {
        assert_eq!(sent(NEW, Code(code)), Some(code));
        assert_eq!(sent(OLD, Code(code)), Some(told));
    }
    for code in [1000, 1001, 1002, 1003, 3000, 3999, 4000, 4999] {
        assert_eq!(sent(NEW, Code(code)), Some(code));
        assert_eq!(sent(OLD, Code(code)), Some(code));
    }
    for code in [1004, 2000, 2999] {
        assert_eq!(sent(NEW, Code(code)), None);
        assert_eq!(sent(OLD, Code(code)), Some(code));
    }
    for code in [0, 999, 1005, 1006, 1015, 1016, 1999, 5000] {
        assert_eq!(sent(NEW, Code(code)), None);
        assert_eq!(sent(OLD, Code(code)), None);
    }
}

#[test]
fn a_close_frame_is_answered_with_its_own_code_known_or_not() {
    let echo = |version: Version, code| close::echo(version.profile(), Code(code)).to_vec();
    for code in [1000, 1007, 1012, 4000] {
        assert_eq!(echo(NEW, code), code.to_be_bytes());
        assert_eq!(echo(OLD, code), code.to_be_bytes());
    }
    assert_eq!(echo(OLD, 2000), 2000_u16.to_be_bytes());
    assert!(echo(OLD, 1005).is_empty() && echo(NEW, 1005).is_empty());
}

#[test]
fn a_reason_that_is_not_utf8_is_refused_but_at_a_client_of_8() {
    claims!("hybi09/8.1/1");
    let payload = b"\x03\xe8gone \xff\xfe\xc3";
    let read = |version: Version, role| close::parse(version.profile(), role, payload);
    let expected = (Code::NORMAL, Cow::Borrowed("gone \u{FFFD}\u{FFFD}\u{FFFD}"));
    assert_eq!(read(OLD, Role::Client), Ok(expected));
    for (version, role, code) in [
        (OLD, Role::Server, Code::PROTOCOL_ERROR),
        (NEW, Role::Client, Code::INVALID_PAYLOAD),
        (NEW, Role::Server, Code::INVALID_PAYLOAD),
    ] {
        let refused = read(version, role).map_err(|error| error.code);
        assert_eq!(refused, Err(code), "{version:?} {role:?}");
        let profile = version.profile();
        assert_eq!(profile.invalid_text(role), InvalidText::Refused(code));
    }
}

#[test]
fn a_quoted_value_of_an_extension_is_read_in_13_and_malformed_in_8() {
    claims!("hybi09/9.1/h1");
    let value = "mux; max-channels=\"4\"; flow-control, deflate-stream";
    assert_eq!(
        extension::parse(NEW.profile(), value).map(|list| list.len()),
        Ok(2)
    );
    assert!(extension::parse(OLD.profile(), value).is_err());
    let plain = value.replace('"', "");
    let old = extension::parse(OLD.profile(), &plain);
    assert_eq!(old, extension::parse(NEW.profile(), &plain));
    assert_eq!(
        old.map(|list| list[1].name.clone()),
        Ok("deflate-stream".to_owned())
    );
}
