//! `results`: which files are taken out of the container, from where, and how they arrive.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::let_underscore_must_use,
    missing_docs,
    unreachable_pub,
    reason = "a test may stop at the first surprise"
)]

mod support;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use support::{Fresh, Run, root, run, run_in_namespace, shell, stdbox};

/// A job whose results go to `out` in a fresh directory.
struct Taking {
    fresh: Fresh,
    fields: Value,
}

impl Taking {
    fn new(patterns: &[&str], fields: Value) -> Self {
        let fresh = Fresh::new();
        let mut all = json!({ "results": { "directory": format!("{}/out", fresh.str()), "patterns": patterns } });
        for (key, value) in fields.as_object().unwrap() {
            all[key] = value.clone();
        }
        Self { fresh, fields: all }
    }

    #[track_caller]
    fn run(&self, script: &str) -> Run {
        let seen = shell(script, self.fields.clone());
        let whole = |code: &&str| !code.starts_with("results-");
        assert!(seen.degraded().iter().all(whole), "{seen}");
        seen
    }

    fn out(&self) -> std::path::PathBuf {
        self.fresh.path().join("out")
    }

    /// Every regular file that arrived, with its content; the report must say the same.
    #[track_caller]
    fn arrived(&self, seen: &Run) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for (path, mode, content) in self.fresh.snapshot() {
            if let Ok(path) = path.strip_prefix(self.out())
                && mode & 0o170_000 != 0o040_000
            {
                assert_eq!(mode & 0o170_000, 0o100_000, "{} is no file", path.display());
                found.insert(
                    path.to_str().unwrap().to_owned(),
                    String::from_utf8(content).unwrap(),
                );
            }
        }
        let said: Vec<(String, u64)> = files(seen);
        let there: Vec<(String, u64)> = found
            .iter()
            .map(|(path, text)| (path.clone(), text.len() as u64))
            .collect();
        assert_eq!(said, there, "{seen}");
        found
    }
}

fn files(seen: &Run) -> Vec<(String, u64)> {
    let list = seen.report["results"]["files"].as_array();
    let list = list.unwrap_or_else(|| panic!("no results\n{seen}"));
    let mut all: Vec<(String, u64)> = list
        .iter()
        .map(|file| {
            (
                file["path"].as_str().unwrap().to_owned(),
                file["bytes"].as_u64().unwrap(),
            )
        })
        .collect();
    let sorted = all.is_sorted();
    assert!(sorted, "{seen}");
    all.sort();
    all
}

fn skipped(seen: &Run) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let list = seen.report["results"]["skipped"].as_array().unwrap();
    list.iter()
        .map(|entry| (text(&entry["path"]), text(&entry["reason"])))
        .collect()
}

fn expect(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries
        .iter()
        .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
        .collect()
}

const TREE: &str = "mkdir -p d/e .h; printf 1 > a.c; printf 2 > b.h; printf 3 > .c; printf 4 > d/a.c; printf 5 > d/e/a.c; printf 6 > d/.x; printf 7 > .h/a.c";

#[test]
fn results_by_pattern_are_those_of_a_shell() {
    let all = [
        ("a.c", "1"),
        ("b.h", "2"),
        (".c", "3"),
        ("d/a.c", "4"),
        ("d/e/a.c", "5"),
        ("d/.x", "6"),
        (".h/a.c", "7"),
    ];
    let some = |names: &[&str]| -> BTreeMap<String, String> {
        expect(&all)
            .into_iter()
            .filter(|(name, _)| names.contains(&name.as_str()))
            .collect()
    };
    for (patterns, names) in [
        (
            &["."][..],
            &["a.c", "b.h", ".c", "d/a.c", "d/e/a.c", "d/.x", ".h/a.c"][..],
        ),
        (&["*.c"], &["a.c"]),
        (&["?.[ch]"], &["a.c", "b.h"]),
        (&["[!b].?"], &["a.c"]),
        (&["**/*.c"], &["a.c", "d/a.c", "d/e/a.c"]),
        (&["d"], &["d/a.c", "d/e/a.c", "d/.x"]),
        (&["d/*"], &["d/a.c", "d/e/a.c"]),
        (&[".*"], &[".c", ".h/a.c"]),
        (&["b.h", "d/e"], &["b.h", "d/e/a.c"]),
        (&["{a,b}.c", "nothing"], &[]),
    ] {
        let taking = Taking::new(patterns, json!({ "cwd": "/tmp" }));
        let seen = taking.run(TREE);
        assert_eq!(
            taking.arrived(seen.exited(0)),
            some(names),
            "{patterns:?}\n{seen}"
        );
    }
}

