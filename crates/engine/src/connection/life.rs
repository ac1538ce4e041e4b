//! A connection's life, as one table: which state, which event, which state next.
//!
//! A connection is in one [`State`], and each of its halves has a state of its own: what this end
//! sends, and what it receives. [`Life::after`] is the table; nothing else changes any of the
//! three. The page `docs/explanation/connection-life.md` is written from it.
//!
//! A connection is *over* when it is closing and both halves have ended: nothing is sent or
//! delivered any more, and the end of the round closes it. A break leads there from anywhere at
//! once, and a close step by step: what waits is written, this end's FIN is sent, and the peer's
//! comes. Bytes that arrive meanwhile are read and dropped, because closing a socket that holds
//! bytes would reset it and destroy what the peer has not read yet.

use vespiary_trace::requires;

/// Where a connection is in its life. In the order in which states follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// A client's connect is in progress.
    Connecting,
    /// Its layers are not ready yet: a TLS handshake, a PROXY header.
    Securing,
    /// An HTTP request is in progress.
    Handshaking,
    /// The head of a response was sent, and its body, or the rest of the request's, is in progress.
    Responding,
    /// An HTTP request was answered, and the next may come.
    BetweenRequests,
    /// Messages can be exchanged.
    Open,
    /// It ends.
    Closing,
    /// It has ended.
    Closed,
}

/// The half that this end sends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sending {
    /// Bytes may be queued.
    Open,
    /// What is queued is the last.
    Ending,
    /// The FIN is sent.
    Ended,
}

/// The half that this end receives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receiving {
    /// Bytes are received as they come.
    Open,
    /// This end does not read: its host has paused it, or the peer does not take what it is sent.
    Paused,
    /// The peer's end has come to the kernel, behind bytes that were not received.
    Last,
    /// The peer's end has come, and bytes before it wait to be handed over.
    Ending,
    /// The peer's end was handed over.
    Ended,
}

/// What happens to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The socket is connected, and its layers are not ready.
    Secure,
    /// The connection is ready for an HTTP head.
    Handshake,
    /// The head of a response was sent, whose body follows.
    Respond,
    /// A request was answered, and the connection is kept.
    Answer,
    /// The first byte of the next request came.
    Request,
    /// The connection is ready for messages.
    Open,
    /// Either end begins to close.
    Close,
    /// The host sends nothing more.
    SendLast,
    /// The FIN is sent.
    SendFin,
    /// This end stops reading.
    Pause,
    /// This end reads again.
    Resume,
    /// The peer's end was seen behind bytes that were not received.
    PeerFinished,
    /// The peer's end came.
    PeerEnd,
    /// The peer's end was handed over.
    PeerEnded,
    /// The connection breaks, or is broken off.
    Break,
    /// Nothing is awaited any more.
    Finish,
}

/// The state of a connection and of its halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) state: State,
    pub(crate) sending: Sending,
    pub(crate) receiving: Receiving,
}

impl Life {
    /// How every connection begins.
    pub(crate) const START: Self = Self {
        state: State::Connecting,
        sending: Sending::Open,
        receiving: Receiving::Open,
    };

    /// What comes after `event`; `None` where it cannot happen.
    #[allow(clippy::match_same_arms)] // One line per row of the table.
    pub(crate) fn after(self, event: Event) -> Option<Self> {
        use Event as E;
        use State as S;
        Some(match (self.state, event) {
            (S::Connecting, E::Secure) => self.to(S::Securing),
            (S::Connecting | S::Securing, E::Handshake) => self.to(S::Handshaking),
            (S::Handshaking, E::Respond) => self.to(S::Responding),
            (S::Handshaking | S::Responding, E::Answer) => self.to(S::BetweenRequests),
            (S::BetweenRequests, E::Request) => self.to(S::Handshaking),
            (S::Connecting | S::Securing | S::Handshaking, E::Open) => self.to(S::Open),
            (
                S::Securing
                | S::Handshaking
                | S::Responding
                | S::BetweenRequests
                | S::Open
                | S::Closing,
                E::Close,
            ) => self.to(S::Closing),
            (S::Open, E::SendLast) => self.sends(Sending::Ending),
            (S::Open | S::Closing, E::SendFin) => self.sends(Sending::Ended),
            // Completions may come late; they change nothing.
            (S::Closed, _) => self,
            (_, E::Pause) => self.receives(Receiving::Paused),
            (_, E::Resume) => self.receives(Receiving::Open),
            (_, E::PeerFinished) => self.receives(Receiving::Last),
            (_, E::PeerEnd) => self.receives(Receiving::Ending),
            (_, E::PeerEnded) => self.receives(Receiving::Ended),
            (_, E::Break) => self.to(S::Closing).ended(),
            (S::Closing, E::Finish) => self.to(S::Closed).ended(),
            _ => return None,
        })
    }

    fn to(self, state: State) -> Self {
        Self { state, ..self }
    }

    fn ended(self) -> Self {
        Self {
            sending: Sending::Ended,
            receiving: Receiving::Ended,
            ..self
        }
    }

    /// What has ended does not begin again.
    fn sends(self, sending: Sending) -> Self {
        if self.sending == Sending::Ended {
            return self;
        }
        Self { sending, ..self }
    }

    /// The same. Reading stops and continues as often as it likes, until the end has come.
    fn receives(self, receiving: Receiving) -> Self {
        let is_forward = receiving as u8 >= self.receiving as u8;
        if is_forward || self.receiving == Receiving::Paused {
            return Self { receiving, ..self };
        }
        self
    }

