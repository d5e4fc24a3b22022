//! What is fuzzed, with what fuzzing begins with and with what it once found: `tests/fuzz/`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "a test may stop at the first surprise, says what it was at, and shares files with others that use more of them"
)]

#[path = "fuzz/bodies/all.rs"]
mod bodies;
#[path = "filter/evaluator.rs"]
mod evaluator;
#[path = "cases/host.rs"]
mod host;
#[path = "filter/interpreter.rs"]
mod interpreter;
#[path = "fuzz/seeds/made.rs"]
mod made;
#[path = "cases/view.rs"]
mod view;

use bodies::BODIES;
use made::{Seeds, files, name, read};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn corpus(target: &str) -> PathBuf {
    root().join("tests/fuzz/corpus").join(target)
}

/// Everything that a target is tried with, and what it is called.
fn inputs(seeds: &Seeds) -> Vec<(String, Vec<u8>)> {
    let kept = files(&corpus(seeds.target), "");
    let kept = kept.iter().map(|file| (name(file), read(file)));
    seeds.inputs.iter().cloned().chain(kept).collect()
}

#[test]
fn fuzz_targets_hold_for_every_seed_and_every_kept_input() {
    for (seeds, (target, run)) in made::all(root()).iter().zip(BODIES) {
        assert_eq!(seeds.target, target, "in the same order");
        for (name, bytes) in inputs(seeds) {
            println!("{target}: {name}");
            run(&bytes);
        }
    }
}

/// The same as libFuzzer would do first: bytes lost, doubled and changed.
#[test]
fn fuzz_targets_hold_for_seeds_with_a_fault() {
    for (seeds, (target, run)) in made::all(root()).iter().zip(BODIES) {
        for (name, bytes) in inputs(seeds) {
            // Each at another place, so that all together are many.
            let mut at = name.len() * 31;
            for (turn, fault) in FAULTS.iter().enumerate() {
                at = (at * 7 + turn + 1) % (bytes.len() + 1);
                println!("{target}: {name}, fault {turn} at {at}");
                run(&fault(&bytes, at));
            }
        }
    }
}

type Fault = fn(&[u8], usize) -> Vec<u8>;

const FAULTS: [Fault; 5] = [
    |bytes, at| bytes[..at].to_vec(),
    |bytes, at| bytes[at..].to_vec(),
    |bytes, at| [&bytes[..at], &[0xff], &bytes[at..]].concat(),
    |bytes, at| [&bytes[..at], bytes].concat(),
    |bytes, at| {
        let mut bytes = bytes.to_vec();
        bytes
            .iter_mut()
            .skip(at)
            .take(1)
            .for_each(|byte| *byte ^= 2);
        bytes
    },
];

#[test]
fn fuzz_target_has_its_program_its_seeds_and_its_folder() {
    let programs: Vec<_> = files(&root().join("tests/fuzz/targets"), "rs");
    let programs: Vec<_> = programs.iter().map(|file| name(file)).collect();
    assert_eq!(programs, BODIES.map(|(target, _)| target));
    for seeds in made::all(root()) {
        let target = seeds.target;
        assert!(!seeds.inputs.is_empty(), "{target}");
        let names: BTreeSet<_> = seeds.inputs.iter().map(|(name, _)| name).collect();
        assert_eq!(
            names.len(),
            seeds.inputs.len(),
            "{target}: one would replace the other"
        );
        assert!(!files(&corpus(target), "").is_empty(), "{target}");
    }
}
