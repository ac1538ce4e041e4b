//! The messages of one connection: written when there is room, checked when they come back.
//!
//! Nothing is sent from within a completion: what a batch of completions makes room for is written
//! at its end, so that all messages of a connection leave in one send.

use std::cmp::Reverse;

use vespiary_wire::websocket::ProtocolError;
use vespiary_wire::websocket::close::{self, Code};
use vespiary_wire::websocket::decoder::{Control, Data, Event, Role};
use vespiary_wire::websocket::frame::{Kind, Opcode};
use vespiary_wire::websocket::profile::Version;

use crate::connection::{Connection, Stage};
use crate::http::{self, Answers};
use crate::ledger::Ledger;
use crate::plan::Reply;
use crate::record::{Fault, Problem};
use crate::shared::Shared;
use crate::tls::Tls;
use crate::verify::Books as _;
use crate::websocket;

/// A send takes no further message once it holds this many bytes.
const SEND_BYTES: usize = 256 << 10;
/// Pongs are owed for the latest ping only (RFC 6455 section 5.5.3); beyond this they are omitted.
const PENDING_BYTES_MAX: usize = 64 << 10;
/// What has been sent of the bytes that wait is thrown away in portions of this size.
const COMPACT_BYTES: usize = 64 << 10;

/// A connection's expectation, the ledger for what it finds, and the form of messages: parts of
/// both that are borrowed side by side.
macro_rules! books {
    ($connection:ident, $shared:ident) => {{
        let Shared {
            record,
            shape,
            clock,
            ..
        } = &mut *$shared;
        let ledger = Ledger {
            record,
            stamps: &mut $connection.stamps,
            clock,
            connection: $connection.number,
            has_entries: false,
        };
        (&mut $connection.expectation, ledger, &*shape)
    }};
}

impl Connection {
    /// Write what there is room for.
    pub fn flush(&mut self, shared: &mut Shared) {
        if Self::has_datagrams(shared) {
            return self.flush_datagrams(shared);
        }
        if self.is_sending
            || !matches!(
                self.stage,
                Stage::Securing | Stage::Shaking | Stage::Open | Stage::Closing
            )
        {
            return;
        }
        if self.tls.as_deref().is_some_and(Tls::wants_write) {
            let nothing = shared.buffer();
            return self.send(shared, nothing);
        }
        if self.is_paused {
            return;
        }
        if shared.cutter.is_some() && self.stage == Stage::Open {
            return self.flush_piece(shared);
        }
        let mut buffer = if self.pending.is_empty() {
            shared.buffer()
        } else {
            // Of cut traffic nothing is left over when it closes; all that waits then is its close
            // frame.
            let mut pending = std::mem::take(&mut self.pending);
            pending.drain(..std::mem::take(&mut self.pending_start));
            pending
        };
        self.write(shared, &mut buffer);
        if buffer.is_empty() {
            return shared.recycle(buffer);
        }
        self.send(shared, buffer);
    }

    /// The same where sending is cut into pieces.
    fn flush_piece(&mut self, shared: &mut Shared) {
        let mut pending = std::mem::take(&mut self.pending);
        self.write(shared, &mut pending);
        self.pending = pending;
        let waiting = &self.pending[self.pending_start..];
        let Some(cutter) = shared.cutter.filter(|_| !waiting.is_empty()) else {
            return;
        };
        let length = cutter.piece(&mut self.random, waiting.len());
        let mut buffer = shared.buffer();
        buffer.extend_from_slice(&waiting[..length]);
        self.pending_start += length;
        if self.pending_start == self.pending.len() {
            self.pending.clear();
            self.pending_start = 0;
        } else if self.pending_start >= COMPACT_BYTES {
            self.pending
                .drain(..std::mem::take(&mut self.pending_start));
        }
        if let Some(delay) = cutter.delay(&mut self.random) {
            self.is_paused = true;
            shared
                .timers
                .push(Reverse((shared.clock.now() + delay, self.number)));
        }
        self.send(shared, buffer);
    }

