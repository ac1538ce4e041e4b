//! Foreign descriptors, wake-ups and signals, on every driver where they exist.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::rig::{Driver, Rig};
use vespiary_port::driver::Preference;
use vespiary_port::sim::World;
use vespiary_port::{Completion, Interest, Outcome, Token};

const WATCH: Token = Token(7);
const OTHER: Token = Token(8);
const READ: Interest = Interest {
    read: true,
    write: false,
};
const WRITE: Interest = Interest {
    read: false,
    write: true,
};
const BOTH: Interest = Interest {
    read: true,
    write: true,
};
const NEITHER: Interest = Interest {
    read: false,
    write: false,
};

contract!(
    a_ready_descriptor_is_reported_once_per_turn_for_as_long_as_it_is_ready,
    polling_again_replaces_the_interest,
    nothing_is_reported_after_unpoll_even_of_the_current_batch,
    a_wake_from_another_thread_ends_a_turn,
);

/// A descriptor that can be made ready.
enum Foreign {
    Kernel(UnixStream, UnixStream),
    Simulated(World, RawFd),
}

impl Foreign {
    fn new(rig: &Rig) -> Self {
        if let Some(world) = &rig.world {
            let foreign = world.foreign();
            world.set_ready(foreign, WRITE);
            return Self::Simulated(world.clone(), foreign);
        }
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        Self::Kernel(ours, theirs)
    }

    fn descriptor(&self) -> RawFd {
        match self {
            Self::Kernel(ours, _) => ours.as_raw_fd(),
            Self::Simulated(_, foreign) => *foreign,
        }
    }

    fn make_readable(&mut self) {
        match self {
            Self::Kernel(_, theirs) => theirs.write_all(b"!").expect("room"),
            Self::Simulated(world, foreign) => world.set_ready(*foreign, BOTH),
        }
    }

    fn make_unreadable(&mut self) {
        match self {
            Self::Kernel(ours, _) => ours.read_exact(&mut [0]).expect("a byte"),
            Self::Simulated(world, foreign) => world.set_ready(*foreign, WRITE),
        }
    }
}

fn ready(completions: &[Completion]) -> Vec<(Token, Interest)> {
    let told = completions
        .iter()
        .map(|completion| match completion.outcome {
            Outcome::Ready(interest) => (completion.token, interest),
            ref other => panic!("{other:?}"),
        });
    told.collect()
}

fn a_ready_descriptor_is_reported_once_per_turn_for_as_long_as_it_is_ready(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let mut foreign = Foreign::new(&rig);
    rig.port
        .poll(foreign.descriptor(), WATCH, READ)
        .expect("it can be polled");
    rig.expect_nothing();
    for _ in 0..3 {
        foreign.make_readable();
        for _ in 0..3 {
            assert_eq!(ready(&rig.step()), [(WATCH, READ)]);
        }
        foreign.make_unreadable();
        // A report may already be on its way.
        rig.step();
        rig.expect_nothing();
    }
    rig.port.unpoll(foreign.descriptor(), WATCH);
}

fn polling_again_replaces_the_interest(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let mut foreign = Foreign::new(&rig);
    foreign.make_readable();
    let descriptor = foreign.descriptor();
    for (interest, token) in [(READ, WATCH), (WRITE, WATCH), (BOTH, OTHER), (READ, WATCH)] {
        rig.port
            .poll(descriptor, token, interest)
            .expect("it can be polled");
        assert_eq!(ready(&rig.step()), [(token, interest)]);
    }
    rig.port
        .poll(descriptor, WATCH, NEITHER)
        .expect("it can be polled");
    rig.expect_nothing();
    rig.port
        .poll(descriptor, OTHER, WRITE)
        .expect("it can be polled");
    rig.port.unpoll(descriptor, WATCH);
    assert_eq!(ready(&rig.step()), [(OTHER, WRITE)]);
    rig.port.unpoll(descriptor, OTHER);
    rig.expect_nothing();
}

fn nothing_is_reported_after_unpoll_even_of_the_current_batch(driver: &Driver) {
    let mut rig = Rig::new(driver);
    let mut all = [Foreign::new(&rig), Foreign::new(&rig), Foreign::new(&rig)];
    for (number, foreign) in all.iter_mut().enumerate() {
        foreign.make_readable();
        rig.port
            .poll(foreign.descriptor(), Token(number as u64), READ)
            .expect("it can be polled");
    }
    rig.port.turn(None).expect("a turn");
    let first = rig.port.next().expect("three are ready");
    for (number, foreign) in all.iter().enumerate() {
        rig.port.unpoll(foreign.descriptor(), Token(number as u64));
    }
    assert_eq!(ready(&[first]).len(), 1);
    assert!(rig.port.next().is_none());
    rig.expect_nothing();
}

fn a_wake_from_another_thread_ends_a_turn(driver: &Driver) {
    let mut rig = Rig::new(driver);
    rig.step();
    for _ in 0..20 {
        let waker = rig.port.waker();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(2));
            waker.wake();
        });
        if rig.world.is_some() {
            // The simulation does not wait for the world outside.
            thread.join().expect("woken");
            rig.port.turn(None).expect("a turn");
        } else {
            rig.port.turn(None).expect("a turn");
            thread.join().expect("woken");
        }
        assert!(rig.port.next().is_none());
    }
}

const KERNEL: [Preference; 2] = [Preference::Uring, Preference::Epoll];

