//! Options as the Python side writes them: a flat dictionary of checked values.

use crate::tls::EndpointTls;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::net::IpAddr;
use vespiary_engine::wire::framing::length::Format;
use vespiary_engine::wire::http::ForwardedField;
use vespiary_engine::wire::websocket::deflate::{Direction, Settings};
use vespiary_engine::wire::websocket::handshake::{
    Acceptance, Ask, OriginPattern, append_request, append_response,
};
use vespiary_engine::wire::websocket::profile::Version;
use vespiary_engine::{
    Compression, Framing, Messages, Options, Proxies, SlowConsumer, WebSocketOptions,
};

fn required<'py, T>(options: &Bound<'py, PyDict>, name: &str) -> PyResult<T>
where
    T: FromPyObjectOwned<'py>,
{
    let value = options
        .get_item(name)?
        .ok_or_else(|| PyValueError::new_err(format!("the option {name} is missing")))?;
    value.extract::<T>().map_err(Into::into)
}

fn milliseconds(options: &Bound<'_, PyDict>, name: &str) -> PyResult<Option<u64>> {
    let seconds: Option<f64> = required(options, name)?;
    Ok(seconds.map(|seconds| (seconds * 1000.0).ceil() as u64))
}

fn framing(options: &Bound<'_, PyDict>) -> PyResult<Framing> {
    let name: String = required(options, "framing")?;
    Ok(match name.as_str() {
        "raw" => Framing::Raw,
        "line" => Framing::Line { ending: b"\n" },
        "crlf" => Framing::Line { ending: b"\r\n" },
        "websocket" => Framing::WebSocket,
        "http" => Framing::Http,
        "datagram" => Framing::Datagram,
        "length" => {
            let width: u8 = required(options, "length_width")?;
            let big_endian = required(options, "length_big_endian")?;
            let includes_itself = required(options, "length_includes_itself")?;
            let format = Format::new(width, big_endian, includes_itself);
            let wrong = || PyValueError::new_err("a length prefix has 1, 2, 4 or 8 bytes");
            Framing::Length(format.ok_or_else(wrong)?)
        }
        other => {
            return Err(PyValueError::new_err(format!("{other:?} is not a framing")));
        }
    })
}

fn slow_consumer(options: &Bound<'_, PyDict>) -> PyResult<SlowConsumer> {
    let name: String = required(options, "slow_consumer")?;
    Ok(match name.as_str() {
        "wait" => SlowConsumer::Wait,
        "drop-oldest" => SlowConsumer::DropOldest,
        "drop-newest" => SlowConsumer::DropNewest,
        "disconnect" => SlowConsumer::Disconnect,
        other => {
            return Err(PyValueError::new_err(format!(
                "{other:?} is not a policy for slow consumers"
            )));
        }
    })
}

fn websocket(options: &Bound<'_, PyDict>) -> PyResult<WebSocketOptions> {
    let patterns: Option<Vec<String>> = required(options, "origins")?;
    let parse = |text: &String| {
        let wrong = |error| PyValueError::new_err(format!("{text:?} {error}"));
        OriginPattern::parse(text).map_err(wrong)
    };
    let origins = patterns.map(|patterns| patterns.iter().map(parse).collect());
    let numbers: Vec<u8> = required(options, "versions")?;
    let version = |number: &u8| {
        let wrong =
            || PyValueError::new_err(format!("WebSocket version {number} is not supported"));
        Version::from_number(*number).ok_or_else(wrong)
    };
    let versions: PyResult<Vec<Version>> = numbers.iter().map(version).collect();
    let messages: String = required(options, "messages")?;
    Ok(WebSocketOptions {
        messages: match messages.as_str() {
            "text" => Messages::Text,
            "binary" => Messages::Binary,
            _ => Messages::Any,
        },
        versions: versions?,
        deflate_stream: required(options, "deflate_stream")?,
        origins: origins.transpose()?,
        origin_required: required(options, "origin_required")?,
        subprotocols: required(options, "subprotocols")?,
        headers: required(options, "headers")?,
        compression: compression(options)?,
    })
}

/// `vespiary.Compression`, whose fields are a dictionary within the dictionary.
fn compression(options: &Bound<'_, PyDict>) -> PyResult<Option<Compression>> {
    let Some(options) = required::<Option<Py<PyDict>>>(options, "compression")?
        .map(|compression| compression.into_bound(options.py()))
    else {
        return Ok(None);
    };
    let direction = |side: &str| -> PyResult<Direction> {
        Ok(Direction {
            context_takeover: required(&options, &format!("{side}_context_takeover"))?,
            window_bits: required(&options, &format!("{side}_window_bits"))?,
        })
    };
    let settings = Settings {
        server: direction("server")?,
        client: direction("client")?,
    };
    Ok(Some(Compression {
        settings,
        level: required(&options, "level")?,
        memory_level: required(&options, "memory_level")?,
        threshold_bytes: required(&options, "threshold_bytes")?,
    }))
}

/// What is wrong with a pattern of origins, as the rest of a sentence; None if nothing is.
#[pyfunction]
fn origin_fault(pattern: &str) -> Option<String> {
    let parsed = OriginPattern::parse(pattern);
    parsed.err().map(|error| error.to_string())
}

/// What is wrong with a header line of a response that opens a WebSocket, as a sentence.
#[pyfunction]
fn upgrade_header_fault(name: String, value: String) -> Option<String> {
    let acceptance = Acceptance {
        extra: &[(name, value)],
        ..Acceptance::default()
    };
    let written = append_response(&mut Vec::new(), &acceptance);
    written.err().map(|error| error.to_string())
}

