//! The WebSocket half of a connection: the opening handshake of RFC 6455 section 4.1, then frames.
//! It knows bytes only; the connection decides what they mean.

use vespiary_wire::http::{self, ResponseReader};
use vespiary_wire::websocket::close::{self, Code};
use vespiary_wire::websocket::decoder::{Decoder, Role};
use vespiary_wire::websocket::deflate::Parameters;
use vespiary_wire::websocket::frame::{self, Kind, Opcode};
use vespiary_wire::websocket::handshake;
use vespiary_wire::websocket::profile::Version;

use crate::compression::{self, Compression};
use crate::cutter::Cutter;
use crate::plan::Plan;
use crate::random::Random;
use crate::target::Resource;

/// The handshake in progress: its key, and what has come of the response.
#[derive(Debug)]
pub struct Handshake {
    key: String,
    reader: ResponseReader,
    head: Vec<u8>,
}

impl Handshake {
    /// Append the request to `output`, with what `plan` adds to it.
    pub fn begin(
        resource: &Resource,
        plan: &Plan,
        random: &mut Random,
        output: &mut Vec<u8>,
    ) -> Result<Self, String> {
        let mut nonce = [0_u8; 16];
        nonce[..8].copy_from_slice(&random.next().to_le_bytes());
        nonce[8..].copy_from_slice(&random.next().to_le_bytes());
        let key = handshake::encode_key(nonce);
        let extra = [&resource.headers[..], &plan.headers[..]].concat();
        let offer = plan.compress.then(|| compression::offer().list());
        let ask = handshake::Ask {
            host: &resource.host,
            target: &resource.target,
            key: &key,
            protocols: &plan.subprotocols,
            extensions: offer.as_deref(),
            extra: &extra,
            ..handshake::Ask::default()
        };
        handshake::append_request(output, &ask).map_err(|error| error.to_string())?;
        Ok(Self {
            key,
            reader: ResponseReader::new(),
            head: Vec::new(),
        })
    }

    /// Take a piece of the response; `Some` when it is whole and right.
    pub fn take(
        &mut self,
        bytes: &[u8],
        limits: &http::Limits,
        plan: &Plan,
    ) -> Result<Option<Shaken>, String> {
        self.head.extend_from_slice(bytes);
        let parsed = self
            .reader
            .parse(&self.head, limits)
            .map_err(|error| error.to_string())?;
        let Some((response, length)) = parsed else {
            return Ok(None);
        };
        let offer = plan.compress.then(compression::offer);
        let offered = handshake::Offered {
            protocols: &plan.subprotocols,
            deflate: offer.as_ref(),
            ..handshake::Offered::default()
        };
        let agreed = handshake::check_response(&response, Version::Rfc6455, &self.key, &offered)
            .map_err(|error| error.to_string())?;
        if agreed.protocol.is_none() && !plan.subprotocols.is_empty() {
            return Err("the server chose none of the subprotocols".to_owned());
        }
        if agreed.deflate.is_none() && plan.compress {
            return Err("the server did not agree to permessage-deflate".to_owned());
        }
        Ok(Some(Shaken {
            rest: self.head.split_off(length),
            deflate: agreed.deflate,
        }))
    }
}

/// A handshake that was answered as it should be.
pub struct Shaken {
    /// What came behind the response.
    pub rest: Vec<u8>,
    /// How messages are compressed, if they are.
    pub deflate: Option<Parameters>,
}

/// A decoder for what a server sends.
pub fn decoder(is_compressed: bool) -> Decoder {
    let decoder = Decoder::new(Role::Client, Version::Rfc6455);
    if is_compressed {
        decoder.with_compression()
    } else {
        decoder
    }
}

/// Append one message, masked; with a cutter as several frames, perhaps with a ping before some of
/// them. Gives the number of pings.
pub fn append_message(
    output: &mut Vec<u8>,
    kind: Kind,
    payload: &[u8],
    cutter: Option<&Cutter>,
    random: &mut Random,
) -> u64 {
    let Some(cutter) = cutter else {
        frame::append(
            output,
            true,
            false,
            kind.into(),
            payload,
            Some(random.mask_key()),
        );
        return 0;
    };
    let mut pings = 0;
    let mut start = 0;
    let mut opcode = Opcode::from(kind);
    let ends = cutter.frame_ends(random, payload.len());
    for (index, end) in ends.iter().enumerate() {
        if index > 0 && random.below(4) == 0 {
            append_control(output, Opcode::Ping, &random.next().to_le_bytes(), random);
            pings += 1;
        }
        let fin = index + 1 == ends.len();
        let key = Some(random.mask_key());
        frame::append(output, fin, false, opcode, &payload[start..*end], key);
        start = *end;
        opcode = Opcode::Continuation;
    }
    pings
}

/// The same, compressed.
pub fn append_compressed(
    output: &mut Vec<u8>,
    kind: Kind,
    payload: &[u8],
    cutter: Option<&Cutter>,
    random: &mut Random,
    compression: &mut Compression,
) -> u64 {
    let ends = match cutter {
        None => vec![payload.len()],
        Some(cutter) => cutter.frame_ends(random, payload.len()),
    };
    let mut pings = 0;
    let mut start = 0;
    let mut opcode = Opcode::from(kind);
    let mut compressed = Vec::new();
    for (index, end) in ends.iter().enumerate() {
        if index > 0 && random.below(4) == 0 {
            append_control(output, Opcode::Ping, &random.next().to_le_bytes(), random);
            pings += 1;
        }
        let fin = index + 1 == ends.len();
        compressed.clear();
        compression.compress(&payload[start..*end], fin, &mut compressed);
        let key = Some(random.mask_key());
        frame::append(output, fin, index == 0, opcode, &compressed, key);
        start = *end;
        opcode = Opcode::Continuation;
    }
    pings
}

/// Append a control frame, masked.
pub fn append_control(output: &mut Vec<u8>, opcode: Opcode, payload: &[u8], random: &mut Random) {
    frame::append(
        output,
        true,
        false,
        opcode,
        payload,
        Some(random.mask_key()),
    );
}

/// Append the close frame that says `code`.
pub fn append_close(output: &mut Vec<u8>, code: Code, random: &mut Random) {
    let payload = close::encode(Version::Rfc6455.profile(), code, "");
    append_control(output, Opcode::Close, &payload, random);
}
