//! Inside bubblewrap.

use crate::common::{JOBS, job, refused, run_in, saw_root, seen};
use crate::proc::UNCOVERED;
use crate::support::{Run, probe, root, skip, stdbox};
use serde_json::{Value, json};
use std::process::Command;

/// Whether it works here for this user.
fn works() -> bool {
    let mut command = Command::new("bwrap");
    command.args(["--unshare-all", "--ro-bind", "/", "/", "true"]);
    let works = command.output().is_ok_and(|output| output.status.success());
    if !works {
        let reason = "bubblewrap (Debian package bubblewrap) is missing or does not work";
        skip("bwrap", reason);
    }
    works
}

/// A root of stdbox and its target alone, and these options.
fn bwrap(options: &[&str]) -> Command {
    let mut command = Command::new("bwrap");
    command.args(options).arg("--ro-bind").arg(stdbox());
    command.args(["/bin/stdbox", "--ro-bind"]).arg(probe());
    command.args(["/bin/probe", "/bin/stdbox"]);
    command
}

/// Each job, in each of these environments.
fn each(environments: &[&[&str]], check: impl Fn(&str, &str, &Run)) {
    for options in environments {
        for kind in JOBS {
            let run = run_in(bwrap(options), &job(kind, &["/", "/tmp", "/dev/shm"]));
            check(&format!("{options:?}, {kind}"), kind, &run);
        }
    }
}

/// What the options put into the root, and what the job adds where it may.
fn names(options: &str, kind: &str) -> Vec<&'static str> {
    let own = ["overlay", "hidden"].contains(&kind);
    let has = |name: &str| options.contains(&format!("\"/{name}\""));
    let there = |name: &&str| match *name {
        "etc" | "home" => own,
        name => name == "bin" || has(name) || (own && name != "tmp"),
    };
    let all = ["bin", "dev", "etc", "home", "proc", "tmp"].into_iter();
    all.filter(there).collect()
}

fn ran(what: &str, kind: &str, run: &Run) {
    let seen = saw_root(run, what, &names(what, kind), kind != "read-only");
    let devices = what.contains("/dev\"");
    let degraded: &[&str] = if devices { &[] } else { &["dev-missing"] };
    assert_eq!(run.degraded(), degraded, "{what}: {run}");
    assert_eq!(seen["null"], devices, "{what}: {run}");
    for (place, written) in [
        ("/tmp", what.contains("tmpfs")),
        ("/dev/shm", devices || ["overlay", "hidden"].contains(&kind)),
    ] {
        assert_eq!(seen["in"][place]["written"], written, "{what}: {run}");
    }
}

#[test]
fn bubblewrap_with_a_proc_of_its_own_runs_every_job_of_an_ordinary_user() {
    if !works() {
        return;
    }
    let environments: [&[&str]; 5] = [
        &["--proc", "/proc"],
        &["--unshare-all", "--proc", "/proc"],
        &["--unshare-all", "--proc", "/proc", "--dev", "/dev"],
        &[
            "--unshare-all",
            "--proc",
            "/proc",
            "--dev",
            "/dev",
            "--tmpfs",
            "/tmp",
        ],
        &[
            "--unshare-all",
            "--as-pid-1",
            "--uid",
            "1000",
            "--proc",
            "/proc",
            "--dev",
            "/dev",
        ],
    ];
    each(&environments, |what, kind, run| {
        if root() {
            // For root, bwrap covers what root could write.
            refused(run, what, "proc-masked", &UNCOVERED);
        } else {
            ran(what, kind, run);
        }
    });
}

/// Root's way, which shows its processes to the one who is inside bubblewrap, but not to the job.
#[test]
fn bubblewrap_with_the_hosts_proc_runs_every_job() {
    if !works() {
        return;
    }
    let environments: [&[&str]; 3] = [
        &["--bind", "/proc", "/proc"],
        &["--unshare-all", "--bind", "/proc", "/proc"],
        &[
            "--unshare-all",
            "--bind",
            "/proc",
            "/proc",
            "--dev",
            "/dev",
            "--tmpfs",
            "/tmp",
        ],
    ];
    each(&environments, ran);
}

