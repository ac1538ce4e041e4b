//! The table that maps instructions to lines (`InternalDocs/code_objects.md` of `CPython`; the same
//! since 3.11).
//!
//! An entry begins with a byte: the highest bit is set, the next four are a code, and the last
//! three are the number of instructions that it covers, minus one. What follows depends on the
//! code. Only the change of the line matters here.

/// The line of the instruction at a position. Where a table ends early it is the last one known.
pub(super) fn line_at(table: &[u8], first: i32, position: usize) -> i32 {
    const NO_LINE: u8 = 15;
    const LONG: u8 = 14;
    const NO_COLUMNS: u8 = 13;
    const ONE_LINE: std::ops::RangeInclusive<u8> = 10..=12;
    let mut line = first;
    let mut end = 0;
    let mut rest = table;
    while let Some((head, behind)) = rest.split_first() {
        let code = head >> 3 & 15;
        line += match code {
            LONG | NO_COLUMNS => signed(behind),
            _ if ONE_LINE.contains(&code) => i32::from(code - 10),
            _ => 0,
        };
        end += usize::from(head & 7) + 1;
        if position < end {
            return if code == NO_LINE { first } else { line };
        }
        // The next entry begins at the next byte with the highest bit set.
        let next = behind.iter().position(|byte| byte & 0x80 != 0);
        rest = &behind[next.unwrap_or(behind.len())..];
    }
    line
}

/// A number in groups of six bits, the lowest first, of which the lowest bit is the sign.
fn signed(bytes: &[u8]) -> i32 {
    let mut value = 0_u32;
    for (group, byte) in bytes.iter().take(6).enumerate() {
        value |= u32::from(byte & 63) << (group * 6).min(26);
        if byte & 64 == 0 {
            break;
        }
    }
    let size = (value >> 1) as i32;
    if value & 1 == 0 { size } else { -size }
}
