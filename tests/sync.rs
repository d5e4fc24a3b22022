//! Callers that measure or place the processes of a job themselves: what they are told, when they are waited for, and what
//! becomes of a job whose caller leaves.
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
    reason = "descriptors are changed by number"
)]

mod support;

use nix::libc;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::outside::{alive, eventually, finish, kill, marker, pid_of, start_with};
use support::talk::{Talk, pass, pipe};
use support::{Fresh, many_ids, probe_job, root, run, skip, with};

fn set_flags(end: &File, flags: i32) {
    // SAFETY: F_SETFL takes a number.
    let set = unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETFL, flags) };
    assert_eq!(set, 0);
}

fn script(text: &str, fields: &Value) -> Value {
    with(json!({"argv": ["/bin/sh", "-c", text], "cwd": "/"}), fields)
}

fn number(event: &Value, field: &str) -> i32 {
    i32::try_from(event[field].as_i64().unwrap()).unwrap()
}

/// Waits until the target executes this program.
fn runs(ready: &Value, program: &str) {
    let comm = format!("/proc/{}/comm", number(ready, "pid"));
    eventually("the target runs", || {
        fs::read_to_string(&comm).unwrap_or_default() == program
    });
}

/// A line of /proc/PID/status.
fn status_of(pid: i32, name: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let words = line.unwrap().trim_start_matches(':').split_whitespace();
    words.map(str::to_owned).collect()
}

/// Every kind of container that the pauses are another piece of code in.
fn variants() -> Vec<(&'static str, Value)> {
    let mut all = vec![
        ("default", json!({})),
        ("in place", json!({"directories": {"/": "read-only"}})),
        ("without init", json!({"init": false})),
        (
            "capabilities",
            json!({"capabilities": ["CAP_NET_BIND_SERVICE"]}),
        ),
        ("strict filter", json!({"seccomp": "strict"})),
        ("no filter", json!({"seccomp": "off"})),
    ];
    if many_ids() {
        all.push(("many ids", json!({"user": {"map": "range"}})));
        all.push((
            "many ids and capabilities",
            json!({"user": {"uid": 0, "gid": 0, "map": "range"}, "capabilities": ["CAP_SETUID"]}),
        ));
    } else {
        skip("user", "no subordinate ids for the variant with many ids");
    }
    all
}

// ---- what is told, and when

#[test]
fn nothing_runs_before_the_first_continue_and_nothing_is_taken_down_before_the_second() {
    for (name, fields) in variants() {
        let scene = Fresh::new();
        let (shared, out) = (scene.path().join("shared"), scene.path().join("out"));
        fs::create_dir(&shared).unwrap();
        let fields = with(
            fields,
            &json!({"results": {"directory": out.to_str().unwrap(), "patterns": ["/tmp/made"]}}),
        );
        let mut fields = fields;
        // A capability and a directory that holds a name inside a full-access one do not go together.
        let evidence = if name.contains("capabilities") || name == "in place" {
            "/tmp/began".to_owned()
        } else {
            let below = shared.to_str().unwrap();
            fields["directories"] = json!({below: "full-access"});
            format!("{below}/began")
        };
        let text = format!("echo x > {evidence}; echo hello > /tmp/made; exit 7");
        let mut talk = Talk::begin(&script(&text, &fields), &json!({}));
        let ready = talk.expect("ready");
        std::thread::sleep(Duration::from_millis(100));
        assert!(!shared.join("began").exists(), "{name}: it ran");
        talk.say("continue\n");
        let exited = talk.expect("exited");
        assert_eq!(exited["wait_status"], 7 << 8, "{name}");
        let inside = format!("/proc/{}/root/tmp/made", number(&ready, "init_pid"));
        assert_eq!(
            fs::read_to_string(&inside).unwrap_or_else(|error| format!("{error}")),
            "hello\n",
            "{name}"
        );
        assert!(!out.join("tmp/made").exists(), "{name}: taken too early");
        talk.say("continue\n");
        let seen = talk.finish();
        seen.exited(7);
        assert_eq!(seen.report["wait_status"], exited["wait_status"], "{name}");
        assert_eq!(seen.report["rusage"], exited["rusage"], "{name}");
        assert_eq!(
            fs::read_to_string(out.join("tmp/made")).unwrap(),
            "hello\n",
            "{name}: {seen}"
        );
    }
}

#[test]
fn pids_are_the_ones_that_the_caller_sees() {
    for (name, fields) in variants() {
        let job = script("exit 0", &fields);
        let mut talk = Talk::begin(&job, &json!({}));
        let ready = talk.expect("ready");
        let (pid, init) = (number(&ready, "pid"), number(&ready, "init_pid"));
        let stdbox = pid_of(&talk.child).to_string();
        assert_eq!(status_of(init, "PPid"), [stdbox], "{name}");
        assert_eq!(status_of(pid, "PPid"), [init.to_string()], "{name}");
        let inside = if name == "without init" { "1" } else { "2" };
        let inside = if name == "many ids and capabilities" {
            "3"
        } else {
            inside
        };
        assert_eq!(status_of(pid, "NSpid").last().unwrap(), inside, "{name}");
        assert_eq!(status_of(init, "NSpid").last().unwrap(), "1", "{name}");
        talk.say("continue\ncontinue\n");
        assert_eq!(talk.expect("exited")["wait_status"], 0, "{name}");
        talk.finish().exited(0);
    }
}

