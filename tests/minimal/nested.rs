//! stdbox in stdbox in stdbox, in an image of two files.

use crate::common::{Bare, JOBS, job, refused, seen, users};
use crate::support::{Run, root};
use serde_json::{Value, json};

/// The same job so many levels deep, started by what its own modes show.
fn deep(kind: &str, levels: usize) -> Value {
    let mut whole = job(kind, &["/", "/data"]);
    // The real root's global settings are protected unless nesting is asked for.
    if root() {
        whole["proc"] = json!("nestable");
    }
    let fields = whole.clone();
    for _ in 1..levels {
        let inner = whole.to_string();
        whole = fields.clone();
        whole["argv"] = json!(["/bin/stdbox"]);
        whole["stdin"] = json!({"text": inner});
    }
    whole
}

fn inside(run: &Run) -> Run {
    let report = serde_json::from_str(run.exited(0).stdout()).unwrap_or(Value::Null);
    assert!(!report.is_null(), "the inner run gives a report: {run}");
    Run {
        report,
        status: None,
        complaint: run.stderr().to_owned(),
    }
}

#[test]
fn nested_five_levels_in_an_image_of_two_files_work() {
    for user in users() {
        let bare = Bare::new(user, &["proc", "nodes"]);
        for kind in JOBS {
            let what = format!("{bare}, {kind}");
            let mut run = bare.run(&deep(kind, 5));
            for _ in 1..5 {
                run = inside(&run);
            }
            let seen = seen(&run, &what);
            assert_eq!(seen["uid"], 1000, "{what}: {run}");
            assert_eq!(seen["null"], true, "{what}: {run}");
            let written = kind != "read-only";
            assert_eq!(seen["in"]["/"]["written"], written, "{what}: {run}");
        }
    }
}

/// Beyond the second overlay, what is small is copied.
#[test]
fn nested_overlays_beyond_the_second_are_copies() {
    for user in users() {
        let bare = Bare::new(user, &["proc", "nodes", "dir=/data", "text=/data/file:x"]);
        let mut run = bare.run(&deep("overlay", 4));
        let mut copied = Vec::new();
        for level in 1..=4 {
            if run.degraded().contains(&"overlay-copied") {
                copied.push(level);
            }
            if level < 4 {
                run = inside(&run);
            }
        }
        assert_eq!(copied.first(), Some(&3), "{bare}: {run}");
        let data = &seen(&run, "data")["in"]["/data"];
        let expected = json!({"names": ["file"], "written": true});
        assert_eq!(*data, expected, "{bare}: {run}");
    }
}

/// A mode inside a full-access directory is kept by taking user namespaces away: what runs there is told so.
#[test]
fn nested_in_a_job_without_user_namespaces_is_refused_with_what_to_change() {
    for user in users() {
        let bare = Bare::new(user, &["proc", "nodes", "dir=/data"]);
        let mut outer = deep("full-access", 2);
        outer["directories"]["/data"] = json!("read-only");
        let run = bare.run(&outer);
        assert_eq!(run.report["exit_code"], 1, "{bare}: {run}");
        let report = serde_json::from_str(run.stdout()).unwrap();
        let inner = Run {
            report,
            status: None,
            complaint: String::new(),
        };
        let remedies = ["inside a full-access one"];
        refused(&inner, &format!("{bare}"), "userns-forbidden", &remedies);
    }
}

/// The files that stand for missing devices do so at every level.
#[test]
fn nested_levels_without_device_files_work() {
    for user in users() {
        let bare = Bare::new(user, &["proc"]);
        for kind in JOBS {
            let what = format!("{bare}, {kind}");
            let run = bare.run(&deep(kind, 3));
            assert_eq!(run.degraded(), ["dev-missing"], "{what}: {run}");
            let seen = seen(&inside(&inside(&run)), &what);
            assert_eq!(seen["null"], false, "{what}: {run}");
        }
    }
}
