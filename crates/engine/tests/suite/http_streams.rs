//! Bodies of requests that are handed over as they come, RFC 9112 sections 6 and 7.1.

use crate::http_keep_alive::{GET, LENGTH, answer, get, plain, refused, the_end};
use crate::kit::http::{asked, in_chunks, later, post, requests, sized};
use crate::kit::{Bench, Conn, Ending, Peer, Script, Told};
use vespiary_engine::wire::http::Fields;
use vespiary_engine::{Answer, Limit, Options, State};
use vespiary_trace::claims;

on_every_driver_and_with_faults!(
    a_body_is_handed_over_as_it_comes,
    a_body_cut_at_every_byte_is_the_same,
    a_request_without_a_body_is_complete_at_its_head,
    a_body_is_sent_back_while_it_comes,
    a_client_that_waits_for_100_gets_it_when_the_host_reads,
    a_body_of_no_bytes_leaves_a_connection_that_expected_100_open,
    a_host_that_does_not_read_holds_the_peer_back,
    the_rest_of_a_short_body_is_dropped_behind_the_answer,
    the_rest_of_a_long_body_is_not_read,
    a_body_that_is_too_long_is_refused,
    a_body_that_is_too_long_breaks_the_response_that_was_begun,
    a_malformed_body_is_refused,
    a_peer_that_ends_within_a_body_is_gone,
    an_answer_before_the_body_to_a_client_that_waits_is_the_last,
    a_peer_that_ends_within_a_dropped_body_gets_its_answer,
);
on_every_driver!(
    a_body_that_trickles_is_answered_408,
    a_body_that_comes_steadily_may_take_longer_than_the_handshake,
    a_host_that_never_reads_is_answered_for_with_503,
    a_body_that_trickles_behind_the_head_of_its_response_is_cut,
);

fn streaming() -> Options {
    let mut options = plain();
    options.streams_requests = true;
    options
}

fn respond(connection: &Conn, body: &[u8]) {
    connection.answer(Answer::Respond {
        status: 200,
        headers: Vec::new(),
        body: body.to_vec(),
    });
}

/// Answers at the end of each body.
fn patient() -> Script {
    Script::echo()
        .on_request(|connection, request| {
            if !request.has_body() {
                respond(connection, b"none");
            }
            Answer::Later
        })
        .on_body_ended(|connection| respond(connection, b"done"))
}

fn ends(bench: &Bench) -> usize {
    bench
        .host()
        .count(|told| matches!(told, Told::BodyEnded(_)))
}

fn failures(bench: &Bench) -> usize {
    bench
        .host()
        .count(|told| matches!(told, Told::BodyFailed(..)))
}

fn a_body_is_handed_over_as_it_comes(bench: &Bench) {
    claims!("rfc9112/6.1/1", "rfc9112/7.1/2", "rfc9112/9.3/5");
    let place = bench.listen(streaming(), patient());
    let mut peer = bench.connect(&place);
    let request = sized(b"honeycomb");
    let (begun, rest) = request.split_at(request.len() - 4);
    asked(bench, &mut peer, begun);
    bench.until("a part of the body", || bench.host().pieces() == b"honey");
    assert_eq!(ends(bench), 0);
    peer.send(bench, rest);
    assert_eq!(answer(bench, &mut peer).1, "done");
    assert_eq!(bench.host().pieces(), b"honeycomb");
    bench.host().clear_log();
    let ahead = [&in_chunks(b"some honey", 3)[..], &sized(b"x"), GET].concat();
    peer.send(bench, &ahead);
    for body in ["done", "done", "none"] {
        assert_eq!(answer(bench, &mut peer).1, body);
    }
    assert_eq!(bench.host().pieces(), b"some honeyx");
    assert_eq!(place.counters().accepted.get(), 1);
}

fn a_body_cut_at_every_byte_is_the_same(bench: &Bench) {
    let place = bench.listen(streaming(), patient());
    for request in [sized(b"honey"), in_chunks(b"honey", 2)] {
        for cut in 1..request.len() {
            bench.host().clear_log();
            let mut peer = bench.connect(&place);
            peer.send(bench, &request[..cut]);
            bench.settle();
            peer.send(bench, &request[cut..]);
            assert_eq!(answer(bench, &mut peer).1, "done");
            assert_eq!(bench.host().pieces(), b"honey");
            assert_eq!((requests(bench), ends(bench)), (1, 1));
        }
    }
}