#[test]
fn pids_are_those_of_a_caller_in_a_pid_namespace_of_its_own() {
    let scene = Fresh::new();
    let place = scene.str();
    scene.file(
        "job",
        &script(
            "exit 5",
            &json!({"sync": {
            "events_fd": 3, "control_fd": 4, "pause_before_exec": true}}),
        )
        .to_string(),
    );
    // The shell is pid 1 there, and the names of the processes are read from a /proc of that namespace.
    let text = format!(
        "cd {place}; mkfifo events control; \"$STDBOX\" --spec job --report report 3> events 4< control & \
         exec 6< events 5> control; read -r line <&6; echo \"$line\"; \
         set -- $(echo \"$line\" | tr -c '0-9\\n' ' '); \
         grep -E '^(Name|PPid|NSpid):' /proc/$1/status /proc/$2/status; \
         echo continue >&5; wait; cat report"
    );
    let mut command = Command::new("unshare");
    let options = if root() { "-mpf" } else { "-Urmpf" };
    let output = command
        .args([options, "--mount-proc", "/bin/sh", "-ec", &text])
        .env("STDBOX", support::stdbox())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut lines = said.lines();
    let ready: Value = serde_json::from_str(lines.next().unwrap_or("null")).unwrap();
    let (pid, init) = (number(&ready, "pid"), number(&ready, "init_pid"));
    assert!(pid < 50 && init < 50, "{said}{complaint}");
    let parent = format!("/proc/{pid}/status:PPid:\t{init}");
    assert!(said.contains(&parent), "{said}{complaint}");
    assert!(said.contains("\"exit_code\":5"), "{said}{complaint}");
}

#[test]
fn events_without_pauses_need_no_control() {
    for (before, after) in [(false, false), (true, false), (false, true)] {
        let sync = json!({"pause_before_exec": before, "pause_after_exit": after});
        let mut talk = Talk::begin(&script("exit 4", &json!({})), &sync);
        talk.expect("ready");
        if before {
            talk.say("continue\n");
        }
        talk.expect("exited");
        if after {
            talk.say("continue\n");
        } else {
            talk.leave();
        }
        talk.finish().exited(4);
    }
    let (mut events, told) = pipe(0);
    let fd = told.as_raw_fd();
    let job = script("exit 4", &json!({"sync": {"events_fd": fd}}));
    let child = start_with(&job, |command| pass(command, vec![fd]));
    drop(told);
    let mut said = String::new();
    events.read_to_string(&mut said).unwrap();
    finish(child).exited(4);
    let names: Vec<&str> = said
        .lines()
        .filter_map(|line| line.split('"').nth(3))
        .collect();
    assert_eq!(names, ["ready", "exited"], "{said}");
}

#[test]
fn answers_may_come_before_they_are_asked_for_and_be_the_last_word() {
    let mut talk = Talk::begin(&script("exit 9", &json!({})), &json!({}));
    talk.say("continue\ncontinue\n");
    talk.leave();
    talk.expect("ready");
    talk.expect("exited");
    talk.finish().exited(9);
}

#[test]
fn one_socket_can_be_both_ends_and_pipes_need_not_block() {
    let (own, other) = UnixStream::pair().unwrap();
    let fd = other.as_raw_fd();
    let sync = json!({"events_fd": fd, "control_fd": fd, "pause_before_exec": true, "pause_after_exit": true});
    let job = script("exit 6", &json!({ "sync": sync }));
    let child = start_with(&job, |command| pass(command, vec![fd]));
    drop(other);
    let mut lines = BufReader::new(own.try_clone().unwrap()).lines();
    for name in ["ready", "exited"] {
        let line = lines.next().unwrap().unwrap();
        assert!(line.contains(name), "{line}");
        (&own).write_all(b"continue\n").unwrap();
    }
    finish(child).exited(6);

    let events = pipe(0);
    let control = pipe(0);
    for end in [&events.1, &control.0] {
        set_flags(end, libc::O_NONBLOCK);
    }
    let job = script("exit 6", &json!({}));
    let (.., seen) = Talk::with_pipes(&job, &json!({}), events, control).play();
    seen.exited(6);
}

