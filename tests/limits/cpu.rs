//! `cpu_time_ms`: it counts every process of the job, and ends it in time.

use crate::common::{counted, ended_for, probe_job, reported_ns, with};
use crate::support::outside::{children, eventually, finish, kill, pid_of, start, state};
use crate::support::{Run, root, run, run_in_namespace, shell, stdbox};
use nix::libc;
use serde_json::{Value, json};

const MS: u64 = 1_000_000;

/// The limit of the tests, and how far above it a job may come.
const LIMIT_MS: u64 = 400;
const TOLERANCE_NS: u64 = 50 * MS;

/// What the start of programs takes, which they do not count themselves.
const START_NS: u64 = 15 * MS;

/// A machine that does other things as well may be late; a meter that is late always is.
const ATTEMPTS: u32 = 5;

/// What a job may take that is not counted, in a test that must not take long.
fn limits() -> Value {
    json!({"cpu_time_ms": LIMIT_MS, "wall_time_ms": 30_000})
}

fn burn(words: &[&str], fields: &Value) -> Value {
    let words: Vec<&str> = std::iter::once("burn")
        .chain(words.iter().copied())
        .collect();
    with(probe_job(&words, &json!({"limits": limits()})), fields)
}

/// The job must be ended for its processor time, in one of a few attempts within the tolerance by what its processes counted.
#[track_caller]
fn in_time(job: &Value) {
    in_time_but_for(job, START_NS);
}

/// The same where the processes do not count so much of what they use.
#[track_caller]
fn in_time_but_for(job: &Value, uncounted_ns: u64) {
    let mut all = Vec::new();
    for _ in 0..ATTEMPTS {
        let (seen, used_ns) = counted(job);
        ended_for(&seen, "cpu-time");
        assert!(
            used_ns + uncounted_ns > LIMIT_MS * MS,
            "too early, at {used_ns}: {seen}"
        );
        if used_ns <= LIMIT_MS * MS + TOLERANCE_NS {
            return;
        }
        all.push(used_ns / MS);
    }
    panic!("{job}: always late: {all:?} ms");
}

#[test]
fn cpu_time_of_one_and_of_two_processes_ends_in_time() {
    for count in ["1", "2"] {
        for fields in [
            json!({}),
            json!({"init": false}),
            json!({"proc": "none"}),
            json!({"capabilities": ["CAP_CHOWN"]}),
            json!({"seccomp": "off"}),
            json!({"directories": {"/": "read-only"}}),
        ] {
            in_time(&burn(&["processes", count], &fields));
        }
    }
}

#[test]
fn cpu_time_of_a_job_with_many_ids_ends_in_time() {
    if !crate::support::many_ids() {
        return crate::support::skip("ids", "this user has no subordinate ids");
    }
    let fields = json!({"user": {"map": "range"}, "capabilities": ["CAP_SETUID"]});
    in_time(&burn(&["processes", "2"], &fields));
}

/// Threads count for their process, whichever of them it is that works.
#[test]
fn cpu_time_of_threads_counts() {
    in_time(&burn(&["threads", "8"], &json!({})));
}

#[test]
fn cpu_time_of_many_processes_counts() {
    in_time_but_for(&burn(&["processes", "64"], &json!({})), 50 * MS);
}

/// A target that only leaves a process behind, in a session of its own, and does nothing.
#[test]
fn cpu_time_of_a_daemon_counts() {
    for init in [true, false] {
        in_time(&burn(&["daemon"], &json!({"init": init})));
    }
}

/// Children that live for less than it takes until the next look, whose parent is passed what they used; also by a name that
/// looks like the end of one to a careless reader of /proc/PID/stat.
#[test]
fn cpu_time_of_short_children_that_are_waited_for_counts() {
    for words in [
        ["waited", "3"],
        ["renamed", "3"],
        ["namespace", "3"],
        ["orphans", "3"],
    ] {
        // More than a hundred children begin and end.
        in_time_but_for(&burn(&words, &json!({})), 100 * MS);
    }
}

#[test]
fn cpu_time_of_programs_that_replace_each_other_counts() {
    in_time(&burn(&["exec", "7"], &json!({})));
}

/// Children that stop: they are there, but do nothing any more.
#[test]
fn cpu_time_of_stopped_processes_counts() {
    in_time(&burn(&["stopped", "5", "82"], &json!({})));
}

/// Nobody is passed what was used by children that nobody waits for. They are looked at while they live, if they live for
/// longer than the interval.
#[test]
fn cpu_time_of_children_that_nobody_waits_for_counts() {
    let (seen, _) = counted(&burn(&["unwaited", "150"], &json!({})));
    ended_for(&seen, "cpu-time");
    // Three have used 450 ms; what the last look at each of them missed is at most the interval.
    let dots = seen.stderr().len();
    assert!((2..=5).contains(&dots), "{dots}: {seen}");
}

/// Both at once: half of the time is passed on, the other half is not, and neither sum may take the half for all.
#[test]
fn cpu_time_that_is_passed_on_in_part_counts() {
    let limits = json!({"limits": {"cpu_time_ms": 1000, "wall_time_ms": 30_000}});
    let (seen, used_ns) = counted(&burn(&["mixed", "150"], &limits));
    ended_for(&seen, "cpu-time");
    assert!(used_ns < 1400 * MS, "{used_ns}: {seen}");
}

