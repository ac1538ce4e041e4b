//! Continuing operations: at once, or when epoll reports that they can continue.

use std::mem;

use super::table::{ACCEPTING, CONNECTING, FULL, NO_SEND, POLLING, RECEIVING, REGISTERED};
use super::{ACCEPTS_A_TURN_MAX, BROKEN, Epoll, IN, OUT, WAKER, carried};
use crate::buffers::CHUNKS_A_SEND_MAX;
use crate::socket::{self, last_errno};
use crate::{Completion, Descriptor, Errno, Interest, Outcome, Outgoing, Token};

impl Epoll {
    /// Send what the socket takes now. `EAGAIN` is in the result like any other error.
    pub(super) fn try_send(
        &mut self,
        descriptor: Descriptor,
        outgoing: &Outgoing,
    ) -> Result<usize, Errno> {
        if let Some((part, skipped)) = outgoing.as_file() {
            self.counters.system_calls += 1;
            let sent = part.send(skipped, descriptor)?;
            self.note_sent(descriptor, sent, outgoing.remaining());
            return Ok(sent);
        }
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        let (sent, offered) = loop {
            self.counters.system_calls += 1;
            let (sent, offered) = if outgoing.is_single() {
                let bytes = outgoing.first();
                // SAFETY: the bytes are ours through the call.
                let sent =
                    unsafe { libc::send(descriptor, bytes.as_ptr().cast(), bytes.len(), flags) };
                (sent, bytes.len())
            } else {
                send_pieces(descriptor, outgoing, flags)
            };
            if sent >= 0 || last_errno().0 != libc::EINTR {
                break (sent, offered);
            }
        };
        if sent < 0 {
            return Err(last_errno());
        }
        let sent = sent as usize;
        self.note_sent(descriptor, sent, offered);
        Ok(sent)
    }

    /// After a short send the socket is full.
    fn note_sent(&mut self, descriptor: Descriptor, sent: usize, offered: usize) {
        let slot = self.table.slot(descriptor);
        slot.state = if sent < offered {
            slot.state | FULL
        } else {
            slot.state & !FULL
        };
    }

    /// Continue with the send that waits for room.
    pub(super) fn resume_send(&mut self, descriptor: Descriptor, number: u32) {
        let (token, outgoing) = self.sends.remove(number);
        self.table.slot(descriptor).send = NO_SEND;
        let result = self.try_send(descriptor, &outgoing);
        if result == Err(Errno(libc::EAGAIN)) {
            self.table.slot(descriptor).send = self.sends.insert(token, outgoing);
            *self.sends.get(self.table.slot(descriptor).send).1 = descriptor;
        } else {
            self.queue(token, Outcome::Sent(result, outgoing));
        }
    }

    pub(super) fn wait_for_room(
        &mut self,
        descriptor: Descriptor,
        token: Token,
        outgoing: Outgoing,
    ) {
        let mask = self.table.slot(descriptor).mask | OUT;
        if let Err(errno) = self.watch(descriptor, mask) {
            self.queue(token, Outcome::Sent(Err(errno), outgoing));
            return;
        }
        let number = self.sends.insert(token, outgoing);
        *self.sends.get(number).1 = descriptor;
        self.table.slot(descriptor).send = number;
    }

    /// Receive once. `None` when there was nothing after all.
    pub(super) fn receive_now(&mut self, descriptor: Descriptor) -> Option<Outcome> {
        let Some(index) = self.pool.take() else {
            self.counters.buffers_exhausted += 1;
            return Some(Outcome::ReceiveEnded(Some(Errno(libc::ENOBUFS))));
        };
        let start = self.pool.buffer(index).as_ptr().cast();
        let length = self.pool.buffer_bytes() as usize;
        let received = loop {
            self.counters.system_calls += 1;
            // SAFETY: the buffer was taken from the pool, so it is ours alone, and has `length`
            // bytes.
            let received = unsafe { libc::recv(descriptor, start, length, libc::MSG_DONTWAIT) };
            if received >= 0 || last_errno().0 != libc::EINTR {
                break received;
            }
        };
        if received > 0 {
            return Some(Outcome::Received(self.pool.lease(index, received as usize)));
        }
        let errno = (received < 0).then(last_errno);
        self.pool.give_back(index);
        match errno {
            Some(Errno(libc::EAGAIN)) => None,
            ended => Some(Outcome::ReceiveEnded(ended)),
        }
    }