#[test]
fn results_of_absolute_patterns_start_at_the_root() {
    let taking = Taking::new(&["/tmp/d", "*.h"], json!({ "cwd": "/tmp" }));
    let seen = taking.run(TREE);
    let wanted = expect(&[
        ("tmp/b.h", "2"),
        ("tmp/d/a.c", "4"),
        ("tmp/d/e/a.c", "5"),
        ("tmp/d/.x", "6"),
    ]);
    assert_eq!(taking.arrived(seen.exited(0)), wanted, "{seen}");
}

#[test]
fn results_are_only_what_the_job_wrote() {
    // All that stdbox puts into the container is below the root.
    for fields in [
        json!({}),
        json!({ "scratch": { "directory": "/var/tmp" } }),
        json!({ "directories": { "/": "read-only" } }),
        json!({ "dev": "host" }),
        json!({ "init": false }),
    ] {
        let taking = Taking::new(&["/"], fields.clone());
        let seen = taking.run("cat /etc/hosts > /dev/null; true");
        assert_eq!(
            taking.arrived(seen.exited(0)),
            BTreeMap::new(),
            "{fields}\n{seen}"
        );
        assert_eq!(skipped(&seen), [], "{fields}\n{seen}");
        let taking = Taking::new(&["/"], fields.clone());
        let seen = taking.run("printf 1 > ~/h; printf 2 > /tmp/t; printf 3 > /dev/shm/s");
        let wanted = expect(&[("dev/shm/s", "3"), ("home/user/h", "1"), ("tmp/t", "2")]);
        let mut arrived = taking.arrived(seen.exited(0));
        if fields["directories"]["/"] == "read-only" {
            // HOME is /tmp.
            assert_eq!(arrived.remove("tmp/h").as_deref(), Some("1"), "{seen}");
            arrived.insert("home/user/h".into(), "1".into());
        }
        assert_eq!(arrived, wanted, "{fields}\n{seen}");
    }
    let taking = Taking::new(&["/etc"], json!({}));
    let seen = taking.run("printf x > /etc/hosts; printf y > /etc/new");
    assert_eq!(
        taking.arrived(seen.exited(0)),
        expect(&[("etc/hosts", "x"), ("etc/new", "y")]),
        "{seen}"
    );
}

#[test]
fn results_of_overlays_are_what_was_written_over_the_host() {
    for scratch in [json!({}), json!({ "directory": "/var/tmp" })] {
        let taking = Taking::new(&["."], json!({ "scratch": scratch }));
        let work = Fresh::new();
        for file in ["kept", "changed", "gone", "d/kept", "d/changed", "e/x"] {
            work.file(file, "old");
        }
        let mut fields = taking.fields.clone();
        fields["cwd"] = json!(work.str());
        let seen = shell(
            "printf new > changed; rm gone; printf more >> d/changed; rm -r e; mkdir e; printf y > e/y; printf n > n",
            fields,
        );
        let wanted = expect(&[
            ("changed", "new"),
            ("d/changed", "oldmore"),
            ("e/y", "y"),
            ("n", "n"),
        ]);
        assert_eq!(taking.arrived(seen.exited(0)), wanted, "{seen}");
        assert_eq!(
            std::fs::read_to_string(work.path().join("changed")).unwrap(),
            "old"
        );
    }
}