/// What is wrong with the request that would open a WebSocket, as a sentence; None if nothing is.
#[pyfunction]
fn upgrade_request_fault(
    host: &str,
    target: &str,
    subprotocols: Vec<String>,
    headers: Vec<(String, String)>,
) -> Option<String> {
    let ask = Ask {
        host,
        target,
        protocols: &subprotocols,
        extra: &headers,
        ..Ask::default()
    };
    let written = append_request(&mut Vec::new(), &ask);
    written.err().map(|error| error.to_string())
}

/// Add the checks of options to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(origin_fault, module)?)?;
    module.add_function(wrap_pyfunction!(upgrade_header_fault, module)?)?;
    module.add_function(wrap_pyfunction!(upgrade_request_fault, module)?)
}

/// Proxies: networks as `address/bits`, and `unix`.
fn proxies(networks: Vec<String>) -> PyResult<Proxies> {
    let mut proxies = Proxies::default();
    for text in networks {
        if text == "unix" {
            proxies.add_unix();
            continue;
        }
        let network = text.split_once('/').and_then(|(address, bits)| {
            let address: IpAddr = address.parse().ok()?;
            Some((address, bits.parse::<u8>().ok()?))
        });
        let wrong = || PyValueError::new_err(format!("{text:?} is not a network"));
        let (address, bits) = network.ok_or_else(wrong)?;
        proxies.add(address, bits);
    }
    Ok(proxies)
}

fn forwarders(options: &Bound<'_, PyDict>) -> PyResult<Option<(Proxies, ForwardedField)>> {
    let given: Option<(Vec<String>, String)> = required(options, "forwarders")?;
    given
        .map(|(networks, field)| {
            let field = match field.as_str() {
                "forwarded" => ForwardedField::Forwarded,
                _ => ForwardedField::XForwardedFor,
            };
            Ok((proxies(networks)?, field))
        })
        .transpose()
}

/// What an inbox may hold before reading pauses.
#[derive(Clone, Copy, Default)]
pub(crate) struct InboxLimits {
    pub(crate) messages_max: usize,
    pub(crate) bytes_max: usize,
}

/// The engine's options, those of inboxes, and the TLS.
pub(crate) fn read(
    options: &Bound<'_, PyDict>,
) -> PyResult<(Options, InboxLimits, Option<EndpointTls>)> {
    let mut read = Options::unlimited(framing(options)?);
    let limits = &mut read.limits;
    limits.connections_max = required(options, "connections_max")?;
    limits.connections_per_address_max = required(options, "connections_per_address_max")?;
    limits.accepts_per_second_max = required(options, "accepts_per_second_max")?;
    limits.handshakes_pending_max = required(options, "handshakes_pending_max")?;
    let unbounded = |value: Option<u64>| value.unwrap_or(u64::MAX);
    limits.message_bytes_max = unbounded(required(options, "message_bytes_max")?);
    limits.frame_bytes_max = unbounded(required(options, "frame_bytes_max")?);
    limits.fragments_max = required::<Option<u32>>(options, "fragments_max")?.unwrap_or(u32::MAX);
    limits.header_bytes_max = required(options, "header_bytes_max")?;
    limits.headers_max = required(options, "headers_max")?;
    limits.body_bytes_max =
        required::<Option<usize>>(options, "body_bytes_max")?.unwrap_or(usize::MAX);
    limits.requests_per_connection_max = required(options, "requests_per_connection_max")?;
    limits.topics_per_connection_max = required(options, "topics_per_connection_max")?;
    limits.subscriptions_max = required(options, "subscriptions_max")?;
    limits.topic_bytes_max = required(options, "topic_bytes_max")?;
    limits.write_high_bytes = required(options, "write_high_bytes")?;
    limits.write_low_bytes = required(options, "write_low_bytes")?;
    limits.write_bytes_max = required(options, "write_bytes_max")?;
    limits.datagram_bytes_max = required(options, "datagram_bytes_max")?;
    limits.datagrams_pending_max = required(options, "datagrams_pending_max")?;
    let deadlines = &mut read.deadlines;
    deadlines.handshake = milliseconds(options, "handshake_seconds")?;
    deadlines.keep_alive = milliseconds(options, "keep_alive_seconds")?;
    deadlines.first_byte = milliseconds(options, "first_byte_seconds")?;
    deadlines.message = milliseconds(options, "message_seconds")?;
    deadlines.idle = milliseconds(options, "idle_seconds")?;
    deadlines.data = milliseconds(options, "data_seconds")?;
    deadlines.datagram_idle = milliseconds(options, "datagram_idle_seconds")?;
    deadlines.tcp_keepalive = milliseconds(options, "tcp_keepalive_seconds")?;
    deadlines.write = milliseconds(options, "write_seconds")?;
    deadlines.close = milliseconds(options, "close_seconds")?;
    deadlines.ping_interval = milliseconds(options, "ping_interval_seconds")?;
    deadlines.ping_timeout = milliseconds(options, "ping_timeout_seconds")?;
    read.slow_consumer = slow_consumer(options)?;
    read.websocket = websocket(options)?;
    read.parts = required(options, "parts")?;
    read.streams_requests = required(options, "streams_requests")?;
    read.hosts_application = required(options, "hosts_application")?;
    read.reads_when_crowded = required(options, "reads_when_crowded")?;
    read.filtered = required(options, "filtered")?;
    read.proxies = proxies(required(options, "proxies")?)?;
    read.forwarders = forwarders(options)?;
    let inbox = InboxLimits {
        messages_max: required(options, "inbox_messages_max")?,
        bytes_max: required(options, "inbox_bytes_max")?,
    };
    let tls = EndpointTls::of(options)?;
    read.secure = tls.is_some();
    Ok((read, inbox, tls))
}
