//! Several HTTP requests on one connection, RFC 9112 section 9.

use crate::kit::defaults;
use crate::kit::{Bench, Ending, Peer, Place, Script, Told, websocket};
use vespiary_engine::{Answer, Framing, Limit, Options};
use vespiary_trace::claims;

on_every_driver_and_with_faults!(
    requests_one_after_another_are_answered_on_one_connection,
    requests_sent_ahead_are_answered_in_their_order,
    a_request_cut_at_every_byte_follows_an_answer,
    an_answer_that_comes_later_keeps_the_order,
    a_client_that_has_finished_sending_gets_answers_that_come_later,
    a_client_that_asks_for_the_end_gets_it,
    an_answer_that_asks_for_the_end_gets_it,
    a_request_of_http_1_0_is_the_last,
    a_malformed_request_behind_a_good_one_is_refused_and_is_the_last,
    a_websocket_may_follow_a_page,
    the_answer_to_a_refused_upgrade_is_the_last,
    the_last_request_that_the_limit_allows_is_reported_so,
    a_peer_that_ends_between_two_requests_ends_cleanly,
    a_peer_that_resets_after_its_answer_counts_with_the_answers_status,
    a_peer_that_reads_no_answers_is_held_back,
);
on_every_driver!(
    a_connection_without_a_further_request_is_closed_in_silence,
    a_slow_reader_of_a_long_answer_gets_it_whole,
    a_further_request_that_trickles_is_answered_408,
    a_host_that_closes_between_two_requests_ends_cleanly,
    a_client_that_resets_behind_its_end_is_noticed_before_its_answer,
);

pub const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: test\r\n\r\n";
/// How long deadlines are here, in milliseconds.
pub const LENGTH: u64 = 60;

pub fn plain() -> Options {
    defaults(Framing::Http)
}

/// Tells each request its target, with `headers`.
pub fn telling(headers: &'static [(&str, &str)]) -> Script {
    Script::echo().on_request(move |_, request| Answer::Respond {
        status: 200,
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        body: request.target().as_bytes().to_vec(),
    })
}

pub fn get(target: &str, lines: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: test\r\n{lines}\r\n").into_bytes()
}

/// The next answer's head and body.
pub fn answer(bench: &Bench, peer: &mut Peer) -> (String, String) {
    let head = peer.head(bench);
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .map_or(0, |length| length.parse().expect("a length"));
    let body = peer.take(bench, length);
    (head, String::from_utf8(body).expect("a body in UTF-8"))
}

fn is_last(head: &str) -> bool {
    head.contains("\r\nConnection: close\r\n")
}

/// The next answer is the last, and the connection ends behind it.
pub fn the_end(bench: &Bench, peer: &mut Peer, status: u16) {
    let (head, _) = answer(bench, peer);
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    assert!(
        head.contains("\r\nConnection: ") && head.contains("close"),
        "{head}"
    );
    assert_eq!(peer.take_rest(bench), (vec![], Ending::Finished));
    peer.finish();
    bench.until("the end", || bench.engine.connection_count() == 0);
}

pub fn answered(place: &Place, status: u16) -> u64 {
    let answered = place.counters().answered.borrow();
    answered.get(&status).copied().unwrap_or(0)
}

pub fn refused(place: &Place) -> Vec<(String, u64)> {
    let refused = place.counters().refused.borrow();
    refused
        .iter()
        .map(|(name, count)| (name.to_string(), *count))
        .collect()
}

fn requests_one_after_another_are_answered_on_one_connection(bench: &Bench) {
    claims!("rfc9112/9.3/1", "rfc9110/6.6.1/2");
    let place = bench.listen(plain(), telling(&[]));
    let mut peer = bench.connect(&place);
    for number in 0..5 {
        let target = format!("/{number}");
        peer.send(bench, &get(&target, ""));
        let (head, body) = answer(bench, &mut peer);
        assert!(
            head.starts_with("HTTP/1.1 200 ") && !is_last(&head),
            "{head}"
        );
        assert!(head.contains("\r\nDate: "), "{head}");
        assert_eq!(body, target);
        assert_eq!(
            place.endpoint().handshaking(),
            0,
            "nothing is pending between two"
        );
    }
    assert_eq!(place.counters().accepted.get(), 1);
    assert_eq!(answered(&place, 200), 5);
    assert_eq!(bench.engine.connection_count(), 1);
}

