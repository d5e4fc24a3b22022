//! A `FROM scratch` image, and one with a little more: no shell, no library, no /tmp, no /etc, no /dev.

use crate::common::{Bare, JOBS, job, refused, saw_root, seen, users};
use serde_json::json;

/// What the root of the container holds beside what the image has, where stdbox may make it.
fn made(kind: &str, image: &[&'static str], own: &[&'static str]) -> Vec<&'static str> {
    let mut names: Vec<&str> = match kind {
        "hidden" => vec!["bin"],
        _ => image.to_vec(),
    };
    if ["overlay", "hidden"].contains(&kind) {
        names.extend(own);
    }
    names.sort_unstable();
    names.dedup();
    names
}

#[test]
fn image_of_two_files_and_proc_runs_every_job() {
    for user in users() {
        for items in [&["proc"][..], &["pid", "proc=new"]] {
            let bare = Bare::new(user, items);
            for kind in JOBS {
                let what = format!("{bare}, {kind}");
                let run = bare.run(&job(kind, &["/", "/etc", "/dev/shm", "/home/user"]));
                let names = made(kind, &["bin", "proc"], &["dev", "etc", "home", "proc"]);
                let seen = saw_root(&run, &what, &names, kind != "read-only");
                // There is no device file to be had; the rest of /dev is the container's own.
                assert_eq!(run.degraded(), ["dev-missing"], "{what}: {run}");
                assert_eq!(seen["null"], false, "{what}: {run}");
                let own = ["overlay", "hidden"].contains(&kind);
                let etc = [
                    "group",
                    "hostname",
                    "hosts",
                    "mtab",
                    "nsswitch.conf",
                    "passwd",
                ];
                let etc = own.then_some(&etc);
                assert_eq!(seen["in"]["/etc"]["names"], json!(etc), "{what}: {run}");
                for place in ["/dev/shm", "/home/user"] {
                    assert_eq!(seen["in"][place]["written"], own, "{what}: {place}: {run}");
                }
                // Not one that does not exist.
                let home = if own { "/home/user" } else { "/" };
                assert_eq!(seen["home"], home, "{what}: {run}");
                assert_eq!(seen["host"], "stdbox", "{what}: {run}");
            }
        }
    }
}

#[test]
fn image_without_device_files_is_no_obstacle_to_streams() {
    for user in users() {
        let bare = Bare::new(user, &["proc"]);
        let mut job = job("overlay", &[]);
        // From nowhere, as where the null device is.
        job["argv"] = json!(["/bin/probe", "read", "/proc/self/fd/0"]);
        let run = bare.run(&job);
        assert_eq!(seen(&run, "stdin")["text"], "", "{run}");
        for stream in ["stdout", "stderr"] {
            let mut job = job.clone();
            job[stream] = json!("null");
            let run = bare.run(&job);
            assert_eq!(run.report["error"]["at"], format!("/{stream}"), "{run}");
            let hint = run.report["error"]["hint"].as_str().unwrap();
            assert!(hint.contains("/dev") && hint.contains("capture"), "{run}");
            job[stream] = json!({"capture": {"max_bytes": 0}});
            bare.run(&job).exited(0);
        }
    }
}

#[test]
fn image_with_strict_says_what_is_missing() {
    for user in users() {
        let mut strict = job("overlay", &[]);
        strict["strict"] = json!(true);
        let run = Bare::new(user, &["proc"]).run(&strict);
        let error = &run.report["error"];
        assert_eq!(
            (&error["path"], &error["at"]),
            (&json!("/dev"), &json!("/strict")),
            "{run}"
        );
        let run = Bare::new(user, &["proc", "nodes"]).run(&strict);
        assert!(run.degraded().is_empty(), "{run}");
        run.exited(0);
    }
}

/// As with `bwrap --ro-bind / /`.
#[test]
fn image_with_device_files_that_cannot_be_opened_says_so() {
    for user in users() {
        let bare = Bare::new(user, &["proc", "dev", "closed=/dev"]);
        for kind in JOBS {
            let what = format!("{bare}, {kind}");
            let mut job = job(kind, &["/dev/shm"]);
            let run = bare.run(&job);
            assert_eq!(run.degraded(), ["dev-missing"], "{what}: {run}");
            let seen = seen(&run, &what);
            assert_eq!(seen["null"], false, "{what}: {run}");
            assert_eq!(seen["in"]["/dev/shm"]["written"], true, "{what}: {run}");
            job["strict"] = json!(true);
            let run = bare.run(&job);
            let error = &run.report["error"];
            assert_eq!(
                (&error["path"], &error["at"]),
                (&json!("/dev"), &json!("/strict")),
                "{what}: {run}"
            );
        }
    }
}

