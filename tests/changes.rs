//! `changes`: what the report lists is what a comparison of before and after finds, whatever the job does.
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

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use support::{Fresh, Run, run, run_in_namespace, shell, skip};

/// The list as `path -> change type bytes`.
fn listed(seen: &Run) -> BTreeMap<String, String> {
    let list = seen.report["changes"]
        .as_array()
        .unwrap_or_else(|| panic!("no list\n{seen}"));
    let entry = |entry: &Value| {
        let path = entry["path"].as_str().expect("a plain path").to_owned();
        let text = |key| entry[key].as_str().unwrap().to_owned();
        (
            path,
            format!("{} {} {}", text("change"), text("type"), entry["bytes"]),
        )
    };
    let paths: Vec<&Value> = list.iter().map(|entry| &entry["path"]).collect();
    assert!(
        paths.is_sorted_by(|a, b| a.as_str() < b.as_str()),
        "sorted, each once: {paths:?}"
    );
    list.iter().map(entry).collect()
}

fn changes(script: &str, fields: Value) -> (BTreeMap<String, String>, Run) {
    let mut all = json!({ "changes": true });
    for (key, value) in fields.as_object().unwrap() {
        all[key] = value.clone();
    }
    let seen = shell(script, all);
    seen.exited(0);
    // What lies about in /var/tmp may have degraded entries of its own.
    let whole = |code: &&str| !code.starts_with("changes-");
    assert!(seen.degraded().iter().all(whole), "{seen}");
    (listed(&seen), seen)
}

fn expect(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries
        .iter()
        .map(|(path, what)| ((*path).to_owned(), (*what).to_owned()))
        .collect()
}

#[test]
fn changes_are_null_unless_asked_for() {
    assert_eq!(
        shell("echo > /tmp/x", json!({})).exited(0).report["changes"],
        Value::Null
    );
    let seen = shell(
        "true",
        json!({ "changes": true, "argv": ["/no/such/command"] }),
    );
    assert_eq!(
        seen.failed("command-not-found", "exec").report["changes"],
        Value::Null
    );
}

#[test]
fn changes_of_a_job_that_changes_nothing_are_none() {
    for fields in [
        json!({}),
        json!({ "directories": { "/": "read-only" } }),
        json!({ "directories": { "/": "hidden", "/usr": "read-only", "/bin": "read-only", "/lib": "read-only", "/lib64": "read-only" } }),
        json!({ "scratch": { "directory": "/var/tmp" } }),
        json!({ "dev": "host" }),
        json!({ "system_config": false }),
        json!({ "init": false }),
    ] {
        if fields["directories"]["/"] == "hidden" && !Path::new("/lib64").is_dir() {
            continue;
        }
        if fields["directories"]["/"] == "hidden" && Path::new("/bin").is_symlink() {
            continue;
        }
        let (list, seen) = changes(
            "cat /etc/hosts ~/* > /dev/null 2>&1; ls -R /etc > /dev/null; true",
            fields.clone(),
        );
        assert_eq!(list, BTreeMap::new(), "{fields}\n{seen}");
    }
}

/// What lies beside a mount point is copied; somebody who writes to it meanwhile is not the job.
#[test]
fn changes_on_the_host_meanwhile_are_not_those_of_the_job() {
    let fresh = Fresh::new();
    let log = fresh.file("log", "1");
    std::fs::create_dir(fresh.path().join("scratch")).unwrap();
    let ended = std::sync::atomic::AtomicBool::new(false);
    let lists = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut log = std::fs::OpenOptions::new().append(true).open(&log).unwrap();
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                std::io::Write::write_all(&mut log, b"1").unwrap();
            }
        });
        let scratch = json!({ "scratch": { "directory": fresh.path().join("scratch") } });
        let lists: Vec<_> = (0..8)
            .map(|_| changes(&format!("test -s {}", log.display()), scratch.clone()))
            .collect();
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
        lists
    });
    for (list, seen) in lists {
        assert_eq!(list, BTreeMap::new(), "{seen}");
    }
}