#[test]
fn bubblewrap_with_a_covered_proc_runs_every_job_without_one() {
    if !works() {
        return;
    }
    for kind in JOBS {
        let mut job = job(kind, &["/proc"]);
        job["proc"] = json!("none");
        let command = bwrap(&["--unshare-all", "--proc", "/proc", "--dev", "/dev"]);
        let run = run_in(command, &job);
        let empty = json!({"names": [], "written": false});
        assert_eq!(seen(&run, kind)["in"]["/proc"], empty, "{kind}: {run}");
        assert!(run.degraded().is_empty(), "{kind}: {run}");
    }
}

#[test]
fn bubblewrap_without_a_proc_is_refused() {
    if !works() {
        return;
    }
    let environments: [&[&str]; 2] = [&["--unshare-all"], &["--unshare-all", "--dev", "/dev"]];
    each(&environments, |what, _, run| {
        refused(run, what, "proc-missing", &["Mount procfs on /proc"]);
    });
}

/// The host's tree read-only takes its /proc and /dev along, of which neither can be used.
#[test]
fn bubblewrap_around_the_hosts_tree_needs_a_proc_and_a_dev_of_its_own() {
    if !works() {
        return;
    }
    let around = |options: &[&str], kind: &str| {
        let mut command = Command::new("bwrap");
        command.args(["--unshare-all", "--ro-bind", "/", "/"]);
        command.args(options).arg(stdbox());
        let mut job = json!({"argv": [probe(), "around", "/"], "cwd": "/"});
        job["directories"] = json!({"/": kind});
        run_in(command, &job)
    };
    // Without the host's tree there would be no stdbox.
    for kind in ["read-only", "overlay", "full-access"] {
        let run = around(&[], kind);
        refused(&run, kind, "proc-masked", &["writable", "--proc /proc"]);
        let proc: &[&str] = if root() {
            &["--bind", "/proc", "/proc"]
        } else {
            &["--proc", "/proc"]
        };
        // Its mount lets no device file be opened.
        let run = around(proc, kind);
        assert_eq!(run.degraded(), ["dev-missing"], "{kind}: {run}");
        assert_eq!(seen(&run, kind)["null"], false, "{kind}: {run}");
        let run = around(&[proc, &["--dev", "/dev"]].concat(), kind);
        assert!(run.degraded().is_empty(), "{kind}: {run}");
        let seen = seen(&run, kind);
        assert_eq!(seen["null"], true, "{kind}: {run}");
        let written = &seen["in"]["/"]["written"];
        // In an overlay, what belongs to another user cannot be changed: EOVERFLOW.
        assert!(*written == Value::Bool(false) || kind == "overlay", "{run}");
    }
}

#[test]
fn bubblewrap_that_allows_no_user_namespaces_is_named() {
    if !works() {
        return;
    }
    let options: [&[&str]; 1] = [&["--unshare-user", "--disable-userns", "--proc", "/proc"]];
    let help = Command::new("bwrap").arg("--help").output().unwrap();
    if !String::from_utf8_lossy(&help.stdout).contains("--disable-userns") {
        return skip("bwrap", "this bubblewrap has no --disable-userns (0.8)");
    }
    each(&options, |what, _, run| {
        refused(run, what, "namespace-limit", &["--disable-userns"]);
    });
}

/// Without CAP_SETFCAP, which bwrap takes away, uid 0 can map nothing.
#[test]
fn bubblewrap_with_uid_0_is_refused_without_a_capability() {
    if !works() {
        return;
    }
    let proc = ["--bind", "/proc", "/proc", "--dev", "/dev"];
    let zero = ["--unshare-all", "--uid", "0", "--gid", "0"];
    let more = ["--cap-add", "CAP_SETFCAP"];
    let environments: [&[&str]; 2] = [
        &[&zero[..], &proc].concat(),
        &[&zero[..], &proc, &more].concat(),
    ];
    each(&environments[..1], |what, _, run| {
        // To the real root bwrap leaves its capabilities.
        if !root() {
            refused(run, what, "identity-refused", &["bubblewrap --uid"]);
        }
    });
    each(&environments[1..], ran);
}
