//! Sessions without a port: a sink that records what is reported to it.

use super::http::{Answer, Step};
use super::sink::{HttpSink, Sink};
use super::websocket::Negotiated;
use super::websocket::compression::{CompressionTraffic, Pool};
use super::wire_form::{Label, WireForm};
use super::{Session, Stage};
use crate::close::{Cause, CloseReason};
use crate::limit::Limit;
use crate::options::{Framing, Messages, Options};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use vespiary_port::{FilePart, KeptBytes};
use vespiary_wire::framing::length::Format;
use vespiary_wire::http::Request;
use vespiary_wire::websocket::close::Code;
use vespiary_wire::websocket::decoder::{Decoder, Role};
use vespiary_wire::websocket::frame::{self, Kind, Opcode};
use vespiary_wire::websocket::profile::Version;

#[derive(Clone, Debug, PartialEq)]
enum Report {
    Binary(Vec<u8>),
    Text(String),
    Part(Kind, Vec<u8>, bool),
    Close(u16, String),
    Control(Opcode, Vec<u8>),
    Limit(Limit),
    Request(String),
    Opened,
    Finished(u16),
}

struct Recorder {
    options: Rc<Options>,
    negotiated: Negotiated,
    reports: RefCell<Vec<Report>>,
    written: RefCell<Vec<u8>>,
    scratch: RefCell<Vec<u8>>,
    pool: RefCell<Pool>,
    /// The session is blocked when it has reported so much.
    blocks_at: Cell<usize>,
    is_over: Cell<bool>,
}

impl Recorder {
    fn new(options: Options) -> Self {
        Self {
            options: Rc::new(options),
            negotiated: Negotiated::default(),
            reports: RefCell::default(),
            written: RefCell::default(),
            scratch: RefCell::default(),
            pool: RefCell::default(),
            blocks_at: Cell::new(usize::MAX),
            is_over: Cell::new(false),
        }
    }

    fn report(&self, report: Report) {
        self.reports.borrow_mut().push(report);
    }

    fn take(&self) -> Vec<Report> {
        self.reports.take()
    }
}

impl Sink for Recorder {
    type Payload = Vec<u8>;

    fn options(&self) -> Rc<Options> {
        self.options.clone()
    }
    fn is_client(&self) -> bool {
        false
    }
    fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }
    fn is_blocked(&self) -> bool {
        self.reports.borrow().len() >= self.blocks_at.get()
    }
    fn is_aborted(&self) -> bool {
        false
    }
    fn may_deliver(&self) -> bool {
        !self.is_over.get()
    }
    fn is_close_received(&self) -> bool {
        self.is_over.get()
    }
    fn charge(&self, _: u16) {}
    fn binary(&self, payload: Vec<u8>) {
        self.report(Report::Binary(payload));
    }
    fn text(&self, text: &str) {
        self.report(Report::Text(text.to_owned()));
    }
    fn part(&self, kind: Kind, payload: Vec<u8>, last: bool) {
        self.report(Report::Part(kind, payload, last));
    }
    fn close_frame(&self, code: Code, text: &str) {
        self.is_over.set(true);
        self.report(Report::Close(code.0, text.to_owned()));
    }
    fn send_control(&self, opcode: Opcode, payload: &[u8]) {
        self.report(Report::Control(opcode, payload.to_vec()));
    }
    fn pong(&self, _: &[u8]) {}
    fn queued_bytes(&self) -> usize {
        self.written.borrow().len()
    }
    fn limit_reached(&self, limit: Limit) {
        self.report(Report::Limit(limit));
    }
    fn scratch(&self) -> &RefCell<Vec<u8>> {
        &self.scratch
    }
    fn compression_pool(&self) -> &RefCell<Pool> {
        &self.pool
    }
    fn count_compression(&self, _: impl Fn(&mut CompressionTraffic)) {}
    fn account_compression(&self, _: u64, _: u64) {}
}

