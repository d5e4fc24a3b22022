//! From the first byte of the job to the last of the report: how targets end, who outlives them (nobody), what is said
//! about it, and what the command line does.
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

mod support;

use nix::libc;
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::outside::{
    alive, children, eventually, finish, kill, marker, pid_of, start, start_with,
};
use support::{Fresh, Run, probe, run, run_with, shell, stdbox};

fn probe_path() -> String {
    probe().to_str().expect("the path is UTF-8").to_owned()
}

/// A job that runs the probe.
fn probe_job(arguments: &[&str]) -> Value {
    let argv: Vec<Value> = std::iter::once(json!(probe_path()))
        .chain(arguments.iter().map(|text| json!(text)))
        .collect();
    json!({"argv": argv, "cwd": "/"})
}

fn with(mut job: Value, fields: Value) -> Value {
    for (key, value) in fields.as_object().expect("fields are an object") {
        job[key] = value.clone();
    }
    job
}

// ---- nobody is left

#[test]
fn init_killed_from_outside_leaves_no_survivor_and_a_report() {
    let word = marker("init");
    let scene = Fresh::new();
    let ready = scene.path().join("ready");
    let job = with(
        probe_job(&["stay", &word, ready.to_str().unwrap()]),
        json!({"directories": {scene.str(): "full-access"}}),
    );
    let child = start(&job);
    eventually("the target runs", || ready.exists());
    let [init] = children(pid_of(&child))[..] else {
        panic!("stdbox has one child")
    };
    kill(init, libc::SIGKILL);
    let seen = finish(child);
    assert!(alive(&word).is_empty());
    assert_eq!(
        (&seen.report["outcome"], &seen.report["signal"]),
        (&json!("signaled"), &json!(libc::SIGKILL)),
        "{seen}"
    );
    assert_eq!(seen.degraded(), ["usage-incomplete"], "{seen}");
}

#[test]
fn target_that_is_pid_1_has_all_its_descendants_ended() {
    let seen = run(&with(probe_job(&["status"]), json!({"init": false})));
    seen.exited(0);
    let status: Value = serde_json::from_str(seen.stdout()).unwrap();
    assert_eq!(
        (&status["pid"], &status["ppid"]),
        (&json!(1), &json!(0)),
        "{seen}"
    );
    let word = marker("pid-1");
    // Pid 1 is reaped with its children still there, by its end and by a limit.
    run(&with(
        probe_job(&["fork-daemon", &word]),
        json!({"init": false}),
    ))
    .exited(0);
    let seen = run(&with(
        probe_job(&["stay", &word]),
        json!({"init": false, "limits": {"wall_time_ms": 200}}),
    ));
    assert_eq!(seen.report["outcome"], "limit-exceeded", "{seen}");
    assert!(alive(&word).is_empty());
}

#[test]
fn target_below_init_is_not_pid_1() {
    let seen = run(&probe_job(&["status"]));
    let status: Value = serde_json::from_str(seen.exited(0).stdout()).unwrap();
    assert_eq!(status["ppid"], 1, "{seen}");
    assert_ne!(status["pid"], 1, "{seen}");
}

#[test]
fn orphans_are_reaped_by_init() {
    let seen = run(&probe_job(&["zombies", "100"]));
    assert_eq!(seen.exited(0).stdout(), "{\"zombies\":0}\n", "{seen}");
}

// ---- told to stop

#[test]
fn stop_signal_cancels_and_the_report_is_written() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        for init in [true, false] {
            let word = marker("stop");
            let scene = Fresh::new();
            let ready = scene.path().join("ready");
            let job = with(
                probe_job(&["stay", &word, ready.to_str().unwrap()]),
                json!({"init": init, "id": "x", "directories": {scene.str(): "full-access"}}),
            );
            let child = start(&job);
            eventually("the target runs", || ready.exists());
            kill(pid_of(&child), signal);
            let seen = finish(child);
            assert_eq!(seen.report["outcome"], "cancelled", "{seen}");
            assert_eq!(seen.report["id"], "x", "{seen}");
            assert_eq!(
                seen.report["signal"],
                libc::SIGKILL,
                "no grace was asked for\n{seen}"
            );
            assert_eq!(seen.report["error"], Value::Null, "{seen}");
            assert!(seen.report["usage"]["wall_ns"].as_u64() > Some(0), "{seen}");
            assert_eq!(
                seen.stdout(),
                "{\"ready\":true}\n",
                "what was written before counts\n{seen}"
            );
            assert_eq!(seen.status, Some(0), "{seen}");
            assert!(alive(&word).is_empty());
        }
    }
}

/// The target says "ready" and gets the signal; the job has a grace of its own.
fn cancelled(arguments: &[&str], grace_ms: u64, options: &[&str]) -> (Run, Duration) {
    let scene = Fresh::new();
    let ready = scene.path().join("ready");
    let mut all = arguments.to_vec();
    all.push(ready.to_str().unwrap());
    let job = with(
        probe_job(&all),
        json!({"limits": {"grace_ms": grace_ms}, "directories": {scene.str(): "full-access"}}),
    );
    let child = start_with(&job, |command| {
        command.args(options);
    });
    eventually("the target runs", || ready.exists());
    kill(pid_of(&child), libc::SIGTERM);
    let asked = Instant::now();
    (finish(child), asked.elapsed())
}

/// What a process has in memory, in KiB.
fn resident(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.unwrap().parse().unwrap()
}

