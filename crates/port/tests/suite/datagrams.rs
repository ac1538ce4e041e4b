//! Datagrams, on every driver.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;

use crate::rig::{Directory, Driver, Rig};
use vespiary_port::sim::{Faults, World};
use vespiary_port::{
    Address, Arrivals, DATAGRAMS_A_BATCH, DatagramOptions, Departures, Descriptor, Errno, Outcome,
    Token,
};

const TOKEN: Token = Token(7);
const LIMIT: usize = 65_536;

contract!(
    datagrams_arrive_whole_and_in_batches_and_are_answered,
    an_empty_datagram_is_a_datagram,
    a_datagram_beyond_the_limit_is_reported_as_truncated,
    the_address_to_which_a_datagram_was_sent_is_reported_and_answered_from,
    the_error_of_a_peer_that_is_gone_does_not_stop_the_socket,
    a_datagram_that_no_network_takes_is_refused_and_the_next_one_sent,
    nothing_is_reported_after_unwatch_and_the_address_is_free_after_the_close,
    what_overflows_the_sockets_buffer_is_counted,
);

/// A client: a socket of the kernel, or an address of the simulation.
enum Client {
    Kernel(UdpSocket),
    Simulated(World, Address),
}

impl Client {
    fn new(rig: &Rig) -> Self {
        if let Some(world) = &rig.world {
            let address = Address::Inet(([127, 0, 0, 1], 999).into());
            world.await_datagrams(&address);
            return Self::Simulated(world.clone(), address);
        }
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_nonblocking(true).expect("a socket");
        Self::Kernel(socket)
    }

    fn address(&self) -> Address {
        match self {
            Self::Kernel(socket) => socket.local_addr().expect("an address").into(),
            Self::Simulated(_, address) => address.clone(),
        }
    }

    fn send(&self, to: &Address, bytes: &[u8]) {
        match self {
            Self::Kernel(socket) => {
                let Address::Inet(to) = to else {
                    panic!("{to}")
                };
                socket.send_to(bytes, to).expect("sent");
            }
            Self::Simulated(world, from) => world.send_datagram(from, to, bytes),
        }
    }

    fn receive(&self) -> Vec<(Address, Vec<u8>)> {
        match self {
            Self::Simulated(world, address) => world.datagrams(address),
            Self::Kernel(socket) => {
                let mut bytes = vec![0; LIMIT];
                let mut one = || socket.recv_from(&mut bytes).ok();
                let mut all = Vec::new();
                while let Some((count, from)) = one() {
                    all.push((from.into(), vec![0; count]));
                }
                all
            }
        }
    }
}

fn bound(rig: &mut Rig, host: [u8; 4], options: &DatagramOptions) -> (Descriptor, Address) {
    let any = Address::Inet((host, 0).into());
    let socket = rig.port.bind(&any, options).expect("a socket");
    let address = rig.port.local_address(socket).expect("an address");
    rig.port.watch_datagrams(socket, TOKEN).expect("a watch");
    (socket, address)
}

fn close(rig: &mut Rig, socket: Descriptor) {
    rig.port.unwatch_datagrams(socket, TOKEN);
    rig.port.close(socket, false);
    if let Some(world) = &rig.world {
        world.assert_no_leaks();
    }
}

/// Receive until `count` datagrams or errors have come: the batches.
fn receive(rig: &mut Rig, socket: Descriptor, count: usize) -> Vec<Arrivals> {
    let (mut batches, mut came) = (Vec::new(), 0);
    rig.pump("the last datagram", |rig, completions| {
        for completion in completions {
            assert!(completion.token == TOKEN, "{completion:?}");
            assert!(matches!(completion.outcome, Outcome::Ready(it) if it.read));
            let mut batch = Arrivals::default();
            let received = rig.port.receive_datagrams(socket, &mut batch, LIMIT);
            received.expect("a batch");
            came += batch.len() + batch.errors().len();
            batches.push(batch);
        }
        came >= count
    });
    batches
}

fn send(rig: &mut Rig, socket: Descriptor, departures: &mut Departures) -> Vec<Errno> {
    let mut refused = Vec::new();
    rig.pump("room for the last datagram", |rig, _| {
        refused.extend(rig.port.send_datagrams(socket, departures).refused);
        departures.is_empty()
    });
    refused
}

