//! What must hold of TLS records, however they are cut and whatever they contain. Shared by the
//! fuzzing targets (`fuzz/`) and by `main.rs`, which tries the corpus on every run of the tests.

use crate::ends::{End, Two, client_settings, server_settings};
use std::sync::OnceLock;
use vespiary_engine::{Cause, Layer};
use vespiary_tls::{ClientTls, ServerTls};

/// Checks some bytes; panics if what must hold does not.
pub type Check = fn(&[u8]);

/// Every check, by the name of its target and of its folder of inputs.
pub const CHECKS: [(&str, Check); 2] = [("tls_hello", hello), ("tls_records", records)];

fn server() -> &'static ServerTls {
    static SERVER: OnceLock<ServerTls> = OnceLock::new();
    SERVER.get_or_init(|| ServerTls::new(&server_settings()).expect("a server"))
}

fn client() -> &'static ClientTls {
    static CLIENT: OnceLock<ClientTls> = OnceLock::new();
    CLIENT.get_or_init(|| ClientTls::new(&client_settings()).expect("a client"))
}

/// A server that has received the bytes in pieces of these sizes.
fn given(bytes: &[u8], piece: usize) -> End {
    let mut end = End::new(server().layer());
    for part in bytes.chunks(piece.max(1)) {
        end.receive(part);
    }
    end
}

/// What a server makes of the first bytes of a client does not depend on how they are cut: it fails
/// for the same reason, or waits; and it delivers nothing before a handshake.
pub fn hello(bytes: &[u8]) {
    let whole = given(bytes, bytes.len());
    for piece in [1, 7, 1 + bytes.len() / 3] {
        let cut = given(bytes, piece);
        assert_eq!(cut.failure, whole.failure, "in pieces of {piece}");
        assert_eq!(cut.wire.is_empty(), whole.wire.is_empty());
    }
    assert!(whole.plain.is_empty() && !whole.layer.is_ready());
    if let Some(failure) = &whole.failure {
        assert!(matches!(
            failure.cause,
            Cause::TlsFailed | Cause::OutOfMemory
        ));
    }
}

/// Messages arrive whole in any pieces. If a byte of a record is altered, or records are repeated,
/// left out or exchanged, what arrives is the beginning of what was sent, and the end is reported.
///
/// The first four bytes choose the pieces and the fault; each further one is a message.
pub fn records(bytes: &[u8]) {
    let Some((&[piece, fault, place, value], messages)) = bytes.split_first_chunk() else {
        return;
    };
    let mut ends = Two::new(client(), server(), "localhost");
    ends.run(&[usize::from(piece) * 9 + 1, 40, usize::MAX]);
    assert!(ends.client.handle.facts().is_some() && ends.server.handle.facts().is_some());
    ends.client.wire.clear();
    let (mut sent, mut records) = (Vec::new(), Vec::new());
    for (number, length) in messages.iter().take(24).enumerate() {
        let length = usize::from(*length) * (1 + number % 3 * 100);
        let message: Vec<u8> = (0..length).map(|it| (it * 7 + number) as u8).collect();
        ends.client.send(&message);
        sent.extend(message);
        records.push(std::mem::take(&mut ends.client.wire));
    }
    let unchanged = records.concat();
    change(&mut records, fault, place, value);
    let is_changed = records.concat() != unchanged;
    for part in records.concat().chunks(usize::from(piece) * 9 + 1) {
        ends.server.receive(part);
    }
    if is_changed {
        assert!(
            sent.starts_with(&ends.server.plain),
            "altered bytes arrived"
        );
        let missing = ends.server.plain.len() < sent.len();
        let failed = ends.server.failure.is_some();
        assert!(missing || failed || sent.is_empty(), "nothing was noticed");
    } else {
        assert_eq!(ends.server.failure, None);
        assert!(ends.server.plain == sent);
    }
}

/// Change what was sent; an empty message has no record, so perhaps nothing differs.
fn change(records: &mut Vec<Vec<u8>>, fault: u8, place: u8, value: u8) {
    if records.is_empty() {
        return;
    }
    let index = usize::from(place) % records.len();
    let other = usize::from(value) % records.len();
    let record = &mut records[index];
    match fault % 6 {
        1 => {
            let at = usize::from(value) * 31 % record.len().max(1);
            if let Some(byte) = record.get_mut(at) {
                *byte ^= value | 1;
            }
        }
        2 => {
            let again = record.clone();
            records.insert(other, again);
        }
        3 => drop(records.remove(index)),
        4 => records.swap(index, other),
        5 => record.truncate(record.len() * usize::from(value) / 256),
        _ => {}
    }
}
