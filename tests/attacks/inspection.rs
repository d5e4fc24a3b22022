//! Init has the target's ids, so by ids alone the target could trace it, read it, limit it, starve it or command it.

use crate::common::{probe_job, with};
use crate::support::{self, Run, probe, root, run};
use nix::libc;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Forms of a job that differ in how /proc is made, who the target is, and whether there is a filter.
fn forms() -> [Value; 6] {
    [
        json!({"capabilities": ["CAP_SYS_PTRACE", "CAP_SYS_ADMIN", "CAP_KILL", "CAP_DAC_OVERRIDE", "CAP_SYS_RESOURCE", "CAP_SYS_NICE"]}),
        json!({}),
        json!({"seccomp": "off"}),
        json!({"directories": {"/": "read-only"}}),
        json!({"user": {"uid": 0, "gid": 0}}),
        json!({"proc": "nestable"}),
    ]
}

/// An init that was stopped or traced would wait for ever.
fn bounded(fields: &Value) -> Value {
    with(fields.clone(), &json!({"limits": {"wall_time_ms": 20_000}}))
}

#[track_caller]
fn probed(arguments: &[&str], fields: &Value) -> Value {
    crate::common::probed(arguments, &bounded(fields))
}

fn shell(script: &str, fields: &Value) -> Run {
    support::shell(script, bounded(fields))
}

/// Of the real root the kernel asks only for the uid in some files of procfs, and init has the same. Elsewhere /proc/1 is
/// read-only then; a job that asks for "nestable" gets a warning.
fn exposed(fields: &Value) -> bool {
    root() && fields["proc"] == "nestable"
}

/// What went through of the probe's answers.
fn succeeded(answers: &Value) -> Vec<String> {
    let answers = answers.as_object().unwrap();
    assert!(answers.len() > 30, "{answers:?}");
    let through = answers
        .iter()
        .filter(|(_, answer)| answer["errno"].is_null());
    through
        .map(|(name, answer)| format!("{name}: {answer}"))
        .collect()
}

/// Memory, descriptors, directories and environment of init, which was the set-up process and knows the host's tree: by
/// ptrace(2), process_vm_readv(2), pidfd_getfd(2), kcmp(2) and every file of /proc/1 that shows them.
///
/// Shows that all of it is refused, whatever the form of the job: CVE-2016-9962 (runc), PR_SET_DUMPABLE(2const).
#[test]
fn init_cannot_be_read_written_or_traced() {
    for fields in forms() {
        let allowed = ["write oom_score_adj", "write coredump_filter"];
        let through: Vec<_> = succeeded(&probed(&["attack-init"], &fields))
            .into_iter()
            .filter(|line| !(exposed(&fields) && allowed.iter().any(|name| line.starts_with(name))))
            .collect();
        assert!(through.is_empty(), "{fields}: {through:?}");
    }
}

/// What anybody may read of a process of another user, too.
const HARMLESS: &[&str] = &[
    "arch_status",
    "autogroup",
    "cgroup",
    "children",
    "cmdline",
    "comm",
    "coredump_filter",
    "cpu_resctrl_groups",
    "cpuset",
    "gid_map",
    "ksm_merging_pages",
    "ksm_stat",
    "latency",
    "limits",
    "loginuid",
    "mountinfo",
    "mounts",
    "mountstats",
    "oom_adj",
    "oom_score",
    "oom_score_adj",
    "patch_state",
    "projid_map",
    "sched",
    // The name of a security module's profile, which it tells everybody.
    "attr/apparmor/current",
    "attr/current",
    "schedstat",
    "sessionid",
    "setgroups",
    "stat",
    "statm",
    "status",
    "timens_offsets",
    "uid_map",
    "wchan",
];

/// Every file that there is below /proc/1, also those that a later kernel adds, opened for reading and for writing.
///
/// Shows that nothing can be read that another user could not, no link be followed, and nothing opened for writing but what
/// asks for more at each write: proc(5), CVE-2012-0056 (/proc/PID/mem).
#[test]
fn init_has_no_file_in_proc_that_opens() {
    for fields in forms() {
        for top in ["/proc/1", "/proc/1/ns/1"] {
            let found = probed(&["walk", top], &fields);
            if top == "/proc/1" {
                assert!(found["files"].as_u64() > Some(60), "{found}");
            }
            let names = |field: &str| -> BTreeSet<String> {
                let list = found[field].as_array().unwrap().iter();
                list.map(|name| name.as_str().unwrap().replace("task/1/", ""))
                    .collect()
            };
            let read: Vec<_> = names("read")
                .into_iter()
                .filter(|name| !HARMLESS.contains(&name.as_str()))
                .collect();
            assert!(read.is_empty(), "{fields}: {top}: {read:?}");
            assert!(names("links").is_empty(), "{fields}: {top}: {found}");
            // Attributes of security modules can be set for oneself only, and the timer slack with CAP_SYS_NICE over it.
            let written: Vec<_> = names("write")
                .into_iter()
                .filter(|name| !name.starts_with("attr/") && name != "timerslack_ns")
                .collect();
            assert!(
                written.is_empty() || exposed(&fields),
                "{fields}: {top}: {written:?}"
            );
        }
    }
}

/// The calls that ask for equal ids only, and those for which init must count as somebody else's process: its limits, how it
/// is scheduled, its memory, namespaces and descriptors; also by the 32-bit ABI and with bits that the kernel ignores.
///
/// Shows that each is refused, also for the root of a nested namespace. An init that gets no processor time cannot end its
/// container: prlimit(2), sched_setscheduler(2), setpriority(2), ioprio_set(2), setns(2), pidfd_getfd(2).
#[test]
fn init_cannot_be_limited_starved_or_joined() {
    let probe = probe();
    for own in [
        "",
        "unshare -U --keep-caps",
        "unshare -Um --keep-caps",
        "setsid -w",
    ] {
        for fields in [
            json!({}),
            json!({"user": {"uid": 0, "gid": 0}}),
            json!({"directories": {"/": "read-only"}}),
        ] {
            let seen = shell(&format!("exec {own} {} reach 1", probe.display()), &fields);
            let answers: Value = serde_json::from_str(seen.exited(0).stdout()).expect("JSON");
            let through = succeeded(&answers);
            assert!(through.is_empty(), "{own}: {through:?}");
        }
    }
}

