//! Both ends of a TLS connection without sockets: what one has to send is given to the other.

use std::sync::OnceLock;
use vespiary_engine::{CloseReason, Flow, Layer, Progress};
use vespiary_tls::development::{self, Pair};
use vespiary_tls::{
    ClientSettings, ClientTls, Identity, ServerSettings, ServerTls, TlsHandle, TlsLayer,
};

pub fn authority() -> &'static Pair {
    static AUTHORITY: OnceLock<Pair> = OnceLock::new();
    AUTHORITY.get_or_init(|| development::authority().expect("an authority"))
}

pub fn identity(names: &[&str]) -> Identity {
    let names: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
    let pair = development::certificate(&authority().key, &names, 30).expect("a certificate");
    Identity {
        certificates: pair.certificate.into_bytes(),
        key: pair.key.into_bytes(),
    }
}

pub fn localhost() -> Identity {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    IDENTITY
        .get_or_init(|| identity(&["localhost", "127.0.0.1"]))
        .clone()
}

pub fn server_settings() -> ServerSettings {
    ServerSettings {
        identities: vec![localhost()],
        alpn: vec![b"http/1.1".to_vec()],
        allows_tls12: true,
        ..ServerSettings::default()
    }
}

pub fn client_settings() -> ClientSettings {
    ClientSettings {
        authorities: Some(authority().certificate.clone().into_bytes()),
        alpn: vec![b"http/1.1".to_vec()],
        allows_tls12: true,
        ..ClientSettings::default()
    }
}

/// One end, with what it has received and what it has to send.
pub struct End {
    pub layer: TlsLayer,
    pub handle: TlsHandle,
    pub plain: Vec<u8>,
    pub wire: Vec<u8>,
    pub ended: bool,
    pub failure: Option<CloseReason>,
    /// Received bytes that the layer has not used.
    input: Vec<u8>,
}

impl End {
    pub fn new(mut layer: TlsLayer) -> Self {
        let mut wire = Vec::new();
        layer.begin(&mut wire).expect("a beginning");
        Self {
            handle: layer.handle(),
            layer,
            plain: Vec::new(),
            wire,
            ended: false,
            failure: None,
            input: Vec::new(),
        }
    }

    pub fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        while self.failure.is_none() {
            let mut flow = Flow {
                plain: &mut self.plain,
                own: &mut self.wire,
            };
            match self.layer.receive(&mut self.input, &mut flow) {
                Ok(received) => {
                    self.input.drain(..received.used);
                    self.ended |= received.progress == Progress::Ended;
                    if received.progress != Progress::Again {
                        return;
                    }
                }
                Err(reason) => self.failure = Some(reason),
            }
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.layer
            .send(bytes, &mut self.wire)
            .expect("a sent record");
    }
}

pub struct Two {
    pub client: End,
    pub server: End,
}

impl Two {
    pub fn new(client: &ClientTls, server: &ServerTls, name: &str) -> Self {
        Self {
            client: End::new(client.layer(name).expect("a client")),
            server: End::new(server.layer()),
        }
    }

    /// Carry bytes in pieces of these sizes, in turns, until nothing is on its way.
    pub fn run(&mut self, sizes: &[usize]) {
        let mut sizes = sizes.iter().copied().cycle();
        while !self.client.wire.is_empty() || !self.server.wire.is_empty() {
            for is_clients in [true, false] {
                let (from, to) = if is_clients {
                    (&mut self.client, &mut self.server)
                } else {
                    (&mut self.server, &mut self.client)
                };
                let size = sizes
                    .next()
                    .unwrap_or(usize::MAX)
                    .clamp(1, from.wire.len().max(1));
                let piece: Vec<u8> = from.wire.drain(..size.min(from.wire.len())).collect();
                if !piece.is_empty() {
                    to.receive(&piece);
                }
            }
        }
    }
}
