//! Streams and descriptors as the caller has them: every form for every stream, sockets, terminals, pipes that were made not
//! to wait, one file or descriptor for several streams, full disks. Nothing here may wait for ever, so each test has its time.
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
    reason = "descriptors are prepared between fork and exec"
)]

mod support;

use nix::libc::{self, c_int};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use support::{Fresh, Run, run_in_namespace, run_with, shell, stdbox};

/// Runs a test that must not take longer than a minute.
fn in_time<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, answer) = mpsc::channel();
    std::thread::spawn(move || done.send(test()));
    match answer.recv_timeout(Duration::from_secs(60)) {
        Ok(answer) => answer,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it waits for ever"),
        Err(mpsc::RecvTimeoutError::Disconnected) => panic!("see above"),
    }
}

/// Passes descriptors on under these numbers.
fn with_fds(job: &Value, options: &[&str], fds: &[(c_int, c_int)]) -> Run {
    let mut fds = fds.to_vec();
    run_with(job.to_string().as_bytes(), options, |command| {
        // SAFETY: dup2 and fcntl may be called between fork and exec.
        unsafe {
            command.pre_exec(move || {
                // Copies far above first, so that none is overwritten before its turn.
                for (own, _) in &mut fds {
                    *own = libc::fcntl(*own, libc::F_DUPFD_CLOEXEC, 1010);
                    if *own == -1 {
                        return Err(io::Error::last_os_error());
                    }
                }
                for (own, number) in &fds {
                    libc::dup2(*own, *number);
                }
                Ok(())
            })
        };
    })
}

fn flags(fd: &impl AsRawFd) -> c_int {
    // SAFETY: F_GETFL takes nothing.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) }
}

fn make_not_wait(fd: &impl AsRawFd) {
    // SAFETY: F_SETFL takes a number.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags(fd) | libc::O_NONBLOCK) };
}

fn make_wait(fd: &impl AsRawFd) {
    // SAFETY: F_SETFL takes a number.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags(fd) & !libc::O_NONBLOCK) };
}

/// Every form of every stream, with every form of the others.
#[test]
fn every_form_of_every_stream_goes_with_every_other() {
    in_time(|| {
        let scene = Fresh::new();
        let at = |name: &str| scene.path().join(name);
        let (input, out, err) = (at("input"), at("out"), at("err"));
        let (out_fd, err_fd) = (at("out-fd"), at("err-fd"));
        let (inherited_out, inherited_err) = (at("inherited-out"), at("inherited-err"));
        fs::write(&input, "in\n").unwrap();
        let read = |path: &std::path::Path| fs::read_to_string(path).unwrap();
        let inputs = [
            (json!("null"), ""),
            (json!("inherit"), "in\n"),
            (json!({"text": "in\n"}), "in\n"),
            (json!({"base64": "aW4K"}), "in\n"),
            (json!({"file": input}), "in\n"),
            (json!({"fd": 7}), "in\n"),
        ];
        let outputs = |file: &std::path::Path, fd: i32| {
            [
                json!("null"),
                json!("inherit"),
                json!({"capture": {}}),
                json!({"capture": {"max_bytes": 4}}),
                json!({"file": file}),
                json!({"file": file, "append": true}),
                json!({"fd": fd}),
            ]
        };
        let mut errors = outputs(&err, 9).to_vec();
        errors.push(json!("stdout"));
        for (stdin, text) in &inputs {
            for stdout in outputs(&out, 8) {
                for stderr in &errors {
                    for file in [&out, &err, &out_fd, &err_fd, &inherited_out, &inherited_err] {
                        fs::write(file, "old\n").unwrap();
                    }
                    let job = json!({
                        "argv": ["/bin/sh", "-c", "cat; echo out; echo err >&2"], "cwd": "/",
                        "stdin": stdin, "stdout": stdout, "stderr": stderr,
                    });
                    fs::write(at("job"), job.to_string()).unwrap();
                    let open = |path| File::options().append(true).open(path).unwrap();
                    let mut command = Command::new(stdbox());
                    command
                        .arg("--spec")
                        .arg(at("job"))
                        .arg("--report")
                        .arg(at("report"))
                        .stdin(File::open(&input).unwrap())
                        .stdout(open(&inherited_out))
                        .stderr(open(&inherited_err));
                    let own = (File::open(&input).unwrap(), open(&out_fd), open(&err_fd));
                    let fds = [own.0.as_raw_fd(), own.1.as_raw_fd(), own.2.as_raw_fd()];
                    // SAFETY: dup2 may be called between fork and exec. The copies are made above all that is open.
                    unsafe {
                        command.pre_exec(move || {
                            let high = fds.map(|fd| libc::fcntl(fd, libc::F_DUPFD, 100));
                            for (number, fd) in (7..).zip(high) {
                                libc::dup2(fd, number);
                                libc::close(fd);
                            }
                            Ok(())
                        })
                    };
                    let status = command.status().unwrap();
                    let report: Value = serde_json::from_str(&read(&at("report"))).unwrap();
                    let shown = format!("{job}\n{report}");
                    assert_eq!(
                        (status.code(), &report["exit_code"]),
                        (Some(0), &json!(0)),
                        "{shown}"
                    );
                    let together = stderr == "stdout";
                    let expected = [
                        (
                            &stdout,
                            format!("{text}out\n{}", if together { "err\n" } else { "" }),
                        ),
                        (stderr, "err\n".to_owned()),
                    ];
                    let places = [
                        ("stdout", &inherited_out, &out, &out_fd),
                        ("stderr", &inherited_err, &err, &err_fd),
                    ];
                    for ((form, expected), (name, inherited, file, fd)) in
                        expected.into_iter().zip(places)
                    {
                        let old = |new: &str| format!("old\n{new}");
                        let (mut captured, mut texts) = (Value::Null, [old(""), old(""), old("")]);
                        match form {
                            form if form == "null" || form == "stdout" => {}
                            form if form == "inherit" => texts[0] = old(&expected),
                            form if form["append"] == true => texts[1] = old(&expected),
                            form if form["file"].is_string() => texts[1] = expected,
                            form if form["fd"].is_number() => texts[2] = old(&expected),
                            form => {
                                let most = form["capture"]["max_bytes"].as_u64().unwrap_or(1 << 20);
                                let most = usize::try_from(most).unwrap();
                                let kept: String = expected.chars().take(most).collect();
                                captured = json!({"text": kept, "bytes": expected.len(), "truncated": kept != expected});
                            }
                        }
                        assert_eq!(report[name], captured, "{name}: {shown}");
                        assert_eq!(
                            [inherited, file, fd].map(|path| read(path)),
                            texts,
                            "{name}: {shown}"
                        );
                    }
                }
            }
        }
    });
}

