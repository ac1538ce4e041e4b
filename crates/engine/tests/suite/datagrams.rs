//! Sockets for datagrams: what is handed over, answered, dropped and counted.

use crate::kit::defaults;
use crate::kit::{Bench, Driver, Script, TestHost};
use std::cell::{Cell, RefCell};
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::rc::Rc;
use vespiary_engine::port::driver::Preference;
use vespiary_engine::port::sim::Faults;
use vespiary_engine::port::{Address, DATAGRAMS_A_BATCH, DatagramOptions, Errno};
use vespiary_engine::{
    Counters, DatagramError, DatagramSocket, Dropped, Event, Framing, Limit, Options,
};

on_every_driver_and_with_faults!(
    datagrams_are_echoed_to_their_senders,
    nothing_is_received_before_resume_and_after_suspend,
    a_datagram_beyond_datagram_bytes_max_is_dropped_counted_and_reported,
    what_a_full_queue_does_not_take_is_dropped_counted_and_reported,
    an_unreachable_peer_is_counted_and_the_others_are_served,
    a_handler_may_close_the_socket_in_the_middle_of_a_batch,
);
on_every_driver!(one_socket_takes_one_batch_per_turn);

/// Peers: a socket of the kernel, or an address of the simulation.
pub struct Peer<'a> {
    bench: &'a Bench,
    kernel: Option<UdpSocket>,
    pub address: Address,
}

impl<'a> Peer<'a> {
    pub fn new(bench: &'a Bench) -> Self {
        Self::at(bench, 999)
    }

    pub fn at(bench: &'a Bench, port: u16) -> Self {
        if let Some(world) = &bench.world {
            let address = Address::Inet(([127, 0, 0, 1], port).into());
            world.await_datagrams(&address);
            return Self {
                bench,
                kernel: None,
                address,
            };
        }
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_nonblocking(true).expect("a socket");
        let address = socket.local_addr().expect("an address").into();
        Self {
            bench,
            kernel: Some(socket),
            address,
        }
    }

    pub fn send(&self, to: &Address, bytes: &[u8]) {
        match (&self.kernel, &self.bench.world, to) {
            (Some(socket), _, Address::Inet(to)) => {
                socket.send_to(bytes, to).expect("sent");
            }
            (None, Some(world), to) => world.send_datagram(&self.address, to, bytes),
            _ => panic!("{to}"),
        }
    }

    pub fn receive(&self) -> Vec<Vec<u8>> {
        let Some(socket) = &self.kernel else {
            let world = self.bench.world.as_ref().expect("a world");
            let came = world.datagrams(&self.address).into_iter();
            return came.map(|(_, bytes)| bytes).collect();
        };
        let mut bytes = vec![0; 1 << 16];
        let mut all = Vec::new();
        while let Ok(count) = socket.recv(&mut bytes) {
            all.push(bytes[..count].to_vec());
        }
        all
    }
}

pub fn bind(bench: &Bench, options: Options, script: Script) -> Rc<DatagramSocket<TestHost>> {
    let endpoint = script.endpoint(options);
    let options = DatagramOptions::default();
    let any = Address::Inet(([127, 0, 0, 1], 0).into());
    let bound = bench.engine.bind(&any, endpoint, &options);
    let socket = bound.expect("a socket");
    socket.resume();
    socket
}

pub fn counters(socket: &DatagramSocket<TestHost>) -> &Counters {
    &socket.endpoint.counters
}

fn raw() -> Options {
    defaults(Framing::Raw)
}

fn echo() -> Script {
    Script::sink().on_datagram(|socket, arrival, bytes| {
        let sent = socket.send(bytes, &arrival.peer, arrival.answer_from);
        assert_eq!(sent, Ok(true));
    })
}

pub fn dropped(socket: &DatagramSocket<TestHost>, cause: Dropped) -> u64 {
    let all = counters(socket).datagrams_dropped.borrow();
    all.get(&cause).copied().unwrap_or(0)
}

pub fn is_limit(event: &Event, limit: Limit) -> bool {
    matches!(event, Event::Limit { limit: it, .. } if *it == limit)
}

