//! What one message looks like on the wire. All messages of a run have one size, so what stands
//! before and after a payload never changes and is made once.

use vespiary_wire::framing::length::{self, Format, LengthDecoder};

use crate::framing::Framing;
use crate::payload::{Cursor, Pattern};
use crate::plan::Plan;

/// What messages say, and the constant bytes round their payloads. WebSocket frames have none: see
/// [`crate::websocket`].
#[derive(Debug)]
pub struct Shape {
    pattern: Pattern,
    before: Vec<u8>,
    after: Vec<u8>,
    framing: Framing,
    /// Messages instead of the pattern's, as they go over the wire.
    own: Vec<Vec<u8>>,
}

impl Shape {
    /// The shape of `plan`'s messages, with payloads from `seed` or of the plan's own.
    pub fn new(plan: &Plan, seed: u64) -> Self {
        let before = match plan.framing {
            Framing::Length(format) => prefix(format, plan.size as u64),
            _ => Vec::new(),
        };
        let after = match plan.framing {
            Framing::Line => b"\n".to_vec(),
            Framing::CrLf => b"\r\n".to_vec(),
            _ => Vec::new(),
        };
        let framed = |payload: &Vec<u8>| match plan.framing {
            Framing::Length(format) => [prefix(format, payload.len() as u64), payload.clone()],
            _ => [payload.clone(), after.clone()],
        };
        let own = plan.own.iter().map(|payload| framed(payload).concat());
        Self {
            own: own.collect(),
            pattern: Pattern::new(plan.alphabet(), plan.size, seed),
            before,
            after,
            framing: plan.framing,
        }
    }

    /// The payload of the message at `cursor`.
    pub fn payload(&self, cursor: Cursor) -> &[u8] {
        if self.own.is_empty() {
            return self.pattern.payload(cursor);
        }
        let frame = self.own_frame(cursor);
        &frame[self.before.len()..frame.len() - self.after.len()]
    }

    /// Bytes before each payload.
    pub fn head_bytes(&self) -> usize {
        self.before.len()
    }

    /// Bytes of the longest message on the wire.
    pub fn frame_bytes_max(&self) -> usize {
        let own = self.own.iter().map(Vec::len).max();
        own.unwrap_or(self.before.len() + self.pattern.size() + self.after.len())
    }

    /// Bytes of the message at `cursor` on the wire.
    #[inline]
    pub fn frame_bytes(&self, cursor: Cursor) -> usize {
        if self.own.is_empty() {
            self.before.len() + self.pattern.size() + self.after.len()
        } else {
            self.own_frame(cursor).len()
        }
    }

    fn own_frame(&self, cursor: Cursor) -> &[u8] {
        let index = cursor.number() % self.own.len() as u64;
        &self.own[index as usize]
    }

    /// The message at `cursor` as it goes over the wire.
    pub fn frame(&self, cursor: Cursor) -> Vec<u8> {
        let mut frame = Vec::with_capacity(self.frame_bytes(cursor));
        self.append(cursor, &mut frame);
        frame
    }

    /// Where the first message of `bytes` ends, as far as framing says; a length above `most` is
    /// not believed, and without a framing it has `frame` bytes. `None` if that has not come yet.
    pub fn frame_end(&self, bytes: &[u8], most: usize, frame: usize) -> Option<usize> {
        match self.framing {
            Framing::Line | Framing::CrLf => {
                let place = bytes.iter().position(|byte| *byte == b'\n');
                place.map(|place| place + 1)
            }
            Framing::Length(format) => {
                let mut input = bytes;
                match LengthDecoder::new().next(&mut input, &format, most as u64) {
                    Ok(Some(chunk)) => {
                        let rest = usize::try_from(chunk.remaining).unwrap_or(usize::MAX);
                        let end = bytes.len() - input.len() + rest;
                        (end <= bytes.len()).then_some(end)
                    }
                    Ok(None) => None,
                    Err(_) => whole(bytes, frame),
                }
            }
            Framing::Raw | Framing::WebSocket | Framing::Http | Framing::Datagram => {
                whole(bytes, frame)
            }
        }
    }