fn a_request_without_a_body_is_complete_at_its_head(bench: &Bench) {
    let place = bench.listen(streaming(), patient());
    let mut peer = bench.connect(&place);
    for request in [GET, &sized(b"")] {
        peer.send(bench, request);
        assert_eq!(answer(bench, &mut peer).1, "none");
    }
    assert_eq!(ends(bench), 0);
}

fn a_body_is_sent_back_while_it_comes(bench: &Bench) {
    let script = Script::echo()
        .on_request(|connection, _| {
            let begun = connection.begin_response(200, Fields::default());
            begun.expect("a head");
            Answer::Later
        })
        .on_body_piece(|connection, data| connection.send_body(data).expect("a piece"))
        .on_body_ended(|connection| connection.end_response(Vec::new()).expect("the end"));
    let place = bench.listen(streaming(), script);
    let mut peer = bench.connect(&place);
    for request in [sized(b"honey"), in_chunks(b"honey", 5)] {
        peer.send(bench, &request[..request.len() - 1]);
        peer.head(bench);
        bench.settle();
        peer.send(bench, &request[request.len() - 1..]);
        let body = peer.take_until(bench, b"0\r\n\r\n");
        let honey = |it: &u8| b"honey".contains(it);
        let echoed: Vec<u8> = body.iter().copied().filter(honey).collect();
        assert_eq!(echoed, b"honey");
    }
    assert_eq!(bench.latest().state(), State::BetweenRequests);
}

fn a_client_that_waits_for_100_gets_it_when_the_host_reads(bench: &Bench) {
    claims!("rfc9110/10.1.1/11", "rfc9110/10.1.1/12");
    let place = bench.listen(streaming(), patient());
    let mut peer = bench.connect(&place);
    let lines = "Content-Length: 5\r\nExpect: 100-continue\r\n";
    let connection = asked(bench, &mut peer, &post(lines, b""));
    bench.settle();
    assert!(peer.is_quiet());
    connection.wants_body();
    connection.wants_body();
    assert_eq!(peer.head(bench), "HTTP/1.1 100 Continue\r\n\r\n");
    peer.send(bench, b"honey");
    assert_eq!(answer(bench, &mut peer).1, "done");
    // One that does not wait gets none.
    let connection = asked(bench, &mut peer, &post(lines, b"ho"));
    bench.until("a part of the body", || {
        bench.host().pieces().ends_with(b"ho")
    });
    connection.wants_body();
    peer.send(bench, b"ney");
    assert!(answer(bench, &mut peer).0.starts_with("HTTP/1.1 200 "));
}

fn a_body_of_no_bytes_leaves_a_connection_that_expected_100_open(bench: &Bench) {
    let place = bench.listen(streaming(), patient());
    let mut peer = bench.connect(&place);
    let requests = [
        (post("Expect: 100-continue\r\n", b""), "none"),
        (
            post("Content-Length: 0\r\nExpect: 100-continue\r\n", b""),
            "none",
        ),
        (
            post(
                "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n",
                b"0\r\n\r\n",
            ),
            "done",
        ),
        (post("Content-Length: 2\r\n", b"ho"), "done"),
    ];
    for (request, expected) in requests {
        asked(bench, &mut peer, &request);
        let (head, body) = answer(bench, &mut peer);
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(!head.contains("Connection: close"), "{head}");
        assert_eq!(body, expected);
    }
}

fn a_host_that_does_not_read_holds_the_peer_back(bench: &Bench) {
    const REASON: u8 = 1;
    let body = vec![b'x'; 900_000];
    let script = patient().on_body_piece(|connection, _| connection.pause(REASON));
    let place = bench.listen(streaming(), script);
    for request in [sized(&body), in_chunks(&body, 7000)] {
        bench.host().clear_log();
        let mut peer = bench.connect(&place);
        let mut rest = &request[..];
        bench.until("the whole body", || {
            let count = peer.write(rest).expect("the connection is there");
            rest = &rest[count..];
            let before = bench.host().pieces().len();
            for _ in 0..3 {
                bench.turn();
            }
            assert!(
                bench.host().pieces().len() - before < 300_000,
                "it is held back"
            );
            for one in bench.engine.all_connections() {
                one.resume(REASON);
            }
            rest.is_empty() && bench.host().pieces().len() == body.len()
        });
        assert_eq!(answer(bench, &mut peer).1, "done");
    }
}

