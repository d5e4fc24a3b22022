//! A /proc of which parts are covered or read-only, as engines leave it, and none at all.

use crate::common::{Bare, JOBS, job, refused, seen, users};
use serde_json::json;

/// What uncovers it, in each of the containers that cover it, and how a job does without.
pub const UNCOVERED: [&str; 5] = [
    "systempaths=unconfined",
    "procMount: Unmasked",
    "--bind /proc /proc by root",
    "nestable",
    "\"proc\":\"none\"",
];

#[test]
fn proc_covered_in_any_way_is_refused_with_what_uncovers_it() {
    for user in users() {
        for items in [
            // Docker's and Podman's lists.
            &["sys", "engines"][..],
            &["cover=/proc/cpuinfo"],
            &["cover=/proc/sys"],
            &["keep=/proc/sys"],
        ] {
            let items = [&["pid", "proc=new", "nodes"], items].concat();
            let bare = Bare::new(user, &items);
            for kind in JOBS {
                let run = bare.run(&job(kind, &["/"]));
                let what = format!("{bare}, {kind}");
                refused(&run, &what, "proc-masked", &UNCOVERED);
                assert_eq!(run.report["error"]["path"], "/proc", "{what}: {run}");
            }
        }
    }
}

/// As with `bwrap --ro-bind / /`.
#[test]
fn proc_read_only_as_a_whole_is_refused_with_what_changes_it() {
    for user in users() {
        let bare = Bare::new(user, &["proc", "nodes", "keep=/proc"]);
        for kind in JOBS {
            let run = bare.run(&job(kind, &["/"]));
            // One without a /proc of its own would still need this one, for its ids.
            refused(
                &run,
                &format!("{bare}, {kind}"),
                "proc-masked",
                &["writable", "systempaths=unconfined", "--proc /proc"],
            );
        }
    }
}

#[test]
fn proc_covered_does_not_matter_to_a_job_without_one() {
    for user in users() {
        let bare = Bare::new(user, &["pid", "proc=new", "nodes", "sys", "engines"]);
        for kind in JOBS {
            let mut job = job(kind, &["/proc"]);
            job["proc"] = json!("none");
            let run = bare.run(&job);
            let what = format!("{bare}, {kind}");
            let empty = json!({"names": [], "written": false});
            assert_eq!(seen(&run, &what)["in"]["/proc"], empty, "{what}: {run}");
            assert!(run.degraded().is_empty(), "{what}: {run}");
        }
    }
}

#[test]
fn proc_missing_is_refused_with_where_to_mount_it() {
    for user in users() {
        for items in [
            &["nodes"][..],
            &["nodes", "dir=/proc"],
            &["nodes", "text=/proc:x"],
        ] {
            let bare = Bare::new(user, items);
            for kind in JOBS {
                let run = bare.run(&job(kind, &["/"]));
                let what = format!("{bare}, {kind}");
                refused(&run, &what, "proc-missing", &["Mount procfs on /proc"]);
            }
        }
    }
}
