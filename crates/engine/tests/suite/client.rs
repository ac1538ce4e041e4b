//! The engine as a client: connecting, the handshake's other side, and what is refused.

use crate::kit::bench::any_address;
use crate::kit::defaults;
use crate::kit::host::accept;
use crate::kit::{Bench, Place, Script, Told, websocket};
use std::cell::RefCell;
use std::rc::Rc;
use vespiary_engine::port::Address;
use vespiary_engine::port::Errno;
use vespiary_engine::wire::websocket::close::Code;
use vespiary_engine::{
    Answer, Cause, ClientHandshake, CloseReason, Framing, Kind, Limit, Manner, NotOpened, Opening,
    Options, Side, Tunnel,
};
use vespiary_trace::claims;

on_every_driver_and_with_faults!(
    a_client_and_a_server_of_this_engine_understand_each_other,
    a_clients_close_handshake_ends_cleanly,
    a_close_code_that_reports_a_failure_is_not_a_clean_end,
    a_client_of_a_stream_opens_when_it_is_connected,
    interim_responses_are_skipped,
    a_response_beyond_this_ends_limits_is_not_blamed_on_the_server,
    a_stream_begins_behind_its_tunnel,
    a_proxy_that_refuses_is_reported_apart_from_the_server,
    a_proxy_that_does_not_answer_with_http_is_blamed_instead_of_the_server,
    a_client_learns_the_subprotocol_that_was_chosen,
    a_refused_handshake_tells_the_status,
    an_answer_that_is_not_one_is_refused,
    a_port_where_nobody_listens_is_refused,
    a_connect_that_is_aborted_is_refused,
    a_client_may_be_closed_in_every_state,
);

on_every_driver!(a_handshake_that_gets_no_answer_misses_its_deadline);

fn handshake(protocols: &[&str]) -> ClientHandshake {
    ClientHandshake {
        host: "test".to_owned(),
        target: "/chat".to_owned(),
        protocols: protocols.iter().map(ToString::to_string).collect(),
        headers: vec![("X-Test".to_owned(), "yes".to_owned())],
    }
}

fn websockets() -> Options {
    defaults(Framing::WebSocket)
}

fn lines() -> Options {
    defaults(Framing::Line { ending: b"\n" })
}

/// Connect to `place` as a WebSocket client.
fn connect(bench: &Bench, place: &Place, script: Script) -> crate::kit::Conn {
    let endpoint = script.endpoint(websockets());
    let connected =
        bench
            .engine
            .connect(&place.address, None, endpoint, Some(handshake(&["b", "a"])));
    connected.expect("a socket")
}

fn refusals(bench: &Bench) -> Vec<CloseReason> {
    let log = bench.host().log();
    let refused = log.into_iter().filter_map(|told| match told {
        Told::Refused(_, reason) => Some(reason),
        _ => None,
    });
    refused.collect()
}

fn a_client_and_a_server_of_this_engine_understand_each_other(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc6455/4.1/2", "rfc6455/4.1/10", "rfc6455/4.1/17");
    }
    let server = Script::echo().on_request(|_, request| {
        assert_eq!(request.target(), "/chat");
        assert!(request.lines().any(|line| line == ("X-Test", "yes")));
        accept()
    });
    let place = bench.listen(websockets(), server.forgetful());
    let client = Script::sink().on_opened(|connection| {
        for number in 0..50usize {
            let payload = number.to_string().repeat(number * 7);
            connection
                .send(Kind::Text, payload.as_bytes(), None)
                .expect("room");
        }
    });
    let connection = connect(bench, &place, client);
    assert!(connection.is_client());
    bench.until("all echoes", || bench.host().messages().len() == 50);
    for (number, message) in bench.host().messages().iter().enumerate() {
        assert_eq!(message, number.to_string().repeat(number * 7).as_bytes());
    }
    assert_eq!(place.counters().protocol_errors.get(), 0);
}

fn a_clients_close_handshake_ends_cleanly(bench: &Bench) {
    let place = bench.listen(websockets(), Script::echo());
    let client = Script::sink().on_opened(|it| it.close(Code(1001), "seen enough"));
    drop(connect(bench, &place, client));
    bench.until_closed(2);
    let reasons = bench.host().reasons();
    for reason in &reasons {
        assert_eq!((reason.manner, reason.code), (Manner::Closed, Some(1001)));
        assert_eq!(reason.text, "seen enough");
    }
    let sides = [reasons[0].side, reasons[1].side];
    assert!(sides.contains(&Side::Local) && sides.contains(&Side::Remote));
    bench.until("the end", || bench.engine.connection_count() == 0);
}