fn the_rest_of_a_short_body_is_dropped_behind_the_answer(bench: &Bench) {
    let script = Script::echo().on_request(|connection, _| {
        respond(connection, b"early");
        Answer::Later
    });
    let place = bench.listen(streaming(), script);
    let mut peer = bench.connect(&place);
    for request in [
        sized(b"honey"),
        in_chunks(b"honey", 2),
        sized(&vec![b'x'; 60_000]),
    ] {
        peer.send(bench, &request[..request.len() - 2]);
        let (head, body) = answer(bench, &mut peer);
        assert_eq!(body, "early");
        assert!(!head.contains("Connection: close"), "{head}");
        bench.settle();
        peer.send(bench, &request[request.len() - 2..]);
    }
    peer.send(bench, &get("/next", ""));
    assert_eq!(answer(bench, &mut peer).1, "early");
    assert_eq!(place.counters().accepted.get(), 1);
}

fn the_rest_of_a_long_body_is_not_read(bench: &Bench) {
    let place = bench.listen(streaming(), later());
    let inner = get("/smuggled", "").repeat(3000);
    for request in [sized(&inner), in_chunks(&inner, 16)] {
        let mut peer = bench.connect(&place);
        let connection = asked(bench, &mut peer, &request[..400]);
        respond(&connection, b"early");
        let (_, body) = answer(bench, &mut peer);
        assert_eq!(body, "early");
        // The peer may notice the end before it has sent everything.
        let mut rest = &request[400..];
        bench.until("the end", || {
            rest = peer.write(rest).map_or(&[][..], |count| &rest[count..]);
            peer.look();
            rest.is_empty() && peer.ending.is_some()
        });
        peer.finish();
        bench.until("the end", || bench.engine.connection_count() == 0);
    }
    assert_eq!(requests(bench), 2, "nothing in it is taken for a request");
}

fn a_body_that_is_too_long_is_refused(bench: &Bench) {
    let mut options = streaming();
    options.limits.body_bytes_max = 9;
    let place = bench.listen(options, later());
    let mut peer = bench.connect(&place);
    peer.send(bench, &sized(b"honeycombs"));
    the_end(bench, &mut peer, 413);
    assert_eq!(requests(bench), 0, "it is known before");
    let mut peer = bench.connect(&place);
    peer.send(bench, &in_chunks(b"honeycombs", 4));
    the_end(bench, &mut peer, 413);
    assert_eq!((requests(bench), failures(bench)), (1, 1));
    let mut peer = bench.connect(&place);
    let whole = in_chunks(b"honeycombs", 10);
    peer.send(
        bench,
        &whole[..whole.len() - b"honeycombs\r\n0\r\n\r\n".len()],
    );
    the_end(bench, &mut peer, 413);
    let limits = place.counters().limits.borrow();
    assert_eq!(limits.get(&Limit::BodyBytes), Some(&3));
}

fn a_body_that_is_too_long_breaks_the_response_that_was_begun(bench: &Bench) {
    let mut options = streaming();
    options.limits.body_bytes_max = 9;
    let place = bench.listen(options, later());
    for body in [&b"a\r\nhoneycombs\r\n"[..], b"x\r\n"] {
        let mut peer = bench.connect(&place);
        let head = post("Transfer-Encoding: chunked\r\n", b"");
        let connection = asked(bench, &mut peer, &head);
        connection
            .begin_response(200, Fields::default())
            .expect("a head");
        peer.head(bench);
        peer.send(bench, body);
        assert_eq!(peer.take_rest(bench).1, Ending::Reset);
    }
}

fn a_malformed_body_is_refused(bench: &Bench) {
    let place = bench.listen(streaming(), later());
    for body in [
        &b"5\nhoney\r\n0\r\n\r\n"[..],
        b"2\r\nhoney\r\n0\r\n\r\n",
        b"x\r\n",
    ] {
        let mut peer = bench.connect(&place);
        let request = post("Transfer-Encoding: chunked\r\n", body);
        peer.send(bench, &[&request[..], GET].concat());
        the_end(bench, &mut peer, 400);
    }
    assert_eq!(refused(&place), [("status_400".to_owned(), 3)]);
    assert_eq!((requests(bench), failures(bench)), (3, 3));
}

