//! Clients of the engine's own making in a random world, which talk to its own endpoints.

use crate::kit::defaults;
use crate::kit::{Bench, Script};
use crate::site::{COMPRESSIONS, Chance, Conduct, Site, below, disguising, perhaps};
use std::cell::RefCell;
use std::rc::Rc;
use vespiary_engine::wire::websocket::close::Code;
use vespiary_engine::{ClientHandshake, CloseReason, Endpoint, Framing, Kind};

/// What a client said and heard.
#[derive(Default)]
pub struct Talk {
    said: Vec<Vec<u8>>,
    heard: Vec<u8>,
    /// Why it ended.
    pub reason: Option<CloseReason>,
}

/// A client, and the site it talks to.
pub struct Client {
    /// The site.
    pub site: usize,
    /// Its endpoint.
    pub endpoint: Rc<Endpoint<crate::kit::TestHost>>,
    /// What it said and heard.
    pub talk: Rc<RefCell<Talk>>,
}

impl Client {
    /// A client that says something to `site`, and leaves when all of it came back.
    pub fn connect(bench: &Bench, number: usize, site: &Site, chance: &Chance) -> Option<Self> {
        if site.options.framing == Framing::Http {
            return None;
        }
        let mut options = defaults(site.options.framing.clone());
        options.deadlines.handshake = Some(1_000);
        options.deadlines.close = Some(100);
        options.websocket.compression = perhaps(chance, 700, &COMPRESSIONS);
        let talk = Rc::new(RefCell::new(Talk::default()));
        let count = below(chance, 10) as usize;
        for place in 0..count {
            talk.borrow_mut()
                .said
                .push(format!("client {number} says {place}").into_bytes());
        }
        let [opened, heard, closed, refused] = std::array::from_fn(|_| talk.clone());
        let checks = site.conduct == Conduct::Echo;
        let script = Script::sink()
            .forgetful()
            .on_opened(move |connection| {
                for message in &opened.borrow().said {
                    connection.send(Kind::Binary, message, None).expect("room");
                }
            })
            .on_message(move |connection, _, payload| {
                let mut talk = heard.borrow_mut();
                talk.heard.extend_from_slice(payload);
                let said = talk.said.concat();
                assert!(
                    !checks || said.starts_with(&talk.heard),
                    "a client heard {payload:?}"
                );
                if talk.heard == said {
                    connection.close(Code::NORMAL, "");
                }
            })
            .on_closed(move |connection| closed.borrow_mut().reason = connection.reason())
            .on_refused(move |connection| refused.borrow_mut().reason = connection.reason());
        options.filtered = site.options.filtered;
        let endpoint = disguising(script).endpoint(options);
        let handshake = (site.options.framing == Framing::WebSocket).then(|| ClientHandshake {
            host: "test".to_owned(),
            target: "/".to_owned(),
            protocols: vec![],
            headers: vec![],
        });
        let address = &site.place.address;
        let connected = bench
            .engine
            .connect(address, None, endpoint.clone(), handshake);
        drop(connected.expect("a socket"));
        Some(Self {
            site: number,
            endpoint,
            talk,
        })
    }

    /// Whether all that it said came back.
    pub fn is_complete(&self) -> bool {
        let talk = self.talk.borrow();
        talk.said.concat() == talk.heard
    }
}