fn datagrams_are_echoed_to_their_senders(bench: &Bench) {
    let socket = bind(bench, raw(), echo());
    let peers = [Peer::at(bench, 900), Peer::at(bench, 901)];
    let mut back = [0, 0];
    for number in 0..40_usize {
        for peer in &peers {
            peer.send(socket.address(), &vec![1; number]);
        }
    }
    bench.until("every echo", || {
        for (peer, back) in peers.iter().zip(&mut back) {
            *back += peer.receive().len();
        }
        back == [40, 40]
    });
    let counters = counters(&socket);
    assert_eq!(
        (counters.datagrams_in.get(), counters.datagrams_out.get()),
        (80, 80)
    );
    let bytes = 2 * (0..40).sum::<u64>();
    assert_eq!(
        (counters.bytes_in.get(), counters.bytes_out.get()),
        (bytes, bytes)
    );
    assert!(counters.datagrams_dropped.borrow().is_empty());
    assert_eq!(socket.waiting_bytes(), 0);
}

fn nothing_is_received_before_resume_and_after_suspend(bench: &Bench) {
    let socket = bind(bench, raw(), echo());
    let peer = Peer::new(bench);
    socket.suspend();
    peer.send(socket.address(), b"waits");
    bench.settle();
    assert_eq!(counters(&socket).datagrams_in.get(), 0);
    socket.resume();
    bench.until("the echo", || !peer.receive().is_empty());
    socket.suspend();
    peer.send(socket.address(), b"lost");
    bench.settle();
    assert_eq!(counters(&socket).datagrams_in.get(), 1);
}

fn a_datagram_beyond_datagram_bytes_max_is_dropped_counted_and_reported(bench: &Bench) {
    let mut options = raw();
    options.limits.datagram_bytes_max = 10;
    let socket = bind(bench, options, echo());
    let peer = Peer::new(bench);
    peer.send(socket.address(), &[0; 11]);
    peer.send(socket.address(), &[0; 10]);
    let mut came = Vec::new();
    bench.until("both", || {
        came.extend(peer.receive());
        came.len() == 1 && dropped(&socket, Dropped::TooLong) == 1
    });
    assert_eq!(came, [[0; 10]]);
    bench.settle();
    let told = bench.host().events();
    assert!(told.iter().all(|it| is_limit(it, Limit::DatagramBytes)) && !told.is_empty());
}

fn what_a_full_queue_does_not_take_is_dropped_counted_and_reported(bench: &Bench) {
    let mut options = raw();
    options.limits.write_bytes_max = 3_000;
    let refused = Rc::new(Cell::new(0));
    let counted = refused.clone();
    let script = Script::sink().on_datagram(move |socket, arrival, _| {
        for _ in 0..100 {
            let is_taken = socket.send(&[0; 100], &arrival.peer, None);
            counted.set(counted.get() + u64::from(is_taken == Ok(false)));
        }
    });
    let socket = bind(bench, options, script);
    let peer = Peer::new(bench);
    peer.send(socket.address(), b"flood me");
    let mut came = 0;
    bench.until("what the queue took", || {
        came += peer.receive().len() as u64;
        refused.get() > 0 && came + refused.get() == 100
    });
    assert!(came >= 20, "{came}");
    assert_eq!(dropped(&socket, Dropped::QueueFull), refused.get());
    let told = bench.host().events();
    assert!(told.iter().any(|it| is_limit(it, Limit::WriteBytes)));
}

fn an_unreachable_peer_is_counted_and_the_others_are_served(bench: &Bench) {
    let socket = bind(bench, raw(), echo());
    let nobody = match &bench.world {
        Some(_) => Address::Inet(([127, 0, 0, 1], 998).into()),
        None => Peer::new(bench).address,
    };
    for _ in 0..3 {
        assert_eq!(socket.send(b"anybody?", &nobody, None), Ok(true));
        bench.settle();
    }
    let refused = Errno(111).0;
    bench.until("the errors", || {
        let errors = counters(&socket).datagram_errors.borrow();
        errors.get(&refused) == Some(&3)
    });
    let peer = Peer::new(bench);
    peer.send(socket.address(), b"hello");
    bench.until("the echo", || !peer.receive().is_empty());
}