#[test]
fn caller_that_does_not_read_is_waited_for_and_can_still_stop_the_job() {
    let full = || {
        let (reader, mut writer) = pipe(libc::O_NONBLOCK);
        while writer.write(&[b'\n'; 4096]).is_ok() {}
        (reader, writer)
    };
    // It reads late: everything comes, in order.
    let events = full();
    let reader = events.0.try_clone().unwrap();
    let mut talk = Talk::with_pipes(&script("exit 3", &json!({})), &json!({}), events, pipe(0));
    talk.say("continue\ncontinue\n");
    std::thread::sleep(Duration::from_millis(300));
    assert!(
        talk.child.try_wait().unwrap().is_none(),
        "nobody has read yet"
    );
    set_flags(&reader, 0);
    drop(reader);
    let mut said = String::new();
    talk.events.read_to_string(&mut said).unwrap();
    finish(talk.child).exited(3);
    let names: Vec<&str> = said
        .lines()
        .filter_map(|line| line.split('"').nth(3))
        .collect();
    assert_eq!(names, ["ready", "exited"], "{said}");
    // It never reads, and says stop: the report comes all the same.
    let events = full();
    let _unread = events.0.try_clone().unwrap();
    let talk = Talk::with_pipes(&script("exit 3", &json!({})), &json!({}), events, pipe(0));
    std::thread::sleep(Duration::from_millis(200));
    kill(pid_of(&talk.child), libc::SIGTERM);
    let seen = finish(talk.child);
    assert_eq!(seen.report["outcome"], "cancelled", "{seen}");
}

#[test]
fn every_event_is_what_its_schema_says() {
    let schema = |name: &str| -> Value {
        let path = support::source().join("schema").join(name);
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    };
    let events = schema("event.json");
    let validator = jsonschema::draft202012::new(&events).unwrap();
    let scene = Fresh::new();
    let disk = json!({"scratch": {"directory": scene.str()}});
    for fields in [json!({}), disk] {
        let (ready, exited, _) = Talk::begin(&script("exit 1", &fields), &json!({})).play();
        for event in [ready, exited] {
            assert!(validator.is_valid(&event), "{event}");
            let mut wrong = event.clone();
            wrong["more"] = json!(1);
            assert!(!validator.is_valid(&wrong), "{wrong}");
        }
    }
    // The figures are those of the report.
    let parts = |schema: &Value, at: &str| {
        let rusage = schema.pointer(at).unwrap().clone();
        (rusage["required"].clone(), rusage["properties"].clone())
    };
    assert_eq!(
        parts(&events, "/$defs/exited/properties/rusage"),
        parts(&schema("report.json"), "/properties/rusage")
    );
}

// ---- the container after the exit

#[test]
fn everything_of_the_job_is_dead_when_its_exit_is_told() {
    let word = marker("rest");
    for (name, fields) in variants() {
        if name == "strict filter" || name == "no filter" {
            continue;
        }
        let mut job = probe_job(&["fork-daemon", &word], &fields);
        job["cwd"] = json!("/");
        let mut talk = Talk::begin(&job, &json!({}));
        talk.expect("ready");
        talk.say("continue\n");
        talk.expect("exited");
        assert_eq!(alive(&word), Vec::<i32>::new(), "{name}");
        talk.say("continue\n");
        talk.finish().exited(0);
    }
}

#[test]
fn process_with_another_id_is_dead_when_the_exit_is_told() {
    if !many_ids() {
        return skip("user", "this user has no subordinate ids");
    }
    let word = marker("other");
    let fields = json!({
        "user": {"uid": 0, "gid": 0, "map": "range"}, "capabilities": ["CAP_SETUID", "CAP_SETGID"],
    });
    let text = format!(
        "setpriv --reuid 5 --regid 5 --clear-groups sh -c 'sleep 600; : {word}' & \
         until grep -qs {word} /proc/$!/cmdline; do :; done; exit 0"
    );
    let mut talk = Talk::begin(&script(&text, &fields), &json!({}));
    talk.expect("ready");
    talk.say("continue\n");
    talk.expect("exited");
    assert_eq!(alive(&word), Vec::<i32>::new());
    talk.say("continue\n");
    talk.finish().exited(0);
}

#[test]
fn container_can_be_looked_into_after_the_exit_and_not_before() {
    let text = "echo secret > /tmp/f; exit 0";
    let mut talk = Talk::begin(&script(text, &json!({})), &json!({}));
    let ready = talk.expect("ready");
    let inside = format!("/proc/{}/root/tmp", number(&ready, "init_pid"));
    if !root() {
        // Whoever has every capability may look into everything.
        let early = fs::read_dir(&inside).unwrap_err();
        assert_eq!(early.raw_os_error(), Some(libc::EACCES));
    }
    talk.say("continue\n");
    talk.expect("exited");
    assert_eq!(
        fs::read_to_string(format!("{inside}/f")).unwrap(),
        "secret\n"
    );
    talk.say("continue\n");
    talk.finish().exited(0);
    assert!(fs::read_dir(&inside).is_err());
}

