//! A port of any driver, and clients that talk to it: over the kernel's sockets or in the
//! simulation.

#![allow(dead_code, clippy::missing_panics_doc)] // Each test file uses its part; tests may panic.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use vespiary_port::driver::{self, Options, Preference};
use vespiary_port::sim::{Closed, Faults, Peer, Sim, World};
use vespiary_port::{Address, Completion, Descriptor, Errno, Outcome, Outgoing, Port, Token};

/// How long a test waits for something before it says that it did not come.
const PATIENCE: Duration = Duration::from_secs(10);
const SIMULATED_TURNS_MAX: usize = 100_000;

/// A port under test.
pub struct Rig {
    /// The port.
    pub port: Box<dyn Port>,
    /// The world of a simulated port.
    pub world: Option<World>,
}

/// A driver, and what it may use.
#[derive(Clone, Debug)]
pub enum Driver {
    /// One of the kernel's.
    Kernel(Preference, Options),
    /// The simulation.
    Simulated(u64, Faults),
}

impl Driver {
    /// The usual three.
    pub fn named(name: &str) -> Self {
        match name {
            "sim" => Self::Simulated(1, Faults::none()),
            name => Self::Kernel(name.parse().expect("a driver"), Options::default()),
        }
    }

    /// The same with few receive buffers.
    pub fn with_buffers(self, buffers: u16) -> Self {
        match self {
            Self::Kernel(preference, options) => Self::Kernel(
                preference,
                Options {
                    buffers,
                    epoll_buffers: buffers,
                    ..options
                },
            ),
            Self::Simulated(seed, faults) => Self::Simulated(seed, Faults { buffers, ..faults }),
        }
    }
}

impl Rig {
    /// A port of this driver.
    pub fn new(driver: &Driver) -> Self {
        match driver {
            Driver::Kernel(preference, options) => {
                let (port, _) = driver::open(Some(*preference), options).expect("the driver");
                Self { port, world: None }
            }
            Driver::Simulated(seed, faults) => {
                let sim = Sim::new(*seed, faults.clone());
                let world = Some(sim.world());
                Self {
                    port: Box::new(sim),
                    world,
                }
            }
        }
    }

    /// A listening socket on the loopback, and its address.
    pub fn listen(&mut self) -> (Descriptor, Address) {
        let any = Address::Inet(([127, 0, 0, 1], 0).into());
        let listener = self.port.listen(&any, 4096, false).expect("a listener");
        let address = self.port.local_address(listener).expect("an address");
        (listener, address)
    }

    /// One turn of at most 10 ms, and its completions.
    pub fn step(&mut self) -> Vec<Completion> {
        self.port
            .turn(Some(Duration::from_millis(10)))
            .expect("a turn");
        std::iter::from_fn(|| self.port.next()).collect()
    }

