//! What the host of a test does at an endpoint.

use super::host::{Conn, TestHost};
use std::rc::Rc;
use vespiary_engine::port::Arrival;
use vespiary_engine::wire::http::Request;
use vespiary_engine::{AfterEnd, Answer, DatagramSocket, Endpoint, Filtered, Kind, Layer, Options};

/// What a script does when told something.
pub type Act = Box<dyn Fn(&Conn)>;
type OnRequest = Box<dyn Fn(&Conn, &Request) -> Answer>;
type OnPart = Box<dyn Fn(&Conn, Kind, &[u8], bool)>;
/// What a script makes of bytes.
pub type Filter = Box<dyn Fn(&Conn, &[u8]) -> Filtered>;
/// The layers of a new connection.
pub type Layers = Box<dyn Fn(&Conn) -> Vec<Box<dyn Layer>>>;
type OnDatagram = Box<dyn Fn(&Rc<DatagramSocket<TestHost>>, &Arrival, &[u8])>;
type OnMessage = Box<dyn Fn(&Conn, Kind, &[u8])>;
type OnBodyPiece = Box<dyn Fn(&Conn, &[u8])>;
type OnSubscription = Box<dyn Fn(&Conn, &str, bool)>;

/// What the host does at an endpoint.
pub struct Script {
    /// At a request.
    pub request: OnRequest,
    /// At a piece of a body.
    pub body_piece: OnBodyPiece,
    /// At the end of a body that came in pieces.
    pub body_ended: Act,
    /// When there is room for more of a response.
    pub room: Act,
    /// When a connection opens.
    pub opened: Act,
    /// At a message.
    pub message: OnMessage,
    /// At a part of a message.
    pub part: OnPart,
    /// When a layer that was started later is ready.
    pub secured: Act,
    /// When a subscription begins or ends.
    pub subscription: Option<OnSubscription>,
    /// When the write queue has drained.
    pub drained: Act,
    /// When the peer finished sending.
    pub ended: Box<dyn Fn(&Conn) -> AfterEnd>,
    /// When an opened connection is gone.
    pub closed: Act,
    /// When a client connection could not be opened.
    pub refused: Act,
    /// The layers of each new connection.
    pub layers: Layers,
    /// What the framing sees instead of what came, at a filtered endpoint.
    pub filter_received: Filter,
    /// What leaves instead of what was sent, at a filtered endpoint.
    pub filter_sent: Filter,
    /// At a datagram.
    pub datagram: OnDatagram,
    /// Whether messages and parts are remembered.
    pub remembers: bool,
}

/// The answer that accepts an upgrade.
pub fn accept() -> Answer {
    Answer::Accept {
        protocol: None,
        headers: Vec::new(),
    }
}

impl Script {
    /// Takes everything and says nothing.
    pub fn sink() -> Self {
        Self {
            request: Box::new(|_, _| accept()),
            body_piece: Box::new(|_, _| ()),
            body_ended: Box::new(|_| ()),
            room: Box::new(|_| ()),
            opened: Box::new(|_| ()),
            message: Box::new(|_, _, _| ()),
            part: Box::new(|_, _, _, _| ()),
            secured: Box::new(|_| ()),
            subscription: None,
            drained: Box::new(|_| ()),
            ended: Box::new(|_| AfterEnd::Close),
            closed: Box::new(|_| ()),
            refused: Box::new(|_| ()),
            layers: Box::new(|_| Vec::new()),
            filter_received: Box::new(|_, bytes| Filtered::Bytes(bytes.to_vec())),
            filter_sent: Box::new(|_, bytes| Filtered::Bytes(bytes.to_vec())),
            datagram: Box::new(|_, _, _| ()),
            remembers: true,
        }
    }

    /// Sends every message back, and parts as they come.
    pub fn echo() -> Self {
        Self::sink()
            .on_message(|connection, kind, payload| {
                // What a full queue does not take is the test's to notice.
                let _ = connection.send(kind, payload, None);
            })
            .on_part(|connection, kind, payload, last| {
                let _ = connection.send_part(kind, payload, last, None);
            })
    }

    /// Answer requests so.
    #[must_use]
    pub fn on_request(mut self, act: impl Fn(&Conn, &Request) -> Answer + 'static) -> Self {
        self.request = Box::new(act);
        self
    }