fn kernel_rigs() -> impl Iterator<Item = Rig> {
    KERNEL.into_iter().map(|preference| {
        Rig::new(&Driver::Kernel(
            preference,
            vespiary_port::driver::Options::default(),
        ))
    })
}

#[test]
fn what_cannot_be_polled_is_refused() {
    for mut rig in kernel_rigs() {
        let file = std::fs::File::open("/proc/self/exe").expect("this program");
        let (closed, _) = UnixStream::pair().expect("a pair");
        let number = duplicate_far_away(&closed);
        // SAFETY: the number is the duplicate's, which nobody else uses.
        unsafe { libc::close(number) };
        for (descriptor, errno) in [(file.as_raw_fd(), libc::EPERM), (number, libc::EBADF)] {
            for interest in [READ, WRITE, BOTH] {
                let refused = rig.port.poll(descriptor, WATCH, interest);
                assert_eq!(refused.expect_err("refused").raw_os_error(), Some(errno));
                rig.expect_nothing();
            }
            rig.port.unpoll(descriptor, WATCH);
        }
    }
}

#[test]
fn a_watch_for_writing_is_quiet_while_the_socket_is_full_though_the_peer_has_finished_sending() {
    for mut rig in kernel_rigs() {
        let (mut ours, theirs) = UnixStream::pair().expect("a pair");
        ours.set_nonblocking(true).expect("a socket");
        while ours.write(&[0; 8192]).is_ok() {}
        theirs
            .shutdown(std::net::Shutdown::Write)
            .expect("a socket");
        rig.port
            .poll(ours.as_raw_fd(), WATCH, WRITE)
            .expect("it can be polled");
        rig.expect_nothing();
        rig.port.unpoll(ours.as_raw_fd(), WATCH);
    }
}

#[test]
fn closing_a_watched_socket_ends_it_at_once_and_gives_its_address_back() {
    for mut rig in kernel_rigs() {
        for unwatches in [true, false] {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = listener.local_addr().expect("bound");
            rig.port
                .poll(listener.as_raw_fd(), WATCH, READ)
                .expect("it can be polled");
            let (ours, mut theirs) = UnixStream::pair().expect("a pair");
            rig.port
                .poll(ours.as_raw_fd(), OTHER, READ)
                .expect("it can be polled");
            rig.expect_nothing();
            if unwatches {
                rig.port.unpoll(listener.as_raw_fd(), WATCH);
                rig.port.unpoll(ours.as_raw_fd(), OTHER);
            }
            drop((listener, ours));
            assert_eq!(theirs.read(&mut [0]).expect("the end"), 0);
            drop(TcpListener::bind(address).expect("the address is free"));
            rig.expect_nothing();
        }
    }
}

#[test]
fn a_hang_up_is_reported_as_the_readiness_that_was_asked_for() {
    for mut rig in kernel_rigs() {
        for interest in [READ, WRITE, BOTH] {
            let (ours, theirs) = UnixStream::pair().expect("a pair");
            drop(theirs);
            rig.port
                .poll(ours.as_raw_fd(), WATCH, interest)
                .expect("it can be polled");
            assert_eq!(ready(&rig.step()), [(WATCH, interest)]);
            rig.port.unpoll(ours.as_raw_fd(), WATCH);
        }
        rig.expect_nothing();
    }
}

/// A duplicate with a number that no other test comes to.
fn duplicate_far_away(stream: &UnixStream) -> RawFd {
    // SAFETY: no pointers.
    let number = unsafe { libc::fcntl(stream.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 900) };
    assert!(number >= 900);
    number
}

#[test]
fn a_descriptor_closed_behind_the_ports_back_can_be_watched_again_under_its_number() {
    for mut rig in kernel_rigs() {
        let (ours, _theirs) = UnixStream::pair().expect("a pair");
        let number = duplicate_far_away(&ours);
        rig.port
            .poll(number, WATCH, READ)
            .expect("it can be polled");
        rig.expect_nothing();
        // SAFETY: the number is the duplicate's, which nobody else uses.
        unsafe { libc::close(number) };
        let (again, mut writer) = UnixStream::pair().expect("a pair");
        assert_eq!(
            duplicate_far_away(&again),
            number,
            "the kernel gives the lowest number"
        );
        writer.write_all(b"!").expect("room");
        rig.port
            .poll(number, OTHER, READ)
            .expect("it can be polled");
        assert_eq!(ready(&rig.step()), [(OTHER, READ)]);
        rig.port.unpoll(number, OTHER);
        rig.expect_nothing();
        // SAFETY: as above.
        unsafe { libc::close(number) };
    }
}

extern "C" fn ignore(_: i32) {}

#[test]
fn a_signal_ends_a_turn_without_an_error() {
    // SAFETY: the handler does nothing, which is safe at any time; no SA_RESTART, as Python has it.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = ignore as *const () as usize;
        assert_eq!(
            libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()),
            0
        );
    }
    for mut rig in kernel_rigs() {
        rig.step();
        // SAFETY: no pointers.
        let thread = unsafe { libc::pthread_self() };
        let sender = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            // SAFETY: the thread waits for this one, so it exists.
            assert_eq!(unsafe { libc::pthread_kill(thread, libc::SIGUSR1) }, 0);
        });
        let before = rig.port.now();
        rig.port.turn(Some(Duration::from_secs(8))).expect("a turn");
        assert!(rig.port.now() - before < 4_000_000_000);
        sender.join().expect("sent");
        assert!(rig.port.next().is_none());
    }
}
