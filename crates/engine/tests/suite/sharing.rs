//! A process that has more connections than others leaves the next ones to them.

use crate::kit::defaults;
use crate::kit::{Bench, Peer, Place, Script};
use std::cell::Cell;
use std::rc::Rc;
use vespiary_engine::port::Descriptor;
use vespiary_engine::{Framing, Share};

on_every_driver_and_with_faults!(
    a_process_that_is_ahead_accepts_nobody_until_it_is_not,
    a_connection_that_waits_while_nobody_accepts_is_taken_by_a_process_that_is_ahead,
    a_process_that_is_ahead_stays_back_while_others_accept,
    a_process_that_is_behind_accepts_everybody,
    a_listener_that_stands_back_can_be_closed,
);

/// What the other processes do.
struct Others {
    open: Cell<u64>,
    /// With more connections than this, the process is ahead.
    ahead_above: Cell<u64>,
    accepted: Cell<u64>,
    /// Whether they accept a connection between two looks.
    are_accepting: Cell<bool>,
}

impl Share for Others {
    fn entered(&self) {
        self.open.set(self.open.get() + 1);
    }

    fn left(&self) {
        self.open.set(self.open.get() - 1);
    }

    fn is_ahead(&self) -> bool {
        self.open.get() > self.ahead_above.get()
    }

    fn accepted(&self) -> u64 {
        if self.are_accepting.get() {
            self.accepted.set(self.accepted.get() + 1);
        }
        self.accepted.get()
    }

    fn is_awaited(&self, _listener: Descriptor) -> bool {
        true
    }
}

/// A listener of a process that is ahead with its second connection, which it has.
fn ahead(bench: &Bench, are_accepting: bool) -> (Place, Rc<Others>, Vec<Peer>) {
    let place = bench.listen(defaults(Framing::Line { ending: b"\n" }), Script::echo());
    let others = Rc::new(Others {
        open: Cell::new(0),
        ahead_above: Cell::new(1),
        accepted: Cell::new(0),
        are_accepting: Cell::new(are_accepting),
    });
    place.endpoint().set_share(others.clone());
    let mut peers = Vec::new();
    for _ in 0..2 {
        let mut peer = bench.connect(&place);
        is_served(bench, &mut peer);
        peers.push(peer);
    }
    // Accepting is cancelled, which takes its time.
    wait(bench, 50);
    assert_eq!(others.open.get(), 2);
    (place, others, peers)
}

fn is_served(bench: &Bench, peer: &mut Peer) {
    peer.send(bench, b"hello\n");
    assert_eq!(peer.take(bench, 6), b"hello\n");
}

fn wait(bench: &Bench, milliseconds: u64) {
    let start = bench.engine.now_ms();
    bench.until("some time", || {
        bench.engine.now_ms() >= start + milliseconds
    });
}

fn a_process_that_is_ahead_accepts_nobody_until_it_is_not(bench: &Bench) {
    let (place, others, _peers) = ahead(bench, true);
    let mut third = bench.connect(&place);
    wait(bench, 50);
    assert_eq!(place.counters().accepted.get(), 2);
    others.ahead_above.set(10);
    is_served(bench, &mut third);
    assert_eq!(others.open.get(), 3);
}

fn a_connection_that_waits_while_nobody_accepts_is_taken_by_a_process_that_is_ahead(bench: &Bench) {
    let (place, _others, _peers) = ahead(bench, false);
    for _ in 0..3 {
        let mut next = bench.connect(&place);
        is_served(bench, &mut next);
    }
}

fn a_process_that_is_ahead_stays_back_while_others_accept(bench: &Bench) {
    let (place, others, _peers) = ahead(bench, true);
    let mut third = bench.connect(&place);
    wait(bench, 200);
    assert_eq!(place.counters().accepted.get(), 2);
    others.are_accepting.set(false);
    is_served(bench, &mut third);
}

fn a_process_that_is_behind_accepts_everybody(bench: &Bench) {
    let (place, others, _peers) = ahead(bench, true);
    others.ahead_above.set(1000);
    let mut peers: Vec<Peer> = (0..50).map(|_| bench.connect(&place)).collect();
    for peer in &mut peers {
        is_served(bench, peer);
    }
    assert_eq!(others.open.get(), 52);
    for peer in &mut peers {
        peer.finish();
    }
    bench.until("the end of these", || others.open.get() == 2);
}

fn a_listener_that_stands_back_can_be_closed(bench: &Bench) {
    let (place, _others, _peers) = ahead(bench, true);
    place.listener.close();
    bench.until("its end", || place.listener.is_closed());
}
