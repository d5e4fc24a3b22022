//! What a job, or its caller's limits, can use up: it is missed inside only, or told as a typed error, and the report comes.

use crate::common::{probe_job, with};
use crate::support::outside::{children, eventually, finish, pid_of, start};
use crate::support::{
    Fresh, Run, in_namespace, probe, root, run, run_in_namespace, run_with, shell, skip,
};
use nix::libc;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::process::CommandExt;

// ---- the scratch space

/// Bytes of the tmpfs: ENOSPC in write(2), `size` in tmpfs(5).
#[test]
fn exhaustion_of_scratch_memory_gives_enospc_inside_and_a_report() {
    for place in ["/tmp/x", "/var/x", "/dev/shm/x", "/run/x", "/home/user/x"] {
        let script = format!(
            "head -c 9000000 /dev/zero > {place} || echo status $?; head -c 100000 /dev/zero > {place} && echo fits"
        );
        let run = shell(&script, json!({"scratch": {"size_bytes": 4 << 20}}));
        assert_eq!(run.exited(0).stdout(), "status 1\nfits\n", "{place}: {run}");
        assert!(
            run.stderr().contains("No space left on device"),
            "{place}: {run}"
        );
        let used = run.report["usage"]["scratch_bytes"].as_u64().unwrap();
        assert!((100_000..4 << 20).contains(&used), "{place}: {run}");
    }
}

