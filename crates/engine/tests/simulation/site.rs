//! Endpoints of a random world, and what their host does.

use crate::kit::defaults;
use crate::kit::packed::{Direction, Settings};
use crate::kit::{Bench, Conn, Place, Script, host};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use vespiary_engine::port::Token;
use vespiary_engine::port::sim::Random;
use vespiary_engine::wire::framing::length::Format;
use vespiary_engine::wire::websocket::close::Code;
use vespiary_engine::{
    AfterEnd, Answer, CloseReason, Compression, Engine, Framing, Kind, Options, Publish, SendError,
    SlowConsumer,
};

/// Chance that all of a world share.
pub type Chance = Rc<RefCell<Random>>;

/// What the host does at an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    /// Sends back what it gets, and pauses reading now and then; nothing may be lost.
    Echo,
    /// Publishes what it gets to everybody.
    Publish,
    /// Does anything at any time.
    Moody,
}

/// The addresses of a site's peers, and why their connections closed.
pub type Ledger = Rc<RefCell<BTreeMap<Token, (String, Option<CloseReason>)>>>;

/// An endpoint.
pub struct Site {
    /// Where it listens.
    pub place: Place,
    /// Its options.
    pub options: Options,
    /// What its host does.
    pub conduct: Conduct,
    /// Connections that opened, and why they closed.
    pub ledger: Ledger,
}

pub fn below(chance: &Chance, limit: u64) -> u64 {
    chance.borrow_mut().below(limit)
}

pub fn permille(chance: &Chance, permille: u16) -> bool {
    chance.borrow_mut().chance(permille)
}

/// One of `choices`.
pub fn pick<T: Clone>(chance: &Chance, choices: &[T]) -> T {
    choices[below(chance, choices.len() as u64) as usize].clone()
}

fn framing(chance: &Chance) -> Framing {
    match below(chance, 8) {
        0 => Framing::Raw,
        1 => Framing::Line {
            ending: pick(chance, &[&b"\n"[..], b"\r\n"]),
        },
        2 => {
            let width = pick(chance, &[2, 4, 8]);
            let format = Format::new(width, permille(chance, 500), permille(chance, 500));
            Framing::Length(format.expect("a format"))
        }
        3 => Framing::Http,
        _ => Framing::WebSocket,
    }
}

/// Perhaps a number from `choices`.
pub fn perhaps<T: Clone>(chance: &Chance, often: u16, choices: &[T]) -> Option<T> {
    permille(chance, often).then(|| pick(chance, choices))
}

/// With context and without, in large windows and the smallest.
pub const COMPRESSIONS: [Compression; 3] = [
    direction(true, 15, 6),
    direction(false, 15, 1),
    direction(true, 8, 9),
];

const fn direction(context_takeover: bool, window_bits: u8, level: u8) -> Compression {
    let both = Direction {
        context_takeover,
        window_bits,
    };
    Compression {
        settings: Settings {
            server: both,
            client: both,
        },
        level,
        memory_level: 1,
        threshold_bytes: 0,
    }
}

fn options(chance: &Chance, conduct: Conduct) -> Options {
    let mut options = defaults(framing(chance));
    let limits = &mut options.limits;
    limits.connections_max = perhaps(chance, 300, &[0, 1, 3, 8]);
    limits.connections_per_address_max = perhaps(chance, 200, &[1, 5]);
    limits.accepts_per_second_max = perhaps(chance, 200, &[1, 10, 100]);
    limits.handshakes_pending_max = perhaps(chance, 200, &[1, 3]);
    limits.message_bytes_max = pick(chance, &[300, 2_000, 6_000]);
    limits.fragments_max = pick(chance, &[10, 1_000]);
    limits.header_bytes_max = pick(chance, &[400, 4_000]);
    limits.write_high_bytes = pick(chance, &[1, 1_000, 20_000, 64 << 10]);
    limits.write_low_bytes = limits.write_high_bytes / pick(chance, &[1, 2, 1_000_000]);
    limits.write_bytes_max = match conduct {
        // What an echo of one message, or of a piece of a stream, may add to a queue below its
        // mark.
        Conduct::Echo => limits.write_high_bytes + (1 << 20),
        _ => pick(chance, &[0, 2_000, 30_000, 200_000]),
    };
    options.websocket.compression = perhaps(chance, 100, &COMPRESSIONS);
    let deadlines = &mut options.deadlines;
    deadlines.handshake = perhaps(chance, 800, &[5, 50, 1_000]);
    deadlines.keep_alive = perhaps(chance, 800, &[5, 50, 1_000]);
    deadlines.first_byte = perhaps(chance, 200, &[5, 50]);
    deadlines.message = perhaps(chance, 300, &[5, 50, 500]);
    deadlines.idle = perhaps(chance, 300, &[20, 200]);
    deadlines.write = perhaps(chance, 500, &[20, 200]);
    // Without this one a peer may keep its end open forever.
    deadlines.close = Some(pick(chance, &[1, 30, 300]));
    deadlines.ping_interval = perhaps(chance, 500, &[3, 30, 300]);
    deadlines.ping_timeout = perhaps(chance, 500, &[3, 30, 300]);
    options.slow_consumer = match conduct {
        Conduct::Echo => SlowConsumer::Wait,
        _ => pick(
            chance,
            &[
                SlowConsumer::Wait,
                SlowConsumer::DropOldest,
                SlowConsumer::DropNewest,
                SlowConsumer::Disconnect,
            ],
        ),
    };
    let has_parts = matches!(options.framing, Framing::Raw | Framing::WebSocket);
    options.parts = permille(chance, 300) && (has_parts || conduct == Conduct::Moody);
    options.filtered = permille(chance, 150);
    options
}

