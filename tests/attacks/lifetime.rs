//! Nobody outlives its job: not the target's main process, not stdbox; and nobody else is ended in their place.

use crate::common::{probe_job, with};
use crate::support::outside::{
    alive, children, eventually, finish, kill, marker, outlive, pid_of, start, start_with, state,
};
use crate::support::{Fresh, in_namespace, probe, root, run, shell, skip, stdbox};
use nix::libc;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

// ---- when the target has ended

/// Daemons, and processes that ignore, are stopped, trace each other, wait as after vfork(2), live in a namespace below or
/// have lost their first thread: daemon(7), pid_namespaces(7). With pid 1 all of them end, before stdbox returns.
#[test]
fn lifetime_of_any_kind_of_process_ends_with_the_target() {
    for init in [true, false] {
        let word = marker("linger");
        let seen = run(&probe_job(&["linger", &word], &json!({"init": init})));
        let left = alive(&word);
        seen.exited(3);
        assert!(left.is_empty(), "init: {init}: {left:?}");
    }
}

/// The same with what a shell can do: background jobs, nohup(1), setsid(1).
#[test]
fn lifetime_of_daemons_of_a_shell_ends_with_the_target() {
    let word = marker("daemons");
    let probe = probe().display().to_string();
    let script = format!(
        "{probe} stay {word} & (setsid {probe} stay {word} >/dev/null 2>&1 &) ; nohup {probe} stay {word} >/dev/null 2>&1 & \
         setsid sh -c '({probe} stay {word} </dev/null >/dev/null 2>&1 &) & exit' & \
         while [ $(grep -c {word} /proc/[0-9]*/cmdline | grep -cv :0) -lt 5 ]; do :; done; exit 3"
    );
    shell(&script, json!({})).exited(3);
    assert!(alive(&word).is_empty());
}

/// Five hundred processes that fork and end without pause, so that no list of them is ever right: a fork bomb that kill(2)
/// cannot catch. The end of the namespace does.
#[test]
fn lifetime_of_a_fork_bomb_ends_with_the_target() {
    let word = marker("bomb");
    let seen = run(&probe_job(
        &["fork-bomb", "500", &word],
        &json!({"limits": {"wall_time_ms": 60_000}}),
    ));
    let left = alive(&word);
    seen.exited(3);
    assert!(left.is_empty(), "{left:?}");
}

/// The same while the main process stays: time runs out, or stdbox is told to stop.
#[test]
fn lifetime_of_a_fork_bomb_ends_with_its_time() {
    let word = marker("bomb");
    let job = probe_job(
        &["fork-bomb", "500", &word, "/tmp/ready"],
        &json!({"limits": {"wall_time_ms": 1500}}),
    );
    let seen = run(&job);
    assert_eq!(seen.report["limit"], "wall-time", "{seen}");
    assert!(alive(&word).is_empty());
    let scene = Fresh::new();
    let ready = scene.path().join("ready");
    let job = probe_job(
        &["fork-bomb", "500", &word, ready.to_str().unwrap()],
        &json!({"limits": {"wall_time_ms": 60_000}, "directories": {scene.str(): "full-access"}}),
    );
    let child = start(&job);
    eventually("the bomb", || ready.exists());
    kill(pid_of(&child), libc::SIGTERM);
    let seen = finish(child);
    assert_eq!(seen.report["outcome"], "cancelled", "{seen}");
    assert!(alive(&word).is_empty());
}

/// A target that signals everything it may, pid 1 above all, which the kernel shields from signals of its own namespace, even
/// SIGKILL and SIGSTOP: pid_namespaces(7), "The namespace init process".
#[test]
fn lifetime_of_init_is_not_the_targets_to_end() {
    let script =
        "sleep 600 & kill -STOP 1; kill -KILL 1; kill -KILL -1; kill -STOP 1; kill -KILL 1; exit 7";
    for fields in [json!({}), json!({"user": {"uid": 0, "gid": 0}})] {
        shell(script, fields).exited(7);
    }
    // By a child: the main process is the one that is killed, and that is what is told.
    let seen = shell("(kill -KILL -1) & sleep 600", json!({}));
    assert_eq!(seen.report["signal"], libc::SIGKILL, "{seen}");
}

// ---- when stdbox has ended

