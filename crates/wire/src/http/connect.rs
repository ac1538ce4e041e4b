//! The request that asks a proxy for a tunnel: CONNECT, RFC 9110 section 9.3.6 and RFC 9112
//! section 3.2.3.

use super::response::Response;
use super::write::{InvalidHeader, append_headers};

/// Appends the request for a tunnel to `authority`, which is `host:port`. `extra` are further
/// header lines, such as `Proxy-Authorization`. An error leaves `out` as it was.
pub fn append_connect(
    out: &mut Vec<u8>,
    authority: &str,
    extra: &[(String, String)],
) -> Result<(), InvalidHeader> {
    let is_clean = authority.contains(':') && authority.bytes().all(|it| it.is_ascii_graphic());
    if !is_clean {
        return Err(InvalidHeader::new(
            "the authority",
            "is not host:port in ASCII",
        ));
    }
    let start = out.len();
    out.extend_from_slice(format!("CONNECT {authority} HTTP/1.1\r\n").as_bytes());
    let host = [("Host".to_owned(), authority.to_owned())];
    let written = append_headers(out, &host).and_then(|()| append_headers(out, extra));
    if let Err(error) = written {
        out.truncate(start);
        return Err(error);
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Why the proxy did not open the tunnel, as a sentence without its full stop; `None` when it did.
///
/// Any status of 2xx opens it, even if its header lines announce a body (section 9.3.6).
pub fn tunnel_refusal(response: &Response) -> Option<String> {
    if (200..=299).contains(&response.status) {
        return None;
    }
    let (status, reason) = (response.status, &response.reason);
    let separator = if reason.is_empty() { "" } else { " " };
    let mut text = format!("the proxy answered CONNECT with {status}{separator}{reason}");
    if status == 407 {
        let scheme = response.header("proxy-authenticate").unwrap_or("");
        let scheme = scheme.split(' ').next().unwrap_or("");
        let named = if scheme.is_empty() {
            String::new()
        } else {
            format!(" ({scheme})")
        };
        text = format!(
            "{text}: it wants authentication{named}; Basic takes the user name and password \
             of the proxy's URL"
        );
    }
    Some(text)
}
