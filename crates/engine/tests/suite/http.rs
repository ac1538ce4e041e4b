//! The HTTP head at a connection's start: answers, refusals, and answers that come later.

use crate::kit::defaults;
use crate::kit::host::accept;
use crate::kit::http::later;
use crate::kit::{Bench, Ending, Place, Script, Told, websocket};
use vespiary_engine::wire::websocket::close::Code;
use vespiary_engine::{Answer, Framing, Limit, NotOpened, Options};
use vespiary_trace::claims;

on_every_driver_and_with_faults!(
    a_handshake_cut_at_every_byte_is_accepted,
    the_hosts_headers_and_subprotocol_are_in_the_answer,
    a_request_that_is_not_an_upgrade_is_answered_426,
    a_malformed_request_is_answered_400,
    a_wrong_version_is_answered_with_the_right_one,
    a_head_that_is_too_long_is_answered_431,
    too_many_header_lines_are_answered_431,
    a_host_may_refuse_an_upgrade_with_any_answer,
    a_host_that_answers_badly_gives_500,
    a_host_may_serve_plain_http,
    the_answer_to_a_head_request_has_no_body,
    a_host_that_asks_for_an_upgrade_names_it,
    a_client_that_awaits_100_gets_it_before_101,
    a_request_may_be_answered_later,
    a_request_may_be_answered_from_inside_its_callback,
    an_answer_from_another_callback_nests_nothing,
    an_answer_after_the_peer_has_gone_is_dropped,
    a_client_that_sends_while_its_request_waits_is_held_back,
    a_peer_that_leaves_during_the_handshake_is_counted,
);

fn websockets() -> Options {
    defaults(Framing::WebSocket)
}

fn respond(status: u16, body: &str) -> Answer {
    let headers = vec![("X-Test".to_owned(), "yes".to_owned())];
    Answer::Respond {
        status,
        headers,
        body: body.into(),
    }
}

fn refusals(place: &Place, cause: NotOpened) -> u64 {
    place
        .counters()
        .refused
        .borrow()
        .get(&cause)
        .copied()
        .unwrap_or(0)
}

/// Send `request` on a fresh connection; its answer's head and body. The connection ends.
fn ask(bench: &Bench, place: &Place, request: &[u8]) -> (String, String) {
    let mut peer = bench.connect(place);
    peer.send(bench, request);
    let head = peer.head(bench);
    let (body, ending) = peer.take_rest(bench);
    assert_eq!(ending, Ending::Finished, "{head}");
    assert!(head.to_ascii_lowercase().contains("connection: "), "{head}");
    peer.finish();
    drop(peer);
    bench.until("the end", || bench.engine.connection_count() == 0);
    (head, String::from_utf8(body).expect("a body in UTF-8"))
}

fn a_handshake_cut_at_every_byte_is_accepted(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc6455/4.2.2/1");
    }
    let place = bench.listen(websockets(), Script::echo());
    let mut peer = bench.connect(&place);
    let request = websocket::request("/chat?room=1", "");
    for (place_in_it, byte) in request.as_bytes().iter().enumerate() {
        peer.send(bench, &[*byte]);
        let reached = place_in_it as u64 + 1;
        bench.until("a byte", || place.counters().bytes_in.get() == reached);
    }
    let head = peer.head(bench);
    assert!(
        head.starts_with("HTTP/1.1 101 ") && head.contains(websocket::ACCEPT),
        "{head}"
    );
    let is_asked = |told: &Told| matches!(told, Told::Request(_, it) if it == "/chat?room=1");
    assert_eq!(bench.host().count(is_asked), 1);
}