    /// Whether it is closing and both halves have ended.
    #[inline]
    pub(crate) fn is_over(self) -> bool {
        self.state == State::Closing
            && self.sending == Sending::Ended
            && requires!("rfc6455/7.1.1/1" => self.receiving == Receiving::Ended)
    }

    /// Whether the peer's end is known to have come, be it behind bytes that wait.
    #[inline]
    pub(crate) fn is_peer_ending(self) -> bool {
        self.receiving as u8 >= Receiving::Last as u8
    }

    /// Whether the peer has ended its side, and nothing before its end waits.
    #[inline]
    pub(crate) fn has_peer_ended(self) -> bool {
        self.receiving == Receiving::Ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;
    use std::path::Path;

    const STATES: [State; 8] = [
        State::Connecting,
        State::Securing,
        State::Handshaking,
        State::Responding,
        State::BetweenRequests,
        State::Open,
        State::Closing,
        State::Closed,
    ];
    const SENDING: [Sending; 3] = [Sending::Open, Sending::Ending, Sending::Ended];
    const RECEIVING: [Receiving; 5] = [
        Receiving::Open,
        Receiving::Paused,
        Receiving::Last,
        Receiving::Ending,
        Receiving::Ended,
    ];
    const EVENTS: [Event; 16] = [
        Event::Secure,
        Event::Handshake,
        Event::Respond,
        Event::Answer,
        Event::Request,
        Event::Open,
        Event::Close,
        Event::SendLast,
        Event::SendFin,
        Event::Pause,
        Event::Resume,
        Event::PeerFinished,
        Event::PeerEnd,
        Event::PeerEnded,
        Event::Break,
        Event::Finish,
    ];

    fn all() -> impl Iterator<Item = Life> {
        STATES.into_iter().flat_map(|state| {
            SENDING.into_iter().flat_map(move |sending| {
                RECEIVING.into_iter().map(move |receiving| Life {
                    state,
                    sending,
                    receiving,
                })
            })
        })
    }

    /// Lines `state --event--> next` of what `part` shows of a life, without those where nothing
    /// changes.
    fn arrows(part: impl Fn(Life) -> String) -> String {
        let mut lines = Vec::new();
        for life in all() {
            for event in EVENTS {
                let Some(next) = life.after(event) else {
                    continue;
                };
                let (from, to) = (part(life), part(next));
                let arrow = format!("-- {event:?} ");
                let line = format!("{from:<16} {arrow:-<14}> {to}");
                if from != to && !lines.contains(&line) {
                    lines.push(line);
                }
            }
        }
        lines.join("\n")
    }

    fn page() -> String {
        let mut page = String::from(
            "# The life of a connection\n\n\
             These are the states of a connection in the engine, and the events that change them. \
             A test generates this page from the table in \
             `crates/engine/src/connection/life.rs`. After a change of the table, run:\n\n\
             ```sh\nVESPIARY_WRITE_DOCS=1 cargo test -p vespiary-engine life\n```\n",
        );
        let parts = [
            ("The connection", arrows(|life| format!("{:?}", life.state))),
            (
                "The sending direction",
                arrows(|life| format!("{:?}", life.sending)),
            ),
            (
                "The receiving direction",
                arrows(|life| format!("{:?}", life.receiving)),
            ),
        ];
        for (title, lines) in parts {
            let _ = write!(page, "\n## {title}\n\n```text\n{lines}\n```\n");
        }
        page
    }

    #[test]
    fn the_page_of_the_documents_shows_the_table() {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/explanation/connection-life.md");
        if std::env::var_os("VESPIARY_WRITE_DOCS").is_some() {
            std::fs::write(&path, page()).expect("the page is written");
        }
        let written = std::fs::read_to_string(&path).expect("the page");
        assert!(
            written == page(),
            "{} is stale: VESPIARY_WRITE_DOCS=1 cargo test -p vespiary-engine life",
            path.display()
        );
    }

    #[test]
    fn a_life_goes_forward_and_ends() {
        for life in all() {
            for event in EVENTS {
                let Some(next) = life.after(event) else {
                    continue;
                };
                let is_kept = (life.state, event) == (State::BetweenRequests, Event::Request);
                assert!(next.state >= life.state || is_kept, "{life:?} {event:?}");
                assert!(next.sending as u8 >= life.sending as u8);
                assert!(next == life || life.state != State::Closed, "{event:?}");
            }
        }
    }

    #[test]
    fn every_connection_can_break_and_what_is_broken_is_over() {
        for life in all().filter(|life| life.state != State::Closed) {
            assert!(life.after(Event::Break).expect("a break").is_over());
        }
    }

    /// What a state implies needs no flag of its own.
    #[test]
    fn a_connection_has_at_most_eight_flags() {
        let sources = [
            include_str!("mod.rs"),
            include_str!("moments.rs"),
            include_str!("budget.rs"),
            include_str!("traffic.rs"),
            include_str!("../carrier/socket.rs"),
        ];
        let fields = sources.iter().flat_map(|source| source.lines());
        let flags =
            fields.filter(|line| line.ends_with(": bool,") || line.ends_with("Cell<bool>,"));
        // A parameter of `Connection::new` is one of the lines.
        let flags: Vec<&str> = flags
            .filter(|line| line.starts_with("    ") && !line.starts_with("     "))
            .collect();
        assert!(flags.len() <= 8, "{flags:#?}");
    }
}
