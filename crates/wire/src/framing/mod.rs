//! Messages on a raw stream of bytes: where one ends and the next begins.

pub mod length;
pub mod line;
