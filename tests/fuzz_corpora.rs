//! What the fuzz targets begin with, and what they found, read again on every change: see
//! `scripts/fuzz`.

#[path = "../fuzz/src/targets.rs"]
mod targets;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use targets::TARGETS;

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

fn names_in(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    entries.map(|entry| stem(entry.unwrap().path())).collect()
}

#[test]
fn every_target_has_an_entry_point_and_a_corpus_and_the_reverse() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names_in(&corpora()), targets);
    assert_eq!(names_in(&corpora().with_file_name("fuzz_targets")), targets);
}

#[test]
fn no_target_panics_on_what_is_in_its_corpus() {
    for (name, target) in TARGETS {
        for file in fs::read_dir(corpora().join(name)).unwrap() {
            let path = file.unwrap().path();
            eprintln!("{}", path.display());
            target(&fs::read(&path).unwrap());
        }
    }
}

#[test]
fn no_target_panics_where_a_file_ends_early_or_a_byte_is_another() {
    for (name, target) in TARGETS {
        let mut chance = fastrand::Rng::with_seed(3);
        for file in fs::read_dir(corpora().join(name)).unwrap() {
            let path = file.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            for _ in 0..20 {
                let mut bytes = bytes.clone();
                let at = chance.usize(..bytes.len());
                eprintln!("{} at {at}", path.display());
                target(&bytes[..at]);
                bytes[at] = chance.u8(..);
                target(&bytes);
            }
        }
    }
}
