//! Sockets that belong to the host and not to the engine: those that it watches, and streams that
//! the driver receives from and sends to for it.

use super::Engine;
use crate::host::Host;
use crate::table;
use std::io;
use vespiary_port::{Descriptor, Interest};

impl<H: Host> Engine<H> {
    /// Watch a foreign descriptor; [`Host::ready`] is called. The errors are those of
    /// [`vespiary_port::Port::poll`].
    pub fn poll(&self, descriptor: Descriptor, interest: Interest) -> io::Result<()> {
        self.port
            .borrow_mut()
            .poll(descriptor, table::foreign(descriptor), interest)
    }

    /// Stop watching a foreign descriptor.
    pub fn unpoll(&self, descriptor: Descriptor) {
        self.port
            .borrow_mut()
            .unpoll(descriptor, table::foreign(descriptor));
    }

    /// Whether the driver serves streams of the host: see
    /// [`vespiary_port::Port::serves_foreign_streams`].
    pub fn serves_foreign_streams(&self) -> bool {
        self.port.borrow_mut().serves_foreign_streams()
    }

    /// Receive from a stream of the host; [`Host::stream`] is called with its number, which is less
    /// than 2^53, until the receive has ended.
    pub fn receive_foreign(&self, socket: Descriptor, number: u64) {
        self.port
            .borrow_mut()
            .receive(socket, table::stream(number));
    }

    /// Ask that the receive end.
    pub fn cancel_foreign(&self, number: u64) {
        self.port.borrow_mut().cancel_receive(table::stream(number));
    }

    /// See [`vespiary_port::Port::send_once`].
    pub fn send_foreign(&self, socket: Descriptor, number: u64, bytes: &[u8]) -> bool {
        self.port
            .borrow_mut()
            .send_once(socket, table::stream(number), bytes)
    }

    /// See [`vespiary_port::Port::has_unsent`].
    pub fn has_unsent(&self) -> bool {
        self.port.borrow().has_unsent()
    }

    /// See [`vespiary_port::Port::submit`].
    pub fn submit(&self) {
        self.port.borrow_mut().submit();
    }

    /// See [`vespiary_port::Port::forget`].
    pub fn forget_foreign(&self, socket: Descriptor) {
        self.port.borrow_mut().forget(socket);
    }

    /// See [`vespiary_port::Port::stop`].
    pub fn stop_turns(&self) {
        self.port.borrow_mut().stop();
    }

    /// Another thread takes the turns from now on: see [`vespiary_port::Port::change_thread`]. What
    /// the latest turn has brought is handed over before.
    ///
    /// Nothing of the engine's own may be in use.
    pub fn change_thread(self: &std::rc::Rc<Self>) {
        while let Some(completion) = self.next_completion() {
            self.dispatch(completion);
        }
        self.port.borrow_mut().change_thread();
    }
}