fn datagrams_arrive_whole_and_in_batches_and_are_answered(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (socket, address) = bound(&mut rig, [127, 0, 0, 1], &DatagramOptions::default());
    let client = Client::new(&rig);
    let count = DATAGRAMS_A_BATCH + 10;
    for number in 0..count {
        client.send(&address, &vec![number as u8; number + 1]);
    }
    let batches = receive(&mut rig, socket, count);
    assert!(batches[0].len() <= DATAGRAMS_A_BATCH);
    let mut departures = Departures::default();
    let came: Vec<_> = batches.iter().flat_map(Arrivals::iter).collect();
    for (number, (arrival, bytes)) in came.iter().enumerate() {
        assert_eq!(*bytes, vec![number as u8; number + 1]);
        assert_eq!(
            (&arrival.peer, arrival.is_truncated),
            (&client.address(), false)
        );
        departures.push(bytes, arrival.peer.clone(), None);
    }
    assert_eq!(send(&mut rig, socket, &mut departures), []);
    let mut back = 0;
    rig.pump("the answers", |_, _| {
        for (from, bytes) in client.receive() {
            back += 1;
            assert_eq!((from, bytes.len()), (address.clone(), back));
        }
        back == count
    });
    close(&mut rig, socket);
}

fn an_empty_datagram_is_a_datagram(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (socket, address) = bound(&mut rig, [127, 0, 0, 1], &DatagramOptions::default());
    let client = Client::new(&rig);
    client.send(&address, b"");
    client.send(&address, b"x");
    let batches = receive(&mut rig, socket, 2);
    let lengths: Vec<_> = batches.iter().flat_map(Arrivals::iter).collect();
    let lengths: Vec<_> = lengths.iter().map(|(_, bytes)| bytes.len()).collect();
    assert_eq!(lengths, [0, 1]);
    let mut departures = Departures::default();
    departures.push(b"", client.address(), None);
    assert_eq!(send(&mut rig, socket, &mut departures), []);
    rig.pump("the empty answer", |_, _| {
        client.receive().iter().any(|(_, bytes)| bytes.is_empty())
    });
    close(&mut rig, socket);
}

fn a_datagram_beyond_the_limit_is_reported_as_truncated(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (socket, address) = bound(&mut rig, [127, 0, 0, 1], &DatagramOptions::default());
    let client = Client::new(&rig);
    client.send(&address, &[1; 100]);
    client.send(&address, &[2; 101]);
    let mut seen = Vec::new();
    rig.pump("both", |rig, completions| {
        for _ in completions {
            let mut batch = Arrivals::default();
            let received = rig.port.receive_datagrams(socket, &mut batch, 100);
            received.expect("a batch");
            seen.extend(
                batch
                    .iter()
                    .map(|(it, bytes)| (it.is_truncated, bytes.len())),
            );
        }
        seen.len() == 2
    });
    assert_eq!(seen, [(false, 100), (true, 100)]);
    close(&mut rig, socket);
}

fn the_address_to_which_a_datagram_was_sent_is_reported_and_answered_from(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let options = DatagramOptions {
        local_address: true,
        packet_info: true,
        ..DatagramOptions::default()
    };
    let (socket, address) = bound(&mut rig, [0, 0, 0, 0], &options);
    let client = Client::new(&rig);
    let port = address.port().expect("a port");
    let second = SocketAddr::from(([127, 0, 0, 2], port));
    client.send(&second.into(), b"to the second address");
    let batches = receive(&mut rig, socket, 1);
    let (arrival, _) = batches[0].iter().next().expect("a datagram");
    assert_eq!(arrival.local, Some(Ipv4Addr::new(127, 0, 0, 2).into()));
    assert_eq!((arrival.ttl, arrival.ecn), (Some(64), Some(0)));
    let mut departures = Departures::default();
    departures.push(b"answer", arrival.peer.clone(), arrival.answer_from);
    assert_eq!(send(&mut rig, socket, &mut departures), []);
    rig.pump("the answer", |_, _| {
        let came = client.receive();
        assert!(
            came.iter().all(|(from, _)| *from == second.into()),
            "{came:?}"
        );
        !came.is_empty()
    });
    close(&mut rig, socket);
}

fn the_error_of_a_peer_that_is_gone_does_not_stop_the_socket(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (socket, address) = bound(&mut rig, [127, 0, 0, 1], &DatagramOptions::default());
    let gone = Client::new(&rig).address();
    // In the simulation that address stays there.
    let gone = match &rig.world {
        Some(_) => Address::Inet(([127, 0, 0, 1], 998).into()),
        None => gone,
    };
    let client = Client::new(&rig);
    let mut departures = Departures::default();
    departures.push(b"to nobody", gone, None);
    assert_eq!(send(&mut rig, socket, &mut departures), []);
    let batches = receive(&mut rig, socket, 1);
    let errors: Vec<_> = batches.iter().flat_map(Arrivals::errors).collect();
    assert_eq!(errors, [&Errno(libc::ECONNREFUSED)]);
    client.send(&address, b"still there?");
    let batches = receive(&mut rig, socket, 1);
    assert_eq!(batches.iter().map(Arrivals::len).sum::<usize>(), 1);
    departures.push(b"yes", client.address(), None);
    assert_eq!(send(&mut rig, socket, &mut departures), []);
    rig.pump("the answer", |_, _| !client.receive().is_empty());
    close(&mut rig, socket);
}

