//! The layer: records in, plain bytes out, and the other way.
//!
//! rustls makes the handshake. It reports what it found in the received bytes, or wants to send,
//! one step at a time; [`Handshake::advance`] takes these steps until more bytes are needed.
//! rustls gets one whole record after the other, and none behind the one that completes the
//! handshake: from there on [`Traffic`] has the keys. A message may take several records. Then
//! rustls discards none of them before it has all, numbers received bytes from the first that it
//! has not discarded, and gets those again with each call. They wait in `tail`. A record that is
//! not whole waits there too.
//!
//! When TLS fails, there is an alert that says why. It is sent first: the layer reports the failure
//! when it is called again.

use crate::error;
use crate::facts::Agreed;
use crate::handle::TlsHandle;
use crate::handshake::{Handshake, Moved};
use crate::records::{OVERHEAD_BYTES, PLAIN_BYTES_MAX};
use crate::traffic::Traffic;
use rustls::Error;
use std::cell::OnceCell;
use std::rc::Rc;
use vespiary_engine::{Cause, CloseReason, Flow, Layer, Progress, Received};

/// Frames of a turn's budget that a step of the handshake counts for: a signature costs as much as
/// some hundred small messages.
const HANDSHAKE_FRAMES: u16 = 64;

enum State {
    Handshake(Box<Handshake>),
    Traffic(Box<Traffic>),
    /// TLS has failed, or the peer has ended it before the handshake was over.
    Over,
}

/// TLS between a socket and what is above it.
pub struct TlsLayer {
    state: State,
    agreed: Rc<OnceCell<Box<Agreed>>>,
    /// Received bytes that cannot be taken yet.
    tail: Vec<u8>,
    /// Why TLS has failed, once its alert is on the way.
    failure: Option<Box<CloseReason>>,
    has_ended: bool,
}

impl TlsLayer {
    pub(crate) fn new(handshake: Handshake) -> Self {
        Self {
            state: State::Handshake(Box::new(handshake)),
            agreed: Rc::default(),
            tail: Vec::new(),
            failure: None,
            has_ended: false,
        }
    }

    /// What answers questions about this connection's TLS.
    pub fn handle(&self) -> TlsHandle {
        TlsHandle(self.agreed.clone())
    }

    #[cfg(test)]
    pub(crate) fn into_traffic(self) -> Option<Traffic> {
        match self.state {
            State::Traffic(traffic) => Some(*traffic),
            _ => None,
        }
    }

    fn fail(&mut self, error: &Error, is_client: bool, is_handshaking: bool) {
        let reason = error::reason(error, is_client, is_handshaking);
        self.failure = Some(Box::new(reason));
        self.state = State::Over;
        self.tail = Vec::new();
    }

    /// Let the handshake take what it can of `input`; how much of it is done with.
    fn shake(&mut self, input: &mut [u8], flow: &mut Flow<'_>) -> usize {
        let State::Handshake(handshake) = &mut self.state else {
            return 0;
        };
        let is_client = handshake.is_client();
        match handshake.advance(input, flow.own) {
            Ok((used, Moved::Blocked)) => used,
            Ok((_, Moved::Ended)) => {
                self.has_ended = true;
                self.state = State::Over;
                input.len()
            }
            Ok((used, Moved::Completed)) => {
                let State::Handshake(handshake) = std::mem::replace(&mut self.state, State::Over)
                else {
                    return used;
                };
                match handshake.complete() {
                    Ok((agreed, traffic)) => {
                        self.agreed.set(Box::new(agreed)).ok();
                        self.state = State::Traffic(Box::new(traffic));
                        used
                    }
                    Err(failure) => {
                        self.fail(&failure, is_client, false);
                        input.len()
                    }
                }
            }
            Err(failure) => {
                self.fail(&failure, is_client, true);
                input.len()
            }
        }
    }

    /// Take all whole records of application data; how much of `input` is done with.
    fn take(&mut self, input: &mut [u8], flow: &mut Flow<'_>) -> usize {
        let State::Traffic(traffic) = &mut self.state else {
            return input.len();
        };
        match traffic.receive(input, flow.plain, flow.own) {
            Ok(used) => {
                self.has_ended = traffic.has_ended();
                used
            }
            Err(failure) => {
                let is_client = traffic.is_client();
                self.fail(&failure, is_client, false);
                input.len()
            }
        }
    }

