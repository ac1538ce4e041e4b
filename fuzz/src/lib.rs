//! The checks behind the targets: the same that a plain `cargo test` makes of the corpus.

#[path = "../../crates/wire/tests/fuzzed/checks.rs"]
pub mod checks;
#[path = "../../crates/port/tests/fuzzed/checks.rs"]
pub mod datagram_checks;
#[path = "../../crates/tls/tests/ends/mod.rs"]
mod ends;
#[path = "../../crates/tls/tests/fuzzed/checks.rs"]
pub mod tls_checks;