#[test]
fn results_of_split_overlays_are_complete() {
    let taking = Taking::new(&["."], json!({}));
    let work = Fresh::new();
    for file in ["top", "same", "m/x", "n/m/x", "n/f", "o/f"] {
        work.file(file, "old");
    }
    let mut fields = taking.fields.clone();
    fields["cwd"] = json!(work.str());
    fields["argv"] = json!([
        "/bin/sh",
        "-c",
        "printf a > top; printf b > n/f; printf c > o/f; printf d > n/m/new; printf e > m/new"
    ]);
    let mount = format!(
        "mount -t tmpfs none {0}/m; mount -t tmpfs none {0}/n/m; exec \"$STDBOX\"",
        work.str()
    );
    let seen = run_in_namespace(&mount, &fields);
    let wanted = expect(&[
        ("top", "a"),
        ("n/f", "b"),
        ("o/f", "c"),
        ("n/m/new", "d"),
        ("m/new", "e"),
    ]);
    assert_eq!(taking.arrived(seen.exited(0)), wanted, "{seen}");
}

#[test]
fn results_of_nested_modes_come_from_each() {
    let work = Fresh::new();
    for file in ["o/f", "o/h/f", "o/r/f", "o/w/f", "o/h/o/f"] {
        work.file(file, "old");
    }
    let at = |name: &str| format!("{}/{name}", work.str());
    let directories = json!({ at("o/h"): "hidden", at("o/r"): "read-only", at("o/w"): "full-access", at("o/h/o"): "overlay" });
    let taking = Taking::new(
        &["."],
        json!({ "cwd": work.str(), "directories": directories }),
    );
    let seen =
        taking.run("for d in o o/h o/w o/h/o; do printf $d > $d/new; done; ! echo > o/r/new");
    // Writes to a full-access directory are on the host already.
    let wanted = expect(&[("o/h/new", "o/h"), ("o/h/o/new", "o/h/o"), ("o/new", "o")]);
    assert_eq!(taking.arrived(seen.exited(0)), wanted, "{seen}");
    assert!(work.path().join("o/w/new").exists() && !work.path().join("o/new").exists());
}

