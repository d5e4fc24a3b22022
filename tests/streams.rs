//! Standard input, output and error: where they come from and go to, how much of them is kept, and that nothing that a
//! target does with them makes stdbox wait or grow.
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
    reason = "descriptors are prepared between fork and exec, and pipes made"
)]

mod support;

use nix::libc::{self, c_int};
use serde_json::{Value, json};
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::{Fresh, Run, probe, run, run_with, shell, stdbox};

fn probe_job(arguments: &[&str], fields: Value) -> Value {
    let probe = probe();
    let argv: Vec<&str> = std::iter::once(probe.to_str().unwrap())
        .chain(arguments.iter().copied())
        .collect();
    let mut job = json!({"argv": argv, "cwd": "/"});
    for (key, value) in fields.as_object().expect("fields are an object") {
        job[key] = value.clone();
    }
    job
}

/// Runs a job with one of the caller's descriptors passed on as number 9.
fn run_with_9(job: &Value, own: c_int) -> Run {
    run_with(job.to_string().as_bytes(), &[], |command| {
        // SAFETY: dup2 and fcntl may be called between fork and exec.
        unsafe {
            command.pre_exec(move || {
                libc::dup2(own, 9);
                // If it had this number already, it is still close-on-exec.
                libc::fcntl(9, libc::F_SETFD, 0);
                Ok(())
            })
        };
    })
}

// ---- captured output

/// Runs a job, and gives the most memory that stdbox itself had resident, in bytes.
#[expect(clippy::zombie_processes, reason = "wait4 waits for it")]
fn peak_of(job: &Value) -> (Value, u64) {
    let mut command = Command::new(stdbox());
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(job.to_string().as_bytes())
        .unwrap();
    let mut text = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    let mut status = 0;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both places have room for what is written. Of its children stdbox counts init only, which is a copy of itself:
    // what the container's other processes use, init would have to wait for.
    let ended = unsafe {
        libc::wait4(
            c_int::try_from(child.id()).unwrap(),
            &raw mut status,
            0,
            usage.as_mut_ptr(),
        )
    };
    assert!(ended > 0 && status == 0, "status {status}: {text}");
    // SAFETY: all-zero bytes are a valid `rusage`, and the kernel has filled it in.
    let usage = unsafe { usage.assume_init() };
    (
        serde_json::from_str(&text).unwrap(),
        u64::try_from(usage.ru_maxrss).unwrap() * 1024,
    )
}

#[test]
fn capture_of_a_gigabyte_on_both_streams_neither_grows_nor_waits() {
    const EACH: u64 = 1 << 30;
    let probe = probe();
    let script = format!(
        "{0} flood 2 {EACH} >/dev/null & {0} flood 1 {EACH}; wait",
        probe.display()
    );
    let job =
        json!({"argv": ["/bin/sh", "-c", script], "cwd": "/", "directories": {"/": "read-only"}});
    let (report, peak) = peak_of(&job);
    assert_eq!(report["exit_code"], 0, "{}", report["error"]);
    for stream in ["stdout", "stderr"] {
        assert_eq!(
            (&report[stream]["bytes"], &report[stream]["truncated"]),
            (&json!(EACH), &json!(true)),
            "{stream}"
        );
        let text = report[stream]["text"].as_str().unwrap();
        assert_eq!(
            (text.len(), text.trim_matches('x')),
            (1 << 20, ""),
            "{stream}"
        );
    }
    assert!(peak < 16 << 20, "stdbox had {peak} bytes resident");
}

/// Whoever writes into an enlarged pipe as fast as it is emptied must not keep stdbox from looking at its clock.
#[test]
fn capture_of_a_flood_does_not_delay_the_wall_time_limit() {
    let probe = probe();
    let flood = format!("{} flood 1 0 1048576", probe.display());
    for script in [
        format!("{flood} & {flood} & {flood} & {flood}"),
        format!("exec {flood}"),
        "exec yes".into(),
    ] {
        let started = Instant::now();
        let seen = shell(
            &script,
            json!({"limits": {"wall_time_ms": 500}, "stdout": {"capture": {"max_bytes": 10}}}),
        );
        assert_eq!(seen.report["limit"], "wall-time", "{seen}");
        assert_eq!(
            (seen.stdout().len(), &seen.report["stdout"]["truncated"]),
            (10, &json!(true)),
            "{seen}"
        );
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{script}: {:?}",
            started.elapsed()
        );
    }
}