#[test]
fn changes_of_every_kind_are_listed() {
    let fresh = Fresh::new();
    fresh.file("old", "12345");
    fresh.file("gone", "1");
    fresh.file("dir/in/deep", "1");
    fresh.file("again/lost", "1");
    fresh.file("again/kept", "1");
    fresh.file("file", "1");
    fresh.file("bits", "1");
    std::os::unix::fs::symlink("old", fresh.path().join("link")).unwrap();
    let script = "echo 123 > old; rm gone; rm -r dir; cp -p again/kept /tmp/k; rm -r again; mkdir again; mv /tmp/k again/kept
        rm file; mkdir file; echo > file/x; chmod 600 bits; ln -sfn new link; mkfifo pipe; ln -s x fresh
        chmod 711 .; echo a > /tmp/t; rm /etc/hosts; echo > /etc/hostname; touch bits.new; mkdir -p m/n; ln bits hard";
    let (list, seen) = changes(script, json!({ "cwd": fresh.str() }));
    let at = |name: &str| format!("{}/{name}", fresh.str());
    let mut wanted = expect(&[
        (&at("old"), "modified file 4"),
        (&at("gone"), "deleted file 0"),
        (&at("dir"), "deleted directory 0"),
        (&at("again/lost"), "deleted file 0"),
        (&at("file"), "replaced directory 0"),
        (&at("file/x"), "created file 1"),
        (&at("bits"), "modified file 1"),
        (&at("hard"), "created file 1"),
        (&at("link"), "replaced symlink 0"),
        (&at("pipe"), "created fifo 0"),
        (&at("fresh"), "created symlink 0"),
        (&at("bits.new"), "created file 0"),
        (&at("m"), "created directory 0"),
        (&at("m/n"), "created directory 0"),
        (fresh.str(), "modified directory 0"),
        ("/tmp/t", "created file 2"),
        ("/etc/hosts", "deleted file 0"),
        ("/etc/hostname", "modified file 1"),
    ]);
    if !list.contains_key("/etc/hosts") && !Path::new("/etc/hosts").exists() {
        wanted.remove("/etc/hosts");
    }
    assert_eq!(list, wanted, "{seen}");
}

#[test]
fn changes_of_what_is_only_opened_or_touched_back_are_none() {
    let fresh = Fresh::new();
    fresh.file("a", "12345");
    // Opened for writing, it is in the upper layer, but as it was.
    let script = "exec 3<> a; exec 3>&-; cp -p a b; rm a; mv b a; mkdir n; rmdir n; touch x; rm x";
    let (list, seen) = changes(script, json!({ "cwd": fresh.str() }));
    assert_eq!(list, BTreeMap::new(), "{seen}");
}

#[test]
fn changes_see_names_that_are_not_utf_8_and_closed_directories() {
    let script = "mkdir -p c/d; echo 1 > c/d/f; chmod 000 c/d/f c/d c; n=$(printf 'x\\377'); echo 1 > \"$n\"; n=$(printf 'a\\nb'); echo > \"$n\"";
    let seen = shell(script, json!({ "cwd": "/tmp", "changes": true }));
    let list = seen.exited(0).report["changes"].as_array().unwrap().clone();
    let paths: Vec<&Value> = list.iter().map(|entry| &entry["path"]).collect();
    // "/tmp/x\xff"
    let wanted = [
        json!("/tmp/a\nb"),
        json!("/tmp/c"),
        json!("/tmp/c/d"),
        json!("/tmp/c/d/f"),
        json!({ "base64": "L3RtcC94/w==" }),
    ];
    assert_eq!(paths, wanted.iter().collect::<Vec<_>>(), "{seen}");
}

