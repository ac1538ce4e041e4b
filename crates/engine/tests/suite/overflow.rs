//! More completions at once than the kernel's queue for them holds.

use crate::kit::{Bench, Driver, Peer, Script, defaults, websocket};
use std::time::Duration;
use vespiary_engine::wire::websocket::frame::Opcode;
use vespiary_engine::{Framing, Limit};

const PEERS: usize = 100;

#[test]
fn a_completion_queue_that_overflows_loses_no_message_and_no_end() {
    Driver::SmallRing.run(|bench| {
        let place = bench.listen(defaults(Framing::WebSocket), Script::echo());
        let mut peers: Vec<Peer> = (0..PEERS).map(|_| websocket::open(bench, &place)).collect();
        for number in 0..3 {
            let text = format!("message {number}");
            for peer in &mut peers {
                peer.write(&websocket::text(&text));
            }
            for peer in &mut peers {
                assert_eq!(peer.frame(bench).payload, text.as_bytes());
            }
        }
        for peer in &mut peers {
            peer.write(&websocket::masked(true, Opcode::Close, b"\x03\xe8"));
            peer.finish();
        }
        bench.until_closed(PEERS);
        assert!(
            bench
                .host()
                .reasons()
                .iter()
                .all(|it| it.code == Some(1000))
        );
    });
}

#[test]
fn a_peer_whose_bytes_have_overflowed_is_not_idle() {
    const LENGTH: u64 = 1_000;
    fn speak(peers: &mut [Peer]) {
        for peer in peers {
            peer.write(&websocket::text("here"));
        }
    }
    Driver::SmallRing.run(|bench: &Bench| {
        let mut options = defaults(Framing::WebSocket);
        options.deadlines.idle = Some(LENGTH);
        let place = bench.listen(options, Script::sink());
        let mut peers: Vec<Peer> = (0..PEERS).map(|_| websocket::open(bench, &place)).collect();
        for _ in 0..3 {
            // All deadlines pass while nobody takes a turn, and everybody has spoken.
            speak(&mut peers);
            bench.skip(Duration::from_millis(LENGTH + 50));
            bench.turn();
            bench.settle();
            assert_eq!(bench.host().limits_reached(Limit::IdleSeconds), 0);
        }
        assert_eq!(bench.host().reasons(), []);
    });
}
