//! HTTP requests as a client of the tests writes them, and a host that answers later.

use super::{Bench, Conn, Peer, Script, Told};
use vespiary_engine::Answer;

/// A request with these lines in its head, and this body.
pub fn post(lines: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST /a HTTP/1.1\r\nHost: test\r\n{lines}\r\n");
    [head.as_bytes(), body].concat()
}

/// A request whose body has a known length.
pub fn sized(body: &[u8]) -> Vec<u8> {
    post(&format!("Content-Length: {}\r\n", body.len()), body)
}

/// A request whose body comes in chunks of this size.
pub fn in_chunks(body: &[u8], size: usize) -> Vec<u8> {
    let mut wire = Vec::new();
    for piece in body.chunks(size) {
        wire.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        wire.extend_from_slice(piece);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"0\r\n\r\n");
    post("Transfer-Encoding: chunked\r\n", &wire)
}

/// Answers no request by itself.
pub fn later() -> Script {
    Script::echo().on_request(|_, _| Answer::Later)
}

/// How many requests the host has seen.
pub fn requests(bench: &Bench) -> usize {
    bench.host().count(|told| matches!(told, Told::Request(..)))
}

/// A request's connection, on which its answer is due.
pub fn asked(bench: &Bench, peer: &mut Peer, request: &[u8]) -> Conn {
    let before = requests(bench);
    peer.send(bench, request);
    bench.until("the request", || requests(bench) > before);
    bench.latest()
}