#[test]
fn what_was_large_is_given_back_when_the_target_runs() {
    let held = |bytes: usize| {
        let word = marker("large");
        let script = format!("[ $(wc -c) = {bytes} ] && wc -c < /tmp/f; exec sleep 1000 # {word}");
        let text = "x".repeat(bytes);
        let child = start(&json!({
            "argv": ["/bin/sh", "-c", script], "cwd": "/", "stdin": { "text": text },
            "mounts": [{ "type": "file", "target": "/tmp/f", "text": text }],
        }));
        let stdbox = pid_of(&child);
        let mut init = 0;
        eventually("the target runs", || {
            init = children(stdbox).first().copied().unwrap_or(0);
            let below = children(init);
            below.first().is_some_and(|target| {
                fs::read(format!("/proc/{target}/comm")).is_ok_and(|name| name == b"sleep\n")
            })
        });
        let all = [resident(stdbox), resident(init)];
        kill(stdbox, libc::SIGTERM);
        let run = finish(child);
        assert_eq!(run.report["outcome"], "cancelled", "{run}");
        assert_eq!(run.stdout(), format!("{bytes}\n"), "{run}");
        all
    };
    let (little, much) = (held(1), held(7 << 20));
    for (little, much) in little.into_iter().zip(much) {
        assert!(much < little + 1024, "{little} KiB and {much} KiB");
    }
}

#[test]
fn grace_lets_the_target_end_by_itself() {
    let (seen, took) = cancelled(&["trap-term", "7"], 50_000, &[]);
    assert_eq!(
        (&seen.report["outcome"], &seen.report["exit_code"]),
        (&json!("cancelled"), &json!(7)),
        "{seen}"
    );
    assert!(
        took < Duration::from_secs(40),
        "the grace is not waited for when it is not needed"
    );
}

#[test]
fn grace_over_means_sigkill() {
    let (seen, took) = cancelled(&["ignore-term"], 300, &[]);
    assert_eq!(
        (&seen.report["outcome"], &seen.report["signal"]),
        (&json!("cancelled"), &json!(9)),
        "{seen}"
    );
    assert!(
        took >= Duration::from_millis(300),
        "it was killed before its time: {took:?}"
    );
}

#[test]
fn propagate_gives_the_end_of_a_cancelled_target() {
    assert_eq!(
        cancelled(&["trap-term", "7"], 50_000, &["--propagate"])
            .0
            .status,
        Some(7)
    );
    assert_eq!(
        cancelled(&["ignore-term"], 100, &["--propagate"]).0.status,
        Some(128 + 9)
    );
}

/// `timeout`, a shell's Ctrl-C and most batch systems signal the whole process group, of which init is a member.
#[test]
fn stop_signal_to_the_process_group_cancels() {
    for round in 0..20 {
        let word = marker("group");
        let scene = Fresh::new();
        let ready = scene.path().join("ready");
        let job = with(
            probe_job(&["trap-term", "9", ready.to_str().unwrap()]),
            json!({"id": word, "limits": {"grace_ms": 30_000}, "directories": {scene.str(): "full-access"}}),
        );
        let child = start_with(&job, |command| {
            command.process_group(0);
        });
        eventually("the target runs", || ready.exists());
        kill(-pid_of(&child), libc::SIGTERM);
        let seen = finish(child);
        assert_eq!(seen.report["outcome"], "cancelled", "round {round}\n{seen}");
    }
}

#[test]
fn stop_signal_during_set_up_cancels() {
    let mut cancelled = 0;
    for round in 0..40 {
        let word = marker("early");
        let child = start(&probe_job(&["stay", &word]));
        std::thread::sleep(Duration::from_micros(round * 300));
        kill(pid_of(&child), libc::SIGTERM);
        let seen = finish(child);
        // Before stdbox has started, the signal ends it as any program.
        if seen.status.is_some() {
            assert_eq!(seen.report["outcome"], "cancelled", "round {round}\n{seen}");
            cancelled += 1;
        }
        eventually("the end of every process", || alive(&word).is_empty());
    }
    assert!(cancelled > 0, "none of the signals came in time");
}

/// Who starts stdbox in a terminal without a job must be able to leave it with Ctrl-C.
#[test]
fn stop_signal_while_the_job_is_awaited_ends_stdbox() {
    let mut command = Command::new(stdbox());
    // A shell that starts the tests in the background has them ignore it, and with them stdbox.
    // SAFETY: the call is one that a signal handler may make.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGINT, libc::SIG_DFL);
            Ok(())
        });
    }
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("stdbox starts");
    let pid = pid_of(&child);
    eventually("stdbox reads", || {
        fs::read_to_string(format!("/proc/{pid}/wchan")).is_ok_and(|at| at.contains("pipe"))
            || fs::read_to_string(format!("/proc/{pid}/syscall"))
                .is_ok_and(|call| call.starts_with("0 "))
    });
    kill(pid, libc::SIGINT);
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() && started.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let ended = child.try_wait().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        ended.is_some(),
        "SIGINT was not heard while stdbox waited for the job on stdin"
    );
}

// ---- wall time

#[test]
fn wall_time_over_is_a_limit_with_usage() {
    for init in [true, false] {
        for arguments in [
            ["spin", "600000"],
            ["sleep", "600000"],
            ["ignore-term", "/dev/null"],
        ] {
            let job = with(
                probe_job(&arguments),
                json!({"init": init, "limits": {"wall_time_ms": 300}}),
            );
            let seen = run(&job);
            assert_eq!(
                (
                    &seen.report["outcome"],
                    &seen.report["limit"],
                    &seen.report["signal"]
                ),
                (&json!("limit-exceeded"), &json!("wall-time"), &json!(9)),
                "{seen}"
            );
            assert_eq!(seen.status, Some(0), "{seen}");
            let usage = &seen.report["usage"];
            assert!(usage["wall_ns"].as_u64() >= Some(300_000_000), "{seen}");
            assert!(usage["max_rss_bytes"].as_u64() > Some(0), "{seen}");
            if arguments[0] == "spin" {
                assert!(usage["cpu_user_ns"].as_u64() > Some(30_000_000), "{seen}");
            }
        }
    }
}

#[test]
fn wall_time_of_a_stopped_target_is_a_limit() {
    for init in [true, false] {
        let script = if init {
            "kill -STOP $$"
        } else {
            "sh -c 'kill -STOP $PPID'; kill -STOP 0; sleep 600"
        };
        let seen = shell(
            script,
            json!({"init": init, "limits": {"wall_time_ms": 300}}),
        );
        assert_eq!(seen.report["limit"], "wall-time", "{seen}");
    }
}

