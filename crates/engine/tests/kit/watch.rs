//! A port that keeps a book of what goes through it, in front of any driver.
//!
//! The simulation checks its caller by itself; this does the same for the kernel's drivers, and
//! counts what tests ask about.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use vespiary_engine::port::{
    Address, Completion, Counters, Delivery, Descriptor, Interest, Outcome, Outgoing, Port, Token,
    Unread, Wake,
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
}

impl Book {
    /// What is left of operations and descriptors, in words; empty when nothing is.
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
    fn name(&self) -> &'static str {
        self.port.name()
    }

    fn now(&self) -> u64 {
        self.port.now()
    }

    fn accept(&mut self, listener: Descriptor, token: Token) {
        self.begin(Operation::Accept, token);
        self.port.accept(listener, token);
    }

    fn cancel_accept(&mut self, token: Token) {
        self.port.cancel_accept(token);
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

    fn cancel_send(&mut self, token: Token) {
        self.port.cancel_send(token);
    }

    fn connect(&mut self, socket: Descriptor, token: Token, address: &Address) {
        self.begin(Operation::Connect, token);
        self.port.connect(socket, token, address);
    }

    fn cancel_connect(&mut self, token: Token) {
        self.port.cancel_connect(token);
    }

    fn poll(&mut self, descriptor: Descriptor, token: Token, interest: Interest) -> io::Result<()> {
        self.port.poll(descriptor, token, interest)
    }

    fn unpoll(&mut self, descriptor: Descriptor, token: Token) {
        self.port.unpoll(descriptor, token);
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

    fn keep_alive(&mut self, socket: Descriptor, silence: Duration) {
        self.port.keep_alive(socket, silence);
    }

    fn shutdown(&mut self, socket: Descriptor) {
        self.port.shutdown(socket);
    }

    fn close(&mut self, socket: Descriptor, reset: bool) {
        assert!(
            self.book.borrow_mut().open.remove(&socket),
            "{socket} is closed twice"
        );
        self.port.close(socket, reset);
    }

    fn local_address(&self, socket: Descriptor) -> io::Result<Address> {
        self.port.local_address(socket)
    }

    fn peer_address(&self, socket: Descriptor) -> io::Result<Address> {
        self.port.peer_address(socket)
    }

    fn delivery(&self, socket: Descriptor) -> Delivery {
        self.port.delivery(socket)
    }

    fn unread(&self, socket: Descriptor) -> Unread {
        self.port.unread(socket)
    }

    fn turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.port.turn(timeout)
    }

    fn descriptor(&self) -> io::Result<Descriptor> {
        self.port.descriptor()
    }

    fn rest(&mut self) -> Option<Duration> {
        self.port.rest()
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
            Outcome::Received(_) | Outcome::Ready(_) => {}
        }
        Some(completion)
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.port.waker()
    }

    fn counters(&self) -> Counters {
        self.port.counters()
    }
}
