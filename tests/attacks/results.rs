//! `results`: traps for whoever takes files out of a container. Its processes are dead by then, but what they left is not
//! harmless, and neither is a results directory that they could write.

use crate::common::with;
use crate::support::outside::{alive, eventually, finish, marker, start};
use crate::support::{Fresh, Run, root, shell, skip};
use serde_json::{Value, json};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn take(script: &str, out: &Path, fields: &Value) -> Run {
    let job = with(
        json!({ "cwd": "/tmp", "results": { "directory": out }, "changes": true }),
        fields,
    );
    shell(script, job)
}

fn files(seen: &Run) -> Vec<&Value> {
    let list = seen.report["results"]["files"].as_array();
    list.unwrap_or_else(|| panic!("no results\n{seen}"))
        .iter()
        .map(|file| &file["path"])
        .collect()
}

fn reasons(seen: &Run) -> Vec<&str> {
    let list = seen.report["results"]["skipped"].as_array().unwrap();
    list.iter()
        .map(|entry| entry["reason"].as_str().unwrap())
        .collect()
}

/// Everything below a directory that is not a directory.
fn leaves(top: &Path) -> Vec<PathBuf> {
    let (mut all, mut pending) = (Vec::new(), vec![top.to_owned()]);
    while let Some(at) = pending.pop() {
        for entry in std::fs::read_dir(at).unwrap().flatten() {
            let kind = entry.file_type().unwrap();
            assert!(
                !kind.is_symlink() && !kind.is_fifo() && !kind.is_socket(),
                "{:?}",
                entry.path()
            );
            if kind.is_dir() {
                pending.push(entry.path());
            } else {
                all.push(entry.path().strip_prefix(top).unwrap().to_owned());
            }
        }
    }
    all.sort();
    all
}

/// A mount namespace lives as long as somebody has a descriptor of it, to whom the target has passed it on, or who watches from
/// outside; with it stay the container's mounts over what the job wrote.
///
/// Shows that nothing is read, and no mode changed, through a mount that is still there: mount_namespaces(7), "RESOLVE_NO_XDEV" of
/// openat2(2).
#[test]
fn results_do_not_come_from_mounts_that_are_still_there() {
    for init in [true, false] {
        let fresh = Fresh::new();
        fresh.file("shown/file", "of the host");
        let closed = fresh.path().join("written/closed");
        fresh.file("written/file", "of the host");
        std::fs::create_dir(&closed).unwrap();
        std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o300)).unwrap();
        let at = |name: &str| fresh.path().join(name);
        let word = marker("mounts");
        let script = format!(
            ": {word}; echo own > /memory/own; while [ ! -e /memory/written/go ]; do sleep 0.01; done"
        );
        let job = json!({
            "argv": ["/bin/sh", "-c", script], "cwd": "/", "init": init, "changes": true,
            "mounts": [
                {"type": "tmpfs", "target": "/memory"},
                {"type": "bind", "source": at("shown"), "target": "/memory/shown"},
                {"type": "bind", "source": at("shown/file"), "target": "/memory/one"},
                {"type": "bind", "source": at("written"), "target": "/memory/written", "read_only": false},
            ],
            "results": {"directory": at("out"), "patterns": ["/memory/**"]},
        });
        let child = start(&job);
        eventually("the target runs", || !alive(&word).is_empty());
        let held = alive(&word)
            .into_iter()
            .map(|pid| std::fs::File::open(format!("/proc/{pid}/ns/mnt")).unwrap());
        let held: Vec<_> = held.collect();
        fresh.file("written/go", "");
        let seen = finish(child);
        drop(held);
        seen.exited(0);
        assert_eq!(files(&seen), ["memory/own"], "{seen}");
        assert_eq!(leaves(&at("out")), [PathBuf::from("memory/own")]);
        let changes = seen.report["changes"].as_array().unwrap();
        let below = |name: &str| {
            let inside = format!("/memory/{name}/");
            let path = |change: &Value| change["path"].as_str().unwrap().starts_with(&inside);
            changes.iter().any(path)
        };
        assert!(!below("shown") && !below("written"), "{seen}");
        let mode = std::fs::metadata(&closed).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o300, "init {init}");
    }
}

