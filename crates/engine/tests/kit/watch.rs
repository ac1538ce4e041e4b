//! A port that keeps a book of what goes through it, in front of any driver.
//!
//! The simulation checks its caller by itself; this does the same for the kernel's drivers, and
//! counts what tests ask about.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::rc::Rc;
use vespiary_engine::port::{
    Address, Completion, DatagramOptions, Descriptor, Outcome, Outgoing, Port, Token,
    forward_to_port,
};

/// The kind of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Accepting.
    Accept,
    /// Receiving.
    Receive,
    /// Sending.
    Send,
    /// Connecting.
    Connect,
}

/// What went through a port.
#[derive(Default)]
pub struct Book {
    /// Operations whose final completion has not come.
    pub outstanding: BTreeSet<(Operation, Token)>,
    /// Descriptors that the engine owns.
    pub open: BTreeSet<Descriptor>,
    /// Sends asked for on each token.
    pub sends: BTreeMap<Token, u64>,
    /// Receives that were cancelled.
    pub cancelled_receives: u64,
    /// Sends that gave bytes in several chunks.
    pub vectored_sends: u64,
    /// Time that has passed for the engine only, in nanoseconds.
    pub skipped: u64,
}

impl Book {
    /// The rest of operations and descriptors, in words; empty when nothing is.
    pub fn left(&self) -> String {
        let operations = self
            .outstanding
            .iter()
            .map(|it| format!("{it:?} is outstanding"));
        let open = self
            .open
            .iter()
            .map(|it| format!("descriptor {it} is open"));
        operations.chain(open).collect::<Vec<_>>().join("; ")
    }
}

/// A port that keeps a book.
pub struct Watched {
    port: Box<dyn Port>,
    book: Rc<RefCell<Book>>,
}

impl Watched {
    /// Watch `port`.
    pub fn new(port: Box<dyn Port>) -> (Self, Rc<RefCell<Book>>) {
        let book = Rc::new(RefCell::new(Book::default()));
        (
            Self {
                port,
                book: book.clone(),
            },
            book,
        )
    }

    fn begin(&self, operation: Operation, token: Token) {
        let is_new = self
            .book
            .borrow_mut()
            .outstanding
            .insert((operation, token));
        assert!(is_new, "a second {operation:?} on {token:?}");
    }

    fn end(&self, operation: Operation, token: Token) {
        let was_there = self
            .book
            .borrow_mut()
            .outstanding
            .remove(&(operation, token));
        assert!(was_there, "{operation:?} on {token:?} ended twice");
    }
}

impl Port for Watched {
    forward_to_port!(port:
        name cancel_accept cancel_send cancel_connect poll unpoll keep_alive
        adopt_datagrams watch_datagrams unwatch_datagrams receive_datagrams send_datagrams
        shutdown local_address peer_address delivery unread turn descriptor rest waker
        counters
    );

    fn now(&self) -> u64 {
        self.port.now() + self.book.borrow().skipped
    }

    fn accept(&mut self, listener: Descriptor, token: Token) {
        self.begin(Operation::Accept, token);
        self.port.accept(listener, token);
    }

    fn receive(&mut self, socket: Descriptor, token: Token) {
        self.begin(Operation::Receive, token);
        self.port.receive(socket, token);
    }

    fn cancel_receive(&mut self, token: Token) {
        self.book.borrow_mut().cancelled_receives += 1;
        self.port.cancel_receive(token);
    }

    fn send(&mut self, socket: Descriptor, token: Token, outgoing: Outgoing) {
        self.begin(Operation::Send, token);
        let mut book = self.book.borrow_mut();
        *book.sends.entry(token).or_default() += 1;
        book.vectored_sends += u64::from(!outgoing.is_single());
        drop(book);
        self.port.send(socket, token, outgoing);
    }

    fn connect(&mut self, socket: Descriptor, token: Token, address: &Address) {
        self.begin(Operation::Connect, token);
        self.port.connect(socket, token, address);
    }

    fn open(&mut self, address: &Address, source: Option<&Address>) -> io::Result<Descriptor> {
        let descriptor = self.port.open(address, source)?;
        assert!(self.book.borrow_mut().open.insert(descriptor));
        Ok(descriptor)
    }

    fn listen(
        &mut self,
        address: &Address,
        backlog: u32,
        reuse_port: bool,
    ) -> io::Result<Descriptor> {
        let descriptor = self.port.listen(address, backlog, reuse_port)?;
        assert!(self.book.borrow_mut().open.insert(descriptor));
        Ok(descriptor)
    }

    fn adopt(&mut self, listener: Descriptor) -> io::Result<()> {
        self.port.adopt(listener)?;
        assert!(self.book.borrow_mut().open.insert(listener));
        Ok(())
    }

    fn bind(&mut self, address: &Address, options: &DatagramOptions) -> io::Result<Descriptor> {
        let descriptor = self.port.bind(address, options)?;
        assert!(self.book.borrow_mut().open.insert(descriptor));
        Ok(descriptor)
    }

    fn close(&mut self, socket: Descriptor, reset: bool) {
        assert!(
            self.book.borrow_mut().open.remove(&socket),
            "{socket} is closed twice"
        );
        self.port.close(socket, reset);
    }

    fn next(&mut self) -> Option<Completion> {
        let completion = self.port.next()?;
        let token = completion.token;
        match &completion.outcome {
            Outcome::Accepted(socket) => {
                assert!(
                    self.book.borrow_mut().open.insert(*socket),
                    "{socket} comes twice"
                );
            }
            Outcome::AcceptEnded(_) => self.end(Operation::Accept, token),
            Outcome::ReceiveEnded(_) => self.end(Operation::Receive, token),
            Outcome::Sent(..) => self.end(Operation::Send, token),
            Outcome::Connected(_) => self.end(Operation::Connect, token),
            Outcome::Received(_) | Outcome::SentInPart(_) | Outcome::Ready(_) => {}
        }
        Some(completion)
    }
}
