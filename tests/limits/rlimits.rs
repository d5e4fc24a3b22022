//! Resource limits (getrlimit(2)): each as the target sees it, and by what it does.

use crate::common::{probe_job, with};
use crate::support::{run, shell};
use serde_json::{Value, json};

/// The values that the probe sees in a job with this limit.
fn inside(name: &str, value: u64, seen_as: &str) {
    let job = with(
        probe_job(&["status"], &json!({})),
        &json!({"limits": {name: value}}),
    );
    let seen = run(&job);
    let status: Value = serde_json::from_str(seen.exited(0).stdout()).unwrap();
    assert_eq!(status["limits"][seen_as], json!([value, value]), "{status}");
}

#[test]
fn rlimit_open_files_holds() {
    inside("open_files", 7, "nofile");
    let script = "exec 3</dev/null 4</dev/null 5</dev/null; cat /dev/null && echo six; exec 6</dev/null; head -c1 /dev/zero || echo full";
    let seen = shell(script, json!({"limits": {"open_files": 7}}));
    assert_eq!(seen.stdout(), "six\nfull\n", "{seen}");
}

#[test]
fn rlimit_file_size_holds() {
    inside("file_size_bytes", 12_345, "fsize");
    let script = "head -c 100000 /dev/zero > /tmp/x; echo $(($? > 128)); wc -c < /tmp/x";
    let seen = shell(script, json!({"limits": {"file_size_bytes": 12_345}}));
    assert_eq!(seen.stdout(), "1\n12345\n", "{seen}");
}

#[test]
fn rlimit_stack_holds() {
    inside("stack_bytes", 1 << 20, "stack");
    let deep = |count: &str| {
        let job = with(
            probe_job(&["burn", "deep", count], &json!({})),
            &json!({"limits": {"stack_bytes": 1 << 20}}),
        );
        run(&job)
    };
    deep("100").exited(0);
    assert_eq!(deep("400").report["signal"], 11);
}

#[test]
fn rlimit_address_space_holds() {
    inside("address_space_bytes", 1 << 30, "as");
    let allocate = |bytes: u64| {
        let limits = json!({"limits": {"address_space_bytes": 300 << 20}});
        let words = ["allocate".to_owned(), bytes.to_string()];
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        run(&with(probe_job(&words, &json!({})), &limits)).report
    };
    assert_eq!(allocate(10 << 20)["outcome"], "exited");
    let refused = allocate(400 << 20);
    let shown = refused["stdout"]["text"].as_str().unwrap_or("").to_owned();
    assert!(
        refused["outcome"] != "exited" || refused["exit_code"] != 0 || shown.contains("ENOMEM"),
        "{refused}"
    );
}

/// WCOREDUMP of the status says whether there was one; whether a core file is written at all is the machine's to say.
#[test]
fn rlimit_core_holds() {
    inside("core_bytes", 4096, "core");
    let dumped = |fields: Value| {
        let seen = shell("cd /tmp; kill -SEGV $$", fields);
        assert_eq!(seen.report["signal"], 11, "{seen}");
        seen.report["wait_status"].as_u64().unwrap() & 0x80 != 0
    };
    assert!(!dumped(json!({})));
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    if !pattern.starts_with(['|', '/', '@']) {
        assert!(dumped(json!({"limits": {"core_bytes": 1 << 30}})));
    }
}