fn the_hosts_headers_and_subprotocol_are_in_the_answer(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc6455/4.2.2/h5");
    }
    let script = Script::echo().on_request(|_, _| Answer::Accept {
        protocol: Some("chat".to_owned()),
        headers: vec![("X-Test".to_owned(), "yes".to_owned())],
    });
    let place = bench.listen(websockets(), script);
    let mut peer = bench.connect(&place);
    let lines = "Sec-WebSocket-Protocol: other, chat\r\n";
    peer.send(bench, websocket::request("/", lines).as_bytes());
    let head = peer.head(bench);
    assert!(head.contains("\r\nX-Test: yes\r\n"), "{head}");
    assert!(
        head.contains("\r\nSec-WebSocket-Protocol: chat\r\n"),
        "{head}"
    );
    let connection = bench.latest();
    assert_eq!(connection.protocol().as_deref(), Some("chat"));
}

fn a_request_that_is_not_an_upgrade_is_answered_426(bench: &Bench) {
    let place = bench.listen(websockets(), Script::echo());
    let (head, _) = ask(bench, &place, b"GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 426 "), "{head}");
    assert!(head.contains("\r\nUpgrade: websocket\r\n"), "{head}");
    assert_eq!(refusals(&place, NotOpened::Status(426)), 1);
}

fn a_malformed_request_is_answered_400(bench: &Bench) {
    if bench.is_simulated() {
        claims!(
            "rfc6455/4.2.1/1",
            "rfc6455/4.2.1/h2",
            "rfc6455/7.2.2/1",
            "rfc6455/10.7/4"
        );
    }
    let place = bench.listen(websockets(), Script::echo());
    let cases = [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "complete garbage\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
    ];
    for request in cases {
        let (head, body) = ask(bench, &place, request.as_bytes());
        assert!(head.starts_with("HTTP/1.1 400 "), "{request}: {head}");
        assert!(!body.is_empty());
    }
    let without_key = websocket::request("/", "").replace("Sec-WebSocket-Key", "X-Key");
    let (head, _) = ask(bench, &place, without_key.as_bytes());
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    assert_eq!(refusals(&place, NotOpened::Status(400)), 6);
    assert_eq!(place.counters().protocol_errors.get(), 6);
    assert_eq!(
        bench.host().count(|told| matches!(told, Told::Request(..))),
        0
    );
}

fn a_wrong_version_is_answered_with_the_right_one(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc6455/4.2.2/6", "rfc6455/4.4/1");
    }
    let place = bench.listen(websockets(), Script::echo());
    let request = websocket::request("/", "").replace("Version: 13", "Version: 12");
    let (head, _) = ask(bench, &place, request.as_bytes());
    assert!(head.starts_with("HTTP/1.1 426 "), "{head}");
    assert!(head.contains("\r\nSec-WebSocket-Version: 13\r\n"), "{head}");
}

fn a_head_that_is_too_long_is_answered_431(bench: &Bench) {
    let mut options = websockets();
    options.limits.header_bytes_max = 1000;
    let place = bench.listen(options, Script::echo());
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(2000));
    let (head, _) = ask(bench, &place, request.as_bytes());
    assert!(head.starts_with("HTTP/1.1 431 "), "{head}");
    assert_eq!(bench.host().limits_reached(Limit::HeaderBytes), 1);
    assert_eq!(refusals(&place, NotOpened::Status(431)), 1);
}

fn too_many_header_lines_are_answered_431(bench: &Bench) {
    let mut options = websockets();
    options.limits.headers_max = 10;
    let place = bench.listen(options, Script::echo());
    let (head, _) = ask(
        bench,
        &place,
        websocket::request("/", &"X: y\r\n".repeat(20)).as_bytes(),
    );
    assert!(head.starts_with("HTTP/1.1 431 "), "{head}");
    assert_eq!(bench.host().limits_reached(Limit::Headers), 1);
    assert_eq!(bench.host().limits_reached(Limit::Headers), 1);
}

fn a_host_may_refuse_an_upgrade_with_any_answer(bench: &Bench) {
    if bench.is_simulated() {
        claims!(
            "rfc6455/4.2.2/3",
            "rfc6455/4.2.2/5",
            "rfc6455/4.2.2/7",
            "rfc6455/4.2.2/h9"
        );
    }
    let place = bench.listen(
        websockets(),
        Script::echo().on_request(|_, _| respond(403, "no")),
    );
    let (head, body) = ask(bench, &place, websocket::request("/", "").as_bytes());
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    assert!(head.contains("\r\nX-Test: yes\r\n"), "{head}");
    assert_eq!(body, "no");
    assert_eq!(refusals(&place, NotOpened::Status(403)), 1);
    assert_eq!(place.counters().opened.get(), 0);
}