#[test]
fn capture_of_a_flood_does_not_delay_a_signal_to_stop() {
    let job = probe_job(&["flood", "1", "0", "1048576"], json!({}));
    let child = support::start(&job);
    std::thread::sleep(Duration::from_millis(300));
    // SAFETY: no memory is passed.
    unsafe { libc::kill(c_int::try_from(child.id()).unwrap(), libc::SIGTERM) };
    let output = child.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["outcome"], "cancelled", "{}", report["error"]);
}

#[test]
fn capture_bound_keeps_the_first_bytes() {
    for (bound, kept, truncated) in [
        (0, "", true),
        (1, "a", true),
        (5, "abcde", true),
        (6, "abcdef", false),
        (7, "abcdef", false),
    ] {
        let capture = json!({"capture": {"max_bytes": bound}});
        let seen = shell(
            "printf abcdef; printf abcdef >&2",
            json!({"stdout": capture, "stderr": capture}),
        );
        seen.exited(0);
        for stream in ["stdout", "stderr"] {
            let expected = json!({"text": kept, "bytes": 6, "truncated": truncated});
            assert_eq!(seen.report[stream], expected, "{bound}\n{seen}");
        }
    }
}

#[test]
fn capture_of_nothing_is_empty_and_not_truncated() {
    let seen = shell("exit 0", json!({"stdout": {"capture": {"max_bytes": 0}}}));
    assert_eq!(
        seen.report["stdout"],
        json!({"text": "", "bytes": 0, "truncated": false}),
        "{seen}"
    );
}

#[test]
fn capture_of_one_byte_more_than_a_chunk_is_whole() {
    for bytes in [65535, 65536, 65537, 131_072, 1 << 20, (1 << 20) + 1] {
        let seen = run(&probe_job(&["flood", "1", &bytes.to_string()], json!({})));
        seen.exited(0);
        assert_eq!(seen.report["stdout"]["bytes"], bytes, "{bytes}");
        assert_eq!(seen.stdout().len(), bytes.min(1 << 20), "{bytes}");
    }
}

#[test]
fn capture_that_is_not_utf8_is_base64() {
    let seen = shell("printf 'a\\377b'; printf '\\303\\251' >&2", json!({}));
    assert_eq!(
        seen.exited(0).report["stdout"],
        json!({"base64": "Yf9i", "bytes": 3, "truncated": false}),
        "{seen}"
    );
    assert_eq!(
        seen.report["stderr"],
        json!({"text": "é", "bytes": 2, "truncated": false}),
        "{seen}"
    );
    // Valid text that the bound cuts in the middle of a character is none any more.
    let seen = shell(
        "printf 'x\\303\\251'",
        json!({"stdout": {"capture": {"max_bytes": 2}}}),
    );
    assert_eq!(
        seen.exited(0).report["stdout"],
        json!({"base64": "eMM=", "bytes": 3, "truncated": true}),
        "{seen}"
    );
    let seen = shell("printf '\\000\\001\\n\"\\\\'", json!({}));
    assert_eq!(seen.exited(0).stdout(), "\0\u{1}\n\"\\", "{seen}");
}

#[test]
fn capture_of_both_streams_in_one_keeps_their_order() {
    let script = "i=0; while [ $i -lt 100 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done";
    let expected: String = (0..100).map(|i| format!("out {i}\nerr {i}\n")).collect();
    let seen = shell(script, json!({"stderr": "stdout"}));
    assert_eq!(seen.exited(0).stdout(), expected, "{seen}");
    assert_eq!(seen.report["stderr"], Value::Null, "{seen}");
}

