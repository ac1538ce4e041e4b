//! Checks each input of the corpus as its fuzzing target does: part of the tests of each crate that
//! has targets.

use std::fs;
use std::path::Path;

type Check = fn(&[u8]);

/// Panics if an input fails the check of its target, or if a target has no inputs.
pub(crate) fn replay(checks: &[(&str, Check)]) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (name, check) in checks {
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
