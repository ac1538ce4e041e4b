//! An excerpt of a parser of heads that allocates nothing: a cursor, macros, and a loop of bytes.

#![cfg_attr(not(feature = "std"), no_std)]

mod cursor;
#[macro_use]
mod macros;

use cursor::Cursor;

/// What is wrong with a head.
#[derive(Debug, PartialEq, Eq)]
pub enum Error {
    FieldName,
    NewLine,
    Room,
    Token,
    Version,
}

/// A head or a size, and how many bytes it took; or that more is needed.
#[derive(Debug, PartialEq, Eq)]
pub enum Status<T> {
    Complete(T),
    Partial,
}

pub type Result<T> = core::result::Result<Status<T>, Error>;

/// A field of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'b> {
    pub name: &'b [u8],
    pub value: &'b [u8],
}

pub const EMPTY: Field<'static> = Field {
    name: b"",
    value: b"",
};

/// What a recipient accepts besides what it must.
#[derive(Clone, Copy, Default)]
pub struct Config {
    pub several_spaces: bool,
    pub space_after_name: bool,
}

/// The parts of the first line of a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Request<'b> {
    pub method: &'b [u8],
    pub path: &'b [u8],
    pub fields: usize,
}

impl<'b> Request<'b> {
    pub fn parse(
        &mut self,
        config: Config,
        bytes: &'b [u8],
        fields: &mut [Field<'b>],
    ) -> Result<usize> {
        let mut cursor = Cursor::new(bytes);
        complete!(skip_empty_lines(&mut cursor));
        self.method = complete!(token(&mut cursor));
        if config.several_spaces {
            complete!(skip_spaces(&mut cursor));
        }
        self.path = complete!(token(&mut cursor));
        complete!(version(&mut cursor));
        newline!(cursor);
        let strict = Config {
            space_after_name: false,
            ..config
        };
        self.fields = complete!(parse_fields(&mut cursor, strict, fields));
        Ok(Status::Complete(cursor.place()))
    }
}

/// The parts of the first line of a response.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Response<'b> {
    pub code: &'b [u8],
    pub reason: &'b [u8],
    pub fields: usize,
}

impl<'b> Response<'b> {
    pub fn parse(
        &mut self,
        config: Config,
        bytes: &'b [u8],
        fields: &mut [Field<'b>],
    ) -> Result<usize> {
        let mut cursor = Cursor::new(bytes);
        complete!(skip_empty_lines(&mut cursor));
        complete!(version(&mut cursor));
        if next!(cursor) != b' ' {
            return Err(Error::Version);
        }
        self.code = complete!(token(&mut cursor));
        self.reason = complete!(reason(&mut cursor));
        newline!(cursor);
        self.fields = complete!(parse_fields(&mut cursor, config, fields));
        Ok(Status::Complete(cursor.place()))
    }
}

fn skip_empty_lines(cursor: &mut Cursor<'_>) -> Result<()> {
    loop {
        match cursor.peek() {
            None => return Ok(Status::Partial),
            Some(b'\r' | b'\n') => newline!(cursor),
            Some(_) => return Ok(Status::Complete(())),
        }
    }
}

fn skip_spaces(cursor: &mut Cursor<'_>) -> Result<()> {
    while cursor.peek() == Some(b' ') {
        cursor.next();
    }
    Ok(Status::Complete(()))
}

fn token<'b>(cursor: &mut Cursor<'b>) -> Result<&'b [u8]> {
    let start = cursor.place();
    loop {
        match next!(cursor) {
            b' ' if cursor.place() - 1 > start => break,
            byte if byte.is_ascii_graphic() => {}
            _ => return Err(Error::Token),
        }
    }
    Ok(Status::Complete(cursor.since(start, 1)))
}

fn version(cursor: &mut Cursor<'_>) -> Result<u8> {
    for wanted in b"HTTP/" {
        if next!(cursor) != *wanted {
            return Err(Error::Version);
        }
    }
    if next!(cursor) != b'1' {
        return Err(Error::Version);
    }
    if next!(cursor) != b'.' {
        return Err(Error::Version);
    }
    Ok(Status::Complete(next!(cursor)))
}

fn reason<'b>(cursor: &mut Cursor<'b>) -> Result<&'b [u8]> {
    let start = cursor.place();
    loop {
        match cursor.peek() {
            None => return Ok(Status::Partial),
            Some(b'\r' | b'\n') => return Ok(Status::Complete(cursor.since(start, 0))),
            Some(byte) if byte == b'\t' || byte == b' ' || byte.is_ascii_graphic() => {}
            Some(byte) if byte >= 0x80 => {}
            Some(_) => return Err(Error::Token),
        }
        cursor.next();
    }
}

fn parse_fields<'b>(
    cursor: &mut Cursor<'b>,
    config: Config,
    fields: &mut [Field<'b>],
) -> Result<usize> {
    let mut count = 0;
    loop {
        match cursor.peek() {
            None => return Ok(Status::Partial),
            Some(b'\r' | b'\n') => {
                newline!(cursor);
                return Ok(Status::Complete(count));
            }
            Some(_) => {}
        }
        let name = complete!(field_name(cursor, config));
        if name.is_empty() {
            return Err(Error::FieldName);
        }
        complete!(skip_spaces(cursor));
        let value = complete!(reason(cursor));
        newline!(cursor);
        if count == fields.len() {
            return Err(Error::Room);
        }
        fields[count] = Field { name, value };
        count += 1;
    }
}

fn field_name<'b>(cursor: &mut Cursor<'b>, config: Config) -> Result<&'b [u8]> {
    let start = cursor.place();
    loop {
        match next!(cursor) {
            b':' => return Ok(Status::Complete(cursor.since(start, 1))),
            b' ' => {
                let name = cursor.since(start, 1);
                if !config.space_after_name {
                    return Err(Error::FieldName);
                }
                return if next!(cursor) == b':' {
                    Ok(Status::Complete(name))
                } else {
                    Err(Error::FieldName)
                };
            }
            byte if byte.is_ascii_graphic() => {}
            _ => return Err(Error::FieldName),
        }
    }
}

/// The size of a chunk, and how many bytes its line took.
pub fn chunk_size(bytes: &[u8]) -> Result<(usize, u64)> {
    const RADIX: u64 = 16;
    let mut cursor = Cursor::new(bytes);
    let (mut size, mut count) = (0_u64, 0);
    let mut in_extension = false;
    loop {
        match next!(cursor) {
            byte @ b'0'..=b'9' if !in_extension => {
                if count > 15 {
                    return Err(Error::Token);
                }
                count += 1;
                size = size
                    .wrapping_mul(RADIX)
                    .wrapping_add(u64::from(byte - b'0'));
            }
            byte @ (b'a'..=b'f' | b'A'..=b'F') if !in_extension => {
                if count > 15 {
                    return Err(Error::Token);
                }
                count += 1;
                let digit = u64::from(byte.to_ascii_lowercase() - b'a' + 10);
                size = size.wrapping_mul(RADIX).wrapping_add(digit);
            }
            b';' if !in_extension => in_extension = true,
            b'\r' => {
                if next!(cursor) != b'\n' {
                    return Err(Error::NewLine);
                }
                return Ok(Status::Complete((cursor.place(), size)));
            }
            _ if in_extension => {}
            _ => return Err(Error::Token),
        }
    }
}

#[cfg(test)]
mod tests;
