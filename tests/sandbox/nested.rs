//! stdbox inside stdbox.

use crate::common::job;
use crate::support::{Fresh, Run, root, run, stdbox};
use serde_json::{Value, json};

/// A job that runs another one inside.
fn around(inner: &Value, fields: &Value) -> Value {
    let mut job = json!({"argv": [stdbox()], "cwd": "/", "stdin": {"text": inner.to_string()}});
    // The real root's global settings are protected unless nesting is asked for.
    if root() {
        job["proc"] = json!("nestable");
    }
    for (key, value) in fields.as_object().unwrap() {
        job[key] = value.clone();
    }
    job
}

/// The run that another one printed.
fn inside(run: &Run) -> Run {
    let report = serde_json::from_str(run.stdout()).unwrap_or(Value::Null);
    assert!(!report.is_null(), "the inner run gives a report: {run}");
    Run {
        report,
        status: None,
        complaint: run.stderr().to_owned(),
    }
}

const LOOK: &str = "id -un; echo job > /etc/new && rm -r /usr/share/doc && mkdir /usr/share/doc && ls -A /usr/share/doc; echo job > /tmp/x; unshare -Ur true && echo nested; echo /proc/[0-9]*";
const SEEN: &str = "user\nnested\n/proc/1 /proc/2\n";

#[test]
fn nested_two_levels_of_the_default_job_work() {
    let outer = run(&around(&job(LOOK, &[], &json!({})), &json!({})));
    let inner = inside(outer.exited(0));
    assert_eq!(inner.exited(0).stdout(), SEEN, "{inner} in {outer}");
    assert!(inner.degraded().is_empty(), "{inner}");
}

#[test]
fn nested_third_level_of_the_default_job_is_the_overlay_depth_error() {
    let third = job(LOOK, &[], &json!({}));
    let outer = run(&around(&around(&third, &json!({})), &json!({})));
    let second = inside(outer.exited(0));
    assert_eq!(second.report["exit_code"], 1, "{second} in {outer}");
    let third = inside(&second);
    third.failed("overlay-depth", "mounts");
    assert!(
        third.report["error"]["hint"]
            .as_str()
            .unwrap()
            .contains("read-only"),
        "{third}"
    );
}

#[test]
fn nested_third_level_with_a_small_overlay_copies_it() {
    let directory = Fresh::new();
    directory.file("d/e/f", "host");
    directory.file("f", "host");
    std::os::unix::fs::symlink("f", directory.path().join("link")).unwrap();
    let script = "cd \"$1\"; cat link d/e/f; echo job > f && rm -r d && mkdir d && ls -A . d; ( echo x > /etc/new ) 2>/dev/null || echo refused; id -un";
    let third = job(
        script,
        &[directory.str().as_bytes()],
        &json!({"directories": {"/": "read-only", directory.str(): "overlay"}}),
    );
    let before = directory.snapshot();
    let outer = run(&around(&around(&third, &json!({})), &json!({})));
    let second = inside(outer.exited(0));
    let third = inside(second.exited(0));
    assert_eq!(
        third.exited(0).stdout(),
        "hosthost.:\nd\nf\nlink\n\nd:\nrefused\nuser\n",
        "{third}"
    );
    assert_eq!(third.degraded(), ["overlay-copied"], "{third}");
    assert_eq!(directory.snapshot(), before);
}

#[test]
fn nested_small_overlay_at_every_level_works_without_end() {
    let directory = Fresh::new();
    directory.file("f", "host");
    let fields = json!({"directories": {"/": "read-only", directory.str(): "overlay"}});
    let mut job = job(
        "cat \"$1/f\"; echo job > \"$1/f\"; cat \"$1/f\"",
        &[directory.str().as_bytes()],
        &fields,
    );
    for _ in 0..4 {
        job = around(&job, &fields);
    }
    let mut run = run(&job);
    for _ in 0..4 {
        run = inside(run.exited(0));
    }
    assert_eq!(run.exited(0).stdout(), "hostjob\n", "{run}");
}

