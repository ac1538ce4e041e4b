//! What a well-formed request asks of a server that is an origin: whether it can be served at all,
//! and what it asks of the connection.

use super::body::BodyLength;
use super::headers::Headers as _;
use super::request::{Request, scheme};
use super::{Refusal, is_token};
use vespiary_trace::requires;

/// The methods of RFC 9110 section 9.3 and RFC 5789; others are not known to this server itself.
const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
];

impl Request {
    /// Whether the method is one that HTTP's own specifications define.
    pub fn has_known_method(&self) -> bool {
        METHODS.contains(&self.method())
    }

    /// Whether a body follows the head (RFC 9112 section 6).
    pub fn has_body(&self) -> bool {
        self.body_length() != BodyLength::None
    }

    /// Whether the connection may carry another request behind this one (RFC 9112 section 9.3),
    /// once its body was read.
    pub fn may_persist(&self) -> bool {
        let ends = self.has_token("connection", "close");
        let is_last = requires!("rfc9112/9.6/3", "rfc9112/9.6/5" => ends);
        requires!("rfc9112/9.3/1" => self.minor_version >= 1 && !is_last)
    }

    /// Whether the client waits for 100 (RFC 9110 section 10.1.1), which HTTP/1.0 does not know.
    pub fn expects_continue(&self) -> bool {
        let is_ignored = requires!("rfc9110/10.1.1/7" => self.minor_version == 0);
        !is_ignored && self.has_token("expect", "100-continue")
    }
}

/// Whether an origin server can serve this well-formed request; `secure` says whether the
/// connection is under TLS.
///
/// Refused are: CONNECT, which asks for a proxy (501); a target whose scheme asks for TLS on a
/// connection without (421, RFC 9110 section 7.4); and an expectation that is not known (417,
/// section 10.1.1).
pub fn check_service(request: &Request, secure: bool) -> Result<(), Refusal> {
    if request.method() == "CONNECT" {
        let text = "this server is not a proxy: it does not do CONNECT (RFC 9110 9.3.6)";
        return Err(Refusal::new(501, text));
    }
    let wants_tls =
        |scheme: &str| scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("wss");
    let is_insecure = !secure && scheme(request.target()).is_some_and(wants_tls);
    if requires!("rfc9110/7.4/1", "rfc9110/7.4/2" => is_insecure) {
        let text = "the target's scheme asks for TLS, and this connection has none (RFC 9110 7.4)";
        return Err(Refusal::new(421, text));
    }
    let is_ignored = requires!("rfc9110/10.1.1/7" => request.minor_version == 0);
    if !is_ignored {
        let mut expectations = request.header_tokens("expect");
        let is_unknown = expectations.any(|it| !it.eq_ignore_ascii_case("100-continue"));
        if requires!("rfc9110/10.1.1/1" => is_unknown) {
            let text = "the only expectation known here is 100-continue (RFC 9110 10.1.1)";
            return Err(Refusal::new(417, text));
        }
    }
    Ok(())
}

/// How a request is refused that nobody wants to serve, at an endpoint where the methods `served`
/// exist: 501 for a method that is not known, 405 for one that is not served, and 404.
pub fn refuse_unserved(request: &Request, served: &str) -> Refusal {
    debug_assert!(served.split(", ").all(is_token));
    if requires!("rfc9110/9.1/3" => !request.has_known_method()) {
        let text = "the method is not known here (RFC 9110 9.1)";
        return Refusal::new(501, text);
    }
    let is_served = served.split(", ").any(|method| method == request.method());
    if requires!("rfc9110/9.1/4" => !is_served) {
        let text = format!("the supported methods: {served} (RFC 9110 15.5.6)");
        requires!("rfc9110/10.2.1/1", "rfc9110/15.5.6/1");
        return Refusal::new(405, text).with_header("Allow", served);
    }
    Refusal::new(404, "nothing is served here (RFC 9110 15.5.5)")
}