#[test]
fn wall_time_is_kept_whatever_init_is_told() {
    let seen = run(&with(
        probe_job(&["storm"]),
        json!({"limits": {"wall_time_ms": 300}}),
    ));
    // The storm's own signals may end the target before its time; it may not go on after it.
    assert!(
        matches!(
            seen.report["outcome"].as_str(),
            Some("limit-exceeded" | "signaled")
        ),
        "{seen}"
    );
}

#[test]
fn wall_time_not_reached_changes_nothing() {
    let seen = shell(
        "exit 4",
        json!({"limits": {"wall_time_ms": 600_000, "grace_ms": 600_000}}),
    );
    seen.exited(4);
    assert_eq!(seen.report["limit"], Value::Null);
}

#[test]
fn wall_time_grace_gives_time_after_the_limit() {
    let job = with(
        probe_job(&["trap-term", "7"]),
        json!({"limits": {"wall_time_ms": 200, "grace_ms": 50_000}}),
    );
    let seen = run(&job);
    assert_eq!(
        (&seen.report["limit"], &seen.report["exit_code"]),
        (&json!("wall-time"), &json!(7)),
        "{seen}"
    );
}

// ---- how targets end

#[test]
fn exit_codes_are_reported_as_they_are() {
    for code in [0, 1, 2, 3, 41, 99, 125, 126, 127, 128, 137, 254, 255] {
        let seen = shell(&format!("exit {code}"), json!({}));
        seen.exited(code);
        assert_eq!(
            (&seen.report["signal"], &seen.report["wait_status"]),
            (&Value::Null, &json!(code << 8)),
            "{seen}"
        );
        assert_eq!(seen.status, Some(0), "{seen}");
    }
}

#[test]
fn signals_are_reported_as_they_are() {
    for signal in [
        libc::SIGSEGV,
        libc::SIGKILL,
        libc::SIGABRT,
        libc::SIGTERM,
        libc::SIGINT,
        libc::SIGPIPE,
        libc::SIGSYS,
        34,
        64,
    ] {
        let seen = run(&probe_job(&["raise", &signal.to_string()]));
        assert_eq!(
            (
                &seen.report["outcome"],
                &seen.report["signal"],
                &seen.report["exit_code"]
            ),
            (&json!("signaled"), &json!(signal), &Value::Null),
            "{seen}"
        );
        assert_eq!(seen.status, Some(0), "{seen}");
    }
}

#[test]
fn propagate_gives_the_targets_code_or_signal() {
    let propagated = |job: &Value| run_with(job.to_string().as_bytes(), &["--propagate"], |_| {});
    let exit = |code: i32| json!({"argv": ["/bin/sh", "-c", format!("exit {code}")], "cwd": "/"});
    assert_eq!(propagated(&exit(0)).status, Some(0));
    assert_eq!(propagated(&exit(42)).status, Some(42));
    assert_eq!(propagated(&exit(255)).status, Some(255));
    assert_eq!(
        propagated(&probe_job(&["raise", "11"])).status,
        Some(128 + 11)
    );
    let limited = with(
        probe_job(&["sleep", "600000"]),
        json!({"limits": {"wall_time_ms": 100}}),
    );
    assert_eq!(propagated(&limited).status, Some(128 + 9));
    assert_eq!(
        propagated(&json!({"argv": ["no-such-command"], "cwd": "/"})).status,
        Some(1)
    );
    assert_eq!(propagated(&json!({"argv": []})).status, Some(2));
}

// ---- commands that cannot be executed

/// A file with these bytes, executable.
fn executable(scene: &Fresh, name: &str, bytes: &[u8]) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = scene.path().join(name);
    // Written by a process of its own: a descriptor that a concurrent fork inherits would make execve say ETXTBSY.
    let mut writer = Command::new("/bin/sh");
    writer
        .args(["-c", "cat > \"$1\"", "sh"])
        .arg(&path)
        .stdin(Stdio::piped());
    let mut writer = writer.spawn().unwrap();
    writer.stdin.take().unwrap().write_all(bytes).unwrap();
    writer.wait().unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn command_that_does_not_exist_is_command_not_found() {
    for argv in [
        json!(["no-such-command-anywhere"]),
        json!(["/no/such/file"]),
        json!(["/etc/passwd/x"]),
    ] {
        let seen = run(&json!({"argv": argv, "cwd": "/"}));
        seen.failed("command-not-found", "exec");
        assert_eq!(
            (seen.status, &seen.report["exit_code"]),
            (Some(1), &Value::Null),
            "{seen}"
        );
        assert_eq!(seen.report["error"]["operation"], "execve", "{seen}");
        assert_eq!(seen.report["error"]["at"], "/argv/0", "{seen}");
        assert!(seen.report["error"]["hint"].is_string(), "{seen}");
        assert_eq!(seen.report.get("wait_status"), None, "nothing ran\n{seen}");
        assert_eq!(seen.report["usage"]["wall_ns"], 0, "{seen}");
        assert_eq!(seen.report["timing"]["run_ns"], 0, "{seen}");
    }
    let seen = run(&json!({"argv": ["name"], "executable": "/no/such/file", "cwd": "/"}));
    seen.failed("command-not-found", "exec");
    assert_eq!(seen.report["error"]["at"], "/executable", "{seen}");
}

#[test]
fn command_that_is_hidden_gets_a_hint() {
    let scene = Fresh::new();
    let path = executable(&scene, "tool", b"#!/bin/sh\nexit 0\n");
    let hidden = json!({scene.str(): "hidden"});
    for job in [
        json!({"argv": [path], "cwd": "/", "directories": hidden}),
        json!({"argv": ["tool"], "cwd": "/", "env": {"set": {"PATH": scene.str()}}, "directories": hidden}),
    ] {
        let seen = run(&job);
        seen.failed("command-not-found", "exec");
        assert_eq!(seen.report["error"]["path"], path.as_str(), "{seen}");
        let message = seen.report["error"]["message"].as_str().unwrap();
        assert!(message.contains("exists on the host"), "{seen}");
        assert!(
            seen.report["error"]["hint"]
                .as_str()
                .unwrap()
                .contains("mode"),
            "{seen}"
        );
    }
}

