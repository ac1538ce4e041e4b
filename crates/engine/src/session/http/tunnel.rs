//! A client's way through an HTTP proxy: CONNECT, before anything else is sent (RFC 9110 section
//! 9.3.6). Once the proxy has answered with 2xx, the connection is as if it were made directly.

use crate::close::{Cause, CloseReason};
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
    pub(super) fn request(&self) -> Result<Vec<u8>, InvalidHeader> {
        let mut request = Vec::with_capacity(256);
        http::append_connect(&mut request, &self.authority, &self.headers)?;
        Ok(request)
    }
}

/// The proxy's answer, if it is not a tunnel.
pub(super) fn refusal(response: &http::Response) -> Option<CloseReason> {
    let text = http::tunnel_refusal(response)?;
    let reason = CloseReason::new(Cause::ProxyRefused, text);
    Some(reason.with_status(Some(response.status)))
}

/// What the proxy sent is not an answer that this end takes: the server has seen nothing of it.
pub(super) fn no_answer(reason: CloseReason) -> CloseReason {
    CloseReason {
        cause: Cause::ProxyRefused,
        ..reason
    }
}