    /// Take turns until `look` has found in a completion what it wants.
    pub fn until<R>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&mut Self, Completion) -> Option<R>,
    ) -> R {
        let start = Instant::now();
        let mut turns = 0;
        loop {
            self.port
                .turn(Some(Duration::from_millis(10)))
                .expect("a turn");
            while let Some(completion) = self.port.next() {
                if let Some(found) = look(self, completion) {
                    return found;
                }
            }
            turns += 1;
            let is_over = match self.world {
                Some(_) => turns > SIMULATED_TURNS_MAX,
                None => start.elapsed() > PATIENCE,
            };
            assert!(!is_over, "{what} did not come");
        }
    }

    /// Take turns until `done` says so.
    pub fn pump(&mut self, what: &str, mut done: impl FnMut(&mut Self, &[Completion]) -> bool) {
        let start = Instant::now();
        let mut turns = 0;
        loop {
            let completions = self.step();
            if done(self, &completions) {
                return;
            }
            turns += 1;
            let is_over = match self.world {
                Some(_) => turns > SIMULATED_TURNS_MAX,
                None => start.elapsed() > PATIENCE,
            };
            assert!(!is_over, "{what} did not come");
        }
    }

    /// As [`Rig::pump`], but `done` takes the completions.
    pub fn pump_owned(
        &mut self,
        what: &str,
        mut done: impl FnMut(&mut Self, Vec<Completion>) -> bool,
    ) {
        let start = Instant::now();
        loop {
            let completions = self.step();
            if done(self, completions) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{what} did not come");
        }
    }

    /// Send all of `outgoing`, continuing after short sends, until `done` says so after a turn;
    /// what was sent, given back. Nothing else may complete.
    pub fn send_while(
        &mut self,
        socket: Descriptor,
        token: Token,
        outgoing: Outgoing,
        mut done: impl FnMut() -> bool,
    ) -> Outgoing {
        let mut back = None;
        self.port.send(socket, token, outgoing);
        self.pump_owned("the last byte", |rig, completions| {
            for completion in completions {
                let Outcome::Sent(Ok(count), mut outgoing) = completion.outcome else {
                    panic!("{completion:?}");
                };
                assert!(count > 0 && completion.token == token);
                outgoing.advance(count);
                if outgoing.is_done() {
                    back = Some(outgoing);
                } else {
                    rig.port.send(socket, token, outgoing);
                }
            }
            done() && back.is_some()
        });
        back.expect("a completion")
    }

    /// Send all of `outgoing` under `token` while `client` reads: what it read, and what was sent,
    /// given back.
    pub fn exchange(
        &mut self,
        socket: Descriptor,
        token: Token,
        client: &mut Client,
        outgoing: Outgoing,
    ) -> (Vec<u8>, Outgoing) {
        let total = outgoing.remaining();
        let mut read = Vec::new();
        let mut turns = 0;
        let back = self.send_while(socket, token, outgoing, || {
            turns += 1;
            if turns > 3 {
                client.stall(false);
                assert_eq!(client.read(&mut read), None);
            }
            read.len() == total
        });
        (read, back)
    }

    /// Take turns until the one receive that is outstanding ends; how it ended.
    pub fn receive_to_the_end(&mut self, received: &mut Vec<u8>) -> Option<Errno> {
        self.until("the end", |_, completion| match completion.outcome {
            Outcome::Received(lease) => {
                received.extend_from_slice(&lease);
                None
            }
            Outcome::ReceiveEnded(ended) => Some(ended),
            other => panic!("{other:?}"),
        })
    }

    /// Take turns for a while in which nothing may complete.
    pub fn expect_nothing(&mut self) {
        for _ in 0..5 {
            let completions = self.step();
            assert!(completions.is_empty(), "unexpected: {completions:?}");
        }
    }

    /// A client connected to `address`.
    pub fn connect(&self, address: &Address) -> Client {
        if let Some(world) = &self.world {
            return Client::Simulated(world.connect(address).expect("a connection"));
        }
        match address {
            Address::Inet(address) => {
                let stream = TcpStream::connect(address).expect("a connection");
                stream.set_nonblocking(true).expect("a socket");
                Client::Tcp(stream)
            }
            Address::Unix(path) => Client::unix(UnixStream::connect(path)),
            Address::Abstract(name) => {
                let address = std::os::unix::net::SocketAddr::from_abstract_name(name);
                Client::unix(UnixStream::connect_addr(&address.expect("a name")))
            }
        }
    }

    /// A client, and the port's socket for it, accepted under `token`, on which an accept is
    /// outstanding.
    pub fn pair(&mut self, address: &Address, token: Token) -> (Client, Descriptor) {
        let client = self.connect(address);
        let socket = self.until("a connection", |_, completion| match completion.outcome {
            Outcome::Accepted(socket) if completion.token == token => Some(socket),
            _ => None,
        });
        (client, socket)
    }

    /// Cancel an accept, close the listener, and see that nothing is left.
    pub fn end(mut self, listener: Descriptor, token: Token) {
        self.port.cancel_accept(token);
        self.until("the end of accepting", |_, completion| {
            matches!(completion.outcome, Outcome::AcceptEnded(_)).then_some(())
        });
        self.port.close(listener, false);
        self.expect_nothing();
        if let Some(world) = &self.world {
            world.assert_no_leaks();
        }
    }
}