    /// Append as many messages as there is room for.
    fn write(&mut self, shared: &mut Shared, output: &mut Vec<u8>) {
        let room = self.room(shared);
        if room == 0 {
            return;
        }
        let start = output.len();
        let mut count = 0;
        while u64::from(count) < room && (count == 0 || output.len() - start < SEND_BYTES) {
            self.write_message(shared, output);
            count += 1;
        }
        self.note_sent(shared, count);
    }

    /// Note that so many messages more have left, or wait to leave.
    pub fn note_sent(&mut self, shared: &mut Shared, count: u32) {
        self.sent += u64::from(count);
        shared.record.counts.sent += u64::from(count);
        if shared.plan.reply == Reply::None {
            self.expectation.pass(count);
            // Those that are left go when these have gone.
            return;
        }
        match &shared.pace {
            None => self.stamps.push(shared.clock.now(), count),
            Some(pace) => {
                for number in self.sent - u64::from(count)..self.sent {
                    self.stamps.push(pace.due(self.number, number), 1);
                }
            }
        }
    }

    fn write_message(&mut self, shared: &mut Shared, output: &mut Vec<u8>) {
        if self.decoder.is_some() {
            let payload = shared.shape.payload(self.cursor);
            let kind = if shared.plan.text {
                Kind::Text
            } else {
                Kind::Binary
            };
            let cutter = shared.cutter.as_ref();
            let random = &mut self.random;
            let pings = match &mut self.compression {
                None => websocket::append_message(output, kind, payload, cutter, random),
                Some(deflate) => {
                    websocket::append_compressed(output, kind, payload, cutter, random, deflate)
                }
            };
            shared.record.counts.pings_sent += pings;
        } else if self.answers.is_some() {
            let body = shared.shape.payload(self.cursor);
            let head = shared.request_head(self.number);
            http::append_request(output, &shared.plan.method, head, body);
        } else {
            shared.shape.append(self.cursor, output);
        }
        self.cursor.advance();
    }

    /// How many messages may leave now.
    pub fn room(&self, shared: &Shared) -> u64 {
        let is_closing = self.answers.as_deref().is_some_and(Answers::is_closing);
        if !shared.is_sending || self.stage != Stage::Open || is_closing {
            return 0;
        }
        let mut room = shared.in_flight_max - self.in_flight();
        if let Some(messages) = shared.plan.messages {
            room = room.min(messages - self.sent);
        }
        if shared.pace.is_some() {
            room = room.min(self.released - self.sent);
        }
        room
    }

    /// Take bytes that came.
    pub fn take(&mut self, shared: &mut Shared, bytes: &[u8]) {
        if self.decoder.is_some() {
            return self.take_frames(shared, bytes);
        }
        if self.answers.is_some() {
            return self.take_answers(shared, bytes);
        }
        if let Some(arrivals) = &mut self.arrivals {
            match arrivals.take(bytes) {
                Ok(ended) => shared.record.counts.received += ended,
                Err(text) => self.lose(shared, Fault::Violation, || text),
            }
            return;
        }
        let (expectation, mut ledger, shape) = books!(self, shared);
        let completed = expectation.stream(shape, bytes, self.sent, &mut ledger);
        let has_entries = ledger.has_entries;
        self.account(shared, completed, has_entries);
    }

