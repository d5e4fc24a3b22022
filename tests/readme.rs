//! README's jobs are valid, and those of its tasks do what it says of them.
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
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Once;
use support::outside::{marker, outlive};
use support::places::Places;
use support::{Run, run, run_with, skip, source, with};

const TASKS: [&str; 5] = [
    "judge",
    "offline-build",
    "agent-shell",
    "benchmark-solver",
    "unpacked-image",
];

/// README's JSON blocks with a command, each with its line number.
fn jobs() -> Vec<(usize, String)> {
    let text = fs::read_to_string(source().join("README.md")).unwrap();
    let mut lines = text.lines().enumerate();
    let mut found = Vec::new();
    while let Some((number, line)) = lines.next() {
        if line == "```json" {
            let block: Vec<_> = lines
                .by_ref()
                .map(|(_, line)| line)
                .take_while(|line| *line != "```")
                .collect();
            found.push((number + 1, block.join("\n") + "\n"));
        }
    }
    found.retain(|(_, block)| block.contains("\"argv\""));
    found
}

#[test]
fn jobs_of_readme_are_valid() {
    let all = jobs();
    assert!(all.len() >= 6 + TASKS.len(), "{all:?}");
    for (line, job) in all {
        // One that takes its stdin from the caller cannot come from there.
        let seen = run_with(job.as_bytes(), &["check", "--spec-fd", "0"], |_| {});
        assert_eq!(
            (&seen.report["outcome"], seen.status),
            (&Value::from("valid"), Some(0)),
            "README.md:{line}: {seen}"
        );
    }
}

#[test]
fn tasks_of_readme_are_the_examples() {
    let all = jobs();
    for task in TASKS {
        let path = source().join(format!("schema/examples/{task}.json"));
        let text = fs::read_to_string(path).unwrap();
        let shown = all.iter().filter(|(_, job)| *job == text).count();
        assert_eq!(shown, 1, "{task}.json is not what README shows");
    }
}

/// Whether a program that jobs of a task run is there; says so if not.
fn has(program: &str) -> bool {
    let there = ["/usr/local/bin", "/usr/bin", "/bin"]
        .iter()
        .any(|place| Path::new(place).join(program).exists());
    if !there {
        skip(program, &format!("there is no {program}"));
    }
    there
}

/// The outcome, the limit or none, and the exit code or none.
fn verdict(seen: &Run) -> (&str, Option<&str>, Option<i64>) {
    let report = &seen.report;
    (
        report["outcome"].as_str().unwrap_or_default(),
        report["limit"].as_str(),
        report["exit_code"].as_i64(),
    )
}

/// What a job must do to a file to have it, and to connect to a port of the host.
fn connects_to(port: u16) -> Value {
    json!([
        "bash",
        "-c",
        format!(": < /dev/tcp/127.0.0.1/{port} && echo connected")
    ])
}

/// A submission with the job's limits; where there can be no control group, without those that need one.
fn judge(places: &Places, solution: &str, change: impl Fn(&mut Value)) -> Run {
    places.write("srv/judge/submission/solution.py", solution, 0o644);
    let seen = places.run("judge", &change);
    if !matches!(
        seen.report["error"]["code"].as_str(),
        Some("cgroup-v1" | "cgroup-unavailable")
    ) {
        return seen;
    }
    static SAID: Once = Once::new();
    SAID.call_once(|| skip("cgroup", "memory_bytes and processes need a control group"));
    places.run("judge", |job| {
        change(job);
        let limits = job["limits"].as_object_mut().unwrap();
        limits.remove("memory_bytes");
        limits.remove("processes");
    })
}

