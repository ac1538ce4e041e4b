//! Who compresses how: the handshake's offers and answers, sections 5, 7 and 7.1.

use super::{WINDOW_BITS_MAX, WINDOW_BITS_MIN};
use crate::websocket::extension::Extension;
use std::fmt;
use vespiary_trace::requires;

/// The registered name.
pub const NAME: &str = "permessage-deflate";

/// One direction of a connection.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Direction {
    /// A message may refer to those before it.
    pub context_takeover: bool,
    /// How far back it may refer, as a power of two: 8 to 15.
    pub window_bits: u8,
}

/// What an endpoint would have at most, in each direction.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// What the server sends.
    pub server: Direction,
    /// What the client sends.
    pub client: Direction,
}

/// What an offer says of the client's window.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum ClientWindow {
    /// Nothing: it has 15 bits, and the server must not ask for another.
    #[default]
    Fixed,
    /// The server may ask for a smaller one.
    Open,
    /// The same, and without being asked it will not be larger than this.
    Hint(u8),
}

/// What a client offers.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Offer {
    /// The server must begin each message with an empty window.
    pub server_no_context_takeover: bool,
    /// A hint: the client will.
    pub client_no_context_takeover: bool,
    /// The server must not use a larger window.
    pub server_max_window_bits: Option<u8>,
    /// The client can be asked to use a smaller window; the value is a hint.
    pub client_max_window_bits: ClientWindow,
}

/// What a server answers: the agreed parameters.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Parameters {
    /// The server begins each message with an empty window.
    pub server_no_context_takeover: bool,
    /// The client begins each message with an empty window.
    pub client_no_context_takeover: bool,
    /// The server's window; 15 where it is not named.
    pub server_max_window_bits: Option<u8>,
    /// The client's window; 15 where it is not named.
    pub client_max_window_bits: Option<u8>,
}

impl Parameters {
    /// What was agreed on for what the server sends.
    pub fn server(&self) -> Direction {
        Direction {
            context_takeover: !self.server_no_context_takeover,
            window_bits: self.server_max_window_bits.unwrap_or_else(unnamed_window),
        }
    }

    /// What was agreed on for what the client sends.
    pub fn client(&self) -> Direction {
        Direction {
            context_takeover: !self.client_no_context_takeover,
            window_bits: self.client_max_window_bits.unwrap_or_else(unnamed_window),
        }
    }
}

/// The bits of a window that is not named.
fn unnamed_window() -> u8 {
    requires!("rfc7692/7.2.2/7", "rfc7692/7.2.2/9");
    WINDOW_BITS_MAX
}

/// Why an offer is declined, or an answer fails the connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// An extension that is not this one, or was answered twice.
    Unoffered(String),
    /// A parameter that is not defined here.
    Unknown(String),
    /// A parameter that stands more than once.
    Repeated(String),
    /// A parameter with a value that it cannot have, or without one that it needs.
    Value(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unoffered(name) => {
                write!(
                    formatter,
                    "the server uses the extension {name:?}, which was not offered"
                )
            }
            Self::Unknown(name) => {
                write!(
                    formatter,
                    "{NAME} has no parameter {name:?} here (RFC 7692 7)"
                )
            }
            Self::Repeated(name) => {
                write!(
                    formatter,
                    "{NAME} has its parameter {name} twice (RFC 7692 7)"
                )
            }
            Self::Value(name) => {
                write!(
                    formatter,
                    "{NAME} has an invalid value of {name} (RFC 7692 7)"
                )
            }
        }
    }
}

impl std::error::Error for Fault {}

/// What either side may write, before its own rules are checked.
#[derive(Default)]
struct Written {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    client_max_window_bits: ClientWindow,
}