#[test]
fn results_of_extra_mounts_are_those_of_the_container() {
    let work = Fresh::new();
    work.file("bound/f", "old");
    let at = |name: &str| format!("{}/{name}", work.str());
    let mounts = json!([
        { "type": "tmpfs", "target": at("memory") },
        { "type": "bind", "source": at("bound"), "target": at("writable"), "read_only": false },
        { "type": "file", "target": at("given"), "text": "given" },
    ]);
    let taking = Taking::new(
        &["."],
        json!({ "cwd": work.str(), "mounts": mounts, "changes": true }),
    );
    let seen = taking
        .run("mkdir memory/d; printf 1 > memory/f; printf 2 > memory/d/f; printf 3 > writable/g");
    let wanted = expect(&[("memory/d/f", "2"), ("memory/f", "1")]);
    assert_eq!(taking.arrived(seen.exited(0)), wanted, "{seen}");
    let list = seen.report["changes"].as_array().unwrap();
    let paths: Vec<String> = list
        .iter()
        .map(|change| change["path"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        paths,
        [at("memory/d"), at("memory/d/f"), at("memory/f")],
        "{seen}"
    );
}

#[test]
fn results_keep_bits_and_time_and_belong_to_the_caller() {
    for scratch in [json!({}), json!({ "directory": "/var/tmp" })] {
        let taking = Taking::new(&["."], json!({ "cwd": "/tmp", "scratch": scratch }));
        let script = "for m in 640 755 4755 2711 1644 000 400 777; do printf $m > $m; touch -d '2001-02-03 04:05:06.789' $m; chmod $m $m; done; mkdir d; printf x > d/x; chmod 000 d";
        let seen = taking.run(script);
        seen.exited(0);
        for (name, bits) in [
            ("640", 0o640),
            ("755", 0o755),
            ("4755", 0o755),
            ("2711", 0o711),
            ("1644", 0o644),
            ("000", 0),
            ("400", 0o400),
            ("777", 0o777),
        ] {
            let found = std::fs::metadata(taking.out().join(name)).unwrap();
            assert_eq!(found.permissions().mode() & 0o7777, bits, "{name}\n{seen}");
            assert_eq!(
                (found.mtime(), found.mtime_nsec()),
                (981_173_106, 789_000_000),
                "{name}"
            );
            assert_eq!(found.uid(), nix::unistd::geteuid().as_raw());
            assert_eq!(found.nlink(), 1);
        }
        assert_eq!(
            std::fs::read_to_string(taking.out().join("d/x")).unwrap(),
            "x",
            "{seen}"
        );
    }
}

#[test]
fn results_stay_within_their_bounds() {
    let limited = |results: Value| {
        let taking = Taking::new(&["."], json!({ "cwd": "/tmp" }));
        let mut fields = taking.fields.clone();
        for (key, value) in results.as_object().unwrap() {
            fields["results"][key] = value.clone();
        }
        let seen = shell("for f in a b c d; do printf 12345 > $f; done", fields);
        let names: String = files(seen.exited(0))
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        let codes = seen
            .degraded()
            .into_iter()
            .filter(|code| code.starts_with("results-"))
            .count();
        assert_eq!(taking.arrived(&seen).len(), names.len());
        (names, codes)
    };
    assert_eq!(limited(json!({ "max_files": 2 })), ("ab".into(), 1));
    assert_eq!(limited(json!({ "max_files": 0 })), (String::new(), 1));
    assert_eq!(limited(json!({ "max_files": 4 })), ("abcd".into(), 0));
    assert_eq!(limited(json!({ "max_bytes": 14 })), ("ab".into(), 1));
    assert_eq!(limited(json!({ "max_bytes": 15 })), ("abc".into(), 1));
    assert_eq!(
        limited(json!({ "max_bytes": 20, "max_files": 4 })),
        ("abcd".into(), 0)
    );
}

#[test]
fn results_are_taken_however_the_job_ends() {
    for (script, fields, outcome) in [
        ("printf x > x; exit 3", json!({}), "exited"),
        ("printf x > x; kill -SEGV $$", json!({}), "signaled"),
        (
            "printf x > x; sleep 60",
            json!({ "limits": { "wall_time_ms": 300 } }),
            "limit-exceeded",
        ),
        (
            "printf x > x; (while :; do sleep 1; done) & exit 0",
            json!({}),
            "exited",
        ),
        ("printf x > x", json!({ "init": false }), "exited"),
        (
            "printf x > x",
            json!({ "capabilities": ["CAP_NET_RAW"] }),
            "exited",
        ),
        ("printf x > x", json!({ "seccomp": "strict" }), "exited"),
    ] {
        let mut fields = fields;
        fields["cwd"] = json!("/tmp");
        let taking = Taking::new(&["."], fields);
        let seen = taking.run(script);
        assert_eq!(seen.report["outcome"], outcome, "{seen}");
        assert_eq!(taking.arrived(&seen), expect(&[("x", "x")]), "{seen}");
    }
    let seen = shell("true", json!({}));
    assert_eq!(seen.exited(0).report["results"], Value::Null);
}

#[test]
fn results_are_taken_when_stdbox_is_told_to_stop() {
    let taking = Taking::new(&["."], json!({}));
    let mut job = taking.fields.clone();
    job["cwd"] = json!("/tmp");
    let marker = taking.fresh.path().join("marker");
    std::fs::write(&marker, "").unwrap();
    job["directories"] = json!({ taking.fresh.str(): "full-access" });
    job["argv"] = json!([
        "/bin/sh",
        "-c",
        format!("printf x > x; echo ready > {}; sleep 60", marker.display())
    ]);
    let mut child = Command::new(stdbox())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), job.to_string().as_bytes())
        .unwrap();
    while std::fs::read(&marker).unwrap().is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let told = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(told.unwrap().success());
    let output = child.wait_with_output().unwrap();
    let seen = Run {
        report: serde_json::from_slice(&output.stdout).unwrap(),
        status: output.status.code(),
        complaint: String::new(),
    };
    assert_eq!(seen.report["outcome"], "cancelled", "{seen}");
    assert_eq!(taking.arrived(&seen), expect(&[("x", "x")]), "{seen}");
}

