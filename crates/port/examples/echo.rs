//! The least TCP echo server on the bare port: what a driver costs by itself.
//!
//! `echo DRIVER PORT [buffers=N] [buffer_bytes=N] [epoll_buffer_bytes=N] [spin=MICROSECONDS] ...`
//!
//! Output is gathered: all bytes of a batch that belong to one connection go in one send at its
//! end. It ends when its standard input does, and then prints its counters and the processor time
//! it took.

use std::collections::HashMap;
use std::error::Error;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use vespiary_port::driver::{self, Options, Preference};
use vespiary_port::{Address, Completion, Descriptor, Errno, Outcome, Outgoing, Port, Token};

const LISTENER: Token = Token(0);
/// A connection whose output waits for more than this is not read from.
const WAITING_BYTES_MAX: usize = 1 << 20;
/// Output is sent before the end of the batch when this much waits.
const FLUSH_BYTES: usize = 1 << 16;

#[derive(Default)]
#[allow(clippy::struct_excessive_bools)] // Each is a fact of its own.
struct Connection {
    waiting: Vec<u8>,
    is_sending: bool,
    is_dirty: bool,
    is_paused: bool,
    has_ended: bool,
}

struct Echo {
    port: Box<dyn Port>,
    connections: HashMap<Descriptor, Connection>,
    /// Buffers to use again, the warmest last.
    spare: Vec<Vec<u8>>,
    dirty: Vec<Descriptor>,
    listener: Descriptor,
}

impl Echo {
    fn token(socket: Descriptor) -> Token {
        Token(socket as u64)
    }

    fn flush(&mut self, socket: Descriptor) {
        let Some(connection) = self.connections.get_mut(&socket) else {
            return;
        };
        connection.is_dirty = false;
        if connection.is_sending || connection.waiting.is_empty() {
            return self.settle(socket);
        }
        connection.is_sending = true;
        let bytes = std::mem::take(&mut connection.waiting);
        self.port
            .send(socket, Self::token(socket), Outgoing::one(bytes));
    }

    /// Close a connection that is over.
    fn settle(&mut self, socket: Descriptor) {
        let connection = &self.connections[&socket];
        if connection.has_ended && !connection.is_sending && connection.waiting.is_empty() {
            self.connections.remove(&socket);
            self.port.close(socket, false);
        }
    }

    fn act(&mut self, completion: Completion) {
        let socket = completion.token.0 as Descriptor;
        match completion.outcome {
            Outcome::Accepted(socket) => {
                self.connections.insert(socket, Connection::default());
                self.port.receive(socket, Self::token(socket));
            }
            Outcome::AcceptEnded(_) => self.port.accept(self.listener, LISTENER),
            Outcome::Received(lease) => {
                let connection = self.connections.get_mut(&socket).expect("a connection");
                if connection.waiting.capacity() == 0 {
                    connection.waiting = self.spare.pop().unwrap_or_default();
                }
                connection.waiting.extend_from_slice(&lease);
                drop(lease);
                if connection.waiting.len() > WAITING_BYTES_MAX && !connection.is_paused {
                    connection.is_paused = true;
                    self.port.cancel_receive(completion.token);
                } else if connection.waiting.len() >= FLUSH_BYTES {
                    self.flush(socket);
                } else if !connection.is_dirty {
                    connection.is_dirty = true;
                    self.dirty.push(socket);
                }
            }
            Outcome::ReceiveEnded(Some(Errno(libc::ENOBUFS))) => {
                self.port.receive(socket, completion.token);
            }
            Outcome::ReceiveEnded(Some(Errno(libc::ECANCELED))) => (),
            Outcome::ReceiveEnded(_) => {
                self.connections
                    .get_mut(&socket)
                    .expect("a connection")
                    .has_ended = true;
                self.settle(socket);
            }
            Outcome::Sent(result, outgoing) => self.sent(socket, result, outgoing),
            Outcome::Connected(_) | Outcome::SentInPart(_) | Outcome::Ready(_) => {
                unreachable!("not asked for")
            }
        }
    }

    fn sent(&mut self, socket: Descriptor, result: Result<usize, Errno>, mut outgoing: Outgoing) {
        let connection = self.connections.get_mut(&socket).expect("a connection");
        match result {
            Ok(count) => outgoing.advance(count),
            Err(_) => outgoing = Outgoing::one(Vec::new()),
        }
        if !outgoing.is_done() {
            return self.port.send(socket, Self::token(socket), outgoing);
        }
        connection.is_sending = false;
        let mut bytes = outgoing.into_single().expect("one buffer");
        bytes.clear();
        self.spare.push(bytes);
        if connection.is_paused {
            connection.is_paused = false;
            self.port.receive(socket, Self::token(socket));
        }
        self.flush(socket);
    }

    fn run(&mut self, stop: &AtomicBool) -> std::io::Result<()> {
        while !stop.load(Ordering::Acquire) {
            self.port.turn(None)?;
            loop {
                while let Some(completion) = self.port.next() {
                    self.act(completion);
                }
                if self.dirty.is_empty() {
                    break;
                }
                for socket in std::mem::take(&mut self.dirty) {
                    self.flush(socket);
                }
            }
        }
        Ok(())
    }
}

fn options(arguments: impl Iterator<Item = String>) -> Result<Options, Box<dyn Error>> {
    let mut options = Options::default();
    for argument in arguments {
        let (name, value) = argument.split_once('=').ok_or("NAME=VALUE")?;
        match name {
            "buffers" => options.buffers = value.parse()?,
            "buffer_bytes" => options.buffer_bytes = value.parse()?,
            "epoll_buffers" => options.epoll_buffers = value.parse()?,
            "epoll_buffer_bytes" => options.epoll_buffer_bytes = value.parse()?,
            "events" => options.events_a_turn = value.parse()?,
            "spin" => options.spin_microseconds = value.parse()?,
            _ => return Err(format!("no option {name}").into()),
        }
    }
    Ok(options)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let driver: Preference = arguments.next().ok_or("which driver?")?.parse()?;
    let number: u16 = arguments.next().ok_or("which port?")?.parse()?;
    let (mut port, sentence) = driver::open(Some(driver), &options(arguments)?)?;
    let listener = port.listen(&Address::Inet(([127, 0, 0, 1], number).into()), 4096, true)?;
    port.accept(listener, LISTENER);
    println!("{sentence}");
    let stop = Arc::new(AtomicBool::new(false));
    let (waker, stopping) = (port.waker(), Arc::clone(&stop));
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        stopping.store(true, Ordering::Release);
        waker.wake();
    });
    let mut echo = Echo {
        port,
        connections: HashMap::new(),
        spare: Vec::new(),
        dirty: Vec::new(),
        listener,
    };
    echo.run(&stop)?;
    println!("{:?}", echo.port.counters());
    // SAFETY: all zero bytes are a valid rusage, and getrusage writes to nothing else.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let show = |time: libc::timeval| format!("{}.{:06} s", time.tv_sec, time.tv_usec);
    println!(
        "user {}, system {}",
        show(usage.ru_utime),
        show(usage.ru_stime)
    );
    Ok(())
}
