//! The contract, on a ring that is opened when it is first needed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::{Active, Uring};
use crate::socket::{self, monotonic};
use crate::{
    Address, Arrivals, Completion, Counters, DatagramOptions, Delivery, Departed, Departures,
    Descriptor, Errno, Interest, Outcome, Outgoing, Port, Token, Unread, Wake, datagrams,
};

impl Uring {
    /// The ring, opened if there is none yet.
    fn activate(&mut self) -> io::Result<&mut Active> {
        if let Some(active) = &self.active
            && !active.ring.is_here()
        {
            self.leave_ring()?;
        }
        if self.active.is_none() {
            let waker = Arc::clone(&self.waker);
            let mut active = Active::new(&self.options, waker, self.counters)?;
            self.watches.set_waker(None)?;
            active.now = self.now.max(active.now);
            active.watches = watched(&self.watches);
            self.active = Some(Box::new(active));
        }
        Ok(self.active())
    }

    /// The ring of an operation on a socket that was opened, or accepted, by it.
    #[inline]
    fn active(&mut self) -> &mut Active {
        self.active.as_deref_mut().expect("a socket was opened")
    }

    /// The ring belongs to another thread, which ran the loop before. Without anything outstanding
    /// a new one takes its place.
    fn leave_ring(&mut self) -> io::Result<()> {
        let active = self.active.take_if(|active| active.is_idle());
        let active = active.ok_or_else(|| io::Error::from_raw_os_error(libc::EEXIST))?;
        self.now = self.now.max(active.now);
        self.counters = active.counters();
        drop(active);
        self.watches.set_waker(Some(self.waker.descriptor()))
    }

    fn turn_without_ring(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.counters.turns += 1;
        self.counters.system_calls += 1;
        let timeout = if self.failed.is_empty() {
            timeout
        } else {
            Some(Duration::ZERO)
        };
        let result = self.watches.look(timeout);
        self.now = self.now.max(monotonic());
        if self.options.is_watched {
            self.waker.reset();
        } else {
            self.waker.clear();
        }
        result
    }
}

fn watched(watches: &crate::watches::Watches) -> Option<Descriptor> {
    (!watches.is_empty()).then(|| watches.descriptor())
}