fn a_host_that_answers_badly_gives_500(bench: &Bench) {
    if bench.is_simulated() {
        claims!("rfc6455/4.2.2/8");
    }
    let answers: [fn() -> Answer; 5] = [
        || Answer::Accept {
            protocol: Some("unoffered".to_owned()),
            headers: vec![],
        },
        || Answer::Accept {
            protocol: Some("not offered".to_owned()),
            headers: vec![],
        },
        || Answer::Accept {
            protocol: None,
            headers: vec![("X".to_owned(), "split\r\nX-Injected: yes".to_owned())],
        },
        || respond(101, ""),
        || Answer::Respond {
            status: 200,
            headers: vec![("bad name".to_owned(), String::new())],
            body: vec![],
        },
    ];
    for answer in answers {
        let place = bench.listen(
            websockets(),
            Script::echo().on_request(move |_, _| answer()),
        );
        let faults = bench.host().count(|told| matches!(told, Told::Fault(..)));
        let (head, _) = ask(bench, &place, websocket::request("/", "").as_bytes());
        assert!(head.starts_with("HTTP/1.1 500 "), "{head}");
        assert!(!head.contains("Injected"), "{head}");
        assert_eq!(
            bench.host().count(|told| matches!(told, Told::Fault(..))),
            faults + 1
        );
    }
}

fn plain(bench: &Bench) -> Place {
    let script = Script::echo().on_request(|_, request| {
        let body = format!("{} {}", request.method(), request.target());
        respond(200, &body)
    });
    bench.listen(defaults(Framing::Http), script)
}

fn a_host_may_serve_plain_http(bench: &Bench) {
    let place = plain(bench);
    let (head, body) = ask(
        bench,
        &place,
        b"GET /page HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
    );
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.contains("\r\nContent-Length: 9\r\n"), "{head}");
    assert_eq!(body, "GET /page");
    let post = b"POST /form HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    assert_eq!(ask(bench, &place, post).1, "POST /form");
}

fn the_answer_to_a_head_request_has_no_body(bench: &Bench) {
    claims!("rfc9110/9.3.2/1");
    let place = plain(bench);
    let (head, body) = ask(
        bench,
        &place,
        b"HEAD /page HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
    );
    assert!(head.contains("\r\nContent-Length: 10\r\n"), "{head}");
    assert_eq!(body, "");
}

