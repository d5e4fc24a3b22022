//! Many jobs through one stdbox: which report belongs to which line, how many run at a time, what waits for whom, and that
//! nothing of one job is anywhere near another.
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
#![allow(
    unsafe_code,
    clippy::multiple_unsafe_ops_per_block,
    reason = "signals, and preparing the process that becomes stdbox"
)]

#[path = "../support/mod.rs"]
mod support;

mod ahead;

use nix::libc;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use support::outside::{PATIENCE, alive, children, eventually, kill, marker, outlive, pid_of};
use support::{Fresh, skip, stdbox, with};

/// A batch whose reports are read as they come.
struct Batch {
    child: Child,
    jobs: Option<ChildStdin>,
    reports: Receiver<Value>,
}

fn command(options: &[&str]) -> Command {
    let mut command = Command::new(stdbox());
    command.arg("batch").args(options);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

impl Batch {
    fn start(options: &[&str]) -> Self {
        Self::of(&mut command(options))
    }

    fn of(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("stdbox starts");
        let output = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let (sender, reports) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let report = serde_json::from_str(&line).expect("a line is one report");
                let _nobody_wants_it = sender.send(report);
            }
        });
        let jobs = child.stdin.take();
        Self {
            child,
            jobs,
            reports,
        }
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let jobs = self.jobs.as_mut().expect("the input is open");
        jobs.write_all(bytes.as_ref()).expect("stdbox reads");
    }

    fn give(&mut self, job: &Value) {
        self.send(format!("{job}\n"));
    }

    #[track_caller]
    fn report(&self) -> Value {
        self.reports
            .recv_timeout(PATIENCE)
            .expect("there is a report")
    }

    /// Ends the input; all other reports, what was said on stderr, and the exit status.
    fn end(mut self) -> (Vec<Value>, String, Option<i32>) {
        drop(self.jobs.take());
        let mut reports = Vec::new();
        while let Ok(report) = self.reports.recv_timeout(PATIENCE) {
            reports.push(report);
        }
        let output = self.child.wait_with_output().expect("stdbox ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (reports, said, output.status.code())
    }
}

/// All reports of an input, in order, and the exit status.
fn all(options: &[&str], input: impl AsRef<[u8]>) -> (Vec<Value>, String, Option<i32>) {
    let mut batch = Batch::start(options);
    batch.send(input);
    batch.end()
}

fn shell_job(id: &str, script: &str) -> Value {
    json!({"id": id, "argv": ["/bin/sh", "-c", script], "cwd": "/", "directories": {"/": "read-only"}})
}

/// A job that says that it runs, by a file, and does so until it is ended.
fn endless(id: &str, word: &str, place: &Path) -> Value {
    let script = format!(
        ": {word}; : > {}/{id}; while :; do sleep 1; done",
        place.display()
    );
    with(
        shell_job(id, &script),
        &json!({"directories": {"/": "read-only", place.to_str().unwrap(): "full-access"}}),
    )
}

fn lines(jobs: &[Value]) -> String {
    jobs.iter().map(|job| format!("{job}\n")).collect()
}

/// What runs the target with this word: its worker, which is the parent of the container's first process.
fn worker_of(word: &str) -> (i32, i32) {
    let parent = |pid: i32| -> i32 {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        line.unwrap().trim().parse().unwrap()
    };
    eventually("the target runs", || !alive(word).is_empty());
    let init = parent(alive(word)[0]);
    (parent(init), init)
}

/// The child that makes workers: it alone has the dispatcher's socket, once a worker that begins has closed its copy. Numbers of
/// processes begin anew at some point.
fn nursery_of(dispatcher: i32) -> i32 {
    let sockets = |pid: &i32| {
        let open = fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten()
            .flatten();
        open.filter_map(|entry| fs::read_link(entry.path()).ok())
            .filter(|link| link.to_string_lossy().starts_with("socket:"))
            .count()
    };
    let mut nursery = None;
    eventually("one process alone has the socket", || {
        let mut all = children(dispatcher);
        all.retain(|pid| sockets(pid) > 0);
        nursery = all.first().copied();
        all.len() == 1
    });
    nursery.expect("there is one")
}

// ---- reports

