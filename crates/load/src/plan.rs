//! What a run does: the plan, its limits, and the check that it makes sense.

use std::time::Duration;

use crate::datagrams::{DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_MIN};
use crate::error::Error;
use crate::framing::Framing;
use crate::http;
use crate::own;
use crate::payload::Alphabet;
use crate::target::{Protocol, Target};
use crate::tls::TlsSettings;

/// Connections of one run, at most: one byte short of what the sources of one block of loopback can
/// carry.
pub const CONNECTIONS_MAX: u32 = 1_000_000;
/// Bytes of a message, at most. Each connection in flight buffers `pipeline` messages.
pub const SIZE_MAX: usize = 64 << 20;
/// Messages in flight on one connection, at most.
pub const PIPELINE_MAX: u32 = 65_536;
/// Messages in flight on one connection when sending runs free, unless [`FREE_BYTES_MAX`] is
/// reached before.
pub const FREE_MESSAGES_MAX: u32 = 4_096;
/// Bytes in flight on one connection when sending runs free; one message is always allowed.
pub const FREE_BYTES_MAX: usize = 4 << 20;
/// Problems that a report describes one by one; all are counted.
pub const PROBLEMS_MAX: usize = 20;

/// What the server does with messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reply {
    /// It sends each of them back.
    #[default]
    Echo,
    /// Nothing that is known: what comes is counted.
    None,
}

/// How to disturb what is sent, to find framing errors: it leaves in pieces that respect no
/// boundary, some of them late. On WebSocket messages also leave as several frames with pings
/// between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The longest pause between two pieces.
    pub delay_max: Duration,
    /// The most frames that a WebSocket message is split into.
    pub frames_max: u32,
}

impl Default for Fragment {
    /// Pauses of up to 2 ms, up to 4 frames.
    fn default() -> Self {
        Self {
            delay_max: Duration::from_millis(2),
            frames_max: 4,
        }
    }
}

/// Which driver of the port to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driver {
    /// `io_uring` where the kernel allows it, else epoll.
    #[default]
    Automatic,
    /// `io_uring` or an error.
    Uring,
    /// epoll.
    Epoll,
}

impl Driver {
    /// Parse `auto`, `uring` or `epoll`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "auto" => Ok(Self::Automatic),
            "uring" => Ok(Self::Uring),
            "epoll" => Ok(Self::Epoll),
            _ => Err(Error::plan(format!(
                "driver {text:?} is unknown; use auto, uring or epoll"
            ))),
        }
    }
}

/// What a run does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whom to connect to: the connections take turns. All speak the same framing.
    pub targets: Vec<Target>,
    /// Further lines of the WebSocket handshake, or of each request.
    pub headers: Vec<(String, String)>,
    /// The subprotocols that the handshake offers, the best first.
    pub subprotocols: Vec<String>,
    /// Offer permessage-deflate, and compress if the server agrees.
    pub compress: bool,
    /// The method of requests. Payloads are their bodies; with a size of zero they have none.
    pub method: String,
    /// Whom TLS connections trust, and who they are.
    pub tls: TlsSettings,
    /// What the server does with messages.
    pub reply: Reply,
    /// Payloads to send in turn, instead of noise of `size` bytes.
    pub own: Vec<Vec<u8>>,
    /// How messages are distinguished.
    pub framing: Framing,
    /// How many connections.
    pub connections: u32,
    /// Messages per connection. `None`: as many as `duration` allows.
    pub messages: Option<u64>,
    /// Stop sending after this time, counted from the first message.
    pub duration: Option<Duration>,
    /// Bytes of a message's payload.
    pub size: usize,
    /// Messages in flight on each connection; zero lets sending run free, up to
    /// [`FREE_MESSAGES_MAX`] and [`FREE_BYTES_MAX`].
    pub pipeline: u32,
    /// Grow to the rate within this time, evenly; without a rate, let one connection after the
    /// other begin to send.
    pub ramp_up: Duration,
    /// Rates, and how long each is kept, instead of `rate` and `duration`.
    pub steps: Vec<(f64, Duration)>,
    /// Messages per second over all connections. Latency then counts from when a message was due,
    /// so a server that stalls cannot hide the messages it kept from being sent.
    pub rate: Option<f64>,
    /// Payloads are text: UTF-8, and text messages on WebSocket.
    pub text: bool,
    /// Whether and how to cut, merge and delay what is sent.
    pub fragment: Option<Fragment>,
    /// What decides all that is random. `None`: the kernel's generator does.
    pub seed: Option<u64>,
    /// How many loopback addresses to connect from, 127.0.0.1 and those after it. `None`: as many
    /// as the number of connections needs when the target is a loopback address, otherwise the
    /// kernel's choice.
    pub sources: Option<u32>,
    /// Connections being opened at a time. More than a listener's backlog costs a second per
    /// overflow.
    pub connect_concurrency: u32,
    /// For a connection and its handshake.
    pub connect_timeout: Duration,
    /// How long the echo of a message may take until it is taken as lost.
    pub reply_timeout: Duration,
    /// How long to wait for the server's end of the connections after ours.
    pub close_timeout: Duration,
    /// Keep the connections open and idle for this long after the last echo, for measuring memory.
    pub hold: Duration,
    /// The port's driver.
    pub driver: Driver,
    /// Look for completions this long before sleeping: sharper latencies of few connections, for
    /// processor time.
    pub spin: Duration,
}

