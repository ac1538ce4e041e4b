//! Pure protocols: bytes in, events out. No I/O, no clock, no unsafe.
#![forbid(unsafe_code)]