#[test]
fn cwd_that_does_not_exist_is_cwd_missing() {
    let seen = run(&json!({"argv": ["true"], "cwd": "/no/such/directory"}));
    seen.failed("cwd-missing", "exec");
    assert_eq!(
        (&seen.report["error"]["at"], &seen.report["error"]["path"]),
        (&json!("/cwd"), &json!("/no/such/directory"))
    );
    assert_eq!(seen.status, Some(1));
    run(&json!({"argv": ["true"], "cwd": "/etc/passwd"})).failed("cwd-missing", "exec");
}

#[test]
fn cwd_that_is_hidden_gets_a_hint() {
    let scene = Fresh::new();
    let inner = scene.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let inner = inner.to_str().unwrap();
    let seen =
        run(&json!({"argv": ["true"], "cwd": inner, "directories": {scene.str(): "hidden"}}));
    seen.failed("cwd-missing", "exec");
    assert!(
        seen.report["error"]["hint"]
            .as_str()
            .unwrap()
            .contains(scene.str()),
        "{seen}"
    );
    // The caller's own, where the job names none.
    let job = json!({"argv": ["true"], "directories": {scene.str(): "hidden"}});
    let seen = run_with(job.to_string().as_bytes(), &[], |command| {
        command.current_dir(inner);
    });
    seen.failed("cwd-missing", "exec");
    assert_eq!(seen.report["error"]["path"], inner, "{seen}");
}

#[test]
fn cwd_defaults_to_the_callers() {
    let job = json!({"argv": ["pwd"]});
    let seen = run_with(job.to_string().as_bytes(), &[], |command| {
        command.current_dir("/usr/share");
    });
    assert_eq!(seen.exited(0).stdout(), "/usr/share\n");
}

#[test]
fn file_that_is_no_program_is_exec_format() {
    let scene = Fresh::new();
    for (name, bytes) in [
        ("text", b"exit 0\n".as_slice()),
        ("elf", b"\x7fELF\x02\x01\x01 nothing more"),
        ("empty", b""),
    ] {
        let path = executable(&scene, name, bytes);
        let seen = run(&json!({"argv": [path], "cwd": "/"}));
        seen.failed("exec-format", "exec");
        assert_eq!(seen.report["error"]["errno_name"], "ENOEXEC", "{seen}");
    }
}

#[test]
fn file_without_the_execute_bit_is_exec_refused() {
    let scene = Fresh::new();
    let path = scene.file("tool", "#!/bin/sh\n");
    for argv0 in [path.to_str().unwrap(), "/etc", "/dev/null"] {
        let seen = run(&json!({"argv": [argv0], "cwd": "/"}));
        seen.failed("exec-refused", "exec");
        assert_eq!(seen.report["error"]["errno_name"], "EACCES", "{seen}");
        assert_eq!(seen.report["error"]["path"], argv0, "{seen}");
    }
}

#[test]
fn arguments_that_are_too_long_are_refused() {
    let argv: Vec<String> = std::iter::once("/bin/true".into())
        .chain((0..200).map(|_| "x".repeat(100_000)))
        .collect();
    let seen = run_with(
        json!({"argv": argv[..150], "cwd": "/"})
            .to_string()
            .as_bytes(),
        &[],
        |_| {},
    );
    seen.failed("exec-refused", "exec");
    assert_eq!(
        (
            &seen.report["error"]["errno_name"],
            &seen.report["error"]["at"]
        ),
        (&json!("E2BIG"), &json!("/argv")),
        "{seen}"
    );
}

#[test]
fn script_without_its_interpreter_is_command_not_found() {
    let scene = Fresh::new();
    let path = executable(&scene, "script", b"#!/no/such/interpreter\n");
    let seen = run(&json!({"argv": [path], "cwd": "/"}));
    seen.failed("command-not-found", "exec");
    assert!(
        seen.report["error"]["message"]
            .as_str()
            .unwrap()
            .contains("its interpreter \"/no/such/interpreter\""),
        "{seen}"
    );
}

#[test]
fn script_with_its_interpreter_runs() {
    let scene = Fresh::new();
    let path = executable(&scene, "script", b"#!/bin/sh\necho \"$0 $1\"\n");
    let seen = run(&json!({"argv": [path, "argument"], "cwd": "/"}));
    assert_eq!(seen.exited(0).stdout(), format!("{path} argument\n"));
}

// ---- PATH

#[test]
fn path_empty_element_is_the_working_directory() {
    let scene = Fresh::new();
    executable(&scene, "here", b"#!/bin/sh\necho \"$0\"\n");
    for path in ["", ":/usr/bin", "/usr/bin:", "/usr/bin::/bin", "."] {
        let seen =
            run(&json!({"argv": ["here"], "cwd": scene.str(), "env": {"set": {"PATH": path}}}));
        seen.exited(0);
    }
    run(&json!({"argv": ["here"], "cwd": scene.str(), "env": {"set": {"PATH": "/usr/bin:/bin"}}}))
        .failed("command-not-found", "exec");
}

#[test]
fn path_goes_on_past_what_may_not_be_executed() {
    let scene = Fresh::new();
    scene.file("first/tool", "#!/bin/sh\nexit 1\n");
    fs::create_dir(scene.path().join("second")).unwrap();
    fs::create_dir(scene.path().join("second/tool")).unwrap();
    fs::create_dir(scene.path().join("third")).unwrap();
    executable(&scene, "third/tool", b"#!/bin/sh\nexit 5\n");
    let path = |places: &[&str]| {
        places
            .iter()
            .map(|place| format!("{}/{place}", scene.str()))
            .collect::<Vec<_>>()
            .join(":")
    };
    let job = |places: &[&str]| json!({"argv": ["tool"], "cwd": "/", "env": {"set": {"PATH": path(places)}}});
    run(&job(&["missing", "first", "second", "third"])).exited(5);
    // Nothing better came: then it is the refusal that counts, not what was missing after it.
    let seen = run(&job(&["missing", "first", "missing"]));
    seen.failed("exec-refused", "exec");
    assert_eq!(
        seen.report["error"]["path"],
        format!("{}/first/tool", scene.str()),
        "{seen}"
    );
    run(&job(&["missing", "first/tool"])).failed("command-not-found", "exec");
}