/// Read the parameters of an offer or an answer: known ones, once each, with a fitting value.
fn read(parameters: &[(String, Option<String>)]) -> Result<Written, Fault> {
    let mut written = Written::default();
    for (index, (name, value)) in parameters.iter().enumerate() {
        if parameters[..index].iter().any(|(before, _)| before == name) {
            return Err(Fault::Repeated(name.clone()));
        }
        let fits = match name.as_str() {
            "server_no_context_takeover" => {
                written.server_no_context_takeover = true;
                value.is_none()
            }
            "client_no_context_takeover" => {
                written.client_no_context_takeover = true;
                value.is_none()
            }
            "server_max_window_bits" => {
                written.server_max_window_bits = value.as_deref().and_then(window_bits);
                written.server_max_window_bits.is_some()
            }
            "client_max_window_bits" => {
                let bits = value.as_deref().and_then(window_bits);
                written.client_max_window_bits =
                    bits.map_or(ClientWindow::Open, ClientWindow::Hint);
                bits.is_some() == value.is_some()
            }
            _ => {
                requires!("rfc6455/9/3", "rfc6455/9.1/5");
                return Err(Fault::Unknown(name.clone()));
            }
        };
        if !fits {
            return Err(Fault::Value(name.clone()));
        }
    }
    Ok(written)
}

/// 8 to 15 in decimal digits, without a leading zero (section 7.1.2).
fn window_bits(text: &str) -> Option<u8> {
    let bits = text.parse().ok()?;
    let is_plain = (WINDOW_BITS_MIN..=WINDOW_BITS_MAX).contains(&bits) && bits.to_string() == text;
    let is_wrong = requires!(
        "rfc7692/7.1.2.1/2", "rfc7692/7.1.2.1/3", "rfc7692/7.1.2.2/2", "rfc7692/7.1.2.2/4"
        => !is_plain
    );
    (!is_wrong).then_some(bits)
}

/// The server's half: the answer to the first of a client's offers that can be taken, if one can.
pub fn accept(offers: &[Extension], settings: &Settings) -> Option<Parameters> {
    let named = offers.iter().filter(|offer| offer.name == NAME);
    let taken = named
        .map(|offer| Offer::read(&offer.parameters))
        .find_map(|offer| {
            let is_declined = requires!("rfc7692/7/1" => offer.is_err());
            (!is_declined).then(|| offer.unwrap_or_default())
        });
    let is_declined = requires!(
        "rfc7692/5/11", "rfc6455/4.2.2/10", "rfc6455/4.2.2/11", "rfc6455/9/2" => taken.is_none()
    );
    (!is_declined).then(|| taken.unwrap_or_default().answer(settings))
}

/// The client's half: what a server's answer grants, if anything.
pub fn check(offer: Option<&Offer>, answers: &[Extension]) -> Result<Option<Parameters>, Fault> {
    let mut granted = None;
    for answer in answers {
        let is_offered = offer.is_some() && answer.name == NAME;
        // An extension that would be at odds with this one over RSV1 or frames is never offered.
        if requires!("rfc7692/5/8", "rfc7692/5/10", "rfc7692/5/12" => !is_offered) {
            return Err(Fault::Unoffered(answer.name.clone()));
        }
        let offer = offer.copied().unwrap_or_default();
        if granted.replace(offer.check(&answer.parameters)?).is_some() {
            return Err(Fault::Repeated(answer.name.clone()));
        }
    }
    Ok(granted)
}

impl Offer {
    /// What a client with these settings would have. It always lets the server make its window
    /// smaller.
    pub fn new(settings: &Settings) -> Self {
        let named = |bits: u8| (bits < WINDOW_BITS_MAX).then_some(bits);
        requires!("rfc7692/5/3", "rfc7692/7.1.2.1/1");
        let server_max_window_bits = named(settings.server.window_bits);
        Self {
            server_no_context_takeover: !settings.server.context_takeover,
            client_no_context_takeover: !settings.client.context_takeover,
            server_max_window_bits,
            client_max_window_bits: named(settings.client.window_bits)
                .map_or(ClientWindow::Open, ClientWindow::Hint),
        }
    }

    /// The offer as a client sends it. What it wishes of the server is in a first offer; a second
    /// one without those wishes follows for servers that cannot grant them (section 7.1.3 has an
    /// example). So an answer without them is one to the second offer.
    pub fn list(self) -> String {
        let plain = Self {
            server_no_context_takeover: false,
            server_max_window_bits: None,
            ..self
        };
        let has_demands = requires!("rfc7692/5/2" => self != plain);
        if has_demands {
            format!("{self}, {plain}")
        } else {
            self.to_string()
        }
    }

