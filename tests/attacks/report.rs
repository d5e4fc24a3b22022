//! The report is stdbox's own word: it arrives whole or its loss is told, and the target has no part in it but the bytes that
//! are quoted.

use crate::common::{probe_job, with};
use crate::supervisor::Watched;
use crate::support::outside::{
    PATIENCE, children, eventually, finish, kill, marker, outlive, pid_of, start_with, state,
};
use crate::support::{Fresh, Run, probe, run, run_in_namespace, run_with, shell, stdbox};
use nix::libc;
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

// ---- where it cannot be written

fn undelivered(seen: &Run) {
    assert_eq!(seen.status, Some(3), "{seen}");
    let one_line = seen.complaint.starts_with("stdbox: ") && seen.complaint.lines().count() == 1;
    assert!(one_line, "{:?}", seen.complaint);
}

fn small_job() -> Value {
    json!({"argv": ["true"], "cwd": "/"})
}

/// A job with more output than a pipe holds.
fn large_job() -> Value {
    json!({"argv": ["head", "-c", "500000", "/dev/zero"], "cwd": "/"})
}

/// Every write gives ENOSPC: full(4).
#[test]
fn report_to_a_full_device_is_exit_3_with_a_sentence() {
    let seen = run_with(small_job().to_string().as_bytes(), &[], |command| {
        let full = fs::OpenOptions::new().write(true).open("/dev/full");
        command.stdout(full.unwrap());
    });
    undelivered(&seen);
}

/// A file system that fills up in the middle of the report: ENOSPC in write(2).
#[test]
fn report_to_a_full_file_system_is_exit_3_with_a_sentence() {
    let script = "mount -t tmpfs -o size=16k none /mnt; exec \"$STDBOX\" --report /mnt/report";
    let seen = run_in_namespace(script, &large_job());
    undelivered(&seen);
    let script =
        "mount -t tmpfs -o size=16k none /mnt; \"$STDBOX\" --report /mnt/report; cat /mnt/report";
    run_in_namespace(script, &small_job()).exited(0);
}

/// The caller's limit on the size of files ends a program with SIGXFSZ, unless it keeps that signal: RLIMIT_FSIZE in
/// getrlimit(2).
#[test]
fn report_beyond_the_limit_on_file_sizes_is_exit_3_with_a_sentence() {
    let scene = Fresh::new();
    let report = scene.path().join("report");
    let report = report.to_str().unwrap();
    let spec = scene.file("job.json", "{");
    for (job, options) in [
        (small_job().to_string(), vec!["--report", report]),
        (
            String::new(),
            vec!["--report", report, "--spec", "/no/such/job"],
        ),
        (
            String::new(),
            vec!["--report", report, "--spec", spec.to_str().unwrap()],
        ),
    ] {
        let seen = run_with(job.as_bytes(), &options, |command| {
            // SAFETY: setrlimit may be called between fork and exec.
            unsafe {
                command.pre_exec(|| {
                    let none = libc::rlimit {
                        rlim_cur: 0,
                        rlim_max: 0,
                    };
                    libc::setrlimit(libc::RLIMIT_FSIZE, &raw const none);
                    Ok(())
                })
            };
        });
        undelivered(&seen);
    }
}

/// Nobody reads: EPIPE, and SIGPIPE in pipe(7).
#[test]
fn report_to_a_broken_pipe_is_exit_3_with_a_sentence() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let seen = run_with(small_job().to_string().as_bytes(), &[], |command| {
        command.stdout(writer);
    });
    undelivered(&seen);
}

/// A reader that takes a part and goes while stdbox waits for room: pipe(7).
#[test]
fn report_to_a_pipe_whose_reader_dies_in_the_middle_is_exit_3_with_a_sentence() {
    for waiting in [true, false] {
        let (mut reader, writer) = std::io::pipe().unwrap();
        if !waiting {
            do_not_wait(&writer);
        }
        let child = start_with(&large_job(), |command| {
            command.stdout(writer);
        });
        reader.read_exact(&mut [0; 100]).unwrap();
        // It is in the middle when it has ended the container and sleeps.
        let pid = pid_of(&child);
        eventually("stdbox waits for the reader", || {
            children(pid).is_empty() && state(pid) == Some('S')
        });
        drop(reader);
        undelivered(&finish(child));
    }
}

fn do_not_wait(fd: &impl AsRawFd) {
    // SAFETY: F_SETFL takes a number.
    let set = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    assert_eq!(set, 0);
}