/// Marks of the overlay's own kind mean nothing where the job itself can make them.
#[test]
fn changes_are_not_fooled_by_forged_marks() {
    let fresh = Fresh::new();
    fresh.file("d/a", "1");
    fresh.file("d/b", "1");
    if !Path::new("/usr/bin/python3").exists() {
        return skip("python3", "it sets the attributes");
    }
    let script = r#"mknod /tmp/w c 0 0 && echo made; mkdir /tmp/o; echo 1 > /tmp/o/x; mknod d/w c 0 0
        python3 -c '
import os
for path, name in (("/tmp/o", "opaque"), ("d", "opaque"), ("d/a", "whiteout")):
    try:
        os.setxattr(path, "user.overlay." + name, b"y")
    except OSError:
        assert path != "/tmp/o"
'"#;
    let (mut list, seen) = changes(script, json!({ "cwd": fresh.str() }));
    // Where the kernel lets the job make the file, it is a device like any other.
    let made = seen.stdout().contains("made");
    let device = list.remove("/tmp/w");
    assert_eq!(
        device.as_deref(),
        made.then_some("created device 0"),
        "{seen}"
    );
    let wanted = expect(&[
        ("/tmp/o", "created directory 0"),
        ("/tmp/o/x", "created file 2"),
    ]);
    assert_eq!(list, wanted, "{seen}");
}

#[test]
fn changes_are_listed_after_a_limit_and_a_crash() {
    for (script, fields, outcome) in [
        (
            "echo > /tmp/x; sleep 60",
            json!({ "limits": { "wall_time_ms": 300 } }),
            "limit-exceeded",
        ),
        ("echo > /tmp/x; kill -SEGV $$", json!({}), "signaled"),
    ] {
        let mut fields = fields;
        fields["changes"] = json!(true);
        let seen = shell(script, fields);
        assert_eq!(seen.report["outcome"], outcome, "{seen}");
        assert_eq!(
            listed(&seen),
            expect(&[("/tmp/x", "created file 1")]),
            "{seen}"
        );
    }
}

/// What a scan knows of a path.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Seen {
    kind: &'static str,
    mode: u32,
    bytes: u64,
    time: (i64, i64),
    link: Option<PathBuf>,
}

fn scan(top: &Path) -> BTreeMap<String, Seen> {
    fn walk(top: &Path, at: &Path, all: &mut BTreeMap<String, Seen>) {
        for entry in std::fs::read_dir(at).unwrap().flatten() {
            let path = entry.path();
            let found = std::fs::symlink_metadata(&path).unwrap();
            let kind = found.file_type();
            let (name, file) = (
                path.strip_prefix(top).unwrap().to_str().unwrap().to_owned(),
                kind.is_file(),
            );
            let seen = Seen {
                kind: if file {
                    "file"
                } else if kind.is_dir() {
                    "directory"
                } else if kind.is_fifo() {
                    "fifo"
                } else {
                    "symlink"
                },
                mode: found.permissions().mode() & 0o7777,
                bytes: if file { found.len() } else { 0 },
                time: if file {
                    (found.mtime(), found.mtime_nsec())
                } else {
                    (0, 0)
                },
                link: std::fs::read_link(&path).ok(),
            };
            all.insert(name, seen);
            if kind.is_dir() {
                walk(top, &path, all);
            }
        }
    }
    let mut all = BTreeMap::new();
    walk(top, top, &mut all);
    all
}

fn difference(
    before: &BTreeMap<String, Seen>,
    after: &BTreeMap<String, Seen>,
) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (path, now) in after {
        let what = match before.get(path) {
            None => "created",
            Some(was) if was == now => continue,
            Some(was) if was.kind != now.kind || was.link != now.link => "replaced",
            Some(_) => "modified",
        };
        all.insert(path.clone(), format!("{what} {} {}", now.kind, now.bytes));
    }
    for (path, was) in before.iter().filter(|(path, _)| !after.contains_key(*path)) {
        let parent = path.rsplit_once('/').map(|(parent, _)| parent);
        if parent.is_none_or(|parent| {
            after
                .get(parent)
                .is_some_and(|parent| parent.kind == "directory")
        }) {
            all.insert(path.clone(), format!("deleted {} 0", was.kind));
        }
    }
    all
}

