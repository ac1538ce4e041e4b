//! Bodies of HTTP requests, RFC 9112 sections 6 and 7.1.

use crate::http_keep_alive::{
    GET, LENGTH, answer, answered, get, plain, refused, telling, the_end,
};
use crate::kit::defaults;
use crate::kit::http::{in_chunks, post, requests, sized};
use crate::kit::{Bench, Ending};
use vespiary_engine::{Framing, Limit, Options};
use vespiary_trace::claims;

on_every_driver_and_with_faults!(
    a_body_of_known_length_reaches_the_host_with_its_request,
    a_body_in_chunks_reaches_the_host_without_them,
    requests_with_bodies_sent_ahead_are_answered_in_their_order,
    a_body_cut_at_every_byte_is_the_same,
    a_client_that_waits_for_100_gets_it_before_its_body,
    a_body_that_is_too_long_is_refused_and_never_taken_for_a_request,
    where_bodies_are_not_accepted_each_is_refused,
    a_malformed_body_is_refused_and_is_the_last,
    a_peer_that_ends_within_a_body_gets_no_answer,
    a_client_that_has_finished_sending_behind_its_body_gets_the_answer,
    a_large_body_comes_whole,
);
on_every_driver!(
    a_body_that_trickles_is_answered_408,
    a_body_in_chunks_of_one_byte_comes_whole,
);

fn at_most(bytes: usize, framing: Framing) -> Options {
    let mut options = defaults(framing);
    options.limits.body_bytes_max = bytes;
    options
}

fn a_body_of_known_length_reaches_the_host_with_its_request(bench: &Bench) {
    claims!("rfc9112/9.3/5");
    for framing in [Framing::Http, Framing::WebSocket] {
        let place = bench.listen(defaults(framing), telling(&[]));
        let mut peer = bench.connect(&place);
        peer.send(bench, &sized(b"honey"));
        assert_eq!(answer(bench, &mut peer).1, "/a");
        assert_eq!(
            bench.host().bodies().last().map(|it| &it[..]),
            Some(&b"honey"[..])
        );
        // The connection is kept, since the body was read.
        peer.send(bench, GET);
        assert_eq!(answer(bench, &mut peer).1, "/a");
        assert_eq!(place.endpoint().handshaking(), 0);
    }
}

fn a_body_in_chunks_reaches_the_host_without_them(bench: &Bench) {
    claims!("rfc9112/6.1/1", "rfc9112/7.1/2", "rfc9112/7.1.1/1");
    let place = bench.listen(plain(), telling(&[]));
    let mut peer = bench.connect(&place);
    peer.send(bench, &in_chunks(b"some honey", 3));
    peer.send(
        bench,
        &post(
            "Transfer-Encoding: chunked\r\n",
            b"1;a=b\r\nx\r\n0\r\nA: b\r\n\r\n",
        ),
    );
    peer.send(bench, &in_chunks(b"", 3));
    for _ in 0..3 {
        answer(bench, &mut peer);
    }
    assert_eq!(
        bench.host().bodies(),
        [b"some honey".to_vec(), b"x".to_vec(), vec![]]
    );
}

fn requests_with_bodies_sent_ahead_are_answered_in_their_order(bench: &Bench) {
    let place = bench.listen(plain(), telling(&[]));
    let mut peer = bench.connect(&place);
    let many: Vec<u8> = (0..100)
        .flat_map(|number: u32| {
            let body = number.to_string().into_bytes();
            let request = if number.is_multiple_of(2) {
                sized(&body)
            } else {
                in_chunks(&body, 1)
            };
            [request, get(&format!("/{number}"), "")].concat()
        })
        .collect();
    peer.send(bench, &many);
    for number in 0..100 {
        assert_eq!(answer(bench, &mut peer).1, "/a");
        assert_eq!(answer(bench, &mut peer).1, format!("/{number}"));
    }
    let expected: Vec<_> = (0..100)
        .map(|it: u32| it.to_string().into_bytes())
        .collect();
    assert_eq!(bench.host().bodies(), expected);
}

fn a_body_cut_at_every_byte_is_the_same(bench: &Bench) {
    let place = bench.listen(plain(), telling(&[]));
    for request in [sized(b"honey"), in_chunks(b"honey", 2)] {
        for cut in 1..request.len() {
            let mut peer = bench.connect(&place);
            peer.send(bench, &request[..cut]);
            bench.settle();
            peer.send(bench, &request[cut..]);
            assert_eq!(answer(bench, &mut peer).1, "/a");
        }
    }
    assert!(bench.host().bodies().iter().all(|body| body == b"honey"));
}