#[test]
fn path_is_the_targets_not_the_callers() {
    let scene = Fresh::new();
    executable(&scene, "only-here", b"#!/bin/sh\nexit 6\n");
    let job = json!({"argv": ["only-here"], "cwd": "/", "env": {"set": {"PATH": scene.str()}}});
    run(&job).exited(6);
    let plain = json!({"argv": ["only-here"], "cwd": "/"});
    let with_path = |job: &Value| {
        run_with(job.to_string().as_bytes(), &[], |command| {
            command.env("PATH", scene.str());
        })
    };
    with_path(&plain).exited(6);
    with_path(&json!({"argv": ["only-here"], "cwd": "/", "env": {"unset": ["PATH"]}}))
        .failed("command-not-found", "exec");
    // Without any PATH the C library's default counts.
    with_path(&json!({"argv": ["true"], "cwd": "/", "env": {"inherit": false}})).exited(0);
}

#[test]
fn path_lookup_happens_inside_the_container() {
    let scene = Fresh::new();
    executable(&scene, "tool", b"#!/bin/sh\nexit 6\n");
    let seen = run(
        &json!({"argv": ["tool"], "cwd": "/", "env": {"set": {"PATH": format!("{}:/bin", scene.str())}},
        "directories": {scene.str(): "hidden"}}),
    );
    seen.failed("command-not-found", "exec");
}

#[test]
fn executable_runs_under_the_name_of_argv_0() {
    let seen = run(
        &json!({"argv": ["a name with spaces", "-c", "echo \"$0\""], "executable": "/bin/sh", "cwd": "/"}),
    );
    assert_eq!(seen.exited(0).stdout(), "a name with spaces\n");
}

// ---- environment

fn environment(fields: Value, prepare: impl FnOnce(&mut Command)) -> Vec<String> {
    let job = with(probe_job(&["status"]), fields);
    let seen = run_with(job.to_string().as_bytes(), &[], prepare);
    let status: Value = serde_json::from_str(seen.exited(0).stdout()).unwrap();
    let mut all: Vec<String> = serde_json::from_value(status["environ"].clone()).unwrap();
    all.sort();
    all
}

#[test]
fn environment_is_inherited_set_and_unset_in_this_order() {
    let caller = |command: &mut Command| {
        command
            .env_clear()
            .envs([("PATH", "/bin"), ("A", "1"), ("B", "2"), ("C", "")]);
    };
    let plain = json!({"system_config": false});
    assert_eq!(
        environment(plain, caller),
        ["A=1", "B=2", "C=", "PATH=/bin"]
    );
    let none =
        json!({"system_config": false, "env": {"inherit": false, "set": {"X": "y=z", "Y": ""}}});
    assert_eq!(environment(none, caller), ["X=y=z", "Y="]);
    let names = json!({"system_config": false, "env": {"inherit": ["A", "C", "missing"], "set": {"A": "9"}}});
    assert_eq!(environment(names, caller), ["A=9", "C="]);
    let unset = json!({"system_config": false, "env": {"set": {"D": "4", "E": "5"}, "unset": ["A", "E", "missing"]}});
    assert_eq!(
        environment(unset, caller),
        ["B=2", "C=", "D=4", "PATH=/bin"]
    );
}

#[test]
fn environment_names_the_account_of_the_container() {
    let caller = |command: &mut Command| {
        command.env_clear().envs([
            ("HOME", "/root"),
            ("USER", "somebody"),
            ("LOGNAME", "somebody"),
        ]);
    };
    assert_eq!(
        environment(json!({}), caller),
        ["HOME=/home/user", "LOGNAME=user", "USER=user"]
    );
    let named = json!({"user": {"name": "alice"}});
    assert_eq!(
        environment(named, caller),
        ["HOME=/home/alice", "LOGNAME=alice", "USER=alice"]
    );
    let set = json!({"env": {"set": {"HOME": "/x", "USER": "y"}}});
    assert_eq!(
        environment(set, caller),
        ["HOME=/x", "LOGNAME=user", "USER=y"]
    );
    let off = json!({"system_config": false});
    assert_eq!(
        environment(off, caller),
        ["HOME=/root", "LOGNAME=somebody", "USER=somebody"]
    );
}

#[test]
fn environment_bytes_that_are_not_utf8_pass_through() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let seen = run_with(
        json!({"argv": ["/usr/bin/printenv", "RAW"], "cwd": "/"})
            .to_string()
            .as_bytes(),
        &[],
        |command| {
            command.env("RAW", OsStr::from_bytes(b"\xff\n="));
        },
    );
    seen.exited(0);
    assert_eq!(seen.report["stdout"]["base64"], "/wo9Cg==", "{seen}");
}

// ---- what is reported

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("no number: {value}"))
}

#[test]
fn usage_of_a_spin_is_about_what_it_used() {
    let seen = run(&probe_job(&["spin", "200"]));
    seen.exited(0);
    let usage = &seen.report["usage"];
    let cpu = number(&usage["cpu_user_ns"]) + number(&usage["cpu_system_ns"]);
    assert!((200_000_000..300_000_000).contains(&cpu), "{seen}");
    assert!(number(&usage["wall_ns"]) >= 190_000_000, "{seen}");
    let rusage = &seen.report["rusage"];
    assert_eq!(
        (&rusage["user_ns"], &rusage["system_ns"]),
        (&usage["cpu_user_ns"], &usage["cpu_system_ns"]),
        "{seen}"
    );
}