#[test]
fn each_line_has_one_report_with_its_number_and_id_when_it_ends() {
    let jobs = [
        shell_job("slow", "sleep 1; echo slow"),
        shell_job("first", "echo first; exit 3"),
        shell_job("second", "echo second >&2; kill -9 $$"),
    ];
    let (reports, said, status) = all(&["--workers", "2"], lines(&jobs));
    assert_eq!((said.as_str(), status), ("", Some(0)), "{reports:?}");
    let seen: Vec<_> = reports
        .iter()
        .map(|report| {
            (
                report["id"].as_str().unwrap(),
                report["line"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(seen, [("first", 2), ("second", 3), ("slow", 1)]);
    assert_eq!(reports[0]["exit_code"], 3);
    assert_eq!(reports[0]["stdout"]["text"], "first\n");
    assert_eq!(reports[1]["outcome"], "signaled");
    assert_eq!(reports[1]["stderr"]["text"], "second\n");
    assert_eq!(reports[2]["stdout"]["text"], "slow\n");
}

#[test]
fn a_bad_line_is_answered_and_the_others_go_on() {
    let good = |id| shell_job(id, "echo fine").to_string();
    let input = [
        good("one").as_bytes(),
        b"\n{\"argv\":[\n",
        b"\n \t \r\n",
        b"{\"id\":\"typo\",\"argv\":[\"true\"],\"arvg\":1}\r\n",
        b"{\"id\":\"here\",\"argv\":[\"/no/such/program\"],\"cwd\":\"/\"}\n",
        b"[1]\n",
        b"\"\xff\"\n",
        br#"{"id":"in","argv":["true"],"stdin":"inherit"}"#,
        b"\n",
        br#"{"id":"fd","argv":["true"],"cwd":"/","fds":[3,4,5]}"#,
        b"\n",
        // The last line has no end.
        good("last").as_bytes(),
    ]
    .concat();
    let (mut reports, said, status) = all(&["--workers", "1"], input);
    assert_eq!((said.as_str(), status), ("", Some(0)));
    reports.sort_by_key(|report| report["line"].as_u64());
    let seen: Vec<_> = reports
        .iter()
        .map(|report| {
            let error = &report["error"];
            let why = if error.is_null() {
                &report["stdout"]["text"]
            } else {
                &error["code"]
            };
            (
                report["line"].as_u64().unwrap(),
                report["id"].as_str(),
                why.as_str().unwrap(),
            )
        })
        .collect();
    let expected = [
        (1, Some("one"), "fine\n"),
        (2, None, "syntax"),
        // Lines 3 and 4 are white.
        (5, Some("typo"), "unknown-field"),
        (6, Some("here"), "command-not-found"),
        (7, None, "wrong-type"),
        (8, None, "syntax"),
        (9, Some("in"), "contradiction"),
        (10, Some("fd"), "bad-descriptor"),
        (11, Some("last"), "fine\n"),
    ];
    assert_eq!(seen, expected);
    for report in &reports {
        let word = report["outcome"].as_str().unwrap();
        let code = report["error"]["code"].as_str();
        let expected = match code {
            None => "exited",
            Some("command-not-found") => "setup-failed",
            Some(_) => "invalid-job",
        };
        assert_eq!(word, expected, "{report}");
    }
}

#[test]
fn a_line_above_the_greatest_length_is_refused_and_not_kept() {
    let mut batch = Batch::start(&["--workers", "1"]);
    batch.give(&shell_job("before", "true"));
    let part = vec![b' '; 1 << 20];
    for _ in 0..40 {
        batch.send(&part);
    }
    let resident = status_of(pid_of(&batch.child), "VmHWM");
    batch.send("\n");
    batch.give(&shell_job("after", "true"));
    let (reports, _, status) = batch.end();
    assert_eq!(status, Some(0));
    let seen: Vec<_> = reports
        .iter()
        .map(|report| (&report["line"], &report["error"]["code"]))
        .collect();
    assert_eq!(
        seen,
        [
            (&json!(1), &Value::Null),
            (&json!(2), &json!("too-large")),
            (&json!(3), &Value::Null)
        ]
    );
    // It read 40 MiB; the greatest job has 16.
    assert!(resident < 24 << 10, "{resident} KiB");
}

#[test]
fn a_large_job_and_a_large_report_pass_through() {
    let text = "x".repeat(3 << 20);
    let job = with(
        shell_job("large", "cat"),
        &json!({"stdin": {"text": text}, "stdout": {"capture": {"max_bytes": 4 << 20}}}),
    );
    let (reports, said, status) = all(
        &["--workers", "2"],
        lines(&[job, shell_job("small", "true")]),
    );
    assert_eq!((said.as_str(), status), ("", Some(0)));
    let large = reports
        .iter()
        .find(|report| report["id"] == "large")
        .unwrap();
    assert_eq!(
        large["stdout"]["text"].as_str().map(str::len),
        Some(3 << 20)
    );
    assert_eq!(reports.len(), 2);
}

#[test]
fn an_input_without_jobs_is_no_error() {
    for input in ["", "\n", "\n  \n"] {
        let (reports, said, status) = all(&[], input);
        assert_eq!(
            (reports.len(), said.as_str(), status),
            (0, "", Some(0)),
            "{input:?}"
        );
    }
}

#[test]
fn jobs_come_from_and_reports_go_to_files_too() {
    let scene = Fresh::new();
    let jobs = scene.file(
        "jobs",
        &lines(&[shell_job("a", "cat"), shell_job("b", "true")]),
    );
    let reports = scene.path().join("reports");
    let options = [
        "--spec",
        jobs.to_str().unwrap(),
        "--report",
        reports.to_str().unwrap(),
    ];
    let output = command(&options).stdin(Stdio::null()).output().unwrap();
    assert_eq!(
        (
            output.status.code(),
            output.stdout.len(),
            output.stderr.len()
        ),
        (Some(0), 0, 0)
    );
    assert_eq!(fs::read_to_string(&reports).unwrap().lines().count(), 2);

    // What cannot be opened, or not be read, is told in a report that belongs to no line.
    for (spec, code) in [
        ("/no/such/file", "no-such-file"),
        (scene.str(), "file-refused"),
    ] {
        let output = command(&["--spec", spec]).output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (&report["outcome"], &report["error"]["code"]),
            (&json!("invalid-job"), &json!(code))
        );
        assert_eq!(
            (&report["error"]["path"], report.get("line")),
            (&json!(spec), None)
        );
        assert_eq!(output.status.code(), Some(1));
    }
    let output = command(&["--report", "/no/such/directory/report"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("could not be written"));
}

#[test]
fn a_wrong_command_line_is_refused() {
    for (options, word) in [
        (vec!["--workers"], "needs a value"),
        (vec!["--workers", "0"], "from 1 to 4096"),
        (vec!["--workers", "4097"], "from 1 to 4096"),
        (vec!["--workers", "-1"], "from 1 to 4096"),
        (vec!["--workers=two"], "from 1 to 4096"),
        (vec!["--workers", "1", "--workers", "1"], "twice"),
        (vec!["--propagate"], "not for batch"),
        (vec!["jobs"], "no option"),
    ] {
        let output = command(&options).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{options:?}: {said}");
        assert!(
            said.contains(word) && output.stdout.is_empty(),
            "{options:?}: {said}"
        );
    }
    for word in ["run", "check"] {
        let output = Command::new(stdbox())
            .args([word, "--workers", "2"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("for batch only"));
    }
}

// ---- so many at a time

#[test]
fn no_more_jobs_run_at_a_time_than_were_asked_for_and_no_fewer() {
    // The last ones are so short that their containers are made ahead.
    for (workers, count, seconds) in [(1, 3, "0.4"), (3, 9, "0.4"), (2, 40, "0.03")] {
        let script = format!("date +%s%N; sleep {seconds}; date +%s%N");
        let jobs: Vec<Value> = (0..count)
            .map(|i| shell_job(&i.to_string(), &script))
            .collect();
        let (reports, _, status) = all(&["--workers", &workers.to_string()], lines(&jobs));
        assert_eq!((reports.len(), status), (count, Some(0)));
        let mut moments = Vec::new();
        for report in &reports {
            let times: Vec<u64> = report["stdout"]["text"]
                .as_str()
                .unwrap()
                .lines()
                .map(|line| line.parse().unwrap())
                .collect();
            moments.extend([(times[0], 1), (times[1], -1)]);
        }
        moments.sort_unstable();
        let (mut now, mut most) = (0, 0);
        for (_, change) in moments {
            now += change;
            most = most.max(now);
        }
        assert_eq!(usize::try_from(most), Ok(workers));
    }
}

/// Whether nobody has the named pipe open for writing that is read here.
fn has_no_writer(fifo: &fs::File) -> bool {
    let mut wait = libc::pollfd {
        fd: fifo.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one structure is passed, and so it is said.
    assert_ne!(unsafe { libc::poll(&raw mut wait, 1, 0) }, -1);
    wait.revents & libc::POLLHUP != 0
}

#[test]
fn no_process_of_a_job_is_left_when_its_report_is_there() {
    let scene = Fresh::new();
    let fifo = scene.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let reader = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&fifo)
        .unwrap();
    let directories = json!({"directories": {"/": "read-only", scene.str(): "full-access"}});
    let own = json!({"capabilities": ["CAP_CHOWN"]});
    let mut batch = Batch::start(&["--workers", "1"]);
    // The last one leaves a child that nobody has waited for.
    let rests = [
        "exec sleep 1000",
        "(exec sleep 1000) & exec setsid sleep 1000",
        "exec sleep 0.001",
    ];
    for turn in 0..45 {
        let here = scene.str();
        let script = format!(
            "cd {here}; rm -f held; (exec 9>fifo; : > held; {}) & while [ ! -e held ]; do :; done; exit 0",
            rests[turn % 3]
        );
        let job = with(shell_job("leaves", &script), &directories);
        batch.give(&with(job, [&json!({}), &own][turn % 2]));
        let report = batch.report();
        assert!(has_no_writer(&reader), "{turn}: {report}");
        assert_eq!(report["exit_code"], 0, "{report}");
    }
    assert_eq!(batch.end().2, Some(0));
}

#[test]
fn jobs_start_in_the_order_of_their_lines_and_a_slow_one_holds_up_none_but_itself() {
    let mut batch = Batch::start(&["--workers", "2"]);
    batch.give(&shell_job("slow", "sleep 3"));
    for i in 0..8 {
        batch.give(&shell_job(&i.to_string(), "echo $(date +%s%N)"));
    }
    let reports: Vec<Value> = (0..8).map(|_| batch.report()).collect();
    let ids: Vec<&str> = reports
        .iter()
        .map(|report| report["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["0", "1", "2", "3", "4", "5", "6", "7"]);
    let (rest, _, _) = batch.end();
    assert_eq!((rest.len(), &rest[0]["id"]), (1, &json!("slow")));
}

#[test]
fn a_line_that_comes_in_parts_holds_up_no_report() {
    let mut batch = Batch::start(&["--workers", "2"]);
    let second = format!("{}\n", shell_job("second", "true"));
    let (one, other) = second.split_at(20);
    batch.give(&shell_job("first", "sleep 0.3"));
    batch.send(one);
    assert_eq!(batch.report()["id"], "first");
    batch.send(other);
    assert_eq!(batch.report()["id"], "second");
    let (rest, _, status) = batch.end();
    assert_eq!((rest.len(), status), (0, Some(0)));
}

#[test]
fn a_job_that_writes_without_end_holds_up_no_other() {
    let mut batch = Batch::start(&["--workers", "2"]);
    batch.give(&with(
        shell_job("loud", "yes"),
        &json!({"limits": {"wall_time_ms": 4000}}),
    ));
    for i in 0..5 {
        batch.give(&shell_job(&i.to_string(), "true"));
    }
    for _ in 0..5 {
        assert_ne!(batch.report()["id"], "loud");
    }
    let (rest, _, _) = batch.end();
    assert_eq!((rest.len(), &rest[0]["limit"]), (1, &json!("wall-time")));
}

// ---- what waits for whom

#[test]
fn no_more_is_read_than_there_are_workers_for() {
    let (scene, word) = (Fresh::new(), marker("input"));
    let mut batch = Batch::start(&["--workers", "1"]);
    batch.give(&endless("only", &word, scene.path()));
    eventually("the job runs", || scene.path().join("only").exists());
    let jobs = batch.jobs.as_mut().unwrap();
    let line = format!("{}\n", shell_job("next", "true"));
    let flags = libc::O_NONBLOCK;
    // SAFETY: F_SETFL takes a number.
    unsafe { libc::fcntl(jobs.as_raw_fd(), libc::F_SETFL, flags) };
    let (mut taken, begun) = (0, Instant::now());
    while begun.elapsed() < Duration::from_secs(1) {
        match jobs.write(line.as_bytes()) {
            Ok(count) => taken += count,
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    // A pipe, and what is read at once.
    assert!(taken <= 2 << 16, "{taken} bytes were taken");
    kill(pid_of(&batch.child), libc::SIGTERM);
    assert_eq!(batch.report()["outcome"], "cancelled");
    assert!(outlive(&word).is_empty());
}

#[test]
fn no_job_is_started_while_nobody_reads_reports() {
    let scene = Fresh::new();
    let script = format!(
        "echo x >> {0}/started; head -c 100000 /dev/zero | tr '\\0' x",
        scene.str()
    );
    let job = with(
        shell_job("", &script),
        &json!({"directories": {"/": "read-only", scene.str(): "full-access"}}),
    );
    let mut child = command(&["--workers", "2"]).spawn().unwrap();
    let mut jobs = child.stdin.take().unwrap();
    jobs.write_all(lines(&vec![job; 40]).as_bytes()).unwrap();
    drop(jobs);
    let started = || {
        fs::read_to_string(scene.path().join("started"))
            .unwrap_or_default()
            .lines()
            .count()
    };
    eventually("jobs have started", || started() >= 2);
    std::thread::sleep(Duration::from_secs(2));
    // The pipe holds less than a report: two are waiting, and those that were started before the first of them.
    let waiting = started();
    assert!(waiting <= 4, "{waiting} jobs were started");
    // It can be told to stop all the same, but here it goes on.
    let mut output = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut output)
        .unwrap();
    assert_eq!((output.lines().count(), started()), (40, 40));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_caller_that_reads_nothing_can_still_stop_it() {
    let job = shell_job("", "head -c 500000 /dev/zero | tr '\\0' x");
    let mut child = command(&["--workers", "1"]).spawn().unwrap();
    let mut jobs = child.stdin.take().unwrap();
    jobs.write_all(lines(&[job.clone(), job]).as_bytes())
        .unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let pid = pid_of(&child);
    kill(pid, libc::SIGTERM);
    eventually("all of its processes but itself are gone", || {
        children(pid).len() <= 1
    });
    let mut output = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut output)
        .unwrap();
    assert_eq!(
        output.lines().count(),
        1,
        "the report that was being written is written"
    );
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

// ---- ends

#[test]
fn told_to_stop_it_cancels_and_reports_what_runs_and_starts_no_more() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        let (scene, word) = (Fresh::new(), marker("stop"));
        let disk = json!({"scratch": {"directory": scene.str()}});
        let mut batch = Batch::start(&["--workers", "2"]);
        for id in ["a", "b", "c"] {
            batch.give(&with(endless(id, &word, scene.path()), &disk));
        }
        let runs = |id: &str| scene.path().join(id).exists();
        eventually("both jobs run", || runs("a") && runs("b"));
        let (pid, jobs) = (pid_of(&batch.child), batch.jobs.take());
        kill(pid, signal);
        let mut reports = [batch.report(), batch.report()];
        reports.sort_by_key(|report| report["line"].as_u64());
        let seen = reports
            .each_ref()
            .map(|report| (&report["id"], &report["outcome"]));
        assert_eq!(
            seen,
            [
                (&json!("a"), &json!("cancelled")),
                (&json!("b"), &json!("cancelled"))
            ]
        );
        let (rest, said, status) = batch.end();
        assert_eq!((rest.len(), said.as_str(), status), (0, "", Some(1)));
        assert!(!runs("c") && outlive(&word).is_empty());
        let left: Vec<_> = fs::read_dir(scene.path())
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        assert_eq!(left.len(), 2, "what jobs have on disk is removed: {left:?}");
        drop(jobs);
    }
}

#[test]
fn told_to_stop_without_a_job_it_ends_at_once() {
    let batch = Batch::start(&["--workers", "2"]);
    let pid = pid_of(&batch.child);
    eventually("its processes are there", || children(pid).len() == 2);
    let all = children(pid);
    kill(pid, libc::SIGTERM);
    let mut batch = batch;
    let jobs = batch.jobs.take();
    let (reports, _, status) = batch.end();
    drop(jobs);
    assert_eq!((reports.len(), status), (0, Some(1)));
    eventually("they are gone", || {
        all.iter()
            .all(|pid| !Path::new(&format!("/proc/{pid}")).exists())
    });
}

#[test]
fn a_worker_that_is_killed_costs_one_job() {
    let (scene, word) = (Fresh::new(), marker("worker"));
    let mut batch = Batch::start(&["--workers", "2"]);
    batch.give(&endless("dies", &word, scene.path()));
    let (worker, _) = worker_of(&word);
    batch.give(&shell_job("lives", "sleep 0.5"));
    kill(worker, libc::SIGKILL);
    let first = batch.report();
    assert_eq!(
        (&first["id"], &first["line"], &first["outcome"]),
        (&json!("dies"), &json!(1), &json!("setup-failed"))
    );
    assert_eq!(
        (&first["error"]["code"], &first["error"]["stage"]),
        (&json!("worker-died"), &json!("report"))
    );
    assert!(
        first["error"]["message"]
            .as_str()
            .unwrap()
            .contains("signal 9"),
        "{first}"
    );
    assert!(outlive(&word).is_empty(), "the job went with it");
    batch.give(&shell_job("after", "true"));
    let (mut rest, said, status) = batch.end();
    rest.sort_by_key(|report| report["line"].as_u64());
    let seen: Vec<_> = rest
        .iter()
        .map(|report| (&report["id"], &report["outcome"]))
        .collect();
    assert_eq!(
        seen,
        [
            (&json!("lives"), &json!("exited")),
            (&json!("after"), &json!("exited"))
        ]
    );
    assert_eq!((said.as_str(), status), ("", Some(0)));
}

#[test]
fn a_spare_worker_that_is_killed_costs_none() {
    let mut batch = Batch::start(&["--workers", "1"]);
    let pid = pid_of(&batch.child);
    eventually("its processes are there", || children(pid).len() == 2);
    let nursery = nursery_of(pid);
    let spare = children(pid)
        .into_iter()
        .find(|child| *child != nursery)
        .unwrap();
    kill(spare, libc::SIGKILL);
    eventually("there is another one", || {
        let now = children(pid);
        now.len() == 2 && !now.contains(&spare)
    });
    batch.give(&shell_job("a", "true"));
    assert_eq!(batch.report()["outcome"], "exited");
    assert_eq!(batch.end().2, Some(0));
}

#[test]
fn without_its_nursery_it_ends_with_what_runs_reported_and_says_so() {
    let (scene, word) = (Fresh::new(), marker("nursery"));
    let mut batch = Batch::start(&["--workers", "2"]);
    let pid = pid_of(&batch.child);
    batch.give(&endless("a", &word, scene.path()));
    eventually("the job runs", || scene.path().join("a").exists());
    let nursery = nursery_of(pid);
    kill(nursery, libc::SIGKILL);
    assert_eq!(batch.report()["outcome"], "cancelled");
    let (rest, said, status) = batch.end();
    assert_eq!((rest.len(), status), (0, Some(1)));
    assert!(said.contains("no more jobs can be started"), "{said}");
    assert!(outlive(&word).is_empty());
}

#[test]
fn killed_it_takes_everything_with_it_and_leaves_nothing() {
    let (scene, word) = (Fresh::new(), marker("dispatcher"));
    let disk = json!({"scratch": {"directory": scene.str()}});
    let mut batch = Batch::start(&["--workers", "2"]);
    for id in ["a", "b"] {
        batch.give(&with(endless(id, &word, scene.path()), &disk));
    }
    eventually("both jobs run", || {
        scene.path().join("a").exists() && scene.path().join("b").exists()
    });
    let pid = pid_of(&batch.child);
    let all = children(pid);
    kill(pid, libc::SIGKILL);
    assert!(outlive(&word).is_empty());
    eventually("its processes are gone", || {
        all.iter()
            .all(|pid| !Path::new(&format!("/proc/{pid}")).exists())
    });
    let left = || fs::read_dir(scene.path()).unwrap().count();
    eventually("what the jobs had on disk is removed", || left() == 2);
}

#[test]
fn nobody_reads_reports_any_more_so_the_jobs_are_cancelled() {
    let (scene, word) = (Fresh::new(), marker("reader"));
    let mut child = command(&["--workers", "1"]).spawn().unwrap();
    let mut jobs = child.stdin.take().unwrap();
    writeln!(jobs, "{}", endless("a", &word, scene.path())).unwrap();
    eventually("the job runs", || scene.path().join("a").exists());
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("could not be written"));
    assert!(outlive(&word).is_empty());
    drop(jobs);
}

#[test]
fn a_disk_that_is_full_cancels_the_jobs_and_is_told() {
    let (scene, word) = (Fresh::new(), marker("full"));
    let mut batch = Batch::start(&["--workers", "2", "--report", "/dev/full"]);
    batch.give(&endless("runs", &word, scene.path()));
    eventually("the job runs", || scene.path().join("runs").exists());
    batch.give(&shell_job("ends", "true"));
    let (jobs, (reports, said, status)) = (batch.jobs.take(), batch.end());
    assert_eq!((reports.len(), status), (0, Some(3)), "{said}");
    assert!(said.contains("No space left"), "{said}");
    assert!(outlive(&word).is_empty());
    drop(jobs);
}

// ---- nothing in common

/// Whether the word lies anywhere in a process's memory.
fn remembers(pid: i32, word: &str) -> bool {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("the process is there");
    let mut memory = fs::File::open(format!("/proc/{pid}/mem")).expect("its memory can be read");
    for line in maps.lines() {
        let (range, rest) = line.split_once(' ').unwrap();
        if !rest.starts_with('r') || rest.contains("[v") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|hex| u64::from_str_radix(hex, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        memory.seek(SeekFrom::Start(from)).unwrap();
        let Ok(()) = memory.read_exact(&mut bytes) else {
            continue;
        };
        if memchr::memmem::find(&bytes, word.as_bytes()).is_some() {
            return true;
        }
    }
    false
}

#[test]
fn no_process_of_a_job_knows_another_one() {
    let (scene, word) = (Fresh::new(), marker("memory"));
    let secrets =
        ["before", "beside", "behind"].map(|when| format!("secret-{when}-{}", std::process::id()));
    let [before, beside, behind] = &secrets;
    let told = |id: &str, secret: &str| {
        with(
            shell_job(id, "echo $SECRET; echo $SECRET >&2"),
            &json!({"env": {"set": {"SECRET": secret}}}),
        )
    };
    let mut batch = Batch::start(&["--workers", "2"]);
    batch.give(&told("before", before));
    assert_eq!(batch.report()["stdout"]["text"], format!("{before}\n"));
    let other = marker("other");
    batch.give(&with(
        endless("beside", &other, scene.path()),
        &json!({"env": {"set": {"SECRET": beside}}}),
    ));
    worker_of(&other);
    batch.give(&with(
        endless("seen", &word, scene.path()),
        &json!({"env": {"set": {"SECRET": "seen-secret"}}}),
    ));
    batch.give(&told("behind", behind));
    let (worker, init) = worker_of(&word);
    assert!(
        remembers(worker, "seen-secret"),
        "the test sees what is there"
    );
    let dispatcher = pid_of(&batch.child);
    assert!(remembers(dispatcher, beside), "the test sees what is there");
    let mut looked_at = vec![worker];
    looked_at.push(nursery_of(dispatcher));
    // Init cannot be looked into by its own user, which is another defence.
    looked_at.extend(support::root().then_some(init));
    for pid in looked_at {
        for secret in &secrets {
            assert!(
                !remembers(pid, secret),
                "{pid} of {worker}, {init} knows {secret}"
            );
        }
    }
    // Descriptors: its own, and what the caller passed on. A worker keeps the pipe in which its next job may come.
    let open = |pid: i32| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    let alone = {
        let alone = marker("alone");
        let mut single = support::outside::start(&endless("alone", &alone, scene.path()));
        let (outer, init) = worker_of(&alone);
        let counts = [open(outer) + 1, open(init)];
        kill(pid_of(&single), libc::SIGTERM);
        single.wait().unwrap();
        counts
    };
    assert_eq!([open(worker), open(init)], alone, "as without a batch");
    kill(dispatcher, libc::SIGTERM);
    let (rest, _, _) = batch.end();
    assert_eq!(rest.len(), 2);
}

/// Those that take jobs, or wait for some.
fn workers_of(dispatcher: i32) -> Vec<i32> {
    let nursery = nursery_of(dispatcher);
    let mut all = children(dispatcher);
    // One that has ended is taken away later.
    let ended = |pid: &i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.is_empty() || status.contains("\nState:\tZ")
    };
    all.retain(|pid| *pid != nursery && !ended(pid));
    all.sort_unstable();
    all
}

/// Whether a worker has cleared up after its last job, and waits for the next.
fn waits(pid: &i32) -> bool {
    let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    call.starts_with(&format!("{} ", libc::SYS_read)) && children(*pid).is_empty()
}

/// What lies on the stack of a process that waits in a system call below what is in use: proc_pid_syscall(5).
fn stack_below(pid: i32) -> Vec<u8> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let stack = maps.lines().find(|line| line.ends_with("[stack]")).unwrap();
    let start = u64::from_str_radix(stack.split_once('-').unwrap().0, 16).unwrap();
    let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap();
    let Some(pointer) = call.split(' ').rev().nth(1) else {
        return vec![1];
    };
    let pointer = u64::from_str_radix(pointer.trim_start_matches("0x"), 16).unwrap();
    // What it has done since then, to get ready for the next job, is less deep by far than a job.
    let end = pointer.saturating_sub(1024);
    let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
    let mut memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    memory.seek(SeekFrom::Start(start)).unwrap();
    memory.read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_worker_that_takes_another_job_has_nothing_of_the_last_one() {
    let scene = Fresh::new();
    // In every field that can hold one, and in what the job writes.
    let secret = |i: usize, place: &str| format!("secret-{place}-{i}-{}", std::process::id());
    let job = |i: usize| {
        let directory = scene.path().join(secret(i, "directory"));
        fs::create_dir(&directory).unwrap();
        let script = format!(
            ": {}; cat; cat /tmp/file; echo $SECRET >&2; echo output-$NUMBER-of-$PARENT",
            secret(i, "argument")
        );
        with(
            shell_job(&secret(i, "id"), &script),
            &json!({
                "cwd": directory,
                "env": {"set": {
                    "SECRET": secret(i, "variable"),
                    "NUMBER": i.to_string(),
                    "PARENT": std::process::id().to_string(),
                }},
                "stdin": {"text": secret(i, "input")},
                "hostname": format!("secret-{i}"),
                "mounts": [{"type": "file", "target": "/tmp/file", "text": secret(i, "file").repeat(100)}],
                "limits": {"output_bytes": 100_000},
            }),
        )
    };
    let mut batch = Batch::start(&["--workers", "1"]);
    let dispatcher = pid_of(&batch.child);
    let mut round = |numbers: std::ops::Range<usize>| {
        for i in numbers.clone() {
            // One that still clears up would have another one made.
            eventually("all wait", || workers_of(dispatcher).iter().all(waits));
            batch.give(&job(i));
            let report = batch.report();
            assert_eq!(report["exit_code"], 0, "{report}");
            let output = format!("{}{}", secret(i, "input"), secret(i, "file").repeat(100));
            let text = report["stdout"]["text"].as_str().unwrap();
            assert!(text.starts_with(&output), "{report}");
            assert!(text.contains(&format!("output-{i}-of-")), "{report}");
        }
        let workers = workers_of(dispatcher);
        let open = |pid: &i32| fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        for &worker in &workers {
            for i in numbers.clone() {
                let output = format!("output-{i}-of-{}", std::process::id());
                let places = ["directory", "argument", "id", "variable", "input", "file"];
                for word in places.map(|place| secret(i, place)).iter().chain([&output]) {
                    // It may still be clearing up.
                    eventually("it has forgotten", || !remembers(worker, word));
                }
            }
        }
        let open = workers.iter().map(open).collect::<Vec<_>>();
        (workers, open)
    };
    let first = round(0..4);
    assert_eq!(
        round(4..8),
        first,
        "the same ones, with the same descriptors"
    );
    for worker in first.0 {
        let clear = || stack_below(worker).iter().all(|byte| *byte == 0);
        eventually("its stack is clear", clear);
    }
    assert_eq!(batch.end().2, Some(0));
}

#[test]
fn a_worker_takes_another_job_only_if_the_last_one_had_but_a_container() {
    let (scene, out) = (Fresh::new(), Fresh::new());
    let mut batch = Batch::start(&["--workers", "1"]);
    let dispatcher = pid_of(&batch.child);
    let long = "x".repeat(200_000);
    let overlay = json!({"directories": {"/": "overlay"}});
    for (fields, again) in [
        (json!({}), true),
        (
            json!({"limits": {"wall_time_ms": 30000, "output_bytes": 5000}}),
            true,
        ),
        (json!({"argv": ["sh", "-c", "kill -9 $$"]}), true),
        (
            json!({"argv": ["sh", "-c", "head -c 20000 /dev/zero"]}),
            true,
        ),
        (overlay.clone(), true),
        (
            json!({"argv": ["sh", "-c", "sleep 100"], "limits": {"wall_time_ms": 50}}),
            false,
        ),
        (json!({"argv": ["/nowhere/at/all"]}), false),
        (json!({"argv": []}), false),
        (json!({"env": {"set": {"LONG": long.get(..100_000)}}}), true),
        (json!({"stdin": {"text": long}}), false),
        (with(overlay.clone(), &json!({"changes": true})), false),
        (
            with(
                overlay.clone(),
                &json!({"results": {"directory": out.path(), "patterns": ["/nothing"]}}),
            ),
            false,
        ),
        (
            with(overlay, &json!({"scratch": {"directory": scene.path()}})),
            false,
        ),
    ] {
        let mut before = Vec::new();
        eventually("all wait", || {
            before = workers_of(dispatcher);
            !before.is_empty() && before.iter().all(waits)
        });
        batch.give(&with(shell_job("a", "true"), &fields));
        let report = batch.report();
        let mut left = Vec::new();
        // Whoever had the job, whichever it was: with one of them, or two.
        let settled = |left: &mut Vec<i32>| {
            *left = workers_of(dispatcher);
            let stay = before.iter().filter(|pid| left.contains(pid)).count();
            (stay == before.len()) == again
        };
        eventually("it stays, or goes", || settled(&mut left));
        if again {
            std::thread::sleep(std::time::Duration::from_millis(50));
            assert!(settled(&mut left), "{before:?}, {left:?}: {report}");
        }
    }
    assert_eq!(batch.end().2, Some(0));
}

/// Where the stack of a process begins depends on its environment, and without randomness on that alone.
#[test]
fn a_worker_clears_its_stack_wherever_that_begins() {
    let job = format!("{}\n", shell_job("a", "true"));
    let mut failed = Vec::new();
    for bytes in (0..4096).step_by(16) {
        let mut command = command(&["--workers", "1"]);
        command.env_clear().env("PATH", "/usr/bin:/bin");
        command.env("ROOM", "x".repeat(bytes));
        let fixed = || {
            // SAFETY: personality only changes how the next program is loaded.
            unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) };
            Ok(())
        };
        // SAFETY: the closure makes a system call.
        unsafe { command.pre_exec(fixed) };
        let mut batch = Batch::of(&mut command);
        batch.send(&job);
        let (reports, _, status) = batch.end();
        if status != Some(0) || reports.len() != 1 || reports[0]["outcome"] != "exited" {
            failed.push(bytes);
        }
    }
    assert_eq!(failed, [0; 0]);
}

/// What it has used is missing for the next job; and the kernel raises the soft limit with each signal that it sends for it.
#[test]
fn a_worker_whose_time_is_limited_takes_no_other_job() {
    let limits = libc::rlimit {
        rlim_cur: 1000,
        rlim_max: 1000,
    };
    let mut command = command(&["--workers", "1"]);
    let limited = move || {
        // SAFETY: the limits outlive the call.
        unsafe { libc::setrlimit(libc::RLIMIT_CPU, &raw const limits) };
        Ok(())
    };
    // SAFETY: the closure makes a system call.
    unsafe { command.pre_exec(limited) };
    let mut batch = Batch::of(&mut command);
    let dispatcher = pid_of(&batch.child);
    for _ in 0..3 {
        eventually("one waits", || workers_of(dispatcher).len() == 1);
        let before = workers_of(dispatcher);
        batch.give(&shell_job("a", "ulimit -t"));
        assert_eq!(batch.report()["stdout"]["text"], "1000\n");
        eventually("it goes", || {
            workers_of(dispatcher)
                .iter()
                .all(|pid| !before.contains(pid))
        });
    }
    assert_eq!(batch.end().2, Some(0));
}

#[test]
fn a_job_does_not_wait_for_a_container_that_is_taken_down() {
    let (scene, large, next) = (Fresh::new(), marker("large"), marker("next"));
    let mut batch = Batch::start(&["--workers", "2"]);
    // Empty files take nothing of the scratch space, and the kernel some time.
    let script = format!(": {large}; cd /tmp; seq 100000 | xargs touch");
    batch.give(&shell_job("large", &script));
    let (worker, _) = worker_of(&large);
    assert_eq!(batch.report()["exit_code"], 0);
    batch.give(&shell_job("first", "true"));
    assert_eq!(batch.report()["outcome"], "exited");
    batch.give(&endless("next", &next, scene.path()));
    assert_ne!(worker_of(&next).0, worker);
    kill(pid_of(&batch.child), libc::SIGTERM);
    assert_eq!(batch.end().0.len(), 1);
}

/// The next jobs are run, more of them than workers can be there already.
#[track_caller]
fn goes_on(mut batch: Batch) {
    for _ in 0..4 {
        batch.give(&shell_job("next", "true"));
        assert_eq!(batch.report()["outcome"], "exited");
    }
    assert_eq!(batch.end().2, Some(0));
}

#[test]
fn a_worker_that_is_told_to_stop_after_its_job_stops_no_other_one() {
    let large = marker("large");
    let mut batch = Batch::start(&["--workers", "1"]);
    let script = format!(": {large}; cd /tmp; seq 100000 | xargs touch");
    batch.give(&shell_job("large", &script));
    let (worker, _) = worker_of(&large);
    assert_eq!(batch.report()["exit_code"], 0);
    kill(worker, libc::SIGTERM);
    let dispatcher = pid_of(&batch.child);
    eventually("it has ended", || !workers_of(dispatcher).contains(&worker));
    goes_on(batch);
}

#[test]
fn a_worker_that_is_killed_while_it_waits_for_another_job_costs_none() {
    let mut batch = Batch::start(&["--workers", "2"]);
    let dispatcher = pid_of(&batch.child);
    eventually("its processes are there", || {
        children(dispatcher).len() == 2
    });
    let first = workers_of(dispatcher);
    batch.give(&shell_job("first", "true"));
    assert_eq!(batch.report()["outcome"], "exited");
    // It has said that it is ready, and nobody has looked.
    eventually("it waits", || first.iter().all(waits));
    for &worker in &first {
        kill(worker, libc::SIGKILL);
        eventually("it is dead", || !workers_of(dispatcher).contains(&worker));
    }
    batch.send(lines(&[shell_job("a", "true"), shell_job("b", "true")]));
    for _ in 0..2 {
        let report = batch.report();
        assert_eq!(report["outcome"], "exited", "{report}");
    }
    assert_eq!(batch.end().2, Some(0));
}

/// The dispatcher has no descriptors for another one, so each job waits until the last one's worker has cleared up.
#[test]
fn one_worker_does_all_jobs_where_there_can_be_no_other() {
    for workers in ["1", "2"] {
        let mut batch = Batch::start(&["--workers", workers]);
        let dispatcher = pid_of(&batch.child);
        eventually("its processes are there", || {
            children(dispatcher).len() == 2
        });
        let only = workers_of(dispatcher);
        let open: Vec<u64> = fs::read_dir(format!("/proc/{dispatcher}/fd"))
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
            .collect();
        // Two pipes take four.
        let fourth = (0..).filter(|fd| !open.contains(fd)).nth(3).unwrap();
        let limits = libc::rlimit {
            rlim_cur: fourth,
            rlim_max: fourth,
        };
        let old = std::ptr::null_mut();
        // SAFETY: the limits outlive the call, which writes nothing.
        let set = unsafe { libc::prlimit(dispatcher, libc::RLIMIT_NOFILE, &raw const limits, old) };
        assert_eq!(set, 0);
        batch.send(lines(&vec![shell_job("a", "true"); 20]));
        for _ in 0..20 {
            let report = batch.report();
            assert_eq!(report["outcome"], "exited", "{report}");
        }
        assert_eq!(workers_of(dispatcher), only);
        assert_eq!(batch.end().2, Some(0));
    }
}

#[test]
fn three_hundred_jobs_run_at_a_time() {
    const JOBS: usize = 320;
    let (scene, word) = (Fresh::new(), marker("many"));
    let gate = scene.path().join("gate");
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let place = scene.path().to_str().unwrap();
    let job = with(
        shell_job("many", &format!(": {word}; : < {}", gate.display())),
        &json!({"directories": {"/": "read-only", place: "full-access"}}),
    );
    let mut batch = Batch::start(&["--workers", &JOBS.to_string()]);
    // The input stays open: its end would make the dispatcher look at its workers.
    for _ in 0..JOBS {
        batch.give(&job);
    }
    eventually("all of them run", || alive(&word).len() == JOBS);
    // It stays open for those that have not come to it yet.
    let open = fs::OpenOptions::new().write(true).open(&gate).unwrap();
    for _ in 0..JOBS {
        assert_eq!(batch.report()["exit_code"], 0);
    }
    drop(open);
    assert_eq!(batch.end().2, Some(0));
}

#[test]
fn a_worker_that_was_told_to_stop_takes_no_other_job() {
    let (scene, word) = (Fresh::new(), marker("stopped"));
    let mut batch = Batch::start(&["--workers", "1"]);
    batch.give(&shell_job("first", "true"));
    assert_eq!(batch.report()["outcome"], "exited");
    batch.give(&endless("stopped", &word, scene.path()));
    let (worker, _) = worker_of(&word);
    eventually("it runs", || scene.path().join("stopped").exists());
    kill(worker, libc::SIGTERM);
    assert_eq!(batch.report()["outcome"], "cancelled");
    eventually("it has ended", || {
        !workers_of(pid_of(&batch.child)).contains(&worker)
    });
    goes_on(batch);
}

#[test]
fn no_descriptor_of_the_batch_can_be_had_by_a_job() {
    // Those that this program has been given itself are its caller's, and pass on.
    // SAFETY: F_GETFD takes nothing.
    let passed = |fd: &i32| unsafe { libc::fcntl(*fd, libc::F_GETFD) } & libc::FD_CLOEXEC == 0;
    let own = |fields: fn(i32) -> Value| -> Vec<Value> {
        let numbers = (3..40).filter(|fd| !passed(fd));
        numbers
            .map(|fd| with(shell_job(&fd.to_string(), "true"), &fields(fd)))
            .collect()
    };
    let by_number = own(|fd| json!({"fds": [fd]}));
    let by_name = own(|fd| json!({"stdin": {"file": format!("/proc/self/fd/{fd}")}}));
    assert!(by_number.len() > 20);
    // Most of the last ones wait for their turn.
    for jobs in [by_number, vec![by_name; 4].concat()] {
        let (reports, _, status) = all(&["--workers", "3"], lines(&jobs));
        assert_eq!((reports.len(), status), (jobs.len(), Some(0)));
        for report in reports {
            let code = report["error"]["code"].as_str();
            let refused = [
                "bad-descriptor",
                "contradiction",
                "no-such-file",
                "file-refused",
            ];
            assert!(code.is_some_and(|code| refused.contains(&code)), "{report}");
        }
    }
}

#[test]
fn a_descriptor_of_the_caller_reaches_the_jobs_that_name_it() {
    let scene = Fresh::new();
    let file = fs::File::create(scene.path().join("all")).unwrap();
    let number = file.as_raw_fd();
    let mut command = command(&["--workers", "2"]);
    // SAFETY: dup2 and fcntl are async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            if libc::dup2(number, 9) == -1 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let mut batch = Batch::of(&mut command);
    for i in 0..4 {
        batch.give(&with(
            shell_job(&i.to_string(), "echo here >&9"),
            &json!({"fds": [9]}),
        ));
    }
    let (reports, _, _) = batch.end();
    assert_eq!(
        reports
            .iter()
            .filter(|report| report["exit_code"] == 0)
            .count(),
        4,
        "{reports:?}"
    );
    assert_eq!(
        fs::read_to_string(scene.path().join("all")).unwrap(),
        "here\n".repeat(4)
    );
}

// ---- for ever

/// A number of KiB in /proc/PID/status.
fn status_of(pid: i32, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{key}:")));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

#[test]
fn memory_does_not_grow_with_the_number_of_jobs() {
    let mut batch = Batch::start(&["--workers", "2"]);
    let pid = pid_of(&batch.child);
    eventually("its processes are there", || children(pid).len() == 2);
    let nursery = nursery_of(pid);
    let good = format!(
        "{}\n",
        shell_job("good", "head -c 20000 /dev/zero | tr '\\0' x")
    );
    let round = |batch: &mut Batch, count: usize| {
        for i in 0..count {
            batch.send(if i % 4 == 0 {
                good.as_str()
            } else {
                "{\"argv\":[]}\n"
            });
            batch.report();
        }
        [pid, nursery].map(|pid| status_of(pid, "VmHWM"))
    };
    let before = round(&mut batch, 100);
    let after = round(&mut batch, 900);
    for (before, after) in before.into_iter().zip(after) {
        assert!(after <= before + 256, "{before} KiB, then {after} KiB");
    }
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    assert!(open < 16, "{open} descriptors");
    assert_eq!(batch.end().2, Some(0));
}

/// Each worker inherits what its caller ignores, and stdbox ignores broken pipes itself.
#[test]
fn signals_that_the_caller_ignores_have_their_default_action_in_a_job() {
    let mut command = command(&["--workers", "2"]);
    let ignore = || {
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGUSR2, 40, 64] {
            // SAFETY: the signals are only ignored.
            unsafe { libc::signal(signal, libc::SIG_IGN) };
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls only.
    unsafe { command.pre_exec(ignore) };
    let mut batch = Batch::of(&mut command);
    let grep = json!({"argv": ["grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"], "cwd": "/"});
    for fields in [
        json!({}),
        json!({"init": false}),
        json!({"directories": {"/": "read-only"}}),
    ] {
        batch.give(&with(grep.clone(), &fields));
        let report = batch.report();
        let expected: String = ["SigBlk", "SigIgn"]
            .map(|set| format!("{set}:\t0000000000000000\n"))
            .concat();
        assert_eq!(report["stdout"]["text"], expected, "{report}");
    }
    assert_eq!(batch.end().2, Some(0));
}

#[test]
fn a_process_that_cannot_be_made_is_waited_for_or_reported() {
    if Command::new("strace").arg("-V").output().is_err() {
        skip("strace", "there is no strace to fail system calls with");
        return;
    }
    let host_network = json!({"network": "host"});
    let jobs = [("a", "sleep 0.3"), ("b", "true"), ("c", "true")]
        .map(|(id, script)| with(shell_job(id, script), &host_network));
    let jobs = lines(&jobs);
    // The first call of every process works: the dispatcher's for the nursery, a worker's for its container, and, as there is no
    // network to be made beside the tree, init's for the target.
    for (faults, expected) in [
        ("2", ["exited", "exited", "exited"]),
        ("2+", ["exited", "setup-failed", "setup-failed"]),
    ] {
        let inject = format!("inject=clone3:error=EAGAIN:when={faults}");
        let mut command = Command::new("strace");
        command
            .args([
                "-f",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                "trace=clone3",
                "-e",
                &inject,
            ])
            .arg(stdbox())
            .args(["batch", "--workers", "2"]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut batch = Batch::of(&mut command);
        batch.send(&jobs);
        let (mut reports, said, status) = batch.end();
        reports.sort_by_key(|report| report["line"].as_u64());
        let seen: Vec<_> = reports
            .iter()
            .map(|report| report["outcome"].as_str().unwrap())
            .collect();
        assert_eq!(seen, expected, "{said} {reports:?}");
        assert_eq!(status, Some(0));
        for report in reports.iter().filter(|report| !report["error"].is_null()) {
            let error = &report["error"];
            assert_eq!(
                (&error["code"], &error["errno_name"]),
                (&json!("out-of-memory"), &json!("EAGAIN"))
            );
        }
    }
}