#[test]
fn capture_written_before_the_end_is_never_lost() {
    // The last bytes are in the pipe when the target is gone.
    for _ in 0..50 {
        let seen = shell("printf 1234567890; kill -KILL $$", json!({}));
        assert_eq!(seen.stdout(), "1234567890", "{seen}");
    }
}

#[test]
fn capture_of_a_background_child_that_keeps_the_pipe_does_not_wait_for_it() {
    let started = Instant::now();
    let seen = shell(
        &format!("{} hold-pipe 600000; echo done", probe().display()),
        json!({}),
    );
    assert!(seen.exited(0).stdout().ends_with("done\n"), "{seen}");
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn capture_of_a_target_that_closes_its_streams_goes_on_until_it_ends() {
    let seen = run(&probe_job(&["close-streams", "300"], json!({})));
    seen.exited(5);
    assert!(
        seen.report["usage"]["wall_ns"].as_u64() >= Some(300_000_000),
        "{seen}"
    );
    assert!(
        seen.report["usage"]["cpu_system_ns"].as_u64() < Some(100_000_000),
        "waiting costs nothing\n{seen}"
    );
}

/// A closed stream is at its end for ever: whoever polls it must not spin.
#[test]
fn capture_of_closed_streams_costs_no_processor_time() {
    let job = probe_job(
        &["close-streams", "1500"],
        json!({"stdin": {"text": "x".repeat(200_000)}}),
    );
    let before = children_cpu();
    run(&job).exited(5);
    // Of all stdbox that tests in this process have run meanwhile; most of them use next to nothing.
    let used = children_cpu() - before;
    assert!(used < Duration::from_secs(60), "{used:?}");
    let mut command = Command::new(stdbox());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(job.to_string().as_bytes())
        .unwrap();
    std::thread::sleep(Duration::from_millis(1000));
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let ticks: Vec<u64> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|t| t.parse().unwrap())
        .collect();
    child.wait().unwrap();
    // A hundred ticks are a second.
    assert!(
        ticks.iter().sum::<u64>() < 30,
        "stdbox was busy while it waited: {ticks:?} ticks"
    );
}

fn children_cpu() -> Duration {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: there is room for what is written.
    unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()) };
    // SAFETY: all-zero bytes are a valid `rusage`, and the kernel has filled it in.
    let usage = unsafe { usage.assume_init() };
    Duration::from_secs(u64::try_from(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec).unwrap())
}

#[test]
fn capture_may_be_reopened_by_the_target() {
    let seen = shell(
        "echo one > /dev/stdout; echo two >> /proc/self/fd/1; echo three > /dev/stderr",
        json!({}),
    );
    assert_eq!(
        (seen.exited(0).stdout(), seen.stderr()),
        ("one\ntwo\n", "three\n"),
        "{seen}"
    );
}

// ---- standard input

#[test]
fn stdin_is_empty_by_default() {
    let seen = shell("cat; readlink /proc/self/fd/0", json!({}));
    assert_eq!(seen.exited(0).stdout(), "/dev/null\n");
    let seen = shell("cat; readlink /proc/self/fd/0", json!({"stdin": "null"}));
    assert_eq!(seen.exited(0).stdout(), "/dev/null\n");
}

#[test]
fn stdin_text_and_base64_arrive_whole() {
    assert_eq!(
        shell("cat", json!({"stdin": {"text": "héllo\n\u{0}x"}}))
            .exited(0)
            .stdout(),
        "héllo\n\0x"
    );
    assert_eq!(
        shell("cat", json!({"stdin": {"text": ""}}))
            .exited(0)
            .stdout(),
        ""
    );
    assert_eq!(
        shell("od -An -tx1", json!({"stdin": {"base64": "/wAB"}}))
            .exited(0)
            .stdout(),
        " ff 00 01\n"
    );
    let large = "0123456789abcdef".repeat(1 << 16);
    let seen = shell(
        "cat",
        json!({"stdin": {"text": large}, "stdout": {"capture": {"max_bytes": 2 << 20}}}),
    );
    assert!(
        seen.exited(0).stdout() == large,
        "a mebibyte comes back as it was"
    );
}

