//! Responses that are given as a whole, and sent with the length of their bodies.

use crate::http_keep_alive::{GET, answer, answered, get, plain};
use crate::kit::http::{asked, later};
use crate::kit::{Bench, Conn, Ending, Script};
use std::borrow::Cow;
use vespiary_engine::wire::http::Fields;
use vespiary_engine::{Answer, Content};

on_every_driver_and_with_faults!(
    a_whole_response_comes_with_its_length,
    a_whole_response_is_the_same_inside_a_callback,
    a_whole_response_of_a_wrong_length_ends_with_a_reset,
);

/// The header lines of a response.
pub(crate) fn fields(lines: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in lines {
        fields.add_text(name, value).expect("a clean line");
    }
    fields
}

fn whole(connection: &Conn, lines: &[(&str, &str)], body: &[u8]) -> Result<(), String> {
    let body = Content::Bytes(Cow::Borrowed(body));
    connection.send_response(200, fields(lines), body)
}

fn a_whole_response_comes_with_its_length(bench: &Bench) {
    let place = bench.listen(plain(), later());
    let mut peer = bench.connect(&place);
    for lines in [&[][..], &[("content-length", "5")]] {
        let connection = asked(bench, &mut peer, GET);
        whole(&connection, lines, b"honey").expect("a response");
        let head = peer.head(bench);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        let lengths = head
            .to_lowercase()
            .matches("\r\ncontent-length: 5\r\n")
            .count();
        assert_eq!(lengths, 1, "{head}");
        assert!(head.contains("\r\nDate: "), "{head}");
        assert_eq!(peer.take(bench, 5), b"honey");
    }
    let connection = asked(bench, &mut peer, b"HEAD / HTTP/1.1\r\nHost: test\r\n\r\n");
    whole(&connection, &[("Connection", "close")], b"honey").expect("a response");
    let head = peer.head(bench);
    assert!(head.contains("\r\nContent-Length: 5\r\n"), "{head}");
    assert_eq!(peer.take_rest(bench), (Vec::new(), Ending::Finished));
    assert_eq!(answered(&place, 200), 3);
}

fn a_whole_response_is_the_same_inside_a_callback(bench: &Bench) {
    let script = Script::echo().on_request(|connection, request| {
        whole(connection, &[], request.target().as_bytes()).expect("a response");
        Answer::Later
    });
    let place = bench.listen(plain(), script);
    let mut peer = bench.connect(&place);
    let many: Vec<u8> = (0..20).flat_map(|it| get(&format!("/{it}"), "")).collect();
    peer.send(bench, &many);
    for number in 0..20 {
        let (head, body) = answer(bench, &mut peer);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert_eq!(body, format!("/{number}"));
    }
}

fn a_whole_response_of_a_wrong_length_ends_with_a_reset(bench: &Bench) {
    for length in ["4", "6"] {
        let place = bench.listen(plain(), later());
        let mut peer = bench.connect(&place);
        let connection = asked(bench, &mut peer, GET);
        let lines = [("Content-Length", length)];
        whole(&connection, &lines, b"honey").expect_err("a wrong length");
        connection.break_response("wrong");
        assert_eq!(peer.take_rest(bench).1, Ending::Reset);

        let script = Script::echo().on_request(move |connection, _| {
            let _ = whole(connection, &[("Content-Length", length)], b"honey");
            Answer::Later
        });
        let place = bench.listen(plain(), script);
        let mut peer = bench.connect(&place);
        peer.send(bench, GET);
        assert_eq!(peer.take_rest(bench).1, Ending::Reset);
    }
}