impl Port for Uring {
    fn name(&self) -> &'static str {
        "uring"
    }

    fn now(&self) -> u64 {
        self.active.as_ref().map_or(self.now, |active| active.now)
    }

    fn accept(&mut self, listener: Descriptor, token: Token) {
        // The listener may have been opened by somebody else.
        let is_shared = self.shared.contains(listener);
        match self.activate() {
            Ok(active) => active.accept(listener, token, is_shared),
            Err(error) => self.failed.push_back(Completion {
                token,
                outcome: Outcome::AcceptEnded(socket::errno_of(&error)),
            }),
        }
    }

    fn cancel_accept(&mut self, token: Token) {
        self.active().cancel_accept(token);
    }

    fn receive(&mut self, socket: Descriptor, token: Token) {
        match self.activate() {
            Ok(active) => active.receive(socket, token),
            Err(error) => self.failed.push_back(Completion {
                token,
                outcome: Outcome::ReceiveEnded(Some(socket::errno_of(&error))),
            }),
        }
    }

    fn cancel_receive(&mut self, token: Token) {
        self.active().cancel_receive(token);
    }

    fn send(&mut self, socket: Descriptor, token: Token, outgoing: Outgoing) {
        self.active().send(socket, token, outgoing);
    }

    fn serves_foreign_streams(&mut self) -> bool {
        // A loop that watches the port wants to know of each readable socket itself.
        !self.options.is_watched && self.activate().is_ok()
    }

    fn send_once(&mut self, socket: Descriptor, token: Token, bytes: &[u8]) -> bool {
        let active = self.active.as_mut();
        active.is_some_and(|active| active.send_once(socket, token, bytes))
    }

    fn has_unsent(&self) -> bool {
        self.active.as_ref().is_some_and(|it| it.has_unsent())
    }

    fn submit(&mut self) {
        if let Some(active) = &mut self.active {
            active.submit();
        }
    }

    fn forget(&mut self, socket: Descriptor) {
        if let Some(active) = &mut self.active {
            active.forget(socket);
        }
    }

    fn stop(&mut self) {
        if let Some(active) = &mut self.active {
            active.ring.unregister();
        }
    }

    fn change_thread(&mut self) {
        let is_elsewhere = |active: &mut Box<Active>| !active.ring.is_here();
        if let Some(active) = self.active.take_if(is_elsewhere) {
            self.now = self.now.max(active.now);
            self.counters = active.counters();
            drop(active);
            // Without it wake-ups are seen late, as long as there is no ring.
            let _ = self.watches.set_waker(Some(self.waker.descriptor()));
        }
    }

    fn cancel_send(&mut self, token: Token) {
        self.active().cancel_send(token);
    }

    fn connect(&mut self, socket: Descriptor, token: Token, address: &Address) {
        self.active().connect(socket, token, address);
    }

    fn cancel_connect(&mut self, token: Token) {
        self.active().cancel_connect(token);
    }

    fn poll(&mut self, descriptor: Descriptor, token: Token, interest: Interest) -> io::Result<()> {
        self.watches.set(descriptor, token, interest)?;
        if let Some(active) = &mut self.active {
            active.watches = watched(&self.watches);
        }
        Ok(())
    }

    fn unpoll(&mut self, descriptor: Descriptor, token: Token) {
        self.watches.remove(descriptor, token);
        if let Some(active) = &mut self.active {
            active.watches = watched(&self.watches);
        }
    }

    fn open(&mut self, address: &Address, source: Option<&Address>) -> io::Result<Descriptor> {
        self.activate()?.open(address, source)
    }

    fn listen(
        &mut self,
        address: &Address,
        backlog: u32,
        reuse_port: bool,
    ) -> io::Result<Descriptor> {
        self.activate()?.listen(address, backlog, reuse_port)
    }

    fn adopt(&mut self, listener: Descriptor) -> io::Result<()> {
        self.activate()?;
        self.shared.adopt(listener)
    }

    fn bind(&mut self, address: &Address, options: &DatagramOptions) -> io::Result<Descriptor> {
        self.activate()?.files.bind(address, options)
    }

    fn adopt_datagrams(&mut self, socket: Descriptor, options: &DatagramOptions) -> io::Result<()> {
        let files = &mut self.activate()?.files;
        datagrams::adopt(socket, options)?;
        files.hold(socket);
        Ok(())
    }

    fn receive_datagrams(
        &mut self,
        socket: Descriptor,
        arrivals: &mut Arrivals,
        datagram_bytes_max: usize,
    ) -> Result<(), Errno> {
        let calls = &mut self.active().counters.system_calls;
        datagrams::receive(socket, arrivals, datagram_bytes_max, calls)
    }

    fn send_datagrams(&mut self, socket: Descriptor, departures: &mut Departures) -> Departed {
        datagrams::send(socket, departures, &mut self.active().counters.system_calls)
    }

    fn keep_alive(&mut self, socket: Descriptor, silence: Duration) {
        socket::keep_alive(socket, silence);
    }

    fn shutdown(&mut self, socket: Descriptor) {
        self.active().shutdown(socket);
    }

    fn close(&mut self, socket: Descriptor, reset: bool) {
        self.shared.forget(socket);
        self.active().close(socket, reset);
    }

    fn local_address(&self, socket: Descriptor) -> io::Result<Address> {
        socket::local_address(socket)
    }

    fn peer_address(&self, socket: Descriptor) -> io::Result<Address> {
        socket::peer_address(socket)
    }

    fn delivery(&self, socket: Descriptor) -> Delivery {
        socket::delivery(socket)
    }

    fn unread(&self, socket: Descriptor) -> Unread {
        let unread = socket::unread(socket);
        let has_overflow = self.active.as_ref().is_some_and(|it| it.has_overflow);
        Unread {
            bytes: unread.bytes.max(usize::from(has_overflow)),
            ..unread
        }
    }

    fn turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let Some(active) = &mut self.active else {
            return self.turn_without_ring(timeout);
        };
        match active.turn(timeout) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                self.leave_ring()?;
                self.activate()?.turn(timeout)
            }
            result => result,
        }
    }

    fn descriptor(&self) -> io::Result<Descriptor> {
        if self.options.is_watched {
            Ok(self.waker.descriptor())
        } else {
            Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP))
        }
    }

    fn rest(&mut self) -> Option<Duration> {
        self.active.as_mut()?.rest()
    }

    #[inline]
    fn next(&mut self) -> Option<Completion> {
        let Some(active) = &mut self.active else {
            return self.next_beside_ring();
        };
        let completion = active.next();
        let is_elsewhere = completion.is_none()
            && (active.are_watches_ready || self.watches.has_found() || !self.failed.is_empty());
        if is_elsewhere {
            return self.next_beside_ring();
        }
        completion
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.waker) as Arc<dyn Wake>
    }

    fn counters(&self) -> Counters {
        self.active
            .as_ref()
            .map_or(self.counters, |active| active.counters())
    }
}

impl Uring {
    /// A completion that does not come from the ring: a foreign descriptor's, or a failed accept's.
    #[cold]
    fn next_beside_ring(&mut self) -> Option<Completion> {
        if let Some(active) = &mut self.active
            && std::mem::take(&mut active.are_watches_ready)
        {
            active.counters.system_calls += 1;
            // Should it fail, the ring reports in the next turn that they are ready still.
            let _ = self.watches.look(Some(Duration::ZERO));
        }
        let completion = self.watches.next().or_else(|| self.failed.pop_front());
        if completion.is_some() {
            let active = self.active.as_mut();
            let counters = active.map_or(&mut self.counters, |active| &mut active.counters);
            counters.completions += 1;
        }
        completion
    }
}