/// As engines set it up: the usual devices and nothing else in /dev, neither shm nor pts.
#[test]
fn image_with_device_files_gives_them_to_every_job() {
    for user in users() {
        let bare = Bare::new(user, &["proc", "nodes"]);
        for kind in JOBS {
            let what = format!("{bare}, {kind}");
            let run = bare.run(&job(kind, &["/", "/dev/shm", "/dev"]));
            let names = made(
                kind,
                &["bin", "dev", "proc"],
                &["dev", "etc", "home", "proc"],
            );
            let seen = saw_root(&run, &what, &names, kind != "read-only");
            assert!(run.degraded().is_empty(), "{what}: {run}");
            assert_eq!(seen["null"], true, "{what}: {run}");
            assert_eq!(seen["in"]["/dev/shm"]["written"], true, "{what}: {run}");
            let devices = seen["in"]["/dev"]["names"].as_array().unwrap().len();
            assert_eq!(devices, 14, "{what}: {run}");
        }
    }
}

/// `--read-only` of the engines, `readOnlyRootFilesystem` of Kubernetes.
#[test]
fn image_mounted_read_only_is_writable_where_a_mode_says_so() {
    let image = ["bin", "dev", "etc", "proc", "run", "tmp"];
    for user in users() {
        let items = [
            "proc",
            "nodes",
            "dir=/tmp",
            "dir=/run",
            "dir=/etc",
            "read-only",
        ];
        let bare = Bare::new(user, &items);
        for kind in JOBS {
            let what = format!("{bare}, {kind}");
            let run = bare.run(&job(kind, &["/", "/tmp", "/run"]));
            let own = ["dev", "etc", "home", "proc", "run", "tmp"];
            let names = made(kind, &image, &own);
            let written = ["overlay", "hidden"].contains(&kind);
            let seen = saw_root(&run, &what, &names, written);
            for place in ["/tmp", "/run"] {
                let expected = json!({"names": [], "written": true});
                assert_eq!(seen["in"][place], expected, "{what}: {place}: {run}");
            }
            let home = if written { "/home/user" } else { "/tmp" };
            assert_eq!(seen["home"], home, "{what}: {run}");
            assert!(run.degraded().is_empty(), "{what}: {run}");
        }
    }
    // The same with nowhere to put anything.
    for user in users() {
        let bare = Bare::new(user, &["proc", "read-only"]);
        for kind in JOBS {
            let what = format!("{bare}, {kind}");
            let run = bare.run(&job(kind, &["/"]));
            let names = made(kind, &["bin", "proc"], &["dev", "etc", "home", "proc"]);
            let written = ["overlay", "hidden"].contains(&kind);
            saw_root(&run, &what, &names, written);
        }
    }
}

/// `--cap-drop ALL`: an ordinary user needs no capability, and root needs one to be mapped.
#[test]
fn image_without_capabilities_runs_jobs_of_every_user_but_root() {
    for user in users() {
        let bare = Bare::new(user, &["proc", "nodes", "powerless"]);
        for kind in JOBS {
            let what = format!("{bare}, {kind}");
            let run = bare.run(&job(kind, &["/"]));
            if *user == "user=1000" {
                assert!(run.degraded().is_empty(), "{what}: {run}");
                seen(&run, &what);
            } else {
                let remedies = ["--user", "runAsUser", "--uid", "user.uid"];
                refused(&run, &what, "identity-refused", &remedies);
            }
        }
    }
}

#[test]
fn image_entered_by_chroot_is_refused() {
    for user in users() {
        let bare = Bare::new(user, &["proc", "nodes", "chroot"]);
        for kind in JOBS {
            let what = format!("{bare}, {kind}");
            let run = bare.run(&job(kind, &["/"]));
            refused(&run, &what, "chroot", &["pivot_root"]);
        }
    }
}