fn a_close_code_that_reports_a_failure_is_not_a_clean_end(bench: &Bench) {
    for (round, code) in [1008, 1011, 1013, 3000, 4999].into_iter().enumerate() {
        let place = bench.listen(websockets(), Script::echo());
        let client = Script::sink().on_opened(move |it| it.close(Code(code), ""));
        drop(connect(bench, &place, client));
        bench.until_closed(2 * round + 2);
        let reasons = bench.host().reasons();
        let mut ends = reasons[2 * round..]
            .iter()
            .map(|it| (it.side, it.manner, it.code));
        assert!(
            ends.clone()
                .any(|it| it == (Side::Local, Manner::Closed, Some(code)))
        );
        assert!(ends.any(|it| it == (Side::Remote, Manner::Broken, Some(code))));
        bench.until("the end", || bench.engine.connection_count() == 0);
    }
}

/// A stream endpoint that plays a server: for each piece of input that ends a head it sends the
/// next answer.
fn playing(bench: &Bench, answers: Vec<String>) -> Place {
    let heads = RefCell::new((Vec::new(), answers.into_iter()));
    let script = Script::sink().on_message(move |connection, _, bytes| {
        let (head, answers) = &mut *heads.borrow_mut();
        head.extend_from_slice(bytes);
        if head.ends_with(b"\r\n\r\n") {
            let text = String::from_utf8_lossy(head).into_owned();
            let key = text.split("Sec-WebSocket-Key: ").nth(1);
            let key = key.and_then(|rest| rest.split('\r').next()).unwrap_or("");
            let accept = vespiary_engine::wire::websocket::handshake::accept_value(key);
            let answer = answers
                .next()
                .expect("an answer")
                .replace("ACCEPT", &accept);
            head.clear();
            if answer.is_empty() {
                return connection.close(Code(1000), "");
            }
            let sent = connection.send(Kind::Binary, answer.as_bytes(), None);
            sent.expect("room");
        }
    });
    bench.listen(defaults(Framing::Raw), script)
}

const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                         Connection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n";
const EARLY_HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";

fn interim_responses_are_skipped(bench: &Bench) {
    let answer = format!("{}{SWITCHING}", EARLY_HINTS.repeat(16));
    let place = playing(bench, vec![answer]);
    let connection = connect(bench, &place, Script::sink());
    bench.until("the handshake", || connection.is_open());
    let too_many = playing(bench, vec![EARLY_HINTS.repeat(17)]);
    drop(connect(bench, &too_many, Script::sink()));
    bench.until("the refusal", || refusals(bench).len() == 1);
    let reason = &refusals(bench)[0];
    assert_eq!((reason.side, reason.manner), (Side::Remote, Manner::Broken));
    assert!(reason.text.contains("interim"), "{reason}");
}

fn a_response_beyond_this_ends_limits_is_not_blamed_on_the_server(bench: &Bench) {
    let place = playing(
        bench,
        vec![format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(20_000))],
    );
    drop(connect(bench, &place, Script::sink()));
    bench.until("the refusal", || refusals(bench).len() == 1);
    let reason = &refusals(bench)[0];
    assert_eq!(reason.side, Side::Local);
    assert_eq!(reason.cause, Cause::Limit(Limit::HeaderBytes));
    assert!(
        reason.text.contains("header_bytes_max is 16384"),
        "{reason}"
    );
}

fn tunnel() -> Tunnel {
    Tunnel {
        authority: "far.example:7".to_owned(),
        headers: vec![("Proxy-Authorization".to_owned(), "Basic YTpi".to_owned())],
    }
}

fn a_stream_begins_behind_its_tunnel(bench: &Bench) {
    let established = "HTTP/1.1 200 Connection established\r\n\r\n";
    let place = playing(bench, vec![format!("{EARLY_HINTS}{established}hello\n")]);
    let opening = Opening {
        tunnel: Some(tunnel()),
        handshake: None,
    };
    let endpoint = Script::sink().endpoint(lines());
    let connected = bench
        .engine
        .connect(&place.address, None, endpoint, opening);
    drop(connected.expect("a socket"));
    // Both what the proxy was asked and what came through it.
    bench.until("the message", || {
        bench.host().messages().contains(&b"hello".to_vec())
    });
    let heard: Vec<u8> = bench.host().messages().concat();
    let request = String::from_utf8_lossy(&heard).into_owned();
    assert!(
        request.contains("CONNECT far.example:7 HTTP/1.1\r\nHost: far.example:7\r\nProxy-"),
        "{request}"
    );
}