fn a_datagram_that_no_network_takes_is_refused_and_the_next_one_sent(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (socket, _) = bound(&mut rig, [127, 0, 0, 1], &DatagramOptions::default());
    let client = Client::new(&rig);
    let mut departures = Departures::default();
    departures.push(&vec![0; 65_508], client.address(), None);
    departures.push(b"fits", client.address(), None);
    let refused = send(&mut rig, socket, &mut departures);
    assert_eq!(refused, [Errno(libc::EMSGSIZE)]);
    rig.pump("the one that fits", |_, _| !client.receive().is_empty());
    close(&mut rig, socket);
}

fn nothing_is_reported_after_unwatch_and_the_address_is_free_after_the_close(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let (socket, address) = bound(&mut rig, [127, 0, 0, 1], &DatagramOptions::default());
    let client = Client::new(&rig);
    client.send(&address, b"not taken");
    rig.pump("the report", |_, completions| !completions.is_empty());
    rig.port.unwatch_datagrams(socket, TOKEN);
    rig.expect_nothing();
    rig.port.watch_datagrams(socket, TOKEN).expect("a watch");
    assert_eq!(receive(&mut rig, socket, 1)[0].len(), 1);
    rig.port.unwatch_datagrams(socket, TOKEN);
    rig.port.close(socket, false);
    let again = rig.port.bind(&address, &DatagramOptions::default());
    let again = again.expect("the address is free");
    rig.port.watch_datagrams(again, TOKEN).expect("a watch");
    close(&mut rig, again);
}

fn what_overflows_the_sockets_buffer_is_counted(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let options = DatagramOptions {
        receive_buffer_bytes: Some(4096),
        ..DatagramOptions::default()
    };
    let (socket, address) = bound(&mut rig, [127, 0, 0, 1], &options);
    let client = Client::new(&rig);
    for _ in 0..200 {
        client.send(&address, &[0; 1000]);
    }
    let taken = receive(&mut rig, socket, 1)[0].len();
    // The kernel's count stands beside a datagram that came after the loss.
    client.send(&address, b"later");
    let (mut rest, mut dropped) = (0, 0);
    rig.pump("the later one", |rig, completions| {
        for _ in completions {
            let mut batch = Arrivals::default();
            let received = rig.port.receive_datagrams(socket, &mut batch, LIMIT);
            received.expect("a batch");
            rest += batch.len();
            dropped = batch.dropped_by_kernel().unwrap_or(dropped);
        }
        taken + rest + dropped as usize == 201
    });
    assert!(dropped > 0);
    close(&mut rig, socket);
}

#[test]
fn a_unix_socket_for_datagrams_knows_its_peers_and_leaves_no_file() {
    for name in ["uring", "epoll"] {
        let mut rig = Rig::new(&Driver::named(name));
        let folder = Directory::new();
        let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
        // What a process that did not end well has left behind.
        drop(UnixDatagram::bind(&ours).expect("a socket"));
        let address = Address::Unix(ours.clone());
        let options = DatagramOptions::default();
        let socket = rig.port.bind(&address, &options).expect("a socket");
        let taken = rig.port.bind(&address, &options).expect_err("it is in use");
        assert_eq!(taken.raw_os_error(), Some(libc::EADDRINUSE));
        rig.port.watch_datagrams(socket, TOKEN).expect("a watch");
        let client = UnixDatagram::bind(&theirs).expect("a socket");
        client.send_to(b"hello", &ours).expect("sent");
        let unnamed = UnixDatagram::unbound().expect("a socket");
        unnamed.send_to(b"from nobody", &ours).expect("sent");
        let batches = receive(&mut rig, socket, 2);
        let peers: Vec<_> = batches.iter().flat_map(Arrivals::iter).collect();
        let peers: Vec<_> = peers.iter().map(|(it, _)| it.peer.clone()).collect();
        assert_eq!(
            peers,
            [Address::Unix(theirs.clone()), Address::Unix("".into())]
        );
        let mut departures = Departures::default();
        departures.push(b"answer", peers[0].clone(), None);
        assert_eq!(send(&mut rig, socket, &mut departures), []);
        let mut bytes = [0; 16];
        assert_eq!(client.recv(&mut bytes).expect("an answer"), 6);
        close(&mut rig, socket);
        assert!(!ours.exists());
    }
}