#[test]
fn stdin_that_is_never_read_does_not_matter() {
    let large = "x".repeat(8 << 20);
    let seen = shell("exit 3", json!({"stdin": {"text": large}}));
    seen.exited(3);
    let seen = shell(
        "exec <&-; echo closed; sleep 0.2",
        json!({"stdin": {"text": large}}),
    );
    assert_eq!(seen.exited(0).stdout(), "closed\n");
    let seen = shell("head -c 3; exit 3", json!({"stdin": {"text": large}}));
    assert_eq!(seen.exited(3).stdout(), "xxx");
}

#[test]
fn stdin_is_fed_slowly_to_a_slow_reader() {
    let large = "x".repeat(300_000);
    let seen = shell(
        "sleep 0.2; head -c 100000 | wc -c; sleep 0.2; wc -c",
        json!({"stdin": {"text": large}}),
    );
    let total: u32 = seen
        .exited(0)
        .stdout()
        .lines()
        .map(|line| line.trim().parse::<u32>().unwrap())
        .sum();
    assert!(
        (200_000..=300_000).contains(&total),
        "head may read more than it shows: {seen}"
    );
}

#[test]
fn stdin_file_is_read_from_the_host() {
    let scene = Fresh::new();
    let path = scene.file("input", "from the host\n");
    // Also where the container cannot see it: files are opened before it exists.
    let fields = json!({"stdin": {"file": path}, "directories": {scene.str(): "hidden"}});
    assert_eq!(shell("cat", fields).exited(0).stdout(), "from the host\n");
    let fields = json!({"stdin": {"file": path}});
    let seen = shell("echo more >&0", fields);
    assert_ne!(
        seen.report["exit_code"], 0,
        "it is open for reading only\n{seen}"
    );
    assert_eq!(fs::read_to_string(path).unwrap(), "from the host\n");
}

#[test]
fn stdin_descriptor_is_the_callers() {
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"through a pipe\n").unwrap();
    drop(writer);
    let job = json!({"argv": ["cat"], "cwd": "/", "stdin": {"fd": 9}});
    assert_eq!(
        run_with_9(&job, reader.as_raw_fd()).exited(0).stdout(),
        "through a pipe\n"
    );
}

#[test]
fn stdin_inherit_needs_the_job_elsewhere() {
    let seen = shell("cat", json!({"stdin": "inherit"}));
    seen.failed("contradiction", "validate");
    assert_eq!(seen.report["error"]["at"], "/stdin", "{seen}");
    shell("cat", json!({"stdin": {"fd": 0}})).failed("contradiction", "validate");
}

// ---- files and descriptors as output

