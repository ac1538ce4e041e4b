//! A client's layer and a server's, connected by bytes that are cut anywhere.

mod ends;

use ends::{End, Two, authority, client_settings, identity, server_settings};
use proptest::prelude::*;
use vespiary_engine::{Cause, Flow, Layer, Progress, Side};
use vespiary_tls::{ClientSettings, ClientTls, Clients, ServerSettings, ServerTls, development};

fn two(client: &ClientSettings, server: &ServerSettings) -> Two {
    let client = ClientTls::new(client).expect("valid settings of a client");
    let server = ServerTls::new(server).expect("valid settings of a server");
    Two::new(&client, &server, "localhost")
}

#[test]
fn both_ends_agree_on_the_newest_version_and_an_application_protocol() {
    let mut ends = two(&client_settings(), &server_settings());
    assert!(ends.server.handle.facts().is_none());
    ends.run(&[usize::MAX]);
    for end in [&ends.client, &ends.server] {
        let facts = end.handle.facts().expect("a finished handshake");
        assert_eq!(facts.version, "TLSv1.3");
        assert_eq!(facts.alpn.as_deref(), Some(&b"http/1.1"[..]));
        assert_eq!(facts.server_name.as_deref(), Some("localhost"));
        assert_eq!(facts.group.as_deref(), Some("X25519MLKEM768"));
        assert!(facts.cipher.starts_with("TLS_AES_"), "{}", facts.cipher);
        assert!(!facts.resumed);
    }
    assert_eq!(
        ends.client
            .handle
            .facts()
            .map(|it| it.peer_certificates.len()),
        Some(1)
    );
}

#[test]
fn a_second_connection_resumes_the_session() {
    let client = ClientTls::new(&client_settings()).expect("a client");
    let server = ServerTls::new(&server_settings()).expect("a server");
    for resumed in [false, true] {
        let mut ends = Two::new(&client, &server, "localhost");
        ends.run(&[usize::MAX]);
        assert_eq!(
            ends.client.handle.facts().map(|it| it.resumed),
            Some(resumed)
        );
        assert_eq!(
            ends.server.handle.facts().map(|it| it.resumed),
            Some(resumed)
        );
    }
}

#[test]
fn a_server_answers_the_last_message_of_the_handshake_at_once() {
    // Its tickets acknowledge that message. A client that waits for that before it sends its first
    // data (Nagle's algorithm) would wait 40 ms for a delayed acknowledgement.
    let mut ends = two(&client_settings(), &server_settings());
    for _ in 0..2 {
        let bytes = std::mem::take(&mut ends.client.wire);
        ends.server.receive(&bytes);
        let bytes = std::mem::take(&mut ends.server.wire);
        assert!(!bytes.is_empty());
        ends.client.receive(&bytes);
    }
    assert!(ends.server.layer.is_ready());
}

#[test]
fn a_close_notify_ends_one_direction_only() {
    let mut ends = two(&client_settings(), &server_settings());
    ends.run(&[usize::MAX]);
    ends.client.send(b"last");
    ends.client
        .layer
        .end(&mut ends.client.wire)
        .expect("an end");
    ends.run(&[usize::MAX]);
    assert!(ends.server.ended);
    assert_eq!(ends.server.plain, b"last");
    assert_eq!(ends.server.layer.input_ended(), Progress::Ended);
    ends.server.send(b"answer");
    ends.run(&[usize::MAX]);
    assert_eq!(ends.client.plain, b"answer");
    assert_eq!(ends.client.layer.input_ended(), Progress::Truncated);
}

#[test]
fn a_server_is_ready_before_an_end_that_came_with_the_handshakes() {
    let mut ends = two(&client_settings(), &server_settings());
    let hello = std::mem::take(&mut ends.client.wire);
    ends.server.receive(&hello);
    let answer = std::mem::take(&mut ends.server.wire);
    ends.client.receive(&answer);
    ends.client.send(b"last");
    let wire = &mut ends.client.wire;
    ends.client.layer.end(wire).expect("an end");
    let mut input = std::mem::take(wire);
    let (mut plain, mut own) = (Vec::new(), Vec::new());
    let mut progress = Vec::new();
    for _ in 0..2 {
        let mut flow = Flow {
            plain: &mut plain,
            own: &mut own,
        };
        let received = ends.server.layer.receive(&mut input, &mut flow);
        progress.push(received.expect("whole records").progress);
        input.clear();
    }
    assert_eq!(progress, [Progress::Ready, Progress::Ended]);
    assert_eq!(plain, b"last");
}

#[test]
fn an_unknown_authority_is_refused_with_an_alert_that_the_server_understands() {
    let other = development::authority().expect("another authority");
    let mut client = client_settings();
    client.authorities = Some(other.certificate.into_bytes());
    let mut ends = two(&client, &server_settings());
    ends.run(&[usize::MAX]);
    let failure = ends.client.failure.expect("a failure");
    assert_eq!(
        (failure.cause, failure.side),
        (Cause::TlsFailed, Side::Local)
    );
    assert!(
        failure.text.contains("its authority is not trusted"),
        "{}",
        failure.text
    );
    let failure = ends.server.failure.expect("a failure");
    assert_eq!(
        (failure.cause, failure.side),
        (Cause::TlsFailed, Side::Remote)
    );
    assert!(
        failure.text.contains("does not trust the authority"),
        "{}",
        failure.text
    );
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let client = ClientTls::new(&client_settings()).expect("a client");
    let server = ServerTls::new(&server_settings()).expect("a server");
    let mut ends = Two::new(&client, &server, "example.com");
    ends.run(&[usize::MAX]);
    let failure = ends.client.failure.expect("a failure");
    assert!(failure.text.contains("example.com"), "{}", failure.text);
}