/// What stays behind of the job would see the tree through init, whose root has no locked mounts and nothing hidden from
/// itself, and could trace it, if it was still there when init is opened to the caller.
#[test]
fn job_never_gets_to_look_through_init() {
    let scene = Fresh::new();
    let place = scene.str();
    let text = format!(
        "for i in 1 2 3 4; do (trap '' TERM HUP; while :; do \
           ls /proc/1/root/ > /dev/null 2>&1 && echo seen >> {place}/seen; \
           cat /proc/1/environ > /dev/null 2>&1 && echo read >> {place}/seen; \
         done) & done; sleep 0.2; exit 0"
    );
    let fields = json!({"directories": {place: "full-access"}});
    let mut talk = Talk::begin(&script(&text, &fields), &json!({}));
    talk.expect("ready");
    talk.say("continue\n");
    talk.expect("exited");
    std::thread::sleep(Duration::from_millis(300));
    talk.say("continue\n");
    talk.finish().exited(0);
    assert_eq!(
        fs::read_to_string(format!("{place}/seen")).unwrap_or_default(),
        ""
    );
}

#[test]
fn disk_scratch_is_told_and_holds_the_jobs_writes() {
    let scene = Fresh::new();
    let fields = json!({"scratch": {"directory": scene.str()}});
    let job = script(
        "head -c 100000 /dev/zero > /tmp/big; echo y > /var/tmp/other",
        &fields,
    );
    let mut talk = Talk::begin(&job, &json!({}));
    let ready = talk.expect("ready");
    let scratch = std::path::PathBuf::from(ready["scratch"].as_str().unwrap());
    assert_eq!(scratch.parent().unwrap(), scene.path());
    assert!(scratch.is_dir());
    talk.say("continue\n");
    talk.expect("exited");
    let size = |name: &str| fs::metadata(scratch.join("upper").join(name)).map(|found| found.len());
    assert_eq!(size("tmp/big").unwrap(), 100_000);
    assert_eq!(size("var/tmp/other").unwrap(), 2);
    talk.say("continue\n");
    talk.finish().exited(0);
    assert!(!scratch.exists());
    let (ready, ..) = Talk::begin(&script("exit 0", &json!({})), &json!({})).play();
    assert_eq!(ready.get("scratch"), None);
}

/// A full disk, or a reader that is gone.
#[test]
fn events_that_cannot_be_told_are_warned_of_and_nobody_waits_for_who_cannot_hear() {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let unread = || pipe(0).1;
    for lost in [full as fn() -> File, unread] {
        let scene = Fresh::new();
        let text = format!("echo x > {}/ran; exit 0", scene.str());
        let fields = json!({"directories": {scene.str(): "full-access"}});
        let job = script(&text, &fields);
        let begin = |sync: Value| Talk::with_pipes(&job, &sync, (pipe(0).0, lost()), pipe(0));
        let seen = finish(begin(json!({})).child);
        assert_eq!(seen.report["outcome"], "cancelled", "{seen}");
        assert_eq!(seen.warnings(), ["sync-event-lost"], "{seen}");
        assert!(!scene.path().join("ran").exists(), "{seen}");
        let neither = json!({"pause_before_exec": false, "pause_after_exit": false});
        let seen = finish(begin(neither).child);
        assert_eq!(seen.exited(0).warnings(), ["sync-event-lost"], "{seen}");
        let mut control = pipe(0);
        control.1.write_all(b"continue\ncontinue\n").unwrap();
        let ahead = Talk::with_pipes(&job, &json!({}), (pipe(0).0, lost()), control);
        assert_eq!(
            finish(ahead.child).exited(0).warnings(),
            ["sync-event-lost"]
        );
    }
}

// ---- the caller leaves, or says stop

/// A job whose target leaves a trace, and has left a process behind.
fn traced(scene: &Fresh, word: &str) -> Value {
    let text = format!("sleep 600 {word} & echo x > {}/ran; exit 0", scene.str());
    let out = scene.path().join("out");
    script(
        &text,
        &json!({
            "directories": {scene.str(): "full-access"},
            "results": {"directory": out.to_str().unwrap(), "patterns": ["/tmp"]},
        }),
    )
}

#[test]
fn job_that_is_cancelled_at_the_first_pause_never_runs() {
    type Way = fn(&mut Talk);
    let ways: [(&str, Way); 5] = [
        ("end of file", Talk::leave),
        ("another word", |talk| talk.say("cancel\n")),
        ("half a word", |talk| {
            talk.say("contin");
            talk.leave();
        }),
        ("no end", |talk| talk.say(&"continue".repeat(100))),
        ("a signal", |talk| kill(pid_of(&talk.child), libc::SIGTERM)),
    ];
    for (way, act) in ways {
        let (scene, word) = (Fresh::new(), marker("first"));
        let mut talk = Talk::begin(&traced(&scene, &word), &json!({}));
        let ready = talk.expect("ready");
        act(&mut talk);
        let seen = talk.finish();
        assert_eq!(seen.report["outcome"], "cancelled", "{way}: {seen}");
        assert_eq!(seen.report["exit_code"], Value::Null, "{way}: {seen}");
        assert_eq!(seen.status, Some(0), "{way}: {seen}");
        assert!(!scene.path().join("ran").exists(), "{way}");
        let unknown = way == "another word" || way == "no end";
        let expected: &[&str] = if unknown {
            &["sync-answer-unknown"]
        } else {
            &[]
        };
        assert_eq!(seen.warnings(), expected, "{way}: {seen}");
        for field in ["pid", "init_pid"] {
            let gone = format!("/proc/{}", number(&ready, field));
            assert!(!std::path::Path::new(&gone).exists(), "{way}: {field}");
        }
    }
}

