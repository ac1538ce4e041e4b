//! The corpus of the fuzzing targets (`fuzz/corpus`), each input checked as its target does.

mod checks;
#[path = "../../../../fuzz/replay.rs"]
mod replay;

#[test]
fn every_input_of_the_corpus_keeps_what_its_target_checks() {
    replay::replay(&checks::CHECKS);
}
