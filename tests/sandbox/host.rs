//! The host before and after: its mount table, its processes, its directories.

use crate::common::{MODES, job};
use crate::support::{Fresh, in_namespace, root, run, run_with};
use serde_json::{Value, json};

/// Jobs of many kinds, good and bad.
fn jobs(directory: &Fresh) -> Vec<Value> {
    let busy = "echo x > x; mkdir -p d/e; ln -s / l; ( sleep 60 & sleep 60 & ) ; setsid sleep 60 & echo done";
    let at = directory.str();
    let mut jobs: Vec<Value> = MODES
        .iter()
        .map(|mode| job(busy, &[], &json!({"directories": {at: mode}, "cwd": at})))
        .collect();
    for root in ["read-only", "full-access"] {
        jobs.push(job(
            busy,
            &[],
            &json!({"directories": {"/": root, at: "overlay"}, "cwd": at}),
        ));
    }
    jobs.push(job(
        busy,
        &[],
        &json!({"scratch": {"directory": at}, "cwd": at}),
    ));
    jobs.push(job(
        busy,
        &[],
        &json!({"dev": "host", "system_config": false, "network": "host", "init": false}),
    ));
    jobs.push(job("kill -KILL $$", &[], &json!({})));
    jobs.push(job(
        "sleep 60",
        &[],
        &json!({"limits": {"wall_time_ms": 50}}),
    ));
    jobs.push(json!({"argv": ["/does/not/exist"], "cwd": "/"}));
    jobs.push(json!({"argv": ["true"], "cwd": "/does/not/exist"}));
    jobs.push(json!({"argv": ["true"], "directories": {"/does/not/exist": "hidden"}}));
    jobs.push(json!({"argv": ["true"], "cwd": "/", "scratch": {"directory": at, "size_bytes": 1}}));
    jobs
}

fn directory() -> Fresh {
    let directory = Fresh::new();
    directory.file("d/file", "host");
    directory.file("file", "host");
    directory
}

#[test]
fn host_mount_table_and_tree_after_jobs_are_what_they_were() {
    let directory = directory();
    let table = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let (before, tree) = (table(), directory.snapshot());
    for job in jobs(&directory) {
        let full = job["directories"][directory.str()] == "full-access"
            || job["directories"]["/"] == "full-access";
        let run = run(&job);
        assert!(!run.report.is_null(), "{job} {run}");
        assert_eq!(table(), before, "{job} {run}");
        if !full {
            assert_eq!(directory.snapshot().len(), tree.len(), "{job} {run}");
        }
        for new in ["x", "d/e", "l"] {
            let path = directory.path().join(new);
            assert!(
                full || path.symlink_metadata().is_err(),
                "{new}: {job} {run}"
            );
            drop(std::fs::remove_file(&path));
            drop(std::fs::remove_dir(&path));
        }
        assert_eq!(directory.snapshot(), tree, "{job} {run}");
    }
}