#[test]
fn stdout_file_is_replaced_or_appended_to() {
    let scene = Fresh::new();
    let path = scene.file("output", "a long line that was there before\n");
    for hidden in [false, true] {
        fs::write(&path, "a long line that was there before\n").unwrap();
        let directories = if hidden {
            json!({scene.str(): "hidden"})
        } else {
            json!({})
        };
        let seen = shell(
            "echo short",
            json!({"stdout": {"file": path}, "directories": directories}),
        );
        assert_eq!(
            (&seen.exited(0).report["stdout"], seen.status),
            (&Value::Null, Some(0)),
            "{seen}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "short\n");
        shell(
            "echo more",
            json!({"stdout": {"file": path, "append": true}, "directories": directories}),
        )
        .exited(0);
        assert_eq!(fs::read_to_string(&path).unwrap(), "short\nmore\n");
    }
}

#[test]
fn stdout_file_is_created_with_the_callers_umask() {
    use std::os::unix::fs::PermissionsExt;
    let scene = Fresh::new();
    for (mask, mode) in [(0o022, 0o644), (0o077, 0o600), (0o000, 0o666)] {
        let path = scene.path().join(format!("output-{mask:o}"));
        let job = json!({"argv": ["echo"], "cwd": "/", "stdout": {"file": path}});
        run_with(job.to_string().as_bytes(), &[], |command| {
            // SAFETY: umask may be called between fork and exec.
            unsafe {
                command.pre_exec(move || {
                    libc::umask(mask);
                    Ok(())
                })
            };
        })
        .exited(0);
        assert_eq!(
            fs::metadata(path).unwrap().permissions().mode() & 0o7777,
            mode
        );
    }
}

#[test]
fn stdout_and_stderr_may_be_one_file() {
    let scene = Fresh::new();
    let path = scene.path().join("both");
    shell(
        "echo out; echo err >&2; echo out",
        json!({"stdout": {"file": path}, "stderr": "stdout"}),
    )
    .exited(0);
    assert_eq!(fs::read_to_string(&path).unwrap(), "out\nerr\nout\n");
    let append = json!({"file": path, "append": true});
    shell(
        "echo 1; echo 2 >&2; echo 3",
        json!({"stdout": append, "stderr": append}),
    )
    .exited(0);
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "out\nerr\nout\n1\n2\n3\n"
    );
}

/// A job that is refused must not have emptied the files that it names.
#[test]
fn stdout_file_survives_a_job_that_cannot_be_run() {
    let scene = Fresh::new();
    let path = scene.file("precious", "precious\n");
    for fields in [
        json!({"stdout": {"file": path}, "stderr": {"file": "/no/such/directory/x"}}),
        json!({"stdout": {"file": path}, "stdin": {"file": "/no/such/file"}}),
        json!({"stdout": {"file": path}, "directories": {"/no/such/directory": "hidden"}}),
        json!({"stdout": {"file": path}, "fds": [77]}),
    ] {
        let seen = shell("echo", fields.clone());
        assert_eq!(seen.report["outcome"], "invalid-job", "{fields}\n{seen}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious\n", "{fields}");
    }
}

#[test]
fn stream_that_cannot_be_opened_names_its_field() {
    let scene = Fresh::new();
    let socket = scene.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let fifo = scene.path().join("fifo");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    for (fields, at, code) in [
        (
            json!({"stdin": {"file": "/no/such/file"}}),
            "/stdin/file",
            "no-such-file",
        ),
        (
            json!({"stdin": {"file": "/etc"}}),
            "/stdin/file",
            "file-refused",
        ),
        (
            json!({"stdin": {"file": "/etc/passwd/x"}}),
            "/stdin/file",
            "file-refused",
        ),
        (
            json!({"stdin": {"file": socket}}),
            "/stdin/file",
            "file-refused",
        ),
        (
            json!({"stdout": {"file": "/no/such/directory/x"}}),
            "/stdout/file",
            "no-such-file",
        ),
        (
            json!({"stdout": {"file": "/etc"}}),
            "/stdout/file",
            "file-refused",
        ),
        (
            json!({"stderr": {"file": "/etc"}}),
            "/stderr/file",
            "file-refused",
        ),
        // Nobody reads it, and waiting for someone would be waiting for ever.
        (
            json!({"stdout": {"file": fifo}}),
            "/stdout/file",
            "file-refused",
        ),
    ] {
        let seen = shell("exit 0", fields.clone());
        seen.failed(code, "validate");
        assert_eq!(
            (&seen.report["error"]["at"], seen.status),
            (&json!(at), Some(2)),
            "{fields}\n{seen}"
        );
        assert!(
            seen.report["error"]["errno_name"].is_string(),
            "{fields}\n{seen}"
        );
        assert!(seen.report["error"]["path"].is_string(), "{fields}\n{seen}");
    }
}

