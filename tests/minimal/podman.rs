//! Inside rootless Podman, in an image of stdbox and its target alone, made by `podman import`.
//!
//! Podman is always an ordinary user's here. Where the tests run as root it is started as a user of its own, with subordinate ids
//! of its own, that exists only in a mount namespace. Rootful Podman would make control groups on the machine, which tests do not.
//! Storage, settings and what runs are in a fresh directory.

use crate::common::{JOBS, job, refused, run_in, saw_root, seen};
use crate::proc::UNCOVERED;
use crate::support::{Fresh, Run, many_ids, probe, root, skip, source, stdbox};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const USER: &str = "61234";
const IMAGE: &str = "two";
/// In Podman's own words, and in Docker's.
const UNMASKED: [&str; 2] = ["unmask=ALL", "systempaths=unconfined"];
const NO_FILTER: [&str; 2] = ["--security-opt", "seccomp=unconfined"];

/// A namespace with another /etc, in which there is a user for Podman. What is read of the real one stays in memory.
const ANOTHER_ETC: &str = r#"
mount -t tmpfs -o mode=755 none "$1/etc"
cp -a /etc/. "$1/etc"
echo "stdbox-podman:x:$2:$2::/:/bin/false" >> "$1/etc/passwd"
echo "stdbox-podman:x:$2:" >> "$1/etc/group"
echo "stdbox-podman:2100000000:65536" > "$1/etc/subuid"
echo "stdbox-podman:2100000000:65536" > "$1/etc/subgid"
mount --bind "$1/etc" /etc
echo ready
exec cat > /dev/null"#;

struct Podman {
    at: Fresh,
    /// What keeps the namespace, until this end of its standard input is closed.
    keeper: Option<Child>,
    runtime: Option<&'static str>,
}

impl Podman {
    /// With the image, if it runs here.
    fn new() -> Option<Self> {
        let version = Command::new("podman").arg("--version").output();
        if !version.is_ok_and(|output| output.status.success()) {
            skip("podman", "podman (Debian package podman) is missing");
            return None;
        }
        if !many_ids() {
            skip("podman", "this user has no subordinate ids (/etc/subuid)");
            return None;
        }
        let mut podman = Self {
            at: Fresh::new(),
            keeper: None,
            runtime: None,
        };
        podman.prepare();
        // The one that podman takes, crun say, may not know the machine's control groups.
        for runtime in [None, Some("runc")] {
            podman.runtime = runtime;
            let output = podman.run(&[], &["/bin/probe", "help"]).output().unwrap();
            if output.status.success() {
                return Some(podman);
            }
            if runtime.is_some() {
                let complaint = String::from_utf8_lossy(&output.stderr);
                skip(
                    "podman",
                    &format!("podman starts no container here: {complaint}"),
                );
            }
        }
        None
    }

    fn prepare(&mut self) {
        let at = self.at.str();
        for name in ["image/bin", "home", "run", "etc"] {
            std::fs::create_dir_all(self.at.path().join(name)).unwrap();
        }
        let copy = |from: std::path::PathBuf, to| {
            std::fs::copy(from, self.at.path().join(to)).unwrap();
        };
        copy(stdbox(), "image/bin/stdbox");
        copy(probe(), "image/bin/probe");
        let tar = Command::new("tar")
            .args(["--create", "--owner=0", "--group=0", "--mode=755"])
            .arg(format!("--file={at}/image.tar"))
            .arg(format!("--directory={at}/image"))
            .arg(".")
            .status();
        assert!(tar.unwrap().success());
        if root() {
            let owner = Command::new("chown")
                .args(["-R", &format!("{USER}:{USER}"), at])
                .status();
            assert!(owner.unwrap().success());
            let mut keeper = Command::new("unshare")
                .args(["--mount", "--propagation=private", "sh", "-ec", ANOTHER_ETC])
                .args(["sh", at, USER])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut line = String::new();
            let mut output = BufReader::new(keeper.stdout.take().unwrap());
            output.read_line(&mut line).unwrap();
            assert_eq!(line, "ready\n");
            self.keeper = Some(keeper);
        }
        self.succeeds(&["import", &format!("{at}/image.tar"), IMAGE]);
    }

    fn succeeds(&self, arguments: &[&str]) {
        let Output { status, stderr, .. } = self.command(arguments).output().unwrap();
        let complaint = String::from_utf8_lossy(&stderr);
        assert!(status.success(), "podman {arguments:?}: {complaint}");
    }

