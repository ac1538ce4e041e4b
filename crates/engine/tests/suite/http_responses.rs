//! Responses whose bodies follow their heads piece by piece, RFC 9112 sections 6 and 7.1.

use crate::http_keep_alive::{GET, LENGTH, answer, answered, get, plain, telling};
use crate::http_whole_responses::fields;
use crate::kit::http::{asked, later, requests};
use crate::kit::{Bench, Conn, Ending, Peer, Script, Told};
use std::cell::Cell;
use std::rc::Rc;
use vespiary_engine::Answer;
use vespiary_engine::port::FilePart;
use vespiary_engine::wire::http::{BodyLength, BodyReader, Fields};
use vespiary_trace::claims;

on_every_driver_and_with_faults!(
    a_body_without_a_length_comes_in_chunks,
    steps_that_are_taken_inside_a_callback_are_the_same,
    a_body_of_known_length_comes_as_it_is,
    a_client_of_http_1_0_gets_a_body_that_ends_with_the_connection,
    a_response_to_head_has_no_body,
    trailer_fields_come_behind_the_chunks,
    a_body_that_is_not_what_its_head_says_ends_with_a_reset,
    a_response_that_cannot_be_begun_can_be_given_in_another_way,
    requests_sent_ahead_are_answered_behind_a_streamed_response,
    a_client_that_has_finished_sending_gets_the_whole_response,
    the_host_gets_room_when_the_client_reads,
    a_response_of_103_comes_before_the_final_one,
    what_asks_for_the_end_ends_behind_the_body,
    a_host_that_closes_within_a_response_resets,
    parts_of_a_file_come_between_other_pieces,
    a_file_that_becomes_shorter_ends_with_a_reset,
    a_client_that_does_not_read_holds_a_file_back,
);
on_every_driver!(
    a_response_may_take_longer_than_the_handshake,
    a_client_that_does_not_read_meets_the_write_deadline,
    a_client_that_resets_is_noticed,
);