    /// Append the message at `cursor` as it goes over the wire.
    pub fn append(&self, cursor: Cursor, output: &mut Vec<u8>) {
        if !self.own.is_empty() {
            output.extend_from_slice(self.own_frame(cursor));
            return;
        }
        output.extend_from_slice(&self.before);
        output.extend_from_slice(self.pattern.payload(cursor));
        output.extend_from_slice(&self.after);
    }

    /// What the message at `cursor` holds from `offset` on, up to the end of the part that `offset`
    /// lies in: never empty while `offset` is less than [`Shape::frame_bytes`].
    pub fn part(&self, cursor: Cursor, offset: usize) -> &[u8] {
        if !self.own.is_empty() {
            return &self.own_frame(cursor)[offset..];
        }
        if let Some(rest) = self.before.get(offset..)
            && !rest.is_empty()
        {
            return rest;
        }
        let offset = offset - self.before.len();
        match self.pattern.payload(cursor).get(offset..) {
            Some(rest) if !rest.is_empty() => rest,
            _ => &self.after[offset - self.pattern.size()..],
        }
    }
}

fn whole(bytes: &[u8], frame: usize) -> Option<usize> {
    (bytes.len() >= frame).then_some(frame)
}

fn prefix(format: Format, size: u64) -> Vec<u8> {
    let mut bytes = [0_u8; 8];
    let width = length::write_head(&mut bytes, &format, size);
    bytes[..width.expect("the plan's check keeps messages within their length")].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Target;

    fn shape(framing: &str, size: usize) -> Shape {
        let mut plan = Plan::new(Target::parse("tcp://127.0.0.1:1").expect("an address"));
        plan.framing = Framing::parse(framing).expect("known");
        plan.size = size;
        Shape::new(&plan, 1)
    }

    #[test]
    fn parts_put_together_give_the_message_again() {
        for framing in ["raw", "line", "crlf", "length", "length:2le", "length:8"] {
            for size in [0, 1, 5, 300] {
                let shape = shape(framing, size);
                let cursor = Cursor::first(3);
                let mut whole = Vec::new();
                shape.append(cursor, &mut whole);
                let mut joined = Vec::new();
                while joined.len() < shape.frame_bytes(cursor) {
                    let part = shape.part(cursor, joined.len());
                    assert!(!part.is_empty());
                    joined.extend_from_slice(part);
                }
                assert_eq!(joined, whole, "{framing} {size}");
            }
        }
    }

    #[test]
    fn messages_of_ones_own_come_in_turn_and_begin_again() {
        for (framing, first) in [("raw", &b"a"[..]), ("line", b"a\n"), ("length:1", b"\x01a")] {
            let mut plan = Plan::new(Target::parse("tcp://127.0.0.1:1").expect("an address"));
            plan.framing = Framing::parse(framing).expect("known");
            plan.own = vec![b"a".to_vec(), b"bcd".to_vec()];
            let shape = Shape::new(&plan, 1);
            let cursor = Cursor::first(3);
            assert_eq!(shape.frame(cursor), first);
            assert_eq!(shape.frame(cursor.moved(2)), first);
            assert_eq!(shape.payload(cursor.moved(1)), b"bcd");
            assert_eq!(shape.frame_bytes(cursor.moved(1)), first.len() + 2);
            assert_eq!(shape.frame_bytes_max(), first.len() + 2);
        }
    }

    #[test]
    fn lengths_are_written_in_the_order_asked_for() {
        let mut message = Vec::new();
        shape("length:2", 258).append(Cursor::first(0), &mut message);
        assert_eq!(message[..2], [1, 2]);
        message.clear();
        shape("length:4le", 258).append(Cursor::first(0), &mut message);
        assert_eq!(message[..4], [2, 1, 0, 0]);
        message.clear();
        shape("length:2+self", 258).append(Cursor::first(0), &mut message);
        assert_eq!(message[..2], [1, 4]);
    }

    #[test]
    fn a_line_ends_with_one_line_feed() {
        let mut message = Vec::new();
        shape("line", 7).append(Cursor::first(0), &mut message);
        assert_eq!(message.iter().position(|byte| *byte == b'\n'), Some(7));
    }
}
