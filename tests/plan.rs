//! `stdbox plan`: what it shows is what `run` does, and it does nothing itself.
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
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use support::{Fresh, Run, probe, probe_job, root, run, run_with, skip, stdbox, with};

fn plan_with(job: &Value, options: &[&str]) -> Run {
    let options: Vec<&str> = [&["plan"], options].concat();
    run_with(job.to_string().as_bytes(), &options, |_| {})
}

#[track_caller]
fn plan(job: &Value) -> Value {
    let shown = plan_with(job, &[]);
    assert_eq!(shown.report["outcome"], "planned", "{shown}");
    assert_eq!(shown.status, Some(0));
    shown.report["plan"].clone()
}

fn job(fields: Value) -> Value {
    with(json!({"argv": ["/bin/true"], "cwd": "/"}), &fields)
}

/// Jobs that need different steps, with a directory of the host that belongs to the caller.
fn jobs(fresh: &Fresh) -> Vec<(&'static str, Value)> {
    let own = fresh.str();
    fs::create_dir_all(fresh.path().join("scratch")).unwrap();
    fs::create_dir_all(fresh.path().join("inner")).unwrap();
    fresh.file("file", "text");
    let scratch = format!("{own}/scratch");
    let probes = probe().parent().unwrap().to_str().unwrap().to_owned();
    vec![
        ("read-only", job(json!({"directories": {"/": "read-only"}}))),
        ("default", job(json!({}))),
        (
            "full-access",
            job(json!({"directories": {"/": "full-access", own: "overlay"}})),
        ),
        (
            "hidden",
            probe_job(
                &["exit", "0"],
                &json!({"directories": {"/": "hidden", probes: "read-only"}}),
            ),
        ),
        (
            "disk scratch",
            job(json!({"scratch": {"directory": scratch}})),
        ),
        (
            "mounts",
            job(json!({"directories": {"/": "read-only"}, "mounts": [
                {"type": "tmpfs", "target": "/mnt", "size_bytes": 1 << 20},
                {"type": "bind", "source": format!("{own}/inner"), "target": "/mnt/a"},
                {"type": "file", "target": "/mnt/b", "text": "b"},
                {"type": "symlink", "target": "/mnt/c", "to": "b"}]})),
        ),
        (
            "without init",
            job(json!({"init": false, "dev": "host", "sys": "fresh", "system_config": false})),
        ),
    ]
}

/// The calls that a step of a plan means, in the words of [`seen`].
fn calls_of(step: &Value) -> Vec<String> {
    let calls = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
    match step["do"].as_str().unwrap() {
        "new-fs" => {
            let mut all = vec![format!("fsopen {}", step["type"].as_str().unwrap())];
            for option in step["options"].as_array().unwrap() {
                all.push(format!("fsconfig {}", option[0].as_str().unwrap()));
            }
            all.extend(calls(&["fsconfig create", "fsmount"]) as Vec<String>);
            all
        }
        "overlay" => {
            let mut all: Vec<String> = calls(&[
                "fsopen overlay",
                "fsconfig lowerdir",
                "fsconfig upperdir",
                "fsconfig workdir",
            ]);
            for flag in ["userxattr", "volatile"] {
                if step[flag] == true {
                    all.push(format!("fsconfig {flag}"));
                }
            }
            all.extend(calls(&["fsconfig create", "fsmount"]) as Vec<String>);
            all
        }
        "clone" if step["recursive"] == true => calls(&["open_tree recursive"]),
        "clone" => calls(&["open_tree"]),
        "restrict" => calls(&["mount_setattr"]),
        "attach" => calls(&["move_mount"]),
        "detach" => calls(&["umount2"]),
        "pivot" => calls(&["pivot_root", "umount2"]),
        "chroot" => calls(&["chroot"]),
        "open" | "mkdir" | "mkfile" | "mkfifo" | "mksocket" | "symlink" | "write" | "copy" => {
            Vec::new()
        }
        other => panic!("there is no step {other}"),
    }
}

