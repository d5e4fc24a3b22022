//! Every job in `schema/examples/` runs, and ends with exit code 0.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::let_underscore_must_use,
    missing_docs,
    unreachable_pub,
    reason = "a test may stop at the first surprise"
)]

mod support;

use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use support::places::Places;
use support::{run_with, skip, source};

/// Tools that a file's job cannot do without.
const NEEDED: &[(&str, &str)] = &[
    ("python.json", "python3"),
    ("compile.json", "cc"),
    ("nested.json", "unshare"),
    ("many-ids.json", "setpriv"),
    ("judge.json", "python3"),
    ("unpacked-image.json", "busybox"),
];

fn examples() -> Vec<PathBuf> {
    let list = fs::read_dir(source().join("schema/examples")).expect("the examples are there");
    let mut all: Vec<PathBuf> = list.flatten().map(|entry| entry.path()).collect();
    all.sort();
    all
}

fn has(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|place| place.join(tool).exists())
}

#[test]
fn examples_all_run_and_exit_with_0() {
    let all = examples();
    assert!(all.len() >= 10, "{all:?}");
    let places = Places::new();
    let mut failures = Vec::new();
    for path in &all {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.ends_with(".json"), "{name} is no example");
        if let Some((_, tool)) = NEEDED
            .iter()
            .find(|(file, tool)| *file == name && !has(tool))
        {
            skip(tool, &format!("{name} needs it"));
            continue;
        }
        let mut job = fs::read_to_string(path).unwrap();
        // Only README's tasks name places that a machine need not have.
        if job.contains("\"/srv/") {
            job = places.put(&job);
        }
        let seen = run_with(job.as_bytes(), &["--propagate"], |_| {});
        let code = seen.report["error"]["code"].as_str();
        if let Some("no-id-range" | "id-map-helper") = code {
            skip("subids", &format!("{name} needs subordinate ids: {seen}"));
            continue;
        }
        if let Some("cgroup-v1" | "cgroup-unavailable") = code {
            skip("cgroup", &format!("{name} needs a control group: {seen}"));
            continue;
        }
        if seen.status != Some(0)
            || seen.report["outcome"] != "exited"
            || !seen.complaint.is_empty()
        {
            failures.push(format!("{name}: {seen}"));
        }
    }
    // Another user's run could not write there.
    let delivered = fs::remove_dir_all("/tmp/stdbox-example-results");
    assert!(delivered.is_ok(), "{delivered:?}");
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn examples_are_valid_jobs() {
    for path in examples() {
        let seen = run_with(&fs::read(&path).unwrap(), &["check"], |_| {});
        assert_eq!(
            (&seen.report["outcome"], seen.status),
            (&Value::from("valid"), Some(0)),
            "{}: {seen}",
            path.display()
        );
    }
}

#[test]
fn examples_are_named_by_what_they_show() {
    for path in examples() {
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(
            name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'),
            "{name}"
        );
    }
}

/// The example that a reader sees first says what it should.
#[test]
fn examples_compile_really_compiles() {
    let path = source().join("schema/examples/compile.json");
    let seen = run_with(&fs::read(path).unwrap(), &[], |_| {});
    let expected = if has("cc") {
        "compiled and run: 1 to 100 add up to 5050\n"
    } else {
        "no compiler here"
    };
    assert!(seen.exited(0).stdout().starts_with(expected), "{seen}");
}
