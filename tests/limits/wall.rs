//! `wall_time_ms` and `grace_ms`: nothing is left of a job when its end is reported. More of them is in `tests/lifecycle.rs`.

use crate::common::{ended_for, probe_job};
use crate::support::outside::{alive, marker};
use crate::support::{Fresh, run, shell, skip};
use serde_json::{Value, json};
use std::process::Command;

const MS: u64 = 1_000_000;

fn wall_ns(report: &Value) -> u64 {
    report["usage"]["wall_ns"].as_u64().unwrap()
}

/// Processes in sessions of their own, which ignore every signal, some of them stopped.
#[test]
fn wall_time_leaves_nothing_of_a_tree_of_sessions() {
    for init in [true, false] {
        let word = marker("tree");
        let script = format!(
            "for i in 1 2 3; do setsid sh -c 'trap \"\" TERM HUP INT; setsid sh -c \"kill -STOP \\$\\$\" {word}; sleep 600' {word} & done; trap '' TERM; sleep 600; sleep 600"
        );
        let seen = shell(
            &script,
            json!({"init": init, "limits": {"wall_time_ms": 400, "grace_ms": 100}}),
        );
        // The report is there, so nothing else is.
        assert_eq!(alive(&word), Vec::<i32>::new(), "{seen}");
        ended_for(&seen, "wall-time");
    }
}

#[test]
fn wall_time_grace_of_a_target_that_does_not_end_is_as_long_as_asked() {
    let probe = ["ignore-term"];
    let ignoring = probe_job(&probe, &json!({}));
    let stopped = json!({"argv": ["/bin/sh", "-c", "kill -STOP $$"], "cwd": "/"});
    for mut job in [ignoring, stopped] {
        for init in [true, false] {
            if !init && job["argv"][0] == "/bin/sh" {
                // The first process of a namespace cannot stop itself.
                job["argv"][2] = json!("sh -c 'kill -STOP $$'");
            }
            job["init"] = json!(init);
            job["limits"] = json!({"wall_time_ms": 1000, "grace_ms": 300});
            let seen = run(&job);
            ended_for(&seen, "wall-time");
            assert_eq!(seen.report["signal"], 9, "{seen}");
            let ran = wall_ns(&seen.report);
            assert!((1300 * MS..4000 * MS).contains(&ran), "{seen}");
        }
    }
}

#[test]
fn wall_time_of_a_target_that_ends_in_its_grace_time_is_its_own() {
    let seen = shell(
        "trap 'sleep 0.1; exit 7' TERM; sleep 600 & wait",
        json!({"limits": {"wall_time_ms": 1000, "grace_ms": 20_000}}),
    );
    ended_for(&seen, "wall-time");
    assert_eq!(seen.report["exit_code"], 7, "{seen}");
    assert!(wall_ns(&seen.report) >= 1100 * MS, "{seen}");
}

/// The clock starts just before execve, and not while the container is built, however long that takes.
#[test]
fn wall_time_does_not_count_what_comes_before_the_target() {
    let strace = Command::new("strace").arg("-V").output();
    if !strace.is_ok_and(|output| output.status.success()) {
        return skip("strace", "strace(1) is not installed");
    }
    let scene = Fresh::new();
    let job = json!({"argv": ["/bin/sleep", "0.1"], "cwd": "/", "limits": {"wall_time_ms": 1500}});
    let job = scene.file("job", &job.to_string());
    let output = Command::new("strace")
        .args(["-qq", "-f", "-o", "/dev/null", "-e", "trace=sethostname"])
        .args(["-e", "inject=sethostname:delay_enter=2000000"])
        .arg(crate::support::stdbox())
        .arg("--spec")
        .arg(job)
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["outcome"], "exited", "{report}");
    assert!(
        report["timing"]["setup_ns"].as_u64() >= Some(2000 * MS),
        "{report}"
    );
}

/// Who ends later than the limit, and is seen to before the timer, is beyond the limit all the same.
#[test]
fn wall_time_of_a_job_that_ends_by_itself_is_judged_by_its_end() {
    for _ in 0..30 {
        let seen = shell("exec sleep 0.1", json!({"limits": {"wall_time_ms": 101}}));
        let over = wall_ns(&seen.report) > 101 * MS;
        assert_eq!(seen.report["limit"] == "wall-time", over, "{seen}");
    }
}