#[test]
fn the_certificate_is_chosen_by_the_name_that_the_client_asks_for() {
    let mut settings = server_settings();
    settings.identities.push(identity(&["*.example.com"]));
    let client = ClientTls::new(&client_settings()).expect("a client");
    let server = ServerTls::new(&settings).expect("a server");
    for name in ["localhost", "chat.example.com", "127.0.0.1"] {
        let mut ends = Two::new(&client, &server, name);
        ends.run(&[usize::MAX]);
        assert!(
            ends.client.failure.is_none(),
            "{name}: {:?}",
            ends.client.failure
        );
    }
}

#[test]
fn a_client_without_the_required_certificate_is_refused() {
    let mut settings = server_settings();
    settings.client_authorities = Some(authority().certificate.clone().into_bytes());
    settings.clients = Clients::Required;
    let mut ends = two(&client_settings(), &settings);
    ends.run(&[usize::MAX]);
    let failure = ends.server.failure.expect("a failure");
    assert!(
        failure.text.contains("showed no certificate"),
        "{}",
        failure.text
    );
    let failure = ends.client.failure.expect("a failure");
    assert!(
        failure.text.contains("requires a certificate"),
        "{}",
        failure.text
    );

    let mut client = client_settings();
    client.identity = Some(identity(&["somebody"]));
    let mut ends = two(&client, &settings);
    ends.run(&[usize::MAX]);
    let facts = ends.server.handle.facts().expect("a finished handshake");
    assert_eq!(facts.peer_certificates.len(), 1);
}

#[test]
fn new_settings_are_for_new_connections_and_wrong_ones_change_nothing() {
    let client = ClientTls::new(&client_settings()).expect("a client");
    let server = ServerTls::new(&server_settings()).expect("a server");
    let mut old = Two::new(&client, &server, "localhost");
    let mut settings = server_settings();
    settings.identities = vec![identity(&["new.example.com"])];
    server.replace(&settings).expect("valid settings");
    assert!(server.replace(&ServerSettings::default()).is_err());
    old.run(&[usize::MAX]);
    assert!(old.client.failure.is_none());
    let mut new = Two::new(&client, &server, "new.example.com");
    new.run(&[usize::MAX]);
    assert!(new.client.failure.is_none(), "{:?}", new.client.failure);
}

#[test]
fn plain_text_is_refused_as_such() {
    let server = ServerTls::new(&server_settings()).expect("a server");
    let mut end = End::new(server.layer());
    end.receive(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let failure = end.failure.expect("a failure");
    assert!(
        failure.text.contains("does not speak TLS"),
        "{}",
        failure.text
    );
}

#[test]
fn an_idle_connection_holds_no_buffer() {
    let mut ends = two(&client_settings(), &server_settings());
    ends.run(&[usize::MAX]);
    let before = ends.server.layer.memory_bytes();
    ends.client.send(&vec![7; 64 << 10]);
    ends.run(&[1000]);
    assert_eq!(ends.server.plain.len(), 64 << 10);
    assert_eq!(ends.server.layer.memory_bytes(), before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn bytes_arrive_whole_however_the_stream_is_cut(
        sizes in prop::collection::vec(prop_oneof![1..40_usize, 1..5000_usize], 1..20),
        messages in prop::collection::vec((any::<bool>(), 0..40_000_usize), 0..6),
    ) {
        let mut ends = two(&client_settings(), &server_settings());
        ends.run(&sizes);
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        for (number, (is_clients, length)) in messages.into_iter().enumerate() {
            let message: Vec<u8> = (0..length).map(|it| (it * 7 + number) as u8).collect();
            if is_clients {
                ends.client.send(&message);
                to_server.extend(message);
            } else {
                ends.server.send(&message);
                to_client.extend(message);
            }
        }
        ends.run(&sizes);
        prop_assert_eq!(ends.client.failure, None);
        prop_assert_eq!(ends.server.failure, None);
        prop_assert!(ends.server.plain == to_server);
        prop_assert!(ends.client.plain == to_client);
    }

    #[test]
    fn altered_bytes_never_panic(place in 0..8000_usize, value in 1..=255_u8) {
        let mut ends = two(&client_settings(), &server_settings());
        let mut sent = 0;
        while !ends.client.wire.is_empty() || !ends.server.wire.is_empty() {
            for is_clients in [true, false] {
                let from = if is_clients { &mut ends.client } else { &mut ends.server };
                let mut bytes = std::mem::take(&mut from.wire);
                if (sent..sent + bytes.len()).contains(&place) {
                    bytes[place - sent] ^= value;
                }
                sent += bytes.len();
                let to = if is_clients { &mut ends.server } else { &mut ends.client };
                if !bytes.is_empty() {
                    to.receive(&bytes);
                }
            }
        }
    }
}