/// In a namespace of its own, the process list holds only the test's processes, and the writable places are empty.
#[test]
fn host_processes_and_temporary_places_after_jobs_are_what_they_were() {
    let directory = directory();
    for (i, job) in jobs(&directory).iter().enumerate() {
        std::fs::write(directory.path().join(format!("job-{i}")), job.to_string()).unwrap();
    }
    let count = jobs(&directory).len();
    let script = format!(
        r#"exec 8<'{0}' 9<"$STDBOX"
        mount -t tmpfs none /tmp; mount -t tmpfs none /dev/shm; mount -t tmpfs none /run
        for d in /tmp /run; do mkdir $d/host; done
        list() {{ set -- /proc/[0-9]*; echo $#; ls -A /tmp /dev/shm /run; }}
        echo "$(list)" > /tmp/host/before
        for i in $(seq 0 {1}); do
            cat "/proc/self/fd/8/job-$i" > /tmp/host/job
            /proc/self/fd/9 < /tmp/host/job > /tmp/host/report || true
            echo "$(list)" > /tmp/host/after
            cmp /tmp/host/before /tmp/host/after || {{ cat /tmp/host/job /tmp/host/report /tmp/host/before /tmp/host/after; exit 1; }}
        done; echo same"#,
        directory.str(),
        count - 1
    );
    // Pids differ; only how many there are is compared.
    let inner = format!(
        "exec unshare -pf --mount-proc /bin/sh -ec '{}'",
        script.replace('\'', "'\\''")
    );
    let (output, errors, status) = in_namespace(&inner, "");
    assert_eq!((output.as_str(), status), ("same\n", Some(0)), "{errors}");
}

#[test]
fn host_name_network_and_clock_of_the_machine_are_not_the_jobs() {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let run = run(&job(
        "hostname; unshare -Uru sh -c 'hostname other; hostname'; hostname; ls /sys/class/net /proc/self/net/dev >/dev/null; grep -c : /proc/self/net/dev",
        &[],
        &json!({}),
    ));
    assert_eq!(
        run.exited(0).stdout(),
        "stdbox\nother\nstdbox\n1\n",
        "{run}"
    );
    assert_eq!(
        std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap(),
        host
    );
}

/// Semaphores, message queues and shared memory of System V are the container's own, and end with it.
#[test]
fn host_ipc_objects_are_not_seen_and_none_stay() {
    if !std::path::Path::new("/usr/bin/ipcmk").exists() {
        return crate::support::skip("ipcmk", "there is no /usr/bin/ipcmk (util-linux)");
    }
    let host = || {
        std::fs::read_to_string("/proc/sysvipc/shm")
            .unwrap()
            .lines()
            .count()
    };
    let before = host();
    let run = run(&job(
        "wc -l < /proc/sysvipc/shm; ipcmk -M 4096 >/dev/null; wc -l < /proc/sysvipc/shm",
        &[],
        &json!({}),
    ));
    assert_eq!(run.exited(0).stdout(), "1\n2\n", "{run}");
    assert_eq!(host(), before, "{run}");
}

#[test]
fn umask_of_the_caller_is_the_jobs_and_does_not_bend_the_tree() {
    let directory = directory();
    let job = job(
        "umask; touch new; stat -c %a new /tmp /dev/shm /dev/null /home/user /etc/passwd",
        &[],
        &json!({"cwd": directory.str()}),
    );
    let wrapper = "umask 0077; exec \"$STDBOX\"";
    let run = crate::common::scripted(wrapper, &job);
    assert_eq!(
        run.exited(0).stdout(),
        "0077\n600\n1777\n1777\n666\n700\n644\n",
        "{run}"
    );
}

#[test]
fn stdbox_without_standard_streams_or_environment_works() {
    let report = Fresh::new();
    let job = report.file(
        "job.json",
        &job("echo out; echo $HOME; env | wc -l", &[], &json!({})).to_string(),
    );
    let to = report.path().join("report.json");
    let script = format!(
        "exec env -i \"$STDBOX\" --spec '{}' --report '{}' <&- >&- 2>&-",
        job.display(),
        to.display()
    );
    let (_, _, status) = crate::common::shell(&script, "");
    assert_eq!(status, Some(0));
    let report: Value = serde_json::from_slice(&std::fs::read(&to).unwrap()).unwrap();
    assert_eq!(report["outcome"], "exited", "{report}");
    assert!(
        report["stdout"]["text"]
            .as_str()
            .unwrap()
            .starts_with("out\n/home/user\n"),
        "{report}"
    );
}

#[test]
fn caller_in_a_removed_directory_needs_a_cwd() {
    let script =
        "d=$(mktemp -d /var/tmp/stdbox-test-gone.XXXXXX); cd $d; rmdir $d; exec \"$STDBOX\"";
    let with = crate::common::scripted(script, &job("echo ok", &[], &json!({})));
    assert_eq!(with.exited(0).stdout(), "ok\n", "{with}");
    let mut without = job("echo ok", &[], &json!({}));
    without.as_object_mut().unwrap().remove("cwd");
    crate::common::scripted(script, &without).failed("cwd-missing", "exec");
}

/// Which user runs the tests decides what is tested; say it.
#[test]
fn caller_is_known() {
    let run = run_with(
        job(
            "id -u; id -g; id -un; cat /proc/self/uid_map",
            &[],
            &json!({}),
        )
        .to_string()
        .as_bytes(),
        &[],
        |_| {},
    );
    let outer = if root() {
        "0".to_owned()
    } else {
        nix::unistd::geteuid().to_string()
    };
    let words: Vec<&str> = run.exited(0).stdout().split_whitespace().collect();
    assert_eq!(
        words,
        ["1000", "1000", "user", "1000", outer.as_str(), "1"],
        "{run}"
    );
}