fn requests_sent_ahead_are_answered_in_their_order(bench: &Bench) {
    let place = bench.listen(plain(), telling(&[]));
    let mut peer = bench.connect(&place);
    let many: Vec<u8> = (0..300)
        .flat_map(|number| get(&format!("/{number}"), ""))
        .collect();
    peer.send(bench, &many);
    for number in 0..300 {
        assert_eq!(answer(bench, &mut peer).1, format!("/{number}"));
    }
    assert!(peer.is_quiet());
}

fn a_request_cut_at_every_byte_follows_an_answer(bench: &Bench) {
    let place = bench.listen(plain(), telling(&[]));
    let mut peer = bench.connect(&place);
    for _ in 0..2 {
        for byte in GET {
            let before = place.counters().bytes_in.get();
            peer.send(bench, &[*byte]);
            bench.until("a byte", || place.counters().bytes_in.get() > before);
        }
        assert_eq!(answer(bench, &mut peer).1, "/a");
    }
}

fn an_answer_that_comes_later_keeps_the_order(bench: &Bench) {
    let place = bench.listen(plain(), Script::echo().on_request(|_, _| Answer::Later));
    let mut peer = bench.connect(&place);
    peer.send(bench, &[get("/0", ""), get("/1", "")].concat());
    for number in 0..2 {
        bench.until("a request", || {
            bench.host().count(|told| matches!(told, Told::Request(..))) > number
        });
        bench.settle();
        assert_eq!(
            bench.host().count(|told| matches!(told, Told::Request(..))),
            number + 1,
            "the next request waits for the answer to this one"
        );
        bench.latest().answer(Answer::Respond {
            status: 200,
            headers: vec![],
            body: number.to_string().into(),
        });
        assert_eq!(answer(bench, &mut peer).1, number.to_string());
    }
}

/// The requests come alone, behind others, and on a connection that was kept.
fn a_client_that_has_finished_sending_gets_answers_that_come_later(bench: &Bench) {
    for (framing, kept, ahead) in [
        (Framing::Http, 0, 1),
        (Framing::WebSocket, 0, 1),
        (Framing::Http, 0, 3),
        (Framing::Http, 1, 2),
    ] {
        let script = Script::echo().on_request(|_, _| Answer::Later);
        let place = bench.listen(defaults(framing), script);
        let mut peer = bench.connect(&place);
        bench.host().clear_log();
        for number in 0..kept + ahead {
            if number < kept {
                peer.send(bench, GET);
            } else if number == kept {
                peer.send(bench, &GET.repeat(ahead));
                peer.finish();
            }
            bench.until("a request", || {
                bench.host().count(|told| matches!(told, Told::Request(..))) > number
            });
            bench.settle();
            bench.latest().answer(Answer::Respond {
                status: 200,
                headers: vec![],
                body: number.to_string().into(),
            });
            assert_eq!(answer(bench, &mut peer).1, number.to_string());
        }
        assert_eq!(peer.take_rest(bench), (vec![], Ending::Finished));
        bench.until("the end", || bench.engine.connection_count() == 0);
    }
}

fn a_client_that_resets_behind_its_end_is_noticed_before_its_answer(bench: &Bench) {
    let script = Script::echo().on_request(|_, _| Answer::Later);
    let place = bench.listen(plain(), script);
    let mut peer = bench.connect(&place);
    peer.send(bench, GET);
    peer.finish();
    bench.until("the request", || {
        bench.host().count(|told| matches!(told, Told::Request(..))) > 0
    });
    bench.settle();
    assert_eq!(bench.engine.connection_count(), 1);
    peer.reset();
    bench.until("the end", || bench.engine.connection_count() == 0);
}

fn a_client_that_asks_for_the_end_gets_it(bench: &Bench) {
    claims!(
        "rfc9112/9.6/3",
        "rfc9112/9.6/5",
        "rfc9112/9.6/1",
        "rfc9112/9.6/4"
    );
    let place = bench.listen(plain(), telling(&[]));
    let mut peer = bench.connect(&place);
    let last = get("/1", "Connection: x, Close\r\n");
    peer.send(bench, &[get("/0", ""), last, get("/2", "")].concat());
    assert_eq!(answer(bench, &mut peer).1, "/0");
    the_end(bench, &mut peer, 200);
    assert_eq!(answered(&place, 200), 2, "nothing behind it is answered");
}