#[test]
fn nested_read_only_levels_work_without_end() {
    let fields = json!({"directories": {"/": "read-only"}});
    let mut job = job("id -un; unshare -Ur true && echo nested", &[], &fields);
    for _ in 0..6 {
        job = around(&job, &fields);
    }
    let mut run = run(&job);
    for _ in 0..6 {
        run = inside(run.exited(0));
    }
    assert_eq!(run.exited(0).stdout(), "user\nnested\n", "{run}");
}

#[test]
fn nested_in_every_kind_of_outer_job_works() {
    for outer in [
        json!({"directories": {"/": "full-access"}}),
        json!({"dev": "host"}),
        json!({"system_config": false, "network": "host"}),
        json!({"init": false}),
        json!({"user": {"uid": 65534, "gid": 65534}}),
    ] {
        for inner in [
            json!({}),
            json!({"directories": {"/": "read-only"}}),
            json!({"dev": "host"}),
        ] {
            let run = run(&around(
                &job(
                    "id -un; echo x > /dev/null && echo x > /tmp/x && echo ok",
                    &[],
                    &inner,
                ),
                &outer,
            ));
            let inside = inside(run.exited(0));
            assert_eq!(
                inside.exited(0).stdout(),
                "user\nok\n",
                "{inner} in {outer}: {inside} in {run}"
            );
        }
    }
}

/// The kernel lets a process with uid 0 and without CAP_SETFCAP map nothing to itself (user_namespaces(7)).
#[test]
fn nested_in_a_job_with_uid_0_is_a_clear_error() {
    for inner in [json!({}), json!({"directories": {"/": "read-only"}})] {
        let run = run(&around(
            &job("true", &[], &inner),
            &json!({"user": {"uid": 0, "gid": 0}}),
        ));
        let inside = inside(&run);
        inside.failed("identity-refused", "identity");
        assert!(
            inside.report["error"]["hint"]
                .as_str()
                .unwrap()
                .contains("uid"),
            "{inside}"
        );
    }
}

/// By default the real root's /proc is protected, so a nested one is read-only too, or refused.
#[test]
fn nested_by_the_real_root_in_the_default_job_gets_no_writable_proc() {
    if !root() {
        return;
    }
    for root in ["overlay", "read-only"] {
        let fields = json!({"directories": {"/": root}});
        let inner = job(
            "id -un; find /proc/sys -type f -writable 2>/dev/null | head -n3; ( : >> /proc/sys/kernel/core_pattern ) 2>/dev/null && echo writable; true",
            &[],
            &fields,
        );
        let outer = run(&around(
            &inner,
            &json!({"proc": "fresh", "directories": {"/": root}}),
        ));
        let inner = inside(&outer);
        if inner.report["outcome"] == "exited" {
            assert_eq!(inner.exited(0).stdout(), "user\n", "{inner}");
            assert!(inner.degraded().contains(&"proc-read-only"), "{inner}");
        } else {
            inner.failed("proc-masked", "proc");
        }
    }
}

#[test]
fn nested_unshare_with_its_own_proc_works() {
    let script = "unshare -Urpf --mount-proc sh -c 'set -- /proc/[0-9]*; echo $#'";
    for directories in [
        json!({}),
        json!({"/": "read-only"}),
        json!({"/": "full-access"}),
    ] {
        let mut job = job(script, &[], &json!({"directories": directories}));
        if root() {
            job["proc"] = json!("nestable");
        }
        let run = run(&job);
        assert_eq!(run.exited(0).stdout(), "1\n", "{directories}: {run}");
    }
}

#[test]
fn nested_job_is_hidden_from_and_ended_with_its_outer_one() {
    let inner = job("sleep 100", &[], &json!({}));
    let mut outer = around(&inner, &json!({}));
    outer["limits"] = json!({"wall_time_ms": 300});
    let run = run(&outer);
    assert_eq!(run.report["outcome"], "limit-exceeded", "{run}");
}