#[test]
fn stream_may_be_a_device() {
    let fields = json!({"stdin": {"file": "/dev/zero"}, "stdout": {"file": "/dev/null"}, "stderr": {"capture": {}}});
    let seen = shell("head -c 100 | wc -c >&2; echo dropped", fields);
    assert_eq!(seen.exited(0).stderr().trim(), "100", "{seen}");
    let seen = shell("echo x || exit 9", json!({"stdout": {"file": "/dev/full"}}));
    seen.exited(9);
    for word in [json!({"stdout": "null"}), json!({"stderr": "null"})] {
        shell("echo x; echo y >&2", word).exited(0);
    }
}

#[test]
fn stream_may_be_a_named_pipe_with_somebody_at_the_other_end() {
    let scene = Fresh::new();
    let fifo = scene.path().join("fifo");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let mut reader = Command::new("cat")
        .arg(&fifo)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The reader needs a moment; until then the pipe is one that nobody reads.
    let started = Instant::now();
    let seen = loop {
        let seen = shell("echo through the pipe", json!({"stdout": {"file": fifo}}));
        if seen.report["outcome"] == "exited" || started.elapsed() > Duration::from_secs(20) {
            break seen;
        }
    };
    seen.exited(0);
    let mut text = String::new();
    reader
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    reader.wait().unwrap();
    assert_eq!(text, "through the pipe\n");
    // As input: the writer comes later, and the target waits for it as it would for any pipe.
    let writer = std::thread::spawn({
        let fifo = fifo.clone();
        move || {
            std::thread::sleep(Duration::from_millis(200));
            fs::write(fifo, "late\n").unwrap();
        }
    });
    let seen = shell(
        "cat",
        json!({"stdin": {"file": fifo}, "limits": {"wall_time_ms": 20_000}}),
    );
    if writer.is_finished() {
        writer.join().unwrap();
        assert_eq!(seen.exited(0).stdout(), "late\n", "{seen}");
    } else {
        // Frees the writer before the test fails.
        let _text = fs::read_to_string(&fifo);
        writer.join().unwrap();
        panic!("the target saw the end of the pipe before anybody had written\n{seen}");
    }
}

fn fifo(scene: &Fresh) -> std::path::PathBuf {
    let fifo = scene.path().join("fifo");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    fifo
}

/// Nobody ever writes: that is time of the job, which a limit ends.
#[test]
fn stream_of_a_pipe_that_nobody_writes_does_not_outlast_the_wall_time_limit() {
    let scene = Fresh::new();
    let fifo = fifo(&scene);
    let job = json!({"argv": ["cat"], "cwd": "/", "stdin": {"file": fifo}, "limits": {"wall_time_ms": 300}});
    let mut child = support::start(&job);
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() && started.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let ended = child.try_wait().unwrap().is_some();
    // Frees it before the test fails.
    let _writer = fs::OpenOptions::new().read(true).write(true).open(&fifo);
    let output = child.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(ended, "it waited for ever");
    assert_eq!(report["limit"], "wall-time", "{report}");
}

#[test]
fn stream_of_a_pipe_that_nobody_writes_can_be_cancelled() {
    let scene = Fresh::new();
    let fifo = fifo(&scene);
    let job = json!({"argv": ["cat"], "cwd": "/", "stdin": {"file": fifo}});
    let child = support::start(&job);
    std::thread::sleep(Duration::from_millis(300));
    // SAFETY: no memory is passed.
    unsafe { libc::kill(c_int::try_from(child.id()).unwrap(), libc::SIGTERM) };
    let report: Value = serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(report["outcome"], "cancelled", "{report}");
}

