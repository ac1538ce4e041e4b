//! From the kernel's completions to the contract's.

use io_uring::cqueue;

use super::ring::Entry;
use super::{
    ACCEPT, Active, CONNECT, KIND, POLL, RECEIVE, RECEIVE_SINGLE, ROOM, SEND, SEND_ONCE, WAKE,
};
use crate::buffers::Lease;
use crate::socket;
use crate::{Completion, Errno, Outcome, Token};

impl Active {
    /// What a kernel's completion means; `None` for one of the driver's own operations.
    pub(super) fn complete(&mut self, entry: Entry) -> Option<Completion> {
        let payload = entry.user_data & !KIND;
        match entry.user_data & KIND {
            RECEIVE => Some(self.complete_receive(Token(payload), entry)),
            RECEIVE_SINGLE => Some(self.complete_single(Token(payload), entry)),
            SEND => {
                let (token, outgoing) = self.sends.remove(payload as u32);
                let result = errno_or(entry.result).map(|sent| sent as usize);
                Some(Completion {
                    token,
                    outcome: Outcome::Sent(result, outgoing),
                })
            }
            SEND_ONCE => Some(Completion {
                token: Token(payload),
                outcome: Outcome::SentInPart(errno_or(entry.result).map(|sent| sent as usize)),
            }),
            ROOM => self.complete_room(payload as u32, entry),
            ACCEPT => self.complete_accept(Token(payload), entry),
            CONNECT => {
                self.connects.remove(&Token(payload));
                let outcome = Outcome::Connected(errno_or(entry.result).map(drop));
                Some(Completion {
                    token: Token(payload),
                    outcome,
                })
            }
            POLL => {
                self.is_watching = false;
                self.are_watches_ready = true;
                None
            }
            WAKE => {
                self.woken_late |= self.taken > self.gathered;
                if !cqueue::more(entry.flags) {
                    self.arm_waker();
                }
                None
            }
            _ => None,
        }
    }

    /// A socket for a part of a file has room, or is broken: sending says which.
    fn complete_room(&mut self, number: u32, entry: Entry) -> Option<Completion> {
        let socket = self.sends.get(number).1.socket;
        let (token, outgoing) = self.sends.remove(number);
        match errno_or(entry.result) {
            Ok(_) => self.send_file(socket, token, outgoing),
            Err(errno) => Some(Completion {
                token,
                outcome: Outcome::Sent(Err(errno), outgoing),
            }),
        }
    }

    fn complete_receive(&mut self, token: Token, entry: Entry) -> Completion {
        let goes_on = cqueue::more(entry.flags);
        if !goes_on {
            self.receives -= 1;
        }
        let mut outcome = self.received(entry);
        if matches!(outcome, Outcome::Received(_)) {
            self.sweep.received(self.now);
        } else if self.nudged.remove(&token) && is_cancelled(&outcome) {
            outcome = Outcome::ReceiveEnded(Some(Errno(libc::ENOBUFS)));
        }
        if !goes_on && matches!(outcome, Outcome::Received(_)) {
            // The kernel ended a multishot that did not fail: it is at its cap, or the completion
            // queue was full.
            self.queue(token, Outcome::ReceiveEnded(Some(Errno(libc::ENOBUFS))));
        }
        Completion { token, outcome }
    }

    fn complete_single(&mut self, token: Token, entry: Entry) -> Completion {
        let outcome = self.received(entry);
        let single = &self.singles[&token];
        match outcome {
            Outcome::Received(_) if !single.cancelled => self.arm_single(single.socket, token),
            Outcome::Received(_) => {
                self.singles.remove(&token);
                self.queue(token, Outcome::ReceiveEnded(Some(Errno(libc::ECANCELED))));
            }
            _ => drop(self.singles.remove(&token)),
        }
        Completion { token, outcome }
    }

    fn received(&mut self, entry: Entry) -> Outcome {
        let length = usize::try_from(entry.result).unwrap_or(0);
        // A buffer may come with the end of the stream too; dropping the lease gives it back.
        let lease: Option<Lease> =
            cqueue::buffer_select(entry.flags).map(|index| self.provided.lease(index, length));
        match entry.result {
            1.. => Outcome::Received(lease.expect("received bytes come in a buffer")),
            0 => Outcome::ReceiveEnded(None),
            error => {
                self.counters.buffers_exhausted += u64::from(error == -libc::ENOBUFS);
                Outcome::ReceiveEnded(Some(Errno(-error)))
            }
        }
    }

    fn complete_accept(&mut self, token: Token, entry: Entry) -> Option<Completion> {
        let goes_on = cqueue::more(entry.flags);
        let position = self
            .accepts
            .iter()
            .position(|accept| accept.token == token)?;
        let result = errno_or(entry.result);
        if let (Ok(socket), true) = (result, self.accepts[position].is_unix) {
            self.unix.insert(socket);
        }
        if !goes_on {
            let accept = &self.accepts[position];
            let ended = match result {
                _ if accept.cancelled => Some(Errno(libc::ECANCELED)),
                Err(errno) if socket::ends_accept(errno) => Some(errno),
                _ => None,
            };
            match ended {
                Some(errno) => {
                    self.accepts.swap_remove(position);
                    self.queue(token, Outcome::AcceptEnded(errno));
                }
                None => self.arm_accept(accept.listener, token, accept.is_shared),
            }
        }
        let outcome = Outcome::Accepted(result.ok()?);
        Some(Completion { token, outcome })
    }
}

fn is_cancelled(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::ReceiveEnded(Some(Errno(libc::ECANCELED))))
}

fn errno_or(result: i32) -> Result<i32, Errno> {
    if result < 0 {
        Err(Errno(-result))
    } else {
        Ok(result)
    }
}
