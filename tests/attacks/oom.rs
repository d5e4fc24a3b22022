//! The out-of-memory killer: what a job inherits of its caller's protection from it.

use crate::support::{run_with, shell, skip};
use serde_json::json;
use std::fs;
use std::os::unix::process::CommandExt;

const OWN: &str = "/proc/self/oom_score_adj";

/// Whether this user may have itself protected. A test's own process stays as it is.
fn may_protect() -> bool {
    let mut command = std::process::Command::new("true");
    // SAFETY: the closure writes a file.
    let command = unsafe { command.pre_exec(|| fs::write(OWN, "-1000")) };
    let may = command.status().is_ok_and(|status| status.success());
    if !may {
        skip("oom", "this user cannot lower oom_score_adj");
    }
    may
}

/// The job's view, and what it can make of it; then what stdbox's own is when the job is over.
#[test]
fn protection_of_the_caller_is_not_the_jobs() {
    if !may_protect() {
        return;
    }
    let script = "cat /proc/self/oom_score_adj; for n in -1 -500 -1000; do echo $n > /proc/self/oom_score_adj; done; cat /proc/self/oom_score_adj";
    for fields in [
        json!({}),
        json!({"init": false}),
        json!({"user": {"map": "range"}, "capabilities": ["CAP_SYS_RESOURCE"]}),
        json!({"capabilities": ["CAP_SYS_RESOURCE"]}),
    ] {
        let mut job = json!({"argv": ["/bin/sh", "-c", script], "cwd": "/", "strict": true, "directories": {"/": "read-only"}});
        for (key, value) in fields.as_object().unwrap() {
            job[key] = value.clone();
        }
        for (protection, options) in [("-1", &[] as &[&str]), ("-1000", &[]), ("-1", &["batch"])] {
            let seen = run_with(job.to_string().as_bytes(), options, |command| {
                // SAFETY: the closure writes a file.
                unsafe { command.pre_exec(move || fs::write(OWN, protection)) };
            });
            assert_eq!(seen.exited(0).stdout(), "0\n0\n", "{seen}");
        }
    }
}

/// Who started a batch may protect its processes when they are there already: choom(1).
#[test]
fn protection_of_a_batch_that_runs_is_not_the_jobs() {
    if !may_protect() {
        return;
    }
    let mut child = std::process::Command::new(crate::support::stdbox())
        .args(["batch", "--workers", "1"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let batch = i32::try_from(child.id()).unwrap();
    crate::support::outside::eventually("its processes are there", || {
        crate::support::outside::children(batch).len() == 2
    });
    for pid in crate::support::outside::children(batch) {
        fs::write(format!("/proc/{pid}/oom_score_adj"), "-500").unwrap();
    }
    let job = json!({"argv": ["cat", OWN], "cwd": "/", "strict": true, "directories": {"/": "read-only"}});
    let mut jobs = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut jobs, format!("{job}\n{job}\n").as_bytes()).unwrap();
    drop(jobs);
    let output = child.wait_with_output().unwrap();
    let reports = String::from_utf8(output.stdout).unwrap();
    assert_eq!(reports.lines().count(), 2, "{reports}");
    for report in reports.lines() {
        let report: serde_json::Value = serde_json::from_str(report).unwrap();
        assert_eq!(report["stdout"]["text"], "0\n", "{report}");
    }
}

/// The caller's is as before while the job runs, and so when it is over.
#[test]
fn protection_of_stdbox_itself_stays() {
    if !may_protect() {
        return;
    }
    let word = crate::support::outside::marker("protected");
    let job = json!({"argv": ["/bin/sh", "-c", format!("sleep 1000; : {word}")], "cwd": "/"});
    let mut command = std::process::Command::new(crate::support::stdbox());
    command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null());
    // SAFETY: the closure writes a file.
    unsafe { command.pre_exec(|| fs::write(OWN, "-900")) };
    let mut child = command.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), job.to_string().as_bytes())
        .unwrap();
    crate::support::outside::eventually("it runs", || {
        !crate::support::outside::alive(&word).is_empty()
    });
    let own = fs::read_to_string(format!("/proc/{}/oom_score_adj", child.id())).unwrap();
    assert_eq!(own.trim(), "-900");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(crate::support::outside::outlive(&word), [] as [i32; 0]);
}

/// One that is more willing to be killed than others stays so, and its jobs with it.
#[test]
fn willingness_of_the_caller_is_the_jobs_too() {
    let job = json!({"argv": ["cat", "/proc/self/oom_score_adj"], "cwd": "/"});
    let seen = run_with(job.to_string().as_bytes(), &[], |command| {
        // SAFETY: the closure writes a file.
        unsafe { command.pre_exec(|| fs::write(OWN, "321")) };
    });
    assert_eq!(seen.exited(0).stdout(), "321\n", "{seen}");
    let own = fs::read_to_string(OWN).unwrap();
    assert_eq!(
        shell("cat /proc/self/oom_score_adj", json!({})).stdout(),
        own
    );
}