/// A job that has ended by itself above the limit is no better than one that was ended.
#[test]
fn cpu_time_of_a_job_that_ends_before_it_is_noticed_counts() {
    let job = with(
        probe_job(&["spin", "30"], &json!({})),
        &json!({"limits": {"cpu_time_ms": 10}}),
    );
    let seen = run(&job);
    ended_for(&seen, "cpu-time");
    // By one of both.
    let end = (&seen.report["exit_code"], &seen.report["signal"]);
    assert!(
        [(&json!(0), &Value::Null), (&Value::Null, &json!(9))].contains(&end),
        "{seen}"
    );
}

#[test]
fn cpu_time_below_the_limit_changes_nothing() {
    let job = with(
        probe_job(&["burn", "figures", "50"], &json!({})),
        &json!({"limits": limits()}),
    );
    let seen = run(&job);
    seen.exited(0);
    assert_eq!(seen.report["limit"], Value::Null, "{seen}");
    assert_eq!(seen.warnings(), ["cpu-time-sampled"], "{seen}");
    assert!(
        run(&probe_job(&["exit", "0"], &json!({})))
            .warnings()
            .is_empty()
    );
}

#[test]
fn cpu_time_over_gives_the_grace_time() {
    let script = "trap 'exit 7' TERM; while :; do :; done";
    let limits = json!({"cpu_time_ms": 100, "grace_ms": 50_000});
    let seen = shell(script, json!({"limits": limits}));
    ended_for(&seen, "cpu-time");
    assert_eq!(seen.report["exit_code"], 7, "{seen}");
}

// ---- stdbox in stdbox

fn around(inner: &Value, fields: &Value) -> Run {
    let mut job = json!({"argv": [stdbox()], "cwd": "/", "stdin": {"text": inner.to_string()}});
    // The real root's global settings are protected unless nesting is asked for.
    if root() {
        job["proc"] = json!("nestable");
    }
    run(&with(job, fields))
}

#[test]
fn cpu_time_of_an_inner_job_counts_for_it() {
    let outer = around(&burn(&["processes", "2"], &json!({})), &json!({}));
    let inner = Run {
        report: serde_json::from_str(outer.stdout()).unwrap_or(Value::Null),
        status: None,
        complaint: String::new(),
    };
    ended_for(&inner, "cpu-time");
}

#[test]
fn cpu_time_of_an_inner_job_counts_for_the_outer_one() {
    let inner = probe_job(&["burn", "processes", "2"], &json!({}));
    let outer = around(&inner, &json!({"limits": limits()}));
    ended_for(&outer, "cpu-time");
}

// ---- where it cannot be looked

#[test]
fn cpu_time_below_a_covered_proc_is_refused() {
    let script = "mount --bind /dev/null /proc/uptime; exec \"$STDBOX\"";
    let job = burn(&["processes", "1"], &json!({"proc": "none"}));
    let seen = run_in_namespace(script, &job);
    seen.failed("proc-masked", "limits");
    assert_eq!(seen.report["error"]["at"], "/limits/cpu_time_ms", "{seen}");
}

/// Without a filter a target may take init's descriptors away, so that it cannot look any more: that ends the job.
#[test]
fn cpu_time_cannot_be_hidden_from_an_init_that_cannot_open_files() {
    let seen = run(&burn(&["blind", "3"], &json!({"seccomp": "off"})));
    seen.failed("out-of-memory", "limits");
    assert!(reported_ns(&seen) < 2 * LIMIT_MS * MS, "{seen}");
}

/// Init does not get to look, so every process is ended by the kernel; and when it does, it says why.
#[test]
fn cpu_time_of_a_process_is_kept_by_the_kernel_while_init_is_stopped() {
    let child = start(&burn(&["processes", "1"], &json!({})));
    let stdbox = pid_of(&child);
    eventually("the target", || {
        children(stdbox)
            .first()
            .is_some_and(|init| !children(*init).is_empty())
    });
    let init = children(stdbox)[0];
    kill(init, libc::SIGSTOP);
    let target = children(init)[0];
    eventually("the end of the target", || state(target) == Some('Z'));
    kill(init, libc::SIGCONT);
    let seen = finish(child);
    ended_for(&seen, "cpu-time");
    // ceil(0.42 s) and one second, in the ticks of the kernel's clock, by which it may be off.
    let used_ns = reported_ns(&seen);
    assert!((1000 * MS..3000 * MS).contains(&used_ns), "{seen}");
}

#[test]
fn cpu_time_backstop_is_never_above_the_callers_own_limit() {
    let see = |limits: &str, ms: u64| {
        let script = format!("ulimit {limits}; exec \"$STDBOX\"");
        let job = json!({"argv": ["/bin/sh", "-c", "ulimit -St; ulimit -Ht"], "cwd": "/", "limits": {"cpu_time_ms": ms}});
        let seen = run_in_namespace(&script, &job);
        seen.exited(0).stdout().to_owned()
    };
    assert_eq!(see("-t unlimited", 1000), "3\n3\n");
    assert_eq!(see("-t 50", 100_000), "50\n50\n");
    assert_eq!(see("-St 40", 100_000), "40\n106\n");
}