    /// Do this at a piece of a body.
    #[must_use]
    pub fn on_body_piece(mut self, act: impl Fn(&Conn, &[u8]) + 'static) -> Self {
        self.body_piece = Box::new(act);
        self
    }

    /// Do this at the end of a body that came in pieces.
    #[must_use]
    pub fn on_body_ended(mut self, act: impl Fn(&Conn) + 'static) -> Self {
        self.body_ended = Box::new(act);
        self
    }

    /// Do this when there is room for more of a response.
    #[must_use]
    pub fn on_room(mut self, act: impl Fn(&Conn) + 'static) -> Self {
        self.room = Box::new(act);
        self
    }

    /// Do this when a connection opens.
    #[must_use]
    pub fn on_opened(mut self, act: impl Fn(&Conn) + 'static) -> Self {
        self.opened = Box::new(act);
        self
    }

    /// Do this at a message.
    #[must_use]
    pub fn on_message(mut self, act: impl Fn(&Conn, Kind, &[u8]) + 'static) -> Self {
        self.message = Box::new(act);
        self
    }

    /// Do this at a part of a message.
    #[must_use]
    pub fn on_part(mut self, act: impl Fn(&Conn, Kind, &[u8], bool) + 'static) -> Self {
        self.part = Box::new(act);
        self
    }

    /// Do this at a datagram.
    #[must_use]
    pub fn on_datagram(
        mut self,
        act: impl Fn(&Rc<DatagramSocket<TestHost>>, &Arrival, &[u8]) + 'static,
    ) -> Self {
        self.datagram = Box::new(act);
        self
    }

    /// Do this when a layer that was started later is ready.
    #[must_use]
    pub fn on_secured(mut self, act: impl Fn(&Conn) + 'static) -> Self {
        self.secured = Box::new(act);
        self
    }

    /// Do this when a subscription begins or ends.
    #[must_use]
    pub fn on_subscription(mut self, act: impl Fn(&Conn, &str, bool) + 'static) -> Self {
        self.subscription = Some(Box::new(act));
        self
    }

    /// Do this when the write queue has drained.
    #[must_use]
    pub fn on_drained(mut self, act: impl Fn(&Conn) + 'static) -> Self {
        self.drained = Box::new(act);
        self
    }

    /// Do this when the peer has finished sending.
    #[must_use]
    pub fn on_ended(mut self, act: impl Fn(&Conn) -> AfterEnd + 'static) -> Self {
        self.ended = Box::new(act);
        self
    }

    /// Do this when a connection is gone.
    #[must_use]
    pub fn on_closed(mut self, act: impl Fn(&Conn) + 'static) -> Self {
        self.closed = Box::new(act);
        self
    }

    /// Do this when a client connection could not be opened.
    #[must_use]
    pub fn on_refused(mut self, act: impl Fn(&Conn) + 'static) -> Self {
        self.refused = Box::new(act);
        self
    }

    /// Filter what comes so.
    #[must_use]
    pub fn filtering_received<T: Into<Filtered>>(
        mut self,
        filter: impl Fn(&Conn, &[u8]) -> T + 'static,
    ) -> Self {
        self.filter_received = Box::new(move |connection, bytes| filter(connection, bytes).into());
        self
    }

    /// Filter what leaves so.
    #[must_use]
    pub fn filtering_sent<T: Into<Filtered>>(
        mut self,
        filter: impl Fn(&Conn, &[u8]) -> T + 'static,
    ) -> Self {
        self.filter_sent = Box::new(move |connection, bytes| filter(connection, bytes).into());
        self
    }

    /// Give each new connection these layers.
    #[must_use]
    pub fn layered(mut self, layers: impl Fn(&Conn) -> Vec<Box<dyn Layer>> + 'static) -> Self {
        self.layers = Box::new(layers);
        self
    }

    /// Do not remember messages.
    #[must_use]
    pub fn forgetful(mut self) -> Self {
        self.remembers = false;
        self
    }

    /// An endpoint of this script.
    pub fn endpoint(self, options: Options) -> Rc<Endpoint<TestHost>> {
        Endpoint::new(options, self)
    }
}
