//! The host: what comes goes back.

use std::rc::Rc;

use vespiary_engine::port::timer::Fired;
use vespiary_engine::wire::http;
use vespiary_engine::{
    AfterEnd, Answer, CloseReason, Connection, Endpoint, Engine, Event, Host, Kind,
};

/// Echoes whatever comes.
pub(crate) struct Echo;

impl Host for Echo {
    type Payload = Vec<u8>;
    type Endpoint = ();
    type User = ();

    fn request(&self, _: &Rc<Connection<Self>>, _: http::Request, _: Vec<u8>) -> Answer {
        Answer::Accept {
            protocol: None,
            headers: Vec::new(),
        }
    }

    fn opened(&self, _: &Rc<Connection<Self>>) {}

    fn binary(&self, connection: &Rc<Connection<Self>>, payload: Vec<u8>) {
        // A full queue closes the connection: the load client counts what is lost.
        if connection.send(Kind::Binary, &payload, None).is_err() {
            connection.abort();
        }
    }

    fn text(&self, connection: &Rc<Connection<Self>>, text: &str) {
        if connection.send(Kind::Text, text.as_bytes(), None).is_err() {
            connection.abort();
        }
    }

    fn part(&self, _: &Rc<Connection<Self>>, _: Kind, _: Vec<u8>, _: bool) {}

    fn drained(&self, _: &Rc<Connection<Self>>) {}

    fn ended(&self, _: &Rc<Connection<Self>>) -> AfterEnd {
        AfterEnd::Close
    }

    fn closed(&self, _: &Rc<Connection<Self>>, _: &CloseReason) {}

    fn refused(&self, _: &Rc<Connection<Self>>, _: &CloseReason) {}

    fn fault(&self, _: &Rc<Connection<Self>>, text: &str) {
        eprintln!("engine_echo: {text}");
    }

    fn event(&self, _: &Rc<Endpoint<Self>>, event: Event) {
        eprintln!("engine_echo: {event:?}");
    }

    fn round_over(&self) {}

    fn timer(&self, _: &Rc<Engine<Self>>, _: &Fired<u64>) {}

    fn ready(&self, _: i32, _: vespiary_engine::port::Interest) {}
}