#[test]
fn judge_tells_right_from_wrong_crashed_and_endless() {
    if !has("python3") {
        return;
    }
    let places = Places::new();
    let before = places.snapshot("srv");
    let right = "print(sum(map(int, open(0))))\n";
    let seen = judge(&places, right, |_| {});
    let expected = fs::read_to_string(places.at("srv/judge/tests/1.out")).unwrap();
    assert_eq!(seen.exited(0).stdout(), expected, "{seen}");
    assert_eq!(seen.report["id"], "submission 7, test 1");
    assert_eq!(places.snapshot("srv"), before);

    let seen = judge(&places, "print(41)", |_| {});
    assert_ne!(seen.exited(0).stdout(), expected);
    let seen = judge(&places, "1 // 0", |_| {});
    assert!(seen.exited(1).stderr().contains("ZeroDivisionError"));
    let seen = judge(&places, "while True: pass", |job| {
        job["limits"]["cpu_time_ms"] = 300.into();
    });
    assert_eq!(verdict(&seen).1, Some("cpu-time"), "{seen}");
    let seen = judge(&places, "import time; time.sleep(60)", |job| {
        job["limits"]["wall_time_ms"] = 500.into();
    });
    assert_eq!(verdict(&seen).1, Some("wall-time"), "{seen}");
    let seen = judge(&places, "while True: print('x' * 4096)", |_| {});
    assert_eq!(verdict(&seen).1, Some("output"), "{seen}");
}

#[test]
fn judge_keeps_answers_files_and_network_from_the_submission() {
    if !has("python3") {
        return;
    }
    let places = Places::new();
    let answer = places.at("srv/judge/tests/1.out");
    let steal = format!("print(open({answer:?}).read(), end='')");
    let seen = judge(&places, &steal, |_| {});
    assert!(seen.exited(1).stderr().contains("No such file"), "{seen}");
    let exposed = judge(&places, &steal, |job| {
        let judge = places.at("srv/judge");
        let modes = job["directories"].as_object_mut().unwrap();
        modes.remove(judge.to_str().unwrap()).unwrap();
    });
    assert_eq!(exposed.exited(0).stdout(), "42\n", "{exposed}");

    for solution in [
        "open('solution.py', 'a')".to_owned(),
        "open('new', 'w')".to_owned(),
    ] {
        let seen = judge(&places, &solution, |_| {});
        assert!(seen.exited(1).stderr().contains("Read-only"), "{seen}");
    }
    let host = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = host.local_addr().unwrap().port();
    let connect = format!("import socket; socket.create_connection(('127.0.0.1', {port}))");
    let seen = judge(&places, &connect, |_| {});
    assert!(seen.exited(1).stderr().contains("refused"), "{seen}");
    judge(&places, &connect, |job| job["network"] = "host".into()).exited(0);
    let nested = judge(
        &places,
        "import ctypes; print(ctypes.CDLL(None).unshare(0x10000000))",
        |_| {},
    );
    assert_eq!(nested.exited(0).stdout(), "-1\n", "{nested}");
}

/// In shell, so that it runs wherever there can be control groups. The bomb is small: without one only time bounds it.
#[test]
fn judge_survives_a_fork_bomb_and_a_hoarder() {
    let places = Places::new();
    let word = marker("bomb");
    let submit = |script: &str, limits: &Value| {
        judge(&places, "", |job| {
            job["argv"] = json!(["sh", "-c", script, word]);
            job["limits"] = with(job["limits"].clone(), limits);
        })
    };
    let bomb = "i=0; while [ $i -lt 100 ]; do (sleep 100; :) & i=$((i+1)); done; wait";
    let seen = submit(bomb, &json!({"wall_time_ms": 3000}));
    let grouped = !seen.report["usage"]["processes_peak"].is_null();
    let ended = if grouped { "processes" } else { "wall-time" };
    assert_eq!(verdict(&seen).1, Some(ended), "{seen}");
    assert_eq!(outlive(&word), [] as [i32; 0]);

    // Less than the job's, and more time: the kernels' guests are slow.
    let limits = json!({"memory_bytes": 32 << 20, "cpu_time_ms": 60_000, "wall_time_ms": 60_000});
    let hoard = |megabytes: u32| {
        format!("x=$(head -c {megabytes}000000 /dev/zero | tr '\\0' x); echo ${{#x}}")
    };
    let seen = submit(&hoard(1), &limits);
    assert_eq!(seen.exited(0).stdout(), "1000000\n", "{seen}");
    if grouped {
        let seen = submit(&hoard(64), &limits);
        assert_eq!(verdict(&seen).1, Some("memory"), "{seen}");
    }
}

