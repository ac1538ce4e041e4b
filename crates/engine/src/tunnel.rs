//! A client's way through an HTTP proxy: CONNECT, before anything else is sent (RFC 9110 section
//! 9.3.6). Once the proxy has answered with 2xx, the connection is as if it were made directly.

use crate::close::{Cause, CloseReason};
use crate::handshake::ClientHandshake;
use vespiary_wire::http::{self, InvalidHeader};

/// What a proxy is asked for.
#[derive(Clone, Debug)]
pub struct Tunnel {
    /// Where it leads: `host:port`.
    pub authority: String,
    /// Further header lines, such as `Proxy-Authorization`.
    pub headers: Vec<(String, String)>,
}

impl Tunnel {
    pub(crate) fn request(&self) -> Result<Vec<u8>, InvalidHeader> {
        let mut request = Vec::with_capacity(256);
        http::append_connect(&mut request, &self.authority, &self.headers)?;
        Ok(request)
    }
}

/// What a client says before its connection is open.
#[derive(Clone, Default, Debug)]
pub struct Opening {
    /// First, to a proxy.
    pub tunnel: Option<Tunnel>,
    /// Then, to a WebSocket server.
    pub handshake: Option<ClientHandshake>,
}

impl From<Option<ClientHandshake>> for Opening {
    fn from(handshake: Option<ClientHandshake>) -> Self {
        Self {
            tunnel: None,
            handshake,
        }
    }
}

/// The proxy's answer, if it is not a tunnel.
pub(crate) fn refusal(response: &http::Response) -> Option<CloseReason> {
    let text = http::tunnel_refusal(response)?;
    let reason = CloseReason::new(Cause::ProxyRefused, text);
    Some(reason.with_status(Some(response.status)))
}