fn a_handler_may_close_the_socket_in_the_middle_of_a_batch(bench: &Bench) {
    let count = Rc::new(Cell::new(0));
    let counted = count.clone();
    let script = Script::sink().on_datagram(move |socket, _, _| {
        counted.set(counted.get() + 1);
        socket.close();
    });
    let socket = bind(bench, raw(), script);
    let address = socket.address().clone();
    let peer = Peer::new(bench);
    for _ in 0..10 {
        peer.send(&address, b"x");
    }
    bench.until("the first", || count.get() > 0);
    bench.settle();
    assert_eq!((count.get(), counters(&socket).datagrams_in.get()), (1, 1));
    let late = socket.send(b"late", &peer.address, None);
    assert_eq!(late, Err(DatagramError::Closed));
}

fn one_socket_takes_one_batch_per_turn(bench: &Bench) {
    let order = Rc::new(RefCell::new(Vec::new()));
    let sockets: Vec<_> = ["busy", "quiet"]
        .into_iter()
        .map(|name| {
            let order = order.clone();
            let script = Script::sink().on_datagram(move |_, _, _| order.borrow_mut().push(name));
            bind(bench, raw(), script)
        })
        .collect();
    let peer = Peer::new(bench);
    let count = 4 * DATAGRAMS_A_BATCH;
    for _ in 0..count {
        peer.send(sockets[0].address(), b"x");
    }
    peer.send(sockets[1].address(), b"x");
    bench.until("all", || order.borrow().len() == count + 1);
    let order = order.borrow();
    let place = order.iter().position(|name| *name == "quiet");
    assert!(
        place.expect("it came") <= 2 * DATAGRAMS_A_BATCH,
        "{place:?}"
    );
}

#[test]
fn a_unix_peer_that_takes_nothing_loses_its_datagrams_and_holds_up_nobody_for_long() {
    for preference in [Preference::Uring, Preference::Epoll] {
        Driver::Kernel(preference).run(|bench| {
            let name = format!(
                "vespiary-datagrams-{}-{}",
                std::process::id(),
                bench.engine.driver()
            );
            let name = std::env::temp_dir().join(name);
            std::fs::create_dir(&name).expect("a folder");
            let bound = bench.engine.bind(
                &Address::Unix(name.join("ours")),
                Script::sink().endpoint(raw()),
                &DatagramOptions::default(),
            );
            let socket = bound.expect("a socket");
            let deaf = UnixDatagram::bind(name.join("deaf")).expect("a socket");
            let good = UnixDatagram::bind(name.join("good")).expect("a socket");
            good.set_nonblocking(true).expect("a socket");
            // The kernel's queue takes net.unix.max_dgram_qlen datagrams, and one more.
            let limit = std::fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen");
            let limit: usize = limit.expect("a limit").trim().parse().expect("a number");
            for _ in 0..limit + 3 {
                let sent = socket.send(b"x", &Address::Unix(name.join("deaf")), None);
                assert_eq!(sent, Ok(true));
            }
            let sent = socket.send(b"x", &Address::Unix(name.join("good")), None);
            assert_eq!(sent, Ok(true));
            bench.until("the one that is read", || good.recv(&mut [0; 8]).is_ok());
            assert!(dropped(&socket, Dropped::Refused(Errno::NO_ROOM)) >= 1);
            let unnamed = socket.send(b"x", &Address::Unix("".into()), None);
            assert_eq!(unnamed, Ok(false));
            assert_eq!(dropped(&socket, Dropped::NoAddress), 1);
            drop(deaf);
            std::fs::remove_dir_all(&name).expect("removed");
        });
    }
}

#[test]
fn under_loss_and_delay_each_datagram_is_handed_over_whole_or_not_at_all() {
    let faults = Faults {
        window_bytes: 1 << 20,
        ..Faults::harsh()
    };
    for seed in 0..20 {
        Driver::Simulated(seed, faults.clone()).run(|bench| {
            let script = Script::sink().on_datagram(|socket, arrival, bytes| {
                assert!(bytes.iter().all(|it| usize::from(*it) == bytes.len()));
                assert_eq!(socket.send(bytes, &arrival.peer, None), Ok(true));
            });
            let socket = bind(bench, raw(), script);
            let peer = Peer::new(bench);
            for length in 0..200_u8 {
                peer.send(socket.address(), &vec![length; length.into()]);
            }
            bench.settle();
            let came = peer.receive();
            for bytes in &came {
                assert!(bytes.iter().all(|it| usize::from(*it) == bytes.len()));
            }
            let counters = counters(&socket);
            assert!((100..300).contains(&came.len()), "{}", came.len());
            assert_eq!(counters.datagrams_in.get(), counters.datagrams_out.get());
        });
    }
}