#[test]
fn offline_build_delivers_its_products_and_leaves_the_host_as_it_was() {
    let places = Places::new();
    let (project, cache) = (places.snapshot("srv/project"), places.snapshot("srv/cache"));
    let seen = places.run("offline-build", |_| {});
    seen.exited(0);
    assert_eq!(
        seen.report["results"]["files"],
        json!([{"path": "build.log", "bytes": 6}, {"path": "dist/program", "bytes": 8}]),
        "{seen}"
    );
    let program = places.at("srv/out/dist/program");
    assert_eq!(fs::read_to_string(&program).unwrap(), "library\n");
    assert_eq!(fs::metadata(&program).unwrap().mode() & 0o777, 0o755);
    assert_eq!(places.snapshot("srv/project"), project);

    // A failed one leaves its log, and not what it could not make.
    let script = "#!/bin/sh\necho lost > part.o\necho why > build.log\necho damage > \"$CACHE/library.txt\" && exit 1\nexit 2\n";
    places.write("srv/project/build.sh", script, 0o755);
    let seen = places.run("offline-build", |_| {});
    assert!(seen.exited(2).stdout().contains("Read-only"), "{seen}");
    assert_eq!(
        fs::read_to_string(places.at("srv/out/build.log")).unwrap(),
        "why\n"
    );
    assert!(!places.at("srv/out/part.o").exists());
    assert_eq!(places.snapshot("srv/cache"), cache);
}

#[test]
fn offline_build_has_no_network_and_no_secrets() {
    if !has("bash") {
        return;
    }
    let places = Places::new();
    let host = TcpListener::bind("127.0.0.1:0").unwrap();
    let argv = connects_to(host.local_addr().unwrap().port());
    for (network, connected) in [("none", false), ("host", true)] {
        let seen = places.run("offline-build", |job| {
            job["argv"] = argv.clone();
            job["network"] = network.into();
        });
        assert_eq!(seen.stdout().contains("connected"), connected, "{seen}");
        assert_eq!(seen.stdout().contains("refused"), !connected, "{seen}");
    }
    no_secrets(&places, "offline-build");
}

/// The keys in home directories are there without the modes of the job, and are not with them. Nor is there a variable that
/// the job does not name.
fn no_secrets(places: &Places, task: &str) {
    let keys = ["home/me/.ssh/id_ed25519", "root/.ssh/id_ed25519"];
    let script = format!(
        "cat {:?} {:?}; echo \"token: $STDBOX_TEST_TOKEN\"",
        places.at(keys[0]),
        places.at(keys[1])
    );
    let look = |change: &dyn Fn(&mut Value)| {
        let mut job = places.job(task);
        job["argv"] = json!(["sh", "-c", script]);
        change(&mut job);
        run_with(job.to_string().as_bytes(), &[], |command| {
            command.env("STDBOX_TEST_TOKEN", "abc");
        })
    };
    let seen = look(&|_| {});
    assert!(!seen.stdout().contains("secret"), "{seen}");
    assert!(seen.exited(0).stdout().ends_with("token: \n"), "{seen}");
    let seen = look(&|job| {
        let modes = job["directories"].as_object_mut().unwrap();
        for place in ["home", "root"] {
            modes.remove(places.at(place).to_str().unwrap()).unwrap();
        }
        job["env"]["inherit"] = true.into();
    });
    let expected = "secret of a user\nsecret of root\ntoken: abc\n";
    assert_eq!(seen.exited(0).stdout(), expected, "{seen}");
}