/// A path of the tree; `s` itself, beside which something may be mounted, is left in place.
fn path() -> impl Strategy<Value = String> {
    let name = || prop::sample::select(&["a", "b", "c"][..]);
    prop_oneof![
        1 => prop::sample::select(&["f1", "f2"][..]).prop_map(str::to_owned),
        2 => name().prop_map(|a| format!("s/{a}")),
        3 => (name(), name()).prop_map(|(a, b)| format!("s/{a}/{b}")),
        2 => (name(), name(), name()).prop_map(|(a, b, c)| format!("s/{a}/{b}/{c}")),
    ]
}

fn operation() -> impl Strategy<Value = String> {
    let bits = prop::sample::select(&["700", "755", "750"][..]);
    prop_oneof![
        3 => (path(), 0..99u32).prop_map(|(p, n)| format!("[ -p {p} ] || echo {n} > {p}")),
        2 => (path(), 0..99u32).prop_map(|(p, n)| format!("[ -p {p} ] || echo {n} >> {p}")),
        1 => path().prop_map(|p| format!("[ -p {p} ] || true > {p}")),
        2 => (path(), bits).prop_map(|(p, bits)| format!("chmod {bits} {p}")),
        2 => path().prop_map(|p| format!("mkdir -p {p}")),
        1 => path().prop_map(|p| format!("rmdir {p}")),
        3 => path().prop_map(|p| format!("rm -rf {p}")),
        2 => path().prop_map(|p| format!("rm -rf {p}; mkdir {p}")),
        2 => path().prop_map(|p| format!("rm -rf {p}; echo new > {p}")),
        3 => (path(), path()).prop_map(|(p, q)| format!("mv -fT {p} {q}")),
        2 => (path(), path()).prop_map(|(p, q)| format!("ln -sfnT {p} {q}")),
        // Where something is mounted beside it, `s` is a file system of its own.
        1 => (path(), path()).prop_map(|(p, q)| match (p.starts_with('s'), q.starts_with('s')) {
            (true, true) => format!("ln {p} {q}"),
            _ => format!("[ -p {p} ] || [ -p {q} ] || cp {p} {q}"),
        }),
        1 => path().prop_map(|p| format!("mkfifo {p}")),
        1 => path().prop_map(|p| format!("touch {p}")),
    ]
}

/// How the tree is shown to the job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shown {
    Overlay,
    Split,
    Disk,
    Hidden,
}

fn compare(shown: Shown, operations: &[String]) {
    let fresh = Fresh::new();
    let (tree, copy) = (fresh.path().join("tree"), fresh.path().join("copy"));
    if shown == Shown::Hidden {
        std::fs::create_dir(&tree).unwrap();
    } else {
        for file in ["f1", "f2", "s/a/a", "s/a/b/a", "s/a/b/b", "s/b/a", "s/c"] {
            fresh.file(&format!("tree/{file}"), file);
        }
        std::fs::create_dir_all(tree.join("s/b/c")).unwrap();
        std::os::unix::fs::symlink("../a", tree.join("s/b/b")).unwrap();
    }
    std::fs::create_dir(tree.join("m")).unwrap();
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([&tree, &copy])
        .status()
        .unwrap();
    assert!(copied.success());
    let script = format!(
        "exec 2> /dev/null\nmkdir -p s\n{}\ntrue",
        operations.join("\n")
    );
    let job = |directory: &Path, fields: Value| {
        let mut job = json!({ "argv": ["/bin/sh", "-c", script], "cwd": directory });
        for (key, value) in fields.as_object().unwrap() {
            job[key] = value.clone();
        }
        job
    };
    let before = scan(&copy);
    run(&job(
        &copy,
        json!({ "directories": { copy.to_str().unwrap(): "full-access" } }),
    ))
    .exited(0);
    let mut wanted = difference(&before, &scan(&copy));
    let fields = match shown {
        Shown::Overlay | Shown::Split => json!({}),
        Shown::Disk => json!({ "scratch": { "directory": fresh.str() } }),
        Shown::Hidden => json!({ "directories": { tree.to_str().unwrap(): "hidden" } }),
    };
    let mut fields = fields;
    fields["changes"] = json!(true);
    let job = job(&tree, fields);
    let seen = if shown == Shown::Split {
        let mount = format!(
            "mount -t tmpfs none '{}/m'; exec \"$STDBOX\"",
            tree.display()
        );
        run_in_namespace(&mount, &job)
    } else {
        run(&job)
    };
    seen.exited(0);
    let prefix = format!("{}/", tree.display());
    // Where the link leads when it is moved to the top.
    let beside = fresh.path().join("a");
    let list: BTreeMap<String, String> = listed(&seen)
        .into_iter()
        .filter(|(path, _)| Path::new(path) != beside)
        .map(|(path, what)| {
            (
                path.strip_prefix(&prefix)
                    .map(str::to_owned)
                    .unwrap_or(path),
                what,
            )
        })
        .collect();
    if shown == Shown::Hidden {
        // The copy has the directory that the mount point of the other cases needs.
        wanted.remove("m");
    }
    assert_eq!(list, wanted, "{shown:?}\n{script}\n{seen}");
}