#[test]
fn job_that_is_cancelled_at_the_second_pause_has_ended_and_gives_no_results() {
    type Way = fn(&mut Talk);
    let ways: [(&str, Way); 3] = [
        ("end of file", Talk::leave),
        ("another word", |talk| talk.say("stop\n")),
        ("a signal", |talk| kill(pid_of(&talk.child), libc::SIGTERM)),
    ];
    for (way, act) in ways {
        let (scene, word) = (Fresh::new(), marker("second"));
        let mut job = traced(&scene, &word);
        job["argv"][2] = json!(format!(
            "echo x > {}/ran; echo y > /tmp/made; echo out; exit 3",
            scene.str()
        ));
        let mut talk = Talk::begin(&job, &json!({}));
        let ready = talk.expect("ready");
        talk.say("continue\n");
        talk.expect("exited");
        act(&mut talk);
        let seen = talk.finish();
        assert_eq!(seen.report["outcome"], "cancelled", "{way}: {seen}");
        assert_eq!(seen.report["exit_code"], 3, "{way}: {seen}");
        assert_eq!(seen.stdout(), "out\n", "{way}: {seen}");
        assert!(
            seen.degraded().contains(&"results-incomplete"),
            "{way}: {seen}"
        );
        assert_eq!(seen.report["results"]["files"], json!([]), "{way}: {seen}");
        assert!(!scene.path().join("out/tmp/made").exists(), "{way}");
        assert!(scene.path().join("ran").exists(), "{way}");
        let init = format!("/proc/{}", number(&ready, "init_pid"));
        assert!(!std::path::Path::new(&init).exists(), "{way}");
    }
}

#[test]
fn job_that_is_told_to_stop_while_it_runs_does_not_wait_for_its_caller() {
    let mut talk = Talk::begin(&script("echo up; exec sleep 600", &json!({})), &json!({}));
    let ready = talk.expect("ready");
    talk.say("continue\n");
    runs(&ready, "sleep\n");
    kill(pid_of(&talk.child), libc::SIGTERM);
    let exited = talk.expect("exited");
    assert_eq!(exited["wait_status"], libc::SIGKILL);
    let seen = talk.finish();
    assert_eq!(seen.report["outcome"], "cancelled", "{seen}");
    assert_eq!(seen.stdout(), "up\n", "{seen}");
}

#[test]
fn caller_that_leaves_while_the_job_runs_cancels_it() {
    for leaves in [true, false] {
        let mut talk = Talk::begin(&script("exec sleep 600", &json!({})), &json!({}));
        let ready = talk.expect("ready");
        talk.say("continue\n");
        runs(&ready, "sleep\n");
        if leaves {
            talk.leave();
        } else {
            // It has said all that it has to say.
            talk.say("continue\n");
            talk.leave();
            std::thread::sleep(Duration::from_millis(300));
            assert!(talk.child.try_wait().unwrap().is_none());
            kill(pid_of(&talk.child), libc::SIGTERM);
        }
        assert_eq!(talk.expect("exited")["wait_status"], libc::SIGKILL);
        let seen = talk.finish();
        assert_eq!(seen.report["outcome"], "cancelled", "{seen}");
    }
    // Without a pause to come nobody is missed.
    let sync = json!({"pause_after_exit": false});
    let mut talk = Talk::begin(&script("sleep 0.3; exit 2", &json!({})), &sync);
    talk.expect("ready");
    talk.say("continue\n");
    talk.leave();
    talk.expect("exited");
    talk.finish().exited(2);
}

/// The caller is a process of its own, which is killed: stdbox is nobody's child then, and nobody reads its report.
#[test]
fn caller_that_dies_at_a_pause_takes_the_job_with_it() {
    for pause in ["before", "after"] {
        let (scene, word) = (Fresh::new(), marker("dies"));
        let mut job = traced(&scene, &word);
        job["sync"] = json!({
            "events_fd": 3, "control_fd": 4, "pause_before_exec": true, "pause_after_exit": true,
        });
        scene.file("job", &job.to_string());
        let go = if pause == "after" {
            "echo continue >&5;"
        } else {
            ""
        };
        // The shell waits for ever without any child that could hold its end of the control.
        let text = format!(
            "cd {}; mkfifo control never; \"$STDBOX\" --spec job --report report 3> events 4< control & \
             echo $! > pid; exec 5> control; {go} read -r x < never; : {word}",
            scene.str()
        );
        let mut caller = Command::new("/bin/sh")
            .args(["-ec", &text])
            .env("STDBOX", support::stdbox())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let events = scene.path().join("events");
        let wanted = if pause == "after" { "exited" } else { "ready" };
        eventually(wanted, || {
            fs::read_to_string(&events)
                .unwrap_or_default()
                .contains(wanted)
        });
        let pid = fs::read_to_string(scene.path().join("pid")).unwrap();
        let stdbox = format!("/proc/{}", pid.trim());
        assert!(std::path::Path::new(&stdbox).exists(), "{pause}");
        caller.kill().unwrap();
        caller.wait().unwrap();
        let report = scene.path().join("report");
        eventually("the report", || {
            fs::read_to_string(&report)
                .unwrap_or_default()
                .ends_with('\n')
        });
        let report: Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
        assert_eq!(report["outcome"], "cancelled", "{pause}: {report}");
        assert_eq!(scene.path().join("ran").exists(), pause == "after");
        eventually("nobody is left", || alive(&word).is_empty());
    }
}