fn a_peer_that_ends_within_a_body_is_gone(bench: &Bench) {
    let place = bench.listen(streaming(), later());
    let mut peer = bench.connect(&place);
    asked(bench, &mut peer, &post("Content-Length: 6\r\n", b"honey"));
    peer.finish();
    assert!(peer.take_rest(bench).0.is_empty());
    assert_eq!(refused(&place), [("peer".to_owned(), 1)]);
    assert_eq!(ends(bench), 0);
}

fn an_answer_before_the_body_to_a_client_that_waits_is_the_last(bench: &Bench) {
    let place = bench.listen(streaming(), later());
    let lines = "Content-Length: 5\r\nExpect: 100-continue\r\n";
    for is_whole in [true, false] {
        let mut peer = bench.connect(&place);
        let connection = asked(bench, &mut peer, &post(lines, b""));
        if is_whole {
            respond(&connection, b"no");
            the_end(bench, &mut peer, 200);
        } else {
            connection
                .begin_response(200, Fields::default())
                .expect("a head");
            connection.wants_body();
            connection.end_response(Vec::new()).expect("the end");
            let head = peer.head(bench);
            assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
            assert_eq!(
                peer.take_rest(bench),
                (b"0\r\n\r\n".to_vec(), Ending::Finished)
            );
        }
    }
}

fn a_peer_that_ends_within_a_dropped_body_gets_its_answer(bench: &Bench) {
    let place = bench.listen(streaming(), later());
    let mut peer = bench.connect(&place);
    let connection = asked(bench, &mut peer, &post("Content-Length: 6\r\n", b"honey"));
    respond(&connection, b"early");
    peer.finish();
    assert_eq!(answer(bench, &mut peer).1, "early");
    assert_eq!(peer.take_rest(bench), (vec![], Ending::Finished));
    bench.until("the end", || bench.engine.connection_count() == 0);
}

/// Send a byte each millisecond until an answer or the end comes; how long that took.
fn trickle(bench: &Bench, peer: &mut Peer, piece: &[u8]) -> u64 {
    let start = bench.engine.now_ms();
    while peer.input.is_empty() && peer.ending.is_none() {
        peer.write(piece);
        bench.pass(1);
        peer.look();
    }
    bench.engine.now_ms() - start
}

fn quick() -> Options {
    let mut options = streaming();
    options.deadlines.handshake = Some(LENGTH);
    options
}

fn a_body_that_trickles_is_answered_408(bench: &Bench) {
    claims!("rfc9112/6.3/8");
    let place = bench.listen(quick(), later());
    let mut peer = bench.connect(&place);
    peer.send(bench, &post("Content-Length: 100000\r\n", b""));
    let took = trickle(bench, &mut peer, b"x");
    assert!((LENGTH - 2..LENGTH + 400).contains(&took), "{took} ms");
    assert!(peer.head(bench).starts_with("HTTP/1.1 408 "));
    assert_eq!(failures(bench), 1);
}

fn a_body_that_comes_steadily_may_take_longer_than_the_handshake(bench: &Bench) {
    let place = bench.listen(quick(), patient());
    let mut peer = bench.connect(&place);
    let length = 5 * 10_000;
    let lines = format!("Content-Length: {length}\r\n");
    peer.send(bench, &post(&lines, b""));
    for _ in 0..5 {
        peer.send(bench, &[b'x'; 10_000]);
        bench.pass(LENGTH / 2);
    }
    assert_eq!(answer(bench, &mut peer).1, "done");
}

fn a_host_that_never_reads_is_answered_for_with_503(bench: &Bench) {
    let script = later().on_body_piece(|connection, _| connection.pause(1));
    let place = bench.listen(quick(), script);
    let mut peer = bench.connect(&place);
    peer.send(bench, &post("Content-Length: 100000\r\n", &[b'x'; 5000]));
    assert!(peer.head(bench).starts_with("HTTP/1.1 503 "));
    assert_eq!(failures(bench), 1);
}

fn a_body_that_trickles_behind_the_head_of_its_response_is_cut(bench: &Bench) {
    let place = bench.listen(quick(), later());
    let mut peer = bench.connect(&place);
    let head = post("Content-Length: 100000\r\n", b"");
    let connection = asked(bench, &mut peer, &head);
    connection
        .begin_response(200, Fields::default())
        .expect("a head");
    peer.head(bench);
    let took = trickle(bench, &mut peer, b"x");
    assert!((LENGTH - 2..LENGTH + 400).contains(&took), "{took} ms");
    assert_eq!(peer.ending, Some(Ending::Reset));
}