impl Plan {
    /// A plan of one connection and one message of 32 bytes to `target`.
    pub fn new(target: Target) -> Self {
        let framing = framing_of(&target);
        Self {
            targets: vec![target],
            headers: Vec::new(),
            subprotocols: Vec::new(),
            compress: false,
            method: "GET".to_owned(),
            tls: TlsSettings::default(),
            reply: Reply::Echo,
            own: Vec::new(),
            ramp_up: Duration::ZERO,
            steps: Vec::new(),
            framing,
            connections: 1,
            messages: Some(1),
            duration: None,
            size: 32,
            pipeline: 1,
            rate: None,
            text: false,
            fragment: None,
            seed: None,
            sources: None,
            connect_concurrency: 100,
            connect_timeout: Duration::from_secs(10),
            reply_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(2),
            hold: Duration::ZERO,
            driver: Driver::Automatic,
            spin: Duration::ZERO,
        }
    }

    /// Say what does not make sense, naming the option and what it allows.
    pub fn check(&self) -> Result<(), Error> {
        let within_u32 = |name, value: u32, least, most| within(name, value.into(), least, most);
        within_u32("connections", self.connections, 1, CONNECTIONS_MAX.into())?;
        within("size", self.size as u64, self.size_min(), self.size_limit())?;
        within_u32("pipeline", self.pipeline, 0, PIPELINE_MAX.into())?;
        within_u32("connect_concurrency", self.connect_concurrency, 1, 65_536)?;
        let spin = self.spin.as_micros() as u64;
        within("spin (in microseconds)", spin, 0, 1_000_000)?;
        self.check_targets()?;
        self.check_end()?;
        if !self.own.is_empty() {
            own::check(&self.own, self.framing, self.text)?;
        }
        refuse(
            self.fragment.is_some() && self.framing == Framing::Datagram,
            "a datagram leaves as a whole: remove --fragment",
        )?;
        let is_frameless = self.fragment.is_some_and(|it| it.frames_max == 0);
        refuse(is_frameless, "a message cannot leave in zero frames")?;
        let bytes = self.in_flight_max().saturating_mul(self.size_max() + 16);
        within("pipeline x size", bytes, 0, 256 << 20)
    }

    fn check_targets(&self) -> Result<(), Error> {
        if let Some(sources) = self.sources {
            within("sources", u64::from(sources), 1, 65_536)?;
            refuse(
                !self.is_loopback_v4(),
                "sources spreads over 127.0.0.0/8: it needs targets there",
            )?;
        }
        refuse(self.targets.is_empty(), "there is no target")?;
        let mut targets = self.targets.iter();
        refuse(
            targets.any(|target| match target.protocol {
                Protocol::Stream => matches!(
                    self.framing,
                    Framing::WebSocket | Framing::Http | Framing::Datagram
                ),
                _ => framing_of(target) != self.framing,
            }),
            "all addresses must be of one kind: ws:// and wss://, or http:// and https://, or \
             udp://, these without --framing, or the others",
        )?;
        let is_http = self.framing == Framing::Http;
        let is_websocket = self.framing == Framing::WebSocket;
        refuse(
            !self.headers.is_empty() && !is_websocket && !is_http,
            "headers need a ws://, wss://, http:// or https:// address",
        )?;
        refuse(
            (!self.subprotocols.is_empty() || self.compress) && !is_websocket,
            "subprotocols and compression need a ws:// or wss:// address",
        )?;
        self.check_requests(is_http)?;
        refuse(
            self.tls != TlsSettings::default() && !self.is_secure(),
            "ca, cert and insecure need a tls://, wss:// or https:// address",
        )
    }

