//! Both ends behind a handshake; one of them sends what no ordinary peer sends.

use super::*;
use crate::client::{ClientSettings, ClientTls};
use crate::development;
use crate::layer::TlsLayer;
use crate::pem::Identity;
use crate::server::{ServerSettings, ServerTls};
use rustls::CipherSuite;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use std::sync::Arc;
use vespiary_engine::{Flow, Layer};

const TLS13: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
];
const TLS12: [CipherSuite; 3] = [
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// A client and a server that have agreed on this suite.
struct Two {
    client: Traffic,
    server: Traffic,
}

fn layers(suites: &[CipherSuite]) -> (TlsLayer, TlsLayer) {
    let authority = development::authority().expect("an authority");
    let names = ["localhost".to_owned()];
    let pair = development::certificate(&authority.key, &names, 30).expect("a certificate");
    let server = ServerTls::new(&ServerSettings {
        identities: vec![Identity {
            certificates: pair.certificate.into_bytes(),
            key: pair.key.into_bytes(),
        }],
        allows_tls12: true,
        ..ServerSettings::default()
    });
    let mut provider = aws_lc_rs::default_provider();
    provider
        .cipher_suites
        .retain(|it| suites.contains(&it.suite()));
    provider
        .cipher_suites
        .sort_by_key(|it| suites.iter().position(|suite| *suite == it.suite()));
    let settings = ClientSettings {
        authorities: Some(authority.certificate.into_bytes()),
        allows_tls12: true,
        ..ClientSettings::default()
    };
    let client = ClientTls::with_provider(&settings, Arc::<CryptoProvider>::new(provider));
    let client = client.expect("a client").layer("localhost");
    (client.expect("a name"), server.expect("a server").layer())
}

fn shake(client: &mut TlsLayer, server: &mut TlsLayer) {
    let mut plain = Vec::new();
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    client.begin(&mut to_server).expect("a greeting");
    while !to_server.is_empty() || !to_client.is_empty() {
        let mut input = std::mem::take(&mut to_server);
        let mut flow = Flow {
            plain: &mut plain,
            own: &mut to_client,
        };
        server.receive(&mut input, &mut flow).expect("a handshake");
        let mut input = std::mem::take(&mut to_client);
        let mut flow = Flow {
            plain: &mut plain,
            own: &mut to_server,
        };
        client.receive(&mut input, &mut flow).expect("a handshake");
    }
}

impl Two {
    fn new(suite: CipherSuite) -> Self {
        let (mut client, mut server) = layers(&[suite]);
        shake(&mut client, &mut server);
        Self {
            client: client.into_traffic().expect("a finished handshake"),
            server: server.into_traffic().expect("a finished handshake"),
        }
    }

    /// The server receives what the client sends by `send`: what it got, and what it answered.
    fn receive(&mut self, send: impl FnOnce(&mut Traffic, &mut Vec<u8>)) -> (Vec<u8>, Vec<u8>) {
        let mut wire = Vec::new();
        send(&mut self.client, &mut wire);
        take_all(&mut self.server, wire)
    }

    /// The alert and the failure with which the server refuses what the client sends by `send`.
    fn refuse(&mut self, send: impl FnOnce(&mut Traffic, &mut Vec<u8>)) -> (String, Error) {
        let (mut wire, mut plain, mut own) = (Vec::new(), Vec::new(), Vec::new());
        send(&mut self.client, &mut wire);
        let failure = self.server.receive(&mut wire, &mut plain, &mut own);
        let failure = failure.expect_err("a failure");
        assert!(plain.is_empty());
        let alert = self.client.receive(&mut own, &mut plain, &mut Vec::new());
        match alert {
            Err(Error::AlertReceived(alert)) => (format!("{alert:?}"), failure),
            other => panic!("no alert: {other:?}"),
        }
    }
}

fn take_all(traffic: &mut Traffic, mut wire: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    let (mut plain, mut own) = (Vec::new(), Vec::new());
    let used = traffic.receive(&mut wire, &mut plain, &mut own);
    assert_eq!(used.expect("valid records"), wire.len());
    (plain, own)
}

fn record(kind: ContentType, plain: &[u8]) -> impl FnOnce(&mut Traffic, &mut Vec<u8>) {
    move |traffic, wire| {
        let sealed = traffic.sealing.seal(kind, plain, wire);
        sealed.expect("a record");
    }
}

fn key_update(traffic: &mut Traffic, wire: &mut Vec<u8>, is_requested: bool) {
    record(
        ContentType::Handshake,
        &[24, 0, 0, 1, u8::from(is_requested)],
    )(traffic, wire);
    traffic.sealing = traffic.kept.next_sealing().expect("the next keys");
}

#[test]
fn every_cipher_carries_messages_of_every_size_both_ways() {
    for suite in TLS13.into_iter().chain(TLS12) {
        let mut two = Two::new(suite);
        for size in [1, 100, PLAIN_BYTES_MAX, PLAIN_BYTES_MAX + 1, 100_000] {
            let message: Vec<u8> = (0..size).map(|place| place as u8).collect();
            let send = |from: &mut Traffic, wire: &mut Vec<u8>| {
                from.send(&message, wire).expect("room for records");
            };
            assert_eq!(two.receive(send).0, message, "{suite:?}");
            let mut wire = Vec::new();
            send(&mut two.server, &mut wire);
            assert_eq!(take_all(&mut two.client, wire).0, message, "{suite:?}");
        }
    }
}

#[test]
fn a_server_prefers_short_aes_keys_unless_its_client_prefers_chacha() {
    let agreed = |suites: &[CipherSuite]| {
        let (mut client, mut server) = layers(suites);
        shake(&mut client, &mut server);
        let facts = server.handle().facts().expect("a finished handshake");
        facts.cipher
    };
    assert_eq!(agreed(&[TLS13[1], TLS13[0]]), "TLS_AES_128_GCM_SHA256");
    assert_eq!(
        agreed(&[TLS13[1], TLS13[2], TLS13[0]]),
        "TLS_AES_128_GCM_SHA256"
    );
    assert_eq!(
        agreed(&[TLS13[2], TLS13[0]]),
        "TLS_CHACHA20_POLY1305_SHA256"
    );
    assert_eq!(agreed(&[TLS13[1]]), "TLS_AES_256_GCM_SHA384");
    let tls12 = agreed(&[TLS12[1], TLS12[0]]);
    assert_eq!(tls12, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
}

#[test]
fn a_key_update_is_followed_and_answered_on_request() {
    let mut two = Two::new(TLS13[0]);
    for is_requested in [true, false, true] {
        let (plain, own) = two.receive(|client, wire| {
            client.send(b"before", wire).expect("a record");
            key_update(client, wire, is_requested);
            client.send(b" behind", wire).expect("a record");
        });
        assert_eq!(plain, b"before behind");
        assert_eq!(own.is_empty(), !is_requested);
        let mut wire = own;
        two.server.send(b"answer", &mut wire).expect("a record");
        assert_eq!(take_all(&mut two.client, wire).0, b"answer");
    }
}

#[test]
fn a_key_update_may_come_in_two_records_with_nothing_between_or_behind_it() {
    let mut two = Two::new(TLS13[0]);
    let (plain, _) = two.receive(|client, wire| {
        record(ContentType::Handshake, &[24, 0])(client, wire);
        record(ContentType::Handshake, &[0, 1, 0])(client, wire);
        client.sealing = client.kept.next_sealing().expect("the next keys");
        client.send(b"data", wire).expect("a record");
    });
    assert_eq!(plain, b"data");
    let (alert, failure) = two.refuse(|client, wire| {
        record(ContentType::Handshake, &[24, 0])(client, wire);
        record(ContentType::ApplicationData, b"data")(client, wire);
    });
    assert_eq!(alert, "UnexpectedMessage");
    let between = PeerMisbehaved::MessageInterleavedWithHandshakeMessage;
    assert_eq!(failure, between.into());
    let behind = record(ContentType::Handshake, &[24, 0, 0, 1, 0, 24]);
    let (alert, failure) = Two::new(TLS13[0]).refuse(behind);
    assert_eq!(alert, "UnexpectedMessage");
    assert_eq!(failure, PeerMisbehaved::KeyEpochWithPendingFragment.into());
}

type Send<'a> = &'a dyn Fn(&mut Traffic, &mut Vec<u8>);

#[test]
fn what_is_of_no_use_is_taken_a_few_times_in_a_row() {
    let empty = |client: &mut Traffic, wire: &mut Vec<u8>| {
        record(ContentType::ApplicationData, b"")(client, wire);
    };
    let update = |client: &mut Traffic, wire: &mut Vec<u8>| key_update(client, wire, false);
    let warning = |client: &mut Traffic, wire: &mut Vec<u8>| {
        record(ContentType::Alert, &[WARNING, 90])(client, wire);
    };
    let cases: [(Send<'_>, u8, bool); 3] = [
        (&empty, EMPTY_RECORDS_MAX, true),
        (&update, KEY_UPDATES_MAX, true),
        (&warning, WARNINGS_MAX, false),
    ];
    for (send, most, is_forgiven) in cases {
        let mut two = Two::new(TLS13[0]);
        for _ in 0..most {
            two.receive(send);
        }
        if is_forgiven {
            let data = record(ContentType::ApplicationData, b"data");
            assert_eq!(two.receive(data).0, b"data");
            for _ in 0..most {
                two.receive(send);
            }
        }
        let (alert, failure) = two.refuse(send);
        assert_eq!(alert, "UnexpectedMessage");
        assert!(matches!(failure, Error::PeerMisbehaved(_)), "{failure:?}");
    }
}

#[test]
fn padding_is_removed_and_only_padding_is_refused() {
    let nothing = ContentType::Unknown(0);
    let mut two = Two::new(TLS13[0]);
    // The type, and two zeros behind it.
    let inner = [b"data", &[23, 0][..]].concat();
    let padded = record(nothing, &inner);
    assert_eq!(two.receive(padded).0, b"data");
    let (alert, _) = two.refuse(record(nothing, &[0; 100]));
    assert_eq!(alert, "UnexpectedMessage");
}

#[test]
fn records_of_wrong_sizes_and_types_are_refused() {
    let data = ContentType::ApplicationData;
    for suite in [TLS13[0], TLS12[0], TLS12[2]] {
        let largest = vec![7; PLAIN_BYTES_MAX];
        let mut two = Two::new(suite);
        assert_eq!(two.receive(record(data, &largest)).0, largest);
        let too_large = vec![7; PLAIN_BYTES_MAX + 1];
        let (alert, _) = two.refuse(record(data, &too_large));
        assert_eq!(alert, "RecordOverflow", "{suite:?}");
        let refused = |send: &dyn Fn(&mut Traffic, &mut Vec<u8>)| Two::new(suite).refuse(send).0;
        let raw = |bytes: &'static [u8]| {
            refused(&move |_, wire: &mut Vec<u8>| wire.extend_from_slice(bytes))
        };
        assert_eq!(raw(&[23, 3, 3, 0, 0]), "BadRecordMac");
        assert_eq!(
            raw(&[
                23, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19,
                20
            ]),
            "BadRecordMac"
        );
        assert_eq!(raw(&[23, 3, 3, 255, 255]), "RecordOverflow");
        assert_eq!(raw(&[23, 2, 0, 0, 1]), "ProtocolVersion");
        assert_eq!(raw(b"GET / HTTP/1.1\r\n"), "UnexpectedMessage");
        let sent = |kind, plain: &'static [u8]| {
            refused(&move |client, wire| record(kind, plain)(client, wire))
        };
        assert_eq!(sent(ContentType::Alert, &[]), "UnexpectedMessage");
        assert_eq!(sent(ContentType::Alert, &[1]), "DecodeError");
        assert_eq!(sent(ContentType::Alert, &[1, 0, 0]), "DecodeError");
        assert_eq!(sent(ContentType::Alert, &[3, 90]), "IllegalParameter");
        assert_eq!(sent(ContentType::Handshake, &[]), "UnexpectedMessage");
        assert_eq!(
            sent(ContentType::Handshake, &[20, 0, 0, 0]),
            "UnexpectedMessage"
        );
        assert_eq!(sent(ContentType::Handshake, &[4, 255, 0, 0]), "DecodeError");
        assert_eq!(
            sent(ContentType::ChangeCipherSpec, &[1]),
            "UnexpectedMessage"
        );
        assert_eq!(sent(ContentType::Heartbeat, &[1]), "UnexpectedMessage");
    }
    let of_tls13 = |plain| {
        Two::new(TLS13[0])
            .refuse(record(ContentType::Handshake, plain))
            .0
    };
    assert_eq!(of_tls13(&[24, 0, 0, 1, 2]), "IllegalParameter");
    assert_eq!(of_tls13(&[24, 0, 0, 0]), "DecodeError");
    assert_eq!(of_tls13(&[24, 0, 0, 2, 0, 0]), "DecodeError");
    assert_eq!(of_tls13(&[1, 0, 0, 0]), "UnexpectedMessage");
    let warning = record(ContentType::Alert, &[WARNING, 100]);
    assert_eq!(Two::new(TLS13[0]).refuse(warning).0, "DecodeError");
}

#[test]
fn nothing_in_a_record_or_its_header_can_be_altered() {
    for suite in [TLS13[0], TLS13[2], TLS12[0], TLS12[2]] {
        let mut two = Two::new(suite);
        let mut wire = Vec::new();
        two.client.send(b"data", &mut wire).expect("a record");
        for place in 0..wire.len() {
            let mut altered = wire.clone();
            altered[place] ^= 1;
            let sequence = two.server.opening.sequence();
            let (mut plain, mut own) = (Vec::new(), Vec::new());
            let outcome = two.server.receive(&mut altered, &mut plain, &mut own);
            // A longer length makes it incomplete.
            assert!(outcome.is_err() || outcome == Ok(0), "byte {place}");
            assert!(plain.is_empty());
            two.server.opening.skip_to(sequence);
        }
        assert_eq!(take_all(&mut two.server, wire).0, b"data");
    }
}

#[test]
fn a_renegotiation_is_declined_once_and_then_refused() {
    let mut two = Two::new(TLS12[0]);
    let hello = || record(ContentType::Handshake, &[1, 0, 0, 2, 3, 3]);
    let (_, own) = two.receive(hello());
    take_all(&mut two.client, own);
    assert_eq!(two.client.patience.warnings, WARNINGS_MAX - 1);
    let data = record(ContentType::ApplicationData, b"data");
    assert_eq!(two.receive(data).0, b"data");
    assert_eq!(two.refuse(hello()).0, "UnexpectedMessage");
    // A server's question is declined in the same way.
    let mut wire = Vec::new();
    record(ContentType::Handshake, &[0, 0, 0, 0])(&mut two.server, &mut wire);
    let (_, own) = take_all(&mut two.client, wire);
    assert!(!own.is_empty());
}

#[test]
fn keys_are_replaced_before_they_have_protected_too_many_records() {
    let near = |two: &mut Two| {
        let sequence = two.client.records_max - 3;
        two.client.sealing.skip_to(sequence);
        two.server.opening.skip_to(sequence);
    };
    let mut two = Two::new(TLS13[0]);
    near(&mut two);
    for number in 0..6 {
        let data = [number; 10];
        let (plain, own) = two.receive(|client, wire| {
            client.send(&data, wire).expect("a record");
        });
        assert_eq!(plain, data);
        assert!(own.is_empty());
    }
    assert_eq!(two.client.sealing.sequence(), 4);
    let mut two = Two::new(TLS12[0]);
    near(&mut two);
    let mut send = || two.client.send(b"data", &mut Vec::new());
    assert_eq!((send(), send()), (Ok(()), Ok(())));
    assert_eq!(send(), Err(Error::EncryptError));
}

#[test]
fn nothing_behind_a_close_notify_is_taken() {
    for suite in [TLS13[0], TLS12[0]] {
        let mut two = Two::new(suite);
        let (plain, own) = two.receive(|client, wire| {
            client.send(b"last", wire).expect("a record");
            client.end(wire).expect("an alert");
            wire.extend_from_slice(b"anything");
        });
        assert_eq!((plain, own), (b"last".to_vec(), Vec::new()));
        assert!(two.server.has_ended());
    }
}