    /// Podman with everything of its own below the fresh directory.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = match &self.keeper {
            None => Command::new("podman"),
            Some(keeper) => {
                let mut command = Command::new("nsenter");
                command
                    .arg(format!("--mount=/proc/{}/ns/mnt", keeper.id()))
                    .args(["setpriv", "--reuid", USER, "--regid", USER])
                    .args(["--clear-groups", "podman"]);
                command
            }
        };
        let at = self.at.str();
        command
            .env("HOME", format!("{at}/home"))
            .env("XDG_RUNTIME_DIR", format!("{at}/run"))
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_DATA_HOME")
            .current_dir(at)
            .args(["--root", &format!("{at}/storage")])
            .args(["--runroot", &format!("{at}/runroot")])
            .args(["--tmpdir", &format!("{at}/libpod")])
            .args(["--storage-driver", "vfs", "--events-backend", "none"])
            .args(["--cgroup-manager", "cgroupfs"])
            .args(self.runtime.iter().flat_map(|name| ["--runtime", name]))
            .args(arguments);
        command
    }

    /// A command in the image, as pid 1 of a container with these options.
    fn run(&self, options: &[&str], words: &[&str]) -> Command {
        // The limits that podman would set may be above those of a container around it.
        let fixed = ["run", "--rm", "--interactive", "--ulimit", "host"];
        let more = ["--network", "none", "--hostname", "around"];
        self.command(&[&fixed[..], &more, options, &[IMAGE], words].concat())
    }

    /// Each job of these, in one container, one after the other: the last one may change it.
    fn jobs(&self, options: &[&str], jobs: &[(&str, Value)]) -> Vec<Run> {
        let mut lines = String::new();
        for (kind, job) in jobs {
            let mut job = job.clone();
            job["id"] = json!(kind);
            lines += &format!("{job}\n");
        }
        let file = self.at.file("lines", &lines);
        let output = self
            .run(options, &["/bin/stdbox", "batch", "--workers", "1"])
            .stdin(std::fs::File::open(file).unwrap())
            .output()
            .unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let reports: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let of = |kind: &str| {
            let found = reports.iter().find(|report| report["id"] == kind);
            Run {
                report: found.cloned().unwrap_or_default(),
                status: None,
                complaint: complaint.clone(),
            }
        };
        jobs.iter().map(|(kind, _)| of(kind)).collect()
    }

    fn each(&self, options: &[&str], fields: &Value, check: impl Fn(&str, &str, &Run)) {
        let of = |kind| {
            let job = job(kind, &["/", "/tmp", "/dev/shm", "/proc"]);
            (kind, crate::support::with(job, fields))
        };
        let jobs = JOBS.map(of);
        let runs = self.jobs(options, &jobs);
        for (kind, run) in JOBS.iter().zip(&runs) {
            check(&format!("{options:?}, {kind}"), kind, run);
        }
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // What podman leaves to look after a container writes for a moment after that has ended.
        let at = self.at.str().to_owned();
        for _ in 0..200 {
            let mut processes = std::fs::read_dir("/proc").unwrap().flatten();
            let left = processes.any(|process| {
                let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&line).contains(&format!("{at}/"))
            });
            if !left {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        // Files of subordinate ids can be removed by them only; and a process keeps the user namespace that has them.
        let _left = self
            .command(&["unshare", "rm", "-rf", &format!("{at}/storage")])
            .output();
        let _left = self.command(&["system", "migrate"]).output();
        if let Some(keeper) = &mut self.keeper {
            // It closes the pipe.
            let _gone = keeper.wait();
        }
    }
}