/// What the caller may open, the job gets, even where the container's user could not open it again.
#[test]
fn stream_of_another_users_pipe_is_read_by_root() {
    if !support::root() {
        return support::skip("root", "an ordinary user cannot open another user's pipe");
    }
    let scene = Fresh::new();
    let fifo = fifo(&scene);
    std::os::unix::fs::chown(&fifo, Some(1), Some(1)).unwrap();
    fs::set_permissions(&fifo, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let writer = std::thread::spawn({
        let fifo = fifo.clone();
        move || fs::write(fifo, "hello\n")
    });
    std::thread::sleep(Duration::from_millis(100));
    let seen = shell("cat", json!({"stdin": {"file": fifo}}));
    // Frees the writer before the test fails.
    let _reader = fs::OpenOptions::new().read(true).write(true).open(&fifo);
    writer.join().unwrap().unwrap();
    assert_eq!(seen.exited(0).stdout(), "hello\n", "{seen}");
}

#[test]
fn stream_descriptors_may_be_swapped() {
    let scene = Fresh::new();
    let report = scene.path().join("report.json");
    let job = json!({"argv": ["/bin/sh", "-c", "echo out; echo err >&2"], "cwd": "/", "stdout": {"fd": 2}, "stderr": {"fd": 1}});
    let mut command = Command::new(stdbox());
    command
        .arg("--report")
        .arg(&report)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(job.to_string().as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (
            String::from_utf8_lossy(&output.stdout).as_ref(),
            String::from_utf8_lossy(&output.stderr).as_ref()
        ),
        ("err\n", "out\n")
    );
    let report: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    assert_eq!(report["exit_code"], 0);
}

#[test]
fn stream_inherit_needs_the_report_elsewhere() {
    shell("exit 0", json!({"stdout": "inherit"})).failed("contradiction", "validate");
    shell("exit 0", json!({"stdout": {"fd": 1}})).failed("contradiction", "validate");
    let seen = shell("exit 0", json!({"stderr": {"fd": 1}}));
    seen.failed("contradiction", "validate");
    assert_eq!(seen.report["error"]["at"], "/stderr/fd", "{seen}");
    // stderr belongs to nobody.
    let seen = shell("echo err >&2", json!({"stderr": "inherit"}));
    assert_eq!(
        (seen.exited(0).complaint.as_str(), &seen.report["stderr"]),
        ("err\n", &Value::Null)
    );
}

/// The report goes through the caller's own pipe, whose mode is none of stdbox's business.
#[test]
fn stream_that_is_inherited_keeps_its_flags() {
    let (reader, writer) = io::pipe().unwrap();
    let flags = || {
        // SAFETY: F_GETFL takes nothing.
        let flags = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_GETFL) };
        flags & libc::O_NONBLOCK
    };
    let job =
        json!({"argv": ["echo", "x"], "cwd": "/", "stdout": {"fd": 9}, "stdin": {"text": "y"}});
    run_with_9(&job, writer.as_raw_fd()).exited(0);
    assert_eq!(flags(), 0);
    drop((reader, writer));
}

#[test]
fn stream_kept_and_given_is_both() {
    let (reader, writer) = io::pipe().unwrap();
    let job = json!({"argv": ["/bin/sh", "-c", "echo 1; echo 9 >&9"], "cwd": "/", "stdout": {"fd": 9}, "fds": [9]});
    run_with_9(&job, writer.as_raw_fd()).exited(0);
    drop(writer);
    assert_eq!(io::read_to_string(reader).unwrap(), "1\n9\n");
}

/// Output that goes to a pipe nobody reads blocks the target, not the limits on it.
#[test]
fn stream_that_blocks_the_target_does_not_block_stdbox() {
    let (reader, writer) = io::pipe().unwrap();
    let job =
        json!({"argv": ["yes"], "cwd": "/", "stdout": {"fd": 9}, "limits": {"wall_time_ms": 300}});
    let seen = run_with_9(&job, writer.as_raw_fd());
    assert_eq!(seen.report["limit"], "wall-time", "{seen}");
    drop((reader, writer));
}

#[test]
fn stream_of_a_broken_pipe_ends_the_target_as_usual() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let job = json!({"argv": ["yes"], "cwd": "/", "stdout": {"fd": 9}});
    let seen = run_with_9(&job, writer.as_raw_fd());
    assert_eq!(
        (&seen.report["outcome"], &seen.report["signal"]),
        (&json!("signaled"), &json!(libc::SIGPIPE)),
        "{seen}"
    );
}