#[test]
fn usage_counts_children_that_were_waited_for() {
    let seen = shell(
        &format!("{0} spin 100; {0} spin 100", probe_path()),
        json!({}),
    );
    seen.exited(0);
    let usage = &seen.report["usage"];
    assert!(
        number(&usage["cpu_user_ns"]) + number(&usage["cpu_system_ns"]) >= 190_000_000,
        "{seen}"
    );
}

#[test]
fn usage_of_an_allocation_is_its_size() {
    let seen = run(&probe_job(&["allocate", "104857600"]));
    seen.exited(0);
    let most = number(&seen.report["usage"]["max_rss_bytes"]);
    assert!((100 << 20..120 << 20).contains(&most), "{seen}");
    assert!(
        number(&seen.report["usage"]["minor_faults"]) > 100,
        "{seen}"
    );
}

#[test]
fn usage_of_scratch_counts_what_was_written() {
    let seen = shell("head -c 10000000 /dev/zero > /tmp/big", json!({}));
    seen.exited(0);
    assert!(
        (10_000_000..12_000_000).contains(&number(&seen.report["usage"]["scratch_bytes"])),
        "{seen}"
    );
}

#[test]
fn timing_adds_up_to_the_time_that_passed() {
    let started = Instant::now();
    let seen = run(&probe_job(&["sleep", "150"]));
    let all = u64::try_from(started.elapsed().as_nanos()).unwrap();
    let timing = &seen.exited(0).report["timing"];
    let phases = [
        "parse_ns",
        "facts_ns",
        "plan_ns",
        "setup_ns",
        "run_ns",
        "teardown_ns",
    ];
    assert!(
        phases.iter().all(|phase| number(&timing[phase]) > 0),
        "{seen}"
    );
    let sum: u64 = phases.iter().map(|phase| number(&timing[phase])).sum();
    assert!(sum <= all, "{sum} of {all}\n{seen}");
    assert!(number(&timing["run_ns"]) >= 150_000_000, "{seen}");
    assert_eq!(timing["run_ns"], seen.report["usage"]["wall_ns"], "{seen}");
}

#[test]
fn report_has_every_field_whatever_happened() {
    let keys = [
        "version",
        "id",
        "outcome",
        "exit_code",
        "signal",
        "limit",
        "error",
        "usage",
        "timing",
        "stdout",
        "stderr",
        "results",
        "changes",
        "warnings",
        "degraded",
    ];
    for (job, outcome) in [
        (json!({"argv": ["true"], "cwd": "/", "id": "a"}), "exited"),
        (
            json!({"argv": ["no-such-command"], "cwd": "/", "id": "a"}),
            "setup-failed",
        ),
        (
            json!({"argv": ["true"], "cwd": "relative", "id": "a"}),
            "invalid-job",
        ),
        (
            json!({"argv": ["true"], "unknown": 1, "id": "a"}),
            "invalid-job",
        ),
    ] {
        let seen = run(&job);
        assert_eq!(
            (&seen.report["outcome"], &seen.report["id"]),
            (&json!(outcome), &json!("a")),
            "{seen}"
        );
        for key in keys {
            assert!(seen.report.get(key).is_some(), "{key} is missing\n{seen}");
        }
        assert_eq!(seen.complaint, "", "{seen}");
    }
}

#[test]
fn report_is_one_line() {
    let mut child = start(&json!({"argv": ["printf", "a\nb\n"], "cwd": "/"}));
    let mut text = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    child.wait().unwrap();
    assert_eq!(
        (text.matches('\n').count(), text.ends_with("}\n")),
        (1, true),
        "{text}"
    );
}

#[test]
fn strict_refuses_what_cannot_be_given_fully() {
    // A file of the host's that is mounted over is bound read-only where its parent is an overlay; so is one that is too
    // large to copy. Either is `degraded`.
    let script = "mkdir -p $D/dir/sub; mount -t tmpfs x $D/dir/sub; head -c 3000000 /dev/zero > $D/dir/large; exec \"$STDBOX\"";
    let scene = Fresh::new();
    let script = script.replace("$D", scene.str());
    let job = |strict: bool| {
        json!({"argv": ["touch", scene.path().join("ran")], "cwd": "/", "strict": strict,
        "directories": {"/": "read-only", scene.str(): "full-access", format!("{}/dir", scene.str()): "overlay"}})
    };
    fs::create_dir(scene.path().join("dir")).unwrap();
    let seen = support::run_in_namespace(&script, &job(false));
    if seen.degraded().is_empty() {
        panic!("nothing was degraded, so the test shows nothing\n{seen}");
    }
    seen.exited(0);
    fs::remove_file(scene.path().join("ran")).unwrap();
    let seen = support::run_in_namespace(&script, &job(true));
    assert_eq!(
        (&seen.report["outcome"], &seen.report["error"]["at"]),
        (&json!("setup-failed"), &json!("/strict")),
        "{seen}"
    );
    assert_eq!(seen.status, Some(1), "{seen}");
    assert!(
        !scene.path().join("ran").exists(),
        "the target ran all the same"
    );
}

#[test]
fn strict_without_anything_degraded_runs() {
    shell(
        "exit 0",
        json!({"strict": true, "directories": {"/": "read-only"}}),
    )
    .exited(0);
}

// ---- where the report goes

#[test]
fn report_place_that_cannot_be_opened_starts_nothing() {
    let scene = Fresh::new();
    let ran = scene.path().join("ran");
    let job =
        json!({"argv": ["touch", ran], "cwd": "/", "directories": {scene.str(): "full-access"}})
            .to_string();
    for options in [
        ["--report", "/no/such/directory/report"],
        ["--report", "/etc"],
        ["--report-fd", "77"],
    ] {
        let seen = run_with(job.as_bytes(), &options, |_| {});
        assert_eq!(
            (seen.status, &seen.report),
            (Some(3), &Value::Null),
            "{options:?}\n{seen}"
        );
        assert!(
            seen.complaint.starts_with("stdbox: "),
            "{:?}",
            seen.complaint
        );
        assert!(
            !ran.exists(),
            "a job whose report nobody can get is not started"
        );
    }
}