#[test]
fn agent_keeps_its_work_from_call_to_call_and_off_the_host() {
    let places = Places::new();
    let before = places.snapshot("srv/project");
    let call = |script: &str| places.run("agent-shell", |job| job["argv"][2] = script.into());
    let seen = places.run("agent-shell", |_| {});
    assert_eq!(seen.exited(0).stdout(), "hello\n", "{seen}");
    assert_eq!(places.snapshot("srv/project"), before);

    let seen = call("cat greeting.txt; mkdir notes && echo 1 > notes/todo; rm build.sh; ls");
    let expected = "hello\ngreeting.txt\nnotes\n";
    assert_eq!(seen.exited(0).stdout(), expected, "{seen}");
    let seen = call("cat notes/todo; ls");
    assert!(
        seen.stdout().starts_with("1\ngreeting.txt\nnotes\n"),
        "{seen}"
    );
    assert_eq!(places.snapshot("srv/project"), before);

    // The upper directory is the difference, what was deleted included.
    let upper = places.at("srv/agent/upper");
    let read = |name: &str| fs::read_to_string(upper.join(name)).unwrap();
    assert_eq!(read("greeting.txt") + &read("notes/todo"), "hello\n1\n");
    let whiteout = fs::symlink_metadata(upper.join("build.sh")).unwrap();
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);

    // Without it the next call begins anew.
    fs::remove_dir_all(&upper).unwrap();
    fs::create_dir(&upper).unwrap();
    let seen = call("cat greeting.txt; ls");
    let expected = "helo\nbuild.sh\ngreeting.txt\n";
    assert_eq!(seen.exited(0).stdout(), expected, "{seen}");
}

#[test]
fn agent_reaches_neither_files_nor_secrets_nor_the_network() {
    if !has("bash") {
        return;
    }
    let places = Places::new();
    let call = |script: &str| places.run("agent-shell", |job| job["argv"][2] = script.into());
    let seen = call("touch /usr/x /etc/x; rm /bin/sh; echo x > /tmp/x && cat /tmp/x");
    let refusals = seen.stdout().matches("Read-only file system").count();
    assert_eq!(refusals, 3, "{seen}");
    assert!(seen.exited(0).stdout().ends_with("x\n"), "{seen}");
    let seen = call(&format!("ls -A {:?}", places.at("srv")));
    assert_eq!(seen.exited(0).stdout(), "project\n", "{seen}");
    // What one call has started is gone in the next one.
    let word = marker("agent");
    call(&format!("sh -c 'sleep 100; : {word}' > /dev/null 2>&1 &")).exited(0);
    assert_eq!(outlive(&word), [] as [i32; 0]);

    let host = TcpListener::bind("127.0.0.1:0").unwrap();
    let argv = connects_to(host.local_addr().unwrap().port());
    for (network, connected) in [("none", false), ("host", true)] {
        let seen = places.run("agent-shell", |job| {
            job["argv"] = argv.clone();
            job["network"] = network.into();
        });
        assert_eq!(seen.stdout().contains("connected"), connected, "{seen}");
    }
    no_secrets(&places, "agent-shell");
}

/// A solver that uses a known amount of everything.
const MEASURED: &str = r#"#!/usr/bin/env python3
import os, sys, time
memory = bytearray(b"x" * (64 << 20))
def burn(seconds):
    while time.process_time() < seconds:
        pass
if os.fork() == 0:
    burn(0.2)
    os._exit(0)
os.wait()
burn(0.4)
os.write(1, bytes(range(256)) * 1000)
os.write(2, b"c done\n")
sys.exit(10)
"#;

#[test]
fn solver_is_measured_and_its_streams_are_exact() {
    if !has("python3") {
        return;
    }
    let places = Places::new();
    let seen = places.run("benchmark-solver", |_| {});
    seen.exited(0);
    let read = |name: &str| fs::read(places.at(name)).unwrap();
    assert_eq!(read("srv/runs/1.out"), b"s SATISFIABLE\n");
    assert_eq!(read("srv/runs/1.err"), b"c p cnf 1 1\n");

    places.write("srv/solver/solver", MEASURED, 0o755);
    let seen = places.run("benchmark-solver", |_| {});
    seen.exited(10);
    let bytes: Vec<u8> = (0..=255).collect::<Vec<u8>>().repeat(1000);
    assert!(read("srv/runs/1.out") == bytes, "{seen}");
    assert_eq!(read("srv/runs/1.err"), b"c done\n");
    let usage = |key: &str| seen.report["usage"][key].as_u64().unwrap();
    let cpu = usage("cpu_user_ns") + usage("cpu_system_ns");
    assert!((600_000_000..1_200_000_000).contains(&cpu), "{seen}");
    assert!(usage("wall_ns") >= 600_000_000, "{seen}");
    let memory = usage("max_rss_bytes");
    assert!((64 << 20..160 << 20).contains(&memory), "{seen}");
    // getrusage(2) has no clock ticks here: user and system time are those of the report.
    let rusage = &seen.report["rusage"];
    assert_eq!(rusage["user_ns"], seen.report["usage"]["cpu_user_ns"]);
    assert_eq!(seen.report["wait_status"], 10 << 8);
}