/// A caller that waits for many things at once has made its pipes so; it may be late with the job.
#[test]
fn job_through_a_pipe_that_was_made_not_to_wait_is_waited_for() {
    in_time(|| {
        for options in [&[][..], &["--spec-fd", "0"]] {
            let (reader, mut writer) = io::pipe().unwrap();
            make_not_wait(&reader);
            let child = Command::new(stdbox())
                .args(options)
                .stdin(reader.try_clone().unwrap())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let job = json!({"argv": ["echo", "x".repeat(100_000)], "cwd": "/"}).to_string();
            let (first, rest) = job.as_bytes().split_at(10);
            for part in [first, rest] {
                std::thread::sleep(Duration::from_millis(100));
                writer.write_all(part).unwrap();
            }
            drop(writer);
            let output = child.wait_with_output().unwrap();
            let report: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(report["exit_code"], 0, "{}", report["error"]);
            assert_ne!(
                flags(&reader) & libc::O_NONBLOCK,
                0,
                "the caller's mode stays"
            );
        }
    });
}

#[test]
fn streams_in_one_file_both_append() {
    in_time(|| {
        let scene = Fresh::new();
        let path = scene.file("both", "");
        let (link, name) = (scene.path().join("link"), scene.path().join("name"));
        std::os::unix::fs::symlink(&path, &link).unwrap();
        fs::hard_link(&path, &name).unwrap();
        for other in [&path, &link, &name] {
            for (append, kept) in [
                ([false, false], ""),
                ([true, true], "old\n"),
                ([true, false], ""),
            ] {
                fs::write(&path, "old\n").unwrap();
                let fields = json!({
                    "stdout": {"file": path, "append": append[0]}, "stderr": {"file": other, "append": append[1]}
                });
                shell("echo 1; echo 2 >&2; echo 3; echo 4 >&2", fields).exited(0);
                assert_eq!(
                    fs::read_to_string(&path).unwrap(),
                    format!("{kept}1\n2\n3\n4\n"),
                    "{append:?}"
                );
            }
        }
    });
}

#[test]
fn socket_may_be_every_stream_at_once() {
    in_time(|| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let job = json!({
            "argv": ["/bin/sh", "-c", "read line; echo \"got $line\"; echo err >&2"], "cwd": "/",
            "stdin": {"fd": 9}, "stdout": {"fd": 9}, "stderr": {"fd": 9}, "fds": [9],
        });
        (&ours).write_all(b"a line\n").unwrap();
        with_fds(&job, &[], &[(theirs.as_raw_fd(), 9)]).exited(0);
        drop(theirs);
        let mut text = String::new();
        (&ours).read_to_string(&mut text).unwrap();
        assert_eq!(text, "got a line\nerr\n");
    });
}

