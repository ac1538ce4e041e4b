//! One listening socket of several processes: each of them gets some of the connections.

mod rig;

use std::net::TcpListener;
use std::os::fd::IntoRawFd;

use rig::{Driver, Rig};
use vespiary_port::driver::{Options, Preference};
use vespiary_port::{Address, Descriptor, Outcome, Token};

const LISTENER: Token = Token(1);

/// Ports on one listening socket that was made elsewhere, as those of several processes are.
fn sharing(driver: Preference) -> (Vec<(Rig, Descriptor)>, Address) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = Address::Inet(listener.local_addr().expect("an address"));
    let ports = (0..3).map(|_| {
        let mut rig = Rig::new(&Driver::Kernel(driver, Options::default()));
        let own = listener.try_clone().expect("a descriptor").into_raw_fd();
        rig.port.adopt(own).expect("a listener");
        rig.port.accept(own, LISTENER);
        rig.expect_nothing();
        (rig, own)
    });
    (ports.collect(), address)
}

/// One turn of each port; how many connections each has taken.
fn take(ports: &mut [(Rig, Descriptor)], taken: &mut [usize; 3]) {
    for ((rig, _), taken) in ports.iter_mut().zip(taken) {
        for completion in rig.step() {
            if let Outcome::Accepted(socket) = completion.outcome {
                rig.port.close(socket, false);
                *taken += 1;
            }
        }
    }
}

#[test]
fn connections_of_a_shared_listener_are_shared_out() {
    // The first waiter of the ring's kernel is woken; epoll's are all woken, and the first of them
    // to come takes one.
    for (driver, at_once) in [(Preference::Uring, 1), (Preference::Epoll, 12)] {
        let (mut ports, address) = sharing(driver);
        let mut taken = [0; 3];
        let mut clients = Vec::new();
        for _ in 0..12 / at_once {
            clients.extend((0..at_once).map(|_| ports[0].0.connect(&address)));
            let wanted = clients.len();
            let mut turns = 0;
            while taken.iter().sum::<usize>() < wanted {
                take(&mut ports, &mut taken);
                turns += 1;
                assert!(turns < 1000, "{driver:?}: {taken:?} of {wanted}");
            }
            // All of them wait again.
            take(&mut ports, &mut taken);
        }
        let least = taken.iter().min().expect("three");
        assert!(*least >= 2, "{driver:?}: {taken:?}");
        for (rig, listener) in ports {
            rig.end(listener, LISTENER);
        }
    }
}