#[test]
fn results_replace_old_files_and_links() {
    let taking = Taking::new(&["."], json!({ "cwd": "/tmp" }));
    let outside = taking.fresh.file("outside/x", "outside");
    taking.fresh.file("out/file", "old and longer");
    taking.fresh.file("out/other", "kept");
    taking.fresh.file("out/way", "a file");
    std::fs::create_dir(taking.out().join("directory")).unwrap();
    std::os::unix::fs::symlink(&outside, taking.out().join("link")).unwrap();
    std::os::unix::fs::symlink(
        taking.fresh.path().join("outside"),
        taking.out().join("dlink"),
    )
    .unwrap();
    let hard = taking.fresh.file("hard", "hard");
    std::fs::hard_link(&hard, taking.out().join("hard")).unwrap();
    let seen = taking.run("mkdir dlink way; for f in file link hard directory dlink/x way/a way/b; do printf n > $f; done");
    assert_eq!(
        skipped(seen.exited(0)),
        [
            ("directory".into(), "directory-in-the-way".into()),
            ("way".into(), "file-in-the-way".into())
        ],
        "{seen}"
    );
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    for name in ["file", "link", "hard", "dlink/x"] {
        assert_eq!(read(&taking.out().join(name)), "n", "{name}");
        assert!(
            std::fs::symlink_metadata(taking.out().join(name))
                .unwrap()
                .is_file()
        );
    }
    assert!(
        std::fs::symlink_metadata(taking.out().join("dlink"))
            .unwrap()
            .is_dir()
    );
    assert_eq!(
        (read(&outside), read(&hard)),
        ("outside".into(), "hard".into())
    );
    assert_eq!(
        (
            read(&taking.out().join("other")),
            read(&taking.out().join("way"))
        ),
        ("kept".into(), "a file".into())
    );
}

#[test]
fn results_directory_is_made_before_the_target_and_removed_where_there_is_none() {
    let taking = Taking::new(&["."], json!({ "cwd": "/tmp" }));
    let deep = taking.out().join("a/b");
    let mut fields = taking.fields.clone();
    fields["results"]["directory"] = json!(deep);
    fields["argv"] = json!(["/no/such/command"]);
    run(&fields).failed("command-not-found", "exec");
    assert!(!taking.out().exists(), "nothing stays if nothing ran");
    fields["argv"] = json!(["/bin/true"]);
    run(&fields).exited(0);
    assert!(deep.is_dir());
    let seen = support::run_with(fields.to_string().as_bytes(), &["check"], |_| {});
    assert_eq!(
        seen.report["job"]["results"]["patterns"],
        json!(["."]),
        "{seen}"
    );
}

#[test]
fn results_directory_that_cannot_be_used_is_refused_before_the_run() {
    let fresh = Fresh::new();
    fresh.file("file", "");
    std::fs::create_dir(fresh.path().join("real")).unwrap();
    std::os::unix::fs::symlink("real", fresh.path().join("link")).unwrap();
    std::fs::create_dir(fresh.path().join("closed")).unwrap();
    std::fs::set_permissions(
        fresh.path().join("closed"),
        PermissionsExt::from_mode(0o555),
    )
    .unwrap();
    let mark = fresh.path().join("real/ran");
    let mut rows = vec![
        ("file", "not-a-directory"),
        ("file/below", "not-a-directory"),
        ("link", "is-symlink"),
        ("link/below", "is-symlink"),
    ];
    if !root() {
        rows.extend([
            ("closed", "results-refused"),
            ("closed/below", "results-refused"),
        ]);
    }
    for (name, code) in rows {
        let directory = format!("{}/{name}", fresh.str());
        let fields = json!({ "directories": { fresh.str(): "full-access" }, "results": { "directory": directory } });
        let seen = shell(&format!("echo > {}", mark.display()), fields);
        assert_eq!(
            seen.failed(code, "validate").report["error"]["at"],
            "/results/directory",
            "{seen}"
        );
        assert_eq!((seen.status, mark.exists()), (Some(2), false), "{seen}");
    }
    let seen = shell("true", json!({ "results": { "directory": "/proc/out" } }));
    assert_eq!(
        seen.failed("results-refused", "validate").report["error"]["at"],
        "/results/directory",
        "{seen}"
    );
}