/// Shows that links are not followed out of the scratch space, neither as files nor as directories on the way. In place of
/// containers/image CVE-2019-18466 ("podman cp") and of containerexec, which moves what a planted link shows on the host.
#[test]
fn results_planted_links_lead_nowhere() {
    for scratch in [json!({}), json!({ "directory": "/var/tmp" })] {
        let fresh = Fresh::new();
        let secret = fresh.file("secret/file", "secret");
        let out = fresh.path().join("out");
        let script = format!(
            "ln -s {0} file; ln -s {0}/.. directory; ln -s / root; mkdir d; echo 1 > d/x; mv d e; ln -s {0}/.. d; ln -s /proc/self/fd fds; ln -s ../../../../../../etc/passwd up; echo ok > ok",
            secret.display()
        );
        for patterns in [
            json!(["."]),
            json!([
                "*",
                "directory/*",
                "root/etc/*",
                "d/**",
                "fds/*",
                "root/**/file"
            ]),
        ] {
            let fields = json!({ "scratch": scratch, "results": { "directory": out, "patterns": patterns } });
            let seen = take(&script, &out, &fields);
            assert_eq!(files(seen.exited(0)), ["e/x", "ok"], "{seen}");
            assert_eq!(leaves(&out), [Path::new("e/x"), Path::new("ok")], "{seen}");
            assert_eq!(reasons(&seen), ["not-a-file"; 6], "{seen}");
        }
        assert_eq!(std::fs::read_to_string(&secret).unwrap(), "secret");
    }
}

/// Shows that a job that can write the results directory cannot make stdbox write anywhere else by links that it plants there,
/// or through a second name of a file.
#[test]
fn results_planted_links_in_the_output_are_not_followed() {
    let fresh = Fresh::new();
    let victim = fresh.file("victim/file", "untouched");
    let out = fresh.path().join("open/out");
    std::fs::create_dir_all(&out).unwrap();
    let open = fresh.path().join("open");
    let script = format!(
        "cd {out}; ln -s {victim}/file file; ln -s {victim} directory; ln -s {victim} deep; ln {victim}/file hard 2>/dev/null
         ln -s nowhere dangling; mkfifo pipe; mkdir -p /tmp/directory /tmp/deep/er
         for f in file directory/file deep/er/file hard dangling pipe; do echo job > /tmp/$f; done",
        out = out.display(),
        victim = victim.parent().unwrap().display(),
    );
    let directories = json!({ open.to_str().unwrap(): "full-access", "/var/tmp": "overlay" });
    let seen = take(&script, &out, &json!({ "directories": directories }));
    let names = [
        "dangling",
        "deep/er/file",
        "directory/file",
        "file",
        "hard",
        "pipe",
    ];
    assert_eq!(files(seen.exited(0)), names, "{seen}");
    assert_eq!(leaves(&out), names.map(PathBuf::from), "{seen}");
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "untouched");
    assert_eq!(leaves(&fresh.path().join("victim")), [Path::new("file")]);
    assert!(!out.join("nowhere").exists());
}

/// Shows that a results directory that the job swaps for a link still is the one that was opened before it began.
#[test]
fn results_output_that_is_swapped_stays_the_one_that_was_opened() {
    let fresh = Fresh::new();
    let out = fresh.path().join("open/out");
    std::fs::create_dir_all(&out).unwrap();
    std::fs::create_dir(fresh.path().join("victim")).unwrap();
    let open = fresh.path().join("open");
    let script = format!(
        "echo job > x; mv {0}/out {0}/moved && ln -s {1} {0}/out",
        open.display(),
        fresh.path().join("victim").display()
    );
    let seen = take(
        &script,
        &out,
        &json!({ "directories": { open.to_str().unwrap(): "full-access" } }),
    );
    assert_eq!(files(seen.exited(0)), ["x"], "{seen}");
    assert_eq!(leaves(&fresh.path().join("victim")), Vec::<PathBuf>::new());
    assert_eq!(leaves(&open.join("moved")), [Path::new("x")]);
    // The next run does not follow what this one left.
    let seen = take("echo job > x", &out, &json!({}));
    seen.failed("is-symlink", "validate");
    assert_eq!(leaves(&fresh.path().join("victim")), Vec::<PathBuf>::new());
}

