//! Connections through proxies, which say first for whom they connect (the PROXY protocol), or in
//! each request for whom they ask.

use crate::kit::defaults;
use crate::kit::{Bench, Conn, Ending, Peer, Script, websocket};
use vespiary_engine::port::Address;
use vespiary_engine::wire::http::ForwardedField;
use vespiary_engine::{
    Answer, Cause, CloseReason, Flow, Framing, Layer, Limit, Options, Progress, Proxies, Received,
};

on_every_driver_and_with_faults!(
    a_header_names_the_peer_and_is_gone,
    a_session_begins_behind_the_header,
    other_layers_stand_above_the_header,
    a_connection_from_elsewhere_is_served_as_it_is,
    a_connection_without_its_header_is_ended,
    a_health_check_keeps_its_own_address,
    a_peer_that_ends_within_the_header_is_let_go,
    each_client_counts_for_its_own_address,
    each_request_names_its_own_client,
    a_client_over_its_limit_is_refused_politely,
);

const CLIENT: &str = "192.0.2.7:8080";
const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 8080 443\r\n";

fn behind_proxies(framing: Framing) -> Options {
    let mut options = defaults(framing);
    let mut proxies = Proxies::default();
    proxies.add([0, 0, 0, 0].into(), 0);
    options.proxies = proxies;
    options
}

fn lines() -> Options {
    behind_proxies(Framing::Line { ending: b"\n" })
}

fn has_peer(connection: &Conn, text: &str) -> bool {
    connection.peer_address() == Some(Address::Inet(text.parse().expect("an address")))
}

fn a_header_names_the_peer_and_is_gone(bench: &Bench) {
    let place = bench.listen(lines(), Script::echo());
    let mut peer = bench.connect(&place);
    peer.send(bench, &[LINE, b"one\n"].concat());
    assert_eq!(peer.take(bench, 4), b"one\n");
    let connection = bench.latest();
    assert!(has_peer(&connection, CLIENT));
    assert_eq!(connection.buffer_bytes(), 0, "nothing is left of the layer");
    peer.send(bench, b"two\n");
    assert_eq!(peer.take(bench, 4), b"two\n");
    peer.finish();
    assert_eq!(peer.take_rest(bench), (vec![], Ending::Finished));
    bench.until_closed(1);
    assert!(has_peer(&connection, CLIENT), "after the end");
}

fn a_session_begins_behind_the_header(bench: &Bench) {
    let script = Script::echo().on_opened(|connection| {
        let peer = connection.peer_address().expect("known").to_string();
        let kind = vespiary_engine::Kind::Text;
        connection.send(kind, peer.as_bytes(), None).expect("room");
    });
    let place = bench.listen(behind_proxies(Framing::WebSocket), script);
    let mut peer = bench.connect(&place);
    // A byte at a time: nothing begins before the header is complete.
    for byte in LINE {
        peer.send(bench, &[*byte]);
        bench.settle();
    }
    assert_eq!(bench.host().open(), 0);
    peer.send(bench, websocket::request("/", "").as_bytes());
    let head = peer.head(bench);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let mut frame = peer.take(bench, 2 + "192.0.2.7:8080".len());
    let frame = websocket::parse(&mut frame).expect("a frame");
    assert_eq!(frame.payload, b"192.0.2.7:8080");
}

/// Awaits one byte before anything else, and then passes everything on.
#[derive(Default)]
struct Knock {
    is_open: bool,
}

impl Layer for Knock {
    fn receive(&mut self, input: &mut [u8], flow: &mut Flow<'_>) -> Result<Received, CloseReason> {
        let (used, progress) = if self.is_open {
            flow.plain.extend_from_slice(input);
            (input.len(), Progress::MoreNeeded)
        } else if input.is_empty() {
            (0, Progress::MoreNeeded)
        } else {
            assert_eq!(input[0], b'!', "the header is not this layer's");
            self.is_open = true;
            flow.own.push(b'?');
            (1, Progress::Ready)
        };
        Ok(Received {
            used,
            progress,
            work: 0,
        })
    }

    fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), CloseReason> {
        wire.extend_from_slice(plain);
        Ok(())
    }

    fn is_ready(&self) -> bool {
        self.is_open
    }

    fn memory_bytes(&self) -> usize {
        size_of::<Self>()
    }
}

fn other_layers_stand_above_the_header(bench: &Bench) {
    let layers = |_: &Conn| -> Vec<Box<dyn Layer>> { vec![Box::<Knock>::default()] };
    let place = bench.listen(lines(), Script::echo().layered(layers));
    let mut peer = bench.connect(&place);
    peer.send(bench, &[LINE, b"!one\n"].concat());
    assert_eq!(peer.take(bench, 5), b"?one\n");
    assert!(has_peer(&bench.latest(), CLIENT));
    peer.send(bench, b"two\n");
    assert_eq!(peer.take(bench, 4), b"two\n");
}

fn a_connection_from_elsewhere_is_served_as_it_is(bench: &Bench) {
    let mut options = lines();
    let mut proxies = Proxies::default();
    proxies.add([192, 0, 2, 0].into(), 24);
    options.proxies = proxies;
    let place = bench.listen(options, Script::echo());
    let mut peer = bench.connect(&place);
    peer.send(bench, LINE);
    // What it says of itself is a message.
    let echoed = peer.take(bench, LINE.len() - 1);
    assert!(echoed.starts_with(b"PROXY TCP4 192.0.2.7"));
    assert!(!has_peer(&bench.latest(), CLIENT));
}