fn an_answer_that_asks_for_the_end_gets_it(bench: &Bench) {
    claims!("rfc9112/9.6/6", "rfc9112/9.6/7");
    let place = bench.listen(plain(), telling(&[("connection", "close")]));
    let mut peer = bench.connect(&place);
    peer.send(bench, GET);
    let (head, _) = answer(bench, &mut peer);
    assert_eq!(
        head.to_lowercase().matches("connection: ").count(),
        1,
        "{head}"
    );
    assert_eq!(peer.take_rest(bench), (vec![], Ending::Finished));
}

fn a_request_of_http_1_0_is_the_last(bench: &Bench) {
    let place = bench.listen(plain(), telling(&[]));
    let mut peer = bench.connect(&place);
    let lines = "Connection: keep-alive\r\n";
    let request = format!("GET / HTTP/1.0\r\n{lines}\r\n");
    peer.send(bench, request.as_bytes());
    the_end(bench, &mut peer, 200);
}

fn a_malformed_request_behind_a_good_one_is_refused_and_is_the_last(bench: &Bench) {
    let place = bench.listen(plain(), telling(&[]));
    let mut peer = bench.connect(&place);
    peer.send(bench, &[GET, b"GET /\x01 HTTP/1.1\r\n\r\n", GET].concat());
    assert_eq!(answer(bench, &mut peer).1, "/a");
    the_end(bench, &mut peer, 400);
    assert_eq!(answered(&place, 400), 1);
    assert_eq!(refused(&place), [("status_400".to_owned(), 1)]);
}

fn a_websocket_may_follow_a_page(bench: &Bench) {
    let script = Script::echo().on_request(|_, request| {
        if request.header("upgrade").is_some() {
            return crate::kit::host::accept();
        }
        Answer::Respond {
            status: 200,
            headers: vec![],
            body: b"page".to_vec(),
        }
    });
    let place = bench.listen(defaults(Framing::WebSocket), script);
    let mut peer = bench.connect(&place);
    let upgrade = websocket::request("/", "");
    let both = [GET, upgrade.as_bytes(), &websocket::text("hello")].concat();
    peer.send(bench, &both);
    assert_eq!(answer(bench, &mut peer).1, "page");
    assert!(peer.head(bench).starts_with("HTTP/1.1 101 "));
    assert_eq!(peer.frame(bench).payload, b"hello");
    assert_eq!(place.counters().opened.get(), 1);
}

fn the_answer_to_a_refused_upgrade_is_the_last(bench: &Bench) {
    let place = bench.listen(defaults(Framing::WebSocket), telling(&[]));
    let mut peer = bench.connect(&place);
    peer.send(bench, websocket::request("/", "").as_bytes());
    the_end(bench, &mut peer, 200);
}

fn the_last_request_that_the_limit_allows_is_reported_so(bench: &Bench) {
    let mut options = plain();
    options.limits.requests_per_connection_max = Some(3);
    let place = bench.listen(options, telling(&[]));
    let mut peer = bench.connect(&place);
    peer.send(bench, &GET.repeat(5));
    for _ in 0..2 {
        assert!(!is_last(&answer(bench, &mut peer).0));
    }
    the_end(bench, &mut peer, 200);
    assert_eq!(answered(&place, 200), 3);
}

fn a_peer_that_ends_between_two_requests_ends_cleanly(bench: &Bench) {
    let place = bench.listen(plain(), telling(&[]));
    let mut peer = bench.connect(&place);
    peer.send(bench, &GET.repeat(2));
    peer.finish();
    for _ in 0..2 {
        assert_eq!(answer(bench, &mut peer).1, "/a");
    }
    assert_eq!(peer.take_rest(bench), (vec![], Ending::Finished));
    bench.until("the end", || bench.engine.connection_count() == 0);
    assert_eq!(refused(&place), [("status_200".to_owned(), 1)]);
}

fn a_peer_that_resets_after_its_answer_counts_with_the_answers_status(bench: &Bench) {
    let place = bench.listen(plain(), telling(&[]));
    // Between two requests, and within one.
    for begun in [&b""[..], b"GET /b HT"] {
        let mut peer = bench.connect(&place);
        peer.send(bench, GET);
        assert_eq!(answer(bench, &mut peer).1, "/a");
        peer.send(bench, begun);
        bench.settle();
        peer.reset();
        bench.until("the end", || bench.engine.connection_count() == 0);
    }
    assert_eq!(refused(&place), [("status_200".to_owned(), 2)]);
}