#[test]
fn nobody_outlives_stdbox_that_is_killed_at_a_pause() {
    for after in [false, true] {
        for (name, fields) in variants() {
            let word = marker("killed");
            let mut job = probe_job(&["status", &word], &fields);
            job["cwd"] = json!("/");
            let mut talk = Talk::begin(&job, &json!({}));
            let ready = talk.expect("ready");
            if after {
                talk.say("continue\n");
                talk.expect("exited");
            }
            kill(pid_of(&talk.child), libc::SIGKILL);
            // The last one that could write there is gone with this.
            assert_eq!(talk.event(), Value::Null, "{name}");
            talk.child.wait().unwrap();
            for field in ["pid", "init_pid"] {
                let path = format!("/proc/{}", number(&ready, field));
                eventually(name, || !std::path::Path::new(&path).exists());
            }
            assert!(alive(&word).is_empty(), "{name}");
        }
    }
}

#[test]
fn target_that_the_caller_kills_at_the_first_pause_has_ended() {
    let mut talk = Talk::begin(&script("exit 0", &json!({})), &json!({}));
    let ready = talk.expect("ready");
    kill(number(&ready, "pid"), libc::SIGKILL);
    assert_eq!(talk.expect("exited")["wait_status"], libc::SIGKILL);
    talk.say("continue\n");
    let seen = talk.finish();
    let end = (&seen.report["outcome"], &seen.report["signal"]);
    assert_eq!(end, (&json!("signaled"), &json!(libc::SIGKILL)), "{seen}");
}

// ---- beside other fields

#[test]
fn time_of_the_pauses_is_the_callers() {
    let pause = Duration::from_millis(700);
    let fields = json!({"limits": {"wall_time_ms": 500}});
    let mut talk = Talk::begin(&script("exit 0", &fields), &json!({}));
    talk.expect("ready");
    std::thread::sleep(pause);
    talk.say("continue\n");
    talk.expect("exited");
    std::thread::sleep(pause);
    talk.say("continue\n");
    let seen = talk.finish();
    seen.exited(0);
    for field in ["setup_ns", "run_ns", "teardown_ns"] {
        let spent = seen.report["timing"][field].as_u64().unwrap();
        assert!(spent < 500_000_000, "{field}: {seen}");
    }
}

#[test]
fn caller_that_takes_its_time_costs_no_processor_time() {
    let fields = json!({"limits": {"wall_time_ms": 100}});
    let mut talk = Talk::begin(&script("exit 0", &fields), &json!({}));
    talk.expect("ready");
    let pid = talk.child.id();
    // The two fields of proc_pid_stat(5) that count ticks of ten milliseconds.
    let ticks = || {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields = text
            .rsplit_once(") ")
            .unwrap()
            .1
            .split(' ')
            .skip(11)
            .take(2);
        fields
            .map(|ticks| ticks.parse::<u64>().unwrap())
            .sum::<u64>()
    };
    let sleeps = |pause: &str| {
        let before = ticks();
        std::thread::sleep(Duration::from_millis(600));
        assert!(ticks() - before < 10, "stdbox does not sleep {pause} it");
    };
    sleeps("before");
    talk.say("continue\n");
    talk.expect("exited");
    sleeps("after");
    talk.say("continue\n");
    talk.finish().exited(0);
}

#[test]
fn limit_that_ends_the_job_is_told_and_the_container_still_stands() {
    let text = "echo x > /tmp/f; exec sleep 600";
    let fields = json!({"limits": {"wall_time_ms": 300}});
    let mut talk = Talk::begin(&script(text, &fields), &json!({}));
    let ready = talk.expect("ready");
    let started = Instant::now();
    talk.say("continue\n");
    assert_eq!(talk.expect("exited")["wait_status"], libc::SIGKILL);
    assert!(started.elapsed() < Duration::from_secs(20));
    let inside = format!("/proc/{}/root/tmp/f", number(&ready, "init_pid"));
    assert_eq!(fs::read_to_string(inside).unwrap(), "x\n");
    talk.say("continue\n");
    let seen = talk.finish();
    assert_eq!(seen.report["limit"], "wall-time", "{seen}");
}

