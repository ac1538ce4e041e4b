//! The far end of a connection, the same over the kernel's sockets and in the simulation.

use super::Bench;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::IntoRawFd;
use std::os::unix::net::UnixStream;
use vespiary_engine::port::driver::Options;
use vespiary_engine::port::epoll::Epoll;
use vespiary_engine::port::{Address, Port, sim};

/// How a connection ended for a peer.
pub use vespiary_engine::port::sim::Closed as Ending;

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    Simulated(Simulated),
}

/// Closes when dropped, as the kernel's sockets do.
struct Simulated(sim::Peer);

impl Drop for Simulated {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// A peer. It does not block; what must be waited for turns the bench.
pub struct Peer {
    socket: Socket,
    /// Bytes that were read and not taken.
    pub input: Vec<u8>,
    /// How the connection ended, once that is known.
    pub ending: Option<Ending>,
}

impl Peer {
    fn new(socket: Socket) -> Self {
        Self {
            socket,
            input: Vec::new(),
            ending: None,
        }
    }

    /// Over TCP.
    pub fn tcp(stream: TcpStream) -> Self {
        stream.set_nonblocking(true).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        Self::new(Socket::Tcp(stream))
    }

    /// Over a Unix socket.
    pub fn unix(stream: UnixStream) -> Self {
        stream.set_nonblocking(true).expect("a socket");
        Self::new(Socket::Unix(stream))
    }

    /// In the simulation.
    pub fn simulated(peer: sim::Peer) -> Self {
        Self::new(Socket::Simulated(Simulated(peer)))
    }

    /// The address of a simulated peer, as the engine sees it.
    pub fn address(&self) -> Option<Address> {
        match &self.socket {
            Socket::Simulated(peer) => Some(peer.0.address()),
            _ => None,
        }
    }

    /// Write what fits now; how many bytes that was, `None` when the connection is gone.
    pub fn write(&mut self, bytes: &[u8]) -> Option<usize> {
        let result = match &mut self.socket {
            Socket::Tcp(stream) => stream.write(bytes),
            Socket::Unix(stream) => stream.write(bytes),
            Socket::Simulated(peer) => return peer.0.write(bytes).ok(),
        };
        match result {
            Ok(count) => Some(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Some(0),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
                ) =>
            {
                None
            }
            Err(error) => panic!("write: {error}"),
        }
    }

    /// Write all of `bytes`, turning the bench while there is no room.
    pub fn send(&mut self, bench: &Bench, bytes: &[u8]) {
        let mut rest = bytes;
        bench.until("room for what a peer sends", || {
            let written = self.write(rest).expect("the connection is there");
            rest = &rest[written..];
            rest.is_empty()
        });
    }

    /// Read what is there now.
    pub fn look(&mut self) {
        self.look_for(1 << 20);
    }

    /// Read what is there now, at most `most` bytes.
    pub fn look_for(&mut self, most: usize) {
        let mut buffer = vec![0; most.min(65_536)];
        let mut left = most;
        while self.ending.is_none() && left > 0 {
            let size = left.min(buffer.len());
            let result = match &mut self.socket {
                Socket::Tcp(stream) => stream.read(&mut buffer[..size]),
                Socket::Unix(stream) => stream.read(&mut buffer[..size]),
                Socket::Simulated(peer) => {
                    self.input.extend(peer.0.read());
                    self.ending = peer.0.closed();
                    return;
                }
            };
            match result {
                Ok(0) => self.ending = Some(Ending::Finished),
                Ok(count) => {
                    self.input.extend_from_slice(&buffer[..count]);
                    left -= count;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    self.ending = Some(Ending::Reset);
                }
                Err(error) => panic!("read: {error}"),
            }
        }
    }

    /// The next `count` bytes.
    pub fn take(&mut self, bench: &Bench, count: usize) -> Vec<u8> {
        bench.until("bytes for a peer", || {
            self.look();
            if self.input.len() < count {
                assert_eq!(self.ending, None, "ended after {:?}", self.input);
            }
            self.input.len() >= count
        });
        self.input.drain(..count).collect()
    }

    /// The bytes up to and with `mark`.
    pub fn take_until(&mut self, bench: &Bench, mark: &[u8]) -> Vec<u8> {
        let mut found = None;
        bench.until("a mark for a peer", || {
            self.look();
            found = self
                .input
                .windows(mark.len())
                .position(|window| window == mark);
            if found.is_none() {
                assert_eq!(self.ending, None, "ended after {:?}", self.input);
            }
            found.is_some()
        });
        let end = found.expect("until it is there") + mark.len();
        self.input.drain(..end).collect()
    }

    /// How the connection ends, and the bytes before that.
    pub fn take_rest(&mut self, bench: &Bench) -> (Vec<u8>, Ending) {
        bench.until("the end of a connection", || {
            self.look();
            self.ending.is_some()
        });
        (
            std::mem::take(&mut self.input),
            self.ending.expect("until it is there"),
        )
    }

    /// Whether nothing came and the connection stands.
    pub fn is_quiet(&mut self) -> bool {
        self.look();
        self.input.is_empty() && self.ending.is_none()
    }

    /// Say that no more comes.
    pub fn finish(&mut self) {
        let result = match &self.socket {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Write),
            Socket::Simulated(peer) => {
                peer.0.finish();
                Ok(())
            }
        };
        // A connection that the engine has reset is not connected any more.
        drop(result);
    }

    /// Send RST and be gone; a Unix socket has none, and is just gone.
    pub fn reset(self) {
        match self.socket {
            Socket::Tcp(stream) => {
                let mut port = Epoll::new(&Options::default()).expect("epoll");
                port.close(stream.into_raw_fd(), true);
            }
            Socket::Unix(_) => {}
            Socket::Simulated(peer) => peer.0.reset(),
        }
    }

    /// Do not read from now on, or read again. Over the kernel's sockets nobody reads who is not
    /// told to.
    pub fn stall(&self, stalled: bool) {
        if let Socket::Simulated(peer) = &self.socket {
            peer.0.stall(stalled);
        }
    }

    /// Be gone without a word: nothing is acknowledged any more. In the simulation only.
    pub fn vanish(&self) {
        let Socket::Simulated(peer) = &self.socket else {
            panic!("the cable of a kernel's socket cannot be pulled");
        };
        peer.0.vanish();
    }

    /// Read `count` bytes at the most and no more, although stalled.
    pub fn sip(&mut self, count: usize) {
        match &self.socket {
            Socket::Simulated(peer) => self.input.extend(peer.0.sip(count)),
            _ => self.look_for(count),
        }
    }
}
