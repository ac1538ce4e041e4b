//! The receiving half of a client for a protocol of frames.

mod message;
mod streams;

use streams::Streams;

#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    Data {
        stream: u32,
        length: usize,
    },
    Headers {
        stream: u32,
        fields: Vec<(String, String)>,
    },
    Promise {
        stream: u32,
        method: &'static str,
    },
    End {
        last: u32,
    },
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reply {
    Accepted,
    /// The stream is refused or reset.
    Reset(u32),
    /// The connection ends.
    Gone,
}

#[derive(Debug, Clone)]
pub struct Limits {
    pub frame: usize,
    pub streams: usize,
    pub promises: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            frame: 100,
            streams: 2,
            promises: true,
        }
    }
}

#[derive(Debug, Default)]
pub struct Connection {
    limits: Limits,
    streams: Streams,
    last: Option<u32>,
}

impl Connection {
    pub fn new(limits: Limits) -> Self {
        Connection {
            limits,
            ..Connection::default()
        }
    }

    /// Opens a stream of the client.
    pub fn request(&mut self) -> u32 {
        self.streams.open()
    }

    #[cfg(feature = "unstable")]
    pub fn is_open(&self, stream: u32) -> bool {
        self.streams.expected.contains_key(&stream)
    }

    pub fn receive(&mut self, frame: &Frame) -> Reply {
        match frame {
            Frame::Data { stream, length } => self.data(*stream, *length),
            Frame::Headers { stream, fields } => self.headers(*stream, fields),
            Frame::Promise { stream, method } => self.promise(*stream, method),
            Frame::End { last } => self.end(*last),
        }
    }

    fn data(&mut self, stream: u32, length: usize) -> Reply {
        if stream == 0 {
            return Reply::Gone;
        }
        if length > self.limits.frame {
            return Reply::Gone;
        }
        let Some(left) = self.streams.expected.get_mut(&stream) else {
            return Reply::Reset(stream);
        };
        if left.is_some_and(|left| length > left) {
            return Reply::Reset(stream);
        }
        *left = left.map(|left| left.saturating_sub(length));
        Reply::Accepted
    }

    fn headers(&mut self, stream: u32, fields: &[(String, String)]) -> Reply {
        if !self.streams.expected.contains_key(&stream) {
            return Reply::Gone;
        }
        match message::check(fields) {
            Some(length) => {
                self.streams.expected.insert(stream, length);
                Reply::Accepted
            }
            None => Reply::Reset(stream),
        }
    }

    fn promise(&mut self, stream: u32, method: &str) -> Reply {
        if !self.limits.promises {
            return Reply::Gone;
        }
        let accepted = self.streams.reserve(stream, self.limits.streams);
        if accepted == Reply::Accepted && method != "GET" && method != "HEAD" {
            self.streams.expected.remove(&stream);
            return Reply::Reset(stream);
        }
        accepted
    }

    fn end(&mut self, last: u32) -> Reply {
        if self.last.is_some_and(|before| last > before) {
            return Reply::Gone;
        }
        self.last = Some(last);
        Reply::Accepted
    }
}
