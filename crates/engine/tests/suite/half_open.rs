//! An end of sending, while receiving continues.

use crate::kit::defaults;
use crate::kit::{Bench, Ending, Script, websocket};
use vespiary_engine::{Framing, Manner, SendError};

on_every_driver_and_with_faults!(
    an_end_of_sending_follows_the_last_bytes_and_receiving_continues,
    an_end_of_sending_is_refused_where_the_protocol_has_none,
);

fn an_end_of_sending_follows_the_last_bytes_and_receiving_continues(bench: &Bench) {
    for length in [5, 100_000] {
        let script = Script::sink().on_message(|connection, kind, payload| {
            if connection.send(kind, payload, None).is_ok() {
                connection.send_end().expect("a stream");
                assert_eq!(connection.send(kind, payload, None), Err(SendError::Ended));
                assert_eq!(connection.send_end(), Ok(()), "again is not a mistake");
            }
        });
        let place = bench.listen(defaults(Framing::Line { ending: b"\n" }), script);
        let mut peer = bench.connect(&place);
        let line = [vec![b'x'; length], b"\n".to_vec()].concat();
        peer.send(bench, &line);
        assert!(peer.take_rest(bench) == (line, Ending::Finished));
        peer.send(bench, b"still heard\n");
        bench.until("it to be heard", || place.counters().messages_in.get() == 2);
        assert_eq!(bench.host().open(), 1);
        peer.finish();
        bench.until("the end", || bench.engine.connection_count() == 0);
        let reason = bench.host().reasons().pop().expect("a reason");
        assert_eq!(reason.manner, Manner::Closed);
    }
}

fn an_end_of_sending_is_refused_where_the_protocol_has_none(bench: &Bench) {
    let place = bench.listen(defaults(Framing::WebSocket), Script::echo());
    let mut peer = websocket::open(bench, &place);
    assert_eq!(bench.latest().send_end(), Err(SendError::OutOfTurn));
    peer.send(bench, &websocket::text("hello"));
    assert_eq!(peer.frame(bench).payload, b"hello");
}