/// Event loops make their pipes not wait, and the open file description is shared: EAGAIN in write(2), O_NONBLOCK in open(2).
/// A report that is longer than the pipe must arrive all the same.
#[test]
fn report_to_a_full_pipe_that_does_not_wait_arrives_whole() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    do_not_wait(&writer);
    let child = start_with(&large_job(), |command| {
        command.stdout(writer);
    });
    let mut bytes = vec![0; 100];
    reader.read_exact(&mut bytes).unwrap();
    let pid = pid_of(&child);
    eventually("stdbox waits for the reader, or gives up", || {
        children(pid).is_empty() && matches!(state(pid), Some('S' | 'Z'))
    });
    reader.read_to_end(&mut bytes).unwrap();
    let seen = finish(child);
    assert_eq!(
        (seen.status, seen.complaint.as_str()),
        (Some(0), ""),
        "{seen}"
    );
    let report: Value = serde_json::from_slice(&bytes).expect("the whole report");
    assert_eq!(report["stdout"]["bytes"], 500_000, "{seen}");
}

/// Rust's runtime opens /dev/null in place of a closed stream, so without a check the report would vanish silently.
#[test]
fn report_to_a_closed_descriptor_is_exit_3_with_a_sentence() {
    let scene = Fresh::new();
    let ran = scene.path().join("ran");
    let job =
        json!({"argv": ["touch", ran], "cwd": "/", "directories": {scene.str(): "full-access"}});
    let spec = scene.file("job.json", &job.to_string());
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "exec \"$STDBOX\" --spec \"$1\" >&-", "sh"])
        .arg(&spec)
        .env("STDBOX", stdbox());
    let output = command.output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{complaint:?}");
    assert!(complaint.starts_with("stdbox: "), "{complaint:?}");
    assert!(
        !ran.exists(),
        "a job whose report nobody can get is not started"
    );
}

/// A target can hand its end of a captured pipe to a process outside, through a socket in a directory that both see
/// (SCM_RIGHTS in unix(7)), which then writes without end. The accomplice here takes it from /proc/PID/fd, and is always
/// faster than stdbox: a supervisor (seccomp_unotify(2)) lets stdbox read only when the pipe is full again.
#[test]
fn report_is_not_held_up_by_an_accomplice_that_goes_on_writing() {
    const FOR_EVER: u32 = 20_000;
    let scene = Fresh::new();
    let job = probe_job(
        &["ignore-term"],
        &json!({"stdout": {"capture": {"max_bytes": 10}}}),
    );
    let spec = scene.file("job", &job.to_string());
    let watched = Watched::asking(spec.to_str().unwrap(), &[libc::SYS_read]);
    let pid = pid_of(&watched.child);
    let pipe = || -> Option<fs::File> {
        let init = *children(pid).first()?;
        let target = *children(init).first()?;
        let program = fs::read_link(format!("/proc/{target}/exe")).ok()?;
        let mut options = fs::OpenOptions::new();
        options.write(true).custom_flags(libc::O_NONBLOCK);
        let path = format!("/proc/{target}/fd/1");
        (program == probe()).then(|| options.open(path).ok())?
    };
    let (mut held, mut reads) = (None, 0);
    while let Some(notice) = watched.next(PATIENCE) {
        if notice.pid == watched.pid() {
            if held.is_none() {
                held = pipe();
                if held.is_some() {
                    kill(pid, libc::SIGTERM);
                }
            }
            if let Some(pipe) = &mut held {
                while pipe.write(&[b'x'; 4096]).is_ok() {}
                reads += 1;
            }
            if reads > FOR_EVER {
                kill(pid, libc::SIGKILL);
            }
        }
        watched.answer(&notice, None);
    }
    let seen = watched.finish(PATIENCE);
    assert!(reads > 0, "it was never read");
    assert_eq!(seen.report["outcome"], "cancelled", "{reads} times: {seen}");
}

// ---- what the target would like to say

/// The report's bytes as they are.
fn raw(job: &Value) -> Vec<u8> {
    let mut child = start_with(job, |_| ());
    let mut bytes = Vec::new();
    let mut out = child.stdout.take().unwrap();
    out.read_to_end(&mut bytes).unwrap();
    assert!(child.wait().unwrap().success());
    bytes
}