#[test]
fn report_to_a_file_and_job_from_a_file() {
    let scene = Fresh::new();
    let spec = scene.file(
        "job.json",
        &json!({"argv": ["cat"], "stdin": "inherit", "stdout": "inherit", "cwd": "/"}).to_string(),
    );
    let report = scene.file(
        "report.json",
        &"old content, longer than the report will be\n".repeat(1000),
    );
    for inline in [true, false] {
        let mut command = Command::new(stdbox());
        if inline {
            command
                .arg(format!("--spec={}", spec.display()))
                .arg(format!("--report={}", report.display()));
        } else {
            command
                .arg("run")
                .arg("--spec")
                .arg(&spec)
                .arg("--report")
                .arg(&report);
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(b"through the target\n")
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "through the target\n"
        );
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        let written: Value = serde_json::from_slice(&fs::read(&report).unwrap())
            .expect("one report, and nothing of the old");
        assert_eq!(
            (&written["outcome"], &written["stdout"]),
            (&json!("exited"), &Value::Null)
        );
    }
}

#[test]
fn report_and_job_through_descriptors() {
    let (job_out, mut job_in) = std::io::pipe().unwrap();
    let (mut report_out, report_in) = std::io::pipe().unwrap();
    let job = json!({"argv": ["/bin/sh", "-c", "cat; ls /proc/self/fd"], "stdin": "inherit", "stdout": "inherit", "cwd": "/"});
    job_in.write_all(job.to_string().as_bytes()).unwrap();
    drop(job_in);
    let (from, to) = (job_out.as_raw_fd(), report_in.as_raw_fd());
    let mut command = Command::new(stdbox());
    command
        .args(["--spec-fd", "140", "--report-fd", "141"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    // SAFETY: dup2 may be called between fork and exec.
    unsafe {
        command.pre_exec(move || {
            libc::dup2(from, 140);
            libc::dup2(to, 141);
            Ok(())
        })
    };
    let mut child = command.spawn().unwrap();
    drop((job_out, report_in));
    child.stdin.take().unwrap().write_all(b"hello\n").unwrap();
    let output = child.wait_with_output().unwrap();
    // 3 is the descriptor of ls itself.
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "hello\n0\n1\n2\n3\n",
        "140 and 141 are not the target's"
    );
    let mut text = String::new();
    report_out.read_to_string(&mut text).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["exit_code"], 0);
}

#[test]
fn job_that_cannot_be_read_is_reported() {
    for (options, code) in [
        (["--spec", "/no/such/job.json"], "no-such-file"),
        (["--spec", "/etc"], "file-refused"),
        (["--spec-fd", "77"], "file-refused"),
    ] {
        let seen = run_with(b"", &options, |_| {});
        seen.failed(code, "parse");
        let named = json!(options[1].starts_with('/').then_some(options[1]));
        assert_eq!(seen.report["error"]["path"], named, "{seen}");
        assert_eq!(
            (&seen.report["outcome"], seen.status),
            (&json!("invalid-job"), Some(2)),
            "{seen}"
        );
    }
}

// ---- the command line

#[test]
fn command_line_errors_are_exit_2_with_nothing_on_stdout() {
    for arguments in [
        vec!["frobnicate"],
        vec!["--frobnicate"],
        vec!["run", "extra"],
        vec!["-x"],
        vec![""],
        vec!["--spec"],
        vec!["--spec-fd", "three"],
        vec!["--spec-fd", "-1"],
        vec!["--report-fd", "99999999999"],
        vec!["--spec", "a", "--spec-fd", "3"],
        vec!["--report", "a", "--report", "b"],
        vec!["--propagate=yes"],
        vec!["schema"],
        vec!["schema", "nothing"],
        vec!["schema", "job", "report"],
        vec!["check", "--nothing"],
    ] {
        let mut command = Command::new(stdbox());
        let output = command
            .args(&arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?} {complaint}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(
            complaint.starts_with("stdbox: ") && complaint.lines().count() == 1,
            "{arguments:?} {complaint}"
        );
    }
}