fn a_peer_that_reads_no_answers_is_held_back(bench: &Bench) {
    let mut options = plain();
    options.limits.requests_per_connection_max = None;
    let script = Script::echo().on_request(|_, _| Answer::Respond {
        status: 200,
        headers: vec![],
        body: vec![b'x'; 20_000],
    });
    let place = bench.listen(options, script);
    let mut peer = bench.connect(&place);
    peer.stall(true);
    peer.send(bench, GET);
    bench.until("the first answer", || answered(&place, 200) == 1);
    let connection = bench.latest();
    let ahead = GET.repeat(100);
    let mut most = 0;
    for _ in 0..300 {
        peer.write(&ahead);
        bench.turn();
        most = most.max(connection.queued_bytes());
    }
    assert!(
        connection.is_above_high(),
        "{most} bytes were queued at the most"
    );
    assert!(most < 200_000, "{most} bytes are queued");
    connection.abort();
}

fn a_connection_without_a_further_request_is_closed_in_silence(bench: &Bench) {
    let mut options = plain();
    options.deadlines.keep_alive = Some(LENGTH);
    options.deadlines.handshake = Some(LENGTH / 3);
    let place = bench.listen(options, telling(&[]));
    let mut peer = bench.connect(&place);
    peer.send(bench, GET);
    assert_eq!(answer(bench, &mut peer).1, "/a");
    let start = bench.engine.now_ms();
    assert_eq!(peer.take_rest(bench), (vec![], Ending::Finished));
    let took = bench.engine.now_ms() - start;
    assert!((LENGTH - 2..LENGTH + 400).contains(&took), "{took} ms");
    peer.finish();
    bench.until("the end", || bench.engine.connection_count() == 0);
    assert_eq!(bench.host().limits_reached(Limit::HandshakeSeconds), 0);
    assert_eq!(refused(&place), [("status_200".to_owned(), 1)]);
}

fn a_slow_reader_of_a_long_answer_gets_it_whole(bench: &Bench) {
    const LONG: usize = 12 << 20;
    let mut options = plain();
    options.deadlines.keep_alive = Some(LENGTH / 4);
    options.deadlines.close = Some(LENGTH / 4);
    let script = Script::echo().on_request(|_, _| Answer::Respond {
        status: 200,
        headers: vec![],
        body: vec![b'x'; LONG],
    });
    let place = bench.listen(options, script);
    for lines in ["", "Connection: close\r\n"] {
        let mut peer = bench.connect(&place);
        peer.stall(true);
        peer.send(bench, &get("/", lines));
        bench.pass(LENGTH);
        peer.stall(false);
        assert_eq!(answer(bench, &mut peer).1.len(), LONG);
        assert_eq!(peer.take_rest(bench), (vec![], Ending::Finished));
    }
}

fn a_further_request_that_trickles_is_answered_408(bench: &Bench) {
    let mut options = plain();
    options.deadlines.handshake = Some(LENGTH);
    let place = bench.listen(options, telling(&[]));
    let mut peer = bench.connect(&place);
    peer.send(bench, GET);
    answer(bench, &mut peer);
    bench.pass(2 * LENGTH);
    assert!(
        peer.is_quiet(),
        "the pause between two requests is another deadline's"
    );
    let start = bench.engine.now_ms();
    let mut bytes = GET.iter().cycle();
    peer.send(bench, b"GET /");
    while peer.input.is_empty() && peer.ending.is_none() {
        let byte = bytes.find(|byte| byte.is_ascii_alphanumeric());
        peer.write(std::slice::from_ref(byte.expect("they go round")));
        bench.pass(1);
        peer.look();
    }
    let took = bench.engine.now_ms() - start;
    assert!((LENGTH - 2..LENGTH + 400).contains(&took), "{took} ms");
    assert!(peer.head(bench).starts_with("HTTP/1.1 408 "));
}

fn a_host_that_closes_between_two_requests_ends_cleanly(bench: &Bench) {
    let place = bench.listen(plain(), telling(&[]));
    let mut peer = bench.connect(&place);
    peer.send(bench, GET);
    answer(bench, &mut peer);
    let code = vespiary_engine::wire::websocket::close::Code::GOING_AWAY;
    bench.latest().close(code, "the server is going away");
    assert_eq!(peer.take_rest(bench), (vec![], Ending::Finished));
}
