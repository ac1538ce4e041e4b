//! A port that sends in pieces of a few bytes, one system call each: what it would cost if the
//! engine did not gather the messages of a batch.

use std::collections::HashMap;
use std::time::Duration;

use vespiary_engine::port::{Address, Completion, Counters, Descriptor, Interest, Outcome};
use vespiary_engine::port::{Outgoing, Port, Token, Wake};

/// What a masked echo of 32 bytes comes back as on WebSocket: two bytes of head, and the payload.
const MESSAGE_BYTES: usize = 34;

/// Delegates everything and cuts what is sent.
pub(crate) struct Pieces {
    inner: Box<dyn Port>,
    piece_bytes: usize,
    whole: HashMap<Token, Outgoing>,
}

impl Pieces {
    /// Pieces of `piece_bytes`, or of one small message when that is zero.
    pub(crate) fn new(inner: Box<dyn Port>, piece_bytes: usize) -> Self {
        let piece_bytes = if piece_bytes == 0 {
            MESSAGE_BYTES
        } else {
            piece_bytes
        };
        Self {
            inner,
            piece_bytes,
            whole: HashMap::new(),
        }
    }
}

/// The operations that a wrapper of a port leaves alone.
macro_rules! delegate {
    () => {
        fn name(&self) -> &'static str {
            self.inner.name()
        }

        fn now(&self) -> u64 {
            self.inner.now()
        }

        fn accept(&mut self, listener: Descriptor, token: Token) {
            self.inner.accept(listener, token);
        }

        fn cancel_accept(&mut self, token: Token) {
            self.inner.cancel_accept(token);
        }

        fn receive(&mut self, socket: Descriptor, token: Token) {
            self.inner.receive(socket, token);
        }

        fn cancel_receive(&mut self, token: Token) {
            self.inner.cancel_receive(token);
        }

        fn cancel_send(&mut self, token: Token) {
            self.inner.cancel_send(token);
        }

        fn connect(&mut self, socket: Descriptor, token: Token, address: &Address) {
            self.inner.connect(socket, token, address);
        }

        fn cancel_connect(&mut self, token: Token) {
            self.inner.cancel_connect(token);
        }

        fn poll(
            &mut self,
            descriptor: Descriptor,
            token: Token,
            interest: Interest,
        ) -> std::io::Result<()> {
            self.inner.poll(descriptor, token, interest)
        }

        fn unpoll(&mut self, descriptor: Descriptor, token: Token) {
            self.inner.unpoll(descriptor, token);
        }

        fn open(
            &mut self,
            address: &Address,
            source: Option<&Address>,
        ) -> std::io::Result<Descriptor> {
            self.inner.open(address, source)
        }

        fn listen(
            &mut self,
            address: &Address,
            backlog: u32,
            reuse_port: bool,
        ) -> std::io::Result<Descriptor> {
            self.inner.listen(address, backlog, reuse_port)
        }

        fn adopt(&mut self, listener: Descriptor) -> std::io::Result<()> {
            self.inner.adopt(listener)
        }

        fn descriptor(&self) -> std::io::Result<Descriptor> {
            self.inner.descriptor()
        }

        fn rest(&mut self) -> Option<std::time::Duration> {
            self.inner.rest()
        }

        fn keep_alive(&mut self, socket: Descriptor, silence: std::time::Duration) {
            self.inner.keep_alive(socket, silence);
        }

        fn shutdown(&mut self, socket: Descriptor) {
            self.inner.shutdown(socket);
        }

        fn close(&mut self, socket: Descriptor, reset: bool) {
            self.inner.close(socket, reset);
        }

        fn local_address(&self, socket: Descriptor) -> std::io::Result<Address> {
            self.inner.local_address(socket)
        }

        fn peer_address(&self, socket: Descriptor) -> std::io::Result<Address> {
            self.inner.peer_address(socket)
        }

        fn delivery(&self, socket: Descriptor) -> vespiary_engine::port::Delivery {
            self.inner.delivery(socket)
        }

        fn unread(&self, socket: Descriptor) -> vespiary_engine::port::Unread {
            self.inner.unread(socket)
        }

        fn waker(&self) -> std::sync::Arc<dyn Wake> {
            self.inner.waker()
        }

        fn counters(&self) -> Counters {
            self.inner.counters()
        }
    };
}
pub(crate) use delegate;

impl Port for Pieces {
    delegate!();

    fn send(&mut self, socket: Descriptor, token: Token, outgoing: Outgoing) {
        if outgoing.remaining() <= self.piece_bytes {
            self.inner.send(socket, token, outgoing);
            return;
        }
        let first = outgoing.first();
        let piece = first[..first.len().min(self.piece_bytes)].to_vec();
        self.whole.insert(token, outgoing);
        self.inner.send(socket, token, Outgoing::one(piece));
    }

    fn turn(&mut self, timeout: Option<Duration>) -> std::io::Result<()> {
        self.inner.turn(timeout)
    }

    /// A piece that went is reported as a short send of the whole, which the engine continues.
    fn next(&mut self) -> Option<Completion> {
        let Completion { token, outcome } = self.inner.next()?;
        let outcome = match outcome {
            Outcome::Sent(result, piece) => {
                Outcome::Sent(result, self.whole.remove(&token).unwrap_or(piece))
            }
            other => other,
        };
        Some(Completion { token, outcome })
    }
}