fn a_client_that_waits_for_100_gets_it_before_its_body(bench: &Bench) {
    claims!("rfc9110/10.1.1/11", "rfc9110/10.1.1/12");
    let place = bench.listen(plain(), telling(&[]));
    let mut peer = bench.connect(&place);
    let lines = "Content-Length: 5\r\nExpect: 100-continue\r\n";
    peer.send(bench, &post(lines, b""));
    assert_eq!(peer.head(bench), "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(requests(bench), 0);
    peer.send(bench, b"honey");
    assert_eq!(answer(bench, &mut peer).1, "/a");
    assert_eq!(bench.host().bodies(), [b"honey"]);
    assert_eq!(answered(&place, 100), 0, "it answers nothing");
}

fn a_body_that_is_too_long_is_refused_and_never_taken_for_a_request(bench: &Bench) {
    claims!("rfc9112/9.3/5");
    let body = get("/smuggled", "");
    let in_chunks = in_chunks(&body, 16);
    let chunks = &in_chunks[vespiary_engine::wire::http::head_end(&in_chunks, 0).unwrap()..];
    let cases = [
        (413, "Content-Length: 12\r\n".to_owned(), &body[..]),
        (413, format!("Content-Length: {}\r\n", u64::MAX), &body),
        (
            413,
            "Content-Length: 12\r\nExpect: 100-continue\r\n".to_owned(),
            b"",
        ),
        (413, "Transfer-Encoding: chunked\r\n".to_owned(), chunks),
        // The size of a chunk says it before any of its bytes comes.
        (
            413,
            "Transfer-Encoding: chunked\r\n".to_owned(),
            b"7fffffffffffffff\r\n",
        ),
        (
            413,
            "Transfer-Encoding: chunked\r\n".to_owned(),
            b"4\r\nbees\r\n8\r\n",
        ),
        (
            400,
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n".to_owned(),
            chunks,
        ),
        (
            501,
            "Transfer-Encoding: gzip, chunked\r\n".to_owned(),
            chunks,
        ),
    ];
    for framing in [Framing::Http, Framing::WebSocket] {
        let place = bench.listen(at_most(11, framing), telling(&[]));
        for (status, lines, body) in &cases {
            for method in ["GET", "HEAD", "POST"] {
                let mut peer = bench.connect(&place);
                let head = format!("{method} / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
                peer.send(bench, head.as_bytes());
                peer.send(bench, body);
                if method == "HEAD" {
                    let head = peer.head(bench);
                    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
                    assert_eq!(peer.take_rest(bench), (vec![], Ending::Finished));
                } else {
                    the_end(bench, &mut peer, *status);
                }
            }
        }
        assert_eq!(
            place.counters().limits.borrow().get(&Limit::BodyBytes),
            Some(&18)
        );
    }
    assert_eq!(requests(bench), 0);
}

fn where_bodies_are_not_accepted_each_is_refused(bench: &Bench) {
    let place = bench.listen(at_most(0, Framing::Http), telling(&[]));
    for request in [sized(b"x"), in_chunks(b"x", 1), in_chunks(b"", 1)] {
        let mut peer = bench.connect(&place);
        peer.send(bench, &request);
        the_end(bench, &mut peer, 413);
    }
    let mut peer = bench.connect(&place);
    peer.send(bench, &sized(b""));
    assert_eq!(answer(bench, &mut peer).1, "/a");
}

fn a_malformed_body_is_refused_and_is_the_last(bench: &Bench) {
    let place = bench.listen(plain(), telling(&[]));
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
    assert_eq!(place.counters().protocol_errors.get(), 3);
    assert_eq!(requests(bench), 0);
}

fn a_peer_that_ends_within_a_body_gets_no_answer(bench: &Bench) {
    let place = bench.listen(plain(), telling(&[]));
    let mut peer = bench.connect(&place);
    peer.send(bench, &post("Content-Length: 6\r\n", b"honey"));
    peer.finish();
    assert!(peer.take_rest(bench).0.is_empty());
    assert_eq!(requests(bench), 0);
    assert_eq!(refused(&place), [("peer".to_owned(), 1)]);
}

fn a_client_that_has_finished_sending_behind_its_body_gets_the_answer(bench: &Bench) {
    let place = bench.listen(plain(), telling(&[]));
    let mut peer = bench.connect(&place);
    peer.send(bench, &sized(b"honey"));
    peer.finish();
    assert!(peer.head(bench).starts_with("HTTP/1.1 200 "));
    assert_eq!(bench.host().bodies(), [b"honey"]);
}

fn a_large_body_comes_whole(bench: &Bench) {
    let place = bench.listen(plain(), telling(&[]));
    let body: Vec<u8> = (0..300_000_u32).map(|it| it.to_le_bytes()[1]).collect();
    for request in [sized(&body), in_chunks(&body, 7000)] {
        let mut peer = bench.connect(&place);
        peer.send(bench, &request);
        assert_eq!(answer(bench, &mut peer).1, "/a");
    }
    assert!(bench.host().bodies() == [body.clone(), body]);
}

fn a_body_in_chunks_of_one_byte_comes_whole(bench: &Bench) {
    let place = bench.listen(plain(), telling(&[]));
    let body = vec![b'x'; 20_000];
    let mut peer = bench.connect(&place);
    peer.send(bench, &in_chunks(&body, 1));
    assert_eq!(answer(bench, &mut peer).1, "/a");
    assert!(bench.host().bodies() == [body]);
}

fn a_body_that_trickles_is_answered_408(bench: &Bench) {
    claims!("rfc9112/6.3/8");
    let mut options = plain();
    options.deadlines.handshake = Some(LENGTH);
    let place = bench.listen(options, telling(&[]));
    let mut peer = bench.connect(&place);
    let start = bench.engine.now_ms();
    peer.send(bench, &post("Content-Length: 100000\r\n", b""));
    while peer.input.is_empty() && peer.ending.is_none() {
        peer.write(b"x");
        bench.pass(1);
        peer.look();
    }
    let took = bench.engine.now_ms() - start;
    assert!((LENGTH - 2..LENGTH + 400).contains(&took), "{took} ms");
    assert!(peer.head(bench).starts_with("HTTP/1.1 408 "));
}
