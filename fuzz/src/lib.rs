//! The checks behind the targets: the same that a plain `cargo test` makes of the corpus.

#[path = "../../crates/wire/tests/fuzzed/checks.rs"]
pub mod checks;
