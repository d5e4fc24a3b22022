//! `output_bytes`: what is read of captured output ends the job.

use crate::common::{ended_for, probe_job};
use crate::support::{run, run_with, shell};
use serde_json::{Value, json};

/// What can be written until the end is there; it is a moment only, but the machine may be busy.
const SLACK: u64 = 64 << 20;

#[test]
fn output_above_the_limit_ends_the_job() {
    for fd in ["1", "2"] {
        for grace_ms in [0, 50] {
            for init in [true, false] {
                let limits =
                    json!({"output_bytes": 100_000, "wall_time_ms": 20_000, "grace_ms": grace_ms});
                let capture = json!({"capture": {"max_bytes": 10}});
                let seen = run(&probe_job(
                    &["flood", fd, "0"],
                    &json!({"limits": limits, "stdout": capture, "stderr": capture, "init": init}),
                ));
                ended_for(&seen, "output");
                assert!(seen.report["signal"].is_number(), "{seen}");
                let stream = &seen.report[if fd == "1" { "stdout" } else { "stderr" }];
                assert_eq!(stream["text"].as_str().map(str::len), Some(10), "{seen}");
                assert_eq!(stream["truncated"], true, "{seen}");
                let bytes = stream["bytes"].as_u64().unwrap();
                assert!(bytes > 100_000, "{seen}");
                // While it has its grace time, it may write what it likes.
                assert!(grace_ms > 0 || bytes < 100_000 + SLACK, "{seen}");
            }
        }
    }
}

#[test]
fn output_of_a_background_process_counts() {
    let limits = json!({"output_bytes": 1000, "wall_time_ms": 20_000});
    let seen = shell(
        "setsid sh -c 'while :; do echo x; done' & sleep 600",
        json!({"limits": limits}),
    );
    ended_for(&seen, "output");
}

#[test]
fn output_of_exactly_the_limit_is_right_and_one_byte_more_is_not() {
    for (script, limit) in [
        ("printf 12345", Value::Null),
        ("printf 123; printf 45 >&2", Value::Null),
        ("printf 123456", json!("output")),
        ("printf 1234; printf 56 >&2", json!("output")),
        ("printf 123456 & sleep 0.2", json!("output")),
    ] {
        let seen = shell(script, json!({"limits": {"output_bytes": 5}}));
        assert_eq!(seen.report["limit"], limit, "{script}: {seen}");
        let bytes = |stream: &str| seen.report[stream]["bytes"].as_u64().unwrap();
        assert!(bytes("stdout") + bytes("stderr") >= 5, "{script}: {seen}");
    }
}

#[test]
fn output_merged_into_one_stream_counts_once() {
    let fields = json!({"stderr": "stdout", "limits": {"output_bytes": 6}});
    let seen = shell("printf 123; printf 456 >&2", fields);
    seen.exited(0);
}

#[test]
fn output_of_none_is_a_limit_too() {
    let seen = shell("exit 3", json!({"limits": {"output_bytes": 0}}));
    seen.exited(3);
    let seen = shell("echo", json!({"limits": {"output_bytes": 0}}));
    ended_for(&seen, "output");
}

#[test]
fn output_that_is_thrown_away_does_not_count() {
    let fields = json!({"stderr": "null", "limits": {"output_bytes": 5}});
    let seen = shell("printf 12345; printf 123456789 >&2", fields);
    seen.exited(0);
}

/// With standard output to a descriptor, which stdbox does not read, the limit could not be kept.
#[test]
fn output_that_goes_past_stdbox_is_a_contradiction() {
    for stream in [
        json!({"stdout": {"file": "/tmp/x"}}),
        json!({"stderr": "inherit"}),
        json!({"stderr": {"fd": 2}}),
    ] {
        let mut job = json!({"argv": ["true"], "cwd": "/", "limits": {"output_bytes": 5}});
        for (key, value) in stream.as_object().unwrap() {
            job[key] = value.clone();
        }
        let seen = run_with(job.to_string().as_bytes(), &[], |_| {});
        seen.failed("contradiction", "validate");
        assert_eq!(seen.report["error"]["at"], "/limits/output_bytes", "{seen}");
        assert!(seen.report["error"]["hint"].is_string(), "{seen}");
    }
}