/// A terminal passed on is one for the target too, though not its controlling one.
#[test]
fn terminal_may_be_every_stream_at_once() {
    in_time(|| {
        let (mut master, mut slave) = (-1, -1);
        // SAFETY: both places have room for a descriptor; name, settings and size are left out.
        let made = unsafe {
            libc::openpty(
                &raw mut master,
                &raw mut slave,
                std::ptr::null_mut(),
                std::ptr::null(),
                std::ptr::null(),
            )
        };
        assert_eq!(made, 0);
        // SAFETY: both are open and nobody else's.
        let [mut master, slave] = [master, slave].map(|fd| unsafe { File::from_raw_fd(fd) });
        let script = "test -t 0 -a -t 1 -a -t 2 || exit 9; (: < /dev/tty) 2>/dev/null && exit 8; read line; echo \"got $line\"; exit 3";
        let job = json!({
            "argv": ["/bin/sh", "-c", script], "cwd": "/",
            "stdin": {"fd": 9}, "stdout": {"fd": 9}, "stderr": {"fd": 9},
        });
        master.write_all(b"a line\n").unwrap();
        with_fds(&job, &[], &[(slave.as_raw_fd(), 9)]).exited(3);
        let mut text = [0; 100];
        let count = master.read(&mut text).unwrap();
        let text = String::from_utf8_lossy(&text[..count]).replace('\r', "");
        assert!(text.ends_with("got a line\n"), "{text:?}");
    });
}

/// The mode of a pipe belongs to all who have it open, so it is passed on as it is.
#[test]
fn stream_that_was_made_not_to_wait_is_passed_on_as_it_is() {
    in_time(|| {
        let (reader, writer) = io::pipe().unwrap();
        make_not_wait(&reader);
        make_not_wait(&writer);
        let job = json!({
            "argv": ["/bin/sh", "-c", "exec 5>&1; grep flags /proc/$$/fdinfo/0 /proc/$$/fdinfo/5 >&2; read line; echo $?"], "cwd": "/",
            "stdin": {"fd": 8}, "stdout": {"fd": 9},
        });
        let seen = with_fds(
            &job,
            &[],
            &[(reader.as_raw_fd(), 8), (writer.as_raw_fd(), 9)],
        );
        seen.exited(0);
        for line in seen.stderr().lines() {
            let mode = line.rsplit('\t').next().unwrap();
            let mode = c_int::from_str_radix(mode, 8).unwrap();
            assert_ne!(mode & libc::O_NONBLOCK, 0, "{seen}");
        }
        assert_eq!(seen.stderr().lines().count(), 2, "{seen}");
        for end in [flags(&reader), flags(&writer)] {
            assert_ne!(end & libc::O_NONBLOCK, 0);
        }
        // It did not wait for a line. A test beside this one may hold the other end for the moment between fork and exec.
        drop(writer);
        make_wait(&reader);
        let mut text = String::new();
        (&reader).read_to_string(&mut text).unwrap();
        assert_ne!(text, "0\n");
    });
}

#[test]
fn directory_as_a_stream_is_the_containers() {
    in_time(|| {
        let scene = Fresh::new();
        scene.file("secret", "");
        let directory = File::open(scene.path()).unwrap();
        let job = |mode: &str| json!({"argv": ["ls", "/proc/self/fd/0/"], "cwd": "/", "stdin": {"fd": 9}, "directories": {scene.str(): mode}});
        let fds = [(directory.as_raw_fd(), 9)];
        let seen = with_fds(&job("read-only"), &[], &fds);
        assert_eq!(seen.exited(0).stdout(), "secret\n", "{seen}");
        let seen = with_fds(&job("hidden"), &[], &fds);
        assert_eq!(seen.exited(0).stdout(), "", "{seen}");
    });
}