/// What a filtered site's bytes look like on the wire, and the other way.
pub fn disguised(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| byte ^ 0x5A).collect()
}

/// The same script, above a filter that disguises everything.
pub fn disguising(script: Script) -> Script {
    script
        .filtering_received(|_, bytes| Some(disguised(bytes)))
        .filtering_sent(|_, bytes| Some(disguised(bytes)))
}

impl Site {
    /// Stop serving, as a server does that is stopped: no connection comes, and each is closed, or
    /// is reset in the middle of what its handler does.
    pub fn drain(&self, bench: &Bench, chance: &Chance) {
        self.place.listener.suspend();
        for connection in bench.engine.all_connections() {
            if !Rc::ptr_eq(connection.endpoint(), self.place.endpoint()) {
                continue;
            }
            connection.close(Code::GOING_AWAY, "");
            if permille(chance, 300) {
                let late = connection.clone();
                later(connection.engine(), below(chance, 50), move || late.abort());
            }
        }
    }

    /// A random endpoint.
    pub fn new(bench: &Bench, chance: &Chance) -> Self {
        let conduct = pick(
            chance,
            &[
                Conduct::Echo,
                Conduct::Echo,
                Conduct::Publish,
                Conduct::Moody,
            ],
        );
        let options = options(chance, conduct);
        let ledger = Ledger::default();
        let script = match conduct {
            Conduct::Echo => echo(chance),
            Conduct::Publish => publish(),
            Conduct::Moody => moody(chance),
        };
        let script = disguising(kept(script, &ledger));
        let place = bench.listen(options.clone(), script);
        Self {
            place,
            options,
            conduct,
            ledger,
        }
    }
}

/// The reason for not reading of a handler that is busy.
const NAPPING: u8 = 4;
/// The same of one that was cancelled while it was busy, and never says that it is done.
const CANCELLED: u8 = 8;

/// Do something with `connection` later, from a timer's callback.
fn later(engine: &Rc<Engine<host::TestHost>>, milliseconds: u64, act: impl FnOnce() + 'static) {
    let id = engine.host.keep(Box::new(act));
    engine.set_timer(milliseconds, id);
}

/// The same script, with the ledger kept.
fn kept(script: Script, ledger: &Ledger) -> Script {
    let (opened, closed) = (ledger.clone(), ledger.clone());
    let (before_opened, before_closed) = (script.opened, script.closed);
    Script {
        opened: Box::new(move |connection| {
            // After a reset the kernel does not know the peer any more.
            let address = connection
                .peer_address()
                .map_or(String::new(), |it| it.to_string());
            opened
                .borrow_mut()
                .insert(connection.token(), (address, None));
            before_opened(connection);
        }),
        closed: Box::new(move |connection| {
            let mut ledger = closed.borrow_mut();
            ledger
                .get_mut(&connection.token())
                .expect("it was opened")
                .1 = connection.reason();
            drop(ledger);
            before_closed(connection);
        }),
        ..script
    }
}

/// Pause, and resume after a while.
fn nap(connection: &Conn, chance: &Chance) {
    if connection.is_paused(NAPPING) {
        return;
    }
    connection.pause(NAPPING);
    let sleeper = connection.clone();
    later(connection.engine(), below(chance, 30), move || {
        sleeper.resume(NAPPING);
    });
}