impl HttpSink for Recorder {
    fn date(&self) -> Rc<str> {
        "Thu, 01 Jan 1970 00:00:00 GMT".into()
    }
    fn random(&self, _: &mut [u8]) {}
    fn write(&self, bytes: &[u8]) {
        self.written.borrow_mut().extend_from_slice(bytes);
    }
    fn write_parts(&self, parts: &[&[u8]]) {
        for part in parts {
            self.write(part);
        }
    }
    fn write_kept(&self, kept: Rc<dyn KeptBytes>) {
        self.write(kept.bytes());
    }
    fn write_file(&self, part: FilePart) {
        let read = part.read(0, part.len(), &mut self.written.borrow_mut());
        assert_eq!(read, Ok(()));
    }
    fn body_piece(&self, data: &[u8]) {
        self.report(Report::Binary(data.to_vec()));
    }
    fn body_ended(&self) {}
    fn body_failed(&self, _: &CloseReason) {}
    fn body_progressed(&self) {}
    fn response_begun(&self, _: bool) {}
    fn count_protocol_error(&self) {}
    fn request_begun(&self) {}
    fn client_named(&self, _: &Request) -> Result<(), Limit> {
        Ok(())
    }

    fn route(&self, _request: &Request) -> Option<Rc<Options>> {
        Some(self.options())
    }

    fn request_options(&self) -> Rc<Options> {
        self.options()
    }

    fn settle_route(&self) {}

    fn request(&self, request: Request, _body: Vec<u8>) -> Answer {
        self.report(Report::Request(request.target().to_owned()));
        Answer::Accept {
            protocol: None,
            headers: Vec::new(),
        }
    }
    fn take_only_step(&self) -> Option<Step> {
        None
    }
    fn awaits_answer(&self) -> bool {
        true
    }
    fn has_peer_ended(&self) -> bool {
        false
    }
    fn fault(&self, text: &str) {
        panic!("{text}");
    }
    fn denied(&self, _: u16, _: &str, _: &str) {}
    fn count_answer(&self, _: u16) {}
    fn request_over(&self) {}
    fn accepted(&self, _: Vec<(String, String)>) {}
    fn enter_tunnel(&self) -> bool {
        true
    }
    fn begin_deflate_stream(&self) {}
    fn opened(&self) {
        self.report(Report::Opened);
    }
    fn finish(&self, reason: CloseReason) {
        self.report(Report::Finished(reason.status.unwrap_or(0)));
    }
    fn abort(&self, reason: CloseReason) {
        panic!("{reason}");
    }
}

fn limited(framing: Framing) -> Options {
    let mut options = Options::unlimited(framing);
    options.limits.message_bytes_max = 100;
    options
}

/// Feed all of `input`; how much was taken, or the cause of the failure.
fn feed(session: &mut Session<Vec<u8>>, sink: &Recorder, input: &[u8]) -> Result<usize, Cause> {
    let mut rest = input;
    let fed = session.feed(sink, &mut rest);
    fed.map(|()| input.len() - rest.len())
        .map_err(|it| it.cause)
}

fn websocket() -> Session<Vec<u8>> {
    let decoder = Decoder::new(Role::Server, Version::Rfc6455);
    Session::new(Stage::WebSocket(decoder))
}

fn masked(last: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::append(&mut bytes, last, false, opcode, payload, Some([1, 2, 3, 4]));
    bytes
}

fn lines() -> Framing {
    Framing::Line { ending: b"\r\n" }
}

fn lengths() -> Framing {
    Framing::Length(Format::new(2, true, false).expect("a width"))
}

#[test]
fn a_message_is_read_back_from_its_wire_form_in_every_framing() {
    for framing in [lines(), lengths()] {
        let sink = Recorder::new(limited(framing.clone()));
        let mut session = Session::new(Stage::of_stream(&framing));
        let mut wire = Vec::new();
        for message in [&b"one"[..], b"", b"three"] {
            let label = Label::whole(Kind::Binary);
            let form = WireForm::new(&framing, label, message, || None).expect("it fits");
            let before = wire.len();
            form.append(&mut wire, message);
            assert_eq!(wire.len() - before, form.size(message.len()));
        }
        // At every cut.
        for cut in 0..wire.len() {
            assert_eq!(feed(&mut session, &sink, &wire[..cut]), Ok(cut));
            assert_eq!(
                feed(&mut session, &sink, &wire[cut..]),
                Ok(wire.len() - cut)
            );
            let expected = [&b"one"[..], b"", b"three"].map(|it| Report::Binary(it.to_vec()));
            assert_eq!(sink.take(), expected, "{framing:?} cut at {cut}");
        }
    }
}