fn a_host_that_asks_for_an_upgrade_names_it(bench: &Bench) {
    claims!("rfc9110/7.8/7", "rfc9110/15.5.22/1", "rfc9110/7.8/10");
    let script = Script::echo().on_request(|_, _| respond(426, "a WebSocket, please"));
    let place = bench.listen(websockets(), script);
    let mut peer = bench.connect(&place);
    peer.send(bench, b"GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let head = peer.head(bench);
    assert!(head.contains("\r\nUpgrade: websocket\r\n"), "{head}");
    assert!(head.contains("\r\nConnection: Upgrade\r\n"), "{head}");
}

fn a_client_that_awaits_100_gets_it_before_101(bench: &Bench) {
    claims!("rfc9110/7.8/12");
    let place = bench.listen(websockets(), Script::echo());
    let mut peer = bench.connect(&place);
    let request = websocket::request("/", "Expect: 100-continue\r\n");
    peer.send(bench, request.as_bytes());
    assert_eq!(peer.head(bench), "HTTP/1.1 100 Continue\r\n\r\n");
    assert!(peer.head(bench).starts_with("HTTP/1.1 101 "));
}

/// A peer whose request waits for its answer, and the engine's connection for it.
fn waiting(bench: &Bench, place: &Place) -> (crate::kit::Peer, crate::kit::Conn) {
    let mut peer = bench.connect(place);
    let before = bench.host().count(|told| matches!(told, Told::Request(..)));
    peer.send(bench, websocket::request("/", "").as_bytes());
    bench.until("the request", || {
        bench.host().count(|told| matches!(told, Told::Request(..))) > before
    });
    let connection = bench.latest();
    (peer, connection)
}

fn a_request_may_be_answered_later(bench: &Bench) {
    let place = bench.listen(websockets(), later());
    let (mut peer, connection) = waiting(bench, &place);
    peer.send(bench, &websocket::text("early"));
    bench.settle();
    assert!(peer.is_quiet());
    connection.answer(accept());
    drop(connection);
    assert!(peer.head(bench).starts_with("HTTP/1.1 101 "));
    assert_eq!(peer.frame(bench).payload, b"early");
    let (mut peer, connection) = waiting(bench, &place);
    connection.answer(respond(404, "nothing here"));
    drop(connection);
    assert!(peer.head(bench).starts_with("HTTP/1.1 404 "));
}

fn a_request_may_be_answered_from_inside_its_callback(bench: &Bench) {
    let script = Script::echo().on_request(|connection, _| {
        connection.answer(accept());
        connection.answer(respond(500, "the first answer stands"));
        Answer::Later
    });
    let place = bench.listen(websockets(), script);
    let mut peer = websocket::open(bench, &place);
    peer.send(bench, &websocket::text("hello"));
    assert_eq!(peer.frame(bench).payload, b"hello");
}

fn an_answer_from_another_callback_nests_nothing(bench: &Bench) {
    let place = bench.listen(websockets(), later());
    let (mut peer, connection) = waiting(bench, &place);
    bench.after(5, move || connection.answer(accept()));
    assert!(peer.head(bench).starts_with("HTTP/1.1 101 "));
    let (mut peer, connection) = waiting(bench, &place);
    let bad = Answer::Accept {
        protocol: Some("not offered".to_owned()),
        headers: vec![],
    };
    bench.after(5, move || connection.answer(bad));
    assert!(peer.head(bench).starts_with("HTTP/1.1 500 "));
}

fn an_answer_after_the_peer_has_gone_is_dropped(bench: &Bench) {
    let place = bench.listen(websockets(), later());
    let (peer, connection) = waiting(bench, &place);
    peer.reset();
    bench.until("the end", || bench.engine.connection_count() == 0);
    connection.answer(accept());
    bench.settle();
    assert_eq!(place.counters().opened.get(), 0);
    assert_eq!(place.counters().refused.borrow().values().sum::<u64>(), 1);
}

fn a_client_that_sends_while_its_request_waits_is_held_back(bench: &Bench) {
    const MANY: usize = 40 << 20;
    let mut options = websockets();
    options.limits.message_bytes_max = MANY as u64;
    let place = bench.listen(options, later());
    let (mut peer, connection) = waiting(bench, &place);
    let piece = websocket::binary(&vec![7; 60_000]);
    let (mut sent, mut quiet, mut most) = (0, 0, 0);
    while sent < MANY && quiet < 50 {
        let written = peer.write(&piece).expect("a connection");
        sent += written;
        quiet = if written == 0 { quiet + 1 } else { 0 };
        bench.turn();
        most = most.max(connection.buffer_bytes());
    }
    assert!(sent < MANY, "the client was never held back");
    assert!(most < 20 << 20, "{most} bytes are held");
    connection.close(Code::NORMAL, "");
}

fn a_peer_that_leaves_during_the_handshake_is_counted(bench: &Bench) {
    let place = bench.listen(websockets(), Script::echo());
    let mut peer = bench.connect(&place);
    peer.send(bench, b"GET / HTTP/1.1\r\nHo");
    peer.finish();
    bench.until("the end", || refusals(&place, NotOpened::Peer) == 1);
    bench.until("the end", || bench.engine.connection_count() == 0);
    assert_eq!(place.endpoint().open(), 0);
    assert_eq!(place.endpoint().handshaking(), 0);
}