/// The steps that have something to work on: what is not there on this machine needs no protection.
fn present(steps: &[Value]) -> Vec<&Value> {
    let mut places = BTreeMap::new();
    let mut absent = BTreeSet::new();
    let mut present = Vec::new();
    for step in steps {
        let slot = step["slot"].as_u64();
        let path = |at: &Value| at["path"].as_str().unwrap_or("").to_owned();
        match step["do"].as_str().unwrap() {
            "open" => {
                places.insert(slot, path(&step["at"]));
            }
            "new-fs" if step["type"] == "proc" => {
                places.insert(slot, "/proc".to_owned());
            }
            "clone" if step["if_absent"] != "fail" => {
                let from = &step["source"];
                let top = places.get(&from["slot"].as_u64()).cloned();
                let place = format!("{}/{}", top.unwrap_or_default(), path(from));
                if fs::symlink_metadata(place).is_err() {
                    absent.insert(slot);
                }
            }
            _ => {}
        }
        let used = [slot, step["at"]["slot"].as_u64()];
        if !used
            .iter()
            .any(|slot| slot.is_some() && absent.contains(slot))
        {
            present.push(step);
        }
    }
    present
}

/// One line of strace(1) without its pid: the call, and the argument that tells it from others.
fn seen(line: &str) -> String {
    let (call, arguments) = line.split_once('(').unwrap();
    let quoted = arguments.split('"').nth(1).unwrap_or("");
    match call {
        "fsopen" => format!("fsopen {quoted}"),
        "fsconfig" if arguments.contains("FSCONFIG_CMD_CREATE") => "fsconfig create".to_owned(),
        "fsconfig" => format!("fsconfig {quoted}"),
        "open_tree" if arguments.contains("AT_RECURSIVE") => "open_tree recursive".to_owned(),
        other => other.to_owned(),
    }
}

/// A call without its string.
fn unnamed(call: &mut String) {
    if call.starts_with("fs") && !call.ends_with("create") {
        let name = call.split(' ').next().unwrap();
        *call = name.to_owned();
    }
}

/// The mount-related calls of the process that builds the container, in their order.
fn traced(job: &Value, trace: &Path) -> Vec<String> {
    let calls = "fsopen,fsconfig,fsmount,fspick,open_tree,mount_setattr,move_mount,pivot_root,umount2,mount,chroot";
    let mut child = Command::new("strace")
        .args([
            "-f",
            "-qq",
            "-e",
            &format!("trace={calls}"),
            "-e",
            "signal=none",
            "-o",
        ])
        .arg(trace)
        .arg(stdbox())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, job.to_string().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["outcome"], "exited", "{report}");
    let trace = fs::read_to_string(trace).unwrap();
    let lines: Vec<(&str, &str)> = trace
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(pid, call)| (pid, call.trim_start()))
        .collect();
    // Others only try what the kernel can do.
    let count = |pid: &str| lines.iter().filter(|(other, _)| *other == pid).count();
    let builder = lines
        .iter()
        .map(|(pid, _)| *pid)
        .max_by_key(|pid| count(pid))
        .unwrap();
    let own = lines.iter().filter(|(pid, _)| *pid == builder);
    own.map(|(_, call)| seen(call)).collect()
}

#[test]
fn run_makes_the_mount_calls_of_the_plan_in_their_order() {
    if Command::new("strace").arg("-V").output().is_err() {
        return skip("strace", "there is no strace to watch stdbox with");
    }
    // Made first: what lies beside the scratch directory is a part of the plan.
    let (fresh, other) = (Fresh::new(), Fresh::new());
    for (name, job) in jobs(&fresh) {
        let plan = plan(&job);
        let steps = plan["steps"].as_array().unwrap();
        let planned: Vec<String> = present(steps).into_iter().flat_map(calls_of).collect();
        assert!(planned.len() > 10, "{name}: {planned:?}");
        let mut traced = traced(&job, &other.path().join("trace"));
        let mut planned = planned;
        if !root() {
            // The memory of a process that cannot be dumped is no reading for strace either: it shows no strings.
            traced.iter_mut().chain(&mut planned).for_each(unnamed);
        }
        let same = traced
            .iter()
            .zip(&planned)
            .take_while(|(a, b)| a == b)
            .count();
        assert!(
            traced == planned,
            "{name}: after {same} calls {:?} instead of {:?}",
            &traced[same..],
            &planned[same..]
        );
    }
}