    /// Take bytes of a WebSocket's frames.
    pub fn take_frames(&mut self, shared: &mut Shared, bytes: &[u8]) {
        let mut input = bytes;
        let mut completed = 0;
        let limits = shared.frame_limits;
        while let Some(decoder) = &mut self.decoder {
            match decoder.next(&mut input, &limits) {
                Ok(Some(Event::Data(data))) => {
                    if let Err(error) = self.take_data(shared, &data, &mut completed) {
                        return self.violated(shared, error);
                    }
                }
                Ok(Some(Event::Control(control))) => {
                    if !self.take_control(shared, &control, &mut completed) {
                        return;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    self.account(shared, completed, false);
                    return self.violated(shared, error);
                }
            }
        }
        self.account(shared, completed, false);
    }

    fn take_data(
        &mut self,
        shared: &mut Shared,
        data: &Data<'_>,
        completed: &mut u32,
    ) -> Result<(), ProtocolError> {
        if shared.plan.reply == Reply::None {
            shared.record.counts.received += u64::from(data.message_end);
            return Ok(());
        }
        let kind_kept = (data.kind == Kind::Text) == shared.plan.text;
        let most = shared.frame_limits.message_bytes_max as usize;
        let (expectation, mut ledger, shape) = books!(self, shared);
        if data.compressed {
            let Some(compression) = &mut self.compression else {
                return Ok(());
            };
            compression.keep(data.payload);
            if data.message_end {
                expectation.piece(shape, &compression.inflate(most)?, self.sent);
            }
        } else {
            let is_whole = data.message_start && data.message_end && kind_kept;
            let is_outstanding = expectation.messages() != self.sent;
            if is_whole && is_outstanding && expectation.whole(shape, data.payload) {
                *completed += 1;
                return Ok(());
            }
            expectation.piece(shape, data.payload, self.sent);
        }
        if data.message_end {
            ledger.back(std::mem::take(completed));
            expectation.end(shape, self.sent, kind_kept, &mut ledger);
            let has_entries = ledger.has_entries;
            self.account(shared, 0, has_entries);
        }
        Ok(())
    }

    /// Take a control frame; whether to continue.
    fn take_control(
        &mut self,
        shared: &mut Shared,
        control: &Control,
        completed: &mut u32,
    ) -> bool {
        match control.opcode {
            Opcode::Ping => {
                if self.stage == Stage::Open && self.pending.len() < PENDING_BYTES_MAX {
                    let payload = control.payload();
                    websocket::append_control(
                        &mut self.pending,
                        Opcode::Pong,
                        payload,
                        &mut self.random,
                    );
                    self.mark_dirty(shared);
                }
            }
            Opcode::Close => {
                self.account(shared, std::mem::take(completed), false);
                let profile = Version::Rfc6455.profile();
                match close::parse(profile, Role::Client, control.payload()) {
                    Err(error) => self.violated(shared, error),
                    Ok((code, reason)) => self.closed_by_server(shared, code, &reason),
                }
                return self.stage == Stage::Closing;
            }
            _ => shared.record.counts.pongs_received += 1,
        }
        true
    }

    fn violated(&mut self, shared: &mut Shared, error: ProtocolError) {
        match self.stage {
            Stage::Open => self.lose(shared, Fault::Violation, || error.to_string()),
            Stage::Closing => {
                shared.record.counts.violations += 1;
                let text = format!("while closing: {error}");
                self.note(shared, Fault::Violation, text);
                self.leave(shared, true);
            }
            _ => {}
        }
    }

    /// Take a close frame: the answer to ours, or the server's own.
    fn closed_by_server(&mut self, shared: &mut Shared, code: Code, reason: &str) {
        let text = || format!("the server closed the WebSocket with {code} {reason:?}");
        if self.stage == Stage::Open {
            return self.lose(shared, Fault::Closed, text);
        }
        self.is_answered = true;
        if let Some(tls) = &mut self.tls {
            tls.end();
            self.mark_dirty(shared);
        }
        if !matches!(code, Code::NORMAL | Code::NO_STATUS) {
            shared.record.counts.closed += 1;
            self.note(
                shared,
                Fault::Closed,
                format!("{} behind the last echo", text()),
            );
        }
    }

    /// Enter `completed` messages that came back intact, and continue with what that makes room
    /// for.
    pub fn account(&mut self, shared: &mut Shared, completed: u32, has_entries: bool) {
        if completed == 0 && !has_entries {
            return;
        }
        let now = shared.clock.now();
        self.progress = now;
        shared.record.back(&mut self.stamps, completed, now);
        self.check_finished(shared);
        self.mark_dirty(shared);
    }

    /// Note a problem of the connection as a whole, behind its last echo.
    pub fn note(&self, shared: &mut Shared, fault: Fault, text: String) {
        let number = self.number;
        shared
            .record
            .problem(|| Problem::new(fault, number, None, text));
    }
}