/// A job whose processes of every kind stay, and its file that says so.
struct Staying {
    child: Child,
    word: String,
    _scene: Fresh,
}

impl Staying {
    fn start(fields: &Value, prepare: impl FnOnce(&mut Command)) -> Self {
        let scene = Fresh::new();
        let ready = scene.path().join("ready");
        let word = marker("staying");
        let job = probe_job(
            &["linger", &word, ready.to_str().unwrap()],
            &json!({"directories": {scene.str(): "full-access"}}),
        );
        let child = start_with(&with(job, fields), prepare);
        eventually("the target runs", || ready.exists());
        Self {
            child,
            word,
            _scene: scene,
        }
    }
}

/// PR_SET_PDEATHSIG(2const) ends init with stdbox, and the namespace ends with init; nothing that the target's processes do
/// to their own parent-death signals, groups and sessions matters. A stopped stdbox, or a stopped init, makes no difference.
#[test]
fn lifetime_of_any_kind_of_process_ends_with_stdbox() {
    for fields in [json!({}), json!({"init": false})] {
        for stopped in ["nobody", "stdbox", "init"] {
            let mut job = Staying::start(&fields, |_| ());
            let pid = pid_of(&job.child);
            match stopped {
                "stdbox" => kill(pid, libc::SIGSTOP),
                "init" => kill(children(pid)[0], libc::SIGSTOP),
                _ => {}
            }
            job.child.kill().unwrap();
            job.child.wait().unwrap();
            let left = outlive(&job.word);
            assert!(left.is_empty(), "{fields}, {stopped} was stopped: {left:?}");
        }
    }
}

/// A process of the same user stops init from outside; told to stop, stdbox does not wait for it for ever.
#[test]
fn lifetime_of_a_job_whose_init_is_stopped_ends_when_it_is_cancelled() {
    let job = Staying::start(&json!({}), |_| ());
    let pid = pid_of(&job.child);
    let init = children(pid)[0];
    kill(init, libc::SIGSTOP);
    eventually("init is stopped", || state(init) == Some('T'));
    kill(pid, libc::SIGTERM);
    let seen = finish(job.child);
    assert_eq!(seen.report["outcome"], "cancelled", "{seen}");
    assert!(alive(&job.word).is_empty());
}

/// "The 'parent' in this case is considered to be the thread that created this process", PR_SET_PDEATHSIG(2const): so a program
/// that starts jobs from threads of a pool could lose them. stdbox does not depend on the thread that started it, and has
/// no other thread itself; it still ends everything when it is killed.
#[test]
fn lifetime_of_a_job_does_not_depend_on_the_callers_thread() {
    let scene = Fresh::new();
    let go = scene.path().join("go");
    let script = format!(
        "while [ ! -e {} ]; do sleep 0.01; done; exit 7",
        go.display()
    );
    let job = json!({"argv": ["sh", "-c", script], "cwd": "/", "directories": {scene.str(): "full-access"}});
    let child = std::thread::spawn(move || {
        let child = start(&job);
        eventually("the container", || !children(pid_of(&child)).is_empty());
        child
    });
    let child = child.join().unwrap();
    let pid = pid_of(&child);
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().count();
    fs::write(go, "").unwrap();
    finish(child).exited(7);
    assert_eq!(threads, 1);
    // And the other way round: the thread is gone, stdbox is killed.
    let mut job = std::thread::spawn(|| Staying::start(&json!({}), |_| ()))
        .join()
        .unwrap();
    job.child.kill().unwrap();
    job.child.wait().unwrap();
    assert!(outlive(&job.word).is_empty());
}