    /// Read what a client sent.
    pub fn read(parameters: &[(String, Option<String>)]) -> Result<Self, Fault> {
        let written = read(parameters)?;
        Ok(Self {
            server_no_context_takeover: written.server_no_context_takeover,
            client_no_context_takeover: written.client_no_context_takeover,
            server_max_window_bits: written.server_max_window_bits,
            client_max_window_bits: written.client_max_window_bits,
        })
    }

    /// The server's answer: what is asked for is granted, hints are taken, and no window is larger
    /// than the settings have it.
    pub fn answer(self, settings: &Settings) -> Parameters {
        let named = |bits: u8| (bits < WINDOW_BITS_MAX).then_some(bits);
        let server_bits = settings.server.window_bits;
        let client_bits = settings.client.window_bits;
        Parameters {
            server_no_context_takeover: requires!(
                "rfc7692/7.1.1.1/2" => self.server_no_context_takeover
            ) || requires!("rfc7692/7.1.1.1/3" => !settings.server.context_takeover),
            client_no_context_takeover: self.client_no_context_takeover
                || !settings.client.context_takeover,
            server_max_window_bits: match self.server_max_window_bits {
                Some(most) if requires!("rfc7692/5/6" => server_bits < most) => Some(server_bits),
                Some(most) => Some(most),
                None => {
                    requires!("rfc7692/7.1.2.1/4");
                    named(server_bits)
                }
            },
            client_max_window_bits: match self.client_max_window_bits {
                ClientWindow::Fixed => {
                    requires!("rfc7692/7.1.2.2/5");
                    None
                }
                ClientWindow::Open => named(client_bits),
                ClientWindow::Hint(most) => named(most.min(client_bits)),
            },
        }
    }

    /// The client's check of an answer.
    fn check(self, parameters: &[(String, Option<String>)]) -> Result<Parameters, Fault> {
        let written = read(parameters).inspect_err(|_| {
            requires!("rfc7692/7/2");
        })?;
        let name = "client_max_window_bits".to_owned();
        let client_bits = match (self.client_max_window_bits, written.client_max_window_bits) {
            (_, ClientWindow::Fixed) => None,
            (ClientWindow::Fixed, _) => return Err(Fault::Unknown(name)),
            (_, ClientWindow::Open) => return Err(Fault::Value(name)),
            (_, ClientWindow::Hint(bits)) => Some(bits),
        };
        Ok(Parameters {
            server_no_context_takeover: written.server_no_context_takeover,
            client_no_context_takeover: requires!(
                "rfc7692/7.1.1.2/3" => written.client_no_context_takeover
            ),
            server_max_window_bits: written.server_max_window_bits,
            client_max_window_bits: client_bits,
        })
    }
}

fn write_parameters(
    formatter: &mut fmt::Formatter<'_>,
    flags: [bool; 2],
    server_bits: Option<u8>,
    client_window: ClientWindow,
) -> fmt::Result {
    requires!("rfc7692/5/1", "rfc7692/5/5");
    formatter.write_str(NAME)?;
    let [server_no_takeover, client_no_takeover] = flags;
    if server_no_takeover {
        formatter.write_str("; server_no_context_takeover")?;
    }
    if client_no_takeover {
        formatter.write_str("; client_no_context_takeover")?;
    }
    if let Some(bits) = server_bits {
        write!(formatter, "; server_max_window_bits={bits}")?;
    }
    match client_window {
        ClientWindow::Fixed => Ok(()),
        ClientWindow::Open => formatter.write_str("; client_max_window_bits"),
        ClientWindow::Hint(bits) => write!(formatter, "; client_max_window_bits={bits}"),
    }
}

/// As in `Sec-WebSocket-Extensions`.
impl fmt::Display for Offer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = [
            self.server_no_context_takeover,
            self.client_no_context_takeover,
        ];
        let (server, client) = (self.server_max_window_bits, self.client_max_window_bits);
        write_parameters(formatter, flags, server, client)
    }
}

/// As in `Sec-WebSocket-Extensions`.
impl fmt::Display for Parameters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = [
            self.server_no_context_takeover,
            self.client_no_context_takeover,
        ];
        let client = self.client_max_window_bits;
        let client = client.map_or(ClientWindow::Fixed, ClientWindow::Hint);
        write_parameters(formatter, flags, self.server_max_window_bits, client)
    }
}