    fn check_requests(&self, is_http: bool) -> Result<(), Error> {
        refuse(
            self.method != "GET" && !is_http,
            "a method needs an http:// or https:// address",
        )?;
        for target in &self.targets {
            self.request_head(target)?;
        }
        refuse(
            self.reply == Reply::None && is_http,
            "every request has a response: remove --expect-reply",
        )
    }

    /// The head of requests to `target`; empty where it does not speak HTTP.
    pub(crate) fn request_head(&self, target: &Target) -> Result<Vec<u8>, Error> {
        let Protocol::Http(resource) = &target.protocol else {
            return Ok(Vec::new());
        };
        http::head(&self.method, resource, &self.headers).map_err(Error::Plan)
    }

    /// Whether a target speaks TLS.
    pub fn is_secure(&self) -> bool {
        self.targets
            .iter()
            .any(|target| target.server_name.is_some())
    }

    fn check_end(&self) -> Result<(), Error> {
        let is_endless =
            self.messages.is_none() && self.duration.is_none() && self.steps.is_empty();
        refuse(
            is_endless,
            "neither messages nor duration is given: the run would not end",
        )?;
        let is_rate = |rate: f64| rate.is_finite() && rate > 0.0 && rate <= 1e9;
        let mut rates = self
            .rate
            .into_iter()
            .chain(self.steps.iter().map(|it| it.0));
        refuse(
            rates.any(|rate| !is_rate(rate)),
            "rate must be above 0 and at most 1e9 messages per second",
        )?;
        let is_both = self.rate.is_some() || self.duration.is_some() || !self.ramp_up.is_zero();
        refuse(
            is_both && !self.steps.is_empty(),
            "steps replace rate, duration and ramp_up",
        )?;
        refuse(
            self.steps.iter().any(|(_, length)| length.is_zero()),
            "a step must take some time",
        )
    }

    /// Whether messages leave at a rate.
    pub fn is_paced(&self) -> bool {
        self.rate.is_some() || !self.steps.is_empty()
    }

    /// When sending ends, counted from the first message, if that is planned.
    pub fn sending_time(&self) -> Option<Duration> {
        if self.steps.is_empty() {
            return self.duration;
        }
        Some(self.steps.iter().map(|(_, length)| *length).sum())
    }

    /// Whether all targets lie in 127.0.0.0/8.
    pub fn is_loopback_v4(&self) -> bool {
        self.targets.iter().all(Target::is_loopback_v4)
    }

    /// Bytes of the longest payload.
    pub fn size_max(&self) -> u64 {
        let own = self.own.iter().map(Vec::len).max();
        own.unwrap_or(self.size) as u64
    }

    /// Messages in flight on a connection, at most.
    pub fn in_flight_max(&self) -> u64 {
        if self.pipeline > 0 {
            return u64::from(self.pipeline);
        }
        let by_bytes = FREE_BYTES_MAX as u64 / self.size_max().max(1);
        by_bytes.clamp(1, u64::from(FREE_MESSAGES_MAX))
    }

    /// Which bytes payloads hold.
    pub fn alphabet(&self) -> Alphabet {
        match (self.text, self.framing) {
            (true, _) => Alphabet::Text,
            (false, Framing::Line | Framing::CrLf) => Alphabet::Line,
            (false, _) => Alphabet::Bytes,
        }
    }

    fn size_min(&self) -> u64 {
        match self.framing {
            Framing::Raw => 1,
            Framing::Datagram => DATAGRAM_BYTES_MIN as u64,
            _ => 0,
        }
    }

    fn size_limit(&self) -> u64 {
        match self.framing {
            Framing::Length(format) => format.payload_bytes_max().min(SIZE_MAX as u64),
            Framing::Datagram => DATAGRAM_BYTES_MAX as u64,
            _ => SIZE_MAX as u64,
        }
    }
}