fn a_connection_without_its_header_is_ended(bench: &Bench) {
    let place = bench.listen(lines(), Script::echo());
    let mut peer = bench.connect(&place);
    // It cannot become a header any more, whatever follows.
    peer.send(bench, b"h");
    let (bytes, _) = peer.take_rest(bench);
    assert!(bytes.is_empty());
    bench.until("gone", || bench.engine.connection_count() == 0);
    assert_eq!(place.counters().protocol_errors.get(), 1);
    assert_eq!(place.counters().opened.get(), 0);
    assert_eq!(place.endpoint().open(), 0);
    assert_eq!(place.endpoint().handshaking(), 0);
}

fn a_health_check_keeps_its_own_address(bench: &Bench) {
    let place = bench.listen(lines(), Script::echo());
    let mut peer = bench.connect(&place);
    peer.send(bench, b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00one\n");
    assert_eq!(peer.take(bench, 4), b"one\n");
    assert!(!has_peer(&bench.latest(), CLIENT));
    peer.finish();
    bench.until_closed(1);
    assert_eq!(bench.host().reasons()[0].cause, Cause::PeerClosed);
}

fn a_peer_that_ends_within_the_header_is_let_go(bench: &Bench) {
    let place = bench.listen(lines(), Script::echo());
    for cut in [0, 3, LINE.len() - 1] {
        let mut peer = bench.connect(&place);
        if cut > 0 {
            peer.send(bench, &LINE[..cut]);
        }
        peer.finish();
        peer.take_rest(bench);
        bench.until("gone", || bench.engine.connection_count() == 0);
    }
    assert_eq!(place.counters().opened.get(), 0);
    assert_eq!(place.endpoint().open(), 0);
}

fn each_client_counts_for_its_own_address(bench: &Bench) {
    let mut options = lines();
    options.limits.connections_per_address_max = Some(1);
    let place = bench.listen(options, Script::echo());
    let line = |last: u8| format!("PROXY TCP4 192.0.2.{last} 198.51.100.1 8080 443\r\none\n");
    let mut open = Vec::new();
    for last in 1..=3 {
        let mut peer = bench.connect(&place);
        peer.send(bench, line(last).as_bytes());
        assert_eq!(peer.take(bench, 4), b"one\n");
        open.push(peer);
    }
    let mut second = bench.connect(&place);
    second.send(bench, line(3).as_bytes());
    assert_eq!(second.take_rest(bench).0, b"");
    let limit = Limit::ConnectionsPerAddress;
    assert_eq!(bench.host().limits_reached(limit), 1);
    // The place is free again when the first is gone.
    let mut third = open.pop().expect("three");
    third.finish();
    bench.until("gone", || place.endpoint().open() == 2);
    let mut again = bench.connect(&place);
    again.send(bench, line(3).as_bytes());
    assert_eq!(again.take(bench, 4), b"one\n");
}

fn forwarding(most: Option<u32>) -> Options {
    let mut options = defaults(Framing::Http);
    let mut proxies = Proxies::default();
    proxies.add([0, 0, 0, 0].into(), 0);
    options.forwarders = Some((proxies, ForwardedField::XForwardedFor));
    options.limits.connections_per_address_max = most;
    options
}

fn answering() -> Script {
    Script::sink().on_request(|connection, _| Answer::Respond {
        status: 200,
        headers: Vec::new(),
        body: connection.peer_address().expect("known").to_string().into(),
    })
}

fn ask(bench: &Bench, peer: &mut Peer, client: &str) -> String {
    let field = if client.is_empty() {
        String::new()
    } else {
        format!("X-Forwarded-For: {client}\r\n")
    };
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n");
    peer.send(bench, request.as_bytes());
    let head = peer.head(bench);
    let length = head.split("Content-Length: ").nth(1).expect("a length");
    let length = length.split("\r\n").next().and_then(|it| it.parse().ok());
    let body = peer.take(bench, length.expect("a number"));
    String::from_utf8(body).expect("text")
}

fn each_request_names_its_own_client(bench: &Bench) {
    let place = bench.listen(forwarding(None), answering());
    let mut peer = bench.connect(&place);
    let own = ask(bench, &mut peer, "");
    assert_eq!(ask(bench, &mut peer, "2001:db8::7"), "[2001:db8::7]:0");
    assert_eq!(
        ask(bench, &mut peer, "[2001:db8::8]:80"),
        "[2001:db8::8]:80"
    );
    // Everybody with IPv4 is a proxy here, and the first of them asked by itself.
    assert_eq!(ask(bench, &mut peer, "192.0.2.1, 192.0.2.2"), "192.0.2.1:0");
    assert_eq!(ask(bench, &mut peer, "unknown"), own);
    assert_eq!(ask(bench, &mut peer, ""), own);
}

fn a_client_over_its_limit_is_refused_politely(bench: &Bench) {
    let place = bench.listen(forwarding(Some(1)), answering());
    let mut first = bench.connect(&place);
    let mut second = bench.connect(&place);
    let mut third = bench.connect(&place);
    assert_eq!(ask(bench, &mut first, "2001:db8::1"), "[2001:db8::1]:0");
    assert_eq!(ask(bench, &mut second, "2001:db8::2"), "[2001:db8::2]:0");
    let request = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 2001:db8::2\r\n\r\n";
    third.send(bench, request.as_bytes());
    let head = third.head(bench);
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    let limit = Limit::ConnectionsPerAddress;
    assert_eq!(bench.host().limits_reached(limit), 1);
    // A connection counts for the client of its latest request.
    assert_eq!(ask(bench, &mut second, "2001:db8::3"), "[2001:db8::3]:0");
    let mut fourth = bench.connect(&place);
    assert_eq!(ask(bench, &mut fourth, "2001:db8::2"), "[2001:db8::2]:0");
}
