//! Goes through the corpus: what once made a reader panic, and one input of each kind.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;

/// What takes any bytes.
type Check = fn(&[u8]);

#[test]
fn nothing_in_the_corpus_makes_a_reader_panic() {
    let targets: [(&str, Check); 5] = [
        ("files", mulgil_fuzz::files::check),
        ("records", mulgil_fuzz::records::check),
        ("log", mulgil_fuzz::segments::check),
        ("checkpoint", mulgil_fuzz::checkpoint::check),
        ("definitions", mulgil_fuzz::definitions::check),
    ];
    for (target, check) in targets {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        let mut inputs: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "{} is empty", folder.display());
        for input in inputs {
            check(&fs::read(input).unwrap());
        }
    }
}