/// Shows that a job that removes the results directory gets no other one written, and that the report is still there.
#[test]
fn results_output_that_is_removed_is_told() {
    let fresh = Fresh::new();
    let open = fresh.path().join("open");
    let out = open.join("out");
    std::fs::create_dir_all(&out).unwrap();
    let script = format!("echo job > x; rmdir {}", out.display());
    let seen = take(
        &script,
        &out,
        &json!({ "directories": { open.to_str().unwrap(): "full-access" } }),
    );
    assert_eq!(files(seen.exited(0)), Vec::<&Value>::new(), "{seen}");
    assert!(seen.degraded().contains(&"results-incomplete"), "{seen}");
    assert_eq!(leaves(&open), Vec::<PathBuf>::new());
}

/// Shows that closed files and directories, at any depth, are delivered as they are but for the bits of directories.
#[test]
fn results_that_the_job_closed_arrive() {
    for scratch in [json!({}), json!({ "directory": "/var/tmp" })] {
        let fresh = Fresh::new();
        let out = fresh.path().join("out");
        let script = "mkdir -p a/b/c r; echo 1 > a/b/c/f; echo 2 > a/f; echo 3 > r/f; chmod 000 a/b/c/f a/b/c a/b a/f a; chmod 444 r";
        let seen = take(script, &out, &json!({ "scratch": scratch }));
        assert_eq!(files(seen.exited(0)), ["a/b/c/f", "a/f", "r/f"], "{seen}");
        let bits = std::fs::metadata(out.join("a/b/c/f"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(bits & 0o7777, 0, "{seen}");
        assert_eq!(reasons(&seen), Vec::<&str>::new());
    }
}

/// Shows that strange names arrive as they are, and are not patterns.
#[test]
fn results_of_strange_names_arrive_as_they_are() {
    let fresh = Fresh::new();
    let out = fresh.path().join("out");
    let long = "n".repeat(255);
    let script = format!(
        "n=$(printf 'new\\nline'); echo 1 > \"$n\"; n=$(printf '\\377\\376'); echo 2 > \"$n\"; echo 3 > '*'; echo 4 > '[a]'; echo 5 > {long}; echo 6 > ' '; echo 7 > '-rf'; mkdir '**'; echo 8 > '**/..x'; echo 9 > '\\'"
    );
    let seen = take(&script, &out, &json!({}));
    let wanted = [
        json!(" "),
        json!("**/..x"),
        json!("*"),
        json!("-rf"),
        json!("[a]"),
        json!("\\"),
        json!("new\nline"),
        json!(long),
        json!({ "base64": "//4=" }),
    ];
    let mut found = files(seen.exited(0));
    let key = |value: &&Value| value.to_string();
    found.sort_by_key(key);
    let mut wanted: Vec<&Value> = wanted.iter().collect();
    wanted.sort_by_key(key);
    assert_eq!(found, wanted, "{seen}");
    assert_eq!(leaves(&out).len(), wanted.len());
    let seen = take(
        "mkdir 'd*' dx; echo 1 > 'd*/f'; echo 2 > dx/f",
        &fresh.path().join("two"),
        &json!({ "cwd": "/tmp", "results": { "directory": fresh.path().join("two"), "patterns": ["d[*]/f"] } }),
    );
    assert_eq!(files(seen.exited(0)), ["d*/f"], "{seen}");
}

/// Shows that hard links arrive as files that have nothing to do with each other, and that a hard link to a file of the host
/// that the job cannot write does not give it away.
#[test]
fn results_hard_links_are_files_of_their_own() {
    for scratch in [json!({}), json!({ "directory": "/var/tmp" })] {
        let fresh = Fresh::new();
        let out = fresh.path().join("out");
        let seen = take(
            "echo 1 > a; ln a b; mkdir d; ln a d/c",
            &out,
            &json!({ "scratch": scratch }),
        );
        assert_eq!(files(seen.exited(0)), ["a", "b", "d/c"], "{seen}");
        std::fs::write(out.join("a"), "changed").unwrap();
        assert_eq!(std::fs::read_to_string(out.join("b")).unwrap(), "1\n");
        assert_eq!(std::fs::read_to_string(out.join("d/c")).unwrap(), "1\n");
    }
}

/// Shows that a huge file of holes takes neither time nor space, and keeps what is in it.
#[test]
fn results_sparse_files_stay_sparse() {
    use std::os::unix::fs::{FileExt, MetadataExt};
    for scratch in [json!({}), json!({ "directory": "/var/tmp" })] {
        let fresh = Fresh::new();
        let out = fresh.path().join("out");
        let script = "truncate -s 1T s; printf begin | dd of=s conv=notrunc 2>/dev/null; printf middle | dd of=s bs=1M seek=500000 conv=notrunc 2>/dev/null; ln s t";
        let begun = Instant::now();
        let seen = take(script, &out, &json!({ "scratch": scratch }));
        assert_eq!(files(seen.exited(0)), ["s", "t"], "{seen}");
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{:?}",
            begun.elapsed()
        );
        let file = std::fs::File::open(out.join("t")).unwrap();
        let found = file.metadata().unwrap();
        assert_eq!(found.len(), 1 << 40);
        assert!(found.blocks() * 512 < 1 << 20, "{} blocks", found.blocks());
        let mut middle = [0; 6];
        file.read_exact_at(&mut middle, 500_000 << 20).unwrap();
        assert_eq!(&middle, b"middle");
    }
}

/// Shows that pipes, sockets and devices neither hold stdbox up nor arrive.
#[test]
fn results_special_files_are_passed_over() {
    for scratch in [json!({}), json!({ "directory": "/var/tmp" })] {
        let fresh = Fresh::new();
        let out = fresh.path().join("out");
        let begun = Instant::now();
        let seen = take(
            "mkfifo pipe; mknod w c 0 0 2>/dev/null; mknod z c 1 5 2>/dev/null; mkfifo -m 000 closed; echo 1 > f",
            &out,
            &json!({ "scratch": scratch }),
        );
        assert_eq!(files(seen.exited(0)), ["f"], "{seen}");
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert!(
            reasons(&seen).iter().all(|reason| *reason == "not-a-file"),
            "{seen}"
        );
        assert_eq!(leaves(&out), [Path::new("f")]);
    }
}

/// Shows that a tree deeper than any path is delivered as far as it can be named, and listed no further, without use of the
/// stack or of descriptors.
#[test]
fn results_of_a_very_deep_tree_end_where_paths_end() {
    if !Path::new("/usr/bin/python3").exists() {
        return skip("python3", "it makes the tree");
    }
    for scratch in [json!({}), json!({ "directory": "/var/tmp" })] {
        let fresh = Fresh::new();
        let out = fresh.path().join("out");
        let script = "python3 -c '
import os
for i in range(20000):
    open(\"f\", \"w\").close()
    os.mkdir(\"d\")
    os.chdir(\"d\")
'";
        let fields = json!({ "scratch": scratch, "limits": { "open_files": 64 } });
        let seen = take(script, &out, &fields);
        let taken = files(seen.exited(0)).len();
        assert!((1900..2048).contains(&taken), "{taken}");
        assert_eq!(reasons(&seen), ["too-deep"], "{taken}");
        assert!(seen.degraded().contains(&"changes-limited"));
        let deepest = files(&seen)
            .iter()
            .map(|path| path.as_str().unwrap().len())
            .max()
            .unwrap();
        assert!(
            out.join("d/".repeat(deepest / 2) + "f").exists(),
            "its path can be named"
        );
    }
}

/// Shows that a great number of entries is no more than that.
#[test]
fn results_of_many_entries_are_all_there() {
    let fresh = Fresh::new();
    let out = fresh.path().join("out");
    let script = "i=0; while [ $i -lt 3000 ]; do : > f$i; ln -s x l$i; mkdir d$i; i=$((i+1)); done";
    let seen = take(script, &out, &json!({}));
    assert_eq!(
        (files(seen.exited(0)).len(), reasons(&seen).len()),
        (3000, 3000)
    );
    assert_eq!(seen.report["changes"].as_array().unwrap().len(), 9000);
    assert_eq!(
        leaves(&out).len(),
        3000,
        "directories without files are not made"
    );
}

/// Shows that nothing is alive that could change a file while it is taken: a child that left every session and ignores every
/// signal goes on writing until the end, and the file arrives as it is reported.
#[test]
fn results_are_taken_when_everything_is_dead() {
    let fresh = Fresh::new();
    let out = fresh.path().join("out");
    let script = "(trap '' TERM HUP INT; exec setsid sh -c 'while :; do echo more >> grows; done') & while [ ! -s grows ]; do :; done";
    for _ in 0..5 {
        let seen = take(script, &out, &json!({}));
        let said = seen.exited(0).report["results"]["files"][0]["bytes"]
            .as_u64()
            .unwrap();
        let found = std::fs::metadata(out.join("grows")).unwrap().len();
        let listed = seen.report["changes"].as_array().unwrap();
        let listed = listed
            .iter()
            .find(|change| change["path"] == "/tmp/grows")
            .unwrap();
        assert_eq!(
            (said, listed["bytes"].as_u64()),
            (found, Some(found)),
            "{seen}"
        );
    }
}

/// Shows that a job cannot have its results put among the writes of another job, whose scratch space lies below the results
/// directory.
#[test]
fn results_into_a_scratch_directory_are_refused() {
    let fresh = Fresh::new();
    let fields = json!({ "scratch": { "directory": fresh.str() } });
    take("true", fresh.path(), &fields).failed("contradiction", "validate");
    take("true", fresh.path().parent().unwrap(), &fields).failed("contradiction", "validate");
}

/// Shows that what the job attaches to a file on the disk does not come along, and that a process outside that still has it
/// open for writing does not have the file that is delivered.
#[test]
fn results_from_disk_leave_attributes_behind() {
    if !Path::new("/usr/bin/python3").exists() {
        return skip("python3", "it sets the attribute");
    }
    let fresh = Fresh::new();
    let out = fresh.path().join("out");
    let script = "echo 1 > f; python3 -c 'import os; os.setxattr(\"f\", \"user.mark\", b\"x\"); os.getxattr(\"f\", \"user.mark\")'";
    let seen = take(
        script,
        &out,
        &json!({ "scratch": { "directory": fresh.str() } }),
    );
    if seen.report["exit_code"] != 0 {
        return skip("xattr", "the disk has no user attributes");
    }
    assert_eq!(files(&seen), ["f"], "{seen}");
    let left = std::process::Command::new("python3")
        .args(["-c", "import os, sys; print(os.listxattr(sys.argv[1]))"])
        .arg(out.join("f"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "[]\n");
}

/// Shows that stdbox that is killed while it takes files out leaves whole files only, under their own names.
#[test]
fn results_that_are_cut_off_leave_no_parts() {
    let fresh = Fresh::new();
    for delay in [1, 5, 10, 20, 40] {
        let out = fresh.path().join(delay.to_string());
        let script = "i=0; while [ $i -lt 400 ]; do head -c 100000 /dev/zero > f$i; i=$((i+1)); done; echo > /var/tmp/mark";
        let job = json!({
            "argv": ["/bin/sh", "-c", script.replace("/var/tmp/mark", &format!("{}/mark", fresh.str()))], "cwd": "/tmp",
            "directories": { fresh.str(): "full-access" }, "results": { "directory": out },
        });
        let _old = std::fs::remove_file(fresh.path().join("mark"));
        let mut child = crate::support::start(&job);
        while !fresh.path().join("mark").exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        for name in leaves(&out) {
            assert!(name.to_str().unwrap().starts_with('f'), "{name:?}");
            assert_eq!(
                std::fs::metadata(out.join(&name)).unwrap().len(),
                100_000,
                "{name:?}"
            );
        }
    }
}

/// Shows that a directory of another owner in the output is reported, not fought.
#[test]
fn results_that_the_output_does_not_take_are_listed() {
    if root() {
        return skip("user", "root may write everywhere");
    }
    let fresh = Fresh::new();
    let out = fresh.path().join("out");
    std::fs::create_dir_all(out.join("closed")).unwrap();
    std::fs::set_permissions(out.join("closed"), PermissionsExt::from_mode(0o555)).unwrap();
    symlink("closed", fresh.path().join("link")).unwrap();
    let seen = take(
        "mkdir -p closed/d; echo 1 > closed/x; echo 2 > closed/d/y; echo 3 > z",
        &out,
        &json!({}),
    );
    assert_eq!(files(seen.exited(0)), ["z"], "{seen}");
    assert_eq!(reasons(&seen), ["refused", "refused"], "{seen}");
}

/// Shows that nobody goes on taking files out when stdbox is killed, in the job's own user namespace neither.
#[test]
fn results_end_with_stdbox() {
    const FILES: usize = 20_000;
    let one = json!({});
    let many = json!({ "user": { "map": "range" } });
    for fields in [one, many] {
        if fields["user"]["map"] == "range" && !crate::support::many_ids() {
            skip("subids", "this user has no subordinate ids");
            continue;
        }
        let fresh = Fresh::new();
        let out = fresh.path().join("out");
        let script = format!("seq {FILES} | xargs touch");
        let mut job = json!({ "argv": ["/bin/sh", "-c", script], "cwd": "/tmp", "results": { "directory": out } });
        for (key, value) in fields.as_object().unwrap() {
            job[key] = value.clone();
        }
        let mut child = crate::support::start(&job);
        let begun = std::time::Instant::now();
        while !out.exists() || leaves(&out).is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(30), "nothing arrives");
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        std::thread::sleep(Duration::from_millis(100));
        let there = leaves(&out).len();
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(leaves(&out).len(), there, "somebody goes on: {fields}");
        assert!(there < FILES, "it came too late to tell: {fields}");
    }
}

/// Shows that a file which the job has passed on to somebody outside, open for writing, is not given away: it would change when it
/// is the caller's.
#[test]
fn results_do_not_change_afterwards() {
    if !Path::new("/usr/bin/python3").exists() {
        return skip("python3", "it passes a descriptor on");
    }
    let fresh = Fresh::new();
    let out = fresh.path().join("out");
    let script = r#"
import json, os, socket, subprocess, sys
here, there = socket.socketpair()
inside = "import os, socket; f = os.open('f', os.O_RDWR | os.O_CREAT, 0o600); os.write(f, b'good'); socket.send_fds(socket.socket(fileno=%d), [b'x'], [f])"
number = there.fileno()
job = {"argv": ["python3", "-c", inside % number], "cwd": "/tmp", "fds": [number], "scratch": {"directory": sys.argv[2]}, "results": {"directory": sys.argv[3]}}
report = subprocess.run([sys.argv[1]], input=json.dumps(job).encode(), stdout=subprocess.PIPE, pass_fds=[number]).stdout
_, (passed, *_), _, _ = socket.recv_fds(here, 8, 1)
os.pwrite(passed, b"evil", 0)
print(report.decode() + open(sys.argv[3] + "/f").read())
"#;
    let seen = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(crate::support::stdbox())
        .arg(fresh.path())
        .arg(&out)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&seen.stdout);
    assert!(
        said.ends_with("\ngood\n"),
        "{said}{}",
        String::from_utf8_lossy(&seen.stderr)
    );
}