/// A tmpfs of the container with a size of its own, or none, would be a way around the bound: the target writes wherever it
/// may, in every mount that it sees, as long as it can.
#[test]
fn exhaustion_of_memory_finds_no_mount_without_the_bound() {
    let script = "\
        while read -r source at rest; do
            for place in $at $at/*/; do
                case $place in /proc*|/sys*) continue;; esac
                [ -d \"$place\" ] && ( head -c 9000000 /dev/zero > $place/.exhausted ) 2>/dev/null && echo $place
                rm -f $place/.exhausted 2>/dev/null
            done
        done < /proc/self/mounts; exit 0";
    for fields in [
        json!({}),
        json!({"user": {"uid": 0, "gid": 0}}),
        json!({"init": false, "directories": {"/": "read-only"}}),
    ] {
        let fields = with(fields, &json!({"scratch": {"size_bytes": 4 << 20}}));
        let seen = shell(script, fields.clone());
        assert_eq!(seen.exited(0).stdout(), "", "{fields}: {seen}");
        let used = seen.report["usage"]["scratch_bytes"].as_u64().unwrap();
        assert!(fields["init"] == false || used <= 4 << 20, "{seen}");
    }
}

/// Inodes of the tmpfs: `nr_inodes` in tmpfs(5). Directories, links and sockets count as files do.
#[test]
fn exhaustion_of_scratch_inodes_gives_enospc_inside_and_a_report() {
    for make in [": > $i", "mkdir $i", "ln -s x $i", "mkfifo $i"] {
        let script = format!(
            "cd /tmp; for i in $(seq 1000); do ( {make} ) 2>/dev/null || break; done; ls | wc -l; mkdir full"
        );
        let run = shell(&script, json!({"scratch": {"inodes": 600}}));
        let made: u32 = run.exited(1).stdout().trim().parse().unwrap();
        assert!((100..600).contains(&made), "{make}: {run}");
        assert!(run.stderr().contains("No space left"), "{make}: {run}");
    }
}

/// Too little for the tree itself, in bytes or inodes: the target never runs.
#[test]
fn exhaustion_of_scratch_memory_by_the_tree_is_a_typed_error() {
    let run = shell("true", json!({"scratch": {"size_bytes": 4096}}));
    run.failed("scratch-refused", "mounts");
    assert_eq!(run.report["error"]["at"], "/scratch", "{run}");
    assert!(
        run.report["error"]["hint"]
            .as_str()
            .unwrap()
            .contains("size_bytes"),
        "{run}"
    );
    // As many as a read-only root needs; a split overlay may need more.
    let run = run_in_namespace(
        "mount -t tmpfs none /mnt; mkdir /mnt/m; for i in $(seq 99); do mkdir /mnt/$i; done; mount -t tmpfs none /mnt/m; exec \"$STDBOX\"",
        &json!({"argv": ["true"], "cwd": "/", "scratch": {"inodes": 64}}),
    );
    run.failed("scratch-refused", "mounts");
}

/// A directory of a hundred thousand entries, in memory and on disk: nothing of it is left, and nothing waits for it long.
#[test]
fn exhaustion_by_a_hundred_thousand_files_leaves_nothing() {
    let script = "mkdir /tmp/d && cd /tmp/d && seq 100000 | xargs touch && ls -f | wc -l";
    shell(script, json!({})).exited(0);
    let scene = Fresh::new();
    let seen = shell(script, json!({"scratch": {"directory": scene.str()}}));
    assert_eq!(seen.exited(0).stdout().trim(), "100002", "{seen}");
    assert_eq!(fs::read_dir(scene.path()).unwrap().count(), 0, "{seen}");
}

/// Directories that no path can name, since it would be longer than PATH_MAX: path_resolution(7). They are removed all the
/// same.
#[test]
fn exhaustion_of_path_lengths_leaves_nothing() {
    let script = "\
        import os
        name = 'x' * 255
        for i in range(400):
            os.mkdir(name)
            os.chdir(name)
        open('file', 'w').close()
        print('made')";
    let python = ["/usr/bin/python3", "/usr/local/bin/python3"]
        .into_iter()
        .find(|path| fs::exists(path).unwrap());
    let Some(python) = python else {
        return skip("python3", "no python3");
    };
    let script: String = script
        .lines()
        .map(|line| format!("{}\n", line.strip_prefix("        ").unwrap_or(line)))
        .collect();
    let scene = Fresh::new();
    for scratch in [json!({}), json!({"scratch": {"directory": scene.str()}})] {
        let job = json!({"argv": [python, "-c", script], "cwd": "/tmp"});
        let seen = run(&with(job, &scratch));
        assert_eq!(seen.exited(0).stdout(), "made\n", "{seen}");
    }
    assert_eq!(fs::read_dir(scene.path()).unwrap().count(), 0);
}

// ---- the caller's limits

/// Runs a job under a limit of the caller's.
fn limited(resource: libc::c_int, value: u64, job: &Value) -> Run {
    run_with(job.to_string().as_bytes(), &[], |command| {
        // SAFETY: setrlimit may be called between fork and exec.
        unsafe {
            command.pre_exec(move || {
                let limit = libc::rlimit {
                    rlim_cur: value,
                    rlim_max: value,
                };
                libc::setrlimit(resource, &raw const limit);
                Ok(())
            })
        };
    })
}

/// The target has run, or there is a typed error, or a sentence why not even that could be written.
#[track_caller]
fn ran_or_told(seen: &Run, what: &str) -> bool {
    let error = &seen.report["error"];
    match seen.status {
        Some(0) => {
            assert_eq!(seen.report["outcome"], "exited", "{what}: {seen}");
            true
        }
        Some(1 | 2) => {
            let told = error["code"].is_string() && error["message"].is_string();
            assert!(told && seen.complaint.is_empty(), "{what}: {seen}");
            false
        }
        Some(3) => {
            assert!(seen.complaint.starts_with("stdbox: "), "{what}: {seen}");
            false
        }
        _ => panic!("{what}: {seen}"),
    }
}

/// RLIMIT_NOFILE in getrlimit(2): each descriptor of set-up is in turn the one that is too many.
#[test]
fn exhaustion_of_the_callers_descriptors_is_a_typed_error() {
    let mut ran = 0;
    for job in [
        json!({"argv": ["true"], "cwd": "/"}),
        json!({"argv": ["true"], "cwd": "/", "init": false, "directories": {"/": "read-only"}, "stdin": {"text": "x"}}),
    ] {
        for value in (0..40).chain([64, 128]) {
            let seen = limited(libc::RLIMIT_NOFILE as libc::c_int, value, &job);
            ran += u32::from(ran_or_told(&seen, &format!("{value} descriptors")));
        }
    }
    assert!(ran > 0, "none of these limits was enough");
}

/// RLIMIT_NPROC in getrlimit(2): neither init nor the target can be made. Root is not bound by it.
#[test]
fn exhaustion_of_the_callers_processes_is_a_typed_error() {
    for init in [true, false] {
        let job = json!({"argv": ["true"], "cwd": "/", "init": init});
        let seen = limited(libc::RLIMIT_NPROC as libc::c_int, 0, &job);
        assert_eq!(ran_or_told(&seen, "no process"), root(), "{seen}");
        if !root() {
            assert_eq!(seen.report["error"]["operation"], "clone3", "{seen}");
            assert_eq!(seen.report["error"]["errno_name"], "EAGAIN", "{seen}");
        }
    }
}

/// The others of getrlimit(2): SIGXFSZ must not end set-up silently, pending signals and queues must not be needed.
#[test]
fn exhaustion_of_the_callers_other_limits_is_a_typed_error() {
    for (name, resource, values) in [
        ("file size", libc::RLIMIT_FSIZE, [0, 1, 100]),
        ("pending signals", libc::RLIMIT_SIGPENDING, [0, 1, 2]),
        ("message queues", libc::RLIMIT_MSGQUEUE, [0, 1, 4096]),
        ("locked memory", libc::RLIMIT_MEMLOCK, [0, 1, 4096]),
        ("stack", libc::RLIMIT_STACK, [128 << 10, 256 << 10, 1 << 20]),
        ("memory", libc::RLIMIT_AS, [4 << 20, 8 << 20, 64 << 20]),
    ] {
        for value in values {
            let job = probe_job(&["status"], &json!({}));
            let seen = limited(resource as libc::c_int, value, &job);
            let ran = ran_or_told(&seen, &format!("{name}: {value}"));
            assert!(ran || name == "file size", "{name}: {value}: {seen}");
        }
    }
}

/// Each kind of namespace can be used up by the other processes of the user: namespaces(7), /proc/sys/user. Only in a user
/// namespace may the bound be lowered without changing the machine. Only of control groups stdbox can do without a namespace
/// of its own.
#[test]
fn exhaustion_of_namespaces_is_a_typed_error() {
    for (kind, call) in [
        ("user", "clone3"),
        ("mnt", "clone3"),
        ("pid", "clone3"),
        ("ipc", "clone3"),
        ("uts", "clone3"),
        ("net", "unshare"),
    ] {
        let script = format!("echo 0 > /proc/sys/user/max_{kind}_namespaces; exec \"$STDBOX\"");
        let script = if root() {
            format!("exec unshare -Ur sh -c '{script}'")
        } else {
            script
        };
        let (output, complaint, status) =
            in_namespace(&script, "{\"argv\":[\"true\"],\"cwd\":\"/\"}");
        let seen = Run {
            report: serde_json::from_str(&output).unwrap_or(Value::Null),
            status,
            complaint,
        };
        assert!(!ran_or_told(&seen, kind), "{kind}: {seen}");
        assert_eq!(seen.report["error"]["operation"], call, "{kind}: {seen}");
        let hint = seen.report["error"]["hint"].as_str().unwrap();
        assert!(hint.contains("namespaces"), "{kind}: {seen}");
    }
}

/// RLIMIT_NPROC in getrlimit(2) counts threads too. stdbox, init and the target are three; the thread that builds the tree is gone
/// before the target comes. A shell is the fourth.
#[test]
fn exhaustion_of_processes_is_not_brought_about_by_a_thread() {
    if root() {
        return skip("user", "root has no such limit");
    }
    let scene = Fresh::new();
    let job = scene.file("job.json", "{\"argv\":[\"true\"],\"cwd\":\"/\"}");
    let outcomes = |most: u32, times: u32| {
        let runs = format!(
            "for run in $(seq {times}); do \"$STDBOX\" --spec {0}; done",
            job.display()
        );
        let script = format!("exec prlimit --nproc={most} sh -c '{runs}'");
        let (output, complaint, _) = in_namespace(&script, "");
        let reports = serde_json::Deserializer::from_str(&output).into_iter::<Value>();
        let seen: Vec<Value> = reports
            .map(|report| report.unwrap()["outcome"].take())
            .collect();
        assert_eq!(seen.len(), times as usize, "{complaint}");
        seen
    };
    assert_eq!(outcomes(3, 1), ["setup-failed"]);
    let seen = outcomes(4, 300);
    assert!(seen.iter().all(|outcome| outcome == "exited"), "{seen:?}");
}

// ---- the target's own use

/// A target that takes all the memory it is allowed: RLIMIT_AS in getrlimit(2). It fails, the report does not.
#[test]
fn exhaustion_of_the_targets_memory_leaves_the_report() {
    for init in [true, false] {
        let job = probe_job(
            &["allocate", "1000000000"],
            &json!({"init": init, "limits": {"address_space_bytes": 100 << 20}}),
        );
        let seen = run(&job);
        let outcome = seen.report["outcome"].as_str().unwrap();
        assert!(
            outcome == "signaled" || seen.report["exit_code"] != 0,
            "{seen}"
        );
        assert!(outcome != "setup-failed", "{seen}");
        assert!(seen.report["usage"]["max_rss_bytes"].as_u64() > Some(0));
        assert!(seen.stderr().contains("memory"), "{seen}");
    }
}

/// The out-of-memory killer takes who has the highest /proc/PID/oom_score_adj: proc_pid_oom_score_adj(5). The target must not
/// raise init's, nor get below it itself.
#[test]
fn exhaustion_of_memory_cannot_be_turned_on_init() {
    let scene = Fresh::new();
    let go = scene.path().join("go");
    let tried = scene.path().join("tried");
    let script = format!(
        "for f in /proc/1/oom_score_adj /proc/1/oom_adj /proc/1/task/1/oom_score_adj; do ( echo 15 > $f ) 2>/dev/null && echo $f; done
         for n in -1000 -1; do ( echo $n > /proc/self/oom_score_adj ) 2>/dev/null && echo $n; done
         touch {}; while [ ! -e {} ]; do sleep 0.01; done",
        tried.display(),
        go.display()
    );
    for fields in [json!({}), json!({"user": {"uid": 0, "gid": 0}})] {
        let job = json!({"argv": ["sh", "-c", script], "cwd": "/", "directories": {scene.str(): "full-access"}});
        let child = start(&with(job, &fields));
        eventually("the target has tried", || tried.exists());
        let pid = pid_of(&child);
        let score = |pid: &str| fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
        let scores = [score("self"), score(&children(pid)[0].to_string())];
        fs::write(&go, "").unwrap();
        let seen = finish(child);
        assert_eq!(seen.exited(0).stdout(), "", "{fields}: {seen}");
        assert_eq!(scores[0], scores[1], "{fields}");
        fs::remove_file(&go).unwrap();
        fs::remove_file(&tried).unwrap();
    }
}

/// A flood on both streams, more than memory holds, does not make stdbox grow or wait; what is kept is bounded.
#[test]
fn exhaustion_of_stdboxs_memory_by_output_does_not_happen() {
    // Four times what stdbox may have: if it kept more than it is told, it would have to stop.
    let probe = probe().display().to_string();
    let script =
        format!("{probe} flood 1 300000000 & {probe} flood 2 300000000 >/dev/null; wait; exit 7");
    let job = json!({"argv": ["sh", "-c", script], "cwd": "/"});
    let seen = limited(libc::RLIMIT_AS as libc::c_int, 64 << 20, &job);
    seen.exited(7);
    for stream in ["stdout", "stderr"] {
        assert_eq!(seen.report[stream]["truncated"], true, "{stream}");
        let kept = seen.report[stream]["text"].as_str().unwrap().len();
        assert_eq!(kept, 1 << 20, "{stream}");
    }
}