#[test]
fn a_blocked_session_leaves_the_rest_of_its_input() {
    let sink = Recorder::new(limited(lines()));
    let mut session = Session::new(Stage::of_stream(&lines()));
    sink.blocks_at.set(1);
    assert_eq!(feed(&mut session, &sink, b"one\ntwo\n"), Ok(4));
    assert_eq!(sink.take(), [Report::Binary(b"one".to_vec())]);
}

#[test]
fn a_message_over_its_limit_is_reported_and_fails_the_connection() {
    for (framing, input) in [
        (lines(), [b'x'; 200].to_vec()),
        (lengths(), vec![1, 0, b'x']),
    ] {
        let sink = Recorder::new(limited(framing.clone()));
        let mut session = Session::new(Stage::of_stream(&framing));
        let failed = feed(&mut session, &sink, &input);
        assert_eq!(failed, Err(Cause::Limit(Limit::MessageBytes)));
        assert_eq!(sink.take(), [Report::Limit(Limit::MessageBytes)]);
    }
}

#[test]
fn frames_become_messages_and_answers_to_control_frames() {
    let sink = Recorder::new(limited(Framing::WebSocket));
    let mut session = websocket();
    let input = [
        masked(false, Opcode::Text, b"cut "),
        masked(true, Opcode::Ping, b"there?"),
        masked(true, Opcode::Continuation, b"short"),
        masked(true, Opcode::Binary, b"\x00\x01"),
        masked(true, Opcode::Close, b"\x03\xe9bye"),
        masked(true, Opcode::Text, b"behind the close frame"),
    ]
    .concat();
    assert_eq!(feed(&mut session, &sink, &input), Ok(input.len()));
    let expected = [
        Report::Control(Opcode::Pong, b"there?".to_vec()),
        Report::Text("cut short".to_owned()),
        Report::Binary(vec![0, 1]),
        Report::Close(1001, "bye".to_owned()),
    ];
    assert_eq!(sink.take(), expected);
}

#[test]
fn parts_are_delivered_as_they_come() {
    let mut options = limited(Framing::WebSocket);
    options.parts = true;
    let sink = Recorder::new(options);
    let mut session = websocket();
    let whole = masked(true, Opcode::Binary, b"abcd");
    for byte in &whole {
        feed(&mut session, &sink, &[*byte]).expect("no fault");
    }
    let parts: Vec<u8> = (sink.take().into_iter())
        .flat_map(|report| match report {
            Report::Part(Kind::Binary, bytes, _) => bytes,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(parts, b"abcd");
}

#[test]
fn a_message_of_a_kind_that_is_not_taken_is_refused() {
    let mut options = limited(Framing::WebSocket);
    options.websocket.messages = Messages::Text;
    let sink = Recorder::new(options);
    let frame = masked(true, Opcode::Binary, b"no");
    let refused = feed(&mut websocket(), &sink, &frame);
    assert_eq!(refused, Err(Cause::MessageRefused));
}

#[test]
fn a_request_is_reported_and_what_follows_its_upgrade_is_frames() {
    let sink = Recorder::new(limited(Framing::WebSocket));
    let mut session = Session::new(Stage::Head(Box::default()));
    let mut input = b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Version: 13\r\n\r\n"
        .to_vec();
    input.extend(masked(true, Opcode::Text, b"hello"));
    assert_eq!(feed(&mut session, &sink, &input), Ok(input.len()));
    let expected = [
        Report::Request("/chat".to_owned()),
        Report::Opened,
        Report::Text("hello".to_owned()),
    ];
    assert_eq!(sink.take(), expected);
    assert!(sink.written.borrow().starts_with(b"HTTP/1.1 101 "));
}

#[test]
fn a_malformed_request_is_answered_and_the_rest_thrown_away() {
    let sink = Recorder::new(limited(Framing::Http));
    let mut session = Session::new(Stage::Head(Box::default()));
    let input = b"GET / HTTP/1.1\r\nno colon\r\n\r\nGET / HTTP/1.1\r\n";
    assert_eq!(feed(&mut session, &sink, input), Ok(input.len()));
    assert_eq!(sink.take(), [Report::Finished(400)]);
    assert!(sink.written.borrow().starts_with(b"HTTP/1.1 400 "));
}