/// Why a client that a proxy at this place serves is refused.
fn refused_through(bench: &Bench, place: &Place) -> CloseReason {
    let known = refusals(bench).len();
    let opening = Opening {
        tunnel: Some(tunnel()),
        handshake: Some(handshake(&[])),
    };
    let endpoint = Script::sink().endpoint(websockets());
    let connected = bench
        .engine
        .connect(&place.address, None, endpoint, opening);
    drop(connected.expect("a socket"));
    bench.until("the refusal", || refusals(bench).len() > known);
    refusals(bench).swap_remove(known)
}

fn a_proxy_that_refuses_is_reported_apart_from_the_server(bench: &Bench) {
    let refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nnope";
    let established = "HTTP/1.1 200 Connection established\r\n\r\n";
    for answers in [vec![refusal], vec![established, refusal]] {
        let is_proxy = answers.len() == 1;
        let place = playing(bench, answers.into_iter().map(str::to_owned).collect());
        let reason = refused_through(bench, &place);
        assert_eq!(
            (reason.status, reason.cause == Cause::ProxyRefused),
            (Some(403), is_proxy)
        );
        assert_eq!(reason.body, b"nope");
    }
}

/// What is not an answer, and an end instead of one.
fn a_proxy_that_does_not_answer_with_http_is_blamed_instead_of_the_server(bench: &Bench) {
    let established = "HTTP/1.1 200 Connection established\r\n\r\n";
    let tls = "\x15\x03\x01\0\x02\x02\x46";
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}\r\n", "x".repeat(100_000));
    for answer in ["garbage\r\n\r\n", "", tls, &endless, established] {
        let mut answers = vec![answer.to_owned()];
        if answer == established {
            answers.push("garbage\r\n\r\n".to_owned());
        }
        let place = playing(bench, answers);
        let reason = refused_through(bench, &place);
        let is_proxy = reason.cause == Cause::ProxyRefused;
        assert_eq!((reason.status, is_proxy), (None, answer != established));
    }
}

fn a_client_of_a_stream_opens_when_it_is_connected(bench: &Bench) {
    let place = bench.listen(lines(), Script::echo().forgetful());
    let script = Script::sink().on_opened(|connection| {
        connection.send(Kind::Binary, b"hello", None).expect("room");
    });
    let endpoint = script.endpoint(lines());
    drop(
        bench
            .engine
            .connect(&place.address, None, endpoint, None)
            .expect("a socket"),
    );
    bench.until("the echo", || bench.host().messages() == [b"hello"]);
}

fn a_client_learns_the_subprotocol_that_was_chosen(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc6455/4.1/h2");
    }
    let script = Script::echo().on_request(|_, _| Answer::Accept {
        protocol: Some("a".to_owned()),
        headers: vec![],
    });
    let place = bench.listen(websockets(), script);
    let connection = connect(bench, &place, Script::sink());
    bench.until("the handshake", || connection.is_open());
    assert_eq!(connection.protocol().as_deref(), Some("a"));
}

fn a_refused_handshake_tells_the_status(bench: &Bench) {
    let script = Script::echo().on_request(|_, _| Answer::Respond {
        status: 403,
        headers: vec![],
        body: b"go away".to_vec(),
    });
    let place = bench.listen(websockets(), script);
    let connection = connect(bench, &place, Script::sink());
    bench.until_closed(1);
    let reason = &refusals(bench)[0];
    assert_eq!((reason.side, reason.status), (Side::Remote, Some(403)));
    assert_eq!(
        connection.endpoint().counters.refused.borrow()[&NotOpened::Status(403)],
        1
    );
    assert_eq!(connection.endpoint().open(), 0);
    assert_eq!(
        bench.host().count(|told| matches!(told, Told::Opened(_))),
        0
    );
}

