//! One long and busy job: neither stdbox nor the container's init grows.

use crate::Size;
use crate::counted::{nobody_is_left, word};
use crate::support::outside::{children, eventually, kill, pid_of, start_with};
use crate::support::{Fresh, stdbox};
use nix::libc;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Signals that do nothing by themselves, neither to stdbox nor to the target, to which init passes them on.
const SIGNALS: [i32; 4] = [libc::SIGWINCH, libc::SIGURG, libc::SIGCONT, libc::SIGCHLD];

/// A page or two may be touched for the first time.
const MOST_BYTES: u64 = 128 << 10;

#[derive(Debug, Clone, Copy)]
pub struct Held {
    bytes: u64,
    descriptors: usize,
}

/// What a process has. Descriptors of init are nobody's to see, unless root's.
pub fn held(pid: i32) -> Held {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("it has memory");
    let kilobytes: u64 = line
        .split_whitespace()
        .nth(1)
        .expect("a number")
        .parse()
        .expect("a number");
    Held {
        bytes: kilobytes * 1024,
        descriptors: fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count),
    }
}

/// Whether it has become more.
pub fn grew(before: Held, after: Held) -> bool {
    after.bytes > before.bytes + MOST_BYTES || after.descriptors > before.descriptors
}

fn await_file(scene: &Path, name: &str) {
    eventually(name, || scene.join(name).exists());
}

pub fn does_not_grow(scene: &Fresh, size: Size) {
    let place = scene.path().join("busy");
    fs::create_dir(&place).expect("a directory can be made");
    let (bytes, processes, signals) = if size.full {
        (200_000_000, 5000, 1000)
    } else {
        (20_000_000, 250, 100)
    };
    let await_go = |name: &str| {
        format!(
            "while [ ! -e {}/{name} ]; do sleep 0.01; done",
            place.display()
        )
    };
    // Of each two processes one is an orphan, which init reaps.
    let work = |bytes: u64, processes: u64| {
        format!(
            "head -c {bytes} /dev/zero; head -c {bytes} /dev/zero >&2; i=0; while [ $i -lt {processes} ]; do (: &); i=$((i+1)); done"
        )
    };
    let script = format!(
        "{}; : > {place}/warm; {}; {}; : > {place}/done; {}; exit 3",
        work(2_000_000, 50),
        await_go("go"),
        work(bytes / 2, processes),
        await_go("end"),
        place = place.display()
    );
    let capture = json!({"capture": {"max_bytes": 100_000}});
    let job: Value = json!({"argv": ["/bin/sh", "-c", script], "cwd": "/", "stdout": capture, "stderr": capture,
        "directories": {"/": "read-only", place.to_str().expect("ASCII"): "full-access"}});
    let child = start_with(&job, |command| {
        command
            .env("STDBOX_LEAKS", word())
            .stderr(std::process::Stdio::inherit());
    });
    let stdbox_pid = pid_of(&child);
    await_file(&place, "warm");
    let [init] = children(stdbox_pid)[..] else {
        panic!("{} has one child", stdbox().display())
    };
    let before = [held(stdbox_pid), held(init)];
    assert!(
        before[0].descriptors > 0,
        "the descriptors of stdbox can be seen"
    );
    fs::write(place.join("go"), "").expect("a file can be made");
    for n in 0..signals {
        kill(stdbox_pid, SIGNALS[n % SIGNALS.len()]);
        kill(init, SIGNALS[n % SIGNALS.len()]);
    }
    await_file(&place, "done");
    let after = [held(stdbox_pid), held(init)];
    fs::write(place.join("end"), "").expect("a file can be made");
    let output = child.wait_with_output().expect("stdbox ends");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(
        (&report["exit_code"], &report["stdout"]["bytes"]),
        (&json!(3), &json!(2_000_000 + bytes / 2)),
        "{}",
        report["error"]
    );
    for (name, (before, after)) in ["stdbox", "init"].iter().zip(before.into_iter().zip(after)) {
        assert!(!grew(before, after), "{name} grew: {before:?} -> {after:?}");
    }
    nobody_is_left("the busy job");
    fs::remove_dir_all(&place).expect("the directory can be removed");
}