#[test]
fn solver_that_takes_too_long_is_asked_first() {
    if !has("python3") {
        return;
    }
    let places = Places::new();
    let solver = "#!/usr/bin/env python3\nimport signal, sys\ndef stop(*_):\n    print('s BEST SO FAR', flush=True)\n    sys.exit(0)\nsignal.signal(signal.SIGTERM, stop)\nprint('o 7', flush=True)\nwhile True: pass\n";
    places.write("srv/solver/solver", solver, 0o755);
    let seen = places.run("benchmark-solver", |job| {
        job["limits"]["cpu_time_ms"] = 300.into();
    });
    let expected = ("limit-exceeded", Some("cpu-time"), Some(0));
    assert_eq!(verdict(&seen), expected, "{seen}");
    let said = fs::read_to_string(places.at("srv/runs/1.out")).unwrap();
    assert_eq!(said, "o 7\ns BEST SO FAR\n", "{seen}");
    // Earlier runs are not there to be copied.
    let solver = format!("#!/bin/sh\nls -A {:?}\n", places.at("srv/runs"));
    places.write("srv/solver/solver", &solver, 0o755);
    places.write("srv/runs/0.out", "s SATISFIABLE\n", 0o644);
    places.run("benchmark-solver", |_| {}).exited(0);
    assert_eq!(fs::read(places.at("srv/runs/1.out")).unwrap(), b"");
}

#[test]
fn image_is_the_root_and_stays_as_it_was() {
    if !Path::new("/usr/bin/busybox").exists() {
        skip(
            "busybox",
            "there is no /usr/bin/busybox (Debian package busybox-static)",
        );
        return;
    }
    let places = Places::new();
    let before = places.snapshot("srv");
    let seen = places.run("unpacked-image", |_| {});
    assert_eq!(seen.exited(0).stdout(), "An image\n2\n", "{seen}");
    let call = |script: &str| places.run("unpacked-image", |job| job["argv"][2] = script.into());
    let seen =
        call("ls /bin /; ls -d /dev/null /proc/self /sys/class; test -e /usr || echo no host");
    for line in [
        "busybox",
        "mnt",
        "/dev/null",
        "/proc/self",
        "/sys/class",
        "no host",
    ] {
        assert!(
            seen.stdout().lines().any(|said| said == line),
            "{line}: {seen}"
        );
    }
    let seen = call("echo x > /mnt/input/data.txt");
    assert!(
        seen.exited(1).stderr().contains("Read-only file system"),
        "{seen}"
    );
    assert_eq!(places.snapshot("srv"), before);
}

#[test]
fn places_are_put_into_strings_that_begin_with_them_only() {
    let places = Places::new();
    let at = |name: &str| places.at(name).to_str().unwrap().to_owned();
    assert_eq!(
        places.put(r#"["/srv", "/srv/a", "/srvx", "/a/srv", "cat /srv/a", "/home/me", "/root"]"#),
        format!(
            r#"["{}", "{}", "/srvx", "/a/srv", "cat /srv/a", "{}", "{}"]"#,
            at("srv"),
            at("srv/a"),
            at("home/me"),
            at("root")
        )
    );
    let mode = fs::metadata(places.at("root/.ssh/id_ed25519")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    run(&places.job("unpacked-image"));
}