#[test]
fn version_help_and_schema_are_printed() {
    let shown = |arguments: &[&str]| {
        let output = Command::new(stdbox())
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(
            (output.status.code(), output.stderr.len()),
            (Some(0), 0),
            "{arguments:?}"
        );
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(
        shown(&["--version"]),
        format!("stdbox {}\n", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(shown(&["-V"]), shown(&["--version"]));
    assert!(shown(&["--help"]).contains("--report-fd N"));
    assert_eq!(shown(&["-h"]), shown(&["--help"]));
    for which in ["job", "report", "event"] {
        let text = shown(&["schema", which]);
        let stored =
            fs::read_to_string(support::source().join(format!("schema/{which}.json"))).unwrap();
        assert_eq!(text, stored);
        let schema: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            schema["$schema"],
            "https://json-schema.org/draft/2020-12/schema"
        );
    }
    let full = Command::new(stdbox())
        .arg("--help")
        .stdout(
            fs::OpenOptions::new()
                .write(true)
                .open("/dev/full")
                .unwrap(),
        )
        .output()
        .unwrap();
    assert_eq!(
        full.status.code(),
        Some(3),
        "what cannot be shown is not shown silently"
    );
}

#[test]
fn check_says_what_the_job_means_and_touches_nothing() {
    let scene = Fresh::new();
    let before = scene.snapshot();
    let job = json!({"argv": ["touch", scene.path().join("ran")], "cwd": scene.str(), "id": "c", "scratch": {"directory": scene.str()},
        "stdout": {"file": scene.path().join("out")}, "directories": {scene.str(): "full-access"}});
    let seen = run_with(job.to_string().as_bytes(), &["--propagate"], |command| {
        command.arg("check");
    });
    assert_eq!(seen.status, Some(2), "the command comes first on the line");
    let seen = run_with(job.to_string().as_bytes(), &["check"], |_| {});
    assert_eq!(
        (&seen.report["outcome"], &seen.report["id"], seen.status),
        (&json!("valid"), &json!("c"), Some(0)),
        "{seen}"
    );
    assert_eq!(
        seen.report["job"]["directories"]["/tmp"], "hidden",
        "defaults are filled in\n{seen}"
    );
    assert_eq!(seen.report["job"]["limits"]["core_bytes"], 0, "{seen}");
    assert_eq!(scene.snapshot(), before);
    let seen = run_with(b"{\"argv\":[]}", &["check"], |_| {});
    assert_eq!(
        (&seen.report["outcome"], seen.status),
        (&json!("invalid-job"), Some(2)),
        "{seen}"
    );
    // What check says is the same job again.
    let normal = run_with(job.to_string().as_bytes(), &["check"], |_| {}).report["job"].clone();
    let again = run_with(normal.to_string().as_bytes(), &["check"], |_| {});
    assert_eq!(again.report["job"], normal, "{again}");
}

/// Without namespaces, without /proc, without a writable file system: a chroot with nothing but the binary.
#[test]
fn check_needs_nothing_of_the_host() {
    let scene = Fresh::new();
    fs::copy(stdbox(), scene.path().join("stdbox")).unwrap();
    let script = format!(
        "PATH=$PATH:/usr/sbin:/sbin; exec chroot {} /stdbox check",
        scene.str()
    );
    let seen = support::run_in_namespace(&script, &json!({"argv": ["x"], "cwd": "/"}));
    assert_eq!(
        (&seen.report["outcome"], seen.status),
        (&json!("valid"), Some(0)),
        "{seen}"
    );
}

#[test]
fn invalid_job_starts_no_process() {
    // A limit of one process: whoever forks fails.
    let job = json!({"argv": ["true"], "directories": {"/proc/x": "hidden"}});
    let seen = run_with(job.to_string().as_bytes(), &[], |command| {
        // SAFETY: setrlimit may be called between fork and exec.
        unsafe {
            command.pre_exec(|| {
                let limit = libc::rlimit {
                    rlim_cur: 1,
                    rlim_max: 1,
                };
                libc::setrlimit(libc::RLIMIT_NPROC, &raw const limit);
                Ok(())
            })
        };
    });
    seen.failed("proc-directory", "validate");
    assert_eq!(seen.status, Some(2));
}

#[test]
fn setup_failure_of_a_missing_scratch_directory_is_the_jobs_fault() {
    let seen =
        run(&json!({"argv": ["true"], "cwd": "/", "scratch": {"directory": "/no/such/place"}}));
    assert_eq!(
        (&seen.report["outcome"], seen.status),
        (&json!("invalid-job"), Some(2)),
        "{seen}"
    );
    assert_eq!(seen.report["error"]["at"], "/scratch/directory", "{seen}");
}

// ---- strange surroundings

#[test]
fn stdbox_without_standard_streams_runs_the_job() {
    let scene = Fresh::new();
    let job = json!({"argv": ["/bin/sh", "-c", "echo out; echo err >&2; cat; exit 3"], "stdin": {"text": "in\n"}, "cwd": "/"});
    let spec = scene.file("job.json", &job.to_string());
    let report = scene.path().join("report.json");
    let mut command = Command::new("/bin/sh");
    command.args([
        "-c",
        "exec \"$STDBOX\" --spec \"$1\" --report \"$2\" <&- >&- 2>&-",
        "sh",
    ]);
    command.arg(&spec).arg(&report).env("STDBOX", stdbox());
    assert_eq!(command.status().unwrap().code(), Some(0));
    let report: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    let shown = (
        &report["exit_code"],
        &report["stdout"]["text"],
        &report["stderr"]["text"],
    );
    assert_eq!(shown, (&json!(3), &json!("out\nin\n"), &json!("err\n")));
}

#[test]
fn stdbox_whose_children_are_ignored_still_reports_the_exit_code() {
    // With SIGCHLD ignored, the kernel would reap the children itself and wait(2) would find none.
    let job = json!({"argv": ["/bin/sh", "-c", "exit 4"], "cwd": "/", "limits": {"wall_time_ms": 10_000}});
    let seen = run_with(job.to_string().as_bytes(), &[], |command| {
        // SAFETY: signal may be called between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::signal(libc::SIGCHLD, libc::SIG_IGN);
                Ok(())
            })
        };
    });
    seen.exited(4);
}

#[test]
fn stdbox_with_children_of_another_program_waits_for_its_own() {
    // A process keeps its children over execve: they end while stdbox runs, and are not the container.
    let scene = Fresh::new();
    let spec = scene.file(
        "job.json",
        &json!({"argv": ["/bin/sh", "-c", "sleep 0.3; exit 4"], "cwd": "/"}).to_string(),
    );
    let mut command = Command::new("/bin/sh");
    command
        .args([
            "-c",
            "sleep 0.1 & true & sleep 0.2 & exec \"$STDBOX\" --spec \"$1\"",
            "sh",
        ])
        .arg(&spec)
        .env("STDBOX", stdbox());
    let output = command.output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["exit_code"], 4, "{report}");
}

#[test]
fn many_jobs_at_once_do_not_disturb_each_other() {
    let children: Vec<(i64, Child)> = (0..40)
        .map(|code| {
            (
                code,
                start(&json!({"argv": ["/bin/sh", "-c", format!("exit {code}")], "cwd": "/"})),
            )
        })
        .collect();
    for (code, child) in children {
        finish(child).exited(code);
    }
}

#[test]
fn relative_paths_of_the_command_are_those_of_the_container() {
    let scene = Fresh::new();
    executable(&scene, "tool", b"#!/bin/sh\nexit 6\n");
    run(&json!({"argv": ["./tool"], "cwd": scene.str()})).exited(6);
    let job = json!({"argv": ["./tool"], "cwd": "/"});
    let seen = run_with(job.to_string().as_bytes(), &[], |command| {
        command.current_dir(scene.path());
    });
    seen.failed("command-not-found", "exec");
    assert!(Path::new(scene.str()).join("tool").exists());
}