/// The target has run, so what goes wrong afterwards is told beside its outcome.
#[test]
fn results_directory_that_becomes_full_is_told_beside_the_outcome() {
    let out = "/var/tmp/stdbox-test-full";
    let job = json!({
        "argv": ["/bin/sh", "-c", "printf 1 > a; head -c 3000000 /dev/zero > b; printf 3 > c; exit 5"], "cwd": "/tmp", "strict": false,
        "results": { "directory": out },
    });
    let seen = run_in_namespace(
        &format!("mkdir -p {out}; mount -t tmpfs -o size=1m none {out}; exec \"$STDBOX\""),
        &job,
    );
    let _empty = std::fs::remove_dir(out);
    assert_eq!(files(seen.exited(5)), [("a".into(), 1)], "{seen}");
    assert!(seen.degraded().contains(&"results-incomplete"), "{seen}");
}

#[test]
fn files_of_every_id_of_the_job_are_the_callers_where_they_arrive() {
    if !support::many_ids() {
        return support::skip("subids", "this user has no subordinate ids");
    }
    for scratch in [json!({}), json!({ "directory": "/var/tmp" })] {
        let taking = Taking::new(
            &["/tmp"],
            json!({
                "directories": { "/": "read-only", "/tmp": "hidden" }, "changes": true, "scratch": scratch,
                "mounts": [{ "type": "tmpfs", "target": "/other" }],
                "user": { "uid": 0, "gid": 0, "map": "range" },
                "capabilities": ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER"]
            }),
        );
        let seen = taking.run(
            "mkdir /tmp/a /other/b && echo theirs > /tmp/a/f && echo mine > /tmp/g && echo x > /other/b/f && chmod 600 /tmp/a/f && chown 7:7 /tmp/a/f /tmp/a && chmod 0 /tmp/a && chown 8:8 /other/b && chmod 0 /other/b",
        );
        seen.exited(0);
        let arrived = taking.arrived(&seen);
        let wanted = [("tmp/a/f", "theirs\n"), ("tmp/g", "mine\n")];
        let wanted: BTreeMap<String, String> =
            wanted.map(|(path, text)| (path.into(), text.into())).into();
        assert_eq!(arrived, wanted, "{seen}");
        let found = std::fs::metadata(taking.out().join("tmp/a/f")).unwrap();
        assert_eq!(
            (found.uid(), found.mode() & 0o777),
            (nix::unistd::geteuid().as_raw(), 0o600),
            "{seen}"
        );
        let changed: Vec<&str> = seen.report["changes"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|change| change["path"].as_str())
            .collect();
        for path in ["/tmp/a", "/tmp/a/f", "/tmp/g", "/other/b", "/other/b/f"] {
            assert!(changed.contains(&path), "{path}: {seen}");
        }
    }
}

#[test]
fn working_directory_behind_a_link_of_an_image_is_found_there() {
    let fresh = Fresh::new();
    let image = fresh.path().join("image");
    for part in ["bin", "data", "tmp"] {
        std::fs::create_dir_all(image.join(part)).unwrap();
    }
    std::fs::copy("/usr/bin/busybox", image.join("bin/busybox")).unwrap();
    // The host has a /data of its own kind, or none: neither is meant.
    std::os::unix::fs::symlink("/data", image.join("work")).unwrap();
    let taking = Taking::new(&["made"], json!({ "root": image, "cwd": "/work" }));
    let mut job = taking.fields.clone();
    job["argv"] = json!(["/bin/busybox", "sh", "-c", "echo here > made"]);
    let seen = run(&job);
    seen.exited(0);
    assert_eq!(
        taking.arrived(&seen),
        BTreeMap::from([("made".into(), "here\n".into())]),
        "{seen}"
    );
}
