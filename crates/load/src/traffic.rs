//! The messages of one connection: written when there is room, checked when they come back.
//!
//! Nothing is sent from within a completion: what a batch of completions makes room for is written
//! at its end, so that all messages of a connection leave in one send.

use std::cmp::Reverse;

use vespiary_port::Outgoing;
use vespiary_wire::websocket::ProtocolError;
use vespiary_wire::websocket::close;
use vespiary_wire::websocket::decoder::{Control, Data, Event, Role};
use vespiary_wire::websocket::frame::{Kind, Opcode};
use vespiary_wire::websocket::profile::Version;

use crate::connection::{Connection, Stage};
use crate::record::{Fault, Problem};
use crate::shared::Shared;
use crate::verify::Tally;
use crate::websocket;

/// A send takes no further message once it holds this many bytes.
const SEND_BYTES: usize = 256 << 10;
/// Pongs are owed for the latest ping only (RFC 6455 section 5.5.3); beyond this they are left out.
const PENDING_BYTES_MAX: usize = 64 << 10;
/// What has been sent of the bytes that wait is thrown away in portions of this size.
const COMPACT_BYTES: usize = 64 << 10;

impl Connection {
    /// Write what there is room for.
    pub fn flush(&mut self, shared: &mut Shared) {
        if self.is_sending || self.is_paused || !matches!(self.stage, Stage::Open | Stage::Closing)
        {
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
        self.send(shared, Outgoing::one(buffer));
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
        self.send(shared, Outgoing::one(buffer));
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
        match &shared.pace {
            None => self.stamps.push(shared.clock.now(), count),
            Some(pace) => {
                for number in self.sent..self.sent + u64::from(count) {
                    self.stamps.push(pace.due(self.number, number), 1);
                }
            }
        }
        self.sent += u64::from(count);
        shared.record.counts.sent += u64::from(count);
    }

    fn write_message(&mut self, shared: &mut Shared, output: &mut Vec<u8>) {
        if self.decoder.is_some() {
            let payload = shared.shape.pattern().payload(self.cursor);
            let kind = if shared.plan.text {
                Kind::Text
            } else {
                Kind::Binary
            };
            let cutter = shared.cutter.as_ref();
            let pings = websocket::append_message(output, kind, payload, cutter, &mut self.random);
            shared.record.counts.pings_sent += pings;
        } else {
            shared.shape.append(self.cursor, output);
        }
        self.cursor.advance();
    }

    /// How many messages may leave now.
    fn room(&self, shared: &Shared) -> u64 {
        if !shared.is_sending || self.stage != Stage::Open {
            return 0;
        }
        let in_flight = self.sent - self.expectation.messages();
        let mut room = shared.in_flight_max - in_flight;
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
        shared.record.counts.bytes_received += bytes.len() as u64;
        if self.decoder.is_some() {
            return self.take_frames(shared, bytes);
        }
        let (number, sent) = (self.number, self.sent);
        let Shared { record, shape, .. } = shared;
        let mut found = |difference| record.difference(number, difference);
        let tally = self.expectation.stream(shape, bytes, sent, &mut found);
        self.account(shared, tally);
    }

    /// Take bytes of a WebSocket's frames.
    pub fn take_frames(&mut self, shared: &mut Shared, bytes: &[u8]) {
        let mut input = bytes;
        let mut tally = Tally::default();
        let limits = shared.frame_limits;
        while let Some(decoder) = &mut self.decoder {
            match decoder.next(&mut input, &limits) {
                Ok(Some(Event::Data(data))) => self.take_data(shared, &data, &mut tally),
                Ok(Some(Event::Control(control))) => {
                    if !self.take_control(shared, &control, &mut tally) {
                        return;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    self.account(shared, tally);
                    return self.violated(shared, error);
                }
            }
        }
        self.account(shared, tally);
    }

    fn take_data(&mut self, shared: &mut Shared, data: &Data<'_>, tally: &mut Tally) {
        if self.expectation.messages() == self.sent {
            // Two bytes stand for the head, so that an empty message counts too.
            tally.extra_bytes += data.payload.len() as u64 + 2;
            return;
        }
        let kind_kept = (data.kind == Kind::Text) == shared.plan.text;
        let Shared { record, shape, .. } = shared;
        let is_whole = data.message_start && data.message_end;
        if is_whole && kind_kept && self.expectation.whole(shape, data.payload) {
            tally.completed += 1;
            return;
        }
        let number = self.number;
        let mut found = |difference| record.difference(number, difference);
        self.expectation.piece(shape, data.payload, &mut found);
        if data.message_end {
            tally.completed += 1;
            tally.altered += u32::from(!self.expectation.end(shape, kind_kept, &mut found));
        }
    }

    /// Take a control frame; whether to go on.
    fn take_control(&mut self, shared: &mut Shared, control: &Control, tally: &mut Tally) -> bool {
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
                self.account(shared, std::mem::take(tally));
                let profile = Version::Rfc6455.profile();
                match close::parse(profile, Role::Client, control.payload()) {
                    Err(error) => self.violated(shared, error),
                    Ok((code, reason)) if self.stage == Stage::Open => {
                        let text =
                            format!("the server closed the WebSocket with {code} {reason:?}");
                        self.lose(shared, Fault::Closed, || text);
                    }
                    // The answer to our own: the end of the stream is to follow.
                    Ok(_) => {}
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

    /// Enter what came into the books.
    fn account(&mut self, shared: &mut Shared, tally: Tally) {
        if tally.extra_bytes > 0 {
            let first = shared.record.counts.extra_bytes == 0;
            shared.record.counts.extra_bytes += tally.extra_bytes;
            if first {
                let text = format!("{} bytes came that answer nothing", tally.extra_bytes);
                self.note(shared, Fault::Extra, text);
            }
        }
        if tally.completed == 0 {
            return;
        }
        let now = shared.clock.now();
        self.progress = now;
        let record = &mut shared.record;
        record.counts.received += u64::from(tally.completed);
        record.counts.altered += u64::from(tally.altered);
        let replies = &mut record.replies;
        self.stamps.pop(tally.completed, |left, count| {
            replies.saturating_record_n(now.saturating_sub(left), u64::from(count));
        });
        self.check_finished(shared);
        self.mark_dirty(shared);
    }

    fn note(&self, shared: &mut Shared, fault: Fault, text: String) {
        let (connection, message) = (self.number, self.expectation.messages());
        shared.record.problem(|| Problem {
            fault,
            connection,
            message: Some(message),
            offset: None,
            expected: Vec::new(),
            got: Vec::new(),
            text,
        });
    }
}