/// Two thousand times SIGKILL, at moments that lie before, at and after the start of the target.
#[test]
fn lifetime_of_any_process_ends_with_stdbox_killed_at_a_random_moment() {
    const ROUNDS: u32 = 2000;
    let scene = Fresh::new();
    let ready = scene.path().join("ready");
    let word = marker("random");
    let job = |init: bool, word: &str| {
        probe_job(
            &["stay", word, ready.to_str().unwrap()],
            &json!({"init": init, "directories": {scene.str(): "full-access"}}),
        )
    };
    let started = Instant::now();
    let mut child = start(&job(true, &format!("{word}-first")));
    eventually("the target runs", || ready.exists());
    let usual = started.elapsed();
    child.kill().unwrap();
    child.wait().unwrap();
    // The word is on the command line of stdbox itself too, so that a survivor of set-up is found.
    let specs = [true, false].map(|init| {
        let name = format!("{word}-{init}.json");
        scene.file(&name, &job(init, &word).to_string())
    });
    let (next, unharmed) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for worker in 0..3 {
            let (next, unharmed, specs) = (&next, &unharmed, &specs);
            scope.spawn(move || {
                let mut random = u64::from(std::process::id()) * 7 + worker;
                while next.fetch_add(1, Ordering::Relaxed) < ROUNDS {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let mut command = Command::new(stdbox());
                    command
                        .arg("--spec")
                        .arg(&specs[usize::from(random >> 40 & 3 == 0)])
                        .stdin(Stdio::null())
                        .stdout(Stdio::null())
                        .stderr(Stdio::null());
                    let mut child = command.spawn().expect("stdbox starts");
                    let share = u32::try_from((random >> 43) % 1000).unwrap();
                    std::thread::sleep(usual * share / 600);
                    child.kill().expect("it can be killed");
                    let status = child.wait().expect("it ends");
                    if status.signal() != Some(libc::SIGKILL) {
                        unharmed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let left = outlive(&word);
    assert!(left.is_empty(), "these outlived stdbox: {left:?}");
    let unharmed = unharmed.into_inner();
    assert_eq!(
        unharmed, 0,
        "the target does not end, so neither does stdbox"
    );
}

// ---- numbers that are used again

/// A number that is free again belongs to somebody else: pidfd_open(2), SIGCHLD in sigaction(2). In a
/// namespace where the next number can be chosen, init dies, its number is given to a bystander as soon as the kernel
/// allows, and stdbox, which was stopped meanwhile and whose caller ignores SIGCHLD, is told to end its job.
#[test]
fn lifetime_of_a_bystander_with_inits_old_number_goes_on() {
    let script = r#"
        last=/proc/sys/kernel/ns_last_pid
        [ -w $last ] || { echo unsupported; exit 0; }
        (exec env --ignore-signal=CHLD "$STDBOX" --spec "$SCENE/job" > "$SCENE/report") &
        stdbox=$!
        await() { for i in $(seq 3000); do "$@" && return; sleep 0.01; done; echo "never: $*"; exit 1; }
        dead() { [ ! -e /proc/$1 ] || grep -q 'State:.*Z' /proc/$1/status; }
        await test -e "$SCENE/ready"
        read init rest < /proc/$stdbox/task/$stdbox/children
        kill -STOP $stdbox
        await grep -q 'State:.*T' /proc/$stdbox/status
        kill -KILL $init
        # Until it is dead: a zombie, or not there at all.
        await dead $init
        for try in 1 2 3 4 5; do
            echo $((init - 1)) > $last
            "$PROBE" sleep 600000 > "$SCENE/bystander" &
            bystander=$!
            [ $bystander = $init ] && break
        done
        kill -TERM $stdbox
        kill -CONT $stdbox
        wait $stdbox
        echo "status $? reused $([ $bystander = $init ] && echo yes || echo no)"
        grep -q 'State:.*[SR]' /proc/$bystander/status && echo alive
        kill -KILL $bystander
    "#;
    let scene = Fresh::new();
    let ready = scene.path().join("ready");
    let job = probe_job(
        &["ignore-term", ready.to_str().unwrap()],
        &json!({"directories": {scene.str(): "full-access"}}),
    );
    let inner = scene.file("script", script);
    scene.file("job", &job.to_string());
    let own = if root() { "" } else { "-Ur" };
    let outer = format!(
        "export SCENE={0}; exec unshare {own} --pid --fork --mount-proc --kill-child sh {1}",
        scene.str(),
        inner.display(),
    );
    let (output, errors, _) = in_namespace(&outer, "");
    if output.contains("unsupported") {
        return skip(
            "ns_last_pid",
            "the kernel does not let the next pid be chosen",
        );
    }
    assert!(output.ends_with("\nalive\n"), "{output}{errors}");
    let report: Value =
        serde_json::from_slice(&fs::read(scene.path().join("report")).unwrap()).unwrap();
    assert_eq!(report["signal"], libc::SIGKILL, "{report}");
}