fn header(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn begin(connection: &Conn, headers: &[(&str, &str)]) -> bool {
    connection
        .begin_response(200, fields(headers))
        .expect("a head")
}

/// The body of a chunked response, whose head was taken.
fn chunks(bench: &Bench, peer: &mut Peer) -> Vec<u8> {
    let mut reader = BodyReader::new(BodyLength::Chunked);
    let mut body = Vec::new();
    while !reader.is_done() {
        let bytes = peer.take(bench, 1);
        let mut rest = &bytes[..];
        while let Some(data) = reader.next(&mut rest).expect("well-formed chunks") {
            body.extend_from_slice(data);
        }
    }
    body
}

fn a_body_without_a_length_comes_in_chunks(bench: &Bench) {
    let place = bench.listen(plain(), later());
    let mut peer = bench.connect(&place);
    for _ in 0..3 {
        let connection = asked(bench, &mut peer, GET);
        assert!(begin(&connection, &[("Content-Type", "text/plain")]));
        assert!(place.endpoint().handshaking() <= 1);
        let head = peer.head(bench);
        assert!(
            head.contains("\r\nTransfer-Encoding: chunked\r\n"),
            "{head}"
        );
        assert!(!head.contains("Content-Length"), "{head}");
        assert!(head.contains("\r\nDate: "), "{head}");
        for piece in [&b"honey"[..], b"", b"comb"] {
            connection.send_body(piece).expect("a piece");
        }
        assert_eq!(peer.take(bench, 19), b"5\r\nhoney\r\n4\r\ncomb\r\n");
        connection.end_response(Vec::new()).expect("the end");
        assert_eq!(peer.take(bench, 5), b"0\r\n\r\n");
    }
    assert_eq!(answered(&place, 200), 3);
    assert_eq!(place.counters().accepted.get(), 1, "the connection is kept");
}

fn steps_that_are_taken_inside_a_callback_are_the_same(bench: &Bench) {
    let script = Script::echo().on_request(|connection, request| {
        begin(connection, &[]);
        for _ in 0..3 {
            connection
                .send_body(request.target().as_bytes())
                .expect("a piece");
        }
        connection.end_response(Vec::new()).expect("the end");
        Answer::Later
    });
    let place = bench.listen(plain(), script);
    let mut peer = bench.connect(&place);
    let many: Vec<u8> = (0..20).flat_map(|it| get(&format!("/{it}"), "")).collect();
    peer.send(bench, &many);
    for number in 0..20 {
        peer.head(bench);
        let expected = format!("/{number}").repeat(3);
        assert_eq!(chunks(bench, &mut peer), expected.as_bytes());
    }
}

fn a_body_of_known_length_comes_as_it_is(bench: &Bench) {
    let place = bench.listen(plain(), later());
    let mut peer = bench.connect(&place);
    for _ in 0..2 {
        let connection = asked(bench, &mut peer, GET);
        assert!(begin(&connection, &[("content-length", "9")]));
        connection.send_body(b"honey").expect("a piece");
        connection.send_body(b"comb").expect("a piece");
        connection.end_response(Vec::new()).expect("the end");
        let head = peer.head(bench);
        assert!(!head.contains("Transfer-Encoding"), "{head}");
        assert_eq!(peer.take(bench, 9), b"honeycomb");
    }
    assert!(peer.is_quiet());
}

fn a_client_of_http_1_0_gets_a_body_that_ends_with_the_connection(bench: &Bench) {
    claims!("rfc9112/6.1/11");
    let place = bench.listen(plain(), later());
    let mut peer = bench.connect(&place);
    let connection = asked(bench, &mut peer, b"GET / HTTP/1.0\r\n\r\n");
    assert!(begin(&connection, &[]));
    connection.send_body(b"honey").expect("a piece");
    connection.end_response(Vec::new()).expect("the end");
    let head = peer.head(bench);
    assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
    assert!(!head.contains("Transfer-Encoding"), "{head}");
    assert_eq!(peer.take_rest(bench), (b"honey".to_vec(), Ending::Finished));
}

fn a_response_to_head_has_no_body(bench: &Bench) {
    claims!("rfc9110/9.3.2/1");
    let place = bench.listen(plain(), later());
    let mut peer = bench.connect(&place);
    for headers in [&[][..], &[("Content-Length", "9")]] {
        let connection = asked(bench, &mut peer, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(!begin(&connection, headers), "no body is to follow");
        connection.send_body(b"honey").expect("it is dropped");
        connection.end_response(Vec::new()).expect("the end");
        peer.head(bench);
    }
    let connection = asked(bench, &mut peer, GET);
    let empty = connection.begin_response(204, Fields::default());
    assert_eq!(empty, Ok(false));
    connection.end_response(Vec::new()).expect("the end");
    let head = peer.head(bench);
    assert!(!head.contains("Transfer-Encoding"), "{head}");
    bench.settle();
    assert!(peer.is_quiet());
}

fn trailer_fields_come_behind_the_chunks(bench: &Bench) {
    let place = bench.listen(plain(), later());
    let mut peer = bench.connect(&place);
    let connection = asked(bench, &mut peer, GET);
    begin(&connection, &[("Trailer", "Digest")]);
    connection.send_body(b"x").expect("a piece");
    let trailers = vec![header("Digest", "abc")];
    connection.end_response(trailers).expect("the end");
    peer.head(bench);
    assert_eq!(peer.take(bench, 24), b"1\r\nx\r\n0\r\nDigest: abc\r\n\r\n");
}

fn a_body_that_is_not_what_its_head_says_ends_with_a_reset(bench: &Bench) {
    let place = bench.listen(plain(), later());
    for (length, pieces) in [("4", 1), ("6", 1), ("5", 2)] {
        let mut peer = bench.connect(&place);
        let connection = asked(bench, &mut peer, GET);
        begin(&connection, &[("Content-Length", length)]);
        let sent = (0..pieces).try_for_each(|_| connection.send_body(b"honey"));
        let ended = sent.and_then(|()| connection.end_response(Vec::new()));
        let text = ended.expect_err("a wrong length");
        assert!(text.contains("Content-Length"), "{text}");
        connection.break_response(&text);
        assert_eq!(peer.take_rest(bench).1, Ending::Reset);
    }
    // Inside a callback it is noticed when the round is settled.
    let script = Script::echo().on_request(|connection, _| {
        begin(connection, &[("Content-Length", "4")]);
        connection.send_body(b"honey").expect("it is put off");
        Answer::Later
    });
    let place = bench.listen(plain(), script);
    let mut peer = bench.connect(&place);
    peer.send(bench, GET);
    assert_eq!(peer.take_rest(bench).1, Ending::Reset);
    assert_eq!(bench.host().count(|it| matches!(it, Told::Fault(..))), 1);
}

fn a_response_that_cannot_be_begun_can_be_given_in_another_way(bench: &Bench) {
    let place = bench.listen(plain(), later());
    let mut peer = bench.connect(&place);
    let connection = asked(bench, &mut peer, GET);
    for (status, name, value) in [
        (200, "Transfer-Encoding", "chunked"),
        (200, "Content-Length", "x"),
        (204, "Content-Length", "1"),
        (199, "Name", "x"),
        (600, "Name", "x"),
    ] {
        let begun = connection.begin_response(status, fields(&[(name, value)]));
        begun.expect_err("a head that cannot be sent");
    }
    connection.send_body(b"x").expect_err("no head");
    connection.end_response(Vec::new()).expect_err("no head");
    connection.answer(Answer::Respond {
        status: 500,
        headers: Vec::new(),
        body: b"sorry".to_vec(),
    });
    let (head, body) = answer(bench, &mut peer);
    assert!(head.starts_with("HTTP/1.1 500 "), "{head}");
    assert_eq!(body, "sorry");
}

fn requests_sent_ahead_are_answered_behind_a_streamed_response(bench: &Bench) {
    let is_first = Cell::new(true);
    let script = telling(&[]);
    let tell = script.request;
    let script = Script::echo().on_request(move |connection, request| {
        if is_first.take() {
            return Answer::Later;
        }
        tell(connection, request)
    });
    let place = bench.listen(plain(), script);
    let mut peer = bench.connect(&place);
    let ahead = [GET, &get("/b", ""), &get("/c", "")].concat();
    let connection = asked(bench, &mut peer, &ahead);
    begin(&connection, &[]);
    connection.send_body(b"honey").expect("a piece");
    bench.settle();
    assert_eq!(requests(bench), 1, "the next one waits");
    connection.end_response(Vec::new()).expect("the end");
    peer.head(bench);
    assert_eq!(chunks(bench, &mut peer), b"honey");
    assert_eq!(answer(bench, &mut peer).1, "/b");
    assert_eq!(answer(bench, &mut peer).1, "/c");
}

fn a_client_that_has_finished_sending_gets_the_whole_response(bench: &Bench) {
    let place = bench.listen(plain(), later());
    let mut peer = bench.connect(&place);
    let connection = asked(bench, &mut peer, GET);
    begin(&connection, &[]);
    peer.finish();
    bench.until("the client's end", || {
        bench
            .host()
            .count(|it| matches!(it, Told::RequesterFinished(_)))
            == 1
    });
    connection.send_body(b"honey").expect("a piece");
    connection.end_response(Vec::new()).expect("the end");
    peer.head(bench);
    assert_eq!(chunks(bench, &mut peer), b"honey");
    assert_eq!(peer.take_rest(bench), (vec![], Ending::Finished));
    bench.until("the end", || bench.engine.connection_count() == 0);
}

fn the_host_gets_room_when_the_client_reads(bench: &Bench) {
    const PIECE: usize = 32 << 10;
    const PIECES: usize = 300;
    let sent = Rc::new(Cell::new(0));
    let pump = {
        let sent = sent.clone();
        move |connection: &Conn| {
            while connection.has_room() && sent.get() < PIECES {
                sent.set(sent.get() + 1);
                connection.send_body(&vec![b'x'; PIECE]).expect("a piece");
                if sent.get() == PIECES {
                    connection.end_response(Vec::new()).expect("the end");
                }
            }
        }
    };
    let first = pump.clone();
    let script = Script::echo()
        .on_request(move |connection, _| {
            begin(connection, &[]);
            first(connection);
            Answer::Later
        })
        .on_room(pump);
    let place = bench.listen(plain(), script);
    let mut peer = bench.connect(&place);
    peer.stall(true);
    asked(bench, &mut peer, GET);
    bench.settle();
    assert!(
        sent.get() < PIECES,
        "a client that does not read holds the host back"
    );
    assert!(bench.latest().queued_bytes() < (64 << 10) + 2 * PIECE);
    peer.stall(false);
    peer.head(bench);
    let body = chunks_fast(bench, &mut peer);
    assert_eq!(body, PIECE * PIECES);
}

/// The length of a chunked body, read in large pieces.
fn chunks_fast(bench: &Bench, peer: &mut Peer) -> usize {
    let mut reader = BodyReader::new(BodyLength::Chunked);
    let mut length = 0;
    bench.until("the last chunk", || {
        peer.look();
        let mut rest = &peer.input[..];
        while let Some(data) = reader.next(&mut rest).expect("well-formed chunks") {
            length += data.len();
        }
        peer.input.clear();
        reader.is_done()
    });
    length
}

fn a_response_of_103_comes_before_the_final_one(bench: &Bench) {
    let place = bench.listen(plain(), later());
    let mut peer = bench.connect(&place);
    let connection = asked(bench, &mut peer, GET);
    let hint = vec![header("Link", "</a.css>")];
    connection.send_interim(103, hint.clone()).expect("a hint");
    connection
        .send_interim(200, hint.clone())
        .expect_err("final");
    assert_eq!(
        peer.head(bench),
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    );
    begin(&connection, &[("Content-Length", "0")]);
    connection
        .send_interim(103, hint)
        .expect_err("it is too late");
    connection.end_response(Vec::new()).expect("the end");
    assert!(peer.head(bench).starts_with("HTTP/1.1 200 "));
}

fn what_asks_for_the_end_ends_behind_the_body(bench: &Bench) {
    let place = bench.listen(plain(), later());
    for (request, headers) in [
        (get("/", "Connection: close\r\n"), &[][..]),
        (GET.to_vec(), &[("Connection", "close")]),
    ] {
        let mut peer = bench.connect(&place);
        let connection = asked(bench, &mut peer, &request);
        begin(&connection, headers);
        connection.send_body(b"honey").expect("a piece");
        connection.end_response(Vec::new()).expect("the end");
        let head = peer.head(bench);
        assert_eq!(head.matches("Connection: close").count(), 1, "{head}");
        assert_eq!(chunks(bench, &mut peer), b"honey");
        assert_eq!(peer.take_rest(bench), (vec![], Ending::Finished));
    }
}

fn a_host_that_closes_within_a_response_resets(bench: &Bench) {
    use vespiary_engine::wire::websocket::close::Code;
    let place = bench.listen(plain(), later());
    let mut peer = bench.connect(&place);
    let connection = asked(bench, &mut peer, GET);
    begin(&connection, &[]);
    peer.head(bench);
    connection.close(Code::NORMAL, "");
    assert_eq!(peer.take_rest(bench).1, Ending::Reset);
}

fn a_response_may_take_longer_than_the_handshake(bench: &Bench) {
    let mut options = plain();
    options.deadlines.handshake = Some(LENGTH);
    let place = bench.listen(options, later());
    let mut peer = bench.connect(&place);
    let connection = asked(bench, &mut peer, GET);
    begin(&connection, &[]);
    bench.pass(4 * LENGTH);
    connection.send_body(b"honey").expect("a piece");
    bench.pass(4 * LENGTH);
    connection.end_response(Vec::new()).expect("the end");
    peer.head(bench);
    assert_eq!(chunks(bench, &mut peer), b"honey");
}

fn a_client_that_does_not_read_meets_the_write_deadline(bench: &Bench) {
    let mut options = plain();
    options.deadlines.write = Some(2 * LENGTH);
    let place = bench.listen(options, later());
    let mut peer = bench.connect(&place);
    peer.stall(true);
    let connection = asked(bench, &mut peer, GET);
    begin(&connection, &[]);
    for _ in 0..400 {
        connection
            .send_body(&vec![b'x'; 32 << 10])
            .expect("a piece");
    }
    bench.until("the end", || bench.engine.connection_count() == 0);
    peer.look();
}

fn a_client_that_resets_is_noticed(bench: &Bench) {
    let place = bench.listen(plain(), later());
    let mut peer = bench.connect(&place);
    let connection = asked(bench, &mut peer, GET);
    begin(&connection, &[]);
    peer.head(bench);
    drop(connection);
    drop(peer);
    bench.until("the end", || {
        for one in bench.engine.all_connections() {
            one.send_body(b"x").expect("a piece");
        }
        bench.engine.connection_count() == 0
    });
}

/// A file with these bytes, which has no name.
fn file_of(bytes: &[u8]) -> std::fs::File {
    use std::io::Write as _;
    let name = format!("{}-{:?}", std::process::id(), std::thread::current().id());
    let path = std::env::temp_dir().join(name.replace(['(', ')'], ""));
    let mut options = std::fs::OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).open(&path);
    std::fs::remove_file(&path).expect("a file");
    let mut file = file.expect("a file");
    file.write_all(bytes).expect("a file");
    file
}

fn parts_of_a_file_come_between_other_pieces(bench: &Bench) {
    let place = bench.listen(plain(), later());
    let mut peer = bench.connect(&place);
    let bytes: Vec<u8> = (0..20_000_u32).map(|it| (it % 251) as u8).collect();
    let file = file_of(&bytes);
    for headers in [&[][..], &[("Content-Length", "19909")]] {
        let connection = asked(bench, &mut peer, GET);
        assert!(begin(&connection, headers));
        connection.send_body(b"honey").expect("a piece");
        for (offset, length) in [(0, 100), (100, 0), (200, 19_800)] {
            let copy = file.try_clone().expect("a descriptor");
            let part = FilePart::new(copy.into(), offset, length);
            connection.send_file_body(part).expect("a part");
        }
        connection.send_body(b"comb").expect("a piece");
        connection.end_response(Vec::new()).expect("the end");
        peer.head(bench);
        let body = if headers.is_empty() {
            chunks(bench, &mut peer)
        } else {
            peer.take(bench, 19_909)
        };
        let expected = [b"honey", &bytes[..100], &bytes[200..], b"comb"].concat();
        assert!(body == expected, "{} bytes", body.len());
    }
    assert_eq!(place.counters().accepted.get(), 1, "the connection is kept");
}

fn a_file_that_becomes_shorter_ends_with_a_reset(bench: &Bench) {
    let place = bench.listen(plain(), later());
    let mut peer = bench.connect(&place);
    let connection = asked(bench, &mut peer, GET);
    begin(&connection, &[("Content-Length", "10")]);
    let part = FilePart::new(file_of(b"short").into(), 0, 10);
    connection.send_file_body(part).expect("a part");
    connection.end_response(Vec::new()).expect("the end");
    assert_eq!(peer.take_rest(bench).1, Ending::Reset);
}

fn a_client_that_does_not_read_holds_a_file_back(bench: &Bench) {
    let place = bench.listen(plain(), later());
    let mut peer = bench.connect(&place);
    let connection = asked(bench, &mut peer, GET);
    let size = 30_000_000;
    begin(&connection, &[("Content-Length", "30000000")]);
    let part = FilePart::new(file_of(&vec![7; size]).into(), 0, size);
    connection.send_file_body(part).expect("a part");
    connection.end_response(Vec::new()).expect("the end");
    assert!(!connection.has_room());
    bench.settle();
    assert!(connection.buffer_bytes() < 1 << 20, "no part is in memory");
    peer.head(bench);
    let mut left = size;
    while left > 0 {
        let count = left.min(1 << 20);
        assert!(peer.take(bench, count).iter().all(|byte| *byte == 7));
        left -= count;
    }
}