/// Who looks at a report in a terminal must not have it obey the target: control characters below U+0020, which JSON escapes
/// by itself, and those from U+007F to U+009F, which it does not (CSI is U+009B): ECMA-48, console_codes(4), CWE-150,
/// CVE-2003-0063. U+2028 and U+2029 end a line for some readers.
#[test]
fn report_shows_no_control_character_of_the_target() {
    let text: String = (1..0xa0)
        .filter_map(char::from_u32)
        .chain(
            "\u{2028}\u{2029}\u{feff}\u{10ffff} \u{9b}31m\u{1b}]0;title\u{7}\u{90}q\u{9c}é€"
                .chars(),
        )
        .collect();
    let job = json!({"argv": ["cat"], "stdin": {"text": text}, "cwd": "/"});
    let bytes = raw(&job);
    let shown = String::from_utf8(bytes).expect("a report is UTF-8");
    let line = shown.strip_suffix('\n').expect("a line");
    let bad: Vec<char> = line
        .chars()
        .filter(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'))
        .collect();
    assert!(bad.is_empty(), "{bad:?}");
    let report: Value = serde_json::from_str(line).unwrap();
    assert_eq!(report["stdout"]["text"], text.as_str(), "nothing is lost");
    // The same where a name is quoted by an error.
    let job = json!({"argv": ["/no\u{9b}31m\u{7f}"], "cwd": "/"});
    let seen = run(&job);
    seen.failed("command-not-found", "exec");
    let mut child = start_with(&job, |_| ());
    let mut line = String::new();
    let mut out = child.stdout.take().unwrap();
    out.read_to_string(&mut line).unwrap();
    child.wait().unwrap();
    assert!(!line.trim_end().chars().any(char::is_control), "{line:?}");
}

/// NUL and bytes that are no UTF-8 neither end the string nor are replaced.
#[test]
fn report_quotes_any_bytes_without_loss() {
    let every = "for i in $(seq 0 255); do printf \"\\\\$(printf %o $i)\"; done";
    let seen = shell(every, json!({}));
    let wanted: String = {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut command = Command::new("base64");
        command
            .arg("-w0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(&bytes).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    };
    assert_eq!(seen.exited(0).report["stdout"]["base64"], wanted, "{seen}");
    let seen = shell("printf 'a\\000b'", json!({}));
    assert_eq!(seen.exited(0).stdout(), "a\0b", "{seen}");
}

/// A target that prints what a report looks like, with quotes, line ends and a second object after it.
#[test]
fn report_that_a_target_prints_is_only_quoted() {
    let forged = json!({"version": 1, "id": null, "outcome": "exited", "exit_code": 0, "signal": null, "stdout": null}).to_string();
    for text in [
        format!("{forged}\n"),
        format!("\"}},\"outcome\":\"exited\",\"exit_code\":0}}\n{forged}\n"),
        format!("\\\"}}\n\r\n\n{forged}\u{0}{forged}"),
    ] {
        let job = json!({"argv": ["sh", "-c", "cat; exit 9"], "stdin": {"text": text}, "cwd": "/"});
        let bytes = raw(&job);
        assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 1);
        let report: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(report["exit_code"], 9, "{report}");
        assert_eq!(report["stdout"]["text"], text.as_str(), "{report}");
    }
}

/// The descriptors of the report and of the job, and every way to a descriptor of another process: proc_pid_fd(5),
/// pidfd_getfd(2). CVE-2024-21626 was a descriptor that a runtime forgot.
#[test]
fn report_cannot_be_written_by_the_target() {
    let script = "for fd in {3..20} {138..145}; do ( eval \"echo FORGED >&$fd\" ); done
        for f in /proc/[0-9]*/fd/* /proc/[0-9]*/task/*/fd/*; do
            case $f in */fd/[012]) ;; *) ( echo FORGED >> $f ) ;; esac
        done
        exit 5";
    for fields in [
        json!({}),
        json!({"init": false}),
        json!({"seccomp": "off", "user": {"uid": 0, "gid": 0}}),
        json!({"directories": {"/": "full-access"}}),
    ] {
        let scene = Fresh::new();
        let hidden = json!({"stdout": "null", "stderr": "null", "cwd": "/"});
        let job = with(json!({"argv": ["bash", "-c", script]}), &hidden);
        let spec = scene.file("job", &with(job, &fields).to_string());
        // So that what the target writes is not written over.
        let mut report = fs::OpenOptions::new();
        report.create(true).append(true);
        let report = report.open(scene.path().join("report")).unwrap();
        let [job, to] = [OwnedFd::from(fs::File::open(spec).unwrap()), report.into()];
        let (from, into) = (job.as_raw_fd(), to.as_raw_fd());
        let mut command = Command::new(stdbox());
        command.args(["--spec-fd", "140", "--report-fd", "141"]);
        // SAFETY: dup2 may be called between fork and exec.
        unsafe {
            command.pre_exec(move || {
                libc::dup2(from, 140);
                libc::dup2(into, 141);
                Ok(())
            })
        };
        assert!(command.status().unwrap().success());
        let text = fs::read_to_string(scene.path().join("report")).unwrap();
        assert!(!text.contains("FORGED"), "{fields}: {text}");
        let report: Value = serde_json::from_str(&text).expect("one report");
        assert_eq!(report["exit_code"], 5, "{fields}: {report}");
    }
}

