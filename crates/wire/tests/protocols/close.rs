//! RFC 6455 sections 5.5.1 and 7.4: what a close frame may carry.

use proptest::prelude::*;
use vespiary_trace::claims;
use vespiary_wire::websocket::ProtocolError;
use vespiary_wire::websocket::close::{self, Code, REASON_BYTES_MAX};
use vespiary_wire::websocket::decoder::Role;
use vespiary_wire::websocket::profile::Version;

fn parse(payload: &[u8]) -> Result<(Code, String), ProtocolError> {
    let parsed = close::parse(Version::Rfc6455.profile(), Role::Server, payload)?;
    Ok((parsed.0, parsed.1.into_owned()))
}

fn encode(code: Code, reason: &str) -> close::Payload {
    close::encode(Version::Rfc6455.profile(), code, reason)
}

#[test]
fn section_7_1_5_an_empty_payload_means_that_no_status_was_received() {
    assert_eq!(parse(b""), Ok((Code::NO_STATUS, String::new())));
}

#[test]
fn section_5_5_1_a_payload_of_one_byte_is_refused() {
    claims!("rfc6455/5.5.1/2");
    let error = parse(&[0x03]).unwrap_err();
    assert_eq!(
        (error.code, error.section),
        (Code::PROTOCOL_ERROR, "RFC 6455 5.5.1")
    );
}

#[test]
fn section_7_4_the_codes_that_may_be_sent_are_these_and_no_others() {
    claims!(
        "rfc6455/7.4.1/3",
        "rfc6455/7.4.1/4",
        "rfc6455/7.4.1/6",
        "rfc6455/7.4.1/h1",
        "rfc6455/7.4.2/h1",
        "rfc6455/7.4.2/h2",
        "rfc6455/7.4.2/h4",
        "rfc6455/7.4.1/1",
        "rfc6455/7.4.2/h3"
    );
    for code in 0..=u16::MAX {
        let valid = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        assert_eq!(Code(code).is_valid_on_the_wire(), valid, "{code}");
        let payload = code.to_be_bytes();
        let parsed = parse(&payload).map_err(|error| error.code);
        let expected = if valid {
            Ok((Code(code), String::new()))
        } else {
            Err(Code::PROTOCOL_ERROR)
        };
        assert_eq!(parsed, expected, "{code}");
    }
}

#[test]
fn section_7_4_1_the_codes_that_are_only_told_locally_are_never_sent() {
    for code in [
        Code::NO_STATUS,
        Code::ABNORMAL,
        Code::TLS_HANDSHAKE,
        Code(1004),
        Code(0),
    ] {
        assert!(encode(code, "a reason").is_empty(), "{code}");
    }
}

#[test]
fn section_8_1_a_reason_that_is_not_utf_8_is_refused_with_1007() {
    claims!("rfc6455/8.1/1");
    let payload = [0x03, 0xE8, 0xFF];
    let error = parse(&payload).unwrap_err();
    assert_eq!(error.code, Code::INVALID_PAYLOAD);
    for role in [Role::Server, Role::Client] {
        let error = close::parse(Version::Rfc6455.profile(), role, &payload).unwrap_err();
        assert_eq!(error.code, Code::INVALID_PAYLOAD);
    }
    let error = parse(&[0x00, 0x00, 0xFF]).unwrap_err();
    assert_eq!(
        error.code,
        Code::PROTOCOL_ERROR,
        "the code is looked at first"
    );
}

#[test]
fn section_5_5_a_reason_is_cut_at_a_character_so_that_the_frame_stays_within_125_bytes() {
    claims!("rfc6455/5.5/1");
    let payload = encode(Code::NORMAL, &"a".repeat(200));
    assert_eq!(payload.len(), 125);
    let payload = encode(Code::NORMAL, &format!("{}€", "a".repeat(122)));
    assert_eq!(parse(&payload), Ok((Code::NORMAL, "a".repeat(122))));
    let fits = format!("{}€", "a".repeat(120));
    assert_eq!(parse(&encode(Code(4000), &fits)), Ok((Code(4000), fits)));
}

proptest! {
    #[test]
    fn what_is_encoded_is_parsed(
        code in prop_oneof![1000_u16..=1003, 1007_u16..=1014, 3000_u16..=4999],
        reason in ".{0,80}",
    ) {
        let payload = encode(Code(code), &reason);
        prop_assert!(payload.len() <= 125);
        let (parsed, kept) = parse(&payload).unwrap();
        prop_assert_eq!(parsed, Code(code));
        prop_assert!(reason.starts_with(&kept));
        prop_assert!(kept == reason || kept.len() > REASON_BYTES_MAX - 4);
    }
}