#[test]
fn command_that_cannot_be_executed_is_told_by_the_report() {
    let job = json!({"argv": ["/no/such/program"], "cwd": "/"});
    let mut talk = Talk::begin(&job, &json!({}));
    talk.expect("ready");
    talk.say("continue\n");
    talk.finish().failed("command-not-found", "exec");
    // What fails before is told by it alone.
    let job = json!({"argv": ["/bin/true"], "cwd": "/no/such/directory"});
    let talk = Talk::begin(&job, &json!({}));
    talk.finish().failed("cwd-missing", "exec");
}

#[test]
fn named_pipe_for_standard_input_is_opened_before_the_caller_is_waited_for() {
    let scene = Fresh::new();
    let path = scene.path().join("fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let fields =
        json!({"stdin": {"file": path.to_str().unwrap()}, "limits": {"wall_time_ms": 2000}});
    let mut talk = Talk::begin(&script("cat", &fields), &json!({}));
    let mut writer = File::options().write(true).open(&path).unwrap();
    talk.expect("ready");
    std::thread::sleep(Duration::from_millis(2500));
    talk.say("continue\n");
    writer.write_all(b"through\n").unwrap();
    drop(writer);
    talk.expect("exited");
    talk.say("continue\n");
    let seen = talk.finish();
    assert_eq!(seen.exited(0).stdout(), "through\n", "{seen}");
}

#[test]
fn target_enters_its_control_group_namespace_after_the_first_continue() {
    let own = fs::read_link("/proc/self/ns/cgroup").unwrap();
    for (name, fields) in variants() {
        let job = script("readlink /proc/self/ns/cgroup", &fields);
        let mut talk = Talk::begin(&job, &json!({}));
        let ready = talk.expect("ready");
        if root() {
            // Without every capability it cannot be seen.
            let paused = format!("/proc/{}/ns/cgroup", number(&ready, "pid"));
            assert_eq!(fs::read_link(paused).unwrap(), own, "{name}");
        }
        talk.say("continue\n");
        talk.expect("exited");
        talk.say("continue\n");
        let seen = talk.finish();
        let inside = seen.exited(0).stdout().trim();
        assert_ne!(inside, own.to_str().unwrap(), "{name}");
        assert!(inside.starts_with("cgroup:["), "{name}: {seen}");
    }
}

/// With another one the job could mount the hierarchy anew, where the files of its limits would be its user's to write.
#[test]
fn job_that_the_caller_places_can_make_no_control_group_namespace_of_its_own() {
    for (name, fields) in variants() {
        if name == "strict filter" {
            continue;
        }
        let text = "unshare -UC true 2>&1; unshare -U true && echo nested";
        let (.., seen) = Talk::begin(&script(text, &fields), &json!({})).play();
        let said = seen.exited(0).stdout();
        assert!(said.contains("No space left"), "{name}: {seen}");
        assert!(said.ends_with("nested\n"), "{name}: {seen}");
    }
}

/// Mounts of control groups: where they are, and how they may be used; the last of several in one place covers the others.
fn groups(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter(|line| line.contains(" - cgroup"));
    let words = lines.map(|line| line.split(' ').collect::<Vec<_>>());
    words
        .map(|words| (words[4].to_owned(), words[5].to_owned()))
        .collect()
}

#[test]
fn hierarchies_are_not_shown_writable_to_a_job_that_the_caller_places_unless_it_names_one() {
    let outside = groups(&fs::read_to_string("/proc/self/mountinfo").unwrap());
    let Some((named, _)) = outside.first_key_value() else {
        return skip("cgroup1", "no control groups are mounted here");
    };
    for whole in [
        json!({"/": "full-access"}),
        json!({"/": "full-access", "/sys": "full-access"}),
        json!({"/": "full-access", named: "full-access"}),
    ] {
        let fields = json!({"directories": whole, "capabilities": []});
        let job = script("cat /proc/self/mountinfo", &fields);
        let (.., seen) = Talk::begin(&job, &json!({})).play();
        let inside = groups(seen.exited(0).stdout());
        assert!(!inside.is_empty(), "{seen}");
        for (at, options) in inside {
            let mut above = std::path::Path::new(&at).ancestors();
            let wanted = above.any(|place| {
                let place = place.to_str().unwrap();
                place != "/" && whole.get(place).is_some()
            });
            let writable = options.split(',').any(|option| option == "rw");
            let possible = outside[&at].starts_with("rw");
            assert_eq!(writable, wanted && possible, "{whole}: {at}: {seen}");
        }
    }
}

#[test]
fn target_has_no_capability_after_its_pause() {
    for (name, fields) in variants() {
        if name.contains("capabilities") {
            continue;
        }
        let job = script("grep -E '^(Cap|NoNewPrivs)' /proc/self/status", &fields);
        let (.., seen) = Talk::begin(&job, &json!({})).play();
        let said = seen.exited(0).stdout();
        let none =
            ["Inh", "Prm", "Eff", "Bnd", "Amb"].map(|set| format!("Cap{set}:\t0000000000000000\n"));
        assert_eq!(said, none.concat() + "NoNewPrivs:\t1\n", "{name}: {seen}");
    }
}

#[test]
fn container_inside_a_container_talks_too() {
    let inner = script(
        "exit 8",
        &json!({"directories": {"/": "read-only"}, "sync": {"events_fd": 3, "control_fd": 4, "pause_before_exec": true, "pause_after_exit": true}}),
    );
    let text = format!(
        "printf 'continue\\ncontinue\\n' > /tmp/c; {} 3> /tmp/e 4< /tmp/c && cat /tmp/e",
        support::stdbox().to_str().unwrap()
    );
    let job = script(&text, &json!({"stdin": {"text": inner.to_string()}}));
    let seen = run(&job);
    let lines: Vec<&str> = seen.exited(0).stdout().lines().collect();
    assert_eq!(lines.len(), 3, "{seen}");
    let report: Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!(report["exit_code"], 8, "{report}");
    let ready: Value = serde_json::from_str(lines[1]).unwrap();
    assert!(
        number(&ready, "pid") > number(&ready, "init_pid"),
        "{ready}"
    );
}

// ---- descriptors

#[test]
fn descriptors_of_the_talk_never_reach_the_target() {
    for (name, fields) in variants() {
        let job = script("ls -l /proc/self/fd/", &fields);
        let (.., seen) = Talk::begin(&job, &json!({})).play();
        let said = seen.exited(0).stdout();
        assert!(!said.contains("socket"), "{name}: {seen}");
        // Those of ls itself are 0 to 2 and the directory; 1 and 2 are pipes.
        let pipes = said.matches("pipe:").count();
        assert_eq!((pipes, said.lines().count()), (2, 5), "{name}: {seen}");
    }
}

#[test]
fn descriptor_that_cannot_be_used_is_refused_before_anything_is_run() {
    let (reader, writer) = pipe(0);
    let (read, write) = (reader.as_raw_fd(), writer.as_raw_fd());
    // SAFETY: the path ends in null, and nobody else owns the descriptor. The standard library would not pass the flag on.
    let path = unsafe { File::from_raw_fd(libc::open(c"/etc/passwd".as_ptr(), libc::O_PATH)) };
    let only_path = path.as_raw_fd();
    let cases = [
        (json!({"events_fd": 999}), "/sync/events_fd"),
        (json!({"events_fd": read}), "/sync/events_fd"),
        (json!({"events_fd": only_path}), "/sync/events_fd"),
        (
            json!({"events_fd": write, "control_fd": 998, "pause_before_exec": true}),
            "/sync/control_fd",
        ),
        (
            json!({"events_fd": write, "control_fd": write, "pause_after_exit": true}),
            "/sync/control_fd",
        ),
        (
            json!({"events_fd": write, "control_fd": only_path}),
            "/sync/control_fd",
        ),
    ];
    for (sync, at) in cases {
        let job = script("exit 0", &json!({ "sync": sync }));
        let child = start_with(&job, |command| pass(command, vec![read, write, only_path]));
        let seen = finish(child);
        seen.failed("bad-descriptor", "validate");
        assert_eq!(seen.report["error"]["at"], at, "{seen}");
    }
}

#[test]
fn descriptor_of_the_talk_cannot_be_anything_else() {
    let (reader, writer) = pipe(0);
    let (read, write) = (reader.as_raw_fd(), writer.as_raw_fd());
    let sync = json!({"events_fd": write, "control_fd": read});
    let cases = [
        (
            json!({"sync": {"events_fd": 1}}),
            "contradiction",
            "/sync/events_fd",
        ),
        (
            json!({"sync": {"events_fd": write, "control_fd": 0}}),
            "contradiction",
            "/sync/control_fd",
        ),
        (
            json!({"sync": sync, "stdin": {"fd": read}}),
            "contradiction",
            "/stdin/fd",
        ),
        (
            json!({"sync": sync, "stdout": {"fd": write}}),
            "contradiction",
            "/stdout/fd",
        ),
        (
            json!({"sync": sync, "stderr": {"fd": write}}),
            "contradiction",
            "/stderr/fd",
        ),
        (
            json!({"sync": {"events_fd": 2}, "stderr": "inherit"}),
            "contradiction",
            "/stderr",
        ),
        (
            json!({"sync": sync, "fds": [write]}),
            "bad-descriptor",
            "/fds/0",
        ),
        (
            json!({"sync": sync, "fds": [read]}),
            "bad-descriptor",
            "/fds/0",
        ),
    ];
    for (fields, code, at) in cases {
        let child = start_with(&script("exit 0", &fields), |command| {
            pass(command, vec![read, write]);
        });
        let seen = finish(child);
        seen.failed(code, "validate");
        assert_eq!(seen.report["error"]["at"], at, "{seen}");
    }
}
