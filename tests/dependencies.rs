//! README's lists of dependencies, and the oldest compiler that it names, are cargo's own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(name)).unwrap()
}

/// The names of what `cargo tree` shows for either architecture, without the project's own package.
fn tree(options: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for machine in ["x86_64", "aarch64"] {
        let output = Command::new(env!("CARGO"))
            .args(["tree", "--locked", "--offline", "--prefix", "none"])
            .args(["--format", "{p}"])
            .args(["--target", &format!("{machine}-unknown-linux-musl")])
            .args(options)
            .current_dir(ROOT)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cargo tree: {said}");
        let text = String::from_utf8(output.stdout).unwrap();
        let names = text.lines().filter_map(|line| line.split(' ').next());
        found.extend(
            names
                .filter(|name| !name.starts_with("stdbox"))
                .map(str::to_owned),
        );
    }
    found
}

/// The part of README below a line that begins so, up to the next paragraph that is no table.
fn below(start: &str) -> String {
    let readme = read("README.md");
    let (_, rest) = readme
        .split_once(&format!("\n{start}"))
        .unwrap_or_else(|| panic!("README has no line that begins with {start:?}"));
    let paragraphs: Vec<_> = rest.split("\n\n").collect();
    let tables = paragraphs[1..]
        .iter()
        .take_while(|part| part.starts_with('|'));
    tables.fold(paragraphs[0].to_owned(), |all, table| all + "\n\n" + table)
}

/// The names in the first column of a table, each with a reason in the second.
fn listed(start: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for row in below(start)
        .lines()
        .filter(|line| line.starts_with('|'))
        .skip(2)
    {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        assert!(cells.len() == 4 && cells[2].len() > 10, "no reason: {row}");
        for name in cells[1].split(", ") {
            assert!(found.insert(name.to_owned()), "{name} is listed twice");
        }
    }
    found
}

#[test]
fn every_linked_crate_has_its_reason_in_readme() {
    let linked = tree(&["--edges", "normal,no-proc-macro"]);
    assert!(linked.contains("serde_json"), "{linked:?}");
    assert_eq!(listed("What is linked into the program"), linked);
}

#[test]
fn every_crate_that_runs_in_a_build_has_its_reason_in_readme() {
    let linked = tree(&["--edges", "normal,no-proc-macro"]);
    let mut others = tree(&["--edges", "normal,build"]);
    others.retain(|name| !linked.contains(name));
    assert!(others.contains("syn"), "{others:?}");
    assert_eq!(listed("What runs while it is compiled"), others);
}

#[test]
fn crates_of_the_tests_have_their_reason_in_readme() {
    let text = below("Only for tests");
    let known = tree(&["--edges", "normal,build"]);
    let mut direct = 0;
    for (manifest, section) in [
        ("Cargo.toml", "[dev-dependencies]"),
        ("tests/bench/Cargo.toml", "[dependencies]"),
        ("tests/fuzz/Cargo.toml", "[dependencies]"),
    ] {
        let manifest_text = read(manifest);
        let (_, rest) = manifest_text.split_once(section).unwrap();
        let lines = rest.lines().take_while(|line| !line.starts_with('['));
        for name in lines.filter_map(|line| Some(line.split_once(" = ")?.0)) {
            direct += 1;
            let told = known.contains(name) || name == "stdbox" || text.contains(name);
            assert!(told, "{manifest}: {name}");
        }
    }
    assert!(direct > 10, "the manifests are written in another way");
}

#[test]
fn readme_names_the_oldest_compiler() {
    let manifest = read("Cargo.toml");
    let line = manifest
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = \""));
    let version = line.unwrap().trim_end_matches('"');
    let said = format!("\nRust {version} or newer builds it");
    assert!(read("README.md").contains(&said), "{said}");
}