#[test]
fn input_of_any_size_that_is_never_read_does_not_matter() {
    in_time(|| {
        let scene = Fresh::new();
        let path = scene.file("large", "");
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(1 << 40)
            .unwrap();
        shell("exit 3", json!({"stdin": {"file": path}})).exited(3);
        let zeros = File::open("/dev/zero").unwrap();
        let job = json!({"argv": ["/bin/sh", "-c", "head -c 3 | wc -c; exit 3"], "cwd": "/", "stdin": {"fd": 9}});
        let seen = with_fds(&job, &[], &[(zeros.as_raw_fd(), 9)]);
        assert_eq!(seen.exited(3).stdout().trim(), "3", "{seen}");
        // A pipe that nobody writes and nobody closes.
        let (reader, writer) = io::pipe().unwrap();
        let job = json!({"argv": ["/bin/sh", "-c", "exit 4"], "cwd": "/", "stdin": {"fd": 9}});
        with_fds(&job, &[], &[(reader.as_raw_fd(), 9)]).exited(4);
        drop(writer);
    });
}

#[test]
fn output_file_on_a_full_disk_is_an_error_of_the_target() {
    in_time(|| {
        let scene = Fresh::new();
        let script = format!(
            "mount -t tmpfs -o size=16k tmpfs {}; exec \"$STDBOX\"",
            scene.str()
        );
        let file = scene.path().join("out");
        let job = json!({
            "argv": ["/bin/sh", "-c", "head -c 100000 /dev/zero"], "cwd": "/", "stdout": {"file": file},
        });
        let seen = run_in_namespace(&script, &job);
        seen.exited(1);
        assert!(seen.stderr().contains("No space left"), "{seen}");
        // Nor may it be made there.
        let script = format!(
            "mount -t tmpfs -o size=16k,nr_inodes=1 tmpfs {}; exec \"$STDBOX\"",
            scene.str()
        );
        let seen = run_in_namespace(&script, &job);
        seen.failed("file-refused", "validate");
        assert_eq!(
            (
                &seen.report["error"]["at"],
                &seen.report["error"]["errno_name"]
            ),
            (&json!("/stdout/file"), &json!("ENOSPC")),
            "{seen}"
        );
    });
}

// ---- descriptors beside the streams

/// Numbers with gaps, low and high ones, in any order.
#[test]
fn kept_descriptors_have_their_numbers_and_all_between_are_closed() {
    in_time(|| {
        let scene = Fresh::new();
        let numbers = [3, 5, 6, 40, 255, 256, 700, 1000];
        let files: Vec<OwnedFd> = numbers
            .iter()
            .map(|n| File::open(scene.file(&n.to_string(), "")).unwrap().into())
            .collect();
        let fds: Vec<(c_int, c_int)> = files.iter().map(AsRawFd::as_raw_fd).zip(numbers).collect();
        let script = "cd /proc/$$/fd; for fd in *; do case $(readlink $fd) in */stdbox-test-*) echo $fd;; esac; done";
        for kept in [&[1000, 3, 256, 40][..], &[5, 6], &[700], &[]] {
            let job = json!({"argv": ["/bin/sh", "-c", script], "cwd": "/", "fds": kept});
            let seen = with_fds(&job, &[], &fds);
            let mut open: Vec<c_int> = seen
                .exited(0)
                .stdout()
                .lines()
                .map(|line| line.parse().unwrap())
                .collect();
            open.sort_unstable();
            let mut kept = kept.to_vec();
            kept.sort_unstable();
            assert_eq!(open, kept, "{seen}");
        }
    });
}

/// A target that had the report's descriptor could write a report of its own.
#[test]
fn descriptor_of_the_job_or_the_report_is_not_the_targets() {
    in_time(|| {
        let scene = Fresh::new();
        let report = scene.path().join("report");
        for (fields, code, at) in [
            (json!({"fds": [9]}), "bad-descriptor", "/fds/0"),
            (json!({"stdout": {"fd": 9}}), "contradiction", "/stdout/fd"),
            (json!({"stderr": {"fd": 9}}), "contradiction", "/stderr/fd"),
            (json!({"stdin": {"fd": 8}}), "contradiction", "/stdin/fd"),
        ] {
            let mut job = json!({"argv": ["/bin/sh", "-c", "echo forged >&9; echo forged; echo forged >&2"], "cwd": "/"});
            job.as_object_mut()
                .unwrap()
                .extend(fields.as_object().unwrap().clone());
            for command in ["run", "check"] {
                let source = File::open(scene.file("job", &job.to_string())).unwrap();
                let to = File::create(&report).unwrap();
                let fds = [(source.as_raw_fd(), 8), (to.as_raw_fd(), 9)];
                let options = [command, "--spec-fd", "8", "--report-fd", "9"];
                let seen = with_fds(&json!(null), &options, &fds);
                assert_eq!(seen.status, Some(2), "{fields}");
                let report: Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
                assert_eq!(
                    (&report["error"]["code"], &report["error"]["at"]),
                    (&json!(code), &json!(at)),
                    "{fields}"
                );
            }
        }
    });
}
