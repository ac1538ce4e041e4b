//! Endpoints that take text or binary messages only (RFC 6455 section 7.4.1, 1003).

use crate::kit::defaults;
use crate::kit::packed::{COMPRESSION, Packed};
use crate::kit::{Bench, Script, websocket};
use vespiary_engine::wire::websocket::frame::Opcode;
use vespiary_engine::{Cause, Framing, Messages, Options};

on_every_driver_and_with_faults!(
    a_message_of_the_other_kind_closes_with_1003,
    a_compressed_message_of_the_other_kind_closes_with_1003,
);

fn taking(messages: Messages) -> Options {
    let mut options = defaults(Framing::WebSocket);
    options.websocket.messages = messages;
    options
}

const BOTH: [(Messages, Opcode, Opcode); 2] = [
    (Messages::Text, Opcode::Text, Opcode::Binary),
    (Messages::Binary, Opcode::Binary, Opcode::Text),
];

fn a_message_of_the_other_kind_closes_with_1003(bench: &Bench) {
    for parts in [false, true] {
        for (messages, taken, refused) in BOTH {
            // Whole, and by its first fragment alone.
            for last in [true, false] {
                let mut options = taking(messages);
                options.parts = parts;
                let place = bench.listen(options, Script::echo().forgetful());
                let mut peer = websocket::open(bench, &place);
                peer.send(bench, &websocket::masked(true, taken, b"yes"));
                let mut echo = Vec::new();
                while echo.len() < 3 {
                    echo.extend(peer.frame(bench).payload);
                }
                assert_eq!(echo, b"yes");
                peer.send(bench, &websocket::masked(last, refused, b"no"));
                let mut frame = peer.frame(bench);
                if frame.opcode() == 0 && frame.payload.is_empty() {
                    // The echo's last part.
                    frame = peer.frame(bench);
                }
                assert_eq!(frame.code(), Some(1003), "{messages:?} {last}");
                assert_eq!(place.counters().protocol_errors.get(), 0);
            }
        }
    }
    bench.until_closed(8);
    let reasons = bench.host().reasons();
    assert!(reasons.iter().all(|it| it.cause == Cause::MessageRefused));
}

fn a_compressed_message_of_the_other_kind_closes_with_1003(bench: &Bench) {
    let mut options = taking(Messages::Text);
    options.websocket.compression = Some(COMPRESSION);
    let place = bench.listen(options, Script::echo().forgetful());
    let mut client = Packed::open(bench, &place, "");
    client.send(bench, Opcode::Text, b"yes");
    assert_eq!(client.take(bench).0, b"yes");
    client.send(bench, Opcode::Binary, b"no");
    assert_eq!(client.peer.frame(bench).code(), Some(1003));
}