/// The names in the container's root: what Podman puts there, and what the job adds where it may.
fn names(kind: &str, more: &[&'static str]) -> Vec<&'static str> {
    let own = ["overlay", "hidden"].contains(&kind);
    let mut names = vec!["bin", "dev", "etc", "proc", "run"];
    // The directory of a job's own is there where Podman's is.
    names.extend(
        more.iter()
            .filter(|name| kind != "hidden" || **name == "tmp"),
    );
    if own {
        names.push("home");
    }
    if kind != "hidden" {
        names.push("sys");
    }
    names.sort_unstable();
    names
}

/// `written` says whether the container's root can be.
fn ran(what: &str, kind: &str, run: &Run, more: &[&'static str], written: bool) -> Value {
    let own = ["overlay", "hidden"].contains(&kind);
    let written = own || (written && kind == "full-access");
    let seen = saw_root(run, what, &names(kind, more), written);
    assert_eq!(seen["null"], true, "{what}: {run}");
    assert_eq!(seen["in"]["/dev/shm"]["written"], true, "{what}: {run}");
    let tmp = more.contains(&"tmp");
    assert_eq!(seen["in"]["/tmp"]["written"], tmp, "{what}: {run}");
    seen
}

/// Podman's own filter lets stdbox do all that it does but name the container.
#[test]
fn podman_with_an_uncovered_proc_runs_every_job() {
    let Some(podman) = Podman::new() else { return };
    for word in UNMASKED {
        let options = ["--security-opt", word];
        podman.each(&options, &json!({}), |what, kind, run| {
            assert_eq!(run.degraded(), ["hostname-kept"], "{what}: {run}");
            let seen = ran(what, kind, run, &[], true);
            assert_eq!(seen["host"], "around", "{what}: {run}");
        });
    }
    // An ordinary user there, who needs no capability.
    let options = ["--user", "1000", "--cap-drop", "ALL"];
    let options = [&options[..], &["--security-opt", UNMASKED[0]]].concat();
    podman.each(&options, &json!({}), |what, kind, run| {
        assert_eq!(run.degraded(), ["hostname-kept"], "{what}: {run}");
        ran(what, kind, run, &[], false);
    });
    let strict = json!({"strict": true});
    podman.each(&options, &strict, |what, _, run| {
        let remedies = ["seccomp=unconfined", "--cap-add SYS_ADMIN", "strict"];
        refused(run, what, "identity-refused", &remedies);
    });
}

#[test]
fn podman_with_an_uncovered_proc_and_no_filter_gives_all_that_is_asked_for() {
    let Some(podman) = Podman::new() else { return };
    let unmasked = ["--security-opt", UNMASKED[0]];
    let relaxed = [&NO_FILTER[..], &unmasked].concat();
    let with = |options: &[&'static str]| [&relaxed[..], options].concat();
    let read_only = ["var", "tmp"];
    let mut rows: Vec<(Vec<&str>, &[&str], bool)> = vec![
        (with(&[]), &[], true),
        (with(&["--tmpfs", "/tmp"]), &["tmp"], true),
        (with(&["--read-only"]), &read_only, false),
        (
            with(&["--read-only", "--read-only-tmpfs=false"]),
            &[],
            false,
        ),
        (with(&["--user", "1000"]), &[], false),
        (with(&["--security-opt", "no-new-privileges"]), &[], true),
        (
            [&unmasked[..], &["--cap-add", "SYS_ADMIN"]].concat(),
            &[],
            true,
        ),
        (vec!["--privileged"], &[], true),
    ];
    // Nothing of stdbox needs it.
    if std::path::Path::new("/dev/fuse").exists() {
        rows.push((with(&["--device", "/dev/fuse"]), &[], true));
    }
    let strict = json!({"strict": true});
    for (options, more, written) in rows {
        podman.each(&options, &strict, |what, kind, run| {
            assert!(run.degraded().is_empty(), "{what}: {run}");
            let seen = ran(what, kind, run, more, written);
            assert_eq!(seen["host"], "stdbox", "{what}: {run}");
        });
    }
}

#[test]
fn podman_with_its_default_options_runs_jobs_without_a_proc_only() {
    let Some(podman) = Podman::new() else { return };
    for options in [&[][..], &NO_FILTER] {
        podman.each(options, &json!({}), |what, _, run| {
            refused(run, what, "proc-masked", &UNCOVERED);
        });
        let without = json!({"proc": "none"});
        podman.each(options, &without, |what, kind, run| {
            let seen = ran(what, kind, run, &[], true);
            let empty = json!({"names": [], "written": false});
            assert_eq!(seen["in"]["/proc"], empty, "{what}: {run}");
        });
    }
}

/// Uid 0 needs one capability to be mapped, which Podman's default set has.
#[test]
fn podman_root_without_capabilities_is_refused_with_what_to_change() {
    let Some(podman) = Podman::new() else { return };
    let relaxed = ["--security-opt", UNMASKED[0], "--cap-drop", "ALL"];
    podman.each(&relaxed, &json!({}), |what, _, run| {
        let remedies = ["--user", "CAP_SETFCAP"];
        refused(run, what, "identity-refused", &remedies);
    });
    let relaxed = [&relaxed[..], &["--cap-add", "SETFCAP"]].concat();
    podman.each(&relaxed, &json!({}), |what, kind, run| {
        // Without CAP_DAC_OVERRIDE it owns the root all the same.
        ran(what, kind, run, &[], true);
    });
}

/// The profile of Docker's form denies namespaces, and with CAP_SYS_ADMIN the change of the root only.
#[test]
fn podman_with_an_engines_profile_is_refused_with_what_to_change() {
    let Some(podman) = Podman::new() else { return };
    // Somewhere the user of the tests by root can read.
    let text = std::fs::read_to_string(source().join("tests/filter/engine.json")).unwrap();
    let profile = podman.at.file("engine.json", &text);
    let profile = format!("seccomp={}", profile.display());
    let options = ["--security-opt", UNMASKED[0], "--security-opt", &profile];
    let pipe = job("overlay", &["/"]);
    let run = run_in(podman.run(&options, &["/bin/stdbox"]), &pipe);
    refused(
        &run,
        "engine's",
        "userns-forbidden",
        &["seccomp=unconfined", "systempaths=unconfined"],
    );
    // A batch does not get as far as a job.
    let run = &podman.jobs(&options, &[("overlay", pipe)])[0];
    assert!(run.report.is_null(), "{run}");
    let remedies = ["could not start", "seccomp=unconfined"];
    assert!(
        remedies.iter().all(|word| run.complaint.contains(word)),
        "{run}"
    );
    let options = [&options[..], &["--cap-add", "SYS_ADMIN"]].concat();
    podman.each(&options, &json!({}), |what, kind, run| {
        if ["read-only", "full-access"].contains(&kind) {
            ran(what, kind, run, &[], true);
        } else {
            refused(run, what, "mount-refused", &["seccomp=unconfined"]);
            assert_eq!(run.report["error"]["operation"], "pivot_root", "{run}");
        }
    });
}

#[test]
fn podman_has_stdbox_as_pid_1_that_gives_the_status_asked_for() {
    let Some(podman) = Podman::new() else { return };
    let options = ["--security-opt", UNMASKED[0]];
    let mut job = job("read-only", &[]);
    for (argv, option, status) in [
        (json!(["/bin/probe", "exit", "7"]), &[][..], 0),
        (json!(["/bin/probe", "exit", "7"]), &["--propagate"], 7),
        (json!(["/bin/none"]), &[], 1),
    ] {
        job["argv"] = argv;
        let words = [&["/bin/stdbox"][..], option].concat();
        let run = run_in(podman.run(&options, &words), &job);
        assert_eq!(run.status, Some(status), "{run}");
    }
}

/// The options that the doctor names make it healthy.
#[test]
fn podman_options_that_the_doctor_names_are_enough() {
    let Some(podman) = Podman::new() else { return };
    let mut options: Vec<String> = Vec::new();
    let mut asked = 0;
    loop {
        let given: Vec<&str> = options.iter().map(String::as_str).collect();
        let output = podman
            .run(&given, &["/bin/stdbox", "doctor"])
            .output()
            .unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        if report["ready"] == true {
            break;
        }
        asked += 1;
        assert_eq!(asked, 1, "{given:?}: {report:#}");
        let findings = report["findings"].as_array().unwrap();
        let remedies = findings
            .iter()
            .find(|finding| finding["code"] == "default-job")
            .and_then(|finding| finding["remedies"].as_array());
        // Where another finding has the same error, it is said there.
        let all = remedies.into_iter().flatten();
        let all = all.chain(
            findings
                .iter()
                .filter_map(|finding| finding["remedies"].as_array())
                .flatten(),
        );
        let mut words = all
            .filter(|remedy| remedy["on"] == "Docker, Podman")
            .filter_map(|remedy| remedy["do"].as_str())
            .flat_map(str::split_whitespace);
        let option = words.find(|word| *word == "--security-opt").unwrap();
        let value = words.next().unwrap().trim_end_matches(',');
        options = vec![option.to_owned(), value.to_owned()];
    }
    assert_eq!(options, ["--security-opt", UNMASKED[1]]);
}

#[test]
fn podman_jobs_nest() {
    let Some(podman) = Podman::new() else { return };
    let options = ["--security-opt", UNMASKED[0]];
    let mut outer = job("overlay", &[]);
    outer["argv"] = json!(["/bin/stdbox"]);
    outer["stdin"] = json!({"text": job("overlay", &["/"]).to_string()});
    let run = run_in(podman.run(&options, &["/bin/stdbox"]), &outer);
    let report = serde_json::from_str(run.exited(0).stdout()).unwrap();
    let inner = Run {
        report,
        status: None,
        complaint: String::new(),
    };
    assert_eq!(seen(&inner, "nested")["host"], "around", "{inner}");
}