/// The framing that a target has by itself.
fn framing_of(target: &Target) -> Framing {
    match target.protocol {
        Protocol::Stream => Framing::Raw,
        Protocol::WebSocket(_) => Framing::WebSocket,
        Protocol::Http(_) => Framing::Http,
        Protocol::Datagram => Framing::Datagram,
    }
}

fn refuse(is_wrong: bool, text: &str) -> Result<(), Error> {
    if is_wrong {
        return Err(Error::plan(text));
    }
    Ok(())
}

fn within(name: &str, value: u64, least: u64, most: u64) -> Result<(), Error> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::plan(format!(
        "{name} is {value}; it must be between {least} and {most}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(url: &str) -> Plan {
        Plan::new(Target::parse(url).expect("the address is good"))
    }

    fn refusal(plan: &Plan) -> String {
        plan.check().expect_err("the plan is wrong").to_string()
    }

    #[test]
    fn a_new_plan_makes_sense() {
        plan("tcp://127.0.0.1:1").check().expect("TCP");
        plan("ws://127.0.0.1:1/").check().expect("WebSocket");
    }

    #[test]
    fn a_plan_without_an_end_is_refused() {
        let mut endless = plan("tcp://127.0.0.1:1");
        endless.messages = None;
        assert!(refusal(&endless).contains("would not end"));
    }

    #[test]
    fn an_empty_raw_message_is_refused_but_an_empty_line_is_not() {
        let mut empty = plan("tcp://127.0.0.1:1");
        empty.size = 0;
        assert!(refusal(&empty).contains("size is 0"));
        empty.framing = Framing::Line;
        empty.check().expect("an empty line is a message");
    }

    #[test]
    fn a_message_must_fit_its_length() {
        let mut narrow = plan("tcp://127.0.0.1:1");
        narrow.framing = Framing::parse("length:2").expect("known");
        narrow.size = 65_536;
        assert!(refusal(&narrow).contains("between 0 and 65535"));
    }

    #[test]
    fn rates_of_zero_and_nan_are_refused() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let mut paced = plan("tcp://127.0.0.1:1");
            paced.rate = Some(rate);
            assert!(refusal(&paced).contains("rate"));
        }
    }

    #[test]
    fn framing_follows_the_address() {
        let mut mixed = plan("ws://127.0.0.1:1/");
        mixed.framing = Framing::Line;
        assert!(refusal(&mixed).contains("ws://"));
    }

    #[test]
    fn memory_in_flight_is_limited() {
        let mut greedy = plan("tcp://127.0.0.1:1");
        greedy.size = 1 << 20;
        greedy.pipeline = 1000;
        assert!(refusal(&greedy).contains("pipeline x size"));
    }

    #[test]
    fn sources_need_a_loopback_target() {
        let mut spread = plan("tcp://192.0.2.1:80");
        spread.sources = Some(4);
        assert!(refusal(&spread).contains("127.0.0.0/8"));
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let mut plain = plan("tcp://127.0.0.1:1");
        plain.headers = vec![("X-Test".into(), "1".into())];
        assert!(refusal(&plain).contains("need a ws://"));
        let mut trusting = plan("tcp://127.0.0.1:1");
        trusting.tls.is_insecure = true;
        assert!(refusal(&trusting).contains("need a tls://"));
        let mut silent = plan("http://127.0.0.1:1/");
        silent.reply = Reply::None;
        assert!(refusal(&silent).contains("every request has a response"));
        let mut stepped = plan("tcp://127.0.0.1:1");
        stepped.steps = vec![(100.0, Duration::from_secs(1))];
        stepped.check().expect("steps alone");
        stepped.rate = Some(1.0);
        assert!(refusal(&stepped).contains("steps replace rate"));
        let mut mixed = plan("tcp://127.0.0.1:1");
        mixed.targets.extend(plan("ws://127.0.0.1:1").targets);
        assert!(refusal(&mixed).contains("ws://"));
    }

    #[test]
    fn unknown_drivers_are_refused_with_the_known_ones() {
        let error = Driver::parse("iocp").expect_err("unknown");
        assert!(error.to_string().contains("epoll"));
    }
}
