//! The protocols, tested through the crate's public face: every rule by a sentence that names it,
//! every decoder at every place where its input can be cut, and against the peers' own decoders.

mod close;
mod decoder_limits;
mod decoder_rules;
mod decoder_splits;
mod deflate_messages;
mod deflate_negotiation;
mod deflate_reader;
mod extension;
mod forwarded;
mod frame;
mod handshake_client;
mod handshake_server;
mod http_body;
mod http_body_writer;
mod http_connect;
mod http_date;
mod http_limits;
mod http_request;
mod http_requirements;
mod http_response;
mod http_service;
mod http_write;
mod httparse_differential;
mod length;
mod line;
mod linear;
mod mask;
mod origin;
mod proxy;
mod support;
mod tungstenite_differential;
mod utf8;
mod versions;
mod versions_handshake;
mod versions_stream;
