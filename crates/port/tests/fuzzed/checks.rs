//! What must hold of the control messages next to a datagram, whatever they contain. Shared by the
//! fuzzing target (`fuzz/`) and by `main.rs`, which tries the corpus on every run of the tests.

use vespiary_port::read_control;

/// Checks some bytes; panics if what must hold does not.
pub type Check = fn(&[u8]);

/// Every check, by the name of its target and of its folder of inputs.
pub const CHECKS: [(&str, Check); 1] = [("control", control)];

const HEAD_BYTES: usize = 16;

/// The control messages that end within the bytes, as recvmsg(2) and cmsg(3) lay them out.
fn messages(bytes: &[u8]) -> Vec<(i32, i32, &[u8])> {
    let mut found = Vec::new();
    let mut start = 0;
    while start + HEAD_BYTES <= bytes.len() {
        let word = |from: usize| {
            bytes[start + from..start + from + 4]
                .try_into()
                .expect("four")
        };
        let length = u64::from_ne_bytes(bytes[start..start + 8].try_into().expect("eight"));
        let (level, kind) = (i32::from_ne_bytes(word(8)), i32::from_ne_bytes(word(12)));
        let room = (bytes.len() - start) as u64;
        if !(HEAD_BYTES as u64..=room).contains(&length) {
            break;
        }
        let end = start + length as usize;
        found.push((level, kind, &bytes[start + HEAD_BYTES..end]));
        start = end.div_ceil(8) * 8;
    }
    found
}

/// The first four bytes of the last message of a kind; a shorter one says nothing.
fn number(found: &[(i32, i32, &[u8])], kinds: &[(i32, i32)]) -> Option<u32> {
    let wanted = |it: &&(i32, i32, &[u8])| kinds.contains(&(it.0, it.1));
    let (_, _, data) = found.iter().rfind(wanted)?;
    Some(u32::from_ne_bytes(data.get(..4)?.try_into().ok()?))
}

/// What is read is what another reader finds, of any bytes.
pub fn control(bytes: &[u8]) {
    let read = read_control(bytes);
    let found = messages(bytes);
    let ttl = [
        (libc::IPPROTO_IP, libc::IP_TTL),
        (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT),
    ];
    assert_eq!(read.ttl, number(&found, &ttl).map(|it| it as u8));
    let dropped = [(libc::SOL_SOCKET, libc::SO_RXQ_OVFL)];
    assert_eq!(read.dropped, number(&found, &dropped));
    let segment = [(libc::SOL_UDP, libc::UDP_GRO)];
    assert_eq!(read.segment, number(&found, &segment).map(|it| it as usize));
    let error = [
        (libc::IPPROTO_IP, libc::IP_RECVERR),
        (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    ];
    assert_eq!(read.error, number(&found, &error).map(|it| it as i32));
    let has = |level, kind| found.iter().any(|it| (it.0, it.1) == (level, kind));
    let (v4, v6) = (
        has(libc::IPPROTO_IP, libc::IP_PKTINFO),
        has(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO),
    );
    assert!(read.local.is_none() || v4 || v6);
    assert!(read.answer_from.is_none() || v4 || v6);
    let marks = has(libc::IPPROTO_IP, libc::IP_TOS) || has(libc::IPPROTO_IPV6, libc::IPV6_TCLASS);
    assert!(read.ecn.is_none_or(|it| marks && it <= 3));
}