/// The place of the report has more names than its number: /dev/stdout, those in /proc/self/fd, and that of the file; so has the
/// pipe of `sync`.
///
/// Shows that none of them can be the target's, for output or for input: CVE-2024-21626 was a descriptor by such a name.
#[test]
fn report_cannot_be_written_through_another_name_of_its_place() {
    let scene = Fresh::new();
    let job = |stream: &str, file: &str, fields: &Value| {
        let own = json!({"argv": ["echo", "{\"outcome\":\"exited\",\"exit_code\":0}"], "cwd": "/", stream: {"file": file}});
        with(own, fields).to_string()
    };
    let refused = |seen: &Run, stream: &str, file: &str| {
        seen.failed("contradiction", "validate");
        assert_eq!(seen.report["outcome"], "invalid-job", "{file}: {seen}");
        let at = format!("/{stream}/file");
        assert_eq!(seen.report["error"]["at"], at, "{file}: {seen}");
    };
    let link = scene.path().join("link");
    std::os::unix::fs::symlink("/proc/self/fd/1", &link).unwrap();
    for file in [
        "/dev/stdout",
        "/dev/fd/1",
        "/proc/self/fd/1",
        link.to_str().unwrap(),
    ] {
        for stream in ["stdout", "stderr"] {
            let seen = run_with(job(stream, file, &json!({})).as_bytes(), &[], |_| {});
            refused(&seen, stream, file);
        }
    }
    // A file that the caller named, or its shell.
    let report = scene.path().join("report");
    let name = report.to_str().unwrap();
    for append in [true, false] {
        let output = json!({"stdout": {"file": name, "append": append}});
        for options in [&["--report", name] as &[&str], &[]] {
            let text = job("stdout", name, &output);
            let told = run_with(text.as_bytes(), options, |command| {
                if options.is_empty() {
                    command.stdout(fs::File::create(&report).unwrap());
                }
            });
            let seen = Run {
                report: serde_json::from_slice(&fs::read(&report).unwrap()).unwrap(),
                ..told
            };
            refused(&seen, "stdout", name);
        }
    }
    // Events and answers of a caller that is waited for.
    let fifo = scene.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut options = fs::OpenOptions::new();
    let held = options.read(true).write(true).open(&fifo).unwrap();
    let number = held.as_raw_fd();
    for (sync, stream) in [
        (
            json!({"events_fd": 50, "control_fd": 51, "pause_before_exec": true}),
            "stdout",
        ),
        (
            json!({"events_fd": 51, "control_fd": 50, "pause_before_exec": true}),
            "stdout",
        ),
        (
            json!({"events_fd": 51, "control_fd": 50, "pause_before_exec": true}),
            "stdin",
        ),
    ] {
        let other = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")
            .unwrap();
        let null = other.as_raw_fd();
        let text = job(stream, fifo.to_str().unwrap(), &json!({ "sync": sync }));
        let seen = run_with(text.as_bytes(), &[], |command| {
            // SAFETY: dup2 may be called between fork and exec.
            unsafe {
                command.pre_exec(move || {
                    libc::dup2(number, 50);
                    libc::dup2(null, 51);
                    Ok(())
                })
            };
        });
        refused(&seen, stream, "fifo");
    }
    // What is not for the report alone can still be named.
    for file in ["/dev/null", "/dev/stderr"] {
        let seen = run_with(job("stdout", file, &json!({})).as_bytes(), &[], |_| {});
        seen.exited(0);
    }
}