/// The far end of a connection.
pub enum Client {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
    /// In the simulation.
    Simulated(Peer),
}

impl Client {
    fn unix(stream: std::io::Result<UnixStream>) -> Self {
        let stream = stream.expect("a connection");
        stream.set_nonblocking(true).expect("a socket");
        Self::Unix(stream)
    }

    /// Write what fits now; how many bytes that was. The connection is whole.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        self.try_write(bytes).expect("an open connection")
    }

    /// Write what fits now; how many bytes that was, or `None` when the connection is broken.
    pub fn try_write(&mut self, bytes: &[u8]) -> Option<usize> {
        let result = match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
            Self::Simulated(peer) => return peer.write(bytes).ok(),
        };
        match result {
            Ok(count) => Some(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Some(0),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Err(error) => panic!("write: {error}"),
        }
    }

    /// Read what is there now into `bytes`; how the connection ended, if it has.
    pub fn read(&mut self, bytes: &mut Vec<u8>) -> Option<Closed> {
        let mut buffer = vec![0; 1 << 18];
        loop {
            let result = match self {
                Self::Tcp(stream) => stream.read(&mut buffer),
                Self::Unix(stream) => stream.read(&mut buffer),
                Self::Simulated(peer) => {
                    bytes.extend(peer.read());
                    return peer.closed();
                }
            };
            match result {
                Ok(0) => return Some(Closed::Finished),
                Ok(count) => bytes.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return Some(Closed::Reset);
                }
                Err(error) => panic!("read: {error}"),
            }
        }
    }

    /// Say that no more comes.
    pub fn finish(&mut self) {
        match self {
            Self::Tcp(stream) => stream
                .shutdown(Shutdown::Write)
                .expect("an open connection"),
            Self::Unix(stream) => stream
                .shutdown(Shutdown::Write)
                .expect("an open connection"),
            Self::Simulated(peer) => peer.finish(),
        }
    }

    /// Send RST and be gone.
    pub fn reset(self) {
        match self {
            Self::Tcp(stream) => {
                let linger = libc::linger {
                    l_onoff: 1,
                    l_linger: 0,
                };
                let length = size_of::<libc::linger>() as libc::socklen_t;
                let value = (&raw const linger).cast();
                // SAFETY: the pointer is to a linger of ours, and the length is its size.
                let result = unsafe {
                    libc::setsockopt(
                        stream.as_raw_fd(),
                        libc::SOL_SOCKET,
                        libc::SO_LINGER,
                        value,
                        length,
                    )
                };
                assert_eq!(result, 0);
            }
            Self::Unix(_) => panic!("a Unix socket sends no RST"),
            Self::Simulated(peer) => peer.reset(),
        }
    }

    /// Do not read from now on; over the kernel's sockets nobody reads who is not told to.
    pub fn stall(&self, stalled: bool) {
        if let Self::Simulated(peer) = self {
            peer.stall(stalled);
        }
    }
}

/// Makes a test for each driver of every function named.
#[macro_export]
macro_rules! contract {
    ($($test:ident),* $(,)?) => {
        mod uring { $(#[test] fn $test() { super::$test(&super::Driver::named("uring")); })* }
        mod epoll { $(#[test] fn $test() { super::$test(&super::Driver::named("epoll")); })* }
        mod sim { $(#[test] fn $test() { super::$test(&super::Driver::named("sim")); })* }
    };
}

/// `ECANCELED`, which ends most of these tests.
pub const CANCELED: Errno = Errno(libc::ECANCELED);

/// Bytes whose place in the stream can be known from their values.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|place| (place ^ (place >> 8) ^ (place >> 16)) as u8)
        .collect()
}

/// A directory that is removed when dropped.
pub struct Directory(PathBuf);

impl Directory {
    /// A fresh one.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("vespiary-port-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a directory");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