fn an_answer_that_is_not_one_is_refused(bench: &Bench) {
    let answers = [
        "HTTP/1.1 101 Switching Protocols\r\n\r\n".to_owned(),
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            websocket::ACCEPT
        ),
        "garbage\r\n\r\n".to_owned(),
        String::new(),
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        // A stream endpoint plays a server that answers wrongly.
        let script = Script::sink().on_message(move |connection, _, _| {
            connection
                .send(Kind::Binary, answer.as_bytes(), None)
                .expect("room");
            connection.close(Code::NORMAL, "");
        });
        let place = bench.listen(defaults(Framing::Raw), script);
        drop(connect(bench, &place, Script::sink()));
        bench.until("the refusal", || refusals(bench).len() == number + 1);
        assert_eq!(refusals(bench)[number].manner, Manner::Broken);
        bench.until("the end", || bench.engine.connection_count() == 0);
    }
}

fn a_port_where_nobody_listens_is_refused(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc6455/4.1/12", "rfc6455/7.2.1/1");
    }
    let place = bench.listen(lines(), Script::sink());
    place.listener.close();
    bench.settle();
    let endpoint = Script::sink().endpoint(lines());
    for count in 1..=5 {
        let connected = bench
            .engine
            .connect(&place.address, None, endpoint.clone(), None);
        drop(connected.expect("a socket"));
        bench.until_closed(count);
    }
    assert!(
        refusals(bench)
            .iter()
            .all(|reason| reason.errno() == Some(Errno(111))),
        "ECONNREFUSED"
    );
    assert_eq!(endpoint.counters.accepted.get(), 5);
    assert_eq!(
        endpoint.counters.refused.borrow()[&NotOpened::Kernel(111)],
        5
    );
    assert_eq!(endpoint.open(), 0);
}

/// An address that does not answer a connect: in the simulation one that is silent, on a kernel a
/// listener whose queue is full.
fn unanswering(bench: &Bench) -> (Address, Vec<std::net::TcpStream>) {
    if let Some(world) = &bench.world {
        let address = Address::Inet(([192, 0, 2, 1], 80).into());
        world.silence(&address);
        return (address, Vec::new());
    }
    let endpoint = Script::sink().endpoint(lines());
    let listener = bench
        .engine
        .listen(&any_address(), endpoint, 0, false)
        .expect("a listener");
    bench.settle();
    let address = listener.address().expect("an address");
    let Address::Inet(inet) = &address else {
        panic!("an address on the loopback")
    };
    let mut filling = Vec::new();
    let patience = std::time::Duration::from_millis(50);
    while let Ok(stream) = std::net::TcpStream::connect_timeout(inet, patience) {
        filling.push(stream);
    }
    (address, filling)
}

fn a_connect_that_is_aborted_is_refused(bench: &Bench) {
    let (address, _filling) = unanswering(bench);
    let endpoint = Script::sink().endpoint(lines());
    for late in [false, true] {
        let connection = bench
            .engine
            .connect(&address, None, endpoint.clone(), None)
            .expect("a socket");
        if late {
            bench.settle();
        }
        connection.abort();
        bench.until_closed(1 + usize::from(late));
    }
    assert!(
        refusals(bench)
            .iter()
            .all(|reason| reason.side == Side::Local)
    );
    bench.until("the end", || bench.engine.connection_count() == 0);
}

fn a_handshake_that_gets_no_answer_misses_its_deadline(bench: &Bench) {
    let (silent, _filling) = unanswering(bench);
    let place = bench.listen(defaults(Framing::Raw), Script::sink());
    for (number, address) in [silent, place.address.clone()].into_iter().enumerate() {
        let mut options = websockets();
        options.deadlines.handshake = Some(60);
        let endpoint = Script::sink().endpoint(options);
        let start = bench.engine.now_ms();
        let connected =
            bench
                .engine
                .connect(&address, None, Rc::clone(&endpoint), Some(handshake(&[])));
        drop(connected.expect("a socket"));
        bench.until("the refusal", || refusals(bench).len() == number + 1);
        let took = bench.engine.now_ms() - start;
        assert!((59..=500).contains(&took), "{took} ms");
        assert_eq!(
            endpoint.counters.limits.borrow()[&Limit::HandshakeSeconds],
            1
        );
    }
}

fn a_client_may_be_closed_in_every_state(bench: &Bench) {
    let place = bench.listen(websockets(), Script::echo());
    for turns in 0..12 {
        for in_good_order in [true, false] {
            let connection = connect(bench, &place, Script::sink());
            for _ in 0..turns {
                bench.turn();
            }
            if in_good_order {
                connection.close(Code::NORMAL, "");
            } else {
                connection.abort();
            }
            drop(connection);
            bench.until("the end", || bench.engine.connection_count() == 0);
        }
    }
    assert_eq!(place.endpoint().open(), 0);
}