    /// The handshake's part of what was received.
    fn receive_handshake(
        &mut self,
        input: &mut [u8],
        flow: &mut Flow<'_>,
    ) -> Result<(), CloseReason> {
        let mut tail = std::mem::take(&mut self.tail);
        let bytes = if tail.is_empty() {
            input
        } else {
            keep(&mut tail, input)?;
            &mut tail[..]
        };
        let mut used = self.shake(bytes, flow);
        if let State::Traffic(_) = self.state {
            used += self.take(&mut bytes[used..], flow);
        }
        keep(&mut self.tail, &bytes[used..])
    }

    /// What was received behind the handshake.
    fn receive_traffic(
        &mut self,
        input: &mut [u8],
        flow: &mut Flow<'_>,
    ) -> Result<(), CloseReason> {
        let mut start = 0;
        while !self.tail.is_empty()
            && let State::Traffic(traffic) = &self.state
        {
            let missing = traffic.missing(&self.tail);
            let rest = &input[start..];
            let added = missing.min(rest.len());
            self.tail
                .try_reserve_exact(missing)
                .map_err(|_| out_of_memory())?;
            self.tail.extend_from_slice(&rest[..added]);
            start += added;
            if added < missing {
                return Ok(());
            }
            let mut tail = std::mem::take(&mut self.tail);
            let used = self.take(&mut tail, flow);
            if used < tail.len() {
                self.tail = tail;
            }
        }
        let rest = &mut input[start..];
        flow.plain
            .try_reserve(rest.len())
            .map_err(|_| out_of_memory())?;
        let used = self.take(rest, flow);
        keep(&mut self.tail, &rest[used..])
    }

    fn protect(
        &mut self,
        work: impl FnOnce(&mut Traffic) -> Result<(), Error>,
    ) -> Result<(), CloseReason> {
        let State::Traffic(traffic) = &mut self.state else {
            let error = Error::General("TLS is not ready to send".into());
            return Err(error::reason(&error, false, false));
        };
        work(traffic).map_err(|error| error::reason(&error, traffic.is_client(), false))
    }
}

impl Layer for TlsLayer {
    fn begin(&mut self, own: &mut Vec<u8>) -> Result<(), CloseReason> {
        let mut plain = Vec::new();
        let mut flow = Flow {
            plain: &mut plain,
            own,
        };
        self.shake(&mut [], &mut flow);
        self.failure.take().map_or(Ok(()), |failure| Err(*failure))
    }

    fn receive(&mut self, input: &mut [u8], flow: &mut Flow<'_>) -> Result<Received, CloseReason> {
        if let Some(failure) = self.failure.take() {
            return Err(*failure);
        }
        let was_handshaking = matches!(self.state, State::Handshake(_));
        if was_handshaking {
            self.receive_handshake(input, flow)?;
        } else if !self.has_ended {
            self.receive_traffic(input, flow)?;
        }
        let progress = if self.failure.is_some() {
            Progress::Again
        } else if was_handshaking && self.is_ready() {
            // The peer's end may have come with the handshake's: the session begins first.
            Progress::Ready
        } else if self.has_ended {
            Progress::Ended
        } else {
            Progress::MoreNeeded
        };
        Ok(Received {
            used: input.len(),
            progress,
            work: if was_handshaking { HANDSHAKE_FRAMES } else { 0 },
        })
    }

    fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), CloseReason> {
        let records = plain.len().div_ceil(PLAIN_BYTES_MAX);
        wire.try_reserve(plain.len() + (records + 1) * OVERHEAD_BYTES)
            .map_err(|_| out_of_memory())?;
        self.protect(|traffic| traffic.send(plain, wire))
    }

    fn is_ready(&self) -> bool {
        matches!(self.state, State::Traffic(_))
    }

    fn end(&mut self, wire: &mut Vec<u8>) -> Result<(), CloseReason> {
        if !self.is_ready() {
            return Ok(());
        }
        self.protect(|traffic| traffic.end(wire))
    }

    fn input_ended(&mut self) -> Progress {
        if self.has_ended || matches!(self.state, State::Over) {
            Progress::Ended
        } else {
            Progress::Truncated
        }
    }

    fn memory_bytes(&self) -> usize {
        let state = match &self.state {
            State::Handshake(handshake) => size_of_val(&**handshake),
            State::Traffic(traffic) => traffic.memory_bytes(),
            State::Over => 0,
        };
        size_of::<Self>() + size_of::<Agreed>() + state + self.tail.capacity()
    }
}

fn out_of_memory() -> CloseReason {
    CloseReason::new(Cause::OutOfMemory, "there was no memory for a TLS record")
}

fn keep(tail: &mut Vec<u8>, bytes: &[u8]) -> Result<(), CloseReason> {
    tail.try_reserve(bytes.len()).map_err(|_| out_of_memory())?;
    tail.extend_from_slice(bytes);
    Ok(())
}