#[test]
fn plan_leaves_nothing_and_reads_no_more_than_it_says() {
    let fresh = Fresh::new();
    let all = jobs(&fresh);
    let before = fresh.snapshot();
    let mounts = fs::read("/proc/self/mountinfo").unwrap();
    for (name, job) in all {
        plan(&job);
        assert_eq!(fresh.snapshot(), before, "{name}");
    }
    assert_eq!(fs::read("/proc/self/mountinfo").unwrap(), mounts);
}

#[test]
fn plan_tells_what_the_target_gets() {
    let job = job(
        json!({"argv": ["sh", "-c", "true"], "cwd": "/usr", "hostname": "elsewhere",
        "env": {"inherit": false, "set": {"PATH": "/usr/bin:/bin", "A": "1"}},
        "limits": {"open_files": 20}, "directories": {"/": "read-only"}}),
    );
    let plan = plan(&job);
    assert_eq!(plan["cwd"], "/usr");
    assert_eq!(plan["hostname"], "elsewhere");
    assert_eq!(plan["argv"], json!(["sh", "-c", "true"]));
    assert_eq!(plan["executables"], json!(["/usr/bin/sh", "/bin/sh"]));
    assert_eq!(plan["environment"], json!(["A=1", "PATH=/usr/bin:/bin"]));
    assert!(
        plan["rlimits"]
            .as_array()
            .unwrap()
            .contains(&json!({"limit": "open_files", "value": 20}))
    );
    assert!(plan["filter_instructions"].as_u64().unwrap() > 50);
    let user = format!("1000 {} 1\n", nix::unistd::geteuid());
    assert_eq!(plan["id_maps"]["uid"], user);
    let all = ["user", "mount", "pid", "ipc", "uts", "network", "cgroup"];
    assert_eq!(plan["namespaces"], json!(all));
    let shared = with(job, &json!({"network": "host"}));
    let fewer: Vec<_> = all.into_iter().filter(|name| *name != "network").collect();
    assert_eq!(self::plan(&shared)["namespaces"], json!(fewer));
}

#[test]
fn facts_are_for_the_callers_eyes_also_in_a_file_that_was_there() {
    let fresh = Fresh::new();
    let facts = fresh.file("facts", "old");
    fs::set_permissions(&facts, fs::Permissions::from_mode(0o666)).unwrap();
    let (_, job) = jobs(&fresh).into_iter().next().unwrap();
    let seen = plan_with(&job, &["--facts", facts.to_str().unwrap()]);
    assert_eq!(seen.report["outcome"], "planned", "{seen}");
    let mode = fs::metadata(&facts).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(fs::read_to_string(&facts).unwrap().contains("\"caller\""));
}

#[test]
fn plan_of_written_facts_is_the_same_anywhere() {
    let fresh = Fresh::new();
    let facts = fresh.path().join("facts");
    let facts = facts.to_str().unwrap();
    for (name, job) in jobs(&fresh) {
        let here = plan_with(&job, &["--facts", facts]);
        assert_eq!(here.report["outcome"], "planned", "{name}: {here}");
        let mode = fs::metadata(facts).unwrap().permissions().mode();
        assert_eq!(
            mode & 0o777,
            0o600,
            "the environment is for the caller alone"
        );
        let text = job.to_string();
        let there = run_with(
            text.as_bytes(),
            &["plan", "--with-facts", facts],
            |command| {
                command.env_clear().current_dir("/");
            },
        );
        assert_eq!(there.report["outcome"], "planned", "{name}: {there}");
        assert_eq!(there.report["plan"], here.report["plan"], "{name}");
        assert_eq!(there.report["warnings"], here.report["warnings"], "{name}");
        assert_eq!(there.report["degraded"], here.report["degraded"], "{name}");
        // Nor is anything looked up there.
        let mut other: Value = serde_json::from_slice(&fs::read(facts).unwrap()).unwrap();
        other["caller"]["uid"] = json!(4321);
        fs::write(facts, other.to_string()).unwrap();
        let other = plan_with(&job, &["--with-facts", facts]);
        assert_eq!(
            other.report["plan"]["id_maps"]["uid"], "1000 4321 1\n",
            "{name}: {other}"
        );
        fs::remove_file(facts).unwrap();
    }
}

