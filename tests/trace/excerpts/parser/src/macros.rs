/// The next byte, or the end of the function if there is none yet.
macro_rules! next {
    ($cursor:expr) => {
        match $cursor.next() {
            Some(byte) => byte,
            None => return Ok(Status::Partial),
        }
    };
}

/// What a step has given, or the end of the function if it needs more.
macro_rules! complete {
    ($step:expr) => {
        match $step? {
            Status::Complete(value) => value,
            Status::Partial => return Ok(Status::Partial),
        }
    };
}

/// The end of a line.
macro_rules! newline {
    ($cursor:expr) => {
        match next!($cursor) {
            b'\n' => {}
            b'\r' => {
                let byte = next!($cursor);
                if byte != b'\n' {
                    return Err(Error::NewLine);
                }
            }
            _ => return Err(Error::NewLine),
        }
    };
}