fn property(shown: Shown) {
    let cases = std::env::var("CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(8);
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    // A link that leads out of the tree once it is moved.
    if shown == Shown::Overlay {
        compare(
            shown,
            &["mv -fT s/b/b f1", "echo 0 > f1"].map(str::to_owned),
        );
    }
    let operations = prop::collection::vec(operation(), 1..25);
    TestRunner::new(config)
        .run(&operations, |operations| {
            compare(shown, &operations);
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

/// Beside a mount point they are plain directories of the container, which stdbox made and the job did not.
#[test]
fn changes_of_empty_directories_beside_a_mount_point_are_listed() {
    let fresh = Fresh::new();
    for name in ["bits", "filled", "gone", "m", "moved", "new", "same"] {
        std::fs::create_dir(fresh.path().join(name)).unwrap();
    }
    let script = "echo 123 > filled/f; rmdir gone; mv moved to; chmod 700 bits; rmdir new; echo > new; rmdir same; mkdir same";
    let results = Fresh::new();
    let job = json!({
        "argv": ["/bin/sh", "-c", script],
        "cwd": fresh.str(),
        "changes": true,
        "results": { "directory": results.str() },
    });
    let mount = format!("mount -t tmpfs none '{}/m'; exec \"$STDBOX\"", fresh.str());
    let seen = run_in_namespace(&mount, &job);
    seen.exited(0);
    let below = format!("{}/", fresh.str());
    let list: BTreeMap<String, String> = listed(&seen)
        .into_iter()
        .filter_map(|(path, what)| Some((path.strip_prefix(&below)?.to_owned(), what)))
        .collect();
    let expected = [
        ("bits", "modified directory 0"),
        ("filled/f", "created file 4"),
        ("gone", "deleted directory 0"),
        ("moved", "deleted directory 0"),
        ("new", "replaced file 1"),
        ("to", "created directory 0"),
    ];
    assert_eq!(list, expect(&expected), "{seen}");
    let taken = std::fs::read_to_string(results.path().join("filled/f"));
    assert_eq!(taken.unwrap(), "123\n", "{seen}");
    let mut left: Vec<_> = std::fs::read_dir(fresh.path().join("filled"))
        .unwrap()
        .collect();
    assert!(left.pop().is_none(), "the host has it too: {seen}");
}

#[test]
fn changes_in_an_overlay_are_those_of_a_scan() {
    property(Shown::Overlay);
}

#[test]
fn changes_in_a_split_overlay_are_those_of_a_scan() {
    property(Shown::Split);
}

#[test]
fn changes_in_an_overlay_on_disk_are_those_of_a_scan() {
    property(Shown::Disk);
}

#[test]
fn changes_in_a_hidden_directory_are_those_of_a_scan() {
    property(Shown::Hidden);
}