/// A second thread of init makes the tree where there may be a processor for it, unless a sysfs is mounted, which shows the network
/// of whoever mounts it.
#[test]
fn network_is_made_beside_the_tree_where_that_saves_time() {
    let fresh = Fresh::new();
    let facts = fresh.path().join("facts");
    let facts = facts.to_str().unwrap();
    let begin = |job: &Value, options: &[&str]| {
        let options: Vec<&str> = [&["plan", "--text"], options].concat();
        let shown = Command::new(stdbox())
            .args(options)
            .stdin(piped(&job.to_string()))
            .output()
            .unwrap();
        let text = String::from_utf8(shown.stdout).unwrap();
        text.lines().take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    let job = job(json!({"directories": {"/": "read-only"}}));
    let beside = [
        "clone3    user mount pid ipc uts cgroup",
        "unshare   network",
    ];
    let first = "clone3    user mount pid ipc uts network cgroup";
    assert_eq!(begin(&job, &["--facts", facts]), beside);
    let mut busy: Value = serde_json::from_slice(&fs::read(facts).unwrap()).unwrap();
    assert_eq!(busy.get("busy"), None);
    busy["busy"] = json!(true);
    fs::write(facts, busy.to_string()).unwrap();
    assert_eq!(begin(&job, &["--with-facts", facts])[0], first);
    assert_eq!(begin(&with(job, &json!({"sys": "fresh"})), &[])[0], first);
}

#[test]
fn facts_that_are_none_are_refused() {
    let fresh = Fresh::new();
    let file = fresh.path().join("facts");
    let name = file.to_str().unwrap();
    let job = job(json!({}));
    let seen = |text: &str| {
        fs::write(&file, text).unwrap();
        let seen = plan_with(&job, &["--with-facts", name]);
        assert_eq!(seen.status, Some(1), "{seen}");
        assert!(seen.report["plan"].is_null());
        seen
    };
    for (text, said) in [
        ("", "not one JSON value"),
        ("[]", "Expected"),
        (r#"{"caller": 1}"#, "/caller"),
        (r#"{"busy": "yes"}"#, "/busy"),
        (r#"{"colour": "red"}"#, "/colour"),
        (r#"{"paths": [["bin", {"is": "file"}]]}"#, "/paths/0/0"),
        (r#"{"paths": [["/bin", {"is": "river"}]]}"#, "/paths/0/1"),
        (
            r#"{"lists": [["/", {"is": "entries", "of": [{"name": 1}]}]]}"#,
            "/lists/0/1",
        ),
        (r#"{"kernel": "6.1", "kernel": "6.2"}"#, "twice"),
    ] {
        let seen = seen(text);
        seen.failed("facts-refused", "host");
        assert_eq!(seen.report["error"]["path"], name);
        let message = seen.report["error"]["message"].as_str().unwrap();
        assert!(message.contains(said), "{text}: {message}");
    }
    let little = seen("{}");
    little.failed("facts-missing", "host");
    assert!(
        little.report["error"]["hint"]
            .as_str()
            .unwrap()
            .contains("--facts")
    );
    let missing = plan_with(&job, &["--with-facts", "/no/such/file"]);
    missing.failed("facts-refused", "host");
    let unwritable = plan_with(&job, &["--facts", "/no/such/file"]);
    unwritable.failed("facts-refused", "host");
}

#[test]
fn plan_refuses_what_run_refuses() {
    let fresh = Fresh::new();
    fs::create_dir(fresh.path().join("below")).unwrap();
    for (fields, code) in [
        (
            json!({"directories": {"/no/such/place": "overlay"}}),
            "no-such-directory",
        ),
        (json!({"colour": "red"}), "unknown-field"),
        (
            json!({"dev": "minimal", "directories": {"/dev": "read-only"}}),
            "contradiction",
        ),
        (
            json!({"scratch": {"directory": "/no/such/place"}}),
            "no-such-directory",
        ),
        (json!({"root": "/no/such/place"}), "no-such-file"),
        (
            json!({"mounts": [{"type": "bind", "source": "/no/such/place", "target": "/mnt"}]}),
            "",
        ),
    ] {
        let job = job(fields);
        let (ran, planned) = (run(&job), plan_with(&job, &[]));
        let [ran_error, planned_error] = [&ran, &planned].map(|run| run.report["error"].clone());
        assert!(planned_error["code"].is_string(), "{job}: {planned}");
        if !code.is_empty() {
            assert_eq!(planned_error["code"], code, "{planned}");
        }
        assert_eq!(planned_error, ran_error, "{job}");
        assert_eq!(planned.status, ran.status, "{job}");
        assert_eq!(planned.report["outcome"], ran.report["outcome"], "{job}");
    }
    // What is degraded is told, and is an error where the job is strict.
    let hidden = fresh.path().join("below");
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o000)).unwrap();
    if root() {
        return;
    }
    let job = job(json!({"directories": {fresh.str(): "read-only"}, "strict": true}));
    assert_eq!(
        plan_with(&job, &[]).report["error"],
        run(&job).report["error"]
    );
}

#[test]
fn plan_for_people_has_a_line_for_each_step() {
    let job = job(json!({"directories": {"/": "read-only"}}));
    let steps = plan(&job)["steps"].as_array().unwrap().len();
    let shown = Command::new(stdbox())
        .args(["plan", "--text", "--spec", "/dev/stdin"])
        .stdin(piped(&job.to_string()))
        .output()
        .unwrap();
    let text = String::from_utf8(shown.stdout).unwrap();
    let words = [
        "open", "clone", "new-fs", "attach", "mkdir", "mkfile", "symlink", "write", "restrict",
        "detach", "pivot", "copy",
    ];
    let is_step = |line: &&str| words.contains(&line.split(' ').next().unwrap());
    assert_eq!(text.lines().filter(is_step).count(), steps, "{text}");
    assert!(
        text.starts_with("clone3    user mount pid ipc uts cgroup\nunshare   network\n"),
        "{text}"
    );
    assert!(text.contains("\nexec      /bin/true\n"), "{text}");
    let refused = Command::new(stdbox())
        .args(["plan", "--text"])
        .stdin(piped(r#"{"argv": []}"#))
        .output()
        .unwrap();
    let text = String::from_utf8(refused.stdout).unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        text.starts_with("empty: ") && text.contains("\nat: /argv\n"),
        "{text}"
    );
}

/// A descriptor from which this can be read.
fn piped(text: &str) -> std::process::Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut &writer, text.as_bytes()).unwrap();
    reader.into()
}

#[test]
fn options_of_plan_are_for_plan() {
    for (options, said) in [
        (&["run", "--text"] as &[&str], "--text is not for run"),
        (&["--facts", "x"], "--facts is for plan only"),
        (&["plan", "--propagate"], "--propagate is not for plan"),
        (&["plan", "--facts=a", "--with-facts=b"], "for another one"),
        (&["plan", "--text=yes"], "takes no value"),
        (&["plan", "--with-facts"], "needs a value"),
        (
            &["plan", "--spec", "a", "--spec-fd", "0"],
            "for the same thing",
        ),
    ] {
        let seen = run_with(b"", options, |_| {});
        assert_eq!(seen.status, Some(2), "{options:?}: {seen}");
        assert!(seen.complaint.contains(said), "{options:?}: {seen}");
        assert!(seen.report.is_null());
    }
}