fn switch_on(socket: &UdpSocket, option: i32, value: i32) {
    let length = size_of::<i32>() as libc::socklen_t;
    let value = (&raw const value).cast();
    // SAFETY: the pointer is to an i32 that lives through the call, and the length is its size.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_UDP, option, value, length) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn what_a_sender_has_coalesced_is_cut_into_its_datagrams_and_answered_in_one_piece() {
    for name in ["uring", "epoll"] {
        let mut rig = Rig::new(&Driver::named(name));
        let (socket, address) = bound(&mut rig, [127, 0, 0, 1], &DatagramOptions::default());
        let Address::Inet(to) = address else {
            panic!("{address}")
        };
        let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        client.set_nonblocking(true).expect("a socket");
        switch_on(&client, libc::UDP_SEGMENT, 1000);
        switch_on(&client, libc::UDP_GRO, 1);
        let sent: Vec<u8> = (0..20_500_usize).map(|it| (it / 1000) as u8).collect();
        client.send_to(&sent, to).expect("sent");
        let mut seen = Vec::new();
        let mut departures = Departures::default();
        rig.pump("every datagram", |rig, completions| {
            for _ in completions {
                let mut batch = Arrivals::default();
                // A limit below the whole is one of each datagram.
                let received = rig.port.receive_datagrams(socket, &mut batch, 1000);
                received.expect("a batch");
                for (arrival, bytes) in batch.iter() {
                    assert!(!arrival.is_truncated);
                    seen.push((bytes[0], bytes.len()));
                    departures.push(bytes, arrival.peer.clone(), None);
                }
            }
            seen.len() == 21
        });
        let wanted: Vec<_> = (0..21)
            .map(|it| (it, if it < 20 { 1000 } else { 500 }))
            .collect();
        assert_eq!(seen, wanted);
        let departed = rig.port.send_datagrams(socket, &mut departures);
        assert_eq!((departed.datagrams, departed.bytes), (21, 20_500));
        let mut bytes = vec![0; LIMIT];
        let mut pieces = Vec::new();
        rig.pump("the answer", |_, _| {
            if let Ok(count) = client.recv(&mut bytes) {
                pieces.push(bytes[..count].to_vec());
            }
            pieces.iter().map(Vec::len).sum::<usize>() == sent.len()
        });
        assert_eq!(pieces, [sent]);
        close(&mut rig, socket);
    }
}

#[test]
fn a_coalesced_message_whose_datagrams_are_too_long_loses_each_of_them() {
    let mut rig = Rig::new(&Driver::named("epoll"));
    let (socket, address) = bound(&mut rig, [127, 0, 0, 1], &DatagramOptions::default());
    let Address::Inet(to) = address else {
        panic!("{address}")
    };
    let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    switch_on(&client, libc::UDP_SEGMENT, 1000);
    client.send_to(&[1; 2100], to).expect("sent");
    let mut seen = Vec::new();
    rig.pump("every datagram", |rig, completions| {
        for _ in completions {
            let mut batch = Arrivals::default();
            let received = rig.port.receive_datagrams(socket, &mut batch, 999);
            received.expect("a batch");
            seen.extend(
                batch
                    .iter()
                    .map(|(it, bytes)| (it.is_truncated, bytes.len())),
            );
        }
        seen.len() == 3
    });
    assert_eq!(seen, [(true, 999), (true, 999), (false, 100)]);
    close(&mut rig, socket);
}

#[test]
fn in_the_simulation_datagrams_are_lost_and_doubled_and_come_out_of_order() {
    let faults = Faults {
        datagram_loss_permille: 200,
        datagram_double_permille: 200,
        delay_permille: 500,
        delay_microseconds_max: 1_000,
        ..Faults::none()
    };
    let mut rig = Rig::new(&Driver::Simulated(3, faults));
    let (socket, address) = bound(&mut rig, [127, 0, 0, 1], &DatagramOptions::default());
    let client = Client::new(&rig);
    for number in 0..200_u8 {
        client.send(&address, &[number]);
    }
    let mut came = Vec::new();
    let world = rig.world.clone().expect("a world");
    rig.pump("quiet", |rig, completions| {
        for _ in completions {
            let mut batch = Arrivals::default();
            let received = rig.port.receive_datagrams(socket, &mut batch, LIMIT);
            received.expect("a batch");
            came.extend(batch.iter().map(|(_, bytes)| bytes[0]));
        }
        world.is_quiet() && completions.is_empty()
    });
    let mut sorted = came.clone();
    sorted.sort_unstable();
    let total = sorted.len();
    let mut kinds = sorted.clone();
    kinds.dedup();
    assert!(kinds.len() < 200, "none was lost");
    assert!(total > kinds.len(), "none was doubled");
    assert_ne!(came, sorted, "none was late");
    close(&mut rig, socket);
}