/// The answer to a request: at once or later, and now and then a refusal.
fn answer(connection: &Conn, chance: &Chance, refuses: bool) -> Answer {
    let is_plain = connection.endpoint().options().framing == Framing::Http;
    let answer = if is_plain || refuses && permille(chance, 200) {
        let status = pick(chance, &[200, 204, 302, 404, 500]);
        let body = vec![b'b'; below(chance, 3_000) as usize];
        Answer::Respond {
            status,
            headers: vec![],
            body,
        }
    } else {
        host::accept()
    };
    if refuses && permille(chance, 30) {
        // Who would answer was cancelled.
        return Answer::Later;
    }
    if permille(chance, 200) {
        let connection = connection.clone();
        later(&connection.engine().clone(), below(chance, 20), move || {
            connection.answer(answer);
        });
        return Answer::Later;
    }
    answer
}

fn echo(chance: &Chance) -> Script {
    let [requests, messages, parts] = [chance.clone(), chance.clone(), chance.clone()];
    Script::sink()
        .forgetful()
        .on_request(move |connection, _| answer(connection, &requests, false))
        .on_message(move |connection, kind, payload| {
            connection
                .send(kind, payload, None)
                .expect("an echo site has room for every echo");
            if permille(&messages, 20) {
                nap(connection, &messages);
            }
        })
        .on_part(move |connection, kind, payload, last| {
            connection
                .send_part(kind, payload, last, None)
                .expect("room for every echo");
            if permille(&parts, 20) {
                nap(connection, &parts);
            }
        })
}

fn publish() -> Script {
    Script::sink()
        .forgetful()
        .on_opened(|connection| {
            connection.subscribe("news").expect("it is open");
        })
        .on_message(|connection, kind, payload| {
            if connection.endpoint().options().framing == Framing::Raw {
                // A stream's pieces are cut anywhere, and tell nobody's place.
                return;
            }
            let published = connection.engine().publish(
                "news",
                kind,
                payload,
                Publish {
                    but: Some(connection.token()),
                    ..Publish::default()
                },
            );
            // A line cannot carry what a liar has sent.
            assert!(
                matches!(published, Ok(_) | Err(SendError::LineBreak)),
                "{published:?}"
            );
        })
}

fn moody(chance: &Chance) -> Script {
    let [requests, opened, messages] = [chance.clone(), chance.clone(), chance.clone()];
    let [parts, drained, ended, closed] = [
        chance.clone(),
        chance.clone(),
        chance.clone(),
        chance.clone(),
    ];
    Script::sink()
        .forgetful()
        .on_request(move |connection, _| {
            if permille(&requests, 100) {
                act(connection, &requests);
            }
            answer(connection, &requests, true)
        })
        .on_opened(move |connection| act(connection, &opened))
        .on_message(move |connection, _, _| act(connection, &messages))
        .on_part(move |connection, _, _, _| act(connection, &parts))
        .on_drained(move |connection| act(connection, &drained))
        .on_ended(move |connection| {
            act(connection, &ended);
            if permille(&ended, 500) {
                return AfterEnd::Close;
            }
            let half_open = connection.clone();
            later(connection.engine(), below(&ended, 30), move || {
                half_open.close(Code::NORMAL, "");
            });
            AfterEnd::Keep
        })
        .on_closed(move |connection| act(connection, &closed))
}

/// Anything that a host may ask of a connection.
fn act(connection: &Conn, chance: &Chance) {
    let size = pick(chance, &[0, 10, 100, 1_000, 5_000]);
    let payload = vec![b'm'; below(chance, size + 1) as usize];
    let kind = pick(chance, &[Kind::Text, Kind::Binary]);
    match below(chance, 40) {
        0 => connection.close(Code(3000 + below(chance, 2000) as u16), "a mood"),
        1 => connection.abort(),
        2 => connection.fail_in_handler(),
        3..6 => nap(connection, chance),
        6 => drop(connection.ping(&payload[..payload.len().min(130)])),
        7..11 => drop(connection.subscribe("moods")),
        11 if permille(chance, 200) => drop(connection.send_end()),
        11 => drop(connection.unsubscribe("moods")),
        12..16 => drop(
            connection
                .engine()
                .publish("moods", kind, &payload, Publish::default()),
        ),
        16..20 => {
            let last = permille(chance, 400);
            let _ = connection.send_part(kind, &payload, last, None);
        }
        20..23 => {
            let (connection, chance) = (connection.clone(), chance.clone());
            let delay = below(&chance, 20);
            later(&connection.engine().clone(), delay, move || {
                act(&connection, &chance);
            });
        }
        23 => connection.pause(CANCELLED),
        24 => connection.pause(host::QUEUE_IS_FULL),
        _ => {
            for _ in 0..below(chance, 5) {
                let _ = connection.send(kind, &payload, None);
            }
        }
    }
}