/// In a batch the pipes of the input and of the reports are those of all jobs. A job that reads the one has the others' lines, and
/// they never run; one that writes the other answers for them.
///
/// Shows that neither can be had by a name, nor the pipe by which a worker hands a report on: pipe(7), proc_pid_fd(5).
#[test]
fn reports_of_a_batch_cannot_be_written_nor_its_jobs_read_by_a_job() {
    let names = [
        "/dev/stdin",
        "/dev/stdout",
        "/proc/self/fd/0",
        "/proc/self/fd/1",
    ];
    let within = (3..24).map(|fd| format!("/proc/self/fd/{fd}"));
    let mut jobs = Vec::new();
    for name in names.map(String::from).into_iter().chain(within) {
        for (stream, argv) in [
            ("stdin", json!(["cat"])),
            (
                "stdout",
                json!(["echo", "{\"id\":\"bystander\",\"exit_code\":0}"]),
            ),
        ] {
            jobs.push(json!({"id": format!("{stream} {name}"), "argv": argv, "cwd": "/", stream: {"file": name}, "limits": {"wall_time_ms": 3000}}));
        }
    }
    let bystander = json!({"id": "bystander", "argv": ["sh", "-c", "exit 9"], "cwd": "/"});
    jobs.extend([bystander.clone(), bystander]);
    let input: String = jobs.iter().map(|job| format!("{job}\n")).collect();
    let mut command = Command::new(stdbox());
    let mut batch = command
        .args(["batch", "--workers", "1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = batch.stdin.take().unwrap();
    lines.write_all(input.as_bytes()).unwrap();
    drop(lines);
    let output = batch.wait_with_output().unwrap();
    let reports: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(reports.len(), jobs.len(), "{reports:?}");
    for (report, job) in reports.iter().zip(&jobs) {
        assert_eq!(report["id"], job["id"], "{report}");
        match job["id"].as_str().unwrap() {
            "bystander" => assert_eq!(report["exit_code"], 9, "{report}"),
            // Where there is no such descriptor, or one of the caller's, that is nobody's loss.
            name if name.contains("/dev/") || name.ends_with("/0") || name.ends_with("/1") => {
                assert_eq!(report["error"]["code"], "contradiction", "{report}");
            }
            _ => assert_ne!(report["stdout"]["bytes"], 1, "{report}"),
        }
    }
}

/// The report's file lies where the target can write: it leaves lines behind where the report will end, or another file in its
/// place.
///
/// Shows that the file holds the report alone, and that a file which is not it is an error of stdbox's: open(2), "O_TRUNC".
#[test]
fn report_in_a_place_of_the_targets_is_alone_or_missed() {
    let scene = Fresh::new();
    let name = scene.path().join("report");
    let name = name.to_str().unwrap();
    let forged = "{\"outcome\":\"exited\",\"exit_code\":0}";
    let after = |script: &str| {
        let job = with(
            json!({"argv": ["bash", "-c", script, name, forged], "cwd": "/"}),
            &json!({"directories": {"/": "read-only", scene.str(): "full-access"}}),
        );
        run_with(job.to_string().as_bytes(), &["--report", name], |_| {})
    };
    let seen = after("printf '%9999s\\n%s\\n' '' \"$1\" > \"$0\"; exit 4");
    assert_eq!(seen.status, Some(0), "{seen}");
    let report: Value = serde_json::from_slice(&fs::read(name).unwrap()).expect("one report");
    assert_eq!(report["exit_code"], 4, "{report}");
    for script in [
        "rm \"$0\"; echo \"$1\" > \"$0\"; exit 4",
        "echo \"$1\" > \"$0.new\"; mv \"$0.new\" \"$0\"; exit 4",
        "rm \"$0\"; exit 4",
    ] {
        undelivered(&after(script));
    }
}

/// What init says goes through a pipe. The target floods every descriptor that it can get at with records: the pipe must not
/// be among them, by number, through /proc or pidfd_getfd(2).
#[test]
fn report_is_not_made_of_records_that_the_target_writes() {
    for fields in [
        json!({}),
        json!({"init": false}),
        json!({"seccomp": "off", "user": {"uid": 0, "gid": 0}}),
    ] {
        let seen = run(&probe_job(&["write-records"], &fields));
        assert_eq!(seen.exited(0).stdout(), "{\"written\":0}\n", "{fields}");
    }
}

/// Other children of init end before the target does: those that it makes with CLONE_PARENT (clone(2)), and orphans.
#[test]
fn report_tells_the_end_of_the_target_and_of_nobody_else() {
    let word = marker("siblings");
    let seen = run(&probe_job(&["siblings", "40"], &json!({"id": word})));
    seen.exited(7);
    assert!(outlive(&word).is_empty());
}