/// The same without the filter, where only the kernel's own checks are left.
///
/// Shows that init's memory, namespaces and descriptors are still out of reach (its limits and scheduling are not, as README
/// says): PR_SET_DUMPABLE(2const), user_namespaces(7).
#[test]
fn init_cannot_be_joined_even_without_the_filter() {
    let by_ids = ["prlimit", "sched_set", "setpriority", "ioprio_set", "i386 "];
    let answers = probed(&["reach", "1"], &json!({"seccomp": "off"}));
    let through: Vec<_> = succeeded(&answers)
        .into_iter()
        .filter(|line| !by_ids.iter().any(|start| line.starts_with(start)))
        .collect();
    assert!(through.is_empty(), "{through:?}");
    if cfg!(target_arch = "x86_64") {
        assert_eq!(answers["i386 ptrace"]["result"], -1, "{answers}");
    }
}

/// Init keeps nothing that it would be worth taking over: no capability in any set, no way to get one.
///
/// Shows that its privileges are gone before there is a target: capabilities(7), PR_SET_NO_NEW_PRIVS(2const).
#[test]
fn init_holds_no_capability_and_cannot_gain_one() {
    let text = probed(&["read", "/proc/1/status"], &json!({}))["text"]
        .as_str()
        .unwrap()
        .to_owned();
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        line.map_or("", |rest| rest.trim_start_matches(':').trim())
    };
    assert_eq!(value("Name"), "stdbox", "{text}");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(value(set), "0000000000000000", "{set}");
    }
    assert_eq!(value("NoNewPrivs"), "1");
}

/// Every signal to pid 1, by the plain way: the kernel protects it from those that it has no handler for, and init hears the
/// others.
///
/// Shows that none of them ends or stops it, nor makes it end the others: pid_namespaces(7), kill(2).
#[test]
fn init_does_not_obey_signals_from_inside() {
    let probe = probe();
    let script = format!(
        "for s in $(seq 1 64); do kill -$s 1 || exit 1; done
        {0} zombies 10 >/dev/null; grep -q '^State:.[SR]' /proc/1/status || exit 2; exit 7",
        probe.display()
    );
    for fields in [json!({}), json!({"user": {"uid": 0, "gid": 0}})] {
        shell(&script, &fields).exited(7);
    }
}

/// Init obeys signals of its parent, which it knows by a sender outside the pid namespace. A sender may fill that in itself
/// (rt_sigqueueinfo(2), pidfd_send_signal(2)), or let the kernel send: for a file that "belongs" to pid 1 (F_SETOWN, F_SETSIG),
/// for a child that ends with a signal of its choice (clone(2)).
///
/// Shows that none of them passes for the parent's; END_NOW (63), obeyed, would kill the target.
#[test]
fn init_does_not_take_a_forged_signal_for_the_parents() {
    let probe = probe();
    // When init has reaped what ended after them, it has seen the signals too.
    let script = format!(
        "for s in 15 1 2 63 17 64 34; do {0} forge-all $s || exit 1; {0} zombies 3; done >/tmp/out; exit 7",
        probe.display()
    );
    for fields in [json!({}), json!({"seccomp": "off"})] {
        shell(&script, &fields).exited(7);
    }
}

/// A limit on the processor time of init, and work for it until the kernel ends it, and the container with it.
///
/// Shows that this is refused, by the 32-bit ABI too, and that a job cannot make itself look like a failure of stdbox:
/// prlimit(2).
#[test]
fn init_cannot_be_ended_through_a_limit_on_its_processor_time() {
    let limits = [
        format!("syscall native {} 1 0 buf 0", libc::SYS_prlimit64),
        "syscall i386 340 1 0 buf 0".into(),
    ];
    for line in &limits {
        let words: Vec<&str> = line.split(' ').collect();
        let answer = probed(&words, &json!({}));
        assert!(
            answer["errno"] == "EPERM" || (line.contains("i386") && answer["errno"] == "ENOSYS"),
            "{line}: {answer}"
        );
    }
    // Without the filter it goes through, and the report says whose end it was.
    let seen = run(&probe_job(&["drown"], &json!({"seccomp": "off"})));
    assert_ne!(seen.report["outcome"], "setup-failed", "{seen}");
}

/// Where the target is pid 1 itself, init stands outside its pid namespace.
///
/// Shows that it has no number there, and that no signal to everybody reaches it: pid_namespaces(7).
#[test]
fn init_outside_the_pid_namespace_cannot_be_named() {
    let script = "
        [ $$ = 1 ] || exit 1
        [ \"$(cut -d' ' -f4 /proc/self/stat)\" = 1 ] || exit 2
        [ \"$(sed -n 's/^PPid:.//p' /proc/1/status)\" = 0 ] || exit 3
        for p in /proc/[0-9]*; do case \"$(cat $p/comm 2>/dev/null)\" in stdbox*) exit 4;; esac; done
        trap '' TERM INT HUP 63
        for s in 9 15 2 1 63; do kill -$s -1; kill -$s 0; done 2>/dev/null
        exit 7";
    for fields in [
        json!({"init": false}),
        json!({"init": false, "seccomp": "off"}),
    ] {
        shell(script, &fields).exited(7);
    }
}
