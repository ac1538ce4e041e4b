//! The corpus of the fuzzing targets (`fuzz/corpus`), each input checked as its target does.

mod checks;
#[path = "../ends/mod.rs"]
mod ends;

use std::fs;
use std::path::Path;

#[test]
fn every_input_of_the_corpus_keeps_what_its_target_checks() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (name, check) in checks::CHECKS {
        let folder = fs::read_dir(corpus.join(name)).expect("each target has a folder");
        let mut count = 0;
        for entry in folder {
            let path = entry.expect("a file").path();
            println!("{}", path.display());
            check(&fs::read(&path).expect("an input"));
            count += 1;
        }
        assert!(count > 0, "{name} has no inputs");
    }
}