    /// Take the connections that wait, at most [`ACCEPTS_A_TURN_MAX`]; on a socket that other
    /// processes may share only one, so that they get some too.
    pub(super) fn accept_now(&mut self, listener: Descriptor, token: Token) {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        let none = std::ptr::null_mut();
        let is_shared = self.shared.contains(listener);
        let most = if is_shared { 1 } else { ACCEPTS_A_TURN_MAX };
        for _ in 0..most {
            self.counters.system_calls += 1;
            // SAFETY: null pointers say that the peer's address is not wanted.
            let socket = unsafe { libc::accept4(listener, none, none.cast(), flags) };
            if socket >= 0 {
                self.table.renew(socket);
                self.queue(token, Outcome::Accepted(socket));
                continue;
            }
            match last_errno() {
                Errno(libc::EAGAIN) => return,
                errno if socket::ends_accept(errno) => {
                    self.table.disown(listener);
                    self.queue(token, Outcome::AcceptEnded(errno));
                    return;
                }
                _ => (),
            }
        }
    }

    /// Act on one event; most make one completion, which is returned.
    pub(super) fn handle(&mut self, event: libc::epoll_event) -> Option<Completion> {
        let (bits, data) = (event.events, event.u64);
        if data == WAKER {
            return None;
        }
        let descriptor = data as u32 as Descriptor;
        let slot = *self.table.slot(descriptor);
        if carried(descriptor, slot.generation) != data || !slot.has(REGISTERED) {
            self.stale_in_turn = true;
            return None;
        }
        let broken = bits & BROKEN != 0;
        let (readable, writable) = (
            broken || bits & IN as u32 != 0,
            broken || bits & OUT as u32 != 0,
        );
        if slot.has(POLLING) {
            let read = readable && slot.mask & IN != 0;
            let write = writable && slot.mask & OUT != 0;
            let outcome = Outcome::Ready(Interest { read, write });
            return Some(Completion {
                token: slot.token,
                outcome,
            });
        }
        let mut mask = slot.mask;
        if writable {
            self.table.slot(descriptor).state &= !FULL;
            if slot.has(CONNECTING) {
                self.finish_connect(descriptor);
            } else if slot.send != NO_SEND {
                self.resume_send(descriptor, slot.send);
            } else {
                mask &= !OUT;
            }
        }
        let mut completion = None;
        if readable {
            if slot.has(RECEIVING) {
                if let Some(outcome) = self.receive_now(descriptor) {
                    if matches!(outcome, Outcome::ReceiveEnded(_)) {
                        self.table.disown(descriptor);
                    }
                    completion = Some(Completion {
                        token: slot.token,
                        outcome,
                    });
                }
            } else if slot.has(ACCEPTING) {
                self.accept_now(descriptor, slot.token);
            } else {
                mask &= !IN;
            }
        }
        if broken && !slot.is_busy() {
            self.unwatch(descriptor);
        } else if mask != slot.mask {
            // If this fails, the interest stays as it was: the event comes again, and then this is
            // tried again.
            let _ = self.watch(descriptor, mask);
        }
        completion
    }

    pub(super) fn finish_connect(&mut self, descriptor: Descriptor) {
        let token = self.table.disown(descriptor);
        self.counters.system_calls += 1;
        let result = match socket::take_error(descriptor) {
            0 => Ok(()),
            errno => Err(Errno(errno)),
        };
        self.queue(token, Outcome::Connected(result));
    }
}

fn send_pieces(descriptor: Descriptor, outgoing: &Outgoing, flags: i32) -> (isize, usize) {
    let empty = libc::iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: 0,
    };
    let mut vectors = [empty; CHUNKS_A_SEND_MAX];
    let (mut count, mut offered) = (0, 0);
    for (vector, piece) in vectors.iter_mut().zip(outgoing.pieces()) {
        vector.iov_base = piece.as_ptr().cast_mut().cast();
        vector.iov_len = piece.len();
        offered += piece.len();
        count += 1;
    }
    // SAFETY: all zero bytes are a valid msghdr.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = vectors.as_mut_ptr();
    message.msg_iovlen = count;
    // SAFETY: the message points to `count` vectors, and they to bytes of ours; sendmsg writes to
    // none.
    let sent = unsafe { libc::sendmsg(descriptor, &raw const message, flags) };
    (sent, offered)
}
